"""The v1 dialect: what comes out is v2, and every recorded checksum still verifies on it."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from cstd.errors import VerificationError
from cstd.storage.recordings import open_recording
from cstd.storage.v1_dialect import V1Dialect, v2_name

RECORDING = "kraken-v1-spot-20210405.jsonl.zst"
CHECKSUM_LEVELS = 10


class OracleBook:
    """A v2 book in Decimal and text: kept by price, cut to its depth, checksum from the digits as sent."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[Decimal, tuple[str, str]]] = {"bids": {}, "asks": {}}

    def apply(self, message: dict) -> None:
        """Take a snapshot or an update."""
        entry = message["data"][0]
        for side, levels in self.sides.items():
            if message["type"] == "snapshot":
                levels.clear()
            for level in entry[side]:
                price, qty = level["price"], level["qty"]
                if Decimal(qty) == 0:
                    levels.pop(Decimal(price), None)
                else:
                    levels[Decimal(price)] = (price, qty)
            for price in sorted(levels, reverse=side == "bids")[self.depth :]:
                del levels[price]

    def checksum(self) -> int:
        """Return the CRC32 of the top ten levels, asks first."""
        text = ""
        for side in ("asks", "bids"):
            for price in sorted(self.sides[side], reverse=side == "bids")[:CHECKSUM_LEVELS]:
                text += "".join(token.replace(".", "").lstrip("0") for token in self.sides[side][price])
        return zlib.crc32(text.encode())


def v2(text: bytes) -> dict:
    """Decode a translated message with its numbers as the text they are."""
    return json.loads(text, parse_float=str)


def test_every_recorded_checksum_verifies(data_dir: Path) -> None:
    """14,496 of 14,496: nothing of the book is lost or reformatted on the way to v2."""
    dialect, books, found = V1Dialect(), {}, Counter()
    for frame in open_recording(data_dir / "recordings" / RECORDING).frames:
        translated = dialect.translate(frame.text) if frame.direction == "rx" else None
        if translated is None:
            continue
        message = v2(translated)
        if message.get("method") == "subscribe":
            books[message["result"]["symbol"]] = OracleBook(message["result"]["depth"])
        elif message["channel"] == "book":
            (entry,) = message["data"]
            book = books[entry["symbol"]]
            book.apply(message)
            found["snapshot" if "checksum" not in entry else entry["checksum"] == book.checksum()] += 1
        else:
            found[message["channel"]] += 1
    assert found == {True: 14_496, "snapshot": 10, "heartbeat": 357, "trade": 12}
    assert dialect.left_out == {"ticker": 22, "subscriptionStatus": 20, "systemStatus": 3}
    assert {book.depth for book in books.values()} == {1000}


def test_both_sides_in_two_dictionaries_become_one_message() -> None:
    """The second dictionary's checksum counts; digits, also trailing zeros, stay; XBT is BTC."""
    text = (b'[336,{"a":[["5541.30000","0.00000000","1534614335.345903"]]},'
            b'{"b":[["5541.20000","1.52900000","1534614335.345800","r"]],"c":"974942666"},"book-10","XBT/USD"]')
    assert V1Dialect().translate(text) == (
        b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD",'
        b'"bids":[{"price":5541.20000,"qty":1.52900000}],"asks":[{"price":5541.30000,"qty":0.00000000}],'
        b'"checksum":974942666,"timestamp":"2018-08-18T17:45:35.345903Z"}]}')


def test_a_snapshot_has_no_checksum_and_none_is_made_up() -> None:
    """v1 snapshots carry none, so the book stays unverified until its first update."""
    text = (b'[1,{"as":[["5541.3","2.5","1534614248.123678"]],"bs":[["5541.2","1.5","1534614248.765567"]]},'
            b'"book-25","XDG/XBT"]')
    message = v2(V1Dialect().translate(text))
    assert message["type"] == "snapshot"
    assert message["data"] == [{
        "symbol": "DOGE/BTC", "bids": [{"price": "5541.2", "qty": "1.5"}], "asks": [{"price": "5541.3", "qty": "2.5"}],
        "timestamp": "2018-08-18T17:44:08.765567Z"}]


def test_republished_levels_do_not_set_the_time() -> None:
    """A level marked "r" is applied like any other, but its old time is not the message's."""
    text = (b'[336,{"b":[["58721.60000","0.00000000","1617666427.657660"],'
            b'["55230.70000","0.00905294","1617543265.810641","r"]],"c":"583715542"},"book-1000","XBT/USD"]')
    (entry,) = v2(V1Dialect().translate(text))["data"]
    assert entry["timestamp"] == "2021-04-05T23:47:07.657660Z"
    assert [level["qty"] for level in entry["bids"]] == ["0.00000000", "0.00905294"]


def test_trades_keep_their_side_and_have_no_invented_id() -> None:
    """Each trade of a message is one v2 trade."""
    text = (b'[0,[["5541.20000","0.15850568","1534614057.321597","s","l",""],'
            b'["6060.00000","0.02455000","1534614057.324998","b","m",""]],"trade","XBT/USD"]')
    rows = v2(V1Dialect().translate(text))["data"]
    assert [(row["side"], row["ord_type"], row["price"]) for row in rows] == [
        ("sell", "limit", "5541.20000"), ("buy", "market", "6060.00000")]
    assert all("trade_id" not in row for row in rows)


def test_acknowledgements_keep_depth_and_refusals() -> None:
    """A book's acknowledgement tells its depth; a refusal stays a refusal; a heartbeat is one."""
    dialect = V1Dialect()
    good = (b'{"channelID":336,"channelName":"book-10","event":"subscriptionStatus","pair":"XBT/USD",'
            b'"status":"subscribed","subscription":{"name":"book","depth":10}}')
    bad = (b'{"errorMessage":"Subscription depth not supported","event":"subscriptionStatus","pair":"XBT/USD",'
           b'"status":"error","subscription":{"depth":42,"name":"book"}}')
    assert v2(dialect.translate(good)) == {
        "method": "subscribe", "success": True,
        "result": {"channel": "book", "depth": 10, "snapshot": True, "symbol": "BTC/USD"}}
    assert v2(dialect.translate(bad)) == {
        "method": "subscribe", "success": False, "symbol": "BTC/USD", "error": "Subscription depth not supported"}
    assert v2(dialect.translate(b'{"event":"heartbeat"}')) == {"channel": "heartbeat"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"5",
        b"{}",
        b"[]",
        b'[1,{"a":[]},"book-10"]',
        b'[1,5,"book-10","XBT/USD"]',
        b'[1,{},{},{},"book-10","XBT/USD"]',
        b'[1,{"a":[],"c":"1"},"book-10","XBT/USD"]',
        b'[1,{"a":[["1.0","2.0"]],"c":"1"},"book-10","XBT/USD"]',
        b'[1,{"a":[[1.0,"2.0","3.0"]],"c":"1"},"book-10","XBT/USD"]',
        b'[1,{"a":[["1e3","2.0","3.0"]],"c":"1"},"book-10","XBT/USD"]',
        b'[1,{"a":[["1,\\"x\\":2","2.0","3.0"]],"c":"1"},"book-10","XBT/USD"]',
        b'[1,{"a":[["1.0","2.0","3.0"]],"c":"4294967296"},"book-10","XBT/USD"]',
        b'[1,{"a":[["1.0","2.0","3.0"]]},"book-10","XBT/USD"]',
        b'[1,{"a":[["1.0","2.0","now"]],"c":"1"},"book-10","XBT/USD"]',
        b'[1,[["1.0","2.0","3.0","x","l",""]],"trade","XBT/USD"]',
        b'[1,[["1.0","2.0","3.0","b"]],"trade","XBT/USD"]',
        b'{"event":"subscriptionStatus","subscription":{"name":"book"}}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_v1_message_is_refused(text: bytes) -> None:
    """Nothing malformed becomes a v2 message: it is refused with its text."""
    with pytest.raises(VerificationError, match="not a v1 message"):
        V1Dialect().translate(text)


def test_names_are_those_of_v2() -> None:
    """Only the two assets that differ are renamed, on either side of the pair."""
    assert [v2_name(pair) for pair in ("XBT/USD", "XDG/XBT", "ETH/XBT", "ADA/EUR")] == [
        "BTC/USD", "DOGE/BTC", "ETH/BTC", "ADA/EUR"]
