"""Trade bars: what closes when, what counts once, what is dropped."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd._fast import bars

S = 10**9
M = 60 * S
H = 60 * M
M1, M5, H1 = 1, 2, 4
# 2026-08-02 10:00:00 UTC, the start of an hour.
T0 = 1_785_664_800 * S


def series(*, tape_from: int | None = T0) -> bars.BarSeries:
    """Return bars of an instrument with 1 price digit and 8 quantity digits."""
    made = bars.BarSeries(1, 8)
    if tape_from is not None:
        made.tape_from(tape_from)
    return made


def row(start: int, price: int, qty: int = 10**8, trades: int = 1) -> tuple[int, ...]:
    """Return a history row of one price."""
    return (start, price, price, price, price, qty, price * qty // 10, trades)


def test_a_bar_closes_with_the_first_trade_of_a_later_one() -> None:
    """Open, high, low, close, quantity, value and count are those of its trades; the mask names the interval."""
    made = series()
    assert made.trade(1_000_000, 2 * 10**8, T0) == 0
    assert made.trade(1_000_500, 10**8, T0 + 20 * S) == 0
    assert made.trade(999_000, 10**7, T0 + M - 1) == 0
    assert made.trade(999_500, 10**7, T0 + M) == M1
    value = (1_000_000 * 2 * 10**8 + 1_000_500 * 10**8 + 999_000 * 10**7) // 10
    assert made.closed(0) == [(T0, 1_000_000, 1_000_500, 999_000, 999_000, 310_000_000, value, 3)]
    assert made.trade(999_600, 10**7, T0 + 5 * M) == M1 | M5
    assert made.trade(999_700, 10**7, T0 + H) == M1 | M5 | H1
    assert [bar[7] for bar in made.closed(2)] == [5]


def test_time_closes_a_bar_one_second_after_its_end_and_not_before() -> None:
    """At the end plus 1 s it closes, a nanosecond earlier it does not."""
    made = series()
    made.trade(1_000_000, 10**8, T0)
    assert made.pass_time(T0 + M + S - 1) == 0
    assert made.pass_time(T0 + M + S) == M1
    assert made.pass_time(T0 + M + S) == 0
    assert made.pass_time(T0 + 5 * M + S) == M5
    assert made.pass_time(T0 + H + S) == H1


def test_a_minute_without_trades_has_no_bar() -> None:
    """Nothing is filled in between two bars that are ten minutes apart."""
    made = series()
    made.trade(1_000_000, 10**8, T0)
    made.trade(1_000_001, 10**8, T0 + 10 * M)
    made.trade(1_000_002, 10**8, T0 + 11 * M)
    assert [bar[0] for bar in made.closed(0)] == [T0, T0 + 10 * M]


def test_a_trade_for_a_closed_bar_is_late_and_leaves_it_alone() -> None:
    """Decisions have used the closed bar; the trade is counted as late."""
    made = series()
    made.trade(1_000_000, 10**8, T0)
    made.pass_time(T0 + M + S)
    before = made.closed(0)
    assert made.trade(2_000_000, 10**8, T0 + M - 1) == 0
    assert made.closed(0) == before
    assert made.late_trades == 1


@pytest.mark.parametrize(("price", "qty"), [(0, 1), (-5, 1), (5, 0), (5, -1)])
def test_a_trade_without_price_or_quantity_is_refused(price: int, qty: int) -> None:
    """It makes no bar and is counted."""
    made = series()
    made.trade(price, qty, T0)
    made.pass_time(T0 + H + S)
    assert made.closed(0) == []
    assert made.refused_trades == 1


def test_a_bar_that_began_before_the_tape_is_dropped() -> None:
    """The first part of its trades is unknown, so it is not a bar; the next one is."""
    made = series(tape_from=T0 + 30 * S)
    made.trade(1_000_000, 10**8, T0 + 29 * S)
    made.trade(1_000_100, 10**8, T0 + 31 * S)
    assert made.trade(1_000_200, 10**8, T0 + M) == 0
    assert made.trade(1_000_300, 10**8, T0 + 2 * M) == M1
    assert [bar[:2] for bar in made.closed(0)] == [(T0 + M, 1_000_200)]
    assert made.incomplete_bars == 1


def test_a_gap_of_the_tape_drops_the_bars_it_cut() -> None:
    """After a reconnect the bars that were forming are incomplete at every interval."""
    made = series()
    made.trade(1_000_000, 10**8, T0)
    made.tape_from(T0 + 20 * S)
    made.trade(1_000_100, 10**8, T0 + 30 * S)
    assert made.pass_time(T0 + H + S) == 0
    assert made.incomplete_bars == 3


def test_the_forming_row_of_the_history_is_joined_without_counting_twice() -> None:
    """Trades up to the row's time are in the row; later ones are added; the bar is complete."""
    made = series(tape_from=T0 + 20 * S)
    assert made.load_open(0, row(T0, 1_000_000, 5 * 10**8, 7), T0 + 30 * S)
    made.trade(1_000_100, 10**8, T0 + 30 * S)
    made.trade(1_000_200, 10**8, T0 + 30 * S + 1)
    assert made.trade(1_000_300, 10**8, T0 + M) == M1
    bar = made.closed(0)[0]
    assert (bar[1], bar[2], bar[4], bar[5], bar[7]) == (1_000_000, 1_000_200, 1_000_200, 6 * 10**8, 8)


def test_a_forming_row_older_than_the_tape_leaves_the_bar_incomplete() -> None:
    """Between the row's time and the tape's begin trades may be missing, so the bar is dropped."""
    made = series(tape_from=T0 + 40 * S)
    made.load_open(0, row(T0, 1_000_000), T0 + 30 * S)
    made.trade(1_000_200, 10**8, T0 + 50 * S)
    assert made.trade(1_000_300, 10**8, T0 + M) == 0
    assert made.incomplete_bars == 1


def test_a_forming_row_that_comes_after_a_later_trade_is_not_joined() -> None:
    """The trade cannot be told apart from those in the row."""
    made = series(tape_from=T0)
    made.trade(1_000_000, 10**8, T0 + 35 * S)
    assert not made.load_open(0, row(T0, 1_000_000), T0 + 30 * S)


def test_history_is_taken_once_and_in_order() -> None:
    """Rows not later than the newest bar are ignored, also when the whole history comes again."""
    made = series(tape_from=T0)
    rows = [row(T0 - k * M, 1_000_000 + k) for k in (3, 2, 1)]
    assert [made.load(0, r) for r in rows] == [True, True, True]
    assert [made.load(0, r) for r in rows] == [False, False, False]
    made.trade(1_000_000, 10**8, T0)
    made.trade(1_000_000, 10**8, T0 + M)
    assert [bar[0] for bar in made.closed(0)] == [T0 - 3 * M, T0 - 2 * M, T0 - M, T0]
    assert not made.load(0, row(T0, 999))


def test_a_closed_row_replaces_the_incomplete_bar_it_covers() -> None:
    """After a gap the venue's own row of that minute is taken instead of our part of it."""
    made = series(tape_from=T0 + 30 * S)
    made.trade(1_000_000, 10**8, T0 + 31 * S)
    assert made.load(0, row(T0, 1_000_050, 9 * 10**8, 9))
    assert made.trade(1_000_100, 10**8, T0 + 40 * S) == 0
    assert made.trade(1_000_100, 10**8, T0 + M) == 0
    assert made.closed(0) == [row(T0, 1_000_050, 9 * 10**8, 9)]
    assert made.incomplete_bars == 0


# From when on no bar misses a trade.


def told(made: bars.BarSeries, rows: list[tuple[int, ...]], as_of: int, *, forming: bool = False) -> None:
    """The venue's whole history of minutes."""
    for each in rows:
        made.load(0, each)
    made.history(0, rows[0][0], as_of, forming)


def test_nothing_is_whole_before_the_tape() -> None:
    """Nor with a history that no tape joins, nor while the tape is lost."""
    made = series(tape_from=None)
    told(made, [row(T0 - M, 1_000_000)], T0)
    assert made.whole_from(0) is None
    made.tape_from(T0 + S)
    assert made.whole_from(0) == T0 + M
    made.tape_from(2**63 - 1)
    assert made.whole_from(0) is None


@pytest.mark.parametrize(("tape", "whole"), [(T0, T0), (T0 + 1, T0 + M), (T0 + M, T0 + M)])
def test_bars_are_whole_from_the_first_that_begins_with_the_tape(tape: int, whole: int) -> None:
    """At the start of a bar it is that bar, a nanosecond later the next."""
    assert series(tape_from=tape).whole_from(0) == whole


@pytest.mark.parametrize(("as_of", "joined"), [(T0 + 9 * S, False), (T0 + 10 * S, True), (T0 + 11 * S, True)])
def test_a_history_joins_a_tape_that_began_before_it(as_of: int, joined: bool) -> None:
    """Between a history and a tape that begins after it trades may be missing."""
    made = series(tape_from=T0 + 10 * S)
    told(made, [row(T0 - k * M, 1_000_000 + k) for k in (3, 2, 1)], as_of)
    assert made.whole_from(0) == (T0 - 3 * M if joined else T0 + M)


def test_a_history_without_a_row_for_now_says_that_nothing_was_traded_yet() -> None:
    """The bar under way is whole though it began before the tape; without that word it is dropped."""
    for as_of, closed in ((T0 + 12 * S, 2), (T0 + 9 * S, 1)):
        made = series(tape_from=T0 + 10 * S)
        told(made, [row(T0 - M, 1_000_000)], as_of)
        made.trade(1_000_000, 10**8, T0 + 20 * S)
        made.pass_time(T0 + M + S)
        assert len(made.closed(0)) == closed
        assert made.whole_from(0) == (T0 - M if closed == 2 else T0 + M)


def test_a_dropped_bar_is_not_whole() -> None:
    """What comes after it is."""
    made = series(tape_from=T0 - M)
    made.trade(1_000_000, 10**8, T0)
    made.tape_from(T0 + 20 * S)
    made.trade(1_000_000, 10**8, T0 + 30 * S)
    made.pass_time(T0 + M + S)
    assert (made.incomplete_bars, made.whole_from(0)) == (1, T0 + M)


def test_a_late_trade_is_missing_from_its_bar() -> None:
    """At each length that had closed: the minute, not the hour."""
    made = series()
    made.trade(1_000_000, 10**8, T0)
    made.pass_time(T0 + M + S)
    made.trade(1_000_000, 10**8, T0 + M - 1)
    assert [made.whole_from(interval) for interval in (0, 1, 2)] == [T0 + M, T0, T0]


OTHERS = {"open": 1, "high": 2, "low": 3, "close": 4, "quantity": 5}


@pytest.mark.parametrize("name", [*OTHERS, "value", "missing", "same"])
def test_a_row_of_the_venue_that_is_another_than_ours(name: str) -> None:
    """Ours stays, because it was used, and the bars are whole after it; its value is in our currency and may differ."""
    made = series()
    for minute in range(5):
        if not (name == "missing" and minute == 2):
            for price in (1_000_000, 1_000_010, 999_990, 1_000_000):
                made.trade(price, 10**8, T0 + minute * M)
    made.pass_time(T0 + 5 * M + S)
    before = made.closed(0)
    theirs = [(T0 + minute * M, 1_000_000, 1_000_010, 999_990, 1_000_000, 4 * 10**8, 1, 4) for minute in range(5)]
    if name in OTHERS:
        changed = list(theirs[2])
        changed[OTHERS[name]] += {"high": 1, "low": -1, "quantity": 1}.get(name, 5)
        theirs[2] = tuple(changed)
    told(made, theirs, T0 + 5 * M + 2 * S)
    assert made.closed(0) == before
    assert made.whole_from(0) == (T0 if name in ("same", "value") else T0 + 3 * M)


def test_a_row_that_cannot_be_a_bar_is_a_hole_and_one_without_trades_is_none() -> None:
    """Nothing is known of the first; the second says that there was nothing."""
    for bad, whole in (((T0 - 2 * M, 10, 10, 0, 10, 1, 1, 1), T0 - M), ((T0 - 2 * M, 10, 10, 10, 10, 0, 0, 0), T0 - 3 * M)):
        made = series()
        told(made, [row(T0 - 3 * M, 10), bad, row(T0 - M, 10)], T0 + S)
        assert made.whole_from(0) == whole


def test_closed_bars_after_a_time() -> None:
    """The first of them, oldest first, also when the ring has gone round."""
    made = series()
    for k in range(1000):
        made.trade(1_000_000 + k, 10**8, T0 + k * M)
    kept = made.closed(0)
    for after in (0, T0, T0 + 278 * M, T0 + 279 * M, T0 + 500 * M + 1, T0 + 997 * M, T0 + 998 * M):
        expected = [bar for bar in kept if bar[0] > after]
        assert made.closed_after(0, after, 1000) == expected
        assert made.closed_after(0, after, 7) == expected[:7]
    assert made.newest(0) == T0 + 998 * M and series().newest(0) is None
    assert series().closed_after(0, T0, 5) == []


BAD_ROWS = {
    "not on the minute": (T0 + 1, 10, 10, 10, 10, 1, 1, 1), "low above open": (T0, 10, 12, 11, 12, 1, 1, 1),
    "high below close": (T0, 10, 11, 10, 12, 1, 1, 1), "zero low": (T0, 10, 11, 0, 10, 1, 1, 1),
    "no quantity": (T0, 10, 10, 10, 10, 0, 1, 1), "no trades": (T0, 10, 10, 10, 10, 1, 1, 0),
    "negative value": (T0, 10, 10, 10, 10, 1, -1, 1),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_history_row_that_cannot_be_a_bar_is_ignored(name: str) -> None:
    """It is not repaired."""
    made = series()
    assert not made.load(0, BAD_ROWS[name])
    assert made.closed(0) == []


def test_only_the_newest_720_bars_are_kept() -> None:
    """The ring holds as many rows as the venue's history gives."""
    made = series()
    for k in range(1000):
        made.trade(1_000_000 + k, 10**8, T0 + k * M)
    kept = made.closed(0)
    assert len(kept) == bars.bar_capacity == 720
    assert (kept[0][0], kept[-1][0]) == (T0 + 279 * M, T0 + 998 * M)


def test_the_value_of_the_hour_counts_sixty_minute_slots() -> None:
    """It is the sum over the forming minute and the 59 before it, at any time of the minute."""
    made = series()
    for k in range(100):
        made.trade(1_000_000, 10**8 + k, T0 + k * M + 5 * S)
        expected = sum((1_000_000 * (10**8 + j)) // 10 for j in range(max(0, k - 59), k + 1))
        assert made.value_hour(T0 + k * M + 6 * S) == expected
        assert made.value_hour(T0 + k * M + 59 * S) == expected
    assert made.value_hour(T0 + 99 * M + 2 * H) == 0


def test_the_hour_is_ready_only_when_tape_or_history_covers_it() -> None:
    """One minute short it is not; without any word about the tape it is not."""
    assert not series(tape_from=None).covers_hour(T0 + H)
    made = series(tape_from=T0)
    assert not made.covers_hour(T0 + 58 * M + 59 * S)
    assert made.covers_hour(T0 + 59 * M)
    loaded = series(tape_from=T0)
    loaded.load(0, row(T0 - 58 * M, 1_000_000))
    assert not loaded.covers_hour(T0)
    older = series(tape_from=T0)
    older.load(0, row(T0 - 59 * M, 1_000_000))
    assert older.covers_hour(T0)


def test_a_lost_tape_covers_no_hour_whatever_history_there_is() -> None:
    """What is traded then is not counted, and is not counted as traded; the tape that begins again joins the history."""
    made = series(tape_from=T0)
    made.load(0, row(T0 - 59 * M, 1_000_000))
    made.tape_from(2**63 - 1)
    value = made.value_hour(T0)
    assert not made.covers_hour(T0) and not made.covers_hour(T0 + 2 * H)
    made.trade(1_000_000, 10**8, T0 + S)
    assert made.value_hour(T0 + S) == value
    made.tape_from(T0 + 2 * S)
    assert made.covers_hour(T0 + 2 * S)


def test_value_uses_the_rate_and_saturates() -> None:
    """Quote value is converted at 10^-8; a product beyond 64 bits saturates instead of wrapping; no rate, no value."""
    made = series()
    made.rate(150_000_000)
    made.trade(1_000_000, 10**8, T0)
    assert made.value_hour(T0) == 1_000_000 * 10**8 // 10 * 3 // 2
    made.trade(2**62, 2**62, T0 + S)
    assert made.value_hour(T0 + S) == 2**63 - 1
    unknown = series()
    unknown.rate(0)
    unknown.trade(1_000_000, 10**8, T0)
    assert unknown.value_hour(T0) == 0


def exact_value(price: int, qty: int, digits: int, rate: int) -> int:
    quote = price * qty * 10**8 // 10**digits if digits > 8 else price * qty * 10**(8 - digits)
    return min(quote * rate // 10**8, 2**63 - 1)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1),
       st.integers(1, 2**62))
def test_value_is_exact_to_the_last_unit(price_digits: int, qty_digits: int, price: int, qty: int, rate: int) -> None:
    """For any precision, price, quantity and rate it equals arithmetic on unbounded integers, rounded down."""
    made = bars.BarSeries(price_digits, qty_digits)
    made.tape_from(T0)
    made.rate(rate)
    made.trade(price, qty, T0)
    assert made.value_hour(T0) == exact_value(price, qty, price_digits + qty_digits, rate)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 10**7), st.integers(1, 10**9)), max_size=80))
def test_bars_equal_those_grouped_by_a_dictionary(steps: list[tuple[int, int, int]]) -> None:
    """Any tape in order gives the bars that grouping by interval start gives, at all three intervals."""
    made = series()
    tape, now = [], T0
    for seconds, price, qty in steps:
        now += seconds * S
        tape.append((now, price, qty))
        made.trade(price, qty, now)
    made.pass_time(now + 2 * H)
    for interval, step in enumerate(bars.interval_ns):
        groups = defaultdict(list)
        for ns, price, qty in tape:
            groups[ns // step * step].append((price, qty))
        expected = [
            (start, g[0][0], max(p for p, _ in g), min(p for p, _ in g), g[-1][0], sum(q for _, q in g),
             sum(p * q // 10 for p, q in g), len(g)) for start, g in groups.items()]
        assert made.closed(interval) == expected


def test_precisions_out_of_range_are_refused() -> None:
    """Thirty digits together are the most a 128-bit product can scale."""
    with pytest.raises(ValueError, match="precisions"):
        bars.BarSeries(16, 15)
    with pytest.raises(ValueError, match="precisions"):
        bars.BarSeries(-1, 8)
    with pytest.raises(ValueError, match="interval"):
        series().closed(3)
