"""The flight recorder: a bundle holds the last minute, replays and verifies; what bounds it, and what is never in it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from engine_world import World, practice_config

from cstd._fast.rerun import first_output
from cstd.cli import app
from cstd.daemon import checkpointer, flight, flight_folder, process
from cstd.daemon.checkpointer import bring_up_to_date
from cstd.daemon.flight import Ask, save
from cstd.engine.recovery import recover
from cstd.errors import InvariantError, OperatorError, UsageError
from cstd.ops.board import BoardWriter
from cstd.research import replay
from cstd.storage import checkpoints, journal_reader
from cstd.storage.checkpoints import Checkpoint
from cstd.storage.journal import open_journal
from cstd.storage.journal_compress import compress_segment, sealed_segments
from cstd.storage.journal_files import read_head, segment_paths
from tests.journals import content, sign
from tests.ops.fake_view import FakeView

FLOOR_BYTES = 1 << 24
SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
API_KEY = "PlantedApiKey0123456789"


@pytest.fixture(autouse=True)
def _no_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted session is decided without agents."""
    for module in (flight, checkpointer, replay):
        monkeypatch.setattr(module, "load_agents", lambda: None)


def opened(run_dir: Path) -> Any:
    """The journal of a run directory, with short segments."""
    return open_journal(run_dir / "journal", run_dir / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 15,
                        sync_interval_ms=20)


def trade(world: World, journal: Any, seconds: int) -> None:
    """A market that moves for a while, a block of the journal a second."""
    for _ in range(seconds):
        for _ in range(4):
            world.step()
            world.tick()
        journal.sync()


def session(folder: Path, *, forged: bool = False) -> Path:
    """A session of four minutes over several segments, ended by a kill: the switch, not the process.

    forged: in the middle of it the journal holds an output that no engine has put out.
    """
    urls = {"rest": "http://127.0.0.1:1", **dict.fromkeys(("ws_public", "ws_private", "ws_futures"), "ws://127.0.0.1:1")}
    (folder / "practice.json").write_text(json.dumps({**urls, "api_key": API_KEY, "api_secret": SECRET}))
    (folder / "practice.json").chmod(0o600)
    with opened(folder) as journal:
        world = World(practice_config(flight={"bundles_max": 3}), strategy="rehearsal", journal=journal).ready()
        trade(world, journal, 120)
        bring_up_to_date(folder / "journal", None)
        if forged:
            journal.append_py(first_output, 0, world.mono_ns, world.now_ns, b"forged")
        trade(world, journal, 120)
        world.command("kill")
        world.step()
        journal.sync()
        world.sound()
    assert len(segment_paths(folder / "journal")) > 5
    return folder


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A session that replays as it was recorded."""
    return session(tmp_path)


def made(run_dir: Path, **fields: Any) -> tuple[Path, dict[str, Any]]:
    """A bundle, and its manifest."""
    row = save(dataclasses.replace(Ask(run_dir, "hand", "a test", disk_free_bytes_min=FLOOR_BYTES), **fields))
    path = Path(row["path"])
    return path, json.loads((path / "manifest.json").read_bytes())


def replayed(bundle: Path) -> dict[str, Any]:
    """What `cstd replay BUNDLE --check` says."""
    return replay.replay_path(bundle, None, check=True)


def last_seq(run_dir: Path) -> int:
    """The last record of a journal."""
    return journal_reader.verify(run_dir / "journal").last_seq


def test_a_bundle_replays_verifies_and_is_a_part_of_the_journal(run_dir: Path) -> None:
    """It begins a minute before the end or a little earlier, in its own segments, and its records are the journal's."""
    path, manifest = made(run_dir)
    row, whole = replayed(path), replay.replay_path(run_dir, None, check=True)
    assert row["differences"] == whole["differences"] == 0
    assert row["digest"] == whole["digest"]
    assert manifest["check"]["differences"] == 0 and manifest["check"]["events"] > 60
    assert manifest["missing"] == [
        f"metrics: cannot open the board {run_dir / 'board'}: No such file or directory", "log: it goes to no file"]
    told = manifest["journal"]
    assert told["last_seq"] == last_seq(run_dir) and 60 <= told["covered_s"] < 65
    report = journal_reader.verify(path / "journal")
    assert (report.last_seq, report.head_hash) == (told["last_seq"], told["head_hash"])
    assert 1 < report.first_seq <= told["replay_from_seq"]
    kept = {record.seq: record.payload for record in journal_reader.records(run_dir / "journal")}
    assert all(kept[record.seq] == record.payload for record in journal_reader.records(path / "journal"))
    assert len(segment_paths(path / "journal")) < len(segment_paths(run_dir / "journal")) / 2


def test_the_manifest_names_every_file_with_its_hash_and_only_the_owner_reads_them(run_dir: Path) -> None:
    """Files 0600, folders 0700; configuration in the canonical form that its hash is of."""
    path, manifest = made(run_dir)
    files = {str(file.relative_to(path)): file for file in path.rglob("*") if file.is_file()}
    assert {row["name"] for row in manifest["files"]} == set(files) - {"manifest.json"}
    for row in manifest["files"]:
        content = files[row["name"]].read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (row["bytes"], row["sha256"])
    assert {stat.S_IMODE(file.stat().st_mode) for file in files.values()} == {0o600}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (path, path / "journal", path.parent)} == {0o700}
    cfg = practice_config(flight={"bundles_max": 3})
    assert files["config.json"].read_bytes() == cfg.to_canonical_json()
    assert manifest["config_hash"] == cfg.config_hash.hex() == hashlib.sha256(files["config.json"].read_bytes()).hexdigest()
    assert (manifest["kind"], manifest["reason"], manifest["mode"]) == ("hand", "a test", "practice")


def test_nothing_is_in_it_behind_the_record_of_a_crash(run_dir: Path) -> None:
    """What the next start journals is not in the bundle of the run before; the signature of that time still is."""
    sign(run_dir)
    crashed_at = last_seq(run_dir)
    flight_folder.put_aside(run_dir)
    with opened(run_dir) as journal:
        for number in range(50):
            journal.append_py(2, 0, number, number, b"of the next start")
        journal.sync()
        for _, sealed in sealed_segments(run_dir / "journal", read_head(run_dir / "journal")):
            list(compress_segment(sealed))
        path, manifest = made(run_dir, kind="crash", until_seq=crashed_at)
    assert manifest["journal"]["last_seq"] == crashed_at and manifest["kind"] == "crash"
    assert replayed(path)["differences"] == 0
    report = journal_reader.verify(path / "journal")
    assert (report.last_seq, report.signed_seq, report.unsigned_records) == (crashed_at, crashed_at, 0)
    assert not (run_dir / "journal" / "head.sig.left").exists()


def test_a_crash_is_shown_by_the_board_of_the_run_that_crashed(run_dir: Path) -> None:
    """Never by that of the start after it: where there is none, the bundle has none and says so."""
    with contextlib.closing(BoardWriter(run_dir / "board")) as board:
        board.publish(FakeView(mode="paper"))
        flight_folder.put_aside(run_dir)
    with contextlib.closing(BoardWriter(run_dir / "board")) as board:
        board.publish(FakeView())
    path, _ = made(run_dir, kind="crash")
    assert json.loads((path / "board.json").read_bytes())["status"]["mode"] == "paper"
    shown = (path / "metrics.prom").read_text()
    assert "cstd_state{" in shown
    assert "cstd_host_" not in shown and "cstd_process_resident" not in shown, "of the host that reads it"
    for bundle in flight_folder.bundles(run_dir / "flight"):
        shutil.rmtree(bundle.path)
    path, manifest = made(run_dir, kind="crash")
    assert not (path / "board.json").exists() and not (path / "metrics.prom").exists()
    assert manifest["missing"][0].startswith(f"metrics: cannot open the board {run_dir / 'board.left'}")


def test_each_checkpoint_is_read_once_to_find_the_start(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none that lies before the one that serves: a checkpoint is the size of the engine's state."""
    bring_up_to_date(run_dir / "journal", None)
    older, newer = checkpoints.paths(run_dir / "journal")
    found = []

    def read(path: Path) -> tuple[Checkpoint, bytes]:
        found.append(path)
        return checkpoints.read(path)

    monkeypatch.setattr(flight, "checkpoints", SimpleNamespace(**vars(checkpoints) | {"read": read}))
    assert flight._Maker(Ask(run_dir, "hand", "a test"), run_dir, [])._base == older
    assert found == [newer, older]
    found.clear()
    (run_dir / "journal" / "checkpoint-000000000001.cstd").write_bytes(b"never looked at")
    assert flight._Maker(Ask(run_dir, "hand", "a test"), run_dir, [])._base == older
    assert found == [newer, older]


def test_the_minute_is_the_one_before_the_record_in_question(run_dir: Path) -> None:
    """A bundle that has to wait for its turn holds the minute before the halt all the same, and what came since."""
    records = list(journal_reader.records(run_dir / "journal"))
    halted = next(record for record in records if record.mono_ns > records[-1].mono_ns - 50 * 10**9)
    path, manifest = made(run_dir, at_seq=halted.seq)
    first = next(record for record in records if record.seq == manifest["journal"]["replay_from_seq"])
    assert 60 <= manifest["journal"]["covered_s"] < 65 and halted.mono_ns - first.mono_ns > 59 * 10**9
    assert manifest["journal"]["last_seq"] == records[-1].seq
    assert replayed(path)["differences"] == 0


def test_without_a_checkpoint_before_it_a_bundle_makes_its_own(run_dir: Path) -> None:
    """The one that the daemon has made may be newer, damaged or of another build: the bundle still begins near the minute."""
    (path,) = checkpoints.paths(run_dir / "journal")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    bundle, manifest = made(run_dir)
    assert 60 <= manifest["journal"]["covered_s"] < 65
    assert manifest["journal"]["replay_from_seq"] > 1 and len(checkpoints.paths(bundle / "journal")) == 1
    assert replayed(bundle)["differences"] == 0


def test_a_replay_that_differs_leaves_more_journal_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No state can be made nearer to the end: the bundle begins at the daemon's own checkpoint, and `save` exits with 3."""
    run_dir = session(tmp_path, forged=True)
    forged = next(record.seq for record in journal_reader.records(run_dir / "journal") if record.payload == b"forged")
    says = f"record {forged}: the journal holds an output of kind {first_output} that the engine does not make"
    assert app.main(["flight", "save", "--run-dir", str(run_dir), "-o", "json"]) == 3
    row = json.loads(capsys.readouterr().out)
    assert (row["differences"], row["check_error"]) == (1, says)
    (checkpoint,) = checkpoints.paths(run_dir / "journal")
    assert row["first_seq"] == checkpoints.seq_of(checkpoint) + 1 and row["covered_s"] >= 60
    assert f"a start nearer to the end: this build does not decide what the journal says: {says}" in row["missing"]
    assert app.main(["flight", "list", "--run-dir", str(run_dir), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["check_error"] == says
    assert replayed(Path(row["path"]))["differences"] == 1


def test_an_engine_whose_state_cannot_be_kept_leaves_more_journal(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has failed: the bundle begins at the daemon's own checkpoint too."""
    def refuse(_engine: object) -> bytes:
        raise ValueError("the engine has failed")

    monkeypatch.setattr(flight, "dump", refuse)
    bundle, manifest = made(run_dir)
    (path,) = checkpoints.paths(run_dir / "journal")
    assert manifest["journal"]["replay_from_seq"] == checkpoints.seq_of(path) + 1
    assert "a start nearer to the end: the engine has failed" in manifest["missing"]
    assert manifest["check"]["differences"] == replayed(bundle)["differences"] == 0


def test_a_journal_that_keeps_less_than_a_minute_gives_what_there_is(tmp_path: Path) -> None:
    """Retention has removed the minute's beginning: the bundle begins at the older checkpoint and says how much it covers."""
    with opened(tmp_path) as journal:
        world = World(strategy="rehearsal", journal=journal).ready()
        for seconds in (100, 20, 20):
            trade(world, journal, seconds)
            if seconds == 20:
                bring_up_to_date(tmp_path / "journal", None, keep_bytes=1)
    assert segment_paths(tmp_path / "journal")[0][0] > 1
    path, manifest = made(tmp_path)
    assert 18 < manifest["journal"]["covered_s"] < 30
    assert replayed(path)["differences"] == 0 and manifest["check"]["differences"] == 0


def test_a_checkpoint_that_goes_while_it_is_read_is_no_failure(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon removes one that two newer ones have superseded: the bundle, and a recovery, take what is there then."""
    paths = [checkpoints.paths(run_dir / "journal")[0]]
    gone = run_dir / "journal" / "checkpoint-000000000009.cstd"
    monkeypatch.setattr(checkpoints, "paths", lambda directory: [gone, *paths] if directory == run_dir / "journal" else [])
    assert checkpoints.base(run_dir / "journal") == checkpoints.read(paths[0])[0].place
    paths = [gone, *paths][::-1]
    assert recover(run_dir / "journal", None).replay.difference_count == 0
    copy, left = flight.copy_part, [1, 1]

    def copy_part(*args: Any) -> None:
        if left:
            left.pop()
            raise FileNotFoundError("a segment went")
        copy(*args)

    monkeypatch.setattr(flight, "copy_part", copy_part)
    assert made(run_dir)[1]["journal"]["last_seq"] == last_seq(run_dir)
    assert left == []


def test_what_only_the_ring_holds_is_in_a_bundle(tmp_path: Path) -> None:
    """A disk that takes nothing any more: the last records are in memory, and the bundle has them."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 20,
                      sync_interval_ms=60_000) as journal:
        world = World(strategy="rehearsal", journal=journal).ready()
        journal.sync()
        trade_without_sync = journal.seq
        for _ in range(20):
            world.step()
            world.tick()
        path, manifest = made(tmp_path)
    assert manifest["journal"]["ring_records"] > 20 and manifest["journal"]["last_seq"] > trade_without_sync + 20
    report = journal_reader.verify(path / "journal")
    assert (report.ring_records, report.last_seq) == (manifest["journal"]["ring_records"], manifest["journal"]["last_seq"])
    assert replayed(path)["differences"] == 0


def test_the_oldest_bundles_go_and_one_a_minute_is_made_unasked(run_dir: Path) -> None:
    """`flight.bundles_max` of the session bounds them; only a hand makes two in a minute."""
    paths = [made(run_dir)[0] for _ in range(5)]
    folder = run_dir / "flight"
    assert [bundle.path for bundle in flight_folder.bundles(folder)] == paths[-3:]
    halt, _ = made(run_dir, kind="halt")
    told = save(Ask(run_dir, "halt", "again", disk_free_bytes_min=FLOOR_BYTES))
    assert set(told) == {"wait_s"} and 55 < told["wait_s"] <= 60
    assert [bundle.path for bundle in flight_folder.bundles(folder)] == [*paths[-2:], halt]
    (folder / ".unfinished-1").mkdir()
    made(run_dir)
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_a_bundle_leaves_the_disk_its_floor(run_dir: Path) -> None:
    """With less to spare than it may take none is made, and nothing of one is left."""
    with pytest.raises(OperatorError, match=r"would leave less than journal\.disk_free_bytes_min"):
        made(run_dir, disk_free_bytes_min=2**60)
    assert [path.name for path in (run_dir / "flight").iterdir()] == ["lock"]


def test_a_folder_that_cannot_be_written_is_said(run_dir: Path) -> None:
    """A file in the folder's place is an error of the operator, with the place."""
    (run_dir / "flight").write_text("in the way")
    with pytest.raises(OperatorError, match=str(run_dir / "flight")) as caught:
        made(run_dir)
    assert caught.value.suggestion


def test_a_journal_that_no_start_can_go_on_from_leaves_one_bundle(run_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Decided without agents, it cannot be recovered with them: however often that is tried, one bundle says so."""
    with contextlib.closing(BoardWriter(run_dir / "board.left")):
        pass  # of a crash long ago whose bundle could not be made
    with contextlib.closing(BoardWriter(run_dir / "board")) as board:
        board.publish(FakeView())
    cfg = practice_config(journal={"disk_free_bytes_min": 2**60})
    process._keep_unrecovered(run_dir, cfg, InvariantError("recovery does not reproduce the journal: record 9"))
    assert "would leave less than journal.disk_free_bytes_min" in capfd.readouterr().err, "the bounds are those of this start"
    for _ in range(2):
        process._keep_unrecovered(run_dir, practice_config(), InvariantError("recovery does not reproduce the journal: record 9"))
    assert capfd.readouterr().err == ""
    (bundle,) = flight_folder.bundles(run_dir / "flight")
    assert json.loads((bundle.path / "board.json").read_bytes())["status"]["mode"] == "practice"
    assert not (run_dir / "board.left").exists()
    assert bundle.kind == "crash" and bundle.manifest()["reason"] == "recovery does not reproduce the journal: record 9"
    assert bundle.manifest()["journal"]["last_seq"] == last_seq(run_dir)
    assert replayed(bundle.path)["differences"] == 0, "with what it was decided with it replays"


def test_no_key_of_the_venue_is_in_a_bundle(run_dir: Path) -> None:
    """Neither from a log that told it nor from a reason that names it; the log's other words stay."""
    (run_dir / "daemon.log").write_text(f"Traceback: {SECRET}\n{{\"event\": \"sent\", \"key\": \"{API_KEY}\"}}\n" + "x" * 90_000)
    path, manifest = made(run_dir, reason=f"the key is {API_KEY}")
    assert not [said for said in manifest["missing"] if "redaction" in said]
    found = {file.name: content(file) for file in path.rglob("*") if file.is_file()}
    assert b"Traceback: [redacted]" in found["log.jsonl"] and manifest["reason"] == "the key is [redacted]"
    assert not [name for name, raw in found.items() if SECRET.encode() in raw or API_KEY.encode() in raw]
    assert not [name for name, raw in found.items() if SECRET[:40].encode() in raw]


def test_a_key_that_is_not_known_is_not_searched_for_and_that_is_said(run_dir: Path) -> None:
    """Whoever sends the bundle has to look at its log and its reason."""
    (run_dir / "practice.json").unlink()
    (run_dir / "daemon.log").write_text(f"Traceback: {SECRET}\n")
    said = [said for said in made(run_dir)[1]["missing"] if said.startswith("redaction: ")]
    assert len(said) == 1 and "were not searched for the venue's key" in said[0] and "practice.json" in said[0]


def test_the_end_of_a_long_log_is_whole_lines(run_dir: Path) -> None:
    """At most a quarter of a mebibyte, the newest."""
    lines = [f'{{"event": "line {number}", "text": "{"y" * 200}"}}' for number in range(3000)]
    (run_dir / "daemon.log").write_text("\n".join(lines) + "\n")
    kept = (made(run_dir)[0] / "log.jsonl").read_text().splitlines()
    assert 900 < len(kept) < 1200 and kept == lines[-len(kept):]


def test_the_command_lists_and_saves(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table and JSON of each; a run directory without a journal is refused with what to do."""
    assert app.main(["flight", "list", "--run-dir", str(run_dir)]) == 0
    assert "cstd flight save" in capsys.readouterr().out
    assert app.main(["flight", "save", "--run-dir", str(run_dir), "--reason", "looks odd", "-o", "json"]) == 0
    saved = json.loads(capsys.readouterr().out)
    assert saved["reason"] == "looks odd" and saved["differences"] == 0
    assert app.main(["flight", "save", "--run-dir", str(run_dir)]) == 0
    assert "by hand" in capsys.readouterr().out
    assert app.main(["flight", "list", "--run-dir", str(run_dir), "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["path"] == saved["path"] and [row["reason"] for row in rows] == ["looks odd", "by hand"]
    assert app.main(["flight", "list", "--run-dir", str(run_dir)]) == 0
    table = capsys.readouterr().out
    assert "looks odd" in table and rows[0]["bundle"] in table
    assert app.main(["flight", "save", "--run-dir", str(run_dir / "nowhere")]) == 2
    assert "--run-dir" in capsys.readouterr().err
    with pytest.raises(UsageError):
        save(Ask(run_dir / "nowhere", "hand", ""))
