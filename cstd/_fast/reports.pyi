"""Types of the private socket's scanner, see reports.pyx."""

from typing import Any

class ReportScanner:
    def __init__(self) -> None: ...
    def scan_bytes(self, frame: bytes, handler: Any) -> int: ...
