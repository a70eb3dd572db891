"""Plant every fault in the gate kernels, one at a time, and let the model beside the kernel notice it.

    python -m tests.mutation [--decisions 60000] [--seed 1] [--only "spread"] [--report FILE]

Prints the survivors and exits 1 where there is one; exits 2 where the list no longer fits the source. The report is JSON: each
mutant with how it was noticed, "" for a survivor, and the cells of matrix.py that it stands in.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.mutation.matrix import KINDS, MATRIX, names_of
from tests.mutation.mutants import MUTANTS
from tests.mutation.trial import RottenError, mutated, suite_of, trial


def write_report(path: Path, decisions: int, seed: int, noticed: dict[str, str]) -> None:
    """Write what was found of each mutant that was tried, by its name."""
    cells = [(gate, kind) for gate in MATRIX for kind in KINDS]
    rows = [{"name": name, "noticed": seen, "cells": [cell for cell in cells if name in names_of(*cell)]}
            for name, seen in noticed.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"decisions": decisions, "seed": seed, "tried": len(noticed), "listed": len(MUTANTS),
             "survivors": [name for name, seen in noticed.items() if not seen], "mutants": rows}
    path.write_text(json.dumps(found, indent=1), "utf-8")


def run(decisions: int, seed: int, only: str, folder: Path, report: Path | None = None) -> int:
    """Try the mutants whose name holds `only`; the exit status. report: where what was found is written."""
    mutants = [mutant for mutant in MUTANTS if only in mutant.name]
    if not mutants:
        print(f"no mutant's name holds {only!r}", file=sys.stderr)
        return 2
    for mutant in MUTANTS:
        mutated(mutant)
    began = time.monotonic()
    suite = suite_of(seed, decisions, folder)
    print(f"{len(suite.expected)} decisions by the model, {time.monotonic() - began:.0f} s", file=sys.stderr)
    baseline = trial(None, suite, folder)
    if baseline:
        print(f"the gates as they are do not agree with the model: {baseline}", file=sys.stderr)
        return 1
    noticed = {}
    for number, mutant in enumerate(mutants, 1):
        seen = noticed[mutant.name] = trial(mutant, suite, folder)
        print(f"{number}/{len(mutants)} {mutant.name}: {seen or 'SURVIVES'}", file=sys.stderr)
    survivors = [name for name, seen in noticed.items() if not seen]
    if report is not None:
        write_report(report, len(suite.expected), seed, noticed)
    print(f"{len(mutants)} mutants, {len(mutants) - len(survivors)} noticed" + "".join(f"\nsurvives: {s}" for s in survivors))
    return 1 if survivors else 0


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("--decisions", type=int, default=60_000, help="by which a mutant is to be noticed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="mutants whose name holds this")
    parser.add_argument("--report", type=Path, help="file for what was found of each mutant, as JSON")
    args = parser.parse_args()
    if args.decisions < 1:
        parser.error("--decisions is at least 1")
    try:
        with tempfile.TemporaryDirectory() as folder:
            return run(args.decisions, args.seed, args.only, Path(folder), args.report)
    except RottenError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
