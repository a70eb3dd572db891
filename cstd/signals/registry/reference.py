"""What a model's rows were like in training, as its card says it: what drift is measured against (cstd.signals.drift)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec

BINS = 10
WINDOW_ROWS = 500  # of one instrument: three weeks of hours, 42 hours of five minutes


class FeatureReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature as training saw it: `counts` of rows in the bins that `edges` divide (a value on an edge is below it), and the
    greatest PSI that a window of training's own rows had."""

    edges: list[float]
    counts: list[int]
    psi_max: float


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a model's rows were like in training: `rows` of them, and each feature."""

    rows: int
    window_rows: int
    features: dict[str, FeatureReference]


def problem_of(reference: Reference, names: Sequence[str]) -> str:
    """Return what is wrong with a card's reference, "" where nothing is."""
    if set(reference.features) != set(names):
        return "it is not of the card's features"
    if reference.window_rows != WINDOW_ROWS:
        return f"its windows are of {reference.window_rows} rows, not {WINDOW_ROWS}"
    for name, one in reference.features.items():
        if len(one.edges) >= BINS or not all(map(math.isfinite, one.edges)) or any(a >= b for a, b in pairwise(one.edges)):
            return f"the edges of {name[:64]} do not rise"
        if len(one.counts) != len(one.edges) + 1 or min(one.counts) < 0 or not 0 < sum(one.counts) == reference.rows:
            return f"the counts of {name[:64]} are not of its rows"
        if not 0 <= one.psi_max < math.inf:
            return f"the greatest PSI of {name[:64]} is no number from 0 up"
    return ""
