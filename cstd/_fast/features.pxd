"""Shape of the feature row: fixed positions, per-instrument state, kernels. Meaning of each feature: features.pyx."""
from libc.stdint cimport int32_t, int64_t, uint64_t
from cstd._fast.indicators cimport BarIndicators
from cstd._fast.layout cimport BookSide

# Positions never change once released; new features go to the end.
cpdef enum Feature:
    SPREAD_BPS = 0
    IMBALANCE_1 = 1
    IMBALANCE_5 = 2
    IMBALANCE_10 = 3
    WEIGHTED_MID_BPS = 4
    OFI_LAST = 5
    OFI_1S = 6
    OFI_10S = 7
    DEPTH_BID_10BPS = 8
    DEPTH_ASK_10BPS = 9
    DEPTH_BID_25BPS = 10
    DEPTH_ASK_25BPS = 11
    SLOPE_BID = 12
    SLOPE_ASK = 13
    FLOW_10S = 14
    FLOW_60S = 15
    TRADE_RATE_60S = 16
    VPIN_50 = 17
    M1_EMA12_BPS = 18
    M1_EMA26_BPS = 19
    M1_SMA20_BPS = 20
    M1_RSI14 = 21
    M1_MACD_BPS = 22
    M1_MACD_SIGNAL_BPS = 23
    M1_MACD_HIST_BPS = 24
    M1_BB_MID_BPS = 25
    M1_BB_UPPER_BPS = 26
    M1_BB_LOWER_BPS = 27
    M1_ATR14_BPS = 28
    M1_ADX14 = 29
    M1_STOCH_K = 30
    M1_STOCH_D = 31
    M1_CCI20 = 32
    M1_MFI14 = 33
    M1_OBV_LEAN = 34
    M1_VWAP_BPS = 35
    M1_RVOL = 36
    M1_CHOP14 = 37
    M5_EMA12_BPS = 38
    M5_EMA26_BPS = 39
    M5_SMA20_BPS = 40
    M5_RSI14 = 41
    M5_MACD_BPS = 42
    M5_MACD_SIGNAL_BPS = 43
    M5_MACD_HIST_BPS = 44
    M5_BB_MID_BPS = 45
    M5_BB_UPPER_BPS = 46
    M5_BB_LOWER_BPS = 47
    M5_ATR14_BPS = 48
    M5_ADX14 = 49
    M5_STOCH_K = 50
    M5_STOCH_D = 51
    M5_CCI20 = 52
    M5_MFI14 = 53
    M5_OBV_LEAN = 54
    M5_VWAP_BPS = 55
    M5_RVOL = 56
    M5_CHOP14 = 57
    H1_EMA12_BPS = 58
    H1_EMA26_BPS = 59
    H1_SMA20_BPS = 60
    H1_RSI14 = 61
    H1_MACD_BPS = 62
    H1_MACD_SIGNAL_BPS = 63
    H1_MACD_HIST_BPS = 64
    H1_BB_MID_BPS = 65
    H1_BB_UPPER_BPS = 66
    H1_BB_LOWER_BPS = 67
    H1_ATR14_BPS = 68
    H1_ADX14 = 69
    H1_STOCH_K = 70
    H1_STOCH_D = 71
    H1_CCI20 = 72
    H1_MFI14 = 73
    H1_OBV_LEAN = 74
    H1_VWAP_BPS = 75
    H1_RVOL = 76
    H1_CHOP14 = 77

cdef enum:
    BOOK_FEATURE_COUNT = 18
    FEATURE_COUNT = 78
    # Validity is two words: feature i is valid when bit i % 64 of valid[i / 64] is set.
    VALID_WORDS = 2
    VPIN_BUCKETS = 50

cdef extern from "depth.h" nogil:
    ctypedef struct SideSums "cstd_side_sums":
        double qty_1
        double qty_5
        double qty_10
        double value_10
        double value_near
        double value_far
        double distance_10

# One per instrument, zeroed at start. Times are recv_mono_ns.
cdef struct FeatureState:
    # Previous top of book (without our own quantity), for order-flow imbalance.
    bint has_top
    int64_t bid_raw, ask_raw
    int64_t bid_qty_raw, ask_qty_raw
    # What was summed, at which mid and of which state of each side.
    SideSums bids
    SideSums asks
    int64_t mid2_raw
    uint64_t bids_version, asks_version
    # Sums that decay with one shared clock; `last_ns` is when they were last decayed.
    int64_t last_ns
    int64_t book_since_ns
    bint has_book
    int64_t tape_since_ns
    bint has_tape
    double ofi_net_1s, ofi_gross_1s, ofi_net_10s, ofi_gross_10s
    double flow_net_10s, flow_gross_10s, flow_net_60s, flow_gross_60s
    double trade_count_60s
    # VPIN: equal volume buckets; 0 = size not set, feature not ready.
    int64_t vpin_bucket_qty_raw
    int64_t vpin_filled_qty_raw, vpin_net_qty_raw
    int64_t vpin_closed
    double vpin_share[VPIN_BUCKETS]
    double vpin_sum

cdef void features_init(FeatureState *state) noexcept nogil
# The book was dropped (resync, link down): order flow starts over. The row's book bits are cleared.
cdef void on_book_break(FeatureState *state, double *row, uint64_t *valid) noexcept nogil
# The tape starts (subscription acknowledged) or starts over after a gap.
cdef void on_tape_begin(FeatureState *state, int64_t now_ns) noexcept nogil
cdef void set_vpin_bucket(FeatureState *state, int64_t qty_raw) noexcept nogil
# After each verified update. Writes positions 0 .. BOOK_FEATURE_COUNT-1 and their bits, leaves the others alone.
cdef void on_book(FeatureState *state, const BookSide *bids, const BookSide *asks, double price_unit, double qty_unit,
                  int64_t now_ns, double *row, uint64_t *valid) noexcept nogil
# side: +1 the aggressor bought, -1 sold. Shows in the row at the next on_book.
cdef void on_trade(FeatureState *state, int side, int64_t price_raw, int64_t qty_raw, int64_t now_ns) noexcept nogil
# At bar close: interval is bars.Interval (0 = 1 m, 1 = 5 m, 2 = 1 h).
cdef void copy_indicators(BarIndicators indicators, int interval, double *row, uint64_t *valid) noexcept nogil
# out[i] = row[i] x scale[i], rounded half away from zero, saturating at +-(2**31 - 1); not valid -> INT32_MIN.
cdef void quantise(const double *row, const uint64_t *valid, int32_t *out, int n) noexcept nogil
