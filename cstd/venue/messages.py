"""Typed messages of Kraken's websocket v2 and the tolerant decoders that make them.

The compiled scanner handles the common shapes; whatever it does not recognise comes here. A decoder never raises: what
cannot be read is `Malformed`, what is readable and new is `Unknown`. Unknown fields and enum values pass through.

Order of dispatch: `method` first (a refusal may carry `channel` too), then `channel`, then `error`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import msgspec

from cstd.units import to_raw
from cstd.venue.fields import (
    FieldError,
    decimal_or_none,
    decode_json,
    int_or_none,
    lenient_time_or_none,
    mapping_of,
    parse_rfc3339_ns,
    required_decimal,
    required_int,
    required_text,
    rows_of,
    text_of,
    text_or_none,
    time_or_none,
)

__all__ = [
    "Ack", "AssetSpec", "BalanceEntry", "BalancesMessage", "BookMessage", "ExecutionReport", "ExecutionsMessage",
    "Heartbeat", "InstrumentSpec", "InstrumentUpdate", "Malformed", "Message", "OhlcMessage", "OhlcRow", "Pong",
    "RequestError", "StatusMessage", "TickerMessage", "Trade", "TradeMessage", "Unknown", "decode_private",
    "decode_public", "parse_rfc3339_ns",
]

Level: TypeAlias = tuple[Decimal, Decimal]
DELISTED = "delisted"  # a pair's status with which it is over: nothing may be done there (Kraken: drop the pair)
NAMES_MAX = 16  # a Malformed names the instruments it touches, up to this many

class Malformed(msgspec.Struct, frozen=True):
    """A frame that cannot be read; `channel` and `names` say what it would have touched, where that much is known."""

    reason: str
    channel: str = ""
    names: tuple[str, ...] = ()


class Unknown(msgspec.Struct, frozen=True):
    """A readable frame of a kind this version does not know; counted. `channel` where it is one that is known."""

    what: str
    channel: str = ""


class Heartbeat(msgspec.Struct, frozen=True):
    """The venue is alive; says nothing about any book."""


class Pong(msgspec.Struct, frozen=True):
    """Reply to an application ping; times in ns since the epoch where given."""

    req_id: int | None
    time_in_ns: int | None = None
    time_out_ns: int | None = None


class RequestError(msgspec.Struct, frozen=True):
    """An error that names no method, e.g. {"Error":"Exceeded msg rate"}: some request was dropped."""

    error: str
    req_id: int | None = None


class Ack(msgspec.Struct, frozen=True):
    """Reply to a request, correlated by `req_id` alone; `success` is False unless the frame said true."""

    req_id: int | None
    method: str
    success: bool
    result: Mapping[str, Any] | list[Any] | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()
    time_in_ns: int | None = None
    time_out_ns: int | None = None
    channel: str = ""
    name: str = ""

    def text(self, field: str) -> str:
        """Return a text field of the result, or ""."""
        value = self.result.get(field) if isinstance(self.result, Mapping) else None
        return value if isinstance(value, str) else ""


class Window(msgspec.Struct, frozen=True):
    """Maintenance that the venue has announced; None where it tells no time that can be read."""

    begins_ns: int | None
    ends_ns: int | None


class StatusMessage(msgspec.Struct, frozen=True):
    """State of the matching engine: online, maintenance, cancel_only, post_only, or a newer word."""

    system: str
    api_version: str = ""
    connection_id: str = ""
    version: str = ""
    announced: tuple[Window, ...] = ()


class AssetSpec(msgspec.Struct, frozen=True):
    """An asset as the instrument channel describes it."""

    name: str
    status: str
    precision: int
    precision_display: int


class InstrumentSpec(msgspec.Struct, frozen=True):
    """A tradable pair; `_raw` fields are in units of 10^-precision of price or quantity."""

    name: str
    base: str
    quote: str
    status: str
    price_precision: int
    qty_precision: int
    price_increment_raw: int
    qty_increment_raw: int
    qty_min_raw: int
    cost_precision: int
    cost_min: Decimal
    marginable: bool = False


class InstrumentUpdate(msgspec.Struct, frozen=True):
    """Reference data. `skipped` names pairs whose entry could not be read: nothing may be traded on them."""

    snapshot: bool
    pairs: tuple[InstrumentSpec, ...]
    assets: tuple[AssetSpec, ...]
    skipped: tuple[str, ...] = ()

    def listed(self) -> list[InstrumentSpec]:
        """The pairs that the venue still has: one that it calls delisted is no longer in its list, whoever sends it along."""
        return [spec for spec in self.pairs if spec.status != DELISTED]

    def left(self, known: Iterable[str]) -> list[str]:
        """Which of the known names have left the list by this message: called delisted, or missing from all that there is."""
        listed = {spec.name for spec in self.listed()} | set(self.skipped)
        told = {spec.name for spec in self.pairs} - listed
        return sorted(name for name in known if name in told or (self.snapshot and name not in listed))


class BookMessage(msgspec.Struct, frozen=True):
    """One book snapshot or update, levels in the order of the wire, quantity 0 = remove."""

    name: str
    snapshot: bool
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    checksum: int | None
    timestamp_ns: int | None


class Trade(msgspec.Struct, frozen=True):
    """One match on the tape; `side` is the taker's."""

    name: str
    side: str
    price: Decimal
    qty: Decimal
    trade_id: int
    timestamp_ns: int
    ord_type: str = ""


class TradeMessage(msgspec.Struct, frozen=True):
    """Trades in the order of the wire."""

    snapshot: bool
    trades: tuple[Trade, ...]


class TickerMessage(msgspec.Struct, frozen=True):
    """Top of book and daily figures of one instrument; None where the venue sent none."""

    name: str
    snapshot: bool
    bid: Decimal | None
    bid_qty: Decimal | None
    ask: Decimal | None
    ask_qty: Decimal | None
    last: Decimal | None
    volume: Decimal | None
    vwap: Decimal | None
    timestamp_ns: int | None


class OhlcRow(msgspec.Struct, frozen=True):
    """One candle; final only when a later one has begun. `interval_min` in minutes."""

    name: str
    interval_min: int
    begin_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    vwap: Decimal | None
    volume: Decimal
    trade_count: int


class OhlcMessage(msgspec.Struct, frozen=True):
    """Candles in the order of the wire."""

    snapshot: bool
    rows: tuple[OhlcRow, ...]


class ExecutionReport(msgspec.Struct, frozen=True):
    """One event of one order. Sparse: a field the venue left out is None and must not overwrite what is known."""

    exec_type: str
    timestamp_ns: int | None = None
    order_id: str | None = None
    cl_ord_id: str | None = None
    exec_id: str | None = None
    trade_id: int | None = None
    order_status: str | None = None
    name: str | None = None
    side: str | None = None
    order_type: str | None = None
    order_qty: Decimal | None = None
    limit_price: Decimal | None = None
    last_qty: Decimal | None = None
    last_price: Decimal | None = None
    cost: Decimal | None = None
    fees: tuple[tuple[str, Decimal], ...] | None = None
    cum_qty: Decimal | None = None
    cum_cost: Decimal | None = None
    avg_price: Decimal | None = None
    reason: str | None = None
    liquidity_ind: str | None = None
    time_in_force: str | None = None
    expire_time_ns: int | None = None
    post_only: bool | None = None
    order_userref: int | None = None
    rate_counter: Decimal | None = None


class ExecutionsMessage(msgspec.Struct, frozen=True):
    """Order events; `sequence` counts messages of this subscription from 1 (the snapshot)."""

    sequence: int
    snapshot: bool
    reports: tuple[ExecutionReport, ...]


class BalanceEntry(msgspec.Struct, frozen=True):
    """A snapshot's total with its wallets, or one ledger entry (`amount` signed, `balance` the new total)."""

    asset: str
    balance: Decimal
    spot_balance: Decimal | None = None
    kind: str | None = None
    amount: Decimal | None = None
    fee: Decimal | None = None
    ledger_id: str | None = None
    ref_id: str | None = None
    wallet_type: str | None = None
    wallet_id: str | None = None
    timestamp_ns: int | None = None


class BalancesMessage(msgspec.Struct, frozen=True):
    """Balances; `sequence` counts messages of this subscription from 1 (the snapshot)."""

    sequence: int
    snapshot: bool
    entries: tuple[BalanceEntry, ...]


Message: TypeAlias = (
    Malformed | Unknown | Heartbeat | Pong | RequestError | Ack | StatusMessage | InstrumentUpdate | BookMessage
    | TradeMessage | TickerMessage | OhlcMessage | ExecutionsMessage | BalancesMessage
)
_Reader: TypeAlias = Callable[[Mapping[str, Any], bool], list[Message]]


def decode_public(frame: bytes) -> list[Message]:
    """Return the messages of one frame from the public socket, in order; never empty, never raises."""
    return _decode(frame, _PUBLIC_READERS)


def decode_private(frame: bytes) -> list[Message]:
    """Return the messages of one frame from the private socket, in order; never empty, never raises."""
    return _decode(frame, _PRIVATE_READERS)


class _OhlcWire(msgspec.Struct):
    symbol: str
    interval: int
    interval_begin: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    vwap: Decimal | None = None
    trades: int = 0


class _OhlcFrame(msgspec.Struct):
    channel: Literal["ohlc"]
    type: Literal["snapshot", "update"]
    data: list[_OhlcWire]


_OHLC = msgspec.json.Decoder(_OhlcFrame)
# The bars of all instruments begin at the same times: each text is read once for a thousand snapshots, not once for each.
_begin_ns = lru_cache(maxsize=8192)(parse_rfc3339_ns)


def _ohlc_of(frame: bytes) -> list[Message] | None:
    """Read an ohlc frame in its usual shape at once: a start takes thousands of rows, a restart replays them all.
    None: another shape, the tolerant reader decides."""
    try:
        wire = _OHLC.decode(frame)
        rows = tuple(
            OhlcRow(row.symbol, row.interval, _begin_ns(row.interval_begin), row.open, row.high, row.low, row.close,
                    row.vwap, row.volume, row.trades)
            for row in wire.data
        )
    except (msgspec.DecodeError, FieldError, UnicodeDecodeError):
        return None
    numbers = (value for row in rows for value in (row.open, row.high, row.low, row.close, row.volume))
    if not rows or any(not value.is_finite() or value < 0 for value in numbers):
        return None
    return [OhlcMessage(wire.type == "snapshot", rows)]


def _decode(frame: bytes, readers: Mapping[str, _Reader]) -> list[Message]:
    if frame.startswith(b'{"channel":"ohlc"') and "ohlc" in readers:
        messages = _ohlc_of(frame)
        if messages is not None:
            return messages
    try:
        document = decode_json(frame)
    except FieldError as error:
        return [Malformed(str(error))]
    if not isinstance(document, dict):
        return [Malformed(f"a JSON {type(document).__name__}, not an object")]
    method = document.get("method")
    try:
        if isinstance(method, str):
            return [_read_pong(document) if method == "pong" else _read_ack(document, method)]
        channel = document.get("channel")
        if isinstance(channel, str):
            return _read_channel(document, channel, readers)
        return [_read_error(document)]
    except (FieldError, ArithmeticError) as error:
        return [Malformed(str(error), text_of(document.get("channel")), _names_in(document))]


def _read_channel(document: Mapping[str, Any], channel: str, readers: Mapping[str, _Reader]) -> list[Message]:
    reader = readers.get(channel)
    if reader is None:
        return [Unknown(f"channel {channel[:40]}")]
    if channel == "heartbeat":
        return [Heartbeat()]
    kind = document.get("type")
    if kind not in ("snapshot", "update"):
        return [Unknown(f"type {str(kind)[:40]} of channel {channel}", channel)]
    return reader(document, kind == "snapshot") or [Unknown(f"empty {channel}")]


def _read_ack(document: Mapping[str, Any], method: str) -> Ack:
    result = document.get("result")
    if not isinstance(result, dict | list):
        result = None
    inner = result if isinstance(result, dict) else {}
    warnings = inner.get("warnings")
    return Ack(
        req_id=int_or_none(document, "req_id"),
        method=method,
        success=document.get("success") is True,
        result=result,
        error=text_of(document.get("error")),
        warnings=tuple(str(warning) for warning in warnings) if isinstance(warnings, list) else (),
        time_in_ns=lenient_time_or_none(document, "time_in"),
        time_out_ns=lenient_time_or_none(document, "time_out"),
        channel=text_of(inner.get("channel") or document.get("channel")),
        name=text_of(inner.get("symbol") or document.get("symbol")),
    )


def _read_pong(document: Mapping[str, Any]) -> Pong:
    return Pong(int_or_none(document, "req_id"), lenient_time_or_none(document, "time_in"),
                lenient_time_or_none(document, "time_out"))


def _read_error(document: Mapping[str, Any]) -> Message:
    for key in ("Error", "error", "errorMessage"):
        if isinstance(document.get(key), str):
            return RequestError(document[key], int_or_none(document, "req_id"))
    return Unknown(f"object with keys {sorted(document)[:8]}")


def _read_status(document: Mapping[str, Any], _snapshot: bool) -> list[Message]:
    return [
        StatusMessage(
            system=required_text(row, "system"),
            api_version=text_of(row.get("api_version")),
            # Above 2^53, so it is kept as text: no consumer can round it.
            connection_id=str(row.get("connection_id", "")),
            version=text_of(row.get("version")),
            announced=(*_windows(row.get("upcoming_maintenance")), *_windows(row.get("emergency"))),
        )
        for row in rows_of(document.get("data"), "data")
    ]


def _windows(value: Any) -> tuple[Window, ...]:
    """Return what is announced. The venue documents no shape: the times of an entry are what reads as a time in it."""
    if not value:
        return ()
    return tuple(_window(entry) for entry in (value if isinstance(value, list) else [value]))


def _window(entry: Any) -> Window:
    times = []
    for text in entry.values() if isinstance(entry, Mapping) else [entry]:
        if isinstance(text, str):
            with suppress(FieldError):
                times.append(parse_rfc3339_ns(text))
    return Window(min(times, default=None), max(times) if len(times) > 1 else None)


def _read_heartbeat(_document: Mapping[str, Any], _snapshot: bool) -> list[Message]:
    return [Heartbeat()]


def _read_instrument(document: Mapping[str, Any], snapshot: bool) -> list[Message]:
    data = mapping_of(document.get("data"), "data")
    pairs: list[InstrumentSpec] = []
    skipped: list[str] = []
    for row in rows_of(data.get("pairs", []), "pairs"):
        # One unreadable pair among 1,450 must not hide the others.
        try:
            pairs.append(_pair(row))
        except (FieldError, ValueError, ArithmeticError):
            skipped.append(text_of(row.get("symbol")) or "?")
    assets: list[AssetSpec] = []
    for row in rows_of(data.get("assets", []), "assets"):
        try:
            assets.append(_asset(row))
        except (FieldError, ArithmeticError):
            skipped.append(text_of(row.get("id")) or "?")
    return [InstrumentUpdate(snapshot, tuple(pairs), tuple(assets), tuple(skipped))]


def _asset(row: Mapping[str, Any]) -> AssetSpec:
    return AssetSpec(
        name=required_text(row, "id"),
        status=required_text(row, "status"),
        precision=required_int(row, "precision"),
        precision_display=required_int(row, "precision_display"),
    )


def _pair(row: Mapping[str, Any]) -> InstrumentSpec:
    price_precision = _precision(row, "price_precision")
    qty_precision = _precision(row, "qty_precision")
    increment = row.get("price_increment", row.get("tick_size"))
    spec = InstrumentSpec(
        name=required_text(row, "symbol"),
        base=required_text(row, "base"),
        quote=required_text(row, "quote"),
        status=required_text(row, "status"),
        price_precision=price_precision,
        qty_precision=qty_precision,
        price_increment_raw=to_raw(required_decimal({"price_increment": increment}, "price_increment"),
                                   price_precision),
        qty_increment_raw=to_raw(required_decimal(row, "qty_increment"), qty_precision),
        qty_min_raw=to_raw(required_decimal(row, "qty_min"), qty_precision),
        cost_precision=int_or_none(row, "cost_precision") or 0,
        cost_min=decimal_or_none(row, "cost_min") or Decimal(0),
        marginable=row.get("marginable") is True,
    )
    if spec.price_increment_raw <= 0 or spec.qty_increment_raw <= 0 or spec.qty_min_raw < 0:
        raise FieldError("an increment or minimum is not positive")
    return spec


def _precision(row: Mapping[str, Any], field: str) -> int:
    precision = required_int(row, field)
    if not 0 <= precision <= 18:
        raise FieldError(f"{field} {precision} does not fit an int64")
    return precision


def _read_book(document: Mapping[str, Any], snapshot: bool) -> list[Message]:
    return [
        BookMessage(
            name=required_text(row, "symbol"),
            snapshot=snapshot,
            bids=_levels(row, "bids"),
            asks=_levels(row, "asks"),
            checksum=int_or_none(row, "checksum"),
            timestamp_ns=time_or_none(row, "timestamp"),
        )
        for row in rows_of(document.get("data"), "data")
    ]


def _levels(row: Mapping[str, Any], side: str) -> tuple[Level, ...]:
    return tuple(
        (_not_negative(level, "price"), _not_negative(level, "qty")) for level in rows_of(row.get(side, []), side)
    )


def _not_negative(row: Mapping[str, Any], field: str) -> Decimal:
    value = required_decimal(row, field)
    if value < 0:
        raise FieldError(f"{field} is negative")
    return value


def _trade_id(row: Mapping[str, Any]) -> int:
    """Return the trade's sequence number, -1 where the dialect has none (v1 recordings)."""
    number = int_or_none(row, "trade_id")
    return -1 if number is None else number


def _read_trade(document: Mapping[str, Any], snapshot: bool) -> list[Message]:
    trades = tuple(
        Trade(
            name=required_text(row, "symbol"),
            side=required_text(row, "side"),
            price=_not_negative(row, "price"),
            qty=_not_negative(row, "qty"),
            trade_id=_trade_id(row),
            timestamp_ns=parse_rfc3339_ns(required_text(row, "timestamp")),
            ord_type=text_of(row.get("ord_type")),
        )
        for row in rows_of(document.get("data"), "data")
    )
    return [TradeMessage(snapshot, trades)]


def _read_ticker(document: Mapping[str, Any], snapshot: bool) -> list[Message]:
    return [
        TickerMessage(
            name=required_text(row, "symbol"),
            snapshot=snapshot,
            bid=decimal_or_none(row, "bid"),
            bid_qty=decimal_or_none(row, "bid_qty"),
            ask=decimal_or_none(row, "ask"),
            ask_qty=decimal_or_none(row, "ask_qty"),
            last=decimal_or_none(row, "last"),
            volume=decimal_or_none(row, "volume"),
            vwap=decimal_or_none(row, "vwap"),
            timestamp_ns=time_or_none(row, "timestamp"),
        )
        for row in rows_of(document.get("data"), "data")
    ]


def _read_ohlc(document: Mapping[str, Any], snapshot: bool) -> list[Message]:
    rows = tuple(
        OhlcRow(
            name=required_text(row, "symbol"),
            interval_min=required_int(row, "interval"),
            begin_ns=parse_rfc3339_ns(required_text(row, "interval_begin")),
            open=_not_negative(row, "open"),
            high=_not_negative(row, "high"),
            low=_not_negative(row, "low"),
            close=_not_negative(row, "close"),
            vwap=decimal_or_none(row, "vwap"),
            volume=_not_negative(row, "volume"),
            trade_count=int_or_none(row, "trades") or 0,
        )
        for row in rows_of(document.get("data"), "data")
    )
    return [OhlcMessage(snapshot, rows)]


def _read_executions(document: Mapping[str, Any], snapshot: bool) -> list[Message]:
    rows = rows_of(document.get("data"), "data")
    counter = document.get("ratecounter", document.get("ratecount"))
    reports = tuple(_report(row, counter) for row in rows)
    return [ExecutionsMessage(required_int(document, "sequence"), snapshot, reports)]


def _report(row: Mapping[str, Any], message_counter: object) -> ExecutionReport:
    # The documents do not name the rate counter's field in v2; both spellings exist in the wild, in row or message.
    counter = row.get("ratecounter", row.get("ratecount", message_counter))
    return ExecutionReport(
        exec_type=required_text(row, "exec_type"),
        timestamp_ns=lenient_time_or_none(row, "timestamp"),
        order_id=text_or_none(row, "order_id"),
        cl_ord_id=text_or_none(row, "cl_ord_id"),
        exec_id=text_or_none(row, "exec_id"),
        trade_id=int_or_none(row, "trade_id"),
        order_status=text_or_none(row, "order_status"),
        name=text_or_none(row, "symbol"),
        side=text_or_none(row, "side"),
        order_type=text_or_none(row, "order_type"),
        order_qty=decimal_or_none(row, "order_qty"),
        limit_price=decimal_or_none(row, "limit_price"),
        last_qty=decimal_or_none(row, "last_qty"),
        last_price=decimal_or_none(row, "last_price"),
        cost=decimal_or_none(row, "cost"),
        fees=_fees(row),
        cum_qty=decimal_or_none(row, "cum_qty"),
        cum_cost=decimal_or_none(row, "cum_cost"),
        avg_price=decimal_or_none(row, "avg_price"),
        reason=text_or_none(row, "reason") or text_or_none(row, "cancel_reason"),
        liquidity_ind=text_or_none(row, "liquidity_ind"),
        time_in_force=text_or_none(row, "time_in_force"),
        expire_time_ns=lenient_time_or_none(row, "expire_time"),
        post_only=row["post_only"] if isinstance(row.get("post_only"), bool) else None,
        order_userref=int_or_none(row, "order_userref"),
        rate_counter=decimal_or_none({"ratecounter": counter}, "ratecounter"),
    )


def _fees(row: Mapping[str, Any]) -> tuple[tuple[str, Decimal], ...] | None:
    if row.get("fees") is None:
        return None
    return tuple((required_text(fee, "asset"), required_decimal(fee, "qty")) for fee in rows_of(row["fees"], "fees"))


def _read_balances(document: Mapping[str, Any], snapshot: bool) -> list[Message]:
    entries = tuple(
        BalanceEntry(
            asset=required_text(row, "asset"),
            balance=required_decimal(row, "balance"),
            spot_balance=_spot_balance(row) if snapshot else None,
            kind=text_or_none(row, "type"),
            amount=decimal_or_none(row, "amount"),
            fee=decimal_or_none(row, "fee"),
            ledger_id=text_or_none(row, "ledger_id"),
            ref_id=text_or_none(row, "ref_id"),
            wallet_type=text_or_none(row, "wallet_type"),
            wallet_id=text_or_none(row, "wallet_id"),
            timestamp_ns=time_or_none(row, "timestamp"),
        )
        for row in rows_of(document.get("data"), "data")
    )
    return [BalancesMessage(required_int(document, "sequence"), snapshot, entries)]


def _spot_balance(row: Mapping[str, Any]) -> Decimal | None:
    """Return the balance of the main spot wallet, the only tradable one; None when no wallets are listed."""
    if row.get("wallets") is None:
        return None
    return sum(
        (required_decimal(wallet, "balance") for wallet in rows_of(row["wallets"], "wallets")
         if wallet.get("type") == "spot" and wallet.get("id") == "main"),
        Decimal(0),
    )


def _names_in(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the instruments that an unreadable data message names, so that they alone are resynchronised."""
    data = document.get("data")
    rows = data if isinstance(data, list) else []
    names = (row.get("symbol") for row in rows if isinstance(row, dict))
    return tuple(name for name in names if isinstance(name, str))[:NAMES_MAX]


_COMMON: Mapping[str, _Reader] = {"status": _read_status, "heartbeat": _read_heartbeat}
_PUBLIC_READERS: Mapping[str, _Reader] = {
    **_COMMON, "instrument": _read_instrument, "book": _read_book, "trade": _read_trade, "ticker": _read_ticker,
    "ohlc": _read_ohlc,
}
_PRIVATE_READERS: Mapping[str, _Reader] = {
    **_COMMON, "executions": _read_executions, "balances": _read_balances,
}
