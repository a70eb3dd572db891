"""The book of one instrument: int64 levels best-last, checksum compared on every message."""
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from cstd._fast.layout cimport BookSide, Level
from cstd._fast.wire cimport WireLevel

cdef enum:
    BOOK_TOKENS_BYTES = 2 * 10 * 40 + 64    # checksum text: twenty levels, the longest token of one is 38 digits

cdef int side_capacity(int depth) noexcept nogil
cdef size_t side_bytes(int depth) noexcept nogil

@cython.final
cdef class Book:
    cdef BookSide bids
    cdef BookSide asks
    cdef public int depth
    cdef readonly int state             # codes.BookState
    cdef readonly int fault             # codes.BookFault of the last fault, FAULT_NONE while verified
    cdef readonly bint broken           # a message was proven wrong or not taken whole: only a snapshot mends it
    cdef readonly uint32_t checksum     # last one computed
    cdef readonly int64_t exch_ns       # venue time of the last message applied
    cdef readonly int64_t updates
    cdef readonly int64_t verified_count
    cdef readonly int64_t mismatch_count
    cdef int64_t time_backwards_ns_max
    cdef char *tokens
    cdef int asks_text_n                # length of the asks' part of tokens, which comes first
    cdef int64_t *touched               # prices that messages named since `open_window`
    cdef int touched_n                  # how many of them; below zero: no window is open

    cdef int apply(self, bint snapshot, const WireLevel *bids, int n_bids, const WireLevel *asks, int n_asks,
                   bint has_checksum, uint32_t checksum, int64_t exch_ns) noexcept nogil
    cdef void clear(self, int fault) noexcept nogil
    cdef void _touch(self, const WireLevel *levels, int n) noexcept nogil
    cdef int set_fault(self, int fault) noexcept nogil
    cdef int64_t best_bid(self) noexcept nogil
    cdef int64_t best_ask(self) noexcept nogil
    cdef BookSide *side(self, int side) noexcept nogil
    cdef void clear_own(self) noexcept nogil
    cdef Level *find(self, int side, int64_t price_raw) noexcept nogil
    cdef int _put(self, BookSide *side, int sign, const WireLevel *level) noexcept nogil
    cdef int _insert(self, BookSide *side, int at) noexcept nogil
    cdef void _cut(self, BookSide *side) noexcept nogil
    cdef void _remove(self, BookSide *side, int at) noexcept nogil
    cdef char *_write_tokens(self, const BookSide *side, char *to) noexcept nogil
    cdef uint32_t _compute(self) noexcept nogil
    cdef int _judge(self, bint has_checksum, uint32_t checksum, int64_t exch_ns) noexcept nogil
