"""Types of the feature row; meaning: features.pyx."""

from collections.abc import Sequence
from enum import IntFlag

from cstd._fast.indicators import BarIndicators

NAMES: tuple[str, ...]
SCALES: tuple[float, ...]
FEATURES_SHA256: str
feature_count: int
book_feature_count: int
valid_words: int

# price_raw, qty_raw, own_qty_raw
Level = tuple[int, int, int]

class Feature(IntFlag):
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

class FeatureStream:
    def __init__(self, price_precision: int, qty_precision: int, depth: int = 25) -> None: ...
    def book(self, bids: Sequence[Level], asks: Sequence[Level], now_ns: int) -> dict[str, float]: ...
    def repeat(self, now_ns: int, times: int) -> None: ...
    def book_break(self) -> None: ...
    def tape_begin(self, now_ns: int) -> None: ...
    def vpin_bucket(self, qty_raw: int) -> None: ...
    def trade(self, side: int, price_raw: int, qty_raw: int, now_ns: int) -> None: ...
    def bars(self, indicators: BarIndicators, interval: int) -> None: ...
    def valid_values(self) -> dict[str, float]: ...
    def row(self) -> tuple[list[float], list[int]]: ...
    def quantised(self) -> list[int]: ...
