"""A backup is whole at every moment, refuses what is not its own, and brings back nothing that is not proven."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cstd.cli import backup as verbs
from cstd.cli.app import main
from cstd.errors import CstdError, OperatorError, UsageError, VerificationError
from cstd.locks import wait_for_lock
from cstd.ops.board import BoardWriter
from cstd.projector.database import LedgerDatabase
from cstd.storage import checkpoints, journal_reader
from cstd.storage.checkpoints import Checkpoint
from cstd.storage.journal import Journal, open_journal
from cstd.storage.journal_compress import compress_segment, sealed_segments
from cstd.storage.journal_files import lock_directory, read_head, segment_paths
from cstd.storage.journal_signature import KEY_NAME, open_signer
from tests.ops.fake_view import FakeView

DISK_FULL = OSError(28, "No space left on device")


def opened(run_dir: Path) -> Journal:
    """Open the journal of a run directory with short segments."""
    run_dir.mkdir(exist_ok=True)
    return open_journal(run_dir / "journal", run_dir / "journal.ring", ring_bytes=1 << 20, segment_bytes=1 << 14,
                        sync_interval_ms=20)


def write(journal: Journal, blocks: int) -> None:
    """So many blocks of ten records, each on disk."""
    for block in range(blocks):
        for record in range(10):
            journal.append_py(2, 0, block, 1_790_000_000 * 10**9 + record, b"payload " * 8)
        journal.sync()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run directory as a daemon leaves it that was stopped: five segments, a ledger, a key, a signed head, a nonce."""
    folder = tmp_path / "run"
    with opened(folder) as journal:
        write(journal, 80)
    LedgerDatabase(folder / "ledger.db").close()
    head = read_head(folder / "journal")
    assert head is not None
    open_signer(folder / KEY_NAME, folder / "journal").sign(head, 1, seal=False)
    (folder / "nonce").write_text("17")
    return folder


def back_up(run_dir: Path, target: Path) -> None:
    """`cstd backup`."""
    assert verbs.backup(argparse.Namespace(target=str(target), run_dir=str(run_dir), output="json")) == 0


def restore(target: Path, run_dir: Path) -> None:
    """`cstd restore`."""
    assert verbs.restore(argparse.Namespace(source=str(target), run_dir=str(run_dir), key=None, output="json")) == 0


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != "lock"}


def records(directory: Path) -> list[tuple[int, bytes]]:
    """What a journal holds."""
    return [(record.seq, record.payload) for record in journal_reader.records(directory, include_ring=False)]


def test_a_backup_grows_with_the_journal_and_comes_back_as_it_was(run_dir: Path, tmp_path: Path) -> None:
    """Some segments compressed meanwhile; what is restored is record for record the journal's, proven, and goes on."""
    target, elsewhere = tmp_path / "backup", tmp_path / "new"
    back_up(run_dir, target)
    with opened(run_dir) as journal:
        write(journal, 50)
    head = read_head(run_dir / "journal")
    assert head is not None
    for _, path in sealed_segments(run_dir / "journal", head)[:3]:
        assert list(compress_segment(path))
    back_up(run_dir, target)
    restore(target, elsewhere)
    assert records(elsewhere / "journal") == records(run_dir / "journal")
    assert journal_reader.verify(elsewhere / "journal").signed_seq == 800
    for name in (KEY_NAME, "nonce"):
        assert (elsewhere / name).read_bytes() == (run_dir / name).read_bytes()
        assert (elsewhere / name).stat().st_mode & 0o777 == 0o600
    with opened(elsewhere) as journal:
        assert journal.recovery["bytes_cut"] == 0
        write(journal, 1)
    assert len(records(elsewhere / "journal")) == 1310


def test_a_journal_whose_oldest_segments_were_removed_is_backed_up_from_its_base(run_dir: Path, tmp_path: Path) -> None:
    """Its checkpoint comes with it; what a backup from before still holds, it keeps."""
    whole, late = tmp_path / "whole", tmp_path / "late"
    back_up(run_dir, whole)
    walk = journal_reader.Walk(run_dir / "journal", include_ring=False)
    place = next(place for _ in walk.batches() if (place := walk.place()) is not None and place.segment == 3)
    checkpoints.write(run_dir / "journal", Checkpoint(place, "build", "", 0, 0), b"state")
    for _, path in segment_paths(run_dir / "journal")[:2]:
        path.unlink()
    back_up(run_dir, whole)
    back_up(run_dir, late)
    numbers = [number for number, _ in segment_paths(whole / "journal")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert segment_paths(late / "journal")[0][0] == 3
    restore(late, tmp_path / "new")
    assert journal_reader.verify(tmp_path / "new" / "journal").first_seq > 1
    assert records(whole / "journal")[0][0] == 1


def test_a_backup_that_is_too_old_for_retention_says_so(run_dir: Path, tmp_path: Path) -> None:
    """The segment in which it ends is gone: there would be a hole."""
    target = tmp_path / "backup"
    back_up(run_dir, target)
    with opened(run_dir) as journal:
        write(journal, 80)
    numbers = segment_paths(run_dir / "journal")
    walk = journal_reader.Walk(run_dir / "journal", include_ring=False)
    place = next(place for _ in walk.batches() if (place := walk.place()) is not None and place.segment == numbers[-1][0])
    checkpoints.write(run_dir / "journal", Checkpoint(place, "build", "", 0, 0), b"state")
    for _, path in numbers[:-1]:
        path.unlink()
    before = contents(target)
    with pytest.raises(OperatorError, match="retention has removed it"):
        back_up(run_dir, target)
    assert {name: content for name, content in contents(target).items() if ".unfinished" not in name} == before


def test_only_its_own_journal_is_added_to_a_backup(run_dir: Path, tmp_path: Path) -> None:
    """Another journal, one that ends before the backup does, a damaged one, and a folder that is something else."""
    target, other = tmp_path / "backup", tmp_path / "other"
    back_up(run_dir, target)
    before = contents(target)
    with opened(other) as journal:
        write(journal, 5)
    with pytest.raises(OperatorError, match="is of journal"):
        back_up(other, target)
    restore(target, tmp_path / "old")
    with opened(run_dir) as journal:
        write(journal, 5)
    back_up(run_dir, target)
    with pytest.raises(OperatorError, match="only until 800"):
        back_up(tmp_path / "old", target)
    number, last = segment_paths(run_dir / "journal")[-1]
    content = bytearray(last.read_bytes())
    content[200] ^= 1
    last.write_bytes(content)
    with pytest.raises(VerificationError):
        back_up(run_dir, tmp_path / "of-damaged")
    assert not (tmp_path / "of-damaged" / "backup.json").exists()
    with pytest.raises(UsageError, match="is no backup, and it is not empty"):
        back_up(run_dir, tmp_path)
    with pytest.raises(UsageError, match="a copy of"):
        back_up(run_dir, run_dir / "journal" / "backup")
    assert before.keys() <= contents(target).keys()
    assert number >= 5


def interrupted(monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], bool]:
    """Let the disk refuse at the at-th file that takes its name or is made; tells whether it came to that."""
    counted = itertools.count()
    calls = {"replace": Path.replace, "open": os.open}

    def refuse_one(name: str) -> Callable[..., object]:
        def call(*args: object, **named: object) -> object:
            writes = name == "replace" or (isinstance(args[1], int) and args[1] & os.O_CREAT)
            if writes and next(counted) == at:
                raise DISK_FULL
            return calls[name](*args, **named)  # type: ignore[operator]
        return call

    monkeypatch.setattr(Path, "replace", refuse_one("replace"))
    monkeypatch.setattr(os, "open", refuse_one("open"))
    return lambda: next(counted) > at


def test_a_backup_cut_short_anywhere_is_still_one(run_dir: Path, tmp_path: Path) -> None:
    """A full disk at each file in turn: what the backup held can be restored, and the next one goes on."""
    for at in itertools.count():
        target, elsewhere = tmp_path / f"backup-{at}", tmp_path / f"new-{at}"
        back_up(run_dir, target)
        held = json.loads((target / "backup.json").read_bytes())["end"]["last_seq"]
        with opened(run_dir) as journal:
            write(journal, 2)
        with pytest.MonkeyPatch.context() as patch:
            reached = interrupted(patch, at)
            try:
                back_up(run_dir, target)
            except OperatorError as error:
                assert "No space left" in error.message
            if not reached():
                break
        restore(target, elsewhere)
        assert len(records(elsewhere / "journal")) >= held
        back_up(run_dir, target)
        assert records(target / "journal") == records(run_dir / "journal")
    assert at > 12


def test_a_restore_cut_short_is_not_traded_on(run_dir: Path, tmp_path: Path) -> None:
    """A full disk at each file in turn: there is nothing of a journal, or a start refuses what is there, or it is whole."""
    target = tmp_path / "backup"
    back_up(run_dir, target)
    whole = records(run_dir / "journal")
    refused = 0
    for at in itertools.count():
        elsewhere = tmp_path / f"new-{at}"
        with pytest.MonkeyPatch.context() as patch:
            reached = interrupted(patch, at)
            with_error = True
            try:
                restore(target, elsewhere)
                with_error = False
            except OperatorError as error:
                assert "No space left" in error.message
            if not reached():
                break
        assert with_error
        if not (elsewhere / "journal" / "head.cstd").exists():
            continue
        try:
            opened(elsewhere).close()
        except (VerificationError, OperatorError):
            refused += 1
        else:
            assert records(elsewhere / "journal") == whole
        with pytest.raises(UsageError, match="a restore replaces nothing"):
            restore(target, elsewhere)
    assert at > 8 and refused >= 5


def retell(target: Path, old: object, new: object) -> None:
    """Have the manifest say something else: parts of its JSON text."""
    told = (target / "backup.json").read_text()
    before, after = (json.dumps(list(part) if isinstance(part, set) else part)[1:-1].replace(": ", ":") for part in (old, new))
    assert before in told
    (target / "backup.json").write_text(told.replace(before, after))


def unreadable_ledger(target: Path) -> None:
    """A folder in its place, which refuses to be read to root too."""
    (target / "ledger.db").unlink()
    (target / "ledger.db").mkdir()


def damages() -> Iterator[tuple[str, Callable[[Path], None], type[CstdError]]]:
    """What may befall a backup: its name, how, and the error."""
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    yield "a segment damaged", lambda target: flip(segment_paths(target / "journal")[1][1]), VerificationError
    yield "a segment missing", lambda target: segment_paths(target / "journal")[2][1].unlink(), VerificationError
    yield "the head missing", lambda target: (target / "journal" / "head.cstd").unlink(), VerificationError
    yield "a signature damaged", lambda target: flip(target / "journal" / "head.sig"), VerificationError
    yield "the manifest missing", lambda target: (target / "backup.json").unlink(), UsageError
    yield "the manifest no JSON", lambda target: (target / "backup.json").write_text("{"), UsageError
    yield "no place in the manifest", lambda target: retell(target, {"last_seq": 800}, {"last_seq": "800"}), UsageError
    yield "no time in the manifest", lambda target: retell(target, {"holds_until"}, {"until"}), UsageError
    yield "a ledger that cannot be read", unreadable_ledger, OperatorError
    yield "another format", lambda target: (target / "backup.json").write_text('{"format": 2, "cstd": "9"}'), UsageError


@pytest.mark.parametrize(("damage", "kind"), [case[1:] for case in damages()], ids=[case[0] for case in damages()])
def test_what_is_not_proven_is_not_restored(run_dir: Path, tmp_path: Path, damage: Callable[[Path], None],
                                            kind: type[CstdError]) -> None:
    """An error that names it, and the run directory stays as empty as it was."""
    target, elsewhere = tmp_path / "backup", tmp_path / "new"
    back_up(run_dir, target)
    damage(target)
    with pytest.raises(kind):
        restore(target, elsewhere)
    assert contents(elsewhere) == {} if elsewhere.exists() else True


def test_a_damaged_backup_is_not_to_be_brought_back_from_itself(run_dir: Path, tmp_path: Path,
                                                                capsys: pytest.CaptureFixture[str]) -> None:
    """What to do fits: another backup, or a new one; `cstd journal verify` of it says so too; of the host's own journal not."""
    target = tmp_path / "backup"
    back_up(run_dir, target)
    for journal in (target / "journal", run_dir / "journal"):
        path = segment_paths(journal)[1][1]
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(VerificationError) as caught:
        restore(target, tmp_path / "new")
    assert "restore another backup" in caught.value.suggestion and "into a new folder" in caught.value.suggestion
    capsys.readouterr()
    for journal, advice in ((target / "journal", "restore another backup"), (run_dir / "journal", "bring it back from a backup")):
        assert main(["journal", "verify", str(journal), "-o", "json"]) == 3
        assert advice in json.loads(capsys.readouterr().out)["suggestion"]


def test_nothing_is_replaced_by_a_restore(run_dir: Path, tmp_path: Path) -> None:
    """A journal or a ledger that is there stays; the command names it."""
    target = tmp_path / "backup"
    back_up(run_dir, target)
    before = contents(run_dir)
    with pytest.raises(UsageError, match=r"head\.cstd is there already"):
        restore(target, run_dir)
    assert contents(run_dir) == before
    other = tmp_path / "other"
    other.mkdir()
    LedgerDatabase(other / "ledger.db").close()
    with pytest.raises(UsageError, match=r"ledger\.db is there already"):
        restore(target, other)
    for name in (KEY_NAME, "nonce", "statements"):
        folder = tmp_path / f"with {name}"
        folder.mkdir()
        (folder / name).write_text("")
        with pytest.raises(UsageError, match="is there already"):
            restore(target, folder)
        assert list(contents(folder)) == [name]


def test_a_damaged_ledger_is_left_out(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The journal is what counts: the ledger is made anew from it, and the command says so."""
    target, elsewhere = tmp_path / "backup", tmp_path / "new"
    back_up(run_dir, target)
    (target / "ledger.db").write_bytes(b"no database" * 100)
    capsys.readouterr()
    restore(target, elsewhere)
    assert "made anew from the journal" in json.loads(capsys.readouterr().out)["ledger"]
    assert not (elsewhere / "ledger.db").exists()


def spoil(ledger: Path) -> None:
    """Leave the first page, by which SQLite knows a database, and nothing of the next."""
    content = bytearray(ledger.read_bytes())
    content[4096:8192] = b"x" * 4096
    ledger.write_bytes(content)


@pytest.mark.parametrize("damage", [spoil, lambda ledger: ledger.write_bytes(b"no database" * 100)], ids=["a page", "all of it"])
def test_a_damaged_ledger_neither_replaces_a_sound_one_nor_keeps_the_journal_out(
        run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]) -> None:
    """The journal goes on, the ledger from before stays, which knows of removed segments, and the command fails and says it."""
    target = tmp_path / "backup"
    back_up(run_dir, target)
    before = (target / "ledger.db").read_bytes()
    with opened(run_dir) as journal:
        write(journal, 5)
    damage(run_dir / "ledger.db")
    capsys.readouterr()
    with pytest.raises(OperatorError, match="the ledger of now is not"):
        back_up(run_dir, target)
    found = json.loads(capsys.readouterr().out)
    assert (found["seq"], found["ledger"]) == (850, False)
    assert (target / "ledger.db").read_bytes() == before
    restore(target, tmp_path / "new")
    assert len(records(tmp_path / "new" / "journal")) == 850


def test_a_backup_on_the_journals_disk_leaves_what_trading_needs(run_dir: Path, tmp_path: Path,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """With less than journal.disk_free_bytes_min, as the running daemon shows it, that would halt; nothing is left there."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**10))
    back_up(run_dir, tmp_path / "backup")  # no daemon runs: what practice needs is enough
    board = BoardWriter(run_dir / "board")
    board.publish(FakeView())  # it shows a floor of 10 GB
    board.close()
    with pytest.raises(OperatorError, match="trading would halt"):
        back_up(run_dir, tmp_path / "second")
    assert list(contents(tmp_path / "second")) == [] and not (tmp_path / "second" / ".unfinished").exists()


@pytest.mark.parametrize("which", [2, -1], ids=["one between", "the last"])
def test_a_backup_that_lost_a_segment_is_not_renewed_in_silence(run_dir: Path, tmp_path: Path, which: int) -> None:
    """No restore would take it: the hour at which it is renewed says so, and not the day on which it is needed."""
    target = tmp_path / "backup"
    back_up(run_dir, target)
    number, path = segment_paths(target / "journal")[which]
    path.unlink()
    with pytest.raises(OperatorError, match=f"segment {number} is gone"):
        back_up(run_dir, target)


def test_a_backup_that_is_being_renewed_is_not_restored(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is copied would not be what was proven, a ledger ahead of its journal for one; and the other way about."""
    target, elsewhere = tmp_path / "backup", tmp_path / "new"
    back_up(run_dir, target)
    lock = (target / "lock").open("ab")
    with wait_for_lock(lock, 0.0, OperatorError("")), pytest.raises(OperatorError, match="makes the backup"):
        restore(target, elsewhere)
    assert not elsewhere.exists()
    verify = journal_reader.verify

    def meanwhile(directory: Path, key: Path | None) -> journal_reader.Report:
        with pytest.raises(OperatorError, match="makes the backup"):
            back_up(run_dir, target)
        return verify(directory, key)

    monkeypatch.setattr(journal_reader, "verify", meanwhile)
    restore(target, elsewhere)
    (target / "lock").unlink()  # of a copy of it
    monkeypatch.setattr(journal_reader, "verify", verify)
    restore(target, tmp_path / "of a copy")


def test_a_failed_backup_keeps_no_space(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had copied until its disk was full is removed again."""
    monkeypatch.setattr(journal_reader.Walk, "prove", lambda _: (_ for _ in ()).throw(DISK_FULL))
    with pytest.raises(OperatorError, match="No space left"):
        back_up(run_dir, tmp_path / "backup")
    assert not (tmp_path / "backup" / ".unfinished").exists()


def test_a_restore_stays_out_of_a_journal_that_a_daemon_begins(run_dir: Path, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Started while the backup is proven: it is seen by its lock, and one that has ended meanwhile by what it wrote."""
    target, elsewhere = tmp_path / "backup", tmp_path / "new"
    back_up(run_dir, target)
    (elsewhere / "journal").mkdir(parents=True)
    with lock_directory(elsewhere / "journal"), pytest.raises(OperatorError, match="is being written by another process"):
        restore(target, elsewhere)
    assert contents(elsewhere) == {}
    verify = journal_reader.verify

    def slowly(directory: Path, key: Path | None) -> journal_reader.Report:
        with opened(elsewhere) as journal:
            write(journal, 1)
        return verify(directory, key)

    monkeypatch.setattr(journal_reader, "verify", slowly)
    with pytest.raises(UsageError, match="is there already"):
        restore(target, elsewhere)
    assert len(records(elsewhere / "journal")) == 10 and not (elsewhere / KEY_NAME).exists()


def test_a_backup_without_the_signing_key_says_so(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both commands: a daemon on what is restored signs on with another."""
    said = []
    for name in ("with", "without"):
        back_up(run_dir, tmp_path / name)
        said.append(json.loads(capsys.readouterr().out)["signing_key"])
        restore(tmp_path / name, tmp_path / f"new-{name}")
        said.append(json.loads(capsys.readouterr().out)["signing_key"])
        (run_dir / KEY_NAME).unlink(missing_ok=True)
    assert said == [True, True, False, False]


def test_a_ledger_of_another_schema_is_left_out(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The projector would refuse it at each start, and sign nothing."""
    target, elsewhere = tmp_path / "back up #1", tmp_path / "new"
    back_up(run_dir, target)
    with sqlite3.connect(target / "ledger.db") as ledger:
        ledger.execute("PRAGMA user_version = 1")
    capsys.readouterr()
    restore(target, elsewhere)
    assert "of schema 1" in json.loads(capsys.readouterr().out)["ledger"]
    assert not (elsewhere / "ledger.db").exists()


def test_no_journal_to_back_up_leaves_no_folder(tmp_path: Path) -> None:
    """A run directory that is none: said, and nothing made."""
    with pytest.raises(UsageError, match="no journal in"):
        back_up(tmp_path / "none", tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_a_ledger_in_use_is_copied_as_its_last_transaction_left_it(run_dir: Path, tmp_path: Path) -> None:
    """What its writer has not committed is not in the copy, and the writer is not in the way."""
    with sqlite3.connect(run_dir / "ledger.db", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("CREATE TABLE pending (number INTEGER)")
        back_up(run_dir, tmp_path / "backup")
        writer.execute("ROLLBACK")
    with sqlite3.connect(tmp_path / "backup" / "ledger.db") as copy:
        tables = {name for name, in copy.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert "boots" in tables and "pending" not in tables
