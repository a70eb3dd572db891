"""A replayed recording trades on the simulated venue: orders, fills and profit, the same each time."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cstd._fast.codes import EventKind, Link
from cstd._fast.port import KeptPort
from cstd.cli.parser import parse
from cstd.engine.boot import boot_payload
from cstd.errors import UsageError
from cstd.orders.simulated_terms import SimulatedVenueSettings
from cstd.research import replay
from cstd.research.simulated_session import SimulatedSession, settings_of, with_assumed_tape
from cstd.storage.journal import open_journal
from cstd.units import NS_PER_MS
from tests.schemas import assert_fits

TAPE = "tape.volume_hour=5000000"
QUICK = [TAPE, "strategy.rehearsal.hold_s=1", "strategy.rehearsal.flat_s=1", "strategy.rehearsal.lifetime_s=5"]
MOVING = "kraken-v2-ethusd-xrpusd-d25-20260802"


@pytest.fixture
def recording(data_dir: Path) -> Path:
    """Two pairs whose prices move through resting orders."""
    return data_dir / "recordings" / f"{MOVING}.jsonl.zst"


def row_of(path: Path, *assignments: str) -> dict[str, Any]:
    """The row of one replay, without its speed."""
    row = replay.replay_path(path, None, check=False, assignments=assignments)
    del row["frames_per_s"]
    return row


def session_of(path: Path, settings: SimulatedVenueSettings) -> tuple[SimulatedSession, list[tuple[int, bytes]]]:
    """A session with a quick strategy, and its frames."""
    port = KeptPort()
    engine, frames = replay.start_recording(path, None, port=port, assignments=QUICK[1:])
    engine.recorder.captured = []
    return SimulatedSession(engine, port, settings, {"USD": Decimal(10_000)}), list(with_assumed_tape(frames, Decimal(5_000_000)))


def test_a_recording_trades_and_comes_to_the_same_each_time(recording: Path) -> None:
    """Orders, fills, fees and profit; twice the same digest; the venue's settings change it."""
    first, again = row_of(recording, *QUICK), row_of(recording, *QUICK)
    assert first == again
    assert first["orders"] > 4 and first["fills"] >= 4 and first["checksums_bad"] == 0
    assert Decimal(first["fees"]) > 0 and Decimal(first["equity"]) < 10_000
    digests = {row_of(recording, *QUICK, f"simulated_venue.{change}")["digest"] for change in (
        "order_out_ns=0", "order_back_ns=100000000", "feed_ns=100000000", "fee_tiers=[[0,1,1]]")}
    assert len(digests | {first["digest"]}) == 5


def test_profit_is_what_the_fills_say(recording: Path) -> None:
    """Equity is the capital, plus what came in less what went out and the fees, plus what is held at the bid."""
    session, frames = session_of(recording, SimulatedVenueSettings())
    session.run(frames)
    engine = session.engine
    fills = list(engine.ledger.fills.values())
    assert {fill.side for fill in fills} == {1, -1} and {fill.liquidity for fill in fills} == {"maker", "taker"}
    flow = sum((-fill.side * fill.cost - sum(amount for _, amount in fill.fees) for fill in fills), Decimal(0))
    assert engine.ledger.cash_flow == flow
    assert session.venue.balances["USD"] == 10_000 + flow, "the venue's books and ours agree"
    for fill in fills:
        bps = 25 if fill.liquidity == "maker" else 40
        assert 0 <= fill.fees[0][1] - fill.cost * bps / 10_000 < Decimal("1e-8")
    assert engine.core.counter_values()["malformed"] == 0 and not engine.tracker.want_reconcile
    assert engine.core.fault is None and engine.private.gap_count == 0 and engine.tracker.contradiction_count == 0


@pytest.mark.parametrize("feed_ms", [0, 20, 300])
def test_a_recording_in_pieces_comes_to_the_same(recording: Path, feed_ms: int) -> None:
    """Cut anywhere, orders out or not, the session waits for the frame that the venue would see first."""
    settings = SimulatedVenueSettings(feed_ns=feed_ms * NS_PER_MS)
    whole, frames = session_of(recording, settings)
    whole.run(frames)
    assert whole.engine.ledger.fills
    for size in (1, 97):
        session, frames = session_of(recording, settings)
        for at in range(0, len(frames), size):
            session.run(frames[at:at + size], last=at + size >= len(frames))
        assert session.engine.recorder.hexdigest() == whole.engine.recorder.hexdigest(), size
        assert session.engine.ledger.fills == whole.engine.ledger.fills


def test_what_is_sent_now_depends_on_nothing_that_comes_later(recording: Path) -> None:
    """The recording cut behind an order gives the same outputs up to there."""
    session, frames = session_of(recording, SimulatedVenueSettings())
    session.run(frames)
    cut, frames = session_of(recording, SimulatedVenueSettings())
    cut.run(frames[:len(frames) * 2 // 3])
    ours, whole = cut.engine.recorder.captured, session.engine.recorder.captured
    assert ours is not None and whole is not None
    assert len(ours) > 4 and ours == whole[:len(ours)]
    assert any(kind == EventKind.OUT_LEDGER for kind, _, _ in ours)


def test_an_order_is_answered_no_sooner_than_both_ways_take(recording: Path) -> None:
    """From sent to filled, every order of the session took its latencies at least."""
    settings = SimulatedVenueSettings(order_out_ns=70 * NS_PER_MS, order_back_ns=50 * NS_PER_MS)
    session, frames = session_of(recording, settings)
    session.run(frames)
    orders = session.engine.tracker.history
    fills = [fill for fill in session.engine.ledger.fills.values() if fill.cl_ord_id in orders]
    assert fills
    for fill in fills:
        assert fill.wall_ns >= orders[fill.cl_ord_id]["sent_wall_ns"] + 70 * NS_PER_MS - 1000, "times are told in microseconds"


def test_without_a_tape_nothing_is_assumed(recording: Path) -> None:
    """The recording says nothing of what was traded, and the volume gate refuses; the row says that no volume was assumed."""
    row = row_of(recording)
    assert row["orders"] == 0 and row["refused_by_gate"] == {"4": row["intents"]} and row["volume_hour"] is None


@pytest.mark.parametrize("wrong", ["policy.spread_bps_max", "policy.no_such=1", "simulated_venue.no_such=1",
                                   "simulated_venue.order_out_ns=-1", "simulated_venue.queue=none",
                                   "simulated_venue.impact=maybe", "simulated_venue.recorded=[1", "tape.volume_hour=0",
                                   "tape.volume_hour=x", "tape.volume_hour=NaN", "tape.volume_hour=1e30",
                                   "simulated_venue.volume_30d=-1", "simulated_venue.volume_30d=NaN",
                                   "simulated_venue.queue_n=NaN", "simulated_venue.queue_n=1e9"])
def test_a_setting_that_cannot_be_meant_is_refused(recording: Path, wrong: str) -> None:
    """A key that is not there, a value out of bounds: an error, not a replay with something else."""
    with pytest.raises(Exception, match=r".") as raised:
        row_of(recording, wrong)
    assert type(raised.value).__name__ in ("UsageError", "ConfigError")


def test_a_change_that_would_change_nothing_is_refused(data_dir: Path) -> None:
    """Of a futures feed only the sequence numbers are looked at: a setting, right or wrong, would pass unseen."""
    path = data_dir / "recordings" / "kraken-futures-v1-20210722.jsonl.zst"
    for assignment in ("simulated_venue.feed_ns=0", "no.key=1", "nothing"):
        with pytest.raises(UsageError, match="futures"):
            replay.replay_path(path, None, check=False, assignments=[assignment])


def test_settings_of_the_command_line_reach_the_venue() -> None:
    """Numbers, words, switches and lists; the rest is the configuration's."""
    settings, volume, rest = settings_of([
        "simulated_venue.queue=power", "simulated_venue.queue_n=2.5", "simulated_venue.impact=false", TAPE,
        'simulated_venue.recorded=[{"at_ns":1,"out_ns":2,"back_ns":3}]', "policy.spread_bps_max=50"])
    assert (settings.queue, settings.queue_n, settings.impact) == ("power", Decimal("2.5"), False)
    assert settings.recorded[0].back_ns == 3
    assert volume == 5_000_000 and rest == ["policy.spread_bps_max=50"]


def test_set_trades_and_compares_nothing_recorded(tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str],
                               monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal with --set and --check is a usage error, and so is a folder without one; a recording with it is a row."""
    with pytest.raises(UsageError, match="--set"):
        replay.replay_path(tmp_path, None, check=True, assignments=[TAPE])
    with pytest.raises(UsageError, match="no journal"):
        replay.replay_path(tmp_path, None, check=False, assignments=[TAPE])
    with pytest.raises(UsageError, match="trades on scores"):
        replay.replay_path(recording, None, check=False, assignments=["strategy.name=ensemble"])
    monkeypatch.setattr(replay, "load_agents", lambda: None)
    args = parse(["replay", str(recording), *(word for text in QUICK for word in ("--set", text))])
    assert args is not None and replay.main(args) == 0
    assert json.loads(capsys.readouterr().out)["volume_hour"] == "5000000"


# Another limit.


def test_a_limit_that_changes_nothing_leaves_every_order(recording: Path) -> None:
    """The shipped value told again: both runs are one, and so is the equity."""
    plain, told = row_of(recording, *QUICK), row_of(recording, *QUICK, "policy.spread_bps_max=45")
    found = told.pop("what_if")
    assert told == plain
    assert (found["not_sent"], found["sent_instead"], found["other_quantity"]) == (0, 0, 0)
    assert Decimal(found["equity_change"]) == 0
    assert found["orders_before"] == found["orders_now"] == plain["orders"] > 4 and found["orders"] == []


def test_a_tighter_limit_names_what_it_would_not_have_sent(recording: Path) -> None:
    """Each order with its gate, and the equity of both runs: nothing sent is nothing lost."""
    row = row_of(recording, *QUICK, "policy.spread_bps_max=0.001")
    found, plain = row["what_if"], row_of(recording, *QUICK)
    assert_fits("replay", row | {"frames_per_s": 1})
    assert (found["orders_before"], found["orders_now"], found["not_sent"]) == (plain["orders"], 0, plain["orders"])
    assert (found["equity_before"], found["equity_now"]) == (plain["equity"], row["equity"])
    assert Decimal(found["equity_now"]) == 10_000 and Decimal(found["equity_change"]) == 10_000 - Decimal(plain["equity"]) > 0
    assert found["orders"][0]["refused_by"] == "spread" and len(found["orders"]) == found["not_sent"]
    assert "orders not sent" in replay._table(row) and "refused by spread" in replay._table(row)


def test_nothing_is_lost_where_the_market_ends_with_a_piece(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the frames are divided, their number by the piece's length included: the same row."""
    whole = row_of(recording, *QUICK, "policy.spread_bps_max=0.001")
    for pieces in (whole["frames"], whole["frames"] // 2, 997):
        monkeypatch.setattr(replay, "PIECE_FRAMES", pieces)
        assert row_of(recording, *QUICK, "policy.spread_bps_max=0.001") == whole


def test_keys_that_are_no_limits_set_up_both_runs(recording: Path) -> None:
    """A strategy's or the venue's: there is nothing to compare, and with a limit beside them both runs have them."""
    assert "what_if" not in row_of(recording, *QUICK, "simulated_venue.feed_ns=100000000")
    late = row_of(recording, *QUICK, "simulated_venue.feed_ns=100000000", "policy.parents_per_minute_max=1")
    before = row_of(recording, *QUICK, "simulated_venue.feed_ns=100000000")
    assert late["what_if"]["equity_before"] == before["equity"] and late["what_if"]["not_sent"] > 0


def test_a_journals_market_is_traded_anew(recording: Path, tmp_path: Path) -> None:
    """The public frames of a journal under its own configuration: the same as the recording that it was fed with."""
    with open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        engine, frames = replay.start_recording(recording, None, assignments=QUICK[1:])
        boot = boot_payload(engine.cfg, 1, None)
        journal.append_py(EventKind.EVENT_BOOT, 0, frames[0][0], frames[0][0], boot)
        for at, (recv_ns, frame) in enumerate(frames):
            journal.append_py(EventKind.EVENT_FRAME, Link.LINK_PUBLIC, recv_ns, recv_ns, frame)
            if at % 500 == 0:
                journal.sync()
        journal.sync()
    changes = [TAPE, "policy.spread_bps_max=0.001"]
    ours = replay.replay_path(tmp_path, None, check=False, assignments=changes)
    theirs = row_of(recording, *QUICK, "policy.spread_bps_max=0.001")
    assert ours["what_if"] == theirs["what_if"] and ours["what_if"]["not_sent"] > 4
    assert ours["digest"] != "" and ours["file"] == str(tmp_path)
    with open_journal(tmp_path / "none", tmp_path / "none.ring", ring_bytes=1 << 20, segment_bytes=1 << 20,
                      sync_interval_ms=20) as journal:
        journal.append_py(EventKind.EVENT_TIMER, 0, 1, 1, b"")
        journal.sync()
    with pytest.raises(UsageError, match="no start"):
        replay.replay_path(tmp_path / "none", None, check=False, assignments=changes)
