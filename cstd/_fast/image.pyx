"""The compiled engine's state as bytes, and back: what a checkpoint is made of.

Purpose: everything that a decision can depend on, field by field, so that an engine that takes an image goes on exactly as
the one that gave it. What is not in it is set by the start itself (addresses of strategy and agents, names, capacities), is
telemetry, or is scratch that no event finds; a test compares the fields here with the declarations and knows each exception.
Gives: `dump`. Takes: `restore`, only what `dump` of the same build made; whoever keeps an image proves its bytes first.
Owns: nothing. Each field is written with its name and size, and read back only under the same ones.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, strlen

from cstd._fast.bars cimport BarSeries
from cstd._fast.book cimport Book
from cstd._fast.core cimport Core
from cstd._fast.correlation cimport MEMBER_WORDS, MEMBERS_KEPT, Correlations, Pair
from cstd._fast.gates cimport DecisionRow
from cstd._fast.gateway cimport DECISIONS_KEPT
from cstd._fast.hist cimport cycles
from cstd._fast.indicators cimport BarIndicators
from cstd._fast.layout cimport BookSide, Level
from cstd._fast.orders cimport OrderTable
from cstd._fast.recorder cimport PENDING_BYTES, Recorder
from cstd._fast.slot cimport InstrumentSlot
from cstd._fast.waiting cimport WaitingTable
from cstd._fast.wire cimport Scanner

cdef enum:
    ID_BITS_MAX = 40
    TOUCHED_MAX = 16384         # as book.pyx has it


cdef class Image:
    """Fields in order: written to when made without bytes, else read from. Raises ValueError where they do not fit."""

    cdef bytearray out
    cdef bytes data
    cdef Py_ssize_t at
    cdef bint loading

    def __cinit__(self, bytes data=None):
        self.data = data
        self.loading = data is not None
        self.out = bytearray()
        self.at = 0

    cdef int field(self, const char *name, void *value, size_t n) except -1:
        """Write the field, or read it back."""
        cdef size_t name_n = strlen(name)
        cdef uint64_t size = n
        if not self.loading:
            self.out += name[:name_n]
            self.out += (<char *>&size)[:8]
            if n:
                self.out += (<char *>value)[:n]
            return 0
        if (<size_t>(PyBytes_GET_SIZE(self.data) - self.at) < name_n + 8 + n
                or memcmp(PyBytes_AS_STRING(self.data) + self.at, name, name_n) != 0
                or memcmp(PyBytes_AS_STRING(self.data) + self.at + name_n, &size, 8) != 0):
            raise ValueError(f"the image has another field, or another size, where {name.decode()} ({n} bytes) belongs")
        self.at += name_n + 8
        if n:
            memcpy(value, PyBytes_AS_STRING(self.data) + self.at, n)
        self.at += n
        return 0


cdef int _side(Image image, BookSide *side) except -1:
    """The levels that are there, at the places where they are."""
    cdef Level *level = side.level
    cdef int capacity = side.capacity
    side.level = NULL  # an address of this process has no place in an image
    try:
        image.field(b"side", side, sizeof(BookSide))
    finally:
        side.level = level
    if side.capacity != capacity or not 0 <= side.first <= side.end <= capacity:
        raise ValueError(f"a side of {side.capacity} levels does not fit into one of {capacity}")
    image.field(b"levels", level + side.first, (side.end - side.first) * sizeof(Level))
    return 0


cdef int _book(Image image, Book book) except -1:
    _side(image, &book.bids)
    _side(image, &book.asks)
    image.field(b"depth", &book.depth, sizeof(book.depth))
    image.field(b"state", &book.state, sizeof(book.state))
    image.field(b"fault", &book.fault, sizeof(book.fault))
    image.field(b"broken", &book.broken, sizeof(book.broken))
    image.field(b"checksum", &book.checksum, sizeof(book.checksum))
    image.field(b"exch_ns", &book.exch_ns, sizeof(book.exch_ns))
    image.field(b"updates", &book.updates, sizeof(book.updates))
    image.field(b"verified_count", &book.verified_count, sizeof(book.verified_count))
    image.field(b"mismatch_count", &book.mismatch_count, sizeof(book.mismatch_count))
    image.field(b"time_backwards_ns_max", &book.time_backwards_ns_max, sizeof(book.time_backwards_ns_max))
    image.field(b"asks_text_n", &book.asks_text_n, sizeof(book.asks_text_n))
    image.field(b"tokens", book.tokens, book.asks_text_n)
    image.field(b"touched_n", &book.touched_n, sizeof(book.touched_n))
    if book.touched_n > TOUCHED_MAX:
        raise ValueError(f"{book.touched_n} prices of a window")
    if image.loading and book.touched_n >= 0 and book.touched == NULL:
        book.touched = <int64_t *>calloc(TOUCHED_MAX, sizeof(int64_t))
        if book.touched == NULL:
            raise MemoryError("prices of a window")
    if book.touched_n > 0:
        image.field(b"touched", book.touched, book.touched_n * sizeof(int64_t))
    return 0


cdef int _bars(Image image, BarSeries bars) except -1:
    image.field(b"ring", &bars.ring, sizeof(bars.ring))
    image.field(b"price_precision", &bars.price_precision, sizeof(bars.price_precision))
    image.field(b"qty_precision", &bars.qty_precision, sizeof(bars.qty_precision))
    image.field(b"price_unit", &bars.price_unit, sizeof(bars.price_unit))
    image.field(b"qty_unit", &bars.qty_unit, sizeof(bars.qty_unit))
    image.field(b"price_scale", &bars.price_scale, sizeof(bars.price_scale))
    image.field(b"qty_scale", &bars.qty_scale, sizeof(bars.qty_scale))
    image.field(b"acct_rate_raw", &bars.acct_rate_raw, sizeof(bars.acct_rate_raw))
    image.field(b"covered_from_ns", &bars.covered_from_ns, sizeof(bars.covered_from_ns))
    image.field(b"history_from_ns", &bars.history_from_ns, sizeof(bars.history_from_ns))
    image.field(b"last_trade_ns", &bars.last_trade_ns, sizeof(bars.last_trade_ns))
    image.field(b"hour_floor_ns", &bars.hour_floor_ns, sizeof(bars.hour_floor_ns))
    image.field(b"hour_closed", &bars.hour_closed, sizeof(bars.hour_closed))
    image.field(b"hour_sum_acct_raw", &bars.hour_sum_acct_raw, sizeof(bars.hour_sum_acct_raw))
    image.field(b"refused_trades", &bars.refused_trades, sizeof(bars.refused_trades))
    image.field(b"late_trades", &bars.late_trades, sizeof(bars.late_trades))
    image.field(b"incomplete_bars", &bars.incomplete_bars, sizeof(bars.incomplete_bars))
    return 0


cdef int _indicators(Image image, BarIndicators of) except -1:
    image.field(b"values", &of.values, sizeof(of.values))
    image.field(b"ready", &of.ready, sizeof(of.ready))
    image.field(b"close", &of.close, sizeof(of.close))
    image.field(b"obv_lean", &of.obv_lean, sizeof(of.obv_lean))
    image.field(b"obv_lean_ready", &of.obv_lean_ready, sizeof(of.obv_lean_ready))
    image.field(b"bars", &of.bars, sizeof(of.bars))
    image.field(b"refused", &of.refused, sizeof(of.refused))
    image.field(b"bars_per_year", &of.bars_per_year, sizeof(of.bars_per_year))
    image.field(b"w_high", &of.w_high, sizeof(of.w_high))
    image.field(b"w_low", &of.w_low, sizeof(of.w_low))
    image.field(b"w_close", &of.w_close, sizeof(of.w_close))
    image.field(b"w_volume", &of.w_volume, sizeof(of.w_volume))
    image.field(b"w_typical", &of.w_typical, sizeof(of.w_typical))
    image.field(b"w_true_range", &of.w_true_range, sizeof(of.w_true_range))
    image.field(b"w_log_return", &of.w_log_return, sizeof(of.w_log_return))
    image.field(b"w_stoch", &of.w_stoch, sizeof(of.w_stoch))
    image.field(b"stoch_defined", &of.stoch_defined, sizeof(of.stoch_defined))
    image.field(b"ema12", &of.ema12, sizeof(of.ema12))
    image.field(b"ema26", &of.ema26, sizeof(of.ema26))
    image.field(b"macd_fast", &of.macd_fast, sizeof(of.macd_fast))
    image.field(b"macd_signal", &of.macd_signal, sizeof(of.macd_signal))
    image.field(b"gain_mean", &of.gain_mean, sizeof(of.gain_mean))
    image.field(b"loss_mean", &of.loss_mean, sizeof(of.loss_mean))
    image.field(b"atr", &of.atr, sizeof(of.atr))
    image.field(b"obv", &of.obv, sizeof(of.obv))
    image.field(b"plus_dm", &of.plus_dm, sizeof(of.plus_dm))
    image.field(b"minus_dm", &of.minus_dm, sizeof(of.minus_dm))
    image.field(b"dm_range", &of.dm_range, sizeof(of.dm_range))
    image.field(b"dx_sum", &of.dx_sum, sizeof(of.dx_sum))
    image.field(b"adx", &of.adx, sizeof(of.adx))
    return 0


cdef int _evidence(Image image, InstrumentSlot slot) except -1:
    """What is known of the instrument."""
    image.field(b"wire", &slot.wire, sizeof(slot.wire))
    image.field(b"features", &slot.features, sizeof(slot.features))
    image.field(b"row", &slot.row, sizeof(slot.row))
    image.field(b"valid", &slot.valid, sizeof(slot.valid))
    image.field(b"limits", &slot.limits, sizeof(slot.limits))
    image.field(b"configured", &slot.configured, sizeof(slot.configured))
    image.field(b"online", &slot.online, sizeof(slot.online))
    image.field(b"price_scale", &slot.price_scale, sizeof(slot.price_scale))
    image.field(b"qty_scale", &slot.qty_scale, sizeof(slot.qty_scale))
    image.field(b"tick_raw", &slot.tick_raw, sizeof(slot.tick_raw))
    image.field(b"lot_raw", &slot.lot_raw, sizeof(slot.lot_raw))
    image.field(b"qty_min_raw", &slot.qty_min_raw, sizeof(slot.qty_min_raw))
    image.field(b"cost_min_e8", &slot.cost_min_e8, sizeof(slot.cost_min_e8))
    image.field(b"rate_e8", &slot.rate_e8, sizeof(slot.rate_e8))
    image.field(b"price_unit", &slot.price_unit, sizeof(slot.price_unit))
    image.field(b"qty_unit", &slot.qty_unit, sizeof(slot.qty_unit))
    image.field(b"evidence_mono_ns", &slot.evidence_mono_ns, sizeof(slot.evidence_mono_ns))
    image.field(b"data_mono_ns", &slot.data_mono_ns, sizeof(slot.data_mono_ns))
    image.field(b"unverified_since_ns", &slot.unverified_since_ns, sizeof(slot.unverified_since_ns))
    image.field(b"last_verified_bid_raw", &slot.last_verified_bid_raw, sizeof(slot.last_verified_bid_raw))
    image.field(b"last_trade_id", &slot.last_trade_id, sizeof(slot.last_trade_id))
    image.field(b"last_trade_raw", &slot.last_trade_raw, sizeof(slot.last_trade_raw))
    image.field(b"last_trade_wall_ns", &slot.last_trade_wall_ns, sizeof(slot.last_trade_wall_ns))
    image.field(b"trade_gaps", &slot.trade_gaps, sizeof(slot.trade_gaps))
    image.field(b"frames", &slot.frames, sizeof(slot.frames))
    image.field(b"tickers", &slot.tickers, sizeof(slot.tickers))
    image.field(b"ticker_last_raw", &slot.ticker_last_raw, sizeof(slot.ticker_last_raw))
    image.field(b"resync_wanted", &slot.resync_wanted, sizeof(slot.resync_wanted))
    image.field(b"rest_bid_raw", &slot.rest_bid_raw, sizeof(slot.rest_bid_raw))
    image.field(b"rest_ask_raw", &slot.rest_ask_raw, sizeof(slot.rest_ask_raw))
    image.field(b"rest_read_mono_ns", &slot.rest_read_mono_ns, sizeof(slot.rest_read_mono_ns))
    image.field(b"exit_price_wanted", &slot.exit_price_wanted, sizeof(slot.exit_price_wanted))
    image.field(b"reference_raw", &slot.reference_raw, sizeof(slot.reference_raw))
    image.field(b"reference_until_ns", &slot.reference_until_ns, sizeof(slot.reference_until_ns))
    image.field(b"reference_required", &slot.reference_required, sizeof(slot.reference_required))
    return 0


cdef int _slot(Image image, InstrumentSlot slot) except -1:
    _book(image, slot.book)
    _bars(image, slot.bars)
    _indicators(image, slot.m1)
    _indicators(image, slot.m5)
    _indicators(image, slot.h1)
    _evidence(image, slot)
    image.field(b"position_qty_raw", &slot.position_qty_raw, sizeof(slot.position_qty_raw))
    image.field(b"position_acct_raw", &slot.position_acct_raw, sizeof(slot.position_acct_raw))
    image.field(b"losing_round_trips", &slot.losing_round_trips, sizeof(slot.losing_round_trips))
    image.field(b"switched_off", &slot.switched_off, sizeof(slot.switched_off))
    image.field(b"strategy_state", &slot.strategy_state, sizeof(slot.strategy_state))
    image.field(b"strategy_faults", &slot.strategy_faults, sizeof(slot.strategy_faults))
    image.field(b"strategy_fault_run", &slot.strategy_fault_run, sizeof(slot.strategy_fault_run))
    image.field(b"flatten", &slot.flatten, sizeof(slot.flatten))
    image.field(b"openings_ended", &slot.openings_ended, sizeof(slot.openings_ended))
    image.field(b"exits_ended", &slot.exits_ended, sizeof(slot.exits_ended))
    image.field(b"exit_attempts", &slot.exit_attempts, sizeof(slot.exit_attempts))
    image.field(b"exit_wished_mono_ns", &slot.exit_wished_mono_ns, sizeof(slot.exit_wished_mono_ns))
    image.field(b"exit_refusals", &slot.exit_refusals, sizeof(slot.exit_refusals))
    image.field(b"exit_not_before_ns", &slot.exit_not_before_ns, sizeof(slot.exit_not_before_ns))
    image.field(b"quote_refusals", &slot.quote_refusals, sizeof(slot.quote_refusals))
    image.field(b"quote_not_before_ns", &slot.quote_not_before_ns, sizeof(slot.quote_not_before_ns))
    image.field(b"watch", &slot.watch, sizeof(slot.watch))
    image.field(b"parents", &slot.parents, sizeof(slot.parents))
    image.field(b"rate", &slot.rate, sizeof(slot.rate))
    image.field(b"rate_held", &slot.rate_held, sizeof(slot.rate_held))
    image.field(b"rate_episode", &slot.rate_episode, sizeof(slot.rate_episode))
    image.field(b"follow_ticks", &slot.follow_ticks, sizeof(slot.follow_ticks))
    image.field(b"follow_amends_max", &slot.follow_amends_max, sizeof(slot.follow_amends_max))
    image.field(b"shadow", &slot.shadow, sizeof(slot.shadow))
    image.field(b"last_episode", &slot.last_episode, sizeof(slot.last_episode))
    image.field(b"last_episode_ns", &slot.last_episode_ns, sizeof(slot.last_episode_ns))
    image.field(b"agent_state", &slot.agent_state, sizeof(slot.agent_state))
    image.field(b"votes", &slot.votes, sizeof(slot.votes))
    image.field(b"vote_status", &slot.vote_status, sizeof(slot.vote_status))
    image.field(b"agent_faults", &slot.agent_faults, sizeof(slot.agent_faults))
    image.field(b"bars_changed", &slot.bars_changed, sizeof(slot.bars_changed))
    image.field(b"touched", &slot.touched, sizeof(slot.touched))
    if image.loading:
        slot.touched_cycles = cycles()  # of this process; the cycles of another one say nothing here
    return 0


cdef int _correlations(Image image, Correlations correlations) except -1:
    """What is measured of every two instruments. Those that have it are there when an image is taken."""
    cdef int i
    cdef int count = correlations.count
    image.field(b"on", &correlations.on, sizeof(correlations.on))
    image.field(b"rule", &correlations.rule, sizeof(correlations.rule))
    image.field(b"enter_at", &correlations.enter_at, sizeof(correlations.enter_at))
    image.field(b"leave_at", &correlations.leave_at, sizeof(correlations.leave_at))
    image.field(b"count", &correlations.count, sizeof(correlations.count))
    if correlations.count != count:
        raise ValueError(f"links of {correlations.count} instruments, the engine has {count}")
    image.field(b"apart", &correlations.apart, sizeof(correlations.apart))
    image.field(b"version", &correlations.version, sizeof(correlations.version))
    image.field(b"closed_at", &correlations.closed_at, sizeof(correlations.closed_at))
    image.field(b"seen", &correlations.seen, sizeof(correlations.seen))
    image.field(b"has_return", &correlations.has_return, sizeof(correlations.has_return))
    image.field(b"latest", &correlations.latest, sizeof(correlations.latest))
    if correlations.on:
        correlations.make_room()
    for i in range(count):
        image.field(b"links", correlations.links[i], MEMBER_WORDS * sizeof(uint64_t))
        if correlations.on:
            image.field(b"pairs", correlations.pairs[i], i * sizeof(Pair))
    image.field(b"kept", correlations.kept, MEMBERS_KEPT * correlations.words * sizeof(uint64_t))
    return 0


cdef int _orders(Image image, OrderTable orders) except -1:
    image.field(b"rows", &orders.rows, sizeof(orders.rows))
    image.field(b"live", &orders.live, sizeof(orders.live))
    image.field(b"live_count", &orders.live_count, sizeof(orders.live_count))
    image.field(b"illegal_count", &orders.illegal_count, sizeof(orders.illegal_count))
    return 0


cdef int _recorder(Image image, Recorder recorder) except -1:
    image.field(b"seq", &recorder.seq, sizeof(recorder.seq))
    image.field(b"digest", &recorder.digest, sizeof(recorder.digest))
    image.field(b"digest_passes", &recorder.digest_passes, sizeof(recorder.digest_passes))
    image.field(b"pending_n", &recorder.pending_n, sizeof(recorder.pending_n))
    if recorder.pending_n > PENDING_BYTES:
        raise ValueError(f"{recorder.pending_n} bytes of digest input")
    image.field(b"pending", recorder.pending, recorder.pending_n)
    return 0


cdef int _scanner(Image image, Scanner scanner) except -1:
    image.field(b"price_precision", &scanner.price_precision, sizeof(scanner.price_precision))
    image.field(b"qty_precision", &scanner.qty_precision, sizeof(scanner.qty_precision))
    return 0


cdef int _ids(Image image, Core core) except -1:
    """The table of client order ids, at the size that it has grown to."""
    cdef uint64_t *room
    image.field(b"id_bits", &core.id_bits, sizeof(core.id_bits))
    image.field(b"id_count", &core.id_count, sizeof(core.id_count))
    image.field(b"id_count_max", &core.id_count_max, sizeof(core.id_count_max))
    if not 0 < core.id_bits < ID_BITS_MAX:
        raise ValueError(f"a table of 2 ** {core.id_bits} client order ids")
    if image.loading:
        room = <uint64_t *>calloc(<size_t>1 << core.id_bits, sizeof(uint64_t))
        if room == NULL:
            raise MemoryError("client order ids")
        free(core.ids)
        core.ids = room
    image.field(b"ids", core.ids, sizeof(uint64_t) << core.id_bits)
    image.field(b"prepared_seq", &core.prepared_seq, sizeof(core.prepared_seq))
    image.field(b"prepared_epoch", &core.prepared_epoch, sizeof(core.prepared_epoch))
    image.field(b"prepared_key", &core.prepared_key, sizeof(core.prepared_key))
    image.field(b"prepared_seen", &core.prepared_seen, sizeof(core.prepared_seen))
    image.field(b"prepared_count", &core.prepared_count, sizeof(core.prepared_count))
    image.field(b"prepared_id", &core.prepared_id, sizeof(core.prepared_id))
    return 0


cdef int _waiting(Image image, WaitingTable waiting) except -1:
    """Openings that wait for an operator."""
    image.field(b"rows", &waiting.rows, sizeof(waiting.rows))
    image.field(b"live", &waiting.live, sizeof(waiting.live))
    image.field(b"counts", &waiting.counts, sizeof(waiting.counts))
    image.field(b"above_acct_raw", &waiting.above_acct_raw, sizeof(waiting.above_acct_raw))
    image.field(b"lasts_ns", &waiting.lasts_ns, sizeof(waiting.lasts_ns))
    return 0


cdef int _judgement(Image image, Core core) except -1:
    """What the gates read."""
    image.field(b"strategy_code", &core.strategy_code, sizeof(core.strategy_code))
    image.field(b"trading_state", &core.trading_state, sizeof(core.trading_state))
    image.field(b"openings_until_ns", &core.openings_until_ns, sizeof(core.openings_until_ns))
    image.field(b"level", &core.level, sizeof(core.level))
    image.field(b"kill_latched", &core.kill_latched, sizeof(core.kill_latched))
    image.field(b"hold_exits", &core.hold_exits, sizeof(core.hold_exits))
    image.field(b"shadow", &core.shadow, sizeof(core.shadow))
    image.field(b"venue_online", &core.venue_online, sizeof(core.venue_online))
    image.field(b"private_up", &core.private_up, sizeof(core.private_up))
    image.field(b"private_ready", &core.private_ready, sizeof(core.private_ready))
    image.field(b"exits_by_rest", &core.exits_by_rest, sizeof(core.exits_by_rest))
    image.field(b"equity_acct_raw", &core.equity_acct_raw, sizeof(core.equity_acct_raw))
    image.field(b"day_loss_bps", &core.day_loss_bps, sizeof(core.day_loss_bps))
    image.field(b"day_loss_acct_raw", &core.day_loss_acct_raw, sizeof(core.day_loss_acct_raw))
    image.field(b"drawdown_bps", &core.drawdown_bps, sizeof(core.drawdown_bps))
    image.field(b"day_start_equity_acct_raw", &core.day_start_equity_acct_raw, sizeof(core.day_start_equity_acct_raw))
    image.field(b"turnover_day_acct_raw", &core.turnover_day_acct_raw, sizeof(core.turnover_day_acct_raw))
    image.field(b"slippage_day_acct_raw", &core.slippage_day_acct_raw, sizeof(core.slippage_day_acct_raw))
    image.field(b"slippage_p95_mbps", &core.slippage_p95_mbps, sizeof(core.slippage_p95_mbps))
    image.field(b"slippage_fills", &core.slippage_fills, sizeof(core.slippage_fills))
    image.field(b"clock_offset_ns", &core.clock_offset_ns, sizeof(core.clock_offset_ns))
    image.field(b"clock_base_ns", &core.clock_base_ns, sizeof(core.clock_base_ns))
    image.field(b"clock_known", &core.clock_known, sizeof(core.clock_known))
    image.field(b"markout_allowance_mbps", &core.markout_allowance_mbps, sizeof(core.markout_allowance_mbps))
    image.field(b"deadline_ns", &core.deadline_ns, sizeof(core.deadline_ns))
    image.field(b"positions_acct_raw", &core.positions_acct_raw, sizeof(core.positions_acct_raw))
    image.field(b"held", &core.held, sizeof(core.held))
    image.field(b"held_count", &core.held_count, sizeof(core.held_count))
    image.field(b"collar_mbps", &core.collar_mbps, sizeof(core.collar_mbps))
    image.field(b"collar_count", &core.collar_count, sizeof(core.collar_count))
    image.field(b"collar_wait_ns", &core.collar_wait_ns, sizeof(core.collar_wait_ns))
    image.field(b"minute", &core.minute, sizeof(core.minute))
    return 0


cdef int _core(Image image, Core core) except -1:
    image.field(b"needs_python", &core.needs_python, sizeof(core.needs_python))
    image.field(b"attention", &core.attention, sizeof(core.attention))
    image.field(b"mono_ns", &core.mono_ns, sizeof(core.mono_ns))
    image.field(b"wall_ns", &core.wall_ns, sizeof(core.wall_ns))
    _judgement(image, core)
    image.field(b"prefix", &core.prefix, sizeof(core.prefix))
    image.field(b"account_hash", &core.account_hash, sizeof(core.account_hash))
    image.field(b"config_hash8", &core.config_hash8, sizeof(core.config_hash8))
    image.field(b"agents_hash8", &core.agents_hash8, sizeof(core.agents_hash8))
    image.field(b"boot_epoch", &core.boot_epoch, sizeof(core.boot_epoch))
    image.field(b"intent_seq", &core.intent_seq, sizeof(core.intent_seq))
    image.field(b"req_seq", &core.req_seq, sizeof(core.req_seq))
    _ids(image, core)
    image.field(b"decisions", core.decisions, DECISIONS_KEPT * sizeof(DecisionRow))
    image.field(b"rate_episodes", &core.rate_episodes, sizeof(core.rate_episodes))
    image.field(b"decision_count", &core.decision_count, sizeof(core.decision_count))
    image.field(b"counters", &core.counters, sizeof(core.counters))
    image.field(b"refused_by", &core.refused_by, sizeof(core.refused_by))
    image.field(b"failed_by", &core.failed_by, sizeof(core.failed_by))
    image.field(b"noted_by", &core.noted_by, sizeof(core.noted_by))
    image.field(b"exits_by", &core.exits_by, sizeof(core.exits_by))
    image.field(b"params", &core.params, sizeof(core.params))
    image.field(b"batch_open", &core.batch_open, sizeof(core.batch_open))
    image.field(b"touched", &core.touched, sizeof(core.touched))
    image.field(b"touched_count", &core.touched_count, sizeof(core.touched_count))
    image.field(b"tape", &core.tape, sizeof(core.tape))
    image.field(b"tape_count", &core.tape_count, sizeof(core.tape_count))
    image.field(b"book_faults", &core.book_faults, sizeof(core.book_faults))
    image.field(b"link_frame_ns", &core.link_frame_ns, sizeof(core.link_frame_ns))
    image.field(b"slow_until_ns", &core.slow_until_ns, sizeof(core.slow_until_ns))
    image.field(b"flooded", &core.flooded, sizeof(core.flooded))
    image.field(b"timer_next", &core.timer_next, sizeof(core.timer_next))
    return 0


cdef int _whole(Image image, Core core) except -1:
    cdef InstrumentSlot slot
    cdef int64_t count = len(core.slots)
    image.field(b"instruments", &count, sizeof(count))
    if count != len(core.slots):
        raise ValueError(f"the image is of {count} instruments, the engine has {len(core.slots)}")
    _core(image, core)
    _correlations(image, core.correlations)
    _orders(image, core.orders)
    _waiting(image, core.waiting)
    _recorder(image, core.recorder)
    _scanner(image, core.scanner)
    for slot in core.slots:
        _slot(image, slot)
    if image.loading:
        core.batch_cycles = cycles()
    return 0


def dump(Core core not None):
    """Return the state of `core` as bytes.

    Raises ValueError: it has failed, or requests by REST wait to be taken; such an engine is not one to go on from.
    """
    if core.fault is not None or core.recorder.failed:
        raise ValueError(f"the engine has failed: {core.fault or 'a record could not be written'}")
    if core.rest_cancels or core.rest_exits:
        raise ValueError("requests by REST wait to be taken")
    image = Image()
    _whole(image, core)
    return bytes(image.out)


def restore(Core core not None, bytes data not None):
    """Give `core`, freshly made for the same instruments, the state that `dump` returned.

    Raises ValueError: the bytes are of another build or of other instruments; `core` is of no use then.
    """
    image = Image(data)
    _whole(image, core)
    if image.at != len(data):
        raise ValueError(f"{len(data) - image.at} bytes of the image belong to no field")
