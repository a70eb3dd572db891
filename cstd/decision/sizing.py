"""How large a position an edge is worth, in whole millionths: what cstd.signals.strategies.kernels compiles, for the engine.

The trading process has no numba, so the same arithmetic stands here in Python's integers, which have no width; a test holds
the two equal. Floats end at `millionths`: what is no finite number above zero is None there, and None is worth nothing.
"""

from __future__ import annotations

import math

PPM = 1_000_000
KELLY_PARTS = 4  # a quarter of the full Kelly share
EDGE_PPM_MAX = PPM  # no trade is taken to double its money
SIZE_INPUT_MAX = 1_000_000_000  # beyond it an error or a volatility says that nothing is known
YEAR_S = 365 * 86_400
# Of a normal variable 90 % lie within so many thousandths of its deviation around the mean.
Z90_MILLI = 1_645


def millionths(value: float) -> int | None:
    """Return a feature in millionths, rounded up; None for what is no finite number above zero, or beyond any use."""
    if not math.isfinite(value) or value <= 0 or value * PPM > SIZE_INPUT_MAX:
        return None
    return math.ceil(value * PPM)


def horizon_volatility(year_ppm: int, horizon_s: int) -> int:
    """Return the volatility over a horizon from that of a year of 365 days, by the root of time, rounded up; 0: unknown."""
    if not (0 < year_ppm <= SIZE_INPUT_MAX and 0 < horizon_s <= YEAR_S):
        return 0
    square = year_ppm * year_ppm * horizon_s // YEAR_S + 1
    root = math.isqrt(square)
    return root if root * root == square else root + 1


def edge_of(lower_ppm: int, upper_ppm: int) -> tuple[int, int]:
    """Return the edge that a 90 % interval of the net return tells, rounded down, and its deviation, rounded up."""
    half = -((lower_ppm - upper_ppm) // 2)
    return (lower_ppm + upper_ppm) // 2, -(-half * 1_000 // Z90_MILLI)


def kelly_share(edge_ppm: int, error_ppm: int, volatility_ppm: int, cap_ppm: int) -> int:
    """Return the share of equity that an edge is worth, in millionths: a quarter of Kelly's, at most `cap_ppm`.

    The edge counts at edge**2 / (edge**2 + error**2) of itself; rounded down. 0 when anything is out of range.
    """
    if edge_ppm <= 0 or cap_ppm <= 0 or not 0 <= error_ppm <= SIZE_INPUT_MAX or not 0 < volatility_ppm <= SIZE_INPUT_MAX:
        return 0
    edge = min(edge_ppm, EDGE_PPM_MAX)
    shrunk_ppb = edge * 1_000 * edge * edge // (edge * edge + error_ppm * error_ppm)
    return min(shrunk_ppb * 1_000_000_000 // (KELLY_PARTS * volatility_ppm * volatility_ppm), cap_ppm)


def volatility_scale(volatility_ppm: int, target_ppm: int) -> int:
    """Return what a volatility target leaves of a size, in millionths: target / volatility, never above one; 0: unknown."""
    if volatility_ppm <= 0 or target_ppm <= 0:
        return 0
    return min(PPM, target_ppm * PPM // volatility_ppm)


def part(amount: int, ppm: int) -> int:
    """Return so many millionths of an amount, rounded down."""
    return amount * ppm // PPM
