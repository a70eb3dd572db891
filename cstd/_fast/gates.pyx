"""The fifteen gates for Python: the row types as numpy dtypes, and judging outside the engine (tests, why, benchmarks).

The gates are C (csrc/gates.h); the engine's module compiles the same header. Nothing here can send an order.
"""
import numpy as np

from libc.stdlib cimport free, malloc
from libc.string cimport memset

from cstd._fast.layout cimport BookSide, Level, total_add, total_seen

# Fields in the order of csrc/gates_types.h; the sizes are held equal below, the offsets by a test. bids_at and asks_at
# are addresses that only a call in progress sets.
_LIMITS = (
    ("i8",
     "dedupe_window_ns parents_instrument_hour_max parents_minute_max turnover_day_max_bps "
     "losing_round_trips_max spread_max_mbps depth_band_mbps depth_min_acct_raw depth_multiple_e2 "
     "volume_hour_min_acct_raw volume_share_max_bps exit_cost_max_mbps slippage_day_max_mbps "
     "slippage_p95_max_mbps slippage_p95_fills_min deadline_min_ns deadline_max_ns lifetime_max_ns "
     "price_band_mbps reference_band_mbps collar_max_mbps rest_price_after_ns rest_age_max_ns "
     "evidence_age_max_ns silent_max_ns unverified_grace_ns clock_offset_max_ns"),
    ("4i8", "day_loss_bps"),
    ("i8", "day_loss_max_acct_raw"),
    ("4i8", "drawdown_bps"),
    ("i8", "positions_max exposure_max_bps position_max_bps cluster_max_bps"),
    ("5i8", "level_size_e4"),
    ("i8", "reduce_min_bps"),
)
_GATE_INPUT = (
    ("u8", "bids_at asks_at"),
    ("i8",
     "price_raw qty_raw qty_wanted_raw price_scale qty_scale tick_raw lot_raw qty_min_raw "
     "cost_min_quote_e8 deadline_ns lifetime_ns now_wall_ns now_mono_ns "
     "episode unverified_for_ns evidence_age_ns silent_for_ns clock_offset_ns conversion_rate_e8 "
     "conversion_haircut_bps rest_bid_raw rest_age_ns last_verified_bid_raw collar_mbps "
     "parents_instrument_hour parents_minute turnover_day_acct_raw losing_round_trips volume_hour_acct_raw "
     "markout_allowance_mbps slippage_day_acct_raw day_start_equity_acct_raw slippage_p95_mbps "
     "slippage_fills reference_price_raw equity_acct_raw day_loss_bps day_loss_acct_raw drawdown_bps "
     "positions_count exposure_acct_raw asset_exposure_acct_raw cluster_exposure_acct_raw "
     "managed_free_qty_raw"),
    ("i4", "instrument strategy_code"),
    ("i1", "kind side time_in_force book_fault level trading_state"),
    ("u1",
     "post_only rejudge book_verified venue_online instrument_online private_up private_ready "
     "conversion_ok id_seen same_unknown dedupe_hit instrument_off volume_ready reference_required "
     "kill_latched instrument_has_position"),
    ("2u1", "spare"),
)
_DECISION = (
    ("i8", "decided_wall_ns episode"),
    ("7i8", "policy_value policy_limit"),
    ("8i8", "risk_value risk_limit"),
    ("i8",
     "qty_requested_raw qty_final_raw counterfactual_qty_raw managed_free_qty_raw price_raw bid_raw "
     "ask_raw mid2_raw equity_acct_raw notional_acct_raw depth_acct_raw exit_cost_mbps"),
    ("i4", "instrument strategy"),
    ("u2", "policy_pass_mask risk_pass_mask recorded_mask"),
    ("i2", "size_multiplier_e4"),
    ("15i1", "reason"),
    ("i1", "kind side verdict first_failing reduced_by verdict_reason level rejudge time_in_force"),
    ("i8", "event_seq intent_seq"),
    ("u4", "checksum"),
    ("i4", "order_slot"),
    ("u2", "child attempt"),
    ("S18", "cl_ord_id"),
    ("8u1", "config_hash8 agents_hash8"),
    ("u1", "shadow rest"),
)


def _dtype(groups, size_t size):
    dtype = np.dtype([(name, code) for code, names in groups for name in names.split()])
    if dtype.itemsize != size:
        raise ImportError(f"dtype of {dtype.itemsize} bytes against a C struct of {size}")
    return dtype


LIMITS_DTYPE = _dtype(_LIMITS, sizeof(Limits))
GATE_INPUT_DTYPE = _dtype(_GATE_INPUT, sizeof(GateInput))
DECISION_DTYPE = _dtype(_DECISION, sizeof(DecisionRow))

price_raw_max = PRICE_RAW_MAX
qty_raw_max = QTY_RAW_MAX


cdef int _fill(BookSide *side, levels) except -1:
    """Copy levels, best first, into a best-last side that the caller frees."""
    cdef int n = len(levels)
    cdef int i
    side.level = <Level *>malloc(max(n, 1) * sizeof(Level))
    if side.level == NULL:
        raise MemoryError
    memset(side.level, 0, max(n, 1) * sizeof(Level))
    side.first = 0
    side.end = side.capacity = n
    for i in range(n):
        row = levels[n - 1 - i]
        side.level[i].price_raw = row[0]
        side.level[i].qty_raw = row[1]
        side.level[i].own_qty_raw = row[2] if len(row) > 2 else 0
        total_add(side, row[0], row[1])
        total_seen(side, row[0], row[1])
        if side.level[i].own_qty_raw:
            side.own_marked = True
    return 0


def gate_input(**fields):
    """Return one GATE_INPUT row with these fields set and all others 0; an unknown name is a ValueError."""
    row = np.zeros((), dtype=GATE_INPUT_DTYPE)
    for name, value in fields.items():
        row[name] = value
    return row


def evaluate_rows(inputs, limits, bids, asks, *, bint reduce=True):
    """Judge each input against one book and one row of limits.

    Args:
        inputs: shape (n,) or (), dtype GATE_INPUT_DTYPE; left as it is.
        limits: shape () or (1,), dtype LIMITS_DTYPE.
        bids, asks: levels, best first, each (price_raw, qty_raw) or (price_raw, qty_raw, own_qty_raw).
        reduce: False gives the single pass before any reduction, in which REDUCE is a proposal.

    Returns:
        shape (n,), dtype DECISION_DTYPE; the engine's part (event_seq and what follows) is 0.
    """
    work = np.array(inputs, dtype=GATE_INPUT_DTYPE, ndmin=1)
    rows = np.zeros(len(work), dtype=DECISION_DTYPE)
    limit_row = np.array(limits, dtype=LIMITS_DTYPE, ndmin=1)
    if len(limit_row) != 1:
        raise ValueError(f"one row of limits is needed, got {len(limit_row)}")
    if len(work) == 0:
        return rows
    cdef unsigned char[::1] work_bytes = work.view(np.uint8)
    cdef unsigned char[::1] row_bytes = rows.view(np.uint8)
    cdef unsigned char[::1] limit_bytes = limit_row.view(np.uint8)
    cdef GateInput *input = <GateInput *>&work_bytes[0]
    cdef DecisionRow *row = <DecisionRow *>&row_bytes[0]
    cdef const Limits *limit = <const Limits *>&limit_bytes[0]
    cdef BookSide bid_side, ask_side
    cdef Py_ssize_t i, n = len(work)
    memset(&bid_side, 0, sizeof(BookSide))
    memset(&ask_side, 0, sizeof(BookSide))
    try:
        _fill(&bid_side, bids)
        _fill(&ask_side, asks)
        with nogil:
            for i in range(n):
                input[i].bids = &bid_side
                input[i].asks = &ask_side
                if reduce:
                    judge(&input[i], limit, &row[i])
                else:
                    evaluate(&input[i], limit, &row[i])
    finally:
        free(bid_side.level)
        free(ask_side.level)
    return rows
