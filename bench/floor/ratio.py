"""The compiled path beside the floor: the same frames through `floor.cpp` and through cstd, turn by turn, in one run.

`decision` and `order` are hot; `paced` is `order` with a sleep of a millisecond before each frame, in a loop of the same shape.

    python bench/floor/ratio.py [--rounds N] [-o table|json] [--result FILE]    exit 3 when a ratio exceeds its budget

Both are timed by the cycle counter from the frame in a receive buffer to the end of the decision, and to order bytes. A shared
host changes its speed by half from one second to the next, so the two take turns and the best median of each counts. A turn of
either is a process of its own: some are slow for as long as they live. Budget: ratio.json, by the maker of the processor (what
the reference leaves out costs more beside a reference that a wider core runs in half the time); one that is not named there
has the strictest. Frames: the BTC depth-25 recording (CSTD_DATA). Needs g++ and an x86-64 processor.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cstd.research.bench import DEFAULT_RECORDING, PACED_FRAMES, PACED_PAUSE_NS, Bench, cycle_length_ns
from cstd.research.replay import start_recording
from cstd.signals.agents.loader import load

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import result  # noqa: E402 - the folder above is no package

PASSES = 15  # over the recording, in each turn
WARM_PASSES = 3  # before them, in floor.cpp
PACED_TURNS = 6  # of two seconds and more on each side: a host that has slept through one wakes faster in another
PATHS = ("decision", "order", "paced")
QUANTILES = {"p50_ns": 0.5, "p99_ns": 0.99, "p999_ns": 0.999}


def main() -> int:
    parser = argparse.ArgumentParser(description="cstd against a C++ program that does the same work")
    parser.add_argument("--rounds", type=int, default=8, help="turns of each (default 8)")
    parser.add_argument("-o", choices=("table", "json"), default="table")
    parser.add_argument("--turn", choices=PATHS, help=argparse.SUPPRESS)
    result.add_arguments(parser)
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least one")
    data = os.environ.get("CSTD_DATA")
    if not data:
        sys.exit("bench/floor/ratio.py: CSTD_DATA is not set: there are no frames to measure on")
    if args.turn:
        print(json.dumps(turn(Path(data) / DEFAULT_RECORDING, args.turn)))
        return 0
    if shutil.which("g++") is None:
        sys.exit("bench/floor/ratio.py: g++ is not installed")
    figures = measure(Path(data) / DEFAULT_RECORDING, args.rounds)
    if args.o == "json":
        print(json.dumps(figures))
    else:
        show(figures)
    result.keep(args, "floor", figures)
    return 3 if any(row["ratio"] > row["ratio_max"] for row in figures["paths"].values()) else 0


def measure(recording: Path, rounds: int) -> dict[str, Any]:
    """Take turns; per path the turn with the best median of each side, and their ratio."""
    budget = budget_of(vendor())
    paths: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        program, frames = Path(folder) / "floor", Path(folder) / "frames"
        subprocess.run(["g++", "-std=c++17", "-O3", "-march=native", "-o", program, HERE / "floor.cpp"], check=True)
        _, recorded = start_recording(recording, None, strategy="none")
        frames.write_bytes(b"".join(struct.pack("<I", len(text)) + text for _, text in recorded))
        books = [b'"channel":"book","type"' in text for _, text in recorded]
        turns: dict[str, list[tuple[dict[str, int], dict[str, int]]]] = {path: [] for path in PATHS}
        for _ in range(rounds):
            for path in ("decision", "order"):
                turns[path].append((floor(program, frames, path, sum(books)), own_turn(path)))
        for _ in range(PACED_TURNS):
            turns["paced"].append((paced_floor(program, frames, books), own_turn("paced")))
    for path, taken in turns.items():
        theirs = min((turn[0] for turn in taken), key=lambda row: row["p50_ns"])
        ours = min((turn[1] for turn in taken), key=lambda row: row["p50_ns"])
        paths[path] = {"floor": theirs, "cstd": ours, "ratio": round(ours["p50_ns"] / theirs["p50_ns"], 3),
                       "ratio_max": budget[path]}
    return {"recording": recording.name, "rounds": rounds, "paths": paths}


def vendor() -> str:
    """The processor's maker as it names itself."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")


def budget_of(maker: str) -> dict[str, float]:
    """The most that each path's ratio may be on a processor of `maker`."""
    budgets: dict[str, dict[str, float]] = json.loads((HERE / "ratio.json").read_text())
    strictest = {path: min(row[path] for row in budgets.values()) for path in PATHS}
    return budgets.get(maker, strictest)


def floor(program: Path, frames: Path, path: str, updates: int) -> dict[str, int]:
    """One turn of the C++ program; every book update must have verified there, and led to an order where one is asked for."""
    expected = updates * (PASSES + WARM_PASSES)
    return floor_turn([program, frames, path, str(PASSES)], expected, expected if path == "order" else 0)


def paced_floor(program: Path, frames: Path, books: list[bool]) -> dict[str, int]:
    """One turn of the C++ program with a sleep before each of as many frames as cstd's paced turn has."""
    expected = sum(books) * WARM_PASSES + sum(books[:PACED_FRAMES])
    return floor_turn([program, frames, "order", "1", str(PACED_PAUSE_NS), str(PACED_FRAMES)], expected, expected)


def floor_turn(words: list[str | Path], expected: int, orders: int) -> dict[str, int]:
    """Run the C++ program; every book update must have verified there, and led to an order where one is asked for."""
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    row: dict[str, int] = json.loads(done.stdout)
    if row["verified"] != expected or row["orders"] != orders:
        sys.exit(f"bench/floor/ratio.py: of {expected} updates the floor verified {row['verified']}, with {row['orders']} orders")
    return {name: row[name] for name in QUANTILES}


def own_turn(path: str) -> dict[str, int]:
    """One turn of cstd, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--turn", path], stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, int] = json.loads(done.stdout)
    return row


def turn(recording: Path, path: str) -> dict[str, int]:
    """What that process does."""
    bench = Bench(recording, load(), cycle_length_ns())
    if path == "paced":
        bench.orders(PASSES)  # its memory is that of an engine which has run for a while, like the reference's
        return quantiles(bench.paced())
    return quantiles(getattr(bench, path + "s")(PASSES))


def quantiles(samples: Any) -> dict[str, int]:
    """Return the quantiles of nanoseconds."""
    return {name: int(np.quantile(samples, q)) for name, q in QUANTILES.items()}


def show(figures: dict[str, Any]) -> None:
    """Print a table."""
    print(f"{'':10} {'':8} {'p50':>8} {'p99':>8} {'p99.9':>8}   ns, best of {figures['rounds']} turns ({PACED_TURNS} of paced)")
    for path, row in figures["paths"].items():
        for side in ("floor", "cstd"):
            print(f"{path:10} {side:8} " + " ".join(f"{row[side][name]:>8,}" for name in QUANTILES))
        verdict = "ok" if row["ratio"] <= row["ratio_max"] else "EXCEEDED"
        print(f"{path:10} ratio {row['ratio']:.2f} of medians   budget {row['ratio_max']:.2f}   {verdict}")


if __name__ == "__main__":
    sys.exit(main())
