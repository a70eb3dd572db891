"""A handover as a file: the document of one journal for the next one's first start, sealed and signed.

The file is one JSON object. `content` is the document (engine/handover.py), and its bytes, as they stand there, are what
`sha256` and `signature` are of: written another way it is another file. The signature is of the key that signs the host's
journal, behind a prefix of its own. Its public half is in the file, which is enough to find damage; a start that has the
host's key finds a forgery too.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cstd._fast.journal_scan import sha256
from cstd.errors import OperatorError, VerificationError
from cstd.storage.journal_files import put_in_place
from cstd.storage.journal_signature import fingerprint, open_key

_DOMAIN = b"cstd handover 1\0"
_TIME = struct.Struct("<q")


class _File(msgspec.Struct):
    sha256: str
    signed_by: str
    public_key: str
    signature: str
    wall_ns: int
    content: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file that was proven: the document's bytes, their SHA-256, the fingerprint of the key."""

    content: bytes
    sha256: str
    signed_by: str


def _signed_bytes(content: bytes, wall_ns: int) -> bytes:
    return _DOMAIN + _TIME.pack(wall_ns) + content


def write(path: Path, content: bytes, key: Ed25519PrivateKey, wall_ns: int) -> Sealed:
    """Write a document, signed now; the file is there whole or not at all."""
    public = key.public_key()
    sealed = Sealed(content, sha256(content).hex(), fingerprint(public))
    head = {"sha256": sealed.sha256, "signed_by": sealed.signed_by,
            "public_key": base64.b64encode(public.public_bytes_raw()).decode(),
            "signature": base64.b64encode(key.sign(_signed_bytes(content, wall_ns))).decode(), "wall_ns": wall_ns}
    put_in_place(path, json.dumps(head).encode()[:-1] + b', "content": ' + content + b"}\n", mode=0o640)
    return sealed


def prove(path: Path, key_path: Path) -> Sealed:
    """Prove that a file is what was sealed, and by the host's key where that is at `key_path`.

    Raises:
        VerificationError: it is not.
        OperatorError: it, or the key, cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}") from error
    try:
        said = msgspec.json.decode(raw, type=_File)
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(said.public_key, validate=True))
        signature = base64.b64decode(said.signature, validate=True)
        signed = _signed_bytes(bytes(said.content), said.wall_ns)
    except (ValueError, struct.error) as error:
        raise _refused(path, f"not a handover: {error}") from error
    content = bytes(said.content)
    if said.sha256 != sha256(content).hex():
        raise _refused(path, "another content than this one was sealed")
    try:
        public.verify(signature, signed)
    except InvalidSignature:
        raise _refused(path, f"the signature is not one of key {fingerprint(public)[:16]}") from None
    if said.signed_by != fingerprint(public):
        raise _refused(path, "it names another key than the one that is in it")
    if key_path.exists() and fingerprint(open_key(key_path).public_key()) != said.signed_by:
        raise _refused(path, f"it was signed by key {said.signed_by[:16]}, and {key_path} is another",
                       suggestion="hand over with the key of the old state directory beside the new journal")
    return Sealed(content, said.sha256, said.signed_by)


def _refused(path: Path, what: str, *, suggestion: str = "") -> VerificationError:
    return VerificationError(f"{path}: {what}", place={"file": path.name}, suggestion=suggestion)
