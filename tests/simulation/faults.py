"""The faults of a simulated session as data: what each is, and the list that a seed stands for.

Frames, REST calls, tokens, clocks: the practice exchange's own faults (cstd/practice/faults.py). What happens to the process,
its host, its journal, its operator and its account is added here. A fault holds all that was drawn for it, so a session is
its seed, which decides the market and the network's small change, and its list of faults, of which any may be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Annotated, Literal

import msgspec

from cstd.practice.faults import (
    ClockSkew,
    CorruptChecksum,
    Count,
    Delay,
    Deny,
    Drop,
    Duplicate,
    Fault,
    HalfOpen,
    HttpError,
    LateFill,
    LostAck,
    NonceError,
    RateLimit,
    Reorder,
    RestError,
    RestTimeout,
    Seconds,
    Server,
    SlowReader,
    TokenExpiry,
)
from cstd.venue.errors_table import ERRORS, outcome_unknown

Tier = Literal["starter", "intermediate", "pro"]
TIERS: tuple[Tier, ...] = ("starter", "intermediate", "pro")
Span = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
STORMS_S = (1.5, 3.0, 8.0)   # between two faults on average: storms, and faults between which much is traded
AT_LEAST_S = 0.2
UNBOOKED_FRAC = 0.1
UNBOOKED_AT_S = (1.0, 15.0)
# None that a deposit or withdrawal of Move could hide: what was missed and what nobody explains would cancel out.
UNBOOKED_AMOUNTS = ("249.5", "-249.5", "1", "-1", "-0.05")
# The rehearsal opens with 25: the least of these refuses that, the others leave a part of it.
TIGHT_BPS = ("2", "8", "15", "22")
# What a request is denied with: anything that the venue says. One that was carried out all the same, with what leaves that open.
DENIALS = tuple(ERRORS)
UNCLEAR = tuple(error for error in (*ERRORS, "EGeneral:Never heard of") if outcome_unknown(error))
ALWAYS_S = 3600.0
# Every third seed has a venue whose history may lag by a minute, and waits for it as long as the shipped live configuration.
LAG_S, LAG_LONG_S = 3.0, 60.0
ABSENT_S, ABSENT_LONG_S = 5, 75


class SlowNetwork(Fault, tag="slow-network"):
    """Now and then a message takes up to three seconds."""

    for_s: Seconds


class UnreliableRest(Fault, tag="unreliable-rest"):
    """A fifth of the calls by REST: lost on the way there or back, answered by 502 or "unavailable"."""

    for_s: Seconds


class Break(Fault, tag="break"):
    """A connection breaks, which the venue sees `seen_s` later than the daemon, and for `for_s` there is no other."""

    server: Server
    for_s: Span = 0.0
    seen_s: Span = 0.0


class Stop(Fault, tag="stop"):
    """SIGSTOP, and SIGCONT later."""

    for_s: Seconds


class Crash(Fault, tag="crash"):
    """kill -9, or a power cut: that takes a fraction of the records of the last `unsynced_s` with it, and the monotonic clock.

    `at_order`: when the next order's frame is recorded, before or after the socket has it. The venue sees its connections go
    after `seen_s`, the process starts again after `restart_s`.
    """

    power: bool
    restart_s: Span
    seen_s: tuple[Span, Span] = (0.0, 0.0)
    unsynced_s: Span = 0.0
    lost_frac: Fraction = 0.0
    at_order: Literal["", "recorded", "sent"] = ""


class JournalFails(Fault, tag="journal-fails"):
    """`sync`: nothing reaches the disk any more, and the process halts; `full`: its ring takes no record, so it does nothing.

    Either way an operator starts it anew after `halted_s` and, where it is halted, resumes. A power cut before that takes what
    was not on disk.
    """

    how: Literal["sync", "full"]
    halted_s: Span
    restart_s: Span


class LateTimers(Fault, tag="late-timers"):
    """Each timer of the daemon comes up to `by_s` late: its loop is busy, or its host."""

    by_s: Span
    for_s: Seconds


class ClockStep(Fault, tag="clock-step"):
    """The host's wall clock jumps, and back later; its monotonic clock goes on."""

    by_s: Annotated[float, msgspec.Meta(ge=-3600, le=3600)]
    for_s: Seconds


class HistoryLag(Fault, tag="history-lag"):
    """Lists of orders and trades by REST are as they were `by_s` ago; balances are of now."""

    by_s: Span
    for_s: Seconds


class Closed(Fault, tag="closed"):
    """The venue leaves *online*, `announced_s` after it has said so; with `drops` it has no connections meanwhile."""

    state: Literal["maintenance", "cancel_only", "post_only"]
    for_s: Seconds
    announced_s: Span = 0.0
    drops: bool = False


class Rules(Fault, tag="rules"):
    """The instrument's rules become others, and later what they were. Digits stay."""

    for_s: Seconds
    qty_min_times: Count = 1
    tick_raw: Count = 1
    status: Literal["online", "cancel_only", "post_only", "limit_only", "reduce_only"] = "online"


class Move(Fault, tag="move"):
    """The user deposits, or with an amount below 0 withdraws coins of his own."""

    asset: Literal["USD", "BTC"]
    amount: str


class Unbooked(Fault, tag="unbooked"):
    """The account's cash changes, and no entry of the venue's ledger tells of it; it stays so."""

    amount: str


class Operator(Fault, tag="operator"):
    """An operator does something, and resumes later."""

    verb: Literal["pause", "flatten", "kill"]
    for_s: Span = 2.0


class Tighten(Fault, tag="tighten"):
    """An operator lowers a limit while an opening rests, and takes that back later: what rests is amended or pulled.

    He waits for an opening that rests as long as the faults go on.
    """

    key: Literal["risk.position_bps_max", "risk.exposure_bps_max", "risk.cluster_bps_max"]
    value: str
    for_s: Seconds


AnyFault = (Break | ClockSkew | ClockStep | Closed | CorruptChecksum | Crash | Delay | Deny | Drop | Duplicate | HalfOpen
            | HistoryLag | HttpError | JournalFails | LateFill | LateTimers | LostAck | Move | NonceError | Operator | RateLimit
            | Reorder | RestError | RestTimeout | Rules | SlowNetwork | SlowReader | Stop | Tighten | TokenExpiry
            | Unbooked | UnreliableRest)
Faults = Sequence[AnyFault]
FAULTS: msgspec.json.Decoder[list[AnyFault]] = msgspec.json.Decoder(list[AnyFault])


def text_of(fault: AnyFault) -> str:
    """Return a fault as one line of JSON."""
    return msgspec.json.encode(fault).decode()


def is_patient(seed: int) -> bool:
    """Whether a seed's venue may lag by a minute."""
    return seed % 3 == 0


def is_watched(seed: int) -> bool:
    """Whether a seed's positions are left by stops, targets and time stops so narrow that they happen."""
    return Random(f"exit policy {seed}").random() < 1 / 3


def tier_of(seed: int) -> Tier:
    """The tier that the venue grants a seed's account, and that the configuration has."""
    return Random(f"tier {seed}").choice(TIERS)


def drawn(seed: int, seconds: float) -> list[AnyFault]:
    """Return a seed's faults by their times. Those of a shorter session are the first ones of a longer one."""
    random = Random(f"faults {seed}")
    every_s, at_s = random.choice(STORMS_S), 1.0
    faults: list[AnyFault] = [SlowNetwork(for_s=ALWAYS_S), UnreliableRest(for_s=ALWAYS_S)]
    lag_s = LAG_LONG_S if is_patient(seed) else LAG_S
    while at_s < seconds:
        draw = random.choice(_DRAWS)
        faults += draw(random, round(at_s, 3)) if draw is not _history_lag else _history_lag(random, round(at_s, 3), lag_s)
        at_s += random.expovariate(1 / every_s) + AT_LEAST_S
    return _with_unbooked(seed, seconds, faults)


def _with_unbooked(seed: int, seconds: float, faults: list[AnyFault]) -> list[AnyFault]:
    """One seed in ten: cash that nothing explains. Few, because the daemon halts and trades no more."""
    random = Random(f"unbooked {seed}")
    happens, at_s = random.random() < UNBOOKED_FRAC, _uniform(random, *UNBOOKED_AT_S)
    if not happens or at_s >= seconds:
        return faults
    fault = Unbooked(at_s=at_s, amount=random.choice(UNBOOKED_AMOUNTS))
    return [*(f for f in faults if f.at_s <= at_s), fault, *(f for f in faults if f.at_s > at_s)]


def _uniform(random: Random, least: float, most: float) -> float:
    return round(random.uniform(least, most), 4)


def _short(random: Random, most_s: float) -> float:
    """Return a time up to `most_s`; short ones are likelier."""
    return round(max(0.02, most_s * random.random() ** 3), 4)


def _server(random: Random) -> Server:
    return random.choice(("ws_public", "ws_private"))


def _break(random: Random, at_s: float) -> list[AnyFault]:
    server = random.choice(("ws_public", "ws_private", "ws_private"))
    return [Break(at_s=at_s, server=server, seen_s=_uniform(random, 0, 0.3))]


def _refuse(random: Random, at_s: float) -> list[AnyFault]:
    """One socket or both stay away."""
    servers = random.choice((("ws_private",), ("ws_public",), ("ws_public", "ws_private")))
    return [Break(at_s=at_s, server=server, for_s=_uniform(random, 2, 15), seen_s=_uniform(random, 0, 0.1)) for server in servers]


def _half_open(random: Random, at_s: float) -> list[AnyFault]:
    return [HalfOpen(at_s=at_s, server=_server(random), for_s=_uniform(random, 0.5, 25))]


def _slow(random: Random, at_s: float) -> list[AnyFault]:
    server, for_s = _server(random), _uniform(random, 0.2, 8)
    if random.random() < 0.5:
        return [SlowReader(at_s=at_s, server=server, for_s=for_s)]
    return [Delay(at_s=at_s, server=server, by_s=_uniform(random, 0.05, 3), for_s=for_s)]


def _stop(random: Random, at_s: float) -> list[AnyFault]:
    return [Stop(at_s=at_s, for_s=random.choice((0.5, 3.0, 20.0)))]  # now and then longer than the dead man's switch


def _crash(random: Random, at_s: float, *, at_order: bool = False) -> list[AnyFault]:
    power = random.random() < 0.5
    lost_frac = random.choice((1.0, _uniform(random, 0, 1)))
    when = random.choice(("recorded", "sent")) if at_order else ""
    return [Crash(at_s=at_s, power=power, at_order=when, restart_s=_uniform(random, 0.5, 3),  # type: ignore[arg-type]
                  seen_s=(_uniform(random, 0, 0.2), _uniform(random, 0, 0.2)),
                  unsynced_s=_uniform(random, 0, 0.05) if power else 0.0, lost_frac=lost_frac if power else 0.0)]


def _crash_at_order(random: Random, at_s: float) -> list[AnyFault]:
    return _crash(random, at_s, at_order=True)


def _journal_fails(random: Random, at_s: float) -> list[AnyFault]:
    how = random.choice(("sync", "sync", "full"))
    return [JournalFails(at_s=at_s, how=how, halted_s=_uniform(random, 0.5, 6),  # type: ignore[arg-type]
                         restart_s=_uniform(random, 0.5, 2))]


def _clock_step(random: Random, at_s: float) -> list[AnyFault]:
    by_s = random.choice((-1, 1)) * random.choice((0.2, 1.0, 7.0, 90.0)) * _uniform(random, 0.5, 1.5)
    if random.random() < 0.3:
        return [ClockSkew(at_s=at_s, by_s=round(max(-30.0, min(30.0, by_s)), 3), for_s=_uniform(random, 1, 10))]
    return [ClockStep(at_s=at_s, by_s=round(by_s, 3), for_s=_uniform(random, 1, 10))]


def _late_timers(random: Random, at_s: float) -> list[AnyFault]:
    return [LateTimers(at_s=at_s, by_s=random.choice((0.3, 0.9, 4.0)), for_s=_uniform(random, 1, 8))]


def _history_lag(random: Random, at_s: float, most_s: float = LAG_S) -> list[AnyFault]:
    return [HistoryLag(at_s=at_s, by_s=_uniform(random, 0, most_s), for_s=_uniform(random, 1, 30))]


def _closed(random: Random, at_s: float) -> list[AnyFault]:
    """Most are short: what was asked before is then answered when all is over."""
    state = random.choice(("maintenance", "cancel_only", "post_only"))
    announced_s = random.choice((0.0, 0.0, 0.5, 5.0))
    return [Closed(at_s=at_s, state=state, for_s=_short(random, 5), announced_s=announced_s,  # type: ignore[arg-type]
                   drops=state == "maintenance" and random.random() < 0.5)]


def _rules(random: Random, at_s: float) -> list[AnyFault]:
    status = random.choice(("online", "online", "cancel_only", "post_only", "limit_only", "reduce_only"))
    return [Rules(at_s=at_s, for_s=_uniform(random, 0.1, 8), qty_min_times=random.choice((1, 2, 20)),
                  tick_raw=random.choice((1, 5, 10)), status=status)]  # type: ignore[arg-type]


def _move(random: Random, at_s: float) -> list[AnyFault]:
    if random.random() < 0.3:
        return [Move(at_s=at_s, asset="USD", amount=random.choice(("250", "-250")))]
    return [Move(at_s=at_s, asset="BTC", amount=random.choice(("0.0123", "-0.0123", "0.00000001", "-0.00000001")))]


def _operator(random: Random, at_s: float) -> list[AnyFault]:
    return [Operator(at_s=at_s, verb=random.choice(("pause", "flatten", "kill")))]  # type: ignore[arg-type]


def _tighten(random: Random, at_s: float) -> list[AnyFault]:
    """Half of them with the amends that follow denied, carried out or not, or their replies lost."""
    faults: list[AnyFault] = []
    if random.random() < 0.5:
        faults.append(_denied_or_lost(random, at_s, "amend_order"))
    key = random.choice(("risk.position_bps_max", "risk.exposure_bps_max", "risk.cluster_bps_max"))
    return [*faults, Tighten(at_s=at_s, key=key, value=random.choice(TIGHT_BPS),  # type: ignore[arg-type]
                             for_s=_uniform(random, 0.2, 6))]


def _tokens(_: Random, at_s: float) -> list[AnyFault]:
    return [TokenExpiry(at_s=at_s)]


def _about(random: Random) -> tuple[Server, str]:
    """Return a server and what its frames are about; "" is anything."""
    server = random.choice(("ws_public", "ws_private", "ws_private"))
    return server, random.choice(("book", "trade", "") if server == "ws_public" else ("executions", "executions", "balances", ""))


def _frames(random: Random, at_s: float) -> list[AnyFault]:
    """Some frames are lost, come twice, or after the one that follows them."""
    kind = random.choice((Drop, Duplicate, Reorder))
    server, about = _about(random)
    return [kind(at_s=at_s, server=server, about=about, count=random.randint(1, 20 if about == "book" else 2))]


def _requests(random: Random, at_s: float) -> list[AnyFault]:
    """Replies to orders, amends and cancels are lost; an order, or one of these, is denied, carried out or not."""
    return [_denied_or_lost(random, at_s, random.choice(("add_order", "add_order", "add_order", "cancel_order", "amend_order")))]


def _denied_or_lost(random: Random, at_s: float, method: str) -> AnyFault:
    count = random.randint(1, 2)
    if random.random() < 0.5:
        return LostAck(at_s=at_s, method=method, count=count)
    executed = random.random() < 0.7
    return Deny(at_s=at_s, method=method, executed=executed, count=count, error=random.choice(UNCLEAR if executed else DENIALS))


def _checksums(random: Random, at_s: float) -> list[AnyFault]:
    return [CorruptChecksum(at_s=at_s, count=random.randint(1, 20))]


def _late_fills(random: Random, at_s: float) -> list[AnyFault]:
    return [LateFill(at_s=at_s, by_s=_uniform(random, 0.05, 8), for_s=_uniform(random, 1, 15))]


def _rest(random: Random, at_s: float) -> list[AnyFault]:
    executed, count = random.random() < 0.5, random.randint(1, 3)
    kind = random.choice((HttpError, RestError, RestTimeout, RateLimit, NonceError))
    return [kind(at_s=at_s, executed=executed and kind in (HttpError, RestError, RestTimeout), count=count)]


_DRAWS: tuple[Callable[[Random, float], list[AnyFault]], ...] = (
    _break, _break, _refuse, _refuse, _half_open, _slow, _stop, _crash, _crash, _crash_at_order, _crash_at_order, _crash_at_order,
    _journal_fails,
    _clock_step, _late_timers, _history_lag, _closed, _closed, _rules, _move, _operator,
    _tighten, _tighten, _tighten, _tighten, _tokens, _frames, _frames,
    _requests, _requests, _checksums, _late_fills, _rest)
