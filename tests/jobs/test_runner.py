"""Jobs: one at a time, within their limit, tried again where that helps, and each attempt on record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cstd.cli.app import main
from cstd.cli.jobs import unwell
from cstd.errors import EXIT_CONFIG, EXIT_FAILURE, EXIT_OK, EXIT_USAGE, EXIT_VERIFICATION, OperatorError, UsageError
from cstd.jobs import records, runner
from cstd.jobs.runner import Plan
from cstd.jobs.table import JOBS, LIMIT_S_MAX, Job, command, job_named
from cstd.units import NS_PER_S
from tests.ops.fake_view import FakeView
from tests.ops.running import admin_socket
from tests.processes import assert_ends
from tests.schemas import assert_fits

JOB = job_named("journal-verify")
PYTHON = (sys.executable, "-c")
STARTS_S = 30.0  # for a process to come up or to go, on a busy host
# A child that does not listen to SIGTERM, says so by its process id, and goes on.
STUBBORN = ("import os, pathlib, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
            "pathlib.Path({mark!r}).write_text(str(os.getpid())); {rest}")


def plan(code: str, *, attempts: int = 1, limit_s: int = 20, health: str = "", slept: list[float] | None = None) -> Plan:
    """A plan that runs a piece of Python; pauses are noted and not slept."""
    return Plan((code,), limit_s, attempts, lambda: health, (slept if slept is not None else []).append, PYTHON)


def record(directory: Path, job: Job = JOB) -> records.Record:
    """A job's record, which is there."""
    found = records.read(directory, job)
    assert found is not None
    return found


def test_the_table_is_sound() -> None:
    """Each name once; limits of at most 300 s; what a job names comes before it and exists; its command is one that there is."""
    from cstd.cli.parser import find_verb, parser_of

    names = [job.name for job in JOBS]
    assert len(set(names)) == len(names)
    for job in JOBS:
        assert 0 < job.limit_s <= LIMIT_S_MAX == 300
        assert job.attempts >= 1 and job.back_off_s > 0 and job.period_s >= 3_600
        for other in (*job.depends_on, *job.waits_for):
            assert names.index(other) < names.index(job.name)
        words = command(job, config=["a.toml"], run_dir="DIR", backup="ELSEWHERE")
        verb = find_verb(words)
        parser_of(verb).parse_args(words[len(verb.words):])


def test_a_success_is_on_record(tmp_path: Path) -> None:
    """Begin, end, exit code, attempt, the last line of stderr; the row of `jobs list` says ok."""
    done = runner.run(JOB, tmp_path, plan("import sys; print('data'); print('one\\n\\ntwo', file=sys.stderr)"))
    assert (done["outcome"], done["exit_code"], done["attempt"], done["reason"]) == ("ok", 0, 1, "two")
    assert record(tmp_path)["runs"] == [done]
    assert done["began_wall_ns"] <= (done["ended_wall_ns"] or 0)
    row = records.row(tmp_path, JOB, time.time_ns())
    assert (row["state"], row["successes"], row["failures"], row["overdue"]) == ("ok", 1, 0, False)


def test_the_reason_of_an_error_is_what_it_says(tmp_path: Path) -> None:
    """Not what to do about it, which stands below."""
    done = runner.run(JOB, tmp_path, plan("import sys; sys.exit('first\\ncstd: no daemon runs\\n      start it')"))
    assert (done["outcome"], done["reason"]) == ("failed", "no daemon runs")


@pytest.mark.parametrize(("code", "tries"), [(EXIT_FAILURE, 4), (EXIT_USAGE, 1), (EXIT_VERIFICATION, 1), (EXIT_CONFIG, 1)])
def test_what_may_help_is_tried_again_with_longer_pauses(code: int, tries: int, tmp_path: Path) -> None:
    """Exit 1 is; a wrong command line, configuration or proof is not."""
    slept: list[float] = []
    done = runner.run(JOB, tmp_path, plan(f"raise SystemExit({code})", attempts=4, slept=slept))
    assert (done["outcome"], done["exit_code"], done["attempt"]) == ("failed", code, tries)
    assert slept == [60, 120, 240][:tries - 1]
    assert record(tmp_path)["failures"] == tries


def test_a_try_that_succeeds_ends_the_run(tmp_path: Path) -> None:
    """The second attempt is the last one where it succeeds."""
    flag = tmp_path / "flag"
    done = runner.run(JOB, tmp_path, plan(f"import pathlib; p = pathlib.Path({str(flag)!r}); there = p.exists(); p.touch(); "
                                          "raise SystemExit(not there)", attempts=4))
    assert (done["outcome"], done["attempt"]) == ("ok", 2)
    assert (record(tmp_path)["successes"], record(tmp_path)["failures"]) == (1, 1)


def pid_in(path: Path, process: subprocess.Popen[bytes] | None = None) -> int:
    """The process id that a child wrote; waits for it, while the process that starts the child lives."""
    until_s = time.monotonic() + STARTS_S
    while not path.exists() or not path.read_text():
        assert time.monotonic() < until_s and (process is None or process.poll() is None)
        time.sleep(0.02)
    return int(path.read_text())


def test_a_child_over_its_limit_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It, and what it started, although neither listens to SIGTERM; once: another try would take as long."""
    monkeypatch.setattr(runner, "END_WAIT_S", 0.5)
    marks = [tmp_path / "child", tmp_path / "grandchild"]
    grandchild = STUBBORN.format(mark=str(marks[1]), rest="time.sleep(600)")
    child = STUBBORN.format(mark=str(marks[0]), rest=f"subprocess.run([sys.executable, '-c', {grandchild!r}])")
    began_s = time.monotonic()
    done = runner.run(JOB, tmp_path, plan(child, attempts=3, limit_s=10))  # both have started by then
    assert (done["outcome"], done["exit_code"], done["attempt"]) == ("timeout", None, 1)
    assert "over its limit of 10 s" in done["reason"]
    assert time.monotonic() - began_s < 20
    for mark in marks:
        assert_ends(pid_in(mark))


def test_a_child_ended_by_a_signal_failed_and_is_tried_again(tmp_path: Path) -> None:
    """As the OOM killer ends one: exit code 1, and the reason names the signal."""
    code = "import os, sys; print('almost', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"
    done = runner.run(JOB, tmp_path, plan(code, attempts=2))
    assert (done["outcome"], done["exit_code"], done["attempt"]) == ("failed", EXIT_FAILURE, 2)
    assert done["reason"] == "ended by signal 9; last: almost"


def test_a_child_that_cannot_be_started_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On record with what the kernel says, not as if the runner had been stopped."""
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert runner.run(JOB, tmp_path, plan("pass"))["outcome"] == "failed"
    (run,) = record(tmp_path)["runs"]
    assert (run["outcome"], run["exit_code"], "Cannot allocate memory" in run["reason"]) == ("failed", None, True)


def test_a_place_that_takes_no_record_is_said(tmp_path: Path) -> None:
    """A file where the directory should be, a directory where the lock should be: an error of the operator's, no traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="no record of a job can be kept"):
        runner.run(JOB, tmp_path / "file", plan("pass"))
    (tmp_path / f"{JOB.name}.lock").mkdir()
    with pytest.raises(OperatorError, match="no record of a job can be kept"):
        runner.run(JOB, tmp_path, plan("pass"))


@pytest.mark.parametrize("content", [b'{"job": "\xff"}', b"\xff\xfe", b"[" * 100_000, b"{", b"{}"])
def test_a_file_that_is_no_record_is_none(content: bytes, tmp_path: Path) -> None:
    """Whatever is in it, text or not: the job has never run, and `jobs list` goes on."""
    (tmp_path / f"{JOB.name}.json").write_bytes(content)
    assert records.read(tmp_path, JOB) is None
    assert records.row(tmp_path, JOB, time.time_ns())["state"] == "never"


def test_a_run_that_ends_while_it_is_looked_at_is_not_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record was read while it ran, the lock was looked at when it had ended: its end is read as well."""
    runner.run(JOB, tmp_path, plan("pass"))
    done = record(tmp_path)
    open_run: records.Run = {**done["runs"][-1], "outcome": "running", "ended_wall_ns": None}
    found = [{**done, "runs": [open_run]}, done]
    monkeypatch.setattr(records, "read", lambda _directory, _job: found.pop(0))
    assert records.row(tmp_path, JOB, time.time_ns())["state"] == "ok"


def test_a_lock_that_may_not_be_looked_at_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's run is taken at its word, neither gone nor over its limit."""
    runner.run(JOB, tmp_path, plan("pass"))
    kept = record(tmp_path)
    kept["runs"][-1].update({"outcome": "running", "ended_wall_ns": None})
    records.write(tmp_path, kept)

    def refuse(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(records, "is_held", refuse)
    assert records.is_running(tmp_path, JOB) is None
    row = records.row(tmp_path, JOB, time.time_ns())
    assert (row["state"], row["reason"]) == ("running", "")


def test_one_run_of_a_job_at_a_time(tmp_path: Path) -> None:
    """A second one is refused while the first holds the lock, and changes no record."""
    with records.lock(tmp_path, JOB):
        with pytest.raises(OperatorError, match="runs already"):
            runner.run(JOB, tmp_path, plan("pass"))
        assert records.read(tmp_path, JOB) is None
    assert runner.run(JOB, tmp_path, plan("pass"))["outcome"] == "ok"


def test_a_runner_that_was_killed_is_seen_and_closed(tmp_path: Path) -> None:
    """The list says stuck and why; the child went with its runner; the next run closes the record and succeeds."""
    child_code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = ("import sys; from pathlib import Path; from cstd.jobs import runner; from cstd.jobs.table import job_named; "
            f"runner.run(job_named({JOB.name!r}), Path({str(tmp_path)!r}), "
            f"runner.Plan(({child_code!r},), 30, 1, program=(sys.executable, '-c')))")
    process = subprocess.Popen([sys.executable, "-c", code])
    child = pid_in(tmp_path / "pid", process)
    assert records.row(tmp_path, JOB, time.time_ns())["state"] == "running"
    process.kill()
    process.wait()
    row = records.row(tmp_path, JOB, time.time_ns())
    assert (row["state"], f"its process {process.pid} is gone" in row["reason"]) == ("stuck", True)
    assert_ends(child)
    assert runner.run(JOB, tmp_path, plan("pass"))["outcome"] == "ok"
    assert [run["outcome"] for run in record(tmp_path)["runs"]] == ["stuck", "ok"]


def test_one_that_runs_over_its_limit_is_stuck(tmp_path: Path) -> None:
    """At its limit and the minute that ending it may take it is running, a nanosecond later it is stuck."""
    run: records.Run = {"began_wall_ns": 0, "ended_wall_ns": None, "pid": 1, "attempt": 1, "attempts": 1, "limit_s": 100,
                        "outcome": "running", "exit_code": None, "reason": ""}
    assert records.why_stuck(run, held=True, wall_ns=160 * NS_PER_S) == ""
    assert "over its limit of 100 s" in records.why_stuck(run, held=True, wall_ns=160 * NS_PER_S + 1)
    assert records.why_stuck({**run, "outcome": "ok"}, held=False, wall_ns=10**18) == ""


def test_a_runner_that_is_stopped_ends_its_child_and_says_so(tmp_path: Path) -> None:
    """SIGTERM, as systemd sends it: exit 143, the attempt is on record as stopped, and a child that does not listen is gone."""
    (tmp_path / "journal").mkdir()
    child_code = STUBBORN.format(mark=str(tmp_path / "pid"), rest="time.sleep(600)")
    program = ("import sys; from cstd.jobs import runner; from cstd.cli.app import main; runner.END_WAIT_S = 0.5; "
               "run_child = runner.run_child; "
               f"runner.run_child = lambda words, limit: run_child([sys.executable, '-c', {child_code!r}], limit); "
               f"sys.exit(main(['jobs', 'run', 'journal-verify', '--run-dir', {str(tmp_path)!r}]))")
    process = subprocess.Popen([sys.executable, "-c", program])
    child = pid_in(tmp_path / "pid", process)
    assert record(tmp_path / "jobs")["runs"][-1]["outcome"] == "running"
    process.send_signal(signal.SIGTERM)
    assert process.wait(STARTS_S) == 143
    assert record(tmp_path / "jobs")["runs"][-1]["outcome"] == "stopped"
    assert_ends(child)


def test_a_job_is_put_off_while_the_daemon_is_not_well(tmp_path: Path) -> None:
    """Each attempt is counted with its reason and nothing runs; a job that does not pause runs all the same."""
    done = runner.run(JOB, tmp_path, plan("raise SystemExit(9)", attempts=2, health="the daemon is recovering"))
    assert (done["outcome"], done["exit_code"], done["reason"]) == ("paused", None, "the daemon is recovering")
    assert (record(tmp_path)["pauses"], record(tmp_path)["failures"]) == (2, 0)
    backup = job_named("backup")
    assert runner.run(backup, tmp_path, plan("pass", health="the daemon is halted"))["outcome"] == "ok"


def test_what_well_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a daemon, ready, paused and killed nothing is put off; halted, recovering, or with a late disk it is."""
    path = tmp_path / "s"
    assert unwell(path) == ""
    view = FakeView()
    with admin_socket(path, view):
        for state, well in (("ready", True), ("paused", True), ("killed", True), ("halted", False), ("recovering", False)):
            view.state = state
            assert (unwell(path) == "") == well, state
        view.state = "ready"
        status = view.status()
        for lag_ms, well in ((1_000, True), (1_001, False)):
            late = {**status, "journal": {**status["journal"], "lag_ms": lag_ms}}
            monkeypatch.setattr(view, "status", lambda late=late: late)
            assert (unwell(path) == "") == well


def test_a_job_waits_for_a_success_of_what_it_depends_on(tmp_path: Path) -> None:
    """Never run, failed, or too long ago: blocked, with which and why; after a success it runs."""
    replay = job_named("replay-check")
    assert "has never run" in runner.run(replay, tmp_path, plan("pass"))["reason"]
    runner.run(JOB, tmp_path, plan("raise SystemExit(3)"))
    done = runner.run(replay, tmp_path, plan("pass", attempts=3))
    assert (done["outcome"], done["attempt"], done["reason"]) == ("blocked", 1, "journal-verify did not succeed: failed")
    runner.run(JOB, tmp_path, plan("pass"))
    assert runner.run(replay, tmp_path, plan("pass"))["outcome"] == "ok"
    at_ns = record(tmp_path)["last_success_wall_ns"] or 0
    assert records.why_blocked(tmp_path, replay, at_ns + 2 * JOB.period_s * NS_PER_S) == ""
    assert "two of its periods" in records.why_blocked(tmp_path, replay, at_ns + 2 * JOB.period_s * NS_PER_S + 1)


def test_a_job_lets_another_end_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backup waits while the statement runs, and goes on after a while where that does not end."""
    monkeypatch.setattr(runner, "FIRST_OTHERS_WAIT_S", 0.5)
    with records.lock(tmp_path, job_named("statement")):
        began_s = time.monotonic()
        assert runner.run(job_named("backup"), tmp_path, plan("pass"))["outcome"] == "ok"
        assert time.monotonic() - began_s > 0.5


def test_a_record_is_bounded_and_whole(tmp_path: Path) -> None:
    """The newest twenty attempts, all counted; a file that is no record begins a new one."""
    for _ in range(records.RUNS_KEPT + 3):
        runner.run(replace(JOB, pauses=True), tmp_path, plan("pass", health="x" * 999))
    found = record(tmp_path)
    assert (len(found["runs"]), found["pauses"]) == (records.RUNS_KEPT, records.RUNS_KEPT + 3)
    assert {len(run["reason"]) for run in found["runs"]} == {records.REASON_CHARS_MAX}
    for text in ("", "{}", '{"job": "journal-verify"}', "[" * 10_000, "x" * (records.RECORD_BYTES_MAX + 1)):
        (tmp_path / "journal-verify.json").write_text(text)
        assert records.row(tmp_path, JOB, 0)["state"] == "never"
    assert runner.run(JOB, tmp_path, plan("pass"))["outcome"] == "ok"
    assert list(tmp_path.glob(".*")) == []


def test_overdue_is_two_periods_and_an_hour(tmp_path: Path) -> None:
    """From the newest success, or the first run where there is none."""
    kept = records.new_record(JOB, 0)
    assert not records.is_overdue(JOB, kept, (2 * 86_400 + 3_600) * NS_PER_S)
    assert records.is_overdue(JOB, kept, (2 * 86_400 + 3_600) * NS_PER_S + 1)
    kept["last_success_wall_ns"] = 86_400 * NS_PER_S
    assert not records.is_overdue(JOB, kept, (3 * 86_400 + 3_600) * NS_PER_S)


def test_the_command(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A real job of a journal that there is not: its exit code, its line, its schema; the folder of backups has to be named."""
    monkeypatch.delenv("CSTD__JOBS__BACKUP_DIR", raising=False)
    (tmp_path / "journal").mkdir()
    at = ["--run-dir", str(tmp_path), "-o", "json"]
    assert main(["jobs", "run", "journal-verify", "--once", *at]) == EXIT_USAGE
    out, err = capfd.readouterr()
    assert_fits("jobs run", json.loads(out))
    assert json.loads(out)["reason"] in err
    assert main(["jobs", "run", "journal-verify", "--once", "--limit", "2d", *at]) == EXIT_USAGE
    for words in (["backup"], ["sweep"]):
        assert main(["jobs", "run", *words, *at]) == EXIT_USAGE
    capfd.readouterr()
    assert main(["jobs", "list", *at]) == EXIT_OK
    rows = json.loads(capfd.readouterr().out)
    assert_fits("jobs list", rows)
    assert {row["job"]: row["state"] for row in rows} == {**{job.name: "never" for job in JOBS}, "journal-verify": "failed"}
    assert main(["jobs", "list", "--run-dir", str(tmp_path)]) == EXIT_OK
    assert "journal-verify  failed" in capfd.readouterr().out


def test_a_session_of_another_user_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that root made would lock the service's own jobs out: refused, with how to do it, before anything is written."""
    (tmp_path / "journal").mkdir()
    monkeypatch.setattr("os.geteuid", lambda: 4000)
    assert main(["jobs", "run", "doctor", "--once", "--run-dir", str(tmp_path)]) == EXIT_FAILURE
    assert "systemctl start cstd-job@doctor" in capsys.readouterr().err
    assert not (tmp_path / "jobs").exists()


def test_no_backup_folder_is_refused_by_name() -> None:
    """It says which key to set."""
    with pytest.raises(UsageError, match="needs a folder"):
        command(job_named("backup"), config=[], run_dir="x", backup="")
    assert os.environ.get("CSTD__JOBS__BACKUP_DIR") is None
