"""What a child process owes its parent: to end with it, and to leave it the processor."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable

from cstd.errors import EXIT_FAILURE, EXIT_OK, CstdError, OperatorError

PR_SET_PDEATHSIG = 1
IOPRIO_CLASS_IDLE = 3 << 13
IOPRIO_SET = {"x86_64": 251, "aarch64": 30}  # numbers of the system call, which libc has no name for


def end_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent ends. Fit for `preexec_fn`: it outlives an exec."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def follow_parent(parent_pid: int) -> None:
    """End by SIGTERM when the parent does, however early it did.

    Raises:
        OperatorError: it is gone already, and nobody would send the signal.
    """
    end_with_parent(signal.SIGTERM)
    if os.getppid() != parent_pid:
        raise OperatorError(f"the parent process {parent_pid} is gone")


def stand_back() -> None:
    """Run when nothing else wants to: idle scheduling, nice 19, idle I/O. What the host does not permit is left."""
    with contextlib.suppress(OSError):
        os.nice(19)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    number = IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, IOPRIO_CLASS_IDLE)


def exit_code_of(name: str, work: Callable[[], None]) -> int:
    """Do a child's work and return its exit code; what went wrong is a line on stderr, which the parent's log takes up."""
    try:
        work()
    except CstdError as error:
        sys.stderr.write(f"cstd {name}: {error.message}{'; ' if error.suggestion else ''}{error.suggestion}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"cstd {name}: {error}\n")
        return EXIT_FAILURE
    return EXIT_OK
