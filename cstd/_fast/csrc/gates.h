/* The fifteen gates in one pass, the verdict, and the one reduction that is allowed (systems 8 and 9).
 *
 *   cstd_gates_evaluate   all gates at input->qty_raw, none short-circuited, into one decision row
 *   cstd_gates_judge      evaluate; where a smaller quantity would pass, evaluate once more at that quantity
 *
 * No state, no clock, no allocation, no float: the same input gives the same row on every host. */
#ifndef CSTD_GATES_H
#define CSTD_GATES_H
/* Scalar code is faster here: what the vectoriser makes of the row's stores costs more to assemble than it saves. */
#pragma GCC push_options
#pragma GCC optimize("no-tree-vectorize", "no-tree-slp-vectorize")
#include "gates_policy.h"
#include "gates_risk.h"

#define CSTD_BIT(gate) (1u << ((gate) < CSTD_GATE_KILL_SWITCH ? (gate) - 1 : (gate) - 4))
#define CSTD_ALL_GATES ((1u << CSTD_GATES) - 1)

/* Bit of reason[i] back to the gate's code. */
static inline int8_t cstd_gate_code(int i) {
    return (int8_t)(i < CSTD_POLICY_GATES ? i + 1 : i + 4);
}

static inline int cstd_why(const cstd_decision_row *row, int gate) {
    return row->reason[gate < CSTD_GATE_KILL_SWITCH ? gate - 1 : gate - 4];
}

/* What the grace for an unverified book covers: everything that reads it. What the venue would not take stays
 * refused. */
static inline unsigned cstd_graced_mask(int price_why) {
    unsigned mask = CSTD_BIT(CSTD_GATE_DATA_GAP) | CSTD_BIT(CSTD_GATE_SPREAD) | CSTD_BIT(CSTD_GATE_DEPTH) |
                    CSTD_BIT(CSTD_GATE_SLIPPAGE);
    int from_book = price_why == CSTD_WHY_NO_BOOK || price_why == CSTD_WHY_CROSSING || price_why == CSTD_WHY_OVER_LIMIT;
    return mask | (from_book ? CSTD_BIT(CSTD_GATE_PRICE) : 0);
}

/* Which failed gates may refuse this intent; the others are recorded only (systems 7.3, 8, 9.2). */
static inline unsigned
cstd_refusing_mask(const cstd_gate_input *in, const cstd_limits *lim, const cstd_decision_row *row) {
    unsigned may = CSTD_ALL_GATES;
    if (in->kind != CSTD_OPENING) {
        may = CSTD_BIT(CSTD_GATE_TIME_IN_FORCE) | CSTD_BIT(CSTD_GATE_PRICE);
        may |= cstd_why(row, CSTD_GATE_IDEMPOTENCY) == CSTD_WHY_ID_SEEN ? CSTD_BIT(CSTD_GATE_IDEMPOTENCY) : 0;
    }
    if (in->rejudge) {
        may &= ~CSTD_BIT(CSTD_GATE_TIME_IN_FORCE);
        if (cstd_why(row, CSTD_GATE_IDEMPOTENCY) != CSTD_WHY_LOSING_STREAK) {
            may &= ~CSTD_BIT(CSTD_GATE_IDEMPOTENCY);
        }
        if (in->kind == CSTD_OPENING && cstd_why(row, CSTD_GATE_DATA_GAP) == CSTD_WHY_BOOK_UNVERIFIED &&
            in->unverified_for_ns <= lim->unverified_grace_ns) {
            may &= ~cstd_graced_mask(cstd_why(row, CSTD_GATE_PRICE));
        }
    }
    return may;
}

/* Failed gates that a smaller quantity could pass. `reducing`: those that may reduce; the others (turnover, share of
 * the minute, slippage) only refuse, but count for the counterfactual. */
static inline unsigned cstd_sized_mask(const cstd_decision_row *row, int reducing) {
    unsigned mask = 0;
    static const int8_t shares[] = {CSTD_GATE_DEPTH, CSTD_GATE_TOTAL_EXPOSURE, CSTD_GATE_POSITION_SIZE,
                                    CSTD_GATE_CORRELATION};
    for (int i = 0; i < 4; i++) {
        mask |= cstd_why(row, shares[i]) == CSTD_WHY_OVER_LIMIT ? CSTD_BIT(shares[i]) : 0;
    }
    if (!reducing) {
        int slippage = cstd_why(row, CSTD_GATE_SLIPPAGE);
        int by_walk = slippage == CSTD_WHY_OVER_LIMIT || slippage == CSTD_WHY_BOOK_TOO_THIN;
        mask |= cstd_why(row, CSTD_GATE_IDEMPOTENCY) == CSTD_WHY_TURNOVER ? CSTD_BIT(CSTD_GATE_IDEMPOTENCY) : 0;
        mask |= cstd_why(row, CSTD_GATE_VOLUME) == CSTD_WHY_ORDER_SHARE ? CSTD_BIT(CSTD_GATE_VOLUME) : 0;
        mask |= by_walk ? CSTD_BIT(CSTD_GATE_SLIPPAGE) : 0;
    }
    return mask;
}

/* Smallest cap over the failed gates in `mask` and the level, rounded down to the lot; *by is the gate that set it. */
static inline int64_t cstd_capped_qty(const cstd_case *c, unsigned mask, int8_t *by) {
    const cstd_facts *f = c->facts;
    const struct { int8_t gate; int64_t cap; } caps[] = {
        {CSTD_GATE_IDEMPOTENCY, f->cap_turnover},     {CSTD_GATE_DEPTH, f->cap_depth},
        {CSTD_GATE_VOLUME, f->cap_share},             {CSTD_GATE_TOTAL_EXPOSURE, f->cap_exposure},
        {CSTD_GATE_POSITION_SIZE, f->cap_position},   {CSTD_GATE_CORRELATION, f->cap_cluster},
    };
    int64_t money = CSTD_NO_CAP, qty = c->input->qty_raw;
    int8_t money_by = CSTD_GATE_NONE;
    *by = CSTD_GATE_NONE;
    for (unsigned i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        if ((mask & CSTD_BIT(caps[i].gate)) && caps[i].cap < money) {
            money = caps[i].cap, money_by = caps[i].gate;
        }
    }
    if (f->cap_level_qty < qty) {
        qty = f->cap_level_qty, *by = CSTD_GATE_KILL_SWITCH;
    }
    if ((mask & CSTD_BIT(CSTD_GATE_SLIPPAGE)) && f->cap_slippage_qty < qty) {
        qty = f->cap_slippage_qty, *by = CSTD_GATE_SLIPPAGE;
    }
    int64_t affordable = cstd_qty_of(f, c->input->price_raw, money);
    if (affordable < qty) {
        qty = affordable, *by = money_by;
    }
    return qty - qty % c->input->lot_raw;
}

static inline int cstd_sendable(const cstd_gate_input *in, int64_t qty_raw) {
    return qty_raw > 0 && qty_raw >= in->qty_min_raw && cstd_cost_reaches_minimum(in, qty_raw);
}

static inline int cstd_refuse(cstd_decision_row *row, int gate, int why) {
    row->verdict = CSTD_REFUSE;
    row->qty_final_raw = 0;
    row->first_failing = (int8_t)gate;
    row->verdict_reason = (int8_t)why;
    return CSTD_REFUSE;
}

static inline int cstd_propose(cstd_decision_row *row, int verdict, int64_t qty_raw, int8_t by) {
    row->verdict = (int8_t)verdict;
    row->qty_final_raw = row->counterfactual_qty_raw = qty_raw;
    row->first_failing = CSTD_GATE_NONE;
    row->verdict_reason = CSTD_WHY_PASSED;
    row->reduced_by = by;
    return verdict;
}

/* An opening: approve, propose the smallest cap, or refuse. */
static inline int cstd_verdict_opening(const cstd_case *c, unsigned refusing) {
    cstd_decision_row *row = c->row;
    const cstd_gate_input *in = c->input;
    int8_t by;
    if (refusing == 0 && c->facts->cap_level_qty >= in->qty_raw) {
        return cstd_propose(row, CSTD_APPROVE, in->qty_raw, CSTD_GATE_NONE);
    }
    unsigned reducing = cstd_sized_mask(row, 1);
    int first = refusing ? cstd_gate_code(__builtin_ctz(refusing)) : CSTD_GATE_KILL_SWITCH;
    if ((refusing & ~cstd_sized_mask(row, 0)) == 0) {
        int64_t would_pass = cstd_capped_qty(c, refusing, &by);
        row->counterfactual_qty_raw = cstd_sendable(in, would_pass) ? would_pass : 0;
    }
    if (refusing & ~reducing) {
        return cstd_refuse(row, first, cstd_why(row, first));
    }
    int64_t qty = cstd_capped_qty(c, refusing, &by);
    cstd_u128 least = (cstd_u128)(uint64_t)c->limits->reduce_min_bps * (uint64_t)in->qty_raw;
    int enough = (cstd_u128)(uint64_t)qty * CSTD_BPS_PER_UNIT >= least;
    if (!enough || !cstd_sendable(in, qty)) {
        return cstd_refuse(row, first, CSTD_WHY_TOO_SMALL);
    }
    return cstd_propose(row, CSTD_REDUCE, qty, by);
}

/* An exit: gates 1 (its id), 6 and 7 may refuse; it never sells more than managed free quantity (systems 6.1), and is
 * cut down to it, because selling what can be sold beats selling nothing. */
static inline int cstd_verdict_exit(const cstd_case *c, unsigned refusing) {
    const cstd_gate_input *in = c->input;
    if (refusing) {
        int first = cstd_gate_code(__builtin_ctz(refusing));
        return cstd_refuse(c->row, first, cstd_why(c->row, first));
    }
    if (in->kind != CSTD_EXIT || in->side != CSTD_SELL) {
        return cstd_refuse(c->row, CSTD_GATE_MANAGED_BOUND, CSTD_WHY_LONG_ONLY);
    }
    if (in->qty_raw <= in->managed_free_qty_raw) {
        return cstd_propose(c->row, CSTD_APPROVE, in->qty_raw, CSTD_GATE_NONE);
    }
    int64_t free_qty = cstd_max64(in->managed_free_qty_raw, 0);
    free_qty -= free_qty % in->lot_raw;
    if (!cstd_sendable(in, free_qty)) {
        return cstd_refuse(c->row, CSTD_GATE_MANAGED_BOUND, CSTD_WHY_ABOVE_MANAGED);
    }
    return cstd_propose(c->row, CSTD_REDUCE, free_qty, CSTD_GATE_MANAGED_BOUND);
}

static inline void cstd_row_head(cstd_decision_row *row, const cstd_gate_input *in, const cstd_facts *facts,
                                 const cstd_limits *lim) {
    row->decided_wall_ns = in->now_wall_ns;
    row->episode = in->episode;
    row->qty_requested_raw = in->qty_raw;
    row->counterfactual_qty_raw = 0;
    row->managed_free_qty_raw = in->managed_free_qty_raw;
    row->price_raw = in->price_raw;
    row->bid_raw = facts->bid;
    row->ask_raw = facts->ask;
    row->mid2_raw = facts->mid2;
    row->equity_acct_raw = in->equity_acct_raw;
    row->notional_acct_raw = facts->notional;
    row->depth_acct_raw = facts->depth;
    row->exit_cost_mbps = facts->exit_cost_mbps;
    row->instrument = in->instrument;
    row->strategy = in->strategy_code;
    row->size_multiplier_e4 = (int16_t)cstd_min64(cstd_max64(lim->level_size_e4[cstd_level_of(in)], 0), INT16_MAX);
    row->kind = in->kind;
    row->side = in->side;
    row->reduced_by = CSTD_GATE_NONE;
    row->level = (int8_t)cstd_level_of(in);
    row->rejudge = (int8_t)in->rejudge;
    row->time_in_force = in->time_in_force;
}

/* The level's size is a part of what was wanted, not of what is left of it: a re-judged order whose wish is not known
 * keeps its size, or each pass would shave it again. */
static inline int64_t cstd_level_cap(const cstd_gate_input *in, const cstd_limits *lim) {
    int64_t size_e4 = lim->level_size_e4[cstd_level_of(in)];
    int64_t wanted = in->qty_wanted_raw > 0 ? in->qty_wanted_raw : (in->rejudge ? 0 : in->qty_raw);
    if (wanted <= 0 || size_e4 <= 0 || size_e4 >= CSTD_BPS_PER_UNIT) {
        return CSTD_NO_CAP; /* size 0 is the business of gates 11, 13 and 14 */
    }
    return cstd_saturate_u(cstd_div_down((cstd_u128)wanted * (uint64_t)size_e4, CSTD_BPS_PER_UNIT));
}

static __attribute__((unused)) int
cstd_gates_evaluate(const cstd_gate_input *input, const cstd_limits *limits, cstd_decision_row *row) {
    cstd_facts facts;
    const cstd_case c = {input, limits, &facts, row};
    cstd_facts_prices(&facts, input);
    cstd_facts_money(&facts, input);
    cstd_facts_walk(&facts, input, limits);
    facts.cap_level_qty = cstd_level_cap(input, limits);
    facts.failed = 0;

    cstd_gate_idempotency(&c);
    cstd_gate_spread(&c);
    cstd_gate_depth(&c);
    cstd_gate_volume(&c);
    cstd_gate_slippage(&c);
    cstd_gate_time_in_force(&c);
    if (input->kind == CSTD_OPENING) {
        cstd_gate_price(&c);
    } else {
        cstd_gate_price_exit(&c);
    }
    cstd_gate_day_loss(&c);
    cstd_gate_drawdown(&c);
    cstd_gate_kill_switch(&c);
    cstd_gate_data_gap(&c);
    cstd_gate_position_count(&c);
    cstd_gate_total_exposure(&c);
    cstd_gate_position_size(&c);
    cstd_gate_correlation(&c);

    cstd_row_head(row, input, &facts, limits);
    unsigned failed = facts.failed;
    unsigned refusing = failed ? failed & cstd_refusing_mask(input, limits, row) : 0;
    row->policy_pass_mask = (uint16_t)(~failed & ((1u << CSTD_POLICY_GATES) - 1));
    row->risk_pass_mask = (uint16_t)((~failed >> CSTD_POLICY_GATES) & ((1u << CSTD_RISK_GATES) - 1));
    row->recorded_mask = (uint16_t)(failed & ~refusing);
    return input->kind == CSTD_OPENING ? cstd_verdict_opening(&c, refusing) : cstd_verdict_exit(&c, refusing);
}

static __attribute__((unused)) int
cstd_gates_judge(cstd_gate_input *input, const cstd_limits *limits, cstd_decision_row *row) {
    int64_t requested = input->qty_raw;
    int verdict = cstd_gates_evaluate(input, limits, row);
    if (verdict != CSTD_REDUCE) {
        return verdict;
    }
    int8_t by = row->reduced_by;
    if (input->qty_wanted_raw <= 0 && !input->rejudge) {
        input->qty_wanted_raw = requested;
    }
    input->qty_raw = row->qty_final_raw;
    verdict = cstd_gates_evaluate(input, limits, row);
    row->qty_requested_raw = requested;
    row->reduced_by = by;
    if (verdict == CSTD_REDUCE) { /* a second cut is not taken: what was proposed did not hold */
        return cstd_refuse(row, by, CSTD_WHY_TOO_SMALL);
    }
    if (verdict == CSTD_APPROVE) {
        row->verdict = CSTD_REDUCE;
        return CSTD_REDUCE;
    }
    return verdict;
}
#pragma GCC pop_options
#endif
