"""The tally of a kill -9 campaign: a file that says how far it came and what was found, and that a later run goes on from."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cstd.chaos.judge import KINDS, Finding
from cstd.errors import UsageError

FORMAT = 2

Table = dict[str, Any]


@dataclass(slots=True)
class DeadmanTrials:
    """What the venue's dead man's switch did about orders that rested when the daemon died.

    Attributes:
        timeout_s: as configured. resting: kills with an order open at the venue. left_alone: those after which nothing was
            started until none was. cleared: by the switch; the others filled or reached their own end first.
        cleared_s_max: from the kill until none was open, of those that the switch cleared; 0.0 for none.
    """

    timeout_s: int = 0
    resting: int = 0
    left_alone: int = 0
    cleared: int = 0
    cleared_s_max: float = 0.0

    def add(self, took_s: float, *, by_switch: bool) -> None:
        """Count one kill after which the venue was left alone, and how long until no order was open."""
        self.left_alone += 1
        if by_switch:
            self.cleared += 1
            self.cleared_s_max = round(max(self.cleared_s_max, took_s), 2)

    def merge(self, other: DeadmanTrials) -> None:
        """Take in what another session counted."""
        self.timeout_s = max(self.timeout_s, other.timeout_s)
        self.resting += other.resting
        self.left_alone += other.left_alone
        self.cleared += other.cleared
        self.cleared_s_max = max(self.cleared_s_max, other.cleared_s_max)

    def __str__(self) -> str:
        return (f"orders rested in {self.resting} of the kills; {self.left_alone} times nobody started the daemon again, and the "
                f"dead man's switch cleared them {self.cleared} times, after {self.cleared_s_max:g} s at most (its timeout is "
                f"{self.timeout_s} s); the other {self.left_alone - self.cleared} times they had filled or expired before")


def new_tally() -> Table:
    """Return a tally of nothing yet."""
    return {"format": FORMAT, "kills": 0, "sessions": 0, "orders": 0, "fills": 0, "records": 0, "not_reached": 0,
            "found": dict.fromkeys(KINDS, 0), "moments": {}, "ready_s_max": 0.0, "deadman": asdict(DeadmanTrials()),
            "seeds": [], "failed": []}


def read_tally(path: Path) -> Table:
    """Return the tally in a file, a new one where there is none.

    Raises:
        UsageError: the file is no tally.
    """
    with contextlib.suppress(FileNotFoundError):
        try:
            table = json.loads(path.read_bytes())
            if table["format"] == FORMAT and table.keys() == new_tally().keys():
                return dict(table)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        if path.exists():
            raise UsageError(f"{path} is no tally of kills", suggestion="name another file with --tally")
    return new_tally()


def write_tally(path: Path, table: Table) -> None:
    """Replace the file, so that whoever is interrupted leaves the last whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def add_session(table: Table, *, seed: int, kills: int, orders: int, fills: int, records: int, ready_s_max: float,
                moments: dict[str, int], findings: list[Finding], not_reached: str = "",
                deadman: DeadmanTrials | None = None) -> None:
    """Add a session that was judged, or failed. Each finding is counted under its kind."""
    table["sessions"] += 1
    for key, count in (("kills", kills), ("orders", orders), ("fills", fills), ("records", records)):
        table[key] += count
    table["ready_s_max"] = round(max(table["ready_s_max"], ready_s_max), 2)
    for moment, count in moments.items():
        table["moments"][moment] = table["moments"].get(moment, 0) + count
    trials = DeadmanTrials(**table["deadman"])
    trials.merge(deadman or DeadmanTrials())
    table["deadman"] = asdict(trials)
    for finding in findings:
        table["found"][finding.kind] += 1
    table["not_reached"] += bool(not_reached)
    table["seeds"].append(seed)
    if findings or not_reached:
        table["failed"].append(seed)
