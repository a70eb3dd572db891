"""Reading recordings: exact times, exact text, and precise words for what is no recording."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cstd.errors import UsageError, VerificationError
from cstd.storage.recordings import decimal_seconds_to_ns, open_recording

HEADER = json.dumps({"t": "header", "session": "test", "api": "v2 wss://ws.kraken.com/v2"})
LINE = json.dumps({"ts": 1.5, "c": "book", "d": "rx", "m": '{"channel":"heartbeat"}'})


def written(path: Path, *lines: str) -> Path:
    """Write lines as a compressed recording."""
    path.write_bytes(zstandard.compress("".join(line + "\n" for line in lines).encode()))
    return path


@pytest.mark.parametrize(
    ("name", "api", "messages"),
    [
        ("kraken-v2-btcusd-d25-20260802", "v2", 2104),
        ("kraken-v2-ethusd-xrpusd-d25-20260802", "v2", 2362),
        ("kraken-v2-btcusd-d10-20260801", "v2", 377),
        ("kraken-v1-spot-20210405", "v1", 14_933),
        ("kraken-futures-v1-20210722", "futures", 7179),
    ],
)
def test_authentic_recordings_are_read_whole(data_dir: Path, name: str, api: str, messages: int) -> None:
    """Every message of each recording comes, received ones in the order of their times per connection."""
    recording = open_recording(data_dir / "recordings" / f"{name}.jsonl.zst")
    assert (recording.api, recording.header["session"]) == (api, name)
    frames = list(recording.frames)
    assert len(frames) == messages
    assert Counter(frame.direction for frame in frames)["rx"] > messages * 0.9
    assert all(json.loads(frame.text) is not None for frame in frames)


def test_text_and_time_are_exact(data_dir: Path) -> None:
    """The wire text is byte for byte what was recorded, and the time has every digit of the file."""
    path = data_dir / "recordings" / "kraken-v2-btcusd-d25-20260802.jsonl.zst"
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes()).splitlines()[1:]
    for line, frame in zip(lines, open_recording(path).frames, strict=True):
        entry = json.loads(line, parse_float=Decimal)
        assert frame.recv_ns == int(entry["ts"] * 10**9)
        assert (frame.connection, frame.direction, frame.text.decode()) == (entry["c"], entry["d"], entry["m"])


@given(st.decimals(min_value=0, max_value=2_000_000_000, places=9))
def test_seconds_become_nanoseconds_without_rounding(seconds: Decimal) -> None:
    """Any decimal with up to nine places is exact, in plain and in exponent notation."""
    expected = int(seconds * 10**9)
    assert decimal_seconds_to_ns(f"{seconds:f}".encode()) == expected
    assert decimal_seconds_to_ns(f"{expected}e-9".encode()) == expected


@pytest.mark.parametrize("text", [b"1.0000000001", b"", b"nan", b'"1.5"', b"1.", b"--1", b"1e9999"])
def test_what_is_no_exact_time_is_refused(text: bytes) -> None:
    """Digits below a nanosecond, and what is no number, give no time."""
    assert decimal_seconds_to_ns(text) is None


def test_several_compressed_frames_and_no_last_line_end(tmp_path: Path) -> None:
    """Concatenated zstd frames are one recording, and the last line needs no line end."""
    path = tmp_path / "two.jsonl.zst"
    path.write_bytes(zstandard.compress(f"{HEADER}\n{LINE[:20]}".encode()) + zstandard.compress(LINE[20:].encode()))
    assert [frame.recv_ns for frame in open_recording(path).frames] == [1_500_000_000]


def test_files_that_are_no_recording_are_named_with_the_reason(tmp_path: Path) -> None:
    """Absent, empty, uncompressed, headless and unknown files are usage errors that say which and why."""
    empty, plain = tmp_path / "empty", tmp_path / "plain"
    empty.touch()
    plain.write_text(HEADER)
    for path, reason in [
        (tmp_path / "absent", "No such file"),
        (tmp_path, "Is a directory"),
        (empty, "it is empty"),
        (plain, "not zstd"),
        (written(tmp_path / "text", "hello"), "not JSON"),
        (written(tmp_path / "list", "[]"), "header"),
        (written(tmp_path / "api", '{"t": "header", "api": "v9 wss://"}'), "api is 'v9'"),
        (written(tmp_path / "none", '{"t": "header"}'), "api is ''"),
    ]:
        with pytest.raises(UsageError, match=reason) as error:
            open_recording(path)
        assert path.name in str(error.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 3: no recorded message"),
        ('{"ts": 1, "c": "book", "d": "rx"}', "line 3: no recorded message"),
        ('{"ts": 1, "c": "book", "d": "up", "m": "x"}', "direction 'up'"),
        ('{"ts": "1", "c": "book", "d": "rx", "m": "x"}', "not seconds"),
        ('{"ts": 1, "c": "book", "d": "rx", "m": 5}', "line 3: no recorded message"),
    ],
)
def test_a_broken_line_is_named_by_its_number(tmp_path: Path, line: str, reason: str) -> None:
    """The messages before a broken line come, then the error names file and line."""
    frames = open_recording(written(tmp_path / "r.jsonl.zst", HEADER, LINE, line)).frames
    assert next(frames).text == b'{"channel":"heartbeat"}'
    with pytest.raises(VerificationError, match=reason) as error:
        next(frames)
    assert error.value.place == {"file": "r.jsonl.zst", "line": 3}


def test_a_cut_or_damaged_file_is_found(data_dir: Path, tmp_path: Path) -> None:
    """A recording that ends inside its compressed data, or that was changed there, does not pass as a shorter one."""
    whole = (data_dir / "recordings" / "kraken-v2-btcusd-d10-20260801.jsonl.zst").read_bytes()
    path = tmp_path / "cut.jsonl.zst"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VerificationError, match=r"ends inside|damaged"):
        list(open_recording(path).frames)
    path.write_bytes(whole[:3000] + bytes(200) + whole[3200:])
    with pytest.raises(VerificationError):
        list(open_recording(path).frames)
