"""What tests of several folders do with a journal's files: signed as the projector does it, their content, a block's digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cstd.storage import checkpoints
from cstd.storage.journal_files import unpacked
from cstd.storage.journal_follow import JournalFollower
from cstd.storage.journal_signature import KEY_NAME, Signer, open_signer

SIGNED_NS = 1_790_000_000_000_000_000


def sign(folder: Path, *, head: bool = True) -> Signer:
    """Sign every sealed segment and the newest place, as the projector does."""
    signer = open_signer(folder / KEY_NAME, folder / "journal")
    follower = JournalFollower(folder / "journal")
    for _ in follower.batches():
        pass
    for place in follower.passed:
        signer.sign(place, SIGNED_NS, seal=True)
    if head:
        signer.sign(follower.place, SIGNED_NS, seal=False)
    return signer


def content(path: Path) -> bytes:
    """What a file of a bundle, or of a journal, holds: a checkpoint's state, a segment unpacked."""
    if path.name.startswith("checkpoint-"):
        return checkpoints.read(path)[1]
    return unpacked(path) if path.suffix == ".zst" else path.read_bytes()


def striped(payload: bytes) -> bytes:
    """The digest of a block's records, by an own reading of the format: eight SHA-256 in turn of 512 bytes, and one of these."""
    stripes = [hashlib.sha256() for _ in range(8)]
    for number, at in enumerate(range(0, len(payload), 512)):
        stripes[number % 8].update(payload[at : at + 512])
    return hashlib.sha256(b"".join(stripe.digest() for stripe in stripes)).digest()
