"""The scorer beside a trading daemon: it scores, it may die, and the journal holds what the engine was told."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from cstd._fast.codes import EventKind
from cstd.storage.journal_reader import records
from tests.integration.session import Session, cstd, practice_session
from tests.signals.made import KEY, horizon, in_production


def with_model(folder: Path, key: bytes = KEY, **of_horizon: Any) -> dict[str, str]:
    """A registry with a fixture in production; the environment of a daemon that scores with it."""
    models = in_production(folder, {"1h": {**horizon(("tree", "tree"), ("linear", "linear")), **of_horizon}}, key)
    return {"CSTD__SCORER__ENABLED": "true", "CSTD__SCORER__NAME": "hourly", "CSTD__SCORER__MODELS": str(models),
            "CSTD__SCORER__KEY": str(folder / "models.key"), "CSTD__SCORER__INTERVAL_S": "1", "CSTD__SCORER__AGE_S_MAX": "30"}


def seen(session: Session) -> Any:
    """What the status port says."""
    return session.api("models")


def shown(session: Session) -> Any:
    """What `cstd status` prints."""
    return json.loads(cstd(session, "status", "--run-dir", str(session.run_dir), "-o", "json").stdout)


def counted(metrics: dict[str, float]) -> bool:
    """Whether one restart, scores and a living child are in the metrics."""
    return (metrics["cstd_scorer_restarts_total"] == 1 and metrics["cstd_scores_taken_total"] > 0
            and metrics['cstd_child_up{child="scorer"}'] == 1)


def test_it_scores_dies_and_scores_again(tmp_path: Path) -> None:
    """kill -9: the daemon trades on, starts it again, and the journal replays with every score in it."""
    with practice_session(tmp_path, with_model(tmp_path)) as session:
        session.start_ready()
        session.wait(lambda: seen(session).get("scorer", {}).get("batches", 0) > 0 and seen(session)["scores"], 60, "no scores")
        told = seen(session)
        assert told["scorer"]["state"] == "ready" and told["scorer"]["version"] == "0001"
        assert {one["providers"][0] for one in told["scorer"]["sessions"]} == {"CPUExecutionProvider"}
        assert all(row["fresh"] and 0 < row["probability"] < 1 and row["members"] == 2 for row in told["scores"])
        first = session.child_pid("cstd.signals.scorer")
        assert first is not None and session.daemon is not None
        os.kill(first, signal.SIGKILL)
        session.wait(lambda: session.child_pid("cstd.signals.scorer") not in (None, first), 30, "it was not started again")
        before = told["scorer"]["events"]
        session.wait(lambda: seen(session)["scorer"]["state"] == "ready" and seen(session)["scorer"]["events"] > before + 1, 60,
                     "it does not score again")
        assert session.daemon.poll() is None and seen(session)["scorer"]["restarts"] == 1
        assert shown(session)["scorer"] == {"state": "ready", "reason": "", "version": "0001", "rows": ""}
        session.wait(lambda: counted(session.metrics()), 30, "the metrics do not count them")  # regions are published in turns
        assert session.terminate() == 0
        engine = session.assert_journal_is_true()
        kinds = [record.kind for record in records(session.run_dir / "journal")]
        assert kinds.count(EventKind.EVENT_SCORES) >= before + 2
        assert engine.scores.taken_count >= len(told["scores"])
        again = cstd(session, "replay", str(session.run_dir), "--check", "--rescore", "--tolerance", "0", timeout_s=120)
        assert again.returncode == 0, again.stdout + again.stderr
        found = json.loads(again.stdout)["rescore"]
        assert found["scores"] == found["equal"] >= engine.scores.taken_count and found["held"]


def test_a_wrong_key_is_said_and_stops_nothing(tmp_path: Path) -> None:
    """The daemon is ready; the status says why there are no scores."""
    with practice_session(tmp_path, with_model(tmp_path, b"x" * 32)) as session:
        session.start_ready()
        session.wait(lambda: shown(session)["scorer"]["state"] == "refused", 60, "it is not refused")
        assert "not signed by this key" in shown(session)["scorer"]["reason"] and shown(session)["state"] == "ready"


def test_the_ensemble_trades_on_its_scores(tmp_path: Path) -> None:
    """A fixture that is sure of itself: bought through the gates, `cstd why` shows the score, and the journal replays."""
    env = with_model(tmp_path, calibration={"method": "platt", "a": 1.0, "b": 6.0},
                     conformal={"level": 0.9, "lower": 0.004, "upper": 0.02})
    env |= {"CSTD__STRATEGY__NAME": "ensemble", "CSTD__STRATEGY__ENSEMBLE__SCORE_HORIZON_S": "3600"}
    with practice_session(tmp_path, env) as session:
        session.start_ready()
        session.wait(lambda: session.request("positions"), 120, "nothing is bought")
        status = shown(session)["ensemble"]
        assert (status["trades"], status["reason"], status["horizon_s"]) == (True, "", 3_600) and status["verdicts"]["opens"]
        decision = next(row for row in session.request("why", {"limit": 20})
                        if row["kind"] == "opening" and row["verdict"] != "refuse")
        signal_ = decision["signal"]
        assert (decision["strategy"], signal_["model_state"], signal_["members"], signal_["members_needed"]) == (
            "ensemble", "production", 2, 2)
        assert {vote["member"] for vote in signal_["votes"]} == {"tree", "linear"} and float(signal_["probability"]) >= 0.8
        told = cstd(session, "why", str(decision["intent_seq"]), "--run-dir", str(session.run_dir)).stdout
        assert "opens from 0.8" in told and "a quarter of Kelly's share" in told and "idempotency" in told
        counted = 'cstd_ensemble_verdicts_total{verdict="opens"}'
        session.wait(lambda: session.metrics().get(counted), 30, "the metrics do not count them")
        assert session.terminate() == 0
        engine = session.assert_journal_is_true()
        assert engine.ensemble.counts[""] > 0
