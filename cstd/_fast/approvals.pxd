"""The gateway with the openings that wait for an operator. See approvals.pyx."""
from libc.stdint cimport int64_t

from cstd._fast.gateway cimport Gateway
from cstd._fast.slot cimport InstrumentSlot

cdef class ApprovalGateway(Gateway):
    cdef bint _take_up(self, InstrumentSlot slot) noexcept
    cdef bint _room(self, InstrumentSlot slot, int64_t points) noexcept
    cdef void _end_waiting(self, int index, int state, int why) noexcept
    cdef void _drop_waiting(self, int instrument, int why) noexcept
