/* Decimal digits of unsigned integers, two at a time: a division costs more than everything else about it. */
#ifndef CSTD_DIGITS_H
#define CSTD_DIGITS_H
#include <stdint.h>
#include <string.h>

static const char cstd_pairs[201] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657"
    "5859606162636465666768697071727374757677787980818283848586878889909192939495969798" "99";

static const uint64_t cstd_digit_floor[20] = {
    0ULL, 10ULL, 100ULL, 1000ULL, 10000ULL, 100000ULL, 1000000ULL, 10000000ULL, 100000000ULL, 1000000000ULL,
    10000000000ULL, 100000000000ULL, 1000000000000ULL, 10000000000000ULL, 100000000000000ULL, 1000000000000000ULL,
    10000000000000000ULL, 100000000000000000ULL, 1000000000000000000ULL, 10000000000000000000ULL};

/* Number of decimal digits of v, 1 to 20. */
static inline int cstd_digit_count(uint64_t v)
{
    int n = ((64 - __builtin_clzll(v | 1)) * 1233) >> 12; /* bit length x log10(2), one short at most */
    return n + (v >= cstd_digit_floor[n]);
}

/* Write the n = cstd_digit_count(v) digits of v, last first: where they go is known before they are, so nothing is
 * written twice. */
static inline void cstd_write_digits(uint64_t v, int n, char *to)
{
    while (v >= 100) {
        uint64_t q = v / 100;
        n -= 2;
        memcpy(to + n, cstd_pairs + 2 * (v - q * 100), 2);
        v = q;
    }
    if (v >= 10)
        memcpy(to, cstd_pairs + 2 * v, 2);
    else
        *to = (char)('0' + v);
}

/* Write v in decimal without leading zeros; returns the number of digits. */
static inline int cstd_digits(uint64_t v, char *to)
{
    int n = cstd_digit_count(v);
    cstd_write_digits(v, n, to);
    return n;
}

/* cstd_digits where eight bytes may be written, whatever the number of digits: eight are made at once, each half of what is
 * left beside the other half. Little-endian. */
static inline int cstd_digits_eight(uint64_t v, char *to)
{
    uint64_t fours, twos, ones, quotients;
    int n;
    if (__builtin_expect(v >= 100000000ULL, 0))
        return cstd_digits(v, to);
    n = cstd_digit_count(v);
    fours = v / 10000 | (v % 10000) << 32;
    quotients = ((fours * 10486) >> 20) & 0x0000007F0000007FULL; /* / 100, exact below 10,000 */
    twos = quotients | (fours - quotients * 100) << 16;
    quotients = ((twos * 103) >> 10) & 0x000F000F000F000FULL; /* / 10, exact below 100 */
    ones = quotients | (twos - quotients * 10) << 8;
    ones = (ones | 0x3030303030303030ULL) >> (8 * (8 - n));
    memcpy(to, &ones, 8);
    return n;
}

/* Up to eight decimal digits at p, of which at least eight bytes are readable. Returns how many there are, their value
 * in *value: eight bytes are looked at, cut and summed at once instead of one by one. Little-endian. */
static inline int cstd_eight_digits(const char *p, uint64_t *value)
{
    uint64_t v, other;
    int n;
    memcpy(&v, p, 8);
    v ^= 0x3030303030303030ULL;
    other = ((v + 0x7676767676767676ULL) | v) & 0x8080808080808080ULL;
    n = other ? __builtin_ctzll(other) >> 3 : 8;
    if (n == 0) {
        *value = 0;
        return 0;
    }
    v <<= 8 * (8 - n); /* as if zeros stood before the digits */
    v = (v * 10 + (v >> 8)) & 0x00FF00FF00FF00FFULL;
    v = (v * 100 + (v >> 16)) & 0x0000FFFF0000FFFFULL;
    *value = (v * 10000 + (v >> 32)) & 0xFFFFFFFFULL;
    return n;
}
#endif
