"""Sealed segments compressed: read as before, whole at every moment, and every changed byte found."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from itertools import count, islice
from pathlib import Path

import pytest
import zstandard

from cstd.errors import VerificationError
from cstd.storage import journal_files, journal_reader
from cstd.storage.journal import open_journal
from cstd.storage.journal_compress import compress_segment, sealed_segments

# Does so many steps of compressing the first segment and is killed there, as by kill -9.
KILLED = """
import os, signal, sys
from itertools import islice
from pathlib import Path
from cstd.storage import journal_compress
journal_compress.STEP_BYTES = 1 << 16
for step in islice(journal_compress.compress_segment(Path(sys.argv[1])), int(sys.argv[2])):
    print(step, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def opened(folder: Path):
    """Open the journal of a test folder with short segments."""
    return open_journal(folder / "journal", folder / "journal.ring", ring_bytes=1 << 20, segment_bytes=1 << 17,
                        sync_interval_ms=5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed journal of several segments."""
    with opened(tmp_path) as journal:
        append(journal, 3000)
    return tmp_path


def append(journal, number: int) -> None:
    """Append records that compress well and differ from one another."""
    for n in range(number):
        journal.append_py(2, n % 3, n, n, b"%08d " % n * 20)
        if n % 200 == 0:
            journal.sync()


def content(folder: Path) -> list[tuple[object, ...]]:
    """Every record of the journal."""
    return [tuple(record) for record in journal_reader.records(folder / "journal")]


def sealed(folder: Path) -> list[Path]:
    """Plain segments that nothing writes to any more."""
    head = journal_files.read_head(folder / "journal")
    assert head is not None
    return [path for _, path in sealed_segments(folder / "journal", head)]


def compress_all(folder: Path) -> None:
    """Compress every sealed segment to the end."""
    for path in sealed(folder):
        assert list(compress_segment(path))[-1] == "removed"


def test_readers_see_no_difference(folder: Path) -> None:
    """Records, proof, recovery and appending are the same over compressed segments; they are smaller and only ours to read."""
    before, proven = content(folder), journal_reader.verify(folder / "journal")
    plain_bytes = sum(path.stat().st_size for path in sealed(folder))
    assert len(sealed(folder)) > 3
    compress_all(folder)
    packed = sorted((folder / "journal").glob("*.zst"))
    assert sealed(folder) == []
    assert len(packed) == proven.segments - 1
    assert sum(path.stat().st_size for path in packed) < plain_bytes / 3
    assert {path.stat().st_mode & 0o777 for path in packed} == {0o600}
    assert content(folder) == before
    assert journal_reader.verify(folder / "journal") == proven
    with opened(folder) as journal:
        assert journal.recovery["reason"] == ""
        append(journal, 1500)
    compress_all(folder)
    assert content(folder)[:len(before)] == before
    assert journal_reader.verify(folder / "journal").last_seq == 4500


def test_the_segment_that_is_written_to_stays_plain(tmp_path: Path) -> None:
    """While the daemon runs only segments before the head's are sealed, and the journal goes on beside the compression."""
    with opened(tmp_path) as journal:
        append(journal, 2000)
        compress_all(tmp_path)
        newest = journal_files.segment_paths(tmp_path / "journal")[-1][1]
        assert newest.suffix == ".cstd"
        append(journal, 1000)
        compress_all(tmp_path)
        assert [row[0] for row in content(tmp_path)] == list(range(1, 3001))
    assert journal_reader.verify(tmp_path / "journal").records == 3000


def test_a_kill_at_any_step_leaves_a_whole_segment(folder: Path) -> None:
    """After kill -9 behind each step every record is there, from one form or the other, and the next attempt ends well."""
    before = content(folder)
    seen: list[str] = []
    for steps in count():
        run = folder.parent / f"{folder.name}-{steps}"
        shutil.copytree(folder, run, symlinks=True)
        path = sealed(run)[0]
        done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(steps)], capture_output=True, text=True,
                              check=False, timeout=60)
        assert done.returncode == -signal.SIGKILL, done.stderr
        seen = done.stdout.split()
        assert path.exists() or journal_files.packed_path(path).exists()
        assert content(run) == before
        journal_reader.verify(run / "journal")
        compress_all(run)
        assert not path.exists()
        assert not list((run / "journal").glob("*.new"))
        assert content(run) == before
        shutil.rmtree(run)
        if len(seen) < steps:
            break
    assert seen[-4:] == ["synced", "compared", "named", "removed"]
    assert seen.count("written") > 1


def test_a_reader_in_the_middle_of_a_compression_reads_on(folder: Path) -> None:
    """A reader that listed the plain files before they went finds what took their place."""
    before = content(folder)
    reading = journal_reader.records(folder / "journal")
    head = [tuple(record) for record in islice(reading, 10)]
    compress_all(folder)
    assert head + [tuple(record) for record in reading] == before


def test_a_compressed_file_that_lies_beside_its_segment_must_be_the_same(folder: Path) -> None:
    """What a killed compression left is believed only when it holds the segment, byte for byte."""
    path = sealed(folder)[0]
    for left in (zstandard.compress(path.read_bytes()[:-1]), zstandard.compress(path.read_bytes() + b"x"), b"no zstd"):
        journal_files.packed_path(path).write_bytes(left)
        with pytest.raises(VerificationError, match="does not hold"):
            list(compress_segment(path))
        assert path.exists()


def test_a_disk_that_gives_back_something_else_keeps_the_segment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain file goes only after the compressed one was read back whole."""
    from cstd.storage import journal_compress

    path = sealed(folder)[0]
    monkeypatch.setattr(journal_compress, "_content", lambda _path: iter([b"something else"]))
    with pytest.raises(VerificationError, match="read back"):
        list(compress_segment(path))
    assert path.exists()
    assert not list((folder / "journal").glob("*.zst*"))


@pytest.mark.parametrize("seed", range(12))
def test_a_changed_byte_is_found(folder: Path, seed: int) -> None:
    """A flipped bit anywhere in a compressed segment is found, and its file is named."""
    compress_all(folder)
    path = sorted((folder / "journal").glob("*.zst"))[seed % 3]
    data = bytearray(path.read_bytes())
    data[len(data) * seed // 12] ^= 1 << seed % 8
    path.write_bytes(data)
    with pytest.raises(VerificationError) as caught:
        journal_reader.verify(folder / "journal")
    assert caught.value.place["file"] == path.name


def test_the_chain_is_proven_over_the_content(folder: Path) -> None:
    """A well-formed compressed file of another content, a missing one and a swapped one are found by the chain."""
    compress_all(folder)
    first, second = sorted((folder / "journal").glob("*.zst"))[:2]
    kept = first.read_bytes()
    changed = bytearray(zstandard.decompress(kept))
    changed[5000] ^= 1
    first.write_bytes(zstandard.compress(changed))
    with pytest.raises(VerificationError, match="does not match its checksum"):
        journal_reader.verify(folder / "journal")
    first.write_bytes(second.read_bytes())
    with pytest.raises(VerificationError, match="number"):
        journal_reader.verify(folder / "journal")
    first.unlink()
    with pytest.raises(VerificationError, match="missing"):
        journal_reader.verify(folder / "journal")
    first.write_bytes(kept[:-10])
    with pytest.raises(VerificationError, match="unpacked"):
        journal_reader.verify(folder / "journal")
