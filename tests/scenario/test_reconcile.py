"""Look-ups after a loss: missing fills are booked, orders of ours are found, and absence is concluded late and by evidence."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from engine_world import S, World, eventually

from cstd._fast.codes import IntentKind, Link, OrderAction, OrderState

OID = "OAAAAA-BBBBB-CCCCCC"


@pytest.fixture
def world() -> World:
    """A ready engine with the rehearsal strategy."""
    return World(strategy="rehearsal").ready()


def qty_text(raw: int) -> str:
    """A quantity as REST prints it."""
    return f"{Decimal(raw).scaleb(-8):f}"


def rest_order(order: dict[str, Any], status: str, filled_raw: int = 0, **fields: Any) -> dict[str, Any]:
    """An order as REST shows it."""
    return {"status": status, "cl_ord_id": order["cl_ord_id"], "vol": qty_text(order["qty_raw"]),
            "vol_exec": qty_text(filled_raw), "opentm": order["sent_wall_ns"] / S,
            "descr": {"pair": "XBTUSD", "type": "buy", "price": "100000.0"}, **fields}


def rest_trade(world: World, qty_raw: int, txid: str = OID) -> dict[str, Any]:
    """A trade as REST shows it, and the balances that belong to it."""
    qty = Decimal(qty_raw).scaleb(-8)
    world.move_balance("BTC", qty)
    world.move_balance("USD", -qty * 100_000)
    return {"ordertxid": txid, "pair": "XBTUSD", "time": f"{world.now_ns // S}.5", "type": "buy", "price": "100000.0",
            "vol": f"{qty:f}", "cost": f"{qty * 100_000:f}", "fee": "0", "maker": True}


def test_a_missing_fill_is_booked_once(world: World) -> None:
    """A fill that the stream lost is booked from the trade history, in every round, once; the order ends filled."""
    order = world.first_order()
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, "closed", order["qty_raw"])}}
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": rest_trade(world, order["qty_raw"])}}
    world.engine.tracker.want_reconcile = True
    eventually(world, lambda: not world.live())
    world.engine.tracker.want_reconcile = True
    world.run(3)
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_FILLED
    assert world.engine.ledger.duplicate_count == 0
    assert world.engine.reconciler.trusted and world.engine.state == "ready"
    world.sound()


def test_a_final_status_waits_for_its_fills(world: World) -> None:
    """"Closed" with an executed quantity that no trade has brought yet leaves the order live until the trade shows."""
    order = world.first_order()
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, "closed", order["qty_raw"])}}
    world.engine.tracker.want_reconcile = True
    world.run(6)
    assert [live["state"] for live in world.live()] == [OrderState.ORDER_UNKNOWN]
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": rest_trade(world, order["qty_raw"])}}
    eventually(world, lambda: not world.live())
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]


def test_absence_needs_time_and_an_unmoved_balance(world: World) -> None:
    """An UNKNOWN order that no look-up shows dies only after the configured time, and not while the balance is off."""
    order = world.first_order()
    absent_ns = int(world.cfg.venue.unknown_absent_s * S)
    world.balances["BTC"] = "0.05025000"  # something was bought: where is the trade?
    world.engine.tracker.want_reconcile = True
    while world.now_ns - order["sent_wall_ns"] < absent_ns + 6 * S:
        world.step()
    assert [live["state"] for live in world.live()] == [OrderState.ORDER_UNKNOWN]
    assert not world.engine.reconciler.agreed
    world.balances["BTC"] = "0.05000000"
    eventually(world, lambda: not [live for live in world.live() if live["cl_ord_id"] == order["cl_ord_id"]])
    assert world.engine.tracker.history[order["cl_ord_id"]]["reason"] == "absent at the venue"
    world.sound()


def test_absence_is_never_concluded_early(world: World) -> None:
    """Before the configured time has passed an unseen order stays UNKNOWN, however many rounds show nothing."""
    order = world.first_order()
    absent_ns = int(world.cfg.venue.unknown_absent_s * S)
    while world.now_ns - order["sent_wall_ns"] < absent_ns - S:
        world.step()
        world.engine.tracker.want_reconcile = True
        assert order["cl_ord_id"] in {live["cl_ord_id"] for live in world.live()}
    assert world.engine.reconciler.done_count > 1
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 1


def test_an_unknown_order_of_ours_is_taken_up_and_canceled(world: World) -> None:
    """An open order with our prefix that the journal does not know is adopted and canceled, with its fills booked."""
    lost = {"cl_ord_id": "ct0123456789abcdef", "qty_raw": 40_000, "sent_wall_ns": world.now_ns - 5 * S}
    world.rest["OpenOrders"] = {"open": {OID: rest_order(lost, "open", 10_000)}}
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": rest_trade(world, 10_000)}}
    world.engine.tracker.want_reconcile = True
    world.step()
    cancels = [frame for frame in world.order_frames(OrderAction.ACTION_CANCEL) if b"ct0123456789abcdef" in frame]
    assert len(cancels) == 1
    assert world.engine.ledger.positions[0].qty_raw == 10_000
    adopted = [live for live in world.live() if live["cl_ord_id"] == "ct0123456789abcdef"]
    assert [(live["qty_raw"], live["filled_raw"], live["order_id"]) for live in adopted] == [(40_000, 10_000, OID)]
    world.rest["OpenOrders"] = {"open": {}}
    world.report("canceled", lost, cum_qty="0.00010000")
    assert "ct0123456789abcdef" in world.engine.tracker.history
    world.sound()


def test_foreign_orders_in_the_look_ups_are_left_alone(world: World) -> None:
    """Orders of other programs, with other ids or none, are neither adopted nor canceled nor booked."""
    foreign = {"cl_ord_id": "xx0123456789abcdef", "qty_raw": 40_000, "sent_wall_ns": world.now_ns}
    rows = {"OX": rest_order(foreign, "open"), "OY": {**rest_order(foreign, "open"), "cl_ord_id": None},
            "OZ": {**rest_order(foreign, "open"), "cl_ord_id": "ct-short"}}
    world.rest["OpenOrders"] = {"open": rows}
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": {**rest_trade(world, 10_000, "OX")}}}
    world.balances["BTC"] = "0.05000000"
    world.engine.tracker.want_reconcile = True
    world.run(3)
    assert not world.engine.ledger.fills
    assert not [frame for frame in world.order_frames() if b"xx012345" in frame or b"ct-short" in frame]
    world.sound()


def test_long_histories_are_read_page_by_page(world: World) -> None:
    """A history of 120 trades comes in pages of 50, each asked for once, and a fill on the last page is found."""
    order = world.first_order()
    world.reply(order)
    trades = {f"F{n:03d}": {"ordertxid": f"OX{n}", "vol": "1", "price": "1", "cost": "1", "fee": "0", "time": 1}
              for n in range(119)}
    trades["T1"] = rest_trade(world, order["qty_raw"])
    pages = list(trades.items())

    def history(params: dict[str, str]) -> dict[str, Any]:
        at = int(params["ofs"])
        return {"count": len(pages), "trades": dict(pages[at:at + 50])}

    world.rest["TradesHistory"] = history
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, "closed", order["qty_raw"])}}
    world.asked.clear()
    world.engine.tracker.want_reconcile = True
    eventually(world, lambda: "T1" in world.engine.ledger.fills)
    offsets = [params["ofs"] for method, params in world.asked if method == "TradesHistory"]
    assert offsets[:3] == ["0", "50", "100"]
    assert list(world.engine.ledger.fills) == ["T1"]


@pytest.mark.parametrize("broken", ["OpenOrders", "ClosedOrders", "TradesHistory", "BalanceEx"])
def test_a_failed_read_is_tried_again(broken: str) -> None:
    """A read that fails ends the round without a conclusion; the engine is not ready until a whole round agrees."""
    world = World(strategy="rehearsal")
    whole = world.rest[broken]
    world.rest[broken] = "EGeneral:Permission denied"
    world.boot()
    assert world.engine.state == "reconciling"
    assert world.engine.reconciler.failed_count > 0 and world.engine.reconciler.done_count == 0
    assert world.core.counter_values()["orders"] == 0
    world.rest[broken] = whole
    eventually(world, lambda: world.engine.state == "ready")
    world.sound()


def test_the_users_own_coins_are_never_ours(world: World) -> None:
    """What the account held at the first round is the user's: exits sell our fills alone, and balances agree."""
    assert world.engine.reconciler.own == {"BTC": Decimal("0.05000000")}
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    world.engine.tracker.want_reconcile = True
    world.step()
    assert world.engine.reconciler.trusted
    assert world.engine.reconciler.own == {"BTC": Decimal("0.05000000")}
    assert world.engine.ledger.managed_qty("BTC") == Decimal(order["qty_raw"]).scaleb(-8)


def test_balances_that_stay_off_halt_openings(world: World) -> None:
    """A base asset that moved without any fill, shown by three quiet rounds, halts with the difference as the reason."""
    world.engine.risk.paused = True
    world.balances["BTC"] = "0.01000000"
    world.engine.tracker.want_reconcile = True
    eventually(world, lambda: world.engine.state == "halted", seconds=60)
    assert "BTC -0.04" in (world.engine.state_reason or "")
    refused = world.command("resume")
    assert refused["error"] == "operator" and "BTC -0.04" in refused["message"], "a resume that resumes nothing says so"
    assert world.engine.state == "halted"
    world.balances["BTC"] = "0.05000000"
    eventually(world, lambda: world.engine.state == "paused", seconds=120)


GARBAGE: dict[str, tuple[str, Any]] = {
    "a list of orders": ("OpenOrders", {"open": [1, 2]}),
    "an order that is a number": ("ClosedOrders", {"count": 1, "closed": {OID: 7}}),
    "an executed quantity that is no number": ("ClosedOrders", {"count": 1, "closed": {OID: {"vol_exec": "many"}}}),
    "a trade without a quantity": ("TradesHistory", {"count": 1, "trades": {"T1": {"ordertxid": OID, "price": "1"}}}),
    "a trade of no quantity at all": ("TradesHistory", {"count": 1, "trades": {"T1": {
        "ordertxid": OID, "vol": "0", "price": "0", "cost": "0", "fee": "0", "time": 1}}}),
    "a balance that is text": ("BalanceEx", {"BTC": "plenty"}),
    "balances that are a list": ("BalanceEx", [["BTC", 1]]),
    "a balance of no number": ("BalanceEx", {"BTC": {"balance": "NaN-ish"}}),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_reply_that_makes_no_sense_ends_its_round_and_nothing_else(world: World, kind: str) -> None:
    """A REST reply of the wrong shape concludes nothing: the order stays live, nothing is booked, and the next whole
    round settles it."""
    order = world.first_order()
    world.reply(order)
    method, garbage = GARBAGE[kind]
    whole = world.rest[method]
    if method == "ClosedOrders" and isinstance(garbage["closed"][OID], dict):
        garbage = {"count": 1, "closed": {OID: {**rest_order(order, "closed"), **garbage["closed"][OID]}}}
    world.rest[method] = garbage
    world.engine.tracker.want_reconcile = True
    world.run(1)
    world.sound()
    assert not world.engine.ledger.fills
    assert [live["cl_ord_id"] for live in world.live()] == [order["cl_ord_id"]]
    world.rest[method] = whole
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, "canceled")}}
    eventually(world, lambda: order["cl_ord_id"] in world.engine.tracker.history)
    world.sound()


def holding(world: World) -> dict[str, object]:
    """Let the first opening fill whole; the strategy will want to sell what it bought."""
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    return order


def test_nothing_is_sold_while_balances_disagree(world: World) -> None:
    """With another account behind the link, what the journal says we hold is not sold out of the user's own coins."""
    holding(world)
    world.link(Link.LINK_PRIVATE, up=False, reason="cut")
    world.balances = {"USD": "10000.00000000", "BTC": "0.05000000", "ETH": "0.00000000"}
    world.link(Link.LINK_PRIVATE, up=True)
    for _ in range(120):
        world.step()
        world.tick()
    assert not world.live(IntentKind.EXIT)
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 1
    assert world.engine.state == "halted"
    assert "another account" in (world.engine.state_reason or "")
    world.sound()


def test_a_refused_exit_waits_longer_each_time(world: World) -> None:
    """An exit that the venue refuses is tried again after 2, 4, 8 s and so on, not at every pass."""
    holding(world)
    sent = []
    for _ in range(200):
        world.step()
        world.tick()
        for order in world.live(IntentKind.EXIT):
            sent.append(world.now_ns)
            world.refuse(order["req_id"], "EOrder:Insufficient funds")
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert len(sent) >= 3
    assert all(gap >= 2 * S for gap in gaps)
    assert gaps[1] > gaps[0]
    world.sound()
