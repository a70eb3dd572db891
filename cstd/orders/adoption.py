"""Adoption: the user's coins of named instruments become managed inventory, once, at a journal's first start.

What is managed is what this daemon bought, unless `portfolio.adopt` names more. A coin changes hands inside our books alone:
the user's own falls by what the managed quantity rises, and the venue's balance is what it was. It costs the verified best bid
of that moment, which is what a long is marked by, so no profit and no loss begins with it.

Why this way: what is the user's is fixed by a journal's first comparison of balances, so that is where part of it can become
ours without anything else being in between: no order of ours has left, and the balance is agreed to the last digit. A command
on a running daemon would say the same later and less clearly: a key can be read, checked and reviewed before it counts, and a
journal then has one beginning from which all that is managed is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import msgspec

from cstd._fast.codes import BookState, EventKind
from cstd.config import Config
from cstd.ledger.nav import to_money_raw
from cstd.orders.balances import Balances
from cstd.orders.tracker import OrderTracker
from cstd.units import INT64_MAX, format_decimal, from_raw
from cstd.venue.rest.names import pair_spellings

FIRST_LOOK = "balances have not agreed yet"
NO_DIGITS = "the venue has not told its digits yet"
NO_BOOK = "its book is not verified"
LOOKED_FOR = "its book is verified; the next look at the balances decides"
ORDER_LIVE = "an order of ours is live"
TOO_MUCH = "there is more of it than can be counted"
UNREADABLE = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)
# Sums over instruments stay inside what the gates count in.
RAW_MAX = INT64_MAX >> 8


class Adopted(msgspec.Struct, frozen=True):
    """What was taken up of one instrument. price: the best bid. cost: quantity times price, exact. own_left: still the user's."""

    instrument: int
    qty_raw: int
    qty_precision: int
    price: Decimal
    cost: Decimal
    own_left: Decimal
    wall_ns: int


class Adoption:
    """Which coins are still to be taken up, and which were. One writer: the engine, through the risk desk.

    Args:
        tracker: orders and ledger. book: takes what is adopted into ledger and net asset value.

    Attributes:
        waiting: why the coins of an instrument are not taken up yet, by instrument; empty once all were looked at.
        first: what was the user's own when balances agreed for the first time: what comes in while it waits stays his.
        taken: what was taken up, oldest first.
        wait_count: looks that found coins which have to wait.
    """

    def __init__(self, tracker: OrderTracker, book: Callable[[Adopted], None]) -> None:
        self._tracker = tracker
        self._book = book
        self._asked: str | list[str] | None = None
        self.waiting: dict[int, str] = {}
        self.first: dict[int, Decimal] = {}
        self.taken: list[Adopted] = []
        self.wait_count = 0

    def configure(self, cfg: Config) -> None:
        """Take what a boot asks for: a journal's first one. A later one that asks for something else is told so."""
        asked = cfg.portfolio.adopt
        if self._asked is None:
            self._asked = asked
            self.waiting = {number: FIRST_LOOK for name, number in self._tracker.numbers.items() if cfg.portfolio.adopts(name)}
        elif asked != self._asked:
            self._tracker.notes.append(("warning", "portfolio.adopt counts at a journal's first start alone", {
                "then": self._asked, "now": asked}))

    def on_timer(self) -> None:
        """Ask for a look at the balances once a book that was waited for is verified."""
        for number, why in self.waiting.items():
            if why in (NO_DIGITS, NO_BOOK) and self._verified(number):
                self.waiting[number] = LOOKED_FOR
                self._tracker.want_reconcile = True

    def on_agreed(self, balances: Balances, others: Mapping[str, Mapping[str, Any]]) -> None:
        """Take up what waits, where it may be: balances have just agreed. others: open orders that are not ours."""
        positions = self._tracker.ledger.positions
        for number in list(self.waiting):
            if number in positions:
                self.first.setdefault(number, balances.own[positions[number].base])
            why = self._why_not(number)
            if not why:
                why = self._take(number, balances, others)
            if not why:
                del self.waiting[number], self.first[number]
                continue
            self.wait_count += 1
            if self.waiting[number] != why:
                self._note("warning", "adoption waits", number, why=why)
            self.waiting[number] = why

    def _why_not(self, number: int) -> str:
        core = self._tracker.core
        if number not in self._tracker.ledger.positions or not core.slots[number].configured:
            return NO_DIGITS
        if any(core.order(index)["instrument"] == number for index in core.live_orders()):
            return ORDER_LIVE
        return "" if self._verified(number) else NO_BOOK

    def _verified(self, number: int) -> bool:
        slot = self._tracker.core.slots[number]
        return bool(slot.configured) and slot.book.state == BookState.BOOK_VERIFIED and slot.last_verified_bid_raw > 0

    def _take(self, number: int, balances: Balances, others: Mapping[str, Mapping[str, Any]]) -> str:
        """Take up what is free of the user's own, in whole units of the instrument's digits; returns why it cannot be."""
        core, position = self._tracker.core, self._tracker.ledger.positions[number]
        slot, base = core.slots[number], position.base
        try:
            tied = max(balances.on_hold(base), _sells(others, slot.name.decode()))
        except UNREADABLE as problem:
            return f"an open order of the account cannot be read: {type(problem).__name__}"
        free = max(min(balances.own[base], self.first[number]) - tied, Decimal(0))
        qty_raw = int(free.scaleb(position.qty_precision).to_integral_value(ROUND_FLOOR))
        bid_raw, before = slot.last_verified_bid_raw, balances.own[base]
        cost = from_raw(qty_raw * bid_raw, position.qty_precision + position.price_precision)
        if max(qty_raw, to_money_raw(cost)) > RAW_MAX:
            return TOO_MUCH
        row = Adopted(instrument=number, qty_raw=qty_raw, qty_precision=position.qty_precision, cost=cost,
                      price=from_raw(bid_raw, position.price_precision), wall_ns=core.wall_ns,
                      own_left=before - from_raw(qty_raw, position.qty_precision))
        if qty_raw:
            balances.own[base] = row.own_left
            self._book(row)
            self.taken.append(row)
        self._record(row, asset=base, before=before, tied=tied)
        return ""

    def _record(self, row: Adopted, *, asset: str, before: Decimal, tied: Decimal) -> None:
        """One record of the journal, with the book that the price is of; and a line of the log."""
        core = self._tracker.core
        book = core.slots[row.instrument].book
        core.recorder.output_py(EventKind.OUT_ADOPTION, row.instrument, core.mono_ns, core.wall_ns, msgspec.json.encode({
            "instrument": self._name(row.instrument), "asset": asset, "qty_raw": row.qty_raw, "qty_precision": row.qty_precision,
            "price": format_decimal(row.price), "cost": format_decimal(row.cost), "own_before": format_decimal(before),
            "own_left": format_decimal(row.own_left), "tied": format_decimal(tied), "event_seq": core.recorder.seq,
            "book_updates": book.updates, "book_checksum": book.checksum, "book_exch_ns": book.exch_ns}))
        self._note("warning", "adopted" if row.qty_raw else "nothing to adopt", row.instrument, qty=self._qty(row),
                   price=format_decimal(row.price), own_left=format_decimal(row.own_left), tied=format_decimal(tied))

    def _note(self, level: str, what: str, number: int, **fields: str) -> None:
        self._tracker.notes.append((level, what, {"instrument": self._name(number), **fields}))

    def _name(self, number: int) -> str:
        return self._tracker.core.slots[number].name.decode()

    @staticmethod
    def _qty(row: Adopted) -> str:
        return format_decimal(from_raw(row.qty_raw, row.qty_precision))

    def shown(self) -> dict[str, str]:
        """By instrument, in words: what was taken up, or why it waits."""
        words = {self._name(row.instrument): f"{self._qty(row)} at {format_decimal(row.price)}" for row in self.taken}
        return words | {self._name(number): f"waits: {why}" for number, why in self.waiting.items()}


def _sells(rows: Mapping[str, Mapping[str, Any]], name: str) -> Decimal:
    """What open sells of others still have to sell of an instrument."""
    spellings = pair_spellings(name)
    return sum((Decimal(str(row["vol"])) - Decimal(str(row["vol_exec"])) for row in rows.values()
                if row["descr"]["type"] == "sell" and row["descr"]["pair"] in spellings), Decimal(0))
