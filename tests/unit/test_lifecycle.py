"""The lifecycle table: total, closed, and with no way out of UNKNOWN but evidence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cstd._fast.codes import OrderEvent as E
from cstd._fast.codes import OrderState as S
from cstd._fast.orders import OrderTable
from cstd.orders.lifecycle import FINAL, STATE_NAMES, TABLE, TRANSITIONS

STATES = [S(n) for n in range(S.ORDER_STATE_COUNT)]
EVENTS = [E(n) for n in range(E.ORDER_EVENT_COUNT)]
LIVE = [state for state in STATES if state not in FINAL and state != S.ORDER_FREE]
EVIDENCE = {E.ON_ACK, E.ON_PENDING, E.ON_NEW, E.ON_PART, E.ON_FULL, E.ON_CANCELED, E.ON_EXPIRED, E.ON_REJECT, E.ON_FOUND_OPEN,
            E.ON_FOUND_PART, E.ON_ABSENT}


def test_the_table_is_total() -> None:
    """Every state has an answer to every event: a state of the list, or -1 for a step that is illegal."""
    assert len(TABLE) == len(STATES) and set(STATE_NAMES) == set(STATES)
    for row in TABLE:
        assert len(row) == len(EVENTS)
        assert all(-1 <= cell < S.ORDER_STATE_COUNT and cell != S.ORDER_FREE for cell in row)
    assert len(set(STATE_NAMES.values())) == len(STATES)


def test_final_states_absorb() -> None:
    """From a final state no event leads back to life; only a fill that comes late may turn an end into `filled`."""
    for state in FINAL:
        for event, after in TRANSITIONS[state].items():
            assert after in FINAL
            assert after == state or (event == E.ON_FULL and after == S.ORDER_FILLED)


def test_a_free_row_has_no_events() -> None:
    """A row without an order takes nothing."""
    assert set(TABLE[S.ORDER_FREE]) == {-1}


def test_unknown_is_left_by_evidence_alone() -> None:
    """Silence, our own sends and a gone order leave UNKNOWN where it is; each way out is a message or a look-up."""
    leaving = {event for event, after in TRANSITIONS[S.ORDER_UNKNOWN].items() if after != S.ORDER_UNKNOWN}
    assert leaving == EVIDENCE
    for event in set(EVENTS) - EVIDENCE:
        assert TABLE[S.ORDER_UNKNOWN][event] in (-1, S.ORDER_UNKNOWN)


def test_absence_ends_only_what_is_unknown() -> None:
    """That no look-up shows an order counts for UNKNOWN orders alone."""
    assert [state for state in STATES if TABLE[state][E.ON_ABSENT] >= 0] == [S.ORDER_UNKNOWN]


@pytest.mark.parametrize("state", LIVE, ids=lambda state: STATE_NAMES[state])
def test_every_live_state_can_become_unknown_and_can_end(state: S) -> None:
    """Silence makes any live order UNKNOWN, and a venue's refusal is always an end."""
    assert TABLE[state][E.ON_SILENT] == S.ORDER_UNKNOWN
    assert TABLE[state][E.ON_REJECT] == S.ORDER_REJECTED


@pytest.mark.parametrize("state", [state for state in LIVE if state != S.ORDER_INTENDED], ids=lambda s: STATE_NAMES[s])
def test_every_sent_order_takes_every_ending(state: S) -> None:
    """Fills, cancels and expiries end an order from any state after sending, in whatever order messages come."""
    ends = {E.ON_FULL: S.ORDER_FILLED, E.ON_CANCELED: S.ORDER_CANCELED, E.ON_EXPIRED: S.ORDER_EXPIRED}
    assert {event: TABLE[state][event] for event in ends} == ends


@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_no_walk_returns_from_an_end(events: list[E]) -> None:
    """Whatever sequence of events: once final, always final, and states change only by the table."""
    state = S.ORDER_INTENDED
    ended = False
    for event in events:
        after = TABLE[state][event]
        if after >= 0:
            assert S(after) == TRANSITIONS[state][event]
            state = S(after)
        assert not ended or state in FINAL
        ended = ended or state in FINAL


def test_states_on_the_way_are_all_reached() -> None:
    """Every live and final state can be reached from an intent."""
    reached = {S.ORDER_INTENDED}
    for _ in STATES:
        reached |= {after for state in reached for after in TRANSITIONS[state].values()}
    assert reached == set(STATES) - {S.ORDER_FREE}


def test_a_table_that_does_not_fit_is_refused() -> None:
    """The compiled table takes the lifecycle's shape and no other."""
    with pytest.raises(ValueError, match="does not fit"):
        OrderTable(TABLE[:-1])
    with pytest.raises(ValueError, match="does not fit"):
        OrderTable([[0] * 33] * len(TABLE))
