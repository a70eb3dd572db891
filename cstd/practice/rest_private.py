"""The private REST endpoints: balances, orders, history, fees, orders by REST, the websocket token."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import TypeVar

import orjson

from cstd.practice import reports
from cstd.practice.account import FEE_TIERS, Fill, LedgerEntry, Order
from cstd.practice.auth import OTHER_RIGHTS, RIGHTS, TOKEN_LIFE_S
from cstd.practice.connections import WallClock
from cstd.practice.exchange import Exchange
from cstd.practice.matching import BUY, SELL
from cstd.practice.requests import AddRequest, AmendRequest, RefusalError, looks_like_order_id
from cstd.practice.rest import Names, Params, PrivateEndpoints, flag_of, int_of, text_of
from cstd.practice.wire import NS_PER_S, decimal_text, parse_rfc3339_ns, raw_decimal, raw_text, rfc3339_s, seconds_text

PAGE_ROWS = 50
QUERY_TRADES_MAX = 20
BATCH_ADD = (2, 15)
BATCH_CANCEL_MAX = 50
DEADLINE_MIN_NS = 2 * NS_PER_S  # by REST a deadline starts at two seconds
_Row = TypeVar("_Row", Order, Fill, LedgerEntry)
_UNDERSCORED = {"minfee": "min_fee", "maxfee": "max_fee", "nextfee": "next_fee", "nextvolume": "next_volume",
                "tiervolume": "tier_volume"}
_STATUS = {"pending_new": "pending", "new": "open", "partially_filled": "open", "filled": "closed"}


def _decimal(params: Params, name: str) -> Decimal | None:
    text = text_of(params, name)
    if text is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        raise RefusalError(f"EGeneral:Invalid arguments:{name}")
    return value


def _price(params: Params, name: str) -> Decimal | None:
    """Return an absolute price; relative prices (+ - # %) are not offered here."""
    text = text_of(params, name)
    if text is not None and (text[0] in "+-#" or text.endswith("%")):
        raise RefusalError("EGeneral:Invalid arguments:price")
    return _decimal(params, name)


def _seconds(wall_ns: int) -> orjson.Fragment:
    return orjson.Fragment(seconds_text(wall_ns))


class PrivateRest(PrivateEndpoints):
    """The endpoints, each taking parsed parameters of an authenticated call."""

    def __init__(self, exchange: Exchange, clock: WallClock) -> None:
        self.exchange = exchange
        self.clock = clock
        self.names = Names(exchange)
        self.endpoints = {
            "Balance": (1, self._balance),
            "BalanceEx": (1, self._balance_ex),
            "TradeBalance": (1, self._trade_balance),
            "OpenOrders": (1, self._open_orders),
            "ClosedOrders": (exchange.readings.closed_orders_cost, self._closed_orders),
            "QueryOrders": (1, self._query_orders),
            "TradesHistory": (2, self._trades_history),
            "QueryTrades": (1, self._query_trades),
            "Ledgers": (2, self._ledgers),
            "QueryLedgers": (2, self._query_ledgers),
            "TradeVolume": (1, self._trade_volume),
            "OpenPositions": (1, self._open_positions),
            "GetWebSocketsToken": (1, self._token),
            "GetApiKeyInfo": (1, self._key_info),
            "AddOrder": (0, self._add_order),
            "AddOrderBatch": (0, self._add_order_batch),
            "AmendOrder": (0, self._amend_order),
            "EditOrder": (0, self._edit_order),
            "CancelOrder": (0, self._cancel_order),
            "CancelAll": (0, self._cancel_all),
            "CancelAllOrdersAfter": (0, self._cancel_all_after),
            "CancelOrderBatch": (0, self._cancel_order_batch),
        }

    # --- money --------------------------------------------------------------------------------------------------------

    def _amounts(self) -> Iterable[tuple[str, str, Decimal, int]]:
        """Yield (asset, REST id, balance, decimals) of every asset ever held."""
        for code, amount in sorted(self.exchange.account.balances.items()):
            asset = self.exchange.assets[code]
            yield code, asset.rest_id, amount, asset.precision

    def _balance(self, params: Params) -> object:
        return {rest_id: decimal_text(amount, places) for _, rest_id, amount, places in self._amounts()}

    def _balance_ex(self, params: Params) -> object:
        return {
            rest_id: {
                "balance": decimal_text(amount, places),
                "hold_trade": decimal_text(self.exchange.account.held(code), places),
            }
            for code, rest_id, amount, places in self._amounts()
        }

    def _value_usd(self, code: str, amount: Decimal) -> Decimal:
        if code == "USD":
            return amount
        market = self.exchange.markets.get(f"{code}/USD")
        return amount * raw_decimal(market.last_raw, market.instrument.price_precision) if market else Decimal(0)

    def _trade_balance(self, params: Params) -> object:
        total = sum((self._value_usd(code, amount) for code, _, amount, _ in self._amounts()), Decimal(0))
        text = decimal_text(total.quantize(Decimal("0.0001")), 4)
        zero = "0.0000"
        return {"eb": text, "tb": text, "m": zero, "n": zero, "c": zero, "v": zero, "e": text, "mf": text, "uv": zero}

    def _ledger_row(self, entry: LedgerEntry) -> object:
        asset = self.exchange.assets[entry.asset]
        return {
            "refid": entry.ref_id,
            "time": _seconds(entry.wall_ns),
            "type": entry.kind,
            "subtype": "",
            "aclass": "currency",
            "asset": asset.rest_id,
            "amount": decimal_text(entry.amount, asset.precision),
            "fee": decimal_text(entry.fee, asset.precision),
            "balance": decimal_text(entry.balance, asset.precision),
        }

    def _asked_assets(self, params: Params) -> set[str] | None:
        """Return the codes of the assets asked for, None for all."""
        asked = text_of(params, "asset")
        if asked is None or asked == "all":
            return None
        names = asked.split(",")
        if not all(name in self.names.assets for name in names):
            raise RefusalError("EQuery:Unknown asset")
        return {self.names.assets[name].code for name in names}

    def _ledgers(self, params: Params) -> object:
        codes = self._asked_assets(params)
        kind = text_of(params, "type")
        start_ns, end_ns = self._span(params)
        rows = [
            e
            for e in reversed(self.exchange.account.ledger)
            if (codes is None or e.asset in codes) and kind in (None, "all", e.kind) and start_ns < e.wall_ns <= end_ns
        ]
        page = self._page(params, rows)
        return {"ledger": {e.ledger_id: self._ledger_row(e) for e in page}, "count": len(rows)}

    def _query_ledgers(self, params: Params) -> object:
        wanted = set((text_of(params, "id") or "").split(","))
        return {e.ledger_id: self._ledger_row(e) for e in self.exchange.account.ledger if e.ledger_id in wanted}

    def _trade_volume(self, params: Params) -> object:
        account = self.exchange.account
        volume = account.volume_usd
        taker, maker = account.fee_rates()
        following = next((v for v, *_ in FEE_TIERS if v > volume), None)
        result: dict[str, object] = {"currency": "ZUSD", "volume": decimal_text(volume, 4)}
        asked = text_of(params, "pair")
        if asked is None:
            return result
        for field, rate, column in (("fees", taker, 1), ("fees_maker", maker, 2)):
            row = {
                "fee": decimal_text(rate * 100, 4),
                "minfee": decimal_text(FEE_TIERS[-1][column] * 100, 4),
                "maxfee": decimal_text(FEE_TIERS[0][column] * 100, 4),
                "nextfee": None,
                "nextvolume": None,
                "tiervolume": "0.0000",
            }
            if following is not None:
                rates = {tier[0]: tier[column] for tier in FEE_TIERS}
                row |= {
                    "nextfee": decimal_text(rates[following] * 100, 4),
                    "nextvolume": decimal_text(following, 4),
                }
            self.exchange.readings.meet("trade_volume_underscores")
            if self.exchange.readings.trade_volume_underscores:
                row = {_UNDERSCORED.get(name, name): value for name, value in row.items()}
            result[field] = {self.names.pair(name).rest_id: row for name in asked.split(",")}
        return result

    def _open_positions(self, params: Params) -> object:
        return self.exchange.margin_positions  # of somebody else's making: nothing here trades on margin

    # --- orders: reading ----------------------------------------------------------------------------------------------

    def _order_row(self, order: Order, *, trades: bool) -> dict[str, object]:
        i = order.instrument
        price = raw_text(order.limit_raw, i.price_precision) if order.limit_raw is not None else "0"
        volume = raw_text(order.qty_raw, i.qty_precision)
        at = f"limit {price}" if order.limit_raw is not None else "market"
        cost = order.cost + (self.exchange.wrong_orders.get(order.order_id) or 0)
        misc = [word for word, on in (("partial", 0 < order.filled_raw < order.qty_raw), ("amended", order.amended)) if on]
        flags = [
            word for word, on in (("fcib", order.fee_in_base), ("fciq", not order.fee_in_base), ("post", order.post_only)) if on
        ]
        row: dict[str, object] = {
            "refid": None,
            "userref": order.userref,
            "status": _STATUS.get(order.status, order.status),
            "opentm": _seconds(order.created_ns),
            "starttm": 0,
            "expiretm": _seconds(order.expire_ns) if order.expire_ns else 0,
            "descr": {
                "pair": i.altname,
                "type": order.side_word,
                "ordertype": order.order_type,
                "price": price,
                "price2": "0",
                "leverage": "none",
                "order": f"{order.side_word} {volume} {i.altname} @ {at}",
                "close": "",
            },
            "vol": volume,
            "vol_exec": raw_text(order.filled_raw, i.qty_precision),
            "cost": decimal_text(cost, i.cost_precision),
            "fee": decimal_text(order.fee_quote if not order.fee_in_base else order.fee_base, i.cost_precision),
            "price": decimal_text(reports.average_price(order), i.price_precision),
            "stopprice": raw_text(0, i.price_precision),
            "limitprice": raw_text(0, i.price_precision),
            "misc": ",".join(misc),
            "oflags": ",".join(flags),
        }
        if order.cl_ord_id is not None:
            row["cl_ord_id"] = order.cl_ord_id
        if not order.is_open:
            row |= {"closetm": _seconds(order.closed_ns), "reason": order.reason or None}
        if trades:
            row["trades"] = list(order.exec_ids)
        return row

    def _matching(self, params: Params, orders: Iterable[Order]) -> list[Order]:
        userref, cl_ord_id = text_of(params, "userref"), text_of(params, "cl_ord_id")
        wrong = self.exchange.wrong_orders
        found = [o for o in orders if wrong.get(o.order_id, o) is not None]
        if userref is not None:
            found = [o for o in found if str(o.userref) == userref]
        if cl_ord_id is not None:
            found = [o for o in found if o.cl_ord_id == cl_ord_id]
        return found

    def _open_orders(self, params: Params) -> object:
        orders = self._matching(params, self.exchange.account.open.values())
        trades = flag_of(params, "trades")
        return {"open": {o.order_id: self._order_row(o, trades=trades) for o in orders}}

    def _span(self, params: Params) -> tuple[int, int]:
        """Return (start, end) in ns, from seconds or from the time of the order or trade an id names."""
        bounds = []
        for name, default_ns in (("start", 0), ("end", 1 << 63)):
            text = text_of(params, name)
            if text is None:
                bounds.append(default_ns)
            elif text in self.exchange.account.orders:
                bounds.append(self.exchange.account.orders[text].created_ns)
            else:
                fills = [f.wall_ns for f in self.exchange.account.fills if f.exec_id == text]
                bounds.append(fills[0] if fills else int((_decimal(params, name) or Decimal(0)) * NS_PER_S))
        return bounds[0], bounds[1]

    @staticmethod
    def _page(params: Params, rows: list[_Row]) -> list[_Row]:
        """Return the page of at most 50 rows that begins at `ofs`, counted from the newest."""
        offset = int_of(params, "ofs", 0)
        if offset < 0:
            raise RefusalError("EGeneral:Invalid arguments:ofs")
        return rows[offset : offset + PAGE_ROWS]

    def _closed_orders(self, params: Params) -> object:
        self.exchange.readings.meet("closed_orders_cost")
        start_ns, end_ns = self._span(params)
        by = text_of(params, "closetime") or "both"
        if by not in ("open", "close", "both"):
            raise RefusalError("EGeneral:Invalid arguments:closetime")
        rows = []
        for order in self._matching(params, self.exchange.account.orders.values()):
            times = {"open": (order.created_ns,), "close": (order.closed_ns,)}.get(by, (order.created_ns, order.closed_ns))
            if not order.is_open and any(start_ns < t <= end_ns for t in times):
                rows.append(order)
        rows.sort(key=lambda o: o.closed_ns, reverse=True)
        page = self._page(params, rows)
        result: dict[str, object] = {"closed": {o.order_id: self._order_row(o, trades=flag_of(params, "trades")) for o in page}}
        if not flag_of(params, "without_count"):
            result["count"] = len(rows)
        return result

    def _query_orders(self, params: Params) -> object:
        asked = text_of(params, "txid")
        orders = list(self.exchange.account.orders.values())
        if asked is not None:
            wanted = asked.split(",")
            self.exchange.readings.meet("query_orders_max")
            if len(wanted) > self.exchange.readings.query_orders_max or not all(looks_like_order_id(w) for w in wanted):
                raise RefusalError("EOrder:Invalid order")
            orders = [self.exchange.account.orders[w] for w in wanted if w in self.exchange.account.orders]
        elif text_of(params, "cl_ord_id") is None and text_of(params, "userref") is None:
            raise RefusalError("EGeneral:Invalid arguments")
        orders = self._matching(params, orders)
        if asked is not None and not orders:
            raise RefusalError("EOrder:Unknown order")
        return {o.order_id: self._order_row(o, trades=flag_of(params, "trades")) for o in orders}

    def _fill_row(self, fill: Fill, ledgers: Iterable[str] = ()) -> dict[str, object]:
        i = fill.order.instrument
        fee = fill.fee + (self.exchange.wrong_trades.get(fill.exec_id) or 0)
        return {
            "ordertxid": fill.order.order_id,
            "postxid": "",
            "pair": i.rest_id,
            "time": _seconds(fill.wall_ns),
            "type": fill.order.side_word,
            "ordertype": fill.order.order_type,
            "price": raw_text(fill.price_raw, i.price_precision),
            "cost": decimal_text(fill.cost, i.cost_precision),
            "fee": decimal_text(fee, i.cost_precision),
            "vol": raw_text(fill.qty_raw, i.qty_precision),
            "margin": raw_text(0, i.cost_precision),
            "leverage": "0",
            "misc": "",
            "trade_id": fill.trade_id,
            "maker": fill.liquidity == "m",
            **({"ledgers": list(ledgers)} if ledgers else {}),
        }

    def _trades_history(self, params: Params) -> object:
        start_ns, end_ns = self._span(params)
        wrong = self.exchange.wrong_trades
        rows = [f for f in reversed(self.exchange.account.fills)
                if start_ns < f.wall_ns <= end_ns and wrong.get(f.exec_id, f) is not None]
        page = self._page(params, rows)
        ledgers = self._ledger_ids(page) if flag_of(params, "ledgers") else {}
        return {"trades": {f.exec_id: self._fill_row(f, ledgers.get(f.exec_id, ())) for f in page}, "count": len(rows)}

    def _ledger_ids(self, fills: Iterable[Fill]) -> dict[str, list[str]]:
        """Return the ids of the ledger entries of each execution."""
        found: dict[str, list[str]] = {fill.exec_id: [] for fill in fills}
        for entry in self.exchange.account.ledger:
            if entry.ref_id in found:
                found[entry.ref_id].append(entry.ledger_id)
        return found

    def _query_trades(self, params: Params) -> object:
        wanted = (text_of(params, "txid") or "").split(",")
        if len(wanted) > QUERY_TRADES_MAX:
            raise RefusalError("EGeneral:Invalid arguments")
        return {f.exec_id: self._fill_row(f) for f in self.exchange.account.fills if f.exec_id in wanted}

    # --- session ------------------------------------------------------------------------------------------------------

    def _token(self, params: Params) -> object:
        token = self.exchange.ids.token()
        self.exchange.credentials.add_token(token, self.clock())
        return {"token": token, "expires": TOKEN_LIFE_S}

    def _rights(self) -> list[str] | dict[str, bool]:
        rights = self.exchange.credentials.rights
        self.exchange.readings.meet("rights_by_name")
        if self.exchange.readings.rights_by_name:
            return {right: right in rights for right in (*RIGHTS, *OTHER_RIGHTS)}
        return list(rights)

    def _key_info(self, params: Params) -> object:
        return {
            "api_key_name": "practice",
            "api_key": self.exchange.credentials.api_key,
            "nonce_window": "0",
            "permissions": self._rights(),
            "valid_until": "0",
            "query_from": "0",
            "query_to": "0",
            "ip_allowlist": [],
        }

    # --- orders: writing ----------------------------------------------------------------------------------------------

    def _deadline_ns(self, params: Params) -> int | None:
        text = text_of(params, "deadline")
        if text is None:
            return None
        deadline_ns = parse_rfc3339_ns(text)
        if deadline_ns is None:
            raise RefusalError("EGeneral:Invalid arguments:deadline")
        return deadline_ns

    def _expire_ns(self, params: Params) -> int | None:
        """Return the expiry: `+<n>` seconds from now or unix seconds, at least five seconds ahead."""
        text = text_of(params, "expiretm")
        if text is None or text == "0":
            return None
        now_ns = self.clock()
        try:
            expire_ns = now_ns + int(text[1:]) * NS_PER_S if text[0] == "+" else int(Decimal(text) * NS_PER_S)
        except (ValueError, InvalidOperation):
            raise RefusalError("EGeneral:Invalid arguments:expiretm") from None
        if expire_ns < now_ns + 5 * NS_PER_S:
            raise RefusalError("EGeneral:Invalid arguments:expiretm")
        return expire_ns

    def _time_in_force(self, params: Params) -> str:
        word = text_of(params, "timeinforce") or "GTC"
        self.exchange.readings.meet("time_in_force_any_case")
        if not self.exchange.readings.time_in_force_any_case and word != word.upper():
            raise RefusalError("EGeneral:Invalid arguments:timeinforce")
        return word.lower()

    def _add_request(self, params: Params) -> AddRequest:
        instrument = self.names.pair(text_of(params, "pair"))
        side = {"buy": BUY, "sell": SELL}.get(text_of(params, "type") or "")
        order_type = text_of(params, "ordertype")
        if side is None:
            raise RefusalError("EGeneral:Invalid arguments:type")
        if order_type not in ("limit", "market", "iceberg"):
            raise RefusalError("EGeneral:Invalid arguments:ordertype")
        if (text_of(params, "leverage") or "none") not in ("none", "0"):
            raise RefusalError("EOrder:Margin allowance exceeded")
        if flag_of(params, "reduce_only"):
            raise RefusalError("EOrder:Reduce only:No position exists")
        for name in ("price2", "close", "trigger"):
            if params.get(name):
                raise RefusalError(f"EGeneral:Invalid arguments:{name}")
        if (text_of(params, "starttm") or "0") != "0":
            raise RefusalError("EGeneral:Invalid arguments:starttm")
        flags = (text_of(params, "oflags") or "").split(",")
        volume, in_quote = _decimal(params, "volume"), "viqc" in flags
        userref = text_of(params, "userref")
        return AddRequest(
            instrument,
            side,
            order_type,
            qty=None if in_quote else volume,
            limit_price=_price(params, "price"),
            cash_qty=volume if in_quote else None,
            time_in_force=self._time_in_force(params),
            expire_ns=self._expire_ns(params),
            post_only="post" in flags,
            display_qty=_decimal(params, "displayvol"),
            cl_ord_id=text_of(params, "cl_ord_id"),
            userref=int_of(params, "userref", 0) if userref is not None else None,
            stp=(text_of(params, "stptype") or "cancel-newest").replace("-", "_"),
            fee_in_base="fcib" in flags,
            deadline_ns=self._deadline_ns(params),
            deadline_min_ns=DEADLINE_MIN_NS,
            validate=flag_of(params, "validate"),
        )

    def _descr(self, request: AddRequest, order: Order) -> dict[str, str]:
        i = order.instrument
        at = "market" if order.limit_raw is None else f"limit {raw_text(order.limit_raw, i.price_precision)}"
        return {"order": f"{order.side_word} {raw_text(order.qty_raw, i.qty_precision)} {i.altname} @ {at}"}

    def _add_order(self, params: Params) -> object:
        request = self._add_request(params)
        order = self.exchange.desk.add(request, self.clock())
        result: dict[str, object] = {"descr": self._descr(request, order)}
        if not request.validate:
            result["txid"] = [order.order_id]
            if order.cl_ord_id is not None:
                result["cl_ord_id"] = order.cl_ord_id
        return result

    def _add_order_batch(self, params: Params) -> object:
        rows = params.get("orders")
        if (
            not isinstance(rows, list)
            or not BATCH_ADD[0] <= len(rows) <= BATCH_ADD[1]
            or not all(isinstance(r, dict) for r in rows)
        ):
            raise RefusalError("EGeneral:Invalid arguments:orders")
        shared: Params = {k: params[k] for k in ("pair", "deadline", "validate") if k in params}
        requests = [self._add_request({**row, **shared}) for row in rows]
        results: list[dict[str, object]] = []
        for request in requests:
            try:
                order = self.exchange.desk.add(request, self.clock(), charge=0.5)
                results.append({"descr": self._descr(request, order), "txid": order.order_id})
            except RefusalError as refusal:
                results.append({"error": refusal.text})
        return {"orders": results}

    def _find(self, params: Params) -> Order:
        txid, cl_ord_id = text_of(params, "txid"), text_of(params, "cl_ord_id")
        if (txid is None) == (cl_ord_id is None):
            raise RefusalError("EGeneral:Invalid arguments")
        return self.exchange.desk.find_open(order_id=txid, cl_ord_id=cl_ord_id)

    def _amend_order(self, params: Params) -> object:
        order = self._find(params)
        request = AmendRequest(
            qty=_decimal(params, "order_qty"),
            limit_price=_price(params, "limit_price"),
            display_qty=_decimal(params, "display_qty"),
            post_only=flag_of(params, "post_only") if "post_only" in params else None,
            deadline_ns=self._deadline_ns(params),
            deadline_min_ns=DEADLINE_MIN_NS,
        )
        return {"amend_id": self.exchange.desk.amend(order, request, self.clock())}

    def _edit_order(self, params: Params) -> object:
        order = self._find(params)
        if order.filled_raw:
            raise RefusalError("EOrder:Invalid order")
        i = order.instrument
        asked = {
            "pair": i.name,
            "type": order.side_word,
            "ordertype": order.order_type,
            "volume": raw_text(order.qty_raw, i.qty_precision),
            "price": raw_text(order.limit_raw or 0, i.price_precision),
            **{
                k: v
                for k, v in params.items()
                if k in ("volume", "price", "displayvol", "oflags", "userref", "deadline", "validate")
            },
        }
        request = self._add_request(asked)
        new = self.exchange.desk.edit(order, request, self.clock())
        return {
            "status": "ok",
            "txid": new.order_id,
            "originaltxid": order.order_id,
            "orders_cancelled": 1,
            "descr": self._descr(request, new),
            "volume": asked["volume"],
            "price": asked["price"],
        }

    def _cancel_order(self, params: Params) -> object:
        txid = text_of(params, "txid")
        if txid is not None and not looks_like_order_id(txid):  # a user reference names all orders that carry it
            orders = [o for o in self.exchange.account.open.values() if o.userref is not None and str(o.userref) == txid]
            if not orders:
                raise RefusalError("EOrder:Invalid order")
        else:
            orders = [self._find(params)]
        for order in orders:
            self.exchange.desk.cancel(order, self.clock())
        return {"count": len(orders)}

    def _cancel_order_batch(self, params: Params) -> object:
        by_id, by_client_id = params.get("orders", []), params.get("cl_ord_ids", [])
        if (
            not isinstance(by_id, list)
            or not isinstance(by_client_id, list)
            or not 0 < len(by_id) + len(by_client_id) <= BATCH_CANCEL_MAX
        ):
            raise RefusalError("EGeneral:Invalid arguments:orders")
        found: list[Order] = []
        for value in by_id:
            name = value.get("txid", value.get("userref")) if isinstance(value, dict) else value
            found += [
                o
                for o in self.exchange.account.open.values()
                if name == o.order_id or (o.userref is not None and str(name) == str(o.userref))
            ]
        for value in by_client_id:
            name = value.get("cl_ord_id") if isinstance(value, dict) else value
            found += [o for o in self.exchange.account.open.values() if name == o.cl_ord_id]
        unique = list({o.order_id: o for o in found}.values())
        for order in unique:
            self.exchange.desk.cancel(order, self.clock(), batch=True)
        return {"count": len(unique)}

    def _cancel_all(self, params: Params) -> object:
        return {"count": self.exchange.desk.cancel_all(self.clock())}

    def _cancel_all_after(self, params: Params) -> object:
        text = text_of(params, "timeout")
        if text is None or not text.isdigit():
            raise RefusalError("EGeneral:Invalid arguments:timeout")
        now_ns = self.clock()
        trigger_ns = self.exchange.desk.cancel_all_after(int(text), now_ns)
        return {"currentTime": rfc3339_s(now_ns), "triggerTime": rfc3339_s(trigger_ns) if trigger_ns else "0"}
