"""Whatever comes in whatever order, the machines hold their tables, their bounds and their repeatability."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cstd.venue.control import CONTROL_REQ_ID_FIRST, is_control
from cstd.venue.messages import decode_private, decode_public
from cstd.venue.private import PrivateMachine
from cstd.venue.public import PublicMachine
from cstd.venue.subscriptions import State

S = 10**9
NAMES = ("BTC/USD", "ETH/USD", "SOL/USD")
ERRORS = ("Subscription depth not supported", "Already subscribed", "Subscription Not Found", "EAPI:Invalid token",
          "ESession:Invalid session", "EService:Busy", "")


def pair(name: str, precision: int) -> dict[str, Any]:
    base, quote = name.split("/")
    return {"symbol": name, "base": base, "quote": quote, "status": "online", "qty_precision": 8, "qty_increment": 1e-8,
            "price_precision": precision, "price_increment": 1, "qty_min": 1, "cost_min": 0.5}


def ack(method: str, first_req_id: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda offset, name, error, named: {"method": method, "req_id": first_req_id + offset, "success": not error}
        | ({"error": error} if error else {}) | ({"symbol": name} if named else {}),
        st.integers(0, 40), st.sampled_from(NAMES), st.sampled_from(ERRORS), st.booleans())


PUBLIC_FRAMES = st.one_of(
    ack("subscribe", 1), ack("unsubscribe", 1),
    st.builds(lambda kind, names, precision: {"channel": "instrument", "type": kind, "data": {
        "assets": [], "pairs": [pair(name, precision) for name in names]}},
        st.sampled_from(["snapshot", "update"]), st.sets(st.sampled_from(NAMES)), st.integers(0, 2)),
    st.builds(lambda kind, name, broken: {"channel": "book", "type": kind, "data": [
        {"symbol": name, "bids": [{"price": "x"}] if broken else [], "asks": [], "checksum": 1}]},
        st.sampled_from(["snapshot", "update"]), st.sampled_from([*NAMES, "NEW/USD"]), st.booleans()),
    st.sampled_from([{"Error": "Exceeded msg rate"}, {"channel": "heartbeat"}, {"channel": "new"}]),
)
PRIVATE_FRAMES = st.one_of(
    ack("subscribe", CONTROL_REQ_ID_FIRST), ack("unsubscribe", CONTROL_REQ_ID_FIRST),
    ack("cancel_all_orders_after", CONTROL_REQ_ID_FIRST), ack("add_order", 1),
    st.builds(lambda channel, kind, sequence: {"channel": channel, "type": kind, "sequence": sequence, "data": []},
              st.sampled_from(["executions", "balances"]), st.sampled_from(["snapshot", "update"]), st.integers(1, 5)),
    st.sampled_from([{"Error": "Exceeded msg rate"}, {"channel": "executions", "type": "update", "data": 7}]),
)
STEPS = st.sampled_from(["up", "down", "timer", "resync", "arm", "disarm"])
WAITS = st.sampled_from([0, S // 100, S, 5 * S, 11 * S, 61 * S])


def drive(machine: PublicMachine | PrivateMachine, steps: list[Any]) -> list[bytes]:
    """Feed steps and return everything sent; each frame must be one the link lets out. What a machine lacks is a timer."""
    decode: Any = decode_public if isinstance(machine, PublicMachine) else decode_private
    now_ns, sent = 0, []
    for wait_ns, step in steps:
        now_ns += wait_ns
        if step == "up":
            machine.on_up(now_ns)
        elif step == "down":
            machine.on_down(now_ns)
        elif step == "resync" and isinstance(machine, PublicMachine):
            machine.resync("BTC/USD", "checksum", now_ns)
        elif step == "arm" and isinstance(machine, PrivateMachine):
            machine.arm(60, now_ns)
        elif step == "disarm" and isinstance(machine, PrivateMachine):
            machine.disarm(now_ns)
        elif isinstance(step, dict):
            machine.on_frame_seen(now_ns)
            for message in decode(json.dumps(step).encode()):
                machine.on_message(message, now_ns)
        else:
            machine.on_timer(now_ns)
        sent += machine.take_out()
    assert all(is_control(frame) for frame in sent)
    return sent


@given(st.lists(st.tuples(WAITS, STEPS | PUBLIC_FRAMES), max_size=60))
def test_public_machine_takes_any_order(steps: list[Any]) -> None:
    """No order of events leaves the table, and equal events give equal frames."""
    steps = [(0, "up"), *steps]
    assert drive(PublicMachine(NAMES, 25), steps) == drive(PublicMachine(NAMES, 25), steps)


@given(st.lists(st.tuples(WAITS, STEPS | PRIVATE_FRAMES), max_size=60))
def test_private_machine_takes_any_order(steps: list[Any]) -> None:
    """No order of events leaves the table; ready means both snapshots came on this connection."""
    steps = [(0, "up"), *steps]
    machine = PrivateMachine()
    assert drive(machine, steps) == drive(PrivateMachine(), steps)
    assert not machine.ready or (machine.snapshot_seen("executions") and machine.snapshot_seen("balances"))


@given(st.lists(st.tuples(WAITS, STEPS | PUBLIC_FRAMES), max_size=40))
def test_public_machine_always_recovers(steps: list[Any]) -> None:
    """After any trouble, a venue that answers everything brings every subscription back to life."""
    machine = PublicMachine(NAMES, 25)
    drive(machine, [(0, "up"), *steps])
    now_ns = 10**6 * S
    machine.on_down(now_ns)
    machine.on_up(now_ns)
    for _ in range(400):
        now_ns += S // 2
        machine.on_frame_seen(now_ns)
        machine.on_timer(now_ns)
        for frame in machine.take_out():
            answer(machine, json.loads(frame), now_ns)
        if all(row["state"] == State.LIVE.value for row in machine.status()["not_live"]):
            break
    assert machine.status()["not_live"] == []


def answer(machine: PublicMachine, request: dict[str, Any], now_ns: int) -> None:
    """Do as a healthy venue does: acknowledge each name and send its snapshot."""
    if request["method"] == "ping":
        return
    channel = request["params"]["channel"]
    for name in request["params"].get("symbol", [""]):
        frames: list[dict[str, Any]] = [{"method": request["method"], "req_id": request["req_id"], "success": True,
                                         "result": {"channel": channel, "symbol": name}}]
        row: dict[str, Any] = {"symbol": name}
        if channel == "instrument":
            data: Any = {"assets": [], "pairs": [pair(each, 1) for each in NAMES]}
        else:
            if channel == "ohlc":
                row |= {"interval": request["params"]["interval"], "interval_begin": "2026-08-26T15:16:00Z", "open": 1,
                        "high": 1, "low": 1, "close": 1, "volume": 1}
            data = [row]
        if request["method"] == "subscribe" and channel != "trade":
            frames.append({"channel": channel, "type": "snapshot", "data": data})
        for frame in frames:
            for message in decode_public(json.dumps(frame).encode()):
                machine.on_message(message, now_ns)
