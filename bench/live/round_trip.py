"""Round trip in the live daemon: a recorded book frame goes in by one socket, the order comes out by the other.

    python bench/live/round_trip.py [--samples N] [--result FILE]     exit 3 when the ratio is above --ratio-max

This process is the venue. It writes one frame, waits for the order frame of the daemon, and stops the watch when its bytes
are read; then it accepts the order, lets it expire, and pauses. Between two samples of the daemon lies one of a bare picows
listener that answers the same frame by as many constant bytes, over two sockets as well. The ratio is taken in blocks of
neighbouring samples (median against median) and the median of the blocks is reported, because a shared host changes its
speed from one second to the next. Samples in which a second order shows up (the daemon's timer wished for one too) or in
which none comes are counted and left out.
"""

from __future__ import annotations

import argparse
import select
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import bare
import numpy as np
import session
import sockets

sys.path.insert(0, str(session.HERE.parent))

import result  # the folder above is no package

RECORDING = "kraken-v2-btcusd-d25-20260802.jsonl.zst"
RATIO_MAX = 1.10
PAUSE_S = 0.001
WAIT_S = 0.25
BLOCK = 200
WARM = 400
START_S = 20.0
NS_PER_US = 1000


class Bare:
    """The bare listener with this process as its venue."""

    def __init__(self, order_bytes: int, log: Path) -> None:
        incoming, outgoing = sockets.listen(), sockets.listen()
        urls = [f"ws://127.0.0.1:{sock.getsockname()[1]}/" for sock in (incoming, outgoing)]
        self.process = session.spawn([sys.executable, str(session.HERE / "bare.py"), "answer", *urls, str(order_bytes)], log)
        try:
            for sock in (incoming, outgoing):
                sock.settimeout(START_S)
            self.reads = sockets.accept(outgoing)  # it connects its way out first
            self.writes = sockets.accept(incoming)
            for peer in (self.reads, self.writes):
                peer.sock.settimeout(None)
        except TimeoutError:
            sys.exit(f"the bare listener did not connect:\n{log.read_text(errors='replace')[-2000:]}")
        finally:
            incoming.close()
            outgoing.close()

    def sample(self, frame: bytes) -> int | None:
        """ns from a frame to the answer's bytes; None without an answer."""
        writes, reads = self.writes.sock, self.reads.sock
        began_ns = time.perf_counter_ns()
        writes.send(frame)
        reads.recv(sockets.READ_BYTES)
        return time.perf_counter_ns() - began_ns

    def close(self) -> None:
        """End it."""
        session.stop(self.process)
        self.writes.close()
        self.reads.close()


class Timed:
    """The daemon, one sample at a time."""

    def __init__(self, live: session.LiveDaemon) -> None:
        self.venue = live.venue
        self.without_order = self.with_two = self.disturbed = 0
        self.order_bytes = 0

    def sample(self, frame: bytes) -> int | None:
        """ns from a frame to the order's bytes; None when the sample does not count."""
        venue = self.venue
        public, private = venue.public, venue.private
        if public is None or private is None:
            raise SystemExit("the daemon disconnected")
        private.sock.settimeout(WAIT_S)
        began_ns = time.perf_counter_ns()
        public.sock.send(frame)
        try:
            received = private.sock.recv(sockets.READ_BYTES)
        except TimeoutError:
            self.without_order += 1
            return None
        took_ns = time.perf_counter_ns() - began_ns
        private.sock.settimeout(None)
        if not received:
            raise SystemExit("the daemon disconnected")
        private.buffer += received
        return took_ns if self._answer(private, len(received)) else None

    def _answer(self, private: sockets.Peer, n: int) -> bool:
        """Answer what came; True when it was exactly one order."""
        before, frames = self.venue.orders, private.take()
        for opcode, payload in frames:
            if opcode == sockets.TEXT:
                self.venue.on_private(payload)
        if len(frames) != 1 or self.venue.orders != before + 1:
            self.disturbed += 1
            return False
        self.order_bytes = n
        return True

    def rest(self, seconds: float) -> bool:
        """Pause, serving what comes; True when no further order was among it."""
        before, until_s = self.venue.orders, time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self.venue.serve(left_s)
        if self.venue.orders != before:
            self.with_two += 1
            return False
        return True


def measure(live: session.LiveDaemon, samples: int) -> dict[str, Any]:
    """Alternate between the daemon and the bare listener until both have `samples` pairs."""
    timed = Timed(live)
    frames = [sockets.server_frame(frame) for frame in live.recording.frames]
    for index in range(min(WARM, samples)):
        timed.sample(frames[index % len(frames)])
        timed.rest(PAUSE_S)
    if not timed.order_bytes:
        sys.exit("no frame led to an order; the daemon refuses:\n" + refusals(live))
    # The size of the last order's payload; the listener adds the same header.
    beside = Bare(timed.order_bytes - 8, live.run_dir / "bare.log")
    try:
        for index in range(min(WARM, samples)):
            beside.sample(frames[index % len(frames)])
        pairs = take_pairs(timed, beside, frames, samples)
    finally:
        beside.close()
    return summary(pairs, timed)


def take_pairs(timed: Timed, beside: Bare, frames: list[bytes], samples: int) -> list[tuple[int, int]]:
    """Pairs of (daemon, bare) in ns."""
    pairs: list[tuple[int, int]] = []
    at = min(WARM, samples)
    while len(pairs) < samples:
        frame = frames[at % len(frames)]
        at += 1
        if at > 4 * samples + 4 * WARM:
            sys.exit(f"only {len(pairs)} of {at} frames led to one order each")
        ours_ns = timed.sample(frame)
        alone = timed.rest(PAUSE_S)
        theirs_ns = beside.sample(frame)
        select.select([], [], [], PAUSE_S)
        if ours_ns is not None and theirs_ns is not None and alone:
            pairs.append((ours_ns, theirs_ns))
    return pairs


def summary(pairs: list[tuple[int, int]], timed: Timed) -> dict[str, Any]:
    """Quantiles of both, and the median of the ratios of blocks."""
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    blocks = [pairs[at:at + BLOCK] for at in range(0, len(pairs), BLOCK)]
    ratios = sorted(statistics.median(a for a, _ in block) / statistics.median(b for _, b in block) for block in blocks)
    return {
        "daemon": quantiles(ours), "bare": quantiles(theirs),
        "ratio_p50_paired": round(statistics.median(ratios), 4),
        "ratio_p50_blocks": {"n": len(ratios), "low": round(ratios[0], 4), "high": round(ratios[-1], 4)},
        "difference_p50_ns": int(statistics.median(a - b for a, b in pairs)),
        "left_out": {"no_order": timed.without_order, "two_orders": timed.with_two, "other": timed.disturbed},
        "order_bytes": timed.order_bytes,
    }


def quantiles(samples_ns: list[int]) -> dict[str, int]:
    """Count, p50, p99 and p99.9 in ns."""
    p50, p99, p999 = (int(value) for value in np.quantile(samples_ns, (0.5, 0.99, 0.999)))
    return {"n": len(samples_ns), "p50_ns": p50, "p99_ns": p99, "p999_ns": p999}


def refusals(live: session.LiveDaemon) -> str:
    """What the gates say, for an error message."""
    rows = live.request("gates")
    return "\n".join(f"  {row}" for row in rows) if isinstance(rows, list) else str(rows)


def show(figures: dict[str, Any]) -> None:
    """Print the figures."""
    for name in ("daemon", "bare"):
        row = figures[name]
        cells = "   ".join(f"{label} {row[key] / NS_PER_US:>8.1f} us" for label, key in
                           (("p50", "p50_ns"), ("p99", "p99_ns"), ("p99.9", "p999_ns")))
        print(f"{name:7} {cells}   n {row['n']:,}")
    blocks = figures["ratio_p50_blocks"]
    print(f"ratio   {figures['ratio_p50_paired']:.3f} paired "
          f"(of {blocks['n']} blocks {blocks['low']:.3f} to {blocks['high']:.3f}), "
          f"{figures['difference_p50_ns'] / NS_PER_US:.1f} us more; left out {figures['left_out']}")
    stages = "   ".join(f"{name} {row['p50_ns']:,}" for name, row in figures["stages"].items())
    print(f"stages of the daemon, p50 ns: {stages}")


def main() -> int:
    parser = argparse.ArgumentParser(description="frame in to order out, in the live daemon, beside a bare listener")
    parser.add_argument("--samples", type=int, default=6000, help="pairs (default 6000)")
    parser.add_argument("--ratio-max", type=float, default=RATIO_MAX, help=f"exit 3 above it (default {RATIO_MAX}); 0: never")
    result.add_arguments(parser)
    args = parser.parse_args()
    if args.samples < 1:
        parser.error(f"--samples {args.samples}: at least one")
    bare.build()
    with session.LiveDaemon([session.data_folder() / RECORDING]) as live:
        figures = {**measure(live, args.samples), "ratio_max": args.ratio_max, "recording": RECORDING, "stages": live.stages()}
    show(figures)
    result.keep(args, "round-trip", figures)
    return 3 if args.ratio_max and figures["ratio_p50_paired"] > args.ratio_max else 0


if __name__ == "__main__":
    sys.exit(main())
