"""SimulatedHistory: what the simulated venue keeps of its account: orders, executions, ledger entries, the dead man's switch.

Everything in it came as a record. The records in their order are the account: whoever keeps them elsewhere (`take`) and gives
them back (`apply`) has it again, and a venue that goes on from it (`SimulatedVenue`) goes on where the other one ended.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TypeAlias

import msgspec

from cstd.orders.simulated_terms import SimulatedOrder, Terms
from cstd.units import INT64_MAX
from cstd.venue.messages import InstrumentSpec

FORM = 1
ZERO = Decimal(0)


class StartRecord(msgspec.Struct, frozen=True, tag="start", tag_field="is"):
    """What the account began with, and the form of the records that follow."""

    form: int
    at_ns: int
    balances: dict[str, Decimal]


class OrderRecord(msgspec.Struct, frozen=True, tag="order", tag_field="is"):
    """An order as it is from here on. `status`: open, closed (= filled), canceled, expired."""

    order_id: str
    terms: Terms
    qty_raw: int
    price_raw: int
    filled_raw: int
    cost: Decimal
    fee: Decimal
    opened_ns: int
    closed_ns: int
    status: str
    reason: str
    trades: tuple[str, ...]


class FillRecord(msgspec.Struct, frozen=True, tag="fill", tag_field="is"):
    """One execution; `row` is what the executions channel said of it."""

    exec_id: str
    trade_id: int
    order_id: str
    price: Decimal
    qty: Decimal
    cost: Decimal
    fee: Decimal
    maker: bool
    at_ns: int
    row: msgspec.Raw


class EntryRecord(msgspec.Struct, frozen=True, tag="entry", tag_field="is"):
    """One change of one asset, by one leg of a trade; `balance` is what it left."""

    ledger_id: str
    ref_id: str
    asset: str
    amount: Decimal
    fee: Decimal
    balance: Decimal
    at_ns: int


class SwitchRecord(msgspec.Struct, frozen=True, tag="switch", tag_field="is"):
    """When cancel-all-after fires; INT64_MAX: it is off."""

    fires_ns: int


class InstrumentRecord(msgspec.Struct, frozen=True, tag="instrument", tag_field="is"):
    """The rules of an instrument, from here on."""

    spec: InstrumentSpec


class SentRecord(msgspec.Struct, frozen=True, tag="sent", tag_field="is"):
    """A request about orders that is on its way to the venue."""

    arrival_ns: int
    frame: bytes


class ArrivedRecord(msgspec.Struct, frozen=True, tag="arrived", tag_field="is"):
    """The oldest of those has arrived."""


Record: TypeAlias = (StartRecord | InstrumentRecord | OrderRecord | FillRecord | EntryRecord | SwitchRecord | SentRecord
                     | ArrivedRecord)


def at_ns(record: FillRecord | EntryRecord) -> int:
    """When it happened."""
    return record.at_ns


def closed_ns(record: OrderRecord) -> int:
    """When an order ended."""
    return record.closed_ns


class SimulatedHistory:
    """The account's books.

    Attributes:
        orders: every order by its id, oldest first; open_ids: those that are open. fills: by their id, oldest first.
        ended, executions, entries: orders that ended, by when they did, fills and entries; each by its time, so that what is
            asked of a span costs what is in it.
        balances: by asset. fires_ns: when the dead man's switch fires. arriving: requests on their way.
        specs: of the instruments that it knows, by name.
    """

    def __init__(self) -> None:
        self.start: StartRecord | None = None
        self.orders: dict[str, OrderRecord] = {}
        self.open_ids: dict[str, None] = {}
        self.fills: dict[str, FillRecord] = {}
        self.ended: list[OrderRecord] = []
        self.executions: list[FillRecord] = []
        self.entries: list[EntryRecord] = []
        self.balances: dict[str, Decimal] = {}
        self.fires_ns = INT64_MAX
        self.specs: dict[str, InstrumentSpec] = {}
        self.arriving: deque[SentRecord] = deque()
        self._new: list[Record] = []

    def take(self) -> list[Record]:
        """Records since the last call: what is to be kept before anybody hears of it."""
        taken, self._new = self._new, []
        return taken

    def apply(self, records: Iterable[Record]) -> None:
        """Take records in their order."""
        for record in records:
            match record:
                case StartRecord():
                    self.start, self.balances = record, dict(record.balances)
                case InstrumentRecord():
                    self.specs[record.spec.name] = record.spec
                case OrderRecord():
                    self._apply_order(record)
                case FillRecord():
                    self.fills[record.exec_id] = record
                    insort(self.executions, record, key=at_ns)
                case EntryRecord():
                    insort(self.entries, record, key=at_ns)
                    self.balances[record.asset] = record.balance
                case SwitchRecord():
                    self.fires_ns = record.fires_ns
                case SentRecord():
                    self.arriving.append(record)
                case ArrivedRecord():
                    self.arriving.popleft()

    def _apply_order(self, record: OrderRecord) -> None:
        known = self.orders.get(record.order_id)
        if known is not None and known.status != "open":
            self.ended.remove(known)  # an id that older books gave twice: its last order counts
        self.orders[record.order_id] = record
        if record.status == "open":
            self.open_ids[record.order_id] = None
        else:
            self.open_ids.pop(record.order_id, None)
            insort(self.ended, record, key=closed_ns)

    def _add(self, record: Record) -> None:
        self._new.append(record)
        self.apply((record,))

    # What the venue tells.

    def begin(self, now_ns: int, balances: Mapping[str, Decimal]) -> None:
        """The account begins."""
        self._add(StartRecord(FORM, now_ns, dict(balances)))

    def on_instrument(self, spec: InstrumentSpec) -> None:
        """An instrument is known, or has other rules."""
        if self.specs.get(spec.name) != spec:
            self._add(InstrumentRecord(spec))

    def on_order(self, order: SimulatedOrder, now_ns: int, status: str = "open", reason: str = "") -> None:
        """An order came to be, has other terms, or has ended."""
        known = self.orders.get(order.order_id)
        opened_ns = known.opened_ns if known else now_ns
        # A clock that was set back between two runs lets no order end before it began.
        ended_ns = 0 if status == "open" else max(now_ns, opened_ns)
        self._add(OrderRecord(
            order.order_id, order.terms, order.qty_raw, order.price_raw, order.filled_raw, order.cost,
            known.fee if known else ZERO, opened_ns, ended_ns, status, reason, known.trades if known else ()))

    def on_fill(self, order: SimulatedOrder, fill: FillRecord) -> None:
        """An order was executed, in part or to its end."""
        self._add(fill)
        known = self.orders[order.order_id]
        self._add(msgspec.structs.replace(
            known, filled_raw=order.filled_raw, cost=order.cost, fee=known.fee + fill.fee, trades=(*known.trades, fill.exec_id)))

    def on_entry(self, entry: EntryRecord) -> None:
        """A balance changed."""
        self._add(entry)

    def on_switch(self, fires_ns: int) -> None:
        """Cancel-all-after was set, or has fired."""
        self._add(SwitchRecord(fires_ns))

    def on_sent(self, arrival_ns: int, frame: bytes) -> None:
        """A request about orders leaves: whatever becomes of who sent it, it arrives."""
        self._add(SentRecord(arrival_ns, frame))

    def on_arrived(self) -> None:
        """It is at the venue."""
        self._add(ArrivedRecord())

    # What a venue that goes on from here needs.

    def open_orders(self) -> list[OrderRecord]:
        """The orders that are open, oldest first."""
        return [self.orders[order_id] for order_id in self.open_ids]

    def traded(self, since_ns: int) -> Decimal:
        """What was traded in quote from a time on."""
        return sum((fill.cost for fill in self.executions[bisect_left(self.executions, since_ns, key=at_ns):]), ZERO)
