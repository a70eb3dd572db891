"""Proven: an exit never increases exposure, and nothing but its id, its time in force, its price and the managed quantity
refuses one."""

from __future__ import annotations

import pytest
import z3

from cstd._fast import gates
from tests.proof.facts_model import EXIT, GATE, OPENING, SELL, WHY
from tests.proof.gates_model import GATES, REFUSE, RISK, Case, decide
from tests.proof.terms import both, either, most
from tests.proof.world import World, prove

# What gates 1, 6, 7 and the bound on exits read of an exit; every other field is of gates that only record.
READ = {
    "id_seen", "rejudge", "time_in_force", "post_only", "deadline_ns", "lifetime_ns", "price_raw", "qty_raw", "price_scale",
    "qty_scale", "tick_raw", "lot_raw", "qty_min_raw", "cost_min_quote_e8",
    "unverified_for_ns", "book_verified", "rest_bid_raw", "rest_age_ns", "last_verified_bid_raw", "collar_mbps",
    "managed_free_qty_raw", "kind", "side",
}


def test_an_exit_never_increases_exposure() -> None:
    """What goes out as anything but an opening is a sale of at most what was asked and of at most what is managed."""
    w = World()
    i = w.input()
    w.given += [i["kind"] != OPENING]
    c = Case(i, w.limits(), w.facts(i))
    d = decide(c)
    free = c.f.whole_lots(most(i["managed_free_qty_raw"], 0))
    w.given += [free <= most(i["managed_free_qty_raw"], 0), z3.Implies(c.f.sendable(free), free > 0)]
    out = d.verdict != REFUSE
    prove(z3.Implies(out, both(i["side"] == SELL, i["kind"] == EXIT, d.qty_final > 0, d.qty_final <= i["qty_raw"],
                               d.qty_final <= i["managed_free_qty_raw"])), *w.given)
    prove(z3.Implies(d.verdict == REFUSE, d.qty_final == 0), *w.given)


def test_what_refuses_an_exit() -> None:
    """Its id, its time in force, its price or the managed quantity; a resting one by its price or that bound only."""
    w = World()
    i = w.input(kind=EXIT)
    c = Case(i, w.limits(), w.facts(i))
    d = decide(c)
    by = d.first_failing
    documented = either(both(by == GATE.IDEMPOTENCY, d.verdict_reason == WHY.ID_SEEN, i["rejudge"] == 0),
                        both(by == GATE.TIME_IN_FORCE, i["rejudge"] == 0), by == GATE.PRICE, by == GATE.MANAGED_BOUND)
    prove(documented, *w.given, d.verdict == REFUSE)


@pytest.mark.parametrize("gate", RISK)
def test_a_risk_gate_never_refuses_an_exit(gate: int) -> None:
    """All eight are recorded for an exit, whatever they find."""
    w = World()
    i = w.input(kind=EXIT)
    d = decide(Case(i, w.limits(), w.facts(i)))
    prove(d.refusing[gate] is False or z3.Not(d.refusing[gate]), *w.given)


def test_an_exit_goes_out_whatever_the_other_gates_read() -> None:
    """Two exits that agree in what gates 1, 6, 7 and the bound read get one verdict and one quantity: kill, level, loss, gaps,
    streams, counts, equity, exposure, spread, depth and volume may be anything."""
    w = World()
    one = w.input(kind=EXIT, side=SELL)
    free = set(gates.GATE_INPUT_DTYPE.names) - READ - {"bids_at", "asks_at", "spare"}
    other = {**one, **{name: term for name, term in w.input("'", kind=EXIT, side=SELL).items() if name in free}}
    lim = w.limits()
    f, g = w.facts(one), w.facts(other, "'")
    g.bid, g.whole_lots, g.sendable = f.bid, f.whole_lots, f.sendable
    c, e = Case(one, lim, f), Case(other, lim, g)
    d, said = decide(c), decide(e)
    # A latched losing streak, an UNKNOWN intent and the like come after the id in gate 1, and are recorded.
    prove(both(said.verdict == d.verdict, said.qty_final == d.qty_final), *w.given)


def test_an_exit_with_all_in_order_goes_out_whole() -> None:
    """With a new id, a right time in force, a venue that takes it, no bid to measure from and enough managed, it is approved."""
    w = World()
    i = w.input(kind=EXIT, side=SELL, last_verified_bid_raw=0, rest_bid_raw=0, book_verified=0)
    c = Case(i, w.limits(), w.facts(i))
    d = decide(c)
    fine = [i["id_seen"] == 0, i["time_in_force"] == 2, i["post_only"] == 0, i["deadline_ns"] >= c.lim["deadline_min_ns"],
            i["deadline_ns"] <= c.lim["deadline_max_ns"], c.f.sane, i["price_raw"] % i["tick_raw"] == 0,
            i["qty_raw"] % i["lot_raw"] == 0, i["qty_min_raw"] <= 0,
            i["cost_min_quote_e8"] <= 0, i["managed_free_qty_raw"] >= i["qty_raw"]]
    prove(d.qty_final == i["qty_raw"], *w.given, *fine)
    assert len(d.recorded) == len(GATES)
