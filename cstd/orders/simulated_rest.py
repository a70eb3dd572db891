"""SimulatedRest: what Kraken's private REST would answer about the simulated account, from its own books.

Every private call that the daemon can make has its answer here; any other raises, so that a new one cannot be forgotten. Rows
have the fields and spellings of Kraken's (kraken-protocol.md 3.2), pages are of 50, newest first. Pure: nothing is asked of
anybody.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec

from cstd.errors import InvariantError
from cstd.orders.simulated_history import EntryRecord, FillRecord, OrderRecord, SimulatedHistory, at_ns, closed_ns
from cstd.orders.simulated_terms import SIDE_NAMES, Refused
from cstd.orders.simulated_venue import SimulatedVenue
from cstd.units import INT64_MAX, NS_PER_S, format_decimal, format_raw, from_raw
from cstd.venue.rest.names import asset_name, rest_asset

PAGE = 50
ZERO = Decimal(0)
_Row = TypeVar("_Row", OrderRecord, FillRecord, EntryRecord)
_Dated = TypeVar("_Dated", FillRecord, EntryRecord)

Params = Mapping[str, str]


class SimulatedRest:
    """The answers.

    Args:
        history: the account's books.
        venue: where orders go that come by REST; None: the account is only read.
    """

    def __init__(self, history: SimulatedHistory, venue: SimulatedVenue | None = None) -> None:
        self._history = history
        self._venue = venue
        self._reads: dict[str, Callable[[Params], Any]] = {
            "OpenOrders": self._open_orders, "ClosedOrders": self._closed_orders, "QueryOrders": self._query_orders,
            "TradesHistory": self._trades_history, "Ledgers": self._ledgers, "BalanceEx": self._balances,
            "OpenPositions": lambda _params: {},  # it trades spot without margin
        }
        self._orders: dict[str, Callable[[int, Params, SimulatedVenue], Any]] = {
            "AddOrder": _add, "CancelOrder": _cancel, "CancelAll": lambda now_ns, _params, venue: {
                "count": venue.cancel_by_rest(now_ns)},
        }

    @property
    def methods(self) -> frozenset[str]:
        """Kraken's names of the calls that have an answer."""
        return frozenset(self._reads | self._orders)

    def answer(self, method: str, params: Params, now_ns: int) -> bytes:
        """Return the body of the reply: what was asked for, or the venue's refusal.

        Raises:
            InvariantError: no such call is known here: whoever made it wants an answer that nobody has.
        """
        try:
            if method in self._reads:
                result = self._reads[method](params)
            elif method in self._orders and self._venue is not None:
                result = self._orders[method](now_ns, params, self._venue)
            else:
                raise InvariantError(f"the simulated account has no answer to REST {method}")
        except Refused as refused:
            return msgspec.json.encode({"error": [str(refused)]})
        return msgspec.json.encode({"error": [], "result": result})

    # Reads.

    def _open_orders(self, params: Params) -> Any:
        return {"open": {row.order_id: _order_row(row) for row in self._history.open_orders() if _asked_for(row, params)}}

    def _closed_orders(self, params: Params) -> Any:
        start_ns, end_ns = _span(params)
        by = params.get("closetime", "both")
        if by not in ("open", "close", "both"):
            raise Refused("EGeneral:Invalid arguments:closetime")
        rows = []
        ended = self._history.ended
        # What was opened in the span has ended behind its start as well.
        for place in range(len(ended) - 1, bisect_right(ended, start_ns, key=closed_ns) - 1, -1):
            row = ended[place]
            times = {"open": (row.opened_ns,), "close": (row.closed_ns,)}.get(by, (row.opened_ns, row.closed_ns))
            if _asked_for(row, params) and any(start_ns < time_ns <= end_ns for time_ns in times):
                rows.append(row)
        return {"closed": {row.order_id: _order_row(row) for row in _page(params, rows)}, "count": len(rows)}

    def _query_orders(self, params: Params) -> Any:
        asked = params.get("txid", "").split(",")
        found = {order_id: _order_row(self._history.orders[order_id]) for order_id in asked if order_id in self._history.orders}
        if not found:
            raise Refused("EOrder:Unknown order")
        return found

    def _trades_history(self, params: Params) -> Any:
        start_ns, end_ns = _span(params)
        rows = _within(self._history.executions, start_ns, end_ns)
        return {"trades": {row.exec_id: _fill_row(row, self._history.orders[row.order_id]) for row in _page(params, rows)},
                "count": len(rows)}

    def _ledgers(self, params: Params) -> Any:
        start_ns, end_ns = _span(params)
        asked = params.get("asset", "all")
        rows = _within(self._history.entries, start_ns, end_ns)
        if asked != "all":
            rows = [row for row in rows if row.asset in (asked, asset_name(asked))]
        return {"ledger": {row.ledger_id: _entry_row(row) for row in _page(params, rows)}, "count": len(rows)}

    def _balances(self, _params: Params) -> Any:
        held = self._venue.held() if self._venue is not None else {}
        return {rest_asset(asset): {"balance": format_decimal(balance), "hold_trade": format_decimal(held.get(asset, ZERO))}
                for asset, balance in self._history.balances.items()}


# Orders.


def _add(now_ns: int, params: Params, venue: SimulatedVenue) -> Any:
    """An order; its fields in REST's spelling are those of add_order in another one."""
    flags = params.get("oflags", "").split(",")
    wanted = {
        "order_type": params.get("ordertype"), "side": params.get("type"), "symbol": params.get("pair"),
        "order_qty": _decimal(params, "volume"), "limit_price": _decimal(params, "price"),
        "time_in_force": params.get("timeinforce", "GTC").lower(), "post_only": "post" in flags,
        "stp_type": params.get("stptype", "cancel-newest").replace("-", "_"),
        **{name: params[name] for name in ("cl_ord_id", "deadline") if name in params},
    }
    order_id = venue.add_by_rest(now_ns, wanted)
    named = {"cl_ord_id": params["cl_ord_id"]} if "cl_ord_id" in params else {}
    return {"descr": {"order": f"{params.get('type')} {params.get('volume')} {params.get('pair')} @ limit {params.get('price')}"},
            "txid": [order_id], **named}


def _cancel(now_ns: int, params: Params, venue: SimulatedVenue) -> Any:
    order_id, cl_ord_id = params.get("txid"), params.get("cl_ord_id")
    if (order_id is None) == (cl_ord_id is None):
        raise Refused("EGeneral:Invalid arguments")
    return {"count": venue.cancel_by_rest(now_ns, order_id=order_id, cl_ord_id=cl_ord_id)}


# Rows, and what is asked for.


def _order_row(row: OrderRecord) -> dict[str, Any]:
    spec, terms = row.terms.spec, row.terms
    price, volume = format_raw(row.price_raw, spec.price_precision), format_raw(row.qty_raw, spec.qty_precision)
    filled = from_raw(row.filled_raw, spec.qty_precision)
    average = round(row.cost / filled, spec.price_precision) if filled else ZERO
    side = SIDE_NAMES[terms.side]
    return {
        "refid": None, "userref": None, "status": row.status, "opentm": _seconds(row.opened_ns), "starttm": 0,
        "expiretm": _seconds(terms.expire_ns) if terms.expire_ns < INT64_MAX else 0,
        "descr": {"pair": spec.name, "type": side, "ordertype": "limit", "price": price, "price2": "0", "leverage": "none",
                  "order": f"{side} {volume} {spec.name} @ limit {price}", "close": ""},
        "vol": volume, "vol_exec": format_raw(row.filled_raw, spec.qty_precision), "cost": format_decimal(row.cost),
        "fee": format_decimal(row.fee), "price": format_decimal(average), "stopprice": "0", "limitprice": "0",
        "misc": "partial" if 0 < row.filled_raw < row.qty_raw else "", "oflags": "fciq,post" if terms.post_only else "fciq",
        **({"cl_ord_id": terms.cl_ord_id} if terms.cl_ord_id else {}),
        **({"closetm": _seconds(row.closed_ns), "reason": row.reason or None} if row.status != "open" else {}),
        "trades": list(row.trades),
    }


def _fill_row(row: FillRecord, order: OrderRecord) -> dict[str, Any]:
    return {
        "ordertxid": row.order_id, "postxid": "", "pair": order.terms.spec.name, "time": _seconds(row.at_ns),
        "type": SIDE_NAMES[order.terms.side], "ordertype": "limit", "price": format_decimal(row.price),
        "cost": format_decimal(row.cost), "fee": format_decimal(row.fee), "vol": format_decimal(row.qty), "margin": "0",
        "leverage": "0", "misc": "", "trade_id": row.trade_id, "maker": row.maker,
    }


def _entry_row(row: EntryRecord) -> dict[str, Any]:
    return {
        "refid": row.ref_id, "time": _seconds(row.at_ns), "type": "trade", "subtype": "", "aclass": "currency",
        "asset": rest_asset(row.asset), "amount": format_decimal(row.amount), "fee": format_decimal(row.fee),
        "balance": format_decimal(row.balance),
    }


def _asked_for(row: OrderRecord, params: Params) -> bool:
    return params.get("cl_ord_id") in (None, row.terms.cl_ord_id)


def _seconds(at_ns: int) -> msgspec.Raw:
    """A time as REST prints it: unix seconds with a fraction."""
    return msgspec.Raw(f"{at_ns // NS_PER_S}.{at_ns % NS_PER_S:09}".encode())


def _span(params: Params) -> tuple[int, int]:
    bounds = []
    for name, default_ns in (("start", -1), ("end", INT64_MAX)):
        value = _decimal(params, name) if name in params else None
        bounds.append(default_ns if value is None else int(value * NS_PER_S))
    return bounds[0], bounds[1]


def _within(rows: list[_Dated], start_ns: int, end_ns: int) -> list[_Dated]:
    """Rows of a span, newest first, found without looking at those outside it."""
    return rows[bisect_right(rows, start_ns, key=at_ns):bisect_right(rows, end_ns, key=at_ns)][::-1]


def _page(params: Params, rows: Sequence[_Row]) -> Sequence[_Row]:
    text = params.get("ofs", "0")
    if not text.isdecimal():
        raise Refused("EGeneral:Invalid arguments:ofs")
    return rows[int(text):int(text) + PAGE]


def _decimal(params: Params, name: str) -> Decimal:
    try:
        value = Decimal(params.get(name, ""))
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        raise Refused(f"EGeneral:Invalid arguments:{name}")
    return value
