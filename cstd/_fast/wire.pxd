"""Scanner of Kraken's hot frame shapes: bytes in, int64 levels and trades out, nothing allocated."""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef enum:
    LEVELS_MAX = 1280       # per side and frame; Kraken's deepest snapshot has 1,000
    TRADES_MAX = 256        # per frame; more go to the tolerant path
    NAME_MAX = 24
    NAME_TABLE = 8192       # open addressing, at most half full
    INSTRUMENTS_MAX = 2048

cdef struct WireLevel:
    int64_t price_raw
    int64_t qty_raw

cdef struct WireTrade:
    int64_t price_raw
    int64_t qty_raw
    int64_t trade_id        # -1 where the dialect has none
    int64_t exch_ns
    int32_t side            # of the taker
    int32_t market

cdef struct Scan:
    int instrument
    bint snapshot
    int n_bids
    int n_asks
    int n_trades
    bint has_checksum
    uint32_t checksum
    int64_t exch_ns
    WireLevel bid           # ticker: top of book
    WireLevel ask
    int64_t last_raw        # ticker: price of the last trade, 0 where it cannot be told
    int excess_digits       # a number had more fractional digits than the instrument's precision

cdef struct NameSlot:
    char name[24]
    int n
    int instrument          # -1 = free

@cython.final
cdef class Scanner:
    cdef Scan out
    cdef WireLevel *bids
    cdef WireLevel *asks
    cdef WireTrade *trades
    cdef NameSlot *names
    cdef int price_precision[INSTRUMENTS_MAX]
    cdef int qty_precision[INSTRUMENTS_MAX]
    cdef int count
    cdef uint64_t last_words[2]     # name of the last frame with its closing quote: frames of one instrument come in runs
    cdef uint64_t last_mask[2]      # which of these bytes count; names too long for them are looked up each time
    cdef int last_n
    cdef int last_instrument
    cdef char date[10]              # text of the last date seen, and its days since 1970
    cdef int64_t date_days

    cdef int scan(self, const char *data, size_t n) noexcept nogil
    cdef int find(self, const char *name, int n) noexcept nogil
    cdef const char *_data(self, const char *p, const char *end) noexcept nogil
    cdef int _scan_book(self, const char *p, const char *end) noexcept nogil
    cdef int _scan_trade(self, const char *p, const char *end) noexcept nogil
    cdef int _scan_ticker(self, const char *p, const char *end) noexcept nogil
    cdef int64_t _time_ns(self, const char *p, const char *end, const char **after) noexcept nogil
    cdef const char *_name(self, const char *p, const char *end) noexcept nogil
    cdef const char *_levels(self, const char *p, const char *end, WireLevel *to, int *count) noexcept nogil
    cdef const char *_statistics(self, const char *p, const char *end) noexcept nogil
    cdef const char *_bid_ask(self, const char *p, const char *end) noexcept nogil
    cdef const char *_price_qty(self, const char *p, const char *end, WireLevel *to) noexcept nogil

cdef int64_t parse_time_ns(const char *p, const char *end, const char **after) noexcept nogil
