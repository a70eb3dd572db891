"""`cstd why --since` and `--count` on the command line: which source answers, what is printed, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cstd.cli import values, why
from cstd.cli.app import main
from cstd.projector.database import LedgerDatabase
from tests.ops.fake_view import FakeView
from tests.ops.running import admin_socket
from tests.schemas import assert_fits

NOW_NS = 1_790_000_000_000_000_000
EMPTY = {"since_wall_ns": 0, "until_wall_ns": 9, "source": "/x/ledger.db", "complete": False, "known_since_wall_ns": 5,
         "instrument": None, "state": "halted", "state_reason": "disk", "decided": 0, "approved": 0, "reduced": 0, "refused": 0,
         "shadowed": 0, "gates": [],
         "states": [{"wall_ns": 6, "state": "halted", "before": "ready", "reason": "disk"}], "fills": 2}


@pytest.fixture
def view() -> FakeView:
    """A market with some decisions."""
    fake = FakeView()
    for _ in range(60):
        fake.step()
    return fake


@pytest.fixture
def run_dir(tmp_path: Path, view: FakeView) -> Iterator[Path]:
    """A run directory whose daemon answers and that has no ledger."""
    with admin_socket(tmp_path / "cstd.sock", view):
        yield tmp_path


def asked(capsys: pytest.CaptureFixture[str], run_dir: Path, *words: str, code: int = 0) -> Any:
    """The JSON that `cstd why` prints, on stdout or as the error it ends with."""
    assert main(["why", *words, "--run-dir", str(run_dir), "-o", "json"]) == code
    told = capsys.readouterr()
    return json.loads(told.out if code == 0 else told.err)


@pytest.mark.parametrize(("text", "wall_ns"), [
    ("90s", NOW_NS - 90 * 10**9), ("10m", NOW_NS - 600 * 10**9), ("2h", NOW_NS - 7_200 * 10**9), ("1d", NOW_NS - 86_400 * 10**9),
    ("2026-08-02", 1_785_628_800 * 10**9), ("2026-08-02T10:00:00Z", 1_785_664_800 * 10**9),
    ("2026-08-02T10:00:00.5Z", 1_785_664_800_500_000_000), ("999999999d", 0),
    ("1815-12-10", 0), ("9999-12-31", 2**63 - 1),
])
def test_times(text: str, wall_ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A length of time before now, or a UTC day or time."""
    monkeypatch.setattr(values.time, "time_ns", lambda: NOW_NS)
    assert values.since(text) == wall_ns


@pytest.mark.parametrize("words", [
    ["--since", "soon"], ["--since", "10"], ["--since", "2026-08-02 10:00"], ["--since", "2026-13-02"], ["--since", "-5m"],
    ["--since", "10m", "--last"], ["--since", "10m", "--count", "3"], ["--since", "10m", "17"], ["--count", "0"],
    ["--count", "21"], ["--count", "3", "--last"], ["--count", "3", "17"], ["--since", "10m", "--refused-by", "nogate"],
    ["--last", "--refused-by", "nogate"], [],
])
def test_what_cannot_be_asked_is_a_usage_error(words: list[str], run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2, with what there is instead, as a JSON object under -o json."""
    assert_fits("error", asked(capsys, run_dir, *words, code=2))


def test_the_running_daemon_answers(run_dir: Path, view: FakeView, capsys: pytest.CaptureFixture[str]) -> None:
    """All that it keeps, one instrument of it, one gate of it; without a ledger no changes of state."""
    found = asked(capsys, run_dir, "--since", "999999999d")
    assert_fits("why", found)
    assert (found["source"], found["decided"], found["states"]) == ("the running daemon", len(view.decision_rows), None)
    assert {row["gate"] for row in found["gates"]} == {"spread", "position_size"}
    assert asked(capsys, run_dir, "--since", "1d", "--instrument", "btc/usd")["instrument"] == "BTC/USD"
    for name in ("2", "spread", "Spread"):
        of_one = asked(capsys, run_dir, "--since", "999999999d", "--refused-by", name)
        assert [row["gate"] for row in of_one["gates"]] == ["spread"]
    assert "XRP/USD is no instrument" in asked(capsys, run_dir, "--since", "1d", "--instrument", "XRP/USD", code=1)["message"]


def test_neither_daemon_nor_ledger_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, with both places looked at."""
    message = asked(capsys, tmp_path, "--since", "10m", code=1)["message"]
    assert "cstd.sock" in message and "ledger.db" in message


@pytest.mark.parametrize("words", [["--last"], ["--since", "10m"]])
def test_an_unknown_gate_is_said_before_a_daemon_is_asked(tmp_path: Path, words: list[str],
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 with those that there are, whether or not anybody listens."""
    told = asked(capsys, tmp_path, *words, "--refused-by", "nogate", code=2)
    assert told["message"] == "nogate is no gate" and "2 spread" in told["suggestion"]


def test_a_ledger_that_cannot_be_read_takes_nothing_from_the_daemons_answer(run_dir: Path,
                                                                            capsys: pytest.CaptureFixture[str]) -> None:
    """The daemon's answer on stdout, exit 0, and one line that says what could not be read; without a daemon it is the error."""
    (run_dir / "ledger.db").write_bytes(b"no database" * 1_000)
    assert main(["why", "--since", "999999999d", "--run-dir", str(run_dir)]) == 0
    told = capsys.readouterr()
    assert "from the running daemon" in told.out
    (line,) = told.err.splitlines()
    assert "the daemon's answer alone" in line and "ledger.db cannot be read: file is not a database" in line
    (run_dir / "cstd.sock").rename(run_dir / "elsewhere")
    assert "not a database" in asked(capsys, run_dir, "--since", "10m", code=1)["message"]


def test_a_run_directory_that_may_not_be_looked_into_is_one_line(run_dir: Path, monkeypatch: pytest.MonkeyPatch,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the daemon's answer, or as the error where none answers; never a traceback."""
    def denied(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", denied)
    assert main(["why", "--since", "1d", "--run-dir", str(run_dir)]) == 0
    assert "Permission denied" in capsys.readouterr().err
    for kept in ("journal", "ledger.db"):
        monkeypatch.setattr(Path, "exists", lambda path, kept=kept: denied(path) if path.name == kept else False)
        message = asked(capsys, run_dir / "nobody", "--since", "1d", code=1)["message"]
        assert f"{kept} cannot be looked at: Permission denied" in message


def test_an_instrument_that_the_ledger_has_no_decision_of_is_no_error(run_dir: Path, view: FakeView,
                                                                      capsys: pytest.CaptureFixture[str]) -> None:
    """The daemon's counts, and the ledger's fills; without a daemon zero for what is configured."""
    database = LedgerDatabase(run_dir / "ledger.db")
    database._connection.execute("INSERT INTO boots VALUES (1, 1, 1, 'practice', '', '', '', ?)",
                                 (json.dumps({"instruments": {"names": ["BTC/USD", "ETH/USD"]}}),))
    database.close()
    del view.decision_rows[39:]  # all that it has seen is kept
    found = asked(capsys, run_dir, "--since", "999999999d", "--instrument", "eth/usd")
    assert (found["source"], found["fills"], found["states"]) == ("the running daemon", 0, [])
    assert found["decided"] > 0
    (run_dir / "cstd.sock").rename(run_dir / "elsewhere")
    found = asked(capsys, run_dir, "--since", "1d", "--instrument", "eth/usd")
    assert (found["instrument"], found["decided"]) == ("ETH/USD", 0)


@pytest.mark.parametrize("complete", [True, False])
def test_the_ledger_answers_for_what_the_daemon_has_forgotten(run_dir: Path, complete: bool, monkeypatch: pytest.MonkeyPatch,
                                                              view: FakeView, capsys: pytest.CaptureFixture[str]) -> None:
    """Counts are the daemon's while it remembers the whole span, else the ledger's; the state is the daemon's either way."""
    (run_dir / "ledger.db").touch()
    monkeypatch.setattr(why, "from_ledger", lambda *_args: dict(EMPTY))
    told = view.refusals
    monkeypatch.setattr(view, "refusals", lambda **words: told(**words) | {"complete": complete})
    found = asked(capsys, run_dir, "--since", "10m")
    assert (found["source"], found["state"]) == ("the running daemon" if complete else "/x/ledger.db", "ready")
    assert (found["fills"], len(found["states"])) == (2, 1)


def test_the_ledger_is_beside_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the run directory that the socket is in, also where its journal is a link; else of the one in the environment."""
    state, run_dir = tmp_path / "state", tmp_path / "run"
    (state / "journal").mkdir(parents=True)
    run_dir.mkdir()
    (run_dir / "journal").symlink_to(state / "journal")
    assert why.ledger_path(run_dir / "cstd.sock") == state / "ledger.db"
    monkeypatch.setenv("CSTD__RUN__DIR", str(run_dir))
    assert why.ledger_path(tmp_path / "elsewhere" / "s") == state / "ledger.db"


def test_several_decisions(run_dir: Path, view: FakeView, capsys: pytest.CaptureFixture[str]) -> None:
    """--count gives the newest, newest first, of an instrument or a gate where one is named; a line each as a table."""
    rows = asked(capsys, run_dir, "--count", "5")
    assert rows == view.decision_rows[:5]
    assert {row["instrument"] for row in asked(capsys, run_dir, "--count", "3", "--instrument", "ETH/USD")} == {"ETH/USD"}
    refused = asked(capsys, run_dir, "--count", "20", "--refused-by", "spread")
    assert {row["first_failing"] for row in refused} == {"spread"}
    assert main(["why", "--count", "5", "--run-dir", str(run_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["decided_utc", "intent_seq"] and len(lines) == 6


def test_text(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal gets the span, the source, the counts, a line for each gate, and what is not known."""
    assert main(["why", "--since", "999999999d", "--run-dir", str(run_dir)]) == 0
    told = capsys.readouterr().out
    assert "state ready" in told and " refused" in told
    assert any(line.split()[:1] == ["spread"] and "over limit" in line for line in told.splitlines())
    quiet = why.text(EMPTY)
    assert "what was before 1970-01-01 00:00:00.000 is not known there" in quiet
    assert "state halted: disk" in quiet and "ready -> halted: disk" in quiet and "no gate has refused anything" in quiet
