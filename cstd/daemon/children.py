"""Child processes of the trading process: started, watched, restarted with back-off, and lived without."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cstd.config import Config
from cstd.config.schema import ScorerConfig, StatusConfig
from cstd.daemon.child_output import output_of
from cstd.daemon.flight_folder import APART_NS, CRASH, FAULT, HALT, KILL
from cstd.units import NS_PER_S

RESTART_S = (0.5, 1.0, 2.0, 5.0, 10.0)
# A projector that ends replays the journal from its beginning before it is of use again.
PROJECTOR_RESTART_S = (0.5, 2.0, 10.0, 60.0)
HEALTHY_S = 60.0
TERM_WAIT_S = 3.0
FLIGHT_STOP_WAIT_S = 5.0
REASON_CHARS_MAX = 1_000


class Child:
    """One child process, kept running. Without it the trading process goes on.

    Args:
        name: for the log.
        module: what it runs, with `arguments`; told whose child it is, it ends with its parent.
        log: logger of the daemon.
        on_spawn: called with the process id of each new child.
        restart_s: pauses before it is started again, growing while it keeps ending soon.
        on_end: called with the exit code of each child that ended by itself.
    """

    def __init__(self, name: str, module: str, arguments: list[str], log: Any, on_spawn: Callable[[int], None], *,
                 restart_s: tuple[float, ...] = RESTART_S, on_end: Callable[[int], None] = lambda _code: None) -> None:
        self.name = name
        self._command = [sys.executable, "-m", module, *arguments, "--parent", str(os.getpid())]
        self._log = log
        self._on_spawn = on_spawn
        self._restart_s = restart_s
        self._on_end = on_end
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
            try:
                self._on_end(code)
            except Exception as error:  # noqa: BLE001 -- whatever its parent made of it, it is started again
                self._log.error(f"{self.name}: its end was not taken", error=f"{type(error).__name__}: {error}")
            await self._start_again(wait_s)

    async def _start_again(self, wait_s: float) -> None:
        """Start it after a pause, and again where the host does not let it start: no memory, no process number."""
        while True:
            await asyncio.sleep(wait_s)
            self.restart_count += 1
            try:
                return await self._spawn()
            except OSError as error:
                wait_s = self._restart_s[-1]
                self._log.error(f"{self.name} cannot be started", error=str(error), restart_in_s=wait_s)

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
            except Exception as error:  # noqa: BLE001 -- whatever became of this one, the next is made
                self._note_failure(f"{type(error).__name__}: {error}")

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
        self._last_seq = made["seq"]
        self._made_count += 1
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


def flight_command(run_dir: Path, cfg: Config) -> list[str]:
    """Return what makes a bundle for this process, within the bounds of its configuration; what of is still to be said."""
    return [sys.executable, "-m", "cstd.daemon.flight", "--run-dir", str(run_dir), "--parent", str(os.getpid()),
            "--bundles-max", str(cfg.flight.bundles_max), "--disk-free-bytes-min", str(cfg.journal.disk_free_bytes_min)]


class _Ask(NamedTuple):
    kind: str
    reason: str
    seq: int
    until: bool


class FlightChild:
    """On a halt, a kill or a crash a process that makes a bundle of the last minute (flight.py), one a minute at most.

    What is asked for while one is made, or while it is too soon for the next, goes into the next one. What cannot be made is
    logged and counted; trading does not wait for it and gives nothing to it but a look at the engine's state each tick.

    Args:
        run_dir: the daemon's. cfg: its configuration.
        log: logger of the daemon. on_spawn: called with the process id of each child.
    """

    def __init__(self, run_dir: Path, cfg: Config, log: Any, on_spawn: Callable[[int], None]) -> None:
        self._command = flight_command(run_dir, cfg)
        self._enabled = cfg.flight.enabled
        self._log = log
        self._on_spawn = on_spawn
        self._waiting: list[_Ask] = []
        self._asked = asyncio.Event()
        self._making: asyncio.Task[float] | None = None
        self._halted = self._killed = self._faulted = False
        self._bundle_count = 0
        self._failure_count = 0

    def known(self, state: str, kill_reason: str | None) -> None:
        """Take what held when the journal ended: a halt or a kill that a start finds again is no new one."""
        self._halted, self._killed = state == "halted", kill_reason is not None

    def look(self, state: str, reason: str | None, kill_reason: str | None, *, faulted: bool, seq: int) -> None:
        """Ask for a bundle when the engine has halted, was killed or has failed since the last look."""
        if faulted and not self._faulted:
            self.ask(FAULT, reason or "", seq)
        elif kill_reason is not None and not self._killed:
            self.ask(KILL, kill_reason, seq)
        elif state == "halted" and not self._halted:
            self.ask(HALT, reason or "", seq)
        self._faulted, self._killed = faulted, kill_reason is not None
        # Over again only once it could trade: a halt that ends in reconciling and comes back is the same one.
        self._halted = state == "halted" or (self._halted and state not in ("ready", "paused"))

    def ask(self, kind: str, reason: str, seq: int, *, until: bool = False) -> None:
        """Want a bundle of the minute before record `seq`; with `until`, of nothing after it."""
        if self._enabled:
            self._waiting.append(_Ask(kind, reason, seq, until))
            self._asked.set()

    async def keep(self) -> None:
        """Make what is asked for, until cancelled; one that is being made then goes on until `stop`."""
        while True:
            await self._asked.wait()
            await asyncio.sleep(await asyncio.shield(self._make()))

    def _make(self) -> asyncio.Task[float]:
        """Have one made, if none is being made; its result is after how many seconds to try again, 0 when it need not."""
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._made())
        return self._making

    async def _made(self) -> float:
        count = len(self._waiting)
        try:
            row = await self._told()
            if "wait_s" in row:
                return float(row["wait_s"])
            self._log.info("flight bundle", **row)
            self._bundle_count += 1
        except Exception as error:  # noqa: BLE001 -- whatever became of this one, the next is made
            self._note_failure(f"{type(error).__name__}: {error}")
        del self._waiting[:count]
        if not self._waiting:
            self._asked.clear()
        return 0.0

    async def _told(self) -> dict[str, Any]:
        """Let one process make a bundle of all that waits; returns what it says: where that is, or how long to wait.

        Raises:
            OSError: it cannot be started, or it failed.
            ValueError: it says neither.
        """
        out = await output_of([*self._command, *self._arguments()], self._on_spawn)
        row = json.loads(out)
        if isinstance(row, dict) and (isinstance(row.get("path"), str) or 0 < row.get("wait_s", 0) <= APART_NS / NS_PER_S):
            return row
        raise ValueError(f"it names no bundle: {out[:200]!r}")

    def _arguments(self) -> list[str]:
        """One bundle for all that waits: it begins a minute before the first of them. A crash's has the dead run's board."""
        first, *later = sorted(self._waiting, key=lambda ask: ask.kind != CRASH)
        reason = "; ".join([first.reason, *(f"{ask.kind}: {ask.reason}" for ask in later)])[:REASON_CHARS_MAX]
        seq = min(ask.seq for ask in self._waiting)
        bound = "until" if first.until and not later else "at"
        return [f"--kind={first.kind}", f"--reason={reason}", f"--{bound}-seq={seq}"]

    def _note_failure(self, error: str, **fields: object) -> None:
        self._failure_count += 1
        self._log.error("no flight bundle", error=error, **fields)

    def status(self) -> dict[str, int]:
        """What was made and what was not, in this run."""
        return {"bundles": self._bundle_count, "failures": self._failure_count}

    async def stop(self) -> None:
        """Have what waits made within a few seconds, then end it: half a bundle is none."""
        error = f"the daemon stops, and it was not done within {FLIGHT_STOP_WAIT_S:g} s"
        try:
            async with asyncio.timeout(FLIGHT_STOP_WAIT_S):
                while self._waiting:
                    if wait_s := await self._make():
                        error = f"the daemon stops, and one a minute at most is made: the next in {wait_s:.0f} s"
                        break
        except TimeoutError:
            pass
        if self._waiting:
            self._note_failure(error, reasons=[f"{ask.kind}: {ask.reason}" for ask in self._waiting])


def reader_child(board: Path, status: StatusConfig, log: Any, on_spawn: Callable[[int], None], socket: Path) -> Child:
    """Return the reader process (status port and page), which reads `board`; `listen` is the page's address.

    `socket` is the admin socket, to which it hands on what the page sends with an operator's token.
    """
    words = [word for address in (status.listen, *status.extra_listen) for word in ("--listen", address)]
    words += ["--alertmanager", status.alertmanager] if status.alertmanager else []
    return Child("reader", "cstd.ops.reader", ["--board", str(board), "--socket", str(socket), *words], log, on_spawn)


def scorer_child(run_dir: Path, cfg: ScorerConfig, log: Any, on_spawn: Callable[[int], None]) -> Child:
    """Return the scorer process (features to scores, with the model in production)."""
    arguments = ["--run-dir", str(run_dir), "--models", cfg.models, "--name", cfg.name, "--device", cfg.device,
                 "--threads", str(cfg.threads), *(["--key", cfg.key] if cfg.key else [])]
    return Child("scorer", "cstd.signals.scorer", arguments, log, on_spawn)


def projector_child(run_dir: Path, log: Any, on_spawn: Callable[[int], None], *, compress: bool,
                    on_end: Callable[[int], None]) -> Child:
    """Return the projector process (the journal into SQLite, signed, compressed)."""
    arguments = ["--run-dir", str(run_dir), *([] if compress else ["--no-compress"])]
    return Child("projector", "cstd.projector", arguments, log, on_spawn, restart_s=PROJECTOR_RESTART_S, on_end=on_end)
