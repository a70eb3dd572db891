"""A wall clock that is not the venue's: no opening leaves with a deadline that the venue counts otherwise."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from engine_world import S, World

from cstd._fast.codes import OrderAction
from cstd.engine import venue_clock

MS = 1_000_000


def openings(world: World) -> int:
    """Openings sent so far."""
    return sum(b'"side":"buy"' in frame for frame in world.order_frames(OrderAction.ACTION_ADD))


def trade(world: World, seconds: float) -> None:
    """Time passes with a tick of each book a step, until something was opened."""
    for _ in range(int(seconds * 4)):
        if not openings(world):
            world.step()
            world.tick()


@pytest.mark.parametrize("step_s", [-120, -1, 1, 120])
def test_a_step_of_the_wall_clock_blocks_openings(step_s: int) -> None:
    """From the event of the step on nothing opens, and gate 12 names the clock; when it is back, openings go on."""
    world = World(strategy="rehearsal").ready()
    world.step_wall(step_s * S)
    trade(world, 12)
    assert openings(world) == 0
    world.step_wall(-step_s * S)
    trade(world, 30)
    assert openings(world) > 0
    world.sound()


@pytest.mark.parametrize(("step_ms", "opens"), [(-251, False), (-250, True), (250, True), (251, False)])
def test_the_limit_is_risk_clock_offset_ms_max(step_ms: int, opens: bool) -> None:
    """Both sides of the limit, both ways."""
    world = World(strategy="rehearsal").ready()
    world.step_wall(step_ms * MS)
    trade(world, 12)
    assert (openings(world) > 0) is opens


@pytest.mark.parametrize(("least_ms", "most_ms", "offset_ms"), [
    (-5, 5, 0), (-9_000, 3, 0), (-3, 9_000, 0),  # slow there, slow back: nothing is proven
    (300, 310, 300), (-310, -300, -300), (0, 0, 0), (1, 9_000, 1), (-9_000, -1, -1),
])
def test_the_least_offset_that_a_reply_proves(least_ms: int, most_ms: int, offset_ms: int) -> None:
    """Between request and reply the offset can be anything the delays allow; the least of it is taken."""
    core = World(strategy="rehearsal").core
    mono_ns, wall_ns, base_ns = 5 * S, 1_000 * S, 995 * S
    venue_clock.learn(core, (least_ms * MS - base_ns, most_ms * MS - base_ns), mono_ns, wall_ns)
    assert (core.clock_offset_ns, core.clock_base_ns) == (offset_ms * MS, base_ns)


def test_a_reply_without_times_proves_nothing() -> None:
    """What was known stays."""
    core = World(strategy="rehearsal").core
    venue_clock.begin(core, 1, 7)
    core.clock_offset_ns = 5
    venue_clock.learn(core, None, 10, 20)
    assert (core.clock_offset_ns, core.clock_base_ns) == (5, 6)


@pytest.mark.parametrize(("ahead_s", "opens"), [(2, False), (-2, False), (0, True)])
def test_a_clock_that_was_wrong_from_the_start(ahead_s: int, opens: bool) -> None:
    """The reply to the dead man's request tells the venue's time: a host that was never right opens nothing."""
    world = World(strategy="rehearsal")
    world.venue_ahead_ns = -ahead_s * S
    world.ready()
    trade(world, 12)
    assert (openings(world) > 0) is opens
    assert round(world.core.clock_offset_ns / S) == ahead_s


@pytest.mark.parametrize("step_s", [-120, 0, 120])
def test_an_exit_leaves_with_a_deadline_of_the_venues_clock(step_s: int) -> None:
    """Whatever the host's clock says: the venue would refuse a deadline that has passed, and the exit would be trapped."""
    world = World(strategy=None).ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    world.step_wall(step_s * S)
    sold = world.exit_order()
    frame = json.loads(world.order_frames(OrderAction.ACTION_ADD)[-1])["params"]
    assert frame["cl_ord_id"] == sold["cl_ord_id"]
    told = datetime.fromisoformat(frame["deadline"]).timestamp()
    assert told * S == pytest.approx(sold["deadline_wall_ns"] - step_s * S, abs=MS)
    assert sold["deadline_wall_ns"] > sold["sent_wall_ns"], "our own clock counts by itself"
