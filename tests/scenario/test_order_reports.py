"""Every kind of execution report, silence after a cancel, and what cannot be: each ends definitely, nothing is guessed."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from cstd._fast.codes import OrderAction, OrderState
from tests.scenario.engine_world import BTC, S, World, eventually
from tests.scenario.test_orders_tracker import OID, ended, filled_at_venue, rest_order, state


@pytest.fixture
def world() -> World:
    """A ready engine with the rehearsal strategy."""
    return World(strategy="rehearsal").ready()


@pytest.fixture
def order(world: World) -> dict[str, Any]:
    """The first opening: sent, not answered."""
    return world.first_order()


# Every kind of report.


def text(raw: int) -> str:
    """A raw quantity as the venue prints it."""
    return f"{Decimal(raw).scaleb(-8):f}"


def contradictions(world: World) -> int:
    """How often the venue has contradicted itself."""
    return int(world.engine.tracker.contradiction_count)


def noted(world: World, event: str) -> list[dict[str, Any]]:
    """What was put into the log of one event."""
    return [fields for _, name, fields in world.engine.notes if name == event]


@pytest.mark.parametrize(("exec_type", "expected"), [
    ("pending_new", OrderState.ORDER_OPEN), ("new", OrderState.ORDER_OPEN), ("amended", OrderState.ORDER_OPEN),
    ("restated", OrderState.ORDER_OPEN), ("status", OrderState.ORDER_OPEN), ("iceberg_refill", OrderState.ORDER_OPEN),
    ("canceled", OrderState.ORDER_CANCELED), ("expired", OrderState.ORDER_EXPIRED), ("trade", OrderState.ORDER_FILLED),
    ("filled", OrderState.ORDER_UNKNOWN), ("moved_to_the_moon", OrderState.ORDER_OPEN)])
def test_every_kind_of_report_of_an_open_order(world: World, order: dict[str, Any], exec_type: str,
                                               expected: OrderState) -> None:
    """Each exec_type moves an order as documented; one that nobody knows moves nothing, is counted and looked up."""
    world.reply(order)
    world.report("new", order)
    eventually(world, lambda: not world.engine.tracker.want_reconcile)
    world.answering = False
    if exec_type == "trade":
        world.fill(order, order["qty_raw"], "T1")
    else:
        world.report(exec_type, order, order_qty=text(order["qty_raw"]), cum_qty="0", display_qty=text(order["qty_raw"] // 2),
                     display_qty_remain=text(order["qty_raw"] // 4), order_status="new" if expected < 7 else exec_type)
    unknown = exec_type == "moved_to_the_moon"
    if expected in (OrderState.ORDER_OPEN, OrderState.ORDER_UNKNOWN):
        assert state(world, order) == expected
        assert world.live()[0]["leaves_raw"] == order["qty_raw"]
    else:
        assert ended(world, order)["state"] == expected and not world.live()
    assert world.engine.tracker.want_reconcile is (unknown or exec_type == "filled")
    assert world.engine.tracker.unknown_type_count == unknown
    assert noted(world, "unknown exec_type") == ([{"exec_type": exec_type}] if unknown else [])
    assert contradictions(world) == 0
    assert world.engine.ledger.positions[0].qty_raw == (order["qty_raw"] if exec_type == "trade" else 0)


@pytest.mark.parametrize("share", [2, 3])
def test_a_restated_order_has_the_venues_quantity(world: World, order: dict[str, Any], share: int) -> None:
    """The venue changed the quantity by itself: that is what counts, and what fills it."""
    world.reply(order)
    world.report("new", order)
    smaller = order["qty_raw"] // share
    world.report("restated", order, order_qty=text(smaller), reason="Quantity restated", cum_qty="0")
    assert (world.live()[0]["qty_raw"], world.live()[0]["leaves_raw"]) == (smaller, smaller)
    assert noted(world, "the venue changed an order")[0]["reason"] == "Quantity restated"
    assert not world.order_frames(OrderAction.ACTION_CANCEL)
    world.fill(order, smaller, "T1")
    assert ended(world, order)["state"] == OrderState.ORDER_FILLED and contradictions(world) == 0


def test_a_restated_order_that_became_larger_is_judged_again(world: World, order: dict[str, Any]) -> None:
    """A larger quantity counts at once; what the gates do not let pass of it does not stay."""
    world.reply(order)
    world.report("new", order)
    before = world.core.exposure()
    world.report("restated", order, order_qty=text(order["qty_raw"] * 50), reason="?")
    assert world.core.exposure() > 40 * before
    world.tick()
    assert world.order_frames(OrderAction.ACTION_AMEND) or world.order_frames(OrderAction.ACTION_CANCEL)


@pytest.mark.parametrize("fields", [{}, {"order_qty": "0"}, {"order_qty": "0.000000001"}, {"limit_price": "99999.9"}],
                         ids=["nothing said", "nothing left", "no lot", "another price"])
def test_terms_that_no_gate_judged_do_not_stay(world: World, order: dict[str, Any], fields: dict[str, str]) -> None:
    """Restated without a quantity that can be meant, or to another price: looked up where it is not known, and canceled."""
    world.reply(order)
    world.report("new", order)
    eventually(world, lambda: not world.engine.tracker.want_reconcile)
    world.answering = False
    if "limit_price" in fields:
        fields = fields | {"order_qty": text(order["qty_raw"])}
    world.report("restated", order, reason="Market moved", **fields)
    assert state(world, order) == OrderState.ORDER_CANCEL_PENDING
    assert world.live()[0]["leaves_raw"] == order["qty_raw"]
    assert world.engine.tracker.want_reconcile is ("limit_price" not in fields)
    assert noted(world, "the venue changed an order")[0]["reason"] == "Market moved"


def test_an_iceberg_of_ours_that_the_journal_lost(world: World) -> None:
    """Known by its prefix, its displayed part and its refills change no quantity: it is taken up, canceled, each fill once."""
    lost = world.engine.cfg.account.owner_prefix + "iceberg000000000"
    qty, shown = 90_000, 10_000
    row = {"status": "open", "cl_ord_id": lost, "vol": text(qty), "vol_exec": "0.00000000", "opentm": world.now_ns / S,
           "displayvol": text(shown), "descr": {"pair": "XBTUSD", "type": "buy", "price": "100000.0"}}
    world.rest["OpenOrders"] = {"open": {OID: row}}
    ice = {"cl_ord_id": lost, "side": 1, "instrument": 0, "price_raw": 1_000_000}
    shows = {"display_qty": text(shown), "order_type": "iceberg", "order_qty": text(qty)}
    world.report("new", ice, display_qty_remain=text(shown), **shows)
    eventually(world, lambda: bool(world.live()))
    assert (world.live()[0]["qty_raw"], world.live()[0]["filled_raw"]) == (qty, 0)
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == 1
    for number in (1, 2, 3):
        world.fill(ice, shown, f"T{number}", cum_qty=text(number * shown), display_qty_remain="0", **shows)
        world.report("iceberg_refill", ice, cum_qty=text(number * shown), display_qty_remain=text(shown), **shows)
        live = world.live()[0]
        assert (live["qty_raw"], live["filled_raw"]) == (qty, number * shown)
    assert world.engine.ledger.positions[0].qty_raw == 3 * shown and contradictions(world) == 0
    world.rest["OpenOrders"] = {"open": {}}
    world.report("canceled", ice, cum_qty=text(3 * shown), reason="User requested")
    assert ended(world, ice)["filled_raw"] == 3 * shown
    eventually(world, lambda: world.engine.state == "ready")


def test_an_order_by_quote_quantity_of_ours_that_the_journal_lost(world: World) -> None:
    """Reported without a quantity in base: its trades are booked, once, and `filled` ends with nothing live."""
    lost = world.engine.cfg.account.owner_prefix + "cash000000000000"
    cash = {"cl_ord_id": lost, "side": 1, "instrument": 0, "price_raw": 1_000_000}
    trades = {f"T{n}": {"ordertxid": OID, "vol": text(10_000), "price": "100000.0", "cost": "10.00000", "fee": "0.025",
                        "time": world.now_ns / S} for n in (1, 2)}
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: {
        "status": "closed", "cl_ord_id": lost, "vol": "20.00000000", "vol_exec": text(20_000), "opentm": world.now_ns / S,
        "oflags": "fciq,viqc", "descr": {"pair": "XBTUSD", "type": "buy", "price": "0"}}}}
    world.rest["TradesHistory"] = {"count": 2, "trades": trades}
    world.report("pending_new", cash, cash_order_qty="20.0", order_type="market", symbol=BTC, side="buy", cum_qty="0")
    world.fill(cash, 10_000, "T1", order_type="market", cash_order_qty="20.0", fee="0.025")
    world.fill(cash, 10_000, "T2", order_type="market", cash_order_qty="20.0", fee="0.025")
    world.report("filled", cash, cash_order_qty="20.0", cum_qty=text(20_000), order_status="filled")
    eventually(world, lambda: lost in world.engine.tracker.history and not world.live())
    assert ended(world, cash)["state"] == OrderState.ORDER_FILLED
    assert list(world.engine.ledger.fills) == ["T1", "T2"]
    assert world.engine.ledger.positions[0].qty_raw == 20_000
    assert world.engine.ledger.cash_flow == Decimal("-20.05")
    eventually(world, lambda: world.engine.state == "ready")


# Silence.


@pytest.mark.parametrize("end", ["canceled late", "still open", "filled meanwhile"])
def test_a_cancel_without_an_answer_comes_to_an_end(world: World, order: dict[str, Any], end: str) -> None:
    """UNKNOWN after five seconds and looked up; where it is open still the cancel goes again, until an end is told."""
    world.reply(order)
    world.report("new", order)
    looked_up: list[tuple[int, int]] = []

    def shows_open(_params: dict[str, str]) -> dict[str, Any]:
        looked_up.extend((live["state"], live["leaves_raw"]) for live in world.live())
        return {"open": {OID: rest_order(order, "open", Decimal(0))}}

    world.rest["OpenOrders"] = shows_open
    world.command("pause")
    assert state(world, order) == OrderState.ORDER_CANCEL_PENDING
    looked_up.clear()
    world.run(4.75)
    assert not noted(world, "order unanswered") and not looked_up
    if end == "filled meanwhile":
        world.answering = False
    world.step(0.5)
    assert len(noted(world, "order unanswered")) == 1
    assert looked_up == ([] if end == "filled meanwhile" else [(OrderState.ORDER_UNKNOWN, order["qty_raw"])])
    world.answering = True
    if end == "filled meanwhile":
        world.rest["OpenOrders"] = {"open": {}}
        filled_at_venue(world, order)
    else:
        for round_ in (2, 3):
            for _ in range(40):
                world.step()
                world.tick()
                if len(world.order_frames(OrderAction.ACTION_CANCEL)) == round_:
                    break
            assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == round_
        world.rest["OpenOrders"] = {"open": {}}
        if end == "still open":
            world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, "canceled", Decimal(0))}}
        else:
            world.report("canceled", order, cum_qty="0", reason="User requested")
    eventually(world, lambda: not world.live(), 60)
    assert ended(world, order)["state"] == (OrderState.ORDER_FILLED if end == "filled meanwhile" else OrderState.ORDER_CANCELED)


def test_a_cancel_of_an_unknown_order_is_not_forgotten(world: World, order: dict[str, Any]) -> None:
    """Canceled while UNKNOWN, without an answer, then found open: the next reason to cancel sends another one."""
    world.answering = False
    for _ in range(16):
        world.step()
    assert state(world, order) == OrderState.ORDER_UNKNOWN
    world.command("pause")
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == 1
    world.rest["OpenOrders"] = {"open": {OID: rest_order(order, "open", Decimal(0))}}
    world.answering = True
    for _ in range(60):
        world.step()
        world.tick()
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) >= 3


def test_a_cancel_in_flight_when_a_snapshot_shows_the_order_goes_again(world: World, order: dict[str, Any]) -> None:
    """A gap took the answer; the snapshot after it shows the order open: it does not rest unwatched."""
    world.reply(order)
    world.report("new", order)
    row = {"exec_type": "status", "order_id": OID, "cl_ord_id": order["cl_ord_id"], "order_status": "new", "cum_qty": 0}
    world.command("pause")
    world.rest["OpenOrders"] = {"open": {OID: rest_order(order, "open", Decimal(0))}}
    world.executions(row, snapshot=True)
    assert state(world, order) == OrderState.ORDER_OPEN
    for _ in range(40):
        world.step()
        world.tick()
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) >= 2


# What cannot be.


def test_new_after_filled_changes_nothing(world: World, order: dict[str, Any]) -> None:
    """A late `pending_new` or `new` does not bring a filled order back."""
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    for exec_type in ("pending_new", "new", "amended", "canceled", "filled"):
        world.report(exec_type, order, cum_qty="0")
    assert ended(world, order)["state"] == OrderState.ORDER_FILLED and not world.live()
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"] and contradictions(world) == 0


@pytest.mark.parametrize("told", ["below", "above"])
def test_a_cancel_with_another_cumulative_quantity(world: World, order: dict[str, Any], told: str) -> None:
    """Above what is booked, the order counts until its trades are found; below, what was booked stays and is looked up."""
    world.reply(order)
    half = order["qty_raw"] // 2
    world.fill(order, half, "T1")
    world.answering = False
    world.report("canceled", order, cum_qty=text(half - 5 if told == "below" else half + 5), reason="User requested")
    assert world.engine.ledger.positions[0].qty_raw == half and world.engine.tracker.want_reconcile
    if told == "above":
        assert state(world, order) == OrderState.ORDER_UNKNOWN and contradictions(world) == 0
        assert world.live()[0]["leaves_raw"] == order["qty_raw"] - half
        world.answering = True
        world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, "canceled", Decimal(text(half + 5)))}}
        world.move_balance("BTC", Decimal(text(5)))
        world.rest["TradesHistory"] = {"count": 1, "trades": {"T2": {
            "ordertxid": OID, "time": world.now_ns / S, "price": "100000.0", "vol": text(5), "cost": "0.005", "fee": "0"}}}
        eventually(world, lambda: not world.live())
        assert world.engine.ledger.positions[0].qty_raw == half + 5
    else:
        assert contradictions(world) == 1 and noted(world, "the venue contradicts itself")
    assert ended(world, order)["state"] == OrderState.ORDER_CANCELED


@pytest.mark.parametrize("true", [True, False], ids=["the balance agrees", "the balance does not"])
def test_more_than_was_ordered(world: World, order: dict[str, Any], *, true: bool) -> None:
    """An execution beyond the ordered quantity is booked and counted; where the balances do not have it, trading halts."""
    world.reply(order)
    before = dict(world.balances)
    world.fill(order, order["qty_raw"], "T1")
    kept = dict(world.balances)
    world.fill(order, 7_000, "T2")
    assert before != kept != world.balances
    if not true:
        world.balances = kept
    assert contradictions(world) == 1
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"] + 7_000
    assert ended(world, order)["filled_raw"] == order["qty_raw"] + 7_000
    world.command("pause")
    world.run(15)
    assert (world.engine.state == "halted") is not true, world.engine.state_reason
    if not true:
        assert "balances: BTC -0.00007" in str(world.engine.state_reason)


@pytest.mark.parametrize("fields", [{"last_qty": "0.00000001"}, {"last_price": "1.0"}], ids=str)
def test_one_execution_told_differently(world: World, order: dict[str, Any], fields: dict[str, str]) -> None:
    """The first word about an execution stands; another one is counted, looked up and changes nothing."""
    world.reply(order)
    half = order["qty_raw"] // 2
    world.fill(order, half, "T1")
    cash = world.engine.ledger.cash_flow
    again = {"exec_id": "T1", "last_qty": text(half), "last_price": f"{order['price_raw'] / 10}", "cost": "1.0", "fees": []}
    world.report("trade", order, **again)
    assert contradictions(world) == 0
    world.report("trade", order, **(again | fields))
    assert contradictions(world) == 1 and "T1" in noted(world, "the venue contradicts itself")[0]["what"]
    assert (world.engine.ledger.positions[0].qty_raw, world.engine.ledger.cash_flow) == (half, cash)
    assert world.live()[0]["filled_raw"] == half


def test_an_execution_of_a_refused_order(world: World, order: dict[str, Any]) -> None:
    """Refused, and then executed: the fill is a fact, and that the venue contradicted itself is counted."""
    world.refuse(order["req_id"], "EOrder:Insufficient funds")
    world.fill(order, order["qty_raw"], "T1")
    assert contradictions(world) == 1
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]


def test_a_refusal_of_an_order_that_is_there(world: World, order: dict[str, Any]) -> None:
    """Open, and then refused: it is not called rejected, it counts until it is looked up."""
    world.report("new", order)
    world.answering = False
    world.refuse(order["req_id"], "EOrder:Insufficient funds")
    assert state(world, order) == OrderState.ORDER_UNKNOWN and contradictions(world) == 1
    assert world.engine.tracker.rejected_count == 0 and world.core.exposure() > 0


@pytest.mark.parametrize("way", ["new", "snapshot"])
def test_an_order_that_ended_here_and_rests_there_is_canceled(world: World, order: dict[str, Any], way: str) -> None:
    """Refused, and then live at the venue: it is taken up again with all its exposure, and canceled; nothing rests unwatched."""
    world.refuse(order["req_id"], "EOrder:Insufficient funds")
    assert not world.live()
    world.answering = False
    if way == "new":
        world.report("new", order)
    else:
        world.executions({"exec_type": "new", "order_id": OID, "cl_ord_id": order["cl_ord_id"], "order_status": "new",
                          "cum_qty": 0, "order_qty": text(order["qty_raw"])}, snapshot=True)
    (live,) = [found for found in world.live() if found["cl_ord_id"] == order["cl_ord_id"]]
    assert (live["state"], live["leaves_raw"]) == (OrderState.ORDER_CANCEL_PENDING, order["qty_raw"])
    assert live["order_id"] == OID and world.core.exposure() > 0 and contradictions(world) == 1
    (frame,) = world.order_frames(OrderAction.ACTION_CANCEL)
    assert order["cl_ord_id"].encode() in frame
    world.report("canceled", order, cum_qty="0")
    assert ended(world, order)["state"] == OrderState.ORDER_CANCELED


def test_a_filled_order_that_a_snapshot_shows_open_is_canceled(world: World, order: dict[str, Any]) -> None:
    """More of it rests than we know of, or the snapshot is old: a cancel and a look-up find out, and no fill is counted twice."""
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    world.answering = False
    world.executions({"exec_type": "status", "order_id": OID, "cl_ord_id": order["cl_ord_id"], "order_status": "new",
                      "cum_qty": text(order["qty_raw"]), "order_qty": text(2 * order["qty_raw"])}, snapshot=True)
    (live,) = [found for found in world.live() if found["cl_ord_id"] == order["cl_ord_id"]]
    assert (live["state"], live["leaves_raw"]) == (OrderState.ORDER_CANCEL_PENDING, order["qty_raw"])
    assert contradictions(world) == 1
    (frame,) = world.order_frames(OrderAction.ACTION_CANCEL)
    world.answering = True
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, "closed", Decimal(text(order["qty_raw"])))}}
    world.refuse(json.loads(frame)["req_id"], "EOrder:Unknown order", "cancel_order")
    eventually(world, lambda: order["cl_ord_id"] in world.engine.tracker.history)
    assert ended(world, order)["state"] == OrderState.ORDER_FILLED
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"] and list(world.engine.ledger.fills) == ["T1"]


# Bounds.


def test_an_execution_older_than_the_history_counts_once(world: World, order: dict[str, Any],
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders leave the history at its bound, executions are never forgotten: each counts once, however old."""
    monkeypatch.setattr("cstd.orders.tracker.HISTORY_MAX", 2)
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    orders = [order]
    while len(orders) < 4:
        eventually(world, lambda: len(world.live()) == 1, 60)
        (other,) = world.live()
        oid = f"OAAAAA-BBBBB-{len(orders):06d}"
        world.reply(other, oid)
        world.fill(other, other["qty_raw"], f"T{len(orders) + 1}", oid)
        orders.append(other)
        world.tick()
    tracker, ledger = world.engine.tracker, world.engine.ledger
    assert list(tracker.history) == [known["cl_ord_id"] for known in orders[-2:]]
    assert set(tracker.by_order_id) <= {known["order_id"] for known in tracker.history.values()}
    held, cash, fills = ledger.positions[0].qty_raw, ledger.cash_flow, list(ledger.fills)
    balances = dict(world.balances)
    eventually(world, lambda: not tracker.want_reconcile)
    world.answering = False
    for number, old in enumerate(orders, 1):
        world.fill(old, old["qty_raw"], f"T{number}", f"OAAAAA-BBBBB-{number - 1:06d}" if number > 1 else OID)
    world.balances = balances
    assert (ledger.positions[0].qty_raw, ledger.cash_flow, list(ledger.fills)) == (held, cash, fills)
    assert not tracker.want_reconcile and contradictions(world) == 0
