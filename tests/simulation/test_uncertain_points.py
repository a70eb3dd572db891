"""Points where sources disagree and no session of the daemon comes to: its parsers read both, or nothing of it is used."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cstd._fast.codes import Link
from cstd.practice.readings import Readings
from cstd.venue.key_rights import key_problems
from cstd.venue.messages import decode_private
from cstd.venue.private import OrderReply, PrivateMachine
from cstd.venue.rest.models import parse_asset_pairs, parse_key_info, parse_trade_volume
from cstd.venue.rest.request import QUERY_IDS_MAX
from tests.simulation.simulated import Simulation

GONE = "OAAAAA-AAAAA-AAAAAA"


def answer(readings: Readings, method: str, query: str = "", *, private: bool = True) -> Any:
    """What the practice exchange answers, read so."""
    reply = Simulation(1, (), readings=readings).rest_reply(method, query, private=private)
    assert reply["error"] == []
    return reply["result"]


@pytest.mark.parametrize("by_name", [False, True])
def test_the_rights_of_a_key_are_read_as_a_list_and_by_name(by_name: bool) -> None:
    """A key that may trade fits either way, and what it has is the same."""
    readings = Readings(rights_by_name=by_name)
    info = parse_key_info(answer(readings, "GetApiKeyInfo"))
    assert readings.met["rights_by_name"] == 1
    assert key_problems(info) == []
    assert sorted(info.permissions) == sorted(parse_key_info(answer(Readings(), "GetApiKeyInfo")).permissions)


@pytest.mark.parametrize("underscores", [False, True])
def test_fees_are_read_under_either_name(underscores: bool) -> None:
    """minfee or min_fee: the same row."""
    readings = Readings(trade_volume_underscores=underscores)
    row = parse_trade_volume(answer(readings, "TradeVolume", "pair=XBTUSD"))
    assert readings.met["trade_volume_underscores"] > 0
    assert row == parse_trade_volume(answer(Readings(), "TradeVolume", "pair=XBTUSD"))


@pytest.mark.parametrize("tables", [False, True])
def test_pairs_are_read_with_and_without_tables_of_fees(tables: bool) -> None:
    """The tables of AssetPairs change nothing of what is read: fees come from TradeVolume."""
    readings = Readings(asset_pairs_fees=tables)
    rows = parse_asset_pairs(answer(readings, "AssetPairs", private=False))
    assert readings.met["asset_pairs_fees"] > 0
    assert rows == parse_asset_pairs(answer(Readings(), "AssetPairs", private=False)) != ()


@pytest.mark.parametrize("most", [50, 20])
def test_a_query_of_orders_is_taken_at_its_largest(most: int) -> None:
    """As many ids as the client puts into one query are no refusal, whichever limit holds."""
    readings = Readings(query_orders_max=most)
    reply = Simulation(1, (), readings=readings).rest_reply("QueryOrders", "txid=" + ",".join([GONE] * QUERY_IDS_MAX))
    assert readings.met["query_orders_max"] == 1
    assert reply == {"error": ["EOrder:Unknown order"]}


@pytest.mark.parametrize("in_orders", [False, True])
def test_a_batch_that_fails_in_part_is_read_in_either_shape(in_orders: bool) -> None:
    """The daemon sends no batch; its parser reads an array and `orders` alike."""
    readings = Readings(batch_failure_in_orders=in_orders)
    rows: list[dict[str, object]] = [{"order_id": GONE}, {"error": "EOrder:Insufficient funds"}]
    result = Simulation(1, (), readings=readings).private._batch_result(rows)
    assert readings.met["batch_failure_in_orders"] == 1
    frame = {"method": "batch_add", "req_id": 7, "success": True, "result": result,
             "time_in": "2026-09-21T14:00:00.000000Z", "time_out": "2026-09-21T14:00:00.000000Z"}
    (message,) = decode_private(json.dumps(frame).encode())
    replies = [outcome for outcome in PrivateMachine().on_message(message, 0) if isinstance(outcome, OrderReply)]
    assert [(reply.order_id or "", reply.success, reply.error) for reply in replies] == [
        (GONE, True, ""), ("", False, "EOrder:Insufficient funds")]


# What nothing of the client may speak of, and why no switch would try anything.
UNUSED = {
    r'"conditional"|conditional\[|"close\[': "closes that an order brings along, with cl_ord_id or without",
    r"assetVersion": "new names of assets by REST: the older names are told apart by a closed list",
    r"\bpremium\b": "the premium of a futures ticker",
    r"next_funding": "the time of the next funding of a futures ticker",
    r"book_snapshot": "the futures book and its `seq`",
}
# Recordings of futures books are checked for whole sequences; no session takes a decision by them.
OFFLINE = {"storage/futures_sequence.py", "storage/recordings.py", "storage/v1_dialect.py"}


@pytest.mark.parametrize("words", UNUSED)
def test_the_client_uses_nothing_of(repository: Path, words: str) -> None:
    """No source of the client names what is uncertain and unused; the practice exchange and readers of recordings may."""
    client = [path for path in (repository / "cstd").rglob("*") if path.suffix in (".py", ".pyx", ".pxd", ".h")
              and path.relative_to(repository / "cstd").parts[0] != "practice"
              and path.relative_to(repository / "cstd").as_posix() not in OFFLINE]
    assert len(client) > 100
    found = [f"{path.relative_to(repository)}: {UNUSED[words]}" for path in client if re.search(words, path.read_text("utf-8"))]
    assert found == []


def test_a_session_has_two_sockets_and_one_subscription_each() -> None:
    """Limits of books and sockets are published nowhere: there is one socket of each side, and each book is asked for once."""
    world = Simulation(3, ()).run(3)
    assert {wire.link for wire in world.wires.values()} == {Link.LINK_PUBLIC, Link.LINK_PRIVATE}
    asked = [json.loads(text) for text in world.delivered if '"subscribe"' in text]
    keys = [(frame["params"]["channel"], frame["params"].get("interval"), name) for frame in asked
            for name in frame["params"].get("symbol", [""])]
    assert len(keys) == len(set(keys)) > 0
    assert next(world.connections) == 3
