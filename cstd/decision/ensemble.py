"""What a score is worth to the ensemble strategy: the confidence gate, the size, and until when; docs/ensemble.md.

A pure function of a score, its age and the volatility: whole millionths in, whole millionths out. Money comes in where the
compiled strategy turns a share of equity into lots.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from cstd.config import Config
from cstd.config.schema import EnsembleConfig
from cstd.decision import halvings
from cstd.decision.sizing import PPM, edge_of, horizon_volatility, kelly_share, part, volatility_scale
from cstd.units import seconds_to_ns

MEMBERS_LEAST = 2
HALF_PPM = PPM // 2
# Every reason to want nothing, in the order in which they are looked at; the first that holds is counted. `stale` is looked at
# twice: beyond the lifetime in its place here, and beyond what may open after `member_missing`.
REASONS = ("no_score", "stale", "model_state", "member_missing", "drift", "probability_below", "lower_bound", "no_volatility",
           "no_size")
REASON_TEXTS = {
    "no_score": "there is no score of this horizon", "stale": "the score's features are too old",
    "model_state": "the model may not trade in this mode", "member_missing": "fewer members were ready than have to be",
    "drift": "the instrument's rows are too far from those that the model was trained on, or nobody can say",
    "probability_below": "the calibrated probability is below probability_min",
    "lower_bound": "the lower end of the 90 % interval of the net return is not above zero",
    "no_volatility": "the volatility is not known", "no_size": "the size comes to nothing",
}
# By the drift of the instrument's rows (docs/drift.md). What a score does not tell, or a card cannot, opens nothing.
DRIFT_OPENS = ("none", "gathering", "watch", "drifted")
DRIFT_SMALLER = ("gathering", "watch", "drifted")
DRIFT_SHADOW = ("drifted",)
# Registry states (docs/models-registry.md) whose models may trade, by mode. A rejected or unassessable one is in none of them.
STATES = {"live": ("production",), "paper": ("production", "canary"), "practice": ("production", "canary")}


class DriftSeen(Protocol):
    """What of an instrument's drift is read here: `cstd.signals.drift.Drift`."""

    @property
    def state(self) -> str: ...


class ScoreSeen(Protocol):
    """What of a score is read here: `cstd.engine.scores.Score`."""

    @property
    def probability_e6(self) -> int: ...
    @property
    def lower_e6(self) -> int: ...
    @property
    def upper_e6(self) -> int: ...
    @property
    def members(self) -> int: ...
    @property
    def registered(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def verdict(self) -> str: ...
    @property
    def drift(self) -> DriftSeen | None: ...


class Rule(NamedTuple):
    """The configuration in whole numbers. fresh_ns: an older score opens nothing; lifetime_ns: an older one holds nothing."""

    horizon_s: int
    probability_e6: int
    exit_e6: int
    members_min: int
    fresh_ns: int
    lifetime_ns: int
    half_life_ns: int
    floor_e6: int
    size_ppm_max: int
    target_ppm: int
    states: tuple[str, ...]
    drift_ppm: int | None = None  # of the size, of what drifts a little; None: drift is not looked at


class Verdict(NamedTuple):
    """What came of one score.

    reason: why nothing may be opened, "" where something may. shadow: that is decided and not sent. usable: the score counts for
    what is held too. hold_ns: how much longer what is held is held, 0: not at all. steps: (name, millionths) of the size, in
    order; what ended it is the last.
    """

    reason: str
    usable: bool = False
    age_ns: int = 0
    weight_e6: int = 0
    decayed_e6: int = 0
    needed: int = 0
    hold_ns: int = 0
    edge_ppm: int = 0
    error_ppm: int = 0
    volatility_ppm: int = 0
    steps: tuple[tuple[str, int], ...] = ()
    size_ppm: int = 0
    shadow: bool = False


def rule_of(cfg: Config) -> Rule | None:
    """Return the rule of a configuration, None where the strategy has no table. Without a scorer every score is too old."""
    found, scorer = cfg.strategy.ensemble, cfg.scorer
    if found is None:
        return None
    fresh_ns = seconds_to_ns(min(scorer.age_s_max, found.score_lifetime_s)) if scorer is not None else -1
    return Rule(
        found.score_horizon_s, _ppm(found.probability_min), _ppm(found.probability_exit), found.members_min, fresh_ns,
        seconds_to_ns(found.score_lifetime_s), seconds_to_ns(found.decay_half_life_s), _ppm(found.decay_floor),
        _ppm(found.size_frac_max), found.volatility_target_bps * 100, STATES[cfg.mode],
        _ppm(cfg.drift.watch_size_frac) if cfg.drift is not None else None)


def _ppm(value: Decimal) -> int:
    return int(value * PPM)


def params_of(found: EnsembleConfig) -> dict[str, int]:
    """Return the compiled strategy's parameters by name."""
    return {"lifetime_ns": seconds_to_ns(found.lifetime_s), "retry_ns": seconds_to_ns(found.retry_s),
            "unknown_ns": seconds_to_ns(found.score_lifetime_s)}


def weight(rule: Rule, age_ns: int) -> int:
    """Return what age leaves of a score, in millionths: half after each half-life, the floor at least; 0 beyond its lifetime."""
    if age_ns > rule.lifetime_ns:
        return 0
    return max(rule.floor_e6, halvings.power(max(age_ns, 0), rule.half_life_ns) * PPM >> halvings.BITS)


def decayed(probability_e6: int, weight_e6: int) -> int:
    """Return a probability that has faded toward one half, which knows nothing, in millionths; rounded down."""
    return HALF_PPM + (probability_e6 - HALF_PPM) * weight_e6 // PPM


def holds_for(rule: Rule, probability_e6: int, age_ns: int) -> int:
    """Return for how many ns more a score keeps what is held: until it has faded through the exit threshold, or its life ends."""
    left_ns = rule.lifetime_ns - age_ns
    if left_ns <= 0 or probability_e6 < rule.exit_e6 or decayed(probability_e6, weight(rule, age_ns)) < rule.exit_e6:
        return 0
    above, needed = probability_e6 - HALF_PPM, rule.exit_e6 - HALF_PPM
    if needed <= 0 or above * rule.floor_e6 >= needed * PPM:
        return left_ns
    fades_at_ns = halvings.count(above, needed) * rule.half_life_ns >> halvings.FRACTION_BITS
    return max(0, min(left_ns, fades_at_ns - age_ns))


def judge(rule: Rule, score: ScoreSeen | None, age_ns: int, year_ppm: int | None) -> Verdict:
    """Return what a score is worth at an age.

    Args:
        score: None where there is none. age_ns: since the time of its features.
        year_ppm: the volatility of a year in millionths, None where it is not known.
    """
    if score is None:
        return Verdict("no_score")
    needed = max(MEMBERS_LEAST, rule.members_min or score.registered)
    verdict = Verdict("", age_ns=age_ns, needed=needed, weight_e6=weight(rule, age_ns))
    verdict = verdict._replace(decayed_e6=decayed(score.probability_e6, verdict.weight_e6))
    if age_ns < 0 or age_ns > rule.lifetime_ns:
        return verdict._replace(reason="stale")
    if score.state not in rule.states or score.verdict != "holds":
        return verdict._replace(reason="model_state")
    if not score.registered or score.members < needed:
        return verdict._replace(reason="member_missing")
    verdict = verdict._replace(usable=True, hold_ns=holds_for(rule, score.probability_e6, age_ns))
    if age_ns > rule.fresh_ns:
        return verdict._replace(reason="stale")
    drift = score.drift.state if score.drift is not None else ""
    if rule.drift_ppm is not None and drift not in DRIFT_OPENS:
        return verdict._replace(reason="drift")
    if score.probability_e6 < rule.probability_e6 or not verdict.hold_ns:
        return verdict._replace(reason="probability_below")
    if score.lower_e6 <= 0:
        return verdict._replace(reason="lower_bound")
    return _sized(rule, score, verdict, year_ppm)


def _sized(rule: Rule, score: ScoreSeen, verdict: Verdict, year_ppm: int | None) -> Verdict:
    """The size, a step at a time: each takes its part once."""
    edge, error = edge_of(score.lower_e6, score.upper_e6)
    measured = horizon_volatility(year_ppm, rule.horizon_s) if year_ppm is not None else 0
    verdict = verdict._replace(edge_ppm=edge, error_ppm=error, volatility_ppm=max(measured, error))
    if not measured:
        return verdict._replace(reason="no_volatility")
    uncut = kelly_share(edge, error, verdict.volatility_ppm, PPM * PPM)
    share = min(uncut, rule.size_ppm_max)
    steps = [("quarter_kelly", uncut), ("size_frac_max", share)]
    for name, ppm in (("decay", verdict.weight_e6), ("volatility_target", volatility_scale(measured, rule.target_ppm))):
        share = part(share, ppm)
        steps.append((name, share))
    drift = score.drift.state if score.drift is not None else ""
    if rule.drift_ppm is not None and drift in DRIFT_SMALLER:
        share = part(share, rule.drift_ppm)
        steps.append(("drift", share))
    return verdict._replace(reason="" if share else "no_size", steps=tuple(steps), size_ppm=share,
                            shadow=rule.drift_ppm is not None and drift in DRIFT_SHADOW)


def held_back(rule: Rule, score: ScoreSeen | None) -> bool:
    """Tell whether the rows of a score are too far from training's for anything of its instrument to be sent."""
    if rule.drift_ppm is None or score is None:
        return False
    state = score.drift.state if score.drift is not None else ""
    return state not in DRIFT_OPENS or state in DRIFT_SHADOW


def told(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as plain values for the journal; figures in millionths."""
    return {"reason": verdict.reason, "age_ns": verdict.age_ns, "weight_e6": verdict.weight_e6, "decayed_e6": verdict.decayed_e6,
            "members_needed": verdict.needed, "edge_ppm": verdict.edge_ppm, "error_ppm": verdict.error_ppm,
            "volatility_ppm": verdict.volatility_ppm, "steps": [list(step) for step in verdict.steps],
            "size_ppm": verdict.size_ppm}
