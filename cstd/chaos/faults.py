"""The faults: what each needs of the host, what it does to a session that trades, and what must be true while it lasts.

Each begins at an order that is out or right after a fill, and leaves the session able to recover. What must be true afterwards
is the same for all and stands in `campaign`.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from abc import ABC, abstractmethod
from decimal import Decimal
from pathlib import Path

from cstd.chaos.host import NotPossibleError, OwnNetwork, Shim, SmallDisk
from cstd.chaos.judge import OPEN_STATUSES
from cstd.chaos.moments import MOMENTS, wait_moment
from cstd.chaos.session import NotReachedError, Session
from cstd.chaos.tally import DeadmanTrials
from cstd.config import Config, load
from cstd.units import NS_PER_S
from cstd.venue.backoff import Liveness
from cstd.venue.rest.lane import READ_TIMEOUT_NS
from cstd.venue.subscriptions import ACK_WAIT_NS

READY_S = 60.0
HALTED_S = 60.0
DEADMAN_S = 15  # the least that a configuration may say
STOPPED_BEYOND_S = 5.0
OUTLIVES_DEADMAN_S = 25  # an opening's life, where what ends it after a kill is to be the dead man's switch
LEFT_ALONE = 0.5  # share of the kills with resting orders after which nobody starts the daemon before the switch fired
DEADMAN_LATE_S = 1.0  # of the switch's own timer and of our polling
CUT_S = 18
STEPS_S = (120, -120, 600)
STEPPED_S = 6.0
VENUE_S = 45.0
SETTLED_S = 1.0  # from a halt until no order that was decided before it can be on its way
CHILD_BACK_S = 60.0
DISK_BYTES = 48 << 20  # the floor of free bytes may not be below 16 MiB
SEGMENT_BYTES = 1 << 20
START_SPAN_S = 2.5  # a start takes about so long: a kill within it meets recovery and reconciliation


class Fault(ABC):
    """One kind of fault; what does not say how it strikes cannot be made.

    Attributes:
        name: on the command line. env: configuration of the session's processes. daemon_env: environment of the daemon alone.
        prefix: words before each command of the session. how: said with the result when there is more than one way.
        must_be_real: nothing lesser may be done in its place.
    """

    name = ""
    must_be_real = False

    def __init__(self) -> None:
        self.env: dict[str, str] = {}
        self.daemon_env: dict[str, str] = {}
        self.prefix: list[str] = []
        self.how = ""

    def prepare(self, run_dir: Path) -> None:  # noqa: B027 -- most faults need nothing of the host
        """Make what it needs of the host; raises NotPossibleError when that is not to be had."""

    @abstractmethod
    def strike(self, session: Session, chance: random.Random) -> int:
        """Do it, and leave the session able to recover; returns how many faults that were.

        Raises:
            NotReachedError: what must be true while it lasts was not.
        """

    def clean(self, *, keep: bool) -> None:  # noqa: B027 -- and leave nothing there
        """Take away what `prepare` made; with `keep` what it holds of the session is kept."""


def _moment(session: Session, chance: random.Random) -> str:
    found = wait_moment(session, chance.choice(MOMENTS))
    time.sleep(chance.uniform(0.0, 0.05))
    return found


def _opened_since(session: Session, wall_ns: int) -> list[str]:
    return [row["cl_ord_id"] for row in session.rows("orders")
            if row["kind"] == "opening" and (row["sent_wall_ns"] or 0) > wall_ns]


def _must_not_open(session: Session, since_ns: int, seconds: float, why: str) -> None:
    """Wait, then see that nothing was opened since."""
    time.sleep(seconds)
    opened = _opened_since(session, since_ns)
    if opened:
        raise NotReachedError(f"orders were opened {why}: {', '.join(opened)}\n{session.log_tail()}")


def _wait_fill(session: Session, when: str) -> None:
    """Wait for one more fill: it trades on."""
    fills = len(session.rows("fills"))
    session.wait(lambda: len(session.rows("fills")) > fills, READY_S, f"no fill {when}")


class KillNine(Fault):
    """SIGKILL at random moments, also while a start recovers; the next start goes on.

    Attributes:
        moments: how often at which moment. deadman: what became of the orders that rested when the daemon died.
    """

    name = "kill9"

    def __init__(self) -> None:
        super().__init__()
        self.env = {"CSTD__VENUE__DEADMAN_TIMEOUT_S": str(DEADMAN_S),
                    "CSTD__STRATEGY__REHEARSAL__LIFETIME_S": str(OUTLIVES_DEADMAN_S)}
        self.moments: dict[str, int] = {}
        self.deadman = DeadmanTrials(DEADMAN_S)

    def strike(self, session: Session, chance: random.Random) -> int:
        """Kill at one moment, now and then leave the orders to the venue, or kill the start that follows, and start again."""
        found = _moment(session, chance)
        session.kill_nine()
        died_s = time.monotonic()
        self._count(found)
        kills = 1
        resting = sorted(session.tell_exchange("open"))
        if resting:
            self.deadman.resting += 1
            if chance.random() < LEFT_ALONE:
                self._leave_alone(session, resting, died_s)
        if chance.random() < 0.2:
            session.start()
            time.sleep(chance.uniform(0.0, START_SPAN_S))
            session.kill_nine()
            self._count("starting")
            kills += 1
        session.start()
        return kills

    def _leave_alone(self, session: Session, resting: list[str], died_s: float) -> None:
        """Wait for the venue to clear what rests. It matches nothing meanwhile, and with the daemon dead nobody else cancels."""
        session.tell_exchange("system", state="cancel_only")
        session.wait(lambda: not session.tell_exchange("open"), DEADMAN_S + DEADMAN_LATE_S,
                     f"the dead man's switch left open what it had to cancel of {', '.join(resting)}")
        took_s = time.monotonic() - died_s
        session.tell_exchange("system", state="online")
        ends = {row["cl_ord_id"]: row["status"] for row in session.fresh_truth()["orders"]}
        self.deadman.add(took_s, by_switch=any(ends[cl_ord_id] == "canceled" for cl_ord_id in resting))

    def _count(self, moment: str) -> None:
        self.moments[moment] = self.moments.get(moment, 0) + 1


def timeouts(config: Config) -> dict[str, float]:
    """Return what a configuration and the program let pass before they give up waiting, in seconds, by its name.

    Windows that are looked back on (of a gate, of a day) are no timeouts, nor are pauses between two tries.
    """
    rehearsal = config.strategy.rehearsal
    found: dict[str, Decimal | float] = {
        "venue.deadman_timeout_s": config.venue.deadman_timeout_s, "venue.unknown_absent_s": config.venue.unknown_absent_s,
        "risk.silence_s": config.risk.silence_s, "risk.evidence_s": config.risk.evidence_s,
        "strategy.rehearsal.lifetime_s": rehearsal.lifetime_s if rehearsal is not None else 0,
        "policy.rest_price_after_s": config.policy.rest_price_after_s, "exits.step_wait_s": config.exits.step_wait_s,
        "silence that closes a link": Liveness.CLOSE_NS / NS_PER_S, "a read by REST": READ_TIMEOUT_NS / NS_PER_S,
        "the answer to a subscription": ACK_WAIT_NS / NS_PER_S,
    }
    return {name: float(seconds) for name, seconds in found.items()}


class Stop(Fault):
    """SIGSTOP for longer than every timeout, the venue's dead man's switch included, then SIGCONT."""

    name = "stop"

    def __init__(self) -> None:
        super().__init__()
        # The longest of a shipped configuration, shortened: what is stopped for longer than them takes less than half a minute.
        self.env = {"CSTD__VENUE__DEADMAN_TIMEOUT_S": str(DEADMAN_S), "CSTD__RISK__SILENCE_S": str(DEADMAN_S)}

    def strike(self, session: Session, chance: random.Random) -> int:
        """Stop the process, let every timeout pass, and see that the venue has canceled what was open."""
        found = timeouts(load([str(session.config)], session.env))
        longest = max(found, key=lambda name: found[name])
        stopped_s = found[longest] + STOPPED_BEYOND_S
        self.how = f"stopped {stopped_s:g} s; the longest of {len(found)} timeouts is {longest}, {found[longest]:g} s"
        _moment(session, chance)
        daemon = session.running_daemon()
        daemon.send_signal(signal.SIGSTOP)
        try:
            time.sleep(stopped_s)
            left = [row["cl_ord_id"] for row in session.fresh_truth()["orders"] if row["status"] in OPEN_STATUSES]
        finally:
            daemon.send_signal(signal.SIGCONT)
        if left:
            raise NotReachedError(f"open {stopped_s:g} s after the process stopped, whatever the dead man's switch: {left}")
        return 1


class DiskFull(Fault):
    """The journal's own small disk is filled to the last byte; later there is space again and the operator restarts."""

    name = "disk-full"

    def __init__(self) -> None:
        super().__init__()
        self.env = {"CSTD__JOURNAL__SEGMENT_BYTES": str(SEGMENT_BYTES), "CSTD__JOURNAL__DISK_FREE_BYTES_MIN": str(1 << 24)}
        self._disk: SmallDisk | None = None

    def prepare(self, run_dir: Path) -> None:
        """Mount the small disk where the journal will be."""
        self._disk = SmallDisk(run_dir / "journal", DISK_BYTES)

    def strike(self, session: Session, chance: random.Random) -> int:
        """Fill it, see the halt and the writer's own error, see that nothing opens, free it, restart."""
        assert self._disk is not None
        _moment(session, chance)
        self._disk.fill()
        session.wait_state("halted", HALTED_S)
        halted_ns = time.time_ns() + int(SETTLED_S * NS_PER_S)
        session.wait(lambda: session.request("status")["journal"]["error"] is not None, HALTED_S,
                     "the journal's writer met no full disk")
        _must_not_open(session, halted_ns, 3.0, "on a full disk")
        self._disk.free()
        _restart(session)
        _resume(session)
        return 1

    def clean(self, *, keep: bool) -> None:
        """Unmount it."""
        if self._disk is not None:
            self._disk.remove(keep=keep)


class Preloaded(Fault):
    """A fault that a library between the daemon and the C library makes."""

    def __init__(self) -> None:
        super().__init__()
        self._shim: Shim | None = None

    def prepare(self, run_dir: Path) -> None:
        """Build the preloaded library."""
        self._shim = Shim(run_dir)
        self.daemon_env = self._shim.env

    def clean(self, *, keep: bool) -> None:
        """Let go of the control file."""
        if self._shim is not None:
            self._shim.remove()


class FsyncFailing(Preloaded):
    """Every fsync and fdatasync of the daemon fails with EIO; later they work and the operator restarts."""

    name = "fsync-failing"

    def strike(self, session: Session, chance: random.Random) -> int:
        """Let syncs fail, see the halt, see that nothing opens, let them work, and restart by SIGTERM or kill -9."""
        assert self._shim is not None
        _moment(session, chance)
        self._shim.fail_syncs(errno.EIO)
        try:
            session.wait_state("halted", HALTED_S)
            if self._shim.sync_failures == 0:
                raise NotPossibleError("the preloaded library was not used: no sync failed by it")
            _must_not_open(session, time.time_ns() + int(SETTLED_S * NS_PER_S), 3.0, "while nothing reached the disk")
        finally:
            self._shim.fail_syncs(0)
        if chance.random() < 0.5:
            self.how = "ended by SIGTERM"
            _restart(session)
        else:
            self.how = "ended by kill -9"
            session.kill_nine()
            session.start()
        _resume(session)
        return 1


def _restart(session: Session) -> None:
    """Stop as an operator does, and start again; a daemon that could not save everything may say so by its exit code."""
    session.terminate(READY_S)
    session.start()


def _resume(session: Session) -> None:
    """See that the halt outlived the restart, as the operator's own it must, and end it as an operator does."""
    session.wait_state("halted", READY_S)
    session.request("resume")


class NetCut(Fault):
    """No packet passes between daemon and exchange for a while, and neither is told."""

    name = "net-cut"

    def __init__(self) -> None:
        super().__init__()
        self.env = {"CSTD__VENUE__DEADMAN_TIMEOUT_S": str(DEADMAN_S)}
        self._network: OwnNetwork | None = None

    def prepare(self, run_dir: Path) -> None:
        """Make a network namespace for the session; without the right to, the exchange will refuse connections instead.

        That is less than a cut network: where the fault must be real it does not count.
        """
        try:
            self._network = OwnNetwork()
        except NotPossibleError as error:
            if self.must_be_real:
                raise
            self.how = f"by the exchange dropping and refusing connections, not by the network: {error}"
            return
        self.prefix = self._network.prefix
        self.how = "loopback down in a network namespace"

    def strike(self, session: Session, chance: random.Random) -> int:
        """Cut, see that the daemon notices and sends no opening into the dead link, and join again."""
        _moment(session, chance)
        since_ns = time.time_ns() + int((10.0 + SETTLED_S) * NS_PER_S)  # 10 s of silence are what tells a dead link
        until_s = time.monotonic() + CUT_S - SETTLED_S
        if self._network is None:
            for server in ("ws_public", "ws_private"):
                session.tell_exchange("refuse", server=server, seconds=CUT_S)
            self._watch(session, since_ns, until_s)
            return 1
        self._network.cut()
        try:
            self._watch(session, since_ns, until_s)
        finally:
            self._network.join()
        return 1

    def _watch(self, session: Session, since_ns: int, until_s: float) -> None:
        session.wait(lambda: session.state() not in ("ready", ""), CUT_S, "the cut was not noticed")
        _must_not_open(session, since_ns, max(0.0, until_s - time.monotonic()), "while the network was cut")

    def clean(self, *, keep: bool) -> None:
        """End the namespace."""
        if self._network is not None:
            self._network.remove()


class ClockStep(Preloaded):
    """The daemon's wall clock jumps ahead and back; its monotonic clock, and the exchange's clocks, do not."""

    name = "clock-step"

    def strike(self, session: Session, chance: random.Random) -> int:
        """Step there and back again several times, each step at an order or a fill."""
        assert self._shim is not None
        for step_s in STEPS_S:
            _moment(session, chance)
            before = {row["cl_ord_id"] for row in session.rows("orders")}
            self._shim.step_wall(step_s * NS_PER_S)
            session.wait(lambda step_s=step_s: abs(session.request("status")["wall_ns"] - time.time_ns()  # type: ignore[misc]
                                                   - step_s * NS_PER_S) < 30 * NS_PER_S, 30.0, "the clock did not step")
            time.sleep(STEPPED_S)
            opened = [row["cl_ord_id"] for row in session.rows("orders") if row["kind"] == "opening"
                      and row["cl_ord_id"] not in before and abs(row["sent_wall_ns"] - time.time_ns()) > 60 * NS_PER_S]
            self._shim.step_wall(0)
            if opened:
                raise NotReachedError(f"orders were opened with the clock {step_s} s off: {', '.join(opened)}")
            session.wait_state("ready", READY_S)
            _wait_fill(session, f"after the clock was {step_s} s off")
        return len(STEPS_S)


class Children(Fault):
    """Each child of the daemon is killed, one by one, while trading goes on; each comes back."""

    name = "children"

    def strike(self, session: Session, chance: random.Random) -> int:
        """Kill each child, see that the daemon is the same, that it trades on, and that there is a child again."""
        # Not all are there at *ready*: what need not be waited for starts after it.
        _wait_fill(session, "before a child was killed")
        pid, epoch, children = session.running_daemon().pid, session.request("status")["boot_epoch"], session.children()
        for child in children:
            _moment(session, chance)
            os.kill(child, signal.SIGKILL)
            _wait_fill(session, "after a child was killed")
            session.wait(lambda child=child: child not in session.children()  # type: ignore[misc]
                         and len(session.children()) == len(children), CHILD_BACK_S, "the child is not back")
        if session.running_daemon().pid != pid or session.request("status")["boot_epoch"] != epoch:
            raise NotReachedError("the daemon was started anew when a child was killed")
        return len(children)


class Venue(Fault):
    """The venue's own faults, one every few seconds, drawn by a seed: the practice exchange's switchboard has them all."""

    name = "venue"

    def __init__(self) -> None:
        super().__init__()
        self.env = {"CSTD__VENUE__DEADMAN_TIMEOUT_S": str(DEADMAN_S)}

    def strike(self, session: Session, chance: random.Random) -> int:
        """Let the venue misbehave for a while, then be well again; says what struck, and the seed that repeats it."""
        _moment(session, chance)
        seed = chance.randrange(2**31)
        session.tell_exchange("faults", seed=seed)
        time.sleep(VENUE_S)
        hits = session.tell_exchange("heal")["hits"]
        self.how = f"fault seed {seed}: " + ", ".join(f"{kind} {times}" for kind, times in sorted(hits.items()))
        return sum(hits.values())


FAULTS: dict[str, type[Fault]] = {fault.name: fault for fault in (KillNine, Stop, DiskFull, FsyncFailing, NetCut, ClockStep,
                                                                  Children, Venue)}
