"""`cstd why`: one decision or several from the running daemon; with `--since` what was decided in a span of time.

The span's decisions are counted by the running daemon as far as it keeps them (1,024), else read from the session's ledger.db,
which holds all of them. The ledger also knows the daemon's changes of state and the fills, where there is one.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cstd.cli.app import print_error
from cstd.errors import EXIT_OK, CstdError, OperatorError, UsageError
from cstd.ops import client

if TYPE_CHECKING:
    import sqlite3

LEDGER_FILE = "ledger.db"  # cstd.projector.database, whose import takes longer than this command may
JOURNAL_DIR = "journal"
SCHEMA_VERSION = 2
STATES_SHOWN = 20
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
NS_PER_S = 1_000_000_000

JsonDict = dict[str, Any]


def main(verb: str, args: argparse.Namespace) -> int:
    """Print decisions, or with `args.since` the summary; return the exit code."""
    if args.since is None:
        return client.main(verb, args)
    try:
        if args.id is not None or args.last or args.count is not None:
            raise UsageError("--since is a summary: leave out ID, --last and --count")
        found = since(Path(args.socket), wall_ns(args.since, time.time_ns()), args.instrument)
        if args.refused_by is not None:
            found["gates"] = of_gate(found["gates"], args.refused_by)
    except CstdError as error:
        print_error(error, as_json=args.output == "json")
        return error.exit_code
    sys.stdout.write(client.to_json(found) if args.output == "json" else text(found))
    return EXIT_OK


def wall_ns(text_: str, now_ns: int) -> int:
    """Return the time that `--since` names: a length of time before now, or a UTC day or time.

    Raises:
        UsageError: it is no time.
    """
    from cstd.clock import utc_parse

    length = re.fullmatch(r"(\d+)([smhd])", text_)
    if length is not None:
        return max(0, now_ns - int(length[1]) * UNITS_S[length[2]] * NS_PER_S)
    try:
        return utc_parse(text_ if "T" in text_ else f"{text_}T00:00:00Z")
    except ValueError as error:
        raise UsageError(f"--since {text_}: {error}", suggestion="90s, 10m, 2h, 1d, or 2026-08-02T10:00:00Z") from None


def since(socket: Path, since_ns: int, instrument: str | None) -> JsonDict:
    """Return what was decided since a time.

    Raises:
        OperatorError: there is neither a daemon nor a ledger, or no such instrument.
    """
    path = ledger_path(socket)
    asked = {"since_wall_ns": since_ns} | ({"instrument": instrument} if instrument is not None else {})
    try:
        with client.AdminClient(os.fspath(socket)) as connection:
            told: JsonDict | None = connection.request("refusals", asked)
    except client.DaemonError:
        raise
    except OperatorError as error:
        if not path.exists():
            raise OperatorError(f"{error.message}, and there is no {path}", suggestion=error.suggestion) from None
        told = None
    if not path.exists():
        assert told is not None
        return told
    written = from_ledger(path, since_ns, instrument)
    if told is None:
        return written
    if told["complete"]:
        return told | {"states": written["states"], "fills": written["fills"]}
    return written | {"state": told["state"], "state_reason": told["state_reason"]}


def ledger_path(socket: Path) -> Path:
    """Return where the ledger of a daemon is: beside the journal of its run directory, in which its socket usually lies."""
    run_dir = socket.parent
    if not (run_dir / JOURNAL_DIR).exists() and (named := os.environ.get("CSTD__RUN__DIR")):
        run_dir = Path(named)
    return (run_dir / JOURNAL_DIR).resolve().parent / LEDGER_FILE


def from_ledger(path: Path, since_ns: int, instrument: str | None) -> JsonDict:
    """Return the summary of a session's ledger.

    Raises:
        OperatorError: it cannot be read, or is of another schema, or has no such instrument.
    """
    import sqlite3

    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5.0)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                raise OperatorError(f"{path} has schema {version}; this cstd reads {SCHEMA_VERSION}",
                                    suggestion="`cstd db rebuild` makes it anew")
            return _read(connection, path, since_ns, instrument)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OperatorError(f"{path} cannot be read: {error}",
                            suggestion="see its rights; `cstd db rebuild` makes it anew") from error


def _read(connection: sqlite3.Connection, path: Path, since_ns: int, instrument: str | None) -> JsonDict:
    import sqlite3

    connection.row_factory = sqlite3.Row
    name = None
    if instrument is not None:
        names = [row[0] for row in connection.execute("SELECT DISTINCT instrument FROM decisions")]
        name = next((known for known in names if known.upper() == instrument.upper()), None)
        if name is None:
            raise OperatorError(f"the session has decided nothing about {instrument}",
                                suggestion=f"one of: {', '.join(names[:20])}" if names else "it has decided nothing yet")
    where, values = ("wall_ns >= ? AND instrument = ?", (since_ns, name)) if name else ("wall_ns >= ?", (since_ns,))
    counts = {row[0]: row[1] for row in connection.execute(
        f"SELECT verdict, count(*) FROM decisions WHERE {where} AND NOT rejudged GROUP BY verdict", values)}  # noqa: S608 -- ours
    known_ns, until_ns = connection.execute(
        "SELECT (SELECT min(wall_ns) FROM boots), (SELECT max(wall_ns) FROM (SELECT max(wall_ns) AS wall_ns FROM decisions"
        " UNION ALL SELECT max(wall_ns) FROM states UNION ALL SELECT max(wall_ns) FROM marks))").fetchone()
    states = [dict(row) for row in connection.execute(
        "SELECT wall_ns, state, before, reason FROM states WHERE wall_ns >= ? ORDER BY seq", (since_ns,))]
    last = connection.execute("SELECT state, reason FROM states ORDER BY seq DESC LIMIT 1").fetchone()
    fills = connection.execute(f"SELECT count(*) FROM fills WHERE {where}", values).fetchone()[0]  # noqa: S608 -- ours
    return {
        "since_wall_ns": since_ns, "until_wall_ns": until_ns or since_ns, "source": str(path),
        "complete": known_ns is not None and known_ns <= since_ns, "known_since_wall_ns": known_ns, "instrument": name,
        "state": last["state"] if last else None, "state_reason": (last["reason"] or None) if last else None,
        "decided": sum(counts.values()), "approved": counts.get("approve", 0), "reduced": counts.get("reduce", 0),
        "refused": counts.get("refuse", 0), "gates": _gates(connection, where, values), "states": states, "fills": fills,
    }


def _gates(connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[JsonDict]:
    found = []
    for row in connection.execute(
            "SELECT gate, max(seq) AS last, sum(verdict = 'refuse' AND NOT rejudged) AS refused,"  # noqa: S608 -- `where` is ours
            " sum(verdict = 'reduce') AS reduced, sum(verdict = 'refuse' AND rejudged) AS canceled FROM decisions"
            f" WHERE {where} AND gate IS NOT NULL AND (verdict = 'refuse' OR NOT rejudged) GROUP BY gate", values).fetchall():
        case = connection.execute("SELECT wall_ns, instrument, reason, gate_value, gate_limit, gate_unit, verdict, gates"
                                  " FROM decisions WHERE seq = ?", (row["last"],)).fetchone()
        found.append({"gate": row["gate"], "reason": _reason(case, row["gate"]), "last_wall_ns": case["wall_ns"],
                      "last_instrument": case["instrument"], "last_value": case["gate_value"], "last_limit": case["gate_limit"],
                      "unit": case["gate_unit"], **{key: row[key] for key in ("refused", "reduced", "canceled")}})
    return sorted(found, key=lambda gate: (-gate["refused"], -gate["canceled"], -gate["reduced"], gate["gate"]))


def _reason(case: sqlite3.Row, gate: str) -> str:
    """Return why the gate decided: the verdict's reason, or of a reduction the gate's own."""
    import json

    if case["verdict"] == "refuse":
        return str(case["reason"])
    return next((str(entry["reason"]) for entry in json.loads(case["gates"]) if entry["name"] == gate), "")


def of_gate(gates: list[JsonDict], wanted: str) -> list[JsonDict]:
    """Return the one gate that is asked for, by name or code.

    Raises:
        UsageError: there is no such gate.
    """
    from cstd.decision.why import BOUND_NAME, GATES

    word = wanted.strip().lower().replace("-", "_").replace(" ", "_")
    names = {str(gate.code): gate.name for gate in GATES} | {gate.name: gate.name for gate in GATES} | {BOUND_NAME: BOUND_NAME}
    if word not in names:
        raise UsageError(f"{wanted} is no gate", suggestion=f"one of: {', '.join(f'{gate.code} {gate.name}' for gate in GATES)}")
    return [row for row in gates if row["gate"] == names[word]]


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
    if not found["decided"] and not found["gates"]:
        lines.append("no gate has refused anything: the strategy wished for nothing, or the state above let it wish for nothing")
    if found["gates"]:
        rows = [("gate", "refused", "reduced", "pulled", "last", "instrument", "value", "limit", "unit", "reason")]
        rows += [(row["gate"], str(row["refused"]), str(row["reduced"]), str(row["canceled"]), utc(row["last_wall_ns"]),
                  row["last_instrument"], row["last_value"] or "-", row["last_limit"] or "-", row["unit"] or "-",
                  row["reason"].replace("_", " ")) for row in found["gates"]]
        lines += ["", *client.aligned(rows)]
    if found["states"]:
        lines += ["", *(f"{utc(row['wall_ns'])}  {row['before']} -> {row['state']}: {row['reason'] or ''}".rstrip(": ")
                        for row in found["states"][-STATES_SHOWN:])]
    return "\n".join(lines) + "\n"
