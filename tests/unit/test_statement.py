"""The statement's comparison: two true sides differ in nothing, and each way of differing is named."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from cstd.ledger.statement import (
    OwnBooks,
    OwnFill,
    OwnOrder,
    Span,
    Statement,
    VenueBooks,
    canonical_bytes,
    digest,
    document,
    state,
)
from cstd.venue.rest.models import LedgerRow, OrderRow, TradeRow

S = 1_000_000_000
T0 = 1_790_000_000 * S
PREFIX = "ct"
SPAN = Span(T0, T0 + 3600 * S)
D = Decimal
Books = tuple[OwnBooks, VenueBooks]
replace = msgspec.structs.replace


def fill(n: int, side: str, qty: str, cost: str, fee: str) -> OwnFill:
    """The n-th execution, one a minute."""
    return OwnFill(f"T{n}", f"{PREFIX}-0000000000{n:05}", f"O{n}", "BTC/USD", side, D(qty), D(cost) / D(qty), D(cost),
                   (("USD", D(fee)),), T0 + n * 60 * S)


NAMES = [fill(n, "buy", "1", "1", "0").cl_ord_id for n in range(10)]


def order(of: OwnFill) -> OwnOrder:
    """The order that an execution filled, sent a second before."""
    return OwnOrder(of.cl_ord_id, of.order_id, of.symbol, of.side, "filled", of.price, of.qty, of.qty, of.wall_ns - S)


def venue_order(of: OwnFill) -> OrderRow:
    """The same order in the venue's list; its cost and fee with fewer decimals than the executions'."""
    cost, fee = of.cost.quantize(D("0.1")), of.fees[0][1].quantize(D("0.01"))
    return OrderRow(
        order_id=of.order_id, cl_ord_id=of.cl_ord_id, userref=None, status="closed", pair="XBTUSD", side=of.side,
        order_type="limit", limit_price=of.price, order_qty=of.qty, filled_qty=of.qty, cost=cost, fee=fee,
        avg_price=of.price, opened_ns=of.wall_ns - S, closed_ns=of.wall_ns, expires_ns=None, reason="", oflags=(), misc=(),
        trade_ids=())


def trade(of: OwnFill) -> TradeRow:
    """The same execution in the venue's list."""
    return TradeRow(exec_id=of.exec_id, order_id=of.order_id, pair="XXBTZUSD", side=of.side, price=of.price, qty=of.qty,
                    cost=of.cost, fee=of.fees[0][1], time_ns=of.wall_ns, maker=True, trade_id=1)


def row(ledger_id: str, ref: str, at_ns: int, name: str, amount: str | D, fee: str | D, balance: D,
        kind: str = "trade") -> LedgerRow:
    """One ledger entry."""
    return LedgerRow(ledger_id, ref, at_ns, kind, name, name, D(amount), D(fee), balance)


def true_books() -> Books:
    """Both sides of three executions, a deposit and a withdrawal with a fee."""
    fills = (fill(1, "buy", "0.002", "125.00001", "0.31250"), fill(2, "sell", "0.001", "62.60000", "0.25040"),
             fill(3, "buy", "0.0005", "31.25000", "0.07813"))
    balances = {"USD": D(10_000), "BTC": D("0.05")}
    entries: list[LedgerRow] = []

    def book(ref: str, at_ns: int, name: str, amount: D, fee: D, kind: str = "trade") -> None:
        balances[name] += amount - fee
        entries.append(row(f"L{len(entries)}", ref, at_ns, name, amount, fee, balances[name], kind))

    for number, one in enumerate(fills):
        sign = 1 if one.side == "buy" else -1
        book(one.exec_id, one.wall_ns, "BTC", sign * one.qty, D(0))
        book(one.exec_id, one.wall_ns, "USD", -sign * one.cost, one.fees[0][1])
        if number == 0:
            book("Q1", one.wall_ns + S, "USD", D(500), D(0), "deposit")
            book("Q2", one.wall_ns + 2 * S, "BTC", D("-0.01"), D("0.0001"), "withdrawal")
    own = OwnBooks(fills, tuple(order(one) for one in fills), dict(balances), SPAN.to_ns, PREFIX,
                   {one.cl_ord_id: one.wall_ns for one in fills}, SPAN.to_ns)
    return own, VenueBooks(tuple(trade(one) for one in fills), tuple(entries), {"USD": D(10_000), "BTC": D("0.05")},
                           tuple(venue_order(one) for one in fills))


def found(own: OwnBooks, venue: VenueBooks) -> set[tuple[str, str, str]]:
    """Category, subject and words of every difference."""
    return {(one.category, one.subject, one.what) for one in state(own, venue, SPAN).differences}


def test_true_books_differ_in_nothing() -> None:
    """Executions and the user's moves explain every entry, and the balances add up to the last unit."""
    done = state(*true_books(), SPAN)
    assert done.differences == ()
    assert [move.kind for move in done.moves] == ["deposit", "withdrawal"]
    usd, btc = done.balances["USD"], done.balances["BTC"]
    assert usd.opening + usd.traded - usd.fees + usd.moved == usd.closing == usd.here
    assert (usd.fees, usd.moved, btc.moved) == (D("0.64103"), D(500), D("-0.0101"))


def drop_own_fill(own: OwnBooks, venue: VenueBooks) -> Books:
    """Our ledger lacks an execution; the order has what it filled."""
    return replace(own, fills=own.fills[:1] + own.fills[2:]), venue


def drop_trade(own: OwnBooks, venue: VenueBooks) -> Books:
    """The venue's list lacks an execution."""
    return own, replace(venue, trades=venue.trades[:1] + venue.trades[2:])


def change_fee(own: OwnBooks, venue: VenueBooks) -> Books:
    """The venue's list has a fee that is one unit of its last decimal higher."""
    wrong = replace(venue.trades[0], fee=venue.trades[0].fee + D("0.00001"))
    return own, replace(venue, trades=(wrong, *venue.trades[1:]))


def change_entry_fee(own: OwnBooks, venue: VenueBooks) -> Books:
    """The ledger took a fee one unit higher, and its balances go on from there."""
    entries = [replace(e, fee=e.fee + D("0.00001")) if e.ledger_id == "L1" else e for e in venue.entries]
    return own, replace(venue, entries=tuple(
        replace(e, balance=e.balance - D("0.00001")) if e.name == "USD" else e for e in entries))


def drop_deposit(own: OwnBooks, venue: VenueBooks) -> Books:
    """The ledger lacks the deposit; its balances know of it."""
    return own, replace(venue, entries=tuple(e for e in venue.entries if e.kind != "deposit"))


def drop_leg(own: OwnBooks, venue: VenueBooks) -> Books:
    """The ledger lacks the base leg of the last execution, and its balance is as before that."""
    entries = tuple(e for e in venue.entries if e.ledger_id != "L6")
    return replace(own, balances={**own.balances, "BTC": D("0.0409")}), replace(venue, entries=entries)


def foreign_trade(own: OwnBooks, venue: VenueBooks) -> Books:
    """Somebody else trades on the account."""
    one = replace(trade(fill(9, "buy", "0.001", "62", "0.155")), order_id="OFOREIGN")
    at = one.time_ns
    btc, usd = own.balances["BTC"] + D("0.001"), own.balances["USD"] - D("62.155")
    entries = (*venue.entries, row("L8", "T9", at, "BTC", "0.001", "0", btc), row("L9", "T9", at, "USD", "-62", "0.155", usd))
    return replace(own, balances={"BTC": btc, "USD": usd}), replace(venue, trades=(*venue.trades, one), entries=entries)


def margin_entry(own: OwnBooks, venue: VenueBooks) -> Books:
    """The venue books something that no execution and no move of the user's is."""
    usd = own.balances["USD"] - D("0.02")
    entry = row("L9", "R1", T0 + 600 * S, "USD", "0", "0.02", usd, "rollover")
    return replace(own, balances={**own.balances, "USD": usd}), replace(venue, entries=(*venue.entries, entry))


def wrong_balance(own: OwnBooks, venue: VenueBooks) -> Books:
    """What the stream told of a balance is one unit off."""
    return replace(own, balances={**own.balances, "BTC": own.balances["BTC"] + D("1e-10")}), venue


def wrong_opening(own: OwnBooks, venue: VenueBooks) -> Books:
    """The balance before the span does not lead to the first entry in it."""
    return own, replace(venue, openings={**venue.openings, "USD": D(9_999)})


def wrong_order(own: OwnBooks, venue: VenueBooks) -> Books:
    """An order says it filled more than its executions do."""
    return replace(own, orders=(replace(own.orders[0], filled_qty=D("0.003")), *own.orders[1:])), venue


@pytest.mark.parametrize(("change", "expected"), [
    (drop_own_fill, {("missing_here", "T2", "execution"),
                     ("amount_differs", NAMES[2], "filled quantity of the order and the sum of its executions"),
                     ("amount_differs", NAMES[2], "order: cost"), ("amount_differs", NAMES[2], "order: fee")}),
    (drop_trade, {("missing_there", "T2", "execution")}),
    (change_fee, {("amount_differs", "T1", "fee")}),
    (change_entry_fee, {("amount_differs", "T1", "ledger: fee in USD"), ("balance_differs", "USD", "balance at the end")}),
    (drop_deposit, {("balance_differs", "L5", "the venue's ledger of USD does not add up here")}),
    (drop_leg, {("missing_there", "T3", "ledger entry in BTC")}),
    (foreign_trade, {("missing_here", "T9", "execution of an order that is not ours")}),
    (margin_entry, {("missing_here", "L9", "ledger entry of kind rollover in USD")}),
    (wrong_balance, {("balance_differs", "BTC", "balance at the end")}),
    (wrong_opening, {("balance_differs", "L1", "the venue's ledger of USD does not add up here")}),
    (wrong_order, {("amount_differs", NAMES[1], "filled quantity of the order and the sum of its executions"),
                   ("amount_differs", NAMES[1], "order: filled quantity")}),
])
def test_each_way_of_differing_is_named(change: Callable[[OwnBooks, VenueBooks], Books],
                                        expected: set[tuple[str, str, str]]) -> None:
    """One thing is changed, and exactly what follows from it is found."""
    assert found(*change(*true_books())) == expected


def test_a_ledger_with_fewer_decimals() -> None:
    """Where the ledger prints four decimals and the trade five, less than a unit of the ledger's is no difference."""
    own, venue = true_books()
    shorter = []
    balance = D(10_000)
    for entry in venue.entries:
        if entry.name == "USD":
            amount, fee = (value.quantize(D("0.0001")) for value in (entry.amount, entry.fee))
            balance += amount - fee
            entry = replace(entry, amount=amount, fee=fee, balance=balance)
        shorter.append(entry)
    own = replace(own, balances={**own.balances, "USD": balance})
    assert found(own, replace(venue, entries=tuple(shorter))) == set()
    shorter[1] = replace(shorter[1], amount=shorter[1].amount - D("0.0002"), balance=shorter[1].balance - D("0.0002"))
    assert ("amount_differs", "T1", "ledger: amount in USD") in found(own, replace(venue, entries=tuple(shorter)))


def test_entries_of_one_moment_in_any_order() -> None:
    """The times printed need not tell which entry came first: the balances do."""
    own, venue = true_books()
    entries = list(venue.entries)
    entries[1], entries[2] = (replace(entries[2], time_ns=entries[1].time_ns), entries[1])
    assert found(own, replace(venue, entries=tuple(entries))) == set()


def test_the_span_decides_what_is_compared() -> None:
    """An execution of the second before the span is no business of it, on either side."""
    own, venue = true_books()
    late = Span(T0 + 61 * S, SPAN.to_ns)
    kept = tuple(e for e in venue.entries if e.time_ns >= T0 + 60 * S)
    openings = {"USD": D(10_000) - D("125.00001") - D("0.31250"), "BTC": D("0.052")}
    done = state(own, VenueBooks(venue.trades, kept, openings, venue.orders), late)
    assert done.differences == ()
    assert [one.exec_id for one in done.fills] == ["T2", "T3"]
    assert len(done.moves) == 2


def test_balances_end_with_the_journal() -> None:
    """A deposit after the daemon has stopped is the user's, and no balance that we should have been told."""
    own, venue = true_books()
    usd = own.balances["USD"] + 7
    entries = (*venue.entries, row("L9", "Q9", T0 + 900 * S, "USD", "7", "0", usd, "deposit"))
    done = state(replace(own, until_ns=T0 + 800 * S), replace(venue, entries=entries), SPAN)
    assert done.differences == ()
    assert (done.balances["USD"].closing, done.balances["USD"].here) == (usd, usd - 7)


# Orders.


def one_order(own: OwnBooks, venue: VenueBooks, **changes: object) -> Books:
    """The books with the first order of the venue's changed; `ours` changes ours."""
    ours = changes.pop("ours", {})
    assert isinstance(ours, dict)
    return (replace(own, orders=(replace(own.orders[0], **ours), *own.orders[1:])),
            replace(venue, orders=(replace(venue.orders[0], **changes), *venue.orders[1:])))


@pytest.mark.parametrize(("changes", "expected"), [
    ({"side": "sell"}, {"side"}), ({"cl_ord_id": None}, {"client order id"}), ({"status": "canceled"}, {"status"}),
    ({"order_qty": D("0.003")}, {"quantity"}), ({"filled_qty": D("0.0019")}, {"filled quantity"}),
    ({"limit_price": D("62500.1")}, {"limit price"}), ({"order_type": "market", "limit_price": D(0)}, set()),
    ({"cost": D("125.2")}, {"cost"}), ({"cost": D("125.00001"), "fee": D("0.31250")}, set()),
    ({"cost": D("125.00002"), "fee": D("0.31250")}, {"cost"}), ({"fee": D("0.33")}, {"fee"}),
    ({"ours": {"status": "canceled"}}, {"status"}), ({"ours": {"status": "partially_filled"}}, {"status"}),
    ({"ours": {"order_id": ""}}, set()),  # the venue's id never reached us: found by ours
])
def test_each_figure_of_an_order_is_compared(changes: dict[str, object], expected: set[str]) -> None:
    """One figure of the venue's or of ours is another, and it alone is named, with our id of the order."""
    assert found(*one_order(*true_books(), **changes)) == {
        ("amount_differs", NAMES[1], f"order: {what}") for what in expected}


def test_an_order_that_one_side_does_not_have() -> None:
    """Ours that the venue lacks, and the venue's with our prefix that we lack; the user's own are nobody's difference."""
    own, venue = true_books()
    assert found(own, replace(venue, orders=venue.orders[1:])) == {("missing_there", NAMES[1], "order")}
    rows = [replace(venue.orders[0], order_id=f"OX{n}", cl_ord_id=name)
            for n, name in enumerate((NAMES[9], None, "ct-of-the-user", "ur-000000000000001", NAMES[1]))]
    assert found(own, replace(venue, orders=(*venue.orders, *rows))) == {
        ("missing_here", "OX0", "order"), ("missing_here", "OX4", "order")}


@pytest.mark.parametrize(("status", "filled", "missing"), [
    ("rejected", "0", False), ("rejected", "0.001", True), ("canceled", "0", True), ("unknown", "0", True),
])
def test_what_the_venue_never_saw_must_be_rejected(status: str, filled: str, missing: bool) -> None:
    """An order that the venue does not know is a difference, unless it was rejected with nothing filled."""
    own, venue = true_books()
    lost = replace(own.orders[0], cl_ord_id=NAMES[8], order_id="", status=status, filled_qty=D(filled))
    words = found(replace(own, orders=(*own.orders, lost)), venue)
    assert (("missing_there", NAMES[8], "order") in words) is missing
    assert missing or words == set()


@pytest.mark.parametrize(("changes", "missing"), [
    ({}, False), ({"sent_wall_ns": T0 + 599 * S}, True), ({"order_id": "O8"}, True), ({"filled_qty": D("0.001")}, True),
])
def test_an_order_on_its_way_when_the_journal_ended(changes: dict[str, Any], missing: bool) -> None:
    """Sent a moment before, unanswered and not found, it is undecided; what was sent earlier or answered is not."""
    own, venue = true_books()
    sent = replace(own.orders[0], cl_ord_id=NAMES[8], order_id="", status="pending_new", filled_qty=D(0),
                   sent_wall_ns=T0 + 600 * S)
    own = replace(own, orders=(*own.orders, replace(sent, **changes)), decided_ns=T0 + 600 * S)
    assert (("missing_there", NAMES[8], "order") in found(own, venue)) is missing
    ended = replace(own, ended={**own.ended, NAMES[8]: T0 + 601 * S})
    assert ("missing_there", NAMES[8], "order") in found(ended, venue)


def test_a_rejected_order_that_the_venue_has() -> None:
    """What we took for rejected and the venue worked on is found by our id."""
    own, venue = one_order(*true_books(), status="canceled", filled_qty=D(0), cost=D(0), fee=D(0),
                           ours={"order_id": "", "status": "rejected"})
    assert ("amount_differs", NAMES[1], "order: status") in found(own, venue)


def test_an_order_that_is_still_open_is_compared_when_it_closes() -> None:
    """Quantities of an order that lives on are the next statement's; that it lives, though we hold it for ended, is ours."""
    own, venue = one_order(*true_books(), status="open", closed_ns=None, filled_qty=D(0), cost=D(0), fee=D(0))
    assert found(own, venue) == {("amount_differs", NAMES[1], "order: status")}
    living = replace(own, ended={})
    assert found(living, venue) == set()
    just_ended = replace(own, ended={NAMES[1]: SPAN.to_ns})
    assert found(just_ended, venue) == set()
    later = replace(venue, orders=(replace(venue.orders[0], status="canceled", closed_ns=SPAN.to_ns), *venue.orders[1:]))
    assert found(own, later) == set()


def test_the_day_an_order_closes_compares_it() -> None:
    """An order of the day before is compared where it closed, and no more after that."""
    own, venue = true_books()
    early = replace(own.orders[0], cl_ord_id=NAMES[7], order_id="O7", sent_wall_ns=T0 - 60 * S, filled_qty=D(0),
                    status="canceled")
    row = replace(venue.orders[0], cl_ord_id=NAMES[7], order_id="O7", opened_ns=T0 - 60 * S, status="expired", filled_qty=D(0),
                  cost=D(0), fee=D(0))
    own = replace(own, orders=(early, *own.orders))
    for closed_ns, expected in ((T0 - 1, set()), (T0, {("amount_differs", NAMES[7], "order: status")}),
                                (SPAN.to_ns - 1, {("amount_differs", NAMES[7], "order: status")}), (SPAN.to_ns, set())):
        assert found(own, replace(venue, orders=(replace(row, closed_ns=closed_ns), *venue.orders))) == expected


def test_orders_end_with_the_journal() -> None:
    """What the venue did with an order after the daemon had stopped cannot be known here."""
    own, venue = one_order(*true_books(), status="canceled", ours={"status": "new"})
    assert ("amount_differs", NAMES[1], "order: status") in found(own, venue)
    stopped = replace(own, until_ns=own.fills[0].wall_ns, ended={})
    assert all(subject != NAMES[1] for _, subject, _ in found(stopped, venue))


def content(done: Statement) -> bytes:
    """A statement's bytes."""
    return canonical_bytes(document(done, {"mode": "practice"}))


def test_equal_statements_have_equal_bytes() -> None:
    """Trailing zeros do not change the hash; an amount does."""
    own, venue = true_books()
    zeros = replace(venue, trades=tuple(replace(one, fee=D(f"{one.fee:f}00")) for one in venue.trades))
    same, again = content(state(own, venue, SPAN)), content(state(own, zeros, SPAN))
    assert digest(same) == digest(again)
    assert same.endswith(b"}\n")
    assert digest(content(state(*change_fee(own, venue), SPAN))) != digest(same)
