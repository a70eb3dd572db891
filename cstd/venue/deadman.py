"""The dead man's switch: cancel_all_orders_after, armed while orders may be open and refreshed only by progress.

The venue runs the timer, so it fires when this process, its host or the road is gone. `armed_until_ns` counts from the
time a request was sent: the venue counts from its receipt, so orders may live a little longer than this says, never
less. From the moment a request to switch it off leaves, it protects nothing until a later one has armed it again.
An alarm rises when the newest success is older than half the timeout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cstd.errors import InvariantError
from cstd.units import NS_PER_S
from cstd.venue.call_log import CallLog, is_served
from cstd.venue.fields import FieldError, parse_rfc3339_ns
from cstd.venue.messages import Ack
from cstd.venue.subscriptions import RequestIds

TIMEOUT_S_MAX = 86_399
REPLY_WAIT_NS = 5 * NS_PER_S
RETRY_NS = NS_PER_S
# Kraken asks for a call every 15 to 30 s with a timeout of 60.
REFRESHES_PER_TIMEOUT = 4
IN_FLIGHT_MAX = 8


class DeadmanSwitch:
    """Keep one timer at the venue as wanted: armed with a timeout, or off.

    Attributes:
        timeout_s: what is wanted; 0 = off, None = never asked for, so nothing is sent.
        armed_until_ns: earliest monotonic time at which the venue's timer can fire; 0 = it may be off.
        may_be_on: whether a request has left that arms it, and none since was confirmed that switches it off.
        success_ns: send time of the newest request that succeeded, monotonic; None = none yet.
        error: text of the newest refusal, "" after a success.
    """

    def __init__(self, ids: RequestIds) -> None:
        self._ids = ids
        self.timeout_s: int | None = None
        self.armed_until_ns = 0
        self.may_be_on = False
        self.clock_bounds_ns: tuple[int, int] | None = None
        self.success_ns: int | None = None
        self.error = ""
        self.refusal_count = 0
        self.calls = CallLog()
        self._wanted_ns = 0
        self._settled_timeout_s: int | None = None
        self._in_flight: dict[int, tuple[int, int]] = {}
        self._newest_off_id = self._newest_on_id = -1  # of requests that left; ids only grow
        self._next_send_ns: int | None = None

    def want(self, timeout_s: int, now_ns: int) -> None:
        """Ask for a timeout in seconds, 0 to switch off; sent with the next `frame_due`."""
        if not 0 <= timeout_s <= TIMEOUT_S_MAX:
            raise InvariantError(f"cancel-all-after timeout is {timeout_s} s; Kraken takes 0 to {TIMEOUT_S_MAX}")
        if timeout_s != self.timeout_s:
            self.timeout_s = timeout_s
            self._settled_timeout_s = None
            self._wanted_ns = now_ns
            self._next_send_ns = None

    @property
    def refresh_ns(self) -> int:
        """Return the time between refreshes, in ns."""
        return (self.timeout_s or 0) * NS_PER_S // REFRESHES_PER_TIMEOUT

    def frame_due(self, now_ns: int, *, progressing: bool) -> bytes | None:
        """Return the request to send now, or None."""
        if self.timeout_s is None:
            return None
        off_and_settled = self.timeout_s == 0 and self._settled_timeout_s == 0
        held_back = not progressing and self.timeout_s > 0
        too_early = self._next_send_ns is not None and now_ns < self._next_send_ns
        if off_and_settled or held_back or too_early:
            return None
        return self.deadman_frame(self.timeout_s, now_ns)

    def deadman_frame(self, timeout_s: int, now_ns: int) -> bytes:
        """Return one request and note it as in flight; `frame_due` decides when."""
        req_id = self._ids.take()
        if self._in_flight:
            self.calls.note(served=False)  # asked again because no answer came
        if len(self._in_flight) >= IN_FLIGHT_MAX:
            # Requests that were never answered; the oldest cannot be answered any more in practice.
            del self._in_flight[min(self._in_flight)]
        self._in_flight[req_id] = (now_ns, timeout_s)
        if timeout_s:
            self._newest_on_id, self.may_be_on = req_id, True
        else:
            self._newest_off_id, self.armed_until_ns = req_id, 0
        wait_ns = min(REPLY_WAIT_NS, self.refresh_ns) if self.refresh_ns else REPLY_WAIT_NS
        self._next_send_ns = now_ns + wait_ns
        return msgspec.json.encode(
            {"method": "cancel_all_orders_after", "params": {"timeout": timeout_s, "token": ""}, "req_id": req_id})

    def on_reply(self, ack: Ack, now_ns: int) -> bool:
        """Apply a reply; False when no request of ours is waiting for it."""
        req_id = ack.req_id if ack.req_id is not None else -1
        sent = self._in_flight.pop(req_id, None)
        if sent is None:
            return False
        sent_ns, timeout_s = sent
        if ack.time_in_ns is not None and ack.time_out_ns is not None:
            self.clock_bounds_ns = (sent_ns - ack.time_in_ns, now_ns - ack.time_out_ns)
        problem = _problem(ack, timeout_s)
        self.calls.note(served=ack.success or is_served(ack.error), took_ns=now_ns - sent_ns)
        if problem:
            self.error = problem
            self.refusal_count += 1
            self._next_send_ns = now_ns + RETRY_NS
            return True
        if self.success_ns is not None and sent_ns < self.success_ns:
            return True
        self.error = ""
        self.success_ns = sent_ns
        if timeout_s and req_id > self._newest_off_id:
            self.armed_until_ns = sent_ns + timeout_s * NS_PER_S
        elif not timeout_s and req_id > self._newest_on_id:
            self.may_be_on = False
        if timeout_s == self.timeout_s:
            self._settled_timeout_s = timeout_s
            self._next_send_ns = sent_ns + self.refresh_ns
        return True

    def on_up(self) -> None:
        """A new connection: send at once if anything is wanted."""
        self._next_send_ns = None

    def on_down(self, _now_ns: int) -> None:
        """The connection is gone; the venue's timer goes on, so what is armed stays armed until its time."""
        self._in_flight.clear()
        self._next_send_ns = None

    def armed(self, now_ns: int) -> bool:
        """Tell whether the venue's timer runs and has not fired."""
        return now_ns < self.armed_until_ns

    def alarm(self, now_ns: int) -> bool:
        """Tell whether the switch is wanted and the newest success is older than half the timeout."""
        if not self.timeout_s:
            return False
        since_ns = self._wanted_ns if self.success_ns is None else max(self.success_ns, self._wanted_ns)
        return now_ns - since_ns > self.timeout_s * NS_PER_S // 2

    def status(self, now_ns: int) -> dict[str, Any]:
        """Return what an operator sees; times in ns."""
        return {
            "timeout_s": self.timeout_s,
            "armed": self.armed(now_ns),
            "remaining_ns": max(0, self.armed_until_ns - now_ns),
            "alarm": self.alarm(now_ns),
            "error": self.error,
            "refusals": self.refusal_count,
        }


def _problem(ack: Ack, timeout_s: int) -> str:
    """Return why a reply does not mean what was asked for, or "" when it does."""
    if not ack.success:
        return ack.error or "refused without a reason"
    if timeout_s == 0 or not isinstance(ack.result, Mapping):
        return ""
    current, trigger = ack.result.get("currentTime"), ack.result.get("triggerTime")
    if not isinstance(current, str) or not isinstance(trigger, str):
        return ""
    try:
        if parse_rfc3339_ns(trigger) <= parse_rfc3339_ns(current):
            return f"the venue's trigger time {trigger} is not in the future"
    except FieldError:
        return f"the venue's trigger time {trigger[:40]} cannot be read"
    return ""
