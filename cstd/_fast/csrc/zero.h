/* Zeroing of rows on the path. */
#ifndef CSTD_ZERO_H
#define CSTD_ZERO_H
#include <stddef.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
/* Zero n bytes, a multiple of 8. By hand, because the compiler makes `rep stos` of memset, whose start-up alone costs
 * more than these stores. */
static inline void cstd_zero(void *to, size_t n)
{
#if defined(__SSE2__)
    char *p = (char *)to, *end = p + (n & ~(size_t)15);
    const __m128i zero = _mm_setzero_si128();
    for (; p < end; p += 16) {
        _mm_storeu_si128((__m128i *)p, zero);
        __asm__ volatile("" ::: "memory");
    }
    if (n & 8)
        memset(p, 0, 8);
#else
    memset(to, 0, n);
#endif
}
#endif
