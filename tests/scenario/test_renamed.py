"""The venue renames an instrument while we hold some of it and have an order out: nothing is lost, and no name is guessed.

A rename is not announced as such. The old name is `delisted`, or missing from the next list; another name is there, with
another asset code; reports, balances and REST rows of the same order speak of the new one.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cstd._fast.codes import OrderAction, OrderState
from cstd.storage.journal import open_journal
from tests.scenario.engine_world import BTC, S, World, eventually, instrument_row, replayed, time_text
from tests.scenario.test_listings import listing, reconnect
from tests.scenario.test_rest_exits import held, holding

NEW, NEW_ASSET, NEW_PAIR = "NBT/USD", "NBT", "NBTUSD"
OID = "ONEWER-BBBBB-CCCCCC"
UNKNOWN_PAIR = "EQuery:Unknown asset pair"


def renamed(world: World, told: str) -> None:
    """From now on all that the venue says is of the new name."""
    new = {**instrument_row(BTC), "symbol": NEW, "base": NEW_ASSET}
    world.balances[NEW_ASSET] = world.balances.pop("BTC")
    world.rest["Depth"] = UNKNOWN_PAIR
    world.specs = {NEW: new}
    if told == "delisted":
        rows = [{**instrument_row(BTC), "status": "delisted"}, new]
        world.public(json.dumps({"channel": "instrument", "type": "update", "data": {"assets": [], "pairs": rows}}).encode())
    elif told == "listed":
        world.public(listing(new))
    else:
        reconnect(world)
    world.step()


def filled(world: World, order: dict[str, Any], qty_raw: int, exec_id: str) -> None:
    """The venue executes some of an order and tells of it under the new name."""
    qty, price = Decimal(qty_raw).scaleb(-8), Decimal(order["price_raw"]).scaleb(-1)
    world.move_balance(NEW_ASSET, order["side"] * qty)
    world.report("trade", order, OID, exec_id=exec_id, trade_id=2, symbol=NEW, last_qty=f"{qty:f}", last_price=f"{price:f}",
                 cost=f"{qty * price:f}", side="buy" if order["side"] > 0 else "sell", fees=[{"asset": "USD", "qty": "0.01"}])


def row(world: World, order: dict[str, Any], status: str, filled_raw: int) -> dict[str, Any]:
    """The order as REST shows it."""
    return {"status": status, "vol": f"{order['qty_raw'] / 1e8:.8f}", "vol_exec": f"{filled_raw / 1e8:.8f}", "reason": "",
            "cl_ord_id": order["cl_ord_id"], "opentm": order["sent_wall_ns"] / S,
            "descr": {"pair": NEW_PAIR, "type": "buy" if order["side"] > 0 else "sell", "price": "1"}}


def adds_since(world: World, count: int) -> list[bytes]:
    """Order frames since."""
    return world.order_frames(OrderAction.ACTION_ADD)[count:]


@pytest.mark.parametrize("told", ["delisted", "listed", "reconnect"])
def test_a_rename_with_an_order_out_and_a_position_held(tmp_path: Path, told: str) -> None:
    """The opening is pulled by its id, its fill under the new name is booked once, what is held stays, and nothing is sent."""
    directory = tmp_path / "journal"
    with open_journal(directory, tmp_path / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = World(strategy=None, journal=journal).ready()
        first = world.first_order()
        world.reply(first)
        world.fill(first, first["qty_raw"] // 2, "T1")
        before, part = held(world), first["qty_raw"] // 4
        assert before and [order["state"] for order in world.live()] == [OrderState.ORDER_PARTIAL]
        adds = len(world.order_frames(OrderAction.ACTION_ADD))
        renamed(world, told)
        assert not world.slot.online
        cancels = world.order_frames(OrderAction.ACTION_CANCEL)
        assert [json.loads(frame)["params"]["cl_ord_id"] for frame in cancels] == [[first["cl_ord_id"]]]
        filled(world, first, part, "T2")
        filled(world, first, part, "T2")
        world.report("canceled", first, OID, symbol=NEW)
        world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: row(world, first, "canceled", before + part)}}
        assert (held(world), len(world.engine.ledger.fills), world.live()) == (before + part, 2, [])
        world.run(70)
        assert not adds_since(world, adds), "neither the old name nor the new one is traded"
        assert (world.engine.state, held(world)) == ("halted", before + part)
        assert "BTC -" in (world.engine.state_reason or "") and "renamed" in (world.engine.state_reason or "")
        assert world.engine.core.positions_value() > 0, "what is held keeps its value"
        assert world.engine.tracker.history[first["cl_ord_id"]]["state"] == OrderState.ORDER_CANCELED
        world.sound()
        journal.sync()
    again = replayed(directory)
    assert again.differences == []
    assert again.engine.recorder.hexdigest() == world.recorder.hexdigest()


def test_a_rename_while_an_order_is_unanswered_is_found_by_its_id() -> None:
    """Sent under the old name and never answered: the look-ups show it under the new one, and it is ours."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    renamed(world, "listed")
    world.rest["ClosedOrders"] = {"count": 1, "closed": {OID: row(world, order, "closed", order["qty_raw"])}}
    price, qty = Decimal(order["price_raw"]).scaleb(-1), Decimal(order["qty_raw"]).scaleb(-8)
    world.rest["TradesHistory"] = {"count": 1, "trades": {"T1": {
        "ordertxid": OID, "pair": NEW_PAIR, "vol": f"{qty:f}", "price": f"{price:f}", "cost": f"{price * qty:f}", "fee": "0",
        "time": world.now_ns / S, "maker": True}}}
    world.move_balance(NEW_ASSET, qty)
    eventually(world, lambda: len(world.engine.ledger.fills) == 1, 30)
    assert held(world) == order["qty_raw"] and not world.live()
    world.run(60)
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 1
    assert world.engine.state == "halted"
    world.sound()


def test_an_exit_that_is_due_after_a_rename_is_not_sent_under_either_name() -> None:
    """REST knows the old name no more and the balance is of another asset: it waits, and the name's return ends that."""
    world, _ = holding()
    adds = len(world.order_frames(OrderAction.ACTION_ADD))
    before = held(world)
    renamed(world, "listed")
    world.run(90)
    assert not adds_since(world, adds) and held(world) == before
    world.balances["BTC"] = world.balances.pop(NEW_ASSET)
    world.specs = {BTC: instrument_row(BTC)}
    world.rest["Depth"] = world._depth
    reconnect(world)
    eventually(world, lambda: world.engine.state == "ready", 120)
    for _ in range(120):
        if adds_since(world, adds):
            break
        world.step()
        world.tick()
    assert b'"side":"sell"' in adds_since(world, adds)[0] and b"BTC/USD" in adds_since(world, adds)[0]
    world.sound()


def test_a_name_that_the_old_one_becomes_is_not_taken_for_ours() -> None:
    """Books and trades of the new name are of an instrument that nobody configured: counted, and none of them is a quote."""
    world = World(strategy="rehearsal").ready()
    renamed(world, "listed")
    verified = world.verified()
    world.public(f'{{"channel":"trade","type":"update","data":[{{"symbol":"{NEW}","side":"buy","price":1.0,"qty":1.0,'
                 f'"ord_type":"limit","trade_id":1,"timestamp":"{time_text(world.now_ns)}"}}]}}'.encode())
    world.run(5)
    assert not verified and not world.verified()
    assert not world.order_frames()
    world.sound()
