"""The fifteen gates: what they read (GateInput, Limits), what they write (DecisionRow), and the one call that judges.

The code is C (csrc/gates.h), so that the engine's module compiles it in; gates.pyx makes it callable from Python.
Field comments and units are in csrc/gates_types.h.
"""
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t

from cstd._fast.layout cimport BookSide

# Gate codes: 1-7 policy, 11-18 risk; 20 is the bound on exits (systems 6.1). Journaled.
cpdef enum Gate:
    GATE_NONE = 0
    GATE_IDEMPOTENCY = 1
    GATE_SPREAD = 2
    GATE_DEPTH = 3
    GATE_VOLUME = 4
    GATE_SLIPPAGE = 5
    GATE_TIME_IN_FORCE = 6
    GATE_PRICE = 7
    GATE_KILL_SWITCH = 11
    GATE_DATA_GAP = 12
    GATE_DAY_LOSS = 13
    GATE_DRAWDOWN = 14
    GATE_POSITION_COUNT = 15
    GATE_TOTAL_EXPOSURE = 16
    GATE_POSITION_SIZE = 17
    GATE_CORRELATION = 18
    GATE_MANAGED_BOUND = 20

# Why a gate did not pass. Journaled: append only. Meanings beside each in csrc/gates_types.h.
cpdef enum Why:
    WHY_PASSED = 0
    WHY_OVER_LIMIT = 1
    WHY_BAD_INPUT = 2
    WHY_OVERFLOW = 3
    WHY_NO_BOOK = 4
    WHY_WARMING_UP = 5
    WHY_ID_SEEN = 6
    WHY_UNKNOWN_PENDING = 7
    WHY_DUPLICATE = 8
    WHY_INSTRUMENT_RATE = 9
    WHY_MINUTE_RATE = 10
    WHY_TURNOVER = 11
    WHY_LOSING_STREAK = 12
    WHY_DEPTH_FLOOR = 13
    WHY_ORDER_SHARE = 14
    WHY_BOOK_TOO_THIN = 15
    WHY_SLIPPAGE_DAY = 16
    WHY_SLIPPAGE_P95 = 17
    WHY_NOT_POST_ONLY = 18
    WHY_WRONG_TIF = 19
    WHY_DEADLINE = 20
    WHY_LIFETIME = 21
    WHY_OFF_TICK = 22
    WHY_OFF_LOT = 23
    WHY_BELOW_MINIMUM = 25
    WHY_CROSSING = 26
    WHY_REFERENCE = 27
    WHY_NO_REFERENCE = 28
    WHY_COLLAR = 29
    WHY_KILLED = 30
    WHY_PAUSED = 31
    WHY_NOT_READY = 32
    WHY_HALTED = 33
    WHY_PARITY_HALT = 34
    WHY_LEVEL = 35
    WHY_BOOK_UNVERIFIED = 36
    WHY_BOOK_FAULT = 37
    WHY_STALE = 38
    WHY_SILENT = 39
    WHY_VENUE_STATE = 40
    WHY_INSTRUMENT_STATE = 41
    WHY_PRIVATE_STREAM = 42
    WHY_CONVERSION = 43
    WHY_CLOCK = 44
    WHY_LOSS_AMOUNT = 45
    WHY_LONG_ONLY = 46
    WHY_TOO_SMALL = 47
    WHY_ABOVE_MANAGED = 48
    WHY_COUNT = 49

cpdef enum EscalationLevel:
    LEVEL_NORMAL = 0
    LEVEL_WARNING = 1
    LEVEL_CRITICAL = 2
    LEVEL_EMERGENCY = 3
    LEVEL_SHUTDOWN = 4

cdef extern from "gates.h" nogil:
    int64_t PRICE_RAW_MAX "CSTD_PRICE_RAW_MAX"
    int64_t QTY_RAW_MAX "CSTD_QTY_RAW_MAX"

    ctypedef struct Limits "cstd_limits":
        int64_t dedupe_window_ns
        int64_t parents_instrument_hour_max
        int64_t parents_minute_max
        int64_t turnover_day_max_bps
        int64_t losing_round_trips_max
        int64_t spread_max_mbps
        int64_t depth_band_mbps
        int64_t depth_min_acct_raw
        int64_t depth_multiple_e2
        int64_t volume_hour_min_acct_raw
        int64_t volume_share_max_bps
        int64_t exit_cost_max_mbps
        int64_t slippage_day_max_mbps
        int64_t slippage_p95_max_mbps
        int64_t slippage_p95_fills_min
        int64_t deadline_min_ns
        int64_t deadline_max_ns
        int64_t lifetime_max_ns
        int64_t price_band_mbps
        int64_t reference_band_mbps
        int64_t collar_max_mbps
        int64_t rest_price_after_ns
        int64_t rest_age_max_ns
        int64_t evidence_age_max_ns
        int64_t silent_max_ns
        int64_t unverified_grace_ns
        int64_t clock_offset_max_ns
        int64_t day_loss_bps[4]
        int64_t day_loss_max_acct_raw
        int64_t drawdown_bps[4]
        int64_t positions_max
        int64_t exposure_max_bps
        int64_t position_max_bps
        int64_t cluster_max_bps
        int64_t level_size_e4[5]
        int64_t reduce_min_bps

    ctypedef struct GateInput "cstd_gate_input":
        const BookSide *bids
        const BookSide *asks
        int64_t price_raw
        int64_t qty_raw
        int64_t qty_wanted_raw
        int64_t price_scale
        int64_t qty_scale
        int64_t tick_raw
        int64_t lot_raw
        int64_t qty_min_raw
        int64_t cost_min_quote_e8
        int64_t deadline_ns
        int64_t lifetime_ns
        int64_t now_wall_ns
        int64_t now_mono_ns
        int64_t episode
        int64_t unverified_for_ns
        int64_t evidence_age_ns
        int64_t silent_for_ns
        int64_t clock_offset_ns
        int64_t conversion_rate_e8
        int64_t conversion_haircut_bps
        int64_t rest_bid_raw
        int64_t rest_age_ns
        int64_t last_verified_bid_raw
        int64_t collar_mbps
        int64_t parents_instrument_hour
        int64_t parents_minute
        int64_t turnover_day_acct_raw
        int64_t losing_round_trips
        int64_t volume_hour_acct_raw
        int64_t markout_allowance_mbps
        int64_t slippage_day_acct_raw
        int64_t day_start_equity_acct_raw
        int64_t slippage_p95_mbps
        int64_t slippage_fills
        int64_t reference_price_raw
        int64_t equity_acct_raw
        int64_t day_loss_bps
        int64_t day_loss_acct_raw
        int64_t drawdown_bps
        int64_t positions_count
        int64_t exposure_acct_raw
        int64_t asset_exposure_acct_raw
        int64_t cluster_exposure_acct_raw
        int64_t managed_free_qty_raw
        int32_t instrument
        int32_t strategy_code
        int8_t kind
        int8_t side
        int8_t time_in_force
        int8_t book_fault
        int8_t level
        int8_t trading_state
        uint8_t post_only
        uint8_t rejudge
        uint8_t book_verified
        uint8_t venue_online
        uint8_t instrument_online
        uint8_t private_up
        uint8_t private_ready
        uint8_t conversion_ok
        uint8_t id_seen
        uint8_t same_unknown
        uint8_t dedupe_hit
        uint8_t instrument_off
        uint8_t volume_ready
        uint8_t reference_required
        uint8_t kill_latched
        uint8_t instrument_has_position
        uint8_t spare[2]

    ctypedef struct DecisionRow "cstd_decision_row":
        int64_t decided_wall_ns
        int64_t episode
        int64_t policy_value[7]
        int64_t policy_limit[7]
        int64_t risk_value[8]
        int64_t risk_limit[8]
        int64_t qty_requested_raw
        int64_t qty_final_raw
        int64_t counterfactual_qty_raw
        int64_t managed_free_qty_raw
        int64_t price_raw
        int64_t bid_raw
        int64_t ask_raw
        int64_t mid2_raw
        int64_t equity_acct_raw
        int64_t notional_acct_raw
        int64_t depth_acct_raw
        int64_t exit_cost_mbps
        int32_t instrument
        int32_t strategy
        uint16_t policy_pass_mask
        uint16_t risk_pass_mask
        uint16_t recorded_mask
        int16_t size_multiplier_e4
        int8_t reason[15]
        int8_t kind
        int8_t side
        int8_t verdict
        int8_t first_failing
        int8_t reduced_by
        int8_t verdict_reason
        int8_t level
        int8_t rejudge
        int8_t time_in_force
        int64_t event_seq
        int64_t intent_seq
        uint32_t checksum
        int32_t order_slot
        uint16_t child
        uint16_t attempt
        char cl_ord_id[18]
        uint8_t config_hash8[8]
        uint8_t agents_hash8[8]
        uint8_t shadow
        uint8_t rest

    # One pass over all gates at input.qty_raw. Returns the verdict and writes the row's first part whole; the
    # engine's part (event_seq and what follows) is left as it is. REDUCE is a proposal, row.qty_final_raw its size.
    int evaluate "cstd_gates_evaluate"(const GateInput *input, const Limits *limits, DecisionRow *row) noexcept

    # evaluate, and where it proposes a reduction, evaluate again at that size. Returns APPROVE or REDUCE (send
    # row.qty_final_raw, which is also left in input.qty_raw) or REFUSE. This is what the gateway calls.
    int judge "cstd_gates_judge"(GateInput *input, const Limits *limits, DecisionRow *row) noexcept
