"""The matching engine: price-time priority, displays, self-trade prevention."""

from __future__ import annotations

import pytest

from cstd.practice.matching import BUY, SELL, Book, Resting


def resting(side: int, price_raw: int, qty_raw: int, **options: object) -> Resting:
    return Resting(side, price_raw, qty_raw, **options)  # type: ignore[arg-type]


def test_better_price_first_then_earlier_order() -> None:
    """A taker meets the best price first and, at one price, the order that came first."""
    book = Book()
    late, early, best = resting(SELL, 101, 5), resting(SELL, 101, 5), resting(SELL, 100, 5)
    for order in (early, late, best):
        book.rest(order)
    taken = book.take(BUY, 101, 12)
    assert [(m.maker, m.price_raw, m.qty_raw) for m in taken.matches] == [
        (best, 100, 5),
        (early, 101, 5),
        (late, 101, 2),
    ]
    assert book.asks.totals == {101: 3}
    assert taken.leaves_raw == 0


def test_limit_is_never_passed() -> None:
    """A taker stops at its limit and keeps the rest."""
    book = Book()
    book.rest(resting(BUY, 99, 4))
    book.rest(resting(BUY, 98, 4))
    taken = book.take(SELL, 99, 10)
    assert [m.price_raw for m in taken.matches] == [99]
    assert taken.leaves_raw == 6
    assert book.bids.prices(5) == [98]


@pytest.mark.parametrize(("limit_raw", "crosses"), [(99, False), (100, True), (101, True)])
def test_crossing_is_at_or_beyond_the_best(limit_raw: int, crosses: bool) -> None:
    """A buy crosses at the best ask and above it, not below."""
    book = Book()
    book.rest(resting(SELL, 100, 1))
    assert book.crosses(BUY, limit_raw) is crosses


def test_iceberg_shows_its_display_and_refills_at_the_end() -> None:
    """Only the display counts in the level; when it is used up, the refill stands behind everyone else."""
    book = Book()
    iceberg, other = resting(SELL, 100, 10, display_raw=4), resting(SELL, 100, 3)
    book.rest(iceberg)
    book.rest(other)
    assert book.asks.totals == {100: 7}
    first = book.take(BUY, 100, 4)
    assert first.matches[0].refilled
    assert book.asks.orders(100) == [other, iceberg]
    assert book.asks.totals == {100: 7}
    second = book.take(BUY, 100, 100)
    assert [m.qty_raw for m in second.matches] == [3, 4, 2]
    assert second.leaves_raw == 91
    assert not book.asks.keys


@pytest.mark.parametrize(
    ("stp", "matched", "stopped", "canceled"),
    [("cancel_newest", 0, True, 0), ("cancel_oldest", 5, False, 1), ("cancel_both", 0, True, 1)],
)
def test_self_trade_prevention(stp: str, matched: int, stopped: bool, canceled: int) -> None:
    """An own maker is never traded with; the policy says which order goes."""
    book = Book()
    book.rest(resting(SELL, 100, 5, owner="me"))
    book.rest(resting(SELL, 100, 5))
    taken = book.take(BUY, 100, 5, owner="me", stp=stp)
    assert sum(m.qty_raw for m in taken.matches) == matched
    assert taken.stopped_by_self is stopped
    assert len(taken.makers_to_cancel) == canceled


def test_checksum_of_a_recorded_kraken_book() -> None:
    """The book's CRC32 equals Kraken's own on a published BTC/USD book."""
    asks = """45285.2/0.00100000 45286.4/1.54571953 45286.6/1.54571109 45289.6/1.54560911 45290.2/0.15890660
        45291.8/1.54553491 45294.7/0.04454749 45296.1/0.35380000 45297.5/0.09945542 45299.5/0.18772827"""
    bids = """45283.5/0.10000000 45283.4/1.54582015 45282.1/0.10000000 45281.0/0.10000000 45280.3/1.54592586
        45279.0/0.07990000 45277.6/0.03310103 45277.5/0.30000000 45277.3/1.54602737 45276.6/0.15445238"""
    book = Book()
    for side, text in ((SELL, asks), (BUY, bids)):
        for level in text.split():
            price, qty = (int(part.replace(".", "")) for part in level.split("/"))
            book.rest(resting(side, price, qty))
    assert book.checksum() == 3310070434
