"""CSTD_DEBUG=1 makes a build that ends the process at a broken invariant; a release has none of it."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from cstd._fast import indicators
from cstd._fast.layout import checked_build

WRONG_INDEX = """
from cstd._fast.core import Core
from cstd._fast.recorder import Recorder
from cstd.orders.lifecycle import TABLE
Core(Recorder(), TABLE).order_filled(-1, 0)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with the sanitizers where this one has them."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)})


def test_a_broken_invariant_ends_the_checked_build() -> None:
    """An index outside the order table ends the checked build, which names the invariant; a release does not look."""
    ended = run(WRONG_INDEX)
    assert ("broken invariant: an order is in the table" in ended.stderr) == checked_build
    if checked_build:
        assert ended.returncode != 0


def test_the_sanitizers_run_the_checked_build() -> None:
    """Where the sanitizers' library is preloaded, the build is the checked one: `make sanitize` tests no release."""
    assert checked_build == ("libasan" in os.environ.get("LD_PRELOAD", ""))


if checked_build:  # in a release nobody looks, and reading there is not tried
    def test_bounds_of_typed_arrays_are_checked() -> None:
        """An element outside a typed array is an IndexError."""
        short, whole = np.ones(2), np.ones(3)
        rows = np.zeros((len(indicators.NAMES), 3))
        with pytest.raises(IndexError):
            indicators._fill(indicators.BarIndicators(60 * 10**9), [whole, whole, whole, whole, short], rows,
                             np.zeros(3, np.uint64))
