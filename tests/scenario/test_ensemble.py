"""The ensemble strategy in one process: what opens, every reason to abstain, what leaves, and that a replay agrees.

The scores are a fixture's: events as the scorer's side makes them, of a model that nobody trained.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engine_world import BTC, ETH, PRECISIONS, S, World, practice_config, replayed

from cstd._fast.codes import EventKind, IntentKind
from cstd._fast.recorder import Recorder
from cstd.config import Config, load, template
from cstd.daemon import models
from cstd.daemon.view import LiveView
from cstd.decision.setup import STRATEGY_CODES
from cstd.decision.why import waterfall
from cstd.engine import Engine, checkpoint
from cstd.storage.journal import open_journal
from tests.schemas import assert_fits

HOUR = 3_600
MODEL = "ab" * 32
GOOD = {"probability_e6": 850_000, "lower_e6": 4_000, "upper_e6": 20_000, "members": 3}
NAMES = ["lightgbm", "logistic", "network"]
NO_DRIFT = ("none", -40_000, 60_000, 50_000, "rsi14", 500)


def config(mode: str = "practice", names: tuple[str, ...] = (BTC,), **changes: Any) -> Config:
    """The practice limits with the ensemble over an hour; another mode: that mode's name alone, for what it allows."""
    cfg = practice_config(names, scorer={"age_s_max": 180, "interval_s": 60})
    found = cfg.strategy.ensemble
    assert found is not None
    fields = {"score_horizon_s": HOUR, "probability_min": Decimal("0.80"), "probability_exit": Decimal("0.60"), "members_min": 0,
              "score_lifetime_s": 4 * HOUR, "decay_half_life_s": 2 * HOUR, "decay_floor": Decimal("0.1"),
              "size_frac_max": Decimal("0.0025"), "volatility_target_bps": 10_000}
    found = msgspec.structs.replace(found, **fields | changes)
    strategy = msgspec.structs.replace(cfg.strategy, name="ensemble", ensemble=found)
    return msgspec.structs.replace(cfg, mode=mode, strategy=strategy)


class LivelyWorld(World):
    """A history whose prices move, so that there is a volatility: by turns up and down a tenth of a percent."""

    def candles(self, name: str, interval_min: int) -> list[dict[str, Any]]:
        """The history, each second candle closing higher."""
        found = super().candles(name, interval_min)
        for candle in found[::2]:
            candle["close"] = candle["high"] = f"{float(candle['close']) * 1.001:.{PRECISIONS[name][0]}f}"
        return found


def world(cfg: Config | None = None, journal: Any = None) -> World:
    """Ready, and with a volatility that is known."""
    found = LivelyWorld(cfg or config(), strategy="ensemble", journal=journal).ready()
    found.run(40)
    return found


def say(of: World, number: int = 0, age_s: float = 0.0, **changes: Any) -> None:
    """One score in an event of the scorer's side."""
    fields = GOOD | {"horizon_s": HOUR, "state": "production", "verdict": "holds", "names": NAMES, "drift": NO_DRIFT} | changes
    at_ns = of.mono_ns - int(age_s * S)
    row = [number, fields["horizon_s"], *(fields[name] for name in GOOD), at_ns, of.now_ns - int(age_s * S), at_ns]
    of.event(EventKind.EVENT_SCORES, 0, json.dumps({
        "model": MODEL, "rows": [row], "state": fields["state"], "verdict": fields["verdict"],
        "horizons": [[HOUR, "isotonic", fields["names"]]], "details": [[810_000, [820_000, 790_000, 830_000]]],
        **({"drift": [fields["drift"]]} if fields["drift"] else {})}).encode())


def passes(of: World, seconds: float = 2.0, number: int = 0) -> None:
    """Books that are followed by a decision pass."""
    for _ in range(int(seconds / 0.25)):
        of.step()
        of.tick(of.names[number])


def reason(of: World) -> str:
    """Why the last score opened nothing; "" where it may."""
    return of.engine.ensemble.latest[0]


def signals(of: World) -> list[dict[str, Any]]:
    """The verdicts on record, in order."""
    return [json.loads(payload) for kind, _, payload in of.recorder.captured if kind == EventKind.OUT_SIGNAL]


def bought(of: World, name: str = "1") -> dict[str, Any]:
    """The opening of a score, filled."""
    order = of.first_order()
    order_id = f"OBUY{name}-BBBBB-CCCCCC"
    of.reply(order, order_id)
    of.report("new", order, order_id)
    of.fill(order, order["qty_raw"], f"TB{name}", order_id)
    of.report("filled", order, order_id, cum_qty="1")
    assert of.core.slots[order["instrument"]].position_qty_raw == order["qty_raw"]
    return order


def sold(of: World, seconds: float = 30.0, name: str = "1") -> dict[str, Any]:
    """The exit that the strategy wishes for, filled."""
    order = of.exit_order(seconds)
    order_id = f"OSELL{name}-BBBBB-CCCCC"
    of.reply(order, order_id)
    of.fill(order, order["qty_raw"], f"TS{name}", order_id)
    of.report("filled", order, order_id, cum_qty="1")
    return order


def test_a_score_that_holds_opens_through_the_gates() -> None:
    """Post-only at the best bid, a lot-rounded share of equity, judged by all gates, with the verdict that it was made under."""
    of = world()
    passes(of)
    assert of.live() == [] and of.engine.ensemble.counts["no_score"]
    say(of)
    passes(of)
    (order,) = of.live(IntentKind.OPENING)
    assert (order["strategy"], order["price_raw"], order["episode"]) == (STRATEGY_CODES["ensemble"], 1_000_000, 1)
    (signal,) = signals(of)
    # 0.25 % of 10,000 USD at 100,000.0: 0.00025 BTC
    assert (signal["size_ppm"], order["qty_raw"]) == (2_500, 25_000)
    found = of.engine.ensemble.signal(0, of.recorder.seq)
    assert found == signal
    assert found["votes"] == [["lightgbm", 820_000], ["logistic", 790_000], ["network", 830_000]]
    assert (found["registered"], found["stacked_e6"]) == (3, 810_000)
    assert [name for name, _ in found["steps"]] == ["quarter_kelly", "size_frac_max", "decay", "volatility_target"]
    of.sound()


@pytest.mark.parametrize(("changes", "said"), [
    ({"probability_e6": 800_000}, ""), ({"probability_e6": 799_999}, "probability_below"), ({"probability_e6": 800_001}, ""),
    ({"lower_e6": 1}, ""), ({"lower_e6": 0}, "lower_bound"), ({"lower_e6": -1}, "lower_bound"),
    ({"members": 2}, "member_missing"), ({"names": ["one"], "members": 1}, "member_missing"), ({"names": []}, "member_missing"),
    ({"names": NAMES[:2], "members": 2}, ""),
    ({"state": "canary"}, ""), ({"state": "shadow"}, "model_state"), ({"state": ""}, "model_state"),
    ({"state": "retired"}, "model_state"), ({"verdict": "rejected"}, "model_state"),
    ({"verdict": "not assessable"}, "model_state"),
    ({"age_s": 180}, ""), ({"age_s": 180.000000001}, "stale"), ({"age_s": 179}, "")])
def test_each_threshold(changes: dict[str, Any], said: str) -> None:
    """At the limit, just under and just over: what does not pass is counted by its reason and opens nothing."""
    of = world()
    of.run(200)
    before = of.engine.ensemble.counts[said]
    say(of, **changes)
    assert (reason(of), of.engine.ensemble.counts[said]) == (said, before + 1)
    passes(of, 1)
    assert bool(of.live(IntentKind.OPENING)) == ((said == "" and "age_s" not in changes) or changes == {"age_s": 179})
    of.sound()


def test_the_configured_count_of_members() -> None:
    """With a minimum of three, two of a registered two are too few; three of four are enough."""
    of = world(config(members_min=3))
    say(of, names=NAMES[:2], members=2)
    assert reason(of) == "member_missing"
    say(of, names=[*NAMES, "xgboost"], members=3)
    assert reason(of) == ""


@pytest.mark.parametrize(("mode", "said"), [("practice", ""), ("paper", ""), ("live", "model_state")])
def test_live_takes_a_production_model_alone(mode: str, said: str) -> None:
    """What a canary may elsewhere it may not in live; a rejected one trades nowhere."""
    of = world(config(mode))
    say(of, state="canary")
    assert reason(of) == said
    say(of, verdict="rejected")
    assert reason(of) == "model_state"


def test_frames_ask_nothing_of_python() -> None:
    """Between two scores the compiled strategy is alone: with nothing behind it the opening leaves, and is followed by passes."""
    of = world()
    say(of)
    of.engine.ensemble = None  # type: ignore[assignment]
    for _ in range(20):
        of.tick()
    assert len(of.live(IntentKind.OPENING)) == 1
    of.sound()


def test_another_horizon_is_not_asked() -> None:
    """A score of another horizon is known and judged by nobody."""
    of = world()
    say(of, horizon_s=4 * HOUR)
    passes(of)
    assert of.live() == [] and not of.engine.ensemble.counts[""]


def test_without_a_volatility_nothing_is_sized() -> None:
    """The history's prices do not move: an abstention, counted."""
    of = World(config(), strategy="ensemble")
    of.ready()
    of.run(40)
    say(of)
    assert reason(of) == "no_volatility"


def test_a_score_that_falls_through_the_exit_is_sold() -> None:
    """Between both thresholds it is held and nothing is added; below the lower one it is flat, with the reason flip."""
    of = world()
    say(of)
    passes(of)
    bought(of)
    for probability, held in ((790_000, True), (610_000, True), (599_999, False)):
        say(of, probability_e6=probability)
        passes(of, 1)
        assert bool(of.live(IntentKind.EXIT)) != held, probability
    sale = sold(of)
    assert sale["qty_raw"] and sale["kind"] == IntentKind.EXIT
    passes(of, 2)
    assert of.live() == [] and of.slot.position_qty_raw == 0


def test_a_score_that_nothing_follows_ends_by_itself() -> None:
    """0.85 fades through 0.60 after 3.61 h of its half-life of 2 h: held until then and not a second longer."""
    of = world()
    say(of)
    passes(of)
    bought(of)
    until_ns = signals(of)[-1]["hold_until_wall_ns"]
    assert 3.61 < (until_ns - signals(of)[-1]["decided_wall_ns"]) / S / HOUR < 3.62
    of.now_ns = until_ns - 2 * S
    passes(of, 1)
    assert of.live(IntentKind.EXIT) == [] and of.slot.position_qty_raw > 0
    of.now_ns = until_ns
    passes(of, 30)
    assert of.live(IntentKind.EXIT) or of.core.exit_counts()


def test_what_rests_is_canceled_when_its_score_is_too_old() -> None:
    """An opening whose score opens nothing any more does not rest on."""
    of = world(config(lifetime_s=Decimal(60)))
    say(of, age_s=20)
    order = of.first_order()
    of.reply(order)
    of.report("new", order)
    before = of.counters()["cancels"]
    passes(of, 2)
    assert of.counters()["cancels"] == before
    say(of, probability_e6=700_000)
    passes(of, 1)
    assert of.counters()["cancels"] == before + 1


def test_a_model_that_is_withdrawn_opens_nothing_more() -> None:
    """Rejected, rolled back, refused: what rests by its score is canceled, and what is held runs out."""
    of = world(config(names=(BTC, ETH)))
    say(of, number=1)
    passes(of, number=1)
    bought(of)
    say(of)
    of.step()
    of.tick()
    (order,) = of.live(IntentKind.OPENING)
    of.reply(order, "OREST1-BBBBB-CCCCC")
    of.report("new", order, "OREST1-BBBBB-CCCCC")
    before, held_until_ns = of.counters()["cancels"], of.core.slots[1].aimed(3)[2]
    of.event(EventKind.EVENT_SCORES, 0, json.dumps({"model": MODEL, "rows": [], "withdrawn": True}).encode())
    assert reason(of) == "no_score"
    passes(of, 1)
    assert of.counters()["cancels"] == before + 1 and of.live(IntentKind.EXIT) == []
    assert of.core.slots[1].aimed(3)[2] == held_until_ns
    of.sound()


def test_nothing_opens_after_a_start_by_a_score_of_before() -> None:
    """Rule, model and scorer may be others: a new score has to come."""
    of = world()
    of.slot.aim([0] * 16)
    say(of)
    assert reason(of) == "" and of.slot.aimed(2)[1] > of.now_ns
    of.boot(epoch=2)
    passes(of, 20)
    assert of.live() == [] and of.slot.aimed(2)[1] == 0
    say(of)
    passes(of)
    assert len(of.live(IntentKind.OPENING)) == 1
    of.sound()


def test_one_wish_opens_once() -> None:
    """What was left by the exit policy is not bought again by the same wish; a new wish begins once the old one is over."""
    of = world()
    say(of)
    passes(of)
    bought(of)
    of.command("flatten")
    sold(of)
    of.command("resume")
    say(of)
    passes(of, 10)
    assert of.live() == []
    say(of, probability_e6=500_000)
    passes(of, 1)
    say(of)
    passes(of, 2)
    (order,) = of.live(IntentKind.OPENING)
    assert order["episode"] > 1


def test_what_another_strategy_left_is_held_for_one_life_of_a_score() -> None:
    """Nothing is known of it: it is not sold at the first pass, and not held for ever."""
    of = world()
    say(of)
    passes(of)
    bought(of)
    of.slot.aim([0] * 16)
    passes(of, 5)
    assert of.live(IntentKind.EXIT) == []
    assert of.slot.aimed(3)[2] > of.now_ns + 3 * HOUR * S


def test_an_unusable_score_changes_nothing_of_what_is_held() -> None:
    """A model that may not trade opens nothing, and sells nothing either."""
    of = world()
    say(of)
    passes(of)
    bought(of)
    until_ns = of.slot.aimed(3)[2]
    say(of, probability_e6=100_000, state="shadow")
    passes(of, 2)
    assert of.live(IntentKind.EXIT) == [] and of.slot.aimed(3)[2] == until_ns


def test_a_restart_and_a_replay_come_to_the_same(tmp_path: Path) -> None:
    """Wishes, verdicts, counts and orders; from a checkpoint too; a position that is held stays held by its wish."""
    journal = open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24, sync_interval_ms=5)
    of = world(config(names=(BTC, ETH)), journal)
    say(of)
    say(of, number=1, lower_e6=-1)
    passes(of)
    bought(of)
    aimed = of.slot.aimed(16)
    of.boot(epoch=2)
    of.run(40)
    assert of.slot.aimed(5)[2] == aimed[2] and of.live(IntentKind.EXIT) == []
    say(of, number=1)
    passes(of, 2, number=1)
    say(of, probability_e6=500_000)
    sold(of)
    kept = checkpoint.dump(of.engine)
    again = Engine(Recorder(), None, strategy="ensemble")
    checkpoint.restore(again, kept)
    assert again.ensemble.state() == of.engine.ensemble.state()
    assert [slot.aimed(16) for slot in again.core.slots] == [slot.aimed(16) for slot in of.core.slots]
    journal.close()
    replay = replayed(tmp_path / "journal")
    assert (replay.difference_count, replay.differences) == (0, [])
    assert replay.engine.ensemble.state() == of.engine.ensemble.state()
    assert replay.engine.recorder.hexdigest() == of.recorder.hexdigest()


@pytest.mark.parametrize("mode", ["live", "paper"])
def test_the_shipped_files_start_and_trade_nothing(mode: str) -> None:
    """No scorer is enabled: there is no score, and status and log say why."""
    cfg = load([str(template(mode))], {})
    of = World(msgspec.structs.replace(cfg, instruments=practice_config().instruments), strategy="ensemble").ready()
    passes(of, 12)
    assert set(of.engine.ensemble.counts) == {"no_score"} and of.live() == []
    seen = models.ensemble({"state": "off", "reason": ""}, of.engine)  # type: ignore[typeddict-item]
    assert seen is not None and (seen["trades"], seen["reason"]) == (False, "scorer.enabled is false: no score can come")
    of.engine.notes.clear()
    of.engine.ensemble.boot(of.engine, "ensemble")
    assert [event for _, event, _ in of.engine.notes] == ["the ensemble trades nothing"]


@pytest.mark.parametrize(("scorer", "changes", "said"), [
    ({"state": "refused", "reason": "no version of hourly is in production: 0001 is rejected"}, None,
     "the scorer is refused: no version of hourly is in production: 0001 is rejected"),
    ({"state": "ready", "reason": ""}, {"verdict": "rejected"}, "the model may not trade in this mode"),
    ({"state": "ready", "reason": ""}, {"members": 1}, "fewer members were ready than have to be"),
    ({"state": "ready", "reason": ""}, {"age_s": 190}, "the score's features are too old"),
    ({"state": "ready", "reason": ""}, {}, "")])
def test_the_status_says_why_nothing_trades(scorer: dict[str, str], changes: dict[str, Any] | None, said: str) -> None:
    """What stands against the model, in words; "" once it scores."""
    of = world()
    of.run(200)
    if changes is not None:
        say(of, **changes)
    seen = models.ensemble(scorer, of.engine)  # type: ignore[arg-type]
    assert seen is not None and (seen["reason"], seen["trades"]) == (said, said == "")
    assert seen["horizon_s"] == HOUR and sum(seen["now"].values()) == 1


def test_why_shows_the_score_and_each_step() -> None:
    """The waterfall has members, probability, interval and steps, then the gates; the exit has the score that ended it."""
    of = world()
    say(of)
    passes(of)
    bought(of)
    say(of, probability_e6=500_000)
    sold(of)
    view = LiveView(of.engine, pid=1, mono_ns=lambda: of.mono_ns, process=dict)
    sale, opening = view.find_decision("2"), view.find_decision("1")
    assert opening is not None and sale is not None
    shown = waterfall(opening)
    for words in ("lightgbm 0.82, logistic 0.79, network 0.83; 3 of 3 ready, 3 needed", "0.81 joined, 0.85 calibrated (isotonic)",
                  "0.004 to 0.02 of net return", "a quarter of Kelly's share", "times the volatility target", "idempotency"):
        assert words in shown
    assert shown.index("members") < shown.index("size") < shown.index("policy")
    assert opening["signal"]["size"] == "0.0025" and opening["signal"]["reason"] is None  # type: ignore[index]
    assert "what is held is left" in waterfall(sale) and "exit by flip" in waterfall(sale)
    unkept: dict[str, Any] = {**opening, "signal": None}
    for decision in (opening, sale, unkept):
        assert_fits("why", json.loads(json.dumps(decision)))
    assert "members" not in waterfall(unkept)
