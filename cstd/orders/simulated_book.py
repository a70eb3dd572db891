"""The book that the simulated venue matches on: the levels of Kraken's own frames, less what we took of them.

Prices and quantities are raw integers. The book is believed while each frame's checksum agrees; after one that does not, it
shows nothing until the next snapshot.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from cstd.units import to_raw
from cstd.venue.messages import BookMessage, InstrumentSpec

BUY, SELL = 1, -1
CHECKSUM_LEVELS = 10


class SimulatedBook:
    """One instrument's levels.

    Attributes:
        spec: its trading rules. depth: levels per side that the feed was subscribed to.
        verified: the last frame's checksum agreed, or the levels were loaded from a book that is verified.
        lost: a checksum did not agree, or nothing has come yet; only a snapshot helps.
        taken: what we took of a level and nobody has put back, by (side, price): a frame that names the level ends it.
    """

    def __init__(self, spec: InstrumentSpec, depth: int) -> None:
        self.spec = spec
        self.depth = depth
        self.verified = False
        self.lost = True
        self.taken: dict[tuple[int, int], int] = {}
        self._sides: dict[int, dict[int, int]] = {BUY: {}, SELL: {}}

    def load(self, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]], *, verified: bool) -> None:
        """Take the levels (price_raw, qty_raw) of a book that another keeps from the same frames."""
        self._sides = {BUY: dict(bids), SELL: dict(asks)}
        self.verified, self.lost = verified, not verified
        self.taken.clear()

    def apply(self, message: BookMessage) -> None:
        """Apply one snapshot or update, and believe the book or not by its checksum; without one nothing is believed yet."""
        if self.lost and not message.snapshot:
            return
        self.verified = self.lost = False
        if message.snapshot:
            self._sides = {BUY: {}, SELL: {}}
            self.taken.clear()
        try:
            for side, levels in ((BUY, message.bids), (SELL, message.asks)):
                for price, qty in levels:
                    self._put(side, to_raw(price, self.spec.price_precision), to_raw(qty, self.spec.qty_precision))
        except ValueError:
            self.lost = True
            return
        self._truncate()
        if message.checksum is not None:
            self.verified = message.checksum == self.checksum()
            self.lost = not self.verified

    def _put(self, side: int, price_raw: int, qty_raw: int) -> None:
        self.taken.pop((side, price_raw), None)
        if qty_raw:
            self._sides[side][price_raw] = qty_raw
        else:
            self._sides[side].pop(price_raw, None)

    def _truncate(self) -> None:
        """Levels beyond the depth fall out; the venue sends no removal for them."""
        for side, levels in self._sides.items():
            if len(levels) > self.depth:
                for price_raw in sorted(levels, reverse=side == BUY)[self.depth:]:
                    del levels[price_raw]
                    self.taken.pop((side, price_raw), None)

    def checksum(self) -> int:
        """Kraken's CRC32 over the top ten of each side, asks first (kraken-protocol.md 1.10)."""
        asks = sorted(self._sides[SELL])[:CHECKSUM_LEVELS]
        bids = sorted(self._sides[BUY], reverse=True)[:CHECKSUM_LEVELS]
        text = "".join([f"{price}{self._sides[SELL][price]}" for price in asks]
                       + [f"{price}{self._sides[BUY][price]}" for price in bids])
        return zlib.crc32(text.encode())

    def best(self, side: int) -> int | None:
        """Best price of a side with anything left on it, None for an empty side."""
        return next((price_raw for price_raw, _ in self._left(side)), None)

    def shown(self, side: int, price_raw: int) -> int | None:
        """Quantity that the venue shows at a price, ours not counted; None below the window, where nothing is known."""
        levels = self._sides[side]
        if price_raw in levels:
            return levels[price_raw]
        if len(levels) < self.depth:
            return 0
        worst = min(levels) if side == BUY else max(levels)
        return None if (price_raw - worst) * side < 0 else 0

    def to_take(self, side: int, limit_raw: int) -> list[tuple[int, int]]:
        """(price_raw, qty_raw) of one side that is at `limit_raw` or better for its taker, best first."""
        levels = self._sides[side]
        if not levels or ((max(levels) if side == BUY else min(levels)) - limit_raw) * side < 0:
            return []  # what nearly every frame says of a resting order, told without sorting
        found = []
        for price_raw, qty_raw in self._left(side):
            if (price_raw - limit_raw) * side < 0:
                break
            found.append((price_raw, qty_raw))
        return found

    def take(self, side: int, price_raw: int, qty_raw: int) -> None:
        """Remember that this much of a level is gone to us."""
        self.taken[side, price_raw] = self.taken.get((side, price_raw), 0) + qty_raw

    def _left(self, side: int) -> Iterator[tuple[int, int]]:
        levels = self._sides[side]
        for price_raw in sorted(levels, reverse=side == BUY):
            left = levels[price_raw] - self.taken.get((side, price_raw), 0)
            if left > 0:
                yield price_raw, left
