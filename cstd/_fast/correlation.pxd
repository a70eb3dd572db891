"""Which instruments move together: shape of the pairwise correlations. How they are measured: correlation.pyx."""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t

from cstd._fast.bars cimport BarRing
from cstd._fast.wire cimport INSTRUMENTS_MAX

cdef enum:
    MEMBER_WORDS = 32           # INSTRUMENTS_MAX bits
    SPAN_MAX = 719              # returns that the bars kept in memory can show
    MEMBERS_KEPT = 1024         # gateway.DECISIONS_KEPT: for each decision that is kept, who was in its cluster

# What two instruments have in common. A pair belongs to the one with the higher number.
cdef struct Pair:
    double own_square           # exponentially weighted sums of returns of the same interval: of the one with the higher number,
    double other_square         # of the other one,
    double product              # and of both
    int32_t last                # number of the interval of the last common return
    uint16_t returns            # how many went in
    uint16_t below              # readings in a row below the correlation at which a link ends

cdef struct Link:
    double keep                 # what a new return leaves of the weight of those before
    double enter                # at this reading and above two instruments are linked at once
    double leave                # below this one, `leave_bars` times in a row, no more
    double prior                # how many returns the assumption weighs that two instruments move as one
    int64_t span
    int64_t returns_min
    int64_t leave_bars

@cython.final
cdef class Correlations:
    cdef readonly bint on               # off: every two are linked
    cdef Link rule
    # Signed squares of the plain correlation at which the reading of so many returns comes to `enter` and `leave`.
    cdef double enter_at[SPAN_MAX + 1]
    cdef double leave_at[SPAN_MAX + 1]
    cdef readonly int count             # instruments
    cdef readonly int words             # of a set of them
    cdef readonly int64_t apart         # pairs that are not linked
    cdef readonly int64_t version       # another one when a bar was taken or a pair begins anew; for those who look on
    cdef Pair *pairs[INSTRUMENTS_MAX]   # of each instrument with those before it; none while off
    cdef uint64_t *links[INSTRUMENTS_MAX]
    # The newest closed five-minute bar of each: its interval (-1: none), how many were taken, its return where there is one.
    cdef int32_t closed_at[INSTRUMENTS_MAX]
    cdef int64_t seen[INSTRUMENTS_MAX]
    cdef bint has_return[INSTRUMENTS_MAX]
    cdef double latest[INSTRUMENTS_MAX]
    # Scratch of one intent: who has exposure, and who of them is in the cluster of the instrument that is asked about.
    cdef uint64_t exposed[MEMBER_WORDS]
    cdef uint64_t members[MEMBER_WORDS]
    cdef int queue[INSTRUMENTS_MAX]
    cdef uint64_t *kept                 # the members of each decision that is kept

    cdef int add(self, int number) except -1
    cdef void forget(self, int number) noexcept
    cdef void bar_closed(self, list slots, int number) noexcept
    cdef void age(self, int64_t turn, int64_t wall_ns) noexcept nogil
    cdef void history_loaded(self, list slots, int number) noexcept
    cdef void begin(self) noexcept nogil
    cdef void expose(self, int number) noexcept nogil
    cdef void gather(self, int number) noexcept nogil
    cdef bint is_member(self, int number) noexcept nogil
    cdef void keep(self, int64_t decision) noexcept nogil
    cdef int make_room(self) except -1

    cdef Pair *_pair(self, int a, int b) noexcept nogil
    cdef void _note_newest(self, list slots, int number) noexcept
    cdef void _take(self, list slots, int number, int back) noexcept
    cdef void _rebuild(self, BarRing *ours, BarRing *theirs, int a, int b) noexcept nogil
    cdef void _rebuild_all(self, list slots, int number, int below) noexcept
    cdef void _step(self, Pair *pair, int a, int b, int32_t at, double own, double other) noexcept nogil
    cdef void _begin_pair(self, Pair *pair, int a, int b) noexcept nogil
    cdef double _reading(self, const Pair *pair) noexcept nogil
    cdef void _link(self, int a, int b, bint linked) noexcept nogil
