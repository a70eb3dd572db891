"""Synthetic bars for tests: seeded random walks, labelled so. No model that leaves a test is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cstd.research.models.dataset import Series

START_S = 1_600_000_000 // 86_400 * 86_400


def walk(bars: int, *, seed: int = 1, interval_s: int = 3_600, vol: float | np.ndarray = 0.006, drift: float | np.ndarray = 0.0,
         instrument: str = "SYNTH", missing: Sequence[int] = (), within: int = 20) -> Series:
    """A random walk in bars of `within` steps. `vol` and `drift` are of a bar's log return, one number or one for each bar."""
    random = np.random.default_rng(seed)
    vols, drifts = np.broadcast_to(vol, bars), np.broadcast_to(drift, bars)
    steps = random.normal(size=(bars, within)) * vols[:, None] / within**0.5 + (drifts - vols**2 / 2)[:, None] / within
    path = 100 * np.exp(np.cumsum(steps)).reshape(bars, within)
    close = path[:, -1]
    open_ = np.concatenate([[100.0], close[:-1]])
    low, high = np.minimum(open_, path.min(1)), np.maximum(open_, path.max(1))
    kept = np.setdiff1d(np.arange(bars), np.array(missing, np.int64))
    columns = (column[kept] for column in (open_, high, low, close))
    return Series(Path(f"{instrument}_synthetic.csv"), instrument, interval_s, "synthetic", "0" * 64,
                  START_S + interval_s * kept, *columns, random.uniform(1, 5, bars)[kept])


def lines(series: Series) -> list[str]:
    """The rows of a bar file."""
    columns = (series.time_s, series.open, series.high, series.low, series.close, series.volume)
    return [f"{time_s},{o!r},{h!r},{low!r},{c!r},{v!r},3" for time_s, o, h, low, c, v in
            zip(*(column.tolist() for column in columns), strict=True)]


def write(folder: Path, series: Series, name: str = "SYNTH_60m.csv", note: str | None = None) -> Path:
    """A bar file, with a note of its provenance if there is to be one."""
    path = folder / name
    path.write_text("\n".join(lines(series)) + "\n")
    if note is not None:
        (folder / f"{name}.provenance").write_text(note + "\n")
    return path
