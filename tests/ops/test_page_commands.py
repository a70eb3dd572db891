"""An operator's answer over the status port: whose token it takes, from which page, and what the journal is told of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cstd.ops import page_tokens
from cstd.ops.access import Peer
from cstd.ops.admin import AdminServer
from cstd.ops.client import AdminClient, DaemonError
from cstd.ops.page_tokens import PageTokens
from tests.ops.fake_view import FakeView
from tests.ops.running import Answer, FakeDaemon, RunningReader, admin_socket, reader_of

Served = tuple[RunningReader, FakeDaemon, AdminServer]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where board and socket are."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def running(run_dir: Path) -> Iterator[Served]:
    """A reader and the admin socket that it hands answers on to."""
    view = FakeView()
    with (admin_socket(run_dir / "s", view) as (daemon, server),
          reader_of(run_dir, view, "--socket", str(run_dir / "s")) as reader):
        yield reader, daemon, server


@pytest.fixture
def served(running: Served) -> Iterator[Served]:
    """The same, with one opening that waits and nothing asked yet."""
    reader, daemon, server = running
    daemon.commands.clear()
    daemon.audits.clear()
    server.counts.update(dict.fromkeys(server.counts, 0))
    yield running
    reader.view.__dict__.pop("approvals", None)


def token_of(directory: Path) -> str:
    """A token of the user that runs this."""
    with AdminClient(directory / "s") as client:
        return str(client.request("page_token")["token"])


def answer(reader: RunningReader, token: str | None, *, id_: str = "41", body: Any = None, **headers: str) -> Answer:
    """What an answer is answered with; by the page's own origin and with a token unless told otherwise."""
    sent = {"Origin": reader.url, "Content-Type": "application/json", **headers}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    text = body if isinstance(body, bytes) else json.dumps(body or {"answer": "approve"}).encode()
    return reader.post(f"/api/v1/approvals/{id_}", text, sent)


def test_an_answer_is_a_command_of_whose_the_token_is(served: Served, run_dir: Path) -> None:
    """The daemon gets verb, id and reason with uid and gid of who asked for the token, and that it came by the page."""
    reader, daemon, server = served
    told = answer(reader, token_of(run_dir), body={"answer": "approve", "reason": "as agreed"})
    assert (told.status, told.json()) == (200, {"id": 41, "answer": "approved", "instrument": "BTC/USD"})
    (command,) = daemon.commands
    assert command == {"verb": "approve", "args": {"id": "41", "reason": "as agreed"}, "uid": os.getuid(), "gid": os.getgid(),
                       "pid": reader.process.pid, "via": "page"}
    assert server.counts["admin_page_commands"] == 1


def test_what_ended_meanwhile_is_told(served: Served, run_dir: Path) -> None:
    """409 with the daemon's own words."""
    reader, daemon, _ = served
    daemon.view.approvals = list  # type: ignore[method-assign]
    told = answer(reader, token_of(run_dir), body={"answer": "decline"})
    assert (told.status, told.json()["message"]) == (409, "opening 41 waits no more: expired")


def test_without_a_good_token_nothing_is_asked_of_the_daemon(served: Served, run_dir: Path) -> None:
    """None, a wrong one, one that its owner has ended: 401, and no command. A wrong one is logged and counted."""
    reader, daemon, server = served
    token = token_of(run_dir)
    with AdminClient(run_dir / "s") as client:
        assert client.request("page_token", {"end": True})["ended"] >= 1
    for offered in (None, "x" * 43, token):
        told = answer(reader, offered)
        assert (told.status, told.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert daemon.commands == [] and server.counts["admin_denied"] == 2
    assert token not in json.dumps(daemon.audits)
    assert answer(reader, None, Authorization=f"Basic {token}").status == 401


def test_another_origin_gets_nothing(served: Served, run_dir: Path) -> None:
    """Also with a good token: a page elsewhere, another port of this host, and who does not say."""
    reader, daemon, _ = served
    token = token_of(run_dir)
    for origin in ("http://example.com", "http://127.0.0.1:1", "null", f"https://{reader.url.removeprefix('http://')}", ""):
        assert answer(reader, token, Origin=origin).status == 403, origin
    assert answer(reader, token, Host="example.com").status == 421
    assert daemon.commands == []


@pytest.mark.parametrize(("body", "status"), [
    (b"", 400), (b"{}", 400), (b"[]", 400), (b"\xff", 400), (b'{"answer": "kill"}', 400), (b'{"answer": 1}', 400),
    (b'{"answer": "approve", "id": "7"}', 400), (b'{"answer": "approve", "reason": "' + b"r" * 201 + b'"}', 400),
    (b'{"answer": "approve", "reason": "' + b"r" * 2_000 + b'"}', 413)])
def test_a_malformed_answer_is_none(served: Served, run_dir: Path, body: bytes, status: int) -> None:
    """Answers are two words with a short reason; nothing else reaches the daemon."""
    reader, daemon, _ = served
    token = token_of(run_dir)
    told = answer(reader, token, body=body)
    assert (told.status, daemon.commands) == (status, [])


def test_what_is_no_answer_to_an_opening_is_none(served: Served, run_dir: Path) -> None:
    """A query, a form, and what is no number of an intent."""
    reader, daemon, _ = served
    token = token_of(run_dir)
    assert answer(reader, token, id_="x1").status == 404
    assert answer(reader, token, id_="41?answer=approve").status == 400
    assert answer(reader, token, **{"Content-Type": "application/x-www-form-urlencoded"}).status == 400
    assert daemon.commands == []


def test_a_daemon_that_is_gone_is_told(tmp_path: Path, view: FakeView) -> None:
    """503 with what to do, and the reader goes on."""
    with reader_of(tmp_path, view, "--socket", str(tmp_path / "s")) as reader:
        told = answer(reader, "t" * 43)
        assert (told.status, told.json()["error"], told.json()["retryable"]) == (503, "no_daemon", True)
        assert reader.get("/health").status in (200, 503)


def test_a_token_gives_answers_and_nothing_else(served: Served, run_dir: Path) -> None:
    """Handed on with any other verb it is refused; so is a try to get a token by a token."""
    _, daemon, _ = served
    token = token_of(run_dir)
    with AdminClient(run_dir / "s") as client:
        for verb in ("kill", "resume", "page_token", "status"):
            with pytest.raises(DaemonError, match="gives approve and decline"):
                client.request(verb, token=token)
    assert daemon.commands == []


def test_a_token_ends_and_only_the_newest_are_known() -> None:
    """After eight hours, when its owner says so, and when sixteen newer ones were given."""
    tokens, peer, other = PageTokens(), Peer(1, 1000, 1000, frozenset()), Peer(2, 1001, 1001, frozenset())
    first = tokens.issue(peer, 0.0)
    assert tokens.owner(first, page_tokens.LASTS_S - 1) is peer
    assert tokens.owner(first, page_tokens.LASTS_S) is None
    its = tokens.issue(other, 0.0)
    assert (tokens.end(peer.uid, 1.0), tokens.owner(first, 1.0), tokens.owner(its, 1.0)) == (1, None, other)
    newer = [tokens.issue(peer, 0.0) for _ in range(page_tokens.TOKENS_MAX)]
    assert tokens.owner(its, 1.0) is None and all(tokens.owner(token, 1.0) is peer for token in newer)
    assert [tokens.owner(what, 1.0) for what in (None, "", 7, "x" * 129, "\ud800")] == [None] * 5
