"""Where every input and output of the engine is recorded, numbered and hashed."""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cstd._fast.journal cimport Journal

cdef extern from "stripes.h" nogil:
    enum:
        STRIPED "CSTD_STRIPED"          # bytes that are hashed at once
    ctypedef struct Stripes "cstd_stripes":
        pass
    void stripes_init "cstd_stripes_init"(Stripes *)
    size_t stripes_update "cstd_stripes_update"(Stripes *, const uint8_t *data, size_t n)
    void stripes_final "cstd_stripes_final"(const Stripes *, const uint8_t *rest, size_t n, uint8_t *out)
    void sha256_block1 "cstd_sha256_block1"(const void *msg, size_t n, uint8_t *out)

cdef enum:
    PENDING_BYTES = 1 << 16

@cython.final
cdef class Recorder:
    cdef Journal journal
    cdef public list captured       # (kind, tag, payload) of outputs, when a replay compares them
    cdef public bint journaling     # off while recovery replays what the journal already holds
    cdef public bint digest_passes
    cdef readonly bint failed       # a record could not be written: nothing may be sent any more
    cdef readonly int64_t seq
    cdef Stripes digest
    cdef uint8_t *pending
    cdef size_t pending_n

    cdef int input(self, int kind, int tag, int64_t mono_ns, int64_t wall_ns, const void *data, size_t n) noexcept
    cdef int output(self, int kind, int tag, int64_t mono_ns, int64_t wall_ns, const void *data, size_t n) noexcept
    cdef void settle(self) noexcept nogil
    cdef void _defer(self, const void *data, size_t n) noexcept nogil
