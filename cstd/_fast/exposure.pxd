"""What is held and on order, in all and of what moves together. See exposure.pyx."""
from libc.stdint cimport int64_t

from cstd._fast.client_ids cimport OrderIds
from cstd._fast.correlation cimport Correlations
from cstd._fast.gates cimport GateInput
from cstd._fast.orders cimport OrderRow, OrderTable
from cstd._fast.slot cimport InstrumentSlot
from cstd._fast.waiting cimport Waiting, WaitingTable
from cstd._fast.wire cimport INSTRUMENTS_MAX

cdef class Exposure(OrderIds):
    cdef readonly OrderTable orders
    cdef readonly list slots
    cdef readonly Correlations correlations
    cdef WaitingTable waiting           # openings that wait for an operator
    cdef int taken                      # the one of them that is judged again just now, -1 for none
    cdef int64_t positions_acct_raw
    cdef int held[INSTRUMENTS_MAX]      # numbers of the instruments with a position, in no order
    cdef int held_count

    cdef void _fill_exposure(self, InstrumentSlot slot, GateInput *input, int skip) noexcept
    cdef bint _counts(self, int waiting) noexcept
    cdef void _fill_waiting(self, InstrumentSlot slot, GateInput *input) noexcept
    cdef int64_t _outside_acct(self, int skip) noexcept
    cdef int64_t _open_value_acct(self, InstrumentSlot slot, const OrderRow *order) noexcept nogil
    cdef int64_t _value_acct(self, InstrumentSlot slot, int64_t price_raw, int64_t qty_raw) noexcept nogil
    cdef void _note_held(self, int number, bint before, bint now) noexcept
