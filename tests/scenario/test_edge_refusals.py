"""The edge refuses this address (HTTP 429, 403): it is asked less and less often, and no exit is trapped."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from cstd._fast.codes import EventKind
from cstd.engine.boot import boot_payload
from tests.scenario.engine_world import Answer, S, World, practice_config
from tests.scenario.test_rest_cancels import down, resting
from tests.scenario.test_rest_exits import held, holding, pass_public, private_down

READS = ("Time", "OpenOrders", "ClosedOrders", "TradesHistory", "BalanceEx")


class Edge:
    """Answers calls by REST with a status while it is shut, and notes when each call came, in seconds."""

    def __init__(self, world: World, *methods: str, status: int = 429) -> None:
        self.world = world
        self.calls: list[tuple[float, str]] = []
        self.shut = True
        for method in methods:
            world.rest[method] = self._answering(method, world.rest[method], status)

    def _answering(self, method: str, otherwise: Any, status: int) -> Any:
        def answer(params: dict[str, str]) -> Any:
            self.calls.append((self.world.mono_ns / S, method))
            if self.shut:
                return Answer(status, "error code: 1015")
            return otherwise(params) if callable(otherwise) else otherwise
        return answer

    def times(self, *methods: str) -> list[float]:
        """When these were called."""
        return [at_s for at_s, method in self.calls if method in methods]


def gaps(times: list[float]) -> list[float]:
    """The time between each call and the next."""
    return [after - before for before, after in pairwise(times)]


@pytest.mark.parametrize("status", [403, 429])
def test_a_refused_reader_asks_less_and_less_often(status: int) -> None:
    """The rounds of look-ups under a ban: half a dozen calls in two minutes, and from then on one in ten minutes."""
    world = World(practice_config()).ready()
    edge = Edge(world, *READS, status=status)
    began_s = world.mono_ns / S
    world.engine.tracker.want_reconcile = True
    world.run(120)
    assert 3 <= len(edge.calls) <= 7
    world.run(1400)
    waits = gaps(edge.times(*READS))
    assert all(after >= before for before, after in pairwise(waits)) and waits[-1] >= 600
    assert len(edge.calls) <= 10 and edge.calls[0][0] - began_s < 1
    edge.shut = False
    world.run(700)
    assert world.engine.reconciler.running is False and world.engine.reconciler.agreed
    assert len(edge.calls) > 13, "the ban is over: look-ups run as before"
    world.sound()


def test_failed_rounds_of_look_ups_wait_growing_times() -> None:
    """After 2, 4, 8 ... 60 s, whoever wishes for one; a round that succeeds begins the row anew."""
    world = World(practice_config()).ready()
    reconciler = world.engine.reconciler
    world.rest["OpenOrders"] = "EGeneral:Permission denied"
    began: list[float] = []
    for _ in range(2):
        world.asked.clear()
        began.clear()
        world.rest["OpenOrders"] = "EGeneral:Permission denied"
        while len(began) < 8:
            failed = reconciler.failed_count
            world.engine.tracker.want_reconcile = True
            world.step()
            if reconciler.failed_count > failed:
                began.append(world.mono_ns / S)
        assert gaps(began) == [2, 4, 8, 16, 32, 60, 60]
        world.rest["OpenOrders"] = {"open": {}}
        done = reconciler.done_count
        world.run(61)
        assert reconciler.done_count > done
    world.sound()


def test_an_exit_keeps_its_right_to_try_while_reads_are_refused() -> None:
    """Reads that a ban holds for minutes hold no exit: the position is sold, once."""
    world, venue = holding()
    edge = Edge(world, *READS, "SystemStatus", "Depth")
    private_down(world)
    pass_public(world, 30)
    assert len(venue.orders) == 1, "sold while the reads were refused"
    edge.shut = False
    pass_public(world, 60)
    assert held(world) == 0 and len(venue.orders) == 1


def test_an_exit_that_is_refused_is_sold_when_the_edge_lets_it_through() -> None:
    """All calls are refused for ten minutes: few of any kind are made, and the position is sold once, soon after the end."""
    world, venue = holding()
    edge = Edge(world, *READS, "AddOrder", "SystemStatus", "Depth")
    private_down(world)
    pass_public(world, 600)
    tries = edge.times("AddOrder")
    assert tries and not venue.orders
    assert len(edge.calls) <= 40, "a ban of ten minutes is not prolonged"
    edge.shut = False
    # Until a look-up has its turn, and then until an order that no look-up shows is absent.
    pass_public(world, 60 + 60 + 30)
    assert held(world) == 0 and len(venue.orders) == 1


def test_cancels_that_are_refused_are_tried_less_often_and_never_given_up() -> None:
    """HTTP 403 on each cancel by REST, and on nothing else: a minute apart at last; look-ups keep their turns."""
    world, _ = resting()
    world.rest["CancelOrder"] = {"count": 1}
    edge = Edge(world, "CancelOrder", status=403)
    reads = Edge(world, *READS)
    reads.shut = False
    down(world)
    for _ in range(4 * 600):
        world.now_ns += S // 4
        world.core.timer(world.mono_ns, world.now_ns)
        world.pump()
    waits = gaps(edge.times("CancelOrder"))
    assert 9 <= len(waits) <= 15 and waits[-1] >= 60 and max(waits) <= 70
    assert max(gaps(reads.times(*READS))) <= 70
    world.sound()


def test_a_restart_ends_no_ban() -> None:
    """What the edge has refused still holds the reads of the process that starts next on the same host."""
    world = World(practice_config()).ready()
    edge = Edge(world, *READS)
    world.engine.tracker.want_reconcile = True
    world.run(100)
    before = len(edge.calls)
    held_ns = world.engine.lane.status(world.mono_ns)["held_ns"]
    assert held_ns > 10 * S
    world.event(EventKind.EVENT_BOOT, 0, boot_payload(world.cfg, 2, None))
    status = world.engine.lane.status(world.mono_ns)
    assert (status["held_ns"], status["hold_reason"]) == (held_ns, "HTTP 429")
    world.boot(epoch=3)
    assert len(edge.calls) == before
    world.run(200)
    assert len(edge.calls) <= before + 2
