"""`cstd replay --rescore`: what a model said once it says again of the same rows, and what did not come out again is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cstd._fast.codes import EventKind
from cstd.cli.parser import parse
from cstd.clock import VirtualClock
from cstd.config.schema import ScorerConfig
from cstd.daemon.scoring import Scoring
from cstd.engine import checkpoint
from cstd.engine.recovery import Recovered, begin
from cstd.errors import OperatorError, UsageError
from cstd.research import replay
from cstd.research.rescore import TOLERANCE_E6
from cstd.signals.scorer import model
from cstd.signals.scorer.process import Scorer
from cstd.storage.checkpoints import Checkpoint
from cstd.storage.journal import open_journal
from cstd.storage.journal_reader import Walk, records
from tests.scenario.engine_world import BTC, ETH, World, practice_config
from tests.schemas import assert_fits
from tests.signals.made import horizon, in_production, linear
from tests.signals.test_scoring_desk import Child, Log

INTERVAL_S = 2
TURNS = 40


def with_model(folder: Path, weight: float = 0.1) -> Path:
    """A registry with a model of two horizons in production; returns its folder, the key beside it."""
    return in_production(folder, {"1h": horizon(("tree", "tree"), ("linear", "linear")),
                                  "4h": horizon(("linear", "linear"), name="4h")}, weight=weight)


def scored_session(folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A session whose features went to a real scorer and whose scores came back as events, journaled."""
    monkeypatch.setattr("cstd.daemon.scoring.scorer_child", lambda *_: Child())
    options = {"enabled": True, "name": "hourly", "models": str(folder / "models"), "key": str(folder / "models.key"),
               "interval_s": INTERVAL_S, "age_s_max": 60}
    with open_journal(folder / "journal", folder / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = World(practice_config((BTC, ETH), scorer=options), strategy=None, journal=journal).ready()
        desk = Scoring(ScorerConfig(**options), folder, world.engine, Log(), lambda _pid: None)
        asyncio.run(desk.start())
        clock = VirtualClock(mono_ns=world.mono_ns, wall_ns=world.now_ns)
        scorer = Scorer(folder, folder / "models", "hourly", folder / "models.key", clock=clock)
        for turn in range(TURNS):
            world.step(0.5)
            world.tick((BTC, ETH)[turn % 2])
            world.book(BTC, [(999_990 - turn, 70_000_000 + turn)])
            clock.advance(world.mono_ns - clock.mono_ns())
            while scorer.turn():
                pass
            if (payload := desk.tick(world.mono_ns)) is not None:
                world.event(EventKind.EVENT_SCORES, 0, payload)
            if turn % 10 == 9:
                journal.sync()  # a block ends here
        scorer.close()
        asyncio.run(desk.stop())
        world.sound()
        journal.sync()
    return world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session with scores: models, key and journal."""
    folder = tmp_path_factory.mktemp("rescore")
    with pytest.MonkeyPatch.context() as patch:
        with_model(folder)
        world = scored_session(folder, patch)
    assert world.engine.scores.taken_count > 20 and world.engine.scores.refused_count == 0
    return folder


def rescore(folder: Path, capsys: pytest.CaptureFixture[str], *words: str, journal: str = "journal") -> tuple[int, Any]:
    """The verb's exit code and what it says of the scores; registry and key are those of the folder."""
    where = ["--models", str(folder / "models"), "--models-key", str(folder / "models.key")]
    args = parse(["replay", str(folder / journal), "--rescore", *where, *words])
    assert args is not None
    code = replay.main(args)
    row = json.loads(capsys.readouterr().out)
    assert_fits("replay", row)
    return code, row.get("rescore", row)


def begin_at_checkpoint(monkeypatch: pytest.MonkeyPatch, behind_seq: int, before_seq: int) -> list[int]:
    """Have replays begin at a checkpoint: of the first block that ends behind one record, and before another; returns where."""
    began = []

    def late(path: Path, agents: Any, **_: Any) -> Recovered:
        first, walk = begin(path, agents, whole=True), Walk(path)
        for batch in walk.batches():
            first.replay.take(batch)
            if (place := walk.place()) is not None and place.last_seq >= behind_seq:
                break
        assert place is not None and place.last_seq < before_seq
        began.append(place.last_seq)
        found = begin(path, agents, whole=True)
        found.engine.recorder.captured = checkpoint.restore(found.engine, checkpoint.dump(first.engine))
        found.checkpoint = Checkpoint(build="", place=place, agents="", mono_ns=0, wall_ns=0)
        return found

    monkeypatch.setattr(replay, "begin", late)
    return began


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """The journal with its score events changed, whole in itself; returns its name."""
    with open_journal(folder / "changed", folder / "changed.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        for record in records(folder / "journal"):
            payload = bytes(record.payload)
            if record.kind == EventKind.EVENT_SCORES:
                told = json.loads(payload)
                change(told)
                payload = json.dumps(told, separators=(",", ":")).encode()
            journal.append_py(record.kind, record.tag, record.mono_ns, record.wall_ns, payload)
        journal.sync()
    return "changed"


def test_the_same_models_say_the_same(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every score of the journal comes out again to the last millionth, for each horizon and instrument."""
    code, found = rescore(own, capsys, "--check", "--tolerance", "0")
    assert (code, found["held"], found["above"], found["greatest_e6"]) == (0, True, 0, 0)
    assert found["scores"] == found["rescored"] == found["equal"] > 20 and not any(found["not_rescored"].values())
    assert {(row["instrument"], row["horizon_s"]) for row in found["rows"]} == {(n, h) for n in (BTC, ETH) for h in (3600, 14400)}
    assert [(one["name"], one["version"], one["problem"]) for one in found["models"]] == [("hourly", "0001", None)]
    assert len({row["worst"]["taken"]["probability_e6"] for row in found["rows"]}) > 1, "not one figure for all"


def test_the_registry_of_the_journals_configuration_is_asked(own: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --models and --models-key: those that the daemon had."""
    args = parse(["replay", str(own), "--rescore"])
    assert args is not None
    assert replay.main(args) == 0 and json.loads(capsys.readouterr().out)["rescore"]["held"]


@pytest.mark.parametrize(("by", "code"), [(TOLERANCE_E6, 0), (TOLERANCE_E6 + 1, 3)])
def test_the_tolerance_holds_at_it_and_not_above(own: Path, capsys: pytest.CaptureFixture[str], by: int, code: int) -> None:
    """One score that was taken otherwise: its record, both figures and the difference are told."""
    moved = iter([by])

    def change(told: dict[str, Any]) -> None:
        told["rows"][0][2] += next(moved, 0)

    found_code, found = rescore(own, capsys, journal=rewritten(own, change))
    (row,) = [row for row in found["rows"] if row["greatest_probability_e6"]]
    first = next(record.seq for record in records(own / "journal") if record.kind == EventKind.EVENT_SCORES)
    assert (found_code, found["held"], found["above"]) == (code, code == 0, int(code == 3))
    assert (row["greatest_probability_e6"], row["above"], row["worst"]["seq"]) == (by, int(code == 3), first)
    assert row["worst"]["taken"]["probability_e6"] - row["worst"]["found"]["probability_e6"] == by
    assert found["equal"] == found["scores"] - 1


def test_another_number_of_members_is_above(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures that agree by chance are not the same score."""
    changed = rewritten(own, lambda told: told["rows"][0].__setitem__(5, 7))
    code, found = rescore(own, capsys, "--tolerance", "1000000", journal=changed)
    assert code == 3 and found["above"] > 0 and found["greatest_e6"] == 0


@pytest.mark.parametrize(("at", "to", "reason"), [(10, 1, "another_row"), (9, 3, "another_row"), (1, 86_400, "not_made")])
def test_a_row_that_is_not_the_one_is_not_believed(own: Path, capsys: pytest.CaptureFixture[str], at: int, to: int,
                                                   reason: str) -> None:
    """Another hash, another place in the journal, a horizon that the model has not: counted, and exit 3."""
    code, found = rescore(own, capsys, journal=rewritten(own, lambda told: told["rows"][0].__setitem__(at, to)))
    assert code == 3 and not found["held"] and found["not_rescored"][reason] > 0


def test_a_row_of_bars_is_no_row_of_the_engine(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scores that say that they are of bars, of a model that reads none: none of them is made of rows of bars."""
    code, found = rescore(own, capsys, journal=rewritten(own, lambda told: told.update(bars=[2, 60])))
    assert (code, found["rescored"], found["not_rescored"]["another_row"]) == (3, 0, found["scores"])


def test_scores_of_before_rows_were_named_cannot_be_made_again(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An older journal replays as ever; of its scores it is said that nothing could be shown."""
    def change(told: dict[str, Any]) -> None:
        told["rows"] = [row[:9] for row in told["rows"]]

    code, found = rescore(own, capsys, "--check", journal=rewritten(own, change))
    assert (code, found["rescored"], found["not_rescored"]["row_not_journaled"]) == (3, 0, found["scores"])


def test_a_model_that_is_not_here_is_named(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its hash is told, and that no version has it; another journal's model says nothing of ours."""
    code, found = rescore(own, capsys, journal=rewritten(own, lambda told: told.__setitem__("model", "ab" * 32)))
    (one,) = found["models"]
    assert code == 3 and found["not_rescored"]["model"] == found["scores"]
    assert one["model"] == "ab" * 32 and one["name"] is None and "no version" in one["problem"]


def test_a_model_that_is_not_as_it_was_is_named(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of the version was changed: nothing is scored with it, and the reason is told."""
    (own / "models/hourly/0001/1h.linear.onnx").write_bytes(linear([0.2] * 4, 0.0))
    code, found = rescore(own, capsys)
    (one,) = found["models"]
    assert code == 3 and found["rescored"] == 0 and (one["name"], one["version"]) == ("hourly", "0001")
    assert "sha256" in one["problem"]


def test_a_model_that_says_something_else_is_found(own: Path, capsys: pytest.CaptureFixture[str],
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison is of what comes out now: one that is a thousandth higher is above for every score."""
    calibrated = model.calibrated
    monkeypatch.setattr(model, "calibrated", lambda *args: np.asarray(calibrated(*args)) + 1e-3)
    code, found = rescore(own, capsys)
    assert code == 3 and found["above"] == found["scores"] and 999 <= found["greatest_e6"] <= 1_001


def test_from_a_checkpoint_on_the_rest_is_made_again(own: Path, capsys: pytest.CaptureFixture[str],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the oldest records are gone, scores of rows that were read in them are counted and are no finding."""
    scores = [record.seq for record in records(own / "journal") if record.kind == EventKind.EVENT_SCORES]

    begin_at_checkpoint(monkeypatch, scores[3], scores[-2])
    code, found = rescore(own, capsys, "--tolerance", "0")
    assert code == 0 and found["held"] and 0 < found["rescored"] == found["scores"] - found["not_rescored"]["before_first_record"]


def test_what_cannot_be_asked_is_said(own: Path, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording has no scores; options of --rescore without it; a registry that is not there; a key that is none."""
    def run(*words: str) -> int:
        args = parse(["replay", *words])
        assert args is not None
        return replay.main(args)

    with pytest.raises(UsageError, match="--rescore"):
        run(str(data_dir / "recordings" / "kraken-v2-btcusd-d10-20260801.jsonl.zst"), "--rescore")
    with pytest.raises(UsageError, match="--tolerance is of --rescore"):
        run(str(own), "--tolerance", "3")
    with pytest.raises(OperatorError, match="no registry"):
        run(str(own), "--rescore", "--models", str(own / "none"))
    with pytest.raises(OperatorError, match="cannot be read"):
        run(str(own), "--rescore", "--models", str(own / "models"), "--models-key", str(own / "none"))
    with pytest.raises(UsageError, match="whole number"):
        parse(["replay", str(own), "--rescore", "--tolerance", "-1"])


def test_the_table(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a person reads: the sum, then a line for each model, horizon and instrument."""
    args = parse(["replay", str(own), "--rescore", "-o", "table"])
    assert args is not None and replay.main(args) == 0
    out = capsys.readouterr().out
    assert "0 further apart than 2 millionths, greatest 0: held" in out and "hourly 0001" in out and "BTC/USD" in out
    assert "digest" in out
