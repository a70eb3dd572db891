"""Balances: what the venue holds of each asset, beside what is managed and what is the user's own.

Coins and cash alike must agree to the last digit. What is the user's is fixed by the first comparison and follows his moves:
as the balances channel tells them, and, where a difference says that one was missed, as the venue's ledger has them. Which
moves a comparison has in it no clock decides: each entry of the ledger carries the balance after it, so the entries after the
balance that agreed are the ones that came since.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

from cstd.ledger.cash import Cash
from cstd.ledger.statement import USERS_MOVES
from cstd.orders.tracker import OrderTracker
from cstd.units import INT64_MAX
from cstd.venue.messages import BalanceEntry, BalancesMessage
from cstd.venue.rest.models import LedgerRow, parse_balances, parse_ledgers

MOVES_KEPT = 1024
# So many entries of an asset before the balance that agreed may still be told of by the channel.
TOLD_LATE = 100


class Balances:
    """The comparison of balances. One writer: the engine, through the reconciler.

    Args:
        tracker: orders and ledger to compare with. differ: takes the text of what does not agree.
        lasting_ns: how long the same difference must stand before live orders cannot explain it.

    Attributes:
        own: the user's own quantity of each coin, fixed when it was compared first; below zero where he took out more than
            was his, which no comparison agrees with.
        agreed: whether all agreed when they were compared last.
        settled: they have agreed since the private link came up.
        coins_known: the coins have, and no comparison since found a difference in them: what is managed may be sold.
        mismatch_rounds: comparisons in a row that found a difference no fill on its way explains. mismatch: the last of them.
    """

    def __init__(self, tracker: OrderTracker, differ: Callable[[str], None], lasting_ns: int) -> None:
        self._tracker = tracker
        self._differ = differ
        self._lasting_ns = lasting_ns
        self.own: dict[str, Decimal] = {}
        self.cash = Cash(tracker.ledger)
        self.agreed = True
        self.settled = self.coins_known = False
        self.mismatch_rounds = 0
        self.mismatch = ""
        self._held: dict[str, Decimal] = {}
        self._on_hold: dict[str, Decimal] = {}
        self._agreed: dict[str, tuple[Decimal, int]] = {}  # by asset, what was held when it agreed last, and fills by then
        self._moves: dict[str, tuple[str, Decimal]] = {}  # by ledger id, asset and net of what was counted since it agreed
        self._moves_seen: dict[str, int] = {}
        self._moves_until_ns = 0                    # up to here, by the venue's clock, a move was seen, kept or not
        self._rows: dict[str, Any] = {}             # of the venue's ledger, newest first, read while it differs
        self._standing: dict[str, tuple[Decimal, int]] = {}  # by asset: what is off, and since when it is just that

    def take_over(self, before: Balances) -> None:
        """Go on from the boot before this one: what was agreed with the venue stays agreed."""
        self.own, self.cash, self._agreed = before.own, before.cash, before._agreed
        self._moves, self._moves_seen, self._moves_until_ns = before._moves, before._moves_seen, before._moves_until_ns

    def reset(self) -> None:
        """The private link came or went: nothing has been compared on the one that is there now."""
        self.settled = self.coins_known = False

    # What the venue's ledger tells.

    def on_message(self, message: BalancesMessage) -> None:
        """Follow what the balances channel tells: moves of the user's, and what the ledger booked of executions."""
        if not message.snapshot:
            for entry in message.entries:
                self._on_entry(entry)

    def on_ledger(self, rows: Mapping[str, Any], trades: Mapping[str, Mapping[str, Any]], ours: Container[str]) -> None:
        """Follow rows of the venue's ledger, which the channel may have missed; then the trades of other hands.

        Args:
            rows: by ledger id, newest first, read until they have `reached` what is known.
            trades: the venue's history of trades by exec_id. ours: venue ids of our orders.
        """
        if rows:
            self._rows = self._joined(rows)
        for asset in self._standing if rows else ():
            entries = _entries(self._rows, asset)
            since = self._since(asset, entries)
            if since is None:
                self._tracker.notes.append(("warning", "the venue's ledger does not show the balance that agreed last", {
                    "asset": asset, "balance": f"{self._agreed[asset][0]:f}" if asset in self._agreed else ""}))
                continue
            for row in entries[max(0, since - TOLD_LATE):since]:
                self._take_back(row)
            for row in entries[since:]:
                self._on_entry(_entry(row))
        self.cash.on_trades(trades, ours)

    def reached(self, rows: Mapping[str, Any]) -> bool:
        """Whether rows of the venue's ledger go back to what was read before, or for every asset that differs to what agreed."""
        return not self._rows.keys().isdisjoint(rows) or all(
            self._since(asset, _entries(rows, asset)) is not None for asset in self._standing)

    def _joined(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        """New rows before those that were read by the rounds before: a long ledger is read once while a difference stands."""
        return {**rows, **self._rows} if not self._rows.keys().isdisjoint(rows) else dict(rows)

    def _since(self, asset: str, entries: Sequence[LedgerRow]) -> int | None:
        """Return which of an asset's entries, oldest first, is the first after the balance that agreed; None where none shows it.

        The balance may have been the same more than once. Entries of fills that were booked then come before it, those of later
        fills after it; of what is left between them any will do, because it adds up to nothing.
        """
        if asset not in self._agreed:
            return None
        held, booked = self._agreed[asset]
        fills = self._tracker.ledger.fills
        later = set(islice(reversed(fills), len(fills) - booked))
        ours = [index for index, row in enumerate(entries) if row.ref_id in fills]
        first = max((index + 1 for index in ours if entries[index].ref_id not in later), default=0)
        last = min((index for index in ours if entries[index].ref_id in later), default=len(entries))
        return next((index for index in range(last, first - 1, -1) if _shows(entries, index, held)), None)

    def _on_entry(self, entry: BalanceEntry) -> None:
        if entry.amount is None or entry.wallet_type not in (None, "spot") or entry.wallet_id not in (None, "main"):
            return
        if entry.kind == "trade" and entry.asset == self.cash.asset and entry.ref_id is not None:
            self.cash.on_trade(entry.ref_id, entry.amount - (entry.fee or 0))
        elif entry.kind in USERS_MOVES and self._is_fixed(entry.asset) and entry.ledger_id is not None \
                and self._is_new(entry.ledger_id, entry.timestamp_ns):
            self._move(entry.ledger_id, entry, entry.amount - (entry.fee or 0))

    def _take_back(self, row: LedgerRow) -> None:
        """What the balance that agreed has in it does not count again: the channel may tell of it late."""
        if row.kind == "trade":
            if row.name == self.cash.asset:
                self.cash.on_contained(row.ref_id)
            return
        if row.kind not in USERS_MOVES:
            return
        _, net = self._moves.pop(row.ledger_id, ("", Decimal(0)))
        if net:
            self._add_own(row.name, -net)
        self._is_new(row.ledger_id, row.time_ns)

    def _is_fixed(self, asset: str) -> bool:
        """Whether the user's own of an asset is known; what moved before is in what the first comparison finds."""
        return asset in self.own or (asset == self.cash.asset and self.cash.own is not None)

    def _is_new(self, ledger_id: str, timestamp_ns: int | None) -> bool:
        """Whether an entry was not seen before; it counts as seen from here on."""
        if ledger_id in self._moves_seen or (timestamp_ns or INT64_MAX) <= self._moves_until_ns:
            return False
        self._moves_seen[ledger_id] = timestamp_ns or 0
        if len(self._moves_seen) > MOVES_KEPT:
            # What is as old as what is forgotten counts as seen: the comparison halts where it was not.
            self._moves_until_ns = max(self._moves_until_ns, self._moves_seen.pop(next(iter(self._moves_seen))))
        return True

    def _move(self, ledger_id: str, entry: BalanceEntry, net: Decimal) -> None:
        """What the user moves changes what is his, and no order of ours."""
        self._moves[ledger_id] = entry.asset, net
        if len(self._moves) > MOVES_KEPT:
            self._moves.pop(next(iter(self._moves)))
        left = self._add_own(entry.asset, net)
        if left < 0 and entry.asset != self.cash.asset:
            self._differ(f"{entry.kind} of {-(entry.amount or 0):f} {entry.asset} is more than the user's own {left - net:f}")
        self._tracker.notes.append(("info", "the user's own balance moved", {
            "asset": entry.asset, "kind": entry.kind, "amount": f"{entry.amount:f}", "own": f"{left:f}"}))

    def _add_own(self, asset: str, net: Decimal) -> Decimal:
        if asset == self.cash.asset:
            return self.cash.on_move(net)
        self.own[asset] += net
        return self.own[asset]

    # The comparison.

    def take(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Take what the venue holds, by the asset's REST id. Raises FieldError where a balance is no finite number."""
        found = parse_balances(rows)
        self._held = {row.name: row.balance for row in found}
        self._on_hold = {row.name: row.hold_trade for row in found}

    def on_hold(self, asset: str) -> Decimal:
        """Return what open orders of the account tie up of an asset, by the venue's word."""
        return self._on_hold.get(asset, Decimal(0))

    def difference(self, asset: str) -> Decimal:
        """Return the venue's balance of a coin less what is ours and what is the user's; zero when all is explained.

        Where the user took out more than his own, some of what we manage is missing: that much, below zero.
        """
        held = self._held.get(asset, Decimal(0))
        own = self.own.get(asset, held)
        return held - self._tracker.ledger.managed_qty(asset) - own or min(own, Decimal(0))

    def compare(self, *, quiet: bool, mono_ns: int) -> dict[str, Decimal]:
        """Compare coins and cash; returns what is left over, by asset. The first comparison fixes what is the user's own.

        Args:
            quiet: no order was live and no fill was booked while the venue was asked: a difference is no fill on its way.
            mono_ns: when the venue was asked.
        """
        off = self._left_over()
        self._agree(off)
        coins_off = not off.keys() <= {self.cash.asset}
        self.agreed = not off
        self.coins_known = self.coins_known or not coins_off
        if not off:
            self.settled = True
            self.mismatch_rounds = 0
            self._standing, self._rows = {}, {}
            return off
        before, self._standing = self._standing, {}
        for asset, value in off.items():
            same, since_ns = before.get(asset, (None, mono_ns))
            self._standing[asset] = (value, since_ns if same == value else mono_ns)
        # A fill on its way is booked in this time, and what it left over with it; the next one leaves another amount. So what
        # stands to the last digit is no fill, however many of ours are booked meanwhile.
        lasting = {asset for asset, (_, since_ns) in self._standing.items() if quiet or mono_ns - since_ns >= self._lasting_ns}
        if lasting:
            self.mismatch_rounds += 1
            self.coins_known = lasting <= {self.cash.asset} and (self.coins_known or not coins_off)
            self.mismatch = "balances: " + ", ".join(f"{asset} {value:+f}" for asset, value in off.items())
        return off

    def _left_over(self) -> dict[str, Decimal]:
        off = {}
        for base in self._bases():
            if base not in self.own:
                self.own[base] = self._held.get(base, Decimal(0)) - self._tracker.ledger.managed_qty(base)
            if apart := self.difference(base):
                off[base] = apart
        quote = self.cash.asset
        if quote and (apart := self.cash.difference(self._held.get(quote, Decimal(0)))):
            off[quote] = apart
        return off

    def _bases(self) -> list[str]:
        return sorted({position.base for position in self._tracker.ledger.positions.values()})

    def _agree(self, off: Container[str]) -> None:
        """Keep what the venue holds of each asset that agrees: what its ledger has after that balance came since."""
        agreed = {asset for asset in (*self._bases(), self.cash.asset) if asset and asset not in off}
        booked = len(self._tracker.ledger.fills)
        self._agreed |= {asset: (self._held.get(asset, Decimal(0)), booked) for asset in agreed}
        self._moves = {ledger_id: move for ledger_id, move in self._moves.items() if move[0] not in agreed}
        if self.cash.asset in agreed:
            self.cash.agree()


def _entries(rows: Mapping[str, Any], asset: str) -> list[LedgerRow]:
    """Rows of one asset, oldest first: those of one time as the venue lists them, which is newest first."""
    found, _ = parse_ledgers({"ledger": rows})
    return sorted((row for row in reversed(found) if row.name == asset), key=lambda row: row.time_ns)


def _shows(entries: Sequence[LedgerRow], index: int, held: Decimal) -> bool:
    """Whether an asset's entries, oldest first, tell that this was the balance just before the one at `index`."""
    return (index > 0 and entries[index - 1].balance == held) or (
        index < len(entries) and entries[index].balance - _net(entries[index]) == held)


def _net(row: LedgerRow) -> Decimal:
    return row.amount - row.fee


def _entry(row: LedgerRow) -> BalanceEntry:
    return BalanceEntry(asset=row.name, balance=row.balance, kind=row.kind, amount=row.amount, fee=row.fee,
                        ledger_id=row.ledger_id, ref_id=row.ref_id, timestamp_ns=row.time_ns)
