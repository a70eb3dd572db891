"""A plain order book in exact decimals, and the frames of the v2 recordings: what the compiled book is compared with.

Deliberately slow and obvious: dictionaries by price, sorted when asked, the checksum from the digits that the venue's
documentation describes, zlib for the CRC.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from cstd.storage.recordings import open_recording

V2_RECORDINGS = (
    "kraken-v2-btcusd-d25-20260802",
    "kraken-v2-ethusd-xrpusd-d25-20260802",
    "kraken-v2-btcusd-d10-20260801",
)
# Digits that the venue prints in these recordings: (price, quantity).
PRECISIONS = {"BTC/USD": (1, 8), "ETH/USD": (2, 8), "XRP/USD": (5, 8)}
BOOK_FRAMES = {V2_RECORDINGS[0]: 2052, V2_RECORDINGS[1]: 2276, V2_RECORDINGS[2]: 301}
DEPTHS = {V2_RECORDINGS[0]: 25, V2_RECORDINGS[1]: 25, V2_RECORDINGS[2]: 10}

Level = tuple[Decimal, Decimal]


class OracleBook:
    """Both sides as dictionaries of price to quantity. truncates=False leaves the cut to the depth out, a known defect."""

    def __init__(self, depth: int, price_precision: int, qty_precision: int, *, truncates: bool = True) -> None:
        self.depth = depth
        self.price_precision = price_precision
        self.qty_precision = qty_precision
        self.truncates = truncates
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}

    def apply(self, *, snapshot: bool, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Apply one message in the order of its levels, then cut both sides to the depth."""
        if snapshot:
            self.bids.clear()
            self.asks.clear()
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for price, qty in levels:
                if qty == 0:
                    side.pop(price, None)
                else:
                    side[price] = qty
        if self.truncates and max(len(self.bids), len(self.asks)) > self.depth:
            for price, _ in self.best_bids()[self.depth:]:
                del self.bids[price]
            for price, _ in self.best_asks()[self.depth:]:
                del self.asks[price]

    def best_bids(self) -> list[Level]:
        """Bids, best first."""
        return sorted(self.bids.items(), reverse=True)

    def best_asks(self) -> list[Level]:
        """Asks, best first."""
        return sorted(self.asks.items())

    def checksum(self) -> int:
        """CRC32 as the venue describes it: ten asks, then ten bids, digits without point and leading zeros."""
        return venue_checksum(self.best_asks()[:10], self.best_bids()[:10], self.price_precision, self.qty_precision)


class SortedSide:
    """One side in raw integers as a sorted list, for books so deep that sorting after every message takes too long."""

    def __init__(self, *, bids: bool, depth: int) -> None:
        self.bids = bids
        self.depth = depth
        self.rows: list[tuple[int, int, int]] = []

    def apply(self, levels: Iterable[tuple[int, int]], *, snapshot: bool) -> None:
        """Apply one message's levels in order, then cut."""
        if snapshot:
            self.rows.clear()
        for price, qty in levels:
            at = bisect_left(self.rows, (price,))
            found = at < len(self.rows) and self.rows[at][0] == price
            self.rows[at:at + found] = [(price, qty, 0)] if qty else []
        self.rows = self.rows[-self.depth:] if self.bids else self.rows[:self.depth]

    def best_first(self) -> list[tuple[int, int, int]]:
        """(price_raw, qty_raw, 0), best first."""
        return self.rows[::-1] if self.bids else self.rows


def venue_checksum(asks: Iterable[Level], bids: Iterable[Level], price_precision: int, qty_precision: int) -> int:
    """The venue's checksum of up to ten levels a side, best first."""
    text = "".join(_token(price, price_precision) + _token(qty, qty_precision)
                   for levels in (asks, bids) for price, qty in levels)
    return zlib.crc32(text.encode())


def _token(value: Decimal, precision: int) -> str:
    return f"{Decimal(value):.{precision}f}".replace(".", "").lstrip("0")


def exact_raw(value: Decimal, precision: int) -> int:
    """Value times ten to the precision; AssertionError where digits would be lost."""
    scaled = value.scaleb(precision)
    assert scaled == int(scaled), f"{value} has more than {precision} digits"
    return int(scaled)


def raw_levels(levels: Iterable[dict[str, Any]], name: str) -> list[tuple[int, int]]:
    """Wire levels of a decoded frame in raw integers."""
    price, qty = PRECISIONS[name]
    return [(exact_raw(level["price"], price), exact_raw(level["qty"], qty)) for level in levels]


def decimal_levels(levels: Iterable[dict[str, Any]]) -> list[Level]:
    """Wire levels of a decoded frame as exact decimals."""
    return [(level["price"], level["qty"]) for level in levels]


def received(data_dir: Path, recording: str) -> Iterator[bytes]:
    """Received frames of one v2 recording, byte for byte."""
    for frame in open_recording(data_dir / "recordings" / f"{recording}.jsonl.zst").frames:
        if frame.direction == "rx":
            yield frame.text


def decoded(frame: bytes) -> dict[str, Any]:
    """One frame with every number exact. msgspec reads a float's digits into a Decimal when asked for one."""
    return dict(msgspec.json.Decoder(dict, float_hook=Decimal).decode(frame))


def as_decimal(value: Any) -> Decimal:
    """A wire number as Decimal: a whole one arrives as int."""
    return value if isinstance(value, Decimal) else Decimal(value)


def book_messages(data_dir: Path, recording: str) -> Iterator[tuple[bytes, str, bool, dict[str, Any]]]:
    """(frame, instrument, is a snapshot, its data) of each book message, numbers as Decimal."""
    for frame in received(data_dir, recording):
        if not frame.startswith(b'{"channel":"book"'):
            continue
        message = decoded(frame)
        (row,) = message["data"]
        for side in ("bids", "asks"):
            row[side] = [{key: as_decimal(value) for key, value in level.items()} for level in row[side]]
        yield frame, row["symbol"], message["type"] == "snapshot", row
