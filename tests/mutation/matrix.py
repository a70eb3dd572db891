"""Which mutants there are of which gate: fifteen gates, six kinds of fault each, and no cell empty.

A cell names its mutants without the gate's name, which they all begin with. Gates hold integers only
(test_the_gates_hold_no_float), so none of them can be given a NaN; what stands in those cells is what says "there is no
number" among integers: a sentinel, a negative count, an unknown code, a fact that could not be worked out. A gate that only
compares has no sum or product that could overflow; in its cell a number too large for a narrower word, or one whose sign or
index wraps, stands for it. `instead` says so in each such cell.
"""

from __future__ import annotations

from typing import NamedTuple

KINDS = ("removed", "inverted", "loosened", "off by one", "NaN", "overflow")
COMPARES = "no arithmetic of its own, it compares: "


class Cell(NamedTuple):
    """The mutants of one kind for one gate. instead: why the kind itself cannot be there, and what stands for it."""

    mutants: tuple[str, ...]
    instead: str = ""


def _row(removed: str, inverted: str, loosened: str, off_by_one: str, nan: tuple[str, str],
         overflow: str | tuple[str, str]) -> dict[str, Cell]:
    """A gate's cells from names with commas between them; a pair is the reason and the names."""
    cells = []
    for names in (removed, inverted, loosened, off_by_one, nan, overflow):
        reason, listed = ("", names) if isinstance(names, str) else names
        cells.append(Cell(tuple(name.strip() for name in listed.split(",")), reason))
    return dict(zip(KINDS, cells, strict=True))


def _share(loosened: str) -> dict[str, Cell]:
    """Gates 16 to 18: one function, planted with a fault for this gate alone."""
    return _row(
        removed="removed", inverted="inverted", loosened=loosened, off_by_one="off by one",
        nan=("integers: a negative exposure, and a notional that is not known",
             "negative exposure let through, unknown notional let through"),
        overflow="sum wraps")


MATRIX: dict[str, dict[str, Cell]] = {
    "idempotency": _row(
        removed="removed, id check removed, UNKNOWN removed, duplicate removed",
        inverted="id check inverted, losing streak inverted, UNKNOWN inverted, duplicate inverted, hour inverted,"
                 " minute inverted, turnover inverted",
        loosened="minute loosened, losing streak loosened, turnover loosened",
        off_by_one="hour off by one, minute off by one, losing streak off by one, turnover off by one",
        nan=("integers: a negative count or turnover, and a notional that is not known",
             ("negative hour let through, negative minute let through, negative streak let through,"
             " negative turnover let through, unknown notional let through")),
        overflow="turnover wraps, count of the hour wraps"),
    "spread": _row(
        removed="removed", inverted="inverted", loosened="loosened", off_by_one="off by one",
        nan=("integers: a side that is missing, which has a sentinel for its price", "no book let through"),
        overflow="in 32 bits"),
    "depth": _row(
        removed="removed, multiple removed", inverted="floor inverted, multiple inverted",
        loosened="floor loosened, multiple loosened", off_by_one="floor off by one, multiple off by one, cap off by one",
        nan=("integers: a book that cannot be walked, and a notional that is not known",
             "wild book let through, unknown notional let through"),
        overflow="multiple in 64 bits"),
    "volume": _row(
        removed="removed", inverted="warming up inverted, floor inverted, share inverted",
        loosened="share of the hour, floor loosened", off_by_one="floor off by one, share off by one",
        nan=("integers: a negative volume, one that is not known yet, and a notional that is not known",
             "negative let through, warming up let through, unknown notional let through"),
        overflow="share in 64 bits"),
    "slippage": _row(
        removed="removed, P95 removed", inverted="day inverted, P95 inverted, cost inverted",
        loosened="day loosened, allowance left out, ceiling of the budget removed",
        off_by_one="day off by one, P95 off by one, fills off by one, cost off by one",
        nan=("integers: no equity to be a share of, a negative allowance or count, an order or a book out of its domain",
             ("no equity let through, negative allowance let through, negative fills let through, wild order let through,"
             " no book let through, thin book let through")),
        overflow="day in 64 bits, shown cost wraps"),
    "time in force": _row(
        removed="removed, post-only removed", inverted="post-only inverted, late deadline inverted, lifetime inverted",
        loosened="deadline loosened, lifetime loosened, post-only IOC let through, GTC let through",
        off_by_one="deadline off by one, late deadline off by one, lifetime off by one",
        nan=("integers: a code that is none of the three, and times that are not set",
             "unknown code let through, early deadline let through, lifetime 0 let through"),
        overflow=(COMPARES + "times that 32 bits do not hold", "deadline in 32 bits, lifetime in 32 bits")),
    "price": _row(
        removed="removed, removed for exits, crossing removed, collar removed",
        inverted="crossing inverted, band inverted, reference band inverted, collar inverted, minimum quantity inverted",
        loosened="band loosened, band one-sided, collar loosened, collar without its maximum",
        off_by_one="band off by one, reference band off by one, crossing off by one, collar off by one,"
                   " minimum quantity off by one",
        nan=("integers: numbers out of their domain, and prices that are missing",
             ("wild numbers let through, wild reference let through, missing reference let through, no book let through,"
             " wild bid let through, missing bid as a price, REST age below 0 let through, REST bid 0 or less let through")),
        overflow="distance in 32 bits, distance below a bid in 63 bits"),
    "kill switch": _row(
        removed="removed, latch removed, level removed", inverted="latch inverted, level inverted",
        loosened="paused let through, not ready let through", off_by_one="state off by one, level off by one",
        nan=("integers: a state or a level that is none of those known", "unknown state let through, unknown level is normal"),
        overflow=("no arithmetic, but two tables: an index past their ends",
                  "level past the last let through, state wraps round its table")),
    "data gap": _row(
        removed="removed, venue removed, instrument removed, conversion removed",
        inverted="conversion inverted, fast clock inverted, silence inverted, evidence inverted",
        loosened="fast clock loosened, silence loosened, evidence loosened",
        off_by_one="clock off by one, slow clock off by one, silence off by one, evidence off by one",
        nan=("integers: ages that are negative, which none can be",
             "negative age let through, negative silence let through, negative unverified time let through"),
        overflow=(COMPARES + "the offset whose sign wraps, and a silence that 32 bits do not hold",
                  "the slowest clock's sign wraps, silence in 32 bits")),
    "day loss": _row(
        removed="removed, amount removed", inverted="inverted, amount inverted",
        loosened="loosened to the next threshold, amount loosened", off_by_one="off by one, amount off by one",
        nan=("integers: the smallest number, for a loss that was never computed, and the largest",
             "never computed let through, amount never computed let through, a sentinel read as no loss"),
        overflow=(COMPARES + "losses that 32 bits do not hold", "in 32 bits, amount in 32 bits")),
    "drawdown": _row(
        removed="removed", inverted="inverted", loosened="loosened to the next threshold", off_by_one="off by one",
        nan=("integers: a value above its peak, which none can be, and the largest number",
             "above its peak let through, a sentinel read as none"),
        overflow=(COMPARES + "a drawdown that 32 bits do not hold", "in 32 bits")),
    "position count": _row(
        removed="removed", inverted="inverted", loosened="loosened, this one left out", off_by_one="off by one",
        nan=("integers: a negative count", "negative let through"), overflow="wraps"),
    "total exposure": _share("loosened"),
    "position size": _share("loosened"),
    "correlation": _share("loosened"),
}


def names_of(gate: str, kind: str) -> list[str]:
    """The whole names of one cell's mutants."""
    return [f"{gate}: {name}" for name in MATRIX[gate][kind].mutants]
