"""Rows of features of closed bars, for the scorer: of each instrument the row of its newest closed bar, or why there is none.

Beside the engine, which they read and never change: the closed bars that the engine's tape and the venue's history made go, one
after the other, through `cstd.signals.bar_features`, which is what training ran over its files. So the row is the one that
training computes of the same bars, bit for bit, and a bar that has not closed is not in it.

The daemon ticks them behind each timer of the engine. What they come to follows from the engine's state at these ticks alone, so
a replay that begins them behind the same record, and ticks them behind the same timers, has the same rows at the same records.

No row without whole bars. Everything begins anew where a bar may miss a trade (`BarSeries.whole_from`), and the newest bar
counts once a frame of the socket came after its end: until then a trade of it may be on its way.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cstd._fast.bars import BarSeries
from cstd._fast.codes import Link
from cstd.engine.flow import Engine
from cstd.errors import OperatorError
from cstd.signals import bar_features
from cstd.signals.registry import features_hash
from cstd.signals.scorer.rows import BARS_S, BarRowsWanted, all_valid, feature_row
from cstd.units import NS_PER_S

if TYPE_CHECKING:
    from cstd._fast.bars import Row as Bar

# A tick is a part of the trading loop: what it does at most. A push computes all features, a look compares two times.
LOOKS_PER_TICK = 32
PUSHES_PER_TICK = 16
GRACE_NS = NS_PER_S  # the bars' own: a bar closes when the clock is so much past its end

UNVERIFIED, STARTING, NO_TRADE, NOT_FINITE = "unverified", "starting", "no trade", "not finite"
# Why a bar that closed has no row: trades may be missing, nothing traded, those of the features, and what is no number. Before
# the first one closes since the start the reason is STARTING, which no bar is counted by.
REASONS = (UNVERIFIED, NO_TRADE, *bar_features.NOT_READY, NOT_FINITE)


class BarState(NamedTuple):
    """How it stands with one instrument: why it has no row ("" where it has one), how many bars the row is of, and in how many
    seconds one is there at the earliest (0 where it is, None while nobody can say)."""

    reason: str
    bars: int
    first_s: int | None


class _Instrument:
    """One instrument: its features, the bar that was pushed last, and what came of it."""

    def __init__(self, bars: BarSeries, bar_s: int) -> None:
        self.bars = bars  # another object where its digits changed
        self.features = bar_features.BarFeatures(bar_s)
        self.whole_ns: int | None = None
        self.pushed_ns = 0  # start of the bar pushed last, 0 for none
        self.row: list[float] | None = None
        self.reason = STARTING
        self.judged_end_ns = 0  # of the last bar that was judged, with a trade or without

    def begin(self, whole_ns: int | None, bar_s: int) -> None:
        self.features = bar_features.BarFeatures(bar_s)
        self.whole_ns, self.pushed_ns, self.row = whole_ns, 0, None


class BarRows:
    """The rows of all instruments, a part a tick.

    Args:
        engine: whose closed bars they are of.
        wanted: which columns, and how long a bar is.

    Attributes:
        rows: one for each instrument, in the shape of the sheet; without a valid bit where there is none.
        begun_seq: the record behind which they were begun. What a row is depends on it: the averages begin with the oldest bar
            that is kept then.
        change_count: how often one of them became another.
        row_count: rows, abstained: bars without one, by reason; both of bars that closed since the boot.

    Raises:
        OperatorError: a column is none of `bar_features`, or bars of this length are not built.
    """

    def __init__(self, engine: Engine, wanted: BarRowsWanted) -> None:
        unknown = [name for name in wanted.features if name not in bar_features.NAMES]
        if unknown or not wanted.features or features_hash(wanted.features) != wanted.features_hash:
            raise OperatorError(f"not rows of bars: {', '.join(unknown[:5]) or 'the hash is of other names'}")
        if wanted.bar_s not in BARS_S:
            raise OperatorError(f"bars of {wanted.bar_s} s are not built; those of {', '.join(map(str, BARS_S))} s are")
        self.wanted = wanted
        self.begun_seq = int(engine.recorder.seq)
        self._engine = engine
        self._interval = BARS_S.index(wanted.bar_s)
        self._step_ns = wanted.bar_s * NS_PER_S
        self._columns = [bar_features.NAMES.index(name) for name in wanted.features]
        self._valid = all_valid(len(wanted.features))
        self._instruments = [_Instrument(slot.bars, wanted.bar_s) for slot in engine.core.slots]
        self._turn = 0
        self.rows = np.zeros(len(self._instruments), feature_row(len(wanted.features)))
        self.rows["instrument"] = np.arange(len(self._instruments))
        self.change_count = 1
        self.row_count = 0
        self.abstained = Counter(dict.fromkeys(REASONS, 0))
        self._ended_ns = self._last_end_ns()
        for one in self._instruments:
            one.judged_end_ns = self._ended_ns

    def tick(self) -> None:
        """Push some closed bars and judge what closed; LOOKS_PER_TICK instruments, PUSHES_PER_TICK bars."""
        self._ended_ns = self._last_end_ns()
        budget, count = PUSHES_PER_TICK, len(self._instruments)
        for _ in range(min(LOOKS_PER_TICK, count)):
            number = self._turn % count
            one = self._instruments[number]
            self._follow(number, one)
            budget -= self._push(one, budget)
            self._judge(number, one)
            if budget <= 0:
                return  # this one goes on at the next tick
            self._turn = number + 1

    def _follow(self, number: int, one: _Instrument) -> None:
        """Begin anew where the bars that are whole begin at another time than they did."""
        bars = self._engine.core.slots[number].bars
        whole_ns = bars.whole_from(self._interval)
        if whole_ns != one.whole_ns or bars is not one.bars:
            one.bars = bars
            one.begin(whole_ns, self.wanted.bar_s)

    def _push(self, one: _Instrument, budget: int) -> int:
        """Push closed bars that are whole, as far as a frame has come after them; returns how many."""
        pushed = 0
        for bar in self._waiting(one, budget):
            if not self._heard(bar[0] + self._step_ns):
                break
            one.row = one.features.push(bar[0] // NS_PER_S, _figures(bar, one.bars))
            one.pushed_ns = bar[0]
            pushed += 1
        return pushed

    def _waiting(self, one: _Instrument, count: int) -> list[Bar]:
        """Return the first closed bars that are whole and not pushed yet, at most so many."""
        if one.whole_ns is None or one.bars.newest(self._interval) in (None, one.pushed_ns):
            return []
        return one.bars.closed_after(self._interval, max(one.pushed_ns, one.whole_ns - 1), count)

    def _judge(self, number: int, one: _Instrument) -> None:
        """Say what the bar that ended last has come to; it is counted once."""
        end_ns = self._ended_ns
        reason = self._reason(one, end_ns)
        if reason is None:
            return
        if end_ns > one.judged_end_ns and reason != STARTING:
            one.judged_end_ns = end_ns
            self.row_count += not reason
            if reason:
                self.abstained[reason] += 1
        elif reason == one.reason:
            return
        one.reason = reason
        self._put(number, one, end_ns)

    def _reason(self, one: _Instrument, end_ns: int) -> str | None:
        """Why the bar that ended at end_ns has no row, "" where it has one, None while that is not known."""
        start_ns = end_ns - self._step_ns
        if one.whole_ns is None or start_ns < one.whole_ns:
            return UNVERIFIED
        if self._mono_of(end_ns) < self._engine.scores.boot_mono_ns:
            return STARTING
        if not self._heard(end_ns):
            return None
        waiting = self._waiting(one, 1)
        if waiting and waiting[0][0] <= start_ns:
            return STARTING if one.row is None else None
        if one.pushed_ns != start_ns:
            return NO_TRADE
        if one.row is None:
            return one.features.reason
        return "" if all(map(math.isfinite, one.row)) else NOT_FINITE

    def _put(self, number: int, one: _Instrument, end_ns: int) -> None:
        row = self.rows[number:number + 1]
        row["valid"], row["values"] = 0, 0.0
        row["event_mono_ns"], row["event_wall_ns"] = self._mono_of(end_ns), end_ns
        row["after_seq"] = self._engine.recorder.seq
        if not one.reason and one.row is not None:
            row["values"], row["valid"] = [one.row[column] for column in self._columns], self._valid
        self.change_count += 1

    def _heard(self, end_ns: int) -> bool:
        """Whether a frame of the public socket came after a bar's end and what trades may take, and no more wait to be read."""
        engine = self._engine
        return (engine.core.last_frame_ns(Link.LINK_PUBLIC) >= self._mono_of(end_ns) + GRACE_NS
                and not engine.congestion.busy(Link.LINK_PUBLIC))

    def _mono_of(self, wall_ns: int) -> int:
        core = self._engine.core
        return int(core.mono_ns - (core.wall_ns - wall_ns))

    def _last_end_ns(self) -> int:
        return int((self._engine.core.wall_ns - GRACE_NS) // self._step_ns * self._step_ns)

    # For whoever shows them.

    def reasons(self) -> list[str]:
        """Return of each instrument why it has no row, "" where it has one."""
        return [one.reason for one in self._instruments]

    def state(self, number: int) -> BarState:
        """Return how it stands with an instrument."""
        one = self._instruments[number]
        return BarState(one.reason, one.features.bars, self._first_s(one))

    def _first_s(self, one: _Instrument) -> int | None:
        if not one.reason:
            return 0
        if one.whole_ns is None:
            return None
        missing = max(0, bar_features.SLOW_BARS - one.features.bars)
        missing -= len(self._waiting(one, bar_features.SLOW_BARS))
        begins_ns = max(self._ended_ns, one.whole_ns)
        at_ns = begins_ns + max(1, missing) * self._step_ns + GRACE_NS
        return max(1, -(-(at_ns - int(self._engine.core.wall_ns)) // NS_PER_S))


def _figures(bar: Bar, bars: BarSeries) -> tuple[float, float, float, float, float]:
    """Return open, high, low, close and volume: of raw integers the nearest doubles, as reading their decimals gives them."""
    price, qty = 10 ** bars.price_precision, 10 ** bars.qty_precision
    return bar[1] / price, bar[2] / price, bar[3] / price, bar[4] / price, bar[5] / qty
