"""Which sockets bring more than is read, or take less than is sent: while one does, no opening may leave."""

from __future__ import annotations

from typing import Any

from cstd._fast.codes import Link


class Congestion:
    """State of both links in this respect, from the links' own journaled notes.

    `behind`: what is read is older than what waits. `stalled`: what is sent waits in this process.
    """

    def __init__(self) -> None:
        self._links: dict[str, set[int]] = {"behind": set(), "stalled": set()}

    def clear(self, link: int) -> None:
        """Forget a link's state: its connection is another one."""
        for links in self._links.values():
            links.discard(link)

    def take(self, link: int, payload: dict[str, Any]) -> list[tuple[str, bool]]:
        """Take a note of a link; returns what it says as (word, whether it holds)."""
        changes = [(word, bool(payload[word])) for word in self._links if word in payload]
        for word, holds in changes:
            (self._links[word].add if holds else self._links[word].discard)(link)
        return changes

    def busy(self, link: int) -> bool:
        """Whether anything stands against openings on this link."""
        return any(link in links for links in self._links.values())

    def reason(self, link: int) -> str:
        """What stands against openings on this link, in words; "" for nothing."""
        if link in self._links["behind"]:
            return ("market data arrives faster than it is read" if link == Link.LINK_PUBLIC
                    else "private messages arrive faster than they are read")
        return "the venue does not read the private socket" if link in self._links["stalled"] else ""
