"""The venue falls silent for a while: the daemon notices, waits, and comes back unaided with nothing doubled."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.integration.session import practice_session

SILENT_S = 18.0
# The switch fires at the venue while it is stopped: it finds its deadline passed when it goes on.
DEADMAN = {"CSTD__VENUE__DEADMAN_TIMEOUT_S": "15",
           "CSTD__STRATEGY__REHEARSAL__LIFETIME_S": "60"}


@pytest.mark.slow
@pytest.mark.parametrize("env", [{}, DEADMAN], ids=["silence", "deadman-fires"])
def test_silent_exchange(tmp_path: Path, env: dict[str, str]) -> None:
    """The exchange stops for 18 s with an order open: the daemon reconciles, is ready again, and all orders agree."""
    with practice_session(tmp_path, env) as session:
        session.start_ready()
        epoch = session.request("status")["boot_epoch"]
        rows: list[str] = []
        session.wait(lambda: rows.extend(row["cl_ord_id"] for row in session.request("orders") if row["state"] == "new") or rows,
                     20, "no order rests")
        resting = rows[0]
        assert session.exchange is not None
        session.exchange.send_signal(signal.SIGSTOP)
        stopped_ns = time.time_ns()
        session.wait_state("reconciling", SILENT_S)
        reason = session.request("status")["state_reason"]
        time.sleep(max(0.0, SILENT_S - (time.time_ns() - stopped_ns) / 1e9))
        during = [row for row in session.rows("orders") if (row["sent_wall_ns"] or 0) > stopped_ns + 11_000_000_000]
        assert during == [], f"orders were sent into a dead link ({reason})"
        session.exchange.send_signal(signal.SIGCONT)
        session.wait_state("ready", 30)
        session.wait_agreement(25)
        if env:
            # Canceled by the switch, or filled by what the exchange caught up with: not open, here and there.
            ended = {row["cl_ord_id"]: row["status"] for row in session.rows("orders")}
            assert ended[resting] in ("canceled", "filled")
        before = len(session.rows("fills"))
        session.wait(lambda: len(session.rows("fills")) > before, 25, "no fill after the cut")
        session.wait_agreement(25)
        assert session.request("status")["boot_epoch"] == epoch, "it was one start all the time"
        assert session.terminate() == 0
        session.assert_journal_is_true()
