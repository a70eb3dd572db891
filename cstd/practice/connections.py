"""Websocket connections: one bounded queue and one writer each; the loop that reads, limits and answers requests."""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from decimal import Decimal

from aiohttp import WSCloseCode, WSMsgType, web

from cstd.practice.exchange import Exchange
from cstd.practice.limits import MessageRate
from cstd.practice.line import Line
from cstd.practice.wire import NS_PER_S, Exponent, dumps, loads, raw_number, rfc3339_us

IDLE_MAX_NS = 60 * NS_PER_S  # a socket without subscriptions that says nothing for a minute is closed
QUEUE_MAX = 20_000  # about 5 min of two busy books; a reader slower than that is cut off, as Kraken does
MESSAGE_BYTES_MAX = 1 << 20
WallClock = Callable[[], int]


class Connection:
    """One client. `send` never blocks; a writer task empties the queue in order. `line` is what its frames pass."""

    def __init__(self, ws: web.WebSocketResponse, number: int, transport: asyncio.Transport | None = None,
                 line: Line | None = None) -> None:
        self.number = number
        self.line = line or Line()
        self.heard_ns = 0
        self._transport = transport
        self.rate = MessageRate()
        self.subscribed: dict[tuple[object, ...], object] = {}
        self.quiet = True
        self.closed = False
        self._ws = ws
        self._close_code = WSCloseCode.GOING_AWAY
        self._queue: deque[tuple[float, str]] = deque()  # with the time of the loop before which a frame may not leave
        self._wake = asyncio.Event()
        self._frozen = False
        self._loop = asyncio.get_running_loop()
        self.writer = self._loop.create_task(self._write())

    def send(self, text: str) -> None:
        """Send one text frame, by the line's faults where there are any."""
        self.quiet = False
        if self.line.quiet:
            self.queue(text)
        else:
            self.line.pass_on(self, text)

    def queue(self, text: str) -> None:
        """Queue one text frame; a queue that is full closes the connection."""
        if self.closed:
            return
        delay_s = self.line.delay_s
        self._queue.append((self._loop.time() + delay_s if delay_s else 0.0, text))
        if len(self._queue) > QUEUE_MAX:
            sys.stderr.write(f"practice: connection {self.number} reads too slowly: closed\n")
            self.closed = True
            self._close_code = WSCloseCode.POLICY_VIOLATION
            self._queue.clear()
        self._wake.set()

    async def _write(self) -> None:
        try:
            while not self.closed:
                await self._wake.wait()
                self._wake.clear()
                while self._queue and not self._frozen:
                    due_s, text = self._queue.popleft()
                    if due_s:
                        await asyncio.sleep(due_s - self._loop.time())
                    await self._put(text)
            await self._ws.close(code=self._close_code)
        except (ConnectionError, asyncio.CancelledError):
            self.closed = True

    async def _put(self, text: str) -> None:
        """Give one message to the transport, in one frame or in the line's number of pieces."""
        if self.line.pieces == 1 or self._transport is None:
            await self._ws.send_str(text)
        elif not self._frozen:
            self._transport.write(in_pieces(text.encode(), self.line.pieces))

    def freeze(self) -> None:
        """Let nothing pass either way from now on, as a path does that broke without a word."""
        self._frozen = True
        self.read(False)

    def read(self, wanted: bool) -> None:
        """Read what the client sends, or leave it in the transport."""
        if self._transport is not None and not self._transport.is_closing():
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def finish(self) -> None:
        """Close with a handshake once the queue is empty."""
        self.closed = True
        self._wake.set()

    def cut(self) -> None:
        """Drop the transport as a failing network does; the peer gets no close frame."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    async def stop(self) -> None:
        """Stop the writer; what is queued is dropped."""
        self.closed = True
        self.writer.cancel()
        await asyncio.gather(self.writer, return_exceptions=True)


class Envelope:
    """One request being answered: builds Kraken's reply envelope around results and errors."""

    def __init__(self, connection: Connection, method: str, req_id: object, time_in_ns: int, clock: WallClock) -> None:
        self.connection = connection
        self.method = method
        self._req_id = req_id
        self._time_in_ns = time_in_ns
        self._clock = clock

    def _finish(self, body: dict[str, object]) -> None:
        body["time_in"] = rfc3339_us(self._time_in_ns)
        body["time_out"] = rfc3339_us(self._clock())
        if isinstance(self._req_id, int):
            body["req_id"] = self._req_id if -(1 << 63) <= self._req_id < 1 << 64 else raw_number(self._req_id, 0)
        self.connection.send(dumps(body))

    def ok(self, result: object) -> None:
        """Answer with success."""
        self._finish({"method": self.method, "result": result, "success": True})

    def error(self, text: str, **more: object) -> None:
        """Answer with an error; `more` are the extra top-level fields that some refusals carry."""
        self._finish({"error": text, "method": self.method, **more, "success": False})

    def pong(self) -> None:
        """Answer a ping."""
        self._finish({"method": "pong"})


class SocketServer(ABC):
    """Base of the public and the private websocket server: connection life, `status`, `heartbeat`, rate, dispatch."""

    def __init__(self, exchange: Exchange, clock: WallClock) -> None:
        self.exchange = exchange
        self.clock = clock
        self.connections: dict[int, Connection] = {}
        self._opened = 0
        self._refused_until_ns = 0
        self.line = Line()
        exchange.on_system.append(self._announce)

    @abstractmethod
    def handle(self, envelope: Envelope, params: dict[str, object]) -> None:
        """Answer one request; `envelope.method` is any method but ping."""

    @abstractmethod
    def forget(self, connection: Connection) -> None:
        """Drop what belongs to a connection that is gone."""

    def _status_text(self) -> str:
        entry = {
            "version": "2.0.10",
            "system": self.exchange.system,
            "api_version": "v2",
            "connection_id": self.exchange.ids.connection_id(),
            "upcoming_maintenance": self.exchange.upcoming_maintenance,
            "emergency": [],
        }
        return dumps({"channel": "status", "type": "update", "data": [entry]})

    def _announce(self) -> None:
        for connection in self.connections.values():
            connection.send(self._status_text())

    def beat(self) -> None:
        """Send heartbeats; called once a second."""
        now_ns = self.clock()
        for connection in list(self.connections.values()):
            if not connection.subscribed and now_ns - connection.heard_ns > IDLE_MAX_NS:
                connection.finish()
                continue
            self.exchange.readings.meet("status_repeats")
            if self.exchange.readings.status_repeats:
                connection.send(self._status_text())
            if connection.subscribed and not connection.quiet:
                self.exchange.readings.meet("heartbeat_always")
            if connection.subscribed and (self.exchange.readings.heartbeat_always or connection.quiet):
                connection.send('{"channel":"heartbeat"}')
            connection.quiet = True

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Run one connection from upgrade to close."""
        if self.clock() < self._refused_until_ns:
            raise web.HTTPServiceUnavailable(text="no new connections\n")
        ws = web.WebSocketResponse(compress=False, max_msg_size=MESSAGE_BYTES_MAX, autoping=True, timeout=1.0)
        await ws.prepare(request)
        self._opened += 1
        connection = Connection(ws, self._opened, request.transport, self.line)
        connection.heard_ns = self.clock()
        self.connections[connection.number] = connection
        connection.send(self._status_text())
        try:
            async for message in ws:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                self.receive(connection, message.data)
        finally:
            del self.connections[connection.number]
            self.forget(connection)
            self.line.forget(connection)
            await connection.stop()
        return ws

    def receive(self, connection: Connection, text: str | bytes) -> None:
        """Answer one message, whatever it is."""
        now_ns = connection.heard_ns = self.clock()
        if not connection.rate.allow(now_ns):
            connection.send('{"Error":"Exceeded msg rate"}')
            return
        try:
            request = loads(text)
        except (ValueError, UnicodeDecodeError, RecursionError):
            Envelope(connection, "", None, now_ns, self.clock).error("Malformed request")
            return
        method = request.get("method") if isinstance(request, dict) else None
        if not isinstance(request, dict) or not isinstance(method, str):
            Envelope(connection, "", None, now_ns, self.clock).error("Malformed request")
            return
        envelope = Envelope(connection, method, request.get("req_id"), now_ns, self.clock)
        params = request.get("params", {})
        if isinstance(request.get("req_id", 0), bool) or not isinstance(request.get("req_id", 0), int):
            envelope.error("Malformed request")
        elif method == "ping":
            envelope.pong()
        elif not isinstance(params, dict):
            envelope.error("Malformed request")
        elif (refusal := self.line.refusal(method) or self._exponent_refusal(params)) is not None:
            envelope.error(refusal)
        else:
            self.handle(envelope, params)

    def _exponent_refusal(self, params: dict[str, object]) -> str | None:
        """Why a request with a number in it is refused for how the number is written, None where it is not."""
        numbers = {name: value for name, value in params.items() if isinstance(value, Decimal)}
        if numbers:
            self.exchange.readings.meet("request_exponents_refused")
        if not self.exchange.readings.request_exponents_refused:
            return None
        refused = next((name for name, value in numbers.items() if isinstance(value, Exponent)), None)
        return None if refused is None else f"EGeneral:Invalid arguments:{refused}"

    def cut(self) -> int:
        """Drop every connection without a closing handshake; return how many."""
        connections = list(self.connections.values())
        for connection in connections:
            connection.cut()
        return len(connections)

    def refuse(self, span_ns: int) -> int:
        """Drop every connection and accept none for a while; return how many were dropped."""
        self._refused_until_ns = self.clock() + span_ns
        return self.cut()

    def accept(self) -> None:
        """Accept connections again."""
        self._refused_until_ns = 0

    async def close_all(self) -> None:
        """Close every connection; used at exit."""
        for connection in list(self.connections.values()):
            await connection.stop()


def in_pieces(payload: bytes, count: int) -> bytes:
    """Return one text message as up to `count` websocket frames of a server (RFC 6455, 5.4): a first one and continuations."""
    size = max(1, -(-len(payload) // count))
    pieces = [payload[at:at + size] for at in range(0, len(payload), size)] or [b""]
    out = bytearray()
    for number, piece in enumerate(pieces):
        out.append((0x80 if number == len(pieces) - 1 else 0) | (1 if number == 0 else 0))
        if len(piece) < 126:
            out.append(len(piece))
        elif len(piece) < 1 << 16:
            out += b"\x7e" + len(piece).to_bytes(2, "big")
        else:
            out += b"\x7f" + len(piece).to_bytes(8, "big")
        out += piece
    return bytes(out)


def names(params: dict[str, object]) -> list[str] | None:
    """Return the symbols a subscribe or unsubscribe lists, or None if the field is missing or malformed."""
    value = params.get("symbol")
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return value
    return None
