"""Each point where sources about the venue disagree, read each way, in a session of its own: the point came up, and all agrees.

The session is the simulation's: the engine and the practice exchange in one process on a virtual clock, judged to the last raw
unit of fills, orders, positions, coins and cash. A table of the points stands in docs/practice.md.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from decimal import Decimal
from functools import cache
from itertools import product
from typing import Any

import msgspec
import pytest

from cstd._fast.codes import EventKind, IntentKind, Link, OrderState
from cstd.config import Config, load, template
from cstd.practice.faults import LostAck
from cstd.practice.readings import VALUES, Readings, Value
from tests.simulation.faults import ABSENT_S, Break
from tests.simulation.simulated import QUICK, Simulation
from tests.simulation.wires import S

SEED, SECONDS = 12, 25  # since orders follow a price, no cancel of seed 11 comes to an order that is gone: see SIGNS
# What the daemon's own session comes to, and what it asks of the venue there.
MET = ("heartbeat_always", "status_repeats", "small_numbers_as_exponents", "book_updates_paired", "rate_count_field",
       "gone_order_is_invalid", "events_before_reply", "closed_orders_cost", "public_rest_limited", "depth_volume_exact",
       "private_events_whole", "symbols_max", "amend_loses_place")
# Points that the daemon's requests come to, and that it keeps clear of: it sends what both readings take.
KEPT_CLEAR = ("request_exponents_refused", "sell_fee_in_base", "cl_ord_id_upper_refused", "cl_ord_id_marks_refused",
              "amend_qty_required", "time_in_force_any_case")
# Points that it never comes to: nothing it sends or asks depends on them.
NEVER = ("duplicate_subscribe_refused", "batch_failure_in_orders", "query_orders_max", "trade_volume_underscores",
         "asset_pairs_fees", "rights_by_name", "funding_time_relative")
# What only one reading can have put into the journal, by point and value: event, link, a piece of its bytes.
FRAME, REPLY = EventKind.EVENT_FRAME, EventKind.EVENT_REST_REPLY
SIGNS: dict[tuple[str, Value], tuple[EventKind, bytes]] = {
    ("small_numbers_as_exponents", True): (FRAME, b"e-05"),
    ("rate_count_field", "ratecount"): (FRAME, b'"ratecount":'),
    ("rate_count_field", "ratecounter"): (FRAME, b'"ratecounter":'),
    ("gone_order_is_invalid", False): (FRAME, b'"error":"EOrder:Unknown order"'),
    ("gone_order_is_invalid", True): (FRAME, b'"error":"EOrder:Invalid order"'),
    ("public_rest_limited", True): (REPLY, b"EGeneral:Too many requests"),
}


@cache
def config() -> Config:
    """The simulation's, with books audited often."""
    cfg = load([str(template("practice"))], {**QUICK, "CSTD__VENUE__UNKNOWN_ABSENT_S": str(ABSENT_S),
                                             "CSTD__INSTRUMENTS__AUDIT_INTERVAL_S": "10"})
    return msgspec.structs.replace(cfg, futures=None)  # as the simulation's own


def with_reading(name: str, value: Value) -> Readings:
    """The readings with one of them set."""
    return dataclasses.replace(Readings(), **{name: value}, met=Counter())  # type: ignore[arg-type]


def tighten(world: Simulation) -> None:
    """Once an opening rests, an operator lowers the limit of a position below it for a while, so that it is amended."""
    live = [world.engine.core.order(index) for index in world.engine.core.live_orders()] if world.alive else []
    if not any(order["state"] == OrderState.ORDER_OPEN and order["kind"] == IntentKind.OPENING for order in live):
        world.at(world.now_ns + S // 10, lambda: tighten(world))
        return
    assert "error" not in world.command("limits_set", key="risk.position_bps_max", value="15", reason="a reading's test")
    world.at(world.now_ns + 3 * S, lambda: world.command("limits_reset", key="risk.position_bps_max"))


def session(readings: Readings) -> Simulation:
    """A judged session: an amend; cancels whose replies are lost, and so asked again; a new private socket; a limit used up."""
    faults = [LostAck(at_s=0.5, method="cancel_order", count=6), Break(at_s=12.0, server="ws_private")]
    world = Simulation(SEED, faults, readings=readings, cfg=config())
    if readings.public_rest_limited:
        for n in range(SECONDS * 2):
            world.at(world.now_ns + n * S // 2, world.rest.public_call_allowed)
    world.at(world.now_ns + S, lambda: tighten(world))
    return world.run(SECONDS)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in (*MET, *KEPT_CLEAR) for value in VALUES[name]])
def test_each_reading_of_each_point(name: str, value: Value) -> None:
    """The point came up in the session, as it is read here, and both sides agree on all orders, fills and balances."""
    world = session(with_reading(name, value))
    readings = world.exchange.readings
    assert getattr(readings, name) == value
    assert readings.met[name] > 0
    if (name, value) in SIGNS:
        kind, sign = SIGNS[name, value]
        assert any(entry[0] == kind and sign in entry[4] for entry in world.journal), sign
    assert world.exchange.account.fills and not any(readings.met[never] for never in NEVER)
    counters = world.engine.core.counter_values()
    assert counters["checksums_bad"] == counters["malformed"] == 0
    assert counters["checksums_ok"] == counters["book_updates"] > 0
    assert world.engine.tracker.rejected_count == 0


def test_every_point_is_in_one_of_the_lists() -> None:
    """A new switch is tried by each of its values, or it is said why it need not be."""
    assert sorted((*MET, *KEPT_CLEAR, *NEVER)) == sorted(VALUES)


def test_replies_and_events_come_in_either_order() -> None:
    """Events before the reply: the report that an order is open is read before the reply that names it; and the other way."""
    for early in (False, True):
        world = session(with_reading("events_before_reply", early))
        frames = [json.loads(entry[4]) for entry in world.journal if entry[:2] == (FRAME, Link.LINK_PRIVATE)]
        replied = next(n for n, frame in enumerate(frames) if frame.get("method") == "add_order")
        told = next(n for n, frame in enumerate(frames) if frame.get("channel") == "executions" and frame["type"] == "update")
        assert (told < replied) is early


def test_pairs_of_updates_come_in_one_frame() -> None:
    """Two entries in `data`, each with its checksum; by default one."""
    for paired in (False, True):
        world = session(with_reading("book_updates_paired", paired))
        updates = [entry[4] for entry in world.journal if entry[0] == FRAME and b'"book","type":"update"' in entry[4]]
        assert any(text.count(b'"checksum":') == 2 for text in updates) is paired


def sent() -> list[tuple[str, dict[str, Any]]]:
    """(method, params) of everything that reached the venue by websocket in a session."""
    return [(frame["method"], frame.get("params", {})) for text in session(Readings()).delivered
            if (frame := json.loads(text))]


ADD = {"order_type", "side", "symbol", "order_qty", "limit_price", "time_in_force", "expire_time", "post_only", "stp_type",
       "fee_preference", "cl_ord_id", "deadline", "token"}


def test_what_the_daemon_sends_means_one_thing_in_every_reading() -> None:
    """No close that an order brings along, no other keys than these; the fee's currency named with each order; lower case, plain
    letters and digits; a quantity with each amend; no batch, and nothing subscribed twice."""
    frames = sent()
    assert {method for method, _ in frames} <= {"subscribe", "unsubscribe", "ping", "add_order", "amend_order", "cancel_order",
                                                "cancel_all", "cancel_all_orders_after"}
    orders = [params for method, params in frames if method == "add_order"]
    assert {params["side"] for params in orders} == {"buy", "sell"}
    for params in orders:
        assert params.keys() <= ADD
        assert params["fee_preference"] == "quote"
        assert params["time_in_force"] in ("gtd", "ioc")
        assert params["cl_ord_id"].isalnum() and params["cl_ord_id"] == params["cl_ord_id"].lower()
        assert len(params["cl_ord_id"]) <= 18
    amends = [params for method, params in frames if method == "amend_order"]
    assert amends and all("order_qty" in params for params in amends)
    for method, params in frames:
        if method == "subscribe":
            assert len(params.get("symbol", [])) <= 50


def test_cash_and_coins_agree_in_pairs_of_readings() -> None:
    """What changes the account's own messages, together: order of events, whole events, the counter's name."""
    for early, whole in product((False, True), repeat=2):
        world = session(Readings(events_before_reply=early, private_events_whole=whole, rate_count_field="ratecounter"))
        assert world.engine.reconciler.balances.cash.own == Decimal(10_000)
