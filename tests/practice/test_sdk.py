"""A stranger: python-kraken-sdk, unchanged but for its endpoints, reads markets and trades on the practice exchange."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from kraken import spot
from practice_client import run

pytestmark = [pytest.mark.stranger, pytest.mark.filterwarnings("ignore")]


class Heard:
    """Collects what the SDK's callback receives."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    async def __call__(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self._news.set()

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first message, past or coming, that is wanted."""
        async with asyncio.timeout(15):
            while True:
                for message in list(self.messages):
                    if wanted(message):
                        return message
                self._news.clear()
                await self._news.wait()

    async def execution(self, exec_type: str) -> dict[str, Any]:
        """Return the first execution event of a type."""
        message = await self.until(
            lambda m: m.get("channel") == "executions" and any(r.get("exec_type") == exec_type for r in m["data"])
        )
        return next(r for r in message["data"] if r["exec_type"] == exec_type)


def test_sdk_trades_over_websocket(practice: dict[str, str]) -> None:
    """SpotWSClient subscribes to book and executions, places, amends, cancels, and reads a fill."""

    async def scenario() -> None:
        heard = Heard()
        base = {name: practice[name].removesuffix("/v2") for name in ("ws_public", "ws_private")}
        client = spot.SpotWSClient(
            key=practice["api_key"],
            secret=practice["api_secret"],
            callback=heard,
            rest_url=practice["rest"],
            ws_url=base["ws_public"],
            auth_ws_url=base["ws_private"],
        )
        await client.start()
        try:
            await client.subscribe(params={"channel": "book", "symbol": ["BTC/USD"], "depth": 25})
            await client.subscribe(params={"channel": "executions"})
            await heard.until(lambda m: m.get("channel") == "executions" and m.get("type") == "snapshot")
            book = await heard.until(lambda m: m.get("channel") == "book" and m.get("type") == "snapshot")
            bid, ask = (book["data"][0][side][0]["price"] for side in ("bids", "asks"))
            order = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": 0.0004}
            resting = {**order, "limit_price": round(bid - 500, 1), "post_only": True, "cl_ord_id": "sdk1"}
            await client.send_message({"method": "add_order", "params": resting})
            placed = await heard.until(lambda m: m.get("method") == "add_order")
            assert placed["success"], placed
            amend = {"cl_ord_id": "sdk1", "order_qty": 0.0005, "limit_price": round(bid - 501, 1)}
            await client.send_message({"method": "amend_order", "params": amend})
            assert (await heard.execution("amended"))["order_id"] == placed["result"]["order_id"]
            await client.send_message({"method": "cancel_order", "params": {"cl_ord_id": ["sdk1"]}})
            assert (await heard.execution("canceled"))["order_id"] == placed["result"]["order_id"]
            taker = {**order, "limit_price": round(ask + 50, 1), "time_in_force": "ioc"}
            await client.send_message({"method": "add_order", "params": taker})
            fill = await heard.execution("trade")
            assert fill["liquidity_ind"] == "t"
            assert (await heard.execution("filled"))["cum_qty"] == 0.0004
        finally:
            await client.close()
            await client.async_close()

    run(scenario(), timeout_s=40)


def test_sdk_reads_and_trades_by_rest(practice: dict[str, str]) -> None:
    """Market, Trade and User work against the REST port."""
    keys = {"key": practice["api_key"], "secret": practice["api_secret"], "url": practice["rest"]}
    market, trade, user = spot.Market(url=practice["rest"]), spot.Trade(**keys), spot.User(**keys)
    assert "XXBTZUSD" in market.get_asset_pairs()
    assert len(market.get_ohlc(pair="XBTUSD")["XXBTZUSD"]) == 720
    bid = float(market.get_ticker(pair="XBTUSD")["XXBTZUSD"]["b"][0])
    placed = trade.create_order(
        ordertype="limit",
        side="buy",
        pair="XBTUSD",
        volume=0.0004,
        price=round(bid - 500, 1),
        oflags=["post"],
    )
    txid = placed["txid"][0]
    assert txid in user.get_open_orders()["open"]
    assert trade.amend_order(extra_params={"txid": txid, "order_qty": "0.0005"})["amend_id"]
    assert trade.cancel_order(txid=txid)["count"] == 1
    assert user.get_orders_info(txid=txid)[txid]["status"] == "canceled"
    before = float(user.get_account_balance()["XXBT"])
    trade.create_order(ordertype="market", side="buy", pair="XBTUSD", volume=0.0004)
    assert float(user.get_account_balance()["XXBT"]) == pytest.approx(before + 0.0004)
    fills = user.get_trades_history()["trades"]
    assert next(iter(fills.values()))["pair"] == "XXBTZUSD"
