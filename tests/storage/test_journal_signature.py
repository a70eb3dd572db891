"""The journal's signature: what it covers, what it finds, and what is only reported."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from cstd.errors import OperatorError, UsageError, VerificationError
from cstd.storage import journal_reader, verify
from cstd.storage.journal import open_journal
from cstd.storage.journal_signature import HEAD_SIGNATURE_NAME, KEY_NAME, PUBLIC_NAME, open_signer
from tests.journals import sign


def opened(folder: Path):
    """Open the journal of a test folder with short segments."""
    return open_journal(folder / "journal", folder / "journal.ring", ring_bytes=1 << 20, segment_bytes=1 << 16,
                        sync_interval_ms=2)


def append(folder: Path, number: int, fill: bytes = b"record") -> None:
    """Append records in one life of a writer."""
    with opened(folder) as journal:
        for n in range(number):
            journal.append_py(2, 0, n, n, fill * 40)
            if n % 40 == 0:
                journal.sync()


def refused(folder: Path, key: Path | None = None) -> VerificationError:
    """What verification says."""
    with pytest.raises(VerificationError) as caught:
        journal_reader.verify(folder / "journal", key)
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A signed journal of several segments."""
    append(tmp_path, 1000)
    sign(tmp_path)
    return tmp_path


def test_a_signed_journal_is_signed_to_its_end_and_the_tail_is_reported(folder: Path) -> None:
    """All of it; what was appended since is counted as unsigned, and is no error."""
    report = journal_reader.verify(folder / "journal")
    assert (report.signed_seq, report.unsigned_records) == (1000, 0)
    assert len(report.signed_by) == 64
    append(folder, 30)
    report = journal_reader.verify(folder / "journal")
    assert (report.signed_seq, report.unsigned_records, report.last_seq) == (1000, 30, 1030)


def test_an_unsigned_journal_is_no_error(tmp_path: Path) -> None:
    """It is proven as before, and none of it is signed."""
    append(tmp_path, 10)
    report = journal_reader.verify(tmp_path / "journal")
    assert (report.signed_seq, report.unsigned_records, report.signed_by) == (0, 10, "")


def test_without_the_newest_the_seals_hold(folder: Path) -> None:
    """Each sealed segment is signed by itself: the loss of the newest signature leaves the last seal."""
    (folder / "journal" / HEAD_SIGNATURE_NAME).unlink()
    report = journal_reader.verify(folder / "journal")
    assert 0 < report.signed_seq < 1000
    assert report.signed_seq + report.unsigned_records == 1000


@pytest.mark.parametrize("field", ["segment", "segment_bytes", "block", "seq", "journal_id", "hash", "wall_ns", "signature"])
def test_a_changed_signature_is_found(folder: Path, field: str) -> None:
    """No field of a signature can be changed; the place is named, and the verb exits with 3."""
    path = folder / "journal" / "segment-000002.sig"
    content = json.loads(path.read_bytes())
    value = content[field]
    if isinstance(value, int):
        content[field] = value + 1
    else:
        content[field] = ("A" if value[0] != "A" else "B") + value[1:] if field == "signature" else value[::-1]
    path.write_text(json.dumps(content))
    error = refused(folder)
    assert error.place["file"] == "segment-000002.sig"
    assert verify.main(Namespace(dir=str(folder / "journal"), key=None, output="json")) == 3


@pytest.mark.parametrize("content", ["", "{}", "[1]", "no json", '{"segment": 1}'])
def test_what_is_no_signature_is_found(folder: Path, content: str) -> None:
    """A file under that name that is none is damage."""
    (folder / "journal" / HEAD_SIGNATURE_NAME).write_text(content)
    assert "not a signature" in refused(folder).message


@pytest.mark.parametrize("content", ["{}", "", '{"signature": 7}'])
def test_a_heads_signature_that_does_not_hold_is_kept_when_the_next_is_made(folder: Path, content: str) -> None:
    """A start signs anew; what lay there and was none is not lost with it, and one that holds stays where it is."""
    assert open_signer(folder / KEY_NAME, folder / "journal").put_aside is None
    head = folder / "journal" / "head.sig"
    head.write_text(content)
    signer = sign(folder)
    assert signer.put_aside == head.with_name("head.sig.damaged")
    assert signer.put_aside.read_text() == content
    assert journal_reader.verify(folder / "journal").signed_seq > 0


def test_a_rewritten_chain_is_found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A journal whose chain was computed anew, hash by hash, holds by itself; its signatures are another's."""
    forged = tmp_path_factory.mktemp("forged")
    append(forged, 1000, fill=b"forged")
    assert journal_reader.verify(forged / "journal").last_seq == 1000
    for path in [*(folder / "journal").glob("*.sig"), folder / "journal" / PUBLIC_NAME]:
        (forged / "journal" / path.name).write_bytes(path.read_bytes())
    assert "block" in refused(forged).message


def test_a_cut_journal_is_found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A journal that ends before what was signed is not let pass, though its chain holds."""
    earlier = tmp_path_factory.mktemp("earlier") / "journal"
    shutil.copytree(folder / "journal", earlier, symlinks=True)
    append(folder, 200)
    sign(folder)
    assert journal_reader.verify(earlier).signed_seq == 1000
    later = folder / "journal" / HEAD_SIGNATURE_NAME
    (earlier / HEAD_SIGNATURE_NAME).write_bytes(later.read_bytes())
    error = refused(earlier.parent)
    assert "does not hold the block that was signed" in error.message
    assert error.place["seq"] == 1200


def test_another_signer_is_found_by_ones_own_copy_of_the_key(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Who rewrites journal, signatures and public key passes by himself, but not against a copy kept elsewhere."""
    copy = tmp_path_factory.mktemp("kept") / "signer.pub"
    copy.write_bytes((folder / "journal" / PUBLIC_NAME).read_bytes())
    assert journal_reader.verify(folder / "journal", copy).signed_seq == 1000
    for path in (folder / "journal").glob("*.sig"):
        path.unlink()
    (folder / "journal" / PUBLIC_NAME).unlink()
    (folder / KEY_NAME).unlink()
    sign(folder)
    assert journal_reader.verify(folder / "journal").signed_seq == 1000
    assert "not one of key" in refused(folder, copy).message


def test_a_missing_public_key_is_an_error(folder: Path) -> None:
    """Signatures that nobody can check are not taken for good."""
    (folder / "journal" / PUBLIC_NAME).unlink()
    assert "no public key" in refused(folder).message
    with pytest.raises(UsageError, match="public key"):
        journal_reader.verify(folder / "journal", folder / "absent.pub")


def test_the_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    """Mode 0600, made at first use, used again; one that others may read is refused, and so is another's key."""
    append(tmp_path, 10)
    sign(tmp_path)
    key = tmp_path / KEY_NAME
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    sign(tmp_path)
    assert key.read_bytes() == before
    assert b"PRIVATE" not in b"".join(path.read_bytes() for path in (tmp_path / "journal").iterdir())
    key.chmod(0o640)
    with pytest.raises(OperatorError, match="others than its owner"):
        sign(tmp_path)
    key.chmod(0o600)
    key.write_text("no key")
    with pytest.raises(OperatorError, match="not a private key"):
        sign(tmp_path)
    key.unlink()
    with pytest.raises(OperatorError, match="signed with another key"):
        sign(tmp_path)
