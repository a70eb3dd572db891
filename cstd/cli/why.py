"""`cstd why`: one decision or several from the running daemon; with `--since` what was decided in a span of time.

A decision that is asked for by its id and that the daemon no longer keeps, or that no daemon can be asked for, is read from the
session's ledger.db, which has every decision with all that explains it.
The span's decisions are counted by the running daemon as far as it keeps them (1,024), else read from the session's ledger.db,
which holds all of them. The ledger also knows the daemon's changes of state and the fills, where there is one. One that cannot
be read is said on stderr and takes nothing from the daemon's answer.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cstd.cli.app import print_error
from cstd.errors import EXIT_OK, OperatorError, UsageError
from cstd.ops import client
from cstd.ops.ledger_file import explained, is_there, journal_range, ledger_path, opened
from cstd.printed import aligned

if TYPE_CHECKING:
    import sqlite3

STATES_SHOWN = 20

JsonDict = dict[str, Any]


def main(verb: str, args: argparse.Namespace) -> int:
    """Print decisions, or with `args.since`, a wall time in ns, the summary; return the exit code."""
    if args.since is None and not args.id:
        return client.main(verb, args)
    if args.since is None:
        return _print_one(one(Path(args.socket), client.why_args(args)["id"]), args)
    if args.id or args.last or args.count is not None:
        raise UsageError("--since is a summary: leave out ID, --last and --count")
    found, unread = since(Path(args.socket), args.since, args.instrument)
    if unread is not None:
        print_error(OperatorError(f"this is the daemon's answer alone: {unread.message}"), as_json=args.output == "json")
    if args.refused_by is not None:
        found["gates"] = [row for row in found["gates"] if row["gate"] == args.refused_by]
    sys.stdout.write(client.to_json(found) if args.output == "json" else text(found))
    return EXIT_OK


def one(socket: Path, id_: str) -> JsonDict:
    """Return the newest decision of an intent's number or a client order id, explained, from the daemon or from its ledger.

    Raises:
        OperatorError: neither knows it, or neither can be asked.
    """
    try:
        with client.AdminClient(os.fspath(socket)) as connection:
            told: JsonDict = connection.request("why", {"id": id_})
        return told | {"journal": _with_command(socket, _range_of(socket, id_, told))}
    except OperatorError as error:
        if error.category != OperatorError.category:  # it has answered, and it is not that it does not know
            raise
        path = ledger_path(socket)
        if not is_there(path):
            raise
        kept, last_seq = explained(path, id_)
        if kept is None:
            raise OperatorError(f"there is no decision {id_!r}: {error.message}, and {path} has none up to record {last_seq}",
                                suggestion="`cstd why --count 20` and `cstd orders --all` name those that there are") from None
        return kept | {"journal": _with_command(socket, kept["journal"])}


def _with_command(socket: Path, found: JsonDict) -> JsonDict:
    """Return a range of the journal with the command that shows it."""
    first_seq = found["from_seq"] if found["from_seq"] is not None else found["decision_seq"]
    place = shlex.quote(str(ledger_path(socket).parent))
    return found | {"command": f"cstd journal show {place} --from {first_seq} --to {found['to_seq']}"}


def _range_of(socket: Path, id_: str, told: JsonDict) -> JsonDict:
    """Return which records a decision of the daemon's is of: as its ledger has it, which may not have come to it yet."""
    kept = None
    with contextlib.suppress(OperatorError):
        path = ledger_path(socket)
        kept = explained(path, id_)[0] if is_there(path) else None
    same = kept is not None and kept["event_seq"] == told["event_seq"]
    return dict(kept["journal"]) if kept is not None and same else journal_range(told)


def _print_one(decision: JsonDict, args: argparse.Namespace) -> int:
    if args.output == "json":
        sys.stdout.write(client.to_json(decision))
    else:
        from cstd.decision.why import waterfall

        sys.stdout.write(waterfall(decision))
    return EXIT_OK


def since(socket: Path, since_ns: int, instrument: str | None) -> tuple[JsonDict, OperatorError | None]:
    """Return what was decided since a time, and why the ledger has no part in the daemon's answer where it cannot be read.

    Raises:
        OperatorError: there is no such instrument, or neither a daemon nor a ledger that can be read.
    """
    asked = {"since_wall_ns": since_ns} | ({"instrument": instrument} if instrument is not None else {})
    try:
        with client.AdminClient(os.fspath(socket)) as connection:
            told: JsonDict = connection.request("refusals", asked)
    except client.DaemonError:
        raise
    except OperatorError as error:
        path = ledger_path(socket)
        if (written := from_ledger(path, since_ns, instrument)) is None:
            raise OperatorError(f"{error.message}, and there is no {path}", suggestion=error.suggestion) from None
        return written, None
    try:
        written = from_ledger(ledger_path(socket), since_ns, instrument)
    except OperatorError as error:
        return told, error
    if written is None:
        return told, None
    if told["complete"]:
        return told | {"states": written["states"], "fills": written["fills"]}, None
    return written | {"state": told["state"], "state_reason": told["state_reason"]}, None


def ledger_there(socket: Path) -> Path:
    """Return the ledger of a daemon, which must be there.

    Raises:
        OperatorError: it is not, or the run directory may not be looked into.
    """
    path = ledger_path(socket)
    if not is_there(path):
        raise OperatorError(f"there is no {path}",
                            suggestion="name the session with --run-dir; `cstd db rebuild` makes its ledger")
    return path


def from_ledger(path: Path, since_ns: int, instrument: str | None) -> JsonDict | None:
    """Return the summary of a session's ledger, None where there is none.

    Raises:
        OperatorError: it cannot be read, or is of another schema, or has no such instrument.
    """
    if not is_there(path):
        return None
    with opened(path) as connection:
        return _read(connection, path, since_ns, instrument)


def _read(connection: sqlite3.Connection, path: Path, since_ns: int, instrument: str | None) -> JsonDict:
    from cstd.decision.names import instrument_named

    name = None
    if instrument is not None:
        name = instrument_named(instrument, [row[0] for row in connection.execute(
            "SELECT DISTINCT value FROM boots, json_each(boots.config, '$.instruments.names')")])
    where, values = ("wall_ns >= ? AND instrument = ?", (since_ns, name)) if name else ("wall_ns >= ?", (since_ns,))
    # By the index alone: it has these columns, in this order.
    groups = connection.execute(
        "SELECT gate, verdict, rejudged, count(*) AS count, max(seq) AS last FROM decisions"  # noqa: S608 -- `where` is ours
        f" WHERE {where} GROUP BY gate, verdict, rejudged", values).fetchall()
    counts: Counter[str] = Counter()
    for row in groups:
        counts[row["verdict"]] += 0 if row["rejudged"] else row["count"]
    known_ns, until_ns = connection.execute(
        "SELECT (SELECT min(wall_ns) FROM boots), (SELECT max(wall_ns) FROM"
        " (SELECT * FROM (SELECT wall_ns FROM decisions ORDER BY seq DESC LIMIT 1)"
        " UNION ALL SELECT max(wall_ns) FROM states UNION ALL SELECT max(wall_ns) FROM marks))").fetchone()
    states = [dict(row) for row in connection.execute(
        "SELECT wall_ns, state, before, reason FROM states WHERE wall_ns >= ? ORDER BY seq", (since_ns,))]
    last = connection.execute("SELECT state, reason FROM states ORDER BY seq DESC LIMIT 1").fetchone()
    shadowed = connection.execute(
        f"SELECT count(*) FROM decisions WHERE shadow = 1 AND rejudged = 0 AND verdict <> 'refuse' AND {where}",  # noqa: S608 -- ours
        values).fetchone()[0]
    fills = connection.execute(f"SELECT count(*) FROM fills WHERE {where}", values).fetchone()[0]  # noqa: S608 -- ours
    return {
        "since_wall_ns": since_ns, "until_wall_ns": until_ns or since_ns, "source": str(path),
        "complete": known_ns is not None and known_ns <= since_ns, "known_since_wall_ns": known_ns, "instrument": name,
        "state": last["state"] if last else None, "state_reason": (last["reason"] or None) if last else None,
        "decided": sum(counts.values()), "approved": counts["approve"], "reduced": counts["reduce"],
        "refused": counts["refuse"], "shadowed": shadowed, "gates": _gates(connection, groups), "states": states, "fills": fills,
    }


def _gates(connection: sqlite3.Connection, groups: Iterable[Mapping[str, Any]]) -> list[JsonDict]:
    """Return what each gate refused, reduced and made to be canceled, with its last case."""
    import json

    from cstd.decision.refused import last_case, most_first

    of_gate: dict[str, JsonDict] = {}
    for row in groups:
        if row["gate"] is None or not (row["verdict"] == "refuse" or not row["rejudged"]):
            continue
        counted = of_gate.setdefault(row["gate"], {"last": 0, "refused": 0, "reduced": 0, "canceled": 0})
        counted["last"] = max(counted["last"], row["last"])
        what = {"reduce": "reduced", "refuse": "canceled" if row["rejudged"] else "refused"}.get(row["verdict"])
        if what is not None:
            counted[what] += row["count"]
    found = []
    for gate, counted in of_gate.items():
        case = connection.execute("SELECT wall_ns AS decided_wall_ns, instrument, verdict, reason AS verdict_reason, gates"
                                  " FROM decisions WHERE seq = ?", (counted.pop("last"),)).fetchone()
        found.append(last_case({**case, "gates": json.loads(case["gates"])}, gate) | counted)
    return most_first(found)


# As text.


def text(found: Mapping[str, Any]) -> str:
    """Return the summary for a terminal: the state, the counts, a line for each gate, the changes of state."""
    utc = client.utc
    head = f"{utc(found['since_wall_ns'])} to {utc(found['until_wall_ns'])} UTC"
    head += (f", {found['instrument']}" if found["instrument"] else "") + f", from {found['source']}"
    lines = [head]
    if not found["complete"]:
        known = found["known_since_wall_ns"]
        lines.append(f"what was before {utc(known)} is not known there" if known else "nothing is known there of the beginning")
    if found["state"]:
        lines.append(f"state {found['state']}" + (f": {found['state_reason']}" if found["state_reason"] else ""))
    fills = "" if found["fills"] is None else f", {found['fills']} fills"
    lines.append(f"{found['decided']} intents: {found['approved']} approved, {found['reduced']} reduced, {found['refused']} "
                 f"refused{fills}")
    if found["shadowed"]:
        lines.append(f"{found['shadowed']} of those that passed were not sent: in shadow, the minute after a cleared kill switch")
    if not found["decided"] and not found["gates"]:
        lines.append("no gate has refused anything: the strategy wished for nothing, or the state above let it wish for nothing")
    if found["gates"]:
        rows = [("gate", "refused", "reduced", "pulled", "last", "instrument", "value", "limit", "unit", "reason")]
        rows += [(row["gate"], str(row["refused"]), str(row["reduced"]), str(row["canceled"]), utc(row["last_wall_ns"]),
                  row["last_instrument"], row["last_value"] or "-", row["last_limit"] or "-", row["unit"] or "-",
                  row["reason"].replace("_", " ")) for row in found["gates"]]
        lines += ["", *aligned(rows)]
    if found["states"]:
        lines += ["", *(f"{utc(row['wall_ns'])}  {row['before']} -> {row['state']}: {row['reason'] or ''}".rstrip(": ")
                        for row in found["states"][-STATES_SHOWN:])]
    return "\n".join(lines) + "\n"
