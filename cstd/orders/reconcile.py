"""Reconciler: what the venue's books say of our orders, fills and balances, asked at start and again and again.

One round asks for open orders, closed orders, trades and balances, pages included, one request at a time. When all are
in: missing fills are booked, orders are moved by what was found, ours that nobody knew are taken up and canceled, and an
UNKNOWN order that no look-up shows is absent once systems 10.2 is met. Pure: replies come in, requests go out.
"""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any

from cstd._fast.codes import OrderEvent, OrderState, Side
from cstd.ledger.positions import shown_otherwise
from cstd.orders.balances import Balances
from cstd.orders.strangers import Strangers
from cstd.orders.times import CLOCKS_APART_S, goes_at_once, opened_before, opened_wall_ns
from cstd.orders.tracker import FINAL_EVENTS, OrderTracker
from cstd.units import NS_PER_S, from_raw, to_raw
from cstd.venue.messages import BalancesMessage, ExecutionsMessage
from cstd.venue.rest.models import parse_ledgers
from cstd.venue.rest.names import pair_spellings

if TYPE_CHECKING:
    from cstd._fast.core import Core

PAGE = 50
PAGES_MAX = 40
# A difference that three quiet rounds in a row show is no race between two reads.
MISMATCH_ROUNDS_MAX = 3
# What a reply of the wrong shape raises on its way through a round.
UNREADABLE = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)
# Once its deadline has passed by this, an order that does not rest cannot match any more (systems 10.2).
OVER_AFTER_NS = NS_PER_S
# The rhythm of look-ups that cannot wait for the next round: what the balance shows and the history does not yet, whether a
# position may be sold, whether an order that vanished shows again.
LOOK_AGAIN_NS = 5 * NS_PER_S
# What a lost tail of the journal sent has arrived by then, or is refused for its deadline.
TAIL_OVER_NS = 6 * NS_PER_S
# A snapshot that was asked for has come by then, or is asked for again.
SNAPSHOT_AGAIN_NS = 30 * NS_PER_S
UNANSWERED = (OrderState.ORDER_INTENDED, OrderState.ORDER_SENT)  # they have a deadline of their own
STATUSES = FINAL_EVENTS.keys() | {"open", "pending"}
PLAN = ("OpenOrders", "ClosedOrders", "TradesHistory", "BalanceEx")
LEDGER = "Ledgers"  # read last while balances differ: a move of the user's, or an entry, that the channel did not bring
CLOCK = "Time"  # read first while an order is unknown: that its deadline has passed the venue's clock says, not ours
FAILED_WAITS_NS = tuple(seconds * NS_PER_S for seconds in (2, 4, 8, 16, 32, 60))  # after 1, 2, ... failed rounds in a row
_LISTS = {"OpenOrders": "open", "ClosedOrders": "closed", "TradesHistory": "trades", LEDGER: "ledger"}

Ask = Callable[[str, dict[str, str], bool], None]
Agreed = Callable[[Balances, Mapping[str, "Row"]], None]
Row = dict[str, Any]


class Finding(Enum):
    """What a round finds and nothing explains. It is counted and said, and no state is guessed from it."""

    VANISHED = "vanished"              # live by the stream's word, and in no list of the venue
    AMBIGUOUS = "ambiguous"            # several orders of the venue have one client order id of ours
    STATUS_UNKNOWN = "status_unknown"  # a status word that is in no table
    REOPENED = "reopened"              # among the open orders, though it had ended
    BALANCE = "balance"                # coins or cash that neither our fills nor the user's moves explain
    FILL_DIFFERS = "fill_differs"      # one exec_id with two quantities, prices, costs or fees


class Reconciler:
    """Rounds of look-ups. One writer: the engine.

    Args:
        tracker: orders and ledger to compare with.
        ask: puts one read, private or not, into the REST lane; its reply comes back through `on_reply`.
        renew: asks the private socket for a fresh snapshot of the executions, at a monotonic time.
        absent_ns: how long no look-up must have shown an UNKNOWN order before it can be absent.
        interval_ns: pause between rounds when nothing asks for one. boot_mono_ns: when this boot began.
        on_agreed: takes the balances, and the open orders that are not ours, of each round that agrees.

    Attributes:
        done_count: finished rounds since the private link came up. differences: what did not agree, newest last.
        balances: coins and cash of the account, compared by every round.
        known: the venue held what we manage when it was compared last in this boot, by look-ups alone where there is no
            private link: what an exit by REST needs.
        findings: how often each was found; once for as long as round after round finds it.
    """

    def __init__(self, tracker: OrderTracker, ask: Ask, renew: Callable[[int], None], *, absent_ns: int,
                 interval_ns: int, boot_mono_ns: int, on_agreed: Agreed) -> None:
        self.tracker = tracker
        self.core: Core = tracker.core
        self._ask = ask
        self._renew = renew
        self._on_agreed = on_agreed
        self._absent_ns = absent_ns
        self._interval_ns = interval_ns
        self.done_count = 0
        self.failed_count = self._failed_in_a_row = 0
        self.differences: list[str] = []
        self.balances = Balances(tracker, self._differ, absent_ns)
        self.known = False
        self.boot_wall_ns = 0
        self.findings: Counter[Finding] = Counter()
        self.running = False
        self.session_start_wall_ns = 0
        self.handed_over_wall_ns = 0  # up to when the handover that this journal began with tells of our orders, 0 for none
        self._handover_outdated = ""
        self._since_wall_ns = 0
        self._next_ns = 0
        self._step = 0
        self._plan: tuple[str, ...] = PLAN
        self._found: dict[str, dict[str, Any]] = {}
        self._began_mono_ns = self._began_wall_ns = 0
        self._fills_at_start = 0
        self._finding: dict[tuple[Finding, str], str] = {}       # of the round that is ending
        self._found_last: dict[tuple[Finding, str], str] = {}    # of the one before it
        self._heard: dict[str, None] = {}                        # orders that the stream told of since the round began
        self._doubted: dict[str, int] = {}                       # since when no look-up shows an UNKNOWN order
        self._not_in_snapshot: dict[str, None] = {}
        self._past: set[str] = set()                             # UNKNOWN, and too late to be taken by the venue's own clock
        self._unexplained: set[str] = set()                      # nowhere at the venue, and yet the balance has moved
        self._renewed_ns: int | None = None
        self._reopened: dict[str, int] = {}                      # since when the look-ups show one that had ended
        self._blind = False
        self.strangers = Strangers(tracker.notes.append, boot_mono_ns + TAIL_OVER_NS + absent_ns)

    # Rounds.

    def reset(self) -> None:
        """The private link came or went: nothing has been compared on the one that is there now."""
        self.running = False
        self.done_count = 0
        self.balances.reset()
        self._next_ns = 0
        self._not_in_snapshot.clear()
        self._renewed_ns = None

    def take_over(self, before: Reconciler) -> None:
        """Go on from the reconciler of the boot before this one: what it has agreed with the venue stays agreed."""
        self.balances.take_over(before.balances)
        self._since_wall_ns = before._since_wall_ns
        self._doubted = before._doubted
        self.handed_over_wall_ns, self._handover_outdated = before.handed_over_wall_ns, before._handover_outdated

    @property
    def trusted(self) -> bool:
        """Whether the account is known: balances agreed on this link, and no quiet round since found a difference."""
        return self.balances.settled and self.balances.mismatch_rounds == 0

    @property
    def agreed(self) -> bool:
        """Whether the last round's balances matched."""
        return self.balances.agreed

    @property
    def own(self) -> dict[str, Decimal]:
        """The user's own quantity of each coin."""
        return self.balances.own

    @property
    def halt_reason(self) -> str:
        """Why openings stop until the cause is gone, or until the next start; "" while nothing of the look-ups asks for it."""
        if self.balances.mismatch_rounds >= MISMATCH_ROUNDS_MAX:
            return f"{self.balances.mismatch}: another account, or moved by hand, or an asset renamed"
        ambiguous = (text for (finding, _), text in self._found_last.items() if finding is Finding.AMBIGUOUS)
        return self.strangers.halt_reason or self._handover_outdated or next(ambiguous, "")

    def on_timer(self, mono_ns: int, wall_ns: int, *, ready: bool, blind: bool = False) -> None:
        """Begin a round when one is due.

        Args:
            ready: both private snapshots are in.
            blind: there is no private socket, and orders are live or a kill is not proven. The look-ups then book fills and
                end orders, but conclude nothing from what they do not show: that takes a fresh snapshot of the socket as
                well (systems 10.2).
        """
        if self.running or not (ready or blind):
            return
        if mono_ns >= self._next_ns or (self.tracker.want_reconcile and not self._failed_in_a_row):
            self._blind = not ready
            self._begin(mono_ns, wall_ns)

    def _begin(self, mono_ns: int, wall_ns: int) -> None:
        self.running = True
        self.tracker.want_reconcile = False
        self._step = 0
        live_orders = [self.core.order(index) for index in self.core.live_orders()]
        self._plan = (CLOCK, *PLAN) if any(order["state"] == OrderState.ORDER_UNKNOWN for order in live_orders) else PLAN
        if self.balances.mismatch_rounds:
            self._plan += (LEDGER,)
        self._found = {name: {} for name in self._plan}
        self._began_mono_ns, self._began_wall_ns = mono_ns, wall_ns
        self._heard.clear()
        self._fills_at_start = len(self.tracker.ledger.fills)
        oldest = min((order["sent_wall_ns"] for order in live_orders), default=wall_ns)
        base = self._since_wall_ns or self.session_start_wall_ns or wall_ns
        look_back_s = self._absent_ns // NS_PER_S + CLOCKS_APART_S
        self._start_s = max(0, min(oldest, base) // NS_PER_S - look_back_s)
        self._ask_step()

    def _ask_step(self) -> None:
        name = self._plan[self._step]
        params: dict[str, str] = {}
        if name in ("ClosedOrders", "TradesHistory"):
            params = {"start": str(self._start_s), "ofs": str(len(self._found[name]))}
        if name == LEDGER:
            params = {"ofs": str(len(self._found[name]))}  # newest first, until the balance that agreed last shows
        if name == "TradesHistory":
            params["consolidate_taker"] = "false"  # each execution is a row of its own, as the stream tells it
        self._ask(name, params, name != CLOCK)

    def on_reply(self, name: str, result: dict[str, Any] | None, error: str, mono_ns: int, wall_ns: int) -> None:
        """Take the reply to the request under way; a failed read ends the round, and the next one starts over."""
        if not self.running or name != self._plan[self._step]:
            return
        if name == LEDGER:
            result = self._ledger_page(result, error)
        if result is None:
            self._fail_round(name, error, mono_ns)
            return
        try:
            self._take(name, result, mono_ns, wall_ns)
        except UNREADABLE as problem:
            # What the venue sent cannot be meant. The reply is in the journal: a fault would come back with every start.
            self._fail_round(name, f"{type(problem).__name__}: {problem}", mono_ns)

    def _ledger_page(self, result: dict[str, Any] | None, error: str) -> dict[str, Any]:
        """A page that can be read, or an empty one: a key need not have this right, and then what differs stands."""
        try:
            if result is not None:
                parse_ledgers(result)
                return result
        except UNREADABLE as problem:
            error = f"{type(problem).__name__}: {problem}"
        self.tracker.notes.append(("warning", "the venue's ledger was not read", {"error": error}))
        return {}

    def _fail_round(self, name: str, error: str, mono_ns: int) -> None:
        self.running = False
        self.failed_count += 1
        self._next_ns = mono_ns + FAILED_WAITS_NS[min(self._failed_in_a_row, len(FAILED_WAITS_NS) - 1)]
        self._failed_in_a_row += 1
        self.tracker.notes.append(("warning", "reconciliation read failed", {"read": name, "error": error}))

    def _take(self, name: str, result: dict[str, Any], mono_ns: int, wall_ns: int) -> None:
        """Keep what came and ask for the next page or list; after the last one, conclude."""
        more = self._collect(name, result)
        if more:
            self._ask_step()
            return
        self._step += 1
        if self._step < len(self._plan):
            self._ask_step()
            return
        self._finish_round(mono_ns, wall_ns)

    def _collect(self, name: str, result: dict[str, Any]) -> bool:
        """Keep one page; True when another one is needed."""
        found = self._found[name]
        if name not in _LISTS:
            found.update(result)
            return False
        page = result.get(_LISTS[name]) or {}
        before = len(found)
        found.update(page)
        total = result.get("count")
        if name == "OpenOrders" or not isinstance(total, int) or (name == LEDGER and self.balances.reached(found)):
            return False
        return before < len(found) < min(total, PAGE * PAGES_MAX)

    # The end of a round.

    def _finish_round(self, mono_ns: int, wall_ns: int) -> None:
        self.running = False
        self._next_ns = mono_ns + self._interval_ns
        self._finding = {}
        self._unexplained.clear()
        self.balances.take(self._found["BalanceEx"])
        rows = self._match()
        known_ids = self._learn_orders(rows, wall_ns)
        self._book_trades(known_ids)
        self.balances.on_ledger(self._found.get(LEDGER, {}), self._found["TradesHistory"], known_ids)
        self._judge_live({cl_ord_id: row for cl_ord_id, (_, row) in rows.items()}, mono_ns, wall_ns)
        self.strangers.on_round(self._found["OpenOrders"], self.ours, self._began_mono_ns)
        if self._blind:
            self._compare_blind()
            if not self.known:
                self._next_ns = mono_ns + LOOK_AGAIN_NS
        else:
            self._compare_balances()
            self.known = self.balances.coins_known
        self._found_last = self._finding
        self.done_count, self._failed_in_a_row = self.done_count + 1, 0
        if not self.tracker.want_reconcile:
            self._since_wall_ns = self._began_wall_ns

    def _find(self, finding: Finding, key: str, text: str) -> None:
        """Take note of what nothing explains; it is said and counted where the round before did not find it as well."""
        if (finding, key) not in self._found_last and (finding, key) not in self._finding:
            self.findings[finding] += 1
            self.differences.append(text)
            self.tracker.notes.append(("error", "reconciliation finding", {"finding": finding.value, "difference": text}))
        self._finding[finding, key] = text

    def _match(self) -> dict[str, tuple[str, Row]]:
        """The venue's id and row of each order of ours that is shown, by client order id.

        The venue keeps a client order id unique among open orders only: ended rows opened before ours was sent are of another
        order, and where several are left none of them is believed.
        """
        ahead_ns = int(self.core.clock_offset_ns)
        shown: dict[str, dict[str, Row]] = {}
        for name in ("ClosedOrders", "OpenOrders"):
            for txid, row in self._found[name].items():
                cl_ord_id = self.ours(row)
                if cl_ord_id and (name == "OpenOrders" or not opened_before(row, self._known_order(cl_ord_id), ahead_ns)):
                    shown.setdefault(cl_ord_id, {})[txid] = row
        for cl_ord_id, rows in shown.items():
            known = self._known_order(cl_ord_id)
            txids = rows.keys() | ({known["order_id"]} if known and known["order_id"] else set())
            if len(txids) > 1:
                self._find(Finding.AMBIGUOUS, cl_ord_id,
                           f"client order id {cl_ord_id} is of several orders at the venue: {', '.join(sorted(txids))}")
        return {cl_ord_id: next(iter(rows.items())) for cl_ord_id, rows in shown.items()
                if (Finding.AMBIGUOUS, cl_ord_id) not in self._finding}

    def _known_order(self, cl_ord_id: str) -> dict[str, Any] | None:
        index = self.core.find_order(cl_ord_id.encode())
        return self.core.order(index) if index >= 0 else self.tracker.history.get(cl_ord_id)

    def ours(self, order: dict[str, Any]) -> str:
        """Client order id of a looked-up order if it is ours, else ""."""
        cl_ord_id = order.get("cl_ord_id")
        if isinstance(cl_ord_id, str) and len(cl_ord_id) == 18 and cl_ord_id.startswith(self.tracker.owner_prefix):
            return cl_ord_id
        return ""

    def _learn_orders(self, rows: Mapping[str, tuple[str, Row]], wall_ns: int) -> Mapping[str, str]:
        """Learn venue ids; take up orders of ours that the journal lost. Returns client order id by venue id."""
        ids = ChainMap({}, self.tracker.by_order_id)  # no copy: it has an entry for every order of the session
        reopened: dict[str, int] = {}
        for cl_ord_id, (txid, row) in rows.items():
            ids[txid] = cl_ord_id
            index = self.core.find_order(cl_ord_id.encode())
            if index < 0 and cl_ord_id not in self.tracker.history:
                index = self._take_up_lost(cl_ord_id, row, wall_ns, is_open=txid in self._found["OpenOrders"])
            elif index < 0 and txid in self._found["OpenOrders"] and cl_ord_id not in self._heard:
                reopened[cl_ord_id] = self._reopened.get(cl_ord_id, self._began_mono_ns)
                index = self._on_reopened(cl_ord_id, row, reopened[cl_ord_id], wall_ns)
            if index >= 0 and txid not in self.tracker.by_order_id:
                self.tracker.learn_id(index, txid)
        self._reopened = reopened
        return ids

    def _take_up_lost(self, cl_ord_id: str, row: Row, wall_ns: int, *, is_open: bool) -> int:
        self._differ(f"order {cl_ord_id} is ours by its prefix and unknown to the journal")
        if self.handed_over_wall_ns < (opened_wall_ns(row) or 0) < self.session_start_wall_ns and self.handed_over_wall_ns:
            # Levels, losses and latches of then are not here. What the order did is booked, and what is held can be sold.
            self._handover_outdated = (f"order {cl_ord_id} of ours is newer than the handover: another journal went on after"
                                       " it was written; go on with that one, or hand over from it")
        if is_open:
            self.strangers.on_unknown(cl_ord_id)
        return self._adopt(cl_ord_id, row, wall_ns)

    def take_up_open(self, rows: Mapping[str, Row], wall_ns: int) -> None:
        """Take up and cancel those of ours among open orders, by venue id, that the journal lost: no round has to end first."""
        for txid, row in rows.items():
            cl_ord_id = self.ours(row)
            if cl_ord_id and self._known_order(cl_ord_id) is None:
                index = self._take_up_lost(cl_ord_id, row, wall_ns, is_open=True)
                if index >= 0:
                    self.tracker.learn_id(index, txid)
        self._cancel_adopted()

    def _on_reopened(self, cl_ord_id: str, row: Row, since_mono_ns: int, wall_ns: int) -> int:
        """An order that had ended is among the open ones. What outlasts the lists' lag is taken up again, and canceled."""
        self._find(Finding.REOPENED, cl_ord_id, f"order {cl_ord_id} is open at the venue and had ended before")
        lasting = self._began_mono_ns - since_mono_ns >= self._absent_ns
        return self._adopt(cl_ord_id, row, wall_ns) if lasting else -1

    def _adopt(self, cl_ord_id: str, order: Row, wall_ns: int) -> int:
        """Take up an order of ours that our table does not have, as UNKNOWN; -1 where that cannot be."""
        pair = order.get("descr", {}).get("pair", "")
        number = next((n for name, n in self.tracker.numbers.items() if pair in pair_spellings(name)), None)
        if number is None:
            self._differ(f"order {cl_ord_id} of ours is on a pair that is not configured")
            return -1
        position = self.tracker.ledger.positions.get(number)
        if position is None:
            self.tracker.want_reconcile = True  # the public link has not told the instrument's digits yet
            return -1
        opened_ns = opened_wall_ns(order) or wall_ns
        booked = sum((from_raw(fill.qty_raw, fill.qty_precision) for fill in self.tracker.ledger.fills.values()
                      if fill.cl_ord_id == cl_ord_id), Decimal(0))
        return int(self.core.adopt_order(number, {
            "side": Side.BUY if order["descr"]["type"] == "buy" else Side.SELL,
            "price_raw": to_raw(str(order["descr"]["price"]), position.price_precision),
            "qty_raw": to_raw(str(order["vol"]), position.qty_precision),
            "filled_raw": to_raw(booked, position.qty_precision),
            "opened_wall_ns": opened_ns,
            "cl_ord_id": cl_ord_id.encode(),
        }))

    def _book_trades(self, ids: Mapping[str, str]) -> None:
        for exec_id, trade in self._found["TradesHistory"].items():
            cl_ord_id = ids.get(trade.get("ordertxid", ""), "")
            if not cl_ord_id:
                continue
            fill = self.tracker.ledger.fills.get(exec_id)
            if fill is not None:
                if other := shown_otherwise(fill, trade, self.tracker.ledger.positions[fill.instrument].quote):
                    # What was booked stays; which of the two is true the balances tell, and the daily statement.
                    self._find(Finding.FILL_DIFFERS, exec_id, f"fill {exec_id} is booked with {other}")
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

    def _judge_live(self, rows: Mapping[str, Row], mono_ns: int, wall_ns: int) -> None:
        """Move each live order by what the look-ups show of it. What was sent since they began is too young for a conclusion."""
        retry_ns = 0
        self._note_past()
        for index in self.core.live_orders():
            order = self.core.order(index)
            row = rows.get(order["cl_ord_id"])
            if row is not None:
                self._on_shown(index, order["cl_ord_id"], row)
            elif self._in_doubt(index, order):
                wait_ns = self._judge_unseen(index, order, mono_ns, wall_ns)
                retry_ns = min(retry_ns or wait_ns, wait_ns)
        if retry_ns:
            self._next_ns = min(self._next_ns, mono_ns + retry_ns)
        live = {self.core.order(index)["cl_ord_id"] for index in self.core.live_orders()}
        self._doubted = {cl_ord_id: since for cl_ord_id, since in self._doubted.items() if cl_ord_id in live}
        self._past &= live
        self._cancel_adopted()

    def _note_past(self) -> None:
        """Note whose deadline has passed: where the venue's clock runs behind ours, an order is taken for as long."""
        behind_ns = max(0, -int(self.core.clock_offset_ns))  # by so much the deadline that was sent may be later
        venue_wall_ns = int(self._found.get(CLOCK, {}).get("unixtime") or 0) * NS_PER_S
        latest_ns = min(venue_wall_ns, self._began_wall_ns) - behind_ns - OVER_AFTER_NS
        for order in map(self.core.order, self.core.live_orders()):
            if order["state"] == OrderState.ORDER_UNKNOWN and order["deadline_wall_ns"] <= latest_ns:
                self._past.add(order["cl_ord_id"])

    def _on_shown(self, index: int, cl_ord_id: str, row: Row) -> None:
        self._doubted.pop(cl_ord_id, None)
        if row["status"] in STATUSES:
            self.tracker.on_looked_up(index, row["status"], Decimal(str(row["vol_exec"])), row.get("reason") or "")
            return
        self._find(Finding.STATUS_UNKNOWN, cl_ord_id, f"order {cl_ord_id} has a status that is in no table: {row['status']!r}")
        self.core.move_order(index, OrderEvent.ON_SILENT)

    def _in_doubt(self, index: int, order: dict[str, Any]) -> bool:
        """Whether nobody knows what became of an order that the look-ups do not show, or show twice.

        Live by the stream's word it is so from here on, unless that word, or the order itself, is younger than the round.
        """
        cl_ord_id = order["cl_ord_id"]
        ambiguous = (Finding.AMBIGUOUS, cl_ord_id) in self._finding
        if order["state"] == OrderState.ORDER_UNKNOWN or ambiguous:
            self.core.move_order(index, OrderEvent.ON_SILENT)
            return not ambiguous
        young = (order["state"] in UNANSWERED or order["sent_wall_ns"] >= self._began_wall_ns
                 or order["changed_mono_ns"] >= self._began_mono_ns or cl_ord_id in self._heard)
        if young or self._filled_since(order["instrument"]):
            return False
        self._find(Finding.VANISHED, cl_ord_id, f"order {cl_ord_id} is live by the stream and in no list of the venue")
        self.core.move_order(index, OrderEvent.ON_SILENT)
        self.core.retry_cancel(index)
        return True

    def _judge_unseen(self, index: int, order: dict[str, Any], mono_ns: int, wall_ns: int) -> int:
        """End an UNKNOWN order where all evidence says that it is not there; else return in how many ns to look again."""
        cl_ord_id = order["cl_ord_id"]
        # Not since it was sent: one that rested for long has ended just now, and the lists' lag counts from there. And by
        # no clock that is set: an hour skipped on the wall is no hour in which the venue could have told.
        age_ns = self._began_mono_ns - self._doubted.setdefault(cl_ord_id, mono_ns)
        old = age_ns >= self._absent_ns and not self._blind
        if not self._filled_since(order["instrument"]):
            unmoved, in_no_list = self._balance_unmoved(order), old and cl_ord_id in self._not_in_snapshot
            if unmoved and (in_no_list or self._is_over(order)):
                self._differ(f"order {cl_ord_id} is absent at the venue")
                self.tracker.absent(index)
                return self._interval_ns
            if in_no_list:
                self._unexplained.add(cl_ord_id)
            elif old and (self._renewed_ns is None or mono_ns - self._renewed_ns >= SNAPSHOT_AGAIN_NS):
                self._renewed_ns = mono_ns
                self._renew(mono_ns)
        soon = age_ns >= self._absent_ns or (Finding.VANISHED, cl_ord_id) in self._finding
        left_ns = LOOK_AGAIN_NS if soon else self._absent_ns - age_ns
        return max(min(left_ns, self._over_in_ns(order, wall_ns)), NS_PER_S)

    def on_executions(self, message: ExecutionsMessage) -> None:
        """Take what the stream told, after the tracker did: who was heard of, and which UNKNOWN orders a snapshot lacks.

        A snapshot speaks of an order only where the venue's clock had passed the order's deadline: before, it may be on its way.
        """
        for report in message.reports:
            if message.snapshot and report.exec_type == "trade":
                continue  # of any age, and of orders that have ended
            cl_ord_id = report.cl_ord_id or self.tracker.by_order_id.get(report.order_id or "", "")
            self._not_in_snapshot.pop(cl_ord_id, None)
            self._doubted.pop(cl_ord_id, None)
            if self.running:
                self._heard[cl_ord_id] = None
        if message.snapshot:
            self.tracker.want_reconcile = True
            live = [self.core.order(index) for index in self.core.live_orders()]
            self._not_in_snapshot = {order["cl_ord_id"]: None for order in live if order["cl_ord_id"] in self._past
                                     and order["state"] == OrderState.ORDER_UNKNOWN}

    def _is_over(self, order: dict[str, Any]) -> bool:
        """Whether an exit could not match any more when this round began, and the balance of its asset tells of it alone.

        Such an exit does not wait for the history: the balance decides, with or without a private link.
        """
        if not goes_at_once(order) or order["cl_ord_id"] not in self._past:
            return False
        positions = self.tracker.ledger.positions
        bases = [positions[self.core.order(index)["instrument"]].base for index in self.core.live_orders()]
        return bases.count(positions[order["instrument"]].base) == 1

    def _over_in_ns(self, order: dict[str, Any], wall_ns: int) -> int:
        """When to look again for the sake of an exit that does not rest; as late as anything for all others."""
        if not goes_at_once(order):
            return self._absent_ns
        left_ns = int(order["deadline_wall_ns"]) + OVER_AFTER_NS - wall_ns
        return left_ns if left_ns > 0 else LOOK_AGAIN_NS

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
        """Follow what the balances channel tells of the user's moves and of the ledger's entries."""
        self.balances.on_message(message)

    def _balance_unmoved(self, order: dict[str, Any]) -> bool:
        return self.balances.difference(self.tracker.ledger.positions[order["instrument"]].base) == 0

    def _compare_balances(self) -> None:
        """Compare coins and cash, explained by the venue's ledger as well where a round before this one was at a loss."""
        live = {self.core.order(index)["cl_ord_id"] for index in self.core.live_orders()}
        quiet = live <= self._unexplained and len(self.tracker.ledger.fills) == self._fills_at_start
        off = self.balances.compare(quiet=quiet, mono_ns=self._began_mono_ns)
        for asset in off if self.balances.mismatch_rounds else ():
            self._find(Finding.BALANCE, asset, self.balances.mismatch)
        # Ask again at once, until it is sure that no race explains it; then at the usual pace.
        again = bool(off) and self.balances.mismatch_rounds < MISMATCH_ROUNDS_MAX
        self.tracker.want_reconcile = self.tracker.want_reconcile or again
        if not off:
            self._on_agreed(self.balances, {txid: row for txid, row in self._found["OpenOrders"].items() if not self.ours(row)})

    def _compare_blind(self) -> None:
        """Without a private link: whether the venue holds at least what we manage and what is the user's own."""
        quiet = not self.core.live_orders() and len(self.tracker.ledger.fills) == self._fills_at_start
        if quiet and self._began_wall_ns - self.boot_wall_ns >= TAIL_OVER_NS:
            bases = {position.base for position in self.tracker.ledger.positions.values()}
            self.known = all(self.balances.difference(base) >= 0 for base in bases)

    def _differ(self, text: str) -> None:
        self.differences.append(text)
        self.tracker.notes.append(("warning", "reconciliation difference", {"difference": text}))
