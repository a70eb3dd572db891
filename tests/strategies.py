"""Strategies and agents of tests: the Python blocks of guides, and what is built from a source."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from cstd.signals.agents.build import build_strategy

ROOT = Path(__file__).parents[1]
SELFTEST_S = 300.0  # a second on a quiet host; half a minute was too little where many tests compile at once


def guide(document: str, heading: str = "") -> str:
    """The first Python block of a document, after a heading where one is named."""
    text = (ROOT / "docs" / document).read_text()
    return text[text.index(heading):].split("```python\n")[1].split("```")[0]


@contextlib.contextmanager
def ordinary_build() -> Iterator[None]:
    """Let compilers' children find the ordinary build of cstd.

    Under sanitizers this process has a build that loads with their libraries alone, and a compiler's child is given none.
    """
    if "LD_PRELOAD" not in os.environ:
        yield
        return
    others = [path for path in sys.path if not (Path(path) / "cstd").is_dir()]
    with mock.patch.object(sys, "path", others), contextlib.chdir("/"):
        yield


def built(place: Path, name: str, source: str) -> Path:
    """Write a strategy's source into a folder and build it; returns where the build is."""
    (place / f"{name}.py").write_text(source)
    with ordinary_build():
        build_strategy(place / f"{name}.py", place / "built", selftest_timeout_s=SELFTEST_S)
    return place / "built"
