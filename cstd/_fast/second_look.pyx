"""SecondLook: the engine of a replay that judges each order once more, by other limits; docs/replay.md.

Purpose: say which of the orders that a journal's daemon sent other limits would not have let out, in the state that there was.
Takes: events, as Core; for each instrument the other limits. Gives: everything that Core gives, the same bytes, and beside it
the rows that the gates make of the same inputs by the other limits.

Invariants held here: the second judgement reads what the first one read, by the same gates, and nothing of the engine's state
is written by it, so that a replay with it is the replay without it. No daemon trades with this class.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from cstd._fast.codes cimport OPENING, REDUCE, REFUSE
from cstd._fast.core cimport Core
from cstd._fast.gates cimport DecisionRow, GateInput, Limits, judge
from cstd._fast.orders cimport OrderRow
from cstd._fast.resting cimport resting_terms
from cstd._fast.slot cimport InstrumentSlot
from cstd._fast.wire cimport INSTRUMENTS_MAX


cdef class SecondLook(Core):
    """Arguments as Core."""

    def __cinit__(self, *args):
        memset(self.known, 0, sizeof(self.known))
        memset(self.looked_seq, -1, sizeof(self.looked_seq))
        self.judged = NULL
        self.sent = []
        self.pulled = []

    def set_limits(self, int number, limits):
        """As Core's, and tells `on_limits`."""
        Core.set_limits(self, number, limits)
        if self.on_limits is not None:
            self.on_limits(number)

    def set_other(self, int number, limits, int64_t deadline_ns, int64_t markout_allowance_mbps):
        """The other limits of an instrument (dtype LIMITS_DTYPE), and of all the deadline and the allowance for markouts."""
        cdef bytes raw = limits.tobytes()
        if not 0 <= number < INSTRUMENTS_MAX or len(raw) != sizeof(Limits):
            raise ValueError(f"limits record of {len(raw)} bytes for instrument {number}")
        memcpy(&self.other[number], <const char *>raw, sizeof(Limits))
        self.known[number] = True
        self.other_deadline_ns = deadline_ns
        self.other_markout_mbps = markout_allowance_mbps

    cdef void _fill_input(self, InstrumentSlot slot, GateInput *input, int skip) noexcept:
        Core._fill_input(self, slot, input, skip)
        self.judged = input if skip < 0 else NULL

    cdef int _record(self, InstrumentSlot slot, DecisionRow *row) noexcept:
        cdef int failed = Core._record(self, slot, row)
        if failed == 0 and self.judged != NULL and not row.rejudge and self.known[slot.number]:
            self._look(slot, row)
        self.judged = NULL
        return failed

    cdef void _look(self, InstrumentSlot slot, const DecisionRow *row) noexcept:
        """Judge an intent again that was judged just now, before anything follows from it."""
        cdef GateInput input = self.judged[0]
        cdef DecisionRow again = row[0]
        cdef const Limits *limits = &self.other[slot.number]
        cdef int64_t since_ns = self.wall_ns - slot.last_episode_ns[1]
        cdef bint before = slot.last_episode[1] >= row.episode
        cdef int verdict
        input.qty_raw = row.qty_requested_raw
        input.deadline_ns = self.other_deadline_ns
        input.markout_allowance_mbps = self.other_markout_mbps
        if row.kind == OPENING and not (input.dedupe_hit and not (before and since_ns < slot.limits.dedupe_window_ns)):
            input.dedupe_hit = before and since_ns < limits.dedupe_window_ns    # one that waits for an operator still counts
        verdict = judge(&input, limits, &again)
        if row.order_slot < 0:
            self.let_out += row.verdict == REFUSE and verdict != REFUSE
            return
        self.stays_raw[row.order_slot] = again.qty_final_raw
        self.looked_seq[row.order_slot] = row.intent_seq if verdict != REFUSE and row.kind == OPENING else -1
        self.sent.append(((<const char *>row)[:sizeof(DecisionRow)], (<const char *>&again)[:sizeof(DecisionRow)]))

    cdef int _judge_at(self, InstrumentSlot slot, int index, int64_t price_raw, DecisionRow *row) noexcept:
        cdef int verdict = Core._judge_at(self, slot, index, price_raw, row)
        cdef const OrderRow *order = &self.orders.rows[index]
        if self.looked_seq[index] == order.intent_seq and price_raw == order.price_raw and self.known[slot.number]:
            self._look_at_resting(slot, index)
        return verdict

    cdef void _look_at_resting(self, InstrumentSlot slot, int index) noexcept:
        """Judge what the other limits have left of a resting opening; what they refuse or cut of it ends here."""
        cdef const OrderRow *order = &self.orders.rows[index]
        cdef int64_t left_raw = min(self.orders.leaves(order), self.stays_raw[index] - order.filled_raw)
        cdef GateInput input
        cdef DecisionRow again
        cdef int verdict
        if left_raw <= 0:
            return
        memset(&input, 0, sizeof(input))
        memset(&again, 0, sizeof(again))
        Core._fill_input(self, slot, &input, index)
        resting_terms(&input, order, order.price_raw, self.wall_ns)
        input.qty_raw = left_raw
        input.deadline_ns = self.other_deadline_ns
        input.markout_allowance_mbps = self.other_markout_mbps
        verdict = judge(&input, &self.other[slot.number], &again)
        if verdict != REFUSE and verdict != REDUCE:
            return
        self.stays_raw[index] = order.filled_raw + again.qty_final_raw
        again.intent_seq = order.intent_seq
        again.event_seq = self.recorder.seq
        again.order_slot = index
        memcpy(again.cl_ord_id, order.cl_ord_id, 18)
        self.pulled.append(((<const char *>&again)[:sizeof(DecisionRow)], self.stays_raw[index]))
        if verdict == REFUSE:
            self.looked_seq[index] = -1

    def take_sent(self):
        """(row, row by the other limits) of the orders that left since the last call, as bytes."""
        taken, self.sent = self.sent, []
        return taken

    def take_pulled(self):
        """(row by the other limits, raw quantity that stays) of the orders that these end or cut, since the last call."""
        taken, self.pulled = self.pulled, []
        return taken
