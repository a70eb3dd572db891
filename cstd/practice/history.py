"""Candles: generated history that ends where the live price starts, and live candles that trades extend.

History is coarse bars, made in milliseconds: each interval aggregates the finer one as far as that reaches, and older bars
continue the walk backwards. It is a rehearsal's scenery and never data for models.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, sqrt
from random import Random

INTERVALS_MIN = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
ROWS_MAX = 720
_EPOCH_S = 1_381_000_000  # October 2013: no bars before the pair could have traded
_DAY_S = 86_400


@dataclass(slots=True)
class Bar:
    """One candle in raw integers; `value` is the sum of price_raw * qty_raw."""

    begin_s: int
    open_raw: int
    high_raw: int
    low_raw: int
    close_raw: int
    qty_raw: int
    value: int
    trades: int

    def add(self, price_raw: int, qty_raw: int) -> None:
        """Take one trade into the bar."""
        self.high_raw = max(self.high_raw, price_raw)
        self.low_raw = min(self.low_raw, price_raw)
        self.close_raw = price_raw
        self.qty_raw += qty_raw
        self.value += price_raw * qty_raw
        self.trades += 1

    def append(self, later: Bar) -> None:
        """Extend the bar by a later one."""
        self.high_raw = max(self.high_raw, later.high_raw)
        self.low_raw = min(self.low_raw, later.low_raw)
        self.close_raw = later.close_raw
        self.qty_raw += later.qty_raw
        self.value += later.value
        self.trades += later.trades

    def copy(self) -> Bar:
        """Return an equal bar that can be changed on its own."""
        return Bar(
            self.begin_s,
            self.open_raw,
            self.high_raw,
            self.low_raw,
            self.close_raw,
            self.qty_raw,
            self.value,
            self.trades,
        )

    @property
    def vwap_raw(self) -> int:
        """Return the volume-weighted price, the close where nothing traded."""
        return round(self.value / self.qty_raw) if self.qty_raw else self.close_raw


@dataclass(frozen=True, slots=True)
class HistoryShape:
    """How the generated past moves: daily volatility as a fraction, traded base per minute, trades per minute.

    rows: bars per interval, at most the 720 of the venue.
    """

    daily_vol_frac: float
    qty_raw_per_minute: int
    trades_per_minute: float
    rows: int = ROWS_MAX


def _older_bar(random: Random, shape: HistoryShape, *, begin_s: int, span_s: int, close_raw: int) -> Bar:
    """Return a bar of `span_s` seconds that ends at `close_raw`."""
    vol = shape.daily_vol_frac * sqrt(span_s / _DAY_S)
    open_raw = max(1, round(close_raw * exp(random.gauss(0.0, vol))))
    high_raw = round(max(open_raw, close_raw) * (1.0 + abs(random.gauss(0.0, vol / 2))))
    low_raw = max(1, round(min(open_raw, close_raw) * (1.0 - min(0.5, abs(random.gauss(0.0, vol / 2))))))
    minutes = span_s / 60
    qty_raw = max(1, int(shape.qty_raw_per_minute * minutes * random.lognormvariate(-0.08, 0.4)))
    trades = max(1, round(shape.trades_per_minute * minutes * random.lognormvariate(-0.08, 0.4)))
    mean_raw = (open_raw + close_raw) // 2
    return Bar(begin_s, open_raw, high_raw, low_raw, close_raw, qty_raw, mean_raw * qty_raw, trades)


def _aggregate(bars: Iterable[Bar], interval_s: int) -> list[Bar]:
    rows: list[Bar] = []
    for bar in bars:
        begin_s = bar.begin_s - bar.begin_s % interval_s
        if rows and rows[-1].begin_s == begin_s:
            rows[-1].append(bar)
        else:
            row = bar.copy()
            row.begin_s = begin_s
            rows.append(row)
    return rows


def generate(random: Random, shape: HistoryShape, *, close_raw: int, wall_s: int) -> dict[int, list[Bar]]:
    """Return up to 720 bars per interval (minutes -> bars, oldest first), the last one forming and closing at `close_raw`."""
    result: dict[int, list[Bar]] = {}
    for interval_min in INTERVALS_MIN:
        interval_s = interval_min * 60
        now_begin_s = wall_s - wall_s % interval_s
        # The coarsest finer bars that nest in these; weeks do not nest in the 15-day bars, days do.
        finer = next((result[m] for m in reversed(result) if interval_min % m == 0), [])
        finer_from_s = finer[0].begin_s if finer else wall_s
        rows = _aggregate(finer, interval_s)
        older: list[Bar] = []
        if rows and finer_from_s > rows[0].begin_s:  # the finer bars start inside this one: make what is missing
            head = _older_bar(
                random,
                shape,
                begin_s=rows[0].begin_s,
                span_s=finer_from_s - rows[0].begin_s,
                close_raw=rows[0].open_raw,
            )
            head.append(rows[0])
            rows[0] = head
        end_raw = rows[0].open_raw if rows else close_raw
        begin_s = rows[0].begin_s - interval_s if rows else now_begin_s
        while len(rows) + len(older) < shape.rows and begin_s >= _EPOCH_S:
            span_s = max(1, min(interval_s, wall_s - begin_s))
            bar = _older_bar(random, shape, begin_s=begin_s, span_s=span_s, close_raw=end_raw)
            older.append(bar)
            end_raw = bar.open_raw
            begin_s -= interval_s
        result[interval_min] = older[::-1] + rows
    return result


@dataclass(slots=True)
class DayStats:
    """The last 24 hours as `ticker` prints them, raw."""

    qty_raw: int
    value: int
    trades: int
    high_raw: int
    low_raw: int
    open_raw: int


class Candles:
    """All intervals of one instrument; trades are its only writer once history is in."""

    def __init__(self, history: dict[int, list[Bar]]) -> None:
        self.rows = {minutes: deque(history.get(minutes, ()), ROWS_MAX) for minutes in INTERVALS_MIN}
        self._day_key = -1
        self._day_closed: Bar | None = None

    def add(self, price_raw: int, qty_raw: int, wall_s: int) -> None:
        """Take one trade into the forming bar of every interval."""
        for minutes, rows in self.rows.items():
            begin_s = wall_s - wall_s % (minutes * 60)
            if rows and rows[-1].begin_s == begin_s:
                rows[-1].add(price_raw, qty_raw)
            else:
                rows.append(Bar(begin_s, price_raw, price_raw, price_raw, price_raw, qty_raw, price_raw * qty_raw, 1))

    def last(self, minutes: int) -> Bar | None:
        """Return the newest bar of an interval."""
        rows = self.rows[minutes]
        return rows[-1] if rows else None

    def day(self, wall_s: int) -> DayStats | None:
        """Return the last 24 hours, from five-minute bars; None if nothing traded in them."""
        rows = self.rows[5]
        if not rows:
            return None
        forming = rows[-1]
        if self._day_key != forming.begin_s:
            self._day_key = forming.begin_s
            closed = [bar for bar in list(rows)[:-1] if bar.begin_s > wall_s - _DAY_S]
            self._day_closed = _aggregate(closed, 1 << 40)[0] if closed else None
        total = forming.copy()
        if self._day_closed is not None:
            total = self._day_closed.copy()
            total.append(forming)
        return DayStats(total.qty_raw, total.value, total.trades, total.high_raw, total.low_raw, total.open_raw)
