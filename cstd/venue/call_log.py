"""CallLog: what became of calls to the venue since somebody looked last; the levels of conditions are fed by it."""

from __future__ import annotations

from cstd.venue.errors_table import RetryClass, classify

KEPT_MAX = 256  # between two ticks; more say nothing that these do not


class CallLog:
    """Bounded; one writer, one reader, both the engine.

    Attributes:
        calls: (served, round trip in ns or None where it says nothing of the venue's speed), oldest first.
    """

    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls: list[tuple[bool, int | None]] = []

    def note(self, *, served: bool, took_ns: int | None = None) -> None:
        """Note one call that has ended."""
        if len(self.calls) < KEPT_MAX:
            self.calls.append((served, took_ns))

    def take(self) -> list[tuple[bool, int | None]]:
        """Return what was noted since the last call."""
        taken, self.calls = self.calls, []
        return taken


def is_served(error: str) -> bool:
    """Whether an error is an answer: the venue understood and refused. Its own failure and its silence are none."""
    return classify(error) not in (RetryClass.RETRY, RetryClass.UNKNOWN)
