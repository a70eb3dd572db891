"""The judge: whether what a daemon believes and recorded is what the exchange knows to have happened.

Orders and fills are compared as rows, decimals by value, so to the last raw unit. An order that the exchange never saw must
be shown as rejected with nothing filled, and only such a one may be missing from the truth. Findings are values: an empty
list is the only good news.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from cstd._fast.codes import BookState, EventKind, OrderAction
from cstd._fast.recorder import Recorder
from cstd.daemon.view import LiveView
from cstd.engine import Engine
from cstd.engine.replaying import JournalReplay
from cstd.errors import VerificationError
from cstd.signals.agents.loader import LoadedAgents
from cstd.signals.code import code_of
from cstd.storage import journal_reader

ORDER_FIELDS = ("status", "order_qty", "filled_qty", "side", "symbol")
FILL_FIELDS = ("cl_ord_id", "symbol", "side", "qty", "price", "fee", "fee_asset")
DECIMALS = frozenset({"order_qty", "filled_qty", "qty", "price", "fee"})
OPEN_STATUSES = frozenset({"new", "pending_new", "partially_filled"})
COST_UNIT = Decimal("0.00001")  # the venue books the cost of a fill with five decimals, half up (cost_decimals)
SHOWN_MAX = 20
ROWS_MAX = 10_000_000

Row = dict[str, Any]

# What can be found, each counted by itself in a tally.
KINDS = ("order_lost", "order_twice", "order_invented", "order_differs", "fill_missed", "fill_twice", "fill_invented",
         "fill_differs", "balance_differs", "own_coins_moved", "journal_broken", "replay_differs", "opening_unverified",
         "opening_not_ready", "order_while_closed", "summary_differs")


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise: its kind, of KINDS, and what is wrong in words with the values."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def told(findings: Sequence[Finding]) -> str:
    """Return the findings as lines, the first SHOWN_MAX of them."""
    more = [f"and {len(findings) - SHOWN_MAX} more"] if len(findings) > SHOWN_MAX else []
    return "\n".join([*map(str, findings[:SHOWN_MAX]), *more])


# Rows of the daemon beside rows of the truth file.


def comparable(row: Row, fields: tuple[str, ...]) -> tuple[object, ...]:
    """Return the named fields of a row, decimals by value."""
    return tuple(Decimal(row[field]) if field in DECIMALS else row[field] for field in fields)


def _repeated(rows: Iterable[Row], key: str) -> list[str]:
    return [str(name) for name, times in Counter(row[key] for row in rows).items() if times > 1]


def compare_orders(ours: list[Row], truth: list[Row]) -> list[Finding]:
    """Return what differs between the daemon's orders and the exchange's."""
    found = [Finding("order_twice", f"{name} is {where} more than once") for where, rows in (("at the exchange", truth),
             ("with the daemon", ours)) for name in _repeated(rows, "cl_ord_id")]
    mine, real = ({row["cl_ord_id"]: row for row in rows} for rows in (ours, truth))
    found += [Finding("order_lost", f"{name} is at the exchange alone: {row}") for name, row in real.items() if name not in mine]
    for name, row in mine.items():
        if name not in real:
            if row["status"] != "rejected" or Decimal(row["filled_qty"]):
                found.append(Finding("order_invented", f"{name} is the daemon's alone: {row}"))
        elif comparable(row, ORDER_FIELDS) != comparable(real[name], ORDER_FIELDS):
            found.append(Finding("order_differs", f"{name}: {comparable(row, ORDER_FIELDS)}, at the exchange "
                                                  f"{comparable(real[name], ORDER_FIELDS)}"))
    return found


def compare_fills(ours: list[Row], truth: list[Row]) -> list[Finding]:
    """Return what differs between the daemon's fills and the exchange's."""
    found = [Finding("fill_twice", f"{name} is counted more than once {where}") for where, rows in (("at the exchange", truth),
             ("by the daemon", ours)) for name in _repeated(rows, "exec_id")]
    mine, real = ({row["exec_id"]: row for row in rows} for rows in (ours, truth))
    found += [Finding("fill_missed", f"{name} is at the exchange alone: {row}") for name, row in real.items() if name not in mine]
    for name, row in mine.items():
        if name not in real:
            found.append(Finding("fill_invented", f"{name} is the daemon's alone: {row}"))
        elif comparable(row, FILL_FIELDS) != comparable(real[name], FILL_FIELDS):
            found.append(Finding("fill_differs", f"{name}: {comparable(row, FILL_FIELDS)}, at the exchange "
                                                 f"{comparable(real[name], FILL_FIELDS)}"))
    return found


def compare_rows(orders: list[Row], fills: list[Row], truth: Row) -> list[Finding]:
    """Return what the daemon's orders and fills and a truth file disagree on."""
    return compare_orders(orders, truth["orders"]) + compare_fills(fills, truth["fills"])


# Money.


def implied_balances(fills: list[Row], start: dict[str, str]) -> dict[str, Decimal]:
    """Return what balances a start and these fills make, exact, as the venue books them."""
    balances = {asset: Decimal(amount) for asset, amount in start.items()}
    for fill in fills:
        base, quote = fill["symbol"].split("/")
        sign = 1 if fill["side"] == "buy" else -1
        cost = (Decimal(fill["price"]) * Decimal(fill["qty"])).quantize(COST_UNIT, rounding=ROUND_HALF_UP)
        for asset, amount in ((base, sign * Decimal(fill["qty"])), (quote, -sign * cost), (fill["fee_asset"],
                                                                                         -Decimal(fill["fee"]))):
            balances[asset] = balances.get(asset, Decimal(0)) + amount
    return balances


def compare_balances(fills: list[Row], truth: Row, start: dict[str, str]) -> list[Finding]:
    """Return the assets whose balance is not what the start and the daemon's own fills make of it."""
    nothing = Decimal(0)
    implied = implied_balances(fills, start)
    real = {asset: Decimal(amount) for asset, amount in truth["balances"].items()}
    pairs = {asset: (real.get(asset, nothing), implied.get(asset, nothing)) for asset in sorted(implied.keys() | real.keys())}
    return [Finding("balance_differs", f"{asset}: {there} at the exchange, the fills make {made}")
            for asset, (there, made) in pairs.items() if there != made]


def own_coins(asset: str, truth: Row, positions: list[Row]) -> Decimal:
    """Return the venue's balance of an asset less what the daemon manages: the user's own."""
    managed = sum((Decimal(row["qty"]) for row in positions if row["asset"] == asset), Decimal(0))
    return Decimal(truth["balances"].get(asset, "0")) - managed


def compare_own_coins(truth: Row, positions: list[Row], start: dict[str, str]) -> list[Finding]:
    """Return the coins of the user's that are not what they were at the start; cash is what trading changes."""
    cash = {row["symbol"].split("/")[1] for row in truth["orders"]}
    coins = sorted({asset for asset in (*start, *truth["balances"]) if asset not in cash})
    if not cash:
        coins = sorted(start)  # nothing was traded: nothing may have moved
    own = {asset: own_coins(asset, truth, positions) for asset in coins}
    return [Finding("own_coins_moved", f"{asset}: {amount} are the user's, {start.get(asset, '0')} were")
            for asset, amount in own.items() if amount != Decimal(start.get(asset, "0"))]


def compare_all(orders: list[Row], fills: list[Row], positions: list[Row], truth: Row, start: dict[str, str]) -> list[Finding]:
    """Return everything that orders, fills, positions and a truth file of the same moment disagree on."""
    return (compare_rows(orders, fills, truth) + compare_balances(fills, truth, start)
            + compare_own_coins(truth, positions, start))


# The journal.


def _terms(tag: int, payload: bytes) -> Row:
    """Return what a recorded order says: client order id, side, symbol."""
    if tag == OrderAction.ACTION_ADD:
        return dict(json.loads(payload)["params"])
    by_rest = dict(parse_qsl(payload.decode("ascii").partition("?")[2]))
    return {"cl_ord_id": by_rest["cl_ord_id"], "side": by_rest["type"], "symbol": by_rest["pair"]}


class Watch:
    """Looks at every order frame of a journal at the moment it was made: no id twice, none for a venue that has said
    that it does not match, no opening where none may be.

    Attributes:
        ids: client order ids of the orders that were made. findings: what was wrong.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.ids: set[str] = set()
        self.findings: list[Finding] = []

    def see(self, seq: int, kind: int, tag: int, payload: bytes) -> None:
        """Look at one record of the journal, before the engine is fed the next event."""
        if kind != EventKind.OUT_ORDER_FRAME or tag not in (OrderAction.ACTION_ADD, OrderAction.ACTION_EXIT_REST):
            return
        terms = _terms(tag, payload)
        name = terms["cl_ord_id"]
        if name in self.ids:
            self.findings.append(Finding("order_twice", f"record {seq}: {name} was made a second time"))
        self.ids.add(name)
        if self._engine.risk.venue_closed:
            self.findings.append(Finding("order_while_closed", f"record {seq}: {name} was made while the venue did not match"))
        if terms["side"] != "buy":
            return
        state = BookState(self._engine.core.slots[self._engine.names.index(terms["symbol"])].book.state)
        if state != BookState.BOOK_VERIFIED:
            self.findings.append(Finding("opening_unverified", f"record {seq}: {name} opens on a book that is {state.name}"))
        if self._engine.state != "ready":
            self.findings.append(Finding("opening_not_ready", f"record {seq}: {name} opens while {self._engine.state}"))


@dataclass(slots=True)
class JournalView:
    """What a journal alone brings back: the engine, and what was found while it came back."""

    engine: Engine
    findings: list[Finding]
    records: int
    orders: list[Row]
    fills: list[Row]
    positions: list[Row]


def read_journal(directory: Path, agents: LoadedAgents | None) -> JournalView:
    """Prove a journal, replay it, and watch every order frame in it.

    Raises:
        UsageError: there is no journal.
    """
    engine = Engine(Recorder(), agents)
    engine.code = code_of(directory)
    replay, watch = JournalReplay(engine), Watch(engine)
    findings: list[Finding] = []
    count = 0
    try:
        journal_reader.verify(directory)
        for record in journal_reader.records(directory):
            payload = bytes(record.payload)
            count += 1
            replay.feed(record.seq, record.kind, record.tag, record.mono_ns, record.wall_ns, payload)
            watch.see(record.seq, record.kind, record.tag, payload)
    except VerificationError as error:
        findings.append(Finding("journal_broken", error.message))
    if replay.difference_count:
        findings.append(Finding("replay_differs", f"{replay.difference_count} records: " + "; ".join(replay.differences)))
    if engine.core.fault is not None:
        findings.append(Finding("replay_differs", f"the engine failed: {engine.core.fault!r}"))
    if engine.cfg is None:
        return JournalView(engine, [*findings, *watch.findings], count, [], [], [])
    view = LiveView(engine, pid=0, mono_ns=time.monotonic_ns, process=dict)
    return JournalView(engine, [*findings, *watch.findings], count, [dict(row) for row in view.orders(all_=True, limit=ROWS_MAX)],
                       [dict(row) for row in view.fills(all_=True, limit=ROWS_MAX)], [dict(row) for row in view.positions()])
