"""`cstd features`: indicators of a file of bars, and refusal of files that are not bars."""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cstd._fast import indicators
from cstd.errors import EXIT_FAILURE, OperatorError, UsageError
from cstd.research import bar_file, features

GOOD = [f"{1_700_000_000 + 60 * i},{100 + i % 7},{110 + i % 7},{90 + i % 5},{101 + i % 5},{1 + i % 3}.5,4" for i in range(50)]


def run(path: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    assert features.main(argparse.Namespace(bars=str(path), output="csv")) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def write(folder: Path, lines: list[str], name: str = "bars.csv") -> Path:
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def test_every_authentic_file_is_read_and_streaming_gives_the_same(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One row per bar; the last row equals the streaming indicators to the last digit."""
    for name in ("240m/XBTUSD_240m_2024.csv.gz", "60m/STORJUSD_60m.csv.gz"):
        path = data_dir / "bars" / name
        bars, rows = bar_file.read(path), run(path, capsys)
        assert [int(row["time"]) for row in rows] == bars.time_s
        stream = indicators.BarIndicators(bars.interval_s() * 10**9)
        for row, *bar in zip(rows, bars.open, bars.high, bars.low, bars.close, bars.volume, strict=True):
            assert {k: float(v) for k, v in row.items() if k != "time" and v} == stream.push(*bar)


def test_columns_are_the_promised_ones_and_empty_until_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`time` first; what is not ready is an empty cell, never a word or a zero."""
    rows = run(write(tmp_path, GOOD), capsys)
    promised = ("rsi14", "macd", "macd_signal", "macd_hist", "bb_mid", "bb_upper", "bb_lower", "ema12", "ema26", "sma20",
                "atr14", "adx14", "stoch_k", "stoch_d", "cci20", "mfi14", "obv", "vwap")
    assert next(iter(rows[0])) == "time"
    assert set(promised) <= set(rows[0])
    assert (rows[10]["ema12"], rows[32]["macd_signal"]) == ("", "")
    assert float(rows[11]["ema12"]) > 0
    assert rows[33]["macd_signal"] != ""
    assert all(cell for cell in rows[-1].values())


def test_header_gzip_and_column_order_do_not_matter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same bars plain, with a header, reordered under a header, or gzipped give the same table."""
    plain = run(write(tmp_path, GOOD), capsys)
    header = "time,open,high,low,close,volume,trades"
    assert run(write(tmp_path, [header, *GOOD]), capsys) == plain
    turned = [",".join(reversed(line.split(","))) for line in [header, *GOOD]]
    assert run(write(tmp_path, turned), capsys) == plain
    packed = tmp_path / "bars.csv.gz"
    packed.write_bytes(gzip.compress(("\n".join(GOOD) + "\n").encode()))
    assert run(packed, capsys) == plain


def with_row(row: str) -> list[str]:
    return [*GOOD[:3], row, *GOOD[4:]]


BAD = {
    "high below low": (with_row("1700000180,100,98,99,99,1,1"), "line 4: not low <= open, close <= high"),
    "close outside": (with_row("1700000180,100,103,99,104,1,1"), "line 4: not low <= open, close <= high"),
    "nan": (with_row("1700000180,nan,103,99,100,1,1"), "line 4: open 'nan' is not a number"),
    "infinite": (with_row("1700000180,100,inf,99,100,1,1"), "line 4: high 'inf' is not a number"),
    "negative price": (with_row("1700000180,100,103,-99,100,1,1"), "line 4: low '-99' is not a number"),
    "zero price": (with_row("1700000180,100,103,0,100,1,1"), "line 4: low 0.0 is not above zero"),
    "negative volume": (with_row("1700000180,100,103,99,100,-1,1"), "line 4: volume '-1'"),
    "huge": (with_row("1700000180,100,1e30,99,100,1,1"), "line 4: high 1e30 is beyond"),
    "overflow": (with_row("1700000180,100,1e999,99,100,1,1"), "line 4: high 1e999 is beyond"),
    "words": (with_row("1700000180,a,b,c,d,e,f"), "line 4: open 'a'"),
    "underscore": (with_row("1700000180,1_00,103,99,100,1,1"), "line 4: open '1_00'"),
    "short row": (with_row("1700000180,100,103"), "line 4: 3 columns, need 6"),
    "empty row": (with_row(""), "line 4: 0 columns"),
    "time twice": (with_row("1700000120,100,103,99,100,1,1"), "line 4: time 1700000120 is not after"),
    "time backwards": (with_row("1600000000,100,103,99,100,1,1"), "line 4: time 1600000000 is not after"),
    "time in ms": (["1700000000000,100,103,99,100,1,1"], "line 1: time 1700000000000 is not in seconds"),
    "time broken": (with_row("1700000180.5,100,103,99,100,1,1"), "line 4: time '1700000180.5'"),
    "foreign header": (["date,o,h,l,c,v", *GOOD], "line 1: neither a bar nor a header"),
    "empty file": ([], "holds no bars"),
    "header alone": (["time,open,high,low,close,volume"], "holds no bars"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_bars_are_refused_with_line_and_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Exit 1, the line, the reason, and not one row on stdout."""
    lines, reason = BAD[name]
    path = tmp_path / "bars.csv"
    path.write_text("".join(line + "\n" for line in lines))
    with pytest.raises(OperatorError) as caught:
        features.main(argparse.Namespace(bars=str(path), output="csv"))
    assert reason in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.exit_code == EXIT_FAILURE
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("content", "reason"), [
    (b"\xff\xfe1,2,3", "not text"), (b"\x1f\x8b\x08broken", "damaged gzip"),
    (gzip.compress(b"1,2,3\n" * 99, mtime=0)[:-12], "damaged gzip"),
    (b"\x00" * 50, "line 1"), (b'1700000000,"100,1,1,1,1', "line 1")])
def test_files_that_are_not_text_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    """Binary, truncated or damaged files are an operator's error."""
    path = tmp_path / "bars.csv"
    path.write_bytes(content)
    with pytest.raises(OperatorError, match=reason):
        bar_file.read(path)


def test_a_missing_file_and_another_output_are_refused(tmp_path: Path) -> None:
    """The path is named; only csv and json can be printed."""
    with pytest.raises(OperatorError, match=r"nowhere\.csv"):
        bar_file.read(tmp_path / "nowhere.csv")
    with pytest.raises(OperatorError, match="cannot read"):
        bar_file.read(tmp_path)
    with pytest.raises(UsageError, match="csv or json"):
        features.main(argparse.Namespace(bars=str(write(tmp_path, GOOD)), output="table"))


def test_json_has_the_same_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One object a bar with every name; null where the CSV is empty, the same double elsewhere."""
    path = write(tmp_path, GOOD)
    table = run(path, capsys)
    assert features.main(argparse.Namespace(bars=str(path), output="json")) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(row) for row in objects] == [list(row) for row in table]
    assert [{name: "" if value is None else repr(value) for name, value in row.items()} for row in objects] == table


def verb(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`cstd features ...` as a process of its own."""
    return subprocess.run([sys.executable, "-m", "cstd", "features", *words], capture_output=True, text=True, check=False,
                          timeout=60, env={**os.environ, **env})


def test_the_command_says_what_it_takes_and_what_is_wrong(tmp_path: Path) -> None:
    """--help names the columns; a missing file and a bad bar are one line on stderr, or one JSON error, with exit 1 and
    nothing on stdout; never a traceback."""
    shown = verb("--help")
    assert shown.returncode == 0
    assert "open, high, low, close, volume" in " ".join(shown.stdout.split())
    bad = write(tmp_path, BAD["high below low"][0])
    for path, reason in ((tmp_path / "nowhere.csv", "No such file"), (bad, "line 4"), (tmp_path, "cannot read")):
        told = verb("--bars", str(path))
        assert (told.returncode, told.stdout) == (1, "")
        assert reason in told.stderr and str(path) in told.stderr and "Traceback" not in told.stderr
        as_json = verb("--bars", str(path), "-o", "json")
        assert (as_json.returncode, as_json.stdout) == (1, "")
        error = json.loads(as_json.stderr)
        assert reason in error["message"] and error["error"] == "operator"
    assert verb("--bars", str(bad), "-o", "xml").returncode == 2
    assert verb().returncode == 2


def test_the_command_prints_a_file_of_bars(data_dir: Path) -> None:
    """Authentic bars give a header, a row for each bar, and all indicators on the last one."""
    path = data_dir / "bars" / "5m" / "PEPEUSD_5m_2024H2.csv.gz"
    shown = verb("--bars", str(path))
    assert (shown.returncode, shown.stderr) == (0, "")
    table = list(csv.DictReader(io.StringIO(shown.stdout)))
    assert len(table) == len(bar_file.read(path))
    assert set(table[-1]) == {"time", *indicators.NAMES}
    assert sum(all(row.values()) for row in table) > len(table) // 2
