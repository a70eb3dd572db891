"""Proven: no number that the kernel computes leaves its machine word, and the functions that the other theorems take as
growing with their argument do."""

from __future__ import annotations

import random

import pytest
import z3

from tests.proof.cases import case_of
from tests.proof.facts_model import (
    BUY,
    MBPS_PER_UNIT,
    OPENING,
    PRICE_RAW_MAX,
    QTY_RAW_MAX,
    SELL,
    WHY,
    Facts,
    band_edge,
    bps_of,
    cost_reaches_minimum,
    money,
    prices,
    qty_of,
    walk_cap,
    walk_cost,
)
from tests.proof.gates_model import Case, evaluate, rule_all
from tests.proof.terms import INT64_MAX, Fit, Fits, both, down, least, most, unasked, up
from tests.proof.world import World, prove

LEVELS_MAX = 2**24  # a side's index is an int; a book has at most some thousand levels


def shown(fit: Fit, given: list) -> None:
    """A number is inside its word wherever it is computed."""
    prove(z3.Implies(z3.BoolVal(fit.reached) if isinstance(fit.reached, bool) else fit.reached,
                     both(fit.value >= fit.low, fit.value <= fit.high)), *given)


def found_in(fits: Fits, given: list, at_least: int) -> None:
    """All numbers that were told are inside their words."""
    assert len(fits.found) >= at_least
    for fit in fits.found:
        shown(fit, given)


@pytest.mark.parametrize("side", [BUY, SELL])
def test_money_stays_in_its_words(side: int) -> None:
    """Scale, rates with haircut, price × quantity and the notional, for every input."""
    w, fits = World(), Fits()
    money(Facts(), w.input(kind=OPENING, side=side), fits)
    found_in(fits, w.given, 6)


def test_prices_and_band_stay_in_their_words() -> None:
    """bid + ask, and the edge of the depth's band, for every book and limit."""
    w, fits = World(), Fits()
    levels = [[tuple(w.number(f"{side}{n}{field}", -(2**63), INT64_MAX) for field in ("p", "q", "o")) for n in range(2)]
              for side in ("bid", "ask")]
    f = Facts()
    prices(f, *levels, fits)
    mid2 = w.number("mid2", 0, 2 * PRICE_RAW_MAX)
    for sells in (True, False):
        band_edge(mid2, w.number(f"band{sells}", -(2**63), INT64_MAX), sells, fits)
    found_in(fits, w.given, 5)
    prove(both(f.mid2 >= 0, f.mid2 <= 2 * PRICE_RAW_MAX), *w.given)


def test_gates_stay_in_their_words() -> None:
    """What the fifteen gates compute of any facts, and the verdict's products."""
    for kind in (OPENING, 1):
        w, fits = World(), Fits()
        i = w.input(kind=kind)
        c = Case(i, w.limits(), w.facts(i), fits)
        rule_all(c)
        found_in(fits, w.given, 7)


def test_affordable_and_minimum_stay_in_their_words() -> None:
    """cap × scale, price × rate, and the divisor is above 0 wherever the notional is known."""
    w, fits = World(), Fits()
    i = w.input()
    f = Facts(scale=w.number("scale", 1, 2**64 - 1), rate_up=w.number("rate_up", 1, 2**63 - 1))
    w.given += [i["price_raw"] > 0, i["price_raw"] <= PRICE_RAW_MAX, i["price_scale"] > 0, i["qty_scale"] > 0]
    qty_of(f, i["price_raw"], w.number("cap", -(2**63), INT64_MAX), fits)
    cost_reaches_minimum(i, w.number("qty", 1, QTY_RAW_MAX), fits)
    found_in(fits, w.given, 3)
    prove(i["price_raw"] * f.rate_up > 0, *w.given)


def test_a_band_of_any_length_stays_in_its_word() -> None:
    """One more level inside the domain adds less than 2^102, so the sum of LEVELS_MAX of them stays below 2^128."""
    w = World()
    n, value = w.number("levels", 0, LEVELS_MAX - 1), w.number("value", 0, 2**128)
    price, visible = w.number("price", 1, PRICE_RAW_MAX), w.number("visible", 0, 2 * QTY_RAW_MAX - 1)
    w.given += [value <= n * (PRICE_RAW_MAX * 2 * QTY_RAW_MAX)]
    prove(both(value + price * visible <= (n + 1) * (PRICE_RAW_MAX * 2 * QTY_RAW_MAX), value + price * visible < 2**128),
          *w.given)


def test_a_walk_of_any_length_stays_in_its_words() -> None:
    """By induction over the levels: shortfall and cost over budget are at most their largest per piece × pieces taken."""
    w = World()
    mid2, price = w.number("mid2", 2, 2 * PRICE_RAW_MAX), w.number("price", 1, PRICE_RAW_MAX)
    qty, left = w.number("qty", 1, QTY_RAW_MAX), w.number("left", 0, QTY_RAW_MAX)
    take = w.number("take", 1, QTY_RAW_MAX)
    taken = qty - left
    w.given += [left <= qty, take <= left]
    away2_max = 2 * PRICE_RAW_MAX
    shortfall2, away2 = w.number("shortfall2", 0, 2**128), most(mid2 - 2 * price, 2 * price - mid2)
    prove(both(away2 <= away2_max, shortfall2 + away2 * take <= away2_max * (taken + take),
               (shortfall2 + away2 * take) * MBPS_PER_UNIT < 2**128), *w.given, shortfall2 <= away2_max * taken)
    budget = w.number("budget", 0, 2**24)
    each_max = away2_max * (MBPS_PER_UNIT + 2**24)
    for sign in (1, -1):
        each = sign * (mid2 - 2 * price) * MBPS_PER_UNIT - budget * mid2
        over = w.number(f"over{sign}", -(2**127), 2**127 - 1)
        prove(both(each <= each_max, each >= -each_max), *w.given)
        term = w.number(f"each{sign}", -each_max, each_max)
        prove(both(over + term * take <= each_max * (taken + take), over + term * take >= -each_max * (taken + take),
                   over + term * take < 2**127, over + term * take >= -(2**127)),
              *w.given, over <= each_max * taken, over >= -each_max * taken)


def test_the_walk_of_two_levels_is_the_induction() -> None:
    """The model's own loop, for two levels of any prices and quantities that a walk reaches."""
    w, fits = World(), Fits()
    levels = [(w.number(f"p{n}", 1, PRICE_RAW_MAX), w.number(f"q{n}", 1, 2 * QTY_RAW_MAX - 1), 0) for n in range(2)]
    f = Facts(mid2=w.number("mid2", 2, 2 * PRICE_RAW_MAX))
    qty = w.number("qty", 1, QTY_RAW_MAX)
    walk_cost(f, levels, True, qty, fits)
    assert len(fits.found) == 5
    for fit in fits.found:
        if fit.name == "distance from mid":
            shown(fit, w.given)
    walk_cap(levels[:1], True, f.mid2, w.number("budget", 0, 2**24), qty, fits)
    fits.found = fits.found[5:]
    found_in(fits, w.given, 2)


def test_on_plain_numbers_nothing_leaves_its_word() -> None:
    """The same obligations, of all loops at their real length, over drawn cases: none is broken."""
    rng = random.Random(7)
    told = 0
    for _ in range(60):
        intents, lim, bids, asks = case_of(rng, 5)
        for i in intents:
            fits = Fits()
            _, d = evaluate(i, lim, bids, asks, fits)
            wild = [fit for fit in fits.found if fit.reached is True and fit.name in REACHED_ALWAYS
                    and not fit.low <= fit.value <= fit.high]
            assert wild == []
            told += len(fits.found)
            assert d.qty_final <= max(i["qty_raw"], 0)
    assert told > 1000


REACHED_ALWAYS = ("bid + ask", "rate with the haircut", "rate less the haircut", "rate_up", "price × quantity",
                  "mid2 × band", "edge of the band", "value of the band × rate", "multiple × notional", "share × volume",
                  "paid today", "may be paid today", "room", "-clock_offset_max_ns")


def numbers(**bounds: tuple[int, int]) -> tuple[World, list]:
    """Terms between bounds."""
    w = World()
    return w, [w.number(name, *bound) for name, bound in bounds.items()]


def test_notional_grows_with_the_quantity() -> None:
    """price × quantity × rate / scale, rounded up; the product is a quantity times something above 0."""
    w, (unit, a, b, scale) = numbers(unit=(1, 2**103), a=(1, QTY_RAW_MAX), b=(1, QTY_RAW_MAX), scale=(1, 2**64 - 1))
    prove(unit * a <= unit * b, *w.given, a <= b)
    w, (low, high, scale) = numbers(low=(0, 2**164), high=(0, 2**164), scale=(1, 2**64 - 1))
    q, r = z3.Ints("q r")
    w.given += [q * scale >= low, (q - 1) * scale < low, r * scale >= high, (r - 1) * scale < high]
    prove(q <= r, *w.given, low <= high)


def test_what_a_cap_affords_is_worth_at_most_the_cap() -> None:
    """quantity <= floor(cap × scale / unit) gives ceil(quantity × unit / scale) <= cap."""
    w, (unit, qty, cap, scale) = numbers(unit=(1, 2**103), qty=(1, QTY_RAW_MAX), cap=(0, INT64_MAX), scale=(1, 2**64 - 1))
    affordable, worth = z3.Ints("affordable worth")
    floor = both(affordable * unit <= cap * scale, (affordable + 1) * unit > cap * scale)
    prove(qty * unit <= cap * scale, *w.given, floor, qty <= affordable, z3.Implies(qty <= affordable,
                                                                                  qty * unit <= affordable * unit))
    ceiling = both(worth * scale >= qty * unit, (worth - 1) * scale < qty * unit)
    prove(worth <= cap, *w.given, ceiling, qty * unit <= cap * scale)


def test_affordable_lots_and_sendable_grow() -> None:
    """A larger cap affords no less; whole lots of more are no less and at most it; what is sendable is so at more."""
    w, (a, b, unit) = numbers(a=(0, 2**127), b=(0, 2**127), unit=(1, 2**103))
    prove(least(down(a, unit), INT64_MAX) <= least(down(b, unit), INT64_MAX), *w.given, a <= b)
    w, (a, b, lot) = numbers(a=(0, INT64_MAX), b=(0, INT64_MAX), lot=(1, INT64_MAX))
    k, m = z3.Ints("k m")  # whole lots of each
    w.given += [k * lot <= a, (k + 1) * lot > a, m * lot <= b, (m + 1) * lot > b]
    prove(k <= m, *w.given, a <= b)
    prove(k * lot <= m * lot, *w.given, k <= m)
    w, (price, a, b) = numbers(price=(1, PRICE_RAW_MAX), a=(1, QTY_RAW_MAX), b=(1, QTY_RAW_MAX))
    prove(price * a <= price * b, *w.given, a <= b)


def test_a_quotient_rounded_up_bounds_what_it_came_from() -> None:
    """ceil(part / whole) <= limit exactly where part <= limit × whole: the gates compare quotients, the rules fractions."""
    w, (part, whole, limit) = numbers(part=(0, 2**104), whole=(1, 2**64), limit=(0, INT64_MAX - 1))
    q = z3.Int("q")
    w.given += [q * whole >= part, (q - 1) * whole < part]
    prove(part <= limit * whole, *w.given, q <= limit, z3.Implies(q <= limit, q * whole <= limit * whole))
    prove(q <= limit, *w.given, part <= limit * whole)
    prove(up(part, 20_000) * 20_000 >= part, *w.given)


def test_a_share_of_equity_grows_with_the_share() -> None:
    """bps_of is at most the exact share, grows with it, and never is the largest int64."""
    w, (amount, low, high) = numbers(amount=(-(2**63), INT64_MAX), low=(0, INT64_MAX), high=(0, INT64_MAX))
    prove(bps_of(amount, low) <= bps_of(amount, high), *w.given, low <= high,
          z3.Implies(amount > 0, amount * low <= amount * high))
    prove(both(bps_of(amount, low) < INT64_MAX, bps_of(amount, low) >= 0), *w.given)


def test_leaving_costs_no_less_for_more() -> None:
    """The walk takes the best level first: by induction the mean shortfall of what was taken is at most the next level's, and
    so does not fall when more is taken."""
    w, (s, q, near, far, take) = numbers(s=(0, 2**102), q=(1, QTY_RAW_MAX), near=(0, 2**41), far=(0, 2**41),
                                         take=(1, QTY_RAW_MAX))
    given = [*w.given, s <= near * q, near <= far]
    step = z3.Implies(near <= far, near * q <= far * q)
    prove(s + far * take <= far * (q + take), *given, step)
    prove(s * (q + take) <= (s + far * take) * q, *given, step, z3.Implies(s <= far * q, s * take <= (far * q) * take))


def test_a_product_of_128_bits_tells_its_overflow() -> None:
    """cstd_mul_overflows, by its halves: it says so exactly where a × b is 2^127 or more, and else gives a × b."""
    w, (high, low, b) = numbers(high=(0, 2**64 - 1), low=(0, 2**64 - 1), b=(0, 2**63 - 1))
    upper, lower = w.number("upper", 0, 2**127), w.number("lower", 0, 2**127)  # high × b, low × b
    w.given += [upper <= high * 2**63, z3.Implies(b == 0, both(upper == 0, lower == 0))]
    product = upper * 2**64 + lower
    out = (lower + (upper % 2**64) * 2**64) % 2**128
    says = z3.Or(upper >= 2**63, out >= 2**127)
    prove(says == (product >= 2**127), *w.given)
    prove(out == product, *w.given, z3.Not(says))
    prove(both(high * b < 2**127, low * b < 2**127), *w.given[:6])


def test_the_quick_quotient_stays_in_its_word() -> None:
    """cstd_mbps_of_whole: below 2^39 a part × 10^7 fits an int64, and so does its quotient by any whole, rounded up; the
    estimate by the whole's inverse is never above it."""
    w, (part, whole) = numbers(part=(0, 2**39 - 1), whole=(1, 2**63 - 1))
    q = z3.Int("q")
    prove(part * MBPS_PER_UNIT < 2**63, *w.given)
    prove(q <= INT64_MAX, *w.given, (q - 1) * whole < part * MBPS_PER_UNIT, z3.Implies(q > 1, (q - 1) * whole >= q - 1))
    w, (numerator, inverse, whole) = numbers(numerator=(0, 2**63), inverse=(1, 2**64 - 1), whole=(1, 2**63 - 1))
    estimate, unit = z3.Ints("estimate unit")  # unit: inverse × whole, at most 2^64 - 1
    w.given += [estimate >= 0, unit == inverse * whole, unit <= 2**64 - 1, estimate * 2**64 <= numerator * inverse]
    prove(estimate * 2**64 * whole <= numerator * unit, *w.given,
          (estimate * 2**64) * whole <= (numerator * inverse) * whole)


def test_unknown_is_what_overflows() -> None:
    """Where the notional is not known it is the largest int64, above every share of equity, and the reason says why."""
    w = World()
    i = w.input(kind=OPENING, side=BUY)
    f = Facts()
    money(f, i, unasked)
    prove((f.money_why == WHY.PASSED) == (f.notional < INT64_MAX), *w.given)
    prove(z3.Implies(f.money_why != WHY.PASSED, f.notional == INT64_MAX), *w.given)

