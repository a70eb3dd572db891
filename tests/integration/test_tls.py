"""TLS between daemon and exchange: trusted by the normal trust store, and everything that must not be trusted refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from cstd._fast.sink import RecordingSink
from cstd.clock import SystemClock
from cstd.practice.tls import HOST_NAME, KEY_FILE, TlsFiles, make_authority
from cstd.venue.backoff import AttemptLimiter, ReconnectPolicy
from cstd.venue.connector import Connector
from cstd.venue.http import HttpClient, HttpReply
from cstd.venue.link import PublicLink
from cstd.venue.rest.request import server_time
from cstd.venue.trust import tls_context
from tests.integration.session import REPOSITORY, Session

NOW = dt.datetime.now(dt.UTC)
NO_CONNECTION = "no connection"


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A run directory; exchange and daemon are the test's to start."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    running = Session(run_dir)
    try:
        yield running
    finally:
        running.close()


def authority(directory: Path, now: dt.datetime = NOW, name: str = HOST_NAME) -> TlsFiles:
    """An authority with a certificate in a folder of its own."""
    directory.mkdir()
    return make_authority(directory, now, name)


def refusals(session: Session, link: str) -> list[dict[str, object]]:
    """What the daemon logged about attempts of a link that brought no connection."""
    lines = (session.run_dir / "daemon.log").read_text().splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    return [row for row in rows if row["event"] == NO_CONNECTION and row["link"] == link]


def test_everything_runs_over_tls(session: Session) -> None:
    """With its authority in SSL_CERT_FILE the daemon connects by wss and https, is ready, trades, and stops well."""
    session.start_exchange(1, "--tls")
    told = json.loads((session.run_dir / "practice.json").read_bytes())
    assert told["rest"].startswith("https://localhost:")
    assert all(told[name].startswith("wss://localhost:") for name in ("ws_public", "ws_private", "ws_futures"))
    assert (session.run_dir / KEY_FILE).stat().st_mode & 0o777 == 0o600
    session.env["SSL_CERT_FILE"] = told["ca"]
    session.start_ready()
    session.wait(lambda: session.request("orders", {"all": True}), 20, "no order")
    assert refusals(session, "public") == refusals(session, "private") == []
    assert session.terminate() == 0
    session.assert_journal_is_true()


@pytest.mark.parametrize(("case", "reason"), [
    ("wrong authority", "unable to get local issuer certificate|self-signed certificate|certificate signature failure"),
    ("no authority", "unable to get local issuer certificate|self-signed certificate"),
    ("wrong name", "Hostname mismatch"),
    ("expired", "certificate has expired"),
])
def test_the_daemon_refuses(case: str, reason: str, session: Session, tmp_path: Path) -> None:
    """It says why, tries again and again, takes not one frame, and still stops when told to."""
    long_ago = NOW - dt.timedelta(days=30)
    files = {"wrong name": lambda: authority(tmp_path / "served", name="elsewhere.test"),
             "expired": lambda: authority(tmp_path / "served", long_ago)}.get(case, lambda: authority(tmp_path / "served"))()
    session.start_exchange(1, "--tls-cert", str(files.cert), "--tls-key", str(files.key))
    trusted = {"wrong authority": lambda: authority(tmp_path / "other").ca, "no authority": lambda: None}.get(
        case, lambda: files.ca)()
    session.env.pop("SSL_CERT_FILE", None)
    if trusted is not None:
        session.env["SSL_CERT_FILE"] = str(trusted)
    session.start()
    log = session.run_dir / "daemon.log"
    session.wait(lambda: log.exists() and all(len(refusals(session, link)) >= 3 for link in ("public", "private")), 90,
                 "fewer than three attempts")
    for link in ("public", "private"):
        rows = refusals(session, link)
        assert [row["failures"] for row in rows] == list(range(1, len(rows) + 1))
        assert all(_matches(reason, str(row["error"])) for row in rows), rows[0]
    status = session.request("status")
    assert (status["ready"], [status["links"][name]["up"] for name in ("public", "private")]) == (False, [False, False])
    assert session.terminate() == 0
    assert session.journal_engine().core.counter_values()["frames"] == 0


def _matches(alternatives: str, text: str) -> bool:
    return any(part in text for part in alternatives.split("|"))


def handshake(port: int, context: ssl.SSLContext, name: str | None) -> str:
    """The protocol that a client with this context agrees on with the exchange."""
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain, server_hostname=name) as wrapped:
        wrapped.do_handshake()
        return str(wrapped.version())


def test_the_exchange_wants_its_name_and_a_protocol_of_today(session: Session) -> None:
    """A client is served by the name localhost and TLS 1.2 or 1.3 alone: another name, no name and TLS 1.1 are refused."""
    session.start_exchange(1, "--tls")
    told = json.loads((session.run_dir / "practice.json").read_bytes())
    port = int(told["rest"].rpartition(":")[2])
    trusting = ssl.create_default_context(cafile=told["ca"])
    assert handshake(port, trusting, HOST_NAME) == "TLSv1.3"
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(port, trusting, HOST_NAME) == "TLSv1.2"
    careless = ssl.create_default_context(cafile=told["ca"])
    careless.check_hostname = False  # so that it is the server that refuses
    assert handshake(port, careless, HOST_NAME) == "TLSv1.3"
    for name in ("elsewhere.test", None):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            handshake(port, careless, name)
    old = _speaks_old(ssl.create_default_context(cafile=told["ca"]))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(port, old, HOST_NAME)


def _speaks_old(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context made to speak TLS 1.1 and nothing else; OpenSSL 3 needs its security level lowered for that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def test_an_old_server_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue that speaks TLS 1.1 alone gets no websocket and no REST call, though its certificate is good; the server
    itself works: a client that allows the old protocol connects."""
    files = authority(tmp_path / "served")
    monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
    tls_context.cache_clear()  # what this process trusts was read before
    server_side = _speaks_old(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    server_side.load_cert_chain(files.cert, files.key)

    async def attempt() -> tuple[str, HttpReply, str, int]:
        server = await asyncio.start_server(lambda _r, writer: writer.close(), "127.0.0.1", 0, ssl=server_side)
        port = server.sockets[0].getsockname()[1]
        spoken = await asyncio.to_thread(handshake, port, _speaks_old(ssl.create_default_context()), HOST_NAME)
        client = HttpClient(f"https://localhost:{port}", clock=SystemClock())
        reply = await client.call(server_time(), 5_000_000_000)
        await client.close()
        connector = Connector(PublicLink(RecordingSink()), f"wss://localhost:{port}/v2", clock=SystemClock(),
                              policy=ReconnectPolicy(1, AttemptLimiter()), on_up=lambda _link: None,
                              on_down=lambda _link, _reason: None)
        connector.start()
        for _ in range(1_500):
            if connector.last_error:
                break
            await asyncio.sleep(0.02)
        await connector.stop()
        server.close()
        return spoken, reply, connector.last_error, connector.link.status()["connects"]

    try:
        spoken, reply, error, connects = asyncio.run(attempt())
    finally:
        tls_context.cache_clear()
    assert spoken == "TLSv1.1"
    assert (reply.status, connects) == (0, 0)
    assert reply.transport_error
    assert error


def test_a_session_over_tls(tmp_path: Path) -> None:
    """`cstd session --tls` runs and prints its summary: the authority is made and trusted without being told."""
    done = subprocess.run([".venv/bin/cstd", "session", "--tls", "--for", "3", "--root", str(tmp_path / ".run")],
                          cwd=REPOSITORY, env={**Session(tmp_path).env}, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checksums_ok"] > 0
    told = json.loads((tmp_path / ".run/current/practice.json").read_bytes())
    assert told["ws_private"].startswith("wss://")
