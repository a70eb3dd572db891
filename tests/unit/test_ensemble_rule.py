"""What a score is worth: the gate's thresholds, the decay, and the size, for all inputs."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd.config import Config, load, template
from cstd.decision import halvings, sizing
from cstd.decision.ensemble import REASON_TEXTS, REASONS, STATES, Rule, decayed, holds_for, judge, rule_of, told, weight
from cstd.engine.scores import Score
from cstd.errors import ConfigError
from cstd.signals.registry.log import NEXT
from cstd.signals.strategies import kernels
from cstd.units import NS_PER_S

HOUR_NS = 3_600 * NS_PER_S
RULE = Rule(horizon_s=3_600, probability_e6=800_000, exit_e6=600_000, members_min=0, fresh_ns=180 * NS_PER_S,
            lifetime_ns=4 * HOUR_NS, half_life_ns=2 * HOUR_NS, floor_e6=100_000, size_ppm_max=20_000, target_ppm=15_000,
            states=("production",))
YEAR_PPM = 600_000
PPM = st.integers(-2_000_000, 2_000_000)
VOLATILITY = st.integers(1, 5_000_000)


def score(**changes: object) -> Score:
    """One that opens."""
    good = Score(850_000, 4_000, 20_000, 3, 0, 0, 0, "ab" * 32, "production", "holds", 3)
    return good._replace(**changes)


def refused(**env: str) -> ConfigError:
    """The problems of the shipped live configuration with these changes."""
    with pytest.raises(ConfigError) as caught:
        load([str(template("live"))], env)
    return caught.value


@pytest.mark.parametrize("mode", ["practice", "paper", "live"])
def test_the_shipped_thresholds(mode: str) -> None:
    """0.80, all members, four hours, two hours, 0.1: written in each file, none in code."""
    cfg = load([str(template(mode))], {})
    found = cfg.strategy.ensemble
    assert found is not None
    assert (found.probability_min, found.members_min, found.score_lifetime_s, found.decay_half_life_s, found.decay_floor) == (
        Decimal("0.80"), 0, 14_400, 7_200, Decimal("0.1"))
    rule = rule_of(cfg)
    assert rule is not None and rule.states == STATES[mode] and rule.fresh_ns == 180 * NS_PER_S
    assert all(field.required for field in msgspec.structs.fields(type(found)))


@pytest.mark.parametrize(("key", "value"), [
    ("PROBABILITY_EXIT", "0.81"), ("MEMBERS_MIN", "1"), ("SIZE_FRAC_MAX", "0.021"), ("LIFETIME_S", "61"),
    ("PROBABILITY_MIN", "0.5"), ("PROBABILITY_EXIT", "0.49"), ("DECAY_HALF_LIFE_S", "0"), ("SIZE_FRAC_MAX", "0")])
def test_a_rule_that_makes_no_sense_is_refused(key: str, value: str) -> None:
    """What opens and is left at once, one member, a size beyond the gates, a life beyond theirs, a coin's probability."""
    problems = refused(**{f"CSTD__STRATEGY__ENSEMBLE__{key}": value}).problems
    assert [problem.key for problem in problems] == [f"strategy.ensemble.{key.lower()}"]


def test_without_a_scorer_every_score_is_stale() -> None:
    """A score that comes all the same opens nothing."""
    cfg: Config = msgspec.structs.replace(load([str(template("live"))], {}), scorer=None)
    rule = rule_of(cfg)
    assert rule is not None and judge(rule, score(), 0, YEAR_PPM).reason == "stale"


@pytest.mark.parametrize(("changes", "age_ns", "year_ppm", "reason"), [
    ({}, 0, YEAR_PPM, ""),
    ({"probability_e6": 799_999}, 0, YEAR_PPM, "probability_below"),
    ({"probability_e6": 800_000}, 0, YEAR_PPM, ""),
    ({"lower_e6": 0}, 0, YEAR_PPM, "lower_bound"),
    ({"lower_e6": 1}, 0, YEAR_PPM, ""),
    ({"members": 2}, 0, YEAR_PPM, "member_missing"),
    ({"members": 1, "registered": 1}, 0, YEAR_PPM, "member_missing"),
    ({"members": 2, "registered": 2}, 0, YEAR_PPM, ""),
    ({"registered": 0}, 0, YEAR_PPM, "member_missing"),
    ({"state": "canary"}, 0, YEAR_PPM, "model_state"),
    ({"verdict": "rejected"}, 0, YEAR_PPM, "model_state"),
    ({"verdict": "not assessable"}, 0, YEAR_PPM, "model_state"),
    ({}, RULE.fresh_ns, YEAR_PPM, ""),
    ({}, RULE.fresh_ns + 1, YEAR_PPM, "stale"),
    ({}, -1, YEAR_PPM, "stale"),
    ({}, RULE.lifetime_ns + 1, YEAR_PPM, "stale"),
    ({}, 0, None, "no_volatility"),
    ({}, 0, 0, "no_volatility"),
    ({}, 0, sizing.SIZE_INPUT_MAX + 1, "no_volatility"),
    ({"lower_e6": 1, "upper_e6": 2}, 0, 900_000_000, "no_size"),
])
def test_each_reason(changes: dict[str, object], age_ns: int, year_ppm: int | None, reason: str) -> None:
    """At the limit, just under, just over; who opens nothing has no size."""
    verdict = judge(RULE, score(**changes), age_ns, year_ppm)
    assert (verdict.reason, bool(verdict.size_ppm)) == (reason, reason == "")
    assert told(verdict)["reason"] == reason and reason in ("", *REASONS)


def test_no_score_and_the_words() -> None:
    """None is an abstention too; each reason has its words."""
    assert judge(RULE, None, 0, YEAR_PPM).reason == "no_score"
    assert set(REASON_TEXTS) == set(REASONS)


def test_the_states_that_may_trade_are_the_registrys_last_two() -> None:
    """Live takes production alone, and nobody takes a state from which a model is not on the way to production."""
    assert STATES["live"] == ("production",)
    assert {state for states in STATES.values() for state in states} == {"production", "canary"}
    assert NEXT["canary"] == "production"


def test_the_weight_halves_every_two_hours_and_ends_after_four() -> None:
    """1, a half, a quarter, nothing; a long life ends at the floor."""
    assert [weight(RULE, hours * HOUR_NS) for hours in (0, 2, 4)] == [1_000_000, 500_000, 250_000]
    assert (weight(RULE, 4 * HOUR_NS + 1), weight(RULE, -5)) == (0, 1_000_000)
    assert weight(RULE._replace(lifetime_ns=40 * HOUR_NS), 39 * HOUR_NS) == 100_000


@settings(max_examples=200, deadline=None)
@given(numerator=st.integers(0, 10**15), denominator=st.integers(1, 10**15), above=st.integers(1, 10**6),
       below=st.integers(1, 10**6))
def test_halvings_are_those_of_a_libm(numerator: int, denominator: int, above: int, below: int) -> None:
    """To a part in a billion, and never above."""
    value = halvings.power(numerator, denominator) / halvings.ONE
    assert value <= 0.5 ** (numerator / denominator) * (1 + 1e-9) + 1e-18
    assert value >= 0.5 ** (numerator / denominator) * (1 - 1e-9) - 1e-17
    above, below = max(above, below), min(above, below)
    assert abs(halvings.count(above, below) / 2**halvings.FRACTION_BITS - math.log2(above / below)) < 1e-9


@settings(max_examples=150, deadline=None)
@given(probability=st.integers(0, 1_000_000), age_ns=st.integers(0, 5 * HOUR_NS))
def test_what_is_held_is_held_until_it_fades_through_the_exit(probability: int, age_ns: int) -> None:
    """Up to that time the faded probability is at the exit or above it; behind it, it is not, or its life is over."""
    left_ns = holds_for(RULE, probability, age_ns)
    assert 0 <= left_ns <= max(0, RULE.lifetime_ns - age_ns)
    if left_ns > NS_PER_S:
        assert decayed(probability, weight(RULE, age_ns + left_ns - NS_PER_S)) >= RULE.exit_e6 - 1
    after_ns = age_ns + left_ns + NS_PER_S
    assert after_ns > RULE.lifetime_ns or decayed(probability, weight(RULE, after_ns)) < RULE.exit_e6 + 1


@settings(max_examples=300, deadline=None)
@given(edge=PPM, error=PPM, volatility=VOLATILITY, cap=st.integers(0, 10**12))
def test_a_share_is_never_above_a_quarter_of_kelly(edge: int, error: int, volatility: int, cap: int) -> None:
    """Nor above the cap, nor below zero; exact in whole numbers."""
    share = sizing.kelly_share(edge, error, volatility, cap)
    assert 0 <= share <= max(cap, 0)
    if share:
        # share / 10^6 <= edge / volatility^2 / 4, both in millionths
        assert share * 4 * volatility * volatility <= min(edge, 10**6) * 10**12


@settings(max_examples=300, deadline=None)
@given(lower=PPM, more=st.integers(0, 500_000), upper=PPM, year=VOLATILITY, age_s=st.integers(0, 180))
def test_a_higher_lower_bound_never_gives_less(lower: int, more: int, upper: int, year: int, age_s: int) -> None:
    """With the same upper end; where it is not above zero there is nothing at all."""
    upper = max(upper, lower + more)
    low, high = (judge(RULE, score(lower_e6=bound, upper_e6=upper), age_s * NS_PER_S, year) for bound in (lower, lower + more))
    assert low.size_ppm <= high.size_ppm <= RULE.size_ppm_max
    for bound, verdict in ((lower, low), (lower + more, high)):
        assert bound > 0 or verdict.size_ppm == 0
        if verdict.steps:
            shares = [share for _, share in verdict.steps]
            assert shares == sorted(shares, reverse=True) and shares[-1] == verdict.size_ppm


@given(st.floats())
def test_floats_end_at_millionths(value: float) -> None:
    """NaN, infinities, what is not above zero or beyond use is None, and None is worth nothing."""
    found = sizing.millionths(value)
    if found is None:
        assert not math.isfinite(value) or value <= 0 or value * 1e6 > sizing.SIZE_INPUT_MAX
        assert judge(RULE, score(), 0, found).size_ppm == 0
    else:
        assert 0 < found <= sizing.SIZE_INPUT_MAX and found >= value * 1e6


@settings(max_examples=300, deadline=None)
@given(edge=PPM, error=st.integers(0, 2_000_000), volatility=VOLATILITY, cap=st.integers(1, 10**9), horizon=st.integers(1, 10**7))
def test_the_engine_and_the_kernels_size_alike(edge: int, error: int, volatility: int, cap: int, horizon: int) -> None:
    """The arithmetic of a user's own strategy, in whole numbers of the same value."""
    assert sizing.kelly_share(edge, error, volatility, cap) == kernels.kelly_share(edge, error, 0, volatility, cap)
    assert sizing.horizon_volatility(volatility, horizon) == kernels.horizon_volatility(volatility, horizon)
    assert sizing.volatility_scale(volatility, error) == kernels.volatility_scale(volatility, error)


def test_the_edge_of_an_interval_is_rounded_against_us() -> None:
    """The middle down, the deviation up."""
    assert sizing.edge_of(1, 4) == (2, 2)
    assert sizing.edge_of(4_000, 20_000) == (12_000, 4_864)
