"""`cstd audit`: who asked the daemon for what, and when: every command in the journal, between its starts and stops.

Read from the journal alone, whose chain is proven on the way, with a daemon or without. It is what was asked, and what the
engine wrote of it behind the command. In a journal that is older than such records it is what follows without a replay: limits
are judged again by the start's configuration, and what is never refused was taken. Refused tries to connect never reach the
journal; the log's channel `security` has them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pwd
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec

from cstd import __version__
from cstd._fast.codes import EventKind
from cstd._fast.journal_scan import Record
from cstd._fast.rerun import first_output
from cstd.config import from_canonical_json
from cstd.decision.limits import limits_in_force
from cstd.decision.operator_limits import OperatorLimits
from cstd.errors import EXIT_OK, ConfigError, OperatorError
from cstd.ops.client import utc
from cstd.printed import aligned
from cstd.storage.journal_reader import records
from cstd.storage.run_dir import JOURNAL_DIR

COLUMNS = ("when", "what", "who", "pid", "result", "with")
BOOT_FIELDS = ("mode", "version", "boot_epoch", "config_hash")
NEVER_REFUSED = frozenset({"pause", "halt", "kill", "flatten", "reload"})
Result = Literal["taken", "refused", "asked"]  # asked: the first of two steps, which changed nothing
LIMITS = frozenset({"limits_set", "limits_reset", "limits_reload"})


class AuditRow(TypedDict):
    """One thing that somebody asked for, or a start or a stop of the daemon."""

    seq: int  # of the record in the journal
    wall_ns: int
    what: Literal["start", "stop", "command"]
    verb: str | None
    uid: int | None  # as the daemon saw it: 65534 is anybody that its user namespace hides
    gid: int | None
    pid: int | None
    user: str | None  # the name that this host has for the uid now
    via: Literal["page"] | None  # page: by a token of that user's; None: by the admin socket, or the daemon's own
    args: dict[str, Any]
    result: Result | None  # None: a start or stop, or an old journal, where a replay alone can tell
    refusal: str | None  # why, as its sender was told


class _Judge:
    """What came of commands, as far as the journal's own starts and commands say it."""

    def __init__(self) -> None:
        self._limits: OperatorLimits | None = None

    def boot(self, boot: dict[str, Any]) -> None:
        """Take a start; the rules of another version, or of one that knew other keys, may have been others."""
        self._limits = None
        if boot["version"] != __version__:
            return
        with contextlib.suppress(ConfigError):
            cfg = from_canonical_json(msgspec.json.encode(boot["config"]))
            self._limits = OperatorLimits()
            self._limits.configure(cfg)

    def of(self, command: dict[str, Any]) -> tuple[Result | None, str | None]:
        """Return what came of a command of which no record tells, and why where it was refused."""
        verb = command["verb"]
        if verb in NEVER_REFUSED:
            return "taken", None
        if verb not in LIMITS or self._limits is None:
            return None, None
        # A refusal depends on the configuration and the command alone, never on the commands that stand.
        limits = self._limits.copy()
        try:
            row = limits.end(command["args"]) if verb == "limits_reset" else limits.change(
                command["args"], command, 0, by_reload=verb == "limits_reload")
            limits_in_force(limits.in_force(row["instrument"] or ""), row["instrument"] or "all instruments")
        except OperatorError as error:
            return "refused", error.message
        return "taken", None


def main(args: argparse.Namespace) -> int:
    """Print the trail, oldest first, one JSON object a line or a table; returns 0.

    Raises:
        UsageError: there is no journal there.
        VerificationError: the journal is not what was written.
    """
    directory = Path(args.dir)
    directory = directory / JOURNAL_DIR if (directory / JOURNAL_DIR).is_dir() else directory
    wanted = (row for row in trail(directory) if row["wall_ns"] >= (args.since or 0) and args.of_verb in (None, row["verb"])
              and args.uid in (None, row["uid"]))
    if args.output == "json":
        for row in wanted:
            sys.stdout.write(json.dumps(row) + "\n")
        return EXIT_OK
    rows = [[utc(row["wall_ns"]), row["verb"] or row["what"], _who(row), str(row["pid"] or "-"), row["result"] or "-",
             _with(row["args"])] for row in wanted]
    sys.stdout.write("".join(f"{line}\n" for line in aligned([COLUMNS, *rows])) if rows else "(none)\n")
    return EXIT_OK


def trail(directory: Path) -> Iterator[AuditRow]:
    """Yield the rows of a journal, oldest first."""
    judge, asked = _Judge(), None
    for record in records(directory):
        if asked is not None and record.kind == EventKind.OUT_ANSWER:
            answer = msgspec.json.decode(record.payload)
            yield {**asked, "result": answer["result"], "refusal": answer["refusal"]}
            asked = None
        elif asked is not None and record.kind < first_output:  # the next event: nothing was written of the one before
            yield asked
            asked = None
        if record.kind == EventKind.EVENT_COMMAND:
            asked = _command(record, judge)
        elif record.kind == EventKind.EVENT_BOOT:
            boot = msgspec.json.decode(record.payload)
            judge.boot(boot)
            yield _own(record.seq, record.wall_ns, "start", {name: boot[name] for name in BOOT_FIELDS})
        elif record.kind == EventKind.EVENT_STOP:
            yield _own(record.seq, record.wall_ns, "stop", {})
    if asked is not None:
        yield asked


def _command(record: Record, judge: _Judge) -> AuditRow:
    command = msgspec.json.decode(record.payload)
    uid = command.get("uid")
    result, refusal = judge.of(command)
    return {"seq": record.seq, "wall_ns": record.wall_ns, "what": "command", "verb": command["verb"], "uid": uid,
            "gid": command.get("gid"), "pid": command.get("pid"), "user": user_name(uid), "via": command.get("via"),
            "args": command["args"], "result": result, "refusal": refusal}


def _own(seq: int, wall_ns: int, what: Literal["start", "stop"], args: dict[str, Any]) -> AuditRow:
    return {"seq": seq, "wall_ns": wall_ns, "what": what, "verb": None, "uid": None, "gid": None, "pid": None, "user": None,
            "via": None, "args": args, "result": None, "refusal": None}


def user_name(uid: int | None) -> str | None:
    """Return the name of a user on this host, None where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name if uid is not None else None
    except KeyError:
        return None


def _who(row: AuditRow) -> str:
    who = "-" if row["uid"] is None else f"{row['uid']} ({row['user']})" if row["user"] else str(row["uid"])
    return f"{who} by the {row['via']}" if row["via"] else who


def _with(args: dict[str, Any]) -> str:
    given = {name: value for name, value in args.items() if value not in (None, "", False)}
    return " ".join(f"{name}={value[:16] if name == 'config_hash' else value}" for name, value in given.items()) or "-"
