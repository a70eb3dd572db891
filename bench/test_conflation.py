"""What a read of k frames over m instruments costs: k frames and m passes. Run by `make benchmarks`; never timed in a test.

A regression here would mean that something runs per frame that should run per read, or over all instruments instead of the
touched ones: the cost of a frame would stay and that of a read would grow.
"""

from __future__ import annotations

from typing import Any

import pytest

from bench.test_path import S, measure
from cstd._fast.book import crc32
from cstd._fast.codes import Link
from cstd._fast.core import Core
from cstd._fast.recorder import Recorder
from cstd.orders.lifecycle import TABLE

INSTRUMENTS = 1000
DEPTH = 100
READS = 20
BIDS = [(1_000_000 - 10 * n, 10**8 + n) for n in range(DEPTH)]
ASKS = [(1_000_010 + 10 * n, 10**8 + n) for n in range(DEPTH)]


def text(levels: list[tuple[int, int]]) -> str:
    """Levels as the venue prints them, with one and eight decimals."""
    return ",".join(f'{{"price":{p // 10}.{p % 10},"qty":{q // 10**8}.{q % 10**8:08d}}}' for p, q in levels)


def frame(name: str, kind: str, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> bytes:
    """A book frame; the top ten never change here, so one checksum is right for all."""
    checksum = crc32("".join(f"{p}{q}" for p, q in ASKS[:10] + BIDS[:10]).encode())
    return (f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{name}","bids":[{text(bids)}],"asks":[{text(asks)}],'
            f'"checksum":{checksum},"timestamp":"2026-08-02T10:00:00.000000Z"}}]}}').encode()


class Market:
    """A thousand instruments at depth 100 in an engine without wishes."""

    def __init__(self) -> None:
        self.core = Core(Recorder(), TABLE, None)
        self.updates = []
        self.now_ns = S
        for number in range(INSTRUMENTS):
            name = f"C{number:04d}/USD"
            self.core.add_slot(name.encode(), DEPTH)
            self.core.configure(number, 1, 8, 1, 1, 1, 0, 10**8)
            self.core.frame(Link.LINK_PUBLIC, frame(name, "snapshot", BIDS, ASKS), S, S)
            self.updates.append(frame(name, "update", BIDS[50:51], []))
        self.core.batch_end(Link.LINK_PUBLIC, S, S)

    def read(self, frames: int, instruments: int) -> None:
        """READS reads of `frames` frames that touch `instruments` instruments."""
        core, updates = self.core, self.updates
        for _ in range(READS):
            self.now_ns += 1_000_000
            for i in range(frames):
                core.frame(Link.LINK_PUBLIC, updates[i % instruments], self.now_ns, self.now_ns)
            core.batch_end(Link.LINK_PUBLIC, self.now_ns, self.now_ns)


@pytest.fixture(scope="module")
def market() -> Market:
    """One for all: books are only ever told what they hold."""
    return Market()


@pytest.mark.parametrize(("frames", "instruments"), [(1, 1), (100, 1), (100, 100), (1000, 1), (1000, 100), (1000, 1000)])
def test_read(benchmark: Any, market: Market, frames: int, instruments: int) -> None:
    """The time of a frame in a read of many; the passes of the touched instruments are in it."""
    before = market.core.counter_values()
    measure(benchmark, lambda: market.read(frames, instruments), READS * frames)
    after = market.core.counter_values()
    reads = (after["frames"] - before["frames"]) // frames
    assert after["passes"] - before["passes"] == reads * instruments
    assert after["checksums_bad"] == 0
    benchmark.extra_info["passes_each_read"] = instruments
