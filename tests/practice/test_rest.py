"""REST on the wire: signature, nonce, counters, names, forms and JSON, the same account as the websocket."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from practice_client import Client, nonce, run, sign
from practice_world import START_NS, build_exchange

from cstd.practice.auth import signature
from cstd.practice.rest import parse_form
from cstd.practice.wire import NS_PER_S

D = Decimal
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25",
            "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==",
        ),
        (
            '{"nonce":"1616492376594","ordertype":"limit","pair":"XBTUSD","price":37500,"type":"buy","volume":1.25}',
            "BVT3EumzzXSJHlvrinSwICz5uKKlSZPXL9cJIuKqn7ZMhHSbbtXhGdvwoDBmRz6ALXI+GVxFD0ZlGuOmfi2bxA==",
        ),
    ],
)
def test_signature_is_krakens_published_vector(body: str, expected: str) -> None:
    """The signature the exchange expects equals the published one."""
    assert signature("/0/private/AddOrder", "1616492376594", body.encode(), SECRET) == expected


def test_form_arrays_become_lists() -> None:
    """Indexed and empty brackets are lists, named ones dictionaries."""
    parsed = parse_form("a=1&o[0][x]=2&o[1][x]=3&c[]=4&c[]=5&close[price]=6")
    assert parsed == {"a": "1", "o": [{"x": "2"}, {"x": "3"}], "c": ["4", "5"], "close": {"price": "6"}}


def test_authentication_refusals(practice: dict[str, str]) -> None:
    """A wrong key, a wrong signature and a nonce that does not rise are each refused by name; a business error is HTTP 200."""

    async def scenario() -> None:
        async with Client(practice) as client:
            assert (await client.private("Balance", _headers={"API-Key": "no"}))["error"] == ["EAPI:Invalid key"]
            assert (await client.private("Balance", _headers={"API-Sign": "bm8="}))["error"] == ["EAPI:Invalid signature"]
            used = nonce()
            body = f"nonce={used}"
            headers = {
                "API-Key": practice["api_key"],
                "API-Sign": sign("/0/private/Balance", str(used), body, practice["api_secret"]),
                "Content-Type": "application/x-www-form-urlencoded",
            }
            errors = []
            for _ in range(2):
                async with client.session.post(f"{practice['rest']}/0/private/Balance", data=body, headers=headers) as reply:
                    assert reply.status == 200
                    errors.append((await reply.json())["error"])
            assert errors == [[], ["EAPI:Invalid nonce"]]
            assert (await client.private("Nothing"))["error"] == ["EGeneral:Unknown method"]

    run(scenario())


def test_public_endpoints(practice: dict[str, str]) -> None:
    """Every public endpoint answers in Kraken's shape; keys follow the way the pair was named."""

    async def scenario() -> None:
        async with Client(practice) as client:
            assert (await client.public("Time"))["result"]["unixtime"] > 10**9
            assert (await client.public("SystemStatus"))["result"]["status"] == "online"
            assert (await client.public("Assets"))["result"]["XXBT"]["altname"] == "XBT"
            pairs = (await client.public("AssetPairs"))["result"]
            assert pairs["XXBTZUSD"]["ordermin"] == "0.00005"
            assert pairs["XXBTZUSD"]["tick_size"] == "0.1"
            assert list((await client.public("Ticker", pair="XBTUSD"))["result"]) == ["XXBTZUSD"]
            assert list((await client.public("Ticker", pair="BTC/USD"))["result"]) == ["BTC/USD"]
            assert (await client.public("Ticker", pair="XBT/USD"))["error"] == ["EQuery:Unknown asset pair"]
            rows = (await client.public("OHLC", pair="BTC/USD", interval=5))["result"]
            assert len(rows["BTC/USD"]) == 720
            assert rows["last"] == rows["BTC/USD"][-2][0]
            depth = (await client.public("Depth", pair="BTC/USD", count=7))["result"]["BTC/USD"]
            assert len(depth["bids"]) == len(depth["asks"]) == 7
            assert D(depth["bids"][0][0]) < D(depth["asks"][0][0])
            trades = (await client.public("Trades", pair="BTC/USD", count=3))["result"]
            await asyncio.sleep(0.5)
            later = (await client.public("Trades", pair="BTC/USD", since=trades["last"]))["result"]
            first, second = ([r[6] for r in t["BTC/USD"]] for t in (trades, later))
            assert not set(first) & set(second)

    run(scenario())


@pytest.mark.parametrize("as_json", [False, True])
def test_order_by_rest(practice: dict[str, str], as_json: bool) -> None:
    """An order is placed, found, amended, canceled and remembered by REST, with form or JSON bodies."""

    async def scenario() -> None:
        async with Client(practice) as client:
            name = f"rest-{as_json}".lower()
            depth = (await client.public("Depth", pair="BTC/USD", count=1))["result"]["BTC/USD"]
            price = D(depth["bids"][0][0]) - 500
            placed = await client.private(
                "AddOrder", as_json, pair="XBTUSD", type="buy", ordertype="limit", volume="0.0004", price=str(price),
                oflags="post", cl_ord_id=name,
            )  # fmt: skip
            assert placed["error"] == []
            txid = placed["result"]["txid"][0]
            assert placed["result"]["descr"]["order"] == f"buy 0.00040000 XBTUSD @ limit {price}"
            found = (await client.private("OpenOrders", as_json, cl_ord_id=name))["result"]["open"]
            assert found[txid]["status"] == "open"
            held = (await client.private("BalanceEx", as_json))["result"]["ZUSD"]["hold_trade"]
            assert D(held) >= D("0.0004") * price
            amended = await client.private(
                "AmendOrder", as_json, cl_ord_id=name, order_qty="0.0005", limit_price=str(price - 1)
            )
            assert amended["result"]["amend_id"]
            again = await client.private("CancelOrder", as_json, txid=txid)
            assert again["result"]["count"] == 1
            assert (await client.private("CancelOrder", as_json, txid=txid))["error"] == ["EOrder:Unknown order"]
            closed = (await client.private("QueryOrders", as_json, txid=txid, trades=True))["result"][txid]
            assert (closed["status"], closed["vol"], closed["cl_ord_id"]) == ("canceled", "0.00050000", name)
            assert txid in (await client.private("ClosedOrders", as_json, cl_ord_id=name))["result"]["closed"]

    run(scenario())


def test_rest_counter_refuses_and_recovers() -> None:
    """The REST counter fills at its tier's maximum and decays."""
    exchange = build_exchange(tier="starter")
    assert all(exchange.rest_counter.charge(1, START_NS) for _ in range(15))
    assert not exchange.rest_counter.charge(1, START_NS)
    assert exchange.rest_counter.charge(1, START_NS + 4 * NS_PER_S)


def test_token_lives_900_seconds_unless_held() -> None:
    """A token dies at 900 s, not before; an open private subscription keeps it."""
    credentials = build_exchange().credentials
    credentials.add_token("t", START_NS)
    assert credentials.token_valid("t", START_NS + 900 * NS_PER_S - 1)
    assert not credentials.token_valid("t", START_NS + 900 * NS_PER_S)
    credentials.hold_token("t", 1)
    assert credentials.token_valid("t", START_NS + 10_000 * NS_PER_S)
    credentials.release_tokens(1)
    assert not credentials.token_valid("t", START_NS + 10_000 * NS_PER_S)


def test_reports_of_the_account(practice: dict[str, str]) -> None:
    """Fees, ledgers, key rights and positions answer in Kraken's shape."""

    async def scenario() -> None:
        await asyncio.sleep(3)  # the REST counter of the tests before decays one point a second
        async with Client(practice) as client:
            volume = (await client.private("TradeVolume", pair="XBTUSD"))["result"]
            assert (volume["fees"]["XXBTZUSD"]["fee"], volume["fees_maker"]["XXBTZUSD"]["fee"]) == ("0.4000", "0.2500")
            assert (await client.private("OpenPositions"))["result"] == {}
            info = (await client.private("GetApiKeyInfo"))["result"]
            assert "access-websockets" in info["permissions"]
            assert not any("withdraw" in p for p in info["permissions"])
            await client.private("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.0001", cl_ord_id="ledger")
            ledger = (await client.private("Ledgers"))["result"]["ledger"]
            latest = list(ledger.values())[:2]
            assert {row["asset"] for row in latest} == {"XXBT", "ZUSD"}
            assert latest[0]["refid"] == latest[1]["refid"]
            batch = await client.private(
                "AddOrderBatch", True, pair="XBTUSD",
                orders=[
                    {"type": "buy", "ordertype": "limit", "volume": "0.0001", "price": "30000"},
                    {"type": "buy", "ordertype": "limit", "volume": "5", "price": "30000"},
                ],
            )  # fmt: skip
            assert "txid" in batch["result"]["orders"][0]
            assert batch["result"]["orders"][1] == {"error": "EOrder:Insufficient funds"}
            assert (await client.private("CancelAll"))["result"]["count"] == 1
            after = (await client.private("CancelAllOrdersAfter", timeout=60))["result"]
            assert after["triggerTime"] > after["currentTime"]
            assert (await client.private("CancelAllOrdersAfter", timeout=0))["error"] == []

    run(scenario())
