"""AttemptFile: the limiter of connection attempts, remembered across restarts in a small file beside the nonce's.

The venue bans an address, not a process: a daemon that crashes and is started again within a second goes on counting where the
one before it stopped. Only the monotonic clock and the host's boot are written, so no step of the wall clock frees an attempt or
holds one. What cannot be known, because the file is damaged or the host was started anew, is taken for the worst that leaves a
start its first attempts: with the hundred that the limiter may have let out before, they stay well below what bans.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from cstd.errors import ConfigError
from cstd.venue.backoff import AttemptLimiter

# Both sockets, with some retries: a start with a position must not be blind for ten minutes.
LEFT_IN_DOUBT = 10
# A hundred times of twenty digits, the boot's id, and as much again.
FILE_BYTES_MAX = 4096


class AttemptFile(AttemptLimiter):
    """At most `attempts_max` attempts in `window_ns` by all processes of a run directory, one after the other.

    Args:
        path: the file; its directory must be there.
        boot_id: of the host, as the kernel drew it: monotonic times of another boot mean nothing.
        now_ns: monotonic.
        on_problem: told in words when the file cannot be read, or not be written any more.

    Raises:
        ConfigError: the file cannot be written at the start; then nothing would bound what a crash loop asks.
    """

    __slots__ = ("_boot_id", "_on_problem", "_path")

    def __init__(self, path: Path, *, boot_id: bytes, now_ns: int, on_problem: Callable[[str], None]) -> None:
        super().__init__()
        self._path = path
        self._boot_id = boot_id.hex()
        self._on_problem = on_problem
        for at_ns in self._read(now_ns):
            super().record(at_ns)
        self.next_ns(now_ns)  # forgets what is older than the window
        try:
            self._write()
        except OSError as error:
            raise ConfigError(f"the file of connection attempts {path} cannot be written: {error}") from error

    def record(self, now_ns: int) -> None:
        """Count one attempt made at `now_ns`, here and in the file."""
        super().record(now_ns)
        try:
            self._write()
        except OSError as error:
            # Still counted in this process: a full disk must not cut the links of one that holds a position.
            self._on_problem(f"{self._path} cannot be written: {error}")

    def _read(self, now_ns: int) -> list[int]:
        """Return the attempts that count, oldest first, on this process's clock."""
        worst_count = self.attempts_max - LEFT_IN_DOUBT
        try:
            boot, times = _parsed(self._content())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            self._on_problem(f"{self._path} cannot be read, {worst_count} attempts are taken to have been made just now: {error}")
            return [now_ns] * worst_count
        if boot != self._boot_id:
            return [now_ns] * min(len(times), worst_count)
        # A time to come is of a clock that is not ours: counted as one of now, it is over when those are.
        return sorted(min(at_ns, now_ns) for at_ns in times)

    def _content(self) -> bytes:
        with self._path.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1)

    def _write(self) -> None:
        """Replace the file by a whole new one. Not synced: a process that dies loses nothing, and a host comes back slowly."""
        content = "\n".join([self._boot_id, *map(str, self.times())]) + "\n"
        temporary = self._path.with_name(self._path.name + ".new")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content.encode("ascii"))
        temporary.replace(self._path)


def _parsed(content: bytes) -> tuple[str, list[int]]:
    """Return (boot, times); ValueError where it is not what was written, and whole."""
    lines = content.decode("ascii").split("\n")
    if len(content) > FILE_BYTES_MAX or len(lines) < 2 or lines.pop():
        raise ValueError(f"it is not whole: {len(content)} bytes")
    boot = lines.pop(0)
    if len(bytes.fromhex(boot)) != 16 or not all(line.isdigit() and len(line) <= 20 for line in lines):
        raise ValueError("it holds what is no boot and no time")
    return boot, [int(line) for line in lines]
