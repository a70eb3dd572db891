"""Maintenance: openings are pulled ahead, nothing is sent that cannot work, the dead man's switch rests, and it ends unaided."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cstd._fast.codes import Link, OrderAction, OrderState
from cstd.venue.messages import StatusMessage, Window, decode_public
from tests.scenario.engine_world import S, World, eventually, time_text


def say(world: World, system: str = "online", upcoming: Any = (), emergency: Any = ()) -> None:
    """The venue's status on both sockets."""
    row = {"version": "2.0.10", "system": system, "api_version": "v2", "connection_id": 1, "upcoming_maintenance": upcoming,
           "emergency": emergency}
    frame = json.dumps({"channel": "status", "type": "update", "data": [row]}).encode()
    world.private(frame)
    world.public(frame)


def at(world: World, seconds: float) -> str:
    """A time from now, as the venue prints it."""
    return time_text(world.now_ns + int(seconds * S))


def resting(world: World) -> dict[str, Any]:
    """Let an opening rest at the venue."""
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    return world.live()[0]


def answer_cancels(world: World, seen: int, error: str = "") -> int:
    """Answer the cancels sent since: refused, or done; returns how many there have been."""
    frames = world.order_frames(OrderAction.ACTION_CANCEL)
    for frame in frames[seen:]:
        if error:
            world.refuse(json.loads(frame)["req_id"], error, "cancel_order")
        elif world.live():
            world.report("canceled", world.live()[0])
    return len(frames)


def switch_s(world: World) -> int | None:
    """What the dead man's switch is wanted to be, in seconds."""
    return world.engine.private.deadman.timeout_s


def test_an_announced_window_is_waited_out() -> None:
    """An opening is pulled a minute ahead; the switch goes off once nothing is open; after the window all is as before."""
    world = World(strategy="rehearsal").ready()
    resting(world)
    say(world, upcoming=[{"begin": at(world, 64), "end": at(world, 120)}])
    for _ in range(12):
        world.step()
        world.tick()
    assert (world.engine.state, world.order_frames(OrderAction.ACTION_CANCEL)) == ("ready", [])
    world.run(2)
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == 1
    assert world.engine.state == "reconciling"
    assert "maintenance is announced from" in str(world.engine.state_reason)
    assert switch_s(world) == 60, "an order may be open"
    answer_cancels(world, 0)
    world.run(1)
    assert switch_s(world) == 0
    orders = world.counters()["orders"]
    say(world, "maintenance", upcoming=[])
    world.run(10)
    assert "venue is maintenance" in str(world.engine.state_reason)
    for word in ("cancel_only", "post_only"):
        say(world, word)
        world.run(2)
    assert (switch_s(world), world.counters()["orders"]) == (0, orders)
    say(world)
    world.run(3)
    world.sound()
    assert (world.engine.state, switch_s(world)) == ("ready", 60)
    world.tick()
    world.first_order()


def test_nothing_opens_before_the_switch_is_on_again() -> None:
    """The venue matches again and the strategy wishes: its order waits for the venue's word that the switch is armed."""
    world = World(strategy="rehearsal").ready()
    say(world, "cancel_only")
    world.run(3)
    assert switch_s(world) == 0
    world.answering = False
    say(world)
    orders = world.counters()["orders"]
    world.run(2)
    assert (switch_s(world), world.engine.state, world.counters()["orders"]) == (60, "reconciling", orders)
    assert "dead man's switch" in str(world.engine.state_reason)
    world.answering = True
    eventually(world, lambda: world.engine.state == "ready")  # what was asked for in silence is asked for again
    world.tick()
    world.first_order()


def test_a_switch_that_was_asked_to_be_off_protects_nothing() -> None:
    """The venue matches again before it has answered the request to switch off: what was armed before is not armed now."""
    world = World(strategy="rehearsal").ready()
    world.answering = False
    say(world, "maintenance")
    world.run(1)
    assert switch_s(world) == 0
    say(world)
    orders = world.counters()["orders"]
    for _ in range(8):
        world.step()
        world.tick()
    assert (switch_s(world), world.counters()["orders"]) == (60, orders)
    assert "dead man's switch" in str(world.engine.state_reason)


def test_the_switch_stays_on_until_the_account_is_known() -> None:
    """A start in a venue that does not match: an order of the journal's lost tail may rest, and only look-ups show it."""
    world = World(strategy="rehearsal").ready()
    world.boot(epoch=2)
    world.answering = False
    world.link(Link.LINK_PRIVATE, up=True)
    world.link(Link.LINK_PUBLIC, up=True)
    say(world, "post_only")
    world.run(4)
    assert switch_s(world) == 60
    world.answering = True
    world.run(30)
    assert world.engine.reconciler.done_count > 0
    assert switch_s(world) == 0, "nothing of ours is open or held"


def test_a_window_that_passes_without_a_word() -> None:
    """The venue never leaves online: with the window's end openings go on, and nobody has to do anything."""
    world = World(strategy="rehearsal").ready()
    say(world, upcoming=[{"starts": at(world, 10), "ends": at(world, 20), "text": "database"}])
    world.run(15)
    assert world.engine.state == "reconciling"
    world.run(8)
    assert (world.engine.state, switch_s(world)) == ("ready", 60)


@pytest.mark.parametrize(("upcoming", "emergency"), [
    ([{"text": "soon"}], []), (["tonight"], []), ([17], []), ({"soon": True}, []), ("soon", []), ([], [{"reason": "now"}]),
    ([None], []),
])
def test_what_cannot_be_read_closes(upcoming: Any, emergency: Any) -> None:
    """Any entry without a time holds openings back until the announcement is taken back."""
    world = World(strategy="rehearsal").ready()
    say(world, upcoming=upcoming, emergency=emergency)
    before = world.counters()["orders"]
    for _ in range(8):
        world.step()
        world.tick()
    assert (world.engine.state, world.counters()["orders"]) == ("reconciling", before)
    assert "without a time" in str(world.engine.state_reason)
    say(world)
    world.run(1)
    assert world.engine.state == "ready"


@pytest.mark.parametrize("upcoming", [None, [], "", {}])
def test_nothing_announced(upcoming: Any) -> None:
    """Empty in any way is no announcement."""
    world = World(strategy="rehearsal").ready()
    say(world, upcoming=upcoming)
    world.run(1)
    assert world.engine.state == "ready"


def test_a_refused_cancel_goes_again_once_a_second() -> None:
    """In maintenance the venue takes no cancel: one a second is tried, and the first that it may take goes at once."""
    world = World(strategy="rehearsal").ready()
    resting(world)
    say(world, "maintenance")
    seen = 0
    for _ in range(100):
        world.step(0.1)
        seen = answer_cancels(world, seen, "EService:Unavailable")
    assert 9 <= seen <= 12
    assert world.live()[0]["state"] == OrderState.ORDER_OPEN
    say(world, "cancel_only")
    world.step(0.1)
    assert answer_cancels(world, seen) == seen + 1
    assert world.live() == []
    say(world)
    world.run(3)
    assert world.engine.state == "ready"


def test_an_exit_waits_for_a_venue_that_matches() -> None:
    """What is held is not sold into a venue that can only refuse; the switch stays armed; then it is sold."""
    world = World(strategy="rehearsal").ready()
    order = resting(world)
    world.fill(order, order["qty_raw"], "TAAAAA-BBBBB-CCCCCC")
    world.rest["BalanceEx"] = world._balance_ex
    say(world, "post_only")
    before = world.counters()["orders"]
    for _ in range(40):
        world.step()
        world.tick()
    assert (world.counters()["orders"], switch_s(world)) == (before, 60)
    say(world)
    for _ in range(40):
        world.step()
        world.tick()
    sent = world.order_frames(OrderAction.ACTION_ADD)[before:]
    assert sent and all(b'"side":"sell"' in frame for frame in sent)
    world.sound()


def test_the_last_word_holds_while_no_socket_is_up() -> None:
    """Maintenance closes the sockets: no exit leaves by REST meanwhile; told by REST that it matches, the venue gets it."""
    world = World(strategy="rehearsal").ready()
    order = resting(world)
    world.fill(order, order["qty_raw"], "TAAAAA-BBBBB-CCCCCC")
    world.rest["BalanceEx"] = world._balance_ex
    world.rest["SystemStatus"] = {"status": "maintenance"}
    say(world, "maintenance")
    before = world.counters()["orders"]
    for link in (Link.LINK_PUBLIC, Link.LINK_PRIVATE):
        world.link(link, up=False, reason="maintenance")
    world.asked.clear()
    world.run(30)
    asked = [method for method, _ in world.asked]
    assert (world.counters()["orders"], world.order_frames(OrderAction.ACTION_EXIT_REST)) == (before, [])
    assert 5 <= asked.count("SystemStatus") <= 7
    for silent in ("EService:Unavailable", {"status": 5}, []):
        world.rest["SystemStatus"] = silent
        world.run(6)
        assert world.order_frames(OrderAction.ACTION_EXIT_REST) == []
    world.rest |= {"SystemStatus": {"status": "online"}, "AddOrder": "EOrder:Insufficient funds", "Depth": world._depth}
    world.run(8)
    assert len(world.order_frames(OrderAction.ACTION_EXIT_REST)) >= 1
    asked_before = len([method for method, _ in world.asked if method == "SystemStatus"])
    world.run(12)
    assert len([method for method, _ in world.asked if method == "SystemStatus"]) == asked_before


def test_a_connection_that_was_not_told_of_the_end_is_given_up() -> None:
    """The frame with "online" is lost: half a minute later REST is asked, and two replies in a row close what says otherwise."""
    world = World(strategy="rehearsal").ready()
    say(world, "maintenance")
    world.rest["SystemStatus"] = {"status": "maintenance"}
    world.run(60)
    assert ("SystemStatus", {}) in world.asked and not world.engine.close_links
    world.rest["SystemStatus"] = {"status": "online"}
    eventually(world, lambda: bool(world.engine.close_links), 15)
    reason = "the venue is online and this connection still says maintenance"
    assert set(world.engine.close_links) == {(Link.LINK_PUBLIC, reason), (Link.LINK_PRIVATE, reason)}
    for link in (Link.LINK_PUBLIC, Link.LINK_PRIVATE):
        world.link(link, up=False, reason="given up")
        world.link(link, up=True)
    eventually(world, lambda: world.engine.state == "ready", 60)


def test_no_exit_leaves_after_the_word() -> None:
    """From the frame that says it on, not from the next timer."""
    world = World(strategy="rehearsal").ready()
    order = resting(world)
    world.fill(order, order["qty_raw"], "TAAAAA-BBBBB-CCCCCC")
    say(world, "cancel_only")
    assert world.core.hold_exits
    say(world)
    assert not world.core.hold_exits


def test_the_account_is_looked_up_afterwards() -> None:
    """What the venue did to orders while it was away is asked for as soon as it matches again."""
    world = World(strategy="rehearsal").ready()
    world.run(2)
    say(world, "maintenance")
    world.run(2)
    world.asked.clear()
    say(world)
    world.run(2)
    assert ("OpenOrders", {}) in world.asked


def test_a_new_connection_knows_only_what_it_is_told() -> None:
    """An announcement goes with its connection: the status of the next one says what holds."""
    world = World(strategy="rehearsal").ready()
    say(world, upcoming=["soon"])
    world.run(1)
    assert world.engine.state == "reconciling"
    world.link(Link.LINK_PUBLIC, up=False, reason="test")
    world.run(1)
    world.link(Link.LINK_PUBLIC, up=True)
    world.run(3)
    assert world.engine.state == "ready"


@pytest.mark.parametrize(("entry", "window"), [
    ({"start": "2026-11-22T06:00:00Z", "end": "2026-11-22T06:30:00.5Z"}, (1795327200 * S, 1795329000 * S + S // 2)),
    ({"scheduled_for": "2026-11-22T06:00:00+00:00"}, (1795327200 * S, None)),
    ("2026-11-22T06:00:00Z", (1795327200 * S, None)), ({"start": 5}, (None, None)),
    ({"start": "2026-13-45T06:00:00Z"}, (None, None)),
])
def test_the_times_of_an_announcement(entry: Any, window: tuple[int | None, int | None]) -> None:
    """What reads as a time is one, whatever its field is called: the first is the begin, a second the end."""
    frame = json.dumps({"channel": "status", "type": "update", "data": [{"system": "online", "upcoming_maintenance": [entry]}]})
    (message,) = decode_public(frame.encode())
    assert isinstance(message, StatusMessage)
    assert message.announced == (Window(*window),)
