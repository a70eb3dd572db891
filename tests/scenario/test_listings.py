"""Instruments change at the venue: names that leave its list and come back, and rules that change at unchanged digits."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from cstd._fast.codes import BookFault, BookState, IntentKind, Link, OrderAction
from cstd.daemon.view import LiveView
from cstd.market.feed import UNLISTED
from tests.scenario.engine_world import BTC, ETH, World, instrument_row, next_order, practice_config
from tests.scenario.test_bad_input import instrument_frame
from tests.scenario.test_rest_exits import held, holding


def listing(*rows: dict[str, Any]) -> bytes:
    """A snapshot of the instrument channel."""
    return json.dumps({"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": list(rows)}}).encode()


def resting() -> tuple[World, dict[str, Any]]:
    """Two instruments, and an opening of the first that rests at the venue."""
    world = World(practice_config((BTC, ETH)), strategy="rehearsal").ready()
    for _ in range(200):
        if any(order["instrument"] == 0 for order in world.live()):
            break
        world.step()
        world.tick()
    order = next(order for order in world.live() if order["instrument"] == 0)
    world.reply(order)
    world.report("new", order)
    return world, order


def reconnect(world: World) -> None:
    """The public link breaks and comes back."""
    world.link(Link.LINK_PUBLIC, up=False, reason="cut")
    world.link(Link.LINK_PUBLIC, up=True)


def unlist(world: World, *, by_reconnect: bool) -> None:
    """BTC/USD leaves the venue's list."""
    world.specs = {name: row for name, row in world.specs.items() if name != BTC}
    if by_reconnect:
        reconnect(world)
    else:
        world.public(listing(*world.specs.values()))


def cancels(world: World) -> int:
    """Cancels that were sent."""
    return len(world.order_frames(OrderAction.ACTION_CANCEL))


def canceled(world: World, order: dict[str, Any]) -> int:
    """Cancels of one order that were sent."""
    return sum(order["cl_ord_id"].encode() in frame for frame in world.order_frames(OrderAction.ACTION_CANCEL))


def openings_of_btc(world: World) -> int:
    """Openings of BTC/USD that were sent."""
    return sum(b"BTC/USD" in frame and b'"side":"buy"' in frame for frame in world.order_frames(OrderAction.ACTION_ADD))


@pytest.mark.parametrize("by_reconnect", [False, True])
def test_a_name_that_leaves_the_list_is_blocked_alone_and_goes_on_when_it_is_back(*, by_reconnect: bool) -> None:
    """The resting opening is pulled, nothing is opened, it is said and counted once; back in the list it trades again."""
    world, order = resting()
    before = openings_of_btc(world)
    unlist(world, by_reconnect=by_reconnect)
    world.step()
    world.sound()
    assert (canceled(world, order), world.slot.online, world.slot.book.state) == (1, False, BookState.BOOK_EMPTY)
    assert world.slot.book.fault == BookFault.FAULT_VENUE_STATE and world.faults()[BookFault.FAULT_VENUE_STATE] == 1
    assert world.engine.feed.specs[BTC].status == UNLISTED and world.engine.public.unlisted() == (BTC,)
    world.report("canceled", order)
    assert world.verified(1), "another instrument is not concerned"
    reconnect(world)
    world.run(30)
    assert openings_of_btc(world) == before and not world.slot.online
    assert not world.engine.public.live(BTC), "no channel of it is asked for"
    assert world.engine.feed.unlisted_count == 1
    said = [text for _, text, fields in world.engine.notes if fields.get("instrument") == BTC]
    assert said.count("instrument left the venue's list: renamed or delisted") == 1
    world.snapshots = False
    world.specs[BTC] = instrument_row(BTC)
    world.public(instrument_frame(world.specs[BTC]))
    assert world.slot.online and not world.verified(), "it waits for a fresh snapshot"
    world.public(world.books[BTC].update(world.now_ns, [(999_993, 7)]))
    assert not world.verified()
    world.snapshots = True
    world.public(world.books[BTC].snapshot(world.now_ns))
    assert world.verified()
    assert "instrument is in the venue's list again" in [text for _, text, _ in world.engine.notes]
    for _ in range(200):
        world.step()
        world.tick()
    assert openings_of_btc(world) > before
    world.sound()


def test_a_snapshot_on_its_way_when_the_name_left_is_not_used_when_it_is_back() -> None:
    """It is of the time before: the book that it makes is dropped with the name's return."""
    world, _ = resting()
    unlist(world, by_reconnect=False)
    world.public(world.books[BTC].snapshot(world.now_ns))
    world.snapshots = False
    world.public(instrument_frame(instrument_row(BTC)))
    assert world.slot.online and world.slot.book.state == BookState.BOOK_EMPTY


def test_an_update_that_names_others_unlists_nobody() -> None:
    """An update lists only what changed."""
    world, _ = resting()
    world.public(instrument_frame(instrument_row(ETH, qty_min="0.001")))
    world.step()
    assert world.slot.online and world.verified() and world.engine.feed.unlisted_count == 0 and not cancels(world)


def test_what_is_held_of_an_unlisted_name_is_sold_by_a_rest_price_and_keeps_its_value() -> None:
    """Its rules stay for what is held: valued at the last bid, and its exit priced from REST after the book's time is over."""
    world, _ = holding()
    value = world.core.positions_value()
    assert value > 0
    openings = openings_of_btc(world)
    world.specs = {}
    world.public(listing(instrument_row(ETH)))
    assert world.core.positions_value() == value
    for _ in range(80):
        if world.live():
            break
        world.step()
    (order,) = world.live(IntentKind.EXIT)
    assert order["qty_raw"] == held(world) and world.engine.exit_prices.done_count >= 1
    assert openings_of_btc(world) == openings and world.counters()["rest_priced_exits"] == 1
    world.sound()


def test_an_unlisted_name_that_rest_does_not_know_either_waits_and_says_so() -> None:
    """No price at all: the exit is not sent at a price that nobody knows, each try is counted, and the return ends it."""
    world, _ = holding()
    world.rest["Depth"] = "EQuery:Unknown asset pair"
    world.specs = {}
    world.public(listing())
    world.run(20)
    assert not world.live() and held(world) > 0
    assert world.engine.exit_prices.failed["refused"] >= 3
    world.specs[BTC] = instrument_row(BTC)
    world.public(instrument_frame(world.specs[BTC]))
    assert b'"side":"sell"' in next_order(world)


def test_the_venue_is_asked_to_stop_the_channels_of_a_name_that_left() -> None:
    """On a connection that stays, every channel of it is unsubscribed, and none is asked for again."""
    world, _ = resting()
    world.core.frame(Link.LINK_PUBLIC, listing(instrument_row(ETH)), world.mono_ns, world.now_ns)
    asked = [json.loads(frame) for link, frame in world.engine.outbox if link == Link.LINK_PUBLIC]
    assert {(row["method"], row["params"]["channel"]) for row in asked} == {
        ("unsubscribe", channel) for channel in ("book", "trade", "ticker", "ohlc")}
    assert all(row["params"]["symbol"] == [BTC] for row in asked)
    world.run(30)
    assert not [s for s in world.engine.public.status()["not_live"] if s["name"] == BTC and s["state"] != "off"]


# Rules that change while the digits stay.


def quiet(world: World) -> None:
    """Nothing of ours rests any more."""
    for order in world.live():
        world.report("canceled", order, order_id=f"O{order['req_id']}", reason="test")


def sent(frame: bytes) -> tuple[Decimal, Decimal]:
    """(quantity, price) of an order frame."""
    params = json.loads(frame, parse_float=Decimal)["params"]
    return Decimal(params["order_qty"]), Decimal(params["limit_price"])


def test_new_increments_reach_the_very_next_order_stricter_and_looser() -> None:
    """Price and quantity step of the next order are the new ones, and the old ones again when they come back."""
    world = World(strategy="rehearsal").ready()
    first, _ = sent(next_order(world))
    assert first % Decimal("0.0001") != 0, "the case is one that needs this"
    quiet(world)
    world.book(bids=[(1_000_000, 0)], asks=[(1_000_001, 0)])
    for increments in ({"price_increment": "0.5", "qty_increment": "0.0001"}, {}):
        world.public(instrument_frame(instrument_row(BTC, **increments)))
        assert world.verified(), "the book stays"
        if increments:
            world.book(bids=[(999_995, 5_000_000_000), (999_993, 0)])
            qty, price = sent(next_order(world))
            assert qty % Decimal("0.0001") == 0 and price % Decimal("0.5") == 0
            quiet(world)
    world.book(bids=[(999_997, 5_000_000_000)])
    qty, price = sent(next_order(world))
    assert qty % Decimal("0.0001") != 0 and price == Decimal("99999.7")
    world.sound()


@pytest.mark.parametrize("stricter", [{"qty_min": "1.0"}, {"cost_min": "1000"}, {"qty_increment": "0.1"}], ids=str)
def test_a_new_minimum_holds_the_very_next_opening_back_and_its_end_lets_it_go(stricter: dict[str, str]) -> None:
    """What is now too small is not sent, not even once; with the old rules the next pass sends it."""
    world = World(strategy="rehearsal").ready()
    world.public(instrument_frame(instrument_row(BTC, **stricter)))
    for _ in range(60):
        world.step()
        world.tick()
    assert not world.order_frames() and world.engine.state == "ready"
    world.public(instrument_frame(instrument_row(BTC)))
    next_order(world, 15)
    world.sound()


@pytest.mark.parametrize(("changes", "pulled"), [
    ({"price_increment": "0.7"}, True), ({"qty_increment": "0.001"}, True),
    ({"qty_min": "1.0"}, False), ({"cost_min": "100000"}, False)], ids=str)
def test_a_resting_order_off_the_new_grid_is_pulled_and_one_below_a_new_minimum_may_stay(
        changes: dict[str, str], pulled: bool) -> None:
    """A minimum is asked of what arrives, so the venue keeps what rests; a price or quantity off the grid is no order."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    assert order["price_raw"] % 7 and order["qty_raw"] % 100_000
    world.public(instrument_frame(instrument_row(BTC, **changes)))
    world.step()
    assert (cancels(world), world.verified()) == (int(pulled), True)
    world.sound()


@pytest.mark.parametrize("changes", [{"qty_min": "1.0"}, {"cost_min": "100000"}, {"qty_increment": "0.1", "qty_min": "0"}],
                         ids=str)
def test_what_is_held_below_a_new_minimum_is_dust_and_is_sold_when_it_is_none(changes: dict[str, str]) -> None:
    """The venue would refuse its exit: none is sent, the position shows as dust, and with the old rules it is sold."""
    world, _ = holding()
    view = LiveView(world.engine, pid=0, mono_ns=lambda: world.mono_ns, process=dict)
    assert [row["dust"] for row in view.positions()] == [False]
    world.public(instrument_frame(instrument_row(BTC, **changes)))
    adds = len(world.order_frames(OrderAction.ACTION_ADD))
    for _ in range(48):
        world.step()
        world.tick()
    assert [row["dust"] for row in view.positions()] == [True]
    assert not world.live(IntentKind.EXIT) and held(world) > 0
    assert not [frame for frame in world.order_frames(OrderAction.ACTION_ADD)[adds:] if b'"side":"sell"' in frame]
    quiet(world)
    world.public(instrument_frame(instrument_row(BTC)))
    for _ in range(120):
        if world.live(IntentKind.EXIT):
            break
        world.step()
        world.tick()
        for order in world.live(IntentKind.OPENING):
            world.reply(order, f"O{order['req_id']}")
    assert world.live(IntentKind.EXIT)
    world.sound()


def sold_below_cost(share: Decimal) -> tuple[World, list[dict[str, Any]]]:
    """Something is held when the least cost becomes a share of its value at the bid; returns the exits that it then sends."""
    world, _ = holding()
    bid = Decimal(world.slot.last_verified_bid_raw).scaleb(-1)
    value = Decimal(held(world)).scaleb(-8) * bid
    world.public(instrument_frame(instrument_row(BTC, cost_min=f"{value * share:.8f}")))
    before = len(world.order_frames(OrderAction.ACTION_ADD))
    for _ in range(60):
        world.step()
        world.tick()
    frames = [json.loads(frame, parse_float=Decimal) for frame in world.order_frames(OrderAction.ACTION_ADD)[before:]]
    return world, [frame["params"] for frame in frames if frame["params"]["side"] == "sell"]


def test_an_exit_that_its_collar_would_take_below_the_least_cost_is_priced_at_the_bid() -> None:
    """The venue takes it there: what is held is not dust, and it is not trapped."""
    world, (first, *_) = sold_below_cost(Decimal("0.99999"))
    assert first["limit_price"] == Decimal(world.slot.last_verified_bid_raw).scaleb(-1)
    plain = sold_below_cost(Decimal("0.5"))[1][0]
    assert plain["limit_price"] < first["limit_price"]
    world.sound()


def test_a_flatten_outlasts_a_moment_in_which_the_venue_would_not_take_it() -> None:
    """Below the least cost for a while nothing is sold and nothing is forgotten; a resume ends a wait for dust."""
    world, _ = holding()
    world.public(instrument_frame(instrument_row(BTC, cost_min="100000")))
    world.command("flatten")
    for _ in range(8):
        world.step()
        world.tick()
    assert world.slot.flatten and not world.live(IntentKind.EXIT)
    world.public(instrument_frame(instrument_row(BTC)))
    world.step()
    world.tick()
    assert world.live(IntentKind.EXIT), "sold as soon as the venue takes it"
    other, _ = holding()
    other.public(instrument_frame(instrument_row(BTC, cost_min="100000")))
    other.command("flatten")
    other.command("resume")
    assert not other.slot.flatten
    world.sound()
