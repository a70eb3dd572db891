"""Silence: trades that are acknowledged and do not come, and books that are quiet and true, or quiet and wrong."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cstd._fast.codes import BookFault, EventKind, Link, Side
from cstd._fast.gates import DECISION_DTYPE
from cstd.decision.why import GATES
from cstd.engine.boot import boot_payload
from cstd.market.evidence import ANSWER_NS, DIFFER_NS, PACE_NS
from cstd.market.tapes import SILENT_NS
from cstd.storage.journal import open_journal
from tests.scenario.engine_world import BTC, ETH, S, World, next_order, practice_config, replayed, time_text

VOLUME = next(gate.code for gate in GATES if gate.name == "volume")
DATA_GAP = next(gate.code for gate in GATES if gate.name == "data_gap")


class Listening(World):
    """A venue that remembers what it was asked on the public socket, and whose ticker is the test's where it says so."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.requests: list[tuple[str, str, tuple[str, ...]]] = []
        self.silent_channels: set[str] = set()
        self.top: tuple[int, int] | None = None
        super().__init__(*args, **kwargs)

    def _answer(self, link: int, request: dict[str, Any]) -> None:
        if link == Link.LINK_PUBLIC and request["method"] != "ping":
            params = request["params"]
            self.requests.append((request["method"], params["channel"], tuple(params.get("symbol", ()))))
        super()._answer(link, request)

    def _snapshot(self, link: int, params: dict[str, Any], name: str) -> None:
        if params["channel"] in self.silent_channels:
            return
        if params["channel"] == "ticker" and self.top is not None:
            self._raw(link, ticker_of(*self.top))
        else:
            super()._snapshot(link, params, name)

    def about(self, channel: str) -> list[tuple[str, tuple[str, ...]]]:
        """Requests about a channel."""
        return [(method, names) for method, of, names in self.requests if of == channel]


def ticker_of(bid_raw: int, ask_raw: int, last: str = "100000.0", qty: str = "50.00000000") -> bytes:
    """A ticker of BTC/USD in the venue's spelling."""
    return (f'{{"channel":"ticker","type":"update","data":[{{"symbol":"BTC/USD","bid":{bid_raw / 10:.1f},"bid_qty":{qty},'
            f'"ask":{ask_raw / 10:.1f},"ask_qty":{qty},"last":{last},"volume":1.5,"vwap":1.5,"low":1.0,"high":2.0,'
            f'"change":0.1,"change_pct":0.1}}]}}').encode()


def trade(world: World, trade_id: int, price: str = "100000.0") -> bytes:
    """A trade of others in BTC/USD."""
    return (f'{{"channel":"trade","type":"update","data":[{{"symbol":"BTC/USD","side":"buy","price":{price},"qty":0.00010000,'
            f'"ord_type":"limit","trade_id":{trade_id},"timestamp":"{time_text(world.now_ns)}"}}]}}').encode()


def ready(*, journal: Any = None, strategy: str = "none") -> Listening:
    """A ready engine over two instruments whose tapes are live; what was asked until then is forgotten."""
    world = Listening(practice_config((BTC, ETH)), strategy=strategy, journal=journal)
    world.ready()
    world.run(1)
    world.tick(BTC)
    world.tick(ETH)
    assert world.engine.tapes.live == {BTC, ETH}
    world.requests.clear()
    return world


def alive(world: World, seconds: float, *frames: bytes) -> None:
    """Time passes and both books move; the frames come at its beginning."""
    if frames:
        world.public(*frames)
    for _ in range(int(seconds * 4)):
        world.step()
        world.tick(BTC)
        world.tick(ETH)
    world.sound()


def first_failing(world: World) -> list[int]:
    """The first failing gate of every refused intent so far."""
    rows = [np.frombuffer(payload, dtype=DECISION_DTYPE)[0] for kind, _, payload in world.recorder.captured
            if kind == EventKind.OUT_DECISION]
    return [int(row["first_failing"]) for row in rows if row["instrument"] == 0 and not row["rejudge"]]


def go_dead(world: World, id_: int = 0) -> None:
    """The ticker tells of trades, and none come."""
    if id_:
        world.public(trade(world, id_))
    alive(world, 11)
    alive(world, 1, ticker_of(1_000_000, 1_000_001, "100000.1"))
    assert world.engine.tapes.silent_count == 0
    alive(world, 10.5, ticker_of(1_000_000, 1_000_001, "100000.4"))


# Trades.


def test_trades_that_the_ticker_tells_of_and_that_do_not_come_are_a_fault() -> None:
    """Counted, said, the tape is lost for gate 4, and that subscription alone is taken again, others undisturbed."""
    world = ready()
    assert world.core.volume_hour(0) is not None
    go_dead(world, 500)
    assert world.engine.tapes.silent_count == 1
    assert world.engine.public.resync_counts == {"silent_trades": 1}
    assert ("error", "trades are acknowledged and do not come", {"instrument": BTC}) in world.engine.notes
    assert world.about("trade") == [("unsubscribe", (BTC,)), ("subscribe", (BTC,))] and not world.about("book")
    assert world.engine.public.live(BTC, "trade"), "acknowledged once more, which proves nothing"
    assert world.core.volume_hour(0) is None and world.core.volume_hour(1) is not None
    assert world.verified() and world.verified(1) and world.engine.tapes.live == {ETH}
    assert world.engine.public.resync_counts == {"silent_trades": 1}


def test_a_lost_tape_refuses_openings_by_gate_4_until_trades_come_again() -> None:
    """Nothing is opened on volume that is not counted; the first trade begins the tape, and the missed history is fetched."""
    world = ready(strategy="rehearsal")
    world.command("pause")
    go_dead(world, 500)
    before = len(first_failing(world))
    openings = len(world.order_frames())
    world.command("resume")
    alive(world, 8)
    assert set(first_failing(world)[before:]) == {VOLUME}
    assert not [frame for frame in world.order_frames()[openings:] if b"BTC/USD" in frame]
    world.requests.clear()
    world.public(trade(world, 507))
    alive(world, 1)
    assert world.core.volume_hour(0) is not None and world.engine.tapes.live == {BTC, ETH}
    assert {names for _, names in world.about("ohlc")} == {(BTC,)} and len(world.about("ohlc")) == 6
    assert "trades come again" in [text for _, text, _ in world.engine.notes]
    while b"BTC/USD" not in next_order(world, 120):
        pass


def test_a_stream_that_stays_dead_is_taken_again_with_growing_pauses() -> None:
    """The venue acknowledges and stays silent: it is tried again and again, ever later, and the tape stays lost."""
    world = ready()
    go_dead(world, 500)
    for n in range(12):
        alive(world, 10.5, ticker_of(1_000_000, 1_000_001, f"100000.{n % 2 + 5}"))
        assert world.core.volume_hour(0) is None
    again = [method for method, _ in world.about("trade")].count("subscribe")
    assert world.engine.tapes.silent_count == again >= 3


@pytest.mark.parametrize("case", ["quiet", "before", "after", "same price", "no last", "no ticker"])
def test_a_quiet_tape_that_nothing_contradicts_is_no_fault(case: str) -> None:
    """No trade for a minute is a quiet market, unless the price of the last trade moved without one."""
    world = ready()
    world.public(trade(world, 500))
    alive(world, 12, ticker_of(1_000_000, 1_000_001))
    if case == "before":    # the ticker comes after its trade
        world.public(trade(world, 501, "100000.3"))
        alive(world, SILENT_NS / S - 3, ticker_of(1_000_000, 1_000_001))
        world.public(ticker_of(1_000_000, 1_000_001, "100000.3"))
    elif case == "after":   # the trade comes after its ticker
        alive(world, SILENT_NS / S - 3, ticker_of(1_000_000, 1_000_001, "100000.3"))
        world.public(trade(world, 501, "100000.3"))
    elif case == "same price":
        world.public(ticker_of(1_000_000, 1_000_001))
    elif case == "no last":
        world.public(ticker_of(1_000_000, 1_000_001, "null"), ticker_of(1_000_000, 1_000_001, "0.123456"))
    elif case == "no ticker":
        world.silent_channels.add("ticker")
    alive(world, 60)
    assert world.engine.tapes.silent_count == 0 and not world.about("trade")
    assert world.engine.tapes.live == {BTC, ETH} and world.core.volume_hour(0) is not None


def test_trades_of_an_outage_are_not_held_against_the_stream_of_the_next_connection() -> None:
    """The price moved while the link was down: the first ticker after it, however late, begins a new comparison."""
    world = ready()
    world.public(trade(world, 500), ticker_of(1_000_000, 1_000_001))
    alive(world, 12)
    world.silent_channels.add("ticker")
    world.link(Link.LINK_PUBLIC, up=False, reason="cut")
    world.link(Link.LINK_PUBLIC, up=True)
    alive(world, 15)
    assert not world.engine.public.live(BTC, "ticker"), "a ticker of the connection before counts for nothing"
    alive(world, 30, ticker_of(1_000_000, 1_000_001, "105000.0"))
    assert world.engine.tapes.silent_count == 0


# Evidence.


def evidence_age_ns(world: World) -> int:
    """Age of the evidence for the first book."""
    return int(world.mono_ns - world.slot.evidence_mono_ns)


def quiet(world: World, seconds: float) -> None:
    """Time passes, heartbeats come, the first book is quiet and the second is not."""
    for _ in range(int(seconds * 4)):
        world.step()
        world.tick(ETH)
    world.sound()


@pytest.mark.parametrize(("frame", "agrees"), [
    (ticker_of(1_000_000, 1_000_001), True), (ticker_of(999_993, 1_000_001), False), (ticker_of(1_000_000, 1_000_008), False),
    (ticker_of(1_000_000, 1_000_001, qty="50.00000001"), False),
    (ticker_of(1_000_000, 1_000_001).replace(b'"bid":', b'"bid_yield":1,"bid":'), True),
    (ticker_of(999_993, 1_000_001).replace(b'"bid":', b'"bid_yield":1,"bid":'), False)],
    ids=["agrees", "bid", "ask", "quantity", "agrees, unusual", "bid, unusual"])
def test_a_ticker_is_evidence_only_where_it_agrees(frame: bytes, *, agrees: bool) -> None:
    """Price and quantity of both best levels, scanned in place or by the tolerant path; a single other one is no fault."""
    world = ready()
    quiet(world, 2)
    before = world.faults()
    assert evidence_age_ns(world) >= 2 * S
    world.public(frame)
    assert (evidence_age_ns(world) == 0) == agrees
    assert world.verified() and world.faults() == before


def test_a_quiet_book_that_is_true_stays_usable() -> None:
    """Its ticker is subscribed anew, its book untouched: over a quiet minute the evidence is never too old."""
    world = ready()
    oldest = 0
    for _ in range(240):
        quiet(world, 0.25)
        oldest = max(oldest, evidence_age_ns(world))
        assert world.verified() and world.engine.public.live(BTC)
    assert oldest < 5 * S
    assert world.about("ticker")[:2] == [("unsubscribe", (BTC,)), ("subscribe", (BTC,))]
    assert {names for _, names in world.about("ticker")} == {(BTC,)}, "the other one is heard"
    assert not world.about("book") and not world.about("trade")
    quiet(world, 0.25)
    assert world.engine.evidence.ended == {"agreed": len(world.about("ticker")) // 2}
    assert 10 <= len(world.about("ticker")) // 2 <= 60 * S // PACE_NS


def test_an_opening_goes_out_on_a_quiet_book() -> None:
    """What was refused as stale before is opened, on fetched evidence, and the resting order is not pulled for it."""
    world = ready(strategy="rehearsal")
    for order in world.live():
        world.report("canceled", order, order_id=f"O{order['req_id']}", reason="test")
    before = len(world.order_frames())
    quiet(world, 40)
    assert any(b"BTC/USD" in frame for frame in world.order_frames()[before:])
    assert DATA_GAP not in first_failing(world)


def test_a_quiet_book_that_the_ticker_contradicts_is_resynced() -> None:
    """An update was lost without a trace: a differing ticker is no evidence, and where it stays so the book is taken anew."""
    world = ready()
    world.books[BTC].change([(1_000_000, 0)])
    world.top = (999_993, 1_000_001)
    faults = world.faults()[BookFault.FAULT_SILENT]
    quiet(world, 3.25 + DIFFER_NS / S - 0.5)
    assert world.verified(), "it may have been overtaken"
    assert world.faults()[BookFault.FAULT_SILENT] == faults
    quiet(world, 1)
    assert world.engine.evidence.ended == {"differed": 1} and world.faults()[BookFault.FAULT_SILENT] == faults + 1
    assert world.about("book") == [("unsubscribe", (BTC,)), ("subscribe", (BTC,))]
    assert world.verified() and world.slot.book.levels(Side.BUY, 1)[0][0] == 999_993
    assert evidence_age_ns(world) <= S and world.verified(1)


def test_a_differing_ticker_that_a_book_message_explains_changes_nothing() -> None:
    """Channels are not synchronised: the update came after the ticker."""
    world = ready()
    world.top = (999_993, 1_000_001)
    quiet(world, 4)
    world.book(BTC, [(1_000_000, 0)])
    world.top = None
    quiet(world, 2.5)
    assert set(world.engine.evidence.ended) == {"agreed"} and not world.about("book")


def test_without_an_answer_the_book_stays_unusable_and_is_asked_about_again() -> None:
    """No ticker comes: no evidence is assumed; later it comes and the book is usable again."""
    world = ready(strategy="rehearsal")
    world.command("pause")
    world.silent_channels.add("ticker")
    quiet(world, 4 + ANSWER_NS / S)
    assert world.engine.evidence.ended == {"unanswered": 1} and world.verified()
    assert evidence_age_ns(world) > 5 * S
    before = len(first_failing(world))
    world.command("resume")
    quiet(world, 8)
    assert set(first_failing(world)[before:]) == {DATA_GAP}
    world.silent_channels.clear()
    quiet(world, 40)
    assert world.engine.evidence.ended["agreed"] >= 1 and evidence_age_ns(world) < 5 * S


def test_many_quiet_books_are_asked_about_one_at_a_time_and_slowly() -> None:
    """Both are quiet: never two requests of one method within the pace."""
    world = ready()
    times: list[int] = []
    for _ in range(200):
        before = len(world.about("ticker"))
        world.step(0.1)
        made = len(world.about("ticker")) - before
        assert made in (0, 2)
        if made:
            times.append(world.mono_ns)
    assert {names for _, names in world.about("ticker")} == {(BTC,), (ETH,)}
    assert min(b - a for a, b in pairwise(times)) >= PACE_NS


def test_replay_hears_the_same_silence(tmp_path: Path) -> None:
    """Dead tapes and fetched evidence are made again from the journal, bit for bit."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 26, segment_bytes=1 << 26,
                      sync_interval_ms=20) as journal:
        world = ready(journal=journal, strategy="rehearsal")
        go_dead(world, 500)
        quiet(world, 20)
        world.public(trade(world, 507))
        quiet(world, 2)
        journal.sync()
    again = replayed(tmp_path / "journal")
    assert again.differences == []
    assert again.engine.recorder.hexdigest() == world.recorder.hexdigest()
    assert again.engine.tapes.silent_count == 1 and again.engine.evidence.ended == world.engine.evidence.ended


# A link that is down.


def test_what_closes_while_the_link_is_down_is_no_bar() -> None:
    """It may miss trades: it is dropped, and the venue's own row takes its place when the link is up again."""
    of = ready()
    minute_ns = (of.now_ns // (60 * S) + 1) * 60 * S
    of.run((minute_ns - of.now_ns) / S + 5)
    of.public(trade(of, 1))
    of.link(Link.LINK_PUBLIC, up=False, reason="test")
    of.run_on(Link.LINK_PRIVATE, 70)
    starts = [bar[0] for bar in of.slot.bars.closed(0)]
    assert minute_ns not in starts and minute_ns - 60 * S in starts
    assert of.slot.bars.whole_from(0) is None
    of.link(Link.LINK_PUBLIC, up=True)
    of.run(2)
    row = next(bar for bar in of.slot.bars.closed(0) if bar[0] == minute_ns)
    assert row[7] == 9  # trades, as the venue's candles have them
    of.sound()


def test_a_history_joins_the_tape_that_was_acknowledged_before_it() -> None:
    """Though no timer came between the two: the bar under way is the venue's row and what is traded from then on."""
    of = ready()
    of.link(Link.LINK_PUBLIC, up=False, reason="test")
    of.link(Link.LINK_PUBLIC, up=True)
    first = min(bar[0] for bar in of.slot.bars.closed(0))
    assert of.engine.tapes.live == {BTC, ETH} and of.slot.bars.whole_from(0) == first
    of.boot(epoch=2)
    assert of.slot.bars.whole_from(0) == first


def test_a_boot_begins_without_a_tape() -> None:
    """What was traded between two runs is missed: the bar under way when the first ended is not closed by the clock."""
    of = ready()
    of.public(trade(of, 1))
    under_way_ns = of.now_ns // (60 * S) * 60 * S
    of.now_ns += 300 * S
    of.event(EventKind.EVENT_BOOT, 0, boot_payload(of.cfg, 2, None, None))
    of.run_on(Link.LINK_PRIVATE, 1)
    assert under_way_ns not in [bar[0] for bar in of.slot.bars.closed(0)]
    assert of.slot.bars.whole_from(0) is None
