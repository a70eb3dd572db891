"""Resident memory of the engine over a great many frames: flat, or the program says how it grew.

    python bench/memory.py [--frames N] [--journal off|on|both] [-o table|json] [--result FILE]

The recorded frames of the BTC depth-25 recording (CSTD_DATA), over and over, through the engine's whole path without a wish,
in one process each: without a journal, and with one whose ring is in memory and whose thread writes, hashes and syncs segments
to a temporary folder. Segments that are full are deleted as it goes, or 10**8 frames would take tens of gigabytes. Exit 3 when
the process's own memory (RssAnon) grew after the first tenth.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import result

from cstd._fast.bench import drive
from cstd.research.bench import DEFAULT_RECORDING, STEP_NS, Bench
from cstd.signals.agents.loader import load
from cstd.storage.journal import open_journal

RING_BYTES = SEGMENT_BYTES = 1 << 26
SAMPLES = 50
GROWTH_KIB_MAX = 0


def main() -> int:
    parser = argparse.ArgumentParser(description="resident memory over many frames")
    parser.add_argument("--frames", type=int, default=100_000_000, metavar="N", help="frames of each process (default 10**8)")
    parser.add_argument("--journal", choices=("off", "on", "both"), default="both")
    parser.add_argument("-o", choices=("table", "json"), default="table")
    parser.add_argument("--drive", choices=("off", "on"), help=argparse.SUPPRESS)
    result.add_arguments(parser)
    args = parser.parse_args()
    data = os.environ.get("CSTD_DATA")
    if not data:
        sys.exit("bench/memory.py: CSTD_DATA is not set: there are no frames to run")
    if args.frames < 100_000:
        parser.error("--frames: at least 100,000")
    if args.drive:
        print(json.dumps(run(Path(data) / DEFAULT_RECORDING, args.frames, journal=args.drive == "on")))
        return 0
    kinds = ("off", "on") if args.journal == "both" else (args.journal,)
    rows = {f"journal {kind}": child(kind, args.frames) for kind in kinds}
    print(json.dumps(rows)) if args.o == "json" else show(rows)
    result.keep(args, "memory", rows)
    return 3 if any(row["grown_kib"] > GROWTH_KIB_MAX or row["fault"] for row in rows.values()) else 0


def child(journal: str, frames: int) -> dict[str, Any]:
    """One process with its own memory to look at."""
    done = subprocess.run([sys.executable, __file__, "--drive", journal, "--frames", str(frames)], stdout=subprocess.PIPE,
                          check=False, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
    if done.returncode:
        sys.exit(f"bench/memory.py: the process with journal {journal} ended with {done.returncode}")
    return dict(json.loads(done.stdout))


def run(recording: Path, wanted: int, *, journal: bool) -> dict[str, Any]:
    """Drive `wanted` frames and look at memory fifty times on the way."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(recording, load(), ns_per_cycle=0.4)
        core, at_ns = bench.idle.core, bench._at_ns
        frames = [frame for frame in bench._frames if b'"channel":"book"' in frame]
        kept = open_journal(Path(folder) / "journal", Path("/dev/shm") / f"cstd-memory-{os.getpid()}.ring",
                            ring_bytes=RING_BYTES, segment_bytes=SEGMENT_BYTES, sync_interval_ms=50) if journal else None
        if kept is not None:
            bench.idle.recorder.attach(kept)
        gc.collect()
        gc.freeze()
        samples: list[dict[str, int]] = []
        done, began_s = 0, time.monotonic()
        try:
            while done < wanted:
                drive(core, frames, at_ns, at_ns, STEP_NS)
                at_ns += STEP_NS * len(frames)
                done += len(frames)
                if kept is not None:
                    make_room(kept, Path(folder) / "journal")
                if done >= len(samples) * wanted // SAMPLES:
                    samples.append({"frames": done, **memory()})
        finally:
            if kept is not None:
                kept.close()
                Path(kept.ring_path).unlink()
    steady = [row["RssAnon"] for row in samples[len(samples) // 10:]]
    return {"frames": done, "seconds": round(time.monotonic() - began_s, 1), "grown_kib": steady[-1] - steady[0],
            "RssAnon_kib": {"least": min(steady), "most": max(steady)}, "samples": samples,
            "checksums_bad": core.counter_values()["checksums_bad"], "fault": str(core.fault) if core.fault else ""}


def make_room(journal: Any, directory: Path) -> None:
    """Wait while the disk is behind by half the ring, and delete the segments that are done with."""
    while journal.stats()["pending_bytes"] > RING_BYTES // 2:
        time.sleep(0.002)
    for path in sorted(directory.glob("segment-*.cstd"))[:-2]:
        path.unlink()


def memory() -> dict[str, int]:
    """Resident memory by kind, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return {line.partition(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "RssAnon", "RssShmem"))}


def show(rows: dict[str, dict[str, Any]]) -> None:
    """Print ten samples of each and the verdict."""
    for name, row in rows.items():
        for sample in row["samples"][:: max(1, len(row["samples"]) // 10)]:
            print(f"{name}  {sample['frames']:>13,} frames   own {sample['RssAnon']:>8,} KiB   all {sample['VmRSS']:>8,} KiB")
        print(f"{name}  {row['frames']:,} frames in {row['seconds']:,} s: own memory grew by {row['grown_kib']:,} KiB")


if __name__ == "__main__":
    sys.exit(main())
