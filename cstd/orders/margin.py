"""MarginPositions: whether the account has open margin positions, asked at each start (systems 6.1).

The product is spot without margin: a margin position takes collateral that we count as ours, and the venue may sell to close
it. So the state is not *ready* before the venue has said that there is none; while there are some it is asked again, and
the daemon goes on by itself once they are closed. Exits and cancels of what is managed do not wait for any of this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cstd.units import NS_PER_S
from cstd.venue.rest.lane import Outcome, RestLane, RestResult
from cstd.venue.rest.request import open_positions

AGAIN_NS = 10 * NS_PER_S  # after a read that failed
OPEN_AGAIN_NS = 60 * NS_PER_S  # while there are some
SHOWN_MAX = 3
ID_MAX = 40
NOT_ASKED = "open margin positions have not been asked for yet"
RIGHT = "the key needs the right Query Open Orders & Trades"

Note = tuple[str, str, dict[str, Any]]


class MarginPositions:
    """At most one read on its way. One writer: the engine.

    Attributes:
        reason: why nothing may be opened, in words; "" once the venue has said that there is no margin position.
    """

    def __init__(self, lane: RestLane, note: Callable[[Note], None]) -> None:
        self._lane = lane
        self._note = note
        self.reason = NOT_ASKED
        self._next_ns = 0
        self._request_id: int | None = None

    def on_timer(self, mono_ns: int, *, ready: bool) -> None:
        """Ask where it is not known that there is none. ready: both private snapshots are in."""
        if self.reason and ready and self._request_id is None and mono_ns >= self._next_ns:
            self._next_ns = mono_ns + AGAIN_NS
            self._request_id = self._lane.submit(open_positions(), mono_ns)

    def on_result(self, done: RestResult, mono_ns: int) -> bool:
        """Take the end of a request; False when it is not ours."""
        if self._request_id is None or done.request_id != self._request_id:
            return False
        self._request_id = None
        self._next_ns = mono_ns + AGAIN_NS
        before = self.reason
        self.reason = self._judged(done)
        if done.outcome is Outcome.DONE and isinstance(done.result, dict) and done.result:
            self._next_ns = mono_ns + OPEN_AGAIN_NS
        if self.reason and self.reason != before:
            self._note(("error", "open margin positions are not known to be none", {"reason": self.reason}))
        elif not self.reason and before != NOT_ASKED:
            self._note(("info", "the account has no open margin position", {}))
        return True

    def _judged(self, done: RestResult) -> str:
        if done.outcome is not Outcome.DONE:
            text = ", ".join(done.errors)
            return f"OpenPositions: {text}" + (f": {RIGHT}" if "Permission denied" in text else "")
        if not isinstance(done.result, dict):
            return f"OpenPositions: {str(done.result)[:40]!r} is no list of margin positions"
        if not done.result:
            return ""
        shown = ", ".join(f"{str(txid)[:ID_MAX]} {_told(row)}" for txid, row in list(done.result.items())[:SHOWN_MAX])
        more = f" and {len(done.result) - SHOWN_MAX} more" if len(done.result) > SHOWN_MAX else ""
        return (f"OpenPositions: {shown}{more}: this trades spot without margin; close them, or give the daemon an account "
                "of its own")


def _told(row: Any) -> str:
    """What one position is, as far as it can be read."""
    if not isinstance(row, dict):
        return "(unreadable)"
    return " ".join(str(row.get(key, "?"))[:ID_MAX] for key in ("type", "vol", "pair"))
