"""The private machine watches sequences, sorts replies and keeps the dead man's switch armed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cstd.errors import InvariantError
from cstd.venue.control import CONTROL_REQ_ID_FIRST, is_control
from cstd.venue.errors_table import ERRORS, RetryClass, classify, outcome_unknown, throttled_until_s
from cstd.venue.messages import (
    Ack,
    BalancesMessage,
    ExecutionsMessage,
    Malformed,
    RequestError,
    decode_private,
)
from cstd.venue.private import (
    ChannelFault,
    Deadman,
    OrderReply,
    PrivateMachine,
    SubscriptionRefused,
    TierKnown,
    TokenStale,
    Unanswered,
)

S = 10**9


def frames(machine: PrivateMachine) -> list[dict[str, Any]]:
    """Take out what the machine sends, decoded; each must be a control frame the link would let through."""
    sent = machine.take_out()
    assert all(is_control(frame) for frame in sent)
    return [json.loads(frame) for frame in sent]


def executions(sequence: int, *, snapshot: bool = False) -> ExecutionsMessage:
    return ExecutionsMessage(sequence, snapshot, ())


def started(now_ns: int = 0) -> PrivateMachine:
    """Return a machine with both channels acknowledged and their snapshots in."""
    machine = PrivateMachine()
    machine.on_up(now_ns)
    for request in frames(machine):
        machine.on_message(Ack(request["req_id"], "subscribe", True, {}, channel=request["params"]["channel"]), now_ns)
    machine.on_message(executions(1, snapshot=True), now_ns)
    machine.on_message(BalancesMessage(1, True, ()), now_ns)
    assert machine.ready
    return machine


def test_start_asks_for_both_channels_with_a_place_for_the_token() -> None:
    """Executions with orders, trades and rate counter, and balances; the token is left empty and comes last."""
    machine = PrivateMachine()
    machine.on_up(0)
    first, second = machine.take_out()
    assert first == (b'{"method":"subscribe","params":{"channel":"executions","snap_orders":true,"snap_trades":true,'
                     b'"order_status":true,"ratecounter":true,"token":""},"req_id":1500000000}')
    assert json.loads(second)["params"] == {"channel": "balances", "snapshot": True, "token": ""}
    assert not machine.ready


def test_ready_needs_both_snapshots() -> None:
    """One snapshot is not enough, and a lost connection takes readiness away."""
    machine = PrivateMachine()
    machine.on_up(0)
    machine.on_message(executions(1, snapshot=True), 0)
    assert not machine.ready
    machine.on_message(BalancesMessage(1, True, ()), 0)
    assert machine.ready
    machine.on_down(S)
    assert not machine.ready
    assert machine.want_reconcile


def test_sequence_gap_resubscribes_and_reconciles() -> None:
    """A jump is a fault; the message itself still counts, the channel does not until its next snapshot."""
    machine = started()
    machine.want_reconcile = False
    assert machine.on_message(executions(2), 0) == [executions(2)]
    assert machine.on_message(executions(4), 0) == [ChannelFault("executions", "sequence", 3, 4), executions(4)]
    assert machine.want_reconcile
    assert not machine.ready
    [leave] = frames(machine)
    assert (leave["method"], leave["params"]) == ("unsubscribe", {"channel": "executions", "token": ""})
    assert machine.on_message(executions(5), 0) == [executions(5)]
    machine.on_message(Ack(leave["req_id"], "unsubscribe", True, {}), 0)
    assert [frame["method"] for frame in frames(machine)] == ["subscribe"]
    machine.on_message(executions(1, snapshot=True), 0)
    assert machine.ready
    assert machine.on_message(executions(2), 0) == [executions(2)]


@pytest.mark.parametrize("got", [1, 2])
def test_repeated_sequence_is_a_fault_too(got: int) -> None:
    """A number that comes twice is not in order either."""
    machine = started()
    machine.on_message(executions(2), 0)
    assert machine.on_message(executions(got), 0)[0] == ChannelFault("executions", "sequence", 3, got)


def test_unreadable_private_frame_is_taken_for_a_lost_execution() -> None:
    """What cannot be read may have been a fill."""
    machine = started()
    machine.want_reconcile = False
    [fault] = machine.on_message(Malformed("truncated"), 0)
    assert isinstance(fault, ChannelFault)
    assert (fault.channel, machine.want_reconcile, machine.ready) == ("executions", True, False)


def test_order_replies_keep_what_decides_an_order() -> None:
    """Acceptance, refusal with its class, and the ids are handed on."""
    machine = started()
    [ok] = machine.on_message(*decode_private(
        b'{"method":"add_order","req_id":41,"result":{"order_id":"AA5JGQ-SBMRC-SCJ7J7","cl_ord_id":"c1"},'
        b'"success":true,"time_in":"2026-08-16T23:37:01.529313Z"}'), 0)
    assert ok == OrderReply(41, "add_order", True, "AA5JGQ-SBMRC-SCJ7J7", "c1", time_in_ns=1786923421529313000)
    [no] = machine.on_message(*decode_private(
        b'{"error":"EOrder:Insufficient funds","method":"add_order","req_id":41,"success":false}'), 0)
    assert (no.success, no.error, no.retry_class) == (False, "EOrder:Insufficient funds", RetryClass.NEVER)
    [count] = machine.on_message(*decode_private(
        b'{"method":"cancel_all","req_id":9,"result":{"count":11},"success":true}'), 0)
    assert count.count == 11


@pytest.mark.parametrize("result", [
    b'[{"order_id":"A"},{"error":"EOrder:Insufficient funds","success":false}]',
    b'{"orders":[{"order_id":"A"},{"error":"EOrder:Insufficient funds"}]}',
])
def test_batch_rows_succeed_or_fail_alone(result: bytes) -> None:
    """Both shapes of a batch reply give one outcome per order."""
    machine = started()
    frame = b'{"method":"batch_add","req_id":5,"success":true,"result":' + result + b"}"
    first, second = machine.on_message(*decode_private(frame), 0)
    assert (first.success, first.order_id, first.row) == (True, "A", 0)
    assert (second.success, second.error, second.row) == (False, "EOrder:Insufficient funds", 1)


@pytest.mark.parametrize("error", ["EAPI:Invalid token", "ESession:Invalid session"])
def test_stale_token_asks_for_a_new_connection(error: str) -> None:
    """A refused token closes the socket, whichever request it met."""
    machine = started()
    outcomes = machine.on_message(Ack(7, "add_order", False, error=error), 0)
    assert outcomes[1:] == [TokenStale(error)]
    assert error in machine.want_close
    machine = PrivateMachine()
    machine.on_up(0)
    request = frames(machine)[0]
    outcomes = machine.on_message(Ack(request["req_id"], "subscribe", False, error=error, channel="executions"), 0)
    assert outcomes == [SubscriptionRefused("executions", error), TokenStale(error)]


@pytest.mark.parametrize("error", ["Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com",
                                   "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
                                   "Subscription name invalid", "Unsupported field: 'x' for the given msg type: subscribe"])
def test_a_refused_private_channel_is_told_and_keeps_the_machine_from_being_ready(error: str) -> None:
    """No new token would help: the socket stays, the channel is asked for again, and without it nothing is ready."""
    machine = PrivateMachine()
    machine.on_up(0)
    refused, taken = frames(machine)[:2]
    outcomes = machine.on_message(Ack(refused["req_id"], "subscribe", False, error=error, channel="executions"), 0)
    assert outcomes == [SubscriptionRefused("executions", error)] and machine.want_close is None
    machine.on_message(Ack(taken["req_id"], "subscribe", True, {}, channel=taken["params"]["channel"]), 0)
    machine.on_message(BalancesMessage(1, True, ()), 0)
    assert not machine.ready
    machine.on_frame_seen(S)
    machine.on_timer(S, progressing=True)
    assert [frame["params"]["channel"] for frame in frames(machine) if frame["method"] == "subscribe"] == ["executions"]


def test_tier_and_dropped_requests_are_told() -> None:
    """The executions ack tells the account's rate threshold; an error without a request may have dropped an order."""
    machine = PrivateMachine()
    machine.on_up(0)
    request = frames(machine)[0]
    ack = Ack(request["req_id"], "subscribe", True, {"maxratecount": 125}, channel="executions")
    assert machine.on_message(ack, 0) == [TierKnown(125)]
    assert machine.rate_count_max == 125
    assert machine.on_message(RequestError("Exceeded msg rate"), 0) == [Unanswered("Exceeded msg rate")]


def reply(request: dict[str, Any], **changes: Any) -> Ack:
    """Return the venue's success reply to a cancel_all_orders_after."""
    result = {"currentTime": "2023-09-21T15:49:29Z", "triggerTime": "2023-09-21T15:50:29Z"}
    return Ack(request["req_id"], "cancel_all_orders_after", True, result | changes)


def test_deadman_is_armed_refreshed_and_alarms() -> None:
    """Armed by a success from its send time, refreshed at a quarter of the timeout, alarm after half of it."""
    machine = started()
    machine.arm(60, 10 * S)
    [request] = frames(machine)
    assert request["params"] == {"timeout": 60, "token": ""}
    assert not machine.deadman.armed(10 * S)
    assert machine.on_message(reply(request), 11 * S) == [Deadman(70 * S)]
    assert machine.deadman.armed(70 * S - 1)
    assert not machine.deadman.armed(70 * S)
    machine.on_frame_seen(24 * S)
    machine.on_timer(25 * S - 1)
    assert frames(machine) == []
    machine.on_timer(25 * S)
    assert [frame["method"] for frame in frames(machine)] == ["cancel_all_orders_after"]
    assert not machine.deadman.alarm(40 * S)
    assert machine.deadman.alarm(40 * S + 1)


def test_deadman_is_not_refreshed_without_progress() -> None:
    """An engine that stands still lets the venue's timer run out."""
    machine = started()
    machine.arm(60, 0)
    machine.on_message(reply(frames(machine)[0]), 0)
    for second in range(1, 61):
        machine.on_frame_seen(second * S)
        machine.on_timer(second * S, progressing=False)
    assert frames(machine) == []
    machine.on_timer(60 * S, progressing=True)
    assert len(frames(machine)) == 1


@pytest.mark.parametrize("answer", [
    {"triggerTime": "2023-09-21T15:49:29Z"},
    {"triggerTime": "soon"},
])
def test_deadman_success_must_mean_armed(answer: dict[str, str]) -> None:
    """A success whose trigger time is not in the future arms nothing and is tried again after 1 s."""
    machine = started()
    machine.arm(60, 0)
    [outcome] = machine.on_message(reply(frames(machine)[0], **answer), 0)
    assert outcome.armed_until_ns == 0
    assert "trigger time" in outcome.error
    machine.on_timer(S - 1)
    assert frames(machine) == []
    machine.on_timer(S)
    assert len(frames(machine)) == 1


def test_deadman_survives_a_reconnect_and_is_armed_first() -> None:
    """The venue's timer runs on while the socket is down; on the next socket arming comes before anything else."""
    machine = started()
    machine.arm(60, 0)
    machine.on_message(reply(frames(machine)[0]), 0)
    machine.on_down(10 * S)
    assert machine.deadman.armed(59 * S)
    machine.on_up(20 * S)
    assert [frame["method"] for frame in frames(machine)] == ["cancel_all_orders_after", "subscribe", "subscribe"]


def test_deadman_off_is_sent_once_confirmed() -> None:
    """Switching off is repeated until the venue confirms it, and not afterwards."""
    machine = started()
    machine.arm(60, 0)
    machine.on_message(reply(frames(machine)[0]), 0)
    machine.disarm(S)
    [off] = frames(machine)
    assert off["params"]["timeout"] == 0
    assert (machine.deadman.armed(S), machine.deadman.may_be_on) == (False, True), "it may be off, and it may be on"
    machine.on_frame_seen(5 * S)
    machine.on_timer(6 * S)
    [off] = frames(machine)
    confirmed = Ack(off["req_id"], "cancel_all_orders_after", True, {"currentTime": "x", "triggerTime": "0"})
    machine.on_message(confirmed, 7 * S)
    assert (machine.deadman.armed(7 * S), machine.deadman.may_be_on) == (False, False)
    machine.on_frame_seen(20 * S)
    machine.on_timer(20 * S)
    assert frames(machine) == []
    with pytest.raises(InvariantError, match="86400"):
        machine.arm(86_400, 0)


def test_deadman_is_off_from_the_moment_it_is_asked_to_be() -> None:
    """Armed, off, armed again: what arrives late of the first arms nothing, only the reply to the last does."""
    machine = started()
    machine.arm(60, 0)
    [first] = frames(machine)
    machine.disarm(S)
    [off] = frames(machine)
    machine.arm(60, 2 * S)
    [second] = frames(machine)
    machine.on_message(reply(first), 3 * S)
    assert not machine.deadman.armed(3 * S)
    machine.on_message(reply(off, triggerTime="0"), 4 * S)
    assert (machine.deadman.armed(4 * S), machine.deadman.may_be_on) == (False, True)
    [outcome] = machine.on_message(reply(second), 5 * S)
    assert outcome == Deadman(62 * S) and machine.deadman.armed(5 * S)


def test_late_reply_of_an_old_connection_arms_nothing() -> None:
    """Replies belong to requests of this connection."""
    machine = started()
    machine.arm(60, 0)
    [request] = frames(machine)
    machine.on_down(S)
    machine.on_up(2 * S)
    assert machine.on_message(reply(request), 3 * S) == []
    assert not machine.deadman.armed(3 * S)


CONTROL = {
    b'{"method":"ping"}': True,
    b'{"method":"ping","req_id":1}': True,
    b'{"method":"subscribe","params":{"channel":"executions","token":""},"req_id":1}': True,
    b'{"method":"unsubscribe","params":{"channel":"book","symbol":["A/B"],"depth":10}}': True,
    b'{"method":"cancel_all_orders_after","params":{"timeout":60,"token":""}}': True,
    b'{"method":"add_order","params":{"token":""}}': False,
    b'{"method":"amend_order","params":{}}': False,
    b'{"method":"cancel_order","params":{}}': False,
    b'{"method":"cancel_all","params":{}}': False,
    b'{"method":"batch_add","params":{}}': False,
    b'{"method":"edit_order","params":{}}': False,
    b'{"method":"ping","method":"add_order"}': False,
    b'{"method":"add_order","method":"ping"}': False,
    b'{"method":"ping","params":{"order_qty":1}}': False,
    b'{"method":"subscribe","params":{"channel":"book","method":"add_order"}}': False,
    b'{"method":"subscribe","params":{"channel":"executions","token":"secret"}}': False,
    b'{"method":"PING"}': False,
    b'{"method":["ping"]}': False,
    b'{"method":"ping","extra":1}': False,
    b'{"method":"ping","req_id":"1"}': False,
    b'{"method":"ping"}{"method":"add_order"}': False,
    b'["ping"]': False,
    b"": False,
    b"\xff": False,
    b'{"method":"ping"}' + b" " * 70_000: False,
}


@pytest.mark.parametrize("frame", CONTROL)
def test_only_control_frames_pass(frame: bytes) -> None:
    """Exactly the four control requests pass; nothing that could reach an order does."""
    assert is_control(frame) is CONTROL[frame]
    assert CONTROL_REQ_ID_FIRST < 2**31


@pytest.mark.parametrize(("error", "expected"), [
    *ERRORS.items(),
    ("EGeneral:Invalid arguments:cl_ord_id not unique", RetryClass.NEVER),
    ("EService:Throttled: 1790359841", RetryClass.RETRY),
    ("EOrder:Something new", RetryClass.NEVER),
    ("EWhatever:new", RetryClass.UNKNOWN),
    ("", RetryClass.UNKNOWN),
])
def test_errors_classify_by_prefix(error: str, expected: RetryClass) -> None:
    """Each known text, with or without detail, has its class; an unknown domain is an unknown outcome."""
    assert classify(error) is expected
    assert classify(error + ":detail") is (expected if error else RetryClass.UNKNOWN)


def test_orders_behind_server_errors_are_unknown() -> None:
    """A read may be repeated after EService:Busy; an order may have been executed."""
    assert classify("EService:Busy") is RetryClass.RETRY
    assert outcome_unknown("EService:Busy")
    assert outcome_unknown("EGeneral:Internal error:7")
    assert not outcome_unknown("EOrder:Insufficient funds")
    assert not outcome_unknown("EService:Deadline elapsed")
    assert throttled_until_s("EService:Throttled: 1790359841") == 1790359841
    assert throttled_until_s("EService:Busy") is None


def test_silence_pings_then_closes() -> None:
    """No frame for 5 s sends one ping, none for 10 s asks for a close with its reason, any frame starts both over."""
    machine = started()
    machine.on_timer(5 * S - 1)
    assert frames(machine) == []
    assert machine.alive(3 * S)
    assert not machine.alive(3 * S + 1)
    machine.on_timer(5 * S)
    machine.on_timer(6 * S)
    assert [frame["method"] for frame in frames(machine)] == ["ping"], "once per silence"
    machine.on_frame_seen(7 * S)
    assert machine.alive(9 * S)
    machine.on_timer(12 * S - 1)
    assert frames(machine) == []
    machine.on_timer(12 * S)
    assert [frame["method"] for frame in frames(machine)] == ["ping"]
    machine.on_timer(17 * S - 1)
    assert machine.want_close is None
    machine.on_timer(17 * S)
    assert machine.want_close == "no frame for 10000 ms"
    machine.on_down(17 * S)
    assert (machine.want_close, machine.alive(17 * S), machine.want_reconcile) == (None, False, True)
    machine.on_timer(40 * S)
    assert machine.take_out() == [], "nothing is sent or given up without a connection"
    machine.on_up(50 * S)
    frames(machine)
    machine.on_timer(55 * S - 1)
    assert (frames(machine), machine.want_close) == ([], None), "the silence of before does not count"


def test_a_silent_socket_is_closed_though_the_switch_is_refreshed() -> None:
    """What we send is no sign of life of the peer."""
    machine = started()
    machine.arm(60, 0)
    for second in range(10):
        machine.on_timer(second * S)
    assert machine.want_close is None
    machine.on_timer(10 * S)
    assert machine.want_close == "no frame for 10000 ms"


@pytest.mark.parametrize("dead", ["executions", "balances"])
def test_heartbeats_keep_the_socket_and_not_a_dead_channel(dead: str) -> None:
    """The socket lives by its heartbeats: it is not pinged or closed; the channel without a snapshot is asked for again."""
    machine = PrivateMachine()
    machine.on_up(0)
    asked: list[tuple[str, str]] = []
    for second in range(60):
        for request in frames(machine):
            channel = request["params"]["channel"]
            asked.append((request["method"], channel))
            machine.on_message(Ack(request["req_id"], request["method"], True, {}, channel=channel), second * S)
            if request["method"] == "subscribe" and channel != dead:
                snapshot = executions(1, snapshot=True) if channel == "executions" else BalancesMessage(1, True, ())
                machine.on_message(snapshot, second * S)
        machine.on_frame_seen(second * S)
        machine.on_timer(second * S)
        assert machine.want_close is None and machine.alive(second * S) and not machine.ready
    # Ten seconds without a snapshot, then left and taken: at once, after 1 s, 2 s, 4 s.
    assert [method for method, channel in asked if channel == dead][:5] == [
        "subscribe", "unsubscribe", "subscribe", "unsubscribe", "subscribe"]
    assert len(asked) - 1 >= 9 and [channel for _, channel in asked].count(dead) == len(asked) - 1
    status = next(row for row in machine.status(60 * S)["channels"] if row["channel"] == dead)
    assert status["silent"] == sum(method == "unsubscribe" for method, _ in asked)
    assert machine.snapshot_seen("executions") == (dead != "executions")


@pytest.mark.parametrize("channel", ["executions", "balances"])
def test_an_update_of_a_channel_without_its_snapshot_makes_nothing_ready(channel: str) -> None:
    """It is handed on, because a fill is a fact, and its sequence proves nothing."""
    machine = PrivateMachine()
    machine.on_up(0)
    machine.on_message(executions(1, snapshot=True) if channel == "balances" else BalancesMessage(1, True, ()), 0)
    update = executions(2) if channel == "executions" else BalancesMessage(2, False, ())
    assert machine.on_message(update, 0) == [update]
    assert not machine.ready and not machine.live(channel)


def test_an_unknown_type_of_a_private_channel_is_a_lost_message() -> None:
    """Its content may have been a fill; a channel that is not ours is counted and nothing else."""
    machine = started()
    machine.want_reconcile = False
    assert machine.on_message(*decode_private(b'{"channel":"news","type":"update","data":[]}'), 0) == []
    assert (machine.unknown_count, machine.ready, machine.want_reconcile) == (1, True, False)
    [fault] = machine.on_message(*decode_private(b'{"channel":"balances","type":"delta","data":[]}'), 0)
    assert fault == ChannelFault("balances", "unknown: type delta of channel balances")
    assert (machine.unknown_count, machine.ready, machine.want_reconcile, machine.gap_count) == (2, False, True, 1)
    assert machine.snapshot_seen("executions")
