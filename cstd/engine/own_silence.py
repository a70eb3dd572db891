"""Own silence: a process that stood still for longer than the dead man's switch has lost sight of its orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cstd.units import NS_PER_S

if TYPE_CHECKING:
    from cstd.engine.flow import Engine


class OwnSilence:
    """The time between looks. Made anew at each boot, which takes every live order as unknown in any case."""

    def __init__(self) -> None:
        self._looked_ns: int | None = None

    def on_timer(self, engine: Engine, mono_ns: int) -> None:
        """After a silence in which the venue's switch can have fired: every live order is unknown, and all is looked up.

        Its reports may wait in the socket's buffer, or have gone with a connection that the venue gave up meanwhile.
        """
        before_ns, self._looked_ns = self._looked_ns, mono_ns
        if engine.cfg is None or before_ns is None or mono_ns - before_ns <= engine.cfg.venue.deadman_timeout_s * NS_PER_S:
            return
        engine.tracker.lose_sight()
        engine.tracker.want_reconcile = True
        engine.tracker.notes.append(("warning", "own silence longer than the dead man's switch",
                                     {"silent_s": (mono_ns - before_ns) // NS_PER_S}))
