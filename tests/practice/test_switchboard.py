"""The fault switchboard: each fault does what it says, to what it says, for as long as it says, and can be ended."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import aiohttp
import msgspec
import pytest
from practice_client import Client, Socket, TextBook, run
from practice_world import start_practice, stop_practice

from cstd.errors import UsageError
from cstd.practice.faults import AnyFault, parse, read_script, seeded

BUY = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": Decimal("0.0004")}
FAR = Decimal("30000.0")
TIMER_STEP_S = 0.005  # event loops count their timers in whole milliseconds, from the time of their last turn


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """One practice process for all; every test heals it at its end."""
    process, addresses = start_practice(tmp_path_factory.mktemp("faults"))
    yield addresses
    assert stop_practice(process) == 0


async def control(client: Client, verb: str, **body: object) -> dict[str, Any]:
    """One call of the operator's side; fails where it is refused."""
    headers = {"API-Key": client.addresses["api_key"]}
    async with client.session.post(f"{client.addresses['rest']}/practice/{verb}", json=body, headers=headers) as reply:
        answer = await reply.json()
        assert reply.status == 200, answer
        return dict(answer["result"])


def play(addresses: dict[str, str], scenario: Callable[[Client], Awaitable[None]]) -> None:
    """Run a scenario, then heal the exchange."""

    async def whole() -> None:
        async with Client(addresses) as client:
            try:
                await scenario(client)
            finally:
                await control(client, "heal")

    run(whole())


async def book_socket(client: Client) -> Socket:
    """A socket that is told of a book."""
    socket = await client.socket("ws_public")
    await socket.send("subscribe", 1, channel="book", symbol=["BTC/USD"], depth=25)
    await socket.until(lambda m: m.get("type") == "snapshot")
    return socket


async def private_socket(client: Client) -> tuple[Socket, str]:
    """A socket that is told of executions, and the token it was opened with."""
    token = await client.token()
    socket = await client.socket("ws_private")
    await socket.ask("subscribe", 1, channel="executions", token=token, snap_orders=False)
    return socket, token


async def raws_for(socket: Socket, seconds: float) -> list[tuple[float, str]]:
    """Everything that comes in so many seconds, with its time."""
    found, loop = [], asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        try:
            found.append((loop.time(), await socket.ws.receive_str(timeout=left)))
        except TimeoutError:
            break
    return found


def test_dropped_doubled_and_reordered_frames(exchange: dict[str, str]) -> None:
    """Only frames of the channel are touched, and as many as were asked for; the sequence of reports shows it."""

    async def scenario(client: Client) -> None:
        socket, token = await private_socket(client)

        async def sequences(kind: str, count: int) -> list[int]:
            await control(client, "fault", kind=kind, server="ws_private", about="executions", count=count)
            socket.seen.clear()
            reply = await socket.ask("add_order", 2, **BUY, limit_price=FAR, token=token)
            await socket.ask("cancel_order", 3, order_id=[reply["result"]["order_id"]], token=token)
            await socket.ask("ping", 4)
            await asyncio.sleep(0.05)
            await socket.ask("ping", 5)
            assert [m["req_id"] for m in socket.seen if "req_id" in m] == [2, 3, 4, 5], "replies are not touched"
            return [m["sequence"] - begun for m in socket.seen if m.get("channel") == "executions"]

        begun = max([m["sequence"] for m in socket.seen if "sequence" in m], default=0)
        assert await sequences("drop", 2) == [3]
        begun += 3
        assert await sequences("duplicate", 1) == [1, 1, 2, 3]
        begun += 3
        assert sorted(order := await sequences("reorder", 1)) == [1, 2, 3]
        assert order != [1, 2, 3]
        hits = (await control(client, "faults"))["hits"]
        assert (hits["drop"], hits["duplicate"], hits["reorder"]) == (2, 1, 1)

    play(exchange, scenario)


def test_corrupt_checksums_are_wrong_and_then_right_again(exchange: dict[str, str]) -> None:
    """So many book frames do not match; the levels themselves are true."""

    async def scenario(client: Client) -> None:
        socket = await client.socket("ws_public")
        await control(client, "fault", kind="corrupt-checksum", count=2)
        await socket.send("subscribe", 1, channel="book", symbol=["BTC/USD"], depth=25)
        book, wrong = TextBook(25), []
        while book.checked < 5:
            raw = await socket.ws.receive_str(timeout=10)
            if json.loads(raw).get("channel") == "book":
                try:
                    book.apply(raw)
                except AssertionError:
                    wrong.append(raw)
        assert len(wrong) == 2

    play(exchange, scenario)


def test_an_order_whose_reply_is_lost_or_denied_stands(exchange: dict[str, str]) -> None:
    """Lost: no reply, and a report. Denied and executed: an error, and a report. Denied: an error, and nothing."""

    async def scenario(client: Client) -> None:
        socket, token = await private_socket(client)
        order = {**BUY, "limit_price": FAR, "token": token}
        await control(client, "fault", kind="lost-ack")
        await socket.send("add_order", 2, **order)
        assert (await socket.execution("pending_new"))["order_status"] == "pending_new"
        await socket.ask("ping", 3)
        assert all(m.get("req_id") != 2 for m in socket.seen)
        await control(client, "fault", kind="deny", executed=True, error="EGeneral:Internal error")
        reply = await socket.ask("add_order", 4, **order)
        assert (reply["success"], reply["error"], "result" in reply) == (False, "EGeneral:Internal error", False)
        assert await socket.execution("new")
        before = len((await client.private("OpenOrders"))["result"]["open"])
        await control(client, "fault", kind="deny")
        assert (await socket.ask("add_order", 5, **order))["error"] == "EService:Unavailable"
        assert len((await client.private("OpenOrders"))["result"]["open"]) == before == 2
        assert (await socket.ask("cancel_all", 6, token=token))["result"]["count"] == 2

    play(exchange, scenario)


def test_late_fills_come_late_in_order_and_alone(exchange: dict[str, str]) -> None:
    """A fill is reported after the balance that it moved and after a later order's reply; its sequence has no gap."""

    async def scenario(client: Client) -> None:
        socket, token = await private_socket(client)
        await socket.ask("subscribe", 2, channel="balances", token=token)
        await control(client, "fault", kind="late-fill", by_s=1.0, for_s=5)
        begin = asyncio.get_running_loop().time()
        market = {"order_type": "market", "side": "buy", "symbol": "BTC/USD", "order_qty": Decimal("0.0004"), "token": token}
        await socket.ask("add_order", 3, **market)
        await socket.until(lambda m: m.get("channel") == "balances" and m["type"] == "update")
        assert asyncio.get_running_loop().time() - begin < 1.0
        trade = await socket.execution("trade")
        assert asyncio.get_running_loop().time() - begin >= 1.0 - TIMER_STEP_S
        assert trade["last_qty"] == Decimal("0.0004")
        sequences = [m["sequence"] for m in socket.seen if m.get("channel") == "executions"]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
        await control(client, "fault", kind="late-fill", by_s=60, for_s=60)
        await socket.ask("add_order", 4, **market)
        await control(client, "heal")
        assert await socket.execution("trade", timeout_s=2.0), "healing tells at once what was held back"

    play(exchange, scenario)


def test_delayed_frames_keep_their_order(exchange: dict[str, str]) -> None:
    """While a delay is on a reply takes at least as long; nothing overtakes; then all is quick again."""

    async def scenario(client: Client) -> None:
        socket = await book_socket(client)
        loop = asyncio.get_running_loop()
        await control(client, "fault", kind="delay", server="ws_public", by_s=0.7, for_s=0.3)
        begin = loop.time()
        await socket.send("ping", 5)
        await asyncio.sleep(0.4)
        await socket.send("ping", 6)
        await socket.until(lambda m: m.get("req_id") == 5)
        assert loop.time() - begin >= 0.7 - TIMER_STEP_S
        await socket.until(lambda m: m.get("req_id") == 6)
        times = [m["data"][0]["timestamp"] for m in socket.seen if m.get("type") == "update" and m.get("channel") == "book"]
        assert times == sorted(times) and times

    play(exchange, scenario)


def test_fragmented_messages_are_whole_at_the_client(exchange: dict[str, str]) -> None:
    """Snapshots and updates in pieces: an ordinary client has the true book, and the pieces were really sent."""

    async def scenario(client: Client) -> None:
        await control(client, "fault", kind="fragment", server="ws_public", pieces=7, for_s=30)
        socket = await client.socket("ws_public")
        await socket.send("subscribe", 1, channel="book", symbol=["BTC/USD"], depth=1000)
        book = TextBook(1000)
        while book.checked < 3:
            raw = await socket.ws.receive_str(timeout=10)
            if json.loads(raw).get("channel") == "book":
                book.apply(raw)

    play(exchange, scenario)


def test_pieces_are_a_first_frame_and_continuations() -> None:
    """Only the last has FIN, only the first an opcode, and the lengths are in the shortest form."""
    from cstd.practice.connections import in_pieces

    assert in_pieces(b"abcde", 3) == b"\x01\x02ab" + b"\x00\x02cd" + b"\x80\x01e"
    assert in_pieces(b"", 3) == b"\x81\x00"
    assert in_pieces(b"x" * 300, 2)[:4] == b"\x01\x7e\x00\x96"
    assert in_pieces(b"x" * 140_000, 2)[:10] == b"\x01\x7f" + (70_000).to_bytes(8, "big")


def test_cut_half_open_and_slow_reader(exchange: dict[str, str]) -> None:
    """Dropped and refused; alive in name only, then dropped; not listening, then answering what was said meanwhile."""

    async def scenario(client: Client) -> None:
        socket = await book_socket(client)
        await control(client, "fault", kind="cut", server="ws_public", for_s=60)
        with pytest.raises(TypeError):  # aiohttp gives a closed message, which is no text
            await raws_for(socket, 5)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await client.socket("ws_public")
        await control(client, "heal")

        socket = await book_socket(client)
        await control(client, "fault", kind="half-open", server="ws_public", for_s=2.0)
        await raws_for(socket, 0.2)
        await socket.send("ping", 7)
        begin = time.monotonic()
        with pytest.raises(TypeError):
            assert await raws_for(socket, 1.2) == [], "neither data nor a heartbeat nor the answer to a ping"
            await raws_for(socket, 5)
        assert time.monotonic() - begin > 1.2

        socket = await book_socket(client)
        await control(client, "fault", kind="slow-reader", server="ws_public", for_s=1.0)
        await socket.send("ping", 8)
        heard = await raws_for(socket, 0.7)
        assert heard and not any('"req_id":8' in raw for _, raw in heard), "it talks and does not listen"
        await socket.until(lambda m: m.get("req_id") == 8)

    play(exchange, scenario)


def test_rest_calls_fail_as_asked(exchange: dict[str, str]) -> None:
    """502 with or without the deed, no answer, an error, too many calls, a nonce: each so many times, of its endpoint."""

    async def scenario(client: Client) -> None:
        async def balance() -> Decimal:
            return Decimal((await client.private("Balance"))["result"]["ZUSD"])

        market = {"ordertype": "market", "type": "buy", "pair": "XBTUSD", "volume": "0.0004"}
        for executed in (True, False):
            before = await balance()
            await control(client, "fault", kind="http-error", endpoint="AddOrder", status=520, executed=executed)
            with pytest.raises(AssertionError):
                await client.private("AddOrder", **market)
            assert (await balance() < before) is executed
        await control(client, "fault", kind="rest-timeout", endpoint="Balance", for_s=0.3)
        begin = time.monotonic()
        with pytest.raises(aiohttp.ClientError):
            await balance()
        assert time.monotonic() - begin >= 0.3 - TIMER_STEP_S
        await control(client, "fault", kind="rest-error", error="EService:Busy")
        assert (await client.public("Time"))["error"] == ["EService:Busy"]
        await control(client, "fault", kind="rate-limit", count=2)
        assert [(await client.private("Balance"))["error"] for _ in range(3)] == [["EAPI:Rate limit exceeded"]] * 2 + [[]]
        await control(client, "fault", kind="nonce-error")
        assert (await client.private("Balance"))["error"] == ["EAPI:Invalid nonce"]
        assert (await client.private("Balance"))["error"] == []
        assert (await control(client, "faults"))["hits"]["http-error"] == 2

    play(exchange, scenario)


def test_tokens_clock_and_maintenance(exchange: dict[str, str]) -> None:
    """Tokens die; the account's clock is off and right again; the exchange leaves online, announced, and comes back."""

    async def scenario(client: Client) -> None:
        async def off_s() -> float:
            return float((await client.public("Time"))["result"]["unixtime"]) - time.time()

        socket, token = await private_socket(client)
        await control(client, "fault", kind="token-expiry")
        assert (await socket.ask("cancel_all", 2, token=token))["error"] == "EAPI:Invalid token"
        await control(client, "fault", kind="clock-skew", by_s=-90, for_s=0.5)
        assert await off_s() == pytest.approx(-90, abs=2)
        token = await client.token()
        deadline = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + 20))
        late = await socket.ask("add_order", 3, **BUY, limit_price=FAR, token=token, deadline=deadline)
        assert late["success"] is False, "20 s ahead is too far for a clock that is 90 s behind"
        await asyncio.sleep(0.6)
        assert await off_s() == pytest.approx(0, abs=2)
        public = await book_socket(client)
        await control(client, "fault", kind="maintenance", state="post_only", announced_s=0.5, for_s=1.0)
        said = [(await public.until(lambda m: m.get("channel") == "status"))["data"][0] for _ in range(4)]
        assert [entry["system"] for entry in said] == ["online", "post_only", "post_only", "online"]
        assert set(said[0]["upcoming_maintenance"][0]) == {"from", "to"} and said[3]["upcoming_maintenance"] == []
        await control(client, "fault", kind="maintenance", for_s=60)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
            await client.socket("ws_public")
        assert (await client.public("SystemStatus"))["result"]["status"] == "maintenance"
        await control(client, "heal")
        assert (await client.public("SystemStatus"))["result"]["status"] == "online"
        await book_socket(client)

    play(exchange, scenario)


def test_a_seed_gives_the_same_faults_of_every_kind() -> None:
    """A seed repeats, another differs, and all kinds come; each is one that a script may hold."""
    drawn = list(itertools.islice(seeded(7), 400))
    assert drawn == list(itertools.islice(seeded(7), 400)) != list(itertools.islice(seeded(8), 400))
    assert {type(fault) for fault in drawn} == set(get_args(AnyFault))
    assert [fault.at_s for fault in drawn] == sorted(fault.at_s for fault in drawn)
    assert [parse(msgspec.json.encode(fault)) for fault in drawn] == drawn


def test_a_script_plays_and_its_log_is_one(tmp_path: Path) -> None:
    """Faults come at their times, whatever the order of lines; what was done is kept as a script."""
    script = tmp_path / "script.jsonl"
    script.write_text('# two faults\n{"kind": "cut", "server": "ws_public", "at_s": 1.0}\n\n'
                      '{"kind": "rate-limit", "at_s": 0.0, "count": 1}\n')
    process, addresses = start_practice(tmp_path, "--faults", str(script))

    async def scenario(client: Client) -> None:
        assert (await client.public("Time"))["error"] == ["EAPI:Rate limit exceeded"]
        await asyncio.sleep(1.2)
        assert (await control(client, "faults"))["hits"] == {"rate-limit": 1, "cut": 1}

    try:
        play(addresses, scenario)
    finally:
        assert stop_practice(process) == 0
    kept = read_script(tmp_path / "faults.jsonl")
    assert [type(fault).__name__ for fault in kept] == ["RateLimit", "Cut"]
    assert [round(fault.at_s) for fault in kept] == [0, 1]


@pytest.mark.parametrize(("line", "wrong"), [
    ('{"kind": "drop"}', "server"), ('{"kind": "dance"}', "dance"), ('{"kind": "cut", "server": "rest"}', "rest"),
    ('{"kind": "delay", "server": "ws_public", "by_s": -1, "for_s": 1}', "by_s"), ('{"kind": "lost-ack", "often": 1}', "often"),
    ('{"kind": "drop", "server": "ws_public", "count": 0}', "count"), ("[1]", "array"), ("{", "truncated"),
    ('{"kind": "http-error", "status": 200}', "status"), ('{"kind": "cut", "server": "ws_public", "at_s": -1}', "at_s"),
])  # fmt: skip
def test_a_script_that_cannot_be_meant_is_refused(tmp_path: Path, line: str, wrong: str) -> None:
    """With the file, the line and what is wrong in it."""
    script = tmp_path / "script.jsonl"
    script.write_text(f'{{"kind": "token-expiry"}}\n{line}\n')
    with pytest.raises(UsageError, match=f"line 2: .*{wrong}"):
        read_script(script)


def test_bad_arguments_end_with_a_reason(tmp_path: Path) -> None:
    """A script that is not there, and both a script and a seed: exit 2, no traceback."""
    for words in (["--faults", str(tmp_path / "none.jsonl")], ["--faults", "x", "--fault-seed", "1"], ["--fault-seed", "x"]):
        done = subprocess.run([sys.executable, "-m", "cstd", "practice", "--run-dir", str(tmp_path), *words],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr and "fault" in done.stderr


def test_the_operator_is_told_of_open_orders_as_they_are(exchange: dict[str, str]) -> None:
    """From the acceptance of an order on and until its cancel, by client order id: side and status."""

    async def scenario(client: Client) -> None:
        assert await control(client, "open") == {}
        socket, token = await private_socket(client)
        await socket.ask("add_order", 2, **BUY, limit_price=FAR, cl_ord_id="watched", token=token)
        assert await control(client, "open") == {"watched": ["buy", "new"]}
        await socket.ask("cancel_order", 3, cl_ord_id=["watched"], token=token)
        assert await control(client, "open") == {}

    play(exchange, scenario)


def test_control_refuses_what_is_no_fault(exchange: dict[str, str]) -> None:
    """400 with the reason, and nothing begins."""

    async def scenario(client: Client) -> None:
        headers = {"API-Key": client.addresses["api_key"]}
        for verb, body in (("fault", {"kind": "drop"}), ("fault", {}), ("faults", {"seed": "7"}), ("faults", {"seed": True})):
            async with client.session.post(f"{client.addresses['rest']}/practice/{verb}", json=body, headers=headers) as reply:
                assert (reply.status, "error" in await reply.json()) == (400, True)

    play(exchange, scenario)
