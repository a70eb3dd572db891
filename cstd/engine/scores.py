"""Scores of models as the engine knows them: the newest of each instrument and horizon, with its age.

A score comes in as a journaled event, so a replay knows the same at the same record. Figures are integers (a probability in
millionths), compared exactly. What is older than `scorer.age_s_max`, from before this boot, or not there, is None: whoever
asks abstains.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from cstd.signals.drift import Drift
from cstd.signals.registry.card import HORIZONS_MAX

MILLION = 1_000_000


class Score(NamedTuple):
    """One instrument at one horizon. lower, upper: of the net return. Ages count from `event_mono_ns`, the features' time."""

    probability_e6: int
    lower_e6: int
    upper_e6: int
    members: int
    event_mono_ns: int
    event_wall_ns: int
    scored_mono_ns: int
    model: str  # SHA-256 of the card
    # What the scorer told of the model, "", 0 and () where it did not: its state in the registry and verdict, how many members
    # the registered ensemble has, the probability before calibration and by which method, and what each member said.
    state: str = ""
    verdict: str = ""
    registered: int = 0
    stacked_e6: int = 0
    calibration: str = ""
    votes: tuple[tuple[str, int], ...] = ()
    drift: Drift | None = None  # of the instrument's rows, None where the scorer did not tell it


class Told(msgspec.Struct, forbid_unknown_fields=True):
    """The payload of one event. Each row is FIELDS and ROW_FIELDS; in older journals FIELDS alone."""

    model: str
    rows: list[tuple[int, ...]]
    withdrawn: bool = False  # what is known of this model counts no more
    state: str = ""
    verdict: str = ""
    horizons: list[tuple[int, str, list[str]]] = []  # seconds, calibration, names of the members
    details: list[tuple[int, list[int]]] = []  # of each row: probability before calibration, members' in their order
    drift: list[Drift] = []  # of each row
    # Of rows of bars: the record behind which they were begun, and a bar's length in seconds. Nothing here needs it.
    bars: tuple[int, int] | None = None


FIELDS = ("instrument", "horizon_s", "probability_e6", "lower_e6", "upper_e6", "members", "event_mono_ns", "event_wall_ns",
          "scored_mono_ns")
# The record behind which the scored row was read, and the hash of what the model was given: nothing here needs them.
ROW_FIELDS = ("after_seq", "row_hash")
WITH_ROW = len(FIELDS) + len(ROW_FIELDS)


class Scores:
    """The table.

    Attributes:
        drifts: how each instrument's rows stand to the model's reference, as the newest of its scores told.
        newest_mono_ns: of the newest features that a score is of, 0 for none.
        boot_mono_ns: since when scores count.
        taken_count, refused_count: rows; those refused are of no instrument, no probability, of another time than this boot's,
            or of more horizons than an instrument may have.
    """

    def __init__(self) -> None:
        self._rows: dict[int, dict[int, Score]] = {}  # by instrument and horizon
        self.drifts: dict[int, Drift] = {}
        self._age_ns_max = 0
        self.boot_mono_ns = 0
        self.newest_mono_ns = 0
        self.taken_count = 0
        self.refused_count = 0

    def boot(self, age_ns_max: int, mono_ns: int) -> None:
        """Begin anew: what was known before counts on a clock, and for a configuration, that may be another. 0: none counts."""
        self._rows.clear()
        self.drifts.clear()
        self.newest_mono_ns = 0
        self._age_ns_max, self.boot_mono_ns = age_ns_max, mono_ns

    def take(self, payload: bytes, instruments: int, mono_ns: int) -> list[tuple[int, int]]:
        """Take the rows of one event; an older row than the one that is known changes nothing. One may withdraw a model.

        Returns:
            Instrument and horizon of those that were taken.
        """
        try:
            told = msgspec.json.decode(payload, type=Told)
        except msgspec.DecodeError:
            self.refused_count += 1
            return []
        if told.withdrawn:
            self._withdraw(told.model)
        taken = []
        horizons = {horizon_s: (calibration, names) for horizon_s, calibration, names in told.horizons}
        for at, row in enumerate(told.rows):
            if len(row) not in (len(FIELDS), WITH_ROW):
                self.refused_count += 1
                continue
            number, horizon_s = row[:2]
            calibration, names = horizons.get(horizon_s, ("", []))
            stacked_e6, votes = told.details[at] if len(told.details) == len(told.rows) else (0, [])
            drift = told.drift[at] if len(told.drift) == len(told.rows) else None
            score = Score._make((*row[2:len(FIELDS)], told.model, told.state, told.verdict, len(names), stacked_e6, calibration,
                                 tuple(zip(names, votes, strict=False)), drift))
            sound = (0 <= number < instruments and horizon_s > 0 and 0 <= score.probability_e6 <= MILLION
                     and score.lower_e6 <= score.upper_e6 and score.members > 0
                     and self.boot_mono_ns <= score.event_mono_ns <= mono_ns)
            rows = self._rows.get(number, {})
            known = rows.get(horizon_s)
            if not sound or (known is None and len(rows) >= HORIZONS_MAX):
                self.refused_count += 1
            elif known is None or score.event_mono_ns >= known.event_mono_ns:
                self._rows.setdefault(number, rows)[horizon_s] = score
                if score.drift is not None:
                    self.drifts[number] = score.drift
                self.newest_mono_ns = max(self.newest_mono_ns, score.event_mono_ns)
                self.taken_count += 1
                taken.append((number, horizon_s))
        return taken

    def fresh(self, number: int, horizon_s: int, mono_ns: int) -> Score | None:
        """Return a score that is young enough to be used, else None."""
        score = self._rows.get(number, {}).get(horizon_s) if self._age_ns_max else None
        return score if score is not None and mono_ns - score.event_mono_ns <= self._age_ns_max else None

    def newest(self, number: int, horizon_s: int) -> Score | None:
        """Return what is known, young or old: whoever asks looks at its age."""
        return self._rows.get(number, {}).get(horizon_s)

    def rows(self) -> list[tuple[int, int, Score]]:
        """Return instrument, horizon in seconds and score of everything that is known, young or old."""
        return [(number, horizon_s, score) for number, rows in sorted(self._rows.items())
                for horizon_s, score in sorted(rows.items())]

    def _withdraw(self, model: str) -> None:
        kept = {number: {horizon_s: score for horizon_s, score in rows.items() if score.model != model}
                for number, rows in self._rows.items()}
        self._rows = {number: rows for number, rows in kept.items() if rows}
        self.drifts = {number: drift for number, drift in self.drifts.items() if number in self._rows}
        self.newest_mono_ns = max((score.event_mono_ns for _, _, score in self.rows()), default=0)

    def state(self) -> dict[str, Any]:
        """Return all of it as plain values, for comparison."""
        return {"rows": self.rows(), "drifts": dict(self.drifts), "taken": self.taken_count, "refused": self.refused_count}
