"""The journal after kill -9, power loss and torn files."""

from __future__ import annotations

import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cstd.errors import VerificationError
from cstd.storage import journal_reader
from cstd.storage.journal import open_journal

RING_BYTES = 1 << 22
SEGMENT_BYTES = 1 << 18

# Appends as fast as it can and publishes, in a shared page, the last sequence number that append returned.
CHILD = """
import mmap, struct, sys
from cstd.storage.journal import open_journal
folder = sys.argv[1]
journal = open_journal(folder + "/journal", folder + "/journal.ring", ring_bytes=1 << 22, segment_bytes=1 << 18,
                       sync_interval_ms=int(sys.argv[2]))
with open(folder + "/appended", "r+b") as file:
    page = mmap.mmap(file.fileno(), 8)
page[:] = struct.pack("<q", journal.seq)
print("ready", flush=True)
number = journal.seq
while True:
    number += 1
    payload = number.to_bytes(8, "little") * (number % 61)
    try:
        page[:] = struct.pack("<q", journal.append_py(number % 64, number % 7, number, -number, payload))
    except BufferError:
        number -= 1
        journal.sync()
"""


def reopened(folder: Path):
    """Open the journal of a test folder as its next process would."""
    return open_journal(folder / "journal", folder / "journal.ring", ring_bytes=RING_BYTES,
                        segment_bytes=SEGMENT_BYTES, sync_interval_ms=10)


def run_and_kill(folder: Path, *, after_s: float, sync_interval_ms: int) -> int:
    """Let a child append for `after_s` seconds, kill it with SIGKILL, return the last number it was given."""
    page = folder / "appended"
    page.write_bytes(bytes(8))
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder), str(sync_interval_ms)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    time.sleep(after_s)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    return struct.unpack("<q", page.read_bytes())[0]


def assert_whole(folder: Path, appended: int) -> int:
    """Check that the journal holds 1, 2, 3 ... at least to `appended`, each as the child wrote it; returns the last."""
    last = 0
    for seq, kind, tag, mono_ns, wall_ns, payload in journal_reader.records(folder / "journal"):
        last += 1
        assert (seq, kind, tag, mono_ns, wall_ns) == (last, last % 64, last % 7, last, -last)
        assert payload == last.to_bytes(8, "little") * (last % 61)
    assert last >= appended
    return last


def ends_whole(folder: Path) -> bool:
    """Whether the segments alone hold everything: a child that got no CPU may be killed with all of it on disk."""
    try:
        return journal_reader.verify(folder / "journal").ring_records == 0
    except VerificationError:
        return False


def test_kill_9_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    """Killed at random moments, again and again on one journal, every appended record is there, read and reopened."""
    seed = random.SystemRandom().randrange(1 << 32)
    dice = random.Random(seed)
    sys.stdout.write(f"seed {seed}\n")
    for _ in range(5):
        appended = run_and_kill(
            tmp_path, after_s=dice.uniform(0.001, 0.15), sync_interval_ms=dice.choice([1, 20, 1000]))
        last = assert_whole(tmp_path, appended)
        unfinished = not ends_whole(tmp_path)
        with reopened(tmp_path) as journal:
            assert journal.seq == last
            assert bool(journal.recovery["reason"]) is unfinished, "what the crash left is told, and nothing else"
        assert_whole(tmp_path, last)
        assert journal_reader.verify(tmp_path / "journal").ring_records == 0


def crashed(folder: Path) -> int:
    """Leave the files as a kill leaves them: two blocks written but not synced, the rest in the ring alone.

    Copied from under a living writer, so that every run stops at the same record. Returns the last number.
    """
    appended, live = 500, folder / "live"
    sizes = {"ring_bytes": RING_BYTES, "sync_interval_ms": 60_000}
    with open_journal(live / "journal", live / "journal.ring", **sizes) as journal:
        for number in range(1, appended + 1):
            journal.append_py(number % 64, number % 7, number, -number, number.to_bytes(8, "little") * (number % 61))
        deadline = time.monotonic() + 10
        while journal.stats()["blocks"] < 2 and time.monotonic() < deadline:
            time.sleep(0.002)
        assert journal.stats()["synced_seq"] == 0
        shutil.copytree(live, folder, symlinks=True, dirs_exist_ok=True)
    return appended


def test_power_loss_keeps_what_was_synced(tmp_path: Path) -> None:
    """With the ring gone and the last segment torn, the last whole block decides, and the chain goes on from it."""
    with reopened(tmp_path) as journal:
        for number in range(1, 3001):
            journal.append_py(number % 64, number % 7, number, -number, number.to_bytes(8, "little") * (number % 61))
            if number % 200 == 0:
                journal.sync()
    appended = run_and_kill(tmp_path, after_s=0.05, sync_interval_ms=1000)
    (tmp_path / "journal.ring").unlink()
    segment = max((tmp_path / "journal").glob("segment-*.cstd"))
    with segment.open("ab") as file:
        file.write(b"CBLK" + bytes(5000))
    with reopened(tmp_path) as journal:
        assert 3000 <= journal.seq <= appended
        assert journal.recovery["records_recovered"] == 0
        assert journal.recovery["bytes_cut"] >= 5004
        assert segment.name in journal.recovery["reason"]
        assert "ring was gone" in journal.recovery["reason"]
        last = journal.seq
        journal.append_py(1, 0, 0, 0, b"after the power came back")
    report = journal_reader.verify(tmp_path / "journal")
    assert (report.last_seq, report.torn_bytes) == (last + 1, 0)


def test_a_block_torn_by_the_kill_is_taken_from_the_ring(tmp_path: Path) -> None:
    """A half-written block is no damage while the ring holds its records: reading and reopening give them all."""
    appended = crashed(tmp_path)
    segment = tmp_path / "journal" / "segment-000001.cstd"
    whole = segment.read_bytes()
    for cut in (len(whole) - 1, len(whole) - 60_000, len(whole) // 2 - 40, 128 + 95, 128):
        segment.write_bytes(whole[:cut])
        assert assert_whole(tmp_path, appended) == appended
        assert journal_reader.verify(tmp_path / "journal").last_seq == appended
    segment.write_bytes(whole[:-1])
    with reopened(tmp_path) as journal:
        assert journal.seq == appended
        assert journal.recovery["bytes_cut"] > 60_000
        assert segment.name in journal.recovery["reason"]
    assert assert_whole(tmp_path, appended) == appended
    assert journal_reader.verify(tmp_path / "journal").torn_bytes == 0


def test_a_torn_record_in_the_ring_is_cut_and_said(tmp_path: Path) -> None:
    """A ring record that fails its checksum ends the recovery there, with the bytes and the reason."""
    appended = crashed(tmp_path)
    ring = tmp_path / "journal.ring"
    with ring.open("r+b") as file, mmap.mmap(file.fileno(), 0) as bytes_:
        head = struct.unpack_from("<Q", bytes_, 128)[0]
        synced = struct.unpack_from("<Q", bytes_, 200)[0]
        assert head > synced
        bytes_[4096 + (head - 1) % RING_BYTES] ^= 1
    with reopened(tmp_path) as journal:
        assert journal.recovery["bytes_cut"] == 48 + 8 * (appended % 61)
        assert "journal_record_crc" in journal.recovery["reason"]
        assert journal.seq == appended - 1
    assert assert_whole(tmp_path, appended - 1) == appended - 1


def test_a_segment_that_was_only_begun_is_no_segment(tmp_path: Path) -> None:
    """What a crash leaves while the next segment is being made is not read, and is made anew when it is needed."""
    with reopened(tmp_path) as journal:
        journal.append_py(1, 0, 0, 0, b"one")
    (tmp_path / "journal" / "segment.new").write_bytes(b"CSTDSEG1")
    assert journal_reader.verify(tmp_path / "journal").segments == 1
    with reopened(tmp_path) as journal:
        for _ in range(3):
            journal.append_py(1, 0, 0, 0, bytes(SEGMENT_BYTES // 2))
            journal.sync()
    assert journal_reader.verify(tmp_path / "journal").segments > 1
    assert not (tmp_path / "journal" / "segment.new").exists()


@pytest.mark.parametrize("harm", ["cut", "changed", "removed"])
def test_what_was_safely_on_disk_is_never_cut_as_a_torn_tail(tmp_path: Path, harm: str) -> None:
    """If a synced block is missing or changed, the journal is not opened: that is damage, not a crash."""
    with reopened(tmp_path) as journal:
        for _ in range(100):
            journal.append_py(1, 0, 0, 0, bytes(50))
    segment = tmp_path / "journal" / "segment-000001.cstd"
    data = segment.read_bytes()
    if harm == "cut":
        segment.write_bytes(data[:-1])
    elif harm == "changed":
        segment.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    else:
        segment.unlink()
    (tmp_path / "journal.ring").unlink()
    with pytest.raises(VerificationError):
        reopened(tmp_path)


def test_segments_shorter_than_the_ring_knows_are_refused(tmp_path: Path) -> None:
    """A journal put back from an older copy does not go on where numbers were used already."""
    with reopened(tmp_path) as journal:
        journal.append_py(1, 0, 0, 0, b"one")
        journal.sync()
        older = {path.name: path.read_bytes() for path in (tmp_path / "journal").iterdir() if path.suffix == ".cstd"}
        journal.append_py(1, 0, 0, 0, b"two")
    for name, data in older.items():
        (tmp_path / "journal" / name).write_bytes(data)
    with pytest.raises(VerificationError, match="the ring knows"):
        journal_reader.verify(tmp_path / "journal")
    with pytest.raises(VerificationError, match="the ring knows"):
        reopened(tmp_path)
