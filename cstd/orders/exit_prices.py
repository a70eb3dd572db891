"""ExitPrices: the top of the book by REST, for exits that are due while the book of the socket cannot be used.

The compiled core says that an exit is due and has no price; a `Depth` snapshot is asked for, and its top of the book is
written where the core prices exits, and nothing else, from it, for as long as the configuration lets it count as fresh
(`policy.rest_price_age_s_max`). Its age counts from the question, because nobody knows when the venue made it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from cstd.market.feed import PublicFeed
from cstd.orders.tracker import OrderTracker
from cstd.units import INT64_MAX, NS_PER_S, to_raw
from cstd.venue.fields import FieldError
from cstd.venue.rest.lane import Outcome, RestResult
from cstd.venue.rest.models import DepthSnapshot, parse_depth
from cstd.venue.rest.request import RestRequest, depth

if TYPE_CHECKING:
    from cstd._fast.core import Core

ROWS = 10
# Pauses after 1, 2, ... readings in a row that gave no price, and between two that did.
PAUSES_NS = tuple(seconds * NS_PER_S for seconds in (1, 2, 4, 8, 16))
# Why a reading gave no price: the venue or the network refused it, it cannot be read, a side is empty, the sides cross,
# or it came so late that it is old.
FAILURES = ("refused", "malformed", "empty", "crossed", "stale")


class ExitPrices:
    """Readings of books for exits. One writer: the engine.

    Args:
        feed: instruments and their trading rules.
        tracker: has the ledger of what is held, and takes the notes for the log.
        submit: puts a public read into the REST lane; its id, or None while the lane is full.
        age_ns_max: how long a reading counts.

    Attributes:
        done_count: readings that gave a price. failed: those that did not, by reason (FAILURES).
    """

    def __init__(self, feed: PublicFeed, tracker: OrderTracker, submit: Callable[[RestRequest], int | None],
                 age_ns_max: int) -> None:
        self._core: Core = tracker.core
        self._feed = feed
        self._names = tuple(feed.numbers)
        self._submit = submit
        self._tracker = tracker
        self._age_ns_max = age_ns_max
        self._asked: dict[int, tuple[int, int]] = {}    # (instrument, when it was asked) by request
        self._not_before_ns: dict[int, int] = {}
        self._failures: Counter[int] = Counter()        # in a row, by instrument
        self.done_count = 0
        self.failed: Counter[str] = Counter()

    def on_timer(self, mono_ns: int) -> None:
        """Ask for the books that exits wait for."""
        for number in self._tracker.ledger.held():
            slot = self._core.slots[number]
            if not slot.exit_price_wanted:
                continue
            slot.exit_price_wanted = False
            asked = any(asked == number for asked, _ in self._asked.values())
            if asked or mono_ns < self._not_before_ns.get(number, 0) or self._names[number] not in self._feed.specs:
                continue
            request_id = self._submit(depth(self._names[number], ROWS))
            if request_id is None:
                self._fail(number, "refused", "the REST lane is full", mono_ns)
            else:
                self._asked[request_id] = number, mono_ns

    def on_result(self, done: RestResult, mono_ns: int) -> bool:
        """Take the end of a reading; False when it is none of these."""
        if done.request_id not in self._asked:
            return False
        number, asked_ns = self._asked.pop(done.request_id)
        if done.outcome is not Outcome.DONE:
            self._fail(number, "refused", ", ".join(done.errors), mono_ns)
            return True
        try:
            bid_raw, ask_raw = self._top(number, parse_depth(done.result))
        except (FieldError, ValueError) as error:
            self._fail(number, "malformed", str(error), mono_ns)
            return True
        if not bid_raw or not ask_raw:
            self._fail(number, "empty", "a side is empty", mono_ns)
        elif bid_raw >= ask_raw:
            self._fail(number, "crossed", f"bid {bid_raw} and ask {ask_raw}", mono_ns)
        elif mono_ns - asked_ns > self._age_ns_max:
            self._fail(number, "stale", f"it took {(mono_ns - asked_ns) // 1_000_000} ms", mono_ns)
        else:
            self._take(number, bid_raw, ask_raw, asked_ns)
        return True

    def _top(self, number: int, book: DepthSnapshot) -> tuple[int, int]:
        """(best bid, best ask) in raw units, 0 for an empty side.

        Raises:
            ValueError: digits beyond the instrument's precision, or a level that nobody can mean.
        """
        precision = self._feed.specs[self._names[number]].price_precision
        bids, asks = (_prices(rows, precision) for rows in (book.bids, book.asks))
        return max(bids, default=0), min(asks, default=0)

    def _take(self, number: int, bid_raw: int, ask_raw: int, asked_ns: int) -> None:
        slot = self._core.slots[number]
        slot.rest_bid_raw, slot.rest_ask_raw, slot.rest_read_mono_ns = bid_raw, ask_raw, asked_ns
        self._failures[number] = 0
        self._not_before_ns[number] = asked_ns + PAUSES_NS[0]
        self.done_count += 1
        self._tracker.notes.append(("warning", "the book cannot be used: exits are priced from a REST snapshot",
                                    {"instrument": self._names[number]}))

    def _fail(self, number: int, reason: str, text: str, mono_ns: int) -> None:
        self.failed[reason] += 1
        self._not_before_ns[number] = mono_ns + PAUSES_NS[min(self._failures[number], len(PAUSES_NS) - 1)]
        self._failures[number] += 1
        self._tracker.notes.append(("warning", "an exit waits: the REST snapshot gives no price",
                                    {"instrument": self._names[number], "reason": reason, "error": text}))


def _prices(rows: tuple[tuple[Decimal, Decimal, int], ...], precision: int) -> list[int]:
    """Raw prices of one side; ValueError where one is no price. REST cuts quantities: a small one is printed as 0.000."""
    prices = []
    for price, qty, _ in rows:
        raw = to_raw(price, precision)
        if not 0 < raw <= INT64_MAX or qty < 0:
            raise ValueError(f"a level of {qty} at {price}")
        prices.append(raw)
    return prices
