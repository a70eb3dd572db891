"""`cstd statement`, around the comparison: which span, what is kept of a replay, and where the files go."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cstd.cli import statement
from cstd.cli.app import main
from cstd.cli.own_books import Session
from cstd.clock import utc_parse, utc_text
from cstd.errors import EXIT_OK, EXIT_USAGE, EXIT_VERIFICATION, OperatorError, UsageError
from cstd.ledger.statement import Span, canonical_bytes
from cstd.storage.journal_signature import KEY_NAME
from cstd.storage.statement_signature import prove
from tests.schemas import assert_fits

CONTENT = canonical_bytes({"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z", "differences": []})
SPAN = Span(utc_parse("2026-11-20T00:00:00Z"), utc_parse("2026-11-21T00:00:00Z"))


def span(now: str, began: str, **args: Any) -> tuple[str, str]:
    """The span of a statement that is asked for at a time, of a session that began at another; venues settle in 75 s."""
    session: Any = SimpleNamespace(began_ns=utc_parse(began), cfg=SimpleNamespace(venue=SimpleNamespace(unknown_absent_s=75)))
    found = statement._span(Namespace(**{"day": None, "from_": None, "to": None, **args}), session, utc_parse(now))
    return utc_text(found.from_ns)[:19], utc_text(found.to_ns)[:19]


@pytest.mark.parametrize(("now", "began", "expected"), [
    ("2026-11-21T00:20:00Z", "2026-11-01T12:00:00Z", ("2026-11-20T00:00:00", "2026-11-21T00:00:00")),
    ("2026-11-21T00:20:00Z", "2026-11-20T12:00:00Z", ("2026-11-20T12:00:00", "2026-11-21T00:00:00")),
    ("2026-11-21T00:01:15Z", "2026-11-01T12:00:00Z", ("2026-11-20T00:00:00", "2026-11-21T00:00:00")),
    ("2026-11-21T00:01:14Z", "2026-11-01T12:00:00Z", ("2026-11-19T00:00:00", "2026-11-20T00:00:00")),
])
def test_yesterday_is_the_last_day_that_is_over(now: str, began: str, expected: tuple[str, str]) -> None:
    """Whole at its end always, and as far back as the session reaches; a day that has not settled is not over."""
    assert span(now, began, day="yesterday") == expected


def test_a_session_that_began_today_has_no_yesterday() -> None:
    """There is nothing to state, and that is said; without a day named, the day under way is stated."""
    with pytest.raises(UsageError, match="nothing to state"):
        span("2026-11-21T00:20:00Z", "2026-11-21T00:10:00Z", day="yesterday")
    assert span("2026-11-21T00:20:00Z", "2026-11-20T12:00:00Z") == ("2026-11-21T00:00:00", "2026-11-21T00:18:45")


def test_orders_that_the_engine_forgets_are_kept() -> None:
    """The engine's history is bounded; each order is kept with the first look that found it ended."""
    session: Any = Session.__new__(Session)
    history: dict[str, dict[str, str]] = {}
    session._ended_orders, session._engine = {}, SimpleNamespace(tracker=SimpleNamespace(history=history))
    for look in range(4):
        for name in (f"{look}a", f"{look}b"):
            history[name] = {"cl_ord_id": name}
            if len(history) > 3:
                del history[next(iter(history))]
        session._keep_ended(look)
    assert {name: wall_ns for name, (_, wall_ns) in session._ended_orders.items()} == {
        f"{look}{letter}": look for look in range(4) for letter in "ab"}
    assert session._ended_orders["3b"][0] is history["3b"]  # a late fill is seen


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory with a journal's folder in it."""
    (tmp_path / "journal").mkdir()
    return tmp_path


def test_what_is_written_is_proven(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The key is made where there was none; `--verify` proves the file, and refuses it once a byte is another."""
    written = statement.write(state, SPAN, CONTENT)
    path = Path(written.file)
    assert path.name == "statement-20261120T000000Z-20261121T000000Z.json"
    assert prove(path, state / "journal" / "signer.pub").signed_by == written.signed_by
    assert {entry.name: entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()} == {
        path.name: 0o640, f"{path.name}.sha256": 0o640, f"{path.name}.sig": 0o640, "signer.pub": 0o644}
    assert main(["statement", "--verify", written.file, "-o", "json"]) == EXIT_OK
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["from"], told["differences"]) == (True, "2026-11-20T00:00:00Z", 0)
    path.write_bytes(CONTENT.replace(b"[]", b"[ ]"))
    assert main(["statement", "--verify", written.file, "-o", "json"]) == EXIT_VERIFICATION
    output = capsys.readouterr()
    assert (json.loads(output.out)["ok"], "another content" in output.err) == (False, True)
    assert_fits("statement", json.loads(output.out))
    assert "from a backup" in json.loads(output.out)["suggestion"]
    assert main(["statement", "--verify", written.file]) == EXIT_VERIFICATION
    output = capsys.readouterr()  # each thing once: what was asked about on stdout, why not and what to do on stderr
    assert [line.split() for line in output.out.splitlines()] == [["ok", "False"], ["file", written.file]]
    assert output.err.count("another content") == 1 and "`cstd statement --from TIME --to TIME`" in output.err
    for words in (["--verify", str(state / "absent.json")], ["--verify", written.file, "--key", written.file],
                  ["--verify", written.file, "--day", "yesterday"], ["--key", written.file]):
        assert main(["statement", *words]) == EXIT_USAGE


def test_equal_statements_are_equal_files(state: Path) -> None:
    """Made again, the file and its hash are the same bytes."""
    path = Path(statement.write(state, SPAN, CONTENT).file)
    before = [path.read_bytes(), path.with_name(f"{path.name}.sha256").read_bytes()]
    assert Path(statement.write(state, SPAN, CONTENT).file) == path
    assert [path.read_bytes(), path.with_name(f"{path.name}.sha256").read_bytes()] == before


def test_nobody_makes_the_daemons_key_for_it(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key made by another user could not be read by the daemon's projector: refused, and nothing is written."""
    owner = state.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(OperatorError, match="another user's"):
        statement.write(state, SPAN, CONTENT)
    assert [path.name for path in state.iterdir()] == ["journal"]
    monkeypatch.undo()
    statement.write(state, SPAN, CONTENT)
    assert (state / KEY_NAME).stat().st_mode & 0o777 == 0o600
