"""The process: options, servers on loopback, the driver of order flow and timers, truth file, signals."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import datetime as dt
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import randbits

import uvloop
from aiohttp import web

from cstd.clock import SystemClock
from cstd.errors import CstdError, OperatorError, UsageError
from cstd.locks import wait_for_lock
from cstd.practice import truth
from cstd.practice.connections import SocketServer
from cstd.practice.control import Control
from cstd.practice.exchange import Exchange
from cstd.practice.faults import AnyFault, read_script, seeded
from cstd.practice.flow import Flow, history_shape, load_shapes
from cstd.practice.futures_ws import FuturesServer
from cstd.practice.instruments import Asset, Instrument, first
from cstd.practice.limits import TIERS
from cstd.practice.market import Market
from cstd.practice.private_ws import PrivateServer
from cstd.practice.public_ws import PublicServer
from cstd.practice.readings import LISTED, Readings, Value, parse_reading
from cstd.practice.recording import RecordedFlow, RecordedMarket, assets_of, load
from cstd.practice.rest import RestServer
from cstd.practice.rest_private import PrivateRest
from cstd.practice.switchboard import SkewedClock, Switchboard
from cstd.practice.tls import HOST_NAME, TlsFiles, make_authority, server_context

HOST = "127.0.0.1"
INSTRUMENTS_MAX = 200
EXPIRY_GRAIN_S = 0.001
PAUSE_STEP_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """How to run the exchange. Ports are (REST, public, private, futures); 0 is any free one."""

    seed: int = 1
    instruments: int = 2
    rate_per_s: float | None = None
    recordings: tuple[Path, ...] = ()
    loop: bool = False
    run_dir: Path = Path(".run/current")
    truth: Path | None = None
    ports: tuple[int, int, int, int] = (0, 0, 0, 0)
    tls: bool = False
    tls_files: TlsFiles | None = None  # instead of an authority of its own
    tier: str = "pro"
    readings: Readings = dataclasses.field(default_factory=Readings)
    faults: Iterable[AnyFault] = ()


class Driver:
    """Wakes the order flow, by the market's clock, and the desk's timers, by the account's, when they are due."""

    def __init__(self, exchange: Exchange, flows: Sequence[Flow | RecordedFlow], clock: SystemClock,
                 account_clock: SkewedClock) -> None:
        self._exchange = exchange
        self._flows = flows
        self._clock = clock
        self._account_clock = account_clock
        self._skew_ns = 0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0
        exchange.on_timers_changed = self._arm_timer
        for flow in flows:
            self._arm_flow(flow)

    @staticmethod
    def _delay_s(due_ns: int, clock: SystemClock | SkewedClock) -> float:
        return max(EXPIRY_GRAIN_S, (due_ns - clock.wall_ns()) / 1e9)

    def _arm_flow(self, flow: Flow | RecordedFlow) -> None:
        if flow.due_ns is None:
            sys.stderr.write(f"practice: the recording of {flow.market.instrument.name} has ended; its book stands still\n")
            return
        self._loop.call_later(self._delay_s(flow.due_ns, self._clock), self._run_flow, flow)

    def _run_flow(self, flow: Flow | RecordedFlow) -> None:
        if self._exchange.system == "online":
            flow.advance(self._clock.wall_ns())
            self._exchange.settle()
        else:  # the engine does not match: participants wait and come back
            flow.pause_until(self._clock.wall_ns() + PAUSE_STEP_NS)
        self._arm_flow(flow)

    def _arm_timer(self) -> None:
        due_ns, skew_ns = self._exchange.desk.next_timer_ns(), self._account_clock.skew_ns
        if due_ns == self._timer_ns and self._timer is not None and skew_ns == self._skew_ns:
            return
        self._skew_ns = skew_ns
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_ns is not None:
            self._timer_ns = due_ns
            self._timer = self._loop.call_later(self._delay_s(due_ns, self._account_clock), self._run_timer)

    def _run_timer(self) -> None:
        self._timer = None
        self._exchange.desk.on_timer(self._account_clock.wall_ns())
        self._exchange.settle()


class Practice:
    """The exchange with its servers and drivers, from start to stop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock = SystemClock()
        self.account_clock = SkewedClock()
        self.addresses: dict[str, str] = {}
        self._runners: list[web.AppRunner] = []
        self._tls: ssl.SSLContext | None = None
        self._ca: Path | None = None
        self._truth, self._truth_version = b"", -1
        self.exchange, self._flows = self._built()
        self.public = PublicServer(self.exchange, self.clock.wall_ns)
        wall_ns = self.account_clock.wall_ns
        self.private = PrivateServer(self.exchange, wall_ns)
        self.futures = FuturesServer(self.exchange, self.clock.wall_ns)
        self.rest = RestServer(self.exchange, wall_ns, PrivateRest(self.exchange, wall_ns))

    def _built(self) -> tuple[Exchange, list[Flow] | list[RecordedFlow]]:
        """Return the exchange and what drives it: fitted order flow, or recordings."""
        return self._built_from_recordings() if self.options.recordings else self._built_from_flow()

    def _built_from_flow(self) -> tuple[Exchange, list[Flow]]:
        options, now_ns = self.options, self.clock.wall_ns()
        instruments, assets = first(options.instruments)
        shapes = load_shapes()
        exchange = self._exchange(instruments, assets, now_ns, Market, {})
        flows = [
            Flow(exchange.markets[i.name], shapes[i.shape], seed=options.seed, start_ns=now_ns, rate_per_s=options.rate_per_s)
            for i in instruments
        ]
        return exchange, flows

    def _built_from_recordings(self) -> tuple[Exchange, list[RecordedFlow]]:
        options, now_ns = self.options, self.clock.wall_ns()
        recordings = load(options.recordings)
        starts = {r.instrument.name: r.frames[0].bids[0][0] for r in recordings}
        instruments = tuple(r.instrument for r in recordings)
        exchange = self._exchange(instruments, assets_of(recordings), now_ns, RecordedMarket, starts)
        flows = []
        for recording in recordings:
            market = exchange.markets[recording.instrument.name]
            assert isinstance(market, RecordedMarket), "the exchange made what it was told to"
            market.raw_depth = recording.depth
            flows.append(RecordedFlow(market, recording, start_ns=now_ns, loop=options.loop))
        sys.stderr.write("practice: fills on a recording are inferred from what disappears, not recorded\n")
        return exchange, flows

    def _exchange(
        self,
        instruments: tuple[Instrument, ...],
        assets: tuple[Asset, ...],
        now_ns: int,
        market_type: type[Market],
        start_raw: dict[str, int],
    ) -> Exchange:
        return Exchange(
            instruments,
            assets,
            seed=self.options.seed,
            id_seed=randbits(64),
            tier=self.options.tier,
            wall_ns=now_ns,
            history={i.name: history_shape(i) for i in instruments},
            start_raw=start_raw,
            market_type=market_type,
            readings=self.options.readings,
        )

    async def start(self) -> None:
        """Bind the four ports and begin trading."""
        self._prepare_tls()
        http, ws = ("https", "wss") if self._tls else ("http", "ws")
        rest_port, public_port, private_port, futures_port = self.options.ports
        self.switchboard = Switchboard(self.exchange, self.account_clock, {"ws_public": self.public, "ws_private": self.private},
                                       self.options.run_dir / "faults.jsonl")
        rest = web.Application(middlewares=[self.switchboard.rest])
        rest.router.add_route("GET", "/0/public/{method}", self.rest.handle_public)
        rest.router.add_route("POST", "/0/public/{method}", self.rest.handle_public)
        rest.router.add_route("POST", "/0/private/{method}", self.rest.handle_private)
        control = Control(self.exchange, self.clock.wall_ns, self.public, self.private, self.switchboard)
        rest.router.add_route("POST", "/practice/{verb}", control.handle)
        self.addresses["rest"] = f"{http}://{await self._bind(rest, 'rest', rest_port)}"
        for name, server, port in (("ws_public", self.public, public_port), ("ws_private", self.private, private_port)):
            self.addresses[name] = f"{ws}://{await self._bind(self._socket_app(server), name, port)}/v2"
        futures = web.Application()
        futures.router.add_get("/ws/v1", self.futures.serve)
        self.addresses["ws_futures"] = f"{ws}://{await self._bind(futures, 'ws_futures', futures_port)}/ws/v1"
        self.driver = Driver(self.exchange, self._flows, self.clock, self.account_clock)
        self.switchboard.play(self.options.faults)

    def _prepare_tls(self) -> None:
        if not self.options.tls:
            return
        files = self.options.tls_files or make_authority(self.options.run_dir, dt.datetime.fromtimestamp(
            self.clock.wall_ns() / 1e9, dt.UTC))
        self._tls, self._ca = server_context(files), files.ca

    @staticmethod
    def _socket_app(server: SocketServer) -> web.Application:
        app = web.Application()
        app.router.add_get("/v2", server.serve)
        return app

    async def _bind(self, app: web.Application, name: str, port: int) -> str:
        """Serve `app` on loopback and return host:port; a port in use is the operator's error, by name."""
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        self._runners.append(runner)
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((HOST, port))
            bound.listen(128)
        except OSError as error:
            bound.close()
            raise OperatorError(
                f"practice {name}: cannot listen on {HOST}:{port}: {error.strerror}",
                suggestion="name another port, or 0 for any free one",
            ) from error
        await web.SockSite(runner, bound, ssl_context=self._tls).start()
        return f"{HOST_NAME if self._tls else HOST}:{bound.getsockname()[1]}"

    def description(self) -> dict[str, str]:
        """Return the content of practice.json; `ca` is what a client sets SSL_CERT_FILE to, when the authority is ours."""
        credentials = self.exchange.credentials
        trust = {"ca": str(self._ca.resolve())} if self._ca else {}
        return {**self.addresses, **trust, "api_key": credentials.api_key, "api_secret": credentials.api_secret}

    def beat(self) -> None:
        """What happens once a second: heartbeats, futures tickers, the truth file."""
        self.public.beat()
        self.private.beat()
        self.futures.beat()
        self.write_truth()

    def write_truth(self) -> None:
        """Replace the truth file."""
        if self._truth_version != self.exchange.version:  # writing it anew every second costs more the longer a run is
            self._truth_version = self.exchange.version
            self._truth = truth.content(self.exchange.account, inferred=bool(self.options.recordings))
        truth.replace(self.options.truth or self.options.run_dir / "truth.json", self._truth)

    async def stop(self) -> None:
        """Close connections and ports, then write the truth a last time."""
        for server in (self.public, self.private, self.futures):
            await server.close_all()
        for runner in self._runners:
            await runner.cleanup()
        self.write_truth()


async def serve(options: Options, stop: asyncio.Event) -> None:
    """Run the exchange until `stop` is set."""
    with held(options.run_dir):
        await _serve(options, stop)


@contextlib.contextmanager
def held(run_dir: Path) -> Iterator[None]:
    """Hold a run directory for one exchange: a second one would take a daemon's exchange away from it.

    Raises:
        OperatorError: it cannot be used, or another exchange holds it.
    """
    suggestion = "name another folder with --run-dir"
    try:
        run_dir.resolve().mkdir(parents=True, exist_ok=True)  # it may be a link whose target is gone
        file = (run_dir / "practice.lock").open("a+b")
    except OSError as error:
        raise OperatorError(f"the run directory {run_dir} cannot be used: {error.strerror}", suggestion=suggestion) from None
    file.seek(0)
    holder = file.read().decode("ascii", "replace").strip() or "unknown"
    with wait_for_lock(file, 0.0, OperatorError(f"another practice exchange (pid {holder}) has the run directory {run_dir}",
                                                suggestion=f"end it, or {suggestion}")) as lock:
        lock.truncate(0)
        lock.write(b"%d" % os.getpid())
        lock.flush()
        yield


async def _serve(options: Options, stop: asyncio.Event) -> None:
    practice = Practice(options)
    try:
        await practice.start()
        text = json.dumps(practice.description())
        truth.replace(options.run_dir / "practice.json", text.encode() + b"\n", 0o600)
        practice.write_truth()
        print(text, flush=True)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
            practice.beat()
    finally:
        await practice.stop()


def _ports(text: str) -> tuple[int, int, int, int]:
    parts = [int(word) if word.isascii() and word.isdigit() else -1 for word in text.split(",")]
    if len(parts) != 4 or not all(0 <= port < 65536 for port in parts):
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r}: four port numbers are wanted, REST,PUBLIC,PRIVATE,FUTURES; 0 is any free one")
    return parts[0], parts[1], parts[2], parts[3]


def _reading(text: str) -> tuple[str, Value]:
    """Return (name, value) of one `--reading NAME=VALUE`."""
    try:
        return parse_reading(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def options_parser() -> argparse.ArgumentParser:
    """Return the parser of the exchange's options."""
    parser = argparse.ArgumentParser(prog="cstd practice", description="Run the practice exchange on loopback.")
    parser.add_argument("--seed", type=int, default=1, help="seed of the order flow and history (default 1)")
    parser.add_argument("--instruments", type=int, default=2, metavar="N", help="how many instruments (default 2)")
    parser.add_argument(
        "--rate", type=float, metavar="MSG_PER_S", help="book messages per second and instrument (default: as recorded)"
    )
    parser.add_argument(
        "--recording",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="replay v2 recordings instead of order flow",
    )
    parser.add_argument("--loop", action="store_true", help="start a recording again at its end")
    faults = parser.add_mutually_exclusive_group()
    faults.add_argument("--faults", type=Path, metavar="FILE",
                        help="a script of faults, JSON lines; RUN_DIR/faults.jsonl keeps what was done, as one")
    faults.add_argument("--fault-seed", type=int, metavar="N", help="faults drawn by a seed, one every six seconds or so")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="truth file (default RUN_DIR/truth.json)")
    parser.add_argument("--run-dir", type=Path, default=Path(".run/current"), metavar="DIR",
                        help="where practice.json goes, held by one exchange (default .run/current)")
    parser.add_argument(
        "--ports", type=_ports, default=(0, 0, 0, 0), metavar="REST,PUB,PRIV,FUT", help="ports, 0 = any free one"
    )
    parser.add_argument("--tls", action="store_true", help="https and wss at localhost, by an authority made in RUN_DIR")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="serve this certificate (chain, PEM) instead")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="the key of --tls-cert (PEM)")
    parser.add_argument("--tier", choices=sorted(TIERS), default="pro", help="rate limits of this verification tier")
    parser.add_argument(
        "--reading", type=_reading, action="append", default=[], metavar="NAME=VALUE",
        help=f"where sources on Kraken disagree, the default first: {LISTED}",
    )
    return parser


def _options(argv: list[str]) -> Options:
    args = options_parser().parse_args(argv)
    if not 1 <= args.instruments <= INSTRUMENTS_MAX:
        raise UsageError(f"--instruments {args.instruments}: 1 to {INSTRUMENTS_MAX} are possible")
    if args.rate is not None and not 0.1 <= args.rate <= 5000:
        raise UsageError(f"--rate {args.rate}: 0.1 to 5000 messages per second are possible")
    if args.loop and not args.recording:
        raise UsageError("--loop needs --recording")
    if (args.tls_cert is None) != (args.tls_key is None):
        raise UsageError("--tls-cert and --tls-key come together or not at all")
    files = TlsFiles(args.tls_cert, args.tls_key) if args.tls_cert is not None else None
    return Options(
        seed=args.seed,
        tls=args.tls or files is not None,
        tls_files=files,
        instruments=args.instruments,
        rate_per_s=args.rate,
        recordings=tuple(args.recording),
        loop=args.loop,
        run_dir=args.run_dir,
        truth=args.truth,
        ports=args.ports,
        tier=args.tier,
        readings=Readings(**dict(args.reading)),
        faults=_faults(args.faults, args.fault_seed),
    )


def _faults(script: Path | None, seed: int | None) -> Iterable[AnyFault]:
    if script is not None:
        return read_script(script)
    return seeded(seed) if seed is not None else ()


async def _until_signal(options: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(options, stop)


def main(argv: list[str]) -> int:
    """Run `cstd practice`; returns the exit code."""
    try:
        options = _options(argv)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(options))
    except CstdError as error:
        hint = f" ({error.suggestion})" if error.suggestion else ""
        print(f"cstd practice: {error.message}{hint}", file=sys.stderr)
        return error.exit_code
    except SystemExit as leaving:  # argparse has printed its message
        return leaving.code if isinstance(leaving.code, int) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
