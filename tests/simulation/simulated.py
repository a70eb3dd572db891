"""Deterministic simulation: the engine and the practice exchange in one process, on a virtual clock, with seeded faults.

What is real: the engine with its compiled core, its machines, its recovery by replay; the exchange's matching, account,
channels and REST endpoints. What is simulated: time, sockets and their delays, HTTP, crashes. A seed decides everything, so
a run that fails is repeated by its seed. No socket, no thread, no clock of the host is touched.

A session is: quiet start, faults for as long as asked, then a healthy venue, a pause, and the reckoning (`judge`).
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

from cstd._fast.codes import BookState, EventKind, Link, OrderAction, OrderState, Side
from cstd._fast.recorder import Recorder
from cstd.config import Config, load, template
from cstd.engine import Engine
from cstd.engine.boot import boot_payload
from cstd.engine.checkpoint import dump, restore
from cstd.engine.replaying import JournalReplay, apply_event
from cstd.practice.account import Account
from cstd.practice.connections import SocketServer
from cstd.practice.exchange import Exchange
from cstd.practice.flow import Flow, history_shape, load_shapes
from cstd.practice.instruments import first
from cstd.practice.limits import MessageRate
from cstd.practice.private_ws import PrivateServer
from cstd.practice.public_ws import PublicServer
from cstd.practice.requests import RefusalError
from cstd.practice.rest import RestServer, parse_form
from cstd.practice.rest_private import PrivateRest
from cstd.practice.wire import dumps

S = 1_000_000_000
MS = 1_000_000
START_NS = 1_790_000_000 * S
USER_BTC = Decimal("0.05")
TICK_NS = 100 * MS
SYNCED_NS = 50 * MS     # what a power cut takes of the journal at most
SETTLE_S = 150
HISTORY_ROWS = 120       # enough for the gates; a full snapshot of bars would be half of a seed's time
TOKEN_PLACE = '"token":""'
QUICK = {"CSTD__STRATEGY__REHEARSAL__FLAT_S": "1", "CSTD__STRATEGY__REHEARSAL__HOLD_S": "1",
         "CSTD__STRATEGY__REHEARSAL__LONG_FLAT_S": "1", "CSTD__STRATEGY__REHEARSAL__LIFETIME_S": "6",
         "CSTD__VENUE__DEADMAN_TIMEOUT_S": "15", "CSTD__INSTRUMENTS__NAMES": '["BTC/USD"]', "CSTD__INSTRUMENTS__DEPTH": "10"}

Entry = tuple[int, int, int, int, bytes]     # kind, tag, monotonic and wall time, payload


@cache
def configuration() -> Config:
    """The shipped practice configuration with short round trips, over one instrument."""
    return load([str(template("practice"))], QUICK)


class SimulatedSocket:
    """A connection as the exchange's servers see it."""

    def __init__(self, number: int, deliver: Callable[[str | None], None]) -> None:
        self.number = number
        self.heard_ns = 0
        self.rate = MessageRate()
        self.subscribed: dict[tuple[object, ...], object] = {}
        self.quiet = True
        self.closed = False
        self._deliver = deliver

    def send(self, text: str) -> None:
        """One text frame to the client."""
        if not self.closed:
            self.quiet = False
            self._deliver(text)

    def finish(self) -> None:
        """Close with a handshake."""
        if not self.closed:
            self.closed = True
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
        self._generation = 0
        self._to_client_ns = self._to_server_ns = 0
        self._held: list[tuple[int, str | None]] = []

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
            reply = world.rest_reply("GetWebSocketsToken", "")
            if "result" not in reply:
                self.connect_in(S)
                return
            self.token = reply["result"]["token"]
        self._generation += 1
        number = next(world.connections)
        generation = self._generation
        self._socket = SimulatedSocket(number, lambda text: self._from_server(generation, text))
        self._socket.heard_ns = world.now_ns
        self.server.connections[number] = self._socket  # type: ignore[assignment]
        self.up = True
        world.feed(EventKind.EVENT_LINK, self.link, json.dumps({"up": True, "reason": ""}).encode())
        self._socket.send(self.server._status_text())

    def _from_server(self, generation: int, text: str | None) -> None:
        if text is not None and (text := self.world.garbled(text)) is None:
            return
        self._to_client_ns = max(self._to_client_ns, self.world.now_ns + self.world.delay_ns())
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
        self._to_server_ns = max(self._to_server_ns, self.world.now_ns + self.world.delay_ns())
        self.world.at(self._to_server_ns, lambda: self._at_server(socket, text))

    def _at_server(self, socket: SimulatedSocket | None, text: str) -> None:
        if socket is not None and not socket.closed:
            self.world.delivered.append(text)
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
        self.world.at(self.world.now_ns + server_sees_after_ns, lambda: self._forget(socket))
        if tell:
            self.world.feed(EventKind.EVENT_LINK, self.link, json.dumps({"up": False, "reason": reason}).encode())
            self.connect_in(self.world.random.randrange(50 * MS, 2 * S))

    def _forget(self, socket: SimulatedSocket) -> None:
        socket.closed = True
        if self.server.connections.pop(socket.number, None) is not None:
            self.server.forget(socket)  # type: ignore[arg-type]


def through_checkpoint(replay: JournalReplay) -> JournalReplay:
    """Return the replay as another engine goes on with it that was given this one's checkpoint."""
    engine = Engine(Recorder(), None)
    again = JournalReplay(engine)
    engine.recorder.captured = restore(engine, dump(replay.engine))
    return again


class Simulation:
    """One session of one seed.

    Attributes:
        now_ns: virtual wall time. journal: events and outputs as recorded. delivered: what reached the venue over sockets.
        log: what happened to the session, for a failure's report.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(f"simulation {seed}")
        self._fault_every_s = self.random.choice((1.5, 3.0, 8.0))   # storms, and faults between which much is traded
        self.now_ns = START_NS
        self.log: list[str] = []
        self.delivered: list[str] = []
        self.connections = itertools.count(1)
        self.journal: list[Entry] = []
        self._digest = ""   # of the engine that was killed with its whole journal left
        self.alive = False
        self.stopped_until_ns = 0
        self.faulty = False
        self.crashes = self.faults = 0
        self._crash_at_order: tuple[bool, bool] | None = None   # before the socket, with the journal's tail
        self._garbling: dict[str, int] = {}     # what the venue says wrongly or not at all, and how many times more
        self.garbled_count: Counter[str] = Counter()
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._boots = 0
        self.cfg = configuration()
        self._build_exchange()
        self.wires = {Link.LINK_PUBLIC: Wire(self, Link.LINK_PUBLIC, self.public),
                      Link.LINK_PRIVATE: Wire(self, Link.LINK_PRIVATE, self.private)}

    # The venue.

    def _build_exchange(self) -> None:
        instruments, assets = first(1)
        self.exchange = Exchange(
            instruments, assets, seed=self.seed, id_seed=self.seed, tier="pro", wall_ns=self.now_ns,
            account=Account({"USD": Decimal(10_000), "BTC": USER_BTC}),
            history={i.name: replace(history_shape(i), rows=HISTORY_ROWS) for i in instruments})
        shapes = load_shapes()
        self.flows = [Flow(self.exchange.markets[i.name], shapes[i.shape], seed=self.seed, start_ns=self.now_ns, rate_per_s=15)
                      for i in instruments]
        self.public = PublicServer(self.exchange, self.clock)
        self.private = PrivateServer(self.exchange, self.clock)
        self.private_rest = PrivateRest(self.exchange, self.clock)
        self.rest = RestServer(self.exchange, self.clock, self.private_rest)
        self._desk_timer_ns = 0
        self.exchange.on_timers_changed = self._arm_desk
        for flow in self.flows:
            self._arm_flow(flow)
        self.at(self.now_ns + S, self._beat)

    def clock(self) -> int:
        """Virtual wall time."""
        return self.now_ns

    def _arm_flow(self, flow: Flow) -> None:
        assert flow.due_ns is not None
        self.at(max(flow.due_ns, self.now_ns + MS), lambda: self._run_flow(flow))

    def _run_flow(self, flow: Flow) -> None:
        if self.exchange.system == "online":
            flow.advance(self.now_ns)
            self.exchange.settle()
        else:
            flow.pause_until(self.now_ns + S // 4)
        self._arm_flow(flow)

    def _arm_desk(self) -> None:
        due_ns = self.exchange.desk.next_timer_ns()
        if due_ns is not None and (due_ns < self._desk_timer_ns or self._desk_timer_ns <= self.now_ns):
            self._desk_timer_ns = max(due_ns, self.now_ns + MS)
            self.at(self._desk_timer_ns, self._run_desk)

    def _run_desk(self) -> None:
        self.exchange.desk.on_timer(self.now_ns)
        self.exchange.settle()

    def _beat(self) -> None:
        self.public.beat()
        self.private.beat()
        self.at(self.now_ns + S, self._beat)

    def rest_reply(self, method: str, query: str, *, private: bool = True) -> dict[str, Any]:
        """What the venue answers to one call now."""
        try:
            if not private:
                return {"error": [], "result": json.loads(dumps(self.rest.public.endpoints[method](parse_form(query))))}
            cost, endpoint = self.private_rest.endpoints[method]
            if cost and not self.exchange.rest_counter.charge(cost, self.now_ns):
                return {"error": ["EAPI:Rate limit exceeded"]}
            return {"error": [], "result": json.loads(dumps(endpoint(parse_form(query))))}
        except RefusalError as error:
            return {"error": [error.text]}
        finally:
            self.exchange.settle()

    # Time.

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._heap, (max(when_ns, self.now_ns), next(self._order), action))

    def run_until(self, until_ns: int, holds: Callable[[], bool] | None = None) -> bool:
        """Let time pass; True as soon as something holds."""
        while self._heap and self._heap[0][0] <= until_ns:
            self.now_ns, _, action = heapq.heappop(self._heap)
            action()
            if holds is not None and holds():
                return True
        self.now_ns = max(self.now_ns, until_ns)
        return holds is not None and holds()

    def delay_ns(self) -> int:
        """One way over the network."""
        if self.faulty and self.random.random() < 0.02:
            return self.random.randrange(50 * MS, 3 * S)
        return self.random.randrange(MS // 2, 30 * MS)

    # The daemon.

    def boot(self) -> None:
        """Start the daemon: recover what the journal holds, then connect."""
        self._boots += 1
        self._recover()
        self.alive = True
        self.feed(EventKind.EVENT_BOOT, 0, boot_payload(self.cfg, START_NS // S + self._boots, None))
        for wire in self.wires.values():
            wire.connect_in(self.delay_ns())
        self._schedule_tick(self._boots)

    def _recover(self) -> None:
        """Replay the journal, output by output, as the daemon does; what its last event did not get to record is added.

        Somewhere on the way the engine is given up for another one, which gets its checkpoint and goes on.
        """
        replay = JournalReplay(Engine(Recorder(), None))
        cut = Random(f"checkpoint {self.seed} {self._boots}").randint(1, len(self.journal)) if self.journal else 0
        for seq, entry in enumerate(self.journal, 1):
            replay.feed(seq, *entry)
            if seq == cut:
                assert replay.difference_count == 0, f"the journal replays otherwise: {replay.differences}"
                replay = through_checkpoint(replay)
        assert replay.difference_count == 0, f"the journal replays otherwise: {replay.differences}"
        self.engine = replay.engine
        assert self._digest in ("", self.engine.recorder.hexdigest()), "a replay of the journal has another digest"
        self._keep_outputs()

    def _keep_outputs(self) -> list[tuple[int, int, bytes]]:
        """Journal what the last event put out; returns it."""
        captured = self.engine.recorder.captured
        assert captured is not None
        outputs = list(captured)
        captured.clear()
        if outputs:
            _, _, mono_ns, wall_ns, _ = self.journal[-1]
            self.journal.extend((kind, tag, mono_ns, wall_ns, payload) for kind, tag, payload in outputs)
        return outputs

    def _schedule_tick(self, boot: int) -> None:
        self.at(self.now_ns + TICK_NS, lambda: self._tick(boot))

    def _tick(self, boot: int) -> None:
        if boot != self._boots or not self.alive:
            return
        if self.now_ns >= self.stopped_until_ns:
            self.feed(EventKind.EVENT_TIMER, 0, b"")
        self._schedule_tick(boot)

    def feed(self, kind: int, tag: int, payload: bytes) -> None:
        """One event of the daemon, recorded and applied; then what it sends."""
        if not self.alive:
            return
        event = (kind, tag, self.now_ns - START_NS + 77 * S, self.now_ns, payload)
        self.journal.append(event)
        apply_event(self.engine.core, *event)
        assert self.engine.core.fault is None, f"the engine failed: {self.engine.core.fault!r}"
        self._send([(tag, payload) for kind, tag, payload in self._keep_outputs() if kind == EventKind.OUT_ORDER_FRAME])

    def _send(self, frames: list[tuple[int, bytes]]) -> None:
        """Let leave what an event put out, unless the process or the host goes just then."""
        engine = self.engine
        adding = any(tag in (OrderAction.ACTION_ADD, OrderAction.ACTION_EXIT_REST) for tag, _ in frames)
        crash = self._crash_at_order if adding else None
        if crash is not None and crash[0]:
            self._crash_at_order = None
            self.crash(power=crash[1])
            return
        for tag, payload in frames:
            if tag == OrderAction.ACTION_ADD and b'"side":"buy"' in payload:
                assert engine.core.slots[0].book.state == BookState.BOOK_VERIFIED, "an opening on a book that is not verified"
                assert engine.state == "ready", f"an opening while {engine.state}"
            if tag == OrderAction.ACTION_EXIT_REST:
                assert b"&type=sell&" in payload and b"&timeinforce=IOC&" in payload, payload
            if tag not in (OrderAction.ACTION_CANCEL_REST, OrderAction.ACTION_EXIT_REST):
                self.wires[Link.LINK_PRIVATE].send(payload)
        outbox, calls, closing = list(engine.outbox), list(engine.rest_out), list(engine.close_links)
        engine.discard_outgoing()
        for link, frame in outbox:
            self.wires[Link(link)].send(frame)
        for call in calls:
            self._call(call)
        if crash is not None:
            self._crash_at_order = None
            self.crash(power=crash[1])
            return
        for link, reason in closing:
            self.at(self.now_ns, lambda link=link, reason=reason: self.wires[Link(link)].cut(reason))  # type: ignore[misc]

    def _call(self, call: Any) -> None:
        """One REST call: there, back, and what may go wrong with either."""
        boot, request = self._boots, call.request
        fate = self.random.random() if self.faulty else 1.0
        deadline_ns = self.now_ns + call.timeout_ns

        def arrive() -> None:
            if fate < 0.06:     # the request is lost
                return
            reply = self.rest_reply(request.method, request.query(), private=request.private)
            if 0.06 <= fate < 0.12:     # it was executed, and the reply is lost
                return
            status, body = (502, "<html>bad gateway</html>") if fate < 0.16 else (200, json.dumps(reply))
            if 0.16 <= fate < 0.20:
                body = json.dumps({"error": ["EService:Unavailable"]})
            self.at(self.now_ns + self.delay_ns(), lambda: answer(status, body, ""))

        def answer(status: int, body: str, error: str) -> None:
            if boot == self._boots and not done:
                if self.now_ns < self.stopped_until_ns:
                    self.at(self.stopped_until_ns, lambda: answer(status, body, error))
                    return
                done.append(True)
                self.feed(EventKind.EVENT_REST_REPLY, 0, json.dumps(
                    {"id": call.call_id, "status": status, "body": body, "error": error}).encode())

        done: list[bool] = []
        self.at(self.now_ns + self.delay_ns(), arrive)
        self.at(deadline_ns, lambda: answer(0, "", "no reply in time"))

    def check_switch(self) -> None:
        """The venue's dead man's switch is on wherever an opening of ours is open there."""
        openings = [order.cl_ord_id for order in self.exchange.account.open.values() if order.side == Side.BUY]
        assert not openings or self.exchange.desk.cancel_after_ns is not None, f"{openings} are open, and the switch is off"

    def command(self, verb: str) -> None:
        """An operator's command."""
        self.feed(EventKind.EVENT_COMMAND, 0, json.dumps({"id": self.now_ns, "verb": verb, "args": {}, "actor": "seed"}).encode())

    # Faults.

    def crash(self, *, power: bool) -> None:
        """kill -9, or a power cut that takes what was not on disk yet; a start follows."""
        self.crashes += 1
        self._digest = "" if power else self.engine.recorder.hexdigest()
        self.alive = False
        for wire in self.wires.values():
            # What was under way may still arrive: it left the host before it went.
            wire.cut("crash", server_sees_after_ns=self.random.randrange(200 * MS), tell=False)
        if power:
            synced_to_ns = self.now_ns - self.random.randrange(SYNCED_NS)
            unsynced = sum(wall_ns > synced_to_ns for _, _, _, wall_ns, _ in self.journal)
            lost = self.random.randint(0, unsynced)     # a block of the journal ends anywhere
            del self.journal[len(self.journal) - lost:]
            self.log.append(f"{self.clock_text()} power cut, {lost} records lost")
        else:
            self.log.append(f"{self.clock_text()} kill -9")
        self.at(self.now_ns + self.random.randrange(S // 2, 3 * S), self.boot)

    def clock_text(self) -> str:
        """Seconds since the start."""
        return f"{(self.now_ns - START_NS) / S:8.3f}"

    def inject_fault(self) -> None:
        """One fault, drawn by the seed; the next one is due some seconds later."""
        if not self.faulty:
            return
        self.faults += 1
        self.random.choice(FAULTS)(self)
        self.at(self.now_ns + int(self.random.expovariate(1 / self._fault_every_s) * S) + 200 * MS, self.inject_fault)

    def cut_link(self) -> None:
        """One socket breaks, seen by the venue a little later."""
        link = self.random.choice((Link.LINK_PUBLIC, Link.LINK_PRIVATE, Link.LINK_PRIVATE))
        self.log.append(f"{self.clock_text()} cut {link.name}")
        self.wires[link].cut("cut", server_sees_after_ns=self.random.randrange(300 * MS))

    def refuse_private(self) -> None:
        """The private socket goes and stays away."""
        self._refuse(Link.LINK_PRIVATE)

    def _refuse(self, link: Link) -> None:
        wire = self.wires[link]
        wire.refused_until_ns = self.now_ns + self.random.randrange(2 * S, 15 * S)
        self.log.append(f"{self.clock_text()} {link.name} refused for {(wire.refused_until_ns - self.now_ns) / S:.1f} s")
        wire.cut("refused", server_sees_after_ns=self.random.randrange(100 * MS))

    def refuse_public(self) -> None:
        """The public socket goes and stays away; now and then the private one with it."""
        self._refuse(Link.LINK_PUBLIC)
        if self.random.random() < 0.5:
            self._refuse(Link.LINK_PRIVATE)

    def stop_process(self) -> None:
        """SIGSTOP for a while, now and then longer than the dead man's switch."""
        span_ns = self.random.choice((S // 2, 3 * S, 20 * S))
        self.log.append(f"{self.clock_text()} stopped for {span_ns / S:.1f} s")
        self.stopped_until_ns = max(self.stopped_until_ns, self.now_ns + span_ns)

    def kill_nine(self) -> None:
        """kill -9."""
        if self.alive:
            self.crash(power=False)

    def power_cut(self) -> None:
        """The host goes, with the tail of the journal."""
        if self.alive:
            self.crash(power=True)

    def venue_errs(self) -> None:
        """The venue loses, denies or garbles some of the next messages of a kind; what it does stays true."""
        how = self.random.choice(tuple(GARBLED))
        self._garbling[how] = self.random.randint(1, 20 if "book" in GARBLED[how][0] else 2)
        self.log.append(f"{self.clock_text()} the venue {how}, {self._garbling[how]} times")

    def garbled(self, text: str) -> str | None:
        """What becomes of one message to the daemon; None: it is lost."""
        said: str | None = text
        for how, left in self._garbling.items():
            if self.faulty and left and said is not None and GARBLED[how][0] in said:
                self._garbling[how] -= 1
                self.garbled_count[how] += 1
                said = GARBLED[how][1](said)
        return said

    def crash_at_order(self) -> None:
        """The next order's frame is recorded, and then the process or the host goes, before or after the socket has it."""
        self._crash_at_order = (self.random.random() < 0.5, self.random.random() < 0.5)

    def maintenance(self) -> None:
        """The venue stops matching for some seconds."""
        state = self.random.choice(("maintenance", "cancel_only", "post_only"))
        self.log.append(f"{self.clock_text()} venue {state}")
        self.exchange.set_system(state)
        self.at(self.now_ns + self.random.randrange(S, 5 * S), lambda: self.exchange.set_system("online"))

    def revoke_tokens(self) -> None:
        """The venue forgets its tokens."""
        self.log.append(f"{self.clock_text()} tokens revoked")
        self.exchange.credentials.revoke_tokens()

    def operator(self) -> None:
        """An operator does something, and something else a moment later."""
        if self.alive and self.now_ns >= self.stopped_until_ns:
            verb = self.random.choice(("pause", "flatten"))
            self.log.append(f"{self.clock_text()} {verb}")
            self.command(verb)
            self.at(self.now_ns + 2 * S, lambda: self.command("resume") if self.faulty else None)

    # A session.

    def run(self, seconds: float) -> Simulation:
        """A quiet start, faults for so many seconds, a healthy venue, a pause, and the reckoning."""
        self.boot()
        self._until(lambda: self.engine.state == "ready", 30, "not ready at the start")
        self.faulty = True
        self.at(self.now_ns + S, self.inject_fault)
        self.run_until(self.now_ns + int(seconds * S))
        self.faulty = False
        for wire in self.wires.values():
            wire.refused_until_ns = 0
        if self.exchange.system != "online":
            self.exchange.set_system("online")
        self._crash_at_order = None
        self._until(self._resumed, SETTLE_S, "not ready again")
        self.command("pause")
        self._until(self._quiet, SETTLE_S, "orders are still live")
        self.judge()
        return self

    def _resumed(self) -> bool:
        """Ready; an operator who had paused resumes first."""
        if self.alive and self.now_ns >= self.stopped_until_ns and self.engine.state == "paused":
            self.command("resume")
        return self.alive and self.engine.state == "ready"

    def _quiet(self) -> bool:
        return (self.alive and self.engine.state == "paused" and not self.engine.core.live_orders()
                and not self.exchange.account.open and self.engine.reconciler.trusted and not self.engine.reconciler.running)

    def _until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        if not self.run_until(self.now_ns + int(seconds * S), holds):
            engine = self.engine
            live = [engine.tracker.state_name(engine.core.order(i)) for i in engine.core.live_orders()]
            raise AssertionError(f"{what} within {seconds} s: {engine.state} ({engine.state_reason}), live {live}, "
                                 f"open at the venue {len(self.exchange.account.open)}, {engine.reconciler.differences[-3:]}")

    def judge(self) -> None:
        """Orders, fills, positions and balances of the daemon are the exchange's, to the last raw unit."""
        engine, account = self.engine, self.exchange.account
        true_fills = {fill.exec_id: (fill.order.cl_ord_id, fill.order.side, fill.qty_raw) for fill in account.fills}
        assert len(true_fills) == len(account.fills)
        ours = {fill.exec_id: (fill.cl_ord_id, int(fill.side), fill.qty_raw) for fill in engine.ledger.fills.values()}
        assert ours == true_fills, f"fills differ: {sorted(set(ours.items()) ^ set(true_fills.items()))[:4]}"
        sent = [json.loads(text)["params"]["cl_ord_id"] for text in self.delivered if '"add_order"' in text]
        assert len(sent) == len(set(sent)), "an order was sent twice"
        at_venue = [order.cl_ord_id for order in account.orders.values()]
        assert len(at_venue) == len(set(at_venue)), "an order is at the venue twice"
        for order in account.orders.values():
            known = engine.tracker.history.get(order.cl_ord_id or "")
            assert known is not None, f"order {order.cl_ord_id} is at the venue alone ({order.status})"
            assert known["filled_raw"] == order.filled_raw, f"order {order.cl_ord_id}: {known['filled_raw']}, {order.filled_raw}"
            assert STATES[known["state"]] == order.status or known["state"] == OrderState.ORDER_REJECTED, (known, order.status)
        held = sum(fill.qty_raw * (1 if fill.order.side == Side.BUY else -1) for fill in account.fills)
        assert engine.ledger.positions[0].qty_raw == held
        assert account.balances["BTC"] - engine.ledger.managed_qty("BTC") == USER_BTC, "the user's coins were touched"


def denied(text: str) -> str:
    """An order's acceptance as a server error: the order stands."""
    reply = json.loads(text)
    if not reply.get("success"):
        return text
    return dumps({"error": "EService:Unavailable", "method": "add_order", "req_id": reply["req_id"], "success": False,
                  "time_in": reply["time_in"], "time_out": reply["time_out"]})


def miscounted(text: str) -> str:
    """A book message whose checksum is another one's."""
    head, mark, rest = text.partition('"checksum":')
    return f"{head}{mark}1{rest}" if not rest.startswith("1") else f"{head}{mark}2{rest}"


# What it does, which messages it meets, and what becomes of them.
GARBLED: dict[str, tuple[str, Callable[[str], str | None]]] = {
    "loses replies to orders": ('"method":"add_order"', lambda _: None),
    "loses replies to cancels": ('"method":"cancel_order"', lambda _: None),
    "denies orders that stand": ('"method":"add_order"', denied),
    "loses execution reports": ('"channel":"executions","type":"update"', lambda _: None),
    "loses book updates": ('"channel":"book","type":"update"', lambda _: None),
    "miscounts checksums": ('"channel":"book","type":"update"', miscounted),
    "loses balances": ('"channel":"balances","type":"update"', lambda _: None),
}
STATES = {OrderState.ORDER_FILLED: "filled", OrderState.ORDER_CANCELED: "canceled", OrderState.ORDER_EXPIRED: "expired"}
FAULTS: tuple[Callable[[Simulation], None], ...] = (
    Simulation.cut_link, Simulation.cut_link, Simulation.refuse_private, Simulation.refuse_public, Simulation.stop_process,
    Simulation.kill_nine, Simulation.power_cut, Simulation.crash_at_order, Simulation.crash_at_order, Simulation.maintenance,
    Simulation.revoke_tokens, Simulation.operator, Simulation.venue_errs, Simulation.venue_errs, Simulation.venue_errs)
