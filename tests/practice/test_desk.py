"""The desk: refusals, lifetimes, amends, timers, rate counter, money."""

from __future__ import annotations

import dataclasses
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from practice_world import START_NS, build_exchange

from cstd.practice.exchange import Exchange
from cstd.practice.matching import BUY, SELL, Resting
from cstd.practice.readings import Readings
from cstd.practice.requests import AddRequest, AmendRequest, RefusalError
from cstd.practice.wire import NS_PER_S

D = Decimal
BTC = "BTC/USD"


def quote(exchange: Exchange, bid_raw: int = 600_000, ask_raw: int = 600_010, qty_raw: int = 100_000_000) -> None:
    """Put one other participant on each side of BTC/USD."""
    market = exchange.markets[BTC]
    market.rest(Resting(BUY, bid_raw, qty_raw))
    market.rest(Resting(SELL, ask_raw, qty_raw))


def request(exchange: Exchange, side: int = BUY, **fields: object) -> AddRequest:
    """Return a post-only join of 0.001 BTC unless told otherwise."""
    base: dict[str, object] = {"qty": D("0.001"), "limit_price": D("60000.0"), "order_type": "limit"}
    return AddRequest(exchange.instruments[BTC], side, **{**base, **fields})  # type: ignore[arg-type]


def types(exchange: Exchange) -> list[str]:
    """Return the execution types that happened since the last look."""
    return [str(e.body["exec_type"]) for e in exchange.desk.drain() if e.channel == "executions"]


def test_life_of_a_resting_order(exchange: Exchange) -> None:
    """An order that rests reports pending_new then new, and its fill as maker reports trade then filled."""
    quote(exchange)
    order = exchange.desk.add(request(exchange, limit_price=D("60000.5")), START_NS)
    assert types(exchange) == ["pending_new", "new"]
    exchange.markets[BTC].execute(SELL, 600_000, 40_000, START_NS + 1)
    assert types(exchange) == ["trade"]
    assert order.status == "partially_filled"
    exchange.markets[BTC].execute(SELL, 600_000, 60_000, START_NS + 2)
    assert types(exchange) == ["trade", "filled"]
    assert not exchange.account.open
    assert [f.liquidity for f in exchange.account.fills] == ["m", "m"]


def test_post_only_that_would_take_is_accepted_then_canceled(exchange: Exchange) -> None:
    """A crossing post-only order is no refusal: it is accepted and canceled with a reason."""
    quote(exchange)
    order = exchange.desk.add(request(exchange, limit_price=D("60001.0"), post_only=True), START_NS)
    assert types(exchange) == ["pending_new", "canceled"]
    assert (order.status, order.filled_raw) == ("canceled", 0)
    assert order.reason


def test_ioc_takes_and_cancels_the_rest(exchange: Exchange) -> None:
    """An IOC order fills what is there and cancels the remainder."""
    quote(exchange, qty_raw=60_000)
    order = exchange.desk.add(request(exchange, limit_price=D("60001.0"), time_in_force="ioc"), START_NS)
    assert types(exchange) == ["pending_new", "new", "trade", "canceled"]
    assert (order.filled_raw, order.status) == (60_000, "canceled")
    assert exchange.account.fills[0].liquidity == "t"


@pytest.mark.parametrize(("there_raw", "filled_raw"), [(99_999, 0), (100_000, 100_000)])
def test_fok_fills_all_or_nothing(exchange: Exchange, there_raw: int, filled_raw: int) -> None:
    """A FOK order of 100,000 fills against exactly that much, and nothing against one unit less."""
    quote(exchange, qty_raw=there_raw)
    order = exchange.desk.add(request(exchange, limit_price=D("60001.0"), time_in_force="fok"), START_NS)
    assert order.filled_raw == filled_raw
    assert not order.is_open


def test_gtd_expires_at_its_time_not_before(exchange: Exchange) -> None:
    """A GTD order lives until its expiry and ends `expired`."""
    expire_ns = START_NS + 20 * NS_PER_S
    exchange.desk.add(request(exchange, time_in_force="gtd", expire_ns=expire_ns), START_NS)
    assert exchange.desk.next_timer_ns() == expire_ns
    types(exchange)
    exchange.desk.on_timer(expire_ns - 1)
    assert types(exchange) == []
    exchange.desk.on_timer(expire_ns)
    assert types(exchange) == ["expired"]
    assert not exchange.markets[BTC].book.bids.keys


REFUSALS = [
    ({"qty": D("0.00004999")}, "EGeneral:Invalid arguments:volume minimum not met"),
    ({"qty": D("0.000000001")}, "EGeneral:Invalid arguments:volume"),
    ({"qty": D("-1")}, "EGeneral:Invalid arguments:volume"),
    ({"limit_price": D("60000.05")}, "EOrder:Invalid price:BTC/USD price can only be specified up to 1 decimals."),
    ({"limit_price": D(0)}, "EGeneral:Invalid arguments:price"),
    ({"limit_price": None}, "EGeneral:Invalid arguments:price"),
    ({"limit_price": D("1.0"), "qty": D("0.4")}, "EOrder:Cost minimum not met"),
    ({"qty": D("0.17")}, "EOrder:Insufficient funds"),
    ({"time_in_force": "gtd"}, "EGeneral:Invalid arguments:expire_time"),
    ({"time_in_force": "day"}, "EGeneral:Invalid arguments:time_in_force"),
    ({"time_in_force": "ioc", "post_only": True}, "EGeneral:Invalid arguments:post_only"),
    ({"expire_ns": START_NS + NS_PER_S}, "EGeneral:Invalid arguments:expire_time"),
    ({"deadline_ns": START_NS}, "EService:Deadline elapsed"),
    ({"deadline_ns": START_NS + 499_999_999}, "EGeneral:Invalid arguments:deadline"),
    ({"deadline_ns": START_NS + 60 * NS_PER_S + 1}, "EGeneral:Invalid arguments:deadline"),
    ({"cl_ord_id": "x" * 19}, "EGeneral:Invalid arguments:cl_ord_id"),
    ({"cl_ord_id": "UPPER"}, "EGeneral:Invalid arguments:cl_ord_id"),
    ({"display_qty": D("0.00006")}, "EGeneral:Invalid arguments:display_qty"),
    ({"order_type": "market"}, "EGeneral:Invalid arguments"),
]


@pytest.mark.parametrize(("fields", "text"), REFUSALS)
def test_refusals(exchange: Exchange, fields: dict[str, object], text: str) -> None:
    """What Kraken refuses is refused with its text, and leaves no trace but the rate counter."""
    quote(exchange)
    with pytest.raises(RefusalError) as refusal:
        exchange.desk.add(request(exchange, **fields), START_NS)
    assert refusal.value.text == text
    assert not exchange.account.orders
    assert exchange.desk.drain() == []
    assert exchange.desk.counter(BTC).value(START_NS) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"qty": D("0.00005")},
        {"deadline_ns": START_NS + 500_000_000},
        {"deadline_ns": START_NS + 60 * NS_PER_S},
        {"cl_ord_id": "x" * 18},
        {"cl_ord_id": "f" * 32},
        {"cl_ord_id": "12345678-1234-4234-8234-123456789012"},
        {"display_qty": D("0.0000667")},
        {"qty": D("0.00100000000")},
    ],
)
def test_limits_are_inclusive(exchange: Exchange, fields: dict[str, object]) -> None:
    """At each limit exactly, an order is taken."""
    assert exchange.desk.add(request(exchange, **fields), START_NS).is_open


def test_client_id_is_unique_among_open_orders_and_reusable_after(exchange: Exchange) -> None:
    """A second open order with one cl_ord_id is refused; after the first is gone the id is free again."""
    first = exchange.desk.add(request(exchange, cl_ord_id="a1"), START_NS)
    with pytest.raises(RefusalError, match="cl_ord_id not unique"):
        exchange.desk.add(request(exchange, cl_ord_id="a1"), START_NS)
    exchange.desk.cancel(first, START_NS)
    second = exchange.desk.add(request(exchange, cl_ord_id="a1"), START_NS)
    assert exchange.desk.find_open(cl_ord_id="a1") is second


def test_amend_keeps_place_only_for_a_smaller_quantity(exchange: Exchange) -> None:
    """Less quantity at the same price keeps the queue place; a new price and more quantity lose it."""
    market = exchange.markets[BTC]
    order = exchange.desk.add(request(exchange), START_NS)
    behind = Resting(BUY, 600_000, 5)
    market.rest(behind)
    exchange.desk.amend(order, AmendRequest(qty=D("0.0005")), START_NS)
    assert market.book.bids.orders(600_000) == [order.resting, behind]
    assert market.book.bids.totals[600_000] == 50_005
    exchange.desk.amend(order, AmendRequest(qty=D("0.0006")), START_NS)
    assert market.book.bids.orders(600_000) == [behind, order.resting]
    exchange.desk.amend(order, AmendRequest(limit_price=D("60000.1")), START_NS)
    assert market.book.bids.prices(2) == [600_001, 600_000]
    assert types(exchange) == ["pending_new", "new", "amended", "amended", "amended"]


def test_an_amend_that_loses_its_place(exchange: Exchange) -> None:
    """The other reading: less quantity at the same price goes to the end of the queue too."""
    exchange.readings = exchange.desk.readings = dataclasses.replace(Readings(), amend_loses_place=True, met=Counter())
    market = exchange.markets[BTC]
    order = exchange.desk.add(request(exchange), START_NS)
    behind = Resting(BUY, 600_000, 5)
    market.rest(behind)
    exchange.desk.amend(order, AmendRequest(qty=D("0.0005")), START_NS)
    assert market.book.bids.orders(600_000) == [behind, order.resting]
    assert market.book.bids.totals[600_000] == 50_005


def test_amend_below_the_filled_quantity_cancels(exchange: Exchange) -> None:
    """An amend to what is filled already cancels the remainder."""
    order = exchange.desk.add(request(exchange), START_NS)
    exchange.markets[BTC].execute(SELL, None, 60_000, START_NS)
    exchange.desk.amend(order, AmendRequest(qty=D("0.0006")), START_NS)
    assert (order.status, order.filled_raw) == ("canceled", 60_000)


def test_post_only_amend_that_would_take_is_refused_and_changes_nothing(exchange: Exchange) -> None:
    """A post-only amend through the book is refused; the order stays as it was."""
    quote(exchange)
    order = exchange.desk.add(request(exchange, limit_price=D("59999.0"), post_only=True), START_NS)
    with pytest.raises(RefusalError, match="EOrder:Post only order"):
        exchange.desk.amend(order, AmendRequest(limit_price=D("60001.0")), START_NS)
    assert order.limit_raw == 599_990
    assert order.is_open


def test_amend_beyond_the_money_is_refused_and_changes_nothing(exchange: Exchange) -> None:
    """An amend that cannot be paid leaves price, quantity and hold unchanged."""
    order = exchange.desk.add(request(exchange), START_NS)
    held = exchange.account.held("USD")
    with pytest.raises(RefusalError, match="EOrder:Insufficient funds"):
        exchange.desk.amend(order, AmendRequest(qty=D("0.5")), START_NS)
    assert (order.qty_raw, exchange.account.held("USD")) == (100_000, held)


def test_rate_counter_example_of_the_docs(exchange: Exchange) -> None:
    """Add, amend after 7 s, cancel 36 s later costs 8 without decay."""
    desk = exchange.desk
    desk.counter(BTC)._decay_per_s = 0.0
    order = desk.add(request(exchange), START_NS)
    desk.amend(order, AmendRequest(limit_price=D("59999.0")), START_NS + 7 * NS_PER_S)
    desk.cancel(order, START_NS + 43 * NS_PER_S)
    assert desk.counter(BTC).value(START_NS + 43 * NS_PER_S) == 8


def test_rate_limit_refuses_above_the_threshold_and_recovers() -> None:
    """The sixty-first add at once is refused on the starter tier, and time heals it."""
    exchange = build_exchange(tier="starter")
    for _ in range(59):
        exchange.desk.add(request(exchange, qty=D("0.00005")), START_NS)
    exchange.desk.add(request(exchange, qty=D("0.00005"), validate=True), START_NS)
    with pytest.raises(RefusalError, match="EOrder:Rate limit exceeded"):
        exchange.desk.add(request(exchange, qty=D("0.00005")), START_NS)
    exchange.desk.add(request(exchange, qty=D("0.00005")), START_NS + 2 * NS_PER_S)


def test_open_orders_limit() -> None:
    """The tier's number of open orders per pair is the most that may rest."""
    exchange = build_exchange(tier="starter")
    exchange.desk.counter(BTC)._decay_per_s = 1e9
    for n in range(60):
        exchange.desk.add(request(exchange, qty=D("0.00005")), START_NS + n * NS_PER_S)
    with pytest.raises(RefusalError, match="EOrder:Orders limit exceeded"):
        exchange.desk.add(request(exchange, qty=D("0.00005")), START_NS + 61 * NS_PER_S)


def test_cancel_all_after_fires_once_on_every_order(exchange: Exchange) -> None:
    """The dead man's switch cancels everything at its time, then is disarmed; zero disarms it before."""
    desk = exchange.desk
    desk.add(request(exchange), START_NS)
    desk.cancel_all_after(10, START_NS)
    desk.cancel_all_after(0, START_NS)
    desk.on_timer(START_NS + 11 * NS_PER_S)
    assert exchange.account.open
    desk.cancel_all_after(10, START_NS)
    desk.on_timer(START_NS + 10 * NS_PER_S)
    assert not exchange.account.open
    assert desk.next_timer_ns() is None


@pytest.mark.parametrize("timeout", [-1, 86_400, "60", 1.5, True])
def test_cancel_all_after_refuses_odd_timeouts(exchange: Exchange, timeout: object) -> None:
    """Only whole seconds below a day arm the switch."""
    with pytest.raises(RefusalError):
        exchange.desk.cancel_all_after(timeout, START_NS)


def test_states_of_the_exchange(exchange: Exchange) -> None:
    """post_only takes post-only orders alone, cancel_only cancels alone, maintenance nothing."""
    order = exchange.desk.add(request(exchange), START_NS)
    exchange.set_system("post_only")
    with pytest.raises(RefusalError, match="post_only mode"):
        exchange.desk.add(request(exchange), START_NS)
    exchange.desk.add(request(exchange, post_only=True), START_NS)
    exchange.set_system("cancel_only")
    with pytest.raises(RefusalError, match="cancel_only mode"):
        exchange.desk.add(request(exchange, post_only=True), START_NS)
    exchange.set_system("maintenance")
    with pytest.raises(RefusalError, match="EService:Unavailable"):
        exchange.desk.cancel(order, START_NS)
    exchange.set_system("online")
    assert exchange.desk.cancel_all(START_NS) == 2


def test_unknown_and_never_made_ids(exchange: Exchange) -> None:
    """A closed order is unknown, an id never given is invalid."""
    order = exchange.desk.add(request(exchange), START_NS)
    exchange.desk.cancel(order, START_NS)
    with pytest.raises(RefusalError, match="EOrder:Unknown order"):
        exchange.desk.find_open(order_id=order.order_id)
    with pytest.raises(RefusalError, match="EOrder:Invalid order"):
        exchange.desk.find_open(order_id="OAAAAA-AAAAA-AAAAAA")


def test_fee_in_base_is_taken_from_the_base(exchange: Exchange) -> None:
    """With the fee in base a buyer gets less of the base and pays no quote fee."""
    quote(exchange)
    exchange.desk.add(request(exchange, limit_price=D("60001.0"), fee_in_base=True), START_NS)
    assert exchange.account.balances["BTC"] == D("0.05") + D("0.001") - D("0.000004")
    assert exchange.account.balances["USD"] == D(10_000) - D("60.00100")


ACTION = st.tuples(
    st.sampled_from(["add", "ioc", "market", "amend", "cancel", "hit", "quote", "time"]),
    st.sampled_from([BUY, SELL]),
    st.integers(-30, 30),
    st.integers(5_000, 400_000),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTION, min_size=1, max_size=60))
def test_money_is_conserved_over_any_history(actions: list[tuple[str, int, int, int, bool]]) -> None:
    """Whatever is asked for: balances move by fills and fees alone, nothing is sold short, totals equal the queues."""
    exchange = build_exchange()
    desk, market, account = exchange.desk, exchange.markets[BTC], exchange.account
    desk.counter(BTC)._decay_per_s = 1e9
    now_ns = START_NS
    for kind, side, offset, qty_raw, flag in actions:
        now_ns += NS_PER_S
        price_raw, qty = 600_000 + offset, D(qty_raw).scaleb(-8)
        try:
            if kind == "quote":
                if not market.book.crosses(side, price_raw):
                    market.rest(Resting(side, price_raw, qty_raw))
            elif kind == "hit":
                market.execute(side, price_raw if flag else None, qty_raw, now_ns)
            elif kind == "time":
                desk.on_timer(now_ns)
            elif kind in ("amend", "cancel"):
                for order in list(account.open.values())[:1]:
                    if kind == "cancel":
                        desk.cancel(order, now_ns)
                    else:
                        desk.amend(order, AmendRequest(qty=qty, limit_price=D(price_raw).scaleb(-1)), now_ns)
            else:
                limit = None if kind == "market" else D(price_raw).scaleb(-1)
                tif = "ioc" if kind == "ioc" else "gtc"
                order_type = "market" if kind == "market" else "limit"
                display = D(-(-qty_raw // 10)).scaleb(-8) if flag and kind == "add" else None
                desk.add(
                    request(
                        exchange,
                        side,
                        order_type=order_type,
                        qty=qty,
                        limit_price=limit,
                        time_in_force=tif,
                        display_qty=display,
                        stp=("cancel_oldest", "cancel_both", "cancel_newest")[offset % 3],
                        fee_in_base=flag and offset % 2 == 0,
                    ),
                    now_ns,
                )
        except RefusalError:
            pass
        check_books(exchange)
    base = sum((D(f.qty_raw).scaleb(-8) * f.order.side for f in account.fills), D(0))
    cost = sum((f.cost * f.order.side for f in account.fills), D(0))
    fee_base = sum((f.fee for f in account.fills if f.fee_asset == "BTC"), D(0))
    fee_quote = sum((f.fee for f in account.fills if f.fee_asset == "USD"), D(0))
    assert account.balances["BTC"] == D("0.05") + base - fee_base
    assert account.balances["USD"] == D(10_000) - cost - fee_quote


def check_books(exchange: Exchange) -> None:
    """Assert what must hold of book and account after every action."""
    book, account = exchange.markets[BTC].book, exchange.account
    for side in (book.bids, book.asks):
        assert side.keys == sorted(side.queues, key=lambda p: side.sign * p) or side.sign == -1
        assert [side.sign * k for k in side.keys] == sorted(side.queues, reverse=side.sign == -1)
        for price_raw, queue in side.queues.items():
            assert side.totals[price_raw] == sum(o.visible_raw for o in queue) > 0
    bid_raw, ask_raw = book.bids.best_raw(), book.asks.best_raw()
    assert bid_raw is None or ask_raw is None or bid_raw < ask_raw
    for asset in ("USD", "BTC"):
        assert account.available(asset) >= 0
    resting = {o.owner for side in (book.bids, book.asks) for q in side.queues.values() for o in q if o.owner}
    assert resting == set(account.open.values())
    assert all(o.filled_raw <= o.qty_raw for o in account.orders.values())
