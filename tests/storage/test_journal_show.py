"""`cstd journal show`: records by their numbers, over segments, compressed or not, and what only the ring holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cstd._fast.codes import EventKind
from cstd.cli.app import main
from cstd.errors import EXIT_USAGE
from cstd.storage import journal_files
from cstd.storage.journal import open_journal
from cstd.storage.journal_compress import compress_segment
from tests.schemas import assert_fits

RECORDS = 60


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segments of a megabyte, the first one compressed."""
    run_dir = tmp_path_factory.mktemp("run")
    with open_journal(run_dir / "journal", run_dir / "ring", ring_bytes=1 << 22, segment_bytes=1 << 20,
                      sync_interval_ms=1) as written:
        for seq in range(1, RECORDS + 1):
            kind = EventKind.EVENT_FRAME if seq % 2 else EventKind.OUT_DECISION
            written.append_py(kind, seq % 2, seq, seq * 10**9, f"{seq} ".encode() * 15_000 if seq % 2 else b"\xff" * 40)
            written.sync()
    paths = [path for _, path in journal_files.segment_paths(run_dir / "journal")]
    assert len(paths) == 2
    list(compress_segment(paths[0]))
    return run_dir


def shown(journal: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    """What it prints as JSON."""
    assert main(["journal", "show", str(journal), *words, "-o", "json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for row in found:
        assert_fits("journal show", row)
    return found


def test_a_range_is_shown_wherever_it_lies(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every single one, all of them over compressed and plain segments, of a run directory or the journal itself."""
    assert [row["seq"] for row in shown(journal, capsys, "--from", "1", "--to", "999")] == list(range(1, RECORDS + 1))
    for seq in (1, 2, 29, RECORDS):
        (row,) = shown(journal / "journal", capsys, "--from", str(seq))
        assert (row["seq"], row["wall_ns"], row["kind"]) == (seq, seq * 10**9, "event_frame" if seq % 2 else "out_decision")
        assert (row["text"] or "").startswith(f"{seq} ") == bool(seq % 2)


def test_what_only_the_ring_holds_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While it is written, behind what is on disk."""
    with open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 20, segment_bytes=1 << 20,
                      sync_interval_ms=60_000) as written:
        for seq in range(1, 5):
            written.append_py(EventKind.EVENT_TIMER, 0, seq, seq, b"")
        assert [row["seq"] for row in shown(tmp_path, capsys, "--from", "2", "--to", "4")] == [2, 3, 4]


def test_a_table_cuts_what_is_long(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each."""
    assert main(["journal", "show", str(journal), "--from", "1", "--to", "2"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("1  1970-01-01T00:00:01.000000000Z  event_frame") and first.endswith("…") and len(first) < 260
    assert second.split()[2:] == ["out_decision", "0", "-"]


@pytest.mark.parametrize("words", [("--from", "61"), ("--from", "0"), ("--from", "7", "--to", "6"), ()])
def test_what_is_not_there_is_said(journal: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Beyond the end, no number of a record, a range that is none, none at all: exit 2."""
    assert main(["journal", "show", str(journal), *words]) == EXIT_USAGE
    assert capsys.readouterr().out == ""


def test_a_segment_that_was_changed_is_not_shown(journal: Path, tmp_path: Path) -> None:
    """A header that does not match its hash: exit 3. Where there is no journal exit 2."""
    (tmp_path / "journal").mkdir()
    raw = bytearray(journal_files.segment_path(journal / "journal", 2).read_bytes())
    raw[40] ^= 1
    journal_files.segment_path(tmp_path / "journal", 1).write_bytes(raw)
    assert main(["journal", "show", str(tmp_path), "--from", "1"]) == 3
    assert main(["journal", "show", str(tmp_path / "none"), "--from", "1"]) == EXIT_USAGE


def test_a_record_that_was_changed_is_not_passed_over(journal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own checksum finds it: what is before it is shown, then exit 3 with its number, and nothing of what is behind it."""
    (tmp_path / "journal").mkdir()
    raw = bytearray(journal_files.segment_path(journal / "journal", 2).read_bytes())
    blocks = list(journal_files.blocks(bytes(raw), len(raw)))
    raw[blocks[3].end - 9] ^= 1
    journal_files.segment_path(tmp_path / "journal", 2).write_bytes(raw)
    assert main(["journal", "show", str(tmp_path), "--from", str(blocks[2].first_seq), "--to", "999", "-o", "json"]) == 3
    told = capsys.readouterr()
    assert [json.loads(line)["seq"] for line in told.out.splitlines()] == list(range(blocks[2].first_seq, blocks[3].first_seq))
    assert f"seq {blocks[3].first_seq}" in told.err
