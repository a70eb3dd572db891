"""Comparing a book with a reading made at an unknown moment: no difference without a cause, and no cause without one."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cstd._fast.book import Book
from cstd._fast.codes import Side
from cstd.market.audit import PROVEN_LEVELS, Difference, SideReading, side_differences, side_reading
from cstd.venue.messages import InstrumentSpec

DEPTH = 25
SPEC = InstrumentSpec(name="BTC/USD", base="BTC", quote="USD", status="online", price_precision=1, qty_precision=8,
                      price_increment_raw=1, qty_increment_raw=1, qty_min_raw=1, cost_precision=5, cost_min=Decimal(1))


class VenueSide:
    """A side without a bound at the venue, and what a subscriber at DEPTH is told of it."""

    def __init__(self, sign: int, levels: dict[int, int]) -> None:
        self.sign = sign
        self.levels = dict(levels)
        self.view = self.top()

    def top(self) -> dict[int, int]:
        return {p: self.levels[p] for p in sorted(self.levels, key=lambda p: -self.sign * p)[:DEPTH]}

    def change(self, changes: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Apply changes; returns the update: removals, new quantities, and levels that came back into sight."""
        for price, qty in changes:
            if qty:
                self.levels[price] = qty
            else:
                self.levels.pop(price, None)
        top, view = self.top(), self.view
        self.view = top
        gone = [(price, 0) for price in view if price not in top and price not in self.levels]
        return gone + [(price, qty) for price, qty in top.items() if view.get(price) != qty]

    def reading(self) -> SideReading:
        top = self.top()
        return SideReading({price: (qty, 1) for price, qty in top.items()}, whole=len(top) < DEPTH)


def two(book: Book, side: Side) -> list[tuple[int, int]]:
    return [level[:2] for level in book.levels(side, DEPTH)]


LEVELS = st.dictionaries(st.integers(1, 60), st.integers(1, 9), min_size=1, max_size=50)
CHANGES = st.lists(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=12), max_size=12)


@given(side=st.sampled_from([Side.BUY, Side.SELL]), start=LEVELS, messages=CHANGES, at=st.integers(0, 12))
@example(side=Side.BUY, start=dict.fromkeys(range(1, 40), 1), messages=[[(50, 1)], [(50, 0)]], at=1)
def test_a_true_book_never_differs(side: Side, start: dict[int, int], messages: list[list[tuple[int, int]]], at: int) -> None:
    """Whatever happens in the window, and wherever in it the reading was made, an exact book shows no difference: levels
    that flicker, leave the depth, come back, or change out of sight included."""
    venue, book = VenueSide(int(side), start), Book(DEPTH)
    sides = lambda levels: (levels, []) if side == Side.BUY else ([], levels)  # noqa: E731
    book.apply_levels(True, *sides(list(venue.top().items())), None, 0)
    book.open_window()
    before, reading = two(book, side), venue.reading()
    for number, message in enumerate(messages, 1):
        book.apply_levels(False, *sides(venue.change(message)), None, 0)
        if number == at:
            reading = venue.reading()
    after, touched = two(book, side), book.window()
    assert touched is not None
    assert side_differences(side, before, after, touched, reading, limit=DEPTH) == ([], [])


@given(side=st.sampled_from([Side.BUY, Side.SELL]), start=LEVELS, rank=st.integers(0, 24), kind=st.sampled_from(["qty", "lost"]))
def test_a_wrong_level_is_found(side: Side, start: dict[int, int], rank: int, kind: str) -> None:
    """A level that is wrong or lost is found wherever it is, and told apart by whether the checksum covers its place."""
    venue = VenueSide(int(side), start)
    true = list(venue.top().items())
    rank = min(rank, len(true) - 1)
    price, qty = true[rank]
    ours = [(p, q + 5 if p == price else q) for p, q in true] if kind == "qty" else true[:rank] + true[rank + 1:]
    deep, proven = side_differences(side, ours, ours, set(), venue.reading(), limit=DEPTH)
    wanted = [Difference(int(side), price, qty + 5 if kind == "qty" else 0, qty)]
    assert deep + proven == wanted
    beyond = sum(int(side) * p > int(side) * price for p, _ in ours) >= PROVEN_LEVELS
    assert (deep == wanted) is beyond


def test_a_level_that_is_not_at_the_venue_is_found() -> None:
    """A ghost beyond the tenth level differs; the level that it pushed out of our depth is not ours to judge."""
    true = [(1000 - n, 5) for n in range(DEPTH)]
    ours = sorted([*((p * 10, q) for p, q in true), (9855, 7)], reverse=True)[:DEPTH]
    reading = SideReading({p * 10: (q, 1) for p, q in true}, whole=False)
    assert side_differences(Side.BUY, ours, ours, set(), reading, limit=DEPTH) == ([Difference(Side.BUY, 9855, 7, 0)], [])


def test_what_a_message_named_is_left_out() -> None:
    """The same difference at a price that was named in the window is none."""
    true = [(1000 - n, 5) for n in range(DEPTH)]
    reading = SideReading({p: (q + (p == 985), 1) for p, q in true}, whole=False)
    assert side_differences(Side.BUY, true, true, {985}, reading, limit=DEPTH) == ([], [])
    assert side_differences(Side.BUY, true, true, {984}, reading, limit=DEPTH) == ([Difference(Side.BUY, 985, 5, 6)], [])


@pytest.mark.parametrize(("ours_raw", "printed", "same"), [
    (154_571_953, "1.545", True), (154_571_953, "1.546", True), (154_571_953, "1.54571953", True),
    (154_571_953, "1.54571954", False), (154_571_953, "1.547", False), (154_571_953, "1.544", False),
    (12_345, "0.000", True), (100_000_000, "1", True), (199_999_999, "1", True), (200_000_000, "1", False)])
def test_quantities_are_compared_as_exactly_as_they_are_printed(ours_raw: int, printed: str, same: bool) -> None:
    """Less than one unit of the last printed digit apart is equal, cut or rounded; with all digits only equal is equal."""
    rows = tuple((Decimal(price), Decimal(printed), 0) for price in ("100.00000", "99.90000"))
    reading = side_reading(rows, SPEC, 10)
    ours = [(1000, ours_raw), (999, ours_raw)]
    assert (side_differences(Side.BUY, ours, ours, set(), reading, limit=DEPTH) == ([], [])) is same


@pytest.mark.parametrize("rows", [(("100.05", "1.0"),), (("100.1", "1.000000001"),), (("100.1", "1"), ("100.10", "2"))])
def test_a_reading_that_cannot_be_meant_is_refused(rows: tuple[tuple[str, str], ...]) -> None:
    """Digits beyond the precision, or a price twice, are an error and no level."""
    with pytest.raises(ValueError, match=r"digits|twice"):
        side_reading(tuple((Decimal(p), Decimal(q), 0) for p, q in rows), SPEC, 10)
