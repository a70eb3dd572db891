"""The daemon's two sockets as they are in a simulated session: delayed, in order within a connection, lost with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from cstd._fast.codes import EventKind, Link
from cstd.practice.connections import SocketServer
from cstd.practice.limits import MessageRate
from cstd.practice.line import Line
from tests.simulation.promises import check_arrival

if TYPE_CHECKING:
    from tests.simulation.simulated import Simulation

S = 1_000_000_000
MS = 1_000_000
TOKEN_PLACE = '"token":""'
SLOW_FRAC = 0.02
SLOWEST_NS = 3 * S
TOKEN_AGAIN_NS_MAX = 30 * S
MASK = (1 << 64) - 1


class Noise:
    """Numbers from 0 to 1 that depend on a seed, a purpose and the time alone: what is left out changes no other."""

    def __init__(self, seed: int, purpose: str) -> None:
        self._key = Random(f"{purpose} {seed}").getrandbits(64)

    def at(self, now_ns: int) -> float:
        """The number of a moment."""
        x = (now_ns * 0x9E3779B97F4A7C15 + self._key) & MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        return (x ^ (x >> 31)) / (MASK + 1)


class SimulatedSocket:
    """A connection as the exchange's servers see it. `frozen_until_ns`: nothing passes before, and then it is dropped."""

    def __init__(self, number: int, line: Line, deliver: Callable[[str | None], None]) -> None:
        self.number = number
        self.heard_ns = 0
        self.rate = MessageRate()
        self.subscribed: dict[tuple[object, ...], object] = {}
        self.quiet = True
        self.closed = False
        self.frozen_until_ns = 0
        self._line = line
        self._deliver = deliver

    def send(self, text: str) -> None:
        """One text frame to the client, by the line's faults where there are any."""
        self.quiet = False
        if self._line.quiet:
            self.queue(text)
        else:
            self._line.pass_on(self, text)

    def queue(self, text: str) -> None:
        """One text frame to the client as it is."""
        if not (self.closed or self.frozen_until_ns):
            self._deliver(text)

    def finish(self) -> None:
        """Close with a handshake."""
        if not self.closed:
            self.closed = True
            if not self.frozen_until_ns:
                self._deliver(None)

    def cut(self) -> None:
        """Drop the connection."""
        self.finish()


class Wire:
    """One of the daemon's two sockets: in order within a connection, delayed, lost with it."""

    def __init__(self, world: Simulation, link: Link, server: SocketServer) -> None:
        self.world = world
        self.link = link
        self.server = server
        self.up = False
        self.refused_until_ns = 0
        self.token = ""
        self._socket: SimulatedSocket | None = None
        self.line = server.line = Line(lambda seconds, act: world.at(world.now_ns + int(seconds * S), act))
        self._generation = 0
        self._to_client_ns = self._to_server_ns = 0
        self._there, self._back, self._again = (Noise(world.seed, f"{link.name} {what}") for what in ("there", "back", "again"))
        self._held: list[tuple[int, str | None]] = []
        self._refused_tokens = 0    # one after the other: each is a call that the venue counts, so the next one waits longer

    def connect_in(self, span_ns: int) -> None:
        """Try to connect after a while."""
        generation = self._generation
        self.world.at(self.world.now_ns + span_ns, lambda: self._connect(generation))

    def _connect(self, generation: int) -> None:
        world = self.world
        if generation != self._generation or self.up or not world.alive:
            return
        if world.now_ns < max(self.refused_until_ns, world.stopped_until_ns):
            self.connect_in(S)
            return
        if self.link == Link.LINK_PRIVATE:
            reply = world.rest_reply("GetWebSocketsToken", "") if world.rest_calls.take("GetWebSocketsToken") is None else {}
            if "result" not in reply:
                self._refused_tokens += 1
                self.connect_in(min(S << self._refused_tokens, TOKEN_AGAIN_NS_MAX))
                return
            self._refused_tokens = 0
            self.token = reply["result"]["token"]
        self._generation += 1
        number = next(world.connections)
        generation = self._generation
        self._socket = SimulatedSocket(number, self.line, lambda text: self._from_server(generation, text))
        self._socket.heard_ns = world.now_ns
        self.server.connections[number] = self._socket  # type: ignore[assignment]
        self.up = True
        world.feed(EventKind.EVENT_LINK, self.link, json.dumps({"up": True, "reason": ""}).encode())
        self._socket.send(self.server._status_text())

    def delay_ns(self, noise: Noise) -> int:
        """One way over the network."""
        drawn = noise.at(self.world.now_ns)
        if drawn < SLOW_FRAC and self.world.slow_network:
            return 50 * MS + int(drawn / SLOW_FRAC * (SLOWEST_NS - 50 * MS))
        return MS // 2 + int(drawn * (29 * MS + MS // 2))

    def _from_server(self, generation: int, text: str | None) -> None:
        delay_ns = self.delay_ns(self._back) + int(self.line.delay_s * S)
        self._to_client_ns = max(self._to_client_ns, self.world.now_ns + delay_ns)
        self.world.at(self._to_client_ns, lambda: self._arrive(generation, text))

    def _arrive(self, generation: int, text: str | None) -> None:
        """The host has it. While the process does not run its socket holds what came, in order."""
        if self._held or self.world.now_ns < self.world.stopped_until_ns:
            self._held.append((generation, text))
            if len(self._held) == 1:
                self._read_later()
        else:
            self._read(generation, text)

    def _read_later(self) -> None:
        self.world.at(max(self.world.now_ns, self.world.stopped_until_ns), self._read_held)

    def _read_held(self) -> None:
        if self.world.now_ns < self.world.stopped_until_ns:
            self._read_later()
            return
        held, self._held = self._held, []
        for generation, text in held:
            self._read(generation, text)

    def _read(self, generation: int, text: str | None) -> None:
        world = self.world
        if generation != self._generation or not self.up:
            return
        if text is None:
            self.cut("closed by the venue")
        else:
            world.feed(EventKind.EVENT_FRAME, self.link, text.encode())
            world.feed(EventKind.EVENT_BATCH_END, self.link, b"")

    def send(self, frame: bytes) -> None:
        """The daemon writes one frame."""
        if not self.up:
            return
        socket, text = self._socket, frame.decode().replace(TOKEN_PLACE, f'"token":"{self.token}"', 1)
        self._to_server_ns = max(self._to_server_ns, self.world.now_ns + self.delay_ns(self._there))
        self.world.at(self._to_server_ns, lambda: self._at_server(socket, text))

    def _at_server(self, socket: SimulatedSocket | None, text: str) -> None:
        if socket is not None and not socket.closed and not socket.frozen_until_ns:
            self.world.delivered.append(text)
            check_arrival(self.world, text)
            self.server.receive(socket, text)  # type: ignore[arg-type]
            self.world.exchange.settle()
            self.world.check_switch()

    def cut(self, reason: str, *, server_sees_after_ns: int = 0, tell: bool = True) -> None:
        """The connection breaks: at once for the daemon, a little later for the venue, which may still take what is under way."""
        if not self.up:
            return
        self.up = False
        self._generation += 1
        socket = self._socket
        assert socket is not None
        self.world.at(max(self.world.now_ns + server_sees_after_ns, socket.frozen_until_ns), lambda: self._forget(socket))
        if tell:
            self.world.feed(EventKind.EVENT_LINK, self.link, json.dumps({"up": False, "reason": reason}).encode())
            self.connect_in(50 * MS + int(self._again.at(self.world.now_ns) * 1950 * MS))

    def _forget(self, socket: SimulatedSocket) -> None:
        socket.closed = True
        if self.server.connections.pop(socket.number, None) is not None:
            self.server.forget(socket)  # type: ignore[arg-type]
            self.line.forget(socket)

    def start_connecting(self) -> None:
        """The process is there: its first connection."""
        self.connect_in(self.delay_ns(self._there))

    def freeze(self, span_ns: int) -> None:
        """Let nothing pass either way and tell nobody; then the connection is dropped."""
        socket, generation = self._socket, self._generation
        if socket is None or not self.up:
            return
        socket.frozen_until_ns = self.world.now_ns + span_ns
        self.world.at(socket.frozen_until_ns, lambda: self._drop(socket, generation))

    def _drop(self, socket: SimulatedSocket, generation: int) -> None:
        self._forget(socket)
        if generation == self._generation:
            self.cut("dropped")

    def leave_unread(self, span_ns: int) -> None:
        """The venue reads nothing of what is sent from here on before this is over."""
        self._to_server_ns = max(self._to_server_ns, self.world.now_ns + span_ns)


