"""How long a start takes to recover from a long journal: from its newest checkpoint and what came after it.

    python bench/recovery.py [--records N] [--tail N] [--rounds N] [-o table|json] [--result FILE]    exit 3 above 2 s

A journal of N records (default 10**7) is written by the engine itself from the frames of the BTC depth-25 recording (CSTD_DATA),
over and over, each frame a read batch, a timer event between two rounds; nothing trades, as in a market without an occasion.
Then the whole of it is replayed once, which is what the checkpoint costs the process that makes it, and the journal goes on for
`--tail` records more (default 200,000: a quarter of an hour at 110 frames/s). `recovery` is that of a fresh process: proving the
checkpoint and the tail, restoring, replaying, comparing every output. It needs about 350 bytes of disk a record.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import result

from cstd._fast.codes import EventKind, Link
from cstd._fast.journal import Journal
from cstd._fast.recorder import Recorder
from cstd.daemon.checkpointer import bring_up_to_date
from cstd.engine import Engine
from cstd.engine.boot import boot_payload
from cstd.engine.recovery import recover
from cstd.research.bench import DEFAULT_RECORDING
from cstd.research.replay import book_subscriptions, recording_config, wire_frames
from cstd.signals.agents.loader import load
from cstd.storage.journal import open_journal
from cstd.storage.recordings import open_recording

LIMIT_S = 2.0
RING_BYTES = SEGMENT_BYTES = 1 << 26
STEP_NS = 10_000_000
START_NS = 1_790_000_000_000_000_000
RECORDS_MIN = 10_000
PAIR = {"symbol": "BTC/USD", "base": "BTC", "quote": "USD", "status": "online", "qty_precision": 8, "qty_increment": 1e-8,
        "price_precision": 1, "price_increment": 0.1, "cost_precision": 5, "cost_min": "0.50", "qty_min": "0.00005",
        "marginable": True, "has_index": True}


def main() -> int:
    parser = argparse.ArgumentParser(description="recovery from a long journal")
    parser.add_argument("--records", type=int, default=10_000_000, metavar="N", help="before the checkpoint (default 10**7)")
    parser.add_argument("--tail", type=int, default=200_000, metavar="N", help="after it (default 200,000)")
    parser.add_argument("--rounds", type=int, default=5, help="recoveries (default 5)")
    parser.add_argument("-o", choices=("table", "json"), default="table")
    parser.add_argument("--recover", metavar="DIR", help=argparse.SUPPRESS)
    result.add_arguments(parser)
    args = parser.parse_args()
    if args.recover:
        print(json.dumps(recovery(Path(args.recover))))
        return 0
    if not os.environ.get("CSTD_DATA"):
        sys.exit("bench/recovery.py: CSTD_DATA is not set: there are no frames to write")
    if min(args.records, args.tail) < RECORDS_MIN or args.rounds < 1:
        parser.error(f"at least {RECORDS_MIN:,} records, as many after them, and one round")
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), args)
    print(json.dumps(figures)) if args.o == "json" else show(figures)
    result.keep(args, "recovery", figures)
    return 0 if figures["held"] else 3


def measure(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Write the journal, make its checkpoint, let it go on, recover."""
    directory = folder / "journal"
    with open_journal(directory, folder / "ring", ring_bytes=RING_BYTES, segment_bytes=SEGMENT_BYTES) as journal:
        market = Market(journal)
        market.write(args.records)
        made = bring_up_to_date(directory, load())
        market.write(args.records + args.tail)
    rounds = [recovery_of(directory) for _ in range(args.rounds)]
    took_s = statistics.median(row["took_s"] for row in rounds)
    return {"records": rounds[0]["seq"], "journal_bytes": sum(path.stat().st_size for path in directory.glob("segment-*")),
            "checkpoint_seq": made["seq"], "checkpoint_bytes": made["bytes"], "checkpoint_s": made["took_ms"] / 1e3,
            "checkpoint_records_per_s": made["records"] * 1000 // max(made["took_ms"], 1),
            "replayed": rounds[0]["replayed"], "recovery_s": round(took_s, 3),
            "recovery_s_max": round(max(row["took_s"] for row in rounds), 3), "limit_s": LIMIT_S, "held": took_s <= LIMIT_S}


class Market:
    """An engine that is fed recorded frames and journals them. A record of each frame, and of its batch's end."""

    def __init__(self, journal: Journal) -> None:
        frames = list(wire_frames(open_recording(Path(os.environ["CSTD_DATA"]) / DEFAULT_RECORDING)))
        depths = book_subscriptions(frames)
        self.texts = [text for _, text in frames if b'"channel":"book"' in text[:40]]
        self.journal = journal
        agents = load()
        self.engine = Engine(Recorder(journal), agents)
        self.now_ns = START_NS
        cfg = recording_config(list(depths), max(depths.values()))
        core = self.engine.core
        core.event(EventKind.EVENT_BOOT, 0, self.now_ns, self.now_ns, boot_payload(cfg, 1, agents))
        pairs = {"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": [PAIR]}}
        core.frame(Link.LINK_PUBLIC, msgspec.json.encode(pairs), self.now_ns, self.now_ns)
        core.batch_end(Link.LINK_PUBLIC, self.now_ns, self.now_ns)

    def write(self, records: int) -> None:
        """Go on until the journal holds so many records."""
        core = self.engine.core
        while self.engine.recorder.seq < records:
            first_ns = self.now_ns
            self.now_ns += STEP_NS * len(self.texts)
            core.frames(Link.LINK_PUBLIC, [(first_ns + STEP_NS * at, text) for at, text in enumerate(self.texts)])
            core.timer(self.now_ns, self.now_ns)
            self.engine.discard_outgoing()
            self.journal.sync()  # the ring has room for the next round
        if core.fault is not None or self.engine.recorder.failed:
            sys.exit(f"bench/recovery.py: the engine failed: {core.fault or 'a record could not be written'}")
        counts = core.counter_values()
        if counts["checksums_bad"] or not counts["checksums_ok"]:
            sys.exit(f"bench/recovery.py: {counts['checksums_ok']} checksums hold, {counts['checksums_bad']} do not")


def recovery_of(directory: Path) -> dict[str, Any]:
    """One recovery in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--recover", str(directory)], check=True, capture_output=True, text=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def recovery(directory: Path) -> dict[str, Any]:
    """What the daemon's start does before its boot event."""
    agents = load()
    began_ns = time.perf_counter_ns()
    found = recover(directory, agents)
    took_ns = time.perf_counter_ns() - began_ns
    if found.replay.difference_count or found.checkpoint is None:
        sys.exit(f"bench/recovery.py: {found.replay.differences or found.unusable}")
    return {"took_s": took_ns / 1e9, "seq": found.engine.recorder.seq, "replayed": found.replay.events + found.replay.outputs}


def show(figures: dict[str, Any]) -> None:
    """Print what was measured."""
    print(f"journal of {figures['records']:,} records, {figures['journal_bytes'] / 1e9:.2f} GB")
    print(f"checkpoint behind record {figures['checkpoint_seq']:,}: {figures['checkpoint_bytes']:,} bytes, made in "
          f"{figures['checkpoint_s']:.1f} s by a replay of {figures['checkpoint_records_per_s']:,} records/s")
    print(f"recovery: {figures['replayed']:,} records replayed; p50 {figures['recovery_s']:.3f} s, max "
          f"{figures['recovery_s_max']:.3f} s, limit {figures['limit_s']:.1f} s   {'ok' if figures['held'] else 'EXCEEDED'}")


if __name__ == "__main__":
    sys.exit(main())
