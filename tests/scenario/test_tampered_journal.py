"""A journal that somebody changed: whatever of its checksums he made fit again, `journal verify` and `replay --check` say where.

The journal is an engine's, so that both commands read the same one. A block's hash holds its records, and each block names
the hash of the one before: who makes his block fit is found at the next. All of it made fit again, the head too, only a signature
tells (tests/storage/test_journal_signature.py), or the replay where a decision was changed (test_replay.py).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from test_replay import session

from cstd._fast.codes import EventKind
from cstd._fast.journal_scan import crc32c
from cstd.cli.parser import parse
from cstd.errors import EXIT_OK, EXIT_VERIFICATION, VerificationError
from cstd.research import replay
from cstd.storage import journal_files, verify
from cstd.storage.journal import open_journal
from cstd.storage.journal_reader import records
from tests.journals import striped

SEGMENT_BYTES = 1 << 17
RECORDS_A_BLOCK = 40
SEGMENT_HEADER, BLOCK_HEADER, RECORD_HEADER = 128, 96, 48
SEQ_AT, PAYLOAD_BYTES_AT, KIND_AT = 16, 4, 8
TAMPERED = "segment-000002.cstd"


@pytest.fixture(scope="module")
def journal_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session's journal of several segments, with blocks of forty records; not to be changed."""
    folder = tmp_path_factory.mktemp("tampered")
    with open_journal(folder / "first", folder / "first.ring", ring_bytes=1 << 24, segment_bytes=1 << 24) as journal:
        session(journal)
        journal.sync()
    with open_journal(folder / "journal", folder / "journal.ring", ring_bytes=1 << 20, segment_bytes=SEGMENT_BYTES,
                      sync_interval_ms=60_000) as journal:
        for record in records(folder / "first"):
            journal.append_py(record.kind, record.tag, record.mono_ns, record.wall_ns, record.payload)
            if record.seq % RECORDS_A_BLOCK == 0:
                journal.sync()
    (folder / "journal.ring").unlink()
    return folder / "journal"


@pytest.fixture(autouse=True)
def _no_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The session has no agents, so its replays load none."""
    monkeypatch.setattr(replay, "load_agents", lambda: None)


class Block(NamedTuple):
    """One block of a segment's bytes, and where its records begin and end."""

    begin: int
    end: int
    index: int
    first_seq: int
    records: list[tuple[int, int]]


def blocks_of(data: bytes) -> list[Block]:
    """The blocks of a segment."""
    found, at = [], SEGMENT_HEADER
    while at < len(data):
        payload_bytes, first_seq, _, index = struct.unpack_from("<IQQQ", data, at + 4)
        end, rows, begin = at + BLOCK_HEADER + payload_bytes, [], at + BLOCK_HEADER
        while begin < end:
            size = RECORD_HEADER + struct.unpack_from("<I", data, begin + PAYLOAD_BYTES_AT)[0]
            rows.append((begin, begin + size + -size % 8))
            begin = rows[-1][1]
        found.append(Block(at, end, index, first_seq, rows))
        at = end
    return found


def checked(record: bytes, seq: int | None = None) -> bytes:
    """A record with its checksum made fit, under another number where one is given."""
    body = record[4:] if seq is None else record[4:SEQ_AT] + struct.pack("<Q", seq) + record[SEQ_AT + 8 :]
    return struct.pack("<I", crc32c(body)) + body


def sealed(header: bytes, payload: bytes) -> bytes:
    """A block with its hash made fit: of its first 64 bytes and of the striped digest of its records."""
    return header[:64] + hashlib.sha256(header[:64] + striped(payload)).digest() + payload


def flipped(record: bytes) -> bytes:
    """A record with one bit of the first byte of its payload changed."""
    return record[:RECORD_HEADER] + bytes([record[RECORD_HEADER] ^ 1]) + record[RECORD_HEADER + 1 :]


class Target(NamedTuple):
    """What is tampered with: a segment's bytes, one of its blocks, and one of the records in it that others follow."""

    data: bytes
    block: Block
    number: int

    @property
    def seq(self) -> int:
        """The record's number in the journal."""
        return self.block.first_seq + self.number

    def record(self, number: int) -> bytes:
        """A record of the block."""
        begin, end = self.block.records[number]
        return self.data[begin:end]

    def header(self, records_fewer: int = 0, bytes_fewer: int = 0) -> bytes:
        """The block's header, for as many records and bytes fewer."""
        header = bytearray(self.data[self.block.begin : self.block.begin + BLOCK_HEADER])
        payload_bytes, _, last_seq = struct.unpack_from("<IQQ", header, 4)
        struct.pack_into("<I", header, 4, payload_bytes - bytes_fewer)
        struct.pack_into("<Q", header, 16, last_seq - records_fewer)
        return bytes(header)

    def with_block(self, block: bytes) -> bytes:
        """The segment with another block in its place."""
        return self.data[: self.block.begin] + block + self.data[self.block.end :]

    def rows(self) -> list[bytes]:
        """The block's records."""
        return [self.record(number) for number in range(len(self.block.records))]


def target_of(path: Path, *, last: bool = False) -> Target:
    """A record with a payload: in the midst of a block that another of its segment follows, or in the last one."""
    data = path.read_bytes()
    blocks = blocks_of(data)
    block = blocks[-1] if last else next(block for block in blocks[:-1] if len(block.records) >= 10)
    # A start's words are read as its record is met: another test's.
    full = [end - begin > RECORD_HEADER and struct.unpack_from("<H", data, begin + KIND_AT)[0] != EventKind.EVENT_BOOT
            for begin, end in block.records]
    if last:
        return Target(data, block, full.index(True))
    return Target(data, block, next(n for n in range(2, len(full) - 3) if full[n] and full[n + 1]))


def deleted(target: Target) -> bytes:
    """The record's bytes are gone; nothing else is changed."""
    begin, end = target.block.records[target.number]
    return target.data[:begin] + target.data[end:]


def deleted_and_fits(target: Target, *, seals: bool) -> bytes:
    """The record is gone, those after it in its block move up a number, and the block's header counts one fewer."""
    rows = target.rows()
    gone = rows.pop(target.number)
    rows[target.number :] = [checked(row, target.seq + n) for n, row in enumerate(rows[target.number :])]
    header, payload = target.header(1, len(gone)), b"".join(rows)
    return target.with_block(sealed(header, payload) if seals else header + payload)


def swapped(target: Target, *, renumbered: bool = False) -> bytes:
    """The record and the one after it in each other's place, under their own numbers or under each other's."""
    rows = target.rows()
    first, second = rows[target.number : target.number + 2]
    if renumbered:
        first, second = checked(first, target.seq + 1), checked(second, target.seq)
    rows[target.number : target.number + 2] = [second, first]
    return target.with_block(target.header() + b"".join(rows))


def changed(target: Target, *, checks: bool, seals: bool = False) -> bytes:
    """One bit of the record's payload is another; with the record's checksum, and with the block's hash, made fit."""
    rows = target.rows()
    rows[target.number] = flipped(rows[target.number])
    if checks:
        rows[target.number] = checked(rows[target.number])
    return target.with_block(sealed(target.header(), b"".join(rows)) if seals else target.header() + b"".join(rows))


class Found(NamedTuple):
    """What must be said: the words, and where. later: blocks behind the target's; of_record: at the record, not at its block."""

    words: str
    later: int = 0
    of_record: bool = False


HARMS: dict[str, tuple[Callable[[Target], bytes], Found]] = {
    "a record deleted": (deleted, Found("the record's sequence number does not follow", of_record=True)),
    "a record deleted, its block made to fit": (
        lambda target: deleted_and_fits(target, seals=False), Found("the block does not match its hash")),
    "a record deleted, its block and hash made to fit": (
        lambda target: deleted_and_fits(target, seals=True), Found("first or last sequence number does not follow", later=1)),
    "two records swapped": (swapped, Found("the record's sequence number does not follow", of_record=True)),
    "two records swapped with their numbers made to fit": (
        lambda target: swapped(target, renumbered=True), Found("the block does not match its hash")),
    "a byte flipped": (
        lambda target: changed(target, checks=False), Found("the record does not match its checksum", of_record=True)),
    "a byte flipped, its checksum made to fit": (
        lambda target: changed(target, checks=True), Found("the block does not match its hash")),
    "a byte flipped, checksum and hash made to fit": (
        lambda target: changed(target, checks=True, seals=True),
        Found("the block does not name the hash of the block before it", later=1)),
}


def said(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], dict[str, Any], list[int]]:
    """What `journal verify` and `replay --check` print of a journal, as JSON, and their exit codes."""
    capsys.readouterr()
    told, codes = [], []
    for words, main in ((["journal", "verify"], verify.main), (["replay", "--check"], replay.main)):
        args = parse([*words, str(path), "-o", "json"])
        assert args is not None
        codes.append(main(args))
        told.append(json.loads(capsys.readouterr().out))
    return told[0], told[1], codes


def test_the_journal_is_whole_as_it_was_written(journal_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several segments of several blocks, proven and decided again without a difference; made anew, a block is the same."""
    proven, again, codes = said(journal_dir, capsys)
    assert (codes, proven["ok"], again["differences"]) == ([EXIT_OK, EXIT_OK], True, 0)
    assert proven["segments"] >= 2 and proven["blocks"] > 2 * proven["segments"]
    target = target_of(journal_dir / TAMPERED)
    assert target.with_block(sealed(target.header(), b"".join(map(checked, target.rows())))) == target.data


@pytest.mark.parametrize("harm", HARMS)
def test_what_was_done_to_a_record_is_found_and_located(harm: str, journal_dir: Path, tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    """Both commands exit 3 and name segment, block and record, or the first of the block from which on nothing is proven."""
    path = Path(shutil.copytree(journal_dir, tmp_path / "journal", symlinks=True)) / TAMPERED
    target = target_of(path)
    tamper, found = HARMS[harm]
    path.write_bytes(tamper(target))
    proven, again, codes = said(path.parent, capsys)
    assert codes == [EXIT_VERIFICATION, EXIT_VERIFICATION]
    blocks = blocks_of(target.data)
    block = blocks[blocks.index(target.block) + found.later]
    # Where a record is gone and its block counts one fewer, the next block should begin a number earlier.
    fewer = found.later if "deleted" in harm else 0
    seq = target.seq if found.of_record else block.first_seq - fewer
    place = proven["place"]
    assert (place["file"], place["block"], place["seq"]) == (path.name, block.index, seq)
    assert found.words in proven["message"]
    assert found.words in again["error"]
    assert f"{path}: " in again["error"] and f"block {block.index}, seq {seq})" in again["error"]


@pytest.mark.parametrize("at_the_end", [False, True], ids=["of a segment", "of the journal"])
def test_a_last_block_that_was_made_to_fit_is_found(at_the_end: bool, journal_dir: Path, tmp_path: Path,
                                                    capsys: pytest.CaptureFixture[str]) -> None:
    """The chain leads from a segment to the next one, and from the journal's last block to its head."""
    folder = Path(shutil.copytree(journal_dir, tmp_path / "journal", symlinks=True))
    paths = sorted(folder.glob("segment-*.cstd"))
    path, following = (paths[-1], None) if at_the_end else (paths[0], paths[1])
    target = target_of(path, last=True)
    path.write_bytes(changed(target, checks=True, seals=True))
    proven, again, codes = said(folder, capsys)
    assert codes == [EXIT_VERIFICATION, EXIT_VERIFICATION]
    last_seq = target.block.first_seq + len(target.block.records) - 1
    place = proven["place"]
    if following is None:
        assert (place["file"], place["segment"]) == ("head.cstd", len(paths))
        assert (place["block"], place["seq"]) == (target.block.index, last_seq)
        assert "which the head knows to be on disk" in again["error"]
    else:
        assert (place["file"], place["block"], place["seq"]) == (following.name, target.block.index + 1, last_seq + 1)
        assert "hash of the block before" in again["error"]


def test_a_start_that_is_no_words_any_more_is_told_by_its_record(journal_dir: Path, tmp_path: Path,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    """The record is met before the block behind it, whose chain is broken: a sentence all the same, no traceback."""
    folder = Path(shutil.copytree(journal_dir, tmp_path / "journal", symlinks=True))
    path = folder / "segment-000001.cstd"
    data = path.read_bytes()
    path.write_bytes(changed(Target(data, blocks_of(data)[0], 0), checks=True, seals=True))
    _, again, codes = said(folder, capsys)
    assert codes == [EXIT_VERIFICATION, EXIT_VERIFICATION]
    assert "record 1: " in again["error"] and "no start" in again["error"]


@pytest.mark.parametrize("fits", [True, False], ids=["its header's hash as ours", "its header hashed otherwise"])
def test_a_segment_of_another_version_is_refused_by_its_number(fits: bool, journal_dir: Path, tmp_path: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    """Both versions are named, with what to do; nothing of it is read by guess, and no writer goes on behind it."""
    folder = Path(shutil.copytree(journal_dir, tmp_path / "journal", symlinks=True))
    path = max(folder.glob("segment-*.cstd"))
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 8, journal_files.VERSION + 1)
    if fits:
        data[96:128] = hashlib.sha256(data[:96]).digest()
    path.write_bytes(data)
    proven, again, codes = said(folder, capsys)
    assert codes == [EXIT_VERIFICATION, EXIT_VERIFICATION]
    words = f"segment format version {journal_files.VERSION + 1} is not known, {journal_files.VERSION} is"
    assert words in proven["message"] and words in again["error"]
    assert (proven["place"]["file"], proven["place"]["offset"]) == (path.name, 8)
    assert "the version of cstd that wrote it" in proven["suggestion"]
    with pytest.raises(VerificationError, match=words):
        open_journal(folder, tmp_path / "journal.ring")
    assert path.read_bytes() == data


def test_a_head_of_another_version_is_refused_by_its_number(journal_dir: Path, tmp_path: Path,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    """The head's too, before its checksum, which another version may have of something else."""
    folder = Path(shutil.copytree(journal_dir, tmp_path / "journal", symlinks=True))
    head = bytearray((folder / journal_files.HEAD_NAME).read_bytes())
    struct.pack_into("<I", head, 8, journal_files.VERSION + 7)
    (folder / journal_files.HEAD_NAME).write_bytes(head)
    proven, again, codes = said(folder, capsys)
    assert codes == [EXIT_VERIFICATION, EXIT_VERIFICATION]
    words = f"head format version {journal_files.VERSION + 7} is not known, {journal_files.VERSION} is"
    assert words in proven["message"] and words in again["error"]
