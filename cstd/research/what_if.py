"""`cstd replay --set LIMIT=VALUE`: which orders another limit would not have sent, and what that did to the equity.

The market is run twice through the engine with the simulated venue behind it, once with the limits as they are and once as they
are asked for, all else alike. An order of the first run that the second did not send at that time is one that would not have been
sent. What came after it is simulated too: with less held and less lost other orders may go that did not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from cstd._fast.codes import EventKind, IntentKind, Side, Verdict
from cstd._fast.gates import DECISION_DTYPE
from cstd.clock import utc_text
from cstd.decision.why import gate_name
from cstd.engine import Engine
from cstd.units import format_decimal, format_raw

LIMITS = ("policy.", "risk.", "exits.", "overrides.")
ORDERS_SHOWN = 100


class Place(NamedTuple):
    """What an order of one run is known by in the other."""

    wall_ns: int
    instrument: str
    kind: str


@dataclass(slots=True)
class Decided:
    """The decisions of one run: orders that were sent, and by which gate what was refused."""

    sent: dict[Place, dict[str, str]] = field(default_factory=dict)
    refused: dict[Place, str] = field(default_factory=dict)

    def take(self, engine: Engine) -> None:
        """Take what the engine has decided since the last time."""
        outputs = engine.recorder.captured or []
        for kind, _, payload in outputs:
            if kind == EventKind.OUT_DECISION:
                self._add(np.frombuffer(payload, DECISION_DTYPE)[0], engine)
        outputs.clear()

    def _add(self, row: np.void, engine: Engine) -> None:
        if row["rejudge"]:
            return
        name = engine.names[int(row["instrument"])]
        place = Place(int(row["decided_wall_ns"]), name, IntentKind(int(row["kind"])).name.lower())
        if int(row["verdict"]) == Verdict.REFUSE:
            self.refused[place] = gate_name(int(row["first_failing"])) or ""
        elif int(row["order_slot"]) >= 0:
            spec = engine.feed.specs[name]
            self.sent[place] = {"side": Side(int(row["side"])).name.lower(),
                                "price": format_raw(int(row["price_raw"]), spec.price_precision),
                                "qty": format_raw(int(row["qty_final_raw"]), spec.qty_precision)}


def limit_changes(assignments: Iterable[str]) -> list[str]:
    """Return the assignments that change a limit; others set up both runs alike."""
    return [text for text in assignments if text.startswith(LIMITS)]


def compared(changed: list[str], before: tuple[Decided, str], now: tuple[Decided, str]) -> dict[str, Any]:
    """Return what the change came to.

    Args:
        changed: the assignments. before, now: of each run what was decided, and the equity at its end.
    """
    (was, was_equity), (is_, is_equity) = before, now
    missing = [place for place in was.sent if place not in is_.sent]
    other = [place for place, order in was.sent.items() if is_.sent.get(place, order)["qty"] != order["qty"]]
    return {
        "changed": changed, "orders_before": len(was.sent), "orders_now": len(is_.sent), "not_sent": len(missing),
        "other_quantity": len(other), "sent_instead": sum(place not in was.sent for place in is_.sent),
        "equity_before": was_equity, "equity_now": is_equity,
        "equity_change": format_decimal(Decimal(is_equity) - Decimal(was_equity)),
        "orders": [{"utc": utc_text(place.wall_ns), "instrument": place.instrument, "kind": place.kind, **was.sent[place],
                    "refused_by": is_.refused.get(place)} for place in missing[:ORDERS_SHOWN]],
    }


def text(found: dict[str, Any]) -> str:
    """Return it for a terminal."""
    head = (f"with {', '.join(found['changed'])}: {found['not_sent']} of {found['orders_before']} orders not sent, "
            f"{found['other_quantity']} of another quantity, {found['sent_instead']} others instead; equity "
            f"{found['equity_before']} -> {found['equity_now']} ({found['equity_change']})")
    lines = [head]
    lines += [f"  {row['utc']}  {row['side']} {row['instrument']} {row['qty']} @ {row['price']} ({row['kind']}): "
              + (f"refused by {row['refused_by'].replace('_', ' ')}" if row["refused_by"] else "not wished for then")
              for row in found["orders"]]
    if found["not_sent"] > len(found["orders"]):
        lines.append(f"  and {found['not_sent'] - len(found['orders'])} more")
    return "\n".join(lines) + "\n"
