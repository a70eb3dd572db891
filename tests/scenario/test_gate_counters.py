"""Counters of gates and verdicts are what counting the journal's decision records gives: live, exposed, recovered, replayed.

The simulation holds the same at the end of each of its sessions, and after each of its crashes.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engine_world import BTC, World, practice_config, replayed
from prometheus_client import CollectorRegistry

from cstd._fast.codes import EventKind, IntentKind, Link
from cstd._fast.recorder import Recorder
from cstd.config import Config
from cstd.daemon.checkpointer import bring_up_to_date
from cstd.daemon.view import LiveView
from cstd.decision.why import BY_CODE
from cstd.engine import Engine, checkpoint
from cstd.engine.recovery import recover
from cstd.engine.replaying import JournalReplay
from cstd.ops.metrics import BoardCollector
from cstd.ops.metrics_table import Specimen
from cstd.storage.journal import open_journal
from cstd.storage.journal_reader import records
from tests.simulation.promises import GATES, counted, shown

ROUNDS = 40
# Limits so tight that each refuses by itself.
TIGHT = {
    "policy.parents_per_instrument_hour_max": "1", "policy.parents_per_minute_max": "1", "policy.spread_bps_max": "0.005",
    "policy.depth_value_min": "1000000000", "policy.depth_multiple_min": "1000", "policy.volume_hour_min": "1000000000",
    "policy.volume_minute_frac_max": "0.0001", "policy.exit_cost_bps_max": "0.01", "policy.lifetime_s_max": "1",
    "policy.price_band_bps_max": "0.001", "risk.positions_max": "1", "risk.exposure_bps_max": "20",
    "risk.position_bps_max": "20", "risk.cluster_bps_max": "20", "risk.day_loss_critical_bps": "1",
}


def config() -> Config:
    """The practice configuration with wishes a second apart."""
    cfg = practice_config()
    quick = {"flat_s": 1, "long_flat_s": 1, "hold_s": 1, "retry_s": 1, "lifetime_s": 4}
    rehearsal = msgspec.structs.replace(cfg.strategy.rehearsal, **quick)
    return msgspec.structs.replace(cfg, strategy=msgspec.structs.replace(cfg.strategy, rehearsal=rehearsal))


def serve(world: World, rng: random.Random) -> None:
    """The venue takes what has come, and fills some of it."""
    for order in world.live():
        order_id = f"O{order['cl_ord_id'][-5:].upper()}-BBBBB-CCCCCC"
        if not order["order_id"]:
            world.reply(order, order_id)
        elif rng.random() < 0.5 or order["kind"] == IntentKind.EXIT:
            world.fill(order, order["qty_raw"] - order["filled_raw"], f"T{world.now_ns}", order_id)


def session(journal: Any, seed: int) -> World:
    """Wishes under limits that come and go, with pauses, a thin book and a lost link; a seed decides which."""
    rng = random.Random(seed)
    world = World(config(), strategy=None, journal=journal).ready()
    # What goes by REST while the link is down.
    world.rest |= {"AddOrder": "EOrder:Insufficient funds", "CancelOrder": "EOrder:Unknown order"}
    for _ in range(ROUNDS):
        keys = rng.sample(sorted(TIGHT), rng.randint(0, 2))
        for key in keys:
            world.command("limits_set", key=key, value=TIGHT[key])
        trouble = rng.choice(("none", "none", "none", "pause", "link", "spread"))
        if trouble == "pause":
            world.command("pause")
        elif trouble == "link":
            world.link(Link.LINK_PRIVATE, up=False, reason="test")
        elif trouble == "spread":
            world.book(BTC, asks=[(price, 0) for price in sorted(world.books[BTC].asks)[:20]])
        for _ in range(rng.randint(4, 12)):
            world.step()
            world.tick()
            if trouble != "link":
                serve(world, rng)
        if trouble == "pause":
            world.command("resume")
        elif trouble == "link":
            world.link(Link.LINK_PRIVATE, up=True)
        elif trouble == "spread":
            world.book(BTC, asks=[(1_000_001 + 7 * n, 5_000_000_000) for n in range(25)])
        for key in keys:
            world.command("limits_reset", key=key)
        world.step()
    world.sound()
    return world


@pytest.fixture(scope="module")
def journaled(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A session of a fresh seed, which its folder names, and its journal."""
    seed = int.from_bytes(os.urandom(4), "big")
    folder = tmp_path_factory.mktemp(f"seed-{seed}-")
    with open_journal(folder / "journal", folder / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = session(journal, seed)
        journal.sync()
    return world, folder / "journal"


def decisions(path: Path) -> Counter[str]:
    """What the journal's decision records say."""
    return counted(record.payload for record in records(path) if record.kind == EventKind.OUT_DECISION)


class Board(Specimen):
    """A board with an engine's gates and counters on it."""

    def __init__(self, engine: Engine) -> None:
        view = LiveView(engine, pid=1, mono_ns=lambda: 0, process=dict)
        self._regions: dict[str, Any] = {"gates": view.gates(), "counters": engine.core.counter_values()}

    def value(self, name: str) -> Any:
        """Return a region."""
        return self._regions.get(name) or ({} if name == "alert_limits" else [])


def exposed(engine: Engine) -> Counter[str]:
    """The same figures as a scrape has them, under the names that `counted` gives them."""
    registry = CollectorRegistry()
    registry.register(BoardCollector(Board(engine)))  # type: ignore[arg-type]
    codes = {BY_CODE[code].name: code for code in GATES}
    found: Counter[str] = Counter()
    for family in registry.collect():
        for sample in family.samples:
            if sample.name in ("cstd_intents_total", "cstd_approved_total", "cstd_reduced_total", "cstd_refused_total"):
                found[sample.name.removeprefix("cstd_").removesuffix("_total")] = int(sample.value)
            elif sample.name == "cstd_gate_results_total":
                found[f"{codes[sample.labels['gate']]} {sample.labels['result']}"] = int(sample.value)
            elif sample.name == "cstd_gate_refusals_total":
                found[f"{codes[sample.labels['gate']]} first"] = int(sample.value)
    return found


def test_sessions_are_worth_counting() -> None:
    """All verdicts, refusals by most gates, and failures that an exit is not refused for."""
    found: Counter[str] = Counter()
    for seed in range(5):
        found += counted(payload for kind, _, payload in session(None, seed).recorder.captured if kind == EventKind.OUT_DECISION)
    assert min(found[verdict] for verdict in ("approved", "reduced", "refused")) >= 5
    assert sum(1 for gate in GATES if found[f"{gate} failed"]) >= 12
    assert any(found[f"{gate} noted"] for gate in GATES)


def test_counters_are_what_the_records_say(journaled: tuple[World, Path]) -> None:
    """Each gate's and each verdict's counter equals its count over the journal, in the engine and in a scrape of it."""
    world, path = journaled
    assert shown(world.engine) == decisions(path)
    scraped = exposed(world.engine)
    assert scraped == decisions(path)
    for gate in GATES:
        assert sum(scraped[f"{gate} {result}"] for result in ("passed", "failed", "noted")) == scraped["intents"]


def test_counters_are_the_same_after_a_replay_and_a_recovery(journaled: tuple[World, Path]) -> None:
    """A replay of the whole, a checkpoint behind any record, and the daemon's own recovery, before and behind a checkpoint."""
    world, path = journaled
    expected = decisions(path)
    again = replayed(path)
    assert (again.difference_count, shown(again.engine), exposed(again.engine)) == (0, expected, expected)
    rows = list(records(path))
    for cut in (1, len(rows) // 3, len(rows) - 1):
        first = JournalReplay(Engine(Recorder(), None))
        first.take(rows[:cut])
        second = JournalReplay(Engine(Recorder(), None))
        second.engine.recorder.captured = checkpoint.restore(second.engine, checkpoint.dump(first.engine))
        second.take(rows[cut:])
        assert shown(second.engine) == expected, cut
    for taken in (False, True):
        if taken:
            bring_up_to_date(path, None)
        found = recover(path, None, include_ring=False)
        assert (found.replay.events == 0) == taken
        assert (shown(found.engine), exposed(found.engine)) == (expected, expected)
    assert shown(world.engine) == expected


def test_what_is_not_on_record_is_not_counted(tmp_path: Path) -> None:
    """Where the journal takes no decision there is no order, and no counter and no display says that there was one."""
    world = World(config(), strategy="rehearsal").ready()
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 16) as journal:
        world.recorder.attach(journal)
    before, told, tried = shown(world.engine), world.core.decision_count, len(world.recorder.captured)
    for _ in range(40):
        world.step()
        world.tick()
    assert any(kind == EventKind.OUT_DECISION for kind, *_ in world.recorder.captured[tried:]), "wishes were judged"
    assert (shown(world.engine), world.core.decision_count) == (before, told)
    assert world.counters()["orders"] == 0 and world.counters()["journal_faults"] > 0
    assert not decisions(tmp_path / "journal")
