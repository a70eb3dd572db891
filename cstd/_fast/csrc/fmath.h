/* exp, log and sqrt that give the same bits on every host.
 *
 * libm differs between versions and chooses instructions at run time (FMA or not), so the same recording could give
 * another digest on another machine. These use only +, -, * and / of IEEE doubles, and the square root instruction,
 * which IEEE requires to be correctly rounded. Build with -ffp-contract=off.
 *
 *   cstd_exp   within 1 ulp for results in the normal range; 0 below -708, capped at exp(709) above; NaN stays NaN
 *   cstd_log   within 1 ulp + 1e-16 absolute for normal x > 0; the caller has checked that x is positive and finite
 *   cstd_sqrt  correctly rounded
 */
#ifndef CSTD_FMATH_H
#define CSTD_FMATH_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#define CSTD_LN2_HI 0x1.62e42fee00000p-1 /* low 21 bits zero: k * CSTD_LN2_HI is exact for |k| < 2^21 */
#define CSTD_LN2_LO 0x1.a39ef35793c76p-33
#define CSTD_LOG10_E 0x1.bcb7b1526e50ep-2

/* 2^(j/32), correctly rounded. */
static const double cstd_exp_table[32] = {
    0x1.0000000000000p+0, 0x1.059b0d3158574p+0, 0x1.0b5586cf9890fp+0, 0x1.11301d0125b51p+0,
    0x1.172b83c7d517bp+0, 0x1.1d4873168b9aap+0, 0x1.2387a6e756238p+0, 0x1.29e9df51fdee1p+0,
    0x1.306fe0a31b715p+0, 0x1.371a7373aa9cbp+0, 0x1.3dea64c123422p+0, 0x1.44e086061892dp+0,
    0x1.4bfdad5362a27p+0, 0x1.5342b569d4f82p+0, 0x1.5ab07dd485429p+0, 0x1.6247eb03a5585p+0,
    0x1.6a09e667f3bcdp+0, 0x1.71f75e8ec5f74p+0, 0x1.7a11473eb0187p+0, 0x1.82589994cce13p+0,
    0x1.8ace5422aa0dbp+0, 0x1.93737b0cdc5e5p+0, 0x1.9c49182a3f090p+0, 0x1.a5503b23e255dp+0,
    0x1.ae89f995ad3adp+0, 0x1.b7f76f2fb5e47p+0, 0x1.c199bdd85529cp+0, 0x1.cb720dcef9069p+0,
    0x1.d5818dcfba487p+0, 0x1.dfc97337b9b5fp+0, 0x1.ea4afa2a490dap+0, 0x1.f50765b6e4540p+0};

static inline double cstd_power_of_two(int64_t k) {
    uint64_t bits = (uint64_t)(k + 1023) << 52;
    double out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

static inline double cstd_abs(double x) {
    return __builtin_fabs(x);
}

static inline int cstd_is_finite(double x) {
    return x - x == 0.0;
}

/* exp(r) - 1 for |r| <= 0.011. */
static inline double cstd_exp_series(double r) {
    double r2 = r * r;
    double tail = r2 * (0.5 + r * (1.0 / 6)) + (r2 * r2) * ((1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720));
    return r + tail;
}

/* x = n ln2/32 + r with |r| <= 0.011, so six terms of the series for exp(r) reach 4e-18. */
static inline double cstd_exp(double x) {
    if (x != x) {
        return x;
    }
    if (x < -708.0) {
        return 0.0;
    }
    if (x > 709.0) {
        x = 709.0;
    }
    if (cstd_abs(x) < 0.0108) { /* n would be 0: the decays between two updates, nearly always */
        return 1.0 + cstd_exp_series(x);
    }
    double scaled = x * 0x1.71547652b82fep+5;
    int64_t n = (int64_t)(scaled + (scaled >= 0 ? 0.5 : -0.5));
    double r = (x - (double)n * (CSTD_LN2_HI / 32)) - (double)n * (CSTD_LN2_LO / 32);
    double base = cstd_exp_table[n & 31];
    return (base + base * cstd_exp_series(r)) * cstd_power_of_two((n - (n & 31)) / 32);
}

/* x = 2^k m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s), s = (m - 1)/(m + 1), |s| <= 0.172. */
static inline double cstd_log(double x) {
    uint64_t bits;
    int64_t k = 0;
    if (x < 0x1p-1022) { /* subnormal */
        x *= 0x1p54;
        k = -54;
    }
    memcpy(&bits, &x, sizeof bits);
    k += (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffffULL) | 0x3ff0000000000000ULL;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 0x1.6a09e667f3bcdp+0) {
        m *= 0.5;
        k += 1;
    }
    double f = m - 1.0; /* exact */
    double s = f / (2.0 + f);
    double z = s * s;
    double even = 1.0 / 3 + z * (1.0 / 5 + z * (1.0 / 7 + z * (1.0 / 9 + z * (1.0 / 11 + z * (1.0 / 13)))));
    double z6 = (z * z * z) * (z * z * z);
    even += z6 * (1.0 / 15 + z * (1.0 / 17 + z * (1.0 / 19 + z * (1.0 / 21 + z * (1.0 / 23)))));
    /* 2 atanh(s) = 2 s + 2 s z even, and 2 s = f - s f: the large part f is kept exact. */
    double low = s * (2.0 * z * even - f);
    return (double)k * CSTD_LN2_HI + (f + (low + (double)k * CSTD_LN2_LO));
}

static inline double cstd_sqrt(double x) {
#if defined(__x86_64__)
    __m128d v = _mm_set_sd(x);
    return _mm_cvtsd_f64(_mm_sqrt_sd(v, v));
#elif defined(__aarch64__)
    double out;
    __asm__("fsqrt %d0, %d1" : "=w"(out) : "w"(x));
    return out;
#else
#error "name the square root instruction of this processor"
#endif
}
#endif
