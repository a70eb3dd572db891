"""What the stage histograms cost a frame: the path with them and the path built without them, turn by turn.

    python bench/measuring.py [--rounds N] [-o table|json] [--result FILE]

The compiled core is built a second time, in a copy of the tree below build/, with CSTD_NO_STAGES: no reading of the cycle
counter, no bucket. Both builds then drive the recorded BTC depth-25 frames (CSTD_DATA) in processes that live through the whole
run and take turns; a turn is timed as a whole by the monotonic clock. `decision`: a frame to the end of its pass; `order`: an
order on every frame.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import paired
import result

ROOT = Path(__file__).resolve().parents[1]
COPY = ROOT / "build" / "unmeasured"
PASSES = 20  # over the recording, in each turn
PATHS = {"decision": "none", "order": "bench"}


def main() -> int:
    parser = argparse.ArgumentParser(description="the cost of the stage histograms, by a build without them")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each (default 15)")
    parser.add_argument("-o", choices=("table", "json"), default="table")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    result.add_arguments(parser)
    args = parser.parse_args()
    if not os.environ.get("CSTD_DATA"):
        sys.exit("bench/measuring.py: CSTD_DATA is not set: there are no frames to measure on")
    if args.serve:
        serve()
        return 0
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least one")
    build()
    figures = measure(args.rounds)
    print(json.dumps(figures)) if args.o == "json" else show(figures)
    result.keep(args, "measuring", figures)
    return 0


def show(figures: dict[str, Any]) -> None:
    """Print two lines a path."""
    for path, row in figures.items():
        print(f"{path:10} {paired.told('the histograms cost', row)}")


def build() -> None:
    """Copy the tree and build its core without the stage timers."""
    sys.stderr.write("building the compiled core without its stage timers\n")
    COPY.mkdir(parents=True, exist_ok=True)
    for name in ("cstd", "config", "bench"):
        shutil.rmtree(COPY / name, ignore_errors=True)
        shutil.copytree(ROOT / name, COPY / name, ignore=lambda folder, names: [
            n for n in names if n == "__pycache__" or (n.endswith(".so") and "prebuilt" not in folder)])
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy2(ROOT / name, COPY / name)
    done = subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=COPY, check=False,
                          env=os.environ | {"CSTD_NO_STAGES": "1"}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench/measuring.py: the build failed:\n{done.stderr[-2000:]}")


def measure(rounds: int) -> dict[str, Any]:
    """Let the two builds take turns."""
    sides = {"with": start(ROOT), "without": start(COPY)}
    found: dict[str, dict[str, list[float]]] = {path: {side: [] for side in sides} for path in PATHS}
    try:
        for number in range(rounds):
            for side in sides if number % 2 else reversed(sides):
                for path in PATHS:
                    row = ask(sides[side], path)
                    if row["stages"] != (side == "with"):
                        sys.exit(f"bench/measuring.py: the build {side} stage timers is not that")
                    found[path][side].append(row["ns"])
    finally:
        for process in sides.values():
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
    return {path: paired.compare(times["with"], times["without"]) for path, times in found.items()}


def start(tree: Path) -> subprocess.Popen[str]:
    """A process that drives frames when it is asked to, with the modules of one tree."""
    return subprocess.Popen([sys.executable, str(tree / "bench" / "measuring.py"), "--serve"], cwd=tree, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(tree)})


def ask(process: subprocess.Popen[str], path: str) -> dict[str, Any]:
    """One turn: nanoseconds a frame, and whether its stages were timed."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{path}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        sys.exit("bench/measuring.py: a driving process has ended")
    return dict(json.loads(answer))


def serve() -> None:
    """Answer each line, a path's name, with one turn of it."""
    from cstd._fast.bench import drive
    from cstd.research.bench import DEFAULT_RECORDING, STEP_NS, Bench, _load_hour
    from cstd.signals.agents.loader import load

    bench = Bench(Path(os.environ["CSTD_DATA"]) / DEFAULT_RECORDING, load(), ns_per_cycle=0.4)
    engines = {"none": bench.idle, "bench": bench.engine}
    frames, at_ns = bench._frames, bench._at_ns
    for line in sys.stdin:
        engine = engines[PATHS[line.strip()]]
        core = engine.core
        core.hist.reset()
        if engine is bench.engine:
            _load_hour(engine, at_ns)
        took_ns = 0
        for _ in range(PASSES):
            began_ns = time.perf_counter_ns()
            drive(core, frames, at_ns, at_ns, STEP_NS)
            took_ns += time.perf_counter_ns() - began_ns
            at_ns += STEP_NS * len(frames)
            core.reserve_ids()
        if core.fault is not None:
            sys.exit(f"bench/measuring.py: the engine failed: {core.fault}")
        timed = any(core.hist.stage(stage).any() for stage in range(9))
        print(json.dumps({"ns": took_ns / PASSES / len(frames), "stages": timed}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
