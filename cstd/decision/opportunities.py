"""`cstd opportunities` as text: one ranking a horizon, every figure with its interval, every refusal with its gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cstd.printed import aligned

HEADS = ("", "instrument", "standing", "expected", "90 % interval", "probability", "risk", "up to", "why")
SPANS = ((3_600, "h"), (60, "min"), (1, "s"))


def horizon_word(horizon_s: int) -> str:
    """Return a horizon as it is asked for: 1h, 4h, 24h."""
    return next(f"{horizon_s // span}{unit}" for span, unit in SPANS if horizon_s % span == 0)


def text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as text for a terminal, in their order."""
    if not rows:
        return "(none)\n"
    lines: list[str] = []
    for horizon in dict.fromkeys(row["horizon"] for row in rows):
        of = [row for row in rows if row["horizon"] == horizon]
        traded = ", which the strategy trades" if of[0]["strategy_horizon"] else ""
        lines += ["", f"net return over {horizon}{traded}"]
        lines += aligned([list(HEADS), *(_cells(row, place) for place, row in enumerate(of, 1))])
    if any(row["expected"] is not None for row in rows):
        lines += ["", "expected is the middle of the interval, after fees. Nothing is promised; one in ten lies outside of it."]
    return "\n".join(lines[1:]) + "\n"


def _cells(row: Mapping[str, Any], place: int) -> list[str]:
    scored = row["expected"] is not None
    interval = f"{_percent(row['lower'])} to {_percent(row['upper'])}" if scored else "-"
    standing = str(row["standing"]).replace("_", " ")
    if row["standing"] == "tradable":
        up_to = f"{_short(row['up_to'])} {row['currency']}"
    else:
        up_to = f"refused by {row['refused_by']}" if row["standing"] == "refused" else "-"
    why = "; ".join(row["reasons"][-1:] if row["standing"] != "tradable" else row["reasons"][:1])
    return [str(place) if scored else "-", row["instrument"], standing, _percent(row["expected"]), interval,
            row["probability"] or "-", row["risk"] or "not known", up_to, why]


def _percent(value: str | None) -> str:
    return "-" if value is None else f"{float(value) * 100:+.2f} %"


def _short(value: str) -> str:
    whole, _, fraction = value.partition(".")
    return f"{whole}.{fraction[:2]}" if fraction[:2].strip("0") else whole
