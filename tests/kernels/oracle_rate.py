"""The venue's trading rate counter, written apart from the compiled one in exact arithmetic: what it is compared with."""

from __future__ import annotations

from decimal import Decimal

from cstd.venue.rate import MICRO, TRADING_TIERS, DecayingCounter, openings_limit_micro, points_to_micro, tier_told


class PairCounter(DecayingCounter):
    """A counter whose tier and clock may change."""

    __slots__ = ()

    def retune(self, decay_micro_per_s: int, now_ns: int) -> None:
        """Decay at another rate from `now_ns` on."""
        self.level_micro(now_ns)
        self._decay_micro_per_s = decay_micro_per_s
        self._remainder = 0

    def rebase(self, now_ns: int) -> None:
        """Go on from `now_ns` where the clock began anew; what stands stays."""
        if self._updated_ns is not None and self._updated_ns > now_ns:
            self._updated_ns = now_ns


class TradingRate:
    """The rate counter of each pair of one account.

    Args:
        tier: "starter", "intermediate" or "pro".
    """

    def __init__(self, tier: str) -> None:
        self.tier = TRADING_TIERS[tier]
        self._counters: dict[str, PairCounter] = {}
        self.refused_count = 0

    def points_micro(self, name: str, now_ns: int) -> int:
        """Return the counter of one pair in micro-points."""
        counter = self._counters.get(name)
        return counter.level_micro(now_ns) if counter is not None else 0

    def admits(self, name: str, points: int, now_ns: int) -> bool:
        """Tell whether `points` more stay within 80 % of the threshold; a refusal is counted. Charges nothing."""
        admitted = self.points_micro(name, now_ns) + points * MICRO <= openings_limit_micro(self.tier)
        if not admitted:
            self.refused_count += 1
        return admitted

    def charge(self, name: str, points: int, now_ns: int) -> None:
        """Charge a request that is being sent; what may not be held back (a cancel) is charged without asking."""
        self._counter(name).add(points * MICRO, now_ns)

    def on_rate_limited(self, name: str, now_ns: int) -> None:
        """The venue refused for its rate: its counter is at the threshold at least."""
        counter = self._counter(name)
        counter.set(max(self.tier.threshold * MICRO, counter.level_micro(now_ns)), now_ns)

    def on_venue_counter(self, name: str, points: Decimal, now_ns: int) -> None:
        """Take the true value from an execution report; requests in flight are not in it, so the larger one counts."""
        counter = self._counter(name)
        counter.set(max(points_to_micro(points), counter.level_micro(now_ns)), now_ns)

    def set_tier(self, rate_count_max: int, now_ns: int) -> bool:
        """Follow the threshold the venue told; False when it is no known tier's, which is taken at its strictest."""
        tier = tier_told(rate_count_max, self.tier)
        changed = (tier.threshold, tier.decay_micro_per_s) != (self.tier.threshold, self.tier.decay_micro_per_s)
        self.tier = tier
        for counter in self._counters.values() if changed else ():
            counter.retune(tier.decay_micro_per_s, now_ns)
        return tier.name in TRADING_TIERS

    def rebase(self, now_ns: int) -> None:
        """Go on from `now_ns` where the clock began anew (the host restarted); what stands stays."""
        for counter in self._counters.values():
            counter.rebase(now_ns)

    def _counter(self, name: str) -> PairCounter:
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = PairCounter(self.tier.decay_micro_per_s)
        return counter
