"""Many seeds of the simulation, with a tally that a later run goes on from.

    python -m tests.simulation.campaign --seeds 1000 [--seconds 20] [--tally build/simulation.json] [--jobs 2]
    python -m tests.simulation.campaign --seed 4711         one seed, with what happened in it

Without --from, seeds go on after the last of the tally, or begin at a random one. The tally is written as the seeds are
played, so a campaign that is stopped goes on where it was. Exit 1 when a seed failed; each failure is printed with its seed,
and kept in the tally.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

from cstd.child import end_with_parent
from tests.simulation.simulated import Simulation

SEED_BITS = 40
SAVED_EVERY = 50                     # seeds


def play(seed: int, seconds: float) -> dict[str, Any]:
    """One seed: what it did, and the failure if there was one."""
    simulation = Simulation(seed)
    failure = ""
    try:
        simulation.run(seconds)
    except Exception as error:  # whatever it is, it is the finding
        failure = f"{type(error).__name__}: {error}"
    account = simulation.exchange.account
    return {"seed": seed, "failure": failure, "log": simulation.log, "crashes": simulation.crashes, "faults": simulation.faults,
            "orders": len(account.orders), "fills": len(account.fills), "records": len(simulation.journal),
            **simulation.garbled_count}


def show(row: dict[str, Any]) -> None:
    """Print one seed's outcome with its log."""
    print("\n".join(row["log"]), file=sys.stderr)
    print(f"seed {row['seed']}: {row['failure'] or 'ok'}", file=sys.stderr)


def save(tally: dict[str, Any], path: Path | None) -> None:
    """Write the tally, whole or not at all."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(tally, indent=1) + "\n")
    fresh.replace(path)


def campaign(first: int, count: int, seconds: float, jobs: int, tally: dict[str, Any], path: Path | None) -> None:
    """Play seeds and add them to the tally."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent) as pool:
        for row in pool.map(play, range(first, first + count), [seconds] * count, chunksize=4):
            for key in row.keys() - {"seed", "failure", "log"}:
                tally[key] = tally.get(key, 0) + row[key]
            tally["seeds"] = tally.get("seeds", 0) + 1
            tally["next"] = row["seed"] + 1
            if row["failure"]:
                show(row)
                tally.setdefault("failed", []).append(row["seed"])
            if tally["seeds"] % SAVED_EVERY == 0:
                save(tally, path)
    save(tally, path)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.simulation.campaign", description="seeds of the simulation, with a tally")
    parser.add_argument("--seeds", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of faults in each (default 20)")
    parser.add_argument("--from", dest="first", type=int, help="the first seed")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--tally", type=Path, help="a file to go on from and to write")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each CPU)")
    args = parser.parse_args()
    if args.seeds < 1 or args.jobs < 1 or args.seconds <= 0:
        parser.error("--seeds, --jobs and --seconds are above 0")
    if args.seed is not None:
        row = play(args.seed, args.seconds)
        show(row)
        return 1 if row["failure"] else 0
    tally: dict[str, Any] = {}
    if args.tally is not None and args.tally.exists():
        tally = json.loads(args.tally.read_text())
    failed_before = len(tally.get("failed", []))
    first = args.first if args.first is not None else tally.get("next", int.from_bytes(os.urandom(8), "big") >> (64 - SEED_BITS))
    began_s = time.monotonic()
    campaign(first, args.seeds, args.seconds, args.jobs, tally, args.tally)
    print(json.dumps({"first": first, "took_s": round(time.monotonic() - began_s, 1), **tally}))
    return 1 if len(tally.get("failed", [])) > failed_before else 0


if __name__ == "__main__":
    sys.exit(main())
