"""Rows from what the engine holds and what the journal says: one function a table, in the order of its columns."""

from __future__ import annotations

import json
import zlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from cstd._fast.codes import IntentKind, OrderState, Side, TimeInForce
from cstd._fast.gates import DECISION_DTYPE
from cstd._fast.journal_scan import Record
from cstd.decision.why import explain
from cstd.ledger.nav import MONEY_PRECISION
from cstd.orders.exit_policy import reason_word
from cstd.orders.lifecycle import STATE_NAMES
from cstd.projector.database import Row

if TYPE_CHECKING:
    from cstd.engine import Engine

EXPLAINED_LEVEL = 1  # a quarter of the text in a tenth of the time of the best


def boot_row(record: Record) -> Row:
    """Return a start of the daemon; the record is its EVENT_BOOT."""
    boot = msgspec.json.decode(record.payload)
    return Row("boots", (record.seq, record.wall_ns, boot["boot_epoch"], boot["mode"], boot["version"], boot["config_hash"],
                         boot["agents"]["sha256"], json.dumps(boot["config"], sort_keys=True, separators=(",", ":"))))


def state_row(record: Record) -> Row:
    """Return a change of the daemon's state; the record is its OUT_STATE."""
    state = msgspec.json.decode(record.payload)
    return Row("states", (record.seq, record.wall_ns, state["state"], state["before"], state["reason"]))


def decision_rows(record: Record, engine: Engine, from_seq: int | None = None) -> tuple[tuple[Row, Row], str]:
    """Return a decision, all that explains it, and the client order id of the order that came of it, "" where none did.

    `from_seq` is the first record of the read batch, or the other event, in whose pass it was made; None where that is unknown.
    """
    raw = np.frombuffer(record.payload, dtype=DECISION_DTYPE)[0]
    currency = engine.cfg.account.currency if engine.cfg is not None else ""
    number = int(raw["instrument"])
    said: dict[str, Any] = explain(raw, engine.feed.specs[engine.names[number]], currency=currency,
                                   signal=engine.ensemble.signal(number, int(raw["event_seq"])))
    said["journal"] = {"from_seq": from_seq, "decision_seq": record.seq}
    gate = said["first_failing"] if said["verdict"] == "refuse" else said["reduced_by"]
    by: dict[str, Any] = next((entry for entry in said["gates"] if entry["name"] == gate), {})
    gates = [{key: entry[key] for key in ("gate", "name", "value", "limit", "unit", "passed", "reason")}
             for entry in said["gates"]]
    row = Row("decisions", (
        record.seq, said["event_seq"], said["intent_seq"], said["decided_wall_ns"], said["instrument"], said["strategy"],
        said["kind"], said["side"], said["episode"], int(said["rejudged"]), int(said["shadow"]),
        said.get("approval"), said["verdict"], said["verdict_reason"], said.get("exit_reason"), gate,
        _text(by.get("value")), _text(by.get("limit")), by.get("unit"),
        said["price"], said["bid"], said["ask"], said["qty_requested"], said["qty_final"], _text(said["notional"]),
        _text(said["equity"]), said["currency"], said["cl_ord_id"], json.dumps(gates, separators=(",", ":"))))
    whole = zlib.compress(json.dumps(said, separators=(",", ":")).encode(), EXPLAINED_LEVEL)
    sent = int(raw["order_slot"]) >= 0 and not said["rejudged"]
    return (row, Row("explained", (record.seq, whole))), str(said["cl_ord_id"]) if sent else ""


def order_row(order: dict[str, Any], engine: Engine, last_seq: int) -> Row:
    """Return an order as it is now; `last_seq` is the last record that belongs to it."""
    price_digits, qty_digits = engine.tracker.digits(order)
    return Row("orders", (
        order["cl_ord_id"], order["order_id"] or None, order["intent_seq"], engine.names[order["instrument"]],
        _side(order["side"]), IntentKind(order["kind"]).name.lower(), STATE_NAMES[OrderState(order["state"])],
        order.get("reason"), TimeInForce(order["time_in_force"]).name, int(order["post_only"]), order["price_raw"],
        price_digits, order["qty_raw"], order["filled_raw"], qty_digits,
        order["sent_wall_ns"] or None, order["expire_wall_ns"] or None, last_seq))


def fill_rows(record: Record, engine: Engine) -> list[Row]:
    """Return a fill and its fees; the record is its OUT_LEDGER, the fill is booked already."""
    booked = msgspec.json.decode(record.payload)
    fill = engine.ledger.fills[booked["exec_id"]]
    fees: dict[str, Decimal] = {}
    for asset, amount in fill.fees:
        fees[asset] = fees.get(asset, Decimal(0)) + amount
    return [
        Row("fills", (
            fill.exec_id, record.seq, fill.cl_ord_id, fill.order_id, fill.wall_ns, booked["instrument"], _side(fill.side),
            IntentKind(fill.kind).name.lower(), reason_word(fill.exit_reason), fill.liquidity, fill.qty_raw,
            fill.qty_precision, str(fill.price), str(fill.cost),
            booked["position_qty_raw"], booked["cash_flow"], booked["realized"])),
        *(Row("fees", (fill.exec_id, asset, str(amount))) for asset, amount in fees.items()),
    ]


def adoption_row(record: Record) -> Row:
    """Return coins of the user's that became managed, or that there were none; the record is its OUT_ADOPTION."""
    told = msgspec.json.decode(record.payload)
    return Row("adoptions", (record.seq, record.wall_ns, *(told[name] for name in (
        "instrument", "asset", "qty_raw", "qty_precision", "price", "cost", "own_before", "own_left", "tied", "book_updates",
        "book_checksum", "book_exch_ns"))))


def mark_row(seq: int, wall_ns: int, engine: Engine) -> Row:
    """Return what the account is worth now; money in 10^-8 of the account currency."""
    nav = engine.nav
    currency = engine.cfg.account.currency if engine.cfg is not None else ""
    return Row("marks", (
        seq, wall_ns, currency, MONEY_PRECISION, nav.nav, nav.equity, nav.capital, engine.core.positions_value(),
        engine.core.exposure(), nav.peak, nav.day_start, nav.day_loss, nav.day_loss_bps, nav.drawdown_bps,
        str(engine.ledger.cash_flow), nav.contributed))


def balance_row(seq: int, wall_ns: int, asset: str, qty: Decimal) -> Row:
    """Return what the venue says that the account holds of an asset."""
    return Row("balances", (seq, wall_ns, asset, str(qty)))


def _side(side: int) -> str:
    return "buy" if side == Side.BUY else "sell"


def _text(value: object) -> str | None:
    return None if value is None else str(value)
