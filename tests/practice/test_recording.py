"""Recording-driven practice: authentic bytes on the book channel, inferred fills for own orders, clear refusals."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
import zstandard
from practice_client import Client, TextBook, run
from practice_world import START_NS, build_exchange, start_practice, stop_practice

from cstd.errors import OperatorError
from cstd.practice.account import Order
from cstd.practice.exchange import Exchange
from cstd.practice.matching import BUY, SELL
from cstd.practice.public_ws import BookWindow, RawWindow
from cstd.practice.recording import Frame, RecordedFlow, RecordedMarket, load
from cstd.practice.requests import AddRequest, AmendRequest, RefusalError
from cstd.practice.wire import NS_PER_S

BTC_D25 = "kraken-v2-btcusd-d25-20260802.jsonl.zst"
BTC_D10 = "kraken-v2-btcusd-d10-20260801.jsonl.zst"
Levels = tuple[tuple[int, int], ...]


def recorded_exchange() -> tuple[Exchange, RecordedMarket]:
    """Return an exchange whose markets are recorded ones, still empty."""
    exchange = build_exchange(1, market_type=RecordedMarket)
    market = exchange.markets["BTC/USD"]
    assert isinstance(market, RecordedMarket)
    return exchange, market


def play(market: RecordedMarket, bids: Levels = (), asks: Levels = (), *, snapshot: bool = False) -> None:
    """Apply one invented frame."""
    market.apply(Frame(0, "{}", snapshot, bids, asks), 10, START_NS)


def join(exchange: Exchange, price: str, qty: str = "0.001", side: int = BUY, **fields: object) -> Order:
    """Place an own limit order."""
    instrument = exchange.instruments["BTC/USD"]
    request = AddRequest(instrument, side, "limit", qty=Decimal(qty), limit_price=Decimal(price), **fields)  # type: ignore[arg-type]
    return exchange.desk.add(request, START_NS)


@pytest.fixture
def booked() -> tuple[Exchange, RecordedMarket]:
    """BTC/USD recorded with 500,000 units at the touch on both sides and a level behind it."""
    exchange, market = recorded_exchange()
    play(market, ((600_000, 500_000), (599_990, 100)), ((600_010, 500_000), (600_020, 100)), snapshot=True)
    return exchange, market


def test_own_order_waits_behind_the_recorded_quantity(booked: tuple[Exchange, RecordedMarket]) -> None:
    """What disappears from the touch fills the queue's front first, then us, no more than disappeared."""
    exchange, market = booked
    order = join(exchange, "60000.0")
    play(market, ((600_000, 300_000),))
    assert order.filled_raw == 0
    play(market, ((600_000, 700_000),))  # newcomers stand behind us
    play(market, ((600_000, 440_000),))  # 260,000 gone: 300,000 stood ahead
    assert order.filled_raw == 0
    play(market, ((600_000, 350_000),))  # 40,000 more ahead of us, then 50,000 of ours
    assert order.filled_raw == 50_000
    play(market, ((600_000, 100_000),))
    assert order.status == "filled"
    assert [f.liquidity for f in exchange.account.fills] == ["m", "m"]


def test_own_order_fills_when_its_touch_vanishes(booked: tuple[Exchange, RecordedMarket]) -> None:
    """A touch that disappears was traded through; a deeper level that disappears was canceled."""
    exchange, market = booked
    at_touch, deeper = join(exchange, "60000.0"), join(exchange, "59999.0")
    play(market, ((599_990, 0), (599_980, 5)))
    assert (at_touch.is_open, deeper.is_open) == (True, True)
    play(market, ((600_000, 0),))
    assert at_touch.status == "filled"
    assert deeper.is_open


def test_own_order_fills_when_the_other_side_reaches_it(booked: tuple[Exchange, RecordedMarket]) -> None:
    """An own bid fills in whole when the recorded ask comes to its price."""
    exchange, market = booked
    order = join(exchange, "59999.0")
    play(market, ((600_000, 0), (599_990, 0), (599_980, 7)), ((599_990, 9),))
    assert (order.status, exchange.account.fills[0].price_raw) == ("filled", 599_990)


def test_taking_uses_up_the_recorded_level_until_it_is_mentioned_again(booked: tuple[Exchange, RecordedMarket]) -> None:
    """The same displayed quantity cannot be taken twice; the published book shows the recording unchanged."""
    exchange, market = booked
    first = join(exchange, "60001.0", "0.004", time_in_force="ioc")
    second = join(exchange, "60001.0", "0.004", time_in_force="ioc")
    assert (first.filled_raw, second.filled_raw) == (400_000, 100_000)
    assert market.published.asks.totals[600_010] == 500_000
    play(market, (), ((600_010, 500_000),))
    assert join(exchange, "60001.0", "0.004", time_in_force="ioc").filled_raw == 400_000


@pytest.mark.parametrize(
    ("stp", "old", "new"), [("cancel_newest", True, False), ("cancel_oldest", False, True), ("cancel_both", False, False)]
)
def test_self_trade_prevention_on_a_recording(booked: tuple[Exchange, RecordedMarket], stp: str, old: bool, new: bool) -> None:
    """Own orders never meet one another here either."""
    exchange, _ = booked
    resting = join(exchange, "60000.5", side=SELL)
    taker = join(exchange, "60000.5", stp=stp)
    assert (resting.is_open, taker.is_open) == (old, new)
    assert not exchange.account.fills


def test_amend_and_cancel_of_a_queued_order(booked: tuple[Exchange, RecordedMarket]) -> None:
    """Orders outside the recorded book are amended and canceled like any other."""
    exchange, market = booked
    order = join(exchange, "60000.0")
    exchange.desk.amend(order, AmendRequest(qty=Decimal("0.0005")), START_NS)
    exchange.desk.amend(order, AmendRequest(limit_price=Decimal("59999.0")), START_NS)
    assert exchange.account.available("USD") < 10_000
    exchange.desk.cancel(order, START_NS)
    play(market, ((600_000, 0), (599_990, 0)))
    assert (order.status, exchange.account.available("USD")) == ("canceled", 10_000)
    with pytest.raises(RefusalError):
        exchange.desk.find_open(order_id=order.order_id)


@pytest.mark.parametrize("name", [BTC_D25, BTC_D10])
def test_published_frames_are_the_recorded_bytes(data_dir: Path, name: str) -> None:
    """Every update at the recorded depth is the recording's own text; a narrower window is written and checks out too."""
    (recording,) = load((data_dir / "recordings" / name,))
    _, market = recorded_exchange()
    market.raw_depth = recording.depth
    flow = RecordedFlow(market, recording, start_ns=START_NS, loop=False)
    raw, narrow = RawWindow(market, recording.depth), BookWindow(market, 10)
    late = TextBook(recording.depth)
    own_text = TextBook(10)
    published: list[str] = []
    own_text.apply(narrow.snapshot(START_NS))

    def listen(*_: object) -> None:
        text = raw.update(START_NS)
        assert text is not None
        published.append(text)
        if len(published) == 100:
            late.apply(raw.snapshot(START_NS))  # someone joins here
        elif len(published) > 100:
            late.apply(text)
        mine = narrow.update(START_NS)
        if mine is not None:
            own_text.apply(mine)

    market.on_publish.append(listen)
    flow.advance(START_NS + 3600 * NS_PER_S)
    assert published == [f.text for f in recording.frames[1:]]
    assert late.checked == len(published) - 99
    assert own_text.checked > 100
    assert flow.due_ns is None


def test_a_looped_recording_starts_again_from_its_snapshot(data_dir: Path) -> None:
    """After the last frame the first snapshot follows, and the pace is kept."""
    (recording,) = load((data_dir / "recordings" / BTC_D25,))
    _, market = recorded_exchange()
    flow = RecordedFlow(market, recording, start_ns=START_NS, loop=True)
    span_ns = recording.frames[-1].offset_ns
    applied = flow.advance(START_NS + 2 * span_ns + 2 * NS_PER_S)
    assert applied >= 2 * len(recording.frames) - 1
    assert flow.due_ns is not None


def test_practice_on_a_recording_over_the_wire(data_dir: Path, tmp_path: Path) -> None:
    """A client on the socket sees matching checksums, trades on the recorded book, and truth marks the fill as inferred."""
    process, addresses = start_practice(tmp_path, "--recording", str(data_dir / "recordings" / BTC_D25), "--loop")

    async def scenario() -> int:
        async with Client(addresses) as client:
            socket = await client.socket("ws_public")
            await socket.send("subscribe", 1, channel="book", symbol=["BTC/USD"], depth=25)
            book = TextBook(25)
            while book.checked < 60:
                text = await socket.ws.receive_str(timeout=5)
                if text.startswith('{"channel":"book"'):
                    book.apply(text)
            placed = await client.private("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="0.0004")
            assert placed["error"] == []
            return book.checked

    try:
        assert run(scenario()) == 60
    finally:
        assert stop_practice(process) == 0
    fills = json.loads((tmp_path / "truth.json").read_text())["fills"]
    assert fills
    assert all(f["inferred"] is True for f in fills)


def test_unusable_recordings_are_refused_by_name(tmp_path: Path) -> None:
    """A missing file, a file that is no recording, and one without a snapshot are the operator's error, named."""
    with pytest.raises(OperatorError, match=r"nothing\.zst"):
        load((tmp_path / "nothing.zst",))
    (tmp_path / "noise.zst").write_bytes(b"noise")
    with pytest.raises(OperatorError, match=r"noise\.zst"):
        load((tmp_path / "noise.zst",))
    empty = json.dumps({"t": "header"}) + "\n"
    (tmp_path / "empty.zst").write_bytes(zstandard.ZstdCompressor().compress(empty.encode()))
    with pytest.raises(OperatorError, match=r"empty\.zst"):
        load((tmp_path / "empty.zst",))


def test_two_recordings_of_one_instrument_are_refused(data_dir: Path) -> None:
    """One instrument has one recording: two would be two books."""
    with pytest.raises(OperatorError, match="BTC/USD is in both"):
        load((data_dir / "recordings" / BTC_D25, data_dir / "recordings" / BTC_D10))
