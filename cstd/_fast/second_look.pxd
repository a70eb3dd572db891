"""A replay's engine that judges by other limits as well. See second_look.pyx."""
from libc.stdint cimport int64_t

from cstd._fast.core cimport Core
from cstd._fast.gates cimport DecisionRow, GateInput, Limits
from cstd._fast.orders cimport ORDERS_MAX
from cstd._fast.slot cimport InstrumentSlot
from cstd._fast.wire cimport INSTRUMENTS_MAX

cdef class SecondLook(Core):
    cdef Limits other[INSTRUMENTS_MAX]
    cdef bint known[INSTRUMENTS_MAX]    # other limits were given
    cdef int64_t other_deadline_ns, other_markout_mbps
    cdef GateInput *judged              # what `_intend` judges just now; of no use once that has returned
    cdef int64_t stays_raw[ORDERS_MAX]  # how much of the order in each place of the table the other limits leave
    cdef int64_t looked_seq[ORDERS_MAX]  # the intent of that order; -1: it is not looked at while it rests
    cdef public object on_limits        # called with an instrument's number when its limits were set; None for nobody
    cdef readonly list sent             # of each order that left, and was not taken yet: its row, and that of the other limits
    cdef readonly list pulled           # (row of the other limits, quantity that stays) of orders that they end or cut while they rest
    cdef readonly int64_t let_out       # refused intents that the other limits would have let out

    cdef void _look(self, InstrumentSlot slot, const DecisionRow *row) noexcept
    cdef void _look_at_resting(self, InstrumentSlot slot, int index) noexcept
