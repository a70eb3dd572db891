"""The few calls of Alertmanager's API, version 2: what fires, which silences there are, a silence made or ended.

Used by `cstd alerts` and by the reader process. An acknowledgement is a silence of Alertmanager, by the operator's name.
"""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict, TypeVar

import msgspec

from cstd.clock import utc_text
from cstd.config.schema import ALERTMANAGER
from cstd.errors import ConnectivityError, OperatorError, UsageError

Row = dict[str, Any]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]  # one without an offset is no moment
Shape = TypeVar("Shape")
ALWAYS_FIRES = "DeadMan"
TIMEOUT_S = 5.0
REPLY_BYTES_MAX = 8 << 20
_TOLD = re.compile(r"acknowledged after (\d+) s\b")
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is in one's own network, mostly on this host


class Alert(TypedDict):
    """One alert that fires."""

    alert: str
    severity: str
    since: str
    acknowledged_by: str | None
    until: str | None  # when the acknowledgement ends
    summary: str
    runbook: str


class AlertStatus(msgspec.Struct, rename="camel"):
    """Which silences keep an alert from being told."""

    silenced_by: list[str]


class FiringAlert(msgspec.Struct, rename="camel"):
    """An alert as Alertmanager has it; any system's, so one may have no name."""

    starts_at: Instant
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
    starts_at: Instant
    ends_at: Instant
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
        if not re.fullmatch(ALERTMANAGER, url):
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
        except (ValueError, RecursionError) as error:  # no text, no JSON, or of another shape
            raise OperatorError(f"{self.url} does not answer {what} as an Alertmanager does: {error}",
                                suggestion="name yours with --alertmanager URL, or ALERTMANAGER_URL") from error


def told(firing: Sequence[FiringAlert], silences: Sequence[Silence]) -> list[Alert]:
    """Return what fires as people are told it, without the one that must always fire."""
    by_id = {silence.id: silence for silence in silences}
    return [_row(alert, by_id) for alert in firing if alert.name != ALWAYS_FIRES]


def utc(when: datetime) -> str:
    """Return a time of Alertmanager, which has it in UTC or with its own offset, as UTC text."""
    return f"{when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _row(alert: FiringAlert, silences: dict[str, Silence]) -> Alert:
    by = next((silences[number] for number in alert.status.silenced_by if number in silences), None)
    return {"alert": alert.name, "severity": alert.labels.get("severity", ""), "since": utc(alert.starts_at),
            "acknowledged_by": by.created_by if by else None, "until": utc(by.ends_at) if by else None,
            "summary": alert.annotations.get("summary", ""), "runbook": alert.annotations.get("runbook", "")}
