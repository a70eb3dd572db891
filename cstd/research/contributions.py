"""What some orders brought to the equity: their fills' cash, fees included, and the mark of what is left of them.

What is bought of one instrument lies together, as in the ledger, which takes a sale out at the average: so a sale is of each
opening that is in the inventory, by its share of what is held. Sums are exact fractions; equity is rounded as every mark is.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import NamedTuple

from cstd.ledger.nav import MONEY_PRECISION
from cstd.ledger.positions import Fill, Ledger, Position
from cstd.units import from_raw

ZERO = Fraction(0)
UNITS: int = 10**MONEY_PRECISION  # of money


class Booked(NamedTuple):
    """One fill: what came into the inventory by it, or left it, and the cash, both with the fee in them. In base and quote."""

    cl_ord_id: str
    instrument: int
    side: int
    qty_raw: int
    moved: Fraction
    cash: Fraction


class TakenUp(NamedTuple):
    """Coins that came into the inventory by no order: adopted ones, or those of a ledger before."""

    instrument: int
    moved: Fraction


@dataclass(slots=True)
class Books:
    """What moved a ledger's inventory, in order."""

    moves: list[Booked | TakenUp] = field(default_factory=list)
    _held: defaultdict[int, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    _seen: int = 0
    _qty: dict[int, Decimal] = field(default_factory=dict)  # as the positions were
    _filled: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def begin(self, ledger: Ledger) -> None:
        """Begin with what a ledger has; its fills of before are not looked at."""
        self._seen = len(ledger.fills)
        self.take(ledger)

    def take(self, ledger: Ledger) -> None:
        """Take what the ledger has booked since the last time."""
        self._seen = min(self._seen, len(ledger.fills))  # fewer: taken over from a build before
        booked = [_booked(fill, ledger.positions[fill.instrument]) for fill in islice(ledger.fills.values(), self._seen, None)]
        self._seen = len(ledger.fills)
        self._take_up(ledger, booked)
        for move in booked:
            self.moves.append(move)
            self._held[move.instrument] += move.moved
            self._filled[move.cl_ord_id] += move.qty_raw

    def _take_up(self, ledger: Ledger, booked: list[Booked]) -> None:
        """What the positions have beyond the fills was taken up, which happens while no order of the instrument is out."""
        by_fills: defaultdict[int, Fraction] = defaultdict(Fraction)
        for move in booked:
            by_fills[move.instrument] += move.moved
        for number, position in ledger.positions.items():
            qty = position.qty
            if qty == self._qty.get(number, 0) and number not in by_fills:
                continue
            self._qty[number] = qty
            more = Fraction(qty) - self._held[number] - by_fills[number]
            if more:
                self.moves.append(TakenUp(number, more))
                self._held[number] += more

    def filled_raw(self, cl_ord_id: str) -> int:
        """Return how much of an order was filled."""
        return self._filled[cl_ord_id]


def _booked(fill: Fill, position: Position) -> Booked:
    """A fee in any other asset is in neither, as in the ledger."""
    quote = sum((Fraction(amount) for asset, amount in fill.fees if asset == position.quote), ZERO)
    base = sum((Fraction(amount) for asset, amount in fill.fees if asset == position.base and asset != position.quote), ZERO)
    traded = Fraction(from_raw(fill.qty_raw, fill.qty_precision))
    return Booked(fill.cl_ord_id, fill.instrument, fill.side, fill.qty_raw, fill.side * traded - base,
                  -fill.side * Fraction(fill.cost) - quote)


class Contributions(NamedTuple):
    """In account currency, exact. cash, marked: of all together. of: by client order id, of what falls away of each."""

    cash: Fraction
    marked: Fraction
    of: dict[str, Fraction]

    def nav_without(self, ledger_cash: Decimal, positions: Decimal, capital: int) -> int:
        """Return what a mark would have come to without all this, in 10^-8: capital, cash flow and positions, the latter rounded
        down each, as `Nav.mark` does."""
        return (capital + math.floor((Fraction(ledger_cash) - self.cash) * UNITS)
                + math.floor((Fraction(positions) - self.marked) * UNITS))


class _Inventory:
    """One instrument's: how much is held, and whose part of it falls away."""

    def __init__(self) -> None:
        self.held = ZERO
        self.of: dict[str, Fraction] = {}

    def buy(self, move: Booked, gone: Fraction) -> None:
        """Take in a buy, of which a part falls away."""
        self.held += move.moved
        if gone:
            self.of[move.cl_ord_id] = self.of.get(move.cl_ord_id, ZERO) + gone * move.moved

    def sell(self, qty: Fraction) -> dict[str, Fraction]:
        """Take out a sale; returns which part of it is of what falls away, by order."""
        if self.held <= 0:
            return {}
        part = min(qty / self.held, Fraction(1))
        parts = {cl_ord_id: share * part for cl_ord_id, share in self.of.items()}
        self.of = {cl_ord_id: share - parts[cl_ord_id] for cl_ord_id, share in self.of.items() if share != parts[cl_ord_id]}
        self.held -= qty
        return {cl_ord_id: share / qty for cl_ord_id, share in parts.items()}


def contributions(books: Books, ledger: Ledger, bids: Mapping[int, int], stays_raw: Mapping[str, int]) -> Contributions:
    """Return what some orders brought.

    Args:
        books: what moved the inventory. ledger: as it ended.
        bids: raw bids that what is held is marked at, by instrument; 0 or less: at nothing.
        stays_raw: of each order that falls away or shrinks, how much of it stays: its first fills.
    """
    cash: defaultdict[str, Fraction] = defaultdict(Fraction)
    marked: defaultdict[str, Fraction] = defaultdict(Fraction)
    inventories: defaultdict[int, _Inventory] = defaultdict(_Inventory)
    filled: defaultdict[str, int] = defaultdict(int)
    for move in books.moves:
        inventory = inventories[move.instrument]
        if isinstance(move, TakenUp):
            inventory.held += move.moved
            continue
        gone = _gone(move, filled[move.cl_ord_id], stays_raw)
        filled[move.cl_ord_id] += move.qty_raw
        if move.side > 0:
            inventory.buy(move, gone)
            cash[move.cl_ord_id] += gone * move.cash
            continue
        parts = inventory.sell(-move.moved)
        for cl_ord_id, part in parts.items():
            cash[cl_ord_id] += part * move.cash
        if gone:  # what is not sold stays, and is marked at the end
            unsold = gone * (1 - sum(parts.values(), ZERO))
            cash[move.cl_ord_id] += unsold * move.cash
            marked[move.cl_ord_id] += unsold * _value(ledger.positions[move.instrument], bids.get(move.instrument, 0), move.moved)
    for number, inventory in inventories.items():
        position = ledger.positions[number]
        whole = Fraction(position.value_at(bids[number])) if position.qty_raw > 0 and bids.get(number, 0) > 0 else ZERO
        for cl_ord_id, share in inventory.of.items():
            marked[cl_ord_id] += whole * share / inventory.held
    return Contributions(sum(cash.values(), ZERO), sum(marked.values(), ZERO),
                         {cl_ord_id: cash[cl_ord_id] + marked[cl_ord_id] for cl_ord_id in stays_raw})


def _gone(move: Booked, before_raw: int, stays_raw: Mapping[str, int]) -> Fraction:
    """Return which part of a fill falls away, of which so much of its order was filled before."""
    stays = stays_raw.get(move.cl_ord_id)
    if stays is None:
        return ZERO
    return Fraction(move.qty_raw - min(max(stays - before_raw, 0), move.qty_raw), move.qty_raw)


def _value(position: Position, bid_raw: int, qty: Fraction) -> Fraction:
    return Fraction(from_raw(bid_raw, position.price_precision)) * qty if bid_raw > 0 else ZERO


def money(value: Fraction) -> Decimal:
    """Return an amount to 10^-8, rounded half to even."""
    return from_raw(round(value * UNITS), MONEY_PRECISION)
