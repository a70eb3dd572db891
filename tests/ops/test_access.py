"""Roles on the admin socket by group, and the lockout of who keeps trying what is not allowed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cstd.config import load, refusals, template
from cstd.errors import OperatorError
from cstd.ops import access, admin
from cstd.ops.access import NOBODY, OPERATE, READ, Groups, Lockout, Peer, is_mapped, peer_of, role_of
from cstd.ops.admin import MUTATING_VERBS
from cstd.ops.client import AdminClient, DaemonError
from tests import needs
from tests.ops.fake_view import FakeView
from tests.ops.running import admin_socket

# As somebody else: ids from argv, then a line of JSON for each request of argv that follows.
STRANGER = """
import json, os, socket, sys
path, uid, groups, *verbs = sys.argv[1:]
groups = [int(gid) for gid in groups.split(",")]
os.setgroups(groups[1:]); os.setgid(groups[0]); os.setuid(int(uid))
for verb in verbs:
    s = socket.socket(socket.AF_UNIX); s.connect(path); s.settimeout(5)
    try:
        s.sendall(json.dumps({"verb": verb}).encode() + b"\\n")
    except BrokenPipeError:
        pass  # refused already; its answer may be there
    try:
        line = s.makefile().readline()
    except ConnectionResetError:
        line = ""
    print(line.strip() or "null")
    s.close()
"""


def as_user(path: Path, uid: int, groups: str, *verbs: str) -> list[Any]:
    """Send verbs as a user, each on a connection of its own; returns the answers, None where there is none."""
    for parent in path.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    path.chmod(0o666)  # as a mistake would have it, or a group of its own: the kernel's word decides
    command = [*needs.root(), sys.executable, "-c", STRANGER, str(path), str(uid), groups, *verbs]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return [json.loads(line) for line in done.stdout.splitlines()]


def peer(uid: int, *groups: int) -> Peer:
    """A peer whose primary group is the first."""
    return Peer(pid=1, uid=uid, gid=groups[0], groups=frozenset(groups))


@pytest.mark.parametrize(("groups", "roles"), [
    (Groups(), {600: OPERATE, 700: NOBODY, 800: NOBODY, 601: NOBODY}),
    (Groups(operate=700), {600: NOBODY, 700: OPERATE, 800: NOBODY}),
    (Groups(read=800), {600: NOBODY, 700: NOBODY, 800: READ}),
    (Groups(operate=700, read=800), {600: NOBODY, 700: OPERATE, 800: READ}),
], ids=["none", "operate", "read", "both"])
def test_a_role_follows_from_the_groups(groups: Groups, roles: dict[int, str]) -> None:
    """Root and the daemon's user operate always; the socket's group, 600, where no group is named; else the named ones alone."""
    for uid in (0, 500):
        assert role_of(peer(uid, 42), groups, own_uid=500, socket_gid=600) == OPERATE
    for gid, role in roles.items():
        assert role_of(peer(501, 501, gid), groups, own_uid=500, socket_gid=600) == role, gid
    assert role_of(peer(501, 700, 800), groups, own_uid=500, socket_gid=600) == (
        OPERATE if groups.operate else READ if groups.read else NOBODY)


def test_the_kernel_tells_all_groups_of_a_peer(tmp_path: Path) -> None:
    """Supplementary ones too: a member of a group rarely has it as the primary one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(1)
        path = tmp_path / "s"
        for parent in path.parents[:3]:
            parent.chmod(parent.stat().st_mode | 0o055)
        path.chmod(0o666)
        script = ("import os, socket, sys; os.setgroups([4001, 4002]); os.setgid(4000); os.setuid(4000); "
                  "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)")
        process = subprocess.Popen([*needs.root(), sys.executable, "-c", script, str(path)])
        connection, _ = listener.accept()
        with connection:
            found = peer_of(connection)
        assert process.wait(10) == 0
    assert (found.uid, found.gid, found.groups) == (4000, 4000, {4000, 4001, 4002})


def test_a_reader_reads_and_no_command_of_his_is_taken(tmp_path: Path, view: FakeView) -> None:
    """Each mutating verb is refused by the role, kill too; nothing reaches the daemon; an operator's command does."""
    path = tmp_path / "s"
    with admin_socket(path, view, groups=Groups(operate=4001, read=4002),
                      lockout=Lockout(failures_max=100, window_s=60, lock_s=60)) as (daemon, server):
        first, *others = as_user(path, 4000, "4000,4002", "status", *MUTATING_VERBS)
        assert first["ok"] and first["data"]["ready"]
        assert [answer["error"]["error"] for answer in others] == ["access"] * len(MUTATING_VERBS)
        assert daemon.commands == []
        assert {entry["what"] for entry in daemon.audits} == {"role refused"}
        assert as_user(path, 4000, "4000,4001", "pause")[0]["ok"]
        assert [(command["verb"], command["uid"]) for command in daemon.commands] == [("pause", 4000)]
        assert as_user(path, 4000, "4000,4003", "status")[0]["error"]["suggestion"] == "add the user to group 4001 or 4002"
        assert server.counts["admin_denied"] == len(MUTATING_VERBS) + 1


def test_who_keeps_trying_gets_no_answer_and_others_do(tmp_path: Path, view: FakeView) -> None:
    """At the third refusal: no answer and no line more, counted; another uid is refused with an answer, the owner is served."""
    path = tmp_path / "s"
    with admin_socket(path, view, lockout=Lockout(failures_max=3, window_s=60, lock_s=60)) as (daemon, server):
        answers = as_user(path, 4000, "4000", *["status"] * 5)
        assert [answer and answer["error"]["error"] for answer in answers] == ["operator"] * 3 + [None] * 2
        assert [entry["what"] for entry in daemon.audits] == ["connection refused", "connection refused", "locked out",
                                                              "connection refused"]
        assert (server.counts["admin_lockouts"], server.counts["admin_locked"], server.counts["admin_denied"]) == (1, 2, 3)
        assert as_user(path, 4005, "4005", "status")[0]["error"]["error"] == "operator"
        assert as_user(path, 0, "0", "status", "pause")[1]["ok"]


def test_a_reader_who_is_locked_out_of_commands_goes_on_reading(tmp_path: Path, view: FakeView) -> None:
    """The lockout takes no right away: what the role has is answered as before."""
    path = tmp_path / "s"
    with admin_socket(path, view, groups=Groups(operate=4001, read=4002),
                      lockout=Lockout(failures_max=2, window_s=60, lock_s=60)) as (daemon, server):
        answers = as_user(path, 4000, "4002", "pause", "pause", "pause", "status")
        assert "locked out" in answers[2]["error"]["message"]
        assert answers[3]["ok"]
        assert (server.counts["admin_lockouts"], server.counts["admin_locked"], daemon.commands) == (1, 1, [])
        assert as_user(path, 4000, "4001", "pause")[0]["ok"], "one who was given the role since is served at once"


def test_readers_leave_room_for_who_operates(tmp_path: Path, view: FakeView, monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many connections as readers may have, another reader is turned away and root's kill is served."""
    role = [READ]
    monkeypatch.setattr(admin, "role_of", lambda *_, **__: role[0])
    path = tmp_path / "s"
    with admin_socket(path, view) as (daemon, _), ExitStack() as readers:
        for _ in range(admin.READERS_MAX):
            readers.enter_context(AdminClient(path)).request("status")
        with AdminClient(path) as extra, pytest.raises(OperatorError, match=r"too many connections|broke off"):
            extra.request("status")
        role[0] = OPERATE
        with ExitStack() as operators:
            for _ in range(admin.CONNECTIONS_MAX - admin.READERS_MAX):
                operators.enter_context(AdminClient(path)).request("kill")
        assert len(daemon.commands) == admin.CONNECTIONS_MAX - admin.READERS_MAX


def test_all_connections_of_a_reader_share_one_bucket(tmp_path: Path, view: FakeView, monkeypatch: pytest.MonkeyPatch) -> None:
    """To connect again gives a reader no more requests; who operates has a bucket of each connection's own."""
    role = [READ]
    monkeypatch.setattr(admin, "role_of", lambda *_, **__: role[0])
    monkeypatch.setattr(admin, "REQUEST_BURST", 3.0)
    monkeypatch.setattr(admin, "REQUESTS_PER_S", 0.001)

    def ask(times: int) -> list[bool]:
        with AdminClient(path) as client:
            answers = []
            for _ in range(times):
                try:
                    answers.append(client.request("status")["ready"])
                except DaemonError as error:
                    assert error.category == "rate_limit"
                    answers.append(False)
            return answers

    path = tmp_path / "s"
    with admin_socket(path, view):
        assert ask(2) == [True, True]
        assert ask(2) == [True, False]
        role[0] = OPERATE
        assert ask(3) == ask(3) == [True, True, True]


def test_what_is_refused_to_a_reader_is_refused_slowly(tmp_path: Path, view: FakeView, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of wrong requests waits on its own connection; who operates is served meanwhile."""
    role = [READ]
    monkeypatch.setattr(admin, "role_of", lambda *_, **__: role[0])
    monkeypatch.setattr(admin, "REFUSED_PAUSE_S", 60.0)
    path = tmp_path / "s"
    with admin_socket(path, view) as (_, server), socket.socket(socket.AF_UNIX) as flood:
        flood.settimeout(30)
        flood.connect(str(path))
        flood.sendall(b'{"verb": "nonsense"}\n' * 50)
        assert b"unknown verb" in flood.recv(1 << 16)
        role[0] = OPERATE
        with AdminClient(path) as client:
            for _ in range(5):
                client.request("status")
        assert server.counts["admin_requests"] == 6


def test_buckets_of_readers_are_bounded(tmp_path: Path, view: FakeView) -> None:
    """However many users read, the newest are kept."""
    server = admin.AdminServer(tmp_path / "s", view, lambda _command: {})
    for uid in range(access.SOURCES_MAX + 5):
        server._shared_bucket(uid, 0.0)
    assert list(server._readers) == list(range(5, access.SOURCES_MAX + 5))
    assert server._shared_bucket(5, 0.0) is server._shared_bucket(5, 1.0)


def test_a_lockout_at_and_beside_its_limits() -> None:
    """One failure short, and one that is just too old, lock nobody; the last one within the window does, for its time alone."""
    lockout = Lockout(failures_max=3, window_s=10.0, lock_s=60.0)
    assert [lockout.failed("a", at_s) for at_s in (0.0, 5.0)] == [False, False]
    assert lockout.locked_s("a", 5.0) == 0.0
    assert not lockout.failed("a", 10.001)  # the first is over
    assert lockout.failed("a", 15.0)  # 5, 10.001 and 15: the first exactly at the window's end
    assert (lockout.locked_s("a", 15.0), lockout.locked_s("a", 74.9) > 0, lockout.locked_s("a", 75.0)) == (60.0, True, 0.0)
    assert lockout.locked_s("b", 15.0) == 0.0
    assert [lockout.failed("a", 76.0) for _ in range(3)] == [False, False, True]


def test_sources_are_bounded() -> None:
    """The one not seen for longest is forgotten; one source's failures are bounded by the limit."""
    lockout = Lockout(failures_max=2, window_s=1e9, lock_s=1e9)
    assert [lockout.failed("first", 0.0), lockout.failed("first", 0.0)] == [False, True]
    for number in range(access.SOURCES_MAX):
        lockout.failed(str(number), 1.0)
    assert lockout.locked_s("first", 1.0) == 0.0
    assert lockout.failed("0", 1.0)


def test_a_group_that_a_namespace_hides_is_told(capfd: pytest.CaptureFixture[str], tmp_path: Path, view: FakeView,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    """Under PrivateUsers= only root's and the service's own group have a number; others are refused, and the log says so."""
    from cstd.daemon.control import admin_server
    from cstd.ops.logs import Logs

    private = "         0          0          1\n       61184      61184          1\n"
    assert [is_mapped(gid, private) for gid in (0, 1, 61183, 61184, 61185)] == [True, False, False, True, False]
    assert is_mapped(4_000_000, "         0          0 4294967295\n")
    (tmp_path / "map").write_text(private)
    monkeypatch.setattr("cstd.daemon.control.GID_MAP", tmp_path / "map")
    cfg = load([str(template("practice"))], {}, ['admin.operate_group="daemon"'])
    admin_server(cfg, tmp_path / "s", view, dict, Logs())
    line = json.loads(capfd.readouterr().err)
    assert (line["channel"], line["level"], line["group"]) == ("security", "warning", "daemon")


def test_refused_tries_go_to_the_channel_of_security(capfd: pytest.CaptureFixture[str]) -> None:
    """Commands to that of audit."""
    from cstd.daemon.control import tell
    from cstd.ops.logs import Logs

    for what in ("connection refused", "role refused", "locked out", "command"):
        tell(Logs(), {"what": what, "uid": 1})
    rows = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(row["what"], row["channel"]) for row in rows] == [
        ("connection refused", "security"), ("role refused", "security"), ("locked out", "security"), ("command", "audit")]


def test_a_group_that_is_not_there_stops_the_start() -> None:
    """By key and name; one that is there does not."""
    def told(name: str) -> list[str]:
        cfg = load([str(template("practice"))], {}, [f'admin.read_group="{name}"'])
        return [problem.key for problem in refusals(cfg, os.environ)]

    assert told("no-such-group-here") == ["admin.read_group"]
    assert told("daemon") == []
