"""Bar indicators against TA-Lib, against plain Python, and against themselves."""

from __future__ import annotations

import ctypes
import math
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd._fast import indicators
from cstd.research import bar_file

MINUTE_NS = 60 * 10**9
# Authentic bars: BTC's size of price, a price of 1e-5 with quantities of 1e8, and a coin with many missing bars.
FILES = ("5m/XBTUSD_5m_2023Q1.csv.gz", "5m/PEPEUSD_5m_2024H2.csv.gz", "5m/HONEYUSD_5m_2024H2.csv.gz",
         "240m/ETHEUR_240m_2024.csv.gz")
# Names whose values cross zero: a relative error there is measured against this part of the value's natural size.
BOUNDED = ("rsi14", "adx14", "stoch_k", "stoch_d", "mfi14", "cci20")


def random_walk(price: float, step_frac: float, n: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return n bars of a seeded geometric walk."""
    rng = np.random.default_rng(seed)
    close = price * np.exp(np.cumsum(rng.normal(0, step_frac, n)))
    open_ = np.concatenate(([price], close[:-1]))
    high = np.maximum(open_, close) * (1 + np.abs(rng.normal(0, step_frac, n)))
    low = np.minimum(open_, close) * (1 - np.abs(rng.normal(0, step_frac, n)))
    return open_, high, low, close, rng.lognormal(0, 2, n)


def talib_columns(high: np.ndarray, low: np.ndarray, close: np.ndarray, volume: np.ndarray) -> dict[str, np.ndarray]:
    """Return TA-Lib's values. It has absolute thresholds (1e-14 in deviations, 1.0 in money flow), so prices and
    volumes are first multiplied by a power of two, which changes no digit, and results divided by it."""
    scale = 2.0 ** (10 - math.floor(math.log2(float(close[0]))))
    hi, lo, c = high * scale, low * scale, close * scale
    upper, mid, lower = talib.BBANDS(c, 20, 2, 2)
    macd, signal, hist = talib.MACD(c, 12, 26, 9)
    k, d = talib.STOCHF(hi, lo, c, 14, 3)
    prices = {"ema12": talib.EMA(c, 12), "ema26": talib.EMA(c, 26), "sma20": talib.SMA(c, 20), "macd": macd,
              "macd_signal": signal, "macd_hist": hist, "bb_mid": mid, "bb_upper": upper, "bb_lower": lower,
              "atr14": talib.ATR(hi, lo, c, 14)}
    return {**{name: column / scale for name, column in prices.items()},
            "rsi14": talib.RSI(c, 14), "adx14": talib.ADX(hi, lo, c, 14), "stoch_k": k, "stoch_d": d,
            "cci20": talib.CCI(hi, lo, c, 20), "mfi14": talib.MFI(hi, lo, c, volume * 2.0**30, 14),
            "obv": talib.OBV(c, volume)}


def size_of(name: str, oracle: np.ndarray, close: np.ndarray, volume: np.ndarray) -> np.ndarray:
    """Return what an error of 1e-9 is relative to."""
    if name in BOUNDED:
        return np.maximum(np.abs(oracle), 1.0)
    if name.startswith("macd"):
        return np.maximum(np.abs(oracle), 1e-4 * close)
    if name == "obv":
        return np.maximum(np.abs(oracle), volume)
    return np.abs(oracle)


def check_against_talib(bars: tuple[np.ndarray, ...], *, least_ready_frac: float = 0.9) -> None:
    open_, high, low, close, volume = bars
    values, ready = indicators.batch(open_, high, low, close, volume, interval_ns=MINUTE_NS)
    for name, oracle in talib_columns(high, low, close, volume).items():
        both = ready[name] & ~np.isnan(oracle)
        assert both.sum() >= least_ready_frac * (len(close) - 40), name
        error = np.abs(values[name] - oracle)[both] / size_of(name, oracle, close, volume)[both]
        assert error.max() <= 1e-9, (name, error.max())


@pytest.mark.parametrize("name", FILES)
def test_authentic_bars_agree_with_talib(data_dir: Path, name: str) -> None:
    """On authentic bars every indicator that TA-Lib has agrees within 1e-9 after warm-up."""
    bars = bar_file.read(data_dir / "bars" / name)
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    check_against_talib(tuple(np.array(column)[:20_000] for column in columns), least_ready_frac=0.6)


@pytest.mark.parametrize(("price", "step_frac"), [(100_000.0, 2e-4), (100_000.0, 1e-2), (1e-5, 1e-3), (1e-8, 1e-2),
                                                 (1.0, 0.03)])
def test_synthetic_extremes_agree_with_talib(price: float, step_frac: float) -> None:
    """From 1e-8 to 100,000 per coin, quiet or wild, agreement with TA-Lib holds."""
    bars = random_walk(price, step_frac, 3000, seed=7)
    check_against_talib(bars)


@pytest.mark.parametrize(("price", "step_frac"), [(100_000.0, 1e-7), (1e-5, 1e-6), (1.0, 0.3)])
def test_windows_keep_their_digits_where_running_sums_lose_them(price: float, step_frac: float) -> None:
    """In a very quiet market, and after a collapse, SMA, bands and CCI agree with exact fractions within 1e-9."""
    bars = random_walk(price, step_frac, 400, seed=9)
    _, high, low, close, _ = bars
    values, _ = indicators.batch(*bars, interval_ns=MINUTE_NS)
    for t in (150, 399):
        window = [Fraction(x) for x in close[t - 19:t + 1]]
        mean = sum(window) / 20
        deviation = math.sqrt(sum((x - mean) ** 2 for x in window) / 20)
        assert values["sma20"][t] == pytest.approx(float(mean), rel=1e-15)
        assert values["bb_upper"][t] - values["sma20"][t] == pytest.approx(2 * deviation, rel=1e-9, abs=2 * math.ulp(price))
        typical = [sum(map(Fraction, bar)) / 3
                   for bar in zip(high[t - 19:t + 1], low[t - 19:t + 1], close[t - 19:t + 1], strict=True)]
        mean = sum(typical) / 20
        spread = sum(abs(x - mean) for x in typical) / 20
        # The typical price itself is rounded to a double before anything else happens to it.
        rounding = 4 * math.ulp(float(mean)) / float(spread) / 0.015
        assert values["cci20"][t] == pytest.approx(float((typical[-1] - mean) / spread) / 0.015, rel=1e-9, abs=rounding)


def test_streaming_equals_batch_bit_for_bit() -> None:
    """A bar at a time gives the same bits as all at once, ready or not."""
    bars = random_walk(30_000.0, 1e-3, 500, seed=3)
    values, ready = indicators.batch(*bars, interval_ns=MINUTE_NS)
    stream = indicators.BarIndicators(MINUTE_NS)
    for i, bar in enumerate(zip(*bars, strict=True)):
        now = stream.push(*bar)
        assert now == {name: values[name][i] for name in indicators.NAMES if ready[name][i]}


def test_the_future_changes_nothing() -> None:
    """Other bars after t leave every value up to t as it was."""
    bars = random_walk(30_000.0, 1e-3, 200, seed=5)
    other = tuple(column.copy() for column in bars)
    for column in other[:4]:
        column[120:] *= 3.0
    a, a_ready = indicators.batch(*bars, interval_ns=MINUTE_NS)
    b, b_ready = indicators.batch(*other, interval_ns=MINUTE_NS)
    for name in indicators.NAMES:
        assert a[name][:120].tobytes() == b[name][:120].tobytes()
        assert (a_ready[name][:120] == b_ready[name][:120]).all()
        assert (a[name][121:] != b[name][121:]).any() or name == "obv", name


FIRST_READY = {"ema12": 12, "ema26": 26, "sma20": 20, "rsi14": 15, "macd": 26, "macd_signal": 34, "macd_hist": 34,
               "bb_mid": 20, "bb_upper": 20, "bb_lower": 20, "atr14": 15, "adx14": 28, "stoch_k": 14, "stoch_d": 16,
               "cci20": 20, "mfi14": 15, "obv": 1, "vwap": 20, "rvol": 21, "chop14": 15}


def test_each_indicator_is_ready_after_the_stated_number_of_bars() -> None:
    """One bar short it is not ready, with the stated bar it is."""
    bars = random_walk(100.0, 1e-2, 60, seed=1)
    _, ready = indicators.batch(*bars, interval_ns=MINUTE_NS)
    assert {name: int(np.argmax(mask)) + 1 for name, mask in ready.items()} == FIRST_READY
    assert max(FIRST_READY.values()) == indicators.warm_bars
    assert all(mask[FIRST_READY[name] - 1:].all() for name, mask in ready.items())


def test_a_flat_market_has_no_quotients() -> None:
    """Where a formula is 0/0 the indicator is not ready; it is neither 0 nor 50 nor NaN."""
    flat = np.full(100, 61_234.5)
    values, ready = indicators.batch(flat, flat, flat, flat, np.full(100, 0.25), interval_ns=MINUTE_NS)
    for name in ("rsi14", "stoch_k", "stoch_d", "cci20", "mfi14", "chop14"):
        assert not ready[name].any(), name
    assert values["bb_upper"][50] == values["bb_lower"][50] == values["sma20"][50] == values["vwap"][50] == 61_234.5
    assert values["atr14"][50] == values["rvol"][50] == values["macd_hist"][50] == 0.0


def test_realised_volatility_vwap_and_choppiness_follow_their_definitions() -> None:
    """What TA-Lib does not have agrees with the definition written out in Python."""
    bars = random_walk(250.0, 1e-2, 80, seed=11)
    _, high, low, close, volume = bars
    values, _ = indicators.batch(*bars, interval_ns=5 * MINUTE_NS)
    for t in (20, 41, 79):
        returns = [math.log(close[i] / close[i - 1]) for i in range(t - 19, t + 1)]
        per_year = 365 * 24 * 12
        assert values["rvol"][t] == pytest.approx(math.sqrt(math.fsum(r * r for r in returns) / 20 * per_year), rel=1e-12)
        typical = [(high[i] + low[i] + close[i]) / 3 for i in range(t - 19, t + 1)]
        weights = volume[t - 19:t + 1]
        vwap = math.fsum(p * v for p, v in zip(typical, weights, strict=True)) / math.fsum(weights)
        assert values["vwap"][t] == pytest.approx(vwap, rel=1e-12)
        ranges = [max(high[i], close[i - 1]) - min(low[i], close[i - 1]) for i in range(t - 13, t + 1)]
        span = max(high[t - 13:t + 1]) - min(low[t - 13:t + 1])
        assert values["chop14"][t] == pytest.approx(100 * math.log10(math.fsum(ranges) / span) / math.log10(14), rel=1e-12)


BAD_BARS = [(math.nan, 2, 1, 1.5, 1), (1, math.inf, 1, 1, 1), (1, 2, 0, 1, 1), (1, 2, -1, 1, 1), (1, 1.5, 1, 1.6, 1),
            (3, 2, 1, 1, 1), (1, 2, 1, 1, -1), (1, 2, 1, 1, math.nan), (1, 2, 1, 0.5, 1), (1e300, 1e300, 1e300, 1e300, 1)]


@pytest.mark.parametrize("bad", BAD_BARS)
def test_a_bar_that_cannot_exist_is_refused_and_changes_nothing(bad: tuple[float, ...]) -> None:
    """Non-finite, non-positive or inconsistent bars raise, and the next good bar gives what it would have given."""
    bars = list(zip(*random_walk(1.5, 1e-2, 40, seed=2), strict=True))
    plain, hit = indicators.BarIndicators(MINUTE_NS), indicators.BarIndicators(MINUTE_NS)
    for bar in bars[:-1]:
        plain.push(*bar)
        hit.push(*bar)
    with pytest.raises(ValueError, match="not a bar"):
        hit.push(*bad)
    assert plain.push(*bars[-1]) == hit.push(*bars[-1])
    with pytest.raises(ValueError, match="bar 1 cannot exist"):
        indicators.batch(*zip(bars[0], bad, strict=True), interval_ns=MINUTE_NS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(1e-24, 1e24), st.floats(1.0, 1e6), st.floats(0, 1), st.floats(0, 1),
                          st.floats(0, 1e30)), min_size=1, max_size=60))
def test_no_sound_bar_makes_a_number_that_is_not_finite(seeds: list[tuple[float, ...]]) -> None:
    """Whatever sound bars come in whatever order, every value is finite."""
    stream = indicators.BarIndicators(MINUTE_NS)
    for low, ratio, a, b, volume in seeds:
        high = min(low * ratio, 1e24)
        open_, close = (min(max(low + x * (high - low), low), high) for x in (a, b))
        for name, value in stream.push(open_, high, low, close, volume).items():
            assert math.isfinite(value), name


@pytest.fixture(scope="module")
def fmath(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The header's three functions, compiled with the project's flags."""
    folder = tmp_path_factory.mktemp("fmath")
    header = Path(indicators.__file__).parent / "csrc" / "fmath.h"
    names = ("exp", "log", "sqrt")
    source = folder / "f.c"
    source.write_text(f'#include "{header}"\n' + "".join(f"double f_{n}(double x) {{ return cstd_{n}(x); }}\n" for n in names))
    library = folder / "f.so"
    subprocess.run(["gcc", "-O3", "-ffp-contract=off", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    loaded = ctypes.CDLL(str(library))
    for name in names:
        function = getattr(loaded, f"f_{name}")
        function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
    return loaded


@settings(max_examples=300, deadline=None)
@given(x=st.floats(-700, 700), y=st.floats(1e-300, 1e300))
def test_own_exp_log_and_sqrt_are_as_good_as_libm(fmath: ctypes.CDLL, x: float, y: float) -> None:
    """exp within 2 ulp, log within 2 ulp of its larger part, sqrt exact."""
    assert abs(fmath.f_exp(x) - math.exp(x)) <= 2 * math.ulp(math.exp(x))
    assert abs(fmath.f_log(y) - math.log(y)) <= 2 * max(math.ulp(math.log(y)), 1e-16)
    assert fmath.f_sqrt(y) == math.sqrt(y)


def test_exp_and_log_at_their_edges(fmath: ctypes.CDLL) -> None:
    """exp(0) and log(1) are exact; exp underflows to 0 and never overflows; the shortcut meets the table."""
    assert fmath.f_exp(0.0) == 1.0
    assert fmath.f_log(1.0) == 0.0
    assert fmath.f_exp(-1e9) == 0.0
    assert math.isfinite(fmath.f_exp(1e9))
    assert math.isnan(fmath.f_exp(math.nan))
    for x in (0.0107999, 0.0108001, -0.0107999, -0.0108001):
        assert abs(fmath.f_exp(x) - math.exp(x)) <= math.ulp(1.0)
