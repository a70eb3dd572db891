"""Bar indicators against their definitions in decimals of sixty digits, at prices of 100,000 and of 0.00001."""

from __future__ import annotations

import random
from collections.abc import Sequence
from decimal import Decimal, localcontext
from itertools import pairwise

import pytest

from cstd._fast import indicators

D = Decimal
MINUTE_NS = 60 * 10**9
Bars = list[tuple[Decimal, Decimal, Decimal, Decimal, Decimal]]
Column = list[Decimal | None]
OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)


def mean(values: Sequence[Decimal]) -> Decimal:
    return sum(values, D(0)) / len(values)


def ema(values: Column, period: int) -> Column:
    """Seeded by the mean of the first `period` values that are there."""
    out: Column = []
    seen: list[Decimal] = []
    now: Decimal | None = None
    for value in values:
        if value is not None and now is not None:
            now += (value - now) * 2 / (period + 1)
        elif value is not None:
            seen.append(value)
            now = mean(seen) if len(seen) == period else None
        out.append(now)
    return out


def wilder(values: Sequence[Decimal], period: int = 14) -> list[Decimal]:
    """Wilder's mean from the first full window on."""
    out = [mean(values[:period])]
    for value in values[period:]:
        out.append((out[-1] * (period - 1) + value) / period)
    return out


def late(values: Sequence[Decimal | None], n: int) -> Column:
    """A column of n bars whose last values are these."""
    return [None] * (n - len(values)) + list(values)


def windows(values: Sequence[Decimal], size: int) -> list[Sequence[Decimal]]:
    return [values[at - size:at] for at in range(size, len(values) + 1)]


def quotient(part: Decimal, whole: Decimal) -> Decimal | None:
    return part / whole if whole else None


def averages(close: list[Decimal]) -> dict[str, Column]:
    """EMA, SMA, bands, MACD. MACD's fast average starts so late that both seeds end on one bar."""
    n = len(close)
    fast, slow = ema([None] * 14 + close[14:], 12), ema(list(close), 26)
    macd: Column = [f - s if f is not None and s is not None else None for f, s in zip(fast, slow, strict=True)]
    signal = ema(macd, 9)
    middle = [mean(window) for window in windows(close, 20)]
    away = [2 * mean([(x - mid)**2 for x in window]).sqrt() for window, mid in zip(windows(close, 20), middle, strict=True)]
    return {"ema12": ema(list(close), 12), "ema26": slow, "sma20": late(middle, n), "bb_mid": late(middle, n),
            "bb_upper": late([m + a for m, a in zip(middle, away, strict=True)], n),
            "bb_lower": late([m - a for m, a in zip(middle, away, strict=True)], n), "macd": macd, "macd_signal": signal,
            "macd_hist": [m - s if m is not None and s is not None else None for m, s in zip(macd, signal, strict=True)]}


def ranges(rows: Bars) -> dict[str, Column]:
    """RSI, ATR, ADX, stochastic, Choppiness."""
    n = len(rows)
    high, low, close = ([row[i] for row in rows] for i in (HIGH, LOW, CLOSE))
    changes = [b - a for a, b in pairwise(close)]
    gains, losses = wilder([max(c, D(0)) for c in changes]), wilder([max(-c, D(0)) for c in changes])
    true = [max(top, before) - min(bottom, before) for top, bottom, before in zip(high[1:], low[1:], close, strict=False)]
    k: Column = []
    chop: Column = []
    for at in range(13, n):
        top, bottom = max(high[at - 13:at + 1]), min(low[at - 13:at + 1])
        k.append(None if top == bottom else 100 * (close[at] - bottom) / (top - bottom))
        travelled = sum(true[at - 14:at], D(0))
        chop.append(None if top == bottom or at < 14 else 100 * (travelled / (top - bottom)).log10() / D(14).log10())
    d = [mean([x for x in w if x is not None]) if None not in w else None for w in windows(k, 3)]
    return {"rsi14": late([quotient(100 * gain, gain + loss) for gain, loss in zip(gains, losses, strict=True)], n),
            "atr14": late(wilder(true), n), "adx14": late(directional(high, low, true), n), "stoch_k": late(k, n),
            "stoch_d": late(d, n), "chop14": late(chop, n)}


def directional(high: list[Decimal], low: list[Decimal], true: list[Decimal]) -> list[Decimal]:
    """ADX: sums of 13 movements, faded by a fourteenth before each further one; the mean of 14 indices, then Wilder's.

    Which of two movements is the larger one is asked of the doubles: where they are equal in decimals, rounding decides,
    in TA-Lib and so here.
    """
    plus = minus = span = D(0)
    indices: list[Decimal | None] = []
    for at in range(1, len(high)):
        if at >= 14:
            plus, minus, span = (x - x / 14 for x in (plus, minus, span))
        up, down = high[at] - high[at - 1], low[at - 1] - low[at]
        up_double, down_double = float(high[at]) - float(high[at - 1]), float(low[at - 1]) - float(low[at])
        plus += up if up_double > 0 and up_double > down_double else 0
        minus += down if down_double > 0 and down_double > up_double else 0
        span += true[at - 1]
        if at >= 14:
            indices.append(100 * abs(plus - minus) / (plus + minus) if plus + minus and span else None)
    out = [sum((x or D(0) for x in indices[:14]), D(0)) / 14]
    for index in indices[14:]:
        out.append(out[-1] if index is None else (out[-1] * 13 + index) / 14)
    return out


def volumes(rows: Bars, bars_a_year: Decimal) -> dict[str, Column]:
    """CCI, MFI, OBV, VWAP, realised volatility."""
    n = len(rows)
    close, volume = [row[CLOSE] for row in rows], [row[VOLUME] for row in rows]
    typical = [(row[HIGH] + row[LOW] + row[CLOSE]) / 3 for row in rows]
    cci = [quotient(w[-1] - mean(w), D("0.015") * mean([abs(x - mean(w)) for x in w])) for w in windows(typical, 20)]
    mfi: Column = []
    for at in range(14, n):
        flows = [(typical[i] - typical[i - 1], typical[i] * volume[i]) for i in range(at - 13, at + 1)]
        up, down = sum((f for c, f in flows if c > 0), D(0)), sum((f for c, f in flows if c < 0), D(0))
        mfi.append(quotient(100 * up, up + down))
    obv = [volume[0]]
    for before, now, size in zip(close, close[1:], volume[1:], strict=False):
        obv.append(obv[-1] + (size if now > before else -size if now < before else 0))
    vwap = [quotient(sum((p * v for p, v in zip(ps, vs, strict=True)), D(0)), sum(vs, D(0)))
            for ps, vs in zip(windows(typical, 20), windows(volume, 20), strict=True)]
    returns = [(b / a).ln() for a, b in pairwise(close)]
    rvol = [(mean([r * r for r in w]) * bars_a_year).sqrt() for w in windows(returns, 20)]
    return {"cci20": late(cci, n), "mfi14": late(mfi, n), "obv": list(obv), "vwap": late(vwap, n), "rvol": late(rvol, n)}


def market(regime: str, n: int, seed: int) -> Bars:
    """Bars on a grid of ticks. The doubles of these decimals are what the indicators get."""
    tick, start, step, sizes = {
        "BTC, wild": ("0.1", 1_000_000, 3000, (10**-8, 5000)), "BTC, a tick at a time": ("0.1", 1_200_000, 1, (10**-8, 10)),
        "SHIB": ("0.00000001", 1100, 6, (1e9, 1e12)), "SHIB, a tick at a time": ("0.00000001", 900, 1, (1e9, 1e12)),
    }[regime]
    draw = random.Random(seed)
    raw, rows = start, []
    for _ in range(n):
        o = raw
        raw = max(raw + draw.randrange(-step, step + 1), 20)
        top, bottom = max(o, raw) + draw.randrange(step + 1), max(min(o, raw) - draw.randrange(step + 1), 1)
        volume = D(repr(round(draw.uniform(*sizes), 5 if sizes[0] > 1 else 8))) if draw.random() < 0.97 else D(0)
        rows.append((*(D(tick) * p for p in (o, top, bottom, raw)), volume))
    return rows


def size_of(name: str, value: Decimal, rows: Bars, at: int) -> Decimal:
    """What an error is relative to: the value, or what it is a difference of.

    CCI divides by a mean deviation. High, low and close are doubles, exact to 2**-53 of themselves, and so is their mean;
    where a market of 120,000 moves by cents, four such steps alone are more than 1e-9 of the deviation, and are allowed.
    """
    price = rows[at][CLOSE]
    if name.startswith("macd"):
        return max(abs(value), price * D("1e-5"))
    if name == "cci20":
        typical = [(row[HIGH] + row[LOW] + row[CLOSE]) / 3 for row in rows[at - 19:at + 1]]
        deviation = mean([abs(x - mean(typical)) for x in typical])
        return max(abs(value), D(1)) + 4 * price * D(2)**-53 / (deviation * D("0.015")) / D("1e-9")
    if name == "obv":
        return sum((row[VOLUME] for row in rows[:at + 1]), D(0))
    if name in ("rsi14", "adx14", "stoch_k", "stoch_d", "mfi14", "chop14"):
        return max(abs(value), D(1))
    return abs(value)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("regime", ["BTC, wild", "BTC, a tick at a time", "SHIB", "SHIB, a tick at a time"])
def test_every_indicator_is_its_definition(regime: str, seed: int) -> None:
    """All twenty indicators, on every bar, are the definition to 1e-9 in both regimes; ready where it is defined and
    nowhere else; a bar at a time and all at once give the same bits."""
    rows = market(regime, 260, seed)
    stream = indicators.BarIndicators(MINUTE_NS)
    with localcontext() as context:
        context.prec = 60
        exact = {**averages([row[CLOSE] for row in rows]), **ranges(rows), **volumes(rows, D(365 * 24 * 60))}
        assert set(exact) == set(indicators.NAMES)
        columns = [[float(row[i]) for row in rows] for i in range(5)]
        values, ready = indicators.batch(*columns, interval_ns=MINUTE_NS)
        for at, bar in enumerate(zip(*columns, strict=True)):
            now = stream.push(*bar)
            assert now == {name: values[name][at] for name in indicators.NAMES if ready[name][at]}
            for name, column in exact.items():
                wanted = column[at]
                assert (name in now) is (wanted is not None), (name, at, wanted)
                if wanted is not None:
                    error = abs(D(now[name]) - wanted)
                    assert error <= D("1e-9") * size_of(name, wanted, rows, at), (name, at, now[name], wanted)
