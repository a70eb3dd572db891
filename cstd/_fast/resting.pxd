"""The gateway with what becomes of orders that rest. See resting.pyx."""
from libc.stdint cimport int64_t

from cstd._fast.exits cimport ExitGateway
from cstd._fast.gates cimport DecisionRow, GateInput
from cstd._fast.orders cimport OrderRow
from cstd._fast.slot cimport InstrumentSlot
from cstd._fast.strategy cimport StrategyView


cdef inline void resting_terms(GateInput *input, const OrderRow *order, int64_t price_raw, int64_t wall_ns) noexcept nogil:
    """What a resting order is judged as, at a price; its quantity is what is left of it."""
    input.kind = order.kind
    input.side = order.side
    input.rejudge = 1
    input.price_raw = price_raw
    input.time_in_force = order.time_in_force
    input.post_only = order.post_only
    input.lifetime_ns = order.expire_wall_ns - wall_ns
    input.episode = order.episode


cdef class RestingGateway(ExitGateway):
    cdef void _rejudge(self, InstrumentSlot slot) noexcept
    cdef void _rejudge_opening(self, InstrumentSlot slot, int index) noexcept
    cdef void _rejudge_quote(self, InstrumentSlot slot, int index) noexcept
    cdef void _count_live(self, InstrumentSlot slot, StrategyView *view) noexcept
    cdef int _judge_at(self, InstrumentSlot slot, int index, int64_t price_raw, DecisionRow *row) noexcept
    cdef bint _follows_now(self, InstrumentSlot slot, int index, int64_t bid_raw) noexcept
    cdef void _follow(self, InstrumentSlot slot, int index, int64_t bid_raw) noexcept
