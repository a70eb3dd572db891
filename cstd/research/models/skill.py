"""What a probability and an interval are worth: scores, skill over baselines, and how sure of it one can be.

Trades overlap and instruments move together, so rows are no independent draws. Intervals of a mean are from a block bootstrap
(whole weeks, or five horizons where that is longer, all instruments together: in a block of one horizon most trades reach into
the next, and its interval of nothing lies above zero twice as often as it says); a share's interval is Wilson's for as many
trials as there are windows that do not overlap in time.
"""

from __future__ import annotations

import math
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cstd.research.models.dataset import Floats, Ints

DRAWS = 1_000
LEVEL = 0.95
DAY_S = 86_400
BLOCK_S_MIN = 7 * DAY_S
BLOCK_HORIZONS_MIN = 5
YEAR_DAYS = 365
ECE_BINS = 15
NORMAL = NormalDist()
Interval = list[float]


def blocks(decided_s: Ints, horizon_s: int) -> Ints:
    """Return the number of the block that each row is drawn with."""
    return decided_s // max(BLOCK_S_MIN, BLOCK_HORIZONS_MIN * horizon_s)


def ratio_interval(above: Floats, below: Floats, block: Ints, seed: int = 0) -> Interval:
    """Return the interval of sum(above) / sum(below) by drawing blocks with replacement.

    Args:
        above, below: what is summed, by row.
        block: the block of each row.
    """
    _, place = np.unique(block, return_inverse=True)
    count = int(place.max()) + 1
    sums = np.column_stack([np.bincount(place, column, count) for column in (above, below)])
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), DRAWS)
    drawn = draws @ sums
    ratios = drawn[:, 0] / np.where(drawn[:, 1] == 0, np.nan, drawn[:, 1])
    low, high = np.nanquantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def skill(loss: Floats, reference: Floats, block: Ints) -> tuple[float, Interval]:
    """Return 1 - loss / loss of the reference, and its interval."""
    low, high = ratio_interval(loss, reference, block)
    return float(1 - loss.sum() / reference.sum()), [1 - high, 1 - low]


def pinball(quantile: Floats, outcome: Floats, level: float) -> Floats:
    """Return the loss of each row for a quantile of a level."""
    difference = outcome - quantile
    return np.asarray(np.maximum(level * difference, (level - 1) * difference), np.float64)


def auc(score: Floats, event: Floats) -> float | None:
    """Return the chance that a row with the event scores above one without, ties half; None where one kind is missing."""
    ones = int(event.sum())
    zeros = len(event) - ones
    if not ones or not zeros:
        return None
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2
    return float((rank[place][event == 1].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def debiased_ece(probability: Floats, event: Floats) -> float:
    """Return the root mean square gap of probability and frequency in bins of equal size, less what chance alone makes of it.

    Source: Kumar, Liang, Ma, "Verified uncertainty calibration" (2019): the plug-in estimate is too large by the variance of each
    bin's frequency, which is estimated and taken off.
    """
    total = 0.0
    for rows in np.array_split(np.argsort(probability, kind="stable"), min(ECE_BINS, max(1, len(event) // 20))):
        rate = float(event[rows].mean())
        chance = rate * (1 - rate) / (len(rows) - 1) if len(rows) > 1 else 0.0
        total += len(rows) / len(event) * ((float(probability[rows].mean()) - rate) ** 2 - chance)
    return math.sqrt(max(total, 0.0))


def wilson(successes: float, trials: float) -> Interval | None:
    """Return Wilson's interval of a share, None without a trial."""
    if trials <= 0:
        return None
    z = NORMAL.inv_cdf((1 + LEVEL) / 2)
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return [max(0.0, middle - half), min(1.0, middle + half)]


def apart(decided_s: Ints, horizon_s: int) -> NDArray[np.bool_]:
    """Return which rows are of decisions that were picked so that no two overlap in time.

    The first, and each that comes when the horizon of the one picked before is over; all instruments of one time are one pick.
    """
    picked, free_s = [], -1
    for time_s in np.unique(decided_s).tolist():
        if time_s >= free_s:
            picked.append(time_s)
            free_s = time_s + horizon_s
    return np.isin(decided_s, picked)


def independent_windows(decided_s: Ints, horizon_s: int) -> int:
    """Return how many trades can be picked that do not overlap in time, whatever their instruments."""
    return len(np.unique(decided_s[apart(decided_s, horizon_s)]))


def sharpe(returns: Floats) -> float | None:
    """Return mean / deviation of returns by day, annualised; None where nothing moved.

    Days are taken for independent: the returns must be of trades that do not overlap.
    """
    deviation = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return float(returns.mean()) / deviation * math.sqrt(YEAR_DAYS) if deviation > 0 else None


def deflated_sharpe(returns: Floats, trials: int) -> float | None:
    """Return the probability that the true Sharpe ratio is above what the best of so many worthless trials would show.

    Source: Bailey, Lopez de Prado, "The deflated Sharpe ratio" (2014); the trials' own variance is taken as that of a ratio whose
    truth is zero, 1 / (days - 1).
    """
    annual = sharpe(returns)
    if annual is None or len(returns) < 3:
        return None
    ratio, days = annual / math.sqrt(YEAR_DAYS), len(returns)
    best = 0.0
    if trials > 1:
        gamma = 0.5772156649015329
        best = math.sqrt(1 / (days - 1)) * ((1 - gamma) * NORMAL.inv_cdf(1 - 1 / trials)
                                            + gamma * NORMAL.inv_cdf(1 - 1 / (trials * math.e)))
    standard = (returns - returns.mean()) / returns.std()
    skewness, kurtosis = float((standard ** 3).mean()), float((standard ** 4).mean())
    spread = 1 - skewness * ratio + (kurtosis - 1) / 4 * ratio * ratio
    return NORMAL.cdf((ratio - best) * math.sqrt(days - 1) / math.sqrt(spread)) if spread > 0 else None


def overfitting(losses: Floats) -> float | None:
    """Return the probability that the choice that was best in one half of the groups is below the median in the other.

    Args:
        losses: (groups, choices), each out of sample.

    Source: Bailey, Borwein, Lopez de Prado, Zhu, "The probability of backtest overfitting" (2015), over all halves.
    """
    groups, choices = losses.shape
    if choices < 2 or groups < 2:
        return None
    below = []
    for half in combinations(range(groups), groups // 2):
        rest = [group for group in range(groups) if group not in half]
        chosen = int(np.argmin(losses[list(half)].mean(0)))
        others = losses[rest].mean(0)
        rank = (others > others[chosen]).sum() + ((others == others[chosen]).sum() - 1) / 2
        below.append(rank / (choices - 1) < 0.5)
    return float(np.mean(below))


def by_day(net: Floats, decided_s: Ints, days: tuple[int, int], slots: float) -> Floats:
    """Return the return of each day of a span on capital that is divided into equal slots, one to a trade; idle days are 0."""
    first, last = days
    return np.asarray(np.bincount(decided_s // DAY_S - first, net / slots, last - first + 1), np.float64)
