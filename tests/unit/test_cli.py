"""Command line: exit codes, JSON errors, what stdout may carry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cstd.cli.app import main, wants_json
from cstd.cli.parser import VERBS, default_socket, find_verb
from cstd.cli.practice import environment_ports
from cstd.cli.session import instruments_needed, new_run_dir
from cstd.config import template
from cstd.errors import (
    ConfigError,
    ConnectivityError,
    CstdError,
    InvariantError,
    OperatorError,
    UsageError,
    VenueRejectError,
    VerificationError,
)
from tests.ops.fake_view import FakeView
from tests.ops.running import admin_socket

PRACTICE = str(template("practice"))


@pytest.mark.parametrize(("words", "code"), [
    (["--help"], 0), (["--version"], 0), (["journal", "verify", "--help"], 0),
    ([], 2), (["stauts"], 2), (["config"], 2), (["run"], 2), (["run", "-c", PRACTICE, "--for", "-1"], 2),
    (["run", "-c", PRACTICE, "--fo", "1"], 2), (["replay"], 2), (["features", "--bars", "x", "-o", "yaml"], 2),
    (["config", "check", "-c", "no/such.toml"], 78), (["config", "show", "-c", "no/such.toml"], 78),
    (["config", "check", "-c", PRACTICE], 0), (["status", "--socket", "no/such.sock"], 1),
    (["practice", "--seed", "x"], 2),
])
def test_exit_codes(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """0 ok, 1 failure, 2 usage, 78 configuration; never a traceback, and no data on stdout when it failed."""
    assert main(words) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert bool(out) == (code == 0)


@pytest.mark.parametrize(("words", "category", "retryable"), [
    (["stauts", "-o", "json"], "usage", False), (["run", "-ojson"], "usage", False),
    (["config", "check", "-c", "no/such.toml", "--output=json"], "configuration", False),
    (["status", "--socket", "no/such.sock", "-o", "json"], "operator", False),
])
def test_json_errors(words: list[str], category: str, retryable: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """With -o json the last line of stderr is one object: error, message, retryable, suggestion."""
    assert main(words) != 0
    error = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert set(error) == {"error", "message", "retryable", "suggestion"}
    assert (error["error"], error["retryable"]) == (category, retryable)
    assert error["message"]
    assert error["suggestion"]


@pytest.mark.parametrize("words", [
    ["backup", "{there}/elsewhere", "--run-dir", "{closed}"], ["journal", "verify", "{closed}/journal"],
    ["replay", "{closed}/journal"], ["statement", "--run-dir", "{closed}"], ["restore", "{there}", "--run-dir", "{closed}/new"],
    ["execution", "--run-dir", "{closed}"], ["flight", "list", "--run-dir", "{closed}"],
], ids=lambda words: " ".join(words[:2]))
def test_what_may_not_be_read_is_one_line(words: list[str], tmp_path: Path) -> None:
    """Of somebody else's run directory: its name and why, exit 1 or 2; root without its privilege is somebody else."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    (tmp_path / "backup.json").touch(mode=0)
    command = [sys.executable, "-m", "cstd", *(word.format(closed=closed, there=tmp_path) for word in words), "-o", "json"]
    if os.getuid() == 0:
        command = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    closed.chmod(0o700)
    assert done.returncode in (1, 2) and done.stdout == "", done.stderr
    error = json.loads(done.stderr)
    assert "ermission denied" in error["message"] and str(tmp_path) in error["message"] and error["suggestion"]


def test_nearest_verb_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt verb gets the nearest one."""
    main(["positons"])
    assert "did you mean cstd positions?" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code", "retryable"), [
    (OperatorError("x"), 1, False), (UsageError("x"), 2, False), (ConfigError("x"), 78, False),
    (ConnectivityError("x"), 1, True), (VenueRejectError("x", code="EOrder:y"), 1, False),
    (InvariantError("x"), 1, False), (VerificationError("x", place={"file": "a"}), 3, False),
])
def test_errors_know_their_exit_code(error: CstdError, code: int, retryable: bool) -> None:
    """Whose fault it is decides the exit code and whether another try makes sense."""
    assert (error.exit_code, error.retryable, error.to_json()["message"]) == (code, retryable, "x")


@pytest.mark.parametrize("where", ["/dev/null", "/proc/session"])
def test_a_run_directory_that_cannot_be_one_is_named(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`cstd run` in a file, or where nothing can be made: what and why, exit 1, no traceback."""
    assert main(["run", "-c", "config/practice.toml", "--run-dir", where]) == 1
    told = capsys.readouterr().err
    assert f"the run directory {where} cannot be used: " in told and "--run-dir" in told and "Traceback" not in told


def test_the_base_error_is_abstract() -> None:
    """Nobody can raise an error that does not say whose fault it is."""
    with pytest.raises(TypeError):
        CstdError("x")


@pytest.mark.parametrize("verb", [v for v in VERBS if v.words != ("practice",)], ids=lambda verb: verb.name)
def test_every_listed_verb_exists(verb: object, capsys: pytest.CaptureFixture[str]) -> None:
    """Each verb has help, and a module that can be imported."""
    assert main([*verb.words, "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: cstd " + verb.name)
    __import__(verb.module)
    assert find_verb([*verb.words, "x"]) is verb


def test_help_imports_nothing_heavy() -> None:
    """`cstd --help` starts without numpy, msgspec, asyncio or any package of the verbs."""
    code = ("import sys; from cstd.cli.app import main; main(['--help']); "
            "print([m for m in ('numpy', 'msgspec', 'asyncio', 'numba', 'cstd.config', 'cstd.practice') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", [["why", "--last"], ["why", "--since", "10m"], ["status"], ["schema"]], ids=" ".join)
def test_quick_verbs_import_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    """What scripts call in a loop starts without numpy, msgspec, asyncio, SQLite or the compiled core."""
    socket = ["--socket", str(tmp_path / "s")] if words != ["schema"] else []
    code = (f"import sys; from cstd.cli.app import main; main({[*words, *socket]!r}); print([m for m in ('numpy', 'msgspec', "
            "'asyncio', 'sqlite3', 'rich', 'cstd.config', 'cstd._fast.codes') if m in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "[]"


def test_closed_pipe_is_no_traceback() -> None:
    """`cstd config show | head -1` ends quietly."""
    done = subprocess.run(f"{sys.executable} -m cstd config show -c {PRACTICE} | head -n 1", shell=True,
                          capture_output=True, text=True, check=True, timeout=30)
    assert (done.stdout, done.stderr) == (f'schema = 1  # {PRACTICE}\n', "")


def test_config_check_gives_limits_in_money(capsys: pytest.CaptureFixture[str]) -> None:
    """2 % of 10,000 is 200, and what would stop a start is listed."""
    assert main(["config", "check", "-c", PRACTICE, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["money"]["one position at most"], told["starts"]) == ("200", True)
    assert main(["config", "check", "-c", str(template("live")), "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["starts"] is False
    assert "account.exclusive" in {p["key"] for p in told["refusals"]}


def test_config_check_lists_all_problems_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems are data: key, value, limit, suggestion, file; exit 78."""
    monkeypatch.setenv("CSTD__RISK__POSITIONS_MAX", "0")
    monkeypatch.setenv("CSTD__POLICY__SPREAD_BPS_MAX", "0")
    assert main(["config", "check", "-c", PRACTICE, "-o", "json"]) == 78
    told = json.loads(capsys.readouterr().out)
    assert {(p["key"], p["file"]) for p in told["problems"]} == {
        ("risk.positions_max", "CSTD__RISK__POSITIONS_MAX"), ("policy.spread_bps_max", "CSTD__POLICY__SPREAD_BPS_MAX")}


def test_config_show_names_the_origin_of_each_key(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the environment changed says so."""
    monkeypatch.setenv("CSTD__RISK__POSITIONS_MAX", "3")
    assert main(["config", "show", "-c", PRACTICE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "risk.positions_max = 3  # CSTD__RISK__POSITIONS_MAX" in lines
    assert f"risk.silence_s = \"300\"  # {PRACTICE}" in lines


def test_json_is_recognised_in_every_spelling() -> None:
    """-o json, -ojson, --output json, --output=json."""
    assert all(map(wants_json, (["-o", "json"], ["-ojson"], ["--output", "json"], ["--output=json"])))
    assert not wants_json(["-o", "table", "json"])


def test_socket_follows_the_environment() -> None:
    """The admin verbs look where the daemon of the same environment listens."""
    assert default_socket({}) == ".run/current/cstd.sock"
    assert default_socket({"CSTD__RUN__DIR": "/run/cstd"}) == "/run/cstd/cstd.sock"
    assert default_socket({"CSTD__RUN__DIR": "/run/cstd", "CSTD__RUN__SOCKET": "/x.sock"}) == "/x.sock"


def test_practice_ports_come_from_the_environment() -> None:
    """CSTD__PRACTICE__..._PORT sets a port; what is unknown or no port is refused."""
    assert environment_ports({"OTHER": "1"}) == []
    assert environment_ports({"CSTD__PRACTICE__WS_PUBLIC_PORT": "9"}) == ["--ports", "0,9,0,0"]
    for name, value in (("REST_PORT", "70000"), ("REST_PORT", "x"), ("PORT", "1")):
        with pytest.raises(UsageError):
            environment_ports({f"CSTD__PRACTICE__{name}": value})


def test_sessions_get_directories_of_their_own(tmp_path: Path) -> None:
    """Two sessions of one second do not share a directory; `current` is the later one."""
    root = tmp_path / ".run"
    first, second = new_run_dir(root, 1_790_000_000_000_000_000), new_run_dir(root, 1_790_000_000_000_000_000)
    assert first != second
    assert (root / "current").resolve() == second.resolve()


def test_a_second_session_does_not_take_current_from_a_running_one(tmp_path: Path) -> None:
    """While a daemon answers in `current`, a new session is refused with its pid, and `current` still points to it."""
    running = new_run_dir(tmp_path, 1_790_000_000_000_000_000)
    with admin_socket(running / "cstd.sock", FakeView()), pytest.raises(OperatorError, match=f"daemon {os.getpid()}"):
        new_run_dir(tmp_path, 1_790_000_001_000_000_000)
    assert (tmp_path / "current").resolve() == running.resolve()
    assert new_run_dir(tmp_path, 1_790_000_001_000_000_000) != running


def test_a_directory_named_current_is_not_replaced(tmp_path: Path) -> None:
    """What is not a link of ours is left alone, with a clear error."""
    (tmp_path / "current").mkdir()
    with pytest.raises(OperatorError, match="not a link"):
        new_run_dir(tmp_path, 1_790_000_000_000_000_000)


def test_session_asks_for_the_instruments_it_needs() -> None:
    """The exchange gets as many instruments as the configuration names; one it does not have is refused."""
    assert instruments_needed(["BTC/USD"]) == 1
    assert instruments_needed(["ETH/USD", "BTC/USD"]) == 2
    with pytest.raises(UsageError, match="no NOSUCH/USD"):
        instruments_needed(["NOSUCH/USD"])
