"""Rows of closed bars: those that training computes, bit for bit, or a named reason; never of a bar that is not whole."""

from __future__ import annotations

import gzip
import random
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd.engine.bar_rows import PUSHES_PER_TICK, BarRows
from cstd.errors import OperatorError
from cstd.signals import bar_features
from cstd.signals.bar_features import SLOW_BARS
from cstd.units import INT64_MAX, to_raw
from tests.signals.market_of_bars import Market, S, Trade, of_trades, trained, wanted

M = 60 * S
T0 = 1_700_000_400 * S  # the start of an hour
DIGITS = (2, 6)


def trades_of(bars: int, step_ns: int = M, *, seed: int = 1, left_out: tuple[int, ...] = (), from_ns: int = T0) -> list[Trade]:
    """Four trades in each bar of a seeded walk."""
    draw, price, made = random.Random(seed), 5_000_000, []
    for bar in range(bars):
        for part in range(4):
            price = max(1_000, price + draw.randint(-3_000, 3_000))
            if bar not in left_out:
                made.append(Trade(from_ns + bar * step_ns + part * step_ns // 5, price, draw.randint(1, 10**8)))
    return made


def begun(trades: list[Trade], at_bar: int, bar_s: int = 60) -> Market:
    """A market whose tape and history begin in a bar."""
    market = Market(bar_s, DIGITS, T0 + at_bar * bar_s * S + S)
    market.bars.tape_from(market.now_ns)
    market.history(trades)
    market.settle()
    return market


def live(market: Market, trades: list[Trade], until_bar: int) -> dict[int, bytes]:
    """What the rows are after each bar, by the time of the decision."""
    found = {}
    waiting = [trade for trade in trades if trade.ns > market.now_ns]
    for bar in range((market.now_ns - T0) // market.step_ns, until_bar):
        end_ns = T0 + (bar + 1) * market.step_ns
        while waiting and waiting[0].ns < end_ns:
            market.trade(waiting.pop(0))
        market.pass_to(end_ns + S)
        market.settle()
        if (row := market.row()) is not None:
            found[row[0]] = row[1]
    return found


# The same bits.


@pytest.mark.parametrize(("name", "bar_s", "digits"), [
    ("60m/XBTUSD_60m.csv.gz", 3_600, (1, 8)), ("5m/XBTUSD_5m_2023Q1.csv.gz", 300, (1, 8)),
    ("5m/SGBUSD_5m_2024H2.csv.gz", 300, (5, 10)), ("5m/XDGUSD_5m_2024H2.csv.gz", 300, (7, 10))])
def test_recorded_bars_give_the_row_that_training_computes(data_dir: Path, tmp_path: Path, name: str, bar_s: int,
                                                           digits: tuple[int, int]) -> None:
    """Half of them as the venue's history, half of them from trades: every row of training, and none besides."""
    lines = gzip.decompress((data_dir / "bars" / name).read_bytes()).decode().splitlines()[-500:]
    rows = [recorded(line, digits) for line in lines]
    middle = len(rows) // 2
    market = Market(bar_s, digits, rows[middle][0])
    market.bars.tape_from(market.now_ns)
    for row in rows[:middle]:
        assert market.bars.load(market.interval, row)
    market.bars.history(market.interval, rows[0][0], market.now_ns, False)
    market.settle()
    found = {}
    for start, o, h, low, c, volume, *_ in rows[middle:]:
        market.pass_to(start)
        for part, price in enumerate((o, h, low, c)):
            market.trade(Trade(start + part * S, price, volume - 3 if part == 0 else 1))
        market.pass_to(start + market.step_ns + S)
        market.settle()
        if (row := market.row()) is not None:
            found[row[0]] = row[1]
    batch = trained(tmp_path, rows, bar_s, digits)
    late = {at_s: row for at_s, row in batch.items() if at_s > rows[middle][0] // S}
    assert found == late
    assert len(found) > (40 if "SGB" in name else 200)


def recorded(line: str, digits: tuple[int, int]) -> tuple[int, ...]:
    """A line of a bar file, raw."""
    time_s, *numbers = line.split(",")
    raws = [to_raw(Decimal(number), digits[place == 4]) for place, number in enumerate(numbers[:5])]
    return int(time_s) * S, *raws, 1, int(numbers[5])


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_row_is_of_all_trades_or_is_not_there(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever is lost, late or told again: a row that is there is the one of the venue's bars since the whole ones began."""
    left_out = tuple(data.draw(st.sets(st.integers(0, 149), max_size=8)))
    trades = trades_of(150, seed=data.draw(st.integers(0, 9)), left_out=left_out)
    market = begun(trades, data.draw(st.integers(0, 110)))
    lost_at = data.draw(st.integers(0, 149)) * M + data.draw(st.integers(0, 59)) * S + T0
    lost_for, told = data.draw(st.integers(0, 900)) * S, data.draw(st.booleans())
    noticed = data.draw(st.integers(0, 10)) * S
    state = "there"
    folder = tmp_path_factory.mktemp("bars")
    found: list[tuple[int, tuple[int, bytes]]] = []
    waiting = [trade for trade in trades if trade.ns > market.now_ns]
    for now_ns in range(market.now_ns // S * S + S, T0 + 150 * M + 2 * S, S):
        lost = lost_at <= now_ns < lost_at + lost_for
        if not lost:
            if state == "lost":
                market.bars.tape_from(now_ns)
                state = "there"
                market.pass_to(now_ns)
                if told:
                    market.history(trades)
            while waiting and waiting[0].ns <= now_ns:
                if waiting[0].ns < lost_at or waiting[0].ns >= lost_at + lost_for:
                    market.trade(waiting[0])
                waiting.pop(0)
        elif now_ns - lost_at >= noticed and state == "there":
            market.bars.tape_from(INT64_MAX)
            state = "lost"
        market.pass_to(now_ns, frames=not lost)
        market.rows.tick()
        whole_ns = market.bars.whole_from(0)
        if now_ns % M == 5 * S and whole_ns is not None and (row := market.row()) is not None:
            assert row[0] * S <= now_ns
            found.append((whole_ns, row))
    for whole_ns in {whole_ns for whole_ns, _ in found}:
        batch = trained(folder, [bar for bar in of_trades(trades, M) if whole_ns <= bar[0]], 60, DIGITS)
        assert all(batch[at_s] == row for since_ns, (at_s, row) in found if since_ns == whole_ns)


# Look-ahead.


def test_a_bar_that_has_not_closed_changes_no_row() -> None:
    """Whatever is traded in it, the row of the bar before stays as it is, byte by byte."""
    trades = trades_of(130)
    market = begun(trades, 100)
    live(market, trades, 110)
    before = market.rows.rows.tobytes()
    assert market.row() is not None
    for second in range(2, 59, 7):
        market.trade(Trade(T0 + 110 * M + second * S, 9_000_000 + second, 10**9))
        market.settle()
        assert market.rows.rows.tobytes() == before


def test_the_row_waits_for_a_frame_after_the_end_of_its_bar() -> None:
    """Until one comes a trade of the bar may be on its way: on a silent socket there is no new row."""
    trades = trades_of(130)
    market = begun(trades, 100)
    live(market, trades, 110)
    before = market.row()
    for trade in [one for one in trades if T0 + 110 * M <= one.ns < T0 + 111 * M]:
        market.trade(trade)
    market.pass_to(T0 + 111 * M + 5 * S, frames=False)
    market.settle()
    assert market.bars.newest(0) == T0 + 110 * M
    assert market.row() == before
    market.pass_to(T0 + 111 * M + 6 * S)
    market.settle()
    assert market.row() is not None and market.row() != before


def test_the_row_waits_until_what_has_come_is_read() -> None:
    """A socket that is behind may bring a trade of the bar with its next frames."""
    trades = trades_of(130)
    market = begun(trades, 100)
    live(market, trades, 110)
    before = market.row()
    market.behind = True
    assert set(live(market, trades, 111).values()) == {before[1]}  # type: ignore[index]
    market.behind = False
    market.settle()
    assert market.row() not in (None, before)


# Abstentions, each with its reason, each counted once.


def counted(market: Market) -> dict[str, int]:
    """Reasons that were counted."""
    return {reason: count for reason, count in market.rows.abstained.items() if count}


def test_a_row_comes_with_the_first_bar_that_closes_after_the_start() -> None:
    """History alone gives none: its newest bar closed before; the status says how long it takes."""
    trades = trades_of(130)
    market = begun(trades, 100)
    assert (market.row(), market.reason, market.rows.row_count) == (None, "starting", 0)
    assert 0 < market.shown.status["instruments"][0]["first_s"] <= 61
    assert "0 of 1 instruments; 1 starting; next in 60 s" in market.shown.said
    live(market, trades, 101)
    assert (market.reason, market.rows.row_count, counted(market)) == ("", 1, {})
    assert market.shown.status["instruments"][0] == {"instrument": "BTC/USD", "reason": "", "bars": 101, "first_s": 0}


def test_too_few_bars_are_warming_up() -> None:
    """Counted at each close, with the time that is left, until there are as many as training needs."""
    trades = trades_of(SLOW_BARS + 10)
    market = begun(trades, SLOW_BARS - 5)
    live(market, trades, SLOW_BARS - 3)
    assert (market.reason, market.row(), counted(market)) == ("warming up", None, {"warming up": 2})
    assert abs(market.shown.status["instruments"][0]["first_s"] - 3 * 60) <= 1
    assert set(live(market, trades, SLOW_BARS)) == {(T0 + SLOW_BARS * M) // S}
    assert (market.reason, counted(market), market.rows.row_count) == ("", {"warming up": 4}, 1)


def test_a_lost_tape_is_unverified_and_begins_anew() -> None:
    """At once, not at the next close; without a history that covers it the bars begin after it."""
    trades = trades_of(220)
    market = begun(trades, 100)
    live(market, trades, 105)
    market.bars.tape_from(INT64_MAX)
    market.settle()
    assert (market.row(), market.reason) == (None, "unverified")
    assert market.shown.status["instruments"][0]["first_s"] is None
    assert live(market, trades, 107) == {}
    market.pass_to(T0 + 107 * M + 30 * S)
    market.bars.tape_from(market.now_ns)
    found = live(market, trades, 215)
    assert min(found) == (T0 + (108 + SLOW_BARS) * M) // S
    assert counted(market) == {"unverified": 3, "warming up": SLOW_BARS - 1}


def test_a_history_that_covers_the_loss_mends_it(tmp_path: Path) -> None:
    """The venue's bars of that time, and the one that forms, join both ends of the tape."""
    trades = trades_of(130)
    market = begun(trades, 100)
    live(market, trades, 105)
    market.bars.tape_from(INT64_MAX)
    market.pass_to(T0 + 107 * M + 30 * S)
    market.bars.tape_from(market.now_ns)
    market.history(trades)
    found = live(market, trades, 110)
    batch = trained(tmp_path, of_trades(trades, M), 60, DIGITS)
    assert found == {at_s: batch[at_s] for at_s in ((T0 + bar * M) // S for bar in (108, 109, 110))}


def test_a_bar_without_a_trade_has_no_row() -> None:
    """The row of the bar before is not carried over it."""
    trades = trades_of(130, left_out=(105,))
    market = begun(trades, 100)
    live(market, trades, 105)
    assert market.row() is not None
    live(market, trades, 106)
    assert (market.row(), market.reason, counted(market)) == (None, "no trade", {"no trade": 1})
    live(market, trades, 107)
    assert (market.reason, counted(market)) == ("missing bar", {"no trade": 1, "missing bar": 1})
    live(market, trades, 110)
    assert market.row() is not None  # no return goes back to it: 1, 3, 6, 12, 24 and 48 bars


def test_a_market_that_does_not_move_is_undefined() -> None:
    """A quotient without meaning is no number."""
    trades = [Trade(one.ns, 5_000_000, 10**6) for one in trades_of(120)]
    market = begun(trades, 100)
    live(market, trades, 102)
    assert (market.row(), market.reason, counted(market)) == (None, "undefined", {"undefined": 2})


def test_what_is_no_number_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NaN or an infinity is a reason, not a value."""
    trades = trades_of(120)
    market = begun(trades, 100)
    for bar, bad in ((101, float("nan")), (102, float("inf"))):
        monkeypatch.setattr(bar_features.BarFeatures, "push", lambda *_, bad=bad: [bad] * len(bar_features.NAMES))
        live(market, trades, bar)
        assert (market.row(), market.reason) == (None, "not finite")
    assert counted(market) == {"not finite": 2}


@pytest.mark.parametrize("at_bar", [104, 60])
def test_a_bar_that_the_venue_tells_otherwise_begins_it_anew(at_bar: int) -> None:
    """A trade that never came, of a bar that closed all the same, shows in the history of the next connection."""
    trades = trades_of(180)
    market = begun([trade for trade in trades if trade.ns != trades[at_bar * 4 + 2].ns], 100)
    live(market, [trade for trade in trades if trade.ns != trades[at_bar * 4 + 2].ns], 106)
    assert market.row() is not None
    market.history(trades)
    assert market.bars.whole_from(0) == T0 + (at_bar + 1) * M
    market.settle()
    assert market.row() is None


def test_a_trade_that_comes_too_late_begins_it_anew() -> None:
    """Its bar was used without it."""
    trades = trades_of(130)
    market = begun(trades, 100)
    live(market, trades, 105)
    market.bars.trade(5_000_000, 1, T0 + 105 * M - 1)
    market.settle()
    assert market.bars.whole_from(0) == T0 + 105 * M and market.reason == "unverified"


# The work of it.


def test_a_tick_pushes_a_bounded_number_of_bars() -> None:
    """A history of a hundred bars takes several ticks, and nothing is a row before it is through."""
    trades = trades_of(130)
    market = Market(60, DIGITS, T0 + 100 * M + S)
    market.bars.tape_from(market.now_ns)
    market.history(trades)
    for tick in range(1, 4):
        market.rows.tick()
        assert market.rows._instruments[0].features.bars == tick * PUSHES_PER_TICK
        assert market.row() is None


def test_columns_are_the_cards_in_its_order() -> None:
    """Some of them, in another order, with the card's hash."""
    trades = trades_of(130)
    market = begun(trades, 100)
    some = ("adx14", "ret_1", "hour_sin")
    market.rows = BarRows(market.engine, wanted(60, some))
    whole = BarRows(market.engine, wanted(60))
    for bar in (101, 102):
        live(market, trades, bar)
    for _ in range(20):
        whole.tick()
    names = [bar_features.NAMES.index(name) for name in some]
    assert market.row() is not None
    assert market.rows.rows["values"][0].tolist() == [whole._instruments[0].row[name] for name in names]  # type: ignore[index]
    assert market.rows.rows["valid"][0].tolist() == [0b111]


@pytest.mark.parametrize(("asked", "said"), [
    (wanted(60, ("adx14", "SPREAD_BPS")), "SPREAD_BPS"), (wanted(900), "bars of 900 s are not built"),
    (msgspec.structs.replace(wanted(60), features_hash="0" * 64), "hash"), (wanted(60, ()), "not rows of bars")])
def test_what_cannot_be_computed_is_refused(asked: object, said: str) -> None:
    """A name that is none of these features, another length of bars, another order than the hash is of."""
    market = Market(60, DIGITS, T0)
    with pytest.raises(OperatorError, match=said):
        BarRows(market.engine, asked)  # type: ignore[arg-type]
