"""Reading a journal: every record in order, each proven by its checksum and the chain of blocks before it.

Reads a journal that is closed, crashed or being written. What only the ring holds comes last. The head and the
ring are read before the segments, which only grow: so neither can promise what a reader does not find, unless
something is missing.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cstd._fast.journal_scan import BlockCursor, JournalFault, Record, scan_records
from cstd.errors import UsageError, VerificationError
from cstd.storage import journal_files as files
from cstd.storage.journal_faults import fault_error


@dataclass(slots=True)
class Report:
    """What was proven about a journal."""

    directory: str
    segments: int = 0
    blocks: int = 0
    records: int = 0
    last_seq: int = 0
    bytes: int = 0
    ring_records: int = 0
    torn_bytes: int = 0
    head_hash: str = ""


def record_batches(directory: Path | str, *, include_ring: bool = True) -> Iterator[list[Record]]:
    """Yield the journal's records in order, one block at a time; see `records`."""
    yield from _Walk(Path(directory), include_ring=include_ring).batches()


def records(directory: Path | str, *, include_ring: bool = True) -> Iterator[Record]:
    """Yield every record of the journal in order.

    Args:
        directory: the journal's directory.
        include_ring: also what the ring still holds and the segments do not.

    Raises:
        UsageError: there is no journal in the directory.
        VerificationError: at the first byte that is not what was written, naming segment, block, offset and seq.
    """
    for batch in record_batches(directory, include_ring=include_ring):
        yield from batch


def verify(directory: Path | str) -> Report:
    """Prove the whole journal and return what was found; raises VerificationError at the first break."""
    walk = _Walk(Path(directory), include_ring=True)
    walk.prove()
    return walk.report


class _Walk:
    """One pass over a journal. `next_index`, `next_seq` and `prev` describe the block that must come next."""

    def __init__(self, directory: Path, *, include_ring: bool) -> None:
        if not directory.is_dir():
            raise UsageError(f"there is no journal directory {directory}")
        self.directory = directory
        self.head = files.read_head(directory)
        ring_path = files.linked_ring(directory) if include_ring else None
        self.ring = files.read_ring(ring_path) if ring_path is not None else None
        self.segments = files.segment_paths(directory)
        if not self.segments and self.head is None:
            raise UsageError(f"there is no journal in {directory}: no segment file")
        self.journal_id = b""
        self.next_index = 1
        self.next_seq = 1
        self.prev = files.ZERO_HASH
        self.head_seen = self.head is None
        self.ring_tail: list[Record] = []
        self.report = Report(str(directory))

    def batches(self) -> Iterator[list[Record]]:
        """Yield the records of each block, then those of the ring."""
        for path, data in self._opened_segments():
            cursor = self._enter(path, data)
            while True:
                batch: list[Record] = []
                fault = cursor.read(batch)
                if fault != JournalFault.JOURNAL_FINE:
                    break
                self._passed(cursor)
                yield batch
            self._leave(fault, cursor, path, len(data))
        self._finish()
        if self.ring_tail:
            yield self.ring_tail

    def prove(self) -> None:
        """Walk without making records."""
        for path, data in self._opened_segments():
            cursor = self._enter(path, data)
            while (fault := cursor.check()) == JournalFault.JOURNAL_FINE:
                self._passed(cursor)
            self._leave(fault, cursor, path, len(data))
        self._finish()

    def _opened_segments(self) -> Iterator[tuple[Path, mmap.mmap | bytes]]:
        for place, (number, path) in enumerate(self.segments, start=1):
            if number != place:
                missing = self.directory / f"segment-{place:06d}.cstd"
                raise files.damaged("the segment is missing", missing, offset=0, seq=self.next_seq)
            yield path, files.mapped(path)

    def _enter(self, path: Path, data: mmap.mmap | bytes) -> BlockCursor:
        """Check the segment's header against what must come next and return a cursor on its first block."""
        header = files.read_segment_header(path, data)
        number = self.report.segments + 1
        self.journal_id = self.journal_id or header.journal_id
        for name, found, expected, offset in (
            ("number", header.number, number, 16),
            ("first block index", header.first_index, self.next_index, 24),
            ("first sequence number", header.first_seq, self.next_seq, 32),
            ("journal id", header.journal_id.hex(), self.journal_id.hex(), 48),
            ("hash of the block before", header.prev.hex(), self.prev.hex(), 64),
        ):
            if found != expected:
                raise files.damaged(
                    f"the segment's {name} is {found}, not {expected}", path, offset=offset,
                    block=self.next_index, seq=self.next_seq)
        self.report.segments = number
        cursor = BlockCursor(
            data, offset=files.SegmentHeader.BYTES, prev=header.hash,
            next_index=self.next_index, next_seq=self.next_seq)
        self._look_for_head(cursor)
        return cursor

    def _passed(self, cursor: BlockCursor) -> None:
        self.report.blocks += 1
        if not self.head_seen:
            self._look_for_head(cursor)

    def _look_for_head(self, cursor: BlockCursor) -> None:
        head = self.head
        if head is not None and head.segment == self.report.segments and head.segment_bytes == cursor.offset:
            self.head_seen = (
                head.hash == cursor.prev and head.index == cursor.next_index - 1
                and head.last_seq == cursor.next_seq - 1 and head.journal_id == self.journal_id)

    def _leave(self, fault: int, cursor: BlockCursor, path: Path, size: int) -> None:
        """Take over where the cursor stopped; only a torn end that the ring or the writer explains is let pass."""
        error = fault_error(fault, cursor, path)
        self.next_index, self.next_seq, self.prev = cursor.next_index, cursor.next_seq, cursor.prev
        self.report.bytes += cursor.offset
        self.report.torn_bytes = size - cursor.offset
        is_last = self.report.segments == len(self.segments)
        if error is None or (is_last and fault == JournalFault.JOURNAL_TORN and self._tear_is_explained()):
            return
        raise error

    def _tear_is_explained(self) -> bool:
        if not self.head_seen:
            return False
        if files.is_being_written(self.directory):
            return True
        pending = self._pending()
        return bool(pending) and pending[0].seq <= self.next_seq <= pending[-1].seq + 1

    def _pending(self) -> list[Record]:
        if self.ring is None or self.ring.journal_id != self.journal_id:
            return []
        return scan_records(self.ring.pending)[0]

    def _finish(self) -> None:
        """Check that nothing promised is missing, and take the rest from the ring."""
        if not self.head_seen and self.head is not None:
            raise VerificationError(
                f"{self.directory}: the segments do not hold block {self.head.index} of segment {self.head.segment}"
                f" with seq {self.head.last_seq}, which the head knows to be on disk",
                place={"file": files.HEAD_NAME, "segment": self.head.segment, "block": self.head.index,
                       "offset": self.head.segment_bytes, "seq": self.head.last_seq})
        if self.head is None and self.report.blocks:
            raise files.damaged("the head is missing", self.directory / files.HEAD_NAME, offset=0)
        fresh = [record for record in self._pending() if record.seq >= self.next_seq]
        joins = not fresh or fresh[0].seq == self.next_seq
        ring = self.ring
        is_ours_now = ring is not None and ring.journal_id == self.journal_id and ring.boot_id == files.boot_id()
        if ring is not None and is_ours_now and (not joins or ring.synced_seq >= self.next_seq):
            raise VerificationError(
                f"{self.directory}: the segments end at seq {self.next_seq - 1}, but the ring knows that"
                f" {ring.synced_seq} were on disk",
                place={"file": self.segments[-1][1].name, "seq": self.next_seq, "block": self.next_index})
        self.ring_tail = fresh if joins else []
        self.report.records = self.next_seq - 1
        self.report.ring_records = len(self.ring_tail)
        self.report.last_seq = self.next_seq - 1 + len(self.ring_tail)
        self.report.head_hash = self.prev.hex()
