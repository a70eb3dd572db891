"""Scores of models: journaled events, kept by instrument and horizon, useful while they are young, the same in every replay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cstd._fast.codes import EventKind
from cstd._fast.recorder import Recorder
from cstd.engine import Engine, checkpoint
from cstd.engine.scores import MILLION
from cstd.signals.registry.card import HORIZONS_MAX
from cstd.storage.journal import open_journal
from tests.scenario.engine_world import BTC, ETH, S, World, practice_config, replayed

AGE_S = 90
HOUR = 3_600
MODEL = "ab" * 32


def world(journal: Any = None) -> World:
    """Two instruments, scores that are useful for ninety seconds."""
    found = World(practice_config((BTC, ETH), scorer={"age_s_max": AGE_S, "interval_s": 10}), strategy="rehearsal",
                  journal=journal).ready()
    found.run(40)  # features from before the boot would be refused
    return found


def say(of: World, *rows: tuple[int, ...], payload: bytes | None = None) -> None:
    """An event of the scorer."""
    of.event(EventKind.EVENT_SCORES, 0, payload if payload is not None else json.dumps({"model": MODEL, "rows": rows}).encode())


def row(of: World, number: int = 0, probability_e6: int = 510_000, age_s: float = 0.0, **changes: int) -> tuple[int, ...]:
    """A score of features that are so old."""
    at_ns = of.mono_ns - int(age_s * S)
    fields = {"number": number, "horizon_s": HOUR, "probability_e6": probability_e6, "lower_e6": -9_000, "upper_e6": 11_000,
              "members": 2, "event_mono_ns": at_ns, "event_wall_ns": of.now_ns - int(age_s * S), "scored_mono_ns": at_ns + 1}
    return tuple((fields | changes).values())


def fresh(of: World, number: int = 0) -> int | None:
    """The probability that may be used now, in millionths."""
    score = of.engine.scores.fresh(number, HOUR, of.mono_ns)
    return None if score is None else score.probability_e6


def test_a_score_is_useful_until_its_features_are_too_old() -> None:
    """From the features' time, not from when it came; without a new one there is none; another instrument has its own."""
    of = world()
    assert fresh(of) is None
    say(of, row(of, age_s=30))
    assert fresh(of) == 510_000 and fresh(of, 1) is None
    of.now_ns += (AGE_S - 30) * S
    assert fresh(of) == 510_000
    of.now_ns += 1
    assert fresh(of) is None
    say(of, row(of, probability_e6=520_000), row(of, number=1, probability_e6=530_000))
    assert (fresh(of), fresh(of, 1)) == (520_000, 530_000)


def test_an_older_score_changes_nothing() -> None:
    """What is known of newer features stays."""
    of = world()
    say(of, row(of, age_s=1))
    say(of, row(of, probability_e6=1, age_s=2))
    assert fresh(of) == 510_000


@pytest.mark.parametrize("changes", [
    {"number": 2}, {"number": -1}, {"horizon_s": 0}, {"probability_e6": MILLION + 1}, {"probability_e6": -1}, {"members": 0},
    {"lower_e6": 12_000}, {"event_mono_ns": 1}, {"event_mono_ns": 2**62}])
def test_what_is_no_score_is_refused_and_counted(changes: dict[str, int]) -> None:
    """Of no instrument, no probability, an interval upside down, of before the boot, or of the future."""
    of = world()
    say(of, row(of, **changes))
    assert (of.engine.scores.rows(), of.engine.scores.refused_count, of.core.fault) == ([], 1, None)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"model":"x"}', b'{"model":"x","rows":[[1]]}',
                                     b'{"model":"x","rows":[],"more":1}', b'{"model":"x","rows":[[0.5,1,1,1,1,1,1,1,1]]}'])
def test_what_cannot_be_read_halts_nothing(payload: bytes) -> None:
    """It is refused and counted."""
    of = world()
    say(of, payload=payload)
    assert (of.engine.scores.refused_count, of.core.fault, of.engine.state) == (1, None, "ready")


def test_a_model_that_is_withdrawn_takes_its_scores_with_it() -> None:
    """At once and not when they are too old; those of another model stay, and it may come back."""
    of = world()
    say(of, row(of, age_s=1), row(of, number=1, age_s=1))
    say(of, payload=json.dumps({"model": "cd" * 32, "rows": [row(of, number=1)]}).encode())
    say(of, payload=json.dumps({"model": MODEL, "rows": [], "withdrawn": True}).encode())
    assert (fresh(of), fresh(of, 1)) == (None, 510_000)
    assert of.engine.scores.newest_mono_ns == of.engine.scores.rows()[0][2].event_mono_ns and len(of.engine.scores.rows()) == 1
    say(of, payload=json.dumps({"model": "cd" * 32, "rows": [], "withdrawn": True}).encode())
    assert of.engine.scores.rows() == [] and of.engine.scores.newest_mono_ns == 0
    say(of, row(of))
    assert fresh(of) == 510_000


def test_an_instrument_has_so_many_horizons_and_no_more() -> None:
    """One more is refused and counted; those that are known go on, and so does another instrument."""
    of = world()
    say(of, *(row(of, horizon_s=HOUR + number) for number in range(HORIZONS_MAX + 1)))
    assert (len(of.engine.scores.rows()), of.engine.scores.refused_count) == (HORIZONS_MAX, 1)
    say(of, row(of, probability_e6=520_000), row(of, number=1))
    assert (fresh(of), fresh(of, 1), of.engine.scores.refused_count) == (520_000, 510_000, 1)


def test_a_boot_begins_without_scores() -> None:
    """What was known before is of another time."""
    of = world()
    say(of, row(of))
    assert fresh(of) is not None
    of.boot(epoch=2)
    assert fresh(of) is None and of.engine.scores.rows() == []


def test_without_a_scorer_in_the_configuration_none_is_useful() -> None:
    """A score that comes all the same is known, and of no use."""
    of = World(msgspec.structs.replace(practice_config(), scorer=None)).ready()
    say(of, row(of))
    assert len(of.engine.scores.rows()) == 1 and fresh(of) is None


def test_a_replay_knows_the_same_scores(tmp_path: Path) -> None:
    """Event by event, in their place in the one order; so does an engine that goes on from a checkpoint between them."""
    journal = open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                           sync_interval_ms=5)
    of = world(journal)
    for turn in range(12):
        of.step()
        of.tick()
        say(of, row(of, probability_e6=500_000 + turn, age_s=0.1), row(of, number=1, probability_e6=turn, age_s=turn))
        if turn == 5:
            say(of, row(of, number=1, horizon_s=2 * HOUR))
            say(of, payload=json.dumps({"model": MODEL, "rows": [], "withdrawn": True}).encode())
            assert of.engine.scores.rows() == []
    kept = checkpoint.dump(of.engine)
    again = Engine(Recorder(), None)
    checkpoint.restore(again, kept)
    assert again.scores.state() == of.engine.scores.state()
    journal.close()
    replay = replayed(tmp_path / "journal")
    assert replay.difference_count == 0
    assert replay.engine.scores.state() == of.engine.scores.state()
    assert replay.engine.recorder.hexdigest() == of.recorder.hexdigest()
    # The second only grew older, but for the withdrawal.
    assert len(of.engine.scores.rows()) == 2 and of.engine.scores.taken_count == 12 + 1 + 2
