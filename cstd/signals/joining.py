"""From the members' probabilities to one calibrated probability and its interval: what training fits and the scorer computes.

Vectorised over rows, float64. Training and scoring call the same functions, so a figure on a card is of what runs.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cstd.signals.registry.card import Beta, Conformal, Isotonic, Platt, Stack, as_list

Floats = NDArray[np.float64]
# A member that says 0 or 1 would outvote every other whatever they say.
CLIP = 1e-6


def logit(probability: Floats) -> Floats:
    """Return ln(p / (1 - p)), p kept 1e-6 away from 0 and 1."""
    p = np.clip(np.asarray(probability, np.float64), CLIP, 1 - CLIP)
    return np.asarray(np.log(p) - np.log1p(-p))


def sigmoid(value: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), x kept where exp does not overflow."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(value, -700.0, 700.0))))


def stacked(stack: Stack, probabilities: Mapping[str, Floats]) -> Floats:
    """Return the stack's probability of each row from the probabilities of its members by name."""
    rows = len(next(iter(probabilities.values())))
    total = np.full(rows, stack.intercept)
    for name in sorted(stack.weights):  # in one order: the sum is the same on every host
        total += stack.weights[name] * logit(probabilities[name])
    return sigmoid(total)


def calibrated(calibration: Isotonic | Platt | Beta, probability: Floats) -> Floats:
    """Return the calibrated probability of each row."""
    if isinstance(calibration, Isotonic):
        return np.asarray(np.interp(probability, calibration.x, calibration.y))
    if isinstance(calibration, Platt):
        return sigmoid(calibration.a * logit(probability) + calibration.b)
    p = np.clip(probability, CLIP, 1 - CLIP)
    return sigmoid(calibration.a * np.log(p) - calibration.b * np.log1p(-p) + calibration.c)


def interval(conformal: Conformal, probability: Floats) -> tuple[Floats, Floats]:
    """Return lower and upper end of the net return of each row, as fractions, from its calibrated probability."""
    band = np.searchsorted(np.asarray(conformal.edges, np.float64), probability, side="right")
    return np.asarray(as_list(conformal.lower), np.float64)[band], np.asarray(as_list(conformal.upper), np.float64)[band]
