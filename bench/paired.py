"""Two sides that take turns on a restless host: what the one costs more than the other."""

from __future__ import annotations

from typing import Any


def compare(with_ns: list[float], without_ns: list[float]) -> dict[str, Any]:
    """Compare turns of two sides, one of each a round.

    The least of each counts, because all that a shared host adds is added; the differences turn by turn are beside it, and say
    whether the host let the two be told apart.
    """
    cost = min(with_ns) - min(without_ns)
    pairs = sorted(one - other for one, other in zip(with_ns, without_ns, strict=True))
    quarter = len(pairs) // 4
    return {"with_ns": min(with_ns), "without_ns": min(without_ns), "cost_ns": cost, "cost_frac": cost / min(without_ns),
            "paired_ns": pairs[len(pairs) // 2], "paired_half_ns": [pairs[quarter], pairs[-1 - quarter]],
            "turns": {"with": with_ns, "without": without_ns}}


def told(what: str, row: dict[str, Any]) -> str:
    """Two lines of text of one comparison; what: the thing that the one side has."""
    low, high = row["paired_half_ns"]
    restless = low <= 0 <= high or row["cost_ns"] <= 0
    return (f"with {row['with_ns']:7.1f} ns   without {row['without_ns']:7.1f} ns   {what} {row['cost_ns']:6.1f} ns a frame"
            f" ({row['cost_frac']:.1%})\n{'':10} turn by turn: median {row['paired_ns']:.1f} ns, the middle half {low:.1f} to"
            f" {high:.1f} ns" + ("   (this host was too restless to tell them apart)" if restless else ""))
