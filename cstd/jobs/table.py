"""Which jobs there are: what runs, how often, for how long at most, and what it waits for. Only what exists is listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cstd.errors import UsageError

HOUR_S = 3_600
DAY_S = 24 * HOUR_S
WEEK_S = 7 * DAY_S
LIMIT_S_MAX = 300  # of a child that nobody gave longer


@dataclass(frozen=True, slots=True)
class Job:
    """One job.

    words: of the command line after `cstd`; {config} becomes a -c for each configuration file, {run_dir} and {backup} a folder.
    period_s: how often its timer starts it. limit_s: after which one attempt is ended.
    attempts, back_off_s: how often it is tried where another try may help, with the pause before the second one, doubled before
        each further one.
    depends_on: jobs whose newest run must have succeeded, not longer than two of their periods ago.
    waits_for: jobs that it lets end first when they run.
    pauses: it is put off while the daemon is not well.
    """

    name: str
    gives: str
    words: tuple[str, ...]
    period_s: int
    limit_s: int = LIMIT_S_MAX
    attempts: int = 1
    back_off_s: int = 60
    depends_on: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()
    pauses: bool = False


JOBS = (
    # The venue's lists and the daemon's lane may be away for a while: 1 + 2 + 4 + 8 minutes.
    Job("statement", "the statement of the day before, asked through the running daemon",
        ("statement", "{config}", "--run-dir", "{run_dir}", "--day", "yesterday", "--running"), DAY_S, attempts=5, pauses=True),
    # Never put off: a host in trouble is the one whose disk is needed elsewhere. The statement of the day shall be in it.
    Job("backup", "journal, ledger and key brought up to date elsewhere", ("backup", "{backup}", "--run-dir", "{run_dir}"),
        HOUR_S, attempts=3, waits_for=("statement",)),
    Job("doctor", "whether the host is still fit, its keys left out",
        ("doctor", "{config}", "--run-dir", "{run_dir}", "--without-keys"), DAY_S, limit_s=30),
    Job("drift-check", "whether the model that scores has drifted; with drift.rollback, the version before it back",
        ("models", "drift", "{config}", "--run-dir", "{run_dir}"), HOUR_S, limit_s=30, attempts=2, pauses=True),
    Job("journal-verify", "the journal's chain and signatures", ("journal", "verify", "{run_dir}/journal"), DAY_S,
        attempts=2, pauses=True),
    # After the chain: to compute decisions again from a damaged journal would name the wrong thing.
    Job("replay-check", "every decision, order and ledger row of the journal computed again",
        ("replay", "{run_dir}/journal", "--check"), WEEK_S, attempts=2, depends_on=("journal-verify",), pauses=True),
    Job("backup-verify", "the chain and signatures of the journal in the backup", ("journal", "verify", "{backup}/journal"),
        WEEK_S, attempts=2, depends_on=("backup",), waits_for=("backup",), pauses=True),
)


def job_named(name: str) -> Job:
    """Return a job.

    Raises:
        UsageError: there is none of that name.
    """
    for job in JOBS:
        if job.name == name:
            return job
    raise UsageError(f"there is no job {name!r}", suggestion=f"one of {', '.join(job.name for job in JOBS)}")


def command(job: Job, *, config: Sequence[str], run_dir: str, backup: str) -> list[str]:
    """Return the words of a job after `cstd`.

    Raises:
        UsageError: it needs a folder for backups and none is configured.
    """
    if not backup and any("{backup}" in word for word in job.words):
        raise UsageError(f"the job {job.name} needs a folder for backups",
                         suggestion="set jobs.backup_dir, or CSTD__JOBS__BACKUP_DIR; it belongs on another disk")
    words: list[str] = []
    for word in job.words:
        if word == "{config}":
            words += [part for file in config for part in ("-c", file)]
        else:
            words.append(word.format(run_dir=run_dir, backup=backup))
    return words
