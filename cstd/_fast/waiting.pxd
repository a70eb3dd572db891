"""Openings that wait for an operator. See waiting.pyx."""
from libc.stdint cimport int32_t, int64_t

cdef enum:
    WAITING_MAX = 16            # openings that wait, and ended ones that are not told yet
    WAITING_STATES = 9          # codes.ApprovalState
    # Bits of an opening's `rest` in its decision row; decision.why has the same.
    ASKED_WAITS = 4             # all gates let it pass, and it waits for an operator
    ASKED_GIVEN = 8             # an operator had approved it: judged again
    ASKED_NO_ROOM = 12          # it would have had to wait, and as many waited as may

cdef struct Waiting:
    int64_t intent_seq          # of the decision that waits: the operator's ID
    int64_t asked_wall_ns
    int64_t asked_mono_ns
    int64_t expires_mono_ns
    int64_t price_raw
    int64_t qty_raw             # what the gates left of it: what an operator is shown, and the most that is sent
    int64_t wanted_raw          # what was wished for
    int64_t notional_acct_raw
    int64_t lifetime_ns
    int64_t episode
    int64_t judged_seq          # of the decision by which it was judged again, 0 before
    int32_t instrument
    int32_t state               # codes.ApprovalState
    int32_t why                 # codes.ApprovalDrop; of one that the gates refused: the gate
    int32_t told                # its end is on record: the row may be used again

cdef class WaitingTable:
    cdef Waiting rows[WAITING_MAX]
    cdef int live                       # that wait, approved ones included
    cdef int64_t counts[WAITING_STATES]  # by codes.ApprovalState: entered, approved, and how they ended
    cdef int64_t above_acct_raw         # openings of more wait; -1: none does
    cdef int64_t lasts_ns

    cdef int free(self) noexcept nogil
    cdef int live_of(self, int instrument) noexcept nogil
    cdef int given(self, int instrument, int64_t mono_ns) noexcept nogil
    cdef bint has_episode(self, int instrument, int64_t episode) noexcept nogil
    cdef void end(self, int index, int state, int why) noexcept nogil
