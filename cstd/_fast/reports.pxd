"""Scanner of the private socket's hot frames: executions, balances, replies to order requests, heartbeats."""
cimport cython
from libc.stdint cimport int64_t, uint64_t

cdef enum:
    ROWS_MAX = 128          # rows of one frame: a snapshot has 50 fills at most and the open orders
    FEES_MAX = 4            # of one fill
    VALUES_MAX = 24         # kept fields of one row
    KEY_MAX = 24            # bytes of a key's name
    KEYS_PER_LENGTH = 12

cdef struct Span:
    const char *at          # into the frame, NULL where the field is absent; valid until the frame is
    int n

cdef struct WireFee:
    Span asset
    Span qty

cdef struct WireRow:
    uint64_t seen           # one bit per key of the table
    Span value[VALUES_MAX]
    int64_t time_ns[2]      # 0 where absent
    WireFee fees[FEES_MAX]
    int fee_count           # -1 where absent

cdef struct Key:
    char name[KEY_MAX]
    int kind
    int slot
    uint64_t bit

cdef struct KeyTable:
    Key keys[KEY_MAX][KEYS_PER_LENGTH]  # by length of the name
    int count[KEY_MAX]

@cython.final
cdef class ReportScanner:
    cdef WireRow *rows
    cdef WireRow result                 # of a reply
    cdef KeyTable executions
    cdef KeyTable balances
    cdef KeyTable reply
    cdef KeyTable reply_result
    cdef int row_count
    cdef bint snapshot
    cdef Span sequence

    cdef int scan(self, const char *data, size_t n) noexcept nogil
    cdef object deliver(self, int status, object handler, int64_t mono_ns, int64_t wall_ns)
    cdef const char *_rows(self, const char *p, const char *end, const KeyTable *table) noexcept nogil
    cdef const char *_object(self, const char *p, const char *end, const KeyTable *table, WireRow *row) noexcept nogil
    cdef const char *_value(self, const char *p, const char *end, const Key *key, WireRow *row) noexcept nogil
    cdef int _sequenced(self, const char *p, const char *end, const KeyTable *table, int status) noexcept nogil
    cdef int _reply(self, const char *p, const char *end) noexcept nogil
