"""Levels of conditions in a session: what raises one, what it does to orders, when it clears, and that a replay does the same."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from engine_world import BTC, Answer, S, World, practice_config, replayed
from test_checkpoint import alike, state

from cstd._fast.codes import IntentKind
from cstd._fast.gates import EscalationLevel
from cstd._fast.recorder import Recorder
from cstd.decision.why import BY_CODE
from cstd.engine import Engine, checkpoint
from cstd.engine.replaying import JournalReplay
from cstd.storage.journal import open_journal
from cstd.storage.journal_reader import records
from cstd.venue.rest.request import RestRequest

NORMAL, WARNING, CRITICAL = EscalationLevel.LEVEL_NORMAL, EscalationLevel.LEVEL_WARNING, EscalationLevel.LEVEL_CRITICAL
CLEAN_S = 300
WINDOW_S = 60


def world_of(strategy: str | None = "none", journal: Any = None, **changes: Any) -> World:
    """A ready daemon with the clean time of live, and a window of a minute."""
    keys = {"window_s": WINDOW_S, "clean_s": CLEAN_S, "samples_min": 10, **changes}
    return World(practice_config((BTC,), conditions=keys), strategy=strategy, journal=journal).ready()


def level(world: World) -> int:
    """The level in force."""
    return int(world.core.level)


def ask_rest(world: World, count: int, *, fails: bool) -> None:
    """So many reads by REST, one after the other, that the venue serves or does not."""
    before = world.rest["SystemStatus"]
    world.rest["SystemStatus"] = Answer(503, "") if fails else {"status": "online"}
    done = sum(method == "SystemStatus" for method, _ in world.asked)
    world.engine.lane.submit(RestRequest("SystemStatus", False, ()), world.mono_ns)
    while sum(method == "SystemStatus" for method, _ in world.asked) - done < count:
        if not len(world.engine.lane):
            world.engine.lane.submit(RestRequest("SystemStatus", False, ()), world.mono_ns)
        world.step()
        world.tick()
    world.rest["SystemStatus"] = before


def steps_until(world: World, wanted: int, steps: int = 4000) -> int:
    """Let time pass until a level holds; returns how many quarter seconds that took."""
    for count in range(steps):
        if level(world) == wanted:
            return count
        world.step()
        world.tick()
    raise AssertionError(f"level {level(world)}: {world.engine.risk.level_reason}")


def test_a_quiet_session_asks_for_nothing_and_has_samples() -> None:
    """Without an order the dead man's switch and the rounds of reconciliation are the samples."""
    world = world_of()
    world.run(WINDOW_S * 2)
    rows = world.engine.risk.conditions.rows()
    assert level(world) == NORMAL and not any(row["asks"] for row in rows.values())
    assert rows["api_success"]["samples"] >= 4 and rows["ack_latency"]["samples"] >= 3
    assert rows["data_quality"]["samples"] >= WINDOW_S - 2


def test_calls_that_are_not_served_raise_critical_pull_openings_and_leave_exits() -> None:
    """REST fails: openings are refused by the level, those that rest are pulled, and what is held is sold."""
    world = world_of("rehearsal")
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    ask_rest(world, 12, fails=True)
    assert level(world) == CRITICAL and "api_success" in str(world.engine.risk.level_reason)
    exits = world.exit_order()
    assert exits["kind"] == IntentKind.EXIT
    world.reply(exits, "OEXIT1-AAAAA-AAAAAA")
    world.fill(exits, exits["qty_raw"], "T2", "OEXIT1-AAAAA-AAAAAA")
    refused = world.counters()["refused"]
    world.run(10)
    for _ in range(20):
        world.step()
        world.tick()
    assert world.live(IntentKind.OPENING) == [] and world.counters()["refused"] > refused
    assert BY_CODE[11].name == "kill_switch" and world.core.fault_counts()[1][11] > 0


def test_it_clears_after_exactly_five_clean_minutes() -> None:
    """The clean time runs from the first look at which nothing asks; a relapse begins it anew."""
    world = world_of()
    ask_rest(world, 12, fails=True)
    assert level(world) == CRITICAL
    while world.engine.risk.conditions.asking:
        world.step()
        world.tick()
    clean_ns = world.mono_ns
    while world.mono_ns + S // 4 < clean_ns + CLEAN_S * S:
        assert level(world) == CRITICAL
        world.step()
        world.tick()
    assert level(world) == CRITICAL and world.mono_ns == clean_ns + CLEAN_S * S - S // 4
    world.step(0.249999999)
    assert level(world) == CRITICAL, "a nanosecond early"
    world.step(0.000000001)
    assert level(world) == NORMAL
    ask_rest(world, 12, fails=True)
    steps_until(world, CRITICAL)
    ask_rest(world, 60, fails=False)
    world.run(CLEAN_S - 60)
    ask_rest(world, 30, fails=True)
    assert level(world) == CRITICAL


def test_late_acknowledgements_ask_for_warning_and_cut_the_size() -> None:
    """Orders acknowledged late at the 95th percentile: three quarters of the size from then on."""
    world = world_of("rehearsal", samples_min=1, ack_p95_ms_max=1)
    first = world.first_order()
    world.now_ns += S // 2
    world.reply(first)
    world.step()
    assert level(world) == WARNING and world.engine.risk.level_reason == "conditions: ack_latency"
    world.report("canceled", first)
    world.run(1)
    second = world.first_order()
    assert second["qty_raw"] == first["qty_raw"] * 3 // 4


def test_a_book_that_is_lost_for_long_asks_for_warning() -> None:
    """Data quality: the share of verified books over the window."""
    world = world_of(verified_frac_min=Decimal("0.9"))
    world.run(WINDOW_S)
    assert level(world) == NORMAL
    world.snapshots = False
    world.public(world.books[BTC].frame("update", [(999_000, 1)], [], world.now_ns, checksum=1))
    for _ in range(8 * 4):
        world.step()
    assert level(world) == WARNING and "data_quality" in str(world.engine.risk.level_reason)


def test_losses_stay_latched_beside_conditions() -> None:
    """Clearing of conditions lowers no level of loss, and `resume` none of conditions."""
    world = world_of(clean_s=10, window_s=5, samples_min=3)
    world.engine.risk.levels.loss_level = WARNING
    ask_rest(world, 12, fails=True)
    steps_until(world, CRITICAL)
    assert world.command("resume")["level"] == "critical"
    world.engine.risk.levels.loss_level = WARNING
    steps_until(world, WARNING)
    world.run(30)
    assert level(world) == WARNING and "resume" in str(world.engine.risk.level_reason)
    world.command("resume")
    world.step()
    assert level(world) == NORMAL and world.engine.risk.level_reason is None


def test_a_start_forgets_the_samples_and_keeps_the_level_until_it_is_clean() -> None:
    """Killed and started at Critical: Critical still, for a clean time that begins anew."""
    world = world_of(clean_s=20, window_s=5, samples_min=3)
    ask_rest(world, 12, fails=True)
    steps_until(world, CRITICAL)
    world.boot(epoch=2)
    assert level(world) == CRITICAL
    assert steps_until(world, NORMAL) >= 20 * 4 - 8


def test_a_session_with_conditions_replays_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    """Raised, in force, cleared: every output is made again, from the middle too."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = world_of("rehearsal", journal, clean_s=15, window_s=10)
        # What fails is asked for by the engine itself: a REST call of a test's is no event of the journal.
        world.rest["OpenOrders"] = Answer(503, "")
        world.link(1, up=False, reason="test")
        world.step()
        world.link(1, up=True)
        steps_until(world, CRITICAL)
        world.rest["OpenOrders"] = {"open": {}}
        steps_until(world, NORMAL)
        world.first_order()
        world.sound()
        journal.sync()
    again = replayed(tmp_path / "journal")
    assert again.difference_count == 0, again.differences
    assert again.engine.recorder.hexdigest() == world.engine.recorder.hexdigest()
    assert again.engine.risk.conditions.rows() == world.engine.risk.conditions.rows()
    rows, whole = list(records(tmp_path / "journal")), JournalReplay(Engine(Recorder(), None))
    at, taken = 0, b""
    for count, row in enumerate(rows, 1):
        whole.feed(row.seq, row.kind, row.tag, row.mono_ns, row.wall_ns, row.payload)
        if not taken and whole.engine.core.level == CRITICAL:
            at, taken = count, checkpoint.dump(whole.engine)
    other = JournalReplay(Engine(Recorder(), None))
    other.engine.recorder.captured = checkpoint.restore(other.engine, taken)
    for row in rows[at:]:
        other.feed(row.seq, row.kind, row.tag, row.mono_ns, row.wall_ns, row.payload)
    assert other.difference_count == 0, other.differences
    assert alike(state(whole.engine), state(other.engine)) == []
