"""More than can be read, or less read than is sent: decisions wait for the newest, and only what lowers risk may queue."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from picows import WSTransport

from cstd._fast.codes import EventKind, IntentKind, OrderAction, TradingState
from cstd._fast.codes import Link as LinkCode
from cstd.decision.setup import strategy_setup
from cstd.storage.journal import open_journal
from cstd.venue.link import MESSAGE_BYTES_MAX, PrivateLink
from tests.scenario.engine_world import World
from tests.venue.test_venue_link import BINARY, CONTINUATION, HEARTBEAT, PING, TEXT, Trading, on_uvloop, trading

BURST_FRAMES = 40_000
FRAME = b'{"channel":"book","filler":"' + b"x" * 180 + b'"}'
QUEUE_BYTES_MAX = 262_144
CONTROL = b'{"method":"ping","req_id":1}'
CONTROLS_MAX = 500_000
GATE_DATA_GAP = 12
RING_BYTES = 1 << 20
NEVER_MS = 60_000


def burst(transport: WSTransport) -> None:
    for _ in range(BURST_FRAMES):
        transport.send(TEXT, FRAME)


def test_a_decision_waits_until_the_socket_is_empty() -> None:
    """While the kernel holds more, no batch ends: one decision for many reads, each with its own times, and a shown backlog."""
    async def scenario() -> None:
        async with trading(burst) as run:
            await run.until(lambda: run.link.frame_count == BURST_FRAMES and run.link.backlog_bytes == 0)
            link, batches = run.link, run.sink.batches
            assert link.deferred_count > 0
            assert link.backlog_bytes_max > len(FRAME)
            assert batches[-1][1] == BURST_FRAMES
            assert link.status()["deferred"] == link.deferred_count
            reads = {frame[2] for frame in run.sink.frames}
            # Reads whose decision waited are those without a batch end of their own.
            assert len(reads) == len(batches) + link.deferred_count
            assert batches[-1][2] == max(reads)
            assert run.events == ["up"]

    on_uvloop(scenario)


def test_quiet_reads_look_at_nothing_and_decide_at_once() -> None:
    """Small reads end in a decision each; nothing is deferred and no backlog is shown."""
    async def scenario() -> None:
        async with trading(lambda _transport: None) as run:
            for count in range(1, 6):
                run.server.connections[0].send(TEXT, HEARTBEAT)
                await run.until(lambda count=count: len(run.sink.batches) == count)
            assert (run.link.deferred_count, run.link.backlog_bytes_max, run.link.behind_count) == (0, 0, 0)

    on_uvloop(scenario)


async def slow_loop() -> None:
    """A loop that has too much to do: one read between two pauses."""
    while True:
        time.sleep(0.06)  # noqa: ASYNC251 - the loop is to be held up
        await asyncio.sleep(0)


def test_a_backlog_that_lasts_is_told_before_the_decisions_go_on() -> None:
    """After 100 ms of unread bytes the owner hears `behind`; decisions about what rests go on; it ends with the backlog."""
    async def scenario() -> None:
        told: list[tuple[bool, int]] = []
        async with trading(lambda _transport: None) as run:
            run.link.on_behind = lambda _link, behind: told.append((behind, len(run.sink.batches)))
            hog = asyncio.create_task(slow_loop())
            try:
                burst(run.server.connections[0])
                await run.until(lambda: run.link.frame_count == BURST_FRAMES and told and not told[-1][0])
            finally:
                hog.cancel()
            assert [behind for behind, _ in told] == [True, False]
            assert (run.link.behind, run.link.behind_count) == (False, 1)
            assert run.link.backlog_ns_max > 100_000_000
            during = [batch for batch in run.sink.batches if batch[1] < BURST_FRAMES][told[0][1]:]
            assert during, "nothing was decided while it was behind"
            assert run.sink.batches[-1][1] == BURST_FRAMES

    on_uvloop(scenario)


def test_reading_stops_while_the_journal_has_no_room(tmp_path: Path) -> None:
    """With three quarters of the ring waiting for the disk nothing more is read; half of it free, it goes on unaided."""
    async def scenario() -> None:
        told: list[bool] = []
        paused: list[object] = []
        with open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=RING_BYTES, segment_bytes=16 * RING_BYTES,
                          sync_interval_ms=NEVER_MS) as journal:
            async with trading(lambda _transport: None) as run:
                run.link.journal = journal
                run.link.on_pause = paused.append
                run.link.on_behind = lambda _link, behind: told.append(behind)
                run.server.connections[0].send(TEXT, HEARTBEAT)
                await run.until(lambda: len(run.payloads) == 1)
                assert (run.link.reading_paused, told) == (False, [])
                while journal.stats()["pending_bytes"] <= RING_BYTES * 3 // 4:
                    journal.append_py(1, 0, 0, 0, b"x" * 1000)
                run.server.connections[0].send(TEXT, HEARTBEAT)
                await run.until(lambda: len(run.payloads) == 2)
                assert run.link.reading_paused
                run.server.connections[0].send(TEXT, b"later")
                await asyncio.sleep(0.05)
                assert (len(run.payloads), len(paused), told, run.link.status()["pauses"]) == (2, 1, [True], 1)
                assert not run.link.resume_reading()
                journal.sync()
                assert run.link.resume_reading()
                await run.until(lambda: len(run.payloads) == 3 and not run.link.behind)
                assert told == [True, False]
                assert run.sink.batches[-1][1] == 3

    on_uvloop(scenario)


async def stall(run: Trading, *, full: bool = True) -> int:
    """Make the peer read nothing and send control frames until no more go in, or only until one waits here; their count."""
    run.server.connections[0].underlying_transport.pause_reading()
    sent = 0
    while (full or not run.link.writing_paused) and run.link.send_control(CONTROL):
        sent += 1
        assert sent < CONTROLS_MAX, "nothing bounds what is queued"
        if sent % 1000 == 0:
            await asyncio.sleep(0)
    return sent


def test_a_peer_that_does_not_read_bounds_what_waits() -> None:
    """Frames queue up to a limit and are then refused and counted; when the peer reads again, all that was taken arrives."""
    async def scenario() -> None:
        told: list[bool] = []
        async with trading(lambda _transport: None) as run:
            run.link.on_stall = lambda _link, stalled: told.append(stalled)
            sent = await stall(run)
            status = run.link.status()
            assert told == [True]
            assert status["stalled"]
            assert 0 < status["queued_bytes"] <= QUEUE_BYTES_MAX
            assert status["unsent"] == 1
            assert run.link.stalled_since_ns > 0
            run.server.connections[0].underlying_transport.resume_reading()
            await run.until(lambda: len(run.server.texts()) == sent)
            assert told == [True, False]
            assert (run.link.status()["queued_bytes"], run.link.stalled_since_ns) == (0, 0)
            assert run.link.send_control(CONTROL)

    on_uvloop(scenario)


def test_pings_of_a_peer_that_does_not_read_are_bounded() -> None:
    """Answers to pings do not queue without bound either; what was not answered is counted."""
    async def scenario() -> None:
        async with trading(lambda _transport: None) as run:
            await stall(run)
            # Another pong of 125 bytes fits below the limit only so often.
            for _ in range(200):
                run.server.connections[0].send(PING, b"p" * 125)
            await run.until(lambda: run.link.ping_count == 200)
            assert run.link.pong_unsent_count >= 190
            assert run.link.status()["queued_bytes"] <= QUEUE_BYTES_MAX + 200

    on_uvloop(scenario)


def test_an_opening_is_held_back_and_a_cancel_goes_first() -> None:
    """With the peer not reading, the next opening is refused at the socket and counted; a cancel is taken and arrives."""
    async def scenario() -> None:
        async with trading(lambda _transport: None, private=True, tokens=["token"]) as run:
            assert isinstance(run.link, PrivateLink)
            world = wishing()
            world.core.set_port(run.link.port)
            world.tick()
            await run.until(run.server.texts)
            (first,) = [json.loads(text) for text in run.server.texts()]
            assert (first["method"], first["params"]["token"]) == ("add_order", "token")
            world.reply(world.live()[-1])
            await stall(run, full=False)
            before = run.link.status()["queued_bytes"]
            world.tick()
            assert run.link.opening_held_count == 1
            assert world.counters()["send_refused"] == 1
            assert run.link.status()["queued_bytes"] == before
            world.core.cancel_order(world.core.live_orders()[0], 0)
            assert run.link.status()["queued_bytes"] > before
            run.server.connections[0].underlying_transport.resume_reading()
            await run.until(lambda: b"cancel_order" in run.server.texts()[-1])
            assert sum(b"add_order" in text for text in run.server.texts()) == 1

    on_uvloop(scenario)


@pytest.mark.parametrize(("link", "word", "reason"), [
    (LinkCode.LINK_PUBLIC, "behind", "arrives faster"),
    (LinkCode.LINK_PRIVATE, "behind", "arrive faster"),
    (LinkCode.LINK_PRIVATE, "stalled", "does not read"),
])
def test_openings_end_while_a_link_is_behind_or_stalled(link: LinkCode, word: str, reason: str) -> None:
    """The event refuses openings by the data gate at once, pulls what rests, says why, and ends unaided."""
    world = wishing()
    world.tick()
    (order,) = world.live(IntentKind.OPENING)
    world.reply(order)
    flow(world, link, {word: True})
    refused = world.core.fault_counts()[1][GATE_DATA_GAP]
    adds = len(world.order_frames(OrderAction.ACTION_ADD))
    world.tick()
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == adds
    assert world.core.fault_counts()[1][GATE_DATA_GAP] == refused + 1
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == 1
    world.step()
    assert world.engine.state == "reconciling"
    assert reason in str(world.engine.state_reason)
    flow(world, link, {word: False})
    world.step()
    assert world.engine.state == "ready"
    assert world.core.trading_state == TradingState.TRADING_READY
    world.tick()
    assert len(world.order_frames(OrderAction.ACTION_ADD)) > adds
    world.sound()


def test_a_new_connection_forgets_what_the_old_one_was() -> None:
    """Behind and stalled belong to a connection: when it is up again, neither holds."""
    world = World().ready()
    flow(world, LinkCode.LINK_PUBLIC, {"behind": True})
    world.link(LinkCode.LINK_PUBLIC, up=False, reason="cut")
    world.link(LinkCode.LINK_PUBLIC, up=True)
    world.run(5)
    assert world.engine.state == "ready"


def wishing() -> World:
    """A ready engine that from now on wishes to open at every pass."""
    world = World().ready()
    world.core.set_strategy(*strategy_setup(world.cfg, "bench"))
    return world


def test_a_fragmented_message_of_exactly_the_limit_is_taken() -> None:
    """16 MiB in pieces is a message; the buffer holds no more than that."""
    async def scenario() -> None:
        piece = b"x" * (MESSAGE_BYTES_MAX // 16)

        def greet(transport: WSTransport) -> None:
            transport.send(TEXT, piece, False)
            for index in range(1, 16):
                transport.send(CONTINUATION, piece, index == 15)

        async with trading(greet) as run:
            await run.until(lambda: run.payloads)
            assert len(run.payloads[0]) == MESSAGE_BYTES_MAX
            assert (run.link.fragment_count, run.link.oversize_count, run.link.violation_count) == (16, 0, 0)

    on_uvloop(scenario)


def test_half_a_message_ends_with_its_connection() -> None:
    """Pieces of a connection that was cut are in no message of the next one, and none of them is delivered."""
    async def scenario() -> None:
        greetings = [(TEXT, b"old half", False), (CONTINUATION, b"other half", True), (TEXT, HEARTBEAT, True)]
        async with trading(lambda transport: transport.send(*greetings.pop(0))) as run:
            await run.until(lambda: run.link.fragment_count == 1)
            run.server.connections[0].underlying_transport.abort()
            await run.until(lambda: run.payloads)
            assert run.payloads == [HEARTBEAT]
            # The second connection began with the other half: that is no beginning, and ended it.
            assert run.link.violation_count == 1
            assert run.link.connect_count == 3

    on_uvloop(scenario)


def test_a_text_inside_a_skipped_binary_message_ends_the_connection() -> None:
    """A message that is dropped in pieces is still a message: another one inside it breaks the protocol, and is counted."""
    async def scenario() -> None:
        def greet(transport: WSTransport) -> None:
            if first:
                first.clear()
                transport.send(BINARY, b"half", False)
                transport.send(TEXT, b"inside", True)
            else:
                transport.send(TEXT, HEARTBEAT)

        first = [True]
        async with trading(greet) as run:
            await run.until(lambda: run.payloads)
            assert run.payloads == [HEARTBEAT]
            assert (run.link.non_text_count, run.link.violation_count) == (1, 1)

    on_uvloop(scenario)


def flow(world: World, link: LinkCode, payload: dict[str, Any]) -> None:
    """The event that the daemon makes of what a link says."""
    world.event(EventKind.EVENT_LINK, link, json.dumps(payload).encode())
