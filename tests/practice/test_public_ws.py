"""The public websocket on the wire: acknowledgements, refusals, books with checksums, trades, tickers, candles."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from practice_client import Client, TextBook, run
from practice_world import START_NS, build_exchange

from cstd.practice.matching import BUY, SELL, Resting
from cstd.practice.public_ws import BookWindow


@pytest.mark.parametrize("depth", [10, 25, 100])
def test_every_checksum_of_the_stream_matches_an_independent_book(practice: dict[str, str], depth: int) -> None:
    """A book kept from the wire's text alone, cut to its depth, matches the checksum of every message."""

    async def scenario() -> TextBook:
        async with Client(practice) as client:
            socket = await client.socket("ws_public")
            await socket.send("subscribe", 1, channel="book", symbol=["BTC/USD"], depth=depth)
            book = TextBook(depth)
            while book.checked < 150:
                raw = await socket.ws.receive_str(timeout=5)
                if raw.startswith('{"channel":"book"'):
                    book.apply(raw)
            assert len(book.sides["bids"]) == len(book.sides["asks"]) == depth
            assert Decimal(book.prices("bids")[0]) < Decimal(book.prices("asks")[0])
            return book

    book = run(scenario())
    assert depth == 100 or book.truncated > 0, "this stream must need truncation, or it proves nothing"


def test_a_level_that_falls_out_is_not_removed_and_is_sent_again() -> None:
    """Falling out of the window sends nothing for that level; coming back sends it once more."""
    market = build_exchange().markets["BTC/USD"]
    orders = [Resting(BUY, 1000 - n, 10 + n) for n in range(10)]
    for order in orders:
        market.rest(order)
    market.rest(Resting(SELL, 2000, 1))
    window = BookWindow(market, 10)
    better = Resting(BUY, 1001, 7)
    market.rest(better)
    pushed_out = json.loads(str(window.update(START_NS)))["data"][0]
    assert pushed_out["bids"] == [{"price": 100.1, "qty": 0.00000007}]
    market.book.cancel(better)
    back = json.loads(str(window.update(START_NS)))["data"][0]
    assert back["bids"] == [{"price": 100.1, "qty": 0}, {"price": 99.1, "qty": 0.00000019}]
    assert window.update(START_NS) is None


def test_first_frame_is_status_and_heartbeats_need_a_subscription(practice: dict[str, str]) -> None:
    """A connection begins with status; heartbeats come once a second after a subscription, not before."""

    async def scenario() -> None:
        async with Client(practice) as client:
            socket = await client.socket("ws_public")
            status = json.loads(await socket.ws.receive_str(timeout=2))
            assert status["channel"] == "status"
            assert status["data"][0]["system"] == "online"
            assert status["data"][0]["connection_id"] > 1 << 53
            with pytest.raises(TimeoutError):
                await socket.ws.receive_str(timeout=1.3)
            await socket.send("subscribe", 3, channel="trade", symbol=["BTC/USD"])
            beats = 0
            while beats < 2:
                raw = await socket.ws.receive_str(timeout=2)
                beats += raw == '{"channel":"heartbeat"}'

    run(scenario())


REFUSED = [
    ({"channel": "book", "symbol": ["BTC/USD"], "depth": 11}, "Subscription depth not supported"),
    ({"channel": "book", "symbol": ["XBT/USD"]}, "Currency pair not supported XBT/USD"),
    ({"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 2}, "Subscription ohlc interval not supported"),
    ({"channel": "books", "symbol": ["BTC/USD"]}, "Subscription name invalid"),
    ({"channel": "book"}, "Symbol(s) not found"),
    (
        {"channel": "executions", "token": "x"},
        "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
    ),
]


@pytest.mark.parametrize(("params", "text"), REFUSED)
def test_refusals_have_the_recorded_texts(practice: dict[str, str], params: dict[str, object], text: str) -> None:
    """A refused subscription says so in Kraken's words, with the req_id and both times."""

    async def scenario() -> None:
        async with Client(practice) as client:
            socket = await client.socket("ws_public")
            reply = await socket.ask("subscribe", 7, **params)
            assert (reply["success"], reply["error"], reply["method"]) == (False, text, "subscribe")
            assert reply["time_in"] <= reply["time_out"]
            if "XBT" in text:
                assert reply["symbol"] == "XBT/USD"

    run(scenario())


def test_one_ack_per_symbol_and_unsubscribe_needs_the_same_key(practice: dict[str, str]) -> None:
    """Two symbols give two acks; an unsubscribe with another depth finds nothing; a good one ends the stream."""

    async def scenario() -> None:
        async with Client(practice) as client:
            socket = await client.socket("ws_public")
            await socket.send("subscribe", 5, channel="book", symbol=["BTC/USD", "ETH/USD"], depth=25)
            acks = [await socket.until(lambda m: m.get("req_id") == 5) for _ in range(2)]
            assert [a["result"]["symbol"] for a in acks] == ["BTC/USD", "ETH/USD"]
            assert acks[0]["result"] == {"channel": "book", "depth": 25, "snapshot": True, "symbol": "BTC/USD"}
            wrong = await socket.ask("unsubscribe", 6, channel="book", symbol=["BTC/USD"], depth=10)
            assert wrong["error"] == "Subscription Not Found"
            again = await socket.ask("subscribe", 7, channel="book", symbol=["BTC/USD"], depth=100)
            assert again["error"] == "Already subscribed"
            for name in ("BTC/USD", "ETH/USD"):
                assert (await socket.ask("unsubscribe", 8, channel="book", symbol=[name], depth=25))["success"]
            socket.seen.clear()
            await socket.ask("ping", 9)
            assert [m.get("method") for m in socket.seen] == ["pong"]

    run(scenario())


def test_instrument_ticker_ohlc_and_trade_carry_what_a_start_needs(practice: dict[str, str]) -> None:
    """Reference data as an object, a full ticker, 720 candles up to now, and 50 trades on demand."""

    async def scenario() -> None:
        async with Client(practice) as client:
            socket = await client.socket("ws_public")
            await socket.send("subscribe", 1, channel="instrument")
            data = (await socket.until(lambda m: m.get("channel") == "instrument"))["data"]
            pair = {p["symbol"]: p for p in data["pairs"]}["BTC/USD"]
            assert (pair["price_precision"], pair["qty_precision"], pair["status"]) == (1, 8, "online")
            assert pair["qty_increment"] == Decimal("1e-08")
            assert {"BTC", "USD", "ETH"} <= {a["id"] for a in data["assets"]}
            await socket.send("subscribe", 2, channel="ticker", symbol=["BTC/USD"], event_trigger="bbo")
            ticker = (await socket.until(lambda m: m.get("channel") == "ticker"))["data"][0]
            assert 0 < ticker["bid"] < ticker["ask"]
            assert ticker["low"] <= ticker["last"] <= ticker["high"]
            assert ticker["volume"] * ticker["vwap"] > 24 * 100_000
            for interval in (1, 60):
                await socket.send("subscribe", 3, channel="ohlc", symbol=["BTC/USD"], interval=interval)
                message = await socket.until(lambda m: m.get("channel") == "ohlc" and m["type"] == "snapshot")
                rows = message["data"]
                assert len(rows) == 720
                assert all(r["low"] <= min(r["open"], r["close"]) <= max(r["open"], r["close"]) <= r["high"] for r in rows)
                assert abs(rows[-1]["close"] / ticker["last"] - 1) < Decimal("0.01")
                assert sum(r["volume"] * r["vwap"] for r in rows[-61:]) > 100_000
            update = await socket.until(lambda m: m.get("channel") == "ohlc" and m["type"] == "update")
            assert update["data"][0]["trades"] >= 1
            await socket.send("subscribe", 4, channel="trade", symbol=["BTC/USD"], snapshot=True)
            snapshot = await socket.until(lambda m: m.get("channel") == "trade")
            trades = snapshot["data"] + (await socket.until(lambda m: m.get("channel") == "trade"))["data"]
            ids = [t["trade_id"] for t in trades]
            assert ids == list(range(ids[0], ids[0] + len(ids)))

    run(scenario())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"method":5}', '{"method":"subscribe","params":[]}', "\x00", "9" * 400]
)
def test_nonsense_is_answered_not_fatal(practice: dict[str, str], text: str) -> None:
    """A malformed request gets an error and the connection goes on."""

    async def scenario() -> None:
        async with Client(practice) as client:
            socket = await client.socket("ws_public")
            await socket.ws.send_str(text)
            reply = await socket.until(lambda m: "success" in m)
            assert (reply["success"], reply["error"]) == (False, "Malformed request")
            assert (await socket.ask("ping", 1))["method"] == "pong"

    run(scenario())


def test_a_flood_of_requests_is_dropped_with_the_odd_error(practice: dict[str, str]) -> None:
    """Above the message rate requests are dropped, and the reply is {"Error": ...} with nothing to correlate."""

    async def scenario() -> None:
        async with Client(practice) as client:
            socket = await client.socket("ws_public")
            for n in range(400):
                await socket.send("ping", n)
            refusal = await socket.until(lambda m: "Error" in m)
            assert refusal == {"Error": "Exceeded msg rate"}

    run(scenario())


def test_futures_feed_answers_info_ticker_and_heartbeat(practice: dict[str, str]) -> None:
    """The futures port says info, acknowledges, and sends tickers with funding; odd requests get its own errors."""

    async def scenario() -> None:
        async with Client(practice) as client:
            socket = await client.socket("ws_futures")
            assert await socket.next() == {"event": "info", "version": 1}
            await socket.ws.send_json({"event": "subscribe", "feed": "ticker", "product_ids": ["PF_XBTUSD"]})
            assert (await socket.next())["event"] == "subscribed"
            ticker = await socket.next()
            assert ticker["bid"] < ticker["ask"]
            assert ticker["next_funding_rate_time"] > ticker["time"] > 10**12
            await socket.ws.send_json({"event": "subscribe", "feed": "ticker", "product_ids": ["PF_NONE"]})
            assert (await socket.until(lambda m: m.get("event") == "error"))["message"] == "Invalid product id"
            assert "seq" not in ticker and ticker["index"] == ticker["markPrice"] == (ticker["bid"] + ticker["ask"]) / 2
            await socket.ws.send_json({"event": "unsubscribe", "feed": "ticker", "product_ids": ["PF_XBTUSD"]})
            answer = await socket.until(lambda m: m.get("event") == "unsubscribed")
            assert answer == {"event": "unsubscribed", "feed": "ticker", "product_ids": ["PF_XBTUSD"]}
            await socket.ws.send_json({"event": "subscribe", "feed": "heartbeat"})
            assert (await socket.until(lambda m: m.get("feed") == "heartbeat" and "time" in m))["time"] > 10**12

    run(scenario())
