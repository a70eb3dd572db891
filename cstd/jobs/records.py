"""The records of jobs: what ran when, how it ended, and what that means now. Written by the runner, read by everybody."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO, Literal, TypedDict

import msgspec

from cstd.errors import OperatorError
from cstd.jobs.table import JOBS, Job
from cstd.locks import is_held, wait_for_lock
from cstd.storage.journal_files import put_in_place
from cstd.storage.run_dir import JOURNAL_DIR
from cstd.units import NS_PER_S

JOBS_DIR = "jobs"
RUNS_KEPT = 20
RECORD_BYTES_MAX = 256 * 1024
REASON_CHARS_MAX = 300
LOCK_WAIT_S = 1.0  # who only looks whether it is held has it for microseconds
OVER_LIMIT_S = 60  # what ending a child may take
FILE_MODE = 0o640
DIRECTORY_MODE = 0o750
NOT_KEPT = "see free space and rights"

Outcome = Literal["running", "ok", "failed", "timeout", "paused", "blocked", "stopped", "stuck"]
# What is no success of a job.
BAD = ("failed", "timeout", "paused", "blocked", "stopped", "stuck")


class Run(TypedDict):
    """One attempt of a job."""

    began_wall_ns: int
    ended_wall_ns: int | None
    pid: int  # of the runner
    attempt: int  # counts from 1
    attempts: int
    limit_s: int
    outcome: Outcome
    exit_code: int | None  # of the child; None where there was none, or where it was ended
    reason: str  # the last line that it wrote to stderr, or why it did not run


class Record(TypedDict):
    """All that is kept of a job."""

    job: str
    first_wall_ns: int
    last_success_wall_ns: int | None
    successes: int
    failures: int  # attempts that ended otherwise, those put off left out
    pauses: int  # attempts that were put off
    waits_until_wall_ns: int | None  # when the next attempt is
    runs: list[Run]  # oldest first


class JobRow(TypedDict):
    """One job: as it is declared, and how it stands."""

    job: str
    gives: str
    period_s: int
    limit_s: int
    attempts: int
    depends_on: list[str]
    waits_for: list[str]
    pauses: bool  # it is put off while the daemon is not well
    state: Literal["never", "running", "waiting", "ok", "failed", "timeout", "paused", "blocked", "stopped", "stuck"]
    reason: str
    overdue: bool  # it ran here once, and the newest success is older than two periods and an hour
    first_wall_ns: int | None
    last_began_wall_ns: int | None
    last_success_wall_ns: int | None
    successes: int
    failures: int
    paused: int
    runs: list[Run]


def jobs_dir(run_dir: Path) -> Path:
    """Return where the records of a run directory are: beside its journal, which a service has on a disk."""
    return (run_dir / JOURNAL_DIR).resolve().parent / JOBS_DIR


def new_record(job: Job, wall_ns: int) -> Record:
    """Return the record of a job that has never run."""
    return {"job": job.name, "first_wall_ns": wall_ns, "last_success_wall_ns": None, "successes": 0, "failures": 0, "pauses": 0,
            "waits_until_wall_ns": None, "runs": []}


def read(directory: Path, job: Job) -> Record | None:
    """Return a job's record; None where there is none, or where the file is no record: the next run begins a new one."""
    path = directory / f"{job.name}.json"
    try:
        if path.stat().st_size > RECORD_BYTES_MAX:
            return None
        found = msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, ValueError, RecursionError):  # what is no record, no JSON or no text is a ValueError
        return None
    return found if found["job"] == job.name else None


def write(directory: Path, record: Record) -> None:
    """Put a record in place, its newest runs alone.

    Raises:
        OperatorError: it cannot be written.
    """
    record["runs"] = record["runs"][-RUNS_KEPT:]
    try:
        put_in_place(directory / f"{record['job']}.json", msgspec.json.encode(record) + b"\n", mode=FILE_MODE)
    except OSError as error:
        raise OperatorError(f"the record of the job {record['job']} cannot be written in {directory}: {error.strerror}",
                            suggestion=NOT_KEPT) from error


def prepare(directory: Path) -> None:
    """Make the directory of the records.

    Raises:
        OperatorError: it cannot be made.
    """
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise _not_kept(directory, error) from error


def _not_kept(directory: Path, error: OSError) -> OperatorError:
    return OperatorError(f"no record of a job can be kept in {directory}: {error.strerror or error}", suggestion=NOT_KEPT)


def lock(directory: Path, job: Job, wait_s: float = LOCK_WAIT_S) -> IO[bytes]:
    """Return the held lock of a job; the kernel frees it when the runner ends, however it does.

    Raises:
        OperatorError: the job runs, or the lock cannot be made.
    """
    try:
        descriptor = os.open(directory / f"{job.name}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise _not_kept(directory, error) from error
    return wait_for_lock(os.fdopen(descriptor, "wb"), wait_s,
                         OperatorError(f"the job {job.name} runs already", suggestion="`cstd jobs list` shows since when"))


def is_running(directory: Path, job: Job) -> bool | None:
    """Return whether a runner holds the job's lock; None where this user may not look."""
    with contextlib.suppress(OSError):
        return is_held(directory / f"{job.name}.lock")
    return None


def why_stuck(run: Run, *, held: bool | None, wall_ns: int) -> str:
    """Return why an attempt that says it is running is not, or not as it should; "" where all is well, or nobody can tell."""
    if run["outcome"] != "running" or held is None:
        return ""
    if not held:
        return f"its process {run['pid']} is gone and did not say how it ended"
    if wall_ns > run["began_wall_ns"] + (run["limit_s"] + OVER_LIMIT_S) * NS_PER_S:
        return f"process {run['pid']} is over its limit of {run['limit_s']} s and was not ended"
    return ""


def why_blocked(directory: Path, job: Job, wall_ns: int) -> str:
    """Return which job that this one depends on did not succeed lately; "" where all did."""
    for other in (other for other in JOBS if other.name in job.depends_on):
        record = read(directory, other)
        if record is None or not record["runs"]:
            return f"{other.name} has never run here"
        ended = [run for run in record["runs"] if run["outcome"] != "running"]
        if ended and ended[-1]["outcome"] in BAD:
            return f"{other.name} did not succeed: {ended[-1]['outcome']}"
        if wall_ns > (record["last_success_wall_ns"] or 0) + 2 * other.period_s * NS_PER_S:
            return f"{other.name} has not succeeded for two of its periods"
    return ""


def is_overdue(job: Job, record: Record, wall_ns: int) -> bool:
    """Return whether a job that has run here lacks a success of its last two periods and an hour."""
    since_ns = record["last_success_wall_ns"] or record["first_wall_ns"]
    return wall_ns > since_ns + (2 * job.period_s + 3_600) * NS_PER_S


def row(directory: Path, job: Job, wall_ns: int) -> JobRow:
    """Return a job as it stands."""
    found: JobRow = {
        "job": job.name, "gives": job.gives, "period_s": job.period_s, "limit_s": job.limit_s, "attempts": job.attempts,
        "depends_on": list(job.depends_on), "waits_for": list(job.waits_for), "pauses": job.pauses, "state": "never",
        "reason": "", "overdue": False, "first_wall_ns": None, "last_began_wall_ns": None, "last_success_wall_ns": None,
        "successes": 0, "failures": 0, "paused": 0, "runs": []}
    record = read(directory, job)
    if record is None:
        return found
    held = is_running(directory, job)
    if held is False and record["runs"] and record["runs"][-1]["outcome"] == "running":
        record = read(directory, job) or record  # it may have ended, and said so, between the two looks
    found |= {"overdue": is_overdue(job, record, wall_ns), "first_wall_ns": record["first_wall_ns"],
              "last_success_wall_ns": record["last_success_wall_ns"], "successes": record["successes"],
              "failures": record["failures"], "paused": record["pauses"], "runs": record["runs"]}
    if record["runs"]:
        last = record["runs"][-1]
        stuck = why_stuck(last, held=held, wall_ns=wall_ns)
        waits = held and record["waits_until_wall_ns"] is not None and last["outcome"] != "running"
        found["state"] = "stuck" if stuck else "waiting" if waits else last["outcome"]
        found["reason"], found["last_began_wall_ns"] = stuck or last["reason"], last["began_wall_ns"]
    return found


def rows(run_dir: Path, wall_ns: int) -> list[JobRow]:
    """Return every job as it stands in a run directory, in the table's order."""
    directory = jobs_dir(run_dir)
    return [row(directory, job, wall_ns) for job in JOBS]
