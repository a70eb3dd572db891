"""Pushes: every page ends with what the board has, slow ones too, and many cost little more than one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cstd.ops.board import BoardReader, BoardWriter
from cstd.ops.pushes import Pushes
from cstd.ops.sight import Sight
from tests.ops.fake_view import FakeView
from tests.ops.running import reader_of

PAGES = 200


class Page:
    """What a page makes of what it is sent. slow_s: how long it takes to read."""

    def __init__(self, slow_s: float = 0.0) -> None:
        self.closed = False
        self.regions: dict[str, Any] = {}
        self.messages = 0
        self._slow_s = slow_s

    async def send_str(self, text: str) -> None:
        """Read one message."""
        await asyncio.sleep(self._slow_s)
        self.regions |= json.loads(text)["regions"]
        self.messages += 1

    async def close(self) -> None:
        """Nobody reads any more."""
        self.closed = True


@pytest.fixture
def board(tmp_path: Path) -> BoardWriter:
    """A board that has been published."""
    return BoardWriter(tmp_path / "board")


def test_a_tick_is_made_once_for_all_that_keep_up(board: BoardWriter) -> None:
    """Pages that opened at other times, and one that misses ticks, come to have the same as the board; texts are shared."""
    async def run() -> tuple[Pushes, list[Page]]:
        view = FakeView()
        board.publish(view)
        pushes = Pushes(Sight(BoardReader(board.path)), 0.01)
        pages = [Page() for _ in range(50)] + [Page(slow_s=0.035)]
        tasks = [asyncio.create_task(pushes.to(page)) for page in pages]  # type: ignore[arg-type]
        for number in range(30):
            view.step()
            board.publish(view)
            pushes.tick()
            if number == 10:
                pages.append(Page())
                tasks.append(asyncio.create_task(pushes.to(pages[-1])))  # type: ignore[arg-type]
            await asyncio.sleep(0.01)
        for _ in range(10):
            pushes.tick()
            await asyncio.sleep(0.04)
        for task in tasks:
            task.cancel()
        return pushes, pages

    pushes, pages = asyncio.run(run())
    truth = Sight(BoardReader(board.path))
    for page in pages:
        for region, held in page.regions.items():
            if region not in ("execution", "alerts", "latency"):
                assert held == truth.value(region), region
        assert page.messages > 5
    assert pages[50].messages < pages[0].messages  # the slow one missed ticks
    assert pushes.made < 5 * 41  # not 52 times as many


def test_one_that_does_not_read_is_closed_and_the_others_go_on(board: BoardWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its turn ends after the time that a page has."""
    monkeypatch.setattr("cstd.ops.pushes.SEND_TIMEOUT_S", 0.05)

    async def run() -> tuple[Page, Page]:
        board.publish(FakeView())
        pushes = Pushes(Sight(BoardReader(board.path)), 0.01)
        stuck, reading = Page(slow_s=60), Page()
        tasks = [asyncio.create_task(pushes.to(page)) for page in (stuck, reading)]  # type: ignore[arg-type]
        for _ in range(20):
            pushes.tick()
            await asyncio.sleep(0.01)
        tasks[1].cancel()
        await tasks[0]
        return stuck, reading

    stuck, reading = asyncio.run(run())
    assert stuck.closed
    assert reading.messages > 10


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
    assert {first for first, _ in sizes} == {16}
    assert all(0 < later < 16 for _, later in sizes)
