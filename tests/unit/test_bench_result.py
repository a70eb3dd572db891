"""Result files of the benchmarks, and the picture that is made from them alone."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SVG = "{http://www.w3.org/2000/svg}"
COMMANDS = ("floor/ratio", "instructions", "growth", "peers/run", "live/round_trip", "live/burst", "scale", "tail", "soak",
            "memory", "measuring", "start", "journal", "why", "digests")


@pytest.fixture
def result(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module bench/result.py."""
    monkeypatch.syspath_prepend(str(repository / "bench"))
    import result

    return result


@pytest.fixture
def picture(result: ModuleType) -> ModuleType:
    """The module bench/picture.py."""
    import picture

    return picture


def peers(**rows: dict[str, Any]) -> dict[str, Any]:
    """A constructed result of the suite peers."""
    return {
        "suite": "peers", "taken_at": "2026-01-31T12:00:00Z", "commit": "abc123", "machine": {"cpu": "Test <CPU>", "cores": 2},
        "versions": {}, "figures": {"rounds": 1, "corpora": {"btc-d25": {"recording": "r.zst", "updates": 9, "rows": rows}}},
    }


def row(p50_ns: int, *, kind: str = "client", checksum: bool = True, **more: Any) -> dict[str, Any]:
    """A row of a peer that was measured and found right."""
    does = {"kind": kind, "parse": "json", "book": "dict", "checksum": checksum}
    return {"p50_ns": p50_ns, "p99_ns": 2 * p50_ns, "does": does, "verdict": "ok", **more}


def test_a_result_says_what_it_is_of(result: ModuleType, tmp_path: Path) -> None:
    """Written and read again: suite, time, machine, commit, versions and figures are there."""
    path = tmp_path / "new" / "x.json"
    result.write(path, result.make("x", {"p50_ns": 1}, taken_at="2026-01-31T12:00:00Z", versions={"peer": "1.0"}))
    read = result.read(path)
    assert (read["suite"], read["taken_at"], read["figures"]) == ("x", "2026-01-31T12:00:00Z", {"p50_ns": 1})
    assert read["versions"]["peer"] == "1.0"
    assert read["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert read["commit"]
    assert {"cstd", "picows", "uvloop"} <= read["versions"].keys()
    assert {"cpu", "cores", "kernel", "governor", "load_1m"} <= read["machine"].keys()
    assert read["machine"]["load_1m"] >= 0
    assert [entry.name for entry in path.parent.iterdir()] == ["x.json"], "nothing half-written is left"


@pytest.mark.parametrize(("content", "told"), [
    ("{", "not JSON"),
    ("[]", "a result is an object"),
    (json.dumps({name: value for name, value in peers().items() if name != "commit"}), "no field 'commit'"),
    (json.dumps(peers() | {"machine": "fast"}), "machine is a str, not a dict"),
    (json.dumps(peers() | {"taken_at": "yesterday"}), "taken_at is 'yesterday'"),
    (json.dumps(peers() | {"figures": {}}), "no figures"),
])
def test_what_is_no_result_is_named(result: ModuleType, tmp_path: Path, content: str, told: str) -> None:
    """Each defect has an error with the file's name and the defect."""
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(result.ResultError) as error:
        result.read(path)
    assert told in str(error.value)
    assert "bad.json" in str(error.value)


def test_a_missing_file_is_named(result: ModuleType, tmp_path: Path) -> None:
    """A file that is not there is an error with its name."""
    with pytest.raises(result.ResultError, match=r"absent\.json: cannot be read"):
        result.read(tmp_path / "absent.json")


def test_what_a_command_printed_is_wrapped(result: ModuleType, repository: Path, tmp_path: Path) -> None:
    """JSON on stdin becomes a result file; what is no JSON gives one line and a non-zero exit."""
    command = [sys.executable, "bench/result.py", "path", "--result", str(tmp_path / "path.json")]
    subprocess.run(command, input='{"p50_ns": 839}', text=True, check=True, cwd=repository)
    assert result.read(tmp_path / "path.json")["figures"] == {"p50_ns": 839}
    done = subprocess.run(command, input="nothing", text=True, check=False, capture_output=True, cwd=repository)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_what_pytest_benchmark_stored_is_taken(result: ModuleType) -> None:
    """The cost of one unit by test."""
    stored = {"benchmarks": [{"name": "test_x[10]", "extra_info": {"ns_each": 12.5, "units": 4}, "stats": {"rounds": 40}}]}
    assert result.of_benchmarks(json.dumps(stored)) == {"test_x[10]": {"ns_each": 12.5, "units": 4, "rounds": 40}}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_writes_result_files_in_one_way(repository: Path, command: str) -> None:
    """Each takes --result FILE and --taken-at TIME, refuses a time that is none before it measures, and has no other option."""
    words = ["-m", "bench.scale"] if command == "scale" else [f"bench/{command}.py"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *words, *more], capture_output=True, text=True, check=False, cwd=repository,
                              env={**os.environ, "COLUMNS": "200"})

    told = run("--help").stdout
    assert "--result FILE" in told
    assert "-o FILE" not in told
    assert "--output" not in told
    done = run("--taken-at", "noon")
    assert done.returncode == 2
    assert "'noon' is not like 2026-01-31T12:00:00Z" in done.stderr


def test_a_result_is_kept_where_it_is_asked_for(
        result: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --result the file is written and named on stderr; without, nothing is; a place that cannot be is told in one line."""
    parser = argparse.ArgumentParser()
    result.add_arguments(parser)
    result.keep(parser.parse_args([]), "x", {"p50_ns": 1})
    assert capsys.readouterr() == ("", "")
    path = tmp_path / "x.json"
    result.keep(parser.parse_args(["--result", str(path), "--taken-at", "2026-01-31T12:00:00Z"]), "x", {"p50_ns": 1})
    assert capsys.readouterr() == ("", f"written: {path}\n")
    read = result.read(path)
    assert (read["suite"], read["taken_at"], read["figures"]) == ("x", "2026-01-31T12:00:00Z", {"p50_ns": 1})
    with pytest.raises(SystemExit, match=r"below\.json: cannot be written: "):
        result.keep(parser.parse_args(["--result", str(path / "below.json")]), "x", {"p50_ns": 1})


def test_the_picture_shows_what_the_result_holds(picture: ModuleType) -> None:
    """One bar a measured row, longer for slower; who verifies is marked, what is missing named, machine and commit told."""
    svg = picture.draw(peers(
        slow=row(40_000, ratio=80.0), cstd=row(500, kind="cstd", ratio=1.0),
        unchecked=row(7_000, kind="parts", checksum=False, ratio=14.0),
        gone={"verdict": "unavailable", "reason": "not installable: <gcc>"}))
    root = ET.fromstring(svg)
    bars = root.findall(f"{SVG}rect")
    assert [bar.get("class") for bar in bars] == ["cstd", "peer unverified", "peer"]
    widths = [float(bar.get("width") or 0) for bar in bars]
    assert widths == sorted(widths)
    assert widths[0] < widths[1] < widths[2]
    words = [found.text or "" for found in root.findall(f"{SVG}text")]
    assert {"cstd ✓", "unchecked", "slow ✓", "40,000 ns · 80 ×"} <= set(words)
    assert any("Test <CPU>, 2 cores; commit abc123; 2026-01-31" in line for line in words)
    assert any("gone: unavailable, not installable: <gcc>" in line for line in words)
    assert "prefers-color-scheme:dark" in svg


def test_the_scale_is_logarithmic(picture: ModuleType) -> None:
    """Equal factors are equal distances."""
    scale = picture.Scale(500, 80_000)
    assert scale.first == 100
    assert scale.x(10_000) - scale.x(1_000) == pytest.approx(scale.x(1_000) - scale.x(100), abs=0.2)


@pytest.mark.parametrize(("found", "told"), [
    (peers() | {"suite": "growth"}, "not peers"),
    (peers() | {"figures": {"corpora": {"other": {}}}}, "no figures of btc-d25"),
    (peers(), "no row"),
    (peers(x={"verdict": "wrong", "reason": "top ten differs"}), "no row"),
    (peers(x=row(0)), "x has no p50_ns"),
    (peers(x=row(5) | {"p99_ns": "9"}), "x has no p50_ns and p99_ns above 0"),
    (peers(x=row(5, kind="magic")), "does not say what it does"),
])
def test_what_cannot_be_drawn_is_an_error(picture: ModuleType, result: ModuleType, found: dict[str, Any], told: str) -> None:
    """No bar without its figure: each defect is named."""
    with pytest.raises(result.ResultError, match=told):
        picture.draw(found)


def test_the_command_tells_a_bad_folder_in_one_line(repository: Path, tmp_path: Path) -> None:
    """Without peers.json: non-zero exit, no traceback, no picture."""
    out = tmp_path / "speed.svg"
    done = subprocess.run([sys.executable, "bench/picture.py", str(tmp_path), "-o", str(out)], capture_output=True, text=True,
                          check=False, cwd=repository)
    assert done.returncode == 1
    assert "peers.json: cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()
