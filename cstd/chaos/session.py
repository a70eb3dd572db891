"""A practice exchange and a daemon as real processes in a run directory of their own: started, harmed, looked into, judged."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cstd.chaos.judge import Finding, JournalView, Row, compare_all, compare_rows, read_journal, told
from cstd.child import end_with_parent
from cstd.config import template
from cstd.daemon.ring_place import RING_FILE, ring_path
from cstd.errors import OperatorError, VerificationError
from cstd.ops.client import AdminClient
from cstd.signals.agents.loader import load as load_agents
from cstd.storage.journal_files import link_ring
from cstd.storage.run_dir import JOURNAL_DIR

# Short round trips: seconds show many of them. Ports are whatever is free.
QUICK = {
    "CSTD__STRATEGY__REHEARSAL__FLAT_S": "1", "CSTD__STRATEGY__REHEARSAL__HOLD_S": "1",
    "CSTD__STRATEGY__REHEARSAL__LONG_FLAT_S": "1", "CSTD__STRATEGY__REHEARSAL__LIFETIME_S": "10",
    "CSTD__STATUS__LISTEN": "127.0.0.1:0",
}
POLL_S = 0.03
ADMIN_TIMEOUT_S = 5.0
EXCHANGE_START_S = 60.0
STOP_S = 60.0  # TimeoutStopSec= of the shipped unit
SUMMARY_KEYS = ("frames", "book_updates", "checksums_ok", "checksums_bad", "resyncs", "intents", "orders", "digest")


class NotReachedError(VerificationError):
    """The session did not come to where it must within its time, or a process of it ended by itself."""


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without a key of the venue and without configuration: a session is never a configured one's."""
    return {name: value for name, value in environ.items()
            if not name.startswith(("KRAKEN_", "CSTD__")) and name not in ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET")}


def processes_of(run_dir: Path) -> list[int]:
    """Return the processes that were started with this run directory in their arguments, this one left out."""
    wanted = os.fsencode(run_dir)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if any(word == wanted or word.startswith(wanted + b"/") for word in words):
                    found.append(int(entry.name))
    return sorted(found)


class Session:
    """One run directory with its processes.

    Args:
        run_dir: where all of it lies; it exists.
        env: what the processes get beside the caller's environment and QUICK.
        config: the configuration file, of mode practice.
        prefix: words before each command, for example to enter a network namespace.

    Attributes:
        daemon: the daemon's process, None before the first start. starts: how often it was started.
        daemon_module: the program that the daemon runs as.
        daemon_env: what the daemon alone gets beside `env`. start_balances: the account before any trading.
    """

    def __init__(self, run_dir: Path, env: Mapping[str, str] | None = None, *, config: Path | None = None,
                 prefix: Sequence[str] = ()) -> None:
        self.run_dir = run_dir
        self.config = config if config is not None else template("practice")
        self.env = {**clean_environment(os.environ), **QUICK, **(env or {})}
        self.daemon_env: dict[str, str] = {}
        self.daemon_module = "cstd"
        self.exchange: subprocess.Popen[bytes] | None = None
        self.daemon: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.started_at_s = 0.0
        self.start_balances: dict[str, str] = {}
        self._prefix = list(prefix)
        self._client: AdminClient | None = None

    # Processes.

    def _spawn(self, name: str, words: list[str], stdout: int = subprocess.DEVNULL,
               env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        module = self.daemon_module if name == "daemon" else "cstd"
        with (self.run_dir / f"{name}.log").open("ab") as log:
            return subprocess.Popen([*self._prefix, sys.executable, "-m", module, *words], env={**self.env, **(env or {})},
                                    stdout=stdout, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                    preexec_fn=end_with_parent)  # noqa: PLW1509 -- no threads run here

    def start_exchange(self, seed: int = 1, *options: str) -> None:
        """Start the exchange, with further options of its own, and wait until it says where it listens."""
        words = ["practice", "--run-dir", str(self.run_dir), "--seed", str(seed), "--instruments", "2", *options]
        self.exchange = self._spawn("practice", words)
        self.wait(lambda: (self.run_dir / "practice.json").exists() and (self.run_dir / "truth.json").exists(),
                  EXCHANGE_START_S, "the exchange did not start")
        self.start_balances = dict(self.truth()["balances"])

    def start(self, *words: str, stdout: int = subprocess.DEVNULL) -> None:
        """Start the daemon; does not wait for it."""
        self.started_at_s = time.monotonic()
        command = ["run", "-c", str(self.config), "--run-dir", str(self.run_dir), *words]
        self.daemon = self._spawn("daemon", command, stdout, self.daemon_env)
        self.starts += 1

    def start_ready(self, timeout_s: float = 60.0) -> float:
        """Start the daemon and wait for *ready*; returns the seconds that took."""
        self.start()
        self.wait_state("ready", timeout_s)
        return time.monotonic() - self.started_at_s

    def running_daemon(self) -> subprocess.Popen[bytes]:
        """Return the daemon's process.

        Raises:
            NotReachedError: it was not started, or it ended by itself.
        """
        if self.daemon is None:
            raise NotReachedError("no daemon was started")
        code = self.daemon.poll()
        if code is not None:
            raise NotReachedError(f"the daemon ended with {code}:\n{self.log_tail()}")
        return self.daemon

    def kill_nine(self) -> None:
        """End the daemon as a power cut would, its children too: they notice and go."""
        daemon = self.running_daemon()
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(STOP_S)
        self._drop_client()

    def terminate(self, timeout_s: float = 15.0) -> int:
        """Ask the daemon to stop; returns its exit code.

        Raises:
            NotReachedError: it does not stop in time.
        """
        daemon = self.running_daemon()
        daemon.terminate()
        try:
            code = daemon.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise NotReachedError(f"the daemon did not stop within {timeout_s:g} s\n{self.log_tail()}") from None
        self._drop_client()
        return code

    def close(self) -> None:
        """End what still runs, children included, and remove the journal's ring, which lies outside the run directory."""
        self._drop_client()
        for process in (self.daemon, self.exchange):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                if process.poll() is None:
                    process.kill()
                    process.wait(5)
        deadline_s = time.monotonic() + 5
        while (left := processes_of(self.run_dir)) and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def keep_ring(self) -> None:
        """Move the journal's ring, where it lies outside, into the run directory: what only it holds stays readable."""
        ring, own = ring_path(self.run_dir.resolve()), self.run_dir.resolve() / RING_FILE
        if ring != own and ring.exists() and (self.run_dir / JOURNAL_DIR).is_dir():
            shutil.copyfile(ring, own)
            link_ring(self.run_dir.resolve() / JOURNAL_DIR, own)

    def remove_ring(self) -> None:
        """Remove the journal's ring where it lies outside the run directory: nobody will start from it again."""
        ring = ring_path(self.run_dir.resolve())
        if ring.parent != self.run_dir.resolve():
            ring.unlink(missing_ok=True)

    def log_tail(self, name: str = "daemon", lines: int = 25) -> str:
        """Return the last lines of a process's log."""
        path = self.run_dir / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(none)"

    def children(self) -> list[int]:
        """Return the process ids of the daemon's children."""
        pid = self.running_daemon().pid
        with contextlib.suppress(OSError):
            return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    # Looking in.

    def request(self, verb: str, args: Row | None = None) -> Any:
        """Send one request over the admin socket; raises OperatorError when nobody answers or it is refused."""
        if self._client is None:
            self._client = AdminClient(self.run_dir / "cstd.sock", timeout_s=ADMIN_TIMEOUT_S)
        try:
            return self._client.request(verb, args)
        except OperatorError:
            self._drop_client()
            raise

    def rows(self, verb: str) -> list[Row]:
        """Return all orders or fills of the session as the daemon shows them."""
        with AdminClient(self.run_dir / "cstd.sock", timeout_s=ADMIN_TIMEOUT_S) as client:
            return client.rows(verb, {"all": True})

    def _drop_client(self) -> None:
        if self._client is not None:
            self._client.__exit__()
            self._client = None

    def state(self) -> str:
        """Return the daemon's state, "" while its socket does not answer."""
        self.running_daemon()
        try:
            return str(self.request("status")["state"])
        except OperatorError:
            return ""

    def wait_state(self, state: str, timeout_s: float) -> None:
        """Wait until the daemon is in a state."""
        self.wait(lambda: self.state() == state, timeout_s, f"not {state}")

    def wait(self, condition: Callable[[], object], timeout_s: float, what: str, poll_s: float = POLL_S) -> None:
        """Poll until the condition holds; raises NotReachedError with the daemon's log when it does not in time."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                shown: Row = {}
                with contextlib.suppress(OperatorError):
                    status = self.request("status")
                    shown = {key: status.get(key) for key in ("state", "state_reason", "boot_epoch")}
                raise NotReachedError(f"{what} within {timeout_s:g} s; {shown}\n{self.log_tail()}")
            time.sleep(poll_s)

    def tell_exchange(self, verb: str, **body: object) -> Any:
        """Make one call to the exchange's operator side; returns its result."""
        addresses = json.loads((self.run_dir / "practice.json").read_bytes())
        request = urllib.request.Request(  # noqa: S310 -- the address is the exchange's own, on loopback
            f"{addresses['rest']}/practice/{verb}", json.dumps(body).encode(),
            {"API-Key": addresses["api_key"], "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310 -- as above
            return json.loads(reply.read())["result"]

    def truth(self) -> Row:
        """Return the exchange's truth file, at most a second old."""
        return dict(json.loads((self.run_dir / "truth.json").read_bytes()))

    def fresh_truth(self) -> Row:
        """Return the truth file as written after this call began."""
        path = self.run_dir / "truth.json"
        began_ns = time.time_ns()
        self.wait(lambda: path.exists() and path.stat().st_mtime_ns > began_ns, 10, "no new truth file")
        return self.truth()

    # Judging.

    def disagreement(self) -> list[Finding]:
        """Return what the daemon and a truth file written since disagree on, orders and fills."""
        truth = self.fresh_truth()
        return compare_rows(self.rows("orders"), self.rows("fills"), truth)

    def wait_agreement(self, timeout_s: float = 30.0) -> None:
        """Wait for a moment at which all orders and fills agree: trading goes on, the truth file is up to 1 s old.

        Raises:
            NotReachedError: with what is different, and the daemon's log.
        """
        deadline_s = time.monotonic() + timeout_s
        while found := self.disagreement():
            if time.monotonic() > deadline_s:
                raise NotReachedError(f"{told(found)}\n{self.log_tail()}")

    def judge_at_rest(self) -> list[Finding]:
        """Return what the daemon and the exchange disagree on, money included; the daemon is paused with no order open."""
        truth = self.fresh_truth()
        return compare_all(self.rows("orders"), self.rows("fills"), self.request("positions"), truth, self.start_balances)

    def judge_view(self, view: JournalView, truth: Row) -> list[Finding]:
        """Return what was wrong in a journal, and what it and the exchange disagree on; the daemon has stopped."""
        return view.findings + compare_all(view.orders, view.fills, view.positions, truth, self.start_balances)

    def judge_replay(self) -> list[Finding]:
        """Return what `cstd replay --check` finds, and where its totals are not those that the daemon wrote at its end."""
        done = subprocess.run([sys.executable, "-m", "cstd", "replay", str(self.run_dir / JOURNAL_DIR), "--check"], check=False,
                              env=self.env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600)
        if done.returncode:
            return [Finding("replay_differs", f"exit code {done.returncode}: {done.stderr.strip()}")]
        replayed = json.loads(done.stdout)
        summary = json.loads((self.run_dir / "summary.json").read_bytes())
        return [Finding("summary_differs", f"{key}: {summary[key]}, replayed {replayed[key]}")
                for key in SUMMARY_KEYS if replayed[key] != summary[key]]

    def journal_view(self) -> JournalView:
        """Return what the journal alone brings back."""
        return read_journal(self.run_dir / JOURNAL_DIR, load_agents())
