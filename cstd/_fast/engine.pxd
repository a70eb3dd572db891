"""The compiled engine: events in, one decision pass per touched instrument. See engine.pyx."""
from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t

from cstd._fast.gateway cimport BOOK_FAULTS, TAPE_KEPT
from cstd._fast.reports cimport ReportScanner
from cstd._fast.resting cimport RestingGateway
from cstd._fast.slot cimport AGENTS_MAX, InstrumentSlot
from cstd._fast.strategy cimport STRATEGY_PARAMS, StrategyView, Wish, strategy_fn
from cstd._fast.wire cimport INSTRUMENTS_MAX, Scanner

ctypedef int32_t (*agent_fn)(const double *features, const uint64_t *valid, double *state, double *vote) noexcept nogil

cdef struct TapeRow:
    int64_t wall_ns
    int64_t price_raw
    int64_t qty_raw
    int32_t instrument
    int32_t side

cdef class FastEngine(RestingGateway):
    cdef Scanner scanner
    cdef ReportScanner reports
    cdef strategy_fn strategy
    cdef bint strategy_own              # a user's: what it wishes for is looked at before a gate sees it
    cdef int64_t params[STRATEGY_PARAMS]
    cdef agent_fn agents[AGENTS_MAX]
    cdef int8_t agent_per_bar[AGENTS_MAX]
    cdef int agent_count
    cdef uint64_t batch_cycles          # when the first frame of the batch that touched a book was handed over; telemetry
    cdef public bint batch_open         # frames of the public socket are applied whose batch has not ended
    cdef int touched[INSTRUMENTS_MAX]
    cdef int touched_count
    cdef TapeRow tape[TAPE_KEPT]
    cdef int64_t tape_count
    cdef int64_t book_faults[BOOK_FAULTS]
    cdef int64_t link_frame_ns[4]       # monotonic time of each link's last frame
    cdef int64_t slow_until_ns[4]       # monotonic time at which the slow bytes of each link are paid for
    cdef bint flooded[4]

    cdef int _private(self, const char *data, size_t n) noexcept
    cdef bint _affordable(self, int link, size_t n) noexcept
    cdef int _slow(self, int link, const char *data, size_t n) noexcept
    cdef void _book(self, InstrumentSlot slot, uint64_t start) noexcept
    cdef void _trades(self, InstrumentSlot slot, uint64_t start) noexcept
    cdef void _ticker(self, InstrumentSlot slot) noexcept
    cdef void _book_judged(self, InstrumentSlot slot, int fault, bint had_checksum) noexcept
    cdef void _bars_closed(self, InstrumentSlot slot, int closed) noexcept
    cdef void _touch(self, InstrumentSlot slot, uint64_t start) noexcept
    cdef void _run_passes(self, int first, bint by_timer) noexcept
    cdef void _pass(self, InstrumentSlot slot, bint by_timer) noexcept
    cdef void _vote(self, InstrumentSlot slot, bint at_bar) noexcept
    cdef void _record_pass(self, InstrumentSlot slot) noexcept
    cdef int _own_wish(self, InstrumentSlot slot, int said, const Wish *wish) noexcept
    cdef void _decide(self, InstrumentSlot slot, bint by_timer) noexcept
    cdef void _wished(self, InstrumentSlot slot, const StrategyView *view, Wish *wish) noexcept
    cdef void _mark_own(self, InstrumentSlot slot) noexcept
