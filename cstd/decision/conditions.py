"""Conditions: what raises a level by itself and clears by itself (systems 9.1); docs/levels.md.

Shares over a window of event time: calls that the venue served, acknowledgements that came in time, books that were verified,
orders without an error. Pure: samples and times come in, the level that is asked for goes out. Integers alone are compared, and a
condition with fewer samples than the configured least asks for nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from cstd.config import Config
from cstd.decision.levels import CRITICAL, WARNING
from cstd.units import BPS_PER_UNIT, NS_PER_MS, NS_PER_S, seconds_to_ns, to_raw

NAMES = ("api_success", "ack_latency", "data_quality", "resyncs", "order_errors")
# What each asks for while it holds.
LEVEL_OF = {"api_success": CRITICAL, "ack_latency": WARNING, "data_quality": WARNING, "resyncs": WARNING, "order_errors": WARNING}
BUCKET_NS = NS_PER_S
SLOW_BPS_MAX = 500  # of acknowledgements: more than these late is a 95th percentile above the limit
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class ConditionLimits:
    """Thresholds of a configuration, in integers."""

    window_ns: int
    samples_min: int
    api_success_min_bps: int
    ack_p95_max_ns: int
    verified_min_bps: int
    resyncs_hour_max: int
    order_errors_max_bps: int

    @classmethod
    def of(cls, cfg: Config) -> ConditionLimits:
        """Return the thresholds of a configuration."""
        keys = cfg.conditions
        return cls(
            window_ns=seconds_to_ns(keys.window_s), samples_min=keys.samples_min,
            api_success_min_bps=to_raw(keys.api_success_frac_min, 4), ack_p95_max_ns=keys.ack_p95_ms_max * NS_PER_MS,
            verified_min_bps=to_raw(keys.verified_frac_min, 4), resyncs_hour_max=keys.resyncs_hour_max,
            order_errors_max_bps=to_raw(keys.order_errors_frac_max, 4))


class Share:
    """How many of how many within a window of event time, in buckets of a second: bounded by the window."""

    __slots__ = ("_buckets", "_window_ns", "good", "total")

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._buckets: deque[list[int]] = deque()  # [second, good, total]
        self.good = 0
        self.total = 0

    def add(self, good: int, total: int, mono_ns: int) -> None:
        """Add samples of one moment."""
        second = mono_ns // BUCKET_NS
        if not self._buckets or self._buckets[-1][0] != second:
            self._buckets.append([second, 0, 0])
        self._buckets[-1][1] += good
        self._buckets[-1][2] += total
        self.good += good
        self.total += total

    def forget(self, mono_ns: int) -> None:
        """Drop what is older than the window."""
        while self._buckets and (self._buckets[0][0] + 1) * BUCKET_NS <= mono_ns - self._window_ns:
            _, good, total = self._buckets.popleft()
            self.good -= good
            self.total -= total

    @property
    def bps(self) -> int | None:
        """The share in basis points, rounded down; None without a sample."""
        return self.good * BPS_PER_UNIT // self.total if self.total else None


class Conditions:
    """The windows of one boot. One writer: the engine.

    Attributes:
        asking: names of the conditions that ask for a level now.
        opened: whether this boot has been ready. looked_second: of monotonic time, at which the books were looked at last.
    """

    def __init__(self, cfg: Config) -> None:
        self.configure(cfg)

    def configure(self, cfg: Config) -> None:
        """Take thresholds at a boot. What was seen before it is forgotten: monotonic time may have begun anew."""
        self.limits = ConditionLimits.of(cfg)
        self._shares = {name: Share(self.limits.window_ns) for name in NAMES}
        self._resyncs_seen: int | None = None
        self.asking: tuple[str, ...] = ()
        self.opened = False
        self.looked_second = -1

    def call(self, mono_ns: int, *, served: bool, took_ns: int | None = None) -> None:
        """Take a call to the venue: whether it was served, and how long an acknowledgement took where it is one."""
        self._shares["api_success"].add(served, 1, mono_ns)
        if took_ns is not None:
            self._shares["ack_latency"].add(took_ns <= self.limits.ack_p95_max_ns, 1, mono_ns)

    def order(self, mono_ns: int, *, error: bool) -> None:
        """Take the venue's answer to a new order: an error is a refusal, post-only ones left out."""
        self._shares["order_errors"].add(not error, 1, mono_ns)

    def books(self, mono_ns: int, verified: int, configured: int, resyncs: int) -> None:
        """Take a look at all books: how many are verified, and the count of resyncs since the boot of the session."""
        self._shares["data_quality"].add(verified, configured, mono_ns)
        fresh = resyncs - self._resyncs_seen if self._resyncs_seen is not None else 0
        self._resyncs_seen = resyncs
        # One sample a book and second; a resync is a bad one.
        self._shares["resyncs"].add(configured - min(fresh, configured), configured, mono_ns)

    def look(self, mono_ns: int) -> int:
        """Return the level that is asked for at a time, the highest of all conditions."""
        for share in self._shares.values():
            share.forget(mono_ns)
        self.asking = tuple(name for name in NAMES if self._holds(name))
        return max((LEVEL_OF[name] for name in self.asking), default=0)

    def _holds(self, name: str) -> bool:
        share, limits = self._shares[name], self.limits
        if share.total < limits.samples_min:
            return False
        bad = share.total - share.good
        match name:
            case "api_success":
                return share.good * BPS_PER_UNIT < limits.api_success_min_bps * share.total
            case "ack_latency":
                return bad * BPS_PER_UNIT > SLOW_BPS_MAX * share.total
            case "data_quality":
                return share.good * BPS_PER_UNIT < limits.verified_min_bps * share.total
            case "resyncs":  # `total` is seconds of books
                return bad * HOUR_S > limits.resyncs_hour_max * share.total
            case _:
                return bad * BPS_PER_UNIT > limits.order_errors_max_bps * share.total

    def rows(self) -> dict[str, dict[str, object]]:
        """Return each condition for those who look on: what it asks for, the share that is well in bps, its samples."""
        return {name: {"asks": name in self.asking, "well_bps": share.bps, "samples": share.total}
                for name, share in self._shares.items()}
