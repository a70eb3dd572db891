"""Limits that an operator tightens on a running engine: what they stop, that they can be taken back, and what keeps them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engine_world import BTC, ETH, START_NS, S, World, eventually, next_order, practice_config, replayed

from cstd._fast.codes import EventKind, IntentKind, OrderAction
from cstd._fast.recorder import Recorder
from cstd.config.limit_keys import LIMIT_KEYS
from cstd.config.schema import OverrideConfig, PolicyOverride, RiskOverride
from cstd.daemon.checkpointer import bring_up_to_date
from cstd.daemon.view import LiveView
from cstd.decision.levels import CRITICAL, NORMAL, WARNING
from cstd.decision.limits import limits_row
from cstd.engine import Engine, checkpoint
from cstd.engine.boot import boot_payload
from cstd.engine.recovery import recover
from cstd.engine.totals import session_totals
from cstd.storage.journal import open_journal

SPREAD = "policy.spread_bps_max"  # the book's is 0.01 bps
POSITION = "risk.position_bps_max"


def sent(world: World) -> int:
    """Orders sent so far."""
    return len(world.order_frames(OrderAction.ACTION_ADD))


def moves(world: World, seconds: float) -> None:
    """Time and books go on."""
    for _ in range(int(seconds * 4)):
        world.step()
        for name in world.names:
            world.tick(name)
    world.sound()


def row(world: World, key: str, instrument: str = "") -> dict[str, Any]:
    """A limit as it holds."""
    return next(found for found in world.engine.risk.limits.rows(instrument) if found["key"] == key)


def view(world: World) -> LiveView:
    """What control and sight are shown."""
    return LiveView(world.engine, pid=1, mono_ns=lambda: world.mono_ns, process=dict)


def operator(world: World, verb: str, **args: Any) -> dict[str, Any]:
    """A command as the admin socket journals it."""
    payload = {"id": world.now_ns, "verb": verb, "args": args, "uid": 1000, "gid": 1000, "pid": 4321}
    world.event(EventKind.EVENT_COMMAND, 0, json.dumps(payload).encode())
    return world.engine.replies.pop(world.now_ns)


def test_a_tightened_gate_refuses_until_the_limit_is_reset() -> None:
    """Set, the gate refuses with the new limit on its row; reset, the next wish is sent."""
    world = World(strategy="rehearsal").ready()
    answer = operator(world, "limits_set", key=SPREAD, value="0.005", reason="thin")
    assert (answer["before"], answer["value"], answer["configured"], answer["source"]) == ("45", "0.005", "45", "operator")
    assert (answer["set_by_uid"], answer["set_by_pid"], answer["reason"]) == (1000, 4321, "thin")
    assert answer["set_wall_ns"] == world.now_ns
    moves(world, 5)
    assert sent(world) == 0
    (decision,) = view(world).decisions(1)
    gate = next(gate for gate in decision["gates"] if gate["name"] == "spread")
    assert (decision["first_failing"], gate["key"], gate["limit"], gate["passed"]) == ("spread", SPREAD, "0.005", False)
    shown = next(shown for shown in view(world).gates() if shown["name"] == "spread")
    assert (shown["limit"], shown["last_kind"]) == ("0.005", "opening")
    answer = operator(world, "limits_reset", key=SPREAD)
    assert (answer["before"], answer["value"], answer["source"]) == ("0.005", "45", "configuration")
    next_order(world)
    world.sound()


def test_limits_are_shown_anew_when_one_has_changed() -> None:
    """Sight is given the same objects until a command changes a limit, and then what holds."""
    world = World().ready()
    shown = view(world)
    rows, alerts = shown.limits(), shown.alert_limits()
    assert (shown.limits() is rows, shown.alert_limits() is alerts, alerts["evidence_s"]) == (True, True, 5.0)
    operator(world, "limits_set", key="risk.evidence_s", value="2")
    assert shown.alert_limits() == {**alerts, "evidence_s": 2.0} and shown.limits() != rows
    operator(world, "limits_reset", key="risk.evidence_s")
    assert (shown.alert_limits(), shown.limits()) == (alerts, rows)


def test_a_resting_opening_is_pulled_by_a_limit_it_no_longer_keeps() -> None:
    """A command is not for new orders alone: what rests is judged by it at the next pass."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    operator(world, "limits_set", key=SPREAD, value="0.005")
    assert world.order_frames(OrderAction.ACTION_CANCEL) == []
    world.tick()
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == 1


def test_no_command_reaches_further_than_the_configuration() -> None:
    """Looser than configured is refused with key, value, limit and what to do; the configured value is no change any more."""
    world = World(strategy="rehearsal").ready()
    for key, value, word in ((SPREAD, "45.001", "at most 45"), ("risk.positions_max", "11", "at most 10"),
                             ("policy.depth_value_min", "9999.99", "at least 10000"),
                             ("risk.reduce_bps_min", "999", "at least 1000")):
        refused = operator(world, "limits_set", key=key, value=value)
        assert refused["error"] == "operator"
        assert f"{key} = {value} is looser than the configuration, which allows {word}" in refused["message"]
        assert f"set {word}" in refused["suggestion"]
    before = world.core.decision_count
    operator(world, "limits_set", key=SPREAD, value="20")
    assert operator(world, "limits_set", key=SPREAD, value="44")["value"] == "44"  # looser than 20, within the configuration
    assert operator(world, "limits_set", key=SPREAD, value="45.0")["source"] == "configuration"
    assert world.engine.risk.limits.changes == {} and world.core.decision_count == before
    world.sound()


@pytest.mark.parametrize(("args", "message", "suggestion"), [
    ({"key": "policy.spread_bp_max", "value": "1"}, "is no limit of a gate", "did you mean policy.spread_bps_max?"),
    ({"key": "", "value": "1"}, "nothing is no limit", "`cstd limits` lists"), ({}, "nothing is no limit", "`cstd limits` lists"),
    ({"key": "account.capital", "value": "1"}, "is no limit of a gate", ""),
    ({"key": "policy.deadline_ms", "value": "1000"}, "no command may trap an exit", "change the configuration"),
    ({"key": "exits.blind_collar_bps", "value": "1"}, "no command may trap an exit", "change the configuration"),
    ({"key": "policy.rest_price_age_s_max", "value": "1"}, "no command may trap an exit", "change the configuration"),
    ({"key": "policy.depth_band_bps", "value": "1"}, "not how much is admitted", "change the configuration"),
    ({"key": SPREAD}, "is no plain number", "bps"), ({"key": SPREAD, "value": "-1"}, "is no plain number", "bps"),
    ({"key": SPREAD, "value": "1e1"}, "is no plain number", "bps"), ({"key": SPREAD, "value": "nan"}, "no plain number", "bps"),
    ({"key": SPREAD, "value": "9" * 400}, "is no plain number", "bps"), ({"key": SPREAD, "value": "[" * 9_000}, "number", "bps"),
    ({"key": SPREAD, "value": "٣"}, "is no plain number", "bps"),
    ({"key": SPREAD, "value": "0"}, "is too small (allowed: above 0", "bps"),
    ({"key": SPREAD, "value": "0.0001"}, "more than 3 fractional digits", "bps"),
    ({"key": "risk.positions_max", "value": "2.5"}, "must be a whole number", "positions"),
    ({"key": "policy.depth_value_min", "value": "1000000000000"}, "is too large", "the account currency"),
    ({"key": SPREAD, "value": "1", "instrument": "BTCUSD"}, "no instrument of this session", "did you mean BTC/USD?"),
    ({"key": "risk.exposure_bps_max", "value": "1", "instrument": BTC}, "the whole account's", "leave --instrument out"),
])
def test_what_is_no_limit_or_no_value_changes_nothing(args: dict[str, str], message: str, suggestion: str) -> None:
    """Each mistake is an answer that says what to do; no limit moves, and the engine goes on."""
    world = World(strategy="rehearsal").ready()
    before = world.engine.risk.limits.rows()
    refused = operator(world, "limits_set", **args)
    assert message in refused["message"] and suggestion in refused["suggestion"]
    world.sound()
    assert world.engine.risk.limits.rows() == before
    next_order(world)


@pytest.mark.parametrize(("args", "message"), [
    ({"key": "policy.spread_bp_max"}, "is no limit of a gate"), ({"key": "policy.deadline_ms"}, "no command may trap an exit"),
    ({"key": SPREAD, "instrument": "BTCUSD"}, "no instrument of this session"),
    ({"key": "risk.exposure_bps_max", "instrument": BTC}, "the whole account's"),
])
def test_what_cannot_be_set_cannot_be_reset(args: dict[str, str], message: str) -> None:
    """A reset names a limit and an instrument by the rules of a change, and is refused in the same words."""
    world = World(strategy="rehearsal").ready()
    refused = operator(world, "limits_reset", **args)
    assert message in refused["message"]
    assert refused == operator(world, "limits_set", **args, value="1")
    world.sound()


def test_exits_go_on_under_the_tightest_limits_there_can_be() -> None:
    """With every limit that a command can change as tight as it goes, what is held is sold."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    tightest = {"lower": ("0", "0.001", "1"), "higher": ("10000", "1000", "10000000000")}
    for limit in LIMIT_KEYS:
        # Loss limits apart: what was paid would kill, which is a promise of its own.
        if not limit.fixed and "loss" not in limit.key and "drawdown" not in limit.key:
            answers = [operator(world, "limits_set", key=limit.key, value=value) for value in tightest[limit.tighter]]
            assert any(answer.get("source") == "operator" for answer in answers), limit.key
    eventually(world, lambda: bool(world.live(IntentKind.EXIT)), 30)
    (leaving,) = world.live(IntentKind.EXIT)
    assert leaving["qty_raw"] == order["qty_raw"]
    world.sound()


def test_a_loss_limit_moves_levels_and_kill_with_the_gate() -> None:
    """A threshold is one number: the gate, the latched level and the kill switch all go by the tightened one."""
    world = World(strategy="rehearsal").ready()
    desk = world.engine.risk
    operator(world, "limits_set", key="risk.day_loss_critical_bps", value="200")
    # A level comes no later than the one above it, so the one below follows.
    assert desk.levels.limits.day_loss_bps == desk.kill.limits.day_loss_bps == (200, 200, 650, 800)
    assert (row(world, "risk.day_loss_warning_bps")["value"], row(world, "risk.day_loss_warning_bps")["source"]) == (
        "200", "operator")
    desk.levels.update(199, 0)
    assert desk.levels.code == NORMAL
    desk.levels.update(200, 0)
    assert desk.levels.code == CRITICAL
    operator(world, "limits_reset", key="risk.day_loss_critical_bps")
    assert desk.levels.limits.day_loss_bps == (300, 500, 650, 800)
    assert desk.levels.code == CRITICAL  # latched until an operator resumes
    desk.levels.update(0, 0)
    operator(world, "resume")
    assert desk.levels.code == NORMAL
    operator(world, "limits_set", key="risk.drawdown_warning_bps", value="1")
    desk.levels.update(0, 1)
    assert desk.levels.code == WARNING


def test_evidence_of_a_quiet_book_is_fetched_for_the_tightened_limit() -> None:
    """With two seconds instead of five, a quiet book's evidence is fetched in time for two."""
    world = World(strategy="none").ready()
    moves(world, 2)
    operator(world, "limits_set", key="risk.evidence_s", value="2")
    oldest_ns = 0
    for _ in range(60):
        world.step()
        oldest_ns = max(oldest_ns, world.mono_ns - world.slot.evidence_mono_ns)
    assert oldest_ns <= 2 * S
    assert world.engine.evidence.ended["agreed"] >= 5


# For one instrument.


def overridden(**fields: Any) -> World:
    """Two instruments, the second with limits of its own."""
    own = {ETH: OverrideConfig(policy=PolicyOverride(**fields), risk=RiskOverride(position_bps_max=100))}
    return World(msgspec.structs.replace(practice_config((BTC, ETH)), overrides=own), strategy="rehearsal").ready()


def test_an_instruments_own_limits_are_its_alone() -> None:
    """An override in the configuration holds for its instrument; the others have the general limit."""
    world = overridden(spread_bps_max=Decimal("0.02"), volume_hour_min=Decimal(500))
    rows = [limits_row(world.cfg, name) for name in (BTC, ETH)]
    assert [int(found["spread_max_mbps"]) for found in rows] == [45_000, 20]
    assert [int(found["position_max_bps"]) for found in rows] == [200, 100]
    moves(world, 5)
    refused = {found["instrument"]: found["first_failing"] for found in view(world).decisions(64)}
    assert refused[ETH] == "spread" and sent(world) == 1  # its spread is 0.03 bps
    assert (row(world, SPREAD)["value"], row(world, SPREAD)["instrument"]) == ("45", None)
    own = row(world, SPREAD, ETH)
    assert (own["value"], own["instrument"], own["source"], own["configured"]) == ("0.02", ETH, "override", "0.02")
    listed = [(found["instrument"], found["key"], found["value"]) for found in view(world).limits() if found["instrument"]]
    assert listed == [(ETH, SPREAD, "0.02"), (ETH, "policy.volume_hour_min", "500"), (ETH, "risk.position_bps_max", "100")]


def test_a_command_for_one_instrument_is_bounded_by_its_own_configuration() -> None:
    """The tightest of override, command for all and command for it holds; it is loosened to its own override at most."""
    world = overridden(spread_bps_max=Decimal(30), volume_hour_min=Decimal(500))
    assert operator(world, "limits_set", key="risk.evidence_s", value="3", instrument=ETH)["value"] == "3"
    assert world.engine.risk.evidence_max_ns == 3 * S  # evidence is fetched in time for the shortest
    assert operator(world, "limits_reset", key="risk.evidence_s", instrument=ETH)["value"] == "5"
    assert world.engine.risk.evidence_max_ns == 5 * S
    refused = operator(world, "limits_set", key=SPREAD, value="31", instrument="eth/usd")
    assert "for ETH/USD is looser" in refused["message"] and "at most 30" in refused["suggestion"]
    assert operator(world, "limits_set", key=SPREAD, value="10", instrument="eth/usd")["value"] == "10"
    assert (row(world, SPREAD)["value"], row(world, SPREAD, BTC)["value"]) == ("45", "45")
    operator(world, "limits_set", key=SPREAD, value="5")
    own = row(world, SPREAD, ETH)
    assert (own["value"], own["asked"], own["source"]) == ("5", "10", "operator")  # the command for all decides
    assert operator(world, "limits_reset", key=SPREAD, instrument=ETH)["ended"] == []
    assert (row(world, SPREAD, ETH)["value"], row(world, SPREAD, BTC)["value"]) == ("5", "5")
    operator(world, "limits_set", key=SPREAD, value="7", instrument=ETH)
    operator(world, "limits_reset", key=SPREAD)
    assert (row(world, SPREAD, ETH)["value"], row(world, SPREAD, BTC)["value"]) == ("30", "45")
    assert world.engine.risk.limits.changes == {}
    # Looser than in general is what the configuration says of a thin coin; a command for all tightens it like any other.
    assert operator(world, "limits_set", key="volume_hour_min", value="600", instrument=ETH)["value"] == "600"
    operator(world, "limits_set", key="volume_hour_min", value="150000")
    assert row(world, "policy.volume_hour_min", ETH)["value"] == "150000"


def test_a_reset_for_all_names_each_instrument_whose_own_ends() -> None:
    """The answer and the log have a row for each of them, the one for all as well; one without an own is not named."""
    world = World(practice_config((BTC, ETH))).ready()
    operator(world, "limits_set", key=POSITION, value="50", instrument=ETH)
    world.engine.notes.clear()
    answer = operator(world, "limits_reset", key=POSITION)
    assert (answer["instrument"], answer["before"], answer["value"]) == (None, "200", "200")
    assert [(own["instrument"], own["before"], own["value"], own["source"]) for own in answer["ended"]] == [
        (ETH, "50", "200", "configuration")]
    told = [(fields["instrument"], fields["before"], fields["value"])
            for _, what, fields in world.engine.notes if what == "limit"]
    assert told == [("all", "200", "200"), (ETH, "50", "200")]
    assert operator(world, "limits_reset", key=POSITION)["ended"] == []


# What keeps them.


def journaled(folder: Path) -> tuple[Path, World]:
    """A session with commands in it: one that stands, one for an instrument, one taken back; and what it decided under them."""
    path = folder / "journal"
    with open_journal(path, folder / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 26, sync_interval_ms=5) as journal:
        world = World(practice_config((BTC, ETH)), strategy="rehearsal", journal=journal).ready()
        moves(world, 2)
        operator(world, "limits_set", key=SPREAD, value="0.02", instrument=ETH, reason="thin")
        operator(world, "limits_set", key="risk.exposure_bps_max", value="1000")
        operator(world, "limits_set", key="risk.day_loss_critical_bps", value="250")
        operator(world, "limits_set", key="policy.price_band_bps_max", value="50")
        moves(world, 3)
        operator(world, "limits_reset", key="policy.price_band_bps_max")
        operator(world, "limits_reload", key="risk.positions_max", value="9", reason="reload")
        moves(world, 3)
        journal.sync()
    return path, world


def limits_of(engine: Engine) -> tuple[Any, ...]:
    """All that the commands made."""
    desk = engine.risk
    return (desk.limits.changes, desk.limits.reloaded, desk.limits.rows(), desk.limits.rows(ETH), desk.levels.limits,
            desk.kill.limits)


def test_replay_decides_the_same_and_keeps_the_limits(tmp_path: Path) -> None:
    """The commands are events: a replay makes every output again, and its digest is the session's."""
    path, world = journaled(tmp_path)
    again = replayed(path)
    assert (again.difference_count, again.differences) == (0, [])
    assert again.engine.recorder.hexdigest() == world.recorder.hexdigest()
    assert limits_of(again.engine) == limits_of(world.engine)
    assert {name: list(own) for name, own in world.engine.risk.limits.changes.items()} == {
        ETH: [SPREAD], "": ["risk.exposure_bps_max", "risk.day_loss_critical_bps"]}
    assert [list(own) for own in again.engine.risk.limits.reloaded.values()] == [["risk.positions_max"]]


def test_a_restart_from_a_checkpoint_keeps_the_limits(tmp_path: Path) -> None:
    """State in a checkpoint, gates' own rows included: what goes on from it refuses as before."""
    path, world = journaled(tmp_path)
    bring_up_to_date(path, None)
    found = recover(path, None)
    assert found.checkpoint is not None and found.replay.difference_count == 0
    assert limits_of(found.engine) == limits_of(world.engine)
    assert session_totals(found.engine) == session_totals(world.engine)
    again = Engine(Recorder(), None)
    checkpoint.restore(again, checkpoint.dump(found.engine))
    boots_again(again)
    assert again.risk.limits.rows()[5]["value"] == "45"
    assert next(r for r in again.risk.limits.rows(ETH) if r["key"] == SPREAD)["value"] == "0.02"


def boots_again(engine: Engine, **sections: dict[str, Any]) -> None:
    """The next start of the daemon, with the same configuration or another."""
    cfg = practice_config((BTC, ETH), **sections)
    engine.core.event(EventKind.EVENT_BOOT, 0, 900 * S, START_NS + 900 * S, boot_payload(cfg, 7, None))
    assert engine.core.fault is None, repr(engine.core.fault)


def test_the_gates_of_the_next_start_go_by_what_holds_then() -> None:
    """The stricter of the configuration and the command is on the rows of the decisions after a start."""
    world = World(strategy="bench").ready()
    operator(world, "limits_set", key=SPREAD, value="0.004")
    for epoch, configured, holds in ((2, "0.003", "0.003"), (3, "45", "0.004"), (4, "0.002", "0.002")):
        world.cfg = practice_config(policy={"spread_bps_max": Decimal(configured)})
        world.boot(epoch)
        moves(world, 3)
        (decision,) = view(world).decisions(1)
        gate = next(gate for gate in decision["gates"] if gate["name"] == "spread")
        assert (gate["limit"], row(world, SPREAD)["value"], row(world, SPREAD)["configured"]) == (holds, holds, configured)
        assert (gate["passed"], decision["config_hash8"]) == (False, world.cfg.config_hash[:8].hex())


def test_another_configuration_at_the_next_start_bounds_what_stands(tmp_path: Path) -> None:
    """A stricter configuration holds, whatever a command asked for before; a looser one does not loosen the command."""
    path, _ = journaled(tmp_path)
    engine = replayed(path).engine
    boots_again(engine, risk={"exposure_bps_max": 900, "day_loss_warning_bps": 240, "day_loss_critical_bps": 600})
    rows = {found["key"]: found for found in engine.risk.limits.rows()}
    assert (rows["risk.exposure_bps_max"]["value"], rows["risk.exposure_bps_max"]["source"]) == ("900", "configuration")
    assert rows["risk.exposure_bps_max"]["asked"] == "1000"
    assert (rows["risk.day_loss_critical_bps"]["value"], rows["risk.day_loss_warning_bps"]["value"]) == ("250", "240")
    boots_again(engine)
    assert next(r for r in engine.risk.limits.rows() if r["key"] == "risk.exposure_bps_max")["value"] == "1000"


def test_a_reload_is_on_record_and_changes_nothing_by_itself(tmp_path: Path) -> None:
    """The limits that a reload tightens are commands of their own: the engine decides as before, and a replay agrees."""
    path = tmp_path / "journal"
    with open_journal(path, tmp_path / "ring", ring_bytes=1 << 24, segment_bytes=1 << 26, sync_interval_ms=5) as journal:
        world = World(strategy="rehearsal", journal=journal).ready()
        rows = world.engine.risk.limits.rows()
        assert operator(world, "reload", config_hash="5f", needs_restart=["account.capital"]) == {"reloaded": "5f"}
        assert world.engine.risk.limits.rows() == rows
        next_order(world)
        world.sound()
    again = replayed(path)
    assert (again.difference_count, again.engine.core.fault) == (0, None)
