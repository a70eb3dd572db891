"""SimulatedSession: a recording and the simulated venue around one engine, in the order of time.

Two clocks meet here: ours, at which public frames were received and private ones reach us, and the matching engine's, which is
ahead of what we have received by the feed's latency. Each step takes whatever comes next; at the same nanosecond market data
goes before requests and answers. What the engine sees until a time can depend on nothing that arose later than it.

While no order is out the venue has nothing to do, and the frames run in the compiled loop: its books are loaded from the
engine's when an order leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from cstd._fast.codes import BookState, Link
from cstd._fast.port import KeptPort
from cstd._fast.rerun import frames_until_order
from cstd.engine import Engine
from cstd.errors import UsageError
from cstd.orders.simulated_frames import time_text
from cstd.orders.simulated_terms import VOLUME_MAX, SimulatedVenueSettings
from cstd.orders.simulated_venue import CHANNELS, SimulatedVenue
from cstd.units import INT64_MAX, NS_PER_S, format_decimal
from cstd.venue.messages import BookMessage, decode_public

SETTINGS_PREFIX = "simulated_venue."
VOLUME_KEY = "tape.volume_hour"
MINUTE_NS = 60 * NS_PER_S
ASSUMED_CANDLES = 90

Frame = tuple[int, bytes]  # receive time in ns, text


class Event(NamedTuple):
    """What comes to the engine between two frames, and the venue does not see: an event of a journal's, of EventKind `kind`."""

    at_ns: int
    payload: bytes
    kind: int


Frames = list[Frame | Event]


class SimulatedSession:
    """Drives an engine over received frames, with the simulated venue behind its order port.

    Args:
        engine: booted, standing in for its links, with `port` as its order port.
        port: keeps what the engine sends.
        settings: of the venue.
        capital: what the account holds at the beginning, by asset.
    """

    def __init__(self, engine: Engine, port: KeptPort, settings: SimulatedVenueSettings, capital: Mapping[str, Decimal]) -> None:
        self.engine = engine
        self.venue = SimulatedVenue(settings, capital, CHANNELS)
        self._port = port
        self._feed_ns = settings.feed_ns
        self._frames: Frames = []
        self._at = 0  # the next of them for the engine
        self._seen = 0  # the next of them for the venue, while it trades
        self._trading = False

    def run(self, frames: Frames, *, last: bool = True) -> None:
        """Take frames (recv_ns, bytes), and events between them, in order. With more to come (`last` is False) the session
        waits where the venue would need the next one: a recording in pieces comes to the same as the whole.
        """
        self._frames += frames
        while self._at < len(self._frames):
            if not self._trading:
                self._at = frames_until_order(self.engine.core, Link.LINK_PUBLIC, self._frames, self._at)
                self._settle()
                if self.engine.core.live_orders():
                    self._begin_trading()
                elif self._at < len(self._frames) and isinstance(event := self._frames[self._at], Event):
                    self._give(event)
            if self._trading and not self._trade(last=last):
                break
        taken = min(self._at, self._seen) if self._trading else self._at
        del self._frames[:taken]
        self._at -= taken
        self._seen -= taken

    def _give(self, event: Event) -> None:
        """Give the engine an event; of itself it sends nothing, that is a pass's."""
        self.engine.core.event(event.kind, 0, event.at_ns, event.at_ns, event.payload)
        self._at += 1
        self._settle()

    def _settle(self) -> None:
        """What leaves beside orders goes nowhere: the links of a recording stand."""
        if self.engine.core.needs_python:
            self.engine.discard_outgoing()

    def _load_books(self) -> None:
        """The venue's books as the engine has verified them up to now."""
        for slot, name in zip(self.engine.core.slots, self.engine.names, strict=True):
            spec, book = self.engine.feed.specs.get(name), slot.book
            if spec is None:
                continue
            self.venue.add_instrument(spec, book.depth)
            bids, asks = ([(price_raw, qty_raw) for price_raw, qty_raw, _ in book.levels(side, book.depth)] for side in (1, -1))
            self.venue.load_book(name, bids, asks, verified=book.state == BookState.BOOK_VERIFIED)

    def _begin_trading(self) -> None:
        """The frame before `_at` made the engine send: from here on the venue sees every frame."""
        self._trading = True
        self._seen = self._at
        self._load_books()
        self._send(self._frames[self._at - 1][0])

    def _trade(self, *, last: bool) -> bool:
        """Go on step by step until nothing is out; False: the frames are at their end, as far as they have come."""
        venue, core, frames = self.venue, self.engine.core, self._frames
        while self._at < len(frames):
            if self._seen == len(frames) and not last:
                return False
            recv_ns, frame = frames[self._at][:2]
            market_ns = frames[self._seen][0] - self._feed_ns if self._seen < len(frames) else INT64_MAX
            due_ns, reply_ns = venue.next_due_ns, venue.next_reply_ns
            if min(market_ns, due_ns) < min(recv_ns, reply_ns):
                if market_ns <= due_ns:
                    if not isinstance(shown := frames[self._seen], Event):
                        venue.market(market_ns, shown[1])
                    self._seen += 1
                else:
                    venue.step(due_ns)
            elif recv_ns <= reply_ns:
                if isinstance(event := frames[self._at], Event):
                    self._give(event)
                    continue
                core.frame(Link.LINK_PUBLIC, frame, recv_ns, recv_ns)
                core.batch_end(Link.LINK_PUBLIC, recv_ns, recv_ns)
                self._at += 1
                self._send(recv_ns)
            else:
                for at_ns, answer in venue.take_replies(reply_ns):
                    core.frame(Link.LINK_PRIVATE, answer, at_ns, at_ns)
                core.batch_end(Link.LINK_PRIVATE, reply_ns, reply_ns)
                self._send(reply_ns)
            if venue.idle and not core.live_orders():
                self._trading = False
                return True
        return False

    def _send(self, now_ns: int) -> None:
        for frame in self._port.take():
            self.venue.send(now_ns, frame)
        self._settle()


def simulated_totals(session: SimulatedSession) -> dict[str, Any]:
    """What the simulated orders came to: profit, fees and what is held, in quote and base, as texts."""
    positions = [(session.engine.names[number], position) for number, position in session.engine.ledger.positions.items()]
    return {
        "realized": format_decimal(sum((position.realized for _, position in positions), Decimal(0))),
        "fees": format_decimal(sum((position.fees for _, position in positions), Decimal(0))),
        "held": {name: format_decimal(position.qty) for name, position in positions if position.qty},
        "open_orders": len(session.engine.core.live_orders()),
    }


def settings_of(assignments: Iterable[str]) -> tuple[SimulatedVenueSettings, Decimal | None, list[str]]:
    """Sort `KEY=VALUE` texts: the venue's settings, the assumed hourly volume, and what is left for the configuration.

    Raises UsageError: a text without "=", or a value that the venue's settings do not take.
    """
    fields: dict[str, Any] = {}
    volume: Decimal | None = None
    rest = []
    for text in assignments:
        key, found, value = text.partition("=")
        if not found:
            raise UsageError(f"--set {text}: not KEY=VALUE")
        try:
            if key == VOLUME_KEY:
                volume = msgspec.convert(value, Decimal)
                if not volume.is_finite() or not 0 < volume <= VOLUME_MAX:
                    raise UsageError(f"--set {text}: not a volume above 0 and at most {VOLUME_MAX}")
            elif key.startswith(SETTINGS_PREFIX):
                fields[key.removeprefix(SETTINGS_PREFIX)] = msgspec.json.decode(value) if value.startswith("[") else value
            else:
                rest.append(text)
        except msgspec.MsgspecError as error:
            raise UsageError(f"--set {text}: {error}") from None
    try:
        return msgspec.convert(fields, SimulatedVenueSettings, strict=False), volume, rest
    except msgspec.ValidationError as error:
        raise UsageError(f"--set {SETTINGS_PREFIX}…: {error}", suggestion="docs/simulated-venue.md has the keys") from None


def with_assumed_tape(frames: Iterable[Frame | Event], volume_hour: Decimal) -> Iterator[Frame | Event]:
    """Yield frames, and behind each instrument's first book snapshot candles of an assumed volume for the time before them.

    A recording without a tape says nothing of what was traded, and the volume gate refuses for that. The candles come in as
    the frame in which the venue sends history, so that every gate is judged as always. volume_hour: in quote.
    """
    told: set[str] = set()
    for row in frames:
        yield row
        recv_ns, frame = row[:2]
        if isinstance(row, Event) or b'"snapshot"' not in frame[:60] or b'"book"' not in frame[:40]:
            continue
        for message in decode_public(frame):
            if isinstance(message, BookMessage) and message.name not in told and message.bids and message.asks:
                told.add(message.name)
                yield recv_ns, _candles(message, recv_ns, volume_hour / 60)


def _candles(book: BookMessage, recv_ns: int, value: Decimal) -> bytes:
    """An `ohlc` snapshot of minutes in which `value` was traded at the best bid."""
    price = max(price for price, _ in book.bids)
    digits = max(-int(qty.as_tuple().exponent) for _, qty in book.bids)
    number = msgspec.Raw(format_decimal(price).encode())
    volume = msgspec.Raw(format_decimal(round(value / price, digits)).encode())
    first = recv_ns // MINUTE_NS - ASSUMED_CANDLES + 1
    rows = [{"symbol": book.name, "open": number, "high": number, "low": number, "close": number, "vwap": number, "trades": 1,
             "volume": volume, "interval": 1, "interval_begin": time_text((first + n) * MINUTE_NS)}
            for n in range(ASSUMED_CANDLES)]
    return msgspec.json.encode({"channel": "ohlc", "type": "snapshot", "timestamp": time_text(recv_ns), "data": rows})
