"""Correlations of the compiled engine: what links two instruments, and who is in a cluster."""

from __future__ import annotations

import dataclasses
import random
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle_correlation import Rule, judge, returns_of

from cstd._fast.codes import Side
from cstd._fast.core import Core, timer_turn
from cstd._fast.correlation import returns_max
from cstd._fast.image import dump, restore
from cstd._fast.recorder import Recorder
from cstd.orders.lifecycle import TABLE

BAR_NS = 300_000_000_000
M5 = 1
FIRST = 5_000_000  # the number of an interval of 2017


class Handler:
    """The Python part of an engine that has nothing to say."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args: None


def engine(count: int, rule: Rule | None = None) -> Core:
    """A compiled engine with so many instruments whose tape runs."""
    core = Core(Recorder(None), TABLE)
    core.handler = Handler()
    for number in range(count):
        core.add_slot(f"C{number}/USD".encode(), 10)
        core.configure(number, 2, 8, 1, 1, 1, 0, 100_000_000)
        core.tape_begins(number, 0)
    if rule is not None:
        core.set_correlations(*dataclasses.astuple(rule))
    return core


def trade(core: Core, number: int, at: int, price_raw: int) -> None:
    """One trade in the middle of an interval, which closes the bar before."""
    core.apply_trade(number, Side.BUY, price_raw, 10, -1, (FIRST + at) * BAR_NS + BAR_NS // 2)


def load(core: Core, number: int, closes: dict[int, int]) -> None:
    """History of closed bars, as the venue's snapshot gives it."""
    for at, close in sorted(closes.items()):
        core.load_bar(number, M5, False, (FIRST + at) * BAR_NS, close, close, close, close, 10, 10, 1, 0)
    core.bars_loaded(number, M5)


def live(core: Core, streams: list[dict[int, int]], order: random.Random | None = None) -> None:
    """Trades of all instruments, one for each bar, and after each interval the timers; order: who is quicker."""
    for at in range(min((at for stream in streams for at in stream), default=0),
                    max((at for stream in streams for at in stream), default=0) + 1):
        numbers = [n for n, stream in enumerate(streams) if at in stream]
        if order is not None:
            order.shuffle(numbers)
        for number in numbers:
            trade(core, number, at, streams[number][at])
        for _ in range(0, len(streams), timer_turn):
            core.timer(at, (FIRST + at + 1) * BAR_NS + 1_500_000_000)


def walk(seed: int, bars: int, common: float, gaps: float = 0.0) -> list[dict[int, int]]:
    """Two streams of closes whose moves correlate at the square of `common`, with its sign; gaps: missing bars of each."""
    rng = np.random.default_rng(seed)
    shared, own = rng.normal(0, 0.004, bars), rng.normal(0, 0.004, (2, bars))
    moves = np.outer([abs(common), common], shared) + np.sqrt(1 - common**2) * own
    prices = (1_000_000 * np.exp(np.cumsum(moves, axis=1))).astype(int)
    there = rng.random((2, bars)) >= gaps
    return [{at: int(prices[n][at]) for at in range(bars) if there[n][at]} for n in range(2)]


def agrees(core: Core, streams: list[dict[int, int]], rule: Rule, a: int = 0, b: int = 1) -> None:
    """The engine's pair is what the whole streams say."""
    found = judge(streams[a], streams[b], rule)
    if found.nearest < Decimal("1e-9"):
        return  # a double may be on the other side of the threshold
    linked, reading, returns, below = core.correlations.pair(a, b)
    assert (linked, returns, below) == (found.linked, found.returns, found.below)
    assert (reading is None) == (found.reading is None)
    if reading is not None:
        assert abs(Decimal(reading) - found.reading) < Decimal("1e-9")  # type: ignore[operator]


STREAMS = st.builds(walk, st.integers(0, 10_000), st.integers(0, 60), st.sampled_from([-0.9, 0.0, 0.5, 0.8, 0.9, 1.0]),
                    st.sampled_from([0.0, 0.1, 0.5]))
RULES = st.builds(Rule, st.sampled_from([0.5, 0.7, 1.0]), st.sampled_from([0.0, 0.3, 0.5]), st.integers(2, 25),
                  st.integers(2, 20), st.integers(1, 6), st.integers(0, 10))


@settings(max_examples=120, deadline=None)
@given(STREAMS, RULES, st.integers(0, 2**32))
def test_a_link_is_what_the_whole_streams_say(streams: list[dict[int, int]], rule: Rule, seed: int) -> None:
    """Bar by bar, whoever is quicker, gaps included: returns, reading, count and link are those of the oracle in Decimal."""
    core = engine(2, rule)
    live(core, streams, random.Random(seed))
    agrees(core, streams, rule)


@settings(max_examples=60, deadline=None)
@given(STREAMS, RULES)
def test_history_says_what_the_tape_would_have_said(streams: list[dict[int, int]], rule: Rule) -> None:
    """Loaded at a start, one instrument after the other, or lived through: the same."""
    loaded, lived = engine(2, rule), engine(2, rule)
    for number, stream in enumerate(streams):
        load(loaded, number, stream)
    live(lived, streams)
    assert loaded.correlations.pair(0, 1) == lived.correlations.pair(0, 1)
    agrees(loaded, streams, rule)


def test_history_and_tape_join(rule: Rule = Rule()) -> None:  # noqa: B008 -- a frozen value
    """What came before the start is history, what comes after is the tape: together the whole stream."""
    streams = walk(7, 60, 0.85, 0.1)
    core = engine(2, rule)
    for number, stream in enumerate(streams):
        load(core, number, {at: close for at, close in stream.items() if at < 30})
    live(core, [{at: close for at, close in stream.items() if at >= 30} for stream in streams])
    agrees(core, streams, rule)


def test_an_instrument_that_is_bars_behind_misses_none() -> None:
    """One coin's bars may all close before the other's first: each common return is taken once the second has closed."""
    rule, streams = Rule(), walk(3, 50, 0.9)
    core = engine(2, rule)
    for number in (0, 1):
        for at, close in streams[number].items():
            trade(core, number, at, close)
        trade(core, number, 50, 100)
    agrees(core, streams, rule)


@pytest.mark.control("risk.correlation_min")
def test_off_everything_is_linked() -> None:
    """With no threshold no pair is apart, whatever the bars say."""
    core = engine(3)
    streams = [*walk(1, 60, 0.0), walk(2, 60, 0.0)[0]]
    live(core, streams)
    assert core.correlations.apart == 0
    assert core.correlations.cluster(0, [1, 2]) == [0, 1, 2]
    core.set_correlations(*dataclasses.astuple(Rule(prior=0)))  # turned on, it begins with the bars in memory
    agrees(core, streams, Rule(prior=0))
    assert core.correlations.apart == 3
    core.set_correlations(0.0, 0.0, 20, 8, 3, 4)
    assert (core.correlations.apart, core.correlations.linked(0, 1)) == (0, True)


@pytest.mark.control("risk.correlation_returns_min")
@pytest.mark.parametrize("bars", range(1, 15))
def test_too_little_history_counts_as_one(bars: int) -> None:
    """With fewer common returns than asked for, two instruments that move apart are linked."""
    core = engine(2, Rule(returns_min=9, leave_bars=1, prior=0))
    live(core, walk(5, bars, -0.9))
    linked, reading, returns, _ = core.correlations.pair(0, 1)
    assert (linked, reading is None, returns) == (bars - 1 < 9, bars - 1 < 9, bars - 1)


@pytest.mark.control("risk.correlation_min", "risk.correlation_leave", "risk.correlation_leave_bars")
def test_a_link_begins_at_once_and_ends_late() -> None:
    """It begins with the first reading at the threshold; between the thresholds it stays as it is; it ends after so many
    low readings in a row."""
    rule = Rule(span=4, returns_min=2, leave_bars=3, prior=0)
    core = engine(2, rule)
    up, down = 1_010_000, 1_000_000
    closes: list[dict[int, int]] = [{0: down}, {0: down}]

    def move(together: bool) -> bool:
        at = len(closes[0])
        for number, stream in enumerate(closes):
            base = stream[at - 1]
            rises = (base == down) if number == 0 or together else closes[0][at] == down
            stream[at] = (up if rises else down) if number == 0 or together else (
                base + 9_900 if rises else max(base - 9_900, 100_000))
            trade(core, number, at, stream[at])
        return core.correlations.linked(0, 1)

    for _ in range(8):
        assert move(together=True)
    until_apart = 0
    while move(together=False):
        until_apart += 1
        assert until_apart < 12
    assert until_apart >= 3, "low readings have to last"
    readings = []
    for _ in range(12):
        linked = move(together=True)
        readings.append((core.correlations.pair(0, 1)[1], linked))
        if linked:
            break
    assert readings[-1][1], "it is linked again"
    assert all(reading < rule.enter for reading, _ in readings[:-1]), "and at the first reading that reaches the threshold"
    assert readings[-1][0] >= rule.enter


@pytest.mark.control("risk.correlation_prior_returns")
def test_shrinkage_only_raises_a_reading() -> None:
    """The more returns of full correlation are counted in, the nearer to 1."""
    readings = []
    for prior in (0, 4, 32, 1000):
        core = engine(2, Rule(prior=prior))
        live(core, walk(11, 40, 0.3))
        readings.append(core.correlations.pair(0, 1)[1])
    assert readings == sorted(readings)
    assert readings[0] < 0.6 < 0.97 < readings[-1] < 1


@pytest.mark.control("risk.correlation_span_bars")
def test_what_is_older_than_the_span_is_no_history() -> None:
    """After a silence of one of them longer than the span the pair is linked, as soon as the other one's bar closes."""
    rule = Rule(leave_bars=1, prior=0)
    core = engine(2, rule)
    live(core, walk(5, 40, 0.0))
    assert not core.correlations.linked(0, 1)
    for at in range(41, 39 + rule.span + 2):
        trade(core, 0, at, 1_000_000 + at)
        assert not core.correlations.linked(0, 1)
    trade(core, 0, 39 + rule.span + 2, 1_000_000)
    assert core.correlations.pair(0, 1) == (True, None, 0, 0)


def test_a_price_that_never_moved_counts_as_one() -> None:
    """Without a variance there is no correlation to measure."""
    core = engine(2, Rule(leave_bars=1, prior=0))
    moving, _ = walk(5, 40, 0.0)
    live(core, [moving, dict.fromkeys(range(40), 500)])
    assert core.correlations.pair(0, 1)[:2] == (True, 1.0)


def test_other_digits_forget_what_was_known() -> None:
    """An instrument whose prices have another scale begins anew, linked with all."""
    core = engine(3, Rule(leave_bars=1, prior=0))
    live(core, [*walk(1, 60, 0.0), walk(2, 60, 0.0)[0]])
    assert core.correlations.apart == 3
    core.configure(1, 3, 8, 1, 1, 1, 0, 100_000_000)
    assert [core.correlations.linked(a, b) for a, b in ((0, 1), (1, 2), (0, 2))] == [True, True, False]


@settings(max_examples=60, deadline=None)
@given(STREAMS, RULES, st.sampled_from(["enter", "leave", "leave_bars", "returns_min", "prior"]))
def test_a_stricter_rule_never_has_fewer_links(streams: list[dict[int, int]], rule: Rule, key: str) -> None:
    """A lower threshold, a longer wait, more returns asked for, more shrinkage: what is linked stays linked."""
    change: dict[str, Any] = {"enter": rule.leave, "leave": 0.0, "leave_bars": rule.leave_bars + 2,
                              "returns_min": rule.returns_min + 3, "prior": rule.prior + 5}
    loose, strict = engine(2, rule), engine(2, dataclasses.replace(rule, **{key: change[key]}))
    for at in range(max((a for s in streams for a in s), default=0) + 2):
        for core in (loose, strict):
            for number, stream in enumerate(streams):
                if at in stream:
                    trade(core, number, at, stream[at])
        assert strict.correlations.linked(0, 1) or not loose.correlations.linked(0, 1)


def test_clusters_are_the_same_from_each_member() -> None:
    """Who is in a cluster is found over those with exposure, and any of them finds the same."""
    factors = {0: 1, 1: 1, 2: 2, 3: 2, 4: 3}
    shared = {factor: walk(40 + factor, 80, 0.0)[0] for factor in (1, 2, 3)}
    core = engine(5, Rule(leave_bars=1, prior=0))
    live(core, [{at: close + (number * 7) for at, close in shared[factor].items()} for number, factor in factors.items()])
    correlations = core.correlations
    assert {(a, b): correlations.linked(a, b) for a in range(5) for b in range(a)} == {
        (a, b): factors[a] == factors[b] for a in range(5) for b in range(a)}
    everyone = range(5)
    for number, factor in factors.items():
        assert correlations.cluster(number, everyone) == [other for other in everyone if factors[other] == factor]
    assert correlations.cluster(0, [2, 3]) == [0]
    assert correlations.cluster(2, [0, 3]) == [2, 3]


def test_a_cluster_reaches_over_what_has_exposure_alone() -> None:
    """Two instruments that a third one links are one cluster while something is at stake in the third."""
    a, b = walk(50, 80, 0.0)
    both = {at: a[at] + b[at] for at in a}
    core = engine(3, Rule(enter=0.55, leave=0.5, leave_bars=1, prior=0))
    live(core, [a, both, b])
    assert [core.correlations.linked(*pair) for pair in ((0, 1), (1, 2), (0, 2))] == [True, True, False]
    assert core.correlations.cluster(0, [2]) == [0]
    assert core.correlations.cluster(0, [1, 2]) == core.correlations.cluster(2, [0, 1]) == [0, 1, 2]
    assert core.correlations.cluster(0, [0, 1, 2]) == [0, 1, 2]


@pytest.mark.parametrize("count", [63, 64, 65, 130])
def test_more_instruments_than_a_word_has_bits(count: int) -> None:
    """Links beyond the sixty-fourth instrument are found as those before it."""
    core = engine(count, Rule(leave_bars=1, prior=0, returns_min=2))
    one, other = walk(60, 40, 0.0)
    live(core, [other if number in (1, count - 1) else one for number in range(count)])
    assert core.correlations.cluster(1, range(count)) == [1, count - 1]
    assert core.correlations.cluster(0, range(count)) == [n for n in range(count) if n not in (1, count - 1)]
    assert core.correlations.apart == 2 * (count - 2)


def test_an_engine_from_an_image_goes_on_as_the_one_it_is_of() -> None:
    """Sums, counts and links are in the image: the same bars afterwards give the same readings to the bit."""
    rule, streams = Rule(), walk(70, 60, 0.75, 0.1)
    first = engine(2, rule)
    for at in range(30):
        for number, stream in enumerate(streams):
            if at in stream:
                trade(first, number, at, stream[at])
    second = engine(2)
    restore(second, dump(first))
    assert dump(second) == dump(first)
    for core in (first, second):
        for at in range(30, 60):
            for number, stream in enumerate(streams):
                if at in stream:
                    trade(core, number, at, stream[at])
    assert dump(second) == dump(first)
    assert first.correlations.pair(0, 1) == second.correlations.pair(0, 1) != (True, None, 0, 0)


def test_more_bars_than_memory_keeps() -> None:
    """The oldest bars fall out of the history that a rebuild sees; the one that goes on keeps their weight."""
    rule, bars = Rule(span=50), returns_max + 60
    streams = walk(80, bars, 0.5)
    lived, loaded = engine(2, rule), engine(2, rule)
    live(lived, streams)
    for number, stream in enumerate(streams):
        load(loaded, number, stream)
    kept = [{at: close for at, close in stream.items() if at >= bars - returns_max - 1} for stream in streams]
    assert loaded.correlations.pair(0, 1)[2] == len(returns_of(kept[0])) == returns_max
    assert lived.correlations.pair(0, 1)[1] == pytest.approx(loaded.correlations.pair(0, 1)[1], abs=1e-9)
    agrees(loaded, kept, rule)


def test_numbers_out_of_range_are_refused() -> None:
    """There is no such pair."""
    core = engine(2, Rule())
    for a, b in ((0, 2), (-1, 0)):
        with pytest.raises(IndexError):
            core.correlations.pair(a, b)
    with pytest.raises(IndexError):
        core.correlations.cluster(0, [5])
