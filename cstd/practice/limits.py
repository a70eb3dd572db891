"""Rate limits of the venue: the trading counter per pair, the REST counter per key, the message rate per connection."""

from __future__ import annotations

from dataclasses import dataclass

from cstd.practice.wire import NS_PER_S


@dataclass(frozen=True, slots=True)
class Tier:
    """What one verification tier is allowed. Decays are points per second."""

    name: str
    trading_max: float
    trading_decay: float
    open_orders_max: int
    rest_max: float
    rest_decay: float


TIERS = {
    "starter": Tier("starter", 60, 1.00, 60, 15, 0.33),
    "intermediate": Tier("intermediate", 125, 2.34, 80, 20, 0.5),
    "pro": Tier("pro", 180, 3.75, 225, 20, 1.0),
}

# (age below, in seconds; points): what an action on a young order costs besides its fixed part.
AMEND_AGE_COST = ((5, 3), (10, 2), (15, 1))
EDIT_AGE_COST = ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1))
CANCEL_AGE_COST = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))

# Kraken publishes no number for messages per connection. Well above what documented clients send, well below a flood.
MESSAGES_BURST = 200
MESSAGES_PER_S = 100.0

# (calls at once, calls per second) of public REST where it is limited: no official number, what careful clients keep to.
PUBLIC_REST = (2.0, 1.0)


def age_cost(table: tuple[tuple[int, int], ...], age_ns: int) -> int:
    """Return the points `table` gives an order of age `age_ns`; 0 beyond its last row."""
    for below_s, points in table:
        if age_ns < below_s * NS_PER_S:
            return points
    return 0


class Counter:
    """A counter that decays linearly to zero. Time is given; readings never go back in time."""

    __slots__ = ("_at_ns", "_decay_per_s", "_value", "limit")

    def __init__(self, limit: float, decay_per_s: float) -> None:
        self.limit = limit
        self._decay_per_s = decay_per_s
        self._value = 0.0
        self._at_ns = 0

    def value(self, now_ns: int) -> float:
        """Return the counter at `now_ns`, decay applied."""
        if now_ns > self._at_ns:
            self._value = max(0.0, self._value - self._decay_per_s * (now_ns - self._at_ns) / NS_PER_S)
            self._at_ns = now_ns
        return self._value

    def charge(self, points: float, now_ns: int) -> bool:
        """Add `points`; return False if that is above the limit (the points stay charged, up to the limit)."""
        within = self.value(now_ns) + points <= self.limit
        self._value = min(self._value + points, self.limit)
        return within

    def charge_always(self, points: float, now_ns: int) -> bool:
        """Add `points` and allow the action unless the counter already stood at its limit."""
        within = self.value(now_ns) < self.limit
        self._value = min(self._value + points, self.limit)
        return within


class MessageRate:
    """A token bucket for the messages of one connection."""

    __slots__ = ("_counter",)

    def __init__(self) -> None:
        self._counter = Counter(MESSAGES_BURST, MESSAGES_PER_S)

    def allow(self, now_ns: int) -> bool:
        """Return True if one more message may be handled now."""
        if self._counter.value(now_ns) + 1 > MESSAGES_BURST:
            return False
        return self._counter.charge(1, now_ns)
