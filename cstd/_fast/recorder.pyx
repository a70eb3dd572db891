"""Recorder: the engine's only way to the journal.

Owns: the session's record sequence and digest. Inputs are events; outputs are decisions, order frames and what follows
from them. An output is recorded before it takes effect, so a crash can only lose what never happened.

The digest is SHA-256, in the eight stripes of stripes.h, over decision rows and order frames (tokens are never in them) in
order; when a recording is replayed, the quantised rows of every pass join in. Hashing a row at once would cost as much as
deciding, so rows are put aside and hashed by `settle`, between batches.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove

from cstd._fast.codes cimport OUT_DECISION, OUT_ORDER_FRAME, OUT_PASS
from cstd._fast.journal cimport Journal


cdef class Recorder:
    """journal: where records go, None to keep none (replay, bench)."""

    def __cinit__(self, Journal journal=None):
        self.journal = journal
        self.journaling = journal is not None
        self.captured = None
        self.digest_passes = False
        self.failed = False
        self.seq = 0
        self.pending = <uint8_t *>calloc(PENDING_BYTES, 1)
        if self.pending == NULL:
            raise MemoryError("digest buffer")
        self.pending_n = 0
        stripes_init(&self.digest)

    def __dealloc__(self):
        free(self.pending)

    def attach(self, Journal journal):
        """Give the recorder its journal once recovery has replayed what it holds."""
        self.journal = journal
        self.journaling = True

    cdef int input(self, int kind, int tag, int64_t mono_ns, int64_t wall_ns, const void *data, size_t n) noexcept:
        """Record one event before it is processed. Returns 0, or -1 when the journal cannot take it."""
        self.seq += 1
        if self.journaling and self.journal.append(kind, tag, mono_ns, wall_ns, data, n) != 0:
            self.failed = True
            return -1
        return 0

    cdef int output(self, int kind, int tag, int64_t mono_ns, int64_t wall_ns, const void *data, size_t n) noexcept:
        """Record one output before it takes effect. Returns 0, or -1: the caller must not let it take effect."""
        self.seq += 1
        if kind == OUT_DECISION or kind == OUT_ORDER_FRAME or kind == OUT_PASS:
            self._defer(data, n)
        if self.captured is not None:
            self.captured.append((kind, tag, PyBytes_FromStringAndSize(<const char *>data, n)))
        if self.journaling and self.journal.append(kind, tag, mono_ns, wall_ns, data, n) != 0:
            self.failed = True
            return -1
        return 0

    cdef void _defer(self, const void *data, size_t n) noexcept nogil:
        cdef const uint8_t *rest = <const uint8_t *>data
        cdef size_t take
        while n:
            if self.pending_n == PENDING_BYTES:
                self.settle()
            take = min(n, PENDING_BYTES - self.pending_n)
            memcpy(self.pending + self.pending_n, rest, take)
            self.pending_n += take
            rest += take
            n -= take

    cdef void settle(self) noexcept nogil:
        """Hash what was put aside, in whole rounds of STRIPED bytes."""
        cdef size_t taken = stripes_update(&self.digest, self.pending, self.pending_n)
        self.pending_n -= taken
        if taken:
            memmove(self.pending, self.pending + taken, self.pending_n)

    def input_py(self, int kind, int tag, int64_t mono_ns, int64_t wall_ns, bytes data):
        """`input` for Python; returns True when recorded."""
        return self.input(kind, tag, mono_ns, wall_ns, <const char *>data, len(data)) == 0

    def output_py(self, int kind, int tag, int64_t mono_ns, int64_t wall_ns, bytes data):
        """`output` for Python; returns True when recorded."""
        return self.output(kind, tag, mono_ns, wall_ns, <const char *>data, len(data)) == 0

    def hexdigest(self):
        """Digest of everything so far, as 64 hex digits."""
        cdef uint8_t out[32]
        self.settle()
        stripes_final(&self.digest, self.pending, self.pending_n, out)
        return PyBytes_FromStringAndSize(<char *>out, 32).hex()
