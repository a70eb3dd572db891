"""What the daemon shows of models: the scorer process, and the scores that the engine knows."""

from __future__ import annotations

from cstd.daemon.bar_rows import REASONS
from cstd.engine import Engine
from cstd.engine.scores import MILLION
from cstd.ops import view_models as shapes

SCORES_SHOWN = 200


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
