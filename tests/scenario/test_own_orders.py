"""A what-if of a journal: which of the daemon's own orders changed limits would not have let out, and what they brought."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_world import BTC, S, World, practice_config

from cstd._fast import image
from cstd._fast.codes import EventKind, IntentKind, Link, Verdict
from cstd._fast.gates import DECISION_DTYPE
from cstd._fast.recorder import Recorder
from cstd._fast.rerun import first_output
from cstd.cli.parser import parse
from cstd.config import from_canonical_json
from cstd.config.limit_keys import LIMIT_KEYS, value_of
from cstd.engine import Engine, checkpoint
from cstd.engine.boot import boot_payload
from cstd.engine.replaying import JournalReplay
from cstd.errors import ConfigError
from cstd.research import own_orders, replay
from cstd.research.own_orders import JudgingEngine, OwnOrders
from cstd.storage.journal import open_journal
from cstd.storage.journal_reader import records
from tests.schemas import assert_fits

ACKNOWLEDGED = (b'{"method":"subscribe","result":{"channel":"book","symbol":"BTC/USD","depth":25,"snapshot":true},"success":true,'
                b'"time_in":"2026-09-21T14:13:35.500000Z","time_out":"2026-09-21T14:13:35.500000Z"}')
BEST_ASK = 1_000_001
WIDE = [(BEST_ASK, 0)]  # the next ask is 7 higher: a spread of 0.08 bps
NARROW = [(BEST_ASK, 5_000_000_000)]  # of 0.01 bps
BETWEEN = "policy.spread_bps_max=0.05"


@contextmanager
def journaled(folder: Path) -> Iterator[Any]:
    """A journal in a folder, on disk when the block ends."""
    with open_journal(folder / "journal", folder / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        yield journal
        journal.sync()


def started(journal: Any, **sections: dict[str, Any]) -> World:
    """A daemon that trades by the rehearsal, whose subscription is acknowledged with its depth."""
    world = World(practice_config(**sections), strategy=None, journal=journal).ready()
    world.public(ACKNOWLEDGED)
    return world


def traded(world: World, name: str, fee: str, sale_fee: str | None = None) -> dict[str, Any]:
    """An opening that is filled; with a fee of a sale also its exit."""
    order = world.first_order()
    order_id = f"OBUY{name}-BBBBB-CCCCCC"
    world.reply(order, order_id)
    world.report("new", order, order_id)
    world.fill(order, order["qty_raw"], f"TB{name}", order_id, fee=fee)
    world.report("filled", order, order_id, cum_qty="1")
    if sale_fee is not None:
        sale = world.exit_order()
        assert sale["price_raw"] == 997_500
        sale_id = f"OSELL{name}-BBBBB-CCCCC"
        world.reply(sale, sale_id)
        world.fill(sale, sale["qty_raw"], f"TS{name}", sale_id, fee=sale_fee)
        world.report("filled", sale, sale_id, cum_qty="1")
    return order


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two openings: the first while the spread is wide, bought and sold; the second while it is narrow, and held at the end."""
    folder = tmp_path_factory.mktemp("two")
    with journaled(folder) as journal:
        world = started(journal)
        world.book(asks=WIDE)
        traded(world, "1", "0.06", "0.05")
        world.book(asks=NARROW)
        world.run(7)
        traded(world, "2", "0.07")
        world.book(bids=[(1_000_000, 0)])  # marked at the next bid, 999993
        world.run(1)
        world.sound()
    return folder


def judged(folder: Path, *assignments: str, beside: tuple[str, ...] = ()) -> dict[str, Any]:
    """The journal's own orders by changed limits."""
    return own_orders.own_orders(folder / "journal", None, assignments, beside)


def amounts(found: dict[str, Any]) -> tuple[Decimal, Decimal, Decimal]:
    """Equity, equity without what falls away, and the difference."""
    return Decimal(found["equity"]), Decimal(found["equity_without"]), Decimal(found["contribution"])


# Bought 0.00025 at 100000.0 for 25; sold at the collar's price of 99750.0, 25 bps below the bid, for 24.9375.
FIRST = Decimal("24.9375") - Decimal("0.05") - Decimal(25) - Decimal("0.06")
# Bought 0.00024999 for 24.999: at the bid of 99999.3 it is 24.998825007.
SECOND = Decimal("24.998825007") - Decimal("24.999") - Decimal("0.07")


def test_the_order_that_a_tighter_limit_refuses_is_named_with_what_it_brought(two: Path) -> None:
    """Exactly the opening of the wide spread falls away; its purchase, its sale and both fees go with it."""
    found = judged(two, BETWEEN)
    assert (found["sent"], found["as_sent"], found["not_sent"], found["reduced"], found["pulled"]) == (3, 2, 1, 0, 0)
    (row,) = found["orders"]
    assert (row["outcome"], row["gate"], row["reason"]) == ("not_sent", "spread", "over_limit")
    assert (row["key"], row["value"], row["limit"], row["unit"]) == ("policy.spread_bps_max", "0.08", "0.05", "bps")
    assert (row["kind"], row["side"], row["price"], row["qty"]) == ("opening", "buy", "100000.0", "0.00025000")
    assert (row["filled"], row["stays"]) == ("0.00025000", "0.00000000")
    equity, without, brought = amounts(found)
    assert Decimal(row["contribution"]) == brought == FIRST
    assert equity == (10_000 + FIRST + SECOND).quantize(Decimal("1e-8"), "ROUND_FLOOR") and without == equity - FIRST


def test_what_is_still_held_is_marked_at_the_last_verified_bid(two: Path) -> None:
    """One opening an hour: the second falls away, and with it the mark of what is held at the end."""
    found = judged(two, "policy.parents_per_instrument_hour_max=1")
    (row,) = found["orders"]
    assert (row["gate"], row["reason"], row["value"], row["limit"]) == ("idempotency", "instrument_rate", "2", "1")
    assert Decimal(row["contribution"]) == SECOND.quantize(Decimal("1e-8"))
    assert abs(Decimal(found["contribution"]) - SECOND) < Decimal("1e-8"), "the difference of two marks, each rounded down"
    both = judged(two, "policy.spread_bps_max=0.005")
    assert both["not_sent"] == 2 and [row["gate"] for row in both["orders"]] == ["spread", "spread"]
    assert amounts(both)[1] == 10_000, "without any order the capital is what it was"


def test_a_smaller_order_brings_its_part(two: Path) -> None:
    """Less of a position: what a gate would have cut falls away in proportion, fees included."""
    found = judged(two, "risk.position_bps_max=20", beside=("strategy.rehearsal.size_frac=0.002",))
    assert found["reduced"] == 2 and found["not_sent"] == 0
    first = found["orders"][0]
    assert (first["outcome"], first["gate"], first["stays"]) == ("reduced", "position_size", "0.00020000")
    assert Decimal(first["contribution"]) == FIRST / 5, "a fifth of the purchase, of its sale and of both fees"


def test_each_limit_at_its_own_value_changes_nothing(two: Path) -> None:
    """Every key of the gates, told again as it was: no order falls away, is smaller, larger, or comes to be."""
    cfg = practice_config()
    for assignments in ([f"{limit.key}={value_of(cfg, limit.key)}"] for limit in LIMIT_KEYS):
        found = judged(two, *assignments)
        assert (found["as_sent"], found["let_out"], found["orders"]) == (3, 0, []), assignments
        assert found["equity"] == found["equity_without"] and Decimal(found["contribution"]) == 0


def test_a_looser_limit_takes_nothing_away_and_counts_what_it_lets_out(tmp_path: Path) -> None:
    """Refused wishes are counted; what they had come to nobody knows."""
    with journaled(tmp_path) as journal:
        world = started(journal, policy={"spread_bps_max": Decimal("0.05")})
        world.book(asks=WIDE)
        for _ in range(40):
            world.step()
            world.tick()
        assert not world.live() and world.counters()["refused"] > 0
    assert judged(tmp_path, "policy.spread_bps_max=0.06")["let_out"] == 0
    found = judged(tmp_path, "policy.spread_bps_max=0.09")
    assert found["let_out"] == world.counters()["refused"] and (found["sent"], found["orders"]) == (0, [])
    assert "none was sent" in own_orders.text(found) and "let out" in own_orders.text(found)


def test_an_order_that_rests_is_pulled_where_the_changed_limit_refuses_it(tmp_path: Path) -> None:
    """Half is filled while the spread is narrow: that stays; what was filled after it had widened falls away."""
    with journaled(tmp_path) as journal:
        world = started(journal)
        order = world.first_order()
        world.reply(order)
        world.report("new", order)
        world.fill(order, 10_000, "T1", fee="0.02")
        world.step()
        world.book(asks=WIDE)
        assert world.live(IntentKind.OPENING), "the limit as it is lets it rest"
        world.fill(order, order["qty_raw"] - 10_000, "T2", fee="0.03")
        world.report("filled", order, cum_qty="1")
        world.run(1)
    found = judged(tmp_path, BETWEEN)
    (row,) = found["orders"]
    assert (found["pulled"], row["outcome"], row["gate"], row["stays"]) == (1, "pulled", "spread", "0.00010000")
    assert row["at_utc"] > row["utc"] and "pulled at" in own_orders.text(found)
    assert Decimal(row["contribution"]) == Decimal("-0.03"), "bought at the bid that it is marked by: the fee alone"
    assert judged(tmp_path, "policy.spread_bps_max=0.08")["orders"] == []


def test_an_operators_tighter_limit_stays_in_force(tmp_path: Path) -> None:
    """What a command tightened is as tight under the changed configuration."""
    with journaled(tmp_path) as journal:
        world = started(journal)
        world.book(asks=WIDE)
        world.command("limits_set", key="policy.spread_bps_max", value="0.05")
        for _ in range(40):
            world.step()
            world.tick()
        assert not world.live() and world.counters()["refused"] > 0
    assert judged(tmp_path, "policy.spread_bps_max=100")["let_out"] == 0
    assert judged(tmp_path, "policy.depth_value_min=1")["let_out"] == 0


def test_the_second_judgement_leaves_the_replay_as_it_was(two: Path) -> None:
    """State and digest of an engine that judges twice are those of one that judges once, whatever it is asked for."""
    plain, twice = JournalReplay(Engine(Recorder(), None)), JournalReplay(JudgingEngine(Recorder(), None))
    assert isinstance(twice.engine, JudgingEngine)
    own = OwnOrders([BETWEEN], [], twice.engine)
    own.begin()
    for record in records(two / "journal"):
        for each in (plain, twice):
            each.take([record])
        own.take()
        if record.kind < first_output and record.seq % 7 == 0 and plain.engine.cfg is not None:
            assert image.dump(twice.engine.core) == image.dump(plain.engine.core), record.seq
    assert twice.difference_count == 0 and twice.engine.recorder.hexdigest() == plain.engine.recorder.hexdigest()
    assert own.result(1) == judged(two, BETWEEN)


def first_decision(world: World) -> np.void:
    """Let time pass until the first wish was judged."""
    world.public(ACKNOWLEDGED)
    world.book(asks=WIDE)
    for _ in range(80):
        for kind, _, payload in world.recorder.captured:
            if kind == EventKind.OUT_DECISION:
                return np.frombuffer(payload, DECISION_DTYPE)[0]
        world.step()
        world.tick()
    raise AssertionError("nothing was wished for")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal up to its first order."""
    folder = tmp_path_factory.mktemp("one")
    with journaled(folder) as journal:
        assert first_decision(World(strategy=None, journal=journal).ready())["order_slot"] == 0
    return folder


@pytest.mark.parametrize(("assignment", "verdict"), [
    (BETWEEN, "REFUSE"), ("policy.spread_bps_max=0.08", "APPROVE"), ("policy.depth_value_min=999999999", "REFUSE"),
    ("policy.depth_multiple_min=1000", "APPROVE"), ("policy.volume_hour_min=99999999", "REFUSE"),
    ("policy.markout_allowance_bps=24.999", "REFUSE"), ("policy.deadline_ms=1000", "APPROVE"),
    ("policy.turnover_equity_multiple_max=0.02", "APPROVE"), ("policy.price_band_bps_max=0.001", "REFUSE"),
    ("policy.depth_band_bps=0.05", "APPROVE"), ("policy.volume_minute_frac_max=0.0001", "APPROVE"),
    (f"overrides.{BTC}.policy.spread_bps_max=0.05", "REFUSE"), ("risk.clock_offset_ms_max=1", "APPROVE")])
def test_a_daemon_with_the_changed_limit_judges_its_first_wish_so(one: Path, assignment: str, verdict: str) -> None:
    """What the gates say beside the replay is, byte for byte, what they say in a daemon that was started with that limit."""
    changed = from_canonical_json(practice_config().to_canonical_json(), [assignment])
    theirs = first_decision(World(changed, strategy=None).ready())
    replayed = JournalReplay(JudgingEngine(Recorder(), None))
    assert isinstance(replayed.engine, JudgingEngine)
    OwnOrders([assignment], [], replayed.engine).begin()
    replayed.take(list(records(one / "journal")))
    ((_, ours),) = replayed.engine.core.take_sent()
    judged_by_gates = DECISION_DTYPE.fields["event_seq"][1]
    assert ours[:judged_by_gates] == theirs.tobytes()[:judged_by_gates]
    assert Verdict(int(theirs["verdict"])).name == verdict


def test_a_replay_that_begins_with_a_checkpoint_judges_what_comes_after_it(two: Path) -> None:
    """Behind the first sale: the second opening alone is looked at, by what holds from the checkpoint on."""
    before = JournalReplay(Engine(Recorder(), None))
    given = list(records(two / "journal"))
    at = next(at for at, record in enumerate(given) if record.kind == EventKind.OUT_LEDGER and b"TS1" in record.payload) + 1
    while given[at].kind >= first_output:
        at += 1
    before.take(given[:at])
    engine = JudgingEngine(Recorder(), None)
    after = JournalReplay(engine)
    engine.recorder.captured = checkpoint.restore(engine, checkpoint.dump(before.engine))
    own = OwnOrders(["policy.spread_bps_max=0.005"], [], engine)
    own.begin()
    after.take(given[at:])
    own.take()
    found = own.result(given[at].seq)
    assert (after.difference_count, found["sent"], found["not_sent"], found["first_seq"]) == (0, 1, 1, given[at].seq)
    assert Decimal(found["orders"][0]["contribution"]) == SECOND.quantize(Decimal("1e-8"))
    assert amounts(found)[1] == 10_000 + FIRST


def test_each_start_is_judged_by_its_own_configuration_with_the_change_in_it(tmp_path: Path) -> None:
    """The second start's own limit stays where the change is another's; a start that does not take the change is told."""
    with journaled(tmp_path) as journal:
        world = started(journal)
        world.book(asks=WIDE)
        traded(world, "1", "0", "0")
        world.cfg = practice_config(policy={"spread_bps_max": Decimal("0.05"), "exit_cost_bps_max": Decimal(10)})
        world.boot(epoch=2)
        for _ in range(40):
            world.step()
            world.tick()
        assert not world.live() and world.counters()["refused"] > 0
    found = judged(tmp_path, "policy.depth_value_min=1")
    assert (found["as_sent"], found["let_out"]) == (2, 0)
    found = judged(tmp_path, "policy.spread_bps_max=0.06")
    assert (found["not_sent"], found["let_out"]) == (1, 0)
    # 20 bps of markouts is less than the first start's budget, and not than the second's.
    with pytest.raises(ConfigError, match="leaves nothing"):
        judged(tmp_path, "policy.markout_allowance_bps=20")


def test_keys_that_no_gate_compares_with_are_told_apart(two: Path) -> None:
    """When and how an exit goes is no matter of a gate: the order is judged at the price that it had."""
    found = judged(two, "exits.collar_steps_bps=[1,2]", "exits.collar_urgent_bps=2", "exits.blind_collar_bps=2", BETWEEN)
    assert found["not_judged"] == ["exits.collar_steps_bps=[1,2]", "exits.collar_urgent_bps=2", "exits.blind_collar_bps=2"]
    assert found["orders"] == judged(two, BETWEEN)["orders"]
    assert "no gate compares with exits.collar_steps_bps" in own_orders.text(found)


def test_an_instruments_own_limit_and_the_deadline_are_judged(two: Path) -> None:
    """An override is a limit, and so is what the gates are told beside them: the deadline, the allowance for markouts."""
    assert judged(two, f"overrides.{BTC}.policy.spread_bps_max=0.05")["not_sent"] == 1
    assert judged(two, "policy.deadline_ms=1000")["orders"] == []
    assert judged(two, "policy.markout_allowance_bps=24.999")["not_sent"] == 2


def test_the_command_prints_both_answers(two: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The market traded anew, and the journal's own orders; as a table and as JSON."""
    row = replay.replay_path(two, None, check=False, assignments=[BETWEEN])
    assert_fits("replay", row)
    assert row["own_orders"] == judged(two, BETWEEN) and row["what_if"]["changed"] == [BETWEEN]
    monkeypatch.setattr(replay, "load_agents", lambda: None)
    args = parse(["replay", str(two), "--set", BETWEEN, "-o", "table"])
    assert args is not None and replay.main(args) == 0
    printed = capsys.readouterr().out
    assert "each judged by itself" in printed and "not sent by spread (over limit): 0.08 bps, limit 0.05" in printed
    assert "own_orders" not in replay.replay_path(two, None, check=False, assignments=["simulated_venue.feed_ns=0"])


@pytest.mark.parametrize("wrong", ["policy.no_such=1", "policy.spread_bps_max=x", "risk.position_bps_max=9999",
                                   "exits.no_such=1"])
def test_a_change_that_no_configuration_takes_is_refused(two: Path, wrong: str) -> None:
    """An unknown key, no number, and limits that contradict each other."""
    for call in (lambda: judged(two, wrong), lambda: replay.replay_path(two, None, check=False, assignments=[wrong])):
        with pytest.raises(ConfigError):
            call()


def test_a_journal_that_does_not_come_out_again_is_not_judged(tmp_path: Path, two: Path,
                                                              capsys: pytest.CaptureFixture[str]) -> None:
    """Its market is traded anew all the same, and why the rest is missing is told."""
    with journaled(tmp_path) as journal:
        cfg = practice_config()
        journal.append_py(EventKind.EVENT_BOOT, 0, S, S, boot_payload(cfg, 1, None))
        journal.append_py(EventKind.EVENT_FRAME, Link.LINK_PUBLIC, 2 * S, 2 * S, ACKNOWLEDGED)
        journal.append_py(EventKind.OUT_DECISION, 0, 2 * S, 2 * S, b"another")
    row = replay.replay_path(tmp_path, None, check=False, assignments=[BETWEEN])
    assert_fits("replay", row)
    assert row["own_orders"] is None and "does not come out again" in row["own_orders_refused"]
    assert "does not come out again" in capsys.readouterr().err and "what_if" in row
