"""Reading a journal: every record in order, each proven by its checksum and the chain of blocks before it.

Reads a journal that is closed, crashed or being written. What only the ring holds comes last. The head and the
ring are read before the segments, which only grow: so neither can promise what a reader does not find, unless
something is missing. A journal whose oldest segments were removed is read from the first that is left, which must lead
through its base (see `checkpoints`).
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cstd._fast.journal_scan import BlockCursor, JournalFault, Record, scan_records
from cstd.errors import UsageError, VerificationError
from cstd.storage import checkpoints
from cstd.storage import journal_files as files
from cstd.storage.journal_faults import fault_error
from cstd.storage.journal_files import Head


@dataclass(slots=True)
class Report:
    """What was proven about a journal. first_seq: above 1 when older segments were removed."""

    directory: str
    first_seq: int = 1
    segments: int = 0
    blocks: int = 0
    records: int = 0
    last_seq: int = 0
    bytes: int = 0
    ring_records: int = 0
    torn_bytes: int = 0
    head_hash: str = ""
    signed_seq: int = 0
    unsigned_records: int = 0
    signed_by: str = ""


def record_batches(directory: Path | str, *, include_ring: bool = True) -> Iterator[list[Record]]:
    """Yield the journal's records in order, one block at a time; see `records`."""
    yield from Walk(directory, include_ring=include_ring).batches()


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


def verify(directory: Path | str, key: Path | None = None) -> Report:
    """Prove the whole journal and return what was found; raises VerificationError at the first break.

    Args:
        directory: the journal's directory.
        key: the public key that signed it; None: the one that lies in the directory.
    """
    from cstd.storage.journal_signature import SignatureCheck  # loads OpenSSL, which no other reader needs

    # Read before the segments, which only grow: a signature cannot promise what this walk does not find.
    signatures = SignatureCheck(Path(directory), key)
    walk = Walk(directory)
    walk.witness = signatures.on_block
    walk.prove()
    signatures.finish(walk.segments[0][0] if walk.segments else 1)
    report = walk.report
    report.signed_seq, report.signed_by = signatures.signed_seq, signatures.signed_by
    report.unsigned_records = report.last_seq - report.signed_seq
    return report


class Walk:
    """One pass over a journal. `next_index`, `next_seq` and `prev` describe the block that must come next.

    Args:
        directory: the journal's directory.
        include_ring: also what the ring still holds and the segments do not.
        start: where to begin, None for the first segment that is there.

    Raises:
        UsageError: there is no journal in the directory.
    """

    def __init__(self, directory: Path | str, *, include_ring: bool = True, start: Head | None = None) -> None:
        directory = Path(directory)
        if not directory.is_dir():
            raise UsageError(f"there is no journal directory {directory}")
        self.directory = directory
        self.head = files.read_head(directory)
        ring_path = files.linked_ring(directory) if include_ring else None
        self.ring = files.read_ring(ring_path) if ring_path is not None else None
        self.segments = files.segment_paths(directory)
        if not self.segments and self.head is None:
            raise UsageError(f"there is no journal in {directory}: no segment file")
        self.start = start
        self.first_segment = start.segment if start is not None else self._first_segment()
        self.number = self.first_segment
        self.journal_id = start.journal_id if start is not None else b""
        self.next_index = start.index + 1 if start is not None else 1
        self.next_seq = start.last_seq + 1 if start is not None else 1
        self.prev = start.hash if start is not None else files.ZERO_HASH
        self.head_seen = self.head is None
        # Where nothing was removed the first segment proves itself; else the base must be met on the way.
        self.base = checkpoints.base(directory) if start is None and self.number > 1 else None
        self.ring_tail: list[Record] = []
        self.report = Report(str(directory), first_seq=self.next_seq)
        self.witness: Callable[[int, BlockCursor, bytes], None] | None = None
        self._cursor: BlockCursor | None = None

    def _first_segment(self) -> int:
        """Number of the first segment that is there; 1 where the missing ones were not removed by retention."""
        first = self.segments[0][0] if self.segments else 1
        base = checkpoints.base(self.directory) if first > 1 else None
        return first if base is not None and base.segment >= first else 1

    def place(self) -> Head | None:
        """Where the last block ended that was read; None before the first."""
        if self._cursor is None:
            return None
        return Head(self.number, self._cursor.offset, self._cursor.next_index - 1, self._cursor.next_seq - 1,
                    self.journal_id, self._cursor.prev)

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
        for place, (number, path) in enumerate(
                ((number, path) for number, path in self.segments if number >= self.number), start=self.number):
            if number != place:
                missing = self.directory / f"segment-{place:06d}.cstd"
                raise files.damaged("the segment is missing", missing, offset=0, seq=self.next_seq)
            self.number = number
            yield path, files.mapped(path)

    def _enter(self, path: Path, data: mmap.mmap | bytes) -> BlockCursor:
        """Check the segment's header against what must come next and return a cursor on its first block."""
        header = files.read_segment_header(path, data)
        if self.start is not None and self.report.segments == 0:
            return self._enter_midway(header, path, data, self.start)
        self.journal_id = self.journal_id or header.journal_id
        if self.base is not None and self.report.segments == 0:
            self.next_index, self.next_seq, self.prev = header.first_index, header.first_seq, header.prev
            self.report.first_seq = header.first_seq
        for name, found, expected, offset in (
            ("number", header.number, self.number, 16),
            ("first block index", header.first_index, self.next_index, 24),
            ("first sequence number", header.first_seq, self.next_seq, 32),
            ("journal id", header.journal_id.hex(), self.journal_id.hex(), 48),
            ("hash of the block before", header.prev.hex(), self.prev.hex(), 64),
        ):
            if found != expected:
                raise files.damaged(
                    f"the segment's {name} is {found}, not {expected}", path, offset=offset,
                    block=self.next_index, seq=self.next_seq)
        return self._begin(data, files.SegmentHeader.BYTES, header.hash)

    def _enter_midway(self, header: files.SegmentHeader, path: Path, data: mmap.mmap | bytes, start: Head) -> BlockCursor:
        if header.journal_id != start.journal_id or header.number != start.segment or len(data) < start.segment_bytes:
            raise files.damaged("the segment is not the one that the checkpoint was made of", path, offset=0, seq=start.last_seq)
        return self._begin(data, start.segment_bytes, start.hash)

    def _begin(self, data: mmap.mmap | bytes, offset: int, prev: bytes) -> BlockCursor:
        self.report.segments += 1
        cursor = self._cursor = BlockCursor(
            data, offset=offset, prev=prev, next_index=self.next_index, next_seq=self.next_seq)
        self._look_for_head(cursor)
        self._look_for_base(cursor)
        return cursor

    def _passed(self, cursor: BlockCursor) -> None:
        self.report.blocks += 1
        if self.witness is not None:
            self.witness(self.number, cursor, self.journal_id)
        if not self.head_seen:
            self._look_for_head(cursor)
        if self.base is not None:
            self._look_for_base(cursor)

    def _look_for_base(self, cursor: BlockCursor) -> None:
        base = self.base
        if base is not None and base == self.place():
            self.base = None

    def _look_for_head(self, cursor: BlockCursor) -> None:
        head = self.head
        if head is not None and head.segment == self.number and head.segment_bytes == cursor.offset:
            self.head_seen = (
                head.hash == cursor.prev and head.index == cursor.next_index - 1
                and head.last_seq == cursor.next_seq - 1 and head.journal_id == self.journal_id)

    def _leave(self, fault: int, cursor: BlockCursor, path: Path, size: int) -> None:
        """Take over where the cursor stopped; only a torn end that the ring or the writer explains is let pass."""
        error = fault_error(fault, cursor, path)
        self.next_index, self.next_seq, self.prev = cursor.next_index, cursor.next_seq, cursor.prev
        self.report.bytes += cursor.offset
        self.report.torn_bytes = size - cursor.offset
        is_last = self.number == self.segments[-1][0]
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
        if self.base is not None:
            raise VerificationError(
                f"{self.directory}: what is left of the journal does not lead through block {self.base.index} with seq"
                f" {self.base.last_seq}, which its oldest checkpoint was made of",
                place={"segment": self.base.segment, "block": self.base.index, "seq": self.base.last_seq})
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
        self.report.records = self.next_seq - self.report.first_seq
        self.report.ring_records = len(self.ring_tail)
        self.report.last_seq = self.next_seq - 1 + len(self.ring_tail)
        self.report.head_hash = self.prev.hex()
