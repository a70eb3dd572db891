"""Pages of the account's history through the engine: behind everything that trading asks, and without a trace in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.scenario.engine_world import World, practice_config

PAGE: dict[str, Any] = {"ledger": {"L1": {"refid": "Q1", "amount": "1.5"}}, "count": 1}


@pytest.fixture
def world() -> World:
    """A ready engine whose venue answers a page of the ledger."""
    world = World().ready()
    world.rest["Ledgers"] = PAGE
    world.asked.clear()
    return world


def ask(world: World, **params: str) -> dict[str, Any]:
    """One wish for a page of the ledger."""
    return world.command("account_read", method="Ledgers", params=params)


def test_a_page_comes_back(world: World) -> None:
    """The venue is asked with the parameters given, and the answer waits under its number."""
    world.run(20)
    world.asked.clear()
    number = ask(world, ofs="50", start="1")["waits_for"]
    world.step()
    assert [call for call in world.asked if call[0] == "Ledgers"] == [("Ledgers", {"ofs": "50", "start": "1"})]
    assert world.engine.account_reads.answer[0] == number
    assert json.loads(world.engine.account_reads.answer[1]["result"]) == PAGE
    assert world.engine.state == "ready"


@pytest.mark.parametrize(("method", "params"), [
    ("ClosedOrders", {"closetime": "open", "start": "1", "end": "2", "ofs": "0"}), ("OpenOrders", {}),
    ("TradesHistory", {"consolidate_taker": "false"}),
])
def test_every_read_of_a_statement_is_offered(world: World, method: str, params: dict[str, str]) -> None:
    """Each list that a statement compares comes back as the venue gave it."""
    world.run(20)
    world.rest[method] = PAGE
    world.asked.clear()
    assert "waits_for" in world.command("account_read", method=method, params=params)
    world.step()
    assert (method, params) in world.asked
    assert json.loads(world.engine.account_reads.answer[1]["result"]) == PAGE


@pytest.mark.parametrize("args", [
    {"method": "AddOrder", "params": {}}, {"method": "CancelAll", "params": {}}, {"method": "GetWebSocketsToken", "params": {}},
    {"method": "Ledgers", "params": {"nonce": "1"}}, {"method": "Ledgers", "params": []}, {},
])
def test_nothing_else_is_read(world: World, args: dict[str, Any]) -> None:
    """Orders, tokens and unknown parameters are refused; nothing is sent."""
    assert world.command("account_read", **args)["error"] == "usage"
    world.run(5)
    assert all(method not in ("AddOrder", "CancelAll", "GetWebSocketsToken", "Ledgers") for method, _ in world.asked)


def test_one_page_at_a_time(world: World) -> None:
    """A second wish while the first is on its way is refused; after it, it is taken."""
    world.run(20)
    world.answering = False
    assert ask(world)["waits_for"] == 1
    assert ask(world)["error"] == "operator"
    world.answering = True
    world.run(13)  # the reply is lost: after ten seconds the lane reads again
    assert world.engine.account_reads.answer[0] == 1
    assert ask(world)["waits_for"] == 2


def test_the_upper_half_of_the_counter_is_left_alone() -> None:
    """Pages asked for as fast as they come never take the counter above half of what the venue allows."""
    world = World(practice_config(venue={"tier": "starter"})).ready()
    world.rest["Ledgers"] = PAGE
    world.run(55)
    highest, done = 0, 0
    for _ in range(120):
        if not world.engine.reconciler.running:
            ask(world)
        world.step()
        done = world.engine.account_reads.answer[0]
        if not world.engine.reconciler.running and world.asked[-1][0] == "Ledgers":
            highest = max(highest, world.engine.lane.rate.points_micro(world.mono_ns))
    assert done >= 3
    assert 0 < highest <= 7_500_000


def test_a_refusal_reaches_who_asked(world: World) -> None:
    """The venue's no comes back as an error, and the next page may be asked for."""
    world.run(20)
    world.rest["Ledgers"] = "EGeneral:Permission denied"
    ask(world)
    world.run(1)
    number, answer = world.engine.account_reads.answer
    assert (number, answer["error"]) == (1, "venue")
    assert "EGeneral:Permission denied" in answer["message"]
    world.rest["Ledgers"] = PAGE
    assert ask(world)["waits_for"] == 2
