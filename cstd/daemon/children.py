"""Child processes of the trading process: started, watched, restarted with back-off, and lived without."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESTART_S = (0.5, 1.0, 2.0, 5.0, 10.0)
HEALTHY_S = 60.0
TERM_WAIT_S = 3.0


class ReaderChild:
    """The reader process (status port and page). When it dies, there is no page until it is back; trading goes on.

    Args:
        board: the board file it reads.
        listen: addresses of the status port, the first one is the page's.
        log: logger of the daemon.
        on_spawn: called with the process id of each new child.
    """

    def __init__(self, board: Path, listen: list[str], log: Any, on_spawn: Callable[[int], None]) -> None:
        self._board = board
        self._listen = listen
        self._log = log
        self._on_spawn = on_spawn
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False
        self.restart_count = 0

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and keep it running."""
        await self._spawn()
        self._watch = asyncio.create_task(self._keep(), name="reader")

    async def _spawn(self) -> None:
        command = [sys.executable, "-m", "cstd.ops.reader", "--board", str(self._board), "--parent", str(os.getpid())]
        for address in self._listen:
            command += ["--listen", address]
        self._process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL,
                                                             stdout=asyncio.subprocess.DEVNULL)
        self._on_spawn(self._process.pid)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while self._process is not None:
            began = loop.time()
            code = await self._process.wait()
            if self._stopping:
                return
            failures = 0 if loop.time() - began > HEALTHY_S else failures + 1
            wait_s = RESTART_S[min(failures, len(RESTART_S) - 1)]
            self._log.error("reader ended", exit_code=code, restart_in_s=wait_s)
            await asyncio.sleep(wait_s)
            self.restart_count += 1
            await self._spawn()

    async def stop(self) -> None:
        """End it, with a signal it can handle first."""
        self._stopping = True
        if self._watch is not None:
            self._watch.cancel()
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), TERM_WAIT_S)
        except TimeoutError:
            process.kill()
            await process.wait()
