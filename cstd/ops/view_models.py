"""What the daemon shows of models: the shapes of the scorer process and of scores, beside those of `view`."""

from __future__ import annotations

from typing import TypedDict


class ScorerStatus(TypedDict):
    """The scorer process, as its trading process sees it."""

    state: str  # off, starting, waiting, opening, ready, refused, stopped, down
    reason: str  # why there are no new scores
    version: str | None  # of the model that scores
    rows: str  # what its rows of features are of, and why instruments have none


class EnsembleStatus(TypedDict):
    """What the ensemble strategy makes of the scores; docs/ensemble.md."""

    trades: bool  # a model that may trade in this mode scores some instrument
    reason: str  # why not, "" where it does
    horizon_s: int
    verdicts: dict[str, int]  # since the boot: opens, or why nothing may be opened -> how often
    now: dict[str, int]  # the newest of each instrument -> instruments


class ModelDrift(TypedDict):
    """How far the rows of the instruments that are scored are from those of the model's training; docs/drift.md."""

    state: str  # the worst of all instruments: none, watch, drifted, broken; gathering, not assessable
    instrument: str | None  # the furthest; figures are of its furthest feature
    feature: str
    beyond: float  # its PSI less the greatest that training's own rows had
    psi: float
    ks: float
    rows: int  # of its window
    states: dict[str, int]  # -> instruments
    windows: str  # whether the windows of before are kept, in words
    left_out: int  # rows that were none: a feature was missing, or no number


class SignalVote(TypedDict):
    """What one member of the ensemble said."""

    member: str
    probability: str


class SignalStep(TypedDict):
    """One step of the size: what it left, as a share of equity."""

    step: str  # quarter_kelly, size_frac_max, decay, volatility_target, drift
    share: str


class SignalDrift(TypedDict):
    """How an instrument's rows stood to those of training; docs/drift.md."""

    state: str  # none, watch, drifted, broken, gathering, not assessable
    beyond: str  # the PSI of `feature`, the furthest one, less the greatest that training's own rows had
    psi: str
    ks: str
    feature: str
    rows: int  # of the window


class Signal(TypedDict):
    """The score that a decision of the ensemble was made under; shares, probabilities and returns as decimal text."""

    wish: int
    scored_wall_ns: int
    horizon_s: int
    card_sha256: str
    model_state: str  # in the registry
    model_verdict: str
    votes: list[SignalVote]
    members: int  # that were ready
    members_registered: int
    members_needed: int
    score: str  # joined, before calibration
    calibration: str
    probability: str  # calibrated
    probability_min: str
    probability_exit: str
    probability_faded: str
    age_ns: int  # of the features, when it was judged
    age_at_decision_ns: int
    weight: str
    lower: str  # of the net return, 90 %
    upper: str
    edge: str
    error: str
    volatility: str  # over the horizon
    steps: list[SignalStep]
    size: str  # of equity, before level and caps
    reason: str | None  # why it opens nothing
    drift: SignalDrift | None  # where it was looked at
    shadow: bool  # because of it, decided and not sent
    open_until_wall_ns: int
    hold_until_wall_ns: int
    ended: bool  # what is held is left


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
    drift_windows: str  # whether the windows that drift is measured by were kept, in words
    drift_left_out: int  # rows that are in none
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


class BarRow(TypedDict):
    """The row of features of one instrument's newest closed bar."""

    instrument: str
    reason: str  # why there is none; "" where there is one
    bars: int  # closed bars that it is of
    first_s: int | None  # until there may be one, 0 where there is one, null while nobody can say


class BarRows(TypedDict):
    """The rows that a model of bars reads, as the trading process computes them."""

    bar_s: int
    features: int
    features_hash: str
    ready: int  # instruments with a row now
    rows: int  # of bars that closed since the start
    abstained: dict[str, int]  # bars without a row, by reason
    instruments: list[BarRow]


class Models(TypedDict):
    """`/api/v1/models`: the scorer, the rows of bars (null where its model reads none) and the newest scores."""

    scorer: Scorer
    bars: BarRows | None
    scores: list[ScoreRow]
