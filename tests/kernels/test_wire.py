"""The scanner says what a slow, exact decoder says, or hands the frame over; it never guesses and never crashes."""

from __future__ import annotations

import datetime as dt
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import oracle_book as oracle
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cstd._fast.codes import ScanStatus, Side
from cstd._fast.wire import Scanner, time_ns
from cstd.venue.messages import BookMessage, TickerMessage, TradeMessage, decode_public

NAMES = ("BTC/USD", "ETH/USD", "XRP/USD")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
BOOK = (b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":45283.5,"qty":0.10000000}],'
        b'"asks":[{"price":45285.2,"qty":0.00100000}],"checksum":3310070434,"timestamp":"2023-10-06T17:35:55.440295Z"}]}')
TRADE = (b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":45285.2,"qty":0.25000000,'
         b'"ord_type":"market","trade_id":4665846,"timestamp":"2023-09-25T07:48:36.925533Z"},{"symbol":"BTC/USD",'
         b'"side":"sell","price":45285.1,"qty":1.5,"ord_type":"limit","trade_id":4665847,'
         b'"timestamp":"2023-09-25T07:49:36.925603Z"}]}')
TICKER = (b'{"channel":"ticker","type":"snapshot","data":[{"symbol":"ETH/USD","bid":0.10,"bid_qty":740.0,"ask":0.11,'
          b'"ask_qty":740.00000001,"last":0.11,"volume":997038.98383185,"vwap":0.10,"low":0.09,"high":0.11,'
          b'"change":-0.01,"change_pct":-7.95,"timestamp":"2023-09-25T09:04:31.742648Z"}]}')
HEARTBEAT = b'{"channel":"heartbeat"}'
EXAMPLES = (BOOK, TRADE, TICKER, HEARTBEAT)


def scanner() -> Scanner:
    """A scanner that knows the three instruments of the recordings."""
    made = Scanner()
    for number, name in enumerate(NAMES):
        made.set_instrument(number, name.encode(), *oracle.PRECISIONS[name])
    return made


SCANNER = scanner()


def exact_time_ns(text: str) -> int:
    """Nanoseconds of an RFC 3339 time by datetime; the fraction by its digits."""
    whole, _, rest = text.rstrip("Z").partition(".")
    seconds = (dt.datetime.fromisoformat(whole + "+00:00") - EPOCH) // dt.timedelta(seconds=1)
    return seconds * 10**9 + int(rest.ljust(9, "0") or 0)


def assert_agrees(frame: bytes, found: dict[str, Any]) -> None:
    """What a scan took from a frame is what the tolerant decoder takes from it, value for value."""
    (message,) = decode_public(frame)
    name = NAMES[found["instrument"]] if found["instrument"] >= 0 else ""
    if found["status"] == ScanStatus.SCAN_HEARTBEAT:
        assert json.loads(frame) == {"channel": "heartbeat"}
        return
    price, qty = oracle.PRECISIONS[name]
    if found["status"] == ScanStatus.SCAN_BOOK:
        assert isinstance(message, BookMessage)
        assert (message.name, message.snapshot, message.checksum, message.timestamp_ns) == (
            name, found["snapshot"], found["checksum"], found["exch_ns"])
        wanted = [[(oracle.exact_raw(p, price), oracle.exact_raw(q, qty)) for p, q in side]
                  for side in (message.bids, message.asks)]
        assert [found["bids"], found["asks"]] == wanted
    elif found["status"] == ScanStatus.SCAN_TRADE:
        assert isinstance(message, TradeMessage)
        assert {trade.name for trade in message.trades} == {name}
        assert found["trades"] == [
            (Side.BUY if t.side == "buy" else Side.SELL, oracle.exact_raw(t.price, price), oracle.exact_raw(t.qty, qty),
             t.trade_id, t.timestamp_ns) for t in message.trades]
    else:
        assert isinstance(message, TickerMessage)
        assert message.bid is not None and message.bid_qty is not None
        assert message.ask is not None and message.ask_qty is not None
        assert (message.name, found["top"]) == (name, (
            oracle.exact_raw(message.bid, price), oracle.exact_raw(message.bid_qty, qty),
            oracle.exact_raw(message.ask, price), oracle.exact_raw(message.ask_qty, qty)))
        assert found["last"] == last_raw(message, price)


def last_raw(message: TickerMessage, price_precision: int) -> int:
    """The price of the last trade as raw integer, 0 where there is none that the precision and 18 digits can tell."""
    raw = None if message.last is None else message.last.scaleb(price_precision)
    return int(raw) if raw is not None and raw > 0 and raw == raw.to_integral_value() else 0


@pytest.mark.parametrize("last", ["0.11", "0", "0.123456789", "-0.11", "123456.78"])
def test_the_price_of_the_last_trade_is_told_where_it_can_be(last: str) -> None:
    """Digits beyond the precision make it 0 and nothing of the quote: the day's figures decide no quote."""
    found = SCANNER.scan_bytes(TICKER.replace(b'"last":0.11', f'"last":{last}'.encode()))
    assert (found["status"], found["excess_digits"]) == (ScanStatus.SCAN_TICKER, 0)
    assert_agrees(TICKER.replace(b'"last":0.11', f'"last":{last}'.encode()), found)
    assert SCANNER.scan_bytes(TICKER.replace(b'"last":0.11,', b""))["last"] == 0, "and no other ticker's is left"


@pytest.mark.parametrize("recording", oracle.V2_RECORDINGS)
def test_every_recorded_book_frame_is_scanned_exactly(data_dir: Path, recording: str) -> None:
    """All levels, checksums and times of every recorded book frame equal an exact decimal decoding of it."""
    count = 0
    for frame, name, snapshot, row in oracle.book_messages(data_dir, recording):
        found = SCANNER.scan_bytes(frame)
        assert found["status"] == ScanStatus.SCAN_BOOK
        assert (NAMES[found["instrument"]], found["snapshot"], found["excess_digits"]) == (name, snapshot, 0)
        assert found["bids"] == oracle.raw_levels(row["bids"], name)
        assert found["asks"] == oracle.raw_levels(row["asks"], name)
        assert found["checksum"] == row["checksum"]
        assert found["exch_ns"] == exact_time_ns(row["timestamp"])
        count += 1
    assert count == oracle.BOOK_FRAMES[recording]


@pytest.mark.parametrize("recording", oracle.V2_RECORDINGS)
def test_other_recorded_frames_are_heartbeats_or_handed_over(data_dir: Path, recording: str) -> None:
    """Acknowledgements and status go to the tolerant path; only a heartbeat is taken without it."""
    seen: dict[int, int] = {}
    for frame in oracle.received(data_dir, recording):
        if frame.startswith(b'{"channel":"book"'):
            continue
        status = SCANNER.scan_bytes(frame)["status"]
        seen[status] = seen.get(status, 0) + 1
        heartbeat = json.loads(frame).get("channel") == "heartbeat"
        assert status == (ScanStatus.SCAN_HEARTBEAT if heartbeat else ScanStatus.SCAN_SLOW)
    assert seen[ScanStatus.SCAN_HEARTBEAT] > 0 and seen[ScanStatus.SCAN_SLOW] > 0


@pytest.mark.parametrize("frame", EXAMPLES)
def test_the_documented_shapes_are_scanned(frame: bytes) -> None:
    """The documented samples of book, trade, ticker and heartbeat take the fast path and agree with the slow one."""
    found = SCANNER.scan_bytes(frame)
    assert found["status"] == {BOOK: ScanStatus.SCAN_BOOK, TRADE: ScanStatus.SCAN_TRADE, TICKER: ScanStatus.SCAN_TICKER,
                               HEARTBEAT: ScanStatus.SCAN_HEARTBEAT}[frame]
    assert_agrees(frame, found)


def test_no_truncation_is_taken_as_whole(data_dir: Path) -> None:
    """A frame cut after any byte, real or documented, is never a known shape."""
    frames = list(EXAMPLES)
    for recording in oracle.V2_RECORDINGS:
        found = {len(frame): frame for frame, *_ in oracle.book_messages(data_dir, recording)}
        frames += [found[n] for n in sorted(found)[:: max(1, len(found) // 12)]]
        frames.append(found[max(found)])
    for frame in frames:
        for n in range(len(frame)):
            status = SCANNER.scan_bytes(frame[:n])["status"]
            assert status in (ScanStatus.SCAN_SLOW, ScanStatus.SCAN_UNKNOWN_INSTRUMENT), frame[:n]


def test_bytes_after_a_frame_hand_it_over() -> None:
    """Anything behind the last brace makes a frame unknown, be it a space, a newline or a second frame."""
    for frame in EXAMPLES:
        for tail in (b" ", b"\n", b"\0", b"}", frame):
            assert SCANNER.scan_bytes(frame + tail)["status"] == ScanStatus.SCAN_SLOW


PIECES = st.sampled_from([b"", b"0", b"9", b"-", b".", b"e", b"E-8", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ",
                          b"\x00", b"\xff", b"\xc3\x28", b"null", b"1e400", b"99999999999999999999", b'"price":'])


@given(frame=st.sampled_from(EXAMPLES), edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 12), PIECES),
                                                       min_size=1, max_size=4))
@example(frame=BOOK, edits=[(88, 7, b"1e5")])
@example(frame=BOOK, edits=[(88, 7, b"-1")])
def test_a_mutated_frame_is_handed_over_or_means_the_same(frame: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    """Whatever bytes are cut, inserted or replaced: a frame that still scans means what the exact decoder reads."""
    data = frame
    for at, cut, piece in edits:
        at = min(at, len(data))
        data = data[:at] + piece + data[at + cut:]
    found = SCANNER.scan_bytes(data)
    taken = (ScanStatus.SCAN_BOOK, ScanStatus.SCAN_TRADE, ScanStatus.SCAN_TICKER, ScanStatus.SCAN_HEARTBEAT)
    if found["status"] in taken and not found["excess_digits"] and is_json(data) and not time_is_odd(data):
        assert_agrees(data, found)


def is_json(data: bytes) -> bool:
    """Whether the bytes are JSON at all: the scanner delimits fields that it does not use, it does not validate them."""
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def time_is_odd(data: bytes) -> bool:
    """Whether a time names a day or second that no calendar has: the scanner checks ranges, not lengths of months."""
    for row in json.loads(data).get("data") or []:
        try:
            exact_time_ns(row.get("timestamp", "2023-01-01T00:00:00Z"))
        except ValueError:
            return True
    return False


def reordered(frame: bytes) -> bytes:
    """The same message with all keys of all objects in the opposite order."""
    def turn(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turn(value[key]) for key in reversed(value)}
        return [turn(item) for item in value] if isinstance(value, list) else value
    return json.dumps(turn(json.loads(frame)), separators=(",", ":")).encode()


STRANGE = {
    "keys in another order": reordered(BOOK),
    "spaces": BOOK.replace(b",", b", "),
    "an unknown field": BOOK.replace(b'"checksum"', b'"audit":1,"checksum"'),
    "a field inside a level": BOOK.replace(b'"qty":0.10000000', b'"qty":0.10000000,"count":2'),
    "an exponent": BOOK.replace(b"45283.5", b"4.52835e4"),
    "a negative exponent": BOOK.replace(b"0.10000000", b"1e-1"),
    "numbers as strings": BOOK.replace(b"45283.5", b'"45283.5"').replace(b"0.10000000", b'"0.10000000"'),
    "the checksum as a string": BOOK.replace(b"3310070434", b'"3310070434"'),
    "an escape in the name": BOOK.replace(b"BTC/USD", b"BTC\\/USD"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_unusual_shapes_are_handed_over_and_then_read_right(kind: str) -> None:
    """A shape the scanner does not know goes to the tolerant path, which reads the same levels from it."""
    assert SCANNER.scan_bytes(STRANGE[kind])["status"] == ScanStatus.SCAN_SLOW
    (message,) = decode_public(STRANGE[kind])
    assert isinstance(message, BookMessage)
    assert (message.name, message.checksum) == ("BTC/USD", 3310070434)
    assert message.bids == ((Decimal("45283.5"), Decimal("0.1")),)
    assert message.asks == ((Decimal("45285.2"), Decimal("0.001")),)


@pytest.mark.parametrize(
    "number",
    [b"-45283.5", b"+1", b".5", b"5.", b"NaN", b"Infinity", b"0x10", b"1e5", b"null", b"true", b"", b"1_000",
     b"1234567890123456789", b"12345678901234567890", b"1234567890123456789012.5", b"123456789012345678.12345678",
     b"9223372036854775807", b"999999999999999999.9", b"\xd9\xa3", b"1 "],
)
def test_what_is_no_plain_decimal_of_18_digits_is_handed_over(number: bytes) -> None:
    """Negative, exponent, non-finite, bare-point and too-long numbers never become a level on the fast path."""
    for frame in (BOOK.replace(b"45283.5", number), TRADE.replace(b"45285.2", number),
                  TICKER.replace(b"0.10,", number + b",", 1)):
        assert SCANNER.scan_bytes(frame)["status"] == ScanStatus.SCAN_SLOW


@pytest.mark.parametrize("frame", [BOOK.replace(b"45283.5", b"45283.51"), BOOK.replace(b"0.10000000", b"0.100000001"),
                                   TRADE.replace(b"45285.2", b"45285.20"), TICKER.replace(b"0.10,", b"0.101,", 1)])
def test_digits_beyond_the_precision_are_reported(frame: bytes) -> None:
    """A number with more fractional digits than its instrument has is flagged, never rounded."""
    assert SCANNER.scan_bytes(frame)["excess_digits"] == 1


@given(digits=st.integers(0, 10**15), fraction=st.integers(0, 8))
def test_any_plain_decimal_scans_to_its_raw_integer(digits: int, fraction: int) -> None:
    """Every plain decimal within the precision becomes exactly its raw integer, trailing zeros or not."""
    text = f"{Decimal(digits).scaleb(-fraction):f}"
    if Decimal(text) >= 10**10:
        return
    found = SCANNER.scan_bytes(BOOK.replace(b"0.10000000", text.encode()))
    assert found["status"] == ScanStatus.SCAN_BOOK
    assert found["bids"] == [(452835, oracle.exact_raw(Decimal(text), 8))]


@pytest.mark.parametrize(("levels", "status"), [(1000, ScanStatus.SCAN_BOOK), (1280, ScanStatus.SCAN_BOOK),
                                                (1281, ScanStatus.SCAN_SLOW), (5000, ScanStatus.SCAN_SLOW)])
def test_the_number_of_levels_is_bounded(levels: int, status: ScanStatus) -> None:
    """Up to 1,280 levels a side are scanned; more are handed over, not written past the end."""
    text = b",".join(b'{"price":%d.5,"qty":0.10000000}' % (40000 + n) for n in range(levels))
    found = SCANNER.scan_bytes(BOOK.replace(b'{"price":45283.5,"qty":0.10000000}', text))
    assert found["status"] == status
    if status == ScanStatus.SCAN_BOOK:
        assert found["bids"] == [(10 * (40000 + n) + 5, 10_000_000) for n in range(levels)]


@pytest.mark.parametrize(("trades", "status"), [(256, ScanStatus.SCAN_TRADE), (257, ScanStatus.SCAN_SLOW)])
def test_the_number_of_trades_is_bounded(trades: int, status: ScanStatus) -> None:
    """Up to 256 trades of one frame are scanned; more are handed over."""
    row = json.loads(TRADE)["data"][0]
    rows = [dict(row, trade_id=row["trade_id"] + n) for n in range(trades)]
    frame = json.dumps({"channel": "trade", "type": "update", "data": rows}, separators=(",", ":")).encode()
    found = SCANNER.scan_bytes(frame)
    assert found["status"] == status
    assert len(found["trades"]) == (trades if status == ScanStatus.SCAN_TRADE else 0)


@pytest.mark.parametrize("name", [b"XBT/USD", b"BTC/EUR", b"btc/usd", b"BTC/USD ", b"", b"\xff\xfe"])
def test_an_unknown_instrument_is_named_as_such(name: bytes) -> None:
    """A book, trade or ticker of a name that was never set says so and touches nothing."""
    for frame in (BOOK, TRADE):
        found = SCANNER.scan_bytes(frame.replace(b"BTC/USD", name))
        assert (found["status"], found["instrument"]) == (ScanStatus.SCAN_UNKNOWN_INSTRUMENT, -1)


def test_a_name_longer_than_the_table_takes_is_handed_over() -> None:
    """A name of 24 bytes or more cannot be one of ours, and is never compared past its bounds."""
    for n in (24, 25, 100_000):
        assert SCANNER.scan_bytes(BOOK.replace(b"BTC/USD", b"B" * n))["status"] != ScanStatus.SCAN_BOOK


def test_trades_of_two_instruments_in_one_frame_are_handed_over() -> None:
    """One frame is one instrument on the fast path."""
    frame = TRADE[:200] + TRADE[200:].replace(b"BTC/USD", b"ETH/USD").replace(b"45285.1,", b"1.1,")
    assert SCANNER.scan_bytes(frame)["status"] == ScanStatus.SCAN_SLOW


def test_two_thousand_instruments_are_told_apart() -> None:
    """Every name of a full table is found as itself, and its precisions are its own."""
    full = Scanner()
    names = [f"T{n:05d}/USD" for n in range(2048)]
    random.Random(7).shuffle(names)
    for number, name in enumerate(names):
        full.set_instrument(number, name.encode(), number % 6, 8)
    for number, name in enumerate(names):
        found = full.scan_bytes(BOOK.replace(b"BTC/USD", name.encode()).replace(b"45283.5", b"7").replace(b"45285.2", b"8"))
        assert (found["instrument"], found["bids"]) == (number, [(7 * 10 ** (number % 6), 10_000_000)])
    assert full.scan_bytes(BOOK)["status"] == ScanStatus.SCAN_UNKNOWN_INSTRUMENT


@pytest.mark.parametrize(("number", "name", "price", "qty"), [
    (0, b"", 1, 1), (0, b"N" * 24, 1, 1), (-1, b"A/B", 1, 1), (2048, b"A/B", 1, 1), (0, b"A/B", 16, 1), (0, b"A/B", 1, -1)])
def test_an_instrument_that_does_not_fit_is_refused(number: int, name: bytes, price: int, qty: int) -> None:
    """Names, numbers and precisions outside the table's bounds raise instead of being cut."""
    with pytest.raises(ValueError, match=r"does not fit|outside 0\.\.15"):
        Scanner().set_instrument(number, name, price, qty)


@given(st.datetimes(min_value=dt.datetime(1970, 1, 1), max_value=dt.datetime(2261, 12, 31)),  # noqa: DTZ001
       st.integers(0, 9), st.integers(0, 999_999_999))
def test_times_are_those_of_the_calendar(moment: dt.datetime, digits: int, fraction: int) -> None:
    """Any UTC time with up to nine fractional digits is exact, leap days and turns of the century included."""
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    if digits:
        text += "." + f"{fraction:09d}"[:digits]
    assert time_ns(text.encode() + b"Z") == exact_time_ns(text + "Z")


@pytest.mark.parametrize("text", [
    "", "Z", "2026-08-02", "2026-08-02T03:35:51", "2026-08-02T03:35:51+00:00", "2026-08-02 03:35:51Z", "2026-13-02T03:35:51Z",
    "2026-00-02T03:35:51Z", "2026-08-32T03:35:51Z", "2026-08-00T03:35:51Z", "2026-08-02T24:35:51Z", "2026-08-02T03:60:51Z",
    "2026-08-02T03:35:61Z", "2026-08-02T03:35:51.Z", "2026-08-02T03:35:51.1234567890Z", "1969-12-31T23:59:59Z",
    "2262-01-01T00:00:00Z", "2O26-08-02T03:35:51Z", "2026-0x-02T03:35:51Z", "-026-08-02T03:35:51Z"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """Anything but an RFC 3339 UTC time between 1970 and 2261 is -1, never a wrong time."""
    assert time_ns(text.encode()) == -1
