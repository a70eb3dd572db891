"""Points where sources about Kraken disagree: each reading is a switch, and both sides of it are shown to work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from practice_client import Client, run
from practice_world import build_exchange, start_practice, stop_practice

from cstd.practice.exchange import Readings
from cstd.practice.private_ws import parse_add

OTHER_SIDE = (
    "heartbeat_always=false", "status_repeats=true", "rate_count_field=ratecounter", "gone_order_is_invalid=true",
    "events_before_reply=true", "duplicate_subscribe_refused=false", "depth_volume_exact=true",
)  # fmt: skip


@pytest.fixture(scope="module", params=["default", "other"])
def reading(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    """A practice process with the default readings, then one with the other side of each."""
    other = request.param == "other"
    arguments = [word for text in OTHER_SIDE for word in ("--reading", text)] if other else []
    process, addresses = start_practice(tmp_path_factory.mktemp(request.param), *arguments)
    yield other, addresses
    assert stop_practice(process) == 0


def with_client(addresses: dict[str, str], scenario: Callable[[Client], Awaitable[None]]) -> None:
    """Run a scenario with a client."""

    async def whole() -> None:
        async with Client(addresses) as client:
            await scenario(client)

    run(whole())


def test_heartbeat_status_and_duplicates(reading: tuple[bool, dict[str, str]]) -> None:
    """Heartbeats beside traffic or only without it; status once or each second; a second subscribe refused or repeated."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        socket = await client.socket("ws_public")
        await socket.send("subscribe", 1, channel="book", symbol=["BTC/USD"], depth=25)
        await socket.until(lambda m: m.get("channel") == "book")
        second = await socket.ask("subscribe", 3, channel="book", symbol=["BTC/USD"], depth=25)
        assert second["success"] is other
        raws = []
        end = asyncio.get_running_loop().time() + 3.2
        while asyncio.get_running_loop().time() < end:
            raws.append(await socket.ws.receive_str(timeout=3))
        kinds = [json.loads(raw)["channel"] for raw in raws if "channel" in json.loads(raw)]
        assert (kinds.count("heartbeat") >= 3) is not other
        assert (kinds.count("status") >= 3) is other

    with_client(addresses, scenario)


def test_reply_order_rate_field_and_gone_orders(reading: tuple[bool, dict[str, str]]) -> None:
    """Events after or before the reply; the counter's name; the text for an order that is gone."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        token = await client.token()
        socket = await client.socket("ws_private")
        await socket.ask("subscribe", 1, channel="executions", token=token, ratecounter=True)
        socket.seen.clear()
        order = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": Decimal("0.0004")}
        await socket.send("add_order", 2, **order, limit_price=Decimal("30000.0"), token=token)
        pending = await socket.execution("pending_new")
        assert ("ratecounter" in pending) is other
        assert ("ratecount" in pending) is not other
        if other:
            await socket.until(lambda m: m.get("req_id") == 2)
        first = next(m for m in socket.seen if m.get("req_id") == 2 or m.get("type") == "update")
        assert ("req_id" not in first) is other
        for req_id in (3, 4):
            reply = await socket.ask("cancel_order", req_id, order_id=[pending["order_id"]], token=token)
        assert reply["error"] == ("EOrder:Invalid order" if other else "EOrder:Unknown order")

    with_client(addresses, scenario)


@pytest.mark.parametrize("in_base", [False, True])
def test_fee_currency_of_a_sell(in_base: bool) -> None:
    """A sell without fee_preference pays in quote, or in base as the docs' table has it."""
    exchange = build_exchange(1, readings=Readings(sell_fee_in_base=in_base))
    params: dict[str, object] = {
        "order_type": "limit",
        "symbol": "BTC/USD",
        "order_qty": Decimal("0.001"),
        "limit_price": 60000,
    }
    assert parse_add(exchange, {**params, "side": "sell"}).fee_in_base is in_base
    assert parse_add(exchange, {**params, "side": "buy"}).fee_in_base is False
    assert parse_add(exchange, {**params, "side": "sell", "fee_preference": "quote"}).fee_in_base is False


def test_control_moves_states_money_tokens_and_connections(tmp_path: Path) -> None:
    """The operator's verbs reach the clients: states are announced, money is booked, tokens die, connections are cut."""
    process, addresses = start_practice(tmp_path)

    async def control(client: Client, verb: str, **body: object) -> tuple[int, dict[str, object]]:
        headers = {"API-Key": addresses["api_key"]}
        async with client.session.post(f"{addresses['rest']}/practice/{verb}", json=body, headers=headers) as reply:
            return reply.status, await reply.json()

    async def scenario(client: Client) -> None:
        token = await client.token()
        public, private = await client.socket("ws_public"), await client.socket("ws_private")
        await public.send("subscribe", 1, channel="instrument", snapshot=False)
        await private.ask("subscribe", 2, channel="balances", token=token)
        assert (await control(client, "system", state="cancel_only"))[0] == 200
        for socket in (public, private):
            status = await socket.until(lambda m: m.get("channel") == "status" and m["data"][0]["system"] == "cancel_only")
            assert status["type"] == "update"
        order = {"order_type": "market", "side": "buy", "symbol": "BTC/USD", "order_qty": Decimal("0.0004"), "token": token}
        assert (await private.ask("add_order", 3, **order))["error"] == "EService:Market in cancel_only mode"
        await control(client, "system", state="online")
        await control(client, "status", symbol="BTC/USD", status="maintenance")
        update = await public.until(lambda m: m.get("channel") == "instrument")
        assert {p["symbol"]: p["status"] for p in update["data"]["pairs"]}["BTC/USD"] == "maintenance"
        await control(client, "deposit", asset="USD", amount="250.5")
        entry = await private.until(lambda m: m.get("channel") == "balances" and m["type"] == "update")
        assert (entry["data"][0]["type"], entry["data"][0]["balance"]) == ("deposit", Decimal("10250.5"))
        assert (await control(client, "deposit", asset="USD", amount="-99999"))[0] == 400
        assert (await control(client, "system", state="sleeping"))[0] == 400
        assert (await control(client, "dance"))[0] == 404
        await control(client, "revoke_tokens")
        assert (await private.ask("cancel_all", 4, token=token))["error"] == "EAPI:Invalid token"
        assert (await control(client, "cut", server="ws_public"))[1] == {"result": {"cut": 1}}
        with pytest.raises(TypeError):  # aiohttp gives a closed message, which is no text
            while True:
                await public.ws.receive_str(timeout=3)
        assert (await control(client, "refuse", server="ws_private", seconds=60))[1] == {"result": {"cut": 1, "seconds": 60}}
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await client.socket("ws_private")
        assert [(await control(client, "refuse", server="ws_private", seconds=bad))[0] for bad in (-1, True, "1")] == [400] * 3
        await control(client, "refuse", server="ws_private", seconds=0)
        await client.socket("ws_private")
        async with client.session.post(f"{addresses['rest']}/practice/cut", json={}) as reply:
            assert reply.status == 401

    try:
        with_client(addresses, scenario)
    finally:
        assert stop_practice(process) == 0


def test_depth_prints_three_decimals_of_a_volume_or_all(reading: tuple[bool, dict[str, str]]) -> None:
    """A REST book agrees with the websocket's as far as it prints: three decimals of a volume, or all eight."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        depth = (await client.public("Depth", pair="BTC/USD", count=25))["result"]["BTC/USD"]
        digits = {len(volume.partition(".")[2]) for _, volume, _ in depth["bids"] + depth["asks"]}
        assert digits == ({8} if other else {3})

    with_client(addresses, scenario)


def test_a_level_is_told_wrong_where_no_checksum_sees_it(tmp_path: Path) -> None:
    """Subscribers get one whole unit too much at the asked rank, with the checksum of the true book; REST stays true; a
    rank that a checksum covers, a window that ends before it, or nobody who listens is refused."""
    process, addresses = start_practice(tmp_path, "--rate", "1")

    async def control(client: Client, **body: object) -> tuple[int, dict[str, object]]:
        headers = {"API-Key": addresses["api_key"]}
        async with client.session.post(f"{addresses['rest']}/practice/wrong_level", json=body, headers=headers) as reply:
            return reply.status, await reply.json()

    async def scenario(client: Client) -> None:
        wanted = {"symbol": "BTC/USD", "side": "sell", "rank": 14}
        assert (await control(client, **wanted))[0] == 400
        socket = await client.socket("ws_public")
        await socket.send("subscribe", 1, channel="book", symbol=["BTC/USD"], depth=25)
        await socket.until(lambda m: m.get("channel") == "book" and m["type"] == "snapshot")
        status, body = await control(client, **wanted)
        assert status == 200
        (told,) = body["result"]
        lie = await socket.until(lambda m: m.get("channel") == "book" and m["data"][0]["asks"] and any(
            level["price"] == Decimal(told["price"]) and level["qty"] == Decimal(told["true_qty"]) + 1
            for level in m["data"][0]["asks"]))
        assert lie["data"][0]["bids"] == []
        second = await client.socket("ws_public")
        await second.send("subscribe", 2, channel="book", symbol=["BTC/USD"], depth=25)
        true = await second.until(lambda m: m.get("channel") == "book" and m["type"] == "snapshot")
        assert {level["price"]: level["qty"] for level in true["data"][0]["asks"]}.get(
            Decimal(told["price"])) != Decimal(told["true_qty"]) + 1
        for wrong in ({"rank": 10}, {"rank": 26}, {"rank": "14"}, {"side": "both"}, {"symbol": "BTC/EUR"}):
            assert (await control(client, **{**wanted, **wrong}))[0] == 400, wrong

    try:
        with_client(addresses, scenario)
    finally:
        assert stop_practice(process) == 0
