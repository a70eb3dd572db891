"""kill -9 at the worst moments: nothing is lost, doubled or invented, and the user's own coins stay where they are."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from cstd.chaos.judge import OPEN_STATUSES
from cstd.chaos.moments import MOMENTS, wait_moment
from cstd.errors import VerificationError
from tests.integration.session import USER_BTC, Session, cstd, practice_session

DEADMAN_S = 15
KILLS = 20
SEED = 20


def _check_restarted(session: Session, epochs: list[int]) -> float:
    """Start again; every start has an epoch of its own, above all before it."""
    ready_s = session.start_ready()
    epoch = session.request("status")["boot_epoch"]
    assert epoch > max(epochs, default=0)
    epochs.append(epoch)
    session.wait_agreement()
    return ready_s


@pytest.mark.slow
@pytest.mark.timeout(300 + 160 * KILLS)
def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    """kill -9 twenty times, each with an order open or within 1 s of a fill: orders and fills are the exchange's."""
    chance = random.Random(SEED)
    log: list[str] = []
    epochs: list[int] = []
    with practice_session(tmp_path) as session:
        try:
            session.start_ready()
            for number in range(KILLS):
                wanted = chance.choice(MOMENTS)
                moment = wait_moment(session, wanted)
                session.kill_nine()
                log.append(f"kill {number + 1}: wanted {wanted}, at {moment}")
                assert moment, "each kill is at an open order or a fresh fill"
                log.append(f"  ready after {_check_restarted(session, epochs):.2f} s")
            assert not [row for row in session.rows("orders") if row["state"] == "UNKNOWN"]
            session.request("pause")
            session.wait_rest()
            session.wait_agreement()
            assert session.user_btc(session.fresh_truth(), session.request("positions")) == USER_BTC
            assert session.terminate() == 0
            _check_end(session)
        except (AssertionError, VerificationError) as error:
            raise AssertionError(f"seed {SEED}\n" + "\n".join(log) + f"\n{error}") from error


def _check_end(session: Session) -> None:
    """The journal alone gives the exchange's truth, and replays to what the daemon said at the end."""
    session.assert_journal_is_true()
    done = cstd(session, "replay", str(session.run_dir / "journal"), "--check", timeout_s=60)
    assert done.returncode == 0, done.stderr
    replayed = json.loads(done.stdout)
    summary = json.loads((session.run_dir / "summary.json").read_bytes())
    for key in ("frames", "book_updates", "checksums_ok", "checksums_bad", "resyncs", "intents", "orders", "digest"):
        assert replayed[key] == summary[key], key
    assert summary["checksums_bad"] == 0
    assert summary["fills"] == len(session.truth()["fills"]) > 0


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_the_switch_clears_the_venue_of_a_daemon_that_is_gone(tmp_path: Path) -> None:
    """kill -9 with an opening at rest, and nothing is started: in the switch's time the venue has none of ours, by itself."""
    # Openings that would rest for a minute: nothing but the switch cancels one sooner.
    env = {"CSTD__STRATEGY__REHEARSAL__LIFETIME_S": "60", "CSTD__VENUE__DEADMAN_TIMEOUT_S": str(DEADMAN_S)}
    with practice_session(tmp_path, env) as session:
        for _ in range(5):
            session.start_ready()
            session.wait(lambda: any(row["kind"] == "opening" and row["state"] == "new" for row in session.rows("orders")), 60,
                         "no opening at rest", poll_s=0.005)
            session.kill_nine()
            killed_s = time.monotonic()
            session.tell_exchange("system", state="post_only")  # nobody trades with it any more
            resting = [row["order_id"] for row in session.fresh_truth()["orders"] if row["status"] in OPEN_STATUSES]
            session.wait(lambda: not any(row["status"] in OPEN_STATUSES for row in session.truth()["orders"]), DEADMAN_S + 1,
                         "orders are open although nobody refreshes the switch")
            session.tell_exchange("system", state="online")
            if resting:
                break
        ended = {row["order_id"]: row["status"] for row in session.truth()["orders"]}
        assert resting and all(ended[order_id] == "canceled" for order_id in resting), ended
        assert time.monotonic() - killed_s > DEADMAN_S / 2, "the last refresh was at most a quarter of its time ago"
        session.start_ready()
        session.wait_agreement()
