"""AlertsSight: what fires, as an Alertmanager that the operator named has it; asked now and then, and never guessed.

An answer that did not come, or that is older than a minute, says nothing about what fires: it is shown as unknown. So is one in
which the alert is missing that must always fire, because then nobody evaluates the others.
"""

from __future__ import annotations

from typing import TypedDict

from cstd.errors import CstdError
from cstd.ops.alertmanager import ALWAYS_FIRES, Alert, Alertmanager, told
from cstd.units import NS_PER_S

OLD_NS = 60 * NS_PER_S


class AlertsSeen(TypedDict):
    """`/api/v1/alerts`. `alerts` is the last answer's, the oldest first, and empty before there was one."""

    state: str  # known; none: no Alertmanager is named; unwatched: the alert that must always fire does not; unknown: see reason
    reason: str | None
    alertmanager: str | None
    answered_wall_ns: int | None
    alerts: list[Alert]


class AlertsSight:
    """One Alertmanager; `look` may run in a thread of the reader process, `seen` answers from what it left.

    Args:
        url: "" where the operator named none.

    Raises:
        UsageError: it is no address.
    """

    def __init__(self, url: str) -> None:
        self._alertmanager = Alertmanager(url) if url else None
        self._alerts: list[Alert] = []
        self._always_fires = False
        self._answered_ns: int | None = None
        self._error: str | None = None
        self.number = 0

    @property
    def named(self) -> bool:
        """Whether there is somebody to ask."""
        return self._alertmanager is not None

    def look(self, wall_ns: int) -> None:
        """Ask once; waits for the answer, at most as long as a call may take."""
        if self._alertmanager is None:
            return
        try:
            silences = self._alertmanager.silences()
            firing = self._alertmanager.firing()
        except CstdError as error:
            self._error = error.message
        else:
            self._alerts = told(firing, silences)
            self._always_fires = any(alert.name == ALWAYS_FIRES for alert in firing)
            self._answered_ns, self._error = wall_ns, None
        self.number += 1

    def seen(self, wall_ns: int) -> AlertsSeen:
        """Return what is known at a wall time."""
        if self._alertmanager is None:
            return {"state": "none", "reason": "status.alertmanager names no Alertmanager", "alertmanager": None,
                    "answered_wall_ns": None, "alerts": []}
        state, reason = "known", self._error
        if self._answered_ns is None or not 0 <= wall_ns - self._answered_ns <= OLD_NS:
            state, reason = "unknown", self._error or "it has not answered yet"
        elif not self._always_fires:
            state, reason = "unwatched", f"{ALWAYS_FIRES} does not fire: nobody evaluates the rules, or tells this Alertmanager"
        return {"state": state, "reason": reason, "alertmanager": self._alertmanager.url, "answered_wall_ns": self._answered_ns,
                "alerts": self._alerts}
