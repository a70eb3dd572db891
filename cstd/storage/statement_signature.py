"""A statement's signature: that this host made it, with the key that signs its journal.

It is of the statement's bytes, behind a prefix of its own, so that it is never one of anything else. It lies beside the
statement, `statement-FROM-TO.json.sig`: a small JSON file with the SHA-256 of the bytes, the fingerprint of the key and the
host's time. The public key lies there too, which is enough to find damage; to find a forgery name your own copy.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cstd._fast.journal_scan import sha256
from cstd.errors import UsageError, VerificationError
from cstd.storage.journal_files import put_in_place
from cstd.storage.journal_signature import PUBLIC_NAME, fingerprint, load_public_key

SIGNATURE_SUFFIX = ".sig"
AGAIN = ("take the file and its .sig from a backup or another copy, or state the span anew with"
         " `cstd statement --from TIME --to TIME` on the host that has its journal")
_DOMAIN = b"cstd statement 1\0"
_TIME = struct.Struct("<q")


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven of a statement: its bytes, their SHA-256, the fingerprint of the key, and when it was signed."""

    content: bytes
    sha256: str
    signed_by: str
    wall_ns: int


def signature_path(path: Path) -> Path:
    """Return where the signature of a statement is."""
    return path.with_name(path.name + SIGNATURE_SUFFIX)


def signed_bytes(content: bytes, wall_ns: int) -> bytes:
    """Return what is signed: when, and the statement's bytes."""
    return _DOMAIN + _TIME.pack(wall_ns) + content


def sign(path: Path, content: bytes, key: Ed25519PrivateKey, wall_ns: int) -> str:
    """Write the signature of a statement beside it, replaced whole; returns the key's fingerprint."""
    signed_by = fingerprint(key.public_key())
    signature = base64.b64encode(key.sign(signed_bytes(content, wall_ns))).decode()
    document = {"sha256": sha256(content).hex(), "signed_by": signed_by, "wall_ns": wall_ns, "signature": signature}
    put_in_place(signature_path(path), (json.dumps(document) + "\n").encode(), mode=0o640)
    return signed_by


def prove(path: Path, key_path: Path | None = None) -> Proof:
    """Prove that a statement is what was signed, by the key at `key_path`, None: the one that lies beside it.

    Raises:
        UsageError: there is no statement at `path`, or no public key where one is named.
        VerificationError: it is not signed, not by this key, or was changed since.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    beside = path.parent / PUBLIC_NAME
    if key_path is None and not beside.exists():
        raise _refused(path, f"there is no {PUBLIC_NAME} beside it",
                       suggestion="name a copy of the signer's public key with --key")
    key = load_public_key(key_path or beside)
    signed_by = fingerprint(key)
    said = _read(signature_path(path))
    if said.sha256 != sha256(content).hex():
        raise _refused(path, "another content than this one was signed")
    try:
        key.verify(said.signature, signed_bytes(content, said.wall_ns))
    except InvalidSignature:
        raise _refused(path, f"the signature is not one of key {signed_by[:16]}",
                       suggestion=f"name the signer's own public key with --key, or {AGAIN}") from None
    return Proof(content, said.sha256, signed_by, said.wall_ns)


@dataclass(frozen=True, slots=True)
class _Said:
    """What a signature file says."""

    sha256: str
    wall_ns: int
    signature: bytes


def _read(path: Path) -> _Said:
    try:
        content = json.loads(path.read_bytes())
        said = _Said(str(content["sha256"]), content["wall_ns"], base64.b64decode(content["signature"], validate=True))
        _TIME.pack(said.wall_ns)
    except FileNotFoundError:
        raise _refused(path, "there is no signature") from None
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise _refused(path, f"not a signature: {error}") from error
    return said


def _refused(path: Path, what: str, *, suggestion: str = AGAIN) -> VerificationError:
    return VerificationError(f"{path}: {what}", place={"file": path.name}, suggestion=suggestion)
