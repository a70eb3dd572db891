"""What each of the venue's error texts does to an order, by every way on which it can come; and what no answer at all does.

The table is a copy, by hand, of the error strings in the venue's documentation, with what each must lead to here. Nothing
is taken from the classifier: a text that it forgot, or reads as harmless, fails a line of this table.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cstd._fast.codes import Link, OrderAction, OrderState
from cstd.daemon.view import LiveView
from cstd.decision.limits import limits_row
from cstd.storage.journal import open_journal
from tests.scenario.engine_world import NO_WORD, Answer, S, World, eventually, practice_config, replayed
from tests.scenario.test_amend import TIGHT_BPS, tighten
from tests.scenario.test_rest_cancels import cancels, down, pass_without_private, resting
from tests.scenario.test_rest_exits import eventually_public, holding, pass_public, private_down


class Meant(NamedTuple):
    """What an error text leads to. On a socket whose token is refused, a new one is asked for by a reconnect as well.

    Attributes:
        add: "rejected": the order never was; "unknown": it may be, and is looked up.
        other: of a cancel or an amend. "open": the order rests on, and is (again) canceled. "gone": it does not, and nothing
            says how it ended.
        rest_add: as `add`.
    """

    add: str = "rejected"
    other: str = "open"
    rest_add: str = "rejected"
    token: bool = False


REFUSED = Meant()
DOUBTED = Meant("unknown", "open", "unknown")
GONE = Meant("rejected", "gone", "rejected")
TOKEN = Meant(token=True)

MEANT = {
    "EGeneral:Invalid arguments": REFUSED,
    "EGeneral:Invalid arguments:volume": REFUSED,
    "EGeneral:Invalid arguments:price": REFUSED,
    "EGeneral:Invalid arguments:cl_ord_id": REFUSED,
    "EGeneral:Invalid arguments:cl_ord_id not unique": DOUBTED,  # one of that id is open, and no other order has it
    "EGeneral:Invalid arguments:volume minimum not met": REFUSED,
    "EGeneral:Invalid arguments:Index unavailable": REFUSED,
    "EGeneral:Permission denied": REFUSED,
    "EGeneral:Temporary lockout": REFUSED,
    "EGeneral:Internal error": DOUBTED,
    "EGeneral:Internal error:17": DOUBTED,
    "EGeneral:Too many requests": REFUSED,
    "EGeneral:Unknown method": REFUSED,
    "EAPI:Invalid key": REFUSED,
    "EAPI:Invalid signature": REFUSED,
    "EAPI:Invalid nonce": DOUBTED,  # what the second of two copies of one request gets
    "EAPI:Rate limit exceeded": REFUSED,
    "EAPI:Invalid token": TOKEN,
    "EAPI:Feature disabled": REFUSED,
    "EAPI:Bad request": REFUSED,
    "EAuth:Account temporary disabled": REFUSED,
    "EAuth:Account unconfirmed": REFUSED,
    "EAuth:Rate limit exceeded": REFUSED,
    "EAuth:Too many requests": REFUSED,
    "EAccount:Invalid permissions": REFUSED,
    "ESession:Invalid session": TOKEN,
    "EService:Unavailable": DOUBTED,
    "EService:Busy": DOUBTED,
    "EService:Timeout": DOUBTED,
    "EService:Deadline elapsed": REFUSED,
    "EService:Market in cancel_only mode": REFUSED,
    "EService:Market in post_only mode": REFUSED,
    "EService:Market in limit_only mode": REFUSED,
    "EService:Throttled: 1790359841": REFUSED,
    "EOrder:Rate limit exceeded": REFUSED,
    "EOrder:Domain rate limit exceeded": REFUSED,
    "EOrder:Orders limit exceeded": REFUSED,
    "EOrder:Insufficient funds": REFUSED,
    "EOrder:Order minimum not met": REFUSED,
    "EOrder:Cost minimum not met": REFUSED,
    "EOrder:Tick size check failed": REFUSED,
    "EOrder:Invalid price": REFUSED,
    "EOrder:Post only order": REFUSED,
    "EOrder:Unknown order": GONE,
    "EOrder:Invalid order": GONE,
    "EOrder:Unknown position": REFUSED,
    "EOrder:Cannot open position": REFUSED,
    "EOrder:Cannot open opposing position": REFUSED,
    "EOrder:Margin allowance exceeded": REFUSED,
    "EOrder:Margin level too low": REFUSED,
    "EOrder:Margin position size exceeded": REFUSED,
    "EOrder:Insufficient margin": REFUSED,
    "EOrder:Positions limit exceeded": REFUSED,
    "EOrder:Reduce only:No position exists": REFUSED,
    "EOrder:Reduce only:Position is closed": REFUSED,
    "EOrder:Reduce only:Non-PC": REFUSED,
    "EOrder:Scheduled orders limit exceeded": REFUSED,
    "EQuery:Unknown asset pair": REFUSED,
    "EQuery:Invalid asset pair": REFUSED,
    "EQuery:Unknown asset": REFUSED,
    "ETrade:Invalid request": REFUSED,
    "ETrade:Locked": REFUSED,
    "ETrade:User Locked": REFUSED,
    "EBM:limit exceeded:CAL": REFUSED,
    "EFunding:Unknown withdraw key": REFUSED,
    "EOrder:No amendable parameters specified": REFUSED,
    # Texts without a category. Those that tell what is wrong with the request: it was not carried out.
    "No amendable parameters": REFUSED,
    "Unsupported field: 'price' for the given msg type: add order": REFUSED,
    "Malformed request": REFUSED,
    "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com": REFUSED,
    # Those that tell of a subscription, and texts that nobody has seen yet: of an order nothing is concluded from them.
    "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com": DOUBTED,
    "Subscription name invalid": DOUBTED,
    "Subscription depth not supported": DOUBTED,
    "Subscription ohlc interval not supported": DOUBTED,
    "Currency pair not supported XBT/USD": DOUBTED,
    "Symbol(s) not found": DOUBTED,
    "Already subscribed": DOUBTED,
    "Subscription Not Found": DOUBTED,
    "EOrder:Something new": DOUBTED,
    "EService:Market in maintenance mode": DOUBTED,
    "EWhat:Never heard": DOUBTED,
    "nonsense": DOUBTED,
}
UNLISTED = tuple(MEANT)[-4:]
# What texts are counted as that end in a detail without a colon before it, or have more of them.
COUNTED_AS = {
    "EOrder:No amendable parameters specified": "EOrder:No amendable parameters",
    "Unsupported field: 'price' for the given msg type: add order": "Unsupported field",
    "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com":
        "Private data and trading are unavailable on this endpoint",
    "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com":
        "Public market data subscriptions are unavailable on this endpoint",
    "Currency pair not supported XBT/USD": "Currency pair not supported",
}
LOCKED_OUT = "EGeneral:Temporary lockout"


def opened(**fields: Any) -> tuple[World, dict[str, Any]]:
    """A ready engine whose first opening has been sent and is not answered."""
    world = World(strategy="rehearsal", **fields).ready()
    return world, world.first_order()


def taken(world: World, order: dict[str, Any]) -> None:
    """The venue takes the order."""
    world.reply(order)
    world.report("new", order)


def told(world: World, text: str) -> bool:
    """Whether an error text was put into the log."""
    return any(fields.get("error") == text for _, _, fields in world.engine.notes)


def reconnects(world: World) -> bool:
    """Whether the private socket is asked to be closed for its token, so that the next one has a new one."""
    world.step()
    return any(link == Link.LINK_PRIVATE and "token" in reason for link, reason in world.engine.close_links)


def counted(world: World) -> dict[str, int]:
    """Errors as `status` and the metrics have them."""
    process = {"journal": {}, "reconnects": {}, "children": {}, "venue_errors": Counter(),
               "scorer": {"state": "off", "reason": "", "version": None}}
    return LiveView(world.engine, pid=0, mono_ns=lambda: world.mono_ns, process=lambda: process).status()["venue_errors"]


def name_of(text: str) -> str:
    """What an error is counted as: its text without details; of the domain of funding, which trades nothing, the domain."""
    if text.startswith("EFunding:"):
        return "EFunding"
    if text in COUNTED_AS:
        return COUNTED_AS[text]
    return "other" if text in UNLISTED else ":".join(text.split(":")[:2])


@pytest.mark.parametrize("text", MEANT)
def test_an_opening_that_the_venue_answers_with_an_error(text: str) -> None:
    """Rejected, it ends with the text; in doubt it counts in full and is looked up. It is never sent a second time."""
    world, order = opened()
    world.answering = False
    world.refuse(order["req_id"], text)
    assert told(world, text)
    if MEANT[text].add == "unknown":
        (live,) = world.live()
        assert live["state"] == OrderState.ORDER_UNKNOWN and world.core.exposure() > 0
        assert world.engine.tracker.want_reconcile and world.engine.tracker.rejected_count == 0
    else:
        assert not world.live() and world.core.exposure() == 0 and world.engine.tracker.rejected_count == 1
        ended = world.engine.tracker.history[order["cl_ord_id"]]
        assert (ended["state"], ended["reason"]) == (OrderState.ORDER_REJECTED, text)
    assert reconnects(world) is MEANT[text].token
    ids = [json.loads(frame)["params"]["cl_ord_id"] for frame in world.order_frames(OrderAction.ACTION_ADD)]
    assert ids.count(order["cl_ord_id"]) == 1
    assert counted(world) == {name_of(text): 1}
    world.sound()


@pytest.mark.parametrize("text", MEANT)
def test_an_amend_that_the_venue_answers_with_an_error(text: str) -> None:
    """The order counts in its larger quantity and is canceled; one that is gone is unknown and looked up."""
    world, order = opened()
    taken(world, order)
    request = tighten(world)
    world.answering = False
    world.refuse(request["req_id"], text, "amend_order")
    (live,) = world.live()
    assert told(world, text) and live["leaves_raw"] == order["qty_raw"]
    if MEANT[text].other == "gone":
        assert live["state"] == OrderState.ORDER_UNKNOWN and world.engine.tracker.want_reconcile
        assert not world.order_frames(OrderAction.ACTION_CANCEL)
    else:
        assert live["state"] == OrderState.ORDER_CANCEL_PENDING and live["amend_qty_raw"] == 0
        (frame,) = world.order_frames(OrderAction.ACTION_CANCEL)
        assert json.loads(frame)["params"]["cl_ord_id"] == [order["cl_ord_id"]]
    assert reconnects(world) is MEANT[text].token
    world.sound()


@pytest.mark.parametrize("text", MEANT)
def test_a_cancel_that_the_venue_answers_with_an_error(text: str) -> None:
    """The order stays open and the cancel goes again within seconds; one that is gone is unknown and looked up."""
    world, order = opened()
    taken(world, order)
    world.answering = False
    world.command("pause")
    (frame,) = world.order_frames(OrderAction.ACTION_CANCEL)
    world.refuse(json.loads(frame)["req_id"], text, "cancel_order")
    (live,) = world.live()
    assert told(world, text) and live["leaves_raw"] == order["qty_raw"]
    gone = MEANT[text].other == "gone"
    assert live["state"] == (OrderState.ORDER_UNKNOWN if gone else OrderState.ORDER_OPEN)
    assert world.engine.tracker.want_reconcile is gone
    assert reconnects(world) is MEANT[text].token
    for _ in range(8):
        world.step()
        world.tick()
    assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == (1 if gone else 2)
    world.sound()


@pytest.mark.parametrize("text", MEANT)
def test_an_exit_by_rest_that_the_venue_answers_with_an_error(text: str) -> None:
    """Rejected, it ends with the text; in doubt it keeps reserved what it would sell, and is looked up. Its id goes out once."""
    world, venue = holding()
    sent: list[str] = []

    def refuse(params: dict[str, str]) -> str:
        sent.append(params["cl_ord_id"])
        return text

    world.rest["AddOrder"] = refuse
    private_down(world)
    eventually_public(world, lambda: bool(sent))
    tracker, exits = world.engine.tracker, world.engine.rest_exits
    if MEANT[text].rest_add == "unknown":
        (live,) = world.live()
        assert (live["cl_ord_id"], live["state"]) == (sent[0], OrderState.ORDER_UNKNOWN)
        assert exits.unconfirmed_count == 1 and tracker.rejected_count == 0 and told(world, text)
        assert live["leaves_raw"] == world.engine.ledger.positions[0].qty_raw
    else:
        ended = tracker.history[sent[0]]
        assert (ended["state"], ended["reason"]) == (OrderState.ORDER_REJECTED, text)
        assert exits.unconfirmed_count == 0 and tracker.rejected_count == 1
    pass_public(world, 8)
    assert len(set(sent)) == len(sent), "an exit was sent again under its id"
    assert not venue.orders and len(sent) < 5
    assert counted(world)[name_of(text)] >= len(sent)
    if MEANT[text].rest_add == "unknown":
        methods = [method for method, _ in world.asked]
        assert "OpenOrders" in methods[methods.index("AddOrder"):], "looked up"


@pytest.mark.parametrize("text", MEANT)
def test_a_cancel_by_rest_that_the_venue_answers_with_an_error(text: str) -> None:
    """Whatever the text, the order counts and is looked up, and the cancel goes again; a locked-out key waits its time."""
    world, order = resting()
    world.rest["CancelOrder"] = text
    down(world)
    pass_without_private(world, 4)
    (live,) = world.live()
    assert told(world, text) and live["state"] == OrderState.ORDER_UNKNOWN
    assert live["leaves_raw"] == order["qty_raw"]
    assert len(cancels(world)) == 1
    pass_without_private(world, 20)
    assert (len(cancels(world)) == 1) is (text == LOCKED_OUT)
    assert len(cancels(world)) <= 5
    assert ("OpenOrders", {}) in world.asked or text == LOCKED_OUT
    assert [live["cl_ord_id"] for live in world.live()] == [order["cl_ord_id"]]
    world.sound()


# What comes instead of an answer.

NO_ANSWER = {
    "bad gateway": Answer(502, "<html>502 Bad Gateway</html>"),
    "cloudflare": Answer(520, "error code: 520"),
    "empty body": Answer(200, ""),
    "no JSON": Answer(200, "<html>"),
    "a list": Answer(200, "[]"),
    "not the venue's": Answer(429, '{"error":[],"result":{"count":1,"txid":["OXXXXX-XXXXX-XXXXXX"]}}'),
    "timeout": Answer(0, "", "TimeoutError"),
    "reset": Answer(0, "", "ConnectionResetError: [Errno 104]"),
    "status 0": Answer(),
    "two errors": Answer(200, '{"error":["EOrder:Insufficient funds","EService:Timeout"]}'),
    "no order named": Answer(200, '{"error":[],"result":{}}'),
    "no word": NO_WORD,
}


@pytest.mark.parametrize("answer", NO_ANSWER.values(), ids=NO_ANSWER)
@pytest.mark.parametrize("executed", [True, False], ids=["executed", "lost"])
def test_an_exit_by_rest_without_an_answer(answer: Answer, *, executed: bool) -> None:
    """Unknown, never sent again under its id. What was executed is found and booked; of what was lost the balance decides."""
    world, venue = holding()
    quantity = world.engine.ledger.positions[0].qty_raw
    sent: list[str] = []
    take = venue.add
    venue.shows = False

    def lose(params: dict[str, str]) -> Any:
        sent.append(params["cl_ord_id"])
        if executed:
            take(params)
        world.rest["AddOrder"] = take
        return answer

    world.rest["AddOrder"] = lose
    private_down(world)
    eventually_public(world, lambda: bool(sent))
    (live,) = world.live()
    assert (live["cl_ord_id"], live["leaves_raw"]) == (sent[0], quantity)
    pass_public(world, 6)  # as long as a reply is waited for
    assert world.engine.rest_exits.unconfirmed_count == 1 and world.engine.tracker.rejected_count == 0
    venue.shows = True
    pass_public(world, 30)
    ids = [params["cl_ord_id"] for params in venue.orders]
    assert len(ids) == 1 and (ids == sent) is executed, "sold once"
    assert world.engine.ledger.positions[0].qty_raw == 0 and len(world.engine.ledger.fills) == 2
    assert world.engine.tracker.contradiction_count == 0


@pytest.mark.parametrize("answer", NO_ANSWER.values(), ids=NO_ANSWER)
def test_a_cancel_by_rest_without_an_answer(answer: Answer) -> None:
    """The order counts until the look-ups show its end; the same cancel goes again, and nothing is concluded from silence."""
    world, order = resting()
    world.rest["CancelOrder"] = answer
    down(world)
    pass_without_private(world, 12)
    (live,) = world.live()
    assert (live["state"], live["leaves_raw"]) == (OrderState.ORDER_UNKNOWN, order["qty_raw"])
    assert len(cancels(world)) == 2
    world.rest["ClosedOrders"] = {"count": 1, "closed": {"OAAAAA-BBBBB-CCCCCC": {
        "cl_ord_id": order["cl_ord_id"], "status": "canceled", "vol_exec": "0.00000000", "reason": "User requested",
        "opentm": order["sent_wall_ns"] / S, "vol": "1", "descr": {"pair": "XBTUSD", "type": "buy", "price": "1"}}}}
    pass_without_private(world, 12)
    assert not world.live()
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_CANCELED
    world.sound()


@pytest.mark.parametrize("shown", [True, False], ids=["still open", "gone meanwhile"])
def test_a_refused_token_ends_with_the_order_gone(*, shown: bool) -> None:
    """The cancel met a refused token: on the next socket the order is canceled again, or its end is looked up."""
    world, order = opened()
    taken(world, order)
    world.command("pause")
    (frame,) = world.order_frames(OrderAction.ACTION_CANCEL)
    world.refuse(json.loads(frame)["req_id"], "ESession:Invalid session", "cancel_order")
    assert reconnects(world)
    row = {"cl_ord_id": order["cl_ord_id"], "vol_exec": "0.00000000", "opentm": order["sent_wall_ns"] / S, "vol": "1",
           "reason": "User requested", "descr": {"pair": "XBTUSD", "type": "buy", "price": "1"}}
    if shown:
        world.open_orders = [{"exec_type": "status", "order_id": "OAAAAA-BBBBB-CCCCCC", "cl_ord_id": order["cl_ord_id"],
                              "order_status": "new", "cum_qty": 0}]
        world.rest["OpenOrders"] = {"open": {"OAAAAA-BBBBB-CCCCCC": row | {"status": "open"}}}
    else:
        world.rest["ClosedOrders"] = {"count": 1, "closed": {"OAAAAA-BBBBB-CCCCCC": row | {"status": "canceled"}}}
    world.link(Link.LINK_PRIVATE, up=False, reason="token refused")
    before = len(world.order_frames(OrderAction.ACTION_CANCEL))
    world.link(Link.LINK_PRIVATE, up=True)
    for _ in range(4):
        world.step()
        world.tick()
    if shown:
        assert len(world.order_frames(OrderAction.ACTION_CANCEL)) == before + 1
        world.report("canceled", order, cum_qty="0")
    eventually(world, lambda: not world.live())
    assert world.engine.tracker.history[order["cl_ord_id"]]["state"] == OrderState.ORDER_CANCELED


@pytest.mark.parametrize(("text", "way"), [
    ("EOrder:Insufficient funds", "add_order"), ("EService:Timeout", "add_order"), ("EWhat:Never heard", "add_order"),
    ("EOrder:Unknown order", "cancel_order"), ("EOrder:Rate limit exceeded", "cancel_order"),
    ("EAPI:Invalid token", "cancel_order")])
def test_the_journal_tells_the_same(tmp_path: Path, text: str, way: str) -> None:
    """What an error made of an order is what a replay of the journal makes of it."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 26, segment_bytes=1 << 26,
                      sync_interval_ms=20) as journal:
        world = World(practice_config(), strategy=None, journal=journal).ready()
        order = world.first_order()
        if way == "add_order":
            world.refuse(order["req_id"], text)
        else:
            taken(world, order)
            world.command("pause")
            world.refuse(order["req_id"] + 1, text, way)
        for _ in range(12):
            world.step()
            world.tick()
        journal.sync()
        again = replayed(tmp_path / "journal").engine
    assert not again.core.fault
    assert [again.core.order(index) for index in again.core.live_orders()] == world.live()
    assert again.tracker.history == world.engine.tracker.history
    assert again.tracker.notes == world.engine.tracker.notes
    assert again.recorder.hexdigest() == world.recorder.hexdigest()


# What is not on record does not happen.


def fill_ring(journal: Any) -> None:
    """Leave no room for any record: the writer frees none before its interval is over."""
    journal.sync()
    for size in (60_000, 1_000, 0):
        with pytest.raises(BufferError, match="no room"):
            while True:
                journal.append_py(2, 0, 0, 0, bytes(size))


def handed_over(world: World) -> int:
    """Order frames that the gateway handed to its port. The port of a test refuses each, and each refusal is counted."""
    return world.counters()["send_refused"]


@pytest.mark.parametrize("action", ["add", "amend", "cancel", "cancel_all"])
@pytest.mark.parametrize("how", ["full", "closed"])
def test_without_a_record_nothing_leaves_by_the_socket(tmp_path: Path, how: str, action: str) -> None:
    """A journal that takes no record: no frame reaches the port, the fault is counted, and the engine halts and says why."""
    with open_journal(tmp_path / "journal", tmp_path / "journal.ring", ring_bytes=1 << 24, segment_bytes=1 << 26,
                      sync_interval_ms=60_000) as journal:
        world = World(practice_config(), strategy=None, journal=journal).ready()
        if action != "add":
            taken(world, world.first_order())
            assert handed_over(world) == 1
        if how == "full":
            fill_ring(journal)
        else:
            journal.close()
        left, tried = handed_over(world), len(world.order_frames())
        if action == "cancel":
            assert world.core.cancel_order(world.core.live_orders()[0], 0)
        elif action == "cancel_all":
            world.core.cancel_all()
        if action.startswith("cancel"):
            assert len(world.order_frames()) == tried + 1 and world.counters()["journal_faults"] == 1
        if action == "amend":
            limits = limits_row(world.cfg, world.names[0]).copy()
            limits["position_max_bps"] = TIGHT_BPS
            world.core.set_limits(0, limits)
        for _ in range(40 if action == "add" else 12):
            world.step()
            world.tick()
        assert handed_over(world) == left, "a frame was handed to the port"
        assert world.counters()["journal_faults"] > 0 and world.recorder.failed
        assert (world.engine.state, world.engine.state_reason) == ("halted", "journal failed")
        assert len(world.live()) == (action != "add")
