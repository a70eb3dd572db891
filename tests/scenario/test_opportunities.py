"""Opportunities: the ranking, the gate that refuses, what has no figure, and that asking changes nothing.

The scores are a fixture's, as in test_ensemble: events as the scorer's side makes them, of a model that nobody trained.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from engine_world import BTC, ETH, S, World
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ensemble import HOUR, LivelyWorld, bought, config, passes, say, world

from cstd._fast import image, preview
from cstd._fast.codes import IntentKind, Link, Verdict
from cstd._fast.gates import DECISION_DTYPE
from cstd.daemon import opportunities
from cstd.daemon.opportunities import PAIRS_AT_ONCE, OpportunitiesView, Unscored
from cstd.decision.opportunities import text
from cstd.decision.risk_class import SPREAD_BPS, YEAR_VOLATILITY, risk_class
from cstd.ops.opportunity_shapes import Opportunity
from tests.schemas import assert_fits

READY = {"state": "ready", "reason": ""}
FIGURES = ("expected", "lower", "upper", "probability")
LIFETIME_NS = 60 * S


def view_of(of: World, scorer: dict[str, Any] | None = None, **process: Any) -> OpportunitiesView:
    """What the daemon shows of a world whose scorer says so."""
    return OpportunitiesView(of.engine, lambda: {"scorer": scorer or READY, **process})


def hour(of: World, **asked: Any) -> list[Opportunity]:
    """The ranking of an hour; the shape is the one that is promised."""
    rows = view_of(of)(horizon="1h", **asked)
    assert_fits("opportunities", rows)
    return rows


def two() -> World:
    """Ready with two instruments, quotes of both fresh."""
    of = world(config(names=(BTC, ETH)))
    passes(of, 0.5, 1)
    passes(of, 0.5, 0)
    return of


def judged(of: World, size_ppm: int = 2_500) -> np.void:
    """The decision row of a question."""
    raw = preview.opening(of.core, 0, size_ppm, LIFETIME_NS)
    assert raw is not None
    return np.frombuffer(raw, dtype=DECISION_DTYPE)[0]


def test_the_ranking_is_by_the_middle_of_the_interval_then_by_its_lower_end() -> None:
    """What has no score comes last, in the configured order, at each horizon."""
    of = two()
    say(of, 0, lower_e6=4_000, upper_e6=20_000)
    say(of, 1, lower_e6=3_000, upper_e6=22_000)
    assert [(row["instrument"], row["expected"], row["lower"], row["upper"]) for row in hour(of)] == [
        (ETH, "0.0125", "0.003", "0.022"), (BTC, "0.012", "0.004", "0.02")]
    of.step()
    say(of, 1, lower_e6=5_000, upper_e6=19_000)
    assert [row["instrument"] for row in hour(of)] == [ETH, BTC]
    of.step()
    say(of, 1, lower_e6=-30_000, upper_e6=10_000)
    assert [row["standing"] for row in hour(of)] == ["tradable", "abstains"]
    rows = view_of(of)()
    assert [(row["horizon"], row["instrument"]) for row in rows[2:]] == [(horizon, name) for horizon in ("4h", "24h")
                                                                       for name in (BTC, ETH)]
    assert [row["strategy_horizon"] for row in rows] == [True, True, False, False, False, False]


def test_a_row_that_is_looked_at_again_takes_its_new_place() -> None:
    """One and the same table over many scores is ranked as if it were made anew, each instrument once."""
    of = two()
    view = view_of(of)
    for lower in (4_000, -5_000, 19_000, 3_000, 4_000):
        of.step()
        say(of, 0, lower_e6=lower)
        say(of, 1, lower_e6=3_000, age_s=0.25)
        assert view() == view_of(of)() and len(view()) == 6
        assert sum(view.figures().values()) == 2
    of.run(200)
    assert {row["standing"] for row in view()} == {"no_score"} and view.figures()["opportunities_no_score"] == 2


def test_the_best_of_two_without_a_score_is_the_one_with_one() -> None:
    """A score is ranked before none, however bad it is."""
    of = two()
    say(of, 1, lower_e6=-90_000, upper_e6=-10_000)
    assert [(row["instrument"], row["standing"]) for row in hour(of)] == [(ETH, "abstains"), (BTC, "no_score")]


def test_tradable_up_to_what_the_gates_let_pass() -> None:
    """At the best bid, the ensemble's own size; what is sent then is what was told."""
    of = world()
    say(of)
    (row,) = hour(of)
    assert (row["standing"], row["price"], row["qty"], row["up_to_qty"], row["up_to"]) == (
        "tradable", "100000.0", "0.00025000", "0.00025000", "25.00000000")
    assert (row["reason"], row["refused_by"], row["failing"], row["held"]) == (None, None, [], False)
    assert row["reasons"] == ["3 of 3 members say 0.85, calibrated; it opens from 0.8", "its size: 0.0025 of equity"]
    passes(of)
    (order,) = of.live(IntentKind.OPENING)
    assert (order["price_raw"], order["qty_raw"]) == (1_000_000, 25_000)


def test_a_reduced_size_names_the_gate() -> None:
    """Up to less than the ensemble's own size, by the gate that cuts it."""
    cfg = config(size_frac_max=Decimal("0.02"))
    cfg = msgspec.structs.replace(cfg, risk=msgspec.structs.replace(cfg.risk, position_bps_max=100))
    of = world(cfg)
    say(of, upper_e6=5_000)
    (row,) = hour(of)
    assert (row["standing"], row["reduced_by"]) == ("tradable", "position_size")
    assert Decimal(row["up_to"] or 0) <= 100 < Decimal(row["qty"] or 0) * 100_000
    assert "reduced by position_size" in row["reasons"]


@pytest.mark.parametrize(("what", "gate", "reason"), [
    ("pause", "kill_switch", "paused"), ("kill", "kill_switch", "killed"), ("spread", "spread", "over_limit"),
    ("stale", "data_gap", "stale"), ("private", "data_gap", "private_stream"), ("book", "spread", "no_book")])
def test_what_refuses_is_named(what: str, gate: str, reason: str) -> None:
    """The first gate that fails, as a decision would name it, with nothing left to trade."""
    of = world()
    if what in ("pause", "kill"):
        of.command(what)
        of.step()  # the state follows at a tick
    elif what == "spread":
        gone = [(price, 0) for price in of.books[BTC].asks]
        of.book(BTC, asks=gone + [(1_010_000 + n, 5_000_000_000) for n in range(25)])
    elif what == "stale":
        of.answering = False  # nor is evidence fetched
        of.run(7)
    elif what == "private":
        of.link(Link.LINK_PRIVATE, up=False)
    else:
        of.link(Link.LINK_PUBLIC, up=False)
    say(of)
    (row,) = hour(of)
    assert (row["standing"], row["refused_by"], row["reason"], row["up_to_qty"]) == ("refused", gate, reason, "0.00000000")
    assert gate in row["failing"] and row["reasons"][-1] == f"refused by {gate}: {reason.replace('_', ' ')}"
    assert row["expected"] == "0.012"


@pytest.mark.parametrize(("changes", "standing", "reason"), [
    ({}, "tradable", None), ({"probability_e6": 700_000}, "abstains", "probability_below"),
    ({"lower_e6": 0}, "abstains", "lower_bound"),
    ({"age_s": 180.5}, "no_score", "stale"), ({"verdict": "rejected"}, "no_score", "model_state"),
    ({"state": "shadow"}, "no_score", "model_state"), ({"members": 2}, "no_score", "member_missing"),
    ({"horizon_s": 4 * HOUR}, "no_score", "no_score")])
def test_a_figure_is_there_only_where_a_score_may_be_used(changes: dict[str, Any], standing: str, reason: str | None) -> None:
    """A rejected model, a late score, missing members: the reason, and no figure."""
    of = world()
    of.run(200)
    of.tick()
    say(of, **changes)
    (row,) = hour(of)
    assert (row["standing"], row["reason"]) == (standing, reason)
    assert all((row[name] is None) == (standing == "no_score") for name in FIGURES)  # type: ignore[literal-required]
    assert row["reasons"] and (standing == "tradable") == (row["up_to"] is not None)


@pytest.mark.parametrize(("state", "standing", "told"), [
    ("none", "tradable", "its size: 0.0025 of equity"), ("watch", "tradable", "its size: 0.00125 of equity"),
    ("drifted", "tradable", "in shadow: it would be decided and not sent"), ("broken", "no_score", "(drift: broken)")])
def test_drift_is_said(state: str, standing: str, told: str) -> None:
    """A smaller size, in shadow, or no figure: as the ensemble takes the score."""
    of = world()
    say(of, drift=(state, 310_000, 900_000, 250_000, "log_atr", 500))
    (row,) = hour(of)
    assert (row["standing"], row["expected"] is None) == (standing, standing == "no_score")
    assert any(reason.endswith(told) for reason in row["reasons"]), row["reasons"]


def test_a_score_expires_without_an_event_of_its_own() -> None:
    """Time alone takes the figure away, and says how old it is."""
    of = world()
    view = view_of(of)
    say(of)
    assert view(horizon="1h")[0]["expected"] == "0.012"
    of.run(181)
    (row,) = view(horizon="1h")
    assert (row["standing"], row["reason"], row["expected"]) == ("no_score", "stale", None)
    assert row["reasons"] == ["the score's features are 181 s old, at most 180 s count"]


@pytest.mark.parametrize(("scorer", "unscored", "bars", "said"), [
    ({"state": "off", "reason": ""}, None, None, "scorer.enabled is false: no score can come"),
    ({"state": "refused", "reason": "no version is in production"}, None, None,
     "the scorer is refused: no version is in production"),
    ({"state": "down", "reason": ""}, None, None, "the scorer is down"),
    (READY, None, None, "the scorer has given none in this boot yet"),
    (READY, Unscored((4 * HOUR,), {}), None, "the model in production scores no horizon of 1h"),
    (READY, Unscored((HOUR,), {(0, HOUR): 1}), None,
     "the scorer left it out: a feature that the model reads is not ready"),
    (READY, Unscored((HOUR,), {(0, HOUR): 2}), None, "the scorer left it out: a feature or a result was no finite number"),
    (READY, Unscored((HOUR,), {}), "warming up", "its row of closed bars is not there: warming up")])
def test_what_is_missing_is_said(scorer: dict[str, Any], unscored: Unscored | None, bars: str | None, said: str) -> None:
    """Nobody is left to guess why there is no score."""
    of = world()
    process = {"unscored": unscored, "bar_rows": {"instruments": [{"reason": bars}]} if bars else None}
    (row,) = view_of(of, scorer, **process)(horizon="1h")
    assert (row["standing"], row["reason"], row["reasons"]) == ("no_score", "no_score", [said])


def test_without_the_table_of_the_ensemble_there_is_no_rule() -> None:
    """A score that nobody's rule may use has no figure."""
    cfg = config()
    strategy = msgspec.structs.replace(cfg.strategy, name="rehearsal", ensemble=None)
    of = LivelyWorld(msgspec.structs.replace(cfg, strategy=strategy)).ready()
    say(of)
    rows = view_of(of)()
    assert [(row["horizon"], row["reason"], row["expected"]) for row in rows] == [
        (horizon, "no_rule", None) for horizon in ("1h", "4h", "24h")]


def test_before_the_boot_there_is_nothing() -> None:
    """No configuration, no instruments, no rows."""
    of = World()
    assert view_of(of)() == [] and view_of(of).figures() == dict.fromkeys(
        ("opportunities_tradable", "opportunities_refused", "opportunities_abstains", "opportunities_no_score"), 0)


def test_what_is_held_is_said() -> None:
    """The wish of this score has what it wanted: the row says so."""
    of = world()
    say(of)
    passes(of)
    bought(of)
    passes(of, 0.5)
    assert hour(of)[0]["held"]


def test_less_than_a_lot_is_nothing() -> None:
    """A size that comes to no lot is no opening, and no gate is asked."""
    of = world()
    assert preview.opening(of.core, 0, 1, LIFETIME_NS) is not None
    of.core.equity_acct_raw = 1
    assert preview.opening(of.core, 0, 1, LIFETIME_NS) is None
    say(of)
    of.core.equity_acct_raw = 1
    (row,) = hour(of)
    assert (row["standing"], row["reason"]) == ("abstains", "no_size")


@pytest.mark.parametrize(("args", "error"), [((9, 1, 1), IndexError), ((-1, 1, 1), IndexError), ((0, 0, 1), ValueError),
                                            ((0, 1, 0), ValueError)])
def test_a_question_about_nothing_is_an_error(args: tuple[int, int, int], error: type[Exception]) -> None:
    """No such instrument, no share, no lifetime."""
    of = World()
    of.boot()
    with pytest.raises(error):
        preview.opening(of.core, *args)


def test_the_question_is_judged_as_the_decision_is() -> None:
    """What is asked just before an opening is judged gate by gate as the opening is: value, limit, pass, size."""
    of = world()
    say(of)
    of.step()
    asked = judged(of)
    of.step(0.0)
    of.tick()
    asked = judged(of) if not of.live(IntentKind.OPENING) else asked
    (raw,) = of.core.decision_rows(1)
    made = np.frombuffer(raw, dtype=DECISION_DTYPE)[0]
    names = ("policy_limit", "risk_limit", "policy_pass_mask", "risk_pass_mask", "recorded_mask", "reason", "verdict",
             "qty_requested_raw", "qty_final_raw", "price_raw", "kind", "side", "time_in_force", "level",
             "notional_acct_raw", "equity_acct_raw")
    assert int(made["verdict"]) == Verdict.APPROVE
    assert {name: asked[name].tolist() for name in names} == {name: made[name].tolist() for name in names}


def test_the_windows_that_a_question_reads_stay_as_they_were() -> None:
    """A wall clock that is stepped back later meets the same count of openings: nothing was forgotten for a question."""
    of = world()
    say(of)
    passes(of)
    bought(of)
    of.step_wall(3_700 * S)
    of.step()
    before = image.dump(of.core)
    judged(of)
    same = image.dump(of.core) == before
    assert same, "a question left its mark"


ACTIONS = st.lists(st.sampled_from(("tick", "step", "long", "say", "late", "back", "pause", "resume", "cut", "wide")),
                   max_size=14)


def act(of: World, action: str) -> None:
    """One thing that happens."""
    if action in ("pause", "resume"):
        of.command(action)
    elif action == "back":
        of.step_wall(-2 * S)
    elif action == "cut":
        of.link(Link.LINK_PUBLIC, up=False)
        of.link(Link.LINK_PUBLIC, up=True)
    elif action == "wide":
        of.book(BTC, asks=[(min(of.books[BTC].asks), 0)])
    else:
        {"tick": of.tick, "step": of.step, "long": lambda: of.run(8), "say": lambda: say(of),
         "late": lambda: say(of, age_s=30)}[action]()


@settings(max_examples=12, deadline=None)
@given(ACTIONS)
def test_asking_changes_no_byte_of_the_engine_and_no_later_decision(actions: list[str]) -> None:
    """The engine's image is the same before and after each question; one that is asked and one that is not put out the same."""
    asked, quiet = world(), world()
    view = view_of(asked)
    for action in ("say", *actions, "tick", "say", "tick"):
        act(asked, action)
        act(quiet, action)
        before = image.dump(asked.core)
        view()
        view.figures()
        preview.opening(asked.core, 0, 1_000_000, LIFETIME_NS)
        same = image.dump(asked.core) == before
        assert same, "a question left its mark"  # told so, not as a difference of 100 kB
    assert asked.recorder.hexdigest() == quiet.recorder.hexdigest() and asked.recorder.captured == quiet.recorder.captured
    same = image.dump(asked.core) == image.dump(quiet.core)
    assert same, "the engine that was asked is another one"
    assert asked.core.counter_values() == quiet.core.counter_values()
    asked.sound()


def test_a_look_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand instruments a question looks at a bounded part; in turn every one is looked at."""
    of = world()
    (empty,) = hour(of)
    view = view_of(of)
    monkeypatch.setattr(of.engine, "names", [f"C{n}/USD" for n in range(1_000)])
    looked: list[tuple[int, int]] = []

    def judged_row(number: int, horizon_s: int, _process: dict[str, Any]) -> opportunities.Found:
        looked.append((number, horizon_s))
        return opportunities.Found((1, 0, 0, number), empty)

    monkeypatch.setattr(view, "_judged", judged_row)
    for turn in range(1, 3_000 // PAIRS_AT_ONCE + 1):
        rows = view(first=40)
        assert len(looked) == turn * PAIRS_AT_ONCE and len(rows) <= 3 * 40
    assert len(set(looked)) == 3_000
    assert len(view()) == 3_000 and sum(view.figures().values()) == 1_000
    before = len(looked)
    assert len(view(instrument="C7/USD", horizon="4h")) == 1 and looked[before:] == [(7, 4 * HOUR)]


def test_figures_count_instruments_at_the_strategys_horizon() -> None:
    """Each instrument stands in one place."""
    of = two()
    say(of, 0)
    view = view_of(of)
    view()
    assert view.figures() == {"opportunities_tradable": 1, "opportunities_refused": 0, "opportunities_abstains": 0,
                              "opportunities_no_score": 1}


@pytest.mark.parametrize(("volatility", "spread", "found"), [
    (YEAR_VOLATILITY[0] - 0.01, SPREAD_BPS[0] - 0.1, "low"), (YEAR_VOLATILITY[0], 0.0, "medium"), (0.0, SPREAD_BPS[0], "medium"),
    (YEAR_VOLATILITY[1], 0.0, "high"), (0.0, SPREAD_BPS[1], "high"), (None, 1.0, None), (0.5, None, None),
    (float("nan"), 1.0, None), (float("inf"), 1.0, None), (-1.0, 1.0, None)])
def test_risk_classes(volatility: float | None, spread: float | None, found: str | None) -> None:
    """The worse of both; what is not known is no class."""
    said, reasons = risk_class(volatility, spread)
    assert said == found and len(reasons) == 2


def test_the_text_has_the_interval_with_every_figure() -> None:
    """A line an instrument, under its horizon; where there is a figure, what it is not stands below."""
    of = two()
    say(of, 0)
    told = text(view_of(of)())
    assert "net return over 1h, which the strategy trades" in told and "net return over 24h\n" in told
    line = next(line for line in told.splitlines() if BTC in line)
    assert "+1.20 %" in line and "+0.40 % to +2.00 %" in line and "25 USD" in line
    assert "Nothing is promised" in told
    assert text([]) == "(none)\n" and "Nothing is promised" not in text(view_of(of)(horizon="24h"))
