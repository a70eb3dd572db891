"""Clusters through the engine: what moves together shares one cap, what does not has its own, and all of it comes back."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import engine_world
import msgspec
import numpy as np
import pytest
from engine_world import BTC, ETH, S, VenueBook, World, practice_config, time_text

from cstd._fast.codes import Verdict
from cstd._fast.gates import DECISION_DTYPE
from cstd.daemon.view import LiveView
from cstd.decision.clusters import text
from cstd.decision.why import waterfall
from cstd.engine import checkpoint
from cstd.storage.journal import open_journal
from cstd.units import format_raw

SOL = "SOL/USD"
NAMES = (BTC, ETH, SOL)
ROWS = 720
WIDTH_NS = 300 * S


@pytest.fixture(autouse=True)
def third_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted venue lists one more."""
    monkeypatch.setitem(engine_world.PRECISIONS, SOL, (2, 8))
    monkeypatch.setitem(engine_world.REST_NAMES, SOL, "SOLUSD")


def factor(seed: int) -> list[float]:
    """Moves of one factor, bar by bar."""
    source = random.Random(seed)
    return [source.gauss(0, 0.003) for _ in range(ROWS)]


MOVES = {BTC: factor(1), ETH: [m + 0.2 * n for m, n in zip(factor(1), factor(2), strict=True)], SOL: factor(3)}


class Market(World):
    """A world whose five-minute history has moves: BTC and ETH together, SOL on its own; none: flat as in other worlds."""

    def __init__(self, moving: bool = True, journal: Any = None, names: tuple[str, ...] = NAMES, **risk: Any) -> None:
        cfg = practice_config(names, risk={"cluster_bps_max": 240, "position_bps_max": 200, **risk})
        wanted = msgspec.structs.replace(cfg.strategy.rehearsal, size_frac=Decimal("0.018"))  # type: ignore[type-var]
        cfg = msgspec.structs.replace(cfg, strategy=msgspec.structs.replace(cfg.strategy, rehearsal=wanted))
        super().__init__(cfg, strategy=None, journal=journal)
        self.moving = moving
        self.books[SOL] = VenueBook(SOL, 15_000, 15_001, 20_000_000_000_000)

    def candles(self, name: str, interval_min: int) -> list[dict[str, Any]]:
        """Ninety flat candles, but 720 that move where they are of five minutes."""
        if interval_min != 5 or not self.moving:
            return super().candles(name, interval_min)
        digits = engine_world.PRECISIONS[name][0]
        last = max(self.books[name].bids)
        moves = MOVES[name]
        closes = [last]
        for move in reversed(moves[1:]):
            closes.append(max(1, round(closes[-1] / (1 + move))))
        first = self.now_ns // WIDTH_NS - ROWS + 1
        rows = []
        for n, close in enumerate(reversed(closes)):
            price = format_raw(close, digits)
            rows.append({"symbol": name, "open": price, "high": price, "low": price, "close": price, "vwap": price, "trades": 9,
                         "volume": "1000.00000000", "interval": 5, "interval_begin": time_text((first + n) * WIDTH_NS),
                         "timestamp": time_text((first + n + 1) * WIDTH_NS)})
        return rows

    def openings(self) -> dict[str, np.void]:
        """Let every instrument's strategy open once; the first decision of each, whose orders nobody has answered yet."""
        found: dict[str, np.void] = {}
        for _ in range(60):
            for name in self.names:
                self.tick(name)
            rows = np.frombuffer(b"".join(self.core.decision_rows(500)), DECISION_DTYPE)
            for row in rows:
                if not row["rejudge"] and row["kind"] == 0:
                    found.setdefault(self.names[int(row["instrument"])], row)
            if len(found) == len(self.names):
                break
            self.step()
        return found

    @property
    def view(self) -> LiveView:
        """What control and sight are shown."""
        return LiveView(self.engine, pid=1, mono_ns=lambda: self.mono_ns, process=dict)


def test_history_at_the_start_separates_what_moves_apart() -> None:
    """The snapshots of a start are enough: BTC and ETH are linked, SOL is not."""
    world = Market().ready()
    pair = world.core.correlations.pair
    assert [pair(0, 1)[0], pair(0, 2)[0], pair(1, 2)[0]] == [True, False, False]
    assert pair(0, 1)[1] > 0.9 and pair(0, 2)[1] < 0.4
    assert pair(0, 1)[2] >= 700


def test_what_nobody_trades_any_more_counts_as_one_again() -> None:
    """Two that were measured apart and close no bar for as many intervals as are remembered are linked, within a few ticks."""
    world = Market().ready()
    pair = world.core.correlations.pair
    assert not pair(0, 2)[0] and not pair(1, 2)[0]
    last = world.now_ns // WIDTH_NS
    world.now_ns = (last + world.cfg.risk.correlation_span_bars) * WIDTH_NS
    for _ in range(len(NAMES)):
        world.core.timer(world.mono_ns, world.now_ns)
    assert not pair(0, 2)[0], "not older than that yet"
    world.now_ns += 2 * WIDTH_NS
    for _ in range(len(NAMES)):
        world.core.timer(world.mono_ns, world.now_ns)
    assert [pair(a, b) for a, b in ((0, 1), (0, 2), (1, 2))] == [(True, None, 0, 0)] * 3
    world.sound()


def test_two_that_move_together_share_the_cap_and_the_third_does_not() -> None:
    """180 bps in one of them leave 60 of the cluster's 240 for the other; the third opens at its full size."""
    world = Market().ready()
    rows = world.openings()
    assert set(rows) == set(NAMES)
    assert rows[SOL]["verdict"] == Verdict.APPROVE
    first, second = sorted((rows[BTC], rows[ETH]), key=lambda row: row["intent_seq"])
    assert (first["verdict"], second["verdict"], second["reduced_by"]) == (Verdict.APPROVE, Verdict.REDUCE, 18)
    equity = world.core.equity_acct_raw
    exposures = world.core.exposures()
    assert 235 < (exposures[0] + exposures[1]) * 10_000 / equity <= 240
    assert 175 < exposures[2] * 10_000 / equity <= 180


@pytest.mark.parametrize(("moving", "risk"), [(False, {}), (True, {"correlation_min": Decimal(0)})])
def test_without_history_or_turned_off_everything_is_one_cluster(moving: bool, risk: dict[str, Any]) -> None:
    """The third is cut to what the cap leaves as well: the cluster's exposure is the whole one, to the last unit."""
    world = Market(moving, **risk).ready()
    world.openings()
    rows = np.frombuffer(b"".join(world.core.decision_rows(500)), DECISION_DTYPE)
    assert len(rows) >= 3
    assert (rows["risk_value"][:, 7] == rows["risk_value"][:, 5]).all()
    assert sum(world.core.exposures().values()) * 10_000 / world.core.equity_acct_raw <= 240
    assert world.core.correlations.apart == 0


def test_one_instrument_is_decided_as_before() -> None:
    """With one instrument there is nothing to correlate: measuring or not, the same digest but for the configuration."""
    digests = []
    for risk in ({}, {"correlation_min": Decimal(0)}):
        world = Market(names=(BTC,), **risk).ready()
        world.openings()
        outputs = [(kind, tag) for kind, tag, _ in world.recorder.captured]
        rows = np.frombuffer(b"".join(world.core.decision_rows(500)), DECISION_DTYPE).copy()
        rows["config_hash8"] = 0
        digests.append((outputs, rows.tobytes()))
    assert digests[0] == digests[1]


def test_why_says_who_was_in_the_cluster() -> None:
    """A decision names the instruments that gate 18 counted together, each decision those of its own time."""
    world = Market().ready()
    world.openings()
    view = world.view
    shown = {row["intent_seq"]: row for row in view.decisions(500)}
    of_sol = [row for row in shown.values() if row["instrument"] == SOL]
    both = [row for row in shown.values() if row["instrument"] in (BTC, ETH) and row["cluster"] == [BTC, ETH]]
    assert {tuple(row["cluster"]) for row in of_sol} == {(SOL,)}  # type: ignore[arg-type]
    assert both
    found = view.find_decision(str(both[0]["intent_seq"]))
    assert found is not None and found["cluster"] == [BTC, ETH]
    assert "together with it: BTC/USD, ETH/USD" in waterfall(found)


def test_clusters_are_shown_with_their_correlations() -> None:
    """`cstd clusters` and the status port: members, exposure, and what is measured of each pair."""
    world = Market().ready()
    view = world.view
    assert view.clusters()["clusters"] == []
    world.openings()
    found = view.clusters()
    assert [cluster["instruments"] for cluster in found["clusters"]] == [[BTC, ETH], [SOL]]
    assert 235 < found["clusters"][0]["exposure_bps"] <= 240  # type: ignore[operator]
    assert [(pair["instrument"], pair["other"], pair["linked"], pair["ready"]) for pair in found["pairs"]] == [
        (BTC, ETH, True, True), (BTC, SOL, False, True), (ETH, SOL, False, True)]
    assert view.clusters() is found, "made anew only when something changed"
    view._clusters._shown = None  # as where equity has changed
    assert view.clusters() == found and view.clusters()["pairs"] is found["pairs"], "pairs are read when a bar has closed"
    assert [pair["other"] for pair in view.clusters(SOL)["pairs"]] in ([BTC, ETH], [ETH, BTC])
    assert "cluster BTC/USD, ETH/USD" in text(found) and "apart" in text(found)
    values = view._clusters.figures()
    assert (values["clusters"], values["correlation_pairs_apart"]) == (2, 2)
    assert 23_500 < values["cluster_exposure_ppm"] <= 24_000
    assert "one cluster" in text(Market(correlation_min=Decimal(0)).ready().view.clusters())


def test_a_replay_and_a_checkpoint_come_to_the_same(tmp_path: Path) -> None:
    """The journal replayed gives the same digest and the same links; an engine from a checkpoint goes on with them."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = Market(journal=journal).ready()
        world.openings()
        for minute in range(12):  # two bars close on the tape
            world.now_ns += 60 * S
            for number, name in enumerate(NAMES):
                price = max(world.books[name].bids) + minute * (number + 1)
                world.public(trade(name, price, world.now_ns))
            world.step()
        world.sound()
        assert world.core.correlations.pair(0, 2)[2] > ROWS - 10
        journal.sync()
        digest = world.recorder.hexdigest()
    again = engine_world.replayed(tmp_path / "journal")
    assert again.difference_count == 0
    assert again.engine.recorder.hexdigest() == digest
    pairs = [(a, b) for a in range(3) for b in range(a)]
    measured = [world.core.correlations.pair(*pair) for pair in pairs]
    assert [again.engine.core.correlations.pair(*pair) for pair in pairs] == measured
    data = checkpoint.dump(again.engine)
    restored = type(again.engine)(type(again.engine.recorder)(), None)
    checkpoint.restore(restored, data)
    assert [restored.core.correlations.pair(*pair) for pair in pairs] == measured
    assert restored.core.correlations.apart == 2


def trade(name: str, price_raw: int, wall_ns: int) -> bytes:
    """A trade of others."""
    digits = engine_world.PRECISIONS[name][0]
    return (f'{{"channel":"trade","type":"update","data":[{{"symbol":"{name}","side":"buy",'
            f'"price":{format_raw(price_raw, digits)},"qty":0.10000000,"ord_type":"limit","trade_id":{wall_ns // S},'
            f'"timestamp":"{time_text(wall_ns)}"}}]}}').encode()
