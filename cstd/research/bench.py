"""`cstd bench`: the hot path on this host, in nanoseconds, on authentic frames.

Hot: every frame of a recording leads to an intent (the bench strategy), judged by all fifteen gates under the practice
limits, churn counts opened wide, and encoded with a new client order id. Decision: the same without a wish. Cancel: an opening
that rests, and a frame at which a gate fails for it. Paced: hot with a sleep before each frame, so that the caches cool.
Without a recording named, the BTC depth-25 one of $CSTD_DATA is used.

A shared host runs the same code at half its speed for seconds at a time. So hot, decision and cancel are measured in five
turns, a second apart; the turn with the best median is the result, and the medians of all turns are beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from cstd._fast.bench import counted, drive, drive_pulled
from cstd._fast.hist import STAGES, quantile_ns, read_cycles
from cstd.clock import SystemClock
from cstd.decision.limits import limits_row
from cstd.engine import Engine
from cstd.errors import OperatorError, UsageError
from cstd.research.replay import start_recording
from cstd.signals.agents.loader import LoadedAgents
from cstd.signals.agents.loader import load as load_agents
from cstd.venue.rate import MICRO

DEFAULT_RECORDING = "recordings/kraken-v2-btcusd-d25-20260802.jsonl.zst"
STEP_NS = 10_000_000  # event time between frames: far from every age limit
PACED_FRAMES = 2_000
PACED_PAUSE_NS = 1_000_000
SWEPT_FRAMES = 200  # sweeping the caches takes a simulator much longer than the path does
WARM_ROUNDS = 3
TURNS = 5
TURN_PAUSE_S = 1.0
ROUNDS = 20
HOUR_MINUTES = 60
WIDE_COUNT = 1 << 40
QUANTILES = (("p50", "p50_ns"), ("p99", "p99_ns"), ("p99.9", "p999_ns"))
NS_PER_MIN = 60_000_000_000


def main(args: argparse.Namespace) -> int:
    """Run the verb; prints a table or one JSON object."""
    paths = [Path(name) for name in args.recording or [_default_recording()]]
    result = measure(paths, load_agents())
    if args.output == "json":
        print(json.dumps(result))
        return 0
    for name in ("order", "decision", "cancel", "paced"):
        row = result if name == "order" else result[name]
        quantiles = "   ".join(f"{label} {row[key]:>8,} ns" for label, key in QUANTILES)
        print(f"{name:10} {quantiles}   n {row['n']:,}")
    for name in ("order", "decision", "cancel"):
        turns = (result if name == "order" else result[name])["turns_p50_ns"]
        print(f"{name:10} p50 of each turn  {'  '.join(f'{p50:,}' for p50 in turns)}")
    for name, row in result["stages"].items():
        print(f"  {name:8} p50 {row['p50_ns']:>8,} ns   p99 {row['p99_ns']:>8,} ns")
    print(f"{result['frames_per_s']:,} frames/s with an order on every frame; {result['host']['machine']}", file=sys.stderr)
    return 0


def _default_recording() -> str:
    data = os.environ.get("CSTD_DATA")
    if not data:
        raise UsageError("no recording is named and CSTD_DATA is not set",
                         suggestion="cstd bench --recording FILE, a websocket v2 recording with book frames (*.jsonl.zst), or a "
                                    f"folder in CSTD_DATA that holds {DEFAULT_RECORDING}")
    return str(Path(data) / DEFAULT_RECORDING)


def measure(paths: list[Path], agents: LoadedAgents | None, rounds: int = ROUNDS, turns: int = TURNS) -> dict[str, Any]:
    """Measure on one or more recordings; returns the object that `-o json` prints."""
    ns_per_cycle = cycle_length_ns()
    runs = [Bench(path, agents, ns_per_cycle) for path in paths]
    orders, decisions, cancels = [], [], []
    for turn in range(turns):
        if turn:
            time.sleep(TURN_PAUSE_S)
        orders.append(_orders(runs, rounds))
        decisions.append(_quantiles(np.concatenate([run.decisions(rounds) for run in runs])))
        cancels.append(_quantiles(np.concatenate([run.cancels(rounds) for run in runs])))
    paced = np.concatenate([run.paced() for run in runs])
    return {
        **_best(orders), "decision": _best(decisions), "cancel": _best(cancels), "paced": _quantiles(paced),
        "recordings": [path.name for path in paths],
        "host": {"machine": _machine(), "python": platform.python_version()},
    }


def _orders(runs: list[Bench], rounds: int) -> dict[str, Any]:
    """One turn with an order on every frame: quantiles, the engine's stages, frames a second."""
    busy_ns = sum(run.busy_ns for run in runs)
    samples = np.concatenate([run.orders(rounds) for run in runs])
    busy_ns = sum(run.busy_ns for run in runs) - busy_ns
    return {**_quantiles(samples), "stages": _stages(runs[0]),
            "frames_per_s": int(len(samples) * 1_000_000_000 // max(busy_ns, 1))}


def _best(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """The turn with the lowest median, with the medians of all."""
    return {**min(turns, key=lambda turn: int(turn["p50_ns"])), "turns_p50_ns": [turn["p50_ns"] for turn in turns]}


class Bench:
    """One recording: its frames, and an engine each for the bench strategy and for no wishes."""

    def __init__(self, path: Path, agents: LoadedAgents | None, ns_per_cycle: float) -> None:
        self._ns_per_cycle = ns_per_cycle
        self.engine, frames = start_recording(path, agents, strategy="bench")
        self.idle, _ = start_recording(path, agents, strategy="none")
        self._at_ns = frames[0][0]
        self._frames = [text for _, text in frames]
        self.busy_ns = 0
        for engine in (self.engine, self.idle):
            engine.core.hist.set_scale(ns_per_cycle)
            engine.recorder.digest_passes = False  # as in live: decision rows and order frames alone
            # The first round makes precisions and books known; then limits are opened wide.
            self._drive(engine, self._frames)
            open_limits(engine)

    def _drive(self, engine: Engine, frames: list[bytes], pause_ns: int = 0) -> tuple[Any, Any]:
        result = drive(engine.core, frames, self._at_ns, self._at_ns, STEP_NS, pause_ns)
        self._drove(engine, len(frames))
        return result

    def _drove(self, engine: Engine, frames: int) -> None:
        self._at_ns += STEP_NS * frames
        engine.core.reserve_ids()
        if engine.core.fault is not None:
            raise OperatorError(f"the engine failed under the bench: {engine.core.fault}")

    def orders(self, rounds: int) -> Any:
        """ns from frame to order bytes, for every frame that led to one."""
        _load_hour(self.engine, self._at_ns)
        for _ in range(WARM_ROUNDS):
            self._drive(self.engine, self._frames)
        self.engine.core.hist.reset()
        samples = []
        for _ in range(rounds):
            to_end, to_order = self._drive(self.engine, self._frames)
            samples.append(to_order[to_order > 0])
            self.busy_ns += int(to_end.sum() * self._ns_per_cycle)
        found = np.concatenate(samples) * self._ns_per_cycle
        if len(found) < len(self._frames) * rounds // 2:
            raise OperatorError("fewer than half of the frames led to an order: this is not the path to measure")
        return found

    def decisions(self, rounds: int) -> Any:
        """ns from frame to the end of its decision pass, without a wish, for every frame that led to a pass."""
        for _ in range(WARM_ROUNDS):
            self._drive(self.idle, self._frames)
        to_end = np.concatenate([self._drive(self.idle, self._frames)[0] for _ in range(rounds)])
        return to_end[to_end > 0] * self._ns_per_cycle

    def cancels(self, rounds: int) -> Any:
        """ns from frame to the end of the pass whose cancel is out, for every frame at which a gate failed for what rests."""
        samples = []
        for number in range(WARM_ROUNDS + rounds):
            to_cancel = drive_pulled(self.engine.core, self._frames, self._at_ns, self._at_ns, STEP_NS)
            self._drove(self.engine, len(self._frames))
            if number >= WARM_ROUNDS:
                samples.append(to_cancel[to_cancel > 0])
        found = np.concatenate(samples) * self._ns_per_cycle
        if len(found) < len(self._frames) * rounds // 4:
            raise OperatorError("fewer than a quarter of the frames led to a cancel: this is not the path to measure")
        return found

    def count(self, strategy: str, swept_bytes: int = 0) -> int:
        """Drive the frames once where an instruction counter looks on; returns how many there were. swept_bytes: see `drive`."""
        engine = {"bench": self.engine, "none": self.idle}[strategy]
        frames = self._frames[:SWEPT_FRAMES] if swept_bytes else self._frames
        counted(engine.core, frames, self._at_ns, self._at_ns, STEP_NS, swept_bytes)
        return len(frames)

    def paced(self) -> Any:
        """ns from frame to order bytes with a sleep of a millisecond before each frame."""
        _, to_order = self._drive(self.engine, self._frames[:PACED_FRAMES], PACED_PAUSE_NS)
        return to_order[to_order > 0] * self._ns_per_cycle


def open_limits(engine: Engine) -> None:
    """Limits as shipped but for the churn counts and the rate counter, which an order on every frame would use up at once."""
    if engine.cfg is None:
        raise OperatorError("the engine has not booted")
    for number, name in enumerate(engine.names):
        limits = limits_row(engine.cfg, name).copy()
        limits["parents_instrument_hour_max"] = limits["parents_minute_max"] = WIDE_COUNT
        engine.core.set_limits(number, limits)
        engine.core.slots[number].rate_tune(WIDE_COUNT * MICRO, WIDE_COUNT * MICRO, 0, engine.core.mono_ns)
    # The threshold that the venue tells with the subscription would close the counter again, and orders would wait for it.
    engine.tracker.rates.on_tier = lambda _: None  # type: ignore[method-assign,assignment]


def _load_hour(engine: Engine, at_ns: int) -> None:
    """An hour of bars at the book's own price: a recording of a minute has no history, and the volume gate asks for it."""
    for number in range(len(engine.names)):
        slot = engine.core.slots[number]
        bid_raw = slot.book.levels(1, 1)[0][0]
        last_min = at_ns // NS_PER_MIN
        for minute in range(last_min - HOUR_MINUTES - 1, last_min):
            engine.core.load_bar(number, 0, False, minute * NS_PER_MIN, bid_raw, bid_raw, bid_raw, bid_raw,
                                 slot.qty_scale, 10**15, 1, 0)
        engine.core.tape_begins(number, last_min * NS_PER_MIN)


def _stages(run: Bench) -> dict[str, dict[str, int]]:
    hist = run.engine.core.hist
    rows = {}
    for index, name in enumerate(STAGES):
        counts = hist.stage(index)
        if counts.sum():
            rows[name] = {"n": int(counts.sum()), "p50_ns": quantile_ns(counts, 0.5), "p99_ns": quantile_ns(counts, 0.99)}
    return rows


def _quantiles(samples: Any) -> dict[str, int]:
    p50, p99, p999 = (int(value) for value in np.quantile(samples, (0.5, 0.99, 0.999)))
    return {"n": len(samples), "p50_ns": p50, "p99_ns": p99, "p999_ns": p999}


def cycle_length_ns() -> float:
    """Length of a cycle of the counter, measured over 50 ms."""
    clock = SystemClock()
    first_cycles, first_ns = read_cycles(), clock.mono_ns()
    while clock.mono_ns() - first_ns < 50_000_000:
        pass
    return float((clock.mono_ns() - first_ns) / (read_cycles() - first_cycles))


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
