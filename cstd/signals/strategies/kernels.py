"""Small functions for strategy sources, compiled into the strategy that calls them. Never imported by the trading process."""

from __future__ import annotations

import numba
import numpy as np

E8 = 100_000_000
INT64_MAX = 2**63 - 1
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_TOP = np.uint64(63)
_ONE = np.uint64(1)


@numba.njit
def muldiv(a, b, c):  # type: ignore[no-untyped-def]
    """Return a x b / c rounded down, -1 where that is no 64-bit integer or an argument is not above zero.

    The product has up to 126 bits; numba has no integer of that width, so it is multiplied and divided by halves.
    """
    if a <= 0 or b <= 0 or c <= 0:
        return -1
    if a <= INT64_MAX // b:
        return a * b // c
    x, y, divisor = np.uint64(a), np.uint64(b), np.uint64(c)
    low = (x & _LOW) * (y & _LOW)
    cross = (x >> _HALF) * (y & _LOW) + (low >> _HALF)
    other = (x & _LOW) * (y >> _HALF) + (cross & _LOW)
    high = (x >> _HALF) * (y >> _HALF) + (cross >> _HALF) + (other >> _HALF)
    low = (other << _HALF) | (low & _LOW)
    if high >= divisor:
        return -1
    quotient = np.uint64(0)
    for _ in range(64):
        high = (high << _ONE) | (low >> _TOP)
        low = low << _ONE
        quotient = quotient << _ONE
        if high >= divisor:
            high = high - divisor
            quotient = quotient | _ONE
    if quotient >> _TOP != np.uint64(0):
        return -1
    return np.int64(quotient)


@numba.njit
def qty_for(notional_acct_raw, rate_e8, price_raw, price_scale, qty_scale, lot_raw):  # type: ignore[no-untyped-def]
    """Return the quantity that a notional buys at a price, in whole lots, rounded down; 0 when anything is out of range.

    The notional is in 10**-8 of the account currency; the other arguments are words of the view.
    """
    if notional_acct_raw <= 0 or rate_e8 <= 0 or price_raw <= 0 or price_raw == INT64_MAX or lot_raw <= 0:
        return 0
    quote_e8 = notional_acct_raw if rate_e8 == E8 else muldiv(notional_acct_raw, E8, rate_e8)
    qty = muldiv(muldiv(quote_e8, qty_scale, price_raw), price_scale, E8)
    return qty - qty % lot_raw if qty > 0 else 0


@numba.njit
def share(amount, ppm):  # type: ignore[no-untyped-def]
    """Return so many millionths of an amount, rounded down; 0 when either is not above zero."""
    return max(muldiv(amount, ppm, 1_000_000), 0)
