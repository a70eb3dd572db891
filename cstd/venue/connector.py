"""Connector: keeps one link up. The asyncio edge around a link: connecting, back-off, tokens, closing.

One connector per socket. It takes a new token before every private connection, waits as the policy says, verifies TLS
against the host's name, follows no redirect, and stays away for ten minutes, or as long as it is told, from a venue that
refuses the upgrade.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from picows import WSError, WSHandshakeError, ws_connect

from cstd.clock import Clock
from cstd.errors import ConnectivityError, EdgeRefusedError, PeerError, VenueRejectError
from cstd.units import NS_PER_S
from cstd.venue.backoff import ReconnectPolicy
from cstd.venue.errors_table import RetryClass, classify
from cstd.venue.link import MESSAGE_BYTES_MAX, Link, PrivateLink
from cstd.venue.refusal import EdgeDelays, retry_after_ns
from cstd.venue.trust import tls_context

CONNECT_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
# Kraken bans an address for ten minutes; asking again meanwhile would prolong it.
REFUSED_WAIT_NS = 600 * NS_PER_S
REFUSING_STATUSES = (400, 401, 403, 404, 429)
POLICY_VIOLATION = 1008
# The instrument snapshot is about half a megabyte: the first one should not grow the buffer step by step.
READ_BUFFER_BYTES = 1024 * 1024

TokenSource = Callable[[], Awaitable[str]]


class Connector:
    """Keep one link connected until stopped.

    Args:
        link: a PublicLink or PrivateLink; its `on_up` and `on_down` are taken over.
        url: ws:// or wss:// address.
        policy: when to connect next; shares its limiter with the other sockets.
        clock: the process's clock.
        on_up: called with the link when the connection stands, before its first frame.
        on_down: called with the link and the reason when it ended; once per `on_up`.
        fetch_token: gives a session token for each connection; needed by a PrivateLink.
        on_failure: called with the error and how many attempts failed in a row, when one brought no connection.
        in_maintenance: tells whether the venue last said maintenance; then attempts are 5 s apart at least.
    """

    def __init__(self, link: Link, url: str, *, policy: ReconnectPolicy, clock: Clock,
                 on_up: Callable[[Any], None], on_down: Callable[[Any, str], None],
                 on_failure: Callable[[str, int], None] = lambda _error, _failures: None,
                 fetch_token: TokenSource | None = None, in_maintenance: Callable[[], bool] = lambda: False) -> None:
        if isinstance(link, PrivateLink) != (fetch_token is not None):
            raise ValueError("a private link needs a token source, a public link has none")
        self.link = link
        self.url = url
        self.last_error = ""
        self.attempt_count = 0
        self._policy = policy
        self._clock = clock
        self._fetch_token = fetch_token
        self._in_maintenance = in_maintenance
        self._on_up = on_up
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None
        self._refused_until_ns = 0
        self._token_delays = EdgeDelays()
        self._ssl_context = tls_context() if url.startswith("wss://") else None
        link.on_up = self._linked
        link.on_down = on_down

    def start(self) -> None:
        """Begin to keep the link up, on the running loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"link {self.url}")
            self._task.add_done_callback(self._finished)

    async def stop(self, reason: str = "stopping") -> None:
        """Close the connection and stop trying."""
        task, self._task = self._task, None
        if task is None:
            return
        transport = self.link.transport
        self.link.close(reason)
        if transport is not None:
            # A peer that does not answer the close must not hold the process up.
            done, _ = await asyncio.wait({asyncio.ensure_future(_ended(transport))}, timeout=CLOSE_TIMEOUT_S)
            if not done:
                self.link.close(reason, graceful=False)
        task.cancel()
        await asyncio.wait({task})

    def send_control(self, frame: bytes) -> bool:
        """Send a control frame; False when it is refused or there is no connection."""
        return self.link.send_control(frame)

    def close(self, reason: str) -> None:
        """End the present connection; the next attempt follows by the policy."""
        # Not graceful: a peer that has gone silent will not acknowledge what is still in the buffer.
        self.link.close(reason, graceful=False)

    def status(self) -> dict[str, Any]:
        """Return what an operator sees."""
        return {"url": self.url, "attempts": self.attempt_count, "failures": self._policy.failure_count,
                "last_error": self.last_error, **self.link.status()}

    def _finished(self, task: asyncio.Task[None]) -> None:
        """Report an error of ours: a connector that died unseen would look like a venue that does not answer."""
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        self.last_error = f"{type(error).__name__}: {error}"
        if self.link.on_fault is not None and isinstance(error, Exception):
            self.link.on_fault(error)
        else:
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"the connector of {self.url} died", "exception": error, "task": task})

    def _linked(self, link: Link) -> None:
        self.last_error = ""
        self._policy.on_up(self._clock.mono_ns())
        self._on_up(link)

    async def _run(self) -> None:
        while True:
            await self._wait_for_turn()
            self._policy.record(self._clock.mono_ns())
            self.attempt_count += 1
            try:
                transport = await self._connect()
                await _ended(transport)
                self._note_close(transport)
            except (PeerError, OSError, TimeoutError, WSError) as error:
                self._note_failure(error)
                self._on_failure(self.last_error, self._policy.failure_count + 1)
            self._policy.on_down(self._clock.mono_ns())

    async def _wait_for_turn(self) -> None:
        now_ns = self._clock.mono_ns()
        next_ns = max(self._policy.next_ns(now_ns, maintenance=self._in_maintenance()), self._refused_until_ns)
        if next_ns > now_ns:
            await asyncio.sleep((next_ns - now_ns) / NS_PER_S)

    async def _connect(self) -> Any:
        """Return the transport of a new connection.

        Raises:
            PeerError, OSError, TimeoutError, WSError: there is none. (TLS errors are OSErrors.)
        """
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if self._fetch_token is not None and isinstance(self.link, PrivateLink):
                try:
                    self.link.set_token(await self._fetch_token())
                except ValueError as error:
                    raise ConnectivityError(str(error)) from None
            transport, _ = await ws_connect(
                lambda: self.link,
                self.url,
                ssl_context=self._ssl_context,
                # Pings are answered by the link, see there.
                enable_auto_pong=False,
                max_frame_size=MESSAGE_BYTES_MAX,
                max_redirects=0,
                read_buffer_init_size=READ_BUFFER_BYTES,
                websocket_handshake_timeout=CONNECT_TIMEOUT_S,
                use_aiofastnet=False,
                extra_headers={"User-Agent": "cstd"},
            )
        return transport

    def _note_close(self, transport: Any) -> None:
        handshake = transport.close_handshake
        received = handshake.recv if handshake is not None else None
        if received is not None and int(received.code) == POLICY_VIOLATION:
            self._refused_until_ns = self._clock.mono_ns() + REFUSED_WAIT_NS
        self.last_error = self.link.close_reason or "connection lost"

    def _note_failure(self, error: Exception) -> None:
        self.last_error = f"{type(error).__name__}: {error}"
        now_ns = self._clock.mono_ns()
        response = error.response if isinstance(error, WSHandshakeError) else None
        if response is not None and int(response.status) in REFUSING_STATUSES:
            told_ns = retry_after_ns(response.headers.get("Retry-After"), self._clock.wall_ns())
            self._refused_until_ns = now_ns + max(REFUSED_WAIT_NS, told_ns)
        elif isinstance(error, EdgeRefusedError):
            # The token's call was refused, not the upgrade: REST waits growing times.
            self._refused_until_ns = max(self._token_delays.fail(now_ns), now_ns + error.retry_after_ns)
        elif isinstance(error, VenueRejectError) and classify(error.code) is RetryClass.NEVER:
            # A wrong key asked for again and again locks the account out.
            self._refused_until_ns = now_ns + REFUSED_WAIT_NS


async def _ended(transport: Any) -> None:
    """Wait until a connection has ended; what ended it is in the link's close reason."""
    try:
        await transport.wait_disconnected()
    except asyncio.CancelledError:
        raise
    except Exception:  # noqa: BLE001 - picows hands over whatever a listener or its parser raised; the link has counted it
        return
