"""Proven: tightening any limit never admits an order that was refused, nor a larger one.

In two steps, each small enough to be decided at once: a tighter limit fails at least the gates that failed, with caps that
are no larger (for each limit and gate); and a verdict from more failures and smaller caps is no larger.
"""

from __future__ import annotations

from typing import Any

import pytest
import z3

from cstd._fast import gates
from tests.proof.facts_model import BPS_PER_UNIT, BUY, EXIT, OPENING, SELL, WHY, Facts, level_cap, level_size_e4, wanted_qty
from tests.proof.gates_model import (
    CAPPED_BY_MONEY,
    GATES,
    SHARES,
    Case,
    Decision,
    capped_qty,
    decide,
    money_cap,
    sized,
    verdict_opening,
)
from tests.proof.terms import INT64_MAX, both, either, most, no
from tests.proof.world import World, prove

LOWER = (
    "parents_instrument_hour_max", "parents_minute_max", "turnover_day_max_bps", "losing_round_trips_max", "spread_max_mbps",
    "volume_share_max_bps", "exit_cost_max_mbps", "slippage_day_max_mbps", "slippage_p95_max_mbps", "slippage_p95_fills_min",
    "deadline_max_ns", "lifetime_max_ns", "price_band_mbps", "reference_band_mbps", "collar_max_mbps", "evidence_age_max_ns",
    "silent_max_ns", "unverified_grace_ns", "clock_offset_max_ns", "day_loss_bps", "day_loss_max_acct_raw", "drawdown_bps",
    "positions_max", "exposure_max_bps", "position_max_bps", "cluster_max_bps", "level_size_e4",
)
HIGHER = ("depth_min_acct_raw", "depth_multiple_e2", "volume_hour_min_acct_raw", "deadline_min_ns", "reduce_min_bps")
# These say what is looked at, not how much is admitted: the engine's window for the same key, how far from mid depth is
# counted, and from when on an exit's collar is measured from which bid.
NO_BOUND = ("dedupe_window_ns", "depth_band_mbps", "rest_price_after_ns", "rest_age_max_ns")


def test_every_limit_is_tightened_somewhere() -> None:
    """A limit that is added to the struct has to be placed here."""
    assert sorted((*LOWER, *HIGHER, *NO_BOUND)) == sorted(gates.LIMITS_DTYPE.names)


def tightened(w: World, lim: dict, name: str) -> dict:
    """The same limits with one of them tighter, or as it was."""
    def one(tag: str, loose: Any) -> Any:
        tight = w.number(tag, 0, INT64_MAX)
        w.given.append(tight <= loose if name in LOWER else tight >= loose)
        return tight

    loose = lim[name]
    return {**lim, name: tuple(one(f"{name}_{n}'", at) for n, at in enumerate(loose)) if isinstance(loose, tuple)
            else one(f"{name}'", loose)}


def hard(c: Case, refusing: dict) -> Any:
    """Whether a gate refuses that no smaller quantity is proposed for."""
    return either(*(both(refusing[gate], no(sized(c, gate, True))) for gate in GATES))


def two(name: str, **known: Any) -> tuple[World, Case, Decision, Case, Decision]:
    """Any intent, judged by any limits and by the same with one tighter."""
    w = World()
    i, lim = w.input(**known), w.limits()
    f = w.facts(i)
    loose, tight = Case(i, lim, f), Case(i, tightened(w, lim, name), f)
    return w, loose, decide(loose), tight, decide(tight)


def unlike(a: Any, b: Any) -> bool:
    """Whether two terms are not one and the same, so that something is to be shown."""
    if isinstance(a, z3.ExprRef) and isinstance(b, z3.ExprRef):
        return not a.eq(b)
    return a is not b


@pytest.mark.parametrize("name", [*LOWER, *HIGHER])
def test_a_tighter_limit_fails_what_failed(name: str) -> None:
    """Each gate that refused an opening refuses it again, by itself or by one that no smaller quantity helps; caps shrink."""
    w, loose, before, tight, after = two(name, kind=OPENING)
    refused = hard(tight, after.refusing)
    for gate in GATES:
        if unlike(before.refusing[gate], after.refusing[gate]):
            prove(z3.Implies(before.refusing[gate], either(after.refusing[gate], refused)), *w.given)
        was, now = (both(d.refusing[gate], no(sized(c, gate, True))) for c, d in ((loose, before), (tight, after)))
        if unlike(was, now):
            prove(z3.Implies(was, refused), *w.given)
        if gate in CAPPED_BY_MONEY and unlike(loose.caps[gate], tight.caps[gate]):
            prove(z3.Implies(before.refusing[gate], tight.caps[gate] <= loose.caps[gate]), *w.given)


def test_a_smaller_size_of_the_level_is_no_larger_cap() -> None:
    """Lowering what a level leaves lowers the level's cap, or leaves nothing, which gate 11 or the loss gates refuse."""
    w, loose, _, tight, after = two("level_size_e4", kind=OPENING)
    sizes = [level_size_e4(c.i, c.lim) for c in (loose, tight)]
    wanted = wanted_qty(loose.i)
    product = z3.Implies(both(wanted > 0, sizes[1] <= sizes[0]), wanted * sizes[1] <= wanted * sizes[0])
    caps = [level_cap(c.i, c.lim) for c in (loose, tight)]
    prove(either(caps[1] <= caps[0], hard(tight, after.refusing)), *w.given, product, loose.i["qty_raw"] > 0,
          loose.i["qty_raw"] * BPS_PER_UNIT < INT64_MAX * 2**20)


def any_rulings(w: World, i: dict, lim: dict, f: Facts, tag: str) -> tuple[Case, dict]:
    """A case whose gates may have said anything."""
    c = Case(i, lim, f)
    for gate in GATES:
        c.rulings[gate] = (w.number(f"why_{gate}{tag}", 0, WHY.COUNT - 1), 0, 0)
        c.caps[gate] = w.number(f"cap_{gate}{tag}", -(2**63), INT64_MAX)
    return c, {gate: z3.Bool(f"refusing_{gate}{tag}") for gate in GATES}


def test_more_failures_and_smaller_caps_admit_no_more() -> None:
    """From what the tests above show of the gates, the quantity of the verdict is no larger."""
    w = World()
    i, lim = w.input(kind=OPENING), w.limits()
    f = w.facts(i)
    tight_lim = {**tightened(w, lim, "reduce_min_bps"), "level_size_e4": tightened(w, lim, "level_size_e4")["level_size_e4"]}
    (loose, was), (tight, now) = any_rulings(w, i, lim, f, ""), any_rulings(w, i, tight_lim, f, "'")
    refused = hard(tight, now)
    w.given += [z3.Implies(hard(loose, was), refused), i["qty_raw"] > 0]
    w.given += [z3.Implies(was[gate], either(now[gate], refused)) for gate in GATES]
    w.given += [z3.Implies(both(was[gate], now[gate]), tight.caps[gate] <= loose.caps[gate]) for gate in SHARES]
    w.given += [either(level_cap(i, tight_lim) <= level_cap(i, lim), refused)]
    money, money_tight = money_cap(loose, was)[0], money_cap(tight, now)[0]
    qty, qty_tight = capped_qty(loose, was)[0], capped_qty(tight, now)[0]
    lots, lots_tight = f.whole_lots(qty), f.whole_lots(qty_tight)
    w.given += [  # shown in test_arithmetic.py: these functions grow with their argument
        z3.Implies(money_tight <= money, f.qty_of(money_tight) <= f.qty_of(money)),
        z3.Implies(qty_tight <= qty, lots_tight <= lots), lots <= qty, lots_tight <= qty_tight,
        z3.Implies(both(lots_tight <= lots, f.sendable(lots_tight)), f.sendable(lots)),
        z3.Implies(f.sendable(lots), lots > 0),
    ]
    prove(verdict_opening(tight, now)[1] <= verdict_opening(loose, was)[1], *w.given)


@pytest.mark.parametrize("name", [*LOWER, *HIGHER])
def test_an_exit_is_no_larger_by_a_tighter_limit(name: str) -> None:
    """For exits in one step: no limit, tightened, lets more of one out."""
    w, c, before, _, after = two(name, kind=EXIT, side=SELL)
    free = c.f.whole_lots(most(c.i["managed_free_qty_raw"], 0))
    w.given += [z3.Implies(c.f.sendable(free), free > 0)]
    prove(after.qty_final <= before.qty_final, *w.given)


def test_shorts_are_no_part_of_this() -> None:
    """An opening that is no buy is refused under all limits, so the theorems speak of buys."""
    w = World()
    i = w.input(kind=OPENING)
    d = decide(Case(i, w.limits(), w.facts(i)))
    prove(d.qty_final == 0, *w.given, i["side"] != BUY)
