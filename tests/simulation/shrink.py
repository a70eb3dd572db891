"""From a seed that fails to the few faults that make it fail; and the failures that are kept and always played."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.simulation.faults import FAULTS, AnyFault

KEPT = Path(__file__).with_name("kept.json")
AFTER_S = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)    # that the venue stays unhealthy after the last fault began


@dataclass
class Shrunk:
    """What is left: numbers of faults, none of which can be left out, for so many seconds. `plays`: how many sessions it took."""

    numbers: list[int]
    seconds: float
    plays: int


def shrink(faults: Sequence[AnyFault], seconds: float, fails: Callable[[list[int], float], bool]) -> Shrunk:
    """Leave out faults as long as what is left fails.

    Args:
        faults: of the session that fails. seconds: how long the venue is unhealthy in it.
        fails: whether a session with the faults of these numbers, for so many seconds, fails in the same way.
    """
    shrunk = Shrunk([n for n, fault in enumerate(faults) if fault.at_s < seconds], seconds, 0)

    def still(numbers: list[int], for_s: float) -> bool:
        shrunk.plays += 1
        return fails(numbers, for_s)

    size = max(1, len(shrunk.numbers) // 2)
    while True:
        left_out = _leave_out(shrunk, size, still)
        if size == 1 and not left_out:
            break
        size = max(1, size // 2)
    last_s = max((faults[n].at_s for n in shrunk.numbers), default=0.0)
    for after_s in AFTER_S:
        for_s = round(last_s + after_s, 3)
        if for_s < seconds and still(shrunk.numbers, for_s):
            shrunk.seconds = for_s
            break
    return shrunk


def _leave_out(shrunk: Shrunk, size: int, still: Callable[[list[int], float], bool]) -> bool:
    """Leave out runs of so many faults, the last ones first; whether any could be."""
    before = len(shrunk.numbers)
    at = before - size
    while at > -size:
        rest = shrunk.numbers[:max(at, 0)] + shrunk.numbers[at + size:]
        if len(rest) < len(shrunk.numbers) and still(rest, shrunk.seconds):
            shrunk.numbers = rest
        at -= size
    return len(shrunk.numbers) < before


@dataclass(frozen=True)
class Kept:
    """A failure that was found once: its seed, its faults, and what was wrong."""

    what: str
    seed: int
    seconds: float
    faults: list[AnyFault] = field(default_factory=list)


def read_kept(path: Path = KEPT) -> list[Kept]:
    """Return what is kept.

    Raises:
        ValueError: the file holds something else.
    """
    return [Kept(row["what"], row["seed"], row["seconds"], FAULTS.decode(json.dumps(row["faults"]).encode()))
            for row in json.loads(path.read_text())] if path.exists() else []


def keep(failure: Kept, path: Path = KEPT) -> None:
    """Add a failure, in place of one that has the same name."""
    kept = [known for known in read_kept(path) if known.what != failure.what] + [failure]
    rows: list[Any] = [{"what": one.what, "seed": one.seed, "seconds": one.seconds, "faults": msgspec.to_builtins(one.faults)}
                       for one in kept]
    path.write_text(json.dumps(rows, indent=1) + "\n")
