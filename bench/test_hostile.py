"""What a hostile peer costs the honest frames beside it, on one engine; run with `pytest bench/test_hostile.py`.

`honest` times only the honest frames of the BTC/USD depth-25 recording: alone, and with hostile frames of another link or
instrument put between them, whose own time is left out. extra_info has `ns_each`, and with hostile frames the ratio to the
engine alone, measured in turns in the same run. A ratio above 1.10 means that hostile input spoils caches, budgets or state that
honest frames need. `hostile` is what one such frame costs by itself: bounded by its bytes, because the engine decodes at most
4 MiB of a frame, 10 MiB at once and 1 MB a second of a link with one instrument, and refuses the rest undecoded.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cstd._fast.codes import Link
from cstd.research.bench import DEFAULT_RECORDING
from cstd.storage.recordings import open_recording
from tests import needs
from tests.scenario.engine_world import World

BETWEEN = 16  # honest frames for each hostile one
TURNS = 7
# CPU time of this thread: what other processes of a shared machine take is no cost of a frame.
pytestmark = pytest.mark.benchmark(timer=time.thread_time)
RATIO_MAX = 1.10
LEVELS = b",".join(b'{"price":%d.5,"qty":0.10000000}' % (40_000 + n) for n in range(1000))


def instruments(count: int) -> bytes:
    """An instrument snapshot of about half a megabyte, as the venue's; none of them is ours."""
    pairs = [{"symbol": f"T{n:04d}/USD", "base": f"T{n:04d}", "quote": "USD", "status": "online", "qty_precision": 8,
              "qty_increment": 1e-08, "price_precision": 4, "cost_precision": 5, "marginable": False, "has_index": True,
              "cost_min": 0.5, "tick_size": 0.0001, "price_increment": 0.0001, "qty_min": 5e-05} for n in range(count)]
    return json.dumps({"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": pairs}}).encode()


HOSTILE: dict[str, bytes] = {
    "not_json": b'{"channel":"book","type":"update","data":[{"symbol":' + b"x" * 2000,
    "nested": b'{"channel":"book","type":"update","data":' + b"[" * 20_000,
    "giant_number": b'{"channel":"ticker","type":"update","data":[{"symbol":"ETH/USD","bid":' + b"9" * 20_000 + b"}]}",
    "huge_exponent": b'{"channel":"ticker","type":"update","data":[{"symbol":"ETH/USD","bid":1e999999999}]}',
    "not_utf8": b'{"channel":"book","type":"update","data":[{"symbol":"' + b"\xff\xfe" * 500 + b'"}]}',
    "spaced_book": b'{"channel":"book","type":"update","data": [{"symbol":"ETH/USD","bids":[' + LEVELS + b'],"asks":[]}]}',
    "many_arrays": b'{"channel":"odd","data":[' + b"[]," * 30_000 + b"[]]}",
    "instruments": instruments(1450),
    "megabyte": b'{"channel":"odd","data":"' + b"x" * 1_000_000 + b'"}',
    "five_megabytes": b'{"channel":"odd","data":"' + b"x" * 5_000_000 + b'"}',
}


class Engine:
    """A ready engine and the honest frames; event time moves by a millisecond a frame."""

    def __init__(self, frames: list[bytes]) -> None:
        self.world = World(strategy="none").ready()
        self.world.answering = False
        self.frames = frames
        self.now_ns = 0

    def honest(self, hostile: bytes | None) -> int:
        """Feed all honest frames, a hostile one after each BETWEEN of them; returns the ns of the honest ones."""
        core, took = self.world.core, 0
        for first in range(0, len(self.frames), BETWEEN):
            self.now_ns += BETWEEN * 1_000_000
            mono_ns, wall_ns = self.world.mono_ns + self.now_ns, self.world.now_ns + self.now_ns
            if hostile is not None:
                core.frame(Link.LINK_PRIVATE, hostile, mono_ns, wall_ns)
                core.batch_end(Link.LINK_PRIVATE, mono_ns, wall_ns)
                self._calm()
            rows = [(mono_ns, frame) for frame in self.frames[first : first + BETWEEN]]
            began = time.thread_time_ns()
            core.frames(Link.LINK_PUBLIC, rows)
            took += time.thread_time_ns() - began
        return took

    def hostile(self, frame: bytes) -> None:
        """One hostile frame on a link whose budget is whole."""
        self.now_ns += 1_000_000
        self.world.core.refresh_slow_budget(Link.LINK_PUBLIC)
        self.world.core.frame(Link.LINK_PUBLIC, frame, self.world.mono_ns + self.now_ns, self.world.now_ns + self.now_ns)
        self._calm()

    def _calm(self) -> None:
        self.world.engine.discard_outgoing()


@pytest.fixture(scope="module")
def frames() -> Iterator[list[bytes]]:
    """Honest frames of the BTC depth-25 recording."""
    data = os.environ.get("CSTD_DATA")
    if not data:
        needs.no_data("CSTD_DATA is not set: no recording to drive")
    recording = open_recording(Path(data) / DEFAULT_RECORDING)
    yield [frame.text for frame in recording.frames if frame.direction == "rx" and frame.text.startswith(b'{"channel":"book"')]


def timed(benchmark: Any, work: Callable[[], Any], units: int) -> None:
    """Time `work`, which does `units` of something, and note the cost of one."""
    benchmark.pedantic(work, rounds=TURNS, warmup_rounds=1)
    benchmark.extra_info["ns_each"] = round(benchmark.stats["median"] / units * 1e9, 1)


@pytest.mark.parametrize("kind", HOSTILE)
def test_honest_frames_beside_hostile_ones(benchmark: Any, frames: list[bytes], kind: str) -> None:
    """Time spent in honest frames with hostile ones between them, to that without, in alternating turns of one engine each."""
    alone, beside = Engine(frames), Engine(frames)
    alone.honest(None)
    beside.honest(HOSTILE[kind])
    turns = [(beside.honest(HOSTILE[kind]), alone.honest(None)) for _ in range(TURNS)]
    benchmark.extra_info["ratio"] = round(statistics.median(b / a for b, a in turns), 3)
    benchmark.extra_info["ns_each"] = round(statistics.median(b for b, _ in turns) / len(frames), 1)
    benchmark.extra_info["ns_each_alone"] = round(statistics.median(a for _, a in turns) / len(frames), 1)
    benchmark.extra_info["ratio_max"] = RATIO_MAX
    benchmark.extra_info["flooded_frames"] = beside.world.counters()["flooded_frames"]
    benchmark.pedantic(lambda: beside.honest(HOSTILE[kind]), rounds=1)  # honest and hostile together, for the record
    beside.world.sound()


@pytest.mark.parametrize("kind", HOSTILE)
def test_one_hostile_frame(benchmark: Any, frames: list[bytes], kind: str) -> None:
    """The cost of one hostile frame that the budget lets through, or refuses; ns_a_byte bounds what a flood can take."""
    engine = Engine(frames)
    timed(benchmark, lambda: [engine.hostile(HOSTILE[kind]) for _ in range(10)], 10)
    benchmark.extra_info["bytes"] = len(HOSTILE[kind])
    benchmark.extra_info["ns_a_byte"] = round(benchmark.extra_info["ns_each"] / len(HOSTILE[kind]), 3)
    engine.world.sound()
