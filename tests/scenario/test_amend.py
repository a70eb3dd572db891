"""A resting opening whose gates would pass a smaller quantity is amended down; kill on an account of our own cancels all."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from engine_world import S, World, eventually

from cstd._fast.codes import OrderAction, OrderState
from cstd.decision.limits import limits_row

OID = "OAAAAA-BBBBB-CCCCCC"
TIGHT_BPS = 15  # of equity: three fifths of the rehearsal's size


@pytest.fixture
def world() -> World:
    """A ready engine with the rehearsal strategy."""
    return World(strategy="rehearsal").ready()


@pytest.fixture
def order(world: World) -> dict[str, Any]:
    """The first opening, open at the venue."""
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    return order


def tighten(world: World, bps: int = TIGHT_BPS) -> dict[str, Any]:
    """Lower the position limit under the resting order and let its instrument pass; returns the amend frame."""
    limits = limits_row(world.cfg, world.names[0]).copy()
    limits["position_max_bps"] = bps
    world.core.set_limits(0, limits)
    world.tick()
    (frame,) = world.order_frames(OrderAction.ACTION_AMEND)
    return dict(json.loads(frame, parse_float=Decimal))


def test_an_amend_asks_for_what_still_passes(world: World, order: dict[str, Any]) -> None:
    """The amend names our order, keeps its price, carries a deadline, and asks for no more than the limit lets pass."""
    request = tighten(world)
    params = request["params"]
    assert request["method"] == "amend_order"
    assert params["cl_ord_id"] == order["cl_ord_id"]
    assert params["token"] == ""
    assert params["post_only"] is True
    price = Decimal(order["price_raw"]).scaleb(-1)
    assert params["limit_price"] == price
    assert 0 < params["order_qty"] * price <= Decimal(10_000) * TIGHT_BPS / 10_000
    assert params["order_qty"] < Decimal(order["qty_raw"]).scaleb(-8)
    world.sound()


def test_the_larger_quantity_counts_until_confirmed(world: World, order: dict[str, Any]) -> None:
    """One amend at a time; exposure stays at the old quantity until the venue's report brings the new one."""
    before = world.core.exposure()
    request = tighten(world)
    world.tick()
    assert len(world.order_frames(OrderAction.ACTION_AMEND)) == 1
    assert world.core.exposure() == before
    world.report("amended", order, order_qty=str(request["params"]["order_qty"]))
    (live,) = world.live()
    assert Decimal(live["qty_raw"]).scaleb(-8) == request["params"]["order_qty"]
    assert live["amend_qty_raw"] == 0
    assert world.core.exposure() < before
    world.tick()
    assert not world.order_frames(OrderAction.ACTION_CANCEL)
    world.sound()


@pytest.mark.parametrize("error", ["EOrder:Post only order", "EOrder:Rate limit exceeded"])
def test_a_refused_amend_cancels_the_order(world: World, order: dict[str, Any], error: str) -> None:
    """What its gates would not let pass does not stay because the venue refused to make it smaller."""
    request = tighten(world)
    world.refuse(request["req_id"], error, "amend_order")
    (frame,) = world.order_frames(OrderAction.ACTION_CANCEL)
    assert json.loads(frame)["params"]["cl_ord_id"] == [order["cl_ord_id"]]
    assert world.live()[0]["state"] == OrderState.ORDER_CANCEL_PENDING
    world.sound()


def test_an_unanswered_amend_cancels_the_order(world: World, order: dict[str, Any]) -> None:
    """Silence after an amend ends in a cancel within seconds."""
    tighten(world)
    for _ in range(30):
        world.step()
        world.tick()
    assert world.order_frames(OrderAction.ACTION_CANCEL)
    world.sound()


@pytest.mark.parametrize("error", ["EOrder:Unknown order", "EOrder:Invalid order"])
def test_a_gone_order_is_looked_up(world: World, order: dict[str, Any], error: str) -> None:
    """An amend of an order that is gone says nothing of how it ended: UNKNOWN in its larger quantity until the look-up tells."""
    request = tighten(world)
    world.answering = False
    world.refuse(request["req_id"], error, "amend_order")
    assert (world.live()[0]["state"], world.live()[0]["leaves_raw"]) == (OrderState.ORDER_UNKNOWN, order["qty_raw"])
    assert world.engine.tracker.want_reconcile and not world.order_frames(OrderAction.ACTION_CANCEL)
    world.answering = True
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: looked_up(order, "canceled")}}
    eventually(world, lambda: not world.live())
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_CANCELED


# Amends that meet something else on their way.


def text(raw: int) -> str:
    """A raw quantity as the venue prints it."""
    return f"{Decimal(raw).scaleb(-8):f}"


def asked_raw(request: dict[str, Any]) -> int:
    """The total quantity that an amend asks for, raw."""
    return int(request["params"]["order_qty"].scaleb(8))


def looked_up(order: dict[str, Any], status: str, filled_raw: int = 0) -> dict[str, Any]:
    """The order as REST shows it."""
    return {"status": status, "cl_ord_id": order["cl_ord_id"], "vol": text(order["qty_raw"]), "vol_exec": text(filled_raw),
            "reason": "", "opentm": order["sent_wall_ns"] / S, "descr": {"pair": "XBTUSD", "type": "buy", "price": "1"}}


def test_amended_after_a_fill_counts_what_is_left(world: World, order: dict[str, Any]) -> None:
    """A part is filled while the amend is on its way: the new total includes it, and the rest of it ends the order."""
    wanted = asked_raw(tighten(world))
    world.fill(order, 1_000, "T1")
    (live,) = world.live()
    assert live["leaves_raw"] == order["qty_raw"] - 1_000
    world.report("amended", order, order_qty=text(wanted), cum_qty=text(1_000))
    (live,) = world.live()
    assert (live["qty_raw"], live["filled_raw"], live["leaves_raw"]) == (wanted, 1_000, wanted - 1_000)
    assert live["amend_qty_raw"] == 0
    world.fill(order, wanted - 1_000, "T2")
    assert not world.live() and world.engine.tracker.contradiction_count == 0
    assert world.engine.ledger.positions[0].qty_raw == wanted
    world.sound()


def test_filled_to_the_new_quantity_before_its_report(world: World, order: dict[str, Any]) -> None:
    """The fill and `filled` come before `amended`: what was ordered is not known to be over until it is looked up."""
    wanted = asked_raw(tighten(world))
    world.answering = False
    world.fill(order, wanted, "T1")
    world.report("filled", order, cum_qty=text(wanted))
    assert world.live()[0]["state"] == OrderState.ORDER_UNKNOWN
    world.answering = True
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: looked_up(order, "closed", wanted)}}
    eventually(world, lambda: order["cl_ord_id"] in world.engine.tracker.history)
    world.report("amended", order, order_qty=text(wanted))
    ended = world.engine.tracker.history[order["cl_ord_id"]]
    assert (ended["state"], ended["filled_raw"]) == (OrderState.ORDER_FILLED, wanted)
    assert world.engine.tracker.contradiction_count == 0


@pytest.mark.parametrize("venue", ["cancels", "says nothing", "refuses"])
def test_an_amend_below_what_is_filled(world: World, order: dict[str, Any], venue: str) -> None:
    """More is filled than the amend asks for: the venue cancels the rest, by a report or without one, or it refuses."""
    request = tighten(world)
    wanted = asked_raw(request)
    filled = wanted + 500
    world.fill(order, filled, "T1")
    assert world.live()[0]["leaves_raw"] == order["qty_raw"] - filled
    if venue == "refuses":
        world.refuse(request["req_id"], "EGeneral:Invalid arguments:volume", "amend_order")
        assert world.live()[0]["state"] == OrderState.ORDER_CANCEL_PENDING
        assert world.live()[0]["leaves_raw"] == order["qty_raw"] - filled
    else:
        world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: looked_up(order, "canceled", filled)}}
        world.report("amended", order, order_qty=text(wanted), cum_qty=text(filled))
    if venue != "says nothing":
        world.report("canceled", order, cum_qty=text(filled), reason="User requested")
    eventually(world, lambda: order["cl_ord_id"] in world.engine.tracker.history, 2)
    ended = world.engine.tracker.history[order["cl_ord_id"]]
    assert (ended["state"], ended["filled_raw"]) == (OrderState.ORDER_CANCELED, filled)
    assert world.engine.ledger.positions[0].qty_raw == filled and world.engine.tracker.contradiction_count == 0
    world.sound()


@pytest.mark.parametrize("shows", ["new", "old", "nothing"])
def test_an_amend_on_its_way_when_a_snapshot_shows_the_order(world: World, order: dict[str, Any], shows: str) -> None:
    """The snapshot's quantity counts; where it has none, the larger one does, and the order is canceled before long."""
    wanted = asked_raw(tighten(world))
    row = {"exec_type": "status", "order_id": OID, "cl_ord_id": order["cl_ord_id"], "order_status": "new", "cum_qty": 0}
    quantity = {"new": wanted, "old": order["qty_raw"], "nothing": order["qty_raw"]}[shows]
    if shows != "nothing":
        row["order_qty"] = text(quantity)
    world.rest["OpenOrders"] = {"open": {OID: looked_up(order, "open")}}
    world.executions(row, snapshot=True)
    (live,) = world.live()
    assert (live["state"], live["leaves_raw"]) == (OrderState.ORDER_OPEN, quantity)
    assert bool(live["amend_qty_raw"]) is (shows == "nothing")
    for _ in range(24):
        world.step()
        world.tick()
    sent = {action: len(world.order_frames(action)) for action in (OrderAction.ACTION_AMEND, OrderAction.ACTION_CANCEL)}
    assert (sent[OrderAction.ACTION_AMEND] == 2) is (shows == "old"), "still too large: it is amended again"
    assert (sent[OrderAction.ACTION_CANCEL] > 0) is (shows != "new")
    world.sound()


@pytest.mark.parametrize("change", [{"limit_price": "99998.5"}, {"order_qty": "1.0"}], ids=["price", "quantity"])
def test_an_order_that_somebody_amended_by_hand(world: World, order: dict[str, Any], change: dict[str, str]) -> None:
    """Terms that are not ours: another price is canceled, a larger quantity counts and is judged, and does not stay."""
    before = world.core.exposure()
    ours = {"order_qty": text(order["qty_raw"]), "limit_price": f"{order['price_raw'] / 10}"}
    world.report("amended", order, **(ours | change))
    if "order_qty" in change:
        assert world.core.exposure() > 100 * before
        world.tick()
        assert world.order_frames(OrderAction.ACTION_AMEND) or world.order_frames(OrderAction.ACTION_CANCEL)
    else:
        assert world.live()[0]["state"] == OrderState.ORDER_CANCEL_PENDING
    world.sound()


def test_kill_cancels_the_account_where_it_is_ours_alone(world: World, order: dict[str, Any]) -> None:
    """With account.exclusive a kill also sends one cancel_all, which needs no id; the frame holds nothing else."""
    world.command("kill", reason="test")
    (frame,) = world.order_frames(OrderAction.ACTION_CANCEL_ALL)
    request = json.loads(frame)
    assert request["method"] == "cancel_all"
    assert request["params"] == {"token": ""}
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == 1
    world.sound()
