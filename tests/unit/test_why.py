"""An explanation says what the gates said: values in their units, what failed, what would have passed."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "kernels"))

import gate_case as case
from gate_case import USD

from cstd._fast import codes, gates
from cstd.decision import why
from cstd.decision.refused import last_case
from cstd.decision.why import GATES, explain, waterfall
from cstd.venue.messages import InstrumentSpec

SPEC = InstrumentSpec(name="BTC/USD", base="BTC", quote="USD", status="online", price_precision=1, qty_precision=8,
                      price_increment_raw=1, qty_increment_raw=1, qty_min_raw=5_000, cost_precision=5,
                      cost_min=Decimal("0.5"))


def explained(intent: dict, **kwargs: object) -> dict:
    """Judge an intent and explain its row."""
    return explain(case.judge(intent, **kwargs), SPEC)


def gate(decision: dict, name: str) -> dict:
    """One gate of an explanation."""
    return next(entry for entry in decision["gates"] if entry["name"] == name)


def test_the_table_names_every_gate_once() -> None:
    """GATES holds the fifteen codes of the compiled gates, in order, each with its facts."""
    assert [info.code for info in GATES] == [*range(1, 8), *range(11, 19)]
    compiled = {int(member): member.name.removeprefix("GATE_").lower() for member in gates.Gate}
    assert {info.code: info.name for info in GATES} == {code: compiled[code] for code in why.BY_CODE}
    assert all(info.reads and info.passes_when and info.on_fail and info.rules for info in GATES)


def test_every_reason_can_be_explained() -> None:
    """Each reason a gate can give has either a limit to keep or words for what lets it pass."""
    numbers = {"over_limit", "instrument_rate", "minute_rate", "turnover", "depth_floor", "order_share", "slippage_day",
               "slippage_p95", "lifetime", "reference", "collar", "loss_amount", "too_small"}
    names = {member.name.removeprefix("WHY_").lower() for member in gates.Why} - {"passed", "count"}
    assert names == numbers | set(why._REMEDY)


def test_every_limit_is_named_by_a_configuration_key() -> None:
    """The key beside each limit exists in the configuration."""
    from cstd.config.schema import ExitsConfig, PolicyConfig, RiskConfig

    sections = {"policy": PolicyConfig, "risk": RiskConfig, "exits": ExitsConfig}
    keys = {info.key for info in GATES} | {measure.key for measure in why._MEASURE_OF_REASON.values()}
    keys |= {why._COLLAR.key, why._DEPTH_MULTIPLE.key}
    for key in keys - {""}:
        section, _, name = key.partition(".")
        assert name in sections[section].__struct_fields__, key


def test_an_approved_opening() -> None:
    """An approval shows every gate passed, with value, limit and margin in units people read."""
    decision = explained(case.opening())
    assert decision["verdict"] == "approve"
    assert (decision["kind"], decision["side"], decision["instrument"]) == ("opening", "buy", "BTC/USD")
    assert (decision["price"], decision["qty_final"], decision["first_failing"]) == ("100000.0", "0.00100000", None)
    assert all(entry["passed"] for entry in decision["gates"])
    exposure = gate(decision, "total_exposure")
    assert (exposure["value"], exposure["limit"], exposure["margin"], exposure["unit"]) == ("100", "1500", "1400", "USD")
    spread = gate(decision, "spread")
    assert (spread["value"], spread["limit"], spread["unit"]) == ("0.01", "45", "bps")
    depth = gate(decision, "depth")
    assert (depth["bound"], depth["limit"]) == ("min", "10000")
    assert Decimal(depth["margin"]) == Decimal(depth["value"]) - 10_000


@pytest.mark.parametrize(("change", "name", "reason", "key", "value", "limit", "unit"), [
    ({"day_loss_bps": 612}, "day_loss", "over_limit", "risk.day_loss_critical_bps", 612, 500, "bps"),
    ({"day_loss_acct_raw": 600 * USD}, "day_loss", "loss_amount", "risk.day_loss_max", "600", "500", "USD"),
    ({"parents_minute": 30}, "idempotency", "minute_rate", "policy.parents_per_minute_max", 31, 30, "parents/min"),
    ({"evidence_age_ns": 6_500_000_000}, "data_gap", "stale", "risk.evidence_s", "6.5", "5", "s"),
    ({"clock_offset_ns": 300_000_000}, "data_gap", "clock", "risk.clock_offset_ms_max", "300", "250", "ms"),
    ({"reference_price_raw": 1_020_000}, "price", "reference", "policy.reference_band_bps_max", "196.079", "100", "bps"),
    ({"volume_hour_acct_raw": 5}, "volume", "over_limit", "policy.volume_hour_min", "0.00000005", "100000", "USD"),
    ({"lifetime_ns": 61_000_000_000}, "time_in_force", "lifetime", "policy.lifetime_s_max", "61", "60", "s"),
])
def test_a_refusal_names_the_condition_that_failed(change: dict, name: str, reason: str, key: str, value: object,
                                                   limit: object, unit: str) -> None:
    """Value, limit, unit and configuration key are those of the condition that failed, not the gate's main one."""
    decision = explained(case.opening(**change))
    entry = gate(decision, name)
    assert (decision["verdict"], decision["first_failing"], decision["verdict_reason"]) == ("refuse", name, reason)
    assert (entry["reason"], entry["key"], entry["value"], entry["limit"], entry["unit"]) == (reason, key, value, limit, unit)
    assert not entry["passed"]
    assert entry["would_pass"]


def test_no_number_is_null_not_a_sentinel() -> None:
    """What has no value in the row is None in the explanation; int64 sentinels never reach a screen."""
    decision = explained(case.opening(), bids=[], asks=[])
    assert (decision["bid"], decision["ask"]) == (None, None)
    assert gate(decision, "spread")["value"] is None
    assert str(2**63 - 1) not in json.dumps(decision)


def test_an_exit_shows_its_collar_and_what_is_only_noted() -> None:
    """An exit's price gate shows its collar; failed gates that cannot hold it back are marked as recorded."""
    decision = explained(case.exit_sell(price_raw=999_000, kill_latched=1))
    price = gate(decision, "price")
    assert (price["key"], price["value"], price["limit"]) == ("exits.collar_steps_bps", "10", "25")
    kill = gate(decision, "kill_switch")
    assert (kill["passed"], kill["recorded"], decision["verdict"]) == (False, True, "approve")
    assert "noted" in waterfall(decision)


@pytest.mark.parametrize(("name", "state", "fields"), [
    ("kill_switch", "killed", {"kill_latched": 1}), ("kill_switch", "paused", {"trading_state": 1}),
    ("data_gap", "venue_state", {"venue_online": 0}), ("data_gap", "private_stream", {"private_up": 0})])
def test_a_gate_that_a_state_fails_shows_the_state(name: str, state: str, fields: dict[str, int]) -> None:
    """The value is what failed, not a number that lies inside its limit; in the text, and in the summary of a span too."""
    decision = explained(case.opening(**fields))
    entry = gate(decision, name)
    assert (entry["value"], entry["limit"], entry["unit"], entry["key"], entry["margin"]) == (state, None, "", "", None)
    (line,) = (line for line in waterfall(decision).splitlines() if line.startswith(">"))
    assert line.split("..")[0].split()[-1] == state and "FAIL" in line and "level" not in line
    case_ = last_case({**decision, "decided_wall_ns": 1}, name)
    assert (case_["last_value"], case_["last_limit"]) == (state, None)


def test_a_level_that_leaves_no_size_shows_the_level() -> None:
    """There the number is what failed."""
    entry = gate(explained(case.opening(level=2)), "kill_switch")
    assert (entry["reason"], entry["value"], entry["limit"], entry["unit"]) == ("level", "critical", "warning", "level")


def test_a_reduction_names_its_gate() -> None:
    """A reduction says from what to what, and by which gate."""
    decision = explained(case.opening(qty_raw=900_000))
    assert (decision["verdict"], decision["reduced_by"]) == ("reduce", "position_size")
    assert "reduced from 0.00900000 to 0.00200000 by position size" in waterfall(decision)


def test_an_exit_above_managed_names_the_bound() -> None:
    """The bound on exits is no gate, but it is named as what refused."""
    decision = explained(case.exit_sell(managed_free_qty_raw=0))
    assert (decision["first_failing"], decision["verdict_reason"]) == ("managed_bound", "above_managed")
    assert "refused by managed bound (above managed)" in waterfall(decision)


def test_the_waterfall_prints_from_json() -> None:
    """The text needs nothing but what went through JSON; it has every gate and marks the first that failed."""
    decision = explained(case.opening(day_loss_bps=612, qty_raw=200_000))
    text = waterfall(json.loads(json.dumps(decision)))
    assert text.startswith("REFUSE  buy BTC/USD 0.00200000 @ 100000.0")
    for info in GATES:
        assert f" {info.code:>2} {info.name.replace('_', ' ')}" in text
    marked = [line for line in text.splitlines() if line.startswith(">")]
    assert len(marked) == 1
    assert "13 day loss" in marked[0]
    assert "passes with below 500 bps" in marked[0]
    assert "no quantity would have passed" in text


def test_the_counterfactual_is_printed() -> None:
    """Where a smaller quantity would have passed, the text says which."""
    decision = explained(case.opening(qty_raw=5_000_000))
    assert "0.00200000 would have passed" in waterfall(decision)


@pytest.mark.parametrize("member", list(codes.IntentKind))
def test_unknown_codes_do_not_break_an_explanation(member: codes.IntentKind) -> None:
    """A row of a later version, with codes this one does not know, is still explained."""
    row = np.zeros((), dtype=gates.DECISION_DTYPE)
    row["kind"] = member
    row["side"], row["strategy"], row["time_in_force"] = 0, 99, 77
    decision = explain(row[()], SPEC)
    assert (decision["side"], decision["strategy"], decision["time_in_force"]) == ("unknown", "99", "unknown")


def test_printing_needs_no_numpy() -> None:
    """The command line prints a waterfall without loading numpy or the compiled gates."""
    code = "import sys, cstd.decision.why; sys.exit('numpy' in sys.modules or 'cstd._fast.gates' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
