"""Running servers for the tests of control and sight: a real admin socket, a real reader process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from cstd.errors import OperatorError
from cstd.ops.access import Groups, Lockout
from cstd.ops.admin import AdminServer
from cstd.ops.board import BoardWriter
from tests.ops.fake_view import FakeView


class FakeDaemon:
    """Takes commands as the daemon would; a test double."""

    def __init__(self, view: FakeView) -> None:
        self.view = view
        self.commands: list[dict[str, Any]] = []
        self.audits: list[dict[str, Any]] = []

    def submit(self, command: dict[str, Any]) -> dict[str, Any]:
        """Apply a command to the fake view at once."""
        self.commands.append(command)
        verb, args = command["verb"], command["args"]
        if verb == "pause":
            self.view.state = "paused"
        elif verb == "resume":
            if self.view.kill:
                raise OperatorError("the kill switch is latched", suggestion="cstd kill --clear")
            self.view.state = "ready"
        elif verb == "kill":
            self.view.kill, self.view.state = True, "killed"
        elif verb == "kill_clear":
            if "confirm" not in args:
                return {"confirm": "k1", "kill_reason": "operator"}
            if args["confirm"] != "k1":
                raise OperatorError("the confirmation does not match")
            self.view.kill, self.view.state = False, "paused"
        elif verb in ("approve", "decline"):
            return self._answered(verb, str(args["id"]))
        elif verb == "limits_set":
            return self.view.limits_in_force.change(args, command, self.view.wall_ns)
        elif verb == "limits_rebase_peak":
            row = {"peak": "10000.00000000", "value": "8900.00000000", "currency": "USD", "drawdown_bps": 1_100,
                   "unverified": ["ETH/USD"], "rebased": "confirm" in args}
            return row if "confirm" in args else {**row, "confirm": "rebase-1", "expires_s": 60}
        elif verb == "limits_reset":
            return self.view.limits_in_force.end(args)
        return {"state": self.view.state, "seq": len(self.commands)}

    def _answered(self, verb: str, id_: str) -> dict[str, Any]:
        row = next((row for row in self.view.approvals() if str(row["id"]) == id_), None)
        if row is None:
            raise OperatorError(f"opening {id_} waits no more: expired", suggestion="`cstd approve --list` shows what waits")
        self.view.approvals = list  # type: ignore[method-assign]
        return {"id": row["id"], "answer": "approved" if verb == "approve" else "declined", "instrument": row["instrument"]}


@contextmanager
def admin_socket(path: Path, view: FakeView, *, on_uvloop: bool = True,
                 submit: Callable[[dict[str, Any]], Any] | None = None, groups: Groups | None = None,
                 lockout: Lockout | None = None) -> Iterator[tuple[FakeDaemon, AdminServer]]:
    """Serve an admin socket on a loop in a thread of the test."""
    daemon = FakeDaemon(view)
    loop = uvloop.new_event_loop() if on_uvloop else asyncio.new_event_loop()
    server = AdminServer(path, view, submit or daemon.submit, audit=daemon.audits.append, groups=groups, lockout=lockout)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(60)  # a browser's test has a loop of its own in its thread
        try:
            yield daemon, server
        finally:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the parsed body."""
        return json.loads(self.body)


class RunningReader:
    """A reader process over a board that this test writes."""

    def __init__(self, board: BoardWriter, view: FakeView, process: subprocess.Popen[str], url: str) -> None:
        self.board = board
        self.view = view
        self.process = process
        self.url = url
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def get(self, path: str, **headers: str) -> Answer:
        """GET a path, whatever its status."""
        self.board.publish(self.view)
        return self.get_stale(path, **headers)

    def get_stale(self, path: str, **headers: str) -> Answer:
        """GET a path without publishing first."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, headers=names)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        """POST to a path, whatever its status."""
        request = urllib.request.Request(self.url + path, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def keep_publishing(self) -> None:
        """Move and publish the view four times a second from a thread, as the daemon's timer does."""
        def run() -> None:
            while not self._stop.wait(0.25):
                self.view.step()
                self.board.publish(self.view)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def stop_publishing(self) -> None:
        """Let the board go stale."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)


def start_reader(board: Path, *extra: str) -> subprocess.Popen[str]:
    """Start a reader process of a board on a free port."""
    return subprocess.Popen([sys.executable, "-m", "cstd.ops.reader", "--board", str(board), "--listen", "127.0.0.1:0",
                             *extra], stderr=subprocess.PIPE, text=True)


@contextmanager
def reader_of(directory: Path, view: FakeView, *words: str) -> Iterator[RunningReader]:
    """Run a reader process over a fresh board in `directory`, with further words of its command line."""
    board = BoardWriter(directory / "board")
    board.publish(view)
    process = start_reader(board.path, "--parent", str(os.getpid()), *words)
    running = RunningReader(board, view, process, wait_for_url(directory, process))
    try:
        yield running
    finally:
        running.stop_publishing()
        process.terminate()
        process.wait(10)
        assert process.stderr is not None
        process.stderr.close()
        board.close()


def wait_for_url(directory: Path, process: subprocess.Popen[str]) -> str:
    """Return the address a reader wrote down, within a minute: a busy host takes its time to start it."""
    for _ in range(1_200):
        try:
            addresses = json.loads((directory / "reader.json").read_bytes())
            if addresses["pid"] == process.pid:
                return str(addresses["page"])
        except FileNotFoundError:
            pass
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
    raise AssertionError("the reader wrote no address")
