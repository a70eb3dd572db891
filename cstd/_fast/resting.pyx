"""Orders that rest, openings and sells of the strategy: judged again at every pass of their instrument, and kept at the best bid that they joined.

Purpose: cancel a resting opening in the pass in which a gate fails for it, amend it down where less would pass, and let one
that joined the best bid follow it (`[tactics]`). Takes: the orders of an instrument and its book. Gives: amends and cancels,
which the gateway makes.

Invariants held here: an amend is outstanding once at a time, needs an order that is known to be open, and asks for terms that
passed the gates in this very pass; while one is on its way the order is judged at both prices, because it may rest at either;
what rests follows only the bid of others, never its own.
"""
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t
from libc.string cimport memcpy

from cstd._fast.codes cimport APPROVE, BOOK_VERIFIED, OPENING, ORDER_OPEN, ORDER_PARTIAL, ORDER_SENT, REDUCE, REFUSE
from cstd._fast.exit_watch cimport EXIT_REASON_SHIFT
from cstd._fast.gates cimport GATE_DATA_GAP, GATE_NONE, DecisionRow, GateInput, judge
from cstd._fast.gateway cimport COUNT_FOLLOWS, COUNT_PULLED, COUNT_REJUDGED
from cstd._fast.orders cimport ORDERS_MAX, OrderRow
from cstd._fast.rate cimport amend_points, order_age_ns
from cstd._fast.slot cimport InstrumentSlot
from cstd._fast.strategy cimport StrategyView

cdef enum:
    SECOND_NS = 1000000000      # a constant, so that dividing by it is not a division
    # The public book shows our quantity at the price that it left for a while after the private stream has told of the move:
    # sooner than this it would be followed as if it were another's.
    FOLLOW_PAUSE_NS = 1000000000

cdef extern from "zero.h" nogil:
    void cstd_zero(void *to, size_t n)

cdef extern from "check.h" nogil:
    void cstd_check(bint holds, const char *what)


cdef class RestingGateway(ExitGateway):
    """The gateway with its resting orders. Arguments as Gateway."""

    cdef void _rejudge(self, InstrumentSlot slot) noexcept:
        """Judge every resting order of this instrument again; cancel it in the pass in which a gate fails for it."""
        cdef int i = 0
        cdef int index
        cdef OrderRow *order
        while i < self.orders.live_count:
            index = self.orders.live[i]
            order = &self.orders.rows[index]
            i += 1
            if order.instrument != slot.number or (order.kind != OPENING and not order.post_only) or order.cancel_sent:
                continue
            if order.state < ORDER_SENT or order.state > ORDER_PARTIAL:
                continue
            if self.wall_ns > order.expire_wall_ns + SECOND_NS:
                self._cancel(index, GATE_NONE)
                continue
            if order.kind == OPENING:
                self._rejudge_opening(slot, index)
            else:
                self._rejudge_quote(slot, index)

    cdef void _rejudge_opening(self, InstrumentSlot slot, int index) noexcept:
        """Judge one resting opening: keep it, follow the best bid with it, amend it down, or cancel it."""
        cdef OrderRow *order = &self.orders.rows[index]
        cdef DecisionRow row, asked
        cdef bint on_record
        cdef int verdict = self._judge_at(slot, index, order.price_raw, &row)
        self.counters[COUNT_REJUDGED] += 1
        if verdict != REFUSE and order.amend_price_raw and self._judge_at(slot, index, order.amend_price_raw, &asked) == REFUSE:
            verdict = REFUSE
            row = asked
        on_record = verdict == order.last_verdict
        if not on_record:
            on_record = self._record(slot, &row) == 0
            if on_record:
                order.last_verdict = verdict
                self._keep(&row)
        # What is not on record does not happen, but for a cancel, which needs no decision.
        if (verdict == REDUCE and on_record and (order.state == ORDER_OPEN or order.state == ORDER_PARTIAL)
                and (order.amend_qty_raw or self._room(slot, amend_points(order_age_ns(order, self.mono_ns))))):
            # What would still pass stays; one amend at a time, and it needs a known open id. Where the venue's counter
            # has no room for it, the order is pulled: a cancel may draw on the reserve.
            if order.amend_qty_raw == 0:
                self._amend(slot, index, order.filled_raw + row.qty_final_raw, order.price_raw)
        elif verdict != APPROVE:
            self.counters[COUNT_PULLED] += 1
            self._cancel(index, row.first_failing if verdict == REFUSE else row.reduced_by)
        elif order.follows and slot.follow_ticks and self._follows_now(slot, index, row.bid_raw):
            self._follow(slot, index, row.bid_raw)

    cdef void _rejudge_quote(self, InstrumentSlot slot, int index) noexcept:
        """Judge one resting sell: it stays whole while the gates pass it as an exit and it may rest, or is canceled."""
        cdef OrderRow *order = &self.orders.rows[index]
        cdef DecisionRow row
        cdef int verdict = self._judge_at(slot, index, order.price_raw, &row)
        self.counters[COUNT_REJUDGED] += 1
        if verdict == APPROVE and self._may_quote(slot, &row):
            return
        if self._record(slot, &row) == 0:
            self._keep(&row)
        self.counters[COUNT_PULLED] += 1
        if verdict == APPROVE:
            self._cancel(index, GATE_DATA_GAP if row.reason[GATE_DATA_GAP - 4] else GATE_NONE)
        else:
            self._cancel(index, row.first_failing if verdict == REFUSE else row.reduced_by)

    cdef void _count_live(self, InstrumentSlot slot, StrategyView *view) noexcept:
        """Count an instrument's live orders by what they are: openings, sells that rest, exits that are leaving."""
        cdef int i
        cdef OrderRow *order
        for i in range(self.orders.live_count):
            order = &self.orders.rows[self.orders.live[i]]
            if order.instrument != slot.number:
                continue
            if order.kind == OPENING:
                view.openings_live += 1
                view.opening_price_raw = order.price_raw
            elif order.post_only:
                view.quotes_live += 1
                view.quote_price_raw = order.price_raw
                view.quoted_qty_raw += self.orders.leaves(order)
            else:
                view.exits_live += 1

    cdef int _judge_at(self, InstrumentSlot slot, int index, int64_t price_raw, DecisionRow *row) noexcept:
        """Judge what is left of a resting order at a price, itself left out of count, exposure and what is reserved."""
        cdef OrderRow *order = &self.orders.rows[index]
        cdef GateInput input
        cdef int verdict
        cstd_zero(&input, sizeof(input))
        cstd_zero(row, sizeof(DecisionRow))
        self._fill_input(slot, &input, index)
        resting_terms(&input, order, price_raw, self.wall_ns)
        input.qty_raw = self.orders.leaves(order)
        input.deadline_ns = self.deadline_ns
        verdict = judge(&input, &slot.limits, row)
        row.intent_seq = order.intent_seq
        row.order_slot = index
        memcpy(row.cl_ord_id, order.cl_ord_id, 18)
        if order.kind != OPENING:
            row.rest = <uint8_t>(order.exit_reason << EXIT_REASON_SHIFT)
            if slot.book.state != BOOK_VERIFIED:
                row.bid_raw, row.ask_raw, row.mid2_raw = INT64_MIN, INT64_MAX, 0    # a lost book shows no quote
        return verdict

    cdef bint _follows_now(self, InstrumentSlot slot, int index, int64_t bid_raw) noexcept:
        """Whether the best bid of others has left an order behind, or alone, by enough to be followed, and it may be amended."""
        cdef OrderRow *order = &self.orders.rows[index]
        cdef int64_t away_raw = bid_raw - order.price_raw
        if bid_raw <= 0 or (away_raw if away_raw > 0 else -away_raw) // slot.tick_raw < slot.follow_ticks:
            return False
        if (order.state != ORDER_OPEN and order.state != ORDER_PARTIAL) or order.order_id[0] == 0 or order.amend_qty_raw:
            return False
        if order.follow_amends >= slot.follow_amends_max or self.mono_ns < order.follow_not_before_ns:
            return False
        # Without the socket nothing but cancels and exits leaves; an amend that comes when the order ends finds nothing.
        return (slot.book.state == BOOK_VERIFIED and self.private_up and not self.shadow and not slot.shadow
                and order.expire_wall_ns - self.wall_ns > self.deadline_ns)

    cdef void _follow(self, InstrumentSlot slot, int index, int64_t bid_raw) noexcept:
        """Amend an opening to the best bid, if its gates let it pass there; else it stays where it passed just now."""
        cdef OrderRow *order = &self.orders.rows[index]
        cdef DecisionRow row
        order.follow_not_before_ns = self.mono_ns + FOLLOW_PAUSE_NS
        if self._judge_at(slot, index, bid_raw, &row) == REFUSE:
            return
        if 0 <= self.waiting.above_acct_raw < row.notional_acct_raw:
            return      # of so much an operator is asked, and nobody was
        if not self._room(slot, amend_points(order_age_ns(order, self.mono_ns))) or self._record(slot, &row) != 0:
            return
        self._keep(&row)
        order.follow_amends += 1
        self.counters[COUNT_FOLLOWS] += 1
        self._amend(slot, index, order.filled_raw + row.qty_final_raw, bid_raw)

    def amend_settled(self, int index, int64_t qty_raw, int64_t price_raw=0):
        """End an amend: the venue's total quantity and price, 0 for what stayed as it was."""
        cstd_check(0 <= index < ORDERS_MAX, b"an order is in the table")
        cdef OrderRow *row = &self.orders.rows[index]
        if qty_raw > 0:
            row.qty_raw = qty_raw
        if price_raw > 0:
            row.price_raw = price_raw
            row.follow_not_before_ns = self.mono_ns + FOLLOW_PAUSE_NS
        row.amend_qty_raw = row.amend_price_raw = 0
