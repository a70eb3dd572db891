from types import TracebackType
from typing import IO, Any, Self

RECORD_HEADER_BYTES: int

def create_ring(path: str, data_bytes: int, journal_id: bytes, boot_id: bytes) -> None: ...
def create_first_segment(directory: str, journal_id: bytes, segment_bytes: int) -> bytes: ...

class Journal:
    directory: str
    ring_path: str
    recovery: dict[str, Any]
    def __init__(
        self,
        directory: str,
        ring_path: str,
        *,
        journal_id: bytes,
        segment: int,
        segment_offset: int,
        next_index: int,
        prev: bytes,
        next_seq: int,
        unwritten_seq: int,
        ring_written: int,
        ring_head: int,
        segment_bytes: int,
        sync_interval_ns: int,
        recovery: Any,
        lock_file: IO[bytes] | None,
    ) -> None: ...
    def append_py(self, kind: int, tag: int, mono_ns: int, wall_ns: int, data: bytes, more: bytes = b"") -> int: ...
    @property
    def seq(self) -> int: ...
    @property
    def error(self) -> int: ...
    def stats(self) -> dict[str, int]: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...
