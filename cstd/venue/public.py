"""PublicMachine: the public market-data socket as a sans-I/O machine.

The instrument channel is subscribed first; the others follow for those configured names that its snapshot lists, with
the precisions that make a checksum possible. A book that loses its checksum is resubscribed alone; no other notices.

The engine calls `on_*` with monotonic ns, sends what it finds in `out`, and closes the socket when `want_close` is set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cstd.errors import ConfigError
from cstd.units import NS_PER_S
from cstd.venue.backoff import Liveness
from cstd.venue.errors_table import listed
from cstd.venue.messages import (
    Ack,
    BookMessage,
    InstrumentSpec,
    InstrumentUpdate,
    Malformed,
    Message,
    OhlcMessage,
    RequestError,
    StatusMessage,
    TickerMessage,
    TradeMessage,
    Unknown,
    Window,
)
from cstd.venue.subscriptions import RequestIds, State, Subscription, SubscriptionTable

BOOK_DEPTHS = (10, 25, 100, 500, 1000)
OHLC_INTERVALS_MIN = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
STATUS_WAIT_NS = 10 * NS_PER_S  # the venue says its state with the first frame of a connection
SYSTEM_STATES = ("online", "maintenance", "cancel_only", "post_only")


class PublicMachine:
    """Keep the public subscriptions of one socket.

    Args:
        names: instruments to follow, in Kraken's v2 spelling.
        depth: book depth for all, or a depth by name; one of 10, 25, 100, 500, 1000.
        ohlc_intervals: minutes; each is a subscription of its own per instrument.

    Attributes:
        out: frames to send, in order; take them with `take_out`.
        want_close: why the socket should be closed, or None.
        system: the venue's state word, "unknown" before it has said one. announced: maintenance to come, as it last said.
        specs: what the instrument channel says of the configured names.
    """

    def __init__(self, names: Sequence[str], depth: int | Mapping[str, int], *,
                 ohlc_intervals: Sequence[int] = (1, 5, 60)) -> None:
        self.names = tuple(dict.fromkeys(names))
        self.out: list[bytes] = []
        self.want_close: str | None = None
        self.system = "unknown"
        self.announced: tuple[Window, ...] = ()
        self.specs: dict[str, InstrumentSpec] = {}
        self.resync_counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()  # by text as listed
        self.unknown_count = 0
        self.malformed_count = 0
        self.rate_error_count = 0
        self.up = False
        self._listed = False
        self._up_ns = 0
        self._ids = RequestIds(1)
        self._liveness = Liveness()
        self._table = SubscriptionTable(self.out, self._ids, with_token=False)
        self._instrument = self._table.add(Subscription("instrument", "", {"snapshot": True}))
        depths = {name: depth if isinstance(depth, int) else depth[name] for name in self.names}
        self._add_subscriptions(depths, ohlc_intervals)

    def _add_subscriptions(self, depths: Mapping[str, int], ohlc_intervals: Sequence[int]) -> None:
        for name, depth in depths.items():
            if depth not in BOOK_DEPTHS:
                raise ConfigError(f"book depth of {name} is {depth}; Kraken takes {', '.join(map(str, BOOK_DEPTHS))}")
            self._table.add(Subscription("book", name, {"depth": depth, "snapshot": True}))
            # The tape has no snapshot here: old trades would be counted as new volume after each reconnect.
            self._table.add(Subscription("trade", name, {"snapshot": False}, sends_snapshot=False))
            self._table.add(Subscription("ticker", name, {"event_trigger": "bbo", "snapshot": True}))
        for interval in ohlc_intervals:
            if interval not in OHLC_INTERVALS_MIN:
                raise ConfigError(f"ohlc interval {interval} min is not one of {OHLC_INTERVALS_MIN}")
            # The shortest of all instruments first: the gate on traded value reads it.
            for name in depths:
                self._table.add(Subscription("ohlc", name, {"interval": interval, "snapshot": True},
                                             variant=interval, history=True))

    def take_out(self) -> list[bytes]:
        """Return the frames to send and forget them."""
        frames = list(self.out)
        self.out.clear()
        return frames

    def on_up(self, now_ns: int) -> None:
        """Begin on a fresh connection: reference data first."""
        self.out.clear()
        # Also without an `on_down` before it: nothing of an older connection holds on this one.
        self._table.down()
        self.up = True
        self.want_close = None
        self._listed = False
        self._up_ns = now_ns
        self._liveness.start(now_ns)
        self._table.want(self._instrument, now_ns)
        self._table.send_due(now_ns)

    def on_down(self, _now_ns: int) -> None:
        """The connection is gone and every subscription with it; the venue's state is no longer known."""
        self.up = False
        self.want_close = None
        self.system, self.announced = "unknown", ()
        self.out.clear()
        self._liveness.stop()
        self._table.down()

    def on_frame_seen(self, now_ns: int) -> None:
        """Note that a frame of any kind arrived."""
        self._liveness.seen(now_ns)

    def on_data(self, name: str, channel: str, _now_ns: int, *, snapshot: bool = True) -> None:
        """Note data that the compiled scanner took; an update without its snapshot makes nothing live."""
        subscription = self._table.get(channel, name)
        if subscription is not None and (snapshot or not subscription.sends_snapshot):
            self._table.on_data(subscription)

    def on_message(self, message: Message, now_ns: int) -> None:
        """Apply one message of the tolerant path. Heartbeats, pongs and private kinds change nothing here."""
        match message:
            case Ack():
                if not message.success:
                    self.errors[listed(message.error)] += 1
                self._table.on_ack(message, now_ns)
                self._table.send_due(now_ns)
            case InstrumentUpdate():
                self._on_instrument(message, now_ns)
            case StatusMessage():
                self.system, self.announced = message.system, message.announced
            case BookMessage():
                self.on_data(message.name, "book", now_ns, snapshot=message.snapshot)
            case TickerMessage():
                self.on_data(message.name, "ticker", now_ns, snapshot=True)
            case TradeMessage():
                for name in {trade.name for trade in message.trades}:
                    self.on_data(name, "trade", now_ns)
            case OhlcMessage():
                self._on_ohlc(message)
            case RequestError():
                self.errors[listed(message.error)] += 1
                self._on_request_error(now_ns)
            case Malformed():
                self._on_malformed(message, now_ns)
            case Unknown():
                self.unknown_count += 1

    def resync(self, name: str, reason: str, now_ns: int, *, channel: str = "book") -> bool:
        """Unsubscribe and subscribe one channel after its back-off; False when it is on its way already or not known."""
        subscription = self._table.get(channel, name)
        if subscription is None or not self._table.leave(subscription, now_ns):
            return False
        self.resync_counts[reason] += 1
        self._table.send_due(now_ns)
        return True

    def renew(self, name: str, channel: str, now_ns: int) -> bool:
        """Subscribe a channel of an instrument anew for its snapshot, each interval of ohlc; False where none is live."""
        renewed = [self._table.renew(subscription, now_ns) for subscription in self._table.of_name(name)
                   if subscription.channel == channel]
        self._table.send_due(now_ns)
        return any(renewed)

    def on_timer(self, now_ns: int) -> None:
        """Time out, retry, ping; call a few times a second."""
        if not self.up:
            return
        self._table.on_timer(now_ns)
        if self._liveness.dead(now_ns):
            self.want_close = f"no frame for {self._liveness.silence_ns(now_ns) // 1_000_000} ms"
        elif self.system == "unknown" and now_ns - self._up_ns > STATUS_WAIT_NS:
            self.want_close = "the venue has not said its state on this connection"
        elif self._liveness.ping_due(now_ns):
            self.out.append(msgspec.json.encode({"method": "ping", "req_id": self._ids.take()}))

    def alive(self, now_ns: int) -> bool:
        """Tell whether any frame came in the last 3 s."""
        return self._liveness.alive(now_ns)

    def waiting(self, channel: str) -> list[str]:
        """Return the names whose subscription to a channel is asked for and has not delivered yet."""
        return [s.name for s in self._table.in_state(State.REQUESTED, State.ACKED) if s.channel == channel]

    def waiting_count(self) -> int:
        """Return how many subscriptions of listed names have not delivered yet, history included."""
        return len(self._table.in_state(State.WANTED, State.REQUESTED, State.ACKED))

    def live(self, name: str, channel: str = "book", variant: int = 0) -> bool:
        """Tell whether a subscription has been acknowledged or has delivered what it promised."""
        subscription = self._table.get(channel, name, variant)
        return subscription is not None and subscription.state is State.LIVE

    def unlisted(self) -> tuple[str, ...]:
        """Return configured names that the venue does not list; empty before its snapshot."""
        return tuple(name for name in self.names if name not in self.specs) if self._listed else ()

    def status(self) -> dict[str, Any]:
        """Return what an operator sees: link, venue state, and every subscription that is not live."""
        return {
            "up": self.up,
            "system": self.system,
            "live": len(self._table.in_state(State.LIVE)),
            "subscriptions": sum(1 for _ in self._table),
            "not_live": [s.status() for s in self._table if s.state is not State.LIVE],
            "unlisted": list(self.unlisted()),
            "resyncs": dict(self.resync_counts),
            "refused": self._table.refused_count,
            "stray_acks": self._table.stray_ack_count,
            "unknown": self.unknown_count,
            "malformed": self.malformed_count,
            "rate_errors": self.rate_error_count,
        }

    def _on_instrument(self, update: InstrumentUpdate, now_ns: int) -> None:
        """Take reference data; on a snapshot, start the other channels of the names it lists. Drop those of names that left."""
        wanted = set(self.names)
        if update.snapshot:
            self._listed = True
            self._table.on_data(self._instrument)
        for name in update.left(self.specs):
            del self.specs[name]
            for subscription in self._table.of_name(name):
                self._table.drop(subscription)
        for name in update.skipped:
            # What the venue changed is unreadable, so what was known is no longer true.
            self.specs.pop(name, None)
        for spec in update.listed():
            if spec.name not in wanted:
                continue
            before = self.specs.get(spec.name)
            self.specs[spec.name] = spec
            if before is not None and _precisions(before) != _precisions(spec):
                # Levels held at the old precision cannot be compared with the new ones.
                self.resync(spec.name, "precision", now_ns)
        if self._listed and self.up:
            # Of a snapshot all names; of an update, which comes at any time, those that it names.
            named = (s for spec in update.pairs for s in self._table.of_name(spec.name))
            for subscription in list(self._table if update.snapshot else named):
                if subscription.name in self.specs:
                    self._table.want(subscription, now_ns)
        self._table.send_due(now_ns)

    def _on_ohlc(self, message: OhlcMessage) -> None:
        for name, interval in {(row.name, row.interval_min) for row in message.rows}:
            subscription = self._table.get("ohlc", name, interval)
            if subscription is not None:
                self._table.on_data(subscription)

    def _on_request_error(self, now_ns: int) -> None:
        self.rate_error_count += 1
        self._table.pause(now_ns)

    def _on_malformed(self, message: Malformed, now_ns: int) -> None:
        """Resynchronise the books an unreadable message names: a part of their updates is lost."""
        self.malformed_count += 1
        if message.channel == "book":
            for name in message.names:
                self.resync(name, "malformed", now_ns)


def _precisions(spec: InstrumentSpec) -> tuple[int, int]:
    return spec.price_precision, spec.qty_precision
