"""A plain client for the tests: own signing, own book, no code of the project."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
import urllib.parse
import zlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import aiohttp

Message = dict[str, Any]
_last_nonce = 0


def nonce() -> int:
    """Return a nonce above every one given before."""
    global _last_nonce
    _last_nonce = max(_last_nonce + 1, time.time_ns() // 1000)
    return _last_nonce


def sign(path: str, nonce_text: str, body: str, secret: str) -> str:
    """Return API-Sign by Kraken's published rule."""
    digest = hashlib.sha256((nonce_text + body).encode()).digest()
    return base64.b64encode(hmac.new(base64.b64decode(secret), path.encode() + digest, hashlib.sha512).digest()).decode()


class Client:
    """REST and websockets of one practice exchange."""

    def __init__(self, addresses: dict[str, str]) -> None:
        self.addresses = addresses
        self.session = aiohttp.ClientSession()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def public(self, method: str, **params: object) -> Message:
        """GET a public endpoint."""
        async with self.session.get(f"{self.addresses['rest']}/0/public/{method}", params=params) as reply:
            assert reply.status == 200
            return json.loads(await reply.text())

    async def private(self, method: str, _json: bool = False, _headers: Message | None = None, **params: object) -> Message:
        """POST a signed call, form or JSON."""
        path = f"/0/private/{method}"
        fields = {"nonce": str(nonce()), **params}
        body = json.dumps(fields) if _json else urllib.parse.urlencode(fields)
        headers = {
            "API-Key": self.addresses["api_key"],
            "API-Sign": sign(path, str(fields["nonce"]), body, self.addresses["api_secret"]),
            "Content-Type": "application/json" if _json else "application/x-www-form-urlencoded",
            **(_headers or {}),
        }
        async with self.session.post(self.addresses["rest"] + path, data=body, headers=headers) as reply:
            assert reply.status == 200
            return json.loads(await reply.text())

    async def token(self) -> str:
        """Return a fresh websocket token."""
        return (await self.private("GetWebSocketsToken"))["result"]["token"]

    async def socket(self, name: str) -> Socket:
        """Connect to `ws_public`, `ws_private` or `ws_futures`."""
        return Socket(await self.session.ws_connect(self.addresses[name]))


class Socket:
    """One websocket; everything received is kept in `seen`, numbers as Decimal."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.seen: list[Message] = []
        self._looked_at = 0

    async def send(self, method: str, req_id: int | None = None, **params: object) -> None:
        """Send one request; Decimals are printed as bare numbers."""
        request: Message = {"method": method, "params": params}
        if req_id is not None:
            request["req_id"] = req_id
        await self.ws.send_str(dumps(request))

    async def next(self) -> Message:
        """Return the next message that is no heartbeat."""
        while True:
            message = json.loads(await self.ws.receive_str(timeout=5), parse_float=Decimal)
            self.seen.append(message)
            if message.get("channel") != "heartbeat":
                return message

    async def until(self, wanted: Callable[[Message], bool], timeout_s: float = 15.0) -> Message:
        """Return the next message that is wanted; what comes before is in `seen`."""
        async with asyncio.timeout(timeout_s):
            while True:
                message = await self.next()
                if wanted(message):
                    return message

    async def ask(self, method: str, req_id: int, **params: object) -> Message:
        """Send a request and return its reply."""
        await self.send(method, req_id, **params)
        return await self.until(lambda m: m.get("req_id") == req_id)

    async def execution(self, exec_type: str, timeout_s: float = 15.0, **fields: object) -> Message:
        """Return the next execution event of a type whose fields match."""

        def matches(message: Message) -> bool:
            if message.get("channel") != "executions" or message.get("type") != "update":
                return False
            row = message["data"][0]
            return row["exec_type"] == exec_type and all(row.get(k) == v for k, v in fields.items())

        return (await self.until(matches, timeout_s))["data"][0]


def dumps(value: object) -> str:
    """Return JSON with every Decimal as a bare fixed-point number."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{dumps(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(dumps(v) for v in value) + "]"
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value)


class TextBook:
    """An L2 book kept as the wire's own text, truncated to its depth, checked by CRC32 on every message."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[str, str]] = {"asks": {}, "bids": {}}
        self.checked = 0
        self.truncated = 0

    def apply(self, raw: str) -> None:
        """Take one book message and fail if its checksum does not match."""
        message = json.loads(raw, parse_float=str, parse_int=str)
        for entry in message["data"]:
            if message["type"] == "snapshot":
                self.sides = {"asks": {}, "bids": {}}
            for word in ("bids", "asks"):
                self._side(word, entry[word])
            assert self.checksum() == int(entry["checksum"]), "the checksum of the stream does not match its levels"
            self.checked += 1

    def _side(self, word: str, levels: list[dict[str, str]]) -> None:
        side = self.sides[word]
        for level in levels:
            if Decimal(level["qty"]) == 0:
                side.pop(level["price"], None)
            else:
                side[level["price"]] = level["qty"]
        for price in self.prices(word)[self.depth :]:
            del side[price]
            self.truncated += 1

    def prices(self, word: str) -> list[str]:
        """Return the prices of a side, best first."""
        return sorted(self.sides[word], key=Decimal, reverse=word == "bids")

    def checksum(self) -> int:
        """Return the CRC32 of the ten best levels, asks first."""
        tokens = []
        for word in ("asks", "bids"):
            for price in self.prices(word)[:10]:
                tokens += [price, self.sides[word][price]]
        return zlib.crc32("".join(t.replace(".", "").lstrip("0") for t in tokens).encode())


def run(coroutine: Any, timeout_s: float = 60.0) -> Any:
    """Run a test's coroutine with a bound."""

    async def bounded() -> Any:
        async with asyncio.timeout(timeout_s):
            return await coroutine

    return asyncio.run(bounded())
