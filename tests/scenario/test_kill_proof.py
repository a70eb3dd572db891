"""From a kill to the venue's word that nothing of ours is open: within a second, whatever the REST counter and the socket do.

The venue counts REST calls by the practice exchange's own counter and refuses what is above it; no test lets it refuse one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cstd._fast.codes import EventKind, Link, OrderState
from cstd.orders.kill_proof import LOOKS_FROM_RESERVE
from cstd.practice.limits import TIERS, Counter
from cstd.storage.journal import open_journal
from cstd.venue.rate import MICRO, REST_RESERVE_POINTS, rest_cost
from tests.scenario.engine_world import NO_WORD, S, World, practice_config, replayed
from tests.scenario.test_rest_cancels import closed_row, down, pass_without_private

READS = ("OpenOrders", "ClosedOrders", "TradesHistory", "BalanceEx")
LOST = "ct0123456789abcdef"


class CountingVenue:
    """A world whose venue counts REST calls and refuses those above its tier's maximum."""

    def __init__(self, tier: str, journal: Any = None) -> None:
        self.world = World(practice_config(venue={"tier": tier}), strategy=None, journal=journal)
        self.counter = Counter(TIERS[tier].rest_max, TIERS[tier].rest_decay)
        self.refused: list[str] = []
        for method in READS:
            self.world.rest[method] = self._counted(method, self.world.rest[method])
        self.world.rest["CancelAll"] = {"count": 0}
        self.charge("GetApiKeyInfo")
        self.charge("GetWebSocketsToken")
        self.world.ready().command("pause")
        self.world.run(8)  # a lost tail of the journal could arrive until then
        self.world.command("resume")

    def charge(self, method: str) -> bool:
        """Count one call; whether it is taken."""
        taken = self.counter.charge(rest_cost(method), self.world.mono_ns)
        if not taken:
            self.refused.append(method)
        return taken

    def _counted(self, method: str, answer: Any) -> Any:
        def answered(params: dict[str, str]) -> Any:
            if not self.charge(method):
                return "EAPI:Rate limit exceeded"
            return answer(params) if callable(answer) else answer
        return answered

    def answers(self, method: str, answer: Any) -> None:
        """From now on a read brings this, and is counted as before."""
        self.world.rest[method] = self._counted(method, answer)

    def rest_opening(self) -> dict[str, Any]:
        """An opening that rests at the venue."""
        order = self.world.first_order()
        self.world.reply(order)
        self.world.report("new", order)
        return order

    def reconnect(self) -> None:
        """The private socket breaks and comes again, with a new session token."""
        down(self.world)
        self.world.step()
        self.charge("GetWebSocketsToken")
        self.world.link(Link.LINK_PRIVATE, up=True)
        self.world.run(1)

    def fill_counter(self) -> None:
        """Rounds follow one another until ordinary reads find no room."""
        for _ in range(120):
            self.world.engine.tracker.want_reconcile = True
            self.world.step()
            lane = self.world.engine.lane
            if len(lane) and lane.rate.points_micro(self.world.mono_ns) > self.ordinary_micro() - MICRO:
                return
        raise AssertionError("the counter does not fill")

    def ordinary_micro(self) -> int:
        """What ordinary reads may use."""
        return (self.world.engine.lane.rate.tier.threshold - REST_RESERVE_POINTS) * MICRO

    def proven_within(self, seconds: float) -> bool:
        """Whether the kill is proven in that time, and never before the venue was asked."""
        for _ in range(int(seconds * 4)):
            if self.world.engine.risk.kill_shown_empty_ns is not None:
                break
            self.world.step()
        took_ns = self.world.engine.risk.kill_shown_empty_ns
        return took_ns is not None and took_ns <= seconds * S

    def sound(self) -> None:
        """Nothing failed, and the venue never had to refuse."""
        assert self.refused == []
        self.world.sound()


def row_of(order: dict[str, Any], world: World) -> dict[str, Any]:
    """An order as the open orders show it."""
    return {"OAAAAA-BBBBB-CCCCCC": {
        "status": "open", "cl_ord_id": order["cl_ord_id"], "vol": "0.00040000", "vol_exec": "0.00000000",
        "opentm": world.now_ns / S - 1, "descr": {"pair": "XBTUSD", "type": "buy", "price": "100000.0"}}}


def test_a_kill_on_starter_after_two_private_reconnects_is_proven_within_a_second() -> None:
    """Two rounds, two tokens: ordinary reads wait for points, the look that proves the kill does not."""
    venue = CountingVenue("starter")
    world = venue.world
    order = venue.rest_opening()
    world.open_orders = [{"exec_type": "new", "order_status": "new", "cl_ord_id": order["cl_ord_id"], "symbol": "BTC/USD",
                          "order_id": "OAAAAA-BBBBB-CCCCCC", "side": "buy", "order_type": "limit"}]
    venue.answers("OpenOrders", {"open": row_of(order, world)})
    venue.reconnect()
    venue.reconnect()
    assert len(world.engine.lane) and world.engine.reconciler.running, "the round waits for the counter"
    assert [found["cl_ord_id"] for found in world.live()] == [order["cl_ord_id"]]
    world.command("kill", reason="drill")
    venue.answers("OpenOrders", {"open": {}})
    world.report("canceled", order, reason="User requested")
    assert venue.proven_within(1)
    venue.sound()


@pytest.mark.parametrize("tier", ["starter", "intermediate", "pro"])
def test_a_kill_with_the_rest_counter_full_is_proven_within_a_second(tier: str) -> None:
    """Rounds have used all that they may: the reserve is there, for this kill and for the next one."""
    venue = CountingVenue(tier)
    world = venue.world
    order = venue.rest_opening()
    venue.fill_counter()
    world.command("kill", reason="drill")
    world.report("canceled", order, reason="User requested")
    assert venue.proven_within(1)
    world.command("kill", reason="again")
    assert world.engine.risk.kill_shown_empty_ns is None, "what was proven was proven of the kill before"
    assert venue.proven_within(1)
    venue.sound()


def test_a_kill_goes_ahead_of_the_round_under_way() -> None:
    """The round waits for the counter with reads to come: the next call is the kill's, and the round goes on after it."""
    venue = CountingVenue("starter")
    world = venue.world
    order = venue.rest_opening()
    venue.fill_counter()
    running, asked = world.engine.reconciler.done_count, len(world.asked)
    world.command("kill", reason="drill")
    world.report("canceled", order, reason="User requested")
    assert venue.proven_within(1) and world.engine.reconciler.done_count == running
    assert [method for method, _ in world.asked[asked:] if method in READS] == ["OpenOrders"]
    world.run(40)
    assert world.engine.reconciler.done_count > running and world.engine.reconciler.failed_count == 0
    venue.sound()


def test_a_round_s_open_orders_read_before_the_kill_proves_nothing() -> None:
    """Its reply comes after the kill, empty: only the look that began after the kill counts, and neither takes the other's."""
    world = World(strategy="none").ready()
    world.run(8)
    world.rest["OpenOrders"] = NO_WORD
    world.engine.tracker.want_reconcile = True
    world.step()
    call_id, asked = world.engine.lane._call_id, len(world.asked)
    assert world.asked[-1][0] == "OpenOrders"
    world.command("kill", reason="drill")
    world.step()
    lost = {"OLOST1-BBBBB-CCCCCC": {**row_of({"cl_ord_id": LOST}, world)["OAAAAA-BBBBB-CCCCCC"]}}
    world.rest["OpenOrders"] = {"open": lost}
    reply = {"id": call_id, "status": 200, "body": json.dumps({"error": [], "result": {"open": {}}}), "error": ""}
    world.event(EventKind.EVENT_REST_REPLY, 0, json.dumps(reply).encode())
    assert world.asked[asked][0] == "OpenOrders", "the look"
    world.run(1)
    assert world.engine.risk.kill_shown_empty_ns is None
    assert [order["cl_ord_id"] for order in world.live()] == [LOST]
    assert any(LOST.encode() in frame for frame in world.order_frames())
    world.sound()


def test_a_kill_without_a_private_socket_is_proven_within_a_second() -> None:
    """The counter is full, no round can end: the cancel's answer and one look prove it, and the order's end is found later."""
    venue = CountingVenue("starter")
    world = venue.world
    world.rest["CancelOrder"] = {"count": 1}
    order = venue.rest_opening()
    venue.fill_counter()
    down(world)
    venue.answers("TradesHistory", "EService:Unavailable")
    world.command("kill", reason="drill")
    pass_without_private(world, 1)
    assert [found["state"] for found in world.live()] == [OrderState.ORDER_UNKNOWN]
    assert (world.engine.risk.kill_shown_empty_ns or 2 * S) <= S
    venue.answers("TradesHistory", {"trades": {}, "count": 0})
    venue.answers("ClosedOrders", {"closed": closed_row(order, world, "canceled"), "count": 1})
    pass_without_private(world, 60)
    assert not world.live()
    venue.sound()


@pytest.mark.parametrize("answer", [{"count": 0}, {"count": 1, "pending": True}, {}, [], "EService:Unavailable", NO_WORD])
def test_a_cancel_by_rest_without_a_plain_answer_proves_nothing(answer: Any) -> None:
    """The list of open orders may be late: without the venue's word on the order, an empty one leaves the kill unproven."""
    venue = CountingVenue("pro")
    world = venue.world
    world.rest["CancelOrder"] = answer
    venue.rest_opening()
    down(world)
    world.command("kill", reason="drill")
    pass_without_private(world, 4)
    assert world.live() and world.engine.risk.kill_shown_empty_ns is None
    venue.sound()


@pytest.mark.parametrize("confirmed", [True, False])
def test_an_order_that_the_venue_does_not_know_is_gone_only_where_it_was_there(confirmed: bool) -> None:
    """Unknown to the venue, one that it had confirmed is over; one that it never did may be on its way yet."""
    venue = CountingVenue("pro")
    world = venue.world
    world.rest["CancelOrder"] = "EOrder:Unknown order"
    order = world.first_order()
    if confirmed:
        world.reply(order)
    down(world)
    world.command("kill", reason="drill")
    pass_without_private(world, 1)
    assert (world.engine.risk.kill_shown_empty_ns is not None) == confirmed
    venue.sound()


def test_looks_that_prove_nothing_leave_the_rounds_their_points() -> None:
    """The venue goes on showing what had ended: two looks use the reserve, the others are rare, and rounds end meanwhile."""
    venue = CountingVenue("starter")
    world = venue.world
    order = venue.rest_opening()
    world.report("canceled", order, reason="User requested")
    venue.answers("OpenOrders", {"open": row_of(order, world)})
    world.command("kill", reason="drill")
    done, asked = world.engine.reconciler.done_count, len(world.asked)
    highest = 0
    for _ in range(480):
        world.step()
        highest = max(highest, world.engine.lane.rate.points_micro(world.mono_ns))
    assert world.engine.risk.kill_shown_empty_ns is None
    assert world.engine.reconciler.done_count >= done + 2
    assert sum(method == "OpenOrders" for method, _ in world.asked[asked:]) <= 24
    assert highest <= venue.ordinary_micro() + LOOKS_FROM_RESERVE * MICRO
    venue.answers("OpenOrders", {"open": {}})
    venue.answers("ClosedOrders", {"closed": closed_row(order, world, "canceled"), "count": 1})
    assert venue.proven_within(300)
    venue.sound()


@pytest.mark.parametrize("reply", [{"open": None}, {"open": {"O": {"cl_ord_id": LOST}}}, {}, [], "EGeneral:Permission denied"])
def test_a_look_that_cannot_be_read_proves_nothing(reply: Any) -> None:
    """It is said and made again; the engine goes on."""
    world = World(strategy="none").ready()
    world.run(8)
    world.rest["OpenOrders"] = reply
    world.command("kill", reason="drill")
    world.run(4)
    assert world.engine.risk.kill_shown_empty_ns is None
    world.rest["OpenOrders"] = {"open": {}}
    world.run(8)
    assert world.engine.risk.kill_shown_empty_ns is not None
    world.sound()


def test_a_proven_kill_is_replayed(tmp_path: Path) -> None:
    """The journal of a kill that used the reserve replays to the same proof."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 26, segment_bytes=1 << 26,
                      sync_interval_ms=20) as journal:
        venue = CountingVenue("starter", journal)
        world = venue.world
        venue.reconnect()
        venue.reconnect()
        level_micro = world.engine.lane.rate.points_micro(world.mono_ns)
        assert len(world.engine.lane) and level_micro > venue.ordinary_micro() - 2 * MICRO
        world.command("kill", reason="drill")
        assert venue.proven_within(1)
        world.run(5)
        journal.sync()
        venue.sound()
    replay = replayed(tmp_path / "journal")
    again = replay.engine
    assert replay.differences == []
    assert again.risk.kill_shown_empty_ns == world.engine.risk.kill_shown_empty_ns
    assert again.lane.rate.points_micro(world.mono_ns) == world.engine.lane.rate.points_micro(world.mono_ns)
