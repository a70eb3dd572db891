"""Opening a journal: find the last good block, take from the ring what the segments lack, go on from there.

A torn tail is cut and reported. What was on disk for certain and is not there any more is damage, never a
torn tail: then nothing is opened, and the operator decides.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict

from cstd._fast import journal as fast
from cstd._fast import journal_scan
from cstd._fast.journal import Journal
from cstd._fast.journal_scan import JournalFault
from cstd.errors import OperatorError, VerificationError
from cstd.storage import journal_files as files
from cstd.storage.journal_faults import fault_error

RING_BYTES = 64 << 20
SEGMENT_BYTES = 64 << 20  # a start proves the last segment: 0.25 s at 250 MB/s
SYNC_INTERVAL_MS = 50
SEGMENT_BYTES_MIN = 4096


class Recovery(TypedDict):
    """What opening found: records that only the ring had, bytes that were no whole record, and why."""

    records_recovered: int
    bytes_cut: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Tail:
    """Where the segments end."""

    journal_id: bytes
    segment: int
    offset: int
    next_index: int
    next_seq: int
    prev: bytes
    cut_bytes: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _RingTail:
    """Which ring bytes the segments hold already, and where its whole records end."""

    written: int = 0
    head: int = 0
    records: int = 0
    cut_bytes: int = 0
    reason: str = ""


def open_journal(
    directory: Path | str,
    ring_path: Path | str,
    *,
    ring_bytes: int = RING_BYTES,
    segment_bytes: int = SEGMENT_BYTES,
    sync_interval_ms: int = SYNC_INTERVAL_MS,
) -> Journal:
    """Open the journal in `directory` for writing, made if it is not there, and start its writer thread.

    Args:
        directory: segments, head and lock; one writer at a time.
        ring_path: the ring file, in the run directory (tmpfs where there is one).
        ring_bytes: size of a new ring, a power of two; a ring with unsaved records keeps its own.
        segment_bytes: size at which the next segment is begun; reserved on disk ahead of use.
        sync_interval_ms: what a power loss may take.

    Returns:
        The Journal; its `recovery` says what the start found, see Recovery.

    Raises:
        OperatorError: another process writes it, the ring belongs to another journal, or there is no space.
        VerificationError: what was safely on disk is missing or changed.
    """
    directory, ring_path = Path(directory), Path(ring_path)
    if segment_bytes < SEGMENT_BYTES_MIN:
        raise OperatorError(f"segment_bytes is {segment_bytes}, at least {SEGMENT_BYTES_MIN} are needed")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_file = files.lock_directory(directory)
        try:
            return _open_locked(directory, ring_path, ring_bytes, segment_bytes, sync_interval_ms, lock_file)
        except BaseException:
            lock_file.close()
            raise
    except OSError as error:
        raise OperatorError(
            f"the journal {directory} with ring {ring_path} cannot be opened: {error}",
            suggestion="check free space and rights of both directories",
        ) from error


def _open_locked(
    directory: Path, ring_path: Path, ring_bytes: int, segment_bytes: int, sync_interval_ms: int, lock_file: IO[bytes]
) -> Journal:
    tail = _find_tail(directory) or _begin(directory, ring_path, segment_bytes)
    ring = _find_ring_tail(ring_path, tail, ring_bytes)
    files.link_ring(directory, ring_path)
    recovery = Recovery(
        records_recovered=ring.records,
        bytes_cut=tail.cut_bytes + ring.cut_bytes,
        reason="; ".join(reason for reason in (tail.reason, ring.reason) if reason),
    )
    return Journal(
        str(directory),
        str(ring_path),
        journal_id=tail.journal_id,
        segment=tail.segment,
        segment_offset=tail.offset,
        next_index=tail.next_index,
        prev=tail.prev,
        next_seq=tail.next_seq + ring.records,
        unwritten_seq=tail.next_seq,
        ring_written=ring.written,
        ring_head=ring.head,
        segment_bytes=segment_bytes,
        sync_interval_ns=sync_interval_ms * 1_000_000,
        recovery=recovery,
        lock_file=lock_file,
    )


def _begin(directory: Path, ring_path: Path, segment_bytes: int) -> _Tail:
    """Make the first segment of a new journal, unless an old ring would lose records by it."""
    _refuse_foreign_ring(files.read_ring(ring_path), journal_id=b"")
    journal_id = os.urandom(16)
    prev = fast.create_first_segment(str(directory), journal_id, segment_bytes)
    return _Tail(journal_id, 1, files.SegmentHeader.BYTES, next_index=1, next_seq=1, prev=prev)


def _refuse_foreign_ring(ring: files.RingSnapshot | None, journal_id: bytes) -> None:
    if ring is not None and ring.journal_id != journal_id and ring.pending:
        raise OperatorError(
            f"{ring.path} holds {len(ring.pending)} bytes of records that another journal never saved",
            suggestion="start with that journal's directory once, or move the ring file away",
        )


def _find_tail(directory: Path) -> _Tail | None:
    """Return where the segments end, None in a directory that has none; raise VerificationError on damage."""
    head = files.read_head(directory)
    segments = files.segment_paths(directory)
    if not segments:
        if head is not None:
            what = f"no segment is there, and the head knows {head.last_seq} records"
            raise files.damaged(what, directory / files.HEAD_NAME, offset=0)
        return None
    number, path = segments[-1]
    if head is not None and head.segment > number:
        raise files.damaged("the segment is missing", directory / f"segment-{head.segment:06d}.cstd", offset=0)
    data = files.mapped(path)
    header = files.read_segment_header(path, data)
    return _scan_blocks(number, path, data, header, head if head is not None and head.segment == number else None)


def _scan_blocks(
    number: int, path: Path, data: mmap.mmap | bytes, header: files.SegmentHeader, head: files.Head | None
) -> _Tail:
    cursor = journal_scan.BlockCursor(
        data, offset=files.SegmentHeader.BYTES, prev=header.hash,
        next_index=header.first_index, next_seq=header.first_seq,
    )
    proven = head is None
    while True:
        if head is not None and cursor.offset == head.segment_bytes:
            proven = cursor.prev == head.hash
        fault = cursor.check()
        if fault != JournalFault.JOURNAL_FINE:
            break
    tail = _Tail(header.journal_id, number, cursor.offset, cursor.next_index, cursor.next_seq, cursor.prev)
    error = fault_error(fault, cursor, path)
    cut = len(data) - cursor.offset
    if not proven:
        raise error or files.damaged(
            "the segment does not hold the block that the head knows", path, offset=tail.offset, seq=tail.next_seq)
    if not cut:
        return tail
    return _Tail(
        tail.journal_id, number, tail.offset, tail.next_index, tail.next_seq, tail.prev, cut,
        f"{path.name} was cut at byte {tail.offset}: {'an unfinished block' if error is None else error.message}",
    )


def _find_ring_tail(path: Path, tail: _Tail, ring_bytes: int) -> _RingTail:
    """Return what the ring adds to the segments; makes a new ring where there is none to go on with."""
    ring = files.read_ring(path)
    _refuse_foreign_ring(ring, tail.journal_id)
    if ring is None or ring.journal_id != tail.journal_id:
        return _new_ring(path, tail.journal_id, ring_bytes, "the ring was gone" if tail.next_seq > 1 else "")
    same_boot = ring.boot_id == files.boot_id()
    records, used, fault = journal_scan.scan_records(ring.pending)
    fresh = [record for record in records if record.seq >= tail.next_seq]
    lost = ring.synced_seq >= tail.next_seq or (fresh and fresh[0].seq != tail.next_seq)
    if lost and same_boot:
        raise VerificationError(
            f"the segments end at seq {tail.next_seq - 1}, but the ring knows that {ring.synced_seq} were on disk",
            place={"file": path.name, "seq": tail.next_seq},
        )
    if lost:
        return _new_ring(path, tail.journal_id, ring_bytes, "the ring of an earlier boot did not join the segments")
    cut = len(ring.pending) - used
    reason = f"{cut} bytes in the ring were no whole record ({JournalFault(fault).name.lower()})" if cut else ""
    if not fresh and (ring.data_bytes != ring_bytes or not same_boot):
        return _new_ring(path, tail.journal_id, ring_bytes, reason)
    known = sum(fast.RECORD_HEADER_BYTES + -(-len(record.payload) // 8) * 8
                for record in records[: len(records) - len(fresh)])
    if fresh and not reason:
        reason = "the last process ended without closing the journal"
    return _RingTail(ring.synced + known, ring.synced + used, len(fresh), cut, reason)


def _new_ring(path: Path, journal_id: bytes, ring_bytes: int, reason: str) -> _RingTail:
    """Make an empty ring beside the old one and put it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new_path = path.with_name(path.name + ".new")
    fast.create_ring(str(new_path), ring_bytes, journal_id, files.boot_id())
    new_path.replace(path)
    return _RingTail(reason=reason)
