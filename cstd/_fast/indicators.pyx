# cython: nonecheck=False
# (the checked build cannot test `self` for None without the GIL; it never is None)
"""Bar indicators, streaming and batch from one implementation.

One `BarIndicators` per (instrument, interval) takes closed bars in order. A value is *ready* when its window is full
and its formula is defined on it; until then its bit is clear and the number is 0.0. A quotient without meaning (RSI
of a market that never moved, stochastic of a range of zero) is not ready: it is not 0, 50 or 100. No NaN exists here.

| name | definition | ready after bars |
|---|---|---|
| ema12, ema26 | exponential mean of close, weight 2/(n+1), seeded by the mean of the first n | 12, 26 |
| sma20 | mean of close | 20 |
| rsi14 | Wilder's relative strength, 0..100 | 15 |
| macd, macd_signal, macd_hist | EMA 12 - EMA 26, its EMA 9, their difference | 26, 34, 34 |
| bb_mid, bb_upper, bb_lower | SMA 20 and 2 population deviations around it | 20 |
| atr14 | Wilder's mean of true range, price units | 15 |
| adx14 | Wilder's average directional index, 0..100 | 28 |
| stoch_k, stoch_d | place of close in the range of 14 bars, 0..100; its mean over 3 | 14, 16 |
| cci20 | (typical - its mean) / (0.015 x mean absolute deviation) | 20 |
| mfi14 | money flow index of typical price x volume, 0..100 | 15 |
| obv | on-balance volume, base units, starts with the first bar's volume; its level depends on the first bar | 1 |
| vwap | volume-weighted typical price of the last 20 bars | 20 |
| rvol | realised volatility of 20 log returns, annualised over 365 days of 24 h, 1.0 = 100 % | 21 |
| chop14 | 100 log10(sum of true range / range) / log10(14) | 15 |

MACD's fast average is seeded so that both averages start on the same bar (bars 15 to 26), as TA-Lib does; hence
macd differs from ema12 - ema26 until the seeds are forgotten.

Windows are summed anew on each bar, relative to the last close. A running sum or E[x^2] - E[x]^2 would be cheaper and
wrong: at 100,000 USD the latter keeps no digits of a one-dollar deviation. A bar costs well under a microsecond.
"""
import numpy as np

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

cdef extern from "fmath.h" nogil:
    double fast_log "cstd_log"(double x)
    double fast_sqrt "cstd_sqrt"(double x)
    double absolute "cstd_abs"(double x)
    bint is_finite "cstd_is_finite"(double x)
    double LOG10_E "CSTD_LOG10_E"

cdef enum:
    RING_MASK = 31  # BAR_WINDOW - 1, a literal because the checked build cannot compute in an enum
    WILDER = 14
    BAND = 20
    MACD_FAST_SKIP = 14  # 26 - 12: the fast average starts where the slow one has 12 bars left to fill

# Beyond these no square or product of two inputs can leave the range of a double; no market is near them.
cdef double PRICE_MIN = 1e-24
cdef double PRICE_MAX = 1e24
cdef double VOLUME_MAX = 1e30
# Means that have decayed to this are remains of rounding, not of a market.
cdef double FORGOTTEN = 1e-290
# Typical prices whose sums are equal in decimals can differ by three roundings; a real change is a tick, far larger.
cdef double EQUAL_FRAC = 2e-15
cdef double YEAR_NS = 365.0 * 86400.0 * 1e9
cdef double LOG10_14 = fast_log(14.0) * LOG10_E

NAMES = tuple(name.lower() for name in sorted(Indicator.__members__, key=lambda name: int(Indicator.__members__[name])))
warm_bars = WARM_BARS
assert RING_MASK == BAR_WINDOW - 1


cdef void ema_init(Ema *ema, int period) noexcept nogil:
    ema.value = 0.0
    ema.seed_sum = 0.0
    ema.weight = 2.0 / (period + 1)
    ema.period = period
    ema.seen = 0


cdef bint ema_push(Ema *ema, double x) noexcept nogil:
    """Take one input; return whether the average is ready."""
    if ema.seen < ema.period:
        ema.seed_sum += x
        ema.seen += 1
        if ema.seen < ema.period:
            return False
        ema.value = ema.seed_sum / ema.period
        return True
    ema.value = (x - ema.value) * ema.weight + ema.value
    return True


cdef inline double wilder(double mean, double x) noexcept nogil:
    return (mean * (WILDER - 1) + x) / WILDER


cdef inline double larger(double a, double b) noexcept nogil:
    return a if a > b else b


cdef bint bar_is_sound(double o, double h, double l, double c, double v) noexcept nogil:
    """Return whether a bar can exist: comparisons with NaN are false, so NaN fails."""
    return PRICE_MIN <= l <= o <= h <= PRICE_MAX and l <= c <= h and 0.0 <= v <= VOLUME_MAX


cdef class BarIndicators:
    """Indicators of one series of closed bars. The engine is the only writer.

    Args:
        interval_ns: length of a bar in ns; rvol alone needs it.
    """

    def __cinit__(self, int64_t interval_ns):
        if interval_ns <= 0:
            raise ValueError(f"interval_ns must be positive, got {interval_ns}")
        self.bars_per_year = YEAR_NS / interval_ns
        self.reset()

    cdef void reset(self) noexcept nogil:
        memset(self.values, 0, sizeof(self.values))
        self.ready = 0
        self.close = 0.0
        self.obv_lean = 0.0
        self.obv_lean_ready = False
        self.bars = 0
        self.refused = 0
        self.stoch_defined = 0
        ema_init(&self.ema12, 12)
        ema_init(&self.ema26, 26)
        ema_init(&self.macd_fast, 12)
        ema_init(&self.macd_signal, 9)
        self.gain_mean = self.loss_mean = self.atr = self.obv = 0.0
        self.plus_dm = self.minus_dm = self.dm_range = self.dx_sum = self.adx = 0.0

    cdef int update(self, double o, double h, double l, double c, double v) noexcept nogil:
        cdef int at = self.bars & RING_MASK
        cdef double before
        if not bar_is_sound(o, h, l, c, v):
            self.refused += 1
            return -1
        before = self.close if self.bars else c
        self.w_high[at] = h
        self.w_low[at] = l
        self.w_close[at] = c
        self.w_volume[at] = v
        self.w_typical[at] = (h + l + c) / 3.0
        self.w_true_range[at] = larger(h - l, larger(absolute(h - before), absolute(l - before)))
        self.w_log_return[at] = fast_log(c / before) if self.bars else 0.0
        self.ready = 0
        memset(self.values, 0, sizeof(self.values))
        self._trend(c)
        self._strength(c - before)
        self._direction(at)
        self._obv(c - before, v)
        self.close = c
        self.bars += 1
        self._bands()
        self._stochastic()
        self._typical()
        self._volume()
        self._range()
        return 0

    cdef inline void _set(self, int indicator, double value) noexcept nogil:
        if is_finite(value):
            self.values[indicator] = value
            self.ready |= <uint64_t>1 << indicator

    cdef inline int _at(self, int back) noexcept nogil:
        """Return the ring position of the bar `back` bars before the newest."""
        return (self.bars - 1 - back) & RING_MASK

    cdef void _trend(self, double c) noexcept nogil:
        cdef double macd
        if ema_push(&self.ema12, c):
            self._set(EMA12, self.ema12.value)
        if self.bars >= MACD_FAST_SKIP:
            ema_push(&self.macd_fast, c)
        if ema_push(&self.ema26, c):
            self._set(EMA26, self.ema26.value)
            macd = self.macd_fast.value - self.ema26.value
            self._set(MACD, macd)
            if ema_push(&self.macd_signal, macd):
                self._set(MACD_SIGNAL, self.macd_signal.value)
                self._set(MACD_HIST, macd - self.macd_signal.value)

    cdef void _strength(self, double change) noexcept nogil:
        """RSI. Bars 2 to 15 seed the means of gain and loss."""
        cdef double gain = change if change > 0 else 0.0
        cdef double loss = -change if change < 0 else 0.0
        cdef double both
        if self.bars == 0:
            return
        if self.bars <= WILDER:
            self.gain_mean += gain / WILDER
            self.loss_mean += loss / WILDER
            if self.bars < WILDER:
                return
        else:
            self.gain_mean = wilder(self.gain_mean, gain)
            self.loss_mean = wilder(self.loss_mean, loss)
        both = self.gain_mean + self.loss_mean
        if both > FORGOTTEN:
            self._set(RSI14, 100.0 * (self.gain_mean / both))

    cdef void _direction(self, int at) noexcept nogil:
        """ATR and ADX. Directional movement is seeded by 13 bars, ADX by 14 directional indices after them."""
        cdef int prior = (self.bars - 1) & RING_MASK
        cdef double true_range = self.w_true_range[at]
        cdef double up, down
        if self.bars == 0:
            return
        if self.bars <= WILDER:
            self.atr += true_range / WILDER
        else:
            self.atr = wilder(self.atr, true_range)
        if self.bars >= WILDER:
            self._set(ATR14, self.atr)
        up = self.w_high[at] - self.w_high[prior]
        down = self.w_low[prior] - self.w_low[at]
        if self.bars >= WILDER:
            self.plus_dm -= self.plus_dm / WILDER
            self.minus_dm -= self.minus_dm / WILDER
            self.dm_range -= self.dm_range / WILDER
        if down > 0 and down > up:
            self.minus_dm += down
        elif up > 0 and up > down:
            self.plus_dm += up
        self.dm_range += true_range
        if self.bars >= WILDER:
            self._average_index()

    cdef void _average_index(self) noexcept nogil:
        cdef double both = self.plus_dm + self.minus_dm
        cdef double index = 0.0
        cdef bint defined = both > FORGOTTEN and self.dm_range > FORGOTTEN
        if defined:
            index = 100.0 * (absolute(self.minus_dm - self.plus_dm) / both)
        if self.bars < 2 * WILDER:
            self.dx_sum += index
            if self.bars < 2 * WILDER - 1:
                return
            self.adx = self.dx_sum / WILDER
        elif defined:
            self.adx = wilder(self.adx, index)
        self._set(ADX14, self.adx)

    cdef void _obv(self, double change, double v) noexcept nogil:
        if self.bars == 0 or change > 0:
            self.obv += v
        elif change < 0:
            self.obv -= v
        self._set(OBV, self.obv)

    cdef void _bands(self) noexcept nogil:
        """SMA 20 and Bollinger bands; sums are relative to the last close."""
        cdef double c = self.close
        cdef double total = 0.0, squares = 0.0, offset, away, mid
        cdef int i
        if self.bars < BAND:
            return
        for i in range(BAND):
            total += self.w_close[self._at(i)] - c
        offset = total / BAND
        for i in range(BAND):
            away = (self.w_close[self._at(i)] - c) - offset
            squares += away * away
        mid = c + offset
        away = 2.0 * fast_sqrt(squares / BAND)
        self._set(SMA20, mid)
        self._set(BB_MID, mid)
        self._set(BB_UPPER, mid + away)
        self._set(BB_LOWER, mid - away)

    cdef void _stochastic(self) noexcept nogil:
        cdef double high, low, k
        self.stoch_defined = (self.stoch_defined & 3) << 1
        if self.bars < WILDER:
            return
        self._extremes(&high, &low)
        if high <= low:
            return
        k = 100.0 * ((self.close - low) / (high - low))
        self.stoch_defined |= 1
        self.w_stoch[self._at(0)] = k
        self._set(STOCH_K, k)
        if self.stoch_defined & 7 == 7:
            self._set(STOCH_D, (k + self.w_stoch[self._at(1)] + self.w_stoch[self._at(2)]) / 3.0)

    cdef void _extremes(self, double *high, double *low) noexcept nogil:
        """Highest high and lowest low of the last 14 bars."""
        cdef int i, at
        high[0] = self.w_high[self._at(0)]
        low[0] = self.w_low[self._at(0)]
        for i in range(1, WILDER):
            at = self._at(i)
            if self.w_high[at] > high[0]:
                high[0] = self.w_high[at]
            if self.w_low[at] < low[0]:
                low[0] = self.w_low[at]

    cdef void _typical(self) noexcept nogil:
        """CCI 20 and MFI 14, both of the typical price; CCI relative to the newest so that equal prices differ by 0."""
        cdef double newest = self.w_typical[self._at(0)]
        cdef double total = 0.0, deviation = 0.0, offset, up = 0.0, down = 0.0, flow, change
        cdef int i, at
        if self.bars > WILDER:
            for i in range(WILDER):
                at = self._at(i)
                change = self.w_typical[at] - self.w_typical[self._at(i + 1)]
                flow = self.w_typical[at] * self.w_volume[at]
                if change > EQUAL_FRAC * newest:
                    up += flow
                elif change < -EQUAL_FRAC * newest:
                    down += flow
            if up + down > 0:
                self._set(MFI14, 100.0 * (up / (up + down)))
        if self.bars < BAND:
            return
        for i in range(BAND):
            total += self.w_typical[self._at(i)] - newest
        offset = total / BAND
        for i in range(BAND):
            deviation += absolute((self.w_typical[self._at(i)] - newest) - offset)
        deviation /= BAND
        if deviation > 0:
            self._set(CCI20, -offset / (0.015 * deviation))

    cdef void _volume(self) noexcept nogil:
        """VWAP of 20 bars, and the lean of signed volume over the same bars."""
        cdef double c = self.close
        cdef double total = 0.0, weighted = 0.0, net = 0.0, change
        cdef int i, at
        self.obv_lean = 0.0
        self.obv_lean_ready = False
        if self.bars < BAND:
            return
        for i in range(BAND):
            at = self._at(i)
            total += self.w_volume[at]
            weighted += (self.w_typical[at] - c) * self.w_volume[at]
        if total <= 0:
            return
        self._set(VWAP, c + weighted / total)
        if self.bars <= BAND:
            return
        for i in range(BAND):
            at = self._at(i)
            change = self.w_close[at] - self.w_close[self._at(i + 1)]
            if change > 0:
                net += self.w_volume[at]
            elif change < 0:
                net -= self.w_volume[at]
        self.obv_lean = net / total
        self.obv_lean_ready = True

    cdef void _range(self) noexcept nogil:
        """Realised volatility of 20 returns and the Choppiness index of 14 bars."""
        cdef double squares = 0.0, travelled = 0.0, high, low, change
        cdef int i
        if self.bars > WILDER:
            for i in range(WILDER):
                travelled += self.w_true_range[self._at(i)]
            self._extremes(&high, &low)
            if high > low:
                self._set(CHOP14, 100.0 * (fast_log(travelled / (high - low)) * LOG10_E) / LOG10_14)
        if self.bars > BAND:
            for i in range(BAND):
                change = self.w_log_return[self._at(i)]
                squares += change * change
            self._set(RVOL, fast_sqrt(squares / BAND * self.bars_per_year))

    def push(self, double o, double h, double l, double c, double v) -> dict:
        """Take one closed bar and return the ready indicators by name.

        Raises:
            ValueError: the bar cannot exist (see `update`).
        """
        if self.update(o, h, l, c, v) != 0:
            raise ValueError(f"not a bar: open {o}, high {h}, low {l}, close {c}, volume {v}")
        return self.ready_values()

    def ready_values(self) -> dict:
        """Return {name: value} of the indicators that are ready."""
        return {name: self.values[i] for i, name in enumerate(NAMES) if self.ready >> i & 1}


def batch(open_, high, low, close, volume, *, int64_t interval_ns):
    """Return the indicators of a whole series of bars, by the same code that runs live.

    Args:
        open_, high, low, close: quote per base, one per bar, oldest first.
        volume: base units.
        interval_ns: length of a bar.

    Returns:
        (values, ready): dicts by name of float64 and bool arrays; a value that is not ready is 0.0.

    Raises:
        ValueError: lengths differ, or a bar cannot exist (its index is named).
    """
    columns = [np.ascontiguousarray(column, dtype=np.float64) for column in (open_, high, low, close, volume)]
    n = len(columns[0])
    if any(column.shape != (n,) for column in columns):
        raise ValueError("open, high, low, close and volume must be vectors of one length")
    values = np.zeros((INDICATOR_COUNT, n))
    ready = np.zeros(n, dtype=np.uint64)
    _fill(BarIndicators(interval_ns), columns, values, ready)
    by_name = {name: values[i] for i, name in enumerate(NAMES)}
    masks = {name: (ready >> np.uint64(i) & np.uint64(1)).astype(bool) for i, name in enumerate(NAMES)}
    return by_name, masks


def _fill(BarIndicators indicators, list columns, double[:, ::1] values, uint64_t[::1] ready):
    cdef const double[::1] o = columns[0]
    cdef const double[::1] h = columns[1]
    cdef const double[::1] l = columns[2]
    cdef const double[::1] c = columns[3]
    cdef const double[::1] v = columns[4]
    cdef Py_ssize_t i
    cdef int k
    for i in range(o.shape[0]):
        if indicators.update(o[i], h[i], l[i], c[i], v[i]) != 0:
            raise ValueError(f"bar {i} cannot exist: open {o[i]}, high {h[i]}, low {l[i]}, close {c[i]}, volume {v[i]}")
        ready[i] = indicators.ready
        for k in range(INDICATOR_COUNT):
            values[k, i] = indicators.values[k]
