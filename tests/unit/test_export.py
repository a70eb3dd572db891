"""`cstd export`: rows of the ledger as CSV, amounts as decimals, fees beside their fills."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from cstd.cli.app import main
from cstd.cli.export import TIMES
from cstd.cli.parser import EXPORTED
from cstd.errors import EXIT_FAILURE, EXIT_OK, EXIT_USAGE
from cstd.projector.database import TABLES, LedgerDatabase, Row
from cstd.storage.journal_files import Head
from tests.ops.ledgers import made


def rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, str]]:
    """What `cstd export` prints, by column."""
    assert main(["export", *words]) == EXIT_OK
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_orders_and_fills_are_decimals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many rows as there are, raw columns as plain decimals, no precision left, a fill with its fees."""
    made(tmp_path)
    orders = rows(capsys, "orders", "--run-dir", str(tmp_path))
    assert [(row["cl_ord_id"][-1], row["price"], row["qty"], row["filled"]) for row in orders] == [
        ("0", "100.10", "1.00000000", "1.00000000"), ("1", "100.10", "1.00000000", "1.00000000"),
        ("2", "100.10", "1.00000000", "0.00000000")]
    assert not [name for name in orders[0] if name.endswith(("_raw", "_precision"))]
    fills = rows(capsys, "fills", "--run-dir", str(tmp_path))
    assert [(row["exec_id"], row["qty"], row["price"], row["position_qty"], row["fees"]) for row in fills] == [
        ("T0", "1.00000000", "100.10", "0.00000000", "0.05 USD"), ("T1", "1.00000000", "100.10", "0.00000000", "0.05 USD")]
    assert fills[0]["utc"].endswith("Z")


@pytest.mark.parametrize("table", EXPORTED)
def test_every_table_can_be_exported(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also an empty one: then the line of names is all."""
    LedgerDatabase(tmp_path / "ledger.db").close()
    (tmp_path / "journal").mkdir()
    assert main(["export", table, "--run-dir", str(tmp_path)]) == EXIT_OK
    (names,) = capsys.readouterr().out.splitlines()
    assert names.startswith("utc,")
    assert table in TABLES and set(EXPORTED) == set(TIMES)


def test_a_span_begins_where_it_is_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the time it is in, a nanosecond before it is not; two fees of a fill are both told."""
    (tmp_path / "journal").mkdir()
    database = LedgerDatabase(tmp_path / "ledger.db")
    day_ns = 86_400 * 10**9
    database.write([
        *(Row("fills", (f"T{at}", at, "c", "O", at, "BTC/USD", "buy", "opening", None, "maker", 5, 8, "1", "1", 0, "0", "0"))
          for at in (day_ns - 1, day_ns)),
        Row("fees", (f"T{day_ns}", "BTC", "0.1")), Row("fees", (f"T{day_ns}", "USD", "0.2")),
    ], Head(1, 1, 1, 9, bytes(16), bytes(32)))
    database.close()
    found = rows(capsys, "fills", "--since", "1970-01-02", "--run-dir", str(tmp_path))
    assert [(row["exec_id"], row["fees"]) for row in found] == [(f"T{day_ns}", "0.1 BTC + 0.2 USD")]


def test_what_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No ledger: exit 1, with what makes one; a table that is not offered: exit 2."""
    assert main(["export", "fills", "--run-dir", str(tmp_path)]) == EXIT_FAILURE
    assert "db rebuild" in capsys.readouterr().err
    assert main(["export", "place", "--run-dir", str(tmp_path)]) == EXIT_USAGE
