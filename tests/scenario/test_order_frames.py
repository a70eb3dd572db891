"""Order frames as bytes: every number exact, every id derived as documented, every field one that the venue takes."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_world import BTC, ETH, S, World, practice_config

from cstd._fast.codes import EventKind, Link, OrderAction, Verdict
from cstd._fast.gates import DECISION_DTYPE
from cstd.decision.limits import limits_row
from cstd.engine import Engine
from cstd.research.replay import start_recording
from cstd.units import format_raw

NS_PER_MIN = 60 * S
# Parameters of add_order as the venue documents them; anything else is refused as an unsupported field.
ADD_FIELDS = {"order_type", "side", "order_qty", "symbol", "limit_price", "limit_price_type", "triggers", "time_in_force",
              "expire_time", "effective_time", "deadline", "post_only", "reduce_only", "margin", "cl_ord_id", "order_userref",
              "conditional", "display_qty", "cash_order_qty", "fee_preference", "stp_type", "validate", "sender_sub_id",
              "token"}
CANCEL_FIELDS = {"order_id", "cl_ord_id", "order_userref", "token"}


def wide_limits(engine: Engine) -> None:
    """Counts and shares so wide that a wish on every frame goes out."""
    assert engine.cfg is not None
    for number, name in enumerate(engine.names):
        limits = limits_row(engine.cfg, name).copy()
        for field in ("parents_instrument_hour_max", "parents_minute_max", "positions_max"):
            limits[field] = 1 << 40
        for field in ("turnover_day_max_bps", "exposure_max_bps", "position_max_bps", "cluster_max_bps"):
            limits[field] = 10**9
        engine.core.set_limits(number, limits)


def driven(data_dir: Path, recording: str) -> tuple[Engine, list[tuple[int, int, bytes]]]:
    """Drive a recording twice: to learn the instruments, then with wide limits and an hour of history."""
    engine, frames = start_recording(data_dir / "recordings" / f"{recording}.jsonl.zst", None, strategy="bench")
    span_ns = frames[-1][0] - frames[0][0] + S
    for at_ns, text in frames:
        engine.core.frame(Link.LINK_PUBLIC, text, at_ns, at_ns)
        engine.core.batch_end(Link.LINK_PUBLIC, at_ns, at_ns)
    wide_limits(engine)
    for number in range(len(engine.names)):
        slot = engine.core.slots[number]
        bid_raw = slot.book.levels(1, 1)[0][0]
        last_min = (frames[0][0] + span_ns) // NS_PER_MIN
        for minute in range(last_min - 61, last_min):
            engine.core.load_bar(number, 0, False, minute * NS_PER_MIN, bid_raw, bid_raw, bid_raw, bid_raw,
                                 slot.qty_scale, 10**16, 1, 0)
        engine.core.tape_begins(number, last_min * NS_PER_MIN)
    engine.recorder.captured = []
    for at_ns, text in frames[:320]:
        engine.core.frame(Link.LINK_PUBLIC, text, at_ns + span_ns, at_ns + span_ns)
        engine.core.batch_end(Link.LINK_PUBLIC, at_ns + span_ns, at_ns + span_ns)
    assert engine.core.fault is None
    return engine, engine.recorder.captured


def expected_id(prefix: str, mode: str, boot_epoch: int, intent_seq: int) -> str:
    """Client order id: owner prefix, then 2 x 8 base-36 digits of SHA-256 over account, boot epoch and intent number."""
    account = hashlib.sha256(f"{mode}:{prefix}".encode()).digest()[:8]
    digest = hashlib.sha256(account + boot_epoch.to_bytes(8, "little") + intent_seq.to_bytes(8, "little") + bytes(8)).digest()
    text = prefix
    for half in (digest[:8], digest[8:16]):
        number = int.from_bytes(half, "big") % 36**8
        digits = ""
        for _ in range(8):
            number, digit = divmod(number, 36)
            digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
        text += digits
    return text


def exact(frame: bytes) -> dict[str, Any]:
    """A frame with the text of every number kept."""
    return dict(json.loads(frame, parse_float=str, parse_int=str))


def iso_ns(text: str) -> int:
    """Nanoseconds of a time with "Z", by datetime."""
    moment = dt.datetime.fromisoformat(text)
    assert moment.tzinfo == dt.UTC
    return int((moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) / dt.timedelta(microseconds=1)) * 1000


@pytest.mark.parametrize("recording", ["kraken-v2-btcusd-d25-20260802", "kraken-v2-ethusd-xrpusd-d25-20260802"])
def test_every_order_of_a_recording_is_encoded_exactly(data_dir: Path, recording: str) -> None:
    """Each order frame says, digit for digit, what its decision row approved, with an id of its own."""
    engine, captured = driven(data_dir, recording)
    rows = [np.frombuffer(payload, DECISION_DTYPE)[0] for kind, _, payload in captured if kind == EventKind.OUT_DECISION]
    approved = {bytes(row["cl_ord_id"])[:18].decode(): row for row in rows
                if row["verdict"] != int(Verdict.REFUSE) and row["order_slot"] >= 0}
    frames = [payload for kind, tag, payload in captured
              if kind == EventKind.OUT_ORDER_FRAME and tag == OrderAction.ACTION_ADD]
    assert len(frames) > 150
    seen: set[str] = set()
    for frame in frames:
        request = exact(frame)
        params = request["params"]
        assert request["method"] == "add_order" and set(request) == {"method", "params", "req_id"}
        assert set(params) <= ADD_FIELDS
        row = approved[params["cl_ord_id"]]
        spec = engine.feed.specs[params["symbol"]]
        assert params["symbol"] == engine.names[int(row["instrument"])]
        assert params["limit_price"] == format_raw(int(row["price_raw"]), spec.price_precision)
        assert params["order_qty"] == format_raw(int(row["qty_final_raw"]), spec.qty_precision)
        assert Decimal(params["limit_price"]) % Decimal(spec.price_increment_raw).scaleb(-spec.price_precision) == 0
        assert params["cl_ord_id"] == expected_id("ct", "practice", 1, int(row["intent_seq"]))
        assert re.fullmatch(r"ct[a-z0-9]{16}", params["cl_ord_id"])
        assert params["cl_ord_id"] not in seen
        seen.add(params["cl_ord_id"])
    numbers = [int(exact(frame)["req_id"]) for frame in frames]
    assert len(set(numbers)) == len(numbers) and numbers == sorted(numbers)


@pytest.fixture
def rehearsed() -> World:
    """A round trip: an opening that fills, and the exit after it, not answered yet."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.fill(order, order["qty_raw"], "T1")
    assert world.exit_order()
    return world


@pytest.mark.control("time_in_force.deadline", "policy.deadline_ms")
def test_an_opening_is_post_only_and_ends_by_itself(rehearsed: World) -> None:
    """Openings rest post-only and good till a whole second within their lifetime; the deadline is in milliseconds."""
    request = exact(rehearsed.order_frames(OrderAction.ACTION_ADD)[0])
    params = request["params"]
    fixed = {"order_type": "limit", "side": "buy", "symbol": BTC, "time_in_force": "gtd", "post_only": True,
             "stp_type": "cancel_newest", "fee_preference": "quote", "token": ""}
    assert {key: params[key] for key in fixed} == fixed
    assert set(params) == {*fixed, "order_qty", "limit_price", "expire_time", "cl_ord_id", "deadline"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", params["expire_time"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", params["deadline"])
    order = rehearsed.engine.tracker.history[params["cl_ord_id"]]
    cfg = rehearsed.cfg
    assert iso_ns(params["deadline"]) == (order["sent_wall_ns"] + cfg.policy.deadline_ms * 10**6) // 10**6 * 10**6
    assert 0 <= order["sent_wall_ns"] + 20 * S - iso_ns(params["expire_time"]) < S
    assert order["expire_wall_ns"] == iso_ns(params["expire_time"])


def test_an_exit_is_immediate_and_inside_its_collar(rehearsed: World) -> None:
    """Exits sell at most what is held, at once or not at all, no lower than the collar below the best bid."""
    params = exact(rehearsed.order_frames(OrderAction.ACTION_ADD)[1])["params"]
    assert (params["side"], params["time_in_force"], params["stp_type"]) == ("sell", "ioc", "cancel_oldest")
    assert "post_only" not in params and "expire_time" not in params and "reduce_only" not in params
    assert params["order_qty"] == format_raw(rehearsed.engine.ledger.positions[0].qty_raw, 8)
    bid = Decimal(max(rehearsed.books[BTC].bids)) / 10
    assert bid * (1 - Decimal(25) / 10_000) <= Decimal(params["limit_price"]) <= bid


def test_a_cancel_names_the_order_and_nothing_else() -> None:
    """A cancel carries the client order id as a list of one, and the token's place."""
    world = World(strategy="rehearsal").ready()
    order = world.first_order()
    world.reply(order)
    world.report("new", order)
    world.command("pause")
    (frame,) = world.order_frames(OrderAction.ACTION_CANCEL)
    request = exact(frame)
    assert (request["method"], set(request)) == ("cancel_order", {"method", "params", "req_id"})
    assert request["params"] == {"cl_ord_id": [order["cl_ord_id"]], "token": ""}
    assert set(request["params"]) <= CANCEL_FIELDS
    assert int(request["req_id"]) > order["req_id"]


def test_the_token_is_never_in_a_recorded_frame(rehearsed: World) -> None:
    """Every order frame ends with an empty token right before its req_id: the link alone knows the word."""
    frames = rehearsed.order_frames()
    assert len(frames) >= 2
    for frame in frames:
        assert re.search(rb',"token":""\},"req_id":\d+\}$', frame)
        assert frame.count(b'"token"') == 1


def test_two_boots_never_share_an_id() -> None:
    """The boot epoch is part of every id: intent numbers start over, ids do not."""
    ids = []
    for epoch in (1, 2):
        world = World(strategy="rehearsal").boot(epoch)
        assert world.engine.state == "ready"
        ids.append(world.first_order()["cl_ord_id"])
        assert ids[-1] == expected_id("ct", "practice", epoch, world.live()[0]["intent_seq"])
    assert ids[0] != ids[1]


def test_two_instruments_keep_their_digits_apart() -> None:
    """Each instrument's orders carry its own name and its own precisions."""
    world = World(practice_config((BTC, ETH)), strategy="rehearsal").ready()
    for _ in range(60):
        world.step()
        world.tick(BTC)
        world.tick(ETH)
    by_name = {params["symbol"]: params for params in
               (exact(frame)["params"] for frame in world.order_frames(OrderAction.ACTION_ADD))}
    assert {name: len(by_name[name]["limit_price"].partition(".")[2]) for name in (BTC, ETH)} == {BTC: 1, ETH: 2}
    assert by_name[BTC]["limit_price"] == "100000.0" and by_name[ETH]["limit_price"] == "3000.00"
