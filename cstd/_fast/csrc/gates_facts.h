/* What several gates need, worked out once per intent: prices, money, the walk of the exit side, caps on the size. */
#ifndef CSTD_GATES_FACTS_H
#define CSTD_GATES_FACTS_H
#include "gates_math.h"
#include "gates_types.h"

#define CSTD_NO_CAP INT64_MAX

typedef struct {
    int64_t bid;     /* best of others; layout.NO_BID when none */
    int64_t ask;     /* best of others; layout.NO_ASK when none */
    int64_t top_bid; /* best of all, ours included: nothing of ours may cross it */
    int64_t top_ask;
    int64_t mid2;    /* bid + ask, 0 when there is no mid */
    cstd_whole mid;  /* the same as a divisor */
    int sane;        /* price, quantity and scales are inside the domain */
    int money_why;   /* CSTD_WHY_PASSED, or why the notional is not known */
    uint64_t rate_up;
    uint64_t rate_down;
    uint64_t scale; /* price_scale × qty_scale */
    int64_t notional; /* rounded up; INT64_MAX when not known */
    /* the exit side */
    int book_why;   /* CSTD_WHY_PASSED, or why the walk is not known */
    int thin;       /* the visible side ends before the quantity */
    int64_t depth;  /* value within the band, account currency, rounded down */
    int64_t exit_cost_mbps;
    /* caps: the largest notional, or quantity, that the gate lets pass */
    int64_t cap_turnover;
    int64_t cap_depth;
    int64_t cap_share;
    int64_t cap_exposure;
    int64_t cap_position;
    int64_t cap_cluster;
    int64_t cap_slippage_qty;
    int64_t cap_level_qty;
    unsigned failed; /* bit i: reason[i] is not "passed" */
} cstd_facts;

static inline int64_t cstd_visible(const cstd_level *level) {
    return level->qty_raw - level->own_qty_raw;
}

/* Best price of one side without our own quantity; `none` when nobody else is there. */
static inline int64_t cstd_best_of_others(const cstd_side *side, int64_t none) {
    for (int i = side->end - 1; i >= side->first; i--) {
        if (cstd_visible(&side->level[i]) > 0) {
            return side->level[i].price_raw;
        }
    }
    return none;
}

static inline int64_t cstd_top(const cstd_side *side, int64_t none) {
    return side && side->end > side->first ? side->level[side->end - 1].price_raw : none;
}

static inline int cstd_price_sane(int64_t price_raw) {
    return price_raw > 0 && price_raw <= CSTD_PRICE_RAW_MAX;
}

static inline void cstd_facts_prices(cstd_facts *facts, const cstd_gate_input *input) {
    facts->top_bid = cstd_top(input->bids, CSTD_NO_BID);
    facts->top_ask = cstd_top(input->asks, CSTD_NO_ASK);
    facts->bid = input->bids ? cstd_best_of_others(input->bids, CSTD_NO_BID) : CSTD_NO_BID;
    facts->ask = input->asks ? cstd_best_of_others(input->asks, CSTD_NO_ASK) : CSTD_NO_ASK;
    int ok = cstd_price_sane(facts->bid) && cstd_price_sane(facts->ask) && facts->bid < facts->ask;
    facts->mid2 = ok ? facts->bid + facts->ask : 0;
    facts->mid = cstd_whole_of((uint64_t)facts->mid2);
}

/* Which side of the book an exit from this order goes through: bids when it sells. */
static inline int cstd_exit_sells(const cstd_gate_input *input) {
    return (input->kind == CSTD_OPENING) == (input->side == CSTD_BUY);
}

/* Conversion goes against us: an order is valued at the rate plus the haircut, what stands in the book at the rate
 * less the haircut. */
static inline void cstd_facts_money(cstd_facts *facts, const cstd_gate_input *input) {
    int64_t rate = input->conversion_rate_e8, haircut = input->conversion_haircut_bps;
    cstd_u128 product = 0, scale = 0;
    facts->sane = cstd_price_sane(input->price_raw) && input->qty_raw > 0 && input->qty_raw <= CSTD_QTY_RAW_MAX &&
                  input->price_scale > 0 && input->qty_scale > 0 && input->tick_raw > 0 && input->lot_raw > 0;
    facts->notional = INT64_MAX;
    facts->scale = 1;
    facts->rate_up = facts->rate_down = 0;
    facts->money_why = CSTD_WHY_BAD_INPUT;
    if (!facts->sane || rate <= 0 || haircut < 0 || haircut > CSTD_BPS_PER_UNIT) {
        return;
    }
    facts->money_why = CSTD_WHY_OVERFLOW;
    scale = (cstd_u128)input->price_scale * (uint64_t)input->qty_scale;
    if (rate > (1LL << 61) || (scale >> 64) != 0) {
        return;
    }
    facts->scale = (uint64_t)scale;
    facts->rate_up = facts->rate_down = (uint64_t)rate;
    if (haircut) {
        cstd_u128 dearer = (cstd_u128)rate * (uint64_t)(CSTD_BPS_PER_UNIT + haircut);
        cstd_u128 cheaper = (cstd_u128)rate * (uint64_t)(CSTD_BPS_PER_UNIT - haircut);
        facts->rate_up = (uint64_t)cstd_div_up(dearer, CSTD_BPS_PER_UNIT);
        facts->rate_down = (uint64_t)cstd_div_down(cheaper, CSTD_BPS_PER_UNIT);
    }
    cstd_u128 quote = (cstd_u128)input->price_raw * (uint64_t)input->qty_raw;
    if (cstd_mul_overflows(quote, facts->rate_up, &product)) {
        return;
    }
    uint64_t rest;
    product = cstd_div_scale(product, facts->scale, &rest);
    product += rest != 0;
    if (product >= INT64_MAX) {
        return;
    }
    facts->notional = (int64_t)product;
    facts->money_why = CSTD_WHY_PASSED;
}

/* Largest quantity whose walk costs at most `budget_mbps` of mid: cold, only when the whole quantity costs more.
 * Cost against budget is convex in the quantity and 0 at 0, so it crosses once, inside one level. */
static __attribute__((noinline, unused)) int64_t cstd_walk_cap(const cstd_side *side, int sells, int64_t mid2,
                                                               int64_t budget_mbps, int64_t qty) {
    cstd_i128 over = 0;
    int64_t taken = 0;
    for (int i = side->end - 1; i >= side->first && taken < qty; i--) {
        int64_t visible = cstd_visible(&side->level[i]);
        if (visible <= 0) {
            continue;
        }
        int64_t take = cstd_min64(visible, qty - taken);
        int64_t price2 = 2 * side->level[i].price_raw;
        cstd_i128 each = (cstd_i128)(sells ? mid2 - price2 : price2 - mid2) * CSTD_MBPS_PER_UNIT;
        each -= (cstd_i128)budget_mbps * mid2;
        if (over + each * take > 0) {
            return taken + (int64_t)(-over / each);
        }
        over += each * take;
        taken += take;
    }
    return taken;
}

/* The price where the band of the depth gate ends, on the side of the book that an exit goes through. */
static inline int64_t cstd_band_edge(int64_t mid2, int64_t band_mbps, int sells) {
    int64_t band = cstd_min64(cstd_max64(band_mbps, 0), CSTD_MBPS_PER_UNIT);
    int64_t factor = sells ? CSTD_MBPS_PER_UNIT - band : CSTD_MBPS_PER_UNIT + band;
    cstd_u128 product = (cstd_u128)mid2 * (uint64_t)factor;
    const cstd_u128 halves = 2 * CSTD_MBPS_PER_UNIT;
    return (int64_t)(sells ? cstd_div_up(product, halves) : cstd_div_down(product, halves));
}

/* Price × quantity of the levels from the best down to and without `stop`, for sums that 64 bits may not hold. */
static __attribute__((noinline, cold, unused)) cstd_u128
cstd_value_wide(const cstd_side *side, const cstd_level *stop) {
    cstd_u128 value = 0;
    for (const cstd_level *level = side->level + side->end - 1; level > stop; level--) {
        value += (cstd_u128)(uint64_t)level->price_raw * (uint64_t)cstd_max64(cstd_visible(level), 0);
    }
    return value;
}

static inline int cstd_bit_length(uint64_t value) {
    return 64 - __builtin_clzll(value | 1);
}

/* Value of what others offer on one side up to the edge of the band, best first, in price × quantity raw. *bad is not
 * 0 where a number is out of the domain: the bits of all levels are gathered and looked at once, so that the loop has
 * no branch but its ends. The same bits tell whether a sum of 64 bits held it; real books always fit. Called with a
 * constant `sells`, which makes two loops of it. */
static inline __attribute__((always_inline)) cstd_u128
cstd_band_value(const cstd_side *side, int64_t edge, int sells, uint64_t *bad) {
    const cstd_level *level = side->level + side->end - 1, *worst = side->level + side->first;
    uint64_t prices = side->prices_seen, quantities = side->quantities_seen, value = 0;
    *bad = (prices / CSTD_PRICE_RAW_MAX) | (quantities / (2 * (uint64_t)CSTD_QTY_RAW_MAX));
    /* The band holds the whole side, none of it is ours: the total that the book keeps is the sum. */
    if (!*bad && !side->own_marked && (sells ? worst->price_raw >= edge : worst->price_raw <= edge)) {
        return (cstd_u128)side->total_high << 64 | side->total_low;
    }
    prices = quantities = 0;
    for (; level >= worst; level--) {
        int64_t price = level->price_raw, visible = cstd_max64(cstd_visible(level), 0);
        if (sells ? price < edge : price > edge) {
            break;
        }
        prices |= (uint64_t)price - 1;
        quantities |= (uint64_t)visible;
        value += (uint64_t)price * (uint64_t)visible;
    }
    *bad = (prices / CSTD_PRICE_RAW_MAX) | (quantities / (2 * (uint64_t)CSTD_QTY_RAW_MAX));
    /* Each price is at most 2^bits of (price - 1), each quantity less than 2^bits of it. */
    if (__builtin_expect(cstd_bit_length(prices) + cstd_bit_length(quantities) + cstd_bit_length(side->end) > 64, 0)) {
        return cstd_value_wide(side, level);
    }
    return value;
}

/* What taking the quantity would cost, best level first: facts->shortfall2, thin and exit_cost_mbps. */
static inline void cstd_walk_cost(cstd_facts *facts, const cstd_side *side, int sells, int64_t qty) {
    int64_t left = qty;
    cstd_u128 shortfall2 = 0;
    for (int i = side->end - 1; i >= side->first && left > 0; i--) {
        int64_t visible = cstd_visible(&side->level[i]), price2 = 2 * side->level[i].price_raw;
        if (visible <= 0) {
            continue;
        }
        if (!cstd_price_sane(side->level[i].price_raw)) {
            facts->book_why = CSTD_WHY_OVERFLOW;
            return;
        }
        int64_t away2 = cstd_max64(sells ? facts->mid2 - price2 : price2 - facts->mid2, 0);
        if (left == qty && visible >= qty) { /* the first level takes it all: the usual case needs no second division */
            left = 0;
            facts->exit_cost_mbps = cstd_mbps_of_whole((uint64_t)away2, facts->mid);
            break;
        }
        int64_t take = cstd_min64(visible, left);
        shortfall2 += (cstd_u128)(uint64_t)away2 * (uint64_t)take;
        left -= take;
        if (left == 0) {
            facts->exit_cost_mbps = cstd_mbps_up(shortfall2, (cstd_u128)(uint64_t)facts->mid2 * (uint64_t)qty);
        }
    }
    facts->thin = left > 0;
}

/* The exit side: value within the band, and what taking the quantity would cost. Our own resting quantity is not
 * there for us (systems 1.10). */
static inline void cstd_facts_walk(cstd_facts *facts, const cstd_gate_input *input, const cstd_limits *limits) {
    int sells = cstd_exit_sells(input);
    const cstd_side *side = sells ? input->bids : input->asks;
    facts->depth = 0;
    facts->exit_cost_mbps = INT64_MAX;
    facts->thin = 1;
    facts->book_why = facts->mid2 ? CSTD_WHY_PASSED : CSTD_WHY_NO_BOOK;
    if (!facts->mid2 || !facts->sane) {
        return;
    }
    cstd_u128 product = 0;
    uint64_t bad, rest;
    int64_t edge = cstd_band_edge(facts->mid2, limits->depth_band_mbps, sells);
    cstd_u128 value = sells ? cstd_band_value(side, edge, 1, &bad) : cstd_band_value(side, edge, 0, &bad);
    if (bad || cstd_mul_overflows(value, facts->rate_down, &product)) {
        facts->book_why = CSTD_WHY_OVERFLOW;
        return;
    }
    facts->depth = cstd_saturate_u(cstd_div_scale(product, facts->scale, &rest));
    cstd_walk_cost(facts, side, sells, input->qty_raw);
}

/* The largest quantity worth at most `cap_acct_raw` at the order's own price. */
static inline int64_t cstd_qty_of(const cstd_facts *facts, int64_t price_raw, int64_t cap_acct_raw) {
    if (cap_acct_raw == CSTD_NO_CAP) {
        return CSTD_NO_CAP;
    }
    cstd_u128 money = (cstd_u128)(uint64_t)cstd_max64(cap_acct_raw, 0) * facts->scale;
    return cstd_saturate_u(cstd_div_down(money, (cstd_u128)price_raw * facts->rate_up));
}

static inline int cstd_cost_reaches_minimum(const cstd_gate_input *input, int64_t qty_raw) {
    return cstd_cost_reaches(input->price_raw, qty_raw, input->cost_min_quote_e8, input->price_scale, input->qty_scale);
}
#endif
