"""Types of the engine that judges by other limits as well, see second_look.pyx."""

from collections.abc import Callable

import numpy as np

from cstd._fast.core import Core

class SecondLook(Core):
    on_limits: Callable[[int], None] | None
    sent: list[tuple[bytes, bytes]]
    pulled: list[tuple[bytes, int]]
    let_out: int
    def set_other(self, number: int, limits: np.ndarray, deadline_ns: int, markout_allowance_mbps: int) -> None: ...
    def take_sent(self) -> list[tuple[bytes, bytes]]: ...
    def take_pulled(self) -> list[tuple[bytes, int]]: ...
