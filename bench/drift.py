"""How often the drift of docs/drift.md is found in authentic bars: in training's own rows, in later ones, in other instruments'.

    CSTD_DATA=DIR .venv/bin/python bench/drift.py

A wrong result: training's own rows are flagged, or another market's are not. One line for each pair, and what the plain PSI would
have come to without training's own greatest.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from cstd.research.models import dataset
from cstd.signals import bar_features, drift
from cstd.signals.registry.reference import WINDOW_ROWS, Reference

STEP = 166  # between two windows that are looked at; none of training's steps
TRAINED = 0.8
PAIRS = {
    "60m/XBTUSD_60m.csv.gz": ("60m/STORJUSD_60m.csv.gz",),
    "5m/ETHUSD_5m_2024H2.csv.gz": ("5m/LTCUSD_5m_2024H2.csv.gz", "5m/XRPUSD_5m_2024H2.csv.gz", "5m/SGBUSD_5m_2024H2.csv.gz",
                                   "60m/XBTUSD_60m.csv.gz"),
}


def rows_of(name: str) -> np.ndarray:
    """Return the rows of features of a file of bars."""
    data = os.environ.get("CSTD_DATA")
    if not data:
        raise SystemExit("CSTD_DATA must name a folder with bars/: there are no rows to measure on")
    path = Path(data) / "bars" / name
    return dataset.rows(dataset.read([path], now_s=int(time.time()))).features


def looked_at(reference: Reference, rows: np.ndarray) -> list[drift.Drift]:
    """Return the drift behind each STEP-th row, from the first full window on."""
    windows, found = drift.Windows(reference, bar_features.NAMES, 1), []
    for at, row in enumerate(rows, 1):
        windows.take(0, row, at)
        if at >= WINDOW_ROWS and (at - WINDOW_ROWS) % STEP == 0:
            found.append(windows.drift(0))
    return found


def line(model: str, name: str, reference: Reference, rows: np.ndarray) -> str:
    """Return shares of windows above each threshold."""
    found = looked_at(reference, rows)
    beyond, psi = (np.array([getattr(one, column) for one in found]) / 1e6 for column in ("beyond_e6", "psi_e6"))
    shares = [f"{np.mean(beyond >= at):.0%} >= {at}" for at in (0.1, 0.25, 0.5)]
    return (f"{model:28} {name:28} {len(found):4} windows  {', '.join(shares)}  highest {beyond.max():.3f}  "
            f"its PSI up to {psi.max():.2f}")


def plain(reference: Reference, rows: np.ndarray) -> str:
    """Return the shares of windows whose furthest PSI alone is above each threshold."""
    alone = Reference(reference.rows, reference.window_rows,
                      {name: msgspec.structs.replace(one, psi_max=0.0) for name, one in reference.features.items()})
    psi = np.array([one.psi_e6 for one in looked_at(alone, rows)]) / 1e6
    return f"  by PSI alone: {len(psi)} windows, " + ", ".join(f"{np.mean(psi >= at):.1%} >= {at}" for at in (0.1, 0.25, 0.5))


def main() -> int:
    """Print the table."""
    for model, others in PAIRS.items():
        own = rows_of(model)
        cut = int(len(own) * TRAINED)
        told = drift.reference_of(bar_features.NAMES, own[:cut], np.zeros(cut, np.int64))
        reference = msgspec.convert(told, Reference)
        sys.stdout.write(line(model, "its training", reference, own[:cut]) + "\n" + plain(reference, own) + "\n")
        sys.stdout.write(line(model, "the days after", reference, own[cut:]) + "\n")
        for other in others:
            sys.stdout.write(line(model, other, reference, rows_of(other)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
