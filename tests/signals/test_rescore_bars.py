"""`cstd replay --rescore` of models of bars: their rows are made again, beside the engine, from where the daemon began them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cstd._fast.codes import EventKind, Link
from cstd.clock import VirtualClock
from cstd.config.schema import ScorerConfig
from cstd.daemon.scoring import Scoring
from cstd.engine.bar_rows import BarRows
from cstd.research import replay
from cstd.signals import registry
from cstd.signals.scorer.process import Scorer
from cstd.storage.journal import open_journal
from cstd.storage.journal_reader import records
from tests.scenario.engine_world import BTC, ETH, S, replayed
from tests.signals.made import KEY, card, horizon, key_file, linear, promoted
from tests.signals.test_bar_models import AGE_S_MAX, Bars, recorded_lines
from tests.signals.test_rescore import begin_at_checkpoint, rescore, rewritten
from tests.signals.test_scoring_desk import Child, Log

BAR_S = 300
COLUMNS = ["vol_ratio", "adx14", "ret_1", "ema26_atr", "volume_trend", "hour_sin"]
HISTORY = 720  # bars: as many as the venue tells, and the engine keeps


def with_model(folder: Path) -> None:
    """A registry with a model of bars of two horizons in production, the key beside it."""
    told = card({name: horizon(("linear", "linear"), name=name) for name in ("1h", "4h")}, features=COLUMNS)
    told["training"]["bars"][0]["interval_s"] = BAR_S
    files = {f"{name}.linear.onnx": linear([weight] * len(COLUMNS), 0.0) for name, weight in (("1h", 0.3), ("4h", -0.2))}
    registry.write_version(folder / "models", "five-minute", told, files, KEY)
    promoted(folder / "models", "0001", name="five-minute")
    key_file(folder)


class Session(Bars):
    """A venue, an engine and, once it is started, the scorer with the desk, which ticks behind each timer as in the daemon."""

    desk: Scoring | None = None
    both = False  # whether the other instrument is traded as the first is

    def start(self, folder: Path) -> None:
        """Start the scorer, another one than before."""
        cfg = ScorerConfig(enabled=True, name="five-minute", interval_s=60, age_s_max=AGE_S_MAX)
        desk = Scoring(cfg, folder, self.engine, Log(), lambda _pid: None)
        asyncio.run(desk.start())
        self.clock = VirtualClock(mono_ns=self.mono_ns, wall_ns=self.now_ns)
        self.scorer = Scorer(folder, folder / "models", "five-minute", folder / "models.key", clock=self.clock)
        self.desk = desk

    def stop(self) -> None:
        """End the scorer."""
        assert self.desk is not None
        self.scorer.close()
        asyncio.run(self.desk.stop())
        self.desk = None

    def step(self, seconds: float = 0.25) -> None:
        """Time passes: heartbeats, a timer, what the daemon does behind it, and what the venue answers."""
        self.now_ns += int(seconds * S)
        for link in (Link.LINK_PUBLIC, Link.LINK_PRIVATE):
            self.core.frame(link, b'{"channel":"heartbeat"}', self.mono_ns, self.now_ns)
        self.core.timer(self.mono_ns, self.now_ns)
        if self.desk is not None:
            if (payload := self.desk.tick(self.mono_ns)) is not None:
                self.core.event(EventKind.EVENT_SCORES, 0, self.mono_ns, self.now_ns, payload)
            self.clock.advance(self.mono_ns - self.clock.mono_ns())
            self.scorer.turn()
        self.pump()

    def candles(self, name: str, interval_min: int) -> list[dict[str, Any]]:
        """The history, of both instruments where both are traded."""
        rows = super().candles(BTC if self.both else name, interval_min)
        return [{**row, "symbol": name} for row in rows]

    def public(self, *frames: bytes) -> None:
        """Frames of the public socket; trades of both instruments where both are traded."""
        also = [frame.replace(BTC.encode(), ETH.encode()) for frame in frames if self.both and b'"trade"' in frame]
        super().public(*frames, *also)

    def bars(self, count: int) -> None:
        """Bars end; after each of them ticks until what closed is scored."""
        for _ in range(count):
            self.bar()
            for _ in range(60):
                self.step(0.02)


def scored_session(folder: Path, data_dir: Path) -> None:
    """Three bars, a connection that is lost and comes again, three bars, a daemon that is started again, three bars."""
    with open_journal(folder / "journal", folder / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = Session(recorded_lines(data_dir, "five-minute", HISTORY + 30), BAR_S, journal)
        world.ready()
        world.start(folder)
        world.run(15)
        world.bars(3)
        journal.sync()
        world.link(Link.LINK_PUBLIC, up=False, reason="test")
        world.run_on(Link.LINK_PRIVATE, 2)
        world.now_ns += 2 * BAR_S * S
        world.link(Link.LINK_PUBLIC, up=True)
        world.run(15)
        world.bars(3)
        journal.sync()
        world.stop()
        world.boot(epoch=2)
        world.start(folder)
        world.run(15)
        world.bars(3)
        world.stop()
        world.sound()
        journal.sync()
        assert world.engine.scores.refused_count == 0


def told(journal: Path) -> list[tuple[int, dict[str, Any]]]:
    """The events of scores, by record."""
    return [(record.seq, json.loads(record.payload)) for record in records(journal) if record.kind == EventKind.EVENT_SCORES
            and json.loads(record.payload)["rows"]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """A session with scores: models, key and journal."""
    folder = tmp_path_factory.mktemp("rescore-bars")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cstd.daemon.scoring.scorer_child", lambda *_: Child())
        with_model(folder)
        scored_session(folder, data_dir)
    return folder


def test_scores_of_bars_come_out_again(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every one, to the last millionth: of before and after a lost connection, and of before and after a new start."""
    code, found = rescore(own, capsys, "--check", "--tolerance", "0")
    assert (code, found["held"], found["above"], found["greatest_e6"]) == (0, True, 0, 0)
    assert found["scores"] == found["rescored"] == found["equal"] >= 18 and not any(found["not_rescored"].values())
    assert {(row["instrument"], row["horizon_s"]) for row in found["rows"]} == {(BTC, 3_600), (BTC, 14_400)}
    assert [(one["name"], one["version"], one["problem"]) for one in found["models"]] == [("five-minute", "0001", None)]
    events = told(own / "journal")
    assert len({row[10] for _, one in events for row in one["rows"]}) >= 9, "not one row for all"
    first, second = sorted({tuple(one["bars"]) for _, one in events})
    (_, boot) = [record.seq for record in records(own / "journal") if record.kind == EventKind.EVENT_BOOT]
    assert first[0] < boot < second[0] and first[1] == second[1] == BAR_S


def test_rows_that_take_many_ticks_come_out_again(tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    """Two bars a tick, of one instrument after the other: the oldest of the second are gone when its turn comes."""
    monkeypatch.setattr(replay, "load_agents", lambda: None)
    monkeypatch.setattr("cstd.daemon.scoring.scorer_child", lambda *_: Child())
    monkeypatch.setattr("cstd.engine.bar_rows.LOOKS_PER_TICK", 1)
    monkeypatch.setattr("cstd.engine.bar_rows.PUSHES_PER_TICK", 2)
    with_model(tmp_path)
    with open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = Session(recorded_lines(data_dir, "five-minute", HISTORY + 30), BAR_S, journal)
        world.both = True
        world.ready()
        world.start(tmp_path)
        world.bars(14)
        world.stop()
        world.sound()
    code, found = rescore(tmp_path, capsys, "--tolerance", "0")
    assert (code, found["held"], found["scores"]) == (0, True, found["equal"])
    counts = {(row["instrument"], row["horizon_s"]): row["scores"] for row in found["rows"]}
    assert 0 < counts[ETH, 3_600] < counts[BTC, 3_600] < 14
    tick = BarRows.tick
    monkeypatch.setattr(BarRows, "tick", lambda rows: (tick(rows), tick(rows)))
    code, found = rescore(tmp_path, capsys)
    assert code == 3 and found["not_rescored"]["another_row"] > 0, "as many ticks as the daemon made"


def test_what_scores_say_of_their_bars_changes_no_decision(own: Path) -> None:
    """The same journal without it gives the same digest and the same scores: the engine does not look at it."""
    both = [replayed(own / name) for name in ("journal", rewritten(own, lambda one: one.pop("bars", None)))]
    assert all(one.difference_count == 0 for one in both)
    assert len({one.engine.recorder.hexdigest() for one in both}) == 1
    assert both[0].engine.scores.state() == both[1].engine.scores.state()


def test_scores_of_before_their_rows_were_named_cannot_be_made_again(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An older journal replays as ever; of its scores it is said that nothing could be shown."""
    def change(one: dict[str, Any]) -> None:
        one.pop("bars", None)
        one["rows"] = [[*row[:9], 0, row[10]] for row in one["rows"]]

    code, found = rescore(own, capsys, "--check", journal=rewritten(own, change))
    assert (code, found["rescored"], found["not_rescored"]["row_not_journaled"]) == (3, 0, found["scores"])


@pytest.mark.parametrize("place", [None, (10**9, BAR_S), (0, BAR_S), (-1, BAR_S), (1, BAR_S), "later", (None, 60), (None, 77)])
def test_rows_that_were_begun_otherwise_are_not_believed(own: Path, capsys: pytest.CaptureFixture[str], place: Any) -> None:
    """Behind another record, or of bars of another length: there are no such rows, or they are other ones."""
    later = [seq for seq, _ in told(own / "journal")][-2]

    def change(one: dict[str, Any]) -> None:
        if one["rows"]:
            begun, bar_s = one.pop("bars")
            if place is not None:
                one["bars"] = (later, bar_s) if place == "later" else (place[0] if place[0] is not None else begun, place[1])

    code, found = rescore(own, capsys, journal=rewritten(own, change))
    assert (code, found["held"]) == (3, False)
    assert found["not_rescored"]["another_row"] == found["scores"] - found["rescored"] > 0


def test_a_model_that_is_not_as_it_was_is_named(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of the version was changed: nothing is scored with it, and the reason is told."""
    (own / "models/five-minute/0001/1h.linear.onnx").write_bytes(linear([0.2] * len(COLUMNS), 0.0))
    code, found = rescore(own, capsys)
    (one,) = found["models"]
    assert (code, found["rescored"], found["not_rescored"]["model"]) == (3, 0, found["scores"])
    assert (one["name"], one["version"]) == ("five-minute", "0001") and "sha256" in one["problem"]


@pytest.mark.parametrize("from_score", [0, 3, 6])  # of the first connection, of the second, of the second start
def test_from_a_checkpoint_on_the_rest_is_made_again(own: Path, capsys: pytest.CaptureFixture[str],
                                                     monkeypatch: pytest.MonkeyPatch, from_score: int) -> None:
    """Where the oldest records are gone, what cannot be made again is counted, no finding; from the next connection on all is."""
    scores = [seq for seq, _ in told(own / "journal")]
    links = [record.seq for record in records(own / "journal") if record.kind == EventKind.EVENT_LINK and record.seq > scores[0]]
    begins = begin_at_checkpoint(monkeypatch, scores[from_score], scores[-2])
    code, found = rescore(own, capsys, "--tolerance", "0")
    before = found["not_rescored"]["before_first_record"]
    assert code == 0 and found["held"] and 0 < found["rescored"] == found["scores"] - before
    connects = min(seq for seq in links if seq > begins[0]) if from_score < 6 else begins[0]
    assert before <= sum(len(one["rows"]) for seq, one in told(own / "journal") if begins[0] < seq < connects)
