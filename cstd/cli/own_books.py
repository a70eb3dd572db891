"""A session's own books for a statement: its journal, replayed to the end."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from cstd._fast.codes import OrderState, Side
from cstd._fast.recorder import Recorder
from cstd.clock import utc_text
from cstd.config import Config
from cstd.daemon.view import VENUE_STATUS
from cstd.engine import Engine
from cstd.engine.recovery import begin
from cstd.errors import UsageError, VerificationError
from cstd.ledger.statement import OwnBooks, OwnFill, OwnOrder, Span
from cstd.signals.agents.loader import LoadedAgents
from cstd.signals.agents.loader import load as load_agents
from cstd.storage.journal_reader import Walk
from cstd.storage.run_dir import JOURNAL_DIR
from cstd.units import NS_PER_S, from_raw, seconds_to_ns
from cstd.venue.messages import BalancesMessage

# An order that was not answered is looked up; once it can be absent, that takes a round of look-ups, or two.
LOOKED_UP_NS = 30 * NS_PER_S


class BalanceLog:
    """What the private stream said of balances, in the order it came."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, str, Decimal]] = []
        self._assets: set[str] = set()

    def take(self, message: BalancesMessage, wall_ns: int) -> None:
        """Keep a message; an asset that a snapshot leaves out is not held."""
        if message.snapshot:
            for asset in self._assets - {entry.asset for entry in message.entries}:
                self._rows.append((wall_ns, asset, Decimal(0)))
        for entry in message.entries:
            if message.snapshot:
                balance = entry.spot_balance if entry.spot_balance is not None else entry.balance
            elif entry.wallet_type in (None, "spot") and entry.wallet_id in (None, "main"):
                balance = entry.balance
            else:
                continue
            self._assets.add(entry.asset)
            self._rows.append((entry.timestamp_ns or wall_ns, entry.asset, balance))

    def begin(self, balances: Mapping[str, Decimal], wall_ns: int) -> None:
        """Keep what had been told by a time, where what told it is not left."""
        self._assets.update(balances)
        self._rows.extend((wall_ns, asset, balance) for asset, balance in balances.items())

    def at(self, wall_ns: int) -> dict[str, Decimal]:
        """Return the balance of each asset as told before a time."""
        return {asset: balance for at_ns, asset, balance in self._rows if at_ns < wall_ns}


class ObservedEngine(Engine):
    """An engine in a replay that keeps what it hears of balances; it decides nothing by it."""

    def __init__(self, recorder: Recorder, agents: LoadedAgents | None, log: BalanceLog) -> None:
        super().__init__(recorder, agents)
        self._balance_log = log

    def _on_private(self, outcome: Any) -> None:
        if isinstance(outcome, BalancesMessage):
            self._balance_log.take(outcome, self._wall_ns)
        super()._on_private(outcome)


class Session:
    """A run directory's journal, replayed to its end from the first record that is left of it.

    Raises:
        VerificationError: the journal is damaged, or the engine does not make again what it holds.
        UsageError: there is no journal.
    """

    def __init__(self, run_dir: Path) -> None:
        self.began_ns = self.ended_ns = self.records = 0
        self._balances = BalanceLog()
        self._ended_orders: dict[str, tuple[dict[str, Any], int]] = {}  # with a time by which each had ended
        found = begin(run_dir / JOURNAL_DIR, load_agents(), whole=True,
                      make=lambda recorder, agents: ObservedEngine(recorder, agents, self._balances))
        self._engine, replay = found.engine, found.replay
        if found.checkpoint is not None:
            self.began_ns = found.checkpoint.wall_ns
            self._balances.begin(self._engine.risk.balances, self.began_ns)
            self._keep_ended(self.began_ns)
        for batch in Walk(run_dir / JOURNAL_DIR, start=found.start).batches():
            self.began_ns = self.began_ns or batch[0].wall_ns
            self.ended_ns, self.records = max(self.ended_ns, batch[-1].wall_ns), batch[-1].seq
            replay.take(batch)
            if self._engine.core.fault is not None or replay.difference_count:
                why = self._engine.core.fault or replay.differences[0]
                raise VerificationError(f"the journal in {run_dir} cannot be replayed here: {why}",
                                        suggestion="`cstd replay --check` tells more")
            if self._engine.cfg is not None:
                self._keep_ended(batch[-1].wall_ns)
        if self._engine.cfg is None:
            raise UsageError(f"the journal in {run_dir} holds no start of a daemon yet")
        self.cfg: Config = self._engine.cfg

    def head(self) -> dict[str, Any]:
        """Return what the statement is about."""
        return {"mode": self.cfg.mode, "owner_prefix": self.cfg.account.owner_prefix, "session_began": utc_text(self.began_ns),
                "boot_epoch": self._engine.boot_epoch, "config_hash": self._engine.config_hash}

    def assets(self, span: Span) -> set[str]:
        """Return the assets that the private stream has told of by the end of a span."""
        return set(self._balances.at(span.to_ns))

    def own_books(self, span: Span) -> OwnBooks:
        """Return our side of a span."""
        until_ns = min(span.to_ns, self.ended_ns + 1)
        ended = {cl_ord_id: wall_ns for cl_ord_id, (_, wall_ns) in self._ended_orders.items()}
        decided_ns = self.ended_ns - seconds_to_ns(self.cfg.venue.unknown_absent_s) - LOOKED_UP_NS
        return OwnBooks(self._fills(), self._orders(), self._balances.at(until_ns), until_ns,
                        self.cfg.account.owner_prefix, ended, decided_ns)

    def _keep_ended(self, wall_ns: int) -> None:
        """Keep the orders that ended since the last look: the engine keeps the newest alone."""
        for cl_ord_id, order in reversed(self._engine.tracker.history.items()):
            if cl_ord_id in self._ended_orders:
                break
            self._ended_orders[cl_ord_id] = (order, wall_ns)

    def _fills(self) -> tuple[OwnFill, ...]:
        engine = self._engine
        return tuple(OwnFill(
            exec_id=fill.exec_id, cl_ord_id=fill.cl_ord_id, order_id=fill.order_id, symbol=engine.names[fill.instrument],
            side="buy" if fill.side == Side.BUY else "sell",
            qty=from_raw(fill.qty_raw, fill.qty_precision), price=fill.price,
            cost=fill.cost, fees=fill.fees, wall_ns=fill.wall_ns) for fill in engine.ledger.fills.values())

    def _orders(self) -> tuple[OwnOrder, ...]:
        """Orders of the session, by the time they were sent."""
        core = self._engine.core
        live = [core.order(index) for index in core.live_orders()]
        orders = [self._order(order) for order in (*(order for order, _ in self._ended_orders.values()), *live)]
        return tuple(sorted(orders, key=lambda order: (order.sent_wall_ns, order.cl_ord_id)))

    def _order(self, order: dict[str, Any]) -> OwnOrder:
        engine = self._engine
        price_digits, qty_digits = engine.tracker.digits(order)
        return OwnOrder(
            cl_ord_id=order["cl_ord_id"], order_id=order["order_id"], symbol=engine.names[order["instrument"]],
            side="buy" if order["side"] == Side.BUY else "sell",
            status=VENUE_STATUS.get(OrderState(order["state"]), engine.tracker.state_name(order)),
            limit_price=from_raw(order["price_raw"], price_digits),
            order_qty=from_raw(order["qty_raw"], qty_digits),
            filled_qty=from_raw(order["filled_raw"], qty_digits), sent_wall_ns=order["sent_wall_ns"])
