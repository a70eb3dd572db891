"""Types of the compiled replay loop, see rerun.pyx."""

from collections.abc import Sequence
from typing import Any

from cstd._fast.core import Core
from cstd._fast.journal_scan import Record

first_output: int

def rerun(core: Core, batch: list[Record], at: int) -> tuple[int, int, int]: ...
def frames_until_order(core: Core, link: int, rows: Sequence[tuple[Any, ...]], at: int) -> int: ...
