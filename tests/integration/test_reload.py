"""`cstd reload` and SIGHUP on a daemon that trades: taken over while it runs, kept by a kill, replayed bit for bit."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.integration.session import Session, cstd, practice_session
from tests.practice_file import written
from tests.schemas import assert_fits

SPREAD = "policy.spread_bps_max"


def limit(session: Session, key: str) -> Any:
    """A limit as it holds."""
    return next(row for row in session.request("limits") if row["key"] == key)


def test_a_reload_tightens_survives_and_replays(tmp_path: Path) -> None:
    """By command and by signal; a wrong file is refused with exit 78 and leaves all; after kill -9 it holds; replay agrees."""
    config = tmp_path / "c.toml"
    written(config)
    (tmp_path / "run").mkdir()
    with practice_session(tmp_path / "run") as session:
        session.config = config
        session.start_ready()
        at = ["--run-dir", str(session.run_dir), "-o", "json"]
        written(config, spread_bps_max="20", capital="11000")
        done = cstd(session, "reload", *at)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert_fits("reload", told)
        assert [row["key"] for row in told["applied"]] == [SPREAD]
        assert [row["key"] for row in told["needs_restart"]] == ["account.capital"]
        assert [limit(session, SPREAD)[name] for name in ("value", "source", "set_by_uid")] == ["20", "reload", os.getuid()]
        text = cstd(session, "reload", "--run-dir", str(session.run_dir)).stdout
        assert text == "needs a restart: account.capital = 11000, runs with 10000\n"

        written(config, spread_bps_max="10", positions_max="0")
        refused = cstd(session, "reload", *at)
        assert (refused.returncode, refused.stdout) == (78, "")
        assert "risk.positions_max" in json.loads(refused.stderr)["message"]
        assert limit(session, SPREAD)["value"] == "20"

        written(config, spread_bps_max="15")
        session.running_daemon().send_signal(signal.SIGHUP)
        session.wait(lambda: limit(session, SPREAD)["value"] == "15", 15, "not reloaded")
        session.kill_nine()
        written(config)
        session.start_ready()
        assert limit(session, SPREAD)["value"] == "15"  # a command, until a reload or an operator takes it back
        assert [row["value"] for row in json.loads(cstd(session, "reload", *at).stdout)["applied"]] == ["45"]
        assert session.terminate() == 0
        session.assert_journal_is_true()
