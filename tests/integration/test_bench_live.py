"""The live benches measure what they say: a real daemon, orders that arrive, frames that are verified; few of each here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LIVE = REPOSITORY / "bench" / "live"
TIMEOUT_S = 100


def run(script: str, data_dir: Path, kept: Path, *words: str) -> dict[str, Any]:
    """Run one bench; returns the figures of its result file, once all else in it is right."""
    done = subprocess.run([sys.executable, str(LIVE / script), *words, "--result", str(kept)], cwd=REPOSITORY,
                          capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
                          env={**os.environ, "CSTD_DATA": str(data_dir)})
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    assert done.stdout.strip()
    result = json.loads(kept.read_text())
    assert result["suite"] == script.removesuffix(".py").replace("_", "-")
    assert result["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert result["versions"]["picows"]
    assert result["versions"]["uvloop"]
    assert result["commit"]
    return dict(result["figures"])


@pytest.mark.slow
def test_round_trip_counts_orders_of_a_live_daemon(data_dir: Path, tmp_path: Path) -> None:
    """Each sample is one frame in and one order out; both sides have all quantiles, and the ratio is of the two."""
    figures = run("round_trip.py", data_dir, tmp_path / "result.json", "--samples", "60", "--ratio-max", "0")
    for side in ("daemon", "bare"):
        row = figures[side]
        assert row["n"] == 60
        assert 0 < row["p50_ns"] <= row["p99_ns"] <= row["p999_ns"]
    assert 200 < figures["order_bytes"] < 1000
    assert figures["ratio_p50_paired"] > 0
    # An order left by the gateway for every sample that counts, and for those that warmed up.
    assert figures["stages"]["order"]["n"] >= 60


@pytest.mark.slow
def test_a_burst_is_verified_to_the_last_frame(data_dir: Path, tmp_path: Path) -> None:
    """The daemon verified and journaled exactly what was sent; a peer that is not installed is said to be missing."""
    figures = run("burst.py", data_dir, tmp_path / "result.json", "--loops", "1", "--turns", "1",
                  "--nautilus", str(tmp_path / "not-there"))
    assert set(figures["clients"]) == {"cstd", "picows"}
    assert "not there" in figures["nautilus_missing"]
    for row in figures["clients"].values():
        assert row["frames_per_s"] > 0
    (turn,) = figures["clients"]["cstd"]["turns"]
    assert turn["verified"] == figures["frames"]
    assert turn["journal_seq"] >= figures["frames"]
    assert turn["link"]["backlog_bytes"] == 0
    assert figures["journal"]["openings"] > 0
    assert figures["journal"]["openings_while_behind"] == 0


def test_without_recordings_the_benches_say_so() -> None:
    """No CSTD_DATA: one line, exit 1, no process left."""
    for script in ("round_trip.py", "burst.py"):
        env = {name: value for name, value in os.environ.items() if name != "CSTD_DATA"}
        done = subprocess.run([sys.executable, str(LIVE / script)], cwd=REPOSITORY, capture_output=True, text=True,
                              timeout=TIMEOUT_S, check=False, env=env)
        assert done.returncode == 1
        assert "CSTD_DATA" in done.stderr
        assert "Traceback" not in done.stderr
