"""KillProof: looks at the venue's open orders that are to show that a kill worked.

Each is one read of its own, no part of a round: it goes ahead of every other read of the lane, and its first two may use what
the others leave of the REST counter. A look begins when our table has no opening left of which the venue has not said that it
ended, so that one look is enough where nothing was lost. What it shows and the journal does not know is taken up and canceled.
"""

from __future__ import annotations

from typing import Any

from cstd._fast.codes import IntentKind
from cstd.orders.desk import RiskDesk
from cstd.orders.reconcile import TAIL_OVER_NS, UNREADABLE, Reconciler
from cstd.orders.rest_cancels import RestCancels
from cstd.units import NS_PER_S
from cstd.venue.rest.lane import Outcome, RestLane, RestResult
from cstd.venue.rest.request import open_orders

LOOKS_FROM_RESERVE = 2
# After a look that was no proof. The last is repeated: more often, looks would take from the slowest tier's counter, which
# gives one point back in three seconds, what the rounds need that find out what is left.
AGAIN_NS = (NS_PER_S // 4, NS_PER_S, 5 * NS_PER_S, 10 * NS_PER_S)


class KillProof:
    """At most one look on its way. One writer: the engine.

    Args:
        lane: where the looks go. risk: whose kill is to be proven. reconciler: takes up what was lost.
        rest_cancels: knows which orders the venue ended while there is no private socket.
        boot_mono_ns: when this boot began; until a lost tail of the journal has arrived nothing is proven.
    """

    def __init__(self, lane: RestLane, risk: RiskDesk, reconciler: Reconciler, rest_cancels: RestCancels, *,
                 boot_mono_ns: int) -> None:
        self._lane = lane
        self._risk = risk
        self._reconciler = reconciler
        self._rest_cancels = rest_cancels
        self._from_ns = boot_mono_ns + TAIL_OVER_NS
        self._kill_count = risk.kill_count  # which kill is followed
        self._asked_for = 0                 # which one the look on its way began after
        self._look_count = 0                # of this kill, answered
        self._next_ns = 0
        self._request_id: int | None = None

    def on_timer(self, mono_ns: int) -> None:
        """Look, while a kill is not proven, as soon as a look can prove it."""
        if self._kill_count != self._risk.kill_count:
            self._kill_count = self._risk.kill_count
            self._look_count = self._next_ns = 0
        if self._request_id is None and mono_ns >= max(self._next_ns, self._from_ns) and not self._opening_left():
            self._asked_for = self._kill_count
            from_reserve = self._look_count < LOOKS_FROM_RESERVE
            self._request_id = self._lane.submit_ahead(open_orders(), mono_ns, from_reserve=from_reserve)

    def _opening_left(self) -> bool:
        """Whether our table has an opening of which the venue has not said that it is over: a list could lack it and be late."""
        core = self._risk.core
        orders = (core.order(index) for index in core.live_orders())
        return any(order["kind"] == IntentKind.OPENING and order["cl_ord_id"] not in self._rest_cancels.ended for order in orders)

    def on_result(self, done: RestResult, mono_ns: int, wall_ns: int) -> bool:
        """Take the end of a request; False when it is no look."""
        if done.request_id != self._request_id:
            return False
        self._request_id = None
        if self._asked_for != self._risk.kill_count:
            return True  # it began before this kill and proves nothing of it
        self._next_ns = mono_ns + AGAIN_NS[min(self._look_count, len(AGAIN_NS) - 1)]
        self._look_count += 1
        try:
            shown = self._openings(done)
            if shown:
                self._reconciler.take_up_open(shown, wall_ns)
        except UNREADABLE as problem:
            shown = None
            self._note("a look was not answered", f"{type(problem).__name__}: {problem}")
        if shown:
            self._risk.tracker.want_reconcile = True  # what had ended by our table, or is of no pair of ours, is a round's matter
            self._note("the venue shows openings of ours", f"{len(shown)}")
        elif shown is not None and not self._opening_left():
            self._risk.on_kill_proven(mono_ns)
        return True

    def _openings(self, done: RestResult) -> dict[str, Any]:
        """The openings of ours that are open, by venue id.

        Raises:
            ValueError, or another of UNREADABLE: it was refused, or nothing that can be meant.
        """
        if done.outcome is not Outcome.DONE:
            raise ValueError(", ".join(done.errors))
        return {txid: row for txid, row in done.result["open"].items()
                if self._reconciler.ours(row) and row["descr"]["type"] != "sell"}

    def _note(self, event: str, text: str) -> None:
        self._risk.tracker.notes.append(("warning", f"kill: {event}", {"look": self._look_count, "told": text}))
