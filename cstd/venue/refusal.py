"""Refusals of the edge in front of the venue, HTTP 429 and 403: what they mean, and how long to stay away.

About 150 connection attempts in ten minutes have an address banned for ten minutes, and this is how the ban shows. What is
asked meanwhile is refused as well, and may make the ban last: so each refusal doubles the time until the next question.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from cstd.units import NS_PER_S
from cstd.venue.backoff import RetryDelays

EDGE_REFUSALS = (403, 429)
# A longer wait than this is an operator's matter: what is told is no reason to stay away for a day.
RETRY_AFTER_NS_MAX = 3600 * NS_PER_S


class EdgeDelays(RetryDelays):
    """5, 10, 20 ... 600 s; over again once nothing was refused for the last of them and a minute more."""

    __slots__ = ()

    DELAYS_S = (5, 10, 20, 40, 80, 160, 320, 600)


def retry_after_ns(text: str | None, wall_ns: int) -> int:
    """Return how long a `Retry-After` header asks to wait, at most an hour; 0 where there is none that can be read.

    Args:
        text: the header: whole seconds, or a date.
        wall_ns: now, for a date.
    """
    word = (text or "").strip()
    if word.isascii() and word.isdigit():
        # More digits than an hour has are not worth reading.
        return min(int(word) * NS_PER_S, RETRY_AFTER_NS_MAX) if len(word) <= 9 else RETRY_AFTER_NS_MAX
    try:
        moment = parsedate_to_datetime(word)
    except ValueError:
        return 0
    until_ns = int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()) * NS_PER_S
    return min(max(until_ns - wall_ns, 0), RETRY_AFTER_NS_MAX)


class EdgeHolds:
    """Until when the calls of a lane wait for an edge that refuses them: reads up to ten minutes, orders up to one.

    Orders wait for refusals of their own alone: a ban that reads have met traps no exit and no cancel behind it, and one that
    orders meet sees few of them. What became of an order that was refused the reads alone can tell, so for an hour they wait
    no longer than orders do, and none of an order's refusals keeps them from their turn for more than the first wait.
    """

    __slots__ = ("_order_delays", "_order_refused_ns", "_read_delays", "_refused_ns", "orders_from_ns", "reads_from_ns")

    ORDER_WAIT_NS_MAX = 60 * NS_PER_S
    IN_DOUBT_NS = 3600 * NS_PER_S

    def __init__(self) -> None:
        self.reads_from_ns = 0
        self.orders_from_ns = 0
        self._read_delays = EdgeDelays()
        self._order_delays = EdgeDelays()
        self._order_refused_ns: int | None = None
        self._refused_ns = 0

    @property
    def looks_from_ns(self) -> int:
        """Until when the look that is to prove a kill waits: as reads do, up to a minute after the last refusal."""
        return min(self.reads_from_ns, self._refused_ns + self.ORDER_WAIT_NS_MAX)

    def refuse_read(self, now_ns: int, told_ns: int) -> None:
        """Take the refusal of a read; `told_ns` is how long the edge asks to stay away."""
        self._refused_ns = now_ns
        self.reads_from_ns = max(self._read_delays.fail(now_ns), now_ns + told_ns)
        if self._order_refused_ns is not None and now_ns - self._order_refused_ns < self.IN_DOUBT_NS:
            self.reads_from_ns = min(self.reads_from_ns, now_ns + self.ORDER_WAIT_NS_MAX)

    def refuse_order(self, now_ns: int, told_ns: int) -> None:
        """Take the refusal of an exit or a cancel."""
        self._order_refused_ns = self._refused_ns = now_ns
        longest_ns = now_ns + self.ORDER_WAIT_NS_MAX
        self.orders_from_ns = min(max(self._order_delays.fail(now_ns), now_ns + told_ns), longest_ns)
        first_ns = now_ns + max(EdgeDelays.DELAYS_S[0] * NS_PER_S, told_ns)
        self.reads_from_ns = min(max(self.reads_from_ns, first_ns), longest_ns)

    def lift(self, *, order: bool) -> None:
        """The edge has let a read or an order through: reads wait no more, and orders where it was one.

        The next refusal waits as long as it would have: every other call refused is no reason to ask as often as before.
        """
        self.reads_from_ns = 0
        if order:
            self.orders_from_ns = 0
