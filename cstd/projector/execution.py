"""What the quality of executions is computed from: the mid and the queue when an order left, the mids after each fill.

A mid is taken from the engine's own book of the instrument, and from a verified one alone. The mid "at t" is that of the book
as it stood behind the last event up to t, if the newest evidence for it (a message whose checksum held, or a ticker that
agreed) is no older than EVIDENCE_NS_MAX then. Anything else is unknown, with the reason. Nothing is interpolated.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np

from cstd._fast.codes import BookState, Side, TimeInForce
from cstd._fast.core import Core
from cstd._fast.gates import DECISION_DTYPE
from cstd._fast.journal_scan import Record
from cstd._fast.slot import InstrumentSlot
from cstd.engine import Engine
from cstd.ledger.execution import HORIZONS_S
from cstd.ledger.positions import Fill
from cstd.projector.database import Row
from cstd.units import NS_PER_S, from_raw

EVIDENCE_NS_MAX = 10 * NS_PER_S
STEP_BACK_NS = NS_PER_S     # of the host's clock; a smaller one is the order in which events were read
NEVER_NS = 1 << 62

TO_COME = "to come"         # its time has not been reached
LATE = "late"               # the fill was learned of after that time
UNVERIFIED = "unverified"   # there was no verified book
STALE = "stale"             # the evidence for the book was too old, or the daemon did not run
CLOCK = "clock"             # the host's clock was set back meanwhile

SEEN = "seen"
TAKES = "takes"             # an order that does not rest: an immediate one, or one that reaches the other side
BEYOND = "beyond"           # its price is not within the levels that the book keeps


class Markouts:
    """Mids after fills. `due_ns`: the earliest wall time that one of them is still wanted at."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._wanted: list[tuple[int, str, int, int, str]] = []
        self.due_ns = NEVER_NS

    def restore(self, wanted: list[tuple[int, str, int, int, str]]) -> None:
        """Go on with what a database says is to come."""
        self._wanted = wanted
        heapq.heapify(wanted)
        self._set_due()

    def on_fill(self, record: Record, fill: Fill) -> Iterator[Row]:
        """Take a fill that was just booked; `record` is its OUT_LEDGER."""
        name = self._engine.names[fill.instrument]
        for horizon_s in HORIZONS_S:
            wanted = (fill.wall_ns + horizon_s * NS_PER_S, fill.exec_id, horizon_s, record.seq, name)
            late = wanted[0] < record.wall_ns
            if not late:
                heapq.heappush(self._wanted, wanted)
            yield _markout(wanted, record.seq, unknown=LATE if late else TO_COME)
        self._set_due()

    def before(self, record: Record) -> Iterator[Row]:
        """Look at the books for all markouts whose time is before this event, which is not processed yet."""
        while self._wanted and self._wanted[0][0] < record.wall_ns:
            wanted = heapq.heappop(self._wanted)
            yield self._look(wanted, record.seq)
        self._set_due()

    def give_up(self, record: Record) -> Iterator[Row]:
        """The clock was set back: what it says of the time since the fills is not how long it was."""
        for wanted in sorted(self._wanted):
            yield _markout(wanted, record.seq, unknown=CLOCK)
        self._wanted = []
        self._set_due()

    def _look(self, wanted: tuple[int, str, int, int, str], seq: int) -> Row:
        core, names = self._engine.core, self._engine.names
        # A configuration that came meanwhile may not have the instrument any more.
        slot = core.slots[names.index(wanted[4])] if wanted[4] in names else None
        if slot is None or slot.book.state != BookState.BOOK_VERIFIED:
            return _markout(wanted, seq, unknown=UNVERIFIED)
        age_ns = evidence_age_ns(core, slot) + wanted[0] - core.wall_ns
        if age_ns > EVIDENCE_NS_MAX:
            return _markout(wanted, seq, unknown=STALE)
        touch = slot.book.levels(Side.BUY, 1)[0][0] + slot.book.levels(Side.SELL, 1)[0][0]
        return _markout(wanted, seq, mid=_half(touch, slot), age_ns=age_ns)

    def _set_due(self) -> None:
        self.due_ns = self._wanted[0][0] if self._wanted else NEVER_NS


def evidence_age_ns(core: Core, slot: InstrumentSlot) -> int:
    """Return how old the newest evidence for a book was at the last event."""
    return core.mono_ns - slot.evidence_mono_ns


def arrival_row(record: Record, engine: Engine) -> Row | None:
    """Return mid and queue of an order as its decision saw them, None where none was sent; behind its OUT_DECISION."""
    raw = np.frombuffer(record.payload, dtype=DECISION_DTYPE)[0]
    if int(raw["order_slot"]) < 0 or raw["rejudge"]:
        return None
    number, mid2_raw = int(raw["instrument"]), int(raw["mid2_raw"])
    slot = engine.core.slots[number]
    stale = evidence_age_ns(engine.core, slot) > EVIDENCE_NS_MAX
    queue, better_raw, ahead_raw = _queue(slot, int(raw["side"]), int(raw["price_raw"]), int(raw["time_in_force"]))
    if stale and queue == SEEN:
        queue, better_raw, ahead_raw = STALE, None, None
    return Row("arrivals", (
        bytes(raw["cl_ord_id"]).decode("ascii"), record.seq, int(raw["decided_wall_ns"]), engine.names[number],
        _half(mid2_raw, slot) if mid2_raw > 0 and not stale else None, queue, better_raw, ahead_raw,
        int(raw["qty_final_raw"]), _digits(slot.qty_scale)))


def _queue(slot: InstrumentSlot, side: int, price_raw: int, time_in_force: int) -> tuple[str, int | None, int | None]:
    """Return (what is known, quantity at better prices, quantity at the order's price) of the side that it joins."""
    book = slot.book
    if time_in_force == TimeInForce.IOC or price_raw <= 0:
        return TAKES, None, None
    if book.state != BookState.BOOK_VERIFIED:
        return UNVERIFIED, None, None
    sign = 1 if side == Side.BUY else -1
    other = book.levels(Side.SELL if side == Side.BUY else Side.BUY, 1)[0][0]
    if sign * (price_raw - other) >= 0:
        return TAKES, None, None
    levels = book.levels(side, book.depth)
    if len(levels) == book.depth and sign * (levels[-1][0] - price_raw) > 0:
        return BEYOND, None, None
    return (SEEN, sum(qty for price, qty, _ in levels if sign * (price - price_raw) > 0),
            sum(qty for price, qty, _ in levels if price == price_raw))


def _half(sum_raw: int, slot: InstrumentSlot) -> str:
    """Return half of bid + ask as text, exact: one digit more than a price has."""
    return f"{from_raw(sum_raw * 5, _digits(slot.price_scale) + 1):f}"


def _digits(scale: int) -> int:
    """Return how many decimals a power of ten as scale has: what the book's own raw numbers are counted in."""
    return len(str(scale)) - 1


def _markout(wanted: tuple[int, str, int, int, str], seq: int, *, mid: str | None = None, age_ns: int | None = None,
             unknown: str | None = None) -> Row:
    due_ns, exec_id, horizon_s, fill_seq, name = wanted
    return Row("markouts", (exec_id, horizon_s, fill_seq, name, due_ns, seq, mid, age_ns, unknown))
