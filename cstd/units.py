"""Exact conversion between decimals and raw integers, and basis points.

raw = value × 10^precision, as an int. Nothing here rounds unless its name or argument says which way, and nothing
here is a float: a price that passes through binary floating point can come back one tick off.
"""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from typing import Literal

BPS_PER_UNIT = 10_000
NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}  # of a length of time as a user types it

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

# Wide enough that scaling never rounds: 308 digits before and after the point are far beyond any price times quantity.
_EXACT = Context(prec=700)

Rounding = Literal["down", "up"]


def parse_decimal(text: str) -> Decimal:
    """Return the finite decimal written in `text`.

    Raises:
        ValueError: it is not a number, or NaN or infinite.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"not a decimal number: {text!r}") from None
    if not value.is_finite():
        raise ValueError(f"not a finite number: {text!r}")
    return value


def to_raw(value: Decimal | int | str, precision: int) -> int:
    """Return value × 10^precision as an int, exactly.

    Raises:
        ValueError: the value has more fractional digits than `precision`, or is not finite.
    """
    decimal = parse_decimal(value) if isinstance(value, str) else Decimal(value)
    if not decimal.is_finite():
        raise ValueError(f"not a finite number: {decimal}")
    scaled = decimal.scaleb(precision, _EXACT)
    raw = int(scaled)
    if raw != scaled:
        raise ValueError(f"{decimal} has more than {precision} fractional digits")
    return raw


def from_raw(raw: int, precision: int) -> Decimal:
    """Return raw × 10^-precision, with `precision` fractional digits (trailing zeros kept)."""
    return Decimal(raw).scaleb(-precision, _EXACT)


def format_raw(raw: int, precision: int) -> str:
    """Return raw × 10^-precision in plain digits with all `precision` decimals, as Kraken prints numbers."""
    if precision == 0:
        return str(raw)
    sign = "-" if raw < 0 else ""
    digits = str(abs(raw)).rjust(precision + 1, "0")
    return f"{sign}{digits[:-precision]}.{digits[-precision:]}"


def format_decimal(value: Decimal) -> str:
    """Return the value in plain digits, never with an exponent."""
    return format(value, "f")


def divide(numerator: int, denominator: int, rounding: Rounding) -> int:
    """Return numerator / denominator rounded toward minus ("down") or plus ("up") infinity; denominator > 0."""
    if denominator <= 0:
        raise ValueError(f"denominator must be positive, got {denominator}")
    return numerator // denominator if rounding == "down" else -(-numerator // denominator)


def rescale_raw(raw: int, from_precision: int, to_precision: int, rounding: Rounding) -> int:
    """Return the same value at another precision; digits that do not fit are rounded the way that is asked for."""
    if to_precision >= from_precision:
        return int(raw * 10 ** (to_precision - from_precision))
    return divide(raw, 10 ** (from_precision - to_precision), rounding)


def notional_raw(price_raw: int, qty_raw: int, *, price_precision: int, qty_precision: int, quote_precision: int,
                 rounding: Rounding) -> int:
    """Return price × quantity in raw quote units, rounded the way that is asked for."""
    return rescale_raw(price_raw * qty_raw, price_precision + qty_precision, quote_precision, rounding)


def bps_of(amount: int, bps: int, rounding: Rounding) -> int:
    """Return `bps` basis points of an integer amount, in the amount's own units."""
    return divide(amount * bps, BPS_PER_UNIT, rounding)


def ratio_bps(part: int, whole: int, rounding: Rounding) -> int:
    """Return part / whole in basis points; both in the same raw units, whole > 0."""
    return divide(part * BPS_PER_UNIT, whole, rounding)


def seconds_to_ns(seconds: Decimal | int) -> int:
    """Return seconds as nanoseconds; anything finer than a nanosecond is an error."""
    return to_raw(Decimal(seconds), 9)
