"""Shape of the streaming bar indicators; one object per (instrument, interval). Meaning of each: indicators.pyx."""
from libc.stdint cimport int64_t, uint64_t

cpdef enum Indicator:
    EMA12 = 0
    EMA26 = 1
    SMA20 = 2
    RSI14 = 3
    MACD = 4
    MACD_SIGNAL = 5
    MACD_HIST = 6
    BB_MID = 7
    BB_UPPER = 8
    BB_LOWER = 9
    ATR14 = 10
    ADX14 = 11
    STOCH_K = 12
    STOCH_D = 13
    CCI20 = 14
    MFI14 = 15
    OBV = 16
    VWAP = 17
    RVOL = 18
    CHOP14 = 19

cdef enum:
    INDICATOR_COUNT = 20
    # Bars kept for the windowed indicators; the longest window is 26 bars (MACD's slow average).
    BAR_WINDOW = 32
    # Bars after which every indicator that can be ready is ready (MACD_SIGNAL and MACD_HIST are last).
    WARM_BARS = 34

# An exponential average seeded by the plain mean of its first `period` inputs.
cdef struct Ema:
    double value
    double seed_sum
    double weight
    int period
    int seen

cdef class BarIndicators:
    # values[i] means something only while bit i of `ready` is set; else it is 0.0, never NaN.
    cdef double values[INDICATOR_COUNT]
    cdef uint64_t ready
    # Last close, and net signed volume over total volume of the last 20 bars (-1..1); both are used for feature rows.
    cdef double close
    cdef double obv_lean
    cdef bint obv_lean_ready
    cdef int64_t bars
    cdef int64_t refused
    cdef double bars_per_year
    # Rings of the last BAR_WINDOW bars, newest at (bars - 1) % BAR_WINDOW.
    cdef double w_high[BAR_WINDOW]
    cdef double w_low[BAR_WINDOW]
    cdef double w_close[BAR_WINDOW]
    cdef double w_volume[BAR_WINDOW]
    cdef double w_typical[BAR_WINDOW]
    cdef double w_true_range[BAR_WINDOW]
    cdef double w_log_return[BAR_WINDOW]
    cdef double w_stoch[BAR_WINDOW]
    cdef uint64_t stoch_defined
    cdef Ema ema12, ema26, macd_fast, macd_signal
    cdef double gain_mean, loss_mean, atr, obv
    cdef double plus_dm, minus_dm, dm_range, dx_sum, adx

    cdef void reset(self) noexcept nogil
    # Takes one closed bar: prices in quote per base, volume in base. Returns 0, or -1 when the bar is refused
    # (not finite, not positive, high < low, open or close outside, negative volume): then nothing has changed.
    cdef int update(self, double o, double h, double l, double c, double v) noexcept nogil
    cdef void _set(self, int indicator, double value) noexcept nogil
    cdef int _at(self, int back) noexcept nogil
    cdef void _trend(self, double c) noexcept nogil
    cdef void _strength(self, double change) noexcept nogil
    cdef void _direction(self, int at) noexcept nogil
    cdef void _average_index(self) noexcept nogil
    cdef void _obv(self, double change, double v) noexcept nogil
    cdef void _bands(self) noexcept nogil
    cdef void _stochastic(self) noexcept nogil
    cdef void _extremes(self, double *high, double *low) noexcept nogil
    cdef void _typical(self) noexcept nogil
    cdef void _volume(self) noexcept nogil
    cdef void _range(self) noexcept nogil
