"""A market driven by an authentic recording: its book frames, byte for byte, at their own pace.

The account's orders are no part of the recorded book. An order queues behind the recorded quantity of its level; what
disappears from the touch is taken as traded from the front of the queue, and the order fills when its turn comes, when its
level vanishes as the touch, or when the other side reaches its price. v2 recordings hold no trades, so every such fill is
inferred, and the truth file says so.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import zstandard

from cstd.errors import OperatorError
from cstd.practice.history import Bar
from cstd.practice.instruments import ASSETS, DEFAULTS, Asset, Instrument
from cstd.practice.market import Market, Trade
from cstd.practice.matching import Book, BookSide, Match, Resting, Taken
from cstd.practice.wire import NS_PER_S

LOOP_PAUSE_NS = NS_PER_S  # between the last frame and the first snapshot again


@dataclass(frozen=True, slots=True)
class Frame:
    """One recorded book message: when after the first one, its text, and its one entry."""

    offset_ns: int
    text: str
    snapshot: bool
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """The book frames of one instrument; the first one is a snapshot."""

    instrument: Instrument
    depth: int
    frames: tuple[Frame, ...]


def _raw(text: str, precision: int, path: Path) -> int:
    scaled = Decimal(text).scaleb(precision)
    if scaled != int(scaled):
        raise OperatorError(f"{path.name}: {text} has more than the {precision} decimals of the instrument")
    return int(scaled)


def _places(text: str) -> int:
    return len(text.partition(".")[2])


def _instrument(name: str, entry: dict[str, list[dict[str, str]]], path: Path) -> Instrument:
    """Return the instrument of a snapshot; its precisions are the digits the snapshot prints."""
    level = entry["bids"][0]
    price_places, qty_places = _places(level["price"]), _places(level["qty"])
    start_raw = _raw(level["price"], price_places, path)
    for known in DEFAULTS:
        if known.name == name:
            if (known.price_precision, known.qty_precision) != (price_places, qty_places):
                raise OperatorError(f"{path.name}: {name} is recorded with other precisions than it trades with here")
            return known
    base, _, quote = name.partition("/")
    if quote != "USD":
        raise OperatorError(f"{path.name}: {name} is not quoted in USD, the only money of the practice account")
    minimum_raw = int((Decimal(5) / Decimal(level["price"])).scaleb(qty_places))
    joined = base + quote
    return Instrument(
        name,
        base,
        quote,
        joined,
        joined,
        name,
        price_places,
        8,
        1,
        minimum_raw,
        Decimal("0.5"),
        start_raw,
        "XRP/USD",
        qty_places,
    )


def _rows(path: Path) -> list[tuple[float, str]]:
    """Return (receive time in seconds, text) of every received message."""
    try:
        with path.open("rb") as file:
            text = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8").read()
        rows = [json.loads(line) for line in text.splitlines()]
        return [(float(row["ts"]), str(row["m"])) for row in rows if row.get("d") == "rx"]
    except (OSError, zstandard.ZstdError, ValueError, KeyError) as error:
        raise OperatorError(f"cannot read the recording {path}: {error}") from error


def load(paths: tuple[Path, ...]) -> list[Recording]:
    """Return one recording per instrument found in the files."""
    found: dict[str, tuple[Path, list[Frame], Instrument]] = {}
    depths: dict[str, int] = {}
    for path in paths:
        begin_s: float | None = None
        for received_s, text in _rows(path):
            message = json.loads(text, parse_float=str, parse_int=str)
            result = message.get("result")
            if message.get("method") == "subscribe" and result and result.get("channel") == "book":
                depths[result["symbol"]] = int(result["depth"])
            if message.get("channel") != "book":
                continue
            begin_s = received_s if begin_s is None else begin_s
            entry = message["data"][0]
            name = entry["symbol"]
            if name not in found:
                if message["type"] != "snapshot":
                    continue  # nothing to apply an update to yet
                found[name] = (path, [], _instrument(name, entry, path))
            first_path, frames, instrument = found[name]
            if first_path != path:
                raise OperatorError(f"{name} is in both {first_path.name} and {path.name}: one recording per instrument")
            frames.append(_frame(message, entry, instrument, text, int((received_s - begin_s) * NS_PER_S), path))
    if not found:
        raise OperatorError(f"no v2 book snapshot in {', '.join(p.name for p in paths)}")
    return [Recording(i, depths.get(name, 25), tuple(frames)) for name, (_, frames, i) in found.items()]


def _frame(
    message: dict[str, str], entry: dict[str, list[dict[str, str]]], i: Instrument, text: str, at_ns: int, path: Path
) -> Frame:
    sides = []
    for word in ("bids", "asks"):
        levels = entry[word]
        sides.append(tuple((_raw(v["price"], i.price_precision, path), _raw(v["qty"], i.qty_precision, path)) for v in levels))
    return Frame(at_ns, text, message["type"] == "snapshot", sides[0], sides[1])


def assets_of(recordings: list[Recording]) -> tuple[Asset, ...]:
    """Return the assets the recorded instruments need, with those the account owns."""
    known = {a.code: a for a in ASSETS}
    codes = ["USD", "BTC", *(r.instrument.base for r in recordings)]
    return tuple(known.get(c, Asset(c, c, c, 8, 5)) for c in dict.fromkeys(codes))


class RecordedMarket(Market):
    """A market whose book is a recording's.

    `published` is the recorded book, untouched. `book` is the same less what the account has taken from it, until the recording
    mentions the level again. Own resting orders are in `_ahead`: order -> recorded quantity that stands before it.
    """

    def __init__(self, instrument: Instrument, history: dict[int, list[Bar]], *, first_trade_id: int) -> None:
        super().__init__(instrument, history, first_trade_id=first_trade_id)
        self._published = Book()
        self._ahead: dict[Resting, int] = {}

    @property
    def published(self) -> Book:
        """Return the recorded book."""
        return self._published

    # --- own orders ---------------------------------------------------------------------------------------------------

    def rest(self, order: Resting) -> None:
        """Queue an own order behind what the recording shows at its price."""
        self._ahead[order] = self._published.side(order.side).totals.get(order.price_raw, 0)

    def cancel(self, order: Resting) -> None:
        """Take an own order out of its queue."""
        del self._ahead[order]

    def shrink(self, order: Resting, leaves_raw: int) -> None:
        """Reduce an own order; it keeps its place."""
        order.visible_raw = leaves_raw

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
        """Take from the recorded levels; own orders on the other side are met by self-trade prevention first."""
        crossed = [r for r in self._ahead if r.side != side and (limit_raw is None or (r.price_raw - limit_raw) * side <= 0)]
        if crossed and stp == "cancel_newest":
            return Taken(leaves_raw=qty_raw, stopped_by_self=True), []
        for resting in crossed:
            del self._ahead[resting]
        if crossed and stp == "cancel_both":
            return Taken(leaves_raw=qty_raw, stopped_by_self=True, makers_to_cancel=crossed), []
        taken, trades = super().execute(side, limit_raw, qty_raw, wall_ns, ord_type=ord_type, owner=owner, stp=stp)
        taken.makers_to_cancel += crossed
        return taken, trades

    # --- the recording ------------------------------------------------------------------------------------------------

    def apply(self, frame: Frame, depth: int, wall_ns: int) -> None:
        """Take one recorded frame into both books, infer own fills, publish."""
        before = {r: self._published.side(r.side).totals.get(r.price_raw, 0) for r in self._ahead}
        best_before = {side.sign: side.best_raw() for side in (self._published.bids, self._published.asks)}
        for book in (self._published, self.book):
            for side, levels in ((book.bids, frame.bids), (book.asks, frame.asks)):
                _apply(side, levels, clear=frame.snapshot, depth=depth)
        for resting in list(self._ahead):
            was_best_raw = best_before[self._published.side(resting.side).sign]
            filled_raw = self._inferred_raw(resting, before[resting], was_best_raw)
            if filled_raw:
                self._fill(resting, filled_raw, wall_ns)
        self.raw_text = frame.text
        self.publish(wall_ns)
        self.raw_text = None

    def _inferred_raw(self, resting: Resting, before_raw: int, was_best_raw: int | None) -> int:
        """Return how much of an own order the last frame is taken to have filled."""
        levels, opposite = self._published.side(resting.side), self._published.side(-resting.side)
        price_raw, leaves_raw = resting.price_raw, resting.leaves_raw
        other_best_raw, best_raw = opposite.best_raw(), levels.best_raw()
        if other_best_raw is not None and (other_best_raw - price_raw) * resting.side <= 0:
            return leaves_raw  # the other side came to our price
        if was_best_raw is None or (price_raw - was_best_raw) * resting.side < 0:
            self._ahead[resting] = (
                min(self._ahead[resting], levels.totals.get(price_raw, 0)) if before_raw else self._ahead[resting]
            )
            return 0  # behind the touch: what goes there is canceled, not traded
        worse = best_raw is None or (best_raw - was_best_raw) * resting.side < 0
        if worse:
            return leaves_raw  # the touch we stood at, or before, has vanished
        if price_raw != was_best_raw:
            return 0
        gone_raw = max(0, before_raw - levels.totals.get(price_raw, 0))
        over_raw = max(0, gone_raw - self._ahead[resting])
        self._ahead[resting] = max(0, self._ahead[resting] - gone_raw)
        return min(over_raw, leaves_raw)

    def _fill(self, resting: Resting, qty_raw: int, wall_ns: int) -> None:
        left_raw = resting.leaves_raw - qty_raw
        resting.visible_raw = min(left_raw, resting.display_raw) if resting.display_raw else left_raw
        resting.hidden_raw = left_raw - resting.visible_raw
        if not left_raw:
            del self._ahead[resting]
        trade = self.print_trade(-resting.side, resting.price_raw, qty_raw, wall_ns, "limit")
        assert self.on_maker is not None, "the desk listens to every market"
        self.on_maker(Match(resting, resting.price_raw, qty_raw), trade)


def _apply(side: BookSide, levels: tuple[tuple[int, int], ...], *, clear: bool, depth: int) -> None:
    """Set recorded levels as absolute quantities, then truncate to the recorded depth."""
    if clear:
        for price_raw in side.prices(len(side.keys)):
            _set(side, price_raw, 0)
    for price_raw, qty_raw in levels:
        _set(side, price_raw, qty_raw)
    for key in side.keys[depth:]:
        _set(side, side.sign * key, 0)


def _set(side: BookSide, price_raw: int, qty_raw: int) -> None:
    for order in side.orders(price_raw):
        side.remove(order)
    if qty_raw:
        side.add(Resting(-side.sign, price_raw, qty_raw))


class RecordedFlow:
    """Plays a recording into its market. `due_ns` is None once it has ended."""

    def __init__(self, market: RecordedMarket, recording: Recording, *, start_ns: int, loop: bool) -> None:
        self.market = market
        self._recording = recording
        self._loop = loop
        self._next = 0
        self._begin_ns = start_ns
        self.due_ns: int | None = start_ns
        self.advance(start_ns)  # the first snapshot is there before anybody asks

    def advance(self, wall_ns: int) -> int:
        """Apply every frame that is due by `wall_ns`; return how many."""
        count = 0
        frames = self._recording.frames
        while self.due_ns is not None and self.due_ns <= wall_ns:
            self.market.apply(frames[self._next], self._recording.depth, self.due_ns)
            count += 1
            self._next += 1
            if self._next < len(frames):
                self.due_ns = self._begin_ns + frames[self._next].offset_ns
            elif self._loop:
                self._next = 0
                self._begin_ns = self.due_ns + LOOP_PAUSE_NS - frames[0].offset_ns
                self.due_ns += LOOP_PAUSE_NS
            else:
                self.due_ns = None
        return count

    def pause_until(self, wall_ns: int) -> None:
        """Shift what is to come so that the next frame is due at `wall_ns`."""
        if self.due_ns is not None:
            self._begin_ns += wall_ns - self.due_ns
            self.due_ns = wall_ns
