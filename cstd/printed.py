"""What a command prints: a row as a line of JSON or name and value by line, and rows in columns."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence


def print_row(row: Mapping[str, object], output: str) -> None:
    """Print a row to stdout as `-o` says; in the table a list is its words, and what is not known a dash."""
    if output == "json":
        sys.stdout.write(json.dumps(row) + "\n")
        return
    width = max(map(len, row))
    sys.stdout.writelines(f"{name:<{width}}  {_shown(value)}\n" for name, value in row.items())


def one_line(text: str) -> str:
    """Return a text without what would begin another line or speak to the terminal: blanks stand for it."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines whose columns are aligned; a row is a line, whatever somebody wrote into a cell."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return one_line(" ".join(value) if isinstance(value, list) else str(value))
