"""Whether processes that tests harm are gone."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

ENDS_S_MAX = 30.0


def is_alive(pid: int) -> bool:
    """Whether a process runs: it is neither gone nor a zombie that nobody has waited for."""
    with contextlib.suppress(OSError):  # the file goes with the process
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def assert_ends(pid: int) -> None:
    """A process ends, soon."""
    until_s = time.monotonic() + ENDS_S_MAX
    while is_alive(pid):
        assert time.monotonic() < until_s, f"{pid} lives"
        time.sleep(0.02)
