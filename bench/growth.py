"""What a frame costs as instruments, depth and history grow: cstd beside the same work in C++, in one run.

    python bench/growth.py [--axis NAME]... [--instruments N,N] [--depths N,N] [--frames N,N] [--rounds N] [-o table|json]
                           [--result FILE]

instruments: the frames of the BTC depth-25 recording under as many names, in turn, so that each comes back to a book that
has cooled the longer the more there are. Every name plays a stretch of the recording of its own, from a snapshot of the
book as it was then, so that the mix of updates is the same at every number.
depth: the busiest book of the depth-1000 recording as a subscription to each depth would have told it: what changes within
the depth, levels that come into it told again, those that fall out of it not.
history: the BTC depth-25 recording over and over; the cost of a frame, and memory, after as many frames; then the same with an
order on every frame, up to a million.

The books are those of a plain Decimal book that verified every recorded checksum; both sides must verify every frame. Both
take turns, the best median of each counts. Promise: from the first to any later point cstd's cost grows at most 1.2 times
as much as the reference's, and with history at most 1.2 times. Exits 3 when it does not hold. Needs g++ but for history.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE / "peers", HERE.parent):
    sys.path.insert(0, str(folder))

import result  # noqa: E402 - the folders above are no packages
import truth  # noqa: E402

from cstd._fast.bench import drive  # noqa: E402
from cstd._fast.codes import EventKind, Link  # noqa: E402
from cstd._fast.recorder import Recorder  # noqa: E402
from cstd.engine import Engine  # noqa: E402
from cstd.engine.boot import boot_payload  # noqa: E402
from cstd.research.bench import DEFAULT_RECORDING, Bench, cycle_length_ns  # noqa: E402
from cstd.research.replay import recording_config, wire_frames  # noqa: E402
from cstd.signals.agents.loader import load  # noqa: E402
from cstd.storage.recordings import open_recording  # noqa: E402

DEEP_RECORDING = "recordings/kraken-v1-spot-20210405.jsonl.zst"
AXES = ("instruments", "depth", "history")
GROWTH_MAX = 1.2
PASS_UPDATES = 20_000  # updates of all instruments in one pass over the frames
TURN_UPDATES = 40_000
WARM_PASSES = 3  # as floor.cpp
STEP_NS = 10_000_000
BEGAN_NS = 1_785_641_750_000_000_000
HISTORY_ROUNDS = 5  # over the recording in one measurement
HISTORY_BLOCKS = 8  # measurements at each point; the best counts
ORDERS_MAX = 10**6  # with an order on every frame: more than an account may send in years
QUANTILES = {"p50_ns": 0.5, "p99_ns": 0.99}
Row = dict[str, Any]


def main() -> int:
    args = arguments()
    data = os.environ.get("CSTD_DATA")
    if not data:
        sys.exit("bench/growth.py: CSTD_DATA is not set: there are no frames to measure on")
    axes = args.axis or AXES
    if set(axes) - {"history"} and shutil.which("g++") is None:
        sys.exit("bench/growth.py: g++ is not installed: no reference to hold the growth against; --axis history needs none")
    figures: Row = {"rounds": args.rounds, "growth_max": GROWTH_MAX}
    if "instruments" in axes:
        figures["instruments"] = compare(instrument_cases(Path(data) / DEFAULT_RECORDING, args.instruments), args.rounds)
    if "depth" in axes:
        figures["depth"] = compare(depth_cases(Path(data) / DEEP_RECORDING, args.depths), args.rounds)
    if "history" in axes:
        figures["history"] = history(Path(data) / DEFAULT_RECORDING, args.frames)
    if args.o == "json":
        print(json.dumps(figures))
    else:
        show(figures)
    result.keep(args, "growth", figures)
    return 0 if all(figures[axis]["holds"] for axis in axes) else 3


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="cost per frame by number of instruments, depth and history")
    parser.add_argument("--axis", action="append", choices=AXES, help="one of them (repeats; default: all)")
    parser.add_argument("--instruments", type=points(1, 2048), default=[1, 10, 100, 1000], help="default 1,10,100,1000")
    parser.add_argument("--depths", type=points(10, 1000), default=[10, 25, 100, 500, 1000], help="default 10,25,100,500,1000")
    parser.add_argument("--frames", type=points(50_000, 10**9), default=[10**5, 10**6, 10**7], help="default 10^5, 10^6, 10^7")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default 3)")
    parser.add_argument("-o", choices=("table", "json"), default="table")
    result.add_arguments(parser)
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least one")
    return args


def points(least: int, most: int) -> Any:
    """A type of argument: at least two whole numbers within bounds, rising, with commas between them."""
    def parse(text: str) -> list[int]:
        try:
            values = [int(word) for word in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers like {least},{most}") from None
        if len(values) < 2 or values != sorted(set(values)) or values[0] < least or values[-1] > most:
            raise argparse.ArgumentTypeError(f"{text}: at least two rising numbers from {least} to {most}")
        return values

    return parse


# Frames.


@dataclass(slots=True)
class Case:
    """One point of an axis: frames of one pass, snapshots of all names first."""

    at: int
    names: list[str]
    depth: int
    price_digits: int
    frames: list[bytes]

    @property
    def updates(self) -> Any:
        """Which frames are updates: these alone are timed."""
        return np.array([b'"type":"update"' in text[:40] for text in self.frames])


def book_text(kind: str, name: str, sides: dict[str, list[truth.Level]], checksum: int, stamp: str) -> bytes:
    """A v2 book message, digits as recorded."""
    bids, asks = (",".join(f'{{"price":{price:f},"qty":{qty:f}}}' for price, qty in sides[side]) for side in ("bids", "asks"))
    return (f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{name}","bids":[{bids}],"asks":[{asks}],'
            f'"checksum":{checksum},"timestamp":"{stamp}"}}]}}').encode()


def instrument_names(count: int) -> list[str]:
    """Names of seven letters, as floor.cpp looks them up."""
    return [f"{chr(65 + n // 676)}{chr(65 + n // 26 % 26)}{chr(65 + n % 26)}/USD" for n in range(count)]


def recorded_books(recording: Path) -> Iterator[tuple[str, Row]]:
    """(kind, data) of each book message, checksums added where v1 has none."""
    return filter(None, (truth.book_of(truth.with_checksum(text)) for _, text in wire_frames(open_recording(recording))))


def instrument_cases(recording: Path, counts: list[int]) -> Iterator[Case]:
    """For each number of instruments, stretches of the recording under as many names, in turn."""
    updates: list[Row] = []
    snapshots: list[tuple[dict[str, list[truth.Level]], int]] = []  # the book before each update
    book = truth.TruthBook(25)
    for kind, data in recorded_books(recording):
        if kind == "update":
            snapshots.append(({name: book.levels(name, 25) for name in book.sides}, book.checksum()))
            updates.append(data)
        book.apply(kind, data)
        if book.checksum() != data["checksum"]:
            sys.exit(f"bench/growth.py: {recording.name} does not verify: no frames to measure on")
    for count in counts:
        each = min(len(updates), PASS_UPDATES // count)
        starts = [n * each % (len(updates) - each + 1) for n in range(count)]
        names = instrument_names(count)
        frames = [book_text("snapshot", name, *snapshots[start], updates[max(start - 1, 0)]["timestamp"])
                  for name, start in zip(names, starts, strict=True)]
        for step in range(each):
            for name, start in zip(names, starts, strict=True):
                data = updates[start + step]
                sides = {side: [(level["price"], level["qty"]) for level in data[side]] for side in ("bids", "asks")}
                frames.append(book_text("update", name, sides, data["checksum"], data["timestamp"]))
        yield Case(count, names, 25, 1, frames)


def depth_cases(recording: Path, depths: list[int], most: int | None = None) -> Iterator[Case]:
    """For each depth, the busiest book of the recording (of its first `most` messages) as it is seen at that depth."""
    books = list(itertools.islice(recorded_books(recording), most))
    busiest = Counter(data["symbol"] for _, data in books).most_common(1)[0][0]
    views = {depth: View(depth) for depth in depths}
    full = truth.TruthBook(1000)
    for kind, data in books:
        if data["symbol"] == busiest:
            full.apply(kind, data)
            if full.checksum() != data["checksum"]:
                sys.exit(f"bench/growth.py: {recording.name} does not verify: no frames to measure on")
            for view in views.values():
                view.take(full, kind, data)
    for depth, view in views.items():
        yield Case(depth, [View.NAME], depth, view.price_digits, view.frames)


class View:
    """What a subscription of less depth tells of a book."""

    NAME = "BTC/USD"  # the name that floor.cpp compares with

    def __init__(self, depth: int) -> None:
        self.frames: list[bytes] = []
        self.price_digits = 0
        self._depth = depth
        self._seen: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}

    def take(self, full: truth.TruthBook, kind: str, data: Row) -> None:
        """Add the message that this depth is told, if it is told one."""
        told: dict[str, list[truth.Level]] = {}
        for name, side in full.sides.items():
            told[name] = []
            if not data[name]:
                continue
            new = dict(full.levels(name, self._depth))
            old = self._seen[name]
            if kind == "snapshot":
                told[name] = list(new.items())
                self.price_digits = -int(next(iter(new)).as_tuple().exponent)
            else:
                gone = [(price, Decimal("0.00000000")) for price in old if price not in side]
                told[name] = gone + [(price, qty) for price, qty in new.items() if old.get(price) != qty]
            self._seen[name] = new
        if told["bids"] or told["asks"]:
            self.frames.append(book_text(kind, self.NAME, told, int(data["checksum"]), data["timestamp"]))


# Turns.


class Ours:
    """cstd's engine over one case."""

    def __init__(self, case: Case, ns_per_cycle: float) -> None:
        agents = load()
        self._engine = Engine(Recorder(), agents, inferring=True, strategy="none")
        self._at_ns, self._ns_per_cycle, self._case = BEGAN_NS, ns_per_cycle, case
        self._updates = case.updates
        core = self._engine.core
        core.event(EventKind.EVENT_BOOT, 0, BEGAN_NS, BEGAN_NS, boot_payload(recording_config(case.names, case.depth), 1, agents))
        self._engine.stand_in()
        core.hist.set_scale(ns_per_cycle)
        self._engine.recorder.digest_passes = False  # as in live: decision rows and order frames alone
        core.frames(Link.LINK_PUBLIC, [(BEGAN_NS, text) for text in case.frames])  # makes precisions known
        for _ in range(WARM_PASSES):
            self._pass()

    def turn(self) -> Row:
        """Quantiles of ns from a frame to the end of its pass; every checksum must have verified."""
        passes = max(1, TURN_UPDATES // int(self._updates.sum()))
        before = self._engine.core.counter_values()
        samples = np.concatenate([self._pass() for _ in range(passes)])
        after = self._engine.core.counter_values()
        verified = after["checksums_ok"] - before["checksums_ok"]
        if verified != passes * len(self._case.frames) or after["checksums_bad"]:
            sys.exit(f"bench/growth.py: at {self._case.at} cstd verified {verified} of {passes * len(self._case.frames)} frames")
        return {name: int(np.quantile(samples, q)) for name, q in QUANTILES.items()}

    def _pass(self) -> Any:
        to_end, _ = drive(self._engine.core, self._case.frames, self._at_ns, self._at_ns, STEP_NS)
        self._at_ns += STEP_NS * len(self._case.frames)
        if self._engine.core.fault is not None:
            sys.exit(f"bench/growth.py: the engine failed: {self._engine.core.fault}")
        return to_end[self._updates] * self._ns_per_cycle


class Reference:
    """floor.cpp over one case, compiled for it."""

    def __init__(self, case: Case, folder: Path) -> None:
        self._case, self._program, self._frames = case, folder / f"floor-{case.at}", folder / f"frames-{case.at}"
        capacity = 4096 if case.depth > 100 else 1024  # a smaller one keeps a thousand books within memory
        flags = [f"-DFLOOR_DEPTH={case.depth}", f"-DFLOOR_PRICE_DIGITS={case.price_digits}", f"-DFLOOR_CAPACITY={capacity}"]
        flags += ["-DFLOOR_MANY"] if case.names != [View.NAME] else []
        subprocess.run(["g++", "-std=c++17", "-O3", "-march=native", *flags, "-o", self._program, HERE / "floor" / "floor.cpp"],
                       check=True)
        truth.write_frames(self._frames, case.frames)

    def turn(self) -> Row:
        """Quantiles as it prints them; every frame must have verified."""
        passes = max(1, TURN_UPDATES // int(self._case.updates.sum()))
        done = subprocess.run([self._program, self._frames, "decision", str(passes)], capture_output=True, text=True, check=True)
        row: Row = json.loads(done.stdout)
        if row["verified"] != (passes + WARM_PASSES) * len(self._case.frames):
            sys.exit(f"bench/growth.py: at {self._case.at} the reference verified {row['verified']} of {row['frames']} frames")
        return {name: row[name] for name in QUANTILES}


def compare(cases: Iterator[Case], rounds: int) -> Row:
    """Turns of both sides over all points in each round; the growth of each from the first point on."""
    ns_per_cycle = cycle_length_ns()
    with tempfile.TemporaryDirectory() as folder:
        sides = [(case.at, len(case.frames), Ours(case, ns_per_cycle), Reference(case, Path(folder))) for case in cases]
        turns: dict[int, list[tuple[Row, Row]]] = {at: [] for at, *_ in sides}
        for _ in range(rounds):
            for at, _, ours, reference in sides:
                turns[at].append((reference.turn(), ours.turn()))
    rows: list[Row] = []
    for at, frames, *_ in sides:
        theirs, ours = (min((turn[side] for turn in turns[at]), key=lambda row: row["p50_ns"]) for side in (0, 1))
        rows.append({"at": at, "frames": frames, "cstd": ours, "reference": theirs})
    return judged(rows)


def judged(rows: list[Row]) -> Row:
    """Growth of the medians from the first point, and whether cstd's is within the bound everywhere."""
    first = rows[0]
    for row in rows:
        for side in ("cstd", "reference"):
            row[side]["growth"] = round(row[side]["p50_ns"] / first[side]["p50_ns"], 3)
        row["growth_ratio"] = round(row["cstd"]["growth"] / row["reference"]["growth"], 3)
        row["holds"] = row["growth_ratio"] <= GROWTH_MAX
    return {"points": rows, "holds": all(row["holds"] for row in rows)}


# History.


def history(recording: Path, marks: list[int]) -> Row:
    """The cost of a frame, and the memory of the process, once so many frames were taken: without orders, then with."""
    bench = Bench(recording, load(), cycle_length_ns())
    rows = history_of("decision", bench.decisions, bench.idle, marks)
    rows += history_of("order", bench.orders, bench.engine, [mark for mark in marks if mark <= ORDERS_MAX])
    return {"points": rows, "holds": all(row["growth"] <= GROWTH_MAX for row in rows)}


def history_of(path: str, block: Any, engine: Engine, marks: list[int]) -> list[Row]:
    """The points of one path; `block` takes a number of rounds over the recording and gives ns of each frame."""
    rows: list[Row] = []
    for mark in marks:
        while engine.core.counter_values()["frames"] < mark:
            block(HISTORY_ROUNDS)
        frames = engine.core.counter_values()["frames"]
        best = min((block(HISTORY_ROUNDS) for _ in range(HISTORY_BLOCKS)), key=lambda samples: float(np.median(samples)))
        rows.append({"path": path, "at": mark, "frames": frames,
                     **{name: int(np.quantile(best, q)) for name, q in QUANTILES.items()},
                     "frames_per_s": int(1e9 / best.mean()), "resident_kib": resident_kib()})
    for row in rows:
        row["growth"] = round(row["p50_ns"] / rows[0]["p50_ns"], 3)
    return rows


def resident_kib() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def show(figures: Row) -> None:
    """Print a table an axis."""
    for axis in ("instruments", "depth"):
        for row in figures.get(axis, {"points": []})["points"]:
            sides = "   ".join(f"{side} p50 {row[side]['p50_ns']:>6,} p99 {row[side]['p99_ns']:>6,} x{row[side]['growth']:.2f}"
                               for side in ("cstd", "reference"))
            print(f"{axis:11} {row['at']:>5}   {sides}   growth ratio {row['growth_ratio']:.2f}   "
                  f"{'ok' if row['holds'] else 'EXCEEDED'}")
    for row in figures.get("history", {"points": []})["points"]:
        print(f"history  {row['path']:8} {row['frames']:>11,} frames   p50 {row['p50_ns']:,} ns   p99 {row['p99_ns']:,}   "
              f"{row['frames_per_s']:,} frames/s   {row['resident_kib'] / 1024:,.0f} MiB   x{row['growth']:.2f}")


if __name__ == "__main__":
    sys.exit(main())
