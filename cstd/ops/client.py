"""The command line's side of the admin socket: one request, one answer, printed as JSON or as a table.

Imports only what a JSON answer needs, because these verbs run in scripts; rich and the waterfall come lazily, and rich
only when stdout is a terminal. Data goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

import orjson

from cstd.errors import EXIT_CONFIG, EXIT_FAILURE, EXIT_OK, EXIT_USAGE, CstdError, OperatorError, UsageError
from cstd.ops.confirm import confirm
from cstd.ops.socket_path import socket_address
from cstd.printed import aligned, one_line

DEFAULT_SOCKET = ".run/current/cstd.sock"
TIMEOUT_S = 15.0
PAGE_ROWS = 500
PAGES_MAX = 2_000
DECISIONS_MAX = 20
OWN_NAMED = 20  # instruments in one question
VERBS = ("status", "positions", "orders", "fills", "gates", "why", "pause", "resume", "kill", "flatten", "approve",
         "decline", "clusters", "opportunities", "limits",
         "limits set", "limits reset", "limits rebase-peak", "reload", "page token")

JsonDict = dict[str, Any]

# Columns of the tables; what a row has beside them is in the JSON.
COLUMNS: dict[str, tuple[str, ...]] = {
    "positions": ("instrument", "qty", "entry_price", "mark_price", "value", "unrealized_pnl", "realized_pnl",
                  "user_qty"),
    "orders": ("sent_wall_ns", "cl_ord_id", "symbol", "side", "kind", "state", "limit_price", "order_qty", "filled_qty",
               "time_in_force"),
    "fills": ("wall_ns", "exec_id", "cl_ord_id", "symbol", "side", "qty", "price", "fee", "fee_asset"),
    "gates": ("gate", "name", "limit", "unit", "last_kind", "last_value", "last_pass", "passed", "failed", "noted",
              "first_failed"),
    "approvals": ("id", "state", "instrument", "side", "qty", "price", "notional", "currency", "age_s", "expires_in_s",
                  "approve"),
    "limits": ("gate", "name", "key", "instrument", "value", "unit", "configured", "tighter", "source", "set_by_uid",
               "set_wall_ns", "reason"),
    "limits set": ("key", "instrument", "before", "value", "unit", "configured", "source", "set_by_uid", "set_wall_ns", "reason"),
    "why": ("decided_wall_ns", "intent_seq", "instrument", "kind", "side", "verdict", "first_failing", "cl_ord_id"),
}
LOSS_GATES = (13, 14)
EXIT_CODES = {"usage": EXIT_USAGE, "configuration": EXIT_CONFIG}
# What reads the same from the session's ledger.db.
WITHOUT_DAEMON = {"orders": "`cstd export orders`", "fills": "`cstd export fills`",
                  "why": "`cstd why ID`, `cstd why --since 1d`, `cstd export decisions`"}
ROW_KEYS = {"orders": ("cl_ord_id",), "fills": ("exec_id",), "opportunities": ("instrument", "horizon_s")}


class DaemonError(OperatorError):
    """The daemon answered with an error; its own category, and whether another try makes sense, are kept."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message", "the daemon gave no reason")),
                         suggestion=str(error.get("suggestion", "")))
        self.category = str(error.get("error", "error"))
        self.retryable = bool(error.get("retryable", False))
        self.exit_code = EXIT_CODES.get(self.category, EXIT_FAILURE)


class NoDaemonError(OperatorError):
    """Nobody serves the socket."""


class AdminClient:
    """One connection to a daemon; a context manager."""

    def __init__(self, path: str | os.PathLike[str], timeout_s: float = TIMEOUT_S) -> None:
        """Connect.

        Raises:
            OperatorError: nobody serves the socket, or it may not be used.
        """
        self.path = os.fspath(path)
        self._next_id = 0
        self._received = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(timeout_s)
        try:
            with socket_address(self.path) as address:
                self._socket.connect(address)
        except OSError as error:
            self._socket.close()
            raise _no_daemon(self.path, error) from error
        except OperatorError:
            self._socket.close()
            raise

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def request(self, verb: str, args: Mapping[str, object] | None = None, token: str | None = None) -> Any:
        """Send one request, or hand on one that the page sent with a token, and return the data of its answer.

        Raises:
            OperatorError: the daemon refused, went away, or did not answer in time.
        """
        self._next_id += 1
        message = {"verb": verb, "args": dict(args or {}), "id": self._next_id, **({"token": token} if token is not None else {})}
        try:
            self._socket.sendall(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))
            reply = orjson.loads(self._read_line())
        except TimeoutError:
            raise OperatorError(f"the daemon at {self.path} did not answer within {self._socket.gettimeout():g} s",
                                suggestion="it may be stopping or stuck: see its log") from None
        except (OSError, orjson.JSONDecodeError) as error:
            raise OperatorError(f"the daemon at {self.path} broke off: {error}") from error
        if not reply.get("ok"):
            raise DaemonError(reply.get("error", {}))
        return reply["data"]

    def rows(self, verb: str, args: Mapping[str, object]) -> list[JsonDict]:
        """Return all rows of a paged verb, in its order, each once."""
        seen: dict[object, JsonDict] = {}
        key = ROW_KEYS[verb]
        for page_number in range(PAGES_MAX):
            page = self.request(verb, {**args, "limit": PAGE_ROWS, "offset": page_number * PAGE_ROWS})
            for row in page:
                # Rows that came in meanwhile push others onto the next page: those are met twice.
                seen.setdefault(tuple(row[name] for name in key), row)
            if len(page) < PAGE_ROWS:
                return list(seen.values())
        raise OperatorError(f"more than {PAGES_MAX * PAGE_ROWS} rows", suggestion="read the ledger instead")

    def _read_line(self) -> bytes:
        chunks = [self._received]
        while b"\n" not in chunks[-1]:
            chunk = self._socket.recv(1 << 18)
            if not chunk:
                raise ConnectionResetError("connection closed before the answer was complete")
            chunks.append(chunk)
        line, _, self._received = b"".join(chunks).partition(b"\n")
        return line


def _no_daemon(path: str, error: OSError) -> OperatorError:
    if isinstance(error, FileNotFoundError):
        return NoDaemonError(f"no daemon: there is no socket at {path}",
                             suggestion="start one with `cstd run -c FILE`, or name its run directory with --run-dir")
    if isinstance(error, ConnectionRefusedError) and _is_something_else(path):
        return OperatorError(f"{path} is no socket", suggestion="name a daemon's run directory with --run-dir")
    if isinstance(error, ConnectionRefusedError):
        return NoDaemonError(f"no daemon: nobody listens at {path}, it is what a dead one left",
                             suggestion="start it with `cstd run -c FILE`")
    if isinstance(error, PermissionError):
        return OperatorError(f"not allowed to use the socket {path}",
                             suggestion="run as the daemon's user or as a member of its group")
    return OperatorError(f"cannot connect to {path}: {error.strerror or error}")


def _is_something_else(path: str) -> bool:
    try:
        return not stat.S_ISSOCK(os.stat(path).st_mode)  # noqa: PTH116 -- pathlib is more than a status needs
    except OSError:  # it went meanwhile
        return False


def main(verb: str, args: argparse.Namespace) -> int:
    """Run one verb of VERBS; return the exit code.

    Reads of `args`: socket, output ("json" or "table"), and by verb: all (orders, fills); id, last, instrument,
    refused_by, count (why); hold, clear, yes, reason (kill); yes, reason (flatten); reason (pause, resume);
    id, list, yes, reason (approve, decline); instrument (limits, clusters, opportunities); horizon (opportunities);
    key, value, instrument, yes, reason (limits set, limits reset); yes, reason (limits rebase-peak).
    """
    as_json = _output(args) == "json"
    try:
        if verb not in VERBS:
            raise UsageError(f"unknown verb {verb!r}", suggestion=f"one of {', '.join(VERBS)}")
        with AdminClient(_get(args, "socket") or DEFAULT_SOCKET) as client:
            data = _run(client, verb, args)
        sys.stdout.write(to_json(data) if as_json else _to_text(verb, data))
        sys.stdout.flush()
    except CstdError as error:
        if isinstance(error, NoDaemonError) and verb in WITHOUT_DAEMON:
            error.suggestion = "; ".join(filter(None, (error.suggestion, _without_daemon(verb, args))))
        _print_error(error, as_json=as_json)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); stdout is pointed away so that the exit does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    return EXIT_OK


def _without_daemon(verb: str, args: argparse.Namespace) -> str:
    """Return which commands tell it from the session's ledger.db, "" where there is none to be seen."""
    from pathlib import Path  # lazily: more than an answer needs

    from cstd.ops.ledger_file import ledger_path

    try:
        path = ledger_path(Path(_get(args, "socket") or DEFAULT_SOCKET))
        return f"without one {path} tells: {WITHOUT_DAEMON[verb]}" if path.exists() else ""
    except (OSError, OperatorError):
        return ""


def _run(client: AdminClient, verb: str, args: argparse.Namespace) -> Any:
    if verb == "opportunities":
        return client.rows(verb, _given(args, "horizon", "instrument"))
    if verb in ROW_KEYS:
        return client.rows(verb, {"all": bool(_get(args, "all"))})
    if verb == "why":
        return client.request("why", why_args(args))
    if verb == "kill" and _get(args, "clear"):
        return _clear_kill(client, args)
    if verb in ("limits", "clusters"):
        return client.request(verb, _given(args, "instrument"))
    if verb == "approve":
        return _approve(client, args)
    if verb == "decline":
        return client.request(verb, _given(args, "id", "reason"))
    if verb == "limits rebase-peak":
        return _rebase_peak(client, args)
    if verb.startswith("limits "):
        return _change_limit(client, verb, args)
    if verb == "page token":
        return client.request("page_token", _given(args, "end"))
    if verb in ("kill", "flatten"):
        _confirm(args, _question(verb, args))
    if verb in ("pause", "resume", "kill", "flatten"):
        return client.request(verb, _given(args, "reason", "hold") if verb == "kill" else _given(args, "reason"))
    return client.request(verb)


def why_args(args: argparse.Namespace) -> JsonDict:
    """Return the arguments of the request that a command line of `why` asks for; raises UsageError where it asks for none."""
    wanted = _given(args, "id", "last", "instrument", "refused_by", "count")
    if not wanted:
        raise UsageError("why what?", suggestion="an intent or client order id, --last, --instrument, --refused-by, --count or "
                         "--since")
    if "id" in wanted:
        if len(wanted) > 1:
            raise UsageError("an id stands alone: leave out --last, --instrument, --refused-by and --count")
        return {"id": str(wanted["id"])}
    limit = wanted.pop("count", None)
    if limit is not None:
        if "last" in wanted or limit > DECISIONS_MAX:
            raise UsageError("--last is one decision, --count several" if "last" in wanted else
                             f"--count {limit}: at most {DECISIONS_MAX} are explained at once",
                             suggestion="all are in the table decisions of the session's ledger.db")
        return {**wanted, "limit": limit}
    # Of an instrument, or of a gate: the latest one.
    return {**wanted, "last": True}


def _clear_kill(client: AdminClient, args: argparse.Namespace) -> Any:
    """Clear the kill switch in its two steps: ask for a confirmation word, show why it was latched, give it back."""
    first = client.request("kill_clear")
    if not isinstance(first, dict) or "confirm" not in first:
        return first
    reason = first.get("kill_reason") or first.get("reason") or "no reason recorded"
    _confirm(args, f"the kill switch is latched ({reason}); clear it?")
    return client.request("kill_clear", {"confirm": str(first["confirm"])})


def _rebase_peak(client: AdminClient, args: argparse.Namespace) -> Any:
    """Set the peak anew in its two steps: see what it is and what it would be, give the word back."""
    first = client.request("limits_rebase_peak", _given(args, "reason"))
    held = f", of which {', '.join(first['unverified'])} at a bid that is not verified now" if first["unverified"] else ""
    _confirm(args, f"measure drawdown from {first['value']} {first['currency']} on{held}? The peak is {first['peak']}, the "
                   f"drawdown {first['drawdown_bps']} bps; what it latched stays until `cstd resume`")
    return client.request("limits_rebase_peak", {"confirm": str(first["confirm"]), **_given(args, "reason")})


def _change_limit(client: AdminClient, verb: str, args: argparse.Namespace) -> Any:
    """Set or reset a limit once it is confirmed, with what holds now in the question."""
    wanted = {**_given(args, "value", "instrument", "reason"), "key": args.key.strip().lower()}  # as the daemon reads it
    rows = client.request("limits", _given(args, "instrument"))
    shown = {row["key"]: row for row in rows[::-1] if row["instrument"] is None or "instrument" in wanted}
    row = next((row for key, row in shown.items() if wanted["key"] in (key, key.partition(".")[2])), None)
    if row is not None and not row["fixed"]:  # else the daemon says why not
        to = f"set {row['key']} to {wanted['value']}" if "value" in wanted else f"take back what commands made of {row['key']}"
        whose = f" for {wanted['instrument']}" if "instrument" in wanted else ""
        if verb == "limits reset" and not whose:
            whose = _own_that_end([own for own in rows if own["key"] == row["key"] and own["instrument"] and own["asked"]])
        latches = "; a threshold that is reached already latches its level at once" if row["gate"] in LOSS_GATES else ""
        _confirm(args, f"{to}{whose}? It is {row['value']} {row['unit']}, configured {row['configured']}{latches}")
    return client.request(verb.replace(" ", "_"), wanted)


def _own_that_end(rows: Sequence[JsonDict]) -> str:
    """Return what a reset for all takes back of single instruments' own, for the question."""
    named = [f"{row['instrument']} {row['value']} -> {row['configured']}" for row in rows[:OWN_NAMED]]
    more = [f"{len(rows) - OWN_NAMED} more"] if len(rows) > OWN_NAMED else []
    return f", also for each that has its own ({', '.join([*named, *more])})" if rows else ""


def _approve(client: AdminClient, args: argparse.Namespace) -> Any:
    """List what waits, or approve one of it; that is confirmed with what it lets be sent in the question."""
    waiting = client.request("approvals")
    if _get(args, "list"):
        if _get(args, "id") is not None:
            raise UsageError("--list stands alone: leave out the ID")
        return waiting
    if _get(args, "id") is None:
        raise UsageError("approve what?", suggestion="an ID of `cstd approve --list`")
    row = next((row for row in waiting if str(row["id"]) == args.id), None)
    if row is not None:  # else the daemon says why not
        _confirm(args, f"let the gates judge it again, and send it: {row['side']} {row['qty']} {row['instrument']} at "
                       f"{row['price']} ({row['notional']} {row['currency']}, expires in {row['expires_in_s']:g} s)?")
    return client.request("approve", _given(args, "id", "reason"))


def _question(verb: str, args: argparse.Namespace) -> str:
    if verb == "flatten":
        return "sell all managed inventory now, and open nothing until resume?"
    return f"latch the kill switch and cancel every order{', holding back exits too' if _get(args, 'hold') else ''}?"


def _confirm(args: argparse.Namespace, question: str) -> None:
    confirm(question, yes=bool(_get(args, "yes")))


def _get(args: argparse.Namespace, name: str) -> Any:
    return getattr(args, name, None)


def _given(args: argparse.Namespace, *names: str) -> JsonDict:
    """Return the named arguments that were given: neither absent, nor False, nor empty."""
    return {name: value for name in names if (value := _get(args, name)) not in (None, False, "")}


def _output(args: argparse.Namespace) -> str:
    return str(_get(args, "output") or "table")


def _print_error(error: CstdError, *, as_json: bool) -> None:
    if as_json:
        sys.stderr.write(to_json(error.to_json()))
        return
    tail = f"\n      {error.suggestion}" if error.suggestion else ""
    sys.stderr.write(f"cstd: {error.message}{tail}\n")


def to_json(data: Any) -> str:
    """Return one JSON document with its newline."""
    return orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE).decode()


def _to_text(verb: str, data: Any) -> str:
    if verb == "why" and isinstance(data, dict):
        # Lazily: the waterfall's module knows the gates, a JSON answer needs nothing of it.
        from cstd.decision.why import waterfall

        return waterfall(data)
    if verb == "reload":
        return _reloaded_text(data)
    if verb == "page token":
        return _page_token_text(data)
    if verb == "clusters":
        from cstd.decision.clusters import text

        return text(data)
    if verb == "opportunities":
        from cstd.decision.opportunities import text as opportunities_text

        return opportunities_text(data)
    if verb in ("limits set", "limits reset") and isinstance(data, dict):
        verb, data = "limits set", [data, *data.get("ended", ())]
    if isinstance(data, list):
        verb = "approvals" if verb == "approve" else verb
        columns = COLUMNS.get(verb) or tuple(data[0] if data else ())
        cells = [[_cell(row.get(column), column) for column in columns] for row in data]
        heads = [column.replace("wall_ns", "utc") for column in columns]
        return _table(heads, cells, sys.stdout)
    if verb == "status":  # each with its samples is in the JSON
        asking = [name for name, row in data["conditions"].items() if row["asks"]]
        data = {**data, "conditions": asking or "none asks for a level"}
    pairs = [[name, _cell(value)] for name, value in _flatten("", data)]
    return _table((), pairs, sys.stdout)


def _page_token_text(data: Mapping[str, Any]) -> str:
    """Return the token alone on its line, as the page takes it; or how many have ended."""
    return f"{data['ended']} ended\n" if data["token"] is None else f"{data['token']}\n"


def _reloaded_text(data: Mapping[str, Any]) -> str:
    """Return what a reload did, a line each."""
    def named(row: Mapping[str, Any]) -> str:
        return f"{row['key']} for {row['instrument']}" if row["instrument"] else str(row["key"])

    lines = [f"applied: {named(row)} = {row['value']}, was {row['before']}" for row in data["applied"]]
    lines += [f"stands: {named(row)} = {row['value']} by an operator's command; the files say {row['before']}"
              for row in data["stands"]]
    lines += [f"needs a restart: {row['key']} = {row['file'] if row['file'] is not None else '(none)'}, runs with "
              f"{row['running'] if row['running'] is not None else '(none)'}" for row in data["needs_restart"]]
    return "".join(f"{line}\n" for line in lines or ["nothing has changed"])


def _flatten(prefix: str, data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _flatten(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value


def _cell(value: Any, column: str = "") -> str:
    if value is None:
        return "-"
    if column.endswith("wall_ns"):
        return utc(int(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_cell(item) for item in value)
    return str(value)


def utc(wall_ns: int) -> str:
    """Return a time as people read it, to the millisecond; the JSON has the nanoseconds."""
    milliseconds = wall_ns // 1_000_000
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(milliseconds // 1_000)) + f".{milliseconds % 1_000:03d}"


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]], stream: TextIO) -> str:
    """Return a table: aligned plain text, or rich's where the stream is a terminal."""
    if not cells:
        return "(none)\n"
    if stream.isatty():
        return _rich_table(columns, cells)
    return "".join(f"{line}\n" for line in aligned([list(columns), *cells] if columns else list(cells)))


def _rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=bool(columns), pad_edge=False, header_style="bold")
    for column in columns or ("", ""):
        table.add_column(column, overflow="fold")
    for row in cells:
        # As Text: a square bracket in data is no markup.
        table.add_row(*(Text(one_line(cell)) for cell in row))
    console = Console(file=sys.stdout)
    with console.capture() as captured:
        console.print(table)
    return captured.get()
