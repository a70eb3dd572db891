"""FuturesMachine: the futures websocket without I/O. Subscriptions, what was heard of each, and when to give up.

    WANTED ──ask──► ASKED ──answer, data──► LIVE ──gap, silence──► LEAVE_WANTED ──ask──► LEAVING ──answer, silence──► WANTED
      ▲               │ refusal, silence
      └───────────────┘  after a growing delay

A refusal does not say of which request it is, so one request is out at a time: what comes is its answer. The connection
is given up when nothing has come for 30 s; a product of which nothing new has come for 10 s is left and taken anew.

Tickers carry no sequence number (2026); each is the whole state of its product, and its `time` says whether it is newer
than the one before. Where a message does carry `seq`, it must follow the one before by one, as in the feeds that have it.
"""

from __future__ import annotations

import enum
from collections import Counter

import msgspec

from cstd.units import NS_PER_S
from cstd.venue.backoff import RetryDelays
from cstd.venue.futures_messages import Answer, FuturesMessage, FuturesTicker, Greeting, Refusal
from cstd.venue.messages import Malformed, Unknown

ANSWER_WAIT_NS = 10 * NS_PER_S
PRODUCT_SILENT_NS = 10 * NS_PER_S
LINK_SILENT_NS = 30 * NS_PER_S  # heartbeats have no promised rhythm; tickers of a busy product come each second
VERSION = 1
REFUSALS_KEPT = 20
# What is counted of a connection and its subscriptions.
COUNTS = ("malformed", "unknown", "other_version", "unasked", "gap", "silent", "repeated", "backwards", "refused", "unanswered")
HEARTBEAT = ""  # stands for the feed that has no products


class State(enum.Enum):
    """Where a subscription is."""

    WANTED = "wanted"
    ASKED = "asked"
    LIVE = "live"
    LEAVE_WANTED = "leave_wanted"
    LEAVING = "leaving"


class _Subscription:
    """One product's ticker, or the heartbeat."""

    def __init__(self, product: str) -> None:
        self.product = product
        self.delays = RetryDelays()
        self.time_ms = 0    # of the newest ticker of this connection
        self.before_ms = 0  # of the newest one of those before
        self.begin()

    def begin(self) -> None:
        """Nothing was heard of it since it was left, or the connection is another. What was newest is not made newer by that."""
        self.state = State.WANTED
        self.not_before_ns = 0
        self.heard = False
        self.silent_since_ns = 0
        self.seq: int | None = None

    def begin_connection(self) -> None:
        """A connection may tell an earlier time than the one before, whose clock was set back; never the very same one."""
        self.before_ms, self.time_ms = self.time_ms or self.before_ms, 0
        self.begin()

    def frame(self) -> bytes:
        """Return the request that its state asks for."""
        event = "subscribe" if self.state is State.WANTED else "unsubscribe"
        if self.product == HEARTBEAT:
            return msgspec.json.encode({"event": event, "feed": "heartbeat"})
        return msgspec.json.encode({"event": event, "feed": "ticker", "product_ids": [self.product]})


class FuturesMachine:
    """The protocol of one futures socket.

    Args:
        products: whose tickers are wanted; none: the socket is never opened.

    Attributes:
        up: the connection stands. want_close: why it should be given up, None while it need not. out: frames to send.
        lost: products of which the newest is not known any more; whoever reads them takes them out.
        counts: of what went wrong, by reason. refusals: the venue's words, by product; of so many.
    """

    def __init__(self, products: tuple[str, ...]) -> None:
        self.products = products
        self.up = False
        self.want_close: str | None = None
        self.out: list[bytes] = []
        self.lost: list[str] = []
        self.counts: Counter[str] = Counter()
        self.refusals: dict[str, str] = {}
        self._all = {product: _Subscription(product) for product in (HEARTBEAT, *products)}
        self._wanting: dict[str, _Subscription] = {}  # those with a request to make, now or later
        self._asked: _Subscription | None = None
        self._asked_ns = 0
        self._frame_ns = 0

    def take_out(self) -> list[bytes]:
        """Return the frames to send and forget them."""
        frames, self.out = self.out, []
        return frames

    def live(self, product: str) -> bool:
        """Tell whether a product's ticker is subscribed and was heard on this connection."""
        subscription = self._all.get(product)
        return subscription is not None and subscription.state is State.LIVE and subscription.heard

    # The connection.

    def on_up(self, now_ns: int) -> None:
        """Begin on a fresh connection."""
        self._forget()
        self.up = True
        self._frame_ns = now_ns
        self._ask(now_ns)

    def on_down(self, _now_ns: int) -> None:
        """The connection is gone, and every subscription with it."""
        self.up = False
        self._forget()

    def _forget(self) -> None:
        self.want_close, self._asked = None, None
        self.out.clear()
        for subscription in self._all.values():
            subscription.begin_connection()
        self._wanting = dict(self._all)
        self.lost.extend(self.products)

    def on_frame_seen(self, now_ns: int) -> None:
        """Note that a frame of any kind arrived."""
        self._frame_ns = max(self._frame_ns, now_ns)

    # What comes.

    def on_message(self, message: FuturesMessage, now_ns: int) -> FuturesTicker | None:
        """Apply one message. Returns a ticker that is newer than the one before, which alone says anything new."""
        ticker = None
        match message:
            case FuturesTicker():
                ticker = self._on_ticker(message, now_ns)
            case Answer():
                self._on_answer(message, now_ns)
            case Refusal():
                self._on_refusal(message.text, now_ns)
            case Malformed():
                self.counts["malformed"] += 1
                self.lost.extend(name for name in message.names if name in self._all)
            case Unknown():
                self.counts["unknown"] += 1
            case Greeting() if message.version != VERSION:
                self.counts["other_version"] += 1
        self._ask(now_ns)
        return ticker

    def _on_ticker(self, ticker: FuturesTicker, now_ns: int) -> FuturesTicker | None:
        subscription = self._all.get(ticker.product)
        if subscription is None or subscription.state in (State.WANTED, State.LEAVE_WANTED, State.LEAVING):
            self.counts["unasked"] += 1
            return None
        if ticker.seq is not None:
            before, subscription.seq = subscription.seq, ticker.seq
            if before is not None and ticker.seq != before + 1:
                self._leave(subscription, "gap")
                return None
        if ticker.time_ms <= subscription.time_ms or ticker.time_ms == subscription.before_ms:
            same = ticker.time_ms in (subscription.time_ms, subscription.before_ms)
            self.counts["repeated" if same else "backwards"] += 1
            return None
        if subscription is self._asked:
            self._asked = None  # data may come before its acknowledgement
        subscription.state = State.LIVE
        subscription.heard, subscription.silent_since_ns, subscription.time_ms = True, now_ns, ticker.time_ms
        self.refusals.pop(ticker.product, None)
        return ticker

    def _on_answer(self, answer: Answer, now_ns: int) -> None:
        names = answer.products if answer.feed == "ticker" else (HEARTBEAT,) if answer.feed == "heartbeat" else ()
        for name in names:
            subscription = self._all.get(name)
            if subscription is None:
                continue
            if answer.subscribed and subscription.state is State.ASKED:
                subscription.state, subscription.silent_since_ns = State.LIVE, now_ns
            elif not answer.subscribed and subscription.state is State.LEAVING:
                self._retry(subscription, now_ns)
            else:
                continue  # late: what is asked for now is not answered by it
            if subscription is self._asked:
                self._asked = None

    def _on_refusal(self, text: str, now_ns: int) -> None:
        self.counts["refused"] += 1
        asked, self._asked = self._asked, None
        if asked is None:
            return
        if asked.product != HEARTBEAT and (asked.product in self.refusals or len(self.refusals) < REFUSALS_KEPT):
            self.refusals[asked.product] = text
        # Said at once it would be refused at once; and what cannot be left is taken anew all the same.
        self._retry(asked, now_ns, at_once=asked.state is State.LEAVING)

    def _retry(self, subscription: _Subscription, now_ns: int, *, at_once: bool = True) -> None:
        subscription.begin()
        subscription.not_before_ns = subscription.delays.fail(now_ns, at_once=at_once)
        self._wanting[subscription.product] = subscription

    def _leave(self, subscription: _Subscription, reason: str) -> None:
        self.counts[reason] += 1
        subscription.state = State.LEAVE_WANTED
        self._wanting[subscription.product] = subscription
        if subscription.product != HEARTBEAT:
            self.lost.append(subscription.product)

    # Time.

    def on_timer(self, now_ns: int) -> None:
        """Time out, retry, give up; call a few times a second."""
        if not self.up:
            return
        if now_ns - self._frame_ns > LINK_SILENT_NS:
            self.want_close = f"no frame for {(now_ns - self._frame_ns) // 1_000_000} ms"
            return
        if self._asked is not None and now_ns - self._asked_ns > ANSWER_WAIT_NS:
            self.counts["unanswered"] += 1
            asked, self._asked = self._asked, None
            self._retry(asked, now_ns)
        for product in self.products:
            subscription = self._all[product]
            if subscription.state is State.LIVE and now_ns - subscription.silent_since_ns > PRODUCT_SILENT_NS:
                self._leave(subscription, "silent")
        self._ask(now_ns)

    def _ask(self, now_ns: int) -> None:
        """Send the next request, if none is out; those that waited longest come first."""
        if not self.up or self._asked is not None or not self._wanting:
            return
        first = min(self._wanting.values(), key=lambda subscription: subscription.not_before_ns)
        if first.not_before_ns > now_ns:
            return
        del self._wanting[first.product]
        self.out.append(first.frame())
        first.state = State.ASKED if first.state is State.WANTED else State.LEAVING
        self._asked, self._asked_ns = first, now_ns
