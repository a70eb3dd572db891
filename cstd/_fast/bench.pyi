"""Types of the bench driver, see bench.pyx."""

from typing import Any

import numpy as np

from cstd._fast.core import Core

def drive(
    core: Core, frames: list[Any], mono_ns: int, wall_ns: int, step_ns: int, pause_ns: int = ...,
    swept_bytes: int = ...,
) -> tuple[np.ndarray[Any, np.dtype[np.uint64]], np.ndarray[Any, np.dtype[np.uint64]]]: ...

def drive_pulled(
    core: Core, frames: list[Any], mono_ns: int, wall_ns: int, step_ns: int,
) -> np.ndarray[Any, np.dtype[np.uint64]]: ...

def counted(
    core: Core, frames: list[Any], mono_ns: int, wall_ns: int, step_ns: int, swept_bytes: int = ...,
) -> tuple[np.ndarray[Any, np.dtype[np.uint64]], np.ndarray[Any, np.dtype[np.uint64]]]: ...
