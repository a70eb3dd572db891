"""Life of the trading process: start, recovery, the loop, the stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from cstd._fast.codes import EventKind, Link
from cstd._fast.hist import read_cycles
from cstd.clock import SystemClock
from cstd.config import Config, Credentials, load, load_credentials, refusals
from cstd.config.problems import config_error
from cstd.daemon import taking_over
from cstd.daemon.children import CheckpointChild, FlightChild, flight_command, projector_child, reader_child
from cstd.daemon.control import admin_server
from cstd.daemon.flight_folder import BOARD_FILE, CRASH, bundles, flight_dir, put_aside
from cstd.daemon.futures_side import FuturesSide
from cstd.daemon.host import Host
from cstd.daemon.private_side import private_side
from cstd.daemon.reload import Reloader
from cstd.daemon.ring_place import ring_path
from cstd.daemon.run_place import make_run_dir, same_mode
from cstd.daemon.scoring import Scoring
from cstd.daemon.view import LiveView
from cstd.engine import Engine
from cstd.engine.recovery import recover
from cstd.engine.totals import latency_ns, session_totals
from cstd.errors import EXIT_PARITY, ConfigError, CstdError, InvariantError, OperatorError, VerificationError
from cstd.ops.board import PUBLISH_INTERVAL_S, REGIONS, BoardWriter
from cstd.ops.logs import Logs
from cstd.ops.notify import ServiceNotifier
from cstd.projector.mark import MARK_FILE, ProjectorMark
from cstd.signals.code import Configured, configured, keep
from cstd.storage.journal import open_journal
from cstd.storage.journal_files import boot_id
from cstd.storage.run_dir import JOURNAL_DIR
from cstd.units import NS_PER_S
from cstd.venue.attempts import AttemptFile
from cstd.venue.backoff import ReconnectPolicy
from cstd.venue.connector import Connector
from cstd.venue.link import PrivateLink, PublicLink, TokenPort
from cstd.venue.rest.lane import RestCall

TIMER_S = 0.1
TIMER_NS = 100_000_000
DISK_LOOK_S = 5.0
STOPPED_S = 1.0  # a tick that is later than this: the process, or its host, was stopped
STALL_NS_MAX = 10_000_000_000
RESUME_LOOK_S = 0.005
STOP_WAIT_S = 8.0
UNRECOVERED_WAIT_S = 15.0  # for a bundle of what cannot be started; nothing trades meanwhile
PROJECTOR_AFTER_S = 10.0
ACCOUNT_PAGE_LOOK_S = 0.02
ATTEMPTS_FILE = "attempts"
SUMMARY_FILE = "summary.json"
SOCKET_FILE = "cstd.sock"
LINK_NAMES = ("public", "private", "futures")  # by codes.Link
# The board is published in parts, so that no one publish holds the loop for long.
BOARD_PARTS = len(REGIONS)


def run_daemon(args: argparse.Namespace) -> int:
    """Check the configuration, then run until a signal or until `--for` is over. Returns the exit code."""
    cfg = load(args.config, os.environ)
    problems = refusals(cfg, os.environ)
    if problems:
        raise config_error(problems)
    run_dir = Path(args.run_dir or cfg.run.dir).resolve()
    ours = configured(cfg)
    make_run_dir(run_dir)
    credentials = load_credentials(cfg.mode, run_dir, os.environ)
    try:
        process = TradingProcess(cfg, run_dir, credentials, for_s=args.for_s, ours=ours, files=args.config)
    except (InvariantError, VerificationError) as error:
        if cfg.flight.enabled:
            _keep_unrecovered(run_dir, cfg, error)
        raise
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(process.main())
    if args.for_s is not None and process.summary is not None:
        print(json.dumps(process.summary), flush=True)
    return code


def _keep_unrecovered(run_dir: Path, cfg: Config, error: CstdError) -> None:
    """Have a bundle made of a journal that no start can go on from, once: each further try finds the same."""
    try:
        if any(bundle.manifest().get("reason") == error.message for bundle in bundles(flight_dir(run_dir))):
            return
        put_aside(run_dir)
        subprocess.run([*flight_command(run_dir, cfg), f"--kind={CRASH}", f"--reason={error.message}"],
                       timeout=UNRECOVERED_WAIT_S, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    except (OSError, CstdError, subprocess.TimeoutExpired) as trouble:
        sys.stderr.write(f"cstd: no flight bundle: {trouble}\n")


def _accepted(reply: dict[str, Any]) -> dict[str, Any]:
    if "error" in reply:
        raise OperatorError(reply["message"], suggestion=reply.get("suggestion", ""))
    return reply


class TradingProcess:
    """One run of the daemon. `summary` is set when it has stopped.

    ours: the code that `cfg` names, None to load it. files: that `cfg` was read from, for a reload.
    """

    def __init__(self, cfg: Config, run_dir: Path, credentials: Credentials, *, for_s: float | None,
                 ours: Configured | None = None, files: Sequence[str] = ()) -> None:
        self.cfg = cfg
        self.run_dir = run_dir
        self.for_s = for_s
        self.summary: dict[str, Any] | None = None
        self.clock = SystemClock()
        self._began_ns = self.clock.mono_ns()
        self.logs = Logs(level=cfg.logs.level)
        self.logs.redactor.register(credentials.api_key, credentials.api_secret)
        self.log = self.logs.channel("application")
        for note in credentials.notes:
            self.log.warning(note)
        self.notify = ServiceNotifier()
        self.ours = ours or configured(cfg)
        self.journal = open_journal(
            run_dir / JOURNAL_DIR, ring_path(run_dir), ring_bytes=cfg.journal.ring_bytes,
            segment_bytes=cfg.journal.segment_bytes, sync_interval_ms=cfg.journal.sync_interval_ms)
        keep(run_dir / JOURNAL_DIR, (self.ours.agents, self.ours.strategy))
        self.engine = self._recover()
        same_mode(self.engine.cfg, cfg, run_dir)
        self.recorder = self.engine.recorder
        self.host = Host(cfg.process, self.log)
        self.reader = reader_child(run_dir / BOARD_FILE, cfg.status, self.log, self.host.place_child, self._socket_path())
        self.mark = ProjectorMark(run_dir / MARK_FILE, create=True)
        self.projector = projector_child(run_dir, self.log, self.host.place_child, compress=cfg.projector.compress,
                                         on_end=self._on_projector_end)
        self.checkpoints = CheckpointChild(run_dir / JOURNAL_DIR, cfg.journal.checkpoint_interval_s, cfg.journal.keep_bytes,
                                           self.log, self.host.place_child, self._projected_seq)
        self.flight = FlightChild(run_dir, cfg, self.log, self.host.place_child)
        self.scoring = Scoring(cfg.scorer, run_dir, self.engine, self.log, self.host.place_child)
        self._crashed = self._was_left_running()
        self.board = BoardWriter(run_dir / BOARD_FILE)
        self.view = LiveView(self.engine, pid=os.getpid(), mono_ns=self.clock.mono_ns, process=self._process_status,
                             socket=self._socket_path())
        self._reloader = Reloader(cfg, files, submit=self._submit, limits=lambda: self.engine.risk.limits,
                                  set_log_level=self.logs.set_level, log=self.log, on_spawn=self.host.place_child)
        self.admin = admin_server(cfg, self._socket_path(), self.view, self._reloader.submit, self.logs)
        self._side = private_side(cfg, run_dir, credentials, self.engine, self.clock, self._on_link_fault)
        self._http = self._side.http
        self._endpoints = credentials.endpoints
        self._calls: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._key_refused: ConfigError | None = None
        self._signals = 0
        self._running_since_ns = self.clock.mono_ns()
        self._command_id = 0
        self._disk_free_bytes = self._free_bytes()
        self._deadline: asyncio.TimerHandle | None = None

    # Start.

    async def main(self) -> int:
        """Recover, serve, trade, stop. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        self._boot()
        self._make_links()
        checking = asyncio.create_task(self._side.check_key(self.log))  # a round trip that the rest of the start covers
        loop.add_signal_handler(signal.SIGHUP, self._reloader.on_signal)
        await self.admin.start()
        self.notify.ready(self.engine.state)
        self._calibrate()
        self.board.publish(self.view)
        self.host.settle(loop)
        await self.reader.start()
        self._public.start()
        if self.cfg.futures is not None:
            self._futures.start()
        timers = [asyncio.create_task(self._ticks()), asyncio.create_task(self._publishes()),
                  asyncio.create_task(self.checkpoints.keep()), asyncio.create_task(self._open_private(checking)),
                  asyncio.create_task(self._start_idle_children()), asyncio.create_task(self.flight.keep())]
        try:
            await self._stop.wait()
            code = await self._shut_down()
            if self._key_refused is not None:
                raise self._key_refused
            return code
        finally:
            for task in [*timers, *self._calls]:
                task.cancel()
            await self.admin.close()
            await self.reader.stop()
            await self.scoring.stop()
            await self.checkpoints.stop()
            self._ask_of_crash()  # the next start finds a stop, and asks no more
            await self.flight.stop()
            await self._http.close()
            self._side.close()
            self.host.stop()
            self._write_summary()
            self.board.close()
            try:
                self.journal.close()
            finally:
                # Last: what the journal has written on closing goes into SQLite too.
                await self.projector.stop()
            # Everything in it is in the segments now; after a crash this line does not run and the next start reads it.
            os.unlink(self.journal.ring_path)  # noqa: PTH108 -- the loop has nothing left to do that this could hold up

    async def _open_private(self, checking: asyncio.Task[None]) -> None:
        """Open the private socket once the venue has said that the key may trade and may not withdraw."""
        try:
            await checking
        except ConfigError as error:
            self._key_refused = error
            self._stop.set()
        else:
            self._private.start()

    async def _start_idle_children(self) -> None:
        """Start what nothing waits for once the daemon is ready, or after a while: loading it is a second of work."""
        until_s = self.clock.mono_ns() / NS_PER_S + PROJECTOR_AFTER_S
        while self.engine.state != "ready" and self.clock.mono_ns() / NS_PER_S < until_s:
            await asyncio.sleep(TIMER_S)
        self._ask_of_crash()
        if self.cfg.projector.enabled:
            await self.projector.start()
        await self.scoring.start()

    def _ask_of_crash(self) -> None:
        """Want a bundle of the run before where that ended without a stop, once."""
        if self._crashed:
            self._crashed = False
            self.flight.ask(CRASH, "the run before ended without a stop", self._left_seq, until=True)

    def _recover(self) -> Engine:
        """Replay the journal, from its newest checkpoint: the same path after a crash as after a clean stop."""
        began_ns = self.clock.mono_ns()
        self.notify.status("recovering")
        self.log.info("recovering", records=self.journal.seq)
        self.journal.sync()
        self._left_seq = self.journal.seq
        found = recover(self.run_dir / JOURNAL_DIR, self.ours.agents)
        replay, recorder = found.replay, found.engine.recorder
        for reason in found.unusable:
            self.log.warning("checkpoint not used", reason=reason)
        if replay.difference_count:
            raise InvariantError("recovery does not reproduce the journal: " + "; ".join(replay.differences))
        missing = list(replay.missing)
        recorder.captured = None
        for kind, tag, payload in missing:
            self.journal.append_py(kind, tag, *found.times, payload)
        if recorder.seq != self.journal.seq:
            raise InvariantError(f"recovery ended at record {recorder.seq}, the journal at {self.journal.seq}")
        recorder.attach(self.journal)
        self.log.info("recovered", events=replay.events, outputs=replay.outputs, completed=len(missing),
                      checkpoint_seq=found.checkpoint.place.last_seq if found.checkpoint is not None else 0,
                      took_ms=(self.clock.mono_ns() - began_ns) // 1_000_000, journal=self.journal.recovery)
        return found.engine

    def _was_left_running(self) -> bool:
        """Whether the run before ended without a stop; what it showed last is put aside then, for its bundle."""
        engine = self.engine
        if engine.cfg is None:
            return False
        self.flight.known(engine.state, engine.risk.kill_reason)
        if not engine.stopping and self.cfg.flight.enabled:
            put_aside(self.run_dir)
        return not engine.stopping

    def _boot(self) -> None:
        """Journal this start and sync it: its epoch goes into every client order id, so it must never come twice."""
        wall_ns = self.clock.wall_ns()
        payload = taking_over.first_words(self.cfg, self.engine, self.ours, self.run_dir, wall_ns)
        self.engine.core.event(EventKind.EVENT_BOOT, 0, self.clock.mono_ns(), wall_ns, payload)
        self.journal.sync()
        if self.engine.core.fault is not None:
            raise self.engine.core.fault
        taking_over.put_aside(self.run_dir, self.engine)
        self._flush()

    def _make_links(self) -> None:
        limiter = AttemptFile(self.run_dir / ATTEMPTS_FILE, boot_id=boot_id(), now_ns=self.clock.mono_ns(),
                              on_problem=lambda problem: self.log.warning("connection attempts", problem=problem))
        seed = self.clock.wall_ns() & 0xFFFFFFFF
        public = PublicLink(self._side.public_sink, self._flush)
        private = self._side.make_link(self._flush)
        public.on_fault = private.on_fault = self._on_link_fault
        public.on_behind = private.on_behind = self._on_link_behind
        public.on_stall = private.on_stall = self._on_link_stall
        # The private socket brings little, and it is what tells of our orders: it is read whatever the journal holds.
        public.journal = self.journal
        public.on_pause = self._resume_reading
        self._make_durable(private.port)
        self._links = {int(Link.LINK_PUBLIC): public, int(Link.LINK_PRIVATE): private}
        self.engine.core.set_port(private.port)
        self._public = Connector(
            public, self._endpoints.ws_public, policy=ReconnectPolicy(seed, limiter), clock=self.clock,
            on_up=lambda link: self._link_up(Link.LINK_PUBLIC, link),
            on_down=lambda _link, reason: self._public_down(reason),
            on_failure=lambda error, failures: self._on_no_connection("public", error, failures),
            in_maintenance=lambda: self.engine.public.system == "maintenance")
        self._private = self._side.connector(
            private, ReconnectPolicy(seed + 1, limiter), on_up=lambda link: self._link_up(Link.LINK_PRIVATE, link),
            on_down=lambda _link, reason: self._link_event(Link.LINK_PRIVATE, False, reason),
            on_failure=lambda error, failures: self._on_no_connection("private", error, failures))
        self._connectors = {int(Link.LINK_PUBLIC): self._public, int(Link.LINK_PRIVATE): self._private}
        self._futures = FuturesSide(
            self._endpoints.ws_futures, self.engine.core, self._flush, policy=ReconnectPolicy(seed + 2, limiter),
            clock=self.clock, on_up=self._link_up, on_event=self._link_event, on_failure=self._on_no_connection,
            on_fault=self._on_link_fault)
        if self.cfg.futures is not None:
            self._links[int(Link.LINK_FUTURES)] = self._futures.link
            self._connectors[int(Link.LINK_FUTURES)] = self._futures.connector

    def _make_durable(self, port: TokenPort) -> None:
        """With `journal.durable_intents`, have the port put an order's records on disk before its frame leaves."""
        port.durable = self.cfg.journal.durable_intents
        if port.durable:
            port.journal = self.journal
            port.durable_wait_ns = self.cfg.journal.durable_wait_ms_max * 1_000_000
            port.on_unsynced = self._on_unsynced
        self._port = port

    def _on_unsynced(self, _errno: int) -> None:
        """From within a send, so the halt waits for the loop's next turn; the port lets no opening out meanwhile."""
        asyncio.get_running_loop().call_soon(self._check_journal)

    def _calibrate(self) -> None:
        """Measure the length of a cycle against the clock, for the histograms alone."""
        first_cycles, first_ns = read_cycles(), self.clock.mono_ns()
        while self.clock.mono_ns() - first_ns < 20_000_000:
            pass
        elapsed_cycles = read_cycles() - first_cycles
        self.engine.core.hist.set_scale((self.clock.mono_ns() - first_ns) / max(elapsed_cycles, 1))

    def _socket_path(self) -> Path:
        return Path(self.cfg.run.socket) if self.cfg.run.socket else self.run_dir / SOCKET_FILE

    # Events in.

    def _link_event(self, link: int, up: bool, reason: str) -> None:
        self._link_flow(link, {"up": up, "reason": reason})

    def _link_flow(self, link: int, payload: dict[str, Any]) -> None:
        self.engine.core.event(EventKind.EVENT_LINK, int(link), self.clock.mono_ns(), self.clock.wall_ns(),
                               msgspec.json.encode(payload))
        self._flush()

    def _link_up(self, code: int, link: PublicLink | PrivateLink) -> None:
        if link.transport is not None:
            self.host.on_link(link.transport)
        self._link_event(code, True, "")

    def _public_down(self, reason: str) -> None:
        """Without a market there is nothing to be late for: the moment to look at all garbage."""
        self._side.lose_market()
        self._link_event(Link.LINK_PUBLIC, False, reason)
        self.host.garbage.everything()

    def _on_no_connection(self, link: str, error: str, failures: int) -> None:
        self.log.warning("no connection", link=link, error=error, failures=failures)
    def _on_link_behind(self, link: PublicLink | PrivateLink, behind: bool) -> None:
        self._link_flow(self._code(link), {"behind": behind})

    def _on_link_stall(self, link: PublicLink | PrivateLink, stalled: bool) -> None:
        """The link says so from within a send, which may be the engine's own: the event waits for the loop's next turn."""
        asyncio.get_running_loop().call_soon(self._link_flow, self._code(link), {"stalled": stalled})

    def _resume_reading(self, link: PublicLink) -> None:
        """Look now and then whether the journal has room again."""
        if not link.resume_reading():
            asyncio.get_running_loop().call_later(RESUME_LOOK_S, self._resume_reading, link)

    def _code(self, link: PublicLink | PrivateLink) -> int:
        return next(code for code, known in self._links.items() if known is link)

    def _check_stalls(self) -> None:
        """Leave a peer that has read nothing for long: a new connection, and a reconciliation, know more than waiting does."""
        now_ns = self.clock.mono_ns()
        for code, link in self._links.items():
            if link.stalled_since_ns and now_ns - link.stalled_since_ns > STALL_NS_MAX:
                self._connectors[code].close(f"the venue read nothing for {STALL_NS_MAX // NS_PER_S} s")

    def _on_link_fault(self, error: Exception) -> None:
        self.log.error("link fault", error=f"{type(error).__name__}: {error}")

    async def _ticks(self) -> None:
        """A timer event every 100 ms. A late loop makes a late tick, never two at once."""
        loop = asyncio.get_running_loop()
        due = looked_at_disk_s = loop.time()
        while True:
            due += TIMER_S
            await asyncio.sleep(max(0.0, due - loop.time()))
            lag_s = loop.time() - due
            if lag_s > TIMER_S:
                due = loop.time()
            if lag_s > STOPPED_S:
                self._running_since_ns = self.clock.mono_ns()
            self.engine.core.timer(self.clock.mono_ns(), self.clock.wall_ns())
            self._flush()
            self._take_scores()
            if loop.time() - looked_at_disk_s >= DISK_LOOK_S:
                self._disk_free_bytes, looked_at_disk_s = self._free_bytes(), loop.time()
            self._check_journal()
            self.flight.look(self.engine.state, self.engine.state_reason, self.engine.risk.kill_reason,
                             faulted=self.engine.core.fault is not None, seq=self.recorder.seq)
            self._check_stalls()
            if self.engine.core.fault is None:
                self.notify.watchdog()
            self.host.tick(int(lag_s * NS_PER_S), TIMER_NS)
            if self.for_s is not None and self._deadline is None and self.engine.state == "ready":
                self._deadline = loop.call_later(self.for_s, self._stop.set)

    def _take_scores(self) -> None:
        """Give the scorer its features, and the engine what the scorer has found since, as an event."""
        if (payload := self.scoring.tick(self.clock.mono_ns())) is not None:
            self.engine.core.event(EventKind.EVENT_SCORES, 0, self.clock.mono_ns(), self.clock.wall_ns(), payload)
            self._flush()

    def _free_bytes(self) -> int:
        """What is free where the journal is, which may be a disk of its own."""
        return shutil.disk_usage(self.run_dir / JOURNAL_DIR).free

    def _check_journal(self) -> None:
        """A journal that cannot keep up with the disk, or soon has none, stops trading before anything is lost."""
        reason = self._journal_trouble()
        if reason is not None and self.engine.state != "halted":
            self._halt(reason)

    def _on_projector_end(self, exit_code: int) -> None:
        """What the projector recomputes is what was decided, or nothing is opened: same bytes in, same decisions out."""
        if exit_code == EXIT_PARITY and not self.engine.risk.parity_halt:
            with contextlib.suppress(OperatorError):  # an engine that has failed is halted already
                self._halt("parity: the journal recomputed beside this process is not what it decided; `cstd replay --check` "
                           "says where", parity=True)

    def _halt(self, reason: str, **more: bool) -> None:
        self._submit({"verb": "halt", "args": {"reason": reason, **more}, "uid": os.getuid(), "pid": os.getpid()})

    def _journal_trouble(self) -> str | None:
        limits = self.cfg.journal
        if self._port.not_durable():
            return f"journal: an order's records were not on disk after {limits.durable_wait_ms_max} ms"
        stats = self.journal.stats()
        # The disk is charged with the time in which this process ran: stopped, its writer was stopped too.
        lag_ms = min(stats["sync_lag_ns"], self.clock.mono_ns() - self._running_since_ns) // 1_000_000
        if stats["writer_error"] or lag_ms > limits.sync_lag_ms_max:
            return f"journal: errno {stats['writer_error']}, not on disk for {lag_ms} ms"
        if self._disk_free_bytes < limits.disk_free_bytes_min:
            return (f"disk: {self._disk_free_bytes:,} bytes are free where the journal is, journal.disk_free_bytes_min is "
                    f"{limits.disk_free_bytes_min:,}")
        return None

    async def _publishes(self) -> None:
        while True:
            self.board.publish_next(self.view)
            await asyncio.sleep(PUBLISH_INTERVAL_S / BOARD_PARTS)

    def _submit(self, command: dict[str, Any]) -> dict[str, Any] | Awaitable[dict[str, Any]]:
        """One operator command as a journaled event; returns what the engine answered, or will."""
        self._command_id += 1
        payload = msgspec.json.encode({**command, "id": self._command_id})
        self.engine.core.event(EventKind.EVENT_COMMAND, 0, self.clock.mono_ns(), self.clock.wall_ns(), payload)
        self._flush()
        reply = self.engine.replies.pop(self._command_id, None)
        if reply is None:
            raise OperatorError("the engine could not take the command", suggestion="see the log and `cstd status`")
        return self._account_page(reply["waits_for"]) if "waits_for" in reply else _accepted(reply)

    async def _account_page(self, number: int) -> dict[str, Any]:
        """Wait until the engine has the page that a command asked for; the admin server bounds how long."""
        while self.engine.account_reads.answer[0] != number:
            await asyncio.sleep(ACCOUNT_PAGE_LOOK_S)
        return _accepted(self.engine.account_reads.answer[1])

    # What the engine asks for.

    def _flush(self) -> None:
        """Send what the engine left to be sent."""
        engine = self.engine
        engine.core.needs_python = False
        if engine.outbox:
            frames, engine.outbox = engine.outbox, []
            for link, frame in frames:
                self._connectors[link].send_control(frame)
        if engine.close_links:
            closing, engine.close_links = engine.close_links, []
            for link, reason in closing:
                self._connectors[link].close(reason)
        if engine.rest_out:
            calls, engine.rest_out = engine.rest_out, []
            for call in calls:
                self._start_call(call)
        if engine.notes:
            notes, engine.notes = engine.notes, []
            for level, event, fields in notes:
                if event == "state":
                    self.notify.status(fields["state"] + (f": {fields['reason']}" if fields["reason"] else ""))
                getattr(self.log, level)(event, **fields)

    def _start_call(self, call: RestCall) -> None:
        task = asyncio.get_running_loop().create_task(self._call(call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call(self, call: RestCall) -> None:
        reply = await self._http.call(call.request, call.timeout_ns)
        payload = msgspec.json.encode({
            "id": call.call_id, "method": call.request.method, "status": reply.status,
            "body": reply.body.decode("utf-8", "replace"), "error": reply.transport_error,
            "retry_after_ns": reply.retry_after_ns,
        })
        self.engine.core.event(EventKind.EVENT_REST_REPLY, 0, self.clock.mono_ns(), self.clock.wall_ns(), payload)
        self._flush()

    # Stop.

    def _on_signal(self, number: int) -> None:
        self._signals += 1
        if self._signals > 1:
            os._exit(128 + number)
        self._stop.set()

    async def _shut_down(self) -> int:
        """Pull openings, wait until the venue shows none of ours, disarm, sync."""
        self.notify.stopping()
        self.engine.core.event(EventKind.EVENT_STOP, 0, self.clock.mono_ns(), self.clock.wall_ns(), b"{}")
        self._flush()
        for _ in range(int(STOP_WAIT_S / TIMER_S)):
            if self.engine.at_rest():
                break
            await asyncio.sleep(TIMER_S)
        left = [self.engine.core.order(index)["cl_ord_id"] for index in self.engine.core.live_orders()]
        if left:
            self.log.warning("stopped with orders that may be open: the dead man's switch stays armed", orders=left)
        await self._public.stop()
        await self._private.stop()
        await self._futures.stop()
        return 0

    def _write_summary(self) -> None:
        totals = session_totals(self.engine)
        self.summary = {
            "mode": self.cfg.mode, "seconds": round(self.engine.seconds_since_ready(), 3), **totals,
            "frame_to_order_ns": latency_ns(self.engine, "order"),
        }
        path = self.run_dir / SUMMARY_FILE
        path.with_suffix(".tmp").write_text(json.dumps(self.summary) + "\n", encoding="utf-8")
        path.with_suffix(".tmp").replace(path)

    def _projected_seq(self) -> int | None:
        """Up to which record the projector has come; None where there is none."""
        return self.mark.read()["seq"] if self.cfg.projector.enabled else None

    # What only the process knows.

    def _process_status(self) -> dict[str, Any]:
        stats = self.journal.stats()
        return {
            "journal": {"seq": stats["seq"], "synced_seq": stats["synced_seq"],
                        "lag_ms": stats["sync_lag_ns"] / 1_000_000, "bytes": stats["file_bytes"],
                        "disk_free_bytes": self._disk_free_bytes, **self.checkpoints.status(),
                        "error": os.strerror(stats["writer_error"]) if stats["writer_error"] else None},
            "children": {"reader": self.reader.alive,
                         **({"projector": self.projector.alive} if self.projector.started else {}),
                         **({"scorer": self.scoring.alive} if self.scoring.started else {})},
            "scorer": self.scoring.status(), "bar_rows": self.scoring.bar_rows(), "unscored": self.scoring.unscored,
            "durable": self._port.durable_status(),
            "projector": self._projector_status(stats["synced_seq"]),
            "flight": self.flight.status(), "admin": self.admin.counts,
            "links": {LINK_NAMES[code]: link.status() for code, link in self._links.items()},
            "reconnects": {LINK_NAMES[code]: max(0, connector.attempt_count - 1)
                           for code, connector in self._connectors.items()},
            "venue_errors": self._http.errors,
            "lag": self.host.lag, "garbage": self.host.garbage, "reader_restarts": self.reader.restart_count,
        }

    def _projector_status(self, synced_seq: int) -> dict[str, int]:
        mark = self.mark.read()
        level_ns = mark["level_mono_ns"] or self._began_ns
        return {"restarts": self.projector.restart_count, "lag_records": max(0, synced_seq - mark["seq"]),
                "lag_ns": max(0, self.clock.mono_ns() - level_ns) if self.cfg.projector.enabled else 0,
                "signed_seq": mark["signed_seq"], "compressed_segments": mark["compressed_segments"],
                "compressed_saved_bytes": mark["compressed_saved_bytes"],
                "failed_compressions": mark["failed_compressions"]}
