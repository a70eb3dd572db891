"""Technical: RSI, MACD and Bollinger bands on 5 minute bars. One vote per bar close.

Two readings are combined. Trend: MACD above its signal line and fast average above slow (each counts half). Reversion:
close outside a Bollinger band with RSI at an extreme. Where ADX says that there is a trend (above 25) the trend reading
has the larger weight, where it says there is none (below 20) the other one has; in between they share.
"""

from cstd.signals.agents.api import ABSTAIN, VOTE, Agent, Feature
from cstd.signals.agents.kernels import clamp, has

RSI_LOW = 30.0
RSI_HIGH = 70.0
ADX_NONE = 20.0
ADX_TREND = 25.0
THRESHOLD = 0.3


def kernel(features, valid, state, vote):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """Vote on one bar close."""
    if not (has(valid, Feature.M5_RSI14) and has(valid, Feature.M5_MACD_HIST_BPS) and has(valid, Feature.M5_ADX14)
            and has(valid, Feature.M5_EMA12_BPS) and has(valid, Feature.M5_EMA26_BPS)
            and has(valid, Feature.M5_BB_UPPER_BPS) and has(valid, Feature.M5_BB_LOWER_BPS)):
        return ABSTAIN
    trend = 0.0
    trend += 0.5 if features[Feature.M5_MACD_HIST_BPS] > 0.0 else -0.5
    trend += 0.5 if features[Feature.M5_EMA12_BPS] > features[Feature.M5_EMA26_BPS] else -0.5
    rsi = features[Feature.M5_RSI14]
    reversion = 0.0
    # Bands are given in bps from the close: a lower band above the close (> 0) means that the close is below it.
    if rsi < RSI_LOW and features[Feature.M5_BB_LOWER_BPS] > 0.0:
        reversion = clamp((RSI_LOW - rsi) / RSI_LOW + 0.5, 0.0, 1.0)
    elif rsi > RSI_HIGH and features[Feature.M5_BB_UPPER_BPS] < 0.0:
        reversion = -clamp((rsi - RSI_HIGH) / (100.0 - RSI_HIGH) + 0.5, 0.0, 1.0)
    weight = clamp((features[Feature.M5_ADX14] - ADX_NONE) / (ADX_TREND - ADX_NONE), 0.0, 1.0)
    score = (0.25 + 0.5 * weight) * trend + (0.75 - 0.5 * weight) * reversion
    if abs(score) < THRESHOLD:
        vote[0] = 0.0
        vote[1] = 1.0 - abs(score) / THRESHOLD
    else:
        vote[0] = 1.0 if score > 0.0 else -1.0
        vote[1] = clamp(abs(score), 0.0, 1.0)
    return VOTE


AGENT = Agent("technical", kernel, per="bar")
