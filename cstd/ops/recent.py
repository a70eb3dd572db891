"""What the newest rows of the board say together: slippage, fills of immediate orders, books too thin for an opening.

Computed at scrape time in the reader process, from rows that the trading process shows anyway, so that nothing is added
to its loop. The rows are bounded (60 orders and fills, 48 decisions), so these are figures of the recent past, not of a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

NS_PER_S = 1_000_000_000
DECISIONS_NS = 600 * NS_PER_S  # an instrument counts as active while its newest decision is no older
ENDED = ("filled", "canceled", "expired", "rejected")

Row = Mapping[str, Any]


def slippage_p95(fills: Iterable[Row], wall_ns: int) -> tuple[float | None, int]:
    """Return (95th percentile of slippage as a ratio, number of fills) over the fills shown that are of the last 24 hours."""
    bps = sorted(fill["slippage_bps"] for fill in fills
                 if fill.get("slippage_bps") is not None and wall_ns - fill.get("wall_ns", 0) <= 86_400 * NS_PER_S)
    if not bps:
        return None, 0
    return bps[min(len(bps) - 1, 95 * len(bps) // 100)] / 1e4, len(bps)


def immediate_fill_ratio(orders: Iterable[Row]) -> float | None:
    """Return the filled part of the immediate orders shown that have ended, by quantity of each; None without one."""
    parts = [Decimal(order["filled_qty"]) / Decimal(order["order_qty"]) for order in orders
             if order["time_in_force"].lower() == "ioc" and order["state"] in ENDED and Decimal(order["order_qty"]) > 0]
    return float(sum(parts) / len(parts)) if parts else None


def depth_judged(decisions: Iterable[Row], wall_ns: int) -> tuple[int, int]:
    """Return (instruments judged of late, those of them whose newest decision found the book too thin)."""
    newest: dict[str, bool] = {}
    for decision in decisions:  # newest first
        if wall_ns - decision["decided_wall_ns"] <= DECISIONS_NS:
            passed = all(gate["passed"] for gate in decision["gates"] if gate["name"] == "depth")
            newest.setdefault(decision["instrument"], passed)
    return len(newest), sum(not passed for passed in newest.values())
