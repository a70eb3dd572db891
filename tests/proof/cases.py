"""Intents, limits and books to decide on: most near a limit, some wild. A seeded `random.Random` decides everything.

`case_of` draws a book, limits and a few intents that share them. An aim moves one field so that a gate's number lies at,
one under or one over its limit.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from cstd._fast import gates
from tests.kernels import gate_case
from tests.proof.facts_model import BPS_PER_UNIT, BUY, MBPS_PER_UNIT, OPENING, SELL, bps_of, facts_of
from tests.proof.terms import INT64_MAX, INT64_MIN

EXTREMES = (0, 1, -1, 2, INT64_MAX, INT64_MAX - 1, INT64_MIN, INT64_MIN + 1, 2**62, 2**61, 2**61 + 1, 2**40, 2**40 + 1, 2**53)
FLAGS = tuple(name for name in gates.GATE_INPUT_DTYPE.names if gates.GATE_INPUT_DTYPE.fields[name][0].str == "|u1")
SMALL = {"time_in_force": (-1, 3), "book_fault": (0, 15), "level": (-2, 6), "trading_state": (-2, 6), "side": (-1, 1),
         "kind": (0, 2)}
S = gate_case.S

# Field of the input: limits (or other fields) that it is compared with.
NEAR: dict[str, tuple[str, ...]] = {
    "price_raw": ("tick_raw",), "qty_raw": ("qty_min_raw", "managed_free_qty_raw"),
    "deadline_ns": ("deadline_min_ns", "deadline_max_ns"), "lifetime_ns": ("lifetime_max_ns",),
    "unverified_for_ns": ("unverified_grace_ns", "rest_price_after_ns"), "evidence_age_ns": ("evidence_age_max_ns",),
    "silent_for_ns": ("silent_max_ns",), "clock_offset_ns": ("clock_offset_max_ns",), "rest_age_ns": ("rest_age_max_ns",),
    "collar_mbps": ("collar_max_mbps",), "parents_instrument_hour": ("parents_instrument_hour_max",),
    "parents_minute": ("parents_minute_max",), "losing_round_trips": ("losing_round_trips_max",),
    "volume_hour_acct_raw": ("volume_hour_min_acct_raw",), "markout_allowance_mbps": ("exit_cost_max_mbps",),
    "slippage_p95_mbps": ("slippage_p95_max_mbps",), "slippage_fills": ("slippage_p95_fills_min",),
    "day_loss_acct_raw": ("day_loss_max_acct_raw",), "positions_count": ("positions_max",),
    "managed_free_qty_raw": ("qty_raw",),
    "qty_min_raw": ("qty_raw",), "conversion_haircut_bps": (), "conversion_rate_e8": (), "reference_price_raw": ("price_raw",),
    "rest_bid_raw": ("price_raw",), "last_verified_bid_raw": ("price_raw",), "equity_acct_raw": (),
    "turnover_day_acct_raw": (), "slippage_day_acct_raw": (), "day_start_equity_acct_raw": (), "exposure_acct_raw": (),
    "asset_exposure_acct_raw": (), "cluster_exposure_acct_raw": (), "cost_min_quote_e8": (), "price_scale": (),
    "qty_scale": (), "qty_wanted_raw": ("qty_raw",), "day_loss_bps": (), "drawdown_bps": (), "tick_raw": ("price_raw",),
    "lot_raw": ("qty_raw",),
}
ORDINARY: dict[str, tuple[int, ...]] = {
    "conversion_haircut_bps": (0, 1, 50, 9_999, 10_000, 10_001), "conversion_rate_e8": (1, 10**8, 120_000_001, 10**13),
    "price_scale": (1, 10, 10**5, 10**10, 7, 2**32), "qty_scale": (1, 10**5, 10**8, 3, 2**32 - 1, 2**32),
    "tick_raw": (1, 3, 5, 10), "lot_raw": (1, 3, 10, 1_000, 30_000), "qty_raw": (1, 49_999, 100_000, 250_000, 900_000, 10**7),
    "equity_acct_raw": (1, 10**11, 10**12 + 1), "day_start_equity_acct_raw": (1, 10**12), "qty_wanted_raw": (0, 90_000, 10**6),
}


def step(rng: random.Random) -> int:
    """At, one under or one over."""
    return rng.choice((-1, 0, 1))


def word(name: str, value: int) -> int:
    """The nearest value that the field's word holds."""
    code = gates.GATE_INPUT_DTYPE.fields[name][0]
    bits = 8 * code.itemsize
    low, high = (0, 2**bits - 1) if code.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return max(low, min(high, value))


def change_field(rng: random.Random, i: dict, lim: dict) -> None:
    """Give one field a value near what it is compared with, an ordinary one or an extreme one."""
    name = rng.choice((*FIELDS, *FLAGS[:-1])) if rng.random() < 0.7 else rng.choice(FLAGS)
    if name in FLAGS:
        i[name] = 0 if i[name] else rng.choice((1, 1, 255))
        return
    if name in SMALL:
        i[name] = rng.randint(*SMALL[name])
        return
    near = [lim[key] if key in lim else i[key] for key in NEAR[name]]
    if name in ("day_loss_bps", "drawdown_bps"):
        near = [*lim[name]]
    pool = [value for value in (*near, *ORDINARY.get(name, ())) for _ in range(3)]
    value = rng.choice(pool) + step(rng) if pool and rng.random() < 0.85 else rng.choice(EXTREMES)
    if name == "clock_offset_ns" and rng.random() < 0.5:
        value = -value
    i[name] = word(name, value)


FIELDS = (*NEAR, *SMALL)


def aim_share(rng: random.Random, i: dict, lim: dict, f: Any) -> None:
    """Exposure, asset, cluster or turnover: with this order at its share of equity."""
    field, key = rng.choice((("exposure_acct_raw", "exposure_max_bps"), ("asset_exposure_acct_raw", "position_max_bps"),
                             ("cluster_exposure_acct_raw", "cluster_max_bps"),
                             ("turnover_day_acct_raw", "turnover_day_max_bps")))
    part = rng.choice((1, 1, 1, 2, 9, 11))  # of the notional: more than the gate leaves, so that the size is cut
    i[field] = word(field, bps_of(i["equity_acct_raw"], lim[key]) - f.notional // part + step(rng))


def aim_volume(rng: random.Random, i: dict, lim: dict, f: Any) -> None:
    """The order at its share of the mean minute."""
    if lim["volume_share_max_bps"] > 0:
        hour = -(-(f.notional + step(rng)) * 60 * BPS_PER_UNIT // lim["volume_share_max_bps"])
        i["volume_hour_acct_raw"] = word("volume_hour_acct_raw", hour)


def aim_slippage(rng: random.Random, i: dict, lim: dict, f: Any) -> None:
    """What leaving costs, or what was paid today, at its budget."""
    kind = rng.random()
    if kind < 0.3:
        i.update(slippage_fills=lim["slippage_p95_fills_min"] + rng.choice((0, 1, 5)),
                 slippage_p95_mbps=lim["slippage_p95_max_mbps"] + step(rng))
    elif kind < 0.6:
        paid = lim["slippage_day_max_mbps"] * i["day_start_equity_acct_raw"] // MBPS_PER_UNIT + step(rng)
        i["slippage_day_acct_raw"] = word("slippage_day_acct_raw", paid)
    else:
        i["markout_allowance_mbps"] = word("qty_raw", max(-1, lim["exit_cost_max_mbps"] - f.exit_cost_mbps + step(rng)))


def aim_price(rng: random.Random, i: dict, lim: dict, f: Any) -> None:
    """The price at its band, at the top of the book, or at its collar; or the reference price at its band."""
    side = rng.choice((-1, 1))
    if i["kind"] != OPENING:
        if rng.random() < 0.1:  # verified again after long enough for REST: its own bid counts
            i.update(book_verified=1, rest_age_ns=0, rest_bid_raw=word("rest_bid_raw", f.bid // 2),
                     unverified_for_ns=word("unverified_for_ns", lim["rest_price_after_ns"] + 1))
        reference = {0: f.bid, 1: i["rest_bid_raw"], 2: i["last_verified_bid_raw"]}[rng.randrange(3)]
        collar = max(0, min(i["collar_mbps"], lim["collar_max_mbps"]))
        price = reference - reference * collar // MBPS_PER_UNIT + step(rng)
    elif rng.random() < 0.4:
        i["reference_price_raw"] = word("qty_raw", i["price_raw"] * MBPS_PER_UNIT // max(
            1, MBPS_PER_UNIT + side * lim["reference_band_mbps"]) + step(rng))
        if rng.random() < 0.1:  # so far apart that the distance needs more than 63 bits
            i.update(price_raw=rng.choice((922_337_203_685, 922_337_203_687, 2**40 - 1, 2**40)), reference_price_raw=1)
        return
    elif rng.random() < 0.5:
        price = (f.mid2 + side * f.mid2 * lim["price_band_mbps"] // MBPS_PER_UNIT) // 2 + step(rng)
    else:
        price = rng.choice((f.top_ask, f.top_bid, f.ask)) + step(rng)
    i["price_raw"] = word("price_raw", price)


def aim_minimum(rng: random.Random, i: dict, lim: dict, f: Any) -> None:
    """Quantity or cost at the venue's minimum, of the request or of what a cap leaves."""
    qty = rng.choice((i["qty_raw"], i["managed_free_qty_raw"], i["qty_raw"] * 3 // 4))
    if rng.random() < 0.5:
        i["qty_min_raw"] = word("qty_min_raw", qty + step(rng))
    elif i["price_scale"] > 0 and i["qty_scale"] > 0:
        cost = i["price_raw"] * qty * 10**8 // (i["price_scale"] * i["qty_scale"])
        i["cost_min_quote_e8"] = word("cost_min_quote_e8", cost + step(rng))


def aim_level(rng: random.Random, i: dict, lim: dict, f: Any) -> None:
    """A level that leaves a part, and a quantity at that part of what was wanted."""
    i["level"] = rng.choice((0, 1, 1, 2))
    if rng.random() < 0.7:
        wanted = rng.choice((100_000, 100_001, 3, 10**6 + 7))
        i["qty_wanted_raw"] = wanted
        i["qty_raw"] = word("qty_raw", wanted * lim["level_size_e4"][1] // BPS_PER_UNIT + step(rng))


def aim_grace(rng: random.Random, i: dict, lim: dict, f: Any) -> None:
    """A resting order on an unverified book, at the end of its grace."""
    i.update(rejudge=1, book_verified=0, unverified_for_ns=lim["unverified_grace_ns"] + step(rng))


def aim_blind(rng: random.Random, i: dict, lim: dict, f: Any) -> None:
    """An exit on an unverified book, about to price from a REST snapshot."""
    bid = i["last_verified_bid_raw"] = rng.choice((i["last_verified_bid_raw"],) * 4 + (2**40, 2**40 + 1))
    i.update(book_verified=0, unverified_for_ns=lim["rest_price_after_ns"] + step(rng),
             rest_age_ns=rng.choice((lim["rest_age_max_ns"] + step(rng), step(rng))),
             rest_bid_raw=word("qty_raw", rng.choice((bid, bid, 0)) + rng.choice((0, -1, -3_000, 3_000))))
    i["price_raw"] = max(1, rng.choice((bid, i["rest_bid_raw"], bid - bid // 100, i["price_raw"])))
    if rng.random() < 0.2:  # a verified book without bids
        i["book_verified"] = 1


def aim_reduction(rng: random.Random, i: dict, lim: dict, f: Any) -> None:
    """A request of which the caps leave the smallest part that is still worth sending."""
    if f.notional > 0 and lim["reduce_min_bps"] > 0 and i["qty_raw"] > 0:
        room = bps_of(i["equity_acct_raw"], lim["position_max_bps"]) - max(i["asset_exposure_acct_raw"], 0)
        fits = max(room, 0) * i["qty_raw"] // f.notional
        i["qty_raw"] = word("qty_raw", max(1, fits * BPS_PER_UNIT // lim["reduce_min_bps"] + step(rng)))


def aim_overflow(rng: random.Random, i: dict, lim: dict, f: Any) -> None:
    """Money at the edge of 64 bits, or a product at the edge of 127 or past 128."""
    price, qty, rate, scales = rng.choice((
        (7, INT64_MAX // 7, 1, (1, 1)), (6, (INT64_MAX - 1) // 6, 1, (1, 1)), (8, 2**60, 1, (1, 1)),
        (2**40, 2**61, 2**26, (2**32, 2**32 - 1)), (2**40, 2**61, 2**27, (10, 10**8)), (2**40, 2**61, 2**61, (10, 10**8)),
        (2**40, 2**61, 2**27 + 1, (2**32, 2**31)), (1, 1, 2**61, (1, 1)), (1, 1, 2**61 + 1, (1, 1)),
        (1, 2**61, 1, (2**20, 2**20)), (1, 2**61 + 1, 1, (2**20, 2**20)), (2**40, 2**20, 1, (2**20, 2**20)),
        (2**40 + 1, 2**20, 1, (2**20, 2**20)), (1_000_000, 100_000, 10**8, (2**32, 2**32)),
        (1_000_000, 100_000, 10**8, (2**63 - 1, 2**63 - 1))))
    i.update(price_raw=price, qty_raw=qty, conversion_rate_e8=rate, price_scale=scales[0], qty_scale=scales[1])


AIMS: tuple[Callable[[random.Random, dict, dict, Any], None], ...] = (
    aim_share, aim_share, aim_volume, aim_slippage, aim_price, aim_price, aim_minimum, aim_level, aim_grace, aim_blind,
    aim_reduction, aim_overflow,
)


def aim_limits(rng: random.Random, i: dict, lim: dict, bids: list, asks: list) -> None:
    """A limit at what an intent has: spread, depth, its multiple, the walk's cost, or the band's edge at a level."""
    f = facts_of(i, lim, bids, asks)
    levels = bids if i["kind"] == OPENING else asks
    kind = rng.randrange(7)
    if kind == 6:  # an order worth 10^-8 a piece and less, so that a cap is told from the next one
        i.update(qty_raw=rng.choice((1, 10**6, 10**8)), price_scale=rng.choice((10**6, 10**10)), qty_min_raw=1)
        lim["depth_min_acct_raw"], kind = 0, 2
        f = facts_of(i, lim, bids, asks)
    if kind == 0 and f.mid2:
        lim["spread_max_mbps"] = max(0, -(-2 * (f.ask - f.bid) * MBPS_PER_UNIT // f.mid2) + step(rng))
    elif kind == 1:
        lim["depth_min_acct_raw"] = max(0, min(INT64_MAX, f.depth + step(rng)))
    elif kind == 2 and 0 < f.notional < INT64_MAX:
        lim["depth_multiple_e2"] = max(0, min(INT64_MAX, rng.choice((1, 4)) * f.depth * 100 // f.notional + step(rng)))
    elif kind == 3 and levels and f.mid2 and rng.random() < 0.6:  # the budget ends inside a level that an order goes through
        i.update(qty_raw=sum(level[1] for level in levels[:3]) + 7, price_scale=10**10, cost_min_quote_e8=0, lot_raw=1)
        lim.update(depth_min_acct_raw=0, depth_multiple_e2=0)
        cost = facts_of(i, lim, bids, asks).exit_cost_mbps
        budget = i["markout_allowance_mbps"] + min(cost, 40_000) * rng.randint(3, 9) // 10
        lim["exit_cost_max_mbps"] = max(0, min(INT64_MAX, budget))
    elif kind == 3:
        lim["exit_cost_max_mbps"] = max(0, min(INT64_MAX, f.exit_cost_mbps + i["markout_allowance_mbps"] + step(rng)))
    elif kind == 4 and f.mid2 and levels:
        away = abs(f.mid2 - 2 * rng.choice(levels)[0])
        lim["depth_band_mbps"] = max(0, min(INT64_MAX, away * MBPS_PER_UNIT // f.mid2 + step(rng)))
    elif kind == 5:
        lim["reduce_min_bps"] = rng.choice((0, 1, 1_000, 7_500, 10_000))


LIMIT_POOLS: dict[str, tuple] = {
    "depth_band_mbps": (0, 50, 25_000, 20_000_000), "depth_min_acct_raw": (0, 10**12), "depth_multiple_e2": (0, 100, INT64_MAX),
    "exit_cost_max_mbps": (0, 1_001, 2**24 - 1, 2**24, 2**24 + 1, INT64_MAX), "volume_share_max_bps": (0, 1, INT64_MAX),
    "turnover_day_max_bps": (0, 1, INT64_MAX), "position_max_bps": (0, 100, 10_000, INT64_MAX),
    "exposure_max_bps": (0, 100, 10_000, INT64_MAX), "cluster_max_bps": (0, 100, 10_000), "price_band_mbps": (0, 4, 200_000),
    "level_size_e4": ((10_000, 7_500, 0, 0, 0), (5_000, 1, 0, 0, 0), (10_000, 10_000, 9_999, 0, 0), (40_000, 1, 1, 1, 1)),
    "reduce_min_bps": (0, 1_000, 10_000, INT64_MAX), "volume_hour_min_acct_raw": (0,), "collar_max_mbps": (0, 10**7),
    "clock_offset_max_ns": (0, INT64_MAX), "day_loss_bps": ((1, 2, 3, 4), (0, 0, 0, 0)), "slippage_p95_fills_min": (0, 1),
}


def side_of(rng: random.Random, best: int, sign: int) -> list[tuple[int, int, int]]:
    """One side, best first: thin or deep, partly ours, sometimes with a level out of its domain at the far end."""
    gap = rng.choice((1, 7, 300, 5_000))
    own = rng.choice((0, 0, 1))
    levels = []
    for n in range(rng.randint(0, 6)):
        qty = rng.choice((1, 50_000, 99_999, 100_000, 400_000, 10**9, rng.randint(1, 10**7)))
        levels.append((best - sign * n * gap, qty, own * rng.choice((0, 0, qty // 2, qty, qty + 1))))
    if levels and rng.random() < 0.06:
        price = levels[-1][0] - sign
        qty = rng.choice((2**61, 2**62 - 1, 2**62, INT64_MAX))
        levels.append(rng.choice(((0 if sign > 0 else 2**40 + 1, 10**6, 0), (-5 if sign > 0 else 2**62, 10**6, 0),
                                  (price, qty, 0), (price, qty, 1))))
    return levels


def book_of(rng: random.Random) -> tuple[list, list]:
    """Both sides, best first: the usual book, a wild one, one at the edge of the domain, or a mixed one."""
    kind = rng.random()
    if kind < 0.35:
        return ([(p, q, 0) for p, q in gate_case.BIDS[:8]], [(p, q, 0) for p, q in gate_case.ASKS[:8]])
    if kind < 0.42:
        top = rng.choice((2**40 - 1, 2**40, 2**40 - 2))
        qty = rng.choice((2**61, 2**61 + 1, 2**62 - 1, 2**62, 2**22, 2**20))
        return [(top - 1, qty, 0), (top - 2, qty, 0)], [(top, qty, 0), (top + 1, qty, 0)]
    return (side_of(rng, rng.choice((999_000, 1_000_000, 1_000_001, 12)), 1),
            side_of(rng, rng.choice((999_999, 1_000_001, 1_000_500, 1_004_999, 13)), -1))


def intent_of(rng: random.Random, lim: dict, bids: list, asks: list) -> dict:
    """One intent: an opening, an exit or a resting order, with a few things changed or aimed."""
    i = (gate_case.opening if rng.random() < 0.72 else gate_case.exit_sell)(rejudge=int(rng.random() < 0.2))
    if rng.random() < 0.25:
        i["lot_raw"] = rng.choice((10, 1_000, 10_000, 20_000))
    if rng.random() < 0.1:  # worth next to nothing, and much of the book
        i.update(price_scale=10**10, cost_min_quote_e8=0, qty_raw=rng.choice((10**6, 3 * 10**7, 10**9 + 7)), lot_raw=1)
    if bids and rng.random() < 0.8:
        i["price_raw"] = max(1, bids[0][0])
    if i["kind"] != OPENING and rng.random() < 0.4:
        i["managed_free_qty_raw"] = rng.choice((0, -7, 99_999, 40_000, 4_999, INT64_MIN, INT64_MAX))
    if rng.random() < 0.02:
        i["side"] = SELL if i["side"] == BUY else BUY
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3))):
        if rng.random() < 0.5:
            change_field(rng, i, lim)
        else:
            rng.choice(AIMS)(rng, i, lim, facts_of(i, lim, bids, asks))
    return i


def case_of(rng: random.Random, intents: int) -> tuple[list[dict], dict, list, list]:
    """A book, limits, and intents that share them: (intents, limits, bids, asks)."""
    bids, asks = book_of(rng)
    lim = gate_case.limits()
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        name = rng.choice(tuple(LIMIT_POOLS))
        lim[name] = rng.choice(LIMIT_POOLS[name])
    found = [intent_of(rng, lim, bids, asks) for _ in range(intents)]
    if rng.random() < 0.5:
        aim_limits(rng, rng.choice(found), lim, bids, asks)
    for i in found:
        i.update(price_raw=word("price_raw", i["price_raw"]), qty_raw=word("qty_raw", i["qty_raw"]))
    return found, lim, bids, asks


def edges() -> list[dict]:
    """Openings and exits with one field at, one under and one over what it is compared with, or at an extreme."""
    lim, found = gate_case.limits(), []
    for base in (gate_case.opening, gate_case.exit_sell):
        for name in FIELDS:
            near = [lim[key] if key in lim else base()[key] for key in NEAR.get(name, ())]
            near += [*lim[name]] if name in ("day_loss_bps", "drawdown_bps") else []
            values = {sign * value + step for value in near for step in (-1, 0, 1) for sign in (1, -1)} | set(EXTREMES)
            found += [base(**{name: value}) for value in sorted(values) if word(name, value) == value]
    return found


def listed_cases() -> list[tuple[list[dict], dict, list, list]]:
    """Cases that are not left to chance, as `case_of` has them: the edges, books whose sides are as far apart as can be, and what
    several fields must be just so for."""
    plain = [[(*level, 0) for level in side[:3]] for side in (gate_case.BIDS, gate_case.ASKS)]
    far = [(bid, ask) for bid in (1, 12) for ask in (2**31 + bid, 2**32 + bid, 2**40)]
    wide = [([gate_case.opening(price_raw=bid), gate_case.exit_sell(price_raw=bid)], gate_case.limits(),
             [(bid, 50_000_000, 0)], [(ask, 50_000_000, 0)]) for bid, ask in far]
    bid = 10_000_000        # of which a raw unit is a thousandth of a basis point
    blind = {"unverified_for_ns": 3 * S, "rest_bid_raw": bid, "rest_age_ns": S, "last_verified_bid_raw": 0}
    just_so = [
        *(gate_case.exit_sell(price_raw=bid - away, collar_mbps=25_000) for away in (24_999, 25_000, 25_001)),
        *(gate_case.exit_sell(price_raw=bid - 500_000, **{**blind, "book_verified": verified, "rest_age_ns": age_ns})
          for verified in (0, 1) for age_ns in (-1, 0, S)),
        *(gate_case.opening(price_raw=bid, level=level, **loss)
          for level in (1, 2, 4) for loss in ({"drawdown_bps": 1_000}, {"day_loss_bps": 500}, {}))]
    asks = [(bid + 1, 50_000_000, 0)]
    return [(edges(), gate_case.limits(), *plain), *wide, (just_so, gate_case.limits(), [(bid, 50_000_000, 0)], asks),
            (just_so, gate_case.limits(), [], asks)]
