"""TapeWatch: which trade streams are complete, and which are dead although the venue acknowledged them.

An instrument's tape is complete from the moment its subscription is known to be live. A stream that brings nothing looks
like a quiet market, so it is held against another channel: the ticker tells the price of the last trade. Where that price
moves and no trade came within ten seconds before or after, the stream is dead: the tape is lost, which gate 4 sees, the
subscription is taken again, alone, and the tape begins anew with the first trade that comes, not with another
acknowledgement. The history that was missed is asked for then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from cstd.market.feed import PublicFeed
from cstd.units import INT64_MAX, NS_PER_S

if TYPE_CHECKING:
    from cstd._fast.core import Core
    from cstd.venue.public import PublicMachine

# Channels are not synchronised: a trade explains a ticker that came this much sooner or later.
SILENT_NS = 10 * NS_PER_S
# Instruments looked at in one timer, in turn: a thousand must not cost a thousand looks each tick.
TURN = 32


class _Heard(msgspec.Struct):
    """What came of an instrument: its last trade and when, its ticker's last price and when it moved unexplained."""

    trade_id: int
    trade_ns: int
    last_raw: int
    moved_ns: int = 0


class TapeWatch:
    """Tapes of all instruments. One writer: the engine's timer.

    Args:
        core: the compiled core.
        feed: its notes take what is to be logged.
        names: instruments, by number.

    Attributes:
        live: names whose trades are complete from some moment on.
        silent_count: how often a stream was found dead.
    """

    def __init__(self, core: Core, feed: PublicFeed, names: tuple[str, ...]) -> None:
        self.core = core
        self.feed = feed
        self.names = names
        self.live: set[str] = set()
        self.silent_count = 0
        self._heard: dict[int, _Heard] = {}
        self._lost: dict[str, int] = {}     # last trade before a stream was found dead, by name
        self._turn = 0

    def clear(self) -> None:
        """The link is down: nothing of its streams holds on the next, and what is traded until then is missed."""
        self.live.clear()
        self._heard.clear()
        self._lost.clear()
        for number, slot in enumerate(self.core.slots):
            slot.tickers = slot.ticker_last_raw = 0
            self.core.tape_begins(number, INT64_MAX)

    def on_timer(self, public: PublicMachine, mono_ns: int, wall_ns: int) -> None:
        """Begin tapes whose stream is there, and look at some instruments for dead ones."""
        if len(self.live) < len(self.names):
            self.begin(self.names, public, mono_ns, wall_ns)
        for _ in range(min(TURN, len(self.names))):
            self._turn = (self._turn + 1) % len(self.names)
            self._look(self._turn, public, mono_ns)

    def begin(self, names: Iterable[str], public: PublicMachine, mono_ns: int, wall_ns: int) -> None:
        """Begin the tapes of some instruments whose stream is there by now."""
        for name in names:
            if name not in self.live and public.live(name, "trade"):
                self._begin(self.feed.numbers[name], public, mono_ns, wall_ns)

    def _begin(self, number: int, public: PublicMachine, mono_ns: int, wall_ns: int) -> None:
        name = self.names[number]
        if name in self._lost:
            if self._lost[name] == self.core.slots[number].last_trade_id:
                return
            del self._lost[name]
            public.renew(name, "ohlc", mono_ns)
            self.feed.notes.append(("info", "trades come again", {"instrument": name}))
        self.live.add(name)
        self.core.tape_begins(number, wall_ns)

    def _look(self, number: int, public: PublicMachine, mono_ns: int) -> None:
        name, slot = self.names[number], self.core.slots[number]
        if not public.live(name, "trade"):
            self._heard.pop(number, None)
            if name in self.live:
                self._lose(number)
            return
        heard = self._heard.get(number)
        if heard is None or heard.trade_id != slot.last_trade_id:
            self._heard[number] = _Heard(slot.last_trade_id, mono_ns, slot.ticker_last_raw)
            return
        if slot.ticker_last_raw not in (0, heard.last_raw):
            if heard.last_raw and not heard.moved_ns and mono_ns - heard.trade_ns > SILENT_NS:
                heard.moved_ns = mono_ns
            heard.last_raw = slot.ticker_last_raw
        if heard.moved_ns and mono_ns - heard.moved_ns > SILENT_NS:
            del self._heard[number]
            self._lost[name] = slot.last_trade_id
            self._lose(number)
            self.silent_count += 1
            public.resync(name, "silent_trades", mono_ns, channel="trade")
            self.feed.notes.append(("error", "trades are acknowledged and do not come", {"instrument": name}))

    def _lose(self, number: int) -> None:
        self.live.discard(self.names[number])
        self.core.tape_begins(number, INT64_MAX)
