"""Proving a journal: any changed, missing or swapped byte is found, with its place."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd.errors import EXIT_OK, EXIT_VERIFICATION, VerificationError
from cstd.storage import journal_reader, verify
from cstd.storage.journal import open_journal
from tests.journals import striped

SEGMENT_BYTES = 1 << 14
BLOCK_HEADER_BYTES = 96
SEGMENT_HEADER_BYTES = 128


@pytest.fixture(scope="module")
def journal_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed journal of four segments and several blocks in each; not to be changed."""
    folder = tmp_path_factory.mktemp("verify")
    sizes = {"ring_bytes": 1 << 18, "segment_bytes": SEGMENT_BYTES}
    with open_journal(folder / "journal", folder / "journal.ring", **sizes) as j:
        for n in range(400):
            j.append_py(n % 64, 0, n, n, bytes(n % 200))
            if n % 5 == 4:  # some twenty blocks in a segment
                j.sync()
    assert len(list((folder / "journal").glob("segment-*.cstd"))) >= 3
    return folder / "journal"


@pytest.fixture
def copy_dir(journal_dir: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(journal_dir, tmp_path / "journal", symlinks=True))


def blocks_of(data: bytes) -> list[tuple[int, int]]:
    """Return (begin, end) of each block of a segment's bytes."""
    places, offset = [], SEGMENT_HEADER_BYTES
    while offset < len(data):
        end = offset + BLOCK_HEADER_BYTES + int.from_bytes(data[offset + 4 : offset + 8], "little")
        places.append((offset, end))
        offset = end
    return places


def test_a_whole_journal_is_proven(journal_dir: Path) -> None:
    """An untouched journal verifies, with all of its records counted."""
    report = journal_reader.verify(journal_dir)
    assert (report.records, report.last_seq, report.torn_bytes) == (400, 400, 0)
    assert report.bytes == sum(path.stat().st_size for path in journal_dir.glob("segment-*.cstd"))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_anywhere_is_found_and_located(journal_dir: Path, data: st.DataObject) -> None:
    """Flip any bit of any segment or of the head: verifying and reading fail, naming the file and the block's place."""
    files = sorted(journal_dir.glob("*.cstd"))
    path = data.draw(st.sampled_from(files))
    original = path.read_bytes()
    offset = data.draw(st.integers(0, len(original) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    try:
        path.write_bytes(original[:offset] + bytes([original[offset] ^ bit]) + original[offset + 1 :])
        with pytest.raises(VerificationError) as error:
            journal_reader.verify(journal_dir)
        with pytest.raises(VerificationError):
            for _ in journal_reader.records(journal_dir):
                pass
    finally:
        path.write_bytes(original)
    place = error.value.place
    assert place["file"] == path.name
    if offset >= SEGMENT_HEADER_BYTES and path.name.startswith("segment"):
        begin, end = next(block for block in blocks_of(original) if block[0] <= offset < block[1])
        assert begin <= place["offset"] < end
        assert place["seq"] >= 1
        assert place["block"] >= 1


def test_a_record_is_named_by_its_own_checksum(copy_dir: Path) -> None:
    """A flipped payload byte is located to its record, not only to its block."""
    path = copy_dir / "segment-000001.cstd"
    data = bytearray(path.read_bytes())
    begin, _ = blocks_of(bytes(data))[0]
    # Records 1 and 2 have payloads of 0 and 1 bytes: headers of 48, padding to 8.
    second = begin + BLOCK_HEADER_BYTES + 48
    data[second + 48] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(VerificationError, match="record does not match its checksum") as error:
        journal_reader.verify(copy_dir)
    assert error.value.place == {"file": path.name, "offset": second, "block": 1, "seq": 2}


def test_a_deleted_block_is_found(copy_dir: Path) -> None:
    """Each block in turn taken out of its segment is missed."""
    for path in sorted(copy_dir.glob("segment-*.cstd")):
        original = path.read_bytes()
        for begin, end in blocks_of(original):
            path.write_bytes(original[:begin] + original[end:])
            with pytest.raises(VerificationError):
                journal_reader.verify(copy_dir)
        path.write_bytes(original)
    journal_reader.verify(copy_dir)


def test_swapped_blocks_are_found(copy_dir: Path) -> None:
    """Two blocks in each other's place break the chain at the first of them."""
    path = copy_dir / "segment-000002.cstd"
    data = path.read_bytes()
    (a, b), (c, d), *_ = blocks_of(data)
    path.write_bytes(data[:a] + data[c:d] + data[a:b] + data[d:])
    with pytest.raises(VerificationError) as error:
        journal_reader.verify(copy_dir)
    assert error.value.place["file"] == path.name
    assert a <= error.value.place["offset"] < b


def test_a_deleted_segment_is_found(copy_dir: Path) -> None:
    """First, middle or last: a missing segment is named."""
    paths = sorted(copy_dir.glob("segment-*.cstd"))
    for path in paths:
        data = path.read_bytes()
        path.unlink()
        with pytest.raises(VerificationError) as error:
            journal_reader.verify(copy_dir)
        assert error.value.place["file"] == (path.name if path != paths[-1] else "head.cstd")
        path.write_bytes(data)


def test_swapped_segments_are_found(copy_dir: Path) -> None:
    """Two segments under each other's name are refused at the first."""
    first, second = copy_dir / "segment-000001.cstd", copy_dir / "segment-000002.cstd"
    first.rename(copy_dir / "aside")
    second.rename(first)
    (copy_dir / "aside").rename(second)
    with pytest.raises(VerificationError) as error:
        journal_reader.verify(copy_dir)
    assert error.value.place["file"] == first.name


def test_appended_bytes_are_found(copy_dir: Path) -> None:
    """Bytes behind the last block, zeros too, are no part of a closed journal."""
    path = max(copy_dir.glob("segment-*.cstd"))
    with path.open("ab") as file:
        file.write(bytes(8))
    with pytest.raises(VerificationError):
        journal_reader.verify(copy_dir)


def test_a_missing_head_is_found(copy_dir: Path) -> None:
    """Without its head a journal could be shortened unseen, so it is refused."""
    (copy_dir / "head.cstd").unlink()
    with pytest.raises(VerificationError, match="head is missing"):
        journal_reader.verify(copy_dir)


def test_the_command_prints_what_was_proven(journal_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0 and one JSON object with the counts, or a table of the same."""
    assert verify.main(argparse.Namespace(dir=journal_dir, output="json")) == EXIT_OK
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["records"]) == (True, 400)
    assert verify.main(argparse.Namespace(dir=journal_dir, output="table")) == EXIT_OK
    assert "400" in capsys.readouterr().out


def test_the_command_exits_3_with_the_place(copy_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3, the place on stdout as data, the sentence on stderr."""
    path = copy_dir / "segment-000002.cstd"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    assert verify.main(argparse.Namespace(dir=copy_dir, output="json")) == EXIT_VERIFICATION
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["ok"], found["error"], found["place"]["file"]) == (False, "verification", path.name)
    assert path.name in printed.err


def test_the_hash_of_a_block_is_what_the_format_says(journal_dir: Path) -> None:
    """SHA-256 over the first 64 bytes and the digest of eight stripes of 512 bytes, by an own reading of the format."""
    seen = 0
    for path in sorted(journal_dir.glob("segment-*.cstd")):
        data = path.read_bytes()
        for begin, end in blocks_of(data):
            body = begin + BLOCK_HEADER_BYTES
            assert data[begin + 64 : begin + 96] == hashlib.sha256(data[begin : begin + 64] + striped(data[body:end])).digest()
            seen += 1
    assert seen > 10
