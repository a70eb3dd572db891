"""Kraken's websocket v1 in the shape of v2, for replaying old recordings. Never for a live socket.

Book and trade messages become v2 messages whose numbers have exactly the digits that v1 sent as strings, so that
a pair's precision is still the number of its digits and the v1 checksum verifies as a v2 checksum: its tokens are
the same digits without point and leading zeros. Acknowledgements of a book keep its depth, by which the book is
truncated. What has no v2 counterpart here (ticker, spread, ohlc) is left out and counted by name.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec

from cstd.errors import VerificationError

# v1 and the futures keep the names of ISO 4217-A3; v2 has those of everybody else.
_ASSETS = {"XBT": "BTC", "XDG": "DOGE"}
_NUMBER = re.compile(r"(?:0|[1-9]\d*)(?:\.\d+)?")
_INTEGER = re.compile(r"\d+")
_SIDES = {"b": "buy", "s": "sell"}
_ORDER_TYPES = {"l": "limit", "m": "market"}
_UINT32_MAX = (1 << 32) - 1
_PAYLOADS_MAX = 2


def v2_name(pair: str) -> str:
    """Return the v2 name of a v1 pair: XBT/USD is BTC/USD."""
    return "/".join(_ASSETS.get(asset, asset) for asset in pair.split("/"))


class V1Dialect:
    """Translates one recorded stream; `left_out` counts what has no counterpart, by channel or event."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()

    def translate(self, text: bytes) -> bytes | None:
        """Return one v1 message as one v2 message, or None when it is left out.

        Raises VerificationError when the text is no v1 message.
        """
        try:
            message = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _malformed(f"not JSON ({error})", text) from None
        if isinstance(message, dict):
            return self._event(message, text)
        if not isinstance(message, list) or len(message) < 4 or not all(isinstance(x, str) for x in message[-2:]):
            raise _malformed("neither an event nor channel data", text)
        channel, pair = message[-2], v2_name(message[-1])
        if channel.startswith("book-"):
            return _book(message[1:-2], pair, text)
        if channel == "trade":
            return _trades(message[1], pair, text)
        self.left_out[channel.partition("-")[0]] += 1
        return None

    def _event(self, message: dict[str, Any], text: bytes) -> bytes | None:
        event = message.get("event")
        if event == "heartbeat":
            return b'{"channel":"heartbeat"}'
        subscription = message.get("subscription")
        if event == "subscriptionStatus" and isinstance(subscription, dict) and subscription.get("name") == "book":
            return _book_acknowledgement(message, subscription, text)
        if not isinstance(event, str):
            raise _malformed("an object without an event", text)
        self.left_out[event] += 1
        return None


def _book_acknowledgement(message: dict[str, Any], subscription: dict[str, Any], text: bytes) -> bytes | None:
    pair, status = message.get("pair"), message.get("status")
    if not isinstance(pair, str):
        raise _malformed("an acknowledgement without its pair", text)
    if status == "error":
        reason = str(message.get("errorMessage"))
        return msgspec.json.encode({"method": "subscribe", "success": False, "symbol": v2_name(pair), "error": reason})
    result = {"channel": "book", "depth": subscription.get("depth"), "snapshot": True, "symbol": v2_name(pair)}
    method = "subscribe" if status == "subscribed" else "unsubscribe"
    return msgspec.json.encode({"method": method, "result": result, "success": True})


def _book(payloads: list[Any], pair: str, text: bytes) -> bytes:
    """Both sides of a change come as one dictionary or as two, of which the last has the checksum."""
    if not 1 <= len(payloads) <= _PAYLOADS_MAX or not all(isinstance(payload, dict) for payload in payloads):
        raise _malformed("a book message has one or two dictionaries", text)
    merged = {key: value for payload in payloads for key, value in payload.items()}
    snapshot = "as" in merged or "bs" in merged
    bids, asks = (merged.get(key + "s" if snapshot else key, []) for key in "ba")
    fields = [
        f'"symbol":{_quoted(pair)}',
        f'"bids":[{_levels(bids, text)}]',
        f'"asks":[{_levels(asks, text)}]',
    ]
    if not snapshot:
        fields.append(f'"checksum":{_checksum(merged.get("c"), text)}')
    fields.append(f'"timestamp":"{_newest([*bids, *asks], text)}"')
    kind = "snapshot" if snapshot else "update"
    return f'{{"channel":"book","type":"{kind}","data":[{{{",".join(fields)}}}]}}'.encode()


def _levels(levels: Any, text: bytes) -> str:
    if not isinstance(levels, list) or not all(isinstance(level, list) and 3 <= len(level) <= 4 for level in levels):
        raise _malformed("a level is [price, volume, time] or has a fourth field", text)
    return ",".join(f'{{"price":{_number(level[0], text)},"qty":{_number(level[1], text)}}}' for level in levels)


def _newest(levels: list[Any], text: bytes) -> str:
    """Return the newest level's time. A republished level ("r") has the time of its last change, which is old."""
    times = [level[2] for level in levels if len(level) == 3] or [level[2] for level in levels]
    if not times:
        raise _malformed("a book message without a level", text)
    for time in times:
        _number(time, text)
    return _rfc3339(max(times, key=_time_key))


def _time_key(seconds: str) -> tuple[int, str]:
    whole, _, fraction = seconds.partition(".")
    return int(whole), fraction


def _trades(trades: Any, pair: str, text: bytes) -> bytes:
    """v1 trades carry no trade id, and none is made up."""
    if not isinstance(trades, list) or not all(isinstance(trade, list) and len(trade) >= 5 for trade in trades):
        raise _malformed("a trade is [price, volume, time, side, order type, misc]", text)
    rows = []
    for price, volume, time, side, order_type, *_ in trades:
        _number(time, text)
        if side not in _SIDES or order_type not in _ORDER_TYPES:
            raise _malformed(f"a trade's side and order type are {side!r} and {order_type!r}", text)
        rows.append(
            f'{{"symbol":{_quoted(pair)},"side":"{_SIDES[side]}","price":{_number(price, text)},'
            f'"qty":{_number(volume, text)},"ord_type":"{_ORDER_TYPES[order_type]}",'
            f'"timestamp":"{_rfc3339(time)}"}}')
    return f'{{"channel":"trade","type":"update","data":[{",".join(rows)}]}}'.encode()


def _number(value: Any, text: bytes) -> str:
    """Return the digits as sent; they go unquoted into JSON, so nothing but a plain number may pass."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value) is None:
        raise _malformed(f"{value!r} is no decimal number", text)
    return value


def _checksum(value: Any, text: bytes) -> int:
    if not isinstance(value, str) or _INTEGER.fullmatch(value) is None or int(value) > _UINT32_MAX:
        raise _malformed(f"the checksum is {value!r}", text)
    return int(value)


def _quoted(name: str) -> str:
    return msgspec.json.encode(name).decode()


def _rfc3339(seconds: str) -> str:
    """Return unix seconds as RFC 3339 with the fraction's digits as they are."""
    whole, _, fraction = seconds.partition(".")
    moment = datetime.fromtimestamp(int(whole), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{moment}.{fraction}Z" if fraction else f"{moment}Z"


def _malformed(what: str, text: bytes) -> VerificationError:
    return VerificationError(f"not a v1 message: {what}: {text[:120]!r}")
