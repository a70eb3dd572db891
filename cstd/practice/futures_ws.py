"""The futures feed: `info`, subscriptions of `ticker` and `heartbeat`.

The index of a perpetual is the mid of this exchange's own spot book of the same base, as others see it, and its mark is its
index. While a side of that book is empty there is no index, and nothing is told of the product.
"""

from __future__ import annotations

from decimal import Decimal

from aiohttp import WSMsgType, web

from cstd.practice.connections import Connection, WallClock
from cstd.practice.exchange import Exchange
from cstd.practice.market import Market
from cstd.practice.wire import dumps, loads, raw_decimal

FEEDS = ("ticker", "heartbeat")
HOUR_MS = 3_600_000
_RATE_PER_HOUR = Decimal("0.0000125")  # 0.00125 % an hour: a calm perpetual; the feed says so unchanged all the time


class FuturesServer:
    """Perpetuals `PF_<base>USD` of the spot instruments; BTC is called XBT here, as on Kraken."""

    def __init__(self, exchange: Exchange, clock: WallClock) -> None:
        self.exchange = exchange
        self.clock = clock
        self.products: dict[str, Market] = {}
        for market in exchange.markets.values():
            base = "XBT" if market.instrument.base == "BTC" else market.instrument.base
            self.products[f"PF_{base}USD"] = market
        self.connections: dict[int, Connection] = {}
        self._opened = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Run one connection from upgrade to close."""
        ws = web.WebSocketResponse(compress=False, autoping=True, timeout=1.0)
        await ws.prepare(request)
        self._opened += 1
        connection = Connection(ws, self._opened)
        self.connections[connection.number] = connection
        connection.send('{"event":"info","version":1}')
        try:
            async for message in ws:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    break
                self._receive(connection, message.data)
        finally:
            del self.connections[connection.number]
            await connection.stop()
        return ws

    def _receive(self, connection: Connection, text: str | bytes) -> None:
        try:
            request = loads(text)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict) or request.get("event") not in ("subscribe", "unsubscribe"):
            connection.send('{"event":"error","message":"Json Error"}')
            return
        feed, wanted = request.get("feed"), request.get("product_ids", [])
        if feed not in FEEDS:
            connection.send('{"event":"error","message":"Invalid feed"}')
            return
        if not isinstance(wanted, list) or (feed == "ticker" and (not wanted or any(p not in self.products for p in wanted))):
            connection.send('{"event":"error","message":"Invalid product id"}')
            return
        keys = [(feed, product) for product in wanted] if feed == "ticker" else [(feed,)]
        for key in keys:
            if request["event"] == "subscribe":
                connection.subscribed[key] = None
            else:
                connection.subscribed.pop(key, None)
        answer = {"event": f"{request['event']}d", "feed": feed}
        connection.send(dumps({**answer, "product_ids": wanted} if feed == "ticker" else answer))
        if request["event"] == "subscribe" and feed == "ticker":
            for product in wanted:
                self._tell(connection, product)

    def _tell(self, connection: Connection, product: str) -> None:
        """Send a product's ticker, if it has an index now."""
        book = self.products[product].published
        if book.bids.best_raw() is not None and book.asks.best_raw() is not None:
            connection.send(self._ticker_text(product))

    def _ticker_text(self, product: str) -> str:
        market = self.products[product]
        i, time_ms = market.instrument, self.clock() // 1_000_000
        next_ms = (time_ms // HOUR_MS + 1) * HOUR_MS
        scale = raw_decimal(1, i.price_precision)
        bid_raw, ask_raw = market.published.bids.best_raw() or 0, market.published.asks.best_raw() or 0
        bid_qty_raw, ask_qty_raw = market.published.bids.totals.get(bid_raw, 0), market.published.asks.totals.get(ask_raw, 0)
        mark = float((bid_raw + ask_raw) * scale / 2)
        day = market.candles.day(time_ms // 1000)
        volume = float(raw_decimal(day.qty_raw, i.qty_precision)) if day else 0.0
        self.exchange.readings.meet("funding_time_relative")
        return dumps(
            {
                "time": time_ms,
                "product_id": product,
                "funding_rate": float(_RATE_PER_HOUR) * mark,
                "funding_rate_prediction": float(_RATE_PER_HOUR) * mark,
                "relative_funding_rate": float(_RATE_PER_HOUR),
                "relative_funding_rate_prediction": float(_RATE_PER_HOUR),
                "next_funding_rate_time": next_ms - time_ms if self.exchange.readings.funding_time_relative else next_ms,
                "leverage": "50x",
                "premium": 0.0,
                "feed": "ticker",
                "bid": float(bid_raw * scale),
                "ask": float(ask_raw * scale),
                "bid_size": float(raw_decimal(bid_qty_raw, i.qty_precision)),
                "ask_size": float(raw_decimal(ask_qty_raw, i.qty_precision)),
                "volume": volume,
                "dtm": 0,
                "index": mark,
                "last": float(market.last_raw * scale),
                "change": 0.0,
                "suspended": False,
                "tag": "perpetual",
                "pair": f"{product[3:-3]}:USD",
                "openInterest": volume / 10,
                "markPrice": mark,
                "maturityTime": 0,
                "post_only": False,
                "volumeQuote": volume * mark,
            }
        )

    def beat(self) -> None:
        """Send tickers and heartbeats; called once a second."""
        for connection in list(self.connections.values()):
            for key in list(connection.subscribed):
                if key[0] == "heartbeat":
                    connection.send(f'{{"feed":"heartbeat","time":{self.clock() // 1_000_000}}}')
                else:
                    self._tell(connection, str(key[1]))

    async def close_all(self) -> None:
        """Close every connection; used at exit."""
        for connection in list(self.connections.values()):
            await connection.stop()
