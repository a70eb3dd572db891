"""Reading the account's history in pages, from the practice exchange's own endpoints and from venues that misbehave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson
import pytest

from cstd.errors import ProtocolViolationError
from cstd.practice.account import Account, Fill, Order
from cstd.practice.exchange import Exchange
from cstd.practice.instruments import first
from cstd.practice.requests import RefusalError
from cstd.practice.rest_private import PAGE_ROWS, PrivateRest
from cstd.venue.fields import decode_json
from cstd.venue.rest.history import last_entry_before, ledger_between, orders_between, trades_between
from cstd.venue.rest.names import rest_asset
from cstd.venue.rest.request import RestRequest

S = 1_000_000_000
START_NS = 1_790_000_000 * S
EXECUTIONS = 130


class Venue:
    """The endpoints of an exchange without its sockets; counts the pages it gave."""

    def __init__(self, executions: int = 0) -> None:
        instruments, assets = first(2)
        self.exchange = Exchange(instruments, assets, seed=1, id_seed=1, tier="pro", wall_ns=START_NS, history=None)
        self.rest = PrivateRest(self.exchange, lambda: START_NS)
        self.pages: list[tuple[str, dict[str, str]]] = []
        for number in range(executions):
            self.execute(number)

    @property
    def account(self) -> Account:
        """The exchange's account."""
        return self.exchange.account

    def execute(self, number: int) -> None:
        """One execution a second, with its two ledger entries."""
        instrument = self.exchange.instruments["BTC/USD"]
        at_ns = START_NS + number * S + 1000
        order = Order(f"O{number:05}-AAAAA-BBBBBB", instrument, 1, "limit", 10_000, 600_000, "gtc", at_ns, at_ns)
        self.account.orders[order.order_id] = order
        fee_usd = Decimal("0.015")
        self.account.fills.append(Fill(f"T{number}", number, order, 600_000, 10_000, Decimal(6), fee_usd, "USD", "m", at_ns))
        for asset, amount, fee in (("BTC", Decimal("0.0001"), Decimal(0)), ("USD", Decimal(-6), fee_usd)):
            self.account.book_entry(f"L{number}{asset}", f"T{number}", kind="trade", asset=asset, amount=amount, fee=fee,
                                    wall_ns=at_ns)

    def read(self, request: RestRequest) -> Any:
        """One call, through JSON as on the wire."""
        self.pages.append((request.method, dict(request.params)))
        result = self.rest.endpoints[request.method][1](dict(request.params))
        return decode_json(orjson.dumps(result))


def test_all_pages_are_read() -> None:
    """130 executions are three pages of trades and six of ledger entries, each row once, oldest first."""
    venue = Venue(EXECUTIONS)
    trades = trades_between(venue.read, START_NS, START_NS + 200 * S)
    assert [row.exec_id for row in trades] == [f"T{n}" for n in range(EXECUTIONS)]
    assert [params["ofs"] for _, params in venue.pages] == ["0", "50", "100"]
    assert {params["consolidate_taker"] for _, params in venue.pages} == {"false"}
    venue.pages.clear()
    entries = ledger_between(venue.read, START_NS, START_NS + 200 * S)
    assert [row.ledger_id for row in entries] == [f"L{n}{asset}" for n in range(EXECUTIONS) for asset in ("BTC", "USD")]
    assert len(venue.pages) == -(-2 * EXECUTIONS // PAGE_ROWS)
    assert (entries[1].name, entries[1].amount, entries[1].fee, entries[1].kind) == ("USD", -6, Decimal("0.015"), "trade")


def test_orders_of_a_span_are_found_wherever_they_are() -> None:
    """Those open now, those closed in the span and those opened in it, of all pages, each once and the oldest first."""
    venue = Venue(EXECUTIONS)
    for number, order in enumerate(venue.account.orders.values()):
        order.status, order.closed_ns, order.cl_ord_id = "filled", order.created_ns + 100 * S, f"ct-{number:015}"
    order_ids = list(venue.account.orders)
    resting = venue.account.orders[order_ids[0]]
    resting.status, venue.account.open[resting.order_id] = "new", resting
    rows = orders_between(venue.read, START_NS + 110 * S, START_NS + 120 * S, opened_from_ns=START_NS + 20 * S)
    found = [row.order_id for row in rows]
    assert (found[0], rows[0].status, rows[0].closed_ns) == (order_ids[0], "open", None)
    assert found[1:] == sorted(found[1:])
    assert set(found) >= {*order_ids[10:120], order_ids[0]}  # closed from 110, opened from 20
    assert not set(found) & {*order_ids[1:9]}
    assert (found[-1], rows[-1].closed_ns) == (order_ids[129], START_NS + 229 * S)
    methods = [(method, params.get("closetime"), params.get("ofs")) for method, params in venue.pages]
    assert methods == [("OpenOrders", None, None), ("ClosedOrders", "close", "0"), ("ClosedOrders", "open", "0"),
                       ("ClosedOrders", "open", "50"), ("ClosedOrders", "open", "100")]
    with pytest.raises(RefusalError, match="closetime"):
        venue.rest.endpoints["ClosedOrders"][1]({"closetime": "never"})


def test_an_order_that_closes_while_the_lists_are_read_is_in_one_of_them() -> None:
    """It is told open first and closed then: the later word counts."""
    venue = Venue(1)
    (order,) = venue.account.orders.values()
    order.status, venue.account.open[order.order_id] = "new", order

    def read(request: RestRequest) -> Any:
        result = venue.read(request)
        order.status, order.closed_ns = "canceled", START_NS + 5 * S
        return result

    (row,) = orders_between(read, START_NS, START_NS + 10 * S, opened_from_ns=START_NS)
    assert (row.status, row.closed_ns) == ("canceled", START_NS + 5 * S)


def test_a_span_takes_a_second_more_on_both_sides() -> None:
    """Rows at the bounds are there whether or not the venue counts its bounds in; none from further away are."""
    venue = Venue(EXECUTIONS)
    inside = [row.exec_id for row in trades_between(venue.read, START_NS + 60 * S, START_NS + 70 * S)]
    assert set(inside) >= {f"T{n}" for n in range(60, 70)}
    assert set(inside) <= {f"T{n}" for n in range(59, 72)}


def test_the_last_entry_before_a_time() -> None:
    """It is found behind whole pages of younger ones; an asset that was never booked has none."""
    venue = Venue(EXECUTIONS)
    entry = last_entry_before(venue.read, "BTC", START_NS + 100 * S)
    assert entry is not None
    assert entry.ledger_id == "L99BTC"
    first_usd = last_entry_before(venue.read, "USD", START_NS)
    assert first_usd is not None
    assert (first_usd.kind, first_usd.balance) == ("deposit", 10_000)
    assert last_entry_before(venue.read, "ETH", START_NS + 100 * S) is None
    assert [params["asset"] for _, params in venue.pages] == ["XBT", "USD", "ETH"]
    assert rest_asset("DOGE") == "XDG"


def test_a_list_that_grows_is_read_again() -> None:
    """A row that came in between two pages moves the others: the reading starts over and finds each once."""
    venue = Venue(EXECUTIONS)

    def read(request: RestRequest) -> Any:
        result = venue.read(request)
        if len(venue.pages) == 2:
            venue.execute(EXECUTIONS)
        return result

    assert len(trades_between(read, START_NS, START_NS + 200 * S)) == EXECUTIONS + 1


@pytest.mark.parametrize("answer", [
    {}, {"trades": []}, {"trades": {}, "count": 3}, {"trades": {}, "count": None}, {"trades": {}, "count": -1},
    {"trades": {"T1": {"ordertxid": "O1"}}, "count": 1}, {"trades": {}, "count": 10**9}, None, [],
])
def test_a_list_that_cannot_be_meant(answer: Any) -> None:
    """A count without rows, rows without a count, a row without a price: an error that names the list, and no endless reading."""
    calls: list[Mapping[str, str]] = []

    def read(request: RestRequest) -> Any:
        calls.append(dict(request.params))
        return answer

    with pytest.raises(ProtocolViolationError, match="TradesHistory"):
        trades_between(read, START_NS, START_NS + S)
    assert len(calls) <= 3


def test_the_exchange_refuses_what_kraken_refuses() -> None:
    """An unknown asset, an offset below zero; ledger ids are told with a trade only when asked for."""
    venue = Venue(2)
    with pytest.raises(RefusalError, match="EQuery:Unknown asset"):
        venue.rest.endpoints["Ledgers"][1]({"asset": "NONE"})
    with pytest.raises(RefusalError, match="ofs"):
        venue.rest.endpoints["Ledgers"][1]({"ofs": "-1"})
    told = {flag: json.loads(orjson.dumps(venue.rest.endpoints["TradesHistory"][1]({"ledgers": flag})))["trades"]["T1"]
            for flag in ("true", "false")}
    assert told["true"]["ledgers"] == ["L1BTC", "L1USD"]
    assert "ledgers" not in told["false"]
