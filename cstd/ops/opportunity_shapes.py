"""Shape of an opportunity, as control and sight show it; docs/opportunities.md, and cstd.ops.view for the conventions."""

from __future__ import annotations

from typing import TypedDict

STANDINGS = ("tradable", "refused", "abstains", "no_score")
HORIZONS = {"1h": 3_600, "4h": 14_400, "24h": 86_400}


class Opportunity(TypedDict):
    """One instrument at one horizon. Without a score that may be used, no figure of a model is there: each is None."""

    instrument: str
    horizon: str  # 1h, 4h, 24h; another one where the strategy's is another
    horizon_s: int
    strategy_horizon: bool  # the horizon that the ensemble trades, while it is the strategy
    standing: str  # tradable, refused, abstains, no_score
    reason: str | None  # why it is not tradable: of the ensemble, or of the first gate that refuses
    reasons: list[str]  # the same in words, and what speaks for it
    expected: str | None  # net return after fees: the middle of the interval; nothing is promised beyond the interval
    lower: str | None  # of the 90 % interval of the net return
    upper: str | None
    probability: str | None  # calibrated, of a net return above zero
    age_ns: int | None  # of the score's features; also told of a score that is too old
    card_sha256: str | None  # of the model whose score is known
    model_state: str | None  # in the registry
    model_verdict: str | None
    members: int | None
    members_registered: int | None
    risk: str | None  # low, medium, high
    risk_reasons: list[str]
    held: bool  # something of it is held now
    price: str | None  # the best bid that the gates were asked at
    qty: str | None  # the ensemble's own size
    up_to_qty: str | None  # what of it all gates let pass; 0 where one refuses
    up_to: str | None  # the same in account currency
    currency: str
    refused_by: str | None  # the first gate that refuses
    reduced_by: str | None
    failing: list[str]  # every gate that fails
    judged_wall_ns: int  # of the engine's event that it was judged at
