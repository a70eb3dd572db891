"""EvidenceFetch: proof that a quiet book is current, fetched before it is missed.

A quote may be used for an opening only with evidence of the last seconds that it is current, and a healthy quiet pair can be
silent for longer. The cheapest proof is the snapshot that a new `ticker` subscription begins with: it tells the top of the
book as the venue has it now, and where it agrees the core takes it for evidence. The book itself is not touched, so it stays
verified and tradable meanwhile, which a new book subscription would not allow; and a REST reading has no time of its own.

A ticker that still differs from the book two seconds after it came, and no book message has explained it, means that updates
were lost: the book is blocked as silent and resynced, so that its next snapshot is the evidence.

    IDLE ──quiet, due──► ASKED ──evidence──► IDLE, agreed
                           ├──ticker, 2 s──► IDLE, differed: the book is resynced
                           └──nothing, 5 s──► IDLE, unanswered: it is asked again later, and stays unusable

One at a time, at most two a second: instruments with a live order first, then all in turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cstd._fast.codes import BookFault, BookState
from cstd.market.feed import PublicFeed
from cstd.units import NS_PER_S

if TYPE_CHECKING:
    from cstd._fast.core import Core
    from cstd.venue.public import PublicMachine

PACE_NS = NS_PER_S // 2
DIFFER_NS = 2 * NS_PER_S
ANSWER_NS = 5 * NS_PER_S
# What was asked for and did not come is not asked for again at once.
PAUSE_NS = 15 * NS_PER_S
# Asked this long before the evidence would be too old, or at half of its time where that is later.
AHEAD_NS = 2 * NS_PER_S
TURN = 32
# How a fetch ended: with evidence, with another top of book, with no ticker in time, or the book was lost meanwhile.
ENDS = ("agreed", "differed", "unanswered", "book")


class EvidenceFetch:
    """Fetches in turn over all instruments. One writer: the engine's timer.

    Args:
        core: the compiled core; books and their evidence are its slots'.
        feed: its notes take what is to be logged.
        names: instruments, by number.

    Attributes:
        ended: fetches by how they ended (ENDS).
    """

    def __init__(self, core: Core, feed: PublicFeed, names: tuple[str, ...]) -> None:
        self.core = core
        self.feed = feed
        self.names = names
        self.ended: Counter[str] = Counter()
        self.restart(0)

    def restart(self, limit_ns: int) -> None:
        """Begin a boot: evidence may be `limit_ns` old."""
        self.keep_within(limit_ns)
        self._turn = self._next_ns = self._asked_ns = 0
        self._number: int | None = None
        self._not_before_ns: dict[int, int] = {}

    def keep_within(self, limit_ns: int) -> None:
        """Evidence may be `limit_ns` old from now on."""
        self._quiet_ns = max(limit_ns - AHEAD_NS, limit_ns // 2)

    def on_timer(self, public: PublicMachine, mono_ns: int) -> None:
        """Follow the fetch under way, or begin one that is due."""
        if self._number is not None:
            self._follow(self._number, mono_ns)
        elif mono_ns >= self._next_ns:
            for number in self._candidates():
                if self._quiet(number, public, mono_ns) and public.renew(self.names[number], "ticker", mono_ns):
                    self.core.slots[number].tickers = 0
                    self._number, self._asked_ns, self._next_ns = number, mono_ns, mono_ns + PACE_NS
                    return

    def _candidates(self) -> Iterator[int]:
        yield from dict.fromkeys(self.core.order(index)["instrument"] for index in self.core.live_orders())
        for _ in range(min(TURN, len(self.names))):
            self._turn = (self._turn + 1) % len(self.names)
            yield self._turn

    def _quiet(self, number: int, public: PublicMachine, mono_ns: int) -> bool:
        slot = self.core.slots[number]
        return (mono_ns - slot.evidence_mono_ns >= self._quiet_ns and slot.book.state == BookState.BOOK_VERIFIED
                and bool(slot.online) and public.live(self.names[number]) and mono_ns >= self._not_before_ns.get(number, 0))

    def _follow(self, number: int, mono_ns: int) -> None:
        slot, waited_ns = self.core.slots[number], mono_ns - self._asked_ns
        if slot.book.state != BookState.BOOK_VERIFIED:
            self._end("book")
        elif slot.evidence_mono_ns >= self._asked_ns:
            self._end("agreed")
        elif slot.tickers and waited_ns > DIFFER_NS:
            self._end("differed")
            self.feed.notes.append(("warning", "the ticker shows another top of the quiet book",
                                    {"instrument": self.names[number]}))
            self.core.book_fault(number, BookFault.FAULT_SILENT)
        elif waited_ns > ANSWER_NS:
            self._end("unanswered")
            self._not_before_ns[number] = mono_ns + PAUSE_NS

    def _end(self, how: str) -> None:
        self.ended[how] += 1
        self._number = None
