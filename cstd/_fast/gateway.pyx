"""The gateway: the one way from a wish to an order frame.

Purpose: judge an intent by the fifteen gates and, if they let it out, encode it, record it and hand it to the port; cancel.
Takes: wishes and the state that the handler writes (levels, links, ledger figures). Gives: decision rows, order frames.

Invariants held here: the encoder is used in this module only, next to the gates, and by no Python-callable function; there
is no flag that leads around a gate; an order frame is recorded before it is handed to the port; a client order id is
entered into the table of ids when its order is encoded; an opening that an operator has to see first is entered among those
that wait in place of being encoded, here and nowhere else.
"""
cimport cython
from libc.stdint cimport int8_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from cpython.list cimport PyList_GET_ITEM

from cstd._fast.book cimport Book
from cstd._fast.codes cimport (
    ACTION_ADD, ACTION_AMEND, ACTION_CANCEL, ACTION_CANCEL_ALL, ACTION_CANCEL_REST, ACTION_EXIT_REST, APPROVAL_NO_ROOM,
    APPROVAL_WAITS, APPROVE, BOOK_VERIFIED, BUY, EXIT, EXIT_QUOTE, GTD, IOC, ON_CANCEL_SENT, ON_SEND, OPENING,
    ORDER_INTENDED, OUT_DECISION, OUT_ORDER_FRAME, REDUCE, REFUSE, SELL, TRADING_HALTED, TRADING_NOT_READY, TRADING_PAUSED, TRADING_READY,
)
from cstd._fast.correlation cimport MEMBERS_KEPT
from cstd._fast.encode cimport OrderTerms, encode_add, encode_amend, encode_cancel, encode_cancel_all, encode_exit_rest
from cstd._fast.exit_watch cimport BY_REST, EXIT_REASON_SHIFT, REST_PRICED
from cstd._fast.exposure cimport Exposure
from cstd._fast.gates cimport GATE_DATA_GAP, WHY_BOOK_UNVERIFIED, WHY_PASSED, DecisionRow, GateInput, judge
from cstd._fast.hist cimport STAGE_GATES, STAGE_ORDER, STAGE_SEND, STAGE_SENT, Histograms, cycles
from cstd._fast.orders cimport OrderRow, OrderTable
from cstd._fast.port cimport OrderPort
from cstd._fast.rate cimport ADD_POINTS, amend_points, cancel_points, order_age_ns, rate_charge
from cstd._fast.recorder cimport Recorder
from cstd._fast.slot cimport InstrumentSlot, window_add, window_count
from cstd._fast.strategy cimport Wish
from cstd._fast.waiting cimport ASKED_GIVEN, ASKED_NO_ROOM, ASKED_WAITS, Waiting

cdef enum:
    HOUR_S = 3600
    MINUTE_S = 60
    SAMPLE_MASK = 15            # the gates are timed on one intent in 16
    SECOND_NS = 1000000000      # a constant, so that dividing by it is not a division
    # By REST the venue refuses a deadline that is nearer than this when it comes. With this added to the deadline that
    # gate 6 judges, what takes longer than that deadline to come is refused, as it is by the socket.
    REST_DEADLINE_MIN_NS = 2000000000

cdef extern from "zero.h" nogil:
    void cstd_zero(void *to, size_t n)

cdef extern from "check.h" nogil:
    void cstd_check(bint holds, const char *what)

cdef extern from "collar.h" nogil:
    int64_t cstd_collar_price(int64_t bid_raw, int64_t collar_mbps, int64_t tick_raw)


# Who was in a decision's cluster is kept as long as the decision; a mask finds its place.
assert <int>MEMBERS_KEPT == <int>DECISIONS_KEPT and DECISIONS_KEPT & (DECISIONS_KEPT - 1) == 0

# Names of the counters in order of their numbers (gateway.pxd).
COUNTERS = (
    "frames", "batches", "book_updates", "checksums_ok", "checksums_bad", "trades", "tickers", "heartbeats",
    "slow_frames", "unknown_instrument", "malformed", "intents", "approved", "reduced", "refused", "orders",
    "cancels", "rejudged", "pulled", "send_refused", "passes", "table_full", "trade_gaps", "agent_faults",
    "handler_faults", "journal_faults", "shadowed", "resyncs", "timers", "unused_frames", "amends",
    "private_scanned", "flooded_frames", "rest_cancels", "rest_exits", "rest_priced_exits", "rate_held", "strategy_faults",
    "follows",
)


# Neither pickles: unpickling could fill one in.
@cython.auto_pickle(False)
cdef class RestCancel:
    """A cancel that is to go by REST. Only the gateway fills one in, and the HTTP client sends no order request without one.

    Attributes:
        method: of the REST interface. params: its (name, value) pairs. None in one that was made anywhere else.
    """


@cython.auto_pickle(False)
cdef class RestExit:
    """An exit that is to go by REST, as RestCancel; always a sell that is not left to rest."""


cdef class Gateway(Exposure):
    """Gates, encoder, order table. recorder: where outputs go; lifecycle: the order state table; port: the link."""

    def __cinit__(self, Recorder recorder, lifecycle, OrderPort port=None):
        self.recorder = recorder
        self.orders = OrderTable(lifecycle)
        self.port = port if port is not None else OrderPort()
        self.hist = Histograms()
        self.rest_cancels = []
        self.rest_exits = []
        self.decisions = <DecisionRow *>calloc(DECISIONS_KEPT, sizeof(DecisionRow))
        if self.decisions == NULL:
            raise MemoryError("decision rows")
        # Touched now: calloc's pages are made at the first store, which would be an order's.
        cstd_zero(self.decisions, DECISIONS_KEPT * sizeof(DecisionRow))
        memset(self.counters, 0, sizeof(self.counters))
        memset(self.refused_by, 0, sizeof(self.refused_by))
        memset(self.failed_by, 0, sizeof(self.failed_by))
        memset(self.noted_by, 0, sizeof(self.noted_by))
        memset(&self.minute, 0, sizeof(self.minute))
        self.trading_state = TRADING_HALTED
        self.collar_count = 0

    def __dealloc__(self):
        free(self.decisions)

    cdef void _halt(self, object reason) noexcept:
        """Stop openings at once: a defect of ours, or a journal that cannot take a record."""
        self.trading_state = TRADING_HALTED
        if reason is None:
            self.counters[COUNT_JOURNAL_FAULTS] += 1
        else:
            self.counters[COUNT_HANDLER_FAULTS] += 1
            if self.fault is None:
                self.fault = reason
        self.attention = True
        self.needs_python = True

    cdef void _intend(self, InstrumentSlot slot, const Wish *wish) noexcept:
        """Turn a wish into an intent, judge it, record the row, and send what the gates let out."""
        cdef GateInput input
        cdef DecisionRow row
        cdef OrderTerms terms
        cdef size_t n = 0
        cdef size_t token_at = 0
        cdef uint64_t before
        cdef int verdict
        cstd_zero(&input, sizeof(input))
        # The gates write the rest of the row whole.
        cstd_zero(&row.event_seq, sizeof(DecisionRow) - (<char *>&row.event_seq - <char *>&row))
        self._fill_input(slot, &input, -1)
        input.kind = <int8_t>wish.kind
        input.qty_raw = wish.qty_raw
        input.episode = wish.episode
        input.deadline_ns = self.deadline_ns
        if wish.kind == EXIT:
            if self._exit_terms(slot, wish, &input) != 0:
                return
        else:
            input.side = BUY
            input.price_raw = wish.price_raw
            input.lifetime_ns = wish.lifetime_ns
            input.time_in_force = GTD
            input.post_only = 1
            input.dedupe_hit = (slot.last_episode[1] >= wish.episode and
                                self.wall_ns - slot.last_episode_ns[1] < slot.limits.dedupe_window_ns)
            if self.waiting.live:
                input.dedupe_hit |= self.taken < 0 and self.waiting.has_episode(slot.number, wish.episode)
            if self.taken >= 0:
                input.qty_wanted_raw = self.waiting.rows[self.taken].wanted_raw
        self.intent_seq += 1
        row.intent_seq = self.intent_seq
        row.order_slot = -1
        input.id_seen = self._next_id(row.cl_ord_id) or self.id_count >= self.id_count_max
        if self.intent_seq & SAMPLE_MASK:
            verdict = judge(&input, &slot.limits, &row)
        else:
            before = cycles()
            verdict = judge(&input, &slot.limits, &row)
            self.hist.observe(STAGE_GATES, before, cycles())
        row.shadow = self.shadow or (slot.shadow and wish.kind == OPENING)
        if wish.kind == EXIT:
            self._note_exit(slot, wish, &row)
        else:
            row.rest = self._asked(&row)
        # Without the private socket nothing but an exit leaves, whatever the gates said; and no exit that may wait.
        if (verdict != REFUSE and not row.shadow and (self.private_up or wish.kind == EXIT)
                and (wish.kind == EXIT or not row.rest & ASKED_WAITS)
                and (wish.reason != EXIT_QUOTE or self._may_quote(slot, &row))):
            row.order_slot = self.orders.take()
            if row.order_slot < 0:
                self.counters[COUNT_TABLE_FULL] += 1
        if row.order_slot >= 0:
            n = self._encode_order(slot, &input, &row, &terms, &token_at)
        if self._record(slot, &row) != 0:
            # What is not on record does not happen, and is not counted: counters are what the records say.
            if row.order_slot >= 0:
                self.orders.release(row.order_slot)
            return
        if row.order_slot >= 0:
            self._send_order(slot, &row, &terms, n, token_at)
        elif wish.kind == OPENING and row.rest:
            self._wait(wish, &row)
        # What follows is for those who look on: the order is on its way already.
        self._keep(&row)
        self._count_verdict(&row)

    cdef uint8_t _asked(self, const DecisionRow *row) noexcept:
        """Whether an opening waits for an operator, as its row's `rest` says it; 0: it leaves as the gates let it out."""
        if self.taken >= 0:
            return ASKED_GIVEN
        if (self.waiting.above_acct_raw < 0 or row.verdict == REFUSE or row.shadow
                or row.notional_acct_raw <= self.waiting.above_acct_raw):
            return 0
        return ASKED_WAITS if self.waiting.free() >= 0 else ASKED_NO_ROOM

    cdef void _wait(self, const Wish *wish, const DecisionRow *row) noexcept:
        """Enter an opening that is on record among those that wait, or count that there was no room for it."""
        cdef Waiting *entry
        if row.rest == ASKED_NO_ROOM:
            self.waiting.counts[<int>APPROVAL_NO_ROOM] += 1
        if row.rest != ASKED_WAITS:
            return
        entry = &self.waiting.rows[self.waiting.free()]
        memset(entry, 0, sizeof(Waiting))
        entry.intent_seq = row.intent_seq
        entry.asked_wall_ns = self.wall_ns
        entry.asked_mono_ns = self.mono_ns
        entry.expires_mono_ns = self.mono_ns + self.waiting.lasts_ns
        entry.price_raw = row.price_raw
        entry.qty_raw = row.qty_final_raw
        entry.wanted_raw = wish.qty_raw
        entry.notional_acct_raw = row.notional_acct_raw
        entry.lifetime_ns = wish.lifetime_ns
        entry.episode = wish.episode
        entry.instrument = row.instrument
        entry.state = APPROVAL_WAITS
        self.waiting.live += 1
        self.waiting.counts[<int>APPROVAL_WAITS] += 1

    cdef int _exit_terms(self, InstrumentSlot slot, const Wish *wish, GateInput *input) noexcept:
        """Price an exit by its collar: IOC, never below best bid less the step's collar; a quote by its wish. -1: not now."""
        cdef int step
        cdef int64_t bid
        if wish.reason == EXIT_QUOTE:
            return self._quote_terms(slot, wish, input)
        if self.hold_exits or self.collar_count == 0 or self.mono_ns < slot.exit_not_before_ns:
            return -1
        if not self.private_up and not self.exits_by_rest:
            return -1
        bid = self._exit_bid(slot)
        if bid <= 0:
            slot.exit_price_wanted = True
            return -1
        input.qty_raw = min(input.qty_raw, input.managed_free_qty_raw)
        input.qty_raw -= input.qty_raw % slot.lot_raw
        if not slot.takes(bid, input.qty_raw):
            return -1
        if slot.exit_wished_mono_ns and self.mono_ns - slot.exit_wished_mono_ns >= self.collar_wait_ns:
            slot.exit_attempts += 1
            slot.exit_wished_mono_ns = self.mono_ns
        if slot.exit_wished_mono_ns == 0:
            slot.exit_wished_mono_ns = self.mono_ns
        step = min(<int>slot.exit_attempts + (1 if wish.urgency else 0), <int>self.collar_count - 1)
        if slot.book.state != BOOK_VERIFIED:
            input.rest_bid_raw = bid
            input.rest_age_ns = self.mono_ns - slot.rest_read_mono_ns
        input.side = SELL
        input.time_in_force = IOC
        input.collar_mbps = self.collar_mbps[step]
        input.price_raw = cstd_collar_price(bid, input.collar_mbps, slot.tick_raw)
        if not slot.takes(input.price_raw, input.qty_raw):
            # So little that its collar would take it below the venue's least cost.
            input.price_raw = cstd_collar_price(bid, 0, slot.tick_raw)
        return 0

    cdef int _quote_terms(self, InstrumentSlot slot, const Wish *wish, GateInput *input) noexcept:
        """A sell of what is managed and free that rests above the best bid, post-only, until its lifetime ends. -1: not now."""
        if not self._asks_may_rest(slot) or self.mono_ns < slot.quote_not_before_ns:
            return -1
        if slot.book.state != BOOK_VERIFIED or wish.price_raw <= slot.book.best_bid():
            return -1
        input.qty_raw = min(input.qty_raw, input.managed_free_qty_raw)
        input.qty_raw -= input.qty_raw % slot.lot_raw
        if not slot.takes(wish.price_raw, input.qty_raw):
            return -1
        input.side = SELL
        input.price_raw = wish.price_raw
        input.lifetime_ns = wish.lifetime_ns
        input.time_in_force = GTD
        input.post_only = 1
        return 0

    cdef bint _asks_may_rest(self, InstrumentSlot slot) noexcept:
        """Whether nothing else wants what is held sold, and the daemon trades. Paused it may: it only sells what is held."""
        return not (self.kill_latched or self.hold_exits or slot.flatten or slot.watch.reason or not self.private_up
                    or self.trading_state > TRADING_PAUSED or self.mono_ns >= self.openings_until_ns)

    cdef bint _may_quote(self, InstrumentSlot slot, const DecisionRow *row) noexcept:
        """Whether a sell may rest as its row was judged: gate 12 holds, with an opening's grace while it rests."""
        cdef int gap = row.reason[GATE_DATA_GAP - 4]
        if not self._asks_may_rest(slot):
            return False
        return gap == WHY_PASSED or (gap == WHY_BOOK_UNVERIFIED and row.rejudge and slot.unverified_since_ns
                                     and self.mono_ns - slot.unverified_since_ns <= slot.limits.unverified_grace_ns)

    cdef bint _book_lost(self, InstrumentSlot slot) noexcept:
        """Whether the book has been unusable for so long that an exit may be priced without it."""
        return (slot.unverified_since_ns != 0
                and self.mono_ns - slot.unverified_since_ns > slot.limits.rest_price_after_ns)

    cdef int64_t _exit_bid(self, InstrumentSlot slot) noexcept:
        """The bid that an exit's collar is measured from: of the verified book, or of a fresh REST snapshot; 0 for none."""
        cdef int64_t age_ns = self.mono_ns - slot.rest_read_mono_ns
        if slot.book.state == BOOK_VERIFIED:
            return slot.book.best_bid()
        return slot.rest_bid_raw if self._book_lost(slot) and 0 <= age_ns <= slot.limits.rest_age_max_ns else 0

    cdef void _note_exit(self, InstrumentSlot slot, const Wish *wish, DecisionRow *row) noexcept:
        """Say in the row why the exit goes, which way, and where its price is from. A lost book shows no quote."""
        row.rest = <uint8_t>(wish.reason << EXIT_REASON_SHIFT)
        if not self.private_up:
            row.rest |= BY_REST
        if slot.book.state != BOOK_VERIFIED:
            row.rest |= REST_PRICED
            row.bid_raw = slot.rest_bid_raw
            row.ask_raw = slot.rest_ask_raw
            row.mid2_raw = 0            # slippage is measured against a verified mid alone

    cdef void _fill_input(self, InstrumentSlot slot, GateInput *input, int skip) noexcept:
        """Everything the gates read that does not depend on the wish. skip: order left out of count and exposure."""
        cdef Book book = slot.book
        input.bids = &book.bids
        input.asks = &book.asks
        input.book_verified = book.state == BOOK_VERIFIED
        input.book_fault = <int8_t>book.fault
        input.price_scale = slot.price_scale
        input.qty_scale = slot.qty_scale
        input.tick_raw = slot.tick_raw
        input.lot_raw = slot.lot_raw
        input.qty_min_raw = slot.qty_min_raw
        input.cost_min_quote_e8 = slot.cost_min_e8
        input.instrument = slot.number
        input.strategy_code = self.strategy_code
        input.now_wall_ns = self.wall_ns
        input.now_mono_ns = self.mono_ns
        input.unverified_for_ns = self.mono_ns - slot.unverified_since_ns if slot.unverified_since_ns else 0
        input.evidence_age_ns = self.mono_ns - slot.evidence_mono_ns
        input.silent_for_ns = self.mono_ns - slot.data_mono_ns
        input.clock_offset_ns = self.clock_offset_ns
        if self.clock_known:
            input.clock_offset_ns += self.wall_ns - self.mono_ns - self.clock_base_ns
        input.conversion_rate_e8 = slot.rate_e8
        input.conversion_ok = slot.rate_e8 > 0
        input.reference_price_raw = slot.reference_raw if self.mono_ns <= slot.reference_until_ns else 0
        input.reference_required = slot.reference_required
        input.venue_online = self.venue_online
        input.instrument_online = slot.online and slot.configured
        input.private_up = self.private_up
        input.private_ready = self.private_ready
        input.last_verified_bid_raw = slot.last_verified_bid_raw
        input.parents_instrument_hour = window_count(&slot.parents, self.wall_ns, <int64_t>HOUR_S * SECOND_NS)
        input.parents_minute = window_count(&self.minute, self.wall_ns, <int64_t>MINUTE_S * SECOND_NS)
        input.turnover_day_acct_raw = self.turnover_day_acct_raw
        input.losing_round_trips = slot.losing_round_trips
        input.instrument_off = slot.switched_off
        input.volume_hour_acct_raw = slot.bars.value_hour_acct_raw(self.wall_ns)
        input.volume_ready = slot.bars.hour_ready(self.wall_ns)
        input.markout_allowance_mbps = self.markout_allowance_mbps
        input.slippage_day_acct_raw = self.slippage_day_acct_raw
        input.slippage_p95_mbps = self.slippage_p95_mbps
        input.slippage_fills = self.slippage_fills
        input.day_start_equity_acct_raw = self.day_start_equity_acct_raw
        input.equity_acct_raw = self.equity_acct_raw
        input.day_loss_bps = self.day_loss_bps
        input.day_loss_acct_raw = self.day_loss_acct_raw
        input.drawdown_bps = self.drawdown_bps
        input.level = <int8_t>self.level
        input.trading_state = <int8_t>(TRADING_NOT_READY if self.trading_state == TRADING_READY
                                       and self.mono_ns >= self.openings_until_ns else self.trading_state)
        input.kill_latched = self.kill_latched
        self._fill_exposure(slot, input, skip)

    cdef int _record(self, InstrumentSlot slot, DecisionRow *row) noexcept:
        """Put a decision row on record; it must be there before anything follows from it. Returns 0 or -1."""
        row.event_seq = self.recorder.seq
        row.checksum = slot.book.checksum
        memcpy(row.config_hash8, self.config_hash8, 8)
        memcpy(row.agents_hash8, self.agents_hash8, 8)
        if self.recorder.output(OUT_DECISION, row.verdict, self.mono_ns, self.wall_ns, row, sizeof(DecisionRow)) != 0:
            self._halt(None)
            return -1
        return 0

    cdef void _keep(self, const DecisionRow *row) noexcept:
        """Keep a recorded row for display."""
        self.decisions[self.decision_count % DECISIONS_KEPT] = row[0]
        if self.correlations.count > 1:
            self.correlations.keep(self.decision_count)
        self.decision_count += 1

    cdef void _count_verdict(self, const DecisionRow *row) noexcept:
        cdef int i, code
        self.counters[COUNT_INTENTS] += 1
        if row.verdict != REFUSE and row.shadow:
            self.counters[COUNT_SHADOWED] += 1
        if row.verdict == APPROVE:
            self.counters[COUNT_APPROVED] += 1
        elif row.verdict == REDUCE:
            self.counters[COUNT_REDUCED] += 1
        else:
            self.counters[COUNT_REFUSED] += 1
            self.refused_by[row.first_failing & (GATE_CODES - 1)] += 1
        for i in range(15):
            if not (row.policy_pass_mask | row.risk_pass_mask << 7) & (1 << i):
                code = i + 1 if i < 7 else i + 4
                if row.recorded_mask & (1 << i):
                    self.noted_by[code] += 1
                else:
                    self.failed_by[code] += 1

    cdef size_t _encode_order(self, InstrumentSlot slot, const GateInput *input, const DecisionRow *row,
                              OrderTerms *terms, size_t *token_at) noexcept:
        """Order bytes of an intent that the gates let out, in self.frame; returns their length."""
        cdef size_t n
        self.req_seq += 1
        terms.side = row.side
        terms.time_in_force = input.time_in_force
        terms.post_only = input.post_only
        terms.price_raw = row.price_raw
        terms.qty_raw = row.qty_final_raw
        terms.deadline_wall_ns = self.wall_ns + input.deadline_ns + (0 if self.private_up else REST_DEADLINE_MIN_NS)
        # An exit must not be refused for a clock that is wrong; an opening is stopped by its gate.
        terms.clock_ahead_ns = input.clock_offset_ns if row.kind == EXIT else 0
        terms.expire_wall_ns = terms.deadline_wall_ns
        if input.time_in_force == GTD:
            terms.expire_wall_ns = self.wall_ns + input.lifetime_ns
            terms.expire_wall_ns -= terms.expire_wall_ns % SECOND_NS
        terms.req_id = self.req_seq
        terms.cl_ord_id = &row.cl_ord_id[0]
        if self.private_up:
            n = encode_add(self.frame, &slot.wire, terms, &self.day, token_at)
        else:
            cstd_check(row.kind == EXIT and row.side == SELL and input.time_in_force == IOC, b"by REST nothing but exits")
            n = encode_exit_rest(self.frame, &slot.wire, terms, &self.day)
        self.encoded_cycles = cycles()
        return n

    cdef void _send_order(self, InstrumentSlot slot, const DecisionRow *row, const OrderTerms *terms, size_t n,
                          size_t token_at) noexcept:
        """The gateway: record and hand over what was encoded, then keep the order."""
        cdef OrderRow *order = &self.orders.rows[row.order_slot]
        if not self.private_up:
            self._exit_by_rest(n)
        elif self._out(ACTION_ADD, n, token_at, row.kind == OPENING) == 0:
            self.hist.observe(STAGE_SENT, slot.touched_cycles, cycles())
        self.hist.observe(STAGE_ORDER, slot.touched_cycles, self.encoded_cycles)
        self.counters[COUNT_ORDERS] += 1
        self.counters[COUNT_REST_PRICED] += (row.rest & REST_PRICED) != 0
        order.state = ORDER_INTENDED
        order.instrument = slot.number
        order.strategy = row.strategy
        order.kind = row.kind
        order.side = row.side
        order.time_in_force = <int8_t>terms.time_in_force
        order.post_only = <int8_t>terms.post_only
        order.price_raw = terms.price_raw
        order.qty_raw = terms.qty_raw
        order.decided_mid2_raw = row.mid2_raw
        order.sent_mono_ns = order.changed_mono_ns = self.mono_ns
        order.sent_wall_ns = self.wall_ns
        order.deadline_wall_ns = terms.deadline_wall_ns
        order.expire_wall_ns = terms.expire_wall_ns
        order.intent_seq = row.intent_seq
        order.episode = row.episode
        order.req_id = terms.req_id
        order.last_verdict = APPROVE
        order.exit_reason = row.rest >> EXIT_REASON_SHIFT
        memcpy(order.cl_ord_id, row.cl_ord_id, 18)
        if row.kind == OPENING:
            # What an operator approved stays at the price that he was shown.
            order.follows = row.price_raw == slot.book.best_bid() and self.taken < 0
            window_add(&slot.parents, self.wall_ns)
            window_add(&self.minute, self.wall_ns)
            slot.last_episode[1] = row.episode
            slot.last_episode_ns[1] = self.wall_ns
        self._id_add(self.prepared_key)
        rate_charge(&slot.rate, ADD_POINTS, self.mono_ns)
        self.orders.move(row.order_slot, ON_SEND, self.mono_ns)

    cdef void _cancel(self, int index, int reason) noexcept:
        """Cancel one live order, by REST while the private socket is down. A cancel passes no gate."""
        cdef OrderRow *order = &self.orders.rows[index]
        cdef InstrumentSlot slot = <InstrumentSlot>PyList_GET_ITEM(self.slots, order.instrument)
        cdef size_t n, token_at = 0
        rate_charge(&slot.rate, cancel_points(order_age_ns(order, self.mono_ns)), self.mono_ns)
        self.req_seq += 1
        order.cancel_sent = 1
        order.cancel_reason = <int8_t>reason
        order.cancel_mono_ns = self.mono_ns
        order.cancel_req_id = self.req_seq
        self.counters[COUNT_CANCELS] += 1
        if self.private_up:
            n = encode_cancel(self.frame, order.cl_ord_id, self.req_seq, &token_at)
            self._out(ACTION_CANCEL, n, token_at)
        else:
            self._cancel_by_rest("CancelOrder", (("cl_ord_id", order.cl_ord_id[:18].decode("ascii")),))
        self.orders.move(index, ON_CANCEL_SENT, self.mono_ns)

    cdef void _amend(self, InstrumentSlot slot, int index, int64_t qty_raw, int64_t price_raw) noexcept:
        """Amend a resting opening to a total quantity, never a larger one, and a price that its gates let pass. Until the
        venue confirms, the larger of the two counts."""
        cdef OrderRow *order = &self.orders.rows[index]
        cdef OrderTerms terms
        cdef size_t n, token_at = 0
        rate_charge(&slot.rate, amend_points(order_age_ns(order, self.mono_ns)), self.mono_ns)
        self.req_seq += 1
        terms.price_raw = price_raw
        terms.qty_raw = qty_raw
        terms.deadline_wall_ns = self.wall_ns + self.deadline_ns
        terms.req_id = self.req_seq
        terms.cl_ord_id = order.cl_ord_id
        n = encode_amend(self.frame, &slot.wire, &terms, &self.day, &token_at)
        cstd_check(qty_raw <= order.qty_raw, b"an amend makes no order larger")
        order.amend_qty_raw = qty_raw
        order.amend_price_raw = price_raw if price_raw != order.price_raw else 0
        order.amend_req_id = self.req_seq
        order.amended_mono_ns = self.mono_ns
        self.counters[COUNT_AMENDS] += 1
        self._out(ACTION_AMEND, n, token_at)

    cdef void _cancel_all(self) noexcept:
        """Cancel every order of the account, where the operator has said that it is ours alone."""
        cdef size_t token_at = 0
        cdef size_t n
        self.req_seq += 1
        self.counters[COUNT_CANCELS] += 1
        if self.private_up:
            n = encode_cancel_all(self.frame, self.req_seq, &token_at)
            self._out(ACTION_CANCEL_ALL, n, token_at)
        else:
            self._cancel_by_rest("CancelAll", ())

    cdef void _cancel_by_rest(self, str method, tuple params) noexcept:
        """Record a cancel and leave it for the REST lane, which `attention` brings to work within this event."""
        cdef RestCancel cancel = RestCancel.__new__(RestCancel)
        cdef bytes text = f"{method}?{'&'.join([f'{name}={value}' for name, value in params])}".encode("ascii")
        cancel.method = method
        cancel.params = params
        if self.recorder.output(OUT_ORDER_FRAME, ACTION_CANCEL_REST, self.mono_ns, self.wall_ns, <const char *>text, len(text)) != 0:
            self._halt(None)
            return
        self.counters[COUNT_REST_CANCELS] += 1
        self.rest_cancels.append(cancel)
        self.attention = True
        self.needs_python = True

    cdef void _exit_by_rest(self, size_t n) noexcept:
        """Record the exit that stands in `frame` and leave it for the REST lane, as `_cancel_by_rest` does."""
        cdef RestExit made
        if self.recorder.output(OUT_ORDER_FRAME, ACTION_EXIT_REST, self.mono_ns, self.wall_ns, self.frame, n) != 0:
            self._halt(None)
            return
        method, _, query = self.frame[:n].decode("ascii").partition("?")
        made = RestExit.__new__(RestExit)
        made.method = method
        made.params = tuple([tuple(field.split("=", 1)) for field in query.split("&")])
        self.counters[COUNT_REST_EXITS] += 1
        self.rest_exits.append(made)
        self.attention = True
        self.needs_python = True

    def take_rest_cancels(self):
        """Cancels that wait to go by REST, in order (RestCancel)."""
        taken, self.rest_cancels = self.rest_cancels, []
        return taken

    def take_rest_exits(self):
        """Exits that wait to go by REST, in order (RestExit)."""
        taken, self.rest_exits = self.rest_exits, []
        return taken

    cdef int _out(self, int action, size_t n, size_t token_at, bint opening=False) noexcept:
        """Record an order frame, then hand it to the port. What the port says does not change the engine's state: a
        frame that did not leave is found out by silence and evidence, the same in a replay as when it happened."""
        cdef uint64_t start
        if self.recorder.output(OUT_ORDER_FRAME, action, self.mono_ns, self.wall_ns, self.frame, n) != 0:
            self._halt(None)
            return -1
        if self.port.durable and action == ACTION_ADD and self.port.make_durable() != 0 and opening:
            self.counters[COUNT_SEND_REFUSED] += 1
            return -1
        start = cycles()
        if self.port.send(self.frame, n, token_at, opening) != 0:
            self.counters[COUNT_SEND_REFUSED] += 1
            return -1
        self.hist.observe(STAGE_SEND, start, cycles())
        return 0
