"""The fifteen gates and the verdict, one function each, in the order and with the names of csrc/gates_policy.h, gates_risk.h
and gates.h. A ruling is (why, value, limit); 0 is "passed"."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cstd._fast import codes
from tests.proof.facts_model import (
    BPS_PER_UNIT,
    BUY,
    EXIT,
    GATE,
    I64,
    I128,
    MBPS_PER_UNIT,
    NO_BID,
    NO_CAP,
    OPENING,
    PRICE_RAW_MAX,
    SELL,
    WHY,
    Facts,
    bps_of,
    cost_reaches_minimum,
    facts_of,
    level_cap,
    level_of,
    level_size_e4,
    mbps_up,
)
from tests.proof.terms import (
    INT64_MAX,
    INT64_MIN,
    both,
    down,
    either,
    first,
    least,
    most,
    no,
    remainder,
    saturated,
    unasked,
    up,
    when,
)

GTD, IOC = int(codes.TimeInForce.GTD), int(codes.TimeInForce.IOC)
APPROVE, REDUCE, REFUSE = int(codes.Verdict.APPROVE), int(codes.Verdict.REDUCE), int(codes.Verdict.REFUSE)
POLICY = (GATE.IDEMPOTENCY, GATE.SPREAD, GATE.DEPTH, GATE.VOLUME, GATE.SLIPPAGE, GATE.TIME_IN_FORCE, GATE.PRICE)
RISK = (GATE.KILL_SWITCH, GATE.DATA_GAP, GATE.DAY_LOSS, GATE.DRAWDOWN, GATE.POSITION_COUNT, GATE.TOTAL_EXPOSURE,
        GATE.POSITION_SIZE, GATE.CORRELATION)
GATES = POLICY + RISK
EXIT_COST_CEILING_MBPS = 2**24


@dataclass(slots=True)
class Case:
    """One intent: its input, its limits, its facts, the gates' rulings by code, and the caps they leave."""

    i: dict
    lim: dict
    f: Facts
    fits: Any = unasked
    rulings: dict = field(default_factory=dict)
    caps: dict = field(default_factory=dict)

    def why(self, gate: int) -> Any:
        """The reason one gate gave."""
        return self.rulings[gate][0]


def on(flag: Any) -> Any:
    """Whether a flag of the input is set."""
    return flag != 0


def idempotency(c: Case) -> tuple:
    """Gate 1: the id is new, nothing repeats it, and every count and the turnover stay within their maximum."""
    i, lim, f = c.i, c.lim, c.f
    turnover = saturated(i["turnover_day_acct_raw"] + f.notional)
    turnover_max = bps_of(i["equity_acct_raw"], lim["turnover_day_max_bps"])
    shown = saturated(i["parents_instrument_hour"] + 1), lim["parents_instrument_hour_max"]
    c.caps[GATE.IDEMPOTENCY] = saturated(turnover_max - i["turnover_day_acct_raw"])
    return first((
        (both(on(i["id_seen"]), no(on(i["rejudge"]))), (WHY.ID_SEEN, *shown)),
        (either(on(i["instrument_off"]), i["losing_round_trips"] >= lim["losing_round_trips_max"]),
         (WHY.LOSING_STREAK, i["losing_round_trips"], lim["losing_round_trips_max"])),
        (on(i["same_unknown"]), (WHY.UNKNOWN_PENDING, *shown)),
        (on(i["dedupe_hit"]), (WHY.DUPLICATE, *shown)),
        (either(i["parents_instrument_hour"] < 0, i["parents_minute"] < 0, i["losing_round_trips"] < 0,
                i["turnover_day_acct_raw"] < 0), (WHY.BAD_INPUT, *shown)),
        (i["parents_instrument_hour"] >= lim["parents_instrument_hour_max"], (WHY.INSTRUMENT_RATE, *shown)),
        (i["parents_minute"] >= lim["parents_minute_max"],
         (WHY.MINUTE_RATE, saturated(i["parents_minute"] + 1), lim["parents_minute_max"])),
        (f.money_why != WHY.PASSED, (f.money_why, *shown)),
        (turnover > turnover_max, (WHY.TURNOVER, turnover, turnover_max)),
    ), (WHY.PASSED, *shown))


def spread(c: Case) -> tuple:
    """Gate 2: the spread, in parts of mid, is at most the limit."""
    f, limit = c.f, c.lim["spread_max_mbps"]
    value = mbps_up(2 * (f.ask - f.bid), f.mid2)
    return first((
        (f.mid2 == 0, (WHY.NO_BOOK, INT64_MAX, limit)),
        (value > limit, (WHY.OVER_LIMIT, value, limit)),
    ), (WHY.PASSED, value, limit))


def depth(c: Case) -> tuple:
    """Gate 3: what others offer on the exit side reaches the floor and the multiple of the notional."""
    f, floor, multiple = c.f, c.lim["depth_min_acct_raw"], most(c.lim["depth_multiple_e2"], 0)
    needed = multiple * f.notional
    c.fits("multiple × notional", True, needed, 0, 2**128 - 1)
    short = f.depth * 100 < needed
    limit = most(floor, least(up(needed, 100), INT64_MAX))
    c.caps[GATE.DEPTH] = when(both(multiple > 0, short), least(down(f.depth * 100, multiple), INT64_MAX), NO_CAP)
    return first((
        (f.book_why != WHY.PASSED, (f.book_why, f.depth, limit)),
        (f.money_why != WHY.PASSED, (f.money_why, f.depth, limit)),
        (f.depth < floor, (WHY.DEPTH_FLOOR, f.depth, limit)),
        (short, (WHY.OVER_LIMIT, f.depth, limit)),
    ), (WHY.PASSED, f.depth, limit))


def volume(c: Case) -> tuple:
    """Gate 4: the last hour's traded value reaches the floor, and the order is a small part of the mean minute."""
    i, f = c.i, c.f
    hour, floor, share_bps = i["volume_hour_acct_raw"], c.lim["volume_hour_min_acct_raw"], c.lim["volume_share_max_bps"]
    product = most(share_bps, 0) * most(hour, 0)
    c.fits("share × volume", True, product, 0, 2**128 - 1)
    share = c.caps[GATE.VOLUME] = least(down(product, 60 * BPS_PER_UNIT), INT64_MAX)
    return first((
        (hour < 0, (WHY.BAD_INPUT, hour, floor)),
        (no(on(i["volume_ready"])), (WHY.WARMING_UP, hour, floor)),
        (hour < floor, (WHY.OVER_LIMIT, hour, floor)),
        (f.money_why != WHY.PASSED, (f.money_why, hour, floor)),
        (f.notional > share, (WHY.ORDER_SHARE, f.notional, share)),
    ), (WHY.PASSED, hour, floor))


def slippage(c: Case) -> tuple:
    """Gate 5: what leaving would cost with its allowance, what was paid today and its P95 are within their budgets."""
    i, lim, f = c.i, c.lim, c.f
    allowance, paid, equity = i["markout_allowance_mbps"], i["slippage_day_acct_raw"], i["day_start_equity_acct_raw"]
    budget = saturated(least(lim["exit_cost_max_mbps"], EXIT_COST_CEILING_MBPS) - allowance)
    shown = saturated(f.exit_cost_mbps + most(allowance, 0)), lim["exit_cost_max_mbps"]
    day_max, p95_max = lim["slippage_day_max_mbps"], lim["slippage_p95_max_mbps"]
    bad = either(equity <= 0, allowance < 0, i["slippage_fills"] < 0, no(f.sane))
    c.fits("paid today", True, paid * MBPS_PER_UNIT, *I128)
    c.fits("may be paid today", True, day_max * equity, *I128)
    over_day = paid * MBPS_PER_UNIT > day_max * equity
    over_p95 = both(i["slippage_fills"] >= lim["slippage_p95_fills_min"], i["slippage_p95_mbps"] > p95_max)
    ruling = first((
        (bad, (WHY.BAD_INPUT, *shown)),
        (f.book_why != WHY.PASSED, (f.book_why, *shown)),
        (over_day, (WHY.SLIPPAGE_DAY, mbps_up(most(paid, 0), equity), day_max)),
        (over_p95, (WHY.SLIPPAGE_P95, i["slippage_p95_mbps"], p95_max)),
        (f.thin, (WHY.BOOK_TOO_THIN, *shown)),
        (f.exit_cost_mbps > budget, (WHY.OVER_LIMIT, *shown)),
    ), (WHY.PASSED, *shown))
    by_walk = either(ruling[0] == WHY.BOOK_TOO_THIN, ruling[0] == WHY.OVER_LIMIT)
    c.caps[GATE.SLIPPAGE] = NO_CAP if by_walk is False else when(by_walk, when(budget < 0, 0, f.walk_cap(budget)), NO_CAP)
    return ruling


def time_in_force(c: Case) -> tuple:
    """Gate 6: openings are post-only and GTD, exits IOC or GTD; deadline and lifetime lie within their limits."""
    i, lim = c.i, c.lim
    opening, gtd, post_only = i["kind"] == OPENING, i["time_in_force"] == GTD, on(i["post_only"])
    shown = i["deadline_ns"], lim["deadline_max_ns"]
    return first((
        (both(opening, no(post_only)), (WHY.NOT_POST_ONLY, *shown)),
        (both(no(gtd), either(i["time_in_force"] != IOC, post_only)), (WHY.WRONG_TIF, *shown)),
        (either(i["deadline_ns"] < lim["deadline_min_ns"], i["deadline_ns"] > lim["deadline_max_ns"]), (WHY.DEADLINE, *shown)),
        (both(gtd, either(i["lifetime_ns"] <= 0, i["lifetime_ns"] > lim["lifetime_max_ns"])),
         (WHY.LIFETIME, i["lifetime_ns"], lim["lifetime_max_ns"])),
    ), (WHY.PASSED, *shown))


def venue_refuses(c: Case) -> Any:
    """What the venue itself would not take."""
    i, f = c.i, c.f
    return first((
        (no(f.sane), (WHY.BAD_INPUT,)),
        (remainder(i["price_raw"], i["tick_raw"]) != 0, (WHY.OFF_TICK,)),
        (remainder(i["qty_raw"], i["lot_raw"]) != 0, (WHY.OFF_LOT,)),
        (both(no(on(i["rejudge"])), either(i["qty_raw"] < i["qty_min_raw"], no(cost_reaches_minimum(i, i["qty_raw"])))),
         (WHY.BELOW_MINIMUM,)),
    ), (WHY.PASSED,))[0]


def collar_reference(c: Case) -> Any:
    """The bid an exit's collar is measured from; 0 or less for none."""
    i, lim, f = c.i, c.lim, c.f
    verified = on(i["book_verified"])
    rest = both(no(verified), i["unverified_for_ns"] > lim["rest_price_after_ns"], i["rest_bid_raw"] > 0,
                i["rest_age_ns"] >= 0, i["rest_age_ns"] <= lim["rest_age_max_ns"])
    return first((
        (both(verified, f.bid != NO_BID), (f.bid,)),
        (rest, (i["rest_bid_raw"],)),
    ), (i["last_verified_bid_raw"],))[0]


def price_exit(c: Case) -> tuple:
    """An exit's half of gate 7: not further below the reference bid than its collar."""
    bid, price = collar_reference(c), c.i["price_raw"]
    collar = most(least(c.i["collar_mbps"], c.lim["collar_max_mbps"]), 0)
    why = venue_refuses(c)
    value = mbps_up(bid - price, bid)
    below = price < bid
    return first((
        (why != WHY.PASSED, (why, 0, collar)),
        (bid > PRICE_RAW_MAX, (WHY.OVERFLOW, 0, collar)),
        (both(below, value > collar), (WHY.COLLAR, value, collar)),
        (below, (WHY.PASSED, value, collar)),
    ), (WHY.PASSED, 0, collar))


def apart(a: Any, b: Any) -> Any:
    """How far two numbers lie apart."""
    return when(a >= b, a - b, b - a)


def price(c: Case) -> tuple:
    """Gate 7: the venue would take it, it does not cross, and it lies near mid and near the reference price."""
    i, lim, f = c.i, c.lim, c.f
    why, limit, reference = venue_refuses(c), lim["price_band_mbps"], i["reference_price_raw"]
    crosses = when(i["side"] == BUY, i["price_raw"] >= f.top_ask, i["price_raw"] <= f.top_bid)
    c.fits("twice the price", f.sane, 2 * i["price_raw"] - f.mid2, *I64)
    value = when(f.mid2 == 0, INT64_MAX, mbps_up(apart(2 * i["price_raw"], f.mid2), f.mid2))
    away = mbps_up(apart(i["price_raw"], reference), reference)
    return first((
        (why != WHY.PASSED, (why, INT64_MAX, limit)),
        (either(reference < 0, reference > PRICE_RAW_MAX), (WHY.BAD_INPUT, value, limit)),
        (both(reference == 0, on(i["reference_required"])), (WHY.NO_REFERENCE, value, limit)),
        (both(reference != 0, away > lim["reference_band_mbps"]), (WHY.REFERENCE, away, lim["reference_band_mbps"])),
        (f.mid2 == 0, (WHY.NO_BOOK, value, limit)),
        (crosses, (WHY.CROSSING, value, limit)),
        (value > limit, (WHY.OVER_LIMIT, value, limit)),
    ), (WHY.PASSED, value, limit))


def kill_switch(c: Case) -> tuple:
    """Gate 11: nothing is latched, the daemon is ready, and the level leaves openings a size. After gates 13 and 14."""
    i = c.i
    state, level = i["trading_state"], level_of(i)
    by_state = first(((state == n, (why,)) for n, why in enumerate(
        (WHY.PASSED, WHY.PAUSED, WHY.NOT_READY, WHY.HALTED, WHY.PARITY_HALT))), (WHY.BAD_INPUT,))[0]
    explained = either(c.why(GATE.DAY_LOSS) != WHY.PASSED, c.why(GATE.DRAWDOWN) != WHY.PASSED)
    why = first((
        (on(i["kill_latched"]), (WHY.KILLED,)),
        (by_state != WHY.PASSED, (by_state,)),
        (both(level_size_e4(i, c.lim) <= 0, no(explained)), (WHY.LEVEL,)),
    ), (WHY.PASSED,))[0]
    return why, level, 1


def data_gap(c: Case) -> tuple:
    """Gate 12: streams, venue, instrument, conversion and clock are in order, and the book is verified and fresh."""
    i, lim = c.i, c.lim
    shown = i["evidence_age_ns"], lim["evidence_age_max_ns"]
    clock, clock_max = i["clock_offset_ns"], lim["clock_offset_max_ns"]
    c.fits("-clock_offset_max_ns", True, -clock_max, *I64)
    return first((
        (either(i["evidence_age_ns"] < 0, i["silent_for_ns"] < 0, i["unverified_for_ns"] < 0), (WHY.BAD_INPUT, *shown)),
        (no(on(i["venue_online"])), (WHY.VENUE_STATE, *shown)),
        (no(on(i["instrument_online"])), (WHY.INSTRUMENT_STATE, *shown)),
        (no(both(on(i["private_up"]), on(i["private_ready"]))), (WHY.PRIVATE_STREAM, *shown)),
        (no(on(i["conversion_ok"])), (WHY.CONVERSION, *shown)),
        (either(clock > clock_max, clock < -clock_max), (WHY.CLOCK, clock, clock_max)),
        (i["silent_for_ns"] >= lim["silent_max_ns"], (WHY.SILENT, i["silent_for_ns"], lim["silent_max_ns"])),
        (i["evidence_age_ns"] > lim["evidence_age_max_ns"], (WHY.STALE, *shown)),
        (no(on(i["book_verified"])),
         (WHY.BOOK_UNVERIFIED, i["unverified_for_ns"], when(on(i["rejudge"]), lim["unverified_grace_ns"], 0))),
        (on(i["book_fault"]), (WHY.BOOK_FAULT, i["book_fault"], 0)),
    ), (WHY.PASSED, *shown))


def day_loss(c: Case) -> tuple:
    """Gate 13: the loss is below the critical threshold and below the absolute amount."""
    loss, limit = c.i["day_loss_bps"], c.lim["day_loss_bps"][1]
    amount, amount_max = c.i["day_loss_acct_raw"], c.lim["day_loss_max_acct_raw"]
    return first((
        (either(loss == INT64_MIN, amount == INT64_MIN), (WHY.BAD_INPUT, loss, limit)),
        (loss >= limit, (WHY.OVER_LIMIT, loss, limit)),
        (amount >= amount_max, (WHY.LOSS_AMOUNT, amount, amount_max)),
    ), (WHY.PASSED, loss, limit))


def drawdown(c: Case) -> tuple:
    """Gate 14: the drawdown is below the critical threshold."""
    value, limit = c.i["drawdown_bps"], c.lim["drawdown_bps"][1]
    return when(value < 0, WHY.BAD_INPUT, when(value < limit, WHY.PASSED, WHY.OVER_LIMIT)), value, limit


def position_count(c: Case) -> tuple:
    """Gate 15: a new position is not one too many."""
    i, limit = c.i, c.lim["positions_max"]
    adds = when(both(i["kind"] == OPENING, no(on(i["instrument_has_position"]))), 1, 0)
    value = saturated(i["positions_count"] + adds)
    return first((
        (i["positions_count"] < 0, (WHY.BAD_INPUT, value, limit)),
        (value > limit, (WHY.OVER_LIMIT, value, limit)),
    ), (WHY.PASSED, value, limit))


def share(c: Case, gate: int, standing: Any, max_bps: Any, refused: Any) -> tuple:
    """Gates 16 to 18: what stands plus this stays within a share of equity; what the share leaves is the gate's cap."""
    limit = bps_of(c.i["equity_acct_raw"], max_bps)
    value = saturated(standing + when(c.i["kind"] == OPENING, c.f.notional, 0))
    c.fits("room", True, limit - most(standing, 0), *I64)
    c.caps[gate] = most(limit - most(standing, 0), 0)
    return first((
        (refused, (WHY.LONG_ONLY, value, limit)),
        (c.f.money_why != WHY.PASSED, (c.f.money_why, value, limit)),
        (standing < 0, (WHY.BAD_INPUT, value, limit)),
        (value > limit, (WHY.OVER_LIMIT, value, limit)),
    ), (WHY.PASSED, value, limit))


def total_exposure(c: Case) -> tuple:
    """Gate 16: the exposure of everything."""
    return share(c, GATE.TOTAL_EXPOSURE, c.i["exposure_acct_raw"], c.lim["exposure_max_bps"], False)


def position_size(c: Case) -> tuple:
    """Gate 17: the exposure of the asset, and it is a long."""
    short = both(c.i["kind"] == OPENING, c.i["side"] != BUY)
    return share(c, GATE.POSITION_SIZE, c.i["asset_exposure_acct_raw"], c.lim["position_max_bps"], short)


def correlation(c: Case) -> tuple:
    """Gate 18: the exposure of what moves together."""
    return share(c, GATE.CORRELATION, c.i["cluster_exposure_acct_raw"], c.lim["cluster_max_bps"], False)


BY_GATE = {
    GATE.IDEMPOTENCY: idempotency, GATE.SPREAD: spread, GATE.DEPTH: depth, GATE.VOLUME: volume, GATE.SLIPPAGE: slippage,
    GATE.TIME_IN_FORCE: time_in_force, GATE.DAY_LOSS: day_loss, GATE.DRAWDOWN: drawdown, GATE.KILL_SWITCH: kill_switch,
    GATE.DATA_GAP: data_gap, GATE.POSITION_COUNT: position_count, GATE.TOTAL_EXPOSURE: total_exposure,
    GATE.POSITION_SIZE: position_size, GATE.CORRELATION: correlation,
}


def rule_all(c: Case) -> None:
    """Every gate, none short-circuited."""
    for gate, ruling in BY_GATE.items():
        c.rulings[gate] = ruling(c)
    opening = c.i["kind"] == OPENING
    if opening is True or opening is False:
        c.rulings[GATE.PRICE] = price(c) if opening else price_exit(c)
    else:
        c.rulings[GATE.PRICE] = first(((opening, price(c)),), price_exit(c))


def may_refuse(c: Case, gate: int) -> Any:
    """Whether this gate, if it failed, may refuse this intent; if not, it is recorded only."""
    i, lim, why = c.i, c.lim, c.why(gate)
    opening, rejudge = i["kind"] == OPENING, on(i["rejudge"])
    of_exits = {GATE.IDEMPOTENCY: why == WHY.ID_SEEN, GATE.TIME_IN_FORCE: no(rejudge), GATE.PRICE: True}.get(gate, False)
    if gate == GATE.IDEMPOTENCY:
        return when(opening, either(no(rejudge), why == WHY.LOSING_STREAK), both(of_exits, no(rejudge)))
    if gate == GATE.TIME_IN_FORCE:
        return no(rejudge)
    grace = both(rejudge, c.why(GATE.DATA_GAP) == WHY.BOOK_UNVERIFIED, i["unverified_for_ns"] <= lim["unverified_grace_ns"])
    graced: Any = gate in (GATE.DATA_GAP, GATE.SPREAD, GATE.DEPTH, GATE.SLIPPAGE)
    if gate == GATE.PRICE:
        graced = either(why == WHY.NO_BOOK, why == WHY.CROSSING, why == WHY.OVER_LIMIT)
    return when(opening, no(both(grace, graced)), of_exits)


SHARES = (GATE.DEPTH, GATE.TOTAL_EXPOSURE, GATE.POSITION_SIZE, GATE.CORRELATION)


def sized(c: Case, gate: int, reducing: bool) -> Any:
    """Whether a smaller quantity could pass this failed gate; `reducing`: and may be proposed for it."""
    why = c.why(gate)
    if gate in SHARES:
        return why == WHY.OVER_LIMIT
    if reducing:
        return False
    return {GATE.IDEMPOTENCY: why == WHY.TURNOVER, GATE.VOLUME: why == WHY.ORDER_SHARE,
            GATE.SLIPPAGE: either(why == WHY.OVER_LIMIT, why == WHY.BOOK_TOO_THIN)}.get(gate, False)


CAPPED_BY_MONEY = (GATE.IDEMPOTENCY, GATE.DEPTH, GATE.VOLUME, GATE.TOTAL_EXPOSURE, GATE.POSITION_SIZE, GATE.CORRELATION)


def money_cap(c: Case, refusing: dict) -> tuple:
    """The smallest cap, in account currency, of the gates that refuse, and the gate that set it."""
    money, money_by = NO_CAP, GATE.NONE
    for gate in CAPPED_BY_MONEY:
        smaller = both(refusing[gate], c.caps[gate] < money)
        money, money_by = when(smaller, c.caps[gate], money), when(smaller, gate, money_by)
    return money, money_by


def capped_qty(c: Case, refusing: dict) -> tuple:
    """The smallest cap of the gates that refuse and of the level, not rounded yet, and the gate that set it."""
    money, money_by = money_cap(c, refusing)
    qty, by = c.i["qty_raw"], GATE.NONE
    for counts, gate, cap in ((True, GATE.KILL_SWITCH, level_cap(c.i, c.lim)),
                              (refusing[GATE.SLIPPAGE], GATE.SLIPPAGE, c.caps[GATE.SLIPPAGE])):
        smaller = both(counts, cap < qty)
        qty, by = when(smaller, cap, qty), when(smaller, gate, by)
    affordable = c.f.qty_of(money)
    return least(affordable, qty), when(affordable < qty, money_by, by)


@dataclass(slots=True)
class Decision:
    """As cstd_decision_row's verdict."""

    verdict: Any
    qty_final: Any
    counterfactual: Any
    first_failing: Any
    verdict_reason: Any
    reduced_by: Any
    recorded: dict
    refusing: dict


def verdict_opening(c: Case, refusing: dict) -> tuple:
    """An opening: approve, propose the smallest cap, or refuse. (verdict, qty, counterfactual, first, reason, by)."""
    i = c.i
    whole = both(no(either(*refusing.values())), level_cap(i, c.lim) >= i["qty_raw"])
    if whole is True:  # on plain ints nothing else is looked at
        return APPROVE, i["qty_raw"], i["qty_raw"], GATE.NONE, WHY.PASSED, GATE.NONE
    first_gate, first_why = first([(refusing[g], (g, c.why(g))) for g in GATES], (GATE.KILL_SWITCH, c.why(GATE.KILL_SWITCH)))
    qty, by = capped_qty(c, refusing)
    qty = c.f.whole_lots(qty)
    passable = no(either(*(both(refusing[g], no(sized(c, g, False))) for g in GATES)))
    hard = either(*(both(refusing[g], no(sized(c, g, True))) for g in GATES))
    counterfactual = when(both(passable, c.f.sendable(qty)), qty, 0)
    small = either(qty * BPS_PER_UNIT < c.lim["reduce_min_bps"] * i["qty_raw"], no(c.f.sendable(qty)))
    c.fits("share of the request", True, c.lim["reduce_min_bps"] * i["qty_raw"], *I128)
    return first((
        (whole, (APPROVE, i["qty_raw"], i["qty_raw"], GATE.NONE, WHY.PASSED, GATE.NONE)),
        (hard, (REFUSE, 0, counterfactual, first_gate, first_why, GATE.NONE)),
        (small, (REFUSE, 0, counterfactual, first_gate, WHY.TOO_SMALL, GATE.NONE)),
    ), (REDUCE, qty, qty, GATE.NONE, WHY.PASSED, by))


def verdict_exit(c: Case, refusing: dict) -> tuple:
    """An exit: gates 1 (its id), 6 and 7 may refuse; it never sells more than the managed free quantity."""
    i = c.i
    first_gate, first_why = first([(refusing[g], (g, c.why(g))) for g in GATES], (GATE.NONE, WHY.PASSED))
    free = most(i["managed_free_qty_raw"], 0)
    free = c.f.whole_lots(free)
    return first((
        (either(*refusing.values()), (REFUSE, 0, 0, first_gate, first_why, GATE.NONE)),
        (either(i["kind"] != EXIT, i["side"] != SELL), (REFUSE, 0, 0, GATE.MANAGED_BOUND, WHY.LONG_ONLY, GATE.NONE)),
        (i["qty_raw"] <= i["managed_free_qty_raw"],
         (APPROVE, i["qty_raw"], i["qty_raw"], GATE.NONE, WHY.PASSED, GATE.NONE)),
        (no(c.f.sendable(free)), (REFUSE, 0, 0, GATE.MANAGED_BOUND, WHY.ABOVE_MANAGED, GATE.NONE)),
    ), (REDUCE, free, free, GATE.NONE, WHY.PASSED, GATE.MANAGED_BOUND))


def decide(c: Case) -> Decision:
    """All gates at the input's quantity, and the verdict: cstd_gates_evaluate, its facts given."""
    rule_all(c)
    failed = {gate: c.why(gate) != WHY.PASSED for gate in GATES}
    refusing = {gate: both(failed[gate], may_refuse(c, gate)) for gate in GATES}
    recorded = {gate: both(failed[gate], no(refusing[gate])) for gate in GATES}
    opening = c.i["kind"] == OPENING
    if opening is True or opening is False:
        said = verdict_opening(c, refusing) if opening else verdict_exit(c, refusing)
    else:
        said = first(((opening, verdict_opening(c, refusing)),), verdict_exit(c, refusing))
    return Decision(*said, recorded, refusing)


def evaluate(i: dict, lim: dict, bids: list, asks: list, fits: Any = unasked) -> tuple[Case, Decision]:
    """cstd_gates_evaluate: facts, gates, verdict."""
    c = Case(i, lim, facts_of(i, lim, bids, asks, fits), fits)
    return c, decide(c)


def judge(i: dict, lim: dict, bids: list, asks: list) -> tuple[Case, Decision]:
    """cstd_gates_judge, on plain ints: evaluate, and where a smaller quantity would pass, once more at that quantity."""
    c, d = evaluate(i, lim, bids, asks)
    if d.verdict != REDUCE:
        return c, d
    by = d.reduced_by
    again = {**i, "qty_raw": d.qty_final}
    if i["qty_wanted_raw"] <= 0 and not i["rejudge"]:
        again["qty_wanted_raw"] = i["qty_raw"]
    c, d = evaluate(again, lim, bids, asks)
    if d.verdict == REDUCE:
        d.verdict, d.qty_final, d.first_failing, d.verdict_reason = REFUSE, 0, by, WHY.TOO_SMALL
    elif d.verdict == APPROVE:
        d.verdict = REDUCE
    d.reduced_by = by
    return c, d
