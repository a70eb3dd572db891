"""Reconciler: what the venue's books say of our orders, fills and balances, asked at start and again and again.

One round asks for open orders, closed orders, trades and balances, pages included, one request at a time. When all are
in: missing fills are booked, orders are moved by what was found, ours that nobody knew are taken up and canceled, and an
UNKNOWN order that no look-up shows is absent once systems 10.2 is met. Pure: replies come in, requests go out.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from cstd._fast.codes import IntentKind, OrderState, Side, TimeInForce
from cstd.ledger.statement import USERS_MOVES
from cstd.orders.tracker import OrderTracker
from cstd.units import to_raw
from cstd.venue.messages import BalancesMessage

if TYPE_CHECKING:
    from cstd._fast.core import Core

NS_PER_S = 1_000_000_000
# The venue's history lags by at most what an unknown order waits for; its clock may differ from ours by this.
LOOK_BACK_MARGIN_S = 15
PAGE = 50
PAGES_MAX = 40
# A difference that three quiet rounds in a row show is no race between two reads.
MISMATCH_ROUNDS_MAX = 3
# What a reply of the wrong shape raises on its way through a round.
UNREADABLE = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)
MOVES_KEPT = 1024
# Once its deadline has passed by this, an order that does not rest cannot match any more (systems 10.2).
OVER_AFTER_NS = NS_PER_S
# The rhythm of look-ups for exits: what the balance shows and the history does not yet, and whether a position may be sold.
EXIT_AGAIN_NS = 5 * NS_PER_S
# What a lost tail of the journal sent has arrived by then, or is refused for its deadline.
TAIL_OVER_NS = 6 * NS_PER_S
PLAN = ("OpenOrders", "ClosedOrders", "TradesHistory", "BalanceEx")
_LISTS = {"OpenOrders": "open", "ClosedOrders": "closed", "TradesHistory": "trades"}

Ask = Callable[[str, dict[str, str]], None]


class Reconciler:
    """Rounds of look-ups. One writer: the engine.

    Args:
        tracker: orders and ledger to compare with.
        ask: puts one private read into the REST lane; its reply comes back through `on_reply`.
        absent_ns: how long an UNKNOWN order must have been out before it can be absent.
        interval_ns: pause between rounds when nothing asks for one.

    Attributes:
        done_count: finished rounds since the private link came up. differences: what did not agree, newest last.
        own: the user's own quantity of each asset, fixed when the first round agreed.
        agreed: whether the last round's balances matched.
        settled: a round's balances matched since the private link came up: only then is what we hold known to be ours.
        known: the venue held what we manage when it was compared last in this boot, by look-ups alone where there is no
            private link: what an exit by REST needs.
    """

    def __init__(self, tracker: OrderTracker, ask: Ask, *, absent_ns: int, interval_ns: int) -> None:
        self.tracker = tracker
        self.core: Core = tracker.core
        self._ask = ask
        self._absent_ns = absent_ns
        self._interval_ns = interval_ns
        self.done_count = 0
        self.failed_count = 0
        self.differences: list[str] = []
        self.own: dict[str, Decimal] = {}
        self.balances: dict[str, Decimal] = {}
        self.settled = False
        self.known = False
        self.boot_wall_ns = 0
        self.agreed = True
        self.mismatch_rounds = 0
        self.running = False
        self.session_start_wall_ns = 0
        self._since_wall_ns = 0
        self._next_ns = 0
        self._step = 0
        self._found: dict[str, dict[str, Any]] = {}
        self._began_wall_ns = 0
        self._fills_at_start = 0
        self._blind = False
        self._moves_seen: dict[str, None] = {}

    # Rounds.

    def reset(self) -> None:
        """The private link came or went: nothing has been compared on the one that is there now."""
        self.running = False
        self.done_count = 0
        self.settled = False
        self._next_ns = 0

    def take_over(self, before: Reconciler) -> None:
        """Go on from the reconciler of the boot before this one: what it has agreed with the venue stays agreed."""
        self.own = before.own
        self._moves_seen = before._moves_seen
        self._since_wall_ns = before._since_wall_ns

    @property
    def trusted(self) -> bool:
        """Whether the account is known: balances agreed on this link, and no quiet round since found a difference."""
        return self.settled and self.mismatch_rounds == 0

    def on_timer(self, mono_ns: int, wall_ns: int, *, ready: bool, blind: bool = False) -> None:
        """Begin a round when one is due.

        Args:
            ready: both private snapshots are in.
            blind: there is no private socket and orders are live. The look-ups then book fills and end orders, but conclude
                nothing from what they do not show: that takes a fresh snapshot of the socket as well (systems 10.2).
        """
        if self.running or not (ready or blind):
            return
        if mono_ns >= self._next_ns or self.tracker.want_reconcile:
            self._blind = not ready
            self._begin(mono_ns, wall_ns)

    def _begin(self, mono_ns: int, wall_ns: int) -> None:
        self.running = True
        self.tracker.want_reconcile = False
        self._step = 0
        self._found = {name: {} for name in PLAN}
        self._began_wall_ns = wall_ns
        self._fills_at_start = len(self.tracker.ledger.fills)
        live = [self.core.order(i)["sent_wall_ns"] for i in self.core.live_orders()]
        oldest = min(live, default=wall_ns)
        base = self._since_wall_ns or self.session_start_wall_ns or wall_ns
        look_back_s = self._absent_ns // NS_PER_S + LOOK_BACK_MARGIN_S
        self._start_s = max(0, min(oldest, base) // NS_PER_S - look_back_s)
        self._ask_step()

    def _ask_step(self) -> None:
        name = PLAN[self._step]
        params: dict[str, str] = {}
        if name in ("ClosedOrders", "TradesHistory"):
            params = {"start": str(self._start_s), "ofs": str(len(self._found[name]))}
        if name == "TradesHistory":
            params["consolidate_taker"] = "false"  # each execution is a row of its own, as the stream tells it
        self._ask(name, params)

    def on_reply(self, name: str, result: dict[str, Any] | None, error: str, mono_ns: int, wall_ns: int) -> None:
        """Take the reply to the request under way; a failed read ends the round, and the next one starts over."""
        if not self.running or name != PLAN[self._step]:
            return
        if result is None:
            self._fail_round(name, error, mono_ns)
            return
        try:
            self._take(name, result, mono_ns, wall_ns)
        except UNREADABLE as problem:
            # What the venue sent cannot be meant. The reply is in the journal: a fault would come back with every start.
            self._fail_round(name, f"{type(problem).__name__}: {problem}", mono_ns)

    def _fail_round(self, name: str, error: str, mono_ns: int) -> None:
        self.running = False
        self.failed_count += 1
        self._next_ns = mono_ns + 2 * NS_PER_S
        self.tracker.notes.append(("warning", "reconciliation read failed", {"read": name, "error": error}))

    def _take(self, name: str, result: dict[str, Any], mono_ns: int, wall_ns: int) -> None:
        """Keep what came and ask for the next page or list; after the last one, conclude."""
        more = self._collect(name, result)
        if more:
            self._ask_step()
            return
        self._step += 1
        if self._step < len(PLAN):
            self._ask_step()
            return
        self._finish_round(mono_ns, wall_ns)

    def _collect(self, name: str, result: dict[str, Any]) -> bool:
        """Keep one page; True when another one is needed."""
        found = self._found[name]
        if name == "BalanceEx":
            found.update(result)
            return False
        page = result.get(_LISTS[name]) or {}
        before = len(found)
        found.update(page)
        total = result.get("count")
        if name == "OpenOrders" or not isinstance(total, int):
            return False
        return before < len(found) < min(total, PAGE * PAGES_MAX)

    # The end of a round.

    def _finish_round(self, mono_ns: int, wall_ns: int) -> None:
        self.running = False
        self._next_ns = mono_ns + self._interval_ns
        known_ids = self._learn_orders(wall_ns)
        self._book_trades(known_ids)
        self._judge_live(mono_ns, wall_ns)
        if self._blind:
            self._compare_blind()
            if not self.known:
                self._next_ns = mono_ns + EXIT_AGAIN_NS
        else:
            self._compare_balances()
            self.known = self.trusted
        self.done_count += 1
        if not self.tracker.want_reconcile:
            self._since_wall_ns = self._began_wall_ns

    def _ours(self, order: dict[str, Any]) -> str:
        """Client order id of a looked-up order if it is ours, else ""."""
        cl_ord_id = order.get("cl_ord_id")
        if isinstance(cl_ord_id, str) and len(cl_ord_id) == 18 and cl_ord_id.startswith(self.tracker.owner_prefix):
            return cl_ord_id
        return ""

    def _learn_orders(self, wall_ns: int) -> Mapping[str, str]:
        """Learn venue ids; take up orders of ours that the journal lost. Returns client order id by venue id."""
        ids = ChainMap({}, self.tracker.by_order_id)  # no copy: it has an entry for every order of the session
        for name in ("OpenOrders", "ClosedOrders"):
            for txid, order in self._found[name].items():
                cl_ord_id = self._ours(order)
                if not cl_ord_id:
                    continue
                ids[txid] = cl_ord_id
                index = self.core.find_order(cl_ord_id.encode())
                if index < 0 and cl_ord_id not in self.tracker.history:
                    index = self._adopt(cl_ord_id, order, wall_ns)
                if index >= 0 and txid not in self.tracker.by_order_id:
                    self.tracker.learn_id(index, txid)
        return ids

    def _adopt(self, cl_ord_id: str, order: dict[str, Any], wall_ns: int) -> int:
        """Take up an order of ours that we do not know: only a power loss of the journal's tail explains it."""
        number = self.tracker.numbers.get(_pair_name(order.get("descr", {}).get("pair", "")))
        if number is None:
            self._differ(f"order {cl_ord_id} of ours is on a pair that is not configured")
            return -1
        position = self.tracker.ledger.positions.get(number)
        if position is None:
            self.tracker.want_reconcile = True  # the public link has not told the instrument's digits yet
            return -1
        opened_wall_ns = int(Decimal(str(order.get("opentm", 0))) * NS_PER_S) or wall_ns
        self._differ(f"order {cl_ord_id} is ours by its prefix and unknown to the journal")
        return int(self.core.adopt_order(number, {
            "side": Side.BUY if order["descr"]["type"] == "buy" else Side.SELL,
            "price_raw": to_raw(str(order["descr"]["price"]), position.price_precision),
            "qty_raw": to_raw(str(order["vol"]), position.qty_precision),
            "filled_raw": 0,
            "opened_wall_ns": opened_wall_ns,
            "cl_ord_id": cl_ord_id.encode(),
        }))

    def _book_trades(self, ids: Mapping[str, str]) -> None:
        for exec_id, trade in self._found["TradesHistory"].items():
            cl_ord_id = ids.get(trade.get("ordertxid", ""), "")
            if not cl_ord_id or exec_id in self.tracker.ledger.fills:
                continue
            index = self.core.find_order(cl_ord_id.encode())
            order = self.core.order(index) if index >= 0 else self.tracker.history.get(cl_ord_id)
            if order is None:
                continue
            position = self.tracker.ledger.positions[order["instrument"]]
            booked = self.tracker.book(
                order=order, index=index, exec_id=exec_id, qty=Decimal(trade["vol"]), price=Decimal(trade["price"]),
                cost=Decimal(trade["cost"]), fees=((position.quote, Decimal(trade["fee"])),),
                wall_ns=int(Decimal(str(trade["time"])) * NS_PER_S),
                liquidity="maker" if trade.get("maker") else "taker",
            )
            if booked:
                self._differ(f"fill {exec_id} of {cl_ord_id} was found by look-up")

    def _judge_live(self, mono_ns: int, wall_ns: int) -> None:
        """Move each live order by what the look-ups show of it. What was sent since they began is too young for a conclusion."""
        shown = {self._ours(order): order for name in ("ClosedOrders", "OpenOrders")
                 for order in self._found[name].values()}
        retry_ns = 0
        for index in self.core.live_orders():
            order = self.core.order(index)
            seen = shown.get(order["cl_ord_id"])
            if seen is not None:
                self.tracker.on_looked_up(index, seen["status"], Decimal(str(seen["vol_exec"])), seen.get("reason") or "")
                continue
            if order["state"] != OrderState.ORDER_UNKNOWN:
                continue
            age_ns = self._began_wall_ns - order["sent_wall_ns"]
            moved = self._filled_since(order["instrument"])
            absent = age_ns >= self._absent_ns and not self._blind
            if (absent or self._is_over(order)) and not moved and self._balance_unmoved(order):
                self._differ(f"order {order['cl_ord_id']} is absent at the venue")
                self.tracker.absent(index)
            else:
                wait_ns = max(min(self._absent_ns - age_ns, self._over_in_ns(order, wall_ns)), NS_PER_S)
                retry_ns = min(retry_ns or wait_ns, wait_ns)
        if retry_ns:
            self._next_ns = min(self._next_ns, mono_ns + retry_ns)
        self._cancel_adopted()

    def _is_over(self, order: dict[str, Any]) -> bool:
        """Whether an exit could not match any more when this round began, and the balance of its asset tells of it alone.

        Such an exit does not wait for the history: the balance decides, with or without a private link.
        """
        if not _goes_at_once(order) or self._began_wall_ns < order["deadline_wall_ns"] + OVER_AFTER_NS:
            return False
        positions = self.tracker.ledger.positions
        bases = [positions[self.core.order(index)["instrument"]].base for index in self.core.live_orders()]
        return bases.count(positions[order["instrument"]].base) == 1

    def _over_in_ns(self, order: dict[str, Any], wall_ns: int) -> int:
        """When to look again for the sake of an exit that does not rest; as late as anything for all others."""
        if not _goes_at_once(order):
            return self._absent_ns
        left_ns = int(order["deadline_wall_ns"]) + OVER_AFTER_NS - wall_ns
        return left_ns if left_ns > 0 else EXIT_AGAIN_NS

    def _cancel_adopted(self) -> None:
        for index in self.core.live_orders():
            order = self.core.order(index)
            if order["intent_seq"] == 0 and not order["cancel_sent"]:
                self.core.cancel_order(index, 0)

    def _filled_since(self, number: int) -> bool:
        """Whether an instrument was traded since the round began: its balance and its look-ups are of two moments then."""
        fills = self.tracker.ledger.fills
        since = islice(reversed(fills.values()), len(fills) - self._fills_at_start)
        return any(fill.instrument == number for fill in since)

    # Balances.

    def on_balances(self, message: BalancesMessage) -> None:
        """Follow what the user moves: a deposit or withdrawal of a base asset changes what is his, and no order of ours.

        A withdrawal of more than his own takes coins that we manage; it is left to the comparison, which halts.
        """
        if message.snapshot:
            return
        for entry in message.entries:
            if entry.asset not in self.own or entry.amount is None or entry.kind not in USERS_MOVES \
                    or entry.wallet_type not in (None, "spot") or entry.wallet_id not in (None, "main") \
                    or entry.ledger_id is None or entry.ledger_id in self._moves_seen:
                continue
            self._moves_seen[entry.ledger_id] = None
            if len(self._moves_seen) > MOVES_KEPT:
                del self._moves_seen[next(iter(self._moves_seen))]
            left = self.own[entry.asset] + entry.amount - (entry.fee or 0)
            if left < 0:
                self._differ(f"{entry.kind} of {-entry.amount:f} {entry.asset} is more than the user's own "
                             f"{self.own[entry.asset]:f}")
                continue
            self.own[entry.asset] = left
            self.tracker.notes.append(("info", "the user's own balance moved", {
                "asset": entry.asset, "kind": entry.kind, "amount": f"{entry.amount:f}", "own": f"{left:f}"}))

    def _balance_unmoved(self, order: dict[str, Any]) -> bool:
        position = self.tracker.ledger.positions[order["instrument"]]
        return self._difference(position.base) == 0

    def _difference(self, asset: str) -> Decimal:
        """Venue's balance less what is ours and what is the user's; zero when all is explained."""
        held = self._venue_balance(asset)
        return held - self.tracker.ledger.managed_qty(asset) - self.own.get(asset, held)

    def _venue_balance(self, asset: str) -> Decimal:
        for code, entry in self._found["BalanceEx"].items():
            if _asset_name(code) == asset:
                return Decimal(str(entry["balance"]))
        return Decimal(0)

    def _compare_balances(self) -> None:
        """Compare base assets. The first round fixes what is the user's own: the balance less what we manage."""
        assets = {position.base for position in self.tracker.ledger.positions.values()}
        self.balances = {_asset_name(code): Decimal(str(entry["balance"]))
                         for code, entry in self._found["BalanceEx"].items()}
        for asset in sorted(assets):
            if asset not in self.own:
                self.own[asset] = self._venue_balance(asset) - self.tracker.ledger.managed_qty(asset)
        off = {asset: self._difference(asset) for asset in sorted(assets) if self._difference(asset) != 0}
        quiet = not self.core.live_orders() and len(self.tracker.ledger.fills) == self._fills_at_start
        self.agreed = not off
        if not off:
            self.settled = True
            self.mismatch_rounds = 0
            return
        # Ask again at once, until it is sure that no race explains it; then at the usual pace.
        self.tracker.want_reconcile = self.tracker.want_reconcile or self.mismatch_rounds < MISMATCH_ROUNDS_MAX
        # A fill between two of the reads explains a difference; without any it is one.
        if quiet:
            self.mismatch_rounds += 1
            self._differ("balances: " + ", ".join(f"{asset} {value:+f}" for asset, value in off.items()))

    def _compare_blind(self) -> None:
        """Without a private link: whether the venue holds at least what we manage and what is the user's own."""
        quiet = not self.core.live_orders() and len(self.tracker.ledger.fills) == self._fills_at_start
        if quiet and self._began_wall_ns - self.boot_wall_ns >= TAIL_OVER_NS:
            bases = {position.base for position in self.tracker.ledger.positions.values()}
            self.known = all(self._difference(base) >= 0 for base in bases)

    def _differ(self, text: str) -> None:
        self.differences.append(text)
        self.tracker.notes.append(("warning", "reconciliation difference", {"difference": text}))


def _goes_at_once(order: dict[str, Any]) -> bool:
    return bool(order["kind"] == IntentKind.EXIT and order["time_in_force"] == TimeInForce.IOC)


def _asset_name(code: str) -> str:
    """Modern asset name of a REST code: XXBT and XBT are BTC, XDG is DOGE; ZUSD is USD. Others stand as they are."""
    known = {"XXBT": "BTC", "XBT": "BTC", "XXDG": "DOGE", "XDG": "DOGE", "XETH": "ETH", "XXRP": "XRP", "XLTC": "LTC",
             "XXMR": "XMR", "XXLM": "XLM", "XZEC": "ZEC", "XETC": "ETC", "XREP": "REP", "XMLN": "MLN"}
    if code in known:
        return known[code]
    if len(code) == 4 and code[0] == "Z" and code[1:] in ("USD", "EUR", "GBP", "CAD", "JPY", "AUD", "CHF"):
        return code[1:]
    return code


def _pair_name(pair: str) -> str:
    """v2 name of a REST pair name or alternative name such as XBTUSD or XXBTZUSD."""
    if "/" in pair:
        base, _, quote = pair.partition("/")
        return f"{_asset_name(base)}/{_asset_name(quote)}"
    for size in (4, 3):
        base, quote = pair[:-size], pair[-size:]
        if _asset_name(quote) in ("USD", "EUR", "GBP", "CAD", "JPY", "AUD", "CHF", "USDT", "USDC", "BTC"):
            return f"{_asset_name(base)}/{_asset_name(quote)}"
    return pair
