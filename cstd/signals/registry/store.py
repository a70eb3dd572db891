"""Versions of models: written whole, verified before anything is made of their bytes, moved from state to state."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cstd.errors import OperatorError
from cstd.locks import wait_for_lock
from cstd.signals.registry import log as registry_log
from cstd.signals.registry.card import CARD_SCHEMA, NAME, VERSION, Card, decode, features_hash
from cstd.signals.registry.keys import is_signature, signature
from cstd.signals.registry.log import NEXT, TRANSITIONS, WITHOUT_PROOF, Log, State, Step
from cstd.signals.registry.refusals import RefusedVersionError, refuse
from cstd.storage.journal_files import put_in_place, sync_directory

CARD_FILE = "card.json"
SIGNATURE_FILE = "card.json.hmac"
LOCK_FILE = ".lock"
CARD_BYTES_MAX = 4 << 20
FILE_BYTES_MAX = 256 << 20
FILES_BYTES_MAX = 1 << 30  # of one version together
LOCK_WAIT_S = 10.0
_UNFINISHED = ".new-"


@dataclass(frozen=True, slots=True)
class Verified:
    """A version whose signature, card and files hold. `files` are the very bytes that were checked: load these, no path."""

    folder: Path
    card: Card
    card_sha256: str
    files: Mapping[str, bytes]


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the registry for one writer.

    Raises:
        OperatorError: another one holds it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / LOCK_FILE).open("ab")
    except OSError as error:
        raise OperatorError(f"the registry {root} cannot be written: {error.strerror}") from error
    refusal = OperatorError(f"another process writes to the registry {root}", suggestion="try again when it is done")
    with wait_for_lock(lock, LOCK_WAIT_S, refusal):
        yield


@contextlib.contextmanager
def _new_version(root: Path, name: str) -> Iterator[None]:
    """Hold the registry while a version of a model is put into it; what cannot be written is said."""
    if not NAME.fullmatch(name):
        raise refuse("name", f"{name[:64]!r} is no name of a model: a-z, 0-9, - and _, at most 48")
    with locked(root):
        try:
            yield
        except OSError as error:
            raise OperatorError(f"{root / name} cannot be written: {error.strerror or error}") from error


def write_version(root: Path, name: str, card: dict[str, Any], files: Mapping[str, bytes], key: bytes, *,
                  who: str = "train", reason: str = "trained") -> Path:
    """Write a new version of a model and register it; returns its folder, `root/name/NNNN`, which is there whole or not at all.

    Args:
        root: the registry's folder. name: the model's.
        card: as `card.Card` has it. `schema`, `name` and `version` are set here; `features_hash` and the members' `sha256`
            where they are not there. Its `created` is the time of registration in the log.
        files: content by name, exactly the members' files.
        key: signs the card and the log.

    A card that says "rejected" is registered rejected, any other in development.

    Raises:
        RefusedVersionError: the card or the files would not verify, or the log does not.
        OperatorError: the folder cannot be written, or another process writes.
    """
    with _new_version(root, name):
        log = registry_log.read(root, key)
        model = root / name
        model.mkdir(exist_ok=True)
        version = _next_version(model, [int(step.version) for step in log.of(name)])
        raw = _filled(card, name, version, files)
        checked = decode(raw)
        check_files(checked, files)
        _put_folder(model, version, {**files, CARD_FILE: raw, SIGNATURE_FILE: signature(key, raw).encode() + b"\n"})
        registry_log.append(root, key, log, [_registration(checked, raw, who=who, when=checked.created, reason=reason)])
    return model / version


def put_unsigned(root: Path, name: str, card: dict[str, Any], files: Mapping[str, bytes]) -> Path:
    """Write a version for which there is no key: under the next number, there whole or not at all, in no log.

    Whether it would verify is `sign_version`'s to say; without a signature it can be evaluated and not promoted.

    Raises:
        RefusedVersionError: the name is none.
        OperatorError: the folder cannot be written, or another process writes.
    """
    with _new_version(root, name):
        model = root / name
        model.mkdir(exist_ok=True)
        version = _next_version(model, registry_log.numbers_told(root, name))
        _put_folder(model, version, {**files, CARD_FILE: _filled(card, name, version, files)})
    return model / version


def sign_version(root: Path, name: str, version: str, key: bytes, *, who: str, when: str, reason: str) -> Step:
    """Sign and register a version that was written without a key; its card and files are checked as ever, and not changed.

    One that is signed by this key already and misses its line in the log, because its writer died, gets the line.

    Raises:
        RefusedVersionError: it would not verify, or is signed by another key; "transition" where it is registered.
        OperatorError: it cannot be read or written.
    """
    with locked(root):
        log = registry_log.read(root, key)
        if log.of(name, version):
            raise refuse("transition", f"{name} {version} is registered: {log.state(name, version)}")
        folder, raw, signed = _read_card(root, name, version)
        if signed is not None and not is_signature(key, raw, signed):
            raise refuse("forged", "the signature is not of this card by this key", file=CARD_FILE)
        card = _of_folder(raw, name, version)
        check_files(card, _read_files(folder, card))
        if signed is None:
            put_in_place(folder / SIGNATURE_FILE, signature(key, raw).encode() + b"\n", mode=0o640)
        step = _registration(card, raw, who=who, when=when, reason=reason)
        registry_log.append(root, key, log, [step])
    return step


def _registration(card: Card, raw: bytes, *, who: str, when: str, reason: str) -> Step:
    return Step(seq=0, action="register", name=card.name, version=card.version, from_="",
                to="rejected" if card.verdict == "rejected" else "development",
                card_sha256=hashlib.sha256(raw).hexdigest(), who=who, when=when, reason=reason)


def _next_version(model: Path, logged: list[int]) -> str:
    """Return the number after the highest that was ever used, folders that were removed included."""
    used = [int(path.name) for path in model.iterdir() if VERSION.fullmatch(path.name)]
    number = max([*used, *logged], default=0) + 1
    if number > 9_999:
        raise OperatorError(f"the model {model.name} has 9,999 versions", suggestion="go on under another name")
    return f"{number:04}"


def _filled(card: dict[str, Any], name: str, version: str, files: Mapping[str, bytes]) -> bytes:
    """Return the card's bytes, with what only the registry knows and what can be computed from the files."""
    # Through JSON and back: a copy, and the refusal of what JSON does not have.
    full = json.loads(json.dumps(card, allow_nan=False))
    full.update(schema=CARD_SCHEMA, name=name, version=version)
    full.setdefault("features_hash", features_hash(full.get("features", ())))
    for horizon in full.get("horizons", {}).values():
        for member in horizon.get("members", ()):
            # Of a file that is missing any hash will do: `check_files` says so, by its name.
            member.setdefault("sha256", hashlib.sha256(files.get(member.get("file"), b"")).hexdigest())
    return (json.dumps(full, sort_keys=True, indent=1) + "\n").encode()


def _put_folder(model: Path, version: str, files: Mapping[str, bytes]) -> None:
    for left in model.glob(_UNFINISHED + "*"):  # of a writer that died; this one holds the lock
        shutil.rmtree(left)
    folder = model / f"{_UNFINISHED}{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        for name, content in files.items():
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        sync_directory(folder)
        folder.rename(model / version)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    sync_directory(model)
    sync_directory(model.parent)


def check_files(card: Card, files: Mapping[str, bytes]) -> None:
    """Check that the files are those that the card was made with.

    Raises:
        RefusedVersionError: missing, extra, size, sha256.
    """
    named = {member.file: member.sha256 for member in card.members()}
    for name in sorted(named.keys() - files.keys()):
        raise refuse("missing", f"{name} is not there", file=name)
    for name in sorted(files.keys() - named.keys()):
        raise refuse("extra", f"the card names no {name[:64]!r}", file=name)
    for name, content in files.items():
        if len(content) > FILE_BYTES_MAX:
            raise refuse("size", f"{name} has more than {FILE_BYTES_MAX} bytes", file=name)
        if hashlib.sha256(content).hexdigest() != named[name]:
            raise refuse("sha256", f"{name} is not the file that the card was made with", file=name)


def verify(root: Path, name: str, version: str, key: bytes, log: Log | None = None) -> Verified:
    """Return a version, proven: the signature before the card is parsed, each file's hash before anyone loads it.

    Before the signature holds nothing is read but the card and it, and after it only the files that the card names.

    Args:
        log: the registry's, to hold the card against what was registered; None where only the folder is looked at.

    Raises:
        RefusedVersionError: with the reason, see `refusals.REASONS`.
        OperatorError: a file cannot be read.
    """
    folder, raw, signed = _read_card(root, name, version)
    if signed is None:
        raise refuse("unsigned", "the card is not signed", suggestion=f"cstd models sign {name} {version}", file=SIGNATURE_FILE)
    if not is_signature(key, raw, signed):
        raise refuse("forged", "the signature is not of this card by this key", file=CARD_FILE)
    card = _of_folder(raw, name, version)
    files = _read_files(folder, card)
    check_files(card, files)
    digest = hashlib.sha256(raw).hexdigest()
    if log is not None:
        _check_registered(log, name, version, digest)
    return Verified(folder, card, digest, files)


def _read_card(root: Path, name: str, version: str) -> tuple[Path, bytes, str | None]:
    """Return a version's folder, its card's bytes and the signature, None for none; nothing of it is parsed."""
    if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
        raise refuse("name", f"{name[:64]!r} {version[:16]!r} name no version of a model")
    folder = root / name / version
    if not folder.is_dir():
        raise refuse("absent", f"there is no {name} {version} in {root}")
    if folder.is_symlink() or folder.parent.is_symlink():
        raise refuse("path", f"{folder} is a link")
    raw, signed = _content(folder, CARD_FILE, CARD_BYTES_MAX), _content(folder, SIGNATURE_FILE, CARD_BYTES_MAX)
    if raw is None:
        raise refuse("missing", f"{CARD_FILE} is not there", file=CARD_FILE)
    return folder, raw, None if signed is None else signed.strip().decode("ascii", "replace")


def _of_folder(raw: bytes, name: str, version: str) -> Card:
    card = decode(raw)
    if (card.name, card.version) != (name, version):
        raise refuse("swapped", f"the card is of {card.name} {card.version}, and lies in {name} {version}")
    return card


def _read_files(folder: Path, card: Card) -> dict[str, bytes]:
    """Return the content of the files that a card names, by name; what lies there beside them is refused unread.

    Raises:
        RefusedVersionError: extra, path, size.
        OperatorError: one cannot be read.
    """
    named = {member.file for member in card.members()}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_file(follow_symlinks=False):
                    raise refuse("path", f"{entry.name[:64]!r} is no plain file", file=entry.name)
                if entry.name not in named | {CARD_FILE, SIGNATURE_FILE}:
                    raise refuse("extra", f"the card names no {entry.name[:64]!r}", file=entry.name)
    except OSError as error:
        raise OperatorError(f"{folder} cannot be read: {error.strerror}") from error
    content: dict[str, bytes] = {}
    left = FILES_BYTES_MAX
    for name in sorted(named):
        found = _content(folder, name, min(FILE_BYTES_MAX, left))
        if found is not None:
            content[name] = found
            left -= len(found)
    return content


def _content(folder: Path, name: str, bound: int) -> bytes | None:
    """Return what is in a plain file of a folder, None where there is none; a link is not followed.

    Raises:
        RefusedVersionError: path, size.
        OperatorError: it cannot be read.
    """
    path = folder / name
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise refuse("path", f"{name[:64]!r} is no plain file", file=name)
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            content = file.read(bound + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OperatorError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > bound:
        raise refuse("size", f"{name[:64]!r} has more than {bound} bytes, or all files together have too many", file=name)
    return content


def _check_registered(log: Log, name: str, version: str, digest: str) -> None:
    steps = log.of(name, version)
    if not steps:
        raise refuse("unregistered", f"{name} {version} was never registered here",
                     suggestion=f"cstd models sign {name} {version}")
    if any(step.card_sha256 != digest for step in steps):
        raise refuse("swapped", f"another card was registered as {name} {version}")


def versions(root: Path) -> list[tuple[str, str]]:
    """Return (name, version) of every version's folder, sorted; what has no such name is not looked at."""
    if not root.is_dir():
        return []
    return sorted((model.name, folder.name) for model in root.iterdir() if NAME.fullmatch(model.name) and model.is_dir()
                  for folder in model.iterdir() if VERSION.fullmatch(folder.name))


def production(root: Path, name: str, key: bytes, log: Log | None = None) -> Verified:
    """Return the production version of a model, verified.

    Args:
        log: the registry's, where it was just read.

    Raises:
        RefusedVersionError: it does not verify; "absent" where none is in production.
    """
    log = log if log is not None else registry_log.read(root, key)
    version = log.in_production(name)
    if version is None:
        states = ", ".join(f"{number} is {state}" for number, state in log.states(name).items())
        raise refuse("absent", f"no version of {name} is in production" + (f": {states}" if states else ""),
                     suggestion=f"cstd models promote {name} VERSION")
    return verify(root, name, version, key, log)


def promote(root: Path, name: str, version: str, key: bytes, *, to: State | None, who: str, when: str, reason: str) -> list[Step]:
    """Move a version to another state; returns the steps that were logged.

    Args:
        to: None for the next on the way to production. A version that goes into production retires the one that is there.

    Raises:
        RefusedVersionError: it does not verify, was not shown to beat its baselines, or there is no such step.
    """
    with locked(root):
        log = registry_log.read(root, key)
        state = log.state(name, version)
        target = to if to is not None else NEXT.get(state) if state is not None else None
        # To put a version aside nothing of it needs to hold but that it was registered.
        if target in WITHOUT_PROOF and state is not None:
            digest = log.of(name, version)[0].card_sha256
        else:
            verified = verify(root, name, version, key, log)
            digest = verified.card_sha256
            if verified.card.verdict != "holds":
                raise refuse("verdict", f"{name} {version} is {verified.card.verdict!r}: it can only be retired or rejected")
        if state is None or target is None or target not in TRANSITIONS[state]:
            steps = ", ".join(TRANSITIONS[state]) if state else "none"
            raise refuse("transition", f"{name} {version} is in {state}; from there the steps are: {steps}")
        moves = [Step(seq=0, action="promote", name=name, version=version, from_=state, to=target, card_sha256=digest,
                      who=who, when=when, reason=reason)]
        former = log.in_production(name)
        if target == "production" and former is not None:
            moves.insert(0, Step(seq=0, action="promote", name=name, version=former, from_="production", to="retired",
                                 card_sha256=log.of(name, former)[0].card_sha256, who=who, when=when,
                                 reason=f"{version} takes its place"))
        registry_log.append(root, key, log, moves)
    return moves


def rollback(root: Path, name: str, key: bytes, *, who: str, when: str, reason: str) -> list[Step]:
    """Put the production version aside and its predecessor that still verifies back; returns the steps that were logged.

    A version that a rollback put aside is no predecessor: rolling back twice goes back two versions. Nor is the last one in
    production, where an operator put that aside and none is in production now.

    Raises:
        RefusedVersionError: "no_previous", or the log does not hold.
    """
    with locked(root):
        log = registry_log.read(root, key)
        current = log.in_production(name)
        for version in _predecessors(log, name):
            try:
                verified = verify(root, name, version, key, log)
            except (RefusedVersionError, OperatorError):
                continue
            moves = [Step(seq=0, action="rollback", name=name, version=version, from_="retired", to="production",
                          card_sha256=verified.card_sha256, who=who, when=when, reason=reason)]
            if current is not None:
                moves.insert(0, Step(seq=0, action="rollback", name=name, version=current, from_="production", to="retired",
                                     card_sha256=log.of(name, current)[0].card_sha256, who=who, when=when, reason=reason))
            registry_log.append(root, key, log, moves)
            return moves
    raise refuse("no_previous", f"{name} has no earlier production version that still verifies")


def _predecessors(log: Log, name: str) -> list[str]:
    """Return versions that were in production before the last one that was, and now are retired; the last one first.

    A rollback goes back to where a version was: what came after it, and what any rollback left, is not among them.
    """
    steps = log.of(name)
    left = {step.version for step in steps if step.action == "rollback" and step.to == "retired"}
    been: list[str] = []
    for step in steps:
        if step.to == "production":
            place = been.index(step.version) if step.version in been else len(been)
            been = been[:place] if step.action == "rollback" else [*been[:place], *been[place + 1:]]
            been.append(step.version)
    return [version for version in reversed(been[:-1]) if version not in left and log.state(name, version) == "retired"]
