"""The kill switch (systems 9.4): latched at once, cleared in two steps, followed by a time in which nothing is sent.

A kill for loss needs two marks at Shutdown, some seconds apart, on books and trades that agree: one bad print is not a
loss. Pure: time comes in, commands and marks are events, so replay and recovery bring the same latch back.
"""

from __future__ import annotations

from dataclasses import dataclass

from cstd.config import Config
from cstd.decision.levels import SHUTDOWN, LossLimits, level_for
from cstd.decision.two_steps import TwoSteps
from cstd.units import NS_PER_S, seconds_to_ns

TRADE_AGE_MAX_NS = 60 * NS_PER_S  # an older trade says nothing of the bid that a mark is of
SHADOW_GRACE_NS = 60 * NS_PER_S  # decide without sending after a clear: time to see what it would do


@dataclass(frozen=True, slots=True)
class LossMarks:
    """When the first of two believable marks at Shutdown was seen; -1 = none."""

    first_mono_ns: int = -1

    def after(self, *, level: int, agrees: bool, now_mono_ns: int, apart_ns: int) -> tuple[LossMarks, bool]:
        """Return the state after a mark, and whether it is the second one, which kills.

        A mark on books and trades that do not agree proves nothing either way: it neither counts nor clears.
        """
        if not agrees:
            return self, False
        if level < SHUTDOWN:
            return LossMarks(), False
        if self.first_mono_ns < 0:
            return LossMarks(now_mono_ns), False
        return self, now_mono_ns - self.first_mono_ns >= apart_ns


class KillSwitch:
    """The latch. One writer: the engine, from marks and commands.

    Attributes:
        latched: openings are refused. reason: why, kept after a clear for the record.
        hold: exits are held back too; only an operator's kill can ask for that.
        shadow: decided but not sent, for a grace period after a clear.
    """

    def __init__(self, cfg: Config) -> None:
        self.latched = False
        self.hold = False
        self.reason = ""
        self.shadow = False
        self._latch_count = 0
        self._clearing = TwoSteps()
        self._shadow_since_mono_ns = -1
        self._marks = LossMarks()
        self.configure(cfg)

    def configure(self, cfg: Config) -> None:
        """Take the limits at a boot. Latch and shadow stay; what ran on the old monotonic clock starts over."""
        self.limits = LossLimits.of(cfg)
        self.apart_ns = seconds_to_ns(cfg.risk.loss_marks_apart_s)
        self._marks = LossMarks()
        self._clearing.withdraw()
        self._shadow_since_mono_ns = -1

    def latch(self, reason: str, mono_ns: int, *, hold: bool = False) -> bool:
        """Latch; returns whether it was not latched before. A later kill keeps the first reason and may add the hold."""
        self.hold = self.hold or hold if self.latched else hold
        self._clearing.withdraw()
        self.shadow = False
        if self.latched:
            return False
        self.latched = True
        self.reason = reason
        self._latch_count += 1
        return True

    def on_mark(self, day_loss_bps: int, drawdown_bps: int, mono_ns: int, agrees: bool,
                day_loss_acct_raw: int = 0) -> bool:
        """Take one mark; latches and returns True when it is the second believable one at Shutdown."""
        level = level_for(day_loss_bps, drawdown_bps, self.limits, day_loss_acct_raw)
        self._marks, kills = self._marks.after(level=level, agrees=agrees, now_mono_ns=mono_ns, apart_ns=self.apart_ns)
        if not kills:
            return False
        loss = "day loss" if level_for(day_loss_bps, 0, self.limits, day_loss_acct_raw) == SHUTDOWN else "drawdown"
        return self.latch(f"{loss}: {day_loss_bps} bps in a day, {drawdown_bps} bps from the peak", mono_ns)

    def on_timer(self, mono_ns: int) -> None:
        """End the grace period when its time has come."""
        if not self.shadow:
            return
        if self._shadow_since_mono_ns < 0:
            self._shadow_since_mono_ns = mono_ns
        elif mono_ns - self._shadow_since_mono_ns >= SHADOW_GRACE_NS:
            self.shadow = False

    def shadow_left_s(self, mono_ns: int) -> int:
        """Return how long the grace period still lasts, in whole seconds, rounded up; 0 outside it."""
        if not self.shadow:
            return 0
        begun_ns = mono_ns if self._shadow_since_mono_ns < 0 else self._shadow_since_mono_ns
        return max(0, -(-(begun_ns + SHADOW_GRACE_NS - mono_ns) // NS_PER_S))

    def clear(self, confirm: str, mono_ns: int) -> dict[str, object]:
        """Take one of the two steps of clearing.

        Args:
            confirm: "" asks for the word; the word, within 60 s, clears.
            mono_ns: now.

        Returns:
            what to tell the operator: kill, and with the first step confirm, kill_reason and expires_s, with the
            second shadow_s, with a refusal error and message.
        """
        if not self.latched:
            return {"kill": False, "message": "the kill switch is not latched"}
        word = f"clear-{self._latch_count}"
        if not confirm:
            return {"kill": True, "kill_reason": self.reason, **self._clearing.ask(word, mono_ns)}
        if why := self._clearing.refusal(confirm, word, mono_ns):
            return {"kill": True, "error": "operator", "message": f"not cleared: {why}", "retryable": False,
                    "suggestion": "ask again with `cstd kill --clear`"}
        self.latched = self.hold = False
        self.shadow = True
        self._clearing.withdraw()
        self._shadow_since_mono_ns = mono_ns
        self._marks = LossMarks()
        return {"kill": False, "shadow_s": SHADOW_GRACE_NS // NS_PER_S}
