"""A simulated session with crashes as a journal on disk, and what a ledger database holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from cstd._fast.journal import Journal
from cstd.projector.database import LedgerDatabase
from cstd.projector.projection import Projection
from cstd.storage.journal import open_journal
from cstd.storage.journal_follow import JournalFollower
from tests.simulation.simulated import Entry

TABLES = ("place", "boots", "states", "decisions", "explained", "orders", "fills", "fees", "marks", "adoptions", "performance",
          "balances", "arrivals", "markouts")


def opened(run_dir: Path, **settings: int) -> Journal:
    """Open the journal of a run directory with short segments."""
    return open_journal(run_dir / "journal", run_dir / "journal.ring",
                        **({"ring_bytes": 1 << 22, "segment_bytes": 1 << 18, "sync_interval_ms": 5} | settings))


def append(journal: Journal, entries: list[Entry]) -> None:
    """Append a session's records, synced now and then: blocks end where they will."""
    for number, (kind, tag, mono_ns, wall_ns, payload) in enumerate(entries):
        journal.append_py(kind, tag, mono_ns, wall_ns, payload)
        if number % 50 == 0:
            journal.sync()
    journal.sync()


def written(run_dir: Path, entries: list[Entry]) -> Path:
    """Make a closed journal of a session; returns its run directory."""
    run_dir.mkdir(exist_ok=True)
    with opened(run_dir) as journal:
        append(journal, entries)
    return run_dir


def follow(run_dir: Path, path: Path, *, blocks: int = 1 << 30, commit_every: int = 7) -> int:
    """What one life of a projector does: from the beginning through at most `blocks` blocks; returns how many there were."""
    database = LedgerDatabase(path)
    projection = Projection(database, run_dir / "journal", None)
    follower = JournalFollower(run_dir / "journal", projection.start)
    taken = 0
    for batch in follower.batches():
        projection.take(batch, follower.place)
        taken += 1
        if taken % commit_every == 0:
            projection.commit()
        if taken == blocks:
            break
    else:
        projection.commit()
        projection.finish()
    follower.close()
    database.close()
    return taken


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of every table."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return {table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in TABLES}
    finally:
        connection.close()


def columns(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what a query gives."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
