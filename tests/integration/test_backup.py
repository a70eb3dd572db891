"""A host is lost with all that was on it: the backup, and what the venue knows, bring the daemon back to the truth."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cstd.daemon.ring_place import ring_path
from tests.integration.session import USER_BTC, Session, cstd, practice_session


def printed(session: Session, *words: str) -> dict[str, object]:
    """What a verb prints as JSON; it must have worked."""
    done = cstd(session, *words, "-o", "json", timeout_s=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def lose_the_disk(session: Session) -> None:
    """All that the daemon kept goes; the ring stays, as after the loss of a disk, and so does what the exchange wrote."""
    shutil.rmtree(session.run_dir / "journal")
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm", "journal-key.pem", "nonce", "attempts", "board"):
        (session.run_dir / name).unlink(missing_ok=True)


@pytest.mark.timeout(900)
def test_orders_and_fills_after_the_backup_are_found_at_the_venue(tmp_path: Path) -> None:
    """Two backups while it trades, then orders and fills that none has; restored, it holds what the venue's truth says."""
    target, run = tmp_path / "elsewhere" / "backup", tmp_path / "run"
    run.mkdir()
    with practice_session(run) as session:
        run_dir = str(session.run_dir)
        session.start_ready()
        session.wait(lambda: len(session.rows("fills")) >= 2, 60, "no fills")
        first = printed(session, "backup", str(target), "--run-dir", run_dir)
        session.wait(lambda: len(session.rows("fills")) >= 4, 60, "no more fills")
        second = printed(session, "backup", str(target), "--run-dir", run_dir)
        assert (first["seq_before"], second["seq_before"]) == (0, first["seq"])
        assert second["seq"] > first["seq"] and second["ledger"] is True
        in_backup = len(session.rows("fills"))
        session.wait(lambda: len(session.rows("fills")) >= in_backup + 2, 60, "no fills that the backup has not")
        session.kill_nine_alone()
        assert ring_path(session.run_dir).exists()
        lose_the_disk(session)

        restored = printed(session, "restore", str(target), "--run-dir", run_dir)
        assert (restored["seq"], restored["ledger"]) == (second["seq"], "restored")
        assert Path(str(restored["ring_put_aside"])).stat().st_size > 0
        proven = printed(session, "journal", "verify", str(session.run_dir / "journal"))
        assert (proven["ok"], proven["last_seq"]) == (True, second["seq"])
        assert proven["signed_seq"] > 0

        session.start_ready()
        session.wait_agreement()
        fills = {row["exec_id"] for row in session.fresh_truth()["fills"]}
        assert len(fills) >= in_backup + 2
        session.wait(lambda: {row["exec_id"] for row in session.truth()["fills"]} == {
            row["exec_id"] for row in session.request("fills", {"all": True})}, 60, "a fill of the venue is missing or invented")
        session.request("pause")
        session.wait_rest()
        session.wait_agreement()
        assert session.user_btc(session.fresh_truth(), session.request("positions")) == USER_BTC
        assert session.terminate() == 0
        session.assert_journal_is_true()
        third = printed(session, "backup", str(target), "--run-dir", run_dir)
        assert third["seq_before"] == second["seq"] and third["seq"] > second["seq"]
