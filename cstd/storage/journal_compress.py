"""Sealed segments as zstd: at every moment either form of a segment is there whole, never neither.

The new file is written under another name, synced, read back and compared with the segment; then it takes its name, and
only when that name is on disk the plain file goes. A process that ends anywhere in between leaves a segment that can be
read and, at worst, a file under the other name, which the next attempt replaces.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import zstandard

from cstd.errors import VerificationError
from cstd.storage import journal_files as files

LEVEL = 3
STEP_BYTES = 4 << 20
UNFINISHED_SUFFIX = ".new"


def sealed_segments(directory: Path, head: files.Head) -> list[tuple[int, Path]]:
    """Return (number, path) of the plain segments before the one that the head is in: nothing writes to them any more."""
    return [(number, path) for number, path in files.segment_paths(directory)
            if number < head.segment and path.suffix != files.PACKED_SUFFIX]


def compress_segment(path: Path) -> Iterator[str]:
    """Replace a sealed segment by its compressed form, a few megabytes a step.

    Yields the name of each step that is done, so that the caller can do other work, or end, in between: "written" (again
    and again), "synced", "compared", "named", "removed".

    Raises:
        VerificationError: what was written does not read back as the segment; the segment stays.
        OSError: the disk refuses; the segment stays.
    """
    packed = files.packed_path(path)
    unfinished = packed.with_name(packed.name + UNFINISHED_SUFFIX)
    if not packed.exists():
        digest = hashlib.sha256()
        yield from _write(path, unfinished, digest)
        yield from _compare(unfinished, digest.digest())
        unfinished.replace(packed)
        files.sync_directory(path.parent)
        yield "named"
    elif not _same(path, packed):
        raise VerificationError(f"{packed} does not hold what {path.name} holds", place={"file": packed.name})
    path.unlink()
    files.sync_directory(path.parent)
    yield "removed"


def _write(path: Path, unfinished: Path, digest: hashlib._Hash) -> Iterator[str]:
    with path.open("rb") as source, unfinished.open("wb") as target:
        os.fchmod(target.fileno(), 0o600)
        packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj(size=path.stat().st_size)
        while data := source.read(STEP_BYTES):
            digest.update(data)
            target.write(packer.compress(data))
            yield "written"
        target.write(packer.flush())
        target.flush()
        os.fsync(target.fileno())
    yield "synced"


def _compare(unfinished: Path, expected: bytes) -> Iterator[str]:
    digest = hashlib.sha256()
    for data in _content(unfinished):
        digest.update(data)
    if digest.digest() != expected:
        unfinished.unlink()
        raise VerificationError(f"{unfinished} does not read back as it was written", place={"file": unfinished.name})
    yield "compared"


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        while data := reader.read(STEP_BYTES):
            yield data


def _same(path: Path, packed: Path) -> bool:
    """Whether the compressed file, left beside its segment by a process that ended, holds all of it."""
    with path.open("rb") as source:
        try:
            return all(source.read(len(data)) == data for data in _content(packed)) and not source.read(1)
        except zstandard.ZstdError:
            return False
