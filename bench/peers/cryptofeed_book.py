"""cryptofeed's Kraken feed: `message_handler` with its checksum validation on, one callback that does nothing."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import driver
from cryptofeed.defines import L2_BOOK
from cryptofeed.exchanges import Kraken
from cryptofeed.symbols import Symbols


class Peer:
    """The feed, its books by symbol."""

    PACKAGES = ("cryptofeed", "order-book")
    DOES = driver.does("client", parse="msgspec, numbers as Decimal", book="C extension", checksum=True, truncation=True)

    def __init__(self, facts: driver.Facts) -> None:
        names = {symbol: symbol.replace("/", "-") for symbol in facts.depths}
        self._names = names
        Symbols.set("KRAKEN", {std: native for native, std in names.items()},
                    {"instrument_type": dict.fromkeys(names.values(), "spot")})
        self._feed = Kraken(symbols=list(names.values()), channels=[L2_BOOK], callbacks={L2_BOOK: self._on_book},
                            max_depth=max(facts.depths.values()), checksum_validation=True)
        self._handler = self._feed.message_handler
        self._conn = SimpleNamespace(uuid="bench", subscription={})

    async def _on_book(self, book: Any, received: float) -> None:
        pass

    def prepare(self, text: bytes) -> str:
        """Its websocket hands over text."""
        return text.decode()

    def feed(self, message: str) -> None:
        """Raises BadChecksum."""
        driver.drive(self._handler(message, self._conn, 0.0))

    def top_ten(self, symbol: str) -> tuple[list[Any], list[Any]]:
        """Best ten levels of each side."""
        book = self._feed._l2_book[self._names[symbol]].book
        return book.bids.to_list()[:10], book.asks.to_list()[:10]


if __name__ == "__main__":
    sys.exit(driver.main(Peer))
