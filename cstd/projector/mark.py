"""The projector's mark: where it is, in a page that the trading process looks at without a system call.

Eight integers, each written whole by the projector alone; the daemon makes the file before it starts the process.
"""

from __future__ import annotations

import mmap
from pathlib import Path

MARK_FILE = "projector.mark"
PAGE_BYTES = 4096
FIELDS = ("seq", "level_mono_ns", "signed_seq", "compressed_segments", "compressed_saved_bytes", "failed_compressions")


class ProjectorMark:
    """The page, mapped. `level_mono_ns`: when everything on disk was in SQLite last, on the host's monotonic clock."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        if create:
            # A new file in its place: a projector of the process before may still have the old page mapped.
            unfinished = path.with_name(f".{path.name}.new")
            unfinished.write_bytes(bytes(PAGE_BYTES))
            unfinished.replace(path)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), PAGE_BYTES)
        self._values = memoryview(self._map).cast("q")

    def read(self) -> dict[str, int]:
        """Return every field by name."""
        return {name: self._values[number] for number, name in enumerate(FIELDS)}

    def write(self, **fields: int) -> None:
        """Set fields; one 8-byte store each."""
        for name, value in fields.items():
            self._values[FIELDS.index(name)] = value

    def close(self) -> None:
        """Unmap the page."""
        self._values.release()
        self._map.close()
