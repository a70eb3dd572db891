"""An engine, booted without sockets, and a scripted venue that answers it: scenarios in exact, repeatable steps.

The venue keeps its books as dictionaries of raw integers and makes frames with the checksum that the documentation
describes. It answers subscriptions, the dead man's switch and REST reads as Kraken does; what it says of orders is the
test's script. Time is a number that the test moves.
"""

from __future__ import annotations

import datetime as dt
import json
import zlib
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from cstd._fast.codes import BookState, EventKind, IntentKind, Link, OrderAction, OrderState
from cstd._fast.port import OrderPort
from cstd._fast.recorder import Recorder
from cstd.config import Config, load, template
from cstd.engine import Engine
from cstd.engine.boot import boot_payload
from cstd.engine.replaying import JournalReplay
from cstd.signals.code import Code, LoadedAgents, LoadedStrategy, code_of
from cstd.storage.journal_reader import records
from cstd.units import format_raw

START_NS = 1_790_000_000_000_000_000
S = 1_000_000_000
BTC = "BTC/USD"
ETH = "ETH/USD"
PRECISIONS = {BTC: (1, 8), ETH: (2, 8)}
REST_NAMES = {BTC: "XBTUSD", ETH: "ETHUSD"}
DEPTH = 25
Levels = Iterable[tuple[int, int]]


def time_text(wall_ns: int) -> str:
    """RFC 3339 with microseconds, as the venue prints times."""
    moment = dt.datetime.fromtimestamp(wall_ns // S, dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{wall_ns % S // 1000:06d}Z"


class Answer(NamedTuple):
    """What a REST call brings that is no result of the venue: an HTTP status (0 for none), a body, an error below HTTP."""

    status: int = 0
    body: str = ""
    error: str = ""


NO_WORD = Answer(-1)  # nothing comes at all


class VenueBook:
    """One instrument's book at the venue, in raw integers, and the frames that tell of it."""

    def __init__(self, name: str, bid_raw: int, ask_raw: int, qty_raw: int) -> None:
        self.name = name
        self.precisions = PRECISIONS[name]
        self.bids = {bid_raw - 7 * n: qty_raw + n for n in range(DEPTH)}
        self.asks = {ask_raw + 7 * n: qty_raw + n for n in range(DEPTH)}

    def checksum(self) -> int:
        """CRC32 of the top ten of both sides."""
        asks = sorted(self.asks.items())[:10]
        bids = sorted(self.bids.items(), reverse=True)[:10]
        return zlib.crc32("".join(f"{price}{qty}" for price, qty in asks + bids).encode())

    def change(self, bids: Levels = (), asks: Levels = ()) -> None:
        """Apply levels and cut to the depth."""
        for side, levels, best_first in ((self.bids, bids, True), (self.asks, asks, False)):
            for price, qty in levels:
                if qty:
                    side[price] = qty
                else:
                    side.pop(price, None)
            for price in sorted(side, reverse=best_first)[DEPTH:]:
                del side[price]

    def frame(self, kind: str, bids: Levels, asks: Levels, wall_ns: int, checksum: int | None = None) -> bytes:
        """A book frame in the venue's own spelling."""
        sides = [",".join(f'{{"price":{format_raw(p, self.precisions[0])},"qty":{format_raw(q, self.precisions[1])}}}'
                          for p, q in side) for side in (bids, asks)]
        crc = self.checksum() if checksum is None else checksum
        return (f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{self.name}","bids":[{sides[0]}],'
                f'"asks":[{sides[1]}],"checksum":{crc},"timestamp":"{time_text(wall_ns)}"}}]}}').encode()

    def snapshot(self, wall_ns: int) -> bytes:
        """The whole book."""
        return self.frame("snapshot", sorted(self.bids.items(), reverse=True), sorted(self.asks.items()), wall_ns)

    def reading(self, rows: int, wall_ns: int, places: int = 3) -> dict[str, list[list[Any]]]:
        """What REST shows: prices with five decimals, volumes cut to `places`, the time in seconds."""
        price, qty = self.precisions
        return {word: [[format_raw(p * 10**(5 - price), 5), format_raw(q // 10**(qty - places), places), wall_ns // S]
                       for p, q in levels[:rows]]
                for word, levels in (("bids", sorted(self.bids.items(), reverse=True)), ("asks", sorted(self.asks.items())))}

    def update(self, wall_ns: int, bids: Levels = (), asks: Levels = ()) -> bytes:
        """Change the book and tell of it."""
        bids, asks = list(bids), list(asks)
        self.change(bids, asks)
        return self.frame("update", bids, asks, wall_ns)


def practice_config(names: tuple[str, ...] = (BTC,), **sections: dict[str, Any]) -> Config:
    """The shipped practice configuration over some instruments; sections: fields to change, by section."""
    cfg = load([str(template("practice"))], {})
    cfg = msgspec.structs.replace(cfg, instruments=msgspec.structs.replace(cfg.instruments, names=list(names), depth=DEPTH),
                                  futures=None)  # nobody here speaks for that feed; test_futures.py does
    for section, fields in sections.items():
        cfg = msgspec.structs.replace(cfg, **{section: msgspec.structs.replace(getattr(cfg, section), **fields)})
    return cfg


class World:
    """Engine and venue together. strategy: "none", "rehearsal", "bench" or "own"; journal: where records go, None for nowhere.

    own: the compiled strategy that "own" is, by the configuration too. agents: those that vote.

    Attributes:
        now_ns: wall time; the monotonic clock runs START_NS behind it. wall_step_ns: how much of it came by `step_wall`.
        venue_ahead_ns: how far the venue's clock, in its replies, is ahead of ours.
        rest: REST results by method, looked up when the engine asks; a callable is given the parameters. A text is an error of
            the venue, an `Answer` what came instead of one.
        asked: (method, parameters) of every REST call, in order.
    """

    def __init__(self, cfg: Config | None = None, *, strategy: str = "none", journal: Any = None,
                 own: LoadedStrategy | None = None, agents: LoadedAgents | None = None, port: OrderPort | None = None) -> None:
        self.cfg = cfg or practice_config()
        self.own = own
        self.agents = agents
        self.now_ns = START_NS
        self.recorder = Recorder(journal)
        self.recorder.captured = []
        self.engine = Engine(self.recorder, agents, port, strategy=strategy)
        self.engine.code = Code(given=[own] if own is not None else [])
        self.core = self.engine.core
        self.names = tuple(self.cfg.instruments.names)
        self.books = {BTC: VenueBook(BTC, 1_000_000, 1_000_001, 5_000_000_000),
                      ETH: VenueBook(ETH, 300_000, 300_001, 900_000_000_000)}
        self.specs = {name: instrument_row(name) for name in self.names}
        self.balances = {"USD": "10000.00000000", "BTC": "0.05000000", "ETH": "0.00000000"}
        self.open_orders: list[dict[str, Any]] = []
        self.sequence = {"executions": 0, "balances": 0}
        self.trade_id = 100
        self.rest: dict[str, Any] = {
            "OpenOrders": {"open": {}}, "ClosedOrders": {"closed": {}, "count": 0},
            "TradesHistory": {"trades": {}, "count": 0}, "BalanceEx": self._balance_ex, "Depth": self._depth,
            "OpenPositions": {}, "Ledgers": {"ledger": {}, "count": 0},
            "SystemStatus": {"status": "maintenance"},
            "Time": lambda _: {"unixtime": (self.now_ns - self.wall_step_ns + self.venue_ahead_ns) // S}}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.wall_step_ns = 0
        self.venue_ahead_ns = 0
        self.rate_count_max: int | None = None  # what the executions subscription tells of the tier
        self.answering = True
        self.snapshots = True

    # Time and events.

    @property
    def mono_ns(self) -> int:
        """Monotonic time."""
        return self.now_ns - self.wall_step_ns - START_NS + 77 * S

    def step_wall(self, by_ns: int) -> None:
        """Step the wall clock alone."""
        self.now_ns += by_ns
        self.wall_step_ns += by_ns

    def boot(self, epoch: int = 1) -> World:
        """Boot, bring both links up and let everything answer until the engine is ready."""
        self.event(EventKind.EVENT_BOOT, 0, boot_payload(self.cfg, epoch, self.agents, self.own))
        self.link(Link.LINK_PUBLIC, up=True)
        self.link(Link.LINK_PRIVATE, up=True)
        for _ in range(30):
            self.step()
            if self.engine.state == "ready":
                break
        self.sound()
        return self

    def ready(self) -> World:
        """Boot, and fail where the engine does not become ready."""
        self.boot()
        assert self.engine.state == "ready", self.engine.state_reason
        return self

    def sound(self) -> None:
        """Nothing failed inside the engine."""
        assert self.core.fault is None, repr(self.core.fault)

    def event(self, kind: int, tag: int, payload: bytes) -> None:
        """One event that is no frame."""
        self.core.event(kind, tag, self.mono_ns, self.now_ns, payload)
        self.pump()

    def link(self, link: int, *, up: bool, reason: str = "") -> None:
        """A link comes up or goes down; the first public frame is the venue's status."""
        if link == Link.LINK_PRIVATE and up:
            self.sequence = dict.fromkeys(self.sequence, 0)
        self.event(EventKind.EVENT_LINK, link, json.dumps({"up": up, "reason": reason}).encode())
        if link == Link.LINK_PUBLIC and up:
            self.public(b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online",'
                        b'"api_version":"v2","connection_id":15113583034416118705}]}')

    def step(self, seconds: float = 0.25) -> None:
        """Time passes: heartbeats, then a timer."""
        self.now_ns += int(seconds * S)
        self.core.frame(Link.LINK_PUBLIC, b'{"channel":"heartbeat"}', self.mono_ns, self.now_ns)
        self.core.frame(Link.LINK_PRIVATE, b'{"channel":"heartbeat"}', self.mono_ns, self.now_ns)
        self.core.timer(self.mono_ns, self.now_ns)
        self.pump()

    def run(self, seconds: float) -> None:
        """Time passes in steps of a quarter of a second."""
        for _ in range(int(seconds * 4)):
            self.step()

    def run_on(self, link: Link, seconds: float) -> None:
        """Time passes with the heartbeats of one socket alone."""
        for _ in range(int(seconds * 4)):
            self.now_ns += S // 4
            self.core.frame(link, b'{"channel":"heartbeat"}', self.mono_ns, self.now_ns)
            self.core.timer(self.mono_ns, self.now_ns)
            self.pump()

    def command(self, verb: str, **args: Any) -> dict[str, Any]:
        """One operator command; returns its reply."""
        payload = {"id": self.now_ns, "verb": verb, "args": args, "actor": "test"}
        self.event(EventKind.EVENT_COMMAND, 0, json.dumps(payload).encode())
        return self.engine.replies.pop(self.now_ns)

    def public(self, *frames: bytes) -> None:
        """Frames of one read of the public socket."""
        self._frames(Link.LINK_PUBLIC, frames)

    def private(self, *frames: bytes) -> None:
        """Frames of one read of the private socket."""
        self._frames(Link.LINK_PRIVATE, frames)

    def _frames(self, link: int, frames: Iterable[bytes]) -> None:
        for frame in frames:
            self.core.frame(link, frame, self.mono_ns, self.now_ns)
        self.core.batch_end(link, self.mono_ns, self.now_ns)
        self.pump()

    def book(self, name: str = BTC, bids: Levels = (), asks: Levels = ()) -> None:
        """The venue's book changes and says so."""
        self.public(self.books[name].update(self.now_ns, bids, asks))

    def tick(self, name: str = BTC) -> None:
        """A level far from the touch changes: fresh evidence, nothing else."""
        price = sorted(self.books[name].bids)[3]
        self.book(name, [(price, self.books[name].bids[price] + 1)])

    # The venue's answers.

    def pump(self) -> None:
        """Answer what the engine sent until it has nothing more to say."""
        for _ in range(200):
            outbox, rest = list(self.engine.outbox), list(self.engine.rest_out)
            self.engine.outbox.clear()
            self.engine.rest_out.clear()
            self.core.needs_python = False
            if not self.answering or not (outbox or rest):
                return
            for link, frame in outbox:
                self._answer(link, json.loads(frame))
            for call in rest:
                self._answer_rest(call)
        raise AssertionError("engine and venue talk without end")

    def _answer(self, link: int, request: dict[str, Any]) -> None:
        method, params = request["method"], request.get("params", {})
        if method in ("subscribe", "unsubscribe"):
            for name in params.get("symbol") or [""]:
                result = {"channel": params["channel"], **({"symbol": name} if name else {})}
                if params["channel"] == "executions" and self.rate_count_max is not None:
                    result["maxratecount"] = self.rate_count_max
                self._send(link, {"method": method, "result": result, "success": True, "req_id": request["req_id"]})
                if method == "subscribe" and self.snapshots:
                    self._snapshot(link, params, name)
        elif method == "cancel_all_orders_after":
            fires = time_text(self.now_ns + params["timeout"] * S) if params["timeout"] else "0"
            self._send(link, {"method": method, "success": True, "req_id": request["req_id"],
                              "result": {"currentTime": time_text(self.now_ns), "triggerTime": fires},
                              "time_in": time_text(self.now_ns - self.wall_step_ns + self.venue_ahead_ns),
                              "time_out": time_text(self.now_ns - self.wall_step_ns + self.venue_ahead_ns)})
        elif method == "ping":
            self._send(link, {"method": "pong", "req_id": request["req_id"]})

    def _snapshot(self, link: int, params: dict[str, Any], name: str) -> None:
        channel = params["channel"]
        if channel == "instrument":
            self._send(link, {"channel": "instrument", "type": "snapshot",
                              "data": {"assets": [], "pairs": list(self.specs.values())}})
        elif channel == "book":
            self._raw(link, self.books[name].snapshot(self.now_ns))
        elif channel == "ticker":
            self._raw(link, self.ticker(name))
        elif channel == "ohlc":
            self._send(link, {"channel": "ohlc", "type": "snapshot", "timestamp": time_text(self.now_ns),
                              "data": self.candles(name, params["interval"])})
        elif channel == "executions":
            self.executions(*self.open_orders, snapshot=True)
        elif channel == "balances":
            self.say_balances()

    def _send(self, link: int, document: dict[str, Any]) -> None:
        self._raw(link, json.dumps(document, separators=(",", ":")).encode())

    def _raw(self, link: int, frame: bytes) -> None:
        self.core.frame(link, frame, self.mono_ns, self.now_ns)
        self.core.batch_end(link, self.mono_ns, self.now_ns)

    def ticker(self, name: str) -> bytes:
        """A ticker whose top of book agrees with the book."""
        book = self.books[name]
        bid, ask = max(book.bids), min(book.asks)
        price, qty = book.precisions
        return (f'{{"channel":"ticker","type":"update","data":[{{"symbol":"{name}","bid":{format_raw(bid, price)},'
                f'"bid_qty":{format_raw(book.bids[bid], qty)},"ask":{format_raw(ask, price)},'
                f'"ask_qty":{format_raw(book.asks[ask], qty)},"last":{format_raw(bid, price)},"volume":1.5,"vwap":1.5,'
                f'"low":1.0,"high":2.0,"change":0.1,"change_pct":0.1}}]}}').encode()

    def candles(self, name: str, interval_min: int) -> list[dict[str, Any]]:
        """Ninety candles up to now, each with a million of traded value."""
        width = interval_min * 60 * S
        price = format_raw(max(self.books[name].bids), PRECISIONS[name][0])
        qty = f"{Decimal(1_000_000) / Decimal(price):.8f}"
        first = self.now_ns // width - 89
        return [{"symbol": name, "open": price, "high": price, "low": price, "close": price, "vwap": price, "trades": 9,
                 "volume": qty, "interval": interval_min, "interval_begin": time_text((first + n) * width),
                 "timestamp": time_text((first + n + 1) * width)} for n in range(90)]

    def executions(self, *rows: dict[str, Any], snapshot: bool = False) -> None:
        """Execution reports of one message, in sequence."""
        self._sequenced("executions", rows, snapshot=snapshot)

    def say_balances(self, *rows: dict[str, Any]) -> None:
        """Balance updates, or without any the snapshot of all balances."""
        whole = tuple({"asset": asset, "balance": total, "wallets": [{"balance": total, "type": "spot", "id": "main"}]}
                      for asset, total in self.balances.items())
        self._sequenced("balances", rows or whole, snapshot=not rows)

    def _sequenced(self, channel: str, rows: Iterable[dict[str, Any]], *, snapshot: bool) -> None:
        self.sequence[channel] = 1 if snapshot else self.sequence[channel] + 1
        self._send(Link.LINK_PRIVATE, {"channel": channel, "type": "snapshot" if snapshot else "update",
                                       "data": list(rows), "sequence": self.sequence[channel]})

    def _balance_ex(self, _params: dict[str, str]) -> dict[str, Any]:
        return {asset: {"balance": total, "hold_trade": "0"} for asset, total in self.balances.items()}

    def _depth(self, params: dict[str, str]) -> dict[str, Any]:
        name, rows = params["pair"], int(params["count"])
        return {name: self.books[name].reading(rows, self.now_ns)}

    def _answer_rest(self, call: Any) -> None:
        params = dict(call.request.params)
        self.asked.append((call.request.method, params))
        result = self.rest[call.request.method]
        result = result(params) if callable(result) else result
        if result == NO_WORD:
            return
        if isinstance(result, str):
            result = Answer(200, json.dumps({"error": [result]}))
        elif not isinstance(result, Answer):
            result = Answer(200, json.dumps({"error": [], "result": result}))
        payload = {"id": call.call_id, "status": result.status, "body": result.body, "error": result.error}
        self.core.event(EventKind.EVENT_REST_REPLY, 0, self.mono_ns, self.now_ns, json.dumps(payload).encode())

    # Looking at the engine.

    @property
    def slot(self) -> Any:
        """The first instrument's slot."""
        return self.core.slots[0]

    def verified(self, number: int = 0) -> bool:
        """Whether an instrument's book is verified."""
        return bool(self.core.slots[number].book.state == BookState.BOOK_VERIFIED)

    def counters(self) -> dict[str, int]:
        """All counters."""
        return dict(self.core.counter_values())

    def faults(self) -> list[int]:
        """Book faults by code."""
        return list(self.core.fault_counts()[0])

    def order_frames(self, action: OrderAction | None = None) -> list[bytes]:
        """Order frames recorded so far."""
        return [payload for kind, tag, payload in self.recorder.captured
                if kind == EventKind.OUT_ORDER_FRAME and (action is None or tag == action)]

    def live(self, kind: IntentKind | None = None) -> list[dict[str, Any]]:
        """Live orders."""
        orders = [self.core.order(index) for index in self.core.live_orders()]
        return [order for order in orders if kind is None or order["kind"] == kind]

    def first_order(self) -> dict[str, Any]:
        """Let the strategy open and return its order, which has been sent and is not answered."""
        for _ in range(200):
            if self.live():
                break
            self.step()
            self.tick()
        (order,) = self.live()
        assert order["state"] == OrderState.ORDER_SENT
        return order

    def exit_order(self, seconds: float = 30.0) -> dict[str, Any]:
        """Let time and the book go on until an exit has left; returns its order, which is not answered."""
        for _ in range(int(seconds * 4)):
            if self.live(IntentKind.EXIT):
                break
            self.step()
            self.tick()
        (order,) = self.live(IntentKind.EXIT)
        return order

    def reply(self, order: dict[str, Any], order_id: str = "OAAAAA-BBBBB-CCCCCC") -> None:
        """The venue accepts an order."""
        self._send(Link.LINK_PRIVATE, {"method": "add_order", "req_id": order["req_id"], "success": True,
                                       "result": {"order_id": order_id, "cl_ord_id": order["cl_ord_id"]}})
        self.pump()

    def refuse(self, req_id: int, error: str, method: str = "add_order") -> None:
        """The venue refuses a request."""
        self._send(Link.LINK_PRIVATE, {"method": method, "req_id": req_id, "success": False, "error": error})
        self.pump()

    def report(self, exec_type: str, order: dict[str, Any], order_id: str = "OAAAAA-BBBBB-CCCCCC", **fields: Any) -> None:
        """One execution report of an order."""
        self.executions({"exec_type": exec_type, "cl_ord_id": order["cl_ord_id"], "order_id": order_id,
                         "timestamp": time_text(self.now_ns), **fields})
        self.pump()

    def fill(self, order: dict[str, Any], qty_raw: int, exec_id: str, order_id: str = "OAAAAA-BBBBB-CCCCCC",
             fee: str | None = None, **fields: Any) -> None:
        """The venue executes a part of an order and tells of it; the balances move with it."""
        name = self.names[order["instrument"]]
        price, qty = (format_raw(raw, digits) for raw, digits in
                      zip((order["price_raw"], qty_raw), PRECISIONS[name], strict=True))
        cost = Decimal(price) * Decimal(qty)
        fee = fee if fee is not None else f"{cost * Decimal('0.0025'):.8f}"
        self.move_balance(name.partition("/")[0], order["side"] * Decimal(qty))
        self.move_balance("USD", -order["side"] * cost - Decimal(fee))
        self.report("trade", order, order_id, exec_id=exec_id, trade_id=1, symbol=name, last_qty=Decimal(qty).__str__(),
                    last_price=price, cost=str(cost), side="buy" if order["side"] > 0 else "sell",
                    fees=[{"asset": "USD", "qty": fee}], liquidity_ind="m", **fields)

    def move_balance(self, asset: str, amount: Decimal) -> None:
        """Change what the venue holds of an asset."""
        self.balances[asset] = f"{Decimal(self.balances[asset]) + amount:f}"


def instrument_row(name: str, **changes: Any) -> dict[str, Any]:
    """One pair of the instrument channel."""
    price, qty = PRECISIONS[name]
    base, _, quote = name.partition("/")
    row = {"symbol": name, "base": base, "quote": quote, "status": "online", "qty_precision": qty, "qty_increment": 1e-8,
           "price_precision": price, "cost_precision": 5, "marginable": True, "has_index": True, "cost_min": "0.50",
           "price_increment": f"{Decimal(1).scaleb(-price):f}", "qty_min": "0.00005000"}
    return {**row, **changes}


def replayed(journal: Path) -> JournalReplay:
    """The journal of a session, made again by a fresh engine."""
    engine = Engine(Recorder(), None)
    engine.code = code_of(journal)
    again = JournalReplay(engine)
    for record in records(journal):
        again.feed(record.seq, record.kind, record.tag, record.mono_ns, record.wall_ns, bytes(record.payload))
    return again


def next_order(world: World, seconds: float = 30.0) -> bytes:
    """Let time and books go on until the engine sends another order; returns its frame, and fails where none comes."""
    before = len(world.order_frames(OrderAction.ACTION_ADD))
    for _ in range(int(seconds * 4)):
        world.step()
        world.tick()
        frames = world.order_frames(OrderAction.ACTION_ADD)
        if len(frames) > before:
            return frames[-1]
    raise AssertionError(f"no order within {seconds:g} s: {world.engine.state} ({world.engine.state_reason})")


def eventually(world: World, holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Let time pass until something holds, and fail where it never does."""
    for _ in range(int(seconds * 4)):
        if holds():
            return
        world.step()
    assert holds()
