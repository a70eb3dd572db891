"""`cstd statement`: a session's own ledger against the venue's books, for a day or any span of time.

Our side is the journal, replayed. The venue's side is read with the session's key: through the running daemon, whose lane
and nonces it has to share, or, while none runs, directly, holding the journal's lock so that none starts meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from cstd._fast.codes import Side
from cstd._fast.recorder import Recorder
from cstd.clock import NS_PER_DAY, SystemClock, utc_parse, utc_text
from cstd.config import Config, load, load_credentials
from cstd.daemon.view import LiveView
from cstd.engine import Engine
from cstd.engine.recovery import begin
from cstd.errors import EXIT_OK, EXIT_VERIFICATION, OperatorError, UsageError, VenueRejectError, VerificationError
from cstd.ledger.statement import (
    OwnBooks,
    OwnFill,
    OwnOrder,
    Span,
    Statement,
    VenueBooks,
    canonical_bytes,
    digest,
    document,
    state,
)
from cstd.ops.client import AdminClient
from cstd.orders.account_reads import RIGHTS
from cstd.signals.agents.loader import LoadedAgents
from cstd.signals.agents.loader import load as load_agents
from cstd.storage.journal_files import JOURNAL_DIR, is_being_written, lock_directory, put_in_place
from cstd.storage.journal_reader import Walk
from cstd.units import NS_PER_S, from_raw
from cstd.units import seconds_to_ns as to_ns
from cstd.venue.fields import decode_json
from cstd.venue.http import Credentials, HttpClient
from cstd.venue.messages import BalancesMessage
from cstd.venue.nonce import NonceFile
from cstd.venue.rest.history import last_entry_before, ledger_between, trades_between
from cstd.venue.rest.lane import Outcome, RestLane
from cstd.venue.rest.request import RestRequest

STATEMENTS_DIR = "statements"
PAGE_TIMEOUT_S = 130.0  # the daemon gives a page up before
LANE_LOOK_S = 0.05
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
COLUMNS = ("category", "subject", "what", "ours", "theirs")


class Reads(Protocol):
    """Makes one read of the account's history and returns its result."""

    def __call__(self, request: RestRequest) -> Any:
        """Make the call."""


def main(args: argparse.Namespace) -> int:
    """Print the statement and write it into the run directory; 0 without a difference, 3 with any."""
    run_dir, socket = _places(args)
    wall_ns = SystemClock().wall_ns()
    session = Session(run_dir)
    span = _span(args, session, wall_ns)
    with venue_reads(session.cfg, run_dir, socket) as read:
        found = state(session.own_books(span), venue_books(read, span, session.assets(span)), span)
    content = document(found, session.head())
    path, sha256 = write(run_dir, span, canonical_bytes(content))
    if args.output == "json":
        sys.stdout.write(json.dumps({"file": str(path), "sha256": sha256, **content}) + "\n")
    else:
        _print(found, path, sha256)
    return EXIT_VERIFICATION if found.differences else EXIT_OK


def _places(args: argparse.Namespace) -> tuple[Path, Path]:
    """Return the run directory and the admin socket: named, or as the configuration has them."""
    cfg = load(args.config, os.environ) if args.config else None
    named = args.run_dir or (cfg.run.dir if cfg else os.environ.get("CSTD__RUN__DIR", ".run/current"))
    run_dir = Path(named).resolve()
    socket = (cfg.run.socket if cfg else os.environ.get("CSTD__RUN__SOCKET")) or run_dir / "cstd.sock"
    return run_dir, Path(socket)


# Our side.


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
        found = begin(run_dir / JOURNAL_DIR, load_agents(), whole=True,
                      make=lambda recorder, agents: ObservedEngine(recorder, agents, self._balances))
        self._engine, replay = found.engine, found.replay
        if found.checkpoint is not None:
            self.began_ns = found.checkpoint.wall_ns
            self._balances.begin(self._engine.risk.balances, self.began_ns)
        for batch in Walk(run_dir / JOURNAL_DIR, start=found.start).batches():
            self.began_ns = self.began_ns or batch[0].wall_ns
            self.ended_ns, self.records = max(self.ended_ns, batch[-1].wall_ns), batch[-1].seq
            replay.take(batch)
            if self._engine.core.fault is not None or replay.difference_count:
                why = self._engine.core.fault or replay.differences[0]
                raise VerificationError(f"the journal in {run_dir} cannot be replayed here: {why}",
                                        suggestion="`cstd replay --check` tells more")
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
        return OwnBooks(self._fills(), self._orders(), self._balances.at(until_ns), until_ns)

    def _fills(self) -> tuple[OwnFill, ...]:
        engine = self._engine
        return tuple(OwnFill(
            exec_id=fill.exec_id, cl_ord_id=fill.cl_ord_id, order_id=fill.order_id, symbol=engine.names[fill.instrument],
            side="buy" if fill.side == Side.BUY else "sell",
            qty=from_raw(fill.qty_raw, fill.qty_precision), price=fill.price,
            cost=fill.cost, fees=fill.fees, wall_ns=fill.wall_ns) for fill in engine.ledger.fills.values())

    def _orders(self) -> tuple[OwnOrder, ...]:
        """Orders of the session, oldest first, as `cstd orders --all` shows them."""
        view = LiveView(self._engine, pid=os.getpid(), mono_ns=SystemClock().mono_ns, process=dict)
        rows = view.orders(all_=True, limit=sys.maxsize)
        return tuple(OwnOrder(
            cl_ord_id=row["cl_ord_id"], order_id=row["order_id"] or "", symbol=row["symbol"], side=row["side"],
            status=row["status"], order_qty=Decimal(row["order_qty"]), filled_qty=Decimal(row["filled_qty"]),
            sent_wall_ns=row["sent_wall_ns"] or 0) for row in reversed(rows))


# The venue's side.


def venue_books(read: Reads, span: Span, assets: set[str]) -> VenueBooks:
    """Read the venue's trades and ledger of a span, and what each asset's balance was before it."""
    trades = trades_between(read, span.from_ns, span.to_ns)
    entries = ledger_between(read, span.from_ns, span.to_ns)
    openings = {}
    for asset in sorted(assets | {entry.name for entry in entries}):
        last = last_entry_before(read, asset, span.from_ns)
        if last is not None:
            openings[asset] = last.balance
    return VenueBooks(trades, entries, openings)


@contextmanager
def venue_reads(cfg: Config, run_dir: Path, socket: Path) -> Iterator[Reads]:
    """Yield what reads the account's history: the running daemon, or a lane of our own while there is none."""
    if is_being_written(run_dir / JOURNAL_DIR):
        with AdminClient(socket, timeout_s=PAGE_TIMEOUT_S) as client:
            yield DaemonReads(client)
        return
    lock = lock_directory(run_dir / JOURNAL_DIR)
    try:
        with DirectReads(cfg, run_dir) as reads:
            yield reads
    finally:
        lock.close()


class DaemonReads:
    """Reads through the daemon that holds the key."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    def __call__(self, request: RestRequest) -> Any:
        """Ask the daemon for one page.

        Raises:
            OperatorError: the daemon, or the venue behind it, refused.
        """
        answer = self._client.request("account_read", {"method": request.method, "params": dict(request.params)})
        return decode_json(answer["result"].encode())


class DirectReads:
    """Reads with the session's key and nonces, on a lane that keeps to the venue's limits; a context manager."""

    def __init__(self, cfg: Config, run_dir: Path) -> None:
        found = load_credentials(cfg.mode, run_dir, os.environ)
        if not found.api_key:
            raise UsageError(f"mode {cfg.mode} reads no key, so there are no books of a venue to compare with")
        self._clock = SystemClock()
        self._lane = RestLane(cfg.venue.tier)
        self._http = HttpClient(found.endpoints.rest, clock=self._clock,
                                credentials=Credentials(found.api_key, found.api_secret), nonces=NonceFile(run_dir / "nonce"))
        self._runner = asyncio.Runner()

    def __enter__(self) -> DirectReads:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._runner.run(self._http.close())
        self._runner.close()

    def __call__(self, request: RestRequest) -> Any:
        """Make one read, tried again as the lane sees fit.

        Raises:
            VenueRejectError: the venue refused it, or could not be reached.
        """
        return self._runner.run(self._read(request))

    async def _read(self, request: RestRequest) -> Any:
        self._lane.submit(request, self._clock.mono_ns())
        while True:
            call = self._lane.next_call(self._clock.mono_ns())
            if call is None:
                await asyncio.sleep(LANE_LOOK_S)
                continue
            reply = await self._http.call(call.request, call.timeout_ns)
            done = self._lane.on_reply(call.call_id, reply.status, reply.body, self._clock.mono_ns(),
                                       wall_ns=self._clock.wall_ns(), transport_error=reply.transport_error)
            if done is None:
                continue
            if done.outcome is not Outcome.DONE:
                text = ", ".join(done.errors)
                suggestion = RIGHTS if "Permission denied" in text else "the statement was not made: try again later"
                raise VenueRejectError(f"{request.method}: {text}", code=text.split(",")[0], suggestion=suggestion)
            return done.result


# Which span.


def _span(args: argparse.Namespace, session: Session, wall_ns: int) -> Span:
    """Return the span asked for, as far as the session reaches back and the venue's lists have settled.

    Without one: the last UTC day that is over and that the session saw the whole of, or else the day under way.
    """
    settled_ns = (wall_ns - to_ns(session.cfg.venue.unknown_absent_s)) // NS_PER_S * NS_PER_S
    began_ns = -(-session.began_ns // NS_PER_S) * NS_PER_S
    if (args.from_ is None) != (args.to is None) or (args.day and args.from_):
        raise UsageError("a span is --day, or --from and --to together")
    if args.from_ is not None:
        from_ns, to_ns_ = _time(args.from_), _time(args.to)
    else:
        today = settled_ns // NS_PER_DAY
        default = today - 1 if began_ns <= (today - 1) * NS_PER_DAY else today
        from_ns = _time(args.day) if args.day else default * NS_PER_DAY
        to_ns_ = from_ns + NS_PER_DAY
    span = Span(max(from_ns, began_ns), min(to_ns_, settled_ns))
    if span.from_ns >= span.to_ns:
        raise UsageError(
            f"there is nothing to state from {utc_text(from_ns)} to {utc_text(to_ns_)}: the session began at"
            f" {utc_text(session.began_ns)}, and the venue's lists are taken as settled up to {utc_text(settled_ns)}",
            suggestion="name a span inside, with --day or --from and --to")
    return span


def _time(text: str) -> int:
    """Return a UTC day or time in ns since the epoch; whole seconds."""
    try:
        at_ns = utc_parse(f"{text}T00:00:00Z" if DAY.fullmatch(text) else text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no UTC day or time", suggestion="2026-08-02 or 2026-08-02T10:00:00Z") from error
    if at_ns % NS_PER_S:
        raise UsageError(f"{text!r}: whole seconds, please")
    return at_ns


# Out.


def write(run_dir: Path, span: Span, content: bytes) -> tuple[Path, str]:
    """Write a statement's bytes and, beside them, their SHA-256 as `sha256sum -c` reads it; returns path and hash."""
    directory = run_dir / STATEMENTS_DIR
    try:
        directory.mkdir(mode=0o750, exist_ok=True)
        path = directory / f"statement-{_stamp(span.from_ns)}-{_stamp(span.to_ns)}.json"
        sha256 = digest(content)
        put_in_place(path, content, mode=0o640)
        put_in_place(path.with_name(f"{path.name}.sha256"), f"{sha256}  {path.name}\n".encode(), mode=0o640)
    except OSError as error:
        raise OperatorError(f"the statement cannot be written: {error}") from error
    return path, sha256


def _stamp(wall_ns: int) -> str:
    return re.sub(r"[-:]|\.\d+", "", utc_text(wall_ns))


def _print(found: Statement, path: Path, sha256: str) -> None:
    counts = (f"{len(found.orders)} orders, {len(found.fills)} executions, {len(found.moves)} moves of the user's,"
              f" {len(found.differences)} differences")
    lines = [f"{utc_text(found.span.from_ns)} to {utc_text(found.span.to_ns)}: {counts}", ""]
    names = ("asset", "opening", "traded", "fees", "moved", "closing", "here")
    lines += _table([names, *([asset, *(f"{getattr(row, name).normalize():f}" for name in names[1:])]
                              for asset, row in found.balances.items())])
    if found.moves:
        lines += ["", *(f"{utc_text(move.time_ns)}  {move.kind} {move.amount.normalize():f} {move.name}" for move in found.moves)]
    if found.differences:
        rows = [[str(msgspec.structs.asdict(difference)[name]) or "-" for name in COLUMNS] for difference in found.differences]
        lines += ["", *_table([COLUMNS, *rows])]
    sys.stdout.write("\n".join([*lines, "", f"{path}", f"sha256 {sha256}"]) + "\n")


def _table(rows: list[Any]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
