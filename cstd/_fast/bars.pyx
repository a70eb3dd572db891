"""Trade bars of one instrument at 1 minute, 5 minutes and 1 hour: from the tape, continued from history.

A bar exists only if trades made it: a missing bar means that nobody traded, and nothing is filled in.

**When a bar closes.** With the first trade of a later bar, or when the host's wall clock is 1 s past its end (the
venue's own `ohlc` needs one to two seconds as well). A trade that comes later still is counted as late and left out
of the bar, because indicators and decisions have used it already.

**Nothing counts twice.** The tape counts from `begin_tape` on; trades before that are in the history or in nobody's
bar. A bar that began before the tape did is incomplete: it is dropped at its close and counted, unless
`load_forming` gave its first part. That row is complete up to the `as_of_ns` of the message it came in, so trades at or
before it are not added again. If the tape begins after `as_of_ns`, or a later trade was merged before the row came, the
two cannot be joined without loss, and the bar is dropped. `load_bar` takes closed rows only.

**Whole** is a stretch of bars in which none misses a trade and none is missing while there were trades, as far as can be
known: from the begin of the tape on, and from the first row of a history that the tape joins. A bar that was dropped, a
trade that came too late, and a closed row of the venue that is another than ours, or that we do not have, begin it anew.

**Traded value of the hour** is over the 60 minute slots that end with the current one. Where the tape had a hole it is
too small, never too large, which is the side on which the volume gate refuses.

Money is int64 in 10^-8 of the account currency, rounded down trade by trade, with 128-bit products, saturating.
"""
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t
from libc.string cimport memset
from cstd._fast.indicators cimport BarIndicators
from cstd._fast.layout cimport MONEY_SCALE

cdef extern from *:
    """
    #include <stdint.h>

    static inline int64_t cstd_add_saturating(int64_t a, int64_t b) {
        int64_t out;
        return __builtin_add_overflow(a, b, &out) ? INT64_MAX : out;
    }

    /* price x quantity in 10^-8 quote, then at a rate in 10^-8: each product checked, each quotient rounded down. */
    static int64_t cstd_value(int64_t price_raw, int64_t qty_raw, int digits, int64_t rate_raw) {
        const unsigned __int128 most = INT64_MAX;
        unsigned __int128 value = (unsigned __int128)price_raw * (unsigned __int128)qty_raw, scale = 1;
        int shift = digits < 8 ? 8 - digits : digits - 8;
        for (int i = 0; i < shift; i++) {
            scale *= 10;
        }
        if (digits < 8 ? __builtin_mul_overflow(value, scale, &value) : (value /= scale, 0)) {
            return INT64_MAX;
        }
        if (__builtin_mul_overflow(value, (unsigned __int128)rate_raw, &value)) {
            return INT64_MAX;
        }
        value /= 100000000;
        return value > most ? INT64_MAX : (int64_t)value;
    }
    """
    int64_t add_saturating "cstd_add_saturating"(int64_t a, int64_t b) noexcept nogil
    int64_t value_at_rate "cstd_value"(int64_t price_raw, int64_t qty_raw, int digits, int64_t rate_raw) noexcept nogil

# Constants for the C compiler too, so that dividing by them is no division.
cdef extern from *:
    """
    #define CSTD_CLOSE_GRACE_NS 1000000000LL
    #define CSTD_MINUTE_NS 60000000000LL
    #define CSTD_HOUR_NS 3600000000000LL
    """
    int64_t CLOSE_GRACE_NS "CSTD_CLOSE_GRACE_NS"
    int64_t MINUTE_NS "CSTD_MINUTE_NS"
    int64_t HOUR_NS "CSTD_HOUR_NS"
# 10^30 fits 128 bits, and no pair of the venue comes near 30 digits of price and quantity together.
cdef enum:
    DIGITS_MAX = 30

interval_ns = (MINUTE_NS, 5 * MINUTE_NS, HOUR_NS)
bar_capacity = BAR_CAPACITY


cdef inline int64_t floor_to(int64_t ns, int64_t step_ns) noexcept nogil:
    """Start of the interval that holds ns; ns may be negative in tests."""
    cdef int64_t rest = ns % step_ns
    return ns - rest if rest >= 0 else ns - rest - step_ns


cdef bint row_is_sound(const Bar *bar, int64_t step_ns) noexcept nogil:
    return (0 < bar.low_raw <= bar.open_raw <= bar.high_raw and bar.low_raw <= bar.close_raw <= bar.high_raw
            and bar.qty_raw > 0 and bar.value_acct_raw >= 0 and bar.trades > 0
            and floor_to(bar.start_ns, step_ns) == bar.start_ns)


cdef class BarSeries:
    """Bars of one instrument. The engine is the only writer.

    Args:
        price_precision, qty_precision: decimal digits of raw prices and quantities.
    """

    def __cinit__(self, int price_precision, int qty_precision):
        cdef int i
        if not (0 <= price_precision and 0 <= qty_precision and price_precision + qty_precision <= DIGITS_MAX):
            raise ValueError(f"precisions out of range: price {price_precision}, quantity {qty_precision}")
        self.price_precision = price_precision
        self.qty_precision = qty_precision
        self.price_unit = 1.0 / float(10 ** price_precision)
        self.qty_unit = 1.0 / float(10 ** qty_precision)
        # Powers of ten to 10^22 are exact doubles, so raw / scale is the double nearest to the decimal price, and the
        # same bar read from a file gives the same bits. raw x unit would not.
        self.price_scale = float(10 ** price_precision)
        self.qty_scale = float(10 ** qty_precision)
        self.acct_rate_raw = MONEY_SCALE
        self.covered_from_ns = INT64_MIN
        self.history_from_ns = INT64_MAX
        self.last_trade_ns = INT64_MIN
        self.hour_floor_ns = INT64_MIN
        self.hour_closed = -1
        for i in range(INTERVAL_COUNT):
            memset(&self.ring[i], 0, sizeof(BarRing))
            self.ring[i].interval_ns = interval_ns[i]
            self.ring[i].as_of_ns = INT64_MIN
            self.ring[i].closed_to_ns = INT64_MIN
            self.ring[i].whole_from_ns = INT64_MAX
            self.ring[i].cut_to_ns = self.ring[i].empty_to_ns = INT64_MIN

    cdef void set_rate(self, int64_t acct_rate_raw) noexcept nogil:
        self.acct_rate_raw = acct_rate_raw if acct_rate_raw > 0 else 0

    cdef void begin_tape(self, int64_t from_ns) noexcept nogil:
        cdef BarRing *ring
        cdef int i
        self.covered_from_ns = from_ns
        if from_ns == INT64_MAX or from_ns == INT64_MIN:
            return
        for i in range(INTERVAL_COUNT):
            ring = &self.ring[i]
            ring.whole_from_ns = max(floor_to(from_ns + ring.interval_ns - 1, ring.interval_ns), ring.cut_to_ns)

    cdef int64_t value_of(self, int64_t price_raw, int64_t qty_raw) noexcept nogil:
        if price_raw <= 0 or qty_raw <= 0:
            return 0
        return value_at_rate(price_raw, qty_raw, self.price_precision + self.qty_precision, self.acct_rate_raw)

    cdef int on_trade(self, int64_t price_raw, int64_t qty_raw, int64_t trade_ns) noexcept nogil:
        cdef int closed_mask = 0, i
        cdef bint late = False
        cdef int64_t value
        if price_raw <= 0 or qty_raw <= 0:
            self.refused_trades = self.refused_trades + 1
            return 0
        if trade_ns < self.covered_from_ns:
            return 0
        value = self.value_of(price_raw, qty_raw)
        for i in range(INTERVAL_COUNT):
            if not self._merge(&self.ring[i], price_raw, qty_raw, value, trade_ns, &closed_mask, 1 << i):
                late = True
        self.late_trades = self.late_trades + late
        if trade_ns > self.last_trade_ns:
            self.last_trade_ns = trade_ns
        return closed_mask

    cdef bint _merge(self, BarRing *ring, int64_t price_raw, int64_t qty_raw, int64_t value_acct_raw,
                     int64_t trade_ns, int *closed_mask, int bit) noexcept nogil:
        """Add one trade to the forming bar, closing the one before it. Returns False when the trade is late."""
        cdef int64_t start_ns = floor_to(trade_ns, ring.interval_ns)
        cdef Bar *bar = &ring.forming
        if start_ns < ring.closed_to_ns or (ring.has_forming and start_ns < bar.start_ns):
            self._cut(ring, start_ns + ring.interval_ns)
            return False
        if ring.has_forming and trade_ns <= ring.as_of_ns:
            return True
        if ring.has_forming and start_ns > bar.start_ns:
            closed_mask[0] |= self._close(ring, bit)
        if not ring.has_forming:
            ring.has_forming = True
            ring.as_of_ns = INT64_MIN
            bar.start_ns = start_ns
            bar.open_raw = bar.high_raw = bar.low_raw = price_raw
            bar.qty_raw = bar.value_acct_raw = bar.trades = 0
        bar.high_raw = max(bar.high_raw, price_raw)
        bar.low_raw = min(bar.low_raw, price_raw)
        bar.close_raw = price_raw
        bar.qty_raw = add_saturating(bar.qty_raw, qty_raw)
        bar.value_acct_raw = add_saturating(bar.value_acct_raw, value_acct_raw)
        bar.trades += 1
        return True

    cdef int _close(self, BarRing *ring, int bit) noexcept nogil:
        """End the forming bar. Returns its bit when it is complete and was kept, else 0."""
        cdef Bar *bar = &ring.forming
        ring.has_forming = False
        ring.closed_to_ns = bar.start_ns + ring.interval_ns
        if self.covered_from_ns > max(bar.start_ns, ring.as_of_ns, ring.empty_to_ns):
            self.incomplete_bars = self.incomplete_bars + 1
            self._cut(ring, ring.closed_to_ns)
            return 0
        self._push(ring, bar)
        return bit

    cdef void _cut(self, BarRing *ring, int64_t end_ns) noexcept nogil:
        """What ends here misses trades: the bars that are whole begin after it."""
        ring.cut_to_ns = max(ring.cut_to_ns, end_ns)
        ring.whole_from_ns = max(ring.whole_from_ns, end_ns)

    cdef void _push(self, BarRing *ring, const Bar *bar) noexcept nogil:
        ring.bar[ring.closed % BAR_CAPACITY] = bar[0]
        ring.closed += 1

    cdef int on_time(self, int64_t now_ns) noexcept nogil:
        cdef int closed_mask = 0, i
        cdef BarRing *ring
        for i in range(INTERVAL_COUNT):
            ring = &self.ring[i]
            if ring.has_forming and now_ns >= ring.forming.start_ns + ring.interval_ns + CLOSE_GRACE_NS:
                closed_mask |= self._close(ring, 1 << i)
        return closed_mask

    cdef int load_bar(self, int interval, int64_t start_ns, int64_t open_raw, int64_t high_raw, int64_t low_raw,
                      int64_t close_raw, int64_t qty_raw, int64_t value_acct_raw, int64_t trades) noexcept nogil:
        cdef BarRing *ring = &self.ring[interval]
        cdef Bar bar = Bar(start_ns, open_raw, high_raw, low_raw, close_raw, qty_raw, value_acct_raw, trades)
        if not row_is_sound(&bar, ring.interval_ns):
            if qty_raw != 0 or trades != 0:     # without both it says that nothing was traded
                self._cut(ring, floor_to(start_ns, ring.interval_ns) + ring.interval_ns)
            return 0
        if ring.closed and start_ns <= ring.bar[(ring.closed - 1) % BAR_CAPACITY].start_ns:
            if not self._known(ring, &bar):
                self._cut(ring, start_ns + ring.interval_ns)
            return 0
        if ring.has_forming and ring.forming.start_ns <= start_ns:
            ring.has_forming = False
        self._push(ring, &bar)
        ring.closed_to_ns = max(ring.closed_to_ns, start_ns + ring.interval_ns)
        if interval == M1:
            self.history_from_ns = min(self.history_from_ns, start_ns)
        return 1

    cdef int load_forming(self, int interval, int64_t start_ns, int64_t open_raw, int64_t high_raw, int64_t low_raw,
                          int64_t close_raw, int64_t qty_raw, int64_t value_acct_raw, int64_t trades,
                          int64_t as_of_ns) noexcept nogil:
        cdef BarRing *ring = &self.ring[interval]
        cdef Bar bar = Bar(start_ns, open_raw, high_raw, low_raw, close_raw, qty_raw, value_acct_raw, trades)
        if not row_is_sound(&bar, ring.interval_ns) or not start_ns <= as_of_ns < start_ns + ring.interval_ns:
            return 0
        if start_ns < ring.closed_to_ns or (ring.has_forming and ring.forming.start_ns > start_ns):
            return 0
        if self.last_trade_ns > as_of_ns:
            return 0
        ring.forming = bar
        ring.has_forming = True
        ring.as_of_ns = as_of_ns
        return 1

    cdef void join_history(self, int interval, int64_t from_ns, int64_t as_of_ns, bint forming) noexcept nogil:
        cdef BarRing *ring = &self.ring[interval]
        if self.covered_from_ns == INT64_MIN or self.covered_from_ns > as_of_ns:
            return  # between the two trades may be missing
        ring.whole_from_ns = max(from_ns, ring.cut_to_ns)
        if not forming and not ring.has_forming:
            ring.empty_to_ns = as_of_ns

    cdef int _after(self, BarRing *ring, int64_t start_ns) noexcept nogil:
        """How many of the closed bars begin after start_ns."""
        cdef int low = 0, high = <int>min(ring.closed, <int64_t>BAR_CAPACITY), middle
        while low < high:
            middle = (low + high) // 2
            if ring.bar[(ring.closed - 1 - middle) % BAR_CAPACITY].start_ns > start_ns:
                low = middle + 1
            else:
                high = middle
        return low

    cdef bint _known(self, BarRing *ring, const Bar *bar) noexcept nogil:
        """Whether a closed bar is there with the prices and the quantity of a row of the history."""
        cdef int newer = self._after(ring, bar.start_ns)
        cdef const Bar *ours
        if newer >= min(ring.closed, <int64_t>BAR_CAPACITY):
            return False
        ours = &ring.bar[(ring.closed - 1 - newer) % BAR_CAPACITY]
        return (ours.start_ns == bar.start_ns and ours.open_raw == bar.open_raw and ours.high_raw == bar.high_raw
                and ours.low_raw == bar.low_raw and ours.close_raw == bar.close_raw and ours.qty_raw == bar.qty_raw)

    cdef int closed_count(self, int interval) noexcept nogil:
        return <int>min(self.ring[interval].closed, <int64_t>BAR_CAPACITY)

    cdef const Bar *closed_bar(self, int interval, int back) noexcept nogil:
        if back < 0 or back >= self.closed_count(interval):
            return NULL
        return &self.ring[interval].bar[(self.ring[interval].closed - 1 - back) % BAR_CAPACITY]

    cdef int feed_last(self, int interval, BarIndicators indicators) noexcept nogil:
        cdef const Bar *bar = self.closed_bar(interval, 0)
        if bar == NULL:
            return -1
        return indicators.update(bar.open_raw / self.price_scale, bar.high_raw / self.price_scale,
                                 bar.low_raw / self.price_scale, bar.close_raw / self.price_scale,
                                 bar.qty_raw / self.qty_scale)

    cdef void feed_all(self, int interval, BarIndicators indicators) noexcept nogil:
        cdef const Bar *bar
        cdef int back
        for back in range(self.closed_count(interval) - 1, -1, -1):
            bar = self.closed_bar(interval, back)
            indicators.update(bar.open_raw / self.price_scale, bar.high_raw / self.price_scale,
                              bar.low_raw / self.price_scale, bar.close_raw / self.price_scale,
                              bar.qty_raw / self.qty_scale)

    cdef int64_t value_hour_acct_raw(self, int64_t now_ns) noexcept nogil:
        cdef BarRing *ring = &self.ring[<int>M1]
        cdef int64_t first_ns = floor_to(now_ns, MINUTE_NS) - HOUR_NS + MINUTE_NS
        cdef const Bar *bar
        cdef int back
        if first_ns != self.hour_floor_ns or ring.closed != self.hour_closed:
            self.hour_sum_acct_raw = 0
            for back in range(self.closed_count(M1)):
                bar = self.closed_bar(M1, back)
                if bar.start_ns < first_ns:
                    break
                self.hour_sum_acct_raw = add_saturating(self.hour_sum_acct_raw, bar.value_acct_raw)
            self.hour_floor_ns = first_ns
            self.hour_closed = ring.closed
        if ring.has_forming and ring.forming.start_ns >= first_ns:
            return add_saturating(self.hour_sum_acct_raw, ring.forming.value_acct_raw)
        return self.hour_sum_acct_raw

    cdef bint hour_ready(self, int64_t now_ns) noexcept nogil:
        cdef int64_t first_ns = floor_to(now_ns, MINUTE_NS) - HOUR_NS + MINUTE_NS
        if self.covered_from_ns == INT64_MAX:
            return False  # the tape is lost: what is traded now goes uncounted
        if self.history_from_ns <= first_ns:
            return True
        # INT64_MIN is "nobody said that the tape began", not "it has always run".
        return INT64_MIN < self.covered_from_ns <= first_ns

    # The same for Python: research, the status page's process and tests.

    def trade(self, int64_t price_raw, int64_t qty_raw, int64_t trade_ns) -> int:
        """Take one trade (raw price and quantity, venue time in ns); return the bitmask of intervals that closed."""
        return self.on_trade(price_raw, qty_raw, trade_ns)

    def pass_time(self, int64_t now_ns) -> int:
        """Close what ended more than 1 s before now_ns (wall ns); return the bitmask of intervals that closed."""
        return self.on_time(now_ns)

    def tape_from(self, int64_t from_ns) -> None:
        """Declare that the tape is complete from from_ns (wall ns) on."""
        self.begin_tape(from_ns)

    def rate(self, int64_t acct_rate_raw) -> None:
        """Set the account currency per quote unit, in 10^-8; 0 = unknown."""
        self.set_rate(acct_rate_raw)

    def load(self, int interval, tuple row) -> bool:
        """Take one closed history row (start_ns, open, high, low, close, qty, value_acct, trades; raw integers)."""
        _check_interval(interval)
        start_ns, open_raw, high_raw, low_raw, close_raw, qty_raw, value_acct_raw, trades = row
        return self.load_bar(interval, start_ns, open_raw, high_raw, low_raw, close_raw, qty_raw, value_acct_raw,
                             trades) == 1

    def load_open(self, int interval, tuple row, int64_t as_of_ns) -> bool:
        """Take the history's forming row, complete up to as_of_ns (wall ns)."""
        _check_interval(interval)
        start_ns, open_raw, high_raw, low_raw, close_raw, qty_raw, value_acct_raw, trades = row
        return self.load_forming(interval, start_ns, open_raw, high_raw, low_raw, close_raw, qty_raw, value_acct_raw,
                                 trades, as_of_ns) == 1

    def closed(self, int interval) -> list:
        """Return the closed bars, oldest first, as tuples in the order of `load`."""
        return self.closed_after(interval, INT64_MIN, BAR_CAPACITY)

    def closed_after(self, int interval, int64_t start_ns, int count) -> list:
        """Return the first `count` closed bars that begin after start_ns, oldest first, in the order of `load`."""
        cdef const Bar *bar
        cdef int newer, back
        _check_interval(interval)
        newer = self._after(&self.ring[interval], start_ns)
        rows = []
        for back in range(newer - 1, max(newer - 1 - count, -1), -1):
            bar = self.closed_bar(interval, back)
            rows.append((bar.start_ns, bar.open_raw, bar.high_raw, bar.low_raw, bar.close_raw, bar.qty_raw,
                         bar.value_acct_raw, bar.trades))
        return rows

    def newest(self, int interval):
        """Return the start of the newest closed bar, None before the first."""
        cdef const Bar *bar
        _check_interval(interval)
        bar = self.closed_bar(interval, 0)
        return bar.start_ns if bar != NULL else None

    def whole_from(self, int interval):
        """Return from when on the bars are whole, None while that is not known or the tape is lost."""
        _check_interval(interval)
        if self.covered_from_ns == INT64_MAX or self.ring[interval].whole_from_ns == INT64_MAX:
            return None
        return self.ring[interval].whole_from_ns

    def history(self, int interval, int64_t from_ns, int64_t as_of_ns, bint forming) -> None:
        """Say that the rows loaded are the venue's whole history from from_ns to as_of_ns; forming: with a row for then."""
        _check_interval(interval)
        self.join_history(interval, from_ns, as_of_ns, forming)

    def indicators(self, int interval) -> dict:
        """Return the ready indicators over all closed bars, by name."""
        _check_interval(interval)
        fresh = BarIndicators(interval_ns[interval])
        self.feed_all(interval, fresh)
        return fresh.ready_values()

    def value_hour(self, int64_t now_ns) -> int:
        """Return the value traded in the 60 minute slots that end with now_ns, in 10^-8 account currency."""
        return self.value_hour_acct_raw(now_ns)

    def covers_hour(self, int64_t now_ns) -> bool:
        """Return whether tape and history reach back over the whole hour."""
        return self.hour_ready(now_ns)


def _check_interval(int interval) -> None:
    if not 0 <= interval < INTERVAL_COUNT:
        raise ValueError(f"interval must be 0 (1 m), 1 (5 m) or 2 (1 h), got {interval}")
