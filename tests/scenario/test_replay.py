"""Replay: the same bytes give the same digest, and a journal is believed only if every output is made again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from engine_world import BTC, S, World

from cstd import __version__
from cstd._fast.codes import EventKind, Link, OrderAction
from cstd._fast.recorder import Recorder
from cstd.cli.parser import parse
from cstd.engine import Engine
from cstd.engine.replaying import JournalReplay
from cstd.errors import UsageError, VerificationError
from cstd.research import replay
from cstd.storage.journal import open_journal
from cstd.storage.journal_reader import record_batches, records

RECORDINGS = {
    "kraken-v2-btcusd-d25-20260802": 2052,
    "kraken-v2-ethusd-xrpusd-d25-20260802": 2276,
    "kraken-v2-btcusd-d10-20260801": 301,
    "kraken-v1-spot-20210405": 14_496,
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_replays_to_the_same_digest_each_time(data_dir: Path, name: str) -> None:
    """Three replays agree in every figure and in the digest; all checksums are right, and there are intents."""
    path = data_dir / "recordings" / f"{name}.jsonl.zst"
    rows = [replay.replay_path(path, None, check=False) for _ in range(3)]
    for row in rows:
        del row["frames_per_s"]
    assert rows[0] == rows[1] == rows[2]
    assert (rows[0]["checksums_ok"], rows[0]["checksums_bad"]) == (RECORDINGS[name], 0)
    assert rows[0]["intents"] > 0 and rows[0]["orders"] == 0
    assert len(rows[0]["digest"]) == 64


def test_the_digest_depends_on_every_level(data_dir: Path) -> None:
    """One quantity of one far level changed in one frame gives another digest, and a bad checksum where it is covered."""
    path = data_dir / "recordings" / "kraken-v2-btcusd-d10-20260801.jsonl.zst"
    digests = []
    for change in (False, True):
        engine, frames = replay.start_recording(path, None)
        target = [at for at, (_, text) in enumerate(frames) if b'"type":"update"' in text and b'"qty":' in text][40]
        for at, (recv_ns, text) in enumerate(frames):
            if change and at == target:
                head, _, tail = text.rpartition(b'"qty":')
                text = head + b'"qty":9' + tail
            engine.core.frame(Link.LINK_PUBLIC, text, recv_ns, recv_ns)
            engine.core.batch_end(Link.LINK_PUBLIC, recv_ns, recv_ns)
        digests.append(engine.recorder.hexdigest())
    assert digests[0] != digests[1]


def test_the_futures_recording_verifies_its_sequences(data_dir: Path) -> None:
    """Every sequence number of the futures recording follows the one before."""
    row = replay.replay_path(data_dir / "recordings" / "kraken-futures-v1-20210722.jsonl.zst", None, check=False)
    assert (row["sequences_ok"], row["sequences_bad"]) == (7014, 0)


# Journals.


def session(journal: Any) -> World:
    """A scripted session: an opening that fills, its exit, a cancel, commands, a lost link, a second boot."""
    world = World(strategy=None, journal=journal).ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    exit_order = world.exit_order()
    world.reply(exit_order, "OEXIT1-AAAAA-AAAAAA")
    world.fill(exit_order, exit_order["qty_raw"], "T2", "OEXIT1-AAAAA-AAAAAA")
    world.run(6)
    world.tick()
    world.command("pause")
    world.command("resume")
    world.public(world.books[BTC].frame("update", [(999_000, 1)], [], world.now_ns, checksum=1))
    world.public(b"not json", b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":1}]}')
    world.link(Link.LINK_PRIVATE, up=False, reason="test")
    world.step()
    world.link(Link.LINK_PRIVATE, up=True)
    world.run(8)
    world.boot(epoch=2)
    world.run(8)
    for _ in range(8):
        world.tick()
        world.step()
    world.sound()
    assert world.counters()["orders"] >= 3 and len(world.engine.ledger.fills) == 2
    return world


@pytest.fixture
def journaled(tmp_path: Path) -> tuple[World, Path]:
    """A scripted session and the journal it wrote."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        world = session(journal)
        journal.sync()
    return world, tmp_path / "journal"


@pytest.fixture(autouse=True)
def _no_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sessions of these tests have no agents, so their replays load none."""
    monkeypatch.setattr(replay, "load_agents", lambda: None)


def run_main(path: Path, *, check: bool) -> int:
    """The verb on one input, without agents as in the session."""
    args = parse(["replay", str(path), *(["--check"] if check else [])])
    assert args is not None
    return replay.main(args)


def test_a_journal_replays_without_a_difference(journaled: tuple[World, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Every decision, order frame, ledger row and state of the session is made again, byte for byte; totals agree."""
    world, path = journaled
    code = run_main(path, check=True)
    row = json.loads(capsys.readouterr().out)
    assert (code, row["differences"]) == (0, 0)
    assert row["digest"] == world.recorder.hexdigest()
    counters = world.counters()
    assert {key: row[key] for key in ("frames", "intents", "orders", "resyncs")} == {
        key: counters[key] for key in ("frames", "intents", "orders", "resyncs")}
    assert row["fills"] == 2
    assert row["checksums_bad"] == 1, "the venue's, which the session refused and the replay does: no difference"


def test_the_journal_holds_every_output_before_it_took_effect(journaled: tuple[World, Path]) -> None:
    """Each order frame in the journal follows the event that caused it, and all that were captured are there."""
    world, path = journaled
    kinds = [(kind, tag, bytes(payload)) for _, kind, tag, _, _, payload in records(path)]
    outputs = [row for row in kinds if row[0] >= 64]
    assert outputs == world.recorder.captured
    assert kinds[0][0] == EventKind.EVENT_BOOT


def test_one_flipped_byte_is_found_and_located(journaled: tuple[World, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A byte changed anywhere in the file ends the replay with exit 3 and words that name the place."""
    _, path = journaled
    (segment,) = path.glob("segment-*.cstd")
    whole = segment.read_bytes()
    used = len(whole.rstrip(b"\0"))
    for at in (used // 3, used // 2, used - 200):
        broken = bytearray(whole)
        broken[at] ^= 0x10
        segment.write_bytes(bytes(broken))
        code = run_main(path, check=True)
        captured = capsys.readouterr()
        assert code == 3
        assert segment.name in captured.err
    segment.write_bytes(whole)
    assert run_main(path, check=True) == 0


def rewritten(path: Path, into: Path, change: Any) -> Path:
    """A journal of the same records with some changed or left out, whole in itself: its chain proves it."""
    with open_journal(into, into.with_suffix(".ring"), ring_bytes=1 << 24, segment_bytes=1 << 24,
                      sync_interval_ms=20) as journal:
        for record in records(path):
            row = change(record.seq, record.kind, record.payload)
            if row is not None:
                journal.append_py(record.kind, record.tag, record.mono_ns, record.wall_ns, row)
        journal.sync()
    return into


def refed(path: Path, change: Any) -> JournalReplay:
    """Feed a journal to a fresh engine with some records changed or left out."""
    again = JournalReplay(Engine(Recorder(), None))
    for batch in record_batches(rewritten(path, path.with_name("changed"), change)):
        again.take(batch)
    return again


@pytest.mark.parametrize("kind", [EventKind.OUT_DECISION, EventKind.OUT_ORDER_FRAME, EventKind.OUT_LEDGER, EventKind.OUT_STATE])
def test_a_changed_output_is_reported(journaled: tuple[World, Path], kind: EventKind) -> None:
    """One changed byte in one decision, order frame, ledger row or state is one difference, with the record's number."""
    _, path = journaled
    target = next(seq for seq, found, *_ in records(path) if found == kind)
    again = refed(path, lambda seq, _, data: bytes([data[0] ^ 1]) + data[1:] if seq == target else data)
    assert again.difference_count == 1
    assert again.differences == [f"record {target}: output of kind {int(kind)} differs (the engine makes kind {int(kind)})"]


def test_a_missing_output_is_reported(journaled: tuple[World, Path]) -> None:
    """An order frame that the journal does not hold is a difference: nothing was sent that was not recorded."""
    _, path = journaled
    target = next(seq for seq, found, *_ in records(path) if found == EventKind.OUT_ORDER_FRAME)
    again = refed(path, lambda seq, _, data: None if seq == target else data)
    assert again.difference_count > 0
    assert again.differences[0].startswith("record ")


def test_a_missing_event_is_reported(journaled: tuple[World, Path]) -> None:
    """A frame left out leads to other decisions, and that is a difference."""
    _, path = journaled
    books = [seq for seq, kind, _, _, _, payload in records(path)
             if kind == EventKind.EVENT_FRAME and b'"channel":"book","type":"snapshot"' in bytes(payload)[:60]]
    again = refed(path, lambda seq, _, data: None if seq == books[0] else data)
    assert again.difference_count > 0


def test_the_run_goes_on_where_recovery_ended(journaled: tuple[World, Path]) -> None:
    """A fresh engine fed with the journal stands where the first one stood: positions, orders, figures, next id."""
    world, path = journaled
    again = refed(path, lambda _seq, _kind, data: data)
    ours, theirs = world.engine, again.engine
    assert not again.missing
    assert theirs.state == ours.state
    assert theirs.ledger.fills == ours.ledger.fills
    assert theirs.ledger.cash_flow == ours.ledger.cash_flow
    assert [theirs.core.order(i) for i in theirs.core.live_orders()] == [ours.core.order(i) for i in ours.core.live_orders()]
    assert theirs.core.counter_values() == ours.core.counter_values()
    assert theirs.core.intent_seq == ours.core.intent_seq
    assert theirs.reconciler.own == ours.reconciler.own


def test_a_journal_of_other_agents_is_refused(journaled: tuple[World, Path], capsys: pytest.CaptureFixture[str],
                                              tmp_path: Path) -> None:
    """A journal made with agents that are not loaded now is a verification error with their hashes, not a traceback."""
    _, path = journaled

    def of_other_agents(_: int, kind: int, payload: bytes) -> bytes:
        return payload.replace(b'"sha256":""', b'"sha256":"' + b"ab" * 32 + b'"') if kind == EventKind.EVENT_BOOT else payload

    path = rewritten(path, tmp_path / "changed", of_other_agents)
    with pytest.raises(VerificationError, match=r"agents differ|abababab"):
        replay.replay_path(path, None, check=False)
    assert run_main(path, check=True) == 3
    assert "agents" in capsys.readouterr().err


@pytest.mark.parametrize("differs", [False, True])
def test_a_journal_of_another_version_is_replayed_and_its_differences_say_so(
        journaled: tuple[World, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path, differs: bool) -> None:
    """What this version decides alike is no difference; what it decides otherwise names both versions."""
    _, path = journaled
    target = next(seq for seq, kind, *_ in records(path) if kind == EventKind.OUT_DECISION) if differs else 0

    def of_another_version(seq: int, kind: int, payload: bytes) -> bytes:
        if kind == EventKind.EVENT_BOOT:
            return json.dumps(json.loads(payload) | {"version": "9.8.7"}, separators=(",", ":")).encode()
        return bytes([payload[0] ^ 1]) + payload[1:] if seq == target else payload

    code = run_main(rewritten(path, tmp_path / "changed", of_another_version), check=True)
    told = capsys.readouterr()
    assert (code, json.loads(told.out)["differences"]) == ((3, 1) if differs else (0, 0))
    assert (f"record {target}: " in told.err and f"written by cstd 9.8.7, this is {__version__}" in told.err) == differs


@pytest.mark.parametrize(("section", "key", "says"), [("policy", "of_a_later_version", "of_a_later_version"),
                                                      ("", "schema", "schema")])
def test_a_journal_of_a_configuration_that_is_not_known_is_refused(
        journaled: tuple[World, Path], tmp_path: Path, section: str, key: str, says: str,
        capsys: pytest.CaptureFixture[str]) -> None:
    """A start with a key, or a schema, of a later version: exit 3 with the record and the name; nothing is decided by guess."""
    _, path = journaled

    def of_another_configuration(_seq: int, kind: int, payload: bytes) -> bytes:
        if kind != EventKind.EVENT_BOOT:
            return payload
        boot = json.loads(payload)
        (boot["config"][section] if section else boot["config"])[key] = 99
        return json.dumps(boot, separators=(",", ":")).encode()

    assert run_main(rewritten(path, tmp_path / "changed", of_another_configuration), check=True) == 3
    told = capsys.readouterr()
    assert "record 1: this boot cannot be replayed here" in told.err and says in told.err and "digest" not in told.out


def test_check_is_for_journals(data_dir: Path) -> None:
    """`--check` on a recording is a usage error that says so."""
    path = data_dir / "recordings" / "kraken-v2-btcusd-d10-20260801.jsonl.zst"
    with pytest.raises(UsageError, match="--check"):
        replay.replay_path(path, None, check=True)


def test_a_frame_that_did_not_leave_changes_nothing_in_the_replay(journaled: tuple[World, Path]) -> None:
    """The port refused every frame of the session; the engine's state does not depend on that."""
    world, _ = journaled
    assert world.counters()["send_refused"] == len(world.order_frames())
    assert world.order_frames(OrderAction.ACTION_ADD)
    assert world.now_ns % S >= 0 and BTC in world.names
