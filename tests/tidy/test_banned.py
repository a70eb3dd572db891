"""Banned calls: what decides reads no clock, no random source, no environment and no file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

# Packages whose outcome must be a function of (configuration, ordered events).
PURE = ("_fast", "engine", "decision", "orders", "ledger", "market")
CALLS = ("time.", "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "random.", "secrets.", "uuid.",
         "os.environ", "os.getenv", "os.urandom")
BUILTINS = ("open", "input", "print")
MODULES = ("time", "random", "secrets", "uuid")

EXCEPTIONS = {  # with the reason of each
    "_fast/journal.pyx": "the journal's writer is I/O by purpose; the engine only appends to its ring",
    "_fast/journal_scan.pyx": "reads segment files back; no part of the engine",
}
# Cython sees C as well: clocks and random sources that are not Python names. The cycle counter is for stage timers.
C_CALLS = re.compile(r"\b(clock_gettime|gettimeofday|rand|srand|random|drand48|getrandom|getenv|fopen|time)\s*\(")
PYTHON_CALLS = re.compile(r"\b(time\.\w+|random\.\w+|os\.environ|os\.getenv|os\.urandom|datetime\.now|open)\s*[\(\[]")


def pure_sources(repository: Path, *suffixes: str) -> Iterator[Path]:
    """Yield the files of the packages that decide."""
    for package in PURE:
        for path in sorted((repository / "cstd" / package).rglob("*")):
            if path.suffix in suffixes:
                yield path


def banned_in_python(source: str) -> list[str]:
    """Return the banned calls and imports of a Python module, with their lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
            found.append(f"{node.lineno}: {node.func.id}()")
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if any(name == banned or (banned.endswith(".") and name.startswith(banned)) for banned in CALLS):
                found.append(f"{node.lineno}: {name}")
        elif isinstance(node, ast.Import):
            found += [f"{node.lineno}: import {alias.name}" for alias in node.names if alias.name in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            found.append(f"{node.lineno}: from {node.module} import")
    return found


def code_only(text: str) -> str:
    """Return Cython or C without comments and texts."""
    text = re.sub(r'""".*?"""', "", text, flags=re.DOTALL)
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"(#(?!include|define|if|endif|else)|//).*", "", text)
    return re.sub(r'"(\\.|[^"\\\n])*"', '""', text)


def test_python_that_decides_is_pure(repository: Path) -> None:
    """No clock, random source, environment or file in engine, decision, orders, ledger, market and _fast."""
    broken = {str(path.relative_to(repository)): found for path in pure_sources(repository, ".py")
              if (found := banned_in_python(path.read_text("utf-8")))}
    assert broken == {}


def test_cython_that_decides_is_pure(repository: Path) -> None:
    """The same for the compiled core and the C headers it includes, the journal's writer apart."""
    broken = {}
    for path in pure_sources(repository, ".pyx", ".pxd", ".h", ".c"):
        name = str(path.relative_to(repository / "cstd"))
        found = C_CALLS.findall(code_only(path.read_text("utf-8"))) + PYTHON_CALLS.findall(code_only(path.read_text("utf-8")))
        if found and name not in EXCEPTIONS and not path.name.startswith("journal_writer"):
            broken[name] = found
    assert broken == {}


def test_protocol_machines_read_no_clock(repository: Path) -> None:
    """Kraken's protocol machines are given the time; only links, nonces and attempts at the edge may touch one, or a file."""
    edge = {"link.py", "links.py", "nonce.py", "attempts.py", "connector.py", "rest_link.py"}
    broken = {path.name: found for path in sorted((repository / "cstd/venue").glob("*.py")) if path.name not in edge
              and (found := banned_in_python(path.read_text("utf-8")))}
    assert broken == {}


@pytest.mark.parametrize("source", ["import time\ntime.time()", "from random import random", "os.environ['X']",
                                    "open('x')", "datetime.now(UTC)", "import secrets"])
def test_the_check_sees_each_kind(source: str) -> None:
    """A planted call is found."""
    assert banned_in_python(source)


def test_a_skip_says_what_is_lacking_and_fails_where_it_is_required(repository: Path) -> None:
    """Tests are skipped by tests/needs.py alone, which fails under CI=true; no mark, no import that may be missing."""
    skips = re.compile(r"pytest\.(skip|xfail|importorskip)\(|from pytest import|mark\.(skip|skipif|xfail)\b|unittest\.skip")
    found = [f"{path.relative_to(repository)}: {line.strip()}" for folder in ("tests", "bench")
             for path in sorted((repository / folder).rglob("*.py")) if path.name != "needs.py" and path != Path(__file__)
             for line in path.read_text().splitlines() if skips.search(line)]
    assert found == []
