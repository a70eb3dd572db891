"""Checkpoint files of a journal: written whole or not at all, proven before they are believed.

A file holds the engine's state behind one block of the journal, and that block's place and hash, so that reading goes on
there and nowhere else. The two newest are kept. With segments before them removed (`trim`), the older of the two is the
journal's *base*: what is left is proven from the first kept segment on, and must pass through the base.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from cstd.errors import VerificationError
from cstd.storage import journal_files as files
from cstd.storage.journal_files import Head

KEPT = 2
_NAME = re.compile(r"checkpoint-(\d{12,})\.cstd")
_HEAD = struct.Struct("<8sIIQ")
_MAGIC = b"CSTDCKP1"
_VERSION = 1
_DIGEST_BYTES = 32
_COMPRESSION = 1  # three quarters of the time of the default, nearly the same size


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a file says of itself. build: of the program that wrote it; agents: SHA-256 of the agents it decided with.

    mono_ns, wall_ns: times of the last record before it.
    """

    place: Head
    build: str
    agents: str
    mono_ns: int
    wall_ns: int


def paths(directory: Path) -> list[Path]:
    """Return the checkpoint files of a journal, oldest first."""
    found = [(int(match[1]), path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def seq_of(path: Path) -> int:
    """Return the last record in a checkpoint, which its name says."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else 0


def write(directory: Path, checkpoint: Checkpoint, state: bytes) -> Path:
    """Write a checkpoint. Raises OSError: it cannot be written; what was there before still is."""
    place = asdict(checkpoint.place) | {"journal_id": checkpoint.place.journal_id.hex(), "hash": checkpoint.place.hash.hex()}
    head = json.dumps(asdict(checkpoint) | {"place": place}).encode()
    body = zlib.compress(state, _COMPRESSION)
    content = _HEAD.pack(_MAGIC, _VERSION, len(head), len(body)) + head + body
    path = directory / f"checkpoint-{checkpoint.place.last_seq:012d}.cstd"
    files.put_in_place(path, content + hashlib.sha256(content).digest(), mode=0o600)
    return path


def read(path: Path) -> tuple[Checkpoint, bytes]:
    """Return what a checkpoint file says of itself and the state in it.

    Raises:
        VerificationError: the file is not what was written.
    """
    content = path.read_bytes()
    if len(content) < _HEAD.size + _DIGEST_BYTES or hashlib.sha256(content[:-_DIGEST_BYTES]).digest() != content[-_DIGEST_BYTES:]:
        raise files.damaged("the checkpoint does not match its digest", path, offset=0)
    magic, version, head_bytes, body_bytes = _HEAD.unpack_from(content)
    if magic != _MAGIC or version != _VERSION or len(content) != _HEAD.size + head_bytes + body_bytes + _DIGEST_BYTES:
        raise files.damaged(f"not a checkpoint of format {_VERSION}", path, offset=0)
    head = json.loads(content[_HEAD.size:_HEAD.size + head_bytes])
    place = head.pop("place")
    place = Head(**place | {"journal_id": bytes.fromhex(place["journal_id"]), "hash": bytes.fromhex(place["hash"])})
    return Checkpoint(place=place, **head), zlib.decompress(content[_HEAD.size + head_bytes:-_DIGEST_BYTES])


def base(directory: Path) -> Head | None:
    """Return the place of the oldest checkpoint that can be read, None without one."""
    for path in paths(directory):
        try:
            return read(path)[0].place
        except (FileNotFoundError, VerificationError):  # one may be superseded and removed meanwhile
            continue
    return None


def _remove_segment(directory: Path, number: int) -> list[Path]:
    """Remove a segment in either form, its plain one last, and then its signature."""
    plain = files.segment_path(directory, number)
    found = [path for path in (files.packed_path(plain), plain, plain.with_suffix(".sig")) if path.exists()]
    for path in found:
        path.unlink(missing_ok=True)
    return found


def _remove_unfinished(directory: Path) -> list[Path]:
    """Remove what a killed process left of a checkpoint; its number is the end of the name."""
    found = [path for path in directory.glob(".checkpoint-*") if not Path("/proc", path.suffix[1:]).exists()]
    for path in found:
        path.unlink(missing_ok=True)
    return found


def trim(directory: Path, keep_bytes: int, needed_from_seq: int | None = None) -> list[Path]:
    """Remove older checkpoints than the two newest, and the oldest segments while all of them exceed `keep_bytes`.

    Never a segment that either of the two kept checkpoints still needs, and none while somebody has read only up to
    `needed_from_seq` and that is before the older of them. Returns what was removed, signatures of segments included.
    """
    kept = paths(directory)
    removed = [*kept[:-KEPT]]
    for path in removed:
        path.unlink(missing_ok=True)
    if len(kept) >= KEPT and keep_bytes > 0:
        place = read(kept[-KEPT])[0].place
        behind = needed_from_seq is not None and needed_from_seq < place.last_seq
        segments = [(number, path, path.stat().st_size) for number, path in files.segment_paths(directory)]
        total = sum(size for *_, size in segments)
        for number, _, size in segments:
            if behind or total <= keep_bytes or number >= place.segment:
                break
            removed += _remove_segment(directory, number)
            total -= size
    removed += _remove_unfinished(directory)
    files.sync_directory(directory)
    return removed
