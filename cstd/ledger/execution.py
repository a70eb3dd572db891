"""The quality of executions in money and basis points: shortfall, markouts, score; and how often resting orders fill.

Positive is cost, for buys and sells alike. Amounts are `Decimal` in quote, from the venue's own costs and fees; a ratio is
rounded once, when it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

HORIZONS_S = (1, 10, 60, 300)
SCORE_HORIZON_S = 60
WILSON_Z = Decimal("1.96")      # 95 %
ZERO = Decimal(0)
BPS = Decimal(10_000)
MILLI = Decimal("0.001")
DIGITS = 40                     # of quotients, before they are rounded to be shown


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill. `fee` in quote, None where it was paid in an asset that is neither base nor quote; `mids` by horizon in s."""

    price: Decimal
    qty: Decimal
    cost: Decimal
    fee: Decimal | None
    mids: Mapping[int, Decimal | None]


@dataclass(frozen=True, slots=True)
class Ratio:
    """An amount of money and what it is of; `bps` is their ratio."""

    amount: Decimal
    value: Decimal

    def bps(self) -> Decimal:
        """Return the ratio in basis points, to a thousandth."""
        with localcontext(prec=DIGITS):
            return (self.amount * BPS / self.value).quantize(MILLI, ROUND_HALF_EVEN) + ZERO     # no minus before a zero


@dataclass(frozen=True, slots=True)
class FilledOrder:
    """An order with at least one fill. `sign`: 1 for a buy, -1 for a sell; `arrival`: the mid at its decision, if known."""

    sign: int
    arrival: Decimal | None
    fills: Sequence[Execution]

    @property
    def _arrival_value(self) -> Decimal | None:
        """What the filled quantity would have cost at the arrival price: what every ratio of an order is of."""
        return self.arrival * sum((fill.qty for fill in self.fills), ZERO) if self.arrival is not None else None

    def _of_arrival(self, amount: Decimal | None) -> Ratio | None:
        value = self._arrival_value
        return Ratio(amount, value) if amount is not None and value is not None else None

    def price_cost(self) -> Ratio | None:
        """Return what was paid above the arrival price, fees left out."""
        value = self._arrival_value
        cost = sum((fill.cost for fill in self.fills), ZERO)
        return self._of_arrival(self.sign * (cost - value) if value is not None else None)

    def fees(self) -> Ratio | None:
        """Return the fees."""
        return self._of_arrival(self._fees())

    def shortfall(self) -> Ratio | None:
        """Return the implementation shortfall of the filled quantity: price cost and fees."""
        price, fees = self.price_cost(), self._fees()
        return self._of_arrival(price.amount + fees if price is not None and fees is not None else None)

    def markout(self, horizon_s: int) -> Ratio | None:
        """Return what the fills cost against the mids after them; None as soon as one of these is unknown."""
        found = [markout(fill, self.sign, horizon_s) for fill in self.fills]
        known = [ratio.amount for ratio in found if ratio is not None]
        return self._of_arrival(sum(known, ZERO)) if len(known) == len(found) else None

    def score(self) -> Ratio | None:
        """Return shortfall and markout at SCORE_HORIZON_S together."""
        shortfall, after = self.shortfall(), self.markout(SCORE_HORIZON_S)
        return self._of_arrival(shortfall.amount + after.amount if shortfall is not None and after is not None else None)

    def _fees(self) -> Decimal | None:
        fees = [fill.fee for fill in self.fills if fill.fee is not None]
        return sum(fees, ZERO) if len(fees) == len(self.fills) else None


def markout(fill: Execution, sign: int, horizon_s: int) -> Ratio | None:
    """Return what a fill cost against the mid `horizon_s` after it, of its own cost; None where that mid is unknown."""
    mid = fill.mids.get(horizon_s)
    return Ratio(sign * (fill.cost - mid * fill.qty), fill.cost) if mid is not None and fill.cost > 0 else None


def fee_in_quote(fees: Iterable[tuple[str, Decimal]], base: str, quote: str, price: Decimal) -> Decimal | None:
    """Return a fill's fees in quote, those in base at the fill's own price; None with one in any other asset."""
    total = ZERO
    for asset, amount in fees:
        if asset not in (base, quote):
            return None
        total += amount if asset == quote else amount * price
    return total


def together(ratios: Sequence[Ratio]) -> Decimal | None:
    """Return all amounts over all values, in basis points: the mean weighted by value."""
    value = sum((ratio.value for ratio in ratios), ZERO)
    return Ratio(sum((ratio.amount for ratio in ratios), ZERO), value).bps() if value else None


def percentiles(ratios: Iterable[Ratio], percents: Sequence[int]) -> list[Decimal | None]:
    """Return percentiles over the ratios, each counting once, in basis points; None without a ratio."""
    ordered = sorted(ratio.bps() for ratio in ratios)
    return [ordered[min(len(ordered) - 1, percent * len(ordered) // 100)] if ordered else None for percent in percents]


# How often orders that rest are filled, by what was ahead of them.

QUEUE_EDGES = (0, 1, 3, 10)     # upper edges, in multiples of the order's own quantity
QUEUE_NAMES = ("nothing", "up to 1", "up to 3", "up to 10", "more than 10")


def queue_class(ahead_raw: int, qty_raw: int) -> int:
    """Return the class of a queue position: the quantity ahead against the order's own, both in the same raw units."""
    return next((number for number, edge in enumerate(QUEUE_EDGES) if ahead_raw <= edge * qty_raw), len(QUEUE_EDGES))


def wilson(found: int, count: int) -> tuple[Decimal, Decimal]:
    """Return Wilson's 95 % interval of a share of which `found` in `count` were seen. `count` is above zero."""
    with localcontext(prec=DIGITS):
        n, z2 = Decimal(count), WILSON_Z * WILSON_Z
        share = found / n
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = WILSON_Z * (share * (1 - share) / n + z2 / (4 * n * n)).sqrt() / (1 + z2 / n)
        return max(ZERO, middle - half), min(Decimal(1), middle + half)
