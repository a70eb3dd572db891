"""Everything the engine keeps for one instrument."""
from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t

from cstd._fast.bars cimport BarSeries
from cstd._fast.book cimport Book
from cstd._fast.encode cimport WireInstrument
from cstd._fast.exit_watch cimport ExitWatch
from cstd._fast.features cimport FEATURE_COUNT, FeatureState
from cstd._fast.gates cimport Limits
from cstd._fast.indicators cimport BarIndicators
from cstd._fast.rate cimport Rate
from cstd._fast.strategy cimport STRATEGY_STATE_WORDS

cdef enum:
    AGENTS_MAX = 16
    AGENT_STATE_WORDS = 64
    PARENTS_MAX = 4096      # openings remembered per instrument; the ring is never asked about more

cdef struct EventWindow:
    int64_t times_ns[PARENTS_MAX]
    int64_t head
    int64_t tail

cdef int64_t window_count(EventWindow *window, int64_t now_ns, int64_t span_ns) noexcept nogil
cdef void window_add(EventWindow *window, int64_t now_ns) noexcept nogil

cdef class InstrumentSlot:
    cdef readonly int number
    cdef readonly bytes name
    cdef WireInstrument wire
    cdef readonly Book book
    cdef public BarSeries bars
    cdef public BarIndicators m1, m5, h1
    cdef FeatureState features
    cdef double row[FEATURE_COUNT]
    cdef uint64_t valid[2]
    cdef Limits limits
    # Trading rules of the instrument.
    cdef public bint configured         # precision known from an authentic source
    cdef public bint online
    cdef public int64_t price_scale, qty_scale, tick_raw, lot_raw, qty_min_raw, cost_min_e8, rate_e8
    cdef double price_unit, qty_unit    # 1 / scale
    # Evidence.
    cdef public int64_t evidence_mono_ns, data_mono_ns, unverified_since_ns
    cdef public int64_t last_verified_bid_raw
    # Top of the book as REST showed it, for exits alone while the book cannot be used; written by orders.exit_prices.
    cdef public int64_t rest_bid_raw, rest_ask_raw, rest_read_mono_ns
    cdef public bint exit_price_wanted  # an exit is due and has no price
    # What gate 7 compares an opening's price with, until the monotonic clock is past its end; written by
    # market.references alone.
    cdef public int64_t reference_raw, reference_until_ns
    cdef public bint reference_required
    cdef public int64_t last_trade_id, trade_gaps, frames
    cdef readonly int64_t last_trade_raw, last_trade_wall_ns    # its price, 0 for none in these digits, and the venue's time
    cdef public int64_t tickers, ticker_last_raw    # since both were set to 0; price of the last trade, 0 for not told
    cdef public bint resync_wanted
    # Position and what the ledger says about it; written through FastEngine.set_position only.
    cdef readonly int64_t position_qty_raw, position_acct_raw, losing_round_trips
    cdef public bint switched_off
    # Decisions.
    cdef int64_t strategy_state[STRATEGY_STATE_WORDS]
    # Faults of a user's own strategy: since the boot, and since its last sound wish.
    cdef readonly int64_t strategy_faults, strategy_fault_run
    cdef public bint flatten
    cdef readonly int64_t openings_ended, exits_ended, exit_attempts, exit_wished_mono_ns
    cdef readonly int64_t exit_refusals, exit_not_before_ns  # of the venue in a row; monotonic time of the next try
    cdef readonly int64_t quote_refusals, quote_not_before_ns   # the same of sells that rest
    cdef ExitWatch watch                # thresholds written through watch_exit only
    cdef EventWindow parents
    cdef Rate rate                      # the venue's counter for this instrument and account
    cdef readonly int64_t rate_held     # openings and amends that waited for it
    cdef public bint rate_episode       # one waited, and since then it has not fallen far enough to be over
    cdef readonly int64_t follow_ticks, follow_amends_max   # of resting openings, see resting.pyx
    cdef public bint shadow             # openings are decided and not sent; engine.ensemble is the one writer
    cdef int64_t last_episode[2]        # by side: sell, buy
    cdef int64_t last_episode_ns[2]
    # Agents.
    cdef double agent_state[AGENTS_MAX][AGENT_STATE_WORDS]
    cdef double votes[AGENTS_MAX][2]
    cdef int8_t vote_status[AGENTS_MAX]
    cdef int64_t agent_faults[AGENTS_MAX]
    # Latency of the frame that touched the instrument last.
    cdef bint bars_changed              # the digest has not seen the row's indicators yet
    cdef uint64_t touched_cycles
    cdef bint touched
    cdef bint takes(self, int64_t price_raw, int64_t qty_raw) noexcept nogil
    cdef int64_t least_lots(self) noexcept nogil
    cdef void quote_ended(self, bint refused, int64_t now_ns) noexcept nogil
    cpdef bint too_little(self, int64_t qty_raw) noexcept
    cpdef bint is_dust(self) noexcept


cdef inline bint sellable(InstrumentSlot slot) noexcept:
    """Whether something is held that the venue takes an order for. Inline: nearly always nothing is held, in every pass."""
    return slot.position_qty_raw > 0 and not slot.is_dust()
