"""From members to one probability: the arithmetic beside sums written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cstd.signals.joining import calibrated, interval, logit, sigmoid, stacked
from cstd.signals.registry.card import Beta, Conformal, Isotonic, Platt, Stack

P = np.array([0.0, 0.1, 0.5, 0.9, 1.0])


def test_a_stack_adds_logits() -> None:
    """intercept + sum of weight times logit; a member that says 0 or 1 is worth no more than one in a million."""
    found = stacked(Stack({"a": 0.5, "b": 2.0}, -0.3), {"a": np.array([0.2]), "b": np.array([0.6])})
    want = -0.3 + 0.5 * math.log(0.2 / 0.8) + 2.0 * math.log(0.6 / 0.4)
    assert found == pytest.approx(1 / (1 + math.exp(-want)), rel=1e-12)
    assert sigmoid(logit(P)) == pytest.approx(np.clip(P, 1e-6, 1 - 1e-6), rel=1e-9)


def test_calibrations() -> None:
    """Platt and beta as their formulas; isotonic between its points, and flat outside."""
    assert calibrated(Platt(1.0, 0.0), P[1:4]) == pytest.approx(P[1:4], rel=1e-12)
    assert calibrated(Platt(2.0, 0.5), np.array([0.3])) == pytest.approx(
        1 / (1 + math.exp(-(2 * math.log(0.3 / 0.7) + 0.5))), rel=1e-12)
    assert calibrated(Beta(1.5, 0.5, 0.2), np.array([0.3])) == pytest.approx(
        1 / (1 + math.exp(-(1.5 * math.log(0.3) - 0.5 * math.log(0.7) + 0.2))), rel=1e-12)
    assert calibrated(Isotonic([0.2, 0.4], [0.1, 0.3]), np.array([0.0, 0.3, 0.9])) == pytest.approx([0.1, 0.2, 0.3])


def test_intervals_by_band() -> None:
    """One pair for all, or one for each band of probability; an edge belongs to the band above it."""
    lower, upper = interval(Conformal(0.9, -0.01, 0.02), P)
    assert set(lower) == {-0.01} and set(upper) == {0.02}
    lower, upper = interval(Conformal(0.9, [-0.03, -0.01], [0.01, 0.04], [0.5]), P)
    assert list(lower) == [-0.03, -0.03, -0.01, -0.01, -0.01] and list(upper) == [0.01, 0.01, 0.04, 0.04, 0.04]
