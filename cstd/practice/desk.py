"""The desk: the life of the account's orders, from request to fill, and the timers on them.

Every public method is one action: it judges, matches and books at once, and leaves what happened in `outbox`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from cstd.practice import reports
from cstd.practice import requests as rq
from cstd.practice.account import Account, Fill, Order
from cstd.practice.limits import AMEND_AGE_COST, CANCEL_AGE_COST, EDIT_AGE_COST, Counter, Tier, age_cost
from cstd.practice.market import Market, Trade
from cstd.practice.matching import BUY, Match, Resting
from cstd.practice.readings import Readings
from cstd.practice.requests import AddRequest, AmendRequest, RefusalError
from cstd.practice.wire import NS_PER_S, Ids

CANCEL_AFTER_MAX_S = 86_400


@dataclass(frozen=True, slots=True)
class Event:
    """One private message: channel `executions` or `balances`, its body, and the rate counter at that moment."""

    channel: str
    body: reports.EventBody
    rate_count: float = 0.0


class Desk:
    """Orders of one account on all markets.

    Invariants: an order in `account.open` is resting, or is being handled by the running action; cl_ord_id is unique among
    open orders; what an order fills is booked in the same action that prints its trade.
    """

    def __init__(self, account: Account, markets: dict[str, Market], *, tier: Tier, ids: Ids, readings: Readings) -> None:
        self.account = account
        self.markets = markets
        self.tier = tier
        self.readings = readings
        self.outbox: list[Event] = []
        self.system = "online"
        self.cancel_after_ns: int | None = None
        self._ids = ids
        self._counters: dict[str, Counter] = {}
        self._expiries: list[tuple[int, str]] = []
        self._open_by_client_id: dict[str, Order] = {}
        for market in markets.values():
            market.on_maker = self._maker_filled

    # --- rate counter -------------------------------------------------------------------------------------------------

    def counter(self, instrument_name: str) -> Counter:
        """Return the trading counter of a pair."""
        if instrument_name not in self._counters:
            self._counters[instrument_name] = Counter(self.tier.trading_max, self.tier.trading_decay)
        return self._counters[instrument_name]

    def _charge(self, instrument_name: str, points: float, wall_ns: int) -> None:
        if not self.counter(instrument_name).charge(points, wall_ns):
            raise RefusalError("EOrder:Rate limit exceeded")

    # --- placing ------------------------------------------------------------------------------------------------------

    def add(self, request: AddRequest, wall_ns: int, *, charge: float = 1.0) -> Order:
        """Judge and place an order; raises RefusalError. With `validate` the order returned was never live."""
        market = self.markets[request.instrument.name]
        self._charge(request.instrument.name, charge, wall_ns)
        order = self._judged(request, market, wall_ns)
        if request.validate:
            return order
        self._open(order)
        self._report(reports.pending_new(order, wall_ns), order)
        if order.post_only and order.limit_raw is not None and market.book.crosses(order.side, order.limit_raw):
            self._close(order, "canceled", "Post only order", wall_ns)
        else:
            order.status = "new"
            self._report(reports.new(order, wall_ns), order)
            self._work(order, market, wall_ns)
        market.publish(wall_ns)
        return order

    def _judged(self, request: AddRequest, market: Market, wall_ns: int) -> Order:
        """Return the order a request describes, or refuse; changes nothing."""
        rq.check_deadline(request.deadline_ns, request.deadline_min_ns, wall_ns)
        self._check_state(request, market)
        instrument = request.instrument
        limit_raw = None
        if request.order_type in ("limit", "iceberg"):
            if request.limit_price is None:
                raise RefusalError("EGeneral:Invalid arguments:price")
            limit_raw = rq.price_raw(instrument, request.limit_price)
        elif request.limit_price is not None or request.post_only or request.display_qty is not None:
            raise RefusalError("EGeneral:Invalid arguments")
        qty_raw = self._cash_qty_raw(request, market) if request.cash_qty is not None else rq.qty_raw(instrument, request.qty)
        self._check_lifetime(request, wall_ns)
        self._check_client_id(request)
        order = Order(
            "",
            instrument,
            request.side,
            request.order_type,
            qty_raw,
            limit_raw,
            request.time_in_force,
            wall_ns,
            wall_ns,
            cl_ord_id=request.cl_ord_id,
            userref=request.userref,
            expire_ns=request.expire_ns,
            post_only=request.post_only,
            display_raw=rq.display_raw(instrument, request.display_qty, qty_raw),
            stp=request.stp,
            fee_in_base=request.fee_in_base,
            cash_qty=request.cash_qty,
        )
        self._check_money(order, market)
        if sum(1 for o in self.account.open.values() if o.instrument is instrument) >= self.tier.open_orders_max:
            raise RefusalError("EOrder:Orders limit exceeded")
        if request.time_in_force == "fok" and market.book.fillable_raw(order.side, limit_raw, qty_raw, own=True) < qty_raw:
            order.reason = "FOK order could not be filled"
        order.order_id = self._ids.make("O")
        return order

    def _check_state(self, request: AddRequest, market: Market) -> None:
        for state in (self.system, market.status):
            if state in ("maintenance", "work_in_progress", "delisted"):
                raise RefusalError("EService:Unavailable")
            if state == "cancel_only":
                raise RefusalError("EService:Market in cancel_only mode")
            if state == "post_only" and not request.post_only:
                raise RefusalError("EService:Market in post_only mode")
            if state == "limit_only" and request.order_type == "market":
                raise RefusalError("EService:Market in limit_only mode")

    @staticmethod
    def _check_lifetime(request: AddRequest, wall_ns: int) -> None:
        if request.time_in_force not in ("gtc", "gtd", "ioc", "fok"):
            raise RefusalError("EGeneral:Invalid arguments:time_in_force")
        if (request.time_in_force == "gtd") != (request.expire_ns is not None):
            raise RefusalError("EGeneral:Invalid arguments:expire_time")
        if request.expire_ns is not None and not 0 < request.expire_ns - wall_ns <= rq.EXPIRE_MAX_NS:
            raise RefusalError("EGeneral:Invalid arguments:expire_time")
        if request.time_in_force == "fok" and request.order_type != "limit":
            raise RefusalError("EGeneral:Invalid arguments:time_in_force")
        if request.post_only and request.time_in_force in ("ioc", "fok"):
            raise RefusalError("EGeneral:Invalid arguments:post_only")

    def _check_client_id(self, request: AddRequest) -> None:
        if request.cl_ord_id is None:
            return
        if request.userref is not None:
            raise RefusalError("EGeneral:Invalid arguments:cl_ord_id and order_userref are mutually exclusive")
        rq.check_cl_ord_id(request.cl_ord_id, self.readings)
        if request.cl_ord_id in self._open_by_client_id:
            raise RefusalError("EGeneral:Invalid arguments:cl_ord_id not unique")

    @staticmethod
    def _cash_qty_raw(request: AddRequest, market: Market) -> int:
        """Return the base quantity that a quote amount buys now, by walking the asks."""
        if request.side != BUY or request.order_type != "market" or request.qty is not None:
            raise RefusalError("EGeneral:Invalid arguments:cash_order_qty")
        left = int((request.cash_qty or Decimal(0)) * request.instrument.value_scale)
        total_raw = 0
        for resting in market.book.reachable(BUY, None):
            take_raw = min(resting.leaves_raw, left // resting.price_raw)
            total_raw += take_raw
            left -= take_raw * resting.price_raw
            if take_raw < resting.leaves_raw:
                break
        if total_raw < request.instrument.qty_min_raw:
            raise RefusalError("EGeneral:Invalid arguments:volume minimum not met")
        return total_raw

    def _check_money(self, order: Order, market: Market, *, without: Order | None = None) -> None:
        """Refuse an order below the minimum value or above what is available."""
        instrument = order.instrument
        if order.limit_raw is not None:
            cost = instrument.cost(order.limit_raw, order.leaves_raw)
        else:
            cost = self._walk_cost(order, market)
        if cost < instrument.cost_min:
            raise RefusalError("EOrder:Cost minimum not met")
        asset, needed = self.account.hold(order)
        if order.side == BUY and order.limit_raw is None:
            needed = cost * (1 + self.account.fee_rates()[0])
        if needed > self.account.available(asset, without=without):
            raise RefusalError("EOrder:Insufficient funds")

    @staticmethod
    def _walk_cost(order: Order, market: Market) -> Decimal:
        """Return what a market order would cost or bring against the book as it stands."""
        left_raw, value = order.leaves_raw, 0
        for resting in market.book.reachable(order.side, None):
            take_raw = min(left_raw, resting.leaves_raw)
            value += take_raw * resting.price_raw
            left_raw -= take_raw
            if not left_raw:
                break
        return order.instrument.round_cost(Decimal(value) / order.instrument.value_scale)

    def _open(self, order: Order) -> None:
        self.account.orders[order.order_id] = order
        self.account.open[order.order_id] = order
        if order.cl_ord_id is not None:
            self._open_by_client_id[order.cl_ord_id] = order
        if order.expire_ns is not None:
            heapq.heappush(self._expiries, (order.expire_ns, order.order_id))

    def _work(self, order: Order, market: Market, wall_ns: int) -> None:
        """Match what crosses; rest, cancel or complete the remainder."""
        if order.reason:  # a fill-or-kill that cannot fill
            self._close(order, "canceled", order.reason, wall_ns)
            return
        ord_type = "market" if order.order_type == "market" else "limit"
        taken, trades = market.execute(
            order.side, order.limit_raw, order.leaves_raw, wall_ns, ord_type=ord_type, owner=order, stp=order.stp
        )
        for trade in trades:
            self._book_fill(order, trade, "t", wall_ns)
        for maker in taken.makers_to_cancel:
            maker.owner.resting = None  # type: ignore[attr-defined]
            self._close(maker.owner, "canceled", "STP", wall_ns)  # type: ignore[arg-type]
        if not order.leaves_raw:
            self._complete(order, wall_ns)
        elif taken.stopped_by_self:
            self._close(order, "canceled", "STP", wall_ns)
        elif order.order_type == "market" or order.time_in_force in ("ioc", "fok"):
            self._close(order, "canceled", "IOC order not fully filled", wall_ns)
        else:
            assert order.limit_raw is not None, "a remainder without a limit was canceled above"
            resting = Resting(order.side, order.limit_raw, order.leaves_raw, owner=order, display_raw=order.display_raw)
            order.resting = resting
            market.rest(resting)

    # --- fills --------------------------------------------------------------------------------------------------------

    def _maker_filled(self, match: Match, trade: Trade) -> None:
        order = match.maker.owner
        assert isinstance(order, Order), "only the account's orders have an owner"
        self._book_fill(order, trade, "m", trade.wall_ns)
        if not order.leaves_raw:
            order.resting = None
            self._complete(order, trade.wall_ns)
        elif match.refilled:
            self._report(reports.iceberg_refill(order, trade.wall_ns), order)

    def _book_fill(self, order: Order, trade: Trade, liquidity: str, wall_ns: int) -> None:
        """Book one execution: fill, two ledger entries, the `trade` event and the balance events."""
        instrument, account = order.instrument, self.account
        cost = instrument.cost(trade.price_raw, trade.qty_raw)
        qty = Decimal(trade.qty_raw).scaleb(-instrument.qty_precision)
        taker_rate, maker_rate = account.fee_rates()
        rate = taker_rate if liquidity == "t" else maker_rate
        if order.fee_in_base:
            fee = (qty * rate).quantize(Decimal("1e-10"), rounding="ROUND_HALF_UP")
            fee_base, fee_quote, fee_asset = fee, Decimal(0), instrument.base
        else:
            fee = instrument.round_cost(cost * rate)
            fee_base, fee_quote, fee_asset = Decimal(0), fee, instrument.quote
        order.filled_raw += trade.qty_raw
        order.cost += cost
        order.fee_base += fee_base
        order.fee_quote += fee_quote
        order.status = "partially_filled"
        fill = Fill(
            self._ids.make("T"),
            trade.trade_id,
            order,
            trade.price_raw,
            trade.qty_raw,
            cost,
            fee,
            fee_asset,
            liquidity,
            wall_ns,
        )
        order.exec_ids.append(fill.exec_id)
        account.fills.append(fill)
        account.volume_usd += cost
        self._report(reports.trade(fill), order)
        for asset, amount, leg_fee in (
            (instrument.base, qty * order.side, fee_base),
            (instrument.quote, -cost * order.side, fee_quote),
        ):
            entry = account.book_entry(
                self._ids.make("L"),
                fill.exec_id,
                kind="trade",
                asset=asset,
                amount=amount,
                fee=leg_fee,
                wall_ns=wall_ns,
            )
            self.outbox.append(Event("balances", reports.balance_update(entry)))

    def _complete(self, order: Order, wall_ns: int) -> None:
        self._forget_open(order, "filled", wall_ns)
        self._report(reports.filled(order, wall_ns), order)

    def _close(self, order: Order, status: str, reason: str, wall_ns: int) -> None:
        if order.resting is not None:
            self.markets[order.instrument.name].cancel(order.resting)
            order.resting = None
        order.reason = reason
        self._forget_open(order, status, wall_ns)
        self._report(reports.ended(order, wall_ns), order)

    def _forget_open(self, order: Order, status: str, wall_ns: int) -> None:
        order.status = status
        order.closed_ns = wall_ns
        del self.account.open[order.order_id]
        if order.cl_ord_id is not None:
            del self._open_by_client_id[order.cl_ord_id]

    def _report(self, body: reports.EventBody, order: Order) -> None:
        self.readings.meet("private_events_whole")
        if self.readings.private_events_whole:
            body = {**reports.whole(order), **body}
        value = self.counter(order.instrument.name).value(order.changed_ns)
        self.outbox.append(Event("executions", body, value))

    def drain(self) -> list[Event]:
        """Return what happened since the last call."""
        events, self.outbox = self.outbox, []
        return events

    # --- finding ------------------------------------------------------------------------------------------------------

    def find_open(self, *, order_id: object = None, cl_ord_id: object = None) -> Order:
        """Return the open order with one of the ids; refuses as Kraken does for ids gone or never made."""
        if cl_ord_id is not None:
            order = self._open_by_client_id.get(cl_ord_id) if isinstance(cl_ord_id, str) else None
            if order is None:
                raise RefusalError(self._gone())
            return order
        if not isinstance(order_id, str) or not rq.looks_like_order_id(order_id):
            raise RefusalError("EOrder:Invalid order")
        order = self.account.open.get(order_id)
        if order is None:
            raise RefusalError(self._gone() if order_id in self.account.orders else "EOrder:Invalid order")
        return order

    def _gone(self) -> str:
        self.readings.meet("gone_order_is_invalid")
        return "EOrder:Invalid order" if self.readings.gone_order_is_invalid else "EOrder:Unknown order"

    # --- changing -----------------------------------------------------------------------------------------------------

    def amend(self, order: Order, request: AmendRequest, wall_ns: int) -> str:
        """Change an open order in place and return the amend id.

        Priority is kept for a smaller quantity at the same price (as the readings have it), lost otherwise. A quantity at or
        below what is filled cancels the rest.
        """
        market = self.markets[order.instrument.name]
        self._charge(order.instrument.name, 1 + age_cost(AMEND_AGE_COST, wall_ns - order.changed_ns), wall_ns)
        rq.check_deadline(request.deadline_ns, request.deadline_min_ns, wall_ns)
        if self.system in ("cancel_only", "maintenance"):
            raise RefusalError(
                f"EService:Market in {self.system} mode" if self.system == "cancel_only" else "EService:Unavailable"
            )
        if request.qty is None and request.limit_price is None and request.display_qty is None:
            raise RefusalError("EGeneral:Invalid arguments:No amendable parameters")
        instrument = order.instrument
        limit_raw = order.limit_raw if request.limit_price is None else rq.price_raw(instrument, request.limit_price)
        qty_raw = order.qty_raw if request.qty is None else rq.qty_raw(instrument, request.qty)
        post_only = order.post_only if request.post_only is None else request.post_only
        assert limit_raw is not None, "only orders with a limit stay open"
        if qty_raw <= order.filled_raw:
            self._close(order, "canceled", "User requested", wall_ns)
            market.publish(wall_ns)
            return self._ids.make("T")
        if post_only and limit_raw != order.limit_raw and market.book.crosses(order.side, limit_raw):
            raise RefusalError("EOrder:Post only order")
        display_raw = order.display_raw
        if request.display_qty is not None:
            display_raw = rq.display_raw(instrument, request.display_qty, qty_raw - order.filled_raw)
        self._apply_amend(order, market, limit_raw=limit_raw, qty_raw=qty_raw, display_raw=display_raw, wall_ns=wall_ns)
        market.publish(wall_ns)
        return self._ids.make("T")

    def _apply_amend(
        self, order: Order, market: Market, *, limit_raw: int, qty_raw: int, display_raw: int, wall_ns: int
    ) -> None:
        old = (order.limit_raw, order.qty_raw, order.display_raw)
        order.limit_raw, order.qty_raw, order.display_raw = limit_raw, qty_raw, display_raw
        try:
            self._check_money(order, market, without=order)
        except RefusalError:
            order.limit_raw, order.qty_raw, order.display_raw = old
            raise
        order.amended = True
        order.changed_ns = wall_ns
        resting = order.resting
        assert resting is not None, "an open order rests"
        may_keep_place = limit_raw == old[0] and display_raw == old[2] == 0 and qty_raw <= old[1]
        if may_keep_place:
            self.readings.meet("amend_loses_place")
        if may_keep_place and not self.readings.amend_loses_place:
            market.shrink(resting, order.leaves_raw)
            self._report(reports.amended(order, wall_ns), order)
            return
        market.cancel(resting)
        order.resting = None
        self._report(reports.amended(order, wall_ns), order)
        self._work(order, market, wall_ns)

    def edit(self, order: Order, request: AddRequest, wall_ns: int) -> Order:
        """Replace an order by a new one (the legacy edit): cancel, then add; the new order has a new id and no priority."""
        market = self.markets[order.instrument.name]
        self._charge(order.instrument.name, 1 + age_cost(EDIT_AGE_COST, wall_ns - order.changed_ns), wall_ns)
        new = self._judged_instead(order, request, market, wall_ns)
        if request.validate:
            return new
        self._close(order, "canceled", "Order replaced", wall_ns)
        return self.add(request, wall_ns, charge=0)

    def _judged_instead(self, order: Order, request: AddRequest, market: Market, wall_ns: int) -> Order:
        """Judge `request` as if `order` were gone already."""
        del self.account.open[order.order_id]
        try:
            return self._judged(request, market, wall_ns)
        finally:
            self.account.open[order.order_id] = order

    def cancel(self, order: Order, wall_ns: int, *, reason: str = "User requested", batch: bool = False) -> None:
        """Cancel an open order and charge its age. One of a batch is charged but never refused."""
        self._check_cancel_state()
        counter = self.counter(order.instrument.name)
        within = counter.charge_always(age_cost(CANCEL_AGE_COST, wall_ns - order.changed_ns), wall_ns)
        if not within and not batch:
            raise RefusalError("EOrder:Rate limit exceeded")
        self._close(order, "canceled", reason, wall_ns)
        self.markets[order.instrument.name].publish(wall_ns)

    def _check_cancel_state(self) -> None:
        if self.system == "maintenance":
            raise RefusalError("EService:Unavailable")

    def cancel_all(self, wall_ns: int, *, reason: str = "User requested") -> int:
        """Cancel every open order of the account; costs one point per pair touched. Returns how many."""
        self._check_cancel_state()
        return self._cancel_many(list(self.account.open.values()), reason, wall_ns)

    def _cancel_many(self, orders: Iterable[Order], reason: str, wall_ns: int) -> int:
        touched = {}
        count = 0
        for order in orders:
            touched[order.instrument.name] = self.markets[order.instrument.name]
            self._close(order, "canceled", reason, wall_ns)
            count += 1
        for name, market in touched.items():
            self.counter(name).charge_always(1, wall_ns)
            market.publish(wall_ns)
        return count

    # --- timers -------------------------------------------------------------------------------------------------------

    def cancel_all_after(self, timeout_s: object, wall_ns: int) -> int:
        """Arm the dead man's switch (0 disarms) and return the trigger time, 0 if disarmed."""
        if not isinstance(timeout_s, int) or isinstance(timeout_s, bool) or not 0 <= timeout_s < CANCEL_AFTER_MAX_S:
            raise RefusalError("EGeneral:Invalid arguments:timeout")
        self.cancel_after_ns = wall_ns + timeout_s * NS_PER_S if timeout_s else None
        return self.cancel_after_ns or 0

    def on_clock_set(self, by_ns: int) -> None:
        """The clock that times are told by was set: the dead man's switch goes on counting its own seconds."""
        if self.cancel_after_ns is not None:
            self.cancel_after_ns += by_ns

    def next_timer_ns(self) -> int | None:
        """Return when `on_timer` has something to do next, or None."""
        times = [self._expiries[0][0]] if self._expiries else []
        if self.cancel_after_ns is not None and self.system != "maintenance":  # in maintenance it waits for the engine's return
            times.append(self.cancel_after_ns)
        return min(times, default=None)

    def on_timer(self, wall_ns: int) -> None:
        """Expire what is due; fire the dead man's switch if its time has come (it is then disarmed)."""
        while self._expiries and self._expiries[0][0] <= wall_ns:
            order = self.account.open.get(heapq.heappop(self._expiries)[1])
            if order is not None:
                self._close(order, "expired", "Order expired", wall_ns)
                self.markets[order.instrument.name].publish(wall_ns)
        if self.cancel_after_ns is not None and self.cancel_after_ns <= wall_ns and self.system != "maintenance":
            self.cancel_after_ns = None
            self._cancel_many(list(self.account.open.values()), "Cancel all orders after timeout", wall_ns)

    def deposit(self, asset: str, amount: Decimal, wall_ns: int) -> None:
        """Book a deposit, or a withdrawal when `amount` is negative."""
        kind = "deposit" if amount >= 0 else "withdrawal"
        entry = self.account.book_entry(
            self._ids.make("L"),
            self._ids.make("Q"),
            kind=kind,
            asset=asset,
            amount=amount,
            fee=Decimal(0),
            wall_ns=wall_ns,
        )
        self.outbox.append(Event("balances", reports.balance_update(entry)))
