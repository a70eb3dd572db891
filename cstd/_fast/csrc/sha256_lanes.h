/* Eight SHA-256 computations side by side in AVX2 lanes, for readers that prove many blocks.
 *
 * Without SHA extensions one message at a time is bound by the chain of its own rounds; eight
 * independent ones fill the vector unit. Measured here: 4 to 5 times the bytes per second.
 */
#ifndef CSTD_SHA256_LANES_H
#define CSTD_SHA256_LANES_H

#include "sha256.h"

#define CSTD_SHA256_LANES 8

#if defined(__x86_64__)
typedef uint32_t cstd_sha256_v8 __attribute__((vector_size(32)));

/* Compress `blocks` blocks from each of eight places into the eight states. */
static __attribute__((noinline, unused, target("avx2"))) void
cstd_sha256_lanes_avx2(cstd_sha256 *const s[CSTD_SHA256_LANES],
                       const uint8_t *const from[CSTD_SHA256_LANES], size_t blocks) {
    cstd_sha256_v8 w[16], state[8];
    for (int i = 0; i < 8; i++) {
        for (int lane = 0; lane < CSTD_SHA256_LANES; lane++) {
            state[i][lane] = s[lane]->h[i];
        }
    }
    for (size_t at = 0; at < blocks * 64; at += 64) {
        cstd_sha256_v8 a = state[0], b = state[1], c = state[2], d = state[3];
        cstd_sha256_v8 e = state[4], f = state[5], g = state[6], h = state[7];
        for (int i = 0; i < 16; i++) {
            const size_t word = at + 4 * (size_t)i;
            w[i] = (cstd_sha256_v8){
                cstd_sha256_get_be(from[0] + word), cstd_sha256_get_be(from[1] + word),
                cstd_sha256_get_be(from[2] + word), cstd_sha256_get_be(from[3] + word),
                cstd_sha256_get_be(from[4] + word), cstd_sha256_get_be(from[5] + word),
                cstd_sha256_get_be(from[6] + word), cstd_sha256_get_be(from[7] + word)};
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
    for (int i = 0; i < 8; i++) {
        for (int lane = 0; lane < CSTD_SHA256_LANES; lane++) {
            s[lane]->h[i] = state[i][lane];
        }
    }
}
#endif

/* 1 where lanes beat one message at a time: AVX2 and no SHA extensions. */
static inline int cstd_sha256_lanes_help(void) {
#if defined(__x86_64__)
    return cstd_sha256_backend() != 2 && __builtin_cpu_supports("avx2");
#else
    return 0;
#endif
}

/* Add whole blocks to eight running computations, none of which has bytes waiting. */
static inline void cstd_sha256_lanes_update(cstd_sha256 *const s[CSTD_SHA256_LANES],
                                            const uint8_t *const from[CSTD_SHA256_LANES], size_t blocks) {
#if defined(__x86_64__)
    if (cstd_sha256_lanes_help()) {
        cstd_sha256_lanes_avx2(s, from, blocks);
        for (int lane = 0; lane < CSTD_SHA256_LANES; lane++) {
            s[lane]->n += 64 * (uint64_t)blocks;
        }
        return;
    }
#endif
    for (int lane = 0; lane < CSTD_SHA256_LANES; lane++) {
        cstd_sha256_update(s[lane], from[lane], blocks * 64);
    }
}

#endif
