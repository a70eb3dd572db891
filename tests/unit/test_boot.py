"""Boot epochs: no two starts of an account share one, so no two of its orders share an id."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cstd.engine.boot import next_epoch

S = 10**9
NOW = 1_790_000_000 * S


@given(st.integers(0, NOW), st.integers(-10 * S, 10 * S))
def test_an_epoch_is_above_every_one_before(last: int, step_ns: int) -> None:
    """Within a journal epochs rise, also when the clock steps back or stands still."""
    assert next_epoch(last, NOW + step_ns) > last


def test_a_new_journal_does_not_begin_where_an_old_one_began() -> None:
    """Two journals without a start before them, begun a second apart, have different epochs."""
    assert next_epoch(0, NOW) != next_epoch(0, NOW + S)
    assert next_epoch(0, NOW) == 1_790_000_000
