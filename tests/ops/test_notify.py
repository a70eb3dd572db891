"""Notices to the service manager, over a real datagram socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from cstd.ops.notify import ServiceNotifier


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """A socket that listens as the service manager does."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(2)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return listener


def test_notices_have_the_protocols_words(manager: socket.socket) -> None:
    """READY, STATUS, WATCHDOG and STOPPING arrive as the protocol writes them."""
    notifier = ServiceNotifier()
    notifier.ready("serves the admin socket")
    notifier.status("reconciling")
    notifier.watchdog()
    notifier.stopping()
    assert [manager.recv(1000) for _ in range(4)] == [
        b"READY=1\nSTATUS=serves the admin socket", b"STATUS=reconciling", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_status_cannot_smuggle_an_assignment(manager: socket.socket) -> None:
    """A newline in a status becomes a space, and the text is bounded."""
    ServiceNotifier().status("venue said:\nWATCHDOG=1\n" + "x" * 500)
    received = manager.recv(1000)
    assert b"\n" not in received
    assert len(received) == len("STATUS=") + 200


def test_without_a_manager_nothing_happens() -> None:
    """Under a shell every call is a no-op."""
    notifier = ServiceNotifier({})
    notifier.ready()
    notifier.watchdog()
    assert not notifier.active
    assert notifier.watchdog_ns is None


def test_a_manager_that_does_not_listen_costs_no_time(manager: socket.socket) -> None:
    """Notices beyond what the queue takes are dropped, not waited for."""
    notifier = ServiceNotifier()
    for _ in range(20_000):
        notifier.watchdog()
    assert manager.recv(1000) == b"WATCHDOG=1"


@pytest.mark.parametrize(("environ", "expected"), [
    ({"WATCHDOG_USEC": "10000000"}, 10_000_000_000),
    ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 10_000_000_000),
    ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
    ({"WATCHDOG_USEC": "soon"}, None),
    ({"WATCHDOG_USEC": "0"}, None),
])
def test_the_watchdog_timeout_is_taken_only_when_it_is_ours(environ: dict[str, str], expected: int | None) -> None:
    """The timeout counts for the named process alone."""
    assert ServiceNotifier(environ).watchdog_ns == expected
