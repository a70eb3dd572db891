"""What the page may ask for: an answer to an opening that waits, by an operator's token, handed on to the admin socket.

    POST /api/v1/approvals/41     Authorization: Bearer TOKEN     Origin: the page's own     {"answer": "approve"}

The reader process decides nothing and keeps no token. It takes a request of the page's own origin alone, and hands token and
answer on; the trading process knows whose the token is (page_tokens.py), journals the command as that operator's, and says
what came of it. A form or a script of another page can send neither the header nor the origin.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any, TypedDict

import msgspec
from aiohttp import web

from cstd.errors import OperatorError
from cstd.ops.admin import TokenBucket
from cstd.ops.client import AdminClient, DaemonError, NoDaemonError
from cstd.ops.page_tokens import TOKEN_CHARS_MAX

COMMANDS_PER_S, COMMAND_BURST = 2.0, 10.0
AT_ONCE_MAX = 4
ANSWER_WAIT_S = 12.0  # a little longer than the admin socket lets a command take
ID_DIGITS_MAX = 18
REASON_CHARS_MAX = 200
# Categories of an error, and the status that says so.
UNKNOWN = 504
LOOK = "look at `cstd approve --list` before you send it again"
STATUSES = {"token": 401, "access": 403, "usage": 400, "rate_limit": 429, "operator": 409}


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """What is sent: the answer, and a reason for the journal."""

    answer: str
    reason: str = ""


class Refused(TypedDict):
    """Why nothing was done; the form that `-o json` errors have."""

    error: str
    message: str
    retryable: bool
    suggestion: str


class CommandError(Exception):
    """Nothing was done, or, where it is not retryable with status 504, nobody knows; `status` is that of the answer."""

    def __init__(self, status: int, error: str, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body: Refused = {"error": error, "message": message, "retryable": status in (429, 503), "suggestion": suggestion}


class PageCommands:
    """Hands answers on to the admin socket of the daemon that this reader is of; used from one event loop."""

    def __init__(self, socket: Path | None) -> None:
        """Hand on to a socket, to nobody where there is none."""
        self._socket = socket
        self._bucket = TokenBucket(COMMANDS_PER_S, COMMAND_BURST, time.monotonic())
        self._under_way = 0

    async def take(self, request: web.Request) -> dict[str, Any]:
        """Return what the daemon said to the answer that a request brings.

        Raises:
            CommandError: nothing was done: no token, another origin, a malformed answer, or the daemon refused.
        """
        token = _token(request)
        _check_origin(request)
        id_, said = request.match_info["id"], await _said(request)
        if not (id_.isascii() and id_.isdecimal() and len(id_) <= ID_DIGITS_MAX):
            raise CommandError(404, "not_found", f"no opening {id_[:24]!r} waits for an operator")
        if self._socket is None:
            raise CommandError(503, "no_daemon", "this reader was started by itself and knows no daemon")
        if self._under_way >= AT_ONCE_MAX or not self._bucket.take(time.monotonic()):
            raise CommandError(429, "rate_limit", "too many answers at once", "wait a second")
        self._under_way += 1
        try:
            return await asyncio.to_thread(self._ask, said, id_, token)
        finally:
            self._under_way -= 1

    def _ask(self, said: Answer, id_: str, token: str) -> dict[str, Any]:
        assert self._socket is not None
        args = {"id": id_, **({"reason": said.reason} if said.reason else {})}
        try:
            with AdminClient(self._socket, ANSWER_WAIT_S) as client:
                answered: dict[str, Any] = client.request(said.answer, args, token=token)
                return answered
        except DaemonError as error:
            unknown = 503 if error.retryable else UNKNOWN  # it may have been taken: that is not refused
            raise CommandError(STATUSES.get(error.category, unknown), error.category, error.message, error.suggestion) from None
        except NoDaemonError as error:
            raise CommandError(503, "no_daemon", error.message, error.suggestion) from None
        except OperatorError as error:  # it broke off, or it did not answer in time: after the command was sent
            raise CommandError(UNKNOWN, "unknown", error.message, error.suggestion or LOOK) from None


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > TOKEN_CHARS_MAX or not token.isascii():
        raise CommandError(401, "token", "an operator's token is needed", "`cstd page token` gives one to who may operate")
    return token


def _check_origin(request: web.Request) -> None:
    """Take requests of the page itself alone: a browser says whose page it is that asks, and no script can say otherwise."""
    if request.headers.get("Origin") != f"http://{request.host}":
        raise CommandError(403, "forbidden", "only the page itself may ask for this",
                           "elsewhere use `cstd approve` and `cstd decline`")


async def _said(request: web.Request) -> Answer:
    if request.content_type != "application/json":
        raise CommandError(400, "usage", "the answer is JSON, and its Content-Type says so")
    if request.query:
        raise CommandError(400, "usage", "it takes no query parameter")
    try:
        said = msgspec.json.decode(await request.read(), type=Answer)
    except msgspec.DecodeError as error:
        raise CommandError(400, "usage", f"not an answer: {error}") from None
    except UnicodeDecodeError as error:
        raise CommandError(400, "usage", f"not an answer: {error.reason}") from None
    if said.answer not in ("approve", "decline"):
        raise CommandError(400, "usage", f"the answer is approve or decline, got {said.answer[:24]!r}")
    if len(said.reason) > REASON_CHARS_MAX:
        raise CommandError(400, "usage", f"a reason has at most {REASON_CHARS_MAX} characters")
    return said
