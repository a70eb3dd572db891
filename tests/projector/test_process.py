"""The projector process: killed at any moment it goes on where it was, and it keeps out of another's way."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cstd._fast.codes import EventKind
from cstd.errors import EXIT_PARITY, OperatorError
from cstd.projector import process
from cstd.projector.mark import ProjectorMark
from cstd.projector.process import LOCK_FILE, Projector, take_lock
from cstd.projector.rebuild import rebuild
from cstd.storage import journal_reader
from cstd.storage.journal_signature import HEAD_SIGNATURE_NAME
from tests.projector.sessions import columns, rows, written
from tests.simulation.simulated import Simulation

# The process as it is, but for the agents: a simulated session has none.
PROCESS = """
import sys
from cstd.child import stand_back
from cstd.projector import process
stand_back()
process.load_agents = lambda: None
process.TURN_S = 0.02
sys.exit(process.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def session() -> Simulation:
    """A session with crashes."""
    return Simulation(4).run(20)


def start(run_dir: Path, *words: str) -> subprocess.Popen[str]:
    """Start a projector of a run directory."""
    return subprocess.Popen([sys.executable, "-c", PROCESS, "--run-dir", str(run_dir), *words], stderr=subprocess.PIPE, text=True)


def place(run_dir: Path) -> int:
    """The record that the database is at, 0 for none."""
    if not (run_dir / "ledger.db").exists():
        return 0
    try:
        return int((columns(run_dir / "ledger.db", "SELECT seq FROM place") or [(0,)])[0][0])
    except Exception:  # noqa: BLE001 -- a file that is just being made has no tables yet
        return 0


def level_ns(run_dir: Path) -> int:
    """When everything was in the database last."""
    if not (run_dir / "projector.mark").exists():
        return 0
    mark = ProjectorMark(run_dir / "projector.mark")
    found = mark.read()["level_mono_ns"]
    mark.close()
    return found


def wait_for(run_dir: Path, seq: int, child: subprocess.Popen[str]) -> None:
    """Wait until the database is at a record and this process has said that there is no more."""
    until_s = time.monotonic() + 60
    before_ns = level_ns(run_dir)
    while place(run_dir) < seq or level_ns(run_dir) == before_ns:
        assert child.poll() is None, child.stderr.read() if child.stderr else ""
        assert time.monotonic() < until_s, f"at {place(run_dir)} of {seq} after 60 s"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_kills_at_any_moment_leave_the_rows_of_a_rebuild(session: Simulation, tmp_path: Path) -> None:
    """kill -9 again and again, in starting, following, signing and compressing: then it ends well, and nothing differs."""
    run_dir = written(tmp_path, session.journal)
    chance = random.Random(7)
    last = len(session.journal)
    for _ in range(8):
        child = start(run_dir)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.3 + chance.random() * 1.2)
        child.kill()
        child.communicate()
        assert journal_reader.verify(run_dir / "journal").last_seq == last
    child = start(run_dir)
    wait_for(run_dir, last, child)
    child.send_signal(signal.SIGTERM)
    assert child.communicate(timeout=30)[1] == ""
    assert child.returncode == 0
    rebuild(run_dir / "journal", run_dir / "again.db", None)
    assert rows(run_dir / "ledger.db") == rows(run_dir / "again.db")
    report = journal_reader.verify(run_dir / "journal")
    assert report.signed_seq == last
    mark = ProjectorMark(run_dir / "projector.mark")
    assert (mark.read()["seq"], mark.read()["signed_seq"]) == (last, last)
    assert mark.read()["level_mono_ns"] > 0
    mark.close()


def test_catching_up_signs_nothing_old_and_rest_writes_nothing(
        session: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a start the newest signature is not replaced by an older one; with nothing new nothing is written."""
    monkeypatch.setattr(process, "load_agents", lambda: None)
    monkeypatch.setattr(process, "SIGN_NS", 0)
    run_dir = written(tmp_path, session.journal)
    first = Projector(run_dir, compress=False)
    first.finish()
    first.close()
    signed = (run_dir / "journal" / HEAD_SIGNATURE_NAME).read_bytes()
    again = Projector(run_dir, compress=False)
    assert not again.turn(0.0)
    assert (run_dir / "journal" / HEAD_SIGNATURE_NAME).read_bytes() == signed
    while not again.turn(0.05):
        assert (run_dir / "journal" / HEAD_SIGNATURE_NAME).read_bytes() == signed
    log = run_dir / "ledger.db-wal"
    before = (log.stat().st_size, log.stat().st_mtime_ns)
    assert again.turn()
    assert again.turn()
    assert (log.stat().st_size, log.stat().st_mtime_ns) == before
    again.close()
    assert journal_reader.verify(run_dir / "journal").signed_seq == len(session.journal)


def test_a_disk_that_refuses_a_compression_is_counted_and_tried_later(
        session: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segment stays, the failure is counted, nothing is tried again at once, and the process goes on."""
    monkeypatch.setattr(process, "load_agents", lambda: None)
    run_dir = written(tmp_path, session.journal)
    projector = Projector(run_dir)
    projector.finish()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        while projector.compress_step():
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    mark = ProjectorMark(run_dir / "projector.mark")
    assert mark.read()["failed_compressions"] == 1
    assert not list((run_dir / "journal").glob("*.zst"))
    assert not projector.compress_step()
    monkeypatch.setattr(projector, "_not_before_ns", 0)
    while projector.compress_step():
        pass
    segments = len(list((run_dir / "journal").glob("*.zst")))
    assert mark.read()["compressed_segments"] == segments > 0
    assert mark.read()["compressed_saved_bytes"] > 0
    mark.close()
    projector.close()
    assert journal_reader.verify(run_dir / "journal").last_seq == len(session.journal)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_it_stands_back(session: Simulation, tmp_path: Path) -> None:
    """It runs at idle priority and is the only one of its run directory."""
    run_dir = written(tmp_path, session.journal[:200])
    child = start(run_dir)
    try:
        wait_for(run_dir, 200, child)
        assert os.sched_getscheduler(child.pid) == os.SCHED_IDLE
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == 19
        with pytest.raises(OperatorError, match="another projector"):
            take_lock(run_dir, 0.0)
    finally:
        child.terminate()
        child.communicate(timeout=30)
    take_lock(run_dir, 0.0).close()
    assert (run_dir / LOCK_FILE).exists()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_damage_ends_it_with_the_place(session: Simulation, tmp_path: Path) -> None:
    """A changed byte of the journal: exit code 3 and a line that names the file; the rows before it stay."""
    run_dir = written(tmp_path, session.journal)
    path = sorted((run_dir / "journal").glob("segment-*.cstd"))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    child = start(run_dir)
    error = child.communicate(timeout=60)[1]
    assert child.returncode == 3
    assert path.name in error
    assert "Traceback" not in error


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_another_decision_than_the_journals_has_a_code_of_its_own(session: Simulation, tmp_path: Path) -> None:
    """Its parent halts on that code alone: damage, another database and a full disk are no decision that came out otherwise."""
    entries = list(session.journal)
    at = next(number for number, entry in enumerate(entries) if entry[0] == EventKind.OUT_ORDER_FRAME)
    kind, tag, mono_ns, wall_ns, payload = entries[at]
    entries[at] = (kind, tag, mono_ns, wall_ns, payload[:-1] + bytes([payload[-1] ^ 1]))
    child = start(written(tmp_path, entries))
    error = child.communicate(timeout=60)[1]
    assert child.returncode == EXIT_PARITY
    assert "the engine does not make of the journal what it holds" in error


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_parent_that_is_gone_ends_it(tmp_path: Path) -> None:
    """Started for a process that is not its parent it says so and ends."""
    child = start(tmp_path, "--parent", "1")
    assert "parent process 1 is gone" in child.communicate(timeout=60)[1]
    assert child.returncode == 1


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ledger_and_key_are_kept_beside_the_journal(session: Simulation, tmp_path: Path) -> None:
    """A run directory on a tmpfs that links to its journal keeps nothing of it: the ledger is where the journal is."""
    state = tmp_path / "state"
    written(state, session.journal[:200])
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "journal").symlink_to(state / "journal")
    child = start(run_dir)
    try:
        until_s = time.monotonic() + 60
        while place(state) < 200 or not (state / "journal" / "head.sig").exists():
            assert time.monotonic() < until_s
            time.sleep(0.05)
    finally:
        child.terminate()
        child.communicate(timeout=30)
    assert {path.name for path in state.iterdir()} >= {"ledger.db", "journal-key.pem", "journal"}
    assert {path.name for path in run_dir.iterdir()} == {"journal", "projector.mark"}
