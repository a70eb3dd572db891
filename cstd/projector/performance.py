"""Units and attribution as rows: what the engine holds after an event, looked at each minute and whenever something moved.

A row has the levels that it was made from, so that a projector which begins at a checkpoint goes on from the newest row before
it: between two rows nothing but bids moved, and what bids did to quantities that stayed is the same in one step as in many.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from cstd._fast.codes import BookState, Side
from cstd.ledger.performance import EXACT, PARTS, Held, Levels, Parts, Performance, Trade
from cstd.ledger.positions import Fill
from cstd.projector.database import Row
from cstd.units import from_raw

if TYPE_CHECKING:
    from cstd.engine import Engine

ZERO = Decimal(0)
MINUTE_NS = 60_000_000_000


class UnitRows:
    """One way through a journal. `after` whenever an event was processed; a row comes of what moved, and of each minute."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._performance = Performance()
        self._seen: tuple[object, ...] | None = None
        self._own: dict[str, Decimal] = {}
        self._known: dict[str, Decimal] = {}
        self._positions = 0

    def restore(self, found: tuple[object, ...] | None) -> None:
        """Go on from a row of the table, None where there is none before."""
        if found is None:
            return
        _, wall_ns, _, nav, units, _, series, *rest = found
        parts, unexplained, levels = rest[:len(PARTS)], rest[-2], rest[-1]
        known = msgspec.json.decode(str(levels), type=Levels)
        self._performance.restore(known, Decimal(str(nav)), Decimal(str(unexplained)), Decimal(str(units)), int(str(series)),
                                  Parts(*(Decimal(str(part)) for part in parts)))
        self._seen = (int(str(wall_ns)) // MINUTE_NS, known.fills, known.adopted, known.cash, known.rounding,
                      {asset: held.own for asset, held in known.held.items() if held.own})

    def after(self, seq: int, wall_ns: int) -> Row | None:
        """Return the row of an event, None where nothing asks for one. Before the first agreed balances nothing is known."""
        engine = self._engine
        cash = engine.reconciler.balances.cash
        if cash.own is None:
            return None
        seen = (wall_ns // MINUTE_NS, len(engine.ledger.fills), len(engine.risk.adoption.taken), cash.own + cash.others(),
                cash.rounding, self._users())
        if seen == self._seen:
            return None
        self._seen = seen
        self._look()
        return self._row(seq, wall_ns)

    def _users(self) -> dict[str, Decimal]:
        """The user's own coins that an instrument trades; of a thousand instruments none moves at most events."""
        own, positions = self._engine.reconciler.balances.own, self._engine.ledger.positions
        if own != self._own or len(positions) != self._positions:
            self._own, self._positions = dict(own), len(positions)
            self._known = {position.base: own[position.base] for position in positions.values() if own.get(position.base)}
        return self._known

    def _look(self) -> None:
        engine, before = self._engine, self._performance.levels
        fills, taken, cash = engine.ledger.fills, engine.risk.adoption.taken, engine.reconciler.balances.cash
        adopted: dict[str, Decimal] = {}
        new: list[Fill] = []
        if before is not None:
            new = list(islice(reversed(fills.values()), len(fills) - before.fills))[::-1]
            for coins in taken[before.adopted:]:
                base = engine.ledger.positions[coins.instrument].base
                adopted[base] = adopted.get(base, ZERO) + from_raw(coins.qty_raw, coins.qty_precision)
        # What was there at the look before, or came and went since, is valued by the bid of now as well.
        assets = {engine.ledger.positions[fill.instrument].base for fill in new} | adopted.keys()
        assets |= {asset for asset, row in before.held.items() if row.own or row.qty} if before is not None else set()
        held = {position.base: row for number, position in engine.ledger.positions.items()
                if (row := self._held(number)).own or row.qty or position.base in assets}
        levels = Levels(cash=(cash.own or ZERO) + cash.others(), ours=engine.ledger.cash_flow, rounding=cash.rounding,
                        fills=len(fills), adopted=len(taken), held=held)
        self._performance.look(levels, [self._trade(fill) for fill in new], adopted)

    def _held(self, number: int) -> Held:
        position = self._engine.ledger.positions[number]
        bid_raw = max(0, self._engine.core.slots[number].last_verified_bid_raw)
        return Held(own=self._engine.reconciler.balances.own.get(position.base, ZERO), qty=position.qty, rest=position.rest,
                    bid=from_raw(bid_raw, position.price_precision))

    def _trade(self, fill: Fill) -> Trade:
        engine, position = self._engine, self._engine.ledger.positions[fill.instrument]
        index = engine.core.find_order(fill.cl_ord_id.encode())
        order = engine.core.order(index) if index >= 0 else engine.tracker.history.get(fill.cl_ord_id)
        digits = engine.tracker.digits(order)[0] if order is not None else position.price_precision
        return Trade(
            asset=position.base, side=fill.side, qty=from_raw(fill.qty_raw, fill.qty_precision), price=fill.price, cost=fill.cost,
            fee_quote=sum((amount for asset, amount in fill.fees if asset == position.quote), ZERO),
            fee_base=sum((amount for asset, amount in fill.fees if asset == position.base), ZERO),
            arrival=from_raw(fill.mid2_raw, digits) / 2 if fill.mid2_raw > 0 else None, mid=self._mid(fill.instrument))

    def _mid(self, number: int) -> Decimal | None:
        book = self._engine.core.slots[number].book
        if book.state != BookState.BOOK_VERIFIED:
            return None
        both = book.levels(Side.BUY, 1)[0][0] + book.levels(Side.SELL, 1)[0][0]
        return from_raw(both, self._engine.ledger.positions[number].price_precision) / 2

    def _row(self, seq: int, wall_ns: int) -> Row:
        kept, engine = self._performance, self._engine
        per_unit, levels = kept.per_unit, kept.levels
        return Row("performance", (
            seq, wall_ns, engine.cfg.account.currency if engine.cfg is not None else "", _text(kept.nav), _text(kept.units),
            _text(per_unit) if per_unit is not None else None, kept.series,
            *(_text(getattr(kept.parts, name)) for name in PARTS), _text(kept.unexplained),
            msgspec.json.encode(levels).decode()))


def _text(amount: Decimal) -> str:
    """A sum in plain digits; zeros that it has collected behind its last digit are left out."""
    return f"{amount.normalize(EXACT):f}" if amount else "0"
