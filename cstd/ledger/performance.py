"""Unitised net asset value of the account, and what its change consists of: exact.

Net asset value is cash and coins of configured instruments, managed and the user's own, at the last verified bid. Deposits,
withdrawals, transfers, rewards and staking issue and redeem units at the value of then, so that the value of a unit moves by
profit and loss alone.

The change from one look to the next is taken apart in increments: what was held times the move of its bid, what each fill was
worth, what the user moved. Value itself is computed from what there is. The two are compared at each look, and what they do
not agree about is `unexplained`: zero, or something is missing here.

Everything is a decimal and exact: sums and products of what venue and user said, to their last digit, in a context that raises
where a digit would be lost. Two things are rounded, and said: units are issued and redeemed in whole 10^-8, down (a redemption
takes the next unit up, so that a flow never lowers the value of a unit, and raises it by less than one part in the number of
10^-8 units), and the value of a unit is shown to 12 decimals, down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, localcontext
from fractions import Fraction

import msgspec

ZERO = Decimal(0)
UNIT = Decimal("0.00000001")
UNIT_DIGITS, SHOWN_DIGITS = 8, 12
# Far more digits than products of prices and quantities have; one that is lost all the same is an error.
EXACT = Context(prec=400, traps=[DivisionByZero, Inexact, InvalidOperation, Overflow])


class Held(msgspec.Struct, frozen=True):
    """One asset: the user's own, what is managed (rest: its part finer than the instrument's digits), and the bid; 0 for none."""

    own: Decimal
    qty: Decimal
    rest: Decimal
    bid: Decimal


class Levels(msgspec.Struct, frozen=True):
    """What the account holds at a look. cash: the user's own, other hands' trades included. ours: what our fills came to.

    rounding: what the venue's ledger rounds of them. fills, adopted: how many were counted by then.
    """

    cash: Decimal
    ours: Decimal
    rounding: Decimal
    fills: int
    adopted: int
    held: dict[str, Held]


class Trade(msgspec.Struct, frozen=True):
    """One of our fills. side: 1 or -1. arrival: the mid at its decision; mid: when it was booked; None where it is not known."""

    asset: str
    side: int
    qty: Decimal
    price: Decimal
    cost: Decimal
    fee_quote: Decimal
    fee_base: Decimal
    arrival: Decimal | None
    mid: Decimal | None


class Parts(msgspec.Struct):
    """What the change of value since the beginning consists of, in the account currency; a loss is below zero."""

    flows: Decimal = ZERO        # deposits, withdrawals, rewards, other hands' trades, and coins that had no price before
    own: Decimal = ZERO          # moves of the bid on the user's own coins
    alpha: Decimal = ZERO        # moves of the bid on what is managed
    slippage: Decimal = ZERO     # of fills against the mid at their decision
    timing: Decimal = ZERO       # what the mid did between a decision and its fill
    spread: Decimal = ZERO       # what is bought is marked at the bid, half a spread below; a sale gives it back
    fees: Decimal = ZERO
    rounding: Decimal = ZERO     # the venue's cost less quantity times price, and its ledger's digits
    dust: Decimal = ZERO         # quantities finer than the instrument's digits, which nothing can sell

    def total(self) -> Decimal:
        """The sum of all parts, exact."""
        with localcontext(EXACT):
            return sum((getattr(self, name) for name in self.__struct_fields__), ZERO)


PARTS = Parts.__struct_fields__


def value(levels: Levels) -> Decimal:
    """Return the net asset value of what is held."""
    with localcontext(EXACT):
        coins = sum(((held.own + held.qty - held.rest) * held.bid for held in levels.held.values()), ZERO)
        return levels.cash + levels.ours + levels.rounding + coins


class Performance:
    """Units and parts since the beginning. One writer: the projector.

    Attributes:
        levels: of the last look, None before the first. nav: their value. first: of the first look.
        units: in issue, whole 10^-8. series: 1, and one more each time that units had to begin anew at a value of 1, because
            nothing was left of those before.
    """

    def __init__(self) -> None:
        self.levels: Levels | None = None
        self.nav = self.first = self.units = ZERO
        self.series = 1
        self.parts = Parts()

    @property
    def unexplained(self) -> Decimal:
        """What value and parts do not agree about."""
        with localcontext(EXACT):
            return self.nav - self.first - self.parts.total()

    @property
    def per_unit(self) -> Decimal | None:
        """The value of a unit, rounded down to 12 decimals; None without units."""
        if self.units <= 0:
            return None
        return _floor(Fraction(self.nav) / Fraction(self.units), SHOWN_DIGITS)

    def restore(self, levels: Levels, nav: Decimal, unexplained: Decimal, units: Decimal, series: int, parts: Parts) -> None:
        """Go on from a look that was written down."""
        self.levels, self.nav, self.units, self.series, self.parts = levels, nav, units, series, parts
        with localcontext(EXACT):
            self.first = nav - unexplained - parts.total()

    def look(self, now: Levels, trades: Iterable[Trade] = (), adopted: Mapping[str, Decimal] | None = None) -> None:
        """Take what the account holds now, and what happened since the look before.

        Args:
            trades: our fills since then. adopted: by asset, what became managed of the user's own.
        """
        with localcontext(EXACT):
            before, self.levels = self.levels, now
            if before is None:
                self.nav = self.first = value(now)
                self._begin_units()
                return
            flows = self.parts.flows
            for asset in before.held.keys() | now.held.keys():
                self._moved(before.held.get(asset), now.held.get(asset), (adopted or {}).get(asset, ZERO))
            for trade in trades:
                self._traded(trade, now.held[trade.asset].bid)
            self.parts.flows += now.cash - before.cash
            self.parts.rounding += now.rounding - before.rounding
            self.nav = value(now)
            self._issue(self.parts.flows - flows)

    def _moved(self, before: Held | None, now: Held | None, adopted: Decimal) -> None:
        """Add what an asset's bid did to what was held of it, then what the user moved, at the bid of now."""
        before = before or Held(ZERO, ZERO, ZERO, ZERO)
        now = now or Held(ZERO, ZERO, ZERO, before.bid)
        parts, step = self.parts, now.bid - before.bid
        if before.bid:
            parts.own += before.own * step
            parts.alpha += before.qty * step
            parts.dust -= before.rest * step
        else:  # no price until now: it comes into the account with its first one
            parts.flows += (before.own + before.qty - before.rest) * now.bid
        parts.flows += (now.own - before.own + adopted) * now.bid
        parts.dust -= (now.rest - before.rest) * now.bid

    def _traded(self, trade: Trade, bid: Decimal) -> None:
        """Add what a fill did: cash for coins that are marked at the bid."""
        parts, signed = self.parts, trade.side * trade.qty
        arrival = trade.price if trade.arrival is None else trade.arrival
        mid = bid if trade.mid is None else trade.mid
        parts.slippage -= signed * (trade.price - arrival)
        parts.timing += signed * (mid - arrival)
        parts.spread += signed * (bid - mid)
        parts.rounding -= trade.side * (trade.cost - trade.qty * trade.price)
        parts.fees -= trade.fee_quote + trade.fee_base * bid

    def _issue(self, flow: Decimal) -> None:
        """Issue or redeem units for what flowed, at the value that a unit has without it."""
        if not flow:
            return
        without = self.nav - flow
        if self.units > 0 and without > 0:
            self.units += _floor(Fraction(flow) * Fraction(self.units) / Fraction(without), UNIT_DIGITS)
        if self.units <= 0 or without <= 0:
            self.series += 1
            self._begin_units()

    def _begin_units(self) -> None:
        self.units = max(ZERO, _floor(Fraction(self.nav), UNIT_DIGITS))


def _floor(number: Fraction, digits: int) -> Decimal:
    """Return a number rounded down to so many decimals."""
    return Decimal(number.numerator * 10**digits // number.denominator).scaleb(-digits, EXACT)
