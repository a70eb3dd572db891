"""A user's own strategy: its wishes pass the gates, its faults stop its openings, a journal is replayed with its very code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from engine_world import S, World, replayed
from own_strategies import FAILURES, SOURCE, built, own_config

from cstd._fast.codes import IntentKind, OrderAction
from cstd.cli.parser import parse
from cstd.daemon.checkpointer import bring_up_to_date
from cstd.decision.setup import STRATEGY_CODES
from cstd.engine.recovery import begin, recover
from cstd.errors import ConfigError, VerificationError
from cstd.research import replay
from cstd.signals.agents.build import build
from cstd.signals.agents.loader import LoadedStrategy, load, load_strategy
from cstd.signals.code import MissingCodeError, code_dir, code_of, keep
from cstd.storage.journal import open_journal
from cstd.storage.journal_reader import records
from tests.strategies import guide, ordinary_build


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests' strategy, built once."""
    return built(tmp_path_factory.mktemp("own"), "turns", SOURCE)


@pytest.fixture(scope="module")
def own(folder: Path) -> LoadedStrategy:
    """The same, loaded."""
    return load_strategy(folder)


def world_of(folder: Path, own: LoadedStrategy, journal: Any = None, **params: int) -> World:
    """A ready engine with the strategy."""
    return World(own_config(folder, **params), strategy="own", own=own, journal=journal).ready()


def turn(world: World, number: int) -> None:
    """One round trip: an opening that is filled, and the exit that the strategy wishes for."""
    opening = world.first_order()
    bought = f"OBUY{number:02}-BBBBB-CCCCCC"
    world.reply(opening, bought)
    world.report("new", opening, bought)
    world.fill(opening, opening["qty_raw"], f"TB{number}", bought)
    world.report("filled", opening, bought, cum_qty="1")
    sale = world.exit_order()
    sold = f"OSELL{number}-BBBBB-CCCCCC"
    world.reply(sale, sold)
    world.fill(sale, sale["qty_raw"], f"TS{number}", sold)
    world.report("filled", sale, sold, cum_qty="1")
    world.step()


def fail_for(world: World, passes: int) -> None:
    """Time for so many passes, each with a new book."""
    for _ in range(passes):
        world.step(0.3)
        world.tick()


def test_it_opens_and_exits_through_the_gates(folder: Path, own: LoadedStrategy) -> None:
    """Two round trips: quantity by its share of equity, price, life and episode as wished, each decision under its code."""
    world = world_of(folder, own)
    opening = world.first_order()
    assert (opening["price_raw"], opening["episode"], opening["strategy"]) == (1_000_000, 1, 4)
    # 0.25 % of 10,000 USD at 100,000.0: 0.00025 BTC
    assert opening["qty_raw"] == 25_000
    assert opening["expire_wall_ns"] - opening["sent_wall_ns"] == 5 * S
    world.reply(opening)
    world.report("new", opening)
    world.fill(opening, opening["qty_raw"], "TB")
    world.report("filled", opening, cum_qty="1")
    sale = world.exit_order()
    assert (sale["kind"], sale["qty_raw"]) == (IntentKind.EXIT, 25_000)
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 2
    assert STRATEGY_CODES["own"] == sale["strategy"]
    world.sound()


def test_a_gate_refuses_its_wish_as_any_other(folder: Path, own: LoadedStrategy) -> None:
    """A size beyond the position limit is reduced or refused, never sent whole; paused, nothing opens."""
    world = world_of(folder, own, size_ppm=900_000)
    fail_for(world, 20)
    assert world.counters()["intents"] > 0
    for order in world.live():
        assert order["qty_raw"] <= 2_000_000, "2 % of equity at most"
    paused = world_of(folder, own)
    paused.command("pause")
    fail_for(paused, 20)
    assert paused.counters()["orders"] == 0 and paused.counters()["refused"] > 0


def test_it_cannot_sell_what_is_not_the_daemons(folder: Path, own: LoadedStrategy) -> None:
    """An exit of a thousand times the position leaves as the position, or not at all."""
    world = world_of(folder, own, fails=10, from_pass=1)
    opening = world.first_order()
    world.reply(opening)
    world.report("new", opening)
    world.fill(opening, opening["qty_raw"], "TB")
    world.report("filled", opening, cum_qty="1")
    fail_for(world, 40)
    assert world.counters()["refused"] + world.counters()["reduced"] > 0
    assert all(order["qty_raw"] <= opening["qty_raw"] for order in world.live(IntentKind.EXIT))
    assert world.slot.strategy_faults == 0


def test_parameters_of_the_configuration_replace_defaults(folder: Path, own: LoadedStrategy) -> None:
    """Half the size and another life."""
    world = world_of(folder, own, size_ppm=1_250, lifetime_s=9)
    opening = world.first_order()
    assert (opening["qty_raw"], opening["expire_wall_ns"] - opening["sent_wall_ns"]) == (12_500, 9 * S)


@pytest.mark.parametrize("fails", FAILURES, ids=FAILURES.values())
def test_faults_stop_its_openings_and_are_said_once(folder: Path, own: LoadedStrategy, fails: int) -> None:
    """Each is counted and is no wish; the first and the third are said, and nothing fails but the strategy."""
    world = world_of(folder, own, fails=fails)
    fail_for(world, 12)
    assert world.counters()["orders"] == 0
    assert world.counters()["strategy_faults"] == world.slot.strategy_faults >= 3
    assert world.slot.strategy_fault_run == 3
    said = [(event, fields["faults"]) for _, event, fields in world.engine.notes if event.startswith("strategy fault")]
    assert said == [("strategy fault", 1), ("strategy fault: its openings stop until the next start", 3)]
    world.sound()


def test_the_breaker_pulls_openings_and_leaves_flatten_alone(folder: Path, own: LoadedStrategy) -> None:
    """It holds, an opening rests, and it begins to raise: the opening is canceled; flatten sells; the next start begins anew."""
    world = world_of(folder, own, fails=1, from_pass=60)
    opening = world.first_order()
    world.reply(opening)
    world.report("new", opening)
    world.fill(opening, opening["qty_raw"] // 2, "TB")
    canceled = len(world.order_frames(OrderAction.ACTION_CANCEL))
    while world.slot.strategy_fault_run < 3:
        world.step(0.05)
        world.tick()
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == canceled + 1
    world.report("canceled", opening, cum_qty="0.000125")
    world.command("flatten")
    assert world.exit_order()["qty_raw"] == opening["qty_raw"] // 2
    world.boot(epoch=2)
    assert world.slot.strategy_fault_run < 3


def test_faults_between_sound_wishes_do_not_stop_it(folder: Path, own: LoadedStrategy) -> None:
    """Two faults, then a wish that breaks no rule, over and over: all are counted and it goes on."""
    world = world_of(folder, own, fails=11)
    opening = world.first_order()
    assert world.slot.strategy_faults == 2
    world.reply(opening)
    world.report("canceled", opening, cum_qty="0")
    assert world.first_order()["episode"] == 2
    assert (world.slot.strategy_faults, world.slot.strategy_fault_run) == (4, 0)


def test_silence_between_faults_is_no_sound_wish(folder: Path, own: LoadedStrategy) -> None:
    """It fails at each wish and says nothing for a second after each: the third stops it."""
    world = world_of(folder, own, fails=12)
    fail_for(world, 30)
    assert world.slot.strategy_faults > 3 and world.slot.strategy_fault_run == 3
    assert world.counters()["orders"] == 0


@pytest.fixture
def journaled(tmp_path: Path, folder: Path, own: LoadedStrategy) -> tuple[World, Path]:
    """Two round trips and their journal, with the code that decided beside it."""
    journal_dir = tmp_path / "run" / "journal"
    with open_journal(journal_dir, tmp_path / "run" / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        keep(journal_dir, [own])
        world = world_of(folder, own, journal)
        turn(world, 1)
        turn(world, 2)
        journal.sync()
    return world, journal_dir


@pytest.fixture(autouse=True)
def _no_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sessions of these tests have no agents, so their replays load none."""
    monkeypatch.setattr(replay, "load_agents", lambda: None)


def replay_check(path: Path) -> int:
    """Run the verb with --check."""
    args = parse(["replay", str(path), "--check"])
    assert args is not None
    return replay.main(args)


def test_its_journal_replays_without_a_difference(journaled: tuple[World, Path], own: LoadedStrategy,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    """Every decision is made again by the kept copy, which the boot event names; recovery goes on with the state it had."""
    world, path = journaled
    boot = json.loads(bytes(next(iter(records(path))).payload))
    assert boot["strategy"] == {"name": "turns", "sha256": own.sha256, "params": own.params}
    assert replay_check(path.parent) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["differences"], row["fills"], row["digest"]) == (0, 4, world.recorder.hexdigest())
    found = recover(path, None)
    assert found.engine.own is not None and found.engine.own.name == "turns"
    assert not found.replay.difference_count and not found.replay.missing
    assert replayed(path).difference_count == 0


def test_missing_or_changed_code_is_refused(journaled: tuple[World, Path], own: LoadedStrategy,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    """With the hash that is wanted and what to do: a verification error, never another decision and no traceback."""
    _, path = journaled
    kept = code_dir(path) / f"{own.sha256}.so"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(MissingCodeError, match="so_sha256"):
        recover(path, None)
    assert replay_check(path) == 3
    said = capsys.readouterr().err
    assert own.sha256[:16] in said and "bring" in said
    kept.unlink()
    with pytest.raises(VerificationError, match="is not there"):
        recover(path, None)
    keep(path, [own])
    assert replay_check(path) == 0


def test_another_strategy_goes_on_in_the_same_journal(folder: Path, own: LoadedStrategy, tmp_path: Path) -> None:
    """The next start runs another object: it begins with an empty state, episodes go on, and both parts replay."""
    other_folder = built(tmp_path, "other", SOURCE.replace('"turns"', '"other"'))
    other = load_strategy(other_folder)
    assert other.sha256 != own.sha256
    path = tmp_path / "run" / "journal"
    with open_journal(path, tmp_path / "run" / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        keep(path, [own, other])
        world = world_of(folder, own, journal)
        turn(world, 1)
        second = world.first_order()
        world.reply(second, "OBUY02-BBBBB-CCCCCC")
        world.report("canceled", second, "OBUY02-BBBBB-CCCCCC", cum_qty="0")
        world.engine.code = code_of(path)
        world.cfg, world.own = own_config(other_folder), other
        world.boot(epoch=2)
        assert world.engine.own is not None and world.engine.own.sha256 == other.sha256
        assert world.first_order()["episode"] == 3
        journal.sync()
    assert replay_check(path.parent) == 0
    found = recover(path, None)
    assert found.engine.own is not None and found.engine.own.name == "other" and not found.replay.difference_count


def test_other_agents_go_on_in_the_same_journal(folder: Path, own: LoadedStrategy, tmp_path: Path) -> None:
    """A start with other agents, and one without: votes of those before are forgotten, and each part replays with its own."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "thin_ask.py").write_text(guide("agents.md"))
    with ordinary_build():
        build(tmp_path / "src", tmp_path / "built")
    first, second = load(), load(tmp_path / "built")
    path = tmp_path / "run" / "journal"
    with open_journal(path, tmp_path / "run" / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        keep(path, [own, first, second])
        world = World(own_config(folder), strategy="own", own=own, agents=first, journal=journal).ready()
        fail_for(world, 20)
        assert len(world.core.votes(0)) == 2
        world.engine.code, world.agents = code_of(path), second
        world.boot(epoch=2)
        fail_for(world, 4)
        assert world.engine.agents is not None and world.engine.agents.names == ["thin_ask"]
        assert len(world.core.votes(0)) == 1
        journal.sync()
    assert replay.replay_path(path, first, check=True)["differences"] == 0
    assert recover(path, second).engine.agents.names == ["thin_ask"]
    (code_dir(path) / f"{second.sha256}.json").unlink()
    with pytest.raises(MissingCodeError, match="agents differ"):
        recover(path, first)


def test_a_recording_is_replayed_with_it(data_dir: Path, folder: Path) -> None:
    """By `--set`, as any key; twice the same digest, and another one than the built-in strategy's."""
    path = data_dir / "recordings" / "kraken-v2-btcusd-d25-20260802.jsonl.zst"
    named = ["strategy.name=own", f"strategy.own.dir={folder}", "strategy.own.params.hold_s=1"]
    rows = [replay.replay_path(path, None, check=False, assignments=named) for _ in range(2)]
    assert rows[0]["intents"] > 0 and rows[0]["digest"] == rows[1]["digest"]
    assert rows[0]["digest"] != replay.replay_path(path, None, check=False)["digest"]
    with pytest.raises(ConfigError, match="hold"):
        replay.replay_path(path, None, check=False, assignments=[*named, "strategy.own.params.hld_s=1"])


def test_a_checkpoint_goes_on_with_it(journaled: tuple[World, Path], own: LoadedStrategy) -> None:
    """The state of an engine with the strategy is taken up again with the kept copy, and not without it."""
    _, path = journaled
    assert bring_up_to_date(path, None)["seq"] > 0
    found = recover(path, None)
    assert found.checkpoint is not None and not found.unusable
    assert found.engine.own is not None and found.engine.own.sha256 == own.sha256
    (code_dir(path) / f"{own.sha256}.so").unlink()
    unusable = begin(path, None).unusable
    assert len(unusable) == 1 and "is not there" in unusable[0]
