"""When an order of ours can be at the venue: what its kind, its deadline and the rows of look-ups tell of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from cstd._fast.codes import IntentKind, TimeInForce
from cstd.units import NS_PER_S

# The venue's clock may differ from ours by this, as far as rows tell when they were opened: how far apart the two were then
# nobody knows. Rows opened so much earlier than an order of ours may be that order; and histories, which lag by at most what
# an unknown order waits for, are read from so much earlier still.
CLOCKS_APART_S = 60


def goes_at_once(order: dict[str, Any]) -> bool:
    """Whether an order is an exit that never rests."""
    return bool(order["kind"] == IntentKind.EXIT and order["time_in_force"] == TimeInForce.IOC)


def rests(order: dict[str, Any]) -> bool:
    """Whether an order rests: an opening, or a sell at a price of the strategy's."""
    return bool(order["kind"] == IntentKind.OPENING or order["post_only"])


def opened_wall_ns(row: dict[str, Any]) -> int:
    """When the venue opened an order, 0 where the row does not tell."""
    return int(Decimal(str(row.get("opentm") or 0)) * NS_PER_S)


def opened_before(row: dict[str, Any], order: dict[str, Any] | None, ahead_ns: int) -> bool:
    """Whether a row was opened before an order of ours was sent, by more than clocks differ: then it is another's.

    ahead_ns: how far our clock is known to be ahead of the venue's; 0 or less where it is not.
    """
    apart_ns = CLOCKS_APART_S * NS_PER_S + max(0, ahead_ns)
    return order is not None and 0 < opened_wall_ns(row) < order["sent_wall_ns"] - apart_ns
