"""Opportunities: every instrument at each horizon, by what the models' scores say and the gates would let pass.

Nothing here decides or changes anything of the engine. A score is judged by the ensemble's own rule (decision/ensemble.py), as
old as it is now; the gates are asked about an opening of the ensemble's own size (`cstd._fast.preview`). What a question may
cost is bounded: PAIRS_AT_ONCE of instrument and horizon are looked at in turn, each time the board or a client asks, and the
rows of the others are as they were looked at last.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import numpy as np

from cstd._fast import features, preview
from cstd._fast.codes import BookState, Verdict
from cstd._fast.gates import DECISION_DTYPE
from cstd.config import Config
from cstd.decision.ensemble import REASON_TEXTS, Rule, judge, rule_of
from cstd.decision.ensemble import Verdict as Judged
from cstd.decision.opportunities import horizon_word
from cstd.decision.risk_class import risk_class
from cstd.decision.scored import decimal_text
from cstd.decision.sizing import edge_of, millionths
from cstd.decision.why import failing_gates, gate_name
from cstd.engine import Engine
from cstd.engine.ensemble import WAITING
from cstd.engine.scores import Score
from cstd.ledger.nav import MONEY_PRECISION
from cstd.ops import view_models
from cstd.ops.opportunity_shapes import HORIZONS, STANDINGS, Opportunity
from cstd.signals.scorer.rows import ScoreStatus
from cstd.units import NS_PER_S, format_raw, seconds_to_ns

PAIRS_AT_ONCE = 6  # about 60 us each where there is a score, 15 us where there is none: the loop waits for all of them
SPREAD, VOLATILITY = map(features.NAMES.index, ("SPREAD_BPS", "M5_RVOL"))
NO_RULE_TEXT = "strategy.ensemble is not configured: no rule says which score may be used"
LEFT_OUT_TEXTS = {ScoreStatus.NOT_READY: "the scorer left it out: a feature that the model reads is not ready",
                  ScoreStatus.NOT_FINITE: "the scorer left it out: a feature or a result was no finite number"}


class Unscored(NamedTuple):
    """What the scorer's last sheet has no score of. horizons: of its model; rows: (instrument, horizon) -> ScoreStatus."""

    horizons: tuple[int, ...] = ()
    rows: Mapping[tuple[int, int], int] = {}


class Found(NamedTuple):
    """A row with its place: those with figures first, by the middle of the interval, then by its lower end."""

    place: tuple[int, int, int, int]
    row: Opportunity


def _place(found: Found) -> tuple[int, int, int, int]:
    return found.place


class OpportunitiesView:
    """Reads an engine between two events.

    Args:
        engine: the engine. process: as LiveView's; "unscored" may be missing.
    """

    def __init__(self, engine: Engine, process: Callable[[], dict[str, Any]]) -> None:
        self._engine, self._process = engine, process
        self._cfg: Config | None = None
        self._epoch = -1
        self._horizons: tuple[int, ...] = ()
        self._rule: Rule | None = None
        self._found: dict[int, list[Found | None]] = {}  # by horizon and instrument
        self._ranked: dict[int, list[Found]] = {}  # the same by place
        self._standings: Counter[str] = Counter()  # at the horizon that figures are of
        self._next = 0

    def __call__(self, *, horizon: str | None = None, instrument: str | None = None,
                 first: int | None = None) -> list[Opportunity]:
        """Return rows by horizon, the best first: of one horizon or all, of one instrument or all, at most `first` of each.

        Rows of one instrument are looked at now; of the others the next in turn.
        """
        if self._begin() == 0:
            return []
        asked = [horizon_s for horizon_s in self._horizons if horizon in (None, horizon_word(horizon_s))]
        if instrument is None:
            self._look(self._in_turn())
            return [found.row for horizon_s in asked for found in self._ranked[horizon_s][:first]]
        number = self._engine.names.index(instrument)
        self._look([(horizon_s, number) for horizon_s in asked])
        return [found.row for horizon_s in asked if (found := self._found[horizon_s][number]) is not None]

    def figures(self) -> dict[str, int]:
        """Return how many instruments stand how, at the strategy's horizon, or the first one where there is none; not yet looked
        at are in none."""
        self._begin()
        return {f"opportunities_{standing}": self._standings[standing] for standing in STANDINGS}

    def _counted_horizon_s(self) -> int:
        return self._rule.horizon_s if self._rule is not None else self._horizons[0]

    def _begin(self) -> int:
        """Make room for the instruments and horizons of this boot; returns how many instruments there are."""
        engine = self._engine
        if engine.cfg is None:
            return 0
        if self._cfg is not engine.cfg or self._epoch != engine.boot_epoch:
            self._cfg, self._epoch = engine.cfg, engine.boot_epoch
            self._rule, self._next = rule_of(engine.cfg), 0
            known = set(HORIZONS.values()) | ({self._rule.horizon_s} if self._rule is not None else set())
            self._horizons = tuple(sorted(known))
            self._found = {horizon_s: [None] * len(engine.names) for horizon_s in self._horizons}
            self._ranked = {horizon_s: [] for horizon_s in self._horizons}
            self._standings.clear()
        return len(engine.names)

    def _in_turn(self) -> list[tuple[int, int]]:
        count = len(self._engine.names)
        pairs = count * len(self._horizons)
        at = [(self._next + step) % pairs for step in range(min(PAIRS_AT_ONCE, pairs))]
        self._next = (self._next + len(at)) % pairs
        return [(self._horizons[place // count], place % count) for place in at]

    def _look(self, pairs: list[tuple[int, int]]) -> None:
        process = self._process()
        for horizon_s, number in pairs:
            self._put(horizon_s, number, self._judged(number, horizon_s, process))

    def _put(self, horizon_s: int, number: int, found: Found) -> None:
        """Put a row in its place and count it; what was there of it goes. No place is taken twice: each ends in a number."""
        ranked, before = self._ranked[horizon_s], self._found[horizon_s][number]
        counted = horizon_s == self._counted_horizon_s()
        if before is not None:
            del ranked[bisect_left(ranked, before.place, key=_place)]
            self._standings[before.row["standing"]] -= counted
        self._found[horizon_s][number] = found
        ranked.insert(bisect_left(ranked, found.place, key=_place), found)
        self._standings[found.row["standing"]] += counted

    def _judged(self, number: int, horizon_s: int, process: dict[str, Any]) -> Found:
        """Look at one instrument and horizon."""
        engine, rule = self._engine, self._rule
        row, year_ppm = self._blank(number, horizon_s)
        if rule is None:
            row["reason"], row["reasons"] = "no_rule", [NO_RULE_TEXT]
            return Found((1, 0, 0, number), row)
        score = engine.scores.newest(number, horizon_s)
        if score is None:
            row["reason"], row["reasons"] = "no_score", [self._missing(number, horizon_s, process)]
            return Found((1, 0, 0, number), row)
        rule = rule._replace(horizon_s=horizon_s)
        verdict = judge(rule, score, engine.core.mono_ns - score.event_mono_ns, year_ppm)
        row["age_ns"], row["card_sha256"] = verdict.age_ns, score.model
        row["model_state"], row["model_verdict"] = score.state or None, score.verdict or None
        row["members"], row["members_registered"] = score.members, score.registered
        row["reason"] = verdict.reason or None
        # The very reasons for which the ensemble takes a score for none; one that is too old to open is among them.
        if verdict.reason in WAITING:
            row["reasons"] = [_not_used(rule, score, verdict)]
            return Found((1, 0, 0, number), row)
        edge, _ = edge_of(score.lower_e6, score.upper_e6)
        row["expected"], row["lower"], row["upper"] = map(decimal_text, (edge, score.lower_e6, score.upper_e6))
        row["probability"] = decimal_text(score.probability_e6)
        row["standing"], row["reasons"] = "abstains", [_said(rule, score)]
        if verdict.reason:
            row["reasons"].append(f"the ensemble opens nothing: {REASON_TEXTS[verdict.reason]}")
        else:
            self._ask_gates(row, number, verdict)
        return Found((0, -edge, -score.lower_e6, number), row)

    def _blank(self, number: int, horizon_s: int) -> tuple[Opportunity, int | None]:
        """Return a row that says nothing of a score yet, and the volatility of a year in millionths where it is known."""
        engine = self._engine
        assert engine.cfg is not None
        slot, traded = engine.core.slots[number], engine.ensemble.rule
        values, valid = slot.feature_row()

        def feature(at: int) -> float | None:
            return values[at] if valid[at // 64] >> at % 64 & 1 else None

        year = feature(VOLATILITY)
        risk, risk_reasons = risk_class(year, feature(SPREAD) if slot.book.state == BookState.BOOK_VERIFIED else None)
        row: Opportunity = {
            "instrument": engine.names[number], "horizon": horizon_word(horizon_s), "horizon_s": horizon_s,
            "strategy_horizon": traded is not None and traded.horizon_s == horizon_s, "standing": "no_score",
            "reason": None, "reasons": [], "expected": None, "lower": None, "upper": None, "probability": None,
            "age_ns": None, "card_sha256": None, "model_state": None, "model_verdict": None, "members": None,
            "members_registered": None, "risk": risk, "risk_reasons": risk_reasons, "held": slot.position_qty_raw > 0,
            "price": None, "qty": None, "up_to_qty": None, "up_to": None, "currency": engine.cfg.account.currency,
            "refused_by": None, "reduced_by": None, "failing": [], "judged_wall_ns": engine.core.wall_ns}
        return row, millionths(year) if year is not None else None

    def _ask_gates(self, row: Opportunity, number: int, verdict: Judged) -> None:
        """Fill in what the fifteen gates would make of an opening of the ensemble's own size."""
        engine = self._engine
        assert engine.cfg is not None and engine.cfg.strategy.ensemble is not None
        raw = preview.opening(engine.core, number, verdict.size_ppm, seconds_to_ns(engine.cfg.strategy.ensemble.lifetime_s))
        if raw is None:
            row["reason"] = "no_size"
            row["reasons"].append("the ensemble's size comes to less than one lot")
            return
        spec = engine.feed.specs.get(row["instrument"])
        decision = np.frombuffer(raw, dtype=DECISION_DTYPE)[0]
        qty_digits, price_digits = (spec.qty_precision, spec.price_precision) if spec is not None else (0, 0)
        code, price_raw = int(decision["verdict"]), int(decision["price_raw"])
        failing = failing_gates(decision)
        row["failing"] = list(failing)
        row["price"] = format_raw(price_raw, price_digits) if price_raw > 0 else None
        row["qty"] = format_raw(int(decision["qty_requested_raw"]), qty_digits)
        row["reasons"].append(f"its size: {decimal_text(verdict.size_ppm)} of equity")
        if code == Verdict.REFUSE:
            row["standing"], row["up_to_qty"], row["up_to"] = "refused", format_raw(0, qty_digits), format_raw(0, MONEY_PRECISION)
            gate = row["refused_by"] = gate_name(int(decision["first_failing"]))
            word = row["reason"] = failing.get(str(gate), "over_limit")
            row["reasons"].append(f"refused by {gate}: {word.replace('_', ' ')}")
            return
        row["standing"], row["up_to_qty"] = "tradable", format_raw(int(decision["qty_final_raw"]), qty_digits)
        row["up_to"] = format_raw(int(decision["notional_acct_raw"]), MONEY_PRECISION)
        if code == Verdict.REDUCE:
            row["reduced_by"] = gate_name(int(decision["reduced_by"]))
            row["reasons"].append(f"reduced by {row['reduced_by'] or 'level'}")
        if engine.core.shadow or verdict.shadow:
            row["reasons"].append("in shadow: it would be decided and not sent")

    def _missing(self, number: int, horizon_s: int, process: dict[str, Any]) -> str:
        """Say why no score is known."""
        scorer = cast("view_models.Scorer", process["scorer"])
        unscored: Unscored = process.get("unscored") or Unscored()
        if scorer["state"] == "off":
            return "scorer.enabled is false: no score can come"
        if scorer["state"] != "ready":
            return f"the scorer is {scorer['state']}" + (f": {scorer['reason']}" if scorer["reason"] else "")
        if unscored.horizons and horizon_s not in unscored.horizons:
            return f"the model in production scores no horizon of {horizon_word(horizon_s)}"
        bars = cast("view_models.BarRows | None", process.get("bar_rows"))
        shown = bars["instruments"] if bars is not None else []
        if number < len(shown) and shown[number]["reason"]:
            return f"its row of closed bars is not there: {shown[number]['reason']}"
        left_out = unscored.rows.get((number, horizon_s))
        return LEFT_OUT_TEXTS[ScoreStatus(left_out)] if left_out is not None else "the scorer has given none in this boot yet"


def _not_used(rule: Rule, score: Score, verdict: Judged) -> str:
    """Say why a score that is known may not be used."""
    if verdict.reason == "stale":
        return f"the score's features are {verdict.age_ns // NS_PER_S} s old, at most {max(rule.fresh_ns, 0) // NS_PER_S} s count"
    if verdict.reason == "model_state":
        return (f"the model is {score.state or 'of no told state'}, its verdict {score.verdict or 'not told'}: "
                f"what may trade here is {' or '.join(rule.states)} with the verdict holds")
    if verdict.reason == "member_missing":
        return f"{score.members} of {score.registered} members were ready, {verdict.needed} have to be"
    drift = f" (drift: {score.drift.state})" if verdict.reason == "drift" and score.drift is not None else ""
    return f"{REASON_TEXTS[verdict.reason]}{drift}"


def _said(rule: Rule, score: Score) -> str:
    return (f"{score.members} of {score.registered} members say {decimal_text(score.probability_e6)}, calibrated; "
            f"it opens from {decimal_text(rule.probability_e6)}")
