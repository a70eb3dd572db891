"""What the simulated venue says on the private socket, as Kraken's bytes (kraken-protocol.md 1.2, 1.15, 1.16, 2)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from cstd.orders.simulated_terms import SIDE_NAMES, SimulatedOrder
from cstd.units import NS_PER_S, NS_PER_US, format_decimal, format_raw, from_raw

HEARTBEAT = b'{"channel":"heartbeat"}'


def time_text(wall_ns: int) -> str:
    """RFC 3339 with microseconds."""
    whole = datetime.fromtimestamp(wall_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{wall_ns % NS_PER_S // NS_PER_US:06}Z"


def second_text(wall_ns: int) -> str:
    """RFC 3339 with whole seconds."""
    return datetime.fromtimestamp(wall_ns // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _number(value: Decimal) -> msgspec.Raw:
    """A number with all its digits, as Kraken prints them."""
    return msgspec.Raw(format_decimal(value).encode())


def _raw_number(raw: int, precision: int) -> msgspec.Raw:
    return msgspec.Raw(format_raw(raw, precision).encode())


def reply(method: str, req_id: Any, result: Mapping[str, Any], now_ns: int) -> bytes:
    """A request that was done."""
    return msgspec.json.encode({"method": method, **_req_id(req_id), "result": result, "success": True, **_times(now_ns)})


def refusal(method: str, req_id: Any, error: str, now_ns: int) -> bytes:
    """A request that was not done, and why."""
    return msgspec.json.encode({"error": error, "method": method, **_req_id(req_id), "success": False, **_times(now_ns)})


def pong(req_id: Any, now_ns: int) -> bytes:
    """The answer to a ping."""
    return msgspec.json.encode({"method": "pong", **_req_id(req_id), **_times(now_ns)})


def status_frame(now_ns: int) -> bytes:
    """What the venue says first on a connection."""
    row = {"api_version": "v2", "connection_id": now_ns // NS_PER_US, "system": "online", "version": "2.0.0"}
    return msgspec.json.encode({"channel": "status", "type": "update", "data": [row]})


def _req_id(req_id: Any) -> dict[str, Any]:
    return {} if req_id is None else {"req_id": req_id}


def _times(now_ns: int) -> dict[str, str]:
    return {"time_in": time_text(now_ns), "time_out": time_text(now_ns)}


def channel(name: str, kind: str, rows: list[dict[str, Any]], sequence: int) -> bytes:
    """One message of a private channel."""
    return msgspec.json.encode({"channel": name, "type": kind, "data": rows, "sequence": sequence})


# Rows of `executions`.


def _head(order: SimulatedOrder, exec_type: str, status: str, now_ns: int) -> dict[str, Any]:
    named = {"cl_ord_id": order.terms.cl_ord_id} if order.terms.cl_ord_id else {}
    return {"exec_type": exec_type, "order_status": status, "order_id": order.order_id, **named, "timestamp": time_text(now_ns)}


def pending_row(order: SimulatedOrder, now_ns: int) -> dict[str, Any]:
    """Received, with the whole description of the order."""
    return {**_head(order, "pending_new", "pending_new", now_ns), **_description(order)}


def open_row(order: SimulatedOrder, now_ns: int) -> dict[str, Any]:
    """An open order as a snapshot shows it."""
    status = "partially_filled" if order.filled_raw else "new"
    return {**_head(order, "new", status, now_ns), **_description(order), **_cumulative(order)}


def new_row(order: SimulatedOrder, now_ns: int) -> dict[str, Any]:
    """Live in the engine."""
    return _head(order, "new", "new", now_ns)


def trade_row(order: SimulatedOrder, exec_id: str, trade_id: int, price_raw: int, qty_raw: int, fee: Decimal, now_ns: int, *,
              maker: bool) -> dict[str, Any]:
    """One fill; the order's figures have taken it in already."""
    spec = order.terms.spec
    return {
        **_head(order, "trade", "filled" if order.left_raw == 0 else "partially_filled", now_ns),
        "exec_id": exec_id, "trade_id": trade_id, "symbol": spec.name, "side": SIDE_NAMES[order.terms.side],
        "order_type": "limit", "last_qty": _raw_number(qty_raw, spec.qty_precision),
        "last_price": _raw_number(price_raw, spec.price_precision), "liquidity_ind": "m" if maker else "t",
        "cost": _number(order.value(price_raw, qty_raw)), **_cumulative(order),
        "fees": [{"asset": spec.quote, "qty": _number(fee)}],
    }


def filled_row(order: SimulatedOrder, now_ns: int) -> dict[str, Any]:
    """Completed; brings no quantity of its own."""
    return {**_head(order, "filled", "filled", now_ns), **_cumulative(order)}


def ended_row(order: SimulatedOrder, exec_type: str, reason: str, now_ns: int) -> dict[str, Any]:
    """Canceled or expired, with the reason."""
    return {**_head(order, exec_type, exec_type, now_ns), **_cumulative(order), "reason": reason, "cancel_reason": reason}


def amended_row(order: SimulatedOrder, now_ns: int) -> dict[str, Any]:
    """Other terms, as the user asked."""
    spec = order.terms.spec
    return {**_head(order, "amended", "partially_filled" if order.filled_raw else "new", now_ns), "amended": True,
            "reason": "User requested", "order_qty": _raw_number(order.qty_raw, spec.qty_precision),
            "cum_qty": _raw_number(order.filled_raw, spec.qty_precision),
            "limit_price": _raw_number(order.price_raw, spec.price_precision), "limit_price_type": "static"}


def _description(order: SimulatedOrder) -> dict[str, Any]:
    spec, terms = order.terms.spec, order.terms
    return {"symbol": spec.name, "side": SIDE_NAMES[terms.side], "order_type": "limit",
            "order_qty": _raw_number(order.qty_raw, spec.qty_precision),
            "limit_price": _raw_number(order.price_raw, spec.price_precision), "limit_price_type": "static",
            "time_in_force": terms.time_in_force.upper(), "post_only": terms.post_only, "fee_ccy_pref": "fciq",
            **({"expire_time": second_text(terms.expire_ns)} if terms.time_in_force == "gtd" else {})}


def _cumulative(order: SimulatedOrder) -> dict[str, Any]:
    spec = order.terms.spec
    average = order.cost / from_raw(order.filled_raw, spec.qty_precision) if order.filled_raw else Decimal(0)
    return {"cum_qty": _raw_number(order.filled_raw, spec.qty_precision), "cum_cost": _number(order.cost),
            "avg_price": _number(round(average, spec.price_precision))}


# Rows of `balances`.


def balance_row(asset: str, balance: Decimal) -> dict[str, Any]:
    """One asset of the snapshot; all of it is in the main wallet."""
    return {"asset": asset, "asset_class": "currency", "balance": _number(balance),
            "wallets": [{"type": "spot", "id": "main", "balance": _number(balance)}]}


def ledger_row(number: int, exec_id: str, asset: str, amount: Decimal, fee: Decimal, balance: Decimal,
               now_ns: int) -> dict[str, Any]:
    """One leg of a trade."""
    return {"ledger_id": f"LSIM00-00000-{number:06}", "ref_id": exec_id, "timestamp": time_text(now_ns), "type": "trade",
            "category": "trade", "asset": asset, "asset_class": "currency", "wallet_type": "spot", "wallet_id": "main",
            "amount": _number(amount), "fee": _number(fee), "balance": _number(balance)}
