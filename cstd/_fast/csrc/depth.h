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

static inline __attribute__((always_inline)) double cstd_level_value(const cstd_level *level) {
    int64_t others = level->qty_raw - level->own_qty_raw;
    return (double)(others > 0 ? others : 0) * (double)level->price_raw;
}

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

/* Sums levels *at, *at - 1, ... down to `last` while they are within the limit; leaves *at at the first beyond it. */
static inline __attribute__((always_inline)) double
cstd_value_within(int is_bid, const cstd_level **at, const cstd_level *last, int64_t limit_raw) {
    const cstd_level *level = *at;
    double even = 0.0, odd = 0.0;
    while (level > last && cstd_within(is_bid, level[-1].price_raw, limit_raw)) {
        even += cstd_level_value(level);
        odd += cstd_level_value(level - 1);
        level -= 2;
    }
    if (level >= last && cstd_within(is_bid, level->price_raw, limit_raw)) {
        even += cstd_level_value(level);
        level--;
    }
    *at = level;
    return even + odd;
}

/* `best` is a level that holds quantity of others. */
static inline __attribute__((always_inline)) void
cstd_walk(int is_bid, const cstd_side *side, int best, double mid_raw, cstd_side_sums *out) {
    const double sign = is_bid ? 1.0 : -1.0;
    const int64_t near_raw = cstd_band_end(is_bid, mid_raw, CSTD_NEAR_BPS);
    const int64_t far_raw = cstd_band_end(is_bid, mid_raw, CSTD_FAR_BPS);
    const cstd_level *level = side->level + best, *last = side->level + side->first;
    double qty = 0.0, value = 0.0, qty_to[CSTD_FAR_LEVELS];
    int64_t price_raw = 0;
    int n = 0;
    for (; level >= last && n < CSTD_FAR_LEVELS; level--) {
        int64_t others = level->qty_raw - level->own_qty_raw;
        if (__builtin_expect(others <= 0, 0)) {
            continue;
        }
        price_raw = level->price_raw;
        qty += (double)others;
        value += (double)others * (double)price_raw;
        qty_to[n++] = qty;
    }
    out->qty_1 = qty_to[0];
    out->qty_5 = qty_to[(n < CSTD_NEAR_LEVELS ? n : CSTD_NEAR_LEVELS) - 1];
    out->qty_10 = qty;
    out->value_10 = value;
    out->distance_10 = sign * (mid_raw - (double)price_raw);
    /* Dense books have ten levels well within the band, and their sum is at hand; others start over from the best. */
    if (!cstd_within(is_bid, price_raw, near_raw)) {
        value = 0.0;
        level = side->level + best;
    }
    out->value_near = value + cstd_value_within(is_bid, &level, last, near_raw);
    out->value_far = out->value_near + cstd_value_within(is_bid, &level, last, far_raw);
}

static __attribute__((unused)) void cstd_walk_bids(const cstd_side *side, int best, double mid_raw, cstd_side_sums *out) {
    cstd_walk(1, side, best, mid_raw, out);
}

static __attribute__((unused)) void cstd_walk_asks(const cstd_side *side, int best, double mid_raw, cstd_side_sums *out) {
    cstd_walk(0, side, best, mid_raw, out);
}
#endif
