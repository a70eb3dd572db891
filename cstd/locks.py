"""Locks that one process holds for as long as it lives."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path
from typing import IO

from cstd.errors import OperatorError

LOOK_S = 0.05


def wait_for_lock(file: IO[bytes], wait_s: float, refusal: OperatorError) -> IO[bytes]:
    """Return the file with its lock held; the kernel frees it when the process dies.

    Args:
        file: open for writing; closed where the lock is not had.
        wait_s: how long whoever holds it may take to end.
        refusal: raised when it is held for longer.
    """
    until_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until_s:
                file.close()
                raise refusal from None
            time.sleep(LOOK_S)
        else:
            return file


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock of a file; nobody holds that of a file that is not there."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
