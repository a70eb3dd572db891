/* Exact integer arithmetic of the gates: 128-bit products, quotients rounded the way that is asked, saturation.
 *
 * No float anywhere. A product that may not fit says so; nothing wraps. Quotients exist for the record and for sizes:
 * comparisons multiply both sides out instead. */
#ifndef CSTD_GATES_MATH_H
#define CSTD_GATES_MATH_H
#include <stdint.h>

typedef unsigned __int128 cstd_u128;
typedef __int128 cstd_i128;

#define CSTD_MBPS_PER_UNIT 10000000LL
#define CSTD_BPS_PER_UNIT 10000LL

static inline int64_t cstd_saturate(cstd_i128 value) {
    if (value > INT64_MAX) {
        return INT64_MAX;
    }
    return value < INT64_MIN ? INT64_MIN : (int64_t)value;
}

static inline int64_t cstd_saturate_u(cstd_u128 value) {
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static inline int64_t cstd_min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static inline int64_t cstd_max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* A quotient of 64-bit numbers costs a third of the 128-bit one, and nearly all are. */
static inline cstd_u128 cstd_div_down(cstd_u128 numerator, cstd_u128 denominator) {
    if (((numerator | denominator) >> 64) == 0) {
        return (uint64_t)numerator / (uint64_t)denominator;
    }
    return numerator / denominator;
}

static inline cstd_u128 cstd_div_up(cstd_u128 numerator, cstd_u128 denominator) {
    cstd_u128 quotient = cstd_div_down(numerator, denominator);
    return quotient + (quotient * denominator != numerator);
}

/* a × b into *out, for b < 2^63. Returns 1 when it does not fit 127 bits; then *out is unspecified. */
static inline int cstd_mul_overflows(cstd_u128 a, uint64_t b, cstd_u128 *out) {
    cstd_u128 high = (cstd_u128)(uint64_t)(a >> 64) * b;
    cstd_u128 low = (cstd_u128)(uint64_t)a * b;
    *out = low + (high << 64);
    return (high >> 62) != 0 || (*out >> 127) != 0;
}

/* `part` in thousandths of a basis point of `whole`, rounded up: against us, because it is compared with a maximum. */
static inline int64_t cstd_mbps_up(cstd_u128 part, cstd_u128 whole) {
    return cstd_saturate_u(cstd_div_up(part * CSTD_MBPS_PER_UNIT, whole));
}

/* `bps` of an amount, rounded down; 0 for a negative amount or limit. */
static inline int64_t cstd_bps_of(int64_t amount, int64_t bps) {
    if (amount <= 0 || bps <= 0) {
        return 0;
    }
    return cstd_saturate_u(cstd_div_down((cstd_u128)amount * (uint64_t)bps, CSTD_BPS_PER_UNIT));
}

/* a + b for amounts that must not be negative; INT64_MAX when they do not fit. */
static inline int64_t cstd_add_saturated(int64_t a, int64_t b) {
    return cstd_saturate((cstd_i128)a + b);
}
#endif
