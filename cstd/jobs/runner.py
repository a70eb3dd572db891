"""One run of one job: its lock, its attempts with growing pauses, each in a child process with a time limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cstd.child import end_with_parent
from cstd.clock import SystemClock
from cstd.errors import EXIT_FAILURE, EXIT_OK, OperatorError
from cstd.jobs import records
from cstd.jobs.records import REASON_CHARS_MAX, Outcome, Record, Run
from cstd.jobs.table import JOBS, Job
from cstd.units import NS_PER_S

END_WAIT_S = 10.0  # between SIGTERM and SIGKILL
STDERR_WAIT_S = 2.0  # for what a child's own children still write
FIRST_OTHERS_WAIT_S = 300.0
LINE_BYTES_MAX = 8 * 1024
ERROR_BEGINS = "cstd: "
# Exit codes after which the same call may succeed: a wrong command line, configuration or proof stays wrong.
RETRIED = (EXIT_FAILURE,)


@dataclass(frozen=True, slots=True)
class Plan:
    """How one run is made: the words after `cstd`, how often and how long, and by which program and which sleep."""

    words: Sequence[str]
    limit_s: int
    attempts: int
    health: Callable[[], str] = lambda: ""  # why the daemon is not well, or ""
    sleep: Callable[[float], None] = time.sleep
    program: Sequence[str] = (sys.executable, "-m", "cstd")


def run(job: Job, directory: Path, plan: Plan) -> Run:
    """Run a job until it succeeds or its attempts are used up; returns the last attempt.

    Raises:
        OperatorError: it runs already, or its record cannot be kept.
    """
    records.prepare(directory)
    with records.lock(directory, job):
        record = records.read(directory, job) or records.new_record(job, _now_ns())
        _end_left(directory, record)
        _let_end(directory, job)
        for attempt in range(1, plan.attempts + 1):
            last = _attempt(job, directory, record, plan, attempt)
            again = last["outcome"] == "paused" or (last["outcome"] == "failed" and last["exit_code"] in RETRIED)
            if not again or attempt == plan.attempts:
                break
            _wait(directory, record, plan, job.back_off_s << (attempt - 1))
    return last


def _now_ns() -> int:
    return SystemClock().wall_ns()


def _end_left(directory: Path, record: Record) -> None:
    """Close the attempt that a runner left open when it was killed: with the lock held here, there is none any more."""
    if record["runs"] and record["runs"][-1]["outcome"] == "running":
        left = record["runs"][-1]
        _finish(directory, record, left, "stuck", None, records.why_stuck(left, held=False, wall_ns=_now_ns()))
    record["waits_until_wall_ns"] = None


def _let_end(directory: Path, job: Job) -> None:
    """Wait for the jobs that come first, as long as they run and not for ever."""
    for other in (other for other in JOBS if other.name in job.waits_for):
        if records.is_running(directory, other):
            try:
                records.lock(directory, other, FIRST_OTHERS_WAIT_S).close()
            except OperatorError:
                continue


def _wait(directory: Path, record: Record, plan: Plan, pause_s: int) -> None:
    record["waits_until_wall_ns"] = _now_ns() + pause_s * NS_PER_S
    records.write(directory, record)
    try:
        plan.sleep(pause_s)
    finally:
        record["waits_until_wall_ns"] = None
        records.write(directory, record)


def _attempt(job: Job, directory: Path, record: Record, plan: Plan, number: int) -> Run:
    attempt: Run = {"began_wall_ns": _now_ns(), "ended_wall_ns": None, "pid": os.getpid(), "attempt": number,
                    "attempts": plan.attempts, "limit_s": plan.limit_s, "outcome": "running", "exit_code": None, "reason": ""}
    record["runs"].append(attempt)
    if blocked := records.why_blocked(directory, job, attempt["began_wall_ns"]):
        return _finish(directory, record, attempt, "blocked", None, blocked)
    if job.pauses and (unwell := plan.health()):
        return _finish(directory, record, attempt, "paused", None, unwell)
    try:
        records.write(directory, record)
        code, line = run_child([*plan.program, *plan.words], plan.limit_s)
    except OSError as error:  # no child could be started
        return _finish(directory, record, attempt, "failed", None, str(error))
    except BaseException:  # ended by a signal or by Ctrl-C: the child is gone already
        _finish(directory, record, attempt, "stopped", None, "the runner was stopped")
        raise
    if code is None:
        return _finish(directory, record, attempt, "timeout", None, f"over its limit of {plan.limit_s} s; last: {line}")
    if code < 0:  # the kernel's OOM killer, a crash: no exit code of its own, and another try may help
        code, line = EXIT_FAILURE, f"ended by signal {-code}; last: {line}"
    return _finish(directory, record, attempt, "ok" if code == EXIT_OK else "failed", code, line)


def _finish(directory: Path, record: Record, attempt: Run, outcome: Outcome, code: int | None, reason: str) -> Run:
    attempt["outcome"], attempt["exit_code"], attempt["reason"] = outcome, code, reason[:REASON_CHARS_MAX]
    attempt["ended_wall_ns"] = _now_ns()
    if outcome == "ok":
        record["successes"] += 1
        record["last_success_wall_ns"] = attempt["ended_wall_ns"]
    elif outcome == "paused":
        record["pauses"] += 1
    else:
        record["failures"] += 1
    records.write(directory, record)
    return attempt


def run_child(words: Sequence[str], limit_s: float) -> tuple[int | None, str]:
    """Run a child in a session of its own; returns its exit code, None when it was ended at its limit, and its last line.

    What it prints goes to this process's stderr. It ends with this process, however that ends.
    """
    # No shell: the words are the program's own table. stdout of the job is not stdout of the runner.
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(), stderr=subprocess.PIPE,
                             start_new_session=True, preexec_fn=end_with_parent)  # noqa: PLW1509 -- one thread, before any is started
    assert child.stderr is not None
    last = _LastLine(child.stderr)
    try:
        code: int | None = child.wait(limit_s)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _end(child)
        last.join(STDERR_WAIT_S)
    return code, last.text


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child and all of its session."""
    if child.poll() is None:
        _signal(child, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(END_WAIT_S)
    _signal(child, signal.SIGKILL)
    child.wait()


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


class _LastLine(threading.Thread):
    """Passes a child's stderr on and keeps the last line that is not empty; of an error of cstd what it says, not what to do."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self.text = ""
        self._error = False
        self._stream = stream
        self.start()

    def run(self) -> None:
        """Read until the end of the stream."""
        while line := self._stream.readline(LINE_BYTES_MAX):
            text = line.decode("utf-8", "replace")
            sys.stderr.write(text)
            sys.stderr.flush()
            if text.startswith(ERROR_BEGINS):
                self.text, self._error = text.removeprefix(ERROR_BEGINS).strip(), True
            elif not self._error:
                self.text = text.strip() or self.text
