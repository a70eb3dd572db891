"""Execution quality, by hand: shortfall, markouts and score with their signs, fees, weights, and shares with their interval."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd.ledger.execution import (
    QUEUE_NAMES,
    Execution,
    FilledOrder,
    Ratio,
    fee_in_quote,
    markout,
    percentiles,
    queue_class,
    together,
    wilson,
)

D = Decimal


def one(price: str, qty: str, fee: str | None, mids: Mapping[int, str | None]) -> Execution:
    """A fill; its cost is price times quantity."""
    return Execution(D(price), D(qty), D(price) * D(qty), D(fee) if fee is not None else None,
                     {horizon_s: D(mid) if mid is not None else None for horizon_s, mid in mids.items()})


def bps(ratio: Ratio | None) -> str | None:
    """As it is shown."""
    return None if ratio is None else f"{ratio.bps():f}"


def test_a_buy_by_hand() -> None:
    """Two fills against an arrival of 100: 1 at 100.10 and 3 at 100.30, fees 0.25 in all.

    Arrival value 400, cost 401.00: price 1.00/400 = 25 bps, fees 0.25/400 = 6.25 bps. After a minute the mid is 100.20 for both:
    401.00 - 4 x 100.20 = 0.20, 5 bps against us.
    """
    order = FilledOrder(1, D(100), [one("100.10", "1", "0.10", {60: "100.20"}), one("100.30", "3", "0.15", {60: "100.20"})])
    assert (bps(order.price_cost()), bps(order.fees()), bps(order.shortfall())) == ("25.000", "6.250", "31.250")
    assert (bps(order.markout(60)), bps(order.score())) == ("5.000", "36.250")


def test_a_sell_by_hand() -> None:
    """2 sold at 99.90 against 100: 0.20/200 = 10 bps of cost; the mid falls to 99.70 after it, 0.40/200 = 20 bps for us."""
    order = FilledOrder(-1, D(100), [one("99.90", "2", "0.08", {60: "99.70"})])
    assert (bps(order.price_cost()), bps(order.fees()), bps(order.shortfall())) == ("10.000", "4.000", "14.000")
    assert (bps(order.markout(60)), bps(order.score())) == ("-20.000", "-6.000")


def test_what_is_unknown_stays_unknown() -> None:
    """One fill without a mid, without a fee in the pair's assets, or an order without an arrival: no figure that needs it."""
    known = one("100", "1", "0.1", {1: "100", 60: "100"})
    gap = FilledOrder(1, D(100), [known, one("100", "1", "0.1", {1: "100", 60: None})])
    assert (bps(gap.markout(1)), gap.markout(60), gap.score(), bps(gap.shortfall())) == ("0.000", None, None, "10.000")
    assert gap.markout(300) is None
    other_fee = FilledOrder(1, D(100), [known, one("100", "1", None, {60: "100"})])
    assert bps(other_fee.price_cost()) == "0.000"
    assert {other_fee.fees(), other_fee.shortfall(), other_fee.score()} == {None}
    nowhere = FilledOrder(1, None, [known])
    assert {nowhere.price_cost(), nowhere.fees(), nowhere.shortfall(), nowhere.markout(60), nowhere.score()} == {None}
    assert bps(markout(known, 1, 60)) == "0.000"


def test_fees_in_base_count_at_the_fills_price() -> None:
    """0.001 BTC at 50,000 is 50; a fee in a third asset has no price here."""
    assert fee_in_quote([("USD", D("1.5")), ("BTC", D("0.001"))], "BTC", "USD", D(50_000)) == D("51.5")
    assert fee_in_quote([], "BTC", "USD", D(50_000)) == 0
    assert fee_in_quote([("KFEE", D(3))], "BTC", "USD", D(50_000)) is None


def test_the_mean_is_weighted_by_value_and_percentiles_are_not() -> None:
    """10 bps of 100 and 0 bps of 900 are 1 bps together; the 50th percentile of the two is the upper."""
    both = [Ratio(D("0.1"), D(100)), Ratio(D(0), D(900))]
    assert (together(both), percentiles(both, (0, 50, 95))) == (D("1.000"), [D("0.000"), D("10.000"), D("10.000")])
    assert (together([]), percentiles([], (50,))) == (None, [None])


PRICES = st.decimals(min_value=D("0.01"), max_value=D(100_000), places=2)


@given(st.sampled_from([1, -1]), PRICES, st.lists(st.tuples(
    PRICES, st.decimals(min_value=D("0.0001"), max_value=D(10), places=4), PRICES,
    st.decimals(min_value=0, max_value=D(10), places=4)), min_size=1, max_size=5))
def test_figures_are_exact_before_they_are_rounded(sign: int, arrival: Decimal, rows: list[tuple[Decimal, ...]]) -> None:
    """They are what rational numbers give, to half of the last digit shown; and the score is the sum of its parts."""
    order = FilledOrder(sign, arrival, [Execution(price, qty, price * qty, fee, {60: mid}) for price, qty, mid, fee in rows])
    value = sum(Fraction(arrival) * Fraction(qty) for _, qty, _, _ in rows)
    shortfall = sum(sign * (Fraction(price) - Fraction(arrival)) * Fraction(qty) + Fraction(fee) for price, qty, _, fee in rows)
    after = sum(sign * (Fraction(price) - Fraction(mid)) * Fraction(qty) for price, qty, mid, _ in rows)
    for found, exact in ((order.shortfall(), shortfall), (order.markout(60), after), (order.score(), shortfall + after)):
        assert found is not None
        assert abs(Fraction(found.bps()) - exact * 10_000 / value) <= Fraction(1, 2000)


@pytest.mark.parametrize(("ahead", "own", "name"), [
    (0, 5, "nothing"), (1, 5, "up to 1"), (5, 5, "up to 1"), (6, 5, "up to 3"), (15, 5, "up to 3"), (50, 5, "up to 10"),
    (51, 5, "more than 10")])
def test_classes_of_queue_positions(ahead: int, own: int, name: str) -> None:
    """In multiples of the order's own quantity, upper edges included."""
    assert QUEUE_NAMES[queue_class(ahead, own)] == name


@pytest.mark.parametrize(("found", "count", "low", "high"), [
    (8, 10, "0.4902", "0.9433"), (0, 10, "0.0000", "0.2775"), (10, 10, "0.7225", "1.0000"), (1, 1, "0.2065", "1.0000"),
    (50, 100, "0.4038", "0.5962")])
def test_wilsons_interval(found: int, count: int, low: str, high: str) -> None:
    """As tables of it have it; it never leaves 0 to 1."""
    assert tuple(f"{edge:.4f}" for edge in wilson(found, count)) == (low, high)
