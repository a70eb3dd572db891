"""Each gate at its limit, just inside and just outside; what exits and re-judged orders are excused from; bad input."""

from __future__ import annotations

import gate_case as case
import numpy as np
import pytest
from gate_case import USD, S

from cstd._fast import codes, gates, layout
from cstd._fast.codes import Verdict
from cstd._fast.gates import Gate, Why
from tests.kernels.gate_boundaries import BOUNDARIES, SIZES


def why(row: np.void, gate: Gate) -> Why:
    """The reason one gate gave."""
    return Why(int(row["reason"][gate - 1 if gate < 11 else gate - 4]))


def failed(row: np.void) -> set[Gate]:
    """Every gate that did not pass."""
    every = [Gate(n) for n in (*range(1, 8), *range(11, 19))]
    return {gate for gate in every if why(row, gate)}


def test_the_base_case_passes_every_gate() -> None:
    """The opening all other tests start from is approved whole, with nothing recorded against it."""
    row = case.judge(case.opening())
    assert row["verdict"] == Verdict.APPROVE
    assert failed(row) == set()
    assert (row["policy_pass_mask"], row["risk_pass_mask"], row["recorded_mask"]) == (0x7F, 0xFF, 0)
    assert row["qty_final_raw"] == row["counterfactual_qty_raw"] == 100_000
    assert row["notional_acct_raw"] == 100 * USD


@pytest.mark.parametrize(("gate", "name", "passing", "failing", "reason"), BOUNDARIES,
                         ids=[f"{g.name}-{n}-{f}" for g, n, _, f, _ in BOUNDARIES])
def test_at_and_beyond_the_limit(gate: Gate, name: str, passing: object, failing: object, reason: Why) -> None:
    """The last value inside passes; the first outside fails this gate, no other, for the stated reason."""
    assert case.judge(case.opening(**{name: passing}))["verdict"] == Verdict.APPROVE
    row = case.judge(case.opening(**{name: failing}))
    assert failed(row) == {gate}
    assert why(row, gate) == reason
    assert row["verdict"] == Verdict.REFUSE
    assert (row["first_failing"], row["verdict_reason"]) == (gate, reason)
    assert row["qty_final_raw"] == 0


@pytest.mark.parametrize(("gate", "inside", "outside", "reason"), SIZES, ids=[f"{g.name}-{w.name}" for g, _, _, w in SIZES])
@pytest.mark.control("policy.slippage_p95_fills_min")
def test_size_limits_at_and_beyond(gate: Gate, inside: dict, outside: dict, reason: Why) -> None:
    """The same for limits that depend on the size of the order, before any reduction."""
    assert case.judge(case.opening(**inside))["verdict"] == Verdict.APPROVE
    row = case.judge(case.opening(**outside), reduce=False)
    assert failed(row) == {gate}
    assert why(row, gate) == reason


@pytest.mark.control("depth.over_limit")
def test_depth_below_the_multiple_reduces() -> None:
    """Below five times the notional the order is cut to a fifth of what is visible."""
    wide = case.limits(position_max_bps=10_000, exposure_max_bps=10_000, cluster_max_bps=10_000)
    cut = case.judge(case.opening(qty_raw=2_500_000), wide, bids=[(1_000_000, 10_000_000)])  # 0.1 BTC at 100,000 = 10,000
    assert (cut["verdict"], cut["qty_final_raw"], cut["reduced_by"]) == (Verdict.REDUCE, 2_000_000, Gate.GATE_DEPTH)


@pytest.mark.control("policy.depth_band_bps")
def test_depth_counts_only_the_band_and_only_others() -> None:
    """Levels beyond 25 bps of mid and our own resting quantity are no depth."""
    inside, outside = 997_501, 997_500  # mid 1,000,000.5, band edge 997,500.5
    row = case.judge(case.opening(price_raw=999_000), bids=[(1_000_000, 10**7, 4 * 10**6), (inside, 10**6), (outside, 10**9)])
    assert row["depth_acct_raw"] == 6_000 * USD + 997_501 * 10**5


@pytest.mark.control("slippage.over_limit")
def test_slippage_walks_the_exit_side() -> None:
    """The expected cost is the shortfall against mid of selling the quantity into others' bids, rounded up."""
    bids = [(999_000, 40_000, 40_000), (998_000, 50_000), (990_000, 10**10)]
    row = case.judge(case.opening(price_raw=998_000), bids=bids, asks=[(1_000_000, 10**10)])
    # Ours at 999,000 is not there: mid is 999,000; half at 998,000, half at 990,000.
    assert row["mid2_raw"] == 1_998_000
    assert row["exit_cost_mbps"] == -(-(1_000 + 9_000) * 10**7 // (2 * 999_000))
    assert why(row, Gate.GATE_SLIPPAGE) == Why.WHY_OVER_LIMIT


@pytest.mark.control("slippage.book_too_thin")
def test_a_book_too_thin_names_the_quantity_that_passes() -> None:
    """What the visible bids cannot take has no price: the row says how much they can."""
    row = case.judge(case.opening(qty_raw=150_000), case.limits(depth_min_acct_raw=0, depth_multiple_e2=0),
                     bids=[(1_000_000, 99_999)])
    assert failed(row) == {Gate.GATE_SLIPPAGE}
    assert row["counterfactual_qty_raw"] == 99_999


@pytest.mark.parametrize(("bids", "asks"), [([], case.ASKS), (case.BIDS, []), ([], []), ([(10, 5, 5)], case.ASKS),
                                            ([(1_000_001, 10**9)], [(1_000_001, 10**9)])])
@pytest.mark.control("spread.no_book", "depth.no_book", "slippage.no_book")
def test_no_book_no_opening(bids: list, asks: list) -> None:
    """An empty side, a side that is all ours and a locked book refuse; the row says that there is no price."""
    row = case.judge(case.opening(), bids=bids, asks=asks)
    assert row["verdict"] == Verdict.REFUSE
    assert {Gate.GATE_SPREAD, Gate.GATE_DEPTH, Gate.GATE_SLIPPAGE} <= failed(row)
    assert row["mid2_raw"] == 0


def test_an_empty_side_shows_its_sentinel() -> None:
    """The row of an empty side holds the sentinels, which no comparison takes for a price."""
    row = case.judge(case.opening(), bids=[], asks=[])
    assert (row["bid_raw"], row["ask_raw"]) == (layout.no_bid, layout.no_ask)


@pytest.mark.parametrize("price", [layout.no_bid, layout.no_ask, 0, -1, gates.price_raw_max + 1])
@pytest.mark.parametrize("intent", [case.opening, case.exit_sell])
@pytest.mark.control("price.bad_input")
def test_sentinels_and_wild_prices_refuse(price: int, intent: object) -> None:
    """A sentinel, zero, negative or out-of-domain price lets neither an opening nor an exit out."""
    row = case.judge(intent(price_raw=price))
    assert row["verdict"] == Verdict.REFUSE
    assert why(row, Gate.GATE_PRICE) == Why.WHY_BAD_INPUT


@pytest.mark.parametrize("qty", [0, -1, -(2**63), 2**63 - 1, gates.qty_raw_max + 1])
@pytest.mark.parametrize("intent", [case.opening, case.exit_sell])
def test_wild_quantities_refuse(qty: int, intent: object) -> None:
    """No quantity outside the domain goes out."""
    assert case.judge(intent(qty_raw=qty))["verdict"] == Verdict.REFUSE


@pytest.mark.parametrize("change", [
    {"conversion_rate_e8": -1}, {"conversion_rate_e8": 2**63 - 1}, {"equity_acct_raw": -(2**63)}, {"conversion_haircut_bps": -1},
    {"price_scale": 0}, {"qty_scale": -1}, {"exposure_acct_raw": 2**63 - 1}, {"cluster_exposure_acct_raw": -(2**63)},
    {"turnover_day_acct_raw": 2**63 - 1}, {"positions_count": 2**63 - 1}, {"markout_allowance_mbps": 2**63 - 1},
    {"reference_price_raw": -1}, {"reference_price_raw": 2**63 - 1}, {"day_loss_bps": 2**63 - 1}, {"level": 77},
    {"trading_state": -5}, {"side": 0}, {"kind": 7}, {"conversion_rate_e8": 2**61, "qty_raw": 2**61},
], ids=str)
def test_bad_and_overflowing_inputs_refuse(change: dict) -> None:
    """Overflowing and impossible inputs, beside the rows of gate_boundaries, refuse an opening; nothing wraps into a yes."""
    assert case.judge(case.opening(**change))["verdict"] == Verdict.REFUSE


@pytest.mark.parametrize("level", [(2**62, 10**6), (1_000_000, 2**63 - 1), (0, 10**6), (-5, 10**6)])
def test_wild_levels_refuse(level: tuple) -> None:
    """A level outside the domain in what the gates add up refuses an opening."""
    row = case.judge(case.opening(), bids=[(1_000_000, 10), level])
    assert row["verdict"] == Verdict.REFUSE


def test_reduction_takes_the_smallest_cap_rounded_down_to_the_lot() -> None:
    """2 % of 10,000 leaves 200: at 100,000 that is 0.002 BTC; a lot of 30,000 raw rounds it down to 180,000."""
    row = case.judge(case.opening(qty_raw=900_000, lot_raw=30_000))
    assert (row["verdict"], row["qty_final_raw"], row["reduced_by"]) == (Verdict.REDUCE, 180_000, Gate.GATE_POSITION_SIZE)
    assert row["qty_requested_raw"] == 900_000
    assert row["notional_acct_raw"] == 180 * USD
    assert failed(row) == set()


@pytest.mark.control("verdict.too_small", "risk.reduce_bps_min")
def test_a_reduction_below_a_tenth_or_the_minimum_refuses() -> None:
    """Less than 10 % of the request, or than the venue's minimum, is not worth sending: refuse, and say so."""
    tenth = case.judge(case.opening(qty_raw=2_000_000))
    assert (tenth["verdict"], tenth["qty_final_raw"]) == (Verdict.REDUCE, 200_000)
    less = case.judge(case.opening(qty_raw=2_000_010))
    assert (less["verdict"], less["verdict_reason"]) == (Verdict.REFUSE, Why.WHY_TOO_SMALL)
    assert less["counterfactual_qty_raw"] == 200_000
    cost = case.judge(case.opening(qty_raw=900_000, cost_min_quote_e8=200 * USD + 1))
    assert (cost["verdict"], cost["counterfactual_qty_raw"]) == (Verdict.REFUSE, 0)


def test_a_reduction_does_not_hide_another_refusal() -> None:
    """With a cap and a hard gate failing at once the order is refused, by the first failing gate."""
    row = case.judge(case.opening(qty_raw=300_000, kill_latched=1))
    assert (row["verdict"], row["first_failing"]) == (Verdict.REFUSE, Gate.GATE_KILL_SWITCH)
    assert failed(row) == {Gate.GATE_KILL_SWITCH, Gate.GATE_POSITION_SIZE}
    assert row["counterfactual_qty_raw"] == 0


@pytest.mark.control("risk.size_warning_frac")
def test_warning_sizes_once() -> None:
    """At Warning three quarters of what was wanted goes out, once: judging the result again does not shave it."""
    row = case.judge(case.opening(level=1))
    assert (row["verdict"], row["qty_final_raw"], row["size_multiplier_e4"]) == (Verdict.REDUCE, 75_000, 7_500)
    sized = case.judge(case.opening(level=1, qty_raw=75_000, qty_wanted_raw=100_000))
    assert (sized["verdict"], sized["qty_final_raw"]) == (Verdict.APPROVE, 75_000)
    resting = case.judge(case.opening(level=1, qty_raw=75_000, rejudge=1))
    assert resting["verdict"] == Verdict.APPROVE


@pytest.mark.parametrize("level", [2, 3, 4])
@pytest.mark.control("kill_switch.level")
def test_critical_and_above_open_nothing(level: int) -> None:
    """From Critical on no opening passes, whether a condition, day loss or drawdown raised the level."""
    assert failed(case.judge(case.opening(level=level))) == {Gate.GATE_KILL_SWITCH}
    assert failed(case.judge(case.opening(level=level, day_loss_bps=500))) == {Gate.GATE_DAY_LOSS}
    assert failed(case.judge(case.opening(level=level, drawdown_bps=1000))) == {Gate.GATE_DRAWDOWN}


@pytest.mark.parametrize("book", [case.BIDS, []], ids=["a book", "no book"])
@pytest.mark.parametrize("change", [{"reference_price_raw": 2_000_000}, {"reference_price_raw": -1}, {"reference_required": 1}])
def test_the_grace_for_a_book_excuses_from_no_reference(change: dict, book: list) -> None:
    """A resting order too far from its reference price is refused during the grace too, whatever the book says of it: a
    narrower band around mid, or a book that vanished, let it rest before."""
    resting = case.opening(rejudge=1, book_verified=0, unverified_for_ns=S, price_raw=999_000, **change)
    for band_mbps in (0, 100_000):
        row = case.judge(resting, case.limits(price_band_mbps=band_mbps), bids=book)
        assert (row["verdict"], row["first_failing"]) == (Verdict.REFUSE, Gate.GATE_PRICE)


@pytest.mark.parametrize("price", [922_337_203_685, 922_337_203_686, 922_337_203_687, 2**40 - 1])
def test_a_distance_past_63_bits_is_no_small_one(price: int) -> None:
    """A price 9 × 10^11 times its reference price is too far from it: the distance saturates and does not turn negative."""
    intent = case.opening(price_raw=price, reference_price_raw=1)
    row = case.judge(intent, bids=[(price, 10**9)], asks=[(price + 1, 10**9)])
    assert why(row, Gate.GATE_PRICE) == Why.WHY_REFERENCE
    assert row["policy_value"][6] == min((price - 1) * 10**7, 2**63 - 1)


def test_a_profitable_day_passes() -> None:
    """A profit is a negative loss, not a loss."""
    assert case.judge(case.opening(day_loss_bps=-9_000, day_loss_acct_raw=-9_000 * USD))["verdict"] == Verdict.APPROVE


def test_conversion_goes_against_us() -> None:
    """A haircut makes the order dearer and the depth smaller, both rounded against us."""
    row = case.judge(case.opening(conversion_rate_e8=120_000_000, conversion_haircut_bps=50), bids=[(1_000_000, 10**8)])
    assert row["notional_acct_raw"] == 12_060_000_000  # 100 × 1.2 × 1.005
    assert row["depth_acct_raw"] == 100_000 * 119_400_000


@pytest.mark.parametrize("change", [
    {"kill_latched": 1}, {"trading_state": 1}, {"trading_state": 3}, {"level": 4}, {"day_loss_bps": 9_000},
    {"drawdown_bps": 9_000}, {"private_up": 0}, {"venue_online": 0}, {"book_verified": 0, "unverified_for_ns": S},
    {"book_fault": 1}, {"evidence_age_ns": 10**18}, {"conversion_ok": 0, "conversion_rate_e8": 0}, {"equity_acct_raw": 0},
    {"positions_count": 50}, {"exposure_acct_raw": 10**18}, {"dedupe_hit": 1}, {"same_unknown": 1}, {"instrument_off": 1},
    {"losing_round_trips": 9}, {"parents_minute": 999}, {"volume_ready": 0}, {"slippage_day_acct_raw": 10**15},
    {"reference_required": 1}, {"day_start_equity_acct_raw": 0}, {"clock_offset_ns": 10**12},
], ids=str)
def test_nothing_but_identity_time_in_force_and_collar_stops_an_exit(change: dict) -> None:
    """Gates that would refuse an opening are recorded for an exit and do not hold it back (systems 8, 9.2)."""
    row = case.judge(case.exit_sell(**change))
    assert row["verdict"] == Verdict.APPROVE
    assert row["recorded_mask"] != 0 or not failed(row)


@pytest.mark.parametrize("kind", ["wide", "none", "thin"])
def test_an_exit_goes_out_in_any_book(kind: str) -> None:
    """A wide, a vanished and a thin book are recorded, never a reason to keep a position."""
    bids = {"wide": [(900_000, 10**9)], "none": [], "thin": [(1_000_000, 1)]}[kind]
    row = case.judge(case.exit_sell(price_raw=1_000_000), bids=bids, asks=[])
    assert row["verdict"] == Verdict.APPROVE


@pytest.mark.parametrize(("change", "gate"), [
    ({"id_seen": 1}, Gate.GATE_IDEMPOTENCY), ({"time_in_force": int(codes.TimeInForce.GTC)}, Gate.GATE_TIME_IN_FORCE),
    ({"deadline_ns": 5 * S}, Gate.GATE_TIME_IN_FORCE), ({"post_only": 1}, Gate.GATE_TIME_IN_FORCE),
    ({"tick_raw": 3}, Gate.GATE_PRICE),
    ({"qty_min_raw": 100_001}, Gate.GATE_PRICE), ({"managed_free_qty_raw": 0}, Gate.GATE_MANAGED_BOUND),
    ({"managed_free_qty_raw": -5}, Gate.GATE_MANAGED_BOUND),
], ids=str)
def test_what_does_stop_an_exit(change: dict, gate: Gate) -> None:
    """A used id, a wrong time in force, a price beyond the collar, and more than the daemon's own quantity."""
    row = case.judge(case.exit_sell(**change))
    assert (row["verdict"], row["first_failing"]) == (Verdict.REFUSE, gate)


@pytest.mark.control("managed_bound.above_managed")
def test_an_exit_is_cut_to_managed_quantity() -> None:
    """The user's own coins are not sold: an exit above managed free quantity goes out at that quantity."""
    row = case.judge(case.exit_sell(qty_raw=100_000, managed_free_qty_raw=70_009, lot_raw=100))
    assert (row["verdict"], row["qty_final_raw"]) == (Verdict.REDUCE, 70_000)
    assert row["reduced_by"] == Gate.GATE_MANAGED_BOUND


@pytest.mark.parametrize("change", [
    {"price_raw": 900_000, "unverified_for_ns": 1, "last_verified_bid_raw": 902_000},
    {"price_raw": 5, "unverified_for_ns": 99 * S, "last_verified_bid_raw": 0, "cost_min_quote_e8": 0},  # no reference at all
], ids=str)
@pytest.mark.control("price.collar")
def test_the_collar_of_an_exit_without_a_verified_bid(change: dict) -> None:
    """It is measured from the last verified bid, and where there was none an exit goes out at any price."""
    assert case.judge(case.exit_sell(book_verified=0, **change))["verdict"] == Verdict.APPROVE


def test_rejudging_excuses_the_order_from_its_own_marks() -> None:
    """A resting order is not refused for its own id, its own key or its time in force; a losing streak still pulls it."""
    marks = {"rejudge": 1, "id_seen": 1, "dedupe_hit": 1, "parents_instrument_hour": 6, "deadline_ns": 0, "lifetime_ns": 0}
    row = case.judge(case.opening(**marks))
    assert row["verdict"] == Verdict.APPROVE
    assert row["recorded_mask"] == 0b100001
    assert case.judge(case.opening(rejudge=1, losing_round_trips=4))["verdict"] == Verdict.REFUSE
    assert case.judge(case.opening(rejudge=1, kill_latched=1))["verdict"] == Verdict.REFUSE


def test_what_is_left_of_a_resting_order_may_be_small() -> None:
    """Leaves below the venue's minimum do not pull an order the venue has already taken."""
    assert case.judge(case.opening(rejudge=1, qty_raw=10))["verdict"] == Verdict.APPROVE


@pytest.mark.control("data_gap.book_unverified", "risk.grace_ms")
def test_the_grace_of_an_unverified_book_is_one_second() -> None:
    """A resting opening survives an unverified book for 1 s; a new one does not, and other faults have no grace."""
    gap = {"book_verified": 0, "book_fault": 1, "unverified_for_ns": S}
    assert case.judge(case.opening(rejudge=1, **gap), bids=[], asks=[])["verdict"] == Verdict.APPROVE
    late = case.judge(case.opening(rejudge=1, **{**gap, "unverified_for_ns": S + 1}))
    assert (late["verdict"], late["first_failing"]) == (Verdict.REFUSE, Gate.GATE_DATA_GAP)
    assert case.judge(case.opening(**gap))["verdict"] == Verdict.REFUSE
    assert case.judge(case.opening(rejudge=1, private_up=0, **gap))["verdict"] == Verdict.REFUSE
    assert case.judge(case.opening(rejudge=1, day_loss_bps=500, **gap))["verdict"] == Verdict.REFUSE


def test_every_reason_that_can_fail_alone_does() -> None:
    """For each of the fifteen gates there is an input under the live limits that fails that gate and no other."""
    rows = [case.judge(case.opening(**{name: bad})) for _, name, _, bad, _ in BOUNDARIES]
    rows += [case.judge(case.opening(**outside), reduce=False) for _, _, outside, _ in SIZES]
    rows.append(case.judge(case.opening(), bids=[(1_000_000, 9_999_999)]))
    rows.append(case.judge(case.opening(price_raw=997_500), case.limits(exit_cost_max_mbps=10**6, depth_band_mbps=30_000),
                           bids=[(997_500, 10**9)], asks=[(1_002_501, 10**9)]))
    alone = {next(iter(failed(row))) for row in rows if len(failed(row)) == 1}
    assert alone == {Gate(n) for n in (*range(1, 8), *range(11, 19))}


def test_dtypes_lie_over_the_structs() -> None:
    """What Python writes into the last and middle fields is what the gates read, and the reverse."""
    row = case.judge(case.opening(instrument=7, strategy_code=9, episode=11, now_wall_ns=13, level=1))
    assert (row["instrument"], row["strategy"], row["episode"], row["decided_wall_ns"], row["level"]) == (7, 9, 11, 13, 1)
    assert gates.DECISION_DTYPE.itemsize <= 512
    assert row["time_in_force"] == codes.TimeInForce.GTD
    limit = case.limits(reduce_min_bps=10_000)
    assert case.judge(case.opening(qty_raw=900_000), limit)["verdict"] == Verdict.REFUSE


@pytest.mark.parametrize("price_digits", range(11))
@pytest.mark.parametrize("qty_digits", range(9))
def test_notional_at_every_precision(price_digits: int, qty_digits: int) -> None:
    """price × quantity divided by any power of ten is exact, rounded up."""
    for price, qty in ((1_000_000, 100_000), (999_999_999_937, 10**9 + 7), (3, 7), (2**40, 2**41)):
        row = case.judge(case.opening(price_raw=price, qty_raw=qty, price_scale=10**price_digits, qty_scale=10**qty_digits),
                         reduce=False)
        exact = -(-price * qty * 10**8 // 10 ** (price_digits + qty_digits))
        assert row["notional_acct_raw"] == min(exact, 2**63 - 1)


def test_limits_of_one_row_only() -> None:
    """Judging asks for exactly one row of limits."""
    with pytest.raises(ValueError, match="one row"):
        gates.evaluate_rows(gates.gate_input(**case.opening()), np.zeros(2, dtype=gates.LIMITS_DTYPE), [], [])
