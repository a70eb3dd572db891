"""Drawdown's way back (an operator sets the peak anew) and the trades that a kill for loss must agree with."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cstd._fast.gates import DECISION_DTYPE, Gate
from cstd.decision.setup import strategy_setup
from cstd.storage.journal import open_journal
from tests.scenario.engine_world import BTC, S, World, practice_config, replayed, time_text
from tests.scenario.test_risk_desk import crash, hold, moves, openings


def holding(loss_usd: int, qty_raw: int = 0, **sections: dict[str, Any]) -> World:
    """A world that has lost an amount of its 10,000, and holds so much of BTC besides."""
    world = World(practice_config((BTC,), **sections), strategy="none").ready()
    hold(world, qty_raw)
    world.engine.ledger.cash_flow -= loss_usd
    world.step()
    return world


def trade(world: World, price: str, trade_id: int, wall_ns: int | None = None) -> None:
    """A trade prints."""
    row = {"symbol": BTC, "side": "sell", "qty": 0.01, "price": Decimal(price), "ord_type": "market", "trade_id": trade_id,
           "timestamp": time_text(world.now_ns if wall_ns is None else wall_ns)}
    text = json.dumps({"channel": "trade", "type": "update", "data": [row]}, default=float)
    world.public(text.encode())


def test_the_peak_is_set_anew_in_two_steps_and_nothing_else() -> None:
    """Pause, ask, give the word back: drawdown is measured from here, and the loss of the day and its level stay."""
    world = holding(0)
    world.engine.ledger.cash_flow -= Decimal(600)
    world.step()
    risk, nav = world.engine.risk, world.engine.nav
    assert nav.drawdown_bps == 600 and risk.levels.name == "critical"
    world.command("pause")
    asked = world.command("limits_rebase_peak")
    assert (asked["peak"], asked["value"], asked["drawdown_bps"], asked["rebased"]) == (
        "10000.00000000", "9400.00000000", 600, False)
    assert nav.peak == 10_000 * 10**8
    world.now_ns += S
    done = world.command("limits_rebase_peak", confirm=asked["confirm"], reason="looked into")
    assert done["rebased"] is True and nav.peak == nav.nav == 9_400 * 10**8 and nav.drawdown_bps == world.core.drawdown_bps == 0
    assert nav.day_loss_bps == 600 and risk.levels.name == "critical"
    logged = [fields for _, what, fields in world.engine.notes if what == "peak rebased"]
    assert [(row["before"], row["peak"], row["reason"]) for row in logged] == [("10000.00000000", "9400.00000000", "looked into")]


@pytest.mark.parametrize(("case", "says"), [
    ("running", "neither paused nor killed"), ("wrong word", "the word is another one"),
    ("too late", "not asked for within the last minute"), ("never asked", "not asked for within the last minute"),
    ("twice", "not asked for within the last minute"), ("resumed between", "neither paused nor killed"),
    ("nothing left", "not above 0")])
def test_what_leaves_the_peak_where_it_is(case: str, says: str) -> None:
    """Each refusal says why and what to do, and the peak stays."""
    world = holding(600)
    if case != "running":
        world.command("pause")
    if case == "nothing left":
        world.engine.ledger.cash_flow = Decimal(-10_000)
    asked = {} if case == "never asked" else world.command("limits_rebase_peak")
    word = "rebase-1" if case == "never asked" else asked.get("confirm")
    if case == "twice":
        assert world.command("limits_rebase_peak", confirm=word)["rebased"]
    if case == "resumed between":
        world.command("resume")
    if case == "too late":
        world.now_ns += 61 * S
    peak = world.engine.nav.peak
    answer = world.command("limits_rebase_peak", confirm=f"{word}x" if case == "wrong word" else word)
    assert says in answer["message"] and answer["suggestion"], answer
    assert world.engine.nav.peak == peak


def test_a_killed_daemon_sets_its_peak_anew_and_is_not_killed_again_by_the_old_one() -> None:
    """After a kill for drawdown: both steps, clear, and it stays cleared although the loss is still there."""
    world = holding(0, risk={"day_loss_critical_bps": 9_000, "day_loss_warning_bps": 8_900, "day_loss_emergency_bps": 9_100,
                             "day_loss_shutdown_bps": 9_200, "day_loss_max": 9_900})
    world.engine.ledger.cash_flow -= Decimal(1_600)
    world.step()
    moves(world, 3)
    risk = world.engine.risk
    assert risk.killed and "drawdown" in (risk.kill_reason or "")
    asked = world.command("limits_rebase_peak")
    assert world.command("limits_rebase_peak", confirm=asked["confirm"])["rebased"]
    world.command("kill_clear", confirm=world.command("kill_clear")["confirm"])
    assert world.command("resume")["level"] == "normal"
    moves(world, 10)
    assert not risk.killed and risk.levels.name == "normal"


def test_what_is_valued_at_an_unverified_bid_is_named() -> None:
    """The operator sees which part of the value no book shows now."""
    world = holding(600, qty_raw=1_000_000)
    world.command("pause")
    assert world.command("limits_rebase_peak")["unverified"] == []
    world.snapshots = False
    world.public(world.books[BTC].frame("update", {}, {}, world.now_ns, checksum=1))
    assert world.command("limits_rebase_peak")["unverified"] == [BTC]


def test_a_replay_sets_the_peak_at_the_same_event(tmp_path: Path) -> None:
    """The command is an event: recovery and replay have the new peak."""
    sizes: dict[str, Any] = {"ring_bytes": 1 << 24, "segment_bytes": 1 << 24, "sync_interval_ms": 20}
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", **sizes) as journal:
        world = World(practice_config((BTC,)), strategy=None, journal=journal).ready()
        order = world.first_order()
        world.reply(order)
        world.fill(order, order["qty_raw"], "T1", fee="400")
        world.command("pause")
        world.step()
        asked = world.command("limits_rebase_peak")
        assert asked["drawdown_bps"] > 0 and world.command("limits_rebase_peak", confirm=asked["confirm"])["rebased"]
        world.step()
        journal.sync()
    replay = replayed(tmp_path / "journal")
    assert replay.differences == [] and replay.engine.nav.peak == world.engine.nav.peak < world.engine.nav.capital


@pytest.mark.parametrize(("printed", "age_s", "kills"), [
    ("99900.0", 0, False),   # trades still print where the value was: the book alone is no loss
    ("99900.0", 61, True),   # such a trade, but from before
    ("90000.0", 0, True),    # the trades fell with the book
    (None, 0, True),         # a market without trades
])
def test_a_kill_for_loss_needs_trades_that_agree(printed: str | None, age_s: int, kills: bool) -> None:
    """Two marks at Shutdown on verified books kill unless a recent trade says that the value is another."""
    world = holding(9_000, qty_raw=9_000_000)
    assert world.engine.risk.levels.name == "normal", world.engine.nav.nav
    crash(world, BTC, 1_000)
    if printed is not None:
        trade(world, printed, 7, world.now_ns - age_s * S)
    world.step()
    assert world.engine.risk.levels.name == "shutdown"
    for _ in range(12):
        world.step()
    assert world.engine.risk.killed is kills
    if not kills:
        trade(world, "90000.0", 8)
        for _ in range(12):
            world.step()
        assert world.engine.risk.killed


def test_gate_14_is_lifted_by_a_new_peak() -> None:
    """Openings that drawdown alone refuses are sent once the peak is the present value and the operator has resumed."""
    world = World(practice_config((BTC,), risk={
        "drawdown_warning_bps": 100, "drawdown_critical_bps": 200, "drawdown_emergency_bps": 5_000,
        "drawdown_shutdown_bps": 6_000}), strategy="none").ready()
    world.engine.ledger.cash_flow -= Decimal(250)
    world.step()
    world.core.set_strategy(*strategy_setup(world.cfg, "rehearsal"))
    moves(world, 20)
    assert openings(world) == 0 and refused_by(world, Gate.GATE_DRAWDOWN) > 0
    world.command("pause")
    world.command("limits_rebase_peak", confirm=world.command("limits_rebase_peak")["confirm"])
    assert world.command("resume")["level"] == "normal"
    before = refused_by(world, Gate.GATE_DRAWDOWN)
    moves(world, 20)
    assert openings(world) > 0 and refused_by(world, Gate.GATE_DRAWDOWN) == before


def refused_by(world: World, gate: Gate) -> int:
    """Decisions that this gate failed first."""
    rows = np.frombuffer(b"".join(world.core.decision_rows(1_000)), DECISION_DTYPE)
    return sum(int(row["first_failing"]) == int(gate) for row in rows)
