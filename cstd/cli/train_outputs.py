"""What `cstd train` and `cstd evaluate` print with `-o json`, as types."""

from __future__ import annotations

from typing import Literal, TypedDict


class TrainedHorizon(TypedDict):
    """What was found on the rows that were held out; the whole of it is in the card."""

    n: int
    independent_windows: int
    brier_skill: float | None
    brier_skill_ci: list[float] | None
    trades: int
    verdict: Literal["holds", "rejected", "not assessable"]


class Trained(TypedDict):
    """A version that `cstd train` wrote."""

    model: str  # NAME/VERSION
    folder: str
    report: str
    signed: bool
    verdict: Literal["holds", "rejected", "not assessable"]
    horizons: dict[str, TrainedHorizon]


class NoTrade(TypedDict):
    """What the trades at the gate earned above no trade, as a part of capital a day."""

    net_per_day: float
    ci: list[float]


class BuyAndHold(TypedDict):
    """Equal parts of all instruments over the span, after fees."""

    net: float | None
    sharpe: float | None


class LastReturn(TypedDict):
    """The sign of the last bar's return as a forecast, over the base rate; and the model over it, with its interval."""

    brier_skill: float | None
    model_skill: float | None
    model_skill_ci: list[float] | None


class EwmaVolatility(TypedDict):
    """Intervals of EWMA volatility alone."""

    pinball: float
    z_lower: float  # quantiles of the gross return in units of it, from before the span
    z_upper: float


class BaseRate(TypedDict):
    """The share of events of its own instrument, said of every row."""

    rate: float  # of all
    rates: dict[str, float]  # by instrument
    brier: float


class Baselines(TypedDict):
    """What a model has to beat."""

    no_trade: NoTrade
    buy_and_hold: BuyAndHold
    last_return: LastReturn
    ewma_volatility: EwmaVolatility
    constant: BaseRate


class EvaluatedHorizon(TypedDict):
    """One horizon; null where there is nothing to say it of. Every figure is explained in docs/models.md."""

    n: int
    independent_windows: int
    blocks: int  # that intervals are drawn from
    brier_skill: float | None
    brier_skill_ci: list[float] | None
    pinball_skill: float
    pinball_skill_ci: list[float]
    ece: float
    auc: float | None
    coverage: float
    coverage_by_regime: dict[str, float | None]
    highest_probability: float
    hit_rate_at_gate: float | None
    hit_rate_ci: list[float] | None
    break_even: float | None  # the hit rate at which these neither earn nor lose
    trades: int  # of them, whose interval is above zero: what would have been traded
    independent_trades: int  # of those that do not overlap in time
    turnover: float  # bought and sold a day, as a multiple of capital
    net: float  # earned over the span, as a part of capital
    net_sharpe: float | None
    deflated_sharpe: float | None
    costs_below_default: bool
    baselines: Baselines
    verdict: Literal["holds", "rejected", "not assessable"]


class Evaluated(TypedDict):
    """A stored model on bars that it was not trained on."""

    model: str  # NAME/VERSION
    horizons: dict[str, EvaluatedHorizon]
