"""The order book of one instrument.

Purpose: keep both sides exactly as the venue has them and prove it on every message with the CRC32 of the top ten.
Takes: scanned levels in raw integers. Gives: VERIFIED or a fault; sides as `BookSide` arrays best-last.
Owns: its level arrays; only `apply` and `clear` write them, and the gateway writes `own_qty_raw`.

Invariant: state is VERIFIED only if the checksum of every message since the last snapshot matched, both sides have a level and
they do not cross.
Why this way: best-last with room at both ends makes the frequent changes (near the touch, and at the far end, where a
level comes into sight when another one goes) short moves; the checksum tokens of a level are made when the level
changes, so a checksum is a concatenation of up to 20 short strings; it is recomputed only when one of the top ten levels
changed, and compared on every message all the same.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove

from cstd._fast.codes cimport (
    BOOK_EMPTY, BOOK_UNVERIFIED, BOOK_VERIFIED, BUY, FAULT_AUDIT, FAULT_CHECKSUM, FAULT_CROSSED, FAULT_EMPTY_SIDE,
    FAULT_EXCESS_DIGITS, FAULT_GAP, FAULT_MALFORMED, FAULT_NO_CHECKSUM, FAULT_NO_SNAPSHOT, FAULT_NONE,
    FAULT_PRECISION_UNKNOWN, FAULT_TIME_BACKWARDS,
)
from cstd._fast.layout cimport NO_ASK, NO_BID, BookSide, Level, total_add, total_clear, total_seen
from cstd._fast.wire cimport LEVELS_MAX, WireLevel

cdef extern from "crc32.h" nogil:
    void cstd_crc32_init(int allow_clmul)
    uint32_t cstd_crc32(const void *data, size_t n)
    int cstd_crc_clmul

cdef extern from "check.h" nogil:
    enum:
        CSTD_CHECKED
    void cstd_check(bint holds, const char *what)

cdef extern from "digits.h" nogil:
    int cstd_digits_eight(uint64_t v, char *to)

cdef enum:
    CHECKSUM_LEVELS = 10
    TOUCHED_MAX = 16384         # a window of seconds sees far fewer; one that sees more is lost, and the audit with it
    NO_WINDOW = -1

cstd_crc32_init(1)


def use_clmul(bint allowed):
    """Choose the checksum variant (tests compare both); the default is what the CPU has."""
    cstd_crc32_init(allowed)


def clmul_in_use():
    """Whether checksums are made by carry-less multiply now."""
    return cstd_crc_clmul != 0


def crc32(bytes data):
    """CRC-32 (IEEE) of data; for tests against zlib."""
    return cstd_crc32(<const char *>data, len(data))


cdef inline bint sound(const BookSide *side, int sign, int depth) noexcept nogil:
    """Whether a side is what every reader of it relies on; asked in the checked build alone."""
    cdef int i
    if side.first < 0 or side.end < side.first or side.end > side.capacity or side.end - side.first > depth:
        return False
    for i in range(side.first, side.end):
        if side.level[i].qty_raw <= 0 or side.level[i].n_digits > 38 or side.level[i].n_price_digits > side.level[i].n_digits:
            return False
        if i > side.first and sign * side.level[i - 1].price_raw >= sign * side.level[i].price_raw:
            return False
    return True
cdef int side_capacity(int depth) noexcept nogil:
    """Levels that one side has room for: what a message can bring on top of what is kept, at both ends."""
    return 2 * depth + LEVELS_MAX + 64


cdef size_t side_bytes(int depth) noexcept nogil:
    """Bytes of the levels of one side."""
    return side_capacity(depth) * sizeof(Level)


cdef class Book:
    """One book. depth: subscribed depth, 10 to 1000. time_backwards_ns_max: tolerated step back of the venue's time."""

    def __cinit__(self, int depth, int64_t time_backwards_ns_max=1000000000):
        cdef int capacity = side_capacity(depth)
        self.depth = depth
        self.time_backwards_ns_max = time_backwards_ns_max
        self.bids.level = <Level *>calloc(capacity, sizeof(Level))
        self.asks.level = <Level *>calloc(capacity, sizeof(Level))
        self.tokens = <char *>calloc(BOOK_TOKENS_BYTES, 1)
        if self.bids.level == NULL or self.asks.level == NULL or self.tokens == NULL:
            raise MemoryError("book levels")
        self.bids.capacity = capacity
        self.asks.capacity = capacity
        self.clear(FAULT_NO_SNAPSHOT)

    def __dealloc__(self):
        free(self.bids.level)
        free(self.asks.level)
        free(self.tokens)
        free(self.touched)

    cdef void clear(self, int fault) noexcept nogil:
        """Forget all levels; the book is EMPTY with `fault` as the reason until the next snapshot."""
        # Room at both ends: levels come and go at the touch and at the far end.
        self.bids.first = self.bids.end = self.bids.capacity >> 1
        self.asks.first = self.asks.end = self.asks.capacity >> 1
        self.bids.own_marked = self.asks.own_marked = False
        total_clear(&self.bids)
        total_clear(&self.asks)
        self.bids.version += 1
        self.asks.version += 1
        self.state = BOOK_EMPTY
        self.fault = fault
        self.broken = False
        self.exch_ns = 0
        self.touched_n = NO_WINDOW
        self.bids.top_changed = self.asks.top_changed = True

    cdef void _touch(self, const WireLevel *levels, int n) noexcept nogil:
        """Remember which prices a message named; a window that overflows is lost."""
        cdef int i
        if n > TOUCHED_MAX - self.touched_n:
            self.touched_n = NO_WINDOW
        if self.touched_n < 0:
            return
        for i in range(n):
            self.touched[self.touched_n + i] = levels[i].price_raw
        self.touched_n += n

    cdef int set_fault(self, int fault) noexcept nogil:
        """Mark the book unverified for a reason; levels stay for display. Returns the fault.

        After some of them no later checksum proves the book: what is missing may lie below the ten levels that it covers.
        """
        if self.state == BOOK_VERIFIED:
            self.state = BOOK_UNVERIFIED
        if (fault == FAULT_CHECKSUM or fault == FAULT_EXCESS_DIGITS or fault == FAULT_MALFORMED
                or fault == FAULT_PRECISION_UNKNOWN or fault == FAULT_AUDIT):
            self.broken = True
        self.fault = fault
        return fault

    cdef int64_t best_bid(self) noexcept nogil:
        return self.bids.level[self.bids.end - 1].price_raw if self.bids.end > self.bids.first else NO_BID

    cdef int64_t best_ask(self) noexcept nogil:
        return self.asks.level[self.asks.end - 1].price_raw if self.asks.end > self.asks.first else NO_ASK

    cdef BookSide *side(self, int side) noexcept nogil:
        return &self.bids if side == BUY else &self.asks

    cdef void clear_own(self) noexcept nogil:
        """No quantity on any level is ours."""
        cdef int i
        for i in range(self.bids.first, self.bids.end):
            self.bids.level[i].own_qty_raw = 0
        for i in range(self.asks.first, self.asks.end):
            self.asks.level[i].own_qty_raw = 0
        self.bids.own_marked = self.asks.own_marked = False
        self.bids.version += 1
        self.asks.version += 1

    cdef Level *find(self, int side, int64_t price_raw) noexcept nogil:
        """The level at a price, NULL if there is none."""
        cdef BookSide *levels = self.side(side)
        cdef int i = levels.end - 1
        while i >= levels.first:
            if levels.level[i].price_raw == price_raw:
                return &levels.level[i]
            i -= 1
        return NULL

    cdef int _insert(self, BookSide *side, int at) noexcept nogil:
        """Open a slot at index `at` by moving the shorter part of the side; returns where the slot is then."""
        cdef int middle
        if side.end == side.capacity or side.first == 0:
            middle = (side.capacity - (side.end - side.first)) >> 1
            memmove(side.level + middle, side.level + side.first, (side.end - side.first) * sizeof(Level))
            at += middle - side.first
            side.end += middle - side.first
            side.first = middle
        if at - side.first < side.end - at:
            memmove(side.level + side.first - 1, side.level + side.first, (at - side.first) * sizeof(Level))
            side.first -= 1
            return at - 1
        memmove(side.level + at + 1, side.level + at, (side.end - at) * sizeof(Level))
        side.end += 1
        return at

    cdef void _remove(self, BookSide *side, int at) noexcept nogil:
        """Close the slot at index `at` by moving the shorter part of the side."""
        if at - side.first < side.end - at:
            memmove(side.level + side.first + 1, side.level + side.first, (at - side.first) * sizeof(Level))
            side.first += 1
            return
        side.end -= 1
        memmove(side.level + at, side.level + at + 1, (side.end - at) * sizeof(Level))

    cdef int _put(self, BookSide *side, int sign, const WireLevel *update) noexcept nogil:
        """Insert, replace or remove one level. sign: +1 bids (best = highest), -1 asks (best = lowest)."""
        cdef int64_t key = sign * update.price_raw
        cdef int i = side.end - 1
        cdef int low, high, half
        cdef Level *level
        side.version += 1
        cdef int near = side.end - 16 if side.end - 16 > side.first else side.first
        if i >= side.first and sign * side.level[side.first].price_raw > key:
            i = side.first - 1      # one that comes into sight at the far end, where another one has gone
        else:
            # Most other changes are near the touch; far ones are found by bisection.
            while i >= near and sign * side.level[i].price_raw > key:
                i -= 1
            if i < near and near > side.first:
                low = side.first
                high = near
                while low < high:
                    half = (low + high) >> 1
                    if sign * side.level[half].price_raw > key:
                        high = half
                    else:
                        low = half + 1
                i = low - 1
        if i >= side.first and side.level[i].price_raw == update.price_raw:
            if side.end - i <= CHECKSUM_LEVELS:
                side.top_changed = True
            level = &side.level[i]
            total_add(side, update.price_raw, update.qty_raw - level.qty_raw)
            if update.qty_raw == 0:
                self._remove(side, i)
                return 0
        else:
            if update.qty_raw == 0:
                return 0
            i = self._insert(side, i + 1)
            if side.end - i <= CHECKSUM_LEVELS:
                side.top_changed = True
            level = &side.level[i]
            level.price_raw = update.price_raw
            level.own_qty_raw = 0
            total_add(side, update.price_raw, update.qty_raw)
            level.n_price_digits = <uint8_t>cstd_digits_eight(<uint64_t>update.price_raw, level.digits)
        total_seen(side, update.price_raw, update.qty_raw)
        level.qty_raw = update.qty_raw
        level.value = <double>update.price_raw * <double>update.qty_raw
        level.n_digits = level.n_price_digits
        level.n_digits += <uint8_t>cstd_digits_eight(<uint64_t>update.qty_raw, level.digits + level.n_price_digits)
        return 1

    cdef void _cut(self, BookSide *side) noexcept nogil:
        """Drop the levels beyond the subscribed depth."""
        while side.end - side.first > self.depth:
            total_add(side, side.level[side.first].price_raw, -side.level[side.first].qty_raw)
            side.first += 1

    cdef char *_write_tokens(self, const BookSide *side, char *to) noexcept nogil:
        """Write the tokens of a side's best ten levels, best first; returns where they end."""
        cdef int stop = side.end - CHECKSUM_LEVELS if side.end - CHECKSUM_LEVELS > side.first else side.first
        cdef int i = side.end - 1
        while i >= stop:
            memcpy(to, side.level[i].digits, 38)
            to += side.level[i].n_digits
            i -= 1
        return to

    cdef uint32_t _compute(self) noexcept nogil:
        """CRC32 over the tokens of the top ten: asks ascending, then bids descending."""
        cdef char *end
        if self.asks.top_changed:
            self.asks_text_n = <int>(self._write_tokens(&self.asks, self.tokens) - self.tokens)
        end = self._write_tokens(&self.bids, self.tokens + self.asks_text_n)
        return cstd_crc32(self.tokens, end - self.tokens)

    cdef int apply(self, bint snapshot, const WireLevel *bids, int n_bids, const WireLevel *asks, int n_asks,
                   bint has_checksum, uint32_t checksum, int64_t exch_ns) noexcept nogil:
        """Apply one message and judge the book; returns FAULT_NONE if it is VERIFIED, else the fault.

        An update without a snapshot before it changes nothing. Levels are applied in order, then each side is cut to
        the subscribed depth, then the checksum is compared: the venue computes it over that state.
        """
        cdef int i
        if n_bids < 0 or n_asks < 0 or n_bids > LEVELS_MAX or n_asks > LEVELS_MAX:
            return self.set_fault(FAULT_MALFORMED)
        if snapshot:
            self.clear(FAULT_NONE)
        elif self.state == BOOK_EMPTY:
            return FAULT_NO_SNAPSHOT
        for i in range(n_bids):
            self._put(&self.bids, 1, &bids[i])
        for i in range(n_asks):
            self._put(&self.asks, -1, &asks[i])
        if self.touched_n >= 0:
            self._touch(bids, n_bids)
            self._touch(asks, n_asks)
        self._cut(&self.bids)
        self._cut(&self.asks)
        self.updates += 1
        if CSTD_CHECKED:
            cstd_check(sound(&self.bids, 1, self.depth), b"bids are sorted, within their depth and their array")
            cstd_check(sound(&self.asks, -1, self.depth), b"asks are sorted, within their depth and their array")
        return self._judge(has_checksum, checksum, exch_ns)

    cdef int _judge(self, bint has_checksum, uint32_t checksum, int64_t exch_ns) noexcept nogil:
        self.state = BOOK_UNVERIFIED
        if not has_checksum:
            return self.set_fault(FAULT_NO_CHECKSUM)
        if self.asks.top_changed or self.bids.top_changed:
            self.checksum = self._compute()
            self.asks.top_changed = self.bids.top_changed = False
        if self.checksum != checksum:
            self.mismatch_count += 1
            return self.set_fault(FAULT_CHECKSUM)
        self.verified_count += 1
        if self.broken:
            return self.set_fault(FAULT_GAP)
        if self.bids.end == self.bids.first or self.asks.end == self.asks.first:
            return self.set_fault(FAULT_EMPTY_SIDE)
        if self.best_bid() >= self.best_ask():
            return self.set_fault(FAULT_CROSSED)
        if exch_ns and exch_ns < self.exch_ns - self.time_backwards_ns_max:
            return self.set_fault(FAULT_TIME_BACKWARDS)
        if exch_ns > self.exch_ns:
            self.exch_ns = exch_ns
        self.state = BOOK_VERIFIED
        self.fault = FAULT_NONE
        return FAULT_NONE

    def apply_levels(self, bint snapshot, list bids, list asks, checksum, int64_t exch_ns):
        """`apply` for lists of (price_raw, qty_raw): the tolerant path and tests. Returns the fault code.

        Raises OverflowError: a raw value that does not fit int64.
        """
        cdef WireLevel bid_levels[LEVELS_MAX]
        cdef WireLevel ask_levels[LEVELS_MAX]
        cdef int i
        if len(bids) > LEVELS_MAX or len(asks) > LEVELS_MAX:
            return self.set_fault(FAULT_MALFORMED)
        for i in range(len(bids)):
            bid_levels[i].price_raw, bid_levels[i].qty_raw = bids[i]
        for i in range(len(asks)):
            ask_levels[i].price_raw, ask_levels[i].qty_raw = asks[i]
        if any(price_raw <= 0 or qty_raw < 0 for price_raw, qty_raw in (*bids, *asks)):
            return self.set_fault(FAULT_MALFORMED)
        return self.apply(snapshot, bid_levels, len(bids), ask_levels, len(asks),
                          checksum is not None, checksum or 0, exch_ns)

    def open_window(self):
        """Remember from now on which prices messages name; `window` gives them. A snapshot or a reset ends it.

        One book at a time is looked at, so the room for it is taken now and given back by `close_window`.
        """
        if self.touched == NULL:
            self.touched = <int64_t *>calloc(TOUCHED_MAX, sizeof(int64_t))
        if self.touched == NULL:
            raise MemoryError("prices of a window")
        self.touched_n = 0

    def close_window(self):
        """Forget what the window saw."""
        self.touched_n = NO_WINDOW
        free(self.touched)
        self.touched = NULL

    def window(self):
        """Set of the prices named since `open_window`, or None where the window was lost or never opened."""
        cdef int i
        return {self.touched[i] for i in range(self.touched_n)} if self.touched_n >= 0 else None

    def reset(self, int fault):
        """Drop the book for a reason; it is EMPTY until the next snapshot."""
        self.clear(fault)

    def total(self, int side):
        """Sum of price_raw x qty_raw over all levels of a side, as the book keeps it."""
        cdef BookSide *levels = self.side(side)
        return (int(levels.total_high) << 64) + int(levels.total_low)

    def levels(self, int side, int n):
        """Up to n levels of a side, best first, as (price_raw, qty_raw, own_qty_raw)."""
        cdef BookSide *levels = self.side(side)
        cdef int i
        out = []
        for i in range(levels.end - 1, levels.first - 1, -1):
            if len(out) >= n:
                break
            out.append((levels.level[i].price_raw, levels.level[i].qty_raw, levels.level[i].own_qty_raw))
        return out
