"""Types of an instrument's slot, see slot.pyx."""

from collections.abc import Sequence

from cstd._fast.bars import BarSeries
from cstd._fast.book import Book
from cstd._fast.indicators import BarIndicators

class InstrumentSlot:
    number: int
    name: bytes
    book: Book
    bars: BarSeries
    m1: BarIndicators
    m5: BarIndicators
    h1: BarIndicators
    configured: bool
    online: bool
    resync_wanted: bool
    switched_off: bool
    flatten: bool
    price_scale: int
    qty_scale: int
    tick_raw: int
    lot_raw: int
    qty_min_raw: int
    cost_min_e8: int
    rate_e8: int
    evidence_mono_ns: int
    data_mono_ns: int
    unverified_since_ns: int
    last_verified_bid_raw: int
    rest_bid_raw: int
    rest_ask_raw: int
    rest_read_mono_ns: int
    exit_price_wanted: bool
    reference_raw: int
    reference_until_ns: int
    reference_required: bool
    last_trade_id: int
    last_trade_raw: int
    last_trade_wall_ns: int
    trade_gaps: int
    frames: int
    tickers: int
    ticker_last_raw: int
    position_qty_raw: int
    position_acct_raw: int
    losing_round_trips: int
    openings_ended: int
    exits_ended: int
    exit_attempts: int
    exit_wished_mono_ns: int
    exit_refusals: int
    exit_not_before_ns: int
    rate_held: int
    follow_ticks: int
    follow_amends_max: int
    rate_episode: bool
    shadow: bool
    def __init__(self, number: int, name: bytes, depth: int) -> None: ...
    strategy_faults: int
    strategy_fault_run: int
    def begin_strategy(self, fresh: bool) -> None: ...
    def aim(self, words: Sequence[int]) -> None: ...
    def aimed(self, count: int) -> list[int]: ...
    def forget_agents(self) -> None: ...
    def follow(self, ticks: int, amends_max: int) -> None: ...
    def is_dust(self) -> bool: ...
    def too_little(self, qty_raw: int) -> bool: ...
    def watch_exit(self, stop2_raw: int, target_raw: int, until_wall_ns: int) -> None: ...
    def watch_anew(self) -> None: ...
    def exit_watch(self) -> tuple[int, int, int, int]: ...
    def rate_tune(self, threshold_micro: int, limit_micro: int, decay_micro_per_s: int, now_ns: int) -> None: ...
    def rebase(self, now_ns: int) -> None: ...
    def rate_charge(self, points: int, now_ns: int) -> None: ...
    def rate_raise(self, level_micro: int, now_ns: int) -> None: ...
    def rate_micro(self, now_ns: int) -> int: ...
    def rate_admits(self, points: int, now_ns: int) -> bool: ...
    def rate_points(self, age_ns: int) -> tuple[int, int, int]: ...
    def rate_limits(self) -> tuple[int, int, int]: ...
    def feature_row(self) -> tuple[list[float], tuple[int, int]]: ...
