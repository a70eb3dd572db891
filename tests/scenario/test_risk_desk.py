"""Operator commands and loss levels on a running engine: what they stop, what goes on, and what latches."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from engine_world import BTC, S, World, eventually, practice_config

from cstd._fast.codes import EventKind, IntentKind, Link, OrderAction, OrderState
from cstd._fast.gates import DECISION_DTYPE
from cstd.daemon.view import LiveView
from cstd.decision.refused import tally
from cstd.decision.why import explain, waterfall
from cstd.engine.totals import session_totals


def open_order(world: World) -> dict[str, Any]:
    """The first opening, accepted and resting."""
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    return order


def holding(world: World) -> int:
    """Let the first opening fill whole; returns the quantity held."""
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    return int(order["qty_raw"])


def moves(world: World, seconds: int) -> None:
    """The market moves and time passes."""
    for _ in range(seconds * 4):
        world.step()
        for name in world.names:
            world.tick(name)
    world.sound()


@pytest.fixture
def world() -> World:
    """A ready engine with the rehearsal strategy."""
    return World(strategy="rehearsal").ready()


def openings(world: World) -> int:
    """Number of openings sent."""
    return sum(b'"side":"buy"' in frame for frame in world.order_frames(OrderAction.ACTION_ADD))


def exits(world: World) -> list[dict[str, Any]]:
    """Parameters of the exits sent."""
    return [json.loads(frame)["params"] for frame in world.order_frames(OrderAction.ACTION_ADD) if b'"side":"sell"' in frame]


def test_pause_pulls_openings_and_holds_new_ones_until_resume(world: World) -> None:
    """Pause cancels what rests and opens nothing; resume lets the strategy go on."""
    order = open_order(world)
    assert world.command("pause") == {"paused": True, "pulled": 1}
    world.report("canceled", order, reason="User requested")
    moves(world, 8)
    assert (world.engine.state, openings(world)) == ("paused", 1)
    assert world.command("resume")["paused"] is False
    moves(world, 8)
    assert world.engine.state == "ready" and openings(world) > 1


def test_exits_go_on_while_paused(world: World) -> None:
    """A position is left while openings are held back."""
    held = holding(world)
    world.command("pause")
    moves(world, 8)
    assert exits(world)[0]["order_qty"] == held / 1e8


def test_kill_latches_pulls_and_is_shown_at_the_venue(world: World) -> None:
    """Kill cancels openings, refuses new ones through every resume, and reports when the venue shows none of ours."""
    order = open_order(world)
    assert world.command("kill", reason="drill") == {"kill": True, "pulled": 1}
    world.step()
    assert (world.engine.state, world.engine.state_reason) == ("killed", "drill")
    assert world.engine.risk.kill_shown_empty_ns is None
    world.report("canceled", order, reason="User requested")
    moves(world, 12)
    assert world.engine.risk.kill_shown_empty_ns is not None
    world.command("resume")
    moves(world, 8)
    assert openings(world) == 1 and world.engine.risk.killed


LOST = "ct0123456789abcdef"


def lost_opening(world: World, status: str = "open") -> dict[str, Any]:
    """An opening of ours, as REST shows it, that our journal lost with its tail."""
    return {"OLOST1-BBBBB-CCCCCC": {
        "status": status, "cl_ord_id": LOST, "vol": "0.00040000", "vol_exec": "0.00000000", "opentm": world.now_ns / S - 5,
        "descr": {"pair": "XBTUSD", "type": "buy", "price": "100000.0"}}}


def kill_cancels(world: World) -> int:
    """Cancels of the lost opening that went out, by either way."""
    return sum(LOST.encode() in frame for action in (OrderAction.ACTION_CANCEL, OrderAction.ACTION_CANCEL_REST)
               for frame in world.order_frames(action))


def test_a_kill_is_not_proven_by_our_own_table(world: World) -> None:
    """An opening was lost with the journal's tail: it is canceled though no round ends, and not proven before it is gone."""
    world.command("pause")
    moves(world, 10)
    world.engine.tracker.want_reconcile = True
    moves(world, 2)
    assert not world.live(), "a round before the kill showed none"
    read = world.rest["BalanceEx"]
    world.rest["BalanceEx"] = "EGeneral:Permission denied"
    world.rest["OpenOrders"] = {"open": lost_opening(world)}
    world.command("kill", reason="drill")
    eventually(world, lambda: kill_cancels(world) == 1, 0.5)
    moves(world, 20)
    assert world.engine.reconciler.failed_count > 0
    assert world.engine.risk.kill_shown_empty_ns is None
    world.rest["BalanceEx"] = read
    moves(world, 8)
    assert world.engine.risk.kill_shown_empty_ns is None
    world.rest["OpenOrders"] = {"open": {}}
    world.rest["ClosedOrders"] = {"count": 1, "closed": lost_opening(world, "canceled")}
    eventually(world, lambda: world.engine.risk.kill_shown_empty_ns is not None)
    assert world.engine.risk.kill_shown_empty_ns >= 28 * S
    assert not world.live()
    world.sound()


def test_a_round_that_began_before_the_kill_proves_nothing(world: World) -> None:
    """It may have read the open orders before: another one follows it."""
    world.command("pause")
    moves(world, 10)
    balance_of = world.rest["BalanceEx"]
    killed: list[bool] = []

    def kills_meanwhile(params: dict[str, str]) -> Any:
        if not killed:
            killed.append(True)
            world.now_ns += S
            world.command("kill", reason="drill")
            world.rest["OpenOrders"] = {"open": lost_opening(world)}
        return balance_of(params)

    world.rest["BalanceEx"] = kills_meanwhile
    world.engine.tracker.want_reconcile = True
    moves(world, 1)
    assert killed and world.engine.risk.kill_shown_empty_ns is None
    eventually(world, lambda: kill_cancels(world) == 1)
    assert world.engine.risk.kill_shown_empty_ns is None


def test_a_kill_is_proven_by_rest_without_a_private_socket(world: World) -> None:
    """No order in our table, no private socket: the venue is asked all the same, and the lost opening canceled by REST."""
    world.command("pause")
    moves(world, 10)
    world.rest["CancelOrder"] = {"count": 1}
    world.link(Link.LINK_PRIVATE, up=False, reason="cut")
    world.rest["OpenOrders"] = {"open": lost_opening(world)}
    world.command("kill", reason="drill")
    for _ in range(80):
        world.now_ns += S // 4
        world.core.frame(Link.LINK_PUBLIC, b'{"channel":"heartbeat"}', world.mono_ns, world.now_ns)
        world.core.timer(world.mono_ns, world.now_ns)
        world.pump()
        if kill_cancels(world):
            world.rest["OpenOrders"] = {"open": {}}
            world.rest["ClosedOrders"] = {"count": 1, "closed": lost_opening(world, "canceled")}
    assert kill_cancels(world) == 1 and not world.live()
    assert world.engine.risk.kill_shown_empty_ns is not None
    asked = len(world.asked)
    for _ in range(160):
        world.now_ns += S // 4
        world.core.frame(Link.LINK_PUBLIC, b'{"channel":"heartbeat"}', world.mono_ns, world.now_ns)
        world.core.timer(world.mono_ns, world.now_ns)
        world.pump()
    assert not [method for method, _ in world.asked[asked:] if method == "OpenOrders"], "proven: nothing more is asked"
    world.sound()


def test_a_kill_right_after_a_boot_waits_for_what_a_lost_tail_sent(world: World) -> None:
    """What left before a crash may arrive at the venue within six seconds: no look that began before that proves anything."""
    boot_ns = world.engine.reconciler.boot_wall_ns
    world.command("kill", reason="drill")
    while world.now_ns < boot_ns + 6 * S:
        assert world.engine.risk.kill_shown_empty_ns is None
        world.engine.tracker.want_reconcile = True
        world.step()
    eventually(world, lambda: world.engine.risk.kill_shown_empty_ns is not None)


def test_an_order_that_had_ended_and_is_listed_open_leaves_a_kill_unproven() -> None:
    """Our table has it canceled, the venue's list of open orders has it still: the list decides."""
    world = World(practice_config(venue={"unknown_absent_s": Decimal(75)}), strategy="rehearsal").ready()
    order = open_order(world)
    world.report("canceled", order, reason="User requested")
    world.command("kill", reason="drill")
    row = {**lost_opening(world)["OLOST1-BBBBB-CCCCCC"], "cl_ord_id": order["cl_ord_id"], "opentm": order["sent_wall_ns"] / S}
    world.rest["OpenOrders"] = {"open": {"OAAAAA-BBBBB-CCCCCC": row}}
    moves(world, 4)
    assert not world.live()
    moves(world, 16)
    assert world.engine.risk.kill_shown_empty_ns is None
    world.rest["OpenOrders"] = {"open": {}}
    world.rest["ClosedOrders"] = {"count": 1, "closed": {"OAAAAA-BBBBB-CCCCCC": {**row, "status": "canceled"}}}
    eventually(world, lambda: world.engine.risk.kill_shown_empty_ns is not None)


def test_an_unproven_kill_delays_no_exit(world: World) -> None:
    """Look-ups fail for as long as they like: what is held is sold meanwhile."""
    held = holding(world)
    world.rest["OpenOrders"] = "EGeneral:Permission denied"
    world.command("kill", reason="drill")
    moves(world, 8)
    assert world.engine.risk.kill_shown_empty_ns is None
    assert exits(world)[0]["order_qty"] == held / 1e8


def test_a_kill_is_proven_again_after_a_boot(world: World) -> None:
    """What the table of before was shown says nothing of what the crash lost."""
    world.command("kill", reason="drill")
    eventually(world, lambda: world.engine.risk.kill_shown_empty_ns is not None)
    world.rest["OpenOrders"] = {"open": lost_opening(world)}
    world.boot(epoch=2)
    moves(world, 12)
    assert world.engine.risk.kill_shown_empty_ns is None and kill_cancels(world) >= 1
    world.rest["OpenOrders"] = {"open": {}}
    world.rest["ClosedOrders"] = {"count": 1, "closed": lost_opening(world, "canceled")}
    eventually(world, lambda: world.engine.risk.kill_shown_empty_ns is not None)


def test_a_kill_keeps_exits_and_a_hold_stops_them(world: World) -> None:
    """A plain kill still leaves positions; with hold nothing is sent at all."""
    holding(world)
    world.command("kill")
    moves(world, 8)
    assert exits(world)
    other = World(strategy="rehearsal").ready()
    holding(other)
    other.command("kill", hold=True)
    moves(other, 8)
    assert not other.live() and len(other.order_frames(OrderAction.ACTION_ADD)) == 1


def test_an_unanswered_exit_does_not_wait_for_the_history() -> None:
    """A second past its deadline it cannot match any more: the untouched balance frees the way for the next (10.2)."""
    world = World(strategy="rehearsal").ready()
    holding(world)
    eventually(world, lambda: len(exits(world)) == 1)
    (order,) = world.live(IntentKind.EXIT)
    while world.now_ns < order["deadline_wall_ns"] + S:
        world.step()
        assert len(exits(world)) == 1
    moves(world, 6)
    assert len(exits(world)) >= 2 and len({params["cl_ord_id"] for params in exits(world)}) == len(exits(world))
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_REJECTED


def test_an_exit_is_over_by_the_venues_clock() -> None:
    """The venue's clock runs 19 s behind, and it reads late: the exit still matches there, so no other may leave for it."""
    world = World(strategy="rehearsal").ready()
    holding(world)
    eventually(world, lambda: len(exits(world)) == 1)
    (order,) = world.live(IntentKind.EXIT)
    on_time = world.rest["Time"]
    world.rest["Time"] = lambda params: {"unixtime": on_time(params)["unixtime"] - 19}
    while world.now_ns < order["deadline_wall_ns"] + 18 * S:
        world.step()
        assert len(exits(world)) == 1
    moves(world, 10)
    assert len(exits(world)) >= 2


def test_an_order_found_absent_that_was_executed_all_the_same() -> None:
    """All evidence was wrong: the fill is a fact, the order has the end that it had, and the contradiction is counted."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    eventually(world, lambda: order["cl_ord_id"] in world.engine.tracker.history, 90)
    ended = world.engine.tracker.history[order["cl_ord_id"]]
    assert ended["state"] == OrderState.ORDER_REJECTED
    world.command("pause")
    world.fill(order, order["qty_raw"] // 4, "TAAAAA-BBBBB-CCCCCC")
    assert ended["state"] == OrderState.ORDER_CANCELED
    world.fill(order, order["qty_raw"] - order["qty_raw"] // 4, "TAAAAA-BBBBB-DDDDDD")
    assert (ended["state"], ended["filled_raw"]) == (OrderState.ORDER_FILLED, order["qty_raw"])
    assert world.engine.tracker.contradiction_count == 1
    world.sound()


def test_clearing_a_kill_takes_two_steps_and_a_minute_of_shadow(world: World) -> None:
    """The first step gives a word, the word clears, and for a minute decisions are made and shown but not sent."""
    world.command("kill", reason="drill")
    asked = world.command("kill_clear")
    assert asked["kill"] is True and asked["kill_reason"] == "drill"
    world.now_ns += S
    assert "error" in world.command("kill_clear", confirm="please")
    world.now_ns += S
    assert world.command("kill_clear", confirm=asked["confirm"]) == {"kill": False, "shadow_s": 60}
    moves(world, 55)
    assert world.counters()["shadowed"] > 0 and openings(world) == 0
    rows = np.frombuffer(b"".join(world.core.decision_rows(1_000)), DECISION_DTYPE)
    explained = {"spec": world.engine.feed.specs[world.names[0]]}
    assert waterfall(explain(rows[rows["shadow"] != 0][-1], **explained)).count("not sent") == 2
    counted = tally(rows, lambda row: explain(row, **explained))
    assert counted["shadowed"] == world.counters()["shadowed"] == session_totals(world.engine)["shadowed"]
    moves(world, 20)
    assert openings(world) > 0


def test_a_parity_halt_refuses_with_its_own_reason_until_resume() -> None:
    """Decisions that cannot be repeated open nothing; the gate says why, and an operator ends it."""
    world = World(strategy="rehearsal").ready()
    world.command("halt", reason="parity: drill", parity=True)
    world.step()
    assert (world.engine.state, world.engine.state_reason) == ("halted", "parity: drill")
    moves(world, 20)
    rows = np.frombuffer(b"".join(world.core.decision_rows(1_000)), DECISION_DTYPE)
    reasons = {gate["reason"] for row in rows for gate in explain(row, spec=world.engine.feed.specs[world.names[0]])["gates"]
               if gate["name"] == "kill_switch"}
    assert openings(world) == 0 and reasons == {"parity_halt"}
    world.command("resume")
    moves(world, 20)
    assert openings(world) > 0
    world.command("halt", reason="journal: full")
    assert world.engine.risk.parity_halt is False


def lose(world: World, trip: int) -> None:
    """A round trip at one price, whose fees lose."""
    order = world.first_order()
    world.reply(order, f"OOPEN{trip}-BBBBB-CCCCCC")
    world.fill(order, order["qty_raw"], f"B{trip}", f"OOPEN{trip}-BBBBB-CCCCCC")
    sell = world.exit_order()
    world.reply(sell, f"OEXIT{trip}-BBBBB-CCCCCC")
    world.fill(sell, sell["qty_raw"], f"S{trip}", f"OEXIT{trip}-BBBBB-CCCCCC")


def test_a_losing_streak_switches_the_instrument_off_until_resume() -> None:
    """Refused by gate 1 and shown as off, also when the streak has ended, by a command, a restart or what was on its way."""
    cfg = practice_config()
    world = World(msgspec.structs.replace(cfg, policy=msgspec.structs.replace(cfg.policy, losing_round_trips_max=2)),
                  strategy="rehearsal").ready()
    view = LiveView(world.engine, pid=1, mono_ns=lambda: world.mono_ns, process=dict)
    lose(world, 1)
    assert not view.instruments()[0]["off"]
    lose(world, 2)
    world.engine.ledger.forget_streaks()  # as a trip that wins leaves it
    for _ in range(2):
        before = len(world.order_frames())
        world.run(90)
        assert world.core.slots[0].losing_round_trips == 0, "nothing but the latch refuses"
        assert view.instruments()[0]["off"] and len(world.order_frames()) == before
        row = np.frombuffer(world.core.decision_rows(1)[0], DECISION_DTYPE)[0]
        assert explain(row, world.engine.feed.specs[BTC])["verdict_reason"] == "losing_streak"
        world.boot(epoch=2)
        world.ready()
    world.command("resume")
    assert not view.instruments()[0]["off"]
    lose(world, 3)


def test_a_hold_lasts_through_a_new_boot(world: World) -> None:
    """A restart does not clear the latch: a killed engine comes back killed."""
    world.command("kill", reason="drill")
    world.boot(epoch=2)
    assert (world.engine.state, world.engine.state_reason) == ("killed", "drill")
    moves(world, 8)
    assert openings(world) == 0


def test_flatten_sells_managed_inventory_and_nothing_else(world: World) -> None:
    """Flatten cancels openings and sells exactly what our fills bought, at once, by steps of the collar."""
    held = holding(world)
    reply = world.command("flatten")
    assert reply == {"paused": True, "pulled": 0, "flattening": [BTC]}
    world.tick()
    (exit_order,) = world.live(IntentKind.EXIT)
    assert (exit_order["qty_raw"], exit_order["time_in_force"]) == (held, 2)
    assert exit_order["price_raw"] >= 1_000_000 * (10_000 - 50) // 10_000
    world.reply(exit_order, "OEXIT1-AAAAA-AAAAAA")
    world.fill(exit_order, held, "T2", "OEXIT1-AAAAA-AAAAAA")
    assert world.engine.ledger.positions[0].qty_raw == 0
    moves(world, 1)
    assert not world.slot.flatten and not world.live(IntentKind.EXIT)
    assert world.balances["BTC"] == "0.05000000"


def test_flatten_opens_nothing_until_resume(world: World) -> None:
    """What was sold is not bought again in the next pass: openings wait for the operator."""
    holding(world)
    world.command("flatten")
    moves(world, 8)
    count = openings(world)
    assert world.engine.state == "paused"
    moves(world, 8)
    assert openings(world) == count
    assert world.command("resume")["paused"] is False
    moves(world, 1)
    assert world.engine.state == "ready"



@pytest.mark.control("exits.collar_steps_bps")
def test_an_unfilled_exit_widens_its_collar(world: World) -> None:
    """Each exit that ends unfilled lets the next one go a step further below the bid, up to the widest."""
    holding(world)
    prices = []
    for n in range(5):
        eventually(world, lambda: bool(world.live(IntentKind.EXIT)), seconds=20)
        (exit_order,) = world.live(IntentKind.EXIT)
        prices.append(exit_order["price_raw"])
        world.reply(exit_order, f"OEXIT{n}-AAAAA-AAAAAA")
        world.report("canceled", exit_order, f"OEXIT{n}-AAAAA-AAAAAA", reason="IOC")
        world.tick()
    bid = 1_000_000
    assert prices == [bid * (10_000 - bps) // 10_000 for bps in (25, 50, 100, 200, 200)]


def test_an_unknown_command_is_told_and_changes_nothing(world: World) -> None:
    """A verb that does not exist is a usage error to its sender."""
    assert world.command("dance")["error"] == "usage"
    assert world.engine.state == "ready"
    world.sound()


def test_stop_pulls_openings_disarms_and_rests(world: World) -> None:
    """A stop cancels what rests; once nothing can be open the dead man's switch is off and the engine is at rest."""
    order = open_order(world)
    world.event(EventKind.EVENT_STOP, 0, b"")
    world.step()
    assert world.engine.state == "stopping" and not world.engine.at_rest()
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == 1
    world.report("canceled", order, reason="User requested")
    world.step()
    eventually(world, world.engine.at_rest)


def test_a_lost_public_link_blocks_and_a_new_one_heals(world: World) -> None:
    """Without the public link nothing is opened; after it comes back books are new and trading goes on."""
    world.link(Link.LINK_PUBLIC, up=False, reason="test")
    world.core.timer(world.mono_ns, world.now_ns)
    assert world.engine.state == "reconciling" and not world.verified()
    world.now_ns += 8 * S
    world.link(Link.LINK_PUBLIC, up=True)
    world.step()
    eventually(world, lambda: world.engine.state == "ready" and world.verified())
    moves(world, 8)
    assert openings(world) > 0


def crash(world: World, name: str, bps: int) -> None:
    """The whole book of an instrument falls, with verified books all the way."""
    book = world.books[name]
    for side in ("bids", "asks"):
        setattr(book, side, {price - price * bps // 10_000: qty for price, qty in getattr(book, side).items()})
    world.public(book.snapshot(world.now_ns))


def test_levels_latch_with_the_loss_and_do_not_fall_with_the_price() -> None:
    """A loss raises the level at once; the price coming back does not lower it, an operator does."""
    cfg = practice_config((BTC,), risk={"position_bps_max": 6_000, "exposure_bps_max": 6_000, "cluster_bps_max": 6_000})
    assert cfg.risk.day_loss_warning_bps == 300
    world = World(cfg, strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    # The position is 0.25 % of equity: an adopted holding makes the loss large enough to matter.
    position = world.engine.ledger.positions[0]
    position.qty_raw += 5_000_000
    world.engine.ledger.cash_flow -= 5_000
    world.step()
    assert world.engine.risk.levels.name == "normal"
    crash(world, BTC, 700)
    world.step()
    assert world.engine.nav.day_loss_bps >= 300
    assert world.engine.risk.levels.name == "warning" and world.core.level == 1
    crash(world, BTC, -753)
    moves(world, 3)
    assert world.engine.nav.day_loss_bps < 300
    assert world.engine.risk.levels.name == "warning"
    assert world.command("resume")["level"] == "normal"


def hold(world: World, qty_raw: int) -> None:
    """So much is held, as if it had been bought."""
    world.engine.ledger.positions[0].qty_raw = qty_raw
    world.engine.ledger.take_up(world.engine.ledger.fills)


def test_two_marks_of_shutdown_kill_and_one_does_not() -> None:
    """The loss that shuts down kills by itself, after a second believable mark two seconds later."""
    world = World(practice_config((BTC,)), strategy="none").ready()
    hold(world, 9_000_000)
    world.engine.ledger.cash_flow -= 9_000
    world.step()
    assert world.engine.risk.levels.name == "normal"
    crash(world, BTC, 1_000)
    world.step()
    assert world.engine.risk.levels.name == "shutdown"
    assert not world.engine.risk.killed
    moves(world, 3)
    assert world.engine.risk.killed and "day loss" in (world.engine.risk.kill_reason or "")
    assert world.engine.state == "killed"
    assert all(order["state"] != OrderState.ORDER_OPEN for order in world.live())


@pytest.mark.parametrize(("silent_s", "unknown"), [(59, False), (61, True)])
def test_own_silence_beyond_the_switch_makes_orders_unknown(silent_s: int, unknown: bool) -> None:
    """The venue can have canceled everything meanwhile: what rests is unknown until the look-ups have shown it."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    world.answering = False
    world.now_ns += (silent_s - 1) * S
    world.step(1.0)
    (seen,) = world.live()
    assert (seen["state"] == OrderState.ORDER_UNKNOWN) is unknown
    notes = [text for _, text, _ in world.engine.notes]
    assert ("own silence longer than the dead man's switch" in notes) is unknown
    world.answering = True
    for link in (Link.LINK_PRIVATE, Link.LINK_PUBLIC):
        world.link(link, up=False, reason="silent")
        world.link(link, up=True)
    eventually(world, lambda: not world.live(), 90)  # every source has to say that it is gone
    assert world.engine.reconciler.done_count >= 1
    world.sound()


def test_nothing_opens_on_what_held_before_a_stop() -> None:
    """Stopped for longer than the switch's time, the process reads first: an opening waits for a timer and the venue's word."""
    world = World(strategy="rehearsal").ready()
    world.now_ns += 61 * S
    before = world.counters()["orders"]
    for _ in range(5):
        world.tick()
    assert (world.counters()["orders"], world.engine.state) == (before, "ready"), "no timer has looked yet"
    world.answering = False
    world.step()
    assert "dead man's switch" in str(world.engine.state_reason)
    world.answering = True
    eventually(world, lambda: world.engine.state == "ready")
    world.tick()
    assert world.first_order()["kind"] == IntentKind.OPENING
