"""All frames of a read are applied, then one pass runs for each touched instrument: nothing more, nothing less."""

from __future__ import annotations

from typing import Any

import numpy as np
from engine_world import BTC, ETH, START_NS, S, VenueBook, World, eventually, practice_config
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cstd._fast.codes import IntentKind, Link
from cstd._fast.core import Core, timer_turn
from cstd._fast.gates import DECISION_DTYPE
from cstd._fast.recorder import Recorder
from cstd.config import Config
from cstd.decision.limits import limits_row
from cstd.decision.setup import strategy_setup
from cstd.orders.lifecycle import TABLE

COUNT = 6
BATCHES = st.lists(st.lists(st.integers(0, COUNT - 1), min_size=0, max_size=30), min_size=1, max_size=8)
CFG: Config = practice_config()


class Handler:
    """The Python part of an engine that has none of it to do."""

    def on_slow_frame(self, *_: Any) -> None:
        """No frame here is unusual."""
        raise AssertionError("a frame went to the tolerant path")

    def on_timer(self, *_: Any) -> None:
        """Nothing is due."""

    def on_attention(self, *_: Any) -> None:
        """Nothing is wanted."""


class Market:
    """A compiled engine that wishes for something in every pass, and the books that it follows."""

    def __init__(self, count: int = COUNT) -> None:
        self.core = Core(Recorder(), TABLE, None)
        self.core.handler = Handler()
        self.books = []
        code, address, params = strategy_setup(CFG, "bench")
        self.core.set_strategy(code, address, params)
        for number in range(count):
            name = f"C{number:04d}/USD"
            self.core.add_slot(name.encode(), 25)
            self.core.configure(number, 1, 8, 1, 1, 1, 0, 10**8)
            self.core.set_limits(number, limits_row(CFG, name))
            self.core.slots[number].rate_tune(10**15, 10**15, 0, 0)  # the venue's rate counter is never full here
            book = VenueBook(BTC, 1_000_000, 1_000_001, 5_000_000_000)
            book.name = name
            self.books.append(book)
        self.now_ns = S
        for number in range(count):
            self.read([number], snapshot=True)

    def read(self, numbers: list[int], *, snapshot: bool = False) -> list[int]:
        """One read of frames of these instruments; returns whose passes ran, in order, by the decision rows that they left."""
        before = self.core.decision_count
        self.now_ns += S // 1000
        wall_ns = START_NS + self.now_ns
        for step, number in enumerate(numbers):
            book = self.books[number]
            frame = book.snapshot(wall_ns) if snapshot else book.update(wall_ns, bids=[(999_993, 10**9 + self.now_ns + step)])
            self.core.frame(Link.LINK_PUBLIC, frame, self.now_ns, wall_ns)
        assert self.core.decision_count == before, "nothing is decided before the end of the read"
        self.core.batch_end(Link.LINK_PUBLIC, self.now_ns, wall_ns)
        return self.passed(before)

    def passed(self, before: int) -> list[int]:
        """Instruments of the decision rows since `before`, in order."""
        rows = self.core.decision_rows(self.core.decision_count - before)
        return [int(np.frombuffer(row, DECISION_DTYPE)[0]["instrument"]) for row in rows]

    def tick(self) -> list[int]:
        """One timer; returns whose passes ran."""
        before = self.core.decision_count
        self.now_ns += S // 10
        self.core.timer(self.now_ns, START_NS + self.now_ns)
        return self.passed(before)


@settings(max_examples=60, deadline=None)
@given(BATCHES)
def test_one_pass_for_each_touched_instrument(batches: list[list[int]]) -> None:
    """Each touched instrument passes exactly once at the end of a read, in the order in which its first frame came."""
    market = Market()
    for numbers in batches:
        frames, passes = (market.core.counter_values()[name] for name in ("frames", "passes"))
        assert market.read(numbers) == list(dict.fromkeys(numbers))
        counters = market.core.counter_values()
        assert counters["frames"] - frames == len(numbers)
        assert counters["passes"] - passes == len(set(numbers))
        assert counters["checksums_bad"] == 0


@settings(max_examples=30, deadline=None)
@given(BATCHES)
def test_same_events_same_decisions(batches: list[list[int]]) -> None:
    """Two engines that are given the same events leave the same rows, byte for byte."""
    first, second = Market(), Market()
    for numbers in batches:
        assert first.read(numbers) == second.read(numbers)
    assert first.core.decision_rows(1024) == second.core.decision_rows(1024)
    assert first.core.recorder.hexdigest() == second.core.recorder.hexdigest()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, COUNT - 1), min_size=1, max_size=5), st.integers(1, 400))
def test_a_flood_of_one_costs_the_others_no_pass(others: list[int], flood: int) -> None:
    """However many frames of one instrument stand before them, the others pass at the end of the same read, and it once."""
    market = Market()
    assert market.read([0] * flood + others) == [0, *dict.fromkeys(others)]


def test_ticks_reach_every_instrument_in_turn() -> None:
    """A tick looks at a bounded number of instruments; as many ticks as it takes reach each exactly once, and over again."""
    count = 3 * timer_turn - 5
    market = Market(count)
    seen = [market.tick() for _ in range(3)]
    assert all(len(numbers) == timer_turn for numbers in seen)
    assert [n for numbers in seen for n in numbers] == [n % count for n in range(3 * timer_turn)]


@settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(st.lists(st.sampled_from([BTC, ETH]), min_size=1, max_size=12), min_size=1, max_size=5))
def test_resting_orders_are_judged_again_with_their_book(reads: list[list[str]]) -> None:
    """A read that moves a book judges each opening that rests there again, once, in the same pass, and no other."""
    world = World(practice_config((BTC, ETH)), strategy="rehearsal").ready()
    eventually(world, lambda: len(world.live()) == 2)
    for number, order in enumerate(world.live()):
        order_id = f"OAAAAA-BBBBB-CCCCC{number}"
        world.reply(order, order_id)
        world.report("new", order, order_id)
    for step, names in enumerate(reads):
        resting = [row["instrument"] for row in world.live(IntentKind.OPENING) if not row["cancel_sent"]]
        assert set(resting) == {0, 1}
        touched = {world.names.index(name) for name in names}
        before = world.counters()["rejudged"]
        world.public(*(world.books[name].update(world.now_ns, asks=[(max(world.books[name].asks), 10**9 + 100 * step + i)])
                       for i, name in enumerate(names)))
        assert world.counters()["rejudged"] - before == sum(number in touched for number in resting)
    world.sound()


def test_a_tick_leaves_a_batch_under_way_to_its_end() -> None:
    """While more of a batch is known to wait, neither a tick nor the private socket decides on what has come of it so far."""
    market = Market(2)
    market.now_ns += S // 1000
    wall_ns = START_NS + market.now_ns
    market.core.frame(Link.LINK_PUBLIC, market.books[0].update(wall_ns, bids=[(999_993, 7)]), market.now_ns, wall_ns)
    before = market.core.decision_count
    market.core.batch_end(Link.LINK_PRIVATE, market.now_ns, wall_ns)
    assert market.passed(before) == []
    assert market.tick() == [1]
    before = market.core.decision_count
    market.core.batch_end(Link.LINK_PUBLIC, market.now_ns, START_NS + market.now_ns)
    assert market.passed(before) == [0]
    assert market.tick() == [0, 1]


def test_a_batch_that_lost_its_connection_holds_nothing_up() -> None:
    """A connection that ends inside a batch leaves no instrument without the passes of the timer."""
    world = World(strategy="rehearsal").ready()
    world.core.frame(Link.LINK_PUBLIC, world.books[BTC].update(world.now_ns, bids=[(max(world.books[BTC].bids), 7)]),
                     world.mono_ns, world.now_ns)
    assert world.core.batch_open
    world.link(Link.LINK_PUBLIC, up=False)
    assert not world.core.batch_open
    before = world.counters()["passes"]
    world.core.timer(world.mono_ns, world.now_ns)
    assert world.counters()["passes"] - before == len(world.names)
