"""Fills into positions, cash flow and round trips: exact, in the venue's own numbers.

The venue's cost and fee are used as sent, never recomputed. Money is `Decimal` in the account currency (one quote
currency for now: the configuration refuses instruments of another), quantities are raw integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import msgspec

from cstd.units import from_raw

ZERO = Decimal(0)


class Fill(msgspec.Struct, frozen=True):
    """One execution of one of our orders. `side` is 1 for a buy, -1 for a sell; `mid2_raw` the decision's bid + ask.

    qty_precision: the digits of `qty_raw`, which stay when the instrument's change. exit_reason: codes.ExitReason, of a sale.
    """

    exec_id: str
    cl_ord_id: str
    order_id: str
    instrument: int
    side: int
    qty_raw: int
    price: Decimal
    cost: Decimal
    fees: tuple[tuple[str, Decimal], ...]
    wall_ns: int
    liquidity: str
    mid2_raw: int
    kind: int
    qty_precision: int
    exit_reason: int = 0


# The venue's history has costs and fees to about this, whatever the stream's have.
HISTORY_ROUNDS_TO = Decimal("0.0001")


def shown_otherwise(fill: Fill, row: Mapping[str, Any], quote: str) -> str:
    """Return "quantity 0.1 and shown with 0.2" for what the row of a fill in the venue's history tells otherwise; "" for nothing.

    Fees are compared where they were paid in the quote currency, which is what such a row tells them in.
    """
    fee = sum((amount for _, amount in fill.fees), ZERO)
    figures = [("quantity", from_raw(fill.qty_raw, fill.qty_precision), "vol", ZERO), ("price", fill.price, "price", ZERO),
               ("cost", fill.cost, "cost", HISTORY_ROUNDS_TO)]
    if all(asset == quote for asset, _ in fill.fees):
        figures.append(("fee", fee, "fee", HISTORY_ROUNDS_TO))
    for name, booked, column, apart in figures:
        if abs(booked - Decimal(row[column])) > apart:
            return f"{name} {booked:f} and shown with {row[column]}"
    return ""


class Position:
    """Managed inventory of one instrument. Everything here follows from its fills, and from coins that were adopted.

    Attributes:
        qty_raw: what can be told in the instrument's digits, and sold.
        rest: what is held beyond it, less than one unit of the last digit: the venue's digits have become fewer, or a fee in
            base was finer. It is ours, cannot be sold, and counts as worth nothing.
        bought_at: average price of what is held, as it was paid: fees are left out, and sales leave it as it is.
        since_wall_ns: the venue's time of the fill that began the position; 0 where it told none.
    """

    __slots__ = ("base", "bought_at", "cost", "ended_trip", "fees", "losing_round_trips", "price_precision", "qty_precision",
                 "qty_raw", "quote", "realized", "rest", "since_wall_ns", "streak_before", "trip")

    def __init__(self, base: str, quote: str, price_precision: int, qty_precision: int) -> None:
        self.base = base
        self.quote = quote
        self.price_precision = price_precision
        self.qty_precision = qty_precision
        self.qty_raw = 0
        self.rest = ZERO
        self.cost = ZERO  # what the held quantity cost, fees not included
        self.bought_at = ZERO
        self.since_wall_ns = 0
        self.realized = ZERO
        self.fees = ZERO
        self.trip = ZERO  # cash flow of the round trip under way, fees included
        self.losing_round_trips = 0
        self.ended_trip: Decimal | None = None  # cash flow of the trip that ended last, until the next buy
        self.streak_before = 0

    @property
    def qty(self) -> Decimal:
        """Everything held, in base."""
        return from_raw(self.qty_raw, self.qty_precision) + self.rest

    def hold(self, qty: Decimal) -> None:
        """Hold a quantity: what the digits can tell, and the rest."""
        whole = qty.scaleb(self.qty_precision).to_integral_value(ROUND_FLOOR)
        self.qty_raw = int(whole)
        self.rest = qty - from_raw(self.qty_raw, self.qty_precision)

    def book(self, fill: Fill, fee_quote: Decimal, fee_base: Decimal) -> None:
        """Apply one fill; a sell takes its part of the cost out at the average."""
        held, traded = self.qty, from_raw(fill.qty_raw, fill.qty_precision)
        if fill.side > 0:
            before = max(held, ZERO)
            self.bought_at = (self.bought_at * before + fill.price * traded) / (before + traded)
            self.hold(held + traded - fee_base)
            self.cost += fill.cost
            self.trip -= fill.cost + fee_quote
            self.ended_trip = None
        else:
            sold = self.cost * traded / held if held else ZERO
            self.hold(held - traded - fee_base)
            self.cost -= sold
            self.realized += fill.cost - sold
            self.trip += fill.cost - fee_quote
        self.fees += fee_quote

    def adopt(self, qty: Decimal, price: Decimal, cost: Decimal) -> None:
        """Take up coins that were the user's, as if bought at a price without a fee."""
        before = max(self.qty, ZERO)
        self.bought_at = (self.bought_at * before + price * qty) / (before + qty)
        self.hold(self.qty + qty)
        self.cost += cost
        self.trip -= cost
        self.ended_trip = None

    def close_trip(self) -> None:
        """End the round trip: its cash flow decides whether the losing streak grows or ends.

        An exit's last execution may find less than a sellable quantity left: it belongs to the trip that the one before
        ended, which is judged again. On its own it would look like a gain and end the streak.
        """
        if self.ended_trip is not None:
            self.trip += self.ended_trip
            self.losing_round_trips = self.streak_before
        self.streak_before = self.losing_round_trips
        self.ended_trip = self.trip
        if self.trip < 0:
            self.losing_round_trips += 1
        elif self.trip > 0:
            self.losing_round_trips = 0
        self.trip = ZERO

    def forget_streak(self) -> None:
        """An operator has acted: the losing streak starts over, also for an exit that is under way."""
        self.losing_round_trips = self.streak_before = 0

    def entry_price(self) -> Decimal | None:
        """Average entry price in quote per base, None without a position."""
        if self.qty_raw <= 0:
            return None
        return self.cost / self.qty

    def value_at(self, bid_raw: int) -> Decimal:
        """Value of the held quantity at a bid, in quote; the rest cannot be sold."""
        return from_raw(bid_raw * self.qty_raw, self.price_precision + self.qty_precision)


class Ledger:
    """All fills and what follows from them. One writer: the engine.

    Attributes:
        fills: by exec_id, in order of booking.
        positions: by instrument number.
        cash_flow: sum over fills of what came in less what went out, fees included, in account currency.
        unrecorded: fills booked that the journal has no row of yet.
        duplicate_count: executions seen again. foreign_fee_count: fees in an asset that is neither base nor quote.
    """

    def __init__(self) -> None:
        self.fills: dict[str, Fill] = {}
        self.unrecorded: list[Fill] = []
        self.positions: dict[int, Position] = {}
        self.cash_flow = ZERO
        self.duplicate_count = 0
        self.foreign_fee_count = 0
        self.turnover_day = ZERO
        self._turnover_day_number = -1
        self._held: set[int] = set()
        self._changed: set[int] = set()  # since the last mark

    def to_mark(self) -> list[int]:
        """Return the instruments that a mark has to look at, in order: those held and those changed since the last call.

        Of a thousand instruments a few are held: what a tick costs must not grow with the others.
        """
        numbers = sorted(self._changed | {n for n in self._held if self.positions[n].qty_raw != 0})
        self._held = {n for n in numbers if self.positions[n].qty_raw != 0}
        self._changed.clear()
        return numbers

    def held(self) -> list[int]:
        """Return the instruments with a quantity above zero, in order."""
        return sorted(n for n in self._held | self._changed if self.positions[n].qty_raw > 0)

    def forget_streaks(self) -> None:
        """An operator has acted: every losing streak starts over."""
        for number, position in self.positions.items():
            position.forget_streak()
            self._changed.add(number)

    def take_up(self, fills: dict[str, Fill]) -> None:
        """Go on from the positions as they are now and from these fills, by exec_id, that they have in them already."""
        self.fills = fills
        self._changed.update(self.positions)

    def digits(self, number: int) -> tuple[int, int] | None:
        """Return the (price, quantity) precision that an instrument is counted in, None where it is not known yet."""
        position = self.positions.get(number)
        return None if position is None else (position.price_precision, position.qty_precision)

    def add_instrument(self, number: int, base: str, quote: str, price_precision: int, qty_precision: int) -> None:
        """Make an instrument known; a change of precision tells what is held anew, with a rest where digits are missing."""
        self._changed.add(number)
        position = self.positions.get(number)
        if position is None:
            self.positions[number] = Position(base, quote, price_precision, qty_precision)
            return
        held = position.qty
        position.price_precision = price_precision
        position.qty_precision = qty_precision
        position.hold(held)

    def book(self, fill: Fill, too_little: Callable[[int], bool]) -> bool:
        """Book one fill. Returns False when its exec_id was booked before: then nothing changes.

        Args:
            too_little: whether the venue would take no order for a raw quantity; a sale that leaves so little ends a round trip.
        """
        if fill.exec_id in self.fills:
            self.duplicate_count += 1
            return False
        position = self.positions[fill.instrument]
        fee_quote, fee_base = self._fees(fill, position)
        self.fills[fill.exec_id] = fill
        self.unrecorded.append(fill)
        self._changed.add(fill.instrument)
        if fill.side > 0 and too_little(position.qty_raw):
            position.since_wall_ns = fill.wall_ns
        position.book(fill, fee_quote, fee_base)
        self.cash_flow += -fill.side * fill.cost - fee_quote
        self._add_turnover(fill)
        if fill.side < 0 and too_little(position.qty_raw):
            position.close_trip()
        return True

    def adopt(self, number: int, qty: Decimal, price: Decimal, cost: Decimal, wall_ns: int,
              too_little: Callable[[int], bool]) -> None:
        """Take up coins of the user's at what they are worth. No cash moved, so cash flow and turnover stay as they are."""
        position = self.positions[number]
        if too_little(position.qty_raw):
            position.since_wall_ns = wall_ns
        position.adopt(qty, price, cost)
        self._changed.add(number)

    def _fees(self, fill: Fill, position: Position) -> tuple[Decimal, Decimal]:
        quote = base = ZERO
        for asset, amount in fill.fees:
            if asset == position.quote:
                quote += amount
            elif asset == position.base:
                base += amount
            else:
                self.foreign_fee_count += 1
        return quote, base

    def _add_turnover(self, fill: Fill) -> None:
        day = fill.wall_ns // 86_400_000_000_000
        if day != self._turnover_day_number:
            self._turnover_day_number = day
            self.turnover_day = ZERO
        self.turnover_day += fill.cost

    def turnover(self, wall_ns: int) -> Decimal:
        """Turnover of the UTC day of `wall_ns`, account currency."""
        return self.turnover_day if wall_ns // 86_400_000_000_000 == self._turnover_day_number else ZERO

    def managed_qty(self, asset: str) -> Decimal:
        """Managed quantity of a base asset over all instruments."""
        return sum((position.qty for position in self.positions.values() if position.base == asset), ZERO)

    def row(self, fill: Fill, name: str) -> dict[str, Any]:
        """A booked fill as the journal keeps it, with what position, cash and profit were after the last one booked."""
        position = self.positions[fill.instrument]
        return {
            "exec_id": fill.exec_id, "cl_ord_id": fill.cl_ord_id, "instrument": name, "side": fill.side, "qty_raw": fill.qty_raw,
            "price": str(fill.price), "cost": str(fill.cost), "fees": [(asset, str(amount)) for asset, amount in fill.fees],
            "exit_reason": fill.exit_reason,
            "position_qty_raw": position.qty_raw, "cash_flow": str(self.cash_flow), "realized": str(position.realized),
        }
