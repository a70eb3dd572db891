"""A part of a journal, copied while it grows: the records asked for, provable where it lies, nothing behind its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from cstd._fast.codes import EventKind
from cstd.errors import OperatorError, VerificationError
from cstd.storage import checkpoints, journal_reader
from cstd.storage.checkpoints import Checkpoint
from cstd.storage.journal import open_journal
from cstd.storage.journal_compress import compress_segment, sealed_segments
from cstd.storage.journal_copy import Part, copy_part, signatures_of, survey
from cstd.storage.journal_files import Head, head_bytes, read_head, segment_paths

S = 10**9
WALL_NS = 1_790_000_000 * S


def opened(folder: Path, **settings: int):
    """Open the journal of a test folder with short segments."""
    return open_journal(folder / "journal", folder / "journal.ring",
                        **({"ring_bytes": 1 << 20, "segment_bytes": 1 << 14, "sync_interval_ms": 20} | settings))


def second(journal, number: int, *, host_up_s: int = 0, kind: int = 2) -> None:
    """Ten records of one second, in a block of their own; host_up_s: when the host's monotonic clock began."""
    for part in range(10):
        at_ns = number * S + part * S // 10
        journal.append_py(kind, 0, at_ns - host_up_s * S, WALL_NS + at_ns, b"payload " * 8)
    journal.sync()


def copied(folder: Path, part: Part, start: Head | None) -> Path:
    """A copy from `start` on, with a checkpoint where it needs one."""
    target = folder / f"copy-{part.last_seq}"
    target.mkdir()
    if start is not None and start.segment > 1:
        checkpoints.write(target, Checkpoint(start, "build", "", 0, 0), b"state")
    copy_part(folder / "journal", target, start.segment if start is not None else 1, part.end, part.ring,
              signatures_of(folder / "journal"))
    return target


def test_a_copy_begins_at_the_span_and_holds_the_journals_own_records(tmp_path: Path) -> None:
    """While it is written, some of it compressed, some only in the ring: proven, byte for byte, from the window's segment on."""
    with opened(tmp_path) as journal:
        for number in range(100):
            second(journal, number)
            if number == 70:
                for _, path in sealed_segments(tmp_path / "journal", read_head(tmp_path / "journal"))[:-1]:
                    list(compress_segment(path))
        part = survey(tmp_path / "journal", None, 30 * S)
        assert part.window is not None and part.window.segment > 3
        assert 30 * S <= part.covered_ns < 32 * S and part.last_seq == journal.seq == 1000
        target = copied(tmp_path, part, part.window)
        second(journal, 101)
    report = journal_reader.verify(target)
    assert (report.last_seq, report.segments) == (1000, part.end.segment - part.window.segment + 1)
    own = {record.seq: (record.mono_ns, record.payload) for record in journal_reader.records(tmp_path / "journal")}
    kept = {record.seq: (record.mono_ns, record.payload) for record in journal_reader.records(target)}
    assert kept == {seq: own[seq] for seq in range(min(kept), 1001)} and min(kept) <= part.window.last_seq


def test_a_byte_that_is_changed_in_a_copy_is_found(tmp_path: Path) -> None:
    """A copy proves as much as a journal does: its head is of its last block."""
    with opened(tmp_path, segment_bytes=1 << 20) as journal:
        for number in range(5):
            second(journal, number)
    part = survey(tmp_path / "journal", None, 60 * S)
    target = copied(tmp_path, part, None)
    assert read_head(target) == part.end == read_head(tmp_path / "journal")
    assert (target / "head.cstd").read_bytes() == (tmp_path / "journal" / "head.cstd").read_bytes() == head_bytes(part.end)
    ((_, path),) = segment_paths(target)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(VerificationError):
        journal_reader.verify(target)


def test_nothing_behind_the_last_record_wanted_is_copied(tmp_path: Path) -> None:
    """The block with the record ends it, whatever was appended, sealed and compressed since."""
    with opened(tmp_path) as journal:
        for number in range(40):
            second(journal, number)
        second(journal, 40, kind=EventKind.EVENT_BOOT)
        wanted = journal.seq
        for number in range(41, 120):
            second(journal, number)
        for _, path in sealed_segments(tmp_path / "journal", read_head(tmp_path / "journal")):
            list(compress_segment(path))
        part = survey(tmp_path / "journal", None, 20 * S, until_seq=wanted)
        target = copied(tmp_path, part, part.window)
    assert (part.last_seq, part.end.last_seq, part.ring) == (wanted, wanted, None)
    assert part.boot == b"payload " * 8 and part.wall_ns == WALL_NS + 40 * S + 9 * S // 10
    assert journal_reader.verify(target).last_seq == wanted


def test_the_span_goes_over_a_boot_of_the_host(tmp_path: Path) -> None:
    """The monotonic clock begins anew there: between the two it is the wall clock that counts."""
    with opened(tmp_path) as journal:
        for number in range(40):
            second(journal, number)
        for number in range(70, 80):
            second(journal, number, host_up_s=65)
    part = survey(tmp_path / "journal", None, 60 * S)
    assert 60 * S <= part.covered_ns < 62 * S
    (first,) = [record for record in journal_reader.records(tmp_path / "journal") if record.seq == part.window.last_seq]
    assert 18 * S < first.wall_ns - WALL_NS < 20 * S


def test_a_journal_without_a_record_cannot_be_surveyed(tmp_path: Path) -> None:
    """A daemon that has only just begun: it says what to do."""
    with opened(tmp_path), pytest.raises(OperatorError, match="no record in the journal"):
        survey(tmp_path / "journal", None, S)
