"""The gateway: gates and order encoder in one compiled module. See gateway.pyx."""
cimport cython
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t

from cstd._fast.encode cimport FRAME_MAX, DayText, OrderTerms
from cstd._fast.exposure cimport Exposure
from cstd._fast.gates cimport DecisionRow, GateInput, Limits
from cstd._fast.hist cimport Histograms
from cstd._fast.orders cimport OrderRow
from cstd._fast.port cimport OrderPort
from cstd._fast.recorder cimport Recorder
from cstd._fast.slot cimport EventWindow, InstrumentSlot
from cstd._fast.strategy cimport Wish

# Plain constants: a named enum cannot index a C array. Their names for others are gateway.COUNTERS.
cdef enum:
    COUNT_FRAMES = 0
    COUNT_BATCHES = 1
    COUNT_BOOK_UPDATES = 2
    COUNT_CHECKSUMS_OK = 3
    COUNT_CHECKSUMS_BAD = 4
    COUNT_TRADES = 5
    COUNT_TICKERS = 6
    COUNT_HEARTBEATS = 7
    COUNT_SLOW_FRAMES = 8
    COUNT_UNKNOWN_INSTRUMENT = 9
    COUNT_MALFORMED = 10
    COUNT_INTENTS = 11
    COUNT_APPROVED = 12
    COUNT_REDUCED = 13
    COUNT_REFUSED = 14
    COUNT_ORDERS = 15
    COUNT_CANCELS = 16
    COUNT_REJUDGED = 17
    COUNT_PULLED = 18
    COUNT_SEND_REFUSED = 19
    COUNT_PASSES = 20
    COUNT_TABLE_FULL = 21
    COUNT_TRADE_GAPS = 22
    COUNT_AGENT_FAULTS = 23
    COUNT_HANDLER_FAULTS = 24
    COUNT_JOURNAL_FAULTS = 25
    COUNT_SHADOWED = 26
    COUNT_RESYNCS = 27
    COUNT_TIMERS = 28
    COUNT_UNUSED = 29
    COUNT_AMENDS = 30
    COUNT_PRIVATE_SCANNED = 31
    COUNT_FLOODED = 32
    COUNT_REST_CANCELS = 33
    COUNT_REST_EXITS = 34
    COUNT_REST_PRICED = 35
    COUNT_RATE_HELD = 36
    COUNT_STRATEGY_FAULTS = 37
    COUNT_FOLLOWS = 38

cdef enum:
    COUNTER_COUNT = 40
    DECISIONS_KEPT = 1024
    TAPE_KEPT = 256
    COLLAR_STEPS = 8
    BOOK_FAULTS = 17
    GATE_CODES = 32

@cython.final
cdef class RestCancel:
    cdef readonly str method
    cdef readonly tuple params

@cython.final
cdef class RestExit:
    cdef readonly str method
    cdef readonly tuple params

cdef class Gateway(Exposure):
    cdef readonly Recorder recorder
    cdef readonly Histograms hist
    cdef OrderPort port
    cdef public object handler
    cdef public object fault            # the exception that halted the engine, None while sound
    cdef list rest_cancels              # made and not taken yet
    cdef list rest_exits
    cdef bint attention                 # Python work is due at the end of the batch
    cdef int strategy_code
    cdef readonly int64_t mono_ns, wall_ns
    # What the gates read; written by the handler from ledger, levels and links.
    cdef public int trading_state, level
    cdef public bint kill_latched, hold_exits, shadow, venue_online, private_up, private_ready
    cdef public bint exits_by_rest      # the private socket stays down, and what we hold is known
    cdef public int64_t equity_acct_raw, day_loss_bps, day_loss_acct_raw, drawdown_bps, day_start_equity_acct_raw
    cdef public int64_t turnover_day_acct_raw, slippage_day_acct_raw, slippage_p95_mbps, slippage_fills
    cdef public int64_t clock_offset_ns, markout_allowance_mbps, deadline_ns
    cdef public int64_t clock_base_ns   # wall less monotonic time when the offset was found: what it moved since, the wall stepped
    cdef public bint clock_known
    cdef public int64_t openings_until_ns   # monotonic: until then what allows openings is taken to hold, or a timer looks again
    cdef int64_t collar_mbps[COLLAR_STEPS]
    cdef int collar_count
    cdef int64_t collar_wait_ns
    cdef EventWindow minute
    # Identity.
    cdef uint8_t config_hash8[8]
    cdef uint8_t agents_hash8[8]
    cdef int64_t req_seq
    # Rows kept for display, counters, scratch.
    cdef DecisionRow *decisions
    cdef readonly int64_t decision_count
    cdef readonly int64_t rate_episodes  # times that an instrument's openings began to wait for the venue's rate counter
    cdef int64_t counters[COUNTER_COUNT]
    cdef int64_t refused_by[GATE_CODES]
    cdef int64_t failed_by[GATE_CODES]
    cdef int64_t noted_by[GATE_CODES]   # failed, but may not refuse this intent
    cdef char frame[FRAME_MAX]
    cdef DayText day
    cdef uint64_t encoded_cycles        # when the last order frame was finished; telemetry

    cdef void _intend(self, InstrumentSlot slot, const Wish *wish) noexcept
    cdef uint8_t _asked(self, const DecisionRow *row) noexcept
    cdef void _wait(self, const Wish *wish, const DecisionRow *row) noexcept
    cdef int _exit_terms(self, InstrumentSlot slot, const Wish *wish, GateInput *input) noexcept
    cdef void _fill_input(self, InstrumentSlot slot, GateInput *input, int skip) noexcept
    cdef int _record(self, InstrumentSlot slot, DecisionRow *row) noexcept
    cdef void _keep(self, const DecisionRow *row) noexcept
    cdef void _count_verdict(self, const DecisionRow *row) noexcept
    cdef size_t _encode_order(self, InstrumentSlot slot, const GateInput *input, const DecisionRow *row,
                              OrderTerms *terms, size_t *token_at) noexcept
    cdef void _send_order(self, InstrumentSlot slot, const DecisionRow *row, const OrderTerms *terms, size_t n,
                          size_t token_at) noexcept
    cdef void _cancel(self, int order, int reason) noexcept
    cdef void _amend(self, InstrumentSlot slot, int index, int64_t qty_raw, int64_t price_raw) noexcept
    cdef void _cancel_all(self) noexcept
    cdef void _cancel_by_rest(self, str method, tuple params) noexcept
    cdef void _exit_by_rest(self, size_t n) noexcept
    cdef int _quote_terms(self, InstrumentSlot slot, const Wish *wish, GateInput *input) noexcept
    cdef bint _asks_may_rest(self, InstrumentSlot slot) noexcept
    cdef bint _may_quote(self, InstrumentSlot slot, const DecisionRow *row) noexcept
    cdef bint _book_lost(self, InstrumentSlot slot) noexcept
    cdef void _note_exit(self, InstrumentSlot slot, const Wish *wish, DecisionRow *row) noexcept
    cdef int64_t _exit_bid(self, InstrumentSlot slot) noexcept
    cdef int _out(self, int action, size_t n, size_t token_at, bint opening=*) noexcept
    cdef void _halt(self, object reason) noexcept
