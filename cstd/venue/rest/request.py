"""REST requests: signature, paths, and builders for the reads that cstd makes.

There are no builders for requests that add, amend or cancel orders. Cancels and exits are made by the gateway, and their
request carries what it made; nothing opens or amends an order by REST.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from urllib.parse import urlencode

import msgspec

from cstd._fast.gateway import RestCancel, RestExit
from cstd.errors import InvariantError
from cstd.units import NS_PER_S

# All that is called without the gateway. What is not among them might change something, whatever its name is.
READS = frozenset({
    "Time", "SystemStatus", "AssetPairs", "Depth", "OHLC", "OpenOrders", "ClosedOrders", "QueryOrders", "TradesHistory",
    "Ledgers", "BalanceEx", "OpenPositions", "TradeVolume", "GetApiKeyInfo", "GetWebSocketsToken",
})
# The older documents allow 20 ids in one query, the newer 50.
QUERY_IDS_MAX = 20
DEPTH_ROWS_MAX = 500


def sign(path: str, body: str | bytes, nonce: int | str, secret: str) -> str:
    """Return the API-Sign header of a private call.

    Args:
        path: from "/0/" on, without host and query.
        body: exactly the bytes that are sent; they contain the nonce.
        nonce: the same nonce as in the body.
        secret: the API secret, base64.

    Raises:
        ValueError: the secret is not base64.
    """
    payload = body.encode() if isinstance(body, str) else body
    try:
        key = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        # The secret itself must not travel in the message.
        raise ValueError("the API secret is not base64") from None
    digest = hashlib.sha256(str(nonce).encode() + payload).digest()
    mac = hmac.new(key, path.encode() + digest, hashlib.sha512).digest()
    return base64.b64encode(mac).decode("ascii")


class RestRequest(msgspec.Struct, frozen=True):
    """One call before it has a nonce and a signature.

    Attributes:
        method: Kraken's name of the call, e.g. "OpenOrders".
        private: signed POST, or public GET.
        params: fields in the order they are sent.
        order: what the gateway made, where the request is a cancel or an exit.
    """

    method: str
    private: bool
    params: tuple[tuple[str, str], ...] = ()
    order: RestCancel | RestExit | None = None

    @property
    def path(self) -> str:
        """Return the path from "/0/" on."""
        return f"/0/{'private' if self.private else 'public'}/{self.method}"

    @property
    def is_order(self) -> bool:
        """Tell whether the call could change orders, so that it must never be repeated blindly."""
        return self.method not in READS

    @property
    def made_by_gateway(self) -> bool:
        """Tell whether the gateway made exactly this order request; nothing in Python can fill in what it makes."""
        order = self.order
        if order is None or type(order) not in (RestCancel, RestExit):
            return False
        return (order.method, order.params) == (self.method, self.params)

    def query(self) -> str:
        """Return the fields, form-encoded, without a nonce."""
        return urlencode(self.params)

    def body(self, nonce: int) -> bytes:
        """Return the body of a private call, the nonce first."""
        return urlencode((("nonce", str(nonce)), *self.params)).encode("ascii")


def _public(method: str, **params: object) -> RestRequest:
    return RestRequest(method, False, _fields(params))


def _private(method: str, **params: object) -> RestRequest:
    return RestRequest(method, True, _fields(params))


def _fields(params: dict[str, object]) -> tuple[tuple[str, str], ...]:
    """Return the fields that are given; True and False in Kraken's spelling."""
    return tuple(
        (name, str(value).lower() if isinstance(value, bool) else str(value))
        for name, value in params.items() if value is not None
    )


def _seconds(at_ns: int | None) -> str | None:
    """Return a time as whole unix seconds, as Kraken takes them; rounded down, so that nothing is missed."""
    return None if at_ns is None else str(at_ns // NS_PER_S)


def server_time() -> RestRequest:
    """Ask for the venue's clock."""
    return _public("Time")


def system_status() -> RestRequest:
    """Ask for the state of the matching engine."""
    return _public("SystemStatus")


def asset_pairs(names: Iterable[str] = ()) -> RestRequest:
    """Ask for reference data of some pairs, or of all."""
    return _public("AssetPairs", pair=",".join(names) or None)


def depth(name: str, rows: int = 100) -> RestRequest:
    """Ask for a book snapshot of `rows` levels a side."""
    if not 1 <= rows <= DEPTH_ROWS_MAX:
        raise InvariantError(f"depth of {rows} rows; Kraken gives 1 to {DEPTH_ROWS_MAX}")
    return _public("Depth", pair=name, count=rows)


def ohlc(name: str, interval_min: int, since_ns: int | None = None) -> RestRequest:
    """Ask for up to 720 candles; the last one is still forming."""
    return _public("OHLC", pair=name, interval=interval_min, since=_seconds(since_ns))


def open_orders(cl_ord_id: str | None = None, *, trades: bool | None = True) -> RestRequest:
    """Ask for open orders, all or those of one client order id; `trades`: with the ids of their executions."""
    return _private("OpenOrders", trades=trades, cl_ord_id=cl_ord_id)


def closed_orders(cl_ord_id: str | None = None, *, start_ns: int | None = None, end_ns: int | None = None,
                  offset: int | None = None, trades: bool | None = True, closetime: str | None = None) -> RestRequest:
    """Ask for closed orders, 50 a page, newest first; times in ns since the epoch.

    `closetime` says which time of an order the span is of: open, close, or (None) either.
    """
    return _private("ClosedOrders", trades=trades, cl_ord_id=cl_ord_id, start=_seconds(start_ns),
                    end=_seconds(end_ns), ofs=offset, closetime=closetime)


def query_orders(order_ids: Iterable[str], *, trades: bool = True) -> RestRequest:
    """Ask for orders by venue order id, at most 20."""
    ids = tuple(order_ids)
    if not 1 <= len(ids) <= QUERY_IDS_MAX:
        raise InvariantError(f"{len(ids)} orders in one query; Kraken takes 1 to {QUERY_IDS_MAX}")
    return _private("QueryOrders", txid=",".join(ids), trades=trades)


def trades_history(*, start_ns: int | None = None, end_ns: int | None = None, offset: int | None = None,
                   consolidate_taker: bool | None = None) -> RestRequest:
    """Ask for own trades, 50 a page, newest first; times in ns since the epoch."""
    return _private("TradesHistory", start=_seconds(start_ns), end=_seconds(end_ns), ofs=offset,
                    consolidate_taker=consolidate_taker)


def ledgers(*, asset: str | None = None, start_ns: int | None = None, end_ns: int | None = None,
            offset: int | None = None) -> RestRequest:
    """Ask for ledger entries, 50 a page, newest first, of one asset (its REST name) or of all."""
    return _private("Ledgers", asset=asset, start=_seconds(start_ns), end=_seconds(end_ns), ofs=offset)


def balances() -> RestRequest:
    """Ask for totals and holds of every asset."""
    return _private("BalanceEx")


def open_positions() -> RestRequest:
    """Ask for open margin positions."""
    return _private("OpenPositions")


def trade_volume(names: Iterable[str]) -> RestRequest:
    """Ask for the account's fee tier on some pairs."""
    return _private("TradeVolume", pair=",".join(names))


def key_info() -> RestRequest:
    """Ask for the rights of the key."""
    return _private("GetApiKeyInfo")


def websocket_token() -> RestRequest:
    """Ask for a session token of the private websocket."""
    return _private("GetWebSocketsToken")
