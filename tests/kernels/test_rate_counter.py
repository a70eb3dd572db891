"""The compiled rate counter is the exact model of oracle_rate, whatever happens in whatever order and at whatever times."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle_rate import TradingRate

from cstd._fast.slot import InstrumentSlot
from cstd.units import NS_PER_S
from cstd.venue.rate import (
    ADD_COST,
    MICRO,
    TRADING_TIERS,
    amend_cost,
    cancel_cost,
    openings_limit_micro,
    points_to_micro,
)

NAME = "A/B"
AGE_EDGES_S = (0, 5, 10, 15, 45, 90, 300)
STEPS = st.one_of(
    st.tuples(st.just("charge"), st.integers(0, 9)),
    st.tuples(st.just("admits"), st.integers(1, 9)),
    st.tuples(st.just("word"), st.decimals(-5, 2000, places=3)),
    st.tuples(st.just("refused"), st.just(0)),
    st.tuples(st.just("tier"), st.sampled_from([60, 125, 180, 33, 90, 100_000])),
    st.tuples(st.just("rebase"), st.just(0)),
)
# Nanoseconds to twenty years: seconds are taken apart from the rest, so that no product overflows.
PASSING_NS = st.one_of(st.integers(0, 3 * NS_PER_S), st.integers(0, 100 * NS_PER_S), st.integers(0, 2**59))


def tune(slot: Any, rate: TradingRate, now_ns: int) -> None:
    """The model's tier for the compiled counter."""
    slot.rate_tune(rate.tier.threshold * MICRO, openings_limit_micro(rate.tier), rate.tier.decay_micro_per_s, now_ns)


@given(st.sampled_from(sorted(TRADING_TIERS)), st.lists(st.tuples(PASSING_NS, STEPS), max_size=60))
def test_it_is_the_exact_model(tier: str, steps: list[tuple[int, tuple[str, Any]]]) -> None:
    """Level and answer are the same after every step, to the micro-point."""
    rate, slot, now_ns = TradingRate(tier), InstrumentSlot(0, b"A/B", 10), 0
    tune(slot, rate, 0)
    for passed_ns, (what, value) in steps:
        now_ns += passed_ns
        if what == "charge":
            rate.charge(NAME, value, now_ns)
            slot.rate_charge(value, now_ns)
        elif what == "admits":
            assert slot.rate_admits(value, now_ns) == rate.admits(NAME, value, now_ns)
        elif what == "word":
            rate.on_venue_counter(NAME, value, now_ns)
            slot.rate_raise(points_to_micro(value), now_ns)
        elif what == "refused":
            rate.on_rate_limited(NAME, now_ns)
            slot.rate_raise(rate.tier.threshold * MICRO, now_ns)
        elif what == "tier":
            rate.set_tier(value, now_ns)
            tune(slot, rate, now_ns)
        else:
            rate.charge(NAME, 0, now_ns)  # what has passed on the old clock counts
            slot.rate_charge(0, now_ns)
            now_ns //= 3
            rate.rebase(now_ns)
            slot.rebase(now_ns)
        assert slot.rate_micro(now_ns) == rate.points_micro(NAME, now_ns)


@pytest.mark.parametrize("edge_s", AGE_EDGES_S)
def test_costs_change_at_the_venues_ages(edge_s: int) -> None:
    """On both sides of every age of the venue's table, and for an age that a clock made negative."""
    slot = InstrumentSlot(0, b"A/B", 10)
    for age_ns in (edge_s * NS_PER_S - 1, edge_s * NS_PER_S, edge_s * NS_PER_S + 1):
        assert slot.rate_points(age_ns) == (ADD_COST, amend_cost(age_ns), cancel_cost(age_ns))


def test_reading_changes_nothing_and_nothing_opens_before_a_tier_is_known() -> None:
    """A look at the counter from a later time leaves what an earlier event finds; without a tier there is no room."""
    slot = InstrumentSlot(0, b"A/B", 10)
    assert not slot.rate_admits(1, 0)
    tune(slot, TradingRate("starter"), 0)
    slot.rate_raise(points_to_micro(Decimal("50.5")), 0)
    assert slot.rate_micro(20 * NS_PER_S) == 30_500_000
    assert slot.rate_admits(1, 20 * NS_PER_S)
    assert not slot.rate_admits(1, NS_PER_S)
    assert slot.rate_micro(0) == 50_500_000
