"""Client order ids: derived, never drawn, and every one that was ever encoded.

Purpose: the id of an intent is the hash of account, boot epoch and intent sequence behind the owner's prefix; it is hashed
ahead of the intent while nothing waits, and entered into the table when its order is encoded. Takes: the identity that
`core.set_identity` writes. Gives: ids to the gateway, which extends this class.

Invariants held here: an id that was encoded before is known to be; the table is at most half full after each timer, and
where there is no memory to double it the first gate refuses from three quarters on.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from cstd._fast.recorder cimport sha256_block1
from cstd._fast.sink cimport FrameSink

cdef extern from "client_id.h" nogil:
    void cstd_client_order_id(const char *prefix, const uint8_t *hash, char *out)

cdef extern from "zero.h" nogil:
    void cstd_zero(void *to, size_t n)


cdef class OrderIds(FrameSink):
    """Ids of this account and boot. No arguments of its own."""

    def __cinit__(self, *args):
        self.id_bits = IDS_BITS_START
        self.id_count_max = (1 << IDS_BITS_START) // 4 * 3
        self.ids = <uint64_t *>calloc(1 << IDS_BITS_START, sizeof(uint64_t))
        if self.ids == NULL:
            raise MemoryError("client order ids")
        # Touched now: calloc's pages are made at the first store, which would be an order's.
        cstd_zero(self.ids, sizeof(uint64_t) << IDS_BITS_START)

    def __dealloc__(self):
        free(self.ids)

    cdef bint _next_id(self, char *out) noexcept:
        """Client order id of the current intent: hash of account, boot epoch, intent sequence, child 0, attempt 0.
        Returns whether it was encoded before."""
        if self.prepared_seq != self.intent_seq or self.prepared_epoch != self.boot_epoch:
            self._hash_id(self.intent_seq)
        elif self.prepared_count != self.id_count:
            self.prepared_seen = self._id_seen(self.prepared_key)
        memcpy(out, self.prepared_id, 18)
        return self.prepared_seen

    cdef void _prepare_id(self) noexcept:
        """Hash the id of the next intent while nothing waits: all that goes into it is known before the intent is."""
        if self.prepared_seq != self.intent_seq + 1 or self.prepared_epoch != self.boot_epoch:
            self._hash_id(self.intent_seq + 1)

    cdef void _hash_id(self, int64_t intent_seq) noexcept:
        cdef uint8_t message[32]
        cdef uint8_t hashed[32]
        cdef uint64_t second_half
        memset(message, 0, 32)
        memcpy(message, self.account_hash, 8)
        memcpy(message + 8, &self.boot_epoch, 8)
        memcpy(message + 16, &intent_seq, 8)
        sha256_block1(message, 32, hashed)
        cstd_client_order_id(self.prefix, hashed, self.prepared_id)
        memcpy(&self.prepared_key, self.prepared_id + 2, 8)
        memcpy(&second_half, self.prepared_id + 10, 8)
        self.prepared_key ^= second_half * <uint64_t>11400714819323198485
        self.prepared_seen = self._id_seen(self.prepared_key)
        self.prepared_count = self.id_count
        self.prepared_seq = intent_seq
        self.prepared_epoch = self.boot_epoch

    cdef bint _id_seen(self, uint64_t key) noexcept nogil:
        cdef uint64_t mask = (<uint64_t>1 << self.id_bits) - 1
        cdef uint64_t at = (key * <uint64_t>11400714819323198485) >> (64 - self.id_bits)
        while self.ids[at]:
            if self.ids[at] == key:
                return True
            at = (at + 1) & mask
        return False

    cdef void _id_add(self, uint64_t key) noexcept nogil:
        cdef uint64_t mask = (<uint64_t>1 << self.id_bits) - 1
        cdef uint64_t at = (key * <uint64_t>11400714819323198485) >> (64 - self.id_bits)
        while self.ids[at]:
            at = (at + 1) & mask
        self.ids[at] = key
        self.id_count += 1

    cdef int _grow_ids(self) noexcept:
        """Double the table once it is half full; called by the timer, off the path. -1: no memory, so the table fills
        to three quarters and the first gate refuses from then on."""
        cdef uint64_t *old = self.ids
        cdef uint64_t *grown
        cdef int64_t i
        cdef int64_t size = <int64_t>1 << self.id_bits
        if self.id_count * 2 < size:
            return 0
        grown = <uint64_t *>calloc(size * 2, sizeof(uint64_t))
        if grown == NULL:
            return -1
        self.ids = grown
        self.id_bits += 1
        self.id_count = 0
        self.id_count_max = size // 2 * 3
        for i in range(size):
            if old[i]:
                self._id_add(old[i])
        free(old)
        return 0
