"""The journal while nothing goes wrong: order, sequence, rotation, bounds, locks."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd.errors import OperatorError, UsageError
from cstd.storage import journal_reader
from cstd.storage.journal import open_journal


def opened(folder: Path, **settings_: int):
    """Open the journal of a test folder with small files."""
    sizes = {"ring_bytes": 1 << 18, "segment_bytes": 1 << 20, "sync_interval_ms": 10} | settings_
    return open_journal(folder / "journal", folder / "journal.ring", **sizes)


def test_records_come_back_in_order_as_they_were_appended(tmp_path: Path) -> None:
    """Kind, tag, both times and payload of every record survive, at every padding length, in two pieces too."""
    expected = []
    with opened(tmp_path) as journal:
        for n in range(200):
            payload = bytes(range(n))
            cut = n // 3
            seq = journal.append_py(n % 100, n * 300, n * 10**15, -n, payload[:cut], payload[cut:])
            expected.append((seq, n % 100, n * 300, n * 10**15, -n, payload))
    assert [seq for seq, *_ in expected] == list(range(1, 201))
    assert [tuple(record) for record in journal_reader.records(tmp_path / "journal")] == expected


def test_sequence_goes_on_over_restarts(tmp_path: Path) -> None:
    """Each start continues the numbers of the one before, in one unbroken chain."""
    for start in range(5):
        with opened(tmp_path) as journal:
            assert journal.seq == start * 10
            assert (journal.stats()["records"], journal.stats()["bytes"]) == (0, 0)
            assert journal.recovery == {"records_recovered": 0, "bytes_cut": 0, "reason": ""}
            for _ in range(10):
                journal.append_py(1, 0, 0, 0, b"event")
    report = journal_reader.verify(tmp_path / "journal")
    assert (report.last_seq, report.records, report.ring_records) == (50, 50, 0)


def test_segments_rotate_and_hold_together(tmp_path: Path) -> None:
    """Past its size a segment is followed by the next, and what was reserved ahead is given back."""
    with opened(tmp_path, segment_bytes=64 << 10) as journal:
        for n in range(2000):
            journal.append_py(2, 0, n, n, b"x" * 200)
            if n % 500 == 0:
                journal.sync()
    paths = sorted((tmp_path / "journal").glob("segment-*.cstd"))
    assert len(paths) > 4
    for path in paths:
        assert path.stat().st_blocks * 512 <= path.stat().st_size + 8192, "the reserve is given back"
    assert journal_reader.verify(tmp_path / "journal").segments == len(paths)
    assert sum(1 for _ in journal_reader.records(tmp_path / "journal")) == 2000


def test_a_record_larger_than_a_block_makes_one_larger_block(tmp_path: Path) -> None:
    """A half-megabyte frame is one record in one block."""
    frame = b"f" * 500_000
    with opened(tmp_path, ring_bytes=1 << 22, segment_bytes=1 << 18) as journal:
        journal.append_py(2, 0, 0, 0, b"before")
        journal.append_py(2, 0, 0, 0, frame)
        journal.append_py(2, 0, 0, 0, b"after")
    payloads = [record.payload for record in journal_reader.records(tmp_path / "journal")]
    assert payloads == [b"before", frame, b"after"]


def test_a_full_ring_refuses_counts_and_loses_nothing(tmp_path: Path) -> None:
    """With no room left an append is refused and counted; after a sync appending goes on with the next number."""
    with opened(tmp_path, ring_bytes=1 << 16, sync_interval_ms=10_000) as journal:
        # 48 + 1,000 bytes a record: the ring has room for 62; the writer frees none before its interval is over.
        taken = 0
        with pytest.raises(BufferError, match="no room"):
            while True:
                journal.append_py(2, 0, 0, 0, bytes(1000))
                taken += 1
        assert taken >= 62
        assert journal.stats()["full_count"] == 1
        journal.sync()
        assert journal.append_py(2, 0, 0, 0, b"next") == taken + 1
    assert sum(1 for _ in journal_reader.records(tmp_path / "journal")) == taken + 1


def test_an_oversized_record_is_refused_and_counted(tmp_path: Path) -> None:
    """A quarter of the ring is the largest record; one byte more is refused."""
    with opened(tmp_path, ring_bytes=1 << 16) as journal:
        assert journal.append_py(2, 0, 0, 0, bytes(1 << 14)) == 1
        with pytest.raises(BufferError):
            journal.append_py(2, 0, 0, 0, bytes((1 << 14) + 1))
        stats = journal.stats()
        assert (stats["oversize_count"], stats["full_count"], stats["seq"]) == (1, 0, 1)


def test_sync_leaves_nothing_pending(tmp_path: Path) -> None:
    """When sync returns, everything appended is in a segment on disk."""
    with opened(tmp_path, sync_interval_ms=10_000) as journal:
        journal.append_py(2, 0, 0, 0, b"durable")
        assert journal.stats()["pending_bytes"] > 0
        journal.sync()
        stats = journal.stats()
        assert (stats["pending_bytes"], stats["synced_seq"], stats["writer_error"]) == (0, 1, 0)
        assert [r.payload for r in journal_reader.records(tmp_path / "journal", include_ring=False)] == [b"durable"]


def test_partial_blocks_are_written_within_the_interval(tmp_path: Path) -> None:
    """A lone record is on disk soon after the sync interval, without anybody asking."""
    with opened(tmp_path, sync_interval_ms=10) as journal:
        journal.append_py(2, 0, 0, 0, b"alone")
        deadline = time.monotonic() + 5
        while journal.stats()["synced_seq"] < 1 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert journal.stats()["synced_seq"] == 1


def test_the_idle_writer_leaves_the_processor_alone(tmp_path: Path) -> None:
    """Without records the writer thread uses less than 2 % of a core, by the kernel's own count of its time.

    Over seconds: that count has what the host takes away from a thread that runs, ten milliseconds at once on a shared one.
    """
    with opened(tmp_path):
        (writer,) = [task for task in Path("/proc/self/task").iterdir() if (task / "comm").read_text() == "cstd-journal\n"]

        def used_s() -> float:
            return int((writer / "schedstat").read_text().split()[0]) / 1e9

        before_s, began_s = used_s(), time.monotonic()
        time.sleep(3)
        assert used_s() - before_s < 0.02 * (time.monotonic() - began_s)


def test_one_journal_has_one_writer(tmp_path: Path) -> None:
    """A second opener is refused while the first lives, and let in after it."""
    with opened(tmp_path), pytest.raises(OperatorError, match="another process"):
        opened(tmp_path)
    opened(tmp_path).close()


def test_a_ring_with_records_of_another_journal_is_not_overwritten(tmp_path: Path) -> None:
    """A ring that holds what its own journal never saved stops any other journal from taking it."""
    ring = tmp_path / "journal.ring"
    with opened(tmp_path, sync_interval_ms=60_000) as journal:
        journal.append_py(2, 0, 0, 0, b"unsaved")
        kept = ring.read_bytes()
    ring.write_bytes(kept)
    with pytest.raises(OperatorError, match="another journal"):
        open_journal(tmp_path / "other", ring)


def test_a_closed_journal_refuses(tmp_path: Path) -> None:
    """After close nothing is appended, and closing again does nothing."""
    journal = opened(tmp_path)
    journal.close()
    journal.close()
    with pytest.raises(BufferError):
        journal.append_py(2, 0, 0, 0, b"late")
    with pytest.raises(ValueError, match="closed"):
        journal.stats()


def test_a_directory_without_a_journal_is_a_usage_error(tmp_path: Path) -> None:
    """Reading what is no journal says so."""
    with pytest.raises(UsageError, match="no journal"):
        next(journal_reader.records(tmp_path))
    with pytest.raises(UsageError, match="no journal directory"):
        journal_reader.verify(tmp_path / "absent")


def test_a_reader_follows_a_live_writer(tmp_path: Path) -> None:
    """At any moment of writing a reader sees a whole prefix that reaches the last append."""
    # A ring that holds all of it: a disk that stalls beside other tests is no matter of this one.
    with opened(tmp_path, ring_bytes=1 << 20, segment_bytes=1 << 16, sync_interval_ms=1) as journal:
        for turn in range(40):
            for _ in range(50):
                journal.append_py(2, 0, 0, 0, b"y" * (turn * 5))
            seqs = [record.seq for record in journal_reader.records(tmp_path / "journal")]
            assert seqs == list(range(1, (turn + 1) * 50 + 1))


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=120))
def test_any_sizes_pass_through_a_small_ring(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    """Records of any lengths wrap around the ring's end and come back whole."""
    folder = tmp_path_factory.mktemp("ring")
    with opened(folder, ring_bytes=1 << 15, segment_bytes=1 << 16) as journal:
        for number, size in enumerate(sizes):
            if journal.stats()["ring_bytes"] - journal.stats()["pending_bytes"] < size + 64:
                journal.sync()
            journal.append_py(1, 0, 0, 0, bytes([number & 255]) * size)
    payloads = [record.payload for record in journal_reader.records(folder / "journal")]
    assert payloads == [bytes([number & 255]) * size for number, size in enumerate(sizes)]


class SmallDisk:
    """A file system of one megabyte, for whoever may mount one."""

    error = errno.ENOSPC

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True, check=True)

    def fill(self) -> None:
        (self.folder / "ballast").write_bytes(bytes(700 << 10))

    def free(self) -> None:
        (self.folder / "ballast").unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", str(self.folder)], check=True)

    def remove(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


class SmallFiles:
    """The kernel's limit on the size of a file, which stops a writer in the middle too and which anybody may set."""

    error = errno.EFBIG

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, self.before[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)

    remove = free


def may_mount(folder: Path) -> bool:
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], capture_output=True, check=False)
    return done.returncode == 0 and subprocess.run(["umount", str(folder)], check=False).returncode == 0


@pytest.fixture(params=["disk", "file"])
def exhausted(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk | SmallFiles]:
    """A place that runs out of room. Where no disk can be mounted, the kernel's limit stands in for it."""
    mounting = request.param == "disk" and may_mount(tmp_path / "probe")
    place = SmallDisk(tmp_path / "disk") if mounting else SmallFiles(tmp_path / "disk")
    yield place
    place.remove()


def test_a_full_disk_is_seen_and_costs_no_record(tmp_path: Path, exhausted: SmallDisk | SmallFiles) -> None:
    """When the disk is full the error is latched and shown, the ring keeps the records, and space brings them out."""
    journal = open_journal(exhausted.folder / "journal", tmp_path / "journal.ring", ring_bytes=1 << 22,
                           segment_bytes=128 << 10, sync_interval_ms=5)
    exhausted.fill()
    for _ in range(1000):
        journal.append_py(2, 0, 0, 0, bytes(1000))
    with pytest.raises(OSError, match=os.strerror(exhausted.error)):
        journal.sync()
    assert journal.error == exhausted.error
    assert journal.stats()["pending_bytes"] > 0
    exhausted.free()
    journal.sync()
    assert journal.error == exhausted.error, "the error stays latched: trading does not resume by itself"
    journal.close()
    assert journal_reader.verify(exhausted.folder / "journal").last_seq == 1000
