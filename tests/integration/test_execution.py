"""Execution quality of a real session: the command, the status port, the ledger and a rebuild of it say the same."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cstd.ops import execution
from cstd.units import NS_PER_S
from tests.integration.session import Session, cstd, practice_session
from tests.projector.sessions import columns, rows
from tests.schemas import assert_fits


def told(session: Session) -> dict[str, Any]:
    """What the command prints; nothing while there is no ledger yet."""
    done = cstd(session, "execution", "--run-dir", str(session.run_dir), "-o", "json")
    return json.loads(done.stdout) if done.returncode == 0 else {}


def known(session: Session, horizon_s: int) -> int:
    """How many markouts of a horizon are known."""
    return sum(row["n"] for row in told(session).get("markouts", []) if row["horizon_s"] == horizon_s)


def seen(session: Session) -> dict[str, Any] | None:
    """What the status port says."""
    found: dict[str, Any] | None = session.api("execution")["quality"]
    return found


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_a_sessions_executions_are_measured(tmp_path: Path) -> None:
    """Every order that was sent has its arrival, every fill its mids; after kill -9 too; the rows are those of a rebuild."""
    with practice_session(tmp_path) as session:
        session.start_ready()
        session.wait(lambda: known(session, 10) >= 2, 60, "no markout after 10 s")
        session.wait(lambda: (seen(session) or {"fills": 0})["fills"] >= 2, 20, "the status port does not show them")
        session.kill_nine()
        session.start_ready()
        session.wait(lambda: known(session, 1) >= 4, 60, "no further markout")
        session.request("pause")
        session.wait_rest()
        fills = {row["exec_id"]: row for row in session.rows("fills")}
        # A stop gives the projector three seconds for what is left, and after a kill it may be far behind.
        session.wait(lambda: session.api("counters").get("projector_lag_ns", NS_PER_S) < NS_PER_S, 60, "the ledger stays behind")
        assert session.terminate() == 0
        path = session.run_dir / "ledger.db"
        _check(path, fills)
        found = told(session)
        assert_fits("execution", found)
        assert found == execution.read(path)
        done = cstd(session, "db", "rebuild", str(session.run_dir), "--out", str(session.run_dir / "again.db"))
        assert done.returncode == 0, done.stderr
        followed, again = rows(path), rows(session.run_dir / "again.db")
        assert (followed["arrivals"], followed["markouts"]) == (again["arrivals"], again["markouts"])


def _check(path: Path, fills: dict[str, Any]) -> None:
    """Against the other tables and the daemon's own slippage, which is the price cost of each fill."""
    sent = columns(path, "SELECT count(*) FROM orders")
    assert columns(path, "SELECT count(*) FROM arrivals JOIN orders USING (cl_ord_id) WHERE mid IS NOT NULL") == sent
    assert columns(path, "SELECT count(*) FROM markouts") == [(4 * len(fills),)]
    assert columns(path, "SELECT count(*) FROM markouts WHERE (mid IS NULL) != (unknown IS NOT NULL)") == [(0,)]
    for exec_id, side, cost, price, mid in columns(
            path, "SELECT f.exec_id, f.side, f.cost, f.price, a.mid FROM fills f JOIN arrivals a USING (cl_ord_id)"):
        sign = 1 if side == "buy" else -1
        bps = sign * (Decimal(price) - Decimal(mid)) / Decimal(mid) * 10_000
        assert fills[exec_id]["slippage_bps"] == pytest.approx(float(bps), abs=0.001), (exec_id, cost)
    dues = columns(path, "SELECT count(*) FROM markouts m JOIN fills f USING (exec_id)"
                         " WHERE m.due_wall_ns != f.wall_ns + m.horizon_s * 1000000000")
    assert dues == [(0,)]
