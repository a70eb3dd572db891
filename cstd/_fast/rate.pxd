"""The venue's trading rate counter of one instrument, see csrc/rate.h."""
from libc.stdint cimport int64_t

from cstd._fast.orders cimport OrderRow

cdef enum:
    ADD_POINTS = 1

cdef extern from "rate.h" nogil:
    ctypedef struct Rate "cstd_rate":
        int64_t level_micro
        int64_t remainder
        int64_t updated_ns
        int64_t decay_micro_per_s
        int64_t limit_micro
        int64_t threshold_micro

    void rate_settle "cstd_rate_settle"(Rate *rate, int64_t now_ns)
    void rate_charge "cstd_rate_charge"(Rate *rate, int64_t points, int64_t now_ns)
    bint rate_admits "cstd_rate_admits"(Rate *rate, int64_t points, int64_t now_ns)
    void rate_raise "cstd_rate_raise"(Rate *rate, int64_t level_micro, int64_t now_ns)
    int64_t amend_points "cstd_rate_amend_points"(int64_t age_ns)
    int64_t cancel_points "cstd_rate_cancel_points"(int64_t age_ns)


cdef inline int64_t order_age_ns(const OrderRow *order, int64_t now_ns) noexcept nogil:
    """Since an order was sent or last amended: never more than at the venue, so that it never costs less than there."""
    return now_ns - (order.amended_mono_ns if order.amended_mono_ns > order.sent_mono_ns else order.sent_mono_ns)
