"""What several gates need, as csrc/gates_facts.h works it out: prices, money, the walk of the exit side.

Inputs are dicts with the names and units of GATE_INPUT and LIMITS; a level is (price_raw, qty_raw, own_qty_raw), best first.
Every number that the kernel holds in a machine word is told to `fits`, with the condition under which it is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from cstd._fast import codes, gates
from tests.proof.terms import (
    INT64_MAX,
    INT64_MIN,
    both,
    down,
    either,
    first,
    least,
    most,
    no,
    remainder,
    saturated,
    unasked,
    up,
    when,
)

WHY = SimpleNamespace(**{member.name.removeprefix("WHY_"): int(member) for member in gates.Why})
GATE = SimpleNamespace(**{member.name.removeprefix("GATE_"): int(member) for member in gates.Gate})
OPENING, EXIT = int(codes.IntentKind.OPENING), int(codes.IntentKind.EXIT)
BUY, SELL = int(codes.Side.BUY), int(codes.Side.SELL)

MBPS_PER_UNIT = 10_000_000
BPS_PER_UNIT = 10_000
MONEY_SCALE = 10**8
PRICE_RAW_MAX = 2**40
QTY_RAW_MAX = 2**61
NO_BID, NO_ASK, NO_CAP = INT64_MIN, INT64_MAX, INT64_MAX
U64, U128 = (0, 2**64 - 1), (0, 2**128 - 1)
I64, I128 = (INT64_MIN, INT64_MAX), (-(2**127), 2**127 - 1)


def bps_of(amount: Any, bps: Any) -> Any:
    """`bps` of an amount, rounded down; 0 for a negative amount or limit; never INT64_MAX."""
    return when(both(amount > 0, bps > 0), least(down(amount * bps, BPS_PER_UNIT), INT64_MAX - 1), 0)


def mbps_up(part: Any, whole: Any) -> Any:
    """`part` in thousandths of a basis point of `whole`, rounded up."""
    return least(up(part * MBPS_PER_UNIT, whole), INT64_MAX)


@dataclass(slots=True)
class Facts:
    """As cstd_facts, and the functions of a quantity that the verdict asks: a theorem may put any function in their place."""

    bid: Any = NO_BID
    ask: Any = NO_ASK
    top_bid: Any = NO_BID
    top_ask: Any = NO_ASK
    mid2: Any = 0
    sane: Any = False
    money_why: Any = WHY.BAD_INPUT
    rate_up: Any = 0
    rate_down: Any = 0
    scale: Any = 1
    notional: Any = INT64_MAX
    book_why: Any = WHY.NO_BOOK
    thin: Any = True
    depth: Any = 0
    exit_cost_mbps: Any = INT64_MAX
    qty_of: Callable[[Any], Any] = field(default=lambda cap: cap)
    walk_cap: Callable[[Any], Any] = field(default=lambda budget: budget)
    whole_lots: Callable[[Any], Any] = field(default=lambda qty: qty)
    sendable: Callable[[Any], Any] = field(default=lambda qty: False)


def price_sane(price: Any) -> Any:
    """Whether a price is inside the domain."""
    return both(price > 0, price <= PRICE_RAW_MAX)


def best_of_others(levels: list, none: int) -> Any:
    """The best price at which somebody else stands."""
    return first([(qty > own, (price,)) for price, qty, own in levels], (none,))[0]


def prices(f: Facts, bids: list, asks: list, fits: Any) -> None:
    """Best prices and mid; no mid when a side is empty, or the book is crossed, or a price is out of its domain."""
    f.top_bid, f.top_ask = bids[0][0] if bids else NO_BID, asks[0][0] if asks else NO_ASK
    f.bid, f.ask = best_of_others(bids, NO_BID), best_of_others(asks, NO_ASK)
    ok = both(price_sane(f.bid), price_sane(f.ask), f.bid < f.ask)
    fits("bid + ask", ok, f.bid + f.ask, *I64)
    f.mid2 = when(ok, f.bid + f.ask, 0)


def money(f: Facts, i: dict, fits: Any) -> None:
    """What the order is worth, rounded up; conversion goes against us."""
    rate, haircut = i["conversion_rate_e8"], i["conversion_haircut_bps"]
    f.sane = both(price_sane(i["price_raw"]), i["qty_raw"] > 0, i["qty_raw"] <= QTY_RAW_MAX, i["price_scale"] > 0,
                  i["qty_scale"] > 0, i["tick_raw"] > 0, i["lot_raw"] > 0)
    valid = both(f.sane, rate > 0, haircut >= 0, haircut <= BPS_PER_UNIT)
    scale = i["price_scale"] * i["qty_scale"]
    fits("scale", valid, scale, *U128)
    small = both(valid, rate <= 2**61, scale < 2**64)
    dearer, cheaper = rate * (BPS_PER_UNIT + haircut), rate * (BPS_PER_UNIT - haircut)
    fits("rate with the haircut", small, dearer, *U128)
    fits("rate less the haircut", small, cheaper, *U128)
    fits("rate_up", small, up(dearer, BPS_PER_UNIT), 0, 2**63 - 1)  # what cstd_mul_overflows takes
    f.scale = when(small, scale, 1)
    f.rate_up = when(small, up(dearer, BPS_PER_UNIT), 0)
    f.rate_down = when(small, down(cheaper, BPS_PER_UNIT), 0)
    quote = i["price_raw"] * i["qty_raw"]
    fits("price × quantity", small, quote, *U128)
    product = quote * f.rate_up
    notional = up(product, f.scale)
    fits("notional in 128 bits", both(small, product < 2**127), notional, *U128)
    known = both(small, product < 2**127, notional < INT64_MAX)
    f.notional = when(known, notional, INT64_MAX)
    f.money_why = when(known, WHY.PASSED, when(valid, WHY.OVERFLOW, WHY.BAD_INPUT))


def exit_sells(i: dict) -> Any:
    """Whether an exit from this order goes through the bids."""
    return (i["kind"] == OPENING) == (i["side"] == BUY)


def band_edge(mid2: Any, band_mbps: Any, sells: bool, fits: Any) -> Any:
    """The price where the band of the depth gate ends."""
    band = least(most(band_mbps, 0), MBPS_PER_UNIT)
    product = mid2 * (MBPS_PER_UNIT - band if sells else MBPS_PER_UNIT + band)
    fits("mid2 × band", True, product, *U128)
    edge = (up if sells else down)(product, 2 * MBPS_PER_UNIT)
    fits("edge of the band", True, edge, *I64)
    return edge


def band_value(levels: list, edge: Any, sells: bool, fits: Any) -> tuple:
    """Value of what others offer up to the edge, in price × quantity raw, and whether a number was out of its domain."""
    value: Any = 0
    bad: Any = False
    inside: Any = True
    for price, qty, own in levels:
        inside = both(inside, price >= edge if sells else price <= edge)
        visible = most(qty - own, 0)
        bad = either(bad, both(inside, either(no(price_sane(price)), visible >= 2 * QTY_RAW_MAX)))
        value = value + when(inside, price * visible, 0)
    fits("value of the band", no(bad), value, *U128)
    return value, bad


def walk_cost(f: Facts, levels: list, sells: bool, qty: Any, fits: Any) -> None:
    """What taking the quantity would cost, level by level: thin, exit_cost_mbps and whether a price was wild."""
    left, shortfall2 = qty, 0
    wild: Any = False
    for price, level_qty, own in levels:
        visible = level_qty - own
        visited = both(no(wild), left > 0, visible > 0)
        wild = either(wild, both(visited, no(price_sane(price))))
        visited = both(visited, no(wild))
        away2 = most(f.mid2 - 2 * price if sells else 2 * price - f.mid2, 0)
        fits("distance from mid", visited, away2, *I64)
        take = when(visited, least(visible, left), 0)
        shortfall2 = shortfall2 + away2 * take
        fits("shortfall", visited, shortfall2, 0, 2**128 // MBPS_PER_UNIT)  # mbps_up multiplies it
        left = left - take
    taken = both(no(wild), left <= 0)
    fits("mid2 × quantity", taken, f.mid2 * qty, 1, 2**128 - 1)  # a divisor
    f.exit_cost_mbps = when(taken, mbps_up(shortfall2, f.mid2 * qty), INT64_MAX)
    f.thin = no(taken)
    f.book_why = when(wild, WHY.OVERFLOW, WHY.PASSED)


def walk(f: Facts, i: dict, lim: dict, bids: list, asks: list, fits: Any) -> None:
    """The exit side: value within the band, and what taking the quantity would cost. Side and kind must be plain."""
    sells = exit_sells(i)
    levels = bids if sells else asks
    possible = both(f.mid2 > 0, f.sane)
    edge = band_edge(f.mid2, lim["depth_band_mbps"], sells, fits)
    value, bad = band_value(levels, edge, sells, fits)
    product = value * f.rate_down
    over = either(bad, product >= 2**127)
    walked = Facts(mid2=f.mid2)
    walk_cost(walked, levels, sells, i["qty_raw"], fits)
    fits("value of the band × rate", both(possible, no(over)), product, *U128)
    counted = both(possible, no(over))
    f.depth = when(counted, least(down(product, f.scale), INT64_MAX), 0)
    f.exit_cost_mbps = when(counted, walked.exit_cost_mbps, INT64_MAX)
    f.thin = when(counted, walked.thin, True)
    f.book_why = when(f.mid2 == 0, WHY.NO_BOOK, when(possible, when(over, WHY.OVERFLOW, walked.book_why), WHY.PASSED))
    f.walk_cap = lambda budget: walk_cap(levels, sells, f.mid2, budget, i["qty_raw"], fits)
    f.qty_of = lambda cap: qty_of(f, i["price_raw"], cap, fits)


def walk_cap(levels: list, sells: bool, mid2: Any, budget_mbps: Any, qty: Any, fits: Any) -> Any:
    """The largest quantity whose walk costs at most the budget: it crosses once, inside one level."""
    over: Any = 0
    taken: Any = 0
    done: Any = False
    for price, level_qty, own in levels:
        visible = level_qty - own
        visited = both(no(done), taken < qty, visible > 0)
        take = least(visible, qty - taken)
        each = (mid2 - 2 * price if sells else 2 * price - mid2) * MBPS_PER_UNIT - budget_mbps * mid2
        fits("cost over budget of one", visited, each, *I128)
        fits("cost over budget", visited, over + each * take, *I128)
        crosses = both(visited, over + each * take > 0)
        taken = when(crosses, taken + down(-over, each), when(visited, taken + take, taken))
        over = when(both(visited, no(crosses)), over + each * take, over)
        done = either(done, crosses)
    return taken


def qty_of(f: Facts, price: Any, cap: Any, fits: Any) -> Any:
    """The largest quantity worth at most `cap`, account currency, at the order's own price."""
    money_raw = most(cap, 0) * f.scale
    fits("cap × scale", True, money_raw, *U128)
    fits("price × rate", True, price * f.rate_up, *U128)
    return when(cap == NO_CAP, NO_CAP, least(down(money_raw, price * f.rate_up), INT64_MAX))


def cost_reaches_minimum(i: dict, qty: Any, fits: Any = unasked) -> Any:
    """Whether price × quantity reaches the venue's minimum cost, both in the quote currency."""
    minimum = i["cost_min_quote_e8"]
    scale = i["price_scale"] * i["qty_scale"]
    fits("scale of the cost", True, scale, *U128)
    cost, floor = i["price_raw"] * qty * MONEY_SCALE, scale * minimum
    return either(minimum <= 0, both(scale < 2**64, floor < 2**127, either(cost >= 2**127, cost >= floor)))


def sendable(i: dict, qty: Any) -> Any:
    """Whether the venue would take this quantity."""
    return both(qty > 0, qty >= i["qty_min_raw"], cost_reaches_minimum(i, qty))


def facts_of(i: dict, lim: dict, bids: list, asks: list, fits: Any = unasked) -> Facts:
    """All of it for one intent."""
    f = Facts(whole_lots=lambda qty: qty - remainder(qty, i["lot_raw"]), sendable=lambda qty: sendable(i, qty))
    prices(f, bids, asks, fits)
    money(f, i, fits)
    walk(f, i, lim, bids, asks, fits)
    return f


def level_of(i: dict) -> Any:
    """The escalation level; anything unknown is the worst."""
    return when(either(i["level"] < 0, i["level"] > 4), 4, i["level"])


def level_size_e4(i: dict, lim: dict) -> Any:
    """The size that the level leaves openings."""
    level = level_of(i)
    return first([(level == n, (size,)) for n, size in enumerate(lim["level_size_e4"])], (0,))[0]


def wanted_qty(i: dict) -> Any:
    """What was wanted before the level made it smaller; 0 where that is not known."""
    return when(i["qty_wanted_raw"] > 0, i["qty_wanted_raw"], when(i["rejudge"] != 0, 0, i["qty_raw"]))


def level_cap(i: dict, lim: dict) -> Any:
    """The largest quantity that the level allows, of what was wanted."""
    size, wanted = level_size_e4(i, lim), wanted_qty(i)
    free = either(wanted <= 0, size <= 0, size >= BPS_PER_UNIT)
    return when(free, NO_CAP, saturated(down(wanted * size, BPS_PER_UNIT)))
