"""A child process is kept running, also where the host does not let it start for a while."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from cstd.daemon.children import Child


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **fields: Any) -> None:
        """Keep an error."""
        self.told.append((event, fields))


def test_a_child_that_cannot_be_started_again_is_tried_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends, the host refuses twice, and then it runs again: each try counted, each refusal said with its reason."""
    spawned: list[int] = []
    tries = itertools.count(1)
    create, log = asyncio.create_subprocess_exec, Log()

    async def sometimes(*args: Any, **named: Any) -> asyncio.subprocess.Process:
        if next(tries) in (2, 3):
            raise OSError(11, "Resource temporarily unavailable")
        return await create(*args, **named)

    async def run() -> Child:
        child = Child("reader", "json.tool", ["--help"], log, spawned.append, restart_s=(0.01, 0.02))
        await child.start()
        async with asyncio.timeout(20):
            while len(spawned) < 3:
                await asyncio.sleep(0.01)
        await child.stop()
        return child

    monkeypatch.setattr(asyncio, "create_subprocess_exec", sometimes)
    child = asyncio.run(run())
    assert child.restart_count >= 4
    refused = [fields for event, fields in log.told if event == "reader cannot be started"]
    assert len(refused) == 2 and all("Resource temporarily unavailable" in fields["error"] for fields in refused)
    assert refused[0]["restart_in_s"] == 0.02


def test_the_exit_code_of_each_child_that_ended_is_told() -> None:
    """Its parent may have to act on why it ended; a child that was stopped tells nothing."""
    told: list[int] = []

    async def run() -> None:
        child = Child("reader", "json.tool", ["--no-such-option"], Log(), lambda _pid: None, restart_s=(0.01,),
                      on_end=told.append)
        await child.start()
        async with asyncio.timeout(20):
            while len(told) < 2:
                await asyncio.sleep(0.01)
        await child.stop()

    asyncio.run(run())
    assert set(told) == {2}
