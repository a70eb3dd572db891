/* One side of a book from the best level outwards: the inner loop of the feature row.
 *
 * In C because it runs over every level of a side that changed: with the side known to the compiler and two sums in
 * parallel (one would wait for its own last addition at each level) a level costs about a nanosecond. */
#ifndef CSTD_DEPTH_H
#define CSTD_DEPTH_H
#include "layout.h"

#define CSTD_NEAR_LEVELS 5
#define CSTD_FAR_LEVELS 10
#define CSTD_NEAR_BPS 10
#define CSTD_FAR_BPS 25
/* Up to twice this mid the products below fit 64 bits; no price on any venue is near it. */
#define CSTD_MID2_EXACT_MAX 900000000000000LL

/* Quantities and values of others, raw units. Fewer levels than named count as all there are. */
typedef struct {
    double qty_1, qty_5, qty_10;
    double value_10, value_near, value_far;
    double distance_10; /* of the tenth level from mid */
} cstd_side_sums;

static inline __attribute__((always_inline)) int cstd_within(int is_bid, int64_t price_raw, int64_t limit_raw) {
    return is_bid ? price_raw >= limit_raw : price_raw <= limit_raw;
}

/* The last price within `bps` of mid, in integers: where a tick is a large part of the price, levels lie exactly on the
 * end of a band, and a rounded product would take them in on one side and leave them out on the other. */
static inline __attribute__((always_inline)) int64_t cstd_band_end(int is_bid, double mid_raw, int64_t bps) {
    const int64_t mid2 = (int64_t)(2.0 * mid_raw);
    if (__builtin_expect(mid2 > CSTD_MID2_EXACT_MAX, 0)) {
        return (int64_t)(mid_raw * (1.0 + (is_bid ? -1e-4 : 1e-4) * (double)bps)) + is_bid;
    }
    return is_bid ? (mid2 * (10000 - bps) + 19999) / 20000 : mid2 * (10000 + bps) / 20000;
}

/* Where the walk is: the next level, and two sums that take turns, so that one need not wait for the other's last
 * addition. The turns go by levels of others, so a level of ours changes no bit of what is summed. */
typedef struct {
    const cstd_level *level;
    double next, other;
} cstd_walk_at;

static inline __attribute__((always_inline)) void cstd_take(cstd_walk_at *at, double value) {
    double sum = at->next + value;
    at->next = at->other;
    at->other = sum;
}

static inline __attribute__((always_inline)) double cstd_others_value(const cstd_level *level, int64_t others) {
    return (double)level->price_raw * (double)others;
}

/* Sums on while levels are within the limit. `own`: some level may hold quantity of ours. */
static inline __attribute__((always_inline)) double
cstd_value_within(int is_bid, int own, cstd_walk_at *at, const cstd_level *last, int64_t limit_raw) {
    cstd_walk_at w = *at;
    if (own) {
        for (; w.level >= last && cstd_within(is_bid, w.level->price_raw, limit_raw); w.level--) {
            int64_t others = w.level->qty_raw - w.level->own_qty_raw;
            if (others > 0) {
                cstd_take(&w, cstd_others_value(w.level, others));
            }
        }
    } else {
        for (; w.level > last && cstd_within(is_bid, w.level[-1].price_raw, limit_raw); w.level -= 2) {
            w.next += w.level->value;
            w.other += w.level[-1].value;
        }
        if (w.level >= last && cstd_within(is_bid, w.level->price_raw, limit_raw)) {
            cstd_take(&w, w.level->value);
            w.level--;
        }
    }
    *at = w;
    return w.next + w.other;
}

/* The best ten levels one by one: fewer than ten, or some of them ours. Returns the price of the last one. */
static inline __attribute__((always_inline)) int64_t
cstd_walk_top_own(cstd_walk_at *at, const cstd_level *last, cstd_side_sums *out) {
    uint64_t qty = 0, qty_to[CSTD_FAR_LEVELS];
    int64_t price_raw = 0;
    int n = 0;
    for (; at->level >= last && n < CSTD_FAR_LEVELS; at->level--) {
        int64_t others = at->level->qty_raw - at->level->own_qty_raw;
        if (others <= 0) {
            continue;
        }
        price_raw = at->level->price_raw;
        qty += (uint64_t)others;
        cstd_take(at, cstd_others_value(at->level, others));
        qty_to[n++] = qty;
    }
    out->qty_1 = (double)qty_to[0];
    out->qty_5 = (double)qty_to[(n < CSTD_NEAR_LEVELS ? n : CSTD_NEAR_LEVELS) - 1];
    out->qty_10 = (double)qty;
    return price_raw;
}

/* The same where there are ten levels and none is ours. */
static inline __attribute__((always_inline)) int64_t cstd_walk_top(cstd_walk_at *at, cstd_side_sums *out) {
    const cstd_level *level = at->level;
    uint64_t qty = 0;
    for (int n = 0; n < CSTD_FAR_LEVELS; n += 2) {
        at->next += level[-n].value;
        at->other += level[-n - 1].value;
    }
    for (int n = 0; n < CSTD_NEAR_LEVELS; n++) {
        qty += (uint64_t)level[-n].qty_raw;
    }
    out->qty_1 = (double)level->qty_raw;
    out->qty_5 = (double)qty;
    for (int n = CSTD_NEAR_LEVELS; n < CSTD_FAR_LEVELS; n++) {
        qty += (uint64_t)level[-n].qty_raw;
    }
    out->qty_10 = (double)qty;
    at->level -= CSTD_FAR_LEVELS;
    return level[1 - CSTD_FAR_LEVELS].price_raw;
}

/* `best` is a level that holds quantity of others. Quantities are summed as integers: ten of 18 digits fit. */
static inline __attribute__((always_inline)) void
cstd_walk(int is_bid, const cstd_side *side, int best, double mid_raw, cstd_side_sums *out) {
    const double sign = is_bid ? 1.0 : -1.0;
    const int64_t near_raw = cstd_band_end(is_bid, mid_raw, CSTD_NEAR_BPS);
    const int64_t far_raw = cstd_band_end(is_bid, mid_raw, CSTD_FAR_BPS);
    const cstd_level *last = side->level + side->first;
    const int own = side->own_marked || best - side->first + 1 < CSTD_FAR_LEVELS;
    cstd_walk_at at = {side->level + best, 0.0, 0.0};
    const int64_t price_raw = own ? cstd_walk_top_own(&at, last, out) : cstd_walk_top(&at, out);
    out->value_10 = at.next + at.other;
    out->distance_10 = sign * (mid_raw - (double)price_raw);
    /* Dense books have ten levels well within the band, and their sum is at hand; others start over from the best. */
    if (!cstd_within(is_bid, price_raw, near_raw)) {
        at = (cstd_walk_at){side->level + best, 0.0, 0.0};
    }
    if (!own && cstd_within(is_bid, last->price_raw, near_raw)) {
        out->value_near = out->value_far = cstd_total_value(side);
    } else if (own) {
        out->value_near = cstd_value_within(is_bid, 1, &at, last, near_raw);
        out->value_far = cstd_value_within(is_bid, 1, &at, last, far_raw);
    } else {
        out->value_near = cstd_value_within(is_bid, 0, &at, last, near_raw);
        out->value_far = cstd_value_within(is_bid, 0, &at, last, far_raw);
    }
}

static __attribute__((unused)) void cstd_walk_bids(const cstd_side *side, int best, double mid_raw, cstd_side_sums *out) {
    cstd_walk(1, side, best, mid_raw, out);
}

static __attribute__((unused)) void cstd_walk_asks(const cstd_side *side, int best, double mid_raw, cstd_side_sums *out) {
    cstd_walk(0, side, best, mid_raw, out);
}
#endif
