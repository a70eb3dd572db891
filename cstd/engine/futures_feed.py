"""FuturesFeed: the engine's part of the futures socket: its machine, and the reference prices that are made of what it tells.

Nothing here can stop an exit: what is known of the futures feed reaches the gates as a reference price alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cstd.market.reference import ReferencePrices
from cstd.venue.futures import FuturesMachine
from cstd.venue.futures_messages import Refusal, decode_futures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cstd._fast.core import Core
    from cstd.config.schema import FuturesConfig
    from cstd.venue.messages import InstrumentSpec


class FuturesFeed:
    """One writer of the reference prices. Made with the engine's instruments, begun anew at each boot.

    Attributes:
        machine: the protocol; without [futures] one that wants nothing. notes: (level, event, fields) to be logged.
    """

    def __init__(self, core: Core, names: tuple[str, ...], specs: Mapping[str, InstrumentSpec]) -> None:
        self.references = ReferencePrices(core, names, specs)
        self.machine = FuturesMachine(())
        self.notes: list[tuple[str, str, dict[str, Any]]] = []

    def boot(self, cfg: FuturesConfig | None) -> None:
        """Begin a boot: the connection of the one before is gone."""
        self.references.boot(cfg)
        self.machine = FuturesMachine(tuple(self.references.products))

    def on_frame(self, data: bytes, mono_ns: int) -> None:
        """Take one frame of the socket."""
        refused = self.machine.counts["refused"]
        message = decode_futures(data)
        ticker = self.machine.on_message(message, mono_ns)
        if isinstance(message, Refusal) and refused == 0:
            self.notes.append(("warning", "the futures feed refuses", {"words": message.text}))
        if ticker is not None:
            self.references.on_ticker(ticker, mono_ns)
        self.look()

    def on_timer(self, mono_ns: int) -> None:
        """Let the machine time out and retry."""
        self.machine.on_timer(mono_ns)
        self.look()

    def look(self) -> None:
        """Drop the prices of what the machine lost."""
        for product in self.machine.lost:
            self.references.lose(product)
        self.machine.lost.clear()
