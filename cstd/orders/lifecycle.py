"""The order lifecycle as data: which event takes which state where.

`TABLE[state][event]` is the next state, or -1 where the step is illegal. The compiled order table is loaded with it, the
test data and the diagram in the docs come from it. Spelling of states follows the venue.

Why UNKNOWN is left by evidence only: silence is never read as rejected (systems 10.2), so the only ways out are a message
that names the order, a look-up that finds it, or the agreement of all look-ups that it never was (ON_ABSENT).
"""

from __future__ import annotations

from cstd._fast.codes import OrderEvent as E
from cstd._fast.codes import OrderState as S

STATE_NAMES = {
    S.ORDER_FREE: "free",
    S.ORDER_INTENDED: "intended",
    S.ORDER_SENT: "sent",
    S.ORDER_ACKNOWLEDGED: "pending_new",
    S.ORDER_OPEN: "new",
    S.ORDER_PARTIAL: "partially_filled",
    S.ORDER_CANCEL_PENDING: "cancel_pending",
    S.ORDER_FILLED: "filled",
    S.ORDER_CANCELED: "canceled",
    S.ORDER_REJECTED: "rejected",
    S.ORDER_EXPIRED: "expired",
    S.ORDER_UNKNOWN: "unknown",
}

FINAL = frozenset({S.ORDER_FILLED, S.ORDER_CANCELED, S.ORDER_REJECTED, S.ORDER_EXPIRED})

# What every state with a live order does with the venue's final words.
_ENDINGS = {
    E.ON_FULL: S.ORDER_FILLED,
    E.ON_CANCELED: S.ORDER_CANCELED,
    E.ON_EXPIRED: S.ORDER_EXPIRED,
    E.ON_REJECT: S.ORDER_REJECTED,
}
_LIVE = {
    **_ENDINGS,
    E.ON_PART: S.ORDER_PARTIAL,
    E.ON_CANCEL_SENT: S.ORDER_CANCEL_PENDING,
    E.ON_SILENT: S.ORDER_UNKNOWN,
    E.ON_GONE: S.ORDER_UNKNOWN,
    E.ON_FOUND_OPEN: S.ORDER_OPEN,
    E.ON_FOUND_PART: S.ORDER_PARTIAL,
    E.ON_NEW: S.ORDER_OPEN,
}

TRANSITIONS: dict[S, dict[E, S]] = {
    S.ORDER_FREE: {},
    S.ORDER_INTENDED: {
        E.ON_SEND: S.ORDER_SENT,
        E.ON_SILENT: S.ORDER_UNKNOWN,
        E.ON_REJECT: S.ORDER_REJECTED,
    },
    S.ORDER_SENT: {**_LIVE, E.ON_ACK: S.ORDER_ACKNOWLEDGED, E.ON_PENDING: S.ORDER_ACKNOWLEDGED},
    S.ORDER_ACKNOWLEDGED: {**_LIVE, E.ON_ACK: S.ORDER_ACKNOWLEDGED, E.ON_PENDING: S.ORDER_ACKNOWLEDGED},
    S.ORDER_OPEN: {**_LIVE, E.ON_ACK: S.ORDER_OPEN, E.ON_PENDING: S.ORDER_OPEN},
    S.ORDER_PARTIAL: {
        **_LIVE,
        E.ON_ACK: S.ORDER_PARTIAL,
        E.ON_PENDING: S.ORDER_PARTIAL,
        E.ON_NEW: S.ORDER_PARTIAL,
        E.ON_FOUND_OPEN: S.ORDER_PARTIAL,
    },
    S.ORDER_CANCEL_PENDING: {
        **_ENDINGS,
        E.ON_ACK: S.ORDER_CANCEL_PENDING,
        E.ON_PENDING: S.ORDER_CANCEL_PENDING,
        E.ON_NEW: S.ORDER_CANCEL_PENDING,
        E.ON_PART: S.ORDER_CANCEL_PENDING,
        E.ON_CANCEL_SENT: S.ORDER_CANCEL_PENDING,
        E.ON_CANCEL_REFUSED: S.ORDER_OPEN,
        E.ON_SILENT: S.ORDER_UNKNOWN,
        E.ON_GONE: S.ORDER_UNKNOWN,
        E.ON_FOUND_OPEN: S.ORDER_OPEN,
        E.ON_FOUND_PART: S.ORDER_PARTIAL,
    },
    S.ORDER_FILLED: {E.ON_FULL: S.ORDER_FILLED, E.ON_PART: S.ORDER_FILLED},
    S.ORDER_CANCELED: {E.ON_CANCELED: S.ORDER_CANCELED, E.ON_PART: S.ORDER_CANCELED, E.ON_FULL: S.ORDER_FILLED},
    S.ORDER_REJECTED: {E.ON_REJECT: S.ORDER_REJECTED},
    S.ORDER_EXPIRED: {E.ON_EXPIRED: S.ORDER_EXPIRED, E.ON_PART: S.ORDER_EXPIRED, E.ON_FULL: S.ORDER_FILLED},
    S.ORDER_UNKNOWN: {
        **_LIVE,
        E.ON_ACK: S.ORDER_ACKNOWLEDGED,
        E.ON_PENDING: S.ORDER_ACKNOWLEDGED,
        E.ON_CANCEL_SENT: S.ORDER_UNKNOWN,
        E.ON_ABSENT: S.ORDER_REJECTED,
    },
}

TABLE: list[list[int]] = [
    [int(TRANSITIONS[S(state)].get(E(event), -1)) for event in range(E.ORDER_EVENT_COUNT)]
    for state in range(S.ORDER_STATE_COUNT)
]
