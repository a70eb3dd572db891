"""The exit policy: stop before target before time before the strategy's own wish; docs/exits.md."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cstd._fast.codes import EventKind, ExitReason, IntentKind, Link, OrderAction, OrderState
from cstd._fast.gates import DECISION_DTYPE
from cstd._fast.recorder import Recorder
from cstd.daemon.view import LiveView
from cstd.decision.why import EXIT_TEXTS, explain, waterfall
from cstd.engine import Engine
from cstd.engine.boot import boot_payload
from cstd.engine.checkpoint import dump, restore
from cstd.orders.exit_policy import REASON_WORDS
from cstd.storage.journal import open_journal
from cstd.units import to_raw
from tests.scenario.engine_world import BTC, S, VenueBook, World, practice_config, replayed
from tests.scenario.test_new_digits import change

ENTRY = 1_000_000       # 100,000.0
STOP = 980_000          # 200 bps below it
CALM: dict[str, Any] = {"stop_bps": 200, "stop_atr_multiple": Decimal(0), "target_bps": 0, "horizon_s": Decimal(0)}


def holding(journal: Any = None, *, hold_s: int = 10**6, **exits: Any) -> World:
    """A ready engine that holds what its first opening bought at 100,000.0, and a strategy that keeps it."""
    cfg = practice_config(exits={**CALM, **exits})
    assert cfg.strategy.rehearsal is not None
    patient = msgspec.structs.replace(cfg.strategy.rehearsal, hold_s=Decimal(hold_s))
    cfg = msgspec.structs.replace(cfg, strategy=msgspec.structs.replace(cfg.strategy, rehearsal=patient))
    world = World(cfg, strategy="rehearsal", journal=journal).ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    assert held(world) == order["qty_raw"] and not world.live() and order["price_raw"] == ENTRY
    return world


def held(world: World) -> int:
    """Managed quantity, raw."""
    return int(world.engine.ledger.positions[0].qty_raw)


def quote(world: World, bid_raw: int, ask_raw: int | None = None, checksum: int | None = None) -> None:
    """The venue's whole book moves, in one frame of one read."""
    book = world.books[BTC]
    ask_raw = bid_raw + 1 if ask_raw is None else ask_raw
    sides = []
    for side, best, step in ((book.bids, bid_raw, -7), (book.asks, ask_raw, 7)):
        new = {best + step * n: 5_000_000_000 + n for n in range(25)}
        sides.append([(price, 0) for price in side if price not in new] + list(new.items()))
        side.clear()
        side.update(new)
    world.public(book.frame("update", sides[0], sides[1], world.now_ns, checksum))


def dark(world: World, seconds: float) -> None:
    """Time passes without the public socket."""
    world.run_on(Link.LINK_PRIVATE, seconds)


def leaving(world: World) -> ExitReason:
    """Why the position is being left."""
    return ExitReason(world.slot.exit_watch()[3])


def exits(world: World) -> list[dict[str, Any]]:
    """Exits under way."""
    return world.live(IntentKind.EXIT)


def reject_unfilled(world: World, order: dict[str, Any]) -> None:
    """The venue takes an IOC and finds nobody: it is canceled."""
    world.reply(order, "OEXIT-" + order["cl_ord_id"][-5:])
    world.report("canceled", order, "OEXIT-" + order["cl_ord_id"][-5:], reason="IOC")


def told(world: World) -> dict[str, Any]:
    """The newest exit's decision, explained."""
    rows = [np.frombuffer(payload, dtype=DECISION_DTYPE)[0] for kind, _, payload in world.recorder.captured
            if kind == EventKind.OUT_DECISION]
    return explain([row for row in rows if row["kind"] == IntentKind.EXIT][-1], world.engine.feed.specs[BTC])


def collar(world: World) -> float:
    """How far below the bid the newest exit's price is, in bps."""
    row = told(world)
    return float((1 - Decimal(row["price"]) / Decimal(row["bid"])) * 10_000)


# The stop's trigger.


@pytest.mark.control("exits.stop_bps")
def test_a_stop_needs_two_verified_mids_in_a_row() -> None:
    """Exactly at the stop counts, one raw unit of bid + ask above it ends the run, and two in a row sell everything."""
    world = holding()
    assert world.slot.exit_watch() == (2 * STOP, 0, 0, 0)
    quote(world, STOP - 1)                      # bid + ask = 2 x stop - 1
    quote(world, STOP)                          # + 1: above
    quote(world, STOP - 1, STOP + 1)            # exactly
    assert leaving(world) == 0 and not exits(world)
    quote(world, STOP - 2, STOP + 2)
    (order,) = exits(world)
    assert leaving(world) == ExitReason.EXIT_STOP == order["exit_reason"] and order["qty_raw"] == held(world)
    world.sound()


def test_one_mid_beyond_the_stop_is_enough_for_a_second() -> None:
    """Nothing verified has taken it back for a second: the timer stops it, not sooner."""
    world = holding()
    quote(world, STOP - 1000)
    for _ in range(3):
        world.step(0.3)
    assert leaving(world) == 0
    world.step(0.1)
    assert leaving(world) == ExitReason.EXIT_STOP and len(exits(world)) == 1


def test_a_mid_above_the_stop_takes_it_back() -> None:
    """A wick of less than a second stops nothing, however often."""
    world = holding()
    for _ in range(5):
        quote(world, STOP - 1000)
        world.step(0.5)
        quote(world, STOP + 1000)
        world.step(0.6)
    assert leaving(world) == 0 and not exits(world)


def test_a_book_that_is_not_verified_neither_triggers_nor_takes_back() -> None:
    """Frames with a wrong checksum say nothing of a price, on either side of the stop."""
    world = holding()
    world.answering = False
    quote(world, STOP - 1000, checksum=1)
    assert not world.verified()
    world.now_ns += 2 * S
    world.core.timer(world.mono_ns, world.now_ns)
    assert leaving(world) == 0 and world.slot.exit_watch()[0] == 2 * STOP
    again = holding()
    again.answering = False
    quote(again, STOP - 1000)
    quote(again, STOP + 9000, checksum=1)       # nobody can mean it
    again.now_ns += S
    again.core.timer(again.mono_ns, again.now_ns)
    assert leaving(again) == ExitReason.EXIT_STOP


def test_the_run_of_a_stop_goes_on_while_the_feed_is_gone() -> None:
    """The last thing verified was beyond the stop: a second of silence does not save the position, and the exit is priced by
    REST once the book counts as lost."""
    world = holding()
    quote(world, STOP - 1000)
    world.answering = False
    world.link(Link.LINK_PUBLIC, up=False, reason="gone")
    world.answering = True
    for _ in range(3):
        world.now_ns += S // 2
        world.core.timer(world.mono_ns, world.now_ns)
    assert leaving(world) == ExitReason.EXIT_STOP and not exits(world)
    dark(world, 3)
    assert [order["exit_reason"] for order in exits(world)] == [ExitReason.EXIT_STOP]
    assert told(world)["price_from"] == "rest_snapshot" and told(world)["exit_reason"] == "stop"


def test_a_boot_begins_the_run_anew() -> None:
    """What was beyond the stop before the process ended is looked at again; a stop that had triggered stays."""
    for beyond, reason in ((1, 0), (2, ExitReason.EXIT_STOP)):
        world = holding()
        world.core.hold_exits = True
        for n in range(beyond):
            quote(world, STOP - 1000 - n)
        world.event(EventKind.EVENT_BOOT, 0, boot_payload(world.cfg, 2, None))
        world.now_ns += 3 * S
        world.core.timer(world.mono_ns, world.now_ns)
        assert leaving(world) == reason


# Thresholds.


@pytest.mark.control("exits.stop_atr_multiple")
def test_the_tighter_stop_holds_and_the_atr_stays_as_it_was_at_the_entry() -> None:
    """Three ATRs of 500 below the entry are nearer than 200 bps; what the ATR becomes later changes nothing."""
    world = holding(stop_bps=200, stop_atr_multiple=Decimal(3))
    policy, position = world.engine.risk.exits, world.engine.ledger.positions[0]
    assert policy.atr_missing_count == 1 and world.slot.exit_watch()[0] == 2 * STOP    # no history: the hard stop alone
    for range_, stop2_raw in ((Decimal(500), 2 * (ENTRY - 15_000)), (Decimal(700), 2 * STOP), (Decimal("0.01"), 2 * ENTRY - 1)):
        policy._began[0].atr = range_
        policy.watch(0, position, world.now_ns)
        assert world.slot.exit_watch()[0] == stop2_raw
    policy._began[0].atr = None
    for n in range(20):
        world.slot.m5.push(100_000.0, 100_000.0 + 200, 100_000.0 - 200, 100_000.0, 1.0 + n)
    world.step()
    first = world.slot.exit_watch()[0]
    atr = Decimal(world.slot.m5.ready_values()["atr14"])
    assert first == int((100_000 - 3 * atr) * 20) > 2 * STOP
    for _ in range(20):
        world.slot.m5.push(100_000.0, 100_000.0 + 2000, 100_000.0 - 2000, 100_000.0, 1.0)
    world.step()
    assert world.slot.exit_watch()[0] == first and policy.atr_missing_count == 1


def test_fees_are_left_out_and_sales_leave_the_stop_where_it_is() -> None:
    """The entry is the average price that was paid: another purchase moves it, a sale and a fee do not."""
    world = holding()
    position = world.engine.ledger.positions[0]
    assert position.fees > 0 and position.bought_at == 100_000
    watch = world.slot.exit_watch()
    quote(world, STOP - 1000)
    quote(world, STOP - 1001)
    (order,) = exits(world)
    world.reply(order)
    world.fill(order, order["qty_raw"] // 3, "T2")
    assert held(world) and world.slot.exit_watch()[:3] == watch[:3]


def test_a_second_purchase_moves_the_average() -> None:
    """Half bought at 100,000.0 and half at 90,000.0 stops 200 bps below 95,000.0."""
    world = holding(stop_bps=0)
    position, first = world.engine.ledger.positions[0], world.engine.ledger.fills["T1"]
    world.engine.ledger.book(msgspec.structs.replace(first, exec_id="T9", price=Decimal(90_000)), world.slot.too_little)
    assert position.bought_at == 95_000 and position.since_wall_ns == first.wall_ns
    policy = world.engine.risk.exits
    policy._stop_bps = 200
    policy.watch(0, position, world.now_ns)
    assert world.slot.exit_watch()[0] == 2 * to_raw(Decimal("93100.0"), 1)


def test_a_stop_that_moves_down_begins_the_run_anew_and_one_that_moves_up_does_not() -> None:
    """What was beyond the lower stop is beyond the higher one; of the lower one the mid before says nothing."""
    for moved, reason in ((-5000, 0), (5000, ExitReason.EXIT_STOP)):
        world = holding()
        quote(world, STOP - 1000)
        world.slot.watch_exit(2 * (STOP + moved), 0, 0)
        quote(world, STOP + min(moved, 0) - 1000)
        assert leaving(world) == reason


@pytest.mark.control("exits.target_bps")
def test_a_target_is_reached_by_the_best_bid_and_is_not_urgent() -> None:
    """A wide ask makes no profit. The exit begins at the collar's first step."""
    world = holding(target_bps=100)
    target = ENTRY + 10_000
    quote(world, target - 1, target + 5000)
    assert leaving(world) == 0
    quote(world, target)
    (order,) = exits(world)
    assert order["exit_reason"] == ExitReason.EXIT_TARGET and told(world)["exit_reason"] == "target"
    assert collar(world) == pytest.approx(25, abs=0.1)


@pytest.mark.control("exits.horizon_s")
def test_a_position_is_left_when_its_time_is_over() -> None:
    """Counted from the fill that began it, by the venue's time; by a timer, without any frame."""
    world = holding(horizon_s=Decimal(30))
    until = world.slot.exit_watch()[2]
    assert until == world.engine.ledger.fills["T1"].wall_ns + 30 * S
    while world.now_ns + S // 4 < until:
        world.step()
        world.tick()
    assert leaving(world) == 0
    world.step()
    assert [order["exit_reason"] for order in exits(world)] == [ExitReason.EXIT_TIME]
    assert collar(world) == pytest.approx(25, abs=0.1)


def test_the_strategys_own_exit_is_a_flip_and_the_operators_a_flatten() -> None:
    """Each says so in its decision and in its order."""
    world = holding(hold_s=5)
    for _ in range(30):
        world.step()
        world.tick()
    assert [order["exit_reason"] for order in exits(world)] == [ExitReason.EXIT_FLIP] and told(world)["exit_reason"] == "flip"
    world = holding()
    world.command("flatten")
    world.tick()
    assert [order["exit_reason"] for order in exits(world)] == [ExitReason.EXIT_FLATTEN]
    assert told(world)["exit_reason"] == "flatten" and collar(world) == pytest.approx(50, abs=0.1)


def test_a_fill_without_a_time_counts_from_when_it_was_seen() -> None:
    """A time that the venue did not tell must neither end a position at once nor keep it for ever."""
    world = holding(horizon_s=Decimal(30))
    policy, position = world.engine.risk.exits, world.engine.ledger.positions[0]
    for told_ns in (0, world.now_ns + 10**6 * S):
        position.since_wall_ns = told_ns
        policy.watch(0, position, world.now_ns)
        assert world.slot.exit_watch()[2] == world.now_ns + 30 * S
        policy.watch(0, position, world.now_ns + S)
        assert world.slot.exit_watch()[2] == world.now_ns + 30 * S


def test_other_digits_leave_the_stop_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue counts prices in hundredths from now on: the same stop in the new raw units, and no false alarm on the way."""
    world = holding(target_bps=100)
    change(world, monkeypatch, 2, 8)
    world.run(2)
    assert world.engine.ledger.digits(0) == (2, 8) and leaving(world) == 0
    assert world.slot.exit_watch() == (2 * STOP * 10, (ENTRY + 10_000) * 10, 0, 0) and not exits(world)
    world.sound()


# Precedence.


def test_a_stop_takes_over_an_exit_by_target_and_sells_no_more_than_is_managed() -> None:
    """While the first exit is on its way nothing else leaves; unfilled, the next one is the stop's, a step further out."""
    world = holding(target_bps=100)
    quote(world, ENTRY + 10_000)
    (first,) = exits(world)
    quote(world, STOP - 1000)
    quote(world, STOP - 1001)
    assert leaving(world) == ExitReason.EXIT_STOP
    assert [order["cl_ord_id"] for order in exits(world)] == [first["cl_ord_id"]]
    reject_unfilled(world, first)
    world.tick()
    (second,) = exits(world)
    assert second["exit_reason"] == ExitReason.EXIT_STOP and second["qty_raw"] == held(world)
    assert collar(world) == pytest.approx(100, abs=0.1)


def test_a_stop_sells_what_another_exit_leaves_free() -> None:
    """An exit whose fate is unknown keeps its quantity; what was bought since is sold beside it, and not a unit more."""
    world = holding(target_bps=100)
    quote(world, ENTRY + 10_000)
    (first,) = exits(world)
    fill = msgspec.structs.replace(world.engine.ledger.fills["T1"], exec_id="T9")
    world.engine.ledger.book(fill, world.slot.too_little)
    world.engine._settle()
    quote(world, STOP - 1000)
    quote(world, STOP - 1001)
    second = exits(world)[-1]
    assert second["cl_ord_id"] != first["cl_ord_id"]
    assert second["exit_reason"] == ExitReason.EXIT_STOP and second["qty_raw"] == held(world) - first["qty_raw"]
    world.tick()
    assert len(exits(world)) == 2


def test_reasons_change_only_to_one_that_comes_before() -> None:
    """Time, then target, then stop; and a price that comes back takes none of them back."""
    world = holding(target_bps=100, horizon_s=Decimal(5))
    world.core.hold_exits = True
    world.now_ns += 6 * S
    world.tick()
    assert leaving(world) == ExitReason.EXIT_TIME
    quote(world, ENTRY + 10_000)
    assert leaving(world) == ExitReason.EXIT_TARGET
    quote(world, ENTRY)
    assert leaving(world) == ExitReason.EXIT_TARGET
    quote(world, STOP - 1000)
    quote(world, STOP - 1001)
    assert leaving(world) == ExitReason.EXIT_STOP
    quote(world, ENTRY + 10_000)
    assert leaving(world) == ExitReason.EXIT_STOP


def test_what_still_opens_is_pulled_and_its_fills_are_sold() -> None:
    """A position that is stopped while its opening rests: the opening is canceled, the exit does not wait for it, and what it
    bought meanwhile goes as well; only then is the strategy asked again."""
    cfg = practice_config(exits=CALM)
    world = World(cfg, strategy="rehearsal").ready()
    opening = world.first_order()
    world.reply(opening)
    world.report("new", opening)
    half = opening["qty_raw"] // 2
    world.fill(opening, half, "T1")
    quote(world, STOP - 1000)
    quote(world, STOP - 1001)
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == 1
    (first,) = exits(world)
    assert first["qty_raw"] == half
    world.reply(first, "OEXIT1")
    world.fill(first, half, "T2", "OEXIT1")
    assert leaving(world) == ExitReason.EXIT_STOP
    world.fill(opening, opening["qty_raw"] - half, "T3")
    world.tick()
    (second,) = exits(world)
    assert second["qty_raw"] == opening["qty_raw"] - half and second["exit_reason"] == ExitReason.EXIT_STOP
    world.reply(second, "OEXIT2")
    world.fill(second, second["qty_raw"], "T4", "OEXIT2")
    world.tick()
    assert held(world) == 0 and leaving(world) == 0 and world.slot.exit_watch() == (0, 0, 0, 0)
    assert [fill.exit_reason for fill in world.engine.ledger.fills.values()] == [0, 1, 0, 1]


# What holds an exit back today holds a stop back too, and nothing else does.


def test_a_kill_lets_a_stop_through_and_a_kill_with_hold_does_not() -> None:
    """Kill blocks openings; `--hold` is the operator's word about exits."""
    for hold in (False, True):
        world = holding()
        world.command("kill", reason="test", hold=hold)
        quote(world, STOP - 1000)
        quote(world, STOP - 1001)
        world.step()
        assert leaving(world) == ExitReason.EXIT_STOP and bool(exits(world)) == (not hold)


def test_a_venue_that_does_not_match_is_waited_for() -> None:
    """In cancel_only the stop triggers and no exit leaves; with `online` it goes."""
    world = holding()
    word = (b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"%s","api_version":"v2",'
            b'"connection_id":1}]}')
    world.public(word % b"cancel_only")
    quote(world, STOP - 1000)
    quote(world, STOP - 1001)
    world.step()
    assert leaving(world) == ExitReason.EXIT_STOP and not exits(world)
    world.public(word % b"online")
    for _ in range(40):
        world.step()
        quote(world, STOP - 2000)
        if exits(world):
            break
    assert [order["exit_reason"] for order in exits(world)] == [ExitReason.EXIT_STOP]


# Crashes of the market.


def sell_down(world: World, fills_at: int) -> int:
    """The price falls 30 % in a minute; exits find a buyer from the n-th on. Returns how many were sent."""
    answered: set[str] = set()
    for n in range(1, 241):
        world.step()
        quote(world, ENTRY - ENTRY * 3 * n // 2400)
        for order in exits(world):
            if order["cl_ord_id"] in answered:
                continue
            answered.add(order["cl_ord_id"])
            assert order["qty_raw"] <= held(world) and order["exit_reason"] == ExitReason.EXIT_STOP
            assert told(world)["exit_reason"] == "stop" and "exit by stop: " in waterfall(told(world))
            if len(answered) < fills_at:
                reject_unfilled(world, order)
            else:
                world.reply(order, f"OEXIT-{len(answered)}")
                world.fill(order, order["qty_raw"], f"TX{len(answered)}", f"OEXIT-{len(answered)}")
    world.sound()
    return len(answered)


def test_a_fall_of_thirty_percent_in_a_minute_is_sold_into() -> None:
    """With buyers the position is out at once; without, each exit goes a step further, up to the widest, and so on for as long
    as nobody buys: every one of them says that it is the stop's."""
    world = holding()
    assert sell_down(world, fills_at=1) == 1 and held(world) == 0
    world = holding()
    assert sell_down(world, fills_at=10**6) > 50 and held(world) > 0
    assert collar(world) == pytest.approx(200, abs=0.1)
    assert world.core.exit_counts()[ExitReason.EXIT_STOP] == len(world.order_frames(OrderAction.ACTION_ADD)) - 1


def test_a_book_that_empties_holds_the_stop_until_there_is_a_price() -> None:
    """Two mids beyond the stop, then no bid is left, at REST neither: nothing is invented. The first bid that comes is sold to,
    with urgency."""
    world = holding()
    world.core.hold_exits = True
    quote(world, STOP - 1000)
    quote(world, STOP - 1001)
    book = world.books[BTC]
    gone = [(price, 0) for price in book.bids]
    world.book(BTC, gone)
    world.engine.risk.write()
    assert not world.verified() and leaving(world) == ExitReason.EXIT_STOP
    dark(world, 10)
    assert not exits(world) and world.engine.exit_prices.failed["empty"] >= 1
    book.bids.update({700_000 - 7 * n: 5_000_000_000 for n in range(25)})
    world.public(book.snapshot(world.now_ns))
    world.step()
    (order,) = exits(world)
    assert order["exit_reason"] == ExitReason.EXIT_STOP and collar(world) >= 49.9


def test_a_feed_that_dies_above_the_stop_leaves_the_time_stop() -> None:
    """Without a verified price nothing is beyond a stop; when the time is over the exit goes all the same, priced by REST."""
    world = holding(horizon_s=Decimal(20))
    world.answering = False
    world.link(Link.LINK_PUBLIC, up=False, reason="gone")
    world.answering = True
    world.books[BTC] = VenueBook(BTC, 700_000, 700_001, 5_000_000_000)      # what REST shows meanwhile
    while world.now_ns < world.slot.exit_watch()[2] - S:
        dark(world, 0.25)
        assert leaving(world) == 0 and not exits(world)
    dark(world, 3)
    assert [order["exit_reason"] for order in exits(world)] == [ExitReason.EXIT_TIME]
    assert (told(world)["price_from"], told(world)["bid"]) == ("rest_snapshot", "70000.0")


# The same again.


def test_a_checkpoint_and_a_replay_come_to_the_same_stop(tmp_path: Path) -> None:
    """The run, the reason and each threshold, to the raw unit; and the same decisions follow."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = holding(journal, stop_atr_multiple=Decimal("1.5"), target_bps=500, horizon_s=Decimal(3600))
        quote(world, STOP - 1000)
        other = Engine(Recorder(), None)
        restore(other, dump(world.engine))
        assert other.core.slots[0].exit_watch() == world.slot.exit_watch() and world.slot.exit_watch()[0]
        other.core.timer(world.mono_ns + S, world.now_ns + S)
        assert other.core.slots[0].exit_watch()[3] == ExitReason.EXIT_STOP      # the run was in it as well
        quote(world, STOP - 1001)
        (order,) = exits(world)
        world.reply(order)
        world.fill(order, order["qty_raw"] // 2, "T2")
        world.step()
        journal.sync()
    again = replayed(tmp_path / "journal")
    assert not again.difference_count and again.engine.core.slots[0].exit_watch() == world.slot.exit_watch()
    assert again.engine.recorder.hexdigest() == world.engine.recorder.hexdigest()
    assert again.engine.core.exit_counts() == world.core.exit_counts() and world.core.exit_counts()[1] >= 1


def test_screens_show_the_stop_and_the_reason() -> None:
    """Positions, orders, fills, counters, the log and the journal's ledger rows."""
    world = holding(target_bps=300, horizon_s=Decimal(600))
    view = LiveView(world.engine, pid=1, mono_ns=lambda: world.mono_ns, process=dict)
    quote(world, ENTRY)
    (row,) = view.positions()
    assert (row["stop_price"], row["target_price"], row["exit_reason"]) == ("98000.0", "103000.0", None)
    assert row["stop_distance_bps"] == pytest.approx(200, abs=0.1)
    assert row["time_stop_wall_ns"] == world.slot.exit_watch()[2]
    world.engine.notes.clear()
    quote(world, STOP - 1000)
    quote(world, STOP - 1001)
    world.step()
    assert [note[2]["reason"] for note in world.engine.notes if note[1] == "exit"] == ["stop"]
    assert view.positions()[0]["exit_reason"] == "stop"
    (order,) = exits(world)
    assert next(iter(view.orders(all_=False, limit=5)))["exit_reason"] == "stop"
    world.reply(order)
    world.fill(order, order["qty_raw"], "T2")
    assert view.fills(all_=True, limit=1)[0]["exit_reason"] == "stop"
    ledger = [json.loads(payload) for kind, _, payload in world.recorder.captured if kind == EventKind.OUT_LEDGER]
    assert [entry["exit_reason"] for entry in ledger] == [0, int(ExitReason.EXIT_STOP)]
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_FILLED


def test_every_reason_has_a_text() -> None:
    """What a decision can say, `cstd why` can explain."""
    assert set(EXIT_TEXTS) == set(REASON_WORDS.values())


# Escalation.


@pytest.mark.parametrize(("level", "sold"), [(2, 0), (3, 1), (4, 1)])
def test_from_emergency_on_what_is_held_is_sold_with_urgency(level: int, sold: int) -> None:
    """At Critical it is kept; at Emergency and Shutdown it is sold, at the second step of the collar, for its own reason."""
    world = holding()
    world.engine.risk.levels.loss_level = level
    world.run(1)
    assert len(exits(world)) == sold
    if sold:
        (order,) = exits(world)
        assert leaving(world) == ExitReason.EXIT_ESCALATION == order["exit_reason"] and order["qty_raw"] == held(world)
        assert told(world)["exit_reason"] == "escalation" and 49.9 < collar(world) < 50.1
        assert "Emergency" in waterfall(told(world))
        world.fill(order, order["qty_raw"], "T2", "OEXIT1-AAAAA-AAAAAA")
        world.run(1)
        assert leaving(world) == 0 and held(world) == 0 and not exits(world)
    world.sound()


def test_an_escalation_ends_when_nothing_is_left_and_not_when_the_level_falls() -> None:
    """Once due it stays due, like any other reason of the policy."""
    world = holding()
    world.engine.risk.levels.loss_level = 3
    world.run(1)
    (order,) = exits(world)
    world.engine.risk.levels.loss_level = 0
    reject_unfilled(world, order)
    world.run(1)
    assert leaving(world) == ExitReason.EXIT_ESCALATION and len(exits(world)) == 1


@pytest.mark.parametrize("reason", ["stop", "target", "time"])
def test_every_other_reason_comes_before_an_escalation(reason: str) -> None:
    """A stop, a target or the end of its time takes over what an escalation had begun; the other way round never."""
    world = holding(target_bps=100, horizon_s=Decimal(60))
    world.engine.risk.levels.loss_level = 3
    if reason == "time":
        while not leaving(world):
            world.step()
        world.run(61)
    else:
        world.run(1)
        assert leaving(world) == ExitReason.EXIT_ESCALATION
        for _ in range(2):
            quote(world, STOP - 100 if reason == "stop" else ENTRY * 102 // 100)
    assert REASON_WORDS[leaving(world)] == reason
    world.run(1)
    assert REASON_WORDS[leaving(world)] == reason


def test_at_emergency_a_time_stop_is_urgent_too() -> None:
    """Whatever it is left for goes a step further out, and keeps its reason."""
    world = holding(horizon_s=Decimal(20))
    while not exits(world):
        world.step()
        world.tick()
    assert 24.9 < collar(world) < 25.1 and told(world)["exit_reason"] == "time"
    world.engine.risk.levels.loss_level = 3
    reject_unfilled(world, exits(world)[0])
    world.run(1)
    assert 99.9 < collar(world) < 100.1 and told(world)["exit_reason"] == "time"
