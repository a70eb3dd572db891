"""Proven for every input, every limit and every book: what is approved is within every limit."""

from __future__ import annotations

from typing import Any

import pytest
import z3

from tests.proof.facts_model import BPS_PER_UNIT, BUY, GATE, MBPS_PER_UNIT, OPENING, PRICE_RAW_MAX, QTY_RAW_MAX, WHY
from tests.proof.gates_model import APPROVE, GATES, REFUSE, Case, Decision, apart, decide
from tests.proof.terms import INT64_MAX, both, either, up
from tests.proof.world import World, prove


def opening(**known: Any) -> tuple[World, Case, Decision]:
    """Any opening with any facts, decided."""
    w = World()
    i = w.input(kind=OPENING, **known)
    c = Case(i, w.limits(), w.facts(i))
    return w, c, decide(c)


@pytest.mark.parametrize("gate", GATES)
def test_an_approved_opening_passed_every_gate(gate: int) -> None:
    """A fresh opening that is approved failed no gate, and is a buy inside the domain."""
    w, c, d = opening(rejudge=0)
    prove(c.why(gate) == WHY.PASSED, *w.given, d.verdict == APPROVE)


def bounds(c: Case) -> dict[str, Any]:
    """Every limit as an inequality of its own, written from the rules and not from the gates."""
    i, lim, f = c.i, c.lim, c.f
    money = {"exposure_acct_raw": "exposure_max_bps", "asset_exposure_acct_raw": "position_max_bps",
             "cluster_exposure_acct_raw": "cluster_max_bps", "turnover_day_acct_raw": "turnover_day_max_bps"}
    return {
        **{field: (i[field] + f.notional) * BPS_PER_UNIT <= i["equity_acct_raw"] * lim[key] for field, key in money.items()},
        "parents in the hour, this one included": i["parents_instrument_hour"] + 1 <= lim["parents_instrument_hour_max"],
        "parents in the minute": i["parents_minute"] + 1 <= lim["parents_minute_max"],
        "losing round trips": i["losing_round_trips"] < lim["losing_round_trips_max"],
        "spread": 2 * (f.ask - f.bid) * MBPS_PER_UNIT <= lim["spread_max_mbps"] * (f.bid + f.ask),
        "depth": both(f.depth >= lim["depth_min_acct_raw"], f.depth * 100 >= lim["depth_multiple_e2"] * f.notional),
        "volume": i["volume_hour_acct_raw"] >= lim["volume_hour_min_acct_raw"],
        "share of the minute": f.notional * 60 * BPS_PER_UNIT <= lim["volume_share_max_bps"] * i["volume_hour_acct_raw"],
        "exit cost": f.exit_cost_mbps + i["markout_allowance_mbps"] <= lim["exit_cost_max_mbps"],
        "slippage today":
            i["slippage_day_acct_raw"] * MBPS_PER_UNIT <= lim["slippage_day_max_mbps"] * i["day_start_equity_acct_raw"],
        "slippage P95": either(i["slippage_fills"] < lim["slippage_p95_fills_min"],
                               i["slippage_p95_mbps"] <= lim["slippage_p95_max_mbps"]),
        "deadline": both(i["deadline_ns"] >= lim["deadline_min_ns"], i["deadline_ns"] <= lim["deadline_max_ns"]),
        "lifetime": both(i["lifetime_ns"] > 0, i["lifetime_ns"] <= lim["lifetime_max_ns"]),
        "band": apart(2 * i["price_raw"], f.mid2) * MBPS_PER_UNIT <= lim["price_band_mbps"] * f.mid2,
        "reference": either(
            both(i["reference_price_raw"] == 0, i["reference_required"] == 0),
            apart(i["price_raw"], i["reference_price_raw"]) * MBPS_PER_UNIT
            <= lim["reference_band_mbps"] * i["reference_price_raw"]),
        "not crossing": i["price_raw"] < f.top_ask,
        "venue": both(i["price_raw"] % i["tick_raw"] == 0, i["qty_raw"] % i["lot_raw"] == 0, i["qty_raw"] >= i["qty_min_raw"]),
        "domain": both(i["price_raw"] > 0, i["price_raw"] <= PRICE_RAW_MAX, i["qty_raw"] > 0, i["qty_raw"] <= QTY_RAW_MAX),
        "a long": i["side"] == BUY,
        "kill": both(i["kill_latched"] == 0, i["trading_state"] == 0),
        "evidence": both(i["evidence_age_ns"] >= 0, i["evidence_age_ns"] <= lim["evidence_age_max_ns"]),
        "silence": both(i["silent_for_ns"] >= 0, i["silent_for_ns"] < lim["silent_max_ns"]),
        "clock": apart(i["clock_offset_ns"], 0) <= lim["clock_offset_max_ns"],
        "streams": both(*(i[flag] != 0 for flag in ("venue_online", "instrument_online", "private_up", "private_ready",
                                                    "conversion_ok", "book_verified")), i["book_fault"] == 0),
        "day loss": both(i["day_loss_bps"] < lim["day_loss_bps"][1], i["day_loss_acct_raw"] < lim["day_loss_max_acct_raw"]),
        "drawdown": i["drawdown_bps"] < lim["drawdown_bps"][1],
        "positions": i["positions_count"] + (i["instrument_has_position"] == 0) <= lim["positions_max"],
        "level": both(i["level"] >= 0, i["level"] <= 4),
    }


NAMES = tuple(bounds(opening(side=BUY)[1]))


@pytest.mark.parametrize("name", NAMES)
def test_an_approved_opening_is_within(name: str) -> None:
    """The limit holds for every fresh opening that is approved, as an inequality of whole numbers."""
    w, c, d = opening(rejudge=0)
    nothing_at_level_5 = [size == 0 for size in c.lim["level_size_e4"][2:]]  # limits_row: nothing from Critical on
    prove(bounds(c)[name], *w.given, *quotient_bounds(c), *nothing_at_level_5, d.verdict == APPROVE)


def quotient_bounds(c: Case) -> list:
    """How far from the reference price, rounded up: a quotient that is at most the limit bounds its numerator
    (test_arithmetic.py shows it of all numbers; here it is said of these)."""
    reference, band = c.i["reference_price_raw"], c.lim["reference_band_mbps"]
    part = apart(c.i["price_raw"], reference) * MBPS_PER_UNIT
    # The largest int64 as a limit is none: what saturates there is within it.
    return [band < INT64_MAX, c.lim["positions_max"] < INT64_MAX,
            z3.Implies(both(reference > 0, up(part, reference) <= band), part <= band * reference)]


MONEY = ("exposure_acct_raw", "asset_exposure_acct_raw", "cluster_exposure_acct_raw", "kill", "a long", "domain", "day loss",
         "drawdown", "positions", "silence", "clock", "reference")


@pytest.mark.parametrize("name", MONEY)
def test_a_resting_order_that_stays_is_within(name: str) -> None:
    """Of a re-judged opening nothing but churn, time in force and, during the grace, the book is excused."""
    w, c, d = opening(rejudge=1)
    prove(bounds(c)[name], *w.given, *quotient_bounds(c), d.verdict == APPROVE)


def test_what_a_resting_order_is_excused_from() -> None:
    """Without the grace, a re-judged opening that stays passed every gate but 1 and 6, and 1 for its latch."""
    w, c, d = opening(rejudge=1)
    ended = c.i["unverified_for_ns"] > c.lim["unverified_grace_ns"]
    excused = (GATE.IDEMPOTENCY, GATE.TIME_IN_FORCE)
    prove(both(*(c.why(gate) == WHY.PASSED for gate in GATES if gate not in excused)), *w.given, d.verdict == APPROVE, ended)
    prove(c.why(GATE.IDEMPOTENCY) != WHY.LOSING_STREAK, *w.given, d.verdict == APPROVE)


def test_a_quantity_goes_out_only_with_a_verdict() -> None:
    """Refused is quantity 0, approved is what was asked, and every verdict is one of the three."""
    w, c, d = opening()
    prove((d.verdict == REFUSE) == (d.qty_final == 0), *w.given, c.i["qty_raw"] > 0, c.f.sendable(0) == False)  # noqa: E712
    prove(d.qty_final == c.i["qty_raw"], *w.given, d.verdict == APPROVE)
