"""What the feeder sends: recorded books under other names, as the venue would send them at a chosen depth.

The recording is Kraken's v1 feed at depth 1000, put into the shape of v2. A subscription of fewer levels sees a window of
that book: what changes inside it, what comes into it, and not what falls out of it, for the subscriber truncates. The
checksum covers the top ten, which are the same at every depth, so each update carries the recorded one; it is compared here
once with the book that the window is cut from.
"""

from __future__ import annotations

import gzip
import zlib
from bisect import insort
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from cstd.storage.recordings import open_recording
from cstd.storage.v1_dialect import V1Dialect

RECORDING = "recordings/kraken-v1-spot-20210405.jsonl.zst"
BARS = {1: "bars/1m/XBTUSDC_1m_2023Q1.csv.gz", 5: "bars/5m/XBTUSD_5m_2023Q1.csv.gz",
        60: "bars/60m/XBTUSD_60m_2023Q1.csv.gz"}
UPDATES_MIN = 300  # a pair with fewer would repeat itself all the time
UPDATES_MAX = 1500  # two minutes and a half at ten a second; the busiest pair has four times as many
RECORDED_DEPTH = 1000
CHECKSUM_LEVELS = 10


class Pair(NamedTuple):
    """One recorded book as it is sent: text after the symbol up to the timestamp, of the snapshot and of each update."""

    name: str
    price_precision: int
    qty_precision: int
    touch: tuple[str, str, str, str]  # bid, its quantity, ask, its quantity
    snapshot: bytes
    updates: list[bytes]


class _Level(msgspec.Struct):
    price: msgspec.Raw
    qty: msgspec.Raw


class _Data(msgspec.Struct):
    symbol: str
    bids: list[_Level]
    asks: list[_Level]
    checksum: int = 0


class _Book(msgspec.Struct):
    type: str
    data: list[_Data]


_DECODER = msgspec.json.Decoder(_Book)


class _Side:
    """One side of a recorded book, the best level first; prices and quantities stay the texts that they are."""

    def __init__(self, levels: list[_Level], sign: int) -> None:
        self._sign = sign
        self._order: list[float] = []  # prices, times -1 for bids, so that the best is the smallest
        self.levels: dict[float, tuple[str, str]] = {}
        self.apply(levels)

    def apply(self, levels: list[_Level]) -> None:
        """Take changed levels, then cut to the recording's depth."""
        for level in levels:
            price, qty = bytes(level.price).decode(), bytes(level.qty).decode()
            key = float(price) * self._sign
            if float(qty):
                if key not in self.levels:
                    insort(self._order, key)
                self.levels[key] = price, qty
            elif self.levels.pop(key, None):
                self._order.remove(key)
        for key in self._order[RECORDED_DEPTH:]:
            del self.levels[key]
        del self._order[RECORDED_DEPTH:]

    def top(self, depth: int) -> dict[float, tuple[str, str]]:
        """Return the best levels by price, the best first."""
        return {key: self.levels[key] for key in self._order[:depth]}


class _Window:
    """Both sides of one recorded book, and what a subscriber of `depth` levels holds of it."""

    def __init__(self, data: _Data, depth: int) -> None:
        self.depth = depth
        self.sides = _Side(data.bids, -1), _Side(data.asks, 1)
        self.held = [side.top(depth) for side in self.sides]

    def apply(self, data: _Data) -> list[list[tuple[str, str]]]:
        """Take one recorded update; returns the changes of [bids, asks] that the subscriber is told of."""
        told = []
        for number, levels in enumerate((data.bids, data.asks)):
            side, before = self.sides[number], self.held[number]
            side.apply(levels)
            now = self.held[number] = side.top(self.depth)
            gone = [(price, _zero(qty)) for key, (price, qty) in before.items() if key not in side.levels]
            told.append(gone + [level for key, level in now.items() if before.get(key) != level])
        return told

    def checksum(self) -> int:
        """CRC32 of the top ten as the venue builds it: asks, then bids, digits without point and leading zeros."""
        tokens = (text.replace(".", "").lstrip("0") for side in (1, 0)
                  for level in list(self.held[side].values())[:CHECKSUM_LEVELS] for text in level)
        return zlib.crc32("".join(tokens).encode())


def _zero(qty: str) -> str:
    """Nothing, with as many decimals; JSON has one zero in front of the point."""
    return "0." + "0" * len(qty.partition(".")[2]) if "." in qty else "0"


def _body(bids: Any, asks: Any, checksum: int) -> bytes:
    levels = [",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in side) for side in (bids, asks)]
    return f'","bids":[{levels[0]}],"asks":[{levels[1]}],"checksum":{checksum},"timestamp":"'.encode()


def _book_frames(path: Path) -> Iterator[_Book]:
    dialect = V1Dialect()
    for frame in open_recording(path).frames:
        text = dialect.translate(frame.text) if frame.direction == "rx" else None
        if text is not None and text.startswith(b'{"channel":"book"'):
            yield _DECODER.decode(text)


def recorded_pairs(data: Path, depth: int) -> list[Pair]:
    """Return the recorded books at a depth, those with enough updates.

    Raises:
        ValueError: an update's recorded checksum is not that of the book here.
    """
    windows: dict[str, _Window] = {}
    firsts: dict[str, tuple[bytes, tuple[str, str, str, str]]] = {}
    updates: dict[str, list[bytes]] = {}
    for book in _book_frames(data / RECORDING):
        [entry] = book.data
        if book.type == "snapshot":
            window = windows[entry.symbol] = _Window(entry, depth)
            bids, asks = (list(held.values()) for held in window.held)
            firsts[entry.symbol] = _body(bids, asks, window.checksum()), (*bids[0], *asks[0])
            updates[entry.symbol] = []
            continue
        window = windows[entry.symbol]
        if len(updates[entry.symbol]) == UPDATES_MAX:
            continue
        bids, asks = window.apply(entry)
        if window.checksum() != entry.checksum:
            raise ValueError(f"{entry.symbol}: the recorded checksum {entry.checksum} is not that of the book")
        if bids or asks:
            updates[entry.symbol].append(_body(bids, asks, entry.checksum))
    return [_pair(name, *firsts[name], updates[name]) for name in windows if len(updates[name]) >= UPDATES_MIN]


def _pair(name: str, snapshot: bytes, touch: tuple[str, str, str, str], updates: list[bytes]) -> Pair:
    price_digits, qty_digits = (len(text.partition(".")[2]) for text in touch[:2])
    return Pair(name, price_digits, qty_digits, touch, snapshot, updates)


def history_rows(data: Path, rows: int, now_s: int) -> dict[int, list[tuple[int, str]]]:
    """Return the last recorded bars by interval in minutes as (begin, JSON text), moved in time so that they end now.

    They are load and nothing else: every instrument gets the same ones, whatever its price is.
    """
    found: dict[int, list[tuple[int, str]]] = {}
    for minutes, name in BARS.items():
        with gzip.open(data / name, "rt") as file:
            lines = [line.strip().split(",") for line in file if line[:1].isdigit()][-rows:]
        step_s = minutes * 60
        first_s = now_s // step_s * step_s - (len(lines) - 1) * step_s
        found[minutes] = [
            (first_s + index * step_s,
             f'"open":{o},"high":{h},"low":{low},"close":{c},"trades":{int(float(n))},"volume":{v},"vwap":{c}')
            for index, (_, o, h, low, c, v, n) in enumerate(lines)]
    return found
