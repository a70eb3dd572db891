"""The table of openings that wait for an operator, and how they ended.

Purpose: a bounded place for what the gates let pass and an operator has to see first. Takes: rows that the gateway enters.
Gives: what waits, to the gates' input as exposure, and to those who ask.

Invariants held here: a row is live from the moment it is entered until it ends, once; an ended one is forgotten only when
its end is on record; what is full refuses.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

from cstd._fast.codes cimport APPROVAL_GIVEN, APPROVAL_WAITS


cdef class WaitingTable:
    """One table of an engine."""

    def __cinit__(self):
        memset(self.rows, 0, sizeof(self.rows))
        memset(self.counts, 0, sizeof(self.counts))
        self.live = 0
        self.above_acct_raw = -1
        self.lasts_ns = 0

    cdef int free(self) noexcept nogil:
        """A row for another opening, -1 when there is none."""
        cdef int i
        for i in range(WAITING_MAX):
            if self.rows[i].state == 0 or self.rows[i].told:
                return i
        return -1

    cdef int live_of(self, int instrument) noexcept nogil:
        """How many openings of an instrument wait."""
        cdef int i, found = 0
        for i in range(WAITING_MAX):
            found += (APPROVAL_WAITS <= self.rows[i].state <= APPROVAL_GIVEN) and self.rows[i].instrument == instrument
        return found

    cdef int given(self, int instrument, int64_t mono_ns) noexcept nogil:
        """The oldest approved opening of an instrument that has not expired, -1 for none."""
        cdef int i, found = -1
        for i in range(WAITING_MAX):
            if (self.rows[i].state == APPROVAL_GIVEN and self.rows[i].instrument == instrument
                    and mono_ns < self.rows[i].expires_mono_ns
                    and (found < 0 or self.rows[i].intent_seq < self.rows[found].intent_seq)):
                found = i
        return found

    cdef bint has_episode(self, int instrument, int64_t episode) noexcept nogil:
        """Whether this wish of an instrument's strategy, or a later one, waits already."""
        cdef int i
        for i in range(WAITING_MAX):
            if (APPROVAL_WAITS <= self.rows[i].state <= APPROVAL_GIVEN and self.rows[i].instrument == instrument
                    and self.rows[i].episode >= episode):
                return True
        return False

    cdef void end(self, int index, int state, int why) noexcept nogil:
        """A live opening waits no more."""
        self.rows[index].state = state
        self.rows[index].why = why
        self.live -= 1
        self.counts[state] += 1
