"""Tokens by which the page may answer what waits for an operator: each is of somebody who may operate, and ends.

`cstd page token` asks for one over the admin socket, where the kernel says who asks; whoever may not operate there gets none.
The trading process alone knows them, as hashes, and forgets them when it ends. A token gives what is in `PAGE_VERBS` and nothing
else, and each command that came by it is journaled with the uid and gid of whose it is.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict

from cstd.ops.access import Peer

PAGE_VERBS = frozenset({"approve", "decline"})
LASTS_S = 8 * 3_600.0  # a shift
TOKEN_BYTES = 32
TOKEN_CHARS_MAX = 128  # of what is offered as one
TOKENS_MAX = 16  # the oldest is forgotten first


class PageTokens:
    """The tokens that are good. One writer: the admin server. Reads no clock."""

    def __init__(self) -> None:
        self._owners: OrderedDict[bytes, tuple[Peer, float]] = OrderedDict()

    def issue(self, peer: Peer, now_s: float) -> str:
        """Return a new token of a peer that may operate, good for LASTS_S seconds."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._owners[_hash(token)] = (peer, now_s + LASTS_S)
        if len(self._owners) > TOKENS_MAX:
            self._owners.popitem(last=False)
        return token

    def owner(self, token: object, now_s: float) -> Peer | None:
        """Return whose a token is; None where it is none, or has ended."""
        if not isinstance(token, str) or not 0 < len(token) <= TOKEN_CHARS_MAX:
            return None
        found = self._owners.get(_hash(token))
        return found[0] if found is not None and now_s < found[1] else None

    def end(self, uid: int, now_s: float) -> int:
        """Forget every token of a user; return how many were good until now."""
        ended = {key: until_s for key, (peer, until_s) in self._owners.items() if peer.uid == uid}
        for key in ended:
            del self._owners[key]
        return sum(now_s < until_s for until_s in ended.values())


def _hash(token: str) -> bytes:
    # Looked up by its hash: how long that takes tells nothing of how much of a guess is right.
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
