"""The registry's log: every step of every version, one line each, chained and signed. The state of a version is its last line's.

`registry.jsonl` lies beside the models. A line holds the SHA-256 of the line before it and the HMAC of itself;
`registry.head` holds the count and the hash of the last one, signed too, so that a log that lost its end is told from one
that is whole. Both are replaced whole, the log first: a crash in between leaves a log ahead of its head, which is accepted,
its lines being signed. A reader takes no lock: it reads the head before the log, so that a step in between is such a lead. What
cannot be seen from inside is an old log put back together with its old head: who reads again and again compares (`Log.extends`),
and `cstd models list` prints the head's hash, to be kept elsewhere by who wants that too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from cstd.errors import OperatorError
from cstd.signals.registry.card import VERSION
from cstd.signals.registry.keys import is_signature, signature
from cstd.signals.registry.refusals import refuse
from cstd.storage.journal_files import put_in_place

LOG_FILE = "registry.jsonl"
HEAD_FILE = "registry.head"
LOG_BYTES_MAX = 64 << 20
# In front of what is signed, so that no line can pass for a card and no head for a line.
_LINE_DOMAIN = b"cstd registry line 1\0"
_HEAD_DOMAIN = b"cstd registry head 1\0"

State = Literal["development", "shadow", "canary", "production", "retired", "rejected"]
Action = Literal["register", "promote", "rollback"]

# From each state, where a promotion may lead. What a rollback does, it does by itself: see `store.rollback`.
TRANSITIONS: dict[State, tuple[State, ...]] = {
    "development": ("shadow", "retired", "rejected"),
    "shadow": ("canary", "retired", "rejected"),
    "canary": ("production", "shadow", "retired", "rejected"),
    "production": ("shadow", "retired", "rejected"),
    "retired": ("shadow", "rejected"),
    "rejected": (),
}
NEXT: dict[State, State] = {"development": "shadow", "shadow": "canary", "canary": "production", "retired": "shadow"}
# All that a version may still become whose card does not say "holds".
WITHOUT_PROOF: tuple[State, ...] = ("retired", "rejected")


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One line of the log, its hash and signature apart. `from_` is "" where a version is registered."""

    seq: int
    action: Action
    name: str
    version: str
    from_: State | Literal[""] = msgspec.field(name="from")
    to: State
    card_sha256: str
    who: str
    when: str
    reason: str


class _Line(Step, frozen=True, forbid_unknown_fields=True, kw_only=True):
    prev: str
    hmac: str


@dataclass(frozen=True, slots=True)
class Log:
    """The whole log, verified. `head` is the hash of its last line, zeros where there is none."""

    steps: tuple[Step, ...]
    lines: tuple[bytes, ...]
    head: str

    def of(self, name: str, version: str | None = None) -> list[Step]:
        """Return the steps of a model, or of one version of it, oldest first."""
        return [step for step in self.steps if step.name == name and version in (None, step.version)]

    def state(self, name: str, version: str) -> State | None:
        """Return the state of a version, None where the log knows nothing of it."""
        steps = self.of(name, version)
        return steps[-1].to if steps else None

    def extends(self, count: int, head: str) -> bool:
        """Whether the first `count` lines are those whose last one has the hash `head`."""
        if count == 0:
            return True
        return count <= len(self.lines) and hashlib.sha256(self.lines[count - 1]).hexdigest() == head

    def states(self, name: str) -> dict[str, State]:
        """Return the state of each version of a model, in the order in which they were registered."""
        return {step.version: step.to for step in self.of(name)}

    def in_production(self, name: str) -> str | None:
        """Return the production version of a model, None where there is none."""
        return next((version for version, state in self.states(name).items() if state == "production"), None)


NO_HASH = "0" * 64


def read(root: Path, key: bytes) -> Log:
    """Return the log, each line's signature, the chain and the end of it checked before anything is made of it.

    Raises:
        RefusedVersionError: log, truncated.
        OperatorError: it cannot be read.
    """
    head = _raw(root / HEAD_FILE)  # before the log, which a writer replaces first
    lines = _raw(root / LOG_FILE).splitlines(keepends=True)
    hash_, steps = NO_HASH, []
    hashes = [hash_]
    for number, line in enumerate(lines, 1):
        steps.append(_step(line, number, hash_, key))
        hash_ = hashlib.sha256(line).hexdigest()
        hashes.append(hash_)
    _check_head(head, hashes, key)
    return Log(tuple(steps), tuple(lines), hash_)


def numbers_told(root: Path, name: str) -> list[int]:
    """Return the versions of a model that a log tells of, for who has no key; nothing of it is proven."""
    told = []
    for line in _raw(root / LOG_FILE).splitlines():
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            found = msgspec.json.decode(line, type=_Line)
            if found.name == name and VERSION.fullmatch(found.version):
                told.append(int(found.version))
    return told


def _raw(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LOG_BYTES_MAX + 1)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > LOG_BYTES_MAX:
        raise refuse("log", f"{path} has more than {LOG_BYTES_MAX} bytes")
    return content


def _step(line: bytes, number: int, prev: str, key: bytes) -> Step:
    """Return the step of a line that is signed, whole, and follows the one before it."""
    # What is signed is the line up to its last key, which is the signature: it is checked before JSON is made of the line.
    body, mark, rest = line.rpartition(b', "hmac": "')
    signed = rest.removesuffix(b'"}\n')
    if not mark or len(rest) != len(signed) + 3 or not is_signature(key, _LINE_DOMAIN + body, signed.decode("ascii", "replace")):
        raise refuse("log", f"line {number} of the log is not signed by this key", line=number)
    try:
        found = msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refuse("log", f"line {number} of the log cannot be read: {error}", line=number) from error
    if found.seq != number or found.prev != prev:
        raise refuse("log", f"line {number} of the log does not follow the one before it", line=number)
    return Step(**{name: getattr(found, name) for name in Step.__struct_fields__})


def _check_head(head: bytes, hashes: list[str], key: bytes) -> None:
    count = len(hashes) - 1
    if not head and not count:
        return
    body, _, signed = head.partition(b" hmac ")
    if not head or not is_signature(key, _HEAD_DOMAIN + body, signed.strip().decode("ascii", "replace")):
        raise refuse("log", f"{HEAD_FILE} is not signed by this key")
    number, hash_ = body.decode().split()
    if int(number) > count:
        raise refuse("truncated", f"the log has {count} lines, and had {number}")
    if hashes[int(number)] != hash_:
        raise refuse("log", f"{HEAD_FILE} is of another log")


def append(root: Path, key: bytes, log: Log, steps: list[Step]) -> None:
    """Add steps to the log that was read, all or none; whoever calls holds the lock."""
    lines, prev, number = list(log.lines), log.head, len(log.lines)
    _put_head(root, key, number, prev)
    for step in steps:
        number += 1
        fields = {**msgspec.to_builtins(step), "seq": number, "prev": prev}
        body = json.dumps(fields, ensure_ascii=True)[:-1].encode()
        lines.append(body + f', "hmac": "{signature(key, _LINE_DOMAIN + body)}"}}\n'.encode())
        prev = hashlib.sha256(lines[-1]).hexdigest()
    put_in_place(root / LOG_FILE, b"".join(lines), mode=0o640)
    _put_head(root, key, number, prev)


def _put_head(root: Path, key: bytes, number: int, hash_: str) -> None:
    body = f"{number} {hash_}".encode()
    put_in_place(root / HEAD_FILE, body + f" hmac {signature(key, _HEAD_DOMAIN + body)}\n".encode(), mode=0o640)
