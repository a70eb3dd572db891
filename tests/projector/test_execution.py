"""Arrivals and markouts as rows: which mid is taken, which is unknown and why, and that pieces give what one way gives."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cstd._fast.codes import EventKind, IntentKind, Link
from cstd.daemon.checkpointer import bring_up_to_date
from cstd.errors import OperatorError
from cstd.ledger.execution import HORIZONS_S
from cstd.ops import execution
from cstd.projector.execution import EVIDENCE_NS_MAX
from cstd.projector.rebuild import rebuild
from cstd.storage import checkpoints
from cstd.storage.journal_reader import records
from cstd.units import to_raw
from tests.kernels.oracle_book import OracleBook
from tests.projector.sessions import append, columns, follow, opened, rows, written
from tests.scenario.engine_world import BTC, DEPTH, S, World, practice_config, time_text
from tests.simulation.simulated import Simulation

Script = Callable[[World, dict[str, Any]], None]


def played(run_dir: Path, script: Script, *, depth: int = DEPTH) -> tuple[World, Path]:
    """A session up to its first order, which the venue takes, and then a script; returns the ledger made of its journal."""
    run_dir.mkdir(exist_ok=True)
    with opened(run_dir, ring_bytes=1 << 24) as journal:
        world = World(practice_config(instruments={"depth": depth}), strategy=None, journal=journal).ready()
        order = world.first_order()
        world.reply(order)
        world.report("new", order)
        script(world, order)
        world.sound()
        journal.sync()
    rebuild(run_dir / "journal", run_dir / "ledger.db", None)
    return world, run_dir / "ledger.db"


def mids(path: Path, exec_id: str = "T1") -> dict[int, tuple[str | None, str | None]]:
    """Mid and why it is unknown by horizon."""
    return {row[0]: row[1:] for row in columns(
        path, f"SELECT horizon_s, mid, unknown FROM markouts WHERE exec_id = '{exec_id}'")}


def touch(world: World, ask_raw: int, seconds: float) -> None:
    """After a while the best ask is another, one lower than the one before it."""
    world.now_ns += int(seconds * S)
    world.book(BTC, asks=[(ask_raw, 5_000_000_000)])


def test_the_mid_is_the_last_one_up_to_its_time(tmp_path: Path) -> None:
    """A mid of before the time counts, of exactly the time too, one of a nanosecond later does not; its age is told."""
    def script(world: World, order: dict[str, Any]) -> None:
        world.books[BTC].change(asks=[(price, 0) for price in sorted(world.books[BTC].asks)])
        world.books[BTC].change(asks=[(1_000_101 + 10 * n, 5_000_000_000) for n in range(DEPTH)])
        world.public(world.books[BTC].snapshot(world.now_ns))
        world.fill(order, order["qty_raw"], "T1")
        touch(world, 1_000_091, 0.4)            # at 0.4 s
        touch(world, 1_000_081, 0.6 + 1e-9)     # a nanosecond after 1 s
        touch(world, 1_000_071, 9 - 1e-9)       # at 10 s
        for _ in range(9):
            world.run(6)
            world.tick()                        # at 64 s at last; before the 60 s at 58 s

    _, path = played(tmp_path, script)
    assert mids(path) == {1: ("100004.55", None), 10: ("100003.55", None), 60: ("100003.55", None), 300: (None, "to come")}
    ages = dict(columns(path, "SELECT horizon_s, age_ns FROM markouts WHERE mid IS NOT NULL"))
    assert ages == {1: 600_000_000, 10: 0, 60: 2 * S}


def test_without_a_verified_book_it_is_unknown(tmp_path: Path) -> None:
    """A wrong checksum at 1 s, a link that is down at 10 s; verified again at 60 s."""
    def script(world: World, order: dict[str, Any]) -> None:
        world.tick()
        world.fill(order, order["qty_raw"], "T1")
        world.run(0.5)
        world.snapshots = False
        world.public(world.books[BTC].frame("update", [(999_000, 1)], [], world.now_ns, checksum=1))
        world.run(5)
        world.link(Link.LINK_PUBLIC, up=False, reason="test")
        world.run(10)
        world.snapshots = True
        world.link(Link.LINK_PUBLIC, up=True)
        world.run(40)
        world.tick()
        world.run(6)

    _, path = played(tmp_path, script)
    found = mids(path)
    assert (found[1], found[10]) == ((None, "unverified"), (None, "unverified"))
    assert found[60] == ("100000.05", None)


@pytest.mark.parametrize(("quiet_s", "mid"), [(EVIDENCE_NS_MAX // S, "100000.05"), (EVIDENCE_NS_MAX // S + 0.25, None)])
def test_a_mid_that_is_too_old_is_unknown(tmp_path: Path, quiet_s: float, mid: str | None) -> None:
    """Evidence of EVIDENCE_NS_MAX before the time is the oldest that counts; a longer silence leaves nothing to be said."""
    def script(world: World, order: dict[str, Any]) -> None:
        world.fill(order, order["qty_raw"], "T1")
        world.run(60 - quiet_s)
        world.tick()
        world.snapshots = False     # the engine asks for another one of a book that is so quiet
        world.run(quiet_s + 5)

    _, path = played(tmp_path, script)
    assert mids(path)[60] == (mid, None if mid is not None else "stale")
    assert columns(path, "SELECT age_ns FROM markouts WHERE horizon_s = 60") == [(EVIDENCE_NS_MAX if mid is not None else None,)]


def test_a_fill_that_is_learned_late_has_no_mids_of_before(tmp_path: Path) -> None:
    """Told 12 s after it: 1 and 10 s are over and stay unknown, 60 s after the fill itself is seen."""
    def script(world: World, order: dict[str, Any]) -> None:
        at_ns = world.now_ns
        world.run(12)
        world.fill(order, order["qty_raw"], "T1", timestamp=time_text(at_ns))
        for _ in range(10):
            world.run(5)
            world.tick()

    _, path = played(tmp_path, script)
    found = mids(path)
    assert (found[1], found[10]) == ((None, "late"), (None, "late"))
    assert found[60] == ("100000.05", None)
    due = columns(path, "SELECT due_wall_ns - wall_ns FROM markouts JOIN fills USING (exec_id) WHERE horizon_s = 60")
    assert due == [(60 * S,)]


def test_a_clock_that_is_set_back_takes_what_was_to_come(tmp_path: Path) -> None:
    """What the clock says then is not how long ago the fill was. One that is set forward leaves only old evidence."""
    def back(world: World, order: dict[str, Any]) -> None:
        world.fill(order, order["qty_raw"], "T1")
        world.run(2)
        world.step_wall(-5 * S)
        world.run(20)

    def forward(world: World, order: dict[str, Any]) -> None:
        world.fill(order, order["qty_raw"], "T1")
        world.run(2)
        world.step_wall(40 * S)
        world.run(1)

    _, path = played(tmp_path / "back", back)
    found = mids(path)
    assert found[1][0] is not None and [found[horizon_s] for horizon_s in (10, 60, 300)] == [(None, "clock")] * 3
    _, path = played(tmp_path / "forward", forward)
    assert mids(path)[10] == ("100000.05", None)    # 8 s after the last event
    assert mids(path)[60] == (None, "to come")


def test_arrival_and_queue_are_what_the_decision_saw(tmp_path: Path) -> None:
    """The mid of the verified book when the order left; ahead of it what rests at its price and better ones."""
    world, path = played(tmp_path, lambda world, order: world.fill(order, order["qty_raw"], "T1"))
    ((cl_ord_id, mid, queue, better_raw, ahead_raw, qty_raw),) = columns(
        path, "SELECT cl_ord_id, mid, queue, better_raw, ahead_raw, qty_raw FROM arrivals")
    order = world.engine.tracker.history[cl_ord_id]
    assert (mid, queue, qty_raw) == ("100000.05", "seen", order["qty_raw"])
    bids = world.books[BTC].bids
    assert better_raw == sum(qty for price, qty in bids.items() if price > order["price_raw"])
    assert ahead_raw == bids.get(order["price_raw"], 0) > 0
    mids_by_decision = columns(path, "SELECT bid, ask FROM decisions JOIN arrivals USING (cl_ord_id)")
    assert [(Decimal(bid) + Decimal(ask)) / 2 for bid, ask in mids_by_decision] == [Decimal(mid)]


def sold(world: World, seconds: float = 30.0) -> None:
    """The exit leaves, and the venue takes and fills it."""
    order = world.exit_order(seconds)
    world.reply(order, "OEXIT1-AAAAA-AAAAAA")
    world.fill(order, order["qty_raw"], "T2", "OEXIT1-AAAAA-AAAAAA")


def test_an_exit_that_takes_does_not_rest(tmp_path: Path) -> None:
    """It has an arrival and no queue, and does not count among the resting orders."""
    def script(world: World, order: dict[str, Any]) -> None:
        world.fill(order, order["qty_raw"], "T1")
        sold(world)

    _, path = played(tmp_path, script)
    assert columns(path, "SELECT kind, queue, ahead_raw IS NULL FROM arrivals JOIN orders USING (cl_ord_id) ORDER BY seq") == [
        ("opening", "seen", 0), ("exit", "takes", 1)]
    found = execution.read(path)
    assert (found["orders"], found["filled_orders"], sum(row["orders"] for row in found["queue"])) == (2, 2, 1)


def test_an_exit_priced_from_rest_has_no_arrival(tmp_path: Path) -> None:
    """Its quote was of no verified book: there is no mid, and so no shortfall of it; its fill has markouts all the same."""
    def script(world: World, order: dict[str, Any]) -> None:
        world.fill(order, order["qty_raw"], "T1")
        world.snapshots = False
        world.public(world.books[BTC].frame("update", [(999_000, 1)], [], world.now_ns, checksum=1))
        sold(world, 100)
        world.run(2)

    _, path = played(tmp_path, script)
    assert columns(path, "SELECT kind, mid IS NULL, queue FROM arrivals JOIN orders USING (cl_ord_id) ORDER BY seq") == [
        ("opening", 0, "seen"), ("exit", 1, "takes")]
    assert mids(path, "T2")[1] == (None, "unverified")
    found = execution.read(path)
    assert (found["shortfall"]["n"], found["shortfall"]["unknown"]) == (1, 1)
    assert [(row["kind"], row["arrival"], row["shortfall_bps"] is None) for row in found["newest"]] == [
        ("exit", None, True), ("opening", "100000.05", False)]


def test_an_arrival_of_old_evidence_is_unknown(tmp_path: Path) -> None:
    """Exits go on while a feed is silent; those that left more than EVIDENCE_NS_MAX after its last word have no arrival."""
    def script(world: World, order: dict[str, Any]) -> None:
        world.fill(order, order["qty_raw"], "T1")
        world.tick()
        world.snapshots = False
        for _ in range(100):
            world.step()
            for exit_order in world.live(IntentKind.EXIT):
                world.reply(exit_order, f"OEXIT1-AAAAA-{world.now_ns // 10**7 % 10**6:06d}")
                world.report("canceled", exit_order, f"OEXIT1-AAAAA-{world.now_ns // 10**7 % 10**6:06d}")

    _, path = played(tmp_path, script)
    ages = columns(path, "SELECT a.wall_ns - f.wall_ns, a.mid FROM arrivals a JOIN orders o USING (cl_ord_id), fills f"
                         " WHERE o.kind = 'exit'")
    assert {mid is not None for age_ns, mid in ages if age_ns <= EVIDENCE_NS_MAX} == {True}
    assert {mid is not None for age_ns, mid in ages if age_ns > EVIDENCE_NS_MAX} == {False}


def test_the_report_by_hand(tmp_path: Path) -> None:
    """A buy of the whole order at its limit, with a fee: shortfall, markout and score computed here from what was played."""
    def script(world: World, order: dict[str, Any]) -> None:
        world.fill(order, order["qty_raw"], "T1", fee="0.01")
        world.run(0.5)
        world.book(BTC, asks=[(1_000_001, 0)])      # the best ask is 100000.8 from here on, the mid 100000.4
        for _ in range(14):
            world.run(5)
            world.tick()

    world, path = played(tmp_path, script)
    order = next(iter(world.engine.tracker.history.values()))
    price, qty, arrival = Decimal(order["price_raw"]) / 10, Decimal(order["qty_raw"]).scaleb(-8), Decimal("100000.05")
    found = execution.read(path)
    (row,) = found["newest"]
    value = arrival * qty
    shortfall = ((price - arrival) * qty + Decimal("0.01")) / value * 10_000
    after = (price - Decimal("100000.4")) * qty / value * 10_000
    shown = Decimal("0.001")
    assert (Decimal(row["shortfall_bps"] or 0), Decimal(row["markouts_bps"]["60"] or 0), Decimal(row["score_bps"] or 0)) == (
        shortfall.quantize(shown), after.quantize(shown), (shortfall + after).quantize(shown))
    assert row["markouts_bps"]["300"] is None
    assert (row["arrival"], row["average_price"], row["filled_qty"]) == ("100000.05", f"{price:.2f}", f"{qty:f}")
    assert (found["shortfall"]["n"], found["shortfall"]["mean_bps"]) == (1, row["shortfall_bps"])
    assert [(one["horizon_s"], one["n"], one["unknown"], one["reasons"]) for one in found["markouts"]] == [
        (1, 1, 0, {}), (10, 1, 0, {}), (60, 1, 0, {}), (300, 0, 1, {"to come": 1})]


def test_every_mid_and_queue_is_that_of_a_plain_book(tmp_path: Path) -> None:
    """Over sessions with faults: what the rows hold is what dictionaries of prices say, made of the journal's frames alone."""
    mids = queues = 0
    for seed in range(2, 20):
        more = compared_with_a_plain_book(tmp_path / str(seed), seed)
        mids, queues = mids + more[0], queues + more[1]
        if mids > 40 and queues > 15:
            return
    pytest.fail(f"only {mids} mids and {queues} queues in 18 seeds")


def compared_with_a_plain_book(folder: Path, seed: int) -> tuple[int, int]:
    """Compare one session's rows; returns how many mids and queues were known."""
    folder.mkdir()
    session = Simulation(seed).run(60)
    path = folder / "ledger.db"
    rebuild(written(folder / "run", session.journal) / "journal", path, None)
    expected = {row[0]: row for row in columns(path, "SELECT seq, mid FROM markouts WHERE mid IS NOT NULL")}
    arrivals = {row[0]: row[1:] for row in columns(
        path, "SELECT a.seq, mid, queue, better_raw, ahead_raw, d.side, d.price"  # where it was sent; it may have followed since
              " FROM arrivals a JOIN decisions d USING (cl_ord_id) WHERE NOT d.rejudged")}
    book = OracleBook(10, 1, 8)
    for seq, (kind, tag, _, _, payload) in enumerate(session.journal, 1):
        if seq in expected:
            assert Decimal(expected[seq][1]) == mid_of(book), f"seed {seed} record {seq}"
        if seq in arrivals and arrivals[seq][0] is not None:
            mid, queue, better_raw, ahead_raw, side, sent_at = arrivals[seq]
            assert Decimal(mid) == mid_of(book)
            if queue == "seen":
                price, levels = Decimal(sent_at), book.bids if side == "buy" else book.asks
                assert (better_raw, ahead_raw) == (
                    sum(to_raw(qty, 8) for level, qty in levels.items() if (level > price if side == "buy" else level < price)),
                    to_raw(levels.get(price, Decimal(0)), 8)), f"seed {seed} record {seq}"
        if kind == EventKind.EVENT_FRAME and tag == Link.LINK_PUBLIC and b'"channel":"book","type"' in payload:
            message = json.loads(payload, parse_float=Decimal, parse_int=Decimal)
            for row in message["data"]:
                book.apply(snapshot=message["type"] == "snapshot", bids=pairs(row["bids"]), asks=pairs(row["asks"]))
    return len(expected), sum(row[1] == "seen" for row in arrivals.values())


def pairs(levels: list[dict[str, Decimal]]) -> list[tuple[Decimal, Decimal]]:
    """Levels of a frame as price and quantity."""
    return [(level["price"], level["qty"]) for level in levels]


def mid_of(book: OracleBook) -> Decimal:
    """Half of best bid and best ask."""
    return (max(book.bids) + min(book.asks)) / 2


def test_what_is_asked_for_is_what_is_counted(tmp_path: Path) -> None:
    """By instrument, by time, by number; an instrument of which nothing was sent is an error that names those there are."""
    world, path = played(tmp_path, lambda world, order: world.fill(order, order["qty_raw"], "T1"))
    assert execution.read(path, instrument="btc/usd")["instrument"] == BTC
    assert execution.read(path, since_ns=world.now_ns + S)["orders"] == 0
    cut = execution.read(path, orders_max=0)
    assert (cut["orders"], cut["cut"], cut["newest"]) == (0, True, [])
    with pytest.raises(OperatorError, match="no order of XRP/USD") as caught:
        execution.read(path, instrument="XRP/USD")
    assert BTC in caught.value.suggestion


def long_session(world: World, order: dict[str, Any]) -> None:
    """Fills in parts and late, a broken book, a restart, and quiet enough at the end for the longest horizon."""
    qty_raw = order["qty_raw"]
    world.fill(order, qty_raw // 3, "T1")
    world.run(2)
    world.tick()
    world.fill(order, qty_raw - qty_raw // 3, "T2", timestamp=time_text(world.now_ns - 30 * S))
    world.run(8)
    world.public(world.books[BTC].frame("update", [(999_000, 1)], [], world.now_ns, checksum=1))
    world.run(4)
    world.boot(epoch=2)
    for _ in range(70):
        world.run(5)
        world.tick()


@pytest.mark.parametrize("seed", range(3))
def test_pieces_give_what_one_way_gives(tmp_path: Path, seed: int) -> None:
    """Lives of a projector that end at any block, with checkpoints between: the rows are those of one way, at every moment.

    Compared after each life with a ledger made of the same records at once, so that a markout to come is there too.
    """
    chance = random.Random(seed)
    _, whole = played(tmp_path / "whole", long_session)
    assert {reason for _, reason in mids(whole).values()} | {reason for _, reason in mids(whole, "T2").values()} >= {None, "late"}
    entries = [(record.kind, record.tag, record.mono_ns, record.wall_ns, bytes(record.payload))
               for record in records(tmp_path / "whole" / "journal")]
    run_dir, seen = tmp_path / "run", set()
    run_dir.mkdir()
    cuts = [0, *sorted(chance.sample(range(len(entries) // 8, len(entries)), 6)), len(entries)]
    with opened(run_dir, ring_bytes=1 << 24) as journal:
        for number, (begin, end) in enumerate(itertools.pairwise(cuts)):
            append(journal, entries[begin:end])
            follow(run_dir, run_dir / "ledger.db", blocks=chance.randrange(1, 40), commit_every=chance.randrange(1, 5))
            follow(run_dir, run_dir / "ledger.db")
            rebuild(run_dir / "journal", run_dir / f"at{number}.db", None)
            ours, again = rows(run_dir / "ledger.db"), rows(run_dir / f"at{number}.db")
            assert (ours["markouts"], ours["arrivals"]) == (again["markouts"], again["arrivals"]), f"seed {seed} piece {number}"
            seen |= {row[-1] for row in ours["markouts"]}
            bring_up_to_date(run_dir / "journal", None)
    assert rows(run_dir / "ledger.db")["markouts"] == rows(whole)["markouts"]
    assert "to come" in seen and checkpoints.paths(run_dir / "journal")
    assert len(rows(whole)["markouts"]) == len(HORIZONS_S) * len(rows(whole)["fills"])
