"""JSON logs: one object a line, UTC nanoseconds, four channels, secrets taken out and nothing else touched.

    {"time": "2026-08-02T10:00:00.123456789Z", "level": "warning", "channel": "application", "event": "book resync",
     "instrument": "BTC/USD", "cause": "checksum"}

Redaction works by *knowing* the secrets, not by guessing what looks like one: values that were registered are replaced
wherever they occur, also quoted for a URL, and values under a closed list of exact key names are replaced whole. A
pattern for "long and random" would eat transaction ids, hashes and digests, which are data.

The engine never logs. It keeps event dicts, and the daemon gives them to `Logs.drain` outside the hot path.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
import structlog

from cstd.clock import SystemClock, utc_text
from cstd.errors import OperatorError, UsageError

CHANNELS = ("application", "audit", "performance", "security")
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
REDACTED = "[redacted]"
SECRET_KEYS = frozenset({
    "api_key", "api_secret", "api-key", "api-sign", "apikey", "authorization", "cookie", "credential", "credentials",
    "kraken_api_key", "kraken_api_secret", "kraken_secret", "passphrase", "password", "private_key", "secret",
    "signature", "token",
})
SECRET_CHARS_MIN = 8  # a shorter "secret" would be found inside ordinary words and numbers
TEXT_CHARS_MAX = 8_192
DEPTH_MAX = 8

LogEvent = Mapping[str, object]


class Redactor:
    """Replaces known secrets in log values; never changes numbers, keys or any other text."""

    def __init__(self) -> None:
        self._secrets: list[str] = []

    def register(self, *secrets: str) -> None:
        """Remember secret values, with the forms they take inside a URL or form body.

        Raises:
            UsageError: one is shorter than SECRET_CHARS_MIN.
        """
        for secret in filter(None, secrets):
            if len(secret) < SECRET_CHARS_MIN:
                raise UsageError(f"a secret of {len(secret)} characters cannot be redacted without damage "
                                 f"to other text; the shortest is {SECRET_CHARS_MIN}")
            forms = {secret, quote(secret, safe=""), quote_plus(secret)}
            self._secrets = sorted({*self._secrets, *forms}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return the text with every registered secret replaced, longest first."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, REDACTED)
        return text if len(text) <= TEXT_CHARS_MAX else f"{text[:TEXT_CHARS_MAX]}…[+{len(text) - TEXT_CHARS_MAX}]"

    def value(self, value: object, depth: int = 0) -> object:
        """Return a value fit for JSON with secrets replaced; containers are copied, down to DEPTH_MAX."""
        if isinstance(value, bool | int | float) or value is None:
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            return self.text(bytes(value).decode("utf-8", "backslashreplace"))
        if depth < DEPTH_MAX and isinstance(value, Mapping):
            return {self.text(str(key)): self.pair(str(key), item, depth + 1) for key, item in value.items()}
        if depth < DEPTH_MAX and isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, depth + 1) for item in value]
        return self.text(str(value))

    def pair(self, key: str, value: object, depth: int = 0) -> object:
        """Return the value of a key: replaced whole when the key names a secret, an absent one left as it is."""
        if key.lower() in SECRET_KEYS and value not in (None, "", False):
            return REDACTED
        return self.value(value, depth)


class LineSink:
    """Writes whole lines to a descriptor and never waits for it: a line that cannot be taken now is counted as lost."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self.dropped = 0

    def write(self, line: bytes) -> None:
        """Write one line, newline included, or count it as dropped."""
        try:
            ready = self._poll.poll(0)
            if not ready or not ready[0][1] & select.POLLOUT or os.write(self._fd, line) != len(line):
                self.dropped += 1
        except OSError:
            # The reader of the pipe is gone, or the disk is full: trading goes on, the count shows it.
            self.dropped += 1

    # structlog calls the method named after the level; the rendered line is the only argument.
    debug = info = warning = error = critical = write


class Logs:
    """The daemon's log: structlog loggers over one line sink, one redactor, one clock."""

    def __init__(self, *, path: str | os.PathLike[str] | None = None, level: str = "info",
                 wall_ns: Callable[[], int] | None = None) -> None:
        """Log to `path` (appended, mode 0640) or to stderr; `wall_ns` gives the time of lines without their own.

        Raises:
            UsageError: unknown level.
            OperatorError: the file cannot be opened.
        """
        self.redactor = Redactor()
        self._wall_ns = wall_ns or SystemClock().wall_ns
        self.set_level(level)
        self.sink = LineSink(_open(path) if path is not None else sys.stderr.fileno())
        self._channels = {name: self._logger(name) for name in CHANNELS}

    def _logger(self, channel: str) -> Any:
        return structlog.wrap_logger(
            self.sink,
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS["debug"]),
            processors=[self._wanted, structlog.processors.add_log_level, structlog.processors.format_exc_info, self._render],
            cache_logger_on_first_use=True,
            channel=channel,
        )

    def set_level(self, level: str) -> None:
        """Log from this level on, in every channel; loggers that were handed out go by it too.

        Raises:
            UsageError: unknown level.
        """
        if level not in LEVELS:
            raise UsageError(f"unknown log level {level!r}; one of {', '.join(LEVELS)}")
        self._level = LEVELS[level]

    def _wanted(self, _logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if LEVELS.get(method, LEVELS["error"]) < self._level:
            raise structlog.DropEvent
        return event

    def channel(self, name: str = "application") -> Any:
        """Return the logger of a channel: `.info("event", instrument=..., cl_ord_id=...)` and the other levels."""
        return self._channels[name]

    def drain(self, events: list[dict[str, object]]) -> int:
        """Log and remove the engine's waiting events; return how many there were.

        An event has "event", and may have "level", "channel" and "wall_ns" (its own time, else now).
        """
        waiting = events[:]
        del events[: len(waiting)]
        for event in waiting:
            fields = dict(event)
            level = str(fields.pop("level", "info"))
            channel = str(fields.pop("channel", "application"))
            logger = self._channels.get(channel, self._channels["application"])
            logger.log(LEVELS.get(level, LEVELS["error"]), fields.pop("event", "unnamed"), **fields)
        return len(waiting)

    def _render(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> bytes:
        wall_ns = event.pop("wall_ns", None)
        row: dict[str, object] = {
            "time": utc_text(wall_ns if isinstance(wall_ns, int) else self._wall_ns()),
            "level": event.pop("level"),
            "channel": event.pop("channel"),
            "event": self.redactor.text(str(event.pop("event"))),
        }
        for key, value in event.items():
            row.setdefault(self.redactor.text(key), self.redactor.pair(key, value))
        return _to_line(row)


def _open(path: str | os.PathLike[str]) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise OperatorError(f"cannot open the log file {Path(path)}: {error.strerror}") from error


def _to_line(row: dict[str, object]) -> bytes:
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        # An integer beyond 64 bits, or a surrogate from a broken frame: shown as text, never lost.
        texts = {key: str(value).encode("utf-8", "backslashreplace").decode() for key, value in row.items()}
        return orjson.dumps(texts, option=orjson.OPT_APPEND_NEWLINE)


def lines(raw: bytes) -> Iterable[dict[str, object]]:
    """Yield the objects of log text, for tests and for reading a log back."""
    return (orjson.loads(line) for line in raw.splitlines() if line)
