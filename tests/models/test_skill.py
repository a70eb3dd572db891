"""Scores against values known by hand, by formula, or by their meaning on drawn data."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cstd.research.models import ensemble, evaluation, skill
from cstd.research.models.labels import Costs
from cstd.signals.registry.card import worst

N = 4_000
RUNS = 400
DRAWN = np.random.default_rng(7).uniform(size=(2, N))
TRUTH = 0.05 + 0.9 * DRAWN[0]
EVENT = (DRAWN[1] < TRUTH).astype(float)


def test_auc_is_the_chance_to_rank_a_pair_right() -> None:
    """Every pair counted, ties half."""
    score, event = np.array([0.1, 0.4, 0.4, 0.8, 0.8]), np.array([0.0, 1.0, 0.0, 0.0, 1.0])
    pairs = [(a > b) + 0.5 * (a == b) for a in score[event == 1] for b in score[event == 0]]
    assert skill.auc(score, event) == pytest.approx(np.mean(pairs))
    assert skill.auc(score, np.ones(5)) is None


def test_debiased_ece_is_about_zero_for_the_truth_and_tells_an_offset() -> None:
    """The plain estimate of the truth is above it; an offset of 0.1 comes out as 0.1."""
    plain = math.sqrt(np.mean([(TRUTH[rows].mean() - EVENT[rows].mean()) ** 2
                               for rows in np.array_split(np.argsort(TRUTH), skill.ECE_BINS)]))
    assert skill.debiased_ece(TRUTH, EVENT) < plain
    assert skill.debiased_ece(TRUTH, EVENT) < 0.015
    assert skill.debiased_ece(TRUTH + 0.1, EVENT) == pytest.approx(0.1, abs=0.02)


def test_wilson_against_a_published_value() -> None:
    """81 of 263: 0.2553 to 0.3662 (Newcombe 1998, table I, method 3)."""
    assert skill.wilson(81, 263) == pytest.approx([0.2553, 0.3662], abs=5e-5)
    assert skill.wilson(0, 0) is None


def test_blocks_that_move_together_give_wider_intervals() -> None:
    """The same values as independent rows and as blocks of equal ones."""
    values = np.random.default_rng(10).normal(size=100)
    alone = skill.ratio_interval(np.repeat(values, 20), np.ones(2_000), np.arange(2_000))
    together = skill.ratio_interval(np.repeat(values, 20), np.ones(2_000), np.arange(2_000) // 20)
    assert together[1] - together[0] > 3 * (alone[1] - alone[0])
    assert together[1] - together[0] == pytest.approx(2 * 1.96 * values.std() / 10, rel=0.15)


def test_skill_is_the_share_of_the_loss_that_is_gone() -> None:
    """Half the loss is a skill of 0.5, in its interval too."""
    loss = np.random.default_rng(11).uniform(size=500)
    assert skill.skill(loss / 2, loss, np.arange(500) // 10) == (pytest.approx(0.5), pytest.approx([0.5, 0.5]))


def test_pinball_is_least_at_the_quantile() -> None:
    """The 5 % quantile has less loss than its neighbours."""
    outcome = np.random.default_rng(12).normal(size=N)
    losses = [skill.pinball(np.full(N, np.quantile(outcome, q)), outcome, 0.05).sum() for q in (0.02, 0.05, 0.10)]
    assert min(losses) == losses[1]


def test_independent_windows_do_not_overlap() -> None:
    """Ten hourly decisions of any number of instruments hold three windows of four hours."""
    decided_s = np.repeat(np.arange(10) * 3_600, 3)
    assert skill.independent_windows(decided_s, 4 * 3_600) == 3


def test_deflated_sharpe_falls_with_the_number_of_trials() -> None:
    """The same returns say less, the more models were tried; without a trade nothing is said."""
    returns = np.random.default_rng(13).normal(0.001, 0.01, 700)
    told = [skill.deflated_sharpe(returns, trials) for trials in (1, 10, 1_000)]
    assert told == sorted(told, reverse=True) and told[0] > 0.9 > told[-1]
    assert skill.deflated_sharpe(np.zeros(50), 3) is None and skill.sharpe(np.zeros(50)) is None


def test_overfitting_is_half_for_noise_and_none_for_a_real_difference() -> None:
    """Choices that differ by chance alone, and one that is better everywhere."""
    noise = [skill.overfitting(np.random.default_rng(seed).normal(size=(6, 8))) for seed in range(40)]
    assert 0.4 < np.mean(noise) < 0.65
    better = np.random.default_rng(14).normal(size=(6, 8)) - 10 * (np.arange(8) == 3)
    assert skill.overfitting(better) == 0.0
    assert skill.overfitting(np.ones((6, 1))) is None


@pytest.mark.parametrize("method", ensemble.METHODS)
def test_each_calibration_mends_what_it_can(method: str) -> None:
    """Overconfident probabilities come near the truth, and the order is kept."""
    score = ensemble.sigmoid(2 * ensemble.logit(TRUTH) + 0.5)
    fitted = ensemble.METHODS[method](score, EVENT)
    mended = ensemble.calibrated(fitted, score)
    assert np.abs(mended - TRUTH).mean() < 0.035 < np.abs(score - TRUTH).mean()
    assert (np.diff(mended[np.argsort(score)]) >= -1e-12).all()


def test_an_isotonic_line_never_says_certain() -> None:
    """Fifty of fifty are no proof of always."""
    line = ensemble._isotonic(TRUTH, (TRUTH > 0.5).astype(float))
    assert 0 < min(line["y"]) < max(line["y"]) < 1
    assert (np.diff(line["x"]) > 0).all() and (np.diff(line["y"]) >= 0).all()


def test_the_stack_leaves_noise_alone() -> None:
    """A member that knows the truth gets the weight, noise next to none, one that says the opposite none."""
    noise = np.random.default_rng(15).uniform(0.1, 0.9, N)
    stack = ensemble.fit_stack({"true": TRUTH, "noise": noise, "wrong": 1 - TRUTH}, EVENT)
    assert stack["weights"]["wrong"] == 0.0 and stack["weights"]["noise"] < 0.1
    assert stack["weights"]["true"] == pytest.approx(1.0, abs=0.1)


def test_intervals_cover_what_they_promise_in_every_band() -> None:
    """Wider where the probability says more, at least their level within chance on rows like those they were made of."""
    net = np.random.default_rng(16).normal(size=N) * (0.5 + TRUTH)
    half = np.arange(N) % 2 == 0
    conformal = ensemble.fit_conformal(TRUTH[half], net[half])
    lower, upper = ensemble.interval(conformal, TRUTH[~half])
    inside = (net[~half] >= lower) & (net[~half] <= upper)
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    assert len(conformal["lower"]) == len(conformal["edges"]) + 1 == ensemble.BANDS
    band = np.searchsorted(conformal["edges"], TRUTH[~half], side="right")
    for one in range(ensemble.BANDS):
        assert inside[band == one].mean() == pytest.approx(0.9, abs=0.04), one
    assert conformal["upper"][-1] > conformal["upper"][0]


def test_one_probability_for_all_makes_one_band() -> None:
    """Edges that divide nothing are dropped."""
    conformal = ensemble.fit_conformal(np.full(1_000, 0.3), np.random.default_rng(17).normal(size=1_000))
    assert conformal["edges"] == [] and len(conformal["lower"]) == 1


def test_a_block_is_a_week_or_five_horizons() -> None:
    """A day of hours is one block, and so is the week that it is in."""
    assert len(np.unique(skill.blocks(np.arange(7 * 24) * 3_600 + 7 * skill.DAY_S, 3_600))) == 1
    assert len(np.unique(skill.blocks(np.arange(10) * skill.DAY_S, 2 * skill.DAY_S))) == 1


def test_the_interval_of_nothing_holds_zero_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of four steps of noise, one begun at each step: trades of a day, four decisions to each, for two years."""
    monkeypatch.setattr(skill, "DRAWS", 200)
    step_s, steps, missed = 6 * 3_600, 4 * 700, 0
    block = skill.blocks(np.arange(steps) * step_s, skill.DAY_S)
    for seed in range(RUNS):
        noise = np.random.default_rng(seed).normal(size=steps + 3)
        low, high = skill.ratio_interval(np.convolve(noise, np.ones(4), "valid"), np.ones(steps), block, seed)
        missed += not low <= 0 <= high
    assert missed / RUNS < 0.085


def test_trades_that_are_picked_apart_do_not_overlap() -> None:
    """All rows of a picked time, and none that begins before the one picked before is over."""
    decided_s = np.repeat(np.arange(10) * 3_600, 3)
    picked = decided_s[skill.apart(decided_s, 4 * 3_600)]
    assert np.unique(picked, return_counts=True)[1].tolist() == [3, 3, 3]
    assert np.diff(np.unique(picked)).min() >= 4 * 3_600
    assert not skill.apart(decided_s[:0], 3_600).any()


@pytest.mark.parametrize("rates", [np.linspace(0.05, 0.6, 1_000), np.linspace(0.6, 0.05, 1_000)], ids=["rose", "fell"])
def test_equal_scores_make_one_point_in_whatever_order_they_came(rates: np.ndarray) -> None:
    """A rate that changed while the score did not is no reason to say the highest: the share of them all is."""
    event = (np.random.default_rng(18).uniform(size=1_000) < rates).astype(float)
    line = ensemble._isotonic(np.full(1_000, 0.3), event)
    assert (line["x"], line["y"]) == ([0.3], [pytest.approx(event.mean())])
    levels, seldom = np.repeat([0.2, 0.4], 1_000), np.concatenate([event * (np.arange(1_000) % 4 == 0), event])
    line = ensemble._isotonic(levels, seldom)
    assert (line["x"], line["y"]) == ([0.2, 0.4], pytest.approx([seldom[:1_000].mean(), event.mean()]))


def test_an_isotonic_line_rises_strictly_where_scores_differ_by_the_last_bit() -> None:
    """Means of such scores round to one another: each stays inside its own, so that the card is one."""
    near = [0.3, np.nextafter(0.3, 1), np.nextafter(np.nextafter(0.3, 1), 1)]
    score = np.repeat(near, 70)
    event = np.concatenate([np.zeros(70), np.arange(70) % 2, np.ones(70)])
    line = ensemble._isotonic(score, event)
    assert line["x"] == near and (np.diff(line["y"]) > 0).all()


HOLDS: dict[str, Any] = {
    "independent_windows": 300, "blocks": 60, "brier_skill_ci": [0.001, 1.0], "pinball_skill_ci": [0.001, 1.0], "trades": 150,
    "independent_trades": 100, "hit_rate_ci": [0.72, 0.9], "break_even": 0.71, "net": 0.2, "deflated_sharpe": 0.951,
    "costs_below_default": False,
    "baselines": {"no_trade": {"ci": [1e-6, 1.0]}, "buy_and_hold": {"net": 0.19}, "last_return": {"model_skill_ci": [0.001, 1]}}}


@pytest.mark.parametrize(("changed", "verdict"), [
    ({}, "holds"),
    ({"independent_windows": 299}, "not assessable"),
    ({"independent_windows": 299, "trades": 0}, "not assessable"),
    ({"blocks": 59}, "not assessable"),
    ({"independent_trades": 99}, "not assessable"),
    ({"costs_below_default": True}, "not assessable"),
    ({"brier_skill_ci": [0.0, 1.0]}, "rejected"),
    ({"brier_skill_ci": None}, "rejected"),
    ({"pinball_skill_ci": [0.0, 1.0]}, "rejected"),
    ({"trades": 0}, "rejected"),
    ({"hit_rate_ci": [0.71, 0.9]}, "rejected"),
    ({"hit_rate_ci": None}, "rejected"),
    ({"net": 0.19}, "rejected"),
    ({"deflated_sharpe": 0.95}, "rejected"),
    ({"deflated_sharpe": None}, "rejected"),
    ({"no_trade": {"ci": [0.0, 1.0]}}, "rejected"),
    ({"buy_and_hold": {"net": None}}, "rejected"),
    ({"last_return": {"model_skill_ci": [0.0, 1.0]}}, "rejected"),
    ({"last_return": {"model_skill_ci": None}}, "rejected"),
    # What fails is rejected, on however little: no shortage makes a model better than it was.
    ({"blocks": 5, "independent_trades": 3, "trades": 0}, "rejected"),
])
def test_a_verdict_at_and_beside_each_limit(changed: dict[str, Any], verdict: str) -> None:
    """Skill over every baseline and money, all above zero with their intervals, on enough and at everybody's costs."""
    baselines = {**HOLDS["baselines"], **{name: value for name, value in changed.items() if name in HOLDS["baselines"]}}
    found = {**HOLDS, **{name: value for name, value in changed.items() if name in HOLDS}, "baselines": baselines}
    assert evaluation.verdict(found) == verdict
    assert worst([verdict, "holds"]) == verdict  # type: ignore[list-item]


@pytest.mark.parametrize("cost", ["maker_bps", "taker_bps", "half_spread_bps", "lifetime_s"])
def test_each_cost_that_is_less_than_everybodys_is_seen(cost: str) -> None:
    """One basis point less of any, or a second of lifetime; more of all is none."""
    default = Costs()
    assert not evaluation.below_default(default)
    assert evaluation.below_default(replace(default, **{cost: getattr(default, cost) - 1}))
    assert not evaluation.below_default(replace(default, **{cost: getattr(default, cost) + 1}))
