"""Life of a connection: the idle are closed with a handshake, the too slow are cut off, queues are bounded."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from practice_client import run
from practice_world import START_NS, build_exchange

from cstd.practice import connections
from cstd.practice.public_ws import PublicServer
from cstd.practice.wire import NS_PER_S


class Loopback:
    """A public server on loopback whose clock the test moves."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self.server = PublicServer(build_exchange(1), lambda: self.now_ns)
        self.session = aiohttp.ClientSession()

    async def __aenter__(self) -> Loopback:
        app = web.Application()
        app.router.add_get("/v2", self.server.serve)
        self.runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.port = self.runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self.server.close_all()
        await self.runner.cleanup()

    async def connect(self) -> aiohttp.ClientWebSocketResponse:
        """Return a client connection that has received `status`."""
        ws = await self.session.ws_connect(f"http://127.0.0.1:{self.port}/v2")
        await ws.receive_str(timeout=2)
        return ws


def test_an_idle_socket_without_subscriptions_is_closed_after_a_minute() -> None:
    """At 60 s of silence it stays, after that it is closed; a subscription keeps it open."""

    async def scenario() -> None:
        async with Loopback() as loopback:
            idle, busy = await loopback.connect(), await loopback.connect()
            await busy.send_json({"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}})
            await busy.receive_str(timeout=2)
            loopback.now_ns += 60 * NS_PER_S
            loopback.server.beat()
            assert len(loopback.server.connections) == 2
            loopback.now_ns += 1
            loopback.server.beat()
            assert (await idle.receive(timeout=2)).type == aiohttp.WSMsgType.CLOSE
            assert await busy.receive_str(timeout=2) == '{"channel":"heartbeat"}'

    run(scenario())


def test_a_reader_that_is_too_slow_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the queue of a connection is full it is closed, and the exchange goes on."""
    monkeypatch.setattr(connections, "QUEUE_MAX", 50)

    async def scenario() -> None:
        async with Loopback() as loopback:
            await loopback.connect()
            (connection,) = loopback.server.connections.values()
            for _ in range(51):  # without giving the writer a turn
                connection.send("x")
            assert connection.closed
            async with asyncio.timeout(5):
                while loopback.server.connections:
                    await asyncio.sleep(0.01)
            assert (await loopback.connect()).closed is False

    run(scenario())
