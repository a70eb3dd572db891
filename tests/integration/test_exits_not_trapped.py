"""A position is held and a socket, or both, stay away: it is sold all the same, nothing twice, and all agree afterwards."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from cstd._fast.codes import EventKind, OrderAction
from cstd.storage.journal_reader import records
from tests.integration.session import Session, practice_session

GONE_S = 40
# Long enough that the sockets are gone before the strategy wants out.
HOLD = {"CSTD__STRATEGY__REHEARSAL__HOLD_S": "4"}


def managed(session: Session) -> Decimal:
    """What the daemon holds of all assets, dust left out, as quantities added up."""
    return sum((Decimal(row["qty"]) for row in session.request("positions") if not row["dust"]), Decimal(0))


def sold_by_rest(session: Session) -> int:
    """Exits by REST in the journal, every one of them a sell."""
    frames = [bytes(record.payload) for record in records(session.run_dir / "journal")
              if record.kind == EventKind.OUT_ORDER_FRAME and record.tag == OrderAction.ACTION_EXIT_REST]
    assert all(b"&type=sell&" in frame and b"&timeinforce=IOC&" in frame for frame in frames)
    return len(frames)


@pytest.mark.slow
@pytest.mark.parametrize("servers", [("ws_private",), ("ws_public",), ("ws_private", "ws_public")],
                         ids=["private gone", "public gone", "both gone"])
def test_a_position_does_not_outlive_its_sockets(tmp_path: Path, servers: tuple[str, ...]) -> None:
    """The sockets go while something is held, and stay away for longer than it takes to sell it."""
    with practice_session(tmp_path, HOLD) as session:
        session.start_ready()
        session.wait(lambda: managed(session) > 0, 40, "nothing was bought")
        for server in servers:
            session.tell_exchange("refuse", server=server, seconds=GONE_S)
        session.wait_state("reconciling", 5)
        session.wait(lambda: managed(session) == 0 and not session.request("orders"), GONE_S - 8, "the position is trapped")
        assert not any(session.request("status")["links"][server.removeprefix("ws_")]["up"] for server in servers)
        counts = Counter(session.request("counters"))
        for server in servers:
            session.tell_exchange("refuse", server=server, seconds=0)
        session.wait_state("ready", 60)
        session.wait_agreement(25)
        assert session.terminate() == 0
        session.assert_journal_is_true()
        assert bool(sold_by_rest(session)) == ("ws_private" in servers) == bool(counts["rest_exits"])
        assert bool(counts["rest_priced_exits"]) == ("ws_public" in servers)
