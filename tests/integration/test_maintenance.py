"""Announced maintenance over real sockets: pulled ahead, waited out, connections cut, and trading again with nobody's help."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import pytest

from tests.integration.session import practice_session

LIFETIME = {"CSTD__STRATEGY__REHEARSAL__LIFETIME_S": "60"}


def text(seconds: float) -> str:
    """A time from now."""
    return (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.slow
def test_a_maintenance_from_announcement_to_end(tmp_path: Path) -> None:
    """Nothing rests when it begins, nothing is sent while it lasts, and it ends ready with books that agree."""
    with practice_session(tmp_path, LIFETIME) as session:
        session.start_ready()
        session.wait(lambda: any(row["state"] == "new" for row in session.request("orders")), 20, "no order rests")
        session.tell_exchange("announce", entries=[{"from": text(30), "to": text(600)}])
        session.wait(lambda: not session.request("orders"), 10, "an order is left")
        session.wait_state("reconciling", 5)
        assert "maintenance is announced from" in session.request("status")["state_reason"]
        session.wait(lambda: session.request("positions") or not session.request("status")["deadman"]["armed"], 10, "armed")
        session.tell_exchange("announce", entries=[])
        session.tell_exchange("system", state="maintenance")
        session.wait(lambda: session.request("status")["state_reason"] == "venue is maintenance", 5, "the word is not known")
        known_ns = time.time_ns()  # the journal tells what left between the word and this look: see its judge
        for server in ("ws_public", "ws_private"):
            session.tell_exchange("refuse", server=server, seconds=3)
        time.sleep(4.0)
        for state in ("cancel_only", "post_only"):
            session.tell_exchange("system", state=state)
            time.sleep(0.5)
        sent = [row for row in session.rows("orders") if (row["sent_wall_ns"] or 0) > known_ns]
        assert sent == []
        session.tell_exchange("system", state="online")
        session.wait_state("ready", 30)
        before = len(session.rows("fills"))
        session.wait(lambda: session.request("status")["deadman"]["armed"], 5, "the switch is off")
        session.wait(lambda: len(session.rows("fills")) > before, 30, "no fill afterwards")
        session.wait_agreement(25)
        assert session.terminate() == 0
        session.assert_journal_is_true()
