"""Cancels by REST: while the private socket is down, openings are pulled, kills work, and what became of orders is found."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cstd._fast.codes import Link, OrderAction, OrderState
from cstd._fast.gateway import RestCancel
from cstd.clock import SystemClock
from cstd.errors import InvariantError
from cstd.orders.rest_cancels import AGAIN_AFTER_NS, PULL_AFTER_NS
from cstd.storage.journal import open_journal
from cstd.venue.http import HttpClient
from cstd.venue.rest.request import RestRequest
from tests.scenario.engine_world import S, World, eventually, practice_config, replayed

ORDER_ID = "OAAAAA-BBBBB-CCCCCC"


def resting(journal: Any = None, *, exclusive: bool = False) -> tuple[World, dict[str, Any]]:
    """A ready engine with one opening that rests at the venue."""
    world = World(practice_config(account={"exclusive": exclusive}), strategy=None, journal=journal).ready()
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    (order,) = world.live()
    assert order["state"] == OrderState.ORDER_OPEN
    return world, order


def down(world: World) -> None:
    """The private socket breaks."""
    world.link(Link.LINK_PRIVATE, up=False, reason="cut")


def pass_without_private(world: World, seconds: float) -> None:
    """Time passes on the public socket alone."""
    world.run_on(Link.LINK_PUBLIC, seconds)


def cancels(world: World) -> list[dict[str, str]]:
    """Parameters of the cancels that went by REST."""
    return [params for method, params in world.asked if method == "CancelOrder"]


def closed_row(order: dict[str, Any], world: World, status: str, executed: str = "0.00000000") -> dict[str, Any]:
    """The order as the closed orders show it."""
    return {ORDER_ID: {"cl_ord_id": order["cl_ord_id"], "status": status, "vol_exec": executed, "reason": "User requested",
                       "opentm": order["sent_wall_ns"] / S, "vol": "1", "descr": {"pair": "XBTUSD", "type": "buy", "price": "1"}}}


def test_openings_are_pulled_when_the_private_socket_stays_down() -> None:
    """Three seconds without a private socket: the resting order is canceled by REST, once, and found canceled by look-ups."""
    world, order = resting()
    world.rest["CancelOrder"] = {"count": 1}
    down(world)
    pass_without_private(world, PULL_AFTER_NS / S - 0.5)
    assert not cancels(world), "a reconnect is given its time"
    world.rest["ClosedOrders"] = {"closed": closed_row(order, world, "canceled"), "count": 1}
    pass_without_private(world, 4)
    assert cancels(world) == [{"cl_ord_id": order["cl_ord_id"]}]
    assert world.order_frames(OrderAction.ACTION_CANCEL_REST) == [f"CancelOrder?cl_ord_id={order['cl_ord_id']}".encode()]
    assert not world.order_frames(OrderAction.ACTION_CANCEL), "nothing was put on a socket that is not there"
    assert not world.live()
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_CANCELED
    assert world.engine.state == "reconciling", "without a private socket nothing is ready"
    assert world.counters()["rest_cancels"] == 1
    world.sound()


def test_kill_without_a_private_socket() -> None:
    """A kill cancels by REST at once, and says how long the venue took to show none."""
    world, order = resting()
    world.rest["CancelOrder"] = {"count": 1}
    down(world)
    assert world.command("kill", reason="test")["pulled"] == 1
    assert cancels(world) == [{"cl_ord_id": order["cl_ord_id"]}], "not a tick later"
    world.rest["ClosedOrders"] = {"closed": closed_row(order, world, "canceled"), "count": 1}
    pass_without_private(world, 12)
    assert not world.live()
    assert world.engine.risk.kill_shown_empty_ns is not None
    assert world.engine.state == "killed"


@pytest.mark.parametrize("error", ["EOrder:Unknown order", "EOrder:Invalid order"])
def test_a_fill_that_the_cancel_met_is_booked_once(error: str) -> None:
    """The order was filled when its cancel came: the look-up books the fill, and the snapshot of the new socket not again."""
    world, order = resting()
    qty = f"{order['qty_raw'] / 1e8:.8f}"
    price = f"{order['price_raw'] / 10:.1f}"
    cost = f"{order['qty_raw'] * order['price_raw'] / 1e9:.5f}"

    def gone(_params: dict[str, str]) -> str:
        world.rest["ClosedOrders"] = {"closed": closed_row(order, world, "closed", qty), "count": 1}
        world.rest["TradesHistory"] = {"count": 1, "trades": {"TAAAAA-BBBBB-CCCCCC": {
            "ordertxid": ORDER_ID, "vol": qty, "price": price, "cost": cost, "fee": "0", "time": world.now_ns / S}}}
        world.move_balance("BTC", Decimal(qty))
        return error

    world.rest["CancelOrder"] = gone
    down(world)
    pass_without_private(world, 6)
    assert cancels(world)
    assert not world.live()
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]
    world.link(Link.LINK_PRIVATE, up=True)
    world.executions({"exec_type": "trade", "exec_id": "TAAAAA-BBBBB-CCCCCC", "cl_ord_id": order["cl_ord_id"],
                      "order_id": ORDER_ID, "last_qty": qty, "last_price": price, "cost": cost, "symbol": "BTC/USD",
                      "timestamp": "2026-09-21T10:13:20.000000Z"})
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]
    assert len(world.engine.ledger.fills) == 1


@pytest.mark.parametrize("error", ["EService:Unavailable", "EGeneral:Internal error", "EAPI:Invalid nonce"])
def test_a_cancel_that_failed_goes_again(error: str) -> None:
    """A cancel without a good answer is repeated after a pause, as often as it takes, and never faster."""
    world, order = resting()
    world.rest["CancelOrder"] = error
    down(world)
    pass_without_private(world, PULL_AFTER_NS / S + 3 * AGAIN_AFTER_NS / S + 1)
    assert 3 <= len(cancels(world)) <= 4
    assert [o["cl_ord_id"] for o in world.live()] == [order["cl_ord_id"]], "no answer and no look-up is evidence of absence"
    assert world.live()[0]["state"] == OrderState.ORDER_UNKNOWN


def test_a_cancel_that_was_lost_goes_again_on_the_new_socket() -> None:
    """A kill while the socket was down and REST failed: the order is found open on the new socket and canceled there."""
    world, order = resting()
    world.rest["CancelOrder"] = "EService:Unavailable"
    down(world)
    world.command("kill", reason="test")
    pass_without_private(world, 1)
    world.open_orders = [{"exec_type": "new", "order_status": "new", "cl_ord_id": order["cl_ord_id"], "order_id": ORDER_ID,
                          "symbol": "BTC/USD", "cum_qty": "0.00000000", "timestamp": "2026-09-21T10:13:20.000000Z"}]
    world.link(Link.LINK_PRIVATE, up=True)
    eventually(world, lambda: bool(world.order_frames(OrderAction.ACTION_CANCEL)))
    assert json.loads(world.order_frames(OrderAction.ACTION_CANCEL)[-1])["params"]["cl_ord_id"] == [order["cl_ord_id"]]


def test_kill_of_an_exclusive_account_asks_for_all() -> None:
    """Where the account is ours alone, one further call reaches what the table may have lost."""
    world, order = resting(exclusive=True)
    world.rest["CancelOrder"] = world.rest["CancelAll"] = {"count": 1}
    down(world)
    world.command("kill", reason="test")
    pass_without_private(world, 1)
    assert [method for method, _ in world.asked if method.startswith("Cancel")] == ["CancelOrder", "CancelAll"]
    assert order["cl_ord_id"] in cancels(world)[0].values()


def test_replay_makes_the_same_cancels(tmp_path: Path) -> None:
    """The journal of such a session replays without a difference, its cancels by REST among what is compared."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 26, segment_bytes=1 << 26,
                      sync_interval_ms=20) as journal:
        world, _order = resting(journal)
        world.rest["CancelOrder"] = {"count": 1}
        down(world)
        pass_without_private(world, 5)
        assert cancels(world)
        journal.sync()
    again = replayed(tmp_path / "journal")
    assert again.differences == []
    assert again.engine.recorder.hexdigest() == world.recorder.hexdigest()
    assert again.engine.core.counter_values()["rest_cancels"] == world.counters()["rest_cancels"] == 1


def test_only_the_gateways_cancel_leaves() -> None:
    """The HTTP client sends no order request but one that carries the gateway's own, unchanged."""
    world, order = resting()
    down(world)
    world.core.cancel_order(world.core.live_orders()[0], 0)
    (cancel,) = world.core.take_rest_cancels()
    made = RestRequest(cancel.method, True, cancel.params, cancel)
    assert made.made_by_gateway
    others = [
        RestRequest("CancelOrder", True, made.params), RestRequest("CancelOrder", True, made.params, RestCancel()),
        RestRequest("CancelOrder", True, (("cl_ord_id", "another"),), cancel),
        RestRequest("CancelOrder", True, made.params, SimpleNamespace(method="CancelOrder", params=made.params)),  # type: ignore[arg-type]
        RestRequest("AddOrder", True, made.params, cancel), RestRequest("AddOrder", True, (), RestCancel())]
    client = HttpClient("http://127.0.0.1:1", clock=SystemClock())
    for request in others:
        assert not request.made_by_gateway
        with pytest.raises(InvariantError, match="outside the gateway"):
            asyncio.run(client.call(request, S))
    with pytest.raises(AttributeError):
        cancel.method = "AddOrder"  # type: ignore[misc]
    assert order["cl_ord_id"] == dict(made.params)["cl_ord_id"]


def test_a_cancel_that_cannot_be_recorded_does_not_leave(tmp_path: Path) -> None:
    """What is not on record does not happen, by REST neither: the engine halts."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 26, segment_bytes=1 << 26,
                      sync_interval_ms=20) as journal:
        world, _order = resting(journal)
        down(world)
    world.core.cancel_order(world.core.live_orders()[0], 0)
    assert world.core.take_rest_cancels() == []
    assert world.recorder.failed
