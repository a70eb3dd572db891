"""The board: what the trading process shows, in shared memory, for the reader process to look at.

One file, mapped by both sides. A header page, then a fixed set of *regions*, each with room for two copies of a bounded
number of bytes of JSON and two counters: writes begun and writes done. Write n goes to copy n % 2, so the last whole one
is left alone while the next is written, and a writer that dies or is held up inside a write takes nothing from view. A
reader copies write n and looks at *begun* again: past n + 1, the copy was being overwritten; it is dropped, counted and
read anew. A torn read is seen, never used. Nobody waits for anybody.

Every region is JSON, number arrays included (orjson writes a numpy array of 64 counts in about a microsecond), because
the reader process passes most regions through to HTTP as they are. A region whose bytes did not change is not
written, so its counter tells the reader what changed.

Bounds: a list that does not fit loses its oldest rows, an object that does not fit is not published; both are counted
in the header, shown by the status port, and never an error in the trading process.

Counters are stored and loaded as aligned 8-byte words through a memoryview, never with `struct.pack_into`, which zeroes
its target first. The order of stores matters (begun, bytes, done): x86-64 keeps the order of stores and of loads,
and Python adds no reordering of its own. On a machine with weaker ordering a torn read would show as JSON that does
not parse, which the reader treats as torn too.
"""

from __future__ import annotations

import mmap
import os
import stat
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from cstd.errors import OperatorError
from cstd.ops.view import EngineView, Order

MAGIC = b"CSTDBRD6"
HEADER_BYTES = 4096
WORD_BYTES = 8
REGION_HEADER_BYTES = 64
# int64 words of a region's header; USED has a word for each copy.
BEGUN, DONE, OVERFLOWED, USED = range(4)
# int64 words of the file's header; word 0 is MAGIC.
WRITER_PID, BEAT_NS, PUBLISHES, OVERFLOWS, VIEW_ERRORS, LAST_NS, LONGEST_NS = range(1, 8)
ERROR_TEXT_OFFSET = 1024
ERROR_TEXT_BYTES = 512

PUBLISH_INTERVAL_S = 0.25
STALE_AFTER_NS = 2_000_000_000  # eight missed publishes
BOOK_LEVELS = 12
BOOKS_SHOWN = 40
INSTRUMENTS_PER_PUBLISH = 64  # a row costs some microseconds; a thousand at once would hold up the loop
DECISIONS_KEPT = 48
DECISIONS_PER_PUBLISH_MAX = 8  # explaining one costs tens of microseconds
ROWS_SHOWN = 60  # orders and fills
TRADES_SHOWN = 60
OPPORTUNITIES_SHOWN = 40  # of each horizon
READ_TRIES = 200

_KIB = 1024
# Capacities in bytes. Sized for as many instruments as the compiled core takes, 40 books, 48 decisions of about 5 KiB and
# 60 orders; fixed for the format.
REGIONS: dict[str, int] = {
    "status": 64 * _KIB,
    "instruments": 1536 * _KIB,
    "books": 256 * _KIB,
    "positions": 64 * _KIB,
    "equity": 4 * _KIB,
    "orders": 96 * _KIB,
    "approvals": 16 * _KIB,
    "fills": 64 * _KIB,
    "decisions": 512 * _KIB,
    "gates": 32 * _KIB,
    "limits": 256 * _KIB,
    "clusters": 32 * _KIB,
    "counters": 32 * _KIB,
    "alert_limits": 4 * _KIB,
    "latency": 128 * _KIB,
    "tape": 32 * _KIB,
    "models": 128 * _KIB,
    "opportunities": 192 * _KIB,
}

_JSON_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def _layout() -> tuple[dict[str, tuple[int, int]], int]:
    """Return region name -> (offset, capacity in bytes) and the size of the whole file."""
    places: dict[str, tuple[int, int]] = {}
    offset = HEADER_BYTES
    for name, capacity in REGIONS.items():
        places[name] = (offset, capacity)
        offset += (REGION_HEADER_BYTES + 2 * capacity + 63) // 64 * 64
    return places, offset


_PLACES, BOARD_BYTES = _layout()


def _dump_list(rows: list[bytes], capacity: int) -> tuple[bytes, bool]:
    """Return the JSON array of already encoded rows that fits in `capacity` bytes, and whether rows were left out."""
    used = 2
    for count, row in enumerate(rows):
        used += len(row) + 1
        if used > capacity:
            return b"[" + b",".join(rows[:count]) + b"]", True
    return b"[" + b",".join(rows) + b"]", False


def encode(value: object, capacity: int) -> tuple[bytes | None, bool]:
    """Return the JSON of `value` in at most `capacity` bytes (None: cannot be made to fit) and whether it was cut."""
    payload = orjson.dumps(value, option=_JSON_OPTIONS)
    if len(payload) <= capacity:
        return payload, False
    if isinstance(value, list):
        return _dump_list([orjson.dumps(row, option=_JSON_OPTIONS) for row in value], capacity)
    return None, True


def _open_first(view: EngineView) -> list[Order]:
    """Return working orders, then the newest others: an old order that still rests must not fall off the board."""
    working = view.orders(all_=False, limit=ROWS_SHOWN)
    shown = {order["cl_ord_id"] for order in working}
    recent = view.orders(all_=True, limit=ROWS_SHOWN)
    return working + [order for order in recent if order["cl_ord_id"] not in shown]


class BoardWriter:
    """The one writer of a board; lives in the trading process.

    `publish` never raises for what a view does: a method of the view that fails is counted and its region keeps what
    it had, because sight must not be able to stop trading.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Create the file afresh (mode 0640) and map it; a reader of the old one notices the new inode.

        Raises:
            OperatorError: the file cannot be made.
        """
        self.path = Path(path)
        self.publishes = 0
        self.overflows = 0
        self.view_errors = 0
        self.last_publish_ns = 0
        self.longest_publish_ns = 0
        self._last: dict[str, bytes] = {}
        self._encoded: dict[str, object] = {}
        self._done = dict.fromkeys(REGIONS, 0)
        self._overflowed = dict.fromkeys(REGIONS, 0)
        self._decisions: deque[bytes] = deque(maxlen=DECISIONS_KEPT)
        self._decisions_seen = 0
        self._instruments: list[bytes] = []
        self._instruments_next = 0
        self._turn = 0
        self._map = self._create()
        self._words = memoryview(self._map).cast("q")
        self._beat()

    def _create(self) -> mmap.mmap:
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            try:
                # Space is taken now: a store into a hole of a full file system is a SIGBUS.
                os.posix_fallocate(fd, 0, BOARD_BYTES)
                board = mmap.mmap(fd, BOARD_BYTES, mmap.MAP_SHARED | mmap.MAP_POPULATE)
            finally:
                os.close(fd)
            board[: len(MAGIC)] = MAGIC
            # Renamed last, so that no reader ever opens half a board.
            temporary.rename(self.path)
        except OSError as error:
            raise OperatorError(f"cannot create the board {self.path}: {error.strerror}",
                                suggestion="the run directory must exist and be writable") from error
        return board

    def publish(self, view: EngineView) -> None:
        """Write every region that changed; costs about 0.3 ms at two instruments."""
        start_ns = time.perf_counter_ns()
        self._instruments_next = 0
        for name, read in self._sources(view):
            self._publish_region(name, read)
        while self._instruments_next and self._publish_region("instruments", self._sources(view)[1][1]):
            pass
        self._note_publish(time.perf_counter_ns() - start_ns)

    def publish_next(self, view: EngineView) -> None:
        """Write the next region in turn, so that no pause of the loop is longer than one region takes.

        Called every PUBLISH_INTERVAL_S / len(REGIONS) it shows everything four times a second.
        """
        start_ns = time.perf_counter_ns()
        sources = self._sources(view)
        self._publish_region(*sources[self._turn % len(sources)])
        self._turn += 1
        self._note_publish(time.perf_counter_ns() - start_ns)

    def _publish_region(self, name: str, read: Callable[[str], tuple[bytes | None, bool]]) -> bool:
        """Write one region; False when the view failed."""
        try:
            payload, cut = read(name)
        except Exception as error:  # noqa: BLE001 -- see the class docstring; counted and shown with its text
            self._note_error(name, error)
            return False
        if cut:
            self._overflowed[name] += 1
            self.overflows += 1
        if payload is not None:
            self._write(name, payload)
        return True

    def _note_publish(self, took_ns: int) -> None:
        self.publishes += 1
        self.last_publish_ns = took_ns
        self.longest_publish_ns = max(self.longest_publish_ns, took_ns)
        self._beat()

    def _sources(self, view: EngineView) -> list[tuple[str, Callable[[str], tuple[bytes | None, bool]]]]:
        def plain(call: Callable[[], object]) -> Callable[[str], tuple[bytes | None, bool]]:
            return lambda name: encode(call(), REGIONS[name])

        def kept(call: Callable[[], object]) -> Callable[[str], tuple[bytes | None, bool]]:
            return lambda name: self._encode_if_other(name, call())

        return [
            ("status", plain(view.status)),
            ("instruments", lambda name: self._more_instruments(view, REGIONS[name])),
            ("books", plain(lambda: view.books(BOOK_LEVELS, limit=BOOKS_SHOWN))),
            ("positions", plain(view.positions)),
            ("equity", plain(view.equity)),
            ("orders", plain(lambda: _open_first(view))),
            ("approvals", plain(view.approvals)),
            ("fills", plain(lambda: view.fills(all_=True, limit=ROWS_SHOWN))),
            ("decisions", lambda name: self._new_decisions(view, REGIONS[name])),
            ("gates", plain(view.gates)),
            ("limits", kept(view.limits)),
            ("clusters", kept(view.clusters)),
            ("counters", plain(view.counters)),
            ("alert_limits", kept(view.alert_limits)),
            ("latency", plain(view.latency)),
            ("tape", plain(lambda: view.tape(TRADES_SHOWN))),
            ("models", plain(view.models)),
            ("opportunities", plain(lambda: view.opportunities(first=OPPORTUNITIES_SHOWN))),
        ]

    def _encode_if_other(self, name: str, value: object) -> tuple[bytes | None, bool]:
        """Encode what the view makes anew only when it has changed; the same object is what the region has."""
        if self._encoded.get(name) is value:
            return None, False
        encoded = encode(value, REGIONS[name])
        self._encoded[name] = value
        return encoded

    def _more_instruments(self, view: EngineView, capacity: int) -> tuple[bytes | None, bool]:
        """Read the next rows anew, the others stay as they were read last."""
        first = self._instruments_next
        rows = view.instruments(offset=first, limit=INSTRUMENTS_PER_PUBLISH)
        self._instruments[first:first + INSTRUMENTS_PER_PUBLISH] = [orjson.dumps(row, option=_JSON_OPTIONS) for row in rows]
        self._instruments_next = first + len(rows) if len(rows) == INSTRUMENTS_PER_PUBLISH else 0
        return _dump_list(self._instruments, capacity)

    def _new_decisions(self, view: EngineView, capacity: int) -> tuple[bytes | None, bool]:
        count = view.decision_count()
        new = min(count - self._decisions_seen, DECISIONS_PER_PUBLISH_MAX)
        if new <= 0:
            return (None if self._decisions else b"[]"), False
        for decision in reversed(view.decisions(new)):
            self._decisions.appendleft(orjson.dumps(decision, option=_JSON_OPTIONS))
        # A burst beyond the maximum is not shown whole: counted as a cut, and still in the journal.
        skipped = count - self._decisions_seen > new and self._decisions_seen > 0
        self._decisions_seen = count
        payload, cut = _dump_list(list(self._decisions), capacity)
        return payload, cut or skipped

    def _write(self, name: str, payload: bytes) -> None:
        if self._last.get(name) == payload:
            return
        offset, capacity = _PLACES[name]
        words, word = self._words, offset // WORD_BYTES
        write = self._done[name] + 1
        words[word + BEGUN] = write
        words[word + USED + write % 2] = len(payload)
        words[word + OVERFLOWED] = self._overflowed[name]
        data = offset + REGION_HEADER_BYTES + write % 2 * capacity
        self._map[data: data + len(payload)] = payload
        words[word + DONE] = write
        self._done[name] = write
        self._last[name] = payload

    def _note_error(self, name: str, error: Exception) -> None:
        self.view_errors += 1
        text = f"{name}: {type(error).__name__}: {error}".encode()[: ERROR_TEXT_BYTES - 1]
        end = ERROR_TEXT_OFFSET + ERROR_TEXT_BYTES
        self._map[ERROR_TEXT_OFFSET:end] = text.ljust(ERROR_TEXT_BYTES, b"\0")

    def _beat(self) -> None:
        words = self._words
        words[WRITER_PID] = os.getpid()
        words[PUBLISHES] = self.publishes
        words[OVERFLOWS] = self.overflows
        words[VIEW_ERRORS] = self.view_errors
        words[LAST_NS] = self.last_publish_ns
        words[LONGEST_NS] = self.longest_publish_ns
        words[BEAT_NS] = time.monotonic_ns()

    def close(self) -> None:
        """Unmap the board; the file stays, so that the last state can still be looked at."""
        self._words.release()
        self._map.close()


@dataclass(frozen=True, slots=True)
class BoardHealth:
    """The header of a board, as a reader sees it."""

    writer_pid: int
    age_ns: int  # since the last publish
    publishes: int
    overflows: int
    view_errors: int
    last_error: str
    last_publish_ns: int
    longest_publish_ns: int
    torn_reads: int

    @property
    def stale(self) -> bool:
        """True when the writer is gone or stuck."""
        return self.publishes == 0 or self.age_ns > STALE_AFTER_NS


class BoardReader:
    """Reads a board of another process; any number of readers may exist."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Map the board.

        Raises:
            OperatorError: no such file, or it is not a board of this version.
        """
        self.path = Path(path)
        self.torn_reads = 0
        self._inode = (0, 0)
        self._map = self._open()
        self._words = memoryview(self._map).cast("q")

    def _open(self) -> mmap.mmap:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise OperatorError(f"cannot open the board {self.path}: {error.strerror}",
                                suggestion="is the daemon running, and is this its run directory?") from error
        try:
            info = os.fstat(fd)
            head = os.pread(fd, len(MAGIC), 0)
            if not stat.S_ISREG(info.st_mode) or info.st_size != BOARD_BYTES or head != MAGIC:
                raise OperatorError(f"{self.path} is not a board of this version of cstd",
                                    suggestion="start daemon and reader from the same installation")
            self._inode = (info.st_dev, info.st_ino)
            return mmap.mmap(fd, BOARD_BYTES, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            os.close(fd)

    def reopen_if_replaced(self) -> bool:
        """Map the file anew when a restarted daemon put another one in its place; return whether it did."""
        try:
            info = self.path.stat()
        except FileNotFoundError:
            return False
        if (info.st_dev, info.st_ino) == self._inode:
            return False
        fresh = self._open()
        self.close()
        self._map, self._words = fresh, memoryview(fresh).cast("q")
        return True

    def health(self, now_mono_ns: int) -> BoardHealth:
        """Return the header; `now_mono_ns` is this host's CLOCK_MONOTONIC, which both processes share."""
        words = self._words
        text = self._map[ERROR_TEXT_OFFSET:ERROR_TEXT_OFFSET + ERROR_TEXT_BYTES].partition(b"\0")[0]
        return BoardHealth(
            writer_pid=words[WRITER_PID], age_ns=max(0, now_mono_ns - words[BEAT_NS]), publishes=words[PUBLISHES],
            overflows=words[OVERFLOWS], view_errors=words[VIEW_ERRORS], last_error=text.decode("utf-8", "replace"),
            last_publish_ns=words[LAST_NS], longest_publish_ns=words[LONGEST_NS], torn_reads=self.torn_reads)

    def version(self, name: str) -> int:
        """Return the region's counter; it moves when the content does."""
        return self._words[_PLACES[name][0] // WORD_BYTES + DONE]

    def read(self, name: str) -> tuple[int, bytes]:
        """Return (version, JSON bytes) of a region; version 0 and no bytes before its first publish.

        Raises:
            OperatorError: the writer overtook READ_TRIES copies running.
        """
        offset, capacity = _PLACES[name]
        words, word = self._words, offset // WORD_BYTES
        for _ in range(READ_TRIES):
            write = words[word + DONE]
            start = offset + REGION_HEADER_BYTES + write % 2 * capacity
            payload = self._map[start: start + min(words[word + USED + write % 2], capacity)]
            if words[word + BEGUN] <= write + 1:
                return write, payload
            self.torn_reads += 1
        raise OperatorError(f"region {name} of {self.path} changed during each of {READ_TRIES} reads",
                            suggestion="ask again; if it stays so, the daemon publishes far faster than it should")

    def overflowed(self) -> dict[str, int]:
        """Return how often each region was cut because it did not fit, cut ones only."""
        counts = {name: self._words[offset // WORD_BYTES + OVERFLOWED] for name, (offset, _) in _PLACES.items()}
        return {name: count for name, count in counts.items() if count}

    def close(self) -> None:
        """Unmap the board."""
        self._words.release()
        self._map.close()
