"""Scan the hot frames of Kraken's websocket v2 in place.

Purpose: turn the bytes of `book`, `trade`, `ticker` and `heartbeat` frames into int64 levels and trades.
Takes: a borrowed pointer and a length; precisions per instrument, set once from the `instrument` channel.
Gives: a status code and the `Scan` struct with levels and trades in preallocated scratch arrays.

The scanner knows exactly the key order that the venue sends. Whatever differs (other order, unknown fields, exponents,
numbers as strings, more than one element) is SCAN_SLOW: the caller hands the frame to the tolerant decoder, which is
slower but decides right. So the scanner never has to guess, and a hostile frame costs one failed comparison.
Every read is bounded by `end`: the buffer needs no terminator.

Numbers are scanned digit by digit into integers of 10**-precision; a float never exists on the way in.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from cstd._fast.codes cimport BUY, SELL, SCAN_BOOK, SCAN_HEARTBEAT, SCAN_SLOW, SCAN_TICKER, SCAN_TRADE
from cstd._fast.codes cimport SCAN_UNKNOWN_INSTRUMENT, SCAN_UNUSED

cdef extern from "scan.h" nogil:
    const char *literal "cstd_literal"(const char *p, const char *end, const char *text, size_t n)
    const char *figure "cstd_figure"(const char *p, const char *end, int *bit)
    int64_t parse_date_days "cstd_date_days"(const char *p)
    const char *number "cstd_number"(const char *p, const char *end, int precision, int64_t *raw, int *excess)
    const char *unsigned_int "cstd_unsigned"(const char *p, const char *end, int64_t *value)
    const char *any_number "cstd_any_number"(const char *p, const char *end)
    int64_t parse_clock_ns "cstd_clock_ns"(const char *p, const char *end, const char **after)

cdef extern from "check.h" nogil:
    void cstd_check(bint holds, const char *what)

instruments_max = INSTRUMENTS_MAX


cdef int64_t parse_time_ns(const char *p, const char *end, const char **after) noexcept nogil:
    """RFC 3339 UTC time with 0 to 9 fractional digits to ns since the epoch; -1 if it is not one."""
    cdef int64_t days, clock_ns
    if end - p < 20:
        return -1
    days = parse_date_days(p)
    clock_ns = parse_clock_ns(p + 10, end, after)
    if days < 0 or clock_ns < 0:
        return -1
    return days * 86400 * 1000000000 + clock_ns


cdef inline uint32_t name_hash(const char *name, int n) noexcept nogil:
    """Hash of the first and last eight bytes: one multiplication, whatever the length (1 to 23)."""
    cdef uint64_t first = 0
    cdef uint64_t last = 0
    if n >= 8:
        memcpy(&first, name, 8)
        memcpy(&last, name + n - 8, 8)
    else:
        memcpy(&first, name, n)
    first = (first ^ (last << 1) ^ <uint64_t>n) * <uint64_t>11400714819323198485
    return <uint32_t>(first >> 40)


cdef class Scanner:
    """Scanner with its instruments. One writer: the engine that owns it.

    Invariant: `out` and the scratch arrays describe the last frame scanned and are valid until the next call.
    """

    def __cinit__(self):
        cdef int i
        self.bids = <WireLevel *>calloc(LEVELS_MAX, sizeof(WireLevel))
        self.asks = <WireLevel *>calloc(LEVELS_MAX, sizeof(WireLevel))
        self.trades = <WireTrade *>calloc(TRADES_MAX, sizeof(WireTrade))
        self.names = <NameSlot *>calloc(NAME_TABLE, sizeof(NameSlot))
        if self.bids == NULL or self.asks == NULL or self.trades == NULL or self.names == NULL:
            raise MemoryError("scanner scratch")
        for i in range(NAME_TABLE):
            self.names[i].instrument = -1
        self.count = 0
        self.date[0] = 0

    def __dealloc__(self):
        free(self.bids)
        free(self.asks)
        free(self.trades)
        free(self.names)

    def set_instrument(self, int instrument, bytes name, int price_precision, int qty_precision):
        """Make `name` known as number `instrument` with its precisions, or change the precisions of a known one.

        Raises ValueError: a name above 23 bytes, a number outside the table, a precision outside 0..15.
        """
        cdef uint32_t at
        cdef int n = len(name)
        cdef const char *text = name
        if not 0 < n < NAME_MAX or not 0 <= instrument < INSTRUMENTS_MAX:
            raise ValueError(f"instrument {name!r} (number {instrument}) does not fit the table")
        if not (0 <= price_precision <= 15 and 0 <= qty_precision <= 15):
            raise ValueError(f"precision of {name!r} outside 0..15: {price_precision}, {qty_precision}")
        at = name_hash(text, n) & (NAME_TABLE - 1)
        while self.names[at].instrument >= 0 and not (
                self.names[at].n == n and memcmp(self.names[at].name, text, n) == 0):
            at = (at + 1) & (NAME_TABLE - 1)
        if self.names[at].instrument < 0:
            memcpy(self.names[at].name, text, n)
            self.names[at].n = n
            self.count += 1
        self.names[at].instrument = instrument
        self.last_n = 0
        self.price_precision[instrument] = price_precision
        self.qty_precision[instrument] = qty_precision

    cdef int find(self, const char *name, int n) noexcept nogil:
        """Instrument number of a wire name, -1 if unknown."""
        cdef uint32_t at
        if n <= 0 or n >= NAME_MAX:
            return -1
        at = name_hash(name, n) & (NAME_TABLE - 1)
        while self.names[at].instrument >= 0:
            if self.names[at].n == n and memcmp(self.names[at].name, name, n) == 0:
                return self.names[at].instrument
            at = (at + 1) & (NAME_TABLE - 1)
        return -1

    cdef int64_t _time_ns(self, const char *p, const char *end, const char **after) noexcept nogil:
        """`parse_time_ns` with the date remembered: a day lasts for a million frames."""
        cdef int64_t days, clock_ns
        if end - p < 20:
            return -1
        if memcmp(p, self.date, 10) != 0:
            days = parse_date_days(p)
            if days < 0:
                return -1
            memcpy(self.date, p, 10)
            self.date_days = days
        clock_ns = parse_clock_ns(p + 10, end, after)
        return self.date_days * 86400 * 1000000000 + clock_ns if clock_ns >= 0 else -1

    cdef const char *_name(self, const char *p, const char *end) noexcept nogil:
        """Scan a quoted name into out.instrument; p stands after the opening quote."""
        cdef const char *start = p
        cdef uint64_t words[2]
        if p == NULL:
            return NULL
        if self.last_n and end - p >= 16:
            memcpy(words, p, 16)
            if ((words[0] ^ self.last_words[0]) & self.last_mask[0] | (words[1] ^ self.last_words[1]) & self.last_mask[1]) == 0:
                self.out.instrument = self.last_instrument
                return p + self.last_n + 1
        while p < end and p[0] != c'"':
            if p[0] == c'\\' or p - start >= NAME_MAX:
                return NULL
            p += 1
        if p >= end:
            return NULL
        self.out.instrument = self.find(start, <int>(p - start))
        if self.out.instrument >= 0 and p - start < 16:
            self.last_n = <int>(p - start)
            self.last_instrument = self.out.instrument
            memset(self.last_words, 0, 16)
            memset(self.last_mask, 0, 16)
            memcpy(self.last_words, start, self.last_n + 1)
            memset(self.last_mask, 0xFF, self.last_n + 1)
        return p + 1

    cdef const char *_price_qty(self, const char *p, const char *end, WireLevel *to) noexcept nogil:
        p = number(p, end, self.price_precision[self.out.instrument], &to.price_raw, &self.out.excess_digits)
        p = literal(p, end, b',"qty":', 7)
        if p == NULL:
            return NULL
        return number(p, end, self.qty_precision[self.out.instrument], &to.qty_raw, &self.out.excess_digits)

    cdef const char *_levels(self, const char *p, const char *end, WireLevel *to, int *count) noexcept nogil:
        """Scan `{"price":…,"qty":…},…]`; p stands after the opening bracket. Bounded by LEVELS_MAX."""
        cdef int n = 0
        if p == NULL or p >= end:
            return NULL
        if p[0] == c']':
            count[0] = 0
            return p + 1
        while n < LEVELS_MAX:
            p = literal(p, end, b'{"price":', 9)
            if p == NULL:
                return NULL
            cstd_check(n >= 0 and n < LEVELS_MAX, b"a level has a place")
            p = self._price_qty(p, end, &to[n])
            if p == NULL or end - p < 2 or p[0] != c'}' or (to[n].price_raw == 0 and not self.out.excess_digits):
                return NULL     # a level at no price is for the tolerant path to refuse
            n += 1
            if p[1] == c']':
                count[0] = n
                return p + 2
            if p[1] != c',':
                return NULL
            p += 2
        return NULL

    cdef const char *_data(self, const char *p, const char *end) noexcept nogil:
        """From the value of `type` go to the first element of `data`; NULL if this is neither update nor snapshot."""
        cdef const char *first = literal(p, end, b'update","data":[', 16)
        self.out.snapshot = first == NULL
        return first if first != NULL else literal(p, end, b'snapshot","data":[', 18)

    cdef int _scan_book(self, const char *p, const char *end) noexcept nogil:
        """Scan a book frame from the value of `type` on."""
        cdef int64_t checksum
        cdef const char *after
        p = self._name(literal(self._data(p, end), end, b'{"symbol":"', 11), end)
        if p == NULL:
            return SCAN_SLOW
        if self.out.instrument < 0:
            return SCAN_UNKNOWN_INSTRUMENT
        p = self._levels(literal(p, end, b',"bids":[', 9), end, self.bids, &self.out.n_bids)
        p = self._levels(literal(p, end, b',"asks":[', 9), end, self.asks, &self.out.n_asks)
        p = literal(p, end, b',"checksum":', 12)
        if p == NULL:
            return SCAN_SLOW
        p = unsigned_int(p, end, &checksum)
        p = literal(p, end, b',"timestamp":"', 14)
        if p == NULL or (checksum >> 32):
            return SCAN_SLOW
        self.out.checksum = <uint32_t>checksum
        self.out.has_checksum = True
        self.out.exch_ns = self._time_ns(p, end, &after)
        if self.out.exch_ns < 0:
            return SCAN_SLOW
        p = literal(after, end, b'"}]}', 4)
        return SCAN_BOOK if p == end else SCAN_SLOW

    cdef int _scan_trade(self, const char *p, const char *end) noexcept nogil:
        """Scan a trade frame from the value of `type` on. All elements must be of one instrument."""
        cdef WireTrade *trade
        cdef WireLevel level
        cdef const char *after
        cdef int instrument = -1
        cdef int n = 0
        p = self._data(p, end)
        while n < TRADES_MAX:
            cstd_check(n >= 0, b"a trade has a place")
            trade = &self.trades[n]
            p = self._name(literal(p, end, b'{"symbol":"', 11), end)
            if p == NULL:
                return SCAN_SLOW
            if self.out.instrument < 0:
                return SCAN_UNKNOWN_INSTRUMENT
            if n and self.out.instrument != instrument:
                return SCAN_SLOW
            instrument = self.out.instrument
            p = literal(p, end, b',"side":"', 9)
            if p == NULL or end - p < 5:
                return SCAN_SLOW
            if memcmp(p, b'buy"', 4) == 0:
                trade.side = BUY
                p += 4
            elif memcmp(p, b'sell"', 5) == 0:
                trade.side = SELL
                p += 5
            else:
                return SCAN_SLOW
            p = literal(p, end, b',"price":', 9)
            if p == NULL:
                return SCAN_SLOW
            p = self._price_qty(p, end, &level)
            p = literal(p, end, b',"ord_type":"', 13)
            if p == NULL or end - p < 7:
                return SCAN_SLOW
            trade.price_raw = level.price_raw
            trade.qty_raw = level.qty_raw
            trade.market = p[0] == c'm'
            p = literal(p, end, b'market"' if trade.market else b'limit"', 7 if trade.market else 6)
            p = literal(p, end, b',"trade_id":', 12)
            if p == NULL:
                return SCAN_SLOW
            p = unsigned_int(p, end, &trade.trade_id)
            p = literal(p, end, b',"timestamp":"', 14)
            if p == NULL:
                return SCAN_SLOW
            trade.exch_ns = self._time_ns(p, end, &after)
            if trade.exch_ns < 0:
                return SCAN_SLOW
            p = literal(after, end, b'"}', 2)
            n += 1
            if p == NULL or end - p < 2:
                return SCAN_SLOW
            if p[0] == c',':
                p += 1
                continue
            p = literal(p, end, b']}', 2)
            self.out.n_trades = n
            self.out.exch_ns = trade.exch_ns
            return SCAN_TRADE if p == end else SCAN_SLOW
        return SCAN_SLOW

    cdef int _scan_ticker(self, const char *p, const char *end) noexcept nogil:
        """Scan the top of book of a ticker frame; the statistics after it are not used and only delimited."""
        p = self._name(literal(self._data(p, end), end, b'{"symbol":"', 11), end)
        if p == NULL:
            return SCAN_SLOW
        if self.out.instrument < 0:
            return SCAN_UNKNOWN_INSTRUMENT
        p = literal(p, end, b',"bid":', 7)
        if p == NULL:
            return SCAN_SLOW
        p = self._bid_ask(p, end)
        if p == NULL:
            return SCAN_SLOW
        p = literal(self._statistics(p, end), end, b'}]}', 3)
        return SCAN_TICKER if p == end else SCAN_SLOW

    cdef const char *_statistics(self, const char *p, const char *end) noexcept nogil:
        """Step over the day's figures and the time: known names, each once, plain numbers of at most eighteen digits."""
        cdef int seen = 0
        cdef int bit
        cdef int excess = 0
        cdef const char *after
        self.out.last_raw = 0
        while p != NULL and p < end and p[0] == c',':
            after = literal(p, end, b',"timestamp":"', 14)
            bit = 256
            if after != NULL:
                if self._time_ns(after, end, &p) < 0:
                    return NULL
                p = literal(p, end, b'"', 1)
            else:
                after = figure(p, end, &bit)
                p = any_number(after, end)
                if bit == 1 and p != NULL and number(after, end, self.price_precision[self.out.instrument],
                                                     &self.out.last_raw, &excess) != p:
                    self.out.last_raw = 0
            if seen & bit:
                return NULL
            seen |= bit
        return p

    cdef const char *_bid_ask(self, const char *p, const char *end) noexcept nogil:
        cdef int price = self.price_precision[self.out.instrument]
        cdef int qty = self.qty_precision[self.out.instrument]
        p = number(p, end, price, &self.out.bid.price_raw, &self.out.excess_digits)
        p = literal(p, end, b',"bid_qty":', 11)
        if p == NULL:
            return NULL
        p = number(p, end, qty, &self.out.bid.qty_raw, &self.out.excess_digits)
        p = literal(p, end, b',"ask":', 7)
        if p == NULL:
            return NULL
        p = number(p, end, price, &self.out.ask.price_raw, &self.out.excess_digits)
        p = literal(p, end, b',"ask_qty":', 11)
        if p == NULL:
            return NULL
        p = number(p, end, qty, &self.out.ask.qty_raw, &self.out.excess_digits)
        if p == NULL or p >= end or p[0] != c',':
            return NULL
        return p

    cdef int scan(self, const char *data, size_t n) noexcept nogil:
        """Scan one frame; returns a ScanStatus and fills `out`.

        SCAN_SLOW: not one of the known shapes, nothing is said about its validity.
        """
        cdef const char *end = data + n
        cdef const char *p = literal(data, end, b'{"channel":"', 12)
        self.out.instrument = -1
        self.out.n_bids = 0
        self.out.n_asks = 0
        self.out.n_trades = 0
        self.out.has_checksum = False
        self.out.excess_digits = 0
        if p == NULL or end - p < 8:
            return SCAN_SLOW
        if p[0] == c'b':
            p = literal(p, end, b'book","type":"', 14)
            return self._scan_book(p, end) if p != NULL else SCAN_SLOW
        if p[0] == c't' and p[1] == c'r':
            p = literal(p, end, b'trade","type":"', 15)
            return self._scan_trade(p, end) if p != NULL else SCAN_SLOW
        if p[0] == c't' and p[1] == c'i':
            p = literal(p, end, b'ticker","type":"', 16)
            return self._scan_ticker(p, end) if p != NULL else SCAN_SLOW
        if p[0] == c'o':
            # Bars are built from trades; of the venue's own only the snapshot is used, as history.
            p = literal(p, end, b'ohlc","type":"update",', 22)
            return SCAN_UNUSED if p != NULL and (end - 1)[0] == c'}' else SCAN_SLOW
        if p[0] == c'h':
            p = literal(p, end, b'heartbeat"}', 11)
            return SCAN_HEARTBEAT if p == end else SCAN_SLOW
        return SCAN_SLOW

    def scan_bytes(self, bytes frame):
        """Scan `frame` from a buffer that ends where it does; returns what was found as a dict; for tests and tools."""
        cdef size_t n = len(frame)
        cdef char *copy = <char *>malloc(n if n else 1)
        cdef int i, status
        if copy == NULL:
            raise MemoryError("frame")
        memcpy(copy, <const char *>frame, n)
        status = self.scan(copy, n)
        free(copy)
        return {
            "status": status,
            "instrument": self.out.instrument,
            "snapshot": bool(self.out.snapshot),
            "bids": [(self.bids[i].price_raw, self.bids[i].qty_raw) for i in range(self.out.n_bids)],
            "asks": [(self.asks[i].price_raw, self.asks[i].qty_raw) for i in range(self.out.n_asks)],
            "checksum": self.out.checksum if self.out.has_checksum else None,
            "exch_ns": self.out.exch_ns,
            "excess_digits": self.out.excess_digits,
            "last": self.out.last_raw,
            "top": (self.out.bid.price_raw, self.out.bid.qty_raw, self.out.ask.price_raw, self.out.ask.qty_raw),
            "trades": [
                (self.trades[i].side, self.trades[i].price_raw, self.trades[i].qty_raw, self.trades[i].trade_id,
                 self.trades[i].exch_ns) for i in range(self.out.n_trades)
            ],
        }


def time_ns(bytes text):
    """Nanoseconds since the epoch of an RFC 3339 UTC time, or -1."""
    cdef const char *after = NULL
    cdef const char *p = text
    return parse_time_ns(p, p + len(text), &after)


def nests_beyond(const unsigned char[::1] text, int depth_max):
    """Tell whether brackets of a JSON text nest deeper than `depth_max`, without decoding it; brackets in strings do not count."""
    cdef Py_ssize_t i
    cdef int depth = 0
    cdef bint quoted = False, escaped = False
    cdef unsigned char c
    for i in range(text.shape[0]):
        c = text[i]
        if quoted:
            quoted = escaped or c != b'"'
            escaped = not escaped and c == b"\\"
        elif c == b'"':
            quoted = True
        elif c == b"[" or c == b"{":
            depth += 1
            if depth > depth_max:
                return True
        elif c == b"]" or c == b"}":
            depth -= 1
    return False
