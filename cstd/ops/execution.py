"""How well orders were executed, read from the ledger: shortfall, markouts, score, and fills by queue position.

What the figures mean is in docs/execution.md; how they are computed, in cstd.ledger.execution. Texts of basis points are
rounded to a thousandth, positive is cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from cstd.errors import OperatorError
from cstd.ledger.execution import (
    HORIZONS_S,
    QUEUE_NAMES,
    Execution,
    FilledOrder,
    Ratio,
    fee_in_quote,
    markout,
    percentiles,
    queue_class,
    together,
    wilson,
)
from cstd.ops.ledger_file import LedgerSight, opened
from cstd.units import from_raw

if TYPE_CHECKING:
    import sqlite3

NEWEST_SHOWN = 50
WINDOW_ORDERS = 2_000    # what the status port looks at, at most
ALL = 1 << 60
SHARE = Decimal("0.0001")
ENDED = ("filled", "canceled", "expired")      # of an order that the venue had taken


class Figures(TypedDict):
    """One figure over many orders or fills; null without one."""

    n: int
    unknown: int  # of which it cannot be computed; they are in none of the others
    mean_bps: str | None  # weighted by value
    p50_bps: str | None
    p95_bps: str | None


class Markout(Figures):
    """Cost against the mid a while after each fill."""

    horizon_s: int
    reasons: dict[str, int]  # why it is unknown -> fills


class QueueClass(TypedDict):
    """Orders that rested and have ended, of one class of the quantity ahead in multiples of their own."""

    ahead: str
    orders: int
    filled: int
    partly: int  # filled in part when they ended
    share: str | None  # filled of orders, with Wilson's 95 % interval; null without orders
    low: str | None
    high: str | None


class OrderQuality(TypedDict):
    """One order with a fill."""

    cl_ord_id: str
    wall_ns: int  # of its decision
    instrument: str
    side: str
    kind: str
    state: str
    qty: str
    filled_qty: str
    arrival: str | None
    average_price: str
    price_bps: str | None
    fees_bps: str | None
    shortfall_bps: str | None
    markouts_bps: dict[str, str | None]
    score_bps: str | None
    queue: str
    ahead_qty: str | None  # at its price and better ones, when it left


class ExecutionQuality(TypedDict):
    """`cstd execution`, `/api/v1/execution`: of the orders decided since a time."""

    source: str
    seq: int  # of the last journal record in the ledger
    since_wall_ns: int
    instrument: str | None
    orders: int
    cut: bool  # there are more, older ones
    filled_orders: int
    fills: int
    price: Figures
    fees: Figures
    shortfall: Figures
    score: Figures
    markouts: list[Markout]
    queue: list[QueueClass]
    queue_open: int  # they rest still
    queue_unknown: dict[str, int]  # why the quantity ahead is not known -> orders
    newest: list[OrderQuality]


class ExecutionSeen(TypedDict):
    """What the status port knows of the last 24 hours: the figures, or why there are none."""

    reason: str | None
    quality: ExecutionQuality | None


def sight_of(path: Path) -> LedgerSight[ExecutionSeen]:
    """Return what the status port reads of a ledger: its newest orders of the last 24 hours."""
    return LedgerSight(path, lambda since_ns: read(path, since_ns=since_ns, orders_max=WINDOW_ORDERS),
                       lambda reason, found: {"reason": reason, "quality": found})


@dataclass(frozen=True, slots=True)
class _Order:
    row: Mapping[str, Any]
    quality: FilledOrder


def read(path: Path, *, since_ns: int = 0, instrument: str | None = None, orders_max: int = ALL,
         newest: int = NEWEST_SHOWN) -> ExecutionQuality:
    """Return the quality of the executions of orders that were decided from a time on, the newest `orders_max` of them.

    Raises:
        OperatorError: the ledger cannot be read, or is of another schema, or has no order of that instrument.
    """
    try:
        return _read(path, since_ns, instrument, orders_max, newest)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise OperatorError(f"{path} holds what no ledger of cstd does: {type(error).__name__}: {error}",
                            suggestion="`cstd db rebuild` makes it anew") from error


def _read(path: Path, since_ns: int, instrument: str | None, orders_max: int, newest: int) -> ExecutionQuality:
    with opened(path) as connection:
        connection.execute("BEGIN")     # one state of the file for all that is read
        name = _known_name(connection, instrument) if instrument is not None else None
        place = connection.execute("SELECT seq FROM place").fetchone()
        rows = _order_rows(connection, since_ns, name, orders_max + 1)
        cut = len(rows) > orders_max
        rows = rows[:orders_max]
        fills = _fill_rows(connection, min((row["seq"] for row in rows), default=ALL))
    filled = [_Order(row, _filled_order(row, fills[row["cl_ord_id"]])) for row in rows if row["cl_ord_id"] in fills]
    qualities = [order.quality for order in filled]
    return {
        "source": str(path), "seq": place[0] if place is not None else 0, "since_wall_ns": since_ns, "instrument": name,
        "orders": len(rows), "cut": cut, "filled_orders": len(filled), "fills": sum(len(order.fills) for order in qualities),
        "price": _figures(order.price_cost() for order in qualities), "fees": _figures(order.fees() for order in qualities),
        "shortfall": _figures(order.shortfall() for order in qualities),
        "score": _figures(order.score() for order in qualities),
        "markouts": [_markout(filled, fills, horizon_s) for horizon_s in HORIZONS_S],
        **_queue(rows), "newest": [_order(order) for order in filled[:newest]],
    }


def _known_name(connection: sqlite3.Connection, instrument: str) -> str:
    names = [row[0] for row in connection.execute("SELECT DISTINCT instrument FROM arrivals ORDER BY 1")]
    for name in names:
        if name.upper() == instrument.upper():
            return str(name)
    raise OperatorError(f"the session has sent no order of {instrument}",
                        suggestion=f"one of: {', '.join(names[:20])}" if names else "it has sent none yet")


def _order_rows(connection: sqlite3.Connection, since_ns: int, name: str | None, limit: int) -> list[dict[str, Any]]:
    """Orders that were sent, newest first, with what their decision saw."""
    of_one = "AND a.instrument = ?" if name is not None else ""
    found = connection.execute(
        "SELECT a.cl_ord_id, a.seq, a.wall_ns, a.instrument, a.mid, a.queue, a.better_raw + a.ahead_raw AS queue_raw,"  # noqa: S608 -- ours
        " a.qty_raw AS sent_raw, a.qty_precision AS sent_precision, o.side, o.kind, o.state, o.qty_raw, o.filled_raw,"
        f" o.qty_precision FROM arrivals a JOIN orders o USING (cl_ord_id) WHERE a.wall_ns >= ? {of_one}"
        " ORDER BY a.wall_ns DESC, a.seq DESC LIMIT ?", (since_ns, *([name] if name is not None else []), limit))
    return [dict(row) for row in found]


def _fill_rows(connection: sqlite3.Connection, from_seq: int) -> dict[str, list[dict[str, Any]]]:
    """Fills behind a record, by order, each with its fees and its mids by horizon. No fill is before its order's decision."""
    found: dict[str, dict[str, Any]] = {
        row["exec_id"]: dict(row) | {"fees": [], "mids": {}, "reasons": {}} for row in connection.execute(
            "SELECT exec_id, cl_ord_id, qty_raw, qty_precision, price, cost FROM fills WHERE seq > ? ORDER BY seq", (from_seq,))}
    for row in connection.execute("SELECT exec_id, asset, amount FROM fees WHERE exec_id IN"
                                  " (SELECT exec_id FROM fills WHERE seq > ?)", (from_seq,)):
        found[row["exec_id"]]["fees"].append((row["asset"], Decimal(row["amount"])))
    for row in connection.execute("SELECT exec_id, horizon_s, mid, unknown FROM markouts WHERE fill_seq > ?", (from_seq,)):
        found[row["exec_id"]]["mids"][row["horizon_s"]] = Decimal(row["mid"]) if row["mid"] is not None else None
        found[row["exec_id"]]["reasons"][row["horizon_s"]] = row["unknown"]
    by_order: dict[str, list[dict[str, Any]]] = {}
    for fill in found.values():
        by_order.setdefault(fill["cl_ord_id"], []).append(fill)
    return by_order


def _filled_order(row: Mapping[str, Any], fills: Iterable[Mapping[str, Any]]) -> FilledOrder:
    base, _, quote = row["instrument"].partition("/")
    executions = []
    for fill in fills:
        price = Decimal(fill["price"])
        executions.append(Execution(price, from_raw(fill["qty_raw"], fill["qty_precision"]), Decimal(fill["cost"]),
                                    fee_in_quote(fill["fees"], base, quote, price), fill["mids"]))
    return FilledOrder(1 if row["side"] == "buy" else -1, Decimal(row["mid"]) if row["mid"] is not None else None, executions)


# Figures of many.


def _figures(ratios: Iterable[Ratio | None]) -> Figures:
    found = list(ratios)
    known = [ratio for ratio in found if ratio is not None]
    median, high = percentiles(known, (50, 95))
    return {"n": len(known), "unknown": len(found) - len(known), "mean_bps": _text(together(known)),
            "p50_bps": _text(median), "p95_bps": _text(high)}


def _markout(orders: Sequence[_Order], fills: Mapping[str, Sequence[Mapping[str, Any]]], horizon_s: int) -> Markout:
    ratios = [markout(fill, order.quality.sign, horizon_s) for order in orders for fill in order.quality.fills]
    reasons = Counter(fill["reasons"].get(horizon_s) for order in orders for fill in fills[order.row["cl_ord_id"]])
    return {"horizon_s": horizon_s, **_figures(ratios),
            "reasons": {reason: count for reason, count in sorted(reasons.items(), key=str) if reason is not None}}


class _Queue(TypedDict):
    queue: list[QueueClass]
    queue_open: int
    queue_unknown: dict[str, int]


def _queue(rows: Iterable[Mapping[str, Any]]) -> _Queue:
    """Return the shares filled of orders that rested, by what was ahead; those that the venue refused never rested."""
    ended: list[Counter[str]] = [Counter() for _ in QUEUE_NAMES]
    unknown: Counter[str] = Counter()
    open_ = 0
    for row in rows:
        if row["queue"] == "takes" or row["state"] == "rejected":
            continue
        if row["queue_raw"] is None:
            unknown[row["queue"]] += 1
        elif row["state"] not in ENDED:
            open_ += 1
        else:
            part = "filled" if row["state"] == "filled" else "partly" if row["filled_raw"] else "unfilled"
            ended[queue_class(row["queue_raw"], row["sent_raw"])][part] += 1
    return {"queue": [_class(name, found) for name, found in zip(QUEUE_NAMES, ended, strict=True)], "queue_open": open_,
            "queue_unknown": dict(sorted(unknown.items()))}


def _class(name: str, found: Counter[str]) -> QueueClass:
    count = found.total()
    low, high = wilson(found["filled"], count) if count else (None, None)
    share = Decimal(found["filled"]) / count if count else None
    return {"ahead": name, "orders": count, "filled": found["filled"], "partly": found["partly"], "share": _share(share),
            "low": _share(low), "high": _share(high)}


# One order.


def _order(order: _Order) -> OrderQuality:
    row, quality = order.row, order.quality
    cost = sum((fill.cost for fill in quality.fills), Decimal(0))
    qty = sum((fill.qty for fill in quality.fills), Decimal(0))
    return {
        "cl_ord_id": row["cl_ord_id"], "wall_ns": row["wall_ns"], "instrument": row["instrument"], "side": row["side"],
        "kind": row["kind"], "state": row["state"], "qty": f"{from_raw(row['qty_raw'], row['qty_precision']):f}",
        "filled_qty": f"{qty:f}", "arrival": row["mid"], "average_price": _average(cost, qty, row["mid"], quality),
        "price_bps": _bps(quality.price_cost()), "fees_bps": _bps(quality.fees()), "shortfall_bps": _bps(quality.shortfall()),
        "markouts_bps": {str(horizon_s): _bps(quality.markout(horizon_s)) for horizon_s in HORIZONS_S},
        "score_bps": _bps(quality.score()), "queue": row["queue"],
        "ahead_qty": f"{from_raw(row['queue_raw'], row['sent_precision']):f}" if row["queue_raw"] is not None else None,
    }


def _average(cost: Decimal, qty: Decimal, mid: str | None, quality: FilledOrder) -> str:
    """Return the average price, to the digits of the mid, which has one more than prices, or else of the prices."""
    finest = Decimal(mid) if mid is not None else quality.fills[0].price
    return f"{(cost / qty).quantize(Decimal(1).scaleb(int(finest.as_tuple().exponent)), ROUND_HALF_EVEN):f}"


def _bps(ratio: Ratio | None) -> str | None:
    return _text(ratio.bps()) if ratio is not None else None


def _text(value: Decimal | None) -> str | None:
    return f"{value:f}" if value is not None else None


def _share(value: Decimal | None) -> str | None:
    return f"{value.quantize(SHARE, ROUND_HALF_EVEN):f}" if value is not None else None
