"""hummingbot's Kraken order book: the text through `json`, its data source's `_parse_order_book_diff_message`, its compiled book.

It speaks websocket v1, so each v2 book message is written in v1 beforehand, not timed. It truncates nothing and verifies
nothing: at the depth of 1,000 that it subscribes to that shows little, in a recording of less depth its book goes wrong.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime
from typing import Any

import driver
import truth
from hummingbot.connector.exchange.kraken.kraken_api_order_book_data_source import KrakenAPIOrderBookDataSource
from hummingbot.core.data_type.order_book import OrderBook
from hummingbot.core.data_type.order_book_message import OrderBookMessageType


class Peer:
    """The data source, its queue, and the books by pair as the tracker keeps them."""

    PACKAGES = ("hummingbot",)
    DOES = driver.does("client", parse="json (v1)", book="compiled", checksum=False, truncation=False,
                       note="it subscribes to a depth of 1,000 and truncates nothing")

    def __init__(self, facts: driver.Facts) -> None:
        self._facts = facts
        self._source = KrakenAPIOrderBookDataSource([symbol.replace("/", "-") for symbol in facts.depths], None, None)
        self._books: dict[str, OrderBook] = {symbol.replace("/", ""): OrderBook() for symbol in facts.depths}
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._parse = self._source._parse_order_book_diff_message
        self._at_s = 0.0

    def prepare(self, text: bytes) -> str:
        """The same message in v1; heartbeats and acknowledgements have no list there."""
        book = truth.book_of(text)
        if book is None:
            return '{"event":"heartbeat"}'
        kind, data = book
        stamp = data.get("timestamp")
        if stamp is not None:
            self._at_s = datetime.fromisoformat(stamp).timestamp()
        suffix = "s" if kind == "snapshot" else ""
        levels = {name[0] + suffix: [[f"{level['price']:f}", f"{level['qty']:f}", f"{self._at_s:.6f}"] for level in data[name]]
                  for name in ("asks", "bids") if data[name]}
        depth, pair = self._facts.depths[data["symbol"]], data["symbol"].replace("BTC", "XBT")
        return json.dumps([0, levels | ({"c": str(data["checksum"])} if kind == "update" else {}), f"book-{depth}", pair])

    def feed(self, message: str) -> None:
        """Text to updated book, as the source and the tracker hand it on."""
        raw = json.loads(message)
        if self._source._channel_originating_message(raw) != self._source._diff_messages_queue_key:
            return
        driver.drive(self._parse(raw, self._queue))
        told = self._queue.get_nowait()
        book = self._books[told.trading_pair.replace("-", "")]
        apply = book.apply_snapshot if told.type is OrderBookMessageType.SNAPSHOT else book.apply_diffs
        apply(told.bids, told.asks, told.update_id)

    def top_ten(self, symbol: str) -> tuple[list[Any], list[Any]]:
        """Best ten levels of each side."""
        book = self._books[symbol.replace("/", "")]
        bids, asks = ([(entry.price, entry.amount) for entry, _ in zip(entries, range(10), strict=False)]
                      for entries in (book.bid_entries(), book.ask_entries()))
        return bids, asks


if __name__ == "__main__":
    sys.exit(driver.main(Peer))
