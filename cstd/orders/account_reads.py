"""AccountReads: pages of the account's history, read on the daemon's own lane for a command that asks for them.

A key has one row of nonces and one counter, and both are the daemon's while it runs: another process that signed with the same
key would have its calls, or ours, refused. So a command asks here; what the venue answers goes back to it and changes nothing
of the engine. One page at a time, when nothing of trading waits in the lane, and never from the upper half of the counter:
look-ups and a new session token must find room.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cstd.venue.rate import MICRO, rest_cost
from cstd.venue.rest.lane import Outcome, RestLane, RestResult
from cstd.venue.rest.request import RestRequest

READS = frozenset({"ClosedOrders", "Ledgers", "OpenOrders", "TradesHistory"})
RIGHTS = "the key needs the rights Query Open Orders & Trades, Query Closed Orders & Trades and Query Ledger Entries"
PARAMS = frozenset({"asset", "start", "end", "ofs", "closetime", "consolidate_taker"})


class AccountReads:
    """At most one page on its way. One writer: the engine.

    Attributes:
        answer: (number of the read, what to tell who asked) of the last one that ended.
    """

    def __init__(self, lane: RestLane) -> None:
        self._lane = lane
        self._count = 0
        self._wanted: RestRequest | None = None
        self._request_id: int | None = None
        self.answer: tuple[int, dict[str, Any]] = (0, {})

    def ask(self, args: dict[str, Any], mono_ns: int) -> dict[str, Any]:
        """Take the wish for a page; returns {"waits_for": number}, or why it is refused."""
        method, params = args.get("method"), args.get("params")
        if method not in READS or not isinstance(params, dict) or not params.keys() <= PARAMS:
            return {"error": "usage", "message": f"{method!r} is not among the reads offered: {', '.join(sorted(READS))}",
                    "retryable": False, "suggestion": ""}
        if self._wanted is not None or self._request_id is not None:
            return {"error": "operator", "message": "another page of the account's history is being read", "retryable": True,
                    "suggestion": "try again when the other command has ended"}
        self._wanted = RestRequest(method, True, tuple((name, str(value)) for name, value in params.items()))
        self._count += 1
        self.on_timer(mono_ns)
        return {"waits_for": self._count}

    def on_timer(self, mono_ns: int) -> None:
        """Put the page into the lane once there is room for it."""
        wanted = self._wanted
        if wanted is None or len(self._lane):
            return
        rate = self._lane.rate
        if rate.points_micro(mono_ns) + rest_cost(wanted.method) * MICRO <= rate.tier.threshold * MICRO // 2:
            self._wanted = None
            self._request_id = self._lane.submit(wanted, mono_ns)

    def on_result(self, done: RestResult) -> bool:
        """Take the end of a request; False when it is not ours."""
        if self._request_id is None or done.request_id != self._request_id:
            return False
        self._request_id = None
        if done.outcome is Outcome.DONE:
            self.answer = (self._count, {"result": msgspec.json.encode(done.result).decode()})
        else:
            text = ", ".join(done.errors)
            denied = "Permission denied" in text
            self.answer = (self._count, {
                "error": "venue", "message": f"{done.method}: {text}", "retryable": not denied,
                "suggestion": RIGHTS if denied else "the venue did not give the page: try again later"})
        return True
