"""Proven: under config/live.toml no gate is dead, and none deadlocks.

For each gate, and for each reason it gives, Z3 finds an intent and a book that fail that gate alone; the compiled kernel is
run on what it found and must say the same.
"""

from __future__ import annotations

from typing import Any

import pytest
import z3

from cstd._fast.gates import Why
from tests.kernels import gate_case
from tests.proof.facts_model import BUY, GATE, OPENING, WHY
from tests.proof.gates_model import APPROVE, GATES, REFUSE, Case, Decision, decide, evaluate, judge
from tests.proof.rows import differences, kernel_rows, model_rows
from tests.proof.terms import both, either
from tests.proof.world import INPUTS, World, example, live_limits, prove

LIM = live_limits()
# Which reasons a gate gives; a reason that needs a number out of its domain or a book without a side fails others too.
ALONE: dict[int, tuple[int, ...]] = {
    GATE.IDEMPOTENCY: (WHY.ID_SEEN, WHY.LOSING_STREAK, WHY.UNKNOWN_PENDING, WHY.DUPLICATE, WHY.BAD_INPUT, WHY.INSTRUMENT_RATE,
                       WHY.MINUTE_RATE, WHY.TURNOVER),
    GATE.SPREAD: (WHY.OVER_LIMIT,),
    GATE.DEPTH: (WHY.DEPTH_FLOOR,),
    GATE.VOLUME: (WHY.BAD_INPUT, WHY.WARMING_UP, WHY.OVER_LIMIT, WHY.ORDER_SHARE),
    GATE.SLIPPAGE: (WHY.BAD_INPUT, WHY.SLIPPAGE_DAY, WHY.SLIPPAGE_P95, WHY.OVER_LIMIT),
    GATE.TIME_IN_FORCE: (WHY.NOT_POST_ONLY, WHY.WRONG_TIF, WHY.DEADLINE, WHY.LIFETIME),
    GATE.PRICE: (WHY.OFF_TICK, WHY.OFF_LOT, WHY.BELOW_MINIMUM, WHY.CROSSING, WHY.OVER_LIMIT, WHY.REFERENCE,
                 WHY.NO_REFERENCE, WHY.BAD_INPUT),
    GATE.KILL_SWITCH: (WHY.KILLED, WHY.PAUSED, WHY.NOT_READY, WHY.HALTED, WHY.PARITY_HALT, WHY.BAD_INPUT, WHY.LEVEL),
    GATE.DATA_GAP: (WHY.BAD_INPUT, WHY.VENUE_STATE, WHY.INSTRUMENT_STATE, WHY.PRIVATE_STREAM, WHY.CONVERSION, WHY.CLOCK,
                    WHY.SILENT, WHY.STALE, WHY.BOOK_UNVERIFIED, WHY.BOOK_FAULT),
    GATE.DAY_LOSS: (WHY.BAD_INPUT, WHY.OVER_LIMIT, WHY.LOSS_AMOUNT),
    GATE.DRAWDOWN: (WHY.BAD_INPUT, WHY.OVER_LIMIT),
    GATE.POSITION_COUNT: (WHY.BAD_INPUT, WHY.OVER_LIMIT),
    GATE.TOTAL_EXPOSURE: (WHY.BAD_INPUT, WHY.OVER_LIMIT),
    GATE.POSITION_SIZE: (WHY.BAD_INPUT, WHY.OVER_LIMIT, WHY.LONG_ONLY),
    GATE.CORRELATION: (WHY.BAD_INPUT, WHY.OVER_LIMIT),
}
# The instrument and its conversion as Kraken has them for BTC/USD: what is left to Z3 is the market, the order and the account.
KNOWN: dict[str, int] = {"kind": OPENING, "price_scale": 10, "qty_scale": 10**8, "conversion_rate_e8": 10**8,
                         "conversion_haircut_bps": 0, "rejudge": 0, "qty_wanted_raw": 0, "cost_min_quote_e8": gate_case.USD // 2}


def one_level_book(w: World) -> tuple[list, list]:
    """A book of one level a side, of any price and quantity near what BTC/USD has."""
    sides = [[(w.number(f"{side}_price", 500_000, 2_000_000), w.number(f"{side}_qty", 1, 10**11), 0)] for side in ("bid", "ask")]
    return sides[0], sides[1]


def plain(model: z3.ModelRef, value: Any) -> int:
    """What Z3 found for a term."""
    return value if isinstance(value, int) else model.eval(value, model_completion=True).as_long()


def pinned(w: World, gate: int, why: int) -> dict:
    """Any opening; prices are those of a usual book where the gate does not read them, which keeps products linear."""
    known = dict(KNOWN)
    if gate != GATE.PRICE:
        known |= {"price_raw": 1_000_000, "tick_raw": 1}
    if gate not in (GATE.PRICE, GATE.POSITION_SIZE) or why != WHY.LONG_ONLY:
        known["side"] = BUY
    if why == WHY.LONG_ONLY:
        known |= {"side": -1, "price_raw": 1_000_002}
    i = w.input(**known)
    w.given += [i["qty_raw"] > 0, i["qty_raw"] <= 10**9, i["tick_raw"] > 0, i["tick_raw"] <= 10, i["lot_raw"] > 0,
                i["lot_raw"] <= 10, i["now_wall_ns"] == 0]
    if why != WHY.REFERENCE:
        w.given += [either(i["reference_price_raw"] <= 0, i["reference_price_raw"] == 1_000_000,
                           i["reference_price_raw"] > 2**40)]
    return i


def fails_alone(gate: int, why: int) -> tuple[dict, list, list]:
    """An opening under config/live.toml, with its book, that this gate refuses for this reason and no other gate fails."""
    w = World()
    i = pinned(w, gate, why)
    bids, asks = one_level_book(w)
    if gate not in (GATE.SPREAD, GATE.DEPTH, GATE.SLIPPAGE):
        bids, asks = [(1_000_000, *bids[0][1:])], [(1_000_001, *asks[0][1:])]
    else:
        w.given += [bids[0][0] == 1_000_000] if gate == GATE.DEPTH else [asks[0][0] > 1_000_000]
    c, _ = evaluate(i, LIM, bids, asks)
    alone = [c.why(other) == WHY.PASSED for other in GATES if other != gate]
    model = example(*w.given, *alone, c.why(gate) == why)
    assert model is not None, "the gate gives this reason only beside another gate"
    found = {name: plain(model, i[name]) for name in INPUTS}
    book = [[tuple(plain(model, value) for value in level) for level in side] for side in (bids, asks)]
    return found, book[0], book[1]


@pytest.mark.parametrize(("gate", "why"), [(gate, why) for gate, whys in ALONE.items() for why in whys])
def test_a_gate_fails_alone(gate: int, why: int) -> None:
    """Z3 finds the intent; the compiled kernel refuses it by that gate for that reason, as the model does."""
    i, bids, asks = fails_alone(gate, why)
    row = kernel_rows([i], LIM, bids, asks, reduce=False)
    assert differences(row, model_rows([i], LIM, bids, asks, reduce=False)) == {}
    failed = [other for other, reason in zip(GATES, row["reason"][0], strict=True) if reason]
    assert (failed, Why(int(row["reason"][0][GATES.index(gate)]))) == ([gate], Why(why))
    assert row["verdict"][0] != APPROVE
    judged, d = judge(i, LIM, bids, asks)
    assert d.verdict == REFUSE or d.qty_final < i["qty_raw"], judged


def test_every_gate_fails_alone() -> None:
    """The list above leaves no gate out."""
    assert set(ALONE) == set(GATES)


def free_opening() -> tuple[World, Case, Decision]:
    """Any opening in any state, under the live limits."""
    w = World()
    i = w.input(kind=OPENING, side=BUY)
    c = Case(i, LIM, w.facts(i))
    return w, c, decide(c)


# What time or an operator changes, and where it leads: counts and losses leave their windows, streams come back, a book is
# verified again, an operator clears latches, lowers the level, rebases the peak and closes positions.
RECOVERED: dict[str, int] = {
    "id_seen": 0, "same_unknown": 0, "dedupe_hit": 0, "instrument_off": 0, "losing_round_trips": 0, "parents_instrument_hour": 0,
    "parents_minute": 0, "turnover_day_acct_raw": 0, "volume_ready": 1, "slippage_day_acct_raw": 0, "slippage_fills": 0,
    "kill_latched": 0, "trading_state": 0, "level": 0, "venue_online": 1, "instrument_online": 1, "private_up": 1,
    "private_ready": 1, "conversion_ok": 1, "clock_offset_ns": 0, "silent_for_ns": 0, "evidence_age_ns": 0,
    "unverified_for_ns": 0, "book_verified": 1, "book_fault": 0, "day_loss_bps": 0, "day_loss_acct_raw": 0, "drawdown_bps": 0,
    "positions_count": 0, "exposure_acct_raw": 0, "asset_exposure_acct_raw": 0, "cluster_exposure_acct_raw": 0,
}
OF_TIME = (GATE.IDEMPOTENCY, GATE.KILL_SWITCH, GATE.DATA_GAP, GATE.DAY_LOSS, GATE.DRAWDOWN, GATE.POSITION_COUNT)


@pytest.mark.parametrize("gate", OF_TIME)
def test_a_state_that_recovered_passes(gate: int) -> None:
    """Whatever the order, the market and the account are: once what it reads has recovered, the gate passes, but for an order
    whose worth is not known or above the day's turnover."""
    w = World()
    i = w.input(kind=OPENING, side=BUY, **RECOVERED)
    c = Case(i, LIM, w.facts(i))
    decide(c)
    small = c.f.notional * 10_000 <= i["equity_acct_raw"] * LIM["turnover_day_max_bps"]
    prove(c.why(gate) == WHY.PASSED, *w.given, c.f.money_why == WHY.PASSED, small)


# A gate that refuses now refuses no more when such a number falls, or such a flag is set: nothing has to get worse first.
FALLING = ("losing_round_trips", "parents_instrument_hour", "parents_minute", "turnover_day_acct_raw", "slippage_day_acct_raw",
           "slippage_fills", "slippage_p95_mbps", "silent_for_ns", "evidence_age_ns", "day_loss_bps", "day_loss_acct_raw",
           "drawdown_bps", "positions_count", "exposure_acct_raw", "asset_exposure_acct_raw", "cluster_exposure_acct_raw",
           "markout_allowance_mbps")


@pytest.mark.parametrize("name", FALLING)
def test_getting_better_never_refuses(name: str) -> None:
    """An opening that is approved is approved with this number anywhere between 0 and what it was, all else equal."""
    w, c, d = free_opening()
    better = {**c.i, name: w.number("better", 0, 2**63 - 1)}
    w.given += [better[name] <= c.i[name]]
    after = decide(Case(better, LIM, c.f))
    for gate in GATES:
        was, now = d.refusing[gate], after.refusing[gate]
        if isinstance(was, z3.ExprRef) and was.eq(now):
            continue
        # A level that a loss explained is gate 11's once the loss is gone: an operator lowers it (systems 9.1).
        explained = either(d.refusing[GATE.DAY_LOSS], d.refusing[GATE.DRAWDOWN]) if gate == GATE.KILL_SWITCH else False
        graced = c.i["rejudge"] != 0  # a resting order's grace ends when another gap than the book's is named
        prove(z3.Implies(now, either(was, explained, graced)), *w.given)


def test_a_plain_opening_is_approved_under_live_limits() -> None:
    """There is an opening that passes all fifteen, found by Z3 and approved by the kernel."""
    w = World()
    i = pinned(w, GATE.KILL_SWITCH, WHY.PASSED)
    bids, asks = one_level_book(w)
    w.given += [bids[0][0] == 1_000_000, asks[0][0] == 1_000_001]
    c, d = evaluate(i, LIM, bids, asks)
    model = example(*w.given, d.verdict == APPROVE, both(*(c.why(gate) == WHY.PASSED for gate in GATES)))
    assert model is not None
    found = {name: plain(model, i[name]) for name in INPUTS}
    book = [[tuple(plain(model, value) for value in level) for level in side] for side in (bids, asks)]
    assert kernel_rows([found], LIM, *book, reduce=True)["verdict"][0] == APPROVE
