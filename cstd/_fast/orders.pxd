"""The table of live orders: fixed rows, states moved by the lifecycle table only."""
cimport cython
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t

cdef enum:
    ORDERS_MAX = 1024       # live at once, over all instruments; the venue allows 225 per pair at most

cdef struct OrderRow:
    int64_t price_raw
    int64_t qty_raw
    int64_t filled_raw
    int64_t decided_mid2_raw
    int64_t sent_mono_ns
    int64_t sent_wall_ns
    int64_t expire_wall_ns
    int64_t deadline_wall_ns
    int64_t intent_seq
    int64_t episode
    int64_t req_id
    int64_t cancel_req_id
    int64_t amend_req_id
    int64_t cancel_mono_ns
    int64_t amended_mono_ns
    int64_t amend_qty_raw           # pending amend's total quantity, 0 = none
    int64_t amend_price_raw         # pending amend's price, 0 = the one that it has
    int64_t follow_not_before_ns    # monotonic time before which it does not follow the best bid again
    int64_t changed_mono_ns         # last change of state
    int32_t instrument
    int32_t strategy
    int8_t state
    int8_t kind
    int8_t side
    int8_t time_in_force
    int8_t post_only
    int8_t last_verdict
    int8_t cancel_sent
    int8_t cancel_reason            # gate code that failed, 0 = other
    int16_t child
    int16_t attempt
    int8_t exit_reason              # codes.ExitReason
    int8_t follows                  # its price was the best bid when it left
    int8_t follow_amends            # amends sent to follow it
    int8_t spare
    char cl_ord_id[24]
    char order_id[24]

@cython.final
cdef class OrderTable:
    cdef OrderRow rows[ORDERS_MAX]
    cdef int live[ORDERS_MAX]       # slots in use, in order of creation
    cdef int live_count
    cdef int8_t next_state[16][32]  # [state][event] -> state, -1 = illegal
    cdef readonly int64_t illegal_count

    cdef int take(self) noexcept nogil
    cdef void release(self, int slot) noexcept nogil
    cdef int find(self, const char *cl_ord_id, int n) noexcept nogil
    cdef int move(self, int slot, int event, int64_t mono_ns) noexcept nogil
    cdef int64_t leaves(self, const OrderRow *row) noexcept nogil
