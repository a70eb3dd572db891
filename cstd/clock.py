"""The one place that reads a clock. Everything else is given `now_ns`.

Two readings go with every event: monotonic for ages and latencies, wall for days, deadlines and expiries.
`VirtualClock` stands in for both in tests and simulations; it moves only when told to.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Protocol

from cstd.units import INT64_MAX, NS_PER_S, UNITS_S

NS_PER_DAY = 86_400 * NS_PER_S


class Clock(Protocol):
    """Gives both times in int nanoseconds."""

    def mono_ns(self) -> int:
        """Return monotonic nanoseconds; never decreases within a boot of the host."""

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC; may step."""


class SystemClock:
    """The host's clocks."""

    __slots__ = ()

    def mono_ns(self) -> int:
        """Return CLOCK_MONOTONIC in ns."""
        return time.monotonic_ns()

    def wall_ns(self) -> int:
        """Return CLOCK_REALTIME in ns since the epoch."""
        return time.time_ns()


class VirtualClock:
    """A clock that moves only by `advance` and `step_wall`; monotonic time cannot go back."""

    __slots__ = ("_mono_ns", "_wall_ns")

    def __init__(self, *, mono_ns: int, wall_ns: int) -> None:
        self._mono_ns = mono_ns
        self._wall_ns = wall_ns

    def mono_ns(self) -> int:
        """Return the virtual monotonic time in ns."""
        return self._mono_ns

    def wall_ns(self) -> int:
        """Return the virtual wall time in ns."""
        return self._wall_ns

    def advance(self, delta_ns: int) -> None:
        """Move both clocks forward by `delta_ns`."""
        if delta_ns < 0:
            raise ValueError(f"time cannot advance by {delta_ns} ns")
        self._mono_ns += delta_ns
        self._wall_ns += delta_ns

    def step_wall(self, delta_ns: int) -> None:
        """Step the wall clock alone, either way, as NTP or an operator would."""
        self._wall_ns += delta_ns


def utc_day(wall_ns: int) -> int:
    """Return the number of whole UTC days since the epoch."""
    return wall_ns // NS_PER_DAY


def utc_text(wall_ns: int) -> str:
    """Return RFC 3339 UTC text with nine fractional digits, e.g. 2026-08-02T10:00:00.123456789Z."""
    seconds, fraction_ns = divmod(wall_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction_ns:09d}Z"


def utc_parse(text: str) -> int:
    """Return ns since the epoch of RFC 3339 text in UTC ("Z") with up to nine fractional digits.

    Raises:
        ValueError: not such a text.
    """
    if not text.endswith("Z"):
        raise ValueError(f"not UTC (no Z): {text!r}")
    whole, _, fraction = text[:-1].partition(".")
    if fraction and not (fraction.isascii() and fraction.isdigit() and len(fraction) <= 9):
        raise ValueError(f"bad fraction of a second: {text!r}")
    seconds = int(datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp())
    return seconds * NS_PER_S + int(fraction.ljust(9, "0") or "0")


def since_parse(text: str, now_ns: int) -> int:
    """Return the wall time in ns that a length of time before now, such as 90s, 10m, 2h or 1d, or a UTC day or time names.

    Raises:
        ValueError: not such a text.
    """
    length = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    try:
        at_ns = (now_ns - int(length[1]) * UNITS_S[length[2]] * NS_PER_S if length is not None
                 else utc_parse(text if "T" in text else f"{text}T00:00:00Z"))
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no time: 90s, 10m, 2h, 1d, or 2026-08-02T10:00:00Z") from None
    return min(max(0, at_ns), INT64_MAX)  # what the socket's JSON and the ledger can hold
