"""When this happens, the promise holds: what users of other daemons lost money by, each as a scenario of its own.

Other files hold the rest: silent subscriptions, gaps and tokens in tests/venue; books in test_bad_input; unknown orders,
replies in any order, repeated fills in test_orders_tracker; look-ups in test_reconcile; cancels by REST in test_rest_cancels.
docs/regressions.md names each with its test.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from engine_world import BTC, REST_NAMES, S, World, eventually, instrument_row, next_order, practice_config, time_text
from test_bad_input import instrument_frame

from cstd._fast.codes import IntentKind, Link, OrderAction, OrderState, Side
from cstd._fast.journal import Journal
from cstd.daemon.checkpointer import bring_up_to_date
from cstd.engine.recovery import Recovered, recover
from cstd.orders.balances import MOVES_KEPT
from cstd.storage.journal import open_journal

OID = "OAAAAA-BBBBB-CCCCCC"


@pytest.fixture
def world() -> World:
    """A ready engine with the rehearsal strategy."""
    return World(strategy="rehearsal").ready()


def closed(order: dict[str, Any], status: str, executed_raw: int) -> dict[str, Any]:
    """One entry of ClosedOrders."""
    return {"status": status, "vol_exec": f"{executed_raw / 1e8:.8f}", "cl_ord_id": order["cl_ord_id"], "reason": "",
            "opentm": order["sent_wall_ns"] / S, "vol": f"{order['qty_raw'] / 1e8:.8f}",
            "descr": {"pair": REST_NAMES[BTC], "type": "buy", "price": "1"}}


def trade(order: dict[str, Any], world: World) -> dict[str, Any]:
    """The whole order as one entry of TradesHistory."""
    price, qty = Decimal(order["price_raw"]) / 10, Decimal(order["qty_raw"]).scaleb(-8)
    return {"ordertxid": OID, "vol": f"{qty:f}", "price": f"{price:f}", "cost": f"{price * qty:f}", "fee": "0",
            "time": world.now_ns / S, "maker": True}


def moved(world: World, asset: str, kind: str, amount: str, fee: str = "0", ledger_id: str = "L1") -> None:
    """A ledger entry of the user's, and the balance after it."""
    world.move_balance(asset, Decimal(amount) - Decimal(fee))
    world.say_balances({"asset": asset, "asset_class": "currency", "type": kind, "category": kind, "amount": amount, "fee": fee,
                        "balance": world.balances[asset], "ledger_id": ledger_id, "ref_id": "R" + ledger_id,
                        "timestamp": time_text(world.now_ns), "wallet_type": "spot", "wallet_id": "main"})
    world.pump()


def test_a_fast_fill_that_was_never_in_open_orders(world: World) -> None:
    """No reply, no report, never open: the fill is found by look-ups and booked once, and no second order goes out."""
    order = world.first_order()
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: closed(order, "closed", order["qty_raw"])}}
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": trade(order, world)}}
    world.move_balance("BTC", Decimal(order["qty_raw"]).scaleb(-8))
    eventually(world, lambda: len(world.engine.ledger.fills) == 1, 30)
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_FILLED
    assert sum(b'"side":"buy"' in frame for frame in world.order_frames(OrderAction.ACTION_ADD)) == 1
    world.sound()


@pytest.mark.parametrize("late_reply", [False, True])
def test_the_acknowledgement_is_lost_and_the_order_filled(world: World, *, late_reply: bool) -> None:
    """The first word of an order is its fill: booked once, the order filled, and nothing is sent in its place."""
    order = world.first_order()
    world.fill(order, order["qty_raw"], "T1")
    world.report("filled", order, order_status="filled", cum_qty=f"{Decimal(order['qty_raw']).scaleb(-8):f}")
    if late_reply:
        world.reply(order)
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: closed(order, "closed", order["qty_raw"])}}
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": trade(order, world)}}
    world.engine.risk.paused = True  # no exit and no next round trip: whatever is sent now is sent again
    world.run(6)
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_FILLED
    assert len(world.engine.ledger.fills) == 1 and world.engine.ledger.positions[0].qty_raw == order["qty_raw"]
    buys = [frame for frame in world.order_frames(OrderAction.ACTION_ADD) if b'"side":"buy"' in frame]
    assert len(buys) == 1
    assert world.engine.reconciler.differences == []
    world.sound()


def test_an_error_comes_back_and_the_order_went_through(world: World) -> None:
    """A server error to an add is no refusal: the order counts in full until look-ups show it, and what it did is booked."""
    order = world.first_order()
    world.refuse(order["req_id"], "EGeneral:Internal error")
    assert [live["state"] for live in world.live()] == [OrderState.ORDER_UNKNOWN]
    # Price with one decimal, quantity with eight: the whole notional in 10**-8 account currency.
    assert world.core.exposure() == order["price_raw"] * order["qty_raw"] // 10 > 0
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: closed(order, "closed", order["qty_raw"])}}
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": trade(order, world)}}
    world.move_balance("BTC", Decimal(order["qty_raw"]).scaleb(-8))
    eventually(world, lambda: len(world.engine.ledger.fills) == 1, 30)
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]


def test_an_id_refused_as_duplicate_after_its_order_filled(world: World) -> None:
    """A reply says "not unique" of an order that filled: the fill stays booked, the order is not called rejected."""
    order = world.first_order()
    world.fill(order, order["qty_raw"], "T1")
    world.refuse(order["req_id"], "EGeneral:Invalid arguments:cl_ord_id not unique")
    world.run(1)
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_FILLED
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]


def test_an_id_refused_as_duplicate_and_then_a_fill(world: World) -> None:
    """The refusal of a copy comes before the fill of the first: the fill is a fact all the same, once."""
    order = world.first_order()
    world.refuse(order["req_id"], "EGeneral:Invalid arguments:cl_ord_id not unique")
    world.fill(order, order["qty_raw"], "T1")
    world.run(1)
    assert world.engine.ledger.positions[0].qty_raw == order["qty_raw"]
    assert len(world.engine.ledger.fills) == 1


def test_an_order_without_a_quantity_in_its_report_ends(world: World) -> None:
    """A report that names no base quantity (an order by quote quantity ends so) moves the order and invents no number."""
    order = world.first_order()
    world.reply(order)
    world.report("canceled", order, order_status="canceled", cash_order_qty="10.00000")
    assert not world.live()
    assert world.engine.tracker.history[order["cl_ord_id"]]["filled_raw"] == 0
    world.sound()


@pytest.mark.parametrize("error", ["EAPI:Invalid token", "ESession:Invalid session"])
def test_the_token_expires_while_an_order_is_out(world: World, error: str) -> None:
    """The venue takes the token no more: a new socket with a new token is asked for, and nothing is sent twice."""
    order = world.first_order()
    world.engine.close_links.clear()
    world.refuse(order["req_id"], error)
    world.run(0.5)
    assert [link for link, _ in world.engine.close_links] == [Link.LINK_PRIVATE]
    world.link(Link.LINK_PRIVATE, up=False, reason="token refused")
    world.link(Link.LINK_PRIVATE, up=True)
    eventually(world, lambda: world.engine.state == "ready")
    frames = world.order_frames(OrderAction.ACTION_ADD)
    ids = [json.loads(frame)["params"]["cl_ord_id"] for frame in frames]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("answer", ["EService:Unavailable", "EService:Timeout", "EService:Busy"])
def test_an_add_whose_outcome_is_unknown_is_not_sent_again(world: World, answer: str) -> None:
    """The venue was not available when it answered: the intent is not repeated while the order may exist."""
    order = world.first_order()
    world.refuse(order["req_id"], answer)
    world.run(3)
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 1
    assert world.live()[0]["state"] == OrderState.ORDER_UNKNOWN


def without_profit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the computation of profits raises."""
    def broken(*_args: object) -> None:
        raise ZeroDivisionError("profit")

    monkeypatch.setattr(world.engine.nav, "mark", broken)
    world.step()
    assert isinstance(world.core.fault, ZeroDivisionError)


def test_a_kill_while_the_profit_cannot_be_computed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks raise: openings end, a kill still cancels at the venue, and a read that began after it proves that none is left."""
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    without_profit(world, monkeypatch)
    world.command("kill", reason="test")
    assert [json.loads(frame)["params"]["cl_ord_id"] for frame in world.order_frames(OrderAction.ACTION_CANCEL)] == [
        [order["cl_ord_id"]]]
    world.rest["OpenOrders"] = {"open": {OID: {**closed(order, "open", 0)}}}
    world.run(3)
    assert world.engine.risk.kill_unproven, "the venue shows it still"
    looks = [method for method, _ in world.asked].count("OpenOrders")
    world.rest["OpenOrders"] = {"open": {}}
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: closed(order, "canceled", 0)}}
    world.report("canceled", order)
    world.run(10)
    assert [method for method, _ in world.asked].count("OpenOrders") > looks
    assert not world.engine.risk.kill_unproven, "and none is left: proven"
    assert not world.live()
    assert world.engine.state == "halted"
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 1


def test_a_kill_while_the_profit_cannot_be_computed_sells_what_is_held(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks raise and something is held: after the kill its exit leaves, for all of it, and no opening does."""
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: closed(order, "closed", order["qty_raw"])}}
    without_profit(world, monkeypatch)
    world.command("kill", reason="test")
    for _ in range(120):
        world.step()
        world.tick()
        if world.live():
            break
    (sell,) = world.live(IntentKind.EXIT)
    assert sell["qty_raw"] == order["qty_raw"]
    world.reply(sell, "OEXIT1-BBBBB-CCCCCC")
    world.fill(sell, sell["qty_raw"], "T2", "OEXIT1-BBBBB-CCCCCC")
    world.rest["ClosedOrders"]["closed"]["OEXIT1-BBBBB-CCCCCC"] = {**closed(sell, "closed", sell["qty_raw"])}
    for _ in range(60):
        world.step()
        world.tick()
    assert world.engine.ledger.positions[0].qty_raw == 0 and not world.engine.risk.kill_unproven
    sides = [json.loads(frame)["params"]["side"] for frame in world.order_frames(OrderAction.ACTION_ADD)]
    assert sides == ["buy", "sell"]
    assert world.engine.state == "halted"


def crashed(world: World, directory: Path, journal: Journal) -> tuple[World, Recovered]:
    """The process is gone; another one has what its journal brings back, and goes on writing there."""
    found = recover(directory, None)
    assert found.replay.differences == []
    again = World(world.cfg, strategy=None)
    again.engine, again.core, again.recorder = found.engine, found.engine.core, found.engine.recorder
    missing = list(found.replay.missing)
    again.recorder.captured = []
    for kind, tag, payload in missing:
        journal.append_py(kind, tag, *found.times, payload)
    again.recorder.attach(journal)
    again.now_ns, again.balances, again.rest["ClosedOrders"] = world.now_ns + S, world.balances, world.rest["ClosedOrders"]
    return again, found


def test_a_crash_loop_does_not_reset_the_day_loss(tmp_path: Path) -> None:
    """Crash after crash, by the journal alone and by a checkpoint: loss of the day, drawdown, level and kill are as before."""
    def figures(world: World) -> tuple[Any, ...]:
        nav, risk = world.engine.nav, world.engine.risk
        return (nav.day_loss_bps, nav.drawdown_bps, nav.day_start,
                risk.levels.name, world.core.level, risk.killed, risk.kill.hold)

    directory = tmp_path / "journal"
    sizes: dict[str, Any] = {"ring_bytes": 1 << 24, "segment_bytes": 1 << 24, "sync_interval_ms": 20}
    with open_journal(directory, tmp_path / "journal.ring", **sizes) as journal:
        world = World(practice_config((BTC,)), strategy=None, journal=journal).ready()
        order = world.first_order()
        world.reply(order)
        world.fill(order, order["qty_raw"], "T1", fee="400")
        world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: closed(order, "closed", order["qty_raw"])}}
        world.command("kill", reason="drill", hold=True)
        world.run(3)
        world.sound()
        before = figures(world)
        journal.sync()
    assert before[0] >= 390 and before[3:] == ("warning", 1, True, True)
    for epoch in range(2, 6):
        if epoch == 4:
            bring_up_to_date(directory, None)
        with open_journal(directory, tmp_path / "journal.ring", **sizes) as journal:
            world, found = crashed(world, directory, journal)
            assert (found.checkpoint is not None) == (epoch >= 4)
            assert figures(world) == before
            world.boot(epoch)
            world.run(3)
            assert figures(world) == before
            assert world.engine.state == "killed"
            journal.sync()


def test_a_deposit_and_a_withdrawal_during_the_day(world: World) -> None:
    """Money and coins that the user moves are no profit, no loss and no difference; they stay his."""
    world.engine.risk.paused = True
    before = (world.engine.nav.nav, world.engine.nav.day_loss)
    moved(world, "USD", "deposit", "5000")
    moved(world, "BTC", "deposit", "0.5", ledger_id="L2")
    moved(world, "BTC", "withdrawal", "-0.1", fee="0.0001", ledger_id="L3")
    moved(world, "USD", "withdrawal", "-3000", fee="5", ledger_id="L4")
    world.engine.tracker.want_reconcile = True
    world.run(40)
    assert world.engine.state == "paused", world.engine.state_reason
    assert world.engine.reconciler.own == {"BTC": Decimal("0.4499")}
    assert (world.engine.nav.nav, world.engine.nav.day_loss) == before
    assert world.engine.reconciler.differences == []


def test_a_repeated_deposit_counts_once(world: World) -> None:
    """The same ledger entry again changes nothing."""
    world.engine.risk.paused = True
    moved(world, "BTC", "deposit", "0.5")
    world.move_balance("BTC", Decimal("-0.5"))
    moved(world, "BTC", "deposit", "0.5")
    assert world.engine.reconciler.own == {"BTC": Decimal("0.55")}


def test_a_position_is_closed_elsewhere(world: World) -> None:
    """Managed coins leave the account by another hand: never sold a second time out of the user's, halted with the reason."""
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    world.engine.risk.paused = True
    moved(world, "BTC", "withdrawal", f"-{world.balances['BTC']}")
    world.engine.tracker.want_reconcile = True
    eventually(world, lambda: world.engine.state == "halted", 60)
    assert "another account, or moved by hand, or an asset renamed" in (world.engine.state_reason or "")
    assert any("more than the user's own" in text for text in world.engine.reconciler.differences)
    assert not world.live(IntentKind.EXIT)


@pytest.mark.parametrize("below", ["quantity", "cost"])
def test_dust_after_a_partial_exit_is_no_position_for_ever(world: World, below: str) -> None:
    """What an exit leaves below one of the venue's minima is kept in the ledger and holds no exit and no opening up."""
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    eventually(world, lambda: bool(world.live(IntentKind.EXIT)), 60)
    (sell,) = world.live(IntentKind.EXIT)
    world.reply(sell, "OEXIT1-BBBBB-CCCCCC")
    dust = world.slot.qty_min_raw - 1
    if below == "cost":
        dust = order["qty_raw"] // 2
        least = Decimal(order["qty_raw"]).scaleb(-8) * Decimal(order["price_raw"]).scaleb(-1) * Decimal("0.6")
        world.public(instrument_frame(instrument_row(BTC, cost_min=f"{least:.8f}")))
        assert dust > world.slot.qty_min_raw
    world.fill(sell, sell["qty_raw"] - dust, "T2", "OEXIT1-BBBBB-CCCCCC")
    world.report("canceled", sell, "OEXIT1-BBBBB-CCCCCC")
    refused = world.counters()["refused"]
    assert b'"side":"buy"' in next_order(world), "the next round trip begins"
    assert world.engine.ledger.positions[0].qty_raw == dust
    assert world.counters()["refused"] == refused, "and nothing was wished for that the venue refuses"
    assert world.engine.ledger.positions[0].losing_round_trips == 1, "the fees lost: the round trip is over and counts"
    world.sound()


def test_a_move_that_is_repeated_after_a_thousand_others_counts_once(world: World) -> None:
    """More ledger entries than are remembered, then the first one again: the user's own is what it was."""
    row = {"asset": "BTC", "asset_class": "currency", "type": "deposit", "category": "deposit", "amount": "0.001", "fee": "0",
           "balance": "0", "ref_id": "R", "wallet_type": "spot", "wallet_id": "main"}
    rows = [{**row, "ledger_id": f"L{n}", "timestamp": time_text(world.now_ns + n * 1_000)} for n in range(MOVES_KEPT + 10)]
    own = world.engine.reconciler.own["BTC"]
    for entry in rows:
        world.say_balances(entry)
    moved = world.engine.reconciler.own["BTC"] - own
    assert moved == Decimal("0.001") * len(rows)
    world.say_balances(*rows[:20])
    assert world.engine.reconciler.own["BTC"] - own == moved


# What a book message may hold.


def spelled(frame: bytes, *, scanned: bool) -> bytes:
    """A frame for the scanner, or one with a blank in it, which takes the tolerant path."""
    return frame if scanned else frame.replace(b'"data":', b'"data": ')


def top(world: World, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Price and quantity of the best levels of both sides as the engine has them."""
    bids, asks = ([(price, qty) for price, qty, *_ in world.slot.book.levels(side, count)] for side in (Side.BUY, Side.SELL))
    return bids, asks


def at_venue(world: World, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The same as the venue has them."""
    book = world.books[BTC]
    return sorted(book.bids.items(), reverse=True)[:count], sorted(book.asks.items())[:count]


@pytest.mark.parametrize("scanned", [True, False])
def test_one_book_frame_carries_both_sides(world: World, *, scanned: bool) -> None:
    """Bids and asks of one message are applied together, and its checksum is that of both."""
    book = world.books[BTC]
    best_bid, best_ask = max(book.bids), min(book.asks)
    frame = book.update(world.now_ns, [(best_bid - 1, 11), (best_bid - 7, 0)],
                        [(best_ask + 1, 12), (best_ask + 7, 0), (best_ask, 13)])
    world.public(spelled(frame, scanned=scanned))
    assert world.verified() and not world.engine.resyncs
    assert top(world, 25) == at_venue(world, 25)
    world.sound()


@pytest.mark.parametrize("scanned", [True, False])
def test_an_update_lies_outside_the_depth(world: World, *, scanned: bool) -> None:
    """A level beyond the depth is not kept, on either side: it is not there when levels before it go."""
    book = world.books[BTC]
    outside = (min(book.bids) - 70, max(book.asks) + 70)
    world.public(spelled(book.update(world.now_ns, [(outside[0], 5)], [(outside[1], 6)]), scanned=scanned))
    assert outside[0] not in book.bids and outside[1] not in book.asks, "the venue holds 25 levels"
    assert world.verified() and top(world, 99) == at_venue(world, 99)
    gone = [(price, 0) for price, _ in top(world, 16)[0]], [(price, 0) for price, _ in top(world, 16)[1]]
    world.public(spelled(book.update(world.now_ns, *gone), scanned=scanned))
    assert world.verified(), "nine levels a side are left, and none of them is the one outside"
    assert top(world, 99) == at_venue(world, 99)
    world.public(spelled(book.update(world.now_ns, [(outside[0], 0)], [(outside[1], 0)]), scanned=scanned))
    assert world.verified() and not world.engine.resyncs
    world.sound()


# Client order ids and nonces.


@pytest.mark.parametrize("theirs", ["my order number 18", "CT0123456789ABCDEF", "xx0123456789abcdef", "{own}x",
                                    "{own}-4234-8234-1234"])
def test_a_cl_ord_id_of_18_characters(world: World, theirs: str) -> None:
    """Ours has the longest that free text may have, and is ours in each message; another's is not, however alike it looks."""
    order = world.first_order()
    own = order["cl_ord_id"]
    assert len(own) == 18
    theirs = theirs.replace("{own}", own)
    other = {**order, "cl_ord_id": theirs}
    rows = {"OTHERS-BBBBB-CCCCCC": closed(other, "open", 0)}
    world.report("new", other, "OTHERS-BBBBB-CCCCCC", symbol=BTC)
    world.report("canceled", other, "OTHERS-BBBBB-CCCCCC", reason="User requested")
    assert [live["cl_ord_id"] for live in world.live()] == [own]
    assert world.live()[0]["order_id"] == "" and world.live()[0]["state"] == OrderState.ORDER_SENT
    assert world.engine.tracker.foreign_count == (0 if theirs.startswith(world.cfg.account.owner_prefix) else 2)
    world.reply(order)
    world.report("new", order)
    world.rest["OpenOrders"] = {"open": {OID: closed(order, "open", 0), **rows}}
    world.engine.tracker.want_reconcile = True
    world.run(3)
    assert [(live["cl_ord_id"], live["order_id"]) for live in world.live()] == [(own, OID)]
    assert world.engine.reconciler.strangers.open == set(rows)
    world.fill(order, order["qty_raw"], "T1")
    assert world.engine.tracker.history[own]["state"] == OrderState.ORDER_FILLED
    assert not [frame for frame in world.order_frames() if f'"{theirs}"'.encode() in frame]
    world.sound()


@pytest.mark.parametrize("count", [1, 2, 12])
def test_a_nonce_error_after_a_restart(world: World, count: int) -> None:
    """The first calls of a start are refused for their nonce, with an order out: asked again, ready, and nothing sent twice."""
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    world.open_orders = [{"exec_type": "status", "order_id": OID, "cl_ord_id": order["cl_ord_id"], "order_status": "new",
                          "cum_qty": 0}]
    answers = {**world.rest, "OpenOrders": {"open": {OID: closed(order, "open", 0)}}}
    refused: list[str] = []

    def reply(method: str) -> Any:
        def answer(params: dict[str, str]) -> Any:
            if len(refused) < count:
                refused.append(method)
                return "EAPI:Invalid nonce"
            found = answers[method]
            return found(params) if callable(found) else found
        return answer

    for method in ("OpenOrders", "ClosedOrders", "TradesHistory", "BalanceEx", "OpenPositions"):
        world.rest[method] = reply(method)
    world.boot(2)
    eventually(world, lambda: world.engine.state == "ready", 150)
    assert len(refused) == count
    assert world.engine.lane.errors["EAPI:Invalid nonce"] == count
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 1
    assert [live["order_id"] for live in world.live()] == [OID]
    world.sound()
