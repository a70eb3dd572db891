"""Messages of Kraken's futures websocket, read without loss of digits; what cannot be read is `Malformed`, never an error.

A message has an `event` (the connection, subscriptions, refusals) or a `feed` (data). Refusals name no request.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

from cstd.venue.fields import (
    FieldError,
    decimal_or_none,
    decode_json,
    int_or_none,
    mapping_of,
    required_int,
    required_text,
    text_of,
)
from cstd.venue.messages import Malformed, Unknown

# `subscribed_failed` is what some feeds answer in the place of an error.
REFUSALS = ("error", "alert", "subscribed_failed", "unsubscribed_failed")
TEXT_MAX = 200


class Greeting(msgspec.Struct, frozen=True):
    """The first message of a connection."""

    version: int


class Answer(msgspec.Struct, frozen=True):
    """A request was taken: of a feed, and where that has products, of them."""

    subscribed: bool
    feed: str
    products: tuple[str, ...]


class Refusal(msgspec.Struct, frozen=True):
    """A request was refused, or the venue warns; which request is not said."""

    text: str


class FuturesHeartbeat(msgspec.Struct, frozen=True):
    """The connection lives."""


class FuturesTicker(msgspec.Struct, frozen=True):
    """The state of one product. None: not told. A rate that the venue omits is zero.

    Attributes:
        pair: base and quote such as "XBT:USD", "" where it is not told. time_ms: the venue's.
        index: price of the spot market that the product follows. mark: price of the product.
        funding: paid by longs, a fraction of the position an hour. open_interest: contracts.
        seq: counts this product's messages; no ticker of 2026 has one.
    """

    product: str
    pair: str
    time_ms: int
    index: Decimal | None
    mark: Decimal | None
    funding: Decimal
    open_interest: Decimal | None
    seq: int | None


FuturesMessage: TypeAlias = Greeting | Answer | Refusal | FuturesHeartbeat | FuturesTicker | Malformed | Unknown


def decode_futures(frame: bytes) -> FuturesMessage:
    """Return the message of one frame; never raises."""
    try:
        document = mapping_of(decode_json(frame), "message")
    except FieldError as error:
        return Malformed(str(error))
    try:
        return _event(document) if "event" in document else _data(document)
    except FieldError as error:
        product = document.get("product_id")
        return Malformed(str(error), text_of(document.get("feed")), (product,) if isinstance(product, str) else ())


def _event(document: Mapping[str, Any]) -> FuturesMessage:
    event = text_of(document["event"])
    if event == "info":
        return Greeting(int_or_none(document, "version") or 0)
    if event in ("subscribed", "unsubscribed"):
        products = document.get("product_ids") or []
        if not isinstance(products, list) or not all(isinstance(product, str) for product in products):
            raise FieldError("product_ids is no list of names")
        return Answer(event == "subscribed", required_text(document, "feed"), tuple(products))
    if event in REFUSALS:
        return Refusal(text_of(document.get("message"))[:TEXT_MAX] or event)
    return Unknown(f"event {event}"[:TEXT_MAX])


def _data(document: Mapping[str, Any]) -> FuturesMessage:
    feed = required_text(document, "feed")
    if feed == "heartbeat":
        return FuturesHeartbeat()
    if feed != "ticker":
        return Unknown(f"feed {feed}"[:TEXT_MAX], feed)
    return FuturesTicker(
        required_text(document, "product_id"), text_of(document.get("pair")), required_int(document, "time"),
        decimal_or_none(document, "index"), decimal_or_none(document, "markPrice"),
        decimal_or_none(document, "relative_funding_rate") or Decimal(0), decimal_or_none(document, "openInterest"),
        int_or_none(document, "seq"))
