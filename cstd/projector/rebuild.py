"""`cstd db rebuild [DIR]`: the SQLite ledger made anew from the journal, at any time.

The file is made under another name and takes its place whole. Beside a running daemon its projector takes it over; without
one it is put there at once.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from cstd.errors import EXIT_OK, OperatorError, UsageError
from cstd.printed import print_row
from cstd.projector.database import LedgerDatabase
from cstd.projector.process import REBUILT_SUFFIX, adopt_rebuilt, state_dir, take_lock
from cstd.projector.projection import Projection
from cstd.signals.agents.loader import LoadedAgents
from cstd.signals.agents.loader import load as load_agents
from cstd.storage.journal_follow import JournalFollower
from cstd.storage.run_dir import DATABASE_FILE, JOURNAL_DIR

COMMIT_ROWS = 5_000
HAND_OVER_S = 60.0
POLL_S = 0.1


def rebuild(journal: Path, path: Path, agents: LoadedAgents | None) -> dict[str, Any]:
    """Make the database at `path`, which must not be there, from all that is on disk of a journal; returns what it holds."""
    database = LedgerDatabase(path)
    projection = Projection(database, journal, agents)
    follower = JournalFollower(journal, projection.start)
    try:
        for batch in follower.batches():
            projection.take(batch, follower.place)
            if projection.pending >= COMMIT_ROWS:
                projection.commit()
        projection.commit()
        if database.place is None:
            raise UsageError(f"the journal {journal} has no record on disk yet")
        return {"file": str(path), "seq": database.place.last_seq, **database.counts()}
    finally:
        follower.close()
        database.close()


def remove_database(path: Path) -> None:
    """Remove a database with its log, where there is one."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def main(args: argparse.Namespace) -> int:
    """Run the verb; returns 0.

    Raises:
        UsageError: there is no journal there, or the named file exists.
        VerificationError: the journal is not what was written, or the engine does not make of it what it holds.
    """
    run_dir = Path(args.dir)
    journal = run_dir / JOURNAL_DIR
    if not journal.is_dir():
        raise UsageError(f"there is no journal directory {journal}", suggestion="name the daemon's run directory")
    if args.out is not None:
        if args.out.exists():
            raise UsageError(f"{args.out} is there already", suggestion="name a file that is not")
        found = _made(journal, args.out)
    else:
        path = state_dir(run_dir) / DATABASE_FILE
        found = {**_made(journal, path.with_name(path.name + REBUILT_SUFFIX)), "file": str(path)}
        _put_in_place(run_dir, path)
    print_row(found, args.output)
    return EXIT_OK


def _made(journal: Path, path: Path) -> dict[str, Any]:
    """Make the file whole under another name first: what is at `path` is never half of it."""
    unfinished = path.with_name(path.name + ".new")
    remove_database(unfinished)
    try:
        found = {**rebuild(journal, unfinished, load_agents()), "file": str(path)}
        unfinished.replace(path)
    except OSError as error:
        raise OperatorError(f"{path} cannot be made: {error}", suggestion="check space and rights") from error
    finally:
        remove_database(unfinished)
    return found


def _put_in_place(run_dir: Path, path: Path) -> None:
    """Put the rebuilt file in its place, or see the running projector do it."""
    rebuilt = path.with_name(path.name + REBUILT_SUFFIX)
    until_s = time.monotonic() + HAND_OVER_S
    while rebuilt.exists():
        try:
            with take_lock(run_dir, 0.0):
                adopt_rebuilt(path)
        except OperatorError:
            if time.monotonic() > until_s:
                raise OperatorError(f"the projector of {run_dir} has not taken {rebuilt.name} over in {HAND_OVER_S:g} s",
                                    suggestion="it does as soon as it gets to it; nothing is lost") from None
            time.sleep(POLL_S)
