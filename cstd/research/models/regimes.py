"""Six regimes from closed bars alone: trend by ADX, chop by the choppiness index, volatility by its rank in the past.

Causal, with hysteresis (a state is left at another level than it was entered at) and a minimum dwell. They serve to say in which
markets a model's intervals hold; nothing is traded by them here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping

NAMES = ("trending up", "trending down", "mean reverting", "choppy", "high volatility", "low volatility")
UNKNOWN = -1
UP, DOWN, REVERTING, CHOPPY, HIGH, LOW = range(6)

RANK_BARS, RANK_BARS_MIN = 500, 100
DWELL_BARS = 6
# Entered at the first, left at the second.
HIGH_RANK = (0.90, 0.80)
LOW_RANK = (0.10, 0.20)
TREND_ADX = (25.0, 20.0)
CHOPPY_CHOP = (61.8, 55.0)


class Regimes:
    """The regime of one series of bars, from the indicators of each."""

    def __init__(self) -> None:
        self._past: deque[float] = deque()
        self._sorted: list[float] = []
        self._dwelt = 0
        self.regime = UNKNOWN

    def push(self, values: Mapping[str, float]) -> int:
        """Take the indicators of a closed bar; return the regime's place in NAMES, UNKNOWN while there is too little past."""
        if not all(name in values for name in ("rvol", "adx14", "chop14", "ema12", "ema26")):
            return self.regime
        rank = self._rank(values["rvol"])
        if rank is None:
            return self.regime
        self._dwelt += 1
        found = self._judge(rank, values)
        if found != self.regime and (self.regime == UNKNOWN or self._dwelt >= DWELL_BARS):
            self.regime, self._dwelt = found, 0
        return self.regime

    def _rank(self, vol: float) -> float | None:
        rank = bisect_left(self._sorted, vol) / len(self._sorted) if len(self._sorted) >= RANK_BARS_MIN else None
        self._past.append(vol)
        insort(self._sorted, vol)
        if len(self._past) > RANK_BARS:
            del self._sorted[bisect_left(self._sorted, self._past.popleft())]
        return rank

    def _judge(self, rank: float, values: Mapping[str, float]) -> int:
        now = self.regime
        if rank >= HIGH_RANK[now == HIGH]:
            return HIGH
        if rank <= LOW_RANK[now == LOW]:
            return LOW
        if values["adx14"] >= TREND_ADX[now in (UP, DOWN)]:
            return UP if values["ema12"] >= values["ema26"] else DOWN
        return CHOPPY if values["chop14"] >= CHOPPY_CHOP[now == CHOPPY] else REVERTING
