"""docs/where-did-it-go.md leaves no number out, and what it names exists."""

from __future__ import annotations

import re
from itertools import groupby

import documents as docs
import pytest

PAGE = docs.ROOT / "docs" / "where-did-it-go.md"
TEXT = PAGE.read_text("utf-8")
STATES = ("built", "partly", "not built yet", "nothing to build")
CHAPTERS = range(1, 15)
# The last number of each chapter of the founding documents: what they count, no row of ours may shorten.
LAST = ("1.10", "2.4", "3.10", "4", "5.12", "6.7", "7.6", "8 gate 7", "9 gate 8", "9.6", "10.5", "11.3", "12.7", "13.6", "14")


def rows(part: str) -> list[list[str]]:
    """The cells of every row below a heading of the first level, headings of tables left out."""
    body = TEXT.partition(f"\n# {part}\n")[2].partition("\n# ")[0]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines() if line.startswith("|")]
    return [row for row in found if row[-1] != "state" and set(row[0]) != {"-"}]


SYSTEMS, NAMES = rows("Systems"), rows("Old names")


def parts(number: str) -> tuple[int, str, int]:
    """A number as chapter, kind and place: `8 gate 2`, `9.1`, `4`."""
    found = re.fullmatch(r"(\d+)(?:(\.| gate )(\d+))?", number)
    assert found, number
    return int(found[1]), found[2] or "", int(found[3] or 0)


def test_no_number_is_left_out() -> None:
    """Chapters 1 to 14 are there, and within each the numbers and the gates count up from 1 to its last."""
    numbers = [parts(row[0]) for row in SYSTEMS]
    assert len(set(numbers)) == len(numbers)
    assert sorted({chapter for chapter, _, _ in numbers}) == list(CHAPTERS)
    last = []
    for key, group in groupby(sorted(numbers), key=lambda number: number[:2]):
        places = [place for _, _, place in group]
        assert places == (list(range(1, len(places) + 1)) if key[1] else [0]), key
        last.append((*key, places[-1]))
    assert sorted(map(parts, LAST)) == last


@pytest.mark.parametrize("row", SYSTEMS + NAMES, ids=[row[0] for row in SYSTEMS + NAMES])
def test_a_row_says_where_or_why_not(row: list[str]) -> None:
    """What is built names a file, a command, a key or a metric; the rest says in words what is missing."""
    where, state = row[-2:]
    assert state in STATES
    assert where
    names_something = bool(re.search(r"\]\(|`", where))
    words = re.sub(r"\[[^\]]*\]\([^)]*\)|`[^`]*`|\([^)]*\)", "", where)
    if state in ("built", "partly"):
        assert names_something
    if state != "built":
        assert len(re.findall(r"[a-z]{2,}", words)) >= 2


@pytest.mark.parametrize("row", SYSTEMS, ids=[row[0] for row in SYSTEMS])
def test_a_system_is_named_in_few_words(row: list[str]) -> None:
    """A system has a name of at most eight words."""
    assert 0 < len(row[1].split()) <= 8


@pytest.mark.parametrize("row", SYSTEMS + NAMES, ids=[row[0] for row in SYSTEMS + NAMES])
def test_what_a_row_names_exists(row: list[str]) -> None:
    """Each span of code is a command, a make target, a key or a metric, and exists; links are tested with all other pages."""
    for span in re.findall(r"`([^`]+)`", row[-2]):
        if span.startswith("cstd "):
            assert docs.wrong_commands(span) == [], span
        elif span.startswith("make "):
            assert docs.wrong_targets(span) == [], span
        elif span.startswith("cstd_"):
            assert docs.wrong_metrics(span) == [], span
        else:
            assert docs.is_key(span), span


def test_each_old_name_is_there_once() -> None:
    """No name stands twice."""
    names = [row[0] for row in NAMES]
    assert len(set(names)) == len(names) > 50
