"""What a key may do, judged: a daemon's key trades and reads, and moves no money away.

The venue tells the rights of the key that asks (`GetApiKeyInfo`). Its words are compared without regard to case and to what is
between them; a right that is needed and not among them counts as missing, also where it may only be spelled in a new way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cstd.config.problems import Problem
from cstd.venue.rest.models import KeyInfo

# What is needed, by the venue's name of it in its settings, and the words that mean it.
NEEDED: Mapping[str, frozenset[str]] = {
    "Query Funds": frozenset({"query-funds"}),
    "Query Open Orders & Trades": frozenset({"query-open-trades", "query-open-orders-trades"}),
    "Query Closed Orders & Trades": frozenset({"query-closed-trades", "query-closed-orders-trades"}),
    "Create & Modify Orders": frozenset({"modify-trades", "create-modify-orders"}),
    "Cancel/Close Orders": frozenset({"close-trades", "cancel-close-orders"}),
    "Access WebSockets API": frozenset({"access-websockets", "access-websockets-api", "websocket-interface-on"}),
}
HOW = "change the key's permissions in the venue's settings, or make a key of its own for this daemon"


def key_problems(info: KeyInfo) -> list[Problem]:
    """Return what forbids trading with a key, [] for a key that fits."""
    words = {_plain(right): right for right in info.permissions}
    found = [Problem(key="API key", value=right, reason="the key may withdraw; a key that trades unattended must not",
                     suggestion=HOW) for word, right in sorted(words.items()) if "withdraw" in word]
    found += [Problem(key="API key", reason=f"the key lacks the right {name!r}", suggestion=HOW)
              for name, spellings in NEEDED.items() if not spellings & words.keys()]
    return found


def _plain(right: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", right.lower()).strip("-")
