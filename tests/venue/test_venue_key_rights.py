"""What a key may do, judged; and the check that asks the venue for it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from cstd.daemon import key_check
from cstd.errors import ConfigError
from cstd.venue.http import HttpReply
from cstd.venue.key_rights import NEEDED, key_problems
from cstd.venue.rest.models import KeyInfo
from cstd.venue.rest.request import RestRequest

FITTING = ("query-funds", "query-open-trades", "query-closed-trades", "modify-trades", "close-trades", "access-websockets")


def reasons(*rights: str) -> list[str]:
    """What is wrong with a key of these rights."""
    return [f"{problem.value} {problem.reason}".strip() for problem in key_problems(KeyInfo("", rights, None))]


def test_a_key_that_fits() -> None:
    """The rights that are needed, in the venue's words or as its settings call them, and more that do no harm."""
    assert reasons(*FITTING) == []
    assert reasons(*NEEDED) == []
    assert reasons(*(right.replace("-", "_").upper() for right in FITTING), "query-ledger", "export-data") == []


@pytest.mark.parametrize("right", ["withdraw-funds", "Withdraw Funds", "WITHDRAW", "funds:withdrawal"])
def test_a_key_that_may_withdraw(right: str) -> None:
    """In whatever spelling it is told, the right is named."""
    (reason,) = reasons(*FITTING, right)
    assert reason.startswith(f"{right} the key may withdraw")


@pytest.mark.parametrize("missing", FITTING)
def test_a_key_that_lacks_a_right(missing: str) -> None:
    """Each needed right is missed, by its name in the venue's settings; a spelling that only looks like it is none."""
    (reason,) = reasons(*(right for right in FITTING if right != missing), f"{missing}-not")
    assert reason == f"the key lacks the right {next(name for name, words in NEEDED.items() if missing in words)!r}"


class Http:
    """Answers GetApiKeyInfo with what the test has, in order."""

    def __init__(self, *replies: HttpReply) -> None:
        self.replies = list(replies)
        self.asked: list[str] = []
        self.errors: Counter[str] = Counter()

    async def call(self, request: RestRequest, _timeout_ns: int) -> HttpReply:
        """One call."""
        self.asked.append(request.method)
        return self.replies.pop(0)


class Log:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def warning(self, event: str, **fields: Any) -> None:
        """One line."""
        self.lines.append((event, fields))

    info = warning


def answer(result: Any, *errors: str) -> HttpReply:
    """A reply of the venue."""
    return HttpReply(200, json.dumps({"error": list(errors), **({} if errors else {"result": result})}).encode())


def check(http: Http, monkeypatch: pytest.MonkeyPatch) -> tuple[KeyInfo, list[float], Log]:
    """Run the check on a clock that does not wait; returns the key, the waits and the log."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(key_check.asyncio, "sleep", sleep)
    log = Log()
    return asyncio.run(key_check.checked_key(http, log)), waits, log  # type: ignore[arg-type]


def test_the_check_waits_for_a_venue_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection, a page of a CDN, an overload, a lost nonce: asked again, later each time."""
    http = Http(HttpReply(0, b"", "refused"), HttpReply(502, b"<html>"), HttpReply(200, b"<html>"),
                answer(None, "EService:Busy"), answer(None, "EAPI:Invalid nonce"), answer(None, "EGeneral:Temporary lockout"),
                answer({"permissions": list(FITTING), "valid_until": "0"}))
    info, waits, log = check(http, monkeypatch)
    assert info.permissions == FITTING
    assert waits == [0.5, 1.0, 2.0, 5.0, 10.0, 15 * 60.0]
    assert set(http.asked) == {"GetApiKeyInfo"}
    assert http.errors == {"no answer": 3, "EService:Busy": 1, "EAPI:Invalid nonce": 1, "EGeneral:Temporary lockout": 1}
    assert log.lines[-1][1]["rights"] == sorted(FITTING)


def test_the_check_stays_away_from_an_edge_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP 429 and 403: twice as long each time, up to ten minutes, or as long as it is told."""
    refusals = [HttpReply(429, b""), HttpReply(403, b""), HttpReply(429, b"", retry_after_ns=90 * 10**9),
                *[HttpReply(429, b"")] * 6]
    http = Http(*refusals, answer({"permissions": list(FITTING), "valid_until": "0"}))
    _, waits, _ = check(http, monkeypatch)
    assert waits == [5, 10, 90, 40, 80, 160, 320, 600, 600]
    assert http.errors == {"no answer": 9}


@pytest.mark.parametrize(("reply", "text"), [
    (answer({"permissions": [*FITTING, "withdraw-funds"]}), "may withdraw"),
    (answer({"permissions": {**dict.fromkeys(FITTING, True), "withdraw-funds": True}}), "may withdraw"),
    (answer({"permissions": list(FITTING[1:])}), "Query Funds"),
    (answer({"permissions": []}), "Query Funds"), (answer({"name": "x"}), "permissions is missing"),
    (answer(None), "cannot be read"),
    (answer(None, "EAPI:Invalid key"), "EAPI:Invalid key"), (answer(None, "EGeneral:Permission denied"), "Permission denied"),
    (answer(None, "EGeneral:Unknown method"), "Unknown method"),
])
def test_the_check_refuses(reply: HttpReply, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that does not fit, or of which the venue says nothing that can be read, is a configuration error: exit 78."""
    with pytest.raises(ConfigError, match=text) as caught:
        check(Http(reply), monkeypatch)
    assert caught.value.exit_code == 78


def test_rights_told_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each right with yes or no is read as the list of those it has."""
    told = {**dict.fromkeys(FITTING, True), "withdraw-funds": False}
    assert set(check(Http(answer({"permissions": told})), monkeypatch)[0].permissions) == set(FITTING)
