"""docs/regressions.md names a test for each of the cases that it must name, and each test is there."""

from __future__ import annotations

import re
from functools import cache

import documents as docs
import pytest

PAGE = docs.ROOT / "docs" / "regressions.md"
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("| ")][1:]
CASES = (
    "A subscription is acknowledged and delivers nothing",
    "the acknowledgement is lost and the order filled",
    "an error is returned and the order went through",
    "a fast fill is never in open orders",
    "an executions update lacks its symbol",
    "one book frame carries both sides",
    "an update lies outside the depth",
    "a snapshot holds a zero quantity",
    "an enum value is unknown",
    "more trades arrive than the dedupe table holds",
    "a `cl_ord_id` of 18 characters",
    "a crossed book with a good checksum",
    "restart with an open order",
    "a position is closed elsewhere",
    "a `cl_ord_id` refused as duplicate after its first order filled",
    "REST history lags 60 s behind a fill",
    "`trade` then `filled` arrive for one fill",
    "an order by quote quantity ends",
    "XBT/BTC and XDG/DOGE names",
    "the token expires while an order is out",
    "502 or timeout on AddOrder",
    "a nonce error after restart",
    "many calls leave the limiter at once and the nonces must stay in order",
    "kill while the profit computation raises",
    "a crash loop must not reset the day loss",
    "a deposit and a withdrawal during the day",
    "dust after a partial exit",
    "a symbol is renamed with an order out and a position held",
    "another program, or a person, trades on the account",
    "the account has open margin positions at the start",
)


@cache
def names_in(path: str) -> set[str]:
    """Names of the tests of a file."""
    return set(re.findall(r"^def (test_\w+)\(", (docs.ROOT / path).read_text("utf-8"), re.MULTILINE))


def test_every_case_has_its_row() -> None:
    """No case is left out, none is there twice."""
    assert [row[0] for row in ROWS] == list(CASES)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_named_tests_exist(row: list[str]) -> None:
    """Each row names at least one test, in the file that its link leads to."""
    named = re.findall(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)", row[1])
    assert named and len(named) == row[1].count("](")
    assert [name for name, path in named if name not in names_in(path)] == []
