"""Following a journal: every synced record once and in order, whatever grows, seals, compresses or breaks meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from cstd.errors import UsageError, VerificationError
from cstd.storage import journal_reader
from cstd.storage.journal import open_journal
from cstd.storage.journal_compress import compress_segment, sealed_segments
from cstd.storage.journal_files import read_head
from cstd.storage.journal_follow import JournalFollower


def opened(folder: Path, **settings: int):
    """Open the journal of a test folder with short segments."""
    return open_journal(folder / "journal", folder / "journal.ring",
                        **({"ring_bytes": 1 << 20, "segment_bytes": 1 << 16, "sync_interval_ms": 2} | settings))


def taken(follower: JournalFollower) -> list[int]:
    """Sequence numbers of everything new."""
    return [record.seq for batch in follower.batches() for record in batch]


def test_a_growing_journal_is_followed_over_segments_and_starts(tmp_path: Path) -> None:
    """Each record comes once, in order, over segments that grow, seal and are compressed, and over starts of the writer."""
    follower: JournalFollower | None = None
    seqs: list[int] = []
    passed: list[int] = []
    for start in range(3):
        with opened(tmp_path) as journal:
            follower = follower or JournalFollower(tmp_path / "journal")
            for turn in range(20):
                for n in range(60):
                    journal.append_py(2, 0, 0, 0, b"x" * (n * (turn % 5)))
                journal.sync()
                seqs += taken(follower)
                assert seqs == list(range(1, journal.seq + 1))
                assert follower.level()
                passed += [place.segment for place in follower.passed]
                follower.passed.clear()
                if turn % 7 == 3:
                    for _, path in sealed_segments(tmp_path / "journal", follower.place):
                        list(compress_segment(path))
        assert start or len(passed) > 1
    seqs += taken(follower)
    report = journal_reader.verify(tmp_path / "journal")
    assert seqs == list(range(1, 3601))
    assert passed == list(range(1, report.segments))
    assert (follower.place.last_seq, follower.place.hash.hex()) == (report.last_seq, report.head_hash)
    again = JournalFollower(tmp_path / "journal")
    assert taken(again) == seqs
    assert again.place == follower.place


def test_only_what_is_on_disk_is_given(tmp_path: Path) -> None:
    """A record that is appended but not synced is not there yet."""
    with opened(tmp_path, sync_interval_ms=60_000) as journal:
        follower = JournalFollower(tmp_path / "journal")
        journal.append_py(2, 0, 0, 0, b"on disk")
        journal.sync()
        journal.append_py(2, 0, 0, 0, b"in memory")
        assert taken(follower) == [1]
        assert taken(follower) == []
        journal.sync()
        assert taken(follower) == [2]


def test_a_block_larger_than_a_piece_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces grow until the block fits."""
    monkeypatch.setattr("cstd.storage.journal_follow.PIECE_BYTES", 1000)
    with opened(tmp_path, ring_bytes=1 << 22, segment_bytes=1 << 22) as journal:
        for size in (10, 500_000, 5, 90_000):
            journal.append_py(2, 0, 0, 0, b"y" * size)
            journal.sync()
        assert taken(JournalFollower(tmp_path / "journal")) == [1, 2, 3, 4]


@pytest.mark.parametrize("packed", [False, True])
def test_damage_is_found_and_placed(tmp_path: Path, packed: bool) -> None:
    """A changed byte, a cut and a missing segment stop it; what came before was given."""
    with opened(tmp_path) as journal:
        for _ in range(600):
            journal.append_py(2, 0, 0, 0, b"z" * 500)
            if journal.seq % 50 == 0:
                journal.sync()
    first, second = sorted((tmp_path / "journal").glob("segment-*.cstd"))[:2]
    kept = second.read_bytes()
    second.write_bytes(kept[:40_000] + b"!" + kept[40_001:])
    if packed:
        list(compress_segment(first))
        list(compress_segment(second))
    follower = JournalFollower(tmp_path / "journal")
    seqs: list[int] = []
    with pytest.raises(VerificationError) as caught:
        for batch in follower.batches():
            seqs += [record.seq for record in batch]
    assert caught.value.place["file"] == "segment-000002.cstd"
    assert 39_000 < int(str(caught.value.place["offset"])) <= 40_000
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) > 100
    if not packed:
        second.write_bytes(kept[:-10])
        with pytest.raises(VerificationError, match="ends inside"):
            taken(JournalFollower(tmp_path / "journal"))
        second.unlink()
        with pytest.raises(VerificationError, match="missing"):
            taken(JournalFollower(tmp_path / "journal"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("cut", [1, 50, 100_000])
def test_the_last_segment_cut_short_of_its_head_is_damage(tmp_path: Path, cut: int) -> None:
    """The head knows more bytes than the file has, in the middle of a block or many: told with its place, not waited for."""
    with opened(tmp_path, segment_bytes=1 << 22) as journal:
        for _ in range(600):
            journal.append_py(2, 0, 0, 0, b"z" * 500)
            if journal.seq % 50 == 0:
                journal.sync()
    (segment,) = (tmp_path / "journal").glob("segment-*.cstd")
    segment.write_bytes(segment.read_bytes()[:read_head(tmp_path / "journal").segment_bytes - cut])
    seqs: list[int] = []
    with pytest.raises(VerificationError) as caught:
        for batch in JournalFollower(tmp_path / "journal").batches():
            seqs += [record.seq for record in batch]
    assert caught.value.place["file"] == segment.name and seqs == list(range(1, len(seqs) + 1))


def test_a_head_that_is_being_rewritten_is_read_again(tmp_path: Path) -> None:
    """Half a head is no damage as long as it becomes a whole one; one that stays broken is."""
    with opened(tmp_path) as journal:
        journal.append_py(2, 0, 0, 0, b"one")
    follower = JournalFollower(tmp_path / "journal")
    head = tmp_path / "journal" / "head.cstd"
    whole = head.read_bytes()
    head.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(VerificationError, match="head"):
        follower.head()
    head.write_bytes(whole)
    assert taken(follower) == [1]


def test_a_directory_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    """It says which."""
    with pytest.raises(UsageError, match="no journal directory"):
        JournalFollower(tmp_path / "absent")
