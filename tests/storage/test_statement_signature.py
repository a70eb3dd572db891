"""A statement's signature: what it proves, what it refuses, and that the host has one key, kept private."""

from __future__ import annotations

import base64
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cstd.errors import OperatorError, UsageError, VerificationError
from cstd.storage import journal_signature
from cstd.storage.journal_signature import KEY_NAME, PUBLIC_NAME, fingerprint, open_key, open_signer, publish
from cstd.storage.statement_signature import prove, sign, signature_path

CONTENT = b'{"differences":[],"from":"2026-11-20T00:00:00Z","to":"2026-11-21T00:00:00Z"}\n'
WALL_NS = 1_790_000_000_000_000_000


@pytest.fixture
def statement(tmp_path: Path) -> Path:
    """A signed statement in a folder of its own, its key one folder above."""
    directory = tmp_path / "statements"
    directory.mkdir()
    key = open_key(tmp_path / KEY_NAME)
    publish(key, directory, tmp_path / KEY_NAME)
    path = directory / "statement.json"
    path.write_bytes(CONTENT)
    sign(path, CONTENT, key, WALL_NS)
    return path


def said(path: Path) -> dict[str, object]:
    """What the signature file says."""
    return dict(json.loads(signature_path(path).read_bytes()))


def test_a_statement_is_proven_wherever_it_lies(statement: Path, tmp_path: Path) -> None:
    """The same bytes in another folder, under another name, with the key named: proven, with who signed and when."""
    assert prove(statement).content == CONTENT
    copy = tmp_path / "copy.json"
    shutil.copy(statement, copy)
    shutil.copy(signature_path(statement), signature_path(copy))
    proof = prove(copy, statement.parent / PUBLIC_NAME)
    signer = fingerprint(open_key(tmp_path / KEY_NAME).public_key())
    assert (proof.signed_by, proof.wall_ns) == (signer, WALL_NS)
    assert said(statement)["signed_by"] == signer
    with pytest.raises(VerificationError, match=r"no signer\.pub beside it"):
        prove(copy)


def change_content(path: Path) -> None:
    """One digit of the statement is another."""
    path.write_bytes(CONTENT.replace(b"11-20", b"11-19"))


def change_both(path: Path) -> None:
    """The hash beside the signature is made to fit."""
    change_content(path)
    from cstd.ledger.statement import digest

    write(path, sha256=digest(path.read_bytes()))


def change_time(path: Path) -> None:
    """It was signed at another time."""
    write(path, wall_ns=WALL_NS + 1)


def change_signer(path: Path) -> None:
    """Another host signed it, whose key does not lie beside it."""
    other = open_key(path.parent / "other.pem")
    sign(path, CONTENT, other, WALL_NS)


def sign_as_journal(path: Path) -> None:
    """The right key signed the bytes, without the prefix that says they are a statement."""
    key = open_key(path.parent.parent / KEY_NAME)
    write(path, signature=base64.b64encode(key.sign(CONTENT)).decode())


def write(path: Path, **changes: object) -> None:
    """Change fields of the signature file."""
    signature_path(path).write_text(json.dumps({**said(path), **changes}))


@pytest.mark.parametrize(("change", "why"), [
    (change_content, "another content"), (change_both, "not one of key"), (change_time, "not one of key"),
    (change_signer, "not one of key"), (sign_as_journal, "not one of key"),
    (lambda path: signature_path(path).unlink(), "there is no signature"),
    (lambda path: signature_path(path).write_text("[]"), "not a signature"),
    (lambda path: write(path, wall_ns="now"), "not a signature"), (lambda path: write(path, wall_ns=1 << 70), "not a signature"),
    (lambda path: write(path, signature="?"), "not a signature"),
])
def test_what_was_not_signed_is_refused(statement: Path, change: Callable[[Path], None], why: str) -> None:
    """A changed statement, hash, time, signer or kind of document, and what is no signature at all."""
    change(statement)
    with pytest.raises(VerificationError, match=why):
        prove(statement)


def test_what_is_not_there_is_the_users_error(statement: Path) -> None:
    """No such statement, and a key that is none: named as such."""
    with pytest.raises(UsageError, match="cannot be read"):
        prove(statement.with_name("absent.json"))
    with pytest.raises(UsageError, match="not a public key"):
        prove(statement, statement)


def test_the_journal_and_the_statements_have_one_key(tmp_path: Path) -> None:
    """Whoever comes first makes it; a public key of another beside what is signed is refused."""
    for name in ("journal", "statements"):
        (tmp_path / name).mkdir()
    publish(open_key(tmp_path / KEY_NAME), tmp_path / "statements", tmp_path / KEY_NAME)
    open_signer(tmp_path / KEY_NAME, tmp_path / "journal")
    keys = [(tmp_path / name / PUBLIC_NAME).read_bytes() for name in ("journal", "statements")]
    assert keys[0] == keys[1]
    (tmp_path / KEY_NAME).unlink()
    with pytest.raises(OperatorError, match="signed with another key"):
        publish(open_key(tmp_path / KEY_NAME), tmp_path / "statements", tmp_path / KEY_NAME)


def test_two_that_make_the_key_at_once_have_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both look before either has written: the second takes the first one's, and nothing else is left in the folder."""
    both = threading.Barrier(2)
    make = journal_signature._make_key

    def made_together(path: Path) -> None:
        both.wait(10)
        with lock:  # os.getpid() tells processes apart, not threads
            make(path)

    lock = threading.Lock()
    monkeypatch.setattr(journal_signature, "_make_key", made_together)
    keys: list[str] = []
    threads = [threading.Thread(target=lambda: keys.append(fingerprint(open_key(tmp_path / KEY_NAME).public_key())))
               for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(keys), len(set(keys))) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == [KEY_NAME]


def test_a_key_that_is_no_plain_private_file_is_refused(tmp_path: Path) -> None:
    """A link, also one that leads nowhere, a pipe, and a file that others may read: none is read, none is written through."""
    elsewhere = tmp_path / "elsewhere.pem"
    open_key(elsewhere)
    key = tmp_path / KEY_NAME
    for target in (elsewhere, tmp_path / "nowhere.pem"):
        key.symlink_to(target)
        with pytest.raises(OperatorError, match="not a private key"):
            open_key(key)
        key.unlink()
    assert not (tmp_path / "nowhere.pem").exists()
    os.mkfifo(key, 0o600)
    with pytest.raises(OperatorError, match="no plain file"):
        open_key(key)
    elsewhere.chmod(0o640)
    with pytest.raises(OperatorError, match="others than its owner"):
        open_key(elsewhere)


def test_a_signature_replaces_a_link(statement: Path, tmp_path: Path) -> None:
    """A link in the signature's place is replaced, and what it leads to stays as it was."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    signature_path(statement).unlink()
    signature_path(statement).symlink_to(victim)
    sign(statement, CONTENT, open_key(tmp_path / KEY_NAME), WALL_NS)
    assert (victim.read_text(), signature_path(statement).is_symlink()) == ("mine", False)
    assert prove(statement).wall_ns == WALL_NS
