"""Child processes of the trading process: started, watched, restarted with back-off, and lived without."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESTART_S = (0.5, 1.0, 2.0, 5.0, 10.0)
# A projector that ends replays the journal from its beginning before it is of use again.
PROJECTOR_RESTART_S = (0.5, 2.0, 10.0, 60.0)
HEALTHY_S = 60.0
TERM_WAIT_S = 3.0


class Child:
    """One child process, kept running. Without it the trading process goes on.

    Args:
        name: for the log.
        module: what it runs, with `arguments`; told whose child it is, it ends with its parent.
        log: logger of the daemon.
        on_spawn: called with the process id of each new child.
        restart_s: pauses before it is started again, growing while it keeps ending soon.
    """

    def __init__(self, name: str, module: str, arguments: list[str], log: Any, on_spawn: Callable[[int], None], *,
                 restart_s: tuple[float, ...] = RESTART_S) -> None:
        self.name = name
        self._command = [sys.executable, "-m", module, *arguments, "--parent", str(os.getpid())]
        self._log = log
        self._on_spawn = on_spawn
        self._restart_s = restart_s
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False
        self.restart_count = 0

    @property
    def started(self) -> bool:
        """Whether it has been started in this run."""
        return self._process is not None

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and keep it running."""
        await self._spawn()
        self._watch = asyncio.create_task(self._keep(), name=self.name)

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=asyncio.subprocess.DEVNULL,
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
            wait_s = self._restart_s[min(failures, len(self._restart_s) - 1)]
            self._log.error(f"{self.name} ended", exit_code=code, restart_in_s=wait_s)
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


class CheckpointChild:
    """Now and then a process that brings the journal's checkpoint up to date and removes what is no longer needed.

    It reads the journal as any reader does, and nothing here waits for it. What it cannot do is logged and counted: the
    next start then replays more.

    Args:
        directory: the journal.
        interval_s: from the end of one to the start of the next.
        keep_bytes: see `checkpoints.trim`.
        log: logger of the daemon.
        on_spawn: called with the process id of each child.
        needed_from_seq: up to which record another reader has come; None where nobody else needs the segments.
    """

    def __init__(self, directory: Path, interval_s: float, keep_bytes: int, log: Any, on_spawn: Callable[[int], None],
                 needed_from_seq: Callable[[], int | None]) -> None:
        self._command = [sys.executable, "-m", "cstd.daemon.checkpointer", str(directory), "--keep-bytes", str(keep_bytes),
                         "--parent", str(os.getpid())]
        self._needed_from_seq = needed_from_seq
        self._interval_s = interval_s
        self._log = log
        self._on_spawn = on_spawn
        self._process: asyncio.subprocess.Process | None = None
        self._last_seq = 0
        self._made_count = 0
        self._failure_count = 0

    async def keep(self) -> None:
        """Make one after each interval, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.make()
            except OSError as error:
                self._note_failure(f"cannot start: {error}")

    async def make(self) -> None:
        """Let one process do its work to the end."""
        seq = self._needed_from_seq()
        self._process = await asyncio.create_subprocess_exec(
            *self._command, *([] if seq is None else ["--needed-from-seq", str(seq)]), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        self._on_spawn(self._process.pid)
        out, err = await self._process.communicate()
        if self._process.returncode != 0:
            self._note_failure(f"exit code {self._process.returncode}: {err.decode(errors='replace').strip()[-500:]}")
            return
        made = json.loads(out)
        self._made_count += 1
        self._last_seq = made["seq"]
        self._log.info("checkpoint", **made)

    def _note_failure(self, error: str) -> None:
        self._failure_count += 1
        self._log.error("no checkpoint", error=error)

    def status(self) -> dict[str, int]:
        """What the journal's status says of checkpoints."""
        return {"checkpoint_seq": self._last_seq, "checkpoints": self._made_count,
                "checkpoint_failures": self._failure_count}

    async def stop(self) -> None:
        """End one that runs; half a checkpoint is none."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def reader_child(board: Path, listen: list[str], log: Any, on_spawn: Callable[[int], None]) -> Child:
    """Return the reader process (status port and page), which reads `board`; the first address of `listen` is the page's."""
    addresses = [word for address in listen for word in ("--listen", address)]
    return Child("reader", "cstd.ops.reader", ["--board", str(board), *addresses], log, on_spawn)


def projector_child(run_dir: Path, log: Any, on_spawn: Callable[[int], None], *, compress: bool) -> Child:
    """Return the projector process (the journal into SQLite, signed, compressed)."""
    arguments = ["--run-dir", str(run_dir), *([] if compress else ["--no-compress"])]
    return Child("projector", "cstd.projector", arguments, log, on_spawn, restart_s=PROJECTOR_RESTART_S)
