"""The projector process: started and watched by the trading process, which can live without it.

    python -m cstd.projector --run-dir .run/current --parent PID

It runs only when nothing else wants the processor or the disk (background.py). It ends when its parent ends, after one more
look at the journal.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from cstd.child import exit_code_of, follow_parent
from cstd.clock import SystemClock
from cstd.errors import EXIT_PARITY, CstdError, OperatorError, ParityError
from cstd.locks import wait_for_lock
from cstd.projector.database import LedgerDatabase
from cstd.projector.mark import MARK_FILE, ProjectorMark
from cstd.projector.projection import Projection
from cstd.signals.agents.loader import load as load_agents
from cstd.storage import journal_compress
from cstd.storage.journal_files import HEAD_NAME, Head, SegmentHeader, packed_path
from cstd.storage.journal_follow import JournalFollower
from cstd.storage.journal_signature import KEY_NAME, open_signer, segment_signature_name
from cstd.storage.run_dir import DATABASE_FILE, JOURNAL_DIR

LOCK_FILE = "projector.lock"
REBUILT_SUFFIX = ".rebuilt"
SIGNALS = (signal.SIGTERM, signal.SIGINT)
POLL_S = 0.2
TURN_S = 0.25
LAST_TURN_S = 2.0
LOCK_WAIT_S = 10.0
SIGN_NS = 10_000_000_000
COMPRESS_RETRY_NS = 60_000_000_000


def state_dir(run_dir: Path) -> Path:
    """Return where a run directory's ledger and key are kept: beside the journal, which a service has on a disk."""
    return (run_dir / JOURNAL_DIR).resolve().parent


def take_lock(run_dir: Path, wait_s: float) -> IO[bytes]:
    """Return the held lock of a run directory's ledger; one that is ending may hold it a moment longer.

    Raises:
        OperatorError: another process keeps it.
    """
    return wait_for_lock((state_dir(run_dir) / LOCK_FILE).open("ab"), wait_s,
                         OperatorError(f"another projector works on {run_dir}"))


def adopt_rebuilt(path: Path) -> None:
    """Put a database that `cstd db rebuild` has made in the place of the one at `path`. Only with the lock held."""
    rebuilt = path.with_name(path.name + REBUILT_SUFFIX)
    if rebuilt.exists():
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        rebuilt.replace(path)


class Projector:
    """The work of the process, a turn at a time.

    Args:
        run_dir: the daemon's run directory, with the journal in it.
        compress: whether sealed segments are compressed.
    """

    def __init__(self, run_dir: Path, *, compress: bool = True) -> None:
        self._clock = SystemClock()
        self._run_dir = run_dir
        self._compress = compress
        self._mark = ProjectorMark(run_dir / MARK_FILE, create=not (run_dir / MARK_FILE).exists())
        self._database = LedgerDatabase(state_dir(run_dir) / DATABASE_FILE)
        self._projection = Projection(self._database, run_dir / JOURNAL_DIR, load_agents())
        self._follower = JournalFollower(run_dir / JOURNAL_DIR, self._projection.start)
        self._signer = open_signer(state_dir(run_dir) / KEY_NAME, run_dir / JOURNAL_DIR)
        if self._signer.put_aside is not None:
            sys.stderr.write("cstd projector: the signature of the journal's head did not hold; it is kept as"
                             f" {self._signer.put_aside}\n")
        self._signed_ns = 0
        self._compression: Iterator[str] | None = None
        self._not_before_ns = 0
        if self._database.place is not None:
            self._mark.write(seq=self._database.place.last_seq)

    def turn(self, longest_s: float = TURN_S) -> bool:
        """Project what is there, for at most about `longest_s`, and write it; returns whether all there is was done."""
        until_s = time.monotonic() + longest_s
        level = True
        for batch in self._follower.batches():
            self._projection.take(batch, self._follower.place)
            if time.monotonic() > until_s:
                level = False
                break
        self._projection.commit()
        level = level and self._follower.level()
        if level:
            if self._projection.place is not None:
                self._projection.finish()
            self._mark.write(level_mono_ns=self._clock.mono_ns())
        if self._database.place is not None:
            self._mark.write(seq=self._database.place.last_seq)
        self._seal(level=level)
        return level

    def _seal(self, *, level: bool) -> None:
        """Sign the ends of segments that were passed, and now and then the newest place.

        Not while it catches up: after a start its place is an old one, and the newest signature covers more already.
        """
        directory = self._run_dir / JOURNAL_DIR
        for place in self._follower.passed:
            if not (directory / segment_signature_name(place.segment)).exists():
                self._sign(place, seal=True)
        self._follower.passed.clear()
        now_ns = self._clock.mono_ns()
        if level and now_ns - self._signed_ns >= SIGN_NS and self._follower.place.last_seq > self._signer.signed_seq:
            self._signed_ns = now_ns
            self._sign(self._follower.place, seal=False)

    def _sign(self, place: Head, *, seal: bool) -> None:
        if place.segment_bytes == SegmentHeader.BYTES:
            return  # nothing is in this segment yet, and the end of the one before is signed
        self._signer.sign(place, self._clock.wall_ns(), seal=seal)
        self._mark.write(signed_seq=self._signer.signed_seq)

    def compress_step(self) -> bool:
        """Do one step of compressing the oldest sealed segment that was read; returns whether there was one to do."""
        if not self._compress or self._clock.mono_ns() < self._not_before_ns:
            return False
        if self._compression is None:
            self._compression = self._next_compression()
        if self._compression is None:
            return False
        try:
            done = next(self._compression, None)
        except OSError as error:
            self._give_up(os.strerror(error.errno or errno.EIO))
            return False
        except CstdError as error:
            self._give_up(error.message)
            return False
        if done is None:
            self._compression = None
        return True

    def _next_compression(self) -> Iterator[str] | None:
        directory = self._run_dir / JOURNAL_DIR
        ready = [path for number, path in journal_compress.sealed_segments(directory, self._follower.place)
                 if (directory / segment_signature_name(number)).exists()]
        return self._counted(ready[0]) if ready else None

    def _counted(self, path: Path) -> Iterator[str]:
        plain_bytes = path.stat().st_size
        yield from journal_compress.compress_segment(path)
        saved = plain_bytes - packed_path(path).stat().st_size
        known = self._mark.read()
        self._mark.write(compressed_segments=known["compressed_segments"] + 1,
                         compressed_saved_bytes=known["compressed_saved_bytes"] + saved)

    def _give_up(self, why: str) -> None:
        """Leave the segment as it is for a while: it is whole, only large."""
        self._compression = None
        self._not_before_ns = self._clock.mono_ns() + COMPRESS_RETRY_NS
        self._mark.write(failed_compressions=self._mark.read()["failed_compressions"] + 1)
        sys.stderr.write(f"cstd projector: a segment was not compressed: {why}\n")

    def finish(self) -> None:
        """One more look at the journal, within its time, and the signature of where it ends."""
        if self.turn(LAST_TURN_S) and self._follower.place.last_seq > self._signer.signed_seq:
            self._sign(self._follower.place, seal=False)

    def close(self) -> None:
        """Close the database and the journal."""
        self._follower.close()
        self._database.close()
        self._mark.close()


class Stop:
    """Whether a signal asked the process to end. A handler, not a mask: libraries have threads that a mask does not reach."""

    def __init__(self) -> None:
        self.asked = False
        for number in SIGNALS:
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: object) -> None:
        self.asked = True


def wait_for_journal(directory: Path, stop: Stop) -> bool:
    """Wait until the journal has a head; False when a signal came first."""
    while not (directory / HEAD_NAME).exists():
        if stop.asked:
            return False
        time.sleep(POLL_S)
    return True


def work(run_dir: Path, stop: Stop, *, compress: bool) -> None:
    """Follow the journal until a signal comes, or until a rebuilt database is there to be taken over."""
    projector = Projector(run_dir, compress=compress)
    rebuilt = state_dir(run_dir) / (DATABASE_FILE + REBUILT_SUFFIX)
    try:
        while True:
            level = projector.turn()
            busy = projector.compress_step() or not level
            if stop.asked:
                projector.finish()
                return
            if rebuilt.exists():
                return
            if not busy:
                time.sleep(POLL_S)
    finally:
        projector.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the projector process; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m cstd.projector", description="Follow a journal into SQLite.")
    parser.add_argument("--run-dir", required=True, type=Path, help="the daemon's run directory")
    parser.add_argument("--parent", type=int, metavar="PID", help="end when this parent process does")
    parser.add_argument("--no-compress", action="store_true", help="leave sealed segments as they are")
    args = parser.parse_args(argv)
    stop = Stop()

    differs = False

    def run() -> None:
        nonlocal differs
        if args.parent is not None:
            follow_parent(args.parent)
        with take_lock(args.run_dir, LOCK_WAIT_S):
            while wait_for_journal(args.run_dir / JOURNAL_DIR, stop):
                adopt_rebuilt(state_dir(args.run_dir) / DATABASE_FILE)
                try:
                    work(args.run_dir, stop, compress=not args.no_compress)
                except ParityError:
                    differs = True  # its parent opens nothing on decisions that cannot be repeated
                    raise
                if stop.asked:
                    break

    code = exit_code_of("projector", run)
    return EXIT_PARITY if differs else code
