"""HttpClient: the I/O edge of REST. One session, one private call at a time, nothing raised.

The key, the secret and the nonce live here and nowhere in the engine. What goes wrong below HTTP comes back as a value,
because for an order it means "outcome unknown" and for a read "try again", and the lane decides which.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Protocol

import aiohttp
import msgspec

from cstd.clock import Clock
from cstd.errors import ConnectivityError, EdgeRefusedError, InvariantError, VenueRejectError
from cstd.units import NS_PER_S
from cstd.venue.errors_table import NO_ANSWER, listed
from cstd.venue.fields import FieldError, decode_json, mapping_of
from cstd.venue.refusal import EDGE_REFUSALS, retry_after_ns
from cstd.venue.rest.models import parse_token
from cstd.venue.rest.request import RestRequest, sign, websocket_token
from cstd.venue.trust import tls_context

USER_AGENT = "cstd"
# AssetPairs of all pairs is about 1.5 MB.
BODY_BYTES_MAX = 16 * 1024 * 1024
TOKEN_TIMEOUT_NS = 8 * NS_PER_S
CONNECT_TIMEOUT_S = 5.0


class NonceTaker(Protocol):
    """Gives nonces; see `cstd.venue.nonce`."""

    def take(self, wall_ns: int) -> int:
        """Return the next nonce."""


class Credentials:
    """An API key and its secret; shows neither."""

    __slots__ = ("api_key", "api_secret")

    def __init__(self, api_key: str, api_secret: str) -> None:
        # A header or a signature that cannot be made is an operator's mistake to be told at the start, without the key.
        if not re.fullmatch(r"[A-Za-z0-9+/=_-]{8,256}", api_key):
            raise ValueError("the API key is empty or has unexpected characters")
        sign("/0/private/Time", b"", 0, api_secret)
        self.api_key = api_key
        self.api_secret = api_secret

    def __repr__(self) -> str:
        return "Credentials(hidden)"


class HttpReply(msgspec.Struct, frozen=True):
    """What a call brought: status and body, or status 0 and what went wrong below HTTP.

    `retry_after_ns` is how long the edge asks to stay away, with a status of EDGE_REFUSALS.
    """

    status: int
    body: bytes
    transport_error: str = ""
    retry_after_ns: int = 0


class HttpClient:
    """Make REST calls to one venue.

    Args:
        base_url: from `Endpoints.rest`.
        clock: the process's clock, for nonces.
        credentials: for private calls; None = public only.
        nonces: source of nonces; needed with credentials.
    """

    def __init__(self, base_url: str, *, clock: Clock, credentials: Credentials | None = None,
                 nonces: NonceTaker | None = None) -> None:
        if (credentials is None) != (nonces is None):
            raise InvariantError("credentials and a nonce source come together or not at all")
        self._base_url = base_url
        self._clock = clock
        self._credentials = credentials
        self._nonces = nonces
        self._session: aiohttp.ClientSession | None = None
        # Nonces must arrive in order, so a private call holds this from taking its nonce to its reply.
        self._private_lock = asyncio.Lock()
        self.call_count = 0
        self.failure_count = 0
        self.refused_count = 0
        self.errors: Counter[str] = Counter()  # by text as listed, of the calls that no lane makes: a token, the key's rights

    async def call(self, request: RestRequest, timeout_ns: int) -> HttpReply:
        """Make one call and return what came of it within `timeout_ns`.

        Raises:
            InvariantError: the request would change orders and the gateway did not make it.
        """
        if request.is_order and not request.made_by_gateway:
            self.refused_count += 1
            raise InvariantError(f"REST {request.method} was built outside the gateway")
        self.call_count += 1
        try:
            async with asyncio.timeout(timeout_ns / NS_PER_S):
                return await (self._private(request) if request.private else self._public(request))
        except TimeoutError:
            return self._failed("no reply in time")
        except (aiohttp.ClientError, OSError) as error:
            return self._failed(f"{type(error).__name__}: {error}")

    async def fetch_token(self) -> str:
        """Return a new session token of the private websocket.

        Raises:
            VenueRejectError: the venue refused.
            EdgeRefusedError: HTTP 429 or 403.
            ConnectivityError: no usable reply.
        """
        reply = await self.call(websocket_token(), TOKEN_TIMEOUT_NS)
        try:
            if reply.status in EDGE_REFUSALS:
                raise EdgeRefusedError(f"no websocket token: HTTP {reply.status}", retry_after_ns=reply.retry_after_ns)
            if reply.transport_error or reply.status != 200:
                raise ConnectivityError(f"no websocket token: {reply.transport_error or f'HTTP {reply.status}'}")
            return _token_of(reply.body)
        except ConnectivityError:
            self.errors[NO_ANSWER] += 1
            raise
        except VenueRejectError as error:
            self.errors[listed(error.code)] += 1
            raise

    async def close(self) -> None:
        """Close the session."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _public(self, request: RestRequest) -> HttpReply:
        query = request.query()
        url = f"{self._base_url}{request.path}" + (f"?{query}" if query else "")
        async with self._open_session().get(url, allow_redirects=False) as response:
            return await self._read(response)

    async def _private(self, request: RestRequest) -> HttpReply:
        credentials, nonces = self._credentials, self._nonces
        if credentials is None or nonces is None:
            raise InvariantError(f"REST {request.method} needs a key and there is none")
        async with self._private_lock:
            nonce = nonces.take(self._clock.wall_ns())
            body = request.body(nonce)
            headers = {
                "API-Key": credentials.api_key,
                "API-Sign": sign(request.path, body, nonce, credentials.api_secret),
                "Content-Type": "application/x-www-form-urlencoded",
            }
            url = f"{self._base_url}{request.path}"
            async with self._open_session().post(url, data=body, headers=headers, allow_redirects=False) as response:
                return await self._read(response)

    async def _read(self, response: aiohttp.ClientResponse) -> HttpReply:
        body = await response.content.read(BODY_BYTES_MAX + 1)
        while len(body) <= BODY_BYTES_MAX and not response.content.at_eof():
            body += await response.content.read(BODY_BYTES_MAX + 1 - len(body))
        if len(body) > BODY_BYTES_MAX:
            return self._failed(f"a reply longer than {BODY_BYTES_MAX} bytes")
        wait_ns = retry_after_ns(response.headers.get("Retry-After"), self._clock.wall_ns()) \
            if response.status in EDGE_REFUSALS else 0
        return HttpReply(response.status, body, retry_after_ns=wait_ns)

    def _failed(self, error: str) -> HttpReply:
        self.failure_count += 1
        return HttpReply(0, b"", error)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Plain HTTP is the practice exchange's on loopback; it needs no authorities.
                connector=aiohttp.TCPConnector(ssl=tls_context() if self._base_url.startswith("https://") else True),
                headers={"User-Agent": USER_AGENT},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
                trust_env=False,
            )
        return self._session


def _token_of(body: bytes) -> str:
    """Return the token in a reply; neither it nor the body ever appears in an error."""
    try:
        document = mapping_of(decode_json(body), "reply")
        errors = document.get("error")
        if isinstance(errors, list) and errors:
            raise VenueRejectError(f"no websocket token: {errors[0]}", code=str(errors[0]))
        return parse_token(document.get("result"))[0]
    except FieldError as error:
        raise ConnectivityError(f"no websocket token: {error}") from None
