"""NautilusTrader's compiled book as far as Python reaches it: a typed msgspec decoder, deltas, `OrderBook.apply`.

Its own Kraken socket is compiled and takes frames only from a network, so parser and loop are put together here. The
book has no depth: levels that fall out of the subscribed one are deleted by deltas of our own.
"""

from __future__ import annotations

import sys
from typing import Any

import driver
import msgspec
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas
from nautilus_trader.model.enums import BookAction, BookType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price, Quantity


class Level(msgspec.Struct, gc=False):
    """A price level."""

    price: float
    qty: float


class Data(msgspec.Struct, gc=False):
    """One instrument's levels."""

    symbol: str
    bids: list[Level]
    asks: list[Level]


class Message(msgspec.Struct, gc=False):
    """Any message; only those of the channel book have data of this shape."""

    channel: str = ""
    type: str = ""
    data: msgspec.Raw = msgspec.Raw()


class _Held:
    """A book, and the prices in it by side: what truncation needs without a walk through the book."""

    def __init__(self, symbol: str, depth: int, digits: tuple[int, int]) -> None:
        self.instrument = InstrumentId.from_str(symbol.replace("/", "") + ".KRAKEN")
        self.depth, (self.price_digits, self.qty_digits) = depth, digits
        self.clear()

    def clear(self) -> None:
        self.book = OrderBook(self.instrument, BookType.L2_MBP)
        self.prices: dict[OrderSide, set[float]] = {OrderSide.BUY: set(), OrderSide.SELL: set()}

    def delta(self, side: OrderSide, price: float, qty: float) -> OrderBookDelta:
        order = BookOrder(side, Price(price, self.price_digits), Quantity(qty, self.qty_digits), 0)
        return OrderBookDelta(self.instrument, BookAction.UPDATE if qty else BookAction.DELETE, order, 0, 0, 0, 0)

    def deltas(self, data: Data) -> list[OrderBookDelta]:
        out = []
        for side, levels in ((OrderSide.BUY, data.bids), (OrderSide.SELL, data.asks)):
            prices = self.prices[side]
            for level in levels:
                (prices.add if level.qty else prices.discard)(level.price)
                out.append(self.delta(side, level.price, level.qty))
            while len(prices) > self.depth:
                worst = min(prices) if side == OrderSide.BUY else max(prices)
                prices.remove(worst)
                out.append(self.delta(side, worst, 0.0))
        return out


class Peer:
    """Books by symbol."""

    PACKAGES = ("nautilus-trader", "msgspec")
    DOES = driver.does("parts", parse="msgspec, typed, numbers as float", book="compiled", checksum=False, truncation=True)

    def __init__(self, facts: driver.Facts) -> None:
        self._held = {symbol: _Held(symbol, depth, facts.digits[symbol]) for symbol, depth in facts.depths.items()}
        self._message = msgspec.json.Decoder(Message).decode
        self._data = msgspec.json.Decoder(list[Data]).decode

    def prepare(self, text: bytes) -> bytes:
        """A decoder takes bytes."""
        return text

    def feed(self, message: bytes) -> None:
        """Bytes to updated book."""
        head = self._message(message)
        if head.channel != "book":
            return
        for data in self._data(head.data):
            held = self._held[data.symbol]
            if head.type == "snapshot":
                held.clear()
            held.book.apply(OrderBookDeltas(held.instrument, held.deltas(data)))

    def top_ten(self, symbol: str) -> tuple[list[Any], list[Any]]:
        """Best ten levels of each side."""
        book = self._held[symbol].book
        bids, asks = ([(level.price.as_decimal(), sum(order.size.as_decimal() for order in level.orders()))
                       for level in side[:10]] for side in (book.bids(), book.asks()))
        return bids, asks


if __name__ == "__main__":
    sys.exit(driver.main(Peer))
