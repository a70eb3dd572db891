"""Small functions for strategy sources, compiled into the strategy that calls them. Never imported by the trading process."""

from __future__ import annotations

import numba
import numpy as np

E8 = 100_000_000
PPM = 1_000_000
KELLY_PARTS = 4  # a quarter of the full Kelly share
EDGE_PPM_MAX = PPM  # no trade is taken to double its money
SIZE_INPUT_MAX = 1_000_000_000  # beyond it an error or a volatility says that nothing is known
Z_MILLI_MAX = 100_000
YEAR_S = 365 * 86_400
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
    return max(muldiv(amount, ppm, PPM), 0)


@numba.njit
def kelly_share(edge_ppm, error_ppm, z_milli, volatility_ppm, cap_ppm):  # type: ignore[no-untyped-def]
    """Return the share of equity that an edge is worth, in millionths: a quarter of Kelly's, at most `cap_ppm`.

    The edge counts at edge**2 / (edge**2 + error**2) of itself: what is as uncertain as it is large counts half. It counts
    nothing unless edge - z x error is above zero. The share is that edge / volatility**2 / 4, rounded down. A smaller edge, a
    larger error, z or volatility never gives more. 0 when anything is out of range: unknown is no edge.

    Args:
        edge_ppm: expected return of the trade, all costs taken off, in millionths.
        error_ppm: standard error of that expectation; 0 where it is known exactly.
        z_milli: how many standard errors the interval reaches below it, in thousandths: 1645 leaves one in twenty below.
        volatility_ppm: standard deviation of the return over the same time.
        cap_ppm: the largest share.
    """
    if edge_ppm <= 0 or cap_ppm <= 0 or not (0 <= error_ppm <= SIZE_INPUT_MAX and 0 <= z_milli <= Z_MILLI_MAX):
        return 0
    if not 0 < volatility_ppm <= SIZE_INPUT_MAX:
        return 0
    edge = min(edge_ppm, EDGE_PPM_MAX)
    if edge * 1_000 <= z_milli * error_ppm:
        return 0
    shrunk_ppb = muldiv(edge * 1_000, edge * edge, edge * edge + error_ppm * error_ppm)
    return min(max(muldiv(shrunk_ppb, 1_000_000_000, KELLY_PARTS * volatility_ppm * volatility_ppm), 0), cap_ppm)


@numba.njit
def volatility_scale(volatility_ppm, target_ppm):  # type: ignore[no-untyped-def]
    """Return what a volatility target leaves of a size, in millionths: target / volatility, rounded down, never above one.

    Both are of the same span of time. 0 where either is not above zero.
    """
    if volatility_ppm <= 0 or target_ppm <= 0:
        return 0
    return PPM if target_ppm >= volatility_ppm else muldiv(target_ppm, PPM, volatility_ppm)


@numba.njit
def horizon_volatility(year_ppm, horizon_s):  # type: ignore[no-untyped-def]
    """Return the volatility over a horizon from that of a year of 365 days, by the square root of time, rounded up.

    0 when either is not above zero, the volatility above a thousandfold or the horizon longer than the year.
    """
    if not (0 < year_ppm <= SIZE_INPUT_MAX and 0 < horizon_s <= YEAR_S):
        return 0
    square = max(muldiv(year_ppm * year_ppm, horizon_s, YEAR_S), 0) + 1  # rounded up
    root = np.int64(0)
    for bit in range(29, -1, -1):  # 2**30 squared is more than the largest square
        more = root + (np.int64(1) << np.int64(bit))
        if more * more <= square:
            root = more
    return root if root * root == square else root + 1
