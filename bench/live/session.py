"""What a live bench runs: a practice exchange, the venue in front of it, a daemon that is *ready*, all on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from venue import Recording, Venue

from cstd._fast.hist import quantile_ns
from cstd.child import end_with_parent
from cstd.errors import OperatorError
from cstd.ops.board import BoardReader
from cstd.ops.client import AdminClient

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
START_S = 30.0
READY_S = 30.0
STOP_S = 15.0


def data_folder() -> Path:
    """The folder of recordings, or the end of the program with the reason."""
    named = os.environ.get("CSTD_DATA")
    if not named or not (Path(named) / "recordings").is_dir():
        sys.exit("CSTD_DATA must name a folder with recordings/: there are no frames to measure on")
    return Path(named) / "recordings"


def spawn(words: list[str], log: Path, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a program whose output goes to a log."""
    with log.open("ab") as file:
        return subprocess.Popen(words, cwd=REPOSITORY, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                                stdout=file, stderr=file, preexec_fn=end_with_parent)


def stop(process: subprocess.Popen[bytes] | None) -> int | None:
    """End a process, by force if it takes too long; its exit code."""
    if process is None or process.poll() is not None:
        return None if process is None else process.returncode
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(STOP_S)
    process.kill()
    return process.wait(STOP_S)


class LiveDaemon:
    """A daemon that is ready, its venue, its exchange. Use as a context manager.

    Attributes:
        process: the daemon. venue: what it is connected to. run_dir: gone at exit.
    """

    def __init__(self, paths: list[Path], *, strategy: str = "bench") -> None:
        self.recording = Recording(*paths)
        self._paths = paths
        self._strategy = strategy
        self.run_dir = Path(tempfile.mkdtemp(prefix="cstd-live-"))
        self.process: subprocess.Popen[bytes] | None = None
        self._exchange: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None

    def __enter__(self) -> LiveDaemon:
        try:
            self._start_exchange()
            self.venue = Venue(self.addresses(), self.recording)
            self._start_daemon()
            self._wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop_daemon()
        stop(self._exchange)
        if hasattr(self, "venue"):
            self.venue.close()
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def stop_daemon(self) -> None:
        """Ask the daemon to end, and wait: its journal is whole then."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            deadline_s = time.monotonic() + STOP_S
            while self.process.poll() is None and time.monotonic() < deadline_s:
                self.venue.serve(0.02)  # it disarms the dead man's switch before it goes
        self.exit_code = stop(self.process)

    def _start_exchange(self) -> None:
        words = [sys.executable, "-m", "cstd", "practice", "--run-dir", str(self.run_dir), "--recording", *map(str, self._paths)]
        self._exchange = spawn(words, self.run_dir / "practice.log")
        self._wait(lambda: (self.run_dir / "practice.json").exists(), START_S, "the practice exchange did not start", "practice")

    def addresses(self) -> dict[str, str]:
        """What the practice exchange (later: the venue in front of it) wrote into practice.json."""
        return dict(json.loads((self.run_dir / "practice.json").read_text()))

    def _start_daemon(self) -> None:
        described = self.addresses()
        described["ws_public"], described["ws_private"] = self.venue.urls
        path = self.run_dir / "practice.json"
        path.write_text(json.dumps(described))
        names = json.dumps(self.recording.names)
        # Without a projector: an engine without the bench strategy would not make of the journal what it holds, which halts.
        (self.run_dir / "names.toml").write_text(f"[instruments]\nnames = {names}\n[projector]\nenabled = false\n")
        self.process = spawn(
            [sys.executable, str(HERE / "daemon.py"), "-c", str(REPOSITORY / "config" / "practice.toml"),
             "-c", str(self.run_dir / "names.toml"), "--run-dir", str(self.run_dir), "--strategy", self._strategy],
            self.run_dir / "daemon.log", {"CSTD__STATUS__LISTEN": "127.0.0.1:0"})

    def _wait_ready(self) -> None:
        self._wait(lambda: self._socket().exists(), START_S, "the daemon did not start", "daemon")
        self._wait(lambda: self.status().get("state") == "ready", READY_S, "the daemon is not ready", "daemon")

    def _wait(self, condition: Any, limit_s: float, what: str, log: str) -> None:
        deadline_s = time.monotonic() + limit_s
        while not condition():
            ended = [p for p in (self.process, self._exchange) if p is not None and p.poll() is not None]
            if ended or time.monotonic() > deadline_s:
                tail = (self.run_dir / f"{log}.log").read_text(errors="replace").splitlines()[-15:]
                sys.exit(f"{what} within {limit_s:g} s:\n" + "\n".join(tail))
            if hasattr(self, "venue"):
                self.venue.serve(0.02)
            else:
                time.sleep(0.02)

    def _socket(self) -> Path:
        return self.run_dir / "cstd.sock"

    def request(self, verb: str) -> Any:
        """Ask the daemon over its admin socket; {} while it does not answer."""
        try:
            with AdminClient(self._socket(), timeout_s=5.0) as client:
                return client.request(verb)
        except OperatorError:
            return {}

    def counters(self) -> dict[str, int]:
        """All counters of the daemon."""
        return dict(self.request("counters"))

    def stages(self) -> dict[str, dict[str, int]]:
        """p50 and p99 of the engine's own histograms since the start, in ns, as the status page shows them."""
        board = BoardReader(self.run_dir / "board")
        try:
            latency = json.loads(board.read("latency")[1])
        finally:
            board.close()
        found = {}
        for name, row in latency["stages"].items():
            counts = np.asarray(row["counts"])
            if counts.sum():
                found[name] = {"n": int(counts.sum()), "p50_ns": int(quantile_ns(counts, 0.5)),
                               "p99_ns": int(quantile_ns(counts, 0.99))}
        return found

    def status(self) -> dict[str, Any]:
        """`cstd status` of the daemon."""
        return dict(self.request("status"))
