"""The account's value in units where it is shown: the command, the status port, the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cstd.cli.app import main
from cstd.ledger.performance import PARTS
from cstd.projector.database import LedgerDatabase, Row
from cstd.storage.journal_files import Head
from tests.ops.fake_view import FakeView
from tests.ops.running import reader_of
from tests.ops.test_execution import eventually
from tests.schemas import assert_fits

DAY_NS = 86_400 * 10**9


def made(run_dir: Path, *, series: int = 1, rows: int = 3) -> None:
    """A ledger with looks at 1, 2 and 3 days since 1970: a deposit of 500 on the second, ten of alpha and a fee on the third."""
    (run_dir / "journal").mkdir()
    database = LedgerDatabase(run_dir / "ledger.db")
    moves = [("1000", "1000", "1.000000000000", 1, {}), ("1500", "1500", "1.000000000000", 1, {"flows": "500"}),
             ("1509.5", "1500", "1.006333333333", series, {"flows": "500", "alpha": "10", "fees": "-0.5"})]
    looks = [Row("performance", (number, number * DAY_NS, "USD", nav, units, per_unit, of,
                                 *(parts.get(name, "0") for name in PARTS), "0", "{}"))
             for number, (nav, units, per_unit, of, parts) in enumerate(moves[:rows], 1)]
    database.write(looks, Head(1, 1, 1, 10, bytes(16), bytes(32)))
    database.close()


def asked(run_dir: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """What the command prints."""
    assert main(["performance", "--run-dir", str(run_dir), *words, "-o", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert_fits("performance", found)
    return found


def test_the_command_tells_the_change_and_its_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Since the beginning, and since a time: from the last look before it."""
    made(tmp_path)
    found = asked(tmp_path, capsys)
    assert (found["nav_before"], found["nav"], found["change"], found["return_bps"]) == ("1000", "1509.5", "509.5", "63.333")
    assert {name: part for name, part in found["parts"].items() if part != "0"} == {"flows": "500", "alpha": "10", "fees": "-0.5"}
    since = asked(tmp_path, capsys, "--since", "1970-01-03T12:00:00Z")
    assert (since["nav_before"], since["change"], since["parts"]["flows"], since["unexplained"]) == ("1500", "9.5", "0", "0")
    assert main(["performance", "--run-dir", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "a unit is worth 1.006333333333, before 1.000000000000: 63.333 bps; 1500 units" in told
    assert "prices of what is managed" in told and "report it" not in told


def test_no_return_is_given_across_units_that_began_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was before is another series."""
    made(tmp_path, series=2)
    assert asked(tmp_path, capsys)["return_bps"] is None
    assert main(["performance", "--run-dir", str(tmp_path)]) == 0
    assert "or they began anew" in capsys.readouterr().out


def test_without_a_look_or_a_ledger_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1 and what to do, never a zero that looks like a figure."""
    assert main(["performance", "--run-dir", str(tmp_path)]) == 1
    assert "there is no" in capsys.readouterr().err
    made(tmp_path, rows=0)
    assert main(["performance", "--run-dir", str(tmp_path)]) == 1
    assert "not looked at yet" in capsys.readouterr().err


def test_a_ledger_that_holds_something_else_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a traceback."""
    made(tmp_path, rows=1)
    database = LedgerDatabase(tmp_path / "ledger.db")
    database.write([Row("performance", (2, DAY_NS, "USD", "many", "1", "1", 1, *("0" for _ in PARTS), "0", "{}"))],
                   Head(1, 1, 1, 11, bytes(16), bytes(32)))
    database.close()
    assert main(["performance", "--run-dir", str(tmp_path)]) == 1
    assert "holds what no ledger of cstd does" in capsys.readouterr().err


def test_port_and_page_show_it(browser: Any, tmp_path: Path) -> None:
    """Why there is none, then the figure beside the equity."""
    with reader_of(tmp_path, FakeView()) as reader:
        reader.keep_publishing()
        seen = eventually(lambda: reader.get_stale("/api/v1/performance").json(),
                          lambda seen: "projector" in (seen["reason"] or ""), 60)
        assert seen["performance"] is None
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(reader.url)
        made(tmp_path)
        page.locator("#money-facts", has_text="1.006333333333").wait_for(timeout=60_000)
        assert not said
        assert reader.get_stale("/api/v1/performance").json()["performance"]["nav"] == "1509.5"
