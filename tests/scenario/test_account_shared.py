"""An account that is not the daemon's alone: orders and trades of others, and margin positions."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from engine_world import BTC, REST_NAMES, S, World, eventually, practice_config, replayed

from cstd._fast.codes import OrderAction
from cstd.orders.margin import OPEN_AGAIN_NS
from cstd.storage.journal import open_journal
from tests.scenario.test_rest_exits import held, holding

MARGIN = {"TXMARG-AAAAA-BBBBBB": {"ordertxid": "OXMARG-AAAAA-BBBBBB", "posstatus": "open", "pair": "XXBTZUSD", "type": "buy",
                                  "vol": "0.50000000", "vol_closed": "0", "margin": "7500.0", "terms": "0.0100% per 4 hours"}}
ADD = OrderAction.ACTION_ADD


def theirs(cl_ord_id: str | None, world: World) -> dict[str, Any]:
    """An open order of the account that is not ours, as REST shows it."""
    return {"status": "open", "vol": "0.10000000", "vol_exec": "0", "cl_ord_id": cl_ord_id, "opentm": world.now_ns / S,
            "descr": {"pair": REST_NAMES[BTC], "type": "buy", "price": "50000"}, "reason": ""}


# Orders and trades of others (systems 9.5).


def test_orders_of_another_prefix_or_a_person_are_counted_and_said_and_openings_go_on() -> None:
    """A second daemon with its own prefix, a person without any id: left alone, with a kill too; ours open as before."""
    world = World(practice_config(account={"exclusive": False}), strategy="rehearsal").ready()
    rows = {"OTHERD-AAAAA-BBBBBB": theirs("zz0123456789abcdef", world), "OPERSO-AAAAA-BBBBBB": theirs(None, world)}
    world.rest["OpenOrders"] = {"open": rows}
    world.engine.tracker.want_reconcile = True
    world.step()
    assert world.engine.reconciler.strangers.open == set(rows)
    order = world.first_order()
    assert world.engine.state == "ready" and order["cl_ord_id"].startswith(world.cfg.account.owner_prefix)
    world.reply(order)
    world.command("kill", reason="test")
    world.report("canceled", order)
    world.run(10)
    frames = b"".join(world.order_frames())
    assert not any(name.encode() in frames for name in (*rows, "zz0123456789abcdef"))
    assert not any(method == "CancelAll" for method, _ in world.asked) and b"cancel_all\"" not in frames
    assert world.engine.risk.kill_unproven is False, "the kill is proven of ours: what others have open is not ours to end"
    world.sound()


def test_a_trade_of_another_in_a_base_that_is_managed_halts_with_the_difference() -> None:
    """Coins that somebody else buys or sells are no fill of ours: nothing is booked, and what cannot be explained halts."""
    world = World(strategy="rehearsal").ready()
    world.engine.risk.paused = True
    world.executions({"exec_type": "trade", "cl_ord_id": "zz0123456789abcdef", "order_id": "OTHERD-AAAAA-BBBBBB",
                      "exec_id": "TX1", "trade_id": 1, "symbol": BTC, "last_qty": "0.01", "last_price": "100000.0",
                      "cost": "1000", "side": "sell", "timestamp": "2026-11-21T02:00:05.000Z"})
    world.move_balance("BTC", Decimal("-0.01"))
    world.engine.tracker.want_reconcile = True
    eventually(world, lambda: world.engine.state == "halted", 60)
    assert not world.engine.ledger.fills
    assert "BTC -0.01000000: another account, or moved by hand, or an asset renamed" in (world.engine.state_reason or "")
    assert not world.order_frames()
    world.move_balance("BTC", Decimal("0.01"))
    eventually(world, lambda: world.engine.state == "paused", 90)
    world.sound()


# Margin positions (systems 6.1).


def not_ready(world: World, reply: Any) -> World:
    """A start at which OpenPositions is answered so."""
    world.rest["OpenPositions"] = reply
    world.boot()
    for _ in range(40):
        world.step()
        world.tick()
    return world


def asked(world: World) -> int:
    """How often OpenPositions was asked for."""
    return sum(method == "OpenPositions" for method, _ in world.asked)


def test_open_margin_positions_at_the_start_open_nothing_until_they_are_closed() -> None:
    """Never ready, with what was found and what to do; asked again once a minute, and ready unaided once there is none."""
    world = not_ready(World(strategy="rehearsal"), MARGIN)
    assert world.engine.state == "reconciling" and not world.order_frames()
    assert world.engine.state_reason == (
        "OpenPositions: TXMARG-AAAAA-BBBBBB buy 0.50000000 XXBTZUSD: this trades spot without margin; close them, or give the "
        "daemon an account of its own")
    said = [fields for level, text, fields in world.engine.notes if level == "error" and "margin" in text]
    assert said == [{"reason": world.engine.state_reason}], "once"
    assert asked(world) == 1
    world.rest["OpenPositions"] = {}
    world.run(OPEN_AGAIN_NS / S + 1)
    assert (world.engine.state, asked(world)) == ("ready", 2)
    world.run(OPEN_AGAIN_NS / S + 1)
    assert b'"side":"buy"' in world.order_frames(ADD)[0]
    assert asked(world) == 2, "a start asks; who closed them is not asked again"
    world.sound()


@pytest.mark.parametrize(("reply", "reason"), [
    ("EGeneral:Permission denied",
     "OpenPositions: EGeneral:Permission denied: the key needs the right Query Open Orders & Trades"),
    ("EQuery:Unknown", "OpenPositions: EQuery:Unknown"),
    ([1, 2], "OpenPositions: '[1, 2]' is no list of margin positions"),
    ({"TX": None}, "OpenPositions: TX (unreadable): this trades"),
], ids=["denied", "error", "no list", "unreadable"])
def test_a_start_that_cannot_know_of_margin_positions_opens_nothing(reply: Any, reason: str) -> None:
    """Denied, refused, of another shape: fail closed, and ready once the venue says that there is none."""
    world = not_ready(World(strategy="rehearsal"), reply)
    assert world.engine.state == "reconciling" and not world.order_frames()
    assert (world.engine.state_reason or "").startswith(reason)
    world.rest["OpenPositions"] = {}
    eventually(world, lambda: world.engine.state == "ready", 70)
    world.sound()


def test_each_start_asks_for_margin_positions_and_what_is_held_is_sold_all_the_same() -> None:
    """They came while the daemon was down: the next start opens nothing, and its exits are not trapped."""
    world, _ = holding()
    assert asked(world) == 1
    adds = len(world.order_frames(ADD))
    world.rest["OpenPositions"] = MARGIN
    world.boot(2)
    sell = world.exit_order()
    assert sell["qty_raw"] == held(world)
    assert world.engine.state == "reconciling" and asked(world) == 2
    assert all(b'"side":"sell"' in frame for frame in world.order_frames(ADD)[adds:])
    world.sound()


def test_margin_positions_are_found_again_by_the_journal(tmp_path: Path) -> None:
    """Replayed, the engine is not ready for the same reason, and gives the same outputs."""
    directory = tmp_path / "journal"
    with open_journal(directory, tmp_path / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = not_ready(World(strategy=None, journal=journal), MARGIN)
        journal.sync()
    again = replayed(directory)
    assert again.differences == []
    assert (again.engine.state, again.engine.state_reason) == (world.engine.state, world.engine.state_reason)
    assert again.engine.recorder.hexdigest() == world.recorder.hexdigest()
