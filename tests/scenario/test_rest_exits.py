"""Exits are not trapped: by REST while the private socket is down, priced by a REST snapshot while the book cannot be used."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cstd._fast.codes import EventKind, IntentKind, Link, OrderAction, OrderState
from cstd._fast.gates import DECISION_DTYPE
from cstd._fast.gateway import RestExit
from cstd.clock import SystemClock
from cstd.decision.why import explain
from cstd.engine.boot import boot_payload
from cstd.errors import InvariantError
from cstd.orders.exit_prices import PAUSES_NS
from cstd.orders.rest_cancels import PULL_AFTER_NS
from cstd.storage.journal import open_journal
from cstd.units import format_raw
from cstd.venue.http import HttpClient
from cstd.venue.rest.request import RestRequest
from tests.scenario.engine_world import BTC, S, World, eventually, practice_config, replayed, time_text

DOWN_S = PULL_AFTER_NS / S
USER_BTC = Decimal("0.05")


class Venue:
    """The REST side of the venue: it takes exits and fills them at their price, or does what a test says instead.

    Attributes:
        shows: whether what was filled is in the history already. fills: how much of an order is filled.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.shows = True
        self.fills = Decimal(1)
        self.orders: list[dict[str, str]] = []
        self.closed: dict[str, Any] = {}
        self.trades: dict[str, Any] = {}
        world.rest.update(AddOrder=self.add, CancelOrder={"count": 1}, ClosedOrders=self._closed, TradesHistory=self._trades)

    def add(self, params: dict[str, str]) -> Any:
        """Take an exit: none of the user's own coins may go with it."""
        self.orders.append(params)
        number = len(self.orders)
        qty, price = Decimal(params["volume"]) * self.fills, Decimal(params["price"])
        order_id, exec_id = f"OEXITS-BYRES-{number:06d}", f"TEXITS-BYRES-{number:06d}"
        self.world.move_balance("BTC", -qty)
        assert Decimal(self.world.balances["BTC"]) >= USER_BTC, "the user's own coins were sold"
        now_s = self.world.now_ns / S
        self.closed[order_id] = {
            "cl_ord_id": params["cl_ord_id"], "status": "closed" if self.fills == 1 else "canceled", "vol": params["volume"],
            "vol_exec": f"{qty:.8f}", "reason": "IOC", "opentm": now_s,
            "descr": {"pair": "XBTUSD", "type": "sell", "price": params["price"]}}
        if qty:
            self.trades[exec_id] = {"ordertxid": order_id, "vol": f"{qty:.8f}", "price": params["price"],
                                    "cost": f"{qty * price:.5f}", "fee": "0", "time": now_s}
        return {"descr": {"order": "sell"}, "txid": [order_id]}

    def _closed(self, _params: dict[str, str]) -> Any:
        rows = self.closed if self.shows else {}
        return {"closed": rows, "count": len(rows)}

    def _trades(self, _params: dict[str, str]) -> Any:
        rows = self.trades if self.shows else {}
        return {"trades": rows, "count": len(rows)}


def holding(journal: Any = None) -> tuple[World, Venue]:
    """A ready engine that holds what its first opening bought; the rehearsal wants to sell it some seconds later."""
    world = World(practice_config(), strategy="rehearsal", journal=journal).ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    venue = Venue(world)
    assert held(world) == order["qty_raw"] and not world.live()
    return world, venue


def held(world: World) -> int:
    """Managed quantity, raw."""
    return int(world.engine.ledger.positions[0].qty_raw)


def private_down(world: World) -> None:
    """The private socket breaks."""
    world.link(Link.LINK_PRIVATE, up=False, reason="cut")


def pass_public(world: World, seconds: float) -> None:
    """Time passes on the public socket alone, whose book moves."""
    for _ in range(int(seconds * 4)):
        world.now_ns += S // 4
        world.tick()
        world.core.timer(world.mono_ns, world.now_ns)
        world.pump()
    world.sound()


def pass_private(world: World, seconds: float) -> None:
    """Time passes on the private socket alone."""
    world.run_on(Link.LINK_PRIVATE, seconds)
    world.sound()


def pass_dark(world: World, seconds: float) -> None:
    """Time passes, and there is no socket at all."""
    for _ in range(int(seconds * 4)):
        world.now_ns += S // 4
        world.core.timer(world.mono_ns, world.now_ns)
        world.pump()
    world.sound()


def by_rest(world: World) -> list[bytes]:
    """Exits that were recorded as going by REST."""
    return world.order_frames(OrderAction.ACTION_EXIT_REST)


def rows(world: World, kind: IntentKind = IntentKind.EXIT) -> list[Any]:
    """Decision rows of a kind, oldest first."""
    found = [np.frombuffer(payload, dtype=DECISION_DTYPE)[0] for number, _, payload in world.recorder.captured
             if number == EventKind.OUT_DECISION]
    return [row for row in found if row["kind"] == kind]


def told(world: World) -> dict[str, object]:
    """The newest exit's decision, explained."""
    return explain(rows(world)[-1], world.engine.feed.specs[BTC])


# Without the private socket.


def test_a_position_is_sold_by_rest_when_the_private_socket_stays_down() -> None:
    """A reconnect is given its time; then the exit goes by REST, once, and look-ups book what became of it."""
    world, venue = holding()
    quantity = held(world)
    private_down(world)
    pass_public(world, DOWN_S - 0.5)
    assert not by_rest(world) and world.engine.rest_exits.route == "none"
    pass_public(world, 8)
    (frame,) = by_rest(world)
    (params,) = venue.orders
    assert frame.decode() == "AddOrder?" + "&".join(f"{name}={value}" for name, value in params.items())
    assert (params["type"], params["timeinforce"], params["pair"]) == ("sell", "IOC", BTC)
    assert params["volume"] == format_raw(quantity, 8)
    assert held(world) == 0 and not world.live()
    assert world.engine.tracker.history[params["cl_ord_id"]]["state"] == OrderState.ORDER_FILLED
    assert world.engine.tracker.history[params["cl_ord_id"]]["order_id"] == "OEXITS-BYRES-000001"
    assert world.counters()["rest_exits"] == 1 and world.counters()["rest_priced_exits"] == 0
    assert told(world)["route"] == "rest" and told(world)["price_from"] == "book"
    assert (world.engine.state, world.engine.rest_exits.route) == ("reconciling", "rest")


def test_what_comes_late_is_refused_by_the_venue() -> None:
    """The deadline is as far beyond the venue's minimum for REST as the one that gate 6 judged."""
    world, venue = holding()
    private_down(world)
    eventually_public(world, lambda: bool(venue.orders))
    row = rows(world)[-1]
    after_ns = 2 * S + world.core.deadline_ns
    assert venue.orders[0]["deadline"] == f"{time_text(int(row['decided_wall_ns']) + after_ns)[:-4]}Z"
    assert int(row["policy_value"][5]) == world.core.deadline_ns


def eventually_public(world: World, holds: Callable[[], bool], seconds: float = 15) -> None:
    """Let time pass on the public socket until something holds."""
    for _ in range(int(seconds * 4)):
        if holds():
            return
        pass_public(world, 0.25)
    assert holds()


@pytest.mark.parametrize("verb", ["flatten", "kill"])
def test_operators_are_obeyed_without_a_private_socket(verb: str) -> None:
    """Flatten sells by REST; a kill lets the strategy's exit go, and with hold nothing goes."""
    world, venue = holding()
    private_down(world)
    world.command(verb, reason="test")
    pass_public(world, 10)
    assert len(venue.orders) == 1 and held(world) == 0
    other, other_venue = holding()
    private_down(other)
    other.command("kill", reason="test", hold=True)
    pass_public(other, 10)
    assert not other_venue.orders and held(other) > 0 and other.engine.rest_exits.route == "none"


def test_no_opening_goes_by_rest() -> None:
    """For minutes without a private socket the strategy wishes and flattens: every order is a sell that does not rest."""
    world, venue = holding()
    private_down(world)
    for seconds in range(120):
        pass_public(world, 1)
        if seconds % 20 == 19:
            world.command("resume")
    assert len(venue.orders) == 1
    for frame in by_rest(world):
        assert b"&type=sell&" in frame and b"&timeinforce=IOC&" in frame
    assert rows(world, IntentKind.OPENING)[-1]["verdict"] == 0, "the strategy wished to open, and was refused"
    assert rows(world, IntentKind.OPENING)[-1]["rest"] == 0
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 1
    assert {method for method, _ in world.asked if method.startswith("Add")} == {"AddOrder"}


@pytest.mark.parametrize("shows", [True, False], ids=["history at once", "history lags"])
def test_an_exit_whose_reply_is_lost_is_not_sent_twice(*, shows: bool) -> None:
    """It was executed behind a 502: unknown until the look-ups show it, and its quantity stays reserved."""
    world, venue = holding()
    take = venue.add
    venue.shows = shows

    def lost(params: dict[str, str]) -> str:
        take(params)
        return "EService:Unavailable"

    world.rest["AddOrder"] = lost
    private_down(world)
    eventually_public(world, lambda: bool(venue.orders))
    pass_public(world, 30)
    assert len(venue.orders) == 1, "sent again"
    assert world.engine.rest_exits.unconfirmed_count == 1
    if not shows:
        assert world.live()[0]["state"] == OrderState.ORDER_UNKNOWN, "the balance shows that it was sold"
        venue.shows = True
        pass_public(world, 30)
    assert held(world) == 0 and not world.live() and len(world.engine.ledger.fills) == 2


def test_a_lost_exit_that_never_was_is_decided_by_the_balance() -> None:
    """The request is lost: a second past its deadline it cannot match any more, and the untouched balance frees the way."""
    world, venue = holding()
    sent: list[int] = []

    def lost(_params: dict[str, str]) -> str:
        sent.append(world.now_ns)
        world.rest["AddOrder"] = venue.add
        return "EService:Timeout"

    world.rest["AddOrder"] = lost
    private_down(world)
    eventually_public(world, lambda: bool(sent))
    (order,) = world.live()
    assert order["state"] == OrderState.ORDER_UNKNOWN
    over_ns = order["deadline_wall_ns"] + S
    while world.now_ns < over_ns:
        assert not venue.orders, "sent again before it was over"
        pass_public(world, 0.25)
    pass_public(world, 12)
    assert len(venue.orders) == 1 and venue.orders[0]["cl_ord_id"] != order["cl_ord_id"]
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_REJECTED
    assert held(world) == 0


@pytest.mark.parametrize("result", [{}, {"txid": []}, {"txid": "OEXITS"}, [], None, {"txid": [7]}])
def test_a_reply_without_an_order_id_leaves_the_exit_unknown(result: Any) -> None:
    """Accepted by what it does not say is nothing: the look-ups decide."""
    world, venue = holding()
    take = venue.add
    world.rest["AddOrder"] = lambda params: (take(params), result)[1]
    private_down(world)
    pass_public(world, 10)
    assert len(venue.orders) == 1 and world.engine.rest_exits.unconfirmed_count == 1
    assert held(world) == 0 and not world.live()


def test_an_exit_that_the_venue_refuses_ends_and_is_tried_again_with_pauses() -> None:
    """A plain no is final for that order; the next try is another order, ever later."""
    world, venue = holding()
    refused: list[int] = []

    def no(_params: dict[str, str]) -> str:
        refused.append(world.now_ns)
        return "EOrder:Insufficient funds"

    world.rest["AddOrder"] = no
    private_down(world)
    pass_public(world, 40)
    assert 3 <= len(refused) <= 6 and not world.live()
    gaps = [after - before for before, after in pairwise(refused)]
    assert gaps == sorted(gaps)
    assert held(world) > 0 and not venue.orders


def test_an_unfilled_exit_goes_again_one_step_wider() -> None:
    """Nothing of it was taken: the next one has the next collar."""
    world, venue = holding()
    venue.fills = Decimal(0)
    private_down(world)
    eventually_public(world, lambda: len(venue.orders) >= 2, 60)
    venue.fills = Decimal(1)
    eventually_public(world, lambda: held(world) == 0, 60)
    prices = [Decimal(order["price"]) for order in venue.orders]
    assert prices == sorted(prices, reverse=True) and prices[0] > prices[-1]
    assert len({order["cl_ord_id"] for order in venue.orders}) == len(venue.orders)


def test_an_exit_without_a_turn_never_leaves() -> None:
    """The lane is busy with a read that hangs: past its deadline the exit is withdrawn, and it is not unknown."""
    world, venue = holding()
    private_down(world)
    pass_public(world, DOWN_S - 0.5)
    world.engine._ask("BalanceEx", {}, True)
    world.engine.rest_out.append(world.engine.lane.next_call(world.mono_ns))  # it is under way and has no answer yet
    world.answering = False
    for _ in range(20):
        world.now_ns += S // 4
        world.tick()
        world.core.timer(world.mono_ns, world.now_ns)
    assert by_rest(world), "it was decided and recorded"
    calls = [call.request.method for call in world.engine.rest_out]
    assert "AddOrder" not in calls and not venue.orders
    assert world.engine.rest_exits.not_sent_count >= 1
    assert all(order["state"] != OrderState.ORDER_UNKNOWN for order in world.live())
    world.answering = True
    pass_public(world, 45)
    assert held(world) == 0 and len(venue.orders) == 1


def test_a_boot_without_a_private_socket_looks_before_it_sells() -> None:
    """What is held is known from the journal alone: look-ups must show it, then it is sold."""
    world, venue = holding()
    world.event(EventKind.EVENT_LINK, Link.LINK_PRIVATE, b'{"up":false}')
    world.event(EventKind.EVENT_LINK, Link.LINK_PUBLIC, b'{"up":false}')
    world.event(EventKind.EVENT_BOOT, 0, boot_payload(world.cfg, 2, None))
    world.link(Link.LINK_PUBLIC, up=True)
    asked = len(world.asked)
    eventually_public(world, lambda: bool(venue.orders), 40)
    methods = [method for method, _ in world.asked[asked:]]
    assert methods.index("BalanceEx") < methods.index("AddOrder")
    pass_public(world, 10)
    assert held(world) == 0 and len(venue.orders) == 1


def test_a_boot_that_finds_coins_missing_sells_nothing() -> None:
    """The venue shows less than what is managed and what is the user's own: it could be his that would be sold."""
    world, venue = holding()
    world.event(EventKind.EVENT_LINK, Link.LINK_PRIVATE, b'{"up":false}')
    world.event(EventKind.EVENT_BOOT, 0, boot_payload(world.cfg, 2, None))
    world.link(Link.LINK_PUBLIC, up=True)
    world.move_balance("BTC", Decimal("-0.00000001"))
    pass_public(world, 60)
    assert not venue.orders and not world.engine.rest_exits._known


def test_replay_makes_the_same_exits(tmp_path: Path) -> None:
    """The journal of such a session replays without a difference, its exits by REST among what is compared."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 26, segment_bytes=1 << 26,
                      sync_interval_ms=20) as journal:
        world, venue = holding(journal)
        private_down(world)
        pass_public(world, 10)
        world.link(Link.LINK_PUBLIC, up=False, reason="cut")
        pass_dark(world, 5)
        assert len(venue.orders) == 1
        journal.sync()
    again = replayed(tmp_path / "journal")
    assert again.differences == []
    assert again.engine.recorder.hexdigest() == world.recorder.hexdigest()
    assert again.engine.core.counter_values()["rest_exits"] == 1


def test_only_the_gateways_exit_leaves() -> None:
    """The HTTP client sends no AddOrder but one that carries the gateway's own, unchanged."""
    world, _venue = holding()
    world.answering = False
    private_down(world)
    made: list[RestExit] = []
    world.engine.rest_exits.send = made.extend  # type: ignore[method-assign, assignment]
    pass_public(world, DOWN_S + 6)
    assert made
    exit_ = made[0]
    good = RestRequest(exit_.method, True, exit_.params, exit_)
    assert good.made_by_gateway
    buy = tuple((name, "buy" if name == "type" else value) for name, value in exit_.params)
    client = HttpClient("http://127.0.0.1:1", clock=SystemClock())
    for request in (RestRequest("AddOrder", True, exit_.params), RestRequest("AddOrder", True, buy, exit_),
                    RestRequest("AddOrder", True, exit_.params, RestExit()), RestRequest("AddOrder", True, (), RestExit())):
        assert not request.made_by_gateway
        with pytest.raises(InvariantError, match="outside the gateway"):
            asyncio.run(client.call(request, S))
    with pytest.raises(AttributeError):
        exit_.params = buy  # type: ignore[misc]


def test_an_exit_that_cannot_be_recorded_does_not_leave(tmp_path: Path) -> None:
    """What is not on record does not happen, by REST neither."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 26, segment_bytes=1 << 26,
                      sync_interval_ms=20) as journal:
        world, venue = holding(journal)
        private_down(world)
        pass_public(world, DOWN_S - 0.5)
    for _ in range(24):
        world.now_ns += S // 4
        world.tick()
        world.core.timer(world.mono_ns, world.now_ns)
        world.pump()
    assert not venue.orders and world.recorder.failed


# Without a book.


def test_an_exit_is_priced_by_a_snapshot_when_the_public_socket_is_gone() -> None:
    """The private socket is there and the book is not: the exit goes by the socket, its price is from REST, and says so."""
    world, venue = holding()
    world.link(Link.LINK_PUBLIC, up=False, reason="cut")
    pass_private(world, 1.5)
    assert not world.live(), "the book may be back in a moment"
    for _ in range(40):
        if not world.live():
            pass_private(world, 0.25)
    (order,) = world.live(IntentKind.EXIT)
    bid_raw = max(world.books[BTC].bids)
    assert bid_raw * 0.99 < order["price_raw"] < bid_raw
    assert b'"side":"sell"' in world.order_frames(OrderAction.ACTION_ADD)[-1] and not venue.orders
    assert told(world)["route"] == "socket" and told(world)["price_from"] == "rest_snapshot"
    assert told(world)["bid"] == format_raw(bid_raw, 1)
    assert order["mid2_raw"] == 0, "slippage is measured against verified prices alone"
    assert world.engine.exit_prices.done_count >= 1 and world.counters()["rest_priced_exits"] == 1
    assert len(world.order_frames(OrderAction.ACTION_ADD)) == 2, "no opening since"


def test_a_position_is_sold_with_no_socket_at_all() -> None:
    """Both sockets are gone: price and order go by REST."""
    world, venue = holding()
    world.link(Link.LINK_PUBLIC, up=False, reason="cut")
    private_down(world)
    pass_dark(world, 12)
    assert len(venue.orders) == 1 and held(world) == 0
    assert told(world)["route"] == "rest" and told(world)["price_from"] == "rest_snapshot"
    assert world.slot.last_verified_bid_raw > 0


def test_a_snapshot_is_asked_for_only_when_an_exit_is_due() -> None:
    """Without a position, or before the strategy wants out, nothing is asked."""
    flat = World(practice_config(), strategy="rehearsal").ready()
    flat.link(Link.LINK_PUBLIC, up=False, reason="cut")
    pass_private(flat, 10)
    idle = World(practice_config()).ready()
    idle.link(Link.LINK_PUBLIC, up=False, reason="cut")
    pass_private(idle, 10)
    assert not [method for world in (flat, idle) for method, _ in world.asked if method == "Depth"]


def reading(bids: list[list[Any]], asks: list[list[Any]]) -> dict[str, Any]:
    """A Depth result."""
    return {"XXBTZUSD": {"bids": bids, "asks": asks}}


ROW = ["100000.0", "5.0", 1]
BAD = {
    "no bids": (reading([], [["100000.1", "5", 1]]), "empty"),
    "no asks": (reading([ROW], []), "empty"),
    "crossed": (reading([["100000.1", "5", 1]], [["100000.0", "5", 1]]), "crossed"),
    "locked": (reading([ROW], [ROW]), "crossed"),
    "digits": (reading([["100000.05", "5", 1]], [["100000.1", "5", 1]]), "malformed"),
    "negative": (reading([["-1", "5", 1]], [["100000.1", "5", 1]]), "malformed"),
    "negative quantity": (reading([["100000.0", "-1", 1]], [["100000.1", "5", 1]]), "malformed"),
    "not a number": (reading([["NaN", "5", 1]], [["100000.1", "5", 1]]), "malformed"),
    "no rows": ({"XXBTZUSD": {"bids": 1, "asks": 2}}, "malformed"),
    "not a book": ([1], "malformed"),
    "two books": ({"A": {}, "B": {}}, "malformed"),
    "an error": ("EQuery:Unknown asset pair", "refused"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_snapshot_sells_nothing_and_is_asked_again_with_pauses(name: str) -> None:
    """Each is counted and logged; the pauses grow; a good one afterwards sells."""
    world, venue = holding()
    result, reason = BAD[name]
    asked: list[int] = []

    def bad(_params: dict[str, str]) -> Any:
        asked.append(world.now_ns)
        return result

    good = world.rest["Depth"]
    world.rest["Depth"] = bad
    world.link(Link.LINK_PUBLIC, up=False, reason="cut")
    private_down(world)
    pass_dark(world, 25)
    assert not venue.orders and not by_rest(world) and held(world) > 0
    assert world.engine.exit_prices.failed[reason] == len(asked) >= 3
    gaps = [after - before for before, after in pairwise(asked)]
    assert all(gap >= pause for gap, pause in zip(gaps, PAUSES_NS, strict=False))
    world.rest["Depth"] = good
    pass_dark(world, 30)
    assert held(world) == 0 and len(venue.orders) == 1


def test_a_level_too_small_for_the_digits_of_rest_is_a_level() -> None:
    """REST cuts quantities to three digits: the best bid may be printed with none, and is the best bid all the same."""
    world, venue = holding()
    world.rest["Depth"] = reading([["99999.9", "0.000", 1], ["99990.0", "5", 1]], [["100000.1", "0.000", 1]])
    world.link(Link.LINK_PUBLIC, up=False, reason="cut")
    private_down(world)
    pass_dark(world, 15)
    assert len(venue.orders) == 1 and told(world)["bid"] == "99999.9"


def test_a_snapshot_that_came_late_is_old() -> None:
    """Its age counts from the question: what took longer than it may be old gives no price."""
    world, venue = holding()
    world.answering = False
    world.link(Link.LINK_PUBLIC, up=False, reason="cut")
    private_down(world)
    for _ in range(40):
        world.now_ns += S // 4
        world.core.timer(world.mono_ns, world.now_ns)
        calls = [call for call in world.engine.rest_out if call.request.method == "Depth"]
        if calls:
            break
    world.engine.rest_out.clear()
    world.now_ns += 3 * S
    answer = {"id": calls[0].call_id, "status": 200, "error": "",
              "body": json.dumps({"error": [], "result": world._depth({"pair": BTC, "count": "10"})})}
    world.core.event(EventKind.EVENT_REST_REPLY, 0, world.mono_ns, world.now_ns, json.dumps(answer).encode())
    world.core.timer(world.mono_ns, world.now_ns)
    assert world.engine.exit_prices.failed["stale"] == 1 and world.engine.exit_prices.done_count == 0
    assert not by_rest(world) and not venue.orders


def test_a_snapshot_ages_and_a_book_that_is_back_counts_instead() -> None:
    """A snapshot older than the limit prices nothing; with a verified book the snapshot is not looked at."""
    world, _venue = holding()
    world.slot.rest_bid_raw, world.slot.rest_ask_raw, world.slot.rest_read_mono_ns = 5, 6, world.mono_ns
    eventually(world, lambda: bool(world.live(IntentKind.EXIT)))
    (order,) = world.live(IntentKind.EXIT)
    assert order["price_raw"] > 900_000 and told(world)["price_from"] == "book"
    other, venue = holding()
    other.rest["Depth"] = "EService:Unavailable"
    other.link(Link.LINK_PUBLIC, up=False, reason="cut")
    private_down(other)
    other.slot.rest_bid_raw, other.slot.rest_ask_raw, other.slot.rest_read_mono_ns = 1_000_000, 1_000_001, other.mono_ns
    pass_dark(other, 12)
    assert not venue.orders, "it was older than two seconds when it could have counted"
