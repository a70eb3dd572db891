"""Nonces: strictly increasing per key, also across restarts and clock steps.

`NonceSource` is pure: max(last + 1, wall time in µs). It may hand out numbers only below a mark that is already on
disk; `NonceFile` keeps that mark. After a crash the next run starts above the mark, whatever the clock says. One scale
(microseconds) is used for ever: a key that has once seen larger numbers refuses smaller ones.
"""

from __future__ import annotations

import os
from pathlib import Path

from cstd.errors import ConfigError, InvariantError

# Ten seconds of wall time: one write of the mark lasts that long, and a restart skips no more than that.
RESERVE_US = 10_000_000
# Kraken keeps nonces as unsigned 64-bit integers.
NONCE_MAX = 2**64 - 1


class NonceSource:
    """Give nonces above everything given before.

    Args:
        high_water: the largest nonce that may have been used, from disk; 0 for a new key.
    """

    def __init__(self, high_water: int) -> None:
        self._last = high_water
        self.reserved = high_water

    def mark_due(self, wall_ns: int) -> int | None:
        """Return the mark to persist before the next `take`, or None when the present one still covers it."""
        candidate = max(self._last + 1, wall_ns // 1_000)
        return candidate + RESERVE_US if candidate > self.reserved else None

    def reserve(self, mark: int) -> None:
        """Note that `mark` is on disk."""
        self.reserved = max(self.reserved, mark)

    def take(self, wall_ns: int) -> int:
        """Return the next nonce at wall time `wall_ns`.

        Raises:
            InvariantError: it is not covered by a persisted mark, or nonces have run out.
        """
        candidate = max(self._last + 1, wall_ns // 1_000)
        if candidate > self.reserved or candidate > NONCE_MAX:
            raise InvariantError(f"nonce {candidate} is above the persisted mark {self.reserved}")
        self._last = candidate
        return candidate


class NonceFile:
    """A source whose mark lives in a file; the edge that does the I/O."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._source = NonceSource(self._read())

    def take(self, wall_ns: int) -> int:
        """Return the next nonce, after syncing a new mark to disk where one is due."""
        mark = self._source.mark_due(wall_ns)
        if mark is not None:
            self._write(mark)
            self._source.reserve(mark)
        return self._source.take(wall_ns)

    @property
    def mark(self) -> int:
        """The largest nonce that may have been used, as the file has it; 0 for none."""
        return self._source.reserved

    def raise_to(self, mark: int) -> None:
        """Have the file hold a mark at least as large. Written by root it stays whose it is: the daemon must read it.

        Raises:
            ConfigError: it cannot be written.
        """
        if mark <= self.mark:
            return
        try:
            owner = self._path if self._path.exists() else self._path.parent
            self._write(mark, owner.stat() if os.geteuid() == 0 else None)
        except OSError as error:
            raise ConfigError(f"nonce file {self._path} cannot be written: {error.strerror or error}",
                              suggestion=f"write {mark} into it") from error
        self._source = NonceSource(mark)

    def _read(self) -> int:
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return 0
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"nonce file {self._path} cannot be read: {error}") from error
        if not text.isdigit() or int(text) > NONCE_MAX:
            # Guessing a mark could lock the key out for ever.
            raise ConfigError(f"nonce file {self._path} holds {text[:40]!r}, not a number",
                              suggestion="write the last used nonce into it, or use a new key")
        return int(text)

    def _write(self, mark: int, owner: os.stat_result | None = None) -> None:
        temporary = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            if owner is not None:
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            os.write(descriptor, f"{mark}\n".encode("ascii"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def carry_mark(source: Path, target: Path) -> None:
    """Have the file `target` hold the larger mark of two.

    Raises:
        ConfigError: one of them cannot be read, or the other not be written.
    """
    NonceFile(target).raise_to(NonceFile(source).mark)
