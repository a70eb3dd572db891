"""Types of the correlations, see correlation.pyx."""

from collections.abc import Iterable

from cstd._fast.slot import InstrumentSlot

returns_max: int

class Correlations:
    on: bool
    count: int
    words: int
    apart: int
    version: int
    def tune(
        self, slots: list[InstrumentSlot], enter: float, leave: float, span: int, returns_min: int, leave_bars: int, prior: int,
    ) -> None: ...
    def linked(self, a: int, b: int) -> bool: ...
    def pair(self, a: int, b: int) -> tuple[bool, float | None, int, int]: ...
    def cluster(self, number: int, exposed: Iterable[int]) -> list[int]: ...
    def members_of(self, decision: int) -> list[int]: ...

def pair_bytes() -> int: ...
