"""The closed list of frames that Python may send: subscribe, unsubscribe, ping, cancel_all_orders_after.

The link asks `is_control` about every frame that does not come from the compiled gateway. The frame is parsed with
duplicate keys refused, because a later duplicate of "method" could turn a ping into an order for a lenient reader.
"""

from __future__ import annotations

import json
from typing import Any

# Orders carry req_ids from 1 up; control frames of the private socket start here, so a reply tells its kind by itself.
# Below 2^31, in case a peer keeps req_id in an int32.
CONTROL_REQ_ID_FIRST = 1_500_000_000
FRAME_BYTES_MAX = 65_536
TOKEN_PLACE = b'"token":""'

FUTURES_FEEDS = ("ticker", "heartbeat")

_SUBSCRIBE_KEYS = frozenset({
    "channel", "symbol", "depth", "snapshot", "event_trigger", "interval", "snap_orders", "snap_trades", "order_status",
    "ratecounter", "token",
})
_PARAMS: dict[str, frozenset[str]] = {
    "subscribe": _SUBSCRIBE_KEYS,
    "unsubscribe": _SUBSCRIBE_KEYS,
    "ping": frozenset(),
    "cancel_all_orders_after": frozenset({"timeout", "token"}),
}


def is_control(frame: bytes) -> bool:
    """Tell whether a frame is one of the four control requests with known fields only and no token in it yet."""
    if len(frame) > FRAME_BYTES_MAX:
        return False
    try:
        document = json.loads(frame.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, dict) or not document.keys() <= {"method", "params", "req_id"}:
        return False
    method, params = document.get("method"), document.get("params", {})
    if not isinstance(method, str) or method not in _PARAMS or not isinstance(params, dict):
        return False
    req_id = document.get("req_id", 0)
    if not isinstance(req_id, int) or isinstance(req_id, bool):
        return False
    return params.keys() <= _PARAMS[method] and params.get("token", "") == ""


def is_futures_control(frame: bytes) -> bool:
    """Tell whether a frame is a request that the futures feed may get: to (un)subscribe one of two public feeds, no more."""
    if len(frame) > FRAME_BYTES_MAX:
        return False
    try:
        document = json.loads(frame.decode("utf-8"), object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, dict) or not document.keys() <= {"event", "feed", "product_ids"}:
        return False
    products = document.get("product_ids", [])
    return (document.get("event") in ("subscribe", "unsubscribe") and document.get("feed") in FUTURES_FEEDS
            and isinstance(products, list) and all(isinstance(product, str) for product in products))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object of JSON, refusing a repeated key."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("repeated key")
    return document
