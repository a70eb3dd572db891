"""A resting opening whose gates would pass a smaller quantity is amended down; kill on an account of our own cancels all."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from engine_world import World

from cstd._fast.codes import OrderAction, OrderState
from cstd.decision.limits import limits_row

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


def test_a_gone_order_is_looked_up(world: World, order: dict[str, Any]) -> None:
    """An amend of an order that is gone says nothing of how it ended: UNKNOWN, and the account is looked up."""
    request = tighten(world)
    world.answering = False
    world.refuse(request["req_id"], "EOrder:Unknown order", "amend_order")
    assert world.live()[0]["state"] == OrderState.ORDER_UNKNOWN
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
