"""Checkpoints: an engine that takes one goes on bit for bit, whichever record it is behind; any doubt replays the journal."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import random
import re
import shutil
from collections import Counter, deque
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from engine_world import S, World
from test_replay import session
from test_rest_cancels import down, resting

from cstd._fast import image
from cstd._fast.codes import EventKind
from cstd._fast.core import Core
from cstd._fast.gateway import RestExit
from cstd._fast.recorder import Recorder
from cstd.daemon import checkpointer
from cstd.daemon.checkpointer import bring_up_to_date
from cstd.engine import Engine, checkpoint
from cstd.engine.recovery import recover
from cstd.engine.replaying import JournalReplay
from cstd.engine.totals import session_totals
from cstd.errors import OperatorError, VerificationError
from cstd.storage import checkpoints
from cstd.storage.journal import open_journal
from cstd.storage.journal_files import segment_paths
from cstd.storage.journal_reader import Walk, records, verify

CUTS = 60
# Declared fields that an image leaves out, each with the reason.
NOT_STATE = {
    "gateway": {
        "recorder": "a part of its own", "hist": "telemetry: no decision sees it",
        "port": "where frames leave: set by the start", "handler": "the engine itself",
        "fault": "an engine with one has no image", "rest_cancels": "none may wait when an image is made",
        "rest_exits": "none may wait when an image is made",
        "frame": "scratch of one order", "day": "text of the day of the last order, made anew from its time",
        "encoded_cycles": "telemetry",
    },
    "engine": {
        "scanner": "a part of its own", "reports": "tables that never change, and scratch of one frame",
        "strategy": "an address: set by the start", "strategy_own": "set by the start, with the strategy",
        "agents": "addresses: set by the start",
        "agent_per_bar": "set with the addresses", "agent_count": "set with the addresses", "batch_cycles": "telemetry",
    },
    "client_ids": {},
    "waiting": {},
    "exits": {},
    "exposure": {"orders": "a part of its own", "slots": "a part of its own", "correlations": "a part of its own",
                 "waiting": "a part of its own", "taken": "of one wish, -1 between two events"},
    "correlation": {"words": "set with the instruments", "exposed": "scratch of one intent", "members": "scratch of one intent",
                    "queue": "scratch of one intent"},
    "core": {},
    "sink": {},
    "slot": {"number": "its place", "name": "set with its place", "book": "a part of its own", "bars": "a part of its own",
             "touched_cycles": "telemetry"},
    "book": {"bids": "a part of its own", "asks": "a part of its own"},
    "bars": {},
    "indicators": {},
    "orders": {"next_state": "the lifecycle table, a constant"},
    "recorder": {"journal": "where records go: attached by the start", "captured": "kept beside the image",
                 "journaling": "set when the journal is attached", "failed": "an engine with it has no image"},
    "wire": {
        "out": "scratch of one frame", "bids": "scratch of one frame", "asks": "scratch of one frame",
        "trades": "scratch of one frame", "names": "set with the instruments", "count": "set with the instruments",
        "last_words": "the last name looked up, looked up again", "last_mask": "the same", "last_n": "the same",
        "last_instrument": "the same", "date": "the last date's text, taken apart again", "date_days": "the same",
    },
}
PARTS = {"m1", "m5", "h1"}
CLASSES = {"sink": "FrameSink", "client_ids": "OrderIds", "exposure": "Exposure", "correlation": "Correlations",
           "gateway": "Gateway", "waiting": "WaitingTable",
           "exits": "ExitGateway", "engine": "FastEngine", "core": "Core",
           "slot": "InstrumentSlot",
           "book": "Book", "bars": "BarSeries", "indicators": "BarIndicators", "orders": "OrderTable", "recorder": "Recorder",
           "wire": "Scanner"}
# Under which name image.pyx has an object of each class.
IN_IMAGE = {"correlation": "correlations", "exposure": "core", "gateway": "core", "client_ids": "core",
            "exits": "core", "engine": "core", "sink": "core", "indicators": "of", "wire": "scanner"}
FIELD = re.compile(r"^    cdef (?:public |readonly )*(?!inline)[\w.]+ ([^(#]+?)(?:\s*#.*)?$", re.MULTILINE)


def declared(text: str, name: str) -> set[str]:
    """Names of the fields that a .pxd declares for a class."""
    body = re.split(r"^(?=\S)", text[re.search(rf"^cdef class {name}\b", text, re.MULTILINE).start():], maxsplit=2,  # type: ignore[union-attr]
                    flags=re.MULTILINE)[1]
    return {re.sub(r"\[.*?\]|\*| ", "", field) for fields in FIELD.findall(body) for field in fields.split(",")}


@pytest.mark.parametrize("module", CLASSES)
def test_every_field_is_in_the_image_or_left_out_for_a_reason(repository: Path, module: str) -> None:
    """A field that is added to a compiled class must be decided about, or a restored engine would go on without it."""
    fields = declared((repository / f"cstd/_fast/{module}.pxd").read_text(), CLASSES[module])
    source = (repository / "cstd/_fast/image.pyx").read_text()
    written = set(re.findall(rf"image\.field\(b\"\w+\", &?{IN_IMAGE.get(module, module)}\.(\w+)", source))
    assert fields, "the declarations were not found"
    assert fields - written - PARTS == set(NOT_STATE[module])


def alike(ours: Any, theirs: Any, where: str = "engine", seen: set[int] | None = None) -> list[str]:
    """Paths at which two graphs of engine objects differ, but for what belongs to a process."""
    seen = set() if seen is None else seen
    if isinstance(ours, (Core, Engine, Recorder)) or callable(ours) or id(ours) in seen:
        return [] if type(ours) is type(theirs) else [where]
    if type(ours) is not type(theirs):
        return [where]
    if isinstance(ours, dict):
        pairs = [(f"{where}[{key!r}]", value, theirs.get(key)) for key, value in ours.items()]
        if [repr(key) for key in ours if isinstance(key, (str, int))] != [repr(key) for key in theirs
                                                                          if isinstance(key, (str, int))]:
            return [f"{where}: keys"]
        if any(not isinstance(key, (str, int, tuple)) for key in ours):  # keyed by object: the objects in order
            pairs = [(f"{where}[{at}]", a, b) for at, (a, b) in enumerate(zip(ours, theirs, strict=True))]
    elif isinstance(ours, (list, tuple, deque)):
        if len(ours) != len(theirs):
            return [f"{where}: {len(ours)} and {len(theirs)} items"]
        pairs = [(f"{where}[{at}]", a, b) for at, (a, b) in enumerate(zip(ours, theirs, strict=True))]
    elif type(ours).__module__.startswith("cstd.") and not isinstance(ours, Enum):
        seen.add(id(ours))
        names = {*getattr(ours, "__dict__", {}), *getattr(theirs, "__dict__", {}),
                 *(name for kind in type(ours).__mro__ for name in getattr(kind, "__slots__", ()) or ())}
        pairs = [(f"{where}.{name}", getattr(ours, name, None), getattr(theirs, name, None)) for name in names]
    else:
        return [] if ours == theirs or repr(ours) == repr(theirs) else [f"{where}: {ours!r} and {theirs!r}"]
    return [found for path, a, b in pairs for found in alike(a, b, path, seen)]


def state(engine: Engine) -> dict[str, Any]:
    """What of an engine is its own."""
    return {name: value for name, value in vars(engine).items() if name not in checkpoint.FIXED}


def written(folder: Path, *, segment_bytes: int = 1 << 24) -> Path:
    """A scripted session's journal."""
    with open_journal(folder / "journal", folder / "journal.ring", ring_bytes=1 << 24, segment_bytes=segment_bytes,
                      sync_interval_ms=20) as journal:
        session(journal)
        journal.sync()
    return folder / "journal"


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a scripted session: an opening, an exit, commands, lost links, two boots."""
    return written(tmp_path_factory.mktemp("checkpoint"))


def test_an_engine_goes_on_from_any_record(journal: Path) -> None:
    """Cut behind sixty records: the rest is made again output by output, and every bit of state is the same at the end."""
    seed = int.from_bytes(os.urandom(4), "big")
    rows = list(records(journal))
    whole = JournalReplay(Engine(Recorder(), None))
    given: list[tuple[int, bytes]] = []
    cuts = set(random.Random(seed).sample(range(1, len(rows)), CUTS))
    for at, row in enumerate(rows, 1):
        whole.feed(row.seq, row.kind, row.tag, row.mono_ns, row.wall_ns, row.payload)
        if at in cuts:
            given.append((at, checkpoint.dump(whole.engine)))
    assert whole.difference_count == 0 and len(given) == CUTS
    for at, taken in given:
        again = JournalReplay(Engine(Recorder(), None))
        again.engine.recorder.captured = checkpoint.restore(again.engine, taken)
        for row in rows[at:]:
            again.feed(row.seq, row.kind, row.tag, row.mono_ns, row.wall_ns, row.payload)
        assert again.difference_count == 0, f"seed {seed}, cut behind {at}: {again.differences}"
        assert image.dump(again.engine.core) == image.dump(whole.engine.core), f"seed {seed}, cut behind {at}"
        assert session_totals(again.engine) == session_totals(whole.engine), f"seed {seed}, cut behind {at}"
        assert alike(state(whole.engine), state(again.engine)) == [], f"seed {seed}, cut behind {at}"


def test_the_comparison_sees_one_changed_field(journal: Path) -> None:
    """The test above can fail: one figure, one item, one key changed in a restored engine is found."""
    ours = recover(journal, None).engine
    for change in (lambda e: setattr(e.nav, "peak_raw", -1), lambda e: e.ledger.fills.popitem(),
                   lambda e: e.reconciler.own.update(XRP=1), lambda e: setattr(e.lane.rate, "tier", "no")):
        theirs = recover(journal, None).engine
        assert alike(state(ours), state(theirs)) == []
        change(theirs)
        assert alike(state(ours), state(theirs)) != []


def test_an_engine_that_cannot_go_on_gives_no_checkpoint(journal: Path) -> None:
    """Not booted, or failed: there is nothing to go on from."""
    with pytest.raises(ValueError, match="not booted"):
        checkpoint.dump(Engine(Recorder(), None))
    world = World(strategy=None).ready()
    world.engine.core.fault = RuntimeError("broken")
    with pytest.raises(ValueError, match="failed: broken"):
        checkpoint.dump(world.engine)


@pytest.mark.parametrize("change", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: data[:-40] + data[-39:],
                                    lambda data: data.replace(b"cstd.ledger.nav", b"cstd.ledger.nix"),
                                    lambda data: data.replace(b"collections", b"multiproces")])
def test_bytes_that_are_no_state_are_a_value_error(journal: Path, change: Any) -> None:
    """Cut short, empty, shifted, of an unknown class, of a class that is no state: said, not tried."""
    data = checkpoint.dump(recover(journal, None).engine)
    with pytest.raises(ValueError, match=r"state|image"):
        checkpoint.restore(Engine(Recorder(), None), change(data))


def test_an_image_of_other_instruments_is_refused(journal: Path) -> None:
    """An image fits one set of instruments."""
    core = recover(journal, None).engine.core
    data = image.dump(core)
    with pytest.raises(ValueError, match="instruments"):
        image.restore(Engine(Recorder(), None).core, data)


# Files.


@pytest.fixture
def own(journal: Path, tmp_path: Path) -> Path:
    """A copy of the journal that a test may change."""
    shutil.copytree(journal, tmp_path / "journal", symlinks=True)
    return tmp_path / "journal"


def test_recovery_begins_at_the_newest_checkpoint(own: Path) -> None:
    """What a checkpoint covers is not replayed, and the engine is the same."""
    plain = recover(own, None, include_ring=False)
    row = bring_up_to_date(own, None)
    found = recover(own, None, include_ring=False)
    assert row["seq"] == plain.engine.recorder.seq and row["records"] == plain.replay.events + plain.replay.outputs > 500
    assert (found.replay.events, found.unusable) == (0, [])
    assert found.times == plain.times and found.place == plain.place
    assert image.dump(found.engine.core) == image.dump(plain.engine.core)
    assert alike(state(plain.engine), state(found.engine)) == []
    assert oct(checkpoints.paths(own)[0].stat().st_mode)[-3:] == "600"


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_checkpoint_is_passed_over(own: Path, damage: str) -> None:
    """A file that is not what was written is named with its fault, and the journal itself decides."""
    bring_up_to_date(own, None)
    (path,) = checkpoints.paths(own)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"flipped": bytes(data), "cut": bytes(data[:-7]), "empty": b""}[damage])
    with pytest.raises(VerificationError, match="does not match its digest"):
        checkpoints.read(path)
    found = recover(own, None)
    assert found.checkpoint is None and found.replay.events > 500
    assert found.unusable[0].startswith(path.name) and "digest" in found.unusable[0]


def test_another_build_or_other_agents_replay_the_journal(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """State of another program is not read at all."""
    bring_up_to_date(own, None)
    monkeypatch.setattr("cstd.engine.recovery.build_id", lambda: "f" * 64)
    found = recover(own, None)
    assert found.checkpoint is None and found.replay.events > 500
    assert "this is ffffffffffff" in found.unusable[0]
    monkeypatch.undo()
    (path,) = checkpoints.paths(own)
    kept, taken = checkpoints.read(path)
    checkpoints.write(own, checkpoints.Checkpoint(kept.place, kept.build, "a" * 64, kept.mono_ns, kept.wall_ns), taken)
    assert "decided with agents aaaaaaaaaaaa" in recover(own, None).unusable[0]


def test_a_checkpoint_of_another_journal_is_damage(own: Path, tmp_path: Path) -> None:
    """A file moved between journals does not pass as this one's."""
    (tmp_path / "other").mkdir()
    other = written(tmp_path / "other")
    bring_up_to_date(other, None)
    shutil.copy(checkpoints.paths(other)[0], own)
    with pytest.raises(VerificationError, match="not the one that the checkpoint was made of"):
        recover(own, None)


def test_a_journal_that_is_decided_otherwise_gets_no_checkpoint(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every output on the way is compared; a difference is exit 3 and no file."""
    monkeypatch.setattr("cstd.engine.flow.NS_PER_S", 1)
    monkeypatch.setattr("cstd.engine.flow.RECONCILE_INTERVAL_NS", 1)
    monkeypatch.setattr("cstd.orders.reconcile.MISMATCH_ROUNDS_MAX", 0)
    with pytest.raises(VerificationError, match="does not decide what the journal says"):
        bring_up_to_date(own, None)
    assert checkpoints.paths(own) == []


# Retention.


def segmented(folder: Path) -> tuple[Path, dict[str, Any]]:
    """A journal of several segments with a checkpoint early and one late, and the totals of all of it."""
    folder.mkdir()
    path = folder / "journal"
    with open_journal(path, folder / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 16, sync_interval_ms=5) as journal:
        world = session(journal)
        journal.sync()
        bring_up_to_date(path, None)
        world.run(20)
        journal.sync()
        bring_up_to_date(path, None)
        world.run(4)
        journal.sync()
    return path, session_totals(world.engine)


def test_segments_go_only_where_two_checkpoints_cover_them(tmp_path: Path) -> None:
    """The oldest go while all exceed the bound; what the older checkpoint needs stays, and proves itself through it."""
    path, totals = segmented(tmp_path / "a")
    before = [number for number, _ in segment_paths(path)]
    base = checkpoints.base(path)
    assert base is not None and base.segment > 2 and before[0] == 1
    assert checkpoints.trim(path, 0) == [] and checkpoints.trim(path, 1 << 40) == []
    left = path / ".checkpoint-000000000001.cstd.4194304"  # above any process number
    for unfinished in (left, mine := left.with_suffix(f".{os.getpid()}")):
        unfinished.touch()
    assert checkpoints.trim(path, 0) == [left] and mine.exists()
    mine.unlink()
    removed = checkpoints.trim(path, 1)
    assert len(removed) == base.segment - 1
    assert [number for number, _ in segment_paths(path)] == before[base.segment - 1:]
    report = verify(path)
    assert report.first_seq > 1 and report.records == report.last_seq - report.ring_records - report.first_seq + 1
    found = recover(path, None)
    assert found.replay.difference_count == 0
    assert session_totals(found.engine) == totals


def test_what_is_left_must_lead_through_the_base(tmp_path: Path) -> None:
    """Without its base a cut journal is a missing segment; with another's it is damage; without any usable one no start."""
    path, _ = segmented(tmp_path / "a")
    checkpoints.trim(path, 1)
    older, newer = checkpoints.paths(path)
    aside = tmp_path / older.name
    older.rename(aside)
    newer.rename(tmp_path / newer.name)
    with pytest.raises(VerificationError, match="segment is missing"):
        verify(path)
    with pytest.raises(OperatorError, match=r"oldest segments .* were removed, and none .* there is none"):
        recover(path, None)
    kept, taken = checkpoints.read(aside)
    place = kept.place
    moved = dataclasses.replace(place, hash=bytes(32))
    checkpoints.write(path, checkpoints.Checkpoint(moved, kept.build, kept.agents, kept.mono_ns, kept.wall_ns), taken)
    with pytest.raises(VerificationError, match="does not lead through block"):
        verify(path)
    with pytest.raises(VerificationError):
        recover(path, None)


def test_only_the_two_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    """A third one takes the place of the oldest; a file of another name is nobody's business."""
    path, _ = segmented(tmp_path / "a")
    first, second = checkpoints.paths(path)
    (path / "checkpoint-notes.txt").write_text("mine")
    bring_up_to_date(path, None)
    assert checkpoints.paths(path)[0] == second and len(checkpoints.paths(path)) == 2
    assert not first.exists() and (path / "checkpoint-notes.txt").exists()


def test_a_crash_while_writing_leaves_what_was_there(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or an end before the name is given: no new file, nothing half, and the error says what to do."""
    bring_up_to_date(own, None)
    before = {path.name: path.read_bytes() for path in own.iterdir() if path.name.startswith("checkpoint")}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cstd.storage.journal_files.os.fsync", full)
    with pytest.raises(OperatorError, match=r"cannot be written: .*No space left"):
        bring_up_to_date(own, None)
    assert {path.name: path.read_bytes() for path in own.iterdir() if "checkpoint" in path.name} == before


def test_the_childs_errors_are_one_line(own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 0 with a row; 1 where the daemon is gone; 2 for a folder without journal, without a traceback."""
    monkeypatch.setattr(checkpointer, "load_agents", lambda: None)
    monkeypatch.setattr(checkpointer, "stand_back", lambda: None)
    monkeypatch.setattr("cstd.child.end_with_parent", lambda _number: None)
    parent = str(os.getppid())
    assert checkpointer.child([str(own), "--parent", parent]) == 0
    assert json.loads(capsys.readouterr().out)["seq"] > 500
    assert checkpointer.child([str(own), "--parent", "1"]) == 1
    assert capsys.readouterr().err == "the parent process 1 is gone\n"
    assert checkpointer.child([str(own / "absent"), "--parent", parent]) == 2
    assert capsys.readouterr().err.startswith("there is no journal directory")


def test_restored_orders_keep_their_deadlines(journal: Path) -> None:
    """Monotonic times in a checkpoint are the journal's, not the process's: an order is overdue when it would have been."""
    rows = list(records(journal))
    at = next(i for i, row in enumerate(rows, 1) if row.kind == EventKind.OUT_ORDER_FRAME)
    first = JournalReplay(Engine(Recorder(), None))
    for row in rows[:at]:
        first.feed(row.seq, row.kind, row.tag, row.mono_ns, row.wall_ns, row.payload)
    again = Engine(Recorder(), None)
    checkpoint.restore(again, checkpoint.dump(first.engine))
    (order,) = [first.engine.core.order(i) for i in first.engine.core.live_orders()]
    assert [again.core.order(i) for i in again.core.live_orders()] == [order]
    assert 0 <= rows[at - 1].mono_ns - order["sent_mono_ns"] < S
    assert Counter(kind for kind, *_ in first.missing) == Counter(kind for kind, *_ in checkpoint.restore(
        Engine(Recorder(), None), checkpoint.dump(first.engine)))


def test_a_walk_can_begin_anywhere_a_checkpoint_is(tmp_path: Path) -> None:
    """The records behind a checkpoint's place are those that follow it, and their number is counted from there."""
    path, _ = segmented(tmp_path / "a")
    for name in checkpoints.paths(path):
        place = checkpoints.read(name)[0].place
        rest = [row.seq for batch in Walk(path, start=place).batches() for row in batch]
        assert rest == [row.seq for row in records(path) if row.seq > place.last_seq] and rest[0] == place.last_seq + 1


def test_a_request_of_the_gateways_is_restored_empty_and_cannot_be_sent() -> None:
    """A cancel by REST under way is in the checkpoint as a request, without what lets one leave; nor can it be forged so."""
    world, order = resting()
    down(world)
    world.core.cancel_order(world.core.live_orders()[0], 0)
    world.core.timer(world.mono_ns, world.now_ns)  # from the gateway into the lane, and no answer yet
    again = Engine(Recorder(), None)
    checkpoint.restore(again, checkpoint.dump(world.engine))
    (ours,), (theirs,) = ([call.request for call in (lane._in_flight, *lane._queue) if call and call.request.is_order]
                          for lane in (world.engine.lane, again.lane))
    assert ours.made_by_gateway and dict(ours.params)["cl_ord_id"] == order["cl_ord_id"]
    assert (theirs.method, theirs.params) == (ours.method, ours.params)
    assert not theirs.made_by_gateway and theirs.order.params is None
    for forge in (pickle.dumps, copy.copy):
        for made in (ours.order, RestExit()):
            with pytest.raises(TypeError, match="cannot pickle"):
                forge(made)
