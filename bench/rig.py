"""A practice exchange and a daemon as processes of their own, watched from outside: what bench/tail.py and bench/soak.py share.

Everything that is read comes from the daemon's board (the histograms of the engine and of the loop), from its admin socket and
from /proc; nothing is asked of the trading thread that it does not do anyway.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from cstd._fast.hist import bucket_edges_ns, quantile_ns
from cstd.child import end_with_parent
from cstd.errors import OperatorError
from cstd.ops.board import BoardReader
from cstd.ops.client import AdminClient

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = REPOSITORY / "config" / "practice.toml"
CSTD = ("-m", "cstd")
# The liveliest that the practice configuration allows: an opening as soon as the last round trip is over.
LIVELY = {
    "CSTD__STRATEGY__REHEARSAL__FLAT_S": "0.1", "CSTD__STRATEGY__REHEARSAL__HOLD_S": "0.1",
    "CSTD__STRATEGY__REHEARSAL__LONG_FLAT_S": "0.1", "CSTD__STRATEGY__REHEARSAL__LIFETIME_S": "1",
    "CSTD__STRATEGY__REHEARSAL__RETRY_S": "0.1", "CSTD__POLICY__PARENTS_PER_MINUTE_MAX": "1000",
    "CSTD__POLICY__PARENTS_PER_INSTRUMENT_HOUR_MAX": "3600", "CSTD__POLICY__LOSING_ROUND_TRIPS_MAX": "1000000",
    "CSTD__POLICY__TURNOVER_EQUITY_MULTIPLE_MAX": "1000", "CSTD__STATUS__LISTEN": "127.0.0.1:0",
}
QUANTILES = {"p50_ns": 0.5, "p99_ns": 0.99, "p999_ns": 0.999, "p9999_ns": 0.9999}
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Rig:
    """One run directory with its two processes; a context manager that ends both."""

    def __init__(self, run_dir: Path, *, env: dict[str, str] | None = None, exchange: tuple[str, ...] = (),
                 config: tuple[str, ...] = (str(CONFIG),), daemon: tuple[str, ...] = CSTD) -> None:
        self.run_dir = run_dir
        self._daemon_words = daemon
        self._env = {**os.environ, **LIVELY, **(env or {})}
        self._exchange_words = exchange
        self._configs = config
        self.exchange: subprocess.Popen[bytes] | None = None
        self.daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_exception: object) -> None:
        for process in (self.daemon, self.exchange):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _spawn(self, name: str, words: list[str]) -> subprocess.Popen[bytes]:
        with (self.run_dir / f"{name}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, *words], cwd=REPOSITORY, env=self._env, stderr=log,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=end_with_parent)

    def start(self, timeout_s: float = 60.0, daemon_env: dict[str, str] | None = None) -> None:
        """Start both; returns when the daemon is *ready*."""
        self.start_exchange(timeout_s)
        self.start_daemon(timeout_s, daemon_env)

    def start_exchange(self, timeout_s: float = 60.0) -> None:
        """Start the exchange; returns when it says where it listens."""
        self.exchange = self._spawn("practice", [*CSTD, "practice", "--run-dir", str(self.run_dir), *self._exchange_words])
        told = self.run_dir / "practice.json"
        self._wait(told.exists, timeout_s)
        ca = json.loads(told.read_bytes()).get("ca")
        self._env |= {"SSL_CERT_FILE": ca} if ca else {}

    def start_daemon(self, timeout_s: float = 60.0, env: dict[str, str] | None = None) -> None:
        """Start the daemon; returns when it is *ready*."""
        self._env |= env or {}
        words = [word for path in self._configs for word in ("-c", path)]
        self.daemon = self._spawn("daemon", [*self._daemon_words, "run", *words, "--run-dir", str(self.run_dir)])
        self._wait(self.ready, timeout_s)

    def _wait(self, condition: Any, timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        while not condition():
            for name, process in (("practice", self.exchange), ("daemon", self.daemon)):
                if process is not None and process.poll() is not None:
                    sys.exit(f"bench: {name} ended with {process.poll()}:\n{self.log_tail(name)}")
            if time.monotonic() > until_s:
                sys.exit(f"bench: not ready within {timeout_s:g} s:\n{self.log_tail('daemon')}")
            time.sleep(0.01)

    def log_tail(self, name: str) -> str:
        """The last lines of a process's log."""
        path = self.run_dir / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-15:]) if path.exists() else ""

    def request(self, verb: str, **args: object) -> Any:
        """One request over the admin socket."""
        with AdminClient(self.run_dir / "cstd.sock", timeout_s=5.0) as client:
            return client.request(verb, args)

    def ready(self) -> bool:
        """Whether the daemon is in the state *ready*."""
        try:
            return self.request("status")["ready"] is True
        except OperatorError:
            return False

    def board(self, region: str) -> Any:
        """What the daemon has published last in a region of its board."""
        reader = BoardReader(self.run_dir / "board")
        try:
            return json.loads(reader.read(region)[1] or b"null")
        finally:
            reader.close()

    def stages(self) -> dict[str, np.ndarray]:
        """Counts by stage and bucket since the boot."""
        return {name: np.asarray(row["counts"], dtype=np.int64) for name, row in self.board("latency")["stages"].items()}

    def stop(self) -> dict[str, Any]:
        """Stop the daemon by SIGTERM; its summary."""
        assert self.daemon is not None
        self.daemon.terminate()
        code = self.daemon.wait(30)
        if code != 0:
            sys.exit(f"bench: the daemon ended with {code}:\n{self.log_tail('daemon')}")
        return dict(json.loads((self.run_dir / "summary.json").read_bytes()))


def since(later: dict[str, np.ndarray], earlier: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Counts of the time between two looks."""
    return {name: counts - earlier[name] for name, counts in later.items()}


def quantiles(counts: np.ndarray) -> dict[str, int | None]:
    """n and upper bucket edges in ns; None where n is too small for the quantile to have one observation above it."""
    n = int(counts.sum())
    top = np.flatnonzero(counts)
    return {"n": n, **{name: quantile_ns(counts, q) if n * (1 - q) >= 1 - 1e-9 else None for name, q in QUANTILES.items()},
            "max_ns": int(bucket_edges_ns()[top[-1]]) if len(top) else None}


def process_times(pid: int) -> dict[str, float]:
    """CPU seconds, minor and major faults of a process so far; its memory in KiB; context switches."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    row: dict[str, float] = {"cpu_s": (int(fields[11]) + int(fields[12])) / TICKS_PER_S, "minor_faults": int(fields[7]),
                             "major_faults": int(fields[9])}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "RssAnon", "RssFile", "RssShmem", "VmLck"):
            row[f"{name}_kib"] = int(value.split()[0])
        elif name in ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"):
            row[name] = int(value)
    return row


def host_times() -> dict[str, float]:
    """Seconds of all CPUs so far: busy, idle, stolen by the hypervisor."""
    numbers = [int(word) / TICKS_PER_S for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, idle, iowait, irq, softirq, steal = numbers
    return {"busy_s": user + nice + system + irq + softirq, "idle_s": idle + iowait, "steal_s": steal}


def host_row(before: dict[str, float], after: dict[str, float]) -> dict[str, Any]:
    """What the host had left between two looks, in CPUs, and whether that was enough for one process."""
    delta = {name: after[name] - before[name] for name in before}
    total = max(sum(delta.values()), 1e-9)
    cpus = os.cpu_count() or 1
    return {"idle_cpus": round(cpus * delta["idle_s"] / total, 3), "steal_frac": round(delta["steal_s"] / total, 5),
            "had_a_free_core": cpus * delta["idle_s"] / total >= 1 and delta["steal_s"] / total < 0.01}
