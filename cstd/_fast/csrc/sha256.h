/* SHA-256 (FIPS 180-4), header only.
 *
 * Three compressors, one answer: SHA extensions, portable C compiled for BMI2 (rorx), portable C.
 * The choice is made once per process by cpuid, because the machine that builds is not always the
 * machine that runs.
 *
 *   cstd_sha256_init / _update / _final   streaming; _final works on a copy, so that a running
 *                                         digest can be read at any time and go on
 *   cstd_sha256_block1                    one-shot for at most 55 bytes: exactly one compression
 *   cstd_sha256_backend                   0 portable, 1 portable with BMI2, 2 SHA extensions
 *
 * Takes any bytes; allocates nothing; no failure exists.
 */
#ifndef CSTD_SHA256_H
#define CSTD_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

typedef struct {
    uint32_t h[8];
    uint64_t n; /* bytes taken so far */
    uint8_t buf[64];
    uint32_t fill; /* bytes waiting in buf, always < 64 */
} cstd_sha256;

#define CSTD_SHA256_BLOCK1_MAX 55 /* 64 less the 0x80 mark and the 8-byte length */

static const uint32_t cstd_sha256_k[64] __attribute__((aligned(64))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

#define CSTD_SHA256_ROR(x, r) (((x) >> (r)) | ((x) << (32 - (r))))

/* One round on rotated names: the caller renames a..h instead of moving eight registers. */
#define CSTD_SHA256_ROUND(a, b, c, d, e, f, g, h, kw)                                              \
    do {                                                                                           \
        __typeof__(h) t1 = (h) + (CSTD_SHA256_ROR(e, 6) ^ CSTD_SHA256_ROR(e, 11) ^                      \
                             CSTD_SHA256_ROR(e, 25)) +                                             \
                      ((g) ^ ((e) & ((f) ^ (g)))) + (kw);                                          \
        (d) += t1;                                                                                 \
        (h) = t1 + (CSTD_SHA256_ROR(a, 2) ^ CSTD_SHA256_ROR(a, 13) ^ CSTD_SHA256_ROR(a, 22)) +     \
              (((a) & (b)) | ((c) & ((a) | (b))));                                                 \
    } while (0)

#define CSTD_SHA256_EXPAND(w, i)                                                                   \
    ((w)[(i) & 15] += (CSTD_SHA256_ROR((w)[((i) + 14) & 15], 17) ^                                 \
                       CSTD_SHA256_ROR((w)[((i) + 14) & 15], 19) ^ ((w)[((i) + 14) & 15] >> 10)) + \
                      (w)[((i) + 9) & 15] +                                                        \
                      (CSTD_SHA256_ROR((w)[((i) + 1) & 15], 7) ^                                   \
                       CSTD_SHA256_ROR((w)[((i) + 1) & 15], 18) ^ ((w)[((i) + 1) & 15] >> 3)))

#define CSTD_SHA256_EIGHT(w, i, take)                                                              \
    do {                                                                                           \
        CSTD_SHA256_ROUND(a, b, c, d, e, f, g, h, cstd_sha256_k[(i) + 0] + take(w, (i) + 0));      \
        CSTD_SHA256_ROUND(h, a, b, c, d, e, f, g, cstd_sha256_k[(i) + 1] + take(w, (i) + 1));      \
        CSTD_SHA256_ROUND(g, h, a, b, c, d, e, f, cstd_sha256_k[(i) + 2] + take(w, (i) + 2));      \
        CSTD_SHA256_ROUND(f, g, h, a, b, c, d, e, cstd_sha256_k[(i) + 3] + take(w, (i) + 3));      \
        CSTD_SHA256_ROUND(e, f, g, h, a, b, c, d, cstd_sha256_k[(i) + 4] + take(w, (i) + 4));      \
        CSTD_SHA256_ROUND(d, e, f, g, h, a, b, c, cstd_sha256_k[(i) + 5] + take(w, (i) + 5));      \
        CSTD_SHA256_ROUND(c, d, e, f, g, h, a, b, cstd_sha256_k[(i) + 6] + take(w, (i) + 6));      \
        CSTD_SHA256_ROUND(b, c, d, e, f, g, h, a, cstd_sha256_k[(i) + 7] + take(w, (i) + 7));      \
    } while (0)

#define CSTD_SHA256_LOADED(w, i) ((w)[(i) & 15])

static inline uint32_t cstd_sha256_get_be(const uint8_t *p) {
    uint32_t word;
    memcpy(&word, p, 4);
    return __builtin_bswap32(word); /* the hosts are little-endian, as the journal's formats are */
}

static inline __attribute__((always_inline)) void
cstd_sha256_rounds(uint32_t state[8], const uint8_t *p, size_t blocks) {
    uint32_t w[16];
    for (; blocks; blocks--, p += 64) {
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int i = 0; i < 16; i++) {
            w[i] = cstd_sha256_get_be(p + 4 * i);
        }
        CSTD_SHA256_EIGHT(w, 0, CSTD_SHA256_LOADED);
        CSTD_SHA256_EIGHT(w, 8, CSTD_SHA256_LOADED);
        for (int i = 16; i < 64; i += 16) {
            CSTD_SHA256_EIGHT(w, i, CSTD_SHA256_EXPAND);
            CSTD_SHA256_EIGHT(w, i + 8, CSTD_SHA256_EXPAND);
        }
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
        state[4] += e, state[5] += f, state[6] += g, state[7] += h;
    }
}

static __attribute__((noinline, unused)) void
cstd_sha256_blocks_portable(uint32_t state[8], const uint8_t *p, size_t blocks) {
    cstd_sha256_rounds(state, p, blocks);
}

#if defined(__x86_64__)
static __attribute__((noinline, unused, target("bmi,bmi2"))) void
cstd_sha256_blocks_bmi2(uint32_t state[8], const uint8_t *p, size_t blocks) {
    cstd_sha256_rounds(state, p, blocks);
}

/* The SHA extensions hold the state as ABEF and CDGH; the message schedule lives in four vectors
 * of four words each, index i & 3 being the group of four rounds i. */
static __attribute__((noinline, unused, target("sha,sse4.1,ssse3"))) void
cstd_sha256_blocks_shani(uint32_t state[8], const uint8_t *p, size_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bULL, 0x0405060700010203ULL);
    __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)&state[0]), 0xB1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)&state[4]), 0x1B);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8);
    __m128i cdgh = _mm_blend_epi16(efgh, cdab, 0xF0);
    for (; blocks; blocks--, p += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i m[4];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            if (i < 4) {
                m[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16 * i)), swap);
            } else {
                __m128i w7 = _mm_alignr_epi8(m[(i + 3) & 3], m[(i + 2) & 3], 4);
                __m128i part = _mm_add_epi32(_mm_sha256msg1_epu32(m[i & 3], m[(i + 1) & 3]), w7);
                m[i & 3] = _mm_sha256msg2_epu32(part, m[(i + 3) & 3]);
            }
            __m128i kw = _mm_add_epi32(
                m[i & 3], _mm_load_si128((const __m128i *)&cstd_sha256_k[4 * i]));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, kw);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(kw, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1B);
    __m128i dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)&state[0], _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)&state[4], _mm_alignr_epi8(dchg, feba, 8));
}
#endif

/* Two threads may both fill the cache at first use; both write the same value. */
static inline int cstd_sha256_backend(void) {
    static int cached = -1;
    int backend = __atomic_load_n(&cached, __ATOMIC_RELAXED);
    if (__builtin_expect(backend >= 0, 1)) {
        return backend;
    }
    backend = 0;
#if defined(__x86_64__)
    unsigned a, b, c, d;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        unsigned a1, b1, ecx1 = 0, d1;
        __get_cpuid(1, &a1, &b1, &ecx1, &d1);
        if ((b & (1u << 3)) && (b & (1u << 8))) { /* BMI1, BMI2 */
            backend = 1;
        }
        if ((b & (1u << 29)) && (ecx1 & (1u << 9)) && (ecx1 & (1u << 19))) { /* SHA, SSSE3, SSE4.1 */
            backend = 2;
        }
    }
#endif
    __atomic_store_n(&cached, backend, __ATOMIC_RELAXED);
    return backend;
}

static inline void cstd_sha256_blocks(uint32_t state[8], const uint8_t *p, size_t blocks) {
#if defined(__x86_64__)
    int backend = cstd_sha256_backend();
    if (backend == 2) {
        cstd_sha256_blocks_shani(state, p, blocks);
        return;
    }
    if (backend == 1) {
        cstd_sha256_blocks_bmi2(state, p, blocks);
        return;
    }
#endif
    cstd_sha256_blocks_portable(state, p, blocks);
}

static inline void cstd_sha256_init(cstd_sha256 *s) {
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->h, initial, sizeof initial);
    s->n = 0;
    s->fill = 0;
}

static inline void cstd_sha256_update(cstd_sha256 *s, const void *data, size_t n) {
    const uint8_t *p = (const uint8_t *)data;
    s->n += n;
    if (s->fill) {
        size_t take = 64 - s->fill;
        if (take > n) {
            take = n;
        }
        memcpy(s->buf + s->fill, p, take);
        s->fill += (uint32_t)take;
        p += take;
        n -= take;
        if (s->fill < 64) {
            return;
        }
        cstd_sha256_blocks(s->h, s->buf, 1);
        s->fill = 0;
    }
    if (n >= 64) {
        size_t blocks = n / 64;
        cstd_sha256_blocks(s->h, p, blocks);
        p += blocks * 64;
        n -= blocks * 64;
    }
    if (n) {
        memcpy(s->buf, p, n);
        s->fill = (uint32_t)n;
    }
}

static inline void cstd_sha256_put_be(uint8_t *out, uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--, value >>= 8) {
        out[i] = (uint8_t)value;
    }
}

/* Pads `fill` bytes already in `tail` (room for 128) and compresses them into `h`, then writes it. */
static inline void
cstd_sha256_close(uint32_t h[8], uint8_t *tail, uint32_t fill, uint64_t n, uint8_t out[32]) {
    size_t blocks = fill <= CSTD_SHA256_BLOCK1_MAX ? 1 : 2;
    tail[fill] = 0x80;
    memset(tail + fill + 1, 0, blocks * 64 - 8 - fill - 1);
    cstd_sha256_put_be(tail + blocks * 64 - 8, n * 8, 8);
    cstd_sha256_blocks(h, tail, blocks);
    for (int i = 0; i < 8; i++) {
        cstd_sha256_put_be(out + 4 * i, h[i], 4);
    }
}

static inline void cstd_sha256_final(const cstd_sha256 *s, uint8_t out[32]) {
    uint32_t h[8];
    uint8_t tail[128];
    memcpy(h, s->h, sizeof h);
    memcpy(tail, s->buf, s->fill);
    cstd_sha256_close(h, tail, s->fill, s->n, out);
}

/* n must be at most CSTD_SHA256_BLOCK1_MAX; a longer message takes the streaming path. */
static inline void cstd_sha256_block1(const void *msg, size_t n, uint8_t out[32]) {
    cstd_sha256 s;
    cstd_sha256_init(&s);
    if (__builtin_expect(n > CSTD_SHA256_BLOCK1_MAX, 0)) {
        cstd_sha256_update(&s, msg, n);
        cstd_sha256_final(&s, out);
        return;
    }
    uint8_t tail[128];
    memcpy(tail, msg, n);
    cstd_sha256_close(s.h, tail, (uint32_t)n, n, out);
}

#endif
