"""How the trading process sits on its host: CPUs, memory, garbage, polling.

Each is an option of `[process]`; docs/tail.md says what it is for and bench/tail.py measures it. What the host does not
permit is said once in the log and the daemon goes on: none of it is needed to be right, only to be even.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
import socket
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from cstd._fast.hist import bucket_edges_ns
from cstd.config.schema import ProcessConfig

TASKS = Path("/proc/self/task")
STATUS = Path("/proc/self/status")
MCL_CURRENT, MCL_ONFAULT = 1, 4
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
HEAP_KEPT_BYTES = 256 * 1024 * 1024
MAPPED_FROM_BYTES = 4 * 1024 * 1024
SO_BUSY_POLL = getattr(socket, "SO_BUSY_POLL", 46)
BUSY_POLL_US = 50
# Objects made since the last collection before a tick collects the young ones: CPython's own threshold.
YOUNG_MIN = 700
MIDDLE_TICKS = 50
FULL_TICKS = 600


class Placement:
    """Which CPUs are the trading thread's, and which are left for its other threads and for child processes."""

    def __init__(self, cpus: Collection[int]) -> None:
        allowed = os.sched_getaffinity(0)
        self.pinned = frozenset(cpus)
        self.rest = frozenset(allowed - self.pinned) or frozenset(allowed)

    def pin(self, log: Any) -> None:
        """Put the calling thread on its CPUs and every other thread of the process on the rest; without any, do nothing."""
        if not self.pinned:
            return
        try:
            for task in TASKS.iterdir():
                if int(task.name) != os.getpid():
                    os.sched_setaffinity(int(task.name), self.rest)
            os.sched_setaffinity(0, self.pinned)
        except OSError as error:
            log.warning("not pinned", cpus=sorted(self.pinned), error=error.strerror)

    def place_child(self, pid: int, log: Any) -> None:
        """Put a new child process on the rest: it has inherited the pinned CPUs."""
        if not self.pinned:
            return
        try:
            os.sched_setaffinity(pid, self.rest)
        except OSError as error:
            log.warning("child not placed", pid=pid, cpus=sorted(self.rest), error=error.strerror)


def lock_memory(log: Any) -> bool:
    """Keep the pages that the process has, and those it will touch in its present mappings, in memory.

    Mappings made later are not locked: with the limit reached, an allocation would fail instead. The heap is told to keep
    what it once had: OpenSSL takes and gives back a buffer for every TLS record, and glibc would return the top of the heap
    to the kernel time and again, to fault it in anew.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc's; another libc has its own ways
        libc.mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_BYTES)
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)
    if ctypes.CDLL(None, use_errno=True).mlockall(MCL_CURRENT | MCL_ONFAULT) == 0:
        return True
    limit_bytes = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    log.warning("memory is not locked", error=os.strerror(ctypes.get_errno()), rlimit_memlock_bytes=limit_bytes,
                needed_bytes=status_bytes("VmSize"), suggestion="LimitMEMLOCK= of the unit, or process.lock_memory = false")
    return False


def status_bytes(field: str) -> int:
    """Return a size of this process from /proc/self/status, in bytes."""
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


class GarbageCollection:
    """When Python looks for garbage.

    `timer`: never inside an allocation; after a tick, when the tick was in time. What survives a full collection is
    frozen, so that a collection looks at a minute's objects and not at a day's. Frozen objects are freed like all others
    when nothing refers to them; only a cycle that dies after its freezing stays, and such are looked for again while there
    is no market to be late for (`everything`). `automatic`: Python's own policy, after the start's objects were frozen.
    """

    def __init__(self, policy: str) -> None:
        self._by_timer = policy == "timer"
        self._ticks = 0
        self._began_ns = 0
        self.count = 0
        self.total_ns = 0
        self.longest_ns = 0

    def start(self) -> None:
        """Collect and freeze what the start has made; from here on collections are counted and timed."""
        gc.collect()
        gc.freeze()
        if self._by_timer:
            gc.disable()
        gc.callbacks.append(self._note)

    def stop(self) -> None:
        """Leave Python's own policy behind."""
        if self._note in gc.callbacks:
            gc.callbacks.remove(self._note)
        gc.enable()

    def tick(self, lag_ns: int, tick_ns: int) -> None:
        """Collect what is due, after a tick that came `lag_ns` late; a tick that is a whole one late only counts."""
        if not self._by_timer:
            return
        self._ticks += 1
        if lag_ns >= tick_ns:
            return
        if self._ticks >= FULL_TICKS:
            self._ticks = 0
            gc.collect()
            gc.freeze()
        elif self._ticks % MIDDLE_TICKS == 0:
            gc.collect(1)
        elif gc.get_count()[0] >= YOUNG_MIN:
            gc.collect(0)

    def everything(self) -> None:
        """Look at all objects, frozen ones too; for a moment in which nothing can be late."""
        if self._by_timer:
            gc.unfreeze()
            gc.collect()
            gc.freeze()

    def _note(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._began_ns = time.perf_counter_ns()
            return
        took_ns = time.perf_counter_ns() - self._began_ns
        self.count += 1
        self.total_ns += took_ns
        self.longest_ns = max(self.longest_ns, took_ns)


class LoopLag:
    """How late ticks came, in the buckets of the stage histograms. A timer of the loop is a millisecond coarse."""

    def __init__(self) -> None:
        self._edges_ns = bucket_edges_ns()
        self.counts = np.zeros(len(self._edges_ns), dtype=np.int64)
        self.sum_ns = 0
        self.last_ns = 0

    def note(self, lag_ns: int) -> None:
        """Take one tick's lag."""
        self.last_ns = max(0, lag_ns)
        self.sum_ns += self.last_ns
        bucket = int(np.searchsorted(self._edges_ns, self.last_ns, side="right"))
        self.counts[min(bucket, len(self.counts) - 1)] += 1


class BusyPoll:
    """Keeps the loop from sleeping: a callback that is always due makes it poll its sockets without waiting.

    The loop still runs its timers, signals and other callbacks on every turn, so nothing starves; it takes a whole CPU.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, on: bool) -> None:
        self.on = on
        self._loop = loop
        self._told = False

    def start(self) -> None:
        """Begin, when it is on."""
        if self.on:
            self._turn()

    def stop(self) -> None:
        """Let the loop sleep again."""
        self.on = False

    def _turn(self) -> None:
        if self.on:
            self._loop.call_soon(self._turn)

    def watch(self, transport: Any, log: Any) -> None:
        """Ask the kernel to poll the device of a new connection too, where the privilege is there."""
        if not self.on:
            return
        try:
            transport.underlying_transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, SO_BUSY_POLL, BUSY_POLL_US)
        except OSError as error:
            if not self._told:
                self._told = True
                log.warning("sockets are not polled by the kernel", error=error.strerror, option="SO_BUSY_POLL",
                            suggestion="CAP_NET_ADMIN, or sysctl net.core.busy_read")


class Host:
    """The options of `[process]`, applied. Made on the trading thread; `settle` once everything is there."""

    def __init__(self, cfg: ProcessConfig, log: Any) -> None:
        self._cfg = cfg
        self._log = log
        self.placement = Placement(cfg.cpus)
        self.garbage = GarbageCollection(cfg.gc)
        self.lag = LoopLag()
        self.busy_poll: BusyPoll | None = None

    def settle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Freeze the start's objects, lock memory, pin, begin to poll: the last step before trading."""
        self.garbage.start()
        locked = lock_memory(self._log) if self._cfg.lock_memory else False
        self.placement.pin(self._log)
        self.busy_poll = BusyPoll(loop, on=self._cfg.busy_poll)
        self.busy_poll.start()
        self._log.info("settled", cpus=sorted(os.sched_getaffinity(0)), memory_locked=locked, gc=self._cfg.gc,
                       busy_poll=self._cfg.busy_poll)

    def place_child(self, pid: int) -> None:
        """Put a new child process on the CPUs that are not pinned."""
        self.placement.place_child(pid, self._log)

    def on_link(self, transport: Any) -> None:
        """Set what belongs to a new connection."""
        if self.busy_poll is not None:
            self.busy_poll.watch(transport, self._log)

    def tick(self, lag_ns: int, tick_ns: int) -> None:
        """Note a tick's lag and collect garbage that is due."""
        self.lag.note(lag_ns)
        self.garbage.tick(lag_ns, tick_ns)

    def stop(self) -> None:
        """Give the loop and the collector back as they were."""
        if self.busy_poll is not None:
            self.busy_poll.stop()
        self.garbage.stop()
