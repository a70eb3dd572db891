"""RestLane: the queue of REST calls, one in flight, as a sans-I/O machine.

The engine submits requests and asks `next_call` what to send; the edge makes the call and brings the reply back as an
event. Reads are repeated after errors that allow it; an order is not, because it may have been executed behind a
timeout, a reset or a 5xx. One call at a time also keeps nonces in order. An edge that refuses this address (HTTP 429, 403) is
asked less and less often.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import msgspec

from cstd.units import NS_PER_S
from cstd.venue.backoff import TokenBucket
from cstd.venue.call_log import CallLog, is_served
from cstd.venue.errors_table import NO_ANSWER, RetryClass, classify, listed, outcome_unknown, throttled_until_s
from cstd.venue.fields import FieldError, decode_json
from cstd.venue.rate import REST_RESERVE_POINTS, RestRate
from cstd.venue.refusal import EDGE_REFUSALS, EdgeHolds
from cstd.venue.rest.request import RestRequest

QUEUE_MAX = 64
ATTEMPTS_MAX = 4
READ_TIMEOUT_NS = 10 * NS_PER_S
ORDER_TIMEOUT_NS = 5 * NS_PER_S
RETRY_DELAYS_NS = (1 * NS_PER_S, 2 * NS_PER_S, 4 * NS_PER_S)
# The Starter tier decays a third of a point a second: less than 5 s of waiting meets the same refusal.
RATE_LIMITED_WAIT_NS = 5 * NS_PER_S
LOCKOUT_NS = 15 * 60 * NS_PER_S
THROTTLE_WAIT_MAX_NS = 60 * NS_PER_S
# No official number; the careful clients make one public call a second. The burst is what a start needs at once.
PUBLIC_RATE_PER_S = 1
PUBLIC_BURST = 8
NOT_SENT = "not sent in time"


class Outcome(enum.Enum):
    """What became of a request."""

    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class RestCall(msgspec.Struct, frozen=True):
    """A call to make now; `timeout_ns` is how long its reply is waited for."""

    call_id: int
    request: RestRequest
    timeout_ns: int


class RestResult(msgspec.Struct, frozen=True):
    """The end of a request. `result` is decoded JSON; UNKNOWN means: reconcile, it may have been executed."""

    request_id: int
    method: str
    outcome: Outcome
    result: Any = None
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    retry_class: RetryClass | None = None
    attempt_count: int = 1


class _Pending:
    """A request on its way through the lane."""

    __slots__ = ("ahead", "attempt_count", "deadline_ns", "leave_by_ns", "nonce_retried", "not_before_ns", "request",
                 "request_id", "reserve_points")

    def __init__(self, request_id: int, request: RestRequest, now_ns: int, leave_by_ns: int | None) -> None:
        self.request_id = request_id
        self.ahead = False
        self.reserve_points = REST_RESERVE_POINTS  # what it has to leave of the counter
        self.request = request
        self.not_before_ns = now_ns
        self.leave_by_ns = leave_by_ns
        self.deadline_ns = 0
        self.attempt_count = 0
        self.nonce_retried = False


class RestLane:
    """Order requests go first, then reads that go ahead, then the others in the order they came.

    Args:
        tier: the account's REST tier: "starter", "intermediate" or "pro".
    """

    def __init__(self, tier: str) -> None:
        self.rate = RestRate(tier)
        self.refused_count = 0
        self.late_count = 0
        self.errors: Counter[str] = Counter()  # by text as listed; NO_ANSWER for all that is none of the venue's
        self.retry_count = 0
        self.calls = CallLog()
        self._queue: deque[_Pending] = deque()
        self._in_flight: _Pending | None = None
        self._call_id = 0
        self._request_id = 0
        self._private_from_ns = 0
        self._public_bucket = TokenBucket(rate_per_s=PUBLIC_RATE_PER_S, burst=PUBLIC_BURST)
        self._edge = EdgeHolds()
        self._hold_reason = ""

    def take_over(self, before: RestLane) -> None:
        """Go on from the lane of the boot before this one: a restart empties no counter of the venue and ends no ban."""
        if before.rate.tier == self.rate.tier:
            self.rate = before.rate
        self._edge, self._hold_reason = before._edge, before._hold_reason

    def __len__(self) -> int:
        """Return how many requests are not finished."""
        return len(self._queue) + (self._in_flight is not None)

    def submit(self, request: RestRequest, now_ns: int, leave_within_ns: int | None = None) -> int | None:
        """Queue a request and return its id, or None when the queue is full (counted).

        Where it could not leave within `leave_within_ns` it never does, and ends as refused.
        """
        if len(self) >= QUEUE_MAX:
            self.refused_count += 1
            return None
        leave_by_ns = None if leave_within_ns is None else now_ns + leave_within_ns
        return self._queued(request, now_ns, leave_by_ns).request_id

    def submit_ahead(self, request: RestRequest, now_ns: int, *, from_reserve: bool) -> int:
        """Queue a read that goes before all others, into a full queue too, and return its id.

        from_reserve: whether it may use what other reads leave of the counter. At most one such read is asked for at a time.
        """
        pending = self._queued(request, now_ns, None)
        pending.ahead = True
        pending.reserve_points = 0 if from_reserve else REST_RESERVE_POINTS
        return pending.request_id

    def _queued(self, request: RestRequest, now_ns: int, leave_by_ns: int | None) -> _Pending:
        self._request_id += 1
        pending = _Pending(self._request_id, request, now_ns, leave_by_ns)
        self._queue.append(pending)
        return pending

    def next_call(self, now_ns: int) -> RestCall | None:
        """Return the call to make now, or None: nothing is due, or one is in flight."""
        if self._in_flight is not None:
            return None
        pending = self._next_due(now_ns)
        if pending is None:
            return None
        self._queue.remove(pending)
        request = pending.request
        if request.private:
            self.rate.charge(request.method, now_ns)
        else:
            self._public_bucket.take(now_ns)
        timeout_ns = ORDER_TIMEOUT_NS if request.is_order or pending.ahead else READ_TIMEOUT_NS
        pending.attempt_count += 1
        pending.deadline_ns = now_ns + timeout_ns
        self._in_flight = pending
        self._call_id += 1
        return RestCall(self._call_id, request, timeout_ns)

    def on_reply(self, call_id: int, status: int, body: bytes, now_ns: int, *, wall_ns: int = 0,
                 transport_error: str = "", retry_after_ns: int = 0) -> RestResult | None:
        """Apply the reply to a call.

        Args:
            call_id: of the RestCall.
            status: HTTP status, 0 when there was none.
            body: the reply's bytes.
            now_ns: monotonic ns.
            wall_ns: ns since the epoch, for errors that name a time.
            transport_error: what went wrong below HTTP, or "".
            retry_after_ns: how long the edge asks to stay away, with a status of EDGE_REFUSALS.

        Returns:
            The request's result, or None: it will be tried again, or nobody waits for this reply any more.
        """
        pending = self._in_flight
        # Each attempt has an id of its own, so the late reply to one cannot be taken for the next one's.
        if pending is None or call_id != self._call_id:
            self.late_count += 1
            return None
        self._in_flight = None
        if status in EDGE_REFUSALS and not transport_error:
            refuse = self._edge.refuse_order if pending.request.is_order else self._edge.refuse_read
            refuse(now_ns, retry_after_ns)
            self._hold_reason = f"HTTP {status}"
        if transport_error or not 200 <= status < 300:
            return self._transport_failure(pending, transport_error or f"HTTP {status}", now_ns)
        self._edge.lift(order=pending.request.is_order)
        try:
            document = decode_json(body)
            errors, warnings = _errors_of(document)
        except FieldError as error:
            return self._transport_failure(pending, f"unreadable reply: {error}", now_ns)
        if errors:
            return self._venue_errors(pending, errors, warnings, now_ns, wall_ns)
        self.calls.note(served=True)
        return RestResult(pending.request_id, pending.request.method, Outcome.DONE, document.get("result"),
                          warnings=warnings, attempt_count=pending.attempt_count)

    def on_timer(self, now_ns: int) -> RestResult | None:
        """Give up waiting for a reply that is overdue, whose later reply is ignored, or for a turn that came too late."""
        pending = self._in_flight
        if pending is not None and now_ns >= pending.deadline_ns:
            self._in_flight = None
            return self._transport_failure(pending, "no reply in time", now_ns)
        for waiting in self._queue:
            if _too_late(waiting, now_ns):
                self._queue.remove(waiting)
                return self._finish(waiting, Outcome.REFUSED, (NOT_SENT,), (), RetryClass.NEVER)
        return None

    def status(self, now_ns: int) -> dict[str, Any]:
        """Return what an operator sees."""
        held_ns = max(0, self._private_from_ns - now_ns, self._edge.reads_from_ns - now_ns)
        return {
            "queued": len(self._queue), "in_flight": self._in_flight is not None,
            "points_micro": self.rate.points_micro(now_ns), "refused": self.refused_count, "late": self.late_count,
            "retries": self.retry_count, "held_ns": held_ns, "hold_reason": self._hold_reason if held_ns else "",
        }

    def _next_due(self, now_ns: int) -> _Pending | None:
        due = [pending for pending in self._queue
               if self._due_ns(pending, now_ns) <= now_ns and not _too_late(pending, now_ns)]
        return min(due, key=lambda pending: 0 if pending.request.is_order else 1 if pending.ahead else 2, default=None)

    def _due_ns(self, pending: _Pending, now_ns: int) -> int:
        request, edge = pending.request, self._edge
        held_ns = edge.orders_from_ns if request.is_order else edge.looks_from_ns if pending.ahead else edge.reads_from_ns
        from_ns = max(pending.not_before_ns, held_ns)
        if not request.private:
            return max(from_ns, self._public_bucket.next_ns(now_ns))
        return max(from_ns, self._private_from_ns,
                   self.rate.next_ns(request.method, now_ns, reserve_points=pending.reserve_points))

    def _transport_failure(self, pending: _Pending, error: str, now_ns: int) -> RestResult | None:
        self.errors[NO_ANSWER] += 1
        self.calls.note(served=False)
        if pending.request.is_order:
            return self._finish(pending, Outcome.UNKNOWN, (error,), (), RetryClass.UNKNOWN)
        if self._retry(pending, now_ns + self._delay_ns(pending)):
            return None
        return self._finish(pending, Outcome.REFUSED, (error,), (), RetryClass.RETRY)

    def _venue_errors(self, pending: _Pending, errors: tuple[str, ...], warnings: tuple[str, ...], now_ns: int,
                      wall_ns: int) -> RestResult | None:
        """Decide by the first error; Kraken sends one, and a list only in name."""
        first = errors[0]
        retry_class = classify(first)
        self.errors.update(map(listed, errors))
        self.calls.note(served=is_served(first))
        self._hold_back(first, now_ns)
        if pending.request.is_order:
            # One text of several that leaves it open is enough.
            outcome = Outcome.UNKNOWN if any(map(outcome_unknown, errors)) else Outcome.REFUSED
            return self._finish(pending, outcome, errors, warnings, retry_class)
        if first.startswith("EAPI:Invalid nonce") and not pending.nonce_retried:
            pending.nonce_retried = True
            if self._retry(pending, now_ns):
                return None
        if retry_class in (RetryClass.RETRY, RetryClass.UNKNOWN):
            not_before_ns = now_ns + self._delay_ns(pending)
            until_s = throttled_until_s(first)
            if until_s is not None and wall_ns:
                wait_ns = min(max(until_s * NS_PER_S - wall_ns, 0), THROTTLE_WAIT_MAX_NS)
                not_before_ns = max(not_before_ns, now_ns + wait_ns)
            if self._retry(pending, not_before_ns):
                return None
        return self._finish(pending, Outcome.REFUSED, errors, warnings, retry_class)

    def _hold_back(self, error: str, now_ns: int) -> None:
        """Hold all private calls after errors that more calls would make worse."""
        wait_ns = 0
        if error.startswith(("EAPI:Rate limit exceeded", "EGeneral:Too many requests", "EAuth:")):
            self.rate.on_rate_limited(now_ns)
            wait_ns = RATE_LIMITED_WAIT_NS
        elif error.startswith("EGeneral:Temporary lockout"):
            wait_ns = LOCKOUT_NS
        if wait_ns:
            self._private_from_ns = max(self._private_from_ns, now_ns + wait_ns)
            self._hold_reason = error

    def _delay_ns(self, pending: _Pending) -> int:
        return RETRY_DELAYS_NS[min(pending.attempt_count, len(RETRY_DELAYS_NS)) - 1]

    def _retry(self, pending: _Pending, not_before_ns: int) -> bool:
        """Queue a read again, before younger ones; False when it has had its attempts."""
        if pending.attempt_count >= ATTEMPTS_MAX:
            return False
        pending.not_before_ns = not_before_ns
        self.retry_count += 1
        self._queue.appendleft(pending)
        return True

    def _finish(self, pending: _Pending, outcome: Outcome, errors: tuple[str, ...], warnings: tuple[str, ...],
                retry_class: RetryClass) -> RestResult:
        return RestResult(pending.request_id, pending.request.method, outcome, None, errors, warnings, retry_class,
                          pending.attempt_count)


def _too_late(pending: _Pending, now_ns: int) -> bool:
    return pending.leave_by_ns is not None and now_ns >= pending.leave_by_ns


def _errors_of(document: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (errors, warnings) of a reply; entries with severity W come with a valid result."""
    if not isinstance(document, Mapping):
        raise FieldError("the reply is not an object")
    entries = document.get("error", [])
    if isinstance(entries, str):
        entries = [entries] if entries else []
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise FieldError("error is not a list of texts")
    warnings = tuple(entry for entry in entries if entry.startswith("W"))
    return tuple(entry for entry in entries if not entry.startswith("W")), warnings
