"""Following a journal that grows: every block once, in order, proven, as soon as the disk has it for certain.

Reads no further than the head, which is written after each sync: what a reader keeps of these records cannot be ahead of
what a power loss leaves. Memory stays small: a growing segment is read in pieces, never mapped, because its writer cuts
the file back after a write that failed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cstd._fast.journal_scan import BlockCursor, JournalFault, Record
from cstd.errors import UsageError, VerificationError
from cstd.storage import journal_files as files
from cstd.storage.journal_faults import WHAT_DIFFERS

PIECE_BYTES = 4 << 20
HEAD_TRIES = 5
HEAD_RETRY_S = 0.002


class JournalFollower:
    """One reader's way through a journal. `place` is the end of the last block given.

    Attributes:
        passed: ends of segments that were read whole and are not written to any more; the owner empties it.
    """

    def __init__(self, directory: Path, start: files.Head | None = None) -> None:
        """Begin behind the block `start`, or at the first segment that is there."""
        if not directory.is_dir():
            raise UsageError(f"there is no journal directory {directory}")
        self.directory = directory
        self.passed: list[files.Head] = []
        self._number = 0
        self._offset = 0
        self._index = 0
        self._seq = 0
        self._prev = files.ZERO_HASH
        self._journal_id = b""
        self._file: IO[bytes] | None = None
        self._content = b""
        if start is not None:
            self._resume(start)

    @property
    def place(self) -> files.Head:
        """Where it is: the last block that was given, in the form of a head."""
        return files.Head(self._number, self._offset, self._index, self._seq, self._journal_id, self._prev)

    def level(self) -> bool:
        """Whether everything that the head knows to be on disk was given."""
        head = self.head()
        return head is None or head.last_seq <= self._seq

    def head(self) -> files.Head | None:
        """Return the head; one that is being rewritten is read again."""
        for _ in range(HEAD_TRIES):
            try:
                return files.read_head(self.directory)
            except VerificationError:
                time.sleep(HEAD_RETRY_S)
        return files.read_head(self.directory)

    def batches(self) -> Iterator[list[Record]]:
        """Yield the records of each further block that is on disk now; goes on from there at the next call.

        Raises:
            VerificationError: at the first byte that is not what was written, with its place.
        """
        head = self.head()
        if head is None:
            return
        while self._number <= head.segment:
            if self._number == 0:
                self._enter(min((number for number, _ in files.segment_paths(self.directory)), default=1), first=True)
            growing = self._number == head.segment
            yield from self._blocks(head.segment_bytes if growing else self._size())
            if growing:
                return
            self.passed.append(self.place)
            self._enter(self._number + 1, first=False)

    def close(self) -> None:
        """Let go of the segment."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _path(self) -> Path:
        return files.segment_path(self.directory, self._number)

    def _open(self, number: int) -> Path:
        """Open a segment in the form that it is in, and return its path."""
        self.close()
        path = files.segment_path(self.directory, number)
        self._content = b""
        try:
            self._file = path.open("rb")
        except FileNotFoundError:
            if not files.packed_path(path).exists():
                raise files.damaged("the segment is missing", path, offset=0, seq=self._seq + 1) from None
            self._content = files.unpacked(files.packed_path(path))
        return path

    def _enter(self, number: int, *, first: bool) -> None:
        """Open a segment and prove that it joins the one before; the first one that there is says itself where it begins."""
        path = self._open(number)
        header = files.read_segment_header(path, self._read(0, files.SegmentHeader.BYTES))
        if first:
            self._index, self._seq = header.first_index - 1, header.first_seq - 1
            self._journal_id, self._prev = header.journal_id, header.prev
        found = (header.number, header.first_index, header.first_seq, header.journal_id, header.prev)
        if found != (number, self._index + 1, self._seq + 1, self._journal_id, self._prev):
            raise files.damaged("the segment does not follow the one before it", path, offset=16, seq=self._seq + 1)
        self._number, self._offset, self._prev = number, files.SegmentHeader.BYTES, header.hash

    def _resume(self, start: files.Head) -> None:
        """Open the segment of a block that is known, behind it."""
        path = self._open(start.segment)
        header = files.read_segment_header(path, self._read(0, files.SegmentHeader.BYTES))
        if (header.number, header.journal_id) != (start.segment, start.journal_id):
            raise files.damaged("the segment is not the one that the checkpoint was made of", path, offset=0, seq=start.last_seq)
        self._number, self._offset = start.segment, start.segment_bytes
        self._index, self._seq = start.index, start.last_seq
        self._journal_id, self._prev = start.journal_id, start.hash

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size if self._file is not None else len(self._content)

    def _read(self, offset: int, size: int) -> bytes:
        if self._file is None:
            return self._content[offset:offset + size]
        return os.pread(self._file.fileno(), size, offset)

    def _blocks(self, end: int) -> Iterator[list[Record]]:
        """Yield the blocks up to byte `end` of the segment, where one ends."""
        piece = PIECE_BYTES
        while self._offset < end:
            base = self._offset
            wanted = min(piece, end - base)
            data = self._read(base, wanted)
            if not data:
                raise files.damaged(WHAT_DIFFERS[JournalFault.JOURNAL_TORN], self._path(), offset=base, seq=self._seq + 1)
            cursor = BlockCursor(data, offset=0, prev=self._prev, next_index=self._index + 1, next_seq=self._seq + 1)
            while True:
                batch: list[Record] = []
                fault = cursor.read(batch)
                if fault != JournalFault.JOURNAL_FINE:
                    break
                self._offset, self._prev = base + cursor.offset, cursor.prev
                self._index, self._seq = cursor.next_index - 1, cursor.next_seq - 1
                yield batch
            if fault == JournalFault.JOURNAL_TORN and len(data) == wanted < end - base:
                piece = piece * 2 if cursor.offset == 0 else piece
            elif fault != JournalFault.JOURNAL_END:
                raise files.damaged(WHAT_DIFFERS[JournalFault(fault)], self._path(), offset=base + cursor.fault_offset,
                                    block=cursor.next_index, seq=cursor.fault_seq)
