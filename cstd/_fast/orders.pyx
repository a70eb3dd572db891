"""Live orders in fixed rows.

Owns: the rows; one writer, the engine. Final orders leave the table for the engine's history.
Invariant: a row's state changes only through `move`, by the table that `orders/lifecycle.py` gives at construction; an
event that the table does not allow changes nothing, is counted and returned as -1.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memset

from cstd._fast.codes cimport ORDER_FREE, ORDER_STATE_COUNT


cdef extern from "check.h" nogil:
    void cstd_check(bint holds, const char *what)


cdef class OrderTable:
    """table: sequence of rows [state][event] -> next state or -1, at most 16 states and 32 events."""

    def __cinit__(self, table):
        cdef int s, e
        if len(table) != ORDER_STATE_COUNT or any(len(row) > 32 for row in table):
            raise ValueError("lifecycle table does not fit")
        memset(self.rows, 0, sizeof(self.rows))
        memset(self.next_state, -1, sizeof(self.next_state))
        for s in range(len(table)):
            for e in range(len(table[s])):
                self.next_state[s][e] = table[s][e]
        self.live_count = 0

    cdef int take(self) noexcept nogil:
        """Take a free slot, zeroed since its release; -1 when the table is full."""
        cdef int slot
        if self.live_count >= ORDERS_MAX:
            return -1
        for slot in range(ORDERS_MAX):
            if self.rows[slot].state == ORDER_FREE:
                self.live[self.live_count] = slot
                self.live_count += 1
                return slot
        return -1

    cdef void release(self, int slot) noexcept nogil:
        """Give a slot back; the order of the others stays."""
        cdef int i, kept = 0
        cstd_check(slot >= 0 and slot < ORDERS_MAX, b"an order is in the table")
        for i in range(self.live_count):
            if self.live[i] != slot:
                self.live[kept] = self.live[i]
                kept += 1
        self.live_count = kept
        memset(&self.rows[slot], 0, sizeof(OrderRow))     # ORDER_FREE is 0

    cdef int find(self, const char *cl_ord_id, int n) noexcept nogil:
        """Slot of a client order id among live orders, -1 if none."""
        cdef int i
        if n != 18:
            return -1
        for i in range(self.live_count):
            if memcmp(self.rows[self.live[i]].cl_ord_id, cl_ord_id, 18) == 0:
                return self.live[i]
        return -1

    cdef int move(self, int slot, int event, int64_t mono_ns) noexcept nogil:
        """Apply a lifecycle event; returns the new state, or -1 (counted) when the table has no such step."""
        cstd_check(slot >= 0 and slot < ORDERS_MAX, b"an order is in the table")
        cstd_check(event >= 0 and event < 32, b"a lifecycle event has a column")
        cdef OrderRow *row = &self.rows[slot]
        cdef int state = self.next_state[row.state][event]
        if state < 0:
            self.illegal_count += 1
            return -1
        if state != row.state:
            row.state = state
            row.changed_mono_ns = mono_ns
        return state

    cdef int64_t leaves(self, const OrderRow *row) noexcept nogil:
        """Quantity that can still fill; an amend in flight counts as the larger of the two."""
        cdef int64_t qty = row.qty_raw
        if row.amend_qty_raw > qty:
            qty = row.amend_qty_raw
        return qty - row.filled_raw if qty > row.filled_raw else 0
