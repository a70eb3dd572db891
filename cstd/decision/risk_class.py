"""The risk class of an instrument: low, medium or high, by how far it moves and what a round trip pays to the spread.

The thresholds stand here alone; docs/opportunities.md says what they are. It is a sorting of instruments, no measure of a
loss: no limit reads it.
"""

from __future__ import annotations

import math

CLASSES = ("low", "medium", "high")
# The first value that is no longer low, and the first that is high.
YEAR_VOLATILITY = (0.60, 1.20)  # realised, of five-minute bars, of a year of 365 days; a fraction
SPREAD_BPS = (10.0, 30.0)


def risk_class(year_volatility: float | None, spread_bps: float | None) -> tuple[str | None, list[str]]:
    """Return the class, the worse one of both figures, and what each of them says; None where one is not known."""
    found = [_one("volatility", year_volatility, YEAR_VOLATILITY, 100.0, "% a year"),
             _one("spread", spread_bps, SPREAD_BPS, 1.0, "bps")]
    ranks = [rank for rank, _ in found]
    worst = max((rank for rank in ranks if rank is not None), default=None)
    known = worst if None not in ranks else None
    return None if known is None else CLASSES[known], [text for _, text in found]


def _one(name: str, value: float | None, edges: tuple[float, float], scale: float, unit: str) -> tuple[int | None, str]:
    if value is None or not math.isfinite(value) or value < 0:
        return None, f"{name} not known"
    rank = sum(value >= edge for edge in edges)
    return rank, f"{name} {value * scale:.3g} {unit}: {CLASSES[rank]}"
