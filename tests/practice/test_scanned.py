"""Every hot frame that the practice exchange really sends is scanned in place, and read as the tolerant decoder reads it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from decimal import Decimal

from practice_client import Client, Socket, dumps, run

from cstd._fast.codes import ScanStatus
from cstd._fast.reports import ReportScanner
from cstd._fast.wire import Scanner
from fuzz.targets import Received, executions

WANTED_REPORTS = {"pending_new", "new", "amended", "canceled", "trade", "filled"}
PUBLIC = {"book": ScanStatus.SCAN_BOOK, "trade": ScanStatus.SCAN_TRADE, "ticker": ScanStatus.SCAN_TICKER,
          "heartbeat": ScanStatus.SCAN_HEARTBEAT}


async def texts(socket: Socket, seconds: float) -> list[bytes]:
    """Everything that arrives within some seconds, as it arrives."""
    found: list[bytes] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                found.append((await socket.ws.receive_str()).encode())
    except TimeoutError:
        return found


async def private_frames(client: Client) -> list[bytes]:
    """Frames of a private socket on which orders are placed, amended, canceled, refused and filled."""
    token = await client.token()
    socket = await client.socket("ws_private")
    price = Decimal((await client.public("Depth", pair="BTC/USD", count=1))["result"]["BTC/USD"]["bids"][0][0]) - 500
    await socket.send("subscribe", 1, channel="executions", token=token, snap_orders=True, snap_trades=True, ratecounter=True)
    await socket.send("subscribe", 2, channel="balances", token=token)
    order = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "order_qty": Decimal("0.0004"), "token": token}
    await socket.send("add_order", 3, **order, limit_price=price, post_only=True, cl_ord_id="s1")
    await socket.send("amend_order", 4, cl_ord_id="s1", order_qty=Decimal("0.0003"), limit_price=price - 1, token=token)
    await socket.send("cancel_order", 5, cl_ord_id=["s1"], token=token)
    await socket.send("cancel_order", 6, cl_ord_id=["s1"], token=token)
    await socket.send("add_order", 7, **order, limit_price=price + 2000, time_in_force="ioc", cl_ord_id="s2")
    found = await texts(socket, 2.5)
    # What a second socket is told at once: fills and open orders in one snapshot.
    again = await client.socket("ws_private")
    await again.send("subscribe", 8, channel="executions", token=await client.token(), snap_trades=True)
    return found + await texts(again, 1.0)


def test_private_frames_are_scanned(practice: dict[str, str]) -> None:
    """Reports in updates and snapshots, replies to orders, balance updates and heartbeats; nothing hot is left to the decoder."""

    async def whole() -> list[bytes]:
        async with Client(practice) as client:
            return await private_frames(client)

    scanner, reports, replies = ReportScanner(), set(), set()
    statuses: Counter[int] = Counter()
    for frame in run(whole()):
        executions(frame)
        document = json.loads(frame)
        status = scanner.scan_bytes(frame, Received())
        statuses[status] += 1
        hot = (document.get("channel") in ("executions", "heartbeat")
               or document.get("method") in ("add_order", "amend_order", "cancel_order")
               or (document.get("channel"), document.get("type")) == ("balances", "update"))
        assert (status != ScanStatus.SCAN_SLOW) == hot, frame
        if document.get("channel") == "executions":
            reports |= {row["exec_type"] for row in document["data"]}
        replies.add((document.get("method"), document.get("success")))
    assert reports >= WANTED_REPORTS
    assert replies >= {("add_order", True), ("amend_order", True), ("cancel_order", True), ("cancel_order", False)}
    assert statuses[ScanStatus.SCAN_BALANCES] >= 2
    assert statuses[ScanStatus.SCAN_HEARTBEAT] >= 1


def test_public_frames_are_scanned(practice: dict[str, str]) -> None:
    """Books at every depth, trades with their snapshot, tickers of both triggers and heartbeats."""

    async def whole() -> list[bytes]:
        async with Client(practice) as client:
            found: list[bytes] = []
            for depth in (10, 25, 100, 500, 1000):
                socket = await client.socket("ws_public")
                for req_id, params in enumerate((
                        {"channel": "book", "depth": depth}, {"channel": "trade", "snapshot": True},
                        {"channel": "ticker", "event_trigger": "bbo" if depth > 100 else "trades"})):
                    request = {"method": "subscribe", "req_id": req_id, "params": {"symbol": ["BTC/USD"], **params}}
                    await socket.ws.send_str(dumps(request))
                found += await texts(socket, 1.6)
            return found

    scanner = Scanner()
    scanner.set_instrument(0, b"BTC/USD", 1, 8)
    seen: Counter[tuple[str, str]] = Counter()
    for frame in run(whole()):
        document = json.loads(frame)
        channel = document.get("channel")
        if channel in PUBLIC and document.get("data") != []:
            assert scanner.scan_bytes(frame)["status"] == PUBLIC[channel], frame[:300]
            seen[channel, document.get("type", "")] += 1
    assert seen["book", "snapshot"] == 5
    assert all(seen[kind] for kind in (("book", "update"), ("trade", "snapshot"), ("ticker", "snapshot"), ("heartbeat", "")))
