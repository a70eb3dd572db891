"""`cstd performance`: the account's value in units and what its change consists of, from ledger.db, with a daemon or without."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from cstd.cli.why import ledger_there
from cstd.errors import EXIT_OK
from cstd.ops import performance
from cstd.ops.client import to_json, utc
from cstd.printed import aligned

WORDS = {
    "flows": "deposits, withdrawals, rewards", "own": "prices of your own coins", "alpha": "prices of what is managed",
    "slippage": "fills against the mid at their decision", "timing": "the mid between decision and fill",
    "spread": "marked at the bid", "fees": "fees", "rounding": "the venue's rounding", "dust": "too fine to be sold",
}


def main(args: argparse.Namespace) -> int:
    """Print the change and its parts; returns 0.

    Raises:
        OperatorError: there is no ledger, it cannot be read, or it has no look at the account yet.
    """
    path = ledger_there(Path(args.socket))
    found = performance.read(path, since_ns=args.since or 0)
    sys.stdout.write(to_json(found) if args.output == "json" else text(found))
    return EXIT_OK


def text(found: Mapping[str, Any]) -> str:
    """Return the change for a terminal, its parts by name."""
    per_unit = found["nav_per_unit"] or "-"
    gained = "not known: there were no units, or they began anew in between"
    if found["return_bps"] is not None:
        gained = f"{found['return_bps']} bps"
    span = f"from {utc(found['from_wall_ns'])} to {utc(found['to_wall_ns'])} UTC"
    head = [f"{span}, in {found['currency']}; from {found['source']}",
            f"a unit is worth {per_unit}, before {found['nav_per_unit_before'] or '-'}: {gained}; {found['units']} units"]
    rows = [["", "amount", ""], ["net asset value before", found["nav_before"], ""]]
    rows += [[name, amount, WORDS[name]] for name, amount in found["parts"].items()]
    rows += [["unexplained", found["unexplained"], "" if not Decimal(found["unexplained"]) else "a fault: please report it"],
             ["net asset value", found["nav"], ""]]
    return "\n".join([*head, "", *aligned(rows)]) + "\n"
