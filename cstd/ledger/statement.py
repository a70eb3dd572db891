"""The statement: what a session's own ledger says of a span of time, beside what the venue's books say of it.

Every execution is compared by its id: side, quantity, price, cost, fee and the asset of the fee, in the venue's list of trades
and in its ledger. Every ledger entry is explained by an execution of ours or by a move of the user's; what is left over is
a difference. The ledger itself must add up from one entry to the next, from the last balance before the span to its end,
and that end must be what the private stream told us.

Pure: rows come in, a document goes out. Amounts are Decimals and compared exactly; only where the venue's ledger prints
fewer decimals of an asset than its trades do may an entry differ, by less than one unit of its last decimal.
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
from cstd.venue.rest.models import LedgerRow, TradeRow

FORMAT = 1
ZERO = Decimal(0)
# Ledger entries by which money comes and goes without an order.
USERS_MOVES = frozenset({"deposit", "withdrawal", "transfer", "credit", "staking", "dividend", "reward", "creator_fee",
                         "adjustment"})
# Entries are booked one after the other; of those that are this close, the times printed need not tell which came first.
TIMES_APART_NS = 1_000_000_000
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
    order_qty: Decimal
    filled_qty: Decimal
    sent_wall_ns: int


class OwnBooks(msgspec.Struct, frozen=True):
    """Our side, of the whole session.

    Attributes:
        balances: by asset, what the private stream had told of the account by `balances_ns`.
        balances_ns: the end of the span, or the end of the journal where that is earlier.
    """

    fills: tuple[OwnFill, ...]
    orders: tuple[OwnOrder, ...]
    balances: Mapping[str, Decimal]
    balances_ns: int


class VenueBooks(msgspec.Struct, frozen=True):
    """The venue's side: trades and ledger entries oldest first, of the span and a little around it.

    Attributes:
        openings: by asset, the balance that the last entry before the span left; absent where there is no such entry.
    """

    trades: tuple[TradeRow, ...]
    entries: tuple[LedgerRow, ...]
    openings: Mapping[str, Decimal]


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
        orders = self._orders(inside)
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

    def _orders(self, inside: Iterable[OwnFill]) -> tuple[OwnOrder, ...]:
        """Return the orders sent or executed in the span; each one's filled quantity is what its executions add up to."""
        executed = {fill.cl_ord_id for fill in inside}
        sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
        for fill in self.own.fills:
            sums[fill.cl_ord_id] += fill.qty
        orders = tuple(order for order in self.own.orders
                       if order.cl_ord_id in executed or self.span.holds(order.sent_wall_ns))
        for order in orders:
            if order.filled_qty != sums[order.cl_ord_id]:
                self._differ(AMOUNT_DIFFERS, order.cl_ord_id, "filled quantity of the order and the sum of its executions",
                             _text(order.filled_qty), _text(sums[order.cl_ord_id]))
        return orders

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
            if entry.time_ns < self.own.balances_ns:
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


def _text(value: Decimal) -> str:
    return format_decimal(value.normalize())


def _fill_words(fill: OwnFill) -> str:
    return f"{fill.side} {_text(fill.qty)} {fill.symbol} at {_text(fill.price)}"


def _trade_words(trade: TradeRow) -> str:
    return f"{trade.side} {_text(trade.qty)} {trade.pair} at {_text(trade.price)}, order {trade.order_id}"


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
