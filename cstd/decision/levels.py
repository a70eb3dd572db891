"""Escalation levels (systems 9): from day loss and drawdown, latched; from conditions, self-clearing.

Pure: numbers in, codes out, time as an argument. Loss comes as integer basis points, rounded against us by whoever
measured it, so that a threshold is reached no later than in truth.
"""

from __future__ import annotations

from dataclasses import dataclass

from cstd._fast.gates import EscalationLevel
from cstd.config import Config
from cstd.units import BPS_PER_UNIT, NS_PER_S, seconds_to_ns, to_raw

MONEY_PRECISION = 8
CLEAN_NS = 300 * NS_PER_S  # a condition's level clears after five clean minutes; the practice exchange's sooner
NORMAL, WARNING, CRITICAL, EMERGENCY, SHUTDOWN = (int(level) for level in EscalationLevel)
NAMES = ("normal", "warning", "critical", "emergency", "shutdown")


@dataclass(frozen=True, slots=True)
class LossLimits:
    """Thresholds of Warning, Critical, Emergency and Shutdown in bps, and the loss of one day as an amount."""

    day_loss_bps: tuple[int, int, int, int]
    drawdown_bps: tuple[int, int, int, int]
    day_loss_max_acct_raw: int

    @classmethod
    def of(cls, cfg: Config) -> LossLimits:
        """Return the thresholds of a configuration."""
        risk = cfg.risk
        return cls(
            day_loss_bps=(risk.day_loss_warning_bps, risk.day_loss_critical_bps, risk.day_loss_emergency_bps,
                          risk.day_loss_shutdown_bps),
            drawdown_bps=(risk.drawdown_warning_bps, risk.drawdown_critical_bps, risk.drawdown_emergency_bps,
                          risk.drawdown_shutdown_bps),
            day_loss_max_acct_raw=to_raw(risk.day_loss_max, MONEY_PRECISION),
        )


def level_for(day_loss_bps: int, drawdown_bps: int, limits: LossLimits, day_loss_acct_raw: int = 0) -> int:
    """Return the level that loss and drawdown ask for now: the highest threshold that is reached.

    The absolute amount asks for Shutdown: it is what the operator can afford to lose in a day.
    """
    if day_loss_acct_raw >= limits.day_loss_max_acct_raw:
        return SHUTDOWN
    by_loss = sum(day_loss_bps >= threshold for threshold in limits.day_loss_bps)
    by_drawdown = sum(drawdown_bps >= threshold for threshold in limits.drawdown_bps)
    return max(by_loss, by_drawdown)


def latched(before: int, asked: int) -> int:
    """Return the latched level after a mark: it rises by itself and never falls."""
    return max(before, asked)


def lowered(before: int, to: int, asked: int) -> int:
    """Return the latched level after an operator lowers it: never above what it was, never below what loss asks for."""
    return max(min(before, to), asked)


def size_multiplier_e4(level: int, warning_e4: int) -> int:
    """Return the part of a wanted size that an opening may have at a level, in 1/10,000."""
    return (BPS_PER_UNIT, warning_e4, 0, 0, 0)[level]


@dataclass(frozen=True, slots=True)
class ConditionLevel:
    """A level raised by conditions. It rises at once and falls after a time in which nothing asked for it.

    Attributes:
        level: what holds now.
        asked: the highest level asked for since clean_since_ns; what is fallen back to.
        clean_since_ns: since when less than `level` was asked for; -1 while it is asked for.
    """

    level: int = NORMAL
    asked: int = NORMAL
    clean_since_ns: int = -1

    def after(self, asked: int, now_mono_ns: int, clean_ns: int = CLEAN_NS) -> ConditionLevel:
        """Return the state after one look at the conditions; clean_ns: the time after which it falls."""
        if asked >= self.level:
            return ConditionLevel(asked, NORMAL, -1)
        if self.clean_since_ns < 0:
            return ConditionLevel(self.level, asked, now_mono_ns)
        highest = max(self.asked, asked)
        if now_mono_ns - self.clean_since_ns < clean_ns:
            return ConditionLevel(self.level, highest, self.clean_since_ns)
        return ConditionLevel(highest, NORMAL, -1)


class LevelLatch:
    """The level in force: the higher of the latched one and the one from conditions. One writer: the engine.

    Attributes:
        loss_level: from day loss and drawdown, latched until an operator lowers it.
        asked: what loss and drawdown ask for at this moment.
        conditions: from conditions, clears by itself.
    """

    def __init__(self, cfg: Config) -> None:
        self.loss_level = NORMAL
        self.asked = NORMAL
        self.conditions = ConditionLevel()
        self.configure(cfg)

    def configure(self, cfg: Config) -> None:
        """Take the thresholds of a configuration; what is latched stays latched."""
        self.limits = LossLimits.of(cfg)
        self.clean_ns = seconds_to_ns(cfg.conditions.clean_s)
        # Monotonic time starts anew with a boot, and a condition's clean time with it.
        self.conditions = ConditionLevel(self.conditions.level, NORMAL, -1)

    def update(self, day_loss_bps: int, drawdown_bps: int, day_loss_acct_raw: int = 0) -> bool:
        """Take one mark; returns whether the level in force rose."""
        before = self.code
        self.asked = level_for(day_loss_bps, drawdown_bps, self.limits, day_loss_acct_raw)
        self.loss_level = latched(self.loss_level, self.asked)
        return self.code > before

    def observe(self, asked: int, now_mono_ns: int) -> None:
        """Take one look at the conditions (decision.conditions)."""
        self.conditions = self.conditions.after(asked, now_mono_ns, self.clean_ns)

    def lower(self, to: int) -> int:
        """Lower the latched level on an operator's command; returns what holds afterwards."""
        self.loss_level = lowered(self.loss_level, to, self.asked)
        return self.code

    @property
    def code(self) -> int:
        """The level in force."""
        return max(self.loss_level, self.conditions.level)

    @property
    def name(self) -> str:
        """The level in force as a word."""
        return NAMES[self.code]
