"""Bad frames of the private socket: what each comes to, which counter moves, which channel is taken anew, and what heals it.

And words that no document has, in frames of both sockets: what is read of them, exactly.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from cstd._fast.codes import IntentKind, Link, OrderState
from cstd.units import format_raw
from cstd.venue.messages import Malformed, decode_private
from cstd.venue.private import ChannelFault, OrderReply, PrivateMachine
from tests.scenario.engine_world import BTC, PRECISIONS, World, eventually, instrument_row, time_text
from tests.scenario.test_bad_input import instrument_frame

EMPTY_EXECUTIONS = b'{"channel":"executions","type":"update","data":[],"sequence":7}'
# Frame, what makes it unreadable, the channel that is taken anew for it.
UNREADABLE: dict[str, tuple[bytes, str, str]] = {
    "not JSON": (b"<html>502 Bad Gateway</html>", "not JSON", "executions"),
    "empty": (b"", "not JSON", "executions"),
    "not UTF-8": (b'{"channel":"balances\xff"}', "not UTF-8", "executions"),
    "NUL bytes": (b"\x00" * 64, "not JSON", "executions"),
    "a number": (b"7", "a JSON int", "executions"),
    "a list": (b"[1,2,3]", "a JSON list", "executions"),
    "deep nesting": (b"[" * 5000 + b"]" * 5000, "nested too deep", "executions"),
    "no sequence": (b'{"channel":"executions","type":"update","data":[]}', "sequence is missing", "executions"),
    "a sequence of text": (EMPTY_EXECUTIONS.replace(b"7", b'"many"'), "sequence is not a number", "executions"),
    "a sequence with a fraction": (EMPTY_EXECUTIONS.replace(b"7", b"7.5"), "sequence is not an integer", "executions"),
    "data that is no list": (EMPTY_EXECUTIONS.replace(b"[]", b"{}"), "data is not a list", "executions"),
    "rows that are no objects": (EMPTY_EXECUTIONS.replace(b"[]", b"[7]"), "data is not a list of objects", "executions"),
    "no exec_type": (EMPTY_EXECUTIONS.replace(b"[]", b'[{"order_id":"O"}]'), "exec_type is missing", "executions"),
    "a number for exec_type": (EMPTY_EXECUTIONS.replace(b"[]", b'[{"exec_type":4}]'), "exec_type is missing", "executions"),
    "a quantity of words": (EMPTY_EXECUTIONS.replace(b"[]", b'[{"exec_type":"trade","last_qty":"many"}]'),
                            "last_qty is not a number", "executions"),
    "a quantity without end": (EMPTY_EXECUTIONS.replace(b"[]", b'[{"exec_type":"trade","last_qty":1e999}]'),
                               "last_qty", "executions"),
    "fees that are no list": (EMPTY_EXECUTIONS.replace(b"[]", b'[{"exec_type":"trade","fees":7}]'), "fees", "executions"),
    "a balance of nothing": (b'{"channel":"balances","type":"update","data":[{"balance":1}],"sequence":7}',
                             "asset is missing", "balances"),
    "no balance": (b'{"channel":"balances","type":"update","data":[{"asset":"USD"}],"sequence":7}',
                   "balance is missing", "balances"),
    "a balance of words": (b'{"channel":"balances","type":"update","data":[{"asset":"USD","balance":"much"}],"sequence":7}',
                           "balance is not a number", "balances"),
    "a balance that is not finite": (
        b'{"channel":"balances","type":"update","data":[{"asset":"USD","balance":"NaN"}],"sequence":7}',
        "balance is not a finite number", "balances"),
    "balances without a sequence": (b'{"channel":"balances","type":"snapshot","data":[]}', "sequence is missing", "balances"),
}


def resting(strategy: str = "rehearsal") -> tuple[World, dict[str, Any]]:
    """A ready engine with an opening that rests at the venue."""
    world = World(strategy=strategy).ready()
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    order = world.core.order(world.core.live_orders()[0])
    assert order["state"] == OrderState.ORDER_OPEN
    return world, order


def fill_row(world: World, order: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The report of an order's whole execution."""
    price, qty = (float(format_raw(order[field], digits)) for field, digits in
                  zip(("price_raw", "qty_raw"), PRECISIONS[BTC], strict=True))
    return {"exec_type": "trade", "order_status": "filled", "cl_ord_id": order["cl_ord_id"], "order_id": "OAAAAA-BBBBB-CCCCCC",
            "exec_id": "TAAAAA-BBBBB-CCCCCC", "trade_id": 1, "symbol": BTC, "last_qty": qty, "last_price": price, "side": "buy",
            "cost": 1.5, "fees": [{"asset": "USD", "qty": 0.01}], "liquidity_ind": "m",
            "timestamp": time_text(world.now_ns), **changes}


def message(world: World, channel: str, *rows: dict[str, Any]) -> bytes:
    """The next update of a channel; the venue's sequence moves with it whether it is read or not."""
    world.sequence[channel] += 1
    return json.dumps({"channel": channel, "type": "update", "data": list(rows), "sequence": world.sequence[channel]},
                      separators=(",", ":")).encode()


def unanswered(world: World, frame: bytes) -> None:
    """One frame of the private socket, while the venue answers nothing."""
    world.answering = False
    world.core.frame(Link.LINK_PRIVATE, frame, world.mono_ns, world.now_ns)
    world.sound()


def heals(world: World) -> None:
    """A timer asks for the channel anew; with its snapshot the engine is ready and the account is reconciled."""
    world.answering = True
    world.asked.clear()
    eventually(world, lambda: world.engine.private.ready and world.engine.state == "ready", 40)
    eventually(world, lambda: {"OpenOrders", "BalanceEx"} <= {method for method, _ in world.asked})
    world.sound()


@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_unreadable_private_frame_is_a_fault_of_one_channel(kind: str) -> None:
    """Typed, counted once everywhere, not ready at once, no order leaves, and a snapshot and a reconciliation heal it."""
    frame, why, channel = UNREADABLE[kind]
    (read,) = decode_private(frame)
    assert isinstance(read, Malformed) and why in read.reason
    world = World(strategy="bench").ready()
    world.private()
    private, other = world.engine.private, {"executions": "balances", "balances": "executions"}[channel]
    before, gaps = world.counters(), private.gap_count
    private.want_reconcile = False
    unanswered(world, frame)
    assert (private.malformed_count, private.gap_count, private.unknown_count) == (1, gaps + 1, 0)
    assert world.counters()["malformed"] == before["malformed"] + 1
    assert private.want_reconcile and not private.ready
    assert private.snapshot_seen(other) and not private.snapshot_seen(channel)
    world.core.timer(world.mono_ns, world.now_ns)
    assert world.engine.state == "reconciling"
    world.public(world.books[BTC].update(world.now_ns, [(999_993, 5)]))
    assert world.counters()["orders"] == before["orders"]
    # The request of that moment was answered by nobody: the channel is asked for again in the end.
    heals(world)
    assert private.snapshot_seen(channel)


def machine_ready() -> PrivateMachine:
    """A machine with both snapshots in."""
    machine = PrivateMachine()
    machine.on_up(0)
    for frame in (b'{"channel":"executions","type":"snapshot","data":[],"sequence":1}',
                  b'{"channel":"balances","type":"snapshot","data":[],"sequence":1}'):
        for read in decode_private(frame):
            machine.on_message(read, 0)
    assert machine.ready
    return machine


@pytest.mark.parametrize("channel", ["executions", "balances"])
def test_an_update_cut_at_any_byte_is_a_fault(channel: str) -> None:
    """Every prefix of an update, the empty one too: unreadable, one fault, what it held is not applied; the whole is read."""
    world, order = resting()
    frame = message(world, "executions", fill_row(world, order)) if channel == "executions" else message(
        world, "balances", {"asset": "USD", "balance": 1.25, "amount": -8.75, "type": "trade", "ledger_id": "L1",
                            "wallet_type": "spot", "wallet_id": "main", "timestamp": time_text(world.now_ns)})
    private, fills = world.engine.private, len(world.engine.ledger.fills)
    usd = world.engine.reconciler.own.copy()
    orders = world.counters()["orders"]
    for n in range(len(frame)):
        (outcome,) = machine_ready().on_message(*decode_private(frame[:n]), 0)
        assert isinstance(outcome, ChannelFault) and outcome.channel == "executions" and "malformed" in outcome.reason
        counted, machine = world.counters()["malformed"], (private.malformed_count, private.gap_count)
        unanswered(world, frame[:n])
        assert world.counters()["malformed"] == counted + 1
        assert (private.malformed_count, private.gap_count) == (machine[0] + 1, machine[1] + 1)
        assert private.want_reconcile and not private.ready
    assert len(world.engine.ledger.fills) == fills and world.engine.reconciler.own == usd
    assert world.counters()["orders"] == orders
    assert not isinstance(decode_private(frame)[0], Malformed)
    world.open_orders = [{**fill_row(world, order), "exec_type": "new", "order_status": "new"}]
    heals(world)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_fill_that_came_cut_is_booked_from_the_snapshot(part: float) -> None:
    """The execution was lost with its frame: the new snapshot repeats it, it is booked once, and the order is over."""
    world, order = resting()
    row = fill_row(world, order)
    frame = message(world, "executions", row)
    unanswered(world, frame[:int(len(frame) * part)])
    assert not world.engine.ledger.fills and len(world.live(IntentKind.OPENING)) == 1
    world.open_orders = [row]
    world.balances = {"USD": "9998.49000000", "BTC": f"{0.05 + order['qty_raw'] / 1e8:.8f}", "ETH": "0.00000000"}
    world.answering = True
    eventually(world, lambda: len(world.engine.ledger.fills) == 1, 40)
    assert not world.live(IntentKind.OPENING)
    world.private(message(world, "executions", row))
    assert len(world.engine.ledger.fills) == 1, "once, whatever repeats"
    world.sound()


# Acknowledged, and then nothing.


@pytest.mark.parametrize("channel", ["executions", "balances"])
def test_a_private_channel_that_is_acknowledged_and_silent_is_taken_again(channel: str) -> None:
    """Heartbeats come and the other channel is there: never ready without both snapshots, asked again, ready when it comes."""
    world = World(strategy="bench")
    silent, snapshot, acks = True, world._snapshot, []

    def answers(link: int, params: dict[str, Any], name: str) -> None:
        if params["channel"] == channel:
            acks.append(world.mono_ns)
        if not (silent and params["channel"] == channel):
            snapshot(link, params, name)

    world._snapshot = answers  # type: ignore[method-assign]
    world.boot()
    for _ in range(240):
        world.step()
        world.tick()
        assert not world.engine.private.ready and world.engine.state == "reconciling"
    assert len(acks) >= 3 and not world.counters()["orders"]
    (status,) = (row for row in world.engine.private.status(world.mono_ns)["channels"] if row["channel"] == channel)
    assert status["silent"] == len(acks) - 1 or status["silent"] == len(acks)
    assert not world.engine.close_links, "the link is alive: the other channel goes on"
    # An update proves nothing of what came before it.
    world.private(message(world, channel))
    assert not world.engine.private.ready
    silent = False
    eventually(world, lambda: world.engine.state == "ready", 90)
    world.sound()


# Words that no document has.


@pytest.mark.parametrize("scanned", [True, False], ids=["scanned", "tolerant"])
@pytest.mark.parametrize(("changes", "expected"), [
    ({"exec_type": "reversed"}, "asked"), ({"exec_type": "status", "order_status": "frozen"}, "nothing"),
    ({"order_status": "frozen"}, "filled"), ({"liquidity_ind": "x"}, "filled"), ({"side": "borrow"}, "filled"),
    ({"order_type": "stop-of-tomorrow"}, "filled")], ids=str)
def test_unknown_words_of_an_execution(changes: dict[str, str], expected: str, *, scanned: bool) -> None:
    """An unknown kind of report changes no order and has the account looked up; other words do not decide an execution."""
    world, order = resting()
    frame = message(world, "executions", fill_row(world, order, **changes))
    if not scanned:
        frame = frame.replace(b'{"channel"', b'{"note":null,"channel"')
    world.engine.tracker.want_reconcile = False
    slow = world.counters()["slow_frames"]
    unanswered(world, frame)
    assert world.counters()["slow_frames"] == slow + (not scanned)
    private = world.engine.private
    assert (private.malformed_count, private.unknown_count, private.ready) == (0, 0, True)
    assert world.engine.tracker.want_reconcile == (expected == "asked")
    assert (("warning", "unknown exec_type", {"exec_type": "reversed"}) in world.engine.notes) == (expected == "asked")
    fills = list(world.engine.ledger.fills.values())
    if expected == "filled":
        assert len(fills) == 1 and not world.live()
        assert fills[0].liquidity == ("unknown" if "liquidity_ind" in changes else "maker")
        assert fills[0].side == order["side"], "of what side it was the order tells"
    else:
        (live,) = world.live()
        assert not fills and live["state"] == OrderState.ORDER_OPEN


@pytest.mark.parametrize(("frame", "channel"), [
    (b'{"channel":"executions","type":"delta","data":[],"sequence":9}', "executions"),
    (b'{"channel":"balances","type":"delta","data":[],"sequence":9}', "balances"),
    (b'{"channel":"positions","type":"update","data":[]}', None), (b'{"news":1}', None)])
def test_unknown_kinds_of_private_frames(frame: bytes, channel: str | None) -> None:
    """Counted; one of a channel that orders hang on is taken for a lost message of it, another one changes nothing."""
    world = World(strategy="bench").ready()
    private = world.engine.private
    private.want_reconcile = False
    gaps, malformed = private.gap_count, world.counters()["malformed"]
    unanswered(world, frame)
    assert (private.unknown_count, private.malformed_count, world.counters()["malformed"]) == (1, 0, malformed)
    assert private.gap_count == gaps + (channel is not None)
    assert (private.ready, private.want_reconcile) == (channel is None, channel is not None)
    if channel is not None:
        heals(world)


def test_an_unknown_method_is_a_stray_reply() -> None:
    """A reply to nothing of ours moves no order."""
    (outcome,) = machine_ready().on_message(*decode_private(b'{"method":"dance","success":true}'), 0)
    assert isinstance(outcome, OrderReply) and (outcome.req_id, outcome.method) == (None, "dance")
    world, order = resting()
    before = world.engine.tracker.stray_reply_count
    unanswered(world, b'{"method":"dance","success":true}')
    assert world.engine.tracker.stray_reply_count == before + 1
    assert world.live()[0]["state"] == order["state"] and world.engine.private.ready


@pytest.mark.parametrize("side", ["borrow", "", "Buy", "b"])
def test_a_trade_of_an_unknown_side_is_no_trade(side: str) -> None:
    """Counted as malformed and left out of the tape; the book stays, and a trade beside it in the frame is taken."""
    world = World().ready()
    world.run(1)
    rows = ",".join(f'{{"symbol":"BTC/USD","side":"{word}","price":100000.0,"qty":0.00010000,"ord_type":"limit","trade_id":{n},'
                    f'"timestamp":"{time_text(world.now_ns)}"}}' for n, word in ((501, "buy"), (502, side)))
    before = world.counters()
    world.public(b'{"channel":"trade","type":"update","data":[' + rows.encode() + b"]}")
    after = world.counters()
    lost = 1 if side else 2     # an empty word makes the whole frame unreadable
    assert (after["malformed"] - before["malformed"], after["trades"] - before["trades"]) == (1, 2 - lost)
    assert world.verified() and world.engine.private.ready
    world.sound()


def test_an_unknown_order_type_of_a_trade_is_no_reason_to_leave_it_out() -> None:
    """Nothing is decided by it."""
    world = World().ready()
    world.run(1)
    before = world.counters()
    world.public((f'{{"channel":"trade","type":"update","data":[{{"symbol":"BTC/USD","side":"sell","price":100000.0,'
                  f'"qty":0.00010000,"ord_type":"auction","trade_id":501,"timestamp":"{time_text(world.now_ns)}"}}]}}').encode())
    assert world.counters()["trades"] == before["trades"] + 1
    assert world.counters()["malformed"] == before["malformed"]


def test_an_unknown_status_word_of_an_instrument_shows_as_the_venue_says_it() -> None:
    """It is not `online`, so the instrument is not; the word itself is kept for whoever looks."""
    world = World().ready()
    world.public(instrument_frame(instrument_row(BTC, status="a_new_word")))
    assert (world.slot.online, world.engine.feed.specs[BTC].status, world.verified()) == (False, "a_new_word", True)


# A quantity of zero.


@pytest.mark.parametrize("spelling", ["scanned", "tolerant"])
@pytest.mark.parametrize("side", ["bids", "asks"])
@pytest.mark.parametrize("place", [0, 4, 9, 10, 24])
def test_a_snapshot_with_a_quantity_of_zero_has_no_such_level(place: int, side: str, spelling: str) -> None:
    """Zero is "not there", in a snapshot too: with the checksum of the book without it, it is verified without it; with the
    checksum of a book that has it, it is not."""
    for counts_zero in (False, True):
        world = World().ready()
        book = world.books[BTC]
        levels = getattr(book, side)
        price = sorted(levels, reverse=side == "bids")[place]
        shown = {name: sorted(getattr(book, name).items(), reverse=name == "bids") for name in ("bids", "asks")}
        shown[side][place] = (price, 0)
        if counts_zero:
            levels[price] = 0
        else:
            del levels[price]
        frame = book.frame("snapshot", shown["bids"], shown["asks"], world.now_ns)
        if spelling == "tolerant":
            frame = frame.replace(b'{"channel"', b'{"note":null,"channel"')
        bad, slow = world.counters()["checksums_bad"], world.counters()["slow_frames"]
        world.answering = False
        world.public(frame)
        assert world.counters()["slow_frames"] == slow + (spelling == "tolerant")
        in_sum = place < 10
        assert world.verified() == (not (counts_zero and in_sum)), "levels below the tenth are not under the checksum"
        assert world.counters()["checksums_bad"] == bad + (counts_zero and in_sum)
        held = [level[0] for level in world.slot.book.levels(1 if side == "bids" else -1, 100)]
        assert price not in held and len(held) == (24 if world.verified() else 0)
