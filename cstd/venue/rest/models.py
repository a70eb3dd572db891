"""Typed results of REST calls: plain frozen structs with Decimals, times in ns since the epoch.

Each parser takes the decoded `result` of a reply and raises `FieldError` when it is not what was promised. Names of
pairs and assets are Kraken's REST spelling here; `names` maps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from cstd.venue.fields import (
    FieldError,
    decimal_of,
    decimal_or_none,
    int_of,
    int_or_none,
    mapping_of,
    required_decimal,
    required_text,
    seconds_to_ns,
    text_or_none,
)
from cstd.venue.rest.names import asset_name, only_pair

ZERO = Decimal(0)


class OrderRow(msgspec.Struct, frozen=True):
    """An order as REST tells it. `status`: pending, open, closed (= filled), canceled, expired."""

    order_id: str
    cl_ord_id: str | None
    userref: int | None
    status: str
    pair: str
    side: str
    order_type: str
    limit_price: Decimal
    order_qty: Decimal
    filled_qty: Decimal
    cost: Decimal
    fee: Decimal
    avg_price: Decimal
    opened_ns: int
    closed_ns: int | None
    expires_ns: int | None
    reason: str
    oflags: tuple[str, ...]
    misc: tuple[str, ...]
    trade_ids: tuple[str, ...]


class TradeRow(msgspec.Struct, frozen=True):
    """One of our fills; `exec_id` is the same as in executions."""

    exec_id: str
    order_id: str
    pair: str
    side: str
    price: Decimal
    qty: Decimal
    cost: Decimal
    fee: Decimal
    time_ns: int
    maker: bool | None
    trade_id: int | None


class LedgerRow(msgspec.Struct, frozen=True):
    """One change of one asset; `balance` is what it left: the balance before plus `amount` less `fee`.

    `ref_id` is the exec_id of a trade; `name` the v2 spelling of `asset`.
    """

    ledger_id: str
    ref_id: str
    time_ns: int
    kind: str
    asset: str
    name: str
    amount: Decimal
    fee: Decimal
    balance: Decimal


class BalanceRow(msgspec.Struct, frozen=True):
    """Total and hold of an asset; `name` is its v2 spelling."""

    asset: str
    name: str
    balance: Decimal
    hold_trade: Decimal
    credit: Decimal
    credit_used: Decimal

    @property
    def available(self) -> Decimal:
        """Return what an order may use."""
        return self.balance + self.credit - self.credit_used - self.hold_trade


class DepthSnapshot(msgspec.Struct, frozen=True):
    """A book by REST, best first: (price, quantity, time in ns)."""

    bids: tuple[tuple[Decimal, Decimal, int], ...]
    asks: tuple[tuple[Decimal, Decimal, int], ...]


class Candle(msgspec.Struct, frozen=True):
    """One OHLC row; `begin_ns` its start."""

    begin_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    vwap: Decimal
    volume: Decimal
    trade_count: int


class CandleRows(msgspec.Struct, frozen=True):
    """Completed candles, and the one still forming; `last_ns` is the begin of the last completed one."""

    completed: tuple[Candle, ...]
    forming: Candle | None
    last_ns: int


class PairRow(msgspec.Struct, frozen=True):
    """Reference data of a pair."""

    pair_id: str
    altname: str
    wsname: str
    base: str
    quote: str
    price_precision: int
    qty_precision: int
    tick_size: Decimal | None
    qty_min: Decimal | None
    cost_min: Decimal | None
    status: str


class FeeTier(msgspec.Struct, frozen=True):
    """Fee of the account on one pair, in percent."""

    pair: str
    taker_percent: Decimal
    maker_percent: Decimal


class TradeVolumeRow(msgspec.Struct, frozen=True):
    """30-day volume in `currency` and the fees that follow from it."""

    currency: str
    volume: Decimal
    fees: tuple[FeeTier, ...]


class KeyInfo(msgspec.Struct, frozen=True):
    """Name and rights of the key; `expires_ns` None = never."""

    name: str
    permissions: tuple[str, ...]
    expires_ns: int | None

    @property
    def may_withdraw(self) -> bool:
        """Tell whether the key could move money away; cstd wants none that can."""
        return any("withdraw" in right.lower() for right in self.permissions)


def parse_open_orders(result: Any) -> tuple[OrderRow, ...]:
    """Return the rows of OpenOrders."""
    return _orders(mapping_of(result, "result").get("open"), "open")


def parse_closed_orders(result: Any) -> tuple[tuple[OrderRow, ...], int | None]:
    """Return the rows of one page of ClosedOrders and the grand total over all pages."""
    document = mapping_of(result, "result")
    return _orders(document.get("closed"), "closed"), int_or_none(document, "count")


def parse_query_orders(result: Any) -> tuple[OrderRow, ...]:
    """Return the rows of QueryOrders."""
    return _orders(result, "result")


def _orders(rows: Any, field: str) -> tuple[OrderRow, ...]:
    return tuple(_order(order_id, mapping_of(row, order_id)) for order_id, row in mapping_of(rows, field).items())


def _order(order_id: str, row: Mapping[str, Any]) -> OrderRow:
    descr = mapping_of(row.get("descr"), "descr")
    trades = row.get("trades", [])
    if not isinstance(trades, list):
        raise FieldError("trades is not a list")
    return OrderRow(
        order_id=order_id,
        cl_ord_id=text_or_none(row, "cl_ord_id") or None,
        userref=int_or_none(row, "userref"),
        status=required_text(row, "status"),
        pair=required_text(descr, "pair"),
        side=required_text(descr, "type"),
        order_type=required_text(descr, "ordertype"),
        limit_price=decimal_or_none(descr, "price") or ZERO,
        order_qty=required_decimal(row, "vol"),
        filled_qty=required_decimal(row, "vol_exec"),
        cost=required_decimal(row, "cost"),
        fee=required_decimal(row, "fee"),
        avg_price=decimal_or_none(row, "price") or ZERO,
        opened_ns=_time(row, "opentm") or 0,
        closed_ns=_time(row, "closetm"),
        expires_ns=_time(row, "expiretm"),
        reason=text_or_none(row, "reason") or "",
        oflags=_comma_list(row, "oflags"),
        misc=_comma_list(row, "misc"),
        trade_ids=tuple(str(trade) for trade in trades),
    )


def parse_trades_history(result: Any) -> tuple[tuple[TradeRow, ...], int | None]:
    """Return the rows of one page of TradesHistory and the grand total over all pages."""
    document = mapping_of(result, "result")
    rows = mapping_of(document.get("trades"), "trades")
    return tuple(_trade(exec_id, mapping_of(row, exec_id)) for exec_id, row in rows.items()), int_or_none(
        document, "count")


def _trade(exec_id: str, row: Mapping[str, Any]) -> TradeRow:
    return TradeRow(
        exec_id=exec_id,
        order_id=required_text(row, "ordertxid"),
        pair=required_text(row, "pair"),
        side=required_text(row, "type"),
        price=required_decimal(row, "price"),
        qty=required_decimal(row, "vol"),
        cost=required_decimal(row, "cost"),
        fee=required_decimal(row, "fee"),
        time_ns=seconds_to_ns(row.get("time"), "time"),
        maker=row["maker"] if isinstance(row.get("maker"), bool) else None,
        trade_id=int_or_none(row, "trade_id"),
    )


def parse_ledgers(result: Any) -> tuple[tuple[LedgerRow, ...], int | None]:
    """Return the rows of one page of Ledgers, in the venue's order, and the grand total over all pages."""
    document = mapping_of(result, "result")
    rows = mapping_of(document.get("ledger"), "ledger")
    return tuple(_ledger_row(ledger_id, mapping_of(row, ledger_id)) for ledger_id, row in rows.items()), int_or_none(
        document, "count")


def _ledger_row(ledger_id: str, row: Mapping[str, Any]) -> LedgerRow:
    asset = required_text(row, "asset")
    return LedgerRow(
        ledger_id=ledger_id,
        ref_id=required_text(row, "refid"),
        time_ns=seconds_to_ns(row.get("time"), "time"),
        kind=required_text(row, "type"),
        asset=asset,
        name=asset_name(asset),
        amount=required_decimal(row, "amount"),
        fee=decimal_or_none(row, "fee") or ZERO,
        balance=required_decimal(row, "balance"),
    )


def parse_balances(result: Any) -> tuple[BalanceRow, ...]:
    """Return the rows of BalanceEx."""
    return tuple(_balance(code, mapping_of(row, code)) for code, row in mapping_of(result, "result").items())


def _balance(code: str, row: Mapping[str, Any]) -> BalanceRow:
    return BalanceRow(
        asset=code,
        name=asset_name(code),
        balance=required_decimal(row, "balance"),
        hold_trade=decimal_or_none(row, "hold_trade") or ZERO,
        credit=decimal_or_none(row, "credit") or ZERO,
        credit_used=decimal_or_none(row, "credit_used") or ZERO,
    )


def parse_depth(result: Any) -> DepthSnapshot:
    """Return the book of a Depth reply about one pair."""
    book = mapping_of(only_pair(result), "book")
    return DepthSnapshot(bids=_depth_side(book, "bids"), asks=_depth_side(book, "asks"))


def _depth_side(book: Mapping[str, Any], side: str) -> tuple[tuple[Decimal, Decimal, int], ...]:
    return tuple(
        (decimal_of(row[0], "price"), decimal_of(row[1], "volume"), seconds_to_ns(row[2], "time"))
        for row in _row_lists(book.get(side), side, 3)
    )


def parse_ohlc(result: Any) -> CandleRows:
    """Return the candles of an OHLC reply about one pair; the last row is the forming one and is kept apart."""
    rows = [_candle(row) for row in _row_lists(only_pair(result), "ohlc", 8)]
    last_ns = seconds_to_ns(mapping_of(result, "result").get("last"), "last")
    completed = tuple(row for row in rows if row.begin_ns <= last_ns)
    forming = rows[-1] if rows and rows[-1].begin_ns > last_ns else None
    return CandleRows(completed, forming, last_ns)


def _candle(row: list[Any]) -> Candle:
    first, high, low, close, vwap, volume = (decimal_of(value, "ohlc") for value in row[1:7])
    return Candle(seconds_to_ns(row[0], "time"), first, high, low, close, vwap, volume, int_of(row[7], "count"))


def parse_asset_pairs(result: Any) -> tuple[PairRow, ...]:
    """Return the rows of AssetPairs."""
    return tuple(_pair(pair_id, mapping_of(row, pair_id)) for pair_id, row in mapping_of(result, "result").items())


def _pair(pair_id: str, row: Mapping[str, Any]) -> PairRow:
    return PairRow(
        pair_id=pair_id,
        altname=text_or_none(row, "altname") or "",
        wsname=text_or_none(row, "wsname") or "",
        base=asset_name(required_text(row, "base")),
        quote=asset_name(required_text(row, "quote")),
        price_precision=int_of(row.get("pair_decimals"), "pair_decimals"),
        qty_precision=int_of(row.get("lot_decimals"), "lot_decimals"),
        tick_size=decimal_or_none(row, "tick_size"),
        qty_min=decimal_or_none(row, "ordermin"),
        cost_min=decimal_or_none(row, "costmin"),
        status=text_or_none(row, "status") or "",
    )


def parse_trade_volume(result: Any) -> TradeVolumeRow:
    """Return the account's volume and fees; a pair without a maker schedule pays the taker fee."""
    document = mapping_of(result, "result")
    takers = mapping_of(document.get("fees") or {}, "fees")
    makers = mapping_of(document.get("fees_maker") or {}, "fees_maker")
    fees = []
    for pair, row in takers.items():
        taker = required_decimal(mapping_of(row, pair), "fee")
        maker = required_decimal(mapping_of(makers[pair], pair), "fee") if pair in makers else taker
        fees.append(FeeTier(pair, taker, maker))
    return TradeVolumeRow(required_text(document, "currency"), required_decimal(document, "volume"), tuple(fees))


def parse_key_info(result: Any) -> KeyInfo:
    """Return name, rights and expiry of the key; rights come as a list, or as an object of yes and no."""
    document = mapping_of(result, "result")
    rights = document.get("permissions")
    if isinstance(rights, Mapping):
        permissions = tuple(name for name, granted in rights.items() if granted is True)
    elif isinstance(rights, list):
        permissions = tuple(str(right) for right in rights)
    else:
        raise FieldError("permissions is missing")
    name = text_or_none(document, "api_key_name") or text_or_none(document, "name") or ""
    return KeyInfo(name, permissions, _time(document, "valid_until"))


def parse_time(result: Any) -> int:
    """Return the venue's clock in ns; its resolution is one second."""
    return seconds_to_ns(mapping_of(result, "result").get("unixtime"), "unixtime")


def parse_system_status(result: Any) -> str:
    """Return the state word of the matching engine."""
    return required_text(mapping_of(result, "result"), "status")


def parse_token(result: Any) -> tuple[str, int]:
    """Return (session token, seconds within which it must be used)."""
    document = mapping_of(result, "result")
    return required_text(document, "token"), int_or_none(document, "expires") or 0


def _time(row: Mapping[str, Any], field: str) -> int | None:
    """Return a unix time in seconds as ns, or None where it is absent or 0: Kraken writes "never" as 0."""
    value = row.get(field)
    if value is None or value == "":
        return None
    return seconds_to_ns(value, field) or None


def _comma_list(row: Mapping[str, Any], field: str) -> tuple[str, ...]:
    return tuple(part for part in (text_or_none(row, field) or "").split(",") if part)


def _row_lists(value: Any, field: str, length: int) -> list[list[Any]]:
    if not isinstance(value, list) or not all(isinstance(row, list) and len(row) >= length for row in value):
        raise FieldError(f"{field} is not a list of rows of {length}")
    return value
