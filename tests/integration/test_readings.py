"""Every point where the sources about the venue disagree, read the other way at once: the daemon trades as it does otherwise."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from cstd._fast.codes import EventKind, Link
from cstd.chaos.judge import told
from cstd.ops.board import BoardReader
from cstd.practice.readings import VALUES, value_text
from cstd.storage.journal_reader import records
from cstd.storage.run_dir import JOURNAL_DIR
from tests.integration.session import Session, practice_session
from tests.integration.test_private_socket_gone import LIFETIME, cancels_by_rest, open_at_venue, strand_an_order

OTHER_SIDE = [word for name, values in VALUES.items() for word in ("--reading", f"{name}={value_text(values[1])}")]
AUDIT_S = 10
ENV = {**LIFETIME, "CSTD__INSTRUMENTS__AUDIT_INTERVAL_S": str(AUDIT_S)}
# What only the other side of a reading looks like in the journal: kind and tag of the event, and what its bytes hold.
SIGNS = {
    "small_numbers_as_exponents": (EventKind.EVENT_FRAME, Link.LINK_PUBLIC, rb'"channel":"(book|trade)".*\de-\d'),
    "book_updates_paired": (EventKind.EVENT_FRAME, Link.LINK_PUBLIC, rb'"book","type":"update".*"checksum":.*"checksum":'),
    "rate_count_field": (EventKind.EVENT_FRAME, Link.LINK_PRIVATE, rb'"ratecounter":'),
    "public_rest_limited": (EventKind.EVENT_REST_REPLY, None, rb"EGeneral:Too many requests"),
}
NEVER = ("checksums_bad", "malformed", "unknown_instrument", "resyncs", "handler_faults", "journal_faults", "flooded_frames")


def signs_seen(session: Session) -> Counter[str]:
    """How many recorded events show the other side of a reading."""
    seen: Counter[str] = Counter()
    for record in records(session.run_dir / JOURNAL_DIR):
        for name, (kind, tag, sign) in SIGNS.items():
            if record.kind == kind and tag in (None, record.tag) and re.search(sign, bytes(record.payload)):
                seen[name] += 1
    return seen


def audits(session: Session) -> int:
    """Books that were audited since the daemon started."""
    board = BoardReader(session.run_dir / "board")
    try:
        _, payload = board.read("counters")
        return int(json.loads(payload).get("book_audits", 0)) if payload else 0
    finally:
        board.close()


def use_up_public_rest(session: Session, span_s: float) -> None:
    """Ask so often for a while that the daemon's own public calls are above the limit."""
    address = json.loads((session.run_dir / "practice.json").read_bytes())["rest"]
    until_s = time.monotonic() + span_s
    while time.monotonic() < until_s:
        with urllib.request.urlopen(f"{address}/0/public/Time", timeout=5) as reply:
            assert reply.status == 200
        time.sleep(0.05)


def trade_on(session: Session, fills: int) -> None:
    """Wait for so many further fills, and until both sides agree on all orders."""
    before = len(session.rows("fills"))
    session.wait(lambda: len(session.rows("fills")) >= before + fills, 60, "no fills")
    session.wait_agreement()


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_the_daemon_trades_the_same_with_every_reading_the_other_way(tmp_path: Path) -> None:
    """Trading, audits that the REST limit holds up, a kill -9 with an order open, an order canceled by REST while the private
    socket is gone: what the daemon believes is what happened, no checksum is bad, no frame malformed, no order refused."""
    with practice_session(tmp_path, ENV, *OTHER_SIDE) as session:
        session.start_ready()
        trade_on(session, 3)
        use_up_public_rest(session, AUDIT_S + 2)
        session.wait(lambda: audits(session) >= 2, 60, "no book was audited")
        session.wait(lambda: any(row["state"] == "new" for row in session.request("orders")), 30, "no order rests")
        session.kill_nine()
        session.start_ready()
        trade_on(session, 3)
        assert {row["status"] for row in session.rows("orders")} <= {"new", "filled", "partially_filled", "canceled"}
        strand_an_order(session)
        session.wait(lambda: not open_at_venue(session), 8, "an opening rests while nobody can watch it")
        session.tell_exchange("system", state="online")
        session.wait_state("ready", 40)
        trade_on(session, 2)
        session.request("pause")
        session.wait_rest()
        session.wait_agreement()
        assert session.terminate() == 0
        view, seen = session.journal_view(), signs_seen(session)
        found = session.judge_view(view, session.fresh_truth()) + session.judge_replay()
        assert not found, f"{told(found)}\n{session.log_tail(lines=40)}"
        counters = view.engine.core.counter_values()
        assert {name: counters[name] for name in NEVER if counters[name]} == {}
        assert counters["checksums_ok"] == counters["book_updates"] > 0
        assert cancels_by_rest(session) >= 1
        assert min(seen[name] for name in SIGNS) > 0, seen
