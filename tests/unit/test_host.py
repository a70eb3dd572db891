"""Garbage collection by the tick, and the lag of the loop."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest

from cstd._fast.hist import bucket_edges_ns
from cstd.daemon import host
from cstd.daemon.host import GarbageCollection, LoopLag, Placement

TICK_NS = 100_000_000


class Ring:
    """An object that refers to itself: garbage that only a collection finds."""

    alive = 0

    def __init__(self) -> None:
        Ring.alive += 1
        self.me = self

    def __del__(self) -> None:
        Ring.alive -= 1


@pytest.fixture
def garbage() -> Iterator[GarbageCollection]:
    """The policy `timer`, in force; undone afterwards."""
    found = GarbageCollection("timer")
    found.start()
    try:
        yield found
    finally:
        found.stop()
        gc.unfreeze()
        gc.collect()


def make_rings(n: int) -> None:
    """n objects that are garbage at once."""
    for _ in range(n):
        Ring()


def test_no_collection_inside_an_allocation(garbage: GarbageCollection) -> None:
    """However much garbage there is, none is collected before a tick; the tick takes it, and is counted and timed."""
    before = garbage.count
    make_rings(5 * host.YOUNG_MIN)
    assert (Ring.alive, garbage.count) == (5 * host.YOUNG_MIN, before)
    garbage.tick(0, TICK_NS)
    assert (Ring.alive, garbage.count) == (0, before + 1)
    assert garbage.longest_ns > 0


def test_a_late_tick_does_not_collect(garbage: GarbageCollection) -> None:
    """A loop that is behind by a tick has better things to do; the next tick in time collects."""
    make_rings(2 * host.YOUNG_MIN)
    garbage.tick(TICK_NS, TICK_NS)
    assert Ring.alive == 2 * host.YOUNG_MIN
    garbage.tick(0, TICK_NS)
    assert Ring.alive == 0


def test_a_full_collection_freezes_what_survives(garbage: GarbageCollection) -> None:
    """Once in FULL_TICKS all generations are looked at, and what is left is not looked at again."""
    kept = [[] for _ in range(1000)]
    frozen = gc.get_freeze_count()
    for _ in range(host.FULL_TICKS):
        garbage.tick(0, TICK_NS)
    assert gc.get_freeze_count() >= frozen + len(kept)


def test_frozen_garbage_is_found_without_a_market(garbage: GarbageCollection) -> None:
    """A cycle that was frozen while it lived goes when everything is looked at."""
    held = [Ring()]
    gc.freeze()
    held.clear()
    gc.collect()
    assert Ring.alive == 1
    garbage.everything()
    assert Ring.alive == 0


def test_automatic_leaves_python_its_way() -> None:
    """The policy `automatic` neither disables collection nor collects by tick."""
    found = GarbageCollection("automatic")
    found.start()
    try:
        assert gc.isenabled()
        before = found.count
        found.tick(0, TICK_NS)
        assert found.count == before
    finally:
        found.stop()
        gc.unfreeze()


def test_lag_lands_in_the_buckets_of_the_stages() -> None:
    """A lag is counted below the first edge above it; an early tick counts as none."""
    lag = LoopLag()
    for value in (-5, 0, 1_500_000):
        lag.note(value)
    edges = bucket_edges_ns()
    assert (int(lag.counts.sum()), lag.sum_ns, lag.last_ns) == (3, 1_500_000, 1_500_000)
    filled = np.flatnonzero(lag.counts)
    assert filled[0] == 0
    assert edges[filled[1] - 1] <= 1_500_000 < edges[filled[1]]


def test_with_every_cpu_pinned_the_rest_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children always have somewhere to run."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    assert Placement([2]).rest == {0, 1, 3}
    assert Placement([0, 1, 2, 3]).rest == {0, 1, 2, 3}
