"""The trading process's side of the scorer: rows of features out part by part, scores in as events that the engine takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cstd._fast import features
from cstd._fast.codes import EventKind
from cstd.config.schema import ScorerConfig
from cstd.daemon import models
from cstd.daemon.scoring import INSTRUMENTS_PER_TICK, LOOK_NS, ROWS_PER_EVENT, Scoring
from cstd.signals.scorer.rows import FEATURES_FILE, SCORE_ROW, SCORES_FILE, ScoreStatus, feature_row
from cstd.signals.scorer.sheet import SheetReader, SheetWriter
from tests.scenario.engine_world import BTC, ETH, S, World, practice_config


class Child:
    """No process."""

    started = alive = True
    restart_count = 0

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to end."""


class Log:
    """Keeps warnings and errors."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, event: str, **_fields: Any) -> None:
        """Keep one."""
        self.said.append(event)

    error = warning


class Desk:
    """A desk over a world's engine, without a process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = World(practice_config((BTC, ETH), scorer={"age_s_max": 90, "interval_s": 10})).ready()
        self.log, self.folder = Log(), folder
        monkeypatch.setattr("cstd.daemon.scoring.scorer_child", lambda *_: Child())
        self.scoring = Scoring(ScorerConfig(enabled=True, name="hourly", interval_s=10, age_s_max=90), folder, self.world.engine,
                               self.log, lambda _pid: None)

    def tick(self, seconds: float = 0.1) -> bytes | None:
        """One tick of the daemon; what it brought has gone into the engine."""
        self.world.now_ns += int(seconds * S)
        payload = self.scoring.tick(self.world.mono_ns)
        if payload is not None:
            self.world.event(EventKind.EVENT_SCORES, 0, payload)
        return payload

    def scores(self, rows: int = 2, **changes: Any) -> Any:
        """Rows as the scorer writes them."""
        found = np.zeros(rows, SCORE_ROW)
        found["instrument"], found["horizon_s"], found["members"] = np.arange(rows) % 2, 3_600 + np.arange(rows) // 2, 2
        found["probability"], found["lower"], found["upper"] = 0.123_456_7, -0.010_000_1, 0.020_000_1
        found["event_mono_ns"] = found["scored_mono_ns"] = self.world.mono_ns
        for name, value in changes.items():
            found[name] = value
        return found


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk that was started."""
    found = Desk(tmp_path, monkeypatch)
    asyncio.run(found.scoring.start())
    return found


def write(sheet: SheetWriter, rows: Any, **note: Any) -> None:
    """What the scorer writes."""
    with sheet.writing(len(rows), {"state": "ready", "version": "0003", **note}) as out:
        out[:] = rows


def test_the_features_are_the_engines(desk: Desk) -> None:
    """Every column by its name, valid bits and the time of the data; again after the interval and not before."""
    reader = SheetReader(desk.folder / FEATURES_FILE, feature_row(features.feature_count))
    assert reader.names == features.NAMES
    desk.tick()
    version, rows, _ = reader.read()
    assert (version, list(rows["instrument"])) == (1, [0, 1])
    for number, slot in enumerate(desk.world.core.slots):
        values, valid = slot.feature_row()
        assert list(rows["values"][number]) == values and tuple(rows["valid"][number]) == valid and valid[0]
        assert rows["event_mono_ns"][number] == slot.data_mono_ns > 0
        assert rows["after_seq"][number] == desk.world.recorder.seq
        assert rows["event_wall_ns"][number] - rows["event_mono_ns"][number] == desk.world.core.wall_ns - desk.world.core.mono_ns
    desk.tick(9.8)
    assert reader.version == 1
    desk.tick(0.2)
    assert reader.version == 2


def test_many_instruments_are_written_a_part_a_tick(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader sees them when the last one is there."""
    monkeypatch.setattr("cstd.daemon.scoring.INSTRUMENTS_PER_TICK", 1)
    reader = SheetReader(desk.folder / FEATURES_FILE)
    versions = []
    for _ in range(4):
        desk.tick()
        versions.append(reader.version)
    assert versions == [0, 0, 1, 1] and INSTRUMENTS_PER_TICK == 64


def test_an_event_tells_what_the_model_is(desk: Desk) -> None:
    """State, verdict, members and votes as the sheet's note has them; of another model's note nothing is taken over."""
    sheet = SheetWriter(desk.folder / SCORES_FILE, SCORE_ROW, 8)
    rows = desk.scores(2, model=np.full(32, 0xAB, np.uint8), stacked=0.5, votes=np.array([0.1, 0.25, 0, 0, 0, 0, 0, 0]))
    note = {"model": "ab" * 32, "stage": "production", "verdict": "holds", "horizons": [[3_600, "beta", ["tree", "linear"]]]}
    write(sheet, rows, **note)
    desk.tick(1.0)
    score = desk.world.engine.scores.newest(0, 3_600)
    assert score is not None
    assert (score.state, score.verdict, score.registered, score.calibration, score.stacked_e6) == (
        "production", "holds", 2, "beta", 500_000)
    assert score.votes == (("tree", 100_000), ("linear", 250_000))
    write(sheet, desk.scores(2, model=np.full(32, 0xAB, np.uint8)), **{**note, "model": "cd" * 32})
    desk.tick(1.0)
    score = desk.world.engine.scores.newest(0, 3_600)
    assert score is not None and (score.state, score.registered, score.votes) == ("", 0, ())


def test_scores_become_events(desk: Desk) -> None:
    """In millionths, the interval rounded outwards, with the model's hash; what has no probability is left out."""
    sheet = SheetWriter(desk.folder / SCORES_FILE, SCORE_ROW, 8)
    assert desk.tick() is None
    rows = desk.scores(4, model=np.full(32, 0xAB, np.uint8), after_seq=7, row_hash=-5)
    rows["status"][3] = ScoreStatus.NOT_READY
    write(sheet, rows)
    payload = desk.tick(1.0)
    assert payload is not None
    assert desk.scoring.unscored.rows == {(1, 3_601): ScoreStatus.NOT_READY}
    told = json.loads(payload)
    at_ns = int(rows["event_mono_ns"][0])
    assert told["model"] == "ab" * 32
    assert told["rows"] == [[0, 3_600, 123_457, -10_001, 20_001, 2, at_ns, 0, at_ns, 7, -5],
                            [1, 3_600, 123_457, -10_001, 20_001, 2, at_ns, 0, at_ns, 7, -5],
                            [0, 3_601, 123_457, -10_001, 20_001, 2, at_ns, 0, at_ns, 7, -5]]
    assert desk.tick(1.0) is None
    score = desk.world.engine.scores.fresh(0, 3_600, desk.world.mono_ns)
    assert score is not None and score.probability_e6 == 123_457
    seen = models.seen(desk.scoring.status(), desk.world.engine, desk.world.mono_ns)
    assert next((row["instrument"], row["fresh"], row["probability"]) for row in seen["scores"]) == (BTC, True, 0.123457)
    assert seen["scorer"]["state"] == "ready" and seen["scorer"]["version"] == "0003" and seen["scorer"]["events"] == 1


def test_many_scores_are_several_events(desk: Desk) -> None:
    """One a tick, and the next sheet is looked at when they are through."""
    sheet = SheetWriter(desk.folder / SCORES_FILE, SCORE_ROW, 1_000)
    write(sheet, desk.scores(ROWS_PER_EVENT + 10))
    counts = [len(json.loads(payload)["rows"]) for _ in range(4) if (payload := desk.tick()) is not None]
    assert counts == [ROWS_PER_EVENT, 10]


def test_a_scorer_that_was_started_anew_is_found(desk: Desk) -> None:
    """Its file is another; what cannot be read is said, and looked at again."""
    write(SheetWriter(desk.folder / SCORES_FILE, SCORE_ROW, 8), desk.scores())
    assert desk.tick(1.0) is not None
    write(SheetWriter(desk.folder / SCORES_FILE, SCORE_ROW, 8), desk.scores())
    assert desk.tick(0.1) is None
    assert desk.tick(LOOK_NS / S) is not None
    SheetWriter(desk.folder / SCORES_FILE, feature_row(3), 8).close()
    assert desk.tick(LOOK_NS / S) is None and desk.log.said == ["scores cannot be read"]
    write(SheetWriter(desk.folder / SCORES_FILE, SCORE_ROW, 8), desk.scores())
    assert desk.tick(LOOK_NS / S) is not None


@pytest.mark.parametrize("state", ["refused", "opening"])
def test_a_withdrawn_models_scores_are_taken_back(desk: Desk, state: str) -> None:
    """No version is in production any more, or another one is: none is fresh after the tick that reads it, told once."""
    sheet = SheetWriter(desk.folder / SCORES_FILE, SCORE_ROW, 8)
    model = np.full(32, 0xAB, np.uint8)
    write(sheet, [], model="ab" * 32)
    assert desk.tick(1.0) is None, "ready, and none was given yet"
    write(sheet, desk.scores(model=model), model="ab" * 32)
    desk.tick()
    write(sheet, [], model="ab" * 32)
    assert desk.tick() is None and desk.world.engine.scores.fresh(0, 3_600, desk.world.mono_ns) is not None
    write(sheet, [], state=state)
    payload = desk.tick()
    assert payload is not None and json.loads(payload) == {"model": "ab" * 32, "rows": [], "withdrawn": True}
    assert desk.world.engine.scores.rows() == []
    write(sheet, [], state="refused", reason="again")
    assert desk.tick() is None
    write(sheet, desk.scores(model=model), model="ab" * 32)
    desk.tick()
    assert desk.world.engine.scores.fresh(0, 3_600, desk.world.mono_ns) is not None


def test_another_models_scores_replace_those_that_are_known(desk: Desk) -> None:
    """Promoted between two looks: what the one before said of a horizon that this one does not score is taken back."""
    sheet = SheetWriter(desk.folder / SCORES_FILE, SCORE_ROW, 8)
    write(sheet, desk.scores(4, model=np.full(32, 0xAB, np.uint8)), model="ab" * 32)
    desk.tick(1.0)
    write(sheet, desk.scores(2, model=np.full(32, 0xCD, np.uint8)), model="cd" * 32)
    payloads = [json.loads(payload) for _ in range(3) if (payload := desk.tick()) is not None]
    assert [(payload["model"][:2], len(payload["rows"]), payload.get("withdrawn", False)) for payload in payloads] == [
        ("ab", 0, True), ("cd", 2, False)]
    assert {score.model[:2] for _, _, score in desk.world.engine.scores.rows()} == {"cd"}
    write(sheet, [], model="ef" * 32)
    desk.tick()
    assert desk.world.engine.scores.rows() == [], "ready is another one"


def test_scores_grow_old_when_nobody_writes_any(desk: Desk) -> None:
    """Whoever would use one abstains; the metrics tell the age."""
    write(SheetWriter(desk.folder / SCORES_FILE, SCORE_ROW, 8), desk.scores())
    desk.tick(1.0)
    assert desk.world.engine.scores.fresh(0, 3_600, desk.world.mono_ns) is not None
    desk.world.run(91.0)
    assert desk.world.engine.scores.fresh(0, 3_600, desk.world.mono_ns) is None
    assert models.counters(desk.scoring.status(), desk.world.engine)["score_age_ns"] >= 91 * S


@pytest.mark.parametrize("cfg", [None, ScorerConfig(name="hourly", age_s_max=90)])
def test_without_a_scorer_nothing_is_done(tmp_path: Path, cfg: ScorerConfig | None) -> None:
    """No process, no file, no event."""
    fail: Callable[[int], None] = lambda _pid: pytest.fail("started")  # noqa: E731
    scoring = Scoring(cfg, tmp_path, World().engine, Log(), fail)
    asyncio.run(scoring.start())
    assert scoring.tick(10**12) is None and list(tmp_path.iterdir()) == []
    assert scoring.status()["state"] == "off" and not scoring.started
    asyncio.run(scoring.stop())


def test_a_scorer_that_cannot_be_started_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for its sheet the daemon goes on without it."""
    desk = Desk(tmp_path / "gone", monkeypatch)
    asyncio.run(desk.scoring.start())
    assert desk.log.said == ["the scorer cannot be started"] and desk.tick() is None
