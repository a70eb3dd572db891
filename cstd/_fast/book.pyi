"""Types of the book, see book.pyx."""

from typing import Any

def use_clmul(allowed: bool) -> None: ...
def crc32(data: bytes) -> int: ...

class Book:
    depth: int
    state: int
    fault: int
    checksum: int
    exch_ns: int
    updates: int
    verified_count: int
    mismatch_count: int
    def __init__(self, depth: int, time_backwards_ns_max: int = ...) -> None: ...
    def apply_levels(self, snapshot: bool, bids: list[Any], asks: list[Any], checksum: Any, exch_ns: int) -> int: ...
    def reset(self, fault: int) -> None: ...
    def levels(self, side: int, n: int) -> list[tuple[int, int, int]]: ...
