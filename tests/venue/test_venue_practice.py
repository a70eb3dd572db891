"""The client side against the practice exchange over real sockets: one run, everything a daemon does except orders."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cstd._fast.sink import RecordingSink
from cstd.clock import SystemClock
from cstd.units import to_raw
from cstd.venue.backoff import AttemptLimiter, ReconnectPolicy
from cstd.venue.connector import Connector
from cstd.venue.endpoints import Endpoints, endpoints_for
from cstd.venue.http import Credentials, HttpClient
from cstd.venue.link import PrivateLink, PublicLink
from cstd.venue.messages import BookMessage, InstrumentSpec, Message, decode_private, decode_public
from cstd.venue.nonce import NonceFile
from cstd.venue.private import Deadman, PrivateMachine
from cstd.venue.public import PublicMachine
from cstd.venue.rest import Outcome, RestLane, RestResult
from cstd.venue.rest import request as requests
from cstd.venue.rest.models import (
    parse_balances,
    parse_closed_orders,
    parse_depth,
    parse_key_info,
    parse_ohlc,
    parse_open_orders,
    parse_system_status,
    parse_time,
    parse_trade_volume,
    parse_trades_history,
)
from cstd.venue.rest.names import PairNames

CLOCK = SystemClock()
S = 10**9


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A practice exchange in a process of its own, on free loopback ports."""
    run_dir = tmp_path_factory.mktemp("exchange")
    command = [sys.executable, "-m", "cstd.practice.app", "--run-dir", str(run_dir)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    addresses = run_dir / "practice.json"
    until = time.monotonic() + 20
    while not addresses.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    try:
        if not addresses.exists():
            process.kill()
            pytest.fail(f"the exchange did not start: {process.communicate()[1].decode()[-2000:]}")
        yield json.loads(addresses.read_text())
    finally:
        process.terminate()
        process.wait(10)
        if process.stderr is not None:
            process.stderr.close()


class Session:
    """A link, its machine and its connector, driven as the engine drives them."""

    def __init__(self, machine: Any, link_type: Any, decode: Callable[[bytes], list[Message]], url: str,
                 fetch_token: Any = None) -> None:
        self.machine = machine
        self.decode = decode
        self.sink = RecordingSink(200_000, True)
        self.link = link_type(self.sink, self._after_batch)
        self.taken = 0
        self.messages: list[Message] = []
        self.outcomes: list[Any] = []
        self.reasons: list[str] = []
        self.ready_at_down: list[bool] = []
        self.connector = Connector(
            self.link, url, policy=ReconnectPolicy(1, AttemptLimiter()), clock=CLOCK, on_up=self._on_up,
            on_down=self._on_down, fetch_token=fetch_token)

    def _on_up(self, _link: Any) -> None:
        self.machine.on_up(CLOCK.mono_ns())
        self._drain()

    def _on_down(self, _link: Any, reason: str) -> None:
        self.reasons.append(reason)
        self.machine.on_down(CLOCK.mono_ns())
        self.ready_at_down.append(getattr(self.machine, "ready", False))

    def _after_batch(self) -> None:
        for _code, payload, mono_ns, _wall_ns in self.sink.frames[self.taken:]:
            self.machine.on_frame_seen(mono_ns)
            for message in self.decode(payload):
                self.messages.append(message)
                self.outcomes.extend(self.machine.on_message(message, mono_ns) or [])
        self.taken = len(self.sink.frames)
        self._drain()

    def _drain(self) -> None:
        for frame in self.machine.take_out():
            assert self.connector.send_control(frame)

    async def until(self, condition: Callable[[], Any], within_s: float = 10) -> None:
        """Tick timers until a condition holds."""
        async with asyncio.timeout(within_s):
            while not condition():
                self.machine.on_timer(CLOCK.mono_ns())
                self._drain()
                if self.machine.want_close:
                    self.connector.close(self.machine.want_close)
                await asyncio.sleep(0.02)


def public_session(exchange: dict[str, Any], names: tuple[str, ...]) -> Session:
    endpoints = endpoints_for("practice", exchange)
    return Session(PublicMachine(names, 25), PublicLink, decode_public, endpoints.ws_public)


def on_uvloop(scenario: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


class CheckedBook:
    """A book by the protocol document's rules, in plain Python."""

    def __init__(self, spec: InstrumentSpec, depth: int) -> None:
        self.spec, self.depth = spec, depth
        self.sides: dict[str, dict[int, int]] = {"bids": {}, "asks": {}}
        self.checked = 0

    def apply(self, message: BookMessage) -> None:
        if message.snapshot:
            self.sides = {"bids": {}, "asks": {}}
        for side, levels in (("bids", message.bids), ("asks", message.asks)):
            rows = self.sides[side]
            for price, qty in levels:
                raw = to_raw(price, self.spec.price_precision)
                rows[raw] = to_raw(qty, self.spec.qty_precision)
                if rows[raw] == 0:
                    del rows[raw]
            for raw in sorted(rows, reverse=side == "bids")[self.depth:]:
                del rows[raw]
        text = "".join(f"{raw}{self.sides['asks'][raw]}" for raw in sorted(self.sides["asks"])[:10])
        text += "".join(f"{raw}{self.sides['bids'][raw]}" for raw in sorted(self.sides["bids"], reverse=True)[:10])
        assert zlib.crc32(text.encode()) == message.checksum
        self.checked += 1


def test_public_feed_goes_live_and_every_checksum_holds(exchange: dict[str, Any]) -> None:
    """All subscriptions become live, nothing is unknown or malformed, and a resync touches one book only."""
    async def scenario() -> None:
        names = ("BTC/USD", "ETH/USD", "NO/SUCH")
        session = public_session(exchange, names)
        machine = session.machine
        session.connector.start()
        await session.until(lambda: machine.specs)
        await session.until(lambda: all(row["name"] == "NO/SUCH" for row in machine.status()["not_live"]))
        assert machine.system == "online"
        assert machine.unlisted() == ("NO/SUCH",)
        books = {name: CheckedBook(machine.specs[name], 25) for name in names[:2]}
        done = 0

        def apply_new() -> int:
            nonlocal done
            fresh = [m for m in session.messages[done:] if isinstance(m, BookMessage)]
            done = len(session.messages)
            for message in fresh:
                books[message.name].apply(message)
            return sum(book.checked for book in books.values())

        await session.until(lambda: apply_new() > 200)
        snapshots = sum(m.snapshot for m in session.messages if isinstance(m, BookMessage))
        assert snapshots == 2
        assert machine.resync("BTC/USD", "checksum", CLOCK.mono_ns())
        await session.until(lambda: apply_new() and machine.live("BTC/USD"))
        late = [m for m in session.messages if isinstance(m, BookMessage) and m.snapshot][2:]
        assert [m.name for m in late] == ["BTC/USD"]
        status = machine.status()
        assert (status["unknown"], status["malformed"], status["refused"], status["rate_errors"]) == (0, 0, 0, 0)
        assert session.link.status()["refused"] == 0
        await session.connector.stop()
        assert session.reasons == ["stopping"]

    on_uvloop(scenario)


def client_of(exchange: dict[str, Any], tmp_path: Path) -> HttpClient:
    endpoints: Endpoints = endpoints_for("practice", exchange)
    return HttpClient(endpoints.rest, clock=CLOCK, credentials=Credentials(exchange["api_key"], exchange["api_secret"]),
                      nonces=NonceFile(tmp_path / "nonce"))


def test_private_feed_is_ready_arms_and_comes_back(exchange: dict[str, Any], tmp_path: Path) -> None:
    """Both snapshots, the switch armed and refreshed, a cut connection taken up again with a new token, switch off."""
    async def scenario() -> None:
        client = client_of(exchange, tmp_path)
        url = endpoints_for("practice", exchange).ws_private
        session = Session(PrivateMachine(), PrivateLink, decode_private, url, client.fetch_token)
        machine = session.machine
        session.connector.start()
        await session.until(lambda: machine.ready)
        assert machine.rate_count_max in (60, 125, 180)
        machine.arm(60, CLOCK.mono_ns())
        await session.until(lambda: machine.deadman.armed(CLOCK.mono_ns()))
        assert any(isinstance(outcome, Deadman) and not outcome.error for outcome in session.outcomes)
        session.connector.close("cut by the test")
        await session.until(lambda: session.link.connect_count == 2 and machine.ready)
        assert session.reasons == ["cut by the test"]
        assert session.ready_at_down == [False]
        assert machine.deadman.armed(CLOCK.mono_ns())
        machine.disarm(CLOCK.mono_ns())
        await session.until(lambda: not machine.deadman.armed(CLOCK.mono_ns()))
        status = machine.status(CLOCK.mono_ns())
        assert (status["gaps"], status["unknown"], status["malformed"], status["stray_acks"]) == (0, 0, 0, 0)
        await session.connector.stop()
        await client.close()

    on_uvloop(scenario)


def test_a_wrong_token_is_noticed(exchange: dict[str, Any]) -> None:
    """The venue's refusal of a token asks for a new connection instead of waiting for ever on a silent socket."""
    async def scenario() -> None:
        async def wrong_token() -> str:
            return "NotATokenThatThisVenueMade"

        url = endpoints_for("practice", exchange).ws_private
        session = Session(PrivateMachine(), PrivateLink, decode_private, url, wrong_token)
        session.connector.start()
        await session.until(lambda: session.reasons)
        assert "token refused" in session.reasons[0]
        await session.connector.stop()

    on_uvloop(scenario)


async def run_lane(client: HttpClient, lane: RestLane, count: int) -> list[RestResult]:
    """Drive the lane until it has given `count` results."""
    results: list[RestResult] = []
    async with asyncio.timeout(30):
        while len(results) < count:
            call = lane.next_call(CLOCK.mono_ns())
            if call is None:
                await asyncio.sleep(0.02)
                continue
            reply = await client.call(call.request, call.timeout_ns)
            result = lane.on_reply(call.call_id, reply.status, reply.body, CLOCK.mono_ns(), wall_ns=CLOCK.wall_ns(),
                                   transport_error=reply.transport_error)
            if result is not None:
                results.append(result)
    return results


def test_rest_reads_are_understood(exchange: dict[str, Any], tmp_path: Path) -> None:
    """Every read that recovery and reconciliation make is answered and parsed."""
    async def scenario() -> None:
        client = client_of(exchange, tmp_path)
        lane = RestLane("pro")
        asked = [
            requests.system_status(), requests.server_time(), requests.asset_pairs(), requests.depth("BTC/USD", 10),
            requests.ohlc("BTC/USD", 1), requests.balances(), requests.open_orders(),
            requests.closed_orders(start_ns=CLOCK.wall_ns() - 3600 * S), requests.trades_history(),
            requests.trade_volume(["BTC/USD"]), requests.key_info(), requests.open_positions(),
            requests.query_orders(["OAAAAA-AAAAA-AAAAAA"]),
        ]
        for request in asked:
            assert lane.submit(request, CLOCK.mono_ns())
        results = {result.method: result for result in await run_lane(client, lane, len(asked))}
        refused = {name: result.errors for name, result in results.items() if result.outcome is not Outcome.DONE}
        assert set(refused) <= {"QueryOrders"}, refused
        found = {name: result.result for name, result in results.items()}
        assert parse_system_status(found["SystemStatus"]) == "online"
        assert abs(parse_time(found["Time"]) - CLOCK.wall_ns()) < 10 * S
        assert PairNames(found["AssetPairs"]).name_of("XBTUSD") == "BTC/USD"
        book = parse_depth(found["Depth"])
        assert book.bids[0][0] < book.asks[0][0]
        candles = parse_ohlc(found["OHLC"])
        assert len(candles.completed) > 500
        balances = {row.name: row for row in parse_balances(found["BalanceEx"])}
        assert (balances["USD"].balance, balances["BTC"].available) == (Decimal(10_000), Decimal("0.05"))
        assert parse_open_orders(found["OpenOrders"]) == ()
        assert parse_closed_orders(found["ClosedOrders"])[0] == ()
        assert parse_trades_history(found["TradesHistory"])[0] == ()
        assert parse_trade_volume(found["TradeVolume"]).fees[0].maker_percent > 0
        assert not parse_key_info(found["GetApiKeyInfo"]).may_withdraw
        await client.close()

    on_uvloop(scenario)
