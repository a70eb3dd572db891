"""The fifteen gates again, in plain Python over ints and Fractions, from systems 7 to 9: the oracle of csrc/gates.h.

Written from the rules, not from the C: exact fractions are compared, and sizes are found by exact division. It takes
the same plain dicts as gate_case. Values and limits are produced for passing gates too, in the units of the row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from cstd._fast.codes import IntentKind, Side, TimeInForce
from cstd._fast.gates import EscalationLevel as Level
from cstd._fast.gates import Gate, Why, price_raw_max, qty_raw_max

MAX64 = 2**63 - 1
MIN64 = -(2**63)
MBPS = 10_000_000
POLICY = (Gate.GATE_IDEMPOTENCY, Gate.GATE_SPREAD, Gate.GATE_DEPTH, Gate.GATE_VOLUME, Gate.GATE_SLIPPAGE,
          Gate.GATE_TIME_IN_FORCE, Gate.GATE_PRICE)
RISK = (Gate.GATE_KILL_SWITCH, Gate.GATE_DATA_GAP, Gate.GATE_DAY_LOSS, Gate.GATE_DRAWDOWN, Gate.GATE_POSITION_COUNT,
        Gate.GATE_TOTAL_EXPOSURE, Gate.GATE_POSITION_SIZE, Gate.GATE_CORRELATION)
GATES = POLICY + RISK


def up(value: Fraction) -> int:
    """Return the least int not below value, at most MAX64."""
    return min(-(-value.numerator // value.denominator), MAX64)


def down(value: Fraction) -> int:
    """Return the greatest int not above value, at most MAX64."""
    return min(value.numerator // value.denominator, MAX64)


def clamp(value: int) -> int:
    """Return the value as a saturating int64."""
    return max(MIN64, min(MAX64, value))


def bps_of(amount: int, bps: int) -> int:
    """Return bps of a positive amount, rounded down; 0 for anything not positive."""
    return min(amount * bps // 10_000, MAX64 - 1) if amount > 0 and bps > 0 else 0


@dataclass
class Ruling:
    """What one gate said."""

    why: Why
    value: int
    limit: int


@dataclass
class Case:
    """One intent with what several gates share."""

    i: dict
    lim: dict
    bids: list
    asks: list
    rulings: dict[Gate, Ruling] = field(default_factory=dict)

    def __post_init__(self) -> None:
        i = self.i
        self.bid = next((row[0] for row in self.bids if row[1] > own(row)), None)
        self.ask = next((row[0] for row in self.asks if row[1] > own(row)), None)
        both = self.bid is not None and self.ask is not None
        ok = both and 0 < self.bid <= price_raw_max and 0 < self.ask <= price_raw_max and self.bid < self.ask
        self.mid = Fraction(self.bid + self.ask, 2) if ok else None
        self.sane = (0 < i["price_raw"] <= price_raw_max and 0 < i["qty_raw"] <= qty_raw_max
                     and min(i["price_scale"], i["qty_scale"], i["tick_raw"], i["lot_raw"]) > 0)
        self.opening = i["kind"] == IntentKind.OPENING
        self.sells = self.opening == (i["side"] == Side.BUY)
        self.exit_side = self.bids if self.sells else self.asks
        self.money()
        self.walk()

    def money(self) -> None:
        """Set the notional in account raw, or the reason why it is not known."""
        i = self.i
        self.money_why, self.notional, self.rate_up, self.rate_down, self.scale = Why.WHY_BAD_INPUT, MAX64, 0, 0, 1
        if not self.sane or i["conversion_rate_e8"] <= 0 or not 0 <= i["conversion_haircut_bps"] <= 10_000:
            return
        self.money_why = Why.WHY_OVERFLOW
        self.scale = i["price_scale"] * i["qty_scale"]
        if self.scale >= 2**64 or i["conversion_rate_e8"] > 2**61:
            self.scale = 1
            return
        self.rate_up = up(Fraction(i["conversion_rate_e8"] * (10_000 + i["conversion_haircut_bps"]), 10_000))
        self.rate_down = down(Fraction(i["conversion_rate_e8"] * (10_000 - i["conversion_haircut_bps"]), 10_000))
        product = i["price_raw"] * i["qty_raw"] * self.rate_up
        notional = -(-product // self.scale)
        if product < 2**127 and notional < MAX64:
            self.money_why, self.notional = Why.WHY_PASSED, notional

    def walk(self) -> None:
        """Set depth, cost of the exit and the levels it would take."""
        self.depth, self.cost, self.thin, self.book_why = 0, None, True, Why.WHY_PASSED
        if self.mid is None:
            self.book_why = Why.WHY_NO_BOOK
            return
        if not self.sane:
            return
        band = max(0, min(self.lim["depth_band_mbps"], MBPS))
        edge = self.mid * (MBPS - band if self.sells else MBPS + band) / MBPS
        value = 0
        for row in self.exit_side:
            if row[0] < edge if self.sells else row[0] > edge:
                break
            value += row[0] * max(0, row[1] - own(row))
        if value * self.rate_down >= 2**127:
            self.book_why = Why.WHY_OVERFLOW
            return
        self.depth = min(value * self.rate_down // self.scale, MAX64)
        taken, lost = 0, Fraction(0)
        for price, visible in self.visible_levels():
            take = min(visible, self.i["qty_raw"] - taken)
            lost += max(Fraction(0), self.mid - price if self.sells else price - self.mid) * take
            taken += take
        self.thin = taken < self.i["qty_raw"]
        self.cost = None if self.thin else lost / (self.mid * taken)

    def visible_levels(self) -> list[tuple[int, int]]:
        """Return price and quantity of others on the exit side, best first."""
        return [(row[0], row[1] - own(row)) for row in self.exit_side if row[1] > own(row)]

    def rule(self, gate: Gate, why: Why, value: int, limit: int) -> None:
        self.rulings[gate] = Ruling(why, clamp(value), clamp(limit))

    def why(self, gate: Gate) -> Why:
        return self.rulings[gate].why


def own(row: tuple) -> int:
    return row[2] if len(row) > 2 else 0


def first(*conditions: tuple) -> tuple | None:
    """Return what stands beside the first condition that holds."""
    return next((rest for holds, *rest in conditions if holds), None)


def rule_idempotency(c: Case) -> None:
    i, lim = c.i, c.lim
    turnover, most = i["turnover_day_acct_raw"] + c.notional, bps_of(i["equity_acct_raw"], lim["turnover_day_max_bps"])
    shown = (i["parents_instrument_hour"] + 1, lim["parents_instrument_hour_max"])
    counts = ("parents_instrument_hour", "parents_minute", "losing_round_trips", "turnover_day_acct_raw")
    found = first(
        (i["id_seen"] and not i["rejudge"], Why.WHY_ID_SEEN, *shown),
        (i["instrument_off"] or i["losing_round_trips"] >= lim["losing_round_trips_max"], Why.WHY_LOSING_STREAK,
         i["losing_round_trips"], lim["losing_round_trips_max"]),
        (i["same_unknown"], Why.WHY_UNKNOWN_PENDING, *shown),
        (i["dedupe_hit"], Why.WHY_DUPLICATE, *shown),
        (any(i[name] < 0 for name in counts), Why.WHY_BAD_INPUT, *shown),
        (i["parents_instrument_hour"] + 1 > lim["parents_instrument_hour_max"], Why.WHY_INSTRUMENT_RATE, *shown),
        (i["parents_minute"] + 1 > lim["parents_minute_max"], Why.WHY_MINUTE_RATE, i["parents_minute"] + 1,
         lim["parents_minute_max"]),
        (c.money_why, c.money_why, *shown),
        (turnover > most, Why.WHY_TURNOVER, turnover, most),
    ) or (Why.WHY_PASSED, *shown)
    c.rule(Gate.GATE_IDEMPOTENCY, *found)


def rule_spread(c: Case) -> None:
    limit = c.lim["spread_max_mbps"]
    if c.mid is None:
        c.rule(Gate.GATE_SPREAD, Why.WHY_NO_BOOK, MAX64, limit)
        return
    spread = (c.ask - c.bid) / c.mid * MBPS
    c.rule(Gate.GATE_SPREAD, Why.WHY_OVER_LIMIT if spread > limit else Why.WHY_PASSED, up(spread), limit)


def rule_depth(c: Case) -> None:
    least, multiple = c.lim["depth_min_acct_raw"], Fraction(c.lim["depth_multiple_e2"], 100)
    why = first(
        (c.book_why, c.book_why), (c.money_why, c.money_why), (c.depth < least, Why.WHY_DEPTH_FLOOR),
        (c.depth < multiple * c.notional, Why.WHY_OVER_LIMIT),
    ) or (Why.WHY_PASSED,)
    c.rule(Gate.GATE_DEPTH, why[0], c.depth, max(least, up(multiple * c.notional)))


def rule_volume(c: Case) -> None:
    i, lim = c.i, c.lim
    hour = i["volume_hour_acct_raw"]
    share = Fraction(max(hour, 0), 60) * Fraction(lim["volume_share_max_bps"], 10_000)
    shown = (hour, lim["volume_hour_min_acct_raw"])
    found = first(
        (hour < 0, Why.WHY_BAD_INPUT, *shown), (not i["volume_ready"], Why.WHY_WARMING_UP, *shown),
        (hour < lim["volume_hour_min_acct_raw"], Why.WHY_OVER_LIMIT, *shown), (c.money_why, c.money_why, *shown),
        (c.notional > share, Why.WHY_ORDER_SHARE, c.notional, down(share)),
    ) or (Why.WHY_PASSED, *shown)
    c.rule(Gate.GATE_VOLUME, *found)


def rule_slippage(c: Case) -> None:
    i, lim = c.i, c.lim
    allowance, equity = i["markout_allowance_mbps"], i["day_start_equity_acct_raw"]
    cost = MAX64 if c.cost is None else up(c.cost * MBPS)
    shown = (cost + max(allowance, 0), lim["exit_cost_max_mbps"])
    paid = Fraction(i["slippage_day_acct_raw"] * MBPS, equity) if equity > 0 else None
    bad = equity <= 0 or allowance < 0 or i["slippage_fills"] < 0 or not c.sane
    enough = i["slippage_fills"] >= lim["slippage_p95_fills_min"]
    found = first(
        (bad, Why.WHY_BAD_INPUT, *shown), (c.book_why, c.book_why, *shown),
        (not bad and paid > lim["slippage_day_max_mbps"], Why.WHY_SLIPPAGE_DAY, up(max(paid or Fraction(0), Fraction(0))),
         lim["slippage_day_max_mbps"]),
        (enough and i["slippage_p95_mbps"] > lim["slippage_p95_max_mbps"], Why.WHY_SLIPPAGE_P95, i["slippage_p95_mbps"],
         lim["slippage_p95_max_mbps"]),
        (c.thin, Why.WHY_BOOK_TOO_THIN, *shown), (cost + allowance > lim["exit_cost_max_mbps"], Why.WHY_OVER_LIMIT, *shown),
    ) or (Why.WHY_PASSED, *shown)
    c.rule(Gate.GATE_SLIPPAGE, *found)


def rule_time_in_force(c: Case) -> None:
    i, lim = c.i, c.lim
    tif, gtd = i["time_in_force"], i["time_in_force"] == TimeInForce.GTD
    allowed = (TimeInForce.GTD,) if c.opening else (TimeInForce.GTD, TimeInForce.IOC)
    shown = (i["deadline_ns"], lim["deadline_max_ns"])
    found = first(
        (c.opening and not i["post_only"], Why.WHY_NOT_POST_ONLY, *shown),
        (tif not in allowed or (tif == TimeInForce.IOC and i["post_only"]), Why.WHY_WRONG_TIF, *shown),
        (not lim["deadline_min_ns"] <= i["deadline_ns"] <= lim["deadline_max_ns"], Why.WHY_DEADLINE, *shown),
        (gtd and not 0 < i["lifetime_ns"] <= lim["lifetime_max_ns"], Why.WHY_LIFETIME, i["lifetime_ns"],
         lim["lifetime_max_ns"]),
    ) or (Why.WHY_PASSED, *shown)
    c.rule(Gate.GATE_TIME_IN_FORCE, *found)


def venue_takes(c: Case, qty: int) -> bool:
    """Whether quantity and cost reach the venue's minimum."""
    i = c.i
    if qty < i["qty_min_raw"]:
        return False
    least = i["cost_min_quote_e8"]
    return least <= 0 or Fraction(i["price_raw"] * qty, i["price_scale"] * i["qty_scale"]) >= Fraction(least, 10**8)


def venue_why(c: Case) -> Why:
    i = c.i
    if not c.sane:
        return Why.WHY_BAD_INPUT
    found = first(
        (i["price_raw"] % i["tick_raw"], Why.WHY_OFF_TICK), (i["qty_raw"] % i["lot_raw"], Why.WHY_OFF_LOT),
        (not i["rejudge"] and not venue_takes(c, i["qty_raw"]), Why.WHY_BELOW_MINIMUM),
    )
    return found[0] if found else Why.WHY_PASSED


def rule_price_opening(c: Case) -> None:
    i, lim = c.i, c.lim
    why, limit, reference, price = venue_why(c), c.lim["price_band_mbps"], i["reference_price_raw"], i["price_raw"]
    if why:
        c.rule(Gate.GATE_PRICE, why, MAX64, limit)
        return
    away = None if c.mid is None else abs(price - c.mid) / c.mid * MBPS
    shown = (MAX64 if away is None else up(away), limit)
    from_reference = Fraction(abs(price - reference) * MBPS, reference) if reference > 0 else Fraction(0)
    crosses = away is not None and (price >= c.asks[0][0] if i["side"] == Side.BUY else price <= c.bids[0][0])
    found = first(  # what is not of the book first: an unverified book excuses from the rest for a while
        (not 0 <= reference <= price_raw_max, Why.WHY_BAD_INPUT, *shown),
        (reference == 0 and i["reference_required"], Why.WHY_NO_REFERENCE, *shown),
        (from_reference > lim["reference_band_mbps"], Why.WHY_REFERENCE, up(from_reference), lim["reference_band_mbps"]),
        (away is None, Why.WHY_NO_BOOK, *shown), (crosses, Why.WHY_CROSSING, *shown),
        (away is not None and away > limit, Why.WHY_OVER_LIMIT, *shown),
    ) or (Why.WHY_PASSED, *shown)
    c.rule(Gate.GATE_PRICE, *found)


def collar_reference(c: Case) -> int:
    """Return the bid the collar is measured from, 0 for none."""
    i, lim = c.i, c.lim
    if i["book_verified"] and c.bid is not None:
        return c.bid
    fresh = 0 <= i["rest_age_ns"] <= lim["rest_age_max_ns"] and i["rest_bid_raw"] > 0
    if not i["book_verified"] and i["unverified_for_ns"] > lim["rest_price_after_ns"] and fresh:
        return i["rest_bid_raw"]
    return max(0, i["last_verified_bid_raw"])


def rule_price_exit(c: Case) -> None:
    why, bid, price = venue_why(c), collar_reference(c), c.i["price_raw"]
    collar = max(0, min(c.i["collar_mbps"], c.lim["collar_max_mbps"]))
    below = Fraction(0)
    if not why and bid > price_raw_max:
        why = Why.WHY_OVERFLOW
    elif not why and bid and price < bid:
        below = Fraction((bid - price) * MBPS, bid)
        why = Why.WHY_COLLAR if below > collar else why
    c.rule(Gate.GATE_PRICE, why, up(below), collar)


def rule_losses(c: Case) -> None:
    i, lim = c.i, c.lim
    unknown = -MAX64 - 1
    found = first(
        (unknown in (i["day_loss_bps"], i["day_loss_acct_raw"]), Why.WHY_BAD_INPUT, i["day_loss_bps"], lim["day_loss_bps"][1]),
        (i["day_loss_bps"] >= lim["day_loss_bps"][1], Why.WHY_OVER_LIMIT, i["day_loss_bps"], lim["day_loss_bps"][1]),
        (i["day_loss_acct_raw"] >= lim["day_loss_max_acct_raw"], Why.WHY_LOSS_AMOUNT, i["day_loss_acct_raw"],
         lim["day_loss_max_acct_raw"]),
    ) or (Why.WHY_PASSED, i["day_loss_bps"], lim["day_loss_bps"][1])
    c.rule(Gate.GATE_DAY_LOSS, *found)
    depth, limit = i["drawdown_bps"], lim["drawdown_bps"][1]
    why = first((depth < 0, Why.WHY_BAD_INPUT), (depth >= limit, Why.WHY_OVER_LIMIT), (True, Why.WHY_PASSED))
    c.rule(Gate.GATE_DRAWDOWN, *why, depth, limit)


def level_of(i: dict) -> int:
    return i["level"] if 0 <= i["level"] <= 4 else Level.LEVEL_SHUTDOWN


def rule_kill_switch(c: Case) -> None:
    states = (Why.WHY_PASSED, Why.WHY_PAUSED, Why.WHY_NOT_READY, Why.WHY_HALTED, Why.WHY_PARITY_HALT)
    state = c.i["trading_state"]
    level = level_of(c.i)
    explained = c.why(Gate.GATE_DAY_LOSS) or c.why(Gate.GATE_DRAWDOWN)
    why = states[state] if 0 <= state < len(states) else Why.WHY_BAD_INPUT
    if c.i["kill_latched"]:
        why = Why.WHY_KILLED
    elif not why and c.lim["level_size_e4"][level] <= 0 and not explained:
        why = Why.WHY_LEVEL
    c.rule(Gate.GATE_KILL_SWITCH, why, level, Level.LEVEL_WARNING)


def rule_data_gap(c: Case) -> None:
    i, lim = c.i, c.lim
    shown = (i["evidence_age_ns"], lim["evidence_age_max_ns"])
    negative = min(i["evidence_age_ns"], i["silent_for_ns"], i["unverified_for_ns"]) < 0
    found = first(
        (negative, Why.WHY_BAD_INPUT, *shown), (not i["venue_online"], Why.WHY_VENUE_STATE, *shown),
        (not i["instrument_online"], Why.WHY_INSTRUMENT_STATE, *shown),
        (not (i["private_up"] and i["private_ready"]), Why.WHY_PRIVATE_STREAM, *shown),
        (not i["conversion_ok"], Why.WHY_CONVERSION, *shown),
        (abs(i["clock_offset_ns"]) > lim["clock_offset_max_ns"], Why.WHY_CLOCK, i["clock_offset_ns"],
         lim["clock_offset_max_ns"]),
        (i["silent_for_ns"] >= lim["silent_max_ns"], Why.WHY_SILENT, i["silent_for_ns"], lim["silent_max_ns"]),
        (i["evidence_age_ns"] > lim["evidence_age_max_ns"], Why.WHY_STALE, *shown),
        (not i["book_verified"], Why.WHY_BOOK_UNVERIFIED, i["unverified_for_ns"],
         lim["unverified_grace_ns"] if i["rejudge"] else 0),
        (i["book_fault"], Why.WHY_BOOK_FAULT, i["book_fault"], 0),
    ) or (Why.WHY_PASSED, *shown)
    c.rule(Gate.GATE_DATA_GAP, *found)


def rule_exposure(c: Case) -> None:
    i, lim = c.i, c.lim
    count = i["positions_count"] + (1 if c.opening and not i["instrument_has_position"] else 0)
    why = first((i["positions_count"] < 0, Why.WHY_BAD_INPUT), (count > lim["positions_max"], Why.WHY_OVER_LIMIT))
    c.rule(Gate.GATE_POSITION_COUNT, why[0] if why else Why.WHY_PASSED, count, lim["positions_max"])
    short = c.opening and i["side"] != Side.BUY
    for gate, name, share in (
        (Gate.GATE_TOTAL_EXPOSURE, "exposure_acct_raw", "exposure_max_bps"),
        (Gate.GATE_POSITION_SIZE, "asset_exposure_acct_raw", "position_max_bps"),
        (Gate.GATE_CORRELATION, "cluster_exposure_acct_raw", "cluster_max_bps"),
    ):
        limit = bps_of(i["equity_acct_raw"], lim[share])
        total = i[name] + (c.notional if c.opening else 0)
        why = first(
            (gate == Gate.GATE_POSITION_SIZE and short, Why.WHY_LONG_ONLY), (c.money_why, c.money_why),
            (i[name] < 0, Why.WHY_BAD_INPUT), (total > limit, Why.WHY_OVER_LIMIT),
        )
        c.rule(gate, why[0] if why else Why.WHY_PASSED, total, limit)


def rule_all(intent: dict, limits: dict, bids: list, asks: list) -> Case:
    """Return the case with a ruling of each gate."""
    c = Case(intent, limits, bids, asks)
    rule_idempotency(c)
    rule_spread(c)
    rule_depth(c)
    rule_volume(c)
    rule_slippage(c)
    rule_time_in_force(c)
    if c.opening:
        rule_price_opening(c)
    else:
        rule_price_exit(c)
    rule_losses(c)
    rule_kill_switch(c)
    rule_data_gap(c)
    rule_exposure(c)
    return c


def may_refuse(c: Case, gate: Gate) -> bool:
    """Whether this failed gate may refuse this intent (systems 7.3, 8, 9.2)."""
    why, rejudge = c.why(gate), c.i["rejudge"]
    if not c.opening:
        return {Gate.GATE_IDEMPOTENCY: why == Why.WHY_ID_SEEN, Gate.GATE_TIME_IN_FORCE: not rejudge,
                Gate.GATE_PRICE: True}.get(gate, False)
    if rejudge and gate == Gate.GATE_TIME_IN_FORCE:
        return False
    if rejudge and gate == Gate.GATE_IDEMPOTENCY:
        return why == Why.WHY_LOSING_STREAK
    grace = (rejudge and c.why(Gate.GATE_DATA_GAP) == Why.WHY_BOOK_UNVERIFIED
             and c.i["unverified_for_ns"] <= c.lim["unverified_grace_ns"])
    if grace and gate == Gate.GATE_PRICE:
        return why not in (Why.WHY_NO_BOOK, Why.WHY_CROSSING, Why.WHY_OVER_LIMIT)
    return not (grace and gate in (Gate.GATE_DATA_GAP, Gate.GATE_SPREAD, Gate.GATE_DEPTH, Gate.GATE_SLIPPAGE))


def refusing_gates(c: Case) -> list[Gate]:
    return [gate for gate in GATES if c.why(gate) and may_refuse(c, gate)]


def expected_verdict(c: Case) -> tuple[str, int]:
    """Return ("approve" | "reduce" | "refuse", quantity) of the first pass, from the rules of systems 9."""
    refusing, qty = refusing_gates(c), c.i["qty_raw"]
    if not c.opening:
        if refusing or c.i["side"] != Side.SELL:
            return "refuse", 0
        free = max(0, c.i["managed_free_qty_raw"])
        if qty <= free:
            return "approve", qty
        free -= free % c.i["lot_raw"]
        return ("reduce", free) if free > 0 and venue_takes(c, free) else ("refuse", 0)
    most = level_quantity(c)
    if not refusing and most >= qty:
        return "approve", qty
    shares = {Gate.GATE_DEPTH, Gate.GATE_TOTAL_EXPOSURE, Gate.GATE_POSITION_SIZE, Gate.GATE_CORRELATION}
    if any(gate not in shares or c.why(gate) != Why.WHY_OVER_LIMIT for gate in refusing):
        return "refuse", 0
    for gate in refusing:
        most = min(most, quantity_within(c, gate))
    most -= most % c.i["lot_raw"]
    enough = most > 0 and most * 10_000 >= qty * c.lim["reduce_min_bps"] and venue_takes(c, most)
    return ("reduce", most) if enough else ("refuse", 0)


def level_quantity(c: Case) -> int:
    """Return the largest quantity the level allows, of what was wanted."""
    size = c.lim["level_size_e4"][level_of(c.i)]
    wanted = c.i["qty_wanted_raw"] or (0 if c.i["rejudge"] else c.i["qty_raw"])
    return wanted * size // 10_000 if wanted > 0 and 0 < size < 10_000 else MAX64


def quantity_within(c: Case, gate: Gate) -> int:
    """Return the largest quantity whose notional, rounded up, fits under what the gate leaves."""
    if gate == Gate.GATE_DEPTH:
        room = Fraction(c.depth * 100, c.lim["depth_multiple_e2"])
        room = Fraction(down(room))
    else:
        name, share = {
            Gate.GATE_TOTAL_EXPOSURE: ("exposure_acct_raw", "exposure_max_bps"),
            Gate.GATE_POSITION_SIZE: ("asset_exposure_acct_raw", "position_max_bps"),
            Gate.GATE_CORRELATION: ("cluster_exposure_acct_raw", "cluster_max_bps"),
        }[gate]
        room = Fraction(bps_of(c.i["equity_acct_raw"], c.lim[share]) - c.i[name])
    return max(0, down(room * c.scale / (c.i["price_raw"] * c.rate_up)))
