"""The fault switchboard: applies faults to the exchange's servers, when a script, a seed or a control call says so."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
from aiohttp import web

from cstd.clock import SystemClock
from cstd.practice.connections import SocketServer
from cstd.practice.exchange import Exchange
from cstd.practice.faults import (
    AnyFault,
    ClockSkew,
    CorruptChecksum,
    Cut,
    Delay,
    Deny,
    Drop,
    Duplicate,
    Fault,
    Fragment,
    HalfOpen,
    HttpError,
    LateFill,
    LostAck,
    Maintenance,
    NonceError,
    RateLimit,
    Reorder,
    RestError,
    RestTimeout,
    SlowReader,
    TokenExpiry,
)
from cstd.practice.line import Line, RestCalls
from cstd.practice.wire import NS_PER_S, dumps, rfc3339_s

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SkewedClock:
    """The host's wall clock, and how far the account's side of the exchange is off it."""

    def __init__(self) -> None:
        self.skew_ns = 0
        self._clock = SystemClock()

    def wall_ns(self) -> int:
        """Return the time that the account's side tells, in ns since the epoch."""
        return self._clock.wall_ns() + self.skew_ns


class Switchboard:
    """Every fault that may be on, and the way to end them all.

    Attributes:
        hits: how often each kind of fault struck, since the start.
    """

    def __init__(self, exchange: Exchange, clock: SkewedClock, servers: dict[str, SocketServer], log: Path | None = None) -> None:
        self._exchange = exchange
        self._clock = clock
        self._servers = servers
        self._lines = {name: Line(self._for) for name in servers}
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._hits: Counter[str] = Counter()
        self._calls = RestCalls()
        self._ends: dict[int, tuple[asyncio.TimerHandle, Callable[[], None]]] = {}  # what ends a fault, and when
        self._numbers = count()
        self._script: Iterator[AnyFault] = iter(())
        self._next: asyncio.TimerHandle | None = None
        if log is not None:
            log.unlink(missing_ok=True)
        for name, server in servers.items():
            server.line = self._lines[name]

    @property
    def hits(self) -> Counter[str]:
        """How often each kind struck."""
        return sum((line.hits for line in self._lines.values()), self._hits + self._calls.hits)

    # When.

    def play(self, script: Iterable[AnyFault]) -> None:
        """Apply faults at their times from now on, in place of a script that is being played."""
        if self._next is not None:
            self._next.cancel()
        self._script = iter(script)
        self._began_s = self._loop.time()
        self._wait_next()

    def _wait_next(self) -> None:
        fault = next(self._script, None)
        if fault is not None:
            self._next = self._loop.call_at(self._began_s + fault.at_s, self._strike, fault)

    def _strike(self, fault: AnyFault) -> None:
        self.apply(fault)
        self._wait_next()

    def heal(self) -> None:
        """End the script and every fault that is on: the exchange is as it would be without them."""
        self._script = iter(())
        if self._next is not None:
            self._next.cancel()
        self._calls.clear()
        for line in self._lines.values():
            line.clear()
        for number, (handle, _) in list(self._ends.items()):
            handle.cancel()
            self._end(number)

    def _for(self, seconds: float, end: Callable[[], None]) -> None:
        """Call something after a while, or when all is healed."""
        number = next(self._numbers)
        self._ends[number] = (self._loop.call_later(seconds, self._end, number), end)

    def _end(self, number: int) -> None:
        _, end = self._ends.pop(number)
        end()

    # What.

    def apply(self, fault: AnyFault) -> None:
        """Let a fault begin."""
        self._note(fault)
        match fault:
            case Drop() | Duplicate() | Reorder() | CorruptChecksum() | LostAck() | Deny():
                self._line(fault.server).arm(fault)
                return
            case HttpError() | RestTimeout() | RestError() | RateLimit() | NonceError():
                self._calls.arm(fault)
                return
            case Delay() | Fragment() | LateFill():
                self._change_line(fault)
            case Cut() | HalfOpen() | SlowReader():
                self._disturb(fault)
            case TokenExpiry():
                self._exchange.credentials.revoke_tokens()
            case ClockSkew():
                self._skew(int(fault.by_s * NS_PER_S))
                self._for(fault.for_s, lambda: self._skew(0))
            case Maintenance():
                self._maintain(fault)
        self._count(fault)

    def _note(self, fault: AnyFault) -> None:
        """Keep what was done as a line that a script may hold."""
        if self._log is not None:
            at_s = round(self._loop.time() - self._began_s, 3)
            with self._log.open("ab") as log:
                log.write(msgspec.json.encode(msgspec.structs.replace(fault, at_s=at_s)) + b"\n")

    def _count(self, fault: Fault) -> None:
        self._hits[str(fault.__struct_config__.tag)] += 1

    def _line(self, server: str) -> Line:
        return self._lines[server]

    def _change_line(self, fault: Delay | Fragment | LateFill) -> None:
        """Change how frames travel, and back."""
        if isinstance(fault, Delay):
            line, name, quiet, value = self._line(fault.server), "delay_s", 0.0, fault.by_s
        elif isinstance(fault, Fragment):
            line, name, quiet, value = self._line(fault.server), "pieces", 1, fault.pieces
        else:
            line, name, quiet, value = self._line("ws_private"), "late_s", 0.0, fault.by_s
        setattr(line, name, value)
        self._for(fault.for_s, lambda: setattr(line, name, quiet))

    def _disturb(self, fault: Cut | HalfOpen | SlowReader) -> None:
        """Do something to the connections that a server has now."""
        server = self._servers[fault.server]
        if isinstance(fault, Cut):
            server.refuse(int(fault.for_s * NS_PER_S))
            self._for(fault.for_s, server.accept)
            return
        for connection in list(server.connections.values()):
            if isinstance(fault, HalfOpen):
                connection.freeze()
                self._for(fault.for_s, connection.cut)
            else:
                connection.read(False)
                self._for(fault.for_s, partial(connection.read, True))

    def _skew(self, by_ns: int) -> None:
        self._exchange.desk.on_clock_set(by_ns - self._clock.skew_ns)
        self._clock.skew_ns = by_ns
        self._exchange.settle()  # timers of the desk are due at other times now

    def _maintain(self, fault: Maintenance) -> None:
        """Say it, where it is announced; leave *online*; come back."""
        if fault.announced_s:
            begin_s = self._clock.wall_ns() // NS_PER_S + int(fault.announced_s)
            times = [rfc3339_s(second * NS_PER_S) for second in (begin_s, begin_s + int(fault.for_s) + 1)]
            self._exchange.announce([dict(zip(("from", "to"), times, strict=True))])
        leaving = self._loop.call_later(fault.announced_s, self._leave_online, fault)
        self._for(fault.announced_s + fault.for_s, lambda: self._come_online(leaving))

    def _leave_online(self, fault: Maintenance) -> None:
        self._exchange.set_system(fault.state)
        if fault.state == "maintenance":
            for server in self._servers.values():
                server.refuse(int(fault.for_s * NS_PER_S))

    def _come_online(self, leaving: asyncio.TimerHandle) -> None:
        leaving.cancel()
        for server in self._servers.values():
            server.accept()
        if self._exchange.upcoming_maintenance:
            self._exchange.announce([])
        if self._exchange.system != "online":
            self._exchange.set_system("online")

    # REST.

    @web.middleware
    async def rest(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a call by REST, or fail it as the next fault that is about it says."""
        # Calls of the operator, and what is no call at all, meet no fault.
        method = request.match_info.get("method", "") if request.path.startswith("/0/") else ""
        fault = self._calls.take(method) if method else None
        if fault is None:
            return await handler(request)
        reply = await handler(request) if fault.executed else None
        if isinstance(fault, HttpError):
            return web.Response(status=fault.status, text="<html><body>the origin did not answer</body></html>",
                                content_type="text/html")
        if isinstance(fault, RestTimeout):
            await asyncio.sleep(fault.for_s)
            if request.transport is not None:
                request.transport.abort()
            return reply or web.Response()
        return web.Response(text=dumps({"error": [fault.error]}), content_type="application/json")
