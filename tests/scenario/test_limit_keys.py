"""Limits that reach a decision through the engine: the window of a key, the allowance, the wait between collar steps."""

from __future__ import annotations

import ctypes
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from engine_world import S, World, eventually, practice_config

from cstd._fast.codes import IntentKind
from cstd._fast.gates import DECISION_DTYPE, Why


def last(world: World) -> np.void:
    """The latest decision."""
    return np.frombuffer(world.core.decision_rows(1)[0], DECISION_DTYPE)[0]


class Wish(ctypes.Structure):
    """cstd/_fast/strategy.pxd, Wish."""

    _fields_ = [("qty_raw", ctypes.c_int64), ("price_raw", ctypes.c_int64), ("lifetime_ns", ctypes.c_int64),
                ("episode", ctypes.c_int64), ("kind", ctypes.c_int32), ("urgency", ctypes.c_int32)]


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(Wish))
def always_the_same(_view: int, _state: int, wish: Any) -> int:
    """A strategy that wants the same opening, of the same episode, at every pass."""
    wish[0] = Wish(25_000, 1_000_000, 20 * S, 1, int(IntentKind.OPENING), 0)
    return 1


@pytest.mark.control("idempotency.duplicate", "policy.dedupe_window_s")
def test_the_same_wish_is_a_duplicate_until_its_window_ends() -> None:
    """A nanosecond before the window's end the same instrument, side, strategy and episode is refused; at its end it is not."""
    world = World(practice_config(policy={"dedupe_window_s": Decimal(4)})).ready()
    world.core.set_strategy(0, ctypes.cast(always_the_same, ctypes.c_void_p).value, [])
    order = world.first_order()
    for after_ns, why in ((2 * S, Why.WHY_DUPLICATE), (4 * S - 1, Why.WHY_DUPLICATE), (4 * S, Why.WHY_PASSED)):
        world.now_ns = order["sent_wall_ns"] + after_ns
        world.tick()
        row = last(world)
        assert (row["rejudge"], row["decided_wall_ns"], Why(int(row["reason"][0]))) == (0, world.now_ns, why)


@pytest.mark.control("slippage.over_limit", "policy.markout_allowance_bps")
@pytest.mark.parametrize("allowance", ["0", "2", "2.001"])
def test_the_allowance_is_added_to_what_leaving_costs(allowance: str) -> None:
    """Gate 5 compares the walk of the exit side plus the configured allowance with its limit."""
    world = World(practice_config(policy={"markout_allowance_bps": Decimal(allowance)}), strategy="rehearsal").ready()
    world.first_order()
    row = last(world)
    assert row["policy_value"][4] - row["exit_cost_mbps"] == int(Decimal(allowance) * 1000)


@pytest.mark.control("exits.step_wait_s")
def test_an_exit_that_cannot_leave_widens_its_collar_as_time_passes() -> None:
    """In shadow no exit is sent and none ends: each `step_wait_s` makes room for the next step below the bid, not sooner."""
    world = World(practice_config(exits={"step_wait_s": Decimal(3)}), strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    world.command("kill", reason="drill")
    confirm = world.command("kill_clear")["confirm"]
    world.now_ns += S
    world.command("kill_clear", confirm=confirm)
    first_ns: dict[int, int] = {}  # when each price was asked for first
    for _ in range(200):
        world.step()
        world.tick()
        row = last(world)
        if row["kind"] == IntentKind.EXIT and row["shadow"]:
            first_ns.setdefault(int(row["price_raw"]), world.mono_ns)
    assert list(first_ns) == [1_000_000 * (10_000 - bps) // 10_000 for bps in (25, 50, 100, 200)]
    times = list(first_ns.values())
    assert all(3 * S <= later - sooner < 3 * S + S // 2 for sooner, later in pairwise(times))


@pytest.mark.control("exits.collar_urgent_bps")
def test_an_urgent_exit_begins_at_the_second_step() -> None:
    """A flatten's first exit is priced by the second step of the collar; one of the strategy's by the first."""
    urgent, calm = (World(strategy="rehearsal").ready() for _ in range(2))
    for world in (urgent, calm):
        order = world.first_order()
        world.reply(order)
        world.fill(order, order["qty_raw"], "T1")
    urgent.command("flatten")
    for world, bps in ((urgent, urgent.cfg.exits.collar_urgent_bps), (calm, calm.cfg.exits.collar_steps_bps[0])):
        eventually(world, lambda world=world: bool(world.live(IntentKind.EXIT)))
        (exit_order,) = world.live(IntentKind.EXIT)
        assert exit_order["price_raw"] == 1_000_000 * (10_000 - bps) // 10_000
