"""Levels latch and clear as systems 9 says; the kill switch latches at once and clears in two steps."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd import config
from cstd.config import Config
from cstd.decision import kill, levels
from cstd.decision.kill import SHADOW_GRACE_NS, KillSwitch, LossMarks
from cstd.decision.levels import (
    CRITICAL,
    EMERGENCY,
    NORMAL,
    SHUTDOWN,
    WARNING,
    ConditionLevel,
    LevelLatch,
    LossLimits,
    level_for,
)
from cstd.decision.two_steps import CONFIRM_WITHIN_NS

S = 1_000_000_000
MINUTE = 60 * S
LIMITS = LossLimits((300, 500, 650, 800), (500, 1000, 1250, 1500), 80 * 10**8)


@pytest.fixture(scope="module")
def cfg() -> Config:
    """The shipped live configuration."""
    return config.load([str(Path(__file__).parents[2] / "config" / "live.toml")], {})


@pytest.mark.parametrize(("day_loss", "drawdown", "level"), [
    (0, 0, NORMAL), (-9_000, 0, NORMAL), (299, 499, NORMAL), (300, 0, WARNING), (0, 500, WARNING), (499, 999, WARNING),
    (500, 0, CRITICAL), (0, 1000, CRITICAL), (649, 1249, CRITICAL), (650, 0, EMERGENCY), (0, 1250, EMERGENCY),
    (799, 1499, EMERGENCY), (800, 0, SHUTDOWN), (0, 1500, SHUTDOWN), (300, 1500, SHUTDOWN), (10**6, 0, SHUTDOWN),
])
@pytest.mark.control("kill_switch.level",
                     "risk.day_loss_warning_bps",
                     "risk.day_loss_critical_bps",
                     "risk.day_loss_emergency_bps",
                     "risk.day_loss_shutdown_bps",
                     "risk.drawdown_warning_bps",
                     "risk.drawdown_critical_bps",
                     "risk.drawdown_emergency_bps",
                     "risk.drawdown_shutdown_bps")
def test_the_table_of_levels(day_loss: int, drawdown: int, level: int) -> None:
    """Each threshold of loss and of drawdown reaches its level exactly; the higher of the two holds."""
    assert level_for(day_loss, drawdown, LIMITS) == level


@pytest.mark.control("risk.day_loss_max")
def test_the_absolute_loss_asks_for_shutdown() -> None:
    """The amount the operator named for a day ends the day, however small a share of equity it is."""
    assert level_for(1, 0, LIMITS, 80 * 10**8 - 1) == NORMAL
    assert level_for(1, 0, LIMITS, 80 * 10**8) == SHUTDOWN


def test_the_shipped_thresholds_are_those_of_the_table(cfg: Config) -> None:
    """config/live.toml has 3 / 5 / 6.5 / 8 % of day loss and 5 / 10 / 12.5 / 15 % of drawdown."""
    assert LossLimits.of(cfg) == LIMITS


@given(st.lists(st.tuples(st.integers(-500, 1_000), st.integers(0, 2_000)), max_size=30))
def test_a_latched_level_never_falls_by_itself(marks: list[tuple[int, int]]) -> None:
    """Whatever follows, a level reached by loss or drawdown stays at least that high."""
    level = NORMAL
    highest = NORMAL
    for day_loss, drawdown in marks:
        asked = level_for(day_loss, drawdown, LIMITS)
        level = levels.latched(level, asked)
        highest = max(highest, asked)
        assert level == highest


@pytest.mark.parametrize(("before", "to", "asked", "after"), [
    (CRITICAL, NORMAL, NORMAL, NORMAL), (CRITICAL, NORMAL, WARNING, WARNING), (CRITICAL, WARNING, NORMAL, WARNING),
    (WARNING, EMERGENCY, NORMAL, WARNING), (SHUTDOWN, NORMAL, SHUTDOWN, SHUTDOWN),
])
def test_lowering_stops_at_what_the_loss_asks_for(before: int, to: int, asked: int, after: int) -> None:
    """An operator lowers a level, never raises it, and never below what loss and drawdown ask for now."""
    assert levels.lowered(before, to, asked) == after


def test_size_multipliers() -> None:
    """Full size, the configured part at Warning, nothing from Critical on."""
    assert [levels.size_multiplier_e4(level, 7_500) for level in range(5)] == [10_000, 7_500, 0, 0, 0]


def test_a_condition_clears_after_five_clean_minutes() -> None:
    """It rises at once, holds through four minutes and 59 seconds of calm, and a relapse starts the count anew."""
    state = ConditionLevel().after(CRITICAL, 0)
    assert state.level == CRITICAL
    state = state.after(NORMAL, MINUTE)
    state = state.after(NORMAL, 6 * MINUTE - 1)
    assert state.level == CRITICAL
    relapsed = state.after(CRITICAL, 6 * MINUTE - 1)
    assert relapsed.after(NORMAL, 6 * MINUTE).after(NORMAL, 11 * MINUTE - 1).level == CRITICAL
    assert state.after(NORMAL, 6 * MINUTE).level == NORMAL


def test_a_condition_falls_to_the_worst_of_the_clean_time() -> None:
    """Critical that became Warning meanwhile falls to Warning, not to Normal."""
    state = ConditionLevel().after(CRITICAL, 0).after(NORMAL, MINUTE).after(WARNING, 2 * MINUTE).after(NORMAL, 6 * MINUTE)
    assert state.level == WARNING


def test_the_level_in_force_is_the_higher_one(cfg: Config) -> None:
    """Loss and conditions each hold their own level; clearing one leaves the other."""
    latch = LevelLatch(cfg)
    assert latch.update(310, 0) is True
    latch.observe(CRITICAL, 0)
    assert (latch.code, latch.name) == (CRITICAL, "critical")
    assert latch.update(0, 0) is False
    latch.observe(NORMAL, MINUTE)
    latch.observe(NORMAL, 6 * MINUTE)
    assert latch.code == WARNING
    assert latch.lower(NORMAL) == NORMAL


def test_a_boot_keeps_the_latch(cfg: Config) -> None:
    """Taking the configuration again, as each boot does, lowers nothing."""
    latch = LevelLatch(cfg)
    latch.update(0, 1_000)
    latch.configure(cfg)
    assert latch.code == CRITICAL
    assert latch.update(0, 0) is False
    assert latch.code == CRITICAL


# Kill.


def test_one_mark_does_not_kill() -> None:
    """A single mark at Shutdown is remembered; a mark below it forgets it."""
    marks, kills = LossMarks().after(level=SHUTDOWN, agrees=True, now_mono_ns=5 * S, apart_ns=2 * S)
    assert (marks, kills) == (LossMarks(5 * S), False)
    marks, kills = marks.after(level=EMERGENCY, agrees=True, now_mono_ns=6 * S, apart_ns=2 * S)
    assert (marks, kills) == (LossMarks(), False)


@pytest.mark.parametrize(("second_ns", "kills"), [(2 * S - 1, False), (2 * S, True), (9 * S, True)])
@pytest.mark.control("risk.loss_marks_apart_s")
def test_the_second_mark_must_be_two_seconds_later(second_ns: int, kills: bool) -> None:
    """Two believable marks kill from 2 s apart on, not sooner."""
    first, _ = LossMarks().after(level=SHUTDOWN, agrees=True, now_mono_ns=0, apart_ns=2 * S)
    assert first.after(level=SHUTDOWN, agrees=True, now_mono_ns=second_ns, apart_ns=2 * S)[1] is kills


def test_marks_on_books_that_disagree_prove_nothing() -> None:
    """Without agreement a mark neither counts nor clears the first one."""
    marks, kills = LossMarks().after(level=SHUTDOWN, agrees=False, now_mono_ns=0, apart_ns=2 * S)
    assert (marks, kills) == (LossMarks(), False)
    marks, _ = marks.after(level=SHUTDOWN, agrees=True, now_mono_ns=1 * S, apart_ns=2 * S)
    marks, kills = marks.after(level=NORMAL, agrees=False, now_mono_ns=2 * S, apart_ns=2 * S)
    assert (marks, kills) == (LossMarks(1 * S), False)
    assert marks.after(level=SHUTDOWN, agrees=True, now_mono_ns=3 * S, apart_ns=2 * S)[1] is True


@pytest.mark.parametrize(("marks", "word"), [
    ((900, 0, 0), "day loss"), ((0, 1_600, 0), "drawdown"), ((1, 0, 10**12), "day loss"),
])
@pytest.mark.control("kill_switch.killed")
def test_the_switch_kills_for_loss(cfg: Config, marks: tuple[int, int, int], word: str) -> None:
    """Day loss, drawdown and the absolute amount each latch it, and the reason says which."""
    switch = KillSwitch(cfg)
    day_loss, drawdown, amount = marks
    assert switch.on_mark(day_loss, drawdown, 0, True, amount) is False
    assert switch.on_mark(day_loss, drawdown, 2 * S, True, amount) is True
    assert switch.latched
    assert switch.reason.startswith(word)
    assert switch.on_mark(day_loss, drawdown, 9 * S, True, amount) is False


def test_clearing_takes_two_steps_and_then_shadows(cfg: Config) -> None:
    """Ask for the word, give it back within a minute; then it decides without sending for the grace period."""
    switch = KillSwitch(cfg)
    switch.latch("operator", 0)
    asked = switch.clear("", 10 * S)
    assert (asked["kill"], asked["kill_reason"]) == (True, "operator")
    assert switch.latched
    assert switch.clear(str(asked["confirm"]), 11 * S)["kill"] is False
    assert (switch.latched, switch.shadow, switch.shadow_left_s(11 * S)) == (False, True, 60)
    switch.on_timer(11 * S + SHADOW_GRACE_NS - 1)
    assert switch.shadow and switch.shadow_left_s(11 * S + SHADOW_GRACE_NS - 1) == 1
    switch.on_timer(11 * S + SHADOW_GRACE_NS)
    assert not switch.shadow and switch.shadow_left_s(11 * S + SHADOW_GRACE_NS) == 0


@pytest.mark.parametrize("case", ["wrong word", "too late", "never asked", "killed again", "new boot"])
def test_what_does_not_clear(cfg: Config, case: str) -> None:
    """A wrong word, a late one, one never asked for, and a kill or a boot in between leave it latched."""
    switch = KillSwitch(cfg)
    switch.latch("operator", 0)
    word = "clear-1" if case == "never asked" else str(switch.clear("", 0)["confirm"])
    if case == "wrong word":
        word += "x"
    if case == "killed again":
        switch.latch("again", S)
    if case == "new boot":
        switch.configure(cfg)
    answer = switch.clear(word, CONFIRM_WITHIN_NS + (case == "too late"))
    assert switch.latched
    assert answer["error"] == "operator"


def test_clearing_what_is_not_latched_says_so(cfg: Config) -> None:
    """There is nothing to clear, and nothing goes into shadow."""
    switch = KillSwitch(cfg)
    assert switch.clear("", 0)["kill"] is False
    assert not switch.shadow


def test_a_kill_during_the_grace_latches_again(cfg: Config) -> None:
    """A kill ends the shadow state and latches under a new word."""
    switch = KillSwitch(cfg)
    switch.latch("operator", 0)
    first = str(switch.clear("", 0)["confirm"])
    switch.clear(first, S)
    assert switch.latch("loss", 2 * S) is True
    assert (switch.latched, switch.shadow, switch.reason) == (True, False, "loss")
    assert switch.clear("", 3 * S)["confirm"] != first


def test_hold_is_asked_for_and_kept(cfg: Config) -> None:
    """`--hold` may be added to a kill and ends with the clear; a later kill without it does not take it away."""
    switch = KillSwitch(cfg)
    switch.latch("operator", 0)
    assert not switch.hold
    assert switch.latch("operator", 1, hold=True) is False
    switch.latch("loss", 2)
    assert (switch.hold, switch.reason) == (True, "operator")
    switch.clear(str(switch.clear("", 3)["confirm"]), 4)
    assert not switch.hold


def test_a_boot_keeps_latch_and_restarts_the_grace(cfg: Config) -> None:
    """The latch survives; a grace period that was running starts over on the new clock."""
    switch = KillSwitch(cfg)
    switch.latch("operator", 900 * S)
    switch.configure(cfg)
    assert switch.latched
    switch.clear(str(switch.clear("", S)["confirm"]), 2 * S)
    switch.configure(cfg)
    switch.on_timer(5 * S)
    switch.on_timer(5 * S + SHADOW_GRACE_NS - 1)
    assert switch.shadow
    switch.on_timer(5 * S + SHADOW_GRACE_NS)
    assert not switch.shadow


def test_the_kill_module_reads_no_clock() -> None:
    """Time is an argument: neither module imports a clock."""
    for module in (kill, levels):
        assert not {"time", "datetime"} & set(vars(module))
