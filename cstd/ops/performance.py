"""The account's net asset value in units, and what its change consists of, read from the ledger: docs/performance.md."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal, localcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from cstd.errors import OperatorError
from cstd.ledger.performance import EXACT, PARTS
from cstd.ops.ledger_file import LedgerSight, opened

if TYPE_CHECKING:
    import sqlite3

BPS = Decimal(10_000)


class Change(TypedDict):
    """`cstd performance`, `/api/v1/performance`: from one look at the account to the newest; exact but where it says so."""

    source: str
    seq: int  # of the journal record of the newest look
    currency: str
    from_wall_ns: int
    to_wall_ns: int
    nav_before: str
    nav: str
    change: str  # of the net asset value: the sum of the parts and what is unexplained
    units: str
    nav_per_unit_before: str | None  # rounded down to 12 decimals; null without units
    nav_per_unit: str | None
    return_bps: str | None  # of a unit, rounded down to a thousandth; null where there were none, or they began anew in between
    parts: dict[str, str]
    unexplained: str


class PerformanceSeen(TypedDict):
    """What the status port knows of the last 24 hours: the change, or why there is none."""

    reason: str | None
    performance: Change | None


def sight_of(path: Path) -> LedgerSight[PerformanceSeen]:
    """Return what the status port reads of a ledger: the change since the last look before 24 hours ago, or the first."""
    return LedgerSight(path, lambda since_ns: read(path, since_ns=since_ns),
                       lambda reason, found: {"reason": reason, "performance": found})


def read(path: Path, *, since_ns: int = 0) -> Change:
    """Return the change from the last look before a time, or the first after it, to the newest.

    Raises:
        OperatorError: the ledger cannot be read, is of another schema, or has no look yet.
    """
    with opened(path) as ledger:
        query = "SELECT * FROM performance WHERE {} LIMIT 1"
        newest = ledger.execute(query.format("1 ORDER BY seq DESC")).fetchone()
        before = ledger.execute(query.format("wall_ns <= ? ORDER BY seq DESC"), (since_ns,)).fetchone()
        first = before or ledger.execute(query.format("1 ORDER BY seq")).fetchone()
    if newest is None or first is None:
        raise OperatorError("the account was not looked at yet: its balances have not agreed since the journal began",
                            suggestion="it is once the daemon is ready; the projector lags by some seconds")
    try:
        return _change(path, first, newest)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise OperatorError(f"{path} holds what no ledger of cstd does: {type(error).__name__}: {error}",
                            suggestion="`cstd db rebuild` makes it anew") from error


def _change(path: Path, first: sqlite3.Row, newest: sqlite3.Row) -> Change:
    with localcontext(EXACT):
        moved = {name: Decimal(newest[name]) - Decimal(first[name]) for name in ("nav", *PARTS, "unexplained")}
    return {
        "source": str(path), "seq": newest["seq"], "currency": newest["currency"], "from_wall_ns": first["wall_ns"],
        "to_wall_ns": newest["wall_ns"], "nav_before": first["nav"], "nav": newest["nav"], "change": f"{moved['nav']:f}",
        "units": newest["units"], "nav_per_unit_before": first["nav_per_unit"], "nav_per_unit": newest["nav_per_unit"],
        "return_bps": _return_bps(first, newest), "parts": {name: f"{moved[name]:f}" for name in PARTS},
        "unexplained": f"{moved['unexplained']:f}"}


def _return_bps(first: sqlite3.Row, newest: sqlite3.Row) -> str | None:
    before, after = first["nav_per_unit"], newest["nav_per_unit"]
    if first["series"] != newest["series"] or before is None or after is None or not Decimal(before):
        return None
    return f"{((Decimal(after) / Decimal(before) - 1) * BPS).quantize(Decimal('0.001'), ROUND_FLOOR):f}"
