"""Clock: text and nanoseconds are the same time; virtual time moves only when told to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd.clock import NS_PER_DAY, SystemClock, VirtualClock, utc_day, utc_parse, utc_text


@given(st.integers(0, 4 * 10**18))
def test_text_round_trips(wall_ns: int) -> None:
    """Nanoseconds survive their RFC 3339 text."""
    assert utc_parse(utc_text(wall_ns)) == wall_ns


@pytest.mark.parametrize("text", ["2026-08-02T10:00:00", "2026-08-02T10:00:00+02:00", "2026-08-02T10:00:00.1234567891Z",
                                  "2026-08-02T10:00:00.-1Z", "yesterdayZ"])
def test_other_texts_are_refused(text: str) -> None:
    """Only UTC with at most nine fractional digits is read."""
    with pytest.raises(ValueError, match=r"UTC|fraction|match"):
        utc_parse(text)


def test_days_change_at_midnight_utc() -> None:
    """The last nanosecond of a day and the first of the next are in different days."""
    assert (utc_day(NS_PER_DAY - 1), utc_day(NS_PER_DAY)) == (0, 1)


def test_virtual_clock_moves_when_told() -> None:
    """Advancing moves both clocks, a step the wall clock alone, and monotonic time cannot go back."""
    clock = VirtualClock(mono_ns=5, wall_ns=100)
    clock.advance(10)
    clock.step_wall(-50)
    assert (clock.mono_ns(), clock.wall_ns()) == (15, 60)
    with pytest.raises(ValueError, match="cannot advance"):
        clock.advance(-1)


def test_system_clock_does_not_go_back() -> None:
    """Two readings of the monotonic clock are in order."""
    clock = SystemClock()
    assert clock.mono_ns() <= clock.mono_ns()
