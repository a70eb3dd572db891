/* The venue's trading rate counter of one instrument: points that fall with time. Integers only; tests/kernels/oracle_rate.py
 * is the same in Python, and a test holds the two equal. Points are kept in micro-points. */
#ifndef CSTD_RATE_H
#define CSTD_RATE_H
#include <stdint.h>

#define CSTD_RATE_SECOND_NS 1000000000LL
#define CSTD_RATE_MICRO 1000000LL

typedef struct {
    int64_t level_micro;       /* at updated_ns */
    int64_t remainder;         /* of the last decay, in 10^-9 micro-points: many small steps equal one large one */
    int64_t updated_ns;        /* monotonic */
    int64_t decay_micro_per_s;
    int64_t limit_micro;       /* openings and amends stop here; what is left is the reserve */
    int64_t threshold_micro;   /* the venue refuses beyond it */
} cstd_rate;

/* Let the counter fall until now_ns. Whole seconds apart from the rest, so that no time since the last change overflows. */
static inline void cstd_rate_settle(cstd_rate *rate, int64_t now_ns)
{
    int64_t passed_ns = now_ns - rate->updated_ns;
    int64_t part;
    if (passed_ns <= 0)
        return;
    part = passed_ns % CSTD_RATE_SECOND_NS * rate->decay_micro_per_s + rate->remainder;
    rate->level_micro -= passed_ns / CSTD_RATE_SECOND_NS * rate->decay_micro_per_s + part / CSTD_RATE_SECOND_NS;
    rate->remainder = part % CSTD_RATE_SECOND_NS;
    if (rate->level_micro <= 0) {
        rate->level_micro = 0;
        rate->remainder = 0;
    }
    rate->updated_ns = now_ns;
}

static inline void cstd_rate_charge(cstd_rate *rate, int64_t points, int64_t now_ns)
{
    cstd_rate_settle(rate, now_ns);
    rate->level_micro += points * CSTD_RATE_MICRO;
}

/* Whether an opening or amend of so many points stays within the limit. What stands there can only have fallen since. */
static inline int cstd_rate_admits(cstd_rate *rate, int64_t points, int64_t now_ns)
{
    if (rate->level_micro + points * CSTD_RATE_MICRO <= rate->limit_micro)
        return 1;
    cstd_rate_settle(rate, now_ns);
    return rate->level_micro + points * CSTD_RATE_MICRO <= rate->limit_micro;
}

/* The venue knows of more than we charged. */
static inline void cstd_rate_raise(cstd_rate *rate, int64_t level_micro, int64_t now_ns)
{
    cstd_rate_settle(rate, now_ns);
    rate->remainder = 0;
    if (rate->level_micro < level_micro)
        rate->level_micro = level_micro;
}

/* Points of an amend and of a cancel by the order's age since it was made or last amended. */
static inline int64_t cstd_rate_amend_points(int64_t age_ns)
{
    if (age_ns < 5 * CSTD_RATE_SECOND_NS)
        return 4;
    if (age_ns < 10 * CSTD_RATE_SECOND_NS)
        return 3;
    return age_ns < 15 * CSTD_RATE_SECOND_NS ? 2 : 1;
}

static inline int64_t cstd_rate_cancel_points(int64_t age_ns)
{
    if (age_ns < 5 * CSTD_RATE_SECOND_NS)
        return 8;
    if (age_ns < 10 * CSTD_RATE_SECOND_NS)
        return 6;
    if (age_ns < 15 * CSTD_RATE_SECOND_NS)
        return 5;
    if (age_ns < 45 * CSTD_RATE_SECOND_NS)
        return 4;
    if (age_ns < 90 * CSTD_RATE_SECOND_NS)
        return 2;
    return age_ns < 300 * CSTD_RATE_SECOND_NS ? 1 : 0;
}
#endif
