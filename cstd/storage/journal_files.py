"""The journal's files as Python sees them: names, headers, the ring and the lock.

The formats are the C structs of `_fast/csrc/journal_writer.h`; what is read here is checked by its own
checksum before it is believed. A segment that no more is written to may lie here compressed (`segment-NNNNNN.cstd.zst`,
see journal_compress.py): every place in it is one of its content.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from cstd._fast import journal_scan
from cstd.errors import OperatorError, VerificationError
from cstd.locks import is_held, wait_for_lock

VERSION = 2
HASH_BYTES = 32
ZERO_HASH = bytes(HASH_BYTES)
HEAD_NAME = "head.cstd"
HEAD_SIGNATURE_NAME = "head.sig"
HEAD_SIGNATURE_LEFT_NAME = "head.sig.left"  # of a run that crashed: the next start's signatures are of later places
LOCK_NAME = "lock"
RING_LINK_NAME = "ring"
PACKED_SUFFIX = ".zst"
BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")

_SEGMENT_NAME = re.compile(r"segment-(\d{6,})\.cstd(?:\.zst)?")
_SEGMENT = struct.Struct("<8sIIQQQq16s32s32s")
_BLOCK = struct.Struct("<IIQQQ32s32s")
_BLOCK_MAGIC = int.from_bytes(b"CBLK", "little")
_HEAD = struct.Struct("<8sIIQQQQ16s32s")
_RING = struct.Struct("<8sIIQ16s16s72xQ56xQQQ40x")
_RING_MAGIC = b"CSTDRNG1"
_HEAD_MAGIC = b"CSTDEHD1"
_HEAD_CRC_FROM = 16
_SEGMENT_HASHED = 96


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The first 128 bytes of a segment file, proven by their own hash."""

    number: int
    first_index: int
    first_seq: int
    created_wall_ns: int
    journal_id: bytes
    prev: bytes
    hash: bytes

    BYTES = _SEGMENT.size


@dataclass(frozen=True, slots=True)
class Head:
    """A block of the journal: its segment, where in it the block ends, its index, its last record, its hash.

    In the file `head.cstd`: the last one that was on disk for certain. In a checkpoint: the one it was made behind.
    """

    segment: int
    segment_bytes: int
    index: int
    last_seq: int
    journal_id: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class RingSnapshot:
    """A ring's header and a copy of the bytes that were not yet synced."""

    path: Path
    journal_id: bytes
    boot_id: bytes
    data_bytes: int
    head: int
    synced: int
    synced_seq: int
    pending: bytes


def segment_paths(directory: Path) -> list[tuple[int, Path]]:
    """Return (number, path) of every segment in the directory, by number; the plain file where both forms are there."""
    found = [(int(match[1]), path) for path in directory.iterdir() if (match := _SEGMENT_NAME.fullmatch(path.name))]
    paths = dict(sorted(found, reverse=True))
    for number in range(min(paths, default=0), max(paths, default=0)):
        # One that took its compressed name while the directory was listed may have been seen under neither.
        if number not in paths and packed_path(segment_path(directory, number)).exists():
            paths[number] = packed_path(segment_path(directory, number))
    return sorted(paths.items())


def segment_path(directory: Path, number: int) -> Path:
    """Return the path of a segment's plain file."""
    return directory / f"segment-{number:06d}.cstd"


def packed_path(path: Path) -> Path:
    """Return where the compressed form of a segment's plain file is."""
    return path.with_name(path.name + PACKED_SUFFIX)


def mapped(path: Path) -> mmap.mmap | bytes:
    """Return a segment's bytes: a read-only map, freed with its last user, or what its compressed form holds.

    A plain file that is gone may have been compressed since it was listed.
    """
    if path.suffix == PACKED_SUFFIX:
        return unpacked(path)
    try:
        with path.open("rb") as file:
            empty = os.fstat(file.fileno()).st_size == 0
            return b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        if packed_path(path).exists():
            return unpacked(packed_path(path))
        raise


def unpacked(path: Path) -> bytes:
    """Return the content of a compressed segment; raises VerificationError where its own checksum does not hold."""
    import zstandard  # the trading process needs it only where a recovery reads compressed segments

    try:
        return zstandard.ZstdDecompressor().decompress(path.read_bytes())
    except (zstandard.ZstdError, MemoryError) as error:
        raise damaged(f"the compressed segment cannot be unpacked ({error})", path, offset=0) from error


DAMAGED = ("keep a copy of the run directory and bring it back from a backup (`cstd restore`), or begin another with a new"
           " --run-dir: open orders of ours are found by their ids and canceled, coins that are held are yours from then on")

DAMAGED_BACKUP = ("restore another backup (`cstd restore`); where the host still has its run directory, `cstd backup`"
                  " into a new folder makes one anew")


def advise_of_backup(error: VerificationError) -> VerificationError:
    """Return the error with what to do where the journal is a backup's: it cannot be brought back from itself."""
    if error.suggestion in ("", DAMAGED):
        error.suggestion = DAMAGED_BACKUP
    return error


def damaged(message: str, path: Path, *, offset: int, **place: object) -> VerificationError:
    """Return the error for a file that is not what was written, with its place."""
    where = {"file": path.name, "offset": offset, **place}
    numbers = ", ".join(f"{key} {value}" for key, value in where.items() if key != "file")
    return VerificationError(f"{path}: {message} ({numbers})", place=where, suggestion=DAMAGED)


def of_another_version(what: str, version: int, path: Path) -> VerificationError:
    """Return the error for a file whose format is not the one that is known here, with both versions."""
    error = damaged(f"{what} format version {version} is not known, {VERSION} is", path, offset=8)
    error.suggestion = f"use the version of cstd that wrote it; where no other one did, it is damaged: {DAMAGED}"
    return error


def read_segment_header(path: Path, data: bytes | mmap.mmap) -> SegmentHeader:
    """Return the header of the segment whose bytes are `data`, or raise VerificationError."""
    if len(data) < _SEGMENT.size:
        raise damaged(f"the segment header is cut after {len(data)} of {_SEGMENT.size} bytes", path, offset=0)
    raw = bytes(data[: _SEGMENT.size])
    magic, version, header_bytes, *rest = _SEGMENT.unpack(raw)
    number, first_index, first_seq, created_wall_ns, journal_id, prev, digest = rest
    if magic != b"CSTDSEG1":
        raise damaged("not a journal segment: the magic differs", path, offset=0)
    # The version first: where the hash of another one's header is, and of what, is not known here.
    if version != VERSION:
        raise of_another_version("segment", version, path)
    if journal_scan.sha256(raw[:_SEGMENT_HASHED]) != digest:
        raise damaged("the segment header does not match its hash", path, offset=0)
    if header_bytes != _SEGMENT.size:
        raise damaged(f"the segment header says that it has {header_bytes} bytes, not {_SEGMENT.size}", path, offset=12)
    return SegmentHeader(number, first_index, first_seq, created_wall_ns, journal_id, prev, digest)


def first_header(path: Path) -> SegmentHeader:
    """Return a segment's header, of a compressed one too, without reading what follows it.

    A plain file that is gone may have been compressed since it was listed.
    """
    if path.suffix != PACKED_SUFFIX and not path.exists() and packed_path(path).exists():
        path = packed_path(path)
    with path.open("rb") as file:
        if path.suffix != PACKED_SUFFIX:
            return read_segment_header(path, file.read(SegmentHeader.BYTES))
        import zstandard

        try:
            return read_segment_header(path, zstandard.ZstdDecompressor().stream_reader(file).read(SegmentHeader.BYTES))
        except zstandard.ZstdError as error:
            raise damaged(f"the compressed segment cannot be unpacked ({error})", path, offset=0) from error


class Block(NamedTuple):
    """Where in a segment the records of a block are; nothing of it is proven."""

    first_seq: int
    last_seq: int
    begin: int
    end: int


def blocks(data: bytes | mmap.mmap, end: int) -> Iterator[Block]:
    """Yield the blocks of a segment that end at an offset or before, by their headers alone."""
    offset = SegmentHeader.BYTES
    while offset + _BLOCK.size <= end:
        magic, payload_bytes, first_seq, last_seq, *_ = _BLOCK.unpack_from(data, offset)
        offset += _BLOCK.size + payload_bytes
        if magic != _BLOCK_MAGIC or offset > end:
            return
        yield Block(first_seq, last_seq, offset - payload_bytes, offset)


def last_block(directory: Path, place: Head) -> list[journal_scan.Record]:
    """Return the records of the block that ends at a place that was proven; none where the place is a segment's beginning."""
    data = mapped(segment_path(directory, place.segment))
    last = next((block for block in blocks(data, place.segment_bytes) if block.end == place.segment_bytes), None)
    return journal_scan.scan_records(bytes(data[last.begin:last.end]))[0] if last is not None else []


def read_head(directory: Path) -> Head | None:
    """Return the head of the journal, None where there is none yet, or raise VerificationError."""
    path = directory / HEAD_NAME
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    if not raw:
        return None
    if len(raw) != _HEAD.size:
        raise damaged(f"the head has {len(raw)} bytes, not {_HEAD.size}", path, offset=0)
    magic, version, crc, segment, segment_bytes, index, last_seq, journal_id, digest = _HEAD.unpack(raw)
    if magic == _HEAD_MAGIC and version != VERSION:
        raise of_another_version("head", version, path)
    if magic != _HEAD_MAGIC or crc != journal_scan.crc32c(raw[_HEAD_CRC_FROM:]):
        raise damaged("the head does not match its checksum", path, offset=0)
    return Head(segment, segment_bytes, index, last_seq, journal_id, digest)


def head_bytes(head: Head) -> bytes:
    """Return the content of a head file: what `read_head` reads."""
    rest = _HEAD.pack(_HEAD_MAGIC, VERSION, 0, head.segment, head.segment_bytes, head.index, head.last_seq, head.journal_id,
                      head.hash)[_HEAD_CRC_FROM:]
    return _HEAD.pack(_HEAD_MAGIC, VERSION, journal_scan.crc32c(rest), head.segment, head.segment_bytes, head.index,
                      head.last_seq, head.journal_id, head.hash)


def ring_bytes(ring: RingSnapshot) -> bytes:
    """Return the content of a ring file that holds a snapshot's records and no more; for reading, nobody goes on in it."""
    size = len(ring.pending)
    return _RING.pack(_RING_MAGIC, VERSION, _RING.size, size, ring.journal_id, ring.boot_id, size, size, 0,
                      ring.synced_seq) + ring.pending


def read_ring(path: Path) -> RingSnapshot | None:
    """Return a copy of the ring at `path`, or None where no ring can be read.

    A live ring may move on while it is copied: the records are whole, and the reader drops those it has seen.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as ring:
            return _copy_ring(path, ring)
    except (FileNotFoundError, ValueError):
        return None


def _copy_ring(path: Path, ring: mmap.mmap) -> RingSnapshot | None:
    """Copy what is pending, once more if the writer freed and the producer reused some of it meanwhile."""
    while True:
        if len(ring) < _RING.size:
            return None
        magic, version, base, size, journal_id, boot_id, head, _, synced, synced_seq = _RING.unpack(ring[: _RING.size])
        if magic != _RING_MAGIC or version != VERSION or len(ring) != base + size or not 0 <= head - synced <= size:
            return None
        begin, end = synced % size, synced % size + head - synced
        pending = ring[base + begin : base + min(end, size)] + ring[base : base + max(0, end - size)]
        head_now = _RING.unpack(ring[: _RING.size])[6]
        if head_now - synced <= size:
            return RingSnapshot(path, journal_id, boot_id, size, head, synced, synced_seq, pending)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def put_in_place(path: Path, content: bytes, *, mode: int) -> None:
    """Write a file that is there whole, and on disk, or not at all. Raises OSError: what was there before still is."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def link_ring(directory: Path, ring_path: Path) -> None:
    """Leave a link to the ring in the journal directory, so that a reader finds it."""
    link = directory / RING_LINK_NAME
    target = os.path.relpath(ring_path, directory) if ring_path.parent == directory.parent else str(ring_path)
    if link.is_symlink() and str(link.readlink()) == target:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def linked_ring(directory: Path) -> Path | None:
    """Return the path of the journal's ring, None where it is gone."""
    link = directory / RING_LINK_NAME
    return link if link.exists() else None


def boot_id() -> bytes:
    """Return the 16 bytes that the kernel drew at this boot."""
    return bytes.fromhex(BOOT_ID_PATH.read_text().strip().replace("-", ""))


def lock_directory(directory: Path) -> IO[bytes]:
    """Return the held lock of the journal directory; the kernel frees it when the process dies.

    Raises OperatorError when another process writes this journal.
    """
    return wait_for_lock((directory / LOCK_NAME).open("ab"), 0.0, OperatorError(
        f"the journal {directory} is being written by another process",
        suggestion="stop the other daemon, or name another state directory"))


def is_being_written(directory: Path) -> bool:
    """Return True while a process holds the journal's lock."""
    return is_held(directory / LOCK_NAME)
