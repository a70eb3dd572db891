"""What an operator does in two steps: ask, see what it would do, give the word back within a minute.

Pure: time comes in, both steps are events, so replay and recovery end where the daemon did.
"""

from __future__ import annotations

from cstd.units import NS_PER_S

CONFIRM_WITHIN_NS = 60 * NS_PER_S  # the second step, after the first


class TwoSteps:
    """When the first step was taken; withdrawn by whatever makes the question another one."""

    def __init__(self) -> None:
        self._asked_mono_ns = -1

    def withdraw(self) -> None:
        """Forget that it was asked."""
        self._asked_mono_ns = -1

    def ask(self, word: str, mono_ns: int) -> dict[str, object]:
        """Take the first step; returns the word and for how long it holds, to tell the operator."""
        self._asked_mono_ns = mono_ns
        return {"confirm": word, "expires_s": CONFIRM_WITHIN_NS // NS_PER_S}

    def refusal(self, given: str, word: str, mono_ns: int) -> str:
        """Return why the second step is refused, "" where it is taken."""
        if self._asked_mono_ns < 0 or not 0 <= mono_ns - self._asked_mono_ns <= CONFIRM_WITHIN_NS:
            return "it was not asked for within the last minute"
        return "" if given == word else "the word is another one"
