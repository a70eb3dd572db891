/* CRC-32 (IEEE, reflected, 0xEDB88320): carry-less multiply where the CPU has it, slice-by-8 elsewhere.
 *
 * The book checksum covers about 280 bytes on every message, so this is on the path of every frame. The folding
 * constants are x^k mod P for the reflected polynomial, as derived in Intel's paper "Fast CRC Computation for Generic
 * Polynomials Using PCLMULQDQ Instruction" (2009). Both variants are compared with zlib in tests/kernels. */
#ifndef CSTD_CRC32_H
#define CSTD_CRC32_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint32_t cstd_crc_table[8][256];
static int cstd_crc_clmul = 0;

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("pclmul,sse4.1"))) static uint32_t
cstd_crc32_clmul_fold(uint32_t crc, const uint8_t *p, size_t n)
{
    /* n >= 64 and a multiple of 16 */
    const __m128i k12 = _mm_set_epi64x(0x01c6e41596LL, 0x0154442bd4LL);
    const __m128i k34 = _mm_set_epi64x(0x00ccaa009eLL, 0x01751997d0LL);
    const __m128i k5 = _mm_set_epi64x(0, 0x0163cd6124LL);
    const __m128i poly = _mm_set_epi64x(0x01f7011641LL, 0x01db710641LL);
    const __m128i low32 = _mm_setr_epi32(-1, 0, -1, 0);
    __m128i a = _mm_loadu_si128((const __m128i *)(p));
    __m128i b = _mm_loadu_si128((const __m128i *)(p + 16));
    __m128i c = _mm_loadu_si128((const __m128i *)(p + 32));
    __m128i d = _mm_loadu_si128((const __m128i *)(p + 48));
    __m128i t;
    a = _mm_xor_si128(a, _mm_cvtsi32_si128((int)crc));
    p += 64;
    n -= 64;
    while (n >= 64) {
#define CSTD_FOLD4(x, off)                                                                                      \
    t = _mm_clmulepi64_si128(x, k12, 0x00);                                                                     \
    x = _mm_clmulepi64_si128(x, k12, 0x11);                                                                     \
    x = _mm_xor_si128(_mm_xor_si128(x, t), _mm_loadu_si128((const __m128i *)(p + off)))
        CSTD_FOLD4(a, 0);
        CSTD_FOLD4(b, 16);
        CSTD_FOLD4(c, 32);
        CSTD_FOLD4(d, 48);
#undef CSTD_FOLD4
        p += 64;
        n -= 64;
    }
#define CSTD_FOLD1(next)                                                                                        \
    t = _mm_clmulepi64_si128(a, k34, 0x00);                                                                     \
    a = _mm_clmulepi64_si128(a, k34, 0x11);                                                                     \
    a = _mm_xor_si128(_mm_xor_si128(a, t), next)
    CSTD_FOLD1(b);
    CSTD_FOLD1(c);
    CSTD_FOLD1(d);
    while (n >= 16) {
        CSTD_FOLD1(_mm_loadu_si128((const __m128i *)p));
        p += 16;
        n -= 16;
    }
#undef CSTD_FOLD1
    /* 128 -> 64 bits, then Barrett reduction to 32. */
    t = _mm_clmulepi64_si128(a, k34, 0x10);
    a = _mm_xor_si128(_mm_srli_si128(a, 8), t);
    t = _mm_srli_si128(a, 4);
    a = _mm_clmulepi64_si128(_mm_and_si128(a, low32), k5, 0x00);
    a = _mm_xor_si128(a, t);
    t = _mm_clmulepi64_si128(_mm_and_si128(a, low32), poly, 0x10);
    t = _mm_clmulepi64_si128(_mm_and_si128(t, low32), poly, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(a, t), 1);
}
#endif

static void cstd_crc32_init(int allow_clmul)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = (c >> 1) ^ ((c & 1) ? 0xEDB88320u : 0);
        cstd_crc_table[0][i] = c;
    }
    for (int t = 1; t < 8; t++)
        for (int i = 0; i < 256; i++)
            cstd_crc_table[t][i] = (cstd_crc_table[t - 1][i] >> 8) ^ cstd_crc_table[0][cstd_crc_table[t - 1][i] & 255];
    cstd_crc_clmul = 0;
#if defined(__x86_64__)
    if (allow_clmul && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"))
        cstd_crc_clmul = 1;
#endif
}

static inline uint32_t cstd_crc32_sliced(uint32_t crc, const uint8_t *p, size_t n)
{
    while (n >= 8) {
        uint32_t lo, hi;
        memcpy(&lo, p, 4);
        memcpy(&hi, p + 4, 4);
        lo ^= crc;
        crc = cstd_crc_table[7][lo & 255] ^ cstd_crc_table[6][(lo >> 8) & 255] ^ cstd_crc_table[5][(lo >> 16) & 255] ^
              cstd_crc_table[4][lo >> 24] ^ cstd_crc_table[3][hi & 255] ^ cstd_crc_table[2][(hi >> 8) & 255] ^
              cstd_crc_table[1][(hi >> 16) & 255] ^ cstd_crc_table[0][hi >> 24];
        p += 8;
        n -= 8;
    }
    while (n--)
        crc = (crc >> 8) ^ cstd_crc_table[0][(crc ^ *p++) & 255];
    return crc;
}

/* CRC-32 of n bytes, as zlib.crc32 gives it. cstd_crc32_init must have run. */
static inline uint32_t cstd_crc32(const void *data, size_t n)
{
    const uint8_t *p = (const uint8_t *)data;
    uint32_t crc = 0xFFFFFFFFu;
#if defined(__x86_64__)
    if (cstd_crc_clmul && n >= 64) {
        size_t folded = n & ~(size_t)15;
        crc = cstd_crc32_clmul_fold(crc, p, folded);
        p += folded;
        n -= folded;
    }
#endif
    return ~cstd_crc32_sliced(crc, p, n);
}
#endif
