"""Many seeds of the simulation, with a tally that a later run goes on from.

    python -m tests.simulation.campaign --seeds 1000 [--seconds 20] [--tally build/simulation.json] [--jobs 2]
    python -m tests.simulation.campaign --seed 4711               one seed, with what happened in it
    python -m tests.simulation.campaign --seed 4711 --shrink      the few of its faults that make it fail
    python -m tests.simulation.campaign --seed 4711 --only 3,7    with these faults and no other
    python -m tests.simulation.campaign --kept                    the failures of kept.json

`--keep "what was wrong"` beside --seed adds the failure to kept.json, which the tests play.

Without --from, seeds go on after the last of the tally, or begin at a random one. The tally is written as the seeds are
played, so a campaign that is stopped goes on where it was. Exit 1 when a seed failed, in this run or in one before it of the
same tally; each failure is printed with its seed, and kept in the tally.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cstd.child import end_with_parent
from tests.simulation.faults import Faults, drawn
from tests.simulation.shrink import Kept, Shrunk, keep, read_kept, shrink
from tests.simulation.simulated import Simulation

SEED_BITS = 40
SAVED_EVERY_S = 1.0
SINGLE = ("seed", "failure", "kind", "log")     # of a row: what is not added up


def play(seed: int, seconds: float, faults: Faults | None = None, only: Sequence[int] | None = None) -> dict[str, Any]:
    """One seed: what it did, and the failure if there was one, with the kind that it is of."""
    simulation = Simulation(seed, faults, frozenset(only) if only is not None else None)
    failure = kind = ""
    try:
        simulation.run(seconds)
    except Exception as error:  # whatever it is, it is the finding
        failure, kind = f"{type(error).__name__}: {error}", getattr(error, "kind", type(error).__name__)
    account = simulation.exchange.account
    return {"seed": seed, "failure": failure, "kind": kind, "log": simulation.log, "crashes": simulation.crashes,
            "faults": simulation.struck.total(), "orders": len(account.orders), "fills": len(account.fills),
            "records": len(simulation.journal), **simulation.hits()}


def shrunk(seed: int, seconds: float, kind: str, only: Sequence[int] | None = None) -> Shrunk:
    """Find the faults of a seed that fails which make it fail with this kind of failure."""
    faults = drawn(seed, seconds)
    allowed = set(range(len(faults)) if only is None else only)

    def fails(numbers: list[int], for_s: float) -> bool:
        return bool(play(seed, for_s, None, sorted(allowed.intersection(numbers)))["kind"] == kind)

    found = shrink(faults, seconds, fails)
    found.numbers = sorted(allowed.intersection(found.numbers))
    return found


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


def rows(first: int, count: int, seconds: float, jobs: int) -> Iterator[dict[str, Any]]:
    """Play seeds, in order; one job is this process."""
    seeds = range(first, first + count)
    if jobs == 1:
        for seed in seeds:
            yield play(seed, seconds)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context, initializer=end_with_parent) as pool:
        yield from pool.map(play, seeds, [seconds] * count, chunksize=4)


def campaign(first: int, count: int, seconds: float, jobs: int, tally: dict[str, Any], path: Path | None) -> None:
    """Play seeds and add them to the tally, which is left whole however this ends."""
    saved_s = time.monotonic()
    try:
        for row in rows(first, count, seconds, jobs):
            for key in row.keys() - set(SINGLE):
                tally[key] = tally.get(key, 0) + row[key]
            tally["seeds"] = tally.get("seeds", 0) + 1
            tally["next"] = row["seed"] + 1
            if row["failure"]:
                show(row)
                tally.setdefault("failed", []).append(row["seed"])
            if time.monotonic() - saved_s >= SAVED_EVERY_S:
                save(tally, path)
                saved_s = time.monotonic()
    finally:
        save(tally, path)


def one(args: argparse.Namespace) -> int:
    """One seed: played, shrunk, kept, as asked for; exit status."""
    row = play(args.seed, args.seconds, None, args.only)
    numbers, seconds = args.only, args.seconds
    if args.shrink and row["failure"]:
        found = shrunk(args.seed, args.seconds, row["kind"], args.only)
        numbers, seconds = found.numbers, found.seconds
        row = play(args.seed, seconds, None, numbers)
        print(f"seed {args.seed}: {len(numbers)} faults after {found.plays} sessions", file=sys.stderr)
    show(row)
    faults = [fault for number, fault in enumerate(drawn(args.seed, seconds)) if numbers is None or number in numbers]
    if args.shrink and row["failure"]:
        only = ",".join(map(str, numbers or ())) or "none"
        print(f"again: python -m tests.simulation.campaign --seed {args.seed} --seconds {seconds:g} --only {only}")
    if args.keep and row["failure"]:
        keep(Kept(args.keep, args.seed, seconds, faults))
    return 1 if row["failure"] else 0


def all_kept() -> int:
    """Play what is kept; exit status."""
    failed = 0
    for kept in read_kept():
        row = play(kept.seed, kept.seconds, kept.faults)
        print(f"kept: {kept.what}", file=sys.stderr)
        show(row)
        failed += bool(row["failure"])
    return 1 if failed else 0


def numbers(text: str) -> list[int]:
    """Return the numbers of a list as 3,7; "none" is the empty one."""
    return [] if text == "none" else [int(part) for part in text.split(",")]


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Return what is asked for; ends the process with 2 where that cannot be meant."""
    parser = argparse.ArgumentParser(prog="tests.simulation.campaign", description="seeds of the simulation, with a tally")
    parser.add_argument("--seeds", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of faults in each (default 20)")
    parser.add_argument("--from", dest="first", type=int, help="the first seed")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--shrink", action="store_true", help="with --seed: find the few faults that make it fail")
    parser.add_argument("--only", type=numbers, metavar="3,7", help="with --seed: faults by number, as its log has them; or none")
    parser.add_argument("--keep", metavar="WHAT", help="with --seed: add its failure to kept.json under this name")
    parser.add_argument("--kept", action="store_true", help="play kept.json")
    parser.add_argument("--tally", type=Path, help="a file to go on from and to write")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each CPU)")
    args = parser.parse_args(words)
    if args.seeds < 1 or args.jobs < 1 or args.seconds <= 0:
        parser.error("--seeds, --jobs and --seconds are above 0")
    if args.seed is None and (args.shrink or args.keep or args.only is not None):
        parser.error("--shrink, --only and --keep want --seed")
    args.known = {}
    if args.tally is not None and args.tally.exists():
        try:
            args.known = json.loads(args.tally.read_text())
            if not isinstance(args.known["seeds"] + args.known["next"] + len(args.known.get("failed", [])), int):
                raise TypeError("no counts")
        except (OSError, ValueError, KeyError, TypeError) as error:
            parser.error(f"{args.tally} is no tally of seeds ({type(error).__name__}: {error}); name another one")
    return args


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    args = parse(words)
    if args.kept:
        return all_kept()
    if args.seed is not None:
        return one(args)
    tally: dict[str, Any] = args.known
    first = args.first if args.first is not None else tally.get("next", int.from_bytes(os.urandom(8), "big") >> (64 - SEED_BITS))
    began_s = time.monotonic()
    campaign(first, args.seeds, args.seconds, args.jobs, tally, args.tally)
    print(json.dumps({"first": first, "took_s": round(time.monotonic() - began_s, 1), **tally}))
    if tally.get("failed"):
        print(f"failed: {tally['failed']}; --seed N --shrink shows why", file=sys.stderr)
    return 1 if tally.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
