"""An opening that joined the best bid follows it: judged at each new price, once at a time, so often and no more."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from engine_world import World, practice_config, replayed

from cstd._fast.codes import EventKind, OrderAction, OrderEvent, OrderState
from cstd.decision.limits import limits_row
from cstd.storage.journal import open_journal

OID = "OAAAAA-BBBBB-CCCCCC"
QTY = 5_000_000_000


def world_of(ticks: int = 5, amends: int = 2, **more: Any) -> World:
    """A ready engine with the rehearsal strategy, whose openings follow."""
    cfg = practice_config(tactics={"follow_ticks": ticks, "follow_amends_max": amends})
    return World(cfg, strategy="rehearsal", **more).ready()


@pytest.fixture
def world() -> World:
    """The same, by five ticks and twice."""
    return world_of()


def opened(world: World) -> dict[str, Any]:
    """The first opening, open at the venue, a while later."""
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    world.step()
    world.step()
    return order


@pytest.fixture
def order(world: World) -> dict[str, Any]:
    """The first opening of it."""
    return opened(world)


def move(world: World, bid_raw: int) -> None:
    """The best bid of others comes to a price; asks at and below it go."""
    book = world.books["BTC/USD"]
    gone = [(price, 0) for price in book.bids if price > bid_raw]
    world.book("BTC/USD", [*gone, (bid_raw, QTY)], [(price, 0) for price in book.asks if price <= bid_raw])


def amends(world: World) -> list[dict[str, Any]]:
    """Amend requests so far."""
    return [json.loads(frame, parse_float=Decimal) for frame in world.order_frames(OrderAction.ACTION_AMEND)]


def price(raw: int) -> Decimal:
    """A raw price as the venue prints it."""
    return Decimal(raw).scaleb(-1)


def confirm(world: World, order: dict[str, Any], request: dict[str, Any], **other: str) -> None:
    """The venue makes an amend and tells of it."""
    params = request["params"]
    world.report("amended", order, **{"order_qty": str(params["order_qty"]), "limit_price": str(params["limit_price"]), **other})


def test_it_follows_the_best_bid_by_an_amend(world: World, order: dict[str, Any]) -> None:
    """Five ticks up: one amend to that price, post-only, of the same quantity and with a deadline; its price is the report's."""
    assert order["price_raw"] == 1_000_000
    move(world, 1_000_004)
    assert not amends(world), "four ticks are not five"
    move(world, 1_000_005)
    (request,) = amends(world)
    params = request["params"]
    assert (params["cl_ord_id"], params["limit_price"], params["post_only"]) == (order["cl_ord_id"], price(1_000_005), True)
    assert params["order_qty"] == Decimal(order["qty_raw"]).scaleb(-8) and params["deadline"]
    (live,) = world.live()
    assert (live["price_raw"], live["amend_price_raw"], live["follow_amends"]) == (1_000_000, 1_000_005, 1)
    confirm(world, order, request)
    (live,) = world.live()
    assert (live["price_raw"], live["amend_price_raw"], live["amend_qty_raw"]) == (1_000_005, 0, 0)
    assert live["episode"] == order["episode"] and live["expire_wall_ns"] == order["expire_wall_ns"]
    assert world.counters()["follows"] == 1
    world.sound()


def test_it_follows_down_when_the_others_have_left(world: World, order: dict[str, Any]) -> None:
    """Where others bid less by now, our own quantity is no best bid: it joins theirs."""
    move(world, 999_990)
    (request,) = amends(world)
    assert request["params"]["limit_price"] == price(999_990)
    confirm(world, order, request)
    assert world.live()[0]["price_raw"] == 999_990
    world.sound()


def test_it_follows_only_so_often_and_its_life_does_not_grow(world: World, order: dict[str, Any]) -> None:
    """Two amends at most; then it stays at its price until its lifetime ends, which no amend moves."""
    for number, bid_raw in enumerate((1_000_010, 1_000_020, 1_000_030, 1_000_040), 1):
        move(world, bid_raw)
        assert len(amends(world)) == min(number, 2)
        if number <= 2:
            confirm(world, order, amends(world)[-1])
        world.run(1.5)
    (live,) = world.live()
    assert (live["price_raw"], live["expire_wall_ns"]) == (1_000_020, order["expire_wall_ns"])
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 1
    world.run(20)
    assert world.order_frames(OrderAction.ACTION_CANCEL), "its lifetime is over"
    world.sound()


def test_one_amend_at_a_time_and_a_second_between_two(world: World, order: dict[str, Any]) -> None:
    """While one is on its way, and for a second after the venue has told of it, the next move waits."""
    move(world, 1_000_010)
    world.run(2)
    move(world, 1_000_020)
    assert len(amends(world)) == 1
    confirm(world, order, amends(world)[0])
    move(world, 1_000_021)
    assert len(amends(world)) == 1, "told of late, it shows where it was as late"
    world.run(1.0)
    world.tick()
    assert len(amends(world)) == 2
    confirm(world, order, amends(world)[1])
    assert world.live()[0]["price_raw"] == 1_000_021
    quick = world_of()
    first = opened(quick)
    move(quick, 1_000_010)
    confirm(quick, first, amends(quick)[0])
    move(quick, 1_000_030)
    assert len(amends(quick)) == 1
    quick.run(1.0)
    quick.tick()
    assert len(amends(quick)) == 2


def test_its_own_shadow_is_not_followed(world: World, order: dict[str, Any]) -> None:
    """An amend is confirmed two seconds later; the others leave, and the book still shows our own quantity where it was."""
    move(world, 1_000_010)
    world.run(2)
    confirm(world, order, amends(world)[0])
    move(world, 1_000_000)
    assert len(amends(world)) == 1, "what is bid there is ours, and shown late"
    move(world, 1_000_012)
    world.run(1.0)
    world.tick()
    assert len(amends(world)) == 1 and world.live()[0]["price_raw"] == 1_000_010
    world.sound()


@pytest.mark.parametrize("why", ["off", "no amends", "not open yet", "unknown"])
def test_what_does_not_follow(why: str) -> None:
    """Off by configuration; before the venue has it open; UNKNOWN."""
    world = world_of(0 if why == "off" else 5, 0 if why == "no amends" else 2)
    if why == "not open yet":
        world.first_order()
        world.step()
    else:
        opened(world)
    if why == "unknown":
        world.answering = False
        world.core.move_order(world.live()[0]["index"], OrderEvent.ON_SILENT)
        assert world.live()[0]["state"] == OrderState.ORDER_UNKNOWN
    move(world, 1_000_020)
    world.tick()
    assert not amends(world)
    world.sound()


def test_exposure_counts_the_larger_until_the_venue_confirms(world: World, order: dict[str, Any]) -> None:
    """Up: the new price counts at once. Down: the old one counts until the report."""
    qty = Decimal(order["qty_raw"]).scaleb(-8)
    before = world.core.exposure()
    assert before == int(price(1_000_000) * qty * 10**8)
    move(world, 1_000_100)
    assert world.core.exposure() == int(price(1_000_100) * qty * 10**8)
    confirm(world, order, amends(world)[0])
    assert world.core.exposure() == int(price(1_000_100) * qty * 10**8)
    world.run(1.5)
    move(world, 999_900)
    assert len(amends(world)) == 2 and world.core.exposure() == int(price(1_000_100) * qty * 10**8)
    confirm(world, order, amends(world)[1])
    assert world.core.exposure() == int(price(999_900) * qty * 10**8)


def test_a_price_that_its_gates_refuse_is_not_followed(world: World, order: dict[str, Any]) -> None:
    """A bid beyond what the position may cost reduces or refuses there; where even a part is too much the old price stands."""
    limits = limits_row(world.cfg, world.names[0]).copy()
    limits["reduce_min_bps"] = 10_000
    limits["position_max_bps"] = 25
    world.core.set_limits(0, limits)
    move(world, 1_000_100)
    world.tick()
    assert not amends(world) and not world.order_frames(OrderAction.ACTION_CANCEL)
    assert world.live()[0]["price_raw"] == 1_000_000
    limits["reduce_min_bps"] = 1_000
    world.core.set_limits(0, limits)
    world.run(1.5)
    world.tick()
    (request,) = amends(world)
    assert request["params"]["limit_price"] == price(1_000_100)
    assert request["params"]["order_qty"] < Decimal(order["qty_raw"]).scaleb(-8)
    assert request["params"]["order_qty"] * price(1_000_100) <= Decimal(25)
    world.sound()


@pytest.mark.parametrize("at", ["before the amend", "amend on its way"])
def test_a_failing_gate_pulls_a_followed_order_in_its_pass(world: World, order: dict[str, Any], at: str) -> None:
    """Following holds up no cancel: the pass in which a gate fails cancels, whatever amend is on its way."""
    move(world, 1_000_010)
    if at == "before the amend":
        confirm(world, order, amends(world)[0])
    world.command("pause")
    world.tick()
    (frame,) = world.order_frames(OrderAction.ACTION_CANCEL)
    assert json.loads(frame)["params"]["cl_ord_id"] == [order["cl_ord_id"]]
    world.run(2)
    move(world, 1_000_030)
    assert len(amends(world)) == 1
    world.sound()


def test_a_gate_that_fails_at_the_new_price_alone_pulls_it(world: World, order: dict[str, Any]) -> None:
    """The ask comes down to the price that was asked for: it may rest there by now, and there it would cross."""
    move(world, 1_000_010)
    book = world.books["BTC/USD"]
    world.book("BTC/USD", [(1_000_010, 0)], [(1_000_010, QTY)])
    assert max(book.bids) < 1_000_010
    assert world.order_frames(OrderAction.ACTION_CANCEL)
    world.sound()


@pytest.mark.parametrize("error", ["EOrder:Post only order", "EOrder:Rate limit exceeded", "EOrder:Insufficient funds"])
def test_a_refused_amend_leaves_the_old_price(world: World, order: dict[str, Any], error: str) -> None:
    """It passed its gates where it rests: it stays, at the price and quantity that it had, and may follow later."""
    move(world, 1_000_010)
    world.refuse(amends(world)[0]["req_id"], error, "amend_order")
    (live,) = world.live()
    assert (live["state"], live["price_raw"], live["amend_price_raw"]) == (OrderState.ORDER_OPEN, 1_000_000, 0)
    assert not world.order_frames(OrderAction.ACTION_CANCEL)
    assert world.core.exposure() == int(price(1_000_000) * Decimal(order["qty_raw"]))
    world.sound()


def test_an_amend_that_may_have_been_made_cancels(world: World, order: dict[str, Any]) -> None:
    """A server error tells nothing: both prices count, and the order is canceled."""
    move(world, 1_000_010)
    world.refuse(amends(world)[0]["req_id"], "EService:Unavailable", "amend_order")
    assert world.order_frames(OrderAction.ACTION_CANCEL)
    assert world.live()[0]["amend_price_raw"] == 1_000_010
    world.sound()


def test_an_unanswered_amend_cancels(world: World, order: dict[str, Any]) -> None:
    """Silence after it ends in a cancel within seconds."""
    move(world, 1_000_010)
    for _ in range(30):
        world.step()
        world.tick()
    assert world.order_frames(OrderAction.ACTION_CANCEL)
    world.sound()


def test_no_amend_without_room_in_the_rate_counter(world: World, order: dict[str, Any]) -> None:
    """Where the venue's counter has no room it stays where it is, and is not pulled for it."""
    world.slot.rate_raise(150_000_000, world.mono_ns)
    move(world, 1_000_010)
    assert not amends(world) and not world.order_frames(OrderAction.ACTION_CANCEL)
    assert world.counters()["rate_held"] == 1
    world.run(20)
    world.sound()


@pytest.mark.parametrize("shown", ["new", "old", "nothing", "another"])
def test_a_snapshot_tells_which_price_holds(world: World, order: dict[str, Any], shown: str) -> None:
    """A socket breaks over an amend: the next snapshot's price counts; without one, or with another's, the order goes."""
    move(world, 1_000_010)
    told = {"new": {"limit_price": "100001.0"}, "old": {"limit_price": "100000.0"}, "nothing": {},
            "another": {"limit_price": "100000.5"}}[shown]
    world.executions({"exec_type": "status", "order_id": OID, "cl_ord_id": order["cl_ord_id"], "order_status": "new",
                      "cum_qty": 0, "order_qty": f"{Decimal(order['qty_raw']).scaleb(-8):f}", **told}, snapshot=True)
    (live,) = world.live()
    if shown in ("new", "old"):
        assert live["price_raw"] == (1_000_010 if shown == "new" else 1_000_000)
        assert not live["amend_qty_raw"] and not world.order_frames(OrderAction.ACTION_CANCEL)
        return
    for _ in range(30):
        world.step()
        world.tick()
    assert world.order_frames(OrderAction.ACTION_CANCEL)
    world.sound()


def test_what_an_operator_is_asked_for_is_not_followed_past_him() -> None:
    """An approved opening stays at the price that was shown; one of less than he is asked for does not grow beyond that."""
    asked = World(practice_config(tactics={"follow_ticks": 5, "follow_amends_max": 2}, approve={"above": "0"}),
                  strategy="rehearsal").ready()
    for _ in range(200):
        if asked.core.waiting_rows():
            break
        asked.step()
        asked.tick()
    (row,) = asked.core.waiting_rows()
    assert asked.core.answer_waiting(row["intent_seq"], True)
    asked.tick()
    assert not opened(asked)["follows"]
    move(asked, 1_000_020)
    below = World(practice_config(tactics={"follow_ticks": 5, "follow_amends_max": 2}, approve={"above": "25.0001"}),
                  strategy="rehearsal").ready()
    order = opened(below)
    assert order["follows"]
    move(below, 1_000_020)
    assert not amends(asked) and not amends(below)
    move(below, 999_900)
    below.run(1.5)
    assert len(amends(below)) == 1, "less than that it may be"


def test_fills_on_the_way_count(world: World, order: dict[str, Any]) -> None:
    """A part is filled while the amend is on its way: what is left moves, at the quantity that was asked in all."""
    move(world, 1_000_010)
    world.fill(order, 1_000, "T1")
    (live,) = world.live()
    assert live["leaves_raw"] == order["qty_raw"] - 1_000
    confirm(world, order, amends(world)[0], cum_qty="0.00001000")
    (live,) = world.live()
    assert (live["price_raw"], live["leaves_raw"]) == (1_000_010, order["qty_raw"] - 1_000)
    assert world.engine.tracker.contradiction_count == 0
    world.sound()


def test_each_amend_is_on_record_and_the_journal_gives_the_same_again(tmp_path: Path) -> None:
    """Before the frame stands the decision at the new price; a replay makes the same frames and the same order."""
    with open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=1000) as journal:
        world = world_of(journal=journal)
        order = opened(world)
        move(world, 1_000_010)
        confirm(world, order, amends(world)[0])
        world.run(1.5)
    told = (EventKind.OUT_DECISION, EventKind.OUT_ORDER_FRAME)
    kinds = [(kind, tag) for kind, tag, _ in world.recorder.captured if kind in told]
    at = kinds.index((EventKind.OUT_ORDER_FRAME, OrderAction.ACTION_AMEND))
    assert kinds[at - 1][0] == EventKind.OUT_DECISION
    core = replayed(tmp_path / "journal").engine.core
    assert [core.order(index) for index in core.live_orders()] == world.live()
    assert world.live()[0]["price_raw"] == 1_000_010
