"""Look-ups after a loss: missing fills are booked, orders of ours are found, and absence is concluded late and by evidence."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from engine_world import PRECISIONS, S, VenueBook, World, eventually, practice_config
from test_order_reports import noted

from cstd._fast.codes import IntentKind, Link, OrderAction, OrderState
from cstd.orders.reconcile import Finding

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
    while world.now_ns - order["sent_wall_ns"] < absent_ns + 40 * S:
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


@pytest.mark.parametrize("behind_s", [0, 30])
def test_what_the_journal_lost_is_found_though_the_venues_clock_was_behind(world: World, behind_s: int) -> None:
    """An order left with the journal's tail and was filled: its rows carry the time of a clock half a minute behind."""
    opened_s = world.now_ns / S - float(world.cfg.venue.unknown_absent_s) - behind_s
    lost = {"cl_ord_id": "ct0123456789abcdef", "qty_raw": 10_000, "sent_wall_ns": int(opened_s * S)}
    trade = rest_trade(world, 10_000) | {"time": f"{opened_s:.4f}"}
    closed = {OID: rest_order(lost, "closed", 10_000)}

    def since(rows: dict[str, Any], name: str) -> Any:
        return lambda params: {"count": len(rows), name: rows if float(params["start"]) <= opened_s else {}}

    world.rest["ClosedOrders"], world.rest["TradesHistory"] = since(closed, "closed"), since({"T1": trade}, "trades")
    world.boot(epoch=2)
    eventually(world, lambda: world.engine.state == "ready", 60)
    assert world.engine.ledger.positions[0].qty_raw == 10_000
    assert world.engine.reconciler.agreed


def others(world: World) -> tuple[int, list[dict[str, Any]]]:
    """How many open orders of others are known, and what the log was told of them."""
    known = world.engine.reconciler.strangers.open
    return len(known), noted(world, "an open order of another program: cancel-all-after would cancel it with ours")


def test_orders_of_other_programs_are_said_once(world: World) -> None:
    """The switch is account-wide: who trades by hand here is told so, once for each order; it is counted while it is open."""
    row = rest_order({"cl_ord_id": None, "qty_raw": 40_000, "sent_wall_ns": world.now_ns}, "open")
    world.rest["OpenOrders"] = {"open": {"OX": row, "OY": row}}
    for _ in range(3):
        round_of(world)
    assert others(world) == (2, [{"order_id": "OX", "pair": "XBTUSD"}, {"order_id": "OY", "pair": "XBTUSD"}])
    world.rest["OpenOrders"] = {"open": {"OY": row}}
    round_of(world)
    assert others(world)[0] == 1 and len(others(world)[1]) == 2
    assert world.engine.state == "ready"


def test_another_daemon_on_the_account_halts_until_the_next_start(world: World) -> None:
    """An open order with our prefix that no lost tail of the journal explains: openings stop, and a start asks anew."""
    world.run(float(world.cfg.venue.unknown_absent_s) + 8)
    round_of(world)
    theirs = {"cl_ord_id": "ct0123456789abcdef", "qty_raw": 40_000, "sent_wall_ns": world.now_ns}
    world.rest["OpenOrders"] = {"open": {OID: rest_order(theirs, "open")}}
    round_of(world)
    world.rest["OpenOrders"] = {"open": {}}
    world.report("canceled", theirs)
    world.run(40)
    assert world.engine.state == "halted"
    assert "ct0123456789abcdef has our prefix and is not ours: another daemon" in (world.engine.state_reason or "")
    assert len(noted(world, "another daemon trades this account")) == 1
    assert "still halted" in world.command("resume")["message"]
    world.boot(epoch=2)
    eventually(world, lambda: world.engine.state == "ready", 60)


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
    # A round that concluded nothing of an execution is followed by the next of the minute.
    eventually(world, lambda: order["cl_ord_id"] in world.engine.tracker.history, 75)
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


def opened(world: World) -> dict[str, Any]:
    """The first opening, accepted and resting, no round of look-ups under way."""
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    assert state_of(world, order) == OrderState.ORDER_OPEN
    assert not world.engine.reconciler.running
    return order


def state_of(world: World, order: dict[str, Any]) -> int | None:
    """The state of an order that is live, None of one that has ended."""
    return next((live["state"] for live in world.live() if live["cl_ord_id"] == order["cl_ord_id"]), None)


def round_of(world: World) -> None:
    """One whole round of look-ups, asked for now."""
    done = world.engine.reconciler.done_count
    world.engine.tracker.want_reconcile = True
    eventually(world, lambda: world.engine.reconciler.done_count > done)


def found(world: World, finding: Finding) -> int:
    """How often something was found."""
    return world.engine.reconciler.findings[finding]


# What vanished.


@pytest.mark.parametrize("part_raw", [0, 10_000])
def test_an_order_that_is_in_no_list_becomes_unknown(world: World, part_raw: int) -> None:
    """Open by the stream, or filled in part, and in neither list of the venue: UNKNOWN in full, then absent by evidence."""
    order = opened(world)
    if part_raw:
        world.fill(order, part_raw, "T1")
        # Each snapshot repeats the last trades: they are no sign of life.
        world.open_orders = [{"exec_type": "trade", "exec_id": "T1", "trade_id": 1, "cl_ord_id": order["cl_ord_id"],
                              "order_id": OID, "symbol": "BTC/USD", "last_qty": qty_text(part_raw), "last_price": "100000.0",
                              "cost": "10.0", "side": "buy", "timestamp": "2026-09-21T10:13:20.000000Z"}]
    leaves = order["qty_raw"] - part_raw
    round_of(world)
    assert state_of(world, order) == OrderState.ORDER_UNKNOWN
    assert [live["leaves_raw"] for live in world.live() if live["cl_ord_id"] == order["cl_ord_id"]] == [leaves]
    assert found(world, Finding.VANISHED) == 1
    began_ns = world.now_ns
    eventually(world, lambda: state_of(world, order) is None, 40)
    absent_ns = int(world.cfg.venue.unknown_absent_s * S)
    assert absent_ns <= world.now_ns - began_ns < absent_ns + 4 * S
    ended = world.engine.tracker.history[order["cl_ord_id"]]
    assert (ended["reason"], ended["filled_raw"]) == ("absent at the venue", part_raw)
    world.sound()


def test_what_the_round_came_too_early_for_is_left_alone(world: World) -> None:
    """An order that was sent while a round ran, and one that the stream told of meanwhile, are not called vanished."""
    sent: list[dict[str, Any]] = []
    balance_of = world.rest["BalanceEx"]

    def opens_meanwhile(params: dict[str, str]) -> Any:
        world.rest["BalanceEx"] = balance_of
        sent.append(world.first_order())
        world.reply(sent[0])
        world.report("new", sent[0])
        return balance_of(params)

    world.rest["BalanceEx"] = opens_meanwhile
    round_of(world)
    assert sent and state_of(world, sent[0]) == OrderState.ORDER_OPEN

    def tells_meanwhile(params: dict[str, str]) -> Any:
        world.rest["BalanceEx"] = balance_of
        world.report("status", sent[0])
        return balance_of(params)

    world.rest["BalanceEx"] = tells_meanwhile
    round_of(world)
    assert state_of(world, sent[0]) == OrderState.ORDER_OPEN
    assert found(world, Finding.VANISHED) == 0
    round_of(world)
    assert (state_of(world, sent[0]), found(world, Finding.VANISHED)) == (OrderState.ORDER_UNKNOWN, 1)


def test_a_vanished_order_that_shows_again_is_open_again(world: World) -> None:
    """A list that came late is no loss: the order is open again as soon as it is shown, and nothing is ended."""
    order = opened(world)
    round_of(world)
    assert state_of(world, order) == OrderState.ORDER_UNKNOWN
    world.rest["OpenOrders"] = {"open": {OID: rest_order(order, "open")}}
    eventually(world, lambda: state_of(world, order) == OrderState.ORDER_OPEN)
    world.run(30)
    assert order["cl_ord_id"] not in world.engine.tracker.history
    assert not [text for text in world.engine.reconciler.differences if "absent" in text]


# Absence.


@pytest.mark.parametrize("withheld", ["OpenOrders", "ClosedOrders", "TradesHistory", "BalanceEx", "executions"])
def test_absence_needs_every_source(world: World, withheld: str) -> None:
    """One of the five sources withheld, the others showing nothing: UNKNOWN for as long as it is; with it, absent."""
    order = world.first_order()
    whole = world.rest.get(withheld)
    if withheld == "executions":
        world.snapshots = False
    else:
        world.rest[withheld] = "EGeneral:Permission denied"
    while world.now_ns - order["sent_wall_ns"] < 12 * int(world.cfg.venue.unknown_absent_s * S):
        world.step()
        assert state_of(world, order) is not None
    assert state_of(world, order) == OrderState.ORDER_UNKNOWN
    world.snapshots = True
    if whole is not None:
        world.rest[withheld] = whole
    eventually(world, lambda: state_of(world, order) is None, 60)
    assert world.engine.tracker.history[order["cl_ord_id"]]["reason"] == "absent at the venue"
    assert world.engine.private.gap_count == 0
    world.sound()


def test_a_snapshot_that_shows_the_order_is_no_evidence_of_absence(world: World) -> None:
    """The look-ups show nothing, the fresh snapshot shows it open: it is open, and stays so."""
    order = world.first_order()
    world.open_orders = [{"exec_type": "new", "order_status": "new", "cl_ord_id": order["cl_ord_id"], "order_id": OID,
                          "symbol": "BTC/USD", "cum_qty": "0.00000000", "timestamp": "2026-09-21T10:13:20.000000Z"}]
    world.run(40)
    assert state_of(world, order) is not None
    assert not [text for text in world.engine.reconciler.differences if "absent" in text]


def history_of(world: World, order: dict[str, Any]) -> None:
    """The venue's history and balances show the order as filled from now on."""
    world.rest["OpenOrders"] = {"open": {}}
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, "closed", order["qty_raw"])}}
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": rest_trade(world, order["qty_raw"])}}


def test_a_history_that_lags_a_minute_loses_no_fill() -> None:
    """Absent from every list for 60 s, then shown as filled: booked once and never called absent, with the live setting."""
    world = World(practice_config(venue={"unknown_absent_s": Decimal(75)}), strategy="rehearsal").ready()
    order = world.first_order()
    while world.now_ns - order["sent_wall_ns"] < 60 * S:
        world.step()
        world.engine.tracker.want_reconcile = True
    assert state_of(world, order) == OrderState.ORDER_UNKNOWN
    history_of(world, order)
    eventually(world, lambda: state_of(world, order) is None, 30)
    world.run(30)
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]
    assert list(world.engine.ledger.fills) == ["T1"]
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_FILLED
    assert f"order {order['cl_ord_id']} is absent at the venue" not in world.engine.reconciler.differences


def test_a_clock_that_is_set_ahead_makes_no_order_absent_early() -> None:
    """The wall clock skips ten minutes while an order is UNKNOWN: the venue's lists have their time to show it all the same."""
    world = World(practice_config(venue={"unknown_absent_s": Decimal(75)}), strategy="rehearsal").ready()
    order = world.first_order()
    sent_mono_ns = world.mono_ns
    while state_of(world, order) != OrderState.ORDER_UNKNOWN:
        world.step()
    world.engine.tracker.want_reconcile = True
    world.run(8)
    world.step_wall(600 * S)
    while world.mono_ns - sent_mono_ns < 74 * S:
        world.step()
        world.engine.tracker.want_reconcile = True
        assert state_of(world, order) == OrderState.ORDER_UNKNOWN
    eventually(world, lambda: state_of(world, order) is None, 120)
    assert world.engine.tracker.history[order["cl_ord_id"]]["reason"] == "absent at the venue"
    world.sound()


@pytest.mark.parametrize("behind_s", [0, 30, 3600])
def test_an_open_order_under_our_id_is_ours_whenever_it_was_opened(world: World, behind_s: int) -> None:
    """The reply is lost and the venue's clock is behind: what is open there under our client order id is never absent."""
    order = world.first_order()
    row = {**rest_order(order, "open"), "opentm": order["sent_wall_ns"] / S - behind_s}
    world.rest["OpenOrders"] = {"open": {OID: row}}
    world.run(60)
    assert f"order {order['cl_ord_id']} is absent at the venue" not in world.engine.reconciler.differences
    assert state_of(world, order) is not None
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 1


def test_the_lag_counts_from_when_an_order_vanished() -> None:
    """It rested for minutes, was filled while the stream was away, and the lists lag 60 s: when it was sent is nothing."""
    world = World(practice_config(venue={"unknown_absent_s": Decimal(75)}), strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.rest["OpenOrders"] = {"open": {OID: rest_order(order, "open")}}
    world.run(100)
    assert state_of(world, order) is not None
    world.link(Link.LINK_PRIVATE, up=False, reason="cut")
    world.rest["OpenOrders"] = {"open": {}}
    world.run(1)
    world.link(Link.LINK_PRIVATE, up=True)
    for _ in range(59 * 4):
        world.step()
        world.engine.tracker.want_reconcile = True
    assert state_of(world, order) == OrderState.ORDER_UNKNOWN
    history_of(world, order)
    eventually(world, lambda: state_of(world, order) is None, 40)
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_FILLED
    assert list(world.engine.ledger.fills) == ["T1"]


# More than one match, and words that contradict.


def test_two_orders_with_one_client_order_id_are_not_chosen_from(world: World) -> None:
    """One id on two orders of the venue: neither row is believed, the order stays UNKNOWN, openings stop until it is one."""
    order = opened(world)
    other = "OZZZZZ-BBBBB-CCCCCC"
    rows = {OID: rest_order(order, "canceled"), other: rest_order(order, "closed", order["qty_raw"])}
    world.rest["ClosedOrders"] = {"count": 2, "closed": rows}
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T9": rest_trade(world, order["qty_raw"], other)}}
    world.move_balance("BTC", -Decimal(order["qty_raw"]).scaleb(-8))
    world.move_balance("USD", Decimal(order["qty_raw"]).scaleb(-8) * 100_000)
    round_of(world)
    world.step()
    assert state_of(world, order) == OrderState.ORDER_UNKNOWN
    assert not world.engine.ledger.fills
    assert found(world, Finding.AMBIGUOUS) == 1
    assert world.engine.state == "halted"
    assert order["cl_ord_id"] in (world.engine.state_reason or "") and other in (world.engine.state_reason or "")
    world.run(40)
    assert state_of(world, order) == OrderState.ORDER_UNKNOWN and found(world, Finding.AMBIGUOUS) == 1
    del rows[other]
    world.rest["TradesHistory"] = {"count": 0, "trades": {}}
    round_of(world)
    world.step()
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_CANCELED
    assert world.engine.state == "ready"


def test_an_order_under_another_id_of_the_venue_is_not_ours(world: World) -> None:
    """The venue gave our order an id; one row with another id under our client order id concludes nothing."""
    order = opened(world)
    world.rest["ClosedOrders"] = {"count": 1, "closed": {"OZZZZZ-BBBBB-CCCCCC": rest_order(order, "canceled")}}
    round_of(world)
    assert (state_of(world, order), found(world, Finding.AMBIGUOUS)) == (OrderState.ORDER_UNKNOWN, 1)


def test_an_older_order_with_the_same_id_is_no_match(world: World) -> None:
    """The venue lets an id be used again: a row that was opened long before ours was sent is not of ours."""
    order = opened(world)
    old = {**rest_order(order, "canceled"), "opentm": order["sent_wall_ns"] / S - 3600}
    world.rest["ClosedOrders"] = {"count": 1, "closed": {"OOLDER-BBBBB-CCCCCC": old}}
    world.rest["OpenOrders"] = {"open": {OID: rest_order(order, "open")}}
    round_of(world)
    assert (state_of(world, order), found(world, Finding.AMBIGUOUS)) == (OrderState.ORDER_OPEN, 0)


def test_a_row_of_a_clock_that_is_half_a_minute_behind_is_of_our_order(world: World) -> None:
    """Rows carry the venue's time: one opened 30 s before ours was sent is ours where the clocks are so far apart."""
    order = opened(world)
    behind = {**rest_order(order, "canceled"), "opentm": order["sent_wall_ns"] / S - 30}
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: behind}}
    round_of(world)
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_CANCELED


@pytest.mark.parametrize("word", ["frozen", "", "Closed", "untriggered"])
def test_a_status_word_in_no_table_concludes_nothing(world: World, word: str) -> None:
    """A status that nobody documented: UNKNOWN, counted, neither ended nor open, until a word comes that is known."""
    order = opened(world)
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, word)}}
    round_of(world)
    world.run(40)
    assert (state_of(world, order), found(world, Finding.STATUS_UNKNOWN)) == (OrderState.ORDER_UNKNOWN, 1)
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, "canceled")}}
    round_of(world)
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_CANCELED


def test_an_open_order_that_the_stream_called_canceled_is_taken_up_again(world: World) -> None:
    """Open by REST, canceled by the stream: said at once; what outlasts the lists' lag counts again and is canceled."""
    order = opened(world)
    world.fill(order, 10_000, "T1")
    world.engine.risk.paused = True
    world.report("canceled", order, cum_qty="0.00010000")
    world.rest["OpenOrders"] = {"open": {OID: rest_order(order, "open", 10_000)}}
    round_of(world)
    assert (state_of(world, order), found(world, Finding.REOPENED)) == (None, 1)
    began_ns = world.now_ns
    before = len(world.order_frames(OrderAction.ACTION_CANCEL))
    while world.now_ns - began_ns < int(world.cfg.venue.unknown_absent_s * S) - S:
        round_of(world)
        assert state_of(world, order) is None, "the list may lag"
    world.run(1)
    round_of(world)
    (again,) = [live for live in world.live() if live["cl_ord_id"] == order["cl_ord_id"]]
    assert again["filled_raw"] == 10_000
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == before + 1
    assert found(world, Finding.REOPENED) == 1
    world.rest["OpenOrders"] = {"open": {}}
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: rest_order(order, "canceled", 10_000)}}
    round_of(world)
    assert world.engine.tracker.history[order["cl_ord_id"]]["filled_raw"] == 10_000
    world.sound()


def test_a_cancel_between_two_reads_is_no_contradiction(world: World) -> None:
    """The list of open orders was read before the stream's word came: the order has ended and nothing is found."""
    order = opened(world)
    balance_of = world.rest["BalanceEx"]

    def canceled_meanwhile(params: dict[str, str]) -> Any:
        world.rest["BalanceEx"] = balance_of
        world.report("canceled", order)
        return balance_of(params)

    world.rest["OpenOrders"] = {"open": {OID: rest_order(order, "open")}}
    world.rest["BalanceEx"] = canceled_meanwhile
    round_of(world)
    assert order["cl_ord_id"] in world.engine.tracker.history
    assert found(world, Finding.REOPENED) == 0


def test_one_fill_with_two_quantities_is_booked_as_it_was(world: World) -> None:
    """REST shows another quantity for an exec_id that is booked: counted and said, once, and the ledger stays."""
    order = opened(world)
    world.fill(order, 10_000, "T1")
    held = dict(world.balances)
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": rest_trade(world, 20_000)}}
    world.balances.update(held)
    round_of(world)
    round_of(world)
    assert world.engine.ledger.positions[0].qty_raw == 10_000
    assert found(world, Finding.FILL_DIFFERS) == 1
    assert [text for text in world.engine.reconciler.differences if "T1" in text] == [
        "fill T1 is booked with quantity 0.00010000 and shown with 0.00020000"]


@pytest.mark.parametrize("column", ["price", "cost", "fee"])
def test_one_fill_with_another_price_cost_or_fee_is_said(world: World, column: str) -> None:
    """The history tells other money than the stream: counted and said, once; rounding is no difference."""
    order = opened(world)
    world.fill(order, 10_000, "T1")
    held = dict(world.balances)
    row = rest_trade(world, 10_000)
    world.balances.update(held)
    fill = world.engine.ledger.fills["T1"]
    row |= {"price": str(fill.price), "cost": f"{fill.cost:.4f}", "fee": f"{sum(amount for _, amount in fill.fees):.4f}"}
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": row}}
    round_of(world)
    assert found(world, Finding.FILL_DIFFERS) == 0
    row[column] = str(Decimal(row[column]) + Decimal("0.5"))
    round_of(world)
    round_of(world)
    assert found(world, Finding.FILL_DIFFERS) == 1
    (text,) = [text for text in world.engine.reconciler.differences if "T1" in text]
    assert f"booked with {column} " in text and text.endswith(f"shown with {row[column]}")


def test_a_fill_that_the_stream_told_without_its_fee_is_said(world: World) -> None:
    """What came without a fee is booked without one; the history's fee is a difference that somebody must look at."""
    order = opened(world)
    world.report("trade", order, exec_id="T1", last_qty="0.00010000", last_price=str(Decimal(order["price_raw"]).scaleb(-1)))
    fill = world.engine.ledger.fills["T1"]
    row = rest_trade(world, 10_000) | {"price": str(fill.price), "cost": str(fill.cost), "fee": "0.0625"}
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": row}}
    round_of(world)
    assert [text for text in world.engine.reconciler.differences if "T1" in text] == [
        "fill T1 is booked with fee 0 and shown with 0.0625"]


# Names.


@pytest.mark.parametrize(("name", "code", "pair"), [
    ("BTC/USD", "XXBT", "XXBTZUSD"), ("BTC/USD", "XBT", "XBTUSD"), ("BTC/USD", "BTC", "BTC/USD"), ("BTC/USD", "XXBT", "XBT/USD"),
    ("DOGE/USD", "XXDG", "XDGUSD"), ("DOGE/USD", "XDG", "XDG/USD"), ("DOGE/USD", "DOGE", "DOGEUSD")])
def test_every_spelling_of_assets_and_pairs_is_read(monkeypatch: pytest.MonkeyPatch, name: str, code: str, pair: str) -> None:
    """Balances and orders under the venue's older names: the balance is the user's, a lost order of ours is taken up."""
    monkeypatch.setitem(PRECISIONS, "DOGE/USD", (7, 8))
    world = World(practice_config(("BTC/USD", "DOGE/USD")))
    world.books["DOGE/USD"] = VenueBook("DOGE/USD", 3_000_000, 3_000_001, 500_000_000_000)
    world.balances["DOGE"] = "7.00000000"
    base = name.partition("/")[0]
    world.rest["BalanceEx"] = lambda params: {
        {base: code, "USD": "ZUSD"}.get(asset, asset): row for asset, row in world._balance_ex(params).items()}
    world.ready()
    assert world.engine.reconciler.own[base] == Decimal(world.balances[base]) > 0
    lost = {"cl_ord_id": "ct0123456789abcdef", "qty_raw": 40_000, "sent_wall_ns": world.now_ns - S}
    row = rest_order(lost, "open", descr={"pair": pair, "type": "buy", "price": "0.1"})
    world.rest["OpenOrders"] = {"open": {OID: row}}
    round_of(world)
    assert [world.names[live["instrument"]] for live in world.live()] == [name]
    world.sound()


# The rhythm.


class VenueCounter(list[tuple[str, dict[str, str]]]):
    """What is asked of the venue, counted as the slowest tier does: 15 points, of which a third falls off each second."""

    COSTS: ClassVar[dict[str, int]] = {"OpenOrders": 1, "ClosedOrders": 2, "TradesHistory": 2, "BalanceEx": 1}

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._last_ns = world.mono_ns
        self.highest = self._points = Decimal(2)     # the key's rights and a token

    def append(self, call: tuple[str, dict[str, str]]) -> None:
        """One call arrives at the venue."""
        passed_ns = self._world.mono_ns - self._last_ns
        self._last_ns += passed_ns
        self._points = max(Decimal(0), self._points - Decimal(passed_ns) / S * Decimal("0.33")) + self.COSTS.get(call[0], 0)
        self.highest = max(self.highest, self._points)


@pytest.mark.parametrize("demanded", [False, True])
def test_an_hour_of_rounds_stays_inside_the_counter(demanded: bool) -> None:
    """The interval alone starts round after round; nor do rounds that are always wanted pass the slowest tier's counter."""
    world = World(practice_config(venue={"tier": "starter"}))
    counter = world.asked = VenueCounter(world)
    world.ready()
    eventually(world, lambda: not world.engine.reconciler.running)
    done = world.engine.reconciler.done_count
    for _ in range(3600):
        world.engine.tracker.want_reconcile = demanded
        world.step(1.0)
        assert demanded or not world.engine.tracker.want_reconcile
    rounds = world.engine.reconciler.done_count - done
    assert 6 < counter.highest <= 15
    assert rounds >= 180 if demanded else 58 <= rounds <= 60
    world.sound()
