"""The local rate counters equal Kraken's rules to the micro-point, and nonces only go up."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd.errors import ConfigError, InvariantError
from cstd.venue.nonce import RESERVE_US, NonceFile, NonceSource
from cstd.venue.rate import (
    MICRO,
    TRADING_TIERS,
    VENUE_POINTS_MAX,
    DecayingCounter,
    RestRate,
    amend_cost,
    cancel_cost,
    edit_cost,
    rest_cost,
    tier_of_threshold,
)
from tests.kernels.oracle_rate import TradingRate

S = 10**9


def test_documented_example_without_decay() -> None:
    """Add, amend at an age of 7 s, cancel 36 s after that: 1 + (1 + 2) + 4 = 8."""
    assert 1 + amend_cost(7 * S) + cancel_cost(36 * S) == 8


def test_fifty_adds_then_ten_seconds() -> None:
    """Intermediate: 50 - 10 × 2.34 = 26.6 points exactly."""
    rate = TradingRate("intermediate")
    for _ in range(50):
        rate.charge("BTC/USD", 1, 0)
    assert rate.points_micro("BTC/USD", 10 * S) == 26_600_000
    assert rate.points_micro("ETH/USD", 10 * S) == 0


@pytest.mark.parametrize(("age_s", "cancel", "amend", "edit"), [
    (0, 8, 4, 7), (4.999, 8, 4, 7), (5, 6, 3, 6), (9.999, 6, 3, 6), (10, 5, 2, 5), (14.999, 5, 2, 5), (15, 4, 1, 3),
    (44.999, 4, 1, 3), (45, 2, 1, 2), (89.999, 2, 1, 2), (90, 1, 1, 1), (299.999, 1, 1, 1), (300, 0, 1, 1),
])
def test_young_orders_cost_more(age_s: float, cancel: int, amend: int, edit: int) -> None:
    """Both sides of every age limit of the table."""
    age_ns = round(age_s * S)
    assert (cancel_cost(age_ns), amend_cost(age_ns), edit_cost(age_ns)) == (cancel, amend, edit)


@pytest.mark.parametrize("tier", TRADING_TIERS)
def test_local_limit_is_eighty_percent(tier: str) -> None:
    """At 80 % of the threshold an add is still admitted, one point above it is not; what must go is charged anyway."""
    rate = TradingRate(tier)
    limit = TRADING_TIERS[tier].threshold * 80 // 100
    rate.charge("A/B", limit - 1, 0)
    assert rate.admits("A/B", 1, 0)
    assert not rate.admits("A/B", 2, 0)
    assert rate.refused_count == 1
    rate.charge("A/B", 8, 0)
    assert rate.points_micro("A/B", 0) == (limit + 7) * MICRO


def test_venue_has_the_last_word() -> None:
    """A refusal puts the counter at the threshold; the venue's own value raises it and never lowers it."""
    rate = TradingRate("starter")
    rate.on_rate_limited("A/B", 0)
    assert rate.points_micro("A/B", 0) == 60 * MICRO
    rate.on_venue_counter("A/B", Decimal("12.5"), 0)
    assert rate.points_micro("A/B", 0) == 60 * MICRO
    rate.on_venue_counter("C/D", Decimal("12.5"), 0)
    assert rate.points_micro("C/D", 0) == 12_500_000
    assert rate.set_tier(180, 0)
    assert rate.points_micro("C/D", S) == 8_750_000
    assert not rate.set_tier(99, S)
    assert (rate.tier.threshold, rate.tier.decay_micro_per_s) == (99, 1_000_000), "of no known tier: at its strictest"
    assert not rate.set_tier(500, S)
    assert rate.tier.threshold == 99
    rate.on_venue_counter("C/D", Decimal("1e17"), S)
    assert rate.points_micro("C/D", S) == VENUE_POINTS_MAX * MICRO
    assert tier_of_threshold(125) == "intermediate"


@given(st.lists(st.integers(min_value=0, max_value=10**10), max_size=50), st.sampled_from([330_000, 2_340_000]))
def test_many_small_steps_decay_like_one(steps_ns: list[int], decay: int) -> None:
    """Reading the counter often does not change it."""
    often, once = DecayingCounter(decay), DecayingCounter(decay)
    often.add(10**12, 0)
    once.add(10**12, 0)
    now_ns = 0
    for step_ns in steps_ns:
        now_ns += step_ns
        often.level_micro(now_ns)
    assert often.level_micro(now_ns) == once.level_micro(now_ns)


def test_rest_counter_waits_exactly_as_long_as_needed() -> None:
    """Starter holds 15 points and decays 0.33 a second; order calls cost nothing there."""
    rate = RestRate("starter")
    for _ in range(15):
        assert rate.next_ns("OpenOrders", 0) == 0
        rate.charge("OpenOrders", 0)
    at_ns = rate.next_ns("OpenOrders", 0)
    assert at_ns == -(-MICRO * S // 330_000)
    assert rate.next_ns("AddOrder", 0) == 0
    rate.charge("OpenOrders", at_ns)
    assert rate.points_micro(at_ns) <= 15 * MICRO
    assert [rest_cost(name) for name in ("ClosedOrders", "TradesHistory", "BalanceEx", "CancelOrder")] == [2, 2, 1, 0]


def test_unknown_tier_is_refused() -> None:
    """A tier that Kraken does not have is a configuration error."""
    with pytest.raises(ConfigError, match="gold"):
        RestRate("gold")


@given(st.lists(st.integers(min_value=0, max_value=2**62), min_size=1, max_size=50))
def test_nonces_only_go_up(walls_ns: list[int]) -> None:
    """Whatever the wall clock does, each nonce is above the last and below the persisted mark."""
    source = NonceSource(7)
    last = 7
    for wall_ns in walls_ns:
        mark = source.mark_due(wall_ns)
        if mark is not None:
            source.reserve(mark)
        nonce = source.take(wall_ns)
        assert last < nonce <= source.reserved
        last = nonce


def test_nonce_needs_its_mark() -> None:
    """No nonce is given out that a crash could make a later run repeat."""
    with pytest.raises(InvariantError):
        NonceSource(0).take(S)


def test_nonce_file_survives_restart_and_clock_step(tmp_path: Path) -> None:
    """A new process starts above everything the old one may have used, also when the clock went back."""
    path = tmp_path / "nonce"
    first = NonceFile(path)
    used = [first.take(1_000 * S) for _ in range(3)]
    assert used == [1_000_000_000, 1_000_000_001, 1_000_000_002]
    again = NonceFile(path)
    assert again.take(500 * S) == used[0] + RESERVE_US + 1
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("garbage")
    with pytest.raises(ConfigError, match="garbage"):
        NonceFile(path)
