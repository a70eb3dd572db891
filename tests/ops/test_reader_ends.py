"""How the reader process ends: by a stop, soon, and by a failure of what looks in the background."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path

import orjson
import pytest

from cstd.ops import reader
from cstd.ops.alerts_sight import AlertsSight
from cstd.ops.board import BoardWriter
from tests.ops.fake_view import FakeView


def serve(folder: Path, *, stop_after: threading.Event | None = None, alertmanager: str = "") -> None:
    """Serve a fresh board in this process, until a stop or an error."""
    async def run() -> None:
        stop = asyncio.Event()

        async def stopped() -> None:
            assert stop_after is not None
            while not stop_after.is_set():
                await asyncio.sleep(0.01)
            stop.set()

        stopping = asyncio.create_task(stopped()) if stop_after is not None else None
        await reader.serve(folder / "board", [("127.0.0.1", 0)], stop, alertmanager)
        if stopping is not None:
            await stopping

    board = BoardWriter(folder / "board")
    board.publish(FakeView())
    try:
        asyncio.run(asyncio.wait_for(run(), 60))
    finally:
        board.close()


@pytest.mark.parametrize("at", ["ledger", "alerts"])
def test_a_failure_in_the_background_ends_the_reader(at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised at once, for the parent to start another; the port is closed."""
    def fail(*_: object) -> float:
        raise RuntimeError("a defect")

    monkeypatch.setattr(*((reader, "look", fail) if at == "ledger" else (AlertsSight, "look", fail)))
    with pytest.raises(RuntimeError, match="a defect"):
        serve(tmp_path, alertmanager="http://127.0.0.1:9")
    host, port = orjson.loads((tmp_path / "reader.json").read_bytes())["page"].removeprefix("http://").split(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), 5)


def test_a_stop_does_not_wait_for_an_alertmanager_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second at most, however long its answer takes."""
    asked, free = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        asked.set()
        free.wait(50)

    monkeypatch.setattr(AlertsSight, "look", hang)
    began_s = time.monotonic()
    serve(tmp_path, stop_after=asked, alertmanager="http://127.0.0.1:9")
    assert not free.is_set()
    assert time.monotonic() - began_s < 40
    free.set()
