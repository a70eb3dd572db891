"""The feature row shows the market without us, and what it remembers of a side is never older than the side."""

from __future__ import annotations

import random
from typing import Any

import pytest
from engine_world import BTC, PRECISIONS, World

from cstd._fast import features
from cstd._fast.codes import OrderState

# What a book alone gives; the others have a memory.
OF_THE_BOOK = [name for name in features.NAMES[:features.book_feature_count]
               if name.startswith(("SPREAD", "IMBALANCE", "WEIGHTED", "DEPTH", "SLOPE"))]
Levels = list[tuple[int, int, int]]


@pytest.fixture
def world() -> World:
    """A ready engine with the rehearsal strategy."""
    return World(strategy="rehearsal").ready()


def sides(world: World) -> tuple[Levels, Levels]:
    """The engine's levels, (price_raw, qty_raw, own_qty_raw), best first: bids, asks."""
    return world.slot.book.levels(1, 1000), world.slot.book.levels(-1, 1000)


def assert_row_is_of_this_book(world: World) -> None:
    """What the engine keeps for this book is what a stream that has never seen another one says of it."""
    values, valid = world.slot.feature_row()
    kept = {name: value for i, (name, value) in enumerate(zip(features.NAMES, values, strict=True))
            if valid[i >> 6] >> (i & 63) & 1}
    bids, asks = sides(world)
    fresh = features.FeatureStream(*PRECISIONS[BTC], depth=max(len(bids), len(asks))).book(bids, asks, world.mono_ns)
    assert {name: kept[name] for name in OF_THE_BOOK} == {name: fresh[name] for name in OF_THE_BOOK}


def own(world: World) -> dict[int, int]:
    """Our own quantity by price."""
    return {price: qty for side in sides(world) for price, _, qty in side if qty}


def rest(world: World) -> dict[str, Any]:
    """The first opening, accepted and shown in the venue's book beside what stands there."""
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    price, qty = order["price_raw"], order["qty_raw"]
    world.book(BTC, [(price, world.books[BTC].bids.get(price, 0) + qty)])
    return order


@pytest.mark.parametrize("seed", range(5))
def test_sums_that_are_kept_are_those_of_the_book(world: World, seed: int) -> None:
    """Levels appear, change and vanish on one side or both, at the touch and far from it, with an order of ours in it."""
    draw = random.Random(seed)
    for number in range(150):
        if number == 50:
            rest(world)
        book = world.books[BTC]
        changes: dict[str, list[tuple[int, int]]] = {"bids": [], "asks": []}
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            side = draw.choice(("bids", "asks"))
            prices = sorted(getattr(book, side), reverse=side == "bids")
            price = draw.choice(prices[:4] + prices[-4:] + [prices[0] + draw.choice((-1, 1, 2)), prices[5] + 1])
            if price < min(book.asks) if side == "bids" else price > max(book.bids):
                changes[side].append((price, draw.choice((0, 1, 10**7, draw.randrange(1, 10**9)))))
        book_is_whole = len(book.bids) > 8 and len(book.asks) > 8
        world.book(BTC, **changes if book_is_whole else {"bids": [(max(book.bids) - 1, 10**8)],
                                                         "asks": [(min(book.asks) + 1, 10**8)]})
        assert world.verified(), f"seed {seed}, change {number}"
        assert_row_is_of_this_book(world)


def test_our_own_quantity_is_left_out_while_it_rests(world: World) -> None:
    """A resting order of ours is on its level, and the row is that of the level without it."""
    order = rest(world)
    assert own(world) == {order["price_raw"]: order["qty_raw"]}
    assert_row_is_of_this_book(world)


@pytest.mark.parametrize("ending", ["canceled", "filled"])
def test_an_order_that_ended_leaves_nothing_on_its_level(world: World, ending: str) -> None:
    """Once it has ended, the next update of the book shows the whole level as that of others, without a live order too."""
    order = rest(world)
    if ending == "filled":
        world.fill(order, order["qty_raw"], "TEXEC1", order_status="filled")
        world.report("filled", order, order_status="filled")
    else:
        world.report("canceled", order, order_status="canceled")
    assert all(OrderState(live["state"]) not in (OrderState.ORDER_OPEN, OrderState.ORDER_PARTIAL) for live in world.live())
    world.book(BTC, [(order["price_raw"], 5 * 10**8)])
    assert order["price_raw"] not in own(world)
    assert_row_is_of_this_book(world)
