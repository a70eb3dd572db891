"""Rows of bars beside a replayed engine: begun behind the record where the daemon began them, ticked behind each of its timers.

A row of bars is not in the engine's state, but it follows from it: from what the engine's bars were at each tick since the rows
were begun (`cstd.engine.bar_rows`). The daemon ticks them once behind each timer, before the next event.
"""

from __future__ import annotations

from typing import NamedTuple

from cstd.engine import Engine
from cstd.engine.bar_rows import BarRows
from cstd.signals import bar_features
from cstd.signals.registry import features_hash
from cstd.signals.scorer.rows import BARS_S, BarRowsWanted
from cstd.signals.scorer.sheet import Rows


class Begun(NamedTuple):
    """Rows of bars as a score names them: the record behind which they were begun, and a bar's length."""

    seq: int
    bar_s: int


class BarsAgain:
    """The rows that scores of a journal are of, each for as long as one is going to be asked for.

    Attributes:
        rows: those that there are now. due: those to be ticked before the next event, because the last one was a timer.
    """

    def __init__(self) -> None:
        self._last_seq: dict[Begun, int] = {}  # behind which one is asked for
        self.rows: dict[Begun, BarRows] = {}
        self.due: tuple[BarRows, ...] = ()

    def want(self, begun: Begun, after_seq: int) -> None:
        """Note that a row is going to be asked for behind a record."""
        if begun.bar_s in BARS_S:
            self._last_seq[begun] = max(after_seq, self._last_seq.get(begun, 0))

    def begin(self, engine: Engine, seq: int, *, earlier: bool = False) -> None:
        """Begin those that were begun behind a record. earlier: those of before as well, from the bars that are kept now."""
        for begun, last_seq in self._last_seq.items():
            if last_seq > seq and (begun.seq == seq or (earlier and begun.seq < seq)):
                names = bar_features.NAMES  # of all columns: a model takes its own
                self.rows[begun] = BarRows(engine, BarRowsWanted(begun.bar_s, names, features_hash(names)))

    def timer(self) -> None:
        """The engine has taken a timer."""
        self.due = tuple(self.rows.values())

    def tick(self) -> None:
        """Do what the daemon did behind the timer."""
        for rows in self.due:
            rows.tick()
        self.due = ()

    def end(self, seq: int) -> None:
        """Forget those that are not asked for behind a later record."""
        self.rows = {begun: rows for begun, rows in self.rows.items() if self._last_seq[begun] > seq}

    def boot(self) -> None:
        """Forget all: another process begins its own."""
        self.rows.clear()
        self.due = ()

    def row(self, begun: Begun, number: int) -> Rows | None:
        """Return an instrument's row as it is now, None where there are no such rows."""
        rows = self.rows.get(begun)
        return rows.rows[number:number + 1].copy() if rows is not None and 0 <= number < len(rows.rows) else None
