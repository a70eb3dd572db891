"""What the histograms say of an order that a tick decides."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cstd._fast.codes import IntentKind
from cstd._fast.hist import STAGES, bucket_edges_ns
from tests.scenario.engine_world import World

WORK_S = 0.3  # far beyond what a slow host makes of the way itself


def test_the_work_of_a_tick_is_no_way_of_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame led to it: its way begins with its pass, not with the tick whose other work came first."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    on_timer = world.engine.on_timer

    def slow(mono_ns: int, wall_ns: int) -> None:
        time.sleep(WORK_S)
        on_timer(mono_ns, wall_ns)

    monkeypatch.setattr(world.engine, "on_timer", slow)
    world.core.hist.reset()
    for _ in range(100):
        world.step()
        if world.live(IntentKind.EXIT):
            break
    assert world.live(IntentKind.EXIT)
    counts = world.core.hist.stage(STAGES.index("order"))
    (bucket,) = np.flatnonzero(counts)
    assert bucket_edges_ns()[bucket] < WORK_S * 1e9
