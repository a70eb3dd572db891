"""The memory and the disk that a configuration takes, for `cstd config check`.

Memory is the sum of what the compiled core allocates before the first frame (cstd/_fast/sizes.pyx reads it off the types
that it allocates), the journal's ring and the board. Not every page of it is touched at once: a book's levels are, when its
first snapshot comes. The disk follows from the rate of frames, which nobody knows beforehand: the default is what a public
recorder measured, or say it with --frames-per-s.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from cstd._fast.journal import RECORD_HEADER_BYTES
from cstd._fast.sizes import correlation_bytes, engine_bytes, slot_bytes
from cstd.config import Config
from cstd.config.problems import Problem
from cstd.ops.board import BOARD_BYTES

S_PER_DAY = 86_400
# Median over a live run of 25 h with five of the busiest pairs at depth 100: 587 messages and 122 kB a second. Most pairs
# are far quieter, so that a plan for hundreds of them is on the safe side.
FRAMES_PER_S_EACH = 587 / 5
FRAME_BYTES = 122_000 / 587
TIMERS_PER_S = 10
FUTURES_FRAME_BYTES = 680  # a ticker of a perpetual, which comes once a second
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_plan(config: Config) -> dict[str, int]:
    """Return the bytes of each part for the configured instruments and depth, in order of size."""
    count = len(config.instruments.names)
    parts = {name: count * size for name, size in slot_bytes(config.instruments.depth).items()}
    parts |= engine_bytes() | {"correlations": correlation_bytes(count, config.risk.correlation_min > 0)}
    if config.projector.enabled:
        parts["projector (an engine of its own)"] = sum(parts.values())
    parts |= {"journal ring": config.journal.ring_bytes, "board": BOARD_BYTES,
                               "interpreter and libraries (of this command)": _resident_bytes()}
    return dict(sorted(parts.items(), key=lambda part: -part[1]))


def _resident_bytes() -> int:
    """Resident bytes of this process, which has imported what the daemon does, or less: the least that it takes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def host_memory_bytes() -> int:
    """Return the memory of the host, or of the control group where that is less."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = CGROUP_LIMIT.read_text().strip() if CGROUP_LIMIT.exists() else "max"
    return min(physical, int(limit)) if limit.isdigit() else physical


def memory_problems(config: Config, host_bytes: int) -> list[Problem]:
    """Return why the configuration does not fit into the host's memory, or nothing."""
    total = sum(memory_plan(config).values())
    if total <= host_bytes:
        return []
    return [Problem(key="instruments.names", value=f"{len(config.instruments.names)} at depth {config.instruments.depth}",
                    reason=f"would take {total:,} bytes of memory", limit=f"{host_bytes:,} bytes, all that this host has",
                    suggestion="fewer instruments, a smaller depth or a smaller journal.ring_bytes")]


def record_bytes(payload_bytes: float) -> float:
    """Bytes of a record in the journal; payloads are padded to eight bytes, on average by three and a half."""
    return RECORD_HEADER_BYTES + payload_bytes + 3.5 if payload_bytes else RECORD_HEADER_BYTES


def journal_plan(config: Config, frames_per_s: float | None, directory: Path | None = None) -> dict[str, Any]:
    """Return how fast the journal grows and how long until trading halts for the disk.

    Args:
        config: the configuration.
        frames_per_s: over all instruments, None for the estimate.
        directory: on the disk, or to be made there; None for `run.dir`.
    """
    rate = frames_per_s if frames_per_s is not None else FRAMES_PER_S_EACH * len(config.instruments.names)
    # Each frame a read of its own is the most that the ends of batches can add. Decisions and orders come on top.
    per_s = rate * (record_bytes(FRAME_BYTES) + record_bytes(0)) + TIMERS_PER_S * record_bytes(0)
    if config.futures is not None:
        products = sum(name in config.futures.names for name in config.instruments.names)
        per_s += products * (record_bytes(FUTURES_FRAME_BYTES) + record_bytes(0))
    directory = (directory or Path(config.run.dir)).absolute()
    while not directory.exists():
        directory = directory.parent
    free = shutil.disk_usage(directory).free
    left = max(0, free - config.journal.disk_free_bytes_min)
    return {
        "frames_per_s": round(rate, 1), "frame_bytes_mean": round(FRAME_BYTES, 1),
        "rate_from": "--frames-per-s" if frames_per_s is not None else
        "an estimate: the median of five busy pairs at depth 100 over 25 h, for each instrument",
        "bytes_per_day_about": round(per_s * S_PER_DAY), "bytes_free": free,
        "days_until_halt": round(left / (per_s * S_PER_DAY), 1),
    }


def plan_lines(config: Config, frames_per_s: float | None, host_bytes: int) -> list[str]:
    """Return the plan in words."""
    parts = memory_plan(config)
    total = sum(parts.values())
    disk = journal_plan(config, frames_per_s)
    width = max(map(len, parts))
    lines = [f"memory, {len(config.instruments.names)} instruments at depth {config.instruments.depth}:"]
    lines += [f"  {name:<{width}}  {size:>14,} bytes" for name, size in parts.items()]
    lines.append(f"  {'in all':<{width}}  {total:>14,} bytes of {host_bytes:,}")
    if 2 * total > host_bytes:
        lines.append("  warning: more than half of this host's memory")
    lines.append(f"journal: about {disk['bytes_per_day_about'] / 1e9:.1f} GB a day at {disk['frames_per_s']:,} frames/s of "
                 f"{disk['frame_bytes_mean']} bytes ({disk['rate_from']})")
    lines.append(f"  {disk['bytes_free']:,} bytes are free where it is: {disk['days_until_halt']} days until trading halts at "
                 f"journal.disk_free_bytes_min = {config.journal.disk_free_bytes_min:,}")
    return lines
