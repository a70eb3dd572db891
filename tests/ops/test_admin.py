"""The admin socket: who may speak, what is answered, what is handed to the daemon, and what it survives."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cstd.errors import OperatorError
from cstd.ops import admin
from cstd.ops.admin import AdminServer, TokenBucket
from cstd.ops.client import AdminClient, DaemonError
from tests import needs
from tests.ops.fake_view import FakeView
from tests.ops.running import FakeDaemon, admin_socket


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def served(request: pytest.FixtureRequest, tmp_path: Path,
           view: FakeView) -> Iterator[tuple[Path, FakeDaemon, AdminServer]]:
    """A served socket, on both loops."""
    path = tmp_path / "cstd.sock"
    with admin_socket(path, view, on_uvloop=request.param) as (daemon, server):
        yield path, daemon, server


def raw_socket(path: Path) -> socket.socket:
    """Connect without the client's manners."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(str(path))
    return connection


def ask_raw(connection: socket.socket, line: bytes) -> dict[str, Any]:
    """Send bytes as they are and read one line."""
    connection.sendall(line)
    return json.loads(connection.makefile("rb").readline())


def test_read_verbs_answer_from_the_view(served: tuple[Path, FakeDaemon, AdminServer], view: FakeView) -> None:
    """Every read verb gives what the view gives, without a command to the daemon."""
    path, daemon, _ = served
    with AdminClient(path) as client:
        assert client.request("status") == view.status()
        assert client.request("gates") == view.gates()
        assert client.request("positions") == view.positions()
        assert client.request("equity") == view.equity()
        assert client.request("counters") == view.counters()
        assert client.request("limits") == view.limits()
        assert client.request("limits", {"instrument": "eth/usd"}) == view.limits("ETH/USD") != view.limits()
        assert client.request("clusters", {"instrument": "eth/usd"}) == view.clusters("ETH/USD")
        assert client.request("instruments") == view.instruments()
        assert client.request("opportunities", {"limit": 3, "offset": 1}) == view.opportunities()[1:4]
        assert len(client.request("books", {"depth": 3})[0]["bids"]) == 3
    assert daemon.commands == []


def test_why_finds_decisions(served: tuple[Path, FakeDaemon, AdminServer], view: FakeView) -> None:
    """A decision is found by intent, by client order id, as the last, by instrument and by the gate that refused it."""
    path, _, _ = served
    newest = view.decision_rows[0]
    with AdminClient(path) as client:
        assert client.request("why", {"last": True}) == newest
        assert client.request("why", {"id": str(newest["intent_seq"])}) == newest
        assert client.request("why", {"id": newest["cl_ord_id"]}) == newest
        by_instrument = client.request("why", {"instrument": "btc/usd"})
        assert {row["instrument"] for row in by_instrument} == {"BTC/USD"}
        for wanted in ("spread", "Spread", "2"):
            refused = client.request("why", {"refused_by": wanted})
            assert [row["first_failing"] for row in refused] == ["spread"] * len(refused)
            assert refused
        with pytest.raises(DaemonError, match="no decision '99999'"):
            client.request("why", {"id": "99999"})


@pytest.mark.parametrize(("line", "message"), [
    (b"no json\n", "not JSON"),
    (b"[1]\n", "not an object"),
    (b'{"verb": "sell_everything"}\n', "unknown verb 'sell_everything'"),
    (b'{"verb": ["status"]}\n', "unknown verb"),
    (b'{"verb": "status", "args": [1]}\n', "args is not an object"),
    (b'{"verb": "status", "args": {"all": true}}\n', "unknown argument 'all'"),
    (b'{"verb": "orders", "args": {"limit": true}}\n', "limit must be int"),
    (b'{"verb": "kill", "args": {"hold": 1}}\n', "hold must be bool"),
    (b'{"verb": "refusals"}\n', "since_wall_ns is needed"),
    (b'{"verb": "refusals", "args": {"since_wall_ns": "10m"}}\n', "since_wall_ns must be int"),
    (b"\xff\xfe\n", "not JSON"),
    (b"\n", "not JSON"),
])
def test_a_bad_request_is_answered_and_the_connection_lives(
        tmp_path: Path, view: FakeView, line: bytes, message: str) -> None:
    """A bad request gets a usage error, the next good one is served, and nothing reached the daemon."""
    with admin_socket(tmp_path / "s", view) as (daemon, _), raw_socket(tmp_path / "s") as connection:
        answer = ask_raw(connection, line)
        assert not answer["ok"]
        assert answer["error"]["error"] == "usage"
        assert message in answer["error"]["message"]
        assert ask_raw(connection, b'{"verb": "status", "id": "x"}\n')["id"] == "x"
        assert daemon.commands == []


def test_commands_carry_who_sent_them(served: tuple[Path, FakeDaemon, AdminServer]) -> None:
    """A mutating verb reaches the daemon once, with uid, gid and pid from the kernel, and is audited."""
    path, daemon, _ = served
    with AdminClient(path) as client:
        assert client.request("pause", {"reason": "lunch"}) == {"state": "paused", "seq": 1}
    expected = {"verb": "pause", "args": {"reason": "lunch"}, "uid": os.getuid(), "gid": os.getgid(),
                "pid": os.getpid()}
    assert daemon.commands == [expected]
    assert daemon.audits == [{"what": "command", **expected}]


def test_a_refusal_of_the_daemon_reaches_the_sender(served: tuple[Path, FakeDaemon, AdminServer]) -> None:
    """The daemon's own error comes back with its message and suggestion."""
    path, _, _ = served
    with AdminClient(path) as client:
        client.request("kill", {"hold": True})
        with pytest.raises(DaemonError, match="latched") as refused:
            client.request("resume")
    assert refused.value.suggestion == "cstd kill --clear"


def test_a_fault_of_the_view_ends_one_answer_alone(served: tuple[Path, FakeDaemon, AdminServer]) -> None:
    """A view that fails is reported as ours, counted and audited; the connection and other verbs go on."""
    path, daemon, server = served
    daemon.view.failing = {"instruments"}
    with AdminClient(path) as client:
        with pytest.raises(DaemonError, match="instruments is told to fail") as fault:
            client.request("instruments")
        assert fault.value.category == "internal"
        assert client.request("status")["ready"]
    assert server.counts["admin_faults"] == 1
    assert daemon.audits == [{"what": "fault", "message": "RuntimeError: instruments is told to fail"}]


def test_a_limit_is_changed_by_a_command_with_who_sent_it(served: tuple[Path, FakeDaemon, AdminServer]) -> None:
    """Set and reset reach the daemon with uid, gid and pid; reading and a wrong type send no command."""
    path, daemon, _ = served
    with AdminClient(path) as client:
        row = client.request("limits_set", {"key": "policy.spread_bps_max", "value": "20", "reason": "thin"})
        assert (row["value"], row["before"], row["set_by_uid"], row["set_by_pid"]) == ("20", "45", os.getuid(), os.getpid())
        (listed,) = [found for found in client.request("limits") if found["source"] == "operator"]
        assert row.pop("before") == "45" and row == listed
        with pytest.raises(DaemonError, match="looser than the configuration") as refused:
            client.request("limits_set", {"key": "policy.spread_bps_max", "value": "46"})
        assert "at most 45" in refused.value.suggestion
        with pytest.raises(DaemonError, match="value must be str"):
            client.request("limits_set", {"key": "policy.spread_bps_max", "value": 20})
        assert client.request("limits_reset", {"key": "policy.spread_bps_max"})["value"] == "45"
        with pytest.raises(DaemonError, match="XX/YY is no instrument"):
            client.request("limits", {"instrument": "XX/YY"})
    assert [(command["verb"], command["uid"]) for command in daemon.commands] == [
        ("limits_set", os.getuid()), ("limits_set", os.getuid()), ("limits_reset", os.getuid())]
    assert [audit["verb"] for audit in daemon.audits] == ["limits_set", "limits_set", "limits_reset"]


@pytest.mark.parametrize(("args", "told"), [
    ({"refused_by": "foo"}, "foo is no gate"), ({"refused_by": "99"}, "99 is no gate"),
    ({"instrument": "XX/YY"}, "XX/YY is no instrument of this session")])
def test_why_names_what_cannot_be(served: tuple[Path, FakeDaemon, AdminServer], args: dict[str, str], told: str) -> None:
    """A gate or an instrument that is none is an error that lists those there are, not an empty answer."""
    with AdminClient(served[0], timeout_s=5) as client, pytest.raises(DaemonError, match=told) as caught:
        client.request("why", {"last": True, **args})
    assert ("2 spread" if "refused_by" in args else "BTC/USD") in caught.value.suggestion
    assert caught.value.exit_code == (2 if "refused_by" in args else 1)


def test_names_are_looked_up_without_making_answers(tmp_path: Path, view: FakeView) -> None:
    """A look-up by name costs the loop no status and no gates."""
    view.failing = {"status", "gates"}
    with admin_socket(tmp_path / "s", view), AdminClient(tmp_path / "s") as client:
        assert client.request("why", {"last": True, "instrument": "eth/usd", "refused_by": "2"})["first_failing"] == "spread"
        assert client.request("limits", {"instrument": "eth/usd"}) == view.limits("ETH/USD")


def test_an_awaitable_answer_is_awaited_and_bounded(tmp_path: Path, view: FakeView,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon may answer later; one that never does is reported as a timeout."""
    monkeypatch.setattr(admin, "SUBMIT_TIMEOUT_S", 0.2)

    async def submit(command: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0.01 if command["verb"] == "pause" else 60)
        return {"done": command["verb"]}

    with admin_socket(tmp_path / "s", view, submit=submit), AdminClient(tmp_path / "s") as client:
        assert client.request("pause") == {"done": "pause"}
        with pytest.raises(DaemonError) as late:
            client.request("flatten")
    assert late.value.category == "timeout"


def test_the_socket_file_is_for_user_and_group_only(served: tuple[Path, FakeDaemon, AdminServer]) -> None:
    """The mode is 0660, and the file goes when the server is closed."""
    path, _, _ = served
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_the_socket_file_goes_with_the_server(tmp_path: Path, view: FakeView) -> None:
    """A stopped daemon leaves no socket behind, nor a temporary one."""
    with admin_socket(tmp_path / "s", view):
        assert (tmp_path / "s").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_dead_daemons_socket_is_replaced_a_live_ones_is_not(tmp_path: Path, view: FakeView) -> None:
    """Starting over a leftover file works; over a served one it is refused by name, over a plain file too."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with admin_socket(path, view):
        with AdminClient(path) as client:
            assert client.request("status")["ready"]
        with pytest.raises(OperatorError, match="another daemon already serves"):
            admin.bind_admin_socket(path)
        with AdminClient(path) as client:
            assert client.request("status")["ready"]
    (tmp_path / "file").write_text("data")
    with pytest.raises(OperatorError, match="is not a socket"):
        admin.bind_admin_socket(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "data"


def test_a_path_longer_than_the_kernel_takes_works(tmp_path: Path, view: FakeView) -> None:
    """A socket 200 bytes deep is served and reached without a change of directory."""
    directory = tmp_path / ("d" * 90) / ("e" * 90)
    directory.mkdir(parents=True)
    where = Path.cwd()
    with admin_socket(directory / "cstd.sock", view), AdminClient(directory / "cstd.sock") as client:
        assert client.request("status")["mode"] == "practice"
    assert Path.cwd() == where
    with pytest.raises(OperatorError, match="the limit is 107 bytes"):
        admin.bind_admin_socket(tmp_path / ("s" * 120))


def test_another_user_is_refused_by_the_server_too(tmp_path: Path, view: FakeView) -> None:
    """With the file mode opened wide by mistake, the kernel's word about the peer still keeps a stranger out."""
    path = tmp_path / "s"
    script = ("import os,socket,sys; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
              "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(5);"
              "print(s.makefile().readline())")
    with admin_socket(path, view) as (daemon, server):
        tmp_path.chmod(0o755)
        for parent in path.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o055)
        path.chmod(0o666)
        command = [*needs.root(), sys.executable, "-c", script, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "uid 65534 may not use the admin socket" in done.stdout
        assert server.counts["admin_denied"] == 1
        assert daemon.audits[0]["what"] == "connection refused"


def test_a_line_that_is_too_long_ends_the_connection(served: tuple[Path, FakeDaemon, AdminServer]) -> None:
    """More than 64 KiB without a newline is refused and closed, and the next connection is served."""
    path, _, _ = served
    with raw_socket(path) as connection:
        answer = ask_raw(connection, b'{"verb": "' + b"x" * (admin.LINE_BYTES_MAX + 10) + b'"}\n')
        assert "at most 65536 bytes" in answer["error"]["message"]
        assert connection.recv(10) == b""
    with AdminClient(path) as client:
        assert client.request("status")["ready"]


def test_requests_are_rate_limited_but_kill_is_not(tmp_path: Path, view: FakeView,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the burst a request is refused as retryable; kill and pause are served all the same."""
    monkeypatch.setattr(admin, "REQUEST_BURST", 5.0)
    monkeypatch.setattr(admin, "REQUESTS_PER_S", 0.001)
    with admin_socket(tmp_path / "s", view) as (daemon, server), AdminClient(tmp_path / "s") as client:
        for _ in range(5):
            client.request("status")
        with pytest.raises(DaemonError) as limited:
            client.request("status")
        assert limited.value.category == "rate_limit"
        assert limited.value.retryable
        assert client.request("kill")["state"] == "killed"
        assert client.request("pause")["state"] == "paused"
        assert [command["verb"] for command in daemon.commands] == ["kill", "pause"]
        assert server.counts["admin_limited"] == 1


def test_mutations_have_a_tighter_limit(tmp_path: Path, view: FakeView, monkeypatch: pytest.MonkeyPatch) -> None:
    """The eleventh command at once is refused while reading goes on."""
    monkeypatch.setattr(admin, "MUTATIONS_PER_S", 0.001)  # "at once" on a busy host too
    with admin_socket(tmp_path / "s", view) as (daemon, _), AdminClient(tmp_path / "s") as client:
        for _ in range(10):
            client.request("flatten")
        with pytest.raises(DaemonError, match="too many requests"):
            client.request("flatten")
        assert client.request("status")["ready"]
        assert len(daemon.commands) == 10


def test_token_bucket_at_and_beyond_its_limits() -> None:
    """A bucket gives its burst, then its rate, never more than its burst after a pause, and time cannot go back."""
    bucket = TokenBucket(rate_per_s=2.0, burst=3.0, now_s=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert [bucket.take(0.0), bucket.take(0.99), bucket.take(1.0)] == [False, False, True]
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_a_client_that_does_not_read_is_dropped(tmp_path: Path, view: FakeView,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes that nobody reads end the connection; the others are served meanwhile."""
    monkeypatch.setattr(admin, "DRAIN_TIMEOUT_S", 0.3)
    view.order_rows = [{"cl_ord_id": f"{i:018}", "state": "filled", "note": "n" * 5_000} for i in range(500)]
    with admin_socket(tmp_path / "s", view) as (_, server), raw_socket(tmp_path / "s") as slow:
        slow.sendall(b'{"verb": "orders", "args": {"all": true}}\n' * 4)
        with AdminClient(tmp_path / "s") as client:
            assert client.request("status")["ready"]
        deadline_s = time.monotonic() + 30
        while not server.counts["admin_dropped"] and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert server.counts["admin_dropped"] == 1


def test_connections_are_bounded(tmp_path: Path, view: FakeView) -> None:
    """The seventeenth connection is told so and closed; when one leaves there is room again."""
    with admin_socket(tmp_path / "s", view):
        clients = [AdminClient(tmp_path / "s") for _ in range(admin.CONNECTIONS_MAX)]
        for client in clients:
            client.request("status")
        with raw_socket(tmp_path / "s") as extra:
            assert "too many connections" in json.loads(extra.makefile().readline())["error"]["message"]
        clients.pop().__exit__()
        deadline_s = time.monotonic() + 30
        while True:
            try:
                with AdminClient(tmp_path / "s") as again:
                    again.request("status")
                break
            except OperatorError:
                assert time.monotonic() < deadline_s
        for client in clients:
            client.__exit__()


def test_long_lists_come_in_pages_each_row_once(tmp_path: Path, view: FakeView) -> None:
    """All orders arrive although a page holds 500 and new ones come in between the pages."""
    view.order_rows = [{"cl_ord_id": f"{i:018}", "state": "filled"} for i in range(1_700, 0, -1)]
    wanted = {row["cl_ord_id"] for row in view.order_rows}
    stop = threading.Event()

    def trade() -> None:
        seq = 10_000
        while not stop.wait(0.001):
            seq += 1
            view.order_rows.insert(0, {"cl_ord_id": f"{seq:018}", "state": "open"})

    trader = threading.Thread(target=trade)
    with admin_socket(tmp_path / "s", view), AdminClient(tmp_path / "s") as client:
        trader.start()
        try:
            ids = [row["cl_ord_id"] for row in client.rows("orders", {"all": True})]
        finally:
            stop.set()
            trader.join()
    assert wanted <= set(ids)
    assert len(ids) == len(set(ids))
