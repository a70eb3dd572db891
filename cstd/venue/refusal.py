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
