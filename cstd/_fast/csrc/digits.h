/* Decimal digits of unsigned integers, two at a time: a division costs more than everything else about it. */
#ifndef CSTD_DIGITS_H
#define CSTD_DIGITS_H
#include <stdint.h>
#include <string.h>

static const char cstd_pairs[201] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657"
    "5859606162636465666768697071727374757677787980818283848586878889909192939495969798" "99";

/* Write v in decimal without leading zeros; returns the number of digits (1 to 20). */
static inline int cstd_digits(uint64_t v, char *to)
{
    char tmp[20];
    int at = 20;
    while (v >= 100) {
        uint64_t q = v / 100;
        at -= 2;
        memcpy(tmp + at, cstd_pairs + 2 * (v - q * 100), 2);
        v = q;
    }
    if (v >= 10) {
        at -= 2;
        memcpy(tmp + at, cstd_pairs + 2 * v, 2);
    } else {
        tmp[--at] = (char)('0' + v);
    }
    memcpy(to, tmp + at, (size_t)(20 - at));
    return 20 - at;
}
#endif
