"""When to strike: at an order just sent, one that rests, a fill of the last second, an exit under way."""

from __future__ import annotations

import time

from cstd.chaos.judge import Row
from cstd.chaos.session import NotReachedError, Session
from cstd.errors import OperatorError

MOMENTS = ("sent", "open", "filled", "exiting")
FRESH_NS = 1_000_000_000
LOOK_S = 0.02
PATIENCE_S = 3.0
MOMENT_S_MAX = 60.0


def moments(orders: list[Row], fills: list[Row]) -> set[str]:
    """Return which of MOMENTS this is, by the live orders and the newest fill."""
    found = set()
    for order in orders:
        found.add("sent" if order["state"] in ("sent", "pending_new") else "open")
        if order["kind"] == "exit":
            found.add("exiting")
    if fills and time.time_ns() - fills[0]["wall_ns"] < FRESH_NS:
        found.add("filled")
    return found


def wait_moment(session: Session, wanted: str, patience_s: float = PATIENCE_S) -> str:
    """Wait for the wanted moment, or after some patience for any of them; returns which it was.

    Raises:
        NotReachedError: no order was open and no fill came in a minute.
    """
    began_s = time.monotonic()
    while time.monotonic() - began_s < MOMENT_S_MAX:
        try:
            found = moments(session.request("orders", {"all": False, "limit": 20}),
                            session.request("fills", {"all": False, "limit": 1}))
        except OperatorError:
            session.running_daemon()
            found = set()
        if wanted in found or (found and time.monotonic() - began_s > patience_s):
            return "+".join(sorted(found))
        time.sleep(LOOK_S)
    raise NotReachedError(f"no order was open and no fill came for {MOMENT_S_MAX:g} s\n{session.log_tail()}")
