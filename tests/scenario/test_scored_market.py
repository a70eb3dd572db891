"""The ensemble in a market that is traded anew: the journal's scores come at the frames that they came at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engine_world import BTC, ETH, S
from test_ensemble import HOUR, LivelyWorld, bought, config, passes, say, sold

from cstd.engine.scores import FIELDS
from cstd.errors import UsageError
from cstd.research import replay
from cstd.research.scored_market import Scored, no_scores
from cstd.storage.journal import open_journal
from tests.schemas import assert_fits

ACKNOWLEDGED = (b'{"method":"subscribe","result":{"channel":"book","symbol":"BTC/USD","depth":25,"snapshot":true},"success":true,'
                b'"time_in":"2026-09-21T14:13:35.500000Z","time_out":"2026-09-21T14:13:35.500000Z"}')
TIGHT = "policy.spread_bps_max=0.005"


def journal_of(folder: Path, *, scored: bool) -> LivelyWorld:
    """A daemon with the ensemble; scored: a score lets it open, another one ends what it holds."""
    with open_journal(folder / "journal", folder / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        of = LivelyWorld(config(), strategy=None, journal=journal).ready()
        of.public(ACKNOWLEDGED)
        of.run(40)
        passes(of)
        if scored:
            say(of, age_s=5)
            passes(of)
            bought(of)
            passes(of, 20)
            say(of, probability_e6=100_000)
            sold(of)
            passes(of, 5)
        journal.sync()
    of.sound()
    return of


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal whose ensemble opened by a score and left by another."""
    folder = tmp_path_factory.mktemp("scored")
    journal_of(folder, scored=True)
    return folder


def row_of(path: Path, *assignments: str) -> dict[str, Any]:
    """The row of one replay, without its speed."""
    row = replay.replay_path(path, None, check=False, assignments=assignments)
    del row["frames_per_s"]
    return row


def test_the_ensemble_trades_anew_on_the_scores_of_the_journal(scored: Path) -> None:
    """It opens at the pass behind the score, as it did; a limit that refuses that is told with its order, in both answers."""
    row = row_of(scored, TIGHT)
    assert_fits("replay", row | {"frames_per_s": 1})
    found, own = row["what_if"], row["own_orders"]
    assert (found["orders_before"], found["orders_now"], found["not_sent"]) == (1, 0, 1)
    (opening,), (ours,) = found["orders"], own["orders"]
    assert opening["refused_by"] == ours["gate"] == "spread" and (own["sent"], own["not_sent"]) == (2, 1)
    assert [opening[name] for name in ("utc", "price", "qty")] == [ours[name] for name in ("utc", "price", "qty")]
    plain = row_of(scored, "policy.spread_bps_max=45")
    assert plain["what_if"]["not_sent"] == 0 and plain["orders"] == 1 and plain["own_orders"]["orders"] == []


def test_a_score_that_is_too_old_opens_nothing_anew(scored: Path) -> None:
    """Its age is that of the journal: five seconds, by whatever clock."""
    assert row_of(scored, "scorer.interval_s=1", "scorer.age_s_max=6")["orders"] == 1
    assert row_of(scored, "scorer.interval_s=1", "scorer.age_s_max=5")["orders"] == 0, "no pass came at that nanosecond"


def test_scores_divide_no_otherwise_than_frames(scored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the market is divided, with an order out or not: the same row."""
    whole = row_of(scored, TIGHT, "simulated_venue.feed_ns=300000000")
    for pieces in (1, 97, whole["frames"] + 1, whole["frames"] + 2):
        monkeypatch.setattr(replay, "PIECE_FRAMES", pieces)
        assert row_of(scored, TIGHT, "simulated_venue.feed_ns=300000000") == whole


def test_without_a_score_that_it_could_trade_on_it_is_refused(scored: Path, tmp_path: Path, data_dir: Path) -> None:
    """A recording has none, a journal may have none; another horizon, another instrument: why, and nothing else is refused."""
    journal_of(tmp_path, scored=False)
    recording = data_dir / "recordings" / "kraken-v2-ethusd-xrpusd-d25-20260802.jsonl.zst"
    for path, assignment, why in (
            (recording, "strategy.name=ensemble", "a recording has none"), (tmp_path, TIGHT, "the journal holds none"),
            (scored, "strategy.ensemble.score_horizon_s=60", "are of 3600 s, none of strategy.ensemble.score_horizon_s = 60"),
            (scored, f'instruments.names=["{BTC}","{ETH}"]', "did not look at ETH/USD")):
        with pytest.raises(UsageError, match=f"trades on scores.*{why}"):
            row_of(path, assignment)
    assert row_of(tmp_path, TIGHT, "strategy.name=rehearsal")["what_if"]["orders_now"] == 0


def test_scores_find_their_instrument_by_its_name() -> None:
    """For an engine of other instruments in another order, later by its clock; rows of those that it has not are left out."""
    scored = Scored([BTC, ETH, "SOL/USD"])
    rows = [[number, HOUR, 850_000, 1, 2, 3, 10 * S, 11 * S, 12 * S, 7, 8] for number in (0, 1, 2)]
    drift = [["none", 0, 0, 0, feature, 500] for feature in "abcd"]
    payload = msgspec.json.encode({"model": "ab", "rows": [*rows, [1, 2]], "details": [[1, [2]], [3, [4]], [5, [6]], [0, []]],
                                   "drift": drift})
    scored.note(payload)
    assert scored.horizons == {0: {HOUR}, 1: {HOUR}, 2: {HOUR}}
    told = json.loads(scored.told(payload, ["SOL/USD", BTC], 100 * S))
    assert [row[0] for row in told["rows"]] == [1, 0] and told["details"] == [[1, [2]], [5, [6]]]
    assert told["drift"] == [drift[0], drift[2]]
    assert dict(zip(FIELDS, told["rows"][0], strict=False)) == dict(zip(FIELDS, [1, *rows[0][1:]], strict=False)) | {
        "event_mono_ns": 110 * S, "scored_mono_ns": 112 * S}
    assert scored.told(b"no event", [BTC], 1) == b"no event"
    assert no_scores(scored, config()) == "" and "none" in no_scores(Scored([BTC]), config())
