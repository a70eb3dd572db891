"""The targets: bytes in, nothing out, AssertionError where compiled code and oracle differ.

The oracles are `json` with exact decimals and repeated keys refused, a book of dictionaries with zlib's CRC, and hashlib.
Where the compiled code hands a frame over (SCAN_SLOW) nothing is claimed about it, except that the tolerant decoder takes
it without raising.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from cstd._fast.book import Book
from cstd._fast.codes import BookFault, ScanStatus, Side
from cstd._fast.journal_scan import BlockCursor, JournalFault, crc32c, scan_records
from cstd._fast.reports import ReportScanner
from cstd._fast.wire import Scanner
from cstd.venue.fields import parse_rfc3339_ns
from cstd.venue.messages import (
    Ack,
    BalanceEntry,
    BalancesMessage,
    ExecutionReport,
    ExecutionsMessage,
    decode_private,
    decode_public,
)

PRECISIONS = {"BTC/USD": (1, 8), "ETH/USD": (2, 8), "XRP/USD": (5, 8)}
NAMES = tuple(PRECISIONS)
DEPTH = 10
BLOCK = struct.Struct("<IIQQQ32s32s")
RECORD = struct.Struct("<IIHHIQqqq")
BLOCK_MAGIC, JOURNAL_VERSION = 0x4B4C4243, 2


def scanner() -> Scanner:
    """A scanner that knows NAMES."""
    made = Scanner()
    for number, (name, precisions) in enumerate(PRECISIONS.items()):
        made.set_instrument(number, name.encode(), *precisions)
    return made


SCANNER = scanner()
REPORTS = ReportScanner()


def exact_json(data: bytes) -> Any:
    """The document in `data`, numbers as Decimal; a repeated key or an unusual constant is a failure."""
    return json.loads(data.decode(), parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse, object_pairs_hook=_once)


def _refuse(constant: str) -> None:
    raise AssertionError(f"a frame with {constant} was accepted")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    assert len(found) == len(pairs), f"a frame with a repeated key was accepted: {[key for key, _ in pairs]}"
    return found


def scan(data: bytes) -> None:
    """The public scanner: what it accepts, json and Decimal read the same way; what it does not, the decoder takes."""
    found = SCANNER.scan_bytes(data)
    status = found["status"]
    if status == ScanStatus.SCAN_HEARTBEAT:
        assert exact_json(data) == {"channel": "heartbeat"}
    elif status in (ScanStatus.SCAN_BOOK, ScanStatus.SCAN_TRADE, ScanStatus.SCAN_TICKER):
        document = exact_json(data)
        rows = document["data"]
        name = NAMES[found["instrument"]]
        assert {row["symbol"] for row in rows} == {name}
        assert found["snapshot"] == (document["type"] == "snapshot")
        compare = {"book": _compare_book, "trade": _compare_trades, "ticker": _compare_ticker}[document["channel"]]
        compare(found, rows, PRECISIONS[name])
    else:
        decode_public(data)


def _raw(value: Decimal, precision: int, found: dict[str, Any]) -> int:
    """Raw integer of an accepted number; one with too many digits must have been flagged, and then counts for nothing."""
    scaled = value.scaleb(precision)
    if value.as_tuple().exponent < -precision:
        assert found["excess_digits"], f"{value} has more than {precision} decimals and was not flagged"
        return 0
    return int(scaled)


def _compare_book(found: dict[str, Any], rows: list[Any], precisions: tuple[int, int]) -> None:
    (row,) = rows
    assert found["checksum"] == row["checksum"]
    assert found["exch_ns"] == parse_rfc3339_ns(row["timestamp"])
    for side in ("bids", "asks"):
        assert found[side] == [(_raw(level["price"], precisions[0], found), _raw(level["qty"], precisions[1], found))
                               for level in row[side]]
    assert found["excess_digits"] or all(price > 0 for side in ("bids", "asks") for price, _ in found[side])


def _compare_trades(found: dict[str, Any], rows: list[Any], precisions: tuple[int, int]) -> None:
    assert found["trades"] == [
        ({"buy": Side.BUY, "sell": Side.SELL}[row["side"]], _raw(row["price"], precisions[0], found),
         _raw(row["qty"], precisions[1], found), row["trade_id"], parse_rfc3339_ns(row["timestamp"])) for row in rows]


def _compare_ticker(found: dict[str, Any], rows: list[Any], precisions: tuple[int, int]) -> None:
    (row,) = rows
    assert found["top"] == (_raw(row["bid"], precisions[0], found), _raw(row["bid_qty"], precisions[1], found),
                            _raw(row["ask"], precisions[0], found), _raw(row["ask_qty"], precisions[1], found))


class Received:
    """What the private scanner delivers, as the messages that the engine makes of it."""

    def __init__(self) -> None:
        self.message: Any = None

    def on_executions(self, sequence: int, snapshot: bool, rows: list[Any], *_times: int) -> None:
        """Execution reports."""
        self.message = ExecutionsMessage(sequence, snapshot, tuple(ExecutionReport(*row) for row in rows))

    def on_balances(self, sequence: int, snapshot: bool, rows: list[Any], *_times: int) -> None:
        """Balances."""
        self.message = BalancesMessage(sequence, snapshot, tuple(BalanceEntry(*row) for row in rows))

    def on_order_reply(self, row: tuple[Any, ...], *_times: int) -> None:
        """A reply to an order request."""
        self.message = Ack(*row)


def executions(data: bytes) -> None:
    """The private scanner: it gives exactly the tolerant decoder's message, digits of decimals included, or declines."""
    received = Received()
    status = REPORTS.scan_bytes(data, received)
    (wanted, *more) = decode_private(data)
    if status == ScanStatus.SCAN_SLOW:
        assert received.message is None
        return
    exact_json(data)
    assert not more
    if status == ScanStatus.SCAN_HEARTBEAT:
        assert json.loads(data) == {"channel": "heartbeat"}
        return
    assert received.message == wanted
    # repr tells 0.10 from 0.1, which are equal: a ledger row has the digits of the wire. A reply has no decimals.
    assert isinstance(wanted, Ack) or repr(received.message) == repr(wanted)


def _messages(data: bytes) -> Iterator[tuple[int, list[tuple[int, int]], list[tuple[int, int]]]]:
    """Book messages that bytes spell: a head (flags, levels), then two bytes a level; prices close to each other."""
    at = 0
    while at + 1 < len(data):
        flags, count = data[at], data[at + 1] % 32
        pairs = [(1 + data[i] % 64, data[i + 1]) for i in range(at + 2, min(at + 2 + 2 * count, len(data) - 1), 2)]
        bids = len(pairs) * (flags >> 5) // 7
        # Bids below, asks above, with an overlap so that books can cross; the factor makes long tokens.
        scale = 10 ** (flags >> 2 & 7)
        yield flags, [(price * scale, qty) for price, qty in pairs[:bids]], [
            ((price + 48) * scale, qty * scale) for price, qty in pairs[bids:]]
        at += 2 + 2 * count


def book(data: bytes) -> None:
    """The book: after any messages it is what dictionaries make of them, verified exactly when it may be."""
    ours = Book(DEPTH)
    sides: list[dict[int, int]] = [{}, {}]
    broken = False
    for number, (flags, bids, asks) in enumerate(_messages(data)):
        snapshot = number == 0 or flags & 1 == 1
        for side, levels, best_first in ((0, bids, True), (1, asks, False)):
            sides[side] = cut({} if snapshot else sides[side], levels, best_first)
        best_bids = sorted(sides[0].items(), reverse=True)
        best_asks = sorted(sides[1].items())
        crc = zlib.crc32("".join(f"{price}{qty}" for price, qty in best_asks[:10] + best_bids[:10]).encode())
        wrong = flags & 2
        fault = ours.apply_levels(snapshot, bids, asks, crc ^ wrong, number)
        assert [row[:2] for row in ours.levels(Side.BUY, 99)] == best_bids
        assert [row[:2] for row in ours.levels(Side.SELL, 99)] == best_asks
        broken = bool(wrong) or (broken and not snapshot)
        if wrong:
            assert fault == BookFault.FAULT_CHECKSUM
        elif broken:
            assert fault == BookFault.FAULT_GAP
        elif not best_bids or not best_asks:
            assert fault == BookFault.FAULT_EMPTY_SIDE
        else:
            assert (fault == BookFault.FAULT_NONE) == (best_bids[0][0] < best_asks[0][0])


def cut(side: dict[int, int], levels: list[tuple[int, int]], best_first: bool) -> dict[int, int]:
    """A side after levels in their order, cut to the depth."""
    after = dict(side)
    for price, qty in levels:
        after[price] = qty
        if not qty:
            del after[price]
    return {price: after[price] for price in sorted(after, reverse=best_first)[:DEPTH]}


def journal(data: bytes) -> None:
    """The journal's reader: as found it refuses or proves; what was written is read back, and no byte of it may change."""
    _read_as_found(data)
    if len(data) < 4:
        return
    payloads = [data[at : at + 1 + data[at] % 40] for at in range(4, len(data), 41)][:64] or [b""]
    blocks, bodies = sealed(payloads, 1 + data[0] % 8)
    whole = b"".join(blocks)
    records, fault = read_all(whole)
    assert fault == JournalFault.JOURNAL_END
    assert [bytes(record.payload) for record in records] == payloads
    place = int.from_bytes(data[:4], "little") % len(whole)
    damaged = bytearray(whole)
    damaged[place] ^= 1 << data[1] % 8
    records, fault = read_all(bytes(damaged))
    assert fault not in (JournalFault.JOURNAL_END, JournalFault.JOURNAL_FINE), f"a changed byte {place} was not seen"
    assert [bytes(record.payload) for record in records] == payloads[: len(records)]
    bare, end, fault = scan_records(b"".join(bodies))
    assert (len(bare), end, fault) == (len(payloads), sum(map(len, bodies)), JournalFault.JOURNAL_END)


def _read_as_found(data: bytes) -> None:
    """Bytes that nobody wrote: each block that is accepted must have the hash that hashlib finds."""
    scan_records(data)
    cursor = BlockCursor(np.frombuffer(data, np.uint8).copy(), offset=0, prev=bytes(32), next_index=0, next_seq=1)
    while True:
        begin = cursor.offset
        if cursor.check() != JournalFault.JOURNAL_FINE:
            return
        block = data[begin : cursor.offset]
        assert block_hash(block[:64], block[BLOCK.size :]) == block[64:96]


def block_hash(head: bytes, body: bytes) -> bytes:
    """A block's hash by an own reading of the format: eight stripes of 512 bytes in turn, hashed apart, then together."""
    stripes = [hashlib.sha256() for _ in range(8)]
    for number, at in enumerate(range(0, len(body), 512)):
        stripes[number % 8].update(body[at : at + 512])
    return hashlib.sha256(head + hashlib.sha256(b"".join(stripe.digest() for stripe in stripes)).digest()).digest()


def read_all(data: bytes) -> tuple[list[Any], int]:
    """Records of bare blocks from the first on, and the fault at which reading ended."""
    cursor = BlockCursor(np.frombuffer(data, np.uint8).copy(), offset=0, prev=bytes(32), next_index=0, next_seq=1)
    records: list[Any] = []
    while True:
        fault = cursor.read(records)
        if fault != JournalFault.JOURNAL_FINE:
            return records, fault


def sealed(payloads: list[bytes], per_block: int) -> tuple[list[bytes], list[bytes]]:
    """Blocks of records with these payloads, as the writer makes them, and the bare records."""
    blocks, bodies, prev = [], [], bytes(32)
    for index, first in enumerate(range(0, len(payloads), per_block)):
        body = b""
        for seq, payload in enumerate(payloads[first : first + per_block], first + 1):
            rest = RECORD.pack(0, len(payload), 2, 0, JOURNAL_VERSION, seq, seq, seq, 0)[4:] + payload + bytes(-len(payload) % 8)
            body += struct.pack("<I", crc32c(rest)) + rest
        last = min(first + per_block, len(payloads))
        head = BLOCK.pack(BLOCK_MAGIC, len(body), first + 1, last, index, prev, bytes(32))[:64]
        prev = block_hash(head, body)
        blocks.append(head + prev + body)
        bodies.append(body)
    return blocks, bodies


TARGETS: dict[str, Callable[[bytes], None]] = {"scan": scan, "executions": executions, "book": book, "journal": journal}
