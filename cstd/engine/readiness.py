"""Readiness: what has to hold before the engine may open, in the order in which a start reaches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cstd._fast.codes import Link

if TYPE_CHECKING:
    from cstd.engine.flow import Engine


def not_ready_reason(engine: Engine, mono_ns: int) -> str:
    """What stands between here and ready, in words; "" when nothing does."""
    if not engine.public.up:
        return "public link is down"
    if engine.congestion.busy(Link.LINK_PUBLIC):
        return engine.congestion.reason(Link.LINK_PUBLIC)
    if not engine.core.venue_online:
        return engine.maintenance.reason or f"venue is {engine.public.system}"
    if not engine.feed.specs:
        return "no instrument is known yet"
    if not engine.private.up:
        return "private link is down"
    if not engine.private.ready:
        return "private snapshots are missing"
    if engine.congestion.busy(Link.LINK_PRIVATE):
        return engine.congestion.reason(Link.LINK_PRIVATE)
    if engine.reconciler.done_count == 0:
        return "not reconciled yet"
    if not engine.reconciler.trusted:
        return "balances do not agree yet"
    if engine.margin.reason:
        return engine.margin.reason
    if not engine.private.deadman.armed(mono_ns):
        return "the dead man's switch is not armed"
    return ""
