"""`cstd backup` and `cstd restore`: what a lost host would take with it, kept elsewhere and brought back.

A backup is a folder that grows: each `cstd backup` adds what the journal got since, and replaces the rest by what is there now.
It reads files alone, while the daemon trades. It is always whole: what a killed one left is no part of it.

    backup.json     where the journal in it ends; written last
    journal/        compressed segments, head, signatures and checkpoints; `cstd journal verify` and `cstd replay` open it
    ledger.db       the ledger, with what it still knows of segments that retention removed
    journal-key.pem the host's signing key: who has the backup can sign as this host
    nonce, statements/, code/, and in mode paper paper-account.jsonl
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from cstd import __version__
from cstd.cli.flight import run_dir_of
from cstd.cli.statement import STATEMENTS_DIR
from cstd.clock import SystemClock, utc_text
from cstd.daemon.flight import DISK_FREE_BYTES_MIN
from cstd.daemon.flight_folder import BOARD_FILE
from cstd.daemon.ring_place import ring_path
from cstd.daemon.run_place import make_run_dir
from cstd.errors import EXIT_OK, OperatorError, UsageError, VerificationError
from cstd.locks import wait_for_lock
from cstd.ops.board import BoardReader
from cstd.ops.sight import Sight
from cstd.printed import print_row
from cstd.projector.database import APPLICATION_ID
from cstd.projector.process import state_dir
from cstd.signals.code import code_dir, copy_code
from cstd.storage import checkpoints, journal_reader
from cstd.storage import journal_files as files
from cstd.storage.journal_copy import FILE_MODE, copy_part, created, signatures_of
from cstd.storage.journal_files import Head
from cstd.storage.journal_signature import KEY_NAME, PUBLIC_NAME
from cstd.storage.run_dir import CODE_DIR, DATABASE_FILE, JOURNAL_DIR, LEDGER_SCHEMA, MANIFEST_FILE, NONCE_FILE, PAPER_FILE

FORMAT = 1
LOCK_FILE = "lock"
STAGING_DIR = ".unfinished"
RING_LEFT_FILE = "journal.ring.left"
DIR_MODE = 0o700


class _Place(msgspec.Struct):
    segment: int
    segment_bytes: int
    index: int
    last_seq: int
    journal_id: str
    hash: str


class _Manifest(msgspec.Struct):
    """What backup.json says, of format FORMAT."""

    cstd: str
    holds_until: str
    end: _Place
    format: int = FORMAT

    def head(self) -> Head:
        """Return where the journal ends; raises ValueError where a hash is none."""
        hashes = {"journal_id": bytes.fromhex(self.end.journal_id), "hash": bytes.fromhex(self.end.hash)}
        return Head(**msgspec.structs.asdict(self.end) | hashes)


def backup(args: argparse.Namespace) -> int:
    """Bring the backup at `args.target` up to date, or begin it; prints what it holds and returns 0.

    Raises:
        UsageError: no journal in the run directory, or the folder is something else.
        OperatorError: the backup is of another journal or ends in a removed segment, another makes it, the disk refuses or
            would keep too little free for the daemon; or all but the ledger is in it now.
        VerificationError: the journal is not what was written; the backup stays as it was.
    """
    target = Path(args.target).resolve()
    run_dir = run_dir_of(args)
    if not (run_dir / JOURNAL_DIR).is_dir():
        raise UsageError(f"there is no journal in {run_dir}", suggestion="name the run directory of a daemon, with --run-dir")
    if target.is_relative_to(run_dir) or target.is_relative_to(state_dir(run_dir) / JOURNAL_DIR):
        raise UsageError(f"{target} lies in what it would be a copy of", suggestion="name a folder on another disk")
    try:
        with _held(target):
            found, no_ledger = _take(run_dir, target)
    except OSError as error:
        raise OperatorError(f"the backup {target} cannot be made: {error}",
                            suggestion="check free space and rights; what it held it still holds") from error
    code = _print(found, args)
    if no_ledger:
        raise OperatorError(f"the journal is in the backup {target}, the ledger of now is not: {no_ledger}",
                            suggestion="a damaged one `cstd db rebuild` makes anew; one that was in the backup still is")
    return code


@contextlib.contextmanager
def _held(target: Path) -> Iterator[None]:
    """Make the folder where there is none, take its lock and remove what a killed backup left."""
    if target.exists() and not (target / MANIFEST_FILE).exists() and _strangers(target):
        raise UsageError(f"{target} is no backup, and it is not empty", suggestion="name a new folder, or a backup")
    target.mkdir(mode=DIR_MODE, parents=True, exist_ok=True)
    lock = os.fdopen(os.open(target / LOCK_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE), "wb")
    with wait_for_lock(lock, 0.0, OperatorError(f"another process makes the backup {target}", suggestion="wait for it")):
        staging = target / STAGING_DIR
        shutil.rmtree(staging, ignore_errors=True)
        if not (target / MANIFEST_FILE).exists():  # segments of a first one that was killed, after which some may be missing
            shutil.rmtree(target / JOURNAL_DIR, ignore_errors=True)
        (staging / JOURNAL_DIR).mkdir(mode=DIR_MODE, parents=True)
        try:
            yield
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _strangers(target: Path) -> bool:
    """Tell whether a folder without a manifest holds what no first backup, ended half way, leaves there."""
    ours = {LOCK_FILE, STAGING_DIR, JOURNAL_DIR, STATEMENTS_DIR, CODE_DIR, DATABASE_FILE, KEY_NAME, NONCE_FILE,
            PAPER_FILE}
    return not target.is_dir() or any(path.name not in ours for path in target.iterdir())


def _take(run_dir: Path, target: Path) -> tuple[dict[str, Any], str]:
    """Bring a backup up to date; returns what it holds, and why the ledger is not renewed in it, "" where it is."""
    journal, state, staging = run_dir / JOURNAL_DIR, state_dir(run_dir), target / STAGING_DIR
    before = _manifest_of(target)[0] if (target / MANIFEST_FILE).exists() else None
    if before is not None:
        _need_all(target, before)
    _need_room(run_dir, target, before)
    # Before the journal's end is read: the ledger must not stand for records that the copy has not.
    no_ledger = _copy_ledger(state / DATABASE_FILE, staging / DATABASE_FILE)
    made_ns = SystemClock().wall_ns()
    end = files.read_head(journal)
    if end is None:
        raise OperatorError(f"there is no record on disk in the journal {journal} yet", suggestion="try again in a moment")
    _copy_journal(journal, staging / JOURNAL_DIR, before, end)
    for name, source in ((KEY_NAME, state), (NONCE_FILE, run_dir), (PAPER_FILE, state)):
        with contextlib.suppress(FileNotFoundError):
            files.put_in_place(staging / name, (source / name).read_bytes(), mode=FILE_MODE)
    has_ledger = (staging / DATABASE_FILE).exists()
    copy_code(code_dir(journal), target / CODE_DIR)  # before the journal that names it is published
    _publish(staging, target)
    _copy_statements(state / STATEMENTS_DIR, target / STATEMENTS_DIR)
    files.put_in_place(target / MANIFEST_FILE, _manifest(end, made_ns), mode=FILE_MODE)
    numbers = [number for number, _ in files.segment_paths(target / JOURNAL_DIR)]
    return {"backup": str(target), "holds_until": utc_text(made_ns), "seq": end.last_seq,
            "seq_before": before.last_seq if before is not None else 0, "segments": len(numbers), "ledger": has_ledger,
            "signing_key": (target / KEY_NAME).exists(),
            "bytes": sum(path.stat().st_size for path in target.rglob("*") if path.is_file())}, no_ledger


def _need_all(target: Path, before: Head) -> None:
    """Refuse to go on with a backup from which segments are gone: it would be renewed for ever and never come back."""
    there = {number for number, _ in files.segment_paths(target / JOURNAL_DIR)}
    missing = [number for number in range(min(there, default=1), before.segment + 1) if number not in there]
    if missing:
        raise OperatorError(f"segment {missing[0]} is gone from the backup {target}: it cannot be restored",
                            suggestion="bring it back, or begin a new backup in another folder")


def _need_room(run_dir: Path, target: Path, before: Head | None) -> None:
    """Refuse a backup on the journal's own disk that would leave less there than trading needs: the daemon would halt."""
    journal, ledger = run_dir / JOURNAL_DIR, state_dir(run_dir) / DATABASE_FILE
    if target.stat().st_dev != journal.stat().st_dev:
        return
    first = before.segment if before is not None else 0
    copied = [ledger, *checkpoints.paths(journal), *(path for number, path in files.segment_paths(journal) if number >= first)]
    needed, free, floor = sum(map(_size, copied)), shutil.disk_usage(target).free, _floor_bytes(run_dir)
    if free - needed < floor:
        raise OperatorError(
            f"{target} is on the journal's own disk: up to {needed:,} bytes more would leave less than"
            f" journal.disk_free_bytes_min = {floor:,} of the {free:,} that are free, and trading would halt",
            suggestion="name a folder on another disk")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # compressed or removed meanwhile
        return 0


def _floor_bytes(run_dir: Path) -> int:
    """Return journal.disk_free_bytes_min of the daemon that runs here, or what the shipped configuration begins with."""
    try:
        sight = Sight(BoardReader(run_dir / BOARD_FILE))
    except OperatorError:
        return DISK_FREE_BYTES_MIN
    try:
        return int(sight.value("alert_limits").get("disk_free_bytes_min", DISK_FREE_BYTES_MIN))
    except OperatorError:
        return DISK_FREE_BYTES_MIN
    finally:
        sight.close()


def _copy_ledger(source: Path, target: Path) -> str:
    """Copy the database as one transaction left it, while its writer goes on, if there is one and it is sound.

    Returns why there is one and no copy of it, "" otherwise.
    """
    if not source.exists():
        return ""
    target.touch(FILE_MODE)
    try:
        with contextlib.closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as ours, \
                contextlib.closing(sqlite3.connect(target)) as copy:
            ours.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
            if (found := copy.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
                raise sqlite3.DatabaseError(str(found[0]))
    except sqlite3.Error as error:
        target.unlink()
        return f"{source}: {error}"
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return ""


def _copy_journal(journal: Path, target: Path, before: Head | None, end: Head) -> None:
    """Copy what the journal has between a backup's end and its own, with checkpoints, and prove that it goes on from there."""
    if before is not None and before.journal_id != end.journal_id:
        raise OperatorError(f"the backup is of journal {before.journal_id.hex()}, not of {end.journal_id.hex()} in {journal}",
                            suggestion="begin a new backup in another folder")
    if before is not None and before.last_seq > end.last_seq:
        raise OperatorError(f"the backup holds records until {before.last_seq}, the journal {journal} only until {end.last_seq}",
                            suggestion="the journal was restored: begin a new backup in another folder")
    segments = files.segment_paths(journal)
    first = before.segment if before is not None else segments[0][0]
    if first < segments[0][0]:
        raise OperatorError(f"the backup ends in segment {first}, and retention has removed it from {journal}",
                            suggestion="begin a new backup in another folder, and more often than journal.keep_bytes lasts")
    try:
        for path in checkpoints.paths(journal):
            if checkpoints.seq_of(path) <= end.last_seq:
                files.put_in_place(target / path.name, path.read_bytes(), mode=FILE_MODE)
        copy_part(journal, target, first, end, None, signatures_of(journal))
    except FileNotFoundError as error:
        raise OperatorError(f"{error.filename} went while it was copied", suggestion="run it again") from error
    walk = journal_reader.Walk(target, include_ring=False, start=before)
    walk.prove()


def _publish(staging: Path, target: Path) -> None:
    """Move what was copied to where it belongs: segments in their order, what names their end after them."""
    (target / JOURNAL_DIR).mkdir(mode=DIR_MODE, exist_ok=True)
    kept = {path.name for path in checkpoints.paths(staging / JOURNAL_DIR)}
    last = (files.HEAD_NAME, files.HEAD_SIGNATURE_NAME)
    copied = sorted((staging / JOURNAL_DIR).iterdir(), key=lambda path: (path.name in last, path.name))
    for path in copied:
        path.replace(target / JOURNAL_DIR / path.name)
    for path in checkpoints.paths(target / JOURNAL_DIR):
        if path.name not in kept:
            path.unlink()
    files.sync_directory(target / JOURNAL_DIR)
    for name in (DATABASE_FILE, KEY_NAME, NONCE_FILE, PAPER_FILE):
        if (staging / name).exists():
            (staging / name).replace(target / name)
    files.sync_directory(target)


def _copy_statements(source: Path, target: Path) -> None:
    """Copy the signed statements that are not there yet: none is ever written twice."""
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        if path.is_file() and not path.name.startswith(".") and not (target / path.name).exists():
            target.mkdir(mode=DIR_MODE, exist_ok=True)
            files.put_in_place(target / path.name, path.read_bytes(), mode=FILE_MODE)


def _manifest(end: Head, made_ns: int) -> bytes:
    place = _Place(**asdict(end) | {"journal_id": end.journal_id.hex(), "hash": end.hash.hex()})
    return msgspec.json.encode(_Manifest(__version__, utc_text(made_ns), place)) + b"\n"


def _manifest_of(target: Path) -> tuple[Head, str]:
    """Return where a backup's journal ends and the time until which it holds all; raises UsageError where it is none."""
    try:
        told = json.loads((target / MANIFEST_FILE).read_bytes())
        if told["format"] != FORMAT:
            raise UsageError(f"{target} is a backup of format {told['format']}; this cstd knows {FORMAT}",
                             suggestion=f"use cstd {told['cstd']}")
        manifest = msgspec.convert(told, _Manifest)
        return manifest.head(), manifest.holds_until
    except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise UsageError(f"{target} is no backup: {MANIFEST_FILE}: {error}",
                         suggestion="name a folder that `cstd backup` made") from error


def restore(args: argparse.Namespace) -> int:
    """Bring a backup into a run directory that has no journal; prints what is there now and returns 0.

    Raises:
        UsageError: the folder is no backup, or the run directory has a journal or a ledger.
        VerificationError: the backup is not what was written; nothing was restored.
        OperatorError: a daemon starts there meanwhile, the backup is being renewed or cannot be read (nothing was restored), or
            the disk refuses: the daemon does not start on what is half there.
    """
    source, run_dir = Path(args.source).resolve(), Path(args.run_dir).resolve()
    _manifest_of(source)  # before the lock: that of a journal is not this one's to take
    with _kept_as_it_is(source):
        return _print(_restored(source, run_dir, args.key), args)


@contextlib.contextmanager
def _kept_as_it_is(source: Path) -> Iterator[None]:
    """Hold a backup's lock, so that what is copied is what was proven. Where that cannot be opened nobody renews it from here."""
    try:
        lock = (source / LOCK_FILE).open("r+b")
    except OSError:
        yield
        return
    with wait_for_lock(lock, 0.0, OperatorError(f"another process makes the backup {source}", suggestion="wait for it")):
        yield


def _restored(source: Path, run_dir: Path, key: Path | None) -> dict[str, Any]:
    """Prove a backup and bring it into a run directory; returns what is there now."""
    end, holds_until = _manifest_of(source)
    make_run_dir(run_dir)
    _refuse_what_is_there(run_dir)
    try:
        report = journal_reader.verify(source / JOURNAL_DIR, key)
    except VerificationError as error:
        raise files.advise_of_backup(error) from None
    if report.last_seq < end.last_seq:
        raise VerificationError(f"the backup {source} ends at record {report.last_seq}, and {MANIFEST_FILE} says {end.last_seq}",
                                place={"file": MANIFEST_FILE, "seq": report.last_seq}, suggestion=files.DAMAGED_BACKUP)
    try:
        no_ledger = _no_ledger(source / DATABASE_FILE, report.last_seq)
        (run_dir / JOURNAL_DIR).mkdir(mode=DIR_MODE, exist_ok=True)
        with files.lock_directory(run_dir / JOURNAL_DIR):  # neither a daemon nor another restore begins here meanwhile
            _refuse_what_is_there(run_dir)
            ring = _bring_back(source, run_dir, with_ledger=not no_ledger)
    except OSError as error:
        raise OperatorError(f"{source} cannot be restored to {run_dir}: {error}",
                            suggestion="remove what is there, check free space and rights, and restore again") from error
    return {"run_dir": str(run_dir), "holds_until": holds_until, "seq": report.last_seq, "records": report.records,
            "ledger": no_ledger or "restored", "signing_key": (source / KEY_NAME).exists(), "ring_put_aside": ring}


def _bring_back(source: Path, run_dir: Path, *, with_ledger: bool) -> str | None:
    """Copy a proven backup to where nothing is; returns where a ring that was there is now."""
    journal, state = run_dir / JOURNAL_DIR, state_dir(run_dir)
    ring = _put_ring_aside(run_dir)
    # The head first and what it names last: a start that finds it without its segment refuses to trade.
    _put(source / JOURNAL_DIR / files.HEAD_NAME, journal / files.HEAD_NAME)
    for path in [source / KEY_NAME, *sorted((source / STATEMENTS_DIR).glob("*"))]:
        _put(path, state / path.relative_to(source))
    _put(source / NONCE_FILE, run_dir / NONCE_FILE)
    _put(source / PAPER_FILE, state / PAPER_FILE)
    copy_code(source / CODE_DIR, state / CODE_DIR)
    if with_ledger:
        _put(source / DATABASE_FILE, state / DATABASE_FILE)
    _put_segments(source / JOURNAL_DIR, journal)
    return ring


def _refuse_what_is_there(run_dir: Path) -> None:
    journal, state = run_dir / JOURNAL_DIR, state_dir(run_dir)
    ring_left = [run_dir / RING_LEFT_FILE] if ring_path(run_dir).exists() else []
    kept = [state / name for name in (DATABASE_FILE, KEY_NAME, STATEMENTS_DIR, PAPER_FILE)]
    found = [path for path in [journal / files.HEAD_NAME, *kept, run_dir / NONCE_FILE, *ring_left] if path.exists()]
    if journal.is_dir():
        found += [path for _, path in files.segment_paths(journal)]
    if found:
        raise UsageError(f"{found[0]} is there already: a restore replaces nothing",
                         suggestion="move it away, or name another --run-dir")


def _put_ring_aside(run_dir: Path) -> str | None:
    """Keep a ring that outlived its journal under another name: what it holds does not join what a backup ends with."""
    ring = ring_path(run_dir)
    if not ring.exists():
        return None
    left = run_dir / RING_LEFT_FILE
    shutil.move(ring, left)
    return str(left)


def _put_segments(source: Path, journal: Path) -> None:
    """Copy a proven journal's segments with what belongs to them, the one that the daemon goes on with last, unpacked."""
    *sealed, (_, last) = files.segment_paths(source)
    others = [source / PUBLIC_NAME, *source.glob("*.sig"), *checkpoints.paths(source)]
    for path in [*others, *(path for _, path in sealed)]:
        _put(path, journal / path.name)
    plain = journal / last.name.removesuffix(files.PACKED_SUFFIX)
    with last.open("rb") as packed, created(plain) as target:
        zstandard.ZstdDecompressor().copy_stream(packed, target)
        target.flush()
        os.fsync(target.fileno())
    files.sync_directory(journal)


def _put(source: Path, target: Path) -> None:
    """Copy a file to where none is, to disk; nothing where the backup has none."""
    if not source.exists():
        return
    target.parent.mkdir(mode=DIR_MODE, exist_ok=True)
    with source.open("rb") as content, created(target) as file:
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(file.fileno())


def _no_ledger(source: Path, last_seq: int) -> str:
    """Return why a backup's ledger is left out, for the projector to make anew; "" if it is sound and no newer than the journal.

    Raises OSError: it cannot be read, which is no reason to go without it.
    """
    try:
        source.open("rb").close()
    except FileNotFoundError:
        return "not in the backup: it is made anew from the journal"
    try:
        with contextlib.closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as ledger:
            sound = ledger.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
            whose = ledger.execute("PRAGMA application_id").fetchone()[0]
            schema = ledger.execute("PRAGMA user_version").fetchone()[0]
            place = ledger.execute("SELECT seq FROM place").fetchone()
    except sqlite3.Error:
        sound, whose, schema, place = False, 0, 0, None
    if not sound or whose != APPLICATION_ID or (place is not None and place[0] > last_seq):
        return "damaged in the backup: it is made anew from the journal"
    if schema != LEDGER_SCHEMA:
        return f"of schema {schema} in the backup, this cstd has {LEDGER_SCHEMA}: it is made anew from the journal"
    return ""


def _print(found: dict[str, Any], args: argparse.Namespace) -> int:
    print_row(found, args.output)
    return EXIT_OK
