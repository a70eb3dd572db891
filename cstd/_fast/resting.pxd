"""The gateway with what becomes of orders that rest. See resting.pyx."""
from libc.stdint cimport int64_t

from cstd._fast.exits cimport ExitGateway
from cstd._fast.gates cimport DecisionRow
from cstd._fast.slot cimport InstrumentSlot
from cstd._fast.strategy cimport StrategyView

cdef class RestingGateway(ExitGateway):
    cdef void _rejudge(self, InstrumentSlot slot) noexcept
    cdef void _rejudge_opening(self, InstrumentSlot slot, int index) noexcept
    cdef void _rejudge_quote(self, InstrumentSlot slot, int index) noexcept
    cdef void _count_live(self, InstrumentSlot slot, StrategyView *view) noexcept
    cdef int _judge_at(self, InstrumentSlot slot, int index, int64_t price_raw, DecisionRow *row) noexcept
    cdef bint _follows_now(self, InstrumentSlot slot, int index, int64_t bid_raw) noexcept
    cdef void _follow(self, InstrumentSlot slot, int index, int64_t bid_raw) noexcept
