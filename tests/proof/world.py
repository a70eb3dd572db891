"""Inputs, limits and facts as terms of Z3: every value their words allow, and what the kernel guarantees of facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import z3

from cstd._fast import gates
from cstd.config import load
from cstd.decision.limits import limits_row
from tests.proof.facts_model import NO_ASK, NO_BID, NO_CAP, PRICE_RAW_MAX, QTY_RAW_MAX, WHY, Facts
from tests.proof.terms import INT64_MAX, both, either

TIMEOUT_MS = 120_000  # the slowest takes a tenth of this
VACUOUS_MS = 1_000
LIVE = Path(__file__).parents[2] / "config" / "live.toml"
FLAGS = tuple(name for name in gates.GATE_INPUT_DTYPE.names if gates.GATE_INPUT_DTYPE.fields[name][0].str == "|u1")
INPUTS = tuple(name for name in gates.GATE_INPUT_DTYPE.names if not name.endswith("_at") and name != "spare")


class World:
    """Terms with the conditions that bound them."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def number(self, name: str, low: int, high: int) -> z3.ArithRef:
        """A term between two numbers."""
        term = z3.Int(name)
        self.given += [term >= low, term <= high]
        return term

    def input(self, tag: str = "", **known: Any) -> dict:
        """An input: every field anything that its word holds, apart from what is known."""
        made = {}
        for name in INPUTS:
            code = gates.GATE_INPUT_DTYPE.fields[name][0]
            bits = 8 * code.itemsize
            low, high = (0, 2**bits - 1) if code.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            made[name] = known[name] if name in known else self.number(name + tag, low, high)
        return made

    def limits(self, tag: str = "") -> dict:
        """Limits: every field anything that limits_row can make, 0 to the largest int64; losses and levels in their order."""
        made: dict = {}
        for name in gates.LIMITS_DTYPE.names:
            count = gates.LIMITS_DTYPE.fields[name][0].shape
            made[name] = (tuple(self.number(f"{name}_{n}{tag}", 0, INT64_MAX) for n in range(count[0])) if count
                          else self.number(name + tag, 0, INT64_MAX))
        return made

    def facts(self, i: dict, tag: str = "") -> Facts:
        """Facts: everything that facts_of can make of this input and some book. The theorems on facts_of show each line."""
        f = Facts(bid=self.number("bid" + tag, NO_BID, INT64_MAX), ask=self.number("ask" + tag, NO_BID, NO_ASK),
                  top_bid=self.number("top_bid" + tag, NO_BID, INT64_MAX), top_ask=self.number("top_ask" + tag, NO_BID, NO_ASK),
                  mid2=self.number("mid2" + tag, 0, 2 * PRICE_RAW_MAX), money_why=self.number("money_why" + tag, 0, WHY.OVERFLOW),
                  notional=self.number("notional" + tag, 1, INT64_MAX), book_why=self.number("book_why" + tag, 0, WHY.NO_BOOK),
                  depth=self.number("depth" + tag, 0, INT64_MAX), exit_cost_mbps=self.number("exit_cost" + tag, 0, INT64_MAX),
                  scale=self.number("scale" + tag, 1, 2**64 - 1), rate_up=self.number("rate_up" + tag, 0, 2**63 - 1),
                  thin=z3.Bool("thin" + tag))
        f.sane = both(i["price_raw"] > 0, i["price_raw"] <= PRICE_RAW_MAX, i["qty_raw"] > 0, i["qty_raw"] <= QTY_RAW_MAX,
                      i["price_scale"] > 0, i["qty_scale"] > 0, i["tick_raw"] > 0, i["lot_raw"] > 0)
        known = f.money_why == WHY.PASSED
        self.given += [
            either(known, f.money_why == WHY.BAD_INPUT, f.money_why == WHY.OVERFLOW),
            z3.Implies(z3.Not(f.sane), f.money_why == WHY.BAD_INPUT), known == (f.notional < INT64_MAX),
            z3.Implies(known, f.rate_up > 0),
            either(f.book_why == WHY.PASSED, f.book_why == WHY.OVERFLOW, f.book_why == WHY.NO_BOOK),
            (f.mid2 == 0) == (f.book_why == WHY.NO_BOOK),
            z3.Implies(f.mid2 > 0, both(f.bid > 0, f.bid < f.ask, f.ask <= PRICE_RAW_MAX, f.mid2 == f.bid + f.ask)),
            z3.Implies(f.thin, f.exit_cost_mbps == INT64_MAX),
        ]
        affordable = z3.Function("affordable" + tag, z3.IntSort(), z3.IntSort())
        self.given += [affordable(NO_CAP) == NO_CAP]
        f.qty_of = affordable
        f.whole_lots = z3.Function("whole_lots" + tag, z3.IntSort(), z3.IntSort())
        f.sendable = z3.Function("sendable" + tag, z3.IntSort(), z3.BoolSort())
        f.walk_cap = z3.Function("walk_cap" + tag, z3.IntSort(), z3.IntSort())
        return f


class NotProvenError(AssertionError):
    """A theorem that does not hold, or that Z3 did not decide in time."""


def live_limits() -> dict:
    """The limits of config/live.toml, as plain ints."""
    row = limits_row(load([str(LIVE)], {}), "BTC/USD")
    return {name: tuple(int(n) for n in row[name]) if row[name].shape else int(row[name]) for name in row.dtype.names}


def prove(claim: Any, *given: Any, timeout_ms: int = TIMEOUT_MS) -> None:
    """Show that the claim holds wherever the conditions do. A timeout is a failure."""
    solver = z3.Solver()
    solver.set("timeout", VACUOUS_MS)
    solver.add(*given)
    if solver.check() == z3.unsat:
        raise NotProvenError("the conditions exclude each other: anything follows from them")
    solver.set("timeout", timeout_ms)
    solver.add(z3.Not(claim) if isinstance(claim, z3.ExprRef) else not claim)
    answer = solver.check()
    if answer == z3.sat:
        model = solver.model()
        found = {str(name): str(model[name]) for name in sorted(model.decls(), key=str)}
        raise NotProvenError(f"does not hold: {found}")
    if answer != z3.unsat:
        raise NotProvenError(f"not decided within {timeout_ms} ms: {solver.reason_unknown()}")


def example(*given: Any, timeout_ms: int = TIMEOUT_MS) -> z3.ModelRef | None:
    """Values that meet the conditions, or None where there are none. A timeout is a failure."""
    solver = z3.Solver()
    solver.set("timeout", timeout_ms)
    solver.add(*given)
    answer = solver.check()
    if answer == z3.unknown:
        raise NotProvenError(f"not decided within {timeout_ms} ms: {solver.reason_unknown()}")
    return solver.model() if answer == z3.sat else None
