"""The private socket is gone and REST is not: openings are pulled, a kill works, and everything agrees afterwards."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from cstd._fast.codes import EventKind, OrderAction
from cstd.storage.journal_reader import records
from tests.integration.session import Session, practice_session

GONE_S = 12
TRIES = 4
# Long enough that only a cancel ends an order within the test.
LIFETIME = {"CSTD__STRATEGY__REHEARSAL__LIFETIME_S": "60"}


def open_at_venue(session: Session) -> list[str]:
    """Client order ids that the exchange holds open."""
    return [row["cl_ord_id"] for row in session.fresh_truth()["orders"] if row["status"] in ("new", "partially_filled", "open")]


def strand_an_order(session: Session) -> None:
    """Take the private socket away while an order rests that nobody can fill: the venue does not match, cancels it takes."""
    for _ in range(TRIES):
        session.wait(lambda: any(row["state"] == "new" for row in session.request("orders")), 20, "no order rests")
        session.tell_exchange("refuse", server="ws_private", seconds=GONE_S)
        session.tell_exchange("system", state="cancel_only")
        if open_at_venue(session):
            return
        # It was filled between the look and the call.
        session.tell_exchange("system", state="online")
        session.tell_exchange("refuse", server="ws_private", seconds=0)
        session.wait_state("ready", 30)
    raise AssertionError(f"no order was stranded in {TRIES} tries")


def cancels_by_rest(session: Session) -> int:
    """Cancels by REST in the journal."""
    return sum(record.kind == EventKind.OUT_ORDER_FRAME and record.tag == OrderAction.ACTION_CANCEL_REST
               for record in records(session.run_dir / "journal"))


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True], ids=["pulled", "killed"])
@pytest.mark.timeout(800)
def test_openings_do_not_outlive_the_private_socket(tmp_path: Path, *, killed: bool) -> None:
    """With an order resting, the private socket goes and stays away: the venue shows none long before it is back."""
    with practice_session(tmp_path, LIFETIME) as session:
        session.start_ready()
        strand_an_order(session)
        gone_at_s = time.monotonic()
        session.wait_state("reconciling", 5)
        if killed:
            session.request("kill", {"reason": "test"})
        session.wait(lambda: not open_at_venue(session), 8, "an opening rests while nobody can watch it")
        session.wait(lambda: not session.request("orders"), 8, "what became of the order was not looked up")
        assert time.monotonic() - gone_at_s < GONE_S, "the private socket was back before"
        session.tell_exchange("system", state="online")
        if killed:
            session.wait_state("killed", 20)
        else:
            session.wait_state("ready", 30)
        session.wait_agreement(25)
        assert session.terminate() == 0
        session.assert_journal_is_true()
        assert cancels_by_rest(session) >= 1
