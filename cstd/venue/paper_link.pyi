"""Types of cstd.venue.paper_link for Python callers."""

from collections.abc import Callable

from cstd._fast.sink import FrameSink
from cstd.venue.link import PrivateLink

class PaperLink(PrivateLink):
    on_sent: Callable[[int, bytes], None] | None
    def connect(self) -> None: ...
    def receive(self, frames: list[bytes]) -> None: ...

class PublicTap(FrameSink):
    wanted: bool
    on_frames: Callable[[list[tuple[int, bytes]]], None] | None
    on_fault: Callable[[Exception], None] | None
    def __init__(self, core: FrameSink) -> None: ...
