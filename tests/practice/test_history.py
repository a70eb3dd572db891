"""Candles: generated history is consistent across intervals, and live trades extend it."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from cstd.practice.history import INTERVALS_MIN, ROWS_MAX, Candles, HistoryShape, generate

WALL_S = 1_790_000_123
SHAPE = HistoryShape(0.02, 50_000_000, 20.0)


def test_history_ends_at_the_live_price_in_every_interval() -> None:
    """The forming bar of every interval closes where the live price starts, and bars join without a jump."""
    rows = generate(Random(1), SHAPE, close_raw=600_000, wall_s=WALL_S)
    for minutes in INTERVALS_MIN:
        bars = rows[minutes]
        assert bars[-1].close_raw == 600_000
        assert bars[-1].begin_s == WALL_S - WALL_S % (minutes * 60)
        assert len(bars) <= ROWS_MAX
        for earlier, later in pairwise(bars):
            assert later.begin_s - earlier.begin_s == minutes * 60
            assert later.open_raw == earlier.close_raw
        for bar in bars:
            assert 0 < bar.low_raw <= min(bar.open_raw, bar.close_raw)
            assert max(bar.open_raw, bar.close_raw) <= bar.high_raw
    assert all(len(rows[m]) == ROWS_MAX for m in (1, 5, 15, 60))


def test_coarse_bars_are_the_sum_of_fine_ones() -> None:
    """An hour inside the reach of one-minute bars is exactly their aggregate."""
    rows = generate(Random(2), SHAPE, close_raw=600_000, wall_s=WALL_S)
    hour = rows[60][-3]
    inside = [b for b in rows[1] if hour.begin_s <= b.begin_s < hour.begin_s + 3600]
    assert len(inside) == 60
    assert hour.qty_raw == sum(b.qty_raw for b in inside)
    assert hour.trades == sum(b.trades for b in inside)
    assert (hour.high_raw, hour.low_raw) == (max(b.high_raw for b in inside), min(b.low_raw for b in inside))
    assert (hour.open_raw, hour.close_raw) == (inside[0].open_raw, inside[-1].close_raw)


def test_trades_extend_the_forming_bar_and_open_the_next() -> None:
    """A trade inside the interval changes the forming bar; one after its end opens a new bar with nothing in between."""
    candles = Candles({})
    begin_s = WALL_S - WALL_S % 60
    candles.add(100, 5, begin_s)
    candles.add(90, 5, begin_s + 59)
    candles.add(95, 1, begin_s + 180)
    first, second = candles.rows[1]
    assert (first.open_raw, first.high_raw, first.low_raw, first.close_raw, first.qty_raw, first.trades) == (
        100,
        100,
        90,
        90,
        10,
        2,
    )
    assert first.vwap_raw == 95
    assert second.begin_s == begin_s + 180
    day = candles.day(begin_s + 200)
    assert day is not None
    assert (day.qty_raw, day.high_raw, day.low_raw, day.open_raw, day.trades) == (11, 100, 90, 100, 3)
