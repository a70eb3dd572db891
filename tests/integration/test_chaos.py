"""`cstd chaos` as a process: it passes, it refuses, it says what it could not do, it fails loudly, and it cleans up."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cstd.chaos.campaign import FAILED, play
from cstd.chaos.faults import Fault
from cstd.chaos.session import Session, clean_environment, processes_of
from tests.integration.session import CONFIG, REPOSITORY


def chaos(scratch: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    """Start the verb with its session directories in a folder of the test's."""
    return subprocess.Popen([sys.executable, "-m", "cstd", "chaos", *words], cwd=REPOSITORY, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env={**clean_environment(os.environ), "TMPDIR": str(scratch), **env})


def finished(process: subprocess.Popen[str], timeout_s: float = 240.0) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
    return process.returncode, out, err


def left(scratch: Path) -> list[str]:
    """What a run left behind: files, mounts, processes."""
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(scratch) in line]
    running = [pid for pid in processes_of(scratch) if pid != os.getpid()]
    return [*map(str, scratch.iterdir()), *mounts, *map(str, running)]


@pytest.mark.slow
def test_a_kill_and_a_stop_lose_nothing(tmp_path: Path) -> None:
    """One kill -9 and one SIGSTOP: both pass, orders and fills were judged, the tally counts, nothing is left."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    tally = tmp_path / "tally.json"
    code, out, err = finished(chaos(scratch, "--faults", "kill9,stop", "--kills", "1", "--seed", "3", "--tally", str(tally),
                                    "-o", "json"))
    assert code == 0, err
    result = json.loads(out)
    assert (result["passed"], result["failed"], result["not-run"]) == (2, 0, 0)
    kill, stop = result["faults"]
    assert (kill["fault"], stop["fault"]) == ("kill9", "stop")
    assert "stopped 20 s; the longest of" in stop["reason"]
    assert kill["fills"] > 0 and stop["fills"] > 0 and kill["records"] > 0
    kept = json.loads(tally.read_text())
    assert kept == result["tally"] and kept["kills"] >= 1 and sum(kept["found"].values()) == 0 and kept["fills"] == kill["fills"]
    assert left(scratch) == []
    began_s = time.monotonic()
    again, out, _ = finished(chaos(scratch, "--faults", "kill9", "--kills", "1", "--tally", str(tally)))
    assert again == 0 and "already" in out and time.monotonic() - began_s < 30
    assert json.loads(tally.read_text()) == kept


@pytest.mark.slow
def test_a_disk_that_refuses_and_a_clock_that_steps(tmp_path: Path) -> None:
    """The faults of the preloaded library happen and pass: it is there, and builds wherever cstd itself was built."""
    code, out, err = finished(chaos(tmp_path, "--faults", "fsync-failing,clock-step", "--seed", "5", "-o", "json"))
    assert code == 0, err
    assert [(fault["result"], fault["strikes"]) for fault in json.loads(out)["faults"]] == [("passed", 1), ("passed", 3)]
    assert left(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    """Ended while a session trades: exit 130 or 143, and no process, mount, file or half-counted session stays."""
    tally = tmp_path / "tally.json"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = chaos(scratch, "--faults", "kill9", "--kills", "50", "--tally", str(tally))
    try:
        deadline_s = time.monotonic() + 60
        while not (ready := list(scratch.glob("*/cstd.sock"))) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert ready, "no daemon came up"
        assert len(processes_of(ready[0].parent)) >= 2
        process.send_signal(number)
    finally:
        code, out, err = finished(process, 90)
    assert code == 128 + number, err
    assert out == ""
    assert "everything was taken away" in err
    assert left(scratch) == []
    assert not tally.exists()


@pytest.mark.parametrize("name", ["live", "paper"])
def test_another_mode_is_refused(tmp_path: Path, name: str) -> None:
    """A configuration that is not practice's is never touched: exit 2, nothing started."""
    code, out, err = finished(chaos(tmp_path, "-c", str(REPOSITORY / "config" / f"{name}.toml"), "--faults", "kill9"))
    assert (code, out) == (2, "")
    assert f"has {name}" in err and "Traceback" not in err
    assert left(tmp_path) == []


def test_what_cannot_be_done_here_is_not_passed(tmp_path: Path) -> None:
    """Without the programs that they need, faults are not-run with the reason, and exit 1 says that nothing was shown."""
    code, out, err = finished(chaos(tmp_path, "--faults", "disk-full,clock-step,fsync-failing", "-o", "json", PATH="/nowhere"))
    assert code == 1, err
    result = json.loads(out)
    assert (result["passed"], result["not-run"]) == (0, 3)
    assert [fault["reason"] for fault in result["faults"]] == ["the program mount is not installed"] + [
        "no C compiler is installed to build the preloaded library with"] * 2
    assert left(tmp_path) == []
    code, _, err = finished(chaos(tmp_path, "--faults", "disk-full,net-cut", "--must-run", PATH="/nowhere"))
    assert code == 1 and "not run here: disk-full (the program mount is not installed); net-cut (" in err
    assert "--must-run requires them" in err
    assert left(tmp_path) == []


class Deposit(Fault):
    """No fault of the daemon's: coins appear, which the judge must see."""

    name = "deposit"

    def strike(self, session: Session, chance: random.Random) -> int:
        """Deposit one raw unit once something was traded."""
        session.wait(lambda: session.rows("fills"), 60, "no fill")
        session.tell_exchange("deposit", asset="BTC", amount="0.00000001")
        return 1


@pytest.mark.slow
def test_a_broken_promise_fails_and_keeps_its_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One raw unit too many: failed, with what differs, the seed, and the directory with a journal that can be read."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = play(Deposit(), 11, lambda _: None, config=CONFIG)
    assert (outcome.result, outcome.seed) == (FAILED, 11)
    assert {finding.kind for finding in outcome.findings} == {"balance_differs", "own_coins_moved"}
    assert "BTC" in outcome.reason
    assert (Path(outcome.directory) / "journal").is_dir()
    assert processes_of(Path(outcome.directory)) == []
