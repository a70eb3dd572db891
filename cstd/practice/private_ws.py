"""The private websocket: executions, balances, and trading requests; refuses market data."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial

from cstd.practice import reports
from cstd.practice.account import Order
from cstd.practice.connections import Connection, Envelope, SocketServer, WallClock
from cstd.practice.desk import Event
from cstd.practice.exchange import Exchange
from cstd.practice.matching import BUY, SELL
from cstd.practice.public_ws import CHANNELS as PUBLIC_CHANNELS
from cstd.practice.requests import AddRequest, AmendRequest, RefusalError, check_cl_ord_id
from cstd.practice.wire import dumps, parse_rfc3339_ns, rfc3339_s

WRONG_HOST = "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"
SNAPSHOT_FILLS = 50
BATCH_ADD = (2, 15)
BATCH_CANCEL_MAX = 50
CLOSING = ("new", "trade", "filled", "canceled", "expired")

ADD_FIELDS = {
    "order_type",
    "side",
    "order_qty",
    "symbol",
    "limit_price",
    "limit_price_type",
    "triggers",
    "time_in_force",
    "expire_time",
    "effective_time",
    "deadline",
    "post_only",
    "reduce_only",
    "margin",
    "cl_ord_id",
    "order_userref",
    "conditional",
    "display_qty",
    "cash_order_qty",
    "fee_preference",
    "stp_type",
    "validate",
    "sender_sub_id",
    "no_mpp",
    "stop_price",
    "trigger",
    "token",
}
AMEND_FIELDS = {
    "order_id",
    "cl_ord_id",
    "order_qty",
    "limit_price",
    "limit_price_type",
    "display_qty",
    "post_only",
    "trigger_price",
    "trigger_price_type",
    "deadline",
    "symbol",
    "token",
}
EDIT_FIELDS = {
    "order_id",
    "symbol",
    "order_qty",
    "limit_price",
    "display_qty",
    "post_only",
    "reduce_only",
    "triggers",
    "fee_preference",
    "order_userref",
    "deadline",
    "validate",
    "token",
}
METHOD_FIELDS = {
    "add_order": ADD_FIELDS,
    "amend_order": AMEND_FIELDS,
    "edit_order": EDIT_FIELDS,
    "cancel_order": {"order_id", "cl_ord_id", "order_userref", "token"},
    "cancel_all": {"token"},
    "cancel_all_orders_after": {"timeout", "token"},
    "batch_add": {"symbol", "orders", "deadline", "validate", "token"},
    "batch_cancel": {"orders", "cl_ord_id", "token"},
}


def _number(params: dict[str, object], name: str) -> Decimal | None:
    """Return a number field exactly as written, None if absent; a string is no number here."""
    value = params.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise RefusalError(f"EGeneral:Invalid arguments:{name}")
    number = Decimal(value)
    if not number.is_finite():
        raise RefusalError(f"EGeneral:Invalid arguments:{name}")
    return number


def _flag(params: dict[str, object], name: str) -> bool:
    value = params.get(name, False)
    if not isinstance(value, bool):
        raise RefusalError(f"EGeneral:Invalid arguments:{name}")
    return value


def _time_ns(params: dict[str, object], name: str) -> int | None:
    if params.get(name) is None:
        return None
    moment_ns = parse_rfc3339_ns(str(params[name]))
    if moment_ns is None:
        raise RefusalError(f"EGeneral:Invalid arguments:{name}")
    return moment_ns


def _choice(params: dict[str, object], name: str, default: str, choices: tuple[str, ...]) -> str:
    value = params.get(name, default)
    if not isinstance(value, str) or value.lower() not in choices:
        raise RefusalError(f"EGeneral:Invalid arguments:{name}")
    return value.lower()


def _time_in_force(exchange: Exchange, params: dict[str, object]) -> str:
    value = _choice(params, "time_in_force", "gtc", ("gtc", "gtd", "ioc", "fok"))
    exchange.readings.meet("time_in_force_any_case")
    if not exchange.readings.time_in_force_any_case and params.get("time_in_force", value) != value:
        raise RefusalError("EGeneral:Invalid arguments:time_in_force")
    return value


def check_fields(method: str, params: dict[str, object], allowed: set[str]) -> None:
    """Refuse a key that Kraken does not know for this request."""
    for name in params:
        if name not in allowed:
            raise RefusalError(f"Unsupported field: '{name}' for the given msg type: {method.replace('_', ' ')}")


def parse_add(exchange: Exchange, params: dict[str, object]) -> AddRequest:
    """Return the order that add_order's params describe; refuses what this exchange cannot do."""
    instrument = exchange.instruments.get(str(params.get("symbol")))
    if instrument is None:
        raise RefusalError("EQuery:Unknown asset pair")
    if _flag(params, "margin"):
        raise RefusalError("EOrder:Margin allowance exceeded")
    if _flag(params, "reduce_only"):
        raise RefusalError("EOrder:Reduce only:No position exists")
    # Stops are kept by the daemon itself; the venue's triggered orders, closes and scheduled starts are not offered here.
    order_type = _choice(params, "order_type", "", ("limit", "market", "iceberg"))
    for name in ("triggers", "conditional", "effective_time", "stop_price", "trigger"):
        if params.get(name) is not None:
            raise RefusalError(f"EGeneral:Invalid arguments:{name}")
    _choice(params, "limit_price_type", "static", ("static", "quote"))
    side = BUY if _choice(params, "side", "", ("buy", "sell")) == "buy" else SELL
    if side == SELL:
        exchange.readings.meet("sell_fee_in_base")
    fee_default = "base" if side == SELL and exchange.readings.sell_fee_in_base else "quote"
    userref, cl_ord_id = params.get("order_userref"), params.get("cl_ord_id")
    if userref is not None and (not isinstance(userref, int) or isinstance(userref, bool) or abs(userref) > 1 << 31):
        raise RefusalError("EGeneral:Invalid arguments:order_userref")
    return AddRequest(
        instrument,
        side,
        order_type,
        qty=_number(params, "order_qty"),
        limit_price=_number(params, "limit_price"),
        cash_qty=_number(params, "cash_order_qty"),
        time_in_force=_time_in_force(exchange, params),
        expire_ns=_time_ns(params, "expire_time"),
        post_only=_flag(params, "post_only"),
        display_qty=_number(params, "display_qty"),
        cl_ord_id=None if cl_ord_id is None else check_cl_ord_id(cl_ord_id, exchange.readings),
        userref=userref,
        stp=_choice(params, "stp_type", "cancel_newest", ("cancel_newest", "cancel_oldest", "cancel_both")),
        fee_in_base=_choice(params, "fee_preference", fee_default, ("base", "quote")) == "base",
        deadline_ns=_time_ns(params, "deadline"),
        validate=_flag(params, "validate"),
    )


class PrivateServer(SocketServer):
    """Serves the account. Sequence numbers are per connection and channel."""

    def __init__(self, exchange: Exchange, clock: WallClock) -> None:
        super().__init__(exchange, clock)
        self._sequences: dict[tuple[int, str], int] = {}
        self._subscribers: dict[str, dict[Connection, dict[str, object]]] = {"executions": {}, "balances": {}}
        exchange.on_private.append(self._publish)
        self._trading: dict[str, Callable[[Envelope, dict[str, object]], None]] = {
            "add_order": self._add_order,
            "amend_order": self._amend_order,
            "edit_order": self._edit_order,
            "cancel_order": self._cancel_order,
            "cancel_all": self._cancel_all,
            "cancel_all_orders_after": self._cancel_all_orders_after,
            "batch_add": self._batch_add,
            "batch_cancel": self._batch_cancel,
        }

    # --- dispatch -----------------------------------------------------------------------------------------------------

    def handle(self, envelope: Envelope, params: dict[str, object]) -> None:
        """Answer a subscription or a trading request; events of the action follow the reply."""
        method = envelope.method
        if method in ("subscribe", "unsubscribe"):
            self._subscription(envelope, params)
            return
        action = self._trading.get(method)
        if action is None:
            envelope.error("Malformed request")
            return
        try:
            check_fields(method, params, METHOD_FIELDS[method])
            if not self.exchange.credentials.token_valid(params.get("token"), self.clock()):
                raise RefusalError("EAPI:Invalid token")
            action(envelope, params)
        except RefusalError as refusal:
            envelope.error(refusal.text)
        self.exchange.settle()

    def _reply(self, envelope: Envelope, result: object) -> None:
        if self.exchange.desk.outbox:
            self.exchange.readings.meet("events_before_reply")
        if self.exchange.readings.events_before_reply:
            self.exchange.settle()
        envelope.ok(result)

    # --- subscriptions ------------------------------------------------------------------------------------------------

    def _subscription(self, envelope: Envelope, params: dict[str, object]) -> None:
        channel = params.get("channel")
        if channel in PUBLIC_CHANNELS:
            envelope.error(WRONG_HOST)
            return
        if channel not in self._subscribers:
            envelope.error("Subscription name invalid")
            return
        token = params.get("token")
        if not self.exchange.credentials.token_valid(token, self.clock()):
            envelope.error("ESession:Invalid session", channel=channel, status="error")
            return
        connection, channel = envelope.connection, str(channel)
        if envelope.method == "unsubscribe":
            if connection not in self._subscribers[channel]:
                envelope.error("Subscription Not Found")
                return
            self._leave(connection, channel)
            envelope.ok({"channel": channel})
            return
        if connection in self._subscribers[channel]:
            self.exchange.readings.meet("duplicate_subscribe_refused")
        if connection in self._subscribers[channel] and self.exchange.readings.duplicate_subscribe_refused:
            envelope.error("Already subscribed")
            return
        self.exchange.credentials.hold_token(str(token), id(connection))
        self._join(envelope, params, channel)

    def _join(self, envelope: Envelope, params: dict[str, object], channel: str) -> None:
        connection = envelope.connection
        self._subscribers[channel][connection] = params
        connection.subscribed[(channel,)] = None
        self._sequences[(connection.number, channel)] = 0
        if channel == "balances":
            snapshot = params.get("snapshot", True) is True
            envelope.ok({"channel": channel, "snapshot": snapshot})
            if snapshot:
                self._send(connection, channel, "snapshot", reports.balance_snapshot(self.exchange.account.balances))
            return
        with_orders = params.get("snap_orders", params.get("snapshot", True)) is True
        with_fills = params.get("snap_trades", params.get("snapshot_trades", False)) is True
        envelope.ok(
            {
                "channel": channel,
                "maxratecount": int(self.exchange.tier.trading_max),
                "snap_orders": with_orders,
                "snap_trades": with_fills,
            }
        )
        if with_orders or with_fills:
            account = self.exchange.account
            rows = [reports.trade(f, f.order.status) for f in account.fills[-SNAPSHOT_FILLS:]] if with_fills else []
            rows += [reports.snapshot_order(o) for o in account.open.values()] if with_orders else []
            self._send(connection, channel, "snapshot", rows)

    def _leave(self, connection: Connection, channel: str) -> None:
        self._subscribers[channel].pop(connection, None)
        self._sequences.pop((connection.number, channel), None)
        connection.subscribed.pop((channel,), None)

    def forget(self, connection: Connection) -> None:
        """Drop the subscriptions of a closed connection and let its tokens age again."""
        for channel in self._subscribers:
            self._leave(connection, channel)
        self.exchange.credentials.release_tokens(id(connection))

    def _send(self, connection: Connection, channel: str, kind: str, rows: list[reports.EventBody]) -> None:
        sequence = self._sequences[(connection.number, channel)] + 1
        self._sequences[(connection.number, channel)] = sequence
        connection.send(dumps({"channel": channel, "type": kind, "data": rows, "sequence": sequence}))

    def _publish(self, events: list[Event]) -> None:
        for event in events:
            for connection, params in list(self._subscribers[event.channel].items()):
                body = event.body
                if event.channel == "executions":
                    if params.get("order_status", True) is False and body["exec_type"] not in CLOSING:
                        continue
                    if params.get("ratecounter", False) is True:
                        self.exchange.readings.meet("rate_count_field")
                        body = {**body, self.exchange.readings.rate_count_field: round(event.rate_count, 4)}
                self.line.report(body.get("exec_type"), partial(self._send_if_there, connection, event.channel, body))

    def _send_if_there(self, connection: Connection, channel: str, body: reports.EventBody) -> None:
        if connection in self._subscribers[channel]:
            self._send(connection, channel, "update", [body])

    # --- trading ------------------------------------------------------------------------------------------------------

    @staticmethod
    def _result(order: Order) -> dict[str, object]:
        return {k: v for k, v in reports.ids(order).items() if v}

    def _add_order(self, envelope: Envelope, params: dict[str, object]) -> None:
        request = parse_add(self.exchange, params)
        order = self.exchange.desk.add(request, self.clock())
        result = self._result(order)
        if request.validate:
            result.pop("order_id", None)
        self._reply(envelope, result)

    def _find(self, params: dict[str, object]) -> Order:
        order_id, cl_ord_id = params.get("order_id"), params.get("cl_ord_id")
        if (order_id is None) == (cl_ord_id is None):
            raise RefusalError("EGeneral:Invalid arguments")
        return self.exchange.desk.find_open(order_id=order_id, cl_ord_id=cl_ord_id)

    def _amend_order(self, envelope: Envelope, params: dict[str, object]) -> None:
        order = self._find(params)
        if params.get("trigger_price") is not None:
            raise RefusalError("EGeneral:Invalid arguments:trigger_price")
        self.exchange.readings.meet("amend_qty_required")
        if self.exchange.readings.amend_qty_required and params.get("order_qty") is None:
            raise RefusalError("EGeneral:Invalid arguments:order_qty")
        request = AmendRequest(
            qty=_number(params, "order_qty"),
            limit_price=_number(params, "limit_price"),
            display_qty=_number(params, "display_qty"),
            post_only=_flag(params, "post_only") if "post_only" in params else None,
            deadline_ns=_time_ns(params, "deadline"),
        )
        amend_id = self.exchange.desk.amend(order, request, self.clock())
        used = "order_id" if "order_id" in params else "cl_ord_id"
        self._reply(envelope, {"amend_id": amend_id, used: params[used]})

    def _edit_order(self, envelope: Envelope, params: dict[str, object]) -> None:
        order = self.exchange.desk.find_open(order_id=params.get("order_id"))
        if order.instrument.name != params.get("symbol"):
            raise RefusalError("EQuery:Unknown asset pair")
        if order.filled_raw:
            raise RefusalError("EOrder:Invalid order")
        qty = _number(params, "order_qty")
        price = _number(params, "limit_price")
        instrument = order.instrument
        asked: dict[str, object] = {
            "symbol": instrument.name,
            "side": order.side_word,
            "order_type": order.order_type,
            "order_qty": qty if qty is not None else Decimal(order.qty_raw).scaleb(-instrument.qty_precision),
            "limit_price": price if price is not None else Decimal(order.limit_raw or 0).scaleb(-instrument.price_precision),
            **{
                k: v
                for k, v in params.items()
                if k in ("display_qty", "post_only", "fee_preference", "order_userref", "deadline", "validate")
            },
        }
        new = self.exchange.desk.edit(order, parse_add(self.exchange, asked), self.clock())
        self._reply(envelope, {"order_id": new.order_id, "original_order_id": order.order_id})

    def _cancel_order(self, envelope: Envelope, params: dict[str, object]) -> None:
        """Answer once per order, all with the same req_id."""
        wanted = [(name, v) for name in ("order_id", "cl_ord_id", "order_userref") for v in self._list(params, name)]
        if not wanted:
            raise RefusalError("EGeneral:Invalid arguments")
        for name, value in wanted:
            try:
                orders = self._by_userref(value) if name == "order_userref" else [self.exchange.desk.find_open(**{name: value})]
                for order in orders:
                    self.exchange.desk.cancel(order, self.clock())
                    self._reply(envelope, {name: value})
            except RefusalError as refusal:
                envelope.error(refusal.text)

    def _by_userref(self, value: object) -> list[Order]:
        orders = [o for o in self.exchange.account.open.values() if o.userref is not None and o.userref == value]
        if not orders:
            raise RefusalError("EOrder:Unknown order")
        return orders

    @staticmethod
    def _list(params: dict[str, object], name: str) -> list[object]:
        value = params.get(name, [])
        if not isinstance(value, list):
            raise RefusalError(f"EGeneral:Invalid arguments:{name}")
        return value

    def _cancel_all(self, envelope: Envelope, params: dict[str, object]) -> None:
        self._reply(envelope, {"count": self.exchange.desk.cancel_all(self.clock())})

    def _cancel_all_orders_after(self, envelope: Envelope, params: dict[str, object]) -> None:
        now_ns = self.clock()
        trigger_ns = self.exchange.desk.cancel_all_after(params.get("timeout"), now_ns)
        self._reply(envelope, {"currentTime": rfc3339_s(now_ns), "triggerTime": rfc3339_s(trigger_ns) if trigger_ns else "0"})

    def _batch_add(self, envelope: Envelope, params: dict[str, object]) -> None:
        """Validation is for the whole batch, the engine's checks are per order."""
        rows = self._list(params, "orders")
        if not BATCH_ADD[0] <= len(rows) <= BATCH_ADD[1] or not all(isinstance(r, dict) for r in rows):
            raise RefusalError("EGeneral:Invalid arguments:orders")
        requests = []
        for row in rows:
            assert isinstance(row, dict), "checked above"
            check_fields("add_order", row, ADD_FIELDS - {"symbol", "deadline", "validate", "token"})
            shared: dict[str, object] = {k: params[k] for k in ("symbol", "deadline", "validate") if k in params}
            requests.append(parse_add(self.exchange, {**row, **shared}))
        results: list[dict[str, object]] = []
        for request in requests:
            try:
                order = self.exchange.desk.add(request, self.clock(), charge=0.5)
                results.append(self._result(order))
            except RefusalError as refusal:
                results.append({"error": refusal.text})
        self._reply(envelope, self._batch_result(results))

    def _batch_result(self, rows: list[dict[str, object]]) -> object:
        """Return the result of a batch; where a row failed it may have another shape."""
        self.exchange.readings.meet("batch_failure_in_orders")
        if self.exchange.readings.batch_failure_in_orders and any("error" in row for row in rows):
            return {"orders": [{**row, "success": "error" not in row} for row in rows]}
        return rows

    def _batch_cancel(self, envelope: Envelope, params: dict[str, object]) -> None:
        by_id = self._list(params, "orders")
        by_client_id = self._list(params, "cl_ord_id")
        if not 0 < len(by_id) + len(by_client_id) <= BATCH_CANCEL_MAX:
            raise RefusalError("EGeneral:Invalid arguments:orders")
        count = 0
        lookups = [{"order_id": v} for v in by_id] + [{"cl_ord_id": v} for v in by_client_id]
        for lookup in lookups:
            try:
                value = lookup.get("order_id")
                orders = self._by_userref(value) if isinstance(value, int) else [self.exchange.desk.find_open(**lookup)]
            except RefusalError:
                continue  # what is gone is not counted, and does not stop the rest
            for order in orders:
                self.exchange.desk.cancel(order, self.clock(), batch=True)
                count += 1
        self._reply(envelope, {"count": count})
