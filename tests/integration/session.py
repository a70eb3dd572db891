"""A practice exchange and a daemon as real processes in a run directory of their own: started, killed, looked into."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from cstd._fast.recorder import Recorder
from cstd.daemon.view import LiveView
from cstd.engine import Engine
from cstd.engine.replaying import JournalReplay
from cstd.errors import OperatorError
from cstd.ops.client import AdminClient
from cstd.signals.agents.loader import load as load_agents
from cstd.storage.journal_reader import records

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = REPOSITORY / "config" / "practice.toml"
# Short round trips: a test sees many of them in seconds. Ports are whatever is free.
QUICK = {
    "CSTD__STRATEGY__REHEARSAL__FLAT_S": "1", "CSTD__STRATEGY__REHEARSAL__HOLD_S": "1",
    "CSTD__STRATEGY__REHEARSAL__LONG_FLAT_S": "1", "CSTD__STRATEGY__REHEARSAL__LIFETIME_S": "10",
    "CSTD__STATUS__LISTEN": "127.0.0.1:0",
}
POLL_S = 0.03
PR_SET_PDEATHSIG = 1
USER_BTC = Decimal("0.05")
ORDER_FIELDS = ("status", "order_qty", "filled_qty", "side", "symbol")
FILL_FIELDS = ("cl_ord_id", "symbol", "side", "qty", "price", "fee", "fee_asset")
DECIMALS = frozenset({"order_qty", "filled_qty", "qty", "price", "fee"})

Row = dict[str, Any]


def _die_with_parent() -> None:
    """Runs in the child before exec: a test that is ended from outside leaves no exchange and no daemon behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def comparable(row: Row, fields: tuple[str, ...]) -> tuple[object, ...]:
    """The named fields of a row, decimals by value."""
    return tuple(Decimal(row[field]) if field in DECIMALS else row[field] for field in fields)


def by_id(rows: list[Row], key: str) -> dict[str, Row]:
    """Rows by their id, none of which may come twice."""
    found = {row[key]: row for row in rows}
    assert len(found) == len(rows), f"a {key} comes twice: {sorted(row[key] for row in rows)}"
    return found


def differences(ours: list[Row], truth: list[Row], key: str, fields: tuple[str, ...]) -> list[str]:
    """What differs between the daemon's rows and the exchange's, in words.

    An order that the venue never saw must be shown as rejected, and only such a one may be missing from the truth.
    """
    mine, real = by_id(ours, key), by_id(truth, key)
    found = [f"{key} {name} is in the truth alone: {real[name]}" for name in real.keys() - mine.keys()]
    for name, row in mine.items():
        if name not in real:
            if key == "exec_id" or row["status"] != "rejected" or Decimal(row["filled_qty"]):
                found.append(f"{key} {name} is the daemon's alone: {row}")
        elif comparable(row, fields) != comparable(real[name], fields):
            found.append(f"{key} {name} differs: {comparable(row, fields)}, in truth {comparable(real[name], fields)}")
    return found


class Session:
    """One run directory with its processes.

    Attributes:
        daemon: the daemon's process, None before the first start. starts: how often it was started.
    """

    def __init__(self, run_dir: Path, env: dict[str, str] | None = None) -> None:
        self.run_dir = run_dir
        self.env = {**os.environ, **QUICK, **(env or {})}
        self.exchange: subprocess.Popen[bytes] | None = None
        self.daemon: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.started_at_s = 0.0
        self._client: AdminClient | None = None

    # Processes.

    def _spawn(self, name: str, words: list[str], stdout: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        with (self.run_dir / f"{name}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "cstd", *words], cwd=REPOSITORY, env=self.env, stdout=stdout,
                                    stderr=log, stdin=subprocess.DEVNULL,
                                    preexec_fn=_die_with_parent)

    def start_exchange(self, seed: int = 1, *more: str) -> None:
        """Start the exchange and wait until it says where it listens."""
        words = ["practice", "--run-dir", str(self.run_dir), "--seed", str(seed), "--instruments", "2", *more]
        self.exchange = self._spawn("practice", words)
        self.wait(lambda: (self.run_dir / "practice.json").exists(), 20, "the exchange did not start")

    def start(self, *words: str, stdout: int = subprocess.DEVNULL) -> None:
        """Start the daemon; does not wait for it."""
        self.started_at_s = time.monotonic()
        self.daemon = self._spawn("daemon", ["run", "-c", str(CONFIG), "--run-dir", str(self.run_dir), *words], stdout)
        self.starts += 1

    def start_ready(self, timeout_s: float = 15.0) -> float:
        """Start the daemon and wait for *ready*; returns the seconds that took."""
        self.start()
        self.wait_state("ready", timeout_s)
        return time.monotonic() - self.started_at_s

    def kill_nine(self) -> None:
        """End the daemon as a power cut would, its children too: they notice and go."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait(5)
        self._drop_client()

    def terminate(self, timeout_s: float = 15.0) -> int:
        """Ask the daemon to stop; returns its exit code."""
        assert self.daemon is not None
        self.daemon.terminate()
        code = self.daemon.wait(timeout_s)
        self._drop_client()
        return code

    def close(self) -> None:
        """End what still runs."""
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

    def log_tail(self, name: str = "daemon", lines: int = 25) -> str:
        """The last lines of a process's log."""
        path = self.run_dir / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(none)"

    # Looking in.

    def request(self, verb: str, args: Row | None = None) -> Any:
        """One request over the admin socket."""
        if self._client is None:
            self._client = AdminClient(self.run_dir / "cstd.sock", timeout_s=5.0)
        try:
            return self._client.request(verb, args)
        except OperatorError:
            self._drop_client()
            raise

    def rows(self, verb: str) -> list[Row]:
        """All orders or fills of the session as the daemon shows them."""
        with AdminClient(self.run_dir / "cstd.sock", timeout_s=5.0) as client:
            return client.rows(verb, {"all": True})

    def _drop_client(self) -> None:
        if self._client is not None:
            self._client.__exit__()
            self._client = None

    def state(self) -> str:
        """The daemon's state, "" while its socket does not answer."""
        assert self.daemon is not None
        code = self.daemon.poll()
        assert code is None, f"the daemon ended with {code}:\n{self.log_tail()}"
        try:
            return str(self.request("status")["state"])
        except OperatorError:
            return ""

    def wait_state(self, state: str, timeout_s: float) -> None:
        """Wait until the daemon is in a state."""
        self.wait(lambda: self.state() == state, timeout_s, f"not {state}")

    def wait(self, condition: Callable[[], object], timeout_s: float, what: str) -> None:
        """Poll until the condition holds; fails with the daemon's log."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                status = self.request("status") if (self.run_dir / "cstd.sock").exists() else {}
                shown = {key: status.get(key) for key in ("state", "state_reason", "boot_epoch")}
                raise AssertionError(f"{what} within {timeout_s:g} s; {shown}\n{self.log_tail()}")
            time.sleep(POLL_S)

    def truth(self) -> Row:
        """The exchange's truth file, at most a second old."""
        return dict(json.loads((self.run_dir / "truth.json").read_bytes()))

    def fresh_truth(self) -> Row:
        """The truth file as written after this call began."""
        path = self.run_dir / "truth.json"
        began_ns = time.time_ns()
        self.wait(lambda: path.exists() and path.stat().st_mtime_ns > began_ns, 5, "no new truth file")
        return self.truth()

    # Judging.

    def disagreement(self) -> list[str]:
        """What the daemon and a truth file written since disagree on, orders and fills."""
        truth = self.fresh_truth()
        return self._compare(self.rows("orders"), self.rows("fills"), truth)

    def wait_agreement(self, timeout_s: float = 12.0) -> None:
        """Wait for a moment at which all orders and fills agree: trading goes on, the truth file is up to 1 s old."""
        deadline_s = time.monotonic() + timeout_s
        while found := self.disagreement():
            assert time.monotonic() < deadline_s, "\n".join(found) + "\n" + self.log_tail()

    def _compare(self, orders: list[Row], fills: list[Row], truth: Row) -> list[str]:
        return (differences(orders, truth["orders"], "cl_ord_id", ORDER_FIELDS)
                + differences(fills, truth["fills"], "exec_id", FILL_FIELDS))

    def journal_engine(self) -> Engine:
        """An engine as the journal alone brings it back; the replay must agree with what is recorded."""
        engine = Engine(Recorder(), load_agents())
        replay = JournalReplay(engine)
        for record in records(self.run_dir / "journal"):
            replay.feed(record.seq, record.kind, record.tag, record.mono_ns, record.wall_ns, bytes(record.payload))
        assert replay.difference_count == 0, replay.differences
        return engine

    def assert_journal_is_true(self) -> Engine:
        """With the daemon stopped: orders and fills of the journal are the exchange's, and the user's BTC is untouched."""
        truth = self.fresh_truth()
        engine = self.journal_engine()
        view = LiveView(engine, pid=0, mono_ns=time.monotonic_ns, process=dict)
        found = self._compare([dict(row) for row in view.orders(all_=True, limit=1_000_000)],
                              [dict(row) for row in view.fills(all_=True, limit=1_000_000)], truth)
        assert not found, "\n".join(found)
        assert self.user_btc(truth, [dict(row) for row in view.positions()]) == USER_BTC
        return engine

    def user_btc(self, truth: Row, positions: list[Row]) -> Decimal:
        """The venue's BTC less what the daemon manages."""
        managed = sum((Decimal(row["qty"]) for row in positions if row["asset"] == "BTC"), Decimal(0))
        return Decimal(truth["balances"]["BTC"]) - managed


def cstd(session: Session, *words: str, timeout_s: float = 30.0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run one `cstd` command in the session's environment and return its exit code and output."""
    return subprocess.run([sys.executable, "-m", "cstd", *words], cwd=REPOSITORY, env=session.env, capture_output=True,
                          text=True, timeout=timeout_s, check=False, **({"input": stdin} if stdin is not None
                                                                         else {"stdin": subprocess.DEVNULL}))


@contextlib.contextmanager
def practice_session(run_dir: Path, env: dict[str, str] | None = None, *, seed: int = 1) -> Iterator[Session]:
    """A session whose exchange runs; the daemon is the test's to start."""
    session = Session(run_dir, env)
    try:
        session.start_exchange(seed)
        yield session
    finally:
        session.close()
