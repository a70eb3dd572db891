"""The feature row of one instrument: what agents read. Float64 at fixed positions, with a validity bit each.

Market without us: our own resting quantity is taken off every level, and a level that is ours alone does not exist
here. All quantities below are those of others.

| feature | definition, unit | valid when |
|---|---|---|
| SPREAD_BPS | (ask - bid) / mid, bps | both sides exist |
| IMBALANCE_k | (bid qty - ask qty) / (bid qty + ask qty) over the best k levels of each side, -1..1 | both sides exist |
| WEIGHTED_MID_BPS | weighted mid against mid, bps; leans to the thin side | both sides exist |
| OFI_LAST | order-flow imbalance of the last update over the four top quantities involved, -1..1 | second update |
| OFI_1S, OFI_10S | decayed sum of it over (decayed sum of sizes + quantity at the touch), -1..1 | 1 s, 10 s of book |
| DEPTH_side_nBPS | value resting within n bps of mid, quote currency; a lower bound where the book is shallower | both sides |
| SLOPE_side | value of the best ten levels per bps of their distance from mid, quote currency / bps | both sides exist |
| FLOW_10S, FLOW_60S | decayed signed traded quantity over (decayed total + quantity at the touch), -1..1 | 10 s, 60 s of tape |
| TRADE_RATE_60S | decayed count of trades / 60 s, 1/s | 60 s of tape |
| VPIN_50 | mean of |bought - sold| / bucket over 50 equal volume buckets, 0..1 | 50 buckets |
| M1_, M5_, H1_... | bar indicators (indicators.pyx): prices in bps from the last close, MACD and ATR in bps of it, OBV_LEAN = net signed volume / volume of 20 bars, the rest in their own unit | the indicator is ready |

Order-flow imbalance is that of Cont, Kukanov and Stoikov, "The price impact of order book events" (2014). Decay
constants are in the names. The touch in the denominators lets a feature fade to 0 when nothing happens; a plain
net/gross would keep its last value for ever.

A feature that is not valid is 0.0 in the row. Nothing here can produce NaN: each quotient's denominator is a sum of
positive terms, or the bit stays clear.
"""
import hashlib

from libc.stdint cimport INT32_MIN, int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from cstd._fast.indicators cimport (
    ADX14, ATR14, BB_LOWER, BB_MID, BB_UPPER, CCI20, CHOP14, EMA12, EMA26, INDICATOR_COUNT, MACD, MACD_HIST,
    MACD_SIGNAL, MFI14, OBV, RSI14, RVOL, SMA20, STOCH_D, STOCH_K, VWAP, BarIndicators)
from cstd._fast.layout cimport BookSide, Level, total_add, total_clear

cdef extern from "fmath.h" nogil:
    double fast_exp "cstd_exp"(double x)

cdef extern from "depth.h" nogil:
    void walk_bids "cstd_walk_bids"(const BookSide *side, int best, double mid_raw, SideSums *out)
    void walk_asks "cstd_walk_asks"(const BookSide *side, int best, double mid_raw, SideSums *out)

cdef uint64_t BOOK_MASK = (<uint64_t>1 << BOOK_FEATURE_COUNT) - 1
cdef double BPS = 1e4
cdef enum:
    NS_PER_S = 1000000000
# Below this a decayed sum (raw units, so >= 1 when fed) is nothing, and denormals would cost a hundred cycles each.
cdef double FORGOTTEN = 1e-100

# What quantise multiplies by: the finest decimal step at which the feature's plausible range fits an int32.
cdef double SCALE[FEATURE_COUNT]


def _scales() -> tuple:
    """Return the scale of each feature by position."""
    book = (1e5, 1e9, 1e9, 1e9, 1e6, 1e9, 1e9, 1e9, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 1e9, 1e9, 1e5, 1e9)
    bar = [1e4] * INDICATOR_COUNT
    for i in (RSI14, ADX14, STOCH_K, STOCH_D, MFI14, CHOP14):
        bar[i] = 1e7
    bar[CCI20] = 1e5
    bar[OBV] = 1e9
    bar[RVOL] = 1e6
    return book + tuple(bar) * 3


SCALES = _scales()
NAMES = tuple(sorted(Feature.__members__, key=lambda name: int(Feature.__members__[name])))
feature_count = FEATURE_COUNT
book_feature_count = BOOK_FEATURE_COUNT
valid_words = VALID_WORDS
assert len(SCALES) == len(NAMES) == FEATURE_COUNT
for _i in range(FEATURE_COUNT):
    SCALE[_i] = SCALES[_i]

# Names, order and scales in one hash: what a model, an agent or a journal was made for.
FEATURES_SHA256 = hashlib.sha256("\n".join(f"{n} {s!r}" for n, s in zip(NAMES, SCALES)).encode()).hexdigest()

cdef void features_init(FeatureState *state) noexcept nogil:
    memset(state, 0, sizeof(FeatureState))


cdef void on_book_break(FeatureState *state, double *row, uint64_t *valid) noexcept nogil:
    state.has_top = False
    state.has_book = False
    state.mid2_raw = 0
    state.ofi_net_1s = state.ofi_gross_1s = state.ofi_net_10s = state.ofi_gross_10s = 0.0
    memset(row, 0, BOOK_FEATURE_COUNT * sizeof(double))
    valid[0] &= ~BOOK_MASK


cdef void on_tape_begin(FeatureState *state, int64_t now_ns) noexcept nogil:
    state.has_tape = True
    state.tape_since_ns = now_ns
    state.flow_net_10s = state.flow_gross_10s = state.flow_net_60s = state.flow_gross_60s = 0.0
    state.trade_count_60s = 0.0
    set_vpin_bucket(state, state.vpin_bucket_qty_raw)


cdef void set_vpin_bucket(FeatureState *state, int64_t qty_raw) noexcept nogil:
    state.vpin_bucket_qty_raw = qty_raw if qty_raw > 0 else 0
    state.vpin_filled_qty_raw = state.vpin_net_qty_raw = state.vpin_closed = 0
    state.vpin_sum = 0.0


cdef inline void fade(double *net, double *gross, double factor) noexcept nogil:
    """Multiply a pair of sums; what is next to nothing becomes nothing (|net| <= gross)."""
    net[0] *= factor
    gross[0] *= factor
    if gross[0] < FORGOTTEN:
        net[0] = gross[0] = 0.0


cdef inline void decay(FeatureState *s, int64_t now_ns) noexcept nogil:
    """Fade all sums to now_ns. One exponential serves three time constants: exp(-t/10) = exp(-t/60)^6."""
    cdef double f60, f10, f1, f2
    if now_ns <= s.last_ns:
        return
    f60 = fast_exp(<double>(now_ns - s.last_ns) * (-1.0 / 60e9))
    s.last_ns = now_ns
    f2 = f60 * f60
    f10 = f2 * f2 * f2
    f2 = f10 * f10
    f1 = (f2 * f2) * (f2 * f2) * f2
    fade(&s.ofi_net_1s, &s.ofi_gross_1s, f1)
    fade(&s.ofi_net_10s, &s.ofi_gross_10s, f10)
    fade(&s.flow_net_10s, &s.flow_gross_10s, f10)
    fade(&s.flow_net_60s, &s.flow_gross_60s, f60)
    s.trade_count_60s *= f60
    if s.trade_count_60s < FORGOTTEN:
        s.trade_count_60s = 0.0


cdef inline int best_of_others(const BookSide *side) noexcept nogil:
    """Index of the best level that holds somebody else's quantity, or first - 1."""
    cdef int i = side.end - 1
    while i >= side.first and side.level[i].qty_raw <= side.level[i].own_qty_raw:
        i -= 1
    return i


cdef inline double order_flow(FeatureState *s, int64_t bid_raw, int64_t bid_qty_raw, int64_t ask_raw,
                              int64_t ask_qty_raw) noexcept nogil:
    """Net quantity that the last update added at the best bid less what it added at the best ask, raw units."""
    cdef double flow = 0.0
    if bid_raw >= s.bid_raw:
        flow += bid_qty_raw
    if bid_raw <= s.bid_raw:
        flow -= s.bid_qty_raw
    if ask_raw <= s.ask_raw:
        flow -= ask_qty_raw
    if ask_raw >= s.ask_raw:
        flow += s.ask_qty_raw
    return flow


cdef inline uint64_t top_changed(FeatureState *s, int64_t bid_raw, int64_t bid_qty_raw, int64_t ask_raw, int64_t ask_qty_raw,
                          int64_t now_ns, double *row) noexcept nogil:
    """Write the order-flow features against the previous top, keep the new one. Returns their valid bits."""
    cdef double touch = <double>bid_qty_raw + <double>ask_qty_raw
    cdef uint64_t bits = 0
    cdef double flow, size
    if not s.has_book:
        s.has_book = True
        s.book_since_ns = now_ns
    row[<int>Feature.OFI_LAST] = 0.0
    if s.has_top:
        flow = order_flow(s, bid_raw, bid_qty_raw, ask_raw, ask_qty_raw)
        size = flow if flow >= 0 else -flow
        s.ofi_net_1s += flow
        s.ofi_net_10s += flow
        s.ofi_gross_1s += size
        s.ofi_gross_10s += size
        row[<int>Feature.OFI_LAST] = flow / (touch + <double>s.bid_qty_raw + <double>s.ask_qty_raw)
        bits |= <uint64_t>1 << Feature.OFI_LAST
    s.has_top = True
    s.bid_raw = bid_raw
    s.ask_raw = ask_raw
    s.bid_qty_raw = bid_qty_raw
    s.ask_qty_raw = ask_qty_raw
    row[<int>Feature.OFI_1S] = row[<int>Feature.OFI_10S] = 0.0
    if now_ns - s.book_since_ns >= NS_PER_S:
        row[<int>Feature.OFI_1S] = s.ofi_net_1s / (s.ofi_gross_1s + touch)
        bits |= <uint64_t>1 << Feature.OFI_1S
        if now_ns - s.book_since_ns >= <int64_t>10 * NS_PER_S:
            row[<int>Feature.OFI_10S] = s.ofi_net_10s / (s.ofi_gross_10s + touch)
            bits |= <uint64_t>1 << Feature.OFI_10S
    return bits


cdef inline uint64_t tape_features(FeatureState *s, double touch, int64_t now_ns, double *row) noexcept nogil:
    """Write the features of the tape; touch is the quantity at the best prices in raw units. Returns their bits."""
    cdef uint64_t bits = 0
    cdef int64_t age_ns = now_ns - s.tape_since_ns
    row[<int>Feature.FLOW_10S] = row[<int>Feature.FLOW_60S] = 0.0
    row[<int>Feature.TRADE_RATE_60S] = row[<int>Feature.VPIN_50] = 0.0
    if not s.has_tape:
        return 0
    if age_ns >= <int64_t>10 * NS_PER_S:
        row[<int>Feature.FLOW_10S] = s.flow_net_10s / (s.flow_gross_10s + touch)
        bits |= <uint64_t>1 << Feature.FLOW_10S
    if age_ns >= <int64_t>60 * NS_PER_S:
        row[<int>Feature.FLOW_60S] = s.flow_net_60s / (s.flow_gross_60s + touch)
        row[<int>Feature.TRADE_RATE_60S] = s.trade_count_60s / 60.0
        bits |= <uint64_t>1 << Feature.FLOW_60S | <uint64_t>1 << Feature.TRADE_RATE_60S
    if s.vpin_bucket_qty_raw > 0 and s.vpin_closed >= VPIN_BUCKETS:
        row[<int>Feature.VPIN_50] = s.vpin_sum / VPIN_BUCKETS
        bits |= <uint64_t>1 << Feature.VPIN_50
    return bits


cdef void on_book(FeatureState *state, const BookSide *bids, const BookSide *asks, double price_unit, double qty_unit,
                  int64_t now_ns, double *row, uint64_t *valid) noexcept nogil:
    cdef int bid = best_of_others(bids)
    cdef int ask = best_of_others(asks)
    cdef const Level *best_bid
    cdef const Level *best_ask
    cdef SideSums *b = &state.bids
    cdef SideSums *a = &state.asks
    cdef bint moved
    cdef double mid_raw, spread_bps, value_unit = price_unit * qty_unit
    cdef uint64_t bits
    if bid < bids.first or ask < asks.first or bids.level[bid].price_raw >= asks.level[ask].price_raw:
        on_book_break(state, row, valid)
        return
    best_bid = &bids.level[bid]
    best_ask = &asks.level[ask]
    mid_raw = 0.5 * (<double>best_bid.price_raw + <double>best_ask.price_raw)
    # Most updates change one side and leave the mid where it was: then the sums of the other side still hold.
    moved = state.mid2_raw != best_bid.price_raw + best_ask.price_raw
    state.mid2_raw = best_bid.price_raw + best_ask.price_raw
    if moved or state.bids_version != bids.version:
        state.bids_version = bids.version
        walk_bids(bids, bid, mid_raw, b)
    if moved or state.asks_version != asks.version:
        state.asks_version = asks.version
        walk_asks(asks, ask, mid_raw, a)
    spread_bps = <double>(best_ask.price_raw - best_bid.price_raw) / mid_raw * BPS
    row[<int>Feature.SPREAD_BPS] = spread_bps
    row[<int>Feature.IMBALANCE_1] = (b.qty_1 - a.qty_1) / (b.qty_1 + a.qty_1)
    row[<int>Feature.IMBALANCE_5] = (b.qty_5 - a.qty_5) / (b.qty_5 + a.qty_5)
    row[<int>Feature.IMBALANCE_10] = (b.qty_10 - a.qty_10) / (b.qty_10 + a.qty_10)
    # (bid x ask_qty + ask x bid_qty) / (bid_qty + ask_qty) - mid = imbalance x half the spread.
    row[<int>Feature.WEIGHTED_MID_BPS] = row[<int>Feature.IMBALANCE_1] * (0.5 * spread_bps)
    row[<int>Feature.DEPTH_BID_10BPS] = b.value_near * value_unit
    row[<int>Feature.DEPTH_ASK_10BPS] = a.value_near * value_unit
    row[<int>Feature.DEPTH_BID_25BPS] = b.value_far * value_unit
    row[<int>Feature.DEPTH_ASK_25BPS] = a.value_far * value_unit
    row[<int>Feature.SLOPE_BID] = b.value_10 * value_unit * mid_raw / (b.distance_10 * BPS)
    row[<int>Feature.SLOPE_ASK] = a.value_10 * value_unit * mid_raw / (a.distance_10 * BPS)
    bits = BOOK_MASK
    bits &= ~(<uint64_t>1 << Feature.OFI_LAST | <uint64_t>1 << Feature.OFI_1S | <uint64_t>1 << Feature.OFI_10S)
    bits &= ~(<uint64_t>1 << Feature.FLOW_10S | <uint64_t>1 << Feature.FLOW_60S
              | <uint64_t>1 << Feature.TRADE_RATE_60S | <uint64_t>1 << Feature.VPIN_50)
    decay(state, now_ns)
    bits |= top_changed(state, best_bid.price_raw, best_bid.qty_raw - best_bid.own_qty_raw, best_ask.price_raw,
                        best_ask.qty_raw - best_ask.own_qty_raw, now_ns, row)
    bits |= tape_features(state, b.qty_1 + a.qty_1, now_ns, row)
    valid[0] = (valid[0] & ~BOOK_MASK) | bits


cdef void on_trade(FeatureState *state, int side, int64_t price_raw, int64_t qty_raw, int64_t now_ns) noexcept nogil:
    cdef double qty
    if price_raw <= 0 or qty_raw <= 0 or side == 0:
        return
    if not state.has_tape:
        on_tape_begin(state, now_ns)
    decay(state, now_ns)
    qty = <double>qty_raw
    state.flow_gross_10s += qty
    state.flow_gross_60s += qty
    state.trade_count_60s += 1.0
    if side < 0:
        qty = -qty
    state.flow_net_10s += qty
    state.flow_net_60s += qty
    if state.vpin_bucket_qty_raw > 0:
        fill_buckets(state, side, qty_raw)


cdef void fill_buckets(FeatureState *s, int side, int64_t qty_raw) noexcept nogil:
    """Spread one trade over the volume buckets. More than 50 full buckets of one trade equal exactly 50."""
    cdef int64_t size = s.vpin_bucket_qty_raw
    cdef int64_t take, whole
    cdef int rounds = 0
    while qty_raw > 0 and rounds <= VPIN_BUCKETS:
        take = min(qty_raw, size - s.vpin_filled_qty_raw)
        s.vpin_filled_qty_raw += take
        s.vpin_net_qty_raw += take if side > 0 else -take
        qty_raw -= take
        rounds += 1
        if s.vpin_filled_qty_raw == size:
            close_bucket(s)
    if qty_raw > 0:
        whole = qty_raw // size
        s.vpin_closed += whole
        s.vpin_filled_qty_raw = qty_raw - whole * size
        s.vpin_net_qty_raw = s.vpin_filled_qty_raw if side > 0 else -s.vpin_filled_qty_raw


cdef void close_bucket(FeatureState *s) noexcept nogil:
    cdef double net = <double>s.vpin_net_qty_raw
    cdef int i
    s.vpin_share[s.vpin_closed % VPIN_BUCKETS] = (net if net >= 0 else -net) / <double>s.vpin_bucket_qty_raw
    s.vpin_closed += 1
    s.vpin_filled_qty_raw = s.vpin_net_qty_raw = 0
    s.vpin_sum = 0.0
    for i in range(VPIN_BUCKETS):
        s.vpin_sum += s.vpin_share[i]


cdef inline double as_feature(BarIndicators indicators, int i) noexcept nogil:
    """One indicator as the row has it: free of the price level, so that one agent serves every instrument."""
    cdef double value = indicators.values[i]
    if i in (EMA12, EMA26, SMA20, BB_MID, BB_UPPER, BB_LOWER, VWAP):
        return (value / indicators.close - 1.0) * BPS
    if i in (MACD, MACD_SIGNAL, MACD_HIST, ATR14):
        return value / indicators.close * BPS
    return indicators.obv_lean if i == OBV else value


cdef void copy_indicators(BarIndicators indicators, int interval, double *row, uint64_t *valid) noexcept nogil:
    cdef int i, at
    cdef bint ready
    cdef double value
    if interval < 0 or interval > 2:
        return
    for i in range(INDICATOR_COUNT):
        at = BOOK_FEATURE_COUNT + interval * INDICATOR_COUNT + i
        ready = indicators.obv_lean_ready if i == OBV else (indicators.ready >> i & 1) != 0
        value = as_feature(indicators, i) if ready else 0.0
        ready = ready and value - value == 0.0
        row[at] = value if ready else 0.0
        if ready:
            valid[at >> 6] |= <uint64_t>1 << (at & 63)
        else:
            valid[at >> 6] &= ~(<uint64_t>1 << (at & 63))


cdef void quantise(const double *row, const uint64_t *valid, int32_t *out, int n) noexcept nogil:
    cdef int i
    cdef double scaled
    for i in range(min(n, <int>FEATURE_COUNT)):
        if not valid[i >> 6] >> (i & 63) & 1:
            out[i] = INT32_MIN
            continue
        scaled = row[i] * SCALE[i]
        scaled = scaled + 0.5 if scaled >= 0 else scaled - 0.5
        if scaled >= 2147483647.0:
            out[i] = 2147483647
        elif scaled <= -2147483647.0:
            out[i] = -2147483647
        else:
            out[i] = <int32_t>scaled


cdef class FeatureStream:
    """The feature row for Python: research, examples and tests drive the engine's own kernels with it.

    Args:
        price_precision, qty_precision: decimal digits of the instrument.
        depth: most levels a side may have.
    """

    cdef FeatureState state
    cdef double values[FEATURE_COUNT]
    cdef uint64_t bits[VALID_WORDS]
    cdef BookSide bids, asks
    cdef double price_unit, qty_unit
    cdef int depth

    def __cinit__(self, int price_precision, int qty_precision, int depth=25):
        if depth < 1:
            raise ValueError(f"depth must be positive, got {depth}")
        self.depth = depth
        self.price_unit = 1.0 / float(10 ** price_precision)
        self.qty_unit = 1.0 / float(10 ** qty_precision)
        features_init(&self.state)
        memset(self.values, 0, sizeof(self.values))
        memset(self.bits, 0, sizeof(self.bits))
        self.bids.level = <Level *>calloc(depth, sizeof(Level))
        self.asks.level = <Level *>calloc(depth, sizeof(Level))
        if self.bids.level == NULL or self.asks.level == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.bids.level)
        free(self.asks.level)

    cdef _load(self, BookSide *side, levels):
        cdef int n = len(levels), i
        if n > self.depth:
            raise ValueError(f"{n} levels, depth is {self.depth}")
        total_clear(side)
        for i in range(n):
            price_raw, qty_raw, own_qty_raw = levels[i]
            side.level[n - 1 - i].price_raw = price_raw
            side.level[n - 1 - i].qty_raw = qty_raw
            side.level[n - 1 - i].own_qty_raw = own_qty_raw
            total_add(side, price_raw, qty_raw)
            side.level[n - 1 - i].value = <double>side.level[n - 1 - i].price_raw * <double>side.level[n - 1 - i].qty_raw
        side.first = 0
        side.end = n
        side.capacity = self.depth
        side.version += 1
        side.own_marked = any(level[2] for level in levels)

    def book(self, bids, asks, int64_t now_ns) -> dict:
        """Take one book, best level first, each (price_raw, qty_raw, own_qty_raw); return the valid features."""
        self._load(&self.bids, bids)
        self._load(&self.asks, asks)
        on_book(&self.state, &self.bids, &self.asks, self.price_unit, self.qty_unit, now_ns, self.values, self.bits)
        return self.valid_values()

    def repeat(self, int64_t now_ns, int64_t times) -> None:
        """Take the same book again, 1 us apart; for the benchmark of the kernel."""
        cdef int64_t i
        for i in range(times):
            on_book(&self.state, &self.bids, &self.asks, self.price_unit, self.qty_unit, now_ns + 1000 * i,
                    self.values, self.bits)

    def book_break(self) -> None:
        """The book was dropped."""
        on_book_break(&self.state, self.values, self.bits)

    def tape_begin(self, int64_t now_ns) -> None:
        """The tape starts, or starts over."""
        on_tape_begin(&self.state, now_ns)

    def vpin_bucket(self, int64_t qty_raw) -> None:
        """Set the volume of one VPIN bucket; 0 switches the feature off."""
        set_vpin_bucket(&self.state, qty_raw)

    def trade(self, int side, int64_t price_raw, int64_t qty_raw, int64_t now_ns) -> None:
        """Take one trade; side is +1 when the aggressor bought, -1 when it sold."""
        on_trade(&self.state, side, price_raw, qty_raw, now_ns)

    def bars(self, BarIndicators indicators, int interval) -> None:
        """Copy bar indicators into the row; interval 0 = 1 m, 1 = 5 m, 2 = 1 h."""
        copy_indicators(indicators, interval, self.values, self.bits)

    def valid_values(self) -> dict:
        """Return {name: value} of the valid features."""
        return {name: self.values[i] for i, name in enumerate(NAMES) if self.bits[i >> 6] >> (i & 63) & 1}

    def row(self) -> tuple:
        """Return (values, valid words): what an agent is given."""
        return [self.values[i] for i in range(FEATURE_COUNT)], [self.bits[i] for i in range(VALID_WORDS)]

    def quantised(self) -> list:
        """Return the row as int32, as it goes into the digest."""
        cdef int32_t out[FEATURE_COUNT]
        quantise(self.values, self.bits, out, FEATURE_COUNT)
        return [out[i] for i in range(FEATURE_COUNT)]
