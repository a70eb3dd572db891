"""What the ensemble strategy is to want of each instrument, worked out when a score comes; docs/ensemble.md.

A score is judged in its event's place in the one order (decision/ensemble.py), and the verdict is left in the instrument's
slot, where the compiled strategy finds it at its next pass. No frame comes here. What may open, what ends a wish and what is
judged while something is held is recorded, so that a decision can be explained by the verdict it was made under; other
abstentions are counted.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from cstd._fast import features
from cstd._fast.codes import EventKind
from cstd.decision.ensemble import Rule, Verdict, held_back, judge, rule_of, told
from cstd.decision.sizing import millionths
from cstd.decision.strategies.ensemble import AIM
from cstd.engine.scores import Score
from cstd.units import NS_PER_S

if TYPE_CHECKING:
    from cstd.engine.flow import Engine

LOOK_NS = 10 * NS_PER_S
LOOKED_AT_ONCE = 64  # a tick; a thousand instruments at once would hold up the frames behind them
SIGNALS_KEPT = 2_048  # of all instruments, in equal parts, and some of each: a kilobyte each
SIGNALS_EACH_MIN = 8
OPEN_UNTIL, HOLD_UNTIL, WISH, TAKEN = map(AIM.index, ("open_until_ns", "hold_until_ns", "wish", "taken"))
PAST_NS = 1  # a deadline that is over, where 0 is none
VOLATILITY = features.NAMES.index("M5_RVOL")
WAITING = frozenset(("no_score", "stale", "model_state", "member_missing", "drift"))  # none of these is the market's word


class Wish(NamedTuple):
    """What an instrument's last usable score wanted.

    number: of the wish; it begins where the gate opens and the one before is over. stands: it is not over. opens: the
    verdict before this let something open. hold_until_ns: wall time.
    """

    number: int = 0
    stands: bool = False
    opens: bool = False
    hold_until_ns: int = 0


class Ensemble:
    """One writer: the engine. Without the strategy it does nothing.

    Attributes:
        rule: of this boot, None for another strategy. counts: verdicts by reason, "" for those that may open.
        latest: the last reason of each instrument.
    """

    def __init__(self) -> None:
        self.rule: Rule | None = None
        self.counts: Counter[str] = Counter()
        self.latest: dict[int, str] = {}
        self._wishes: dict[int, Wish] = {}
        self._signals: dict[int, deque[tuple[int, bytes]]] = {}
        self._next_look_ns = 0
        self._look_at: int | None = None

    def boot(self, engine: Engine, name: str) -> None:
        """Take the rule of this boot's configuration; what another strategy leaves behind is no wish of this one."""
        assert engine.cfg is not None
        self.rule = rule_of(engine.cfg) if name == "ensemble" else None
        self.counts.clear()
        self.latest.clear()
        self._next_look_ns, self._look_at = 0, None
        for slot in engine.core.slots:
            slot.shadow = False
        if self.rule is None:
            self._wishes.clear()
            return
        # By a score, a rule and a model of the boot before, which may all be others now; what is held runs on.
        for number, wish in self._wishes.items():
            if wish.opens:
                self._end_opening(engine, number)
        if engine.cfg.scorer is None or not engine.cfg.scorer.enabled:
            reason = "scorer.enabled is false: no score can come"
            engine.notes.append(("warning", "the ensemble trades nothing", {"reason": reason}))

    def on_scores(self, engine: Engine, payload: bytes, mono_ns: int) -> None:
        """Take an event of the scorer, and judge what is of this strategy's horizon."""
        taken = engine.scores.take(payload, len(engine.names), mono_ns)
        if self.rule is None:
            return
        self._withdraw(engine, self.rule)
        for number, horizon_s in taken:
            score = engine.scores.newest(number, horizon_s)
            if horizon_s == self.rule.horizon_s and score is not None:
                sized = score.probability_e6 >= self.rule.probability_e6
                year_ppm = _volatility(engine, number) if sized else None  # most scores come to no size
                verdict = judge(self.rule, score, mono_ns - score.event_mono_ns, year_ppm)
                self._count(number, verdict.reason)
                self._want(engine, self.rule, number, score, verdict)

    def on_buy(self, engine: Engine, number: int) -> None:
        """Take note of a fill: its wish has what it wanted, and opens nothing again, whatever sells this."""
        if self.rule is not None:
            slot = engine.core.slots[number]
            words = slot.aimed(len(AIM))
            words[TAKEN] = words[WISH]
            slot.aim(words)

    def on_timer(self, engine: Engine, mono_ns: int) -> None:
        """Now and then, a part a tick: count the instruments that have no score, or an old one. Its end needs no look."""
        if self.rule is None:
            return
        if self._look_at is None and mono_ns >= self._next_look_ns:
            self._next_look_ns, self._look_at = mono_ns + LOOK_NS, 0
        if self._look_at is None:
            return
        end = min(self._look_at + LOOKED_AT_ONCE, len(engine.names))
        for number in range(self._look_at, end):
            score = engine.scores.newest(number, self.rule.horizon_s)
            if score is None:
                self._count(number, "no_score")
            elif mono_ns - score.event_mono_ns > self.rule.fresh_ns:
                self._count(number, "stale")
        self._look_at = end if end < len(engine.names) else None

    def _count(self, number: int, reason: str) -> None:
        self.counts[reason] += 1
        self.latest[number] = reason

    def _withdraw(self, engine: Engine, rule: Rule) -> None:
        """Let nothing open any more by a model whose scores were taken back; what is held runs out with the last of them."""
        for number, wish in self._wishes.items():
            if wish.opens and engine.scores.newest(number, rule.horizon_s) is None:
                self._end_opening(engine, number)
                self._count(number, "no_score")

    def _end_opening(self, engine: Engine, number: int) -> None:
        """Let a wish open nothing more."""
        slot = engine.core.slots[number]
        words = slot.aimed(len(AIM))
        words[OPEN_UNTIL] = 0
        slot.aim(words)
        self._wishes[number] = self._wishes[number]._replace(opens=False)

    def _want(self, engine: Engine, rule: Rule, number: int, score: Score, verdict: Verdict) -> None:
        """Leave the verdict where the strategy finds it."""
        slot, wall_ns = engine.core.slots[number], engine.wall_ns
        before = self._wishes.get(number, Wish())
        opens, hold_until_ns = not verdict.reason, slot.aimed(len(AIM))[HOLD_UNTIL]
        stands = before.stands and wall_ns < before.hold_until_ns
        wish = before.number
        if verdict.usable:
            hold_until_ns = wall_ns + verdict.hold_ns if verdict.hold_ns else PAST_NS
            wish += opens and not stands
            stands = opens or (stands and bool(verdict.hold_ns))
        self._wishes[number] = Wish(wish, stands, opens, hold_until_ns)
        # Of an age up to fresh_ns, that nanosecond included.
        open_until_ns = wall_ns + rule.fresh_ns - verdict.age_ns + 1 if opens else 0
        slot.aim((wall_ns, open_until_ns, hold_until_ns, verdict.size_ppm, wish, slot.aimed(len(AIM))[TAKEN], verdict.shadow))
        slot.shadow = held_back(rule, score)  # what an operator approves meanwhile is not sent either
        if opens or before.opens or before.stands != stands or slot.position_qty_raw > 0:
            self._record(engine, number, {
                "instrument": engine.names[number], "horizon_s": rule.horizon_s, "decided_wall_ns": wall_ns,
                "event_wall_ns": score.event_wall_ns, "model": score.model, "model_state": score.state,
                "model_verdict": score.verdict, "votes": score.votes, "members": score.members, "registered": score.registered,
                "stacked_e6": score.stacked_e6, "calibration": score.calibration, "probability_e6": score.probability_e6,
                "probability_min_e6": rule.probability_e6, "probability_exit_e6": rule.exit_e6, "lower_e6": score.lower_e6,
                "upper_e6": score.upper_e6, **told(verdict), "wish": wish, "open_until_wall_ns": open_until_ns,
                "hold_until_wall_ns": hold_until_ns,
                **({"drift": score.drift, "shadow": verdict.shadow} if rule.drift_ppm is not None else {})})

    def _record(self, engine: Engine, number: int, signal: dict[str, Any]) -> None:
        payload = msgspec.json.encode(signal)
        engine.recorder.output_py(EventKind.OUT_SIGNAL, number, engine.core.mono_ns, engine.wall_ns, payload)
        room = max(SIGNALS_EACH_MIN, SIGNALS_KEPT // len(engine.names))
        kept = self._signals.setdefault(number, deque(maxlen=room))
        kept.append((engine.recorder.seq, payload))

    def signal(self, number: int, event_seq: int) -> dict[str, Any] | None:
        """Return the verdict that a decision was made under, by the decision's place in the order; None where it is not kept."""
        for seq, payload in reversed(self._signals.get(number, ())):
            if seq <= event_seq:
                found: dict[str, Any] = msgspec.json.decode(payload)
                return found
        return None

    def scored(self) -> bool:
        """Whether a model that may trade says something of an instrument now."""
        return any(reason not in WAITING for reason in self.latest.values())

    def state(self) -> dict[str, Any]:
        """Return all of it as plain values, for comparison."""
        return {"wishes": dict(self._wishes), "counts": dict(self.counts), "latest": dict(self.latest),
                "signals": {number: list(kept) for number, kept in self._signals.items()}}


def _volatility(engine: Engine, number: int) -> int | None:
    """Realised volatility of five-minute bars, of a year, in millionths; None where it is not known."""
    values, valid = engine.core.slots[number].feature_row()
    known = valid[VOLATILITY // 64] >> VOLATILITY % 64 & 1
    return millionths(values[VOLATILITY]) if known else None
