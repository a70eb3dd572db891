"""What the journal costs a frame on the path, and how long a record takes until it is on disk.

    python bench/journal.py [--rounds N] [--seconds S] [--dir DIR] [-o table|json] [--result FILE]

`cost`: the recorded BTC depth-25 frames (CSTD_DATA) through the engine with a journal, and without one, turn by turn in one
process; the ring is empty as a turn begins and the writer's thread hashes, writes and syncs beside it, as in the daemon.
`durable`: for S seconds a record a millisecond is appended, and from each one's append to the moment at which it is on disk is
what is told. Both keep the journal in DIR (default: a temporary directory below the working directory, because what is in memory
is on no disk) and have the sync interval of config/live.toml. The promise: 100 ns a frame; exit 3 when it is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paired
import result
from memory import RING_BYTES, SEGMENT_BYTES, make_room

from cstd._fast.bench import drive
from cstd._fast.journal import Journal
from cstd.config import load as load_config
from cstd.config import template
from cstd.engine import Engine
from cstd.research.bench import DEFAULT_RECORDING, STEP_NS, Bench
from cstd.signals.agents.loader import load
from cstd.storage.journal import open_journal

LIMIT_NS = 100.0
PASSES = 12  # over the recording in each turn: much shorter ones measure caches that a sync left cold; they fit the ring
NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
PACE_NS = NS_PER_MS
RECORD = bytes(400)  # about a book update
QUANTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}


def main() -> int:
    parser = argparse.ArgumentParser(description="the journal's cost a frame, and the time until a record is on disk")
    parser.add_argument("--rounds", type=int, default=30, help="turns of each (default 30)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of paced records (default 20)")
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where the journal is kept meanwhile")
    parser.add_argument("-o", choices=("table", "json"), default="table")
    result.add_arguments(parser)
    args = parser.parse_args()
    data = os.environ.get("CSTD_DATA")
    if not data:
        sys.exit("bench/journal.py: CSTD_DATA is not set: there are no frames to measure on")
    if args.rounds < 1 or not args.seconds > 0:
        parser.error("--rounds and --seconds are above 0")
    sync_ms = load_config([str(template("live"))], {}).journal.sync_interval_ms
    with tempfile.TemporaryDirectory(prefix="cstd-journal-", dir=args.dir) as folder:
        figures = {"cost": cost(Path(folder, "cost"), Path(data) / DEFAULT_RECORDING, args.rounds, sync_ms),
                   "durable": durable(Path(folder, "durable"), args.seconds, sync_ms),
                   "sync_interval_ms": sync_ms, "limit_ns": LIMIT_NS}
    figures["held"] = figures["cost"]["cost_ns"] <= LIMIT_NS
    print(json.dumps(figures)) if args.o == "json" else show(figures)
    result.keep(args, "journal", figures)
    return 0 if figures["held"] else 3


@contextmanager
def opened(folder: Path, sync_ms: int) -> Iterator[Journal]:
    """A journal of its own, with its ring in memory as the daemon's."""
    folder.mkdir()
    ring = Path("/dev/shm") / f"cstd-journal-bench-{os.getpid()}.ring"
    try:
        with open_journal(folder / "journal", ring, ring_bytes=RING_BYTES, segment_bytes=SEGMENT_BYTES,
                          sync_interval_ms=sync_ms) as journal:
            yield journal
    finally:
        ring.unlink(missing_ok=True)


def cost(folder: Path, recording: Path, rounds: int, sync_ms: int) -> dict[str, Any]:
    """Let the engine with a journal and the one without take turns."""
    sides = {side: Bench(recording, load(), ns_per_cycle=0.4) for side in ("with", "without")}
    turns: dict[str, list[float]] = {side: [] for side in sides}
    with opened(folder, sync_ms) as journal:
        sides["with"].idle.recorder.attach(journal)
        before = journal.seq
        for number in range(rounds + 1):
            for side in sides if number % 2 else reversed(sides):
                journal.sync()
                make_room(journal, folder / "journal")
                turns[side].append(turn(sides[side].idle, sides[side]._frames, number))
        if journal.seq - before < rounds * PASSES * len(sides["with"]._frames) or journal.error:
            sys.exit("bench/journal.py: the frames were not all journaled")
    return paired.compare(turns["with"][1:], turns["without"][1:])


def turn(engine: Engine, frames: list[bytes], number: int) -> float:
    """Nanoseconds a frame."""
    at_ns = engine.wall_ns + NS_PER_S * (number + 1)
    took_ns = 0
    for _ in range(PASSES):
        began_ns = time.perf_counter_ns()
        drive(engine.core, frames, at_ns, at_ns, STEP_NS)
        took_ns += time.perf_counter_ns() - began_ns
        at_ns += STEP_NS * len(frames)
    if engine.core.fault is not None:
        sys.exit(f"bench/journal.py: the engine failed: {engine.core.fault}")
    return took_ns / PASSES / len(frames)


def durable(folder: Path, seconds: float, sync_ms: int) -> dict[str, Any]:
    """Append at a pace, and look many times a millisecond how far the disk is."""
    waiting: deque[tuple[int, int]] = deque()
    took_ns: list[int] = []
    with opened(folder, sync_ms) as journal:
        now_ns = due_ns = time.monotonic_ns()
        until_ns = now_ns + int(seconds * NS_PER_S)
        while waiting or now_ns < until_ns:
            if due_ns <= now_ns < until_ns:
                journal.append_py(2, 0, now_ns, now_ns, RECORD)
                waiting.append((journal.seq, now_ns))
                due_ns = max(due_ns + PACE_NS, now_ns)
            synced = journal.stats()["synced_seq"]
            now_ns = time.monotonic_ns()
            while waiting and waiting[0][0] <= synced:
                took_ns.append(now_ns - waiting.popleft()[1])
            if journal.error:
                sys.exit(f"bench/journal.py: the disk refused: {os.strerror(journal.error)}")
            time.sleep(0.0001)
    return {"n": len(took_ns)} | {name: round(float(np.quantile(took_ns, q)) / NS_PER_MS, 3) for name, q in QUANTILES.items()}


def show(figures: dict[str, Any]) -> None:
    """Print a few lines."""
    row = figures["durable"]
    print(f"{'path':10} {paired.told('the journal costs', figures['cost'])}   {'ok' if figures['held'] else 'EXCEEDED'}")
    print(f"{'durable':10} p50 {row['p50_ms']:.1f} ms   p99 {row['p99_ms']:.1f} ms   max {row['max_ms']:.1f} ms   "
          f"n {row['n']}   synced every {figures['sync_interval_ms']} ms")


if __name__ == "__main__":
    sys.exit(main())
