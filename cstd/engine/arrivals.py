"""What the compiled core took without the engine's Python part, told to those that watch the feeds at each timer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cstd._fast.codes import BookFault

if TYPE_CHECKING:
    from cstd.engine.flow import Engine
    from cstd.venue.messages import OhlcMessage


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


def watch_feeds(engine: Engine, mono_ns: int, wall_ns: int) -> None:
    """Begin tapes and find dead ones, and fetch evidence for books that are quiet."""
    engine.tapes.on_timer(engine.public, mono_ns, wall_ns)
    engine.evidence.keep_within(engine.risk.evidence_max_ns)
    engine.evidence.on_timer(engine.public, mono_ns)


def lose_market(engine: Engine) -> None:
    """Forget what holds on a connection alone: books, and that the tapes are complete."""
    for number in range(len(engine.names)):
        engine.core.drop_book(number, BookFault.FAULT_LINK_DOWN)
    engine.tapes.clear()


def take_history(engine: Engine, message: OhlcMessage, mono_ns: int, wall_ns: int) -> None:
    """Load a snapshot of bars; a tape whose stream is there already joins it, though no timer came between."""
    engine.tapes.begin({row.name for row in message.rows}, engine.public, mono_ns, wall_ns)
    engine.feed.on_ohlc(message, wall_ns)


def audit_books(engine: Engine, mono_ns: int) -> None:
    """Let the audit of deep levels go on; a book that it finds wrong is blocked now and resynced by this timer."""
    finding = engine.audit.on_timer(mono_ns, lane_free=len(engine.lane) == 0)
    if finding is None:
        return
    name = engine.names[finding.number]
    engine.notes.append(("error", "book audit found a difference",
                         {"instrument": name, **finding.log_fields(engine.feed.specs[name])}))
    engine.core.needs_python = True
    engine.core.book_fault(finding.number, BookFault.FAULT_AUDIT)


def take_new_digits(engine: Engine) -> None:
    """Put an instrument's new digits in force where no order is left that is counted in the old ones."""
    for name in engine.feed.take_waiting(engine.tracker.may_rescale):
        position = engine.ledger.positions[engine.feed.numbers[name]]
        engine.notes.append(("info", "new digits are in force", {"instrument": name, "rest": str(position.rest)}))


def give_up_links(engine: Engine) -> None:
    """Ask the process to close each connection that its machine has given up."""
    for link, machine in engine.machines():
        if machine.want_close is not None:
            engine.close_links.append((int(link), machine.want_close))
            machine.want_close = None
