"""What `cstd replay` puts into its row with `--rescore` and with `--set` of a limit. Figures of scores are millionths."""

from __future__ import annotations

from typing import Literal, TypedDict


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


class WhatIfOrder(TypedDict):
    """An order that the limits as they are sent, and the changed ones did not."""

    utc: str  # of its decision
    instrument: str
    kind: str
    side: str
    price: str
    qty: str
    refused_by: str | None  # the gate; null where the strategy did not wish for it then


class WhatIf(TypedDict):
    """What a changed limit came to, on the simulated venue."""

    changed: list[str]
    orders_before: int
    orders_now: int
    not_sent: int
    other_quantity: int
    sent_instead: int  # at a time at which there was none before
    equity_before: str
    equity_now: str
    equity_change: str
    orders: list[WhatIfOrder]  # not sent, the first hundred


class OwnOrder(TypedDict):
    """An order that the journal's daemon sent, and that the changed limits would not have sent so."""

    seq: int  # the journal record of its decision; `cstd why ID` explains it as it was
    utc: str  # of its decision
    cl_ord_id: str
    instrument: str
    kind: str
    side: str
    price: str
    qty: str
    outcome: Literal["not_sent", "reduced", "pulled"]  # pulled: by the changed limits while it rested
    at_utc: str  # when they refused or cut it
    stays: str  # how much they leave of it: what would have been sent, or had been filled until it was pulled
    filled: str  # how much was filled of it as it was
    gate: str | None  # that refused or cut it, with its value and limit; null where only the size at a level cut it
    reason: str | None
    key: str | None
    unit: str | None
    value: str | None
    limit: str | None
    contribution: str  # what the fills that fall away, and their part of later sales, brought


class OwnOrders(TypedDict):
    """The journal's own orders by the changed limits, each judged by itself in the history that happened."""

    changed: list[str]
    not_judged: list[str]  # of them: no gate compares with these
    first_seq: int  # of the first record that was looked at
    sent: int
    as_sent: int
    larger: int
    reduced: int
    not_sent: int
    pulled: int
    let_out: int  # wishes that were refused, and would not have been
    equity: str  # at the journal's end, marked at the last verified bids
    equity_without: str  # the same without what falls away
    contribution: str  # the difference
    orders: list[OwnOrder]  # that fall away or shrink, the first hundred
