"""Portfolio weights for research: minimum variance and hierarchical risk parity over a shrunk covariance.

Nothing here trades: it is for who decides how capital is spread before a strategy runs. Both are long only, and their weights
sum to one.

**Covariance.** The sample covariance of simple returns, shrunk toward one with the same variances and one common correlation
(their mean), by the intensity that Ledoit and Wolf derive from the data ("Honey, I Shrunk the Sample Covariance Matrix", 2004).
With few returns the sample's extreme correlations are mostly noise, and an optimiser would bet on just those.

**Minimum variance**: the long-only weights of least variance, by an active set: the best weights of a subset, from which what
would be sold short leaves and what would lower the variance comes back, until neither is left.

**Hierarchical risk parity** (Lopez de Prado, "Building Diversified Portfolios that Outperform Out of Sample", 2016): instruments
are ordered by single-linkage clustering of sqrt((1 - correlation) / 2), and the weight is split down that order between halves,
each in inverse proportion to its variance at inverse-variance weights. It inverts no matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cstd.errors import OperatorError

Matrix = NDArray[np.float64]
METHODS = ("hrp", "minvar")
RETURNS_MIN = 30
INSTRUMENTS_MAX = 200
ROUNDS_MAX = 10_000
# Relative to the variances: what is below it is rounding.
TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True)
class Covariance:
    """A shrunk covariance. `shrinkage`: how far it is from the sample (0) toward the common correlation (1)."""

    matrix: Matrix
    shrinkage: float
    correlation_mean: float


def returns_of(closes: Matrix) -> Matrix:
    """Return the simple returns of closes, shape (times, instruments) to (times - 1, instruments).

    Raises:
        OperatorError: a close is not a number above zero.
    """
    if not (np.isfinite(closes).all() and (closes > 0).all()):
        raise OperatorError("a close is not a number above zero")
    changes: Matrix = closes[1:] / closes[:-1] - 1.0
    return changes


def shrunk_covariance(returns: Matrix) -> Covariance:
    """Return the covariance of returns, shrunk toward a common correlation.

    Args:
        returns: shape (times, instruments), simple returns of the same times.

    Raises:
        OperatorError: too few returns or instruments, a return that is no number, or a price that never moved.
    """
    if returns.ndim != 2 or not 2 <= returns.shape[1] <= INSTRUMENTS_MAX:
        raise OperatorError(f"weights are of 2 to {INSTRUMENTS_MAX} instruments")
    if returns.shape[0] < RETURNS_MIN:
        raise OperatorError(f"{returns.shape[0]} common returns are too few for a covariance: at least {RETURNS_MIN}")
    if not np.isfinite(returns).all():
        raise OperatorError("a return is not a number")
    times = returns.shape[0]
    centred = returns - returns.mean(axis=0)
    if (np.abs(centred).max(axis=0) <= 1e-15).any():
        number = int(np.argmin(np.abs(centred).max(axis=0)))
        raise OperatorError(f"instrument {number + 1} never moved: nothing is known of its risk")
    sample = centred.T @ centred / times
    deviations = np.sqrt(np.diag(sample))
    correlations = sample / np.outer(deviations, deviations)
    mean = float(np.mean(correlations[~np.eye(len(sample), dtype=bool)]))
    target = mean * np.outer(deviations, deviations)
    np.fill_diagonal(target, np.diag(sample))
    shrinkage = _intensity(centred, sample, target, mean)
    return Covariance(shrinkage * target + (1.0 - shrinkage) * sample, shrinkage, mean)


def _intensity(centred: Matrix, sample: Matrix, target: Matrix, mean: float) -> float:
    """Ledoit and Wolf's intensity for the common-correlation target: (pi - rho) / gamma / times, within 0 and 1."""
    times, squares = len(centred), centred**2
    errors = squares.T @ squares / times - sample**2
    pi = float(errors.sum())
    variances = np.diag(sample)
    # Covariance of the sampling error of each variance (row) with that of each covariance.
    theta = (centred**3).T @ centred / times - variances[:, None] * sample
    np.fill_diagonal(theta, 0.0)
    deviations = np.sqrt(variances)
    rho = float(np.diag(errors).sum() + mean * (np.outer(1.0 / deviations, deviations) * theta).sum())
    gamma = float(((sample - target) ** 2).sum())
    if gamma <= 0.0:
        return 1.0  # the sample is its own target
    return float(min(1.0, max(0.0, (pi - rho) / gamma / times)))


def minimum_variance(covariance: Matrix) -> Matrix:
    """Return the long-only weights of least variance.

    Raises:
        OperatorError: the covariance is not one, or some mixture of the instruments has no risk.
    """
    count = len(covariance)
    scale = float(np.diag(covariance).mean())
    matrix = _checked(covariance, definite=True) / scale
    active = np.ones(count, dtype=bool)
    weights = np.full(count, 1.0 / count)
    for _ in range(ROUNDS_MAX):
        best = np.zeros(count)
        best[active] = np.linalg.solve(matrix[np.ix_(active, active)], np.ones(int(active.sum())))
        best /= best.sum()
        if (best[active] < 0.0).any():
            # Go toward it until the first weight reaches zero; that one leaves.
            falling = active & (best < weights)
            steps = np.where(falling, weights / np.where(falling, weights - best, 1.0), np.inf)
            first = int(np.argmin(steps))
            weights = np.maximum(weights + min(1.0, float(steps[first])) * (best - weights), 0.0)
            weights[first] = 0.0
            active[first] = False
            continue
        weights = best
        slopes = matrix @ weights
        variance = float(weights @ slopes)
        slopes[active] = variance
        lowest = int(np.argmin(slopes))
        if slopes[lowest] >= variance * (1.0 - TOLERANCE):
            return _normal(weights)
        active[lowest] = True
    raise OperatorError("the weights of least variance were not found: the risks are too nearly the same")


def hierarchical_risk_parity(covariance: Matrix) -> Matrix:
    """Return the weights of hierarchical risk parity.

    Raises:
        OperatorError: the covariance is not one.
    """
    matrix = _checked(covariance, definite=False)
    deviations = np.sqrt(np.diag(matrix))
    correlations = np.clip(matrix / np.outer(deviations, deviations), -1.0, 1.0)
    np.fill_diagonal(correlations, 1.0)  # a last bit less would be a distance of 1e-8
    weights = np.ones(len(matrix))
    waiting = [_order(np.sqrt((1.0 - correlations) / 2.0))]
    while waiting:
        group = waiting.pop()
        if len(group) < 2:
            continue
        halves = group[: len(group) // 2], group[len(group) // 2:]
        left, right = (_group_variance(matrix, half) for half in halves)
        weights[halves[0]] *= right / (left + right)
        weights[halves[1]] *= left / (left + right)
        waiting.extend(halves)
    return _normal(weights)


def _normal(weights: Matrix) -> Matrix:
    normal: Matrix = weights / weights.sum()
    return normal


def _group_variance(matrix: Matrix, group: list[int]) -> float:
    """Variance of a group at inverse-variance weights."""
    weights = 1.0 / np.diag(matrix)[group]
    weights /= weights.sum()
    return float(weights @ matrix[np.ix_(group, group)] @ weights)


def _order(distance: Matrix) -> list[int]:
    """Instruments in the order of a single-linkage clustering; of equal distances the first in the list is taken."""
    # Distances between the columns of the distance matrix, as the paper has it.
    # Rounded, so that what is equal but for its last bits is equal.
    between = np.array([np.sqrt(((distance - row) ** 2).sum(axis=1)) for row in distance]).round(9)
    np.fill_diagonal(between, np.inf)
    groups = {number: [number] for number in range(len(distance))}
    while len(groups) > 1:
        keys = sorted(groups)
        part = between[np.ix_(keys, keys)]
        at = int(np.argmin(part))
        one, other = keys[at // len(keys)], keys[at % len(keys)]
        groups[one] += groups.pop(other)
        between[one] = np.minimum(between[one], between[other])
        between[:, one] = between[one]
        between[one, one] = np.inf
    (order,) = groups.values()
    return order


def _checked(covariance: Matrix, *, definite: bool) -> Matrix:
    if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1] or len(covariance) < 2:
        raise OperatorError("a covariance is a square of two or more")
    if not np.isfinite(covariance).all() or not np.allclose(covariance, covariance.T, rtol=1e-9, atol=0.0):
        raise OperatorError("a covariance is symmetric and of numbers")
    if (np.diag(covariance) <= 0.0).any():
        raise OperatorError("an instrument has no variance: nothing is known of its risk")
    if definite and float(np.linalg.eigvalsh(covariance / np.diag(covariance).mean())[0]) < TOLERANCE:
        raise OperatorError("some mixture of the instruments has no risk at all: two of them move as one",
                            suggestion="leave one of them out, or use more bars, or --method hrp")
    return covariance
