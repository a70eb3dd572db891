"""Sizes: functions of at most 70 lines, modules of at most 600. An exception stands here with its reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 600
SUFFIXES = (".py", ".pyx", ".pxd")

FUNCTION_EXCEPTIONS: dict[str, str] = {}
MODULE_EXCEPTIONS: dict[str, str] = {
    "cstd/venue/messages.py": "one short reader per message of the venue, in its protocol's order: a reference, not a flow",
}

HEAD = re.compile(r"^(\s*)(?:cpdef|cdef|def)\s+(?!class\b|enum\b|struct\b|extern\b|packed\b)[^=]*?(\w+)\s*\(")


def sources(repository: Path) -> Iterator[Path]:
    """Yield the program's source files."""
    for path in sorted((repository / "cstd").rglob("*")):
        if path.suffix in SUFFIXES:
            yield path


def python_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (name, lines) of each function, docstring excluded."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                length -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            yield node.name, length


def cython_functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield (name, lines) of each function with a body, by indentation."""
    lines = path.read_text("utf-8").splitlines()
    for start, line in enumerate(lines):
        head = HEAD.match(line)
        if not head:
            continue
        end = last = start
        depth = 0
        for number in range(start, len(lines)):
            text = lines[number]
            inside = depth > 0 or number == start or not text.strip() or text.startswith(head[1] + " ")
            if not inside:
                break
            depth += text.count("(") - text.count(")")
            end = number
            last = end if text.strip() else last
        yield head[2], last - start + 1


def test_functions_are_short(repository: Path) -> None:
    """No function is longer than 70 lines, and no exception is kept for one that is short now."""
    long = {f"{path.relative_to(repository)}:{name}": length for path in sources(repository)
            for name, length in (python_functions if path.suffix == ".py" else cython_functions)(path)
            if length > FUNCTION_LINES_MAX}
    assert long.keys() == FUNCTION_EXCEPTIONS.keys(), long


def test_modules_are_short(repository: Path) -> None:
    """No module is longer than 600 lines, and no exception is kept for one that is short now."""
    lengths = {str(path.relative_to(repository)): len(path.read_text("utf-8").splitlines()) for path in sources(repository)}
    long = {name: length for name, length in lengths.items() if length > MODULE_LINES_MAX}
    assert long.keys() == MODULE_EXCEPTIONS.keys(), long


def test_the_measure_counts_cython_functions(tmp_path: Path) -> None:
    """A cdef function with its head on two lines is measured to its last line."""
    path = tmp_path / "x.pyx"
    path.write_text("cdef class A:\n    cdef int f(self, int a,\n          int b) noexcept nogil:\n        return 1\n\n"
                    "    def g(self):\n        return 2\n")
    assert list(cython_functions(path)) == [("f", 3), ("g", 2)]
