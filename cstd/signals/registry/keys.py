"""The key that signs cards and the log: from a file of its owner's alone, or from systemd. There is no default key."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from cstd.errors import OperatorError

KEY_BYTES_MIN = 32
KEY_BYTES_MAX = 4_096
CREDENTIAL = "models_key"
_HOW = "make one: (umask 077; openssl rand -hex 32 > models.key)"


def read_key(path: Path | str | None, environ: Mapping[str, str] | None = None) -> bytes:
    """Return the key in a file, surrounding white space apart; without a path, the one that systemd gives the service.

    Raises:
        OperatorError: there is none, it is open to others, or too short to be one.
    """
    if path is None:
        return _credential(os.environ if environ is None else environ)
    content, mode = _content(Path(path))
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise OperatorError(f"the key {path} is open to others (mode {mode:04o})", suggestion=f"chmod 600 {path}")
    return _checked(content, path)


def _credential(environ: Mapping[str, str]) -> bytes:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(directory or "/") / CREDENTIAL
    if not directory or not path.exists():
        raise OperatorError("no key for models is named", suggestion=f"--key FILE, or LoadCredential={CREDENTIAL}:FILE; {_HOW}")
    # systemd mounts these readable to the service alone, with a mode that is its own affair (0440 on a tmpfs).
    content, mode = _content(path)
    if mode & stat.S_IROTH and path.parent.stat().st_mode & stat.S_IXOTH:
        raise OperatorError(f"the key {path} can be read by everybody on this host", suggestion=f"chmod o-r {path}")
    return _checked(content, path)


def _content(path: Path) -> tuple[bytes, int]:
    """Return content and mode of one and the same file."""
    try:
        with path.open("rb") as file:
            return file.read(KEY_BYTES_MAX + 1), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        raise OperatorError(f"the key {path} cannot be read: {error.strerror}", suggestion=_HOW) from error


def _checked(content: bytes, path: Path | str) -> bytes:
    key = content.strip()
    if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise OperatorError(f"the key {path} has {len(key)} bytes; {KEY_BYTES_MIN} to {KEY_BYTES_MAX} are needed",
                            suggestion=_HOW)
    return key


def signature(key: bytes, content: bytes) -> str:
    """Return the HMAC-SHA256 of `content`, in hex."""
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def is_signature(key: bytes, content: bytes, found: str) -> bool:
    """Return whether `found` is the signature, in a time that tells nothing of it."""
    return hmac.compare_digest(signature(key, content).encode(), found.encode("utf-8", "replace"))
