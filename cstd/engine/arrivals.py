"""What the compiled core took without the engine's Python part, told to the machines and the tapes at each timer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cstd.engine.flow import Engine


def note_frames_seen(engine: Engine, mono_ns: int) -> None:
    """Tell the machines of frames that the core took, and of the first data of what they wait for."""
    for link, machine in engine.machines():
        seen_ns = engine.core.last_frame_ns(link)
        if seen_ns and machine.up:
            machine.on_frame_seen(seen_ns)
    for name in engine.public.waiting("book"):
        if engine.core.slots[engine.feed.numbers[name]].book.state:
            engine.public.on_data(name, "book", mono_ns)
    for name in engine.public.waiting("ticker"):
        if engine.core.slots[engine.feed.numbers[name]].tickers:
            engine.public.on_data(name, "ticker", mono_ns)


def start_tapes(engine: Engine, wall_ns: int) -> None:
    """The tape of an instrument is complete from the moment its subscription is known to be live."""
    if len(engine.tape_live) == len(engine.names):
        return
    for number, name in enumerate(engine.names):
        if name not in engine.tape_live and engine.public.live(name, "trade"):
            engine.tape_live.add(name)
            engine.core.tape_begins(number, wall_ns)
