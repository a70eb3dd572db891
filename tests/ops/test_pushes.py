"""Pushes: every page ends with what the board has, slow ones too, and many cost little more than one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from cstd.ops.board import BoardReader, BoardWriter
from cstd.ops.pushes import RAW, Pushes
from cstd.ops.sight import Sight
from tests.ops.fake_view import FakeView
from tests.ops.running import reader_of

PAGES = 200
TICKS, LATE_AT, READS_AT = 30, 11, 20


class Page:
    """What a page makes of what it is sent. reads: when it begins to read, at once where none is given."""

    def __init__(self, reads: asyncio.Event | None = None) -> None:
        self.closed = False
        self.regions: dict[str, Any] = {}
        self.messages = 0
        self._reads = reads

    async def send_str(self, text: str) -> None:
        """Read one message."""
        if self._reads is not None:
            await self._reads.wait()
        self.regions |= json.loads(text)["regions"]
        self.messages += 1

    async def close(self) -> None:
        """Nobody reads any more."""
        self.closed = True


async def until(holds: Callable[[], bool]) -> None:
    """Let the others run until it holds."""
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0)


@pytest.fixture
def board(tmp_path: Path) -> BoardWriter:
    """A board that has been published."""
    return BoardWriter(tmp_path / "board")


def shown(truth: Sight, region: str) -> Any:
    """What a page has to have of a region in the end."""
    if region in RAW:
        return truth.value(region)
    return json.loads({"latency": truth.derived("latency")[1], "execution": truth.ledger("execution")[1],
                       "performance": truth.ledger("performance")[1], "alerts": orjson.dumps(truth.alerts.seen(0))}[region])


def test_a_tick_is_made_once_for_all_that_keep_up(board: BoardWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that opened at other times, and one that misses ticks, come to have the same as the board; texts are shared."""
    monkeypatch.setattr("cstd.ops.pushes.SEND_TIMEOUT_S", 60.0)  # on a busy host the slow one's ticks take longer than its time

    async def run() -> Pushes:
        view, reads = FakeView(), asyncio.Event()
        board.publish(view)
        pushes = Pushes(Sight(BoardReader(board.path)), 0.01)
        pages, slow, late = [Page() for _ in range(50)], Page(reads), Page()
        tasks = [asyncio.create_task(pushes.to(page)) for page in (*pages, slow)]  # type: ignore[arg-type]
        await until(lambda: all(page.messages == 1 for page in pages))
        for tick in range(1, TICKS + 1):
            view.step()
            board.publish(view)
            pushes.tick()
            await until(lambda tick=tick: all(page.messages == tick + 1 for page in pages))  # type: ignore[misc]
            if tick == LATE_AT:
                tasks.append(asyncio.create_task(pushes.to(late)))  # type: ignore[arg-type]
                await until(lambda: late.messages == 1)
            if tick == READS_AT:
                reads.set()
                await until(lambda: slow.messages == 2)  # the one that it was sent first, and one for all that it missed
        await until(lambda: slow.messages == 2 + TICKS - READS_AT and late.messages == 1 + TICKS - LATE_AT)
        truth = Sight(BoardReader(board.path))
        for page in (*pages, slow, late):
            assert page.regions.keys() == {*RAW, "latency", "execution", "performance", "alerts"}
            assert page.messages == {slow: 2 + TICKS - READS_AT, late: 1 + TICKS - LATE_AT}.get(page, 1 + TICKS)
            for region, held in page.regions.items():
                assert held == shown(truth, region), region
        for task in tasks:
            task.cancel()
        return pushes

    pushes = asyncio.run(run())
    # One for all that open first, one a tick, and one each for the page that opened later and the one that had missed ticks.
    assert pushes.made == 1 + TICKS + 2


def test_one_that_does_not_read_is_closed_and_the_others_go_on(board: BoardWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its turn ends after the time that a page has."""
    monkeypatch.setattr("cstd.ops.pushes.SEND_TIMEOUT_S", 0.05)

    async def run() -> tuple[Page, Page]:
        board.publish(FakeView())
        pushes = Pushes(Sight(BoardReader(board.path)), 0.01)
        stuck, reading = Page(asyncio.Event()), Page()
        tasks = [asyncio.create_task(pushes.to(page)) for page in (stuck, reading)]  # type: ignore[arg-type]
        for tick in range(20):
            await until(lambda tick=tick: reading.messages == tick + 1)  # type: ignore[misc]
            pushes.tick()
        await asyncio.wait_for(tasks[0], 30)
        tasks[1].cancel()
        return stuck, reading

    stuck, reading = asyncio.run(run())
    assert stuck.closed and stuck.messages == 0
    assert reading.messages >= 20 and not reading.closed


@pytest.mark.slow
def test_two_hundred_pages(tmp_path: Path) -> None:
    """All of them get everything once and then what changes, from the process that serves them."""
    view = FakeView()
    with reader_of(tmp_path, view) as reader:
        reader.keep_publishing()

        async def look(session: aiohttp.ClientSession) -> tuple[int, int]:
            async with session.ws_connect(f"{reader.url}/ws", max_msg_size=0) as socket:
                first = json.loads((await socket.receive()).data)["regions"]
                later = [json.loads((await socket.receive()).data)["regions"] for _ in range(4)]
                return len(first), max(len(regions) for regions in later)

        async def all_look() -> list[tuple[int, int]]:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
                return await asyncio.gather(*(look(session) for _ in range(PAGES)))

        sizes = asyncio.run(asyncio.wait_for(all_look(), 60))
    assert len(sizes) == PAGES
    assert {first for first, _ in sizes} == {18}
    assert all(0 < later < 17 for _, later in sizes)
