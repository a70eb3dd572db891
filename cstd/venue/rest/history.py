"""The account's history as the venue keeps it: all orders, trades and ledger entries of a span of time, page by page.

Pure: `read` makes one call, whoever does. The venue gives 50 rows a page, newest first, and tells how many there are in all;
a span that ends in the past does not change while it is read, and where it does all the same it is read again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from cstd.errors import ProtocolViolationError
from cstd.units import NS_PER_S
from cstd.venue.fields import FieldError
from cstd.venue.rest import request as requests
from cstd.venue.rest.models import (
    LedgerRow,
    OrderRow,
    TradeRow,
    parse_closed_orders,
    parse_ledgers,
    parse_open_orders,
    parse_trades_history,
)
from cstd.venue.rest.names import rest_asset
from cstd.venue.rest.request import RestRequest

READINGS_MAX = 3
# A day of the fastest account stays far below; a count beyond it is no count.
ROWS_MAX = 1_000_000
# Whether a bound of the venue includes itself is not relied on: a second more is asked for on both sides.
MARGIN_NS = NS_PER_S
# An order that was sent at a span's end may be opened a little after it; its deadline is shorter than this.
OPENED_LATE_NS = 10 * NS_PER_S

Read = Callable[[RestRequest], Any]
Row = TypeVar("Row", OrderRow, TradeRow, LedgerRow)
Page = tuple[tuple[Row, ...], int | None]


def trades_between(read: Read, from_ns: int, to_ns: int) -> tuple[TradeRow, ...]:
    """Return the account's trades of a span, oldest first, and up to a second on both sides of it.

    Each execution is a row of its own: `consolidate_taker` would put those of one order together.
    """
    def page(offset: int) -> Page[TradeRow]:
        return parse_trades_history(read(requests.trades_history(
            start_ns=from_ns - MARGIN_NS, end_ns=to_ns + MARGIN_NS, offset=offset, consolidate_taker=False)))

    return _all_rows("TradesHistory", page, lambda row: (row.time_ns, row.exec_id))


def ledger_between(read: Read, from_ns: int, to_ns: int) -> tuple[LedgerRow, ...]:
    """Return the account's ledger entries of a span, oldest first, and up to a second on both sides of it."""
    def page(offset: int) -> Page[LedgerRow]:
        return parse_ledgers(read(requests.ledgers(
            start_ns=from_ns - MARGIN_NS, end_ns=to_ns + MARGIN_NS, offset=offset)))

    return _all_rows("Ledgers", page, lambda row: (row.time_ns, row.ledger_id))


def orders_between(read: Read, from_ns: int, to_ns: int, *, opened_from_ns: int) -> tuple[OrderRow, ...]:
    """Return the account's orders of a span: open now, closed in it, or opened from `opened_from_ns` to its end.

    Oldest first, each once. Those open are read first: an order that closes meanwhile is then in the other lists.
    """
    rows, _ = _parsed("OpenOrders", lambda _: (parse_open_orders(read(requests.open_orders(trades=None))), None), 0)
    found = {row.order_id: row for row in rows}
    for closetime, start_ns, end_ns in (("close", from_ns, to_ns), ("open", opened_from_ns, to_ns + OPENED_LATE_NS)):
        found.update((row.order_id, row) for row in _closed_orders(read, closetime, start_ns, end_ns))
    return tuple(sorted(found.values(), key=lambda row: (row.opened_ns, row.order_id)))


def _closed_orders(read: Read, closetime: str, from_ns: int, to_ns: int) -> tuple[OrderRow, ...]:
    def page(offset: int) -> Page[OrderRow]:
        return parse_closed_orders(read(requests.closed_orders(
            start_ns=from_ns - MARGIN_NS, end_ns=to_ns + MARGIN_NS, offset=offset, closetime=closetime, trades=None)))

    return _all_rows("ClosedOrders", page, lambda row: (row.opened_ns, row.order_id))


def last_entry_before(read: Read, name: str, before_ns: int) -> LedgerRow | None:
    """Return the newest entry of an asset before a time, None where there is none."""
    offset = 0
    while True:
        rows, count = _parsed("Ledgers", lambda ofs: parse_ledgers(read(requests.ledgers(
            asset=rest_asset(name), end_ns=before_ns + MARGIN_NS, offset=ofs))), offset)
        for row in rows:
            if row.time_ns < before_ns and row.name == name:
                return row
        offset += len(rows)
        if not rows or offset >= (count or 0):
            return None


def _all_rows(method: str, page: Callable[[int], Page[Row]], key: Callable[[Row], tuple[int, str]]) -> tuple[Row, ...]:
    """Return all rows, oldest first; `key` gives a row's time and id."""
    for _ in range(READINGS_MAX):
        found = _read_once(method, page, key)
        if found is not None:
            return found
    raise ProtocolViolationError(
        f"{method}: what the venue counts and what its pages hold did not agree in {READINGS_MAX} readings",
        suggestion="try again later")


def _read_once(method: str, page: Callable[[int], Page[Row]],
               key: Callable[[Row], tuple[int, str]]) -> tuple[Row, ...] | None:
    """Return all rows, oldest first; None when the pages moved meanwhile."""
    found: dict[str, Row] = {}
    total: int | None = None
    while total is None or len(found) < total:
        rows, count = _parsed(method, page, len(found))
        if count is None or not 0 <= count <= ROWS_MAX:
            raise ProtocolViolationError(f"{method}: the venue does not say how many rows there are: {count}")
        before = len(found)
        found.update((key(row)[1], row) for row in rows)
        moved = len(found) != before + len(rows) or count != (count if total is None else total)
        total = count
        if moved or len(found) > total or (not rows and len(found) < total):
            return None
    oldest_first = list(found.values())[::-1]  # of two of the same moment, too
    oldest_first.sort(key=lambda row: key(row)[0])
    return tuple(oldest_first)


def _parsed(method: str, page: Callable[[int], Page[Row]], offset: int) -> Page[Row]:
    try:
        return page(offset)
    except FieldError as error:
        raise ProtocolViolationError(f"{method}: {error}") from error
