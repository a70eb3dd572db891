"""The venue changes an instrument's digits while orders rest and coins are held: what is counted in the old ones stays true."""

from __future__ import annotations

import json
from decimal import ROUND_FLOOR, Decimal
from math import ceil, floor
from typing import Any

import pytest

from cstd._fast.codes import BookState, OrderAction
from cstd.daemon.view import LiveView
from cstd.units import from_raw
from tests.scenario.engine_world import BTC, PRECISIONS, World, instrument_row, next_order, practice_config
from tests.scenario.test_approvals import waits
from tests.scenario.test_bad_input import instrument_frame

OLD = PRECISIONS[BTC]


def change(world: World, monkeypatch: pytest.MonkeyPatch, price: int, qty: int) -> None:
    """The venue counts in other digits from now on, and says so. Its levels stay where the new digits can tell them."""
    book = world.books[BTC]
    scales = [10.0 ** (new - old) for new, old in zip((price, qty), book.precisions, strict=True)]
    book.bids, book.asks = ({to_tick(p * scales[0]): max(1, round(q * scales[1])) for p, q in side.items()}
                            for side, to_tick in ((book.bids, floor), (book.asks, ceil)))
    book.precisions = (price, qty)
    monkeypatch.setitem(PRECISIONS, BTC, (price, qty))
    row = instrument_row(BTC, price_precision=price, price_increment=f"{10.0 ** -price:.{price}f}", qty_precision=qty,
                         qty_increment=f"{10.0 ** -qty:.{qty}f}")
    world.specs[BTC] = row
    world.public(instrument_frame(row))
    world.sound()


def orders_seen(world: World) -> list[dict[str, Any]]:
    """Orders as an operator sees them."""
    view = LiveView(world.engine, pid=0, mono_ns=lambda: world.mono_ns, process=dict)
    return [dict(row) for row in view.orders(all_=True, limit=10)]


@pytest.mark.parametrize("digits", [(2, 9), (1, 9), (2, 8), (0, 8)], ids=str)
def test_a_resting_order_ends_in_the_digits_it_began_with(monkeypatch: pytest.MonkeyPatch, digits: tuple[int, int]) -> None:
    """It is pulled, its fill on the way out is booked, it is told as it was sent; then the next order has the new digits."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    sent = json.loads(world.order_frames(OrderAction.ACTION_ADD)[-1])["params"]
    change(world, monkeypatch, *digits)
    world.run(3)
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == 1
    assert world.engine.ledger.digits(0) == OLD, "an order is still counted in them"
    assert ("warning", "new digits wait for what is counted in the old ones", {"instrument": BTC}) in world.engine.notes
    with monkeypatch.context() as old:
        old.setitem(PRECISIONS, BTC, OLD)
        world.fill(order, order["qty_raw"] // 2, "TAAAAA-BBBBB-CCCCCC")
    world.report("canceled", order)
    half = from_raw(order["qty_raw"] // 2, OLD[1])
    world.run(1)
    world.sound()
    assert world.engine.ledger.digits(0) == digits
    assert "new digits are in force" in [text for _, text, _ in world.engine.notes]
    assert world.engine.ledger.managed_qty("BTC") == half
    (seen,) = orders_seen(world)
    assert (seen["order_qty"], seen["limit_price"], seen["filled_qty"]) == (
        f"{from_raw(order['qty_raw'], OLD[1])}", f"{from_raw(order['price_raw'], OLD[0])}", f"{half}")
    assert f"{sent['order_qty']:.8f}" == seen["order_qty"]
    world.rest["BalanceEx"] = world._balance_ex
    following = next_order(world)
    assert world.slot.book.state == BookState.BOOK_VERIFIED
    assert b'"side":"sell"' in following, "what is held is sold"
    told = following.split(b'"order_qty":')[1].split(b",")[0]
    assert len(told.partition(b".")[2]) == digits[1] and float(told) == pytest.approx(float(half), abs=1e-8)


@pytest.mark.parametrize("approved", [False, True])
@pytest.mark.parametrize("digits", [(1, 9), (2, 8), (0, 8)], ids=str)
def test_an_opening_that_waits_for_an_operator_ends_with_its_digits(monkeypatch: pytest.MonkeyPatch, digits: tuple[int, int],
                                                                    approved: bool) -> None:
    """What he was shown is counted in the old ones: it is dropped, approved or not, and nothing of it is sent."""
    world = World(practice_config(approve={"above": "0", "expires_s": Decimal(300)}), strategy="rehearsal").ready()
    row = waits(world)
    if approved:
        assert "error" not in world.command("approve", id=str(row["intent_seq"]))
    change(world, monkeypatch, *digits)
    world.run(1)
    assert world.engine.ledger.digits(0) == digits
    said = world.command("approve", id=str(row["intent_seq"]))
    assert said["error"] == "operator" and "dropped (digits)" in said["message"]
    intents = world.counters()["intents"]
    for _ in range(60):
        world.step()
        world.tick()
    assert world.counters()["intents"] > intents, "its end is one for the strategy, which wishes anew"
    assert not world.core.waiting_rows() and not world.order_frames(OrderAction.ACTION_ADD), "its bars are too few for an opening"
    world.sound()


def test_a_fill_that_comes_late_counts_in_the_finer_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order ended in the old digits and is executed after the change: both parts add up, whichever is finer."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    world.command("pause")
    with_old = order["qty_raw"] // 2
    world.fill(order, with_old, "TAAAAA-BBBBB-CCCCCC")
    world.report("canceled", order)
    change(world, monkeypatch, 1, 9)
    world.run(1)
    assert world.engine.ledger.digits(0) == (1, 9)
    world.rest["BalanceEx"] = world._balance_ex
    world.fill(order, 123, "TAAAAA-BBBBB-DDDDDD")
    world.sound()
    (seen,) = orders_seen(world)
    expected = from_raw(with_old, 8) + from_raw(123, 9)
    assert seen["filled_qty"] == f"{expected}" and world.engine.ledger.managed_qty("BTC") == expected


def test_what_fewer_digits_cannot_tell_is_kept_and_the_rest_is_sold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coins held to the eighth decimal, and the venue now knows five: an exit that it would refuse is no exit."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"] - 1, "TAAAAA-BBBBB-CCCCCC")
    world.report("canceled", order)
    held = world.engine.ledger.managed_qty("BTC")
    world.rest["BalanceEx"] = world._balance_ex
    change(world, monkeypatch, 1, 5)
    following = next_order(world)
    assert b'"side":"sell"' in following
    sold = held.quantize(Decimal("0.00001"), ROUND_FLOOR)
    rest = held - sold
    assert rest > 0, "the case is one that needs this"
    assert Decimal(following.split(b'"order_qty":')[1].split(b",")[0].decode()) == sold
    assert ("info", "new digits are in force", {"instrument": BTC, "rest": str(rest)}) in world.engine.notes
    exit_order = world.live()[-1]
    world.reply(exit_order)
    world.fill(exit_order, exit_order["qty_raw"], "TAAAAA-BBBBB-DDDDDD")
    world.run(3)
    world.sound()
    assert world.engine.ledger.managed_qty("BTC") == rest, "what could not be sold is still ours, to the last digit"
    (position,) = LiveView(world.engine, pid=0, mono_ns=lambda: world.mono_ns, process=dict).positions()
    assert (position["qty"], position["dust"]) == (f"{rest}", True)
    change(world, monkeypatch, *OLD)
    world.run(3)
    assert world.engine.ledger.positions[0].qty_raw == int(rest.scaleb(OLD[1])), "and is counted again where it can be told"


def test_a_late_fill_finer_than_the_new_digits_is_booked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order ended in eight decimals, the venue counts in five, and an execution of before is heard of only now."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    world.command("pause")
    world.report("canceled", order)
    change(world, monkeypatch, 1, 5)
    world.run(1)
    assert world.engine.ledger.digits(0) == (1, 5)
    with monkeypatch.context() as old:
        old.setitem(PRECISIONS, BTC, OLD)
        world.fill(order, order["qty_raw"] - 1, "TAAAAA-BBBBB-CCCCCC")
    world.sound()
    assert world.engine.ledger.managed_qty("BTC") == from_raw(order["qty_raw"] - 1, OLD[1])
    (seen,) = orders_seen(world)
    assert seen["filled_qty"] == f"{from_raw(order['qty_raw'] - 1, OLD[1])}"
