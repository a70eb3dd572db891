"""Types of the order table, see orders.pyx."""

from typing import Any

class OrderTable:
    illegal_count: int
    def __init__(self, table: Any) -> None: ...
