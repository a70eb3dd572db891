"""Shape of the trade bars of one instrument at 1 m, 5 m and 1 h. How they are built: bars.pyx."""
cimport cython
from libc.stdint cimport int64_t
from cstd._fast.indicators cimport BarIndicators

cpdef enum Interval:
    M1 = 0
    M5 = 1
    H1 = 2

cdef enum:
    INTERVAL_COUNT = 3
    BAR_CAPACITY = 720

cdef struct Bar:
    int64_t start_ns
    int64_t open_raw
    int64_t high_raw
    int64_t low_raw
    int64_t close_raw
    int64_t qty_raw
    int64_t value_acct_raw
    int64_t trades

cdef struct BarRing:
    Bar bar[BAR_CAPACITY]
    int64_t closed
    Bar forming
    bint has_forming
    # The history holds everything of the forming bar up to here; INT64_MIN when it was built from trades alone.
    int64_t as_of_ns
    # Bars that ended at or before this are closed, taken or dropped: a trade before it is late.
    int64_t closed_to_ns
    # No bar that begins here or later misses a trade, or is missing while there were trades; INT64_MAX: none is known.
    int64_t whole_from_ns
    # End of the newest bar that does.
    int64_t cut_to_ns
    # The history as of here had no row for the bar of that time.
    int64_t empty_to_ns
    int64_t interval_ns

@cython.final
cdef class BarSeries:
    cdef BarRing ring[INTERVAL_COUNT]
    cdef readonly int price_precision, qty_precision
    cdef readonly double price_unit, qty_unit
    cdef double price_scale, qty_scale
    cdef int64_t acct_rate_raw
    cdef readonly int64_t covered_from_ns, history_from_ns
    cdef int64_t last_trade_ns
    # The sum over closed bars of the hour, valid for one minute and one number of closed bars.
    cdef int64_t hour_floor_ns, hour_closed, hour_sum_acct_raw
    # Counters: refused trades, trades older than their closed bar, bars dropped because the tape missed part of them.
    cdef readonly int64_t refused_trades, late_trades, incomplete_bars

    # Account currency per quote unit in 10**-8; 0 = unknown, trades then carry no value.
    cdef void set_rate(self, int64_t acct_rate_raw) noexcept nogil
    # The tape is complete from `from_ns` on: call at subscription and after every gap of the trade stream.
    cdef void begin_tape(self, int64_t from_ns) noexcept nogil
    # Times are wall ns of the venue (trade) and of the host (now). Both return the bitmask of intervals that closed.
    cdef int on_trade(self, int64_t price_raw, int64_t qty_raw, int64_t trade_ns) noexcept nogil
    cdef int on_time(self, int64_t now_ns) noexcept nogil
    # History, oldest first. Returns 1 when the closed bar was taken, 0 when it was not (older than what is there, or bad).
    cdef int load_bar(self, int interval, int64_t start_ns, int64_t open_raw, int64_t high_raw, int64_t low_raw,
                      int64_t close_raw, int64_t qty_raw, int64_t value_acct_raw, int64_t trades) noexcept nogil
    # The bar still forming in the history, complete up to as_of_ns: trades at or before as_of_ns are not added again.
    cdef int load_forming(self, int interval, int64_t start_ns, int64_t open_raw, int64_t high_raw, int64_t low_raw,
                          int64_t close_raw, int64_t qty_raw, int64_t value_acct_raw, int64_t trades,
                          int64_t as_of_ns) noexcept nogil
    # A snapshot of the history was loaded that begins at from_ns and is of as_of_ns; forming: with a row for the bar of then.
    cdef void join_history(self, int interval, int64_t from_ns, int64_t as_of_ns, bint forming) noexcept nogil
    # Number of closed bars that can be read; closed_bar(i, 0) is the newest. NULL when there is none.
    cdef int closed_count(self, int interval) noexcept nogil
    cdef const Bar *closed_bar(self, int interval, int back) noexcept nogil
    # Feed the newest closed bar, or all of them oldest first, into indicators.
    cdef int feed_last(self, int interval, BarIndicators indicators) noexcept nogil
    cdef void feed_all(self, int interval, BarIndicators indicators) noexcept nogil
    # Value traded in the 60 minutes before now_ns, the forming minute included; 10**-8 account currency.
    cdef int64_t value_hour_acct_raw(self, int64_t now_ns) noexcept nogil
    cdef bint hour_ready(self, int64_t now_ns) noexcept nogil
    # Value of price x quantity in 10**-8 account currency at the current rate, rounded down, saturating.
    cdef int64_t value_of(self, int64_t price_raw, int64_t qty_raw) noexcept nogil

    cdef bint _merge(self, BarRing *ring, int64_t price_raw, int64_t qty_raw, int64_t value_acct_raw,
                     int64_t trade_ns, int *closed_mask, int bit) noexcept nogil
    cdef int _close(self, BarRing *ring, int bit) noexcept nogil
    cdef void _push(self, BarRing *ring, const Bar *bar) noexcept nogil
    cdef void _cut(self, BarRing *ring, int64_t end_ns) noexcept nogil
    cdef int _after(self, BarRing *ring, int64_t start_ns) noexcept nogil
    cdef bint _known(self, BarRing *ring, const Bar *bar) noexcept nogil
