"""Small functions for agent sources, compiled into the agent that calls them. Never imported by the trading process."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(inline="always")
def has(valid, feature):  # type: ignore[no-untyped-def]
    """Return whether a feature is valid; agents must ask before they read one."""
    at = np.uint64(feature)
    return (valid[at >> np.uint64(6)] >> (at & np.uint64(63))) & np.uint64(1) != np.uint64(0)


@numba.njit(inline="always")
def clamp(x, low, high):  # type: ignore[no-untyped-def]
    """Return x, or the bound it is beyond."""
    return low if x < low else (high if x > high else x)
