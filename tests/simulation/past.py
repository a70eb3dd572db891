"""The venue's history as it was a while ago: what a lagging read of it shows."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from decimal import Decimal

from cstd.practice.account import Account, Fill, Order
from cstd.practice.connections import WallClock
from cstd.practice.exchange import Exchange
from cstd.practice.rest import Params
from cstd.practice.rest_private import PrivateRest

LAGGING = ("OpenOrders", "ClosedOrders", "TradesHistory")


def past_reply(exchange: Exchange, clock: WallClock, method: str, params: Params, by_ns: int) -> object:
    """What one of the LAGGING endpoints says of `by_ns` ago."""
    past = copy(exchange)
    past.account = account_at(exchange.account, clock() - by_ns)
    return PrivateRest(past, clock).endpoints[method][1](params)


def account_at(account: Account, then_ns: int) -> Account:
    """Return orders and fills as they were; balances are not looked at there."""
    past = copy(account)
    past.fills = [fill for fill in account.fills if fill.wall_ns <= then_ns]
    by_order: dict[str, list[Fill]] = {}
    for fill in past.fills:
        by_order.setdefault(fill.order.order_id, []).append(fill)
    past.orders = {order_id: _order_at(order, by_order.get(order_id, []), then_ns)
                   for order_id, order in account.orders.items() if order.created_ns <= then_ns}
    past.open = {order_id: order for order_id, order in past.orders.items() if order.is_open}
    return past


def _order_at(order: Order, fills: list[Fill], then_ns: int) -> Order:
    if not order.is_open and order.closed_ns <= then_ns:
        return order
    return replace(
        order, status="partially_filled" if fills else "new", closed_ns=0, reason="", filled_raw=sum(f.qty_raw for f in fills),
        cost=sum((f.cost for f in fills), Decimal(0)), fee_quote=sum((f.fee for f in fills), Decimal(0)),
        exec_ids=[f.exec_id for f in fills])
