"""Life of the daemon as a process: what it prints, how it ends, how it goes on, and how it refuses to start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from cstd.daemon.ring_place import ring_path
from cstd.errors import EXIT_FAILURE
from cstd.storage.journal_reader import verify
from tests.integration.session import CONFIG, REPOSITORY, Session, cstd, practice_session

STARTER_LIMIT = 48.0  # 80 % of the starter tier's 60 points
SUMMARY_KEYS = {
    "mode", "seconds", "frames", "book_updates", "checksums_ok", "checksums_bad", "resyncs", "intents", "orders", "shadowed",
    "fills", "refused_by_gate", "equity", "digest", "frame_to_order_ns",
}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A practice exchange; the daemon is the test's to start."""
    with practice_session(tmp_path) as running:
        yield running


def test_run_for_prints_its_summary(session: Session) -> None:
    """`cstd run --for 12` trades, exits 0, and its last line on stdout is the documented JSON object."""
    session.start("--for", "12", stdout=subprocess.PIPE)
    session.wait_state("ready", 20.0)
    ready_s = time.monotonic() - session.started_at_s
    assert session.daemon is not None
    out, _ = session.daemon.communicate(timeout=30)
    assert session.daemon.returncode == 0, session.log_tail()
    summary = json.loads(out.decode().splitlines()[-1])
    assert summary.keys() == SUMMARY_KEYS
    assert summary["mode"] == "practice"
    assert 11.5 < summary["seconds"] < 16
    assert summary["checksums_bad"] == 0
    assert min(summary[key] for key in ("frames", "book_updates", "checksums_ok", "intents", "orders", "fills")) > 0
    assert 9_000 < Decimal(summary["equity"]) < 11_000
    assert len(summary["digest"]) == 64
    assert summary["frame_to_order_ns"].keys() == {"n", "p50", "p99", "p999"}
    assert summary["frame_to_order_ns"]["n"] == summary["orders"]
    assert json.loads((session.run_dir / "summary.json").read_bytes()) == summary
    # About 1.5 s on a quiet host; the bound only catches a start that hangs, so that a loaded machine decides nothing.
    assert ready_s < 20.0, f"ready after {ready_s:.2f} s"
    session.assert_journal_is_true()


def test_a_start_counts_on_from_the_attempts_of_the_one_before(session: Session) -> None:
    """Both sockets of each process, killed or not, are in one file: a crash loop is bounded as one process is."""
    for start in range(1, 4):
        session.start_ready()
        boot, *times = (session.run_dir / "attempts").read_text().splitlines()
        assert len(bytes.fromhex(boot)) == 16
        assert len(times) >= 2 * start and times == sorted(times, key=int)
        session.kill_nine()


def test_terminate_pulls_openings_and_disarms(session: Session) -> None:
    """SIGTERM with an opening at the venue: it is canceled there, the dead man's switch is off, the exit code is 0."""
    session.start_ready()
    session.wait(lambda: [row for row in session.request("orders") if row["kind"] == "opening" and row["state"] == "new"],
                 20, "no opening rests")
    armed_at_s = time.monotonic()
    assert session.request("status")["deadman"]["armed"]
    assert session.request("status")["links"]["futures"]["up"], "an opening needs an index"
    assert session.terminate() == 0
    assert time.monotonic() - armed_at_s < 9
    truth = session.fresh_truth()
    open_ids = [row["cl_ord_id"] for row in truth["orders"] if row["status"] in ("new", "pending_new", "partially_filled")]
    assert open_ids == []
    # The machine's own state follows the venue's replies: 0 once it has confirmed.
    assert session.assert_journal_is_true().private.deadman.armed_until_ns == 0


def test_second_start_goes_on(session: Session) -> None:
    """A second start in the same run directory has a later boot epoch, what the first one booked, and ids of its own."""
    session.start_ready()
    epoch = session.request("status")["boot_epoch"]
    session.wait(lambda: session.request("fills"), 20, "no fill")
    assert session.terminate() == 0
    before = {row["exec_id"] for row in session.truth()["fills"]}
    session.start_ready()
    assert session.request("status")["boot_epoch"] > epoch
    assert before <= {row["exec_id"] for row in session.rows("fills")}
    session.wait(lambda: len(session.rows("fills")) > len(before), 20, "no further fill")
    session.wait_agreement()
    assert session.terminate() == 0
    session.assert_journal_is_true()


def test_run_directory_in_use(session: Session) -> None:
    """A second daemon in the same run directory ends with a clear error and leaves the first one alone."""
    session.start_ready()
    done = cstd(session, "run", "-c", str(CONFIG), "--run-dir", str(session.run_dir))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "another" in done.stderr, done.stderr
    assert session.state() == "ready"
    assert session.terminate() == 0
    session.assert_journal_is_true()


def test_a_disk_at_its_floor_halts_before_it_is_full(session: Session) -> None:
    """Below the floor the daemon halts with the figures, opens nothing, and a resume does not help while it lasts."""
    session.env["CSTD__JOURNAL__DISK_FREE_BYTES_MIN"] = str(2**50)
    session.start()
    session.wait_state("halted", 60)
    status = session.request("status")
    assert "journal.disk_free_bytes_min is 1,125,899,906,842,624" in status["state_reason"]
    assert 0 < status["journal"]["disk_free_bytes"] < 2**50
    session.request("resume")
    time.sleep(1.0)
    session.wait_state("halted", 5)
    assert session.rows("orders") == []
    assert session.terminate() == 0
    session.assert_journal_is_true()


def test_status_port_in_use(session: Session) -> None:
    """A status port that is taken is named in the daemon's log; trading does not depend on the page."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        session.env["CSTD__STATUS__LISTEN"] = f"127.0.0.1:{port}"
        session.start_ready()
        session.wait(lambda: f"port {port} on 127.0.0.1 is in use" in session.log_tail(lines=200), 60, "port not named")
    assert "Traceback" not in session.log_tail(lines=400)
    assert session.terminate() == 0


def test_practice_port_in_use(tmp_path: Path) -> None:
    """A port of the practice exchange that is taken: a clear error that names it."""
    session = Session(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        session.env["CSTD__PRACTICE__REST_PORT"] = port
        done = cstd(session, "practice", "--run-dir", str(tmp_path))
    assert done.returncode == 1
    assert port in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_no_exchange(tmp_path: Path) -> None:
    """Without practice.json the daemon says what is missing and what to do, and exits 78."""
    done = cstd(Session(tmp_path), "run", "-c", str(CONFIG), "--run-dir", str(tmp_path))
    assert done.returncode == 78
    assert "practice.json" in done.stderr and "cstd practice" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("told", ["starter", "pro"])
def test_the_strictest_tier_is_traded_within(tmp_path: Path, told: str) -> None:
    """At a venue that grants the starter tier nothing is refused for its rate, whichever tier the configuration names."""
    with practice_session(tmp_path, {"CSTD__VENUE__TIER": told}, "--tier", "starter") as session:
        session.start("--for", "25", stdout=subprocess.PIPE)
        session.wait_state("ready", 20.0)
        session.wait(lambda: {row["rate_limit"] for row in session.request("instruments")} == {STARTER_LIMIT}, 10,
                     "the venue's own word on its tier does not count")
        assert session.daemon is not None
        out, _ = session.daemon.communicate(timeout=60)
        summary = json.loads(out.decode().splitlines()[-1])
        assert summary["orders"] > 0 and summary["fills"] > 0
        logged = (session.run_dir / "daemon.log").read_text()
        assert "Rate limit exceeded" not in logged
        session.assert_journal_is_true()


@pytest.fixture
def whole_session(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`cstd session`, ready, and its run directory; its stderr goes to the file `stderr`."""
    root, told = tmp_path / ".run", tmp_path / "stderr"
    with told.open("w") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "cstd", "session", "--root", str(root)], cwd=REPOSITORY,
                                   env=Session(tmp_path).env, stdout=subprocess.DEVNULL, stderr=stderr)
    try:
        until_s = time.monotonic() + 120
        while "ready after" not in told.read_text():
            assert process.poll() is None and time.monotonic() < until_s, told.read_text()
            time.sleep(0.1)
        yield process, (root / "current").resolve()
    finally:
        process.kill()
        process.wait()


def assert_settled(run_dir: Path) -> None:
    """No memory is taken any more, and the journal is whole."""
    assert not ring_path(run_dir).exists()
    assert verify(run_dir / "journal").records > 0
    assert "Traceback" not in (run_dir.parents[1] / "stderr").read_text()


def test_a_session_that_is_told_thrice_to_end_leaves_no_memory_taken(whole_session: tuple[subprocess.Popen[bytes], Path]) -> None:
    """The second signal ends it at once, a third changes nothing; the killed daemon's journal is whole and its ring gone."""
    process, run_dir = whole_session
    assert ring_path(run_dir).exists()
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
        time.sleep(0.02)
    assert process.wait(20) in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert_settled(run_dir)


def test_a_daemon_killed_while_its_session_stops_leaves_no_memory_taken(
        whole_session: tuple[subprocess.Popen[bytes], Path]) -> None:
    """It hung, was told to stop and killed: no summary, which is said, but its journal is whole and its ring gone."""
    process, run_dir = whole_session
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    [daemon] = [int(pid) for pid in children if b"\0run\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(daemon, signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert ring_path(run_dir).exists() and process.poll() is None
    os.kill(daemon, signal.SIGKILL)
    assert process.wait(20) == EXIT_FAILURE
    assert "left no summary" in (run_dir.parents[1] / "stderr").read_text()
    assert_settled(run_dir)
