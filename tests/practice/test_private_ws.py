"""The private websocket on the wire: tokens, order life, one reply per cancel, sequences, refusals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from practice_client import Client, Socket, run

D = Decimal
Scenario = Callable[[Client, Socket, str], Awaitable[None]]


def trading(practice: dict[str, str], scenario: Scenario) -> None:
    """Run a scenario on a private socket that has subscribed to both private channels; cancel all at the end."""

    async def whole() -> None:
        async with Client(practice) as client:
            token = await client.token()
            socket = await client.socket("ws_private")
            for channel in ("executions", "balances"):
                ack = await socket.ask("subscribe", 1, channel=channel, token=token)
                assert ack["success"], ack
            try:
                await scenario(client, socket, token)
            finally:
                await socket.ask("cancel_all", 999, token=token)
            check_sequences(socket)

    run(whole())


def check_sequences(socket: Socket) -> None:
    """Assert that each private channel counted 1, 2, 3 … without a gap."""
    for channel in ("executions", "balances"):
        numbers = [m["sequence"] for m in socket.seen if m.get("channel") == channel]
        assert numbers == list(range(1, len(numbers) + 1))


async def best(client: Client, side: str) -> Decimal:
    """Return the best price of BTC/USD by REST."""
    depth = (await client.public("Depth", pair="BTC/USD", count=1))["result"]["BTC/USD"]
    return D(depth[side][0][0])


def resting(token: str, price: Decimal, **fields: object) -> dict[str, object]:
    """Return params of a post-only buy of 0.0004 BTC."""
    return {
        "order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": D("0.0004"), "limit_price": price,
        "post_only": True, "token": token, **fields,
    }  # fmt: skip


def test_place_amend_cancel(practice: dict[str, str]) -> None:
    """A resting order is placed, amended and canceled; events are full once and sparse after."""

    async def scenario(client: Client, socket: Socket, token: str) -> None:
        price = await best(client, "bids") - 500
        reply = await socket.ask("add_order", 11, **resting(token, price, cl_ord_id="t1"))
        order_id = reply["result"]["order_id"]
        assert reply["result"]["cl_ord_id"] == "t1"
        pending = await socket.execution("pending_new")
        assert (pending["symbol"], pending["order_qty"], pending["limit_price"]) == ("BTC/USD", D("0.0004"), price)
        new = await socket.execution("new", order_id=order_id)
        assert "symbol" not in new
        assert new["cl_ord_id"] == "t1"
        amend = await socket.ask("amend_order", 12, cl_ord_id="t1", order_qty=D("0.0003"), limit_price=price - 1, token=token)
        assert amend["result"]["cl_ord_id"] == "t1"
        assert amend["result"]["amend_id"]
        assert (await socket.execution("amended"))["limit_price"] == price - 1
        await socket.send("cancel_order", 13, cl_ord_id=["t1", "gone"], token=token)
        replies = [await socket.until(lambda m: m.get("req_id") == 13) for _ in range(2)]
        assert [r["success"] for r in replies] == [True, False]
        assert replies[1]["error"] == "EOrder:Unknown order"
        canceled = await socket.execution("canceled", order_id=order_id)
        assert canceled["reason"] == "User requested"
        assert "symbol" not in canceled

    trading(practice, scenario)


def test_reply_comes_within_a_millisecond_of_receipt(practice: dict[str, str]) -> None:
    """The exchange's own time_in and time_out of an order are less than a millisecond apart, typically."""

    async def scenario(client: Client, socket: Socket, token: str) -> None:
        price = await best(client, "bids") - 500
        spans = []
        for n in range(9):
            reply = await socket.ask("add_order", 100 + n, **resting(token, price - n))
            times = [datetime.fromisoformat(reply[k]) for k in ("time_in", "time_out")]
            spans.append((times[1] - times[0]) / timedelta(microseconds=1))
        assert sorted(spans)[4] < 1000

    trading(practice, scenario)


def test_a_taker_is_filled_and_both_legs_are_booked(practice: dict[str, str]) -> None:
    """A crossing IOC order reports trade and filled, and two balance entries that carry its exec_id."""

    async def scenario(client: Client, socket: Socket, token: str) -> None:
        before = (await client.private("Balance"))["result"]
        price = await best(client, "asks") + 50
        params = resting(token, price, post_only=False, time_in_force="ioc")
        assert (await socket.ask("add_order", 21, **params))["success"]
        trade = await socket.execution("trade")
        assert trade["liquidity_ind"] == "t"
        fee = trade["fees"][0]
        assert fee["asset"] == "USD"
        assert fee["qty"] == (trade["cost"] * D("0.004")).quantize(D("0.00001"), rounding="ROUND_HALF_UP")
        await socket.execution("filled")
        rows = [m["data"][0] for m in socket.seen if m.get("channel") == "balances" and m["type"] == "update"]
        legs = {r["asset"]: r for r in rows if r["ref_id"] == trade["exec_id"]}
        assert legs["BTC"]["amount"] == trade["last_qty"]
        assert legs["USD"]["amount"] == -trade["cost"]
        after = (await client.private("Balance"))["result"]
        assert D(after["XXBT"]) - D(before["XXBT"]) == D("0.0004")
        history = (await client.private("TradesHistory"))["result"]["trades"]
        assert D(history[trade["exec_id"]]["fee"]) == fee["qty"]
        assert history[trade["exec_id"]]["maker"] is False

    trading(practice, scenario)


def test_gtd_order_expires_on_the_wire(practice: dict[str, str]) -> None:
    """A GTD order that nobody takes ends with exec_type expired at its time."""

    async def scenario(client: Client, socket: Socket, token: str) -> None:
        price = await best(client, "bids") - 500
        expire = (datetime.now(UTC) + timedelta(seconds=1.2)).isoformat().replace("+00:00", "Z")
        await socket.ask("add_order", 31, **resting(token, price, time_in_force="gtd", expire_time=expire))
        assert (await socket.execution("expired", 5))["order_status"] == "expired"

    trading(practice, scenario)


def test_dead_man_switch_on_the_wire(practice: dict[str, str]) -> None:
    """cancel_all_orders_after answers with both times and cancels when it is not refreshed."""

    async def scenario(client: Client, socket: Socket, token: str) -> None:
        price = await best(client, "bids") - 500
        await socket.ask("add_order", 41, **resting(token, price))
        reply = await socket.ask("cancel_all_orders_after", 42, timeout=1, token=token)
        assert reply["result"]["currentTime"] < reply["result"]["triggerTime"]
        assert (await socket.execution("canceled", 5))["reason"]
        assert (await socket.ask("cancel_all_orders_after", 43, timeout=0, token=token))["success"]

    trading(practice, scenario)


REFUSED = [
    ("add_order", {"price": 5}, "Unsupported field: 'price' for the given msg type: add order"),
    ("add_order", {"symbol": "XBT/USD"}, "EQuery:Unknown asset pair"),
    ("add_order", {"order_qty": "0.0004"}, "EGeneral:Invalid arguments:order_qty"),
    ("add_order", {"order_qty": D("0.00001")}, "EGeneral:Invalid arguments:volume minimum not met"),
    ("add_order", {"order_qty": D(5)}, "EOrder:Insufficient funds"),
    ("add_order", {"margin": True}, "EOrder:Margin allowance exceeded"),
    ("add_order", {"reduce_only": True}, "EOrder:Reduce only:No position exists"),
    ("add_order", {"order_type": "stop-loss"}, "EGeneral:Invalid arguments:order_type"),
    ("add_order", {"token": "stale"}, "EAPI:Invalid token"),
    ("add_order", {"deadline": "2020-01-01T00:00:00.000Z"}, "EService:Deadline elapsed"),
    ("add_order", {"cl_ord_id": "a", "order_userref": 1}, None),
]


@pytest.mark.parametrize(("method", "fields", "text"), REFUSED)
def test_trading_refusals(practice: dict[str, str], method: str, fields: dict[str, object], text: str | None) -> None:
    """A refused order says why in Kraken's words and the socket stays open."""

    async def scenario(client: Client, socket: Socket, token: str) -> None:
        reply = await socket.ask(method, 51, **{**resting(token, D("30000.0")), **fields})
        assert reply["success"] is False
        assert text is None or reply["error"] == text

    trading(practice, scenario)


def test_private_subscription_refusals(practice: dict[str, str]) -> None:
    """A stale token is refused with channel and status beside the error; public channels are sent to the other host."""

    async def scenario() -> None:
        async with Client(practice) as client:
            socket = await client.socket("ws_private")
            reply = await socket.ask("subscribe", 61, channel="executions", token="stale")
            assert (reply["error"], reply["channel"], reply["status"]) == (
                "ESession:Invalid session",
                "executions",
                "error",
            )
            reply = await socket.ask("subscribe", 62, channel="book", symbol=["BTC/USD"])
            assert reply["error"].startswith("Public market data subscriptions are unavailable on this endpoint")

    run(scenario())


def test_snapshots_after_reconnect(practice: dict[str, str]) -> None:
    """A new connection sees the open order and the last fills in its snapshot, and its sequence starts at 1."""

    async def scenario(client: Client, socket: Socket, token: str) -> None:
        params = resting(token, await best(client, "asks") + 50, post_only=False, time_in_force="ioc")
        await socket.ask("add_order", 71, **params)
        trade = await socket.execution("trade")
        await socket.ask("add_order", 72, **resting(token, await best(client, "bids") - 500, cl_ord_id="snap"))
        other = await client.socket("ws_private")
        await other.send("subscribe", 73, channel="executions", token=token, snap_trades=True, ratecounter=True)
        ack = await other.until(lambda m: m.get("req_id") == 73)
        assert ack["result"]["maxratecount"] == 180
        snapshot = await other.until(lambda m: m.get("channel") == "executions")
        assert (snapshot["type"], snapshot["sequence"]) == ("snapshot", 1)
        assert trade["exec_id"] in [r.get("exec_id") for r in snapshot["data"]]
        open_rows = [r for r in snapshot["data"] if r.get("cl_ord_id") == "snap"]
        assert open_rows[0]["order_qty"] == D("0.0004")
        await socket.ask("cancel_order", 74, cl_ord_id=["snap"], token=token)
        canceled = await other.execution("canceled")
        assert canceled["ratecount"] > 0

    trading(practice, scenario)


def test_batches_edit_iceberg_and_market(practice: dict[str, str]) -> None:
    """batch_add, edit_order, batch_cancel, an iceberg and a market order by quote amount all work."""

    async def scenario(client: Client, socket: Socket, token: str) -> None:
        price = await best(client, "bids") - 500
        rows = []
        for n in range(3):
            row = resting(token, price - n, cl_ord_id=f"b{n}")
            rows.append({k: v for k, v in row.items() if k not in ("token", "symbol")})
        batch = await socket.ask("batch_add", 81, symbol="BTC/USD", orders=rows, token=token)
        ids = [r["order_id"] for r in batch["result"]]
        assert len(set(ids)) == 3
        edit = await socket.ask("edit_order", 82, order_id=ids[0], symbol="BTC/USD", limit_price=price - 9, token=token)
        assert edit["result"]["original_order_id"] == ids[0]
        gone = await socket.ask("batch_cancel", 83, orders=[ids[1], edit["result"]["order_id"]], cl_ord_id=["b2"], token=token)
        assert gone["result"]["count"] == 3
        iceberg = resting(token, price, order_type="iceberg", order_qty=D("0.001"), display_qty=D("0.0002"))
        assert (await socket.ask("add_order", 84, **iceberg))["success"]
        assert (await socket.execution("pending_new", display_qty=D("0.0002")))["order_qty"] == D("0.001")
        market = {"order_type": "market", "side": "buy", "symbol": "BTC/USD", "cash_order_qty": D(20), "token": token}
        assert (await socket.ask("add_order", 85, **market))["success"]
        trade = await socket.execution("trade")
        assert D("19.9") < trade["cum_cost"] <= 20
        validated = await socket.ask("add_order", 86, **resting(token, price, validate=True))
        assert validated["success"]
        assert "order_id" not in validated["result"]
        assert (await socket.ask("cancel_all", 87, token=token))["result"]["count"] == 1

    trading(practice, scenario)
