"""The scores of a journal as a part of its market: what a model said at a time, whoever trades on it.

A score is made of the market alone, so it stands in a market that is traded anew as it stood in the journal. Its times are told
anew on the one clock of such a run, its age stays what it was; instruments are found by name.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import msgspec

from cstd.config import Config
from cstd.engine.scores import FIELDS, WITH_ROW, Told

SCORED, EVENT = FIELDS.index("scored_mono_ns"), FIELDS.index("event_mono_ns")
LENGTHS = (len(FIELDS), WITH_ROW)


@dataclass(slots=True)
class Scored:
    """Which scores a journal holds. names: its instruments, by number. horizons: in seconds, by number."""

    names: list[str] = field(default_factory=list)
    horizons: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))

    def note(self, payload: bytes) -> None:
        """Take note of one event; what the engine could not read has no scores."""
        told = _read(payload)
        for row in told.rows if told is not None else ():
            if len(row) in LENGTHS:
                self.horizons[row[0]].add(row[1])

    def told(self, payload: bytes, names: list[str], later_ns: int) -> bytes:
        """Return the event for an engine of other instruments, on a clock that is so much later."""
        told = _read(payload)
        if told is None:
            return payload
        numbers = {number: names.index(name) for number, name in enumerate(self.names) if name in names}
        kept = [at for at, row in enumerate(told.rows) if len(row) in LENGTHS and row[0] in numbers]
        rows = [(numbers[row[0]], *row[1:EVENT], row[EVENT] + later_ns, *row[EVENT + 1:SCORED], row[SCORED] + later_ns,
                 *row[SCORED + 1:]) for row in (told.rows[at] for at in kept)]
        details = [told.details[at] for at in kept] if len(told.details) == len(told.rows) else []
        drift = [told.drift[at] for at in kept] if len(told.drift) == len(told.rows) else []
        return msgspec.json.encode(msgspec.structs.replace(told, rows=rows, details=details, drift=drift))


def _read(payload: bytes) -> Told | None:
    try:
        return msgspec.json.decode(payload, type=Told)
    except msgspec.DecodeError:
        return None


def no_scores(scored: Scored | None, cfg: Config) -> str:
    """Return why the ensemble of a configuration has nothing to trade on, "" where it has."""
    if scored is None:
        return "a recording has none"
    found = {horizon_s for horizons in scored.horizons.values() for horizon_s in horizons}
    if not found:
        return "the journal holds none"
    rule = cfg.strategy.ensemble
    if rule is not None and rule.score_horizon_s not in found:
        told = ", ".join(f"{horizon_s} s" for horizon_s in sorted(found))
        return f"those of the journal are of {told}, none of strategy.ensemble.score_horizon_s = {rule.score_horizon_s}"
    strange = [name for name in cfg.instruments.names if name not in scored.names]
    return f"the journal's daemon did not look at {', '.join(strange)}" if strange else ""
