"""`cstd alerts` and `cstd alerts ack`: what fires, as Alertmanager has it, and who has it in hand since when.

An acknowledgement is a silence of Alertmanager, by the operator's name: of the daemons (`instance`) that the alert fires for, and
it tells nobody of those again until it ends. Its comment says how long the alert had fired when it was first acknowledged: that
time comes from what Alertmanager itself keeps.
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
from typing import Any, TypeVar

import msgspec

from cstd.clock import SystemClock, utc_parse, utc_text
from cstd.errors import EXIT_OK, ConnectivityError, OperatorError, UsageError
from cstd.ops.client import aligned
from cstd.units import NS_PER_S

Row = dict[str, Any]
Shape = TypeVar("Shape")
ALWAYS_FIRES = "DeadMan"
ACK_WITHIN_S = 900
TIMEOUT_S = 5.0
REPLY_BYTES_MAX = 8 << 20
_TOLD = re.compile(r"acknowledged after (\d+) s\b")
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is in one's own network, mostly on this host
COLUMNS = ("alert", "severity", "since", "acknowledged_by", "until", "summary")


class AlertStatus(msgspec.Struct, rename="camel"):
    """Which silences keep an alert from being told."""

    silenced_by: list[str]


class FiringAlert(msgspec.Struct, rename="camel"):
    """An alert as Alertmanager has it; any system's, so one may have no name."""

    starts_at: datetime
    labels: dict[str, str]
    annotations: dict[str, str]
    status: AlertStatus

    @property
    def name(self) -> str:
        """Return its name, "" where it has none."""
        return self.labels.get("alertname", "")


class SilenceStatus(msgspec.Struct):
    """Whether a silence is pending, active or expired."""

    state: str


class Matcher(msgspec.Struct, rename="camel"):
    """Which label a silence looks at, and what for."""

    name: str
    value: str
    is_regex: bool
    is_equal: bool = True


class Silence(msgspec.Struct, rename="camel"):
    """A silence as Alertmanager has it."""

    id: str
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    matchers: list[Matcher]
    status: SilenceStatus

    @property
    def after_s(self) -> int | None:
        """Return how long the alert had fired, None where it is no acknowledgement of ours."""
        told = _TOLD.match(self.comment)
        return int(told[1]) if told is not None else None

    @property
    def alert(self) -> str:
        """Return the name of the alert that is silenced."""
        return next((matcher.value for matcher in self.matchers if matcher.name == "alertname"), "")


class SilenceMade(msgspec.Struct):
    """The answer to a new silence."""

    silenceID: str  # noqa: N815 -- Alertmanager's name


class Alertmanager:
    """The few calls of Alertmanager's API, version 2.

    Raises ConnectivityError where none answers, OperatorError where something else does.
    """

    def __init__(self, url: str) -> None:
        if "@" in url:  # not repeated: it may have a password
            raise UsageError("an address of an Alertmanager has no user and no password", suggestion="name one without")
        if not re.fullmatch(r"https?://([\w.-]+|\[[0-9a-fA-F:.]+\])(:[^\s/?#]*)?(/[^\s?#]*)?", url):
            raise UsageError(f"{url} is no address of an Alertmanager", suggestion="for example http://127.0.0.1:9093")
        self.url = url.rstrip("/")

    def firing(self) -> list[FiringAlert]:
        """Return the active alerts, silenced ones included, the oldest first."""
        found = self._call("GET", "alerts?active=true&silenced=true&inhibited=true", list[FiringAlert])
        return sorted(found, key=lambda alert: (alert.starts_at, alert.name))

    def silences(self) -> list[Silence]:
        """Return the silences that it still has, ended ones too."""
        return self._call("GET", "silences", list[Silence])

    def silence(self, matchers: Sequence[Matcher], until_ns: int, now_ns: int, who: str, comment: str) -> str:
        """Silence what has such labels; returns the silence's id."""
        made = self._call("POST", "silences", SilenceMade, {
            "matchers": list(matchers), "startsAt": utc_text(now_ns), "endsAt": utc_text(until_ns), "createdBy": who,
            "comment": comment})
        return made.silenceID

    def expire(self, silence_id: str) -> None:
        """End a silence now."""
        self._call("DELETE", f"silence/{silence_id}", None)

    def _call(self, method: str, path: str, shape: type[Shape] | None, body: Row | None = None) -> Shape:
        request = urllib.request.Request(  # noqa: S310 -- the scheme is checked above
            f"{self.url}/api/v2/{path}", method=method, data=msgspec.json.encode(body) if body is not None else None,
            headers={"Content-Type": "application/json"})
        what = f"{method} {path.partition('?')[0]}"
        try:
            with _OPENER.open(request, timeout=TIMEOUT_S) as reply:
                content = reply.read(REPLY_BYTES_MAX + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise OperatorError(f"{self.url} refused {what}: {error.code} {error.reason}",
                                    suggestion="is it an Alertmanager that asks for no password?") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = getattr(error, "reason", error)
            raise ConnectivityError(f"no Alertmanager answers at {self.url}: {why}",
                                    suggestion="name yours with --alertmanager URL, or ALERTMANAGER_URL") from error
        return self._told(what, content, shape)

    def _told(self, what: str, content: bytes, shape: type[Shape] | None) -> Shape:
        """Return an answer in its shape: one of another shape is never taken for "nothing fires"."""
        if len(content) > REPLY_BYTES_MAX:
            raise OperatorError(f"{self.url} answers {what} with more than {REPLY_BYTES_MAX:,} bytes",
                                suggestion="look at it in the browser; it has more alerts or silences than can be read here")
        try:
            return msgspec.json.decode(content, type=shape) if shape is not None else None  # type: ignore[return-value]
        except msgspec.DecodeError as error:
            raise OperatorError(f"{self.url} does not answer {what} as an Alertmanager does: {error}",
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
    by_id = {silence.id: silence for silence in alertmanager.silences()}
    rows = [_row(alert, by_id) for alert in alertmanager.firing() if alert.name != ALWAYS_FIRES]
    return _print(rows, COLUMNS, "nothing fires", args)


def ack(args: argparse.Namespace) -> int:
    """Acknowledge an alert that fires, or with `args.undo` take that back; prints what is so now and returns 0.

    Raises:
        UsageError: it must always fire. OperatorError: it does not fire, or is refused.
    """
    alertmanager = _named(args)
    if args.undo:
        return _undo(alertmanager, args)
    if args.name == ALWAYS_FIRES:
        raise UsageError(f"{ALWAYS_FIRES} must always fire: that it stops is the alarm")
    all_firing = alertmanager.firing()
    firing = [alert for alert in all_firing if alert.name == args.name]
    if not firing:
        names = sorted({alert.name for alert in all_firing} - {ALWAYS_FIRES, ""})
        raise OperatorError(f"{args.name} does not fire", suggestion=f"what does: {', '.join(names) or 'nothing'}")
    now_ns = SystemClock().wall_ns()
    after_s = _first_after_s(firing, alertmanager.silences(), now_ns)
    until_ns = now_ns + args.for_s * NS_PER_S
    who = args.by or _user()
    said = f"acknowledged after {after_s} s" + (f": {args.comment}" if args.comment else "")
    alertmanager.silence(_matchers(args.name, firing), until_ns, now_ns, who, said)
    row = {"alert": args.name, "acknowledged": True, "by": who, "after_s": after_s, "in_time": after_s <= ACK_WITHIN_S,
           "until": utc_text(until_ns)}
    return _print([row], tuple(row), "", args)


def _undo(alertmanager: Alertmanager, args: argparse.Namespace) -> int:
    ended = [silence for silence in _acks(alertmanager.silences()) if silence.alert == args.name
             and silence.status.state != "expired"]
    if not ended:
        raise OperatorError(f"{args.name} is not acknowledged", suggestion="see `cstd alerts --acks`")
    for silence in ended:
        alertmanager.expire(silence.id)
    return _print([{"alert": args.name, "acknowledged": False}], ("alert", "acknowledged"), "", args)


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
        after_s.append(min(before, default=max(0, now_ns - utc_parse(_utc(alert.starts_at))) // NS_PER_S))
    return max(after_s)


def _named(args: argparse.Namespace) -> Alertmanager:
    return Alertmanager(args.alertmanager or os.environ.get("ALERTMANAGER_URL", "http://127.0.0.1:9093"))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return f"uid {os.getuid()}"


def _utc(when: datetime) -> str:
    """Return a time of Alertmanager, which has it in UTC or with its own offset, as UTC text."""
    return f"{when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _acks(silences: Sequence[Silence]) -> list[Silence]:
    """Return the silences that are acknowledgements of ours, newest first."""
    return sorted((silence for silence in silences if silence.after_s is not None),
                  key=lambda silence: silence.starts_at, reverse=True)


def _ack_row(silence: Silence) -> Row:
    after_s = silence.after_s or 0
    return {"alert": silence.alert, "by": silence.created_by, "at": _utc(silence.starts_at), "until": _utc(silence.ends_at),
            "after_s": after_s, "in_time": after_s <= ACK_WITHIN_S, "comment": silence.comment.partition(": ")[2]}


def _row(alert: FiringAlert, silences: dict[str, Silence]) -> Row:
    by = next((silences[number] for number in alert.status.silenced_by if number in silences), None)
    return {"alert": alert.name, "severity": alert.labels.get("severity", ""), "since": _utc(alert.starts_at),
            "acknowledged_by": by.created_by if by else None, "until": _utc(by.ends_at) if by else None,
            "summary": alert.annotations.get("summary", ""), "runbook": alert.annotations.get("runbook", "")}


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
