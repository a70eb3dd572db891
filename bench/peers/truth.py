"""The plain book that every peer's book is held against: dictionaries of Decimals, proven frame by frame by Kraken's CRC32.

Standard library only: it runs in each peer's own environment.
"""

from __future__ import annotations

import bisect
import json
import struct
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

TOP = 10
Level = tuple[Decimal, Decimal]


class TruthBook:
    """One instrument's book at its subscribed depth."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
        self._order: dict[str, list[Decimal]] = {"bids": [], "asks": []}  # prices, best first; those of bids negated

    def apply(self, kind: str, data: dict[str, Any]) -> None:
        """Take one message: all its levels, and only then the truncation."""
        for name, side in self.sides.items():
            order = self._order[name]
            if kind == "snapshot":
                side.clear()
                order.clear()
            for level in data[name]:
                self._put(name, level["price"], level["qty"])
            for key in order[self.depth:]:
                del side[abs(key)]
            del order[self.depth:]

    def _put(self, name: str, price: Decimal, qty: Decimal) -> None:
        side, order = self.sides[name], self._order[name]
        key = -price if name == "bids" else price
        if qty:
            if price not in side:
                bisect.insort(order, key)
            side[price] = qty
        elif price in side:
            del side[price]
            del order[bisect.bisect_left(order, key)]

    def levels(self, name: str, count: int) -> list[Level]:
        """Return the best levels of a side, best first."""
        side = self.sides[name]
        return [(abs(key), side[abs(key)]) for key in self._order[name][:count]]

    def top(self, name: str) -> list[Level]:
        """Return the levels that the checksum covers."""
        return self.levels(name, TOP)

    def checksum(self) -> int:
        """Kraken's CRC32 over the top ten: digits without point and leading zeros, asks first."""
        levels = self.top("asks") + self.top("bids")
        return zlib.crc32("".join(_token(price) + _token(qty) for price, qty in levels).encode())


def _token(value: Decimal) -> str:
    return f"{value:f}".replace(".", "").lstrip("0")


def parse(text: bytes) -> Any:
    """JSON with its numbers as the digits that were sent."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def book_of(text: bytes) -> tuple[str, dict[str, Any]] | None:
    """(snapshot or update, data) of a book message, None of any other."""
    if not text.startswith(b'{"channel":"book"'):
        return None
    message = parse(text)
    return message["type"], message["data"][0]


def same(book: list[Any], truth: list[Level]) -> bool:
    """Whether a peer's levels, of whatever number type, are those of the truth."""
    return [(float(price), float(qty)) for price, qty in book] == [(float(price), float(qty)) for price, qty in truth]


def write_frames(path: Path, frames: list[bytes]) -> None:
    """Write messages as (uint32 length, bytes), little-endian."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(struct.pack("<I", len(text)) + text for text in frames))


def read_frames(path: Path) -> list[bytes]:
    """Read what `write_frames` wrote."""
    data, at, frames = path.read_bytes(), 0, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        frames.append(data[at + 4:at + 4 + size])
        at += 4 + size
    return frames


def with_checksum(text: bytes) -> bytes:
    """v1 snapshots carry no checksum, v2 snapshots do: add the one of their own levels. Other messages stay as they are."""
    if not text.startswith(b'{"channel":"book","type":"snapshot"') or b'"checksum":' in text:
        return text
    kind, data = book_of(text) or ("", {})
    book = TruthBook(max(len(data["bids"]), len(data["asks"])))
    book.apply(kind, data)
    return text.removesuffix(b"}]}") + b',"checksum":%d}]}' % book.checksum()
