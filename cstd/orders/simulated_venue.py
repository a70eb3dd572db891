"""SimulatedVenue: Kraken's private socket and matching engine, made from recorded market data.

Purpose: the far side of the order interface. It takes the very bytes that the engine sends and gives the bytes that Kraken
would send back, so that engine, journal and ledger do not know the difference.
Takes: public frames at the time they left the matching engine (`market`), request frames at the time they left us (`send`).
Gives: private frames with the time they reach us (`next_reply_ns`, `take_replies`).

Invariants held here: a pure function of (settings, ordered inputs), without a clock and without randomness; money and
quantities are integers or decimals; what the tape and the book do not prove does not fill; every order that was accepted ends
with a report or is in `orders`. With a history (paper) everything that changes the account is in its records before an answer
tells of it, and a venue that is made of a history goes on from there.

Two clocks meet in whoever drives it: our time, at which frames are received and requests leave, and the matching engine's,
at which market data arises and requests arrive. Inputs come in the order of the engine's clock: `step` up to a time before
`market` of that time. A request that arrives in the same nanosecond as market data comes after it.

docs/simulated-venue.md has the models, what they assume, and what nobody can know.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from cstd.orders import simulated_frames as frames
from cstd.orders.simulated_book import BUY, SELL, SimulatedBook
from cstd.orders.simulated_history import EntryRecord, FillRecord, OrderRecord, SimulatedHistory
from cstd.orders.simulated_queue import QueuePosition
from cstd.orders.simulated_terms import (
    Refused,
    SimulatedOrder,
    SimulatedVenueSettings,
    add_terms,
    amend_fields,
    check_minimum,
    fee_of,
    price_of,
    qty_of,
)
from cstd.units import INT64_MAX, NS_PER_S, from_raw, to_raw
from cstd.venue.fields import FieldError, decode_json
from cstd.venue.messages import BookMessage, InstrumentSpec, InstrumentUpdate, Trade, TradeMessage, decode_public

CHANNELS = ("executions", "balances")
# Requests that arrive, whatever becomes of the connection; a subscription is the connection's own.
ABOUT_ORDERS = tuple(b'{"method":"%s' % name for name in (b"add_order", b"amend_order", b"cancel_order", b"cancel_all"))
ENDED_KEPT = 100_000
ORDER_ID = "OSIM00-00000-"  # and its number
THIRTY_DAYS_NS = 30 * 86_400 * NS_PER_S
TRADES_KEPT = 50  # of a snapshot with trades (kraken-protocol.md 1.15)
ZERO = Decimal(0)
_TAKER_SIDES = {"buy": BUY, "sell": SELL}


class SimulatedVenue:
    """One account at one venue.

    Args:
        settings: latencies, queue model, fees.
        balances: what the account holds at the beginning, by asset; with a history that has begun, what that says holds.
        subscribed: private channels that count as subscribed with their snapshots delivered (for a replay that begins there).
        history: the account's books, None to keep none.
        now_ns: when this begins, or goes on; what was due before is done by the first `step`.

    Attributes:
        orders: open orders by the venue's id, oldest first.
        now_ns: the matching engine's time of the last input.
        fill_count, refusals: what happened, refusals by text.
    """

    def __init__(self, settings: SimulatedVenueSettings, balances: Mapping[str, Decimal], subscribed: Iterable[str] = (),
                 *, history: SimulatedHistory | None = None, now_ns: int = 0) -> None:
        self.settings = settings
        self.balances = dict(balances)
        self.orders: dict[str, SimulatedOrder] = {}
        self.now_ns = 0
        self.fill_count = 0
        self.refusals: Counter[str] = Counter()
        self._books: dict[str, SimulatedBook] = {}
        self._specs: dict[str, InstrumentSpec] = {}
        self._sequences = dict.fromkeys(subscribed, 1)
        self._arriving: deque[tuple[int, bytes]] = deque()
        self._replies: deque[tuple[int, bytes]] = deque()
        self._last_reply_ns = 0
        self._order_count = self._amend_count = self._ledger_count = 0
        self._trades: deque[msgspec.Raw] = deque(maxlen=TRADES_KEPT)
        self._ended: dict[str, None] = {}  # ids of both kinds that were open once
        self._cancel_all_ns = INT64_MAX
        self._heartbeat_ns = INT64_MAX
        self._volume = settings.volume_30d
        self._methods = {
            "add_order": self._add, "amend_order": self._amend, "cancel_order": self._cancel, "cancel_all": self._cancel_all,
            "cancel_all_orders_after": self._cancel_all_after, "subscribe": self._subscribe, "unsubscribe": self._unsubscribe,
        }
        self._history = history
        if history is not None and history.start is not None:
            self._go_on(history, now_ns)
        elif history is not None:
            history.begin(now_ns, balances)

    def _go_on(self, history: SimulatedHistory, now_ns: int) -> None:
        """Take the account as its books have it; what was on its way to us is lost, as with any socket."""
        self.balances = dict(history.balances)
        self.orders = {record.order_id: _order_of(record) for record in history.open_orders()}
        for order in self.orders.values():
            # Where it stands in its queue nobody knows any more: no trade at its price reaches it before its level shows.
            order.queue = QueuePosition(self.settings.queue, self.settings.queue_n, order.terms.spec.qty_precision, None)
        # The greatest number, not how many there are: books of before may have gaps, and no id may be given twice.
        self._order_count = max((int(order_id.removeprefix(ORDER_ID)) for order_id in history.orders), default=0)
        self.fill_count = len(history.fills)
        self._ledger_count, self._cancel_all_ns = len(history.entries), history.fires_ns
        self._volume += history.traded(now_ns - THIRTY_DAYS_NS)
        self._trades.extend([fill.row for fill in list(history.fills.values())[-TRADES_KEPT:]])
        self._arriving = deque((record.arrival_ns, record.frame) for record in history.arriving)
        for record in history.orders.values():
            if record.status != "open":
                self._note_ended(record.order_id, record.terms.cl_ord_id)

    # Instruments.

    def add_instrument(self, spec: InstrumentSpec, depth: int) -> None:
        """Make an instrument known, or change its rules; its book is empty until a snapshot or `load_book`."""
        known = self._specs.get(spec.name)
        self._specs[spec.name] = spec
        if self._history is not None:
            self._history.on_instrument(spec)
        if known is None or (known.price_precision, known.qty_precision) != (spec.price_precision, spec.qty_precision):
            self._books[spec.name] = SimulatedBook(spec, depth)
        else:
            self._books[spec.name].spec = spec

    def load_book(self, name: str, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]], *, verified: bool) -> None:
        """Take the levels of a book that another has kept from the same frames up to now: raw prices and quantities."""
        self._books[name].load(bids, asks, verified=verified)

    def knows(self, name: str) -> bool:
        """Tell whether an instrument was made known."""
        return name in self._specs

    def lose_books(self) -> None:
        """The market is not followed any more: nothing fills before the next snapshots."""
        for book in self._books.values():
            book.verified, book.lost = False, True
            book.taken.clear()

    def hang_up(self) -> None:
        """The private socket ends: what was not delivered is lost, orders on their way arrive, the next one subscribes anew."""
        self._replies.clear()
        self._sequences.clear()
        self._arriving = deque(row for row in self._arriving if row[1].startswith(ABOUT_ORDERS))
        self._heartbeat_ns = INT64_MAX
        self._last_reply_ns = 0

    @property
    def idle(self) -> bool:
        """Whether no market data is needed: nothing is open, on its way or owed, and no level is short of what we took."""
        return not (self.orders or self._arriving or self._replies or any(book.taken for book in self._books.values()))

    # Our side.

    def send(self, now_ns: int, frame: bytes) -> None:
        """Take one request frame that leaves us at `now_ns`; a socket delivers in order."""
        arrival_ns = now_ns + self.settings.out_ns(now_ns)
        if self._arriving:
            arrival_ns = max(arrival_ns, self._arriving[-1][0])
        self._arriving.append((arrival_ns, frame))
        if self._history is not None and frame.startswith(ABOUT_ORDERS):
            self._history.on_sent(arrival_ns, frame)

    @property
    def next_reply_ns(self) -> int:
        """When the next private frame reaches us, INT64_MAX for none so far."""
        return self._replies[0][0] if self._replies else INT64_MAX

    def take_replies(self, until_ns: int) -> list[tuple[int, bytes]]:
        """Private frames that have reached us by `until_ns`, in order, with their times."""
        taken = []
        while self._replies and self._replies[0][0] <= until_ns:
            taken.append(self._replies.popleft())
        return taken

    # The matching engine's time.

    @property
    def next_due_ns(self) -> int:
        """When the next thing happens that is no market data: an arrival, an expiry, the switch, a heartbeat."""
        due_ns = min(self._cancel_all_ns, self._heartbeat_ns)
        if self._arriving:
            due_ns = min(due_ns, self._arriving[0][0])
        return min([due_ns, *(order.terms.expire_ns for order in self.orders.values())])

    def step(self, until_ns: int) -> None:
        """Let everything happen that is due by `until_ns`, in order."""
        while (due_ns := self.next_due_ns) <= until_ns and due_ns < INT64_MAX:
            self.now_ns = max(self.now_ns, due_ns)
            if self._heartbeat_ns == due_ns:
                # After a host that slept: one, and not all of the night.
                self._heartbeat_ns += self.settings.heartbeat_ns * ((until_ns - due_ns) // self.settings.heartbeat_ns + 1)
                self._say(frames.HEARTBEAT)
            elif self._cancel_all_ns == due_ns:
                self._set_switch(INT64_MAX)
                self._end_all("Dead man's switch")
            elif self._arriving and self._arriving[0][0] == due_ns:
                self._on_arrival(self._arriving.popleft()[1])
            else:
                for order in [order for order in self.orders.values() if order.terms.expire_ns <= due_ns]:
                    self._end(order, "expired", "Order expired")

    def market(self, exchange_ns: int, frame: bytes) -> None:
        """Take one public frame as of the time it left the matching engine."""
        self.now_ns = max(self.now_ns, exchange_ns)
        for message in decode_public(frame):
            match message:
                case BookMessage() if message.name in self._books:
                    self._on_book(self._books[message.name], message)
                case TradeMessage(snapshot=False):
                    for trade in message.trades:
                        self._on_trade(trade)
                case InstrumentUpdate():
                    for spec in message.pairs:
                        if spec.name in self._books:
                            self.add_instrument(spec, self._books[spec.name].depth)

    # Market data against resting orders.

    def _resting(self, name: str) -> list[SimulatedOrder]:
        return [order for order in self.orders.values() if order.terms.spec.name == name]

    def _on_book(self, book: SimulatedBook, message: BookMessage) -> None:
        before = book.verified
        book.apply(message)
        if not book.verified:
            return
        for order in self._resting(message.name):
            self._on_level(book, order, known_before=before and not message.snapshot)
            # The other side has come to our price: what shows there would have met us first.
            self._match(book, order, maker=True)

    def _on_level(self, book: SimulatedBook, order: SimulatedOrder, *, known_before: bool) -> None:
        """Move an order in its queue by what the book shows at its price now."""
        queue = order.queue
        assert queue is not None
        shown_raw = book.shown(order.terms.side, order.price_raw)
        if not known_before:
            queue.forget(shown_raw)
        elif shown_raw is not None and (shown_raw != queue.shown_raw or queue.front_raw is None):
            queue.on_shown(shown_raw)

    def _on_trade(self, trade: Trade) -> None:
        """A match of others: it fills what it would have met first, and moves the queue at its price."""
        book, taker = self._books.get(trade.name), _TAKER_SIDES.get(trade.side)
        if book is None or taker is None:
            return
        try:
            price_raw, left_raw = to_raw(trade.price, book.spec.price_precision), to_raw(trade.qty, book.spec.qty_precision)
        except ValueError:
            return
        ours = [order for order in self._resting(trade.name) if order.terms.side == -taker]
        for order in sorted(ours, key=lambda order: -order.terms.side * order.price_raw):
            better = (order.price_raw - price_raw) * order.terms.side
            reached_raw = 0
            if better > 0:
                # The trade went through our price: we stood before all of it.
                reached_raw = left_raw if self.settings.through == "shown" else order.left_raw
            elif better == 0 and book.verified and order.queue is not None:
                reached_raw = order.queue.on_trade(left_raw)
            qty_raw = min(order.left_raw, reached_raw)
            if qty_raw > 0:
                self._fill(order, order.price_raw, qty_raw, maker=True)
                left_raw -= min(qty_raw, left_raw) if self.settings.impact else 0

    def _match(self, book: SimulatedBook, order: SimulatedOrder, *, maker: bool) -> None:
        """Fill what the other side shows at the order's price or better, level by level."""
        if not book.verified:
            return
        side, whole = -order.terms.side, maker and self.settings.through == "whole"
        for price_raw, shown_raw in book.to_take(side, order.price_raw):
            qty_raw = order.left_raw if whole else min(order.left_raw, shown_raw)
            if self.settings.impact:
                book.take(side, price_raw, min(qty_raw, shown_raw))
            self._fill(order, order.price_raw if maker else price_raw, qty_raw, maker=maker)
            if order.left_raw == 0:
                return

    # Requests.

    def _on_arrival(self, frame: bytes) -> None:
        if self._history is not None and frame.startswith(ABOUT_ORDERS):
            self._history.on_arrived()
        self._on_request(frame)

    def _on_request(self, frame: bytes) -> None:
        try:
            request = decode_json(frame)
        except FieldError:
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            self._say(frames.refusal("", None, "Malformed request", self.now_ns))
            return
        method, req_id, params = request["method"], request.get("req_id"), request.get("params", {})
        if method == "ping":
            self._say(frames.pong(req_id, self.now_ns))
            return
        try:
            if method not in self._methods or not isinstance(params, dict):
                raise Refused("EGeneral:Unknown method")
            self._methods[method](req_id, params)
        except Refused as refused:
            self._refuse(method, req_id, str(refused))

    def _refuse(self, method: str, req_id: Any, error: str) -> None:
        self.refusals[error] += 1
        self._say(frames.refusal(method, req_id, error, self.now_ns))

    def _say(self, frame: bytes) -> None:
        """A frame leaves the venue; a socket delivers in order."""
        self._last_reply_ns = max(self._last_reply_ns, self.now_ns + self.settings.back_ns(self.now_ns))
        self._replies.append((self._last_reply_ns, frame))

    def _tell(self, channel: str, *rows: dict[str, Any]) -> None:
        if channel in self._sequences:
            self._sequences[channel] += 1
            self._say(frames.channel(channel, "update", list(rows), self._sequences[channel]))

    def _subscribe(self, req_id: Any, params: Mapping[str, Any]) -> None:
        channel = params.get("channel")
        if channel not in CHANNELS:
            raise Refused("Subscription name invalid")
        if channel in self._sequences:
            raise Refused("Already subscribed")
        result = {"channel": channel}
        if channel == "executions":
            result |= {"snap_orders": True, "snap_trades": params.get("snap_trades") is True,
                       "maxratecount": self.settings.rate_count_max}
            rows: list[Any] = list(self._trades) if params.get("snap_trades") is True else []
            rows += [frames.open_row(order, self.now_ns) for order in self.orders.values()]
        else:
            rows = [frames.balance_row(asset, balance) for asset, balance in self.balances.items()]
        if self.settings.heartbeat_ns and self._heartbeat_ns == INT64_MAX:
            self._heartbeat_ns = self.now_ns + self.settings.heartbeat_ns
        self._sequences[channel] = 1
        self._say(frames.reply("subscribe", req_id, result, self.now_ns))
        self._say(frames.channel(channel, "snapshot", rows, 1))

    def _unsubscribe(self, req_id: Any, params: Mapping[str, Any]) -> None:
        channel = params.get("channel")
        if not isinstance(channel, str) or channel not in self._sequences:
            raise Refused("Subscription Not Found")
        del self._sequences[channel]
        self._say(frames.reply("unsubscribe", req_id, {"channel": channel}, self.now_ns))

    def _add(self, req_id: Any, params: Mapping[str, Any]) -> None:
        order = self._accepted(params)
        named = {"cl_ord_id": order.terms.cl_ord_id} if order.terms.cl_ord_id else {}
        self._say(frames.reply("add_order", req_id, {"order_id": order.order_id, **named}, self.now_ns))
        self._open(order)

    def _accepted(self, params: Mapping[str, Any]) -> SimulatedOrder:
        """The order that a request asks for. Raises Refused."""
        terms = add_terms(params, self._specs, self.now_ns)
        if terms.cl_ord_id and any(order.terms.cl_ord_id == terms.cl_ord_id for order in self.orders.values()):
            raise Refused("EGeneral:Invalid arguments:cl_ord_id not unique")
        order = SimulatedOrder(terms, f"{ORDER_ID}{self._order_count + 1:06}")
        self._check_funds(order)
        self._order_count += 1  # an order that is refused has no number: the account's books know none of it
        return order

    def _open(self, order: SimulatedOrder) -> None:
        """An order that was accepted is on record, is told, and comes to the book."""
        if self._history is not None:
            self._history.on_order(order, self.now_ns)
        self._tell("executions", frames.pending_row(order, self.now_ns))
        self._tell("executions", frames.new_row(order, self.now_ns))
        self._ended.pop(order.terms.cl_ord_id, None)
        self.orders[order.order_id] = order
        self._enter(order)

    def _enter(self, order: SimulatedOrder) -> None:
        """An order comes to the book, new or amended: it meets our own, takes what it may, and rests or ends."""
        terms, book = order.terms, self._books[order.terms.spec.name]
        if not self._prevent_self_trade(order):
            return
        crossing = book.to_take(-terms.side, order.price_raw) if book.verified else []
        if terms.post_only and (crossing or not book.verified):
            self._end(order, "canceled", "Post only order")
            return
        if terms.time_in_force == "fok" and sum(qty_raw for _, qty_raw in crossing) < order.left_raw:
            self._end(order, "canceled", "Fill or kill")
            return
        self._match(book, order, maker=False)
        if order.left_raw == 0:
            return
        if terms.time_in_force in ("ioc", "fok"):
            self._end(order, "canceled", "Immediate or cancel")
            return
        shown_raw = book.shown(terms.side, order.price_raw) if book.verified else None
        order.queue = QueuePosition(self.settings.queue, self.settings.queue_n, terms.spec.qty_precision, shown_raw)

    def _prevent_self_trade(self, order: SimulatedOrder) -> bool:
        """Cancel what would trade with itself, as the newer order asks; False when that ended the newer one."""
        side = order.terms.side
        met = [other for other in self._resting(order.terms.spec.name)
               if other.terms.side == -side and (other.price_raw - order.price_raw) * side <= 0]
        if met and order.terms.stp_type != "cancel_newest":
            for other in met:
                self._end(other, "canceled", "Self trade prevention")
        if met and order.terms.stp_type != "cancel_oldest":
            self._end(order, "canceled", "Self trade prevention")
            return False
        return True

    def _check_funds(self, order: SimulatedOrder) -> None:
        """Refuse what the account cannot pay, open orders counted with their fees."""
        asset = _paid_in(order)
        if self.balances.get(asset, ZERO) < self.held(but=order).get(asset, ZERO) + self._hold(order):
            raise Refused("EOrder:Insufficient funds")

    def held(self, but: SimulatedOrder | None = None) -> dict[str, Decimal]:
        """What open orders hold back, by asset; one of them may be left out."""
        held: dict[str, Decimal] = {}
        for order in self.orders.values():
            if order is not but:
                held[_paid_in(order)] = held.get(_paid_in(order), ZERO) + self._hold(order)
        return held

    def _hold(self, order: SimulatedOrder) -> Decimal:
        if order.terms.side == SELL:
            return from_raw(order.left_raw, order.terms.spec.qty_precision)
        cost = order.value(order.price_raw, order.left_raw)
        return cost + fee_of(cost, self.settings.fee_bps(self._volume, maker=False))

    def _amend(self, req_id: Any, params: Mapping[str, Any]) -> None:
        amend_fields(params, self.now_ns)
        order = self._find(params.get("order_id"), params.get("cl_ord_id"))
        spec, book = order.terms.spec, self._books[order.terms.spec.name]
        qty_raw = qty_of(params, spec) if "order_qty" in params else order.qty_raw
        price_raw = price_of(params, spec) if "limit_price" in params else order.price_raw
        before = order.qty_raw, order.price_raw
        if qty_raw > order.filled_raw:
            check_minimum(spec, price_raw, qty_raw)
            if params.get("post_only") is True and book.verified and book.to_take(-order.terms.side, price_raw):
                raise Refused("EOrder:Post only order")
            order.qty_raw, order.price_raw = qty_raw, price_raw
            try:
                self._check_funds(order)
            except Refused:
                order.qty_raw, order.price_raw = before
                raise
        self._amend_count += 1
        named = {key: params[key] for key in ("order_id", "cl_ord_id") if key in params}
        self._say(frames.reply("amend_order", req_id, {"amend_id": f"TSIM00-00000-{self._amend_count:06}", **named}, self.now_ns))
        if qty_raw <= order.filled_raw:
            self._end(order, "canceled", "User requested")
            return
        if self._history is not None:
            self._history.on_order(order, self.now_ns)
        self._tell("executions", frames.amended_row(order, self.now_ns))
        if price_raw != before[1] or qty_raw > before[0]:
            self._enter(order)  # its place in the queue is lost

    def _cancel(self, req_id: Any, params: Mapping[str, Any]) -> None:
        """One reply for each order, all with the same req_id."""
        named = [(key, value) for key in ("order_id", "cl_ord_id") for value in _texts(params, key)]
        if not named:
            raise Refused("EGeneral:Invalid arguments")
        for key, value in named:
            try:
                order = self._find(**{"order_id": None, "cl_ord_id": None, key: value})
            except Refused as refused:
                self._refuse("cancel_order", req_id, str(refused))
                continue
            self._say(frames.reply("cancel_order", req_id, {key: value}, self.now_ns))
            self._end(order, "canceled", "User requested")

    def _find(self, order_id: Any, cl_ord_id: Any) -> SimulatedOrder:
        """The open order of one id. Raises Refused: it has ended, or never was."""
        ids = [named for named in (order_id, cl_ord_id) if isinstance(named, str) and named]
        for order in self.orders.values():
            if order.order_id in ids or order.terms.cl_ord_id in ids:
                return order
        raise Refused("EOrder:Unknown order" if any(named in self._ended for named in ids) else "EOrder:Invalid order")

    def _cancel_all(self, req_id: Any, params: Mapping[str, Any]) -> None:
        self._say(frames.reply("cancel_all", req_id, {"count": len(self.orders)}, self.now_ns))
        self._end_all("User requested")

    def _cancel_all_after(self, req_id: Any, params: Mapping[str, Any]) -> None:
        timeout_s = params.get("timeout")
        if not isinstance(timeout_s, int) or isinstance(timeout_s, bool) or not 0 <= timeout_s < 86_400:
            raise Refused("EGeneral:Invalid arguments:timeout")
        self._set_switch(self.now_ns + timeout_s * NS_PER_S if timeout_s else INT64_MAX)
        fires = frames.second_text(self._cancel_all_ns) if timeout_s else "0"
        self._say(frames.reply("cancel_all_orders_after", req_id,
                               {"currentTime": frames.second_text(self.now_ns), "triggerTime": fires}, self.now_ns))

    def _set_switch(self, fires_ns: int) -> None:
        self._cancel_all_ns = fires_ns
        if self._history is not None:
            self._history.on_switch(fires_ns)

    # By REST: the same, without a reply on the socket.

    def add_by_rest(self, now_ns: int, params: Mapping[str, Any]) -> str:
        """Take an order whose fields are those of add_order; returns its id. Raises Refused."""
        self.now_ns = max(self.now_ns, now_ns)
        order = self._accepted(params)
        self._open(order)
        return order.order_id

    def cancel_by_rest(self, now_ns: int, *, order_id: str | None = None, cl_ord_id: str | None = None) -> int:
        """Cancel one order, or with neither id all of them; returns how many. Raises Refused."""
        self.now_ns = max(self.now_ns, now_ns)
        if order_id is None and cl_ord_id is None:
            count = len(self.orders)
            self._end_all("User requested")
            return count
        self._end(self._find(order_id, cl_ord_id), "canceled", "User requested")
        return 1

    # What becomes of an order.

    def _fill(self, order: SimulatedOrder, price_raw: int, qty_raw: int, *, maker: bool) -> None:
        spec, side = order.terms.spec, order.terms.side
        cost = order.value(price_raw, qty_raw)
        fee = fee_of(cost, self.settings.fee_bps(self._volume, maker=maker))
        self._volume += cost
        self.fill_count += 1
        exec_id = f"TSIMEX-00000-{self.fill_count:06}"
        order.filled_raw += qty_raw
        order.cost += cost
        row = frames.trade_row(order, exec_id, self.fill_count, price_raw, qty_raw, fee, self.now_ns, maker=maker)
        self._trades.append(msgspec.Raw(msgspec.json.encode(row)))
        if self._history is not None:
            self._history.on_fill(order, FillRecord(
                exec_id, self.fill_count, order.order_id, from_raw(price_raw, spec.price_precision),
                from_raw(qty_raw, spec.qty_precision), cost, fee, maker, self.now_ns, self._trades[-1]))
        self._tell("executions", row)
        self._move(exec_id, spec.base, side * from_raw(qty_raw, spec.qty_precision), ZERO)
        self._move(exec_id, spec.quote, -side * cost, fee)
        if order.left_raw == 0:
            if self._history is not None:
                self._history.on_order(order, self.now_ns, "closed")
            self._tell("executions", frames.filled_row(order, self.now_ns))
            self._forget(order)

    def _move(self, exec_id: str, asset: str, amount: Decimal, fee: Decimal) -> None:
        self.balances[asset] = self.balances.get(asset, ZERO) + amount - fee
        self._ledger_count += 1
        row = frames.ledger_row(self._ledger_count, exec_id, asset, amount, fee, self.balances[asset], self.now_ns)
        if self._history is not None:
            self._history.on_entry(EntryRecord(row["ledger_id"], exec_id, asset, amount, fee, self.balances[asset], self.now_ns))
        self._tell("balances", row)

    def _end(self, order: SimulatedOrder, exec_type: str, reason: str) -> None:
        if self._history is not None:
            self._history.on_order(order, self.now_ns, exec_type, reason)
        self._tell("executions", frames.ended_row(order, exec_type, reason, self.now_ns))
        self._forget(order)

    def _end_all(self, reason: str) -> None:
        for order in list(self.orders.values()):
            self._end(order, "canceled", reason)

    def _forget(self, order: SimulatedOrder) -> None:
        del self.orders[order.order_id]
        self._note_ended(order.order_id, order.terms.cl_ord_id)

    def _note_ended(self, *ids: str) -> None:
        for known in filter(None, ids):
            self._ended[known] = None
            if len(self._ended) > ENDED_KEPT:
                del self._ended[next(iter(self._ended))]


def _paid_in(order: SimulatedOrder) -> str:
    return order.terms.spec.quote if order.terms.side == BUY else order.terms.spec.base


def _order_of(record: OrderRecord) -> SimulatedOrder:
    order = SimulatedOrder(record.terms, record.order_id)
    order.qty_raw, order.price_raw = record.qty_raw, record.price_raw
    order.filled_raw, order.cost = record.filled_raw, record.cost
    return order


def _texts(params: Mapping[str, Any], key: str) -> list[str]:
    value = params.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Refused(f"EGeneral:Invalid arguments:{key}")
    return value
