"""`cstd live-check`: one daemon, two orders near the venue's least size, and the venue's own word on each rung."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.integration.session import CONFIG, Session, cstd, practice_session
from tests.schemas import assert_fits


def check(session: Session, *words: str) -> tuple[int, dict[str, object]]:
    """Run the check beside the session's exchange; returns its exit code and what it printed."""
    done = cstd(session, "live-check", "-c", str(CONFIG), "--run-dir", str(session.run_dir), "-o", "json", *words, timeout_s=120)
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, object] = json.loads(done.stdout or done.stderr)
    return done.returncode, found


@pytest.mark.slow
def test_the_ladder_is_climbed_and_nothing_is_left(tmp_path: Path) -> None:
    """Placed, amended, canceled, killed: the exchange saw two small post-only buys, filled nothing, and holds what it held."""
    with practice_session(tmp_path) as session:
        code, found = check(session)
        assert code == 0, found
        assert_fits("live-check", found)
        truth = session.fresh_truth()
        assert truth["fills"] == []
        assert truth["balances"] == session.start_balances
        orders = truth["orders"]
        assert [order["status"] for order in orders] == ["canceled", "canceled"]
        amended, killed = sorted(orders, key=lambda order: Decimal(order["order_qty"]))
        # Both began with one size; what a tightened limit left of one of them is between a half and two thirds of it.
        assert Decimal("0.5") < Decimal(amended["order_qty"]) / Decimal(killed["order_qty"]) < Decimal("0.67")
        rungs = found["rungs"]
        assert isinstance(rungs, dict)
        assert all(value is not None for value in rungs.values())
        folder = Path(str(found["run_dir"]))
        assert folder.parent == tmp_path / "live-check"
        assert not (tmp_path / "journal").exists()  # the daemon's own is not touched


@pytest.mark.slow
def test_what_is_wrong_is_named_before_an_order(tmp_path: Path) -> None:
    """A key that may withdraw, a place where a daemon runs, an instrument that is not configured: named, and nothing is sent."""
    with practice_session(tmp_path) as session:
        code, found = check(session, "--instrument", "DOGE/USD")
        assert code == 2
        assert "instruments.names" in str(found["message"])
        session.tell_exchange("rights", rights=["query-funds", "withdraw-funds"])
        code, found = check(session)
        assert code == 78
        assert "withdraw" in str(found)
        session.tell_exchange("rights", rights=["query-funds", "query-open-trades", "query-closed-trades", "modify-trades",
                                                "close-trades", "access-websockets"])
        session.start_ready()
        code, found = check(session)
        assert code == 1
        assert "one account has one trading daemon" in str(found["message"])
        assert session.terminate() == 0


@pytest.mark.slow
def test_a_gate_that_refuses_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    """Where a limit refuses the order, the check says which gate, fails, and the daemon has gone."""
    with practice_session(tmp_path, {"CSTD__POLICY__SPREAD_BPS_MAX": "0.001"}) as session:
        code, found = check(session)
        assert code == 1
        last = found["checks"][-1]  # type: ignore[index]
        assert (last["name"], last["state"]) == ("ladder", "problem")
        assert "gate spread refused" in last["found"]
        assert session.fresh_truth()["orders"] == []
