"""RestExits: exits by REST while the private socket stays down, from the gateway to what the venue said.

The gateway judges each exit by the same gates, makes it and records it; here is decided when exits may go that way, the
exit is put into the REST lane, and its reply is taken. An exit is never sent twice: whatever its reply, what became of it
is found out by the look-ups, and until then it keeps reserved what it would sell. Openings have no way through here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from cstd._fast.codes import OrderEvent
from cstd.orders.reconcile import TAIL_OVER_NS
from cstd.orders.rest_cancels import PULL_AFTER_NS
from cstd.orders.tracker import OrderTracker
from cstd.venue.rest.lane import Outcome, RestResult
from cstd.venue.rest.request import RestRequest

if TYPE_CHECKING:
    from cstd._fast.gateway import RestExit


class Submit(Protocol):
    """Puts a request into the REST lane."""

    def __call__(self, request: RestRequest, leave_within_ns: int | None = None) -> int | None:
        """Return its id, or None while the lane is full; what cannot leave in that time never does."""


class RestExits:
    """Exits that go by REST. One writer: the engine.

    Args:
        tracker: whose orders they are.
        submit: puts a request into the REST lane.
        boot_mono_ns: monotonic time since which the account has not been followed.

    Attributes:
        unconfirmed_count: exits whose reply was lost, or said nothing that can be meant. not_sent_count: those that had no
            turn in time and never left.
    """

    def __init__(self, tracker: OrderTracker, submit: Submit, *, boot_mono_ns: int) -> None:
        self._tracker = tracker
        self._core = tracker.core
        self._submit = submit
        self._core.exits_by_rest = False
        self._lost_mono_ns: int | None = boot_mono_ns   # since when the private socket does not tell of the account
        self._known = False
        self._asked: dict[int, str] = {}                # client order id by request
        self.unconfirmed_count = 0
        self.not_sent_count = 0

    @property
    def route(self) -> str:
        """Which way an exit would go now: "socket", "rest", or "none" while exits are held."""
        if self._core.hold_exits:
            return "none"
        return "socket" if self._core.private_up else "rest"

    def on_link(self, mono_ns: int) -> None:
        """The private socket comes or goes: until the account is followed again, exits wait a reconnect's time."""
        self._core.exits_by_rest = False
        if self._lost_mono_ns is None:
            self._lost_mono_ns = mono_ns

    def on_timer(self, mono_ns: int, *, known: bool, followed: bool) -> None:
        """Open the way by REST, or close it.

        Args:
            known: the venue was seen to hold what we manage.
            followed: the private socket is up and tells of the coins; whether cash agrees is no matter of exits.
        """
        self._known = known
        if followed:
            self._lost_mono_ns = None
        elif self._lost_mono_ns is None:
            self._lost_mono_ns = mono_ns
        opened = known and self._down_for(mono_ns, PULL_AFTER_NS)
        if opened and not self._core.exits_by_rest:
            self._tracker.notes.append(("warning", "the private link stays down: exits go by REST", {}))
        self._core.exits_by_rest = opened

    def _down_for(self, mono_ns: int, span_ns: int) -> bool:
        """A socket that comes and goes without a word about the account is as good as none."""
        lost_ns = self._lost_mono_ns
        return not self._core.private_up and lost_ns is not None and mono_ns - lost_ns >= span_ns

    def looking_up(self, mono_ns: int) -> bool:
        """Whether look-ups have to find out without a private socket what we hold, so that it can be sold."""
        return not self._known and self._down_for(mono_ns, TAIL_OVER_NS) and bool(self._tracker.ledger.held())

    def send(self, exits: Iterable[RestExit]) -> None:
        """Put what the gateway made into the lane; what does not fit has never left."""
        for made in exits:
            cl_ord_id = dict(made.params)["cl_ord_id"]
            request = RestRequest(made.method, True, made.params, made)
            request_id = self._submit(request, self._core.deadline_ns)
            if request_id is None:
                self._never_left(cl_ord_id, "the REST lane is full")
            else:
                self._asked[request_id] = cl_ord_id

    def _never_left(self, cl_ord_id: str, error: str) -> None:
        self.not_sent_count += 1
        index = self._core.find_order(cl_ord_id.encode())
        if index >= 0:
            self._tracker.refuse(index, error)

    def on_result(self, done: RestResult) -> bool:
        """Take the end of a request; False when it is none of these."""
        cl_ord_id = self._asked.pop(done.request_id, None)
        if cl_ord_id is None:
            return False
        index = self._core.find_order(cl_ord_id.encode())
        if done.outcome is Outcome.REFUSED and done.attempt_count == 0:
            self._never_left(cl_ord_id, ", ".join(done.errors))
        elif index >= 0:
            self._on_reply(index, done)
        return True

    def _on_reply(self, index: int, done: RestResult) -> None:
        """Accepted or not known, it is looked up: nobody tells what became of it. Refused, it has ended."""
        if done.outcome is Outcome.REFUSED:
            self._tracker.refuse(index, ", ".join(done.errors))
            return
        order_id = _order_id_of(done.result) if done.outcome is Outcome.DONE else ""
        if order_id:
            self._tracker.learn_id(index, order_id)
            self._core.move_order(index, OrderEvent.ON_ACK)
        else:
            self.unconfirmed_count += 1
            error = ", ".join(done.errors) or "the reply names no order"
            self._tracker.notes.append(("warning", "exit by REST not confirmed", {
                "cl_ord_id": self._core.order(index)["cl_ord_id"], "error": error}))
        self._core.move_order(index, OrderEvent.ON_SILENT)
        self._tracker.want_reconcile = True


def _order_id_of(result: object) -> str:
    """The venue's id in the result of AddOrder, "" where there is none."""
    ids = result.get("txid") if isinstance(result, dict) else None
    return ids[0] if isinstance(ids, list) and len(ids) == 1 and isinstance(ids[0], str) else ""
