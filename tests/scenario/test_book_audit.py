"""The audit of deep levels: what no checksum sees is found by a reading, and nothing else is called a difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_world import BTC, ETH, S, World, practice_config, replayed

from cstd._fast.codes import BookFault, BookState, IntentKind, Link, OrderAction, OrderState, Side
from cstd.market.audit import Step
from cstd.storage.journal import open_journal

INTERVAL_S = 20
ONE = 100_000_000  # of BTC, raw


def audited(names: tuple[str, ...] = (BTC,), journal: Any = None, strategy: str | None = "none") -> World:
    """A world that is ready and audits each book every 20 s."""
    cfg = practice_config(names, instruments={"audit_interval_s": INTERVAL_S})
    return World(cfg, journal=journal, strategy=strategy).ready()


def deep(world: World, side: Side, rank: int) -> tuple[int, int]:
    """Price and quantity of the venue's level at a rank, 1 is the best."""
    book = world.books[BTC]
    levels = sorted(book.bids.items(), reverse=True) if side == Side.BUY else sorted(book.asks.items())
    return levels[rank - 1]


def tell(world: World, side: Side, levels: list[tuple[int, int]]) -> None:
    """One update that is not true, with the venue's own checksum: no check of a message can see it."""
    bids, asks = (levels, []) if side == Side.BUY else ([], levels)
    world.public(world.books[BTC].frame("update", bids, asks, world.now_ns))
    assert world.verified()


def run_to(world: World, step: Step) -> None:
    """Let time pass, with a quiet level changing, until the audit is at a step."""
    for _ in range(4 * (INTERVAL_S + 8)):
        if world.engine.audit.step is step:
            return
        world.step()
        world.tick()
    raise AssertionError(f"the audit never was {step.value}")


def pass_time(world: World, seconds: float, each: Callable[[], None] | None = None) -> None:
    """Time passes; the level that `tick` changes is evidence."""
    for _ in range(int(seconds * 4)):
        world.step()
        world.tick()
        if each is not None:
            each()
    world.sound()


def same_as_venue(world: World) -> bool:
    """Whether our book is the venue's, every level."""
    book, venue = world.slot.book, world.books[BTC]
    return ([level[:2] for level in book.levels(Side.BUY, 99)] == sorted(venue.bids.items(), reverse=True)
            and [level[:2] for level in book.levels(Side.SELL, 99)] == sorted(venue.asks.items()))


def findings(world: World) -> list[dict[str, Any]]:
    """What was logged about differences."""
    return [fields for _, event, fields in world.engine.notes if event == "book audit found a difference"]


def test_a_book_that_agrees_is_left_alone() -> None:
    """Audits come once an interval, the book stays verified all the time, nothing is resynced."""
    world = audited()
    states = set()
    pass_time(world, 3 * INTERVAL_S + 5, lambda: states.add(world.slot.book.state))
    audit = world.engine.audit
    assert (audit.done_count, audit.difference_count, dict(audit.inconclusive)) == (3, 0, {})
    assert states == {BookState.BOOK_VERIFIED}
    assert world.counters()["resyncs"] == 0
    asked = [params for method, params in world.asked if method == "Depth"]
    assert asked == [{"pair": BTC, "count": "25"}] * 3
    assert 0 <= audit.age_ns(BTC, world.mono_ns) <= 5 * S


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("kind", ["changed", "lost", "ghost"])
def test_a_wrong_level_below_the_checksum_is_found_and_put_right(side: Side, kind: str) -> None:
    """A changed, a lost and an invented level at rank 15: counted, named with both quantities, resynced, right again."""
    world = audited()
    price, qty = deep(world, side, 15)
    price += 3 if kind == "ghost" else 0    # between two levels of the venue
    wrong, true = {"changed": (qty + ONE, qty), "lost": (0, qty), "ghost": (ONE, 0)}[kind]
    tell(world, side, [(price, wrong)])
    assert not same_as_venue(world)
    pass_time(world, INTERVAL_S + 15)
    audit = world.engine.audit
    assert (audit.done_count, audit.difference_count) == (1, 1)
    (found,) = findings(world)
    assert found == {"instrument": BTC, "levels": 1, "side": "bid" if side == Side.BUY else "ask",
                     "price": f"{price / 10:.1f}", "ours": f"{wrong / ONE:.8f}",
                     # REST prints three decimals of a volume.
                     "theirs": f"{true // 100_000 / 1000:.8f}"}
    assert world.faults()[BookFault.FAULT_AUDIT] == 1
    assert world.engine.public.resync_counts == {"audit": 1}
    assert world.verified()
    assert same_as_venue(world)


def test_a_book_found_wrong_opens_nothing_until_its_snapshot_came() -> None:
    """From the finding to the snapshot the book is not verified and no opening leaves; then trading goes on."""
    world = audited(strategy=None)
    price, qty = deep(world, Side.SELL, 20)
    tell(world, Side.SELL, [(price, qty + ONE)])
    world.snapshots = False
    for _ in range(4 * (INTERVAL_S + 15)):
        if not world.verified():
            break
        world.step()
        world.tick()
    assert world.slot.book.fault == BookFault.FAULT_AUDIT
    before = len(world.order_frames(OrderAction.ACTION_ADD))
    pass_time(world, 8)
    assert not world.verified()
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == before
    # What was never answered is looked up; whatever is known to rest is pulled.
    assert all(order["cancel_sent"] or order["state"] == OrderState.ORDER_UNKNOWN for order in world.live(IntentKind.OPENING))
    world.snapshots = True
    pass_time(world, 20)
    assert world.verified()
    assert same_as_venue(world)


def test_levels_that_change_meanwhile_are_no_difference() -> None:
    """Deep levels that move between the reading and the comparison, and back, are left out and not called wrong."""
    world = audited()
    flip = [0]

    def churn() -> None:
        flip[0] += 1
        price, qty = deep(world, Side.BUY, 14 + flip[0] % 8)
        ask, _ = deep(world, Side.SELL, 12 + flip[0] % 9)
        world.book(BTC, [(price, qty + ONE * (1 + flip[0] % 3))], [(ask, 0), (ask + 3, 7 * ONE)])

    pass_time(world, 3 * INTERVAL_S, churn)
    audit = world.engine.audit
    assert audit.done_count >= 2
    assert (audit.difference_count, findings(world)) == (0, [])


def test_a_reading_older_than_the_window_proves_nothing() -> None:
    """A reading that differs under the checksum is an old one: inconclusive, whatever it says of deeper levels."""
    world = audited()
    old = world.books[BTC].reading(25, world.now_ns)
    price, qty = deep(world, Side.BUY, 3)
    deep_price, deep_qty = deep(world, Side.BUY, 18)
    world.book(BTC, [(price, qty + ONE), (deep_price, deep_qty + ONE)])
    world.rest["Depth"] = {BTC: old}
    pass_time(world, INTERVAL_S + 15)
    audit = world.engine.audit
    assert dict(audit.inconclusive) == {"stale": 1}
    assert (audit.done_count, audit.difference_count, world.counters()["resyncs"]) == (0, 0, 0)


def test_a_difference_that_a_second_reading_does_not_show_is_none() -> None:
    """One odd reading makes the audit ask again five seconds later; the second one agrees, and that is the verdict."""
    world = audited()
    price, _ = deep(world, Side.SELL, 17)
    odd = world.books[BTC].reading(25, world.now_ns)
    odd["asks"] = [[p, "9.999" if p == f"{price / 10:.5f}" else q, t] for p, q, t in odd["asks"]]
    replies = [{BTC: odd}, None]

    def reply(params: dict[str, str]) -> dict[str, Any]:
        return replies.pop(0) or {BTC: world.books[BTC].reading(int(params["count"]), world.now_ns)}

    world.rest["Depth"] = reply
    run_to(world, Step.DOUBTING)
    assert world.verified()
    pass_time(world, 10)
    audit = world.engine.audit
    assert (replies, audit.done_count, audit.difference_count, findings(world)) == ([], 1, 0, [])


@pytest.mark.parametrize(("answer", "reason"), [
    ("EGeneral:Invalid arguments", "refused"), ({BTC: {"bids": 7, "asks": []}}, "unreadable"), ({}, "unreadable"),
    ({BTC: {"bids": [["1.23456", "1.0", 1]], "asks": []}}, "unreadable"),
    ({BTC: {"bids": [], "asks": []}}, "stale")])
def test_a_reading_that_is_refused_or_no_reading_is_inconclusive(answer: Any, reason: str) -> None:
    """Whatever the venue answers, the book is not touched and the next audit comes."""
    world = audited()
    world.rest["Depth"] = answer
    pass_time(world, 2 * INTERVAL_S + 10)
    audit = world.engine.audit
    assert dict(audit.inconclusive) == {reason: 2}
    assert (audit.done_count, world.counters()["resyncs"], world.verified()) == (0, 0, True)


def test_a_reading_that_never_comes_ends_with_the_window() -> None:
    """Without an answer the audit gives up; reads of others are not lost, and a late answer changes nothing."""
    world = audited()
    answering = world.rest["Depth"]
    run_to(world, Step.SETTLING)
    world.answering = False
    for _ in range(30):
        world.step()
    assert world.engine.audit.step is Step.ASKED
    for _ in range(240):
        world.step()
    assert world.engine.audit.inconclusive["time"] + world.engine.audit.inconclusive["refused"] == 1
    world.answering = True
    world.rest["Depth"] = answering
    world.pump()
    pass_time(world, INTERVAL_S + 10)
    assert world.engine.audit.done_count >= 1
    assert world.engine.audit.difference_count == 0


def test_a_snapshot_in_the_window_ends_the_audit() -> None:
    """A resync for another reason replaces the book: nothing is left to compare, and the audit says so."""
    world = audited()
    run_to(world, Step.SETTLING)
    world.public(world.books[BTC].frame("update", [], [], world.now_ns, checksum=1))
    pass_time(world, 5)
    assert world.engine.audit.inconclusive["book"] == 1
    assert world.verified()


def test_books_take_turns_one_at_a_time() -> None:
    """Two instruments: each is audited once an interval, in turn, and never two at once."""
    world = audited((BTC, ETH))
    pass_time(world, 2 * INTERVAL_S + 8, lambda: world.tick(ETH))
    asked = [params["pair"] for method, params in world.asked if method == "Depth"]
    assert asked == [BTC, ETH, BTC, ETH]
    assert world.engine.audit.done_count == 4


def test_a_book_that_is_not_verified_is_passed_over() -> None:
    """The turn of an instrument whose book is down goes to the next one at once."""
    world = audited((BTC, ETH))
    world.core.drop_book(0, BookFault.FAULT_LINK_DOWN)
    for _ in range(4 * (INTERVAL_S + 8)):
        world.step()
        world.tick(ETH)
    asked = {params["pair"] for method, params in world.asked if method == "Depth"}
    assert asked == {ETH}


def test_no_audit_without_a_link() -> None:
    """While the public link is down nothing is asked."""
    world = audited()
    world.link(Link.LINK_PUBLIC, up=False, reason="test")
    world.run(3 * INTERVAL_S)
    assert [method for method, _ in world.asked if method == "Depth"] == []


def test_a_journal_makes_every_audit_again(tmp_path: Path) -> None:
    """The replay of a session with an agreeing audit, a finding and a stale reading comes to the same counts, the same
    resyncs, the same outputs and the same levels."""
    with open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = audited(journal=journal, strategy=None)
        pass_time(world, INTERVAL_S + 8)
        price, qty = deep(world, Side.BUY, 19)
        tell(world, Side.BUY, [(price, qty + ONE)])
        pass_time(world, INTERVAL_S + 15)
        world.rest["Depth"] = {BTC: {"bids": [], "asks": []}}
        pass_time(world, INTERVAL_S + 5)
        journal.sync()
    again = replayed(tmp_path / "journal")
    assert again.difference_count == 0, again.differences
    ours, theirs = again.engine.audit, world.engine.audit
    assert theirs.done_count >= 2 and theirs.difference_count == 1 and theirs.inconclusive["stale"] >= 1
    assert (ours.done_count, ours.difference_count, ours.inconclusive, ours.done_mono_ns) == (
        theirs.done_count, theirs.difference_count, theirs.inconclusive, theirs.done_mono_ns)
    assert again.engine.core.counter_values() == world.counters()
    assert again.engine.core.slots[0].book.levels(Side.BUY, 99) == world.slot.book.levels(Side.BUY, 99)
