"""Sheets: rows of fixed shape in shared memory, written by one process and read by others; nobody waits for anybody.

One file, mapped by both sides: a header page, then two copies of a note (a small JSON object) and of the rows. Write n goes
to copy n % 2 between two counters, writes begun and writes done, so the last whole one is left alone while the next is
written, and a writer that dies inside a write takes nothing from view. A reader copies write n and looks at *begun* again: past
n + 1 the copy was being overwritten; it is dropped, counted and read anew. It is the board's way (cstd.ops.board), for numbers.

The shape is part of the header, and a reader takes no file of another shape: two builds do not misread each other.
"""

from __future__ import annotations

import json
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cstd.errors import OperatorError

MAGIC = b"CSTDSHT1"
WORD_BYTES = 8
HEADER_BYTES = 4096
SHAPE_BYTES_MAX = 16 * 4096
NOTE_BYTES = 64 * 1024
ROWS_MAX = 65_536
READ_TRIES = 200
# int64 words of the header; word 0 is MAGIC. Used rows and bytes of the note have a word for each copy.
BEGUN, DONE, SHAPE, ROWS, USED, NOTE = 1, 2, 3, 4, 5, 7

Rows = NDArray[np.void]


class Sheet:
    """What both sides have in common: the file, mapped, and where its parts are."""

    def __init__(self, path: Path, shape: bytes, row_type: np.dtype[np.void], rows_max: int, mapped: mmap.mmap) -> None:
        self.path = path
        self.row_type = row_type
        self.rows_max = rows_max
        self._map = mapped
        self._words = memoryview(mapped).cast("q")
        self._base = HEADER_BYTES + _pages(len(shape))
        self._rows_bytes = rows_max * row_type.itemsize

    def _rows(self, copy: int) -> Rows:
        return np.frombuffer(self._map, self.row_type, self.rows_max,
                             self._base + copy * (NOTE_BYTES + self._rows_bytes) + NOTE_BYTES)

    def _note_at(self, copy: int) -> int:
        return self._base + copy * (NOTE_BYTES + self._rows_bytes)

    @property
    def version(self) -> int:
        """How many writes were done."""
        return self._words[DONE]

    def close(self) -> None:
        """Unmap the file; it stays."""
        self._words.release()
        self._map.close()


def _pages(count: int) -> int:
    return -(-count // 4096) * 4096


def _shape(row_type: np.dtype[np.void], rows_max: int, names: tuple[str, ...]) -> bytes:
    """Return what both sides must agree on: the fields of a row, how many rows, and the names of what is in them."""
    fields = [[name, str(row_type[name].base.str), list(row_type[name].shape)] for name in row_type.names or ()]
    return json.dumps({"fields": fields, "rows": rows_max, "names": list(names)}, separators=(",", ":")).encode()


def _type_of(fields: list[list[Any]]) -> np.dtype[np.void]:
    return np.dtype([(name, code, tuple(shape)) for name, code, shape in fields])


def _size(shape: bytes, row_type: np.dtype[np.void], rows_max: int) -> int:
    return HEADER_BYTES + _pages(len(shape)) + 2 * (NOTE_BYTES + rows_max * row_type.itemsize)


class SheetWriter(Sheet):
    """The one writer of a sheet. Makes the file afresh (mode 0600): a reader of the old one notices the new inode.

    Args:
        names: what the columns of an array field are, or anything else that a reader must know before it reads.
    """

    def __init__(self, path: Path, row_type: np.dtype[np.void], rows_max: int, names: tuple[str, ...] = ()) -> None:
        shape = _shape(row_type, rows_max, names)
        if not 0 < rows_max <= ROWS_MAX or len(shape) > SHAPE_BYTES_MAX:
            raise OperatorError(f"a sheet of {rows_max} rows and {len(names)} names is too large")
        unfinished = path.with_name(f".{path.name}.new")
        unfinished.unlink(missing_ok=True)
        try:
            fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                size = _size(shape, row_type, rows_max)
                os.posix_fallocate(fd, 0, size)
                mapped = mmap.mmap(fd, size)
            finally:
                os.close(fd)
        except OSError as error:
            raise OperatorError(f"cannot make {path}: {error.strerror}") from error
        mapped[HEADER_BYTES:HEADER_BYTES + len(shape)] = shape
        super().__init__(path, shape, row_type, rows_max, mapped)
        self._words[SHAPE], self._words[ROWS] = len(shape), rows_max
        mapped[0:len(MAGIC)] = MAGIC
        unfinished.replace(path)

    @contextmanager
    def writing(self, used: int, note: dict[str, Any] | None = None) -> Iterator[Rows]:
        """Give the rows of the next write to be filled in; it is done, for readers, when the block ends without an error."""
        payload = json.dumps(note or {}).encode()
        if used > self.rows_max or len(payload) > NOTE_BYTES:
            raise OperatorError(f"{used} rows and a note of {len(payload)} bytes do not fit into {self.path}")
        number = self._words[DONE] + 1
        self._words[BEGUN] = number
        copy = number % 2
        yield self._rows(copy)[:used]
        at = self._note_at(copy)
        self._map[at:at + len(payload)] = payload
        self._words[USED + copy], self._words[NOTE + copy] = used, len(payload)
        self._words[DONE] = number


class SheetReader(Sheet):
    """Reads a sheet of another process; `names` is what its writer said of the columns."""

    def __init__(self, path: Path, row_type: np.dtype[np.void] | None = None) -> None:
        """Map the file.

        Args:
            row_type: the shape of the rows that is expected; None takes what the header says.

        Raises:
            OperatorError: no such file, or it is no sheet of this shape.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise OperatorError(f"cannot open {path}: {error.strerror}") from error
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode) or info.st_size < HEADER_BYTES or os.pread(fd, len(MAGIC), 0) != MAGIC:
                raise OperatorError(f"{path} is not a sheet of this version of cstd")
            mapped = mmap.mmap(fd, info.st_size, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            os.close(fd)
        self.inode = (info.st_dev, info.st_ino)
        words = np.frombuffer(mapped, np.int64, 16)
        length, rows_max = int(words[SHAPE]), int(words[ROWS])
        try:
            shape = mapped[HEADER_BYTES:HEADER_BYTES + length]
            told = json.loads(shape)
            found = _type_of(told["fields"])
            whole = _size(shape, found, rows_max) == info.st_size and rows_max == told["rows"]
        except (ValueError, KeyError, TypeError) as error:
            raise OperatorError(f"{path} is not a sheet of this version of cstd") from error
        if not whole or (row_type is not None and found != row_type):
            raise OperatorError(f"{path} has rows of another shape", suggestion="start both sides from the same installation")
        self.names: tuple[str, ...] = tuple(told["names"])
        self.torn_reads = 0
        super().__init__(path, shape, found, rows_max, mapped)

    def replaced(self) -> bool:
        """Return whether another file lies there now, or none."""
        try:
            info = self.path.stat()
        except OSError:
            return True
        return (info.st_dev, info.st_ino) != self.inode

    def read(self) -> tuple[int, Rows, dict[str, Any]]:
        """Return (version, a copy of the rows, the note); version 0 and nothing before the first write.

        Raises:
            OperatorError: the writer overtook READ_TRIES copies running.
        """
        words = self._words
        for _ in range(READ_TRIES):
            number = words[DONE]
            if not number:
                return 0, np.empty(0, self.row_type), {}
            copy = number % 2
            at = self._note_at(copy)
            rows = self._rows(copy)[:min(words[USED + copy], self.rows_max)].copy()
            payload = self._map[at:at + min(words[NOTE + copy], NOTE_BYTES)]
            if words[BEGUN] <= number + 1:
                try:
                    return number, rows, json.loads(payload)
                except ValueError:  # on a machine with weaker ordering than x86-64 a torn note shows as this
                    pass
            self.torn_reads += 1
        raise OperatorError(f"{self.path} changed during each of {READ_TRIES} reads")
