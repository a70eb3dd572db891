"""What the daemon shows of models: the shapes of the scorer process and of scores, beside those of `view`."""

from __future__ import annotations

from typing import TypedDict


class ScorerStatus(TypedDict):
    """The scorer process, as its trading process sees it."""

    state: str  # off, starting, waiting, opening, ready, refused, stopped, down
    reason: str  # why there are no new scores
    version: str | None  # of the model that scores


class ScorerSession(TypedDict):
    """One member of a model: what its session asked for and what it got."""

    horizon: str
    member: str
    form: str  # onnx, or gathered: a tree in tensor form
    providers: list[str]
    nodes: dict[str, int]  # by provider, of a profile


class Scorer(ScorerStatus):
    """The scorer process in full."""

    alive: bool
    restarts: int
    events: int  # batches of scores that the engine was given
    name: str | None
    card_sha256: str | None
    device: str | None
    threads: int | None
    warm_ns: int | None  # one batch of all instruments, when it was opened
    batches: int
    batch_rows: int
    batch_ns: int  # of the last one
    sessions: list[ScorerSession]


class ScoreRow(TypedDict):
    """What the engine knows of one instrument at one horizon."""

    instrument: str
    horizon_s: int
    probability: float  # to a millionth
    lower: float  # of the net return, a fraction
    upper: float
    members: int
    event_wall_ns: int  # of the features that it is of
    age_ns: int  # since then
    fresh: bool  # young enough to be used
    card_sha256: str


class Models(TypedDict):
    """`/api/v1/models`: the scorer and the newest scores, the first SCORES_SHOWN of them."""

    scorer: Scorer
    scores: list[ScoreRow]
