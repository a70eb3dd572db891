"""What the exit policy watches of one instrument, see csrc/exits.h; and the bits of a decision row's `rest`."""
from libc.stdint cimport int64_t

cdef enum:
    BY_REST = 1
    REST_PRICED = 2
    EXIT_REASON_SHIFT = 4       # codes.ExitReason in the upper half of the byte

cdef extern from "exits.h" nogil:
    ctypedef struct ExitWatch "cstd_exit_watch":
        int64_t stop2_raw
        int64_t target_raw
        int64_t until_wall_ns
        int64_t hit_since_ns
        int64_t hits
        int64_t reason

    void exit_on_mid "cstd_exit_on_mid"(ExitWatch *watch, int64_t mid2_raw, int64_t now_ns)
    void exit_on_time "cstd_exit_on_time"(ExitWatch *watch, int64_t now_ns)
    int64_t exit_due "cstd_exit_due"(ExitWatch *watch, int64_t bid_raw, int64_t wall_ns, bint escalated)
