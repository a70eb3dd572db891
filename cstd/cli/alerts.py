"""`cstd alerts` and `cstd alerts ack`: what fires, as Alertmanager has it, and who has it in hand since when.

An acknowledgement is a silence of Alertmanager, by the operator's name: of the daemons (`instance`) that the alert fires for, and
it tells nobody of those again until it ends. Its comment says how long the alert had fired when it was first acknowledged: that
time comes from what Alertmanager itself keeps.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from cstd.cli.users import own_name
from cstd.clock import SystemClock, utc_parse, utc_text
from cstd.errors import EXIT_OK, OperatorError, UsageError
from cstd.ops.alertmanager import ALWAYS_FIRES, Alertmanager, FiringAlert, Matcher, Silence, told, utc
from cstd.printed import aligned
from cstd.units import NS_PER_S

Row = dict[str, Any]
ACK_WITHIN_S = 900
COLUMNS = ("alert", "severity", "since", "acknowledged_by", "until", "summary")


def list_alerts(args: argparse.Namespace) -> int:
    """Print what fires, DeadMan left out, or with `args.acks` the acknowledgements that are still kept; returns 0.

    Raises:
        ConnectivityError: no Alertmanager answers.
    """
    alertmanager = _named(args)
    if args.acks:
        return _print([_ack_row(silence) for silence in _acks(alertmanager.silences())],
                      ("alert", "by", "at", "until", "after_s", "in_time", "comment"), "nothing was acknowledged", args)
    silences = alertmanager.silences()
    return _print(list(told(alertmanager.firing(), silences)), COLUMNS, "nothing fires", args)


def ack(args: argparse.Namespace) -> int:
    """Acknowledge an alert that fires, or with `args.undo` take that back; prints what is so now and returns 0.

    Raises:
        UsageError: it must always fire. OperatorError: it does not fire, or is refused.
    """
    alertmanager = _named(args)
    if args.undo:
        return _undo(alertmanager, args)
    if args.alert == ALWAYS_FIRES:
        raise UsageError(f"{ALWAYS_FIRES} must always fire: that it stops is the alarm")
    all_firing = alertmanager.firing()
    firing = [alert for alert in all_firing if alert.name == args.alert]
    if not firing:
        names = sorted({alert.name for alert in all_firing} - {ALWAYS_FIRES, ""})
        raise OperatorError(f"{args.alert} does not fire", suggestion=f"what does: {', '.join(names) or 'nothing'}")
    now_ns = SystemClock().wall_ns()
    after_s = _first_after_s(firing, alertmanager.silences(), now_ns)
    until_ns = now_ns + args.for_s * NS_PER_S
    who = args.by or own_name()
    said = f"acknowledged after {after_s} s" + (f": {args.comment}" if args.comment else "")
    alertmanager.silence(_matchers(args.alert, firing), until_ns, now_ns, who, said)
    row = {"alert": args.alert, "acknowledged": True, "by": who, "after_s": after_s, "in_time": after_s <= ACK_WITHIN_S,
           "until": utc_text(until_ns)}
    return _print([row], tuple(row), "", args)


def _undo(alertmanager: Alertmanager, args: argparse.Namespace) -> int:
    ended = [silence for silence in _acks(alertmanager.silences()) if silence.alert == args.alert
             and silence.status.state != "expired"]
    if not ended:
        raise OperatorError(f"{args.alert} is not acknowledged", suggestion="see `cstd alerts --acks`")
    for silence in ended:
        alertmanager.expire(silence.id)
    return _print([{"alert": args.alert, "acknowledged": False}], ("alert", "acknowledged"), "", args)


def _matchers(name: str, firing: Sequence[FiringAlert]) -> list[Matcher]:
    """Return what a silence of these alerts looks for: another daemon of which the same is told later still wakes somebody."""
    matchers = [Matcher("alertname", name, is_regex=False)]
    instances = sorted({alert.labels.get("instance", "") for alert in firing})
    if any(instances):
        matchers.append(Matcher("instance", "|".join(map(re.escape, instances)), is_regex=True))
    return matchers


def _first_after_s(firing: Sequence[FiringAlert], silences: Sequence[Silence], now_ns: int) -> int:
    """Return how long the slowest of these alerts had fired when it was first acknowledged, which may be now."""
    acks = {silence.id: silence.after_s for silence in silences if silence.after_s is not None}
    after_s = []
    for alert in firing:
        before = [acks[number] for number in alert.status.silenced_by if number in acks]
        after_s.append(min(before, default=max(0, now_ns - utc_parse(utc(alert.starts_at))) // NS_PER_S))
    return max(after_s)


def _named(args: argparse.Namespace) -> Alertmanager:
    return Alertmanager(args.alertmanager or os.environ.get("ALERTMANAGER_URL", "http://127.0.0.1:9093"))


def _acks(silences: Sequence[Silence]) -> list[Silence]:
    """Return the silences that are acknowledgements of ours, newest first."""
    return sorted((silence for silence in silences if silence.after_s is not None),
                  key=lambda silence: silence.starts_at, reverse=True)


def _ack_row(silence: Silence) -> Row:
    after_s = silence.after_s or 0
    return {"alert": silence.alert, "by": silence.created_by, "at": utc(silence.starts_at), "until": utc(silence.ends_at),
            "after_s": after_s, "in_time": after_s <= ACK_WITHIN_S, "comment": silence.comment.partition(": ")[2]}


def _print(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], none: str, args: argparse.Namespace) -> int:
    if args.output == "json":
        sys.stdout.write(json.dumps(rows) + "\n")
        return EXIT_OK
    cells = [[_cell(row[name]) for name in columns] for row in rows]
    lines = aligned([list(columns), *cells]) if rows else [none]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return EXIT_OK


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None or value == "" else str(value)
