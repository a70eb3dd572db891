"""BookAudit: levels that no checksum covers, compared with a fresh reading of the venue's book, one instrument at a time.

The venue's checksum covers ten levels a side. What lies deeper is kept right by exact truncation, and proven here: every
few minutes an instrument's book is compared with the REST reading of it.

The reading has no sequence, so it is never known to which message it belongs. It need not be: a *window* is opened on the
book before the reading is asked for and closed after it came, and the book notes every price that a message names
meanwhile. A level that nobody named was the same all the time, in our book and at the venue, so the reading must show
it; the others are left out. Three more rules keep the audit from crying wolf:

- the ten levels under the checksum are proven already: a reading that differs there is an old one, and proves nothing;
- a difference counts when a second reading, some seconds later and in the same window, shows it again;
- REST prints quantities with fewer digits than the book has: they are compared as exactly as they are printed.

    IDLE ──due──► SETTLING ──► ASKED ──reply──► CATCHING_UP ──► agreed, or DOUBTING ──► ASKED ... ──► a finding
    any state ──snapshot, fault, silence──► IDLE, inconclusive

Why REST and not a new subscription: between an unsubscribe and the next snapshot nobody knows which levels changed, so
nothing could be compared; and for as long as that takes the book would be neither verified nor good for an exit.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from cstd._fast.codes import BookState, Side
from cstd.market.feed import PublicFeed
from cstd.units import NS_PER_S, format_raw, to_raw
from cstd.venue.fields import FieldError
from cstd.venue.messages import InstrumentSpec
from cstd.venue.rest.lane import Outcome, RestResult
from cstd.venue.rest.models import DepthSnapshot, parse_depth
from cstd.venue.rest.request import DEPTH_ROWS_MAX, RestRequest, depth

if TYPE_CHECKING:
    from cstd._fast.book import Book
    from cstd._fast.core import Core

PROVEN_LEVELS = 10
# A cache at the venue must not hand out a reading that is older than the window.
SETTLE_NS = 2 * NS_PER_S
# What the reading shows must have come by websocket too before the window is closed.
CATCH_UP_NS = NS_PER_S
CONFIRM_NS = 5 * NS_PER_S
WINDOW_NS_MAX = 60 * NS_PER_S
# Why an audit could not compare: the book was lost or resynced, the venue refused the read, did not answer in time, said
# what cannot be read, or gave a reading older than the window.
INCONCLUSIVE = ("book", "refused", "time", "unreadable", "stale")

Levels = list[tuple[int, int]]
Rows = tuple[tuple[Decimal, Decimal, int], ...]


class Step(enum.Enum):
    """Where the audit under way is."""

    IDLE = "idle"
    SETTLING = "settling"
    ASKED = "asked"
    CATCHING_UP = "catching up"
    DOUBTING = "doubting"


class Difference(msgspec.Struct, frozen=True):
    """One level that the venue shows otherwise; 0 is a level that is not there. `side` is codes.Side."""

    side: int
    price_raw: int
    ours_raw: int
    theirs_raw: int


class Finding(msgspec.Struct, frozen=True):
    """A book that is wrong: its number, how many levels differ, and the first of them, best first, bids first."""

    number: int
    count: int
    first: Difference

    def log_fields(self, spec: InstrumentSpec) -> dict[str, object]:
        """The difference in words and the instrument's own digits, for the log."""
        first = self.first
        return {"levels": self.count, "side": "bid" if first.side == Side.BUY else "ask",
                "price": format_raw(first.price_raw, spec.price_precision),
                "ours": format_raw(first.ours_raw, spec.qty_precision),
                "theirs": format_raw(first.theirs_raw, spec.qty_precision)}


class SideReading(msgspec.Struct, frozen=True):
    """One side as read: (quantity, what one unit of its last printed digit is) by price, raw; `whole`: nothing was cut."""

    levels: dict[int, tuple[int, int]]
    whole: bool


def side_reading(rows: Rows, spec: InstrumentSpec, asked: int) -> SideReading:
    """Return one side of a reading in raw integers.

    Raises:
        ValueError: digits beyond the instrument's precision, or a price twice.
    """
    levels = {}
    for price, qty, _ in rows:
        missing = spec.qty_precision + min(int(qty.as_tuple().exponent), 0)
        levels[to_raw(price, spec.price_precision)] = (to_raw(qty, spec.qty_precision), 10**max(missing, 0))
    if len(levels) != len(rows):
        raise ValueError("a price comes twice")
    return SideReading(levels, whole=len(rows) < asked)


def _worst(levels: Levels, limit: int, sign: int) -> int | None:
    """Key (sign x price) of the last level of a side that is cut at `limit`, None where all levels are there."""
    return sign * levels[-1][0] if len(levels) >= limit else None


def side_differences(side: int, before: Levels, after: Levels, touched: set[int], reading: SideReading, *,
                     limit: int) -> tuple[list[Difference], list[Difference]]:
    """Compare one side of a book with a reading made in the window.

    Args:
        side: codes.Side.
        before, after: our levels at the window's start and end, best first.
        touched: prices that messages named in the window.
        reading: the venue's levels.
        limit: depth that we keep.

    Returns:
        (differences that nothing explains, differences under the checksum): the second make the reading an old one.
    """
    sign = int(side)
    ends = [_worst(before, limit, sign), _worst(after, limit, sign)]
    if not reading.whole:
        ends.append(min((sign * price for price in reading.levels), default=None))
    floor = max((end for end in ends if end is not None), default=None)
    tenths = [_worst(levels[:PROVEN_LEVELS], PROVEN_LEVELS, sign) for levels in (before, after)]
    proven = max((tenth for tenth in tenths if tenth is not None), default=None)
    first, last = dict(before), dict(after)
    deep: list[Difference] = []
    under_checksum: list[Difference] = []
    for price in sorted((first.keys() | last.keys() | reading.levels.keys()) - touched, key=lambda p: -sign * p):
        if floor is not None and sign * price < floor:
            break
        ours = last.get(price, 0)
        if first.get(price, 0) != ours:
            continue    # it left the depth that we keep: no message says so
        theirs, unit = reading.levels.get(price, (0, 1))
        if (price in reading.levels) == (ours != 0) and abs(ours - theirs) < unit:
            continue
        found = under_checksum if proven is None or sign * price >= proven else deep
        found.append(Difference(side, price, ours, theirs))
    return deep, under_checksum


class BookAudit:
    """Audits in turn over all instruments. One writer: the engine, whose timers and REST replies drive it.

    Args:
        core: the compiled core; books are its slots'.
        feed: trading rules by name.
        names: instruments, by number.
        ask: puts a public read into the REST lane; returns its id, None when the lane is full.
        live: whether an instrument's book subscription is live.

    Attributes:
        done_count: audits that compared a book, agreeing or not. difference_count: those that found a wrong level.
        inconclusive: audits that could not compare, by reason.
        done_mono_ns: when each instrument was compared last in this boot, by name.
    """

    def __init__(self, core: Core, feed: PublicFeed, names: tuple[str, ...], ask: Callable[[RestRequest], int | None],
                 live: Callable[[str], bool]) -> None:
        self.core = core
        self.feed = feed
        self.names = names
        self._ask = ask
        self._live = live
        self.done_count = 0
        self.difference_count = 0
        self.inconclusive: Counter[str] = Counter()
        self.done_mono_ns: dict[str, int] = {}
        self._pause_ns = 0
        self._next_ns: int | None = None
        self._turn = self._number = 0
        self._begin()

    def _begin(self) -> None:
        self.step = Step.IDLE
        self._opened_ns = self._due_ns = 0
        self._request_id: int | None = None
        self._reading: DepthSnapshot | None = None
        self._before: tuple[Levels, Levels] = ([], [])
        self._doubts: set[tuple[int, int]] = set()

    def _reset(self) -> None:
        if self.step is not Step.IDLE:
            self._book().close_window()
        self._begin()

    def restart(self, interval_ns: int) -> None:
        """Begin a boot: every instrument is due once in `interval_ns`, evenly spread."""
        self._reset()
        self.done_mono_ns.clear()
        self._pause_ns = interval_ns // len(self.names)
        self._next_ns = None

    def age_ns(self, name: str, mono_ns: int) -> int | None:
        """Return the time since an instrument's book was compared, None where it was not in this boot."""
        done_ns = self.done_mono_ns.get(name)
        return None if done_ns is None else max(0, mono_ns - done_ns)

    # Time.

    def on_timer(self, mono_ns: int, *, lane_free: bool) -> Finding | None:
        """Go on; `lane_free`: no other REST read waits. Returns what was found wrong, once."""
        if self.step is Step.IDLE:
            self._begin_due(mono_ns)
        elif self._book().window() is None or not self._sound():
            self._break_off("book")
        elif mono_ns - self._opened_ns > WINDOW_NS_MAX:
            self._break_off("time")
        elif mono_ns >= self._due_ns:
            if self.step in (Step.SETTLING, Step.DOUBTING) and lane_free:
                self._read()
            elif self.step is Step.CATCHING_UP:
                return self._judge(mono_ns)
        return None

    def _begin_due(self, mono_ns: int) -> None:
        if self._next_ns is None:
            self._next_ns = mono_ns + self._pause_ns
        if mono_ns < self._next_ns:
            return
        self._next_ns = mono_ns + self._pause_ns
        for _ in self.names:
            self._number = self._turn
            self._turn = (self._turn + 1) % len(self.names)
            # One that is not verified is passed over: its next snapshot is as good as an audit.
            if self._sound():
                self._book().open_window()
                self._opened_ns = mono_ns
                self._before = self._levels()
                self.step, self._due_ns = Step.SETTLING, mono_ns + SETTLE_NS
                return

    def _sound(self) -> bool:
        name = self.names[self._number]
        return self._book().state == BookState.BOOK_VERIFIED and name in self.feed.specs and self._live(name)

    def _book(self) -> Book:
        return self.core.slots[self._number].book

    def _levels(self) -> tuple[Levels, Levels]:
        book = self._book()
        bids, asks = ([level[:2] for level in book.levels(side, book.depth)] for side in (Side.BUY, Side.SELL))
        return bids, asks

    def _break_off(self, reason: str) -> None:
        self.inconclusive[reason] += 1
        self._reset()

    # The reading.

    def _read(self) -> None:
        self._request_id = self._ask(depth(self.names[self._number], min(self._book().depth, DEPTH_ROWS_MAX)))
        if self._request_id is None:
            self._break_off("refused")
            return
        self.step = Step.ASKED

    def on_reply(self, result: RestResult, mono_ns: int) -> bool:
        """Take the reply to a read of this audit; False where it is another's. A late one changes nothing."""
        if result.method != "Depth" or self.step is not Step.ASKED or result.request_id != self._request_id:
            return False
        if result.outcome is not Outcome.DONE:
            self._break_off("refused")
            return True
        try:
            self._reading = parse_depth(result.result)
        except FieldError:
            self._break_off("unreadable")
            return True
        self.step, self._due_ns = Step.CATCHING_UP, mono_ns + CATCH_UP_NS
        return True

    def _judge(self, mono_ns: int) -> Finding | None:
        try:
            deep, old = self._compare()
        except ValueError:
            self._break_off("unreadable")
            return None
        if old:
            self._break_off("stale")
            return None
        if self._doubts:
            deep = [difference for difference in deep if (difference.side, difference.price_raw) in self._doubts]
        elif deep:
            self._doubts = {(difference.side, difference.price_raw) for difference in deep}
            self.step, self._due_ns = Step.DOUBTING, mono_ns + CONFIRM_NS
            return None
        return self._conclude(deep, mono_ns)

    def _compare(self) -> tuple[list[Difference], list[Difference]]:
        assert self._reading is not None, "a reading came before it is judged"
        spec, book = self.feed.specs[self.names[self._number]], self._book()
        asked = min(book.depth, DEPTH_ROWS_MAX)
        deep: list[Difference] = []
        old: list[Difference] = []
        rows = (self._reading.bids, self._reading.asks)
        for side, before, after, read in zip((Side.BUY, Side.SELL), self._before, self._levels(), rows, strict=True):
            found = side_differences(side, before, after, book.window() or set(), side_reading(read, spec, asked),
                                     limit=book.depth)
            deep += found[0]
            old += found[1]
        return deep, old

    def _conclude(self, deep: list[Difference], mono_ns: int) -> Finding | None:
        self.done_count += 1
        self.done_mono_ns[self.names[self._number]] = mono_ns
        self._reset()
        if not deep:
            return None
        self.difference_count += 1
        return Finding(self._number, len(deep), deep[0])
