"""hftbacktest's market depth: its backtest elapses from message to message.

It replays arrays of events and has no wire side in Python, so the messages are made into events before anything is timed,
what each changes in the truncated book. Timed is `elapse` to the next message's time, which
keeps two books as always there: the exchange's and the local one.
"""

from __future__ import annotations

import sys
from typing import Any

import driver
import numpy as np
import truth
from hftbacktest import (
    BUY_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
    event_dtype,
)
from numba import njit

STEP_NS = 1_000_000
PASSES_MAX = 24
TICKS_MAX = 1_000_000


@njit
def _levels(depth: Any, sign: int, n: int, ticks_max: int) -> Any:
    out = np.zeros((n, 2))
    tick = depth.best_bid_tick if sign > 0 else depth.best_ask_tick
    found = 0
    for _ in range(ticks_max):
        qty = depth.bid_qty_at_tick(tick) if sign > 0 else depth.ask_qty_at_tick(tick)
        if qty > 0:
            out[found, 0] = tick
            out[found, 1] = qty
            found += 1
            if found == n:
                break
        tick -= sign
    return out[:found]


class _Converter:
    """Events of one pass over the messages, by symbol; rows are (kind, side, time, price, qty)."""

    def __init__(self, depths: dict[str, int]) -> None:
        self.rows: dict[str, list[tuple[int, int, float, float]]] = {symbol: [] for symbol in depths}
        self._books = {symbol: truth.TruthBook(depth) for symbol, depth in depths.items()}

    def take(self, kind: str, data: dict[str, Any], at: int) -> None:
        book = self._books[data["symbol"]]
        before = {name: dict(side) for name, side in book.sides.items()}
        book.apply(kind, data)
        rows: list[tuple[int, int, float, float]] = []
        for name, flag in (("bids", BUY_EVENT), ("asks", SELL_EVENT)):
            old, new = before[name], book.sides[name]
            if kind == "snapshot":
                rows.append((DEPTH_CLEAR_EVENT | flag, at, float((min if name == "bids" else max)(old or [0])), 0.0))
                rows.extend((DEPTH_SNAPSHOT_EVENT | flag, at, float(price), float(qty)) for price, qty in new.items())
            else:
                changed = (price for price in old.keys() | new.keys() if old.get(price) != new.get(price))
                rows.extend((DEPTH_EVENT | flag, at, float(price), float(new.get(price, 0))) for price in changed)
        # A level that would cross one still to be removed makes it lose its best price: removals come first.
        self.rows[data["symbol"]].extend(rows if kind == "snapshot" else sorted(rows, key=lambda row: row[3] > 0))


class Peer:
    """The backtest, an asset by symbol."""

    PACKAGES = ("hftbacktest", "numba")
    DOES = driver.does("parts", parse="none: events made beforehand from truncated books", book="compiled, two",
                       checksum=False, truncation=False)

    def __init__(self, facts: driver.Facts) -> None:
        self._facts = facts
        self._scale = {symbol: 10**price for symbol, (price, _) in facts.digits.items()}
        self._kept: list[Any] = []  # the backtest reads the arrays where they lie
        converter, books = _Converter(facts.depths), 0
        for text in facts.frames:
            book = truth.book_of(text)
            if book:
                books += 1
                converter.take(*book, books)
        self._backtest = HashMapMarketDepthBacktest([self._asset(symbol, rows, books) for symbol, rows in converter.rows.items()])
        self._assets = {symbol: number for number, symbol in enumerate(converter.rows)}
        self._elapse, self._step_ns = self._backtest.elapse, 0

    def _asset(self, symbol: str, rows: list[tuple[int, int, float, float]], books: int) -> Any:
        price_digits, qty_digits = self._facts.digits[symbol]
        one = np.zeros(len(rows), event_dtype)
        events, at, one["px"], one["qty"] = (np.array(column) for column in zip(*rows, strict=True))
        one["ev"] = events.astype(np.uint64) | EXCH_EVENT | LOCAL_EVENT
        data = np.tile(one, PASSES_MAX)
        numbers = (np.arange(PASSES_MAX)[:, None] * books + at[None, :]).ravel()
        data["exch_ts"] = data["local_ts"] = numbers * STEP_NS
        self._kept.append(data)
        return (BacktestAsset().data([data]).linear_asset(1.0).constant_order_latency(0, 0).risk_adverse_queue_model()
                .no_partial_fill_exchange().trading_value_fee_model(0.0, 0.0)
                .tick_size(10.0**-price_digits).lot_size(10.0**-qty_digits).last_trades_capacity(0))

    def prepare(self, text: bytes) -> bool:
        """Whether a message is a book message: the others have no event."""
        return truth.book_of(text) is not None

    def feed(self, message: bool) -> None:
        """To the time of the next book message. The first call begins at the first event's own time."""
        if not message:
            return
        if self._elapse(self._step_ns) != 0:
            raise RuntimeError("the events are at their end")
        self._step_ns = STEP_NS

    def top_ten(self, symbol: str) -> tuple[list[Any], list[Any]]:
        """Best ten levels of each side."""
        depth = self._backtest.depth(self._assets[symbol])
        digits = self._facts.digits[symbol]
        bids, asks = ([(round(tick) / self._scale[symbol], round(qty, digits[1])) for tick, qty in
                       _levels(depth, sign, truth.TOP, TICKS_MAX)] for sign in (1, -1))
        return bids, asks


if __name__ == "__main__":
    sys.exit(driver.main(Peer))
