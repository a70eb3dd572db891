"""The futures socket's machine and decoder, by the protocol's own samples."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from cstd.venue.control import is_control, is_futures_control
from cstd.venue.futures import LINK_SILENT_NS, PRODUCT_SILENT_NS, FuturesMachine
from cstd.venue.futures_messages import (
    Answer,
    FuturesHeartbeat,
    FuturesTicker,
    Greeting,
    Refusal,
    decode_futures,
)
from cstd.venue.messages import Malformed, Unknown

S = 1_000_000_000
BTC, ETH = "PF_XBTUSD", "PF_ETHUSD"
# Of the futures reference, byte for byte: recorded in September 2026.
TICKER = (
    b'{"time":1790359997224,"product_id":"PF_XBTUSD","funding_rate":0.912482213835,"funding_rate_prediction":1.3232500286425,'
    b'"relative_funding_rate":0.00001089345,"relative_funding_rate_prediction":0.00001575425,"next_funding_rate_time":1790362800000,'
    b'"leverage":"100x","premium":0.0,"feed":"ticker","bid":84001.0,"ask":84002.0,"bid_size":0.0273,"ask_size":0.006,'
    b'"volume":4237.2723,"dtm":0,"index":83995.76,"last":83997.0,"change":-0.22,"suspended":false,"tag":"perpetual",'
    b'"pair":"XBT:USD","openInterest":2189.7813,"markPrice":84004.11362574516,"maturityTime":0,"post_only":false,'
    b'"volumeQuote":356641614.007}')


def ticker(product: str = BTC, time_ms: int = 1, **fields: Any) -> bytes:
    """A ticker of a product; None leaves a field out."""
    row = json.loads(TICKER) | {"product_id": product, "time": time_ms} | fields
    return json.dumps({name: value for name, value in row.items() if value is not None}).encode()


class Socket:
    """A machine, and what it has asked for."""

    def __init__(self, *products: str) -> None:
        self.machine = FuturesMachine(products)
        self.now_ns = S
        self.time_ms = 0
        self.machine.on_up(self.now_ns)

    def asked(self) -> list[str]:
        """What it asks for since the last call, in short."""
        frames = self.machine.take_out()
        assert all(is_futures_control(frame) for frame in frames)
        rows = [json.loads(frame) for frame in frames]
        return [" ".join([row["event"], *row.get("product_ids", [row["feed"]])]) for row in rows]

    def hear(self, frame: bytes) -> FuturesTicker | None:
        """One frame comes."""
        self.machine.on_frame_seen(self.now_ns)
        return self.machine.on_message(decode_futures(frame), self.now_ns)

    def answer(self, event: str, product: str = "") -> None:
        """The venue takes a request."""
        told = {"feed": "ticker", "product_ids": [product]} if product else {"feed": "heartbeat"}
        self.hear(json.dumps({"event": event, **told}).encode())

    def tell(self, product: str = BTC, **fields: Any) -> FuturesTicker | None:
        """A ticker a millisecond after the one before."""
        self.time_ms += 1
        return self.hear(ticker(product, **{"time_ms": self.time_ms, **fields}))

    def wait(self, ns: int) -> list[str]:
        """Time passes with a timer at its end; returns what is asked for then."""
        self.now_ns += ns
        self.machine.on_timer(self.now_ns)
        return self.asked()

    def settle(self) -> Socket:
        """Every subscription is answered and heard."""
        for request in iter(lambda: self.asked(), []):
            event, name = request[0].split()
            self.answer(event + "d", "" if name == "heartbeat" else name)
            if name != "heartbeat":
                self.tell(name)
        return self


@pytest.mark.parametrize(("frame", "message"), [
    (b'{"event":"info","version":1}', Greeting(1)),
    (b'{"event":"subscribed","feed":"ticker","product_ids":["PF_XBTUSD"]}', Answer(True, "ticker", (BTC,))),
    (b'{"event":"unsubscribed","feed":"heartbeat"}', Answer(False, "heartbeat", ())),
    (b'{"event":"error","message":"Invalid product id"}', Refusal("Invalid product id")),
    (b'{"event":"alert","message":"Couldn\'t subscribe to invalid feed"}', Refusal("Couldn't subscribe to invalid feed")),
    (b'{"event":"subscribed_failed","feed":"ticker"}', Refusal("subscribed_failed")),
    (b'{"feed":"heartbeat","time":1534262350627}', FuturesHeartbeat()),
    (TICKER, FuturesTicker(BTC, "XBT:USD", 1_790_359_997_224, Decimal("83995.76"), Decimal("84004.11362574516"),
                           Decimal("0.00001089345"), Decimal("2189.7813"), None)),
    (b'{"feed":"ticker_lite","product_id":"PF_XBTUSD"}', Unknown("feed ticker_lite", "ticker_lite")),
    (b'{"event":"challenge","message":"x"}', Unknown("event challenge")),
])
def test_the_protocols_samples_are_read(frame: bytes, message: object) -> None:
    """Each sample of the reference is the message that it is, with all of its digits."""
    assert decode_futures(frame) == message


@pytest.mark.parametrize(("change", "names"), [
    ({"index": "NaN"}, (BTC,)), ({"index": "many"}, (BTC,)), ({"time": None}, (BTC,)), ({"time": 1.5}, (BTC,)),
    ({"product_id": None}, ()), ({"markPrice": True}, (BTC,)), ({"openInterest": [1]}, (BTC,)),
])
def test_what_cannot_be_read_is_malformed_and_names_its_product(change: dict[str, Any], names: tuple[str, ...]) -> None:
    """A ticker with a field that is none is no ticker, and says of which product."""
    message = decode_futures(ticker(**change) if "time" not in change else ticker(time_ms=change["time"]))
    assert isinstance(message, Malformed) and message.names == names
    for broken in (b"", b"{", b"[]", b"\xff", b'{"feed":1}', b'{"index":NaN,"feed":"ticker"}', b"[" * 10_000):
        assert isinstance(decode_futures(broken), Malformed)


def test_a_rate_that_the_venue_omits_is_zero_and_an_index_that_it_omits_is_none() -> None:
    """Zero rates are left out by the venue; prices are not, so that one that is not there is not known."""
    message = decode_futures(ticker(relative_funding_rate=None, index=None))
    assert isinstance(message, FuturesTicker) and message.funding == 0 and message.index is None


def test_one_request_is_out_at_a_time_so_that_a_refusal_says_what_it_refuses() -> None:
    """The next subscription waits for the answer to the one before; a refused one is tried again later, the others are not."""
    socket = Socket(BTC, ETH)
    assert socket.asked() == ["subscribe heartbeat"]
    assert socket.wait(S) == []
    socket.answer("subscribed")
    assert socket.asked() == [f"subscribe {BTC}"]
    socket.hear(b'{"event":"error","message":"Invalid product id"}')
    assert socket.asked() == [f"subscribe {ETH}"]
    assert socket.machine.refusals == {BTC: "Invalid product id"}
    socket.answer("subscribed", ETH)
    assert socket.wait(S - 1) == [] and socket.wait(1) == [f"subscribe {BTC}"]
    socket.hear(b'{"event":"error","message":"Invalid product id"}')
    assert socket.wait(S) == [] and socket.wait(S) == [f"subscribe {BTC}"]
    socket.answer("subscribed", BTC)
    assert socket.tell(BTC) is not None and socket.machine.live(BTC) and not socket.machine.refusals


def test_data_may_come_before_its_acknowledgement() -> None:
    """A ticker answers its own request; one that was not asked for says nothing."""
    socket = Socket(BTC)
    assert socket.tell(BTC) is None and socket.tell(ETH) is None
    socket.answer("subscribed")
    assert socket.tell(BTC) is not None and socket.machine.live(BTC)
    socket.answer("subscribed", BTC)
    assert socket.machine.counts["unasked"] == 2 and socket.machine.live(BTC)


def test_a_jump_of_a_sequence_number_leaves_the_product_and_takes_it_anew() -> None:
    """Where a message carries `seq`, one that does not follow is no state to go by, nor is what follows it."""
    socket = Socket(BTC, ETH).settle()
    assert socket.tell(BTC, seq=7) is not None and socket.tell(BTC, seq=8) is not None
    socket.machine.lost.clear()
    assert socket.tell(BTC, seq=10) is None
    assert socket.machine.lost == [BTC] and not socket.machine.live(BTC) and socket.machine.live(ETH)
    assert socket.asked() == [f"unsubscribe {BTC}"]
    assert socket.tell(BTC, seq=11) is None
    socket.answer("unsubscribed", BTC)
    assert socket.asked() == [f"subscribe {BTC}"]
    socket.answer("subscribed", BTC)
    assert socket.tell(BTC, seq=40) is not None and socket.machine.counts["gap"] == 1


def test_a_second_gap_waits_longer() -> None:
    """A feed that jumps at every message is not asked without a pause."""
    socket = Socket(BTC).settle()
    for pause_s in (0, 1, 2):
        socket.tell(BTC, seq=1)
        socket.tell(BTC, seq=3)
        assert socket.asked() == [f"unsubscribe {BTC}"]
        socket.answer("unsubscribed", BTC)
        found = socket.asked() if pause_s == 0 else [*socket.asked(), *socket.wait(pause_s * S - 1), *socket.wait(1)]
        assert found == [f"subscribe {BTC}"]
        socket.answer("subscribed", BTC)


@pytest.mark.parametrize(("step_ms", "counted"), [(0, "repeated"), (-1, "backwards")])
def test_a_ticker_that_is_not_newer_says_nothing(step_ms: int, counted: str) -> None:
    """The venue's own time tells a repeated ticker and one that was overtaken; neither keeps a price alive."""
    socket = Socket(BTC).settle()
    assert socket.tell(BTC, time_ms=500) is not None
    assert socket.tell(BTC, time_ms=500 + step_ms) is None
    assert socket.machine.counts[counted] == 1
    socket.now_ns += PRODUCT_SILENT_NS
    socket.tell(BTC, time_ms=500 + step_ms)
    assert socket.wait(1) == [f"unsubscribe {BTC}"]


def test_a_product_that_falls_silent_is_taken_anew_while_the_others_go_on() -> None:
    """Ten seconds without news of a product whose subscription was acknowledged is a fault of that product."""
    socket = Socket(BTC, ETH).settle()
    socket.machine.lost.clear()
    for _ in range(10):
        assert socket.wait(S) == []
        socket.tell(ETH)
    assert socket.wait(1) == [f"unsubscribe {BTC}"] and socket.machine.lost == [BTC]
    assert socket.wait(10 * S + 1)[:1] in ([f"subscribe {BTC}"], [f"unsubscribe {ETH}"])  # unanswered: taken for left
    assert socket.machine.counts["silent"] >= 1 and socket.machine.counts["unanswered"] == 1


def test_a_price_that_stands_still_is_not_made_new_by_asking_anew() -> None:
    """Left and taken anew, or on another connection: the same time again tells nothing, until a newer one comes."""
    socket = Socket(BTC).settle()
    frozen = socket.time_ms
    for again in ("subscription", "connection"):
        if again == "subscription":
            assert socket.wait(PRODUCT_SILENT_NS + 1) == [f"unsubscribe {BTC}"]
            socket.answer("unsubscribed", BTC)
            assert socket.asked() == [f"subscribe {BTC}"]
            socket.answer("subscribed", BTC)
        else:
            socket.machine.on_down(socket.now_ns)
            socket.machine.on_up(socket.now_ns)
            for name in (socket.asked()[0].split()[1], *[word.split()[1] for word in socket.asked()]):
                socket.answer("subscribed", "" if name == "heartbeat" else name)
        assert socket.tell(BTC, time_ms=frozen) is None and socket.machine.counts["repeated"] >= 1
    assert socket.tell(BTC, time_ms=frozen + 1) is not None


def test_a_late_answer_to_what_is_not_asked_any_more_leaves_the_question_open() -> None:
    """A ticker came before its acknowledgement, then a gap: what is being left is timed out, not forgotten."""
    socket = Socket(BTC)
    socket.asked()
    socket.answer("subscribed")
    assert socket.asked() == [f"subscribe {BTC}"]
    socket.tell(BTC, seq=1)
    assert socket.tell(BTC, seq=9) is None and socket.asked() == [f"unsubscribe {BTC}"]
    socket.answer("subscribed", BTC)  # of before
    assert socket.wait(10 * S + 1) == [f"subscribe {BTC}"]


def test_a_request_without_an_answer_is_made_again() -> None:
    """Ten seconds are enough for an answer; then the request is out no longer."""
    socket = Socket(BTC)
    assert socket.asked() == ["subscribe heartbeat"]
    assert socket.wait(10 * S) == [] and socket.wait(1) == [f"subscribe {BTC}"]
    socket.answer("subscribed", BTC)
    assert socket.asked() == ["subscribe heartbeat"]


def test_a_silent_connection_is_given_up() -> None:
    """Half a minute without any frame: the connection is gone, whatever the kernel says."""
    socket = Socket(BTC).settle()
    socket.wait(LINK_SILENT_NS)
    assert socket.machine.want_close is None
    socket.hear(b'{"feed":"heartbeat","time":1534262350627}')
    socket.wait(LINK_SILENT_NS)
    assert socket.machine.want_close is None
    socket.wait(1)
    assert socket.machine.want_close == "no frame for 30000 ms"


def test_nothing_holds_beyond_its_connection() -> None:
    """Every product is lost when the connection goes, and asked for anew on the next one."""
    socket = Socket(BTC, ETH).settle()
    socket.time_ms = 100
    assert socket.tell(BTC) is not None and socket.tell(ETH) is not None
    socket.machine.lost.clear()
    socket.machine.on_down(socket.now_ns)
    assert socket.machine.lost == [BTC, ETH] and not socket.machine.up and socket.wait(60 * S) == []
    socket.machine.on_up(socket.now_ns)
    assert socket.asked() == ["subscribe heartbeat"] and not socket.machine.live(BTC)
    socket.answer("subscribed")
    socket.time_ms = 50  # a venue whose clock was set back is believed on a new connection
    socket.settle()
    assert socket.machine.live(BTC) and socket.machine.live(ETH)


@pytest.mark.parametrize(("frame", "passes"), [
    (b'{"event":"subscribe","feed":"ticker","product_ids":["PF_XBTUSD"]}', True),
    (b'{"event":"unsubscribe","feed":"heartbeat"}', True),
    (b'{"event":"subscribe","feed":"fills","api_key":"k"}', False),
    (b'{"event":"subscribe","feed":"fills"}', False),
    (b'{"event":"challenge","api_key":"k"}', False),
    (b'{"event":"subscribe","event":"challenge","feed":"ticker"}', False),
    (b'{"event":"subscribe","feed":"ticker","product_ids":"PF_XBTUSD"}', False),
    (b'{"method":"add_order","params":{}}', False),
    (b"[]", False),
    (b"\xff", False),
])
def test_nothing_leaves_the_futures_socket_but_subscriptions_of_two_feeds(frame: bytes, passes: bool) -> None:
    """The closed list of that socket; and none of it passes on the others."""
    assert is_futures_control(frame) is passes
    assert not is_control(frame)
