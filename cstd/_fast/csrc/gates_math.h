/* Exact integer arithmetic of the gates: 128-bit products, quotients rounded the way that is asked, saturation.
 *
 * No float anywhere. A product that may not fit says so; nothing wraps. Quotients exist for the record and for sizes:
 * comparisons multiply both sides out instead. */
#ifndef CSTD_GATES_MATH_H
#define CSTD_GATES_MATH_H
#include <stdint.h>

#include "layout.h"

typedef unsigned __int128 cstd_u128;
typedef __int128 cstd_i128;

#define CSTD_MBPS_PER_UNIT 10000000LL
#define CSTD_BPS_PER_UNIT 10000LL

static inline int64_t cstd_saturate_u(cstd_u128 value) {
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static inline int64_t cstd_min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t cstd_max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Kept out of line: inlined, the library call's register saves cost every caller. */
static __attribute__((noinline, cold, unused)) cstd_u128 cstd_div_wide(cstd_u128 numerator, cstd_u128 denominator) {
    return numerator / denominator;
}

/* A quotient of 64-bit numbers costs a third of the 128-bit one, and nearly all are. */
static inline cstd_u128 cstd_div_down(cstd_u128 numerator, cstd_u128 denominator) {
    if (__builtin_expect(((numerator | denominator) >> 64) == 0, 1)) {
        return (uint64_t)numerator / (uint64_t)denominator;
    }
    return cstd_div_wide(numerator, denominator);
}

static inline cstd_u128 cstd_div_up(cstd_u128 numerator, cstd_u128 denominator) {
    cstd_u128 quotient = cstd_div_down(numerator, denominator);
    return quotient + (quotient * denominator != numerator);
}

/* Division by a power of ten, which is what every scale is: 2 ns instead of 37 for a 128-bit numerator. Each row has
 * the power, floor((2^128 - 1) / normalised) - 2^64 and the shift that normalises it (Möller and Granlund, "Improved
 * division by invariant integers", IEEE Trans. Computers 60(2), 2011, algorithm 4). A test divides by all of them. */
static const struct {
    uint64_t power;
    uint64_t reciprocal;
    int shift;
} cstd_powers_of_ten[20] = {
    {1ULL, 0xffffffffffffffffULL, 63},
    {10ULL, 0x9999999999999999ULL, 60},
    {100ULL, 0x47ae147ae147ae14ULL, 57},
    {1000ULL, 0x0624dd2f1a9fbe76ULL, 54},
    {10000ULL, 0xa36e2eb1c432ca57ULL, 50},
    {100000ULL, 0x4f8b588e368f0846ULL, 47},
    {1000000ULL, 0x0c6f7a0b5ed8d36bULL, 44},
    {10000000ULL, 0xad7f29abcaf48578ULL, 40},
    {100000000ULL, 0x5798ee2308c39df9ULL, 37},
    {1000000000ULL, 0x12e0be826d694b2eULL, 34},
    {10000000000ULL, 0xb7cdfd9d7bdbab7dULL, 30},
    {100000000000ULL, 0x5fd7fe17964955fdULL, 27},
    {1000000000000ULL, 0x19799812dea11197ULL, 24},
    {10000000000000ULL, 0xc25c268497681c26ULL, 20},
    {100000000000000ULL, 0x6849b86a12b9b01eULL, 17},
    {1000000000000000ULL, 0x203af9ee756159b2ULL, 14},
    {10000000000000000ULL, 0xcd2b297d889bc2b6ULL, 10},
    {100000000000000000ULL, 0x70ef54646d496892ULL, 7},
    {1000000000000000000ULL, 0x2725dd1d243aba0eULL, 4},
    {10000000000000000000ULL, 0xd83c94fb6d2ac34aULL, 0},
};

/* numerator / scale rounded down; *rest is the remainder. `scale` is a power of ten, or slower anything else. */
static inline cstd_u128 cstd_div_scale(cstd_u128 numerator, uint64_t scale, uint64_t *rest) {
    int k = ((64 - __builtin_clzll(scale)) * 1233) >> 12; /* bit length to power of ten */
    if (__builtin_expect(cstd_powers_of_ten[k].power != scale || (uint64_t)(numerator >> 64) >= scale, 0)) {
        cstd_u128 slow = cstd_div_wide(numerator, scale);
        *rest = (uint64_t)(numerator - slow * scale);
        return slow;
    }
    int shift = cstd_powers_of_ten[k].shift;
    uint64_t divisor = scale << shift;
    cstd_u128 shifted = numerator << shift;
    uint64_t high = (uint64_t)(shifted >> 64), low = (uint64_t)shifted;
    cstd_u128 estimate = (cstd_u128)cstd_powers_of_ten[k].reciprocal * high + shifted;
    uint64_t quotient = (uint64_t)(estimate >> 64) + 1, remainder = low - quotient * divisor;
    if (remainder > (uint64_t)estimate) {
        quotient--, remainder += divisor;
    }
    if (remainder >= divisor) {
        quotient++, remainder -= divisor;
    }
    *rest = remainder >> shift;
    return quotient;
}

/* A divisor used several times, with floor((2^64 - 1) / divisor). */
typedef struct {
    uint64_t divisor;
    uint64_t inverse;
} cstd_whole;

static inline cstd_whole cstd_whole_of(uint64_t divisor) {
    cstd_whole whole = {divisor, divisor ? UINT64_MAX / divisor : 0};
    return whole;
}

/* `part` in thousandths of a basis point of the whole, rounded up. The estimate is at most two short. */
static inline int64_t cstd_mbps_of_whole(uint64_t part, cstd_whole whole) {
    if (__builtin_expect((part >> 39) != 0, 0)) { /* part × 10^7, the quotient by 1, would not fit 63 bits */
        return cstd_saturate_u(cstd_div_wide((cstd_u128)part * CSTD_MBPS_PER_UNIT + whole.divisor - 1, whole.divisor));
    }
    uint64_t numerator = part * CSTD_MBPS_PER_UNIT;
    uint64_t quotient = (uint64_t)(((cstd_u128)numerator * whole.inverse) >> 64);
    uint64_t remainder = numerator - quotient * whole.divisor;
    while (remainder >= whole.divisor) {
        quotient++, remainder -= whole.divisor;
    }
    return (int64_t)(quotient + (remainder != 0));
}

/* a × b into *out, for b < 2^63. Returns 1 when it is 2^127 or more; then *out is unspecified. */
static inline int cstd_mul_overflows(cstd_u128 a, uint64_t b, cstd_u128 *out) {
    if (__builtin_expect((a >> 64) == 0, 1)) {
        *out = (cstd_u128)(uint64_t)a * b;
        return 0;
    }
    cstd_u128 high = (cstd_u128)(uint64_t)(a >> 64) * b;
    cstd_u128 low = (cstd_u128)(uint64_t)a * b;
    *out = low + (high << 64);
    return (high >> 63) != 0 || (*out >> 127) != 0;
}

/* `part` in thousandths of a basis point of `whole`, rounded up: against us, because it is compared with a maximum. */
static inline int64_t cstd_mbps_up(cstd_u128 part, cstd_u128 whole) {
    return cstd_saturate_u(cstd_div_up(part * CSTD_MBPS_PER_UNIT, whole));
}

/* `bps` of an amount, rounded down; 0 for a negative amount or limit. Never INT64_MAX, so that a sum that saturated
 * there is above every limit. */
static inline int64_t cstd_bps_of(int64_t amount, int64_t bps) {
    uint64_t product;
    if (amount <= 0 || bps <= 0) {
        return 0;
    }
    if (__builtin_expect(__builtin_mul_overflow((uint64_t)amount, (uint64_t)bps, &product), 0)) {
        cstd_u128 wide = cstd_div_wide((cstd_u128)amount * (uint64_t)bps, CSTD_BPS_PER_UNIT);
        return wide >= INT64_MAX ? INT64_MAX - 1 : (int64_t)wide;
    }
    return (int64_t)(product / CSTD_BPS_PER_UNIT);
}

/* a + b, saturated. */
static inline int64_t cstd_add_saturated(int64_t a, int64_t b) {
    int64_t sum;
    if (__builtin_expect(__builtin_add_overflow(a, b, &sum), 0)) {
        return b > 0 ? INT64_MAX : INT64_MIN;
    }
    return sum;
}

/* a - b, saturated. */
static inline int64_t cstd_sub_saturated(int64_t a, int64_t b) {
    int64_t difference;
    if (__builtin_expect(__builtin_sub_overflow(a, b, &difference), 0)) {
        return b < 0 ? INT64_MAX : INT64_MIN;
    }
    return difference;
}

/* Whether price x quantity reaches a least cost of the quote currency in 10^-8: both in that currency, so no rate is needed. */
static inline int cstd_cost_reaches(int64_t price_raw, int64_t qty_raw, int64_t least_e8, int64_t price_scale,
                                    int64_t qty_scale) {
    if (least_e8 <= 0) {
        return 1;
    }
    cstd_u128 cost = 0, least = 0;
    cstd_u128 quote = (cstd_u128)price_raw * (uint64_t)qty_raw;
    cstd_u128 scale = (cstd_u128)price_scale * (uint64_t)qty_scale;
    int cost_overflows = cstd_mul_overflows(quote, CSTD_MONEY_SCALE, &cost);
    int least_overflows = (scale >> 64) || cstd_mul_overflows(scale, (uint64_t)least_e8, &least);
    return !least_overflows && (cost_overflows || cost >= least);
}
#endif
