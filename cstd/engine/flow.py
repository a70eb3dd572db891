"""Engine: a pure function of (configuration, ordered events). The main flow of the whole daemon, top to bottom.

Every input is one event: a frame, the end of a read batch, a timer, a command, a REST reply, a link that came up or went
down, a boot. Live, paper and practice feed them from sockets, replay from a journal or a recording; there is no second
path. Frames of the public socket are handled in the compiled core without coming here (cstd/_fast/engine.pyx); what it
does not recognise, and everything that is rare, is handled below and written back into the core, which the gates read.

Nothing here reads a clock, a random source, the environment or a file, and nothing here logs: times come with events,
frames and requests to send are left in `outbox`, `rest_out` and `close_links` for the daemon, and `notes` for the log.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import msgspec

from cstd import __version__
from cstd._fast.codes import BookFault, EventKind, Link, OrderState, TradingState
from cstd._fast.core import Core
from cstd._fast.port import OrderPort
from cstd._fast.recorder import Recorder
from cstd.config import Config, from_canonical_json
from cstd.decision.setup import give_tactics
from cstd.engine import arrivals, condition_feed, handover, venue_clock
from cstd.engine.answers import recorded, still_halted
from cstd.engine.booked import record_fills
from cstd.engine.congestion import Congestion
from cstd.engine.ensemble import Ensemble
from cstd.engine.futures_feed import FuturesFeed
from cstd.engine.maintenance import Maintenance
from cstd.engine.own_code import give_code, take_code
from cstd.engine.own_silence import OwnSilence
from cstd.engine.readiness import not_ready_reason
from cstd.engine.scores import Scores
from cstd.errors import InvariantError
from cstd.ledger.nav import Nav
from cstd.ledger.positions import Ledger
from cstd.market.audit import BookAudit
from cstd.market.evidence import EvidenceFetch
from cstd.market.feed import PublicFeed
from cstd.market.tapes import TapeWatch
from cstd.orders.account_reads import AccountReads
from cstd.orders.desk import RiskDesk
from cstd.orders.exit_prices import ExitPrices
from cstd.orders.kill_proof import KillProof
from cstd.orders.lifecycle import TABLE
from cstd.orders.margin import MarginPositions
from cstd.orders.reconcile import Reconciler
from cstd.orders.rest_cancels import RestCancels
from cstd.orders.rest_exits import RestExits
from cstd.orders.tracker import OrderTracker
from cstd.signals.code import Code, LoadedAgents, LoadedStrategy
from cstd.units import INT64_MAX, seconds_to_ns
from cstd.venue.futures import FuturesMachine
from cstd.venue.messages import (
    Ack,
    BalanceEntry,
    BalancesMessage,
    BookMessage,
    ExecutionReport,
    ExecutionsMessage,
    InstrumentUpdate,
    Malformed,
    Message,
    OhlcMessage,
    TickerMessage,
    TradeMessage,
    decode_private,
    decode_public,
)
from cstd.venue.private import Deadman, OrderReply, PrivateMachine, TierKnown, Unanswered
from cstd.venue.public import PublicMachine
from cstd.venue.rest.lane import RestCall, RestLane, RestResult
from cstd.venue.rest.request import RestRequest

NS_PER_S = 1_000_000_000
UNANSWERED_GRACE_NS = NS_PER_S
OPENINGS_NS = NS_PER_S  # ten ticks: a loop that is later than that finds out first what holds now
# Continuous reconciliation: a round costs six points of the slowest tier's counter, which gives one back in three seconds.
RECONCILE_INTERVAL_NS = 60 * NS_PER_S


class Engine:
    """The Python part of the engine: machines, orders, ledger, risk, state. One per process; one writer of all state.

    Args:
        recorder: where events and outputs are recorded.
        agents: compiled agents, None for none.
        port: where order frames go; without one they go nowhere.
        inferring: take precisions from a recording's snapshots (replay of recordings only).
        strategy: another strategy than the configured one (the bench).

    Attributes:
        state: starting, reconciling, ready, paused, halted, killed, stopping.
        code: where agents and strategies are found that a boot names; own: the user's strategy of this boot.
        outbox: (link, frame) of control frames to send. rest_out: requests to make. close_links: (link, reason).
    """

    core_type: type[Core] = Core  # a replay's may tell more

    def __init__(self, recorder: Recorder, agents: LoadedAgents | None = None, port: OrderPort | None = None, *,
                 inferring: bool = False, strategy: str | None = None) -> None:
        self.recorder = recorder
        self.core = self.core_type(recorder, TABLE, port)
        self.core.handler = self
        self.agents = agents
        self.own: LoadedStrategy | None = None
        self.code = Code()
        self.code_ran: tuple[str, int, str] | None = None
        self.inferring = inferring
        self._strategy = strategy
        self.cfg: Config | None = None
        self.state = "starting"
        self.state_reason: str | None = "not booted"
        self.boot_epoch = 0
        self.config_hash = ""
        self.names: tuple[str, ...] = ()
        self.outbox: list[tuple[int, bytes]] = []
        self.rest_out: list[RestCall] = []
        self.close_links: list[tuple[int, str]] = []
        self.notes: list[tuple[str, str, dict[str, Any]]] = []
        self.replies: dict[int, dict[str, Any]] = {}
        self.resyncs: Counter[str] = Counter()
        self.stopping = False
        self.ledger = Ledger()
        self._lane_before: RestLane | None = None
        self._mono_ns = 0
        self._wall_ns = 0
        self.congestion = Congestion()
        self.scores = Scores()
        self.ensemble = Ensemble()
        self.handed_over: handover.Taken | None = None
        self._first_boot_wall_ns = 0
        self._ready_wall_ns = 0

    # Boot.

    def on_event(self, kind: int, tag: int, payload: bytes, mono_ns: int, wall_ns: int) -> None:
        """Process one event that is not a frame; called by the core, which has recorded it."""
        if mono_ns < self._mono_ns:
            self._lane_before = None  # the host restarted: what was counted was on a clock that began anew
        self._mono_ns, self._wall_ns = mono_ns, wall_ns
        match kind:
            case EventKind.EVENT_BOOT:
                self._boot(msgspec.json.decode(payload))
            case EventKind.EVENT_LINK:
                self._on_link(tag, msgspec.json.decode(payload))
            case EventKind.EVENT_REST_REPLY:
                self._on_rest_reply(msgspec.json.decode(payload))
            case EventKind.EVENT_COMMAND:
                command = msgspec.json.decode(payload)
                self.replies[command["id"]] = recorded(self, command, self._on_command(command, mono_ns, wall_ns))
            case EventKind.EVENT_SCORES:
                self.ensemble.on_scores(self, payload, mono_ns)
            case EventKind.EVENT_STOP:
                self.stopping = True
                self.risk.pull_resting()
            case _:
                raise InvariantError(f"event kind {kind} is unknown")
        self._settle()

    def _boot(self, payload: dict[str, Any]) -> None:
        """Take the configuration of this boot. State of the session before it stays; what the links knew does not."""
        if payload["version"] != __version__:
            self._note("warning", "journal of another version", journal=payload["version"], program=__version__)
        cfg = from_canonical_json(msgspec.json.encode(payload["config"]))
        take_code(self, payload)
        first = self.cfg is None
        self.cfg = cfg
        self.config_hash = payload["config_hash"]
        self.boot_epoch = payload["boot_epoch"]
        self.stopping = False
        names = tuple(cfg.instruments.names)
        if first:
            self._first_boot_wall_ns = self._wall_ns
            self._build(cfg, names)
        elif names != self.names:
            raise InvariantError(f"instruments changed within a session: {self.names} became {names}")
        self._configure_core(cfg)
        self._start_machines(cfg)
        if "handover" in payload:
            handover.take(self, payload["handover"], first=first)
        self.risk.write()
        self.tracker.lose_sight()
        arrivals.lose_market(self)
        self.risk.mark(self._wall_ns)
        self._set_state("reconciling", "booted")

    def _build(self, cfg: Config, names: tuple[str, ...]) -> None:
        self.names = names
        for name in names:
            self.core.add_slot(name.encode(), cfg.instruments.depth)
        self.tracker = OrderTracker(self.core, self.ledger, cfg.account.owner_prefix)
        self.tracker.numbers = {name: number for number, name in enumerate(names)}
        self.nav = Nav(cfg.account.capital)
        self.risk = RiskDesk(self.core, self.ledger, self.nav, self.tracker)
        self.feed = PublicFeed(self.core, names, cfg.account.currency, infer_precision=self.inferring,
                               digits=self.ledger.digits, count_in=self.ledger.add_instrument)
        self.futures = FuturesFeed(self.core, names, self.feed.specs)
        self.tapes = TapeWatch(self.core, self.feed, names)
        self.evidence = EvidenceFetch(self.core, self.feed, names)
        self.audit = BookAudit(self.core, self.feed, names, self._submit, self._is_live)

    def _is_live(self, name: str) -> bool:
        return self.public.live(name)  # asked of the machine of this boot

    def _configure_core(self, cfg: Config) -> None:
        core = self.core
        account_hash = hashlib.sha256(f"{cfg.mode}:{cfg.account.owner_prefix}".encode()).digest()[:8]
        agents_hash = bytes.fromhex(self.agents.sha256)[:8] if self.agents is not None else bytes(8)
        core.set_identity(cfg.account.owner_prefix.encode(), account_hash, self.boot_epoch,
                          bytes.fromhex(self.config_hash)[:8], agents_hash)
        give_code(self, cfg, self._strategy)
        give_tactics(core, cfg)
        core.deadline_ns = cfg.policy.deadline_ms * 1_000_000
        core.markout_allowance_mbps = int(cfg.policy.markout_allowance_bps * 1000)
        self.risk.configure(cfg)
        if not self.inferring:
            venue_clock.begin(core, self._mono_ns, self._wall_ns)

    def _start_machines(self, cfg: Config) -> None:
        self.public = PublicMachine(self.names, cfg.instruments.depth)
        self.private = PrivateMachine()
        self.futures.boot(cfg.futures)
        self.lane = RestLane(cfg.venue.tier)
        self.tracker.rates.boot(cfg.venue.tier)
        self.maintenance = Maintenance()
        self.own_silence = OwnSilence()
        self.scores.boot(seconds_to_ns(cfg.scorer.age_s_max) if cfg.scorer is not None else 0, self._mono_ns)
        self.ensemble.boot(self, self._strategy or cfg.strategy.name)
        if self._lane_before is not None:
            self.lane.take_over(self._lane_before)
        self._lane_before = self.lane
        self.lane.rate.charge("GetApiKeyInfo", self._mono_ns)  # each start asks for the key's rights, outside the lane
        self.account_reads = AccountReads(self.lane)
        self.margin = MarginPositions(self.lane, self.tracker.notes.append)
        self.core.private_up = self.core.private_ready = self.core.venue_online = self.core.batch_open = False
        self.risk.coins_known = False
        self.audit.restart(seconds_to_ns(cfg.instruments.audit_interval_s))
        self.evidence.restart(self.risk.evidence_max_ns)
        known = getattr(self, "reconciler", None)
        self.reconciler = Reconciler(
            self.tracker, self._ask, self.private.renew_executions, absent_ns=seconds_to_ns(cfg.venue.unknown_absent_s),
            interval_ns=RECONCILE_INTERVAL_NS, boot_mono_ns=self._mono_ns, on_agreed=self.risk.adoption.on_agreed)
        self.rest_cancels = RestCancels(self.tracker, self._submit, down_since_ns=self._mono_ns)
        self.rest_exits = RestExits(self.tracker, self._submit, boot_mono_ns=self._mono_ns)
        self.kill_proof = KillProof(self.lane, self.risk, self.reconciler, self.rest_cancels, boot_mono_ns=self._mono_ns)
        self.exit_prices = ExitPrices(self.feed, self.tracker, self._submit, seconds_to_ns(cfg.policy.rest_price_age_s_max))
        self.reconciler.session_start_wall_ns, self.reconciler.boot_wall_ns = self._first_boot_wall_ns, self._wall_ns
        if known is not None:
            self.reconciler.take_over(known)

    # Links.

    def _on_link(self, link: int, payload: dict[str, Any]) -> None:
        if "up" not in payload:
            self._on_link_flow(link, payload)
            return
        up = bool(payload["up"])
        self.congestion.clear(link)
        machine = dict(self.machines())[Link(link)]
        if up:
            self.core.refresh_slow_budget(link)
            machine.on_up(self._mono_ns)
        else:
            machine.on_down(self._mono_ns)
        if link == Link.LINK_PUBLIC:
            self.core.batch_open = False  # its end can come no more
            if not up:
                self.core.venue_online = False
                arrivals.lose_market(self)
        elif link == Link.LINK_FUTURES:
            self.futures.look()
        else:
            self.core.private_up = up
            self.core.private_ready = self.risk.coins_known = False
            self.rest_exits.on_link(self._mono_ns)
            self.risk.write()
            self.rest_cancels.on_link(up=up, mono_ns=self._mono_ns)
            self.reconciler.reset()
            if not up:
                self.tracker.lose_sight()
            elif self.cfg is not None:
                self.lane.rate.charge("GetWebSocketsToken", self._mono_ns)  # taken outside the lane, counted all the same
                self.private.arm(self.cfg.venue.deadman_timeout_s, self._mono_ns)
        self._note("info" if up else "warning", "link up" if up else "link down", link=Link(link).name,
                   reason=payload.get("reason", ""))

    def _on_link_flow(self, link: int, payload: dict[str, Any]) -> None:
        """Take note that a socket brings more than is read (`behind`), or takes less than is sent (`stalled`).

        Either way no opening may leave: its quote would be old, or it would arrive late. Cancels and exits go on.
        """
        for word, holds in self.congestion.take(link, payload):
            self._note("warning" if holds else "info", f"link {word}" if holds else f"link no longer {word}",
                       link=Link(link).name)
        self.core.venue_online = self._venue_online()
        self.core.private_ready = self._private_ready()

    def machines(self) -> tuple[tuple[Link, PublicMachine | PrivateMachine | FuturesMachine], ...]:
        """The protocol machines of this boot with their links."""
        return (Link.LINK_PUBLIC, self.public), (Link.LINK_PRIVATE, self.private), (Link.LINK_FUTURES, self.futures.machine)

    def _venue_online(self) -> bool:
        return self.public.system == "online" and not (self.maintenance.reason or self.congestion.busy(Link.LINK_PUBLIC))

    def _private_ready(self) -> bool:
        return self.private.ready and self.reconciler.trusted and not self.congestion.busy(Link.LINK_PRIVATE)

    def on_slow_frame(self, link: int, data: bytes, mono_ns: int, wall_ns: int) -> None:
        """Process a frame that the scanner does not take; called by the core in the frame's place in the order."""
        self._mono_ns, self._wall_ns = mono_ns, wall_ns
        if link == Link.LINK_PUBLIC:
            for message in decode_public(data):
                self._on_public(message)
        elif link == Link.LINK_PRIVATE:
            for message in decode_private(data):
                if isinstance(message, Malformed):
                    self.core.count_malformed()
                for outcome in self.private.on_message(message, mono_ns):
                    self._on_private(outcome)
        elif link == Link.LINK_FUTURES and self.cfg is not None:
            self.futures.on_frame(data, mono_ns)
        self.maintenance.on_word(self)
        self._settle()

    def on_flood(self, link: int, size: int, mono_ns: int, wall_ns: int) -> None:
        """Give up a link whose slow frames cost more than they may: it counts as down from now on and is closed."""
        self._mono_ns, self._wall_ns = mono_ns, wall_ns
        if self.cfg is not None:
            reason = f"flooded: {size:,} bytes more than the tolerant path may take"
            self._on_link(link, {"up": False, "reason": reason})
            self.close_links.append((int(link), reason))
        self._settle()

    def on_strategy_fault(self, number: int, faults: int, stopped: bool) -> None:
        """Say that the user's own strategy failed: the first time, and when its openings stop for it."""
        said = "strategy fault: its openings stop until the next start" if stopped else "strategy fault"
        self._note("error", said, instrument=self.names[number], faults=faults)

    # What the scanner took apart itself: the same messages as the decoder's, made from their fields.

    def on_executions(self, sequence: int, snapshot: bool, rows: list[Any], mono_ns: int, wall_ns: int) -> None:
        """Process execution reports; rows: fields of ExecutionReport, in its order."""
        self._on_scanned(ExecutionsMessage(sequence, snapshot, tuple(ExecutionReport(*row) for row in rows)), mono_ns, wall_ns)

    def on_balances(self, sequence: int, snapshot: bool, rows: list[Any], mono_ns: int, wall_ns: int) -> None:
        """Process balances; rows: fields of BalanceEntry, in its order."""
        self._on_scanned(BalancesMessage(sequence, snapshot, tuple(BalanceEntry(*row) for row in rows)), mono_ns, wall_ns)

    def on_order_reply(self, row: tuple[Any, ...], mono_ns: int, wall_ns: int) -> None:
        """Process the reply to an order request; row: the first fields of Ack, in its order."""
        self._on_scanned(Ack(*row), mono_ns, wall_ns)

    def _on_scanned(self, message: Message, mono_ns: int, wall_ns: int) -> None:
        self._mono_ns, self._wall_ns = mono_ns, wall_ns
        for outcome in self.private.on_message(message, mono_ns):
            self._on_private(outcome)
        self._settle()

    def _on_public(self, message: Any) -> None:
        match message:
            case InstrumentUpdate():
                self.public.on_message(message, self._mono_ns)
                self.feed.on_instrument(message)
                return
            case BookMessage():
                self.feed.on_book(message)
            case TradeMessage():
                self.feed.on_trades(message.trades)
            case TickerMessage():
                self.feed.on_ticker(message)
            case OhlcMessage():
                arrivals.take_history(self, message, self._mono_ns, self._wall_ns)
            case Malformed():
                self.core.count_malformed()
                for name in message.names:
                    if message.channel == "book" and name in self.tracker.numbers:
                        self.core.book_fault(self.tracker.numbers[name], BookFault.FAULT_MALFORMED)
        self.public.on_message(message, self._mono_ns)
        self.core.venue_online = self._venue_online()

    def _on_private(self, outcome: Any) -> None:
        match outcome:
            case OrderReply():
                self.tracker.on_reply(outcome)
            case ExecutionsMessage():
                for report in outcome.reports:
                    self.tracker.on_report(report, snapshot=outcome.snapshot)
                self.reconciler.on_executions(outcome)
            case BalancesMessage():
                self.risk.on_balances(outcome)
                self.reconciler.on_balances(outcome)
            case TierKnown():
                self.tracker.rates.on_tier(outcome.rate_count_max)
            case Unanswered():
                self.tracker.want_reconcile = True
            case Deadman():
                self.tracker.rates.charge_pairs()
                venue_clock.learn(self.core, self.private.deadman.clock_bounds_ns, self._mono_ns, self._wall_ns)

    # REST.

    def _submit(self, request: RestRequest, leave_within_ns: int | None = None) -> int | None:
        return self.lane.submit(request, self._mono_ns, leave_within_ns)

    def _ask(self, method: str, params: dict[str, str], private: bool) -> None:
        self._submit(RestRequest(method, private, tuple(params.items())))

    def _on_rest_reply(self, payload: dict[str, Any]) -> None:
        self._on_rest_result(self.lane.on_reply(
            payload["id"], payload["status"], payload["body"].encode(), self._mono_ns, wall_ns=self._wall_ns,
            transport_error=payload["error"], retry_after_ns=payload.get("retry_after_ns", 0)))

    def _on_rest_result(self, done: RestResult | None) -> None:
        if done is not None and not (self.rest_cancels.on_result(done) or self.rest_exits.on_result(done)
                                     or self.kill_proof.on_result(done, self._mono_ns, self._wall_ns)
                                     or self.exit_prices.on_result(done, self._mono_ns) or self.account_reads.on_result(done)
                                     or self.audit.on_reply(done, self._mono_ns) or self.maintenance.on_result(self, done)
                                     or self.margin.on_result(done, self._mono_ns)):
            self.reconciler.on_reply(done.method, done.result, ", ".join(done.errors), self._mono_ns, self._wall_ns)

    # Time.

    def on_timer(self, mono_ns: int, wall_ns: int) -> None:
        """Work that is due by time; called by the core before the passes of a timer event."""
        self._mono_ns, self._wall_ns = mono_ns, wall_ns
        if self.cfg is None:
            return
        # Whatever fails, a kill is followed to its end, the state says so, and what is to be sent leaves.
        try:
            self._venue_on_timer(mono_ns, wall_ns)
        finally:
            try:
                self.risk.on_timer(mono_ns, wall_ns, self.kill_proof.on_timer)
            finally:
                self._update_state()
                self._settle()

    def _venue_on_timer(self, mono_ns: int, wall_ns: int) -> None:
        """What is due of links, orders, look-ups and books."""
        arrivals.note_frames_seen(self, mono_ns)
        self.own_silence.on_timer(self, mono_ns)
        arrivals.take_new_digits(self)
        self.public.on_timer(mono_ns)
        self.private.on_timer(mono_ns, progressing=self.core.fault is None)
        self.futures.on_timer(mono_ns)
        arrivals.give_up_links(self)
        if self.maintenance.on_timer(self, mono_ns, wall_ns):
            self.core.venue_online = self._venue_online()
        self.tracker.overdue(mono_ns, wall_ns, UNANSWERED_GRACE_NS)
        self._on_rest_result(self.lane.on_timer(mono_ns))
        self.core.private_ready = self._private_ready()
        self.risk.coins_known = self.private.ready and self.reconciler.balances.coins_known
        if self.private.want_reconcile and self.private.ready:
            self.private.want_reconcile = False
            self.tracker.want_reconcile = True
        self.rest_cancels.on_timer(mono_ns)
        self.rest_exits.on_timer(mono_ns, known=self.reconciler.known, followed=self.risk.coins_known)
        self.exit_prices.on_timer(mono_ns)
        self.reconciler.on_timer(mono_ns, wall_ns, ready=self.private.ready,
                                 blind=self.rest_cancels.looking_up(mono_ns) or self.rest_exits.looking_up(mono_ns)
                                 or self.risk.kill_unproven)
        self.margin.on_timer(mono_ns, ready=self.private.ready)
        self.account_reads.on_timer(mono_ns)
        arrivals.watch_feeds(self, mono_ns, wall_ns)
        arrivals.audit_books(self, mono_ns)
        condition_feed.look(self, mono_ns)
        self.ensemble.on_timer(self, mono_ns)

    def on_attention(self, mono_ns: int, wall_ns: int) -> None:
        """Work that the core left for the end of the batch: resyncs, and orders that were sent."""
        self._mono_ns, self._wall_ns = mono_ns, wall_ns
        for number in self.core.take_resyncs():
            name, slot = self.names[number], self.core.slots[number]
            reason = BookFault(slot.book.fault).name[6:].lower()
            if self.cfg is not None and self.public.resync(name, reason, mono_ns):
                self.core.count_resync()
                self.resyncs[name] += 1
                self.core.drop_book(number, slot.book.fault)
                self._note("warning", "resync", instrument=name, reason=reason)
        self._settle()

    def _on_command(self, command: dict[str, Any], mono_ns: int, wall_ns: int) -> dict[str, Any]:
        """Let the risk desk apply a command; a halt that is not the operator's to end is said instead of resumed."""
        if command["verb"] == "account_read":
            return self.account_reads.ask(command["args"], mono_ns)
        if command["verb"] == "resume" and (refusal := still_halted(self)) is not None:
            return refusal
        answer = self.risk.on_command(command, mono_ns, wall_ns)
        if "flattening" in answer:
            answer["flattening"] = [self.names[number] for number in answer["flattening"]]
        return answer

    # State.

    def _update_state(self) -> None:
        if self.core.fault is not None or self.recorder.failed:
            reason = f"{type(self.core.fault).__name__}: {self.core.fault}" if self.core.fault else "journal failed"
            self._set_state("halted", reason)
        elif self.stopping:
            self._set_state("stopping", "asked to stop")
            if not self.core.live_orders() and self.reconciler.done_count:
                self.private.disarm(self._mono_ns)
        elif self.risk.halt_reason is not None:
            self._set_state("halted", self.risk.halt_reason)
        elif self.reconciler.halt_reason:
            self._set_state("halted", self.reconciler.halt_reason)
        elif self.risk.killed:
            self._set_state("killed", self.risk.kill_reason)
        else:
            missing = not_ready_reason(self, self._mono_ns)
            if missing:
                self._set_state("reconciling", missing)
            elif self.risk.paused:
                self._set_state("paused", "paused by an operator")
            else:
                self._set_state("ready", None)

    def _set_state(self, state: str, reason: str | None) -> None:
        if state != self.state:
            self._note("info", "state", state=state, before=self.state, reason=reason or "")
            payload = msgspec.json.encode({"state": state, "before": self.state, "reason": reason})
            self.recorder.output_py(EventKind.OUT_STATE, 0, self._mono_ns, self._wall_ns, payload)
        self.state = state
        self.state_reason = reason
        if state == "ready" and not self._ready_wall_ns:
            self._ready_wall_ns = self._wall_ns
        self.core.trading_state = {
            "ready": TradingState.TRADING_READY, "paused": TradingState.TRADING_PAUSED,
            "killed": TradingState.TRADING_READY,  # the latch itself refuses, with its own reason
            "halted": TradingState.TRADING_PARITY_HALT if self.risk.parity_halt else TradingState.TRADING_HALTED,
        }.get(state, TradingState.TRADING_NOT_READY)
        # A process that was stopped reads on before its timers run; nothing opens on what held when it stopped.
        self.core.openings_until_ns = min(self.private.deadman.armed_until_ns, self._mono_ns + OPENINGS_NS)

    # What leaves the engine.

    def _settle(self) -> None:
        """Collect what is to be sent, and record what the ledger booked."""
        if self.cfg is None:
            return
        for link, machine in self.machines():
            if machine.out:
                self.outbox.extend((int(link), frame) for frame in machine.take_out())
        self.rest_cancels.send(self.core.take_rest_cancels())
        self.rest_exits.send(self.core.take_rest_exits())
        call = self.lane.next_call(self._mono_ns)
        if call is not None:
            self.rest_out.append(call)
        if self.ledger.unrecorded:
            record_fills(self)
        for notes in (self.tracker.notes, self.feed.notes, self.futures.notes):
            self.notes.extend(notes)
            notes.clear()
        if self.outbox or self.rest_out or self.close_links or self.notes:
            self.core.needs_python = True

    def discard_outgoing(self) -> None:
        """Forget what would be sent and logged: a replay has nobody to send it to."""
        self.outbox.clear()
        self.rest_out.clear()
        self.close_links.clear()
        self.notes.clear()
        self.core.needs_python = False

    def _note(self, level: str, event: str, **fields: Any) -> None:
        self.notes.append((level, event, fields))
        self.core.needs_python = True

    def stand_in(self) -> None:
        """Take the links' place in a recording's replay: no timer runs, and the simulated venue answers orders, or nobody."""
        self.core.venue_online = True
        self.core.private_up = self.core.private_ready = self.risk.coins_known = True
        self.risk.write()
        self._set_state("ready", None)
        self.core.openings_until_ns = INT64_MAX

    # Reading.

    @property
    def wall_ns(self) -> int:
        """Wall time of the event processed last."""
        return self._wall_ns

    def seconds_since_ready(self) -> float:
        """Seconds of wall time from the session's first *ready* to the last event, 0.0 before it."""
        return (self._wall_ns - self._ready_wall_ns) / NS_PER_S if self._ready_wall_ns else 0.0

    def at_rest(self) -> bool:
        """After a stop was asked for: no order of ours can be open, and the dead man's switch is off."""
        return self.stopping and not self.core.live_orders() and not self.private.deadman.may_be_on

    def unknown_count(self) -> int:
        """Number of live orders whose fate is unknown."""
        return sum(self.core.order(i)["state"] == OrderState.ORDER_UNKNOWN for i in self.core.live_orders())
