# distutils: sources = cstd/_fast/csrc/journal_writer.c
"""The journal's writing side: a thin class over the ring and its C writer thread.

Opening and recovery are `cstd.storage.journal.open_journal`; reading is `cstd._fast.journal_scan`.
A record is in the ring, and so safe from kill -9, when `append` returns; it is on disk, and so safe
from power loss, at most one sync interval later, or when `sync` returns.
"""
import os

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy

cdef extern from "journal_writer.h" nogil:
    ctypedef struct cstd_journal_start:
        const char *directory
        const char *ring_path
        uint8_t journal_id[16]
        uint64_t segment
        uint64_t segment_offset
        uint64_t next_index
        uint8_t prev[32]
        uint64_t next_seq
        uint64_t unwritten_seq
        uint64_t ring_written
        uint64_t ring_head
        uint64_t segment_bytes
        int64_t sync_interval_ns

    int cstd_ring_create(const char *path, uint64_t data_bytes, const uint8_t *journal_id, const uint8_t *boot_id)
    int cstd_segment_create(int directory_fd, uint64_t number, uint64_t first_index, uint64_t first_seq,
                            const uint8_t *journal_id, const uint8_t *prev, uint64_t segment_bytes,
                            uint8_t *hash_out, int *fd_out)
    int cstd_journal_open(const cstd_journal_start *start, cstd_journal **out)
    int cstd_journal_sync(cstd_journal *journal)
    int cstd_journal_sync_within(cstd_journal *journal, int64_t timeout_ns)
    int cstd_journal_close(cstd_journal *journal)
    int64_t cstd_journal_sync_lag_ns(cstd_journal *journal)
    int cstd_journal_append(cstd_journal *journal, uint16_t kind, uint16_t tag, int64_t mono_ns, int64_t wall_ns,
                            const void *p1, size_t n1, const void *p2, size_t n2)
    int __atomic_load_n(int *pointer, int order)
    uint64_t load_u64 "__atomic_load_n"(uint64_t *pointer, int order)
    int __ATOMIC_RELAXED

# Bytes of one record header; what a reader adds to the payload, padded to 8, to get from record to record.
RECORD_HEADER_BYTES = 48


cdef raise_errno(int error, str path):
    raise OSError(error, os.strerror(error), path)


def create_ring(str path, uint64_t data_bytes, bytes journal_id, bytes boot_id):
    """Make an empty ring file of `data_bytes` (a power of two), with every page allocated.

    Raises OSError, with no file left behind, when the space is not there.
    """
    if len(journal_id) != 16 or len(boot_id) != 16 or data_bytes < 4096 or data_bytes & (data_bytes - 1):
        raise ValueError("ids have 16 bytes, a ring a power of two of at least 4096")
    cdef bytes name = os.fsencode(path)
    cdef int error = cstd_ring_create(name, data_bytes, <const uint8_t *>PyBytes_AS_STRING(journal_id),
                                      <const uint8_t *>PyBytes_AS_STRING(boot_id))
    if error:
        raise_errno(error, path)


def create_first_segment(str directory, bytes journal_id, uint64_t segment_bytes):
    """Make segment 1 of a new journal, synced, its space reserved; returns the hash of its header."""
    cdef uint8_t hash_out[32]
    cdef uint8_t[32] zeros
    cdef int fd = -1
    for i in range(32):
        zeros[i] = 0
    directory_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        error = cstd_segment_create(directory_fd, 1, 1, 1, <const uint8_t *>PyBytes_AS_STRING(journal_id),
                                    zeros, segment_bytes, hash_out, &fd)
    finally:
        os.close(directory_fd)
    if error:
        raise_errno(error, directory)
    os.close(fd)
    return (<char *>hash_out)[:32]


cdef class Journal:
    """An open journal: one producer thread appends, a C thread writes.

    Made by `cstd.storage.journal.open_journal`, which holds the directory's lock and knows where to go on.
    Invariant: every record of `seq` < `next_seq` is in the ring or in a segment, in order, without a gap.
    """

    def __cinit__(self, str directory, str ring_path, *, bytes journal_id, uint64_t segment, uint64_t segment_offset,
                  uint64_t next_index, bytes prev, uint64_t next_seq, uint64_t unwritten_seq, uint64_t ring_written,
                  uint64_t ring_head, uint64_t segment_bytes, int64_t sync_interval_ns, dict recovery, lock_file):
        cdef cstd_journal_start start
        if len(journal_id) != 16 or len(prev) != 32:
            raise ValueError("a journal id has 16 bytes, a hash 32")
        cdef bytes directory_name = os.fsencode(directory)
        cdef bytes ring_name = os.fsencode(ring_path)
        start.directory = directory_name
        start.ring_path = ring_name
        memcpy(start.journal_id, PyBytes_AS_STRING(journal_id), 16)
        memcpy(start.prev, PyBytes_AS_STRING(prev), 32)
        start.segment = segment
        start.segment_offset = segment_offset
        start.next_index = next_index
        start.next_seq = next_seq
        start.unwritten_seq = unwritten_seq
        start.ring_written = ring_written
        start.ring_head = ring_head
        start.segment_bytes = segment_bytes
        start.sync_interval_ns = sync_interval_ns
        cdef int error = cstd_journal_open(&start, &self._journal)
        if error:
            raise_errno(error, directory)
        self.directory = directory
        self.ring_path = ring_path
        self.recovery = recovery
        self._lock_file = lock_file

    def __dealloc__(self):
        # A journal that nobody closed is still written out: what was appended was promised.
        if self._journal != NULL:
            with nogil:
                cstd_journal_close(self._journal)
            self._journal = NULL

    cdef int append(self, uint16_t kind, uint16_t tag, int64_t mono_ns, int64_t wall_ns,
                    const void *data, size_t n) noexcept nogil:
        if self._journal == NULL:
            return -1
        return cstd_journal_append(self._journal, kind, tag, mono_ns, wall_ns, data, n, NULL, 0)

    cdef int append2(self, uint16_t kind, uint16_t tag, int64_t mono_ns, int64_t wall_ns,
                     const void *first, size_t first_bytes, const void *second, size_t second_bytes) noexcept nogil:
        if self._journal == NULL:
            return -1
        return cstd_journal_append(self._journal, kind, tag, mono_ns, wall_ns, first, first_bytes, second, second_bytes)

    cdef uint64_t next_seq(self) noexcept nogil:
        return 0 if self._journal == NULL else self._journal.next_seq

    cdef int writer_error(self) noexcept nogil:
        return 0 if self._journal == NULL else __atomic_load_n(&self._journal.writer_error, __ATOMIC_RELAXED)

    cdef bint fuller(self, int quarters) noexcept nogil:
        if self._journal == NULL:
            return False
        return ((self._journal.head - load_u64(&self._journal.synced, __ATOMIC_RELAXED)) * 4
                > self._journal.capacity * <uint64_t>quarters)

    cdef int sync_within(self, int64_t timeout_ns) noexcept nogil:
        return -1 if self._journal == NULL else cstd_journal_sync_within(self._journal, timeout_ns)

    cdef bint synced_to(self, uint64_t bytes_) noexcept nogil:
        return self._journal != NULL and load_u64(&self._journal.synced, __ATOMIC_RELAXED) >= bytes_

    cdef uint64_t appended(self) noexcept nogil:
        return 0 if self._journal == NULL else self._journal.head

    def append_py(self, uint16_t kind, uint16_t tag, int64_t mono_ns, int64_t wall_ns, bytes data not None,
                  bytes more not None=b""):
        """Append one record from Python, its payload `data` and then `more`; returns its sequence number.

        Raises BufferError when the ring is full, the record too large, or the journal closed.
        """
        cdef uint64_t seq = self.next_seq()
        if self.append2(kind, tag, mono_ns, wall_ns, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data),
                        PyBytes_AS_STRING(more), PyBytes_GET_SIZE(more)) != 0:
            raise BufferError(f"no room in {self.ring_path} for a record of {len(data) + len(more)} bytes")
        return seq

    @property
    def seq(self):
        """Sequence number of the newest record, 0 in an empty journal."""
        self._check_open()
        return self._journal.next_seq - 1

    @property
    def error(self):
        """errno of the writer thread's first failure, 0 while all is well."""
        return self.writer_error()

    def stats(self):
        """Return counts since this process opened the journal, as a dict of integers.

        `bytes` and `records` were appended, `file_bytes` written to segments; `full_count` and `oversize_count`
        appends were refused; `pending_bytes` are not yet on disk, for `sync_lag_ns`; `writer_error` is an errno.
        """
        self._check_open()
        cdef cstd_journal *j = self._journal
        return {
            "records": j.records, "bytes": j.head - j.head_at_open, "file_bytes": j.file_bytes, "blocks": j.blocks,
            "segments": j.segments, "syncs": j.syncs, "sync_ns_max": j.sync_ns_max,
            "full_count": j.full_count, "oversize_count": j.oversize_count,
            "ring_bytes": j.capacity, "pending_bytes": j.head - j.synced,
            "seq": j.next_seq - 1, "synced_seq": j.synced_seq, "sync_lag_ns": cstd_journal_sync_lag_ns(j),
            "writer_error": j.writer_error, "error_count": j.error_count,
        }

    def sync(self):
        """Block until everything appended so far is on disk; raises OSError when the disk refuses."""
        self._check_open()
        cdef int error
        with nogil:
            error = cstd_journal_sync(self._journal)
        if error:
            raise_errno(error, self.directory)

    def close(self):
        """Write and sync the rest, end the writer thread, free the directory; a second call does nothing.

        Raises OSError when something stayed in the ring; the next start takes it from there.
        """
        if self._journal == NULL:
            return
        cdef cstd_journal *journal = self._journal
        cdef int error
        self._journal = NULL
        with nogil:
            error = cstd_journal_close(journal)
        lock_file, self._lock_file = self._lock_file, None
        if lock_file is not None:
            lock_file.close()
        if error:
            raise_errno(error, self.directory)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    cdef object _check_open(self):
        if self._journal == NULL:
            raise ValueError(f"the journal {self.directory} is closed")
