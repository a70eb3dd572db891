/* Value resting on one side of a book between where a walk stands and a price limit: the inner loop of the feature row.
 *
 * In C because it runs over every level on every update: with the side known to the compiler and two sums in parallel
 * (one would wait for its own last addition at each level) a level costs about a nanosecond.
 */
#ifndef CSTD_DEPTH_H
#define CSTD_DEPTH_H
#include "layout.h"

static inline __attribute__((always_inline)) double cstd_level_value(const cstd_level *level) {
    int64_t others = level->qty_raw - level->own_qty_raw;
    return (double)(others > 0 ? others : 0) * (double)level->price_raw;
}

static inline __attribute__((always_inline)) int
cstd_within(int is_bid, const cstd_level *level, int64_t limit_raw) {
    return is_bid ? level->price_raw >= limit_raw : level->price_raw <= limit_raw;
}

/* Sums levels *at, *at - 1, ... down to `first` while they are within the limit; leaves *at at the first beyond it. */
static inline __attribute__((always_inline)) double
cstd_value_within(int is_bid, const cstd_side *side, int *at, int64_t limit_raw) {
    const cstd_level *level = side->level + *at, *last = side->level + side->first;
    double even = 0.0, odd = 0.0;
    while (level > last && cstd_within(is_bid, level - 1, limit_raw)) {
        even += cstd_level_value(level);
        odd += cstd_level_value(level - 1);
        level -= 2;
    }
    if (level >= last && cstd_within(is_bid, level, limit_raw)) {
        even += cstd_level_value(level);
        level--;
    }
    *at = (int)(level - side->level);
    return even + odd;
}

static double cstd_bid_value(const cstd_side *side, int *at, int64_t limit_raw) {
    return cstd_value_within(1, side, at, limit_raw);
}

static double cstd_ask_value(const cstd_side *side, int *at, int64_t limit_raw) {
    return cstd_value_within(0, side, at, limit_raw);
}
#endif
