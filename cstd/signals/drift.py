"""Drift: how far the rows that a model is given now are from those that it was trained on; docs/drift.md.

Each feature is cut into the deciles of the training's rows. The last WINDOW_ROWS rows of an instrument are counted into the same
bins and compared: PSI (the sum of (p - q) ln(p / q)) and KS (the largest distance of both distribution functions, at the bins'
edges). Markets move: on hourly bars of nine years nearly every three weeks have a PSI above 0.25 against the whole in some
feature. So training measures the greatest PSI that any WINDOW_ROWS rows running of its own had, and drift is what goes
*beyond* that: a market the model has learnt through is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cstd.signals.registry.reference import BINS, WINDOW_ROWS, Reference

WINDOW_STEP = 50  # between two windows of training that are looked at
# Half a row is added to each bin, so that an empty one has a logarithm. In 500 rows an empty decile then counts 0.47.
SMOOTHING = 0.5
BEYOND_WATCH, BEYOND_DRIFTED, BEYOND_BROKEN = 0.1, 0.25, 0.5

State = Literal["none", "watch", "drifted", "broken", "gathering", "not assessable"]
# By the number in a row of scores. `gathering`: the window is not full; `not assessable`: the card has no reference.
STATES: tuple[State, ...] = ("not assessable", "gathering", "none", "watch", "drifted", "broken")

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


class Drift(NamedTuple):
    """How an instrument's rows stand to the reference. Figures of the feature that is furthest beyond; millionths."""

    state: State
    beyond_e6: int
    psi_e6: int
    ks_e6: int
    feature: str
    rows: int


def psi(reference: Counts, counts: Counts, used: NDArray[np.bool_]) -> Floats:
    """Return the population stability index of the last axis' bins; bins that are not used count for nothing."""
    p, q = _shares(reference, used), _shares(counts, used)
    parts = np.where(used, (q - p) * np.log(np.where(used, q, 1.0) / np.where(used, p, 1.0)), 0.0)
    return np.asarray(np.sum(parts, axis=-1), np.float64)


def _shares(counts: Counts, used: NDArray[np.bool_]) -> Floats:
    smoothed = np.where(used, counts + SMOOTHING, 0.0)
    return np.asarray(smoothed / np.sum(smoothed, axis=-1, keepdims=True), np.float64)


def ks(reference: Counts, counts: Counts) -> Floats:
    """Return the largest distance of both distribution functions at the edges of the last axis' bins; 0 to 1."""
    p = np.cumsum(reference, axis=-1) / np.maximum(np.sum(reference, axis=-1, keepdims=True), 1)
    q = np.cumsum(counts, axis=-1) / np.maximum(np.sum(counts, axis=-1, keepdims=True), 1)
    return np.asarray(np.max(np.abs(p - q), axis=-1), np.float64)


def state_of(beyond: float) -> State:
    """Return what a PSI so far beyond training's own means."""
    if beyond >= BEYOND_BROKEN:
        return "broken"
    if beyond >= BEYOND_DRIFTED:
        return "drifted"
    return "watch" if beyond >= BEYOND_WATCH else "none"


def reference_of(names: Sequence[str], rows: NDArray[np.float32], series: NDArray[np.int64]) -> dict[str, Any] | None:
    """Return the reference of training's rows as plain values; None where no instrument has two windows of them.

    Args:
        names: of the columns.
        rows: those that were learnt from, in the order of time; all are finite.
        series: of each row, which instrument's it is.
    """
    parts = [np.flatnonzero(series == one) for one in np.unique(series)]
    if not any(len(part) >= 2 * WINDOW_ROWS for part in parts):
        return None
    found: dict[str, Any] = {}
    for column, name in enumerate(names):
        values = rows[:, column].astype(np.float64)
        edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS))
        codes = np.searchsorted(edges, values, side="left")
        counts = np.bincount(codes, minlength=len(edges) + 1)
        windows = np.concatenate([_windows(codes[part], len(counts)) for part in parts])
        greatest = psi(counts, windows, np.ones(len(counts), np.bool_)).max()
        found[name] = {"edges": edges.tolist(), "counts": counts.tolist(), "psi_max": round(float(greatest), 6)}
    return {"rows": len(rows), "window_rows": WINDOW_ROWS, "features": found}


def _windows(codes: NDArray[np.intp], bins: int) -> Counts:
    """Return the counts of WINDOW_ROWS rows running, each WINDOW_STEP rows; none where there are fewer."""
    if len(codes) < WINDOW_ROWS:
        return np.zeros((0, bins), np.int64)
    until = np.zeros((len(codes) + 1, bins), np.int64)
    until[1:] = np.cumsum(codes[:, np.newaxis] == np.arange(bins), axis=0)
    starts = np.unique([*range(0, len(codes) - WINDOW_ROWS, WINDOW_STEP), len(codes) - WINDOW_ROWS])
    return np.asarray(until[starts + WINDOW_ROWS] - until[starts], np.int64)


class Windows:
    """The newest rows of each instrument, as bins, compared with a reference. Memory: WINDOW_ROWS bytes a feature and instrument.

    Attributes:
        codes: (instrument, place, feature), a ring. heads: rows that were ever taken, by instrument. newest_ns: of the row
            taken last, wall time. left_out: rows that were no row: a feature was missing, or no number.
    """

    def __init__(self, reference: Reference, names: Sequence[str], instruments: int) -> None:
        ordered = [reference.features[name] for name in names]
        self.names = tuple(names)
        self._edges = np.full((len(names), BINS - 1), np.inf)
        self._reference = np.zeros((len(names), BINS), np.int64)
        self._used = np.zeros((len(names), BINS), np.bool_)
        for at, one in enumerate(ordered):
            self._edges[at, :len(one.edges)] = one.edges
            self._reference[at, :len(one.counts)] = one.counts
            self._used[at, :len(one.counts)] = True
        self._psi_max = np.array([one.psi_max for one in ordered])
        self.codes = np.zeros((instruments, WINDOW_ROWS, len(names)), np.uint8)
        self.heads = np.zeros(instruments, np.int64)
        self.newest_ns = np.zeros(instruments, np.int64)
        self.left_out = 0
        self._left_ns = np.zeros(instruments, np.int64)
        self._known: dict[int, Drift] = {}

    def take(self, number: int, row: NDArray[np.float32], event_wall_ns: int) -> bool:
        """Take a row of an instrument; one that is no newer than the last is the same row again. Returns whether it was taken."""
        if event_wall_ns <= self.newest_ns[number]:
            return False
        if not np.all(np.isfinite(row)):
            self.left_out += bool(event_wall_ns > self._left_ns[number])
            self._left_ns[number] = event_wall_ns
            return False
        self.newest_ns[number] = event_wall_ns
        place = self.heads[number] % WINDOW_ROWS
        self.codes[number, place] = np.sum(self._edges < row.astype(np.float64)[:, np.newaxis], axis=1)
        self.heads[number] += 1
        self._known.pop(number, None)
        return True

    def drift(self, number: int) -> Drift:
        """Return how an instrument stands."""
        if number not in self._known:
            self._known[number] = self._measured(number)
        return self._known[number]

    def _measured(self, number: int) -> Drift:
        rows = min(int(self.heads[number]), WINDOW_ROWS)
        if not rows:
            return Drift("gathering", 0, 0, 0, "", 0)
        counts = self.counts(number)
        found = psi(self._reference, counts, self._used)
        beyond = found - self._psi_max
        worst = int(np.argmax(beyond))
        state = state_of(float(beyond[worst])) if rows == WINDOW_ROWS else "gathering"
        distance = float(ks(self._reference[worst], counts[worst]))
        return Drift(state, _e6(beyond[worst]), _e6(found[worst]), _e6(distance), self.names[worst], rows)

    def counts(self, number: int) -> Counts:
        """Return the rows of an instrument's window by feature and bin."""
        rows = min(int(self.heads[number]), WINDOW_ROWS)
        codes = self.codes[number, :rows]
        return np.array([np.bincount(codes[:, at], minlength=BINS) for at in range(len(self.names))], np.int64)


def _e6(value: float) -> int:
    return round(float(value) * 1_000_000)
