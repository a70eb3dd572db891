"""python-kraken-sdk's SpotOrderBookClient: the text through `json`, as its connector does, then `on_message`.

Its lookup of an instrument's digits over REST, once an instrument, answers from the recording; resubscription after a bad
checksum is taken as the refusal that it is.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import driver
from kraken.spot import SpotOrderBookClient


class RefusedError(Exception):
    """The client wants to resubscribe."""


class _Client(SpotOrderBookClient):
    async def on_book_update(self, pair: str, message: dict[str, Any]) -> None:
        pass

    async def remove_book(self, pairs: list[str]) -> None:
        raise RefusedError(pairs)


class _Market:
    """Answers what the client asks over REST."""

    def __init__(self, digits: dict[str, tuple[int, int]]) -> None:
        self._digits = digits

    def get_asset_pairs(self, pair: str) -> dict[str, Any]:
        """The digits of prices and quantities."""
        price, qty = self._digits[pair]
        return {pair: {"pair_decimals": price, "lot_decimals": qty}}


class Peer:
    """The client and its books."""

    PACKAGES = ("python-kraken-sdk",)
    DOES = driver.does("client", parse="json", book="sorted dictionaries of text", checksum=True, truncation=True)

    def __init__(self, facts: driver.Facts) -> None:
        self._client = asyncio.run(self._make(max(facts.depths.values())))
        self._client._SpotOrderBookClient__market = _Market(facts.digits)
        self._on_message = self._client.on_message

    async def _make(self, depth: int) -> _Client:
        return _Client(depth=depth)  # it opens an HTTP session, which wants a running loop

    def prepare(self, text: bytes) -> str:
        """Its websocket hands over text."""
        return text.decode()

    def feed(self, message: str) -> None:
        """Raises RefusedError when the client found the checksum wrong."""
        driver.drive(self._on_message(json.loads(message)))

    def top_ten(self, symbol: str) -> tuple[list[Any], list[Any]]:
        """Best ten levels of each side."""
        book = self._client.get(pair=symbol)
        bids, asks = ([(price, qty) for price, (qty, _) in list(book[side].items())[:10]] for side in ("bid", "ask"))
        return bids, asks


if __name__ == "__main__":
    sys.exit(driver.main(Peer))
