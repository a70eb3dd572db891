"""Folds in time: what is learnt from is over before what is judged begins, and what overlaps it is left out.

Purge: a training row whose trade was not over when the test begins knows of it. Embargo: for one more horizon on each side of a
test nothing is learnt either, for neighbouring rows share their windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from cstd.research.models.dataset import Ints
from cstd.research.models.labels import Sample

FOLDS = 5
GROUPS, TEST_GROUPS = 6, 2


def edges(sample: Sample, parts: int) -> Ints:
    """Return the times at which a sample is cut into parts of about as many rows each: parts + 1 of them."""
    decided = sample.rows.decided_s
    return np.append(decided[np.arange(parts) * len(decided) // parts], decided[-1] + 1)


def before(sample: Sample, time_s: int) -> NDArray[np.bool_]:
    """Return which rows may be learnt from for a test that begins at a time."""
    return np.asarray(sample.end_s + sample.horizon_s <= time_s)


def walk_forward(sample: Sample, folds: int = FOLDS) -> Iterator[tuple[Ints, Ints]]:
    """Yield (training, test) rows: each fold is tested after all it has learnt from."""
    cut = edges(sample, folds + 1)
    for start, end in pairwise(cut[1:]):
        test = (sample.rows.decided_s >= start) & (sample.rows.decided_s < end)
        yield np.flatnonzero(before(sample, int(start))), np.flatnonzero(test)


def combinatorial(sample: Sample, groups: int = GROUPS, test_groups: int = TEST_GROUPS) -> Iterator[tuple[Ints, list[Ints]]]:
    """Yield (training rows, rows of each test group) for each choice of test groups; purged and embargoed on both sides."""
    cut = edges(sample, groups)
    decided = sample.rows.decided_s
    for chosen in combinations(range(groups), test_groups):
        train = np.ones(len(sample), np.bool_)
        tests = []
        for group in chosen:
            start, end = int(cut[group]), int(cut[group + 1])
            # Trades that are decided in the last hours of a test end up to a horizon later.
            train &= before(sample, start) | (decided >= end + 2 * sample.horizon_s)
            tests.append(np.flatnonzero((decided >= start) & (decided < end)))
        yield np.flatnonzero(train), tests
