"""`cstd execution`: how well orders were executed, from the session's ledger.db, with a daemon or without."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cstd.cli.why import ledger_there
from cstd.errors import EXIT_OK
from cstd.ops import execution
from cstd.ops.client import to_json, utc
from cstd.printed import aligned

FIGURES = (("price", "price against arrival"), ("fees", "fees"), ("shortfall", "shortfall"), ("score", "score"))
ORDER_COLUMNS = ("decided", "order", "instrument", "side", "kind", "state", "arrival", "average", "price", "fees", "shortfall",
                 "1 s", "10 s", "60 s", "300 s", "score")


def main(args: argparse.Namespace) -> int:
    """Print the figures, with `args.orders` a line for each order instead; returns 0.

    Raises:
        OperatorError: there is no ledger, it cannot be read, or it knows nothing of the instrument.
    """
    path = ledger_there(Path(args.socket))
    found = execution.read(path, since_ns=args.since or 0, instrument=args.instrument,
                           newest=args.orders if args.orders is not None else execution.NEWEST_SHOWN)
    if args.output == "json":
        sys.stdout.write(to_json(found))
    else:
        sys.stdout.write(orders_text(found) if args.orders is not None else text(found))
    return EXIT_OK


def text(found: Mapping[str, Any]) -> str:
    """Return the summary for a terminal: the figures, the markouts, fills by queue position."""
    since = f" decided since {utc(found['since_wall_ns'])} UTC" if found["since_wall_ns"] else ""
    of_one = f" of {found['instrument']}" if found["instrument"] else ""
    head = (f"{found['orders']} orders{of_one}{since}, {found['filled_orders']} with a fill, {found['fills']} fills; "
            f"from {found['source']}")
    rows = [["bps, + is cost", "n", "unknown", "mean", "p50", "p95", ""]]
    rows += [[label, *_cells(found[name]), ""] for name, label in FIGURES]
    rows += [[f"markout after {row['horizon_s']} s", *_cells(row), ", ".join(
        f"{count} {reason}" for reason, count in row["reasons"].items())] for row in found["markouts"]]
    queue = [["ahead, in own quantities", "orders", "filled", "partly", "share", "95 % interval"]]
    queue += [[row["ahead"], str(row["orders"]), str(row["filled"]), str(row["partly"]), row["share"] or "-",
               f"{row['low']} to {row['high']}" if row["low"] is not None else "-"] for row in found["queue"]]
    left_out = [f"{found['queue_open']} rest still"] if found["queue_open"] else []
    left_out += [f"{count} {reason}" for reason, count in found["queue_unknown"].items()]
    return "\n".join([head, "", *aligned(rows), "", "orders that rested, by the quantity ahead of them when they left"
                      + (f" ({', '.join(left_out)}: not counted)" if left_out else ""), *aligned(queue)]) + "\n"


def _cells(figures: Mapping[str, Any]) -> list[str]:
    return [str(figures["n"]), str(figures["unknown"]), *(figures[name] or "-" for name in ("mean_bps", "p50_bps", "p95_bps"))]


def orders_text(found: Mapping[str, Any]) -> str:
    """Return a line for each order with a fill, newest first; figures in basis points."""
    rows: list[Sequence[str]] = [ORDER_COLUMNS]
    rows += [[utc(row["wall_ns"]), row["cl_ord_id"], row["instrument"], row["side"], row["kind"], row["state"],
              row["arrival"] or "-", row["average_price"], row["price_bps"] or "-", row["fees_bps"] or "-",
              row["shortfall_bps"] or "-", *(bps or "-" for bps in row["markouts_bps"].values()), row["score_bps"] or "-"]
             for row in found["newest"]]
    return "".join(f"{line}\n" for line in aligned(rows))
