"""What the drift of an instrument's rows does to the ensemble: smaller, in shadow, nothing; and nothing of it to what leaves."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engine_world import BTC, ETH, World, replayed
from test_ensemble import NO_DRIFT, bought, config, passes, reason, say, signals, sold, world

from cstd._fast.codes import IntentKind
from cstd._fast.recorder import Recorder
from cstd.config import load, template
from cstd.daemon import models
from cstd.daemon.view import LiveView
from cstd.decision.ensemble import DRIFT_OPENS
from cstd.decision.why import waterfall
from cstd.engine import Engine, checkpoint
from cstd.errors import ConfigError
from cstd.signals.drift import STATES
from cstd.storage.journal import open_journal
from tests.schemas import assert_fits

WHOLE_PPM, HALF_PPM = 2_500, 1_250


def drifting(state: str) -> tuple[str, int, int, int, str, int]:
    """What the scorer tells of an instrument whose averages have moved."""
    return (state, 310_000, 900_000, 250_000, "log_atr", 500)


def found(of: World) -> dict[str, Any]:
    """The newest decision as `why` tells it."""
    decision = LiveView(of.engine, pid=1, mono_ns=lambda: of.mono_ns, process=dict).find_decision("1")
    assert decision is not None
    return decision


@pytest.mark.parametrize(("state", "size_ppm", "sent", "said"), [
    ("none", WHOLE_PPM, 1, ""), ("watch", HALF_PPM, 1, ""), ("gathering", HALF_PPM, 1, ""), ("drifted", HALF_PPM, 0, ""),
    ("broken", 0, 0, "drift"), ("not assessable", 0, 0, "drift"), ("", 0, 0, "drift")])
def test_each_state_has_its_step(state: str, size_ppm: int, sent: int, said: str) -> None:
    """Half of the size, decided and not sent, nothing; a score that tells no drift opens nothing."""
    of = world()
    say(of, drift=drifting(state) if state else None)
    passes(of)
    assert (reason(of), len(of.live(IntentKind.OPENING)), of.counters()["shadowed"]) == (said, sent, int(state == "drifted"))
    assert of.slot.aimed(4)[3] == size_ppm
    if not said:
        assert found(of)["shadow"] == (state == "drifted")
    of.sound()


def test_every_state_is_one_that_opens_or_one_that_does_not() -> None:
    """A state that the rule does not know opens nothing."""
    assert set(STATES) - set(DRIFT_OPENS) == {"broken", "not assessable"} and set(DRIFT_OPENS) < set(STATES)


def test_what_rests_is_canceled_and_a_wish_is_decided_once_in_shadow() -> None:
    """The order of before is taken back; each wish has one decision while it is in shadow, and is sent once it is no more."""
    of = world(config(lifetime_s=Decimal(60), retry_s=Decimal(1)))
    say(of)
    order = of.first_order()
    of.reply(order)
    of.report("new", order)
    before = of.counters()["cancels"]
    say(of, drift=drifting("drifted"))
    passes(of, 1)
    assert of.counters()["cancels"] == before + 1
    of.report("canceled", order)
    say(of, probability_e6=500_000, drift=drifting("drifted"))
    say(of, drift=drifting("drifted"))
    passes(of, 10)
    assert of.live() == [] and of.counters()["shadowed"] == 1
    say(of)
    passes(of, 2)
    assert len(of.live(IntentKind.OPENING)) == 1 and of.counters()["shadowed"] == 1
    of.sound()


@pytest.mark.parametrize("state", ["watch", "drifted", "broken", "not assessable"])
def test_what_is_held_is_left_as_ever(state: str) -> None:
    """A score that falls through its exit sells, an operator's flatten sells: whatever the drift."""
    of = world()
    say(of)
    passes(of)
    bought(of)
    say(of, probability_e6=700_000, drift=drifting(state))
    passes(of, 1)
    assert of.live(IntentKind.EXIT) == []
    say(of, probability_e6=500_000, drift=drifting(state))
    sold(of)
    assert of.slot.position_qty_raw == 0
    of.sound()


@pytest.mark.parametrize("state", ["drifted", "broken"])
def test_what_an_operator_approves_meanwhile_is_not_sent(state: str) -> None:
    """It was asked for before the rows had moved."""
    cfg = config()
    of = world(msgspec.structs.replace(cfg, approve=msgspec.structs.replace(cfg.approve, above=Decimal(0))))
    say(of)
    passes(of, 1)
    (row,) = of.core.waiting_rows()
    say(of, drift=drifting(state), probability_e6=500_000)  # what else the score says changes nothing of that
    assert of.slot.shadow
    of.core.answer_waiting(row["intent_seq"], True)
    of.tick()
    assert of.live() == []
    of.sound()


def test_without_the_section_drift_is_not_looked_at() -> None:
    """Journals of before it replay as they were decided; a configuration that starts now is refused without it."""
    of = world(msgspec.structs.replace(config(), drift=None))
    say(of, drift=drifting("broken"))
    passes(of)
    assert len(of.live(IntentKind.OPENING)) == 1 and "drift" not in signals(of)[0]
    assert load([str(template("live"))], {}).drift is not None


def test_a_configuration_without_it_is_refused(tmp_path: Path) -> None:
    """The factor has no default; nor is there one of nothing or of more than all."""
    text = Path(template("live")).read_text()
    for replaced in ("", "[drift]\nwatch_size_frac = 0\n", "[drift]\nwatch_size_frac = 1.1\n", "[drift]\n"):
        at = text.index("[drift]")
        path = tmp_path / "live.toml"
        path.write_text(text[:at] + replaced + text[text.index("[logs]"):])
        with pytest.raises(ConfigError) as caught:
            load([str(path)], {})
        assert [problem.key.split(".")[0] for problem in caught.value.problems] == ["drift"]


def test_why_and_the_status_show_it() -> None:
    """State, feature, figures and the step of the size; the furthest instrument of all."""
    of = world(config(names=(BTC, ETH)))
    say(of, number=1, drift=NO_DRIFT)
    say(of, drift=drifting("drifted"))
    passes(of)
    decision = found(of)
    shown = waterfall(decision)
    assert "drifted: log_atr has a PSI of 0.9, 0.31 beyond training's own, KS 0.25, 500 rows; in shadow" in shown
    assert "times drift.watch_size_frac" in shown and "not sent: in shadow" in shown
    assert_fits("why", json.loads(json.dumps(decision)))
    seen = models.drift({"drift_windows": "kept", "drift_left_out": 2}, of.engine)  # type: ignore[typeddict-item]
    assert seen is not None
    assert (seen["state"], seen["instrument"], seen["feature"]) == ("drifted", BTC, "log_atr")
    assert (seen["beyond"], seen["psi"]) == (0.31, 0.9)
    assert (seen["states"]["none"], seen["states"]["drifted"], seen["windows"], seen["left_out"]) == (1, 1, "kept", 2)


def test_a_replay_and_a_checkpoint_come_to_the_same(tmp_path: Path) -> None:
    """The drift is in the event of its score: states, sizes and what was not sent."""
    journal = open_journal(tmp_path / "journal", tmp_path / "ring", ring_bytes=1 << 24, segment_bytes=1 << 24, sync_interval_ms=5)
    of = world(config(names=(BTC, ETH)), journal)
    for state in ("none", "drifted", "broken", "watch", "gathering", "drifted"):
        say(of, drift=drifting(state))
        passes(of, 1)
    again = Engine(Recorder(), None, strategy="ensemble")
    checkpoint.restore(again, checkpoint.dump(of.engine))
    assert [slot.shadow for slot in again.core.slots] == [slot.shadow for slot in of.core.slots] == [True, False]
    assert again.scores.state() == of.engine.scores.state()
    journal.close()
    replay = replayed(tmp_path / "journal")
    assert (replay.difference_count, replay.differences) == (0, [])
    assert replay.engine.recorder.hexdigest() == of.recorder.hexdigest()
    assert replay.engine.scores.drifts == of.engine.scores.drifts
