"""Instructions per frame of the compiled path, counted by callgrind, against a stored budget.

    python bench/instructions.py            count and compare; exit 3 when a budget is exceeded
    python bench/instructions.py --update   store what was counted
    python bench/instructions.py --result FILE   and write it as a result file
    python bench/instructions.py --cold     instead, the cache lines that a frame needs when nothing of the path is cached

A count does not depend on how busy the host is, so it sees a slow-down that no timing on a shared machine would. What is
counted: what `drive` of cstd/_fast/bench.pyx calls, over the frames of the BTC depth-25 recording (CSTD_DATA), without the
hashing of the digest and of the next id, which runs between batches, in code that the processor's extensions choose.
`decision`: frame to the end of its pass, no wish. `order`: an intent on every frame, fifteen gates, order bytes, records.
Needs valgrind.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cstd.research.bench import DEFAULT_RECORDING, Bench
from cstd.signals.agents.loader import load

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import result  # noqa: E402 - this folder is no package

BUDGET = HERE / "instructions.json"
STRATEGIES = {"decision": "none", "order": "bench"}
COUNTED = "*bench_*counted*"
LEFT_OUT = re.compile(r"cstd_sha256|OrderIds__hash_id|OrderIds__id_seen|bench_\d+drive|bench__sweep")
# Our modules, the agents (code without a file to an emulator), and what both call in libc; the interpreter is not the path.
PATH_OBJECTS = re.compile(r"/cstd/|\?\?\?|/libc\.so|/libm\.so")
SHOWN = 12
# For `--cold`. The second cache is small, so that the sweep that empties it takes little time; the path fits in it many times.
# No code stays in the first: the sweep reads data alone.
SECOND_CACHE_BYTES = 1 << 18
CACHES = ["--cache-sim=yes", "--I1=1024,2,64", "--D1=32768,8,64", f"--LL={SECOND_CACHE_BYTES},16,64"]


def main() -> int:
    parser = argparse.ArgumentParser(description="instructions per frame against the stored budget")
    parser.add_argument("--update", action="store_true", help="store what was counted as the new budget")
    parser.add_argument("--cold", action="store_true", help="instead, the cache lines that a frame needs when nothing is cached")
    parser.add_argument("--drive", choices=sorted(STRATEGIES), help=argparse.SUPPRESS)
    parser.add_argument("--swept-bytes", type=int, default=0, help=argparse.SUPPRESS)
    result.add_arguments(parser)
    args = parser.parse_args()
    if args.cold and (args.update or args.result):
        parser.error("--cold prints a table: there is no budget of it to store, and no result file")
    data = os.environ.get("CSTD_DATA")
    if not data:
        sys.exit("bench/instructions.py: CSTD_DATA is not set: there are no frames to count on")
    if args.drive:
        drive(Path(data) / DEFAULT_RECORDING, STRATEGIES[args.drive], args.swept_bytes)
        return 0
    if shutil.which("valgrind") is None:
        sys.exit("bench/instructions.py: valgrind is not installed")
    if args.cold:
        show_cold({name: cold(name) for name in STRATEGIES})
        return 0
    counts = {name: count(name) for name in STRATEGIES}
    if args.update:
        stored = json.loads(BUDGET.read_text())
        BUDGET.write_text(json.dumps(stored | {"instructions_per_frame": {name: n for name, (n, _) in counts.items()}},
                                     indent=1) + "\n")
    result.keep(args, "instructions", {"instructions_per_frame": {name: n for name, (n, _) in counts.items()}})
    return compare(counts)


def drive(recording: Path, strategy: str, swept_bytes: int) -> None:
    """The counted process: one round over the recording; prints how many frames that were."""
    print(Bench(recording, load(), ns_per_cycle=0.4).count(strategy, swept_bytes))


def count(name: str) -> tuple[int, list[str]]:
    """Return the instructions per frame and the functions that most of them are in."""
    frames, rows = callgrind(name, ["Ir"], [])
    return sum(n for (n,), _ in rows) // frames, [f"{n // frames:>8,}  {function}" for (n,), function in rows[:SHOWN]]


def cold(name: str) -> tuple[int, list[tuple[list[int], str]]]:
    """Frames, and per function the lines that missed all simulated caches: code, data read, data written."""
    frames, rows = callgrind(name, ["ILmr", "DLmr", "DLmw"], CACHES, ["--swept-bytes", str(2 * SECOND_CACHE_BYTES)])
    return frames, rows


def callgrind(name: str, events: list[str], options: list[str],
              driven: list[str] | None = None) -> tuple[int, list[tuple[list[int], str]]]:
    """Count events over the recording; returns the number of frames and a row per function of the path, the largest first."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no", *options,
             f"--toggle-collect={COUNTED}", sys.executable, __file__, "--drive", name, *(driven or [])],
            capture_output=True, text=True, check=False, cwd=HERE.parent, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
        if done.returncode:
            sys.exit(f"bench/instructions.py: valgrind failed:\n{done.stderr[-2000:]}")
        shown = ",".join(events)
        listing = subprocess.run(
            ["callgrind_annotate", "--auto=no", "--threshold=100", f"--show={shown}", f"--sort={shown}", str(out)],
            capture_output=True, text=True, check=True).stdout
    row = re.compile(r"^ *" + r"([\d,]+|\.)(?: +\([ \d.]+%\))? +" * len(events) + r".*?:(\S+) \[(.*)\]$", re.MULTILINE)
    rows = [([int(n.replace(",", "").replace(".", "0")) for n in counted], function)
            for *counted, function, where in row.findall(listing) if PATH_OBJECTS.search(where) and not LEFT_OUT.search(function)]
    if not any("cstd_gates_evaluate" in function or "Scanner" in function for _, function in rows):
        sys.exit(f"bench/instructions.py: the path is not in what callgrind_annotate lists:\n{listing[:2000]}")
    return int(done.stdout), rows


def show_cold(counts: dict[str, tuple[int, list[tuple[list[int], str]]]]) -> None:
    """Print the lines of a frame, whole and by function."""
    print(f"{'lines of 64 bytes a frame':40} {'code':>6} {'read':>6} {'written':>8}")
    for name, (frames, rows) in counts.items():
        for function, lines in [(name, [sum(column) for column in zip(*(lines for lines, _ in rows), strict=True)]),
                                *(("  " + function[-36:], lines) for lines, function in rows[:SHOWN])]:
            code, read, written = (n / frames for n in lines)
            print(f"{function:40} {code:>6.0f} {read:>6.0f} {written:>8.0f}")


def compare(counts: dict[str, tuple[int, list[str]]]) -> int:
    """Print each count beside its budget; 3 when one is above what is tolerated."""
    stored = json.loads(BUDGET.read_text())
    exceeded = False
    for name, (counted, top) in counts.items():
        budget = stored["instructions_per_frame"][name]
        over_frac = counted / budget - 1
        verdict = "EXCEEDED" if over_frac > stored["tolerance_frac"] else "ok"
        print(f"{name:10} {counted:>8,} instructions/frame   budget {budget:>8,}   {over_frac:+7.2%}   {verdict}")
        if verdict != "ok":
            exceeded = True
            print("\n".join(["  of these, by function:", *top]))
    return 3 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
