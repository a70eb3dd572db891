"""Many seeds of the simulation, with a tally that a later run goes on from.

    python -m tests.simulation.campaign --seeds 1000 [--seconds 20] [--tally build/simulation.json] [--jobs 2]
    python -m tests.simulation.campaign --seed 4711               one seed, with what happened in it
    python -m tests.simulation.campaign --seed 4711 --shrink      the few of its faults that make it fail
    python -m tests.simulation.campaign --seed 4711 --only 3,7    with these faults and no other
    python -m tests.simulation.campaign --kept                    the failures of kept.json
    python -m tests.simulation.campaign --tally FILE --show       what the tally has, by version of the engine; plays nothing

`--keep "what was wrong"` beside --seed adds the failure to kept.json, which the tests play.

Without --from, seeds go on after the last of the tally, or begin at a random one. The tally is written as the seeds are
played, so a campaign that is stopped goes on where it was. Exit 1 when a seed failed, in this run or in one before it of the
same tally; each failure is printed with its seed, and kept in the tally. What was played is added up by the version of the engine
that played it, which is a digest of its sources, with the commit that was checked out.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cstd.child import end_with_parent
from cstd.units import NS_PER_S
from tests.simulation.faults import Faults, drawn
from tests.simulation.shrink import Kept, Shrunk, keep, read_kept, shrink
from tests.simulation.simulated import START_NS, Simulation

SEED_BITS = 40
SAVED_EVERY_S = 1.0
SINGLE = ("seed", "failure", "kind", "log")     # of a row: what is not added up
ROOT = Path(__file__).resolve().parents[2]
# Whose sources are the engine's: what decides, and nothing of the exchange, the edges or the tools.
ENGINE = ("_fast", "config", "decision", "engine", "ledger", "market", "orders", "signals", "venue")
SHOWN = ("seeds", "simulated_s", "orders", "fills", "crashes", "faults", "records")
UNKNOWN = "unknown"     # the version of what an older tally has


def play(seed: int, seconds: float, faults: Faults | None = None, only: Sequence[int] | None = None) -> dict[str, Any]:
    """One seed: what it did, and the failure if there was one, with the kind that it is of."""
    simulation = Simulation(seed, faults, frozenset(only) if only is not None else None)
    failure = kind = ""
    try:
        simulation.run(seconds)
    except Exception as error:  # whatever it is, it is the finding
        failure, kind = f"{type(error).__name__}: {error}", getattr(error, "kind", type(error).__name__)
    account = simulation.exchange.account
    simulated_s = (simulation.now_ns - START_NS) // NS_PER_S
    return {"seed": seed, "failure": failure, "kind": kind, "log": simulation.log, "crashes": simulation.crashes,
            "simulated_s": simulated_s, "faults": simulation.struck.total(), "orders": len(account.orders),
            "fills": len(account.fills), "records": len(simulation.journal), **simulation.hits()}


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


def engine_version(root: Path = ROOT) -> str:
    """Return the digest of the engine's sources, twelve hexadecimal digits: the same for two commits that do not differ in it."""
    digest = hashlib.sha256()
    files = [path for package in ENGINE for path in (root / "cstd" / package).rglob("*")
             if path.suffix in (".py", ".pyx", ".pxd", ".h") or (path.suffix == ".c" and path.parent.name == "csrc")]
    for path in sorted(files):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def commit(root: Path = ROOT) -> str:
    """Return the commit that is checked out, with a plus where files of cstd differ from it; "" outside a repository."""
    git = shutil.which("git")
    if git is None:
        return ""
    head, changed = (subprocess.run([git, "-C", str(root), *words], capture_output=True, text=True, check=False, timeout=30)
                     for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--", "cstd")))
    return head.stdout.strip() + ("+" if changed.stdout else "") if head.returncode == 0 else ""


def version_of(tally: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a tally that counts what this engine plays; made where there is none."""
    versions = tally.setdefault("versions", {})
    if not versions and tally.get("seeds"):
        versions[UNKNOWN] = {key: value for key, value in tally.items() if key not in ("next", "versions")}
    part: dict[str, Any] = versions.setdefault(engine_version(), {"commit": ""})
    if not part["commit"] or part["commit"].endswith("+"):
        part["commit"] = commit()
    return part


def table(tally: dict[str, Any]) -> str:
    """Return the tally by version, oldest first, with a line of all."""
    rows = [("engine", "commit", *SHOWN, "failed")]
    versions = tally.get("versions", {})
    for name, part in (*versions.items(), ("all", tally)):
        rows.append((name, part.get("commit", ""), *(f"{part[key]:,}" if key in part else "" for key in SHOWN),
                     f"{len(part.get('failed', [])):,}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


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
    version = version_of(tally)
    try:
        for row in rows(first, count, seconds, jobs):
            for part in (tally, version):
                for key in row.keys() - set(SINGLE):
                    part[key] = part.get(key, 0) + row[key]
                part["seeds"] = part.get("seeds", 0) + 1
                if row["failure"]:
                    part.setdefault("failed", []).append(row["seed"])
            tally["next"] = row["seed"] + 1
            if row["failure"]:
                show(row)
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
    parser.add_argument("--show", action="store_true", help="with --tally: print it by version of the engine, and play nothing")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each CPU)")
    args = parser.parse_args(words)
    if args.seeds < 1 or args.jobs < 1 or args.seconds <= 0:
        parser.error("--seeds, --jobs and --seconds are above 0")
    if args.seed is None and (args.shrink or args.keep or args.only is not None):
        parser.error("--shrink, --only and --keep want --seed")
    if args.show and args.tally is None:
        parser.error("--show wants --tally")
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
    if args.show:
        print(table(args.known))
        return 1 if args.known.get("failed") else 0
    if args.kept:
        return all_kept()
    if args.seed is not None:
        return one(args)
    tally: dict[str, Any] = args.known
    first = args.first if args.first is not None else tally.get("next", int.from_bytes(os.urandom(8), "big") >> (64 - SEED_BITS))
    began_s = time.monotonic()
    campaign(first, args.seeds, args.seconds, args.jobs, tally, args.tally)
    print(json.dumps({"first": first, "took_s": round(time.monotonic() - began_s, 1), **tally}))
    print(table(tally), file=sys.stderr)
    if tally.get("failed"):
        print(f"failed: {tally['failed']}; --seed N --shrink shows why", file=sys.stderr)
    return 1 if tally.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
