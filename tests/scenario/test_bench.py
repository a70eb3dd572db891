"""`cstd bench`: that it measures the path it says, never how fast that is."""

from __future__ import annotations

from pathlib import Path

import pytest

from cstd.errors import OperatorError
from cstd.research import bench

BTC = "recordings/kraken-v2-btcusd-d25-20260802.jsonl.zst"
UPDATES = 2052


@pytest.mark.timeout(60)
def test_every_update_is_a_sample(data_dir: Path) -> None:
    """Each verified update of the recording leads to an order, or to a pass, in every round; all stages were timed."""
    result = bench.measure([data_dir / BTC], None, rounds=2, turns=2)
    assert result["n"] == result["decision"]["n"] == 2 * UPDATES
    assert result["cancel"]["n"] >= 2 * UPDATES // 2 - 2, "an opening, and its cancel at the next update"
    assert result["paced"]["n"] > UPDATES // 2
    assert set(result["stages"]) >= {"frame", "decision", "order", "scan", "book", "features", "gates"}
    assert len(result["turns_p50_ns"]) == len(result["decision"]["turns_p50_ns"]) == len(result["cancel"]["turns_p50_ns"]) == 2
    assert result["p50_ns"] == min(result["turns_p50_ns"])
    assert 0 < result["p50_ns"] <= result["p99_ns"] <= result["p999_ns"]


def test_a_path_without_orders_is_not_measured(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the limits as they are shipped an order on every frame is refused: that is said, not measured."""
    monkeypatch.setattr(bench, "open_limits", lambda engine: None)
    with pytest.raises(OperatorError, match="fewer than half"):
        bench.measure([data_dir / BTC], None, rounds=1, turns=1)
