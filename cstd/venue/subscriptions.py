"""Subscriptions of one socket as a table-driven state machine, with paced requests and replies matched by req_id.

    OFF ──want──► WANTED ──send──► REQUESTED ──ack──► ACKED ──data──► LIVE
                    ▲                │  │ refuse        │ silent        │ leave
                    │◄──── silent ───┘  ▼               ▼               ▼
                    │◄──── retry ─── REFUSED      LEAVE_WANTED ──send──► LEAVING ──left, silent──► WANTED
    any state ──down──► OFF                                                       WANTED, REFUSED ──drop──► OFF

An acknowledged subscription that stays empty is left and taken again, and a refused one is kept as REFUSED with its
reason and retried: on Kraken both look like a healthy socket. Data may come before its acknowledgement.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from cstd.errors import InvariantError
from cstd.units import NS_PER_S
from cstd.venue.backoff import RetryDelays, TokenBucket
from cstd.venue.messages import Ack

NAMES_PER_REQUEST_MAX = 50
ACK_WAIT_NS = 10 * NS_PER_S
DATA_WAIT_NS = 10 * NS_PER_S
# An unsubscribe that is not answered holds the instrument up, so it is waited for less long.
LEAVE_WAIT_NS = 2 * NS_PER_S
RATE_PAUSE_NS = 5 * NS_PER_S
# History comes in messages of hundreds of rows, each some milliseconds of work: asked for after everything else and a few
# at a time, so that a thousand instruments warm up beside a market that is already traded.
HISTORY_IN_FLIGHT_MAX = 2


class State(enum.Enum):
    """Where one subscription is."""

    OFF = "off"
    WANTED = "wanted"
    REQUESTED = "requested"
    ACKED = "acked"
    LIVE = "live"
    REFUSED = "refused"
    LEAVE_WANTED = "leave_wanted"
    LEAVING = "leaving"


class Event(enum.Enum):
    """What can happen to it."""

    WANT = "want"
    SEND = "send"
    ACK = "ack"
    DATA = "data"
    REFUSE = "refuse"
    RETRY = "retry"
    SILENT = "silent"
    LEAVE = "leave"
    LEFT = "left"
    DROP = "drop"
    DOWN = "down"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.OFF, Event.WANT): State.WANTED,
    (State.WANTED, Event.SEND): State.REQUESTED,
    (State.REQUESTED, Event.ACK): State.ACKED,
    (State.REQUESTED, Event.DATA): State.LIVE,
    (State.REQUESTED, Event.REFUSE): State.REFUSED,
    (State.REQUESTED, Event.SILENT): State.WANTED,
    (State.REQUESTED, Event.RETRY): State.WANTED,
    (State.REQUESTED, Event.LEAVE): State.LEAVE_WANTED,
    (State.ACKED, Event.DATA): State.LIVE,
    (State.ACKED, Event.SILENT): State.LEAVE_WANTED,
    (State.ACKED, Event.LEAVE): State.LEAVE_WANTED,
    (State.LIVE, Event.ACK): State.LIVE,
    (State.LIVE, Event.DATA): State.LIVE,
    (State.LIVE, Event.LEAVE): State.LEAVE_WANTED,
    (State.WANTED, Event.DROP): State.OFF,
    (State.REFUSED, Event.DROP): State.OFF,
    (State.REFUSED, Event.RETRY): State.WANTED,
    (State.LEAVE_WANTED, Event.SEND): State.LEAVING,
    (State.LEAVING, Event.LEFT): State.WANTED,
    (State.LEAVING, Event.SILENT): State.WANTED,
    **{(state, Event.DOWN): State.OFF for state in State},
}


class Subscription:
    """One channel of one instrument; `variant` tells subscriptions of one channel apart (the ohlc interval).

    `history` marks those that bring much at once and can wait; `like` is equal for those that one request can carry.
    """

    __slots__ = (
        "channel",
        "deadline_ns",
        "delays",
        "dropped",
        "history",
        "like",
        "name",
        "params",
        "refusal",
        "req_id",
        "retry_ns",
        "sends_snapshot",
        "silent_count",
        "solo",
        "state",
        "states",
        "variant",
    )

    def __init__(self, channel: str, name: str, params: dict[str, Any], *, variant: int = 0,
                 sends_snapshot: bool = True, history: bool = False) -> None:
        self.channel = channel
        self.name = name
        self.variant = variant
        self.params = params
        self.sends_snapshot = sends_snapshot
        self.history = history
        self.like = (channel, variant, msgspec.json.encode(params))
        self.state = State.OFF
        self.states: StateIndex | None = None  # of the table it is in
        self.req_id = 0
        self.deadline_ns = 0
        self.retry_ns = 0
        self.refusal = ""
        self.silent_count = 0
        self.solo = False
        self.dropped = False  # not to be taken again once it is left
        self.delays = RetryDelays()

    def step(self, event: Event) -> None:
        """Move by the table.

        Raises:
            InvariantError: the table has no such move.
        """
        target = TRANSITIONS.get((self.state, event))
        if target is None:
            raise InvariantError(f"subscription {self.channel} {self.name}: {event.value} in state {self.state.value}")
        if self.states is not None and target is not self.state:
            del self.states[self.state, self.history][self]
            self.states[target, self.history][self] = None
        self.state = target

    def status(self) -> dict[str, Any]:
        """Return what an operator sees."""
        return {"channel": self.channel, "name": self.name, "variant": self.variant, "state": self.state.value,
                "refusal": self.refusal, "failures": self.delays.failure_count, "silent": self.silent_count}


# Who is in which state, in order of arrival there, history apart: no timer looks at a subscription that is at rest.
StateIndex = dict[tuple[State, bool], dict[Subscription, None]]


class RequestIds:
    """Gives req_ids upwards from `first`; one per socket."""

    __slots__ = ("_next",)

    def __init__(self, first: int) -> None:
        self._next = first

    def take(self) -> int:
        """Return the next req_id."""
        req_id = self._next
        self._next += 1
        return req_id


class SubscriptionTable:
    """All subscriptions of one socket; writes request frames into `out`.

    Args:
        out: list that frames to send are appended to.
        ids: source of req_ids.
        with_token: put an empty "token" last in params; the link fills it in.
    """

    def __init__(self, out: list[bytes], ids: RequestIds, *, with_token: bool) -> None:
        self._out = out
        self._ids = ids
        self._with_token = with_token
        self._subscriptions: dict[tuple[str, str, int], Subscription] = {}
        self._of_name: dict[str, list[Subscription]] = {}
        self._states: StateIndex = {(state, history): {} for state in State for history in (False, True)}
        self._pending: dict[int, list[Subscription]] = {}
        self._bucket = TokenBucket(rate_per_s=20, burst=10)
        self._paused_until_ns = 0
        self.stray_ack_count = 0
        self.refused_count = 0

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._subscriptions.values())

    def add(self, subscription: Subscription) -> Subscription:
        """Register a subscription in state OFF; the same key must not be there yet."""
        key = (subscription.channel, subscription.name, subscription.variant)
        if key in self._subscriptions:
            raise InvariantError(f"subscription {key} exists already")
        self._subscriptions[key] = subscription
        self._of_name.setdefault(subscription.name, []).append(subscription)
        subscription.states = self._states
        self._states[subscription.state, subscription.history][subscription] = None
        return subscription

    def of_name(self, name: str) -> list[Subscription]:
        """Return the subscriptions of one instrument, in order of registration."""
        return self._of_name.get(name, [])

    def in_state(self, *states: State) -> list[Subscription]:
        """Return the subscriptions in any of some states; costs as much as there are of them."""
        return [s for state in states for history in (False, True) for s in self._states[state, history]]

    def get(self, channel: str, name: str, variant: int = 0) -> Subscription | None:
        """Return a subscription or None."""
        return self._subscriptions.get((channel, name, variant))

    def want(self, subscription: Subscription, now_ns: int) -> None:
        """Start a subscription that is OFF, or have one that is being dropped taken again; otherwise nothing happens."""
        subscription.dropped = False
        if subscription.state is State.OFF:
            subscription.step(Event.WANT)
            subscription.retry_ns = now_ns

    def down(self) -> None:
        """Forget everything in flight: a new connection starts with no subscriptions."""
        self._pending.clear()
        for subscription in self:
            subscription.step(Event.DOWN)
            subscription.solo = subscription.dropped = False
        # Requests of the old connection do not count against the new one.
        self._bucket = TokenBucket(rate_per_s=20, burst=10)
        self._paused_until_ns = 0

    def pause(self, now_ns: int) -> None:
        """Send nothing for a while: the venue said that requests come too fast."""
        self._paused_until_ns = now_ns + RATE_PAUSE_NS

    def leave(self, subscription: Subscription, now_ns: int, *, at_once: bool = True) -> bool:
        """Unsubscribe and subscribe again after the subscription's back-off; False when that is already under way."""
        if (subscription.state, Event.LEAVE) not in TRANSITIONS:
            return False
        self._forget_request(subscription)
        subscription.step(Event.LEAVE)
        subscription.retry_ns = subscription.delays.fail(now_ns, at_once=at_once)
        return True

    def drop(self, subscription: Subscription) -> None:
        """Unsubscribe for good: until `want` it is not taken again."""
        subscription.dropped = True
        if (subscription.state, Event.DROP) in TRANSITIONS:
            subscription.step(Event.DROP)
        elif (subscription.state, Event.LEAVE) in TRANSITIONS:
            self._forget_request(subscription)
            subscription.step(Event.LEAVE)

    def renew(self, subscription: Subscription, now_ns: int) -> bool:
        """Unsubscribe one that is live and subscribe again at once, which is no failure of it; False where it is not live."""
        if subscription.state is not State.LIVE:
            return False
        subscription.step(Event.LEAVE)
        subscription.retry_ns = now_ns
        return True

    def on_data(self, subscription: Subscription) -> None:
        """Note that the subscription's snapshot, or data of a channel without one, has come."""
        if (subscription.state, Event.DATA) in TRANSITIONS:
            subscription.step(Event.DATA)
            subscription.refusal = ""

    def on_ack(self, ack: Ack, now_ns: int) -> bool:
        """Apply a reply to subscribe or unsubscribe; False when no request of ours is waiting for it."""
        waiting = self._pending.get(ack.req_id) if ack.req_id is not None else None
        if waiting is None:
            self.stray_ack_count += 1
            return False
        meant = [subscription for subscription in waiting if subscription.name == ack.name]
        if not meant and (not ack.name or len(waiting) == 1):
            meant = list(waiting)
        for subscription in meant:
            self._settle(subscription, ack, now_ns, alone=len(meant) == 1)
        return bool(meant)

    def on_timer(self, now_ns: int) -> None:
        """Time out what was not answered, then send what is due."""
        for subscription in self.in_state(State.REQUESTED, State.ACKED, State.LEAVING, State.REFUSED):
            self._expire(subscription, now_ns)
        self.send_due(now_ns)

    def send_due(self, now_ns: int) -> None:
        """Send the requests that are due, several names in one frame, as far as the pace allows; history last."""
        if now_ns < self._paused_until_ns:
            return
        leaving = self.in_state(State.LEAVE_WANTED)
        if not self._send_groups("unsubscribe", leaving, now_ns):
            return
        wanted = (s for s in self._states[State.WANTED, False] if s.retry_ns <= now_ns)
        if self._send_groups("subscribe", wanted, now_ns):
            self._send_groups("subscribe", self._due_history(now_ns), now_ns)

    def _due_history(self, now_ns: int) -> list[Subscription]:
        """Return the history subscriptions that may be asked for now."""
        under_way = len(self._states[State.REQUESTED, True]) + len(self._states[State.ACKED, True])
        due = (s for s in self._states[State.WANTED, True] if s.retry_ns <= now_ns)
        return list(islice(due, max(0, HISTORY_IN_FLIGHT_MAX - under_way)))

    def _send_groups(self, method: str, due: Iterable[Subscription], now_ns: int) -> bool:
        """Send as many requests as the pace allows; False when something had to stay behind."""
        allowed = self._bucket.whole(now_ns)
        groups = _groups(due, allowed + 1)
        for group in groups[:allowed]:
            self._bucket.take(now_ns)
            self._send(method, group, now_ns)
        return len(groups) <= allowed

    def _send(self, method: str, group: list[Subscription], now_ns: int) -> None:
        req_id = self._ids.take()
        for subscription in group:
            self._forget_request(subscription)
            subscription.step(Event.SEND)
            subscription.req_id = req_id
            subscription.deadline_ns = now_ns + (ACK_WAIT_NS if method == "subscribe" else LEAVE_WAIT_NS)
        self._pending[req_id] = list(group)
        self._out.append(self._frame(method, group, req_id))

    def _frame(self, method: str, group: list[Subscription], req_id: int) -> bytes:
        first = group[0]
        params: dict[str, Any] = {"channel": first.channel}
        if first.name:
            params["symbol"] = [subscription.name for subscription in group]
        # The venue keys a subscription by these too, so an unsubscribe repeats all but what only asks for a start.
        only_at_start = ("snapshot", "snap_orders", "snap_trades", "order_status", "ratecounter")
        params.update({key: value for key, value in first.params.items()
                       if method == "subscribe" or key not in only_at_start})
        if self._with_token:
            params["token"] = ""
        return msgspec.json.encode({"method": method, "params": params, "req_id": req_id})

    def _settle(self, subscription: Subscription, ack: Ack, now_ns: int, *, alone: bool) -> None:
        """Apply one reply to one subscription."""
        if ack.method == "unsubscribe":
            # "Not found" is what was wanted; any other refusal is settled by subscribing again.
            if subscription.state is State.LEAVING:
                self._forget_request(subscription)
                self._left(subscription, Event.LEFT)
            return
        if ack.success:
            self._forget_request(subscription)
            if (subscription.state, Event.ACK) in TRANSITIONS:
                subscription.step(Event.ACK)
                subscription.refusal = ""
                subscription.deadline_ns = now_ns + DATA_WAIT_NS
                if not subscription.sends_snapshot:
                    subscription.step(Event.DATA)
            return
        self._refuse(subscription, ack, now_ns, alone=alone)

    def _refuse(self, subscription: Subscription, ack: Ack, now_ns: int, *, alone: bool) -> None:
        self._forget_request(subscription)
        if subscription.state is not State.REQUESTED:
            return
        self.refused_count += 1
        subscription.refusal = ack.error or "refused without a reason"
        if subscription.refusal.startswith("Already subscribed"):
            self.leave(subscription, now_ns)
            return
        subscription.retry_ns = subscription.delays.fail(now_ns, at_once=False)
        if alone:
            subscription.step(Event.REFUSE)
        else:
            # The refusal names nobody: ask one by one to learn whom it means.
            subscription.solo = True
            subscription.step(Event.RETRY)

    def _expire(self, subscription: Subscription, now_ns: int) -> None:
        state = subscription.state
        if state is State.REFUSED and now_ns >= subscription.retry_ns:
            subscription.step(Event.RETRY)
        elif state in (State.REQUESTED, State.ACKED, State.LEAVING) and now_ns >= subscription.deadline_ns:
            self._forget_request(subscription)
            if state is State.LEAVING:
                self._left(subscription, Event.SILENT)
            else:
                subscription.step(Event.SILENT)
                subscription.silent_count += 1
                subscription.retry_ns = subscription.delays.fail(now_ns)

    def _left(self, subscription: Subscription, event: Event) -> None:
        """It is left, as far as can be known: taken again unless it is dropped."""
        subscription.step(event)
        if subscription.dropped:
            subscription.step(Event.DROP)

    def _forget_request(self, subscription: Subscription) -> None:
        waiting = self._pending.get(subscription.req_id)
        if waiting is not None and subscription in waiting:
            waiting.remove(subscription)
            if not waiting:
                del self._pending[subscription.req_id]


def _groups(due: Iterable[Subscription], most: int) -> list[list[Subscription]]:
    """Return subscriptions that one request can carry together, in order of arrival; stops at `most` full groups."""
    groups: dict[object, list[Subscription]] = {}
    full: list[list[Subscription]] = []
    for subscription in due:
        key: object = id(subscription) if subscription.solo or not subscription.name else subscription.like
        group = groups.setdefault(key, [])
        group.append(subscription)
        if len(group) == NAMES_PER_REQUEST_MAX:
            full.append(groups.pop(key))
            if len(full) == most:
                return full
    return full + list(groups.values())
