# cython: nonecheck=False
"""The journal's reading side: blocks and records checked and taken apart, one block at a time.

Gives status codes, never exceptions: `cstd.storage.journal_reader` turns them into a place and a sentence.
Also the Python view of the hash and the checksum, for tests and for readers.

The directive: Cython's checked build cannot compile `self.x += 1` without the GIL while it checks for None.
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

cdef extern from "journal_writer.h" nogil:
    enum:
        CSTD_BLOCK_MAGIC
        CSTD_JOURNAL_VERSION

    ctypedef struct cstd_record:
        uint32_t crc32c
        uint32_t payload_bytes
        uint16_t kind
        uint16_t tag
        uint32_t version
        uint64_t seq
        int64_t recv_mono_ns
        int64_t recv_wall_ns
        int64_t spare

    ctypedef struct cstd_block:
        uint32_t magic
        uint32_t payload_bytes
        uint64_t first_seq
        uint64_t last_seq
        uint64_t index
        uint8_t prev[32]
        uint8_t hash[32]

    uint64_t cstd_record_bytes(uint64_t payload_bytes)

cdef extern from "crc32c.h" nogil:
    uint32_t c_crc32c "cstd_crc32c"(uint32_t crc, const void *data, size_t n)
    uint32_t c_crc32c_portable "cstd_crc32c_portable"(uint32_t crc, const void *data, size_t n)

cdef extern from "sha256.h" nogil:
    ctypedef struct cstd_sha256:
        pass

    void cstd_sha256_init(cstd_sha256 *s)
    void cstd_sha256_update(cstd_sha256 *s, const void *data, size_t n)
    void cstd_sha256_final(const cstd_sha256 *s, uint8_t *out)
    void cstd_sha256_block1(const void *message, size_t n, uint8_t *out)
    int cstd_sha256_backend()
    void cstd_sha256_blocks_portable(uint32_t *state, const uint8_t *p, size_t blocks)

cdef extern from "journal_hash.h" nogil:
    void cstd_block_hash(const cstd_block *block, const void *payload, uint8_t *out)

cpdef enum JournalFault:
    JOURNAL_FINE = 0
    JOURNAL_END = 1
    JOURNAL_TORN = 2
    JOURNAL_BLOCK_MAGIC = 3
    JOURNAL_BLOCK_INDEX = 4
    JOURNAL_BLOCK_SEQ = 5
    JOURNAL_BLOCK_LENGTH = 6
    JOURNAL_BLOCK_PREV = 7
    JOURNAL_BLOCK_HASH = 8
    JOURNAL_RECORD_LENGTH = 9
    JOURNAL_RECORD_VERSION = 10
    JOURNAL_RECORD_SEQ = 11
    JOURNAL_RECORD_CRC = 12


@cython.freelist(256)
@cython.no_gc
cdef class Record:
    """One journal record; unpacks as (seq, kind, tag, mono_ns, wall_ns, payload)."""

    def __iter__(self):
        return iter((self.seq, self.kind, self.tag, self.mono_ns, self.wall_ns, self.payload))

    def __repr__(self):
        return f"Record(seq={self.seq}, kind={self.kind}, tag={self.tag}, payload={len(self.payload)} bytes)"


cdef Record make_record(const cstd_record *header):
    cdef Record record = Record.__new__(Record)
    record.seq = header.seq
    record.kind = header.kind
    record.tag = header.tag
    record.mono_ns = header.recv_mono_ns
    record.wall_ns = header.recv_wall_ns
    record.payload = PyBytes_FromStringAndSize(<const char *>header + sizeof(cstd_record), header.payload_bytes)
    return record


cdef int check_record(const uint8_t *at, uint64_t room, uint64_t seq) noexcept nogil:
    """Judge the record at `at`, of which at most `room` bytes exist and which must be number `seq` (0: any)."""
    cdef const cstd_record *header = <const cstd_record *>at
    if room < sizeof(cstd_record):
        return JOURNAL_TORN
    cdef uint64_t total = cstd_record_bytes(header.payload_bytes)
    if total > room:
        return JOURNAL_RECORD_LENGTH
    if header.crc32c != c_crc32c(0, at + 4, total - 4):
        return JOURNAL_RECORD_CRC
    if header.version != CSTD_JOURNAL_VERSION:
        return JOURNAL_RECORD_VERSION
    if seq and header.seq != seq:
        return JOURNAL_RECORD_SEQ
    return JOURNAL_FINE


cdef class BlockCursor:
    """Walks the blocks of one segment, proving each before it hands out a record.

    Invariant: `offset`, `prev`, `next_index` and `next_seq` describe the first block not yet accepted, so a
    caller can stop at any fault and go on later, or in the next segment.
    """

    cdef Py_buffer _view
    cdef bint _held
    cdef const uint8_t *_data
    cdef uint64_t _size
    cdef uint8_t _prev[32]
    cdef readonly uint64_t offset
    cdef readonly uint64_t next_index
    cdef readonly uint64_t next_seq
    cdef readonly uint64_t fault_offset
    cdef readonly uint64_t fault_seq

    def __cinit__(self, data, *, uint64_t offset, bytes prev, uint64_t next_index, uint64_t next_seq):
        PyObject_GetBuffer(data, &self._view, PyBUF_SIMPLE)
        self._held = True
        if len(prev) != 32 or offset > <uint64_t>self._view.len:
            raise ValueError("a hash has 32 bytes and an offset lies in the data")
        self._data = <const uint8_t *>self._view.buf
        self._size = self._view.len
        memcpy(self._prev, PyBytes_AS_STRING(prev), 32)
        self.offset = offset
        self.next_index = next_index
        self.next_seq = next_seq

    def __dealloc__(self):
        if self._held:
            PyBuffer_Release(&self._view)

    @property
    def prev(self):
        """Hash of the last accepted block, or what the cursor started with."""
        return (<char *>self._prev)[:32]

    cdef int _fail(self, int fault, uint64_t offset, uint64_t seq) noexcept nogil:
        self.fault_offset = offset
        self.fault_seq = seq
        return fault

    cdef int _check_header(self, const cstd_block *block, uint64_t room) noexcept nogil:
        if room < sizeof(cstd_block):
            return self._fail(JOURNAL_TORN, self.offset, self.next_seq)
        if block.magic != CSTD_BLOCK_MAGIC:
            return self._fail(JOURNAL_BLOCK_MAGIC, self.offset, self.next_seq)
        if block.index != self.next_index:
            return self._fail(JOURNAL_BLOCK_INDEX, self.offset + 24, self.next_seq)
        if block.first_seq != self.next_seq:
            return self._fail(JOURNAL_BLOCK_SEQ, self.offset + 8, self.next_seq)
        if memcmp(block.prev, self._prev, 32) != 0:
            return self._fail(JOURNAL_BLOCK_PREV, self.offset + 32, self.next_seq)
        if block.payload_bytes % 8 or block.payload_bytes < sizeof(cstd_record):
            return self._fail(JOURNAL_BLOCK_LENGTH, self.offset + 4, self.next_seq)
        if block.payload_bytes > room - sizeof(cstd_block):
            return self._fail(JOURNAL_TORN, self.offset, self.next_seq)
        return JOURNAL_FINE

    cdef int _check_records(self, const cstd_block *block) noexcept nogil:
        cdef const uint8_t *at = <const uint8_t *>block + sizeof(cstd_block)
        cdef const uint8_t *end = at + block.payload_bytes
        cdef uint64_t seq = block.first_seq
        cdef int fault
        while at < end:
            if seq > block.last_seq:
                # All its records are here already: its length, or its last number, is what changed.
                return self._fail(JOURNAL_BLOCK_LENGTH, self.offset + 4, block.first_seq)
            fault = check_record(at, end - at, seq)
            if fault != JOURNAL_FINE:
                return self._fail(fault, at - self._data, seq)
            at += cstd_record_bytes((<const cstd_record *>at).payload_bytes)
            seq += 1
        if seq != block.last_seq + 1:
            return self._fail(JOURNAL_BLOCK_SEQ, self.offset + 16, block.last_seq)
        return JOURNAL_FINE

    cdef int _check_block(self, const cstd_block *block) noexcept nogil:
        cdef uint8_t digest[32]
        cdef int fault
        if self.offset == self._size:
            return JOURNAL_END
        fault = self._check_header(block, self._size - self.offset)
        if fault != JOURNAL_FINE:
            return fault
        # Records first: a flipped byte in one is then named by its own checksum, not by its block's hash.
        fault = self._check_records(block)
        if fault != JOURNAL_FINE:
            return fault
        cstd_block_hash(block, <const uint8_t *>block + sizeof(cstd_block), digest)
        if memcmp(digest, block.hash, 32) != 0:
            return self._fail(JOURNAL_BLOCK_HASH, self.offset + 64, block.first_seq)
        return JOURNAL_FINE

    cdef void _accept(self, const cstd_block *block) noexcept nogil:
        memcpy(self._prev, block.hash, 32)
        self.offset += sizeof(cstd_block) + block.payload_bytes
        self.next_index += 1
        self.next_seq = block.last_seq + 1

    def check(self):
        """Prove the next block and step over it; returns a JournalFault, JOURNAL_FINE when it holds."""
        cdef const cstd_block *block = <const cstd_block *>(self._data + self.offset)
        cdef int fault
        with nogil:
            fault = self._check_block(block)
            if fault == JOURNAL_FINE:
                self._accept(block)
        return fault

    def read(self, list into not None):
        """Prove the next block, append its records to `into` and step over it; returns a JournalFault."""
        cdef const cstd_block *block = <const cstd_block *>(self._data + self.offset)
        cdef const uint8_t *at
        cdef const uint8_t *end
        cdef int fault
        with nogil:
            fault = self._check_block(block)
        if fault != JOURNAL_FINE:
            return fault
        at = <const uint8_t *>block + sizeof(cstd_block)
        end = at + block.payload_bytes
        while at < end:
            into.append(make_record(<const cstd_record *>at))
            at += cstd_record_bytes((<const cstd_record *>at).payload_bytes)
        self._accept(block)
        return JOURNAL_FINE


def scan_records(bytes data not None):
    """Take apart bare records, as a ring holds them, with consecutive sequence numbers.

    Returns (records, bytes they fill, JournalFault of what follows: JOURNAL_END when nothing does).
    """
    cdef const uint8_t *begin = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef uint64_t size = PyBytes_GET_SIZE(data)
    cdef uint64_t offset = 0, seq = 0
    cdef int fault = JOURNAL_END
    cdef list records = []
    while offset < size:
        fault = check_record(begin + offset, size - offset, seq)
        if fault != JOURNAL_FINE:
            return records, offset, fault
        records.append(make_record(<const cstd_record *>(begin + offset)))
        seq = (<const cstd_record *>(begin + offset)).seq + 1
        offset += cstd_record_bytes((<const cstd_record *>(begin + offset)).payload_bytes)
    return records, offset, JOURNAL_END


def crc32c(const uint8_t[::1] data not None, uint32_t crc=0):
    """Return the CRC-32C of `data`, going on from `crc`."""
    return c_crc32c(crc, &data[0] if data.shape[0] else NULL, data.shape[0])


def crc32c_portable(const uint8_t[::1] data not None, uint32_t crc=0):
    """Return the CRC-32C of `data` by tables, whatever the processor has."""
    return c_crc32c_portable(crc, &data[0] if data.shape[0] else NULL, data.shape[0])


def sha256(*parts):
    """Return the SHA-256 of the bytes-like `parts`, taken one after the other."""
    cdef cstd_sha256 sha
    cdef uint8_t digest[32]
    cdef const uint8_t[::1] view
    cstd_sha256_init(&sha)
    for part in parts:
        view = part
        if view.shape[0]:
            cstd_sha256_update(&sha, &view[0], view.shape[0])
    cstd_sha256_final(&sha, digest)
    return (<char *>digest)[:32]


def sha256_block1(bytes data not None):
    """Return the SHA-256 of `data` by the single-block path (at most 55 bytes take it)."""
    cdef uint8_t digest[32]
    cstd_sha256_block1(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), digest)
    return (<char *>digest)[:32]


def sha256_backend():
    """Return the compressor in use: "portable", "bmi2" or "sha_ni"."""
    return ("portable", "bmi2", "sha_ni")[cstd_sha256_backend()]


def sha256_compress_portable(const uint32_t[::1] state not None, bytes blocks not None):
    """Return the state after compressing whole 64-byte blocks with portable C, as eight integers."""
    cdef uint32_t work[8]
    if state.shape[0] != 8 or len(blocks) % 64:
        raise ValueError("a state has 8 words, a block 64 bytes")
    memcpy(work, &state[0], 32)
    cstd_sha256_blocks_portable(work, <const uint8_t *>PyBytes_AS_STRING(blocks), len(blocks) // 64)
    return [work[i] for i in range(8)]
