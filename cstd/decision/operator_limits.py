"""What an operator's commands make of the configured limits while the daemon runs; docs/limits.md.

A command tightens a limit, for all instruments or for one, or takes that back. What holds is the tightest of what the
configuration gives and what the commands that stand ask for, so the configuration is the loosest that can be reached,
also by a later boot with another one. A value that the configuration has itself is no change: it ends the command.
A reload has a place of its own beside the operator's: what the one says never takes the place of what the other said.

Pure: commands are events, so replay and recovery bring the same limits back.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from cstd._fast.gates import Gate
from cstd.config import Config
from cstd.config.binding import UNUSABLE, Binder, show
from cstd.config.checks import LEVELS
from cstd.config.limit_keys import BY_KEY, LIMIT_KEYS, SECTIONS, LimitKey, for_instrument, own_values, value_of, with_values
from cstd.decision.names import instrument_named
from cstd.errors import OperatorError

# Plain digits: what goes further than any limit's bounds is not looked at.
NUMBER = re.compile(r"[0-9]{1,13}(\.[0-9]{1,9})?")
REASON_LENGTH_MAX = 200
OWN_ROWS_MAX = 500  # of instruments that differ, in one answer; of one instrument there are all
ALL = ""
LADDERS = tuple(tuple(f"risk.{kind}_{level}_bps" for level in LEVELS) for kind in ("day_loss", "drawdown"))


@dataclass(frozen=True, slots=True)
class Change:
    """A command that stands: what it asks for, who sent it, when and why."""

    value: Decimal | int
    uid: int | None
    pid: int | None
    wall_ns: int
    reason: str


class OperatorLimits:
    """The commands that stand. One writer: the engine.

    Attributes:
        changes: of operators, by instrument and key; ALL stands for every instrument.
        reloaded: of reloads, likewise.
        version: rises with each change of what holds.
    """

    def __init__(self) -> None:
        self.changes: dict[str, dict[str, Change]] = {}
        self.reloaded: dict[str, dict[str, Change]] = {}
        self.version = 0
        self._cfg: Config

    def configure(self, cfg: Config) -> None:
        """Take the configuration of a boot; the commands stay."""
        self._cfg = cfg
        self.version += 1

    @property
    def instruments(self) -> list[str]:
        """The instruments, by number."""
        return self._cfg.instruments.names

    def differs(self, instrument: str) -> bool:
        """Whether an instrument may have another limit than all have."""
        return instrument in self._cfg.overrides or instrument in self.changes or instrument in self.reloaded

    def in_force(self, instrument: str = ALL) -> Config:
        """Return the configuration with the limits that hold now for an instrument, or for all that have none of their own."""
        cfg = for_instrument(self._cfg, instrument)
        values: dict[str, Decimal | int] = {}
        for name in dict.fromkeys((ALL, instrument)):
            for key, change in (*self.changes.get(name, {}).items(), *self.reloaded.get(name, {}).items()):
                values[key] = BY_KEY[key].tightest(values.get(key, value_of(cfg, key)), change.value)
        cfg = with_values(cfg, values)
        return with_values(cfg, _level_order(cfg)) if values else cfg

    def copy(self) -> OperatorLimits:
        """Return a copy that takes commands without touching this one."""
        other = OperatorLimits()
        other.changes = {name: dict(own) for name, own in self.changes.items()}
        other.reloaded = {name: dict(own) for name, own in self.reloaded.items()}
        other.configure(self._cfg)
        return other

    # Commands.

    def change(self, args: dict[str, Any], sender: dict[str, Any], wall_ns: int, *, by_reload: bool = False) -> dict[str, Any]:
        """Take a command that sets a limit; returns the row of it as it is now.

        Args:
            args: key, value, and instrument and reason where they are given. sender: uid and pid.
            wall_ns: when. by_reload: it is the files that say so, read again.

        Raises:
            OperatorError: there is no such limit or instrument, no command changes it, the value is none of it, or it is looser
                than the configuration's.
        """
        limit, instrument = self._named(args)
        value = _value(limit, str(args.get("value", "")))
        before = self.row(limit, instrument)
        loosest = value_of(for_instrument(self._cfg, instrument), limit.key)
        if limit.is_looser(value, loosest):
            word = "at most" if limit.tighter == "lower" else "at least"
            of = f" for {instrument}" if instrument else ""
            raise OperatorError(
                f"{limit.key} = {show(value)}{of} is looser than the configuration, which allows {word} {show(loosest)}",
                suggestion=f"set {word} {show(loosest)}, or change the configuration and start again")
        slot = self.reloaded if by_reload else self.changes
        if value == loosest:
            _forget(slot, instrument, limit.key)
        else:
            slot.setdefault(instrument, {})[limit.key] = Change(
                value, sender.get("uid"), sender.get("pid"), wall_ns, str(args.get("reason") or "")[:REASON_LENGTH_MAX])
        return self._changed(limit, instrument, before)

    def take_up(self, instrument: str, key: str, value: str, sender: dict[str, Any], wall_ns: int, reason: str, *,
                by_reload: bool = False) -> None:
        """Let a command stand that was given to the build before this one, for an instrument or for ALL.

        Raises:
            OperatorError: there is no such limit here, no command changes it, or the value is none of it.
        """
        limit, name = self._named({"key": key, "instrument": instrument})
        (self.reloaded if by_reload else self.changes).setdefault(name, {})[limit.key] = Change(
            _value(limit, value), sender.get("uid"), sender.get("pid"), wall_ns, reason)

    def end(self, args: dict[str, Any]) -> dict[str, Any]:
        """Take a command that ends what commands and reloads made of a limit: for one instrument, or for all and each.

        Returns:
            the row of it as it is now; and in `ended`, where it is for all, that of each instrument whose own ended too.

        Raises:
            OperatorError: there is no such limit or instrument, no command changes it, or it is the whole account's.
        """
        limit, instrument = self._named(args)
        before = self.row(limit, instrument)
        own = {} if instrument else {
            name: self.row(limit, name) for name in self.instruments
            if any(limit.key in slot.get(name, ()) for slot in (self.changes, self.reloaded))}
        for slot in (self.changes, self.reloaded):
            for name in [instrument] if instrument else list(slot):
                _forget(slot, name, limit.key)
        ended = [{**self.row(limit, name), "before": row["value"]} for name, row in own.items()]
        return {**self._changed(limit, instrument, before), "ended": ended}

    def _changed(self, limit: LimitKey, instrument: str, before: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        return {**self.row(limit, instrument), "before": before["value"]}

    def _named(self, args: dict[str, Any]) -> tuple[LimitKey, str]:
        """Return the limit and the instrument, or ALL, that a command names.

        Raises:
            OperatorError: there is no such limit or instrument, no command changes it, or it is the whole account's.
        """
        limit, text = _adjustable(args), str(args.get("instrument") or ALL)
        instrument = instrument_named(text, self.instruments) if text else ALL
        if instrument and not limit.own:
            raise OperatorError(f"{limit.key} is the whole account's: {instrument} has none of its own",
                                suggestion="leave --instrument out")
        return limit, instrument

    # Reading.

    def rows(self, instrument: str = ALL) -> list[dict[str, Any]]:
        """Return every limit as it holds for an instrument; for ALL those of the others as well that differ, a bounded number."""
        cfg = self.in_force(instrument)
        rows = [self._row(limit, instrument, cfg) for limit in LIMIT_KEYS]
        if instrument:
            return rows
        for name in filter(self.differs, self.instruments):
            own, keys = self.in_force(name), self._own_keys(name)
            rows += [self._row(limit, name, own) for limit in LIMIT_KEYS if limit.own
                     if limit.key in keys or value_of(own, limit.key) != value_of(cfg, limit.key)]
            if len(rows) >= OWN_ROWS_MAX:
                break
        return rows[:OWN_ROWS_MAX]

    def row(self, limit: LimitKey, instrument: str) -> dict[str, Any]:
        """Return one limit as it holds for an instrument, or for ALL."""
        return self._row(limit, instrument, self.in_force(instrument))

    def _own_keys(self, instrument: str) -> set[str]:
        override = self._cfg.overrides.get(instrument)
        configured = own_values(override) if override is not None else ()
        return {*self.changes.get(instrument, ()), *self.reloaded.get(instrument, ()), *(key for key, _ in configured)}

    def _row(self, limit: LimitKey, instrument: str, in_force: Config) -> dict[str, Any]:
        configured, value = value_of(for_instrument(self._cfg, instrument), limit.key), value_of(in_force, limit.key)
        source, change = self._source(limit, instrument, value, configured)
        asked = next((slot[instrument][limit.key] for slot in (self.changes, self.reloaded)
                      if limit.key in slot.get(instrument, ())), None)
        return {
            "gate": limit.gate or None, "name": _gate_name(limit.gate), "key": limit.key,
            "instrument": (instrument or None) if limit.own else None, "scope": limit.scope, "value": show(value),
            "unit": self._cfg.account.currency if limit.unit == "money" else limit.unit, "tighter": limit.tighter or None,
            "configured": show(configured), "source": source, "fixed": limit.fixed or None,
            "asked": show(asked.value) if asked is not None else None,
            "set_by_uid": change.uid if change is not None else None, "set_by_pid": change.pid if change is not None else None,
            "set_wall_ns": change.wall_ns if change is not None else None,
            "reason": (change.reason or None) if change is not None else None,
        }

    def _source(self, limit: LimitKey, instrument: str, value: Decimal | int,
                configured: Decimal | int) -> tuple[str, Change | None]:
        """Return where a limit comes from, and the command, where one decides."""
        if value == configured:
            override = self._cfg.overrides.get(instrument)
            own = override is not None and limit.key in dict(own_values(override))
            return ("override" if own else "configuration"), None
        # Its own command, one for all, or one that lowered a level above it.
        above = next((keys[keys.index(limit.key):] for keys in LADDERS if limit.key in keys), (limit.key,))
        deciding = ((source, change) for key in above for name in (instrument, ALL)
                    for source, slot in (("operator", self.changes), ("reload", self.reloaded))
                    if (change := slot.get(name, {}).get(key)) is not None and change.value == value)
        return next(deciding, ("operator", None))


def _forget(slot: dict[str, dict[str, Change]], instrument: str, key: str) -> None:
    own = slot.get(instrument, {})
    own.pop(key, None)
    if not own:
        slot.pop(instrument, None)


def _level_order(cfg: Config) -> dict[str, Decimal | int]:
    """Return the thresholds that lie above the next level's, each lowered to it: a level comes no later than the one above it."""
    values: dict[str, Decimal | int] = {}
    for keys in LADDERS:
        for upper, lower in pairwise(reversed(keys)):
            most = values.get(upper, value_of(cfg, upper))
            if value_of(cfg, lower) > most:
                values[lower] = most
    return values


def _adjustable(args: dict[str, Any]) -> LimitKey:
    """Return the limit that a command names, with or without its section.

    Raises:
        OperatorError: there is none, or no command changes it.
    """
    wanted = str(args.get("key") or "").strip().lower()
    limit = next((limit for limit in LIMIT_KEYS if wanted in (limit.key, limit.key.partition(".")[2])), None)
    if limit is None:
        words = [word for known in LIMIT_KEYS for word in (known.key, known.key.partition(".")[2])]
        near = difflib.get_close_matches(wanted, words, n=1, cutoff=0.4)
        raise OperatorError(f"{wanted[:60] or 'nothing'} is no limit of a gate",
                            suggestion=f"did you mean {near[0]}?" if near else "`cstd limits` lists them")
    if limit.fixed:
        raise OperatorError(f"{limit.key} is changed by no command: {limit.fixed}",
                            suggestion="change the configuration and start again")
    return limit


def _value(limit: LimitKey, text: str) -> Decimal | int:
    """Return a limit's value from its text.

    Raises:
        OperatorError: it is no plain number, or none that the key takes.
    """
    unit = "the account currency" if limit.unit == "money" else limit.unit
    if not NUMBER.fullmatch(text.strip()):
        raise OperatorError(f"{limit.key} = {text[:40]!r} is no plain number",
                            suggestion=f"digits, with a point where it has decimals, in the key's own unit: {unit}")
    number = Decimal(text.strip())
    section, _, name = limit.key.partition(".")
    binder = Binder({})
    field = binder.field(SECTIONS[section], name, int(number) if number == int(number) else number, limit.key)
    if field is UNUSABLE:
        (problem,) = binder.problems
        raise OperatorError(problem.line(), suggestion=f"a number that the configuration would take, in its unit: {unit}")
    return field  # type: ignore[return-value]


def _gate_name(code: int) -> str:
    return Gate(code).name.removeprefix("GATE_").lower() if code else "verdict"
