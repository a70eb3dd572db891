"""Deterministic simulation: the engine and the practice exchange in one process, on a virtual clock, with seeded faults.

What is real: the engine with its compiled core, its machines, its recovery by replay; the exchange's matching, account,
channels and REST endpoints. What is simulated: time, sockets and their delays, HTTP, crashes. A seed decides the market, the
delays and a list of faults, so a run that fails is repeated by its seed, or by its seed and some of the faults. No socket, no
thread, no clock of the host is touched.

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

import msgspec

from cstd._fast.codes import BookState, EventKind, ExitReason, IntentKind, Link, OrderAction, OrderState, Side
from cstd._fast.recorder import Recorder
from cstd.config import Config, load, template
from cstd.engine import Engine
from cstd.engine.boot import boot_payload
from cstd.engine.checkpoint import dump, restore
from cstd.engine.replaying import JournalReplay, apply_event
from cstd.orders.reconcile import MISMATCH_ROUNDS_MAX
from cstd.practice.exchange import Exchange
from cstd.practice.faults import HttpError, RestTimeout
from cstd.practice.flow import Flow, history_shape, load_shapes
from cstd.practice.instruments import first
from cstd.practice.line import RestCalls
from cstd.practice.private_ws import PrivateServer
from cstd.practice.public_ws import PublicServer
from cstd.practice.readings import Readings
from cstd.practice.requests import RefusalError
from cstd.practice.rest import RestServer, parse_form
from cstd.practice.rest_private import PrivateRest
from cstd.practice.wire import dumps
from cstd.signals.agents.loader import LoadedStrategy
from cstd.signals.code import Code
from cstd.units import from_raw
from tests.simulation.faults import ABSENT_LONG_S, ABSENT_S, Crash, Faults, drawn, is_patient, is_watched, text_of, tier_of
from tests.simulation.past import LAGGING, past_reply
from tests.simulation.promises import BrokenPromiseError, check_book, check_counts, promise
from tests.simulation.trouble import Trouble
from tests.simulation.wires import MS, Noise, S, Wire

START_NS = 1_790_000_000 * S
USER_BTC, USER_USD = Decimal("0.05"), Decimal(10_000)
TICK_NS = 100 * MS
SETTLE_S = 300
HALT_S = 600            # until cash that nothing explains is said; openings end within SETTLE_S, by the first round that is sure
QUIET_S = 30.0          # within which the daemon is ready, with nothing in its way
UPTIME_NS = 77 * S      # of a host when the daemon starts on it
HISTORY_ROWS = 120       # enough for the gates; a full snapshot of bars would be half of a seed's time
QUICK = {"CSTD__STRATEGY__REHEARSAL__FLAT_S": "1", "CSTD__STRATEGY__REHEARSAL__HOLD_S": "1",
         "CSTD__STRATEGY__REHEARSAL__LONG_FLAT_S": "1", "CSTD__STRATEGY__REHEARSAL__LIFETIME_S": "6",
         "CSTD__VENUE__DEADMAN_TIMEOUT_S": "15", "CSTD__INSTRUMENTS__NAMES": '["BTC/USD"]', "CSTD__INSTRUMENTS__DEPTH": "10",
         # Room for one opening of the rehearsal's 25 and not for two: what is bought twice is more than is allowed.
         "CSTD__RISK__POSITION_BPS_MAX": "30"}

UNWATCHED = {"CSTD__EXITS__STOP_BPS": "0", "CSTD__EXITS__STOP_ATR_MULTIPLE": "0"}
# Nearer than the market moves in a second or two, so that each of them is the first to be due now and then.
WATCHED = {"CSTD__EXITS__STOP_BPS": "1", "CSTD__EXITS__STOP_ATR_MULTIPLE": "0.02", "CSTD__EXITS__TARGET_BPS": "1",
           "CSTD__EXITS__HORIZON_S": "4", "CSTD__STRATEGY__REHEARSAL__HOLD_S": "3"}

Entry = tuple[int, int, int, int, bytes]     # kind, tag, monotonic and wall time, payload


@cache
def configuration(absent_s: int, *, watched: bool, tier: str) -> Config:
    """The shipped practice configuration with short round trips, over one instrument.

    `absent_s`: how long an order must have been out before it is absent; longer than the venue's history lags. `watched`: with
    stops, targets and time stops. `tier`: of the account.
    """
    cfg = load([str(template("practice"))], {
        **QUICK, **(WATCHED if watched else UNWATCHED), "CSTD__VENUE__TIER": tier,
        "CSTD__VENUE__UNKNOWN_ABSENT_S": str(absent_s)})
    return msgspec.structs.replace(cfg, futures=None)  # the simulated network has the spot sockets alone


def engine_of(own: LoadedStrategy | None) -> Engine:
    """Return a fresh engine that knows the user's strategy, if there is one."""
    engine = Engine(Recorder(), None)
    engine.code = Code(given=[own] if own is not None else [])
    return engine


def through_checkpoint(replay: JournalReplay, own: LoadedStrategy | None) -> JournalReplay:
    """Return the replay as another engine goes on with it that was given this one's checkpoint."""
    engine = engine_of(own)
    again = JournalReplay(engine)
    engine.recorder.captured = restore(engine, dump(replay.engine))
    return again


class Simulation:
    """One session of one seed.

    Args:
        seed: decides the market and the delays. faults: what goes wrong; None: what the seed has drawn.
        only: numbers of those that happen; None: all. readings: how the venue reads what is uncertain.
        cfg: the daemon's configuration; None: the seed's. own: the user's strategy, where the configuration names one.

    Attributes:
        now_ns: virtual time, the venue's wall clock. journal: events and outputs as recorded. delivered: what reached the
            venue over sockets. log: what happened to the session, for a failure's report. user_btc, user_usd: the user's own.
        unbooked: cash that came or went without an entry of the venue's ledger. lost_orders: client order ids of what a power
            cut took from the journal.
    """

    def __init__(self, seed: int, faults: Faults | None = None, only: frozenset[int] | None = None, *,
                 readings: Readings | None = None, cfg: Config | None = None, own: LoadedStrategy | None = None) -> None:
        self.seed = seed
        self.own = own
        self._faults, self._only = faults, only
        self.now_ns = START_NS
        self.log: list[str] = []
        self.delivered: list[str] = []
        self.connections = itertools.count(1)
        self.journal: list[Entry] = []
        self._written_ns: list[int] = []     # when each of its records was written
        self._digest = ""   # of the engine that was killed with its whole journal left
        self.lost_tail = False
        self.lost_orders: set[str] = set()
        self.opened_ns = 0  # when an opening left last
        self.alive = False
        self.stopped_until_ns = 0
        self.crashes = 0
        self._host_began_ns = START_NS - UPTIME_NS
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._boots = 0
        # What faults have changed.
        self.struck: Counter[str] = Counter()
        self.slow_network = self.unreliable_rest = False
        self.crash_at_order: Crash | None = None
        self.unsynced_since_ns: int | None = None
        self.ring_full = False
        self.clock_step_ns = self.venue_skew_ns = self.history_lag_ns = self.timers_late_ns = 0
        self._late = Noise(seed, "timers")
        self.rest_calls = RestCalls()
        self.exit_reasons: Counter[ExitReason] = Counter()
        self._exits_seen = 0
        self.user_btc, self.user_usd, self.unbooked = USER_BTC, USER_USD, Decimal(0)
        self._rest_there, self._rest_back, self._rest_fate = (Noise(seed, f"rest {what}") for what in ("there", "back", "fate"))
        self.readings = readings
        self.cfg = cfg or configuration(ABSENT_LONG_S if is_patient(seed) else ABSENT_S, watched=is_watched(seed),
                                        tier=tier_of(seed))
        self._build_exchange()
        self.wires = {Link.LINK_PUBLIC: Wire(self, Link.LINK_PUBLIC, self.public),
                      Link.LINK_PRIVATE: Wire(self, Link.LINK_PRIVATE, self.private)}
        self.trouble = Trouble(self)

    # The venue.

    def _build_exchange(self) -> None:
        instruments, assets = first(1)
        self.exchange = Exchange(
            instruments, assets, seed=self.seed, id_seed=self.seed, tier=self.cfg.venue.tier, wall_ns=self.now_ns,
            readings=self.readings,
            history={i.name: replace(history_shape(i), rows=HISTORY_ROWS) for i in instruments})
        shapes = load_shapes()
        self.flows = [Flow(self.exchange.markets[i.name], shapes[i.shape], seed=self.seed, start_ns=self.now_ns, rate_per_s=15)
                      for i in instruments]
        self.public = PublicServer(self.exchange, self.clock)
        self.private = PrivateServer(self.exchange, self.account_clock)
        self.private_rest = PrivateRest(self.exchange, self.account_clock)
        self.rest = RestServer(self.exchange, self.account_clock, self.private_rest)
        self._desk_timer_ns = 0
        self.exchange.on_timers_changed = self._arm_desk
        for flow in self.flows:
            self._arm_flow(flow)
        self.at(self.now_ns + S, self._beat)

    def clock(self) -> int:
        """Virtual wall time."""
        return self.now_ns

    def account_clock(self) -> int:
        """Wall time as the account's side of the venue has it."""
        return self.now_ns + self.venue_skew_ns

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
        if due_ns is not None and (due_ns - self.venue_skew_ns < self._desk_timer_ns or self._desk_timer_ns <= self.now_ns):
            self._desk_timer_ns = max(due_ns - self.venue_skew_ns, self.now_ns + MS)
            self.at(self._desk_timer_ns, self._run_desk)

    def _run_desk(self) -> None:
        self.exchange.desk.on_timer(self.account_clock())
        self.exchange.settle()

    def _beat(self) -> None:
        self.public.beat()
        self.private.beat()
        self.at(self.now_ns + S, self._beat)

    def rest_reply(self, method: str, query: str, *, private: bool = True) -> dict[str, Any]:
        """What the venue answers to one call now."""
        try:
            if not private:
                if not self.rest.public_call_allowed():
                    return {"error": ["EGeneral:Too many requests"]}
                return {"error": [], "result": json.loads(dumps(self.rest.public.endpoints[method](parse_form(query))))}
            cost, endpoint = self.private_rest.endpoints[method]
            if cost and not self.exchange.rest_counter.charge(cost, self.now_ns):
                return {"error": ["EAPI:Rate limit exceeded"]}
            if self.history_lag_ns and method in LAGGING:
                lagging = past_reply(self.exchange, self.account_clock, method, parse_form(query), self.history_lag_ns)
                return {"error": [], "result": json.loads(dumps(lagging))}
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

    # The daemon.

    def boot(self) -> None:
        """Start the daemon: recover what the journal holds, then connect."""
        self._boots += 1
        self._recover()
        self.alive = True
        self.feed(EventKind.EVENT_BOOT, 0, boot_payload(self.cfg, START_NS // S + self._boots, None, self.own))
        for wire in self.wires.values():
            wire.start_connecting()
        self._schedule_tick(self._boots)

    def _recover(self) -> None:
        """Replay the journal, output by output, as the daemon does; what its last event did not get to record is added.

        Somewhere on the way the engine is given up for another one, which gets its checkpoint and goes on.
        """
        replay = JournalReplay(engine_of(self.own))
        cut = Random(f"checkpoint {self.seed} {self._boots}").randint(1, len(self.journal)) if self.journal else 0
        for seq, entry in enumerate(self.journal, 1):
            replay.feed(seq, *entry)
            if seq == cut:
                _check_replay(replay)
                replay = through_checkpoint(replay, self.own)
        _check_replay(replay)
        self.engine = replay.engine
        self._exits_seen = self.engine.core.intent_seq
        if self._digest not in ("", self.engine.recorder.hexdigest()):
            raise BrokenPromiseError("a replay of the journal has another digest")
        self._keep_outputs()
        check_counts(self.engine, self.journal)

    def _keep_outputs(self) -> list[tuple[int, int, bytes]]:
        """Journal what the last event put out; returns it."""
        captured = self.engine.recorder.captured
        assert captured is not None
        outputs = list(captured)
        captured.clear()
        if outputs:
            _, _, mono_ns, wall_ns, _ = self.journal[-1]
            self._record([(kind, tag, mono_ns, wall_ns, payload) for kind, tag, payload in outputs])
        return outputs

    def _record(self, entries: list[Entry]) -> None:
        self.journal.extend(entries)
        self._written_ns.extend([self.now_ns] * len(entries))

    def _schedule_tick(self, boot: int) -> None:
        late_ns = int(self._late.at(self.now_ns) * self.timers_late_ns)
        self.at(self.now_ns + TICK_NS + late_ns, lambda: self._tick(boot))

    def _tick(self, boot: int) -> None:
        if boot != self._boots or not self.alive:
            return
        if self.now_ns >= self.stopped_until_ns:
            self.feed(EventKind.EVENT_TIMER, 0, b"")
        self._schedule_tick(boot)

    def feed(self, kind: int, tag: int, payload: bytes) -> None:
        """One event of the daemon, recorded and applied; then what it sends."""
        if not self.alive or self.ring_full:
            return
        event = (kind, tag, self.now_ns - self._host_began_ns, self.now_ns + self.clock_step_ns, payload)
        self._record([event])
        apply_event(self.engine.core, *event)
        if self.engine.core.fault is not None:
            raise BrokenPromiseError("the engine failed", repr(self.engine.core.fault))
        self._check_exits()
        if (kind, tag) == (EventKind.EVENT_FRAME, Link.LINK_PRIVATE):
            self._check_sizes()
        self._send([(tag, payload) for kind, tag, payload in self._keep_outputs() if kind == EventKind.OUT_ORDER_FRAME])

    def _check_exits(self) -> None:
        """What is on its way to be sold is managed, and each exit has a reason that is configured."""
        core = self.engine.core
        named = {ExitReason.EXIT_FLIP, ExitReason.EXIT_FLATTEN}
        if self.own is not None:  # the built-in strategy quotes nothing
            named.add(ExitReason.EXIT_QUOTE)
        if is_watched(self.seed):
            named |= {ExitReason.EXIT_STOP, ExitReason.EXIT_TARGET, ExitReason.EXIT_TIME}
        exits = [order for order in map(core.order, core.live_orders()) if order["kind"] == IntentKind.EXIT]
        new = [order for order in exits if order["state"] == OrderState.ORDER_SENT and order["intent_seq"] > self._exits_seen]
        if not new:
            return
        self._exits_seen = max(order["intent_seq"] for order in new)
        selling, managed = sum(order["leaves_raw"] for order in exits), self.engine.ledger.positions[0].qty_raw
        promise(selling <= managed, "more is being sold than is managed", (selling, managed))
        promise(all(order["exit_reason"] in named for order in new), "an exit without a reason", new)
        self.exit_reasons.update(ExitReason(order["exit_reason"]) for order in new)

    def _check_sizes(self) -> None:
        """Each order that is live here counts for no less than is open of it at the venue, in quantity and in money, whatever
        became of its amends."""
        core, account = self.engine.core, self.exchange.account
        there = {order.cl_ord_id: (order.leaves_raw, order.leaves_raw * (order.limit_raw or 0))
                 for order in account.open.values()}
        for order in map(core.order, core.live_orders()) if there else ():
            qty_raw, value_raw = there.get(order["cl_ord_id"], (0, 0))
            promise(order["leaves_raw"] >= qty_raw, "an order counts for less than is open", order)
            asked_raw = (order["amend_price_raw"] or order["price_raw"]) * (order["amend_qty_raw"] - order["filled_raw"])
            counted_raw = max(order["price_raw"] * order["leaves_raw"], asked_raw)
            promise(counted_raw >= value_raw, "an order counts for less money than is open", order)

    def _send(self, frames: list[tuple[int, bytes]]) -> None:
        """Let leave what an event put out, unless the process or the host goes just then."""
        engine = self.engine
        adding = any(tag in (OrderAction.ACTION_ADD, OrderAction.ACTION_EXIT_REST) for tag, _ in frames)
        crash = self.crash_at_order if adding else None
        if crash is not None and crash.at_order == "recorded":
            self.crash_at_order = None
            self.crash(crash)
            return
        for tag, payload in frames:
            if tag == OrderAction.ACTION_ADD and b'"side":"buy"' in payload:
                if engine.core.slots[0].book.state != BookState.BOOK_VERIFIED:
                    raise BrokenPromiseError("an opening on a book that is not verified")
                if engine.state != "ready":
                    raise BrokenPromiseError("an opening in a state other than ready", engine.state)
                check_book(self, json.loads(payload)["params"]["symbol"], self.journal)
                self.opened_ns = self.now_ns
            if tag == OrderAction.ACTION_EXIT_REST and not (b"&type=sell&" in payload and b"&timeinforce=IOC&" in payload):
                raise BrokenPromiseError("an order by REST is no exit", payload)
            if tag not in (OrderAction.ACTION_CANCEL_REST, OrderAction.ACTION_EXIT_REST):
                self.wires[Link.LINK_PRIVATE].send(payload)
        outbox, calls, closing = list(engine.outbox), list(engine.rest_out), list(engine.close_links)
        engine.discard_outgoing()
        for link, frame in outbox:
            self.wires[Link(link)].send(frame)
        for call in calls:
            self._call(call)
        if crash is not None:
            self.crash_at_order = None
            self.crash(crash)
            return
        for link, reason in closing:
            self.at(self.now_ns, lambda link=link, reason=reason: self.wires[Link(link)].cut(reason))  # type: ignore[misc]

    def _call(self, call: Any) -> None:
        """One REST call: there, back, and what may go wrong with either."""
        boot, request = self._boots, call.request
        drawn_fate = self._rest_fate.at(self.now_ns)
        fate = drawn_fate if self.unreliable_rest else 1.0
        deadline_ns = self.now_ns + call.timeout_ns

        def arrive() -> None:
            fault = self.rest_calls.take(request.method)
            if fate < 0.06 or (isinstance(fault, RestTimeout) and not fault.executed):     # the request is lost
                return
            reply = {"error": [getattr(fault, "error", "")]}
            if fault is None or fault.executed:
                reply = self.rest_reply(request.method, request.query(), private=request.private)
            if 0.06 <= fate < 0.12 or isinstance(fault, RestTimeout):     # it was executed, and the reply is lost
                return
            if fault is not None and not isinstance(fault, HttpError):
                reply = {"error": [fault.error]}
            bad = fate < 0.16 or isinstance(fault, HttpError)
            status, body = (502, "<html>bad gateway</html>") if bad else (200, json.dumps(reply))
            if 0.16 <= fate < 0.20:
                body = json.dumps({"error": ["EService:Unavailable"]})
            self.at(self.now_ns + self.wires[Link.LINK_PRIVATE].delay_ns(self._rest_back), lambda: answer(status, body, ""))

        def answer(status: int, body: str, error: str) -> None:
            if boot == self._boots and not done:
                if self.now_ns < self.stopped_until_ns:
                    self.at(self.stopped_until_ns, lambda: answer(status, body, error))
                    return
                done.append(True)
                self.feed(EventKind.EVENT_REST_REPLY, 0, json.dumps(
                    {"id": call.call_id, "status": status, "body": body, "error": error}).encode())

        done: list[bool] = []
        self.at(self.now_ns + self.wires[Link.LINK_PRIVATE].delay_ns(self._rest_there), arrive)
        self.at(deadline_ns, lambda: answer(0, "", "no reply in time"))

    def check_switch(self) -> None:
        """The venue's dead man's switch is on wherever an opening of ours is open there."""
        if self.exchange.desk.cancel_after_ns is not None:
            return
        openings = [order.cl_ord_id for order in self.exchange.account.open.values() if order.side == Side.BUY]
        if openings:
            raise BrokenPromiseError("an opening is open, and the dead man's switch is off", openings)

    def command(self, verb: str, **args: Any) -> dict[str, Any]:
        """An operator's command; returns what he is told."""
        command = {"id": self.now_ns, "verb": verb, "args": args, "actor": "seed"}
        self.feed(EventKind.EVENT_COMMAND, 0, json.dumps(command).encode())
        return self.engine.replies.pop(self.now_ns, {})

    def opening_rests(self) -> bool:
        """Whether the daemon has an opening open of which nothing has been filled."""
        core = self.engine.core
        return any(order["state"] == OrderState.ORDER_OPEN and order["kind"] == IntentKind.OPENING
                   for order in map(core.order, core.live_orders()))

    def clear_kill(self) -> None:
        """Both steps that end a kill, after both that let drawdown be measured from what is left."""
        asked = self.command("limits_rebase_peak")
        set_anew = self.command("limits_rebase_peak", confirm=asked.get("confirm")).get("rebased") is True
        promise(set_anew and self.engine.nav.drawdown_bps == 0, "a peak that was set anew leaves no drawdown", asked)
        self.command("kill_clear", confirm=self.command("kill_clear").get("confirm"))

    # Crashes.

    def crash(self, fault: Crash) -> None:
        """kill -9, or a power cut that takes what was not on disk yet; a start follows."""
        self.crashes += 1
        self._digest = "" if fault.power else self.engine.recorder.hexdigest()
        self.alive = False
        for wire, seen_s in zip(self.wires.values(), fault.seen_s, strict=True):
            # What was under way may still arrive: it left the host before it went.
            wire.cut("crash", server_sees_after_ns=int(seen_s * S), tell=False)
        if fault.power:
            self._lose_tail(fault)
            self._host_began_ns = self.now_ns + int(fault.restart_s * S) - UPTIME_NS
        else:
            self.log.append(f"{self.clock_text()} kill -9")
        self.unsynced_since_ns, self.ring_full = None, False
        self.at(self.now_ns + int(fault.restart_s * S), self.boot)

    def _lose_tail(self, fault: Crash) -> None:
        synced_to_ns = self.now_ns - int(fault.unsynced_s * S)
        if self.unsynced_since_ns is not None:
            synced_to_ns = min(synced_to_ns, self.unsynced_since_ns)
        unsynced = sum(written_ns > synced_to_ns for written_ns in self._written_ns)
        lost = min(unsynced, int(fault.lost_frac * (unsynced + 1)))     # a block of the journal ends anywhere
        kept = len(self.journal) - lost
        self.lost_tail |= lost > 0
        self.lost_orders |= {json.loads(payload)["params"]["cl_ord_id"] for kind, tag, _, _, payload in self.journal[kept:]
                             if (kind, tag) == (EventKind.OUT_ORDER_FRAME, OrderAction.ACTION_ADD)}
        del self.journal[kept:], self._written_ns[kept:]
        self.log.append(f"{self.clock_text()} power cut, {lost} records lost")

    def clock_text(self) -> str:
        """Seconds since the start."""
        return f"{(self.now_ns - START_NS) / S:8.3f}"

    # A session.

    def run(self, seconds: float) -> Simulation:
        """A quiet start, faults for so many seconds, a healthy venue, a pause, and the reckoning."""
        self.boot()
        self._until(lambda: self.engine.state == "ready", QUIET_S, "not ready at the start")
        began_ns = self.now_ns
        for number, fault in enumerate(drawn(self.seed, seconds) if self._faults is None else self._faults):
            if fault.at_s < seconds and (self._only is None or number in self._only):
                self.at(began_ns + int(fault.at_s * S), lambda number=number, fault=fault: self._strike(number, fault))  # type: ignore[misc]
        self.run_until(began_ns + int(seconds * S))
        self.trouble.heal()
        settled_ns = self.now_ns + SETTLE_S * S
        self._until(self._resumed, HALT_S if self.unbooked else SETTLE_S, "not ready again")
        promise(not self.unbooked or self.opened_ns <= settled_ns, "opens on although cash is missing")
        self.command("pause")
        self._until(self._quiet, SETTLE_S, "orders are still live")
        if self.lost_tail:
            # The look-up that found the account agreed may have asked lists that lagged behind what the journal lost.
            self._until(self._all_told, SETTLE_S, "an order is at the venue alone")
            self._until(self._quiet, SETTLE_S, "orders are still live")
        # What the balances channel did not tell of a move, the next comparison finds in the venue's ledger.
        self._until(self._own_known, SETTLE_S, "the user's own is known otherwise")
        self.judge()
        return self

    def _strike(self, number: int, fault: Any) -> None:
        self.log.append(f"{self.clock_text()} fault {number} {text_of(fault)}")
        self.struck[str(fault.__struct_config__.tag)] += 1
        self.trouble.begin(fault)

    def hits(self) -> Counter[str]:
        """How often faults of each kind began; of those that wait for a frame: how often they struck."""
        lines = [wire.line.hits for wire in self.wires.values()]
        return Counter({f"fault {name}": n for name, n in self.struck.items()}) + Counter(
            {f"frames {name}": n for hits in lines for name, n in hits.items()})

    def _resumed(self) -> bool:
        """Ready; an operator who had paused, or whose journal has failed, resumes first."""
        if not self.alive or self.now_ns < self.stopped_until_ns:
            return False
        if self.engine.risk.kill.latched:
            self.clear_kill()
        if self.engine.state == "paused" or self.engine.risk.halt_reason is not None:
            self.command("resume")
        return self._halted_for_cash() if self.unbooked else self.engine.state == "ready"

    def _halted_for_cash(self) -> bool:
        """Cash that nothing explains has halted the daemon, which says how much it is."""
        return (self.engine.state == "halted" and self.engine.reconciler.balances.mismatch_rounds >= MISMATCH_ROUNDS_MAX
                and f"USD {self.unbooked:+f}" in (self.engine.state_reason or ""))

    def _quiet(self) -> bool:
        if not self.alive or self.exchange.account.open or self.engine.reconciler.running:
            return False
        core = self.engine.core
        states = {core.order(index)["state"] for index in core.live_orders()}
        if self.unbooked:
            return not states and self._halted_for_cash()
        return not states and self.engine.state == "paused" and self.engine.reconciler.trusted

    def _own_known(self) -> bool:
        known = self.engine.reconciler.balances
        return self._quiet() and (known.own["BTC"], known.cash.own) == (self.user_btc, self.user_usd)

    def _all_told(self) -> bool:
        history = self.engine.tracker.history
        return all(order.cl_ord_id in history for order in self.exchange.account.orders.values())

    def _until(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        if not self.run_until(self.now_ns + int(seconds * S), holds):
            engine = self.engine
            live = [engine.tracker.state_name(engine.core.order(i)) for i in engine.core.live_orders()]
            raise BrokenPromiseError(what, f"within {seconds} s: {engine.state} ({engine.state_reason}), live {live}, "
                                           f"open at the venue {len(self.exchange.account.open)}, "
                                           f"{engine.reconciler.differences[-3:]}")

    def judge(self) -> None:
        """Orders, fills with their money, positions and balances of the daemon are the exchange's, to the last raw unit;
        its counters are the journal's."""
        engine, account = self.engine, self.exchange.account
        check_counts(engine, self.journal)
        price_digits = self.exchange.markets["BTC/USD"].instrument.price_precision
        true_fills = {fill.exec_id: (fill.order.cl_ord_id, fill.order.side, fill.qty_raw, from_raw(fill.price_raw, price_digits),
                                     fill.cost, ((fill.fee_asset, fill.fee),)) for fill in account.fills}
        assert len(true_fills) == len(account.fills)
        ours = {fill.exec_id: (fill.cl_ord_id, int(fill.side), fill.qty_raw, fill.price, fill.cost, fill.fees)
                for fill in engine.ledger.fills.values()}
        promise(ours == true_fills, "fills differ", sorted(set(ours.items()) ^ set(true_fills.items()))[:4])
        sent = [json.loads(text)["params"]["cl_ord_id"] for text in self.delivered if '"add_order"' in text]
        promise(len(sent) == len(set(sent)), "an order was sent twice")
        at_venue = [order.cl_ord_id for order in account.orders.values()]
        promise(len(at_venue) == len(set(at_venue)), "an order is at the venue twice")
        for order in account.orders.values():
            known = engine.tracker.history.get(order.cl_ord_id or "")
            if known is None:
                raise BrokenPromiseError("an order is at the venue alone", f"{order.cl_ord_id} ({order.status})")
            seen = known["filled_raw"], known["state"]
            promise(seen[0] == order.filled_raw, "an order has another quantity", (order.cl_ord_id, seen, order.filled_raw))
            promise(STATES.get(seen[1]) == order.status, "an order has another end", (order.cl_ord_id, seen, order.status))
        there = {order.cl_ord_id for order in account.orders.values()}
        invented = [cl_ord_id for cl_ord_id, known in engine.tracker.history.items()
                    if known["state"] in STATES and cl_ord_id not in there]
        promise(not invented, "an order is here alone", invented)
        held = sum(fill.qty_raw * (1 if fill.order.side == Side.BUY else -1) for fill in account.fills)
        promise(engine.ledger.positions[0].qty_raw == held, "the position differs")
        cash = sum(((-fill.cost if fill.order.side == Side.BUY else fill.cost) - fill.fee for fill in account.fills), Decimal(0))
        promise(engine.ledger.cash_flow == cash, "the cash differs", (engine.ledger.cash_flow, cash))
        promise(account.balances["BTC"] - engine.ledger.managed_qty("BTC") == self.user_btc, "the user's coins were touched")
        promise(account.balances["USD"] - cash == self.user_usd + self.unbooked, "the user's cash was touched")


def _check_replay(replay: JournalReplay) -> None:
    if replay.difference_count:
        raise BrokenPromiseError("the journal replays otherwise", replay.differences)


STATES = {OrderState.ORDER_FILLED: "filled", OrderState.ORDER_CANCELED: "canceled", OrderState.ORDER_EXPIRED: "expired"}
