"""What becomes of a checkpoint's process that does not do what it should."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cstd.daemon.children import CheckpointChild


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, _level: str) -> Callable[..., None]:
        def note(event: str, **fields: Any) -> None:
            self.rows.append((event, fields))
        return note


@pytest.mark.parametrize(("script", "error"), [
    ("echo 'no room' >&2; exit 1", "exit code 1: no room"),
    ("echo nonsense", "JSONDecodeError"),
    ("echo 7", "TypeError"),
    ("echo '{}'", "KeyError"),
])
def test_a_failure_is_logged_and_counted_and_the_next_is_made(tmp_path: Path, script: str, error: str) -> None:
    """Whatever a process says, the one after it is started."""
    log, told = Log(), tmp_path / "told"
    child = CheckpointChild(tmp_path, 0.01, 0, log, lambda _pid: None, lambda: None)
    child._command = ["sh", "-c", f"if test -e {told}; then echo '{{\"seq\": 7}}'; else touch {told}; {script}; fi"]

    async def scenario() -> None:
        task = asyncio.create_task(child.keep())
        for _ in range(500):
            await asyncio.sleep(0.01)
            if child.status()["checkpoints"]:
                break
        task.cancel()
        await child.stop()

    asyncio.run(scenario())
    assert child.status()["checkpoint_seq"] == 7 and child.status()["checkpoint_failures"] == 1
    assert log.rows[0][0] == "no checkpoint" and error in log.rows[0][1]["error"]
