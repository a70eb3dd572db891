"""`cstd alerts` and `cstd alerts ack`: what fires, as Alertmanager has it, and who has it in hand since when.

An acknowledgement is a silence of Alertmanager, by the operator's name: it tells nobody again until it ends. Its comment
says how long the alert had fired, so that the time "from alert to acknowledgement" comes from what Alertmanager itself keeps.
"""

from __future__ import annotations

import argparse
import getpass
import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cstd.clock import SystemClock, utc_parse, utc_text
from cstd.errors import EXIT_OK, ConnectivityError, OperatorError, UsageError
from cstd.ops.client import aligned
from cstd.units import NS_PER_S

Row = dict[str, Any]
ALWAYS_FIRES = "DeadMan"
ACK_WITHIN_S = 900
TIMEOUT_S = 5.0
REPLY_BYTES_MAX = 8 << 20
_TOLD = re.compile(r"acknowledged after (\d+) s\b")
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is in one's own network, mostly on this host
COLUMNS = ("alert", "severity", "since", "acknowledged_by", "until", "summary")


class Alertmanager:
    """The few calls of Alertmanager's API, version 2. Raises ConnectivityError where none answers."""

    def __init__(self, url: str) -> None:
        if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", url):
            raise UsageError(f"{url} is no address of an Alertmanager", suggestion="for example http://127.0.0.1:9093")
        self.url = url.rstrip("/")

    def firing(self) -> list[Row]:
        """Return the active alerts, silenced ones included, the oldest first."""
        found = self._call("GET", "alerts?active=true&silenced=true&inhibited=true")
        return sorted(found, key=lambda alert: (alert["startsAt"], alert["labels"]["alertname"]))

    def silences(self) -> list[Row]:
        """Return the silences that it still has, ended ones too."""
        return list(self._call("GET", "silences"))

    def silence(self, alertname: str, until_ns: int, now_ns: int, who: str, comment: str) -> str:
        """Silence an alert by its name; returns the silence's id."""
        matcher = {"name": "alertname", "value": alertname, "isRegex": False, "isEqual": True}
        made = self._call("POST", "silences", {"matchers": [matcher], "startsAt": utc_text(now_ns), "endsAt": utc_text(until_ns),
                                               "createdBy": who, "comment": comment})
        return str(made["silenceID"])

    def expire(self, silence_id: str) -> None:
        """End a silence now."""
        self._call("DELETE", f"silence/{silence_id}")

    def _call(self, method: str, path: str, body: Row | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 -- the scheme is checked above
            f"{self.url}/api/v2/{path}", method=method, data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json"})
        try:
            with _OPENER.open(request, timeout=TIMEOUT_S) as reply:
                content = reply.read(REPLY_BYTES_MAX)
            return json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            raise OperatorError(f"{self.url} refused {method} {path.partition('?')[0]}: {error.code} {error.reason}",
                                suggestion="is it an Alertmanager, and do you need a proxy or a password for it?") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = getattr(error, "reason", error)
            raise ConnectivityError(f"no Alertmanager answers at {self.url}: {why}",
                                suggestion="name yours with --alertmanager URL, or ALERTMANAGER_URL") from error


def list_alerts(args: argparse.Namespace) -> int:
    """Print what fires, DeadMan left out, or with `args.acks` the acknowledgements that are still kept; returns 0.

    Raises:
        ConnectivityError: no Alertmanager answers.
    """
    alertmanager = _named(args)
    if args.acks:
        return _print([_ack_row(silence) for silence in _acks(alertmanager.silences())],
                      ("alert", "by", "at", "until", "after_s", "in_time", "comment"), "nothing was acknowledged", args)
    by_id = {silence["id"]: silence for silence in alertmanager.silences()}
    rows = [_row(alert, by_id) for alert in alertmanager.firing() if alert["labels"]["alertname"] != ALWAYS_FIRES]
    return _print(rows, COLUMNS, "nothing fires", args)


def ack(args: argparse.Namespace) -> int:
    """Acknowledge an alert that fires, or with `args.undo` take that back; prints what is so now and returns 0.

    Raises:
        UsageError: it must always fire. OperatorError: it does not fire, or is refused.
    """
    alertmanager = _named(args)
    firing = [alert for alert in alertmanager.firing() if alert["labels"]["alertname"] == args.name]
    if args.undo:
        ended = [silence for silence in _acks(alertmanager.silences()) if _alert_of(silence) == args.name
                 and silence["status"]["state"] != "expired"]
        if not ended:
            raise OperatorError(f"{args.name} is not acknowledged", suggestion="see `cstd alerts --acks`")
        for silence in ended:
            alertmanager.expire(silence["id"])
        return _print([{"alert": args.name, "acknowledged": False}], ("alert", "acknowledged"), "", args)
    if args.name == ALWAYS_FIRES:
        raise UsageError(f"{ALWAYS_FIRES} must always fire: that it stops is the alarm")
    if not firing:
        names = sorted({alert["labels"]["alertname"] for alert in alertmanager.firing()} - {ALWAYS_FIRES})
        raise OperatorError(f"{args.name} does not fire", suggestion=f"what does: {', '.join(names) or 'nothing'}")
    now_ns = SystemClock().wall_ns()
    after_s = max(0, now_ns - min(utc_parse(_utc(alert["startsAt"])) for alert in firing)) // NS_PER_S
    until_ns = now_ns + args.for_s * NS_PER_S
    who = args.by or _user()
    said = f"acknowledged after {after_s} s" + (f": {args.comment}" if args.comment else "")
    alertmanager.silence(args.name, until_ns, now_ns, who, said)
    row = {"alert": args.name, "acknowledged": True, "by": who, "after_s": after_s, "in_time": after_s <= ACK_WITHIN_S,
           "until": utc_text(until_ns)}
    return _print([row], tuple(row), "", args)


def _named(args: argparse.Namespace) -> Alertmanager:
    return Alertmanager(args.alertmanager or os.environ.get("ALERTMANAGER_URL", "http://127.0.0.1:9093"))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return f"uid {os.getuid()}"


def _utc(text: str) -> str:
    """Return an RFC 3339 time of Alertmanager, which has it in UTC or with its own offset, as UTC text."""
    return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _acks(silences: Sequence[Row]) -> list[Row]:
    """Return the silences that are acknowledgements of ours, newest first."""
    ours = [silence for silence in silences if _TOLD.match(silence["comment"])]
    return sorted(ours, key=lambda silence: str(silence["startsAt"]), reverse=True)


def _alert_of(silence: Row) -> str:
    return next((str(matcher["value"]) for matcher in silence["matchers"] if matcher["name"] == "alertname"), "")


def _ack_row(silence: Row) -> Row:
    told = _TOLD.match(silence["comment"])
    after_s = int(told[1]) if told else 0
    return {"alert": _alert_of(silence), "by": silence["createdBy"], "at": _utc(silence["startsAt"]),
            "until": _utc(silence["endsAt"]), "after_s": after_s, "in_time": after_s <= ACK_WITHIN_S,
            "comment": silence["comment"].partition(": ")[2]}


def _row(alert: Row, silences: dict[str, Row]) -> Row:
    by = [silences[number] for number in alert["status"]["silencedBy"] if number in silences]
    return {"alert": alert["labels"]["alertname"], "severity": alert["labels"].get("severity", ""),
            "since": _utc(alert["startsAt"]), "acknowledged_by": by[0]["createdBy"] if by else None,
            "until": _utc(by[0]["endsAt"]) if by else None,
            "summary": alert["annotations"].get("summary", ""), "runbook": alert["annotations"].get("runbook", "")}


def _print(rows: list[Row], columns: Sequence[str], none: str, args: argparse.Namespace) -> int:
    if args.o == "json":
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
