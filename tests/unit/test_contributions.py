"""What some orders brought: by hand, and by what must hold of any history."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from cstd.ledger.positions import Fill, Ledger
from cstd.research.contributions import Books, Contributions, contributions, money

BID = 1_000  # 10.00, where two digits are the price's and four the quantity's


def ledger_of(number: int = 0) -> Ledger:
    """An empty ledger of one instrument, of two and four digits."""
    ledger = Ledger()
    ledger.add_instrument(number, "ABC", "USD", 2, 4)
    return ledger


def booked(ledger: Ledger, books: Books, order: str, side: int, qty_raw: int, price: str, fee: str = "0",
           asset: str = "USD") -> None:
    """One fill in ledger and books."""
    at, cost, fees = Decimal(price), Decimal(price) * Decimal(qty_raw).scaleb(-4), ((asset, Decimal(fee)),)
    ledger.book(Fill(str(len(ledger.fills)), order, "", 0, side, qty_raw, at, cost, fees, 1, "m", 0, 0, 4), lambda left: left < 1)
    books.take(ledger)


def brought(books: Books, ledger: Ledger, stays: dict[str, int], bid_raw: int = BID) -> Contributions:
    """What falls away, at a bid."""
    return contributions(books, ledger, {0: bid_raw}, stays)


def test_a_sale_is_of_each_opening_by_its_share() -> None:
    """Two of three units are of the first opening: of a sale of half it has two thirds, and two thirds of what is left."""
    ledger, books = ledger_of(), Books()
    booked(ledger, books, "a", 1, 20_000, "9", "0.3")
    booked(ledger, books, "b", 1, 10_000, "11", "0.1")
    booked(ledger, books, "s", -1, 15_000, "12", "0.6")
    found = brought(books, ledger, {"a": 0})
    sold, left = (Decimal(18) - Decimal("0.6")) * 2 / 3, Decimal(1) * 10
    assert money(found.of["a"]) == -18 - Decimal("0.3") + sold + left
    assert (found.cash, found.marked) == (Fraction(-183, 10) + Fraction(sold), 10)
    assert brought(books, ledger, {"a": 0, "b": 0}).cash == ledger.cash_flow


def test_an_order_that_shrinks_keeps_its_first_fills() -> None:
    """Of three fills of one unit the first and half of the second stay."""
    ledger, books = ledger_of(), Books()
    for price in ("9", "10", "11"):
        booked(ledger, books, "a", 1, 10_000, price, "0.1")
    found = brought(books, ledger, {"a": 15_000})
    assert found.cash == -Fraction("5.05") - Fraction("11.1") and found.marked == 15
    assert brought(books, ledger, {"a": 30_000}).of == {"a": 0} and brought(books, ledger, {}) == (0, 0, {})


def test_a_sale_that_falls_away_leaves_its_units_held() -> None:
    """They are marked at the last bid in place of what they were sold for; without a bid they are worth nothing."""
    ledger, books = ledger_of(), Books()
    booked(ledger, books, "a", 1, 10_000, "9")
    booked(ledger, books, "s", -1, 10_000, "12", "0.5")
    found = brought(books, ledger, {"s": 0})
    assert (found.cash, found.marked) == (Fraction("11.5"), -10)
    assert brought(books, ledger, {"s": 0}, 0).marked == 0
    both = brought(books, ledger, {"a": 0, "s": 0})
    assert both.of == {"a": Fraction("2.5"), "s": 0}, "what was never bought is not left held"


def test_adopted_coins_and_fees_in_base_are_a_part_of_what_is_held() -> None:
    """Of one unit bought, a tenth of it the fee, beside nine tenths that were taken up: half of a sale is of the order."""
    ledger, books = ledger_of(), Books()
    ledger.adopt(0, Decimal("0.9"), Decimal(10), Decimal(9), 1, lambda left: left < 1)
    books.take(ledger)
    booked(ledger, books, "a", 1, 10_000, "9", "0.1", "ABC")
    booked(ledger, books, "s", -1, 18_000, "12")
    found = brought(books, ledger, {"a": 0})
    assert found.cash == -9 + Fraction("21.6") / 2 and found.marked == 0
    assert ledger.positions[0].qty == 0


def test_what_a_replay_begins_with_is_no_orders() -> None:
    """Fills of before the first record belong to what is held, and to nothing that can fall away."""
    ledger, books = ledger_of(), Books()
    booked(ledger, Books(), "old", 1, 10_000, "9")
    books.begin(ledger)
    booked(ledger, books, "a", 1, 10_000, "10")
    booked(ledger, books, "s", -1, 20_000, "12")
    assert brought(books, ledger, {"a": 0, "old": 0}).of == {"a": 2, "old": 0}


FILLS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(1, 50_000), st.integers(1, 2_000),
                           st.integers(0, 300)), max_size=25)


@settings(max_examples=60, deadline=None)
@given(FILLS, st.dictionaries(st.sampled_from("abc"), st.integers(0, 60_000), max_size=3))
def test_whatever_was_traded_the_parts_add_up(fills: list[tuple[str, bool, int, int, int]], stays: dict[str, int]) -> None:
    """All openings gone: the capital is left. Each by itself: their sum is what all bring."""
    ledger, books = ledger_of(), Books()
    for order, buys, qty_raw, price, fee in fills:
        held = ledger.positions[0].qty_raw
        if buys or held:
            booked(ledger, books, order if buys else f"sale {len(ledger.fills)}", 1 if buys else -1,
                   qty_raw if buys else min(qty_raw, held), f"{price}.5", f"0.{fee:03}")
    position = ledger.positions[0]
    whole = brought(books, ledger, dict.fromkeys("abc", 0))
    assert whole.cash == ledger.cash_flow and whole.marked == position.value_at(BID)
    assert whole.nav_without(ledger.cash_flow, position.value_at(BID), 10**12) == 10**12
    some = brought(books, ledger, stays)
    alone = [brought(books, ledger, {order: left}) for order, left in stays.items()]
    assert some.cash == sum(one.cash for one in alone) and some.marked == sum(one.marked for one in alone)
    assert some.cash + some.marked == sum(some.of.values())
