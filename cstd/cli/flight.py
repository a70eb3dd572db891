"""`cstd flight list` and `cstd flight save`: the flight recorder's bundles, and one by hand.

Both look at files alone, so they serve a daemon that runs, one that hangs, and a run directory whose daemon is gone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from cstd.daemon import flight, flight_folder
from cstd.errors import EXIT_OK, EXIT_VERIFICATION, OperatorError
from cstd.ops.board import BoardReader
from cstd.printed import aligned, one_line
from cstd.storage.journal_files import is_being_written
from cstd.storage.run_dir import JOURNAL_DIR

COLUMNS = ("bundle", "reason", "ends", "covered_s", "records", "bytes", "differences")
REASON_SHOWN = 48


def run_dir_of(args: argparse.Namespace) -> Path:
    """Return the run directory that is meant."""
    return Path(args.run_dir or os.environ.get("CSTD__RUN__DIR", ".run/current")).resolve()


def list_bundles(args: argparse.Namespace) -> int:
    """Print the bundles of a run directory, oldest first; returns 0, also where there is none."""
    rows = [row(bundle) for bundle in flight_folder.bundles(flight_folder.flight_dir(run_dir_of(args)))]
    if args.output == "json":
        sys.stdout.write(json.dumps(rows) + "\n")
        return EXIT_OK
    if not rows:
        sys.stdout.write("no bundle yet; `cstd flight save` makes one\n")
        return EXIT_OK
    lines = aligned([COLUMNS, *([_cell(name, found) for name in COLUMNS] for found in rows)])
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return EXIT_OK


def row(bundle: flight_folder.Bundle) -> dict[str, Any]:
    """Return a bundle in one row; what its manifest does not say is None."""
    found = flight.summary(bundle.path)
    first, last = found["first_seq"], found["last_seq"]
    return {"bundle": bundle.path.name, **found, "kind": bundle.kind,
            "records": last - first + 1 if isinstance(first, int) and isinstance(last, int) else None}


def _cell(name: str, found: dict[str, Any]) -> str:
    value = found[name]
    if value is None:
        return "-"
    if name == "covered_s":
        return f"{value:.1f}"
    if name == "ends":
        return str(value)[:19] + "Z"
    text = str(value)
    return text if name != "reason" or len(text) <= REASON_SHOWN else text[:REASON_SHOWN - 1] + "…"


def save(args: argparse.Namespace) -> int:
    """Make a bundle of now, or of how a daemon that is gone has left its run directory; returns 0, or 3.

    3: the bundle is there, and its journal does not replay as it was recorded.
    """
    run_dir = run_dir_of(args)
    pid = _daemon_pid(run_dir)
    found = flight.save(flight.Ask(run_dir, flight_folder.HAND, args.reason or "by hand", pid=pid))
    if args.output == "json":
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        width = max(map(len, found))
        for name, value in found.items():
            shown = "; ".join(map(str, value)) if isinstance(value, list) else value
            sys.stdout.write(f"{name:<{width}}  {'-' if shown is None or shown == '' else one_line(str(shown))}\n")
    return EXIT_OK if found["differences"] == 0 else EXIT_VERIFICATION


def _daemon_pid(run_dir: Path) -> int | None:
    """Return the process id of the daemon that runs here, None where none does."""
    try:
        if not is_being_written(run_dir / JOURNAL_DIR):
            return None
        board = BoardReader(run_dir / flight_folder.BOARD_FILE)
    except (OSError, OperatorError):  # of a run directory that is another's: the bundle says what is wrong with it
        return None
    pid = board.health(0).writer_pid
    board.close()
    return pid
