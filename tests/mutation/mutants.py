"""The mutants: a fault each, as one text of a header and what stands there instead. The text is there exactly once."""

from __future__ import annotations

from dataclasses import dataclass

POLICY, RISK, FACTS, MATH, VERDICT = "gates_policy.h", "gates_risk.h", "gates_facts.h", "gates_math.h", "gates.h"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault. `name` says the gate and the kind of fault."""

    name: str
    header: str
    text: str
    instead: str


def _policy(gate: str, last: str = "limit") -> tuple[str, str]:
    text = f"cstd_policy_result(c, CSTD_GATE_{gate}, why, value, {last});"
    return text, text.replace("why", "CSTD_WHY_PASSED")


def _shares_of(gate: str) -> list[Mutant]:
    """Faults of the function that gates 16 to 18 share, in this gate alone."""
    name, this = gate.replace("_", " ").lower(), f"gate == CSTD_GATE_{gate}"
    over, result = "} else if (!why && value > limit) {", "cstd_risk_result(c, gate, why, value, limit);"
    return [Mutant(f"{name}: {fault}", RISK, text, instead) for fault, text, instead in (
        ("removed", result, result.replace("why", f"{this} ? CSTD_WHY_PASSED : why")),
        ("inverted", over, f"}} else if (!why && ({this} ? value < limit : value > limit)) {{"),
        ("off by one", over, f"}} else if (!why && value - ({this}) > limit) {{"),
        ("negative exposure let through", "if (!why && standing < 0) {", f"if (!why && standing < 0 && !({this})) {{"),
        ("unknown notional let through", "refused_why ? refused_why : c->facts->money_why;",
         f"refused_why ? refused_why : {this} ? CSTD_WHY_PASSED : c->facts->money_why;"),
        ("sum wraps", "int64_t value = cstd_add_saturated(standing, adds);",
         f"int64_t value = {this} ? (int64_t)((uint64_t)standing + (uint64_t)adds) : cstd_add_saturated(standing, adds);"),
    )]


def _mutants() -> list[Mutant]:
    found: list[Mutant] = []

    def add(name: str, header: str, text: str, instead: str) -> None:
        found.append(Mutant(name, header, text, instead))

    # Gates 1 to 7.
    add("idempotency: removed", POLICY, *_policy("IDEMPOTENCY"))
    add("idempotency: id check inverted", POLICY, "if (in->id_seen && !in->rejudge)", "if (!in->id_seen && !in->rejudge)")
    add("idempotency: id check removed", POLICY, "if (in->id_seen && !in->rejudge)", "if (0)")
    add("idempotency: id of a resting order counts", POLICY, "if (in->id_seen && !in->rejudge)", "if (in->id_seen)")
    add("idempotency: instrument switched off passes", POLICY, "in->instrument_off || ", "")
    add("idempotency: losing streak off by one", POLICY, "in->losing_round_trips >= lim->losing_round_trips_max",
        "in->losing_round_trips > lim->losing_round_trips_max")
    add("idempotency: losing streak inverted", POLICY, "in->losing_round_trips >= lim->losing_round_trips_max",
        "in->losing_round_trips < lim->losing_round_trips_max")
    add("idempotency: UNKNOWN removed", POLICY, "} else if (in->same_unknown) {", "} else if (0) {")
    add("idempotency: UNKNOWN inverted", POLICY, "} else if (in->same_unknown) {", "} else if (!in->same_unknown) {")
    add("idempotency: duplicate removed", POLICY, "} else if (in->dedupe_hit) {", "} else if (0) {")
    add("idempotency: duplicate inverted", POLICY, "} else if (in->dedupe_hit) {", "} else if (!in->dedupe_hit) {")
    add("idempotency: negative hour let through", POLICY, "in->parents_instrument_hour < 0 || ", "")
    add("idempotency: negative minute let through", POLICY, "in->parents_minute < 0 || ", "")
    add("idempotency: negative streak let through", POLICY, "in->losing_round_trips < 0 ||", "")
    add("idempotency: negative turnover let through", POLICY, "||\n               in->turnover_day_acct_raw < 0", "")
    add("idempotency: hour off by one", POLICY, "in->parents_instrument_hour >= lim->parents_instrument_hour_max",
        "in->parents_instrument_hour > lim->parents_instrument_hour_max")
    add("idempotency: hour inverted", POLICY, "in->parents_instrument_hour >= lim->parents_instrument_hour_max",
        "in->parents_instrument_hour < lim->parents_instrument_hour_max")
    add("idempotency: minute off by one", POLICY, "in->parents_minute >= lim->parents_minute_max",
        "in->parents_minute > lim->parents_minute_max")
    add("idempotency: minute loosened", POLICY, "in->parents_minute >= lim->parents_minute_max",
        "in->parents_minute / 2 >= lim->parents_minute_max")
    add("idempotency: minute inverted", POLICY, "in->parents_minute >= lim->parents_minute_max",
        "in->parents_minute < lim->parents_minute_max")
    add("idempotency: losing streak loosened", POLICY, "in->losing_round_trips >= lim->losing_round_trips_max",
        "in->losing_round_trips / 2 >= lim->losing_round_trips_max")
    add("idempotency: count of the hour wraps", POLICY, "cstd_add_saturated(in->parents_instrument_hour, 1)",
        "(int64_t)((uint64_t)in->parents_instrument_hour + 1)")
    add("idempotency: unknown notional let through", POLICY, """    } else if (c->facts->money_why) {
        why = c->facts->money_why;
    } else if (turnover""", "    } else if (turnover")
    add("idempotency: turnover off by one", POLICY, "turnover > turnover_max)", "turnover > turnover_max + 1)")
    add("idempotency: turnover at its limit refused", POLICY, "turnover > turnover_max)", "turnover >= turnover_max)")
    add("idempotency: turnover inverted", POLICY, "turnover > turnover_max)", "turnover < turnover_max)")
    add("idempotency: turnover loosened", POLICY, "turnover > turnover_max)", "turnover / 2 > turnover_max)")
    add("idempotency: turnover wraps", POLICY, "cstd_add_saturated(in->turnover_day_acct_raw, c->facts->notional)",
        "(int64_t)((uint64_t)in->turnover_day_acct_raw + (uint64_t)c->facts->notional)")
    add("idempotency: turnover leaves this order out", POLICY,
        "cstd_add_saturated(in->turnover_day_acct_raw, c->facts->notional)", "in->turnover_day_acct_raw")
    add("spread: removed", POLICY, "why = value <= c->limits->spread_max_mbps ? CSTD_WHY_PASSED : CSTD_WHY_OVER_LIMIT;",
        "why = CSTD_WHY_PASSED;")
    add("spread: inverted", POLICY, "value <= c->limits->spread_max_mbps", "value >= c->limits->spread_max_mbps")
    add("spread: off by one", POLICY, "value <= c->limits->spread_max_mbps", "value <= c->limits->spread_max_mbps + 1")
    add("spread: at its limit refused", POLICY, "value <= c->limits->spread_max_mbps", "value < c->limits->spread_max_mbps")
    add("spread: loosened", POLICY, "cstd_mbps_of_whole(2 * (uint64_t)(c->facts->ask - c->facts->bid)",
        "cstd_mbps_of_whole((uint64_t)(c->facts->ask - c->facts->bid)")
    add("spread: in 32 bits", POLICY, "2 * (uint64_t)(c->facts->ask - c->facts->bid)", "2 * (uint64_t)(uint32_t)(c->facts->ask - c->facts->bid)")
    add("spread: no book let through", POLICY, "int why = CSTD_WHY_NO_BOOK;\n    if (mid2)",
        "int why = CSTD_WHY_PASSED;\n    if (mid2)")
    add("depth: removed", POLICY, "cstd_policy_result(c, CSTD_GATE_DEPTH, why, facts->depth, limit);",
        "cstd_policy_result(c, CSTD_GATE_DEPTH, CSTD_WHY_PASSED, facts->depth, limit);")
    add("depth: floor off by one", POLICY, "facts->depth < lim->depth_min_acct_raw)", "facts->depth + 1 < lim->depth_min_acct_raw)")
    add("depth: floor at its limit refused", POLICY, "facts->depth < lim->depth_min_acct_raw)",
        "facts->depth <= lim->depth_min_acct_raw)")
    add("depth: floor inverted", POLICY, "facts->depth < lim->depth_min_acct_raw)", "facts->depth > lim->depth_min_acct_raw)")
    add("depth: floor loosened", POLICY, "facts->depth < lim->depth_min_acct_raw)", "facts->depth < lim->depth_min_acct_raw / 2)")
    add("depth: multiple removed", POLICY, "} else if (!why && (cstd_u128)facts->depth * 100 < needed) {", "} else if (0) {")
    add("depth: multiple inverted", POLICY, "!why && (cstd_u128)facts->depth * 100 < needed",
        "!why && (cstd_u128)facts->depth * 100 > needed")
    add("depth: multiple loosened", POLICY, "!why && (cstd_u128)facts->depth * 100 < needed",
        "!why && (cstd_u128)facts->depth * 200 < needed")
    add("depth: multiple off by one", POLICY, "!why && (cstd_u128)facts->depth * 100 < needed",
        "!why && (cstd_u128)facts->depth * 100 + 1 < needed")
    add("depth: multiple at its limit refused", POLICY, "!why && (cstd_u128)facts->depth * 100 < needed",
        "!why && (cstd_u128)facts->depth * 100 <= needed")
    add("depth: multiple in 64 bits", POLICY, "cstd_u128 needed = multiple * (uint64_t)facts->notional;",
        "cstd_u128 needed = (uint64_t)(multiple * (uint64_t)facts->notional);")
    add("depth: wild book let through", POLICY, "int why = facts->book_why ? facts->book_why : facts->money_why;",
        "int why = facts->money_why;")
    add("depth: unknown notional let through", POLICY, "int why = facts->book_why ? facts->book_why : facts->money_why;",
        "int why = facts->book_why;")
    add("depth: cap off by one", POLICY, "cstd_div_down((cstd_u128)facts->depth * 100, multiple)",
        "cstd_div_up((cstd_u128)facts->depth * 100 + 1, multiple)")
    add("volume: removed", POLICY, *_policy("VOLUME"))
    add("volume: negative let through", POLICY, "if (in->volume_hour_acct_raw < 0) {", "if (0) {")
    add("volume: warming up let through", POLICY, "} else if (!in->volume_ready) {", "} else if (0) {")
    add("volume: warming up inverted", POLICY, "} else if (!in->volume_ready) {", "} else if (in->volume_ready) {")
    add("volume: floor off by one", POLICY, "in->volume_hour_acct_raw < lim->volume_hour_min_acct_raw",
        "in->volume_hour_acct_raw + 1 < lim->volume_hour_min_acct_raw")
    add("volume: floor at its limit refused", POLICY, "in->volume_hour_acct_raw < lim->volume_hour_min_acct_raw",
        "in->volume_hour_acct_raw <= lim->volume_hour_min_acct_raw")
    add("volume: floor inverted", POLICY, "in->volume_hour_acct_raw < lim->volume_hour_min_acct_raw",
        "in->volume_hour_acct_raw > lim->volume_hour_min_acct_raw")
    add("volume: floor loosened", POLICY, "in->volume_hour_acct_raw < lim->volume_hour_min_acct_raw",
        "in->volume_hour_acct_raw < lim->volume_hour_min_acct_raw / 2")
    add("volume: share inverted", POLICY, "c->facts->notional > c->facts->cap_share)", "c->facts->notional < c->facts->cap_share)")
    add("volume: unknown notional let through", POLICY, """    } else if (c->facts->money_why) {
        why = c->facts->money_why;
    } else if (c->facts->notional""", "    } else if (c->facts->notional")
    add("volume: share off by one", POLICY, "c->facts->notional > c->facts->cap_share)",
        "c->facts->notional > c->facts->cap_share + 1)")
    add("volume: share at its limit refused", POLICY, "c->facts->notional > c->facts->cap_share)",
        "c->facts->notional >= c->facts->cap_share)")
    add("volume: share of the hour", POLICY, "minutes = 60 * CSTD_BPS_PER_UNIT", "minutes = CSTD_BPS_PER_UNIT")
    add("volume: share in 64 bits", POLICY, "(cstd_u128)(uint64_t)cstd_max64(lim->volume_share_max_bps, 0) * hour",
        "(uint64_t)cstd_max64(lim->volume_share_max_bps, 0) * hour")
    add("slippage: removed", POLICY, *_policy("SLIPPAGE"))
    add("slippage: no equity let through", POLICY, "if (equity <= 0 || in->markout", "if (in->markout")
    add("slippage: negative allowance let through", POLICY, "in->markout_allowance_mbps < 0 || ", "")
    add("slippage: negative fills let through", POLICY, "in->slippage_fills < 0 || ", "")
    add("slippage: wild order let through", POLICY, " || !facts->sane) {\n        why = CSTD_WHY_BAD_INPUT;\n    } else if (facts->book_why",
        ") {\n        why = CSTD_WHY_BAD_INPUT;\n    } else if (facts->book_why")
    add("slippage: no book let through", POLICY, "    } else if (facts->book_why) {\n        why = facts->book_why;\n", "")
    add("slippage: day inverted", POLICY, "CSTD_MBPS_PER_UNIT > (cstd_i128)lim->slippage_day",
        "CSTD_MBPS_PER_UNIT < (cstd_i128)lim->slippage_day")
    add("slippage: day at its limit refused", POLICY, "CSTD_MBPS_PER_UNIT > (cstd_i128)lim->slippage_day",
        "CSTD_MBPS_PER_UNIT >= (cstd_i128)lim->slippage_day")
    add("slippage: day off by one", POLICY, "(cstd_i128)lim->slippage_day_max_mbps * equity)",
        "((cstd_i128)lim->slippage_day_max_mbps + 1) * equity)")
    add("slippage: day in 64 bits", POLICY, "(cstd_i128)paid * CSTD_MBPS_PER_UNIT >",
        "(int64_t)((uint64_t)paid * CSTD_MBPS_PER_UNIT) >")
    add("slippage: day loosened", POLICY, "(cstd_i128)lim->slippage_day_max_mbps * equity)",
        "2 * (cstd_i128)lim->slippage_day_max_mbps * equity)")
    add("slippage: P95 inverted", POLICY, "in->slippage_p95_mbps > lim->slippage_p95_max_mbps)",
        "in->slippage_p95_mbps < lim->slippage_p95_max_mbps)")
    add("slippage: P95 removed", POLICY, "} else if (realised && in->slippage_p95_mbps > lim->slippage_p95_max_mbps) {",
        "} else if (0) {")
    add("slippage: P95 at its limit refused", POLICY, "in->slippage_p95_mbps > lim->slippage_p95_max_mbps)",
        "in->slippage_p95_mbps >= lim->slippage_p95_max_mbps)")
    add("slippage: P95 off by one", POLICY, "in->slippage_p95_mbps > lim->slippage_p95_max_mbps)",
        "in->slippage_p95_mbps - 1 > lim->slippage_p95_max_mbps)")
    add("slippage: fills off by one", POLICY, "in->slippage_fills >= lim->slippage_p95_fills_min",
        "in->slippage_fills > lim->slippage_p95_fills_min")
    add("slippage: thin book let through", POLICY, "facts->thin || facts->exit_cost_mbps > budget", "facts->exit_cost_mbps > budget && !facts->thin")
    add("slippage: cost at its limit refused", POLICY, "facts->exit_cost_mbps > budget)", "facts->exit_cost_mbps >= budget)")
    add("slippage: cost off by one", POLICY, "facts->exit_cost_mbps > budget)", "facts->exit_cost_mbps > budget + 1)")
    add("slippage: cost inverted", POLICY, "facts->exit_cost_mbps > budget)", "facts->exit_cost_mbps < budget)")
    add("slippage: shown cost wraps", POLICY, "cstd_add_saturated(facts->exit_cost_mbps, cstd_max64(in->markout_allowance_mbps, 0))",
        "(int64_t)((uint64_t)facts->exit_cost_mbps + (uint64_t)cstd_max64(in->markout_allowance_mbps, 0))")
    add("slippage: allowance left out", POLICY, "1LL << 24), in->markout_allowance_mbps);", "1LL << 24), 0);")
    add("slippage: ceiling of the budget removed", POLICY, "cstd_min64(lim->exit_cost_max_mbps, 1LL << 24)",
        "lim->exit_cost_max_mbps")
    add("time in force: removed", POLICY, *_policy("TIME_IN_FORCE"))
    add("time in force: post-only removed", POLICY, "if (opening && !in->post_only) {", "if (0) {")
    add("time in force: post-only inverted", POLICY, "if (opening && !in->post_only) {", "if (opening && in->post_only) {")
    add("time in force: post-only IOC let through", POLICY, "in->time_in_force != CSTD_IOC || in->post_only)",
        "in->time_in_force != CSTD_IOC)")
    add("time in force: GTC let through", POLICY, "in->time_in_force != CSTD_IOC || in->post_only)", "in->post_only)")
    add("time in force: unknown code let through", POLICY, "in->time_in_force != CSTD_IOC || in->post_only)",
        "in->time_in_force == CSTD_GTC || in->post_only)")
    add("time in force: early deadline let through", POLICY, "in->deadline_ns < lim->deadline_min_ns || ", "")
    add("time in force: deadline off by one", POLICY, "in->deadline_ns < lim->deadline_min_ns ||",
        "in->deadline_ns + 1 < lim->deadline_min_ns ||")
    add("time in force: late deadline off by one", POLICY, "in->deadline_ns > lim->deadline_max_ns)",
        "in->deadline_ns - 1 > lim->deadline_max_ns)")
    add("time in force: late deadline inverted", POLICY, "in->deadline_ns > lim->deadline_max_ns)",
        "in->deadline_ns < lim->deadline_max_ns)")
    add("time in force: deadline loosened", POLICY, "in->deadline_ns > lim->deadline_max_ns)",
        "in->deadline_ns / 2 > lim->deadline_max_ns)")
    add("time in force: deadline in 32 bits", POLICY, "in->deadline_ns > lim->deadline_max_ns)",
        "(int32_t)in->deadline_ns > lim->deadline_max_ns)")
    add("time in force: lifetime inverted", POLICY, "in->lifetime_ns > lim->lifetime_max_ns)",
        "in->lifetime_ns < lim->lifetime_max_ns)")
    add("time in force: lifetime loosened", POLICY, "in->lifetime_ns > lim->lifetime_max_ns)",
        "in->lifetime_ns / 2 > lim->lifetime_max_ns)")
    add("time in force: lifetime in 32 bits", POLICY, "in->lifetime_ns > lim->lifetime_max_ns)",
        "(int32_t)in->lifetime_ns > lim->lifetime_max_ns)")
    add("time in force: lifetime 0 let through", POLICY, "in->lifetime_ns <= 0", "in->lifetime_ns < 0")
    add("time in force: lifetime off by one", POLICY, "in->lifetime_ns > lim->lifetime_max_ns)",
        "in->lifetime_ns - 1 > lim->lifetime_max_ns)")
    add("time in force: lifetime of an IOC counts", POLICY, "} else if (gtd && (in->lifetime_ns", "} else if ((in->lifetime_ns")
    add("price: removed", POLICY, *_policy("PRICE"))
    add("price: removed for exits", POLICY, *_policy("PRICE", "collar"))
    add("price: wild numbers let through", POLICY, "    if (!c->facts->sane) {\n        return CSTD_WHY_BAD_INPUT;\n    }\n",
        "    if (in->tick_raw <= 0 || in->lot_raw <= 0) {\n        return CSTD_WHY_BAD_INPUT;\n    }\n")
    add("price: off tick let through", POLICY, "in->tick_raw != 1 && in->price_raw % in->tick_raw", "0")
    add("price: off lot let through", POLICY, "in->lot_raw != 1 && in->qty_raw % in->lot_raw", "0")
    add("price: minimum quantity off by one", POLICY, "in->qty_raw < in->qty_min_raw ||", "in->qty_raw + 1 < in->qty_min_raw ||")
    add("price: minimum quantity inverted", POLICY, "in->qty_raw < in->qty_min_raw ||", "in->qty_raw > in->qty_min_raw ||")
    add("price: minimum cost removed", POLICY, " || !cstd_cost_reaches_minimum(in, in->qty_raw)", "")
    add("price: minimum asked of resting orders", POLICY, "if (!in->rejudge && (in->qty_raw < in->qty_min_raw",
        "if ((in->qty_raw < in->qty_min_raw")
    add("price: no book let through", POLICY, "        } else if (mid2 == 0) {\n            why = CSTD_WHY_NO_BOOK;\n", "")
    add("price: crossing off by one", POLICY, "in->price_raw >= c->facts->top_ask", "in->price_raw > c->facts->top_ask")
    add("price: crossing others only", POLICY, "in->price_raw >= c->facts->top_ask", "in->price_raw >= c->facts->ask")
    add("price: crossing of a sale off by one", POLICY, "in->price_raw <= c->facts->top_bid", "in->price_raw < c->facts->top_bid")
    add("price: crossing removed", POLICY, "} else if (crosses) {", "} else if (0) {")
    add("price: crossing inverted", POLICY, "} else if (crosses) {", "} else if (!crosses) {")
    add("price: band off by one", POLICY, "} else if (value > limit) {", "} else if (value - 1 > limit) {")
    add("price: band at its limit refused", POLICY, "} else if (value > limit) {", "} else if (value >= limit) {")
    add("price: band inverted", POLICY, "} else if (value > limit) {", "} else if (value < limit) {")
    add("price: band loosened", POLICY, "} else if (value > limit) {", "} else if (value / 2 > limit) {")
    add("price: distance in 32 bits", POLICY, "(uint64_t)(away < 0 ? -away : away)", "(uint32_t)(away < 0 ? -away : away)")
    add("price: band one-sided", POLICY, "(uint64_t)(away < 0 ? -away : away)", "(uint64_t)(away < 0 ? 0 : away)")
    add("price: wild reference let through", POLICY, "if (reference < 0 || reference > CSTD_PRICE_RAW_MAX) {", "if (0) {")
    add("price: reference off by one of its domain", POLICY, "if (reference < 0 || reference > CSTD_PRICE_RAW_MAX) {",
        "if (reference < 0 || reference >= CSTD_PRICE_RAW_MAX) {")
    add("price: missing reference let through", POLICY, "} else if (reference == 0 && in->reference_required) {", "} else if (0) {")
    add("price: reference always required", POLICY, "reference == 0 && in->reference_required", "reference == 0")
    add("price: reference band off by one", POLICY, "away > lim->reference_band_mbps)", "away - 1 > lim->reference_band_mbps)")
    add("price: reference band at its limit refused", POLICY, "away > lim->reference_band_mbps)",
        "away >= lim->reference_band_mbps)")
    add("price: reference band inverted", POLICY, "away > lim->reference_band_mbps)", "away < lim->reference_band_mbps)")
    add("price: the book looked at before the reference", POLICY, "        if (reference < 0 || reference > CSTD_PRICE_RAW_MAX) {",
        "        if (mid2 && !crosses && value > limit) {\n            why = CSTD_WHY_OVER_LIMIT;\n        } else if (reference < 0 || reference > CSTD_PRICE_RAW_MAX) {")
    add("price: collar removed", POLICY, "why = value <= collar ? CSTD_WHY_PASSED : CSTD_WHY_COLLAR;", "why = CSTD_WHY_PASSED;")
    add("price: collar off by one", POLICY, "why = value <= collar ?", "why = value <= collar + 1 ?")
    add("price: collar at its limit refused", POLICY, "why = value <= collar ?", "why = value < collar ?")
    add("price: collar inverted", POLICY, "why = value <= collar ?", "why = value >= collar ?")
    add("price: collar loosened", POLICY, "why = value <= collar ?", "why = value / 2 <= collar ?")
    add("price: distance below a bid in 63 bits", POLICY, "cstd_mbps_up((cstd_u128)(bid - price), (cstd_u128)bid)",
        "(int64_t)((uint64_t)(bid - price) * CSTD_MBPS_PER_UNIT + (uint64_t)bid - 1) / bid")
    add("price: collar without its maximum", POLICY, "cstd_min64(c->input->collar_mbps, c->limits->collar_max_mbps)",
        "c->input->collar_mbps")
    add("price: negative collar", POLICY,
        "int64_t collar = cstd_max64(cstd_min64(c->input->collar_mbps, c->limits->collar_max_mbps), 0);",
        "int64_t collar = cstd_min64(c->input->collar_mbps, c->limits->collar_max_mbps);")
    add("price: wild bid let through", POLICY, "if (!why && bid > CSTD_PRICE_RAW_MAX) {", "if (0) {")
    add("price: missing bid as a price", POLICY, "in->book_verified && c->facts->bid != CSTD_NO_BID", "in->book_verified")
    add("price: an unverified book's bid", POLICY, "in->book_verified && c->facts->bid != CSTD_NO_BID",
        "c->facts->bid != CSTD_NO_BID")
    add("price: REST too early", POLICY, "in->unverified_for_ns > c->limits->rest_price_after_ns",
        "in->unverified_for_ns >= c->limits->rest_price_after_ns")
    add("price: REST beside a verified book", POLICY, "!in->book_verified && in->unverified_for_ns", "in->unverified_for_ns")
    add("price: old REST price", POLICY, "in->rest_age_ns <= c->limits->rest_age_max_ns", "in->rest_age_ns - 1 <= c->limits->rest_age_max_ns")
    add("price: REST age below 0 let through", POLICY, "in->rest_age_ns >= 0 && ", "")
    add("price: REST bid 0 or less let through", POLICY, "in->rest_bid_raw > 0 && ", "")

    # Gates 11 to 18.
    add("kill switch: removed", RISK, "cstd_risk_result(c, CSTD_GATE_KILL_SWITCH, why,",
        "cstd_risk_result(c, CSTD_GATE_KILL_SWITCH, CSTD_WHY_PASSED,")
    add("kill switch: latch removed", RISK, "if (in->kill_latched) {", "if (0) {")
    add("kill switch: latch inverted", RISK, "if (in->kill_latched) {", "if (!in->kill_latched) {")
    add("kill switch: paused let through", RISK, "{CSTD_WHY_PASSED, CSTD_WHY_PAUSED,", "{CSTD_WHY_PASSED, CSTD_WHY_PASSED,")
    add("kill switch: unknown state let through", RISK, ": CSTD_WHY_BAD_INPUT;\n    if (in->kill_latched)",
        ": CSTD_WHY_PASSED;\n    if (in->kill_latched)")
    add("kill switch: state off by one", RISK, "in->trading_state < (int)sizeof by_state", "in->trading_state < (int)sizeof by_state - 1")
    add("kill switch: level removed", RISK, "!why && c->limits->level_size_e4[level] <= 0 && !explained", "0")
    add("kill switch: not ready let through", RISK, "CSTD_WHY_PAUSED, CSTD_WHY_NOT_READY,", "CSTD_WHY_PAUSED, CSTD_WHY_PASSED,")
    add("kill switch: state wraps round its table", RISK, "known ? by_state[in->trading_state] : CSTD_WHY_BAD_INPUT",
        "by_state[(uint8_t)in->trading_state % sizeof by_state]")
    add("kill switch: level inverted", RISK, "c->limits->level_size_e4[level] <= 0", "c->limits->level_size_e4[level] > 0")
    add("kill switch: level off by one", RISK, "c->limits->level_size_e4[level] <= 0", "c->limits->level_size_e4[level] <= 1")
    add("kill switch: explained level refused twice", RISK, "<= 0 && !explained", "<= 0")
    add("kill switch: drawdown explains nothing", RISK, "(CSTD_POLICY_GATES + 2) & 3", "(CSTD_POLICY_GATES + 2) & 1")
    add("kill switch: unknown level is normal", RISK, "? CSTD_LEVEL_SHUTDOWN : input->level", "? CSTD_LEVEL_NORMAL : input->level")
    add("kill switch: level past the last let through", RISK, "input->level >= CSTD_LEVEL_COUNT ?", "input->level > CSTD_LEVEL_COUNT ?")
    add("data gap: removed", RISK, "cstd_risk_result(c, CSTD_GATE_DATA_GAP, why,",
        "cstd_risk_result(c, CSTD_GATE_DATA_GAP, CSTD_WHY_PASSED,")
    add("data gap: negative age let through", RISK, "in->evidence_age_ns < 0 || ", "")
    add("data gap: negative silence let through", RISK, "in->silent_for_ns < 0 || ", "")
    add("data gap: negative unverified time let through", RISK, " || in->unverified_for_ns < 0", "")
    add("data gap: venue removed", RISK, "} else if (!in->venue_online) {", "} else if (0) {")
    add("data gap: instrument removed", RISK, "} else if (!in->instrument_online) {", "} else if (0) {")
    add("data gap: private stream down let through", RISK, "!in->private_up || !in->private_ready", "!in->private_ready")
    add("data gap: private stream unready let through", RISK, "!in->private_up || !in->private_ready", "!in->private_up")
    add("data gap: conversion removed", RISK, "} else if (!in->conversion_ok) {", "} else if (0) {")
    add("data gap: conversion inverted", RISK, "} else if (!in->conversion_ok) {", "} else if (in->conversion_ok) {")
    add("data gap: clock off by one", RISK, "in->clock_offset_ns > lim->clock_offset_max_ns",
        "in->clock_offset_ns - 1 > lim->clock_offset_max_ns")
    add("data gap: fast clock inverted", RISK, "in->clock_offset_ns > lim->clock_offset_max_ns",
        "in->clock_offset_ns < lim->clock_offset_max_ns")
    add("data gap: fast clock loosened", RISK, "in->clock_offset_ns > lim->clock_offset_max_ns",
        "in->clock_offset_ns / 2 > lim->clock_offset_max_ns")
    add("data gap: the slowest clock's sign wraps", RISK, "in->clock_offset_ns < -lim->clock_offset_max_ns",
        "(int64_t)(0 - (uint64_t)in->clock_offset_ns) > lim->clock_offset_max_ns")
    add("data gap: slow clock let through", RISK, " || in->clock_offset_ns < -lim->clock_offset_max_ns", "")
    add("data gap: slow clock off by one", RISK, "in->clock_offset_ns < -lim->clock_offset_max_ns",
        "in->clock_offset_ns + 1 < -lim->clock_offset_max_ns")
    add("data gap: silence off by one", RISK, "in->silent_for_ns >= lim->silent_max_ns", "in->silent_for_ns > lim->silent_max_ns")
    add("data gap: silence loosened", RISK, "in->silent_for_ns >= lim->silent_max_ns", "in->silent_for_ns / 2 >= lim->silent_max_ns")
    add("data gap: silence in 32 bits", RISK, "in->silent_for_ns >= lim->silent_max_ns",
        "(int32_t)in->silent_for_ns >= lim->silent_max_ns")
    add("data gap: silence inverted", RISK, "in->silent_for_ns >= lim->silent_max_ns", "in->silent_for_ns < lim->silent_max_ns")
    add("data gap: evidence off by one", RISK, "in->evidence_age_ns > lim->evidence_age_max_ns",
        "in->evidence_age_ns - 1 > lim->evidence_age_max_ns")
    add("data gap: evidence inverted", RISK, "in->evidence_age_ns > lim->evidence_age_max_ns",
        "in->evidence_age_ns < lim->evidence_age_max_ns")
    add("data gap: evidence loosened", RISK, "in->evidence_age_ns > lim->evidence_age_max_ns",
        "in->evidence_age_ns / 2 > lim->evidence_age_max_ns")
    add("data gap: evidence at its limit refused", RISK, "in->evidence_age_ns > lim->evidence_age_max_ns",
        "in->evidence_age_ns >= lim->evidence_age_max_ns")
    add("data gap: unverified book let through", RISK, "} else if (!in->book_verified) {", "} else if (0) {")
    add("data gap: fault let through", RISK, "} else if (in->book_fault) {", "} else if (0) {")
    add("day loss: removed", RISK, "cstd_risk_result(c, CSTD_GATE_DAY_LOSS, why,",
        "cstd_risk_result(c, CSTD_GATE_DAY_LOSS, CSTD_WHY_PASSED,")
    add("day loss: off by one", RISK, "limit = c->limits->day_loss_bps[1];\n    int why = value < limit",
        "limit = c->limits->day_loss_bps[1];\n    int why = value <= limit")
    add("day loss: inverted", RISK, "limit = c->limits->day_loss_bps[1];\n    int why = value < limit",
        "limit = c->limits->day_loss_bps[1];\n    int why = value > limit")
    add("day loss: loosened to the next threshold", RISK, "limit = c->limits->day_loss_bps[1]", "limit = c->limits->day_loss_bps[2]")
    add("day loss: amount removed", RISK, "!why && c->input->day_loss_acct_raw >= c->limits->day_loss_max_acct_raw", "0")
    add("day loss: amount off by one", RISK, "c->input->day_loss_acct_raw >= c->limits", "c->input->day_loss_acct_raw > c->limits")
    add("day loss: amount inverted", RISK, "c->input->day_loss_acct_raw >= c->limits", "c->input->day_loss_acct_raw < c->limits")
    add("day loss: amount loosened", RISK, "c->input->day_loss_acct_raw >= c->limits", "c->input->day_loss_acct_raw / 2 >= c->limits")
    add("day loss: a sentinel read as no loss", RISK, "value = c->input->day_loss_bps,",
        "value = c->input->day_loss_bps == INT64_MAX ? 0 : c->input->day_loss_bps,")
    add("day loss: never computed let through", RISK, "if (value == INT64_MIN || c->input->day_loss_acct_raw == INT64_MIN) {", "if (0) {")
    add("day loss: amount never computed let through", RISK, " || c->input->day_loss_acct_raw == INT64_MIN) {", ") {")
    add("day loss: in 32 bits", RISK, "value = c->input->day_loss_bps,", "value = (int32_t)c->input->day_loss_bps,")
    add("day loss: amount in 32 bits", RISK, "c->input->day_loss_acct_raw >= c->limits", "(int32_t)c->input->day_loss_acct_raw >= c->limits")
    add("drawdown: removed", RISK, "cstd_risk_result(c, CSTD_GATE_DRAWDOWN, why,",
        "cstd_risk_result(c, CSTD_GATE_DRAWDOWN, CSTD_WHY_PASSED,")
    add("drawdown: off by one", RISK, "limit = c->limits->drawdown_bps[1];\n    int why = value < limit",
        "limit = c->limits->drawdown_bps[1];\n    int why = value <= limit")
    add("drawdown: inverted", RISK, "limit = c->limits->drawdown_bps[1];\n    int why = value < limit",
        "limit = c->limits->drawdown_bps[1];\n    int why = value > limit")
    add("drawdown: loosened to the next threshold", RISK, "limit = c->limits->drawdown_bps[1]", "limit = c->limits->drawdown_bps[2]")
    add("drawdown: a sentinel read as none", RISK, "value = c->input->drawdown_bps,",
        "value = c->input->drawdown_bps == INT64_MAX ? 0 : c->input->drawdown_bps,")
    add("drawdown: above its peak let through", RISK, "    if (value < 0) {", "    if (0) {")
    add("drawdown: at its peak refused", RISK, "    if (value < 0) {", "    if (value <= 0) {")
    add("drawdown: in 32 bits", RISK, "value = c->input->drawdown_bps,", "value = (int32_t)c->input->drawdown_bps,")
    add("position count: removed", RISK, "cstd_risk_result(c, CSTD_GATE_POSITION_COUNT, why,",
        "cstd_risk_result(c, CSTD_GATE_POSITION_COUNT, CSTD_WHY_PASSED,")
    add("position count: off by one", RISK, "value <= c->limits->positions_max ?", "value <= c->limits->positions_max + 1 ?")
    add("position count: inverted", RISK, "value <= c->limits->positions_max ?", "value >= c->limits->positions_max ?")
    add("position count: loosened", RISK, "value <= c->limits->positions_max ?", "value / 2 <= c->limits->positions_max ?")
    add("position count: this one left out", RISK, "cstd_add_saturated(in->positions_count, adds)", "in->positions_count")
    add("position count: adding to one counts", RISK, " && !in->instrument_has_position;", ";")
    add("position count: wraps", RISK, "cstd_add_saturated(in->positions_count, adds)",
        "(int64_t)((uint64_t)in->positions_count + (uint64_t)adds)")
    add("position count: negative let through", RISK, "if (in->positions_count < 0) {", "if (0) {")
    add("shares: removed", RISK, "} else if (!why && value > limit) {", "} else if (0) {")
    add("shares: off by one", RISK, "} else if (!why && value > limit) {", "} else if (!why && value - 1 > limit) {")
    add("shares: at their limit refused", RISK, "} else if (!why && value > limit) {", "} else if (!why && value >= limit) {")
    add("shares: inverted", RISK, "} else if (!why && value > limit) {", "} else if (!why && value < limit) {")
    add("shares: negative exposure let through", RISK, "if (!why && standing < 0) {", "if (0) {")
    add("shares: unknown notional let through", RISK, "refused_why ? refused_why : c->facts->money_why", "refused_why")
    add("shares: this order left out", RISK, "? c->facts->notional : 0; /* an exit adds nothing */", "? 0 : 0;")
    add("shares: exits add", RISK, "c->input->kind == CSTD_OPENING ? c->facts->notional : 0;", "c->facts->notional;")
    add("shares: sum wraps", RISK, "cstd_add_saturated(standing, adds)", "(int64_t)((uint64_t)standing + (uint64_t)adds)")
    add("shares: cap off by one", RISK, "return cstd_max64(limit - cstd_max64(standing, 0), 0);",
        "return cstd_max64(limit - cstd_max64(standing, 0), 0) + 1;")
    found += _shares_of("TOTAL_EXPOSURE") + _shares_of("POSITION_SIZE") + _shares_of("CORRELATION")
    add("total exposure: what stands is lost", RISK, "cstd_gate_share(c, CSTD_GATE_TOTAL_EXPOSURE, standing,",
        "cstd_gate_share(c, CSTD_GATE_TOTAL_EXPOSURE, INT64_MIN / 2,")
    add("total exposure: another limit", RISK, "max_bps = c->limits->exposure_max_bps;", "max_bps = c->limits->cluster_max_bps;")
    add("total exposure: loosened", RISK, "max_bps = c->limits->exposure_max_bps;", "max_bps = c->limits->exposure_max_bps + 1;")
    add("position size: another exposure", RISK, "standing = c->input->asset_exposure_acct_raw", "standing = c->input->cluster_exposure_acct_raw")
    add("position size: loosened", RISK, "max_bps = c->limits->position_max_bps;", "max_bps = c->limits->position_max_bps + 1;")
    add("position size: shorts let through", RISK, "!= CSTD_BUY ? CSTD_WHY_LONG_ONLY : 0;", "!= CSTD_BUY ? 0 : 0;")
    add("position size: shorts inverted", RISK, "c->input->side != CSTD_BUY ?", "c->input->side == CSTD_BUY ?")
    add("correlation: another exposure", RISK, "standing = c->input->cluster_exposure_acct_raw", "standing = c->input->exposure_acct_raw")
    add("correlation: loosened", RISK, "max_bps = c->limits->cluster_max_bps;", "max_bps = c->limits->cluster_max_bps + 1;")
    return found


def _shared() -> list[Mutant]:
    """Faults in what several gates rest on: facts, arithmetic, verdict."""
    found: list[Mutant] = []

    def add(name: str, header: str, text: str, instead: str) -> None:
        found.append(Mutant(name, header, text, instead))

    add("facts: price 0 is sane", FACTS, "return price_raw > 0 && price_raw", "return price_raw >= 0 && price_raw")
    add("facts: price domain off by one", FACTS, "price_raw <= CSTD_PRICE_RAW_MAX;", "price_raw <= CSTD_PRICE_RAW_MAX + 1;")
    add("facts: sentinel of an ask is sane", FACTS, " && price_raw <= CSTD_PRICE_RAW_MAX;", ";")
    add("facts: quantity 0 is sane", FACTS, "input->qty_raw > 0 && input->qty_raw <= CSTD_QTY_RAW_MAX",
        "input->qty_raw >= 0 && input->qty_raw <= CSTD_QTY_RAW_MAX")
    add("facts: quantity domain off by one", FACTS, "input->qty_raw <= CSTD_QTY_RAW_MAX", "input->qty_raw <= CSTD_QTY_RAW_MAX + 1")
    add("facts: a locked book has a mid", FACTS, "facts->bid < facts->ask;", "facts->bid <= facts->ask;")
    add("facts: a missing side has a mid", FACTS, "int ok = cstd_price_sane(facts->bid) && cstd_price_sane(facts->ask) && ",
        "int ok = cstd_price_sane(facts->bid) && ")
    add("facts: our own orders are others'", FACTS, "return level->qty_raw - level->own_qty_raw;", "return level->qty_raw;")
    add("facts: exit side inverted", FACTS, "(input->kind == CSTD_OPENING) == (input->side == CSTD_BUY)",
        "(input->kind == CSTD_OPENING) != (input->side == CSTD_BUY)")
    add("facts: rate 0 let through", FACTS, "!facts->sane || rate <= 0 ||", "!facts->sane || rate < 0 ||")
    add("facts: negative haircut let through", FACTS, "haircut < 0 || haircut > CSTD_BPS_PER_UNIT",
        "haircut < -CSTD_BPS_PER_UNIT || haircut > CSTD_BPS_PER_UNIT")
    add("facts: haircut domain off by one", FACTS, "haircut > CSTD_BPS_PER_UNIT)", "haircut >= CSTD_BPS_PER_UNIT)")
    add("facts: rate domain removed", FACTS, "rate > (1LL << 61) || (scale >> 64) != 0", "(scale >> 64) != 0")
    add("facts: rate domain off by one", FACTS, "rate > (1LL << 61)", "rate >= (1LL << 61)")
    add("facts: scale overflow let through", FACTS, "rate > (1LL << 61) || (scale >> 64) != 0", "rate > (1LL << 61)")
    add("facts: overflow of the notional let through", FACTS, """    if (cstd_mul_overflows(quote, facts->rate_up, &product)) {
        return;
    }""", "    cstd_mul_overflows(quote, facts->rate_up, &product);")
    add("facts: notional of 64 bits let through", FACTS, """    if (product >= INT64_MAX) {
        return;
    }""", "")
    add("facts: notional at the largest int64", FACTS, "if (product >= INT64_MAX) {", "if (product > INT64_MAX) {")
    add("facts: notional rounded down", FACTS, "    product += rest != 0;\n", "")
    add("facts: haircut for us", FACTS, "(uint64_t)(CSTD_BPS_PER_UNIT + haircut)", "(uint64_t)(CSTD_BPS_PER_UNIT - haircut)")
    add("facts: rate rounded for us", FACTS, "facts->rate_up = (uint64_t)cstd_div_up(dearer", "facts->rate_up = (uint64_t)cstd_div_down(dearer")
    add("facts: depth without haircut", FACTS, "(cstd_u128)rate * (uint64_t)(CSTD_BPS_PER_UNIT - haircut)",
        "(cstd_u128)rate * (uint64_t)(CSTD_BPS_PER_UNIT)")
    add("facts: overflow of the depth let through", FACTS, "if (bad || cstd_mul_overflows(value, facts->rate_down, &product)) {",
        "if (cstd_mul_overflows(value, facts->rate_down, &product), bad) {")
    add("facts: wild levels let through", FACTS, "if (bad || cstd_mul_overflows(value, facts->rate_down, &product)) {",
        "if (cstd_mul_overflows(value, facts->rate_down, &product)) {")
    add("facts: wild price in the walk let through", FACTS, "if (!cstd_price_sane(side->level[i].price_raw)) {", "if (0) {")
    add("facts: wide sums in 64 bits", FACTS, "cstd_bit_length(side->end) > 64, 0)", "cstd_bit_length(side->end) > 164, 0)")
    add("facts: band edge rounded outwards", FACTS, "(sells ? cstd_div_up(product, halves)", "(sells ? cstd_div_down(product, halves)")
    add("facts: band edge of asks rounded outwards", FACTS, ": cstd_div_down(product, halves));", ": cstd_div_up(product, halves));")
    add("facts: band of the whole side", FACTS, "if (sells ? price < edge : price > edge) {", "if (0) {")
    add("facts: depth at the edge left out", FACTS, "if (sells ? price < edge : price > edge) {", "if (sells ? price <= edge : price >= edge) {")
    add("facts: whole side off by one", FACTS, "worst->price_raw >= edge : worst", "worst->price_raw + 1 >= edge : worst")
    add("facts: our own depth counts", FACTS, "!*bad && !side->own_marked && (", "!*bad && (")
    add("facts: walk ends early", FACTS, "visible >= qty)", "visible + 1 >= qty)")
    add("facts: shortfall of the last level left out", FACTS, "shortfall2 += (cstd_u128)(uint64_t)away2 * (uint64_t)take;\n        left -= take;",
        "left -= take;\n        shortfall2 += left ? (cstd_u128)(uint64_t)away2 * (uint64_t)take : 0;")
    add("facts: thin book not seen", FACTS, "facts->thin = left > 0;", "facts->thin = 0;")
    add("facts: walk's cap off by one", FACTS, "return taken + (int64_t)(-over / each);", "return taken + (int64_t)(-over / each) + 1;")
    add("facts: affordable rounded up", FACTS, "cstd_saturate_u(cstd_div_down(money, (cstd_u128)price_raw * facts->rate_up))",
        "cstd_saturate_u(cstd_div_up(money, (cstd_u128)price_raw * facts->rate_up))")
    add("facts: negative cap wraps", FACTS, "(cstd_u128)(uint64_t)cstd_max64(cap_acct_raw, 0) * facts->scale",
        "(cstd_u128)(uint64_t)cap_acct_raw * facts->scale")
    add("arithmetic: minimum cost off by one", MATH, "cost_overflows || cost >= least", "cost_overflows || cost > least")
    add("arithmetic: overflowing minimum let through", MATH, "return !least_overflows && (", "return (")
    add("arithmetic: overflowing cost refused", MATH, "(cost_overflows || cost >= least)", "(!cost_overflows && cost >= least)")
    add("arithmetic: saturation wraps", MATH, "return value > INT64_MAX ? INT64_MAX : (int64_t)value;", "return (int64_t)value;")
    add("arithmetic: rounded down", MATH, "return quotient + (quotient * denominator != numerator);", "return quotient;")
    add("arithmetic: part of a whole rounded down", MATH, "(int64_t)(quotient + (remainder != 0))", "(int64_t)quotient")
    add("arithmetic: estimate not corrected", MATH, "while (remainder >= whole.divisor) {", "if (remainder >= 2 * whole.divisor) {")
    add("arithmetic: large part in 64 bits", MATH, "if (__builtin_expect((part >> 39) != 0, 0)) {", "if (0) {")
    add("arithmetic: a quotient of 64 bits turns negative", MATH, "(part >> 39) != 0", "(part >> 40) != 0")
    add("arithmetic: overflow of the high half let through", MATH, "return (high >> 63) != 0 || (*out >> 127) != 0;",
        "return (*out >> 127) != 0;")
    add("arithmetic: overflow at 127 bits let through", MATH, "return (high >> 63) != 0 || (*out >> 127) != 0;",
        "return (high >> 64) != 0;")
    add("arithmetic: share of a negative amount", MATH, "if (amount <= 0 || bps <= 0) {", "if (bps <= 0) {")
    add("arithmetic: share in 64 bits", MATH, "if (__builtin_expect(__builtin_mul_overflow((uint64_t)amount, (uint64_t)bps, &product), 0)) {",
        "product = (uint64_t)amount * (uint64_t)bps;\n    if (0) {")
    add("arithmetic: share reaches the largest int64", MATH, "wide >= INT64_MAX ? INT64_MAX - 1 :", "wide >= INT64_MAX ? INT64_MAX :")
    add("arithmetic: sum saturates the wrong way", MATH, "return b > 0 ? INT64_MAX : INT64_MIN;", "return b > 0 ? INT64_MIN : INT64_MAX;")
    add("arithmetic: division by a power of ten not corrected", MATH, "    if (remainder > (uint64_t)estimate) {", "    if (0) {")
    add("arithmetic: any scale is a power of ten", MATH, "cstd_powers_of_ten[k].power != scale || ", "")

    add("verdict: grace covers everything", VERDICT, "return mask | (from_book ? CSTD_BIT(CSTD_GATE_PRICE) : 0);", "return CSTD_ALL_GATES;")
    add("verdict: grace covers every price", VERDICT, "(from_book ? CSTD_BIT(CSTD_GATE_PRICE) : 0)", "CSTD_BIT(CSTD_GATE_PRICE)")
    add("verdict: grace off by one", VERDICT, "in->unverified_for_ns <= lim->unverified_grace_ns", "in->unverified_for_ns - 1 <= lim->unverified_grace_ns")
    add("verdict: grace for fresh orders", VERDICT, "    if (in->rejudge) {\n        may &=", "    if (1) {\n        may &=")
    add("verdict: grace for any gap", VERDICT, "cstd_why(row, CSTD_GATE_DATA_GAP) == CSTD_WHY_BOOK_UNVERIFIED &&", "")
    add("verdict: risk gates refuse exits", VERDICT, "may = CSTD_BIT(CSTD_GATE_TIME_IN_FORCE) | CSTD_BIT(CSTD_GATE_PRICE);",
        "may = CSTD_BIT(CSTD_GATE_TIME_IN_FORCE) | CSTD_BIT(CSTD_GATE_PRICE) | CSTD_BIT(CSTD_GATE_KILL_SWITCH);")
    add("verdict: an exit's price is recorded only", VERDICT, "may = CSTD_BIT(CSTD_GATE_TIME_IN_FORCE) | CSTD_BIT(CSTD_GATE_PRICE);",
        "may = CSTD_BIT(CSTD_GATE_TIME_IN_FORCE);")
    add("verdict: an exit's id is recorded only", VERDICT, "== CSTD_WHY_ID_SEEN ? CSTD_BIT(CSTD_GATE_IDEMPOTENCY) : 0;", "== CSTD_WHY_ID_SEEN ? 0 : 0;")
    add("verdict: a switched-off instrument's resting order stays", VERDICT,
        "if (cstd_why(row, CSTD_GATE_IDEMPOTENCY) != CSTD_WHY_LOSING_STREAK) {", "if (1) {")
    add("verdict: hard failures reduce", VERDICT, "if (refusing & ~reducing) {", "if (0) {")
    add("verdict: share of the request removed", VERDICT, "if (!enough || !cstd_sendable(in, qty)) {", "if (!cstd_sendable(in, qty)) {")
    add("verdict: share of the request off by one", VERDICT, "(cstd_u128)(uint64_t)qty * CSTD_BPS_PER_UNIT >= least", "(cstd_u128)(uint64_t)qty * CSTD_BPS_PER_UNIT > least")
    add("verdict: unsendable sizes go out", VERDICT, "if (!enough || !cstd_sendable(in, qty)) {", "if (!enough) {")
    add("verdict: minimum quantity off by one", VERDICT, "qty_raw >= in->qty_min_raw &&", "qty_raw > in->qty_min_raw &&")
    add("verdict: not rounded to the lot", VERDICT, "return qty - qty % c->input->lot_raw;", "return qty;")
    add("verdict: largest cap", VERDICT, "caps[i].cap < money) {", "(money == CSTD_NO_CAP || caps[i].cap > money)) {")
    add("verdict: caps of gates that passed", VERDICT, "if ((mask & CSTD_BIT(caps[i].gate)) && ", "if (")
    add("verdict: level's size removed", VERDICT, "    if (f->cap_level_qty < qty) {", "    if (0) {")
    add("verdict: approved above the level's size", VERDICT, "if (refusing == 0 && c->facts->cap_level_qty >= in->qty_raw) {", "if (refusing == 0) {")
    add("verdict: level's size shaved at each pass", VERDICT, "(in->rejudge ? 0 : in->qty_raw)", "in->qty_raw")
    add("verdict: managed bound removed", VERDICT, "if (in->qty_raw <= in->managed_free_qty_raw) {", "if (1) {")
    add("verdict: managed bound off by one", VERDICT, "if (in->qty_raw <= in->managed_free_qty_raw) {", "if (in->qty_raw <= in->managed_free_qty_raw + 1) {")
    add("verdict: negative managed quantity", VERDICT, "cstd_max64(in->managed_free_qty_raw, 0)", "(int64_t)(uint32_t)in->managed_free_qty_raw")
    add("verdict: exits that buy", VERDICT, "in->kind != CSTD_EXIT || in->side != CSTD_SELL", "in->kind != CSTD_EXIT")
    add("verdict: unknown kinds sell", VERDICT, "in->kind != CSTD_EXIT || in->side != CSTD_SELL", "in->side != CSTD_SELL")
    add("verdict: exit not rounded to the lot", VERDICT, "    free_qty -= free_qty % in->lot_raw;\n", "")
    add("verdict: unsendable exits go out", VERDICT, "if (!cstd_sendable(in, free_qty)) {", "if (0) {")
    add("verdict: wish forgotten at the second pass", VERDICT, "        input->qty_wanted_raw = requested;\n", "")
    add("verdict: a reduction not judged again", VERDICT, "    if (verdict != CSTD_REDUCE) {\n        return verdict;\n    }",
        "    if (verdict != CSTD_REDUCE || 1) {\n        return verdict;\n    }")
    return found


MUTANTS: list[Mutant] = [*_mutants(), *_shared()]
