"""The feature row against a plain Python reading of the same definitions."""

from __future__ import annotations

import math
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd._fast import features, indicators

S = 10**9
T0 = 100 * S
PRICE_DIGITS, QTY_DIGITS = 1, 8
Levels = list[tuple[int, int, int]]
BOOK_NAMES = features.NAMES[:features.book_feature_count]
INT32_MIN = -(2**31)


class Oracle:
    """The definitions in features.pyx, written out without a thought for speed."""

    def __init__(self) -> None:
        self.top: tuple[int, int, int, int] | None = None
        self.book_since: int | None = None
        self.tape_since: int | None = None
        self.flows: list[tuple[int, float]] = []
        self.trades: list[tuple[int, float]] = []

    def trade(self, side: int, qty: int, now: int) -> None:
        self.tape_since = now if self.tape_since is None else self.tape_since
        self.trades.append((now, side * qty))

    def _clear(self) -> dict[str, float]:
        self.top = self.book_since = None
        self.flows = []
        return {}

    def book(self, bids: Levels, asks: Levels, now: int) -> dict[str, float]:
        sides = [[(p, q - own) for p, q, own in side if q > own] for side in (bids, asks)]
        if not sides[0] or not sides[1] or sides[0][0][0] >= sides[1][0][0]:
            return self._clear()
        (bid, bid_qty), (ask, ask_qty) = sides[0][0], sides[1][0]
        mid = (bid + ask) / 2
        out = {"SPREAD_BPS": (ask - bid) / mid * 1e4,
               "WEIGHTED_MID_BPS": ((bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty) - mid) / mid * 1e4}
        for k in (1, 5, 10):
            b, a = (sum(q for _, q in side[:k]) for side in sides)
            out[f"IMBALANCE_{k}"] = (b - a) / (b + a)
        unit = 10.0 ** -(PRICE_DIGITS + QTY_DIGITS)
        for name, side in (("BID", sides[0]), ("ASK", sides[1])):
            for bps in (10, 25):
                out[f"DEPTH_{name}_{bps}BPS"] = sum(
                    p * q for p, q in side if abs(2 * p - bid - ask) * 10_000 <= bps * (bid + ask)) * unit
            distance_bps = abs(side[:10][-1][0] - mid) / mid * 1e4
            out[f"SLOPE_{name}"] = sum(p * q for p, q in side[:10]) * unit / distance_bps
        self._order_flow(out, (bid, bid_qty, ask, ask_qty), now)
        self._tape(out, bid_qty + ask_qty, now)
        return out

    def _order_flow(self, out: dict[str, float], top: tuple[int, int, int, int], now: int) -> None:
        bid, bid_qty, ask, ask_qty = top
        self.book_since = now if self.book_since is None else self.book_since
        if self.top is not None:
            bid0, bid_qty0, ask0, ask_qty0 = self.top
            flow = (bid_qty if bid >= bid0 else 0) - (bid_qty0 if bid <= bid0 else 0)
            flow += (ask_qty0 if ask >= ask0 else 0) - (ask_qty if ask <= ask0 else 0)
            out["OFI_LAST"] = flow / (bid_qty + ask_qty + bid_qty0 + ask_qty0)
            self.flows.append((now, flow))
        self.top = top
        for tau in (1, 10):
            if now - self.book_since >= tau * S:
                out[f"OFI_{tau}S"] = faded(self.flows, tau, now) / (faded(self.flows, tau, now, size=True) + bid_qty + ask_qty)

    def _tape(self, out: dict[str, float], touch: int, now: int) -> None:
        for tau in (10, 60):
            if self.tape_since is not None and now - self.tape_since >= tau * S:
                gross = faded(self.trades, tau, now, size=True)
                out[f"FLOW_{tau}S"] = faded(self.trades, tau, now) / (gross + touch)
        if self.tape_since is not None and now - self.tape_since >= 60 * S:
            out["TRADE_RATE_60S"] = sum(math.exp(-(now - t) / (60 * S)) for t, _ in self.trades) / 60


def faded(events: list[tuple[int, float]], tau_s: int, now: int, *, size: bool = False) -> float:
    return math.fsum((abs(x) if size else x) * math.exp(-(now - t) / (tau_s * S)) for t, x in events)


def same(actual: dict[str, float], expected: dict[str, float]) -> None:
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


def ladder(best: int, step: int, qty: list[int], own: int = 0) -> Levels:
    """Return levels from the best outwards; step is negative for bids."""
    return [(best + step * i, q, own) for i, q in enumerate(qty)]


sides = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 10**10), st.sampled_from([0, 0, 0, 1])), min_size=1,
                 max_size=25)
moves = st.tuples(sides, sides, st.integers(-30, 30), st.integers(1, 20), st.integers(0, 15 * S),
                  st.lists(st.tuples(st.sampled_from([-1, 1]), st.integers(1, 10**10)), max_size=3))


def build(best: int, sign: int, side: list[tuple[int, int, int]]) -> Levels:
    levels, price = [], best
    for i, (step, qty, own) in enumerate(side):
        price += sign * step if i else 0
        levels.append((price, qty, qty if own else 0))
    return levels


@settings(max_examples=80, deadline=None)
@given(st.lists(moves, min_size=1, max_size=12), st.sampled_from([500, 20_000, 600_000]))
def test_every_feature_equals_its_definition(steps: list, price: int) -> None:
    """Random books with own orders, random trades and pauses: values and validity agree at every update."""
    stream, oracle, now = features.FeatureStream(PRICE_DIGITS, QTY_DIGITS, 25), Oracle(), T0
    for bid_side, ask_side, shift, spread, pause, trades in steps:
        best = price * 2 + shift  # 25 levels of at most 40 stay above zero
        bids, asks = build(best, -1, bid_side), build(best + spread, 1, ask_side)
        for side, qty in trades:
            stream.trade(side, best, qty, now)
            oracle.trade(side, qty, now)
        now += pause
        same(stream.book(bids, asks, now), oracle.book(bids, asks, now))


def test_imbalance_and_weighted_mid_lean_to_the_heavier_side() -> None:
    """Three to one on the bid: imbalance +0.5, the weighted mid a quarter of the spread above mid."""
    row = features.FeatureStream(1, 8).book([(9_999, 3 * 10**8, 0)], [(10_001, 10**8, 0)], T0)
    assert row["IMBALANCE_1"] == 0.5
    assert row["SPREAD_BPS"] == pytest.approx(2.0)
    assert row["WEIGHTED_MID_BPS"] == pytest.approx(0.5)


def test_own_quantity_is_no_market() -> None:
    """A level that is ours alone is not the best; our part of a level is in no feature."""
    with_us = features.FeatureStream(1, 8).book(
        [(9_999, 10**8, 10**8), (9_998, 3 * 10**8, 2 * 10**8)], [(10_001, 10**8, 0)], T0)
    without = features.FeatureStream(1, 8).book([(9_998, 10**8, 0)], [(10_001, 10**8, 0)], T0)
    assert with_us == without


@pytest.mark.parametrize(("bids", "asks"), [
    ([], [(10_001, 1, 0)]), ([(9_999, 1, 0)], []), ([(9_999, 5, 5)], [(10_001, 1, 0)]),
    ([(10_001, 1, 0)], [(10_001, 1, 0)]), ([(10_002, 1, 0)], [(10_001, 1, 0)])])
def test_a_side_without_others_or_a_crossed_book_clears_the_row(bids: Levels, asks: Levels) -> None:
    """No book feature is valid, all are 0.0, and order flow starts over."""
    stream = features.FeatureStream(1, 8)
    good = ([(9_999, 10**8, 0)], [(10_001, 10**8, 0)])
    stream.book(*good, T0)
    stream.book(*good, T0 + 20 * S)
    assert stream.book(bids, asks, T0 + 21 * S) == {}
    assert stream.row()[0] == [0.0] * features.feature_count
    assert stream.quantised() == [INT32_MIN] * features.feature_count
    assert "OFI_LAST" not in stream.book(*good, T0 + 22 * S)


def test_decayed_features_wait_for_their_time_constant() -> None:
    """A nanosecond short of 1 s, 10 s or 60 s they are not valid; at it they are."""
    stream = features.FeatureStream(1, 8)
    book = ([(9_999, 10**8, 0)], [(10_001, 10**8, 0)])
    stream.tape_begin(T0)
    stream.book(*book, T0)
    for name, seconds in (("OFI_1S", 1), ("OFI_10S", 10), ("FLOW_10S", 10), ("FLOW_60S", 60), ("TRADE_RATE_60S", 60)):
        assert name not in stream.book(*book, T0 + seconds * S - 1), name
        assert name in stream.book(*book, T0 + seconds * S), name


def test_a_gap_of_the_tape_starts_its_features_over() -> None:
    """Trades before the gap are forgotten, and the wait begins again."""
    stream = features.FeatureStream(1, 8)
    book = ([(9_999, 10**8, 0)], [(10_001, 10**8, 0)])
    stream.tape_begin(T0)
    stream.trade(1, 10_000, 10**9, T0 + 61 * S)
    assert stream.book(*book, T0 + 61 * S)["FLOW_60S"] > 0.5
    stream.tape_begin(T0 + 62 * S)
    assert "FLOW_60S" not in stream.book(*book, T0 + 63 * S)
    assert stream.book(*book, T0 + 122 * S)["FLOW_60S"] == 0.0


def test_time_that_stands_still_or_goes_back_decays_nothing() -> None:
    """Two updates at one time, or one from the past, keep the sums."""
    stream = features.FeatureStream(1, 8)
    stream.tape_begin(T0)
    stream.trade(1, 10_000, 10**8, T0 + 60 * S)
    book = ([(9_999, 10**8, 0)], [(10_001, 10**8, 0)])
    first = stream.book(*book, T0 + 60 * S)["FLOW_60S"]
    assert stream.book(*book, T0 + 60 * S)["FLOW_60S"] == first == pytest.approx(1 / 3)
    assert "FLOW_60S" not in stream.book(*book, T0 + 59 * S)
    assert stream.book(*book, T0 + 60 * S)["FLOW_60S"] == first


class VpinOracle:
    def __init__(self, bucket: int) -> None:
        self.bucket, self.shares, self.filled, self.net = bucket, deque(maxlen=50), 0, 0

    def trade(self, side: int, qty: int) -> None:
        while qty:
            take = min(qty, self.bucket - self.filled)
            self.filled, self.net, qty = self.filled + take, self.net + side * take, qty - take
            if self.filled == self.bucket:
                self.shares.append(abs(self.net) / self.bucket)
                self.filled = self.net = 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([-1, 1]), st.integers(1, 9_000)), min_size=1, max_size=80))
def test_vpin_equals_bucket_by_bucket(trades: list[tuple[int, int]]) -> None:
    """Trades of any size, also many buckets at once, give the mean imbalance of the last 50 buckets."""
    stream, oracle = features.FeatureStream(1, 8), VpinOracle(100)
    stream.vpin_bucket(100)
    book = ([(9_999, 10**8, 0)], [(10_001, 10**8, 0)])
    for i, (side, qty) in enumerate(trades):
        stream.trade(side, 10_000, qty, T0 + i)
        oracle.trade(side, qty)
        row = stream.book(*book, T0 + i)
        assert ("VPIN_50" in row) == (len(oracle.shares) == 50)
        if "VPIN_50" in row:
            assert row["VPIN_50"] == pytest.approx(sum(oracle.shares) / 50, rel=1e-12)


def test_vpin_of_a_gigantic_trade_is_bounded_work_and_right() -> None:
    """9e18 raw units into buckets of one: every kept bucket is one-sided."""
    stream = features.FeatureStream(1, 8)
    stream.vpin_bucket(1)
    stream.trade(1, 10_000, 2**63 - 1, T0)
    assert stream.book([(9_999, 10**8, 0)], [(10_001, 10**8, 0)], T0)["VPIN_50"] == 1.0


def walk_bars(n: int) -> indicators.BarIndicators:
    made = indicators.BarIndicators(300 * S)
    for i in range(n):
        close = 100.0 + math.sin(i / 3) + i / 50
        made.push(close - 0.1, close + 0.5, close - 0.6, close, 1.0 + i % 7)
    return made


@pytest.mark.parametrize("interval", [0, 1, 2])
def test_bar_indicators_enter_the_row_free_of_the_price_level(interval: int) -> None:
    """Prices come as bps from the last close, MACD and ATR as bps of it; other intervals and the book stay alone."""
    made = walk_bars(60)
    plain = made.ready_values()
    close = 100.0 + math.sin(59 / 3) + 59 / 50
    stream = features.FeatureStream(1, 8)
    book = stream.book([(9_999, 10**8, 0)], [(10_001, 10**8, 0)], T0)
    stream.bars(made, interval)
    row = stream.valid_values()
    prefix = ("M1", "M5", "H1")[interval]
    assert {name: row[name] for name in book} == book
    assert len(row) == len(book) + 20
    assert row[f"{prefix}_EMA12_BPS"] == pytest.approx((plain["ema12"] / close - 1) * 1e4, rel=1e-9)
    assert row[f"{prefix}_BB_LOWER_BPS"] == pytest.approx((plain["bb_lower"] / close - 1) * 1e4, rel=1e-9)
    assert row[f"{prefix}_ATR14_BPS"] == pytest.approx(plain["atr14"] / close * 1e4, rel=1e-12)
    assert row[f"{prefix}_RSI14"] == plain["rsi14"]
    assert -1.0 <= row[f"{prefix}_OBV_LEAN"] <= 1.0
    stream.bars(walk_bars(5), interval)
    assert set(stream.valid_values()) == set(book)


def test_quantised_values_round_half_away_saturate_and_mark_what_is_missing() -> None:
    """int32 = value x scale; beyond the range the largest; not valid is INT32_MIN, which no valid value can be."""
    stream = features.FeatureStream(0, 0)
    row = stream.book([(10**9 - 1, 2**62, 0)], [(10**9 + 1, 2**61, 0)], T0)
    quantised = dict(zip(features.NAMES, stream.quantised(), strict=True))
    assert quantised["DEPTH_BID_10BPS"] == 2**31 - 1
    assert quantised["IMBALANCE_1"] == math.floor(row["IMBALANCE_1"] * 1e9 + 0.5)
    assert quantised["OFI_LAST"] == quantised["M1_RSI14"] == INT32_MIN
    asks_heavy = stream.book([(10**9 - 1, 2**61, 0)], [(10**9 + 1, 2**62, 0)], T0 + S)
    negative = dict(zip(features.NAMES, stream.quantised(), strict=True))["IMBALANCE_1"]
    assert negative == -math.floor(-asks_heavy["IMBALANCE_1"] * 1e9 + 0.5) == -quantised["IMBALANCE_1"]


def test_positions_and_scales_are_pinned() -> None:
    """Agents, models and journals name positions: the hash changes only with a deliberate change of this line."""
    assert features.feature_count == len(features.NAMES) == len(features.SCALES) == 78
    assert features.FEATURES_SHA256.startswith("c15c605a63c6")
    assert features.NAMES[0] == "SPREAD_BPS"
    assert features.NAMES[-1] == "H1_CHOP14"
