"""The benchmark suite: the path by kernel, and what it grows with. Run by `make benchmarks`; never timed in a test.

Each benchmark does many units of work a round, so that the timer is nothing beside it; `extra_info` says how many, and
`ns_each` what one cost at the median.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cstd._fast import gates
from cstd._fast.book import Book, crc32
from cstd._fast.codes import EventKind, Link, Verdict
from cstd._fast.recorder import Recorder
from cstd.research.bench import DEFAULT_RECORDING, Bench
from cstd.research.replay import start_recording
from cstd.signals.agents.loader import load
from tests import needs
from tests.kernels.gate_case import limits, limits_record, opening

ROUNDS = 40
S = 10**9


def measure(benchmark: Any, work: Any, units: int, *, rounds: int = ROUNDS) -> None:
    """Time `work`, which does `units` of something, and note the cost of one."""
    benchmark.pedantic(work, rounds=rounds, warmup_rounds=3)
    benchmark.extra_info["units"] = units
    benchmark.extra_info["ns_each"] = round(benchmark.stats["median"] / units * 1e9, 1)


@pytest.fixture(scope="module")
def frames() -> Bench:
    """Engines over the BTC depth-25 recording."""
    data = os.environ.get("CSTD_DATA")
    if not data:
        needs.no_data("CSTD_DATA is not set: no recording to drive")
    return Bench(Path(data) / DEFAULT_RECORDING, load(), 0.4)


@pytest.mark.parametrize("path", ["decisions", "orders"])
def test_whole_path(benchmark: Any, frames: Bench, path: str) -> None:
    """A frame of the recording through the engine, records and digest included."""
    strategy = {"decisions": "none", "orders": "bench"}[path]
    frames.orders(1)  # an hour of volume at the engine's present time
    measure(benchmark, lambda: frames.count(strategy), frames.count(strategy))


@pytest.mark.parametrize("depth", [10, 25, 100, 1000])
def test_book_update_by_depth(benchmark: Any, depth: int) -> None:
    """The worst level is told again, through the tolerant entrance, with the checksum compared."""
    book = Book(depth)
    bids = [(10**6 - 10 * n, 10**8 + n) for n in range(depth)]
    asks = [(10**6 + 10 * (n + 1), 10**8 + n) for n in range(depth)]
    text = "".join(f"{price}{qty}" for price, qty in asks[:10] + bids[:10]).encode()
    checksum = crc32(text)
    book.apply_levels(True, bids, asks, checksum, S)
    worst = [bids[-1]]  # at depth 10 the checksum covers it, so it stays what it is

    def update() -> None:
        for _ in range(1000):
            book.apply_levels(False, worst, [], checksum, S)

    measure(benchmark, update, 1000)
    assert book.verified_count > ROUNDS * 1000, "every update was verified"


@pytest.mark.parametrize("depth", [10, 25, 100])
def test_fifteen_gates_by_depth(benchmark: Any, depth: int) -> None:
    """An opening that passes, judged against books of several depths, all within the band of the depth gate."""
    bids, asks = ([(touch - side * n, 50_000_000) for n in range(depth)] for touch, side in ((1_000_000, 1), (1_000_001, -1)))
    inputs = np.array([gates.gate_input(**opening())] * 1000)
    row = limits_record(limits())
    rows = gates.evaluate_rows(inputs, row, bids, asks)
    assert set(rows["verdict"]) == {Verdict.APPROVE}
    measure(benchmark, lambda: gates.evaluate_rows(inputs, row, bids, asks), 1000)


@pytest.mark.parametrize("size", [400, 4096])
def test_digest_by_row(benchmark: Any, size: int) -> None:
    """What a decision row or an order frame costs to put aside and to hash."""
    recorder, row = Recorder(), bytes(size)

    def record() -> None:
        for _ in range(1000):
            recorder.output_py(EventKind.OUT_DECISION, 0, 0, 0, row)

    measure(benchmark, record, 1000)


def test_replay_of_preloaded_frames(benchmark: Any) -> None:
    """Recorded frames that are in memory through the engine, every pass in the digest: what a replay takes a frame."""
    data = os.environ.get("CSTD_DATA")
    if not data:
        needs.no_data("CSTD_DATA is not set: no recording to replay")
    engine, frames = start_recording(Path(data) / DEFAULT_RECORDING, load(), strategy="none")
    span_ns = frames[-1][0] - frames[0][0] + S
    begun = iter(range(10**9))

    def replay() -> None:
        shift_ns = next(begun) * span_ns
        engine.core.frames(Link.LINK_PUBLIC, [(at_ns + shift_ns, text) for at_ns, text in frames])

    measure(benchmark, replay, len(frames))
    assert engine.core.counter_values()["checksums_bad"] == 0
