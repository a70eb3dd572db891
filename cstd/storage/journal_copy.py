"""A part of a journal in a directory of its own: whole segments, the last one up to a block's end, provable where it lies.

Nothing is written anew but the head, which names the copy's last block. The blocks are the journal's own, so the chain from
the first copied segment on holds, the signatures of what is in it hold, and whoever has the whole journal finds the copy in
it byte for byte. A copy that does not begin at the journal's first segment needs a checkpoint in it as any cut journal does.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import zstandard

from cstd._fast.codes import EventKind
from cstd._fast.journal_scan import Record
from cstd.errors import OperatorError, VerificationError
from cstd.storage import journal_files as files
from cstd.storage.checkpoints import Checkpoint
from cstd.storage.journal_compress import LEVEL, STEP_BYTES
from cstd.storage.journal_files import HEAD_SIGNATURE_LEFT_NAME, HEAD_SIGNATURE_NAME, Head, RingSnapshot
from cstd.storage.journal_reader import Walk
from cstd.storage.journal_signature import PUBLIC_NAME, Signature, read_signature

FILE_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Part:
    """What was found of a journal between a start and its end.

    start: where reading began, None for the journal's first record. window: the last block's end that is at least the asked
    span before the moment in question; `start` where there is none. end: the last block. covered_ns: from `window` to the
    moment. wall_ns: time of the last record, those of the ring included. ring, ring_records: what no segment held.
    boot: the payload of the last boot on the way, None where that lies before `start`.
    """

    start: Head | None
    window: Head | None
    end: Head
    covered_ns: int
    last_seq: int
    wall_ns: int
    ring: RingSnapshot | None
    ring_records: int
    boot: bytes | None


class _Elapsed:
    """Time from record to record: the monotonic clock's, and over a boot of the host, where that begins anew, the wall's."""

    def __init__(self, times: tuple[int, int] | None) -> None:
        self._last = times
        self.ns = 0
        self.wall_ns = times[1] if times is not None else 0

    def take(self, record: Record) -> int:
        """Go on to a later record; returns the time since the start."""
        times = (record.mono_ns, record.wall_ns)
        if self._last is not None:
            mono_ns, wall_ns = (now - last for now, last in zip(times, self._last, strict=True))
            self.ns += mono_ns if mono_ns >= 0 else max(0, wall_ns)
        self._last = times
        self.wall_ns = record.wall_ns
        return self.ns


def survey(directory: Path, start: Checkpoint | None, span_ns: int, *, at_seq: int | None = None,
           until_seq: int | None = None) -> Part:
    """Read a journal from a start on and say where the last `span_ns` of it begin.

    Args:
        directory: the journal; it may be written meanwhile.
        start: begin behind this checkpoint, None for the first record.
        span_ns: how much is wanted.
        at_seq: the record before which it is wanted; None: the last one.
        until_seq: nothing behind the block that holds this record; None: all there is, what only the ring has included.

    Raises:
        OperatorError: there is no record yet.
        VerificationError: the journal is not what was written.
    """
    place = start.place if start is not None else None
    walk = Walk(directory, include_ring=until_seq is None, start=place)
    elapsed = _Elapsed((start.mono_ns, start.wall_ns) if start is not None else None)
    ends: deque[tuple[Head | None, int]] = deque([(place, 0)])
    moment_ns: int | None = None
    boot: bytes | None = None
    last_seq = place.last_seq if place is not None else 0
    for batch in walk.batches():
        if boots := [record.payload for record in batch if record.kind == EventKind.EVENT_BOOT]:
            boot = boots[-1]
        last_seq = batch[-1].seq
        if moment_ns is None and at_seq is not None and last_seq >= at_seq:
            moment_ns = elapsed.ns  # the block before: rather a little more than a little less
        now_ns = elapsed.take(batch[-1])
        while moment_ns is None and len(ends) > 1 and ends[1][1] <= now_ns - span_ns:
            ends.popleft()
        ends.append((walk.place(), now_ns))
        if until_seq is not None and last_seq >= until_seq:
            break
    end = walk.place() or place
    if end is None or not last_seq:
        raise OperatorError(f"there is no record in the journal {directory} yet", suggestion="try again in a moment")
    moment_ns = elapsed.ns if moment_ns is None else moment_ns
    while len(ends) > 1 and ends[1][1] <= moment_ns - span_ns:
        ends.popleft()
    window, began_ns = ends[0]
    return Part(place, window, end, moment_ns - began_ns, last_seq, elapsed.wall_ns,
                walk.ring if walk.ring_tail else None, len(walk.ring_tail), boot)


def signatures_of(directory: Path) -> list[Signature]:
    """Return the signatures beside a journal; what is none is left out, here nothing is judged."""
    found = []
    heads = [directory / HEAD_SIGNATURE_LEFT_NAME, directory / HEAD_SIGNATURE_NAME]
    for path in [*sorted(directory.glob("segment-*.sig")), *heads]:
        try:
            found.append(read_signature(path))
        except (OSError, VerificationError):
            continue
    return found


def copy_bytes(directory: Path, first: int, end: Head) -> int:
    """Return how many bytes the segments from `first` to `end` have now: the most that a copy takes, ring and head apart."""
    return sum(path.stat().st_size for number, path in files.segment_paths(directory) if first <= number <= end.segment)


def copy_part(directory: Path, target: Path, first: int, end: Head, ring: RingSnapshot | None,
              signatures: list[Signature]) -> None:
    """Copy the segments from number `first` to an end, compressed, with what belongs to them. Files get mode 0600.

    Args:
        directory: the journal. target: an empty directory.
        first: number of the first segment to copy.
        end: the last block of the copy. ring: what follows it in no segment, to be copied too.
        signatures: of the journal, read before; those of places behind the end are left out.

    Raises:
        OperatorError: the last segment was cut by its writer meanwhile.
        OSError: the disk refuses; FileNotFoundError: a segment was removed meanwhile.
    """
    for number in range(first, end.segment + 1):
        _copy_segment(files.segment_path(directory, number), target, end.segment_bytes if number == end.segment else None)
    files.put_in_place(target / files.HEAD_NAME, files.head_bytes(end), mode=FILE_MODE)
    if ring is not None:
        files.put_in_place(target / files.RING_LINK_NAME, files.ring_bytes(ring), mode=FILE_MODE)
    _copy_signatures(directory, target, first, end, signatures)


def _copy_segment(plain: Path, target: Path, limit: int | None) -> None:
    """Copy a segment, or its first `limit` bytes, in compressed form; one that the projector has compressed as it is."""
    packed = files.packed_path(plain)
    to = target / packed.name
    try:
        source = plain.open("rb")
    except FileNotFoundError:
        content = packed.read_bytes() if limit is None else zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(
            files.unpacked(packed)[:limit])
        files.put_in_place(to, content, mode=FILE_MODE)
        return
    with source:
        size = os.fstat(source.fileno()).st_size if limit is None else limit
        _pack(source, size, to)


def _pack(source: IO[bytes], size: int, to: Path) -> None:
    with created(to) as target:
        packer = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj(size=size)
        left = size
        while left:
            data = source.read(min(left, STEP_BYTES))
            if not data:
                raise OperatorError(f"{source.name} became shorter while it was copied", suggestion="try again")
            left -= len(data)
            target.write(packer.compress(data))
        target.write(packer.flush())
        target.flush()
        os.fsync(target.fileno())


def created(path: Path) -> IO[bytes]:
    """Open a new file for writing, mode 0600. Raises FileExistsError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE), "wb")


def _copy_signatures(directory: Path, target: Path, first: int, end: Head, signatures: list[Signature]) -> None:
    """Copy the signatures of places that the copy holds, and the public key that proves them."""
    held = [one for one in signatures if first <= one.place.segment
            and (one.place.segment, one.place.segment_bytes) <= (end.segment, end.segment_bytes)]
    public = directory / PUBLIC_NAME
    if not held or not public.exists():
        return
    files.put_in_place(target / PUBLIC_NAME, public.read_bytes(), mode=FILE_MODE)
    for one in held:  # of two of the head the later one covers more
        name = HEAD_SIGNATURE_NAME if one.name == HEAD_SIGNATURE_LEFT_NAME else one.name
        files.put_in_place(target / name, one.content, mode=FILE_MODE)
