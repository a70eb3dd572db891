"""Units and attribution: the parts are the change of value, to the last digit, and a flow moves the value of no unit."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd.ledger.performance import EXACT, PARTS, Held, Levels, Parts, Performance, Trade, value

ZERO = Decimal(0)
ASSETS = ("BTC", "ETH")


class Account:
    """An account as the levels see it, moved by hand; everything in it follows from what is done to it."""

    def __init__(self, cash: Decimal = Decimal(10_000)) -> None:
        self.cash, self.ours, self.rounding, self.fills, self.adopted = cash, ZERO, ZERO, 0, 0
        self.held = {"BTC": Held(Decimal("0.05"), ZERO, ZERO, Decimal("100000.1")), "ETH": Held(ZERO, ZERO, ZERO, Decimal(0))}
        self.performance = Performance()
        self.trades: list[Trade] = []
        self.taken: dict[str, Decimal] = {}
        self.look()

    def change(self, asset: str, **fields: Decimal) -> None:
        """Add to fields of an asset."""
        before = self.held[asset]
        self.held[asset] = Held(**{name: getattr(before, name) + fields.get(name, ZERO) for name in Held.__struct_fields__})

    def trade(self, asset: str, side: int, qty: Decimal, price: Decimal, **more: Any) -> None:
        """One fill of ours: cash and coins move as the ledger would move them."""
        fee_quote, fee_base, off = (more.get(name, ZERO) for name in ("fee_quote", "fee_base", "off"))
        trade = Trade(asset, side, qty, price, qty * price + off, fee_quote, fee_base, more.get("arrival"), more.get("mid"))
        self.ours += -side * trade.cost - fee_quote
        self.change(asset, qty=side * qty - fee_base, rest=-fee_base if fee_base else ZERO)
        self.trades.append(trade)
        self.fills += 1

    def adopt(self, asset: str, qty: Decimal) -> None:
        """Coins of the user's become managed."""
        self.change(asset, own=-qty, qty=qty)
        self.taken[asset] = self.taken.get(asset, ZERO) + qty
        self.adopted += 1

    def look(self) -> None:
        """The projector's look."""
        levels = Levels(self.cash, self.ours, self.rounding, self.fills, self.adopted, dict(self.held))
        self.performance.look(levels, self.trades, self.taken)
        self.trades, self.taken = [], {}


def parts(account: Account) -> dict[str, Decimal]:
    """The parts that are not zero."""
    found = account.performance.parts
    return {name: getattr(found, name) for name in PARTS if getattr(found, name)}


def test_a_round_trip_taken_apart() -> None:
    """Bought above the mid of the decision, held, sold: slippage, timing, spread, fees and alpha are what they are."""
    account = Account()
    account.held["BTC"] = Held(ZERO, ZERO, ZERO, Decimal(100))
    account.performance = Performance()
    account.look()
    start = account.performance.nav
    account.trade("BTC", 1, Decimal(2), Decimal(102), fee_quote=Decimal("0.5"), arrival=Decimal(101), mid=Decimal("101.5"))
    account.look()
    assert parts(account) == {
        "slippage": -2, "timing": 1, "spread": -3, "fees": Decimal("-0.5")}
    account.change("BTC", bid=Decimal(10))
    account.trade("BTC", -1, Decimal(2), Decimal(109), fee_quote=Decimal("0.5"), arrival=Decimal(110), mid=Decimal(111))
    account.look()
    assert parts(account) == {
        "alpha": 20, "slippage": -4, "timing": -1, "spread": -1, "fees": -1}
    assert account.performance.nav - start == 13 == 2 * (109 - 102) - 1 and account.performance.unexplained == 0


@pytest.mark.parametrize("amount", ["2500", "-2500", "0.00000001", "-0.00000001", "123.456789"])
def test_a_flow_of_cash_issues_units_at_the_value_of_then(amount: str) -> None:
    """A deposit, a reward, a withdrawal: value and units move, the value of a unit does not, and nothing is profit."""
    account = Account()
    account.change("BTC", bid=Decimal(3))
    account.look()
    before, units, nav = account.performance.per_unit, account.performance.units, account.performance.nav
    account.cash += Decimal(amount)
    account.look()
    after = account.performance
    assert after.nav - nav == after.parts.flows == Decimal(amount)
    assert before is not None and after.per_unit is not None and 0 <= after.per_unit - before <= Decimal("1e-11")
    assert (after.units > units) == (Decimal(amount) > 0) or abs(Decimal(amount)) == Decimal("0.00000001")
    assert (after.series, after.unexplained) == (1, 0)


def test_coins_that_come_and_go_are_flows_at_the_bid() -> None:
    """A deposit of coins, and a withdrawal at another price: own moves in between are what the price did."""
    account = Account()
    account.change("BTC", own=Decimal("0.1"))
    account.look()
    assert parts(account) == {"flows": Decimal("10000.01")}
    account.change("BTC", bid=Decimal(-1000))
    account.look()
    assert parts(account)["own"] == -150
    account.change("BTC", own=Decimal("-0.15"))
    account.look()
    assert account.performance.nav == 10_000 and account.performance.unexplained == 0


def test_an_adoption_is_no_flow() -> None:
    """The coins were in the account before: they change hands in it, and no unit comes or goes."""
    account = Account()
    units = account.performance.units
    account.adopt("BTC", Decimal("0.03"))
    account.look()
    assert not parts(account) and account.performance.units == units
    account.change("BTC", bid=Decimal(100))
    account.look()
    assert parts(account) == {"alpha": 3, "own": 2}


def test_coins_without_a_price_come_in_with_their_first_one() -> None:
    """No profit is made of a book that is verified late."""
    account = Account()
    account.change("ETH", own=Decimal(2))
    account.look()
    before = account.performance.per_unit
    account.change("ETH", bid=Decimal(3000))
    account.look()
    assert parts(account) == {"flows": 6000} and account.performance.per_unit == before


def test_units_begin_anew_where_nothing_was_left() -> None:
    """Everything withdrawn, then a deposit: another series, at a value of one."""
    account = Account()
    account.change("BTC", own=Decimal("-0.05"))
    account.cash = ZERO
    account.look()
    assert (account.performance.units, account.performance.per_unit, account.performance.nav) == (0, None, 0)
    account.cash = Decimal(7)
    account.look()
    assert (account.performance.units, account.performance.per_unit) == (7, 1) and account.performance.series > 1
    assert account.performance.unexplained == 0


def test_what_no_increment_tells_of_is_unexplained() -> None:
    """The comparison can fail: coins or cash that came by no fill and no move of the user's."""
    account = Account()
    account.change("BTC", qty=Decimal("0.001"))
    account.look()
    assert account.performance.unexplained == Decimal("100.0001")
    account.ours += 5
    account.look()
    assert account.performance.unexplained == Decimal("105.0001")


def digits(places: int, low: int, high: int) -> st.SearchStrategy[Decimal]:
    """Decimals with so many places."""
    return st.integers(low * 10**places, high * 10**places).map(lambda raw: Decimal(raw).scaleb(-places))


PRICE, QTY = digits(5, 1, 200_000), digits(10, 0, 3)
STEP = st.one_of(
    st.tuples(st.just("cash"), digits(8, -20_000, 20_000)),
    st.tuples(st.just("coins"), st.sampled_from(ASSETS), digits(10, -1, 3)),
    st.tuples(st.just("adopt"), st.sampled_from(ASSETS), QTY),
    st.tuples(st.just("bid"), st.sampled_from(ASSETS), PRICE),
    st.tuples(st.just("fill"), st.sampled_from(ASSETS), st.sampled_from([1, -1]), QTY, PRICE, st.none() | PRICE,
              st.none() | PRICE, digits(10, 0, 20), digits(12, 0, 1), digits(10, -1, 1)),
    st.tuples(st.just("ledger"), digits(4, -1, 1)))


def apply(account: Account, step: tuple[Any, ...]) -> None:
    """One thing that happens to an account."""
    match step:
        case "cash", amount:
            account.cash += amount
        case "coins", asset, qty:
            account.change(asset, own=max(qty, -account.held[asset].own))
        case "adopt", asset, qty:
            account.adopt(asset, min(qty, account.held[asset].own))
        case "bid", asset, bid:
            account.change(asset, bid=bid - account.held[asset].bid)
        case "fill", asset, side, qty, price, arrival, mid, fee, fee_base, off:
            account.trade(asset, side, qty, price, arrival=arrival, mid=mid, fee_quote=fee, fee_base=fee_base / 10**6, off=off)
        case "ledger", amount:
            account.rounding += amount


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(STEP, max_size=4), max_size=12))
def test_the_parts_are_the_change_of_value_to_the_last_digit(looks: list[list[tuple[Any, ...]]]) -> None:
    """Whatever happened between two looks, in any number: nothing is unexplained, and a unit moves by profit alone.

    The value of a unit is compared with what profits alone make of one, in fractions, but for what whole units are rounded by.
    """
    account = Account()
    kept = account.performance
    with localcontext(EXACT):
        for steps in looks:
            nav, flows, units, series = kept.nav, kept.parts.flows, kept.units, kept.series
            for step in steps:
                apply(account, step)
            account.look()
            assert kept.nav == value(kept.levels or Levels(ZERO, ZERO, ZERO, 0, 0, {}))
            assert kept.first + kept.parts.total() == kept.nav and kept.unexplained == 0
            if kept.series != series or not units:
                continue
            flow = kept.parts.flows - flows
            profit = kept.nav - nav - flow
            # nav / units before, moved by profit alone, beside nav / units after.
            alone, shown = Fraction(nav + profit) / Fraction(units), Fraction(kept.nav) / Fraction(kept.units)
            assert alone <= shown <= alone * (1 + Fraction(1, 10**8) / Fraction(kept.units)) or alone <= 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(STEP, max_size=3), max_size=8), st.integers(0, 7))
def test_it_goes_on_from_what_was_written_down(looks: list[list[tuple[Any, ...]]], at: int) -> None:
    """A projector that begins at a row comes to what one has that never ended."""
    account = Account()
    with localcontext(EXACT):
        for number, steps in enumerate(looks):
            for step in steps:
                apply(account, step)
            account.look()
            if number == at:
                old, account.performance = account.performance, Performance()
                assert old.levels is not None
                account.performance.restore(old.levels, old.nav, old.unexplained, old.units, old.series,
                                            Parts(*(getattr(old.parts, name) for name in PARTS)))
                assert account.performance.first == old.first
    assert account.performance.unexplained == 0
