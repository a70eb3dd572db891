"""A stranger: ccxt.pro, unchanged but for its endpoints, reads markets and trades on the practice exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from ccxt import pro as ccxt
from practice_client import run

pytestmark = [pytest.mark.stranger, pytest.mark.filterwarnings("ignore")]
Scenario = Callable[[Any], Awaitable[None]]


def with_ccxt(practice: dict[str, str], scenario: Scenario) -> None:
    """Run a scenario with ccxt's kraken pointed at the practice exchange."""

    async def whole() -> None:
        kraken = ccxt.kraken({"apiKey": practice["api_key"], "secret": practice["api_secret"], "enableRateLimit": False})
        kraken.urls["api"] = {
            **kraken.urls["api"],
            "public": practice["rest"],
            "private": practice["rest"],
            "ws": {
                "public": practice["ws_public"],
                "publicV2": practice["ws_public"],
                "private": practice["ws_private"],
                "privateV2": practice["ws_private"],
            },
        }
        try:
            await kraken.load_markets()
            await scenario(kraken)
        finally:
            await kraken.close()

    run(whole(), timeout_s=40)


async def until(get: Callable[[], Awaitable[list[dict[str, Any]]]], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return the first watched row that is wanted."""
    async with asyncio.timeout(15):
        while True:
            for row in await get():
                if wanted(row):
                    return row


def test_ccxt_reads_the_market(practice: dict[str, str]) -> None:
    """Markets, books, trades, tickers and candles arrive by REST and websocket and agree with one another."""

    async def scenario(kraken: Any) -> None:
        market = kraken.market("BTC/USD")
        assert market["precision"]["price"] == 0.1
        assert market["limits"]["amount"]["min"] == 0.00005
        book = await kraken.watch_order_book("BTC/USD", 10)
        for _ in range(5):
            book = await kraken.watch_order_book("BTC/USD", 10)
        assert book["bids"][0][0] < book["asks"][0][0]
        rest_book = await kraken.fetch_order_book("BTC/USD", 10)
        assert abs(rest_book["bids"][0][0] / book["bids"][0][0] - 1) < 0.001
        trade = (await kraken.watch_trades("BTC/USD"))[-1]
        ticker = await kraken.watch_ticker("BTC/USD")
        assert ticker["low"] <= trade["price"] <= ticker["high"]
        candles = await kraken.watch_ohlcv("BTC/USD", "1m")
        assert candles[-1][4] == pytest.approx(trade["price"], rel=0.01)
        assert len(await kraken.fetch_ohlcv("BTC/USD", "5m")) > 700
        assert (await kraken.fetch_trading_fee("BTC/USD"))["maker"] == 0.0025

    with_ccxt(practice, scenario)


def test_ccxt_places_amends_and_cancels_by_websocket(practice: dict[str, str]) -> None:
    """An order is placed, amended and canceled over the socket, and watch_orders sees each step."""

    async def scenario(kraken: Any) -> None:
        bid = (await kraken.fetch_ticker("BTC/USD"))["bid"]
        watching = asyncio.create_task(kraken.watch_orders())
        await asyncio.sleep(0.5)
        order = await kraken.create_order_ws("BTC/USD", "limit", "buy", 0.0004, bid - 500, {"postOnly": True})
        seen = (await watching)[-1]
        assert seen["id"] == order["id"]
        amended = await kraken.edit_order_ws(order["id"], "BTC/USD", "limit", "buy", 0.0005, bid - 501)
        assert amended["id"] == order["id"]
        open_orders = await kraken.fetch_open_orders("BTC/USD")
        assert [(o["id"], o["amount"]) for o in open_orders] == [(order["id"], 0.0005)]
        await kraken.cancel_order_ws(order["id"])
        assert await kraken.fetch_open_orders("BTC/USD") == []
        assert (await kraken.fetch_order(order["id"]))["status"] == "canceled"

    with_ccxt(practice, scenario)


def test_ccxt_reads_its_fills_and_balances(practice: dict[str, str]) -> None:
    """A taker's fill comes over watch_my_trades, stands in the history by REST, and moves the balance it watches."""

    async def scenario(kraken: Any) -> None:
        before = (await kraken.fetch_balance())["BTC"]["total"]
        fills = asyncio.create_task(kraken.watch_my_trades("BTC/USD"))
        await asyncio.sleep(0.5)
        order = await kraken.create_order("BTC/USD", "market", "buy", 0.0004)
        fill = (await fills)[-1]
        assert fill["order"] == order["id"]
        assert 0 < fill["amount"] <= 0.0004  # a market order may meet several levels
        assert fill["fee"]["currency"] == "USD"
        history = await kraken.fetch_my_trades("BTC/USD")
        mine = [t for t in history if t["order"] == order["id"]]
        assert sum(t["amount"] for t in mine) == pytest.approx(0.0004)
        assert fill["id"] in {t["id"] for t in mine}
        after = (await kraken.fetch_balance())["BTC"]["total"]
        assert after - before == pytest.approx(0.0004, abs=1e-12)
        watched = await kraken.watch_balance()
        assert watched["BTC"]["total"] == pytest.approx(after)

    with_ccxt(practice, scenario)


def test_ccxt_maps_refusals_to_its_own_errors(practice: dict[str, str]) -> None:
    """ccxt recognises the exchange's refusals: funds, minimum, unknown order."""

    async def scenario(kraken: Any) -> None:
        with pytest.raises(ccxt.InsufficientFunds):
            await kraken.create_order("BTC/USD", "limit", "buy", 5, 50_000)
        with pytest.raises(ccxt.InvalidOrder):
            await kraken.create_order("BTC/USD", "limit", "buy", 0.00001, 50_000)
        with pytest.raises(ccxt.OrderNotFound):
            order = await kraken.create_order("BTC/USD", "limit", "buy", 0.0004, 50_000)
            await kraken.cancel_order(order["id"])
            await kraken.cancel_order(order["id"])

    with_ccxt(practice, scenario)


def test_ccxt_reads_the_futures_feed(practice: dict[str, str]) -> None:
    """ccxt.pro's krakenfutures subscribes to a perpetual and reads prices, index and open interest of it."""

    async def scenario() -> None:
        futures = ccxt.krakenfutures({"enableRateLimit": False})
        futures.urls["api"] = {**futures.urls["api"], "ws": practice["ws_futures"]}
        futures.set_markets([futures.safe_market_structure({
            "id": "PF_XBTUSD", "symbol": "BTC/USD:USD", "base": "BTC", "quote": "USD", "settle": "USD", "baseId": "BTC",
            "quoteId": "USD", "settleId": "USD", "type": "swap", "swap": True, "spot": False, "contract": True, "linear": True,
            "contractSize": 1.0, "active": True})])
        try:
            for _ in range(2):
                ticker = await futures.watch_ticker("BTC/USD:USD")
            assert ticker["bid"] < ticker["indexPrice"] < ticker["ask"] and ticker["markPrice"] == ticker["indexPrice"]
            assert ticker["info"]["relative_funding_rate"] == 0.0000125 and float(ticker["info"]["openInterest"]) > 0
        finally:
            await futures.close()

    run(scenario(), timeout_s=40)
