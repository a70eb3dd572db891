"""An upgrade that begins a new journal while something is held: stop, `cstd handover`, the journal away, start."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cstd.storage.run_dir import HANDOVER_FILE, TAKEN_FILE
from tests.integration.session import USER_BTC, Session, cstd, practice_session
from tests.schemas import assert_fits

HOLD = {"CSTD__STRATEGY__REHEARSAL__HOLD_S": "3600", "CSTD__EXITS__HORIZON_S": "1800", "CSTD__EXITS__STOP_BPS": "2000"}
STATE = ("journal", "ledger.db", "ledger.db-wal", "ledger.db-shm")


def held(session: Session) -> dict[str, Any]:
    """What is held, by instrument, as far as no market price is in it; dust left out."""
    keys = ("qty", "entry_price", "stop_price", "time_stop_wall_ns", "realized_pnl", "user_qty")
    return {row["instrument"]: {key: row[key] for key in keys} for row in session.request("positions") if not row["dust"]}


def hand_over(session: Session, name: str = HANDOVER_FILE) -> dict[str, Any]:
    """`cstd handover` of the stopped daemon."""
    done = cstd(session, "handover", str(session.run_dir / name), "--run-dir", str(session.run_dir), "-o", "json")
    assert done.returncode == 0, done.stderr
    row = dict(json.loads(done.stdout))
    assert_fits("handover", row)
    return row


def move_away(session: Session) -> None:
    """The journal and its ledger go; the host's key stays, as the steps of docs/install.md have it."""
    away = session.run_dir / "until-today"
    away.mkdir()
    for name in STATE:
        if (session.run_dir / name).exists():
            (session.run_dir / name).rename(away / name)
    session.remove_ring()


def settled(session: Session) -> None:
    """Nothing rests at the venue, and nothing opens."""
    session.request("pause", {"reason": "upgrade"})
    session.wait(lambda: not session.request("orders"), 30, "an order rests")


@pytest.mark.slow
@pytest.mark.timeout(800)
def test_an_upgrade_forgets_nothing_that_a_limit_or_a_position_stands_on(tmp_path: Path) -> None:
    """Position, entry, stop, day loss, kill, limits; a crash right after; what is held is sold, and no coin of the user's."""
    with practice_session(tmp_path, HOLD) as session:
        session.start_ready()
        session.wait(lambda: held(session), 40, "nothing was bought")
        upgrade(session)


def upgrade(session: Session) -> None:
    """Something is held: a limit, a kill, a stop, the handover, the new journal, a crash, and the sale."""
    session.request("limits_set", {"key": "policy.spread_bps_max", "value": "7", "reason": "upgrade"})
    settled(session)
    session.request("kill", {"reason": "by hand"})
    positions, limits = held(session), session.request("limits")
    assert session.terminate() == 0
    equity = session.journal_view().engine.nav
    told = hand_over(session)
    assert told["killed"] and told["limits"] == 1 and told["paused"] and len(told["held"]) == len(positions)
    move_away(session)

    session.start()
    session.wait_state("killed", 60)
    assert not (session.run_dir / HANDOVER_FILE).exists() and (session.run_dir / TAKEN_FILE).exists()
    assert held(session) == positions and session.request("limits") == limits
    session.kill_nine()
    session.start()
    session.wait_state("killed", 60)
    assert held(session) == positions
    session.wait_agreement(25)
    session.request("flatten")
    session.wait(lambda: not held(session) and not session.request("orders"), 40, "it is not sold")
    session.wait_agreement(25)
    assert session.terminate() == 0
    engine = session.assert_journal_is_true()
    assert engine.nav.peak >= equity.peak and engine.nav.day_start == equity.day_start
    assert session.judge_replay() == []
    assert session.user_btc(session.fresh_truth(), []) == USER_BTC
    assert cstd(session, "db", "rebuild", str(session.run_dir)).returncode == 0
    with sqlite3.connect(session.run_dir / "ledger.db") as ledger:
        peak, cash = ledger.execute("SELECT peak_raw, cash_flow FROM marks ORDER BY seq LIMIT 1").fetchone()
        assert peak == equity.peak and Decimal(cash) != 0
