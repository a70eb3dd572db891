"""Cash: what the account holds of its quote currency, explained flow by flow.

The user's own, what our fills brought and took, and what another hand traded make the venue's balance, to the last digit. A
fill's cost and fee are booked here as they are told; the venue's ledger may print fewer decimals of them, and the balance is
the ledger's. So the ledger's entry of each fill is taken beside the fill, and what it rounds is kept apart. Where an entry was
not told (no private socket then), its rounding is known only to be less than a unit of the ledger for cost and fee each: as
much is allowed for once, and taken as rounding by the next comparison.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

from cstd.ledger.positions import HISTORY_ROUNDS_TO, Fill, Ledger

ZERO = Decimal(0)
# Of one fill: its cost and its fee, each by less than a unit.
ROUNDS_TO = 2 * HISTORY_ROUNDS_TO
ENTRIES_KEPT = 1024


class Cash:
    """One quote currency. One writer: the engine.

    Attributes:
        own: the user's own, None before the first comparison; below zero where he took out more than he had put in.
        rounding: what the venue's ledger booked of our fills beyond what was told of them.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.own: Decimal | None = None
        self.rounding = ZERO
        self._told: dict[str, Decimal] = {}    # entries of trades, by exec_id, of which no fill is booked
        self._others: dict[str, Decimal] = {}  # those of them that belong to orders that are not ours
        self._untold: dict[str, Decimal] = {}  # fills by exec_id whose entry has not come, and what they brought
        self._unagreed: dict[str, None] = {}   # which of those no comparison has agreed with yet
        self._contained: dict[str, None] = {}  # executions that a balance which agreed has in it, though nothing counted them
        self._fills_seen = 0

    @property
    def asset(self) -> str:
        """The quote currency, "" before an instrument is known."""
        return next((position.quote for position in self._ledger.positions.values()), "")

    def on_trade(self, exec_id: str, net: Decimal) -> None:
        """Take the ledger's entry of an execution: amount less fee, in this currency. Told again it changes nothing."""
        self._take_fills()
        if exec_id in self._untold:
            self._take_rounding(self._untold.pop(exec_id), net)
        elif exec_id not in self._ledger.fills and exec_id not in self._others and exec_id not in self._contained:
            self._told[exec_id] = net
            if len(self._told) > ENTRIES_KEPT:
                self._told.pop(next(iter(self._told)))

    def on_contained(self, exec_id: str) -> None:
        """An execution is in the balance that agreed last: told of late, as another hand's, it does not count again."""
        if exec_id in self._ledger.fills or (exec_id in self._others and exec_id not in self._unagreed):
            return
        self._told.pop(exec_id, None)
        self._others.pop(exec_id, None)
        self._unagreed.pop(exec_id, None)
        self._contained[exec_id] = None
        if len(self._contained) > ENTRIES_KEPT:
            self._contained.pop(next(iter(self._contained)))

    def agree(self) -> None:
        """A comparison agreed: what is counted now is in the balance it found."""
        self._unagreed.clear()

    def on_move(self, net: Decimal) -> Decimal:
        """The user moved cash in or out, after the first comparison; returns what is his now."""
        self.own = (self.own or ZERO) + net
        return self.own

    def on_trades(self, rows: Mapping[str, Mapping[str, Any]], ours: Container[str]) -> None:
        """Tell the trades of other hands by the venue's history. rows: trades by exec_id. ours: venue ids of our orders."""
        self._take_fills()
        for exec_id in list(self._told):
            if exec_id in rows and rows[exec_id].get("ordertxid") not in ours:
                self._others[exec_id] = self._told.pop(exec_id)
                self._unagreed[exec_id] = None
        while len(self._others) > ENTRIES_KEPT:
            oldest = next(iter(self._others))
            self._unagreed.pop(oldest, None)
            net = self._others.pop(oldest)
            self.own = None if self.own is None else self.own + net

    def others(self) -> Decimal:
        """What other hands' trades brought or cost, as far as they are kept apart from the user's own."""
        return sum(self._others.values(), ZERO)

    def difference(self, held: Decimal) -> Decimal:
        """Return the venue's balance less what is explained; zero when all is. The first call fixes what is the user's."""
        self._take_fills()
        explained = self._ledger.cash_flow + self.rounding + self.others()
        if self.own is None:
            self.own = held - explained
        apart = held - explained - self.own
        if abs(apart) > len(self._untold) * ROUNDS_TO:
            return apart
        self.rounding += apart
        self._untold.clear()
        return ZERO

    def _take_fills(self) -> None:
        """Look at the fills that were booked since the last look."""
        fills = self._ledger.fills
        new = list(islice(reversed(fills.values()), len(fills) - self._fills_seen))
        self._fills_seen = len(fills)
        for fill in reversed(new):
            net = self._net(fill)
            told = self._told.pop(fill.exec_id, self._others.pop(fill.exec_id, None))
            if told is None:
                self._untold[fill.exec_id] = net
            else:
                self._take_rounding(net, told)

    def _net(self, fill: Fill) -> Decimal:
        quote = self._ledger.positions[fill.instrument].quote
        return -fill.side * fill.cost - sum((amount for asset, amount in fill.fees if asset == quote), ZERO)

    def _take_rounding(self, booked: Decimal, told: Decimal) -> None:
        """More than rounding is no rounding: it stays in the difference."""
        if abs(told - booked) < ROUNDS_TO:
            self.rounding += told - booked
