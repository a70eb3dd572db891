"""What the daemon shows of models: the scorer process, and the scores that the engine knows."""

from __future__ import annotations

from collections import Counter

from cstd.decision.ensemble import REASON_TEXTS
from cstd.engine import Engine
from cstd.engine.bar_rows import REASONS
from cstd.engine.scores import MILLION
from cstd.ops import view_models as shapes
from cstd.signals.drift import STATES

SCORES_SHOWN = 200
# What an operator should see first: what stops openings, then what makes them smaller.
WORST_FIRST = ("broken", "not assessable", "drifted", "watch", "gathering", "none")


def seen(scorer: shapes.Scorer, engine: Engine, mono_ns: int, bars: shapes.BarRows | None = None) -> shapes.Models:
    """Return the scorer, the rows of bars, and the first scores by instrument and horizon, with their ages at `mono_ns`."""
    rows: list[shapes.ScoreRow] = [
        {"instrument": engine.names[number], "horizon_s": horizon_s, "probability": score.probability_e6 / MILLION,
         "lower": score.lower_e6 / MILLION, "upper": score.upper_e6 / MILLION, "members": score.members,
         "event_wall_ns": score.event_wall_ns, "age_ns": max(0, mono_ns - score.event_mono_ns),
         "fresh": engine.scores.fresh(number, horizon_s, mono_ns) is not None, "card_sha256": score.model}
        for number, horizon_s, score in engine.scores.rows()[:SCORES_SHOWN]]
    return {"scorer": scorer, "bars": bars, "scores": rows}


def counters(scorer: shapes.Scorer, engine: Engine, bars: shapes.BarRows | None = None) -> dict[str, int]:
    """Return what the metrics say of them."""
    scores = engine.scores
    abstained = bars["abstained"] if bars is not None else {}
    return {
        "bar_rows_ready": bars["ready"] if bars is not None else 0, "bar_rows": bars["rows"] if bars is not None else 0,
        **{f"bar_rows_{reason.replace(' ', '_')}": abstained.get(reason, 0) for reason in REASONS},
        "scorer_ready": int(scorer["state"] == "ready"), "scorer_restarts": scorer["restarts"],
        "scorer_events": scorer["events"], "scores_taken": scores.taken_count, "scores_refused": scores.refused_count,
        "score_age_ns": max(0, engine.core.mono_ns - scores.newest_mono_ns) if scores.newest_mono_ns else 0}


def ensemble(scorer: shapes.Scorer, engine: Engine) -> shapes.EnsembleStatus | None:
    """Return whether the ensemble has a model to trade on, and if not, why; None for another strategy."""
    found = engine.ensemble
    if found.rule is None:
        return None
    now: dict[str, int] = {}
    for reason in found.latest.values():
        now[reason or "opens"] = now.get(reason or "opens", 0) + 1
    verdicts = {reason or "opens": count for reason, count in sorted(found.counts.items())}
    scored = found.scored()
    return {"trades": scored, "reason": "" if scored else _nothing(scorer, now), "horizon_s": found.rule.horizon_s,
            "verdicts": verdicts, "now": now}


def drift(scorer: shapes.Scorer, engine: Engine) -> shapes.ModelDrift | None:
    """Return how far the instruments' rows are from those of the model's training, the furthest of them; None without scores."""
    drifts = engine.scores.drifts
    if not drifts:
        return None
    counted = Counter(one.state for one in drifts.values())
    worst = next(state for state in WORST_FIRST if state in counted)
    number = max((number for number, one in drifts.items() if one.state == worst), key=lambda number: drifts[number].beyond_e6)
    one = drifts[number]
    return {"state": worst, "instrument": engine.names[number], "feature": one.feature, "beyond": one.beyond_e6 / MILLION,
            "psi": one.psi_e6 / MILLION, "ks": one.ks_e6 / MILLION, "rows": one.rows,
            "states": {state: counted.get(state, 0) for state in STATES}, "windows": scorer.get("drift_windows", ""),
            "left_out": scorer.get("drift_left_out", 0)}


def _nothing(scorer: shapes.Scorer, now: dict[str, int]) -> str:
    """Why no model that may trade says anything."""
    if scorer["state"] == "off":
        return "scorer.enabled is false: no score can come"
    if scorer["state"] != "ready":
        return f"the scorer is {scorer['state']}" + (f": {scorer['reason']}" if scorer["reason"] else "")
    # What stands against the model says more than that there is nothing, or nothing young enough.
    order = ("model_state", "member_missing", "drift", "stale", "no_score")
    word = next((reason for reason in order if reason in now), "no_score")
    return REASON_TEXTS[word]
