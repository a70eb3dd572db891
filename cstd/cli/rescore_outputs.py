"""What `cstd replay --rescore` puts into its row: scores of the journal beside what the models make of the same rows.

Figures of scores are millionths, as the journal has them.
"""

from __future__ import annotations

from typing import TypedDict


class ScoreFigures(TypedDict):
    """One score."""

    probability_e6: int
    lower_e6: int  # of the net return
    upper_e6: int
    members: int


class WorstScore(TypedDict):
    """The first of the scores of a row that came out furthest from what was taken."""

    seq: int  # the record that it was taken with
    taken: ScoreFigures
    found: ScoreFigures


class RescoredRow(TypedDict):
    """One model at one horizon for one instrument. `rescored` of `scores` could be made again."""

    model: str  # SHA-256 of the card
    name: str | None  # null where the registry has no such card, or none was asked for
    version: str | None
    horizon_s: int
    instrument: str
    scores: int
    rescored: int
    equal: int
    above: int  # further apart than the tolerance, or of another number of members
    greatest_probability_e6: int  # the greatest difference
    greatest_interval_e6: int
    worst: WorstScore | None


class RescoredModel(TypedDict):
    """A model that scores of the journal are of."""

    model: str
    name: str | None
    version: str | None
    problem: str | None  # why nothing was scored with it


class NotRescored(TypedDict):
    """Scores that were not made again, by reason; docs/replay.md."""

    before_first_record: int
    row_not_journaled: int
    another_row: int
    model: int
    not_made: int


class Rescored(TypedDict):
    """The whole comparison."""

    scores: int
    rescored: int
    equal: int
    above: int
    greatest_e6: int
    tolerance_e6: int
    not_rescored: NotRescored
    held: bool  # every score came out again; those before the first record that is kept apart
    models: list[RescoredModel]
    rows: list[RescoredRow]
