"""A hostile or broken peer cannot make the tolerant path cost without bound: the link is given up, counted, and replays alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_world import BTC, S, World, replayed

from cstd._fast.codes import BookState, Link, OrderState
from cstd.storage.journal import open_journal

MEGABYTE = 10**6
BURST_BYTES = 8 * 2**20 + 2 * 2**20  # with one instrument


def junk(size: int) -> bytes:
    """A frame of a channel that nobody knows."""
    return b'{"channel":"hostile","type":"update","data":"' + b"x" * (size - 47) + b'"}'


def flood(world: World, link: int, frames: int, *, size: int = MEGABYTE, gap_ns: int = 0) -> dict[str, int]:
    """Send junk; returns how the counters changed."""
    before = world.counters()
    for _ in range(frames):
        world.now_ns += gap_ns
        (world.public if link == Link.LINK_PUBLIC else world.private)(junk(size))
    after = world.counters()
    return {name: after[name] - before[name] for name in after}


def test_a_flood_of_the_public_link_is_refused_and_ends_the_link() -> None:
    """A megabyte per millisecond: what is decoded is bounded, the rest is counted, books block, the link is closed once."""
    world = World(strategy="bench").ready()
    changed = flood(world, Link.LINK_PUBLIC, 60, gap_ns=S // 1000)
    decoded = changed["slow_frames"] - changed["flooded_frames"]
    assert 0 < decoded <= (BURST_BYTES + 60_000) // MEGABYTE
    assert [(link, reason[:7]) for link, reason in world.engine.close_links] == [(Link.LINK_PUBLIC, "flooded")]
    assert (world.slot.book.state, world.engine.public.up, world.core.venue_online) == (BookState.BOOK_EMPTY, False, False)
    orders = world.counters()["orders"]
    world.book()
    assert world.counters()["orders"] == orders, "no book of a flooded link decides anything"
    world.link(Link.LINK_PUBLIC, up=False, reason="closed by us")
    world.link(Link.LINK_PUBLIC, up=True)
    world.run(3)
    assert world.engine.state == "ready"
    assert world.verified()
    assert flood(world, Link.LINK_PUBLIC, 5)["flooded_frames"] == 0, "a new connection has a budget of its own"
    world.sound()


def test_a_flood_of_the_private_link_leaves_orders_unknown() -> None:
    """A refused private frame may have been a fill: live orders are UNKNOWN, nothing opens, the account is looked up."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    changed = flood(world, Link.LINK_PRIVATE, 30)
    assert changed["flooded_frames"] > 0
    assert [link for link, _ in world.engine.close_links] == [Link.LINK_PRIVATE]
    assert {live["state"] for live in world.live()} == {OrderState.ORDER_UNKNOWN}
    assert not world.core.private_up and not world.core.private_ready
    world.step()
    assert world.engine.state != "ready"
    world.sound()


@pytest.mark.parametrize(("size", "refused"), [(4 * 2**20, False), (4 * 2**20 + 1, True)])
def test_the_size_of_one_slow_frame_is_bounded(size: int, refused: bool) -> None:
    """Four mebibytes are decoded, one byte more is refused undecoded."""
    world = World(strategy="none").ready()
    assert flood(world, Link.LINK_PUBLIC, 1, size=size)["flooded_frames"] == refused


def test_what_a_venue_really_sends_is_far_below_the_budget() -> None:
    """Half a megabyte of instruments and three histories a minute, for an hour, never reach the bound."""
    world = World(strategy="none").ready()
    for _ in range(60):
        world.run(1)
        assert flood(world, Link.LINK_PUBLIC, 1, size=550_000, gap_ns=59 * S)["flooded_frames"] == 0
        world.tick()


def test_a_flood_replays_alike(tmp_path: Path) -> None:
    """Which frames are refused depends on recorded events alone: the journal of a flooded session replays exactly."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 26, segment_bytes=1 << 26,
                      sync_interval_ms=20) as journal:
        world = World(strategy=None, journal=journal).ready()
        order = world.first_order()
        world.reply(order)
        flood(world, Link.LINK_PUBLIC, 20, gap_ns=S // 1000)
        flood(world, Link.LINK_PRIVATE, 20)
        world.run(2)
        journal.sync()
    again = replayed(tmp_path / "journal")
    assert again.differences == []
    assert again.engine.recorder.hexdigest() == world.recorder.hexdigest()
    assert again.engine.core.counter_values()["flooded_frames"] == world.counters()["flooded_frames"] > 0
    assert again.engine.names == (BTC,)
