"""The private scanner gives exactly the tolerant decoder's message, or declines; what the venue usually sends it takes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd._fast.codes import ScanStatus
from cstd._fast.reports import ReportScanner
from cstd.venue.messages import ExecutionsMessage, decode_private
from fuzz.targets import REPORTS, Received, executions

S = ScanStatus
EXECUTIONS = S.SCAN_EXECUTIONS
IDS = {"order_id": "OK4GJX-KSTLS-7DZZO5", "cl_ord_id": "cs0000000000000001"}
TIME = "2026-08-26T15:16:16.637831Z"


class Bare(str):
    """JSON text that is put in as it stands."""

    __slots__ = ()


def text_of(value: Any) -> str:
    """One JSON value without spaces."""
    if isinstance(value, Bare):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{text_of(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(text_of, value)) + "]"
    return json.dumps(value)


def frame(*rows: dict[str, Any], kind: str = "update", sequence: int = 2) -> bytes:
    """An executions frame."""
    return text_of({"channel": "executions", "type": kind, "data": list(rows), "sequence": sequence}).encode()


def status_of(data: bytes) -> int:
    """How a frame was taken; the tolerant decoder was asked as well and agrees."""
    executions(data)
    return REPORTS.scan_bytes(data, Received())


NUMBERS = st.one_of(
    st.tuples(st.integers(0, 10**10), st.integers(0, 8)).map(lambda pair: Bare(f"{Decimal(pair[0]).scaleb(-pair[1]):f}")),
    st.sampled_from([Bare(text) for text in (
        "0", "0.0", "0.00000000", "00.1", "01", "-0", "-0.0", "-1.5", "1e-08", "5E3", ".5", "5.", "1" * 18, "1" * 19, "null",
        '"1.5"', "true", "1" * 400, "0." + "0" * 17, "0." + "0" * 18)]))
TEXTS = st.one_of(
    st.sampled_from(["trade", "new", "canceled", "filled", "BTC/USD", "buy", "m", "User requested", "", "a\"b", "a\\b", "é",
                     "\n"]),
    st.text(max_size=20))
TIMES = st.one_of(st.just(TIME), st.sampled_from([
    "2026-08-26T15:16:16Z", "2026-02-30T00:00:00Z", "2026-08-26T15:16:16+00:00", "", "1970-01-01T00:00:00Z",
    "2026-08-26t15:16:16z", "2024-02-29T23:59:60.123456789Z",
    "2026-08-26T15:16:16.1234567891Z", "1969-12-31T23:59:59Z", "9999-01-01T00:00:00Z"]))
FLAGS = st.sampled_from([Bare(text) for text in ("true", "false", "null", '"true"', "1", "tru")])
FEES = st.one_of(
    st.lists(st.fixed_dictionaries({"asset": TEXTS, "qty": NUMBERS}), max_size=6),
    st.sampled_from([Bare("null"), Bare("{}"), Bare('[{"qty":1,"asset":"USD"}]'), Bare("[null]")]))
FIELDS = {
    **dict.fromkeys(("exec_type", "order_id", "cl_ord_id", "exec_id", "order_status", "symbol", "side", "order_type", "reason",
                     "cancel_reason", "liquidity_ind", "time_in_force", "limit_price_type", "fee_ccy_pref", "ord_ref_id"), TEXTS),
    **dict.fromkeys(("order_qty", "limit_price", "last_qty", "last_price", "cost", "cum_qty", "cum_cost", "avg_price", "trade_id",
                     "order_userref", "ratecount", "ratecounter", "fee_usd_equiv", "stop_price", "display_qty"), NUMBERS),
    **dict.fromkeys(("timestamp", "expire_time"), TIMES),
    **dict.fromkeys(("post_only", "amended", "reduce_only"), FLAGS),
    "fees": FEES, "triggers": st.just({"reference": "index"}), "brand_new": TEXTS,
}


@st.composite
def reports(draw: st.DrawFn) -> dict[str, Any]:
    """A report with any of the fields in any order; exec_type is mostly there."""
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), unique=True, max_size=12))
    row = {name: draw(FIELDS[name]) for name in names}
    if draw(st.integers(0, 9)):
        row.setdefault("exec_type", "trade")
    return row


@settings(max_examples=1500)
@given(st.lists(reports(), max_size=3), st.sampled_from(["snapshot", "update", "other"]), st.integers(0, 10**19))
def test_any_report_is_read_alike_or_declined(rows: list[dict[str, Any]], kind: str, sequence: int) -> None:
    """For any fields, values and order the fast and the tolerant path give the identical message, or the fast one declines."""
    executions(frame(*rows, kind=kind, sequence=sequence))


@given(st.permutations(sorted({**IDS, "exec_type": 0, "symbol": 0, "side": 0, "last_qty": 0, "last_price": 0, "cost": 0,
                               "fees": 0, "timestamp": 0, "exec_id": 0, "ratecounter": 0})))
def test_the_order_of_the_fields_does_not_matter(names: list[str]) -> None:
    """The usual fields of a fill are taken in place in any order."""
    values = {**IDS, "exec_type": "trade", "symbol": "BTC/USD", "side": "buy", "last_qty": Bare("0.00500000"), "exec_id": "T1",
              "last_price": Bare("26599.9"), "cost": Bare("132.9995"), "timestamp": TIME, "ratecounter": 3,
              "fees": [{"asset": "USD", "qty": Bare("0.3458")}]}
    assert status_of(frame({name: values[name] for name in names})) == EXECUTIONS


@pytest.mark.parametrize("row", [
    {"timestamp": TIME, "order_status": "new", "exec_type": "new", **IDS},
    {**IDS, "symbol": "BTC/USD", "order_qty": Bare("0.00010000"), "cum_cost": Bare("0.0"), "time_in_force": "GTC",
     "exec_type": "pending_new", "side": "buy", "order_type": "limit", "limit_price_type": "static",
     "limit_price": Bare("80000.0"), "stop_price": Bare("0.0"), "order_status": "pending_new", "fee_usd_equiv": Bare("0.0"),
     "fee_ccy_pref": "fciq", "timestamp": TIME},
    {"exec_type": "amended", "order_status": "new", "reason": "User requested", "amended": True, "order_qty": Bare("0.00010000"),
     "cum_qty": Bare("0.0"), "limit_price": Bare("80001.0"), "limit_price_type": "static", **IDS, "timestamp": TIME},
    {"exec_type": "canceled", "order_status": "canceled", "cum_qty": Bare("0.0"), "cum_cost": Bare("0.0"),
     "avg_price": Bare("0.0"), "fee_usd_equiv": Bare("0.0"), "cancel_reason": "User requested", "reason": "User requested", **IDS,
     "timestamp": TIME},
    {"exec_type": "expired", "order_status": "expired", **IDS, "timestamp": TIME},
    {"exec_type": "restated", "order_status": "new", "reason": "Order size restated", **IDS, "timestamp": TIME},
    {"exec_type": "filled", "order_status": "filled", "cum_qty": Bare("0.005"), "cum_cost": Bare("132.9995"), **IDS},
    {"exec_type": "a_word_of_tomorrow", **IDS},
])
def test_what_the_venue_sends_is_scanned_in_place(row: dict[str, Any]) -> None:
    """Every kind of report in the field set that was captured or is documented is taken without the decoder."""
    assert status_of(frame(row)) == EXECUTIONS
    assert status_of(frame(row, row, kind="snapshot", sequence=1)) == EXECUTIONS


def test_an_empty_account_has_an_empty_snapshot() -> None:
    """No open orders is a message, too."""
    assert status_of(frame(kind="snapshot", sequence=1)) == EXECUTIONS


@pytest.mark.parametrize(("rows", "status"), [(128, EXECUTIONS), (129, S.SCAN_SLOW), (2000, S.SCAN_SLOW)])
def test_the_number_of_reports_is_bounded(rows: int, status: int) -> None:
    """Up to 128 reports of one frame are held; more are handed over, and read by the decoder."""
    data = frame(*[{**IDS, "exec_type": "new", "trade_id": n} for n in range(rows)], kind="snapshot", sequence=1)
    assert status_of(data) == status
    (message,) = decode_private(data)
    assert isinstance(message, ExecutionsMessage)
    assert len(message.reports) == rows


@pytest.mark.parametrize(("change", "to"), [
    (b'"new"', b'"n\\u0065w"'), (b'"new"', b'"n\xc3\xa9w"'), (b'"new"', b'""'), (b'"new"', b"null"),
    (b'"exec_type"', b'"exec_typo"'),
    (b'"timestamp":"2026', b'"timestamp": "2026'), (b'"sequence":2}', b'"sequence":2,"ratecounter":1}'),
    (b'"sequence":2', b'"sequence":2.5'),
    (b'"sequence":2}', b'"sequence":2}}'), (b'"data":[', b'"data":[{},'), (b"}],", b"}},"), (b'"update"', b'"upward"')])
def test_what_is_not_exactly_known_is_handed_over(change: bytes, to: bytes) -> None:
    """Escapes, other alphabets, nulls, unknown keys, spaces and other endings are for the decoder."""
    usual = frame({**IDS, "exec_type": "new", "timestamp": TIME})
    assert status_of(usual) == EXECUTIONS
    changed = usual.replace(change, to, 1)
    assert changed != usual
    assert status_of(changed) == S.SCAN_SLOW


@pytest.mark.parametrize(("method", "status"), [
    ("add_order", S.SCAN_REPLY), ("amend_order", S.SCAN_REPLY), ("cancel_order", S.SCAN_REPLY), ("subscribe", S.SCAN_SLOW),
    ("batch_add", S.SCAN_SLOW), ("cancel_all", S.SCAN_SLOW), ("add_ordeR", S.SCAN_SLOW)])
def test_replies_to_orders_are_scanned(method: str, status: int) -> None:
    """Replies to the three order requests are taken in place, accepted and refused ones; every other reply is decoded."""
    result = {"order_id": "AA5JGQ-SBMRC-SCJ7J7", "cl_ord_id": "c1", "order_userref": 0, "amend_id": "TTW6PD-RC36L-ZZSWNU"}
    times = {"time_in": TIME, "time_out": TIME}
    for reply in ({"method": method, "req_id": 41, "result": result, "success": True, **times},
                  {"method": method, "result": {"order_id": "O1"}, "success": True, **times, "req_id": 41},
                  {"error": "EOrder:Insufficient funds", "method": method, "req_id": 41, "success": False, **times},
                  {"method": method, "success": True}, {"method": method, "req_id": 3, "error": "E"}):
        assert status_of(text_of(reply).encode()) == status


def test_a_scanner_owes_nothing_to_the_frame_before() -> None:
    """Fields of one report never show in the next one."""
    received = Received()
    one = ReportScanner()
    one.scan_bytes(frame({**IDS, "exec_type": "trade", "last_qty": 1, "fees": [{"asset": "USD", "qty": 1}]}), received)
    one.scan_bytes(frame({"exec_type": "new"}), received)
    assert received.message == decode_private(frame({"exec_type": "new"}))[0]
    one.scan_bytes(b'{"method":"add_order","result":{"order_id":"O1"},"success":true}', received)
    one.scan_bytes(b'{"method":"add_order","success":true}', received)
    assert received.message.result is None
