"""How the daemon sits on its host: threads, pinned CPUs, locked memory, polling, and what it says where it may not."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.integration.session import CONFIG, REPOSITORY, Session, cstd, practice_session

# libuv's own pool of four threads resolves names; it never holds the GIL.
LIBUV_POOL = 4


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A practice exchange; the daemon is the test's to start."""
    with practice_session(tmp_path) as running:
        yield running


def logged(session: Session, event: str) -> list[dict[str, Any]]:
    """Log lines of one event."""
    rows = [json.loads(line) for line in (session.run_dir / "daemon.log").read_text().splitlines() if line.startswith("{")]
    return [row for row in rows if row["event"] == event]


def threads(pid: int) -> dict[int, str]:
    """Name by thread id."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it may end between two looks
            found[int(task.name)] = (task / "comm").read_text().strip()
    return found


def pid_of(session: Session) -> int:
    """The daemon's process id."""
    assert session.daemon is not None
    return session.daemon.pid


# Runs the daemon as `cstd run` does and tells at its end which threads Python knows of.
WATCHED = """
import json, sys, threading
from cstd.daemon import process
from cstd.cli.app import main
seen = set()
ticks = process.Host.tick
def tick(self, *args):
    seen.update(thread.name for thread in threading.enumerate())
    ticks(self, *args)
process.Host.tick = tick
code = main(sys.argv[1:])
print(json.dumps(sorted(seen)), file=sys.stderr)
sys.exit(code)
"""


def test_python_has_one_thread(session: Session) -> None:
    """At every tick of a run threading knows the main thread alone."""
    words = ["run", "-c", str(CONFIG), "--run-dir", str(session.run_dir), "--for", "3"]
    done = subprocess.run([sys.executable, "-c", WATCHED, *words],
                          cwd=REPOSITORY, env=session.env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == ["MainThread"]


@contextlib.contextmanager
def service_manager(path: Path) -> Iterator[list[str]]:
    """What a service manager is told, line by line, read as it comes: the kernel keeps ten datagrams for it."""
    told: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))

        def listen() -> None:
            while (message := manager.recv(4096)) != b"END":
                told.extend(message.decode().splitlines())

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield told
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
                last.sendto(b"END", str(path))
            listener.join()


def test_the_service_manager_sees_each_state(session: Session, tmp_path: Path) -> None:
    """First start and restart alike: recovering, READY with the admin socket, reconciling, ready, stopping, in this order."""
    for start in ("first", "second"):
        session.daemon_env = {"NOTIFY_SOCKET": str(tmp_path / start)}
        with service_manager(tmp_path / start) as told:
            session.start_ready()
            assert session.terminate() == 0
        states = [line.removeprefix("STATUS=").split(":")[0] for line in told if line.startswith("STATUS=")]
        assert [state for state, _ in itertools.groupby(states)] == ["recovering", "reconciling", "ready", "stopping"]
        assert told.index("READY=1") < told.index("STATUS=ready")


def test_native_threads_are_the_known_ones(session: Session) -> None:
    """Once *ready* there are the main thread, the journal's writer, and at most libuv's pool: no BLAS, no ring poller."""
    session.start_ready()
    found = threads(pid_of(session))
    main = found.pop(pid_of(session))
    names = sorted(found.values())
    assert names.count("cstd-journal") == 1
    others = [name for name in names if name != "cstd-journal"]
    assert len(others) <= LIBUV_POOL
    assert all(name in (main, "libuv-worker") for name in others), names


def test_pinned_alone(session: Session) -> None:
    """The trading thread is on its CPU; its other threads and the child processes are on the rest."""
    needs.cpus(2)
    *rest, cpu = sorted(os.sched_getaffinity(0))
    session.env["CSTD__PROCESS__CPUS"] = f"[{cpu}]"
    session.start()
    # Not *ready*: one CPU of a busy machine may take long to get there, and nothing here depends on it.
    session.wait(lambda: (session.run_dir / "daemon.log").exists() and logged(session, "settled"), 60, "not settled")
    pid = pid_of(session)
    session.wait(lambda: len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) == 2, 60, "no child processes")
    session.wait(session.state, 30, "no answer")
    assert os.sched_getaffinity(pid) == {cpu}
    journal = next(task for task, name in threads(pid).items() if name == "cstd-journal")
    assert os.sched_getaffinity(journal) == set(rest)
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        assert os.sched_getaffinity(int(child)) == set(rest)
    assert logged(session, "settled")[0]["cpus"] == [cpu]
    assert session.terminate() == 0


def test_a_cpu_that_is_not_there_is_refused(session: Session) -> None:
    """A daemon that should be pinned to a CPU that this host lacks does not start, and says which there are."""
    session.env["CSTD__PROCESS__CPUS"] = "[4000]"
    done = cstd(session, "run", "-c", str(CONFIG), "--run-dir", str(session.run_dir))
    assert done.returncode == 78
    assert "process.cpus[0]" in done.stderr
    assert "4000" in done.stderr
    checked = cstd(session, "config", "check", "-c", str(CONFIG), "-o", "json")
    assert json.loads(checked.stdout)["refusals"][0]["key"] == "process.cpus[0]"


def test_busy_poll_starves_nothing(session: Session) -> None:
    """Polling takes a CPU, and yet ticks come, orders leave, commands are answered and SIGTERM ends it."""
    session.env["CSTD__PROCESS__BUSY_POLL"] = "true"
    session.start_ready()
    stat = Path(f"/proc/{pid_of(session)}/stat")

    def cpu_s() -> float:
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def waits() -> int:
        lines = Path(f"/proc/{pid_of(session)}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))

    seq, before_s, slept, at_s = session.request("status")["event_seq"], cpu_s(), waits(), time.monotonic()
    session.wait(lambda: session.request("orders", {"all": True}), 20, "no order")
    session.wait(lambda: time.monotonic() - at_s > 3, 10, "no time")
    gone_s = time.monotonic() - at_s
    assert session.request("status")["event_seq"] > seq + 5 * gone_s
    # Asleep in epoll it would wait for each of hundreds of events; what is left are waits on the admin socket and locks.
    assert waits() - slept < 5 * gone_s
    assert cpu_s() - before_s > 0.1 * gone_s  # a busy machine may give it little, asleep it takes a few hundredths
    assert session.terminate() == 0
    assert session.assert_journal_is_true().core.fault is None


def test_memory_that_may_not_be_locked_is_said_once(session: Session, tmp_path: Path) -> None:
    """Under a limit without the privilege the daemon warns once with both sizes and trades on."""
    if os.getuid() == 0:
        # Root may lock whatever the limit is: without that capability it may not.
        prefix = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit", "--memlock=65536:65536"]
    else:
        prefix = ["prlimit", "--memlock=65536:65536"]
    words = [*prefix, sys.executable, "-m", "cstd", "run", "-c", str(CONFIG), "--run-dir", str(session.run_dir), "--for", "1"]
    done = subprocess.run(words, cwd=REPOSITORY, env=session.env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    told = [row for row in rows if row["event"] == "memory is not locked"]
    assert len(told) == 1
    assert told[0]["rlimit_memlock_bytes"] == 65536 < told[0]["needed_bytes"]
    assert next(row for row in rows if row["event"] == "settled")["memory_locked"] is False
