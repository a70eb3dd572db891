"""A level told wrong below every checksum: the audit of the running daemon finds it, and the book is right again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cstd.ops.board import BoardReader
from tests.integration.session import Session, practice_session

# The least interval for two instruments, and a market so quiet that the planted level is not put right by itself.
ENV = {"CSTD__INSTRUMENTS__AUDIT_INTERVAL_S": "10"}
QUIET = ("--rate", "2")
# Deep, because a market that moves a wrong level into the top ten lets the checksum find it first.
RANKS = (18, 20, 22, 24)


def shown(session: Session, region: str) -> Any:
    """What the daemon shows on its board now, of which the status port and the metrics are made."""
    board = BoardReader(session.run_dir / "board")
    try:
        _, payload = board.read(region)
        return json.loads(payload) if payload else {}
    finally:
        board.close()


def instrument(session: Session, name: str) -> dict[str, Any]:
    """One instrument's data quality."""
    return next(dict(row) for row in shown(session, "instruments") if row["name"] == name)


def counter(session: Session, name: str) -> int:
    """One counter, 0 before the first publish."""
    return int(shown(session, "counters").get(name, 0))


def ended(session: Session) -> int:
    """How many audits ended, whether they could compare or not."""
    counters = shown(session, "counters")
    return sum(int(value) for name, value in counters.items()
               if name == "book_audits" or name.startswith("book_audit_inconclusive_"))


@pytest.mark.slow
@pytest.mark.timeout(800)
def test_a_wrong_deep_level_is_found_in_a_running_daemon(tmp_path: Path) -> None:
    """Audits of a true book agree; with levels told wrong one of the next audits says so, in the log with both
    quantities and in the counters, the book is resynced for that reason, and the journal replays to the same."""
    with practice_session(tmp_path, ENV, *QUIET) as session:
        session.start_ready()
        session.wait(lambda: counter(session, "book_audits") >= 2, 40, "no book was audited")
        assert counter(session, "book_audit_differences") == 0
        session.wait(lambda: instrument(session, "BTC/USD")["audit_age_ns"] is not None, 30, "the board does not say so")
        resyncs = instrument(session, "BTC/USD")["resyncs"]
        told: list[str] = []
        for _ in range(8):  # a level that the market touches is right again: tell it wrong once more
            for rank in RANKS:
                told += [row["price"] for row in session.tell_exchange("wrong_level", symbol="BTC/USD", side="buy", rank=rank)]
            turns = ended(session)
            session.wait(lambda before=turns: ended(session) >= before + 2, 60, "no further audit")
            if counter(session, "book_audit_differences"):
                break
        assert counter(session, "book_audit_differences") >= 1
        assert counter(session, "book_fault_audit") >= 1
        session.wait(lambda: instrument(session, "BTC/USD")["resyncs"] > resyncs, 30, "no resync")
        session.wait(lambda: instrument(session, "BTC/USD")["state"] == "verified", 30, "the book is not verified again")
        lines = (tmp_path / "daemon.log").read_text().splitlines()
        (found, *_) = [json.loads(line) for line in lines if '"book audit found a difference"' in line]
        assert (found["level"], found["instrument"], found["side"]) == ("error", "BTC/USD", "bid")
        assert found["price"] in told
        assert 0.99 < float(found["ours"]) - float(found["theirs"]) < 1.01
        assert session.terminate() == 0
        engine = session.journal_engine()
        assert engine.audit.difference_count >= 1
