"""What the trading loop does for those who look must not grow with the session."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from engine_world import World
from test_replay import session

from cstd.daemon.view import LiveView
from cstd.ops.metric_texts import WORDS

PAGE = 20
SESSION = 5_000


class Counted(dict[str, Any]):
    """A table of a long session that counts what is read of it."""

    looked_at = 0

    def values(self) -> Any:
        """The values, each counted when it is taken."""
        return _Values(self)


class _Values:
    def __init__(self, table: Counted) -> None:
        self._table = table

    def __iter__(self) -> Iterator[Any]:
        for value in dict.values(self._table):
            self._table.looked_at += 1
            yield value

    def __reversed__(self) -> Iterator[Any]:
        for value in reversed(dict.values(self._table)):
            self._table.looked_at += 1
            yield value


@pytest.fixture(scope="module")
def world() -> World:
    """A scripted session, its ended orders and its fills repeated until there are thousands."""
    world = session(None)
    tracker, ledger = world.engine.tracker, world.engine.ledger
    order, fill = next(iter(tracker.history.values())), next(iter(ledger.fills.values()))
    tracker.history = Counted({f"{at:018}": {**order, "cl_ord_id": f"{at:018}", "intent_seq": at} for at in range(SESSION)})
    ledger.fills = Counted({f"T{at}": fill for at in range(SESSION)})
    return world


def test_what_was_refused_is_told_up_to_the_newest_frame() -> None:
    """A decision comes of a frame that only the compiled core has seen: the span of what is told has it inside."""
    world = World(strategy="rehearsal").ready()
    view = LiveView(world.engine, pid=1, mono_ns=time.monotonic_ns, process=dict)
    while not view.decision_count():
        world.step()
        world.now_ns += 1
        world.tick()
    told = view.refusals(since_wall_ns=0)
    assert (told["decided"], told["until_wall_ns"]) == (1, world.now_ns)


class Asked:
    """Stands in for a part of the engine; counts how often a method of it was taken."""

    def __init__(self, part: object, **others: object) -> None:
        self._part, self._others = part, others
        self.taken: Counter[str] = Counter()

    def __getattr__(self, name: str) -> object:
        self.taken[name] += 1
        return self._others[name] if name in self._others else getattr(self._part, name)


def test_the_counts_of_exits_are_made_once_for_all_reasons() -> None:
    """Each call makes a list anew, on the loop that trades."""
    engine = World(strategy="rehearsal").ready().engine
    core = Asked(engine.core)
    host = {"lag": SimpleNamespace(last_ns=0), "garbage": SimpleNamespace(count=0, longest_ns=0), "reader_restarts": 0,
            "durable": {}, "projector": {}, "flight": {}, "admin": {},
            "scorer": {"state": "off", "restarts": 0, "events": 0}}
    view = LiveView(Asked(engine, core=core), pid=1, mono_ns=time.monotonic_ns,  # type: ignore[arg-type]
                    process=lambda: host)
    counters = view.counters()
    assert {name for name in counters if name.startswith("exits_")} == {f"exits_{word}" for word in WORDS["exits_"]}
    assert core.taken["exit_counts"] == 1


@pytest.mark.parametrize("region", ["orders", "fills"])
def test_a_page_of_a_long_session_costs_a_page(world: World, region: str) -> None:
    """Newest first, as many rows as asked for, and no more of the session read than that."""
    view = LiveView(world.engine, pid=1, mono_ns=time.monotonic_ns, process=dict)
    table = world.engine.tracker.history if region == "orders" else world.engine.ledger.fills
    assert isinstance(table, Counted)
    table.looked_at = 0
    rows = getattr(view, region)(all_=True, limit=PAGE)
    assert len(rows) == PAGE
    assert 0 < table.looked_at <= PAGE
    if region == "orders":
        ended = [row["cl_ord_id"] for row in rows if row["state"] in ("filled", "canceled")]
        assert ended == [f"{SESSION - 1 - at:018}" for at in range(len(ended))]
    table.looked_at = 0
    assert len(getattr(view, region)(all_=True, limit=PAGE, offset=SESSION - PAGE // 2)) <= PAGE
    assert table.looked_at <= SESSION


def test_pages_join_without_a_gap_or_a_row_twice(world: World) -> None:
    """The whole session in pages is the whole session."""
    view = LiveView(world.engine, pid=1, mono_ns=time.monotonic_ns, process=dict)
    live = len(world.engine.core.live_orders())
    seen = [row["cl_ord_id"] for first in range(0, SESSION + live, 700)
            for row in view.orders(all_=True, limit=700, offset=first)]
    assert len(seen) == len(set(seen)) == SESSION + live


def test_a_fill_costs_a_fill(world: World) -> None:
    """Recording what was booked does not walk through what was booked before."""
    ledger = world.engine.ledger
    assert isinstance(ledger.fills, Counted)
    ledger.fills.looked_at = 0
    world.tick()
    assert ledger.unrecorded == [] and ledger.fills.looked_at == 0
