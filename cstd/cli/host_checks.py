"""What `cstd doctor` asks of the host: clock, processors, memory, disk, limits. Nothing is changed, nothing leaves the host."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cstd.cli.plan import host_memory_bytes, journal_plan, memory_plan
from cstd.config import Config
from cstd.storage.run_dir import JOURNAL_DIR
from cstd.units import NS_PER_MS

OK, WARNING, PROBLEM = "ok", "warning", "problem"
ROOT = Path("/")

# adjtimex(2): the kernel's clock discipline.
TIME_ERROR = 5
STA_UNSYNC, STA_NANO = 0x0040, 0x2000
CAP_IPC_LOCK = 14
# Clock sources that are read without leaving the processor; the others take a microsecond or a call of the hypervisor.
FAST_CLOCKS = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")
CPU_FEATURES = {"pclmulqdq": "book checksums", "sha_ni": "client order ids and the journal's chain", "avx2": "reading journals",
                "sse4_1": "book checksums"}
# The trading process has two sockets, a few REST connections, sixteen admin connections and its files; the reader process as
# many pages and scrapes as come. Below the first the daemon may fail to open a file, below the second pages may wait.
OPEN_FILES_MIN, OPEN_FILES_GOOD = 256, 1024


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: its state, what was found, what that means, and what to do ("" where nothing is)."""

    name: str
    state: str
    found: str
    means: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the daemon would run with and in; `root` is where /proc and /sys are looked for."""

    cfg: Config
    files: tuple[str, ...]
    run_dir: Path
    environ: Mapping[str, str]
    root: Path = ROOT

    def read(self, path: str) -> str:
        """Return a file of the kernel's, "" where it has none."""
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    @property
    def place(self) -> Path:
        """The run directory, or the nearest directory above it that there is."""
        path = self.run_dir.absolute()
        while not path.exists():
            path = path.parent
        return path

    @property
    def is_real(self) -> bool:
        """Whether money is at stake in this mode, or a market is followed as if it were."""
        return self.cfg.mode != "practice"


def looking(name: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Yield what a look at files finds; one that may not be looked at is a problem of that name."""
    try:
        yield from look()
    except OSError as error:
        yield Check(name, PROBLEM, str(error), "as this user the daemon could not use it either",
                    "its rights and those of the directories above it; or run this as the daemon's user")


def all_checks(on: Surroundings) -> Iterator[Check]:
    """Yield every check of the host."""
    yield system()
    yield clock_source(on)
    yield clock_sync(read_clock(), on)
    yield cpu_features(on)
    yield from cpus(on)
    yield governor(on)
    yield cpu_quota(on)
    yield memory(on, host_memory_bytes())
    yield memory_lock(on, resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])
    yield from looking("shared memory", lambda: [ring(on)])
    yield from looking("run directory", lambda: disk(on))
    yield open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def system() -> Check:
    """Return what this host is."""
    name = platform.uname()
    found = f"{name.system} {name.release}, {name.machine}, {os.cpu_count()} CPUs"
    if name.system != "Linux":
        return Check("system", PROBLEM, found, "the daemon needs Linux", "run it on a Linux host")
    if name.machine != "x86_64":
        return Check("system", WARNING, found, "the compiled core takes its portable ways here; it is measured on x86-64",
                     "expect other latencies than the README's")
    return Check("system", OK, found, "what the daemon is built and measured for")


def clock_source(on: Surroundings) -> Check:
    """Return by what the kernel counts time: every event reads it."""
    name = "sys/devices/system/clocksource/clocksource0"
    current, others = on.read(f"{name}/current_clocksource"), on.read(f"{name}/available_clocksource")
    if not current:
        return Check("clock source", WARNING, "the kernel does not tell", "reading the time may be slow", "see `dmesg`")
    if current in FAST_CLOCKS:
        return Check("clock source", OK, current, "time is read without leaving the processor")
    return Check("clock source", WARNING, f"{current} (there are {others})", "each reading of the time takes about a microsecond",
                 "a host whose TSC is stable; see `dmesg | grep -i tsc`")


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What adjtimex says. state: its answer, -1 where it failed. Offset and errors in ns."""

    state: int
    status: int
    offset_ns: int
    maxerror_ns: int
    why: str = ""


class _Timex(ctypes.Structure):
    _fields_ = (("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("freq", ctypes.c_long), ("maxerror", ctypes.c_long),
                ("esterror", ctypes.c_long), ("status", ctypes.c_int), ("rest", ctypes.c_char * 256))


def read_clock() -> ClockReading:
    """Return the kernel's clock discipline; it is only read."""
    timex = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "adjtimex"):
        return ClockReading(-1, 0, 0, 0, "this system has no adjtimex")
    state = libc.adjtimex(ctypes.byref(timex))
    if state < 0:
        return ClockReading(-1, 0, 0, 0, os.strerror(ctypes.get_errno()))
    unit_ns = 1 if timex.status & STA_NANO else 1_000
    return ClockReading(state, timex.status, timex.offset * unit_ns, timex.maxerror * 1_000)


def clock_sync(clock: ClockReading, on: Surroundings) -> Check:
    """Return whether something keeps the clock, and how far off it may be by its own account."""
    limit_ms = on.cfg.risk.clock_offset_ms_max
    means = (f"an order's deadline is wall time: beyond risk.clock_offset_ms_max = {limit_ms} ms from the venue's clock "
             "nothing opens")
    todo = "run chrony, systemd-timesyncd or a PTP client; `cstd doctor --venue` measures the offset"
    if clock.state < 0:
        return Check("clock", WARNING, f"the kernel does not tell whether it is kept ({clock.why})", means, todo)
    if clock.state == TIME_ERROR or clock.status & STA_UNSYNC:
        return Check("clock", PROBLEM if on.cfg.mode == "live" else WARNING,
                     "not synchronised, says the kernel: nothing on this host keeps it, or its keeper has lost its sources",
                     means, todo)
    found = (f"synchronised, {clock.offset_ns / NS_PER_MS:+.3f} ms to go, off by at most "
             f"{clock.maxerror_ns / NS_PER_MS:.1f} ms by its own account")
    if clock.maxerror_ns > limit_ms * NS_PER_MS:
        return Check("clock", WARNING, found, means, "closer sources; see `chronyc tracking` or `timedatectl timesync-status`")
    return Check("clock", OK, found, means)


def cpu_features(on: Surroundings) -> Check:
    """Return what the processor has of what the compiled core uses where it is there."""
    if platform.machine() != "x86_64" and on.root == ROOT:
        return Check("CPU features", OK, "portable code is used on this machine", "slower than on x86-64, the same results")
    flags = next((line.partition(":")[2].split() for line in on.read("proc/cpuinfo").splitlines()
                  if line.startswith("flags")), [])
    missing = [name for name in CPU_FEATURES if name not in flags]
    found = ", ".join(name for name in CPU_FEATURES if name in flags) or "none"
    if not missing:
        return Check("CPU features", OK, found, "checksums and hashes are computed in hardware")
    slower = ", ".join(f"{name} ({CPU_FEATURES[name]})" for name in missing)
    return Check("CPU features", WARNING, f"{found}; missing: {slower}", "slower, with the same results",
                 "another host, or a hypervisor that passes them on")


def cpus(on: Surroundings) -> Iterator[Check]:
    """Yield where the trading thread may run, and whether it has that CPU for itself."""
    allowed, wanted = sorted(os.sched_getaffinity(0)), on.cfg.process.cpus
    found = f"{len(allowed)} of {os.cpu_count()} may be used: {_ranges(allowed)}"
    missing = [cpu for cpu in wanted if cpu not in allowed]
    if missing:
        yield Check("CPUs", PROBLEM, f"{found}; process.cpus wants {_ranges(missing)}", "the daemon refuses to start",
                    "CPUAffinity= of the unit, or another process.cpus")
    elif len(allowed) < 2:
        yield Check("CPUs", WARNING, found, "the page, the ledger and checkpoints run on the trading thread's CPU",
                    "a host with two CPUs at least")
    else:
        yield Check("CPUs", OK, found, "the trading thread has one, its children the others")
    isolated = _cpu_list(on.read("sys/devices/system/cpu/isolated"))
    if not wanted:
        state = WARNING if on.cfg.process.busy_poll else OK
        yield Check("CPU isolation", state, "process.cpus is empty: the trading thread is not pinned",
                    "other programs may take its CPU for some milliseconds at a time (docs/tail.md)",
                    "process.cpus with a CPU of its own: busy_poll takes a whole one" if state == WARNING else "")
    elif set(wanted) <= isolated:
        yield Check("CPU isolation", OK, f"{_ranges(wanted)} is isolated", "nothing else runs there")
    else:
        shared = sorted(set(wanted) - isolated)
        yield Check("CPU isolation", WARNING, f"pinned to {_ranges(wanted)}; {_ranges(shared)} is not isolated",
                    "other programs run there too", f"isolcpus={_ranges(wanted)} on the kernel's command line, or a cpuset")


def governor(on: Surroundings) -> Check:
    """Return whether CPUs sleep and slow down between frames."""
    cpus_ = on.cfg.process.cpus or sorted(os.sched_getaffinity(0))
    found = {cpu: on.read(f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor") for cpu in cpus_}
    slow = {cpu: name for cpu, name in found.items() if name and name != "performance"}
    if slow:
        return Check("CPU governor", WARNING, ", ".join(f"CPU {cpu}: {name}" for cpu, name in list(slow.items())[:8]),
                     "a CPU that slowed down takes the first frame after a pause late", "`cpupower frequency-set -g performance`")
    named = "performance" if any(found.values()) else "the kernel shows none (as on most virtual machines)"
    return Check("CPU governor", OK, named, "frequencies are not lowered from here")


def cpu_quota(on: Surroundings) -> Check:
    """Return whether a control group takes the CPU away for parts of a second: this process's own, or one around it."""
    own = next((line[3:] for line in on.read("proc/self/cgroup").splitlines() if line.startswith("0::")), "/")
    for group in (Path(own), *Path(own).parents):
        quota = on.read(f"sys/fs/cgroup{group}/cpu.max")
        if quota and not quota.startswith("max"):
            limit_us, _, period_us = quota.partition(" ")
            return Check("CPU quota", WARNING, f"{limit_us} us in each {period_us} us ({group})",
                         "once used up, the whole process stands still",
                         "CPUWeight= instead of CPUQuota=; in a container no CPU limit")
    return Check("CPU quota", OK, "none", "the process is never throttled")


def memory(on: Surroundings, host_bytes: int) -> Check:
    """Return whether the configuration fits into memory."""
    total = sum(memory_plan(on.cfg).values())
    found = f"{total:,} bytes wanted of {host_bytes:,}"
    if total > host_bytes:
        return Check("memory", PROBLEM, found, "the daemon refuses to start",
                     "fewer instruments, a smaller depth or journal.ring_bytes")
    if 2 * total > host_bytes:
        return Check("memory", WARNING, found, "more than half of this host's",
                     "leave room for the page cache and other programs")
    return Check("memory", OK, found, "`cstd config check` lists it")


def memory_lock(on: Surroundings, limit_bytes: int) -> Check:
    """Return whether the process may keep its pages in memory."""
    if not on.cfg.process.lock_memory:
        return Check("memory lock", OK, "process.lock_memory = false", "pages may be taken away and read in again, late")
    need = sum(memory_plan(on.cfg).values())
    may = any(line.startswith("CapEff:") and int(line.split()[1], 16) >> CAP_IPC_LOCK & 1
              for line in on.read("proc/self/status").splitlines())
    if limit_bytes == resource.RLIM_INFINITY or may:
        return Check("memory lock", OK, "no limit" if limit_bytes == resource.RLIM_INFINITY else "privileged (CAP_IPC_LOCK)",
                     "the trading process keeps its pages in memory")
    found = f"at most {limit_bytes:,} bytes, about {need:,} are wanted"
    if limit_bytes >= need:
        return Check("memory lock", OK, found, "the trading process keeps its pages in memory")
    return Check("memory lock", WARNING, found, "the daemon runs unlocked, and a page that was taken away comes back late",
                 "LimitMEMLOCK=infinity of the unit, or `ulimit -l unlimited`")


def ring(on: Surroundings) -> Check:
    """Return whether the journal's ring has room where it lies, in memory."""
    from cstd.daemon.ring_place import ring_path

    path = ring_path(on.place)
    usage = shutil.disk_usage(path.parent)
    ours = ring_path(on.run_dir.resolve()) if on.run_dir.exists() else path
    there = ours.stat().st_size if ours.exists() else 0
    found = f"{path.parent} has {usage.free:,} of {usage.total:,} bytes free, journal.ring_bytes = {on.cfg.journal.ring_bytes:,}"
    if usage.free + there < on.cfg.journal.ring_bytes:
        return Check("shared memory", PROBLEM, found, "the daemon cannot make the ring and does not start",
                     "a smaller journal.ring_bytes, or more room: in a container --shm-size")
    return Check("shared memory", OK, found, "the journal's ring is written in memory, and survives the process")


def disk(on: Surroundings) -> Iterator[Check]:
    """Yield whether the run directory can be written, and for how long the journal has room."""
    journal = on.run_dir / JOURNAL_DIR
    place = journal.resolve() if journal.exists() else on.place
    plan = journal_plan(on.cfg, None, place)
    floor, free = on.cfg.journal.disk_free_bytes_min, plan["bytes_free"]
    if not os.access(on.place, os.W_OK | os.X_OK):
        yield Check("run directory", PROBLEM, f"{on.place} is not yours to write", "the daemon does not start",
                    "another [run] dir, or its rights")
    elif on_tmpfs(on, place):
        yield Check("run directory", WARNING, f"{place} is in memory (tmpfs)", "the journal is gone with the power",
                    "make DIR/journal a link to a directory on a disk, as the unit file does")
    else:
        there = "" if on.run_dir.exists() else ", not there yet"
        yield Check("run directory", OK, f"{on.run_dir}{there}", "it can be written")
    found = f"{free:,} bytes free at {place}, journal.disk_free_bytes_min = {floor:,}"
    days = f"about {plan['bytes_per_day_about'] / 1e9:.1f} GB of journal a day"
    if free < floor:
        yield Check("disk", PROBLEM, found, "trading halts at once", "free some, or another disk")
    elif plan["days_until_halt"] < 1:
        yield Check("disk", WARNING, found, f"{days}: trading would halt in {plan['days_until_halt']} days",
                    "journal.keep_bytes, a larger disk, or `cstd config check --frames-per-s` with your own rate")
    else:
        yield Check("disk", OK, found, f"{days}: {plan['days_until_halt']} days until trading halts")


def on_tmpfs(on: Surroundings, path: Path) -> bool:
    """Return whether a path is on a file system in memory."""
    best = ("", "")
    for line in on.read("proc/self/mounts").splitlines():
        _, mount, kind, *_ = line.split()
        if (f"{path}/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1] in ("tmpfs", "ramfs")


def open_files(limit: int) -> Check:
    """Return whether a process may open enough files and sockets."""
    if limit == resource.RLIM_INFINITY or limit >= OPEN_FILES_GOOD:
        return Check("open files", OK, "no limit" if limit == resource.RLIM_INFINITY else f"at most {limit:,}", "enough")
    return Check("open files", PROBLEM if limit < OPEN_FILES_MIN else WARNING, f"at most {limit:,}",
                 "connections and files could fail to open while it trades", "LimitNOFILE=4096 of the unit, or `ulimit -n 4096`")


def _cpu_list(text: str) -> set[int]:
    """Return the CPUs of a list as the kernel writes it: 0-3,7."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _ranges(numbers: list[int]) -> str:
    """Return a list of CPUs as the kernel writes it."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts) or "none"
