"""The operator's verbs over the command line, on a daemon that trades: what they show, and what they make happen."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.session import FILL_FIELDS, USER_BTC, Row, Session, cstd, practice_session

STATUS_KEYS = {"pid", "mode", "state", "ready", "boot_epoch", "kill", "level", "instruments"}
ORDER_KEYS = {"cl_ord_id", "order_id", "symbol", "side", "status", "order_qty", "filled_qty"}
OPEN_STATUS = ("pending_new", "new", "partially_filled")
KILL_GATE = 11
NS_PER_S = 1_000_000_000


@pytest.fixture
def session(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Session]:
    """A daemon that is ready; parametrised indirectly with environment overrides."""
    with practice_session(tmp_path, getattr(request, "param", None)) as running:
        running.start_ready()
        yield running


def ask(session: Session, *words: str) -> Any:
    """The JSON answer of one `cstd` verb."""
    done = cstd(session, *words, "--socket", str(session.run_dir / "cstd.sock"), "-o", "json")
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return json.loads(done.stdout)


def openings(session: Session) -> list[Row]:
    """Live openings."""
    return [row for row in session.request("orders") if row["kind"] == "opening"]


def opened_after(session: Session, wall_ns: int) -> list[Row]:
    """Openings sent after a time."""
    return [row for row in session.rows("orders") if row["kind"] == "opening" and (row["sent_wall_ns"] or 0) > wall_ns]


def commanded_ns(session: Session, verb: str) -> int:
    """When the daemon last took up a command, by its journal; waits until the record is on the disk."""
    told: list[str] = []

    def written() -> list[str]:
        told[:] = cstd(session, "audit", str(session.run_dir), "--verb", verb, "-o", "json").stdout.splitlines()
        return told

    session.wait(written, 30, f"{verb} is not in the journal")
    return int(json.loads(told[-1])["wall_ns"])


def test_reading_verbs(session: Session) -> None:
    """status, orders, fills, positions, gates and why answer in JSON with the documented fields, and as tables."""
    session.wait(lambda: session.request("fills"), 20, "no fill")
    status = ask(session, "status")
    assert status.keys() >= STATUS_KEYS
    assert (status["mode"], status["state"], status["ready"]) == ("practice", "ready", True)
    assert 0 <= time.time() - status["boot_epoch"] < 300
    assert status["instruments"] == ["BTC/USD", "ETH/USD"]
    assert status["kill"] is False
    orders, fills = ask(session, "orders", "--all"), ask(session, "fills", "--all")
    assert all(row.keys() >= ORDER_KEYS for row in orders) and orders
    assert all(row.keys() >= {"exec_id", *FILL_FIELDS} for row in fills) and fills
    assert {row["instrument"] for row in ask(session, "positions")} <= {"BTC/USD", "ETH/USD"}
    gates = ask(session, "gates")
    assert [row["gate"] for row in gates] == [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16, 17, 18]
    last = ask(session, "why", "--last")
    assert len(last["gates"]) == 15
    assert ask(session, "why", orders[0]["cl_ord_id"])["cl_ord_id"] == orders[0]["cl_ord_id"]
    table = cstd(session, "why", "--last", "--socket", str(session.run_dir / "cstd.sock"))
    assert table.returncode == 0 and table.stdout.strip()
    nothing = cstd(session, "why", "no-such-order", "--socket", str(session.run_dir / "cstd.sock"), "-o", "json")
    assert nothing.returncode == 1
    assert json.loads(nothing.stderr).keys() >= {"error", "message", "retryable", "suggestion"}


def test_pause_and_resume(session: Session) -> None:
    """Paused, no opening leaves and what is held is sold all the same; resumed, it trades again."""
    session.wait(lambda: session.request("positions") and session.request("fills"), 20, "no position")
    assert ask(session, "pause")["paused"] is True
    paused_ns = time.time_ns()
    session.wait_state("paused", 2)
    session.wait(lambda: not openings(session), 5, "openings stay")
    session.wait(lambda: all(Decimal(row["qty"]) == 0 or row["dust"] for row in session.request("positions")), 15,
                 "what is held is not sold while paused")
    time.sleep(1.5)
    assert opened_after(session, paused_ns + NS_PER_S // 5) == []
    ask(session, "resume")
    session.wait_state("ready", 2)
    session.wait(lambda: opened_after(session, paused_ns + NS_PER_S // 5), 15, "no opening after the resume")
    session.wait_agreement()


def test_kill_latches_through_a_crash(session: Session) -> None:
    """kill --yes: openings are gone at the venue in under a second; the latch survives kill -9; clearing takes two steps."""
    # Until what a lost tail of the journal had sent must have arrived, nothing proves that the venue has none of ours.
    time.sleep(max(0.0, session.started_at_s + 8 - time.monotonic()))
    session.wait(lambda: any(row["state"] == "new" for row in openings(session)), 20, "no opening rests")
    assert ask(session, "kill", "--yes", "--reason", "drill")["kill"] is True
    session.wait(lambda: not openings(session), 1, "openings stay after the kill")
    proven = re.compile(r"the venue shows no opening of ours.*?\"after_ms\":(\d+)")
    session.wait(lambda: proven.search(session.log_tail()), 2, "the end of the kill is not logged")
    assert int(proven.findall(session.log_tail())[-1]) < 1_000
    truth = session.fresh_truth()
    shown = {row["cl_ord_id"]: row["status"] for row in truth["orders"]}
    ours = [row for row in session.rows("orders") if row["kind"] == "opening"]
    arrived = {row["cl_ord_id"] for row in ours if row["status"] != "rejected"}
    assert arrived and arrived <= shown.keys()
    assert all(shown.get(row["cl_ord_id"]) not in OPEN_STATUS for row in ours)
    assert session.state() == "killed"
    killed_ns = commanded_ns(session, "kill")
    session.kill_nine()
    session.start()
    session.wait_state("killed", 60)
    status = ask(session, "status")
    assert (status["kill"], status["kill_reason"], status["ready"]) == (True, "drill", False)
    session.wait(lambda: session.request("why", {"limit": 20, "refused_by": str(KILL_GATE)}), 20, "gate 11 refused nothing")
    assert opened_after(session, killed_ns) == []
    refused = cstd(session, "kill", "--clear", "--socket", str(session.run_dir / "cstd.sock"), "-o", "json")
    assert refused.returncode == 2 and ask(session, "status")["kill"] is True
    assert ask(session, "kill", "--clear", "--yes")["kill"] is False
    status = ask(session, "status")
    assert status["kill"] is False and status["shadow"] is True
    cleared_ns = time.time_ns()
    session.wait_state("ready", 5)
    session.wait(lambda: session.request("counters")["shadowed"], 15, "nothing was decided in shadow")
    assert opened_after(session, cleared_ns) == []
    session.wait_agreement()


def test_a_tightened_limit_outlives_kill_nine(session: Session) -> None:
    """limits set: openings are refused by that gate, through kill -9 as well; reset, they are sent again. The journal replays."""
    key = "risk.position_bps_max"
    session.wait(lambda: openings(session), 20, "no opening")
    answer = ask(session, "limits", "set", key, "1", "--yes", "--reason", "drill")
    assert (answer["before"], answer["value"], answer["set_by_uid"]) == ("200", "1", os.getuid())
    assert 0 <= time.time_ns() - answer["set_wall_ns"] < 60 * NS_PER_S
    session.kill_nine()
    session.start()
    session.wait_state("ready", 60)
    (row,) = [row for row in ask(session, "limits") if row["source"] == "operator"]
    assert (row["key"], row["value"], row["configured"], row["reason"]) == (key, "1", "200", "drill")
    session.wait(lambda: session.request("why", {"limit": 20, "refused_by": "position_size"}), 25, "gate 17 refused nothing")
    assert opened_after(session, answer["set_wall_ns"]) == []
    refused = cstd(session, "limits", "set", key, "201", "--yes", "--socket", str(session.run_dir / "cstd.sock"))
    assert refused.returncode == 1
    assert "looser than the configuration" in refused.stderr and "at most 200" in refused.stderr
    assert ask(session, "limits", "reset", key, "--yes")["source"] == "configuration"
    reset_ns = time.time_ns()
    session.wait(lambda: opened_after(session, reset_ns), 25, "no opening after the reset")
    session.wait_agreement()
    assert session.terminate() == 0
    session.assert_journal_is_true()


@pytest.mark.parametrize("session", [{"CSTD__STRATEGY__REHEARSAL__HOLD_S": "600"}], indirect=True)
def test_flatten_sells_managed_inventory_only(session: Session) -> None:
    """flatten --yes sells what the daemon bought and nothing of the user's."""
    def held() -> bool:
        return any(row["asset"] == "BTC" and Decimal(row["qty"]) > 0 for row in session.request("positions"))

    session.wait(held, 20, "no BTC position")
    ask(session, "pause")
    answer = ask(session, "flatten", "--yes")
    assert "BTC/USD" in answer["flattening"]
    session.wait(lambda: not held(), 10, "the position stays")
    session.wait_agreement()
    assert session.user_btc(session.fresh_truth(), session.request("positions")) == USER_BTC
    sold = sum((Decimal(row["qty"]) * (1 if row["side"] == "buy" else -1) for row in session.rows("fills")
                if row["symbol"] == "BTC/USD"), Decimal(0))
    assert sold == 0
    assert Decimal(session.fresh_truth()["balances"]["BTC"]) == USER_BTC
    refused = cstd(session, "flatten", "--socket", str(session.run_dir / "cstd.sock"))
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert session.terminate() == 0
    session.assert_journal_is_true()
