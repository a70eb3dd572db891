"""Who may talk to the private side: API key, signature, nonce, websocket tokens. An own reading of Kraken's signing rule."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field

from cstd.practice.wire import NS_PER_S

TOKEN_LIFE_S = 900
# What a key may do, and the endpoints that each right opens; the others need none.
RIGHTS: dict[str, tuple[str, ...]] = {
    "query-funds": ("Balance", "BalanceEx", "TradeBalance", "TradeVolume"),
    "query-open-trades": ("OpenOrders", "OpenPositions"),
    "query-closed-trades": ("ClosedOrders", "TradesHistory", "QueryTrades"),
    "modify-trades": ("AddOrder", "AddOrderBatch", "AmendOrder", "EditOrder"),
    "close-trades": ("CancelOrder", "CancelAll", "CancelAllOrdersAfter", "CancelOrderBatch"),
    "query-ledger": ("Ledgers", "QueryLedgers"),
    "access-websockets": ("GetWebSocketsToken",),
}
OTHER_RIGHTS = ("add-funds", "withdraw-funds", "earn-funds", "export-data")
_RIGHT_OF = {method: right for right, methods in RIGHTS.items() for method in methods}


def signature(path: str, nonce: str, body: bytes, secret_base64: str) -> str:
    """Return the API-Sign a client must have sent: HMAC-SHA512(secret, path + SHA256(nonce + body)), base64."""
    digest = hashlib.sha256(nonce.encode() + body).digest()
    mac = hmac.new(base64.b64decode(secret_base64), path.encode() + digest, hashlib.sha512)
    return base64.b64encode(mac.digest()).decode()


@dataclass(slots=True)
class _Token:
    created_ns: int
    connections: set[int] = field(default_factory=set)


class Credentials:
    """One API key with its nonce, and the tokens made with it.

    Invariant: an accepted nonce is greater than every one accepted before it.
    """

    def __init__(self, api_key: str, api_secret: str) -> None:
        self.api_key = api_key
        self.api_secret = api_secret
        self.rights: tuple[str, ...] = tuple(RIGHTS)
        self._nonce = -1
        self._tokens: dict[str, _Token] = {}

    def refusal(self, *, path: str, api_key: str, api_sign: str, nonce: str, body: bytes) -> str | None:
        """Return Kraken's error for a call that may not pass, or None; a passing call uses up its nonce."""
        if not hmac.compare_digest(api_key.encode(), self.api_key.encode()):
            return "EAPI:Invalid key"
        if not nonce.isascii() or not nonce.isdigit():
            return "EAPI:Invalid nonce"
        expected = signature(path, nonce, body, self.api_secret)
        if not hmac.compare_digest(api_sign.encode(), expected.encode()):
            return "EAPI:Invalid signature"
        value = int(nonce)
        if value <= self._nonce or value >= 1 << 64:
            return "EAPI:Invalid nonce"
        self._nonce = value
        return None

    def may_call(self, method: str) -> bool:
        """Return True if the key's rights open an endpoint."""
        return method not in _RIGHT_OF or _RIGHT_OF[method] in self.rights

    def add_token(self, token: str, now_ns: int) -> None:
        """Remember a token made at `now_ns`; it must be used within 900 s."""
        self._forget_old(now_ns)
        self._tokens[token] = _Token(now_ns)

    def _forget_old(self, now_ns: int) -> None:
        for token in [t for t, entry in self._tokens.items() if not self._alive(entry, now_ns)]:
            del self._tokens[token]

    def _alive(self, entry: _Token, now_ns: int) -> bool:
        return bool(entry.connections) or now_ns - entry.created_ns < TOKEN_LIFE_S * NS_PER_S

    def token_valid(self, token: object, now_ns: int) -> bool:
        """Return True if `token` is young enough or held open by a private subscription."""
        entry = self._tokens.get(token) if isinstance(token, str) else None
        return entry is not None and self._alive(entry, now_ns)

    def hold_token(self, token: str, connection: int) -> None:
        """A private subscription with `token` is open on `connection`: the token does not expire meanwhile."""
        self._tokens[token].connections.add(connection)

    def release_tokens(self, connection: int) -> None:
        """`connection` is gone."""
        for entry in self._tokens.values():
            entry.connections.discard(connection)

    def revoke_tokens(self) -> None:
        """Make every token invalid, as Kraken does when it upgrades its websocket servers."""
        self._tokens.clear()
