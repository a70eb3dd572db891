/* A digest of a stream in eight stripes, so that one processor without SHA extensions hashes it four times as fast.
 *
 * Stretches of 512 bytes go to eight SHA-256 computations in turn: byte p belongs to stripe (p / 512) % 8. The digest is
 * SHA-256 over the eight digests, stripe 0 first. It depends on the bytes alone, not on how they were handed over. */
#ifndef CSTD_STRIPES_H
#define CSTD_STRIPES_H

#include "sha256_lanes.h"

#define CSTD_STRETCH 512
#define CSTD_STRIPED (CSTD_SHA256_LANES * CSTD_STRETCH)

typedef struct {
    cstd_sha256 stripe[CSTD_SHA256_LANES];
} cstd_stripes;

static inline void cstd_stripes_init(cstd_stripes *s) {
    for (int lane = 0; lane < CSTD_SHA256_LANES; lane++) {
        cstd_sha256_init(&s->stripe[lane]);
    }
}

/* Take the whole rounds of CSTD_STRIPED bytes at the front of `data`; returns how many bytes those are. */
static inline size_t cstd_stripes_update(cstd_stripes *s, const uint8_t *data, size_t n) {
    cstd_sha256 *to[CSTD_SHA256_LANES];
    const uint8_t *from[CSTD_SHA256_LANES];
    size_t taken = 0;
    for (; n - taken >= CSTD_STRIPED; taken += CSTD_STRIPED) {
        for (int lane = 0; lane < CSTD_SHA256_LANES; lane++) {
            to[lane] = &s->stripe[lane];
            from[lane] = data + taken + lane * CSTD_STRETCH;
        }
        cstd_sha256_lanes_update(to, from, CSTD_STRETCH / 64);
    }
    return taken;
}

/* Digest of what was taken and of the `n` bytes after it, fewer than CSTD_STRIPED; the state goes on. */
static inline void cstd_stripes_final(const cstd_stripes *s, const uint8_t *rest, size_t n, uint8_t out[32]) {
    cstd_sha256 all;
    uint8_t digest[32];
    cstd_sha256_init(&all);
    for (int lane = 0; lane < CSTD_SHA256_LANES; lane++) {
        cstd_sha256 stripe = s->stripe[lane];
        size_t take = n < CSTD_STRETCH ? n : CSTD_STRETCH;
        cstd_sha256_update(&stripe, rest, take);
        rest += take;
        n -= take;
        cstd_sha256_final(&stripe, digest);
        cstd_sha256_update(&all, digest, sizeof digest);
    }
    cstd_sha256_final(&all, out);
}
#endif
