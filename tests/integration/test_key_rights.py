"""A key that may withdraw, or lacks what trading needs, ends the start with exit 78, before the private socket is opened."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.integration.session import Session, practice_session

TRADING = ["query-funds", "query-open-trades", "query-closed-trades", "modify-trades", "close-trades", "access-websockets"]


def refused(session: Session, rights: list[str]) -> str:
    """Start the daemon with a key of these rights; returns its log, after the exit code it must end with."""
    session.tell_exchange("rights", rights=rights)
    session.start()
    assert session.daemon is not None
    assert session.daemon.wait(60) == 78, session.log_tail()
    return session.log_tail(lines=60)


@pytest.mark.slow
def test_a_key_that_does_not_fit_ends_the_start(tmp_path: Path) -> None:
    """A right to withdraw, and one that is missing, are named; nothing was sent. With the right rights it starts."""
    with practice_session(tmp_path) as session:
        log = refused(session, [*TRADING, "withdraw-funds"])
        assert "withdraw-funds" in log
        assert "Traceback" not in log
        log = refused(session, [right for right in TRADING if right != "close-trades"])
        assert "Cancel/Close Orders" in log
        assert "link up" not in "\n".join(line for line in log.splitlines() if "LINK_PRIVATE" in line)
        assert session.fresh_truth()["orders"] == []
        session.tell_exchange("rights", rights=TRADING)
        session.start_ready()


@pytest.mark.slow
def test_a_venue_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """The daemon serves its socket while no venue answers, says so, and judges the key once one does."""
    with practice_session(tmp_path, None, "--reading", "rights_by_name=true") as session:
        assert session.exchange is not None
        session.exchange.send_signal(19)  # SIGSTOP
        session.start()
        session.wait(lambda: session.state() == "reconciling", 60, "no admin socket")
        time.sleep(1.0)
        assert session.request("status")["links"]["private"]["up"] is False
        session.exchange.send_signal(18)  # SIGCONT
        session.wait_state("ready", 40)
