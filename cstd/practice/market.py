"""One instrument's market: book, tape, candles. Every execution goes through here, so the tape and candles are complete."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from cstd.practice.history import Bar, Candles
from cstd.practice.instruments import Instrument
from cstd.practice.matching import Book, Match, Resting, Taken
from cstd.practice.wire import NS_PER_S

TAPE_MAX = 1000
STATUSES = (
    "online",
    "cancel_only",
    "post_only",
    "limit_only",
    "maintenance",
    "reduce_only",
    "delisted",
    "work_in_progress",
)


@dataclass(frozen=True, slots=True)
class Trade:
    """One print of the tape; `side` is the taker's."""

    trade_id: int
    price_raw: int
    qty_raw: int
    side: int
    ord_type: str
    wall_ns: int


class Market:
    """Book, tape and candles of one instrument.

    `on_maker(match, trade)` is called for every execution of an owned resting order; `on_publish(market, trades, wall_ns)` once
    per finished action, with the trades since the last one.
    """

    def __init__(self, instrument: Instrument, history: dict[int, list[Bar]], *, first_trade_id: int) -> None:
        self.instrument = instrument
        self.book = Book()
        self.candles = Candles(history)
        self.tape: deque[Trade] = deque(maxlen=TAPE_MAX)
        self.last_raw = instrument.start_raw
        self.status = "online"
        self.raw_depth = 0  # the depth at which `raw_text` is the update, byte for byte; 0: every depth is written here
        self.raw_text: str | None = None
        self.on_maker: Callable[[Match, Trade], None] | None = None
        self.on_publish: list[Callable[[Market, list[Trade], int], None]] = []
        self._next_trade_id = first_trade_id
        self._unpublished: list[Trade] = []

    def execute(
        self,
        side: int,
        limit_raw: int | None,
        qty_raw: int,
        wall_ns: int,
        *,
        ord_type: str = "market",
        owner: object = None,
        stp: str = "cancel_newest",
    ) -> tuple[Taken, list[Trade]]:
        """Match a taker, print its trades, tell owners of makers; return what was taken and the trades in order."""
        taken = self.book.take(side, limit_raw, qty_raw, owner=owner, stp=stp)
        trades = []
        for match in taken.matches:
            trade = self.print_trade(side, match.price_raw, match.qty_raw, wall_ns, ord_type)
            trades.append(trade)
            if match.maker.owner is not None and self.on_maker is not None:
                self.on_maker(match, trade)
        return taken, trades

    def print_trade(self, side: int, price_raw: int, qty_raw: int, wall_ns: int, ord_type: str) -> Trade:
        """Put one trade on the tape and into the candles."""
        trade = Trade(self._next_trade_id, price_raw, qty_raw, side, ord_type, wall_ns)
        self._next_trade_id += 1
        self.tape.append(trade)
        self._unpublished.append(trade)
        self.last_raw = price_raw
        self.candles.add(price_raw, qty_raw, wall_ns // NS_PER_S)
        return trade

    @property
    def published(self) -> Book:
        """Return the book that market data shows; here the one that is matched against."""
        return self.book

    def rest(self, order: Resting) -> None:
        """Put an order in the book; it must not cross."""
        self.book.rest(order)

    def cancel(self, order: Resting) -> None:
        """Take a resting order out."""
        self.book.cancel(order)

    def shrink(self, order: Resting, leaves_raw: int) -> None:
        """Reduce a resting order without display quantity to `leaves_raw`; it keeps its place."""
        side = self.book.side(order.side)
        side.totals[order.price_raw] -= order.visible_raw - leaves_raw
        order.visible_raw = leaves_raw

    def publish(self, wall_ns: int) -> None:
        """An action is complete: tell whoever listens."""
        trades, self._unpublished = self._unpublished, []
        for listener in self.on_publish:
            listener(self, trades, wall_ns)
