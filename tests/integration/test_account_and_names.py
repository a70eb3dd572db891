"""Margin positions at the start, and an instrument that is renamed while it trades, with real sockets and a real exchange."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from cstd.chaos.judge import OPEN_STATUSES, compare_fills
from cstd.chaos.moments import wait_moment
from tests.integration.session import Session

NAMES = {"CSTD__INSTRUMENTS__NAMES": '["BTC/USD"]'}


def test_open_margin_positions_at_the_start(tmp_path: Path) -> None:
    """Not ready, with what was found; once it is closed, ready without anybody's help, and it trades."""
    session = Session(tmp_path)
    try:
        session.start_exchange()
        session.tell_exchange("margin", symbol="BTC/USD", volume="0.1")
        session.start()
        session.wait(lambda: session.state() and "OpenPositions: T" in (session.request("status")["state_reason"] or ""), 60,
                     "the margin position was not found")
        assert "0.10000000 XXBTZUSD: this trades spot without margin" in session.request("status")["state_reason"]
        time.sleep(2)
        assert session.rows("orders") == []
        session.tell_exchange("margin", symbol="BTC/USD", volume="0")
        session.wait_state("ready", 75)
        session.wait(lambda: session.rows("fills"), 60, "no fill")
    finally:
        session.close()


@pytest.mark.parametrize("told", [True, False], ids=["told", "silent"])
def test_an_instrument_is_renamed_with_an_order_out(tmp_path: Path, told: bool) -> None:
    """Nothing is sent under either name, every order and fill is known, what is held stays, and the difference halts."""
    session = Session(tmp_path, NAMES)
    try:
        session.start_exchange()
        session.start_ready()
        session.wait(lambda: session.rows("fills"), 60, "no fill")
        wait_moment(session, "open")
        session.tell_exchange("rename", symbol="BTC/USD", base="NBT", told=told)
        if not told:
            session.tell_exchange("cut", server="ws_public")
        session.wait_state("halted", 120)
        assert "an asset renamed" in session.request("status")["state_reason"]
        session.wait(lambda: all(row["status"] not in OPEN_STATUSES for row in session.fresh_truth()["orders"]), 30,
                     "an order is open")
        sent = {row["cl_ord_id"] for row in session.rows("orders")}
        time.sleep(5)
        truth = session.fresh_truth()
        assert {row["cl_ord_id"] for row in session.rows("orders")} == sent
        assert {row["symbol"] for row in truth["orders"]} == {"NBT/USD"}
        assert {row["cl_ord_id"] for row in truth["orders"]} <= sent
        fills = json.loads(json.dumps(session.rows("fills")).replace("BTC/USD", "NBT/USD"))
        assert compare_fills(fills, truth["fills"]) == []
    finally:
        session.close()
