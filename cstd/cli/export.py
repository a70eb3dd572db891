"""`cstd export TABLE`: rows of a session's ledger as CSV, for a spreadsheet or a tax adviser.

Read from ledger.db, with a daemon or without, in one transaction. Amounts are plain decimals, exact; times are UTC texts beside
their nanoseconds.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cstd.clock import utc_text
from cstd.errors import EXIT_OK, OperatorError
from cstd.ops.ledger_file import ledger_of, opened
from cstd.units import format_raw

# Table -> its column of time. Fees have none of their own: they stand in the row of their fill.
TIMES = {"orders": "sent_wall_ns", "fills": "wall_ns", "decisions": "wall_ns", "marks": "wall_ns", "balances": "wall_ns",
         "states": "wall_ns"}
FEES = "(SELECT group_concat(amount || ' ' || asset, ' + ') FROM fees WHERE fees.exec_id = fills.exec_id)"


def main(args: argparse.Namespace) -> int:
    """Print a table as CSV with a line of names, oldest first; returns 0.

    Raises:
        OperatorError: there is no ledger, or it cannot be read.
    """
    path = ledger_of(Path(args.run_dir))
    if not path.exists():
        raise OperatorError(f"there is no {path}",
                            suggestion="name the session with --run-dir; `cstd db rebuild` makes its ledger")
    written = csv.writer(sys.stdout, lineterminator="\n")
    for line in lines(path, args.table, args.since or 0):
        written.writerow(line)
    return EXIT_OK


def lines(path: Path, table: str, since_ns: int) -> Iterator[list[Any]]:
    """Yield the names of the columns, then each row since a time; an order that never left has no time and is of all."""
    time = TIMES[table]
    extra, number = f", {FEES} AS fees" if table == "fills" else "", "intent_seq" if table == "orders" else "seq"
    # The names are this module's own; what the user gives is a parameter.
    query = f"SELECT *{extra} FROM {table} WHERE {time} IS NULL OR {time} >= ? ORDER BY {time}, {number}"  # noqa: S608
    with opened(path) as ledger:
        found = ledger.execute(query, (since_ns,))
        columns = [column[0] for column in found.description]
        yield ["utc", *(name.removesuffix("_raw") for name in columns if not is_precision(name))]
        for row in found:
            yield [utc_text(row[time]) if row[time] is not None else "", *values(dict(row))]


def is_precision(name: str) -> bool:
    """Tell whether a column only says how others are scaled."""
    return name == "precision" or name.endswith("_precision")


def values(row: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values of a row, those in raw units as decimals."""
    for name, value in row.items():
        if name.endswith("_raw") and value is not None:
            yield format_raw(value, precision_of(row, name))
        elif not is_precision(name):
            yield value


def precision_of(row: Mapping[str, Any], name: str) -> int:
    """Return how many decimals a raw column has: its own precision, that of quantities, or the one of the row."""
    names = (f"{name.removesuffix('_raw')}_precision", "qty_precision", "precision")
    return int(next(row[one] for one in names if one in row))
