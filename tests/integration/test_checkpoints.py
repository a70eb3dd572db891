"""Checkpoints and retention under a daemon that trades: its journal stays short, and after kill -9 nothing is missing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from cstd.storage import checkpoints
from cstd.storage.journal_files import segment_paths
from tests.integration.session import Session, cstd, practice_session

ENV = {"CSTD__JOURNAL__SEGMENT_BYTES": str(2**20), "CSTD__JOURNAL__CHECKPOINT_INTERVAL_S": "1",
       "CSTD__JOURNAL__KEEP_BYTES": str(2**19), "CSTD__VENUE__UNKNOWN_ABSENT_S": "0.5"}


def logged(session: Session, event: str) -> list[dict[str, object]]:
    """The rows of the daemon's log that tell of an event."""
    rows = (json.loads(line) for line in (session.run_dir / "daemon.log").read_text().splitlines() if line.startswith("{"))
    return [row for row in rows if row.get("event") == event]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_cut_journal_recovers_to_the_exchanges_truth(tmp_path: Path) -> None:
    """Segments go while it trades; killed, it starts from a checkpoint, and orders, fills and totals are the whole session's."""
    journal = tmp_path / "journal"
    with practice_session(tmp_path, ENV, "--rate", "500") as session:
        session.start_ready()
        session.wait(lambda: session.request("fills", {"all": True, "limit": 5}), 30, "no fill came")
        early = {row["exec_id"] for row in session.rows("fills")}
        session.wait(lambda: segment_paths(journal)[0][0] > 1, 60, "no segment was removed")
        session.kill_nine_alone()  # its children may have taken one more checkpoint
        taken = checkpoints.read(checkpoints.paths(journal)[-1])[0].place.last_seq
        session.start_ready()
        session.wait_agreement()
        assert early <= {row["exec_id"] for row in session.rows("fills")}, "fills of removed segments are gone"
        status = session.request("status")["journal"]
        session.wait(lambda: session.request("status")["journal"]["checkpoints"] > 0, 20, "no checkpoint after the restart")
        assert status["checkpoint_failures"] == 0, session.log_tail()
        told: dict[str, object] = {}
        for _ in range(8):  # what is left of the journal is some seconds, in which nothing may have been traded
            fills = len(session.rows("fills"))
            session.wait(lambda n=fills: len(session.rows("fills")) > n, 30, "no fill after the restart")
            time.sleep(1.7)  # a statement's span ends half a second ago, cut to a second
            stated = cstd(session, "statement", "--run-dir", str(tmp_path), "-o", "json", timeout_s=90)
            if "there is nothing to state" in stated.stdout + stated.stderr:
                assert stated.returncode == 2, stated.stdout + stated.stderr
                continue  # less than a whole second of it
            assert stated.returncode == 0, stated.stdout + stated.stderr
            told = json.loads(stated.stdout)
            assert told["differences"] == [] and len(told["balances"]) >= 2  # type: ignore[arg-type]
            if told["fills"]:
                break
        assert told.get("fills")
        assert session.terminate() == 0

        first, second = logged(session, "recovered")
        assert first["checkpoint_seq"] == 0 and second["checkpoint_seq"] == taken > 0
        verified = cstd(session, "journal", "verify", str(journal), "-o", "json")
        assert verified.returncode == 0, verified.stderr
        assert json.loads(verified.stdout)["first_seq"] > 1
        checked = cstd(session, "replay", str(journal), "--check")
        assert checked.returncode == 0, checked.stderr
        row = json.loads(checked.stdout)
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert row["differences"] == 0 and row["replayed_from_seq"] > 1
        assert {key: row[key] for key in ("digest", "orders", "fills", "equity", "book_updates")} == {
            key: summary[key] for key in ("digest", "orders", "fills", "equity", "book_updates")}
