"""`cstd statement`: a session's own ledger against the venue's books, for a day or any span of time, signed.

Our side is the journal, replayed (own_books.py). The venue's side is read with the session's key: through the running
daemon, whose lane and nonces it has to share, or, while none runs, directly, holding the journal's lock so that none
starts meanwhile. In mode paper the venue's side is the simulated account, beside the journal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from cstd.cli.app import print_error
from cstd.cli.own_books import Session
from cstd.clock import NS_PER_DAY, SystemClock, utc_parse, utc_text
from cstd.config import Config, load, load_credentials
from cstd.daemon.paper_account import read_account
from cstd.errors import EXIT_OK, EXIT_VERIFICATION, OperatorError, UsageError, VenueRejectError, VerificationError
from cstd.ledger.statement import (
    OwnBooks,
    Span,
    Statement,
    VenueBooks,
    canonical_bytes,
    digest,
    document,
    orders_in,
    state,
)
from cstd.ops.client import AdminClient
from cstd.orders.account_reads import RIGHTS
from cstd.orders.simulated_rest import SimulatedRest
from cstd.printed import aligned
from cstd.projector.process import state_dir
from cstd.storage.journal_files import is_being_written, lock_directory, put_in_place
from cstd.storage.journal_signature import KEY_NAME, open_key, publish
from cstd.storage.run_dir import JOURNAL_DIR, PAPER_FILE
from cstd.storage.statement_signature import prove, sign
from cstd.units import NS_PER_S
from cstd.units import seconds_to_ns as to_ns
from cstd.venue.fields import decode_json
from cstd.venue.http import Credentials, HttpClient
from cstd.venue.nonce import NonceFile
from cstd.venue.rest.history import last_entry_before, ledger_between, orders_between, trades_between
from cstd.venue.rest.lane import Outcome, RestLane
from cstd.venue.rest.request import RestRequest

STATEMENTS_DIR = "statements"
PAGE_TIMEOUT_S = 130.0  # the daemon gives a page up before
LANE_LOOK_S = 0.05
YESTERDAY = "yesterday"
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
COLUMNS = ("category", "subject", "what", "ours", "theirs")


class Reads(Protocol):
    """Makes one read of the account's history and returns its result."""

    def __call__(self, request: RestRequest) -> Any:
        """Make the call."""


def main(args: argparse.Namespace) -> int:
    """Print the statement and write it, signed, beside the journal; 0 without a difference, 3 with any.

    With `args.verify` only prove a statement that was written: 0, or 3 when it is not what was signed.
    """
    if args.verify is not None:
        return _verify(args)
    if args.key is not None:
        raise UsageError("--key is for --verify")
    run_dir, socket = _places(args)
    if args.running and not is_being_written(run_dir / JOURNAL_DIR):
        raise OperatorError(f"no daemon runs in {run_dir}", suggestion="start it, or leave out --running")
    wall_ns = SystemClock().wall_ns()
    session = Session(run_dir)
    span = _span(args, session, wall_ns)
    with venue_reads(session.cfg, run_dir, socket) as read:
        own = session.own_books(span)
        found = state(own, venue_books(read, own, span, session.assets(span)), span)
    content = document(found, session.head())
    written = write(state_dir(run_dir), span, canonical_bytes(content))
    if args.output == "json":
        sys.stdout.write(json.dumps({**msgspec.structs.asdict(written), **content}) + "\n")
    else:
        _print(found, written)
    return EXIT_VERIFICATION if found.differences else EXIT_OK


def _verify(args: argparse.Namespace) -> int:
    """Prove a statement that was written and print what was proven, or why it is not."""
    if any((args.run_dir, args.config, args.day, args.from_, args.to, args.running)):
        raise UsageError("--verify takes a statement's file, --key and nothing else")
    try:
        proof = prove(args.verify, args.key)
        content = json.loads(proof.content)
        rows = {"ok": True, "file": str(args.verify), "sha256": proof.sha256, "signed_by": proof.signed_by,
                "signed": utc_text(proof.wall_ns), "from": content["from"], "to": content["to"],
                "differences": len(content["differences"])}
        code = EXIT_OK
    except VerificationError as error:
        rows, code = {"ok": False, "file": str(args.verify)}, error.exit_code
        print_error(error, as_json=False)
        if args.output == "json":  # there the reason is for who reads stdout alone
            rows |= error.to_json()
    if args.output == "json":
        sys.stdout.write(json.dumps(rows) + "\n")
    else:
        sys.stdout.write("\n".join(aligned([[name, str(value)] for name, value in rows.items()])) + "\n")
    return code


def _places(args: argparse.Namespace) -> tuple[Path, Path]:
    """Return the run directory and the admin socket: named, or as the configuration has them."""
    cfg = load(args.config, os.environ) if args.config else None
    named = args.run_dir or (cfg.run.dir if cfg else os.environ.get("CSTD__RUN__DIR", ".run/current"))
    run_dir = Path(named).resolve()
    socket = (cfg.run.socket if cfg else os.environ.get("CSTD__RUN__SOCKET")) or run_dir / "cstd.sock"
    return run_dir, Path(socket)


# The venue's side.


def venue_books(read: Reads, own: OwnBooks, span: Span, assets: set[str]) -> VenueBooks:
    """Read the venue's orders, trades and ledger of a span, and what each asset's balance was before it."""
    opened_from_ns = min((order.sent_wall_ns for order in orders_in(own, span) if order.sent_wall_ns), default=span.from_ns)
    orders = orders_between(read, span.from_ns, span.to_ns, opened_from_ns=min(opened_from_ns, span.from_ns))
    trades = trades_between(read, span.from_ns, span.to_ns)
    entries = ledger_between(read, span.from_ns, span.to_ns)
    openings = {}
    for asset in sorted(assets | {entry.name for entry in entries}):
        last = last_entry_before(read, asset, span.from_ns)
        if last is not None:
            openings[asset] = last.balance
    return VenueBooks(trades, entries, openings, orders)


@contextmanager
def venue_reads(cfg: Config, run_dir: Path, socket: Path) -> Iterator[Reads]:
    """Yield what reads the account's history: the running daemon, or a lane of our own while there is none."""
    if is_being_written(run_dir / JOURNAL_DIR):
        with AdminClient(socket, timeout_s=PAGE_TIMEOUT_S) as client:
            yield DaemonReads(client)
        return
    lock = lock_directory(run_dir / JOURNAL_DIR)
    try:
        if cfg.mode == "paper":
            yield PaperReads(run_dir)
            return
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


class PaperReads:
    """Reads of the simulated account's own books, in mode paper."""

    def __init__(self, run_dir: Path) -> None:
        history, _ = read_account(state_dir(run_dir) / PAPER_FILE)
        self._rest = SimulatedRest(history)

    def __call__(self, request: RestRequest) -> Any:
        """Return what the account answers. Raises VenueRejectError: it refused."""
        reply = decode_json(self._rest.answer(request.method, dict(request.params), 0))
        if reply["error"]:
            raise VenueRejectError(f"{request.method}: {reply['error'][0]}", code=reply["error"][0])
        return reply["result"]


class DirectReads:
    """Reads with the session's key and nonces, on a lane that keeps to the venue's limits; a context manager."""

    def __init__(self, cfg: Config, run_dir: Path) -> None:
        found = load_credentials(cfg.mode, run_dir, os.environ)
        # A practice exchange ends with its session, and what its account did with it.
        self._later = ("the statement was not made: try again later" if cfg.mode != "practice" else
                       "a practice exchange takes its books with it: make its statement while it runs")
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
                                       wall_ns=self._clock.wall_ns(), transport_error=reply.transport_error,
                                       retry_after_ns=reply.retry_after_ns)
            if done is None:
                continue
            if done.outcome is not Outcome.DONE:
                text = ", ".join(done.errors)
                suggestion = RIGHTS if "Permission denied" in text else self._later
                raise VenueRejectError(f"{request.method}: {text}", code=text.split(",")[0], suggestion=suggestion)
            return done.result


# Which span.


def _span(args: argparse.Namespace, session: Session, wall_ns: int) -> Span:
    """Return the span asked for, as far as the session reaches back and the venue's lists have settled.

    Without one: the last UTC day that is over and that the session saw the whole of, or else the day under way. `yesterday`
    is the last one that is over, whether the session saw the whole of it or not.
    """
    settled_ns = (wall_ns - to_ns(session.cfg.venue.unknown_absent_s)) // NS_PER_S * NS_PER_S
    began_ns = -(-session.began_ns // NS_PER_S) * NS_PER_S
    if (args.from_ is None) != (args.to is None) or (args.day and args.from_):
        raise UsageError("a span is --day, or --from and --to together")
    if args.from_ is not None:
        from_ns, to_ns_ = _time(args.from_), _time(args.to)
    else:
        today = settled_ns // NS_PER_DAY
        default = today - 1 if args.day == YESTERDAY or began_ns <= (today - 1) * NS_PER_DAY else today
        from_ns = _time(args.day) if args.day not in (None, YESTERDAY) else default * NS_PER_DAY
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


class Written(msgspec.Struct, frozen=True):
    """A statement on disk: its path, the SHA-256 of its bytes, and the fingerprint of the key that signed it."""

    file: str
    sha256: str
    signed_by: str


def write(directory: Path, span: Span, content: bytes) -> Written:
    """Write a statement's bytes below a session's state directory, their SHA-256 as `sha256sum -c` reads it, and sign them.

    Raises:
        OperatorError: it cannot be written, or the host's key cannot be used.
    """
    statements, key_path = directory / STATEMENTS_DIR, directory / KEY_NAME
    path = statements / f"statement-{_stamp(span.from_ns)}-{_stamp(span.to_ns)}.json"
    sha256 = digest(content)
    try:
        if not key_path.exists() and directory.stat().st_uid != os.geteuid():
            raise OperatorError(f"there is no key {key_path} yet, and the directory is another user's",
                                suggestion="run this as the daemon's user: the key must be its own")
        key = open_key(key_path)
        publish(key, directory / JOURNAL_DIR, key_path)
        statements.mkdir(mode=0o750, exist_ok=True)
        publish(key, statements, key_path)
        put_in_place(path, content, mode=0o640)
        put_in_place(path.with_name(f"{path.name}.sha256"), f"{sha256}  {path.name}\n".encode(), mode=0o640)
        signed_by = sign(path, content, key, SystemClock().wall_ns())
    except OSError as error:
        raise OperatorError(f"the statement cannot be written: {error}") from error
    return Written(str(path), sha256, signed_by)


def _stamp(wall_ns: int) -> str:
    return re.sub(r"[-:]|\.\d+", "", utc_text(wall_ns))


def _print(found: Statement, written: Written) -> None:
    counts = (f"{len(found.orders)} orders, {len(found.fills)} executions, {len(found.moves)} moves of the user's,"
              f" {len(found.differences)} differences")
    lines = [f"{utc_text(found.span.from_ns)} to {utc_text(found.span.to_ns)}: {counts}", ""]
    names = ("asset", "opening", "traded", "fees", "moved", "closing", "here")
    lines += aligned([names, *([asset, *(f"{getattr(row, name).normalize():f}" for name in names[1:])]
                              for asset, row in found.balances.items())])
    if found.moves:
        lines += ["", *(f"{utc_text(move.time_ns)}  {move.kind} {move.amount.normalize():f} {move.name}" for move in found.moves)]
    if found.differences:
        rows = [[str(msgspec.structs.asdict(difference)[name]) or "-" for name in COLUMNS] for difference in found.differences]
        lines += ["", *aligned([COLUMNS, *rows])]
    sys.stdout.write("\n".join([*lines, "", written.file, f"sha256 {written.sha256}", f"signed by {written.signed_by}"]) + "\n")
