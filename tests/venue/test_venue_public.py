"""The public machine subscribes, recovers and gives up as promised, one instrument at a time."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from cstd.errors import ConfigError, InvariantError
from cstd.venue.messages import (
    Ack,
    BookMessage,
    InstrumentSpec,
    InstrumentUpdate,
    Malformed,
    OhlcMessage,
    OhlcRow,
    RequestError,
    StatusMessage,
    TickerMessage,
    decode_public,
)
from cstd.venue.public import PublicMachine
from cstd.venue.subscriptions import TRANSITIONS, Event, State, Subscription

S = 10**9
NAMES = ("BTC/USD", "ETH/USD")


def spec(name: str, price_precision: int = 1) -> InstrumentSpec:
    """Return reference data of one pair."""
    base, quote = name.split("/")
    return InstrumentSpec(name, base, quote, "online", price_precision, 8, 1, 1, 5000, 5, Decimal("0.5"))


def frames(machine: PublicMachine) -> list[dict[str, Any]]:
    """Take out what the machine sends, decoded."""
    return [json.loads(frame) for frame in machine.take_out()]


def answer(machine: PublicMachine, request: dict[str, Any], now_ns: int) -> None:
    """Acknowledge a request, one reply per name."""
    for name in request["params"].get("symbol", [""]):
        machine.on_message(Ack(request["req_id"], request["method"], True, {"channel": request["params"]["channel"]},
                               channel=request["params"]["channel"], name=name), now_ns)


def snapshot(machine: PublicMachine, name: str, now_ns: int) -> None:
    """Deliver a book snapshot."""
    machine.on_message(BookMessage(name, True, (), (), 1, None), now_ns)


def started(names: tuple[str, ...] = NAMES) -> PublicMachine:
    """Return a machine whose requests are all acknowledged at 0 s and whose books are live."""
    machine = PublicMachine(names, 25, ohlc_intervals=(1,))
    machine.on_up(0)
    [request] = frames(machine)
    answer(machine, request, 0)
    machine.on_message(InstrumentUpdate(True, tuple(spec(name) for name in names), ()), 0)
    for request in frames(machine):
        answer(machine, request, 0)
    for name in names:
        snapshot(machine, name, 0)
        machine.on_message(TickerMessage(name, True, *[None] * 8), 0)
        machine.on_message(OhlcMessage(True, (OhlcRow(name, 1, 0, *[Decimal(1)] * 4, None, Decimal(1), 1),)), 0)
    return machine


def test_reference_data_comes_first_and_decides_what_follows() -> None:
    """Nothing but `instrument` is asked for before its snapshot; a name it does not list is shown, not subscribed."""
    machine = PublicMachine((*NAMES, "NO/SUCH"), {"BTC/USD": 25, "ETH/USD": 100, "NO/SUCH": 10}, ohlc_intervals=(1, 5))
    machine.on_up(0)
    [request] = frames(machine)
    assert request["params"] == {"channel": "instrument", "snapshot": True}
    machine.on_timer(1 * S)
    assert frames(machine) == []
    machine.on_message(InstrumentUpdate(True, tuple(spec(name) for name in (*NAMES, "XRP/USD")), ()), 1 * S)
    sent = [(r["params"]["channel"], r["params"]["symbol"], r["params"].get("depth"), r["params"].get("interval"))
            for r in frames(machine)]
    assert sent == [
        ("book", ["BTC/USD"], 25, None),
        ("trade", list(NAMES), None, None),
        ("ticker", list(NAMES), None, None),
        ("book", ["ETH/USD"], 100, None),
        ("ohlc", list(NAMES), None, 1),
    ]
    assert machine.unlisted() == ("NO/SUCH",)
    assert machine.status()["unlisted"] == ["NO/SUCH"]


def test_history_comes_last_and_a_little_at_a_time() -> None:
    """Of a hundred instruments all books come first; then two histories at once, the shortest interval of all before the next."""
    names = tuple(f"C{number:03d}/USD" for number in range(100))
    machine = PublicMachine(names, 100, ohlc_intervals=(1, 60))
    machine.on_up(0)
    [request] = frames(machine)
    answer(machine, request, 0)
    machine.on_message(InstrumentUpdate(True, tuple(spec(name) for name in names), ()), 0)
    asked: list[tuple[str, int, int]] = []
    for tick in range(1, 200):
        now_ns = tick * S // 10
        machine.on_frame_seen(now_ns)
        for request in frames(machine):
            params = request["params"]
            asked.append((params["channel"], params.get("interval", 0), len(params["symbol"])))
            answer(machine, request, now_ns)
            for name in params["symbol"]:
                machine.on_data(name, params["channel"], now_ns)
                if params["channel"] == "ohlc":
                    row = OhlcRow(name, params["interval"], 0, *[Decimal(1)] * 4, None, Decimal(1), 1)
                    machine.on_message(OhlcMessage(True, (row,)), now_ns)
        machine.on_timer(now_ns)
    assert machine.status()["not_live"] == []
    first = next(i for i, (channel, _, _) in enumerate(asked) if channel == "ohlc")
    assert {channel for channel, _, _ in asked[first:]} == {"ohlc"}
    assert [n for _, _, n in asked[:first]] == [50] * 6
    assert [interval for _, interval, _ in asked[first:]] == [1] * 50 + [60] * 50
    assert {n for _, _, n in asked[first:]} == {2}


def test_everything_acknowledged_is_live() -> None:
    """After acks and snapshots no subscription is left over."""
    machine = started()
    assert machine.status()["not_live"] == []
    assert machine.live("BTC/USD")


def test_update_without_snapshot_is_not_live() -> None:
    """A book counts as live by its snapshot only, whichever of ack and snapshot comes first."""
    machine = PublicMachine(("BTC/USD",), 10, ohlc_intervals=())
    machine.on_up(0)
    frames(machine)
    machine.on_message(InstrumentUpdate(True, (spec("BTC/USD"),), ()), 0)
    [book, *_] = frames(machine)
    machine.on_data("BTC/USD", "book", 0, snapshot=False)
    assert not machine.live("BTC/USD")
    machine.on_data("BTC/USD", "book", 0, snapshot=True)
    assert machine.live("BTC/USD")
    answer(machine, book, 0)
    assert machine.live("BTC/USD")


def test_resync_touches_one_instrument_once() -> None:
    """A resync unsubscribes and subscribes that book alone; a second call while it runs does nothing."""
    machine = started()
    assert machine.resync("BTC/USD", "checksum", 1 * S)
    assert not machine.resync("BTC/USD", "checksum", 1 * S)
    [leave] = frames(machine)
    assert leave["method"] == "unsubscribe"
    assert leave["params"] == {"channel": "book", "symbol": ["BTC/USD"], "depth": 25}
    answer(machine, leave, 1 * S)
    [join] = frames(machine)
    assert join["method"] == "subscribe"
    assert join["params"] == {"channel": "book", "symbol": ["BTC/USD"], "depth": 25, "snapshot": True}
    answer(machine, join, 1 * S)
    assert not machine.live("BTC/USD")
    assert machine.live("ETH/USD")
    snapshot(machine, "BTC/USD", 2 * S)
    assert machine.live("BTC/USD")
    assert machine.resync_counts == {"checksum": 1}


def test_resync_backs_off_per_instrument() -> None:
    """Repeated failures wait 0, 1, 2, 4 ... 60 s before subscribing; another instrument still starts at 0."""
    machine = started()
    now_ns = 0
    waits = []
    for _ in range(9):
        assert machine.resync("BTC/USD", "checksum", now_ns)
        [leave] = frames(machine)
        answer(machine, leave, now_ns)
        since_ns = now_ns
        joins = frames(machine)
        while not joins:
            now_ns += S // 4
            machine.on_frame_seen(now_ns)
            machine.on_timer(now_ns)
            joins = frames(machine)
        waits.append((now_ns - since_ns) // S)
        answer(machine, joins[0], now_ns)
        snapshot(machine, "BTC/USD", now_ns)
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    machine.resync("ETH/USD", "checksum", now_ns)
    answer(machine, frames(machine)[0], now_ns)
    assert [frame["params"]["symbol"] for frame in frames(machine)] == [["ETH/USD"]]


def test_unanswered_unsubscribe_does_not_hold_up() -> None:
    """After 2 s without a reply the book is subscribed all the same."""
    machine = started()
    machine.resync("BTC/USD", "crossed", 0)
    frames(machine)
    machine.on_timer(2 * S)
    assert [frame["method"] for frame in frames(machine)] == ["subscribe"]


def test_acknowledged_and_silent_is_taken_again() -> None:
    """An acked book without a snapshot for 10 s is left and subscribed again, and shown as silent."""
    machine = started()
    machine.resync("BTC/USD", "checksum", 0)
    answer(machine, frames(machine)[0], 0)
    answer(machine, frames(machine)[0], 0)
    machine.on_frame_seen(9 * S)
    machine.on_timer(9 * S)
    assert frames(machine) == []
    machine.on_frame_seen(10 * S)
    machine.on_timer(10 * S)
    assert [frame["method"] for frame in frames(machine)] == ["unsubscribe"]
    [shown] = machine.status()["not_live"]
    assert (shown["name"], shown["silent"], shown["state"]) == ("BTC/USD", 1, "leaving")


@pytest.mark.parametrize("named", [True, False])
def test_refused_subscription_is_seen_and_retried(named: bool) -> None:
    """A refusal leaves a visible reason and a later retry, also when it names nothing but the req_id."""
    machine = PublicMachine(("BTC/USD",), 25, ohlc_intervals=())
    machine.on_up(0)
    frames(machine)
    machine.on_message(InstrumentUpdate(True, (spec("BTC/USD"),), ()), 0)
    book = next(r for r in frames(machine) if r["params"]["channel"] == "book")
    machine.on_message(Ack(book["req_id"], "subscribe", False, error="Subscription depth not supported",
                           name="BTC/USD" if named else ""), 0)
    [shown] = [row for row in machine.status()["not_live"] if row["channel"] == "book"]
    assert (shown["state"], shown["refusal"]) == ("refused", "Subscription depth not supported")
    machine.on_timer(S - 1)
    assert frames(machine) == []
    machine.on_timer(S)
    assert [r["params"]["channel"] for r in frames(machine)] == ["book"]


# Refusals of a subscription in the venue's own words, and what each is counted as.
SUBSCRIPTION_ERRORS = {
    "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com":
        "Private data and trading are unavailable on this endpoint",
    "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com":
        "Public market data subscriptions are unavailable on this endpoint",
    "Subscription name invalid": "Subscription name invalid",
    "Subscription depth not supported": "Subscription depth not supported",
    "Subscription ohlc interval not supported": "Subscription ohlc interval not supported",
    "Currency pair not supported BTC/USD": "Currency pair not supported",
    "Symbol(s) not found": "Symbol(s) not found",
    "Unsupported field: 'depht' for the given msg type: subscribe": "Unsupported field",
    "Malformed request": "Malformed request",
}


@pytest.mark.parametrize("text", SUBSCRIPTION_ERRORS)
def test_each_refusal_of_a_subscription_touches_it_alone_and_is_asked_again_ever_later(text: str) -> None:
    """Its reason is shown, the text is counted, all else stays live on the same socket, and it goes again after 1, 2 ... 60 s."""
    machine = started()
    machine.resync("BTC/USD", "checksum", 0)
    [leaving] = frames(machine)
    answer(machine, leaving, 0)
    machine.on_timer(0)
    now_ns, waits = 0, []
    for number in range(1, 9):
        [request] = [frame for frame in frames(machine) if frame["method"] == "subscribe"]
        assert (request["params"]["channel"], request["params"]["symbol"]) == ("book", ["BTC/USD"])
        refusal = {"error": text, "method": "subscribe", "req_id": request["req_id"], "success": False}
        machine.on_message(*decode_public(json.dumps(refusal).encode()), now_ns)
        [shown] = machine.status()["not_live"]
        assert (shown["channel"], shown["name"], shown["state"], shown["refusal"]) == ("book", "BTC/USD", "refused", text)
        assert machine.errors == {SUBSCRIPTION_ERRORS[text]: number} and machine.want_close is None
        refused_ns = now_ns
        while not machine.out:
            now_ns += S
            machine.on_frame_seen(now_ns)
            machine.on_message(StatusMessage("online", ()), now_ns)
            machine.on_timer(now_ns)
        waits.append((now_ns - refused_ns) // S)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert machine.live("ETH/USD") and machine.live("BTC/USD", "ticker")


def test_a_refusal_of_the_wrong_host_without_a_req_id_is_counted_and_outlasted() -> None:
    """Recorded without one: nobody can tell what it refuses, so what is not answered is asked again."""
    machine = PublicMachine(("BTC/USD",), 25, ohlc_intervals=())
    machine.on_up(0)
    [request] = frames(machine)
    machine.on_message(StatusMessage("online", ()), 0)
    text = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"
    machine.on_message(*decode_public(json.dumps({"error": text, "method": "subscribe", "success": False}).encode()), 0)
    assert machine.status()["stray_acks"] == 1 and machine.errors == {SUBSCRIPTION_ERRORS[text]: 1}
    machine.on_frame_seen(10 * S)
    machine.on_timer(10 * S)
    [again] = frames(machine)
    assert again["params"] == request["params"] and machine.want_close is None


def test_refusal_without_a_name_is_narrowed_down() -> None:
    """When one frame asked for several names and the refusal names none, each is asked for alone."""
    machine = PublicMachine(NAMES, 25, ohlc_intervals=())
    machine.on_up(0)
    frames(machine)
    machine.on_message(InstrumentUpdate(True, tuple(map(spec, NAMES)), ()), 0)
    book = next(r for r in frames(machine) if r["params"]["channel"] == "book")
    machine.on_message(Ack(book["req_id"], "subscribe", False, error="Malformed request"), 0)
    machine.on_timer(2 * S)
    assert [r["params"]["symbol"] for r in frames(machine) if r["params"]["channel"] == "book"] == [[n] for n in NAMES]


def test_stray_acks_change_nothing() -> None:
    """A reply to nothing of ours is counted and moves no state."""
    machine = started()
    machine.on_message(Ack(99_999, "subscribe", False, error="x"), 0)
    machine.on_message(Ack(None, "subscribe", False, error="x"), 0)
    assert machine.status()["stray_acks"] == 2
    assert machine.status()["not_live"] == []


def test_exceeded_rate_pauses_requests() -> None:
    """After "Exceeded msg rate" nothing is sent for 5 s."""
    machine = started()
    machine.on_message(RequestError("Exceeded msg rate"), 0)
    machine.resync("BTC/USD", "checksum", 0)
    machine.on_timer(5 * S - 1)
    assert [frame["method"] for frame in frames(machine) if frame["method"] != "ping"] == []
    machine.on_timer(5 * S)
    assert [frame["method"] for frame in frames(machine) if frame["method"] != "ping"] == ["unsubscribe"]


def test_requests_are_paced() -> None:
    """No more than ten requests leave at once and twenty a second after."""
    names = tuple(f"A{i}/USD" for i in range(60))
    machine = PublicMachine(names, {name: (10, 25, 100, 500, 1000)[i % 5] for i, name in enumerate(names)},
                            ohlc_intervals=(1, 5, 15, 30, 60))
    machine.on_up(0)
    frames(machine)
    machine.on_message(InstrumentUpdate(True, tuple(map(spec, names)), ()), 0)
    assert len(frames(machine)) == 9
    machine.on_timer(S // 2)
    later = frames(machine)
    assert 0 < len(later) <= 10
    assert all(len(r["params"]["symbol"]) <= 50 for r in later)


def test_silence_pings_then_closes() -> None:
    """No frame for 5 s sends one ping, none for 10 s asks for a close, any frame starts over."""
    machine = started()
    machine.on_message(StatusMessage("online"), 0)
    machine.on_timer(5 * S - 1)
    assert frames(machine) == []
    assert machine.alive(3 * S)
    assert not machine.alive(3 * S + 1)
    machine.on_timer(5 * S)
    machine.on_timer(6 * S)
    assert [frame["method"] for frame in frames(machine)] == ["ping"]
    machine.on_frame_seen(7 * S)
    machine.on_timer(12 * S)
    assert [frame["method"] for frame in frames(machine)] == ["ping"]
    assert machine.want_close is None
    machine.on_timer(17 * S)
    assert machine.want_close == "no frame for 10000 ms"


def test_a_connection_without_a_status_is_given_up() -> None:
    """The venue says its state first; where that frame was lost nobody would ever know that it is online."""
    machine = started()
    machine.on_frame_seen(9 * S)
    machine.on_timer(10 * S)
    assert machine.want_close is None
    machine.on_timer(10 * S + 1)
    assert machine.want_close == "the venue has not said its state on this connection"
    machine.on_up(11 * S)
    machine.on_message(StatusMessage("online"), 12 * S)
    machine.on_frame_seen(21 * S)
    machine.on_timer(22 * S)
    assert machine.want_close is None


def test_a_new_connection_starts_from_nothing() -> None:
    """After a loss everything is asked for again, reference data first."""
    machine = started()
    machine.on_message(StatusMessage("online"), 0)
    machine.on_down(S)
    assert (machine.system, machine.live("BTC/USD"), machine.take_out()) == ("unknown", False, [])
    machine.on_timer(2 * S)
    assert machine.take_out() == []
    machine.on_up(3 * S)
    assert [frame["params"]["channel"] for frame in frames(machine)] == ["instrument"]
    machine.on_message(InstrumentUpdate(True, tuple(map(spec, NAMES)), ()), 3 * S)
    assert {frame["params"]["channel"] for frame in frames(machine)} == {"book", "trade", "ticker", "ohlc"}


def test_changed_precision_resubscribes_that_book() -> None:
    """A book held at an old precision is dropped and taken again."""
    machine = started()
    machine.on_message(InstrumentUpdate(False, (spec("BTC/USD", price_precision=2), spec("ETH/USD")), ()), 0)
    assert [frame["params"]["symbol"] for frame in frames(machine)] == [["BTC/USD"]]
    assert machine.resync_counts == {"precision": 1}


def test_malformed_book_frame_resyncs_its_instrument() -> None:
    """An unreadable book message costs its own instrument a resync and nobody else anything."""
    machine = started()
    machine.on_message(Malformed("x", "book", ("ETH/USD",)), 0)
    assert [frame["params"]["symbol"] for frame in frames(machine)] == [["ETH/USD"]]
    machine.on_message(Malformed("truncated"), 0)
    assert frames(machine) == []
    assert machine.malformed_count == 2


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Event))
def test_transitions_are_the_table(state: State, event: Event) -> None:
    """A move of the table arrives where it says; any other is an error and moves nothing."""
    subscription = Subscription("book", "A/B", {})
    subscription.state = state
    target = TRANSITIONS.get((state, event))
    if target is None:
        with pytest.raises(InvariantError):
            subscription.step(event)
        assert subscription.state is state
    else:
        subscription.step(event)
        assert subscription.state is target


@pytest.mark.parametrize("arguments", [(("A/B",), 7), (("A/B",), 0)])
def test_depth_must_be_one_of_krakens(arguments: Any) -> None:
    """A depth Kraken refuses is refused here, by name and value."""
    with pytest.raises(ConfigError, match=str(arguments[1])):
        PublicMachine(*arguments)
    with pytest.raises(ConfigError, match="interval 7"):
        PublicMachine(("A/B",), 10, ohlc_intervals=(7,))


def test_a_name_that_leaves_the_snapshot_is_dropped_and_taken_again_when_it_is_back() -> None:
    """Every channel of it is unsubscribed, answered or not, and stays off; the others go on; back, all are asked for."""
    for answered in (True, False):
        machine = started()
        machine.on_message(InstrumentUpdate(True, (spec("ETH/USD"),), ()), S)
        asked = frames(machine)
        assert [(r["method"], r["params"]["channel"], r["params"]["symbol"]) for r in asked] == [
            ("unsubscribe", channel, ["BTC/USD"]) for channel in ("book", "trade", "ticker", "ohlc")]
        if answered:
            for request in asked:
                answer(machine, request, S)
        for second in range(2, 100):
            machine.on_frame_seen(second * S)
            machine.on_timer(second * S)
            assert not machine.resync("BTC/USD", "checksum", second * S)
        assert frames(machine) == []
        assert {(s["name"], s["state"]) for s in machine.status()["not_live"]} == {("BTC/USD", "off")}
        assert machine.unlisted() == ("BTC/USD",) and machine.live("ETH/USD")
        machine.on_message(InstrumentUpdate(False, (spec("BTC/USD"),), ()), 100 * S)
        assert [(r["method"], r["params"]["channel"]) for r in frames(machine)] == [
            ("subscribe", channel) for channel in ("book", "trade", "ticker", "ohlc")]


def test_a_name_that_is_back_before_it_was_left_is_taken_again() -> None:
    """The unsubscribe is on its way: what follows it is a fresh subscription."""
    machine = started(("BTC/USD",))
    machine.on_message(InstrumentUpdate(True, (), ()), S)
    leaves = frames(machine)
    machine.on_message(InstrumentUpdate(True, (spec("BTC/USD"),), ()), S)
    assert frames(machine) == []
    for request in leaves:
        answer(machine, request, S)
    machine.on_timer(S)
    assert {(r["method"], r["params"]["channel"]) for r in frames(machine)} == {
        ("subscribe", channel) for channel in ("book", "trade", "ticker", "ohlc")}


def test_a_refused_subscription_of_a_name_that_left_is_not_tried_again() -> None:
    """The venue refuses what it does not list."""
    machine = PublicMachine(("BTC/USD",), 10, ohlc_intervals=())
    machine.on_up(0)
    frames(machine)
    machine.on_message(InstrumentUpdate(True, (spec("BTC/USD"),), ()), 0)
    for request in frames(machine):
        machine.on_message(Ack(request["req_id"], "subscribe", False, error="Currency pair not supported", name="BTC/USD"), 0)
    machine.on_message(InstrumentUpdate(True, (), ()), 0)
    for second in range(100):
        machine.on_timer(second * S)
    assert [frame for frame in frames(machine) if frame["method"] != "ping"] == []


def test_a_renewal_is_no_failure() -> None:
    """A ticker subscribed anew again and again is never made to wait, is one request each way, and touches nothing else."""
    machine = started()
    for second in range(1, 20):
        assert machine.renew("BTC/USD", "ticker", second * S)
        assert not machine.renew("BTC/USD", "ticker", second * S), "it is on its way"
        [leave] = frames(machine)
        assert (leave["method"], leave["params"]) == (
            "unsubscribe", {"channel": "ticker", "symbol": ["BTC/USD"], "event_trigger": "bbo"})
        answer(machine, leave, second * S)
        [take] = frames(machine)
        assert (take["method"], take["params"]["snapshot"]) == ("subscribe", True)
        answer(machine, take, second * S)
        assert not machine.live("BTC/USD", "ticker"), "acknowledged is not delivered"
        machine.on_message(TickerMessage("BTC/USD", True, *[None] * 8), second * S)
        assert machine.live("BTC/USD", "ticker") and machine.status()["not_live"] == []
    assert not machine.renew("NO/SUCH", "ticker", 0) and machine.resync_counts == {}
