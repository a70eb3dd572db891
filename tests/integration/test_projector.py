"""The projector beside a trading daemon: it may die, it catches up, and it can be made anew at any time."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cstd.storage import journal_reader
from cstd.units import NS_PER_S, from_raw
from tests.integration.session import Row, Session, cstd, practice_session
from tests.projector.sessions import TABLES, columns, rows


def ledger_rows(session: Session, query: str) -> list[tuple[Any, ...]]:
    """What a query gives, nothing while there is no database yet."""
    try:
        return columns(session.run_dir / "ledger.db", query)
    except sqlite3.OperationalError:
        return []


def agrees(session: Session) -> bool:
    """Whether every order and fill that the daemon shows is in SQLite, exactly."""
    orders = {row["cl_ord_id"]: row for row in session.rows("orders")}
    fills: dict[str, Row] = {row["exec_id"]: row for row in session.rows("fills")}
    ours = {row[0]: row[1:] for row in ledger_rows(
        session, "SELECT cl_ord_id, qty_raw, filled_raw, qty_precision FROM orders")}
    booked = {row[0]: row[1:] for row in ledger_rows(session, "SELECT exec_id, qty_raw, qty_precision, price FROM fills")}
    shown_orders = {name: (Decimal(row["order_qty"]), Decimal(row["filled_qty"])) for name, row in orders.items()}
    shown_fills = {name: (Decimal(row["qty"]), Decimal(row["price"])) for name, row in fills.items()}
    return (shown_orders == {name: (from_raw(qty, digits), from_raw(filled, digits))
                             for name, (qty, filled, digits) in ours.items()}
            and shown_fills == {name: (from_raw(qty, digits), Decimal(price)) for name, (qty, digits, price) in booked.items()})


@pytest.mark.slow
def test_it_dies_catches_up_and_is_made_anew(tmp_path: Path) -> None:
    """kill -9 of the projector and of the daemon, a stop, a rebuild beside the running daemon: the rows are the daemon's."""
    env = {"CSTD__JOURNAL__SEGMENT_BYTES": "1048576"}
    with practice_session(tmp_path, env=env) as session:
        session.start_ready()
        session.wait(lambda: len(ledger_rows(session, "SELECT * FROM fills")) >= 2, 40, "no fills in SQLite")
        for _ in range(2):
            pid = session.child_pid("cstd.projector")
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            session.wait(lambda pid=pid: session.child_pid("cstd.projector") not in (None, pid), 30, "the projector is not back")
            assert session.state() == "ready"
        session.wait(lambda: session.metrics()["cstd_projector_restarts_total"] >= 2, 30, "restarts are not counted")
        session.wait(lambda: session.metrics().get("cstd_projector_lag_seconds", 60.0) < 3, 40, "the lag does not end")
        session.kill_nine()
        session.start_ready()
        done = cstd(session, "db", "rebuild", str(session.run_dir))
        assert done.returncode == 0, done.stderr
        session.request("pause")
        session.wait_rest()
        session.wait(lambda: agrees(session), 40, "SQLite does not get to the daemon's orders and fills")
        # A stop gives the projector three seconds for what is left.
        session.wait(lambda: session.api("counters").get("projector_lag_ns", NS_PER_S) < NS_PER_S, 60, "the ledger stays behind")
        assert session.terminate() == 0
        assert len(ledger_rows(session, "SELECT * FROM boots")) == 2
        _check_files(session)


def _check_files(session: Session) -> None:
    """After a clean stop: everything is projected and signed, segments are compressed, and a rebuild gives the same rows."""
    journal = session.run_dir / "journal"
    report = journal_reader.verify(journal)
    path = session.run_dir / "ledger.db"
    assert columns(path, "SELECT seq FROM place") == [(report.last_seq,)]
    assert report.signed_seq == report.last_seq
    assert list(journal.glob("*.zst"))
    followed = rows(path)
    done = cstd(session, "db", "rebuild", str(session.run_dir), "--out", str(session.run_dir / "again.db"))
    assert done.returncode == 0, done.stderr
    again = rows(session.run_dir / "again.db")
    for table in TABLES:
        assert followed[table] == again[table], table
    done = cstd(session, "replay", str(journal), "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_database_that_it_cannot_use_is_said_and_lived_without(tmp_path: Path) -> None:
    """With a newer schema in its place the projector ends with a clear line; the daemon is ready and says that it is down."""
    with practice_session(tmp_path) as session:
        connection = sqlite3.connect(session.run_dir / "ledger.db")
        connection.executescript("CREATE TABLE x (y); PRAGMA application_id = 1129534532; PRAGMA user_version = 99;")
        connection.close()
        session.start_ready()
        session.wait(lambda: "schema 99 of a newer cstd" in session.log_tail(lines=400), 60, "no word about the schema")
        session.wait(lambda: session.metrics()['cstd_child_up{child="projector"}'] == 0, 30, "it does not count as down")
        assert session.state() == "ready"
        done = cstd(session, "db", "rebuild", str(session.run_dir))
        assert done.returncode == 0, done.stderr
        assert columns(session.run_dir / "ledger.db", "SELECT count(*) FROM boots") == [(1,)]
        began_s = time.monotonic()
        assert session.terminate() == 0
        assert time.monotonic() - began_s < 15


@pytest.mark.slow
def test_it_can_be_switched_off(tmp_path: Path) -> None:
    """Without it there is no process, no database, and nothing counts as down."""
    with practice_session(tmp_path, env={"CSTD__PROJECTOR__ENABLED": "false"}) as session:
        session.start_ready()
        assert session.child_pid("cstd.projector") is None
        assert 'cstd_child_up{child="projector"}' not in session.metrics()
        assert session.terminate() == 0
        assert not (session.run_dir / "ledger.db").exists()


@pytest.mark.slow
def test_durable_intents_trade(tmp_path: Path) -> None:
    """With `durable_intents` orders leave after a sync each, and the session trades as ever."""
    env = {"CSTD__JOURNAL__DURABLE_INTENTS": "true", "CSTD__JOURNAL__DURABLE_WAIT_MS_MAX": "1000"}
    with practice_session(tmp_path, env=env) as session:
        session.start_ready()
        session.wait(lambda: len(session.rows("fills")) >= 2, 40, "no fills")
        # the port shows what the board last said, which may lie before the fills
        session.wait(lambda: session.metrics()["cstd_durable_syncs_total"] >= 2, 30, "no sync counted")
        assert session.metrics()["cstd_durable_failed_total"] == 0
        assert session.terminate() == 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_decisions_that_cannot_be_repeated_halt_it(tmp_path: Path) -> None:
    """The projector recomputes what the daemon decides; a difference stops openings, again after a resume while it is there."""
    def halts() -> int:
        return (tmp_path / "daemon.log").read_text("utf-8").count('"state":"halted"')

    with practice_session(tmp_path) as session:
        session.daemon_module = "tests.integration.otherwise"
        session.start()
        session.wait_state("halted", 100)
        assert "parity" in session.request("status")["state_reason"]
        session.request("resume")
        session.wait(lambda: halts() >= 2, 100, "not halted again after a resume")
        session.wait(lambda: not [row for row in session.rows("orders") if row["state"] == "open" and row["kind"] == "opening"],
                     30, "an opening rests in a parity halt")
