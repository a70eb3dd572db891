"""`cstd reload` and SIGHUP: what the configuration files say now, taken over as far as that is safe while it trades.

The files are read and checked whole, in a thread; what is wrong changes nothing. Limits that became tighter are commands of the
operator, the same that `cstd limits set` sends, so the journal holds them with who asked and a replay decides the same. The log's
level is the process's own. Everything else is listed: it needs a restart.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from cstd.config import Config, load, refusals
from cstd.config.binding import show
from cstd.config.canonical import plain
from cstd.config.limit_keys import BY_KEY, LIMIT_KEYS, LimitKey, for_instrument, value_of
from cstd.config.problems import config_error
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
    """What a reload would do: commands to the engine, keys of the process, keys that wait."""

    commands: list[JsonDict] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
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


def plan(running: Config, file: Config, changes: Changes) -> Plan:
    """Return what it takes to go from a running configuration to the one in the files, as far as a daemon may.

    Args:
        running: of the boot. file: read now, checked.
        changes: the operator's commands on limits that stand.
    """
    made = Plan()
    before, after = flat(running), flat(file)
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) == after.get(key) or _limit(key, running) is not None:
            continue
        if key == LOG_LEVEL or key.startswith(READ_ELSEWHERE):
            made.own.append(key)
        else:
            made.waiting.append({"key": key, "running": _text(before.get(key)), "file": _text(after.get(key))})
    names = sorted(running.overrides.keys() | file.overrides.keys())
    for limit in (limit for limit in LIMIT_KEYS if not limit.fixed):
        for instrument in [ALL, *(name for name in names if limit.own and name in running.instruments.names)]:
            _plan_limit(made, limit, instrument, (running, file), changes)
    return made


def _limit(key: str, running: Config) -> LimitKey | None:
    """Return the limit of a flat key, in general or of an instrument that runs, which commands may change."""
    name = key
    if key.startswith("overrides."):
        instrument, _, name = key.removeprefix("overrides.").partition(".")
        if instrument not in running.instruments.names:
            return None
    limit = BY_KEY.get(name)
    return limit if limit is not None and not limit.fixed else None


def _plan_limit(made: Plan, limit: LimitKey, instrument: str, pair: tuple[Config, Config], changes: Changes) -> None:
    """Add what a limit takes: a command where it became tighter, or where a reload before had tightened it."""
    running, file = pair
    was, now = (value_of(for_instrument(config, instrument), limit.key) for config in pair)
    if instrument and (was, now) == (value_of(running, limit.key), value_of(file, limit.key)):
        return  # it has none of its own: the one for all does it
    standing = changes.get(instrument, {}).get(limit.key)
    ours = standing is not None and standing.reason == REASON
    if limit.is_looser(now, was):
        name = f"overrides.{instrument}.{limit.key}" if instrument else limit.key
        made.waiting.append({"key": name, "running": show(was), "file": show(now)})
        now = was  # no looser than the boot's, and what a reload had made of it is taken back
    if standing is not None and not ours:
        if now != was and not limit.is_looser(standing.value, now):
            made.stands.append({"key": limit.key, "instrument": instrument or None, "before": show(now),
                                "value": show(standing.value)})
            return
        if now == was:
            return
    holds = standing.value if standing is not None else was
    if now != holds:
        args = {"key": limit.key, "value": show(now), "reason": REASON}
        made.commands.append({**args, "instrument": instrument} if instrument else args)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def try_out(running: Config, changes: Changes, commands: Sequence[JsonDict]) -> None:
    """Have a copy take the commands, so that none of them is refused when others have been taken.

    Raises:
        OperatorError: one would be.
    """
    trial = OperatorLimits()
    trial.configure(running)
    trial.changes = {name: dict(own) for name, own in changes.items()}
    for args in commands:
        trial.change(args, {}, 0)
    for name in (ALL, *filter(trial.differs, trial.instruments)):
        limits_in_force(trial.in_force(name), name or "all instruments")


class Reloader:
    """Takes commands from the admin socket and passes them on; `reload` and SIGHUP it answers itself, one at a time."""

    def __init__(self, running: Config, files: Sequence[str], *, submit: Callable[[JsonDict], Any],
                 changes: Callable[[], Changes], set_log_level: Callable[[str], None], log: Any) -> None:
        """Prepare to reload `files`.

        Args:
            running: the configuration of the boot. files: that it was read from; [] where there are none.
            submit: journals a command and returns the engine's answer.
            changes: gives the operator's commands on limits that stand.
            set_log_level, log: of the daemon.
        """
        self._running = running
        self._files = list(files)
        self._submit = submit
        self._changes = changes
        self._set_log_level = set_log_level
        self._log = log
        self._level = running.logs.level
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
            OperatorError: there are none, another reload is under way, or a command would be refused; nothing is changed.
        """
        if not self._files:
            raise OperatorError("this daemon was started without configuration files")
        if self._busy:
            raise OperatorError("another reload is under way", suggestion="wait for it")
        self._busy = True
        try:
            file = await asyncio.to_thread(_checked, self._files)
        finally:
            self._busy = False
        # From here to the end nothing is awaited: no other command comes between.
        changes = self._changes()
        made = plan(self._running, file, changes)
        try_out(self._running, changes, made.commands)
        done: Reloaded = {"config_hash": file.config_hash.hex(), "applied": [], "needs_restart": made.waiting,
                          "stands": made.stands}
        self._submit({"verb": "reload", "args": {"config_hash": done["config_hash"],
                                                 "needs_restart": [row["key"] for row in made.waiting]}, **sender})
        for args in made.commands:
            row = self._submit({"verb": "limits_set", "args": args, **sender})
            done["applied"].append({"key": row["key"], "instrument": row["instrument"], "before": row["before"],
                                    "value": row["value"]})
        done["applied"] += self._apply_own(file, made.own)
        self._log.warning("reloaded", uid=sender["uid"], config_hash=done["config_hash"][:16],
                          applied=[row["key"] for row in done["applied"]], needs_restart=[row["key"] for row in made.waiting])
        return {**done}

    def _apply_own(self, file: Config, keys: Sequence[str]) -> list[AppliedKey]:
        """Take over what is the process's own; a level that an earlier reload set may go back to the boot's."""
        applied: list[AppliedKey] = []
        if file.logs.level != self._level:
            applied.append({"key": LOG_LEVEL, "instrument": None, "before": self._level, "value": file.logs.level})
            self._set_log_level(file.logs.level)
            self._level = file.logs.level
        before, after = flat(self._running), flat(file)
        others: list[AppliedKey] = [{"key": key, "instrument": None, "before": _text(before.get(key)) or "",
                                     "value": _text(after.get(key)) or ""} for key in keys if key != LOG_LEVEL]
        return applied + others


def _checked(files: Sequence[str]) -> Config:
    """Return the configuration of files and environment.

    Raises:
        ConfigError: it is wrong, or a daemon would not start with it.
    """
    cfg = load(list(files), os.environ)
    # Which CPUs a start may use is not what a thread of a daemon that is pinned may; another list needs a restart in any case.
    if problems := [problem for problem in refusals(cfg, os.environ) if not problem.key.startswith("process.cpus")]:
        raise config_error(problems)
    return cfg
