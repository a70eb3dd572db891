"""OrderTracker: what venue messages do to our orders and to the ledger.

Every input is a message with evidence about an order; the lifecycle table says what it may change. Fills are booked by
exec_id, once, whatever repeats or arrives in whatever order. Nothing here sends anything.

Why this way: acknowledgements, executions and REST look-ups all speak about the same order in any order, so each is
turned into one lifecycle event plus, perhaps, one fill, and the table alone decides what the sum of them means.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cstd._fast.codes import OrderAction, OrderEvent, OrderState
from cstd.ledger.nav import Slippage
from cstd.ledger.positions import Fill, Ledger
from cstd.orders.lifecycle import FINAL, STATE_NAMES
from cstd.orders.rate_counters import RateCounters
from cstd.units import INT64_MAX, from_raw, to_raw
from cstd.venue.call_log import CallLog, is_served
from cstd.venue.errors_table import GONE, POST_ONLY, outcome_unknown
from cstd.venue.messages import ExecutionReport
from cstd.venue.private import OrderReply

if TYPE_CHECKING:
    from cstd._fast.core import Core

HISTORY_MAX = 100_000
ORDER_ID_MAX = 23  # bytes kept of the venue's id; Kraken's have 19
REPORT_EVENTS = {
    "pending_new": OrderEvent.ON_PENDING,
    "new": OrderEvent.ON_NEW,
    "canceled": OrderEvent.ON_CANCELED,
    "expired": OrderEvent.ON_EXPIRED,
}
# Reports that bring other terms, and reports that change nothing in the lifecycle.
CHANGE_REPORTS = frozenset({"amended", "restated"})
QUIET_REPORTS = frozenset({"status", "iceberg_refill"})
ENDED_STATUS = frozenset({"filled", "canceled", "expired"})
FINAL_EVENTS = {
    "closed": OrderEvent.ON_FULL,
    "canceled": OrderEvent.ON_CANCELED,
    "expired": OrderEvent.ON_EXPIRED,
}


class OrderTracker:
    """Orders from sent to final, and their fills. One writer: the engine.

    Attributes:
        history: finished orders by client order id, oldest first, bounded by HISTORY_MAX.
        want_reconcile: set when a message left a question that only look-ups answer.
        unknown_type_count: reports of a type that the venue has added since.
        contradiction_count: what the venue said of an order that cannot be true together with what it had said before.
        notes: (level, event, fields) to be logged by whoever drains them.
    """

    def __init__(self, core: Core, ledger: Ledger, owner_prefix: str) -> None:
        self.core = core
        self.ledger = ledger
        self.slippage = Slippage()
        self.owner_prefix = owner_prefix
        self.history: dict[str, dict[str, Any]] = {}
        self.by_order_id: dict[str, str] = {}
        self.want_reconcile = False
        self.cancels_refused: dict[str, None] = {}  # they go again after a while
        self.foreign_count = 0
        self.stray_reply_count = 0
        self.rejected_count = 0
        self.unbookable_count = 0
        self.unknown_type_count = 0
        self.contradiction_count = 0
        self.numbers: dict[str, int] = {}
        self.slippage_bps: dict[str, Decimal] = {}
        self.notes: list[tuple[str, str, dict[str, Any]]] = []
        self.rates = RateCounters(core, self.notes)
        self.calls = CallLog()  # requests about orders that were answered, or were not
        self.answers = CallLog()  # of the venue to new orders: taken, or refused for an error

    # Replies to our requests.

    def on_reply(self, reply: OrderReply) -> None:
        """Apply the reply to an add or cancel request."""
        if reply.req_id is None:
            self.stray_reply_count += 1
            return
        index, action = self.core.find_request(reply.req_id)
        if index < 0:
            # The order has ended meanwhile; a reply that comes late changes nothing.
            self.stray_reply_count += 1
            return
        sent = self.core.order(index)
        sent_ns = {OrderAction.ACTION_CANCEL: sent["cancel_mono_ns"], OrderAction.ACTION_AMEND: sent["amended_mono_ns"]}
        self.calls.note(served=reply.success or is_served(reply.error),
                        took_ns=self.core.mono_ns - sent_ns.get(OrderAction(action), sent["sent_mono_ns"]))
        if action == OrderAction.ACTION_ADD:
            self.answers.note(served=reply.success or reply.error.startswith(POST_ONLY))
        if action == OrderAction.ACTION_CANCEL:
            self._on_cancel_reply(index, reply)
        elif action == OrderAction.ACTION_AMEND:
            self._on_amend_reply(index, reply)
        else:
            self._on_add_reply(index, reply)

    def _on_add_reply(self, index: int, reply: OrderReply) -> None:
        if reply.success:
            if reply.order_id:
                self.learn_id(index, reply.order_id)
            self.core.move_order(index, OrderEvent.ON_ACK)
            return
        order = self.core.order(index)
        seen = bool(order["order_id"]) or order["filled_raw"] > 0
        if seen or outcome_unknown(reply.error):
            # Orders were executed behind server errors: nothing is known until it is looked up.
            self.core.move_order(index, OrderEvent.ON_SILENT)
            self.want_reconcile = True
            self._note_refusal(index, reply.error)
            if seen:
                self._contradict(order["cl_ord_id"], "refused after it had been taken")
            return
        self.refuse(index, reply.error)

    def refuse(self, index: int, error: str) -> None:
        """End an order that the venue refused, or that never left."""
        self.rates.on_refused(self.core.order(index)["instrument"], error)
        self._note_refusal(index, error)
        self.rejected_count += 1
        self._finish(index, OrderEvent.ON_REJECT, error)

    def _note_refusal(self, index: int, error: str) -> None:
        cl_ord_id = self.core.order(index)["cl_ord_id"]
        self.notes.append(("warning", "order refused by venue", {"cl_ord_id": cl_ord_id, "error": error}))

    def _on_cancel_reply(self, index: int, reply: OrderReply) -> None:
        if reply.success:
            return  # accepted; the execution report says what became of the order
        self.notes.append(("warning", "cancel refused", {"index": index, "error": reply.error}))
        if reply.error.startswith(GONE):
            # Filled and canceled cannot be told apart here.
            self.core.move_order(index, OrderEvent.ON_GONE)
            self.want_reconcile = True
            return
        # Whether it was done behind the error or not, the same cancel finds out; what refuses once may refuse for long.
        self.core.move_order(index, OrderEvent.ON_CANCEL_REFUSED)
        if not self.rates.on_cancel_refused(index, reply.error):
            self.cancels_refused[self.core.order(index)["cl_ord_id"]] = None

    def _on_amend_reply(self, index: int, reply: OrderReply) -> None:
        """A success waits for its report. Where an amend to another price is refused, the order stands as it was: it passed its
        gates there. One that was to make it smaller leaves more resting than they let pass: it is canceled."""
        if reply.success:
            return
        self.notes.append(("warning", "amend refused", {"index": index, "error": reply.error}))
        if reply.error.startswith(GONE):
            self.core.move_order(index, OrderEvent.ON_GONE)
            self.want_reconcile = True
            return
        self.rates.on_refused(self.core.order(index)["instrument"], reply.error)
        followed = self.core.order(index)["amend_price_raw"] > 0
        if followed and outcome_unknown(reply.error):
            self.core.cancel_order(index, 0)  # it rests at either price, and both count until its end
            return
        self.core.amend_settled(index, 0)
        if not followed:
            self.core.cancel_order(index, 0)

    def _on_changed(self, index: int, report: ExecutionReport) -> None:
        """Take the venue's new total quantity, and the price that we asked for; where it does not fit, the account is looked up.

        Terms of an order that its gates did not judge do not stay: one with another price, or with terms that the venue
        changed without saying to what, is canceled. A quantity is judged again as it is.
        """
        order = self.core.order(index)
        position = self._position(order["instrument"])
        try:
            qty_raw = to_raw(report.order_qty, position.qty_precision) if report.order_qty is not None else 0
        except ValueError:
            qty_raw = 0
        told = 0 < qty_raw <= INT64_MAX
        if told and order["amend_price_raw"] and report.limit_price is None:
            told = False  # at one of two prices: both count, and the order goes when the amend counts as unanswered
        followed = order["amend_price_raw"] > 0 and report.limit_price == from_raw(
            order["amend_price_raw"], position.price_precision)
        if told:
            self.core.amend_settled(index, qty_raw, order["amend_price_raw"] if followed else 0)
        if not told or order["filled_raw"] >= qty_raw:
            self.want_reconcile = True
        price = from_raw(order["price_raw"], position.price_precision)
        repriced = (report.limit_price is not None and order["price_raw"] > 0 and report.limit_price != price
                    and not followed)
        if report.exec_type == "restated" or repriced:
            self.notes.append(("warning", "the venue changed an order", {
                "cl_ord_id": order["cl_ord_id"], "reason": report.reason or "", "qty": str(report.order_qty),
                "price": str(report.limit_price)}))
        if repriced or (report.exec_type == "restated" and not told):
            self.core.cancel_order(index, 0)

    # Execution reports.

    def on_report(self, report: ExecutionReport, *, snapshot: bool) -> None:
        """Apply one execution report; in a snapshot it shows an open order or repeats a fill."""
        cl_ord_id = report.cl_ord_id or self.by_order_id.get(report.order_id or "", "")
        if report.rate_counter is not None:
            self.rates.on_word(report.order_id or "", self._number_of(report, cl_ord_id), report.rate_counter)
        if not cl_ord_id.startswith(self.owner_prefix):
            self.foreign_count += 1
            return
        index = self.core.find_order(cl_ord_id.encode())
        if index >= 0 and report.order_id:
            self.learn_id(index, report.order_id)
        if report.exec_type == "trade":
            self._on_trade_report(report, cl_ord_id, index)
        elif index < 0:
            self._on_report_of_ended(report, cl_ord_id, snapshot=snapshot)
        elif snapshot:
            self._on_shown_open(index, report)
        else:
            self._on_live_report(index, report)

    def _on_live_report(self, index: int, report: ExecutionReport) -> None:
        event = REPORT_EVENTS.get(report.exec_type)
        if event in (OrderEvent.ON_CANCELED, OrderEvent.ON_EXPIRED):
            if self._check_cumulative(index, report):
                # It has ended, but what was filled of it is not known: it counts until its trades are found.
                self.core.move_order(index, OrderEvent.ON_SILENT)
            else:
                self._finish(index, event, report.reason or report.exec_type)
        elif event is not None:
            self.core.move_order(index, event)
        elif report.exec_type == "filled":
            self._on_filled(index)
        elif report.exec_type in CHANGE_REPORTS:
            self._check_cumulative(index, report)
            self._on_changed(index, report)
        else:
            self._check_cumulative(index, report)
            if report.exec_type not in QUIET_REPORTS:
                self.unknown_type_count += 1
                self.want_reconcile = True
                self.notes.append(("warning", "unknown exec_type", {"exec_type": report.exec_type}))

    def _on_report_of_ended(self, report: ExecutionReport, cl_ord_id: str, *, snapshot: bool) -> None:
        """A report of an order that is not in the table: ours by its prefix and lost by the journal, or one that has ended."""
        ended = self.history.get(cl_ord_id)
        if ended is None:
            self.want_reconcile = True
            return
        over = report.exec_type in ENDED_STATUS or report.order_status in ENDED_STATUS
        # What comes after an end is late, except of an order that never was; a snapshot shows what is open now.
        if over or not (snapshot or ended["state"] == OrderState.ORDER_REJECTED):
            return
        self._contradict(cl_ord_id, f"open at the venue after it had ended {self.state_name(ended)}")
        self._take_up_again(ended, report)

    def _take_up_again(self, ended: dict[str, Any], report: ExecutionReport) -> None:
        """An order that was thought to have ended rests at the venue: it is live again, and it is canceled."""
        position = self._position(ended["instrument"])
        price_digits, qty_digits = self.digits(ended)
        try:
            index = self.core.adopt_order(ended["instrument"], {
                "side": ended["side"], "price_raw": to_raw(from_raw(ended["price_raw"], price_digits), position.price_precision),
                "qty_raw": to_raw(from_raw(ended["qty_raw"], qty_digits), position.qty_precision),
                "filled_raw": to_raw(from_raw(ended["filled_raw"], qty_digits), position.qty_precision),
                "opened_wall_ns": ended["sent_wall_ns"], "cl_ord_id": ended["cl_ord_id"].encode()})
        except ValueError:
            return  # its digits are no longer in force, or the table is full: the look-ups go on asking
        del self.history[ended["cl_ord_id"]]
        order_id = report.order_id or ended["order_id"]
        self.by_order_id.pop(order_id, None)
        self.learn_id(index, order_id)
        self._on_shown_open(index, report)
        self.core.cancel_order(index, 0)

    def _number_of(self, report: ExecutionReport, cl_ord_id: str) -> int | None:
        """The instrument of a report: as it says, or as we know of an order of ours."""
        if report.name is not None:
            return self.numbers.get(report.name)
        index = self.core.find_order(cl_ord_id.encode())
        order = self.core.order(index) if index >= 0 else self.history.get(cl_ord_id)
        return order["instrument"] if order is not None else None

    def _on_shown_open(self, index: int, report: ExecutionReport) -> None:
        self._check_cumulative(index, report)
        if self.core.order(index)["amend_qty_raw"] or report.order_qty is not None:
            self._on_changed(index, report)
        part = report.cum_qty is not None and report.cum_qty > 0
        self.core.move_order(index, OrderEvent.ON_FOUND_PART if part else OrderEvent.ON_FOUND_OPEN)

    def _on_filled(self, index: int) -> None:
        """`filled` carries no quantity of its own: the trades must have brought it, or they are fetched."""
        order = self.core.order(index)
        if order["filled_raw"] >= order["qty_raw"]:
            self._finish(index, OrderEvent.ON_FULL, "filled")
        else:
            self.core.move_order(index, OrderEvent.ON_SILENT)
            self.want_reconcile = True

    def _check_cumulative(self, index: int, report: ExecutionReport) -> bool:
        """Compare the venue's executed quantity with what is booked; True when executions are missing here."""
        if report.cum_qty is None:
            return False
        order = self.core.order(index)
        seen = from_raw(order["filled_raw"], self.digits(order)[1])
        if report.cum_qty > seen:
            self.want_reconcile = True
        elif report.cum_qty < seen:
            self._contradict(order["cl_ord_id"], f"{report.cum_qty:f} executed of which {seen:f} had been told")
        return report.cum_qty > seen

    def _contradict(self, cl_ord_id: str, what: str) -> None:
        """Count and tell what cannot be; the look-ups and the balances decide, and halt where they disagree."""
        self.contradiction_count += 1
        self.want_reconcile = True
        self.notes.append(("error", "the venue contradicts itself", {"cl_ord_id": cl_ord_id, "what": what}))

    def _on_trade_report(self, report: ExecutionReport, cl_ord_id: str, index: int) -> None:
        order = self.core.order(index) if index >= 0 else self.history.get(cl_ord_id)
        if order is None and report.exec_id in self.ledger.fills:
            return  # so old that its order has left the history
        if order is None or report.exec_id is None or report.last_qty is None or report.last_price is None:
            self.want_reconcile = True
            return
        cost = report.cost if report.cost is not None else report.last_qty * report.last_price
        self.book(
            order=order,
            index=index,
            exec_id=report.exec_id,
            qty=report.last_qty,
            price=report.last_price,
            cost=cost,
            fees=report.fees or (),
            wall_ns=report.timestamp_ns or 0,
            liquidity={"m": "maker", "t": "taker"}.get(report.liquidity_ind or "", "unknown"),
        )
        if report.exec_id not in self.ledger.fills:
            self.want_reconcile = True

    # Fills.

    def book(self, *, order: dict[str, Any], index: int, exec_id: str, qty: Decimal, price: Decimal, cost: Decimal,
             fees: tuple[tuple[str, Decimal], ...], wall_ns: int, liquidity: str) -> bool:
        """Book one execution of one of our orders. Returns False when it was booked before."""
        if exec_id in self.ledger.fills:
            self._check_repeated(order, self.ledger.fills[exec_id], qty, price)
        number = order["instrument"]
        qty_digits = max(self.digits(order)[1], self._position(number).qty_precision)
        if exec_id not in self.ledger.fills and not _bookable(qty, price, cost, qty_digits):
            # Nothing of it can be meant; what truly happened shows in the look-ups and in the balances.
            self.unbookable_count += 1
            self.notes.append(("error", "fill cannot be meant", {"exec_id": exec_id, "qty": str(qty), "price": str(price)}))
            return False
        fill = Fill(
            exec_id=exec_id, cl_ord_id=order["cl_ord_id"], order_id=order["order_id"], instrument=number,
            side=order["side"], qty_raw=to_raw(qty, qty_digits), price=price, cost=cost, fees=fees,
            wall_ns=wall_ns, liquidity=liquidity, mid2_raw=order["mid2_raw"], kind=order["kind"],
            qty_precision=qty_digits, exit_reason=order.get("exit_reason", 0),
        )
        slot = self.core.slots[number]
        if not self.ledger.book(fill, slot.too_little):
            return False
        if fill.mid2_raw > 0:
            mid = from_raw(fill.mid2_raw, self.digits(order)[0]) / 2
            self.slippage_bps[exec_id] = self.slippage.add(
                side=fill.side, price=price, mid=mid, cost=cost, wall_ns=wall_ns)
        self._after_fill(index, order, fill)
        return True

    def _check_repeated(self, order: dict[str, Any], booked: Fill, qty: Decimal, price: Decimal) -> None:
        """An execution that comes again must be the one that was booked."""
        same = booked.price == price and from_raw(booked.qty_raw, booked.qty_precision) == qty
        if not same or booked.cl_ord_id != order["cl_ord_id"]:
            self._contradict(order["cl_ord_id"], f"execution {booked.exec_id} came again as {qty:f} at {price:f}")

    def _after_fill(self, index: int, order: dict[str, Any], fill: Fill) -> None:
        if index < 0:
            _fill_late(order, fill)
            refused = order["state"] == OrderState.ORDER_REJECTED
            if refused:
                self._contradict(order["cl_ord_id"], "executed after it had been refused or found absent")
            if order["filled_raw"] >= order["qty_raw"]:
                order["state"] = int(OrderState.ORDER_FILLED)
            elif refused:
                order["state"] = int(OrderState.ORDER_CANCELED)
            self._check_overfill(order, order["filled_raw"])
            return
        filled = order["filled_raw"] + fill.qty_raw
        self.core.order_filled(index, filled)
        self._check_overfill(order, filled)
        if filled >= order["qty_raw"]:
            self._finish(index, OrderEvent.ON_FULL, "filled")
        else:
            self.core.move_order(index, OrderEvent.ON_PART)

    def _check_overfill(self, order: dict[str, Any], filled_raw: int) -> None:
        """More than was ordered: it is booked, for the venue has done it, and the balances are asked whether it did."""
        if filled_raw > max(order["qty_raw"], order["amend_qty_raw"]):
            self._contradict(order["cl_ord_id"], f"{filled_raw} executed of {order['qty_raw']} ordered")

    # Look-ups.

    def on_looked_up(self, index: int, status: str, filled: Decimal, reason: str) -> None:
        """Apply what REST says of one of our live orders: its status word and executed quantity.

        A final status counts only once every executed unit has been booked from a trade.
        """
        order = self.core.order(index)
        booked = from_raw(order["filled_raw"], self.digits(order)[1])
        if filled > booked:
            self.want_reconcile = True
            return
        if status in FINAL_EVENTS and filled < booked:
            self._contradict(order["cl_ord_id"], f"{status} with {filled:f} executed of which {booked:f} had been told")
        if status in FINAL_EVENTS:
            self._finish(index, FINAL_EVENTS[status], reason or status)
        elif status in ("open", "pending") and order["state"] == OrderState.ORDER_UNKNOWN:
            self.core.move_order(index, OrderEvent.ON_FOUND_PART if filled > 0 else OrderEvent.ON_FOUND_OPEN)

    def absent(self, index: int) -> None:
        """All look-ups agree that an UNKNOWN order never was, or is gone without a fill: the intent dies."""
        self._finish(index, OrderEvent.ON_ABSENT, "absent at the venue")

    def lose_sight(self) -> None:
        """The private stream is gone: every live order is UNKNOWN until evidence says otherwise."""
        for index in self.core.live_orders():
            self.core.move_order(index, OrderEvent.ON_SILENT)
            self.core.retry_cancel(index)

    def overdue(self, mono_ns: int, wall_ns: int, grace_ns: int) -> None:
        """Orders and cancels without an answer past their deadline become UNKNOWN (systems 10.2)."""
        self.rates.on_timer()
        for index in self.core.live_orders():
            order = self.core.order(index)
            silent_add = order["state"] == OrderState.ORDER_SENT and wall_ns > order["deadline_wall_ns"] + grace_ns
            if order["amend_qty_raw"] and mono_ns - order["amended_mono_ns"] > 5 * grace_ns and not order["cancel_sent"]:
                self.core.cancel_order(index, 0)
            if silent_add or self._cancel_is_silent(order, mono_ns, 5 * grace_ns):
                self.core.move_order(index, OrderEvent.ON_SILENT)
                self.core.retry_cancel(index)
                self.want_reconcile = True
                self.calls.note(served=False)
                self.notes.append(("warning", "order unanswered", {"cl_ord_id": order["cl_ord_id"]}))

    def _cancel_is_silent(self, order: dict[str, Any], mono_ns: int, wait_ns: int) -> bool:
        """Whether a cancel was sent and the order lives on without a word, whatever else was said of it meanwhile."""
        if not order["cancel_sent"] or mono_ns - order["cancel_mono_ns"] <= wait_ns:
            return False
        if order["cl_ord_id"] in self.cancels_refused or self.rates.cancel_waits(order["cl_ord_id"]):
            return False  # it goes again by itself
        # Without the private socket, cancels of what cannot be seen are repeated by those that go by REST.
        return bool(self.core.private_up or order["state"] != OrderState.ORDER_UNKNOWN)

    # Helpers of the above.

    def learn_id(self, index: int, order_id: str) -> None:
        """Remember the venue's id of a live order, so that a report without ours is still placed."""
        if not order_id.isascii() or not 0 < len(order_id) <= ORDER_ID_MAX:
            return  # no id of the venue; the order is found by ours
        if order_id not in self.by_order_id:
            self.core.set_order_id(index, order_id.encode())
            self.by_order_id[order_id] = self.core.order(index)["cl_ord_id"]

    def _finish(self, index: int, event: OrderEvent, reason: str) -> None:
        """Move to a final state and into the history; a step that the table forbids leaves the order where it is."""
        if self.core.move_order(index, event) not in FINAL:
            return
        order = self.core.close_order(index)
        order["reason"] = reason
        order["price_precision"], order["qty_precision"] = self.digits(order)
        self.remember(order)

    def remember(self, order: dict[str, Any]) -> None:
        """Keep an order that has ended."""
        self.history[order["cl_ord_id"]] = order
        if order["order_id"]:
            self.by_order_id.setdefault(order["order_id"], order["cl_ord_id"])
        if len(self.history) > HISTORY_MAX:
            oldest = next(iter(self.history))
            self.by_order_id.pop(self.history.pop(oldest)["order_id"], None)

    def digits(self, order: dict[str, Any]) -> tuple[int, int]:
        """Return the (price, quantity) precision of an order's raw fields: those at its end, or in force while it lives."""
        if "qty_precision" in order:
            return order["price_precision"], order["qty_precision"]
        position = self._position(order["instrument"])
        return position.price_precision, position.qty_precision

    def may_rescale(self, number: int) -> bool:
        """Whether no order lives that is counted in an instrument's old digits."""
        return all(self.core.order(index)["instrument"] != number for index in self.core.live_orders())

    def _position(self, number: int) -> Any:
        return self.ledger.positions[number]

    def state_name(self, order: dict[str, Any]) -> str:
        """Return the lifecycle state in words."""
        return STATE_NAMES[OrderState(order["state"])]


def _fill_late(order: dict[str, Any], fill: Fill) -> None:
    """Count a fill of an order in the history, a fact all the same, in the finer digits of the two."""
    finer = 10 ** max(0, fill.qty_precision - order["qty_precision"])
    order["qty_precision"] = max(order["qty_precision"], fill.qty_precision)
    order["qty_raw"] *= finer
    order["filled_raw"] = order["filled_raw"] * finer + fill.qty_raw * 10 ** (order["qty_precision"] - fill.qty_precision)


def _bookable(qty: Decimal, price: Decimal, cost: Decimal, qty_precision: int) -> bool:
    """Whether an execution can be meant: a positive price, a quantity of whole lots that fits, no negative cost."""
    try:
        raw = to_raw(qty, qty_precision)
    except ValueError:
        return False
    return 0 < raw <= INT64_MAX and price > 0 and cost >= 0
