"""Bad input never crashes the engine, is counted, lets no order out, and is over with the next good snapshot.

The strategy of these tests wants to open on every pass, so an order would go out the moment the gates let one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from engine_world import BTC, ETH, START_NS, S, World, instrument_row, practice_config, time_text
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd._fast.codes import BookFault, BookState, Link, Side

Change = Callable[[World], bytes]


def trading() -> World:
    """A ready engine that opens as soon as it may: dedupe and exposure leave room, and nothing has been sent yet.

    Orders are not answered here, which conditions would hold against the venue: they ask for nothing.
    """
    cfg = practice_config((BTC, ETH), risk={"exposure_bps_max": 10_000, "position_bps_max": 10_000, "cluster_bps_max": 10_000},
                          policy={"parents_per_instrument_hour_max": 3_600, "parents_per_minute_max": 1_000},
                          conditions={"samples_min": 1_000})
    return World(cfg, strategy="bench").ready()


def good(world: World) -> bytes:
    """A harmless update of the BTC book, at the venue and as a frame."""
    return world.books[BTC].update(world.now_ns, [(999_993, 123_456_789)])


def replaced(old: bytes, new: bytes) -> Change:
    """Replace one text of a good update."""
    def change(world: World) -> bytes:
        frame = good(world)
        assert old in frame
        return frame.replace(old, new, 1)
    return change


def reordered(world: World) -> bytes:
    """All keys in the opposite order."""
    def turn(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turn(value[key]) for key in reversed(value)}
        return [turn(item) for item in value] if isinstance(value, list) else value
    return json.dumps(turn(json.loads(good(world), parse_float=str))).encode()


def oversized(world: World) -> bytes:
    """More levels than a message can have."""
    levels = [(999_993 - n, 10**8 + n) for n in range(1500)]
    return world.books[BTC].frame("update", levels, [], world.now_ns)


def crossed(world: World) -> bytes:
    """A bid above the ask, with the checksum that belongs to it."""
    return world.books[BTC].update(world.now_ns, [(1_000_500, 100_000_000)])


def one_sided(world: World) -> bytes:
    """All asks gone, with the checksum that belongs to it."""
    return world.books[BTC].update(world.now_ns, [], [(price, 0) for price in world.books[BTC].asks])


def backwards(world: World) -> bytes:
    """A message from the past, with a good checksum."""
    return world.books[BTC].update(world.now_ns - 3600 * S, [(999_993, 7)])


QTY = b'"qty":1.23456789'
PRICE = b'"price":99999.3'
# Each takes the book away: name, change, the counter or fault that must have moved.
BLOCKING: dict[str, tuple[Change, str | BookFault]] = {
    "wrong checksum": (lambda w: w.books[BTC].frame("update", [(999_993, 5)], [], w.now_ns, checksum=1),
                       BookFault.FAULT_CHECKSUM),
    "checksum of 33 bits": (lambda w: w.books[BTC].frame("update", [], [], w.now_ns, checksum=1 << 32), "malformed"),
    "negative checksum": (lambda w: w.books[BTC].frame("update", [], [], w.now_ns, checksum=-1), "malformed"),
    "huge checksum": (lambda w: w.books[BTC].frame("update", [], [], w.now_ns, checksum=10**30), "malformed"),
    "oversized": (oversized, BookFault.FAULT_MALFORMED),
    "crossed with a good checksum": (crossed, BookFault.FAULT_CROSSED),
    "one-sided with a good checksum": (one_sided, BookFault.FAULT_EMPTY_SIDE),
    "from the past": (backwards, BookFault.FAULT_TIME_BACKWARDS),
    "excess digits": (replaced(QTY, b'"qty":1.234567891'), BookFault.FAULT_EXCESS_DIGITS),
    "excess digits as text": (replaced(QTY, b'"qty":"1.234567891"'), BookFault.FAULT_EXCESS_DIGITS),
    "excess digits by an exponent": (replaced(QTY, b'"qty":1e-9'), BookFault.FAULT_EXCESS_DIGITS),
    "more than an int64": (replaced(QTY, b'"qty":123456789012345678901234'), BookFault.FAULT_EXCESS_DIGITS),
    "a negative quantity": (replaced(QTY, b'"qty":-1.23456789'), "malformed"),
    "an exponent without end": (replaced(QTY, b'"qty":1e999999999'), "malformed"),
    "no number at all": (replaced(QTY, b'"qty":"many"'), "malformed"),
    "null": (replaced(QTY, b'"qty":null'), "malformed"),
    "levels that are no objects": (replaced(b'[{"price"', b'[7,{"price"'), "malformed"),
    "a time that is none": (lambda w: good(w)[:-9] + b'soon"}]}', "malformed"),
    "no checksum": (lambda w: good(w).replace(b'"checksum":', b'"sum":'), BookFault.FAULT_NO_CHECKSUM),
}
# Each means the same as the good frame: the tolerant path must read it, and the book stays verified.
EQUIVALENT: dict[str, Change] = {
    "reordered keys": reordered,
    "numbers as strings": replaced(QTY, b'"qty":"1.23456789"'),
    "a price as a string": replaced(PRICE, b'"price":"99999.3"'),
    "exponents": replaced(QTY, b'"qty":123456789e-8'),
    "a positive exponent": replaced(PRICE, b'"price":9.99993E+4'),
    "an unknown field": replaced(b'"data":[{', b'"data":[{"flags":[1,{"a":null}],'),
    "an unknown field outside": replaced(b'{"channel"', b'{"seq":12345678901234567890123,"channel"'),
    "spaces": lambda w: json.dumps(json.loads(good(w), parse_float=str), indent=2).encode(),
}
# Each is nothing to an instrument: the book stays as it is.
HARMLESS: dict[str, bytes] = {
    "not JSON": b"<html>502 Bad Gateway</html>",
    "empty": b"",
    "not UTF-8": b'{"channel":"book\xff\xfe"}',
    "NUL bytes": b"\x00" * 64,
    "a number": b"7",
    "a list": b"[1,2,3]",
    "deep nesting": b"[" * 5000 + b"]" * 5000,
    "an unknown channel": b'{"channel":"level9","type":"update","data":[{"symbol":"BTC/USD"}]}',
    "an unknown type": b'{"channel":"book","type":"delta","data":[{"symbol":"BTC/USD"}]}',
    "an unknown method": b'{"method":"dance","success":true}',
    "an unknown symbol": b'{"channel":"book","type":"update","data":[{"symbol":"XYZ/USD","bids":[],"asks":[],"checksum":1,'
                         b'"timestamp":"2026-08-02T03:35:51.000000Z"}]}',
    "a trade of an unknown symbol": b'{"channel":"trade","type":"update","data":[{"symbol":"XYZ/USD","side":"buy","price":1,'
                                    b'"qty":1,"ord_type":"limit","trade_id":1,"timestamp":"2026-08-02T03:35:51.000000Z"}]}',
    "a huge trade": b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":1e30,"qty":1e30,'
                    b'"ord_type":"limit","trade_id":7,"timestamp":"2026-08-02T03:35:51.000000Z"}]}',
    "a huge trade id": b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":1,"qty":1,'
                       b'"ord_type":"limit","trade_id":1e25,"timestamp":"2026-08-02T03:35:51.000000Z"}]}',
    "an unknown side": b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"borrow","price":1,"qty":1,'
                       b'"ord_type":"auction","trade_id":101,"timestamp":"2026-08-02T03:35:51.000000Z"}]}',
    "a huge ticker": b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":1e35,"bid_qty":1e35,"ask":1e36,'
                     b'"ask_qty":1}]}',
    "a negative ticker": b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":-1e35,"bid_qty":-1,'
                         b'"ask":"-3","ask_qty":1}]}',
    "huge candles": b'{"channel":"ohlc","type":"snapshot","data":[{"symbol":"BTC/USD","open":1e30,"high":1e30,"low":1e30,'
                    b'"close":1e30,"vwap":1e30,"trades":1e30,"volume":1e30,"interval":1,'
                    b'"interval_begin":"2026-08-02T03:35:00.000000Z"}]}',
    "a negative candle": b'{"channel":"ohlc","type":"snapshot","data":[{"symbol":"BTC/USD","open":1,"high":1,"low":1,'
                         b'"close":1,"vwap":-1e30,"trades":-5,"volume":1,"interval":1,'
                         b'"interval_begin":"2026-08-02T03:35:00.000000Z"}]}',
}


def orders_while_unverified(world: World, frame: bytes) -> int:
    """Orders that left between a bad frame and the end of its read."""
    before = world.counters()["orders"]
    world.answering = False
    world.public(frame)
    world.answering = True
    return world.counters()["orders"] - before


@pytest.mark.parametrize("kind", BLOCKING)
def test_bad_book_input_blocks_its_instrument_until_a_good_snapshot(kind: str) -> None:
    """The book is unverified at once, the reason is counted, no order goes out, and the resync's snapshot heals it."""
    change, counted = BLOCKING[kind]
    world = trading()
    world.tick()
    assert world.counters()["orders"] > 0, "an order would have gone out"
    healthy = sorted(world.books[BTC].bids.items()), sorted(world.books[BTC].asks.items())
    frame = change(world)
    before, faults = world.counters(), world.faults()
    assert orders_while_unverified(world, frame) == 0
    world.sound()
    assert not world.verified() and world.verified(1)
    after = world.counters()
    if isinstance(counted, BookFault):
        assert world.faults()[counted] == faults[counted] + 1
    else:
        assert after[counted] == before[counted] + 1
        assert world.faults()[BookFault.FAULT_MALFORMED] == faults[BookFault.FAULT_MALFORMED] + 1
    assert after["checksums_ok"] == before["checksums_ok"] + (counted in (
        BookFault.FAULT_CROSSED, BookFault.FAULT_EMPTY_SIDE, BookFault.FAULT_TIME_BACKWARDS))
    world.books[BTC].bids, world.books[BTC].asks = dict(healthy[0]), dict(healthy[1])
    recovers(world)


@pytest.mark.parametrize("begins", ["update", "snapshot", "digits"])
def test_right_checksums_after_what_is_wrong_open_nothing_in_the_same_read(begins: str) -> None:
    """The read goes on before a resync can leave: nothing is decided on that book until a snapshot that verifies."""
    world = trading()
    if begins == "digits":
        wrong = world.books[BTC].frame("update", [(999_993, 5)], [], world.now_ns)
        wrong = wrong.replace(b'"qty":0.00000005', b'"qty":0.000000051')
    else:
        wrong = good(world) if begins == "update" else world.books[BTC].snapshot(world.now_ns)
        wrong = re.sub(rb'"checksum":\d+', b'"checksum":1', wrong)
    before = world.counters()
    world.answering = False
    world.public(wrong, wrong, world.books[BTC].update(world.now_ns, [(999_992, 7)]))
    assert not world.verified() and world.slot.book.fault in (BookFault.FAULT_GAP, BookFault.FAULT_CHECKSUM)
    after = world.counters()
    assert after["orders"] == before["orders"] and after["checksums_ok"] == before["checksums_ok"] + 1
    world.answering = True
    recovers(world)


def recovers(world: World) -> None:
    """A good snapshot brings the book back, exactly, and orders go out again."""
    world.pump()
    world.run(3)
    if not world.verified():
        world.public(world.books[BTC].snapshot(world.now_ns))
    assert world.verified()
    book = world.slot.book
    assert [level[:2] for level in book.levels(Side.BUY, 100)] == sorted(world.books[BTC].bids.items(), reverse=True)
    assert [level[:2] for level in book.levels(Side.SELL, 100)] == sorted(world.books[BTC].asks.items())
    assert opens_again(world)
    world.sound()


def opens_again(world: World) -> bool:
    """Whether a further order goes out within some seconds once the orders before are forgotten."""
    for order in world.live():
        world.report("canceled", order, order_id=f"O{order['req_id']}", reason="test")
    before = world.counters()["orders"]
    for _ in range(12):
        world.step()
        world.tick()
    return world.counters()["orders"] > before


@pytest.mark.parametrize("kind", EQUIVALENT)
def test_unusual_spellings_of_a_good_update_are_applied(kind: str) -> None:
    """Other order of keys, numbers as text, exponents, unknown fields: the book is the right one, and still verified."""
    world = trading()
    frame = EQUIVALENT[kind](world)
    before = world.counters()
    world.public(frame)
    after = world.counters()
    assert after["slow_frames"] == before["slow_frames"] + 1
    assert after["checksums_ok"] == before["checksums_ok"] + 1
    assert (after["malformed"], after["resyncs"]) == (before["malformed"], before["resyncs"])
    assert world.verified()
    assert (999_993, 123_456_789, 0) in world.slot.book.levels(Side.BUY, 3)
    world.sound()


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_concerns_no_book_leaves_every_book_alone(kind: str) -> None:
    """Frames that are no message, or of no instrument of ours, are counted and change nothing."""
    world = trading()
    before = world.counters()
    levels = world.slot.book.levels(Side.BUY, 100)
    tape = world.core.tape_rows(10)
    world.public(HARMLESS[kind])
    world.sound()
    after = world.counters()
    assert after["slow_frames"] == before["slow_frames"] + 1
    assert world.verified() and world.verified(1)
    assert world.slot.book.levels(Side.BUY, 100) == levels
    assert world.core.tape_rows(10) == tape
    assert after["trades"] == before["trades"]
    unknown = world.engine.public.unknown_count + world.engine.public.malformed_count + world.engine.feed.unknown_name_count
    assert after["malformed"] - before["malformed"] + unknown + after["unknown_instrument"] > 0 \
        or kind in ("an unknown method",)
    recovers(world)


def test_every_truncation_of_an_update_is_counted_and_over_with_the_next_snapshot() -> None:
    """An update cut after any byte is malformed, changes no level, lets no order out, and the next snapshot heals."""
    world = trading()
    frame = good(world)
    for n in range(1, len(frame), 7):
        before = world.counters()["malformed"]
        orders = world.counters()["orders"]
        levels = world.slot.book.levels(Side.BUY, 100)
        world.core.frame(Link.LINK_PUBLIC, frame[:n], world.mono_ns, world.now_ns)
        assert world.counters()["malformed"] == before + 1
        assert (world.slot.book.levels(Side.BUY, 100), world.counters()["orders"]) == (levels, orders)
    world.sound()
    # The update itself was lost: the next one must not verify, and then the snapshot must.
    follow = world.books[BTC].update(world.now_ns, [(999_986, 7)])
    assert orders_while_unverified(world, follow) == 0
    assert not world.verified()
    recovers(world)


def test_updates_in_the_wrong_order_are_noticed() -> None:
    """Two updates swapped: the one that comes too early has the checksum of a book that is not there yet."""
    world = trading()
    first = world.books[BTC].update(world.now_ns, [(999_993, 111)])
    second = world.books[BTC].update(world.now_ns, [(999_986, 222)])
    before = world.counters()["checksums_bad"]
    world.answering = False
    orders = world.counters()["orders"]
    world.core.frame(Link.LINK_PUBLIC, second, world.mono_ns, world.now_ns)
    world.public(first)
    world.answering = True
    assert world.counters()["checksums_bad"] == before + 2
    assert (world.verified(), world.counters()["orders"]) == (False, orders)
    recovers(world)


def test_a_frame_of_ten_megabytes_is_survived() -> None:
    """An absurdly large frame is refused undecoded; its link is given up, which costs no order and no crash."""
    world = trading()
    levels = b",".join([b'{"price":1.0,"qty":0.00000001}'] * 330_000)
    frame = b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[' + levels + (
        b'],"asks":[],"checksum":1,"timestamp":"%s"}]}' % time_text(world.now_ns).encode())
    assert orders_while_unverified(world, frame) == 0
    world.sound()
    assert world.counters()["flooded_frames"] == 1
    assert [link for link, _ in world.engine.close_links] == [Link.LINK_PUBLIC]
    world.link(Link.LINK_PUBLIC, up=False, reason="closed by us")
    world.link(Link.LINK_PUBLIC, up=True)
    recovers(world)


@pytest.mark.parametrize("changes", [
    {"price_precision": 17}, {"qty_precision": 99}, {"qty_precision": None}, {"price_increment": 0}, {"price_increment": "-1"},
    {"price_increment": 1e40}, {"qty_min": "9e30"}, {"cost_min": "0.000000000001"}, {"cost_min": 1e39},
    {"qty_increment": "NaN"}, {"price_precision": 15, "qty_precision": 16}, {"qty_min": -1}, {"base": None},
    {"qty_increment": 1e-12},
], ids=str)
def test_trading_rules_that_make_no_sense_block_the_instrument(changes: dict[str, Any]) -> None:
    """An instrument message that cannot be meant takes the instrument out, alone, and a good one brings it back."""
    world = trading()
    row = {key: value for key, value in instrument_row(BTC, **changes).items() if value is not None}
    before = world.counters()["orders"]
    world.answering = False
    world.public(instrument_frame(row))
    world.sound()
    world.public(world.books[BTC].update(world.now_ns, [(999_993, 5)]))
    world.answering = True
    assert world.counters()["orders"] == before
    assert not world.slot.configured
    assert world.verified(1)
    world.public(instrument_frame(instrument_row(BTC)))
    recovers(world)


def instrument_frame(*rows: dict[str, Any]) -> bytes:
    """An update of the instrument channel."""
    return json.dumps({"channel": "instrument", "type": "update", "data": {"assets": [], "pairs": list(rows)}}).encode()


@pytest.mark.parametrize("status", ["cancel_only", "delisted", "limit_only", "maintenance", "post_only", "reduce_only",
                                    "work_in_progress", "a_new_word"])
def test_an_instrument_that_is_not_online_gets_no_order(status: str) -> None:
    """Any status word but `online`, known or new, holds openings of that instrument back; `online` frees them."""
    world = trading()
    world.public(instrument_frame(instrument_row(BTC, status=status)))
    before = len([frame for frame in world.order_frames() if b"BTC/USD" in frame])
    for _ in range(8):
        world.tick()
    assert len([frame for frame in world.order_frames() if b"BTC/USD" in frame]) == before
    world.public(instrument_frame(instrument_row(BTC)))
    assert opens_again(world)


@pytest.mark.parametrize("system", ["maintenance", "cancel_only", "post_only", "a_new_word"])
def test_a_venue_that_is_not_online_gets_no_order(system: str) -> None:
    """Any system word but `online`, known or new, holds every opening back; `online` frees them."""
    world = trading()
    status = b'{"channel":"status","type":"update","data":[{"system":"%s","api_version":"v2","connection_id":1}]}'
    world.public(status % system.encode())
    before = world.counters()["orders"]
    for _ in range(8):
        world.tick()
        world.step()
    assert world.counters()["orders"] == before
    world.public(status % b"online")
    assert opens_again(world)


def test_a_change_of_precision_rescales_what_is_held() -> None:
    """New digits of an instrument drop its book, keep its position's value, and trade on after the new snapshot."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    equity = world.engine.nav.nav
    world.answering = False
    world.public(instrument_frame(instrument_row(BTC, price_precision=2, price_increment="0.01")))
    world.sound()
    assert world.slot.book.state == BookState.BOOK_EMPTY
    world.step()
    assert world.engine.nav.nav == equity
    assert world.engine.risk.levels.code == 0
    world.sound()


EXECUTIONS = {
    "a long order id": {"order_id": "O" * 200},
    "an empty order id": {"order_id": ""},
    "an exotic order id": {"order_id": "Öüß€"},
    "a huge quantity": {"exec_type": "trade", "exec_id": "X1", "last_qty": 1e38, "last_price": 1, "fees": []},
    "too many digits": {"exec_type": "trade", "exec_id": "X2", "last_qty": "0.0000000000001", "last_price": 1, "fees": []},
    "a negative quantity": {"exec_type": "trade", "exec_id": "X3", "last_qty": -1, "last_price": 1, "fees": []},
    "a price of zero": {"exec_type": "trade", "exec_id": "X4", "last_qty": "0.00001", "last_price": 0, "cost": 0, "fees": []},
    "no quantity": {"exec_type": "trade", "exec_id": "X5"},
    "an unknown kind": {"exec_type": "reversed"},
    "a cumulative quantity from nowhere": {"exec_type": "new", "cum_qty": 1e30},
}


@pytest.mark.parametrize("kind", EXECUTIONS)
def test_bad_execution_reports_never_crash(kind: str) -> None:
    """A report of a live order with senseless fields books nothing senseless and leaves the engine sound."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    fields = {"exec_type": "new", **EXECUTIONS[kind]}
    world.report(fields.pop("exec_type"), order, fields.pop("order_id", "OAAAAA-BBBBB-CCCCCC"), **fields)
    world.sound()
    world.run(2)
    world.sound()
    assert 0 <= world.engine.ledger.positions[0].qty_raw <= order["qty_raw"]


@settings(max_examples=40)
@given(seed=st.binary(min_size=1, max_size=60), cut=st.integers(0, 200), at=st.integers(0, 200))
def test_random_bytes_on_both_sockets_never_crash(seed: bytes, cut: int, at: int) -> None:
    """Any bytes, alone or inside a good frame, on either socket: the engine stays sound."""
    frame = SHARED.books[BTC].snapshot(SHARED.now_ns)
    for link in (Link.LINK_PUBLIC, Link.LINK_PRIVATE):
        SHARED.core.frame(link, seed, SHARED.mono_ns, SHARED.now_ns)
        SHARED.core.frame(link, frame[:at] + seed + frame[at + cut:], SHARED.mono_ns, SHARED.now_ns)
        SHARED.core.batch_end(link, SHARED.mono_ns, SHARED.now_ns)
    SHARED.pump()
    SHARED.sound()


SHARED = World().ready()
assert SHARED.now_ns > START_NS
