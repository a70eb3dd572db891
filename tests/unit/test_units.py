"""Units: conversions are exact, and rounding goes only the way it is told to."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd import units

raws = st.integers(units.INT64_MIN, units.INT64_MAX)
precisions = st.integers(0, 18)


@given(raws, precisions)
def test_raw_survives_decimal_and_text(raw: int, precision: int) -> None:
    """raw → decimal → raw and raw → text → raw give the same integer."""
    assert units.to_raw(units.from_raw(raw, precision), precision) == raw
    assert units.to_raw(units.format_raw(raw, precision), precision) == raw


@given(raws, precisions)
def test_text_is_plain_with_all_decimals(raw: int, precision: int) -> None:
    """Text has exactly `precision` decimals and never an exponent."""
    text = units.format_raw(raw, precision)
    assert "e" not in text.lower()
    assert len(text.partition(".")[2]) == precision


@pytest.mark.parametrize("text", ["0.123", "1e-3", "nan", "inf", "", "1,5", "0x10"])
def test_what_does_not_fit_is_refused(text: str) -> None:
    """Excess digits and what is no finite number are errors, never rounded."""
    with pytest.raises(ValueError, match=r"digits|number"):
        units.to_raw(text, 2)


@given(st.integers(-10**30, 10**30), st.integers(1, 10**20))
def test_divide_brackets_the_quotient(numerator: int, denominator: int) -> None:
    """Down and up differ by at most one and enclose the exact quotient."""
    down, up = units.divide(numerator, denominator, "down"), units.divide(numerator, denominator, "up")
    assert down * denominator <= numerator <= up * denominator
    assert up - down == (numerator % denominator != 0)


def test_notional_rounds_as_asked() -> None:
    """0.00000001 at 60,000.1 in cents is 0 down and 1 up."""
    for rounding, cents in (("down", 0), ("up", 1)):
        assert units.notional_raw(600_001, 1, price_precision=1, qty_precision=8, quote_precision=2, rounding=rounding) == cents


def test_seconds_are_exact_nanoseconds() -> None:
    """2.5 s is 2,500,000,000 ns; finer than a nanosecond is an error."""
    assert units.seconds_to_ns(Decimal("2.5")) == 2_500_000_000
    with pytest.raises(ValueError, match="digits"):
        units.seconds_to_ns(Decimal("0.0000000001"))
