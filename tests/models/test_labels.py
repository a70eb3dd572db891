"""Labels are trades as bars can tell of them; folds keep what is learnt from apart from what is judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cstd.errors import OperatorError
from cstd.orders.simulated_terms import FEE_TIERS
from cstd.research.models import dataset, folds, labels
from cstd.research.models.labels import Costs
from tests.models.walks import walk

STEP_S = 3_600
SERIES = walk(400, seed=2)
ROWS = dataset.rows([SERIES])
FREE = Costs(0.0, 0.0, 0.0)


def one_row(at: int, **columns: list[tuple[int, float]]) -> labels.Sample:
    """The label of the row of bar `at` (horizon 4 h), with some prices of later bars set."""
    set_ = {name: getattr(SERIES, name).copy() for name in ("open", "high", "low", "close")}
    for name, values in columns.items():
        for place, value in values:
            set_[name][place] = value
    series = replace(SERIES, **set_)
    rows = ROWS.take(ROWS.bar == at)
    return labels.label(rows, [series], "4h", FREE)


@pytest.mark.parametrize(("low_to_limit", "filled"), [(-0.01, True), (0.0, False), (0.01, False)])
def test_only_a_trade_through_the_limit_fills(low_to_limit: float, filled: bool) -> None:
    """A low below the close fills, one at it or above it does not."""
    limit = float(SERIES.close[200])
    sample = one_row(200, low=[(201, limit + low_to_limit)])
    assert len(sample) == filled
    assert sample.left_out["not filled"] == (not filled)


def test_an_opening_rests_for_its_lifetime_and_no_longer() -> None:
    """A fill in the second bar counts for two hours of lifetime, and not for one."""
    low = SERIES.low.copy()
    low[201], low[202] = SERIES.close[200] + 1, SERIES.close[200] - 1
    series, rows = replace(SERIES, low=low), ROWS.take(ROWS.bar == 200)
    for lifetime_s, filled in ((STEP_S, 0), (2 * STEP_S, 1), (60, 0)):
        assert len(labels.label(rows, [series], "4h", replace(FREE, lifetime_s=lifetime_s))) == filled


def test_the_exit_is_the_open_of_the_bar_after_the_horizon() -> None:
    """Decided at the close of bar t, over when bar t + 5 opens for four hours; its open alone counts."""
    limit = float(SERIES.close[200])
    sample = one_row(200, low=[(201, limit * 0.9)], open=[(205, limit * 1.02)])
    assert sample.net == pytest.approx([0.02])
    assert sample.event.tolist() == [1.0]
    assert sample.end_s.tolist() == [int(SERIES.time_s[205])]


def test_costs_are_the_fees_of_both_sides_and_half_a_spread() -> None:
    """At a price that does not move, by hand; the defaults are the first tier of the fee table."""
    assert (Costs().maker_bps, Costs().taker_bps) == FEE_TIERS[0][1:]
    paid, got = 100 * 1.0025, 100 * 0.9995 * 0.9960
    assert Costs().net(np.array([100.0]), np.array([100.0])) == pytest.approx([got / paid - 1])


def test_nothing_is_carried_over_a_bar_that_is_missing() -> None:
    """No bar at the exit, no label; no bar in the lifetime, no fill; beyond the last bar neither."""
    series = walk(400, seed=2, missing=[205])
    sample = labels.label(dataset.rows([series]), [series], "4h", FREE)
    whole = labels.label(ROWS, [SERIES], "4h", FREE)
    assert sample.left_out["no trade at the exit"] == 1 and whole.left_out["no trade at the exit"] == 0
    of_200, of_204 = (ROWS.decided_s[ROWS.bar == bar][0] for bar in (200, 204))
    assert of_200 in whole.rows.decided_s and of_200 not in sample.rows.decided_s  # would have been sold in the missing bar
    rows = dataset.rows([series])
    alone = labels.label(rows.take(rows.decided_s == of_204), [series], "4h", FREE)
    assert (len(alone), alone.left_out["not filled"]) == (0, 1)  # nobody traded while it rested
    assert max(sample.end_s) <= SERIES.time_s[-1]
    assert sample.left_out["after the last bar"] == 5


def test_bars_that_are_too_long_for_a_horizon_are_refused() -> None:
    """A bar may be a quarter of the horizon, not more."""
    with pytest.raises(OperatorError, match="horizon 1h needs bars of at most 900 s"):
        labels.label(ROWS, [SERIES], "1h", FREE)


def test_decisions_are_four_to_a_horizon() -> None:
    """More would overlap more and say little else."""
    assert [labels.stride(horizon_s, step) for horizon_s, step in ((3_600, 300), (14_400, 3_600), (86_400, 3_600))] == [3, 1, 6]


def sample_of(bars: int) -> labels.Sample:
    series = walk(bars, seed=4)
    return labels.label(dataset.rows([series]), [series], "4h", FREE)


def test_no_fold_learns_of_what_it_is_tested_on() -> None:
    """Trades of training are over a horizon before the test begins; tests do not overlap and go on in time."""
    sample = sample_of(900)
    last = -1
    made = list(folds.walk_forward(sample))
    assert len(made) == folds.FOLDS == 5
    for train, test in made:
        assert test.min() > last
        last = test.max()
        assert len(train) and sample.end_s[train].max() + sample.horizon_s <= sample.rows.decided_s[test].min()


def test_combinatorial_folds_are_purged_on_both_sides() -> None:
    """Every pair of groups once; no trade of training is open, or within a horizon of it, while one of a test is."""
    sample = sample_of(900)
    splits = list(folds.combinatorial(sample))
    assert len(splits) == 15
    for train, tests in splits:
        for test in tests:
            begins, ends = sample.rows.decided_s[test].min(), sample.end_s[test].max()
            before = sample.end_s[train] + sample.horizon_s <= begins
            after = sample.rows.decided_s[train] >= ends + sample.horizon_s - STEP_S
            assert (before | after).all()
