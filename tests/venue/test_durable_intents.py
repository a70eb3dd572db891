"""Durable intents: an order leaves only when its records are on disk; a disk that fails ends openings and traps no exit."""

from __future__ import annotations

import errno
import json
import resource
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cstd._fast.codes import OrderAction
from cstd._fast.journal import Journal
from cstd.clock import VirtualClock
from cstd.daemon.process import TradingProcess
from cstd.decision.setup import strategy_setup
from cstd.storage.journal import open_journal
from tests.scenario.engine_world import World
from tests.venue.test_venue_link import Trading, on_uvloop, trading

NEVER_MS = 60_000
WAIT_NS = 2_000_000_000


def opened(folder: Path) -> Journal:
    """A journal that syncs when it is asked to, and not before."""
    return open_journal(folder / "journal", folder / "ring", ring_bytes=1 << 22, segment_bytes=1 << 20,
                        sync_interval_ms=NEVER_MS)


def connect(run: Trading, world: World, journal: Journal | None, wait_ns: int = WAIT_NS) -> list[int]:
    """Let the world's orders out by the link's port, durable where there is a journal; returns what it tells of failures."""
    told: list[int] = []
    port = run.link.port
    port.journal, port.durable, port.durable_wait_ns, port.on_unsynced = journal, journal is not None, wait_ns, told.append
    world.core.set_port(port)
    return told


def wish(world: World) -> None:
    """From now on the engine wishes to open at every pass."""
    world.core.set_strategy(*strategy_setup(world.cfg, "bench"))


def adds(run: Trading) -> list[dict[str, Any]]:
    """Orders that the venue has got."""
    return [message["params"] for text in run.server.texts() if (message := json.loads(text))["method"] == "add_order"]


@pytest.mark.parametrize("durable", [True, False])
def test_the_records_are_on_disk_before_the_frame_leaves(tmp_path: Path, durable: bool) -> None:
    """With it everything up to the order's frame is synced when it leaves, once an order; without it nothing is."""
    async def scenario() -> None:
        with opened(tmp_path) as journal:
            async with trading(lambda _transport: None, private=True, tokens=["token"]) as run:
                world = World(journal=journal).ready()
                told = connect(run, world, journal if durable else None)
                wish(world)
                world.tick()
                stats = journal.stats()
                await run.until(lambda: adds(run))
                assert len(adds(run)) == 1
                port = run.link.port
                if durable:
                    assert stats["synced_seq"] == stats["seq"]
                    assert (port.durable_count, port.unsynced_count, told) == (1, 0, [])
                    assert port.durable_status()["longest_ns"] == port.durable_status()["ns"] > 0
                else:
                    assert stats["synced_seq"] < stats["seq"]
                    assert port.durable_count == 0

    on_uvloop(scenario)


def test_a_disk_that_refuses_ends_openings_and_lets_exits_and_cancels_go(tmp_path: Path) -> None:
    """The opening stays here, is told and counted; the next ones do not wait; exit and cancel leave all the same."""
    async def scenario() -> None:
        journal = opened(tmp_path)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        async with trading(lambda _transport: None, private=True, tokens=["token"]) as run:
            world = World(strategy="rehearsal", journal=journal).ready()
            told = connect(run, world, journal)
            order = world.first_order()
            world.reply(order)
            world.fill(order, order["qty_raw"], "T1")
            await run.until(lambda: len(adds(run)) == 1)
            journal.sync()
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
            try:
                world.exit_order()
                await run.until(lambda: len(adds(run)) == 2)
                assert adds(run)[1]["side"] == "sell"
                assert told == [errno.EFBIG]
                assert run.link.port.not_durable()
                _no_opening_leaves(run, world)
                assert told == [errno.EFBIG]
                world.core.cancel_order(world.core.live_orders()[-1], 0)
                await run.until(lambda: b"cancel_order" in run.server.texts()[-1])
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            journal.sync()
            assert not run.link.port.not_durable()
        journal.close()

    on_uvloop(scenario)


def _no_opening_leaves(run: Trading, world: World) -> None:
    """An opening is on record and not at the socket; nobody waits for the disk again."""
    sent, waited = run.link.port.sent_count, run.link.port.durable_count
    wish(world)
    before = len(world.order_frames(OrderAction.ACTION_ADD))
    for _ in range(3):
        world.tick()
    assert len(world.order_frames(OrderAction.ACTION_ADD)) > before
    assert world.counters()["send_refused"] >= 1
    assert (run.link.port.sent_count, run.link.port.durable_count) == (sent, waited)
    assert run.link.port.unsynced_count >= 2


def test_a_disk_that_is_slow_is_waited_for_no_longer_than_said(tmp_path: Path) -> None:
    """The wait ends in time and the opening stays; once the disk has caught up the next one is tried and leaves."""
    async def scenario() -> None:
        with opened(tmp_path) as journal:
            async with trading(lambda _transport: None, private=True, tokens=["token"]) as run:
                world = World(journal=journal).ready()
                told = connect(run, world, journal, wait_ns=1)
                wish(world)
                for turn in range(1_200):  # a process that is preempted just then finds the disk done, and its order leaves
                    began_s = time.monotonic()
                    if turn % 3 == 0:
                        world.tick()
                    elif turn % 3 == 2:
                        world.step()
                    elif world.live():
                        world.reply(world.live()[-1])
                        world.report("canceled", world.live()[-1])
                    assert time.monotonic() - began_s < 5  # a wait without an end would hang
                    if told:  # each event ends in a pass, and the next one would wish again
                        break
                left = run.link.port.sent_count
                assert told == [errno.ETIMEDOUT]
                assert (len(world.live()), world.counters()["send_refused"]) == (1, 1)
                await run.until(lambda: not run.link.port.not_durable())
                run.link.port.durable_wait_ns = WAIT_NS
                world.reply(world.live()[-1])
                world.report("canceled", world.live()[-1])
                for _ in range(400):
                    if run.link.port.sent_count > left:
                        break
                    world.step()
                    world.tick()
                await run.until(lambda: adds(run))
                assert told == [errno.ETIMEDOUT]

    on_uvloop(scenario)


def test_a_port_without_a_journal_lets_no_opening_out() -> None:
    """Durable, and nothing to make it so: refused."""
    async def scenario() -> None:
        async with trading(lambda _transport: None, private=True, tokens=["token"]) as run:
            world = World().ready()
            connect(run, world, None)
            run.link.port.durable = True
            wish(world)
            world.tick()
            assert (run.link.port.sent_count, world.counters()["send_refused"]) == (0, 1)

    on_uvloop(scenario)


@pytest.mark.parametrize("late", [True, False])
def test_the_daemon_halts_on_it(late: bool) -> None:
    """While an order's records are not on disk the daemon is halted by a journaled command, once; else nothing happens."""
    process = TradingProcess.__new__(TradingProcess)
    commands: list[dict[str, Any]] = []
    process._port = SimpleNamespace(not_durable=lambda: late)
    process._disk_free_bytes = 1 << 40
    process._running_since_ns = 0
    process.clock = VirtualClock(mono_ns=1, wall_ns=0)
    process.journal = SimpleNamespace(stats=lambda: {"sync_lag_ns": 0, "writer_error": 0})
    process.cfg = SimpleNamespace(journal=SimpleNamespace(durable_wait_ms_max=100, sync_lag_ms_max=5000, disk_free_bytes_min=1))
    process.engine = SimpleNamespace(state="ready")
    process._submit = commands.append
    process._check_journal()
    assert [command["verb"] for command in commands] == (["halt"] if late else [])
    process.engine.state = "halted"
    process._check_journal()
    assert len(commands) == int(late)
    if late:
        assert "100 ms" in commands[0]["args"]["reason"]
