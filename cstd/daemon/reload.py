"""`cstd reload` and SIGHUP: what the configuration files say now, taken over as far as that is safe while it trades.

The files are read and checked whole, by a child (files_check.py); what is wrong changes nothing. Limits that became tighter are
commands, `limits_reload`, which no socket takes: the journal holds them with who asked, and a replay decides the same. They stand
beside an operator's own, neither in the other's place. The log's level is the process's own. All else is listed, and waits.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from cstd.config import Config
from cstd.config.binding import show
from cstd.config.canonical import plain
from cstd.config.limit_keys import BY_KEY, LIMIT_KEYS, LimitKey, for_instrument, value_of
from cstd.daemon.files_check import read_apart
from cstd.decision.limits import limits_in_force
from cstd.decision.operator_limits import ALL, Change, OperatorLimits
from cstd.errors import CstdError, OperatorError

REASON = "reload"
LOG_LEVEL = "logs.level"
# Read by each `cstd jobs run`, not by the daemon.
READ_ELSEWHERE = ("jobs.",)

JsonDict = dict[str, Any]
Changes = Mapping[str, Mapping[str, Change]]


class AppliedKey(TypedDict):
    """One key that the daemon goes by from now on."""

    key: str
    instrument: str | None
    before: str
    value: str


class WaitingKey(TypedDict):
    """One key whose value in the files takes a restart."""

    key: str
    running: str | None
    file: str | None


class Reloaded(TypedDict):
    """`cstd reload`."""

    config_hash: str  # of the files; the status shows the one that runs
    applied: list[AppliedKey]
    needs_restart: list[WaitingKey]
    stands: list[AppliedKey]  # limits that an operator's own command keeps tighter than the files; `value` is what holds


@dataclass
class Plan:
    """What a reload would do: commands to the engine, keys that wait."""

    commands: list[JsonDict] = field(default_factory=list)
    waiting: list[WaitingKey] = field(default_factory=list)
    stands: list[AppliedKey] = field(default_factory=list)


def flat(config: Config) -> dict[str, Any]:
    """Return every key of a configuration with its value; lists and instruments' own limits key by key as well."""
    found: dict[str, Any] = {}

    def walk(table: Any, prefix: str) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                walk(value, f"{prefix}{name}.")
            elif value is not None:
                found[f"{prefix}{name}"] = value

    walk(plain(config), "")
    return found


def plan(running: Config, file: Config, changes: Changes, reloaded: Changes) -> Plan:
    """Return what it takes to go from a running configuration to the one in the files, as far as a daemon may.

    Args:
        running: of the boot. file: read now, checked.
        changes: operators' commands on limits that stand. reloaded: those of reloads.
    """
    made = Plan()
    before, after = flat(running), flat(file)
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key) and _limit(key, running) is None and not _is_own(key):
            made.waiting.append({"key": key, "running": _text(before.get(key)), "file": _text(after.get(key))})
    names = sorted(running.overrides.keys() | file.overrides.keys() | (reloaded.keys() - {ALL}))
    for limit in (limit for limit in LIMIT_KEYS if not limit.fixed):
        for instrument in [ALL, *(name for name in names if limit.own and name in running.instruments.names)]:
            _plan_limit(made, limit, instrument, (running, file), (changes, reloaded))
    return made


def _is_own(key: str) -> bool:
    """Whether a key is the process's own, or read by others each time."""
    return key == LOG_LEVEL or key.startswith(READ_ELSEWHERE)


def _limit(key: str, running: Config) -> LimitKey | None:
    """Return the limit of a flat key, in general or of an instrument that runs, which commands may change."""
    name = key
    if key.startswith("overrides."):
        instrument, _, name = key.removeprefix("overrides.").partition(".")
        if instrument not in running.instruments.names:
            return None
    limit = BY_KEY.get(name)
    return limit if limit is not None and not limit.fixed else None


def _plan_limit(made: Plan, limit: LimitKey, instrument: str, pair: tuple[Config, Config],
                standing: tuple[Changes, Changes]) -> None:
    """Add what a limit takes: a command where it became tighter, or where a reload before had tightened it."""
    running, file = pair
    was, now = (value_of(for_instrument(config, instrument), limit.key) for config in pair)
    operators, ours = (slot.get(instrument, {}).get(limit.key) for slot in standing)
    if instrument and ours is None and (was, now) == (value_of(running, limit.key), value_of(file, limit.key)):
        return  # it has none of its own: the one for all does it
    if limit.is_looser(now, was):
        name = f"overrides.{instrument}.{limit.key}" if instrument else limit.key
        made.waiting.append({"key": name, "running": show(was), "file": show(now)})
        now = was  # no looser than the boot's, and what a reload had made of it is taken back
    if operators is not None and (now != was or ours is not None) and not limit.is_looser(operators.value, now):
        made.stands.append({"key": limit.key, "instrument": instrument or None, "before": show(now),
                            "value": show(operators.value)})
    if now != (ours.value if ours is not None else was):
        args = {"key": limit.key, "value": show(now), "reason": REASON}
        made.commands.append({**args, "instrument": instrument} if instrument else args)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def try_out(limits: OperatorLimits, commands: Sequence[JsonDict]) -> None:
    """Have a copy take the commands, so that none of them is refused when others have been taken.

    Raises:
        OperatorError: one would be.
    """
    trial = limits.copy()
    for args in commands:
        trial.change(args, {}, 0, by_reload=True)
    for name in (ALL, *filter(trial.differs, trial.instruments)):
        limits_in_force(trial.in_force(name), name or "all instruments")


class Reloader:
    """Takes commands from the admin socket and passes them on; `reload` and SIGHUP it answers itself, one at a time."""

    def __init__(self, running: Config, files: Sequence[str], *, submit: Callable[[JsonDict], Any],
                 limits: Callable[[], OperatorLimits], set_log_level: Callable[[str], None], log: Any,
                 on_spawn: Callable[[int], None]) -> None:
        """Prepare to reload `files`.

        Args:
            running: the configuration of the boot. files: that it was read from; [] where there are none.
            submit: journals a command and returns the engine's answer.
            limits: gives the commands on limits that stand.
            set_log_level, log: of the daemon. on_spawn: called with the process id of each child.
        """
        self._running = running
        self._files = list(files)
        self._submit = submit
        self._limits = limits
        self._set_log_level = set_log_level
        self._log = log
        self._on_spawn = on_spawn
        self._own = _own_of(running)
        self._busy = False
        self._by_signal: asyncio.Task[None] | None = None

    def submit(self, command: JsonDict) -> JsonDict | Awaitable[JsonDict]:
        """Take one command of the admin socket."""
        if command["verb"] != "reload":
            answer: JsonDict | Awaitable[JsonDict] = self._submit(command)
            return answer
        return self.reload({name: command.get(name) for name in ("uid", "gid", "pid")})

    def on_signal(self) -> None:
        """Reload for whoever sent SIGHUP: root or the daemon's user; the log says what came of it."""
        self._by_signal = asyncio.get_running_loop().create_task(self._reload_by_signal())

    async def _reload_by_signal(self) -> None:
        try:
            await self.reload({"uid": os.getuid(), "gid": os.getgid(), "pid": os.getpid()})
        except CstdError as error:
            self._log.error("reload refused: nothing is changed", reason=error.message)

    async def reload(self, sender: JsonDict) -> JsonDict:
        """Read the files, check them whole, and take over what is safe; returns a `Reloaded`.

        Raises:
            ConfigError: the files are wrong, with every problem; nothing is changed.
            OperatorError: there are none, they could not be read, another reload is under way, or a command would be refused;
                nothing is changed.
        """
        if not self._files:
            raise OperatorError("this daemon was started without configuration files")
        if self._busy:
            raise OperatorError("another reload is under way", suggestion="wait for it")
        self._busy = True
        try:
            file = await read_apart(self._files, self._on_spawn)
        finally:
            self._busy = False
        # From here to the end nothing is awaited: no other command comes between.
        limits = self._limits()
        made = plan(self._running, file, limits.changes, limits.reloaded)
        try_out(limits, made.commands)
        done: Reloaded = {"config_hash": file.config_hash.hex(), "applied": [], "needs_restart": made.waiting,
                          "stands": made.stands}
        self._submit({"verb": "reload", "args": {"config_hash": done["config_hash"],
                                                 "needs_restart": [row["key"] for row in made.waiting]}, **sender})
        for args in made.commands:
            row = self._submit({"verb": "limits_reload", "args": args, **sender})
            if row["before"] != row["value"]:  # an operator's own is tighter: that is in `stands`
                done["applied"].append({"key": row["key"], "instrument": row["instrument"], "before": row["before"],
                                        "value": row["value"]})
        done["applied"] += self._apply_own(_own_of(file))
        self._log.warning("reloaded", uid=sender["uid"], config_hash=done["config_hash"][:16],
                          applied=[row["key"] for row in done["applied"]], needs_restart=[row["key"] for row in made.waiting])
        return {**done}

    def _apply_own(self, own: dict[str, str]) -> list[AppliedKey]:
        """Take over what is the process's own; returns what differs from what was taken over last."""
        before, self._own = self._own, own
        if own[LOG_LEVEL] != before[LOG_LEVEL]:
            self._set_log_level(own[LOG_LEVEL])
        return [{"key": key, "instrument": None, "before": before.get(key, ""), "value": own.get(key, "")}
                for key in sorted(before.keys() | own.keys()) if before.get(key) != own.get(key)]


def _own_of(config: Config) -> dict[str, str]:
    """Return the keys that are the process's own, or read by others each time, as text."""
    return {key: _text(value) or "" for key, value in flat(config).items() if _is_own(key)}
