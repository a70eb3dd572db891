"""The compiled engine: the main flow from a frame to a wish.

Purpose: apply every event in order; at the end of a read batch run one decision pass for each touched instrument. Takes:
frames (borrowed), ends of batches, and what the handler (the Python part of the engine) writes from slow messages. Gives:
wishes to the gateway (gateway.pyx), from which alone order frames come.

Invariants held here: every event is recorded before it is applied; nothing reads a clock, a random source or a file. The
cycle counter feeds histograms and nothing else.

The order of the file is the path of a frame: on_frame, the frame kinds, end_batch, the pass, the wish.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM
from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t
from libc.string cimport memset

from cstd._fast.book cimport Book
from cstd._fast.codes cimport (
    BOOK_VERIFIED, DROP_NONE, DROP_STRATEGY, EVENT_BATCH_END, EVENT_FRAME, EXIT_FLATTEN, EXIT_FLIP, EXIT_QUOTE,
    FAULT_CHECKSUM, FAULT_EXCESS_DIGITS, FAULT_MALFORMED, FAULT_NONE, FAULT_NO_CHECKSUM, FAULT_NO_SNAPSHOT,
    FAULT_PRECISION_UNKNOWN, LINK_PRIVATE, LINK_PUBLIC, ORDER_CANCEL_PENDING, ORDER_OPEN, ORDER_PARTIAL, SCAN_BOOK,
    SCAN_HEARTBEAT, SCAN_SLOW, SCAN_TICKER, SCAN_TRADE, SCAN_UNKNOWN_INSTRUMENT, SCAN_UNUSED,
)
from cstd._fast.exit_watch cimport exit_on_mid, exit_on_time
from cstd._fast.features cimport (
    BOOK_FEATURE_COUNT, FEATURE_COUNT, copy_indicators, on_book, on_book_break, on_tape_begin, on_trade, quantise,
)
from cstd._fast.gateway cimport (
    COUNT_AGENT_FAULTS, COUNT_BATCHES, COUNT_BOOK_UPDATES, COUNT_CHECKSUMS_BAD, COUNT_CHECKSUMS_OK, COUNT_FLOODED,
    COUNT_FRAMES, COUNT_HEARTBEATS, COUNT_MALFORMED, COUNT_PASSES, COUNT_PRIVATE_SCANNED,
    COUNT_SLOW_FRAMES, COUNT_STRATEGY_FAULTS, COUNT_TICKERS, COUNT_TRADE_GAPS, COUNT_TRADES, COUNT_UNKNOWN_INSTRUMENT, COUNT_UNUSED, TAPE_KEPT,
)
from cstd._fast.hist cimport STAGE_BOOK, STAGE_DECISION, STAGE_FEATURES, STAGE_FRAME, STAGE_SCAN, cycles
from cstd._fast.layout cimport Level
from cstd._fast.orders cimport OrderRow
from cstd._fast.rate cimport ADD_POINTS
from cstd._fast.recorder cimport STRIPED
from cstd._fast.reports cimport ReportScanner
from cstd._fast.resting cimport RestingGateway
from cstd._fast.slot cimport InstrumentSlot, sellable
from cstd._fast.strategy cimport (
    WISH_CANCEL_ASK, WISH_CANCEL_BID, WISH_CANCEL_BOTH, WISH_EXIT, WISH_OPEN, WISH_QUOTE, StrategyView, Wish,
)
from cstd._fast.wire cimport Scanner, WireTrade

cdef enum:
    SAMPLE_MASK = 15            # stages inside a frame are timed on one frame in 16
    # What the tolerant path may spend on one link. The largest frame the venue sends it is the instrument snapshot (about
    # half a megabyte); a start takes that and three bar histories of 180 kB for each instrument.
    SLOW_FRAME_BYTES_MAX = 4194304
    SLOW_BYTE_NS = 1000         # a megabyte a second
    SLOW_BURST_BYTES = 8388608
    SLOW_BURST_BYTES_EACH = 2097152

# What no wish of a user's own strategy is beyond, and how many faults in a row stop its openings.
cdef enum:
    STRATEGY_FAULTS_MAX = 3
    WISH_RAW_MAX = 1000000000000000000
    WISH_LIFETIME_NS_MAX = 86400000000000

cdef enum:
    SECOND_NS = 1000000000      # a constant, so that dividing by it is not a division

cdef extern from "zero.h" nogil:
    void cstd_zero(void *to, size_t n)

cdef extern from *:
    """
    #include <stdint.h>
    #pragma pack(push, 1)
    typedef struct {
        int64_t event, bid_raw, bid_qty_raw, ask_raw, ask_qty_raw;
        int32_t instrument, features, quantised[128];
    } cstd_pass_row;
    #pragma pack(pop)
    """
    ctypedef struct PassRow "cstd_pass_row":
        int64_t event
        int64_t bid_raw
        int64_t bid_qty_raw
        int64_t ask_raw
        int64_t ask_qty_raw
        int32_t instrument
        int32_t features        # how many of the row follow: all when a bar has closed, else those of the book
        int32_t quantised[128]


cdef class FastEngine(RestingGateway):
    """The gateway with its flow of events. Arguments as Gateway; `handler` is the Python part of the engine."""

    def __cinit__(self, *args):
        self.scanner = Scanner()
        self.reports = ReportScanner()
        memset(self.book_faults, 0, sizeof(self.book_faults))
        memset(self.link_frame_ns, 0, sizeof(self.link_frame_ns))
        memset(self.slow_until_ns, 0, sizeof(self.slow_until_ns))
        memset(self.flooded, 0, sizeof(self.flooded))
        self.touched_count = 0

    # A frame.

    cdef int on_frame(self, int link, const char *data, size_t n, int64_t mono_ns, int64_t wall_ns) noexcept:
        """Take one frame: record it, apply it. Decisions wait for the end of the batch."""
        cdef uint64_t start = cycles()
        cdef int status
        cdef InstrumentSlot slot
        self.mono_ns = mono_ns
        self.wall_ns = wall_ns
        if self.recorder.input(EVENT_FRAME, link, mono_ns, wall_ns, data, n) != 0:
            self._halt(None)
        self.counters[COUNT_FRAMES] += 1
        self.link_frame_ns[link & 3] = mono_ns
        if link != LINK_PUBLIC:
            return self._private(data, n) if link == LINK_PRIVATE else self._slow(link, data, n)
        self.batch_open = True
        status = self.scanner.scan(data, n)
        if status == SCAN_HEARTBEAT:
            self.counters[COUNT_HEARTBEATS] += 1
            return 0
        if status == SCAN_UNUSED:
            self.counters[COUNT_UNUSED] += 1
            return 0
        if status != SCAN_BOOK and status != SCAN_TRADE and status != SCAN_TICKER:
            if status == SCAN_UNKNOWN_INSTRUMENT:
                self.counters[COUNT_UNKNOWN_INSTRUMENT] += 1
            return self._slow(link, data, n)
        if (self.counters[COUNT_FRAMES] & SAMPLE_MASK) == 0:
            self.hist.observe(STAGE_SCAN, start, cycles())
        slot = <InstrumentSlot>PyList_GET_ITEM(self.slots, self.scanner.out.instrument)
        if not slot.configured:
            # Digits mean nothing without a precision; the tolerant path refuses, or infers it in a recording.
            return self._slow(link, data, n)
        slot.data_mono_ns = mono_ns
        slot.frames += 1
        if status == SCAN_BOOK:
            self._book(slot, start)
        elif status == SCAN_TRADE:
            self._trades(slot, start)
        else:
            self._ticker(slot)
        if (self.counters[COUNT_FRAMES] & SAMPLE_MASK) == 0:
            self.hist.observe(STAGE_FRAME, start, cycles())
        return 0

    cdef int _private(self, const char *data, size_t n) noexcept:
        """Take a frame of the private socket: scanned in place where its shape is the venue's usual one."""
        cdef int status = self.reports.scan(data, n)
        if status == SCAN_SLOW:
            return self._slow(LINK_PRIVATE, data, n)
        if status == SCAN_HEARTBEAT:
            self.counters[COUNT_HEARTBEATS] += 1
            return 0
        self.counters[COUNT_PRIVATE_SCANNED] += 1
        try:
            self.reports.deliver(status, self.handler, self.mono_ns, self.wall_ns)
        except Exception as error:
            self._halt(error)
            return -1
        return 0

    cdef int _slow(self, int link, const char *data, size_t n) noexcept:
        """Hand a frame that the scanner does not know to the tolerant path, in its place in the order of events."""
        self.counters[COUNT_SLOW_FRAMES] += 1
        if not self._affordable(link & 3, n):
            return 0
        try:
            self.handler.on_slow_frame(link, PyBytes_FromStringAndSize(data, n), self.mono_ns, self.wall_ns)
        except Exception as error:
            self._halt(error)
            return -1
        return 0

    cdef bint _affordable(self, int link, size_t n) noexcept:
        """Whether the tolerant path may take `n` bytes more from a link; the first time not, the link is given up.

        Each byte is paid for by event time, so replay refuses the same frames. A refused frame may have held anything:
        the handler takes the link for down, which blocks its books and makes its orders UNKNOWN.
        """
        cdef int64_t paid_ns = max(self.slow_until_ns[link], self.mono_ns) + <int64_t>n * SLOW_BYTE_NS
        cdef int64_t burst_bytes = SLOW_BURST_BYTES + <int64_t>len(self.slots) * SLOW_BURST_BYTES_EACH
        if not self.flooded[link] and n <= SLOW_FRAME_BYTES_MAX and paid_ns - self.mono_ns <= burst_bytes * SLOW_BYTE_NS:
            self.slow_until_ns[link] = paid_ns
            return True
        self.counters[COUNT_FLOODED] += 1
        if not self.flooded[link]:
            self.flooded[link] = True
            try:
                self.handler.on_flood(link, <int64_t>n, self.mono_ns, self.wall_ns)
            except Exception as error:
                self._halt(error)
        return False

    cdef void _book(self, InstrumentSlot slot, uint64_t start) noexcept:
        cdef Book book = slot.book
        cdef int fault
        cdef uint64_t before
        cdef bint sampled = (self.counters[COUNT_FRAMES] & SAMPLE_MASK) == 0
        if sampled:
            before = cycles()
        if self.scanner.out.excess_digits:
            fault = book.set_fault(FAULT_EXCESS_DIGITS)
        else:
            fault = book.apply(
                self.scanner.out.snapshot, self.scanner.bids, self.scanner.out.n_bids, self.scanner.asks,
                self.scanner.out.n_asks, self.scanner.out.has_checksum, self.scanner.out.checksum,
                self.scanner.out.exch_ns)
        if sampled:
            self.hist.observe(STAGE_BOOK, before, cycles())
        self._book_judged(slot, fault, self.scanner.out.has_checksum)
        self._touch(slot, start)

    cdef void _book_judged(self, InstrumentSlot slot, int fault, bint had_checksum) noexcept:
        """Count the verdict on a book and keep evidence, features and the wish for a resync in step with it."""
        cdef uint64_t before
        cdef bint sampled
        self.counters[COUNT_BOOK_UPDATES] += 1
        if fault == FAULT_CHECKSUM:
            self.counters[COUNT_CHECKSUMS_BAD] += 1
        elif had_checksum and fault != FAULT_NO_SNAPSHOT and fault != FAULT_EXCESS_DIGITS \
                and fault != FAULT_PRECISION_UNKNOWN and fault != FAULT_MALFORMED:
            self.counters[COUNT_CHECKSUMS_OK] += 1
        if fault == FAULT_NONE:
            slot.evidence_mono_ns = self.mono_ns
            slot.unverified_since_ns = 0
            slot.last_verified_bid_raw = slot.book.best_bid()
            if slot.watch.stop2_raw:
                exit_on_mid(&slot.watch, slot.last_verified_bid_raw + slot.book.best_ask(), self.mono_ns)
            if self.orders.live_count or slot.book.bids.own_marked or slot.book.asks.own_marked:
                self._mark_own(slot)
            sampled = (self.counters[COUNT_FRAMES] & SAMPLE_MASK) == 0
            if sampled:
                before = cycles()
            on_book(&slot.features, &slot.book.bids, &slot.book.asks, slot.price_unit, slot.qty_unit, self.mono_ns,
                    slot.row, slot.valid)
            if sampled:
                self.hist.observe(STAGE_FEATURES, before, cycles())
            return
        self.book_faults[fault] += 1
        if slot.unverified_since_ns == 0:
            slot.unverified_since_ns = self.mono_ns
        on_book_break(&slot.features, slot.row, slot.valid)
        if fault != FAULT_NO_SNAPSHOT and fault != FAULT_NO_CHECKSUM and not slot.resync_wanted:
            slot.resync_wanted = True
            self.attention = True

    cdef void _mark_own(self, InstrumentSlot slot) noexcept:
        """Keep our own resting quantity on its levels, so that depth and features can leave it out."""
        cdef int i
        cdef OrderRow *order
        cdef Level *level
        if slot.book.bids.own_marked or slot.book.asks.own_marked:
            # An order that has ended is in no list any more: what it left on a level goes with all the rest.
            slot.book.clear_own()
        for i in range(self.orders.live_count):
            order = &self.orders.rows[self.orders.live[i]]
            if order.instrument == slot.number and (order.state == ORDER_OPEN or order.state == ORDER_PARTIAL
                                                    or order.state == ORDER_CANCEL_PENDING):
                level = slot.book.find(order.side, order.price_raw)
                if level != NULL:
                    level.own_qty_raw += self.orders.leaves(order)
                    slot.book.side(order.side).version += 1
                    slot.book.side(order.side).own_marked = True

    cdef void _trades(self, InstrumentSlot slot, uint64_t start) noexcept:
        cdef int i
        cdef int closed = 0
        cdef WireTrade *trade
        cdef TapeRow *kept
        if self.scanner.out.excess_digits:
            self.counters[COUNT_MALFORMED] += 1
            return
        for i in range(self.scanner.out.n_trades):
            trade = &self.scanner.trades[i]
            if trade.trade_id >= 0 and trade.trade_id <= slot.last_trade_id:
                continue        # a snapshot repeats what we have
            if slot.last_trade_id >= 0 and trade.trade_id > slot.last_trade_id + 1:
                slot.trade_gaps += 1
                self.counters[COUNT_TRADE_GAPS] += 1
                slot.bars.begin_tape(trade.exch_ns)
                on_tape_begin(&slot.features, self.mono_ns)
            if trade.trade_id >= 0:
                slot.last_trade_id = trade.trade_id
            slot.last_trade_raw = trade.price_raw
            slot.last_trade_wall_ns = trade.exch_ns
            self.counters[COUNT_TRADES] += 1
            closed |= slot.bars.on_trade(trade.price_raw, trade.qty_raw, trade.exch_ns)
            if not self.scanner.out.snapshot:
                on_trade(&slot.features, trade.side, trade.price_raw, trade.qty_raw, self.mono_ns)
            kept = &self.tape[self.tape_count % TAPE_KEPT]
            kept.wall_ns = trade.exch_ns
            kept.price_raw = trade.price_raw
            kept.qty_raw = trade.qty_raw
            kept.instrument = slot.number
            kept.side = trade.side
            self.tape_count += 1
        if closed:
            self._bars_closed(slot, closed)
        self._touch(slot, start)

    cdef void _bars_closed(self, InstrumentSlot slot, int closed) noexcept:
        """Feed closed bars to their indicators and let the bar agents vote."""
        slot.bars_changed = True
        if closed & 1:
            slot.bars.feed_last(0, slot.m1)
            copy_indicators(slot.m1, 0, slot.row, slot.valid)
        if closed & 2:
            slot.bars.feed_last(1, slot.m5)
            copy_indicators(slot.m5, 1, slot.row, slot.valid)
            self.correlations.bar_closed(self.slots, slot.number)
        if closed & 4:
            slot.bars.feed_last(2, slot.h1)
            copy_indicators(slot.h1, 2, slot.row, slot.valid)
        self._vote(slot, True)

    cdef void _ticker(self, InstrumentSlot slot) noexcept:
        """A ticker whose top of book agrees is evidence that a quiet book is current."""
        cdef Book book = slot.book
        self.counters[COUNT_TICKERS] += 1
        slot.tickers += 1
        slot.ticker_last_raw = self.scanner.out.last_raw
        if book.state != BOOK_VERIFIED or self.scanner.out.excess_digits:
            return
        if (self.scanner.out.bid.price_raw == book.best_bid() and self.scanner.out.ask.price_raw == book.best_ask()
                and self.scanner.out.bid.qty_raw == book.bids.level[book.bids.end - 1].qty_raw
                and self.scanner.out.ask.qty_raw == book.asks.level[book.asks.end - 1].qty_raw):
            slot.evidence_mono_ns = self.mono_ns

    cdef void _touch(self, InstrumentSlot slot, uint64_t start) noexcept:
        if not slot.touched:
            slot.touched = True
            slot.touched_cycles = start
            if self.touched_count == 0:
                self.batch_cycles = start
            self.touched[self.touched_count] = slot.number
            self.touched_count += 1

    # The end of a batch, and a timer.

    cdef void end_batch(self, int link, int64_t mono_ns, int64_t wall_ns) noexcept:
        """Everything that had arrived is applied: decide once per touched instrument."""
        self.mono_ns = mono_ns
        self.wall_ns = wall_ns
        self.counters[COUNT_BATCHES] += 1
        if self.recorder.input(EVENT_BATCH_END, link, mono_ns, wall_ns, NULL, 0) != 0:
            self._halt(None)
        if link == LINK_PUBLIC:
            self.batch_open = False
        # The end of a read of the private socket is none of a public batch that waits for newer data.
        if self.touched_count and not self.batch_open:
            self._run_passes(0, False)
            self.hist.observe(STAGE_DECISION, self.batch_cycles, cycles())
        if self.attention:
            self.attention = False
            self.needs_python = True
            try:
                self.handler.on_attention(mono_ns, wall_ns)
            except Exception as error:
                self._halt(error)
        if self.recorder.pending_n >= STRIPED:
            self.recorder.settle()
        self._prepare_id()

    cdef void _run_passes(self, int first, bint by_timer) noexcept:
        """Run the passes of the touched instruments from index `first` on."""
        cdef int i
        cdef InstrumentSlot slot
        for i in range(first, self.touched_count):
            slot = <InstrumentSlot>PyList_GET_ITEM(self.slots, self.touched[i])
            slot.touched = False
            if by_timer:
                slot.touched_cycles = cycles()  # no frame asked for this pass: what a tick did before it is no way of an order
            self._pass(slot, by_timer)
        self.touched_count = first

    # The decision pass of one instrument.

    cdef void _pass(self, InstrumentSlot slot, bint by_timer) noexcept:
        self.counters[COUNT_PASSES] += 1
        if slot.watch.hits:
            exit_on_time(&slot.watch, self.mono_ns)
        if slot.book.state == BOOK_VERIFIED:
            self._vote(slot, False)
            if self.recorder.digest_passes:
                self._record_pass(slot)
        if self.orders.live_count:
            self._rejudge(slot)
        if slot.book.state == BOOK_VERIFIED:
            self._decide(slot, by_timer)
        elif slot.configured and sellable(slot) and self._book_lost(slot):
            self._decide(slot, by_timer)    # exits alone

    cdef void _vote(self, InstrumentSlot slot, bint at_bar) noexcept:
        """Call the agents of this rhythm. A fault is counted and counts as abstention."""
        cdef int i
        cdef int32_t status
        cdef double *vote
        for i in range(self.agent_count):
            if self.agent_per_bar[i] != at_bar:
                continue
            vote = slot.votes[i]
            vote[0] = 0.0
            vote[1] = 0.0
            status = self.agents[i](slot.row, slot.valid, slot.agent_state[i], vote)
            if status == 1 and not ((vote[0] == -1.0 or vote[0] == 0.0 or vote[0] == 1.0) and 0.0 <= vote[1] <= 1.0):
                status = -1
            if status < 0:
                slot.agent_faults[i] += 1
                self.counters[COUNT_AGENT_FAULTS] += 1
            slot.vote_status[i] = <int8_t>(status if status == 1 else 0)

    cdef void _record_pass(self, InstrumentSlot slot) noexcept:
        """Put the top of book and the quantised feature row of this pass into the digest (replay of recordings)."""
        cdef PassRow row
        cdef Book book = slot.book
        # Indicators change when a bar closes, the features of the book with every frame.
        row.features = FEATURE_COUNT if slot.bars_changed else BOOK_FEATURE_COUNT
        slot.bars_changed = False
        quantise(slot.row, slot.valid, row.quantised, row.features)
        row.event = self.counters[COUNT_PASSES]
        row.instrument = slot.number
        row.bid_raw = book.best_bid()
        row.ask_raw = book.best_ask()
        row.bid_qty_raw = book.bids.level[book.bids.end - 1].qty_raw
        row.ask_qty_raw = book.asks.level[book.asks.end - 1].qty_raw
        self.recorder._defer(&row, sizeof(row) - sizeof(row.quantised) + row.features * sizeof(int32_t))

    cdef void _decide(self, InstrumentSlot slot, bint by_timer) noexcept:
        """Ask the exit policy, else the operator's flatten, else the strategy for a wish."""
        cdef StrategyView view
        cdef Wish wish
        cdef int i, said
        cdef double vote_sum = 0.0
        cstd_zero(&view, sizeof(view))
        cstd_zero(&wish, sizeof(wish))
        if self.orders.live_count:
            self._count_live(slot, &view)
        if self.waiting.live:
            view.openings_live += self.waiting.live_of(slot.number)  # one that waits is wished for no second time
        # Asked here as well: nearly always nothing is held, in every pass.
        if (slot.position_qty_raw > 0 or slot.watch.reason) and self._leave(slot, &view):
            return
        if slot.flatten:
            if view.quotes_live:
                self._pull(slot, False, True, DROP_NONE)
            if slot.position_qty_raw < slot.least_lots():
                slot.flatten = view.openings_live != 0
            elif view.openings_live == 0 and view.exits_live == 0:
                wish.qty_raw = slot.position_qty_raw
                wish.urgency = 1
                self._exit(slot, &wish, EXIT_FLATTEN)
            return
        if self.waiting.live and self._take_up(slot):
            return
        if self.strategy == NULL:
            return
        view.now_mono_ns = self.mono_ns
        view.now_wall_ns = self.wall_ns
        view.verified = slot.book.state == BOOK_VERIFIED
        if view.verified:
            view.bid_raw = slot.book.best_bid()
            view.ask_raw = slot.book.best_ask()
        else:
            view.bid_raw = view.ask_raw = slot.last_verified_bid_raw
        view.tick_raw = slot.tick_raw
        view.lot_raw = slot.lot_raw
        view.price_scale = slot.price_scale
        view.qty_scale = slot.qty_scale
        view.rate_e8 = slot.rate_e8
        view.equity_acct_raw = self.equity_acct_raw
        view.position_qty_raw = slot.position_qty_raw
        view.sellable = sellable(slot)
        view.openings_ended = slot.openings_ended
        view.instrument = slot.number
        view.passes_timer = by_timer
        view.episode = slot.last_episode[1] if slot.last_episode[1] > 0 else 0
        view.params = self.params
        view.features = slot.row
        view.valid = slot.valid
        for i in range(self.agent_count):
            if slot.vote_status[i] == 1:
                view.vote_count += 1
                vote_sum += slot.votes[i][0] * slot.votes[i][1]
        view.vote_sum_ppm = <int64_t>(vote_sum * 1e6)
        said = self.strategy(&view, slot.strategy_state, &wish)
        if self.strategy_own:
            said = self._own_wish(slot, said, &wish)
        if said == 1:
            self._wished(slot, &view, &wish)

    cdef void _wished(self, InstrumentSlot slot, const StrategyView *view, Wish *wish) noexcept:
        """Do what the strategy wishes for: an exit, an opening or a resting sell by the gates; a cancel passes none."""
        if wish.kind == WISH_EXIT:
            # What rests on the ask gives way to a sale that wants it: so much is free once the venue has canceled it.
            if view.quotes_live and wish.qty_raw > slot.position_qty_raw - view.quoted_qty_raw:
                self._pull(slot, False, True, DROP_NONE)
            self._exit(slot, wish, EXIT_FLIP)
        elif wish.kind > WISH_QUOTE:
            self._pull(slot, wish.kind != WISH_CANCEL_ASK, wish.kind != WISH_CANCEL_BID, DROP_STRATEGY)
        elif slot.book.state != BOOK_VERIFIED or not self._room(slot, ADD_POINTS):
            return
        elif wish.kind == WISH_QUOTE:
            self._exit(slot, wish, EXIT_QUOTE)
        else:
            self._intend(slot, wish)

    def verified_count(self):
        """How many books are verified now."""
        cdef int i, found = 0
        for i in range(len(self.slots)):
            found += (<InstrumentSlot>PyList_GET_ITEM(self.slots, i)).book.state == BOOK_VERIFIED
        return found

    cdef int _own_wish(self, InstrumentSlot slot, int said, const Wish *wish) noexcept:
        """What a user's strategy said, 0 where it failed or its openings are stopped: 1 where its wish goes to the gates.

        A fault is counted. Some without a sound wish between stop its openings here until the next boot, and pull those that
        rest, its sells among them; its exits and cancels, the exit policy and an operator's flatten go on.
        """
        cdef bint rests = wish.kind == WISH_OPEN or wish.kind == WISH_QUOTE
        cdef bint cancels = WISH_CANCEL_BID <= wish.kind <= WISH_CANCEL_BOTH
        cdef bint stops = False
        if said == 1 and not (rests or cancels or wish.kind == WISH_EXIT):
            said = -1
        if said == 1 and not cancels and not (0 < wish.qty_raw <= <int64_t>WISH_RAW_MAX and 0 <= wish.episode <= <int64_t>WISH_RAW_MAX
                              and 0 <= wish.urgency <= 1):
            said = -1
        if said == 1 and rests and not (0 < wish.price_raw <= <int64_t>WISH_RAW_MAX
                                        and 0 < wish.lifetime_ns <= <int64_t>WISH_LIFETIME_NS_MAX):
            said = -1
        if said == 1 and wish.kind == WISH_OPEN and wish.episode < slot.last_episode[1]:
            said = -1
        if said == 0:
            return 0    # ends no run: who fails at each wish says nothing in between
        if said == 1:
            if slot.strategy_fault_run < STRATEGY_FAULTS_MAX:
                slot.strategy_fault_run = 0
                return said
            return said if not rests else 0
        slot.strategy_faults += 1
        self.counters[COUNT_STRATEGY_FAULTS] += 1
        if slot.strategy_fault_run < STRATEGY_FAULTS_MAX:
            slot.strategy_fault_run += 1
            stops = slot.strategy_fault_run == STRATEGY_FAULTS_MAX
        if stops:
            self._pull(slot, True, True, DROP_STRATEGY)
        if stops or slot.strategy_faults == 1:
            try:
                self.handler.on_strategy_fault(slot.number, slot.strategy_faults, bool(stops))
            except Exception as error:
                self._halt(error)
        return 0
