"""`make run`: a fresh run directory, the practice exchange, and the daemon restarted as systemd would restart it.

stdout carries one line, the session's summary; everything else goes to stderr and to two log files in the run
directory. Both children are in sessions of their own, so that Ctrl-C reaches them through here and in order: the daemon
first, which pulls its openings, then the exchange it needs for that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from cstd.child import end_with_parent
from cstd.clock import SystemClock, utc_text
from cstd.config import Config, load
from cstd.config.credentials import PRACTICE_FILE, read_practice_file
from cstd.errors import EXIT_CONFIG, EXIT_OK, CstdError, OperatorError, UsageError

RESTART_WAIT_S = 1.0  # RestartSec= of the shipped unit
RESTARTS_MAX, RESTARTS_WINDOW_S = 10, 30.0  # a daemon that cannot start is not tried for ever
EXCHANGE_START_S = 20.0
DAEMON_STOP_S = 60.0  # TimeoutStopSec= of the shipped unit
EXCHANGE_STOP_S = 10.0
READY_AFTER_S = 60.0
POLL_S = 0.05
READER_FILE = "reader.json"  # the addresses that the reader process got
PAGE_WAIT_S = 5.0  # the reader process starts beside the daemon and needs a little longer
LOG_TAIL_LINES = 20


class InterruptedSessionError(Exception):
    """A signal asked the session to end; a second one while stopping ends it at once."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Child:
    """One process of the session with its log file."""

    def __init__(self, name: str, run_dir: Path, words: list[str], env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.log = run_dir / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "cstd", *words], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=log, start_new_session=True, env=env,
                                            preexec_fn=partial(end_with_parent, signal.SIGTERM))  # noqa: PLW1509 -- no threads run here

    def ended(self) -> int | None:
        """Return the exit code, negative for a signal, or None while it runs."""
        return self.process.poll()

    def stop(self, timeout_s: float) -> None:
        """Ask it to stop, and kill it when it does not."""
        if self.ended() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                say(f"{self.name} did not stop within {timeout_s:g} s: killed")
                self.kill()

    def kill(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()

    def tail(self) -> str:
        """Return the last lines of its log."""
        with self.log.open("r", errors="replace") as log:
            return "".join(deque(log, LOG_TAIL_LINES))


def say(text: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(f"cstd: {text}\n")
    sys.stderr.flush()


def new_run_dir(root: Path, wall_ns: int) -> Path:
    """Create `root/<start time>` and point `root/current` to it.

    Raises:
        OperatorError: a session runs there already: a second one would take `current` from under its operator.
    """
    _refuse_running(root / "current" / "cstd.sock")
    root.mkdir(parents=True, exist_ok=True)
    stamp = utc_text(wall_ns)[:19].replace("-", "").replace(":", "")
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        run_dir = root / f"{stamp}{suffix}"
        try:
            run_dir.mkdir(mode=0o700)
        except FileExistsError:
            continue
        _point(root / "current", run_dir.name)
        return run_dir.absolute()
    raise OperatorError(f"a hundred sessions began in {root} within this second")


def _refuse_running(path: Path) -> None:
    from cstd.ops.client import AdminClient

    try:
        with AdminClient(str(path), timeout_s=1.0) as client:
            pid = client.request("status").get("pid")
    except OperatorError:
        return  # nobody answers there
    raise OperatorError(f"a session runs in {path.parent.resolve()} (daemon {pid})", suggestion="stop it first with Ctrl-C")


def _point(link: Path, target: str) -> None:
    """Make `link` point to `target`, whether or not it existed: never a moment without it."""
    if link.exists() and not link.is_symlink():
        raise OperatorError(f"{link} is not a link to a session", suggestion=f"move {link} away")
    temporary = link.with_name(f".current.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)


def instruments_needed(names: list[str]) -> int:
    """Return how many of the practice exchange's instruments it takes to have all of `names`.

    Raises:
        UsageError: the exchange has none of that name.
    """
    from cstd.practice.instruments import DEFAULTS

    known = [instrument.name for instrument in DEFAULTS]
    missing = [name for name in names if name not in known]
    if missing:
        raise UsageError(f"the practice exchange has no {missing[0]}", suggestion=f"it has {', '.join(known)}")
    return max(known.index(name) for name in names) + 1


def start_exchange(config: Config, run_dir: Path, *, tls: bool = False) -> Child:
    """Start the practice exchange; returns once it has told where it listens."""
    ports = config.practice
    numbers = (ports.rest_port, ports.ws_public_port, ports.ws_private_port, ports.ws_futures_port) if ports else (0,) * 4
    exchange = Child("practice", run_dir, [
        "practice", "--run-dir", str(run_dir), "--ports", ",".join(map(str, numbers)), "--tier", config.venue.tier,
        "--instruments", str(instruments_needed(config.instruments.names)), *(["--tls"] if tls else [])])
    deadline = time.monotonic() + EXCHANGE_START_S
    while not (run_dir / PRACTICE_FILE).exists():
        if exchange.ended() is not None or time.monotonic() > deadline:
            exchange.kill()
            raise OperatorError(f"the practice exchange did not start:\n{exchange.tail()}".rstrip())
        time.sleep(POLL_S)
    return exchange


def daemon_environment(run_dir: Path) -> dict[str, str]:
    """Return the daemon's environment: the exchange's own authority is trusted as any other would be, by SSL_CERT_FILE."""
    ca = read_practice_file(run_dir).get("ca")
    return {**os.environ, "SSL_CERT_FILE": ca} if ca else dict(os.environ)


class Supervisor:
    """Runs the daemon until it ends of its own accord, restarting it after every other end."""

    def __init__(self, config: Config, config_path: str, run_dir: Path, for_s: float | None) -> None:
        self._config = config
        self._config_path = config_path
        self._run_dir = run_dir
        self._for_s = for_s
        self._ready_at_s: float | None = None
        self._restarts: deque[float] = deque(maxlen=RESTARTS_MAX)
        self.daemon: Child | None = None

    def run(self, exchange: Child) -> int:
        """Return the exit code of the session: 0, or what the daemon ended with for good."""
        while True:
            (self._run_dir / READER_FILE).unlink(missing_ok=True)  # the page of the daemon before this one is gone
            self.daemon = Child("daemon", self._run_dir, self._words(), daemon_environment(self._run_dir))
            code = self._watch(self.daemon, exchange)
            if code in (EXIT_OK, EXIT_CONFIG):
                if code != EXIT_OK:
                    say(f"the daemon refused to start:\n{self.daemon.tail()}".rstrip())
                return code
            self._note_restart(code)
            time.sleep(RESTART_WAIT_S)

    def _words(self) -> list[str]:
        words = ["run", "-c", self._config_path, "--run-dir", str(self._run_dir)]
        if self._for_s is None:
            return words
        gone_s = 0.0 if self._ready_at_s is None else time.monotonic() - self._ready_at_s
        return [*words, "--for", f"{max(1.0, self._for_s - gone_s):.3f}"]

    def _watch(self, daemon: Child, exchange: Child) -> int:
        """Wait for the daemon to end; tell once when it is ready."""
        waited_from_s = time.monotonic()
        told = False
        while (code := daemon.ended()) is None:
            if exchange.ended() is not None:
                raise OperatorError(f"the practice exchange ended with {exchange.ended()}:\n{exchange.tail()}".rstrip())
            if not told and self._is_ready():
                self._ready_at_s = self._ready_at_s or time.monotonic()
                say(f"ready after {time.monotonic() - waited_from_s:.1f} s, {self._page()}")
                told = True
            elif not told and time.monotonic() - waited_from_s > READY_AFTER_S:
                say(f"not ready after {READY_AFTER_S:g} s; see {daemon.log} and `cstd status`")
                told = True
            time.sleep(POLL_S)
        return code

    def _is_ready(self) -> bool:
        from cstd.ops.client import AdminClient

        path = self._config.run.socket or str(self._run_dir / "cstd.sock")
        try:
            with AdminClient(path, timeout_s=1.0) as client:
                return client.request("status").get("ready") is True
        except OperatorError:
            return False  # not there yet

    def _page(self) -> str:
        """Say where the page is, which the reader process tells once it listens, or that there is none."""
        for _ in range(int(PAGE_WAIT_S / POLL_S)):
            with contextlib.suppress(OSError, ValueError, KeyError):
                return f"page at {json.loads((self._run_dir / READER_FILE).read_bytes())['page']}/"
            time.sleep(POLL_S)
        listen = self._config.status.listen
        return (f"no page: nothing of this session listens on {listen}; CSTD__STATUS__LISTEN names another address,"
                f" CSTD__STATUS__LISTEN=127.0.0.1:0 any free port; see {self._run_dir / 'daemon.log'}")

    def _note_restart(self, code: int) -> None:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        say(f"the daemon ended ({how}); starting it again in {RESTART_WAIT_S:g} s")
        now_s = time.monotonic()
        if len(self._restarts) == RESTARTS_MAX and now_s - self._restarts[0] < RESTARTS_WINDOW_S:
            tail = self.daemon.tail() if self.daemon else ""
            raise OperatorError(f"the daemon ended {RESTARTS_MAX} times within {RESTARTS_WINDOW_S:g} s:\n{tail}".rstrip())
        self._restarts.append(now_s)


class Interruption:
    """The handler of a session's signals: the first stops it, the second ends it at once, more change nothing."""

    def __init__(self) -> None:
        self._left = 2

    def __call__(self, number: int, _frame: object) -> None:
        """Raise InterruptedSessionError, twice at most."""
        self._left -= 1
        if self._left >= 0:
            raise InterruptedSessionError(number)


def main(args: argparse.Namespace) -> int:
    """Run one session and print its summary as the last line on stdout."""
    config = load([args.config], os.environ)
    if config.mode != "practice":
        raise UsageError(f"a session is for mode practice, {args.config} has {config.mode}",
                         suggestion=f"cstd run -c {args.config}")
    run_dir = new_run_dir(Path(args.root), SystemClock().wall_ns())
    say(f"session in {run_dir}")
    interruption = Interruption()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interruption)
    supervisor = Supervisor(config, args.config, run_dir, args.for_s)
    exchange: Child | None = None
    code = EXIT_OK
    try:
        try:
            exchange = start_exchange(config, run_dir, tls=args.tls)
            code = supervisor.run(exchange)
        except InterruptedSessionError as interrupted:
            say(f"{interrupted}: stopping; once more to end at once")
        finally:
            _stop(supervisor.daemon, exchange)
    except InterruptedSessionError as again:
        for child in (supervisor.daemon, exchange):
            if child is not None:
                child.kill()
        return 128 + again.number
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        _settle(config, run_dir)
    return code if code != EXIT_OK else _print_summary(run_dir)


def _stop(daemon: Child | None, exchange: Child | None) -> None:
    """Stop the daemon, then the exchange that it needs for stopping well."""
    if daemon is not None:
        daemon.stop(DAEMON_STOP_S)
    if exchange is not None:
        exchange.stop(EXCHANGE_STOP_S)


def _settle(config: Config, run_dir: Path) -> None:
    """Write what a daemon that did not end well left in its ring to the journal: no later start does, and a ring is memory."""
    from cstd.daemon.ring_place import ring_path
    from cstd.storage.journal import open_journal
    from cstd.storage.run_dir import JOURNAL_DIR

    ring = ring_path(run_dir)
    if not ring.exists():
        return
    limits = config.journal
    try:
        journal = open_journal(run_dir / JOURNAL_DIR, ring, ring_bytes=limits.ring_bytes, segment_bytes=limits.segment_bytes,
                               sync_interval_ms=limits.sync_interval_ms)
        journal.close()
        ring.unlink()
    except (OSError, CstdError) as error:
        say(f"what the daemon left in {ring} is not in the journal yet: {error}")


def _print_summary(run_dir: Path) -> int:
    path = run_dir / "summary.json"
    try:
        summary = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise OperatorError(f"the daemon left no summary: {path}: {error}",
                            suggestion=f"see {run_dir / 'daemon.log'}") from error
    sys.stdout.write(json.dumps(summary, separators=(",", ":")) + "\n")
    sys.stdout.flush()
    return EXIT_OK
