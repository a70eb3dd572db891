"""What agents are compiled for, and the environment of the child processes that compile them."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def target_cpu() -> str:
    """Return the fixed processor agents are compiled for: old enough for every host, and without fused multiply-add."""
    return "x86-64-v2" if platform.machine() == "x86_64" else "generic"


def child_environment(cache: Path) -> dict[str, str]:
    """Return the whole environment of a child; only the search paths are taken over from ours.

    numba itself is pinned to the same processor: it would otherwise vectorise for this host before we choose another.
    """
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONHASHSEED": "0",
        "HOME": str(cache),
        "TMPDIR": str(cache),
        "NUMBA_CACHE_DIR": str(cache),
        "NUMBA_CPU_NAME": target_cpu(),
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_DISABLE_INTEL_SVML": "1",
    }
