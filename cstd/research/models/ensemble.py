"""From members to a decision: fitting the stack, the calibration of its probability, the interval of the net return.

What is fitted here is computed by `cstd.signals.joining`, which whoever scores uses too: a figure of a card is of what runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from cstd.research.models.dataset import Floats, Ints
from cstd.signals import joining
from cstd.signals.joining import CLIP, logit, sigmoid
from cstd.signals.registry.card import Beta, Conformal, Isotonic, Platt, Stack

Parts = dict[str, Any]

RIDGE = 1e-3  # of the stack's weights, towards equal ones
LEVEL = 0.90
BANDS = 5
BAND_ROWS_MIN = 100
ISOTONIC_ROWS_MIN = 50  # to a point of the line: fewer and its ends are luck
ISOTONIC_POINTS_MAX = 200
NEWTON_STEPS = 50


def log_loss(p: Floats, event: Floats) -> float:
    """Return the mean negative log likelihood."""
    inside = np.clip(p, CLIP, 1 - CLIP)
    return float(-np.mean(event * np.log(inside) + (1 - event) * np.log(1 - inside)))


def _logistic(columns: Floats, event: Floats, prior: Floats, ridge: float) -> Floats:
    """Return weights and, last, intercept of a logistic regression by Newton's method; ridge pulls weights to the prior."""
    matrix = np.column_stack([columns, np.ones(len(columns))])
    towards, pull = np.append(prior, 0.0), np.append(np.full(len(prior), ridge), 1e-9)
    found = towards.copy()
    for _ in range(NEWTON_STEPS):
        p = sigmoid(matrix @ found)
        gradient = matrix.T @ (p - event) / len(event) + pull * (found - towards)
        weight = np.maximum(p * (1 - p), 1e-9)
        step = np.linalg.solve((matrix * weight[:, None]).T @ matrix / len(event) + np.diag(pull), gradient)
        found -= np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            break
    return found


def fit_stack(members: Mapping[str, Floats], event: Floats) -> Parts:
    """Return weights and intercept of members; one that would count negatively gets the weight 0."""
    used = list(members)
    while True:
        columns = np.column_stack([logit(members[name]) for name in used])
        found = _logistic(columns, event, np.full(len(used), 1 / len(used)), RIDGE)
        worst = int(np.argmin(found[:-1]))
        if found[worst] >= 0 or len(used) == 1:
            break
        used.pop(worst)
    weights = dict(zip(used, np.maximum(found[:-1], 0).tolist(), strict=True))
    return {"weights": {name: weights.get(name, 0.0) for name in members}, "intercept": float(found[-1])}


def stacked(stack: Parts, members: Mapping[str, Floats]) -> Floats:
    """Return the stack's probability, not calibrated."""
    return joining.stacked(msgspec.convert(stack, Stack), members)


def fit_calibration(score: Floats, event: Floats, fitting: Ints, choosing: Ints) -> Parts:
    """Return the best of isotonic, Platt and beta: fitted on some rows, chosen by others, fitted anew on all.

    Args:
        score: the stack's probabilities out of sample, in the order of time.
        event: what came.
        fitting, choosing: places of rows; no trade of the first is open when the second begin.
    """
    losses = {method: log_loss(calibrated(fit(score[fitting], event[fitting]), score[choosing]), event[choosing])
              for method, fit in METHODS.items()}
    return METHODS[min(losses, key=lambda method: losses[method])](score, event)


def _platt(score: Floats, event: Floats) -> Parts:
    a, b = _logistic(logit(score)[:, None], event, np.ones(1), 1e-6)
    return {"method": "platt", "a": float(max(a, 0.0)), "b": float(b)}


def _beta(score: Floats, event: Floats) -> Parts:
    inside = np.clip(score, CLIP, 1 - CLIP)
    columns = np.column_stack([np.log(inside), -np.log(1 - inside)])
    a, b, c = _logistic(columns, event, np.ones(2), 1e-6)
    if min(a, b) >= 0:
        return {"method": "beta", "a": float(a), "b": float(b), "c": float(c)}
    # Kull's rule: a negative one would make the line fall somewhere, so it is 0 and the other is fitted alone.
    kept = int(np.argmax((a, b)))
    one, c = _logistic(columns[:, [kept]], event, np.ones(1), 1e-6)
    both = [0.0, 0.0]
    both[kept] = float(max(one, 0.0))
    return {"method": "beta", "a": both[0], "b": both[1], "c": float(c)}


@dataclass
class _Pool:
    """Rows of one or more neighbouring scores."""

    score: float  # sum of scores
    events: float
    rows: float
    least: float
    most: float

    def add(self, other: _Pool) -> None:
        """Take in the next one."""
        self.score, self.events, self.rows, self.most = (self.score + other.score, self.events + other.events,
                                                         self.rows + other.rows, other.most)

    @property
    def x(self) -> float:
        """The mean score, inside its own scores whatever sums round to: pools of other scores never share it."""
        return min(max(self.score / self.rows, self.least), self.most)

    @property
    def y(self) -> float:
        """The share of events. A share of few rows may be 0 or 1; of n rows nothing beyond 1/(n+2) is known (Laplace)."""
        return min(max(self.events / self.rows, 1 / (self.rows + 2)), 1 - 1 / (self.rows + 2))


def _isotonic(score: Floats, event: Floats) -> Parts:
    """Return the rising line: shares of rows of near scores, neighbours that fall pooled until none do.

    Rows of one score are one point, in whatever order they came.
    """
    values, place, count = np.unique(score, return_inverse=True, return_counts=True)
    events = np.bincount(place, event, len(values))
    enough = max(ISOTONIC_ROWS_MIN, -(-len(score) // ISOTONIC_POINTS_MAX))
    groups: list[_Pool] = []
    for value, came, rows in zip(values.tolist(), events.tolist(), count.tolist(), strict=True):
        one = _Pool(value * rows, came, rows, value, value)
        if groups and groups[-1].rows < enough:
            groups[-1].add(one)
        else:
            groups.append(one)
    if len(groups) > 1 and groups[-1].rows < enough:
        left = groups.pop()
        groups[-1].add(left)
    pools: list[_Pool] = []
    for group in groups:
        pools.append(group)
        while len(pools) > 1 and pools[-2].events * pools[-1].rows >= pools[-1].events * pools[-2].rows:
            last = pools.pop()
            pools[-1].add(last)
    line = np.maximum.accumulate([pool.y for pool in pools])
    return {"method": "isotonic", "x": [pool.x for pool in pools], "y": line.tolist()}


METHODS = {"isotonic": _isotonic, "platt": _platt, "beta": _beta}


def calibrated(calibration: Parts, score: Floats) -> Floats:
    """Return calibrated probabilities."""
    return joining.calibrated(msgspec.convert(calibration, Isotonic | Platt | Beta), score)


def fit_conformal(probability: Floats, net: Floats, level: float = LEVEL) -> Parts:
    """Return the interval of the net return in bands of the probability, by split conformal quantiles of each band.

    A band of n rows gives the order statistics at (1 - level)/2 and (1 + level)/2 of n + 1, which cover at least `level` of what
    is exchangeable with them.
    """
    bands = max(1, min(BANDS, len(net) // BAND_ROWS_MIN))
    edges = sorted(set(np.quantile(probability, np.arange(1, bands) / bands).tolist()))
    band = np.searchsorted(edges, probability, side="right")
    while edges:  # equal probabilities can leave a band too few rows: it joins its neighbour
        count = np.bincount(band, minlength=len(edges) + 1)
        if count.min() >= min(BAND_ROWS_MIN, len(net) // 2):
            break
        edges.pop(max(0, int(np.argmin(count)) - 1))
        band = np.searchsorted(edges, probability, side="right")
    lower, upper = [], []
    for i in range(len(edges) + 1):
        ordered = np.sort(net[band == i])
        out = int((1 - level) / 2 * (len(ordered) + 1))
        lower.append(float(ordered[max(0, out - 1)]))
        upper.append(float(ordered[min(len(ordered) - 1, len(ordered) - max(1, out))]))
    return {"level": level, "lower": lower, "upper": upper, "edges": edges}


def interval(conformal: Parts, probability: Floats) -> tuple[Floats, Floats]:
    """Return lower and upper end of the net return's interval of each row."""
    return joining.interval(msgspec.convert(conformal, Conformal), probability)
