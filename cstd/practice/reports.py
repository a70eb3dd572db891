"""The texts of the private channels: execution events, ledger events, open-order snapshots.

Sparse where Kraken is sparse: after `pending_new` an event repeats only what changed and the ids.
"""

from __future__ import annotations

from decimal import Decimal

from cstd.practice.account import Fill, LedgerEntry, Order
from cstd.practice.wire import decimal_number, raw_number, rfc3339_us

EventBody = dict[str, object]


def ids(order: Order) -> EventBody:
    """Return the identifying fields of an order."""
    body: EventBody = {"order_id": order.order_id}
    if order.cl_ord_id is not None:
        body["cl_ord_id"] = order.cl_ord_id
    if order.userref is not None:
        body["order_userref"] = order.userref
    return body


def average_price(order: Order) -> Decimal:
    """Return cost / quantity of what is filled, rounded to two decimals below the tick; 0 if nothing is."""
    if not order.filled_raw:
        return Decimal(0)
    instrument = order.instrument
    qty = Decimal(order.filled_raw).scaleb(-instrument.qty_precision)
    return (order.cost / qty).quantize(Decimal(1).scaleb(-instrument.price_precision - 2))


def fee_usd(order: Order) -> Decimal:
    """Return the order's fees so far in quote currency; a base fee is valued at the average price."""
    return order.fee_quote + order.instrument.round_cost(order.fee_base * average_price(order))


def _progress(order: Order) -> EventBody:
    return {
        "cum_qty": raw_number(order.filled_raw, order.instrument.qty_precision),
        "cum_cost": decimal_number(order.cost),
        "avg_price": decimal_number(average_price(order)),
        "fee_usd_equiv": decimal_number(fee_usd(order)),
    }


def _description(order: Order) -> EventBody:
    instrument = order.instrument
    body: EventBody = {
        "symbol": instrument.name,
        "side": order.side_word,
        "order_type": order.order_type,
        "order_qty": raw_number(order.qty_raw, instrument.qty_precision),
        "time_in_force": order.time_in_force.upper(),
        "fee_ccy_pref": "fcib" if order.fee_in_base else "fciq",
    }
    if order.limit_raw is not None:
        body["limit_price"] = raw_number(order.limit_raw, instrument.price_precision)
        body["limit_price_type"] = "static"
    if order.cash_qty is not None:
        body["cash_order_qty"] = decimal_number(order.cash_qty)
    if order.expire_ns is not None:
        body["expire_time"] = rfc3339_us(order.expire_ns)
    if order.post_only:
        body["post_only"] = True
    if order.display_raw:
        body["display_qty"] = raw_number(order.display_raw, instrument.qty_precision)
        shown_raw = order.resting.visible_raw if order.resting is not None else order.display_raw
        body["display_qty_remain"] = raw_number(shown_raw, instrument.qty_precision)
    return body


def pending_new(order: Order, wall_ns: int) -> EventBody:
    """Return the full description that opens an order's life."""
    return {
        **ids(order),
        **_description(order),
        "cum_cost": decimal_number(order.cost),
        "fee_usd_equiv": decimal_number(fee_usd(order)),
        "exec_type": "pending_new",
        "order_status": "pending_new",
        "timestamp": rfc3339_us(wall_ns),
    }


def whole(order: Order) -> EventBody:
    """Return what any event of an order may say of it: its description and how far it has come."""
    return {**_description(order), **_progress(order)}


def new(order: Order, wall_ns: int) -> EventBody:
    """Return the sparse event that says the order is live."""
    return {"timestamp": rfc3339_us(wall_ns), "order_status": "new", "exec_type": "new", **ids(order)}


def trade(fill: Fill, order_status: str = "partially_filled") -> EventBody:
    """Return one fill. Kraken says partially_filled also on the fill that completes the order; `filled` follows."""
    order = fill.order
    instrument = order.instrument
    return {
        **ids(order),
        "exec_id": fill.exec_id,
        "exec_type": "trade",
        "trade_id": fill.trade_id,
        "symbol": instrument.name,
        "side": order.side_word,
        "last_qty": raw_number(fill.qty_raw, instrument.qty_precision),
        "last_price": raw_number(fill.price_raw, instrument.price_precision),
        "liquidity_ind": fill.liquidity,
        "cost": decimal_number(fill.cost),
        "order_type": order.order_type,
        "order_status": order_status,
        **_progress(order),
        "fees": [{"asset": fill.fee_asset, "qty": decimal_number(fill.fee)}],
        "timestamp": rfc3339_us(fill.wall_ns),
    }


def filled(order: Order, wall_ns: int) -> EventBody:
    """Return the event that closes a filled order; it carries no new quantity."""
    return {
        **ids(order),
        "exec_type": "filled",
        "order_status": "filled",
        **_progress(order),
        "timestamp": rfc3339_us(wall_ns),
    }


def ended(order: Order, wall_ns: int) -> EventBody:
    """Return the event that closes a canceled or expired order."""
    body = {
        "exec_type": order.status,
        "order_status": order.status,
        **_progress(order),
        **ids(order),
        "timestamp": rfc3339_us(wall_ns),
    }
    if order.reason:
        body["reason"] = order.reason
        body["cancel_reason"] = order.reason
    return body


def amended(order: Order, wall_ns: int, *, reason: str = "User requested") -> EventBody:
    """Return the event of an amend."""
    instrument = order.instrument
    body: EventBody = {
        "exec_type": "amended",
        "order_status": order.status,
        "reason": reason,
        "amended": True,
        "order_qty": raw_number(order.qty_raw, instrument.qty_precision),
        "cum_qty": raw_number(order.filled_raw, instrument.qty_precision),
        **ids(order),
        "timestamp": rfc3339_us(wall_ns),
    }
    if order.limit_raw is not None:
        body["limit_price"] = raw_number(order.limit_raw, instrument.price_precision)
        body["limit_price_type"] = "static"
    if order.display_raw:
        body["display_qty"] = raw_number(order.display_raw, instrument.qty_precision)
    return body


def iceberg_refill(order: Order, wall_ns: int) -> EventBody:
    """Return the event of a renewed display quantity."""
    shown_raw = order.resting.visible_raw if order.resting is not None else 0
    return {
        **ids(order),
        "exec_type": "iceberg_refill",
        "order_status": order.status,
        "display_qty_remain": raw_number(shown_raw, order.instrument.qty_precision),
        "timestamp": rfc3339_us(wall_ns),
    }


def snapshot_order(order: Order) -> EventBody:
    """Return an open order as the executions snapshot lists it."""
    return {
        **ids(order),
        **_description(order),
        **_progress(order),
        "exec_type": "new" if order.status in ("new", "partially_filled") else order.status,
        "order_status": order.status,
        "amended": order.amended,
        "timestamp": rfc3339_us(order.changed_ns),
    }


def balance_update(entry: LedgerEntry) -> EventBody:
    """Return one ledger entry as the balances channel prints it."""
    return {
        "ledger_id": entry.ledger_id,
        "ref_id": entry.ref_id,
        "timestamp": rfc3339_us(entry.wall_ns),
        "type": entry.kind,
        "category": entry.kind,
        "asset": entry.asset,
        "asset_class": "currency",
        "wallet_type": "spot",
        "wallet_id": "main",
        "amount": decimal_number(entry.amount),
        "fee": decimal_number(entry.fee),
        "balance": decimal_number(entry.balance),
    }


def balance_snapshot(balances: dict[str, Decimal]) -> list[EventBody]:
    """Return all balances as the balances snapshot lists them."""
    return [
        {
            "asset": asset,
            "asset_class": "currency",
            "balance": decimal_number(amount),
            "wallets": [{"type": "spot", "id": "main", "balance": decimal_number(amount)}],
        }
        for asset, amount in sorted(balances.items())
    ]
