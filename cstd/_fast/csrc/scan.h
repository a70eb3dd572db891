/* Numbers and times of the wire, from bytes to int64: eight digits at a time.
 *
 * A number of the usual length (at most eight digits on each side of the point) is found by one comparison of sixteen
 * bytes and converted by a handful of multiplications; any other goes digit by digit. Both give the same. Nothing is read
 * at or beyond `end`. Little-endian. */
#ifndef CSTD_SCAN_H
#define CSTD_SCAN_H
#include <stdint.h>
#include <string.h>
#include "digits.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define CSTD_DIGITS_MAX 18 /* what always fits an int64 */

static const int64_t cstd_pow10[19] = {1LL, 10LL, 100LL, 1000LL, 10000LL, 100000LL, 1000000LL, 10000000LL,
    100000000LL, 1000000000LL, 10000000000LL, 100000000000LL, 1000000000000LL, 10000000000000LL,
    100000000000000LL, 1000000000000000LL, 10000000000000000LL, 100000000000000000LL, 1000000000000000000LL};

/* The byte after `text` if it stands at p, else NULL; of a p that is NULL too, so that a scan can be one row of calls. */
static inline __attribute__((always_inline)) const char *
cstd_literal(const char *p, const char *end, const char *text, size_t n)
{
    return p == NULL || (size_t)(end - p) < n || memcmp(p, text, n) != 0 ? NULL : p + n;
}

/* Adds the decimal digits at p to *value and their number to *digits; returns the byte after them, NULL above 18 in all. */
static inline const char *cstd_digits_at(const char *p, const char *end, int64_t *value, int *digits)
{
    while (end - p >= 8) {
        uint64_t chunk;
        int n = cstd_eight_digits(p, &chunk);
        *digits += n;
        if (*digits > CSTD_DIGITS_MAX)
            return NULL;
        *value = *value * cstd_pow10[n] + (int64_t)chunk;
        p += n;
        if (n < 8)
            return p;
    }
    while (p < end && (unsigned char)(*p - '0') <= 9) {
        if (++*digits > CSTD_DIGITS_MAX)
            return NULL;
        *value = *value * 10 + (*p++ - '0');
    }
    return p;
}

/* Any plain decimal that fits 18 digits; see cstd_number. */
static __attribute__((noinline)) const char *
cstd_number_any(const char *p, const char *end, int precision, int64_t *raw, int *excess)
{
    const char *start = p;
    int64_t value = 0;
    int whole, digits = 0;
    p = cstd_digits_at(p, end, &value, &digits);
    if (p == NULL || digits == 0 || p >= end || (digits > 1 && *start == '0'))
        return NULL; /* JSON has no zeros in front */
    whole = digits;
    if (*p == '.') {
        p = cstd_digits_at(p + 1, end, &value, &digits);
        if (p == NULL || digits == whole)
            return NULL;
    }
    if (digits - whole > precision) {
        *excess = 1;
        *raw = 0;
        return p;
    }
    if (whole + precision > CSTD_DIGITS_MAX)
        return NULL;
    *raw = value * cstd_pow10[precision - digits + whole];
    return p;
}

/* The value of n (1 to 8) digits at p, of which eight bytes are readable. */
static inline int64_t cstd_few_digits(const char *p, int n)
{
    uint64_t v;
    memcpy(&v, p, 8);
    v = (v ^ 0x3030303030303030ULL) << (64 - 8 * n); /* as if zeros stood before the digits */
    v = (v * 10 + (v >> 8)) & 0x00FF00FF00FF00FFULL;
    v = (v * 100 + (v >> 16)) & 0x0000FFFF0000FFFFULL;
    return (int64_t)((v * 10000 + (v >> 32)) & 0xFFFFFFFFULL);
}

/* Scans a plain decimal into units of 10**-precision. Returns the byte after it; NULL: not a plain decimal that fits 18
 * digits. *excess is set, and *raw 0, when it has more fractional digits than the precision. */
static inline const char *cstd_number(const char *p, const char *end, int precision, int64_t *raw, int *excess)
{
#if defined(__SSE2__)
    if (__builtin_expect(end - p >= 24, 1)) {
        /* Bit i: byte i is no digit. Unsigned, so that what stands below '0' is far above 9. */
        __m128i text = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8('0'));
        uint32_t others = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(text, _mm_set1_epi8(10)), _mm_set1_epi8(10)));
        int whole, part;
        int64_t value;
        others |= 1u << 16;
        whole = __builtin_ctz(others);
        others &= others - 1;
        if (__builtin_expect((unsigned)(whole - 1) < 8 && others && (whole == 1 || *p != '0'), 1)) {
            value = cstd_few_digits(p, whole);
            p += whole;
            if (*p != '.') {
                if (__builtin_expect(whole + precision > CSTD_DIGITS_MAX, 0))
                    return NULL;
                *raw = value * cstd_pow10[precision];
                return p;
            }
            part = __builtin_ctz(others) - whole - 1;
            /* Where the sixteen bytes end, digits may follow. */
            if (__builtin_expect((unsigned)(part - 1) < 8 && whole + part < 15, 1) && part <= precision) {
                if (__builtin_expect(whole + precision > CSTD_DIGITS_MAX, 0))
                    return NULL;
                *raw = value * cstd_pow10[precision] + cstd_few_digits(p + 1, part) * cstd_pow10[precision - part];
                return p + 1 + part;
            }
            p -= whole;
        }
    }
#endif
    return cstd_number_any(p, end, precision, raw, excess);
}

/* Scans an unsigned integer of 1 to 18 digits; NULL if there is none. */
static inline const char *cstd_unsigned(const char *p, const char *end, int64_t *value)
{
    const char *start = p;
    int digits = 0;
    *value = 0;
    p = cstd_digits_at(p, end, value, &digits);
    return digits == 0 || (digits > 1 && *start == '0') ? NULL : p;
}

/* Steps over a plain decimal of at most 18 digits, with or without a minus; NULL if there is none, or p is NULL. */
static inline const char *cstd_any_number(const char *p, const char *end)
{
    const char *start;
    int64_t unused = 0;
    int whole, digits = 0;
    if (p != NULL && p < end && *p == '-')
        p++;
    if (p == NULL)
        return NULL;
    start = p;
    p = cstd_digits_at(p, end, &unused, &digits);
    if (p == NULL || digits == 0 || p >= end || (digits > 1 && *start == '0'))
        return NULL;
    if (*p != '.')
        return p;
    whole = digits;
    p = cstd_digits_at(p + 1, end, &unused, &digits);
    return digits > whole ? p : NULL;
}

/* Where the value of one of a ticker's figures begins, and its bit; NULL for any other name. */
static inline const char *cstd_figure(const char *p, const char *end, int *bit)
{
#define CSTD_NAMED(name) {",\"" name "\":", sizeof(name) + 3}
    static const struct {
        const char *text;
        size_t n;
    } figures[] = {CSTD_NAMED("last"), CSTD_NAMED("volume"), CSTD_NAMED("vwap"), CSTD_NAMED("low"), CSTD_NAMED("high"),
                   CSTD_NAMED("change"), CSTD_NAMED("change_pct"), CSTD_NAMED("trades")};
#undef CSTD_NAMED
    for (int i = 0; i < (int)(sizeof figures / sizeof figures[0]); i++) {
        const char *after = cstd_literal(p, end, figures[i].text, figures[i].n);
        if (after != NULL) {
            *bit = 1 << i;
            return after;
        }
    }
    return NULL;
}

/* Two decimal digits, or a negative number that poisons any sum it enters. */
static inline int cstd_two(const char *p)
{
    unsigned char a = (unsigned char)(p[0] - '0'), b = (unsigned char)(p[1] - '0');
    return a > 9 || b > 9 ? -1000000 : a * 10 + b;
}

/* Days since 1970-01-01 of YYYY-MM-DD at p, of which ten bytes are readable; -1 if it is no date. Out of line: a date is
 * remembered, and a day lasts for a million frames. Days are counted in years from March, by eras of 400 years. */
static __attribute__((noinline, unused)) int64_t cstd_date_days(const char *p)
{
    int64_t year = cstd_two(p) * 100 + cstd_two(p + 2), month = cstd_two(p + 5), day = cstd_two(p + 8);
    int64_t year_of_era, day_of_year, month_days;
    if (year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 || p[4] != '-' || p[7] != '-')
        return -1;
    month_days = month == 2 ? 28 + (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)) : 30 + (month + (month > 7)) % 2;
    if (day > month_days)
        return -1;
    year -= month <= 2;
    year_of_era = year % 400;
    day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return year / 400 * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

/* Nanoseconds since midnight of Thh:mm:ss[.fraction]Z at p, of which ten bytes are readable; -1 if it is none. *after is the
 * byte after it. A leap second counts as the first of the next minute. */
static inline int64_t cstd_clock_ns(const char *p, const char *end, const char **after)
{
    uint64_t v;
    int64_t fraction = 0, second;
    int digits = 0, hh, mm, ss;
    memcpy(&v, p + 1, 8);
    v ^= 0x30303A30303A3030ULL; /* digits become their values, the colons zero */
    if (*p != 'T' || (((v + 0x7676767676767676ULL) | v) & 0x8080808080808080ULL) || (v & 0x0000FF0000FF0000ULL))
        return -1;
    v = v * 10 + (v >> 8);
    hh = v & 0xFF, mm = (v >> 24) & 0xFF, ss = (v >> 48) & 0xFF;
    if (hh > 23 || mm > 59 || ss > 60)
        return -1;
    second = (hh * 60 + mm) * 60 + ss;
    p += 9;
    if (p < end && *p == '.') {
        p = cstd_digits_at(p + 1, end, &fraction, &digits);
        if (p == NULL || digits == 0 || digits > 9)
            return -1;
        fraction *= cstd_pow10[9 - digits];
    }
    if (p >= end || *p != 'Z')
        return -1;
    *after = p + 1;
    return second * 1000000000LL + fraction;
}
#endif
