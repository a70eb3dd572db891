"""Standing back: a process that runs when nothing else wants the processor or the disk."""

from __future__ import annotations

import contextlib
import ctypes
import os

IOPRIO_CLASS_IDLE = 3 << 13
IOPRIO_SET = {"x86_64": 251, "aarch64": 30}  # numbers of the system call, which libc has no name for


def stand_back() -> None:
    """Run when nothing else wants to: idle scheduling, nice 19, idle I/O. What the host does not permit is left."""
    with contextlib.suppress(OSError):
        os.nice(19)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    number = IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, IOPRIO_CLASS_IDLE)
