"""The matching engine's book: price-time priority over individual orders, int raw throughout.

A level is a queue of orders; only the displayed part of an order counts in the level's published quantity. An order whose
display is used up and that has a hidden rest is refilled at the end of its level's queue.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from zlib import crc32

BUY = 1
SELL = -1
CHECKSUM_LEVELS = 10


class Resting:
    """One order in a queue. `owner` is None for the exchange's other participants, else the account's order."""

    __slots__ = ("display_raw", "hidden_raw", "owner", "price_raw", "side", "visible_raw")

    def __init__(self, side: int, price_raw: int, qty_raw: int, *, owner: object = None, display_raw: int = 0) -> None:
        self.side = side
        self.price_raw = price_raw
        self.owner = owner
        self.display_raw = display_raw
        self.visible_raw = min(qty_raw, display_raw) if display_raw else qty_raw
        self.hidden_raw = qty_raw - self.visible_raw

    @property
    def leaves_raw(self) -> int:
        """Return the unfilled quantity, hidden part included."""
        return self.visible_raw + self.hidden_raw


@dataclass(slots=True)
class Match:
    """One execution against a resting order; `refilled` tells that the maker's display was renewed by it."""

    maker: Resting
    price_raw: int
    qty_raw: int
    refilled: bool = False


@dataclass(slots=True)
class Taken:
    """What a taker did: matches in order, what is left, and what self-trade prevention decided."""

    matches: list[Match] = field(default_factory=list)
    leaves_raw: int = 0
    stopped_by_self: bool = False
    makers_to_cancel: list[Resting] = field(default_factory=list)


class BookSide:
    """One side. `keys` are prices, negated for bids, ascending: the best is always first."""

    __slots__ = ("keys", "queues", "sign", "totals")

    def __init__(self, side: int) -> None:
        self.sign = -1 if side == BUY else 1
        self.keys: list[int] = []
        self.queues: dict[int, dict[Resting, None]] = {}
        self.totals: dict[int, int] = {}

    def best_raw(self) -> int | None:
        """Return the best price, or None if the side is empty."""
        return self.sign * self.keys[0] if self.keys else None

    def prices(self, count: int) -> list[int]:
        """Return up to `count` best prices, best first."""
        sign = self.sign
        return [sign * key for key in self.keys[:count]]

    def rank(self, price_raw: int) -> int:
        """Return how many levels are better than `price_raw`."""
        return bisect_left(self.keys, self.sign * price_raw)

    def add(self, order: Resting) -> None:
        """Put `order` at the end of its level's queue."""
        price_raw = order.price_raw
        queue = self.queues.get(price_raw)
        if queue is None:
            self.queues[price_raw] = {order: None}
            self.totals[price_raw] = order.visible_raw
            insort(self.keys, self.sign * price_raw)
        else:
            queue[order] = None
            self.totals[price_raw] += order.visible_raw

    def remove(self, order: Resting) -> None:
        """Take `order` out of its level."""
        price_raw = order.price_raw
        queue = self.queues[price_raw]
        del queue[order]
        self.totals[price_raw] -= order.visible_raw
        if not queue:
            self._drop_level(price_raw)

    def _drop_level(self, price_raw: int) -> None:
        del self.queues[price_raw]
        del self.totals[price_raw]
        del self.keys[bisect_left(self.keys, self.sign * price_raw)]

    def fill(self, order: Resting, qty_raw: int) -> bool:
        """Execute `qty_raw` of `order`'s display; return True if the display was refilled from its hidden part."""
        order.visible_raw -= qty_raw
        self.totals[order.price_raw] -= qty_raw
        if order.visible_raw:
            return False
        queue = self.queues[order.price_raw]
        del queue[order]
        if order.hidden_raw:
            order.visible_raw = min(order.hidden_raw, order.display_raw)
            order.hidden_raw -= order.visible_raw
            queue[order] = None
            self.totals[order.price_raw] += order.visible_raw
            return True
        if not queue:
            self._drop_level(order.price_raw)
        return False

    def orders(self, price_raw: int) -> list[Resting]:
        """Return the orders of a level in priority order; empty if there is no such level."""
        return list(self.queues.get(price_raw, ()))


class Book:
    """Both sides of one instrument. The caller validates; the book matches."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = BookSide(BUY)
        self.asks = BookSide(SELL)

    def side(self, side: int) -> BookSide:
        """Return the side on which orders of `side` rest."""
        return self.bids if side == BUY else self.asks

    def crosses(self, side: int, limit_raw: int) -> bool:
        """Return True if an order of `side` at `limit_raw` would take."""
        best_raw = self.side(-side).best_raw()
        return best_raw is not None and (best_raw - limit_raw) * side <= 0

    def rest(self, order: Resting) -> None:
        """Put `order` in the book; it must not cross."""
        self.side(order.side).add(order)

    def cancel(self, order: Resting) -> None:
        """Take `order` out of the book."""
        self.side(order.side).remove(order)

    def reachable(self, side: int, limit_raw: int | None) -> Iterator[Resting]:
        """Yield the resting orders a taker of `side` would meet, in priority order."""
        opposite = self.side(-side)
        for key in list(opposite.keys):
            price_raw = opposite.sign * key
            if limit_raw is not None and (price_raw - limit_raw) * side > 0:
                return
            yield from opposite.orders(price_raw)

    def fillable_raw(self, side: int, limit_raw: int | None, qty_raw: int, *, own: bool) -> int:
        """Return how much of `qty_raw` a taker would get at once; an `own` taker meets no owned order."""
        found_raw = 0
        for order in self.reachable(side, limit_raw):
            if own and order.owner is not None:
                continue
            found_raw += order.leaves_raw
            if found_raw >= qty_raw:
                return qty_raw
        return found_raw

    def take(
        self, side: int, limit_raw: int | None, qty_raw: int, *, owner: object = None, stp: str = "cancel_newest"
    ) -> Taken:
        """Match a taker of `side` down to `limit_raw` (None: any price); what is left is returned, not rested.

        Self-trade prevention applies when both sides have an owner: `cancel_newest` stops the taker, `cancel_oldest` removes
        the maker and goes on, `cancel_both` removes the maker and stops.
        """
        opposite = self.side(-side)
        taken = Taken(leaves_raw=qty_raw)
        while taken.leaves_raw and opposite.keys:
            price_raw = opposite.sign * opposite.keys[0]
            if limit_raw is not None and (price_raw - limit_raw) * side > 0:
                break
            maker = next(iter(opposite.queues[price_raw]))
            if owner is not None and maker.owner is not None:
                if stp != "cancel_newest":
                    opposite.remove(maker)
                    taken.makers_to_cancel.append(maker)
                if stp == "cancel_oldest":
                    continue
                taken.stopped_by_self = True
                break
            fill_raw = min(taken.leaves_raw, maker.visible_raw)
            taken.leaves_raw -= fill_raw
            taken.matches.append(Match(maker, price_raw, fill_raw, opposite.fill(maker, fill_raw)))
        return taken

    def checksum(self) -> int:
        """Return Kraken's CRC32 over the ten best asks, then the ten best bids."""
        tokens: list[str] = []
        for side in (self.asks, self.bids):
            totals = side.totals
            tokens += [f"{price_raw}{totals[price_raw]}" for price_raw in side.prices(CHECKSUM_LEVELS)]
        return crc32("".join(tokens).encode())
