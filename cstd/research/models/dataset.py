"""Bars that the operator names, and the rows of features made of them.

A file's name begins with its instrument (`XBTUSD_60m.csv.gz`). Its provenance is the operator's word that it is authentic, unless
a file `NAME.provenance` beside it, or `PROVENANCE` in its folder, says another one; bars of a practice session are practice
data wherever they lie.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cstd.errors import OperatorError
from cstd.research import bar_file
from cstd.research.models.regimes import Regimes
from cstd.signals import bar_features

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Matrix = NDArray[np.float32]

AUTHENTIC = "authentic"
SUFFIXES = (".csv", ".csv.gz")


@dataclass(frozen=True)
class Series:
    """Bars of one file; times in unix seconds of the bars' starts. A bar without volume is no bar, and only counted."""

    path: Path
    instrument: str
    interval_s: int
    provenance: str
    sha256: str
    time_s: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    zero_volume: int = 0

    def __len__(self) -> int:
        return len(self.time_s)

    def card(self) -> dict[str, object]:
        """Return what a model's card says of the file."""
        return {"file": self.path.name, "sha256": self.sha256, "rows": len(self), "from": utc(int(self.time_s[0])),
                "to": utc(int(self.time_s[-1]) + self.interval_s), "instrument": self.instrument, "interval_s": self.interval_s}


@dataclass
class Rows:
    """Rows of features of several series, by the time of the decision: the close of their bar."""

    features: Matrix  # (rows, features)
    decided_s: Ints
    series: Ints  # place in the list of series
    bar: Ints  # place in the series
    regime: Ints  # place in regimes.NAMES, or -1
    ewma_vol: Floats  # of a one-bar log return
    last_return: Floats  # log return of the bar itself
    left_out: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.decided_s)

    def take(self, chosen: NDArray[np.bool_] | Ints) -> Rows:
        """Return some of the rows."""
        return Rows(self.features[chosen], self.decided_s[chosen], self.series[chosen], self.bar[chosen], self.regime[chosen],
                    self.ewma_vol[chosen], self.last_return[chosen], self.left_out)


def utc(time_s: int) -> str:
    """Return a time in UTC text, whole seconds."""
    return str(np.datetime64(time_s, "s")) + "Z"


def files(named: Iterable[Path | str]) -> list[Path]:
    """Return the bar files that are named, those of a folder in the order of their names.

    Raises:
        OperatorError: a folder has none, or nothing is there.
    """
    found: list[Path] = []
    for name in map(Path, named):
        inside = sorted(path for path in name.iterdir() if path.name.endswith(SUFFIXES)) if name.is_dir() else [name]
        if not inside:
            raise OperatorError(f"{name} holds no bar files (*.csv, *.csv.gz)")
        found += inside
    return found


def read(named: Iterable[Path | str], *, now_s: int, from_s: int | None = None, to_s: int | None = None,
         accept: Sequence[str] = (AUTHENTIC,)) -> list[Series]:
    """Return the series of bar files, cut to a span of time.

    Args:
        named: files, or folders of them.
        now_s: the time; a bar that closes later cannot have been seen.
        from_s: bars that start earlier are left out.
        to_s: bars that close later are left out.
        accept: provenances that may be read.

    Raises:
        OperatorError: a file is not bars, is practice data, has another interval than the rest, repeats another, ends in the
            future, or has nothing in the span.
    """
    series = [_one(path, now_s, (from_s, to_s), accept) for path in files(named)]
    series = [one for one in series if len(one)]
    if not series:
        raise OperatorError("no bar lies between --from and --to")
    for one in series[1:]:
        if one.interval_s != series[0].interval_s:
            raise OperatorError(f"{one.path} has bars of {one.interval_s} s and {series[0].path} of {series[0].interval_s} s",
                                suggestion="a model is of one interval: name files of one")
    for i, one in enumerate(series):
        for other in series[:i]:
            if one.instrument == other.instrument and one.time_s[0] <= other.time_s[-1] and other.time_s[0] <= one.time_s[-1]:
                raise OperatorError(f"{one.path} and {other.path} are both of {one.instrument} and of the same days",
                                    suggestion="the same bars twice would count twice: name one of them")
    return series


def _one(path: Path, now_s: int, span: tuple[int | None, int | None], accept: Sequence[str]) -> Series:
    provenance = provenance_of(path)
    if provenance not in accept:
        raise OperatorError(f"{path} is {provenance} data: models are made of authentic bars alone")
    bars = bar_file.read(path)
    interval_s = bars.interval_s()
    time_s = np.array(bars.time_s, np.int64)
    uneven = np.flatnonzero(time_s % interval_s != time_s[0] % interval_s)
    if len(uneven):
        raise OperatorError(f"{path}, bar {uneven[0] + 1}: {utc(int(time_s[uneven[0]]))} is not a whole number of bars of "
                            f"{interval_s} s after the first")
    if time_s[-1] + interval_s > now_s:
        late = int(np.flatnonzero(time_s + interval_s > now_s)[0])
        raise OperatorError(f"{path}, bar {late + 1}: it closes at {utc(int(time_s[late]) + interval_s)}, after now")
    from_s, to_s = span
    volume = np.array(bars.volume)
    inside = np.ones(len(time_s), np.bool_)
    inside &= time_s >= from_s if from_s is not None else True
    inside &= time_s + interval_s <= to_s if to_s is not None else True
    kept = inside & (volume > 0)
    open_, high, low, close = (np.array(column)[kept] for column in (bars.open, bars.high, bars.low, bars.close))
    return Series(path, path.name.split("_")[0].split(".")[0], interval_s, provenance,
                  hashlib.sha256(path.read_bytes()).hexdigest(), time_s[kept], open_, high, low, close, volume[kept],
                  zero_volume=int((inside & (volume <= 0)).sum()))


def provenance_of(path: Path) -> str:
    """Return what the operator's notes say a bar file is; authentic without a note."""
    for folder in path.resolve().parents:
        if (folder / "practice.json").exists():  # the directory of a session with the practice exchange
            return "practice"
    for note in (path.with_name(path.name + ".provenance"), path.parent / "PROVENANCE"):
        if note.exists():
            return note.read_text("utf-8", errors="replace").strip().lower() or "unknown"
    return AUTHENTIC


def rows(series: Sequence[Series]) -> Rows:
    """Return the rows of all series in the order of their decisions; what is not ready is left out and counted by reason."""
    parts = [_rows_of(i, one) for i, one in enumerate(series)]
    features, decided_s, place, bar, regime, ewma_vol, last_return = (
        np.concatenate([part[column] for part in parts]) for column in range(7))
    order = np.lexsort((place, decided_s))
    left_out: Counter[str] = Counter()
    for part in parts:
        left_out.update(part[7])
    if zero := sum(one.zero_volume for one in series):
        left_out["bar without volume"] = zero
    return Rows(features[order], decided_s[order], place[order], bar[order], regime[order], ewma_vol[order], last_return[order],
                left_out)


def _rows_of(place: int, series: Series) -> tuple[Matrix, Ints, Ints, Ints, Ints, Floats, Floats, Counter[str]]:
    streaming, regimes = bar_features.BarFeatures(series.interval_s), Regimes()
    found: list[list[float]] = []
    bars: list[int] = []
    regime: list[int] = []
    ewma_vol: list[float] = []
    left_out: Counter[str] = Counter()
    columns = (series.open, series.high, series.low, series.close, series.volume)
    for i, (time_s, *bar) in enumerate(zip(series.time_s.tolist(), *(column.tolist() for column in columns), strict=True)):
        row = streaming.push(time_s, (bar[0], bar[1], bar[2], bar[3], bar[4]))
        now = regimes.push(streaming.values)
        if row is None:
            left_out[streaming.reason] += 1
            continue
        found.append(row)
        bars.append(i)
        regime.append(now)
        ewma_vol.append(streaming.ewma_vol)
    bar_ = np.array(bars, np.int64)
    return (np.array(found, np.float32).reshape(-1, len(bar_features.NAMES)), series.time_s[bar_] + series.interval_s,
            np.full(len(bars), place, np.int64), bar_, np.array(regime, np.int64), np.array(ewma_vol, np.float64),
            np.log(series.close[bar_] / series.open[bar_]), left_out)
