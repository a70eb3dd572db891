"""What a client asks for, after parsing and before judgement, in one shape for websocket and REST; refusals."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from cstd.practice.instruments import Instrument
from cstd.practice.readings import Readings
from cstd.practice.wire import NS_PER_S, decimal_raw

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UUID_HEX = re.compile(r"[0-9a-f]{32}")
_FREE_TEXT = re.compile(r"[a-z0-9_-]{1,18}")
_FREE_TEXT_PLAIN = re.compile(r"[a-z0-9]{1,18}")
_ORDER_ID = re.compile(r"O[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{6}")

DEADLINE_MIN_NS = 500_000_000
DEADLINE_MAX_NS = 60 * NS_PER_S
EXPIRE_MAX_NS = 31 * 86_400 * NS_PER_S
DISPLAY_PARTS_MAX = 15


class RefusalError(Exception):
    """The exchange says no; the text is Kraken's error string."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(slots=True)
class AddRequest:
    """An order as asked for. Amounts are Decimal as they were written; None means not given."""

    instrument: Instrument
    side: int
    order_type: str
    qty: Decimal | None = None
    limit_price: Decimal | None = None
    cash_qty: Decimal | None = None
    time_in_force: str = "gtc"
    expire_ns: int | None = None
    post_only: bool = False
    display_qty: Decimal | None = None
    cl_ord_id: str | None = None
    userref: int | None = None
    stp: str = "cancel_newest"
    fee_in_base: bool = False
    deadline_ns: int | None = None
    deadline_min_ns: int = DEADLINE_MIN_NS
    validate: bool = False


@dataclass(slots=True)
class AmendRequest:
    """A change to an open order; None means leave as it is."""

    qty: Decimal | None = None
    limit_price: Decimal | None = None
    display_qty: Decimal | None = None
    post_only: bool | None = None
    deadline_ns: int | None = None
    deadline_min_ns: int = DEADLINE_MIN_NS


def check_cl_ord_id(text: object, readings: Readings) -> str:
    """Return `text` if Kraken would take it as cl_ord_id: a UUID with or without dashes, or up to 18 characters."""
    readings.meet("cl_ord_id_upper_refused")
    readings.meet("cl_ord_id_marks_refused")
    free_text = _FREE_TEXT_PLAIN if readings.cl_ord_id_marks_refused else _FREE_TEXT
    if isinstance(text, str) and text.isascii():
        judged = text if readings.cl_ord_id_upper_refused else text.lower()
        if any(p.fullmatch(judged) for p in (_UUID, _UUID_HEX, free_text)):
            return text
    raise RefusalError("EGeneral:Invalid arguments:cl_ord_id")


def looks_like_order_id(text: str) -> bool:
    """Return True if `text` has the shape of a venue order id."""
    return _ORDER_ID.fullmatch(text) is not None


def check_deadline(deadline_ns: int | None, min_ns: int, wall_ns: int) -> None:
    """Refuse a deadline that has passed or is outside the allowed distance from now."""
    if deadline_ns is None:
        return
    if deadline_ns <= wall_ns:
        raise RefusalError("EService:Deadline elapsed")
    if not min_ns <= deadline_ns - wall_ns <= DEADLINE_MAX_NS:
        raise RefusalError("EGeneral:Invalid arguments:deadline")


def price_raw(instrument: Instrument, price: Decimal) -> int:
    """Return a limit price as int raw; refuses what is off the grid."""
    raw = decimal_raw(price, instrument.price_precision)
    if raw is None:
        places = instrument.price_precision
        raise RefusalError(f"EOrder:Invalid price:{instrument.name} price can only be specified up to {places} decimals.")
    if raw <= 0:
        raise RefusalError("EGeneral:Invalid arguments:price")
    if raw % instrument.tick_raw:
        raise RefusalError("EOrder:Tick size check failed")
    return raw


def qty_raw(instrument: Instrument, qty: Decimal | None) -> int:
    """Return a quantity as int raw; refuses too many decimals and less than the minimum."""
    raw = None if qty is None else decimal_raw(qty, instrument.qty_precision)
    if raw is None or raw <= 0:
        raise RefusalError("EGeneral:Invalid arguments:volume")
    if raw < instrument.qty_min_raw:
        raise RefusalError("EGeneral:Invalid arguments:volume minimum not met")
    return raw


def display_raw(instrument: Instrument, display_qty: Decimal | None, total_raw: int) -> int:
    """Return a display quantity as int raw, 0 if none; at least a fifteenth of the order and not above it."""
    if display_qty is None:
        return 0
    raw = decimal_raw(display_qty, instrument.qty_precision)
    if raw is None or not 0 < raw <= total_raw or raw * DISPLAY_PARTS_MAX < total_raw:
        raise RefusalError("EGeneral:Invalid arguments:display_qty")
    return raw
