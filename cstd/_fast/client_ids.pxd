"""Client order ids of this account and boot. See client_ids.pyx."""
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cstd._fast.sink cimport FrameSink

cdef enum:
    IDS_BITS_START = 15         # table of client order ids ever encoded; small enough to stay in the second cache

cdef class OrderIds(FrameSink):
    cdef char prefix[2]
    cdef uint8_t account_hash[8]
    cdef public int64_t boot_epoch
    cdef readonly int64_t intent_seq
    cdef uint64_t *ids                  # open addressing; at most half full after each timer
    cdef int id_bits
    cdef int64_t id_count
    cdef int64_t id_count_max
    # The client order id of the next intent, hashed ahead of it while nothing waits.
    cdef int64_t prepared_seq
    cdef int64_t prepared_epoch
    cdef uint64_t prepared_key
    cdef bint prepared_seen
    cdef int64_t prepared_count         # ids in the table when prepared_seen was found out
    cdef char prepared_id[18]

    cdef bint _next_id(self, char *out) noexcept
    cdef void _prepare_id(self) noexcept
    cdef void _hash_id(self, int64_t intent_seq) noexcept
    cdef int _grow_ids(self) noexcept
    cdef bint _id_seen(self, uint64_t key) noexcept nogil
    cdef void _id_add(self, uint64_t key) noexcept nogil
