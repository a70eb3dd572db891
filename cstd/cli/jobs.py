"""`cstd jobs list` and `cstd jobs run NAME`: what runs by itself, how it stands, and one of it now."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from cstd.clock import SystemClock, utc_text
from cstd.config import load
from cstd.errors import EXIT_FAILURE, EXIT_OK, OperatorError, UsageError
from cstd.jobs import records, runner
from cstd.jobs.table import command, job_named
from cstd.ops.client import AdminClient
from cstd.printed import aligned
from cstd.storage.run_dir import JOURNAL_DIR

HEALTH_TIMEOUT_S = 5.0
LIMIT_ASKED_S_MAX = 24 * 3_600
JOURNAL_LAG_MS_MAX = 1_000
# In these the daemon has better things to do than to answer a job, or to wait for its disk.
UNWELL_STATES = ("starting", "recovering", "reconciling", "halted", "stopping")
COLUMNS = ("job", "state", "every", "last success", "failures", "paused", "reason")


def list_jobs(args: argparse.Namespace) -> int:
    """Print every job with how it stands; returns 0."""
    run_dir, _, _ = places(args)
    rows = records.rows(run_dir, SystemClock().wall_ns())
    if args.output == "json":
        sys.stdout.write(json.dumps(rows) + "\n")
        return EXIT_OK
    cells = [[row["job"], row["state"] + (", overdue" if row["overdue"] else ""), every(row["period_s"]),
              utc_text(row["last_success_wall_ns"])[:19] if row["last_success_wall_ns"] is not None else "-",
              str(row["failures"]), str(row["paused"]), row["reason"] or "-"] for row in rows]
    sys.stdout.write("\n".join(aligned([COLUMNS, *cells])) + "\n")
    return EXIT_OK


def run_job(args: argparse.Namespace) -> int:
    """Run one job and print how it ended; returns 0 only where it succeeded, a child's own exit code where it failed.

    Raises:
        UsageError: no such job, no session there, or it needs a folder for backups.
        OperatorError: it runs already.
    """
    job = job_named(args.job)
    run_dir, socket, backup = places(args)
    if not (run_dir / JOURNAL_DIR).is_dir():
        raise UsageError(f"there is no journal in {run_dir}", suggestion="name the run directory of a daemon, with --run-dir")
    owner = (run_dir / JOURNAL_DIR).stat().st_uid
    if owner != os.geteuid():  # a record of another's would lock the session's own jobs out
        unit = f"cstd-{job.name}" if job.name in ("statement", "backup") else f"cstd-job@{job.name}"
        raise OperatorError(f"the session belongs to uid {owner}, this is uid {os.geteuid()}",
                            suggestion=f"run it as that user, or as its service: systemctl start {unit}")
    if args.limit is not None and args.limit > LIMIT_ASKED_S_MAX:
        raise UsageError(f"--limit {args.limit} s is longer than a day")
    words = command(job, config=args.config, run_dir=str(run_dir), backup=backup)
    plan = runner.Plan(words, args.limit or job.limit_s, 1 if args.once else job.attempts,
                       lambda: unwell(socket))
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        ended = runner.run(job, records.jobs_dir(run_dir), plan)
    finally:
        signal.signal(signal.SIGTERM, before)
    if args.output == "json":
        sys.stdout.write(json.dumps({"job": job.name, **ended}) + "\n")
    else:
        tail = f": {ended['reason']}" if ended["outcome"] != "ok" else ""
        sys.stdout.write(f"{job.name}: {ended['outcome']} (attempt {ended['attempt']} of {ended['attempts']}){tail}\n")
    return EXIT_OK if ended["outcome"] == "ok" else ended["exit_code"] or EXIT_FAILURE


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    """End with the child, by the way out that records it."""
    raise SystemExit(128 + number)


def places(args: argparse.Namespace) -> tuple[Path, Path, str]:
    """Return run directory, admin socket and the folder of backups: as named, configured, or in the environment."""
    cfg = load(args.config, os.environ) if args.config else None
    named = args.run_dir or (cfg.run.dir if cfg else os.environ.get("CSTD__RUN__DIR", ".run/current"))
    run_dir = Path(named).resolve()
    socket = (cfg.run.socket if cfg else os.environ.get("CSTD__RUN__SOCKET")) or run_dir / "cstd.sock"
    backup = cfg.jobs.backup_dir if cfg else os.environ.get("CSTD__JOBS__BACKUP_DIR", "")
    return run_dir, Path(socket), backup


def unwell(socket: Path) -> str:
    """Return why the daemon should not be bothered now; "" where it is well, and where there is none to bother."""
    try:
        client = AdminClient(socket, HEALTH_TIMEOUT_S)
    except OperatorError:
        return ""
    try:
        with client:
            status: dict[str, Any] = client.request("status")
    except OperatorError as error:
        return f"the daemon does not say how it is: {error.message}"
    journal = status["journal"]
    if status["state"] in UNWELL_STATES:
        return f"the daemon is {status['state']}" + (f": {status['state_reason']}" if status["state_reason"] else "")
    if journal["error"] is not None or journal["lag_ms"] > JOURNAL_LAG_MS_MAX:
        return f"the journal is {journal['lag_ms']:.0f} ms behind its disk: {journal['error'] or 'it is slow'}"
    behind = [name for name, link in status["links"].items() if link["behind"]]
    return f"the {behind[0]} link has a backlog" if behind else ""


def every(period_s: int) -> str:
    """Return a period as people say it."""
    return {3_600: "hour", 86_400: "day", 7 * 86_400: "week"}.get(period_s, f"{period_s} s")
