"""REST: routing, authentication, rate counter and the public endpoints. Business errors are HTTP 200, as on Kraken."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from email.utils import formatdate
from itertools import pairwise
from urllib.parse import parse_qsl

from aiohttp import web

from cstd.practice.account import fee_rows
from cstd.practice.connections import WallClock
from cstd.practice.exchange import Exchange
from cstd.practice.history import INTERVALS_MIN
from cstd.practice.instruments import Asset, Instrument
from cstd.practice.market import Market, Trade
from cstd.practice.matching import BUY
from cstd.practice.requests import RefusalError
from cstd.practice.wire import (
    NS_PER_S,
    decimal_text,
    dumps,
    loads,
    raw_decimal,
    raw_number,
    raw_text,
    rfc3339_s,
)

Params = dict[str, object]
Endpoint = Callable[[Params], object]
DEPTH_VOLUME_PLACES = 3
DEPTH_ROWS = (1, 500)
TRADES_ROWS_MAX = 1000
_KEY_PART = re.compile(r"\[([^\]]*)\]")


def parse_form(text: str) -> Params:
    """Return form parameters; `a[b]=1` and `a[0][b]=1` and `a[]=1` become nested dictionaries and lists."""
    root: Params = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        parts = [key.split("[", 1)[0], *_KEY_PART.findall(key)]
        node = root
        for part, following in pairwise(parts):
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                raise RefusalError("EGeneral:Invalid arguments")
            node = child
            if following == "":
                parts[-1] = str(len(node))
        node[parts[-1]] = value
    return {k: _listed(v) for k, v in root.items()}


def _listed(value: object) -> object:
    """Return a dictionary whose keys count 0, 1, 2 … as the list it stands for."""
    if not isinstance(value, dict):
        return value
    inner = {k: _listed(v) for k, v in value.items()}
    if inner and list(inner) == [str(n) for n in range(len(inner))]:
        return list(inner.values())
    return inner


def text_of(params: Mapping[str, object], name: str) -> str | None:
    """Return a parameter as text, whether it came as JSON or form; None if absent or empty."""
    value = params.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        raise RefusalError(f"EGeneral:Invalid arguments:{name}")
    return str(value)


def flag_of(params: Mapping[str, object], name: str) -> bool:
    """Return a boolean parameter; absent is False."""
    return text_of(params, name) in ("true", "1")


def int_of(params: Mapping[str, object], name: str, default: int) -> int:
    """Return an integer parameter."""
    text = text_of(params, name)
    try:
        return default if text is None else int(text)
    except ValueError:
        raise RefusalError(f"EGeneral:Invalid arguments:{name}") from None


class Names:
    """Translates what a caller may call a pair or an asset."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._read()

    def _read(self) -> None:
        self._instruments = self._exchange.instruments
        self._pairs: dict[str, Instrument] = {}
        self._assets: dict[str, Asset] = {}
        for i in self._exchange.instruments.values():
            self._pairs |= {i.name: i, i.rest_id: i, i.altname: i, i.name.replace("/", ""): i}
        for a in self._exchange.assets.values():
            self._assets |= {a.code: a, a.rest_id: a, a.altname: a}

    @property
    def pairs(self) -> dict[str, Instrument]:
        """Return the instruments by everything that they may be called now."""
        if self._instruments is not self._exchange.instruments:
            self._read()
        return self._pairs

    @property
    def assets(self) -> dict[str, Asset]:
        """Return the assets by everything that they may be called now."""
        if self._instruments is not self._exchange.instruments:
            self._read()
        return self._assets

    def pair(self, text: str | None) -> Instrument:
        """Return the instrument; v1 names such as XBT/USD are refused, as Kraken refuses them."""
        if text is None:
            raise RefusalError("EGeneral:Invalid arguments")
        if text not in self.pairs:
            raise RefusalError("EQuery:Unknown asset pair")
        return self.pairs[text]

    def key(self, asked: str) -> str:
        """Return the key of a result: a v2 name stays, every legacy way of asking gives the legacy id."""
        return asked if "/" in asked else self.pairs[asked].rest_id


class PublicRest:
    """The public endpoints, by method name."""

    def __init__(self, exchange: Exchange, clock: WallClock) -> None:
        self.exchange = exchange
        self.clock = clock
        self.names = Names(exchange)
        self.endpoints: dict[str, Endpoint] = {
            "Time": self._time,
            "SystemStatus": self._system_status,
            "Assets": self._assets,
            "AssetPairs": self._asset_pairs,
            "Ticker": self._ticker,
            "OHLC": self._ohlc,
            "Depth": self._depth,
            "Trades": self._trades,
            "Spread": self._spread,
        }

    def _time(self, params: Params) -> object:
        now_s = self.clock() // NS_PER_S
        return {"unixtime": now_s, "rfc1123": formatdate(now_s, usegmt=True)}

    def _system_status(self, params: Params) -> object:
        return {"status": self.exchange.system, "timestamp": rfc3339_s(self.clock())}

    def _assets(self, params: Params) -> object:
        asked = text_of(params, "asset")
        assets = list(self.exchange.assets.values())
        if asked is not None:
            for name in asked.split(","):
                if name not in self.names.assets:
                    raise RefusalError("EQuery:Unknown asset")
            assets = [self.names.assets[name] for name in asked.split(",")]
        return {
            a.rest_id: {
                "aclass": "currency",
                "altname": a.altname,
                "decimals": a.precision,
                "display_decimals": a.precision_display,
                "status": "enabled",
            }
            for a in assets
        }

    def _asked_pairs(self, params: Params) -> list[tuple[str, Instrument]]:
        asked = text_of(params, "pair")
        if asked is None:
            return [(i.rest_id, i) for i in self.exchange.instruments.values()]
        pairs = [(name, self.names.pair(name)) for name in asked.split(",")]
        return [(self.names.key(name), i) for name, i in pairs]

    def _asset_pairs(self, params: Params) -> object:
        return {key: self._pair_entry(i) for key, i in self._asked_pairs(params)}

    def _pair_entry(self, i: Instrument) -> object:
        assets = self.exchange.assets
        return {
            "altname": i.altname,
            "wsname": i.wsname,
            "aclass_base": "currency",
            "base": assets[i.base].rest_id,
            "aclass_quote": "currency",
            "quote": assets[i.quote].rest_id,
            "lot": "unit",
            "cost_decimals": i.cost_precision,
            "pair_decimals": i.price_precision,
            "lot_decimals": i.qty_precision,
            "lot_multiplier": 1,
            "leverage_buy": [],
            "leverage_sell": [],
            "fees": self._fee_table(1),
            "fees_maker": self._fee_table(2),
            "fee_volume_currency": "ZUSD",
            "margin_call": 80,
            "margin_stop": 40,
            "ordermin": decimal_text(raw_decimal(i.qty_min_raw, i.qty_precision)),
            "costmin": decimal_text(i.cost_min),
            "tick_size": raw_text(i.tick_raw, i.price_precision),
            "status": self.exchange.markets[i.name].status,
            "execution_venue": "international",
        }

    def _ticker(self, params: Params) -> object:
        wall_s = self.clock() // NS_PER_S
        return {key: _ticker_entry(self.exchange.markets[i.name], wall_s) for key, i in self._asked_pairs(params)}

    def _one_pair(self, params: Params) -> tuple[str, Market]:
        asked = text_of(params, "pair")
        instrument = self.names.pair(asked)
        return self.names.key(str(asked)), self.exchange.markets[instrument.name]

    def _ohlc(self, params: Params) -> object:
        key, market = self._one_pair(params)
        minutes, since_s = int_of(params, "interval", 1), int_of(params, "since", 0)
        if minutes not in INTERVALS_MIN:
            raise RefusalError("EGeneral:Invalid arguments:interval")
        i = market.instrument
        bars = list(market.candles.rows[minutes])
        rows = [
            [
                b.begin_s,
                *(raw_text(p, i.price_precision) for p in (b.open_raw, b.high_raw, b.low_raw, b.close_raw, b.vwap_raw)),
                raw_text(b.qty_raw, i.qty_precision),
                b.trades,
            ]
            for b in bars
            if b.begin_s >= since_s
        ]
        return {key: rows, "last": bars[-2].begin_s if len(bars) > 1 else 0}

    def _depth(self, params: Params) -> object:
        key, market = self._one_pair(params)
        count = int_of(params, "count", 100)
        if not DEPTH_ROWS[0] <= count <= DEPTH_ROWS[1]:
            raise RefusalError("EGeneral:Invalid arguments:count")
        i, now_s = market.instrument, self.clock() // NS_PER_S
        return {
            key: {
                word: [
                    [raw_text(p, i.price_precision), self._volume_text(side.totals[p], i.qty_precision), now_s]
                    for p in side.prices(count)
                ]
                for word, side in (("asks", market.published.asks), ("bids", market.published.bids))
            }
        }

    def _fee_table(self, column: int) -> list[list[int | float]]:
        self.exchange.readings.meet("asset_pairs_fees")
        return fee_rows(column) if self.exchange.readings.asset_pairs_fees else []

    def _volume_text(self, qty_raw: int, places: int) -> str:
        """Return a volume of Depth: cut to three decimals unless the reading says that all are printed."""
        self.exchange.readings.meet("depth_volume_exact")
        if self.exchange.readings.depth_volume_exact or places <= DEPTH_VOLUME_PLACES:
            return raw_text(qty_raw, places)
        return raw_text(qty_raw // 10 ** (places - DEPTH_VOLUME_PLACES), DEPTH_VOLUME_PLACES)

    def _trades(self, params: Params) -> object:
        key, market = self._one_pair(params)
        since, count = int_of(params, "since", 0), int_of(params, "count", TRADES_ROWS_MAX)
        since_ns = since if since > 1 << 40 else since * NS_PER_S
        trades = [t for t in market.tape if t.wall_ns > since_ns][: max(1, min(count, TRADES_ROWS_MAX))]
        last_ns = trades[-1].wall_ns if trades else since_ns
        return {key: [_trade_row(t, market.instrument) for t in trades], "last": str(last_ns)}

    def _spread(self, params: Params) -> object:
        key, market = self._one_pair(params)
        i, now_s = market.instrument, self.clock() // NS_PER_S
        best = [side.best_raw() for side in (market.published.bids, market.published.asks)]
        rows = [[now_s, *(raw_text(p or 0, i.price_precision) for p in best)]]
        return {key: rows, "last": now_s}


def _trade_row(t: Trade, i: Instrument) -> list[object]:
    """Return one row of `Trades`: price, volume, time, side, order type, misc, id."""
    return [
        raw_text(t.price_raw, i.price_precision),
        raw_text(t.qty_raw, i.qty_precision),
        raw_number(t.wall_ns, 9),
        "b" if t.side == BUY else "s",
        "m" if t.ord_type == "market" else "l",
        "",
        t.trade_id,
    ]


def _ticker_entry(market: Market, wall_s: int) -> object:
    i = market.instrument
    places, day = i.price_precision, market.candles.day(wall_s)

    def side(best_raw: int | None, totals: dict[int, int]) -> list[str]:
        qty_raw = totals.get(best_raw, 0) if best_raw is not None else 0
        return [
            raw_text(best_raw or 0, places),
            str(qty_raw // 10**i.qty_precision),
            raw_text(qty_raw, i.qty_precision),
        ]

    last = raw_text(market.last_raw, places)
    last_qty_raw = market.tape[-1].qty_raw if market.tape else 0
    vwap = raw_text(day.value // day.qty_raw, places) if day and day.qty_raw else last
    volume = raw_text(day.qty_raw if day else 0, i.qty_precision)
    low, high = (raw_text(day.low_raw, places), raw_text(day.high_raw, places)) if day else (last, last)
    return {
        "a": side(market.published.asks.best_raw(), market.published.asks.totals),
        "b": side(market.published.bids.best_raw(), market.published.bids.totals),
        "c": [last, raw_text(last_qty_raw, i.qty_precision)],
        "v": [volume, volume],
        "p": [vwap, vwap],
        "t": [day.trades if day else 0] * 2,
        "l": [low, low],
        "h": [high, high],
        "o": raw_text(day.open_raw if day else market.last_raw, places),
    }


class PrivateEndpoints:
    """What `RestServer` needs of the private side: method name -> (cost in the REST counter, endpoint)."""

    endpoints: dict[str, tuple[float, Endpoint]]


class RestServer:
    """Routes calls; authenticates and counts the private ones."""

    def __init__(self, exchange: Exchange, clock: WallClock, private: PrivateEndpoints) -> None:
        self.exchange = exchange
        self.clock = clock
        self.public = PublicRest(exchange, clock)
        self.private = private

    @staticmethod
    def _answer(errors: list[str], result: object = None) -> web.Response:
        body: dict[str, object] = {"error": errors}
        if not errors:
            body["result"] = result
        return web.Response(text=dumps(body), content_type="application/json")

    def public_call_allowed(self) -> bool:
        """Charge one public call; False when it is above the limit, where there is one."""
        counter = self.exchange.public_rest_counter
        self.exchange.readings.meet("public_rest_limited")
        return counter is None or counter.charge(1, self.clock())

    async def handle_public(self, request: web.Request) -> web.Response:
        """Answer one public call."""
        endpoint = self.public.endpoints.get(request.match_info["method"])
        if endpoint is None:
            return self._answer(["EGeneral:Unknown method"])
        if not self.public_call_allowed():
            return self._answer(["EGeneral:Too many requests"])
        try:
            params: Params = dict(request.query)
            if request.method == "POST":
                params |= self._params(await request.read(), request.content_type)
            return self._answer([], endpoint(params))
        except RefusalError as refusal:
            return self._answer([refusal.text])

    @staticmethod
    def _params(body: bytes, content_type: str) -> Params:
        try:
            if content_type == "application/json":
                parsed = loads(body)
                if not isinstance(parsed, dict):
                    raise RefusalError("EGeneral:Invalid arguments")
                return parsed
            return parse_form(body.decode())
        except ValueError:
            raise RefusalError("EGeneral:Invalid arguments") from None

    async def handle_private(self, request: web.Request) -> web.Response:
        """Answer one private call: key, signature and nonce, then the counter, then the endpoint."""
        method = request.match_info["method"]
        entry = self.private.endpoints.get(method)
        if entry is None:
            return self._answer(["EGeneral:Unknown method"])
        cost, endpoint = entry
        body = await request.read()
        try:
            params = self._params(body, request.content_type)
            refusal = self.exchange.credentials.refusal(
                path=request.path,
                api_key=request.headers.get("API-Key", ""),
                api_sign=request.headers.get("API-Sign", ""),
                nonce=str(params.get("nonce", "")),
                body=body,
            )
            if refusal is not None:
                return self._answer([refusal])
            if not self.exchange.credentials.may_call(method):
                return self._answer(["EGeneral:Permission denied"])
            if cost and not self.exchange.rest_counter.charge(cost, self.clock()):
                return self._answer(["EAPI:Rate limit exceeded"])
            return self._answer([], endpoint(params))
        except RefusalError as error:
            return self._answer([error.text])
        finally:
            self.exchange.settle()
