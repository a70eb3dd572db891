"""Memory layout of what the compiled modules share: levels, sides, sentinels, money scale."""
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef extern from "layout.h" nogil:
    # An empty side has no price; the sentinels never compare like a tradable price.
    int64_t NO_BID "CSTD_NO_BID"
    int64_t NO_ASK "CSTD_NO_ASK"
    # Account-currency money in compiled code: int64 in units of 10**-8. Suffix `_acct_raw`.
    int64_t MONEY_SCALE "CSTD_MONEY_SCALE"

    ctypedef struct Level "cstd_level":
        int64_t price_raw
        int64_t qty_raw
        int64_t own_qty_raw
        double value
        uint8_t n_digits
        uint8_t n_price_digits
        char *digits

    ctypedef struct BookSide "cstd_side":
        Level *level
        int first
        int end
        int capacity
        uint64_t version
        int top_changed
        int own_marked
        uint64_t total_low
        uint64_t total_high

    void total_add "cstd_total_add"(BookSide *side, int64_t price_raw, int64_t change_raw)
    void total_seen "cstd_total_seen"(BookSide *side, int64_t price_raw, int64_t qty_raw)
    void total_clear "cstd_total_clear"(BookSide *side)
