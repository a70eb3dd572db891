"""Kraken's two rate counters, kept locally so that a refusal is ours and not theirs. Integers only.

The trading counter itself is compiled (cstd/_fast/csrc/rate.h); here are its tiers and costs, and the REST counter.

Trading: one counter per pair and account, in points, decaying with time; amends and cancels cost more on young orders.
REST: one counter per key. Points are kept in micro-points, so that 2.34 points a second is exact to the microsecond.
Openings are refused at 80 % of the threshold; the rest is the reserve for cancels, the kill and the dead man's switch. Of the
REST counter three points are kept for the look that proves a kill.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from cstd.errors import ConfigError
from cstd.units import NS_PER_S

MICRO = 1_000_000
LOCAL_LIMIT_PERCENT = 80
# More than any tier's threshold and what a cancel may overshoot it by: a word of the venue beyond it is not believed whole.
VENUE_POINTS_MAX = 1_000
# What ordinary reads leave of the REST counter: the look that proves a kill, a second one, and the session token of a
# reconnect, which is taken outside the lane. A round that finds it gone waits; a kill does not.
REST_RESERVE_POINTS = 3

# (age in s below which it applies, points); an order of 300 s or more costs nothing extra.
AMEND_AGE_COSTS = ((5, 3), (10, 2), (15, 1))
CANCEL_AGE_COSTS = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))
EDIT_AGE_COSTS = ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1))
ADD_COST = 1
AMEND_FIXED_COST = 1
EDIT_FIXED_COST = 1


class TradingTier(msgspec.Struct, frozen=True):
    """Threshold in points, decay in micro-points a second, and open orders per pair."""

    name: str
    threshold: int
    decay_micro_per_s: int
    open_orders_max: int


TRADING_TIERS: Mapping[str, TradingTier] = {
    "starter": TradingTier("starter", 60, 1_000_000, 60),
    "intermediate": TradingTier("intermediate", 125, 2_340_000, 80),
    "pro": TradingTier("pro", 180, 3_750_000, 225),
}


class RestTier(msgspec.Struct, frozen=True):
    """Counter maximum in points, decay in micro-points a second."""

    name: str
    threshold: int
    decay_micro_per_s: int


REST_TIERS: Mapping[str, RestTier] = {
    "starter": RestTier("starter", 15, 330_000),
    "intermediate": RestTier("intermediate", 20, 500_000),
    "pro": RestTier("pro", 20, 1_000_000),
}


def tier_of_threshold(rate_count_max: int) -> str | None:
    """Return the tier whose threshold the executions ack told (`maxratecount`), or None."""
    return next((tier.name for tier in TRADING_TIERS.values() if tier.threshold == rate_count_max), None)


def tier_told(rate_count_max: int, tier: TradingTier) -> TradingTier:
    """Return the tier to count by once the venue told a threshold; one of no known tier is taken at its strictest."""
    name = tier_of_threshold(rate_count_max)
    if name is not None:
        return TRADING_TIERS[name]
    slowest = min(known.decay_micro_per_s for known in TRADING_TIERS.values())
    return TradingTier("unknown", min(rate_count_max, tier.threshold), slowest, tier.open_orders_max)


def openings_limit_micro(tier: TradingTier) -> int:
    """Return how many micro-points openings and amends may use of a tier's threshold."""
    return tier.threshold * MICRO * LOCAL_LIMIT_PERCENT // 100


def points_to_micro(points: Decimal) -> int:
    """Return a counter that the venue told in micro-points, between zero and VENUE_POINTS_MAX."""
    return max(0, VENUE_POINTS_MAX * MICRO if points >= VENUE_POINTS_MAX else int(points * MICRO))


def age_cost(table: tuple[tuple[int, int], ...], age_ns: int) -> int:
    """Return the extra points for an order of `age_ns` since it was created or last amended."""
    for below_s, points in table:
        if age_ns < below_s * NS_PER_S:
            return points
    return 0


def amend_cost(age_ns: int) -> int:
    """Return the points of an amend of an order of this age."""
    return AMEND_FIXED_COST + age_cost(AMEND_AGE_COSTS, age_ns)


def cancel_cost(age_ns: int) -> int:
    """Return the points of a cancel of an order of this age."""
    return age_cost(CANCEL_AGE_COSTS, age_ns)


def edit_cost(age_ns: int) -> int:
    """Return the points of an edit of an order of this age."""
    return EDIT_FIXED_COST + age_cost(EDIT_AGE_COSTS, age_ns)


class DecayingCounter:
    """A counter in micro-points that falls with time and never below zero."""

    __slots__ = ("_decay_micro_per_s", "_level_micro", "_remainder", "_updated_ns")

    def __init__(self, decay_micro_per_s: int) -> None:
        self._decay_micro_per_s = decay_micro_per_s
        self._level_micro = 0
        self._remainder = 0
        self._updated_ns: int | None = None

    def level_micro(self, now_ns: int) -> int:
        """Return the level at `now_ns` (monotonic) in micro-points."""
        if self._updated_ns is not None and now_ns > self._updated_ns:
            # The remainder keeps many small steps equal to one large one.
            product = (now_ns - self._updated_ns) * self._decay_micro_per_s + self._remainder
            decayed_micro, self._remainder = divmod(product, NS_PER_S)
            self._level_micro -= decayed_micro
            if self._level_micro <= 0:
                self._level_micro = 0
                self._remainder = 0
        if self._updated_ns is None or now_ns > self._updated_ns:
            self._updated_ns = now_ns
        return self._level_micro

    def add(self, points_micro: int, now_ns: int) -> None:
        """Charge micro-points at `now_ns`."""
        self._level_micro = self.level_micro(now_ns) + points_micro

    def set(self, level_micro: int, now_ns: int) -> None:
        """Replace the level by what the venue said it is."""
        self.level_micro(now_ns)
        self._level_micro = max(0, level_micro)
        self._remainder = 0


REST_COSTS: Mapping[str, int] = {
    # Limited by the trading counter instead.
    "AddOrder": 0, "AddOrderBatch": 0, "AmendOrder": 0, "EditOrder": 0, "CancelOrder": 0, "CancelOrderBatch": 0,
    "CancelAll": 0, "CancelAllOrdersAfter": 0,
    # Documents disagree whether ClosedOrders costs 1 or 2.
    "Ledgers": 2, "QueryLedgers": 2, "TradesHistory": 2, "ClosedOrders": 2,
}


def rest_cost(method: str) -> int:
    """Return the points of a private REST call."""
    return REST_COSTS.get(method, 1)


class RestRate:
    """The REST counter of one key."""

    def __init__(self, tier: str) -> None:
        if tier not in REST_TIERS:
            raise ConfigError(f"rate tier is {tier!r}; it must be one of {', '.join(REST_TIERS)}")
        self.tier = REST_TIERS[tier]
        self._counter = DecayingCounter(self.tier.decay_micro_per_s)

    def points_micro(self, now_ns: int) -> int:
        """Return the counter in micro-points."""
        return self._counter.level_micro(now_ns)

    def next_ns(self, method: str, now_ns: int, *, reserve_points: int = 0) -> int:
        """Return the earliest time at which a call fits under the maximum less a reserve: `now_ns` or later."""
        limit_micro = (self.tier.threshold - reserve_points) * MICRO
        excess_micro = self._counter.level_micro(now_ns) + rest_cost(method) * MICRO - limit_micro
        if rest_cost(method) == 0 or excess_micro <= 0:
            return now_ns
        return now_ns - (-excess_micro * NS_PER_S // self.tier.decay_micro_per_s)

    def charge(self, method: str, now_ns: int) -> None:
        """Charge a call that is being sent."""
        self._counter.add(rest_cost(method) * MICRO, now_ns)

    def on_rate_limited(self, now_ns: int) -> None:
        """The venue refused for its rate: its counter is at the maximum at least."""
        self._counter.set(max(self.tier.threshold * MICRO, self._counter.level_micro(now_ns)), now_ns)
