"""The simulated venue beside hftbacktest: the same orders on the same tape, with the same latencies and queue model."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tests import needs

RECORDING = "kraken-v2-ethusd-xrpusd-d25-20260802"


@pytest.fixture
def agreement(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program that compares."""
    monkeypatch.syspath_prepend(str(repository / "bench" / "venue"))
    return importlib.import_module("agreement")


@pytest.fixture
def hftbacktest(agreement: Any) -> Path:
    """The Python of hftbacktest's environment, installed by its lock; without it the test fails under CI=true."""
    try:
        return Path(agreement.environments.ready(agreement.environments.PEERS["hftbacktest"]))
    except agreement.environments.UnavailableError as error:
        needs.not_installable(f"hftbacktest cannot be installed here: {error}")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fills_agree_with_hftbacktest(agreement: Any, hftbacktest: Path, data_dir: Path) -> None:
    """Filled or not, the quantity and the time within one market event: the same for at least 99 of 100 orders.

    On a recording, on the same with drawn trades, and in a drawn market whose prices stand. What hftbacktest itself fails on is
    counted apart, and little.
    """
    queues = ["risk_averse", "power"]
    rows = [row for recording, name, drawn in ((RECORDING, "ETH/USD", False), (RECORDING, "ETH/USD", True),
                                               (agreement.DRAWN, "DRAWN/USD", True))
            for row in agreement.compare(data_dir, recording, name, 40, queues, 7, hftbacktest, drawn=drawn)]
    total = agreement.summary(rows)
    assert total["orders"] + total["failed"] == 240 and total["failed"] <= 6
    assert total["filled"] >= 60 and total["resting_filled"] >= 20
    assert total["agree_frac"] >= 0.99, [row["differences"] for row in rows if row["differences"]]


def test_the_judge_tells_each_kind_of_difference(agreement: Any) -> None:
    """Equal within one event; filled by one alone; other quantities; two events apart."""
    tape = agreement.Tape("X/Y", 10, frames=[(second * 10**9 + agreement.FEED_NS, b"") for second in range(9)])

    def judged(mine: Any, its: Any) -> Any:
        return agreement.judge(tape, [(int(at * 10**9), qty) for at, qty in mine],
                               its and [(int(at * 10**9), qty) for at, qty in its])

    assert judged([], []) == judged([(1.5, 3)], [(1.2, 3)]) == judged([(1, 3)], [(2, 3)]) == ""
    assert judged([(1, 1), (3, 2)], [(1, 2), (3, 2)]) == "", "parts on the way may differ"
    assert judged([(1, 1)], []) == judged([], [(1, 1)]) == "filled"
    assert judged([(1, 1)], [(1, 2)]) == "quantity"
    assert judged([(1, 1)], [(3, 1)]) == judged([(1, 1), (5, 2)], [(1, 1), (7, 2)]) == "time"
    assert judged([(1, 1)], None) == "failed"
