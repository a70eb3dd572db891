"""Projection: the engine fed with the journal, and what it comes to hold written as rows.

The rows are a function of the journal alone: what is seen in passing (marks, balances) is looked at after the same events
in every run, and what is kept as it is now (orders) is looked at after every block. So a file that was followed over many
restarts and one that was made in one go hold the same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from cstd._fast.codes import EventKind
from cstd._fast.journal_scan import Record
from cstd._fast.rerun import first_output
from cstd.engine import Engine
from cstd.engine.recovery import begin
from cstd.engine.replaying import JournalReplay
from cstd.errors import ParityError, VerificationError
from cstd.orders.lifecycle import FINAL
from cstd.projector import rows
from cstd.projector.database import LedgerDatabase, Row
from cstd.projector.execution import STEP_BACK_NS, Markouts, arrival_row
from cstd.projector.performance import UnitRows
from cstd.signals.agents.loader import LoadedAgents
from cstd.storage.journal_files import Head, last_block

MARK_NS = 60_000_000_000
# Plain integers, for they are compared with the kind of every record.
OUT_DECISION, OUT_LEDGER = int(EventKind.OUT_DECISION), int(EventKind.OUT_LEDGER)
FRAME, BATCH_END = int(EventKind.EVENT_FRAME), int(EventKind.EVENT_BATCH_END)
PROJECTED = frozenset(map(int, (EventKind.OUT_DECISION, EventKind.OUT_LEDGER, EventKind.OUT_STATE, EventKind.OUT_ADOPTION,
                                EventKind.EVENT_BOOT)))
REBUILD = "`cstd db rebuild` makes it anew from the journal"


class ObservedReplay(JournalReplay):
    """A replay that says when an event other than a market frame was processed."""

    def __init__(self, engine: Engine, observe: Callable[[int, int], None]) -> None:
        super().__init__(engine)
        self._observe = observe

    def feed(self, seq: int, kind: int, tag: int, mono_ns: int, wall_ns: int, payload: bytes) -> None:
        """Feed one record; see JournalReplay."""
        super().feed(seq, kind, tag, mono_ns, wall_ns, payload)
        if kind < first_output:
            self._observe(seq, wall_ns)


class Projection:
    """One way through the journal into one database: from a checkpoint before the database's place, else from the start.

    Rows of records that the database has already are made again and not written: the engine needs its past. `take` whole
    blocks in order from `start` on, `commit` whenever it suits.

    Raises:
        OperatorError: the oldest records were removed, and no checkpoint can be used in their place.
    """

    def __init__(self, database: LedgerDatabase, journal: Path, agents: LoadedAgents | None) -> None:
        known = database.place
        found = begin(journal, agents, whole=known is None, before_seq=known.last_seq if known is not None else None)
        self.start = found.start
        self.engine = found.engine
        self._database = database
        self._known = database.place
        self._joined = False
        captured = self.engine.recorder.captured
        self._replay = ObservedReplay(self.engine, self._observe)
        self.engine.recorder.captured = captured
        self._rows: list[Row] = []
        core = self.engine.core
        # Client order ids of orders that may still change.
        self._watched: set[str] = {core.order(index)["cl_ord_id"] for index in core.live_orders()}
        self._orders: dict[str, tuple[object, ...]] = {}
        self._balances: dict[str, Decimal] = {}
        self._marked: tuple[int, str] | None = None     # minute and cash flow of the last mark
        self._markouts = Markouts(self.engine)
        self._units = UnitRows(self.engine)
        self._wall_ns = found.times[1]      # of the last record
        self._frames_seq: int | None = None  # the first frame of the read batch that is under way, None outside one
        self._pass_seq: int | None = None    # the first record of what the newest pass is of
        if found.start is not None:
            for cl_ord_id in self._watched:
                self._orders[cl_ord_id] = rows.order_row(core.order(core.find_order(cl_ord_id.encode())), self.engine, 0).values
            for record in last_block(journal, found.start):
                self._follow_pass(record)
        if known is not None and found.start is not None:
            self._markouts.restore(database.markouts_to_come(found.start.last_seq))
            self._units.restore(database.performance_at(found.start.last_seq))
        if known is not None and found.checkpoint is not None:
            # As a way from the first record would have them: by the rows there are, not by the engine, which may hold what a
            # market frame changed and no row has yet.
            last = database.last_mark()
            self._marked = (last[0] // MARK_NS, last[1]) if last is not None else None
            self._balances = database.balances()
        self.place: Head | None = None

    @property
    def pending(self) -> int:
        """Rows that wait for a commit."""
        return len(self._rows)

    def take(self, batch: list[Record], place: Head) -> None:
        """Project one block; `place` is its end.

        Raises:
            VerificationError: the engine does not make of it what is recorded, or the database is of another journal.
        """
        self._play(batch)
        for record in batch:
            if record.kind < first_output:
                self._follow_pass(record)
            if record.kind in PROJECTED:
                self._project(record)
        self._look_at_orders(batch)
        self.place = place
        self._check_known(place)

    def _follow_pass(self, record: Record) -> None:
        """Take note of where a decision pass begins: with the first frame of its read batch, or with its one event."""
        kind = record.kind
        if kind == FRAME:
            self._frames_seq = self._pass_seq = self._frames_seq or record.seq
        elif kind < first_output:
            self._pass_seq = (self._frames_seq if kind == BATCH_END else None) or record.seq
            self._frames_seq = None

    def _play(self, batch: list[Record]) -> None:
        """Feed the engine, and look at its books in between, where an order left, a fill was booked or a markout is due."""
        begun, last_ns, due_ns = 0, self._wall_ns, self._markouts.due_ns
        for number, record in enumerate(batch):
            kind = record.kind
            if kind < first_output:
                wall_ns = record.wall_ns
                stepped = wall_ns < last_ns - STEP_BACK_NS
                if wall_ns > due_ns or stepped:
                    self._replay_part(batch[begun:number])
                    begun = number
                    for row in self._markouts.give_up(record) if stepped else self._markouts.before(record):
                        self._add(record.seq, row)
                    due_ns = self._markouts.due_ns
                last_ns = wall_ns
            elif kind in (OUT_LEDGER, OUT_DECISION):
                self._replay_part(batch[begun:number + 1])
                begun = number + 1
                self._look_at_book(record)
                due_ns = self._markouts.due_ns
        self._replay_part(batch[begun:])
        self._wall_ns = last_ns

    def _replay_part(self, part: list[Record]) -> None:
        if part:
            self._replay.take(part)
            self._check(part)

    def _look_at_book(self, record: Record) -> None:
        """Behind a decision or a fill: the books are as its event found them."""
        if record.kind == OUT_DECISION:
            row = arrival_row(record, self.engine)
            if row is not None:
                self._add(record.seq, row)
            return
        booked = msgspec.json.decode(record.payload)
        self._watched.add(booked["cl_ord_id"])
        for row in self._markouts.on_fill(record, self.engine.ledger.fills[booked["exec_id"]]):
            self._add(record.seq, row)
        self._look_at_units(record.seq, record.wall_ns)

    def commit(self) -> None:
        """Write what was projected since the last commit, with the place it brings the file to."""
        if self.place is None or self.place == self._database.place or self._is_known(self.place.last_seq):
            return
        self._database.write(self._rows, self.place)
        self._rows.clear()

    def _project(self, record: Record) -> None:
        match record.kind:
            case EventKind.OUT_DECISION:
                made, cl_ord_id = rows.decision_rows(record, self.engine, self._pass_seq)
                for row in made:
                    self._add(record.seq, row)
                if cl_ord_id:
                    self._watched.add(cl_ord_id)
            case EventKind.OUT_LEDGER:
                for row in rows.fill_rows(record, self.engine):
                    self._add(record.seq, row)
            case EventKind.OUT_STATE:
                self._add(record.seq, rows.state_row(record))
            case EventKind.OUT_ADOPTION:
                self._add(record.seq, rows.adoption_row(record))
            case EventKind.EVENT_BOOT:
                self._add(record.seq, rows.boot_row(record))

    def _add(self, seq: int, row: Row) -> None:
        if not self._is_known(seq):
            self._rows.append(row)

    def _is_known(self, seq: int) -> bool:
        return self._known is not None and seq <= self._known.last_seq

    def _check(self, batch: list[Record]) -> None:
        fault = self.engine.core.fault
        if fault is not None and any(record.kind == EventKind.EVENT_BOOT for record in batch):
            raise VerificationError(f"a boot up to record {batch[-1].seq} cannot be replayed here: {fault}",
                                    place={"seq": batch[-1].seq})
        if isinstance(fault, MemoryError | OSError):
            raise VerificationError(f"what follows record {batch[0].seq} could not be replayed: {fault!r}",
                                    place={"seq": batch[0].seq})
        if self._replay.difference_count:
            raise ParityError("the engine does not make of the journal what it holds: "
                              + "; ".join(self._replay.differences), place={"seq": batch[0].seq})

    def _check_known(self, place: Head) -> None:
        """Once, where the database's place is reached: it must be one of this journal."""
        known = self._known
        if known is None or self._joined or place.last_seq < known.last_seq:
            return
        if (place.last_seq, place.hash, place.journal_id) != (known.last_seq, known.hash, known.journal_id):
            raise VerificationError(f"the database was made from another journal: they differ at record {known.last_seq}",
                                    suggestion=REBUILD, place={"seq": known.last_seq})
        self._joined = True

    def finish(self) -> None:
        """Check, at the journal's end, that the database is not ahead of it."""
        if self._known is not None and not self._joined:
            raise VerificationError(f"the database is at record {self._known.last_seq}, beyond the journal's end",
                                    suggestion=REBUILD, place={"seq": self._known.last_seq})

    # What the engine holds.

    def _observe(self, seq: int, wall_ns: int) -> None:
        """After an event: a mark for each minute and where fills moved cash, and balances that changed."""
        engine = self.engine
        if engine.cfg is None:
            return
        self._look_at_units(seq, wall_ns)
        marked = wall_ns // MARK_NS, str(engine.ledger.cash_flow)
        if marked != self._marked:
            self._marked = marked
            self._add(seq, rows.mark_row(seq, wall_ns, engine))
        if engine.risk.balances != self._balances:
            for asset, qty in engine.risk.balances.items():
                if self._balances.get(asset) != qty:
                    self._add(seq, rows.balance_row(seq, wall_ns, asset, qty))
            self._balances = dict(engine.risk.balances)

    def _look_at_units(self, seq: int, wall_ns: int) -> None:
        row = self._units.after(seq, wall_ns)
        if row is not None:
            self._add(seq, row)

    def _look_at_orders(self, batch: list[Record]) -> None:
        """Take the present state of every order that may have changed in a block; one that has ended is looked at no more."""
        core = self.engine.core
        for index in core.live_orders():
            self._watched.add(core.order(index)["cl_ord_id"])
        for cl_ord_id in sorted(self._watched):
            index = core.find_order(cl_ord_id.encode())
            order: dict[str, Any] | None = core.order(index) if index >= 0 else self.engine.tracker.history.get(cl_ord_id)
            if order is None:
                self._watched.discard(cl_ord_id)    # of a decision whose order a crash kept from being
                continue
            now = rows.order_row(order, self.engine, 0).values
            if self._orders.get(cl_ord_id) != now:
                self._add(batch[-1].seq, rows.order_row(order, self.engine, _last_of(batch, cl_ord_id)))
                self._orders[cl_ord_id] = now
            if order["state"] in FINAL:
                self._watched.discard(cl_ord_id)
                del self._orders[cl_ord_id]


def _last_of(batch: list[Record], cl_ord_id: str) -> int:
    """Return the last record of a block that names an order; the block's last one where none does: time alone changed it."""
    name = cl_ord_id.encode()
    return next((record.seq for record in reversed(batch) if name in record.payload), batch[-1].seq)
