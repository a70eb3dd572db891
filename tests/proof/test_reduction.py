"""Proven: a proposed reduction exceeds no cap, and judged again at its size it passes, or it is refused and none goes out."""

from __future__ import annotations

from typing import Any

import pytest
import z3

from tests.proof.facts_model import (
    BPS_PER_UNIT,
    BUY,
    EXIT,
    GATE,
    NO_CAP,
    OPENING,
    SELL,
    WHY,
    Facts,
    cost_reaches_minimum,
    level_cap,
)
from tests.proof.gates_model import (
    APPROVE,
    CAPPED_BY_MONEY,
    GATES,
    REDUCE,
    SHARES,
    Case,
    Decision,
    capped_qty,
    decide,
    money_cap,
    rule_all,
)
from tests.proof.terms import both, either, most
from tests.proof.world import World, prove


def opening() -> tuple[World, Case, Decision]:
    """Any buy that opens, decided once."""
    w = World()
    i = w.input(kind=OPENING, side=BUY)
    c = Case(i, w.limits(), w.facts(i))
    return w, c, decide(c)


def lots_are_down(c: Case, d: Decision) -> list:
    """Rounding down to the lot makes nothing larger, and only what is above 0 is sendable (test_arithmetic.py)."""
    qty = capped_qty(c, d.refusing)[0]
    lots = c.f.whole_lots(qty)
    return [lots <= qty, z3.Implies(c.f.sendable(lots), lots > 0)]


def test_a_reduction_exceeds_no_cap() -> None:
    """It is above 0, at most what was asked, the level's and every refusing gate's cap, and no gate but a share refused."""
    w, c, d = opening()
    given = [*w.given, *lots_are_down(c, d), d.verdict == REDUCE]
    money = money_cap(c, d.refusing)[0]
    prove(both(d.qty_final > 0, d.qty_final <= c.i["qty_raw"], d.qty_final <= level_cap(c.i, c.lim)), *given,
          c.i["qty_raw"] > 0)
    prove(d.qty_final <= c.f.qty_of(money), *given)
    for gate in CAPPED_BY_MONEY:
        prove(z3.Implies(d.refusing[gate], money <= c.caps[gate]), *given)
    prove(both(*(z3.Implies(d.refusing[gate], c.why(gate) == WHY.OVER_LIMIT) for gate in GATES)), *given)
    prove(both(*(z3.Not(d.refusing[gate]) if not isinstance(d.refusing[gate], bool) else not d.refusing[gate]
                 for gate in GATES if gate not in SHARES)), *given)
    prove(d.qty_final * BPS_PER_UNIT >= c.lim["reduce_min_bps"] * c.i["qty_raw"], *given)


def smaller(w: World, c: Case, d: Decision) -> tuple[Case, Any]:
    """The same intent at a smaller quantity that was proposed, with what test_arithmetic.py shows of its facts."""
    i, f = c.i, c.f
    qty = w.number("qty'", 1, 2**61)
    wanted = z3.If(both(i["qty_wanted_raw"] <= 0, i["rejudge"] == 0), i["qty_raw"], i["qty_wanted_raw"])
    again = {**i, "qty_raw": qty, "qty_wanted_raw": wanted}
    g = w.facts(again, "'")
    w.given += [qty == d.qty_final, qty <= i["qty_raw"], d.verdict == REDUCE, *lots_are_down(c, d)]
    # Prices and the visible depth do not depend on the quantity; notional and the cost of leaving grow with it.
    w.given += [getattr(g, name) == getattr(f, name) for name in ("bid", "ask", "top_bid", "top_ask", "mid2", "depth")]
    known, walked = f.money_why == WHY.PASSED, f.book_why == WHY.PASSED
    w.given += [z3.Implies(known, both(g.money_why == WHY.PASSED, g.notional <= f.notional)),
                z3.Implies(z3.Not(known), g.money_why == f.money_why),
                z3.Implies(walked, g.book_why == WHY.PASSED), z3.Implies(z3.Not(f.thin), z3.Not(g.thin)),
                g.exit_cost_mbps <= f.exit_cost_mbps]
    # The quantity that a cap affords is worth at most the cap.
    for gate in SHARES:
        w.given += [z3.Implies(both(d.refusing[gate], c.caps[gate] != NO_CAP), g.notional <= c.caps[gate])]
    multiple = c.lim["depth_multiple_e2"]
    w.given += [z3.Implies(g.notional <= f.notional, multiple * g.notional <= multiple * f.notional)]
    room = c.caps[GATE.DEPTH]
    w.given += [z3.Implies(both(multiple > 0, room != NO_CAP, g.notional <= room), multiple * g.notional <= f.depth * 100)]
    # It is in whole lots, and the venue takes it.
    w.given += [qty % i["lot_raw"] == 0, qty >= i["qty_min_raw"]]
    return Case(again, c.lim, g), qty


def takes_the_cost(again: Case) -> Any:
    """The venue's minimum cost is reached, as it was when the quantity was found sendable."""
    return cost_reaches_minimum(again.i, again.i["qty_raw"])


@pytest.mark.parametrize("gate", GATES)
def test_a_reduction_passes_each_gate_that_may_refuse(gate: int) -> None:
    """At the reduced size no gate refuses: what failed was cut to its cap, and nothing that passed fails at less."""
    w, c, d = opening()
    again, _ = smaller(w, c, d)
    rule_all(again)
    e = decide(again)
    claim = e.refusing[gate]
    prove(z3.Not(claim) if isinstance(claim, z3.ExprRef) else not claim, *w.given, takes_the_cost(again))


def test_the_level_allows_the_reduction_again() -> None:
    """The level's part is of what was wanted, so the second pass does not shave it again."""
    w, c, d = opening()
    again, qty = smaller(w, c, d)
    prove(level_cap(again.i, c.lim) >= qty, *w.given)


def test_no_refusal_and_a_level_that_allows_is_an_approval() -> None:
    """So the second pass approves what was proposed; anything else the kernel refuses (cstd_gates_judge)."""
    w, c, d = opening()
    prove(d.verdict == APPROVE, *w.given, *(z3.Not(refusing) for refusing in d.refusing.values()
                                            if isinstance(refusing, z3.ExprRef)), level_cap(c.i, c.lim) >= c.i["qty_raw"])


def test_a_reduced_exit_is_approved_again() -> None:
    """An exit that was cut to the managed quantity is approved at that size, in one piece."""
    w = World()
    i = w.input(kind=EXIT, side=SELL)
    c = Case(i, w.limits(), w.facts(i))
    d = decide(c)
    free = c.f.whole_lots(most(i["managed_free_qty_raw"], 0))
    again = {**i, "qty_raw": free}
    g: Facts = w.facts(again, "'")
    w.given += [g.bid == c.f.bid, free <= most(i["managed_free_qty_raw"], 0), z3.Implies(c.f.sendable(free), free > 0)]
    w.given += [z3.Implies(c.f.sendable(free), both(free >= i["qty_min_raw"], free % i["lot_raw"] == 0))]
    e = decide(Case(again, c.lim, g))
    prove(both(e.verdict == APPROVE, e.qty_final == d.qty_final), *w.given, d.verdict == REDUCE,
          takes_the_cost(Case(again, c.lim, g)), either(i["kind"] == EXIT))
