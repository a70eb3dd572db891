"""Both sides of every limit of the fifteen gates: what still passes and what does not, and the reason that is given.

The tests of `test_gates.py` and `test_gates_reasons.py` judge each row; the control table (docs/controls.md) names them. A
reason without a row fails a test of tests/controls.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cstd._fast import codes
from cstd._fast.gates import Gate, Why, price_raw_max, qty_raw_max
from tests.kernels.gate_case import ASKS, BIDS, USD, S

# gate, what is set, the value that still passes, the first that fails, the reason. Base: gate_case.opening().
BOUNDARIES: list[tuple[Gate, str, object, object, Why]] = [
    (Gate.GATE_IDEMPOTENCY, "parents_instrument_hour", 5, 6, Why.WHY_INSTRUMENT_RATE),
    (Gate.GATE_IDEMPOTENCY, "parents_minute", 29, 30, Why.WHY_MINUTE_RATE),
    (Gate.GATE_IDEMPOTENCY, "turnover_day_acct_raw", 19_900 * USD, 19_900 * USD + 1, Why.WHY_TURNOVER),
    (Gate.GATE_IDEMPOTENCY, "losing_round_trips", 3, 4, Why.WHY_LOSING_STREAK),
    (Gate.GATE_IDEMPOTENCY, "instrument_off", 0, 1, Why.WHY_LOSING_STREAK),
    (Gate.GATE_IDEMPOTENCY, "id_seen", 0, 1, Why.WHY_ID_SEEN),
    (Gate.GATE_IDEMPOTENCY, "same_unknown", 0, 1, Why.WHY_UNKNOWN_PENDING),
    (Gate.GATE_IDEMPOTENCY, "dedupe_hit", 0, 1, Why.WHY_DUPLICATE),
    (Gate.GATE_VOLUME, "volume_hour_acct_raw", 100_000 * USD, 100_000 * USD - 1, Why.WHY_OVER_LIMIT),
    (Gate.GATE_VOLUME, "volume_ready", 1, 0, Why.WHY_WARMING_UP),
    (Gate.GATE_SLIPPAGE, "markout_allowance_mbps", 24_995, 24_996, Why.WHY_OVER_LIMIT),
    (Gate.GATE_SLIPPAGE, "slippage_day_acct_raw", 20 * USD, 20 * USD + 1, Why.WHY_SLIPPAGE_DAY),
    (Gate.GATE_TIME_IN_FORCE, "deadline_ns", S, S - 1, Why.WHY_DEADLINE),
    (Gate.GATE_TIME_IN_FORCE, "deadline_ns", 2 * S, 2 * S + 1, Why.WHY_DEADLINE),
    (Gate.GATE_TIME_IN_FORCE, "lifetime_ns", 60 * S, 60 * S + 1, Why.WHY_LIFETIME),
    (Gate.GATE_TIME_IN_FORCE, "lifetime_ns", 1, 0, Why.WHY_LIFETIME),
    (Gate.GATE_TIME_IN_FORCE, "post_only", 1, 0, Why.WHY_NOT_POST_ONLY),
    (Gate.GATE_TIME_IN_FORCE, "time_in_force", int(codes.TimeInForce.GTD), int(codes.TimeInForce.GTC), Why.WHY_WRONG_TIF),
    (Gate.GATE_TIME_IN_FORCE, "time_in_force", int(codes.TimeInForce.GTD), int(codes.TimeInForce.IOC), Why.WHY_WRONG_TIF),
    (Gate.GATE_PRICE, "price_raw", 1_000_000, 1_000_001, Why.WHY_CROSSING),
    (Gate.GATE_PRICE, "price_raw", 990_001, 990_000, Why.WHY_OVER_LIMIT),  # 100 bps below the mid of 1,000,000.5
    (Gate.GATE_PRICE, "tick_raw", 10, 3, Why.WHY_OFF_TICK),
    (Gate.GATE_PRICE, "lot_raw", 1_000, 3, Why.WHY_OFF_LOT),
    (Gate.GATE_PRICE, "qty_min_raw", 100_000, 100_001, Why.WHY_BELOW_MINIMUM),
    (Gate.GATE_PRICE, "cost_min_quote_e8", 100 * USD, 100 * USD + 1, Why.WHY_BELOW_MINIMUM),
    (Gate.GATE_PRICE, "reference_price_raw", 1_010_101, 1_010_102, Why.WHY_REFERENCE),
    (Gate.GATE_PRICE, "reference_required", 0, 1, Why.WHY_NO_REFERENCE),
    (Gate.GATE_KILL_SWITCH, "kill_latched", 0, 1, Why.WHY_KILLED),
    (Gate.GATE_KILL_SWITCH, "trading_state", 0, int(codes.TradingState.TRADING_PAUSED), Why.WHY_PAUSED),
    (Gate.GATE_KILL_SWITCH, "trading_state", 0, int(codes.TradingState.TRADING_NOT_READY), Why.WHY_NOT_READY),
    (Gate.GATE_KILL_SWITCH, "trading_state", 0, int(codes.TradingState.TRADING_HALTED), Why.WHY_HALTED),
    (Gate.GATE_KILL_SWITCH, "trading_state", 0, int(codes.TradingState.TRADING_PARITY_HALT), Why.WHY_PARITY_HALT),
    (Gate.GATE_KILL_SWITCH, "level", 0, 2, Why.WHY_LEVEL),
    (Gate.GATE_DATA_GAP, "evidence_age_ns", 5 * S, 5 * S + 1, Why.WHY_STALE),
    (Gate.GATE_DATA_GAP, "silent_for_ns", 300 * S - 1, 300 * S, Why.WHY_SILENT),
    (Gate.GATE_DATA_GAP, "clock_offset_ns", 250_000_000, 250_000_001, Why.WHY_CLOCK),
    (Gate.GATE_DATA_GAP, "clock_offset_ns", -250_000_000, -250_000_001, Why.WHY_CLOCK),
    (Gate.GATE_DATA_GAP, "book_verified", 1, 0, Why.WHY_BOOK_UNVERIFIED),
    (Gate.GATE_DATA_GAP, "book_fault", 0, int(codes.BookFault.FAULT_COLLAR), Why.WHY_BOOK_FAULT),
    (Gate.GATE_DATA_GAP, "venue_online", 1, 0, Why.WHY_VENUE_STATE),
    (Gate.GATE_DATA_GAP, "instrument_online", 1, 0, Why.WHY_INSTRUMENT_STATE),
    (Gate.GATE_DATA_GAP, "private_up", 1, 0, Why.WHY_PRIVATE_STREAM),
    (Gate.GATE_DATA_GAP, "private_ready", 1, 0, Why.WHY_PRIVATE_STREAM),
    (Gate.GATE_DATA_GAP, "conversion_ok", 1, 0, Why.WHY_CONVERSION),
    (Gate.GATE_DAY_LOSS, "day_loss_bps", 499, 500, Why.WHY_OVER_LIMIT),
    (Gate.GATE_DAY_LOSS, "day_loss_acct_raw", 500 * USD - 1, 500 * USD, Why.WHY_LOSS_AMOUNT),
    (Gate.GATE_DRAWDOWN, "drawdown_bps", 999, 1000, Why.WHY_OVER_LIMIT),
    (Gate.GATE_POSITION_COUNT, "positions_count", 9, 10, Why.WHY_OVER_LIMIT),
]

# The same for what depends on the book or on the size: gate, changes that pass, changes that fail, reason.
SIZES: list[tuple[Gate, dict, dict, Why]] = [
    (Gate.GATE_TOTAL_EXPOSURE, {"exposure_acct_raw": 1_400 * USD}, {"exposure_acct_raw": 1_400 * USD + 1}, Why.WHY_OVER_LIMIT),
    (Gate.GATE_POSITION_SIZE, {"asset_exposure_acct_raw": 100 * USD}, {"asset_exposure_acct_raw": 100 * USD + 1},
     Why.WHY_OVER_LIMIT),
    (Gate.GATE_CORRELATION, {"cluster_exposure_acct_raw": 500 * USD}, {"cluster_exposure_acct_raw": 500 * USD + 1},
     Why.WHY_OVER_LIMIT),
    (Gate.GATE_VOLUME, {"volume_hour_acct_raw": 120_000 * USD, "qty_raw": 200_000},
     {"volume_hour_acct_raw": 120_000 * USD - 60_000, "qty_raw": 200_000}, Why.WHY_ORDER_SHARE),
    (Gate.GATE_SLIPPAGE, {"slippage_fills": 19, "slippage_p95_mbps": 30_001},
     {"slippage_fills": 20, "slippage_p95_mbps": 30_001}, Why.WHY_SLIPPAGE_P95),
    (Gate.GATE_SLIPPAGE, {"slippage_fills": 20, "slippage_p95_mbps": 30_000},
     {"slippage_fills": 20, "slippage_p95_mbps": 30_001}, Why.WHY_SLIPPAGE_P95),
    (Gate.GATE_POSITION_COUNT, {"positions_count": 10, "instrument_has_position": 1},
     {"positions_count": 11, "instrument_has_position": 1}, Why.WHY_OVER_LIMIT),
]

Book = tuple[list, list]
MAX64 = 2**63 - 1
BOOK: Book = (BIDS, ASKS)
LOCKED: Book = ([(1_000_000, 10**9)], [(1_000_000, 10**9)])
SELL = int(codes.Side.SELL)


@dataclass(frozen=True, slots=True)
class Sides:
    """What passes a gate and what it refuses for one reason, a step apart.

    Attributes:
        gate: MANAGED_BOUND and NONE stand for the verdict itself, whose reason is the row's `verdict_reason`.
        passing, failing: fields of the intent. same: further fields, of both.
        base: `opening` or `exit_sell` of gate_case.
        limits: changes of the limits of both, which leave other gates out of it.
        book, failing_book: what both are judged on; the second where the book makes the difference, which `books` words.
    """

    gate: Gate
    reason: Why
    passing: dict
    failing: dict
    base: str = "opening"
    same: dict = field(default_factory=dict)
    limits: dict = field(default_factory=dict)
    book: Book = BOOK
    failing_book: Book | None = None
    books: tuple[str, str] = ("", "")  # the two of them in words

    @property
    def name(self) -> str:
        """The row as the id of its test, without brackets."""
        what = "-".join(f"{name}={value}" for name, value in self.failing.items()) or "book"
        return f"{self.gate.name}-{self.reason.name}-{'' if self.base == 'opening' else 'exit-'}{what}"


def _worth(gate: Gate, limits: dict, book: Book = BOOK) -> list[Sides]:
    """Rows of a gate that needs to know what the order is worth: a haircut of all of it, and the largest rate."""
    cheap = {"price_raw": 1, "qty_raw": 1, "qty_min_raw": 0, "cost_min_quote_e8": 0}
    return [
        Sides(gate, Why.WHY_BAD_INPUT, {"conversion_haircut_bps": 10_000}, {"conversion_haircut_bps": 10_001}, limits=limits),
        Sides(gate, Why.WHY_BAD_INPUT, {"conversion_rate_e8": 1}, {"conversion_rate_e8": 0}, limits=limits),
        Sides(gate, Why.WHY_OVERFLOW, {"conversion_rate_e8": 2**61}, {"conversion_rate_e8": 2**61 + 1}, same=cheap, limits=limits,
              book=book),
    ]


def _negative(gate: Gate, *fields: str) -> list[Sides]:
    """Rows of numbers that are 0 at least."""
    return [Sides(gate, Why.WHY_BAD_INPUT, {name: 0}, {name: -1}) for name in fields]


NO_DEPTH = {"depth_min_acct_raw": 0, "depth_multiple_e2": 0}
WIDE = {"position_max_bps": 10_000, "exposure_max_bps": 10_000, "cluster_max_bps": 10_000}
ONE_BID = ([(1_000_000, 10_000_000)], ASKS)  # 10,000 USD within the band
THIN = [(1_000_000, 99_999)]
MEET = ("bid below ask", "bid at ask")
ZERO = ("a level at price 1", "at price 0")
CHEAP_BOOK = ([(1, 10)], [(3, 10)])
# What is not in the tables above: conditions of the book and of the input's domain, exits, and the verdict's own reasons.
REASONS: list[Sides] = [
    *_negative(Gate.GATE_IDEMPOTENCY, "parents_instrument_hour", "parents_minute", "losing_round_trips", "turnover_day_acct_raw"),
    *_worth(Gate.GATE_IDEMPOTENCY, {}),
    Sides(Gate.GATE_SPREAD, Why.WHY_OVER_LIMIT, {}, {}, same={"price_raw": 997_750},
          book=([(997_750, 10**9)], [(1_002_250, 10**9)]), failing_book=([(997_750, 10**9)], [(1_002_251, 10**9)]),
          books=("a spread of 45 bps", "one of 45.01 bps")),
    Sides(Gate.GATE_SPREAD, Why.WHY_NO_BOOK, {}, {}, failing_book=LOCKED, books=MEET),
    Sides(Gate.GATE_DEPTH, Why.WHY_DEPTH_FLOOR, {}, {}, book=ONE_BID, failing_book=([(1_000_000, 9_999_999)], ASKS),
          books=("10,000 USD in sight", "9,999.999")),
    Sides(Gate.GATE_DEPTH, Why.WHY_OVER_LIMIT, {"qty_raw": 2_000_000}, {"qty_raw": 2_000_001}, limits=WIDE, book=ONE_BID),
    Sides(Gate.GATE_DEPTH, Why.WHY_NO_BOOK, {}, {}, failing_book=LOCKED, books=MEET),
    Sides(Gate.GATE_DEPTH, Why.WHY_OVERFLOW, {}, {}, limits=NO_DEPTH, book=([*THIN, (1, 10**9)], ASKS),
          failing_book=([*THIN, (0, 10**9)], ASKS), books=ZERO),
    *_worth(Gate.GATE_DEPTH, NO_DEPTH, CHEAP_BOOK),
    Sides(Gate.GATE_VOLUME, Why.WHY_BAD_INPUT, {"volume_hour_acct_raw": 100_000 * USD}, {"volume_hour_acct_raw": -1}),
    *_worth(Gate.GATE_VOLUME, {}),
    Sides(Gate.GATE_SLIPPAGE, Why.WHY_BOOK_TOO_THIN, {"qty_raw": 99_999}, {"qty_raw": 100_000}, limits=NO_DEPTH,
          book=(THIN, ASKS)),
    Sides(Gate.GATE_SLIPPAGE, Why.WHY_NO_BOOK, {}, {}, failing_book=LOCKED, books=MEET),
    Sides(Gate.GATE_SLIPPAGE, Why.WHY_OVERFLOW, {}, {}, book=([*THIN, (1, 10**9)], ASKS),
          failing_book=([*THIN, (0, 10**9)], ASKS), books=ZERO),
    *_negative(Gate.GATE_SLIPPAGE, "markout_allowance_mbps", "slippage_fills"),
    Sides(Gate.GATE_SLIPPAGE, Why.WHY_BAD_INPUT, {"day_start_equity_acct_raw": 1}, {"day_start_equity_acct_raw": 0}),
    Sides(Gate.GATE_SLIPPAGE, Why.WHY_BAD_INPUT, {"tick_raw": 1}, {"tick_raw": 0}),
    Sides(Gate.GATE_PRICE, Why.WHY_NO_BOOK, {}, {}, failing_book=LOCKED, books=MEET),
    Sides(Gate.GATE_PRICE, Why.WHY_BAD_INPUT, {"lot_raw": 1}, {"lot_raw": 0}),
    Sides(Gate.GATE_PRICE, Why.WHY_BAD_INPUT, {"reference_price_raw": price_raw_max}, {"reference_price_raw": price_raw_max + 1},
          limits={"reference_band_mbps": MAX64}),
    Sides(Gate.GATE_PRICE, Why.WHY_BAD_INPUT, {"price_raw": price_raw_max}, {"price_raw": price_raw_max + 1}, "exit_sell"),
    Sides(Gate.GATE_PRICE, Why.WHY_BAD_INPUT, {"price_raw": 1}, {"price_raw": 0}, "exit_sell",
          same={"book_verified": 0, "last_verified_bid_raw": 0, "cost_min_quote_e8": 0}),
    Sides(Gate.GATE_PRICE, Why.WHY_BAD_INPUT, {"qty_raw": qty_raw_max}, {"qty_raw": qty_raw_max + 1}, "exit_sell"),
    Sides(Gate.GATE_PRICE, Why.WHY_BAD_INPUT, {"qty_raw": 1}, {"qty_raw": 0}, "exit_sell",
          same={"qty_min_raw": 0, "cost_min_quote_e8": 0}),
    Sides(Gate.GATE_PRICE, Why.WHY_COLLAR, {"price_raw": 997_500}, {"price_raw": 997_499}, "exit_sell"),
    Sides(Gate.GATE_PRICE, Why.WHY_COLLAR, {"price_raw": 980_000}, {"price_raw": 979_999}, "exit_sell",
          same={"collar_mbps": 900_000}),  # never wider than the widest step
    # From when on the bid of a REST snapshot counts, and how old it may be: without it the last verified bid holds.
    Sides(Gate.GATE_PRICE, Why.WHY_COLLAR, {"unverified_for_ns": 2 * S + 1}, {"unverified_for_ns": 2 * S}, "exit_sell",
          same={"price_raw": 900_000, "book_verified": 0, "rest_bid_raw": 900_000}),
    Sides(Gate.GATE_PRICE, Why.WHY_COLLAR, {"rest_age_ns": 2 * S}, {"rest_age_ns": 2 * S + 1}, "exit_sell",
          same={"price_raw": 900_000, "book_verified": 0, "rest_bid_raw": 900_000, "unverified_for_ns": 3 * S}),
    Sides(Gate.GATE_PRICE, Why.WHY_OVERFLOW, {"last_verified_bid_raw": price_raw_max},
          {"last_verified_bid_raw": price_raw_max + 1}, "exit_sell", same={"price_raw": price_raw_max, "book_verified": 0}),
    Sides(Gate.GATE_KILL_SWITCH, Why.WHY_BAD_INPUT, {"trading_state": 0}, {"trading_state": -1}),
    Sides(Gate.GATE_KILL_SWITCH, Why.WHY_BAD_INPUT, {"trading_state": 0}, {"trading_state": 5}),
    Sides(Gate.GATE_KILL_SWITCH, Why.WHY_LEVEL, {"level": 1}, {"level": 2}),
    *_negative(Gate.GATE_DATA_GAP, "evidence_age_ns", "silent_for_ns", "unverified_for_ns"),
    Sides(Gate.GATE_DAY_LOSS, Why.WHY_BAD_INPUT, {"day_loss_bps": -MAX64}, {"day_loss_bps": -MAX64 - 1}),
    Sides(Gate.GATE_DAY_LOSS, Why.WHY_BAD_INPUT, {"day_loss_acct_raw": -MAX64}, {"day_loss_acct_raw": -MAX64 - 1}),
    *_negative(Gate.GATE_DRAWDOWN, "drawdown_bps"),
    *_negative(Gate.GATE_POSITION_COUNT, "positions_count"),
    *_negative(Gate.GATE_TOTAL_EXPOSURE, "exposure_acct_raw"),
    *_worth(Gate.GATE_TOTAL_EXPOSURE, {}),
    *_negative(Gate.GATE_POSITION_SIZE, "asset_exposure_acct_raw"),
    *_worth(Gate.GATE_POSITION_SIZE, {}),
    Sides(Gate.GATE_POSITION_SIZE, Why.WHY_LONG_ONLY, {}, {"side": SELL}),
    *_negative(Gate.GATE_CORRELATION, "cluster_exposure_acct_raw"),
    *_worth(Gate.GATE_CORRELATION, {}),
    # The verdict's own: a cut that leaves too little, and the bound on exits.
    Sides(Gate.GATE_NONE, Why.WHY_TOO_SMALL, {"qty_raw": 2_000_000}, {"qty_raw": 2_000_010}),  # a tenth of the request
    Sides(Gate.GATE_NONE, Why.WHY_TOO_SMALL, {"qty_min_raw": 200_000}, {"qty_min_raw": 200_001}, same={"qty_raw": 900_000}),
    Sides(Gate.GATE_NONE, Why.WHY_TOO_SMALL, {"qty_min_raw": 75_000}, {"qty_min_raw": 75_001}, same={"level": 1}),
    Sides(Gate.GATE_MANAGED_BOUND, Why.WHY_ABOVE_MANAGED, {"managed_free_qty_raw": 5_000}, {"managed_free_qty_raw": 4_999},
          "exit_sell"),
    Sides(Gate.GATE_MANAGED_BOUND, Why.WHY_LONG_ONLY, {}, {"side": int(codes.Side.BUY)}, "exit_sell"),
]
