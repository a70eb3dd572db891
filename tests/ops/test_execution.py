"""Execution quality where it is shown: the command, the status port, the metrics, the page."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cstd.cli.app import main
from cstd.ops.execution import sight_of
from cstd.storage.run_dir import LEDGER_SCHEMA
from tests.ops import ledgers
from tests.ops.fake_view import FakeView
from tests.ops.running import RunningReader, reader_of
from tests.schemas import assert_fits


def eventually(read: Callable[[], Any], holds: Callable[[Any], bool], seconds: float = 30.0) -> Any:
    """Read until it holds."""
    until_s = time.monotonic() + seconds
    while not holds(found := read()):
        assert time.monotonic() < until_s, found
        time.sleep(0.1)
    return found


def quality(reader: RunningReader) -> Any:
    """What the status port says once it has read the ledger."""
    return eventually(lambda: reader.get("/api/v1/execution").json(), lambda seen: seen["quality"] is not None)["quality"]


def test_the_command_prints_what_the_ledger_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Figures by hand: 10 bps of price, 5 of fees, 10 for us after a minute; one of three resting orders was not filled."""
    ledgers.made(tmp_path)
    assert main(["execution", "--run-dir", str(tmp_path), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert_fits("execution", found)
    means = {name: found[name]["mean_bps"] for name in ("price", "fees", "shortfall", "score")}
    assert means == {"price": "10.000", "fees": "5.000", "shortfall": "15.000", "score": "5.000"}
    assert [(row["horizon_s"], row["n"], row["unknown"], row["reasons"]) for row in found["markouts"]] == [
        (1, 2, 0, {}), (10, 2, 0, {}), (60, 2, 0, {}), (300, 0, 2, {"stale": 2})]
    classes = {row["ahead"]: row for row in found["queue"]}
    assert {key: classes["up to 3"][key] for key in ("orders", "filled", "partly", "share", "low", "high")} == {
        "orders": 3, "filled": 2, "partly": 0, "share": "0.6667", "low": "0.2077", "high": "0.9385"}
    assert sum(row["orders"] for row in found["queue"]) == 3 and classes["nothing"]["share"] is None
    assert [row["cl_ord_id"][-1] for row in found["newest"]] == ["1", "0"]


def test_the_command_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of figures with why some are unknown, and with --orders a line for each order."""
    ledgers.made(tmp_path)
    assert main(["execution", "--run-dir", str(tmp_path), "--instrument", "btc/usd", "--since", "1h"]) == 0
    told = capsys.readouterr().out
    assert "3 orders of BTC/USD decided since" in told and "2 with a fill" in told and "2 stale" in told
    assert "0.2077 to 0.9385" in told
    assert main(["execution", "--run-dir", str(tmp_path), "--orders", "1"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[-1] == "score" and line.split()[-6:] == ["15.000", "-10.000", "-10.000", "-10.000", "-", "5.000"]


def test_the_session_is_the_default_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    """Without --run-dir the configured run directory's ledger is read."""
    ledgers.made(tmp_path)
    monkeypatch.setenv("CSTD__RUN__DIR", str(tmp_path))
    assert main(["execution", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["orders"] == 3


@pytest.mark.parametrize("words", [["--since", "soon"], ["--orders", "0"], ["--since", "2026-13-02"]])
def test_what_cannot_be_asked_is_a_usage_error(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 with what there is instead."""
    ledgers.made(tmp_path)
    assert main(["execution", "--run-dir", str(tmp_path), *words, "-o", "json"]) == 2
    assert_fits("error", json.loads(capsys.readouterr().err))


def test_no_ledger_and_another_schema_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 1, with the file and the way out."""
    assert main(["execution", "--run-dir", str(tmp_path), "-o", "json"]) == 1
    assert "ledger.db" in json.loads(capsys.readouterr().err)["message"]
    connection = sqlite3.connect(ledgers.made(tmp_path))
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    assert main(["execution", "--run-dir", str(tmp_path), "-o", "json"]) == 1
    told = json.loads(capsys.readouterr().err)
    assert "schema 1" in told["message"] and "db rebuild" in told["suggestion"]


@pytest.mark.parametrize("damage", ["UPDATE fills SET price = 'much'", "UPDATE fills SET cost = ''", "DELETE FROM fills",
                                    "UPDATE fills SET qty_raw = 0"])
def test_a_ledger_with_wrong_rows_is_said_and_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    """One line of the command; in the reader a reason, and the figures again once the ledger was made anew."""
    path = ledgers.made(tmp_path)
    sight = sight_of(path)
    connection = sqlite3.connect(path, isolation_level=None)
    sound = list(connection.iterdump())
    connection.execute(damage)
    sight.look(time.time_ns())
    assert "holds what no ledger" in (sight.seen()[1]["reason"] or "")
    assert main(["execution", "--run-dir", str(tmp_path), "-o", "json"]) == 1
    assert "db rebuild" in json.loads(capsys.readouterr().err)["suggestion"]
    connection.close()
    path.unlink()
    with sqlite3.connect(path) as anew:
        anew.executescript(";".join([*sound, f"PRAGMA user_version = {LEDGER_SCHEMA}"]))
    sight.look(time.time_ns())
    assert sight.seen()[1]["reason"] is None


def test_the_status_port_shows_it_and_says_why_not(tmp_path: Path) -> None:
    """Without a ledger there is a reason and no figure, in answers and in metrics; with one the figures of the command."""
    with reader_of(tmp_path, FakeView()) as reader:
        seen = eventually(lambda: reader.get("/api/v1/execution").json(), lambda seen: "projector" in (seen["reason"] or ""))
        assert seen["quality"] is None
        assert b"cstd_execution" not in reader.get("/metrics").body
        ledgers.made(tmp_path)
        found = quality(reader)
        assert (found["orders"], found["score"]["mean_bps"], found["cut"]) == (3, "5.000", False)
        metrics = reader.get("/metrics").body.decode()
        for line in ('cstd_execution_score_ratio{of="mean"} 0.0005', 'cstd_execution_markouts_unknown{horizon="300s"} 2.0',
                     'cstd_execution_resting_orders_filled{ahead="up to 3"} 2.0', "cstd_execution_orders 3.0"):
            assert line in metrics, line
        assert 'cstd_execution_markout_ratio{horizon="300s"}' not in metrics


def test_the_page_shows_it(browser: Any, tmp_path: Path) -> None:
    """Figures, classes and orders; before there is a ledger, why there is nothing. Nothing is wider than a phone."""
    view = FakeView()
    with reader_of(tmp_path, view) as reader:
        reader.keep_publishing()
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(reader.url)
        page.locator("#execution-figures", has_text="there is no").wait_for(timeout=30_000)
        assert page.locator("#execution-queue tbody").count() == 0
        ledgers.made(tmp_path)
        page.locator("#execution-count", has_text="3 orders, 2 fills").wait_for(timeout=30_000)
        rows = {row.split("\t")[0]: row.split("\t")[1:] for row in page.locator("#execution-figures tbody tr").all_inner_texts()}
        assert rows["Shortfall"] == ["15.00", "15.00", "15.00", "2", "0"]
        assert rows["Markout after 60 s"][0] == "−9.99"
        assert rows["Markout after 300 s"] == ["–", "–", "–", "0", "2 stale"]
        assert "66.7 %\t20.8 % to 93.8 %" in page.locator("#execution-queue tbody tr").all_inner_texts()[2]
        assert page.locator("#execution-orders tbody tr").count() == 2
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(500)
        assert page.locator("html").evaluate("node => node.scrollWidth") <= 390
        page.close()
    assert [text for text in said if "ERR_CONNECTION_REFUSED" not in text] == []
