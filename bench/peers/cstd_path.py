"""cstd's own turn: the books through the engine for the proof, then the frames through `cstd bench`'s entrance.

    python bench/peers/cstd_path.py FRAMES --recording FILE --path decision|order [--passes N] [--prove]

`decision`: frame bytes to the end of the pass (scan, book, CRC32 on every message, features, agents). `order`: the same with
an intent, fifteen gates and order bytes on every frame.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import driver
import truth

from cstd._fast.codes import Link
from cstd.research.bench import Bench, cycle_length_ns
from cstd.research.replay import start_recording
from cstd.signals.agents.loader import load

STEP_NS = 10_000_000


class Peer:
    """An engine booted for the recording, as a peer."""

    def __init__(self, recording: Path, facts: driver.Facts) -> None:
        self._engine, frames = start_recording(recording, None, strategy="none")
        self._at_ns, self._digits = frames[0][0], facts.digits

    @property
    def rejected(self) -> bool:
        """Whether a book found a checksum that differs."""
        return any(slot.book.mismatch_count for slot in self._engine.core.slots)

    def prepare(self, text: bytes) -> bytes:
        """The socket's bytes."""
        return text

    def feed(self, message: bytes) -> None:
        """One frame, a read batch of its own."""
        self._at_ns += STEP_NS
        self._engine.core.frames(Link.LINK_PUBLIC, [(self._at_ns, message)])

    def top_ten(self, symbol: str) -> tuple[list[Any], list[Any]]:
        """Best ten levels of each side."""
        book = self._engine.core.slots[self._engine.names.index(symbol)].book
        price, qty = (10**digits for digits in self._digits[symbol])
        bids, asks = ([(level[0] / price, level[1] / qty) for level in book.levels(side, truth.TOP)] for side in (1, -1))
        return bids, asks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("frames", type=Path)
    parser.add_argument("--recording", type=Path, required=True)
    parser.add_argument("--path", choices=("decision", "order"), required=True)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--prove", action="store_true")
    args = parser.parse_args()
    frames = truth.read_frames(args.frames)
    facts = driver.Facts(frames)
    does = driver.does("cstd", parse="own scanner, int64", book="own, int64", checksum=True, truncation=True, features=True,
                       order=args.path == "order")
    row: dict[str, Any] = {"does": does, "versions": driver.versions(("cstd",)), "timer_ns": 0}
    if args.prove:
        row["proof"] = driver.prove(Peer(args.recording, facts), frames, facts)
        row["proof"]["changed_checksum_refused"] = driver.refuses(lambda known: Peer(args.recording, known), frames, facts)
    bench = Bench(args.recording, load(), cycle_length_ns())
    samples = (bench.orders if args.path == "order" else bench.decisions)(args.passes)
    peer = Peer(args.recording, facts)
    for text in frames:
        peer.feed(text)
    print(json.dumps(row | {"n": len(samples), **driver.quantiles(samples.tolist()),
                            "end_equal": driver.end_equal(peer, frames, facts)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
