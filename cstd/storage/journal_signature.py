"""The journal's signature: who kept it says, with the host's Ed25519 key, how far the chain had come.

Because every block names the hash of the one before, one signature covers all that precedes it. There is one beside each
sealed segment (`segment-NNNNNN.sig`) and one of the newest place (`head.sig`), small JSON files that are replaced whole.
The private key stays in the state directory, mode 0600; its public half lies in the journal's directory as `signer.pub`,
which is enough to find damage. To find a forgery compare it, or name your own copy with `--key`: who can rewrite a
journal can rewrite the key beside it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cstd._fast.journal_scan import BlockCursor, sha256
from cstd.errors import OperatorError, UsageError, VerificationError
from cstd.storage import journal_files as files

KEY_NAME = "journal-key.pem"
PUBLIC_NAME = "signer.pub"
HEAD_SIGNATURE_NAME = files.HEAD_SIGNATURE_NAME
KEY_BYTES_MAX = 4096  # one in PEM has 119
_DOMAIN = b"cstd journal head 1\0"
_SIGNED = struct.Struct("<QQQQ16s32sq")


def segment_signature_name(number: int) -> str:
    """Return the name of the signature of a sealed segment."""
    return f"segment-{number:06d}.sig"


def signed_bytes(place: files.Head, wall_ns: int) -> bytes:
    """Return what is signed: segment, its bytes, block, sequence number, journal, the block's hash, and when."""
    return _DOMAIN + _SIGNED.pack(place.segment, place.segment_bytes, place.index, place.last_seq, place.journal_id,
                                  place.hash, wall_ns)


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of a public key's 32 bytes, as hex."""
    return sha256(key.public_bytes_raw()).hex()


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature file: what it says, the signature itself, and the file's bytes."""

    name: str
    place: files.Head
    wall_ns: int
    signature: bytes
    content: bytes


class Signer:
    """Signs places of one journal. Made by `open_signer`; the one writer of the signature files.

    put_aside: where a signature of the head lies now that was there and did not hold.
    """

    def __init__(self, key: Ed25519PrivateKey, directory: Path, *, put_aside: Path | None = None) -> None:
        self._key = key
        self._directory = directory
        self.put_aside = put_aside
        self.signed_seq = 0

    def sign(self, place: files.Head, wall_ns: int, *, seal: bool) -> None:
        """Write the signature of a place that the caller has proven: of a sealed segment's end, or of the newest."""
        name = segment_signature_name(place.segment) if seal else HEAD_SIGNATURE_NAME
        content = {
            "segment": place.segment, "segment_bytes": place.segment_bytes, "block": place.index, "seq": place.last_seq,
            "journal_id": place.journal_id.hex(), "hash": place.hash.hex(), "wall_ns": wall_ns,
            "signature": base64.b64encode(self._key.sign(signed_bytes(place, wall_ns))).decode(),
        }
        files.put_in_place(self._directory / name, (json.dumps(content) + "\n").encode(), mode=0o644)
        self.signed_seq = max(self.signed_seq, place.last_seq)


def open_signer(key_path: Path, directory: Path) -> Signer:
    """Return the signer of a journal with the key at `key_path`, which is made if it is not there.

    Raises:
        OperatorError: the key cannot be read, others may read it, or the journal was signed with another.
    """
    key = open_key(key_path)
    publish(key, directory, key_path)
    return Signer(key, directory, put_aside=_put_aside(directory, key.public_key()))


def _put_aside(directory: Path, public: Ed25519PublicKey) -> Path | None:
    """Keep a head's signature that does not hold under another name, before the next one takes its place; returns that name."""
    path = directory / HEAD_SIGNATURE_NAME
    try:
        found = read_signature(path)
        public.verify(found.signature, signed_bytes(found.place, found.wall_ns))
    except FileNotFoundError:
        return None
    except (VerificationError, InvalidSignature):
        aside = path.with_name(f"{HEAD_SIGNATURE_NAME}.damaged")
        path.replace(aside)
        return aside
    return None


def open_key(path: Path) -> Ed25519PrivateKey:
    """Return the host's key, made if it is not there; two that make it at once get the same.

    Raises:
        OperatorError: it cannot be read, it is no plain file, or others may read it.
    """
    if not path.exists() and not path.is_symlink():
        _make_key(path)
    return _load_key(path)


def publish(key: Ed25519PrivateKey, directory: Path, key_path: Path) -> None:
    """Put the public half beside what is signed; raises OperatorError where another's lies there."""
    public_path = directory / PUBLIC_NAME
    if not public_path.exists():
        files.put_in_place(public_path, key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo), mode=0o644)
    elif fingerprint(load_public_key(public_path)) != fingerprint(key.public_key()):
        raise OperatorError(f"what lies in {directory} was signed with another key than {key_path}",
                            suggestion=f"put that key back, or remove {PUBLIC_NAME} and *.sig in {directory} to sign anew")


def _load_key(path: Path) -> Ed25519PrivateKey:
    """Read a key through one descriptor: what is judged is what is read, and a link is not followed."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise OperatorError(f"{path} is no plain file")
            if found.st_mode & 0o077:
                raise OperatorError(f"others than its owner may read {path}", suggestion=f"chmod 600 {path}, or make a new key")
            content = file.read(KEY_BYTES_MAX)
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, OSError) as error:
        raise OperatorError(f"{path} is not a private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise OperatorError(f"{path} is not an Ed25519 key")
    return key


def _make_key(path: Path) -> None:
    content = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    made = path.with_name(f"{path.name}.{os.getpid()}")
    files.put_in_place(made, content, mode=0o600)
    try:
        with contextlib.suppress(FileExistsError):  # another process was first: its key is the host's
            os.link(made, path)
    finally:
        made.unlink()
    files.sync_directory(path.parent)


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Return a public key in PEM.

    Raises:
        UsageError: there is none at `path`.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm, OSError) as error:
        raise UsageError(f"{path} is not a public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path} is not an Ed25519 key")
    return key


def read_signatures(directory: Path) -> list[Signature]:
    """Return every signature beside a journal; raises VerificationError for a file that is none."""
    paths = [*sorted(directory.glob("segment-*.sig")), *directory.glob(HEAD_SIGNATURE_NAME)]
    return [read_signature(path) for path in paths]


def read_signature(path: Path) -> Signature:
    """Return what one signature file says; raises VerificationError for a file that is none."""
    try:
        raw = path.read_bytes()
        content = json.loads(raw)
        place = files.Head(content["segment"], content["segment_bytes"], content["block"], content["seq"],
                           bytes.fromhex(content["journal_id"]), bytes.fromhex(content["hash"]))
        found = Signature(path.name, place, content["wall_ns"], base64.b64decode(content["signature"], validate=True),
                          raw)
        signed_bytes(place, found.wall_ns)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise files.damaged(f"not a signature: {error}", path, offset=0) from error
    return found


class SignatureCheck:
    """Holds a journal's signatures against its chain, block by block, while that is proven.

    Args:
        directory: the journal's. key: the signer's public key, None: the one that lies there.
    """

    def __init__(self, directory: Path, key: Path | None = None) -> None:
        self._directory = directory
        self._waiting: dict[tuple[int, int], list[Signature]] = {}
        self.signed_seq = 0
        self.signed_by = ""
        signatures = read_signatures(directory)
        if not signatures and key is None:
            return
        path = key if key is not None else directory / PUBLIC_NAME
        if key is None and not path.exists():
            raise files.damaged("there are signatures here and no public key", path, offset=0)
        public = load_public_key(path)
        self.signed_by = fingerprint(public)
        for signature in signatures:
            self._prove(signature, public)
            self._waiting.setdefault((signature.place.segment, signature.place.segment_bytes), []).append(signature)

    def _prove(self, signature: Signature, key: Ed25519PublicKey) -> None:
        try:
            key.verify(signature.signature, signed_bytes(signature.place, signature.wall_ns))
        except InvalidSignature:
            self._refuse(signature, f"the signature is not one of key {self.signed_by[:16]}")

    def on_block(self, segment: int, cursor: BlockCursor, journal_id: bytes) -> None:
        """Take note of a proven block; raises VerificationError where a signature knows another one at its place."""
        for signature in self._waiting.pop((segment, cursor.offset), ()):
            here = files.Head(segment, cursor.offset, cursor.next_index - 1, cursor.next_seq - 1, journal_id, cursor.prev)
            if here != signature.place:
                self._refuse(signature, "another block than this one was signed here")
            self.signed_seq = max(self.signed_seq, here.last_seq)

    def finish(self, first_segment: int = 1) -> None:
        """After the last block: everything signed was there, segments before the first one left aside."""
        for signatures in self._waiting.values():
            for signature in signatures:
                if signature.place.segment >= first_segment:
                    self._refuse(signature, "the journal does not hold the block that was signed")

    def _refuse(self, signature: Signature, what: str) -> None:
        place = signature.place
        raise VerificationError(
            f"{self._directory / signature.name}: {what} (segment {place.segment}, offset {place.segment_bytes},"
            f" block {place.index}, seq {place.last_seq})",
            place={"file": signature.name, "segment": place.segment, "offset": place.segment_bytes, "block": place.index,
                   "seq": place.last_seq})
