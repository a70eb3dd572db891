"""The models that are shipped, beside an engine: rows are computed of its bars and scored as `cstd evaluate` scores them."""

from __future__ import annotations

import asyncio
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cstd._fast.codes import EventKind, Link
from cstd.clock import VirtualClock
from cstd.config.schema import ScorerConfig
from cstd.daemon import models
from cstd.daemon.scoring import Scoring
from cstd.engine.scores import MILLION
from cstd.errors import OperatorError
from cstd.research.models import dataset, stored
from cstd.signals import bar_features, registry
from cstd.signals.registry.refusals import RefusedVersionError
from cstd.signals.scorer.process import Scorer
from cstd.signals.scorer.rows import BarRowsWanted, bar_rows_of, rows_said
from cstd.storage.journal import open_journal
from tests.scenario.engine_world import BTC, ETH, S, World, practice_config, replayed, time_text
from tests.signals.made import FILES, KEY, WHEN, key_file, linear, promoted
from tests.signals.made import card as made_card
from tests.signals.test_scoring_desk import Child, Log

SHIPPED = Path(__file__).parents[2] / "models"
WEEK_S = 7 * 86_400
AGE_S_MAX = 4_000
LENGTHS = {"hourly": 3_600, "five-minute": 300}


def newest(name: str) -> Path:
    """The folder of a shipped model's newest version."""
    return max(path for path in (SHIPPED / name).iterdir() if path.is_dir())


def shipped(name: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A shipped version's card and files, without what the registry adds."""
    folder = newest(name)
    card = json.loads((folder / "card.json").read_bytes())
    return card, {path.name: path.read_bytes() for path in folder.glob("*.onnx")}


def fixture(root: Path, name: str) -> None:
    """A registry of a test whose card says that the model holds, which the shipped one does not: in production."""
    card, files = shipped(name)
    for horizon in card["horizons"].values():
        horizon["verdict"] = "holds"
    told = {key: value for key, value in card.items() if key not in ("name", "version", "features_hash", "schema")}
    registry.write_version(root / "models", name, told | {"verdict": "holds"}, files, KEY)
    promoted(root / "models", "0001", name=name)
    key_file(root)


class Bars(World):
    """A venue whose history of BTC/USD is recorded bars, moved by whole weeks to now; of ETH/USD it has twenty."""

    def __init__(self, recorded: list[list[str]], bar_s: int, journal: Any) -> None:
        self.bar_s = bar_s
        super().__init__(practice_config((BTC, ETH), scorer={"age_s_max": AGE_S_MAX, "interval_s": 60}),
                         strategy="rehearsal", journal=journal)
        now_s = self.now_ns // S
        weeks = (now_s - int(recorded[-1][0])) // WEEK_S
        moved = [[int(row[0]) + weeks * WEEK_S, *row[1:]] for row in recorded]
        # From here on a bar of the file is under way, whose last part comes as trades.
        self.now_ns = (moved[-30][0] + 7) * S
        self.recorded = {row[0]: row for row in moved}

    @property
    def mono_ns(self) -> int:
        """Monotonic time: it begins when the first event comes."""
        return self.now_ns - 1_600_000_000 * S

    def candles(self, name: str, interval_min: int) -> list[dict[str, Any]]:
        """The history at this time, in the venue's spelling."""
        if interval_min * 60 != self.bar_s:
            return super().candles(name, interval_min)
        rows = [row for time_s, row in sorted(self.recorded.items()) if (time_s + self.bar_s) * S <= self.now_ns]
        rows = rows[-20:] if name == ETH else rows[-720:]
        return [{"symbol": name, "open": row[1], "high": row[2], "low": row[3], "close": row[4], "vwap": row[4],
                 "trades": int(row[6]), "volume": row[5], "interval": interval_min, "interval_begin": time_text(row[0] * S),
                 "timestamp": time_text((row[0] + self.bar_s) * S)} for row in rows]

    def bar(self, name: str = BTC) -> int:
        """The bar that is under way is traded and ends; returns its end in seconds."""
        time_s = self.now_ns // S // self.bar_s * self.bar_s
        _, o, h, low, c, volume, _ = self.recorded[time_s]
        parts = [str(Decimal(volume) - Decimal("0.00000003"))] + ["0.00000001"] * 3
        for price, qty in zip((o, h, low, c), parts, strict=True):
            self.step(1)
            self.trade_id += 1
            self.public((f'{{"channel":"trade","type":"update","data":[{{"symbol":"{name}","side":"buy","price":{price},'
                         f'"qty":{qty},"ord_type":"limit","trade_id":{self.trade_id},"timestamp":"{time_text(self.now_ns)}"'
                         f"}}]}}").encode())
        self.step((time_s + self.bar_s) - self.now_ns / S + 1.5)
        return int(time_s + self.bar_s)


class Both:
    """The engine, the trading process's side of the scorer, and the scorer itself, in one process."""

    def __init__(self, folder: Path, name: str, recorded: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
        fixture(folder, name)
        self.journal = open_journal(folder / "journal", folder / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                                    sync_interval_ms=5)
        self.world = Bars(recorded, LENGTHS[name], self.journal).ready()
        monkeypatch.setattr("cstd.daemon.scoring.scorer_child", lambda *_: Child())
        cfg = ScorerConfig(enabled=True, name=name, interval_s=60, age_s_max=AGE_S_MAX)
        self.scoring = Scoring(cfg, folder, self.world.engine, Log(), lambda _pid: None)
        asyncio.run(self.scoring.start())
        self.clock = VirtualClock(mono_ns=self.world.mono_ns, wall_ns=self.world.now_ns)
        self.scorer = Scorer(folder, folder / "models", name, folder / "models.key", clock=self.clock)

    def settle(self) -> None:
        """Ticks of both until every bar is pushed and every row scored; what it brings goes into the engine."""
        for _ in range(150):
            self.world.step(0.02)
            if (payload := self.scoring.tick(self.world.mono_ns)) is not None:
                self.world.event(EventKind.EVENT_SCORES, 0, payload)
            self.scorer.turn()

    def seen(self) -> Any:
        """What `/api/v1/models` says."""
        return models.seen(self.scoring.status(), self.world.engine, self.world.mono_ns, self.scoring.bar_rows())


def recorded_lines(data_dir: Path, name: str, count: int = 230) -> list[list[str]]:
    """Bars in a row of a liquid instrument, as text."""
    file = {"hourly": "60m/XBTUSD_60m.csv.gz", "five-minute": "5m/XBTUSD_5m_2023Q1.csv.gz"}[name]
    lines = gzip.decompress((data_dir / "bars" / file).read_bytes()).decode().splitlines()[-count:]
    return [line.split(",") for line in lines]


@pytest.mark.parametrize("name", list(LENGTHS))
def test_a_shipped_model_scores_live(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """From the first bar that closes on, the engine knows the probability that evaluating its bars gives; so does a replay."""
    both = Both(tmp_path, name, recorded_lines(data_dir, name), monkeypatch)
    world, bar_s = both.world, LENGTHS[name]
    both.settle()
    seen = both.seen()
    assert seen["scorer"]["state"] == "ready" and seen["scores"] == []
    assert [row["reason"] for row in seen["bars"]["instruments"]] == ["starting", "starting"]
    assert seen["scorer"]["rows"].startswith(f"bars of {bar_s // 60} min: 0 of 2 instruments; 2 starting; next in ")
    for _ in range(2):
        end_s = world.bar()
        both.settle()
    row, other = both.seen()["bars"]["instruments"]
    assert (row["reason"], other["reason"]) == ("", "no trade")
    path = tmp_path / "XBTUSD_bars.csv"
    path.write_text("".join(f"{time_s},{','.join(rest)}\n" for time_s, *rest in sorted(world.recorded.values())
                            if time_s < end_s))
    batch = dataset.rows(dataset.read([path], now_s=2**32))
    assert batch.decided_s[-1] == end_s
    of = stored.read(newest(name))
    scores = {row["horizon_s"]: row for row in both.seen()["scores"]}
    assert len(scores) == len(of.card["horizons"]) == 2
    for horizon, told in of.card["horizons"].items():
        expected = of.score(horizon, batch.features[-1:])
        found = scores[int(horizon[:-1]) * 3_600]
        assert found["probability"] == np.rint(expected.probability[0] * MILLION) / MILLION
        assert (found["instrument"], found["members"], found["fresh"]) == (BTC, len(told["members"]), True)
        assert found["event_wall_ns"] == end_s * S
    counters = models.counters(both.scoring.status(), world.engine, both.scoring.bar_rows())
    assert (counters["bar_rows_ready"], counters["bar_rows"], counters["bar_rows_no_trade"]) == (1, 2, 2)
    world.sound()
    both.journal.close()
    replay = replayed(tmp_path / "journal")
    assert replay.difference_count == 0, replay.differences
    assert replay.engine.scores.state() == world.engine.scores.state()
    assert replay.engine.recorder.hexdigest() == world.recorder.hexdigest()


def test_another_version_gets_its_own_rows(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other columns of the same bars: asked for by the scorer, computed anew, and scored from the next bar on."""
    both = Both(tmp_path, "five-minute", recorded_lines(data_dir, "five-minute"), monkeypatch)
    both.settle()
    told = made_card(features=["adx14", "ret_1", "hour_sin"])
    told["training"]["bars"][0]["interval_s"] = 300
    registry.write_version(tmp_path / "models", "five-minute", told, {"1h.linear.onnx": linear([1.0, 0.5, -0.5], 0.0)}, KEY)
    promoted(tmp_path / "models", "0002", name="five-minute")
    both.clock.advance(31 * S)
    both.settle()
    seen = both.seen()
    assert (seen["scorer"]["version"], seen["bars"]["features"], seen["scores"]) == ("0002", 3, [])
    both.world.bar()
    both.settle()
    (score,) = both.seen()["scores"]
    assert (score["instrument"], score["card_sha256"]) == (BTC, both.seen()["scorer"]["card_sha256"])
    values = both.scoring._bars.rows["values"][0].astype("f4")  # type: ignore[union-attr]
    expected = 1 / (1 + np.exp(-float(values @ np.array([1.0, 0.5, -0.5], "f4"))))
    assert abs(score["probability"] - expected) < 2e-6


def test_rows_that_change_in_several_ticks_are_one_batch(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at one instrument a tick: the scorer sees a sheet once both are through."""
    monkeypatch.setattr("cstd.engine.bar_rows.LOOKS_PER_TICK", 1)
    both = Both(tmp_path, "five-minute", recorded_lines(data_dir, "five-minute"), monkeypatch)
    both.settle()
    before = both.seen()["scorer"]["batches"]
    both.world.bar()
    both.settle()
    assert [row["reason"] for row in both.seen()["bars"]["instruments"]] == ["", "no trade"]
    assert both.seen()["scorer"]["batches"] == before + 1


def test_what_was_traded_while_the_link_was_down_is_in_no_row(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                              ) -> None:
    """Down: no row at once. Up again: the venue's history has the bars that were missed, and the next bar has a row again."""
    both = Both(tmp_path, "five-minute", recorded_lines(data_dir, "five-minute"), monkeypatch)
    world = both.world
    both.settle()
    world.bar()
    both.settle()
    assert both.seen()["bars"]["instruments"][0]["reason"] == ""
    world.link(Link.LINK_PUBLIC, up=False, reason="test")
    world.run_on(Link.LINK_PRIVATE, 2)
    for _ in range(30):
        both.scoring.tick(world.mono_ns)
    assert not both.scoring._bars.rows["valid"].any()  # type: ignore[union-attr]
    world.now_ns += 2 * world.bar_s * S
    world.link(Link.LINK_PUBLIC, up=True)
    world.run(2)
    both.settle()
    assert both.seen()["bars"]["instruments"][0]["reason"] == ""  # of the newest bar that the history has
    end_s = world.bar()
    both.settle()
    assert both.seen()["bars"]["instruments"][0]["reason"] == ""
    batch = {row[0] for row in both.world.core.slots[0].bars.closed(1)}
    assert {(time_s * S) for time_s in world.recorded if end_s - 100 * world.bar_s <= time_s < end_s} <= batch


@pytest.mark.parametrize("name", list(LENGTHS))
def test_a_shipped_model_cannot_be_promoted(tmp_path: Path, name: str) -> None:
    """Its card says that it did not beat its baselines: signed as it is, it goes nowhere but aside, and is not scored."""
    card, files = shipped(name)
    told = {key: value for key, value in card.items() if key not in ("name", "version", "features_hash", "schema")}
    registry.write_version(tmp_path, name, told, files, KEY)
    with pytest.raises(RefusedVersionError) as refused:
        registry.promote(tmp_path, name, "0001", KEY, to="shadow", who="test", when=WHEN, reason="")
    assert refused.value.reason in ("verdict", "transition")


@pytest.mark.parametrize("name", list(LENGTHS))
def test_the_scorer_asks_for_the_rows_of_the_card(tmp_path: Path, name: str) -> None:
    """The columns in the card's order, its hash, and how long its bars are."""
    card, files = shipped(name)
    told = {key: value for key, value in card.items() if key not in ("name", "version", "features_hash", "schema")}
    registry.write_version(tmp_path, name, told, files, KEY)
    found = registry.verify(tmp_path, name, "0001", KEY).card
    assert bar_rows_of(found, ("SPREAD_BPS",)) == BarRowsWanted(LENGTHS[name], tuple(card["features"]), card["features_hash"])
    assert bar_rows_of(found, (*bar_features.NAMES, "more")) is None
    assert rows_said(found) == f"bars of {LENGTHS[name] // 60} min"


def test_bars_that_are_not_built_are_refused_by_their_length(tmp_path: Path) -> None:
    """A model of bars of four hours, or of two lengths, is refused in words; so are features that nobody computes."""
    card, files = shipped("hourly")
    for lengths, said in (([14_400], "none: its bars are of 14400 s"), ([300, 3_600], "none: its bars are of 300, 3600 s")):
        told = {key: value for key, value in card.items() if key not in ("name", "version", "features_hash", "schema")}
        bars = [told["training"]["bars"][0] | {"interval_s": length} for length in lengths]
        folder = registry.write_version(tmp_path, "hourly", told | {"training": told["training"] | {"bars": bars}}, files, KEY)
        found = registry.verify(tmp_path, "hourly", folder.name, KEY).card
        with pytest.raises(OperatorError, match="rows are computed of bars of 60, 300, 3600 s"):
            bar_rows_of(found, ())
        assert rows_said(found).startswith(said)
    registry.write_version(tmp_path, "other", made_card(features=["moon", "adx14"]), FILES, KEY)
    assert rows_said(registry.verify(tmp_path, "other", "0001", KEY).card) == "none: nobody computes moon, adx14"
