"""Frames become typed messages, exactly; bad frames become values, never exceptions."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd._fast.wire import nests_beyond
from cstd.venue.fields import NESTING_MAX, FieldError, decimal_of, decode_json, parse_rfc3339_ns
from cstd.venue.messages import (
    Ack,
    BalancesMessage,
    BookMessage,
    ExecutionsMessage,
    Heartbeat,
    InstrumentUpdate,
    Malformed,
    OhlcMessage,
    Pong,
    RequestError,
    StatusMessage,
    TickerMessage,
    TradeMessage,
    Unknown,
    decode_private,
    decode_public,
)


def book(**changes: object) -> bytes:
    """Return a book update with fields of its one entry replaced."""
    entry = {"symbol": "ETH/BTC", "bids": [], "asks": [], "checksum": 1, "timestamp": "2026-08-26T15:16:16.730423Z"}
    return json.dumps({"channel": "book", "type": "update", "data": [entry | changes]}).encode()


def test_book_numbers_keep_the_digits_of_the_wire() -> None:
    """Trailing zeros survive, so a precision can be told from the digits."""
    frame = (b'{"channel":"book","type":"snapshot","data":[{"symbol":"ETH/BTC","bids":[{"price":0.031340,'
             b'"qty":0.03740000}],"asks":[{"price":62807,"qty":1}],"checksum":3619791617}]}')
    [message] = decode_public(frame)
    assert isinstance(message, BookMessage)
    assert message.snapshot
    assert [str(number) for number in message.bids[0]] == ["0.031340", "0.03740000"]
    assert message.asks == ((Decimal(62807), Decimal(1)),)
    assert (message.checksum, message.timestamp_ns) == (3619791617, None)


@pytest.mark.parametrize("text", ["5e-05", "5E-05", '"0.00005"', '"5e-5"', "0.00005", "0.0000500"])
def test_numbers_may_be_text_or_have_exponents(text: str) -> None:
    """Every spelling of one number gives the same value."""
    frame = f'{{"channel":"book","type":"update","data":[{{"symbol":"A/B","bids":[{{"price":{text},"qty":1}}]}}]}}'
    [message] = decode_public(frame.encode())
    assert isinstance(message, BookMessage)
    assert message.bids[0][0] == Decimal("0.00005")


BAD_FRAMES = {
    "empty": b"",
    "truncated": b'{"channel":"book","type":"update","data":[{"symbol":"ETH/BTC","bids":[{"price":0.0313',
    "not JSON": b"<html>502</html>",
    "not UTF-8": b'{"channel":"\xff\xfe"}',
    "array": b"[1,2,3]",
    "number": b"7",
    "nested without end": b"[" * 100_000,
    "two documents": b'{"channel":"heartbeat"}{"channel":"heartbeat"}',
    "NaN price": book(bids=[{"price": "NaN", "qty": 1}]),
    "infinite quantity": book(bids=[{"price": 1, "qty": "Infinity"}]),
    "negative quantity": book(bids=[{"price": 1, "qty": -1}]),
    "no quantity": book(bids=[{"price": 1}]),
    "boolean price": book(bids=[{"price": True, "qty": 1}]),
    "huge exponent": b'{"channel":"book","type":"update","data":[{"symbol":"A/B","bids":[{"price":1e99999,"qty":1}]}]}',
    "levels no list": book(bids={"price": 1}),
    "data no list": b'{"channel":"book","type":"update","data":{"symbol":"A/B"}}',
    "no instrument": book(symbol=None),
    "checksum no number": book(checksum="abc"),
    "impossible date": book(timestamp="2026-02-30T00:00:00Z"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frame_is_a_value(name: str) -> None:
    """A frame that cannot be read is Malformed with a reason on both sockets."""
    [message] = decode_public(BAD_FRAMES[name])
    assert isinstance(message, Malformed)
    assert message.reason
    assert not isinstance(decode_private(BAD_FRAMES[name])[0], Heartbeat)


def test_malformed_book_names_its_instrument() -> None:
    """The one instrument that lost a message is known, so that it alone is resynchronised."""
    [message] = decode_public(book(symbol="BTC/USD", bids=[{"price": "x", "qty": 1}]))
    assert isinstance(message, Malformed)
    assert (message.channel, message.names) == ("book", ("BTC/USD",))


def depth_of(value: object) -> int:
    """How deep lists and dictionaries nest."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max((depth_of(item) for item in inner), default=0)


TEXTS = st.text(alphabet='[]{}"\\a', max_size=5)


@given(st.recursive(st.none() | TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)))
def test_nesting_is_counted_outside_of_strings(document: object) -> None:
    """Brackets within strings, beside escaped quotes too, are no nesting."""
    text, depth = json.dumps(document).encode(), depth_of(document)
    assert not nests_beyond(text, depth)
    assert depth == 0 or nests_beyond(text, depth - 1)


def test_nesting_has_a_limit() -> None:
    """A document of NESTING_MAX levels is read, one of a level more is refused before it is decoded."""
    deepest = b"[" * NESTING_MAX + b"]" * NESTING_MAX
    assert depth_of(decode_json(deepest)) == NESTING_MAX
    with pytest.raises(FieldError, match="nested too deep"):
        decode_json(b"[" + deepest + b"]")


@given(st.binary(max_size=300))
def test_any_bytes_decode_to_something(frame: bytes) -> None:
    """No byte string makes a decoder raise or return nothing."""
    assert decode_public(frame)
    assert decode_private(frame)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["channel", "type", "data", "symbol", "method", "price", "qty", "bids", "sequence", "result", "pairs"]),
        inner, max_size=4), max_leaves=12)


@given(st.sampled_from(["book", "trade", "ticker", "ohlc", "instrument", "status", "executions", "balances"]), _JSON)
def test_any_data_of_a_known_channel_decodes_to_something(channel: str, data: object) -> None:
    """Whatever is in `data`, a decoder answers with values."""
    for kind in ("snapshot", "update"):
        frame = json.dumps({"channel": channel, "type": kind, "data": data, "sequence": 1}).encode()
        assert decode_public(frame)
        assert decode_private(frame)


@pytest.mark.parametrize(("frame", "what"), [
    (b'{"channel":"moon","type":"update","data":[]}', "channel moon"),
    (b'{"channel":"book","type":"delta","data":[]}', "type delta"),
    (b'{"hello":1}', "keys"),
    (b'{"channel":"executions","type":"update","data":[],"sequence":1}', "channel executions"),
])
def test_new_kinds_are_unknown_not_malformed(frame: bytes, what: str) -> None:
    """What is readable and new is surfaced as such."""
    [message] = decode_public(frame)
    assert isinstance(message, Unknown)
    assert what in message.what


def test_method_decides_before_channel() -> None:
    """A refusal that carries a channel is a reply, not data."""
    frame = (b'{"channel":"executions","error":"ESession:Invalid session","method":"subscribe","status":"error",'
             b'"success":false}')
    [message] = decode_private(frame)
    assert message == Ack(None, "subscribe", False, error="ESession:Invalid session", channel="executions")


@pytest.mark.parametrize("success", ["", ',"success":false', ',"success":1', ',"success":"true"', ',"success":null'])
def test_success_is_true_or_failure(success: str) -> None:
    """Only the JSON value true counts as success."""
    [message] = decode_private(f'{{"method":"add_order","req_id":4{success}}}'.encode())
    assert isinstance(message, Ack)
    assert not message.success


def test_replies_and_errors() -> None:
    """An ack, a pong and an error without a method keep what correlates them."""
    [ack] = decode_public(b'{"method":"subscribe","result":{"channel":"book","depth":25,"snapshot":true,'
                          b'"symbol":"BTC/USD","warnings":["w"]},"success":true,"time_in":"2026-08-16T23:37:01.529313Z",'
                          b'"time_out":"2026-08-16T23:37:01.529343Z","req_id":7}')
    assert isinstance(ack, Ack)
    assert (ack.req_id, ack.channel, ack.name, ack.warnings) == (7, "book", "BTC/USD", ("w",))
    assert ack.time_out_ns - ack.time_in_ns == 30_000
    assert decode_public(b'{"method":"pong","req_id":101}') == [Pong(101)]
    assert decode_public(b'{"Error":"Exceeded msg rate"}') == [RequestError("Exceeded msg rate")]
    assert decode_public(b'{"event":"error","errorMessage":"Exceeded msg rate"}') == [RequestError("Exceeded msg rate")]
    assert decode_public(b'{"channel":"heartbeat"}') == [Heartbeat()]


def test_connection_id_is_not_rounded() -> None:
    """An id above 2^53 survives."""
    [message] = decode_public(b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"moon",'
                              b'"api_version":"v2","connection_id":15113583034416118705}]}')
    assert message == StatusMessage("moon", "v2", "15113583034416118705", "2.0.10")


def test_instrument_raw_units() -> None:
    """Increments and minima arrive in raw units, exponents included; an unreadable pair hides no other."""
    good = {"symbol": "BTC/USD", "base": "BTC", "quote": "USD", "status": "online", "qty_precision": 8,
            "qty_increment": 1e-08, "price_precision": 1, "cost_precision": 5, "cost_min": "0.5", "tick_size": 0.1,
            "price_increment": 0.5, "qty_min": 5e-05, "new_field": {}}
    bad = good | {"symbol": "ETH/USD", "price_increment": 0.01}
    frame = json.dumps({"channel": "instrument", "type": "update",
                        "data": {"assets": [{"id": "BTC", "status": "enabled", "precision": 10,
                                             "precision_display": 5}], "pairs": [good, bad]}}).encode()
    assert b"1e-08" in frame
    [message] = decode_public(frame)
    assert isinstance(message, InstrumentUpdate)
    [pair] = message.pairs
    assert (pair.price_increment_raw, pair.qty_increment_raw, pair.qty_min_raw) == (5, 1, 5000)
    assert pair.cost_min == Decimal("0.5")
    assert message.skipped == ("ETH/USD",)
    assert message.assets[0].precision == 10


def test_recorded_instrument_snapshot_is_read_whole(data_dir) -> None:
    """Every pair and asset of Kraken's own snapshot is understood."""
    frame = (data_dir / "reference" / "kraken-v2-instrument-snapshot-20240712.json").read_bytes()
    [message] = decode_public(frame)
    assert isinstance(message, InstrumentUpdate)
    assert (len(message.pairs), len(message.assets), message.skipped) == (683, 296, ())


@pytest.mark.parametrize("name", ["kraken-v2-btcusd-d10-20260801", "kraken-v2-btcusd-d25-20260802",
                                  "kraken-v2-ethusd-xrpusd-d25-20260802"])
def test_recorded_frames_are_all_known(data_dir, name: str) -> None:
    """No recorded frame is malformed or unknown, and each book reprints to the digits it came with."""
    import zstandard

    raw = zstandard.ZstdDecompressor().stream_reader((data_dir / "recordings" / f"{name}.jsonl.zst").open("rb")).read()
    kinds: dict[str, int] = {}
    for line in raw.splitlines()[1:]:
        frame = json.loads(line)["m"].encode()
        for message in decode_public(frame):
            kinds[type(message).__name__] = kinds.get(type(message).__name__, 0) + 1
            if isinstance(message, BookMessage):
                for price, qty in message.bids + message.asks:
                    assert f'"price":{price},"qty":{qty:f}'.encode() in frame
    assert kinds.keys() == {"Ack", "BookMessage", "Heartbeat", "StatusMessage"} - ({"Heartbeat"} - kinds.keys())
    assert kinds["BookMessage"] > 300


def test_market_channels() -> None:
    """trade, ticker and ohlc keep their fields."""
    [trades] = decode_public(b'{"channel":"trade","type":"update","data":[{"symbol":"MATIC/USD","side":"sell",'
                             b'"price":0.5117,"qty":4.0e1,"ord_type":"market","trade_id":4665906,'
                             b'"timestamp":"2023-09-25T07:49:37.708706Z"}]}')
    assert isinstance(trades, TradeMessage)
    assert trades.trades[0].qty == 40
    [ticker] = decode_public(b'{"channel":"ticker","type":"update","data":[{"symbol":"ALGO/USD","bid":0.10025,'
                             b'"bid_qty":740.0,"ask":0.10035,"ask_qty":740.0,"last":0.10035,"volume":1,"vwap":0.1}]}')
    assert isinstance(ticker, TickerMessage)
    assert (ticker.bid, ticker.timestamp_ns) == (Decimal("0.10025"), None)
    [ohlc] = decode_public(b'{"channel":"ohlc","type":"update","timestamp":"2023-10-04T16:26:30.524394914Z","data":[{'
                           b'"symbol":"MATIC/USD","open":0.5624,"high":0.5628,"low":0.5622,"close":0.5627,"trades":12,'
                           b'"volume":30927.68066226,"vwap":0.5626,"interval_begin":"2023-10-04T16:25:00.000000000Z",'
                           b'"interval":5,"timestamp":"2023-10-04T16:30:00.000000Z"}]}')
    assert isinstance(ohlc, OhlcMessage)
    assert (ohlc.rows[0].interval_min, ohlc.rows[0].trade_count) == (5, 12)
    assert ohlc.rows[0].begin_ns == 1696436700 * 10**9


def test_executions_are_sparse() -> None:
    """Fields the venue left out are None; a fill carries quantity, price, cost and fees by asset."""
    [message] = decode_private(
        b'{"channel":"executions","type":"update","data":[{"order_id":"OK4GJX-KSTLS-7DZZO5","exec_id":"TGBB7L-HT5LX-J3BZ4A",'
        b'"exec_type":"trade","trade_id":62887576,"symbol":"BTC/USD","side":"sell","last_qty":0.005,"last_price":26599.9,'
        b'"liquidity_ind":"t","cost":132.9995,"order_type":"limit","timestamp":"2023-09-22T10:33:05.709993Z",'
        b'"order_status":"partially_filled","cum_qty":0.005,"cum_cost":132.9995,"avg_price":26599.9,"fee_usd_equiv":0.3458,'
        b'"fees":[{"asset":"USD","qty":0.3458}],"ratecount":3},{"timestamp":"odd","order_status":"new","exec_type":"new",'
        b'"cl_ord_id":"b17c","order_id":"OX"}],"sequence":10}')
    assert isinstance(message, ExecutionsMessage)
    fill, new = message.reports
    assert (message.sequence, fill.fees, fill.cost) == (10, (("USD", Decimal("0.3458")),), Decimal("132.9995"))
    assert fill.rate_counter == 3
    assert (new.name, new.side, new.order_qty, new.fees, new.timestamp_ns) == (None, None, None, None, None)


def test_balances_tell_the_spot_wallet() -> None:
    """Only the main spot wallet is tradable."""
    [message] = decode_private(
        b'{"channel":"balances","type":"snapshot","data":[{"asset":"BTC","asset_class":"currency","balance":1.2,"wallets":['
        b'{"type":"spot","id":"main","balance":0.2},{"type":"earn","id":"flex","balance":1.0}]}],"sequence":1}')
    assert isinstance(message, BalancesMessage)
    assert (message.entries[0].balance, message.entries[0].spot_balance) == (Decimal("1.2"), Decimal("0.2"))


@pytest.mark.parametrize(("text", "expected_ns"), [
    ("1970-01-01T00:00:00Z", 0),
    ("2026-08-26T15:16:16.637831Z", 1787757376637831000),
    ("2023-10-04T16:26:30.524394914Z", 1696436790524394914),
    ("2023-10-04T16:26:30.5243949149Z", 1696436790524394914),
    ("2024-02-29T23:59:60Z", 1709251200 * 10**9),
    ("2023-09-21T15:49:29+02:00", 1695304169 * 10**9),
    ("2023-09-21T15:49:29-00:30", 1695313169 * 10**9),
])
def test_times_are_exact(text: str, expected_ns: int) -> None:
    """RFC 3339 times convert to the nanosecond."""
    assert parse_rfc3339_ns(text) == expected_ns == parse_rfc3339_ns(text.encode())


@given(st.datetimes(min_value=__import__("datetime").datetime(1970, 1, 1)))
def test_times_agree_with_datetime(moment) -> None:
    """Every instant of the calendar agrees with the standard library."""
    from datetime import UTC, datetime, timedelta

    delta = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    assert parse_rfc3339_ns(moment.isoformat() + "Z") == delta // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize("text", [
    "", "2026-08-26", "2026-08-26T15:16:16", "2026-13-01T00:00:00Z", "2023-02-29T00:00:00Z", "2026-08-26T15:16:16.Z",
    "2026-08-26T15:16:16+0200", "x026-08-26T15:16:16Z",
])
def test_other_times_are_refused(text: str) -> None:
    """Text without a zone or with an impossible date is an error, not a guess."""
    with pytest.raises(FieldError):
        parse_rfc3339_ns(text)


@pytest.mark.parametrize("value", ["NaN", "1e41", "1" * 61, True, None, [], "0e99999", "1_000", " 1", "١"])
def test_no_number_beyond_reason(value: object) -> None:
    """Non-finite, absurdly long and non-numeric values are refused."""
    with pytest.raises(FieldError):
        decimal_of(value, "price")
