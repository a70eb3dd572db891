"""Our own quantity on every level, against a plain count of our orders: after every message, whatever moves."""

from __future__ import annotations

import random

from engine_world import BTC, ETH, World, practice_config
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd._fast.codes import OrderEvent, OrderState, Side

RESTING = (OrderState.ORDER_OPEN, OrderState.ORDER_PARTIAL, OrderState.ORDER_CANCEL_PENDING)


def expected(world: World, number: int, side: Side) -> list[tuple[int, int, int]]:
    """The venue's levels with what our resting orders leave on them."""
    book = world.books[world.names[number]]
    own: dict[int, int] = {}
    for index in world.core.live_orders():
        order = world.core.order(index)
        if order["instrument"] == number and order["side"] == side and order["state"] in RESTING:
            own[order["price_raw"]] = own.get(order["price_raw"], 0) + order["leaves_raw"]
    levels = sorted(book.bids.items(), reverse=True) if side == Side.BUY else sorted(book.asks.items())
    return [(price, qty, own.get(price, 0)) for price, qty in levels]


def begin(world: World, draw: random.Random, serial: int) -> None:
    """An order of ours rests on a level, beside another one, or where there is none."""
    number = draw.randrange(len(world.names))
    side = draw.choice((Side.BUY, Side.SELL))
    book = world.books[world.names[number]]
    price = draw.choice(sorted(book.bids if side == Side.BUY else book.asks)) + draw.choice((0, 0, 0, 3))
    index = world.core.adopt_order(number, {
        "cl_ord_id": b"cs" + f"{serial:016d}".encode(), "side": int(side), "price_raw": price,
        "qty_raw": draw.randrange(2, 10**9), "filled_raw": 0, "opened_wall_ns": world.now_ns})
    if draw.random() < 0.9:     # one that stays UNKNOWN is on no level
        assert world.core.move_order(index, OrderEvent.ON_FOUND_OPEN) == OrderState.ORDER_OPEN


def go_on(world: World, draw: random.Random) -> None:
    """One of our orders is partly filled, canceled or closed."""
    live = world.core.live_orders()
    if not live:
        return
    index = draw.choice(live)
    order = world.core.order(index)
    if order["state"] == OrderState.ORDER_UNKNOWN:
        return
    if draw.random() < 0.5:
        world.core.order_filled(index, order["filled_raw"] + draw.randrange(0, order["leaves_raw"]))
    else:
        world.core.move_order(index, OrderEvent.ON_CANCELED)
        world.core.close_order(index)


def move_book(world: World, draw: random.Random) -> None:
    """The venue's book changes: levels go, come, come back, fall out of the depth; now and then a whole snapshot."""
    name = draw.choice(world.names)
    book = world.books[name]
    if draw.random() < 0.1:
        world.public(book.snapshot(world.now_ns))
        return
    changes: dict[str, list[tuple[int, int]]] = {}
    for word, sign in (("bids", 1), ("asks", -1)):
        prices = sorted(getattr(book, word), reverse=sign > 0)
        changes[word] = [(draw.choice((draw.choice(prices), prices[-1] - sign * 7, draw.choice(prices) - sign * 3)),
                          draw.choice((0, draw.randrange(1, 10**9)))) for _ in range(draw.randrange(3))]
        if len(prices) < 18:
            changes[word] += [(prices[-1] - sign * 7 * n, 5) for n in range(1, 8)]
    world.book(name, **changes)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_own_quantity_is_that_of_our_resting_orders(seed: int) -> None:
    """After every message of an instrument each of its levels carries what our resting orders leave there, and nothing
    else: not of an order that ended, is UNKNOWN, rests on another instrument or the other side."""
    draw = random.Random(seed)
    world = World(practice_config((BTC, ETH))).ready()
    world.command("pause")
    for serial in range(60):
        if serial < 25 and draw.random() < 0.5:
            begin(world, draw, serial)
        elif draw.random() < 0.5:
            go_on(world, draw)
        move_book(world, draw)
        for number, name in enumerate(world.names):
            world.tick(name)
            slot = world.core.slots[number]
            assert world.verified(number)
            for side in (Side.BUY, Side.SELL):
                assert slot.book.levels(side, 99) == expected(world, number, side), f"seed {seed}, move {serial}"
    world.sound()
