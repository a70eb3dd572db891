"""Scores against values known by hand, by formula, or by their meaning on drawn data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cstd.research.models import ensemble, evaluation, skill

RANDOM = np.random.default_rng(7)
N = 4_000
TRUTH = RANDOM.uniform(0.05, 0.95, N)
EVENT = (RANDOM.uniform(size=N) < TRUTH).astype(float)


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
    values = RANDOM.normal(size=100)
    alone = skill.ratio_interval(np.repeat(values, 20), np.ones(2_000), np.arange(2_000))
    together = skill.ratio_interval(np.repeat(values, 20), np.ones(2_000), np.arange(2_000) // 20)
    assert together[1] - together[0] > 3 * (alone[1] - alone[0])
    assert together[1] - together[0] == pytest.approx(2 * 1.96 * values.std() / 10, rel=0.15)


def test_skill_is_the_share_of_the_loss_that_is_gone() -> None:
    """Half the loss is a skill of 0.5, in its interval too."""
    loss = RANDOM.uniform(size=500)
    assert skill.skill(loss / 2, loss, np.arange(500) // 10) == (pytest.approx(0.5), pytest.approx([0.5, 0.5]))


def test_pinball_is_least_at_the_quantile() -> None:
    """The 5 % quantile has less loss than its neighbours."""
    outcome = RANDOM.normal(size=N)
    losses = [skill.pinball(np.full(N, np.quantile(outcome, q)), outcome, 0.05).sum() for q in (0.02, 0.05, 0.10)]
    assert min(losses) == losses[1]


def test_independent_windows_do_not_overlap() -> None:
    """Ten hourly decisions of any number of instruments hold three windows of four hours."""
    decided_s = np.repeat(np.arange(10) * 3_600, 3)
    assert skill.independent_windows(decided_s, 4 * 3_600) == 3


def test_deflated_sharpe_falls_with_the_number_of_trials() -> None:
    """The same returns say less, the more models were tried; without a trade nothing is said."""
    returns = RANDOM.normal(0.001, 0.01, 700)
    told = [skill.deflated_sharpe(returns, trials) for trials in (1, 10, 1_000)]
    assert told == sorted(told, reverse=True) and told[0] > 0.9 > told[-1]
    assert skill.deflated_sharpe(np.zeros(50), 3) is None and skill.sharpe(np.zeros(50)) is None


def test_overfitting_is_half_for_noise_and_none_for_a_real_difference() -> None:
    """Choices that differ by chance alone, and one that is better everywhere."""
    noise = [skill.overfitting(np.random.default_rng(seed).normal(size=(6, 8))) for seed in range(40)]
    assert 0.4 < np.mean(noise) < 0.65
    better = RANDOM.normal(size=(6, 8)) - 10 * (np.arange(8) == 3)
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
    """A member that knows the truth gets the weight, one that says the opposite none."""
    stack = ensemble.fit_stack({"true": TRUTH, "noise": RANDOM.uniform(0.4, 0.6, N), "wrong": 1 - TRUTH}, EVENT)
    assert stack["weights"]["wrong"] == 0.0
    assert stack["weights"]["true"] == pytest.approx(1.0, abs=0.1)


def test_intervals_cover_what_they_promise_in_every_band() -> None:
    """Wider where the probability says more, at least their level within chance on rows like those they were made of."""
    net = RANDOM.normal(size=N) * (0.5 + TRUTH)
    half = np.arange(N) % 2 == 0
    conformal = ensemble.fit_conformal(TRUTH[half], net[half])
    lower, upper = ensemble.interval(conformal, TRUTH[~half])
    assert np.mean((net[~half] >= lower) & (net[~half] <= upper)) == pytest.approx(0.9, abs=0.02)
    assert len(conformal["lower"]) == len(conformal["edges"]) + 1 == ensemble.BANDS
    assert conformal["upper"][-1] > conformal["upper"][0]


def test_one_probability_for_all_makes_one_band() -> None:
    """Edges that divide nothing are dropped."""
    conformal = ensemble.fit_conformal(np.full(1_000, 0.3), RANDOM.normal(size=1_000))
    assert conformal["edges"] == [] and len(conformal["lower"]) == 1


@pytest.mark.parametrize(("windows", "brier_low", "trades", "net_low", "verdict"), [
    (300, 0.001, 5, 1e-6, "holds"), (299, 0.001, 5, 1e-6, "not assessable"), (300, 0.0, 5, 1e-6, "rejected"),
    (300, 0.001, 5, 0.0, "rejected"), (300, 0.001, 0, 0.0, "rejected")])
def test_a_verdict_at_and_beside_each_limit(windows: int, brier_low: float, trades: int, net_low: float, verdict: str) -> None:
    """Skill and money, both above zero with their intervals, on at least 300 windows."""
    found = {"independent_windows": windows, "brier_skill_ci": [brier_low, 1.0], "trades": trades,
             "baselines": {"no_trade": {"ci": [net_low, 1.0]}}}
    assert evaluation.verdict(found) == verdict
    assert evaluation.overall([verdict, "holds"]) == verdict
