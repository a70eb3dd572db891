"""Shape of the journal: what the engine calls for each record, and the C it is made of."""
from libc.stdint cimport int64_t, uint16_t, uint64_t

cdef extern from "journal_writer.h" nogil:
    ctypedef struct cstd_journal:
        uint64_t capacity
        uint64_t head
        uint64_t next_seq
        uint64_t records
        uint64_t full_count
        uint64_t oversize_count
        uint64_t payload_max
        uint64_t head_at_open
        uint64_t written
        uint64_t synced
        uint64_t synced_seq
        int writer_error
        int failing
        uint64_t error_count
        uint64_t blocks
        uint64_t segments
        uint64_t syncs
        uint64_t sync_ns_max
        uint64_t file_bytes


cdef class Journal:
    cdef cstd_journal *_journal
    cdef readonly str directory
    cdef readonly str ring_path
    cdef readonly dict recovery
    cdef object _lock_file

    # 0, or -1 when the ring is full, the record too large or the journal closed; counted, the caller halts trading.
    cdef int append(self, uint16_t kind, uint16_t tag, int64_t mono_ns, int64_t wall_ns,
                    const void *data, size_t n) noexcept nogil
    # The same record made of two pieces, so that a header and a borrowed frame need no copy of their own.
    cdef int append2(self, uint16_t kind, uint16_t tag, int64_t mono_ns, int64_t wall_ns,
                     const void *first, size_t first_bytes, const void *second, size_t second_bytes) noexcept nogil
    # Sequence number that the next append will give; 0 when closed.
    cdef uint64_t next_seq(self) noexcept nogil
    # errno of the writer thread's first failure, 0 while all is well; one load, cheap enough for every pass.
    cdef int writer_error(self) noexcept nogil
    # Whether more than this many quarters of the ring wait for the disk; two loads.
    cdef bint fuller(self, int quarters) noexcept nogil
    # Blocks until everything appended so far is on disk, but not for longer: 0, an errno, ETIMEDOUT; -1 when closed.
    cdef int sync_within(self, int64_t timeout_ns) noexcept nogil
    # Bytes appended since the ring was made, and whether so many are on disk.
    cdef uint64_t appended(self) noexcept nogil
    cdef bint synced_to(self, uint64_t bytes_) noexcept nogil
    cdef object _check_open(self)
