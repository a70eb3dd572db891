"""What is held, open and waiting, in money: what the gates of count and exposure read.

Purpose: value positions, live orders and what waits for an operator, for the gates' input. Takes: the tables of orders and of
what waits, positions from the ledger. Gives: figures of a GateInput.

Invariants held here: an order counts with all that can still fill of it, an UNKNOWN one too, and while an amend is on its way
with the larger of what it was and asks for; what a sell may still take is free for no other.
"""
from libc.stdint cimport int64_t

from cpython.list cimport PyList_GET_ITEM

from cstd._fast.codes cimport APPROVAL_GIVEN, APPROVAL_WAITS, EXIT, ORDER_UNKNOWN
from cstd._fast.gates cimport GateInput
from cstd._fast.orders cimport OrderRow
from cstd._fast.slot cimport InstrumentSlot, sellable
from cstd._fast.waiting cimport WAITING_MAX, Waiting

cdef extern from "collar.h" nogil:
    int64_t cstd_value_acct(int64_t price_raw, int64_t qty_raw, int64_t rate_e8, int64_t price_scale,
                            int64_t qty_scale)


cdef class Exposure(OrderIds):
    """The tables that the gateway fills; it makes them."""

    cdef void _fill_exposure(self, InstrumentSlot slot, GateInput *input, int skip) noexcept:
        """Positions plus every live opening at full size; UNKNOWN ones included, and live exits reserve what they sell."""
        cdef int i, index
        cdef OrderRow *order
        cdef InstrumentSlot other
        cdef int64_t value
        cdef int64_t reserved = 0
        input.exposure_acct_raw = self.positions_acct_raw
        input.asset_exposure_acct_raw = slot.position_acct_raw
        input.instrument_has_position = sellable(slot)
        for i in range(self.held_count):
            other = <InstrumentSlot>PyList_GET_ITEM(self.slots, self.held[i])
            input.positions_count += sellable(other)
        for i in range(self.orders.live_count):
            index = self.orders.live[i]
            order = &self.orders.rows[index]
            if index == skip:
                continue
            if order.kind == EXIT:
                if order.instrument == slot.number:
                    reserved += self.orders.leaves(order)
                continue
            other = <InstrumentSlot>PyList_GET_ITEM(self.slots, order.instrument)
            value = self._open_value_acct(other, order)
            input.exposure_acct_raw += value
            if order.instrument == slot.number:
                input.asset_exposure_acct_raw += value
                if order.state == ORDER_UNKNOWN:
                    input.same_unknown = 1
            input.positions_count += not sellable(other)
        if self.waiting.live and skip < 0:
            self._fill_waiting(slot, input)
        # No correlation history counts as full correlation: one cluster holds everything.
        input.cluster_exposure_acct_raw = input.exposure_acct_raw
        input.managed_free_qty_raw = slot.position_qty_raw - reserved

    cdef void _fill_waiting(self, InstrumentSlot slot, GateInput *input) noexcept:
        """What waits for an operator counts for a new wish as if it had been sent. An order that rests is judged without it:
        what is at the venue goes before what may never be."""
        cdef int i
        cdef Waiting *entry
        cdef InstrumentSlot other
        cdef int64_t value
        for i in range(WAITING_MAX):
            entry = &self.waiting.rows[i]
            if i == self.taken or not APPROVAL_WAITS <= entry.state <= APPROVAL_GIVEN:
                continue
            other = <InstrumentSlot>PyList_GET_ITEM(self.slots, entry.instrument)
            value = self._value_acct(other, entry.price_raw, entry.qty_raw)
            input.exposure_acct_raw += value
            if entry.instrument == slot.number:
                input.asset_exposure_acct_raw += value
            input.positions_count += not sellable(other)

    cdef int64_t _open_value_acct(self, InstrumentSlot slot, const OrderRow *order) noexcept nogil:
        """What is open of an order, in account currency; of an amend in flight the larger of what it was and asks for."""
        cdef int64_t value = self._value_acct(slot, order.price_raw, self.orders.leaves(order))
        if order.amend_price_raw == 0 or order.amend_qty_raw <= order.filled_raw:
            return value
        return max(value, self._value_acct(slot, order.amend_price_raw, order.amend_qty_raw - order.filled_raw))

    cdef int64_t _value_acct(self, InstrumentSlot slot, int64_t price_raw, int64_t qty_raw) noexcept nogil:
        return cstd_value_acct(price_raw, qty_raw, slot.rate_e8, slot.price_scale, slot.qty_scale)
