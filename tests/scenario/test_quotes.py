"""Sells that rest at a price of the strategy's: exits by the gates, gone as soon as anything else wants what they sell."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from engine_world import S, World, eventually, replayed
from own_strategies import PUPPET, built, own_config

from cstd._fast.codes import EventKind, ExitReason, IntentKind, Link, OrderAction, OrderEvent, OrderState, TimeInForce
from cstd._fast.gates import DECISION_DTYPE
from cstd.decision.why import explain
from cstd.signals.agents.kinds import STRATEGY
from cstd.signals.agents.loader import LoadedStrategy, load_strategy
from cstd.signals.code import keep
from cstd.signals.strategies.api import CANCEL_ASK, CANCEL_BID, CANCEL_BOTH, EXIT, OPEN, QUOTE
from cstd.storage.journal import open_journal
from tests.strategies import guide

GUIDE = Path(__file__).parents[2] / "docs" / "strategies.md"
QTY = 25_000  # 0.25 % of 10,000 USD at 100,000.0
BID, ASK = 1_000_000, 1_000_001
IDS = count(1)
SERIALS = count(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The strategy that does as it is told, built once."""
    return built(tmp_path_factory.mktemp("puppet"), "puppet", PUPPET)


@pytest.fixture(scope="module")
def own(folder: Path) -> LoadedStrategy:
    """The same, loaded."""
    return load_strategy(folder)


@pytest.fixture
def world(folder: Path, own: LoadedStrategy) -> World:
    """A ready engine with it that holds QTY, bought at the bid."""
    world = World(own_config(folder), strategy="own", own=own).ready()
    hold(world)
    return world


def wish(world: World, does: int, qty_raw: int = QTY, price_raw: int = 0, lifetime_s: int = 20, urgency: int = 0) -> None:
    """Let the strategy wish once, at a pass that comes now."""
    assert world.own is not None
    world.core.set_strategy(4, world.own.address, [does, qty_raw, price_raw, lifetime_s, urgency, next(SERIALS)], own=True)
    world.tick()


def accepted(world: World, order: dict[str, Any]) -> str:
    """The venue takes an order and shows it open; returns its id."""
    order_id = f"OQUO{next(IDS):02}-BBBBB-CCCCCC"
    world.reply(order, order_id)
    world.report("new", order, order_id)
    return order_id


def hold(world: World, qty_raw: int = QTY) -> None:
    """Buy, and have it filled."""
    wish(world, OPEN, qty_raw, BID)
    (order,) = world.live(IntentKind.OPENING)
    order_id = accepted(world, order)
    world.fill(order, qty_raw, f"TB{next(IDS)}", order_id)
    world.report("filled", order, order_id, cum_qty="1")
    assert not world.live() and world.engine.ledger.positions[0].qty_raw >= qty_raw


def quoted(world: World, qty_raw: int = QTY, price_raw: int = ASK + 10, lifetime_s: int = 20) -> tuple[dict[str, Any], str]:
    """A sell that rests at the venue, and its id there."""
    wish(world, QUOTE, qty_raw, price_raw, lifetime_s)
    order = world.live(IntentKind.EXIT)[-1]
    return order, accepted(world, order)


def cancels(world: World) -> list[str]:
    """Client order ids of the cancels by the socket so far."""
    return [json.loads(frame)["params"]["cl_ord_id"][0] for frame in world.order_frames(OrderAction.ACTION_CANCEL)]


def leaving(world: World) -> list[dict[str, Any]]:
    """Exits that do not rest."""
    return [order for order in world.live(IntentKind.EXIT) if order["time_in_force"] == TimeInForce.IOC]


def test_a_sell_rests_as_it_was_wished(world: World) -> None:
    """Post-only, GTD, at its price and for its life; the decision is an exit's by the fifteen gates, for the reason `quote`."""
    order, _ = quoted(world)
    frame = json.loads(world.order_frames(OrderAction.ACTION_ADD)[-1], parse_float=Decimal)["params"]
    assert (frame["side"], frame["post_only"], frame["time_in_force"]) == ("sell", True, "gtd")
    assert (frame["limit_price"], frame["order_qty"]) == (Decimal(ASK + 10).scaleb(-1), Decimal(QTY).scaleb(-8))
    assert "stp_type" in frame and "deadline" in frame and "reduce_only" not in frame
    assert (order["kind"], order["exit_reason"], order["post_only"]) == (IntentKind.EXIT, ExitReason.EXIT_QUOTE, 1)
    assert 19 * S < order["expire_wall_ns"] - order["sent_wall_ns"] <= 20 * S
    assert world.engine.core.exit_counts()[ExitReason.EXIT_QUOTE] == 1
    world.run(2)
    world.tick()
    (live,) = world.live()
    assert live["state"] == OrderState.ORDER_OPEN and not cancels(world)
    world.sound()


def test_it_fills_and_the_position_is_gone(world: World) -> None:
    """A fill of it is a sale like any other: booked once, the position is flat."""
    order, order_id = quoted(world)
    world.fill(order, QTY, "TQ", order_id)
    world.report("filled", order, order_id, cum_qty="1")
    assert not world.live() and world.engine.ledger.positions[0].qty_raw == 0
    assert world.engine.tracker.contradiction_count == 0
    world.sound()


def test_bid_and_ask_rest_at_a_time_and_never_cross(world: World) -> None:
    """Both sides live; a bid that would meet the ask is refused by gate 7, an ask at the own bid is not wished on."""
    order, _ = quoted(world, price_raw=ASK + 14)
    wish(world, OPEN, QTY, BID)
    bid = world.live(IntentKind.OPENING)[0]
    accepted(world, bid)
    assert len(world.live()) == 2
    sent = world.counters()["orders"]
    wish(world, QUOTE, QTY, BID)
    world.books["BTC/USD"].change(asks=[(order["price_raw"], 1)])
    wish(world, OPEN, QTY, order["price_raw"])
    assert world.counters()["orders"] == sent
    world.sound()


def test_it_sells_no_more_than_is_managed_and_free(world: World) -> None:
    """A wish for a thousand times the position rests as the position; a second has nothing left to sell."""
    order, _ = quoted(world, 1_000 * QTY)
    assert order["qty_raw"] == QTY
    wish(world, QUOTE, QTY, ASK + 20)
    wish(world, EXIT, 1)
    assert len(world.live()) == 1 and not leaving(world)


@pytest.mark.parametrize("why", ["not above the bid", "killed", "hold", "halted", "stale", "private socket"])
def test_what_does_not_rest(world: World, why: str) -> None:
    """At or below the best bid; killed; halted; without evidence that the quote is current; without the private socket."""
    price = BID if why == "not above the bid" else ASK + 10
    if why in ("killed", "hold"):
        world.command("kill", reason="test", hold=why == "hold")
    if why == "halted":
        world.command("halt", reason="test")
        world.step()
    if why == "private socket":
        world.link(Link.LINK_PRIVATE, up=False)
    if why == "stale":
        world.slot.evidence_mono_ns = world.mono_ns - 60 * S
        world.core.set_strategy(4, world.own.address, [QUOTE, QTY, price, 20, 0, next(SERIALS)], own=True)  # type: ignore[union-attr]
        world.core.timer(world.mono_ns, world.now_ns)
    else:
        wish(world, QUOTE, QTY, price)
    assert not [order for order in world.live() if order["post_only"]]


def test_paused_it_may_rest(world: World) -> None:
    """Paused nothing opens, and what is held may still be offered."""
    world.command("pause")
    order, _ = quoted(world)
    world.run(1)
    world.tick()
    assert world.live()[0]["cl_ord_id"] == order["cl_ord_id"] and not cancels(world)


def test_a_second_without_a_book_cancels_it(world: World) -> None:
    """An unverified book is graced for a second, as with openings; then the cancel leaves by the timer."""
    order, _ = quoted(world)
    world.core.book_fault(0, 2)
    world.snapshots = False
    world.now_ns += 900_000_000
    world.core.timer(world.mono_ns, world.now_ns)
    assert not cancels(world)
    world.now_ns += 200_000_000
    world.core.timer(world.mono_ns, world.now_ns)
    assert cancels(world) == [order["cl_ord_id"]]
    assert world.live()[0]["cancel_reason"] == 12
    world.sound()


def test_what_cancels_it_is_on_record(world: World) -> None:
    """Its gates pass it as an exit and it may not rest: the decision says what it is, and shows no prices of a lost book."""
    order, _ = quoted(world)
    before = world.core.decision_count
    world.core.book_fault(0, 2)
    world.snapshots = False
    world.now_ns += 1_100_000_000
    world.core.timer(world.mono_ns, world.now_ns)
    assert cancels(world) == [order["cl_ord_id"]] and world.core.decision_count == before + 1
    row = np.frombuffer(world.core.decision_rows(1)[0], dtype=DECISION_DTYPE)[0]
    said = explain(row, world.engine.feed.specs["BTC/USD"])
    assert (bool(row["rejudge"]), row["cl_ord_id"].decode(), said["exit_reason"]) == (True, order["cl_ord_id"], "quote")
    assert (said["bid"], said["ask"], row["mid2_raw"]) == (None, None, 0)
    gap = next(gate for gate in said["gates"] if gate["code"] == 12)  # type: ignore[attr-defined]
    assert gap["recorded"] and not gap["passed"]
    world.core.timer(world.mono_ns, world.now_ns + 1)
    assert world.core.decision_count == before + 1


def test_its_lifetime_ends_it(world: World) -> None:
    """Past its end by a second and not told of, it is canceled."""
    order, _ = quoted(world, lifetime_s=3)
    for _ in range(20):
        world.step()
        world.tick()
    assert cancels(world) == [order["cl_ord_id"]]


@pytest.mark.parametrize("verb", ["kill", "flatten", "halt"])
def test_an_operator_pulls_it_at_once(world: World, verb: str) -> None:
    """Kill, halt and flatten cancel it within the command; flatten sells as soon as the venue has said so, and no sooner."""
    order, order_id = quoted(world)
    reply = world.command(verb, reason="test")
    if "confirm" in json.dumps(reply):
        world.command(verb, reason="test", confirm=reply.get("confirm"))
    assert cancels(world) == [order["cl_ord_id"]]
    world.tick()
    assert not leaving(world), "all of it is on the ask still"
    world.report("canceled", order, order_id, reason="User requested", cum_qty="0")
    world.tick()
    assert [exit_["qty_raw"] for exit_ in leaving(world)] == ([QTY] if verb == "flatten" else [])
    world.sound()


def test_a_stop_sells_what_is_free_at_once_and_the_rest_when_it_is(folder: Path, own: LoadedStrategy) -> None:
    """Half is on the ask when the stop is reached: the other half leaves in that pass, the half from the ask once canceled."""
    world = World(own_config(folder), strategy="own", own=own).ready()
    hold(world)
    order, order_id = quoted(world, QTY // 2, ASK + 100)
    book = world.books["BTC/USD"]
    for bid in (970_000, 969_990):
        gone = [(price, 0) for price in book.bids if price > bid]
        world.book("BTC/USD", [*gone, (bid, 5_000_000_000)], [(bid + 1, 5_000_000_000)])
    assert cancels(world) == [order["cl_ord_id"]]
    (first,) = leaving(world)
    assert (first["qty_raw"], first["exit_reason"]) == (QTY - QTY // 2, ExitReason.EXIT_STOP)
    world.report("canceled", order, order_id, reason="User requested", cum_qty="0")
    world.book("BTC/USD", [(969_990, 5_000_000_001)])
    assert sorted(exit_["qty_raw"] for exit_ in leaving(world)) == sorted([QTY // 2, QTY - QTY // 2])
    world.sound()


@pytest.mark.parametrize("urgency", [0, 1])
def test_the_strategys_own_exit_takes_the_quantity_back(world: World, urgency: int) -> None:
    """An EXIT that wants more than is free cancels what rests, sells what is free in that pass; less leaves the ask alone."""
    order, _ = quoted(world, 10_000)
    wish(world, EXIT, QTY - 10_000, urgency=urgency)
    assert not cancels(world) and [exit_["qty_raw"] for exit_ in leaving(world)] == [QTY - 10_000]
    other = World(world.cfg, strategy="own", own=world.own).ready()
    hold(other)
    order, _ = quoted(other, 10_000)
    wish(other, EXIT, QTY, urgency=urgency)
    assert cancels(other) == [order["cl_ord_id"]] and [exit_["qty_raw"] for exit_ in leaving(other)] == [QTY - 10_000]


@pytest.mark.parametrize(("does", "gone"), [(CANCEL_BID, {"bid"}), (CANCEL_ASK, {"ask"}), (CANCEL_BOTH, {"bid", "ask"})])
def test_a_strategy_cancels_what_it_rests(world: World, does: int, gone: set[str]) -> None:
    """By side, at once, past a counter that has no room, and once each; a cancel asks no gate."""
    ask, _ = quoted(world)
    wish(world, OPEN, QTY, BID - 7)
    (bid,) = world.live(IntentKind.OPENING)
    accepted(world, bid)
    world.slot.rate_raise(170_000_000, world.mono_ns)
    decisions = world.core.decision_count
    wish(world, does)
    wish(world, does)
    names = {bid["cl_ord_id"]: "bid", ask["cl_ord_id"]: "ask"}
    assert sorted(names[cl_ord_id] for cl_ord_id in cancels(world)) == sorted(gone)
    assert world.core.decision_count == decisions
    world.sound()


@pytest.mark.parametrize("does", [CANCEL_BID, CANCEL_BOTH])
def test_a_strategys_cancel_ends_what_waits_for_an_operator(folder: Path, own: LoadedStrategy, does: int) -> None:
    """And the word on it is the strategy's, not that the position is being left."""
    cfg = own_config(folder)
    world = World(msgspec.structs.replace(cfg, approve=msgspec.structs.replace(cfg.approve, above="0")),
                  strategy="own", own=own).ready()
    wish(world, OPEN, QTY, BID)
    (row,) = world.core.waiting_rows()
    wish(world, CANCEL_ASK)
    assert world.core.waiting_rows() == [row]
    wish(world, does)
    world.run(1)
    (end,) = [json.loads(payload) for kind, _, payload in world.recorder.captured if kind == EventKind.OUT_APPROVAL]
    assert (end["id"], end["ended"], end["why"]) == (row["intent_seq"], "dropped", "strategy")
    world.sound()


def test_a_quote_that_ends_says_nothing_of_the_collar(world: World) -> None:
    """Unfilled or refused by the venue it moves no exit's price, and holds back no exit; only the next quote waits."""
    order, order_id = quoted(world)
    world.report("canceled", order, order_id, reason="Post only order", cum_qty="0")
    wish(world, QUOTE, QTY, ASK + 10)
    world.refuse(world.live()[0]["req_id"], "EOrder:Insufficient funds")
    assert (world.slot.exit_attempts, world.slot.exit_refusals, world.slot.exit_not_before_ns) == (0, 0, 0)
    wish(world, QUOTE, QTY, ASK + 10)
    assert not world.live()
    wish(world, EXIT, QTY)
    (exit_,) = leaving(world)
    assert exit_["price_raw"] == BID - BID * 25 // 10_000
    world.sound()


def test_no_churn_limit_holds_it_back_and_it_counts_as_no_opening(world: World) -> None:
    """Quotes by the dozen: no parent, no turnover, no exposure; the last leaves as the first did."""
    before = (world.core.exposure(), world.core.positions_value())
    for _ in range(12):
        order, order_id = quoted(world)
        world.report("canceled", order, order_id, reason="User requested", cum_qty="0")
        world.run(8)
    assert (world.core.exposure(), world.core.positions_value()) == before
    assert not world.live() and world.core.exit_counts()[ExitReason.EXIT_QUOTE] == 12


def test_unknown_it_keeps_what_it_would_sell(world: World) -> None:
    """Silence frees nothing: an exit sells only the rest until the look-ups tell; without a socket it is canceled by REST."""
    order, _ = quoted(world, 10_000)
    world.answering = False
    world.core.move_order(order["index"], OrderEvent.ON_SILENT)
    wish(world, EXIT, QTY)
    assert [exit_["qty_raw"] for exit_ in leaving(world)] == [QTY - 10_000]
    down = World(world.cfg, strategy="own", own=world.own).ready()
    hold(down)
    order, _ = quoted(down)
    down.rest["CancelOrder"] = {"count": 1}
    down.link(Link.LINK_PRIVATE, up=False)
    eventually(down, lambda: any(method == "CancelOrder" and params["cl_ord_id"] == order["cl_ord_id"]
                                 for method, params in down.asked))
    down.sound()


# The guide's strategy of both sides.


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example of docs/strategies.md that quotes both sides, built."""
    place = built(tmp_path_factory.mktemp("both_sides"), "both_sides", guide("strategies.md", "## Quotes on both sides"))
    tried = json.loads((place / STRATEGY.manifest).read_text())["strategy"]["selftest"]
    assert f"self-test: {', '.join(f'{number} {word}' for word, number in tried.items())}\n" in GUIDE.read_text()
    return place


def until(world: World, kind: IntentKind) -> dict[str, Any]:
    """Let time pass until an order of a kind is live; returns it, open at the venue."""
    for _ in range(40):
        if world.live(kind):
            break
        world.step()
        world.tick()
    (order,) = world.live(kind)
    order["id"] = accepted(world, order)
    return order


def filled(world: World, order: dict[str, Any]) -> None:
    """The venue fills the whole of it."""
    world.fill(order, order["qty_raw"], f"T{next(IDS)}", order["id"])
    world.report("filled", order, order["id"], cum_qty="1")


def test_the_guides_strategy_quotes_both_sides(example: Path, tmp_path: Path) -> None:
    """It bids, asks for what it has bought while it bids again, leans its ask once it holds much, and takes both away when the
    spread is beyond its limit; both sides fill, and the journal gives the same orders and fills again."""
    path = tmp_path / "run" / "journal"
    with open_journal(path, tmp_path / "run" / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=1000) as journal:
        own = load_strategy(example)
        keep(path, [own])
        world = World(own_config(example), strategy="own", own=own, journal=journal).ready()
        world.book("BTC/USD", [], [(ASK, 0), (ASK + 1, 5_000_000_000)])
        filled(world, until(world, IntentKind.OPENING))
        ask = until(world, IntentKind.EXIT)
        assert (ask["price_raw"], ask["exit_reason"]) == (ASK + 1, ExitReason.EXIT_QUOTE), "little is held: it joins the ask"
        bid = until(world, IntentKind.OPENING)
        assert bid["price_raw"] == BID and len(world.live()) == 2
        filled(world, bid)
        filled(world, ask)
        assert world.engine.ledger.positions[0].qty_raw == bid["qty_raw"]
        asks = sorted(world.books["BTC/USD"].asks)
        bid, ask = until(world, IntentKind.OPENING), until(world, IntentKind.EXIT)
        world.book("BTC/USD", [], [*((price, 0) for price in asks), (BID + 600, 5_000_000_000)])
        assert sorted(cancels(world)[-2:]) == sorted([bid["cl_ord_id"], ask["cl_ord_id"]]), "the spread is too wide"
        journal.sync()
    assert world.slot.strategy_faults == 0
    world.sound()
    again = replayed(path)
    assert again.difference_count == 0, again.differences
    assert list(again.engine.ledger.fills) == list(world.engine.ledger.fills) and len(world.engine.ledger.fills) == 3
