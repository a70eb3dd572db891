"""What the venue says about our orders, in whatever order: each fill once, each end final, silence never an answer."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from engine_world import BTC, S, World, eventually, time_text

from cstd._fast.codes import IntentKind, Link, OrderAction, OrderState

OID = "OAAAAA-BBBBB-CCCCCC"


@pytest.fixture
def world() -> World:
    """A ready engine with the rehearsal strategy."""
    return World(strategy="rehearsal").ready()


@pytest.fixture
def order(world: World) -> dict[str, Any]:
    """The first opening: sent, not answered."""
    return world.first_order()


def ended(world: World, order: dict[str, Any]) -> dict[str, Any]:
    """An order from the history."""
    world.sound()
    return dict(world.engine.tracker.history[order["cl_ord_id"]])


def state(world: World, order: dict[str, Any]) -> OrderState:
    """State of a live order."""
    world.sound()
    (found,) = [live for live in world.live() if live["cl_ord_id"] == order["cl_ord_id"]]
    return OrderState(found["state"])


def test_trade_then_filled_books_once(world: World, order: dict[str, Any]) -> None:
    """The trade that completes an order ends it; the `filled` after it brings no quantity and changes nothing."""
    world.reply(order)
    world.report("new", order)
    world.fill(order, order["qty_raw"], "T1")
    world.report("filled", order, cum_qty=str(Decimal(order["qty_raw"]).scaleb(-8)))
    assert ended(world, order)["state"] == OrderState.ORDER_FILLED
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]
    assert list(world.engine.ledger.fills) == ["T1"]


def test_filled_before_its_trade_waits_for_it(world: World, order: dict[str, Any]) -> None:
    """`filled` without its trade books nothing: the order is UNKNOWN until the trade brings the quantity."""
    world.reply(order)
    world.answering = False
    world.report("filled", order)
    assert state(world, order) == OrderState.ORDER_UNKNOWN
    assert world.engine.ledger.positions[0].qty_raw == 0
    world.fill(order, order["qty_raw"], "T1")
    assert ended(world, order)["state"] == OrderState.ORDER_FILLED
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]


def test_a_repeated_execution_counts_once(world: World, order: dict[str, Any]) -> None:
    """The same exec_id a second time, live or in a snapshot, changes neither position nor cash."""
    world.reply(order)
    part = order["qty_raw"] // 2
    world.fill(order, part, "T1")
    cash = world.engine.ledger.cash_flow
    balances = dict(world.balances)
    world.fill(order, part, "T1")
    world.balances = balances
    assert (world.engine.ledger.positions[0].qty_raw, world.engine.ledger.cash_flow) == (part, cash)
    assert world.engine.ledger.duplicate_count == 1
    assert state(world, order) == OrderState.ORDER_PARTIAL


@pytest.mark.parametrize("steps", list(permutations(("reply", "new", "part", "rest"))), ids="-".join)
def test_any_order_of_reply_and_reports_ends_the_same(world: World, order: dict[str, Any], steps: tuple[str, ...]) -> None:
    """Reply, `new` and two fills in any order: one order, filled, both fills booked, nothing live."""
    part = order["qty_raw"] // 3
    for step in steps:
        if step == "reply":
            world.reply(order)
        elif step == "new":
            world.report("new", order)
        else:
            world.fill(order, part if step == "part" else order["qty_raw"] - part, step)
    assert ended(world, order)["state"] == OrderState.ORDER_FILLED
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]
    assert not world.live()


def test_a_sparse_trade_finds_its_order_by_the_venues_id(world: World, order: dict[str, Any]) -> None:
    """A trade with the venue's order id alone, no symbol, no client id, no side, is booked to the right order."""
    world.reply(order)
    world.move_balance("BTC", Decimal(order["qty_raw"]).scaleb(-8))
    world.executions({"exec_type": "trade", "order_id": OID, "exec_id": "T1", "last_qty": Decimal(order["qty_raw"]).scaleb(-8)
                      .__format__("f"), "last_price": "100000.0", "cost": "25.0", "fees": [{"asset": "USD", "qty": "0.0625"}]})
    assert ended(world, order)["state"] == OrderState.ORDER_FILLED
    assert world.engine.ledger.cash_flow == Decimal("-25.0625")


@pytest.mark.parametrize("error", ["EOrder:Unknown order", "EOrder:Invalid order"])
def test_a_cancel_of_a_gone_order_is_looked_up(world: World, order: dict[str, Any], error: str) -> None:
    """Both texts mean "gone": filled or canceled is not known, so the order is UNKNOWN and the look-up finds the fill."""
    world.reply(order)
    world.report("new", order)
    world.answering = False
    world.command("pause")
    cancel = world.order_frames(OrderAction.ACTION_CANCEL)
    assert len(cancel) == 1
    world.refuse(order["req_id"] + 1, error, "cancel_order")
    assert state(world, order) == OrderState.ORDER_UNKNOWN
    assert world.engine.tracker.want_reconcile
    filled_at_venue(world, order)
    world.answering = True
    eventually(world, lambda: not world.live())
    assert ended(world, order)["state"] == OrderState.ORDER_FILLED
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]
    assert world.engine.reconciler.trusted


def filled_at_venue(world: World, order: dict[str, Any]) -> None:
    """The order was filled and the private stream did not say so; REST shows it."""
    qty = Decimal(order["qty_raw"]).scaleb(-8)
    price = Decimal(order["price_raw"]).scaleb(-1)
    world.move_balance("BTC", qty)
    world.move_balance("USD", -qty * price * Decimal("1.0025"))
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, "closed", qty)}}
    world.rest["TradesHistory"] = {"count": 1, "trades": {"TFOUND": {
        "ordertxid": OID, "pair": "XBTUSD", "time": world.now_ns / S, "type": "buy", "price": str(price), "vol": f"{qty:f}",
        "cost": f"{price * qty:f}", "fee": f"{price * qty * Decimal('0.0025'):f}", "maker": True}}}


def rest_order(order: dict[str, Any], status: str, filled: Decimal, **fields: Any) -> dict[str, Any]:
    """An order as REST shows it."""
    return {"status": status, "cl_ord_id": order["cl_ord_id"], "vol": f"{Decimal(order['qty_raw']).scaleb(-8):f}",
            "vol_exec": f"{filled:f}", "opentm": order["sent_wall_ns"] / S,
            "descr": {"pair": "XBTUSD", "type": "buy", "price": f"{Decimal(order['price_raw']).scaleb(-1):f}"}, **fields}


def test_a_refused_cancel_goes_again(world: World, order: dict[str, Any]) -> None:
    """A cancel that the venue refuses leaves the order open and goes again once a second, however often books move."""
    world.reply(order)
    world.report("new", order)
    world.command("pause")
    assert state(world, order) == OrderState.ORDER_CANCEL_PENDING
    refused = 0
    for _ in range(60):
        sent = world.order_frames(OrderAction.ACTION_CANCEL)
        for frame in sent[refused:]:
            world.refuse(json.loads(frame)["req_id"], "EGeneral:Temporary lockout", "cancel_order")
            assert state(world, order) == OrderState.ORDER_OPEN
        refused = len(sent)
        world.step(0.05)
        world.tick()
    assert 3 <= refused <= 4
    world.run(1.25)
    world.tick()
    assert state(world, order) == OrderState.ORDER_CANCEL_PENDING
    world.report("canceled", order, reason="User requested", cum_qty="0")
    assert ended(world, order)["state"] == OrderState.ORDER_CANCELED


def test_a_post_only_order_that_would_take_ends_canceled(world: World, order: dict[str, Any]) -> None:
    """Accepted, then canceled with a reason, is an end without a fill, and the strategy may try anew."""
    world.reply(order)
    world.report("pending_new", order)
    world.report("canceled", order, reason="Post only order", cum_qty="0")
    last = ended(world, order)
    assert (last["state"], last["reason"], last["filled_raw"]) == (OrderState.ORDER_CANCELED, "Post only order", 0)
    assert world.slot.openings_ended == 1
    for _ in range(12):
        world.step()
        world.tick()
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 2


def test_an_expired_order_keeps_what_was_filled(world: World, order: dict[str, Any]) -> None:
    """An expiry after a partial fill ends the order; the filled part stays."""
    world.reply(order)
    world.fill(order, order["qty_raw"] // 2, "T1")
    world.report("expired", order, cum_qty=f"{Decimal(order['qty_raw'] // 2).scaleb(-8):f}")
    assert ended(world, order)["state"] == OrderState.ORDER_EXPIRED
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"] // 2


@pytest.mark.parametrize("error", ["EOrder:Insufficient funds", "EGeneral:Invalid arguments:volume minimum not met",
                                   "EOrder:Post only order", "EOrder:Rate limit exceeded"])
def test_a_definite_refusal_ends_the_order(world: World, order: dict[str, Any], error: str) -> None:
    """Errors that say the order was never taken end it as rejected."""
    world.refuse(order["req_id"], error)
    assert ended(world, order)["state"] == OrderState.ORDER_REJECTED
    assert world.engine.tracker.rejected_count == 1


@pytest.mark.parametrize(("error", "served"), [
    ("EOrder:Insufficient funds", True), ("EGeneral:Invalid arguments:cl_ord_id not unique", True),
    ("EOrder:Rate limit exceeded", False), ("EService:Unavailable", False), ("EService:Timeout", False)])
def test_a_refusal_of_what_was_asked_is_served_and_the_venues_rate_limit_is_not(world: World, order: dict[str, Any], error: str,
                                                                                served: bool) -> None:
    """What api_success counts of a request about an order is what it counts of a call by REST."""
    world.engine.tracker.calls.take()
    world.refuse(order["req_id"], error)
    assert [call[0] for call in world.engine.tracker.calls.take()] == [served]


@pytest.mark.parametrize("error", ["EService:Timeout", "EGeneral:Internal error", "EService:Unavailable", "EWhat:Never heard"])
def test_an_error_behind_which_orders_were_executed_is_no_refusal(world: World, order: dict[str, Any], error: str) -> None:
    """Server errors and unknown texts leave the order UNKNOWN: it is looked up, and counts as open until then."""
    world.answering = False
    world.refuse(order["req_id"], error)
    assert state(world, order) == OrderState.ORDER_UNKNOWN
    assert world.engine.tracker.want_reconcile
    assert world.core.exposure() > 0


def test_a_lost_reply_makes_the_order_unknown_and_no_second_one_goes_out(world: World, order: dict[str, Any]) -> None:
    """After the deadline without an answer the order is UNKNOWN, blocks its instrument, and is never sent again."""
    world.answering = False
    for _ in range(14):
        world.step()
        world.tick()
    assert state(world, order) == OrderState.ORDER_UNKNOWN
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 1


def test_a_snapshot_after_a_reconnect_shows_the_order_open(world: World, order: dict[str, Any]) -> None:
    """The link goes down: UNKNOWN. The new snapshot shows the order open, and it is pulled until all is reconciled."""
    world.reply(order)
    world.report("new", order)
    world.link(Link.LINK_PRIVATE, up=False, reason="test")
    assert state(world, order) == OrderState.ORDER_UNKNOWN
    assert not world.core.private_up
    world.open_orders = [{"exec_type": "status", "order_id": OID, "cl_ord_id": order["cl_ord_id"], "order_status": "new",
                          "cum_qty": 0, "timestamp": time_text(world.now_ns)}]
    world.rest["OpenOrders"] = {"open": {OID: rest_order(order, "open", Decimal(0))}}
    world.link(Link.LINK_PRIVATE, up=True)
    assert state(world, order) == OrderState.ORDER_OPEN
    # Nothing rests while the account is not reconciled: the gates pull it in the next pass.
    world.step()
    assert state(world, order) == OrderState.ORDER_CANCEL_PENDING
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == 1


def test_a_second_boot_loses_sight_of_everything_until_it_is_shown(world: World, order: dict[str, Any]) -> None:
    """After a restart an open order is UNKNOWN until the snapshot shows it; what rests is pulled, nothing is opened."""
    world.reply(order)
    world.report("new", order)
    world.open_orders = [{"exec_type": "status", "order_id": OID, "cl_ord_id": order["cl_ord_id"], "order_status": "new",
                          "cum_qty": 0}]
    world.rest["OpenOrders"] = {"open": {OID: rest_order(order, "open", Decimal(0))}}
    world.snapshots = False
    world.boot(epoch=2)
    assert (state(world, order), world.engine.state) == (OrderState.ORDER_UNKNOWN, "reconciling")
    assert world.engine.boot_epoch == 2
    world.executions(*world.open_orders, snapshot=True)
    assert state(world, order) == OrderState.ORDER_OPEN
    world.step()
    assert state(world, order) == OrderState.ORDER_CANCEL_PENDING
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 1


def test_foreign_orders_are_not_touched(world: World, order: dict[str, Any]) -> None:
    """Reports of orders without our prefix, fills included, are counted and change nothing."""
    before = world.engine.ledger.cash_flow
    for cl_ord_id in ("other-bot-1", "", None):
        world.executions({"exec_type": "trade", "order_id": "OXXXXX-XXXXX-XXXXXX", "cl_ord_id": cl_ord_id, "exec_id": "F1",
                          "last_qty": 1, "last_price": 1, "cost": 1, "fees": []})
    world.executions({"exec_type": "canceled", "order_id": "OXXXXX-XXXXX-XXXXXX", "cl_ord_id": "p5669_1"})
    assert world.engine.tracker.foreign_count == 4
    assert (world.engine.ledger.cash_flow, len(world.live())) == (before, 1)
    assert not world.order_frames(OrderAction.ACTION_CANCEL)
    assert state(world, order) == OrderState.ORDER_SENT


def test_a_fill_that_comes_after_the_cancel_is_booked(world: World, order: dict[str, Any]) -> None:
    """A late execution of an order that has ended is a fact all the same: position and cash follow it."""
    world.reply(order)
    world.report("canceled", order, reason="User requested")
    assert not world.live()
    world.fill(order, order["qty_raw"] // 2, "LATE")
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"] // 2
    assert ended(world, order)["filled_raw"] == order["qty_raw"] // 2
    eventually(world, lambda: bool(world.live(IntentKind.EXIT)))
    world.sound()


def test_a_cancel_that_reports_more_than_was_booked_is_looked_up(world: World, order: dict[str, Any]) -> None:
    """A cumulative quantity beyond the booked one means a lost fill: the next round fetches it."""
    world.reply(order)
    world.report("new", order)
    filled_at_venue(world, order)
    world.rest["ClosedOrders"]["closed"][OID]["status"] = "canceled"
    world.report("canceled", order, cum_qty=f"{Decimal(order['qty_raw']).scaleb(-8):f}")
    eventually(world, lambda: "TFOUND" in world.engine.ledger.fills)
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]
    world.sound()


def test_a_gap_in_the_executions_is_looked_up(world: World, order: dict[str, Any]) -> None:
    """A jump of the sequence takes `ready` away until the channel's next snapshot and a reconciliation."""
    world.reply(order)
    rounds = world.engine.reconciler.done_count
    world.sequence["executions"] += 5
    world.answering = False
    world.report("new", order)
    world.step()
    assert world.engine.state == "reconciling"
    world.answering = True
    world.open_orders = [{"exec_type": "status", "order_id": OID, "cl_ord_id": order["cl_ord_id"], "order_status": "new",
                          "cum_qty": 0}]
    world.rest["OpenOrders"] = {"open": {OID: rest_order(order, "open", Decimal(0))}}
    world.run(6)
    assert world.engine.state == "ready"
    assert world.engine.reconciler.done_count > rounds
    assert BTC in world.engine.names
