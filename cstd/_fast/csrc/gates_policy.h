/* Execution policy, gates 1-7 (systems 8). Each function judges one gate and writes its value, limit and reason.
 *
 * Where a gate has several conditions, those that no smaller quantity can help come first, and value and limit are
 * those of the condition that failed; a gate that passed shows its main one. */
#ifndef CSTD_GATES_POLICY_H
#define CSTD_GATES_POLICY_H
#include "gates_facts.h"

typedef struct {
    const cstd_gate_input *input;
    const cstd_limits *limits;
    cstd_facts *facts;
    cstd_decision_row *row;
} cstd_case;

static inline void cstd_policy_result(const cstd_case *c, int gate, int why, int64_t value, int64_t limit) {
    c->row->policy_value[gate - 1] = value;
    c->row->policy_limit[gate - 1] = limit;
    c->row->reason[gate - 1] = (int8_t)why;
    c->facts->failed |= (unsigned)(why != CSTD_WHY_PASSED) << (gate - 1);
}

/* Gate 1, idempotency and churn.
 * Reads: id_seen, same_unknown, dedupe_hit, instrument_off, losing_round_trips, parents_*, turnover_day_acct_raw.
 * Passes when: the id is new, its intent is not UNKNOWN, no parent of the same key stands in the window, the
 * instrument is on, and this parent keeps every count and the day's turnover within its maximum.
 * Limit: policy.* (6 an hour, 30 a minute, 2 × equity a day, 4 losing round trips): a loop that repeats itself is the
 * commonest way an algorithm loses money fast. On fail: refuse. A re-judged order's own id is known by definition. */
static inline void cstd_gate_idempotency(const cstd_case *c) {
    const cstd_gate_input *in = c->input;
    const cstd_limits *lim = c->limits;
    int64_t turnover = cstd_add_saturated(in->turnover_day_acct_raw, c->facts->notional);
    int64_t turnover_max = cstd_bps_of(in->equity_acct_raw, lim->turnover_day_max_bps);
    int64_t value = cstd_add_saturated(in->parents_instrument_hour, 1), limit = lim->parents_instrument_hour_max;
    int why = CSTD_WHY_PASSED;
    c->facts->cap_turnover = cstd_sub_saturated(turnover_max, in->turnover_day_acct_raw);
    if (in->id_seen && !in->rejudge) {
        why = CSTD_WHY_ID_SEEN;
    } else if (in->instrument_off || in->losing_round_trips >= lim->losing_round_trips_max) {
        why = CSTD_WHY_LOSING_STREAK, value = in->losing_round_trips, limit = lim->losing_round_trips_max;
    } else if (in->same_unknown) {
        why = CSTD_WHY_UNKNOWN_PENDING;
    } else if (in->dedupe_hit) {
        why = CSTD_WHY_DUPLICATE;
    } else if (in->parents_instrument_hour < 0 || in->parents_minute < 0 || in->losing_round_trips < 0 ||
               in->turnover_day_acct_raw < 0) {
        why = CSTD_WHY_BAD_INPUT;
    } else if (in->parents_instrument_hour >= lim->parents_instrument_hour_max) {
        why = CSTD_WHY_INSTRUMENT_RATE;
    } else if (in->parents_minute >= lim->parents_minute_max) {
        why = CSTD_WHY_MINUTE_RATE;
        value = cstd_add_saturated(in->parents_minute, 1), limit = lim->parents_minute_max;
    } else if (c->facts->money_why) {
        why = c->facts->money_why;
    } else if (turnover > turnover_max) {
        why = CSTD_WHY_TURNOVER, value = turnover, limit = turnover_max;
    }
    cstd_policy_result(c, CSTD_GATE_IDEMPOTENCY, why, value, limit);
}

/* Gate 2, spread.
 * Reads: best bid and ask of others. Passes when: (ask - bid) / mid <= spread_max_mbps.
 * Limit: policy.spread_bps_max, 45: beyond it mid is no price and every other estimate is off. From twice the
 * depth band, or twice what gate 5 leaves a walk, gates 3 and 5 would refuse all that this one does. On fail: refuse. */
static inline void cstd_gate_spread(const cstd_case *c) {
    int64_t mid2 = c->facts->mid2, value = INT64_MAX;
    int why = CSTD_WHY_NO_BOOK;
    if (mid2) {
        value = cstd_mbps_of_whole(2 * (uint64_t)(c->facts->ask - c->facts->bid), c->facts->mid);
        why = value <= c->limits->spread_max_mbps ? CSTD_WHY_PASSED : CSTD_WHY_OVER_LIMIT;
    }
    cstd_policy_result(c, CSTD_GATE_SPREAD, why, value, c->limits->spread_max_mbps);
}

/* Gate 3, depth.
 * Reads: visible value of the exit side within depth_band_mbps of mid, the notional.
 * Passes when: depth >= max(depth_min_acct_raw, depth_multiple_e2 / 100 × notional).
 * Limit: policy.depth_*, 10,000 and 5 ×: what was bought must be sellable. On fail: below the floor refuse, below the
 * multiple reduce. */
static inline void cstd_gate_depth(const cstd_case *c) {
    const cstd_facts *facts = c->facts;
    const cstd_limits *lim = c->limits;
    cstd_u128 multiple = (cstd_u128)(uint64_t)cstd_max64(lim->depth_multiple_e2, 0);
    cstd_u128 needed = multiple * (uint64_t)facts->notional;
    int64_t limit = cstd_max64(lim->depth_min_acct_raw, cstd_saturate_u(cstd_div_up(needed, 100)));
    int why = facts->book_why ? facts->book_why : facts->money_why;
    c->facts->cap_depth = CSTD_NO_CAP;
    if (multiple > 0 && facts->depth * (cstd_u128)100 < needed) {
        c->facts->cap_depth = cstd_saturate_u(cstd_div_down((cstd_u128)facts->depth * 100, multiple));
    }
    if (!why && facts->depth < lim->depth_min_acct_raw) {
        why = CSTD_WHY_DEPTH_FLOOR;
    } else if (!why && (cstd_u128)facts->depth * 100 < needed) {
        why = CSTD_WHY_OVER_LIMIT;
    }
    cstd_policy_result(c, CSTD_GATE_DEPTH, why, facts->depth, limit);
}

/* Gate 4, volume.
 * Reads: volume_hour_acct_raw (traded value of the last hour), volume_ready, the notional.
 * Passes when: volume >= volume_hour_min_acct_raw and notional <= volume_share_max_bps of the mean minute.
 * Limit: policy.volume_*, 100,000 and 10 %: an order that is much of the tape moves it. On fail: refuse. */
static inline void cstd_gate_volume(const cstd_case *c) {
    const cstd_gate_input *in = c->input;
    const cstd_limits *lim = c->limits;
    const cstd_u128 minutes = 60 * CSTD_BPS_PER_UNIT;
    uint64_t hour = (uint64_t)cstd_max64(in->volume_hour_acct_raw, 0);
    cstd_u128 share = (cstd_u128)(uint64_t)cstd_max64(lim->volume_share_max_bps, 0) * hour;
    int64_t value = in->volume_hour_acct_raw, limit = lim->volume_hour_min_acct_raw;
    int why = CSTD_WHY_PASSED;
    c->facts->cap_share = cstd_saturate_u(cstd_div_down(share, minutes));
    if (in->volume_hour_acct_raw < 0) {
        why = CSTD_WHY_BAD_INPUT;
    } else if (!in->volume_ready) {
        why = CSTD_WHY_WARMING_UP;
    } else if (in->volume_hour_acct_raw < lim->volume_hour_min_acct_raw) {
        why = CSTD_WHY_OVER_LIMIT;
    } else if (c->facts->money_why) {
        why = c->facts->money_why;
    } else if (c->facts->notional > c->facts->cap_share) {
        why = CSTD_WHY_ORDER_SHARE, value = c->facts->notional, limit = c->facts->cap_share;
    }
    cstd_policy_result(c, CSTD_GATE_VOLUME, why, value, limit);
}

/* Gate 5, slippage budget.
 * Reads: the walk of the exit side for this quantity, markout_allowance_mbps, slippage_*.
 * Passes when: exit cost + allowance <= exit_cost_max_mbps, slippage paid today <= slippage_day_max_mbps of the day's
 * starting equity, and realised P95 <= slippage_p95_max_mbps once there are slippage_p95_fills_min fills.
 * Limit: policy.slippage_*, 25 / 20 / 30 bps. On fail: refuse. */
static inline void cstd_gate_slippage(const cstd_case *c) {
    const cstd_gate_input *in = c->input;
    const cstd_limits *lim = c->limits;
    cstd_facts *facts = c->facts;
    int64_t budget = cstd_sub_saturated(cstd_min64(lim->exit_cost_max_mbps, 1LL << 24), in->markout_allowance_mbps);
    int64_t value = cstd_add_saturated(facts->exit_cost_mbps, cstd_max64(in->markout_allowance_mbps, 0));
    int64_t limit = lim->exit_cost_max_mbps;
    int64_t paid = in->slippage_day_acct_raw, equity = in->day_start_equity_acct_raw;
    int realised = in->slippage_fills >= lim->slippage_p95_fills_min;
    int why = CSTD_WHY_PASSED;
    facts->cap_slippage_qty = CSTD_NO_CAP;
    if (equity <= 0 || in->markout_allowance_mbps < 0 || in->slippage_fills < 0 || !facts->sane) {
        why = CSTD_WHY_BAD_INPUT;
    } else if (facts->book_why) {
        why = facts->book_why;
    } else if ((cstd_i128)paid * CSTD_MBPS_PER_UNIT > (cstd_i128)lim->slippage_day_max_mbps * equity) {
        why = CSTD_WHY_SLIPPAGE_DAY, limit = lim->slippage_day_max_mbps;
        value = cstd_mbps_up((cstd_u128)cstd_max64(paid, 0), (cstd_u128)equity);
    } else if (realised && in->slippage_p95_mbps > lim->slippage_p95_max_mbps) {
        why = CSTD_WHY_SLIPPAGE_P95, value = in->slippage_p95_mbps, limit = lim->slippage_p95_max_mbps;
    } else if (facts->thin || facts->exit_cost_mbps > budget) {
        int sells = cstd_exit_sells(in);
        const cstd_side *side = sells ? in->bids : in->asks;
        why = facts->thin ? CSTD_WHY_BOOK_TOO_THIN : CSTD_WHY_OVER_LIMIT;
        facts->cap_slippage_qty = budget < 0 ? 0 : cstd_walk_cap(side, sells, facts->mid2, budget, in->qty_raw);
    }
    cstd_policy_result(c, CSTD_GATE_SLIPPAGE, why, value, limit);
}

/* Gate 6, time in force.
 * Reads: post_only, time_in_force, deadline_ns, lifetime_ns.
 * Passes when: an opening is post-only and GTD with 0 < lifetime <= lifetime_max_ns; an exit is IOC, or GTD; either
 * carries a deadline of deadline_min_ns..deadline_max_ns for acceptance by the matching engine.
 * Limit: policy.deadline_*, 1-2 s: an order held up longer was decided on another market. On fail: refuse. */
static inline void cstd_gate_time_in_force(const cstd_case *c) {
    const cstd_gate_input *in = c->input;
    const cstd_limits *lim = c->limits;
    int opening = in->kind == CSTD_OPENING, gtd = in->time_in_force == CSTD_GTD;
    int64_t value = in->deadline_ns, limit = lim->deadline_max_ns;
    int why = CSTD_WHY_PASSED;
    if (opening && !in->post_only) {
        why = CSTD_WHY_NOT_POST_ONLY;
    } else if (!gtd && (in->time_in_force != CSTD_IOC || in->post_only)) { /* an opening is post-only here */
        why = CSTD_WHY_WRONG_TIF;
    } else if (in->deadline_ns < lim->deadline_min_ns || in->deadline_ns > lim->deadline_max_ns) {
        why = CSTD_WHY_DEADLINE;
    } else if (gtd && (in->lifetime_ns <= 0 || in->lifetime_ns > lim->lifetime_max_ns)) {
        why = CSTD_WHY_LIFETIME, value = in->lifetime_ns, limit = lim->lifetime_max_ns;
    }
    cstd_policy_result(c, CSTD_GATE_TIME_IN_FORCE, why, value, limit);
}

/* What the venue itself would not take, for openings and exits alike. */
static inline int cstd_venue_refuses(const cstd_case *c) {
    const cstd_gate_input *in = c->input;
    if (!c->facts->sane) {
        return CSTD_WHY_BAD_INPUT;
    }
    if (in->tick_raw != 1 && in->price_raw % in->tick_raw) {
        return CSTD_WHY_OFF_TICK;
    }
    if (in->lot_raw != 1 && in->qty_raw % in->lot_raw) {
        return CSTD_WHY_OFF_LOT;
    }
    /* What is left of a resting order may be small: the venue's minimum is asked when it arrives. */
    if (!in->rejudge && (in->qty_raw < in->qty_min_raw || !cstd_cost_reaches_minimum(in, in->qty_raw))) {
        return CSTD_WHY_BELOW_MINIMUM;
    }
    return CSTD_WHY_PASSED;
}

/* The bid an exit's collar is measured from; 0 or less = none, because every price is above it. A verified book; for a short
 * while the last bid it had; after that a fresh REST snapshot, and without one the last verified bid again (systems 7.4, 8
 * gate 7). */
static inline int64_t cstd_collar_reference(const cstd_case *c) {
    const cstd_gate_input *in = c->input;
    if (in->book_verified && c->facts->bid != CSTD_NO_BID) {
        return c->facts->bid;
    }
    int rest_counts = !in->book_verified && in->unverified_for_ns > c->limits->rest_price_after_ns;
    if (rest_counts && in->rest_bid_raw > 0 && in->rest_age_ns >= 0 && in->rest_age_ns <= c->limits->rest_age_max_ns) {
        return in->rest_bid_raw;
    }
    return in->last_verified_bid_raw;
}

/* An exit's half of gate 7: not further below the reference bid than its collar. No reference = pass. */
static inline void cstd_gate_price_exit(const cstd_case *c) {
    int64_t bid = cstd_collar_reference(c), price = c->input->price_raw, value = 0;
    int64_t collar = cstd_max64(cstd_min64(c->input->collar_mbps, c->limits->collar_max_mbps), 0);
    int why = cstd_venue_refuses(c);
    if (!why && bid > CSTD_PRICE_RAW_MAX) {
        why = CSTD_WHY_OVERFLOW;
    } else if (!why && price < bid) {
        value = cstd_mbps_up((cstd_u128)(bid - price), (cstd_u128)bid);
        why = value <= collar ? CSTD_WHY_PASSED : CSTD_WHY_COLLAR;
    }
    cstd_policy_result(c, CSTD_GATE_PRICE, why, value, collar);
}

static inline int64_t cstd_distance_mbps(int64_t price2, cstd_whole from2) {
    int64_t away = price2 - (int64_t)from2.divisor;
    return cstd_mbps_of_whole((uint64_t)(away < 0 ? -away : away), from2);
}

/* Gate 7, price.
 * Reads: price_raw, qty_raw, tick, lot, the venue's minimum, best prices, reference_price_raw.
 * Passes when: the venue would take it, it does not cross (our own orders included), and it lies within
 * price_band_mbps of mid and reference_band_mbps of the reference price where one is configured. An exit: within its
 * collar below the best bid.
 * Limit: policy.price_band_bps_max, 100: further away is a mistake, not a price. On fail: refuse. */
static inline void cstd_gate_price(const cstd_case *c) {
    const cstd_gate_input *in = c->input;
    const cstd_limits *lim = c->limits;
    int64_t mid2 = c->facts->mid2, reference = in->reference_price_raw;
    int64_t value = INT64_MAX, limit = lim->price_band_mbps;
    int why = cstd_venue_refuses(c);
    if (!why) {
        int crosses = in->side == CSTD_BUY ? in->price_raw >= c->facts->top_ask : in->price_raw <= c->facts->top_bid;
        int64_t away = reference > 0 && reference <= CSTD_PRICE_RAW_MAX
                           ? cstd_distance_mbps(in->price_raw, cstd_whole_of((uint64_t)reference)) : 0;
        value = mid2 ? cstd_distance_mbps(2 * in->price_raw, c->facts->mid) : INT64_MAX;
        /* What is not of the book comes first: the grace for an unverified book covers what follows it (gates.h). */
        if (reference < 0 || reference > CSTD_PRICE_RAW_MAX) {
            why = CSTD_WHY_BAD_INPUT;
        } else if (reference == 0 && in->reference_required) {
            why = CSTD_WHY_NO_REFERENCE;
        } else if (away > lim->reference_band_mbps) {
            why = CSTD_WHY_REFERENCE, value = away, limit = lim->reference_band_mbps;
        } else if (mid2 == 0) {
            why = CSTD_WHY_NO_BOOK;
        } else if (crosses) {
            why = CSTD_WHY_CROSSING;
        } else if (value > limit) {
            why = CSTD_WHY_OVER_LIMIT;
        }
    }
    cstd_policy_result(c, CSTD_GATE_PRICE, why, value, limit);
}
#endif
