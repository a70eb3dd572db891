"""Types of the bar indicators; meaning: indicators.pyx."""

from collections.abc import Sequence
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

NAMES: tuple[str, ...]
warm_bars: int

Column = Sequence[float] | NDArray[np.float64]

class Indicator(IntFlag):
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

class BarIndicators:
    def __init__(self, interval_ns: int) -> None: ...
    def push(self, o: float, h: float, l: float, c: float, v: float) -> dict[str, float]: ...
    def ready_values(self) -> dict[str, float]: ...

def batch(
    open_: Column, high: Column, low: Column, close: Column, volume: Column, *, interval_ns: int
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.bool_]]]: ...
