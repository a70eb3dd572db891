"""Points where sources about Kraken disagree: each reading is a switch, and both sides of it are shown to work."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import aiohttp
import pytest
from practice_client import Client, Message, TextBook, dumps, run
from practice_world import START_NS, build_exchange, start_practice, stop_practice

from cstd.practice.app import main
from cstd.practice.matching import BUY, SELL, Resting
from cstd.practice.private_ws import parse_add
from cstd.practice.public_ws import BookWindow
from cstd.practice.readings import VALUES, Readings, value_text

# A limit on public REST would be met by the tests of what public REST says; it has a test of its own.
OTHER_SIDE = tuple(f"{name}={value_text(values[1])}" for name, values in VALUES.items() if name != "public_rest_limited")
GONE = "OAAAAA-AAAAA-AAAAAA"


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


def test_small_numbers_of_a_book_are_fixed_or_exponents() -> None:
    """A quantity below 0.0001 is printed with all its zeros or as 7e-08: the same value, and the same checksum."""
    frames = []
    for readings in (Readings(), Readings(small_numbers_as_exponents=True)):
        market = build_exchange(1, readings=readings).markets["BTC/USD"]
        levels = ((BUY, 633_900, 7), (BUY, 633_899, 5_100), (SELL, 633_950, 9_999), (SELL, 633_951, 10_000))
        for side, price_raw, qty_raw in levels:
            market.rest(Resting(side, price_raw, qty_raw))
        frames.append(BookWindow(market, 10, readings).snapshot(START_NS))
    fixed, exponents = frames
    assert [fixed.count(text) for text in ("0.00000007", "0.00005100", "0.00009999", "0.00010000")] == [1] * 4
    assert [exponents.count(text) for text in ("7e-08", "5.1e-05", "9.999e-05", "0.00010000")] == [1] * 4
    assert "e-" not in fixed
    assert json.loads(fixed, parse_float=Decimal) == json.loads(exponents, parse_float=Decimal)


def with_all_digits(raw: str) -> str:
    """A book frame of BTC/USD with its numbers printed in full, as a text book needs them."""
    message = json.loads(raw, parse_float=Decimal)
    for entry in message["data"]:
        for level in entry["bids"] + entry["asks"]:
            level["price"], level["qty"] = level["price"].quantize(Decimal("0.1")), level["qty"].quantize(Decimal("1e-8"))
    return dumps(message)


def test_book_updates_come_alone_or_in_pairs(reading: tuple[bool, dict[str, str]]) -> None:
    """One entry in `data` or two of the same instrument; each has its own checksum, right at its place; someone who joins
    in between gets a snapshot that goes on."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        for _ in range(3):
            socket, book, entries = await client.socket("ws_public"), TextBook(25), []
            await socket.send("subscribe", 1, channel="book", symbol=["BTC/USD"], depth=25)
            while book.checked < 40:
                raw = await socket.ws.receive_str(timeout=5)
                if raw.startswith('{"channel":"book"'):
                    book.apply(with_all_digits(raw))
                    entries.append(len(json.loads(raw)["data"]))
            assert entries[0] == 1
            assert set(entries[1:]) <= ({1, 2} if other else {1})
            assert (entries.count(2) > len(entries) // 2) is other

    with_client(addresses, scenario)


def test_a_held_update_leaves_when_the_market_is_quiet(tmp_path: Path) -> None:
    """With paired updates a single change reaches the client within a second or so, alone."""
    process, addresses = start_practice(tmp_path, "--reading", "book_updates_paired=true", "--rate", "0.1")

    async def scenario(client: Client) -> None:
        token = await client.token()
        public, private = await client.socket("ws_public"), await client.socket("ws_private")
        await public.send("subscribe", 1, channel="book", symbol=["BTC/USD"], depth=10)
        bids = (await public.until(lambda m: m.get("channel") == "book"))["data"][0]["bids"]
        await private.ask("add_order", 2, order_type="limit", side="buy", symbol="BTC/USD", order_qty=Decimal("0.0004"),
                          limit_price=bids[0]["price"] - Decimal("0.1"), token=token)
        update = await public.until(lambda m: m.get("channel") == "book" and m["type"] == "update", 4)
        assert len(update["data"]) == 1

    try:
        with_client(addresses, scenario)
    finally:
        assert stop_practice(process) == 0


def test_symbols_in_one_subscription(reading: tuple[bool, dict[str, str]]) -> None:
    """Any number of symbols in one request, or fifty at most: the whole request is refused then."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        socket = await client.socket("ws_public")
        await socket.send("subscribe", 1, channel="trade", symbol=["BTC/USD"] + ["XX/USD"] * 50)
        reply = await socket.until(lambda m: m.get("req_id") == 1)
        assert (reply.get("error") == "Exceeded the number of symbols in a subscription") is other
        fifty = await socket.ask("subscribe", 2, channel="ticker", symbol=["BTC/USD"] + ["XX/USD"] * 49)
        assert fifty.get("error") != "Exceeded the number of symbols in a subscription"

    with_client(addresses, scenario)


def test_events_of_an_order_are_sparse_or_whole(reading: tuple[bool, dict[str, str]]) -> None:
    """`new` and `canceled` say what has changed, or all that there is to say of the order."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        token = await client.token()
        socket = await client.socket("ws_private")
        await socket.ask("subscribe", 1, channel="executions", token=token)
        await socket.send("add_order", 2, **limit_order(token))
        new = await socket.execution("new")
        assert ({"symbol", "side", "order_qty", "limit_price", "cum_qty"} <= new.keys()) is other
        await socket.send("cancel_order", 3, order_id=[new["order_id"]], token=token)
        assert ("symbol" in await socket.execution("canceled")) is other

    with_client(addresses, scenario)


def limit_order(token: str, **more: object) -> Message:
    """Params of a buy far below the market."""
    return {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": Decimal("0.0004"),
            "limit_price": Decimal("30000.0"), "token": token, **more}


def test_trades_print_small_quantities_either_way(reading: tuple[bool, dict[str, str]]) -> None:
    """The smallest order that the venue takes is a trade of 0.00005000 or of 5e-05."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        token = await client.token()
        public, private = await client.socket("ws_public"), await client.socket("ws_private")
        await public.send("subscribe", 1, channel="trade", symbol=["BTC/USD"])
        await public.until(lambda m: m.get("req_id") == 1)
        reply = await private.ask("add_order", 2, order_type="market", side="buy", symbol="BTC/USD",
                                  order_qty=Decimal("0.00005"), token=token)
        assert reply["success"]
        async with asyncio.timeout(10):
            while '"qty":5' not in (raw := await public.ws.receive_str()) and '"qty":0.00005000,' not in raw:
                pass
        assert ('"qty":5e-05,' in raw) is other

    with_client(addresses, scenario)


def test_alphabet_of_client_ids(reading: tuple[bool, dict[str, str]]) -> None:
    """Upper case is refused or taken, marks are taken or refused; letters, digits and UUIDs are always taken, the rest never."""
    other, addresses = reading
    taken = {"abc1": True, "ABC1": other, "a_1": not other, "a-1": not other, "a.1": False, "a" * 19: False, "": False,
             "6d1b345e-2821-40e2-ad83-4ecb18a06876": True, "6D1B345E-2821-40E2-AD83-4ECB18A06876": other}

    async def scenario(client: Client) -> None:
        token = await client.token()
        private = await client.socket("ws_private")
        for number, (text, expected) in enumerate(taken.items()):
            reply = await private.ask("add_order", number, **limit_order(token, cl_ord_id=text, validate=True))
            assert reply["success"] is expected, text
            assert expected or reply["error"] == "EGeneral:Invalid arguments:cl_ord_id"
            if text:
                by_rest = await client.private("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume="0.0004",
                                               price="30000", cl_ord_id=text, validate="true")
                assert (not by_rest["error"]) is expected, text

    with_client(addresses, scenario)


def test_numbers_of_a_request_with_an_exponent(reading: tuple[bool, dict[str, str]]) -> None:
    """A quantity as 4e-04 is taken or refused by its name; as 0.0004 it is always taken."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        token = await client.token()
        private = await client.socket("ws_private")
        for number, (text, taken) in enumerate((("0.0004", True), ("4e-04", not other), ("4E-04", not other)), 1):
            params = dumps(limit_order(token)).replace("0.0004", text)
            await private.ws.send_str(f'{{"method":"add_order","req_id":{number},"params":{params}}}')
            reply = await private.until(lambda m, number=number: m.get("req_id") == number)
            assert (reply["success"], reply.get("error")) == (taken, None if taken else "EGeneral:Invalid arguments:order_qty")

    with_client(addresses, scenario)


def test_letter_case_of_time_in_force(reading: tuple[bool, dict[str, str]]) -> None:
    """Both cases are taken, or only lower by websocket and upper by REST."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        token = await client.token()
        private = await client.socket("ws_private")
        for word in ("ioc", "IOC", "Ioc"):
            reply = await private.ask("add_order", 1, **limit_order(token, time_in_force=word, validate=True))
            assert reply["success"] is (not other or word == "ioc"), word
            by_rest = await client.private("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume="0.0004",
                                           price="30000", timeinforce=word, validate="true")
            assert (not by_rest["error"]) is (not other or word == "IOC"), word

    with_client(addresses, scenario)


def test_amend_without_quantity(reading: tuple[bool, dict[str, str]]) -> None:
    """order_qty of an amend may be left out, or the request is refused and the order stays as it was."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        token = await client.token()
        private = await client.socket("ws_private")
        order_id = (await private.ask("add_order", 1, **limit_order(token)))["result"]["order_id"]
        amend = {"order_id": order_id, "limit_price": Decimal("29999.0"), "token": token}
        bare = await private.ask("amend_order", 2, **amend)
        assert bare["success"] is not other
        assert not other or bare["error"] == "EGeneral:Invalid arguments:order_qty"
        row = (await client.private("OpenOrders"))["result"]["open"][order_id]
        assert row["descr"]["price"] == ("30000.0" if other else "29999.0")
        assert (await private.ask("amend_order", 3, order_qty=Decimal("0.0003"), **amend))["success"]
        assert (await private.ask("cancel_order", 4, order_id=[order_id], token=token))["success"]

    with_client(addresses, scenario)


def test_shape_of_a_batch_that_fails_in_part(reading: tuple[bool, dict[str, str]]) -> None:
    """Where one order of a batch is refused the rows come as an array, or in `orders` with a success each."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        token = await client.token()
        private = await client.socket("ws_private")
        rows = [{k: v for k, v in limit_order(token, order_qty=Decimal(qty)).items() if k not in ("symbol", "token")}
                for qty in ("0.0004", "100")]
        result = (await private.ask("batch_add", 1, symbol="BTC/USD", token=token, orders=rows))["result"]
        good, bad = result["orders"] if other else result
        assert good["order_id"]
        assert bad["error"] == "EOrder:Insufficient funds"
        assert [row.get("success") for row in (good, bad)] == ([True, False] if other else [None, None])
        whole = (await private.ask("batch_add", 2, symbol="BTC/USD", token=token, orders=[rows[0]] * 2))["result"]
        ids = [good["order_id"], *(row["order_id"] for row in whole)]
        assert (await private.ask("batch_cancel", 3, orders=ids, token=token))["result"] == {"count": 3}

    with_client(addresses, scenario)


def test_what_rest_says_of_orders_fees_and_rights(reading: tuple[bool, dict[str, str]]) -> None:
    """How many orders may be asked for at once, what is said of one that is gone, names of fee fields, tables of fees, rights."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        for count, refused in ((20, False), (21, other), (50, other), (51, True)):
            reply = await client.private("QueryOrders", txid=",".join([GONE] * count))
            assert reply["error"] == ["EOrder:Invalid order" if refused else "EOrder:Unknown order"], count
        placed = await client.private("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume="0.0004", price="30000")
        (txid,) = placed["result"]["txid"]
        cancels = [(await client.private("CancelOrder", txid=txid))["error"] for _ in range(2)]
        assert cancels == [[], ["EOrder:Invalid order" if other else "EOrder:Unknown order"]]
        fees = (await client.private("TradeVolume", pair="XBTUSD"))["result"]["fees_maker"]["XXBTZUSD"]
        names = {"min_fee", "max_fee", "next_fee", "next_volume", "tier_volume"}
        assert set(fees) == {"fee"} | (names if other else {name.replace("_", "") for name in names})
        pair = (await client.public("AssetPairs", pair="XBTUSD"))["result"]["XXBTZUSD"]
        assert (pair["fees"][:2], pair["fees_maker"][:2]) == (
            ([[0, 0.4], [10000, 0.35]], [[0, 0.25], [10000, 0.2]]) if other else ([], []))
        rights = (await client.private("GetApiKeyInfo"))["result"]["permissions"]
        assert isinstance(rights, dict if other else list)
        assert (rights["query-funds"] is True) if other else ("query-funds" in rights)

    with_client(addresses, scenario)


def test_time_of_the_next_funding(reading: tuple[bool, dict[str, str]]) -> None:
    """Milliseconds since the epoch, on the hour, or milliseconds from now."""
    other, addresses = reading

    async def scenario(client: Client) -> None:
        socket = await client.socket("ws_futures")
        await socket.ws.send_str('{"event":"subscribe","feed":"ticker","product_ids":["PF_XBTUSD"]}')
        ticker = await socket.until(lambda m: m.get("feed") == "ticker" and "time" in m)
        due_ms = ticker["next_funding_rate_time"] + (ticker["time"] if other else 0)
        assert due_ms % 3_600_000 == 0
        assert 0 < due_ms - ticker["time"] <= 3_600_000

    with_client(addresses, scenario)


@pytest.mark.parametrize("other", [False, True])
def test_limits_of_rest(tmp_path: Path, *, other: bool) -> None:
    """ClosedOrders costs one point of the starter's fifteen or two; public calls are free or one a second after two at once."""
    words = ("closed_orders_cost=2", "public_rest_limited=true") if other else ()
    process, addresses = start_practice(tmp_path, "--tier", "starter", *(w for text in words for w in ("--reading", text)))

    async def scenario(client: Client) -> None:
        answered = 0
        while not (reply := await client.private("ClosedOrders"))["error"]:
            answered += 1
        assert reply["error"] == ["EAPI:Rate limit exceeded"]
        assert (answered in (7, 8)) is other  # a point or so decays meanwhile
        assert (answered in (15, 16)) is not other
        errors = [(await client.public("Time"))["error"] for _ in range(6)]
        assert errors[:2] == [[], []]
        assert (errors[-1] == ["EGeneral:Too many requests"]) is other
        await asyncio.sleep(1.1)
        assert (await client.public("Time"))["error"] == []

    try:
        with_client(addresses, scenario)
    finally:
        assert stop_practice(process) == 0


@pytest.mark.parametrize("text", ["nonsense=1", "", "query_orders_max", "query_orders_max=30", "heartbeat_always=1",
                                  "rate_count_field=count", "sell_fee_in_base=True"])
def test_a_wrong_reading_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """What is no reading, and what a reading cannot be, ends with exit code 2 and what there is instead."""
    assert main(["--run-dir", str(tmp_path), "--reading", text]) == 2
    told = capsys.readouterr().err
    name = text.partition("=")[0]
    wanted = [value_text(value) for value in VALUES[name]] if name in VALUES else list(VALUES)
    assert "--reading" in told and all(word in told for word in wanted)
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_help_lists_every_reading(capsys: pytest.CaptureFixture[str]) -> None:
    """--help names each reading with its values, the default first; the default is what the exchange takes."""
    assert main(["--help"]) == 0
    told = "".join(capsys.readouterr().out.split())
    for name, values in VALUES.items():
        assert f"{name}={'|'.join(map(value_text, values))}" in told
        assert getattr(Readings(), name) == values[0]


def test_control_renames_an_instrument_and_opens_margin_positions(tmp_path: Path) -> None:
    """Under the old name nothing is said or taken any more, the new one has book, lists and money; margin positions are shown."""
    process, addresses = start_practice(tmp_path)

    async def control(client: Client, verb: str, **body: object) -> int:
        headers = {"API-Key": addresses["api_key"]}
        async with client.session.post(f"{addresses['rest']}/practice/{verb}", json=body, headers=headers) as reply:
            return int(reply.status)

    async def scenario(client: Client) -> None:
        public, private = await client.socket("ws_public"), await client.socket("ws_private")
        await public.send("subscribe", 1, channel="instrument", snapshot=False)
        await public.ask("subscribe", 2, channel="book", symbol=["BTC/USD"], depth=10)
        held = (await client.private("BalanceEx"))["result"]["XXBT"]["balance"]
        assert [await control(client, "rename", symbol="BTC/USD", base=base) for base in ("ETH", "nbt", 1)] == [400] * 3
        assert await control(client, "rename", symbol="XYZ/USD", base="NBT") == 400
        assert await control(client, "rename", symbol="BTC/USD", base="NBT") == 200
        update = await public.until(lambda m: m.get("channel") == "instrument")
        told = {pair["symbol"]: pair["status"] for pair in update["data"]["pairs"]}
        assert (told["BTC/USD"], told["NBT/USD"]) == ("delisted", "online")
        refused = await public.ask("subscribe", 3, channel="book", symbol=["BTC/USD"], depth=25)
        assert refused["error"] == "Currency pair not supported BTC/USD"
        assert (await public.ask("subscribe", 4, channel="book", symbol=["NBT/USD"], depth=10))["success"] is True
        frame = await public.until(lambda m: m.get("channel") == "book" and m["type"] == "update")
        assert frame["data"][0]["symbol"] == "NBT/USD"
        balances = (await client.private("BalanceEx"))["result"]
        assert balances["NBT"]["balance"] == held and "XXBT" not in balances
        order = {"order_type": "market", "side": "buy", "order_qty": Decimal("0.0004"), "token": await client.token()}
        assert (await private.ask("add_order", 5, symbol="BTC/USD", **order))["error"] == "EQuery:Unknown asset pair"
        assert (await private.ask("add_order", 6, symbol="NBT/USD", **order))["success"] is True
        assert [await control(client, "margin", symbol="NBT/USD", volume=volume) for volume in ("-1", "x", "NaN")] == [400] * 3
        assert await control(client, "margin", symbol="NBT/USD", volume="0.1") == 200
        (position,) = (await client.private("OpenPositions"))["result"].values()
        assert (position["pair"], position["type"], position["vol"]) == ("NBTUSD", "buy", "0.10000000")
        assert await control(client, "margin", symbol="NBT/USD", volume="0") == 200
        assert (await client.private("OpenPositions"))["result"] == {}

    try:
        with_client(addresses, scenario)
    finally:
        assert stop_practice(process) == 0


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
