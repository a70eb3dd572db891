"""The public websocket: instrument, book, trade, ticker, ohlc; and the refusal of everything private."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from cstd.practice.connections import Connection, Envelope, SocketServer, WallClock, names
from cstd.practice.exchange import Exchange
from cstd.practice.history import INTERVALS_MIN, Bar
from cstd.practice.instruments import Instrument
from cstd.practice.market import Market, Trade
from cstd.practice.matching import BUY, BookSide
from cstd.practice.readings import Readings
from cstd.practice.wire import NS_PER_S, dumps, float_text, raw_number, raw_text, rfc3339_ns, rfc3339_us

DEPTHS = (10, 25, 100, 500, 1000)
CHECKSUM_LEVELS = 10
TRADE_SNAPSHOT_ROWS = 50
WRONG_HOST = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"
PRIVATE_CHANNELS = ("executions", "balances", "level3")
TRADING_METHODS = (
    "add_order",
    "amend_order",
    "edit_order",
    "cancel_order",
    "cancel_all",
    "cancel_all_orders_after",
    "batch_add",
    "batch_cancel",
)
CHANNELS = ("instrument", "book", "trade", "ticker", "ohlc")
Channel = tuple[object, ...]
DEFAULTS = Readings()


NumberText = Callable[[int, int], str]


def _number_text(readings: Readings) -> NumberText:
    """Return what prints the numbers of book and trade frames."""
    def text(raw: int, precision: int) -> str:
        if raw and abs(raw) * 10_000 < 10**precision:
            readings.meet("small_numbers_as_exponents")
            return float_text(raw, precision) if readings.small_numbers_as_exponents else raw_text(raw, precision)
        return raw_text(raw, precision)

    return text


def _levels_text(levels: list[tuple[int, int]], instrument: Instrument, text: NumberText) -> str:
    price_places, qty_places = instrument.price_precision, instrument.qty_precision
    return ",".join(
        f'{{"price":{text(price_raw, price_places)},"qty":{text(qty_raw, qty_places)}}}'
        for price_raw, qty_raw in levels
    )


class BookWindow:
    """What every subscriber of one (instrument, depth) holds: the top `depth` levels after the last message.

    With paired updates every other one is held back until the next or until `flush`; what subscribers hold is then the
    state before it.
    """

    def __init__(self, market: Market, depth: int, readings: Readings = DEFAULTS) -> None:
        self.market = market
        self.depth = depth
        self.connections: set[Connection] = set()
        self._number_text = _number_text(readings)
        self._readings = readings
        self._paired = readings.book_updates_paired
        self._held = ""
        self._views: dict[int, dict[int, int]] = {
            side.sign: self._top(side) for side in (market.published.bids, market.published.asks)
        }

    def _top(self, side: BookSide) -> dict[int, int]:
        totals = side.totals
        return {price_raw: totals[price_raw] for price_raw in side.prices(self.depth)}

    def wrong_level(self, side: BookSide, rank: int, wall_ns: int) -> tuple[int, int, str]:
        """Return (price, true quantity, update) of a level told wrong: one whole unit too much, with a right checksum.

        The level is one that no checksum covers, so a client cannot notice; its next true change puts it right.

        Raises:
            ValueError: the window has no such level, or the checksum covers it.
        """
        prices = list(self._top(side))
        if not CHECKSUM_LEVELS < rank <= len(prices):
            raise ValueError(f"rank is {CHECKSUM_LEVELS + 1} to {len(prices)} here, 1 is the best")
        price_raw = prices[rank - 1]
        qty_raw = side.totals[price_raw]
        wrong = [(price_raw, qty_raw + 10**self.market.instrument.qty_precision)]
        bids, asks = (wrong, []) if side is self.market.published.bids else ([], wrong)
        return price_raw, qty_raw, self._message("update", self._entry(bids, asks, wall_ns))

    @staticmethod
    def _message(kind: str, *entries: str) -> str:
        return f'{{"channel":"book","type":"{kind}","data":[{",".join(entries)}]}}'

    def _entry(self, bids: list[tuple[int, int]], asks: list[tuple[int, int]], wall_ns: int) -> str:
        instrument, text = self.market.instrument, self._number_text
        return (
            f'{{"symbol":"{instrument.name}",'
            f'"bids":[{_levels_text(bids, instrument, text)}],"asks":[{_levels_text(asks, instrument, text)}],'
            f'"checksum":{self.market.published.checksum()},"timestamp":"{rfc3339_us(wall_ns)}"}}'
        )

    def snapshot(self, wall_ns: int) -> str:
        """Return the snapshot of what subscribers hold."""
        book = self.market.published
        bids, asks = (list(self._views[side.sign].items()) for side in (book.bids, book.asks))
        return self._message("snapshot", self._entry(bids, asks, wall_ns))

    def _changes(self, side: BookSide) -> list[tuple[int, int]]:
        """Return what subscribers must be told, and take it as told.

        A level that fell out of the window but still exists is not mentioned: the subscriber truncates. One that comes back
        in is sent again, because the window was refilled from the book.
        """
        view, top = self._views[side.sign], self._top(side)
        gone = [(price_raw, 0) for price_raw in view.keys() - top.keys() if price_raw not in side.totals]
        changed = [item for item in top.items() if view.get(item[0]) != item[1]]
        self._views[side.sign] = top
        return gone + changed

    def update(self, wall_ns: int) -> str | None:
        """Return the update that brings subscribers to the present book, or None if they see no difference yet."""
        bids, asks = self._changes(self.market.published.bids), self._changes(self.market.published.asks)
        if not bids and not asks:
            return None
        entry = self._entry(bids, asks, wall_ns)
        self._readings.meet("book_updates_paired")
        if self._paired:
            held, self._held = self._held, "" if self._held else entry
            return self._message("update", held, entry) if held else None
        return self._message("update", entry)

    def flush(self) -> str | None:
        """Return the update that was held back, or None if there is none."""
        held, self._held = self._held, ""
        return self._message("update", held) if held else None


class RawWindow(BookWindow):
    """A window whose updates are a recording's own bytes; a snapshot is written when somebody joins between two frames."""

    def snapshot(self, wall_ns: int) -> str:
        """Return the snapshot of the recorded book as it stands after the last frame."""
        book = self.market.published
        bids, asks = (list(self._top(side).items()) for side in (book.bids, book.asks))
        return self._message("snapshot", self._entry(bids, asks, wall_ns))

    def update(self, wall_ns: int) -> str | None:
        """Return the recorded frame that is being published, if there is one."""
        return self.market.raw_text


@dataclass(slots=True)
class _MarketFeeds:
    """Who listens to what on one market."""

    windows: dict[int, BookWindow] = field(default_factory=dict)
    trade: set[Connection] = field(default_factory=set)
    ticker_trades: set[Connection] = field(default_factory=set)
    ticker_bbo: set[Connection] = field(default_factory=set)
    ohlc: dict[int, set[Connection]] = field(default_factory=dict)
    best: tuple[int, ...] = ()


class PublicServer(SocketServer):
    """Serves market data. It is the one reader of `Market.publish`."""

    def __init__(self, exchange: Exchange, clock: WallClock) -> None:
        super().__init__(exchange, clock)
        self._feeds = {name: _MarketFeeds() for name in exchange.markets}
        self._instrument: set[Connection] = set()
        self._number_text = _number_text(exchange.readings)
        for market in exchange.markets.values():
            market.on_publish.append(self._publish)

    # --- requests -----------------------------------------------------------------------------------------------------

    def handle(self, envelope: Envelope, params: dict[str, object]) -> None:
        """Answer subscribe and unsubscribe; refuse what belongs on the private host."""
        channel = params.get("channel")
        if envelope.method in TRADING_METHODS or channel in PRIVATE_CHANNELS:
            envelope.error(WRONG_HOST)
        elif envelope.method not in ("subscribe", "unsubscribe"):
            envelope.error("Malformed request")
        elif channel not in CHANNELS:
            envelope.error("Subscription name invalid")
        elif channel == "instrument":
            self._instrument_request(envelope, params)
        else:
            self._each_name(envelope, params, str(channel))

    def _each_name(self, envelope: Envelope, params: dict[str, object], channel: str) -> None:
        if channel == "book" and (params.get("depth", 10) not in DEPTHS or isinstance(params.get("depth"), bool)):
            envelope.error("Subscription depth not supported")
            return
        if channel == "ohlc" and (params.get("interval", 1) not in INTERVALS_MIN or isinstance(params.get("interval"), bool)):
            envelope.error("Subscription ohlc interval not supported")
            return
        if channel == "ticker" and params.get("event_trigger", "trades") not in ("trades", "bbo"):
            envelope.error("Malformed request")
            return
        wanted = names(params)
        if wanted is None:
            envelope.error("Symbol(s) not found")
            return
        self.exchange.readings.meet("symbols_max")
        if 0 < self.exchange.readings.symbols_max < len(wanted):
            envelope.error("Exceeded the number of symbols in a subscription")
            return
        for name in wanted:
            if name not in self._feeds or (envelope.method == "subscribe" and name not in self.exchange.markets):
                envelope.error(f"Currency pair not supported {name}", symbol=name)
            elif envelope.method == "subscribe":
                self._subscribe(envelope, params, channel, name)
            else:
                self._unsubscribe(envelope, params, channel, name)

    @staticmethod
    def _variant(params: dict[str, object], channel: str) -> tuple[str, object]:
        """Return the name and value of what besides channel and symbol is part of a subscription's key."""
        if channel == "book":
            return "depth", params.get("depth", 10)
        if channel == "ohlc":
            return "interval", params.get("interval", 1)
        if channel == "ticker":
            return "event_trigger", params.get("event_trigger", "trades")
        return "", None

    def _subscribe(self, envelope: Envelope, params: dict[str, object], channel: str, name: str) -> None:
        connection = envelope.connection
        variant_name, variant = self._variant(params, channel)
        key: Channel = (channel, name, variant) if channel == "ohlc" else (channel, name)
        if key in connection.subscribed:
            self.exchange.readings.meet("duplicate_subscribe_refused")
            if self.exchange.readings.duplicate_subscribe_refused:
                envelope.error("Already subscribed", symbol=name)
                return
            self._leave(connection, key)
        snapshot = params.get("snapshot", channel != "trade") is True
        result: dict[str, object] = {"channel": channel, "snapshot": snapshot, "symbol": name}
        if variant_name:
            result[variant_name] = variant
        if channel == "ohlc":
            result["warnings"] = ["timestamp is deprecated, use interval_begin"]
        connection.subscribed[key] = variant
        envelope.ok(dict(sorted(result.items())))
        text = self._join(connection, key, variant)
        if snapshot:
            connection.send(text)

    def _unsubscribe(self, envelope: Envelope, params: dict[str, object], channel: str, name: str) -> None:
        connection = envelope.connection
        variant_name, variant = self._variant(params, channel)
        key: Channel = (channel, name, variant) if channel == "ohlc" else (channel, name)
        if connection.subscribed.get(key, self) != variant:
            envelope.error("Subscription Not Found", symbol=name)
            return
        self._leave(connection, key)
        result: dict[str, object] = {"channel": channel, "symbol": name}
        if variant_name:
            result[variant_name] = variant
        envelope.ok(dict(sorted(result.items())))

    def _instrument_request(self, envelope: Envelope, params: dict[str, object]) -> None:
        connection = envelope.connection
        if envelope.method == "unsubscribe":
            if connection.subscribed.pop(("instrument",), self) is self:
                envelope.error("Subscription Not Found")
                return
            self._instrument.discard(connection)
            envelope.ok({"channel": "instrument"})
            return
        snapshot = params.get("snapshot", True) is True
        connection.subscribed[("instrument",)] = None
        self._instrument.add(connection)
        envelope.ok(
            {
                "channel": "instrument",
                "snapshot": snapshot,
                "warnings": ["tick_size is deprecated, use price_increment"],
            }
        )
        if snapshot:
            connection.send(self.instrument_text("snapshot"))

    # --- subscriptions ------------------------------------------------------------------------------------------------

    def _join(self, connection: Connection, key: Channel, variant: object) -> str:
        """Add a subscriber and return the snapshot text of the channel."""
        channel, name = key[0], str(key[1])
        feeds, market, now_ns = self._feeds[name], self.exchange.markets[name], self.clock()
        if channel == "book":
            assert isinstance(variant, int), "depth was checked"
            if variant not in feeds.windows:
                window_type = RawWindow if variant == market.raw_depth else BookWindow
                feeds.windows[variant] = window_type(market, variant, self.exchange.readings)
            window = feeds.windows[variant]
            self._send_book(window, window.flush())
            window.connections.add(connection)
            return window.snapshot(now_ns)
        if channel == "trade":
            feeds.trade.add(connection)
            return self._trades_text(market, list(market.tape)[-TRADE_SNAPSHOT_ROWS:], "snapshot")
        if channel == "ticker":
            (feeds.ticker_bbo if variant == "bbo" else feeds.ticker_trades).add(connection)
            return self.ticker_text(market, now_ns, "snapshot")
        assert isinstance(variant, int), "interval was checked"
        feeds.ohlc.setdefault(variant, set()).add(connection)
        return self._ohlc_text(market, variant, list(market.candles.rows[variant]), now_ns, "snapshot")

    def _leave(self, connection: Connection, key: Channel) -> None:
        connection.subscribed.pop(key, None)
        if key[0] == "instrument":
            self._instrument.discard(connection)
            return
        feeds = self._feeds[str(key[1])]
        if key[0] == "book":
            for depth, window in list(feeds.windows.items()):
                window.connections.discard(connection)
                if not window.connections:
                    del feeds.windows[depth]
        elif key[0] == "trade":
            feeds.trade.discard(connection)
        elif key[0] == "ticker":
            feeds.ticker_bbo.discard(connection)
            feeds.ticker_trades.discard(connection)
        else:
            assert isinstance(key[2], int), "interval was checked"
            feeds.ohlc[key[2]].discard(connection)

    def forget(self, connection: Connection) -> None:
        """Drop every subscription of a closed connection."""
        for key in list(connection.subscribed):
            self._leave(connection, key)

    # --- publication --------------------------------------------------------------------------------------------------

    def _publish(self, market: Market, trades: list[Trade], wall_ns: int) -> None:
        feeds = self._feeds[market.instrument.name]
        for window in feeds.windows.values():
            self._send_book(window, window.update(wall_ns))
        if trades and feeds.trade:
            text = self._trades_text(market, trades, "update")
            for connection in feeds.trade:
                connection.send(text)
        if trades:
            self._publish_candles(market, feeds, wall_ns)
        best = self._best(market)
        listeners = set(feeds.ticker_trades) if trades else set()
        if best != feeds.best:
            feeds.best = best
            listeners |= feeds.ticker_bbo
        if listeners:
            text = self.ticker_text(market, wall_ns, "update")
            for connection in listeners:
                connection.send(text)

    @staticmethod
    def _send_book(window: BookWindow, text: str | None) -> None:
        if text is not None:
            for connection in window.connections:
                connection.send(text)

    def beat(self) -> None:
        """Send heartbeats, and what a quiet market has left held back; called once a second."""
        for feeds in self._feeds.values():
            for window in feeds.windows.values():
                self._send_book(window, window.flush())
        super().beat()

    def _publish_candles(self, market: Market, feeds: _MarketFeeds, wall_ns: int) -> None:
        for minutes, connections in feeds.ohlc.items():
            bar = market.candles.last(minutes)
            if connections and bar is not None:
                text = self._ohlc_text(market, minutes, [bar], wall_ns, "update")
                for connection in connections:
                    connection.send(text)

    @staticmethod
    def _best(market: Market) -> tuple[int, int, int, int]:
        """Return (bid, its quantity, ask, its quantity), raw; an empty side is 0, 0."""
        bids, asks = market.published.bids, market.published.asks
        bid_raw, ask_raw = bids.best_raw() or 0, asks.best_raw() or 0
        return bid_raw, bids.totals.get(bid_raw, 0), ask_raw, asks.totals.get(ask_raw, 0)

    # --- texts --------------------------------------------------------------------------------------------------------

    def _trades_text(self, market: Market, trades: list[Trade], kind: str) -> str:
        instrument, text = market.instrument, self._number_text
        places, qty_places = instrument.price_precision, instrument.qty_precision
        rows = ",".join(
            f'{{"symbol":"{instrument.name}","side":"{"buy" if t.side == BUY else "sell"}",'
            f'"price":{text(t.price_raw, places)},"qty":{text(t.qty_raw, qty_places)},'
            f'"ord_type":"{t.ord_type}","trade_id":{t.trade_id},"timestamp":"{rfc3339_us(t.wall_ns)}"}}'
            for t in trades
        )
        return f'{{"channel":"trade","type":"{kind}","data":[{rows}]}}'

    @staticmethod
    def _ohlc_text(market: Market, minutes: int, bars: list[Bar], wall_ns: int, kind: str) -> str:
        instrument = market.instrument
        places = instrument.price_precision
        rows = ",".join(
            f'{{"symbol":"{instrument.name}","open":{raw_text(b.open_raw, places)},"high":{raw_text(b.high_raw, places)},'
            f'"low":{raw_text(b.low_raw, places)},"close":{raw_text(b.close_raw, places)},"trades":{b.trades},'
            f'"volume":{raw_text(b.qty_raw, instrument.qty_precision)},"vwap":{raw_text(b.vwap_raw, places)},'
            f'"interval_begin":"{rfc3339_ns(b.begin_s * NS_PER_S)}","interval":{minutes},'
            f'"timestamp":"{rfc3339_us((b.begin_s + minutes * 60) * NS_PER_S)}"}}'
            for b in bars
        )
        return f'{{"channel":"ohlc","type":"{kind}","timestamp":"{rfc3339_ns(wall_ns)}","data":[{rows}]}}'

    def ticker_text(self, market: Market, wall_ns: int, kind: str) -> str:
        """Return the ticker of a market; an empty side is printed as price 0 and quantity 0."""
        instrument = market.instrument
        places, qty_places = instrument.price_precision, instrument.qty_precision
        bid_raw, bid_qty_raw, ask_raw, ask_qty_raw = self._best(market)
        day = market.candles.day(wall_ns // NS_PER_S)
        change_raw = market.last_raw - day.open_raw if day else 0
        change_pct = round(change_raw * 100 / day.open_raw, 2) if day else 0.0
        vwap_raw = round(day.value / day.qty_raw) if day and day.qty_raw else market.last_raw
        entry = {
            "symbol": instrument.name,
            "bid": raw_number(bid_raw, places),
            "bid_qty": raw_number(bid_qty_raw, qty_places),
            "ask": raw_number(ask_raw, places),
            "ask_qty": raw_number(ask_qty_raw, qty_places),
            "last": raw_number(market.last_raw, places),
            "volume": raw_number(day.qty_raw if day else 0, qty_places),
            "vwap": raw_number(vwap_raw, places),
            "low": raw_number(day.low_raw if day else market.last_raw, places),
            "high": raw_number(day.high_raw if day else market.last_raw, places),
            "change": raw_number(change_raw, places),
            "change_pct": change_pct,
            "trades": day.trades if day else 0,
            "timestamp": rfc3339_us(wall_ns),
        }
        return dumps({"channel": "ticker", "type": kind, "data": [entry]})

    def instrument_text(self, kind: str) -> str:
        """Return the reference data; increments and minimums are floats here, as on Kraken (1e-08)."""
        assets = [
            {
                "id": a.code,
                "status": "enabled",
                "precision": a.precision,
                "precision_display": a.precision_display,
                "borrowable": False,
                "collateral_value": 0.0,
                "class": "currency",
            }
            for a in self.exchange.assets.values()
        ]
        pairs = []
        for name, i in self.exchange.instruments.items():
            tick = float(Decimal(i.tick_raw).scaleb(-i.price_precision))
            pairs.append(
                {
                    "symbol": name,
                    "base": i.base,
                    "quote": i.quote,
                    "status": self.exchange.markets[name].status,
                    "qty_precision": i.qty_precision,
                    "qty_increment": float(Decimal(1).scaleb(-i.qty_precision)),
                    "price_precision": i.price_precision,
                    "cost_precision": i.cost_precision,
                    "marginable": False,
                    "has_index": True,
                    "ws_display_price_precision": i.price_precision,
                    "cost_min": float(i.cost_min),
                    "tick_size": tick,
                    "price_increment": tick,
                    "qty_min": float(Decimal(i.qty_min_raw).scaleb(-i.qty_precision)),
                }
            )
        # The json module prints small floats as Kraken does (1e-08), orjson does not (1e-8).
        return json.dumps(
            {"channel": "instrument", "type": kind, "data": {"assets": assets, "pairs": pairs}}, separators=(",", ":")
        )

    def tell_wrong(self, name: str, side: int, rank: int) -> list[dict[str, str]]:
        """Tell every subscriber of a book one level wrong, beyond what a checksum covers; return what each depth was told.

        Raises:
            ValueError: no subscriber holds such a level.
        """
        market, now_ns, told = self.exchange.markets[name], self.clock(), []
        for depth, window in self._feeds[name].windows.items():
            if depth < rank:
                continue
            price_raw, qty_raw, text = window.wrong_level(market.published.side(side), rank, now_ns)
            self._send_book(window, window.flush())
            self._send_book(window, text)
            told.append({"depth": str(depth), "price": raw_text(price_raw, market.instrument.price_precision),
                         "true_qty": raw_text(qty_raw, market.instrument.qty_precision)})
        if not told:
            raise ValueError(f"nobody holds level {rank} of {name}")
        return told

    def on_renamed(self, before: Instrument, *, told: bool) -> None:
        """Nothing is said any more under an instrument's old name; `told`: an update calls it delisted and has the new one."""
        after = next(name for name in self.exchange.markets if name not in self._feeds)
        self._feeds[after] = _MarketFeeds()
        if told:
            document = json.loads(self.instrument_text("update"))
            new = next(pair for pair in document["data"]["pairs"] if pair["symbol"] == after)
            document["data"]["pairs"].append({**new, "symbol": before.name, "base": before.base, "status": "delisted"})
            text = json.dumps(document, separators=(",", ":"))
            for connection in self._instrument:
                connection.send(text)

    def announce_instruments(self) -> None:
        """Send an `instrument` update to whoever subscribed; call after a pair's status changed."""
        text = self.instrument_text("update")
        for connection in self._instrument:
            connection.send(text)
