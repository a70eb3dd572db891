"""The judge finds each kind of broken promise, and nothing where all is true."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from cstd._fast.codes import BookState, EventKind, OrderAction
from cstd.chaos import judge
from cstd.chaos.judge import Finding, Row, Watch, compare_all, told

START = {"USD": "10000", "BTC": "0.05"}
ORDER = {"cl_ord_id": "ct1", "order_id": "O1", "symbol": "BTC/USD", "side": "buy", "status": "filled",
         "order_qty": "0.00100000", "filled_qty": "0.00100000"}
EXIT = {**ORDER, "cl_ord_id": "ct2", "order_id": "O2", "side": "sell", "filled_qty": "0.00050000", "status": "canceled"}
FILL = {"exec_id": "T1", "cl_ord_id": "ct1", "symbol": "BTC/USD", "side": "buy", "qty": "0.00100000", "price": "63395.1",
        "fee": "0.16", "fee_asset": "USD"}
SOLD = {**FILL, "exec_id": "T2", "cl_ord_id": "ct2", "side": "sell", "qty": "0.00050000", "price": "63400.3", "fee": "0.08"}
# 10000 - 63.3951 - 0.16 + 31.70015 - 0.08
TRUTH = {"orders": [ORDER, EXIT], "fills": [FILL, SOLD], "balances": {"USD": "9968.06505", "BTC": "0.0505"}}


class Case:
    """What the daemon says beside what the exchange knows; both true until a test changes one."""

    def __init__(self) -> None:
        self.truth: Row = copy.deepcopy(TRUTH)
        # The daemon writes the same values in other digits.
        self.orders: list[Row] = [{**row, "order_qty": "0.001"} for row in copy.deepcopy(TRUTH["orders"])]
        self.fills: list[Row] = copy.deepcopy(TRUTH["fills"])
        self.positions: list[Row] = [{"asset": "BTC", "qty": "0.0005"}]

    def kinds(self) -> list[str]:
        return [finding.kind for finding in compare_all(self.orders, self.fills, self.positions, self.truth, START)]


@pytest.fixture
def case() -> Case:
    """Nothing is wrong."""
    return Case()


def test_nothing_is_found_where_all_is_true(case: Case) -> None:
    """The same values in other digits are the same, and every balance follows from the fills."""
    assert case.kinds() == []


def test_a_lost_order(case: Case) -> None:
    """An order that the exchange has and the daemon does not know."""
    del case.orders[1]
    assert case.kinds() == ["order_lost"]


@pytest.mark.parametrize("side", ["truth", "orders"])
def test_an_order_sent_twice(case: Case, side: str) -> None:
    """A client order id that is there twice, at the exchange or with the daemon."""
    rows = case.truth["orders"] if side == "truth" else case.orders
    rows.append({**rows[0], "order_id": "O9"})
    assert case.kinds() == ["order_twice"]


def test_an_order_that_never_was(case: Case) -> None:
    """The daemon shows an order that the exchange never had; only a rejected one without a fill may be such."""
    case.orders.append({**ORDER, "cl_ord_id": "ct9", "status": "canceled"})
    assert case.kinds() == ["order_invented"]
    case.orders[-1].update(status="rejected", filled_qty="0.00000001")
    assert case.kinds() == ["order_invented"]
    case.orders[-1].update(filled_qty="0")
    assert case.kinds() == []


@pytest.mark.parametrize(("field", "value"), [("status", "expired"), ("filled_qty", "0.00100001"), ("order_qty", "0.00099999"),
                                              ("side", "sell"), ("symbol", "ETH/USD")])
def test_an_order_that_differs(case: Case, field: str, value: str) -> None:
    """A status, a side, an instrument, or one raw unit of a quantity."""
    case.orders[0][field] = value
    assert case.kinds() == ["order_differs"]


def test_a_missed_fill(case: Case) -> None:
    """A fill that the daemon has not booked is missing, and so is its money."""
    del case.fills[1]
    assert case.kinds() == ["fill_missed", "balance_differs", "balance_differs"]


def test_a_fill_counted_twice(case: Case) -> None:
    """A fill that the daemon booked twice, and its money twice."""
    case.fills.append(dict(FILL))
    assert case.kinds() == ["fill_twice", "balance_differs", "balance_differs"]


def test_a_fill_that_never_was(case: Case) -> None:
    """A fill that the exchange does not know."""
    case.fills.append({**FILL, "exec_id": "T9"})
    assert case.kinds()[0] == "fill_invented"


@pytest.mark.parametrize(("field", "value"), [("qty", "0.00100001"), ("price", "63395.2"), ("fee", "0.1601"),
                                              ("cl_ord_id", "ct2"), ("fee_asset", "BTC"), ("side", "sell")])
def test_a_fill_that_differs(case: Case, field: str, value: str) -> None:
    """Every field of a fill counts, to the last digit."""
    case.fills[0][field] = value
    assert case.kinds()[0] == "fill_differs"


@pytest.mark.parametrize(("asset", "amount", "kinds"), [
    ("USD", "9968.06504", ["balance_differs"]),
    ("BTC", "0.05049999", ["balance_differs", "own_coins_moved"]),
    ("ETH", "0.00000001", ["balance_differs", "own_coins_moved"]),
])
def test_a_changed_balance(case: Case, asset: str, amount: str, kinds: list[str]) -> None:
    """A balance that is one unit away from what the fills make of the start; of a coin, the user's own have moved."""
    case.truth["balances"][asset] = amount
    assert case.kinds() == kinds


def test_own_coins_that_are_managed(case: Case) -> None:
    """The daemon takes coins of the user's for its own: the balances agree, the user's share does not."""
    case.positions[0]["qty"] = "0.0006"
    assert case.kinds() == ["own_coins_moved"]


def test_without_trading_nothing_may_move(case: Case) -> None:
    """No order at all: every asset is the user's own, cash too."""
    truth = {"orders": [], "fills": [], "balances": {**START, "USD": "9999"}}
    assert [f.kind for f in compare_all([], [], [], truth, START)] == ["balance_differs", "own_coins_moved"]
    assert compare_all([], [], [], {**truth, "balances": START}, START) == []


class Book:
    """A book in some state."""

    state = BookState.BOOK_VERIFIED


class FakeEngine:
    """What Watch looks at."""

    names = ("BTC/USD",)
    state = "ready"

    def __init__(self) -> None:
        slot = type("Slot", (), {"book": Book()})()
        self.core = type("Core", (), {"slots": [slot]})()
        self.risk = type("Desk", (), {"venue_closed": False})()


def frame(name: str, side: str = "buy") -> bytes:
    """The order frame of one order."""
    return json.dumps({"method": "add_order", "params": {"cl_ord_id": name, "symbol": "BTC/USD", "side": side}}).encode()


def see(watch: Watch, payload: bytes, tag: int = OrderAction.ACTION_ADD) -> list[str]:
    """Let it look at one order frame; returns the kinds it has found so far."""
    watch.see(7, EventKind.OUT_ORDER_FRAME, tag, payload)
    return [finding.kind for finding in watch.findings]


def test_watch_of_order_frames() -> None:
    """A verified book and the state ready: fine. The same id again: found. Cancels are no orders."""
    engine: Any = FakeEngine()
    watch = Watch(engine)
    assert see(watch, frame("ct1")) == see(watch, b"{}", OrderAction.ACTION_CANCEL) == []
    assert see(watch, frame("ct1")) == ["order_twice"]
    assert watch.ids == {"ct1"}


def test_watch_of_exits_by_rest() -> None:
    """An exit by REST is an order like any other: its id may not come a second time, by either way."""
    engine: Any = FakeEngine()
    engine.state = "reconciling"
    watch = Watch(engine)
    by_rest = b"AddOrder?pair=BTC/USD&type=sell&ordertype=limit&volume=0.1&price=1.0&timeinforce=IOC&cl_ord_id=ct3"
    assert see(watch, by_rest, OrderAction.ACTION_EXIT_REST) == []
    assert see(watch, by_rest, OrderAction.ACTION_EXIT_REST) == ["order_twice"]
    assert see(watch, frame("ct3", "sell")) == ["order_twice", "order_twice"]


@pytest.mark.parametrize(("state", "book", "kinds"), [
    ("ready", BookState.BOOK_UNVERIFIED, ["opening_unverified"]), ("reconciling", BookState.BOOK_VERIFIED, ["opening_not_ready"]),
    ("paused", BookState.BOOK_EMPTY, ["opening_unverified", "opening_not_ready"])])
def test_watch_of_openings(state: str, book: BookState, kinds: list[str]) -> None:
    """An opening on a book that is not verified, or in a state that is not ready, is found; an exit is none."""
    engine: Any = FakeEngine()
    engine.state, engine.core.slots[0].book.state = state, book
    watch = Watch(engine)
    assert see(watch, frame("ct2", "sell")) == []
    assert see(watch, frame("ct1")) == kinds


def test_watch_of_a_closed_venue() -> None:
    """No order, exit or not, is made for a venue that has said that it does not match."""
    engine: Any = FakeEngine()
    watch = Watch(engine)
    assert see(watch, frame("ct4", "sell")) == []
    engine.risk.venue_closed = True
    assert see(watch, b"{}", OrderAction.ACTION_CANCEL) == []
    assert see(watch, frame("ct5", "sell")) == ["order_while_closed"]


def test_findings_are_told_with_a_bound() -> None:
    """The first ones in full, the rest as a number."""
    text = told([Finding("order_lost", f"o{number}") for number in range(judge.SHOWN_MAX + 3)])
    assert text.splitlines()[0] == "order_lost: o0"
    assert text.splitlines()[-1] == "and 3 more"


def test_a_broken_journal_is_a_finding(tmp_path: Path) -> None:
    """Bytes that were not written: found, with what was proven before them."""
    from cstd.storage.journal import open_journal

    journal = open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 20, segment_bytes=1 << 20)
    for _ in range(200):
        journal.append_py(EventKind.EVENT_TIMER, 0, 1, 1, b"")
    journal.close()
    segment = next((tmp_path / "journal").glob("segment-*"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    assert [f.kind for f in judge.read_journal(tmp_path / "journal", None).findings] == ["journal_broken"]
