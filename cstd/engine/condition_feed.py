"""What feeds the levels of conditions at each timer: calls, acknowledgements, books and orders, all from journaled events.

Where there is no traffic the daemon's own calls are the samples: the dead man's switch is refreshed four times within its timeout
over the private socket, and each round of reconciliation reads by REST once a minute. Both go on whatever is traded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cstd.decision.levels import NAMES
from cstd.units import NS_PER_S

if TYPE_CHECKING:
    from cstd.engine.flow import Engine


def look(engine: Engine, mono_ns: int) -> None:
    """Take what has come since the last timer and let the level follow."""
    conditions, levels = engine.risk.conditions, engine.risk.levels
    for log in (engine.lane.calls, engine.private.deadman.calls, engine.tracker.calls):
        for served, took_ns in log.take():
            conditions.call(mono_ns, served=served, took_ns=took_ns)
    for taken, _ in engine.tracker.answers.take():
        conditions.order(mono_ns, error=not taken)
    _look_at_books(engine, mono_ns)
    before, asking = levels.conditions.level, conditions.asking
    levels.observe(conditions.look(mono_ns), mono_ns)
    level = levels.conditions.level
    if level != before or conditions.asking != asking:
        engine.notes.append(("warning" if level > before else "info", "conditions", {
            "level": NAMES[level], "asking": ", ".join(conditions.asking) or "none"}))


def _look_at_books(engine: Engine, mono_ns: int) -> None:
    """Once a second, from this boot's first *ready* on: what a start has not fetched yet is no poor quality."""
    conditions = engine.risk.conditions
    conditions.opened = conditions.opened or engine.state == "ready"
    if conditions.opened and mono_ns // NS_PER_S != conditions.looked_second:
        conditions.looked_second = mono_ns // NS_PER_S
        conditions.books(mono_ns, engine.core.verified_count(), len(engine.names), engine.core.counter_values()["resyncs"])
