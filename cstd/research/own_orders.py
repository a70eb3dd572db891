"""`cstd replay JOURNAL --set LIMIT=VALUE`: each order that the journal's daemon sent, judged again by the changed limits.

The journal is replayed as it was, and where an order leaves, the same gates judge the same inputs once more with the changed
limits in place (`cstd._fast.second_look`); an opening that rests is judged again at each pass, as the daemon does. Each order is
judged by itself, in the history that happened: that one of them falls away changes nothing for the next. What follows from
what is the other question, for which the market is traded anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from cstd._fast.codes import EventKind, IntentKind, Side, Verdict
from cstd._fast.gates import DECISION_DTYPE
from cstd._fast.journal_scan import Record
from cstd._fast.second_look import SecondLook
from cstd.clock import utc_text
from cstd.config import Config, from_canonical_json
from cstd.decision.limits import limits_in_force
from cstd.decision.operator_limits import OperatorLimits
from cstd.decision.why import explain
from cstd.engine import Engine
from cstd.engine.recovery import begin
from cstd.errors import CstdError, VerificationError
from cstd.ledger.nav import MONEY_PRECISION
from cstd.research.contributions import Books, Contributions, contributions, money
from cstd.signals.agents.loader import LoadedAgents
from cstd.storage.journal_reader import Walk
from cstd.units import format_decimal, format_raw

# They decide when and at what price something is wished for, or what counts together: no gate compares with them.
NO_GATES = ("exits.", "risk.correlation_", "risk.loss_marks_apart_s")
ORDERS_SHOWN = 100
AS_SENT, LARGER, REDUCED, NOT_SENT, PULLED = "as_sent", "larger", "reduced", "not_sent", "pulled"
OUTCOMES = (AS_SENT, LARGER, REDUCED, NOT_SENT, PULLED)


class JudgingEngine(Engine):
    """An engine in a replay that judges by other limits as well; it decides nothing by them."""

    core_type = SecondLook
    core: SecondLook


@dataclass(slots=True)
class Judged:
    """One order that was sent. stays_raw: how much of it the changed limits leave; row: theirs, that decided it."""

    sent: np.void
    instrument: str
    digits: tuple[int, int]
    outcome: str
    stays_raw: int
    gate: dict[str, Any] | None = None  # that refused or cut it, as `cstd why` tells it
    at_ns: int = 0

    @property
    def qty_raw(self) -> int:
        """How much was sent."""
        return int(self.sent["qty_final_raw"])


@dataclass(slots=True)
class OwnOrders:
    """A journal's orders by the changed limits.

    Args:
        changed: the assignments of limits. beside: the others of the configuration, which a limit may have to agree with.
        engine: that replays the journal.
    """

    changed: list[str]
    beside: list[str]
    engine: JudgingEngine
    orders: dict[str, Judged] = field(default_factory=dict)
    books: Books = field(default_factory=Books)
    _known: tuple[str, int] | None = None
    _limits: OperatorLimits = field(default_factory=OperatorLimits)
    _cfg: Config | None = None
    _problem: CstdError | None = None

    def begin(self) -> None:
        """Look at what is decided from here on; where the replay begins with a checkpoint, by what holds there."""
        self.engine.core.on_limits = self._set_other
        if self.engine.cfg is not None:
            for number in range(len(self.engine.names)):
                self._set_other(number)
            self.books.begin(self.engine.ledger)

    def take(self) -> None:
        """Take what the engine has done since the last time.

        Raises:
            ConfigError: a start's configuration does not take the changed limits.
        """
        if self._problem is not None:
            raise self._problem
        for before, now in self.engine.core.take_sent():
            self._add(_row(before), _row(now))
        for now, stays_raw in self.engine.core.take_pulled():
            self._pull(_row(now), stays_raw)
        self.books.take(self.engine.ledger)

    def _set_other(self, number: int) -> None:
        """Give the core what the changed keys make of an instrument's limits, an operator's commands included."""
        try:
            self._configure()
            engine = self.engine
            assert self._cfg is not None
            name = engine.names[number]
            row = limits_in_force(self._limits.in_force(name), name)
            # How far an exit may reach follows from how it is priced, which is no matter of a gate.
            row["collar_max_mbps"] = limits_in_force(engine.risk.limits.in_force(name), name)["collar_max_mbps"]
            engine.core.set_other(number, row, self._cfg.policy.deadline_ms * 1_000_000,
                                  int(self._cfg.policy.markout_allowance_bps * 1000))
        except CstdError as error:
            self._problem = self._problem or error

    def _configure(self) -> None:
        """Bind the changed configuration once for each start, and the limits once for each command."""
        engine = self.engine
        known = (engine.config_hash, engine.risk.limits.version)
        if known == self._known:
            return
        assert engine.cfg is not None
        if self._known is None or known[0] != self._known[0]:
            self._cfg = from_canonical_json(engine.cfg.to_canonical_json(), [*self.beside, *self.changed])
        assert self._cfg is not None
        self._limits = engine.risk.limits.copy()
        self._limits.configure(self._cfg)
        self._known = known

    def _add(self, before: np.void, now: np.void) -> None:
        """Take one order that left."""
        name = self.engine.names[int(before["instrument"])]
        spec = self.engine.feed.specs[name]
        qty_raw, stays_raw = int(before["qty_final_raw"]), int(now["qty_final_raw"])
        outcome = (NOT_SENT if now["verdict"] == Verdict.REFUSE else REDUCED if stays_raw < qty_raw
                   else LARGER if stays_raw > qty_raw else AS_SENT)
        found = Judged(before, name, (spec.price_precision, spec.qty_precision), outcome, min(stays_raw, qty_raw),
                       at_ns=int(before["decided_wall_ns"]))
        if outcome in (NOT_SENT, REDUCED):
            found.gate = self._gate(now)
        self.orders[_id(before)] = found

    def _pull(self, now: np.void, stays_raw: int) -> None:
        """Take what the changed limits end or cut of an order that rests."""
        found = self.orders.get(_id(now))
        if found is None:
            return
        found.outcome = PULLED if now["verdict"] == Verdict.REFUSE else REDUCED
        found.stays_raw, found.at_ns, found.gate = stays_raw, int(now["decided_wall_ns"]), self._gate(now)

    def _gate(self, row: np.void) -> dict[str, Any] | None:
        """Return the gate that refused or cut, with value and limit; None where what is left was too little for the venue."""
        assert self.engine.cfg is not None
        told = explain(row, self.engine.feed.specs[self.engine.names[int(row["instrument"])]],
                       currency=self.engine.cfg.account.currency)
        word = told["first_failing"] or told["reduced_by"]
        gates: list[dict[str, Any]] = told["gates"]  # type: ignore[assignment]
        return next((gate for gate in gates if gate["name"] == word), None)

    def result(self, first_seq: int) -> dict[str, Any]:
        """Return what was found, at the journal's end. first_seq: of the first record that was replayed."""
        engine, ledger = self.engine, self.engine.ledger
        bids = {number: engine.core.slots[number].last_verified_bid_raw for number in ledger.positions}
        marked = contributions(self.books, ledger, bids, {
            cl_ord_id: found.stays_raw for cl_ord_id, found in self.orders.items() if found.stays_raw < found.qty_raw})
        equity, without = self._equity(marked, bids)
        falling = [found for found in self.orders.items() if found[1].outcome in (REDUCED, NOT_SENT, PULLED)]
        counts = {outcome: sum(found.outcome == outcome for found in self.orders.values()) for outcome in OUTCOMES}
        return {
            "changed": self.changed, "not_judged": [text for text in self.changed if text.startswith(NO_GATES)],
            "first_seq": first_seq, "sent": len(self.orders), **counts, "let_out": engine.core.let_out,
            "equity": format_raw(equity, MONEY_PRECISION), "equity_without": format_raw(without, MONEY_PRECISION),
            "contribution": format_raw(equity - without, MONEY_PRECISION),
            "orders": [self._shown(cl_ord_id, found, marked) for cl_ord_id, found in falling[:ORDERS_SHOWN]],
        }

    def _equity(self, marked: Contributions, bids: Mapping[int, int]) -> tuple[int, int]:
        """Return the mark at the journal's end, as it was and without what falls away, in 10^-8."""
        ledger = self.engine.ledger
        positions = sum((position.value_at(bids[number]) for number, position in ledger.positions.items()
                         if position.qty_raw > 0 and bids[number] > 0), Decimal(0))
        capital = self.engine.nav.capital if self.engine.cfg is not None else 0
        was = Contributions(Fraction(0), Fraction(0), {}).nav_without(ledger.cash_flow, positions, capital)
        return was, marked.nav_without(ledger.cash_flow, positions, capital)

    def _shown(self, cl_ord_id: str, found: Judged, marked: Contributions) -> dict[str, Any]:
        price_digits, qty_digits = found.digits
        gate = found.gate or {}
        return {
            "seq": int(found.sent["event_seq"]) + 1, "utc": utc_text(int(found.sent["decided_wall_ns"])), "cl_ord_id": cl_ord_id,
            "instrument": found.instrument, "kind": IntentKind(int(found.sent["kind"])).name.lower(),
            "side": Side(int(found.sent["side"])).name.lower(), "price": format_raw(int(found.sent["price_raw"]), price_digits),
            "qty": format_raw(found.qty_raw, qty_digits), "outcome": found.outcome, "at_utc": utc_text(found.at_ns),
            "stays": format_raw(found.stays_raw, qty_digits),
            "filled": format_raw(self.books.filled_raw(cl_ord_id), qty_digits),
            **{name: gate.get(word) for name, word in (("gate", "name"), ("reason", "reason"), ("key", "key"), ("unit", "unit"))},
            **{name: None if gate.get(name) is None else str(gate[name]) for name in ("value", "limit")},
            "contribution": format_decimal(money(marked.of.get(cl_ord_id, Fraction(0)))),
        }


def _row(raw: bytes) -> np.void:
    row: np.void = np.frombuffer(raw, DECISION_DTYPE)[0]
    return row


def _id(row: np.void) -> str:
    return bytes(row["cl_ord_id"]).decode("ascii")


def own_orders(journal: Path, agents: LoadedAgents | None, changed: Iterable[str], beside: Iterable[str] = ()) -> dict[str, Any]:
    """Return the journal's own orders by changed limits: `KEY=VALUE` texts; beside: those that are no limits.

    Raises:
        VerificationError: the journal does not come out again here, so that the state of its decisions is not known.
        ConfigError: a start's configuration does not take the changes.
    """
    found = begin(journal, agents, whole=True, make=JudgingEngine)
    assert isinstance(found.engine, JudgingEngine)
    own = OwnOrders(list(changed), list(beside), found.engine)
    own.begin()
    for batch in Walk(journal, start=found.start).batches():
        found.replay.take(batch)
        own.take()
        _check(journal, found.engine, found.replay.differences, batch)
    return own.result(1 if found.start is None else found.start.last_seq + 1)


def _check(journal: Path, engine: Engine, differences: list[str], batch: list[Record]) -> None:
    """Refuse to go on where the engine does not do what the journal says."""
    if engine.core.fault is None and not differences:
        return
    boot = max((record.seq for record in batch if record.kind == EventKind.EVENT_BOOT), default=0)
    why = differences[0] if differences else f"record {boot or batch[0].seq}: {engine.core.fault}"
    raise VerificationError(f"{journal} does not come out again here, so its own orders cannot be judged again: {why}",
                            suggestion="`cstd replay --check` tells more")


# As text.


def text(found: dict[str, Any]) -> str:
    """Return it for a terminal."""
    changed = ", ".join(found["changed"])
    lines = [f"the journal's own orders with {changed}, each judged by itself where it was sent: {_counted(found)}"]
    if found["not_judged"]:
        lines.append(f"  no gate compares with {', '.join(found['not_judged'])}: what it does is in the market traded anew alone")
    if found["let_out"]:
        lines.append(f"  {found['let_out']} refused wishes would have been let out; what they had come to is not in the journal")
    lines += [_line(row) for row in found["orders"]]
    more = found["not_sent"] + found["reduced"] + found["pulled"] - len(found["orders"])
    return "\n".join([*lines, *([f"  and {more} more"] if more else [])]) + "\n"


def _counted(found: dict[str, Any]) -> str:
    if not found["sent"]:
        return "none was sent"
    if not found["not_sent"] + found["reduced"] + found["pulled"]:
        return f"none of {found['sent']} falls away; equity {found['equity']}"
    return (f"{found['not_sent']} of {found['sent']} not sent, {found['reduced']} reduced, {found['pulled']} pulled while they "
            f"rested; equity {found['equity']}, without what falls away {found['equity_without']} (it brought "
            f"{found['contribution']})")


def _line(row: dict[str, Any]) -> str:
    outcome = str(row["outcome"]).replace("_", " ") + (f" to {row['stays']}" if row["outcome"] == REDUCED else "")
    if row["at_utc"] != row["utc"]:
        outcome += f" at {row['at_utc']}"
    if row["gate"]:
        outcome += f" by {row['gate'].replace('_', ' ')} ({row['reason'].replace('_', ' ')})"
    if row["value"] is not None:
        outcome += f": {row['value']} {row['unit']}" + ("" if row["limit"] is None else f", limit {row['limit']}")
    order = f"{row['side']} {row['instrument']} {row['qty']} @ {row['price']} ({row['kind']}, record {row['seq']})"
    return f"  {row['utc']}  {order} {outcome}; {row['filled']} was filled, which brought {row['contribution']}"
