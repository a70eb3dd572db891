"""Links over real loopback sockets: batches, fragments, bad frames, closes, and what may go out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvloop
from picows import WSCloseCode, WSListener, WSMsgType, WSTransport, ws_create_server

from cstd._fast.codes import Link as LinkCode
from cstd._fast.sink import RecordingSink
from cstd.clock import SystemClock
from cstd.errors import ConnectivityError, EdgeRefusedError, InvariantError, VenueRejectError
from cstd.venue.backoff import AttemptLimiter, ReconnectPolicy
from cstd.venue.connector import Connector
from cstd.venue.link import MESSAGE_BYTES_MAX, FuturesLink, PrivateLink, PublicLink
from cstd.venue.refusal import retry_after_ns

TEXT, BINARY, CONTINUATION, PING = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION, WSMsgType.PING
HEARTBEAT = b'{"channel":"heartbeat"}'


class Peer(WSListener):
    """The venue's side of one connection."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.server.connections.append(transport)
        self.server.greet(transport)

    def on_ws_frame(self, transport: WSTransport, frame: Any) -> None:
        self.server.received.append((frame.msg_type, frame.get_payload_as_bytes()))
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()


class Server:
    """A loopback websocket server that does to each connection what the test says."""

    def __init__(self, greet: Callable[[WSTransport], None]) -> None:
        self.greet = greet
        self.connections: list[WSTransport] = []
        self.received: list[tuple[Any, bytes]] = []
        self.url = ""

    def texts(self) -> list[bytes]:
        return [payload for kind, payload in self.received if kind == TEXT]


class Trading:
    """A link with its connector and what happened to it."""

    def __init__(self, link: Any, sink: RecordingSink, server: Server) -> None:
        self.link, self.sink, self.server = link, sink, server
        self.events: list[str] = []
        self.connector: Connector

    @property
    def payloads(self) -> list[bytes]:
        return [frame[1] for frame in self.sink.frames]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for a condition, at most 5 s."""
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def trading(greet: Callable[[WSTransport], None], *, private: bool = False, kind: Any = PublicLink, pongs: bool = True,
                  after_batch: Callable[[], None] | None = None, wants_python: bool = False,
                  tokens: list[str] | None = None) -> AsyncIterator[Trading]:
    """Run a server and a connected link against it."""
    server = Server(greet)
    listening = await ws_create_server(lambda _request: Peer(server), "127.0.0.1", 0, enable_auto_pong=pongs,
                                       max_frame_size=64 * 1024 * 1024)
    server.url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v2"
    sink = RecordingSink(100_000, wants_python)
    link = (PrivateLink if private else kind)(sink, after_batch)
    run = Trading(link, sink, server)

    async def fetch_token() -> str:
        if not tokens:
            raise ConnectivityError("no token left")
        return tokens.pop(0)

    run.connector = Connector(
        link, server.url, policy=ReconnectPolicy(1, AttemptLimiter()), clock=SystemClock(),
        on_up=lambda _link: run.events.append("up"), on_down=lambda _link, reason: run.events.append(reason),
        fetch_token=fetch_token if private else None)
    run.connector.start()
    try:
        await run.until(lambda: link.up or run.events)
        yield run
    finally:
        await run.connector.stop()
        listening.close()


def on_uvloop(scenario: Callable[[], Any]) -> None:
    """Run a scenario on the loop the daemon runs on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


def test_frames_arrive_whole_with_one_time_per_read() -> None:
    """Every frame reaches the core unchanged; frames of one read share their times and end in one batch end."""
    async def scenario() -> None:
        def greet(transport: WSTransport) -> None:
            for index in range(50):
                transport.send(TEXT, b'{"n":%d}' % index)

        async with trading(greet) as run:
            await run.until(lambda: len(run.payloads) == 50)
            assert run.payloads == [b'{"n":%d}' % index for index in range(50)]
            batches = run.sink.batches
            assert batches[-1][1] == 50
            start = 0
            for code, end, mono_ns, wall_ns in batches:
                assert code == LinkCode.LINK_PUBLIC
                assert {frame[2:] for frame in run.sink.frames[start:end]} == {(mono_ns, wall_ns)}
                start = end
            assert 0 < SystemClock().mono_ns() - batches[-1][2] < 5 * 10**9
            assert abs(SystemClock().wall_ns() - batches[-1][3]) < 5 * 10**9

    on_uvloop(scenario)


def test_fragments_are_put_together_around_pings() -> None:
    """A message in pieces, with a ping between them, arrives as one; the ping is answered."""
    async def scenario() -> None:
        whole = b'{"big":"' + b"x" * 700_000 + b'"}'

        def greet(transport: WSTransport) -> None:
            transport.send(TEXT, whole[:10], False)
            transport.send(PING, b"are you there")
            transport.send(CONTINUATION, whole[10:400_000], False)
            transport.send(CONTINUATION, b"", False)
            transport.send(CONTINUATION, whole[400_000:], True)
            transport.send(TEXT, HEARTBEAT)

        async with trading(greet) as run:
            await run.until(lambda: len(run.payloads) == 2)
            assert run.payloads == [whole, HEARTBEAT]
            assert (run.link.fragment_count, run.link.ping_count) == (4, 1)
            await run.until(lambda: run.server.received)
            assert run.server.received[0] == (WSMsgType.PONG, b"are you there")

    on_uvloop(scenario)


def test_a_ping_at_the_end_of_a_read_still_ends_the_batch() -> None:
    """A control frame that closes a read does not swallow the decision pass of the frames before it."""
    async def scenario() -> None:
        def greet(transport: WSTransport) -> None:
            transport.send(TEXT, HEARTBEAT)
            transport.send(PING, b"")

        async with trading(greet) as run:
            await run.until(lambda: run.link.ping_count == 1)
            assert [batch[1] for batch in run.sink.batches] == [1]

    on_uvloop(scenario)


def test_half_a_megabyte_in_one_frame_is_taken() -> None:
    """The instrument snapshot's size is within the limits."""
    async def scenario() -> None:
        frame = b'{"x":"' + b"y" * 600_000 + b'"}'
        async with trading(lambda transport: transport.send(TEXT, frame)) as run:
            await run.until(lambda: run.payloads)
            assert run.payloads == [frame]

    on_uvloop(scenario)


@pytest.mark.parametrize("payload", [b"\xff\xfe\xfd", b"not json", b'{"truncated":', b""])
def test_bad_payloads_pass_the_link_untouched(payload: bytes) -> None:
    """The link judges no content: what is not UTF-8 or not JSON reaches the core, which counts it; the link stays."""
    async def scenario() -> None:
        def greet(transport: WSTransport) -> None:
            transport.send(TEXT, payload)
            transport.send(TEXT, HEARTBEAT)

        async with trading(greet) as run:
            await run.until(lambda: len(run.payloads) == 2)
            assert run.payloads == [payload, HEARTBEAT]
            assert run.events == ["up"]

    on_uvloop(scenario)


def test_binary_frames_are_counted_and_dropped() -> None:
    """Binary messages, whole or in pieces, never reach the core and cost no connection."""
    async def scenario() -> None:
        def greet(transport: WSTransport) -> None:
            transport.send(BINARY, b"abc")
            transport.send(BINARY, b"ab", False)
            transport.send(CONTINUATION, b"c", True)
            transport.send(TEXT, HEARTBEAT)

        async with trading(greet) as run:
            await run.until(lambda: run.payloads)
            assert (run.payloads, run.link.non_text_count) == ([HEARTBEAT], 2)

    on_uvloop(scenario)


def oversize_fragments(transport: WSTransport) -> None:
    chunk = b"x" * (1024 * 1024)
    transport.send(TEXT, chunk, False)
    for _ in range(MESSAGE_BYTES_MAX // len(chunk)):
        transport.send(CONTINUATION, chunk, False)


def oversize_frame(transport: WSTransport) -> None:
    transport.send(TEXT, b"x" * (MESSAGE_BYTES_MAX + 1))


def orphan_continuation(transport: WSTransport) -> None:
    transport.send(CONTINUATION, b"x", True)


def message_inside_message(transport: WSTransport) -> None:
    transport.send(TEXT, b"x", False)
    transport.send(TEXT, b"y", True)


def reserved_bit(transport: WSTransport) -> None:
    transport.send(TEXT, b"x", True, True)


@pytest.mark.parametrize(("greet", "code"), [
    (oversize_fragments, WSCloseCode.MESSAGE_TOO_BIG),
    (oversize_frame, WSCloseCode.MESSAGE_TOO_BIG),
    (orphan_continuation, WSCloseCode.PROTOCOL_ERROR),
    (message_inside_message, WSCloseCode.PROTOCOL_ERROR),
    (reserved_bit, WSCloseCode.PROTOCOL_ERROR),
])
def test_broken_protocol_ends_the_connection_and_only_it(greet: Callable[[WSTransport], None], code: Any) -> None:
    """What the websocket protocol forbids closes with its code, delivers nothing, and a new connection follows."""
    async def scenario() -> None:
        def first_bad(transport: WSTransport) -> None:
            if len(server_of) == 0:
                server_of.append(transport)
                greet(transport)
            else:
                transport.send(TEXT, HEARTBEAT)

        server_of: list[WSTransport] = []
        async with trading(first_bad) as run:
            await run.until(lambda: run.payloads)
            assert [payload[:40] for payload in run.payloads] == [HEARTBEAT[:40]]
            assert run.events[0] == "up"
            assert run.events[-1] == "up"
            closes = [payload for kind, payload in run.server.received if kind == WSMsgType.CLOSE]
            assert int.from_bytes(closes[0][:2], "big") == code
            assert run.link.violation_count == 1
            assert run.link.oversize_count == (code == WSCloseCode.MESSAGE_TOO_BIG)

    on_uvloop(scenario)


def test_close_by_the_venue_is_answered_and_named() -> None:
    """A close from the venue ends in `on_down` with its code, and the connector tries again."""
    async def scenario() -> None:
        def greet(transport: WSTransport) -> None:
            if not hasattr(greet, "done"):
                greet.done = True  # type: ignore[attr-defined]
                transport.send(TEXT, HEARTBEAT)
                transport.send_close(WSCloseCode.GOING_AWAY, b"bye")

        async with trading(greet) as run:
            await run.until(lambda: len(run.events) >= 3)
            assert run.events[:3] == ["up", "closed by the venue with code 1001", "up"]
            assert run.link.connect_count == 2

    on_uvloop(scenario)


def test_only_control_frames_leave_python() -> None:
    """`send_control` sends the closed list and counts and refuses everything else."""
    async def scenario() -> None:
        async with trading(lambda _transport: None) as run:
            assert run.link.send_control(b'{"method":"ping","req_id":1}')
            assert not run.link.send_control(b'{"method":"add_order","params":{"token":""}}')
            assert not run.link.send_control(b'{"method":"subscribe","params":{"channel":"executions","token":""}}')
            assert run.link.refused_count == 2
            await run.until(run.server.texts)
            assert run.server.texts() == [b'{"method":"ping","req_id":1}']
            await run.connector.stop()
            assert not run.link.send_control(b'{"method":"ping"}')
            assert run.link.unsent_count == 1

    on_uvloop(scenario)


def test_the_futures_socket_lets_its_own_subscriptions_out_and_is_kept_open_by_pings() -> None:
    """Its frames reach the core as its own; no spot request, no signed feed and no order leaves by it; a ping does."""
    async def scenario() -> None:
        subscribe = b'{"event":"subscribe","feed":"ticker","product_ids":["PF_XBTUSD"]}'
        info = b'{"event":"info","version":1}'
        refused = (b'{"event":"subscribe","feed":"fills"}', b'{"event":"challenge","api_key":"k"}', b'{"method":"ping"}',
                   b'{"method":"cancel_all_orders_after","params":{"timeout":0,"token":""}}')
        async with trading(lambda transport: transport.send(TEXT, info), kind=FuturesLink, pongs=False) as run:
            await run.until(lambda: run.payloads)
            assert run.sink.frames[0][0] == run.sink.batches[0][0] == LinkCode.LINK_FUTURES
            assert run.link.send_control(subscribe)
            assert not any(run.link.send_control(frame) for frame in refused)
            run.link.keep_open()
            await run.until(lambda: len(run.server.received) == 2)
            assert [kind for kind, _ in run.server.received] == [TEXT, PING] and run.server.texts() == [subscribe]
            assert run.link.status()["refused"] == len(refused)
            run.link.close("over")
            run.link.keep_open()  # nothing to send it on
            await run.until(lambda: "over" in run.events)
            assert [kind for kind, _ in run.server.received].count(PING) == 1

    on_uvloop(scenario)


def test_token_is_put_in_at_the_link_and_used_once() -> None:
    """The frame leaves with the token in its place; each connection takes a new one and no token is ever readable."""
    async def scenario() -> None:
        subscribe = b'{"method":"subscribe","params":{"channel":"executions","token":""},"req_id":1500000000}'
        async with trading(lambda _transport: None, private=True, tokens=["tok+One/1=", "tokTwo"]) as run:
            assert run.link.port.up
            assert run.link.send_control(subscribe)
            await run.until(run.server.texts)
            assert run.server.texts() == [subscribe.replace(b'""', b'"tok+One/1="')]
            shown = [str(getattr(run.link, name)) for name in dir(run.link) if not name.startswith("__")]
            assert not any("tok+One" in text for text in shown)
            run.connector.close("token refused")
            assert not run.link.send_control(subscribe)
            await run.until(lambda: len(run.events) == 3)
            assert run.events == ["up", "token refused", "up"]
            assert run.link.send_control(subscribe)
            await run.until(lambda: len(run.server.texts()) == 2)
            assert run.server.texts()[1] == subscribe.replace(b'""', b'"tokTwo"')

    on_uvloop(scenario)


@pytest.mark.parametrize("token", ["", 'a"b', "a\\b", "a b", "é", "x" * 512])
def test_a_token_that_could_break_json_is_refused(token: str) -> None:
    """No token can end the string it stands in; the refusal does not repeat it."""
    link = PrivateLink(RecordingSink())
    with pytest.raises(ValueError, match="token") as raised:
        link.set_token(token)
    assert not token or token not in str(raised.value)
    assert not link.has_token


def test_python_runs_after_a_batch_only_when_asked() -> None:
    """`after_batch` follows a batch that left `needs_python` set, once; what it raises reaches `on_fault`."""
    async def scenario(wants_python: bool) -> None:
        calls: list[int] = []
        faults: list[Exception] = []

        def after_batch() -> None:
            calls.append(1)
            raise KeyError("broken")

        async with trading(lambda _transport: None, after_batch=after_batch, wants_python=wants_python) as run:
            run.link.on_fault = faults.append
            run.server.connections[0].send(TEXT, HEARTBEAT)
            await run.until(lambda: run.sink.batches)
            await asyncio.sleep(0.02)
            assert len(calls) == len(faults) == (1 if wants_python else 0)
            assert run.events == ["up"]

    on_uvloop(lambda: scenario(True))
    on_uvloop(lambda: scenario(False))


def test_a_connector_that_dies_says_so() -> None:
    """An error of ours while connecting reaches `on_fault` instead of looking like a silent venue."""
    async def scenario() -> None:
        async def broken_token() -> str:
            raise InvariantError("no nonce")

        faults: list[Exception] = []
        link = PrivateLink(RecordingSink())
        link.on_fault = faults.append
        connector = Connector(link, "ws://127.0.0.1:1/v2", policy=ReconnectPolicy(1, AttemptLimiter()),
                              clock=SystemClock(), on_up=lambda _link: None, on_down=lambda _link, _reason: None,
                              fetch_token=broken_token)
        connector.start()
        async with asyncio.timeout(5):
            while not faults:
                await asyncio.sleep(0.005)
        assert isinstance(faults[0], InvariantError)
        await connector.stop()

    on_uvloop(scenario)


def test_no_listener_is_an_error_value_not_a_crash() -> None:
    """A port nobody listens on, or no token, is shown as the last error and tried again."""
    async def scenario() -> None:
        for tokens in (None, []):
            sink = RecordingSink()
            link = PublicLink(sink) if tokens is None else PrivateLink(sink)

            async def no_token() -> str:
                raise ConnectivityError("no token")

            connector = Connector(link, "ws://127.0.0.1:1/v2", policy=ReconnectPolicy(1, AttemptLimiter()),
                                  clock=SystemClock(), on_up=lambda _link: None, on_down=lambda _link, _reason: None,
                                  fetch_token=None if tokens is None else no_token)
            connector.start()
            async with asyncio.timeout(5):
                while connector.status()["failures"] < 1:
                    await asyncio.sleep(0.005)
            assert connector.last_error
            assert not link.up
            await connector.stop()

    on_uvloop(scenario)


class LeapingClock:
    """A clock that stands still but for what the connector waits."""

    def __init__(self) -> None:
        self.now_ns = 10**12

    def mono_ns(self) -> int:
        return self.now_ns

    def wall_ns(self) -> int:
        return self.now_ns


async def waits_of(url: str, monkeypatch: pytest.MonkeyPatch, fetch_token: Any = None) -> list[float]:
    """What a connector waits, in seconds of its clock, before each of its attempts but the first."""
    clock, sleep, waits = LeapingClock(), asyncio.sleep, []

    async def leap(seconds: float) -> None:
        if seconds > 0.1:
            waits.append(seconds)
            clock.now_ns += int(seconds * 10**9)
        await sleep(0)

    link = PublicLink(RecordingSink()) if fetch_token is None else PrivateLink(RecordingSink())
    connector = Connector(link, url, policy=ReconnectPolicy(1, AttemptLimiter()), clock=clock, on_up=lambda _link: None,
                          on_down=lambda _link, _reason: None, fetch_token=fetch_token)
    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", leap)
        connector.start()
        async with asyncio.timeout(5):
            while connector.attempt_count < 4:
                await sleep(0.005)
    await connector.stop()
    return waits


def waits_when_refused(monkeypatch: pytest.MonkeyPatch, status: int, header: bytes = b"") -> list[float]:
    """What a connector waits before each of its attempts but the first while every upgrade is answered with a status."""
    waits: list[float] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d No\r\n%bContent-Length: 0\r\nConnection: close\r\n\r\n" % (status, header))
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        async with server:
            waits.extend(await waits_of(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2", monkeypatch))

    on_uvloop(scenario)
    return waits


@pytest.mark.parametrize(("status", "stays_away"), [
    (400, True), (401, True), (403, True), (404, True), (429, True), (500, False), (502, False), (503, False), (520, False)])
def test_a_refused_upgrade_is_not_asked_for_again_for_ten_minutes(monkeypatch: pytest.MonkeyPatch, status: int,
                                                                  stays_away: bool) -> None:
    """What bans an address by asking too often waits ten minutes before each attempt; a venue in trouble is asked as usual."""
    waits = waits_when_refused(monkeypatch, status)
    if stays_away:
        assert len(waits) >= 3 and min(waits) >= 599
    else:
        assert waits and max(waits) < 60


@pytest.mark.parametrize(("status", "header", "seconds"), [
    (429, b"Retry-After: 1800\r\n", 1800), (403, b"retry-after: 1800\r\n", 1800), (429, b"Retry-After: 30\r\n", 600),
    (429, b"Retry-After: 999999999999999\r\n", 3600), (429, b"Retry-After: soon\r\n", 600),
    (429, b"Retry-After: Thu, 01 Jan 1970 00:20:00 GMT\r\n", 600)])
def test_a_refused_upgrade_waits_as_long_as_it_is_told(monkeypatch: pytest.MonkeyPatch, status: int, header: bytes,
                                                       seconds: int) -> None:
    """Retry-After makes the ten minutes longer, never shorter, and never more than an hour; what is no time changes nothing."""
    waits = waits_when_refused(monkeypatch, status, header)
    assert len(waits) >= 3 and all(seconds - 1 <= wait <= seconds + 1 for wait in waits)


@pytest.mark.parametrize(("text", "seconds"), [
    (None, 0), ("", 0), ("0", 0), (" 7 ", 7), ("-5", 0), ("1.5", 0), ("3600", 3600), ("3601", 3600), ("9" * 5000, 3600),
    ("Wed, 21 Oct 2015 07:28:00 GMT", 480), ("Wed, 21 Oct 2015 07:10:00 GMT", 0), ("Fri, 99 Oct", 0)])
def test_retry_after_is_read_as_seconds_or_as_a_date(text: str | None, seconds: int) -> None:
    """Both forms of the header; a time that has passed, or that nobody can mean, is no wait."""
    assert retry_after_ns(text, 1_445_412_000 * 10**9) == seconds * 10**9


def test_a_token_that_the_edge_refuses_is_asked_for_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP 429 or 403 on the call for a token: 5 s, then twice as long each time, or as long as the edge says."""
    waits: list[float] = []
    told = iter([0, 0, 60 * 10**9, 0])

    async def no_token() -> str:
        raise EdgeRefusedError("HTTP 429", retry_after_ns=next(told, 0))

    async def scenario() -> None:
        waits.extend(await waits_of("ws://127.0.0.1:1/v2", monkeypatch, no_token))

    on_uvloop(scenario)
    assert [round(wait) for wait in waits[:3]] == [5, 10, 60]


def test_a_connection_ended_for_its_behaviour_stays_away_for_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close code 1008 is the venue's word that it wants none of this; the next attempts wait ten minutes each."""
    async def scenario() -> None:
        server = Server(lambda transport: transport.send_close(WSCloseCode.POLICY_VIOLATION))
        listening = await ws_create_server(lambda _request: Peer(server), "127.0.0.1", 0)
        try:
            waits = await waits_of(f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v2", monkeypatch)
        finally:
            listening.close()
        assert len(waits) >= 3 and min(waits) >= 599

    on_uvloop(scenario)


@pytest.mark.parametrize(("error", "stays_away"), [("EAPI:Invalid key", True), ("EService:Unavailable", False)])
def test_a_refused_key_is_not_tried_again_for_ten_minutes(monkeypatch: pytest.MonkeyPatch, error: str, stays_away: bool) -> None:
    """A key that the venue does not take would lock the account out; a token that it cannot give now is asked for as usual."""
    async def no_token() -> str:
        raise VenueRejectError(error, code=error)

    waits: list[float] = []

    async def scenario() -> None:
        waits.extend(await waits_of("ws://127.0.0.1:1/v2", monkeypatch, no_token))

    on_uvloop(scenario)
    assert (min(waits) >= 599) if stays_away else (max(waits) < 60)
