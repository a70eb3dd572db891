"""What every live bench writes besides its figures: the machine, the commit, the versions."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("cstd", "picows", "uvloop", "numpy", "Cython")


def about(name: str) -> dict[str, Any]:
    """The common part of a result."""
    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return {
        "bench": name, "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": git("rev-parse", "HEAD") or None, "modified": bool(git("status", "--porcelain", "--untracked-files=no")),
        "machine": {"processor": processor(), "cpus": os.cpu_count(), "kernel": platform.release(),
                    "load_1m": round(os.getloadavg()[0], 2)},
        "versions": {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
    }


def version(package: str) -> str | None:
    """The installed version of a package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def quantiles(samples_ns: list[int]) -> dict[str, int]:
    """Count, p50, p99 and p99.9 in ns."""
    p50, p99, p999 = (int(value) for value in np.quantile(samples_ns, (0.5, 0.99, 0.999)))
    return {"n": len(samples_ns), "p50_ns": p50, "p99_ns": p99, "p999_ns": p999}


def write(result: dict[str, Any], args: argparse.Namespace) -> None:
    """Keep the result in the file of `-o`, if one is named."""
    if args.o is not None:
        Path(args.o).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"written: {args.o}", file=sys.stderr)
