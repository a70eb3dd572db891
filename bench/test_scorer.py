"""What one batch of the scorer costs on the CPU: `pytest bench/test_scorer.py`.

A tree ensemble and a linear member, joined and calibrated, for 1, 64 and 1,000 instruments, from the sheet of features to the
rows of scores. A regression means that the scorer takes more of the host beside the trading process; no decision waits for it.
`make score-bench` has the members by themselves, on a GPU too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cstd.signals import registry
from cstd.signals.scorer.model import ScoredModel
from cstd.signals.scorer.rows import feature_row
from tests.signals.made import KEY, card, horizon, linear, promoted, trees

NAMES = tuple(f"f{number}" for number in range(64))


@pytest.mark.parametrize("instruments", [1, 64, 1_000])
def test_batch(benchmark: Any, tmp_path: Path, instruments: int) -> None:
    """One batch of all instruments."""
    told = card({"1h": horizon(("tree", "tree"), ("linear", "linear"))}, features=list(NAMES))
    files = {"1h.tree.onnx": trees(1, features=64, count=400, depth=7), "1h.linear.onnx": linear([0.1] * 64, 0.0)}
    registry.write_version(tmp_path, "hourly", told, files, KEY)
    promoted(tmp_path, "0001")
    model = ScoredModel(registry.production(tmp_path, "hourly", KEY), NAMES, "cpu", 1)
    rows = np.zeros(instruments, feature_row(len(NAMES)))
    rows["valid"], rows["values"] = np.uint64(2**64 - 1), np.random.default_rng(1).standard_normal((instruments, 64))
    scores = benchmark(model.score, rows, 1, 1)
    assert len(scores) == instruments and not scores["status"].any()
