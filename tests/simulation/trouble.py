"""What a fault does to a simulated session, and the end of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING

from cstd._fast.codes import Link
from cstd.practice.faults import (
    ClockSkew,
    CorruptChecksum,
    Delay,
    Deny,
    Drop,
    Duplicate,
    HalfOpen,
    HttpError,
    LateFill,
    LostAck,
    NonceError,
    RateLimit,
    Reorder,
    RestError,
    RestTimeout,
    SlowReader,
    TokenExpiry,
)
from cstd.practice.instruments import Instrument
from cstd.practice.wire import rfc3339_s
from tests.simulation.faults import (
    AnyFault,
    Break,
    ClockStep,
    Closed,
    Crash,
    HistoryLag,
    JournalFails,
    LateTimers,
    Move,
    Operator,
    Rules,
    SlowNetwork,
    Stop,
    Tighten,
    Unbooked,
    UnreliableRest,
)
from tests.simulation.wires import S, Wire

if TYPE_CHECKING:
    from tests.simulation.simulated import Simulation

LINKS = {"ws_public": Link.LINK_PUBLIC, "ws_private": Link.LINK_PRIVATE}
KEPT_BTC = Decimal("0.01")      # of the user's own; more than this he does not withdraw
WATCHED_EVERY_NS = S // 100     # by an operator who waits for something
SYNC_LAG_NS = 500_000_000       # after which the process halts


class Trouble:
    """Begins faults and ends them."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._healed = False
        self._ends: dict[int, Callable[[], None]] = {}
        self._numbers = count()
        self._instruments = tuple(world.exchange.instruments.values())

    def heal(self) -> None:
        """End every fault: the venue, the network and the host are as they would be without them."""
        world = self._world
        self._healed = True
        for number in list(self._ends):
            self._end(number)
        for wire in world.wires.values():
            wire.refused_until_ns = 0
            wire.line.clear()
        world.rest_calls.clear()
        world.crash_at_order = None

    def _for(self, seconds: float, end: Callable[[], None]) -> None:
        """Do something after a while, or when all is healed."""
        number = next(self._numbers)
        self._ends[number] = end
        self._world.at(self._world.now_ns + int(seconds * S), lambda: self._end(number))

    def _end(self, number: int) -> None:
        end = self._ends.pop(number, None)
        if end is not None:
            end()

    def _hold(self, name: str, value: object, seconds: float, after: object) -> None:
        """Give the session's attribute a value for a while."""
        setattr(self._world, name, value)
        self._for(seconds, lambda: setattr(self._world, name, after))

    def begin(self, fault: AnyFault) -> None:
        """Let a fault begin."""
        world = self._world
        match fault:
            case Drop() | Duplicate() | Reorder() | CorruptChecksum() | LostAck() | Deny():
                self._wire(fault.server).line.arm(fault)
            case HttpError() | RestTimeout() | RestError() | RateLimit() | NonceError():
                world.rest_calls.arm(fault)
            case Break() | HalfOpen() | SlowReader() | Delay() | LateFill():
                self._disturb(fault)
            case SlowNetwork():
                self._hold("slow_network", True, fault.for_s, False)
            case UnreliableRest():
                self._hold("unreliable_rest", True, fault.for_s, False)
            case ClockStep():
                self._hold("clock_step_ns", int(fault.by_s * S), fault.for_s, 0)
            case LateTimers():
                self._hold("timers_late_ns", int(fault.by_s * S), fault.for_s, 0)
            case ClockSkew():
                self._skew(int(fault.by_s * S))
                self._for(fault.for_s, lambda: self._skew(0))
            case HistoryLag():
                self._hold("history_lag_ns", int(fault.by_s * S), fault.for_s, 0)
            case TokenExpiry():
                world.exchange.credentials.revoke_tokens()
            case Closed():
                self._close(fault)
            case Rules():
                self._change_rules(fault)
            case Move():
                self._move(fault)
            case Unbooked():
                world.exchange.account.balances["USD"] += Decimal(fault.amount)
                world.unbooked += Decimal(fault.amount)
            case _:
                self._harm(fault)

    def _wire(self, server: str) -> Wire:
        return self._world.wires[LINKS[server]]

    # The network.

    def _disturb(self, fault: Break | HalfOpen | SlowReader | Delay | LateFill) -> None:
        if isinstance(fault, LateFill):
            line = self._wire("ws_private").line
            line.late_s = fault.by_s
            self._for(fault.for_s, lambda: setattr(line, "late_s", 0.0))
            return
        wire = self._wire(fault.server)
        if isinstance(fault, Break):
            wire.refused_until_ns = self._world.now_ns + int(fault.for_s * S)
            wire.cut("cut", server_sees_after_ns=int(fault.seen_s * S))
        elif isinstance(fault, HalfOpen):
            wire.freeze(int(fault.for_s * S))
        elif isinstance(fault, SlowReader):
            wire.leave_unread(int(fault.for_s * S))
        else:
            wire.line.delay_s = fault.by_s
            self._for(fault.for_s, lambda: setattr(wire.line, "delay_s", 0.0))

    # The venue.

    def _close(self, fault: Closed) -> None:
        """Say it, where it is announced; leave *online*; come back."""
        world = self._world
        if fault.announced_s:
            begin_s = world.now_ns // S + int(fault.announced_s)
            times = [rfc3339_s(second * S) for second in (begin_s, begin_s + int(fault.for_s) + 1)]
            world.exchange.announce([dict(zip(("from", "to"), times, strict=True))])
        leaving = next(self._numbers)
        self._ends[leaving] = lambda: None
        world.at(world.now_ns + int(fault.announced_s * S), lambda: self._leave_online(leaving, fault))
        self._for(fault.announced_s + fault.for_s, lambda: self._come_online(leaving))

    def _leave_online(self, leaving: int, fault: Closed) -> None:
        if self._ends.pop(leaving, None) is None:
            return
        self._world.exchange.set_system(fault.state)
        for wire in self._world.wires.values() if fault.drops else ():
            wire.refused_until_ns = self._world.now_ns + int(fault.for_s * S)
            wire.cut("closed by the venue")

    def _come_online(self, leaving: int) -> None:
        self._ends.pop(leaving, None)
        exchange = self._world.exchange
        if exchange.upcoming_maintenance:
            exchange.announce([])
        if exchange.system != "online":
            exchange.set_system("online")

    def _change_rules(self, fault: Rules) -> None:
        """Other limits, another tick, another state of the pair; then what they were."""
        for before in self._instruments:
            self._set_rules(replace(before, qty_min_raw=before.qty_min_raw * fault.qty_min_times, tick_raw=fault.tick_raw),
                            fault.status)
        self._for(fault.for_s, self._restore_rules)

    def _restore_rules(self) -> None:
        for before in self._instruments:
            self._set_rules(before, "online")

    def _set_rules(self, instrument: Instrument, status: str) -> None:
        world = self._world
        world.exchange.instruments[instrument.name] = world.exchange.markets[instrument.name].instrument = instrument
        world.exchange.markets[instrument.name].status = status
        world.public.announce_instruments()

    # The account.

    def _move(self, fault: Move) -> None:
        world, amount = self._world, Decimal(fault.amount)
        if fault.asset == "BTC" and world.user_btc + amount < KEPT_BTC:
            return
        if -amount > world.exchange.account.available(fault.asset):
            return
        if fault.asset == "BTC":
            world.user_btc += amount
        else:
            world.user_usd += amount
        world.exchange.desk.deposit(fault.asset, amount, world.account_clock())
        world.exchange.settle()

    # The process and its host.

    def _harm(self, fault: AnyFault) -> None:
        world = self._world
        match fault:
            case Stop():
                world.stopped_until_ns = max(world.stopped_until_ns, world.now_ns + int(fault.for_s * S))
            case Crash() if fault.at_order:
                world.crash_at_order = fault
            case Crash():
                if world.alive:
                    world.crash(fault)
            case JournalFails():
                if world.alive:
                    self._fail_journal(fault)
            case Operator():
                if world.alive and world.now_ns >= world.stopped_until_ns:
                    world.command(fault.verb)
                    self._for(fault.for_s, self._resume)
            case Tighten():
                self._tighten(fault)
            case _:
                raise AssertionError(f"{fault} does nothing")

    def _skew(self, to_ns: int) -> None:
        self._world.exchange.desk.on_clock_set(to_ns - self._world.venue_skew_ns)
        self._world.venue_skew_ns = to_ns

    def _resume(self) -> None:
        if self._world.alive and self._world.now_ns >= self._world.stopped_until_ns:
            self._world.command("resume")

    def _reachable(self) -> bool:
        return self._world.alive and self._world.now_ns >= self._world.stopped_until_ns

    def _tighten(self, fault: Tighten) -> None:
        world = self._world
        if self._healed:
            return
        if not self._reachable() or not world.opening_rests():
            world.at(world.now_ns + WATCHED_EVERY_NS, lambda: self._tighten(fault))
            return
        world.command("limits_set", key=fault.key, value=fault.value, reason="a simulated operator's")
        self._for(fault.for_s, lambda: self._loosen(fault.key))

    def _loosen(self, key: str) -> None:
        """Take a limit's change back, as soon as there is a process to tell."""
        world = self._world
        if self._reachable():
            world.command("limits_reset", key=key)
        else:
            world.at(world.now_ns + WATCHED_EVERY_NS, lambda: self._loosen(key))

    def _fail_journal(self, fault: JournalFails) -> None:
        """The journal takes nothing to the disk, or nothing at all; the operator starts the process anew."""
        world = self._world
        crashes = world.crashes
        if fault.how == "full":
            world.ring_full = True
        else:
            world.unsynced_since_ns = world.now_ns
            world.at(world.now_ns + SYNC_LAG_NS, lambda: self._halt(crashes))
        self._for(fault.halted_s, lambda: self._start_anew(crashes, fault))

    def _halt(self, crashes: int) -> None:
        """What the process does when it sees that its journal lags."""
        world = self._world
        if world.alive and world.crashes == crashes:
            if world.now_ns < world.stopped_until_ns:
                world.at(world.stopped_until_ns, lambda: self._halt(crashes))
            else:
                world.command("halt")

    def _start_anew(self, crashes: int, fault: JournalFails) -> None:
        world = self._world
        if world.alive and world.crashes == crashes:
            world.crash(Crash(power=False, restart_s=fault.restart_s))
            world.at(world.now_ns + int((fault.restart_s + 1) * S), lambda: None if self._healed else self._resume())
