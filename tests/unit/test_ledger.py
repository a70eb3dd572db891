"""Fills into positions, cash, equity and losses: exact, conserved, and against us where something must be rounded."""

from __future__ import annotations

from decimal import Decimal, localcontext
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd.ledger.nav import NS_PER_DAY, Nav, Slippage, to_money_raw
from cstd.ledger.positions import Fill, Ledger
from cstd.units import from_raw

MINUTE_NS = 60_000_000_000
DAY = 20_000  # days since the epoch


def too_little(qty_raw: int) -> bool:
    """Below the least quantity of an order."""
    return qty_raw < 5_000


def fill(n: int, side: int, qty_raw: int, price_raw: int, fees: tuple[tuple[str, Decimal], ...] = (), wall_ns: int = 0) -> Fill:
    """A fill with price in tenths and quantity in 10^-8; the venue's cost rounded to five decimals, as it does."""
    price = Decimal(price_raw) / 10
    cost = (price * Decimal(qty_raw).scaleb(-8)).quantize(Decimal("0.00001"))
    return Fill(exec_id=f"T{n}", cl_ord_id="ct0123456789abcdef", order_id="O", instrument=0, side=side, qty_raw=qty_raw,
                price=price, cost=cost, fees=fees, wall_ns=wall_ns, liquidity="maker", mid2_raw=0, kind=0,
                qty_precision=8)


def ledger() -> Ledger:
    """A ledger of one instrument."""
    made = Ledger()
    made.add_instrument(0, "BTC", "USD", 1, 8)
    return made


FEES = st.lists(st.tuples(st.sampled_from(["USD", "BTC", "KFEE"]), st.integers(0, 10**6)), max_size=2)
FILLS = st.lists(st.tuples(st.booleans(), st.integers(1, 10**10), st.integers(1, 2_000_000), FEES), min_size=1, max_size=40)


@given(FILLS)
def test_cash_and_quantity_are_conserved(rows: list) -> None:
    """Over any long-only fills: cash is what came in less what went out less fees in quote; quantity likewise with fees in
    base; and cash plus the cost of what is held is what was realized less fees."""
    book = ledger()
    cash, qty, fees_quote, foreign = Decimal(0), Decimal(0), Decimal(0), 0
    for n, (buys, wanted, price_raw, fees) in enumerate(rows):
        side = 1 if buys or qty < Decimal("0.2") else -1
        qty_raw = wanted if side > 0 else min(wanted, int(qty * 10**8) // 2)
        scaled = tuple((asset, Decimal(amount).scaleb(-9 if asset == "BTC" else -4)) for asset, amount in fees)
        one = fill(n, side, qty_raw, price_raw, scaled)
        assert book.book(one, too_little)
        quote = sum((amount for asset, amount in scaled if asset == "USD"), Decimal(0))
        base = sum((amount for asset, amount in scaled if asset == "BTC"), Decimal(0))
        foreign += sum(asset == "KFEE" for asset, _ in scaled)
        cash -= side * one.cost + quote
        fees_quote += quote
        qty += side * from_raw(qty_raw, 8) - base
    position = book.positions[0]
    assert (book.cash_flow, position.qty, position.fees) == (cash, qty, fees_quote)
    assert position.qty_raw == floor(qty * 10**8)
    assert book.foreign_fee_count == foreign
    with localcontext() as context:
        context.prec = 60
        assert abs(position.realized - position.cost - fees_quote - cash) < Decimal("1e-12")


def test_a_fee_in_base_is_rounded_against_us() -> None:
    """A fee below the smallest unit of the base takes a whole unit: we hold no more than the venue says."""
    book = ledger()
    book.book(fill(1, 1, 1_000, 10, (("BTC", Decimal("0.0000000001")),)), too_little)
    assert book.positions[0].qty_raw == 999


@given(FILLS, st.randoms(use_true_random=False))
def test_a_fill_counts_once_whatever_repeats(rows: list, random: object) -> None:
    """Any repetition of fills already booked changes nothing and is counted."""
    once, repeated = ledger(), ledger()
    fills = [fill(n, 1, qty, price) for n, (_, qty, price, _) in enumerate(rows)]
    for n, one in enumerate(fills):
        assert once.book(one, too_little)
        assert repeated.book(one, too_little)
        again = fills[random.randrange(n + 1)]  # type: ignore[attr-defined]
        assert not repeated.book(again, too_little)
    assert repeated.duplicate_count == len(fills)
    assert (once.cash_flow, once.positions[0].qty_raw, once.turnover_day) == (
        repeated.cash_flow, repeated.positions[0].qty_raw, repeated.turnover_day)


def test_round_trips_make_and_end_a_losing_streak() -> None:
    """A loss, fees included, adds to the streak when a round trip ends, and a gain ends it; a partial exit ends nothing."""
    book = ledger()
    position = book.positions[0]
    streak = []
    for n, (sell, fee) in enumerate([(999, "0"), (1000, "0.01"), (1001, "0"), (990, "0")]):
        book.book(fill(10 * n, 1, 10**8, 1000, (("USD", Decimal(fee)),)), too_little)
        book.book(fill(10 * n + 1, -1, 4 * 10**7, sell), too_little)
        assert (position.qty_raw, position.losing_round_trips) == (6 * 10**7, streak[-1] if streak else 0)
        book.book(fill(10 * n + 2, -1, 6 * 10**7, sell), too_little)
        streak.append(position.losing_round_trips)
    assert streak == [1, 2, 0, 1]
    assert (position.qty_raw, position.cost, position.trip) == (0, 0, 0)


@pytest.mark.parametrize(("sell", "streak"), [(999, 1), (1001, 0)])
def test_the_last_crumb_of_an_exit_belongs_to_its_trip(sell: int, streak: int) -> None:
    """An exit whose last execution is below the venue's minimum is one round trip: the crumb neither ends a losing streak
    nor makes a gain a loss."""
    book = ledger()
    position = book.positions[0]
    book.book(fill(1, 1, 10**8, 1000), too_little)
    book.book(fill(2, -1, 10**8 - 4_000, sell), too_little)
    book.book(fill(3, -1, 3_000, sell), too_little)
    book.book(fill(4, -1, 1_000, sell), too_little)
    assert (position.qty_raw, position.losing_round_trips) == (0, streak)


def test_turnover_is_of_the_utc_day() -> None:
    """Turnover counts both sides of the day of its fills and is zero on another day."""
    book = ledger()
    last = DAY * NS_PER_DAY + NS_PER_DAY - 1
    book.book(fill(1, 1, 10**8, 1000, wall_ns=last), too_little)
    book.book(fill(2, -1, 10**8, 1000, wall_ns=last), too_little)
    assert book.turnover(last) == 200
    assert book.turnover(last + 1) == 0
    book.book(fill(3, 1, 10**8, 1000, wall_ns=last + 1), too_little)
    assert book.turnover(last + 1) == 100


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(1, 10**12), st.integers(0, 10**6))
def test_a_change_of_precision_keeps_the_quantity(precisions: list[int], bought_raw: int, fee_raw: int) -> None:
    """Whatever the digits become, nothing is lost: what they can tell may be sold, less than one unit of the last is kept."""
    book = ledger()
    book.book(fill(1, 1, bought_raw, 1000, fees=(("BTC", from_raw(fee_raw, 10)),)), too_little)
    held = from_raw(bought_raw, 8) - from_raw(fee_raw, 10)
    position = book.positions[0]
    for precision in precisions:
        book.add_instrument(0, "BTC", "USD", 1, precision)
        assert book.managed_qty("BTC") == held
        assert 0 <= position.rest < from_raw(1, precision)
        assert from_raw(position.qty_raw, precision) + position.rest == held
    book.add_instrument(0, "BTC", "USD", 1, 10)
    assert (position.rest, from_raw(position.qty_raw, 10)) == (0, held)


# Equity and losses.

MARKS = st.lists(st.tuples(st.integers(1, 3 * 60 * 24), st.integers(-900, 900)), min_size=1, max_size=60)


@given(MARKS)
def test_losses_equal_a_plain_calculation(marks: list[tuple[int, int]]) -> None:
    """Day loss is the worse of the UTC day and the last 24 hours, drawdown is from the peak; bps are rounded up."""
    nav = Nav(Decimal(1000))
    wall_ns = DAY * NS_PER_DAY + 7 * MINUTE_NS
    peak = 1000 * 10**8
    day, day_start = -1, 0
    samples: list[tuple[int, int]] = []
    for minutes, profit in marks:
        wall_ns += minutes * MINUTE_NS
        value = (1000 + profit) * 10**8
        nav.mark(Decimal(profit), Decimal(0), None, wall_ns)
        if wall_ns // NS_PER_DAY != day:
            day, day_start = wall_ns // NS_PER_DAY, value
        samples = [(at, v) for at, v in [*samples, (wall_ns, value)] if wall_ns - at <= NS_PER_DAY]
        peak = max(peak, value)
        loss = max(day_start - value, samples[0][1] - value)
        assert (nav.nav, nav.peak, nav.day_start, nav.day_loss) == (value, peak, day_start, loss)
        base = max(day_start, samples[0][1])
        assert nav.day_loss_bps == -(-loss * 10_000 // base)
        assert nav.drawdown_bps == -(-(peak - value) * 10_000 // peak)
        assert nav.equity == min(1000 * 10**8, value)


def test_equity_is_never_above_the_account_or_the_capital() -> None:
    """Equity for limits is the least of allocated capital, net asset value and what the venue says we have."""
    nav = Nav(Decimal(1000))
    for account, equity in ((None, 1000), (Decimal(5000), 1000), (Decimal(300), 300)):
        nav.mark(Decimal(200), Decimal(0), account, DAY * NS_PER_DAY)
        assert nav.equity == equity * 10**8
    nav.mark(Decimal(-700), Decimal(0), Decimal(5000), DAY * NS_PER_DAY)
    assert nav.equity == 300 * 10**8


def test_money_is_rounded_down_and_losses_up() -> None:
    """A fraction of the smallest unit counts against us on both sides."""
    assert to_money_raw(Decimal("0.000000019")) == 1
    assert to_money_raw(Decimal("-0.000000011")) == -2
    nav = Nav(Decimal(1000))
    nav.mark(Decimal(0), Decimal(0), None, DAY * NS_PER_DAY)
    nav.mark(Decimal("-0.00000001"), Decimal(0), None, DAY * NS_PER_DAY)
    assert (nav.day_loss_bps, nav.drawdown_bps) == (1, 1)


def test_nothing_left_is_a_total_loss() -> None:
    """With all capital lost the losses are 100 %, not a division by zero."""
    nav = Nav(Decimal(1000))
    nav.mark(Decimal(0), Decimal(0), None, DAY * NS_PER_DAY)
    nav.mark(Decimal(-1000), Decimal(0), None, DAY * NS_PER_DAY)
    assert (nav.nav, nav.equity, nav.day_loss_bps, nav.drawdown_bps) == (0, 0, 10_000, 10_000)
    nav.mark(Decimal(-1000), Decimal(0), None, (DAY + 2) * NS_PER_DAY)
    assert nav.day_loss_bps == 10_000


@given(st.lists(st.tuples(st.sampled_from([1, -1]), st.integers(9_000, 11_000)), min_size=1, max_size=50))
def test_slippage_is_signed_and_its_p95_is_of_a_day(fills: list[tuple[int, int]]) -> None:
    """Paying above or selling below the mid is a cost, the reverse a gain; the 95th percentile forgets after 24 h."""
    slippage = Slippage()
    now_ns = DAY * NS_PER_DAY
    wanted = []
    for side, price in fills:
        bps = slippage.add(side=side, price=Decimal(price), mid=Decimal(10_000), cost=Decimal(price), wall_ns=now_ns)
        assert bps == (price - 10_000) * side
        wanted.append((price - 10_000) * side * 1000)
    wanted.sort()
    assert slippage.p95(now_ns) == (wanted[min(len(wanted) - 1, 95 * len(wanted) // 100)], len(wanted))
    assert slippage.day(now_ns) == sum((price - 10_000) * side * 10**8 for side, price in fills)
    assert slippage.day(now_ns + NS_PER_DAY) == 0
    assert slippage.p95(now_ns + NS_PER_DAY + 1) == (0, 0)
