"""The SQLite file: its tables, its schema version, and the place in the journal that its rows stand for.

Money and quantities are exact: integers in raw units with their precision beside them (`_raw`, `_precision`), or decimal
text. No column is a float.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from cstd.errors import OperatorError
from cstd.storage.journal_files import Head
from cstd.storage.run_dir import LEDGER_BUSY_S, LEDGER_SCHEMA

APPLICATION_ID = 0x43535444  # "CSTD"

SCHEMA = """
CREATE TABLE place (
    one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, block INTEGER NOT NULL, segment INTEGER NOT NULL,
    segment_bytes INTEGER NOT NULL, journal_id TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
CREATE TABLE boots (
    seq INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, boot_epoch INTEGER NOT NULL UNIQUE, mode TEXT NOT NULL,
    version TEXT NOT NULL, config_hash TEXT NOT NULL, agents_sha256 TEXT NOT NULL, config TEXT NOT NULL) STRICT;
CREATE TABLE states (
    seq INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, state TEXT NOT NULL, before TEXT NOT NULL, reason TEXT) STRICT;
CREATE TABLE decisions (
    seq INTEGER PRIMARY KEY, event_seq INTEGER NOT NULL, intent_seq INTEGER NOT NULL, wall_ns INTEGER NOT NULL,
    instrument TEXT NOT NULL, strategy TEXT NOT NULL, kind TEXT NOT NULL, side TEXT NOT NULL, episode INTEGER NOT NULL,
    rejudged INTEGER NOT NULL, shadow INTEGER NOT NULL, approval TEXT, verdict TEXT NOT NULL, reason TEXT NOT NULL,
    exit_reason TEXT, gate TEXT,
    gate_value TEXT, gate_limit TEXT, gate_unit TEXT, price TEXT, bid TEXT, ask TEXT, qty_requested TEXT NOT NULL,
    qty_final TEXT NOT NULL, notional TEXT, equity TEXT, currency TEXT NOT NULL, cl_ord_id TEXT NOT NULL,
    gates TEXT NOT NULL) STRICT;
CREATE INDEX decisions_by_order ON decisions (cl_ord_id);
CREATE INDEX decisions_by_intent ON decisions (intent_seq);
CREATE INDEX decisions_by_gate ON decisions (gate, verdict, rejudged, wall_ns, instrument);
CREATE INDEX decisions_in_shadow ON decisions (wall_ns) WHERE shadow = 1;
CREATE TABLE explained (seq INTEGER PRIMARY KEY, decision BLOB NOT NULL) STRICT;
CREATE TABLE orders (
    cl_ord_id TEXT PRIMARY KEY, order_id TEXT, intent_seq INTEGER NOT NULL, instrument TEXT NOT NULL, side TEXT NOT NULL,
    kind TEXT NOT NULL, state TEXT NOT NULL, reason TEXT, time_in_force TEXT NOT NULL, post_only INTEGER NOT NULL,
    price_raw INTEGER NOT NULL, price_precision INTEGER NOT NULL, qty_raw INTEGER NOT NULL, filled_raw INTEGER NOT NULL,
    qty_precision INTEGER NOT NULL, sent_wall_ns INTEGER, expire_wall_ns INTEGER, last_seq INTEGER NOT NULL) STRICT;
CREATE TABLE fills (
    exec_id TEXT PRIMARY KEY, seq INTEGER NOT NULL UNIQUE, cl_ord_id TEXT NOT NULL, order_id TEXT NOT NULL,
    wall_ns INTEGER NOT NULL, instrument TEXT NOT NULL, side TEXT NOT NULL, kind TEXT NOT NULL, exit_reason TEXT,
    liquidity TEXT NOT NULL, qty_raw INTEGER NOT NULL, qty_precision INTEGER NOT NULL, price TEXT NOT NULL, cost TEXT NOT NULL,
    position_qty_raw INTEGER NOT NULL, cash_flow TEXT NOT NULL, realized TEXT NOT NULL) STRICT;
CREATE INDEX fills_by_order ON fills (cl_ord_id);
CREATE TABLE fees (
    exec_id TEXT NOT NULL, asset TEXT NOT NULL, amount TEXT NOT NULL, PRIMARY KEY (exec_id, asset)) STRICT, WITHOUT ROWID;
CREATE TABLE marks (
    seq INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, currency TEXT NOT NULL, precision INTEGER NOT NULL,
    nav_raw INTEGER NOT NULL, equity_raw INTEGER NOT NULL, capital_raw INTEGER NOT NULL, positions_raw INTEGER NOT NULL,
    exposure_raw INTEGER NOT NULL, peak_raw INTEGER NOT NULL, day_start_raw INTEGER NOT NULL, day_loss_raw INTEGER NOT NULL,
    day_loss_bps INTEGER NOT NULL, drawdown_bps INTEGER NOT NULL, cash_flow TEXT NOT NULL,
    contributed_raw INTEGER NOT NULL) STRICT;
CREATE TABLE adoptions (
    seq INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, instrument TEXT NOT NULL UNIQUE, asset TEXT NOT NULL,
    qty_raw INTEGER NOT NULL, qty_precision INTEGER NOT NULL, price TEXT NOT NULL, cost TEXT NOT NULL,
    own_before TEXT NOT NULL, own_left TEXT NOT NULL, tied TEXT NOT NULL, book_updates INTEGER NOT NULL,
    book_checksum INTEGER NOT NULL, book_exch_ns INTEGER NOT NULL) STRICT;
CREATE TABLE performance (
    seq INTEGER PRIMARY KEY, wall_ns INTEGER NOT NULL, currency TEXT NOT NULL, nav TEXT NOT NULL, units TEXT NOT NULL,
    nav_per_unit TEXT, series INTEGER NOT NULL, flows TEXT NOT NULL, own TEXT NOT NULL, alpha TEXT NOT NULL,
    slippage TEXT NOT NULL, timing TEXT NOT NULL, spread TEXT NOT NULL, fees TEXT NOT NULL, rounding TEXT NOT NULL,
    dust TEXT NOT NULL, unexplained TEXT NOT NULL, levels TEXT NOT NULL) STRICT;
CREATE INDEX performance_by_time ON performance (wall_ns);
CREATE TABLE balances (
    seq INTEGER NOT NULL, wall_ns INTEGER NOT NULL, asset TEXT NOT NULL, qty TEXT NOT NULL,
    PRIMARY KEY (seq, asset)) STRICT, WITHOUT ROWID;
CREATE TABLE arrivals (
    cl_ord_id TEXT PRIMARY KEY, seq INTEGER NOT NULL, wall_ns INTEGER NOT NULL, instrument TEXT NOT NULL, mid TEXT,
    queue TEXT NOT NULL, better_raw INTEGER, ahead_raw INTEGER, qty_raw INTEGER NOT NULL,
    qty_precision INTEGER NOT NULL) STRICT;
CREATE INDEX arrivals_by_time ON arrivals (wall_ns);
CREATE TABLE markouts (
    exec_id TEXT NOT NULL, horizon_s INTEGER NOT NULL, fill_seq INTEGER NOT NULL, instrument TEXT NOT NULL,
    due_wall_ns INTEGER NOT NULL, seq INTEGER NOT NULL, mid TEXT, age_ns INTEGER, unknown TEXT,
    PRIMARY KEY (exec_id, horizon_s)) STRICT, WITHOUT ROWID;
CREATE INDEX markouts_by_fill ON markouts (fill_seq);
"""
TABLES = ("boots", "states", "decisions", "explained", "orders", "fills", "fees", "marks", "adoptions", "performance",
          "balances", "arrivals", "markouts")


@dataclass(frozen=True, slots=True)
class Row:
    """One row to write: its table and its values, in the table's order. A row of the same key is replaced."""

    table: str
    values: tuple[object, ...]


class LedgerDatabase:
    """The open file, written by one process. `place` is what its rows stand for, None in a new one."""

    def __init__(self, path: Path) -> None:
        """Open the file, made if it is not there.

        Raises:
            OperatorError: it is no database, another program's, or of another schema; it is locked, or the disk refuses.
        """
        self.path = path
        try:
            # The account's owner alone may read it; SQLite gives its log the same mode.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(path, timeout=LEDGER_BUSY_S, isolation_level=None)
            is_new = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
            if not is_new:
                self._check_schema()
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            if is_new:
                self._connection.executescript(f"BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION_ID};"
                                               f" PRAGMA user_version = {LEDGER_SCHEMA}; COMMIT;")
            self.place = self._read_place()
        except sqlite3.Error as error:
            raise database_error(path, error) from error
        except OSError as error:
            raise OperatorError(f"{path} cannot be opened: {error.strerror}") from error

    def _check_schema(self) -> None:
        if self._connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise OperatorError(f"{self.path} is another program's database",
                                suggestion="move it away; the ledger's is made anew from the journal")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version != LEDGER_SCHEMA:
            whose = "an older" if version < LEDGER_SCHEMA else "a newer"
            raise OperatorError(f"{self.path} has schema {version} of {whose} cstd; this one writes schema {LEDGER_SCHEMA}",
                                suggestion="`cstd db rebuild` makes it anew from the journal")

    def _read_place(self) -> Head | None:
        row = self._connection.execute(
            "SELECT segment, segment_bytes, block, seq, journal_id, hash FROM place").fetchone()
        if row is None:
            return None
        segment, segment_bytes, block, seq, journal_id, digest = row
        return Head(segment, segment_bytes, block, seq, bytes.fromhex(journal_id), bytes.fromhex(digest))

    def last_mark(self) -> tuple[int, str] | None:
        """Return wall time in ns and cash flow of the newest mark, None where there is none."""
        row = self._connection.execute("SELECT wall_ns, cash_flow FROM marks ORDER BY seq DESC LIMIT 1").fetchone()
        return (int(row[0]), str(row[1])) if row is not None else None

    def performance_at(self, seq_max: int) -> tuple[object, ...] | None:
        """Return the newest row of units and parts up to a record, None where there is none."""
        found: tuple[object, ...] | None = self._connection.execute(
            "SELECT * FROM performance WHERE seq <= ? ORDER BY seq DESC LIMIT 1", (seq_max,)).fetchone()
        return found

    def balances(self) -> dict[str, Decimal]:
        """Return the newest balance of each asset."""
        found = self._connection.execute("SELECT asset, qty, max(seq) FROM balances GROUP BY asset")
        return {asset: Decimal(qty) for asset, qty, _ in found}

    def markouts_to_come(self, fill_seq_max: int) -> list[tuple[int, str, int, int, str]]:
        """Return (due wall time in ns, exec_id, horizon in s, fill's record, instrument) of each markout whose time lies ahead.

        Of fills up to a record.
        """
        return self._connection.execute(
            "SELECT due_wall_ns, exec_id, horizon_s, fill_seq, instrument FROM markouts"
            " WHERE unknown = 'to come' AND fill_seq <= ?", (fill_seq_max,)).fetchall()

    def write(self, rows: Iterable[Row], place: Head) -> None:
        """Write rows and the place that they bring the file to, in one transaction.

        Raises:
            OperatorError: the disk refuses, or another process holds the file; nothing of it is written then.
        """
        values = (1, place.last_seq, place.index, place.segment, place.segment_bytes, place.journal_id.hex(), place.hash.hex())
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for row in (*rows, Row("place", values)):
                    marks = ",".join("?" * len(row.values))
                    self._connection.execute(f"INSERT OR REPLACE INTO {row.table} VALUES ({marks})", row.values)  # noqa: S608 -- table names are ours
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise database_error(self.path, error) from error
        self.place = place

    def counts(self) -> dict[str, int]:
        """Return how many rows each table holds."""
        return {table: self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}  # noqa: S608 -- ours

    def close(self) -> None:
        """Close the file; its write-ahead log goes into it."""
        self._connection.close()


def database_error(path: Path, error: sqlite3.Error) -> OperatorError:
    """Return the error for what SQLite said, in an operator's words."""
    spoilt = "malformed" in str(error) or "not a database" in str(error)
    return OperatorError(f"{path}: {error}", suggestion="`cstd db rebuild` makes it anew from the journal" if spoilt else
                         "check space, rights, and who else has it open")
