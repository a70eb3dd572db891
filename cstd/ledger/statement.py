"""The statement: what a session's own ledger says of a span of time, beside what the venue's books say of it.

Every execution is compared by its id: side, quantity, price, cost, fee and the asset of the fee, in the venue's list of trades
and in its ledger. Every ledger entry is explained by an execution of ours or by a move of the user's; what is left over is
a difference. The ledger itself must add up from one entry to the next, from the last balance before the span to its end,
and that end must be what the private stream told us.

Every order of the span is compared with the venue's: found by its txid, or by our id where the venue's never reached us. One
that the venue does not have must be rejected here with nothing filled; one there with our prefix must be known here. What an
order came to is compared in the statement of the span in which the venue closed it; until then it still changes.

Pure: rows come in, a document goes out. Amounts are Decimals and compared exactly; only where the venue's ledger or its list
of orders prints fewer decimals than its trades do may an amount differ, by less than one unit of its last decimal.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from cstd.clock import utc_text
from cstd.units import format_decimal
from cstd.venue.rest.models import LedgerRow, OrderRow, TradeRow

FORMAT = 2
ZERO = Decimal(0)
# Ledger entries by which money comes and goes without an order.
USERS_MOVES = frozenset({"deposit", "withdrawal", "transfer", "credit", "staking", "dividend", "reward", "creator_fee",
                         "adjustment", "conversion", "sale", "spend", "receive"})
# Entries are booked one after the other; of those that are this close, the times printed need not tell which came first.
TIMES_APART_NS = 1_000_000_000
# Our word for how an order ended, and REST's. A rejected one never was an order at the venue.
ENDINGS = {"filled": "closed", "canceled": "canceled", "expired": "expired"}
CL_ORD_ID_CHARS = 18  # of ours; the user's own may begin with the same letters
MISSING_HERE = "missing_here"
MISSING_THERE = "missing_there"
AMOUNT_DIFFERS = "amount_differs"
BALANCE_DIFFERS = "balance_differs"


class OwnFill(msgspec.Struct, frozen=True):
    """One execution as our ledger has it. `side` is buy or sell; fees are (asset, amount)."""

    exec_id: str
    cl_ord_id: str
    order_id: str
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    cost: Decimal
    fees: tuple[tuple[str, Decimal], ...]
    wall_ns: int


class OwnOrder(msgspec.Struct, frozen=True):
    """One order as our table has it; `status` is the venue's word."""

    cl_ord_id: str
    order_id: str
    symbol: str
    side: str
    status: str
    limit_price: Decimal
    order_qty: Decimal
    filled_qty: Decimal
    sent_wall_ns: int


class OwnBooks(msgspec.Struct, frozen=True):
    """Our side, of the whole session.

    Attributes:
        balances: by asset, what the private stream had told of the account by `until_ns`.
        until_ns: the end of the span, or the end of the journal where that is earlier: what came later we need not know.
        owner_prefix: what the client order ids of our orders begin with.
        ended: by client order id, a time by which the order had ended here, wall clock; absent while it lives.
        decided_ns: what became of an order that was sent before this is known here, answered or looked up.
    """

    fills: tuple[OwnFill, ...]
    orders: tuple[OwnOrder, ...]
    balances: Mapping[str, Decimal]
    until_ns: int
    owner_prefix: str
    ended: Mapping[str, int]
    decided_ns: int


class VenueBooks(msgspec.Struct, frozen=True):
    """The venue's side: trades and ledger entries oldest first, of the span and a little around it.

    Attributes:
        openings: by asset, the balance that the last entry before the span left; absent where there is no such entry.
        orders: those open now, those closed in the span, and those opened from the first of `orders_in` to its end.
    """

    trades: tuple[TradeRow, ...]
    entries: tuple[LedgerRow, ...]
    openings: Mapping[str, Decimal]
    orders: tuple[OrderRow, ...]


class Span(msgspec.Struct, frozen=True):
    """From `from_ns` up to and not including `to_ns`, wall clock, by the venue's times."""

    from_ns: int
    to_ns: int

    def holds(self, wall_ns: int) -> bool:
        """Tell whether a time is inside."""
        return self.from_ns <= wall_ns < self.to_ns


class Difference(msgspec.Struct, frozen=True):
    """What does not agree: a category, the id or asset it is about, and both sides in words ("" = nothing there)."""

    category: str
    subject: str
    what: str
    ours: str
    theirs: str


class BalanceRow(msgspec.Struct, frozen=True):
    """One asset over the span, by the venue's ledger; `here` is what we were told of its balance."""

    opening: Decimal
    traded: Decimal
    fees: Decimal
    moved: Decimal
    closing: Decimal
    here: Decimal


class Statement(msgspec.Struct, frozen=True):
    """The outcome: rows of the span, the user's own moves, balances by asset, and every difference."""

    span: Span
    orders: tuple[OwnOrder, ...]
    fills: tuple[OwnFill, ...]
    moves: tuple[LedgerRow, ...]
    balances: Mapping[str, BalanceRow]
    differences: tuple[Difference, ...]


def state(own: OwnBooks, venue: VenueBooks, span: Span) -> Statement:
    """Compare both sides over a span."""
    return _Comparison(own, venue, span).result()


def orders_in(own: OwnBooks, span: Span) -> tuple[OwnOrder, ...]:
    """Return our orders that were sent or executed in a span."""
    executed = {fill.cl_ord_id for fill in own.fills if span.holds(fill.wall_ns)}
    return tuple(order for order in own.orders if order.cl_ord_id in executed or span.holds(order.sent_wall_ns))


class _Comparison:
    """One pass over both sides."""

    def __init__(self, own: OwnBooks, venue: VenueBooks, span: Span) -> None:
        self.own = own
        self.venue = venue
        self.span = span
        self.fills = {fill.exec_id: fill for fill in own.fills}
        self.trades = {trade.exec_id: trade for trade in venue.trades}
        self.entries: dict[str, list[LedgerRow]] = defaultdict(list)
        for entry in venue.entries:
            self.entries[entry.ref_id].append(entry)
        self.executions: dict[str, list[OwnFill]] = defaultdict(list)
        for fill in own.fills:
            self.executions[fill.cl_ord_id].append(fill)
        self.units = _units(venue.entries)
        self.differences: list[Difference] = []

    def result(self) -> Statement:
        """Return the statement."""
        for trade in self.venue.trades:
            self._trade(trade)
        inside = tuple(fill for fill in self.own.fills if self.span.holds(fill.wall_ns))
        for fill in inside:
            if fill.exec_id not in self.trades:
                self._differ(MISSING_THERE, fill.exec_id, "execution", _fill_words(fill), "")
        entries = [entry for entry in self.venue.entries if self.span.holds(entry.time_ns)]
        for entry in entries:
            self._entry(entry)
        orders = self._orders()
        balances = {asset: self._balance(asset, [e for e in entries if e.name == asset])
                    for asset in sorted({e.name for e in entries} | self.own.balances.keys() | self.venue.openings.keys())}
        moves = tuple(entry for entry in entries if entry.kind in USERS_MOVES)
        return Statement(self.span, orders, inside, moves, balances, tuple(self.differences))

    def _differ(self, category: str, subject: str, what: str, ours: str, theirs: str) -> None:
        self.differences.append(Difference(category, subject, what, ours, theirs))

    # Executions.

    def _trade(self, trade: TradeRow) -> None:
        fill = self.fills.get(trade.exec_id)
        if fill is None:
            if self.span.holds(trade.time_ns):
                known = any(order.order_id == trade.order_id for order in self.own.orders)
                what = "execution" if known else "execution of an order that is not ours"
                self._differ(MISSING_HERE, trade.exec_id, what, "", _trade_words(trade))
            return
        if not (self.span.holds(trade.time_ns) or self.span.holds(fill.wall_ns)):
            return
        if fill.side != trade.side:
            self._differ(AMOUNT_DIFFERS, fill.exec_id, "side", fill.side, trade.side)
        pairs = [("quantity", fill.qty, trade.qty), ("price", fill.price, trade.price), ("cost", fill.cost, trade.cost)]
        quote = fill.symbol.partition("/")[2]
        if all(asset == quote for asset, _ in fill.fees):  # the list of trades tells fees in the quote currency alone
            pairs.append(("fee", sum((amount for _, amount in fill.fees), ZERO), trade.fee))
        for what, ours, theirs in pairs:
            if ours != theirs:
                self._differ(AMOUNT_DIFFERS, fill.exec_id, what, _text(ours), _text(theirs))
        self._legs(fill)

    def _legs(self, fill: OwnFill) -> None:
        """An execution changes two balances: the ledger has an entry for each, with the fee where it was taken."""
        base, _, quote = fill.symbol.partition("/")
        sign = 1 if fill.side == "buy" else -1
        expected = {base: sign * fill.qty, quote: -sign * fill.cost}
        fees: dict[str, Decimal] = defaultdict(lambda: ZERO)
        for asset, amount in fill.fees:
            fees[asset] += amount
        found = {entry.name: entry for entry in self.entries[fill.exec_id]}
        for asset in sorted(expected.keys() | {asset for asset, amount in fees.items() if amount} | found.keys()):
            amount, fee = expected.get(asset, ZERO), fees[asset]
            entry = found.get(asset)
            if entry is None:
                self._differ(MISSING_THERE, fill.exec_id, f"ledger entry in {asset}", f"{_text(amount)} fee {_text(fee)}", "")
                continue
            for what, ours, theirs in ((f"amount in {asset}", amount, entry.amount), (f"fee in {asset}", fee, entry.fee)):
                if abs(ours - theirs) >= self.units[asset]:
                    self._differ(AMOUNT_DIFFERS, fill.exec_id, f"ledger: {what}", _text(ours), _text(theirs))

    def _entry(self, entry: LedgerRow) -> None:
        """An entry that neither an execution nor the user explains is one that nothing here knows of."""
        if entry.kind in USERS_MOVES or entry.ref_id in self.fills or entry.ref_id in self.trades:
            return
        self._differ(MISSING_HERE, entry.ledger_id, f"ledger entry of kind {entry.kind} in {entry.name}", "",
                     f"{_text(entry.amount)} fee {_text(entry.fee)} ref {entry.ref_id}")

    # Orders.

    def _orders(self) -> tuple[OwnOrder, ...]:
        """Return the orders sent or executed in the span, each compared with its executions and with the venue's."""
        orders = orders_in(self.own, self.span)
        for order in orders:
            executed = sum((fill.qty for fill in self.executions[order.cl_ord_id]), ZERO)
            if order.filled_qty != executed:
                self._differ(AMOUNT_DIFFERS, order.cl_ord_id, "filled quantity of the order and the sum of its executions",
                             _text(order.filled_qty), _text(executed))
        shown = self._venue_orders({order.cl_ord_id for order in orders})
        for order in orders:
            if order.cl_ord_id not in shown and not self._never_was(order):
                self._differ(MISSING_THERE, order.cl_ord_id, "order", _order_words(order), "")
        return orders

    def _never_was(self, order: OwnOrder) -> bool:
        """Tell whether the venue need not know an order: it was rejected, or when the journal ended it was still on its way."""
        on_its_way = not order.order_id and order.cl_ord_id not in self.own.ended and order.sent_wall_ns >= self.own.decided_ns
        return not order.filled_qty and (order.status == "rejected" or on_its_way)

    def _venue_orders(self, inside: set[str]) -> set[str]:
        """Compare the venue's orders, those of the user's own left aside; return the client order ids that it knows."""
        by_order_id = {order.order_id: order for order in self.own.orders if order.order_id}
        unnamed = {order.cl_ord_id: order for order in self.own.orders if not order.order_id}
        shown: set[str] = set()
        for row in self.venue.orders:
            order = by_order_id.get(row.order_id) or unnamed.pop(row.cl_ord_id or "", None)
            if order is not None:
                shown.add(order.cl_ord_id)
                if order.cl_ord_id in inside or self._concerns(row):
                    self._order(order, row)
            elif self._has_our_prefix(row) and self._concerns(row):
                self._differ(MISSING_HERE, row.order_id, "order", "", _row_words(row))
        return shown

    def _has_our_prefix(self, row: OrderRow) -> bool:
        name = row.cl_ord_id or ""
        return len(name) == CL_ORD_ID_CHARS and name.startswith(self.own.owner_prefix)

    def _concerns(self, row: OrderRow) -> bool:
        """Tell whether the venue opened or closed an order in the span, or had it open at the end and still has."""
        if row.closed_ns is None:
            return row.opened_ns < self.span.to_ns
        return self.span.holds(row.opened_ns) or self.span.holds(row.closed_ns)

    def _order(self, order: OwnOrder, row: OrderRow) -> None:
        ended_ns = self.own.ended.get(order.cl_ord_id)
        words = [("client order id", order.cl_ord_id, row.cl_ord_id or ""), ("side", order.side, row.side)]
        if row.closed_ns is not None and row.closed_ns < self.own.until_ns:
            words.append(("status", ENDINGS.get(order.status, order.status), row.status))
            self._order_amounts(order, row)
        elif row.closed_ns is None and ended_ns is not None and ended_ns < self.own.until_ns:
            words.append(("status", ENDINGS.get(order.status, order.status), row.status))
        for what, ours, theirs in words:
            if ours != theirs:
                self._differ(AMOUNT_DIFFERS, order.cl_ord_id, f"order: {what}", ours, theirs)

    def _order_amounts(self, order: OwnOrder, row: OrderRow) -> None:
        """What an order asked for and came to; its cost and fee as far as the venue prints their decimals."""
        fills = self.executions[order.cl_ord_id]
        pairs = [("quantity", order.order_qty, row.order_qty, ZERO), ("filled quantity", order.filled_qty, row.filled_qty, ZERO),
                 ("cost", sum((fill.cost for fill in fills), ZERO), row.cost, _last_decimal(row.cost))]
        if row.order_type == "limit":
            pairs.append(("limit price", order.limit_price, row.limit_price, ZERO))
        fees = [fee for fill in fills for fee in fill.fees]
        quote = order.symbol.partition("/")[2]
        if all(asset == quote for asset, _ in fees):  # as in the list of trades
            pairs.append(("fee", sum((amount for _, amount in fees), ZERO), row.fee, _last_decimal(row.fee)))
        for what, ours, theirs, allowed in pairs:
            if ours != theirs and abs(ours - theirs) >= allowed:
                self._differ(AMOUNT_DIFFERS, order.cl_ord_id, f"order: {what}", _text(ours), _text(theirs))

    # Balances.

    def _balance(self, asset: str, entries: list[LedgerRow]) -> BalanceRow:
        opening = balance = told = self.venue.openings.get(asset, ZERO)
        pending = entries[::-1]  # the next one is the last
        while pending:
            entry = _next_entry(pending, balance)
            due = balance + entry.amount - entry.fee
            if due != entry.balance:
                self._differ(BALANCE_DIFFERS, entry.ledger_id, f"the venue's ledger of {asset} does not add up here", _text(due),
                             _text(entry.balance))
            balance = entry.balance
            if entry.time_ns < self.own.until_ns:
                told = balance
        here = self.own.balances.get(asset, ZERO)
        if here != told:
            self._differ(BALANCE_DIFFERS, asset, "balance at the end", _text(here), _text(told))
        by_user = sum((e.amount - e.fee for e in entries if e.kind in USERS_MOVES), ZERO)
        rest = [e for e in entries if e.kind not in USERS_MOVES]
        return BalanceRow(opening, sum((e.amount for e in rest), ZERO), sum((e.fee for e in rest), ZERO), by_user, balance, here)


def _next_entry(pending: list[LedgerRow], balance: Decimal) -> LedgerRow:
    """Take the entry that follows from a balance, of those about the next one's time; where none does, the next one."""
    until_ns = pending[-1].time_ns + TIMES_APART_NS
    for place in range(len(pending) - 1, -1, -1):
        entry = pending[place]
        if entry.time_ns > until_ns:
            break
        if balance + entry.amount - entry.fee == entry.balance:
            return pending.pop(place)
    return pending.pop()


def _units(entries: Iterable[LedgerRow]) -> Mapping[str, Decimal]:
    """Return by asset the unit of the last decimal that the ledger prints."""
    places: dict[str, int] = defaultdict(int)
    for entry in entries:
        for value in (entry.amount, entry.fee, entry.balance):
            places[entry.name] = max(places[entry.name], -int(value.as_tuple().exponent))
    return defaultdict(lambda: Decimal(1), {asset: Decimal(1).scaleb(-count) for asset, count in places.items()})


def _last_decimal(value: Decimal) -> Decimal:
    """Return the unit of the last decimal that is printed of an amount; a whole number allows for nothing."""
    exponent = int(value.as_tuple().exponent)
    return Decimal(1).scaleb(exponent) if exponent < 0 else ZERO


def _text(value: Decimal) -> str:
    return format_decimal(value.normalize())


def _fill_words(fill: OwnFill) -> str:
    return f"{fill.side} {_text(fill.qty)} {fill.symbol} at {_text(fill.price)}"


def _trade_words(trade: TradeRow) -> str:
    return f"{trade.side} {_text(trade.qty)} {trade.pair} at {_text(trade.price)}, order {trade.order_id}"


def _order_words(order: OwnOrder) -> str:
    return (f"{order.side} {_text(order.order_qty)} {order.symbol} at {_text(order.limit_price)}, {order.status}, filled"
            f" {_text(order.filled_qty)}")


def _row_words(row: OrderRow) -> str:
    return (f"{row.side} {_text(row.order_qty)} {row.pair} at {_text(row.limit_price)}, {row.status}, filled"
            f" {_text(row.filled_qty)}, {row.cl_ord_id}")


# The document.


def document(statement: Statement, head: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statement as JSON types: decimals as their shortest plain digits, times as UTC text.

    Args:
        statement: what was found.
        head: what it is a statement of (mode, session ...), JSON types.
    """
    span = statement.span
    fees: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for fill in statement.fills:
        for asset, amount in fill.fees:
            fees[asset] += amount
    return {
        "format": FORMAT, **head, "from": utc_text(span.from_ns), "to": utc_text(span.to_ns),
        "orders": [_plain(order) for order in statement.orders], "fills": [_plain(fill) for fill in statement.fills],
        "fees": _plain(dict(fees)), "moves": [_plain(move) for move in statement.moves],
        "balances": {asset: _plain(row) for asset, row in statement.balances.items()},
        "differences": [_plain(difference) for difference in statement.differences],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name.removesuffix("_ns") if name.endswith("_ns") else name:
                utc_text(getattr(value, name)) if name.endswith("_ns") else _plain(getattr(value, name))
                for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _text(value) if isinstance(value, Decimal) else value


def canonical_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the bytes that a statement is: equal statements have equal bytes, so a hash or a signature names one."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def digest(content: bytes) -> str:
    """Return the SHA-256 of a statement's bytes, hex."""
    return hashlib.sha256(content).hexdigest()
