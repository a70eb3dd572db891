"""Types of cstd._fast.sink for Python callers."""

class FrameSink:
    needs_python: bool

class RecordingSink(FrameSink):
    dropped_count: int
    wants_python: bool
    def __init__(self, capacity: int = 4096, wants_python: bool = False) -> None: ...
    @property
    def frames(self) -> list[tuple[int, bytes, int, int]]: ...
    @property
    def backlogs(self) -> list[tuple[int, int, int]]: ...
    @property
    def batches(self) -> list[tuple[int, int, int, int]]: ...
