"""Where a session's ledger.db is, and opening it to be read: SQLite is imported when one is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cstd.errors import OperatorError
from cstd.storage.run_dir import DATABASE_FILE, JOURNAL_DIR, LEDGER_BUSY_S, LEDGER_SCHEMA

if TYPE_CHECKING:
    import sqlite3


def ledger_of(run_dir: Path) -> Path:
    """Return where the ledger of a run directory is: beside its journal."""
    return (run_dir / JOURNAL_DIR).resolve().parent / DATABASE_FILE


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that only reads, its rows by column name.

    Raises:
        OperatorError: it cannot be read, or is of another schema.
    """
    import sqlite3

    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=LEDGER_BUSY_S)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != LEDGER_SCHEMA:
                raise OperatorError(f"{path} has schema {version}; this cstd reads {LEDGER_SCHEMA}",
                                    suggestion="`cstd db rebuild` makes it anew")
            connection.row_factory = sqlite3.Row
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OperatorError(f"{path} cannot be read: {error}",
                            suggestion="see its rights; `cstd db rebuild` makes it anew") from error
