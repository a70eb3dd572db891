"""The C order book of cryptofeed's author, with its own Kraken checksum, behind a typed msgspec decoder.

No client ships this: the parser and the loop are put together here, as fast as Python can with these two parts. It shows
what an own daemon out of such parts would cost.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import Any

import driver
import msgspec
from order_book import OrderBook


class Level(msgspec.Struct, gc=False):
    """A price level; Decimal keeps the digits, which the checksum is made of."""

    price: Decimal
    qty: Decimal


class Data(msgspec.Struct, gc=False):
    """One instrument's levels."""

    symbol: str
    bids: list[Level]
    asks: list[Level]
    checksum: int


class Message(msgspec.Struct, gc=False):
    """Any message; only those of the channel book have data of this shape."""

    channel: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw()


class Peer:
    """Books by symbol."""

    PACKAGES = ("order-book", "msgspec")
    DOES = driver.does("parts", parse="msgspec, typed, numbers as Decimal", book="C extension", checksum=True, truncation=True)

    def __init__(self, facts: driver.Facts) -> None:
        self._depths = facts.depths
        self._books: dict[str, OrderBook] = {}
        self._message = msgspec.json.Decoder(Message).decode
        self._data = msgspec.json.Decoder(list[Data]).decode

    def prepare(self, text: bytes) -> bytes:
        """A decoder takes bytes."""
        return text

    def feed(self, message: bytes) -> None:
        """Raises ValueError on a checksum that differs."""
        head = self._message(message)
        if head.channel != "book":
            return
        for data in self._data(head.data):
            if head.type == "snapshot":
                book = self._books[data.symbol] = OrderBook(max_depth=self._depths[data.symbol], max_depth_strict=True,
                                                            checksum_format="KRAKEN")
            else:
                book = self._books[data.symbol]
            for side, levels in ((book.bids, data.bids), (book.asks, data.asks)):
                for level in levels:
                    if level.qty:
                        side[level.price] = level.qty
                    elif level.price in side:
                        del side[level.price]
            if book.checksum() != data.checksum:
                raise ValueError(f"{data.symbol}: checksum")

    def top_ten(self, symbol: str) -> tuple[list[Any], list[Any]]:
        """Best ten levels of each side."""
        book = self._books[symbol]
        return book.bids.to_list()[:10], book.asks.to_list()[:10]


if __name__ == "__main__":
    sys.exit(driver.main(Peer))
