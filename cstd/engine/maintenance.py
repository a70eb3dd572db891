"""Maintenance of the venue: what it has announced, what its state word forbids, and the way back, without an operator.

Ahead of an announced window, and while the venue does not match, no opening passes the data gate, so the next pass pulls
those that rest. Exits wait where they could not match. The dead man's switch is off while nothing of ours is open or held:
left on it would fire when the engine returns, at whatever the account's owner has open. A cancel that the venue refuses for
its state is sent again once a second, not with every pass. When matching is back the account is looked up, and the rest
follows from the readiness conditions.

An announcement that tells no time counts from now on: the field is not documented, so what cannot be read closes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cstd.clock import utc_text
from cstd.venue.messages import Window

if TYPE_CHECKING:
    from cstd.engine.flow import Engine

NS_PER_S = 1_000_000_000
# Openings live for seconds and a cancel takes milliseconds; a minute also covers what clocks may differ.
AHEAD_NS = 60 * NS_PER_S
CANCEL_AGAIN_NS = NS_PER_S
# States in which an immediate order cannot match.
NOT_MATCHING = ("maintenance", "cancel_only", "post_only")


class Maintenance:
    """One writer: the engine.

    Attributes:
        reason: why openings wait although the venue is online, in words; "" when no announcement holds them.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._system = ""
        self._tried_again_ns = 0

    def on_timer(self, engine: Engine, mono_ns: int, wall_ns: int) -> bool:
        """Follow the venue's words; returns whether `reason` changed."""
        before, self.reason = self.reason, _reason(engine.public.announced, wall_ns)
        system = engine.public.system if engine.public.up else engine.private.system
        engine.risk.venue_closed = system in NOT_MATCHING
        turned = system != self._system
        if turned and self._system in NOT_MATCHING and system == "online":
            engine.tracker.want_reconcile = True
        self._system = system
        self._cancel_again(engine, mono_ns, at_once=turned)
        self._keep_deadman(engine, mono_ns, resting=bool(self.reason) or engine.risk.venue_closed)
        if self.reason != before:
            engine.tracker.notes.append(("warning" if self.reason else "info", "announced maintenance", {"reason": self.reason}))
        return self.reason != before

    def _cancel_again(self, engine: Engine, mono_ns: int, *, at_once: bool) -> None:
        refused = engine.tracker.cancels_refused
        if not refused or not (at_once or mono_ns - self._tried_again_ns >= CANCEL_AGAIN_NS):
            return
        self._tried_again_ns = mono_ns
        for cl_ord_id in refused:
            index = engine.core.find_order(cl_ord_id.encode())
            if index >= 0:
                engine.core.retry_cancel(index)
        refused.clear()

    def _keep_deadman(self, engine: Engine, mono_ns: int, *, resting: bool) -> None:
        """Switch it off with nothing of ours open or held, and on again with the first that is, or when all is over."""
        wanted_s = engine.private.deadman.timeout_s
        if wanted_s is None or engine.stopping or engine.cfg is None:
            return
        off = resting and not engine.core.live_orders() and not engine.ledger.held()
        if off and wanted_s:
            engine.private.disarm(mono_ns)
        elif not off and not wanted_s:
            engine.private.arm(engine.cfg.venue.deadman_timeout_s, mono_ns)


def _reason(windows: Iterable[Window], wall_ns: int) -> str:
    """Why openings wait for what was announced, "" when they need not."""
    for window in windows:
        if window.ends_ns is not None and wall_ns >= window.ends_ns:
            continue
        if window.begins_ns is None:
            return "maintenance is announced, without a time that can be read"
        if wall_ns >= window.begins_ns - AHEAD_NS:
            return f"maintenance is announced from {utc_text(window.begins_ns)}"
    return ""
