"""Compiled gates against the oracle, over ordinary and extreme inputs."""

from __future__ import annotations

import gate_case as case
import numpy as np
import oracle_gates as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from cstd._fast import gates
from cstd._fast.codes import Side, TimeInForce, Verdict

MAX64 = 2**63 - 1
EXTREMES = (0, 1, -1, 2, MAX64, MAX64 - 1, -MAX64 - 1, 2**62, 2**53)
FLAGS = ("post_only", "book_verified", "venue_online", "instrument_online", "private_up", "private_ready",
         "conversion_ok", "id_seen", "same_unknown", "dedupe_hit", "instrument_off", "volume_ready",
         "reference_required", "kill_latched", "instrument_has_position")


def around(*values: int) -> st.SearchStrategy[int]:
    """Integers at, just under and just over the given ones, and extremes."""
    near = [value + step for value in values for step in (-1, 0, 1)]
    return st.one_of(st.sampled_from(near), st.sampled_from(EXTREMES))


USD = case.USD
FIELDS: dict[str, st.SearchStrategy] = {
    **{name: st.integers(0, 1) for name in FLAGS},
    "price_raw": st.one_of(st.integers(990_000, 1_010_001), around(2**40, 1_000_000, 1_000_001)),
    "qty_raw": st.one_of(st.integers(1, 10**9), around(2**61, 5_000, 10**5)),
    "qty_wanted_raw": st.integers(0, 10**9),
    "price_scale": st.sampled_from([1, 10, 10**5, 10**10, 0, -1, 7, MAX64]),
    "qty_scale": st.sampled_from([1, 10**5, 10**8, 10**9, 0, 3, MAX64]),
    "tick_raw": st.sampled_from([1, 5, 10, 1_000_000, 0, -3]),
    "lot_raw": st.sampled_from([1, 10, 1_000, 100_000, 0]),
    "qty_min_raw": around(100_000),
    "cost_min_quote_e8": around(100 * USD, 5 * USD),
    "deadline_ns": around(case.S, 2 * case.S),
    "lifetime_ns": around(60 * case.S),
    "unverified_for_ns": around(case.S, 2 * case.S),
    "evidence_age_ns": around(5 * case.S),
    "silent_for_ns": around(300 * case.S),
    "clock_offset_ns": around(250_000_000, -250_000_000),
    "conversion_rate_e8": st.one_of(st.integers(1, 10**14), around(10**8, 2**61)),
    "conversion_haircut_bps": around(50, 10_000),
    "rest_bid_raw": around(1_000_000, 1_002_500),
    "rest_age_ns": around(2 * case.S),
    "last_verified_bid_raw": around(1_000_000, 1_010_000),
    "collar_mbps": around(25_000, 200_000),
    "parents_instrument_hour": around(5, 6),
    "parents_minute": around(29, 30),
    "turnover_day_acct_raw": around(20_000 * USD, 19_900 * USD),
    "losing_round_trips": around(4),
    "volume_hour_acct_raw": around(100_000 * USD, 60_000 * USD),
    "markout_allowance_mbps": around(25_000, 24_995),
    "slippage_day_acct_raw": around(20 * USD),
    "day_start_equity_acct_raw": around(10_000 * USD),
    "slippage_p95_mbps": around(30_000),
    "slippage_fills": around(20),
    "reference_price_raw": st.one_of(around(1_000_000, 1_010_102, 2**40), st.integers(980_000, 1_020_000)),
    "equity_acct_raw": st.one_of(st.integers(0, 10**13), around(10_000 * USD)),
    "day_loss_bps": around(500, 300),
    "day_loss_acct_raw": around(500 * USD),
    "drawdown_bps": around(1000, 500),
    "positions_count": around(9, 10),
    "exposure_acct_raw": st.one_of(st.integers(0, 2 * 10**11), around(1_400 * USD)),
    "asset_exposure_acct_raw": st.one_of(st.integers(0, 3 * 10**10), around(100 * USD)),
    "cluster_exposure_acct_raw": st.one_of(st.integers(0, 7 * 10**10), around(500 * USD)),
    "managed_free_qty_raw": st.one_of(st.integers(0, 200_000), around(100_000)),
    "side": st.sampled_from([int(Side.BUY), int(Side.SELL)]),
    "time_in_force": st.sampled_from([int(v) for v in TimeInForce]),
    "book_fault": st.integers(0, 15),
    "level": st.integers(-1, 6),
    "trading_state": st.integers(-1, 6),
    "rejudge": st.integers(0, 1),
}
LIMITS: dict[str, st.SearchStrategy] = {
    "depth_band_mbps": st.sampled_from([0, 1, 50, 25_000, 20_000_000]),
    "depth_min_acct_raw": st.integers(0, 10**14),
    "depth_multiple_e2": st.sampled_from([0, 100, 500, 100_000, MAX64]),
    "exit_cost_max_mbps": st.integers(0, 30_000),
    "spread_max_mbps": st.integers(0, 100),
    "volume_share_max_bps": st.sampled_from([0, 1, 1_000, MAX64]),
    "turnover_day_max_bps": st.sampled_from([0, 1, 20_000, MAX64]),
    "position_max_bps": st.sampled_from([0, 100, 200, MAX64]),
    "exposure_max_bps": st.sampled_from([0, 100, 1_500, MAX64]),
    "cluster_max_bps": st.sampled_from([0, 100, 600]),
    "level_size_e4": st.sampled_from([(10_000, 7_500, 0, 0, 0), (5_000, 1, 0, 0, 0), (10_000, 10_000, 10_000, 0, 0)]),
    "reduce_min_bps": st.sampled_from([0, 1_000, 10_000]),
    "price_band_mbps": st.integers(0, 200_000),
}


@st.composite
def books(draw: st.DrawFn) -> tuple[list, list]:
    """Both sides, best first: the usual ones, or thin, wide, partly ours, crossed and empty ones."""
    if draw(st.booleans()):
        return case.BIDS, case.ASKS
    step = draw(st.sampled_from([1, 7, 300, 5_000]))
    quantity = st.one_of(st.integers(0, 400_000), st.integers(0, 10**10), st.just(2**61))

    def side(best: int, sign: int) -> list:
        levels = []
        for n in range(draw(st.integers(0, 6))):
            qty = draw(quantity)
            levels.append((best - sign * n * step, qty, draw(st.sampled_from([0, 0, qty // 2, qty]))))
        return levels

    return side(draw(st.integers(999_000, 1_000_000)), 1), side(draw(st.integers(999_999, 1_002_000)), -1)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict, dict, list, list]:
    """An intent, limits and a book with a few things changed from a case that passes."""
    base = draw(st.sampled_from([case.opening, case.opening, case.exit_sell]))
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=6, unique=True))
    limit_names = draw(st.lists(st.sampled_from(sorted(LIMITS)), max_size=3, unique=True))
    intent = base(**{name: draw(FIELDS[name]) for name in names})
    return intent, case.limits(**{name: draw(LIMITS[name]) for name in limit_names}), *draw(books())


def described(row: np.void) -> dict:
    """The compiled row in the oracle's words."""
    values = list(row["policy_value"]) + list(row["risk_value"])
    bounds = list(row["policy_limit"]) + list(row["risk_limit"])
    return {
        gate: (gates.Why(int(row["reason"][n])), int(values[n]), int(bounds[n])) for n, gate in enumerate(oracle.GATES)
    }


@settings(max_examples=800, deadline=None)
@given(cases())
def test_every_gate_says_what_the_oracle_says(drawn: tuple) -> None:
    """Reason, value and limit of all fifteen gates, and the verdict of the single pass, equal the oracle's."""
    intent, limit, bids, asks = drawn
    row = case.judge(intent, limit, bids=bids, asks=asks, reduce=False)
    c = oracle.rule_all(intent, limit, bids, asks)
    assert described(row) == {gate: (r.why, r.value, r.limit) for gate, r in c.rulings.items()}
    verdict, qty = oracle.expected_verdict(c)
    assert (Verdict(int(row["verdict"])).name.lower(), int(row["qty_final_raw"])) == (verdict, qty)
    refusing = oracle.refusing_gates(c)
    if refusing and verdict == "refuse":
        assert row["first_failing"] == refusing[0]
    masks = int(row["policy_pass_mask"]) | int(row["risk_pass_mask"]) << 7
    assert masks == sum(1 << n for n, gate in enumerate(oracle.GATES) if not c.why(gate))
    recorded = sum(1 << n for n, gate in enumerate(oracle.GATES) if c.why(gate) and gate not in refusing)
    assert int(row["recorded_mask"]) == recorded


@settings(max_examples=300, deadline=None)
@given(cases())
def test_a_reduction_holds_when_it_is_judged_again(drawn: tuple) -> None:
    """A proposed reduction passes every gate that may refuse at the reduced size, so judging twice never surprises."""
    intent, limit, bids, asks = drawn
    proposal = case.judge(intent, limit, bids=bids, asks=asks, reduce=False)
    final = case.judge(intent, limit, bids=bids, asks=asks)
    assert final["verdict"] == proposal["verdict"]
    assert final["qty_final_raw"] == proposal["qty_final_raw"]
    assert final["qty_requested_raw"] == intent["qty_raw"]
    if final["verdict"] != Verdict.REFUSE:
        assert 0 < final["qty_final_raw"] <= intent["qty_raw"]
        assert final["first_failing"] == 0


@settings(max_examples=300, deadline=None)
@given(cases())
def test_the_counterfactual_is_the_largest_quantity_that_passes(drawn: tuple) -> None:
    """The counterfactual quantity passes as a request of its own, and the next lot above it does not."""
    intent, limit, bids, asks = drawn
    row = case.judge(intent, limit, bids=bids, asks=asks)
    best = int(row["counterfactual_qty_raw"])
    lot = intent["lot_raw"]
    wanted = intent["qty_wanted_raw"] or (0 if intent["rejudge"] else intent["qty_raw"])

    def passes(qty: int) -> bool:
        asked = {**intent, "qty_raw": qty, "qty_wanted_raw": wanted}
        return bool(case.judge(asked, limit, bids=bids, asks=asks, reduce=False)["verdict"] == Verdict.APPROVE)

    if intent["kind"] == 0 and best:
        assert passes(best)
        assert best + lot > intent["qty_raw"] or not passes(best + lot)


@settings(max_examples=300, deadline=None)
@given(cases(), st.sampled_from(["spread_max_mbps", "exit_cost_max_mbps", "turnover_day_max_bps", "exposure_max_bps",
                                 "position_max_bps", "cluster_max_bps", "volume_share_max_bps", "price_band_mbps",
                                 "positions_max", "parents_instrument_hour_max", "parents_minute_max",
                                 "slippage_day_max_mbps", "slippage_p95_max_mbps", "reference_band_mbps",
                                 "evidence_age_max_ns", "silent_max_ns", "losing_round_trips_max", "lifetime_max_ns",
                                 "deadline_max_ns", "collar_max_mbps"]), st.integers(1, 10**6))
def test_a_stricter_maximum_never_admits_more(drawn: tuple, name: str, cut: int) -> None:
    """Lowering one maximum never makes the quantity that goes out larger."""
    intent, limit, bids, asks = drawn
    before = case.judge(intent, limit, bids=bids, asks=asks)
    strict = {**limit, name: max(0, limit[name] - cut)}
    after = case.judge(intent, strict, bids=bids, asks=asks)
    assert after["qty_final_raw"] <= before["qty_final_raw"]


@settings(max_examples=300, deadline=None)
@given(cases())
def test_what_goes_out_is_within_every_cap(drawn: tuple) -> None:
    """An opening that is let out leaves exposure, position and cluster within their limits; an exit within managed."""
    intent, limit, bids, asks = drawn
    row = case.judge(intent, limit, bids=bids, asks=asks)
    if row["verdict"] == Verdict.REFUSE:
        return
    if intent["kind"] == 1:
        assert row["qty_final_raw"] <= intent["managed_free_qty_raw"]
        assert intent["side"] == Side.SELL
        return
    assert intent["side"] == Side.BUY
    notional = int(row["notional_acct_raw"])
    for name, share in (("exposure", "exposure_max_bps"), ("asset_exposure", "position_max_bps"),
                        ("cluster_exposure", "cluster_max_bps")):
        most = oracle.bps_of(intent["equity_acct_raw"], limit[share])
        assert intent[f"{name}_acct_raw"] + notional <= most
