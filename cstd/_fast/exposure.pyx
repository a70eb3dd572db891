"""What is held and on order, for the gates: in all, of one asset, and of what moves together with it.

Purpose: keep positions as the ledger books them, and add them up with the live openings for an intent. Takes: positions
from the ledger, the order table, what waits for an operator, the correlations. Gives: the exposures that the gates read.

Invariants held here: an exposure is taken out of a cluster only where it is measured that its instrument moves otherwise, and
what cannot be told counts; an order counts with all that can still fill of it, an UNKNOWN one too, and while an amend is on its way
with the larger of what it was and asks for; what a sell may still take is free for no other.
"""
from libc.stdint cimport int64_t

from cpython.list cimport PyList_GET_ITEM

from cstd._fast.codes cimport APPROVAL_GIVEN, APPROVAL_WAITS, EXIT, OPENING, ORDER_UNKNOWN
from cstd._fast.client_ids cimport OrderIds
from cstd._fast.correlation cimport Correlations
from cstd._fast.gates cimport GateInput
from cstd._fast.orders cimport OrderRow
from cstd._fast.slot cimport InstrumentSlot, sellable
from cstd._fast.waiting cimport WAITING_MAX, Waiting, WaitingTable

cdef extern from "collar.h" nogil:
    int64_t cstd_value_acct(int64_t price_raw, int64_t qty_raw, int64_t rate_e8, int64_t price_scale,
                            int64_t qty_scale)


cdef class Exposure(OrderIds):
    """Positions, live openings and what of them moves together. The order table is its subclass's to make."""

    def __cinit__(self, *args):
        self.slots = []
        self.correlations = Correlations()
        self.waiting = WaitingTable()
        self.taken = -1

    cdef void _fill_exposure(self, InstrumentSlot slot, GateInput *input, int skip) noexcept:
        """Positions plus every live opening at full size; UNKNOWN ones included, and live exits reserve what they sell."""
        cdef int i, index
        cdef OrderRow *order
        cdef InstrumentSlot other
        cdef int64_t value
        cdef int64_t reserved = 0
        cdef bint several = self.correlations.count > 1
        if several:
            self.correlations.begin()
        input.exposure_acct_raw = self.positions_acct_raw
        input.asset_exposure_acct_raw = slot.position_acct_raw
        input.instrument_has_position = sellable(slot)
        for i in range(self.held_count):
            other = <InstrumentSlot>PyList_GET_ITEM(self.slots, self.held[i])
            input.positions_count += sellable(other)
            if several:
                self.correlations.expose(self.held[i])
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
            if several:
                self.correlations.expose(order.instrument)
        if self.waiting.live and skip < 0:
            self._fill_waiting(slot, input)
        input.cluster_exposure_acct_raw = input.exposure_acct_raw
        if several:
            self.correlations.gather(slot.number)
            if self.correlations.apart:
                input.cluster_exposure_acct_raw -= self._outside_acct(skip)
        input.managed_free_qty_raw = slot.position_qty_raw - reserved

    cdef bint _counts(self, int waiting) noexcept:
        """Whether an opening that waits for an operator counts: not the one that is judged again just now."""
        return waiting != self.taken and APPROVAL_WAITS <= self.waiting.rows[waiting].state <= APPROVAL_GIVEN

    cdef void _fill_waiting(self, InstrumentSlot slot, GateInput *input) noexcept:
        """What waits for an operator counts for a new wish as if it had been sent. An order that rests is judged without it:
        what is at the venue goes before what may never be."""
        cdef int i
        cdef Waiting *entry
        cdef InstrumentSlot other
        cdef int64_t value
        for i in range(WAITING_MAX):
            if not self._counts(i):
                continue
            entry = &self.waiting.rows[i]
            other = <InstrumentSlot>PyList_GET_ITEM(self.slots, entry.instrument)
            value = self._value_acct(other, entry.price_raw, entry.qty_raw)
            input.exposure_acct_raw += value
            if entry.instrument == slot.number:
                input.asset_exposure_acct_raw += value
            input.positions_count += not sellable(other)
            self.correlations.expose(entry.instrument)

    cdef int64_t _outside_acct(self, int skip) noexcept:
        """What of the exposure is measured to move otherwise than the cluster that was gathered."""
        cdef int i, index
        cdef int64_t total = 0
        cdef OrderRow *order
        for i in range(self.held_count):
            if not self.correlations.is_member(self.held[i]):
                total += (<InstrumentSlot>PyList_GET_ITEM(self.slots, self.held[i])).position_acct_raw
        for i in range(self.orders.live_count):
            index = self.orders.live[i]
            order = &self.orders.rows[index]
            if index != skip and order.kind != EXIT and not self.correlations.is_member(order.instrument):
                total += self._open_value_acct(<InstrumentSlot>PyList_GET_ITEM(self.slots, order.instrument), order)
        for i in range(WAITING_MAX if self.waiting.live and skip < 0 else 0):
            if self._counts(i) and not self.correlations.is_member(self.waiting.rows[i].instrument):
                total += self._value_acct(<InstrumentSlot>PyList_GET_ITEM(self.slots, self.waiting.rows[i].instrument),
                                          self.waiting.rows[i].price_raw, self.waiting.rows[i].qty_raw)
        return total

    cdef int64_t _open_value_acct(self, InstrumentSlot slot, const OrderRow *order) noexcept nogil:
        """What is open of an order, in account currency; of an amend in flight the larger of what it was and asks for."""
        cdef int64_t value = self._value_acct(slot, order.price_raw, self.orders.leaves(order))
        if order.amend_price_raw == 0 or order.amend_qty_raw <= order.filled_raw:
            return value
        return max(value, self._value_acct(slot, order.amend_price_raw, order.amend_qty_raw - order.filled_raw))

    cdef int64_t _value_acct(self, InstrumentSlot slot, int64_t price_raw, int64_t qty_raw) noexcept nogil:
        return cstd_value_acct(price_raw, qty_raw, slot.rate_e8, slot.price_scale, slot.qty_scale)

    def set_position(self, int number, int64_t qty_raw, int64_t value_acct_raw, int64_t losing_round_trips):
        """Managed inventory of an instrument, its value at the mark, and its losing streak, from the ledger."""
        cdef InstrumentSlot slot = self.slots[number]
        self.positions_acct_raw += value_acct_raw - slot.position_acct_raw
        self._note_held(number, slot.position_qty_raw > 0, qty_raw > 0)
        slot.position_qty_raw = qty_raw
        slot.position_acct_raw = value_acct_raw
        slot.losing_round_trips = losing_round_trips
        # Until an operator acts: an opening that was on its way may end the streak, and not what it led to.
        slot.switched_off |= 0 < slot.limits.losing_round_trips_max <= losing_round_trips
        if slot.is_dust():
            slot.exit_attempts = 0

    cdef void _note_held(self, int number, bint before, bint now) noexcept:
        """Keep the list of instruments with a position: what is asked per intent must not grow with those without."""
        cdef int i
        if now and not before:
            self.held[self.held_count] = number
            self.held_count += 1
        elif before and not now:
            for i in range(self.held_count):
                if self.held[i] == number:
                    self.held_count -= 1
                    self.held[i] = self.held[self.held_count]
                    return

    # What others look at.

    def exposure(self):
        """Positions plus live openings at full size, 10**-8 account currency."""
        cdef int i
        cdef int64_t total = self.positions_acct_raw
        cdef OrderRow *row
        for i in range(self.orders.live_count):
            row = &self.orders.rows[self.orders.live[i]]
            if row.kind == OPENING:
                total += self._open_value_acct(self.slots[row.instrument], row)
        return total

    def positions_value(self):
        """Value of all managed positions at their marks, 10**-8 account currency."""
        return self.positions_acct_raw

    def exposures(self):
        """{number: positions and live openings in 10**-8 account currency} of the instruments with either, by number."""
        cdef int i
        cdef OrderRow *row
        found = {self.held[i]: (<InstrumentSlot>self.slots[self.held[i]]).position_acct_raw for i in range(self.held_count)}
        for i in range(self.orders.live_count):
            row = &self.orders.rows[self.orders.live[i]]
            if row.kind == OPENING:
                found[row.instrument] = found.get(row.instrument, 0) + self._open_value_acct(
                    self.slots[row.instrument], row)
        return dict(sorted(found.items()))
