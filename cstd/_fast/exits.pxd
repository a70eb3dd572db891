"""The gateway with the exit policy's part of a pass. See exits.pyx."""
from libc.stdint cimport int64_t

from cstd._fast.approvals cimport ApprovalGateway
from cstd._fast.slot cimport InstrumentSlot
from cstd._fast.strategy cimport StrategyView, Wish

cdef enum:
    EXIT_REASONS = 8

cdef class ExitGateway(ApprovalGateway):
    cdef int64_t exits_by[EXIT_REASONS]     # exits that left, by codes.ExitReason

    cdef bint _leave(self, InstrumentSlot slot, const StrategyView *view) noexcept
    cdef void _exit(self, InstrumentSlot slot, Wish *wish, int reason) noexcept
    cdef void _pull(self, InstrumentSlot slot, bint bids, bint asks, int why) noexcept
