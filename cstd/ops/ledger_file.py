"""A session's ledger.db: where it is, opening it to be read (SQLite is imported then), a decision by its id, and what the status
port last read of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cstd.errors import OperatorError
from cstd.storage.run_dir import DATABASE_FILE, JOURNAL_DIR, LEDGER_BUSY_S, LEDGER_SCHEMA

if TYPE_CHECKING:
    import sqlite3

WINDOW_NS = 86_400_000_000_000  # what the status port looks at
INT64_DIGITS = 19

_SeenT = TypeVar("_SeenT")


class LedgerSight(Generic[_SeenT]):
    """The newest reading of a ledger for the status port. `look` may run in a thread; one assignment makes it seen."""

    def __init__(self, path: Path, read: Callable[[int], Any], told: Callable[[str | None, Any], _SeenT]) -> None:
        """Look at a ledger that may not be there yet.

        Args:
            read: returns what it holds from a wall time in ns on. told: makes what is seen of the reason why there is nothing,
                and of what there is.
        """
        self._path = path
        self._read = read
        self._told = told
        self._seen = (1, told("the ledger was not read yet", None))

    def look(self, wall_ns: int) -> None:
        """Read the last 24 hours; what cannot be read leaves its reason."""
        reason: str | None = None
        found = None
        try:
            if self._path.exists():
                found = self._read(wall_ns - WINDOW_NS)
            else:
                reason = f"there is no {self._path}: the projector makes it"
        except OperatorError as error:
            reason = error.message
        except OSError as error:
            reason = f"{self._path} cannot be read: {error.strerror}"
        self._seen = (self._seen[0] + 1, self._told(reason, found))

    def seen(self) -> tuple[int, _SeenT]:
        """Return (number of the reading, what it found)."""
        return self._seen


def ledger_of(run_dir: Path) -> Path:
    """Return where the ledger of a run directory is: beside its journal."""
    return (run_dir / JOURNAL_DIR).resolve().parent / DATABASE_FILE


def ledger_path(socket: Path) -> Path:
    """Return where the ledger of a daemon is: beside the journal of its run directory, in which its socket usually lies.

    Raises:
        OperatorError: the run directory may not be looked into.
    """
    run_dir = socket.parent
    if not is_there(run_dir / JOURNAL_DIR) and (named := os.environ.get("CSTD__RUN__DIR")):
        run_dir = Path(named)
    return ledger_of(run_dir)


def is_there(path: Path) -> bool:
    """Return whether there is such a file; raises OperatorError where it may not be looked at."""
    try:
        return path.exists()
    except OSError as error:
        raise OperatorError(f"{path} cannot be looked at: {error.strerror}", suggestion="run as the daemon's user") from error


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


def explained(path: Path, id_: str) -> tuple[dict[str, Any] | None, int]:
    """Return a decision as the ledger keeps it, None where it has none of this id; and the last record that it knows of.

    A few look-ups by index. Of an order that was judged again it is the newest decision, as the daemon's is.

    Raises:
        OperatorError: it cannot be read, or is of another schema, or holds what no ledger of cstd does.
    """
    import json
    import zlib

    # The number of an intent as the daemon writes it, and too many digits are no number of one. A text that is none, as a
    # terminal or an address may give, is nobody's id.
    numbered = id_.isascii() and id_.isdecimal() and len(id_) < INT64_DIGITS and str(int(id_)) == id_
    column, value = ("intent_seq", int(id_)) if numbered else ("cl_ord_id", id_.encode("utf-8", "replace").decode())
    with opened(path) as connection:
        found = connection.execute(
            "SELECT decision FROM explained WHERE seq = (SELECT max(seq) FROM decisions WHERE "  # noqa: S608 -- ours
            f"{column} = ?)", (value,)).fetchone()
        place = connection.execute("SELECT seq FROM place").fetchone()
        order = connection.execute(
            "SELECT last_seq, state FROM orders WHERE cl_ord_id = (SELECT cl_ord_id FROM decisions WHERE "  # noqa: S608 -- ours
            f"{column} = ? ORDER BY seq DESC LIMIT 1)", (value,)).fetchone()
    try:
        # Ledgers that are older than the route of openings left it out: they took the socket, as all do.
        kept = {"route": "socket", **json.loads(zlib.decompress(found[0]))} if found is not None else None
    except (TypeError, ValueError, zlib.error) as error:
        raise OperatorError(f"{path} holds what no ledger of cstd does: {type(error).__name__}: {error}",
                            suggestion="`cstd db rebuild` makes it anew") from error
    if kept is not None:
        kept["journal"] = journal_range(kept, order)
    return kept, place[0] if place is not None else 0


def journal_range(decision: Mapping[str, Any], order: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return which records of the journal a decision is of: from what its pass began with to the last that is known of its order.

    Args:
        decision: an explained one, of the ledger or of the daemon, which does not know where a pass began.
        order: last_seq and state of the order that came of it, as far as the ledger has it; None where none did.
    """
    own_seq = int(decision["event_seq"]) + 1  # the record of a decision follows the last one that it was made from
    from_seq = (decision.get("journal") or {}).get("from_seq")
    to_seq = own_seq if order is None else max(own_seq, int(order["last_seq"]))
    return {"from_seq": from_seq, "decision_seq": own_seq, "to_seq": to_seq, "order_state": order["state"] if order else None}
