"""ccxt.pro's Kraken: the text as its websocket client hands it on (orjson is there), `handle_order_book`, futures resolved.

Its checksum option stays as it ships: off.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import ccxt.pro
import driver
from ccxt.async_support.base.ws.client import Client


class Peer:
    """The exchange object, its websocket client and books."""

    PACKAGES = ("ccxt", "orjson")
    DOES = driver.does("client", parse="orjson, numbers as float", book="sorted lists", checksum=False, truncation=True)

    def __init__(self, facts: driver.Facts) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._exchange = ccxt.pro.kraken()
        self._client = self._loop.run_until_complete(self._make())
        for symbol, depth in facts.depths.items():
            self._client.subscriptions[self._exchange.get_message_hash("orderbook", None, symbol)] = {"limit": depth}
        self._take = self._client.handle_text_or_binary_message

    async def _make(self) -> Client:
        def ignore(*_: Any) -> None:
            pass

        return Client("ws://localhost", self._exchange.handle_message, ignore, ignore, ignore)

    def prepare(self, text: bytes) -> str:
        """Its websocket hands over text."""
        return text.decode()

    def feed(self, message: str) -> None:
        """Text to updated book."""
        self._take(message)

    def top_ten(self, symbol: str) -> tuple[list[Any], list[Any]]:
        """Best ten levels of each side."""
        book = self._exchange.orderbooks[symbol]
        return list(book["bids"][:10]), list(book["asks"][:10])


if __name__ == "__main__":
    sys.exit(driver.main(Peer))
