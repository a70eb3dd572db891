"""Log-bucket histograms fed by the cycle counter: telemetry only, no decision can see them."""
from libc.stdint cimport int64_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(__x86_64__)
    #include <x86intrin.h>
    static inline uint64_t cstd_stamp(void) { return __rdtsc(); }
    #else
    #include <time.h>
    static inline uint64_t cstd_stamp(void)
    {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
    }
    #endif
    /* CSTD_NO_STAGES builds the path without its stage timers: bench/measuring.py takes the difference. */
    #ifdef CSTD_NO_STAGES
    #define CSTD_STAGES 0
    static inline uint64_t cstd_cycles(void) { return 0; }
    #else
    #define CSTD_STAGES 1
    static inline uint64_t cstd_cycles(void) { return cstd_stamp(); }
    #endif
    /* Bucket of a duration: eight per power of two above 16 ns, so a bucket is at most 12.5 % wide. */
    static inline int cstd_bucket(uint64_t ns)
    {
        int top, index;
        if (ns < 16)
            return (int)ns;
        top = 63 - __builtin_clzll(ns);
        index = 16 + (top - 4) * 8 + (int)((ns >> (top - 3)) & 7);
        return index < 256 ? index : 255;
    }
    """
    bint STAGES_ON "CSTD_STAGES"
    uint64_t stamp "cstd_stamp"() noexcept nogil     # the counter itself, for those who time the path from outside
    uint64_t cycles "cstd_cycles"() noexcept nogil   # for stages
    int bucket "cstd_bucket"(uint64_t ns) noexcept nogil

cdef enum:
    STAGE_FRAME = 0         # frame handed over -> applied (scan, book, checksum, features); one frame in 16, as the parts
    STAGE_DECISION = 1      # first frame of a batch handed over -> all its passes done
    STAGE_ORDER = 2         # first frame of the instrument in its batch handed over -> order bytes finished
    STAGE_SEND = 3          # order bytes finished -> handed to the socket
    STAGE_SCAN = 4
    STAGE_BOOK = 5
    STAGE_FEATURES = 6
    STAGE_GATES = 7
    STAGE_SENT = 8          # first frame of the instrument in its batch handed over -> order handed to the socket

cdef enum:
    BUCKETS = 256
    STAGE_COUNT = 9

cdef class Histograms:
    cdef int64_t counts[STAGE_COUNT][BUCKETS]
    cdef int64_t sums_ns[STAGE_COUNT]
    cdef readonly double ns_per_cycle
    cdef inline void observe(self, int stage, uint64_t from_cycles, uint64_t to_cycles) noexcept nogil:
        cdef uint64_t ns
        if not STAGES_ON:
            return
        if to_cycles <= from_cycles:
            ns = 0
        else:
            ns = <uint64_t>(<double>(to_cycles - from_cycles) * self.ns_per_cycle)
        self.counts[stage][bucket(ns)] += 1
        self.sums_ns[stage] += <int64_t>ns
