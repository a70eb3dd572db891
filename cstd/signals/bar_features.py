"""The row of features that a model reads, from closed bars alone: one streaming implementation for training and for scoring.

Everything is free of scale (returns in standard deviations, distances in average true ranges, ratios, logarithms), so that one
model serves instruments at 0.01 and at 100,000. A row is of the bar that was pushed last and of those before it: a later bar
cannot reach it, because it has not been pushed.

Gaps. A missing bar means that nothing traded. Indicators count bars, as they do live. A return over n bars is taken between two
times: without the bar at the earlier one the row is not ready (`missing bar`). After more than GAP_BARS_MAX missing bars in a
row everything begins anew (`warming up`). A quotient without meaning (a market that did not move) is `undefined`. Nothing is
filled in.
"""

from __future__ import annotations

import math
from collections import deque

from cstd._fast import indicators

NS_PER_S = 1_000_000_000
YEAR_S = 365 * 86_400
SPANS = (1, 3, 6, 12, 24, 48)  # bars
SLOW_BARS = 96
GAP_BARS_MAX = 6
# Half of the weight in the last 11 bars: RiskMetrics' 0.94, the common yardstick that a model of volatility has to beat.
EWMA_KEPT = 0.94
SLOW_KEPT = 0.98
BOUND = 12.0  # beyond it a value says no more than "extreme"

NAMES = (
    *(f"ret_{span}" for span in SPANS),
    "ema12_atr", "ema26_atr", "sma20_atr", "vwap_atr", "macd_atr", "macd_signal_atr", "macd_hist_atr",
    "rsi14", "mfi14", "stoch_k", "stoch_d", "cci20", "adx14", "chop14",
    "bb_place", "log_bb_width", "log_atr", "log_rvol", "vol_ratio", "volume_ratio", "volume_trend", "range_atr", "body_atr",
    "hour_sin", "hour_cos", "week_sin", "week_cos",
)
NOT_READY = ("warming up", "missing bar", "undefined")


class BarFeatures:
    """Features of one series of closed bars, oldest first.

    Attributes:
        bars: pushed since everything began.
        reason: why the last push gave no row, one of NOT_READY, or "".
        values: the indicators that were ready at the last push.
        ewma_vol: volatility of a one-bar log return by exponential weights, 0.0 before there is one.
    """

    def __init__(self, interval_s: int) -> None:
        self.interval_s = interval_s
        self._bar_vol = math.sqrt(interval_s / YEAR_S)  # annualised volatility times this is that of a bar
        self._begin()

    def _begin(self) -> None:
        self._indicators = indicators.BarIndicators(self.interval_s * NS_PER_S)
        self._closes: dict[int, float] = {}
        self._volumes: deque[float] = deque(maxlen=48)
        self._last_s = 0
        self._close = 0.0
        self.bars = 0
        self._fast = self._slow = 0.0
        self.ewma_vol = 0.0
        self.values: dict[str, float] = {}
        self.reason = "warming up"

    def push(self, time_s: int, bar: tuple[float, float, float, float, float]) -> list[float] | None:
        """Take a closed bar; return the row of NAMES, or None with the reason in `reason`.

        Args:
            time_s: start of the bar, unix seconds, later than that of the bar before.
            bar: open, high, low, close in quote per base, volume in base above zero.
        """
        if self.bars and time_s - self._last_s > (GAP_BARS_MAX + 1) * self.interval_s:
            self._begin()
        close, volume = bar[3], bar[4]
        self.values = self._indicators.push(*bar)
        self._variances(close)
        self._last_s, self._close, self.bars = time_s, close, self.bars + 1
        self._volumes.append(volume)
        self._closes[time_s] = close
        self._closes.pop(time_s - 2 * SLOW_BARS * self.interval_s, None)
        if self.bars < SLOW_BARS:
            self.reason = "warming up"
            return None
        try:
            row = self._row(time_s, bar)
        except KeyError as missing:
            self.reason = "missing bar" if isinstance(missing.args[0], int) else "undefined"
            return None
        except (ZeroDivisionError, ValueError):
            self.reason = "undefined"
            return None
        self.reason = ""
        return [min(max(value, -BOUND), BOUND) for value in row]

    def _variances(self, close: float) -> None:
        if self.bars:
            square = math.log(close / self._close) ** 2
            first = self.bars == 1
            self._fast = square if first else EWMA_KEPT * self._fast + (1 - EWMA_KEPT) * square
            self._slow = square if first else SLOW_KEPT * self._slow + (1 - SLOW_KEPT) * square
            self.ewma_vol = math.sqrt(self._fast)

    def _row(self, time_s: int, bar: tuple[float, float, float, float, float]) -> list[float]:
        """Return the row; raise KeyError of a time or an indicator that is not there, ZeroDivisionError, ValueError."""
        value = self.values
        open_, high, low, close, volume = bar
        vol, atr = value["rvol"] * self._bar_vol, value["atr14"]
        returns = [math.log(close / self._closes[time_s - span * self.interval_s]) / (vol * math.sqrt(span)) for span in SPANS]
        volumes = list(self._volumes)
        width = value["bb_upper"] - value["bb_lower"]
        end_s = time_s + self.interval_s
        day, week = 2 * math.pi * (end_s % 86_400) / 86_400, 2 * math.pi * (end_s % 604_800) / 604_800
        return [
            *returns,
            *((close - value[name]) / atr for name in ("ema12", "ema26", "sma20", "vwap")),
            *(value[name] / atr for name in ("macd", "macd_signal", "macd_hist")),
            *((value[name] - 50) / 50 for name in ("rsi14", "mfi14", "stoch_k", "stoch_d")),
            value["cci20"] / 100, value["adx14"] / 100, value["chop14"] / 100,
            (close - value["bb_mid"]) / width, math.log(width / close), math.log(atr / close), math.log(vol),
            math.log(vol / math.sqrt(self._slow)),
            math.log(volume / (sum(volumes[-20:]) / 20)), math.log(sum(volumes[-5:]) / 5 / (sum(volumes) / len(volumes))),
            (high - low) / atr, (close - open_) / atr,
            math.sin(day), math.cos(day), math.sin(week), math.cos(week),
        ]
