"""Powers of one half and their inverse in whole numbers: the same on every host, where a libm's last bit is not, and quick."""

from __future__ import annotations

import math

BITS = 60
ONE = 1 << BITS
FRACTION_BITS = 32


def _roots() -> tuple[int, ...]:
    found = [math.isqrt(ONE * ONE // 2)]
    while len(found) < FRACTION_BITS:
        found.append(math.isqrt(found[-1] << BITS))
    return tuple(found)


# 1/2 to the power of 1/2, 1/4, 1/8 ..., of ONE.
_ROOTS = _roots()


def power(numerator: int, denominator: int) -> int:
    """Return 1/2 to the power of a quotient that is not below zero, of ONE, rounded down."""
    whole, rest = divmod(numerator, denominator)
    value = ONE
    for root in _ROOTS:
        rest *= 2
        if rest >= denominator:
            rest -= denominator
            value = value * root >> BITS
    return value >> whole


def count(above: int, below: int) -> int:
    """Return how often `above` is halved until it is `below` (0 < below <= above), of 2**FRACTION_BITS, rounded down."""
    value = (above << BITS) // below
    whole = value.bit_length() - BITS - 1
    value >>= whole
    for _ in range(FRACTION_BITS):
        value = value * value >> BITS
        whole <<= 1
        if value >= 2 * ONE:
            value >>= 1
            whole |= 1
    return whole
