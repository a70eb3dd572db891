"""PrivateMachine: the private socket as a sans-I/O machine: executions, balances, and the dead man's switch.

It asks for both private channels, watches their sequence numbers, and sorts every reply and event into outcomes that
the engine acts on. Order requests do not pass through it: they leave by the gateway and their replies come back here
as `OrderReply`, told apart from its own by the range of req_ids.

Frames carry an empty token; the link fills it in. The engine calls `on_*` with monotonic ns and drains `take_out`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from cstd.venue.backoff import Liveness
from cstd.venue.control import CONTROL_REQ_ID_FIRST, is_control
from cstd.venue.deadman import DeadmanSwitch
from cstd.venue.errors_table import RetryClass, classify, listed
from cstd.venue.messages import (
    Ack,
    BalancesMessage,
    ExecutionsMessage,
    Malformed,
    Message,
    RequestError,
    StatusMessage,
    Unknown,
)
from cstd.venue.subscriptions import RequestIds, State, Subscription, SubscriptionTable

__all__ = [
    "ChannelFault", "Deadman", "OrderReply", "Outcome", "PrivateMachine", "SubscriptionRefused", "TierKnown",
    "TokenStale", "Unanswered", "is_control",
]

TOKEN_ERRORS = ("EAPI:Invalid token", "ESession:Invalid session")
_CHANNELS: Mapping[str, dict[str, Any]] = {
    "executions": {"snap_orders": True, "snap_trades": True, "order_status": True, "ratecounter": True},
    "balances": {"snapshot": True},
}


class OrderReply(msgspec.Struct, frozen=True):
    """Reply to add_order, amend_order, cancel_order, cancel_all or a batch. Success is acceptance, not a fill.

    `row` counts the replies of a batch that came in one frame; `count` is how many orders a cancel_all cancelled.
    """

    req_id: int | None
    method: str
    success: bool
    order_id: str = ""
    cl_ord_id: str = ""
    amend_id: str = ""
    error: str = ""
    retry_class: RetryClass | None = None
    count: int | None = None
    row: int = 0
    warnings: tuple[str, ...] = ()
    time_in_ns: int | None = None
    time_out_ns: int | None = None


class SubscriptionRefused(msgspec.Struct, frozen=True):
    """A private channel was refused; it is tried again after a back-off."""

    channel: str
    error: str


class TokenStale(msgspec.Struct, frozen=True):
    """The venue does not take the token: the socket is to be closed, the next one gets a new token."""

    error: str


class ChannelFault(msgspec.Struct, frozen=True):
    """Messages of a channel were lost or could not be read: it is resubscribed and the account is reconciled."""

    channel: str
    reason: str
    expected: int | None = None
    got: int | None = None


class TierKnown(msgspec.Struct, frozen=True):
    """The executions ack told the account's trading-rate threshold, in points."""

    rate_count_max: int


class Deadman(msgspec.Struct, frozen=True):
    """A reply to cancel_all_orders_after: armed until a monotonic time, disarmed (0), or refused with an error."""

    armed_until_ns: int
    error: str = ""


class Unanswered(msgspec.Struct, frozen=True):
    """An error without a request: some request of ours, perhaps an order, was dropped."""

    error: str


Outcome: TypeAlias = (
    OrderReply | SubscriptionRefused | TokenStale | ChannelFault | TierKnown | Deadman | Unanswered | ExecutionsMessage
    | BalancesMessage
)


class PrivateMachine:
    """Keep the private channels of one socket and the dead man's switch.

    Attributes:
        want_close: why the socket should be closed, or None.
        want_reconcile: set when events were lost; the engine clears it once it has started a reconciliation.
        system: the venue's state word on this socket, "unknown" before it has said one.
        deadman: the switch; `arm` and `disarm` it here, the machine sends and refreshes.
    """

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.want_close: str | None = None
        self.want_reconcile = False
        self.system = "unknown"
        self.up = False
        self.errors: Counter[str] = Counter()  # by text as listed
        self.unknown_count = 0
        self.malformed_count = 0
        self.rate_error_count = 0
        self.gap_count = 0
        self.rate_count_max: int | None = None
        self._ids = RequestIds(CONTROL_REQ_ID_FIRST)
        self.deadman = DeadmanSwitch(self._ids)
        self._liveness = Liveness()
        self._table = SubscriptionTable(self.out, self._ids, with_token=True)
        self._channels = {
            channel: self._table.add(Subscription(channel, "", dict(params))) for channel, params in _CHANNELS.items()
        }
        self._sequences: dict[str, int | None] = dict.fromkeys(_CHANNELS)

    @property
    def ready(self) -> bool:
        """Tell whether the snapshots of both channels are in and unbroken since."""
        return self.up and all(self._sequences[channel] is not None for channel in _CHANNELS)

    def snapshot_seen(self, channel: str) -> bool:
        """Tell whether one channel's snapshot is in and unbroken since."""
        return self._sequences[channel] is not None

    def take_out(self) -> list[bytes]:
        """Return the frames to send and forget them."""
        frames = list(self.out)
        self.out.clear()
        return frames

    def on_up(self, now_ns: int) -> None:
        """Begin on a fresh connection with a fresh token; a switch that should be armed is armed first."""
        self.out.clear()
        # Also without an `on_down` before it: nothing of an older connection holds on this one.
        self._table.down()
        self._sequences = dict.fromkeys(_CHANNELS)
        self.up = True
        self.want_close = None
        self._liveness.start(now_ns)
        self.deadman.on_up()
        self._send_deadman(now_ns, progressing=True)
        for subscription in self._channels.values():
            self._table.want(subscription, now_ns)
        self._table.send_due(now_ns)

    def on_down(self, now_ns: int) -> None:
        """The connection is gone: nothing is known of orders until both snapshots are in again."""
        self.up = False
        self.want_close = None
        self.want_reconcile = True
        self.system = "unknown"
        self.out.clear()
        self._sequences = dict.fromkeys(_CHANNELS)
        self._liveness.stop()
        self.deadman.on_down(now_ns)
        self._table.down()

    def on_frame_seen(self, now_ns: int) -> None:
        """Note that a frame of any kind arrived."""
        self._liveness.seen(now_ns)

    def on_message(self, message: Message, now_ns: int) -> list[Outcome]:
        """Apply one message and return what the engine must act on, in order."""
        match message:
            case Ack():
                return self._on_ack(message, now_ns)
            case ExecutionsMessage():
                return self._on_sequenced("executions", message, now_ns)
            case BalancesMessage():
                return self._on_sequenced("balances", message, now_ns)
            case StatusMessage():
                self.system = message.system
            case RequestError():
                self.errors[listed(message.error)] += 1
                self.rate_error_count += 1
                self._table.pause(now_ns)
                return [Unanswered(message.error)]
            case Malformed():
                self.malformed_count += 1
                # What cannot be read may have been an execution, whatever it calls itself.
                channel = message.channel if message.channel in _CHANNELS else "executions"
                return [self._fault(channel, f"malformed: {message.reason}", now_ns)]
            case Unknown():
                self.unknown_count += 1
                if message.channel in _CHANNELS:
                    return [self._fault(message.channel, f"unknown: {message.what}", now_ns)]
        return []

    def on_timer(self, now_ns: int, *, progressing: bool = True) -> None:
        """Time out, retry, refresh the switch, ping; call a few times a second.

        Args:
            now_ns: monotonic ns.
            progressing: False holds the refresh of the switch back: only an engine that makes progress may keep
                orders alive at the venue.
        """
        if not self.up:
            return
        self._send_deadman(now_ns, progressing=progressing)
        self._table.on_timer(now_ns)
        if self._liveness.dead(now_ns):
            self.want_close = f"no frame for {self._liveness.silence_ns(now_ns) // 1_000_000} ms"
        elif self._liveness.ping_due(now_ns):
            self.out.append(msgspec.json.encode({"method": "ping", "req_id": self._ids.take()}))

    def arm(self, timeout_s: int, now_ns: int) -> None:
        """Keep the dead man's switch armed with a timeout in seconds from now on."""
        self.deadman.want(timeout_s, now_ns)
        if self.up:
            self._send_deadman(now_ns, progressing=True)

    def disarm(self, now_ns: int) -> None:
        """Switch it off; call only when the venue shows no order of ours and none is UNKNOWN."""
        self.arm(0, now_ns)

    def renew_executions(self, now_ns: int) -> None:
        """Ask for a fresh snapshot of the executions, where one is in: the channel does not count until the next one."""
        if self.live("executions"):
            self._sequences["executions"] = None
            self._table.leave(self._channels["executions"], now_ns)
            self._table.send_due(now_ns)

    def alive(self, now_ns: int) -> bool:
        """Tell whether any frame came in the last 3 s."""
        return self._liveness.alive(now_ns)

    def status(self, now_ns: int) -> dict[str, Any]:
        """Return what an operator sees."""
        return {
            "up": self.up,
            "ready": self.ready,
            "system": self.system,
            "channels": [subscription.status() for subscription in self._channels.values()],
            "sequences": dict(self._sequences),
            "gaps": self.gap_count,
            "deadman": self.deadman.status(now_ns),
            "rate_count_max": self.rate_count_max,
            "unknown": self.unknown_count,
            "malformed": self.malformed_count,
            "rate_errors": self.rate_error_count,
            "stray_acks": self._table.stray_ack_count,
        }

    def _send_deadman(self, now_ns: int, *, progressing: bool) -> None:
        frame = self.deadman.frame_due(now_ns, progressing=progressing)
        if frame is not None:
            self.out.append(frame)

    def _on_ack(self, ack: Ack, now_ns: int) -> list[Outcome]:
        outcomes: list[Outcome] = []
        if not ack.success:
            self.errors[listed(ack.error)] += 1
        if ack.method in ("subscribe", "unsubscribe"):
            outcomes = self._on_subscription_ack(ack, now_ns)
        elif ack.method == "cancel_all_orders_after":
            if self.deadman.on_reply(ack, now_ns):
                outcomes = [Deadman(self.deadman.armed_until_ns, self.deadman.error)]
        else:
            outcomes = list(_order_replies(ack))
        if not ack.success and ack.error.startswith(TOKEN_ERRORS):
            # A reconnect is the one way in which the link takes a new token.
            self.want_close = f"token refused: {ack.error}"
            outcomes.append(TokenStale(ack.error))
        return outcomes

    def _on_subscription_ack(self, ack: Ack, now_ns: int) -> list[Outcome]:
        self._table.on_ack(ack, now_ns)
        self._table.send_due(now_ns)
        if not ack.success and ack.method == "subscribe":
            return [SubscriptionRefused(ack.channel, ack.error)]
        rate_count_max = ack.result.get("maxratecount") if isinstance(ack.result, Mapping) else None
        if isinstance(rate_count_max, int) and rate_count_max > 0:
            self.rate_count_max = rate_count_max
            return [TierKnown(rate_count_max)]
        return []

    def _on_sequenced(self, channel: str, message: ExecutionsMessage | BalancesMessage, now_ns: int) -> list[Outcome]:
        """Check the sequence; after a gap nothing of the channel counts until its next snapshot."""
        last = self._sequences[channel]
        if message.snapshot:
            self._sequences[channel] = message.sequence
            self._table.on_data(self._channels[channel])
            return [message]
        if last is None:
            # Between a loss and the next snapshot. A fill is a fact whatever was lost before it, and fills are counted
            # by exec_id, so the message is handed on; its sequence proves nothing.
            return [message]
        if message.sequence == last + 1:
            self._sequences[channel] = message.sequence
            return [message]
        fault = self._fault(channel, "sequence", now_ns, expected=last + 1, got=message.sequence)
        return [fault, message]

    def _fault(self, channel: str, reason: str, now_ns: int, *, expected: int | None = None,
               got: int | None = None) -> ChannelFault:
        self.gap_count += 1
        self.want_reconcile = True
        self._sequences[channel] = None
        self._table.leave(self._channels[channel], now_ns)
        self._table.send_due(now_ns)
        return ChannelFault(channel, reason, expected, got)

    def live(self, channel: str) -> bool:
        """Tell whether a channel's subscription has delivered its snapshot."""
        return self._channels[channel].state is State.LIVE


def _order_replies(ack: Ack) -> list[OrderReply]:
    """Return one reply per order: a batch may come as an array, or as an object with `orders`."""
    rows: Any = ack.result
    if isinstance(rows, Mapping) and isinstance(rows.get("orders"), list):
        rows = rows["orders"]
    if not isinstance(rows, list):
        rows = [rows]
    return [_order_reply(ack, row if isinstance(row, Mapping) else {}, index) for index, row in enumerate(rows)]


def _order_reply(ack: Ack, row: Mapping[str, Any], index: int) -> OrderReply:
    error = row["error"] if isinstance(row.get("error"), str) else ack.error
    success = ack.success and not error and row.get("success") is not False
    count = row.get("count")
    return OrderReply(
        req_id=ack.req_id,
        method=ack.method,
        success=success,
        order_id=_text(row, "order_id"),
        cl_ord_id=_text(row, "cl_ord_id"),
        amend_id=_text(row, "amend_id"),
        error=error,
        retry_class=None if success else classify(error),
        count=count if isinstance(count, int) else None,
        row=index,
        warnings=ack.warnings,
        time_in_ns=ack.time_in_ns,
        time_out_ns=ack.time_out_ns,
    )


def _text(row: Mapping[str, Any], field: str) -> str:
    value = row.get(field)
    return value if isinstance(value, str) else ""
