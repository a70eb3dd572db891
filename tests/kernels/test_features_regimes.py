"""Features at the ends of the range of prices and quantities, against exact fractions and long decimals.

Two regimes: BTC, where a price has seven digits and a quantity is a few satoshi or thousands of coins, and SHIB, where a
price is a few hundred ticks and a level holds a thousand million to a million million coins.
"""

from __future__ import annotations

import random
from decimal import Context, Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cstd._fast import bars, features

S = 10**9
T0 = 100 * S
EXACT = Context(prec=60)
Levels = list[tuple[int, int, int]]
# (price digits, quantity digits, least and largest price, least and largest quantity, all raw)
REGIMES = {
    "BTC": (1, 8, 900_000, 1_300_000, 1, 5_000 * 10**8),
    "SHIB": (8, 5, 300, 4_000, 10**9 * 10**5, 10**12 * 10**5),
}


def exact(bids: Levels, asks: Levels, digits: int) -> dict[str, Fraction]:
    """Every feature of one book alone as a fraction."""
    sides = [[(p, q - own) for p, q, own in side if q > own] for side in (bids, asks)]
    (bid, bid_qty), (ask, ask_qty) = sides[0][0], sides[1][0]
    mid = Fraction(bid + ask, 2)
    out = {"SPREAD_BPS": (ask - bid) / mid * 10_000,
           "WEIGHTED_MID_BPS": (Fraction(bid * ask_qty + ask * bid_qty, bid_qty + ask_qty) - mid) / mid * 10_000}
    for k in (1, 5, 10):
        b, a = (sum(q for _, q in side[:k]) for side in sides)
        out[f"IMBALANCE_{k}"] = Fraction(b - a, b + a)
    unit = Fraction(1, 10**digits)
    for name, side in zip(("BID", "ASK"), sides, strict=True):
        for bps in (10, 25):
            out[f"DEPTH_{name}_{bps}BPS"] = unit * sum(p * q for p, q in side if abs(p - mid) <= mid * Fraction(bps, 10_000))
        out[f"SLOPE_{name}"] = unit * sum(p * q for p, q in side[:10]) / (abs(side[:10][-1][0] - mid) / mid * 10_000)
    return out


def close(actual: float, expected: Fraction | Decimal, size: Fraction | int = 0, rel: float = 1e-13) -> bool:
    """Whether a double is an exact value, relative to it or to the size of what it is a difference of."""
    wanted = Fraction(expected)
    return abs(Fraction(actual) - wanted) <= Fraction(rel) * max(abs(wanted), Fraction(size))


def drawn_book(draw: random.Random, regime: str) -> tuple[Levels, Levels]:
    """A book of 1 to 25 levels a side, some of them ours in part or whole, never all of the first."""
    _, _, price_min, price_max, qty_min, qty_max = REGIMES[regime]
    bid = draw.randrange(price_min, price_max)
    ask = bid + draw.choice((1, 1, 2, draw.randrange(1, 30)))
    sides: list[Levels] = []
    for sign, price in ((-1, bid), (1, ask)):
        levels, at = [], price
        for n in range(draw.randrange(1, 26)):
            qty = draw.choice((qty_min, qty_max, draw.randrange(qty_min, qty_max)))
            levels.append((at, qty, draw.choice((0, 0, 0, qty, qty // 2)) if n else 0))
            at += sign * draw.choice((1, 1, 2, draw.randrange(1, 9)))
        sides.append([level for level in levels if level[0] > 0])
    return sides[0], sides[1]


@pytest.mark.parametrize("regime", REGIMES)
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_features_of_a_book_are_exact(regime: str, seed: int) -> None:
    """Spread, imbalance, weighted mid, depth and slope are the exact fractions to 1e-13; differences of quantities are
    judged by the size of what is subtracted."""
    digits = REGIMES[regime][0] + REGIMES[regime][1]
    draw = random.Random(seed)
    bids, asks = drawn_book(draw, regime)
    row = features.FeatureStream(*REGIMES[regime][:2]).book(bids, asks, T0)
    for name, value in exact(bids, asks, digits).items():
        size = 1 if name.startswith("IMBALANCE") else exact(bids, asks, digits)["SPREAD_BPS"] if name.startswith("WEIGHT") else 0
        assert close(row[name], value, size), (seed, name, row[name], float(value))


@pytest.mark.parametrize("mid", [1000, 2000, 4000, 10_000, 100_000, 1_000_000, 3 * 10**14])
@pytest.mark.parametrize("bps", [10, 25])
@pytest.mark.parametrize("beside", [-1, 0, 1])
def test_a_level_on_the_end_of_a_band_is_in_it_on_both_sides(mid: int, bps: int, beside: int) -> None:
    """Exactly n bps from mid is within n bps, for bids as for asks; one tick further is not."""
    away = Fraction(mid * bps, 10_000)
    distance = int(away) + beside if away.denominator == 1 else int(away) + 1 + beside
    if distance < 1:
        return
    row = features.FeatureStream(0, 0).book([(mid - distance, 1, 0)], [(mid + distance, 1, 0)], T0)
    inside = distance <= away
    assert (row[f"DEPTH_BID_{bps}BPS"], row[f"DEPTH_ASK_{bps}BPS"]) == (
        (mid - distance, mid + distance) if inside else (0, 0))


@pytest.mark.parametrize("regime", REGIMES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
@example(seed=0)
def test_decayed_features_stay_exact_over_many_updates(regime: str, seed: int) -> None:
    """Order flow and signed volume after 150 books and trades of any size, pauses of nanoseconds to minutes: the sums of
    long decimals with true exponentials agree to 1e-9 of the sizes that were added."""
    draw = random.Random(seed)
    _, _, _, _, qty_min, qty_max = REGIMES[regime]
    stream, now = features.FeatureStream(*REGIMES[regime][:2]), T0
    stream.tape_begin(now)
    top: tuple[int, int, int, int] | None = None
    events: dict[str, list[tuple[int, int]]] = {"flow": [], "trade": []}
    bids, asks = drawn_book(draw, regime)
    for _ in range(150):
        now += draw.choice((1, 1000, draw.randrange(S), draw.randrange(20 * S)))
        if draw.random() < 0.4:
            side, qty = draw.choice((-1, 1)), draw.randrange(qty_min, qty_max)
            stream.trade(side, bids[0][0], qty, now)
            events["trade"].append((now, side * qty))
        if draw.random() < 0.3:
            bids, asks = drawn_book(draw, regime)
        else:
            bids = [(bids[0][0], draw.randrange(qty_min, qty_max), 0), *bids[1:]]
        row = stream.book(bids, asks, now)
        new = (bids[0][0], bids[0][1], asks[0][0], asks[0][1])
        if top is not None:
            flow = ((new[1] if new[0] >= top[0] else 0) - (top[1] if new[0] <= top[0] else 0)
                    + (top[3] if new[2] >= top[2] else 0) - (new[3] if new[2] <= top[2] else 0))
            events["flow"].append((now, flow))
            assert close(row["OFI_LAST"], Fraction(flow, new[1] + new[3] + top[1] + top[3]), 1)
        top = new
    touch = bids[0][1] + asks[0][1]
    for name, kind, tau in (("OFI_1S", "flow", 1), ("OFI_10S", "flow", 10), ("FLOW_10S", "trade", 10), ("FLOW_60S", "trade", 60)):
        if name in row:
            net, gross = (faded(events[kind], tau, now, size=size) for size in (False, True))
            assert close(row[name], EXACT.divide(net, gross + touch), 1, rel=1e-9), (seed, name)
    if "TRADE_RATE_60S" in row:
        count = faded([(t, 1) for t, _ in events["trade"]], 60, now, size=True)
        assert close(row["TRADE_RATE_60S"], EXACT.divide(count, Decimal(60)), Fraction(1, 10**6), rel=1e-9)


def faded(events: list[tuple[int, int]], tau_s: int, now: int, *, size: bool) -> Decimal:
    """Decayed sum with 60 digits."""
    total = Decimal(0)
    for t, x in events:
        weight = EXACT.exp(EXACT.divide(Decimal(t - now), Decimal(tau_s * S)))
        total = EXACT.add(total, EXACT.multiply(Decimal(abs(x) if size else x), weight))
    return total


@pytest.mark.parametrize("regime", REGIMES)
def test_bars_of_large_and_tiny_quantities_are_exact(regime: str) -> None:
    """Five minutes of trades of the regime's largest and smallest sizes: quantity and value of each minute's bar are the
    exact sums, the value rounded once per trade."""
    price_digits, qty_digits, price_min, price_max, qty_min, qty_max = REGIMES[regime]
    draw = random.Random(regime)
    series = bars.BarSeries(price_digits, qty_digits)
    series.tape_from(0)
    sums: dict[int, list[int]] = {}
    for n in range(300):
        at_ns = 60 * S + n * S
        price = draw.randrange(price_min, price_max)
        qty = draw.choice((qty_min, draw.randrange(qty_min, max(qty_max // 100, qty_min + 1))))
        series.trade(price, qty, at_ns)
        minute = sums.setdefault(at_ns // (60 * S), [0, 0])
        minute[0] += qty
        minute[1] += price * qty * 10**8 // 10**(price_digits + qty_digits)
    series.pass_time(600 * S)
    assert [(row[0] // (60 * S), row[5], row[6]) for row in series.closed(0)] == [
        (minute, qty, value) for minute, (qty, value) in sums.items()]
