"""RestCancels: cancels by REST while the private socket is down, from the gateway to what the venue said.

The gateway makes each cancel and records it; here it is put into the REST lane and its reply is taken. A cancel may be
repeated: one without effect changes nothing. What became of the order is never concluded from the reply, which cannot tell
a fill from a cancel: the look-ups do that, and they run by REST as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from cstd._fast.codes import OrderEvent
from cstd.orders.times import rests
from cstd.orders.tracker import OrderTracker
from cstd.venue.errors_table import GONE
from cstd.venue.rest.lane import Outcome, RestResult
from cstd.venue.rest.request import RestRequest

if TYPE_CHECKING:
    from cstd._fast.gateway import RestCancel

NS_PER_S = 1_000_000_000
# A reconnect takes less, and finds the orders again; openings that nobody can watch are not left for longer.
PULL_AFTER_NS = 3 * NS_PER_S
# The same cancel goes again. Later than the lane stops waiting for its reply: orders go before reads there, and cancels that
# nobody answers would leave no turn to the look-ups that find out what became of the order.
AGAIN_AFTER_NS = 8 * NS_PER_S


class RestCancels:
    """Cancels that go by REST. One writer: the engine.

    Args:
        tracker: whose orders they are for.
        submit: puts a request into the REST lane; its id, or None while the lane is full.
        down_since_ns: monotonic time since which there is no private socket.

    Attributes:
        ended: orders of which the venue said in this outage that they are not open any more, by client order id: filled or
            canceled, which the look-ups find out.
    """

    def __init__(self, tracker: OrderTracker, submit: Callable[[RestRequest], int | None], *, down_since_ns: int) -> None:
        self._tracker = tracker
        self._core = tracker.core
        self._submit = submit
        self._down_since_ns: int | None = down_since_ns
        self._answered = False  # a cancel of this outage has its reply
        self.ended: set[str] = set()
        self._asked: dict[int, str] = {}  # client order id by request, "" for all orders

    def on_link(self, *, up: bool, mono_ns: int) -> None:
        """The private socket comes or goes; a cancel that was lost on the other way may go again."""
        if not up and self._down_since_ns is None:
            self._down_since_ns = mono_ns
        elif up:
            self._down_since_ns = None
        self._answered = False
        self.ended.clear()
        for index in self._core.live_orders():
            self._core.retry_cancel(index)

    def looking_up(self, mono_ns: int) -> bool:
        """Whether look-ups have to find out without a private socket what became of live orders.

        Not before a cancel was answered or a reconnect has had its time: the next socket begins with a round of its own, and
        the venue's counter allows few.
        """
        if self._down_since_ns is None or not self._core.live_orders():
            return False
        return self._answered or mono_ns - self._down_since_ns >= PULL_AFTER_NS

    def on_timer(self, mono_ns: int) -> None:
        """Pull what rests once a socket stays down, and again those that are still live after a while."""
        if self._down_since_ns is None or mono_ns - self._down_since_ns < PULL_AFTER_NS:
            return
        pulled = 0
        for index in self._core.live_orders():
            order = self._core.order(index)
            if not rests(order) or self._tracker.rates.cancel_waits(order["cl_ord_id"]):
                continue
            if order["cancel_sent"] and mono_ns - order["cancel_mono_ns"] >= AGAIN_AFTER_NS \
                    and order["cl_ord_id"] not in self._asked.values():
                self._core.retry_cancel(index)
            pulled += bool(self._core.cancel_order(index, 0))
        if pulled:
            self._tracker.notes.append(("warning", "the private link stays down: what rests is canceled by REST",
                                        {"count": pulled}))

    def send(self, cancels: Iterable[RestCancel]) -> None:
        """Put what the gateway made into the lane; what does not fit goes again later."""
        for cancel in cancels:
            request_id = self._submit(RestRequest(cancel.method, True, cancel.params, cancel))
            if request_id is not None:
                self._asked[request_id] = dict(cancel.params).get("cl_ord_id", "")

    def on_result(self, done: RestResult) -> bool:
        """Take the end of a request; False when it is none of these."""
        cl_ord_id = self._asked.pop(done.request_id, None)
        if cl_ord_id is None:
            return False
        self._tracker.want_reconcile = self._answered = True
        index = self._core.find_order(cl_ord_id.encode()) if cl_ord_id else -1
        if done.outcome is Outcome.DONE:
            if cl_ord_id and _canceled_one(done.result):
                self.ended.add(cl_ord_id)
            return True
        error = ", ".join(done.errors)
        self._tracker.notes.append(("warning", "cancel by REST not confirmed", {"cl_ord_id": cl_ord_id, "error": error}))
        if index >= 0 and error.startswith(GONE):
            if self._core.order(index)["order_id"]:
                self.ended.add(cl_ord_id)  # it was there; one that the venue never confirmed may be on its way yet
            self._core.move_order(index, OrderEvent.ON_GONE)
        elif index >= 0:
            self._tracker.rates.on_cancel_refused(index, error)
        return True


def _canceled_one(result: object) -> bool:
    """Whether the reply to a cancel of one order says that it is done, and not only begun."""
    if not isinstance(result, Mapping) or result.get("pending"):
        return False
    count = result.get("count")
    return isinstance(count, int) and count > 0
