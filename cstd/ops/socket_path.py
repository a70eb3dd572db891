"""Addresses of Unix sockets whose path is longer than the kernel takes.

`sun_path` has 108 bytes with its closing zero. A longer path is reached through a descriptor of its directory,
/proc/self/fd/N/name, which needs no change of the working directory (that would be process-wide).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cstd.errors import OperatorError

SUN_PATH_BYTES_MAX = 107


@contextmanager
def socket_address(path: str | os.PathLike[str]) -> Iterator[str]:
    """Yield an address for bind or connect, valid inside the block.

    Raises:
        OperatorError: the directory cannot be opened, or the name itself is too long.
    """
    full = Path(path).absolute()
    if len(os.fsencode(full)) <= SUN_PATH_BYTES_MAX:
        yield str(full)
        return
    try:
        directory = os.open(full.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OperatorError(f"cannot open the directory of the socket {full}: {error.strerror}") from error
    try:
        short = f"/proc/self/fd/{directory}/{full.name}"
        if len(os.fsencode(short)) > SUN_PATH_BYTES_MAX:
            raise OperatorError(
                f"the socket path {full} is {len(os.fsencode(full))} bytes, its name alone is too long; "
                f"the limit is {SUN_PATH_BYTES_MAX} bytes", suggestion="choose a shorter file name or directory")
        yield short
    finally:
        os.close(directory)
