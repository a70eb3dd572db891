"""The score behind a decision of the ensemble, as `cstd why`, the page and the API show it: from the journal's record of it.

Shares, probabilities and returns are decimal text, exact to a millionth. Importing this is cheap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cstd.units import NS_PER_S, format_raw

MILLIONTHS = 6
STEP_TEXTS = {
    "quarter_kelly": "a quarter of Kelly's share of the shrunk edge", "size_frac_max": "at most strategy.ensemble.size_frac_max",
    "decay": "times the score's weight", "volatility_target": "times the volatility target",
    "drift": "times drift.watch_size_frac",
}


def shown(signal: Mapping[str, Any], decided_wall_ns: int) -> dict[str, object]:
    """Return the record of a verdict as plain values.

    Args:
        signal: what `cstd.engine.ensemble` put on record. decided_wall_ns: of the decision that was made under it.
    """
    age_ns = decided_wall_ns - signal["event_wall_ns"]
    return {
        "wish": signal["wish"], "scored_wall_ns": signal["decided_wall_ns"], "horizon_s": signal["horizon_s"],
        "card_sha256": signal["model"], "model_state": signal["model_state"], "model_verdict": signal["model_verdict"],
        "votes": [{"member": name, "probability": decimal_text(vote)} for name, vote in signal["votes"]],
        "members": signal["members"], "members_registered": signal["registered"], "members_needed": signal["members_needed"],
        "score": decimal_text(signal["stacked_e6"]), "calibration": signal["calibration"],
        "probability": decimal_text(signal["probability_e6"]), "probability_min": decimal_text(signal["probability_min_e6"]),
        "probability_exit": decimal_text(signal["probability_exit_e6"]), "probability_faded": decimal_text(signal["decayed_e6"]),
        "age_ns": signal["age_ns"], "age_at_decision_ns": age_ns, "weight": decimal_text(signal["weight_e6"]),
        "lower": decimal_text(signal["lower_e6"]), "upper": decimal_text(signal["upper_e6"]),
        "edge": decimal_text(signal["edge_ppm"]), "error": decimal_text(signal["error_ppm"]),
        "volatility": decimal_text(signal["volatility_ppm"]),
        "steps": [{"step": name, "share": decimal_text(share)} for name, share in signal["steps"]],
        "size": decimal_text(signal["size_ppm"]),
        "reason": signal["reason"] or None, "open_until_wall_ns": signal["open_until_wall_ns"],
        "drift": _drift(signal), "shadow": signal.get("shadow", False),
        "hold_until_wall_ns": signal["hold_until_wall_ns"], "ended": decided_wall_ns >= signal["hold_until_wall_ns"],
    }


def _drift(signal: Mapping[str, Any]) -> dict[str, object] | None:
    """Return how the instrument's rows stood to those of training; None where it was not looked at, or not told."""
    if signal.get("drift") is None:
        return None
    state, beyond, psi, ks, feature, rows = signal["drift"]
    return {"state": state, "beyond": decimal_text(beyond), "psi": decimal_text(psi), "ks": decimal_text(ks), "feature": feature,
            "rows": rows}


def decimal_text(millionths: int) -> str:
    """Return millionths as decimal text, without zeros at its end."""
    whole, _, fraction = format_raw(millionths, MILLIONTHS).partition(".")
    return f"{whole}.{fraction.rstrip('0')}" if fraction.rstrip("0") else whole


def lines(signal: Mapping[str, Any], multiplier: object) -> Iterator[str]:
    """Yield it as text for a terminal: members, score, interval, size. multiplier: the level's, which gate 11 applies."""
    votes = ", ".join(f"{vote['member']} {vote['probability']}" for vote in signal["votes"]) or "not told"
    yield (f"  score of {_span(signal['horizon_s'])}, wish {signal['wish']}, model {str(signal['card_sha256'])[:8]} "
           f"({signal['model_state'] or 'state not told'}, verdict {signal['model_verdict'] or 'not told'})")
    yield (f"     members       {votes}; {signal['members']} of {signal['members_registered']} ready, "
           f"{signal['members_needed']} needed")
    yield (f"     probability   {signal['score']} joined, {signal['probability']} calibrated "
           f"({signal['calibration'] or 'not told'}), opens from {signal['probability_min']}")
    yield (f"     age           {signal['age_ns'] // NS_PER_S} s when judged: weight {signal['weight']}, faded to "
           f"{signal['probability_faded']}, left below {signal['probability_exit']}")
    yield f"     interval 90 % {signal['lower']} to {signal['upper']} of net return"
    if drift := signal["drift"]:
        yield f"     drift         {_drift_line(drift)}" + ("; in shadow: decided, not sent" if signal["shadow"] else "")
    if signal["steps"]:
        yield f"     edge          {signal['edge']}, error {signal['error']}, volatility {signal['volatility']} over the horizon"
        for step in signal["steps"]:
            yield f"     size          {step['share']:<12} {STEP_TEXTS[step['step']]}"
        yield f"     size          x {multiplier}: the level's part, by gate 11; then the caps of gates 16 to 18"
    if signal["reason"]:
        yield f"     opens nothing: {str(signal['reason']).replace('_', ' ')}"
    if signal["ended"]:
        yield "     what is held is left: the score faded through its exit threshold, or its life is over"


def _drift_line(drift: Mapping[str, Any]) -> str:
    if not drift["feature"]:
        return str(drift["state"])
    return (f"{drift['state']}: {drift['feature']} has a PSI of {drift['psi']}, {drift['beyond']} beyond training's own, KS "
            f"{drift['ks']}, {drift['rows']} rows")


def _span(seconds: int) -> str:
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
